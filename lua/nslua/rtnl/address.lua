-- Addresses of links. rtnetlink(7), ip-address(8), linux/if_addr.h.

local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local units = require "nslua.units"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.families" -- enum inet_family

local header = "linux/if_addr.h"

schema.flags("ifa", { header = header, prefix = "IFA_F_", c = { home = "IFA_F_HOMEADDRESS", mngtmpaddr = "IFA_F_MANAGETEMPADDR",
  autojoin = "IFA_F_MCAUTOJOIN" } }, {
  secondary = 0x1, nodad = 0x2, optimistic = 0x4, dadfailed = 0x8, home = 0x10, deprecated = 0x20, tentative = 0x40, permanent = 0x80,
  mngtmpaddr = 0x100, noprefixroute = 0x200, autojoin = 0x400, stable_privacy = 0x800 })
schema.enum("ifa_proto", { header = header, prefix = "IFAPROT_" }, { unspec = 0, kernel_lo = 1, kernel_ra = 2, kernel_ll = 3 })
schema.struct("ifaddrmsg", { c = "struct ifaddrmsg", header = header, prefix = "ifa_" }, [[
  family u8:enum(inet_family)  prefixlen u8  flags8=ifa_flags u8  scope_number=ifa_scope u8  dev_index=ifa_index u32
]])
schema.struct("ifa_cacheinfo", { c = "struct ifa_cacheinfo", header = header, prefix = "" }, [[
  preferred=ifa_prefered u32  valid=ifa_valid u32  cstamp u32  tstamp u32
]])
schema.set("address", { header = header, prefix = "IFA_" }, [[
  1   ADDRESS         prefix_address  ip      -- the other end's, where that differs
  2   LOCAL           local_address   ip
  3   LABEL           label           strz(15)
  4   BROADCAST       broadcast       ip
  5   ANYCAST         anycast         ip
  6   CACHEINFO       cacheinfo       struct(ifa_cacheinfo)
  7   MULTICAST       multicast       ip
  8   FLAGS           flags           u32:flags(ifa)
  9   RT_PRIORITY     metric          u32
  10  TARGET_NETNSID  target_nsid     s32
  11  PROTO           proto           u8:enum(ifa_proto)
]])
schema.message("address", { head = "ifaddrmsg", attrs = "address", c = "ADDR", header = "linux/rtnetlink.h", new = 20, del = 21, get = 22 })

local NEW, DEL, GET = 20, 21, 22
local FOREVER = 4294967295 -- INFINITY_LIFE_TIME
local EADDRNOTAVAIL, ENODEV = core.errno.EADDRNOTAVAIL, core.errno.ENODEV

---@class nslua.Address  a row
---@field address string     "10.0.0.1/24"
---@field peer string?       "10.0.0.2/24", the other end of a point-to-point link
---@field dev string         `dev_index`
---@field family "inet"|"inet6"
---@field prefixlen integer
---@field label string?
---@field broadcast string?
---@field scope string|integer
---@field dynamic boolean    has a lifetime
---@field tentative boolean  not yet known to be unique (IPv6)
---@field dadfailed boolean  somebody else has it
---@field valid_lft number|"forever"      seconds left
---@field preferred_lft number|"forever"
---@field target_nsid integer?  id of the namespace the row is of, where that was asked for

local address = { name = "address", noun = "address", new = NEW, del = DEL, get = GET, methods = {},
  none = { [EADDRNOTAVAIL] = "no such address", [ENODEV] = true }, missing = EADDRNOTAVAIL, elsewhere = true }

local computed = {
  address = function(row)
    return (row.local_address or row.prefix_address) .. "/" .. ("%d"):format(row.prefixlen)
  end,
  peer = function(row)
    local own, other = row.local_address, row.prefix_address
    if own and other and own ~= other then
      return other .. "/" .. ("%d"):format(row.prefixlen)
    end
  end,
  dev = function(row, set)
    return verbs.link_name(set, row.dev_index)
  end,
  scope = function(row)
    return names.name("scope", row.scope_number)
  end,
  dynamic = function(row)
    return not (row.flags and row.flags.permanent or false)
  end,
  valid_lft = function(row)
    local info = row.cacheinfo
    return info and (info.valid == FOREVER and "forever" or info.valid)
  end,
  preferred_lft = function(row)
    local info = row.cacheinfo
    return info and (info.preferred == FOREVER and "forever" or info.preferred)
  end,
}
for _, word in ipairs { "secondary", "nodad", "optimistic", "dadfailed", "home", "deprecated", "tentative", "permanent", "mngtmpaddr",
  "noprefixroute", "autojoin", "stable_privacy" } do
  computed[word] = function(row)
    local flags = row.flags
    return flags ~= nil and flags[word] == true
  end
