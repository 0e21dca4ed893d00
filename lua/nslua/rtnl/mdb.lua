-- Multicast groups of bridges: which ports want which group. bridge(8), linux/if_bridge.h.

local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local many = require "nslua.rtnl.many"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.families" -- enum inet_family

local header = "linux/if_bridge.h"

schema.enum("mdb_state", { header = header, prefix = "MDB_", c = { temp = "MDB_TEMPORARY" } }, { temp = 0, permanent = 1 })
schema.flags("mdb_flags", { header = header, prefix = "MDB_FLAGS_" }, { offload = 1, fast_leave = 2, star_excl = 4, blocked = 8 })
schema.enum("mdb_mode", { header = "linux/in.h", prefix = "MCAST_" }, { exclude = 0, include = 1 })
schema.struct("br_port_msg", { c = "struct br_port_msg", header = header, prefix = "" }, [[
  family u8:enum(inet_family)  pad(3)  dev_index=ifindex u32
]])
schema.struct("br_mdb_entry", { c = "struct br_mdb_entry", header = header, prefix = "" }, [[
  port_index=ifindex u32  state u8:enum(mdb_state)  flags u8:flags(mdb_flags)  vid u16  bytes=addr.u bytes(16)  ethertype=addr.proto be16  pad(2)
]])
schema.set("mdb_source", { header = header, prefix = "MDBA_MDB_SRCATTR_" }, [[
  1  ADDRESS  address  ip
  2  TIMER    timer    u32
]])
schema.set("mdb_sources", { header = header, prefix = "MDBA_MDB_SRCLIST_" }, "1 ENTRY entries nest(mdb_source) multi")
schema.set("mdb_attributes", { header = header, prefix = "MDBA_MDB_EATTR_" }, [[
  1  TIMER       timer         u32
  2  SRC_LIST    sources       nest(mdb_sources)
  3  GROUP_MODE  filter_mode   u8:enum(mdb_mode)
  4  SOURCE      src           ip
  5  RTPROT      proto_number  u8
]])
schema.set("mdb_entry", { header = header, prefix = "MDBA_MDB_ENTRY_" }, "1 INFO infos nest(mdb_attributes,br_mdb_entry) multi")
schema.set("mdb_entries", { header = header, prefix = "MDBA_MDB_" }, "1 ENTRY entries nest(mdb_entry) multi")
schema.set("mdb_wanted", { header = header, prefix = "MDBE_ATTR_" }, [[
  1  SOURCE  src          ip
  3  -       filter_mode  u8:enum(mdb_mode)  -- these came after Linux 6.1
  4  -       proto_number  u8
]])
schema.set("mdb", { header = header, prefix = "MDBA_" }, [[
  1  MDB              groups   nest(mdb_entries)
  1  SET_ENTRY        entry    struct(br_mdb_entry)  writeonly
  2  ROUTER           routers  bin
  2  SET_ENTRY_ATTRS  wanted   nest(mdb_wanted)      writeonly
]])
schema.message("mdb", { head = "br_port_msg", attrs = "mdb", c = "MDB", header = "linux/rtnetlink.h", new = 84, del = 85, get = 86 })

local AF_BRIDGE = 7
local ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86dd
local USER_HZ = 100
local ENOENT = core.errno.ENOENT

---@class nslua.Mdb  a row: a group that one port wants
---@field dev string         the bridge; `dev_index`
---@field port string        the port, or the bridge itself; `port_index`
---@field grp string         "239.1.1.1", "ff02::1", or an Ethernet address
---@field vid integer?
---@field src string?        from that source only
---@field state "temp"|"permanent"
---@field timer number?      seconds until it is forgotten
---@field filter_mode string?  "include", "exclude"; `source_list`: { { address =, timer = }, ... }
---@field proto string|integer|nil  who made it
---@field offload boolean?   `fast_leave`, `blocked` likewise

local mdb = { name = "mdb", noun = "grp", new = 84, del = 85, get = 86, methods = {},
  none = { [ENOENT] = "no such group" }, missing = ENOENT }

local function info(row)
  return row.groups.entries[1].infos[1]
end

