-- Neighbours: the ARP and ND tables. rtnetlink(7), ip-neighbour(8), linux/neighbour.h.

local check = require "nslua.check"
local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.families" -- enum inet_family

local header = "linux/neighbour.h"

schema.enum("nud", { header = header, prefix = "NUD_" }, { none = 0, incomplete = 1, reachable = 2, stale = 4, delay = 8, probe = 16,
  failed = 32, noarp = 64, permanent = 128 })
schema.flags("ntf", { header = header, prefix = "NTF_", c = { extern_learn = "NTF_EXT_LEARNED", offload = "NTF_OFFLOADED" } }, {
  use = 1, self = 2, master = 4, proxy = 8, extern_learn = 16, offload = 32, sticky = 64, router = 128 })
schema.flags("ntf_ext", { header = header, prefix = "NTF_EXT_" }, { managed = 1 })
schema.struct("ndmsg", { c = "struct ndmsg", header = header, prefix = "ndm_" }, [[
  family u8:enum(inet_family)  pad(3)  dev_index=ndm_ifindex s32  state u16:enum(nud)  flags u8:flags(ntf)  type u8
]])
schema.struct("nda_cacheinfo", { c = "struct nda_cacheinfo", header = header, prefix = "ndm_" }, [[
  confirmed u32  used u32  updated u32  refcnt u32
]])
schema.set("neighbour", { header = header, prefix = "NDA_" }, [[
  1   DST             dst             ip
  2   LLADDR          lladdr          lladdr
  3   CACHEINFO       cacheinfo       struct(nda_cacheinfo)
  4   PROBES          probes          u32
  5   VLAN            vlan            u16
  6   PORT            port            be16
  7   VNI             vni             u32
  8   IFINDEX         ifindex         u32
  9   MASTER          master_index    u32
  10  LINK_NETNSID    link_netnsid    s32
  11  SRC_VNI         src_vni         u32
  12  PROTOCOL        proto_number    u8
  13  NH_ID           nhid            u32
  14  FDB_EXT_ATTRS   fdb_ext         bin
  15  FLAGS_EXT       flags_ext       u32:flags(ntf_ext)
  16  NDM_STATE_MASK  state_mask      u16
  17  NDM_FLAGS_MASK  flags_mask      u8
]])
schema.message("neighbour", { head = "ndmsg", attrs = "neighbour", c = "NEIGH", header = "linux/rtnetlink.h", new = 28, del = 29, get = 30 })

local NEW, DEL, GET = 28, 29, 30
local PERMANENT, PROXY = 128, 8
local USER_HZ = 100
local ENOENT = core.errno.ENOENT
local INET = { [2] = "inet", [10] = "inet6" }

---@class nslua.Neighbour  a row
---@field dst string         "10.0.0.2"
---@field dev string?        `dev_index`
---@field lladdr string?     "02:00:00:00:00:02"
---@field state string       "reachable", "stale", "permanent", ...
---@field family "inet"|"inet6"
---@field proxy boolean?     this host answers for that address; only list{ proxy = true } tells of these
---@field router boolean?
---@field used number?       seconds since it was used; `confirmed`, `updated` likewise
---@field probes integer?

local neighbour = { name = "neighbour", noun = "dst", new = NEW, del = DEL, get = GET, methods = {},
  none = { [ENOENT] = "no such neighbour" }, missing = ENOENT }

local computed = {
  dev = function(row, set)
    return verbs.link_name(set, row.dev_index)
  end,
  proto = function(row)
    return row.proto_number and names.name("proto", row.proto_number)
  end,
  managed = function(row)
    return row.flags_ext and row.flags_ext.managed or nil
  end,
}
local flag_bits = { use = 1, proxy = PROXY, extern_learn = 16, sticky = 64, router = 128 }
for word in pairs(flag_bits) do
  computed[word] = function(row)
    return row.flags[word] or nil
  end
end
for _, word in ipairs { "confirmed", "used", "updated" } do
  computed[word] = function(row)
    local info = row.cacheinfo
    return info and info[word] / USER_HZ
  end
end