end

address.class = schema.class {
  name = "address",
  computed = computed,
  hidden = { "prefix_address", "local_address", "flags8", "flags", "scope_number", "cacheinfo" },
  same = function(a, b)
    return a.dev_index == b.dev_index and a.address == b.address and a.peer == b.peer and verbs.together(a, b)
  end,
}

-- Writing -------------------------------------------------------------------------------------------------------------------------

-- linux/if_addr.h: flags that people set
local settable = { nodad = 0x2, optimistic = 0x4, home = 0x10, mngtmpaddr = 0x100, noprefixroute = 0x200, autojoin = 0x400 }

address.writers = { "string", dev = true, peer = true, label = true, broadcast = true, anycast = true, scope = true, metric = true, proto = true,
  valid_lft = true, preferred_lft = true, family = true }
for word in pairs(settable) do
  address.writers[word] = "boolean"
end

local function lifetime(call, key, value)
  if value == "forever" then
    return FOREVER
  end
  return math.floor(units.duration(value, call .. ": " .. key) + 0.5)
end

local function no_false(call, t)
  for key, value in pairs(t) do
    if value == false and not settable[key] then
      errors.misuse("%s: %s cannot be false", call, tostring(key))
    end
  end
end

-- The parts that say which address it is.
local function which(handle, call, t)
  local own, length, family, written = prefix.split(call, "[1]", t[1])
  if t.family and prefix.family(t.family, call) ~= family then
    errors.misuse("%s: %s is not of family %s", call, t[1], tostring(t.family))
  end
  local message = { family = family, prefixlen = length, local_address = own, prefix_address = own }
  if t.peer then
    local other, peer_length, peer_family, peer_written = prefix.split(call, "peer", t.peer)
    if peer_family ~= family then
      errors.misuse("%s: peer %s and address %s are of two families", call, t.peer, t[1])
    end
    message.prefix_address = other
    -- the prefix is the other end's (ip-address(8)); 10.0.0.1/24 with a bare peer means the same
    message.prefixlen = peer_written and peer_length or written and length or peer_length
  end
  if t.dev ~= nil then
    message.dev_index = device.index(handle, t.dev, call, "dev")
  end
  return message
end

local function compose(handle, call, t)
  local message = which(handle, call, t)
  if not message.dev_index then
    errors.misuse("%s: dev is needed", call)
  end
  message.label, message.anycast, message.metric, message.proto = t.label, t.anycast, t.metric, t.proto
  local broadcast = t.broadcast
  if broadcast == "+" or broadcast == true then
    -- all host bits set, as in ip-address(8)
    if message.family ~= prefix.AF_INET then
      errors.misuse("%s: broadcast = \"+\" is for IPv4", call)
    end
    local a, b, c, d = core.inet.bytes(message.local_address):byte(1, 4)
    local hosts = 2 ^ (32 - message.prefixlen)
    local value = ((a * 256 + b) * 256 + c) * 256 + d
    value = value - value % hosts + hosts - 1
    broadcast = ("%d.%d.%d.%d"):format(math.floor(value / 16777216), math.floor(value / 65536) % 256, math.floor(value / 256) % 256, value % 256)
  end
  message.broadcast = broadcast
  if t.scope ~= nil then
    message.scope_number = names.number("scope", t.scope, call)
  elseif message.family == prefix.AF_INET and message.local_address:match "^127%." then
    message.scope_number = 254 -- host, as ip(8) does
  end
  if t.valid_lft ~= nil or t.preferred_lft ~= nil then
    local valid = t.valid_lft ~= nil and lifetime(call, "valid_lft", t.valid_lft) or FOREVER
    local preferred = t.preferred_lft ~= nil and lifetime(call, "preferred_lft", t.preferred_lft) or valid
    message.cacheinfo = { valid = valid, preferred = preferred }
  end
  local flags = 0
  for word, bit in pairs(settable) do
    if t[word] then
      flags = flags + bit
    end
  end
  if flags > 0 then
    message.flags = flags
    message.flags8 = flags % 256
  end
  return message