local computed = {
  dev = function(row, set)
    return verbs.link_name(set, row.dev_index)
  end,
  port_index = function(row)
    return info(row).port_index
  end,
  port = function(row, set)
    return verbs.link_name(set, info(row).port_index)
  end,
  grp = function(row)
    local entry = info(row)
    local bytes, kind = entry.bytes, entry.ethertype
    if kind == ETH_P_IP then
      return core.inet.text(bytes:sub(1, 4))
    elseif kind == ETH_P_IPV6 then
      return core.inet.text(bytes)
    end
    return ("%02x:%02x:%02x:%02x:%02x:%02x"):format(bytes:byte(1, 6))
  end,
  vid = function(row)
    local vid = info(row).vid
    return vid ~= 0 and vid or nil
  end,
  timer = function(row)
    local entry = info(row)
    return entry.state == "temp" and entry.timer and entry.timer / USER_HZ or nil
  end,
  source_list = function(row)
    local sources = info(row).sources
    if not sources then
      return nil
    end
    local out = {}
    for i, source in ipairs(sources.entries or {}) do
      out[i] = { address = source.address, timer = source.timer and source.timer / USER_HZ }
    end
    return out
  end,
  proto_number = function(row)
    return info(row).proto_number
  end,
  proto = function(row)
    local number = info(row).proto_number
    return number and names.name("proto", number)
  end,
}
for _, word in ipairs { "state", "src", "filter_mode" } do
  computed[word] = function(row)
    return info(row)[word]
  end
end
for _, word in ipairs { "offload", "fast_leave", "blocked" } do
  computed[word] = function(row)
    return info(row).flags[word] or nil
  end
end

