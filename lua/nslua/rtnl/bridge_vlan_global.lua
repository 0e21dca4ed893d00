-- What is so of a VLAN on the whole bridge: how it snoops on multicast. bridge(8), `bridge vlan global`; linux/if_bridge.h.

local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local many = require "nslua.rtnl.many"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local units = require "nslua.units"
local verbs = require "nslua.rtnl.verbs"
local vlan = require "nslua.rtnl.bridge_vlan" -- the message

local NEW, GET = 112, 114
local AF_BRIDGE = 7
local DUMP_GLOBAL = 2 -- BRIDGE_VLANDB_DUMPF_GLOBAL
local ENOENT = core.errno.ENOENT
local HUNDREDTHS = 100

---@class nslua.BridgeVlanGlobal  a row: one VLAN of one bridge
---@field dev string         the bridge; `dev_index`
---@field vid integer
---@field mcast_snooping boolean  it snoops where the bridge has mcast_vlan_snooping
---@field mcast_querier boolean   the bridge asks
---@field mcast_igmp_version integer  `mcast_mld_version`
---@field mcast_last_member_count integer  `mcast_startup_query_count`
---@field mcast_query_interval number  in seconds, as `mcast_last_member_interval`, `mcast_startup_query_interval`, `mcast_membership_interval`,
---`mcast_querier_interval`, `mcast_query_response_interval`
---@field mcast_querier_state table?  who asks
---@field msti integer?      its spanning tree

local global = { name = "bridge_vlan_global", message = "bridge_vlan", noun = "vid", new = NEW, get = GET, methods = {},
  none = { [ENOENT] = "no such VLAN" }, missing = ENOENT, detail = vlan.detail }

local intervals = {}
for word in ("last_member startup_query membership querier query query_response"):gmatch "%S+" do
  intervals["mcast_" .. word .. "_interval"] = true
end
local settable = { mcast_snooping = true, mcast_querier = true, mcast_igmp_version = true, mcast_mld_version = true, mcast_last_member_count = true,
  mcast_startup_query_count = true, msti = true }
for word in pairs(intervals) do
  settable[word] = true
end
local yes_no = { mcast_snooping = true, mcast_querier = true }

local computed = {
  dev = function(row, set)
    return verbs.link_name(set, row.dev_index)
  end,
  vid = function(row)
    return row.globals[1].vid
  end,
  mcast_querier_state = function(row)
    return row.globals[1].mcast_querier_state
  end,
}
for word in pairs(settable) do
  computed[word] = function(row)
    local value = row.globals[1][word]
    return value and intervals[word] and tonumber(value) / HUNDREDTHS or value
  end
end

global.class = schema.class {
  name = "bridge_vlan_global",
  computed = computed,
  hidden = { "family", "reserved1", "reserved2", "entries", "globals", "dump_flags" },
  same = function(a, b)
    return a.dev_index == b.dev_index and a.vid == b.vid and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = { dev = verbs.matchers.dev, dev_index = true }
global.matchers = matchers

-- A word's value as rows have it.
local function as_read(word, value, call)
  if intervals[word] then
    return math.floor(units.duration(value, call .. ": " .. word) * HUNDREDTHS + 0.5) / HUNDREDTHS
  elseif yes_no[word] and type(value) ~= "boolean" then
    errors.misuse("%s: %s must be true or false, got %s", call, word, tostring(value))
  elseif not yes_no[word] and type(value) ~= "number" then
    errors.misuse("%s: %s must be a number, got %s", call, word, tostring(value))
  end
  return value
end
for word in pairs(settable) do
  matchers[word] = function(_, value, call)
    return word, as_read(word, value, call)
  end
end
matchers.vid = function(_, value, call)
  local first, last = vlan.range(call, "vid", value, 4094)
  return function(row)
    return row.vid >= first and row.vid <= last
  end
end

function global.payloads(self, filter, call)
  return { (global.schema or verbs.schema(global)):encode { family = AF_BRIDGE, dump_flags = DUMP_GLOBAL,
    dev_index = filter.dev and device.index(self.handle, filter.dev, call, "dev") or nil } }
end

-- A message tells the VLANs of one bridge, like ones as a range.
function global.split(message, emit)
  for _, entry in ipairs(message.globals or {}) do
    local last = entry.range or entry.vid
    entry.range = nil
    for vid = entry.vid, last do
      entry.vid = vid
      emit { family = message.family, dev_index = message.dev_index, globals = { entry } }
    end
  end
end

local function rows_of(self, call, filter)
  return many.rows(self, call, filter, vlan.hints)
end

local function key_words(call, key)
  local words = vlan.key_words(call, key)
  if words.dev == nil or words.vid == nil then
    errors.misuse("%s: dev (the bridge) and vid are needed", call)
  end
  return words
end
global.key_words = key_words

function global.find(self, call, key)
  return rows_of(self, call, key_words(call, key))[1]
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local methods = global.methods

---Change what is so of VLANs on the whole bridge: bridge vlan global set. rtnetlink(7), RTM_NEWVLAN.
---@param key table  { dev = BRIDGE, vid = 10 } (a range too), or a row
---@param t table    mcast_snooping, mcast_querier, mcast_igmp_version, mcast_mld_version, mcast_last_member_count, mcast_last_member_interval,
---mcast_startup_query_count, mcast_startup_query_interval, mcast_membership_interval, mcast_querier_interval, mcast_query_interval,
---mcast_query_response_interval, msti
function methods:change(key, t)
  local call = "bridge_vlan_global.change"
  verbs.options(call, t, settable)
  local words = key_words(call, key)
  local first, last = vlan.range(call, "vid", words.vid, 4094)
  local entry = { vid = first, range = last ~= first and last or nil }
  for word, value in pairs(t) do
    value = as_read(word, value, call)
    entry[word] = intervals[word] and math.floor(value * HUNDREDTHS + 0.5) or value
  end
  verbs.write(self, call, 0, { family = AF_BRIDGE, dev_index = device.index(self.handle, words.dev, call, "dev"), globals = { entry } }, words,
    { call = call, key, t })
end

---Make it so of VLANs that are there: those that are as they should be are left alone.
---@param t table  dev, vid (a range too), and the words of `change`
---@return nslua.BridgeVlanGlobal? row  the first of a range; nothing in a batch
function methods:ensure(t)
  local call = "bridge_vlan_global.ensure"
  if type(t) ~= "table" then
    errors.misuse("%s: a table expected, got %s", call, type(t))
  end
  local key, rest = { dev = t.dev, vid = t.vid }, {}
  for word, value in pairs(t) do
    if word ~= "dev" and word ~= "vid" then
      rest[word] = value
    end
  end
  verbs.options(call, rest, settable)
  local first, last = vlan.range(call, "vid", key_words(call, key).vid, 4094)
  local fine = rows_of(self, call, t)
  if #fine == last - first + 1 then
    return not netlink.batching(self.handle) and fine[1] or nil
  end
  self:change(key, rest)
  if not netlink.batching(self.handle) then
    return global.find(self, call, key)
  end
end

global.inverses = { change = function(self, call, key, t)
  local was = {}
  for _, row in ipairs(rows_of(self, call, key_words(call, key))) do
    local words = {}
    for word in pairs(type(t) == "table" and t or {}) do
      words[word] = row[word]
    end
    was[#was + 1] = { { dev = row.dev_index, vid = row.vid }, words }
  end
  return function()
    for _, one in ipairs(was) do
      self:change(one[1], one[2])
    end
  end
end }

-- A filter: dev, vid (a range too), and every word of `change`.
return many.object(global, vlan.hints)