end

-- Finding one ---------------------------------------------------------------------------------------------------------------------

local function canonical(text)
  return prefix.canonical(text)
end

-- A key is a row, a cidr, or { cidr, dev = }; without a length any length fits.
local function key_words(call, key)
  local kind = type(key)
  if kind == "string" then
    return { key }
  elseif kind == "userdata" or kind == "table" and key[1] == nil and key.address ~= nil then
    return { key.address, dev = key.dev_index or key.dev, peer = key.peer }
  elseif kind == "table" then
    verbs.options(call .. ": key", key, { true, dev = true, peer = true, family = true })
    return key
  end
  errors.misuse("%s: an address is named by { \"10.0.0.1/24\", dev = \"eth0\" } or its row, got %s", call, kind)
end

address.key_words = key_words

function address.find(self, call, key, target)
  local words = key_words(call, key)
  local handle = self.handle
  local own, length, family, written = prefix.split(call, "[1]", words[1])
  own = canonical(own)
  local peer = words.peer and canonical(words.peer)
  local message = { family = family, target_nsid = target }
  if words.dev ~= nil then
    if target and type(words.dev) == "string" then
      message.dev_index = require("nslua.rtnl.link").index(handle, words.dev, call, target)
      if not message.dev_index then
        return nil
      end
    else
      message.dev_index = device.index(handle, words.dev, call, "dev")
    end
  end
  local S = address.schema or verbs.schema(address)
  local dump = netlink.dump(handle, call, "address", S, GET, S:encode(message))
  return dump:rows(S, address.class, verbs.rowset(self, target), function(row)
    return (row.local_address or row.prefix_address) == own and (not message.dev_index or row.dev_index == message.dev_index)
      and (not written or peer or row.prefixlen == length)
      and (not peer or row.prefix_address == peer:gsub("/.*", ""))
  end)[1]
end

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = {}
address.matchers = matchers
for _, word in ipairs { "label", "metric", "proto", "dynamic", "anycast", "multicast", "prefixlen", "dev_index" } do
  matchers[word] = true
end
for word in pairs(computed) do
  matchers[word] = "boolean" -- those of another kind follow
end
local function ip_field(field)
  return function(_, value)
    return field, type(value) == "string" and canonical(value) or value
  end
end
matchers.broadcast = function(_, value)
  if value == "+" or value == true then
    return function(row)
      return row.broadcast ~= nil
    end
  end
  return "broadcast", canonical(value)
end
matchers.peer = function(_, value, call)
  prefix.split(call, "peer", value)
  local wanted = canonical(value)
  return function(row)
    local peer = row.peer
    return peer ~= nil and (peer == wanted or peer:gsub("/.*", "") == wanted)
  end
end
matchers.address = function(_, value, call)
  local own, length, _, written = prefix.split(call, "address", value)
  own = canonical(own)
  return function(row)
    return (row.local_address or row.prefix_address) == own and (not written or row.prefixlen == length)
  end
end
matchers[1] = matchers.address
matchers.anycast = ip_field "anycast"
matchers.family, matchers.dev, matchers.scope = verbs.matchers.family, verbs.matchers.dev, verbs.matchers.scope
-- A lifetime counts down: one of the asked length or less is as it should be, "forever" is exact.
local function life(field)
  return function(_, value, call)
    local wanted = lifetime(call, field, value)
    return function(row)
      local info = row.cacheinfo
      local left = info and info[field:gsub("_lft$", "")] or FOREVER
      return wanted == FOREVER and left == FOREVER or wanted ~= FOREVER and left <= wanted and left >= wanted - 1
    end
  end
end
matchers.valid_lft, matchers.preferred_lft = life "valid_lft", life "preferred_lft"

function address.payloads(self, filter, call, target)
  return { (address.schema or verbs.schema(address)):encode(verbs.dump_message(self, filter, call, "dev_index", target)) }
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local function detail_of(t)
  return ("%s%s"):format(tostring(t[1]), type(t.dev) == "string" and (", dev = %q"):format(t.dev) or "")