neighbour.class = schema.class {
  name = "neighbour",
  computed = computed,
  hidden = { "flags", "flags_ext", "cacheinfo", "type", "ifindex", "fdb_ext", "state_mask", "flags_mask", "master_index" },
  same = function(a, b)
    return a.dev_index == b.dev_index and a.dst == b.dst and a.proxy == b.proxy and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

neighbour.writers = { true, dev = true, lladdr = true, state = true, proxy = "boolean", router = "boolean", extern_learn = "boolean",
  use = "boolean", managed = "boolean", proto = true, family = true, nhid = true, vlan = true, port = true, vni = true, sticky = "boolean" }

local function detail_of(t)
  return ("%s%s"):format(tostring(t[1]), (type(t.dev) == "string" or type(t.dev) == "number") and (" dev " .. t.dev) or "")
end
neighbour.detail = detail_of

-- The parts that say which neighbour it is.
local function which(handle, call, t)
  local address = t[1]
  if address == nil then
    errors.misuse("%s: the address at [1] is needed", call)
  end
  local _, family = prefix.address(call, "[1]", address)
  if t.dev == nil then
    errors.misuse("%s: dev is needed", call)
  end
  return { family = family, dst = address, dev_index = device.index(handle, t.dev, call, "dev"), flags = t.proxy and PROXY or 0 }
end

local function compose(handle, call, t)
  verbs.options(call, t, neighbour.writers)
  local message = which(handle, call, t)
  for key, value in pairs(t) do
    if value == false and not flag_bits[key] and key ~= "managed" then
      errors.misuse("%s: %s cannot be false", call, tostring(key))
    end
  end
  for word, bit in pairs(flag_bits) do
    if t[word] and word ~= "proxy" then
      message.flags = message.flags + bit
    end
  end
  if t.managed then
    message.flags_ext = 1
  end
  message.lladdr, message.nhid, message.vlan, message.port, message.vni = t.lladdr, t.nhid, t.vlan, t.port, t.vni
  if t.proto ~= nil then
    message.proto_number = names.number("proto", t.proto, call)
  end
  if t.state ~= nil then
    message.state = t.state
  elseif not t.use and not t.managed then
    message.state = PERMANENT -- as ip(8)
  end
  return message
end

-- Finding one ---------------------------------------------------------------------------------------------------------------------

local function key_words(call, key)
  local kind = type(key)
  if kind == "userdata" or kind == "table" and key.dst ~= nil then
    return { key.dst, dev = key.dev_index or key.dev, proxy = key.proxy }
  elseif kind == "string" then
    return { key }
  elseif kind == "table" then
    verbs.options(call .. ": key", key, { true, dev = true, proxy = true, family = true })
    return key
  end
  errors.misuse("%s: a neighbour is named by { \"10.0.0.2\", dev = \"eth0\" } or its row, got %s", call, kind)
end

neighbour.key_words = key_words

function neighbour.find(self, call, key)
  local words = key_words(call, key)
  if words.dev == nil then
    local _, family = prefix.address(call, "[1]", words[1])
    return verbs.list(self, { words[1], family = INET[family], proxy = words.proxy })[1]
  end
  local S = neighbour.schema or verbs.schema(neighbour)
  return netlink.ask(self, call, S:encode(which(self.handle, call, words)), ENOENT, detail_of(words))
end

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = {}
neighbour.matchers = matchers
for _, word in ipairs { "router", "extern_learn", "use", "sticky", "managed", "state", "probes", "dev_index", "nhid", "vlan", "port", "vni",
  "src_vni", "link_netnsid", "proto_number", "proxy", "used", "confirmed", "updated" } do
  matchers[word] = true
end
for _, word in ipairs { "router", "extern_learn", "use", "sticky", "managed", "proxy" } do
  matchers[word] = "boolean"
end
matchers.lladdr = function(_, value, call)
  check.argument(call, "lladdr", value, "string")
  return "lladdr", value:lower()
end
matchers.dst = function(_, value, call)
  prefix.address(call, "dst", value)
  return "dst", prefix.canonical(value)
end
matchers[1] = matchers.dst
matchers.dev, matchers.proto, matchers.family = verbs.matchers.dev, verbs.matchers.proto, verbs.matchers.family
-- only a dump filter: neighbours of the ports of a bridge
matchers.master = verbs.ports

function neighbour.payloads(self, filter, call)
  local message = verbs.dump_message(self, filter, call, "ifindex")
  if filter.proxy then
    message.flags = PROXY
  end
  return { (neighbour.schema or verbs.schema(neighbour)):encode(message) }
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local function write(self, call, flags, t, asked)
  local message = compose(self.handle, call, t)
  if not verbs.write(self, call, flags, message, t, asked) then
    -- the kernel echoes no neighbours
    return neighbour.find(self, call, { t[1], dev = message.dev_index, proxy = t.proxy })
  end
end

local methods = neighbour.methods

---Add a neighbour. rtnetlink(7), RTM_NEWNEIGH.
---
---`t`: the address at [1], dev, lladdr, state ("permanent" is the default; "reachable", "stale", "noarp", ...), proxy = true (answer for it),
---router, extern_learn, use, managed, nhid, proto.
---@param t table
---@return nslua.Neighbour? row  nothing in a batch
function methods:add(t)
  return write(self, "neighbour.add", netlink.CREATE + netlink.EXCL, t)
end

---The same, in place of what is known of that address.
---@param t table
---@return nslua.Neighbour?
function methods:replace(t)
  return write(self, "neighbour.replace", netlink.CREATE + netlink.REPLACE, t)
end

neighbour.unchecked = { family = true, use = true }

function neighbour.identity(_, t, call)
  return verbs.on_device(t, call, "proxy")
end

---Change what is known of a neighbour.
---@param key table  { "10.0.0.2", dev = "eth0" } or a row
---@param t table    lladdr, state, router, ...
function methods:change(key, t)
  local call = "neighbour.change"
  verbs.options(call, t, neighbour.writers)
  local row = type(key) == "userdata" and key or verbs.existing(self, call, key)
  local words = { row.dst, dev = row.dev_index, proxy = row.proxy, lladdr = row.lladdr, state = row.state, router = row.router,
    extern_learn = row.extern_learn, nhid = row.nhid, proto = row.proto_number }
  for word, value in pairs(t) do
    words[word] = value or nil
  end
  write(self, call, netlink.REPLACE, words, { call = call, key, t })
end

---Forget a neighbour.
---@param key table
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "neighbour.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  if words.dev == nil then
    local row = verbs.existing(self, call, words, absent)
    if not row then
      return
    end
    words = { row.dst, dev = row.dev_index, proxy = row.proxy }
  end
  local S = neighbour.schema or verbs.schema(neighbour)
  netlink.remove(self, call, S:encode(which(self.handle, call, words)), detail_of(words), absent, key)
end

return verbs.object(neighbour)