mdb.class = schema.class {
  name = "mdb",
  computed = computed,
  hidden = { "family", "groups", "routers", "entry", "wanted" },
  same = function(a, b)
    return a.dev_index == b.dev_index and a.port_index == b.port_index and a.grp == b.grp and a.vid == b.vid and a.src == b.src
      and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

-- A dump tells the groups of a bridge, and of a group its ports.
function mdb.split(message, emit)
  for _, entry in ipairs(message.groups and message.groups.entries or {}) do
    for _, one in ipairs(entry.infos or {}) do
      emit { family = message.family, dev_index = message.dev_index, groups = { entries = { { infos = { one } } } } }
    end
  end
end

-- Writing -------------------------------------------------------------------------------------------------------------------------

mdb.writers = { dev = true, port = true, grp = true, vid = true, src = true, state = true, permanent = "boolean", filter_mode = true, proto = true }

function mdb.detail(words)
  local parts = {}
  for _, word in ipairs { "dev", "port", "grp", "vid", "src" } do
    if type(words[word]) == "string" or type(words[word]) == "number" then
      parts[#parts + 1] = word .. " " .. words[word]
    end
  end
  return table.concat(parts, " ")
end

local function group(call, value)
  local bytes = type(value) == "string" and core.inet.bytes(value)
  if bytes then
    return bytes, #bytes == 4 and ETH_P_IP or ETH_P_IPV6
  end
  local mac = {}
  for byte in (type(value) == "string" and value:find "^[%x:]+$" and value or ""):gmatch "%x%x?" do
    mac[#mac + 1] = string.char(tonumber(byte, 16))
  end
  if #mac ~= 6 then
    errors.misuse("%s: grp must be an IP or Ethernet address, got %s", call, tostring(value))
  end
  return table.concat(mac), 0
end

local function message_of(self, call, t)
  verbs.options(call, t, mdb.writers)
  for word, value in pairs(t) do
    if value == false and word ~= "permanent" then
      errors.misuse("%s: %s cannot be false", call, word)
    end
  end
  if t.dev == nil or t.grp == nil then
    errors.misuse("%s: dev (the bridge), port and grp are needed", call)
  end
  local bytes, ethertype = group(call, t.grp)
  local dev = device.index(self.handle, t.dev, call, "dev")
  local message = { family = AF_BRIDGE, dev_index = dev, entry = {
    port_index = t.port ~= nil and device.index(self.handle, t.port, call, "port") or dev,
    state = t.state or t.permanent and "permanent" or "temp", vid = t.vid, bytes = bytes .. ("\0"):rep(16 - #bytes), ethertype = ethertype } }
  if t.src ~= nil or t.filter_mode ~= nil or t.proto ~= nil then
    if t.src ~= nil then
      prefix.address(call, "src", t.src)
    end
    message.wanted = { src = t.src, filter_mode = t.filter_mode, proto_number = t.proto ~= nil and names.number("proto", t.proto, call) or nil }
  end
  return message
end

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = {}
mdb.matchers = matchers
for _, word in ipairs { "dev_index", "port_index", "vid", "state", "filter_mode", "offload", "fast_leave", "blocked", "timer", "proto_number" } do
  matchers[word] = true
end
matchers.dev, matchers.proto = verbs.matchers.dev, verbs.matchers.proto
matchers.port = function(self, value, call)
  return "port_index", device.index(self.handle, value, call, "port")
end
matchers.permanent = function()
  return "state", "permanent"
end
for _, word in ipairs { "grp", "src" } do
  matchers[word] = function(_, value)
    return word, prefix.canonical(value):lower()
  end
end

-- The kernel refuses to be asked for one bridge.
function mdb.payloads()
  return { (mdb.schema or verbs.schema(mdb)):encode { family = AF_BRIDGE } }
end

local function key_words(call, key)
  if type(key) == "userdata" then
    return { dev = key.dev_index, port = key.port_index, grp = key.grp, vid = key.vid, src = key.src }
  elseif type(key) == "table" then
    verbs.options(call .. ": key", key, mdb.writers)
    return { dev = key.dev, port = key.port, grp = key.grp, vid = key.vid, src = key.src }
  end
  errors.misuse("%s: a group is named by { dev = \"br0\", port = \"p0\", grp = \"239.1.1.1\" } or its row, got %s", call, type(key))
end
mdb.key_words = key_words

function mdb.find(self, call, key)
  local words = key_words(call, key)
  if words.dev == nil or words.grp == nil then
    errors.misuse("%s: key: dev (the bridge) and grp are needed", call)
  end
  for _, row in ipairs(many.rows(self, call, words)) do
    if row.src == nil or words.src ~= nil then
      return row
    end
  end
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local function write(self, call, t, asked)
  if not verbs.write(self, call, netlink.CREATE + netlink.EXCL, message_of(self, call, t), t, asked) then
    return mdb.find(self, call, { dev = t.dev, port = t.port or t.dev, grp = t.grp, vid = t.vid, src = t.src })
  end
end

local methods = mdb.methods

---Let a port have a group: bridge mdb add. rtnetlink(7), RTM_NEWMDB.
---
---`t`: dev (the bridge), port (without: the bridge itself), grp (an IP or Ethernet address), vid, src (of IGMPv3, MLDv2), state ("temp" is the
---default; "permanent") or permanent = true; filter_mode, proto where the kernel has them.
---@param t table
---@return nslua.Mdb? row  nothing in a batch
function methods:add(t)
  return write(self, "mdb.add", t)
end

mdb.unchecked = {}

function mdb.identity(_, t)
  local rest = {}
  for _, word in ipairs { "state", "permanent", "filter_mode", "proto" } do
    rest[word] = t[word]
  end
  return { dev = t.dev, port = t.port or t.dev, grp = t.grp, vid = t.vid, src = t.src }, rest
end

local function remove(self, call, words, key, absent)
  netlink.remove(self, call, (mdb.schema or verbs.schema(mdb)):encode(message_of(self, call, words)), mdb.detail(words), absent, key)
end

function mdb.restored(message, moved)
  local told = message.groups.entries[1].infos[1]
  local port = moved and told.port_index == moved.from and moved.to or told.port_index
  message.entry = { port_index = port, state = told.state, vid = told.vid, bytes = told.bytes, ethertype = told.ethertype }
  message.wanted = told.src and { src = told.src } or nil
  message.groups, message.family = nil, AF_BRIDGE
end

-- Both make an entry anew.
local function as_it_was(self, call, key)
  local row = mdb.find(self, call, key)
  local bytes = row and schema.bytes(row)
  return function()
    self:delete(row or key, { absent = "ok" })
    if bytes then
      require("nslua.rtnl.inverse").restore(mdb, self.handle, bytes, netlink.CREATE + netlink.EXCL)
    end
  end
end
mdb.inverses = { change = as_it_was, replace = function(self, call, t)
  message_of(self, call, t)
  return as_it_was(self, call, (mdb.identity(nil, t)))
end }

---The same as `add`, in place of the entry there is.
---@param t table
---@return nslua.Mdb?
function methods:replace(t)
  local call = "mdb.replace"
  message_of(self, call, t)
  local row = mdb.find(self, call, (mdb.identity(nil, t)))
  if row then
    remove(self, call, key_words(call, row), t)
  end
  return write(self, call, t)
end

---Change an entry: it is made anew.
---@param key table  { dev =, port =, grp =, vid =, src = } or a row
---@param t table    state, filter_mode, proto
function methods:change(key, t)
  local call = "mdb.change"
  verbs.options(call, t, { state = true, permanent = true, filter_mode = true, proto = true })
  local row = verbs.existing(self, call, key)
  local words = key_words(call, row)
  remove(self, call, words, key)
  words.state, words.filter_mode = row.state, nil
  if t.permanent ~= nil then
    words.state = t.permanent and "permanent" or "temp"
  end
  words.state, words.filter_mode, words.proto = t.state or words.state, t.filter_mode, t.proto
  write(self, call, words, { call = call, key, t })
end

---Take a group from a port.
---@param key table  { dev =, port =, grp =, vid =, src = } or a row
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "mdb.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  -- kernels differ in what they say where there is none
  if not netlink.batching(self.handle) and not verbs.existing(self, call, words, absent) then
    return
  end
  remove(self, call, words, key, absent)
end

return many.object(mdb)