end
address.detail = detail_of

local function write(self, call, flags, t)
  verbs.options(call, t, address.writers)
  no_false(call, t)
  local message = compose(self.handle, call, t)
  local queued, replies = verbs.write(self, call, flags + netlink.ECHO, message, t)
  if not queued then
    -- no echo of IPv6 addresses
    return verbs.echoed(self, replies) or address.find(self, call, { t[1], dev = message.dev_index, peer = t.peer })
  end
end

local methods = address.methods

---Give a link an address. rtnetlink(7), RTM_NEWADDR.
---
---`t`: the address at [1] ("10.0.0.1/24"), dev, peer, label, broadcast ("+": from the prefix), scope, metric, proto,
---valid_lft and preferred_lft (seconds, "10m", "forever"), nodad, noprefixroute, home, mngtmpaddr, autojoin, optimistic.
---@param t table
---@return nslua.Address? row  nothing in a batch
function methods:add(t)
  return write(self, "address.add", netlink.CREATE + netlink.EXCL, t)
end

---The same, or its lifetimes, flags and metric in place of those it has.
---@param t table
---@return nslua.Address?
function methods:replace(t)
  return write(self, "address.replace", netlink.CREATE + netlink.REPLACE, t)
end

address.unchecked = {}

function address.identity(_, t, call)
  return verbs.on_device(t, call, "peer")
end

---Change an address's lifetimes, metric, proto or flags; the rest of it is kept.
---@param key string|table
---@param t table
function methods:change(key, t)
  local call = "address.change"
  verbs.options(call, t, address.writers)
  if t[1] ~= nil or t.dev ~= nil or t.peer ~= nil then
    errors.misuse("%s: the address, dev and peer are the key; add another, then delete this one", call)
  end
  local row = verbs.existing(self, call, key) -- a row may have gone: the kernel would make it anew
  local words = { row.address, dev = row.dev_index, peer = row.peer, label = row.label, broadcast = row.broadcast, scope = row.scope,
    metric = row.metric, proto = row.proto ~= "unspec" and row.proto or nil }
  if row.valid_lft ~= "forever" or row.preferred_lft ~= "forever" then
    words.valid_lft, words.preferred_lft = row.valid_lft, row.preferred_lft
  end
  for word in pairs(settable) do
    words[word] = row[word]
  end
  for word, value in pairs(t) do
    if value == false and not settable[word] then
      if word == "valid_lft" or word == "preferred_lft" then
        value = "forever"
      elseif word == "metric" then
        value = 0
      else
        errors.misuse("%s: %s cannot be removed: add the address anew", call, tostring(word))
      end
    end
    words[word] = value
  end
  verbs.write(self, call, netlink.REPLACE, compose(self.handle, call, words), { row.address, dev = row.dev }, { call = call, key, t })
end

---Take an address away.
---@param key string|table  { "10.0.0.1/24", dev = "eth0" }, a row, or the address alone
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "address.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  local _, _, _, written = prefix.split(call, "[1]", words[1])
  if words.dev == nil or not written then
    local row = verbs.existing(self, call, key, absent)
    if not row then
      return
    end
    words = { row.address, dev = row.dev_index, peer = row.peer }
  elseif absent and type(words.dev) == "string" and not require("nslua.rtnl.link").index(self.handle, words.dev, call) then
    return
  end
  local S = address.schema or verbs.schema(address)
  local message = which(self.handle, call, words)
  netlink.remove(self, call, S:encode(message), detail_of(words), absent, key)
end

local GET_MULTICAST = 58 -- RTM_GETMULTICAST: of IPv6 alone, until Linux 6.14

---The multicast groups of IPv6 that links of the namespace have joined: ip maddress.
---@return { group: string, dev_index: integer }[]
function methods:groups()
  local S = address.schema or verbs.schema(address)
  local dump, out = netlink.dump(self.handle, "address.groups", "address", S, GET_MULTICAST, S:encode { family = 10 }), {}
  for row in dump:each(S) do
    out[#out + 1] = { group = row.multicast, dev_index = row.dev_index }
  end
  return out
end

return verbs.object(address)
