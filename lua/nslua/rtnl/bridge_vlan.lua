-- VLANs of bridges that filter them, and of their ports. bridge(8), linux/if_bridge.h.

local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local many = require "nslua.rtnl.many"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.families" -- enum inet_family
require "nslua.rtnl.kind.bridge" -- enum bridge_port_state

local header = "linux/if_bridge.h"

schema.flags("bridge_vlan_flags", { header = header, prefix = "BRIDGE_VLAN_INFO_" }, {
  master = 1, pvid = 2, untagged = 4, range_begin = 8, range_end = 16, brentry = 32, only_opts = 64 })
schema.struct("br_vlan_msg", { c = "struct br_vlan_msg", header = header, prefix = "" }, [[
  family u8:enum(inet_family)  reserved1 u8  reserved2 u16  dev_index=ifindex u32
]])
schema.struct("bridge_vlan_info", { c = "struct bridge_vlan_info", header = header, prefix = "" }, [[
  flags u16:flags(bridge_vlan_flags)  vid u16
]])
schema.set("bridge_vlan_tunnel", { header = header, prefix = "BRIDGE_VLANDB_TINFO_" }, [[
  1  ID   id   u32
  2  CMD  cmd  u32
]])
schema.set("bridge_vlan_stats", { header = header, prefix = "BRIDGE_VLANDB_STATS_" }, [[
  1  RX_BYTES    rx_bytes    u64
  2  RX_PACKETS  rx_packets  u64
  3  TX_BYTES    tx_bytes    u64
  4  TX_PACKETS  tx_packets  u64
]])
schema.set("bridge_vlan_entry", { header = header, prefix = "BRIDGE_VLANDB_ENTRY_" }, [[
  1  INFO          info              struct(bridge_vlan_info)
  2  RANGE         range             u16
  3  STATE         state             u8:enum(bridge_port_state)
  4  TUNNEL_INFO   tunnel            nest(bridge_vlan_tunnel)
  5  STATS         stats             nest(bridge_vlan_stats)
  6  MCAST_ROUTER  mcast_router      u8
  7  -             mcast_n_groups    u32   -- these came after Linux 6.1
  8  -             mcast_max_groups  u32
  9  -             neigh_suppress    bool
]])
schema.set("bridge_vlan_global", { header = header, prefix = "BRIDGE_VLANDB_GOPTS_" }, [[
  1   ID                         vid                            u16
  2   RANGE                      range                          u16
  3   MCAST_SNOOPING             mcast_snooping                 bool
  4   MCAST_IGMP_VERSION         mcast_igmp_version             u8
  5   MCAST_MLD_VERSION          mcast_mld_version              u8
  6   MCAST_LAST_MEMBER_CNT      mcast_last_member_count        u32
  7   MCAST_STARTUP_QUERY_CNT    mcast_startup_query_count      u32
  8   MCAST_LAST_MEMBER_INTVL    mcast_last_member_interval     u64
  10  MCAST_MEMBERSHIP_INTVL     mcast_membership_interval      u64
  11  MCAST_QUERIER_INTVL        mcast_querier_interval         u64
  12  MCAST_QUERY_INTVL          mcast_query_interval           u64
  13  MCAST_QUERY_RESPONSE_INTVL mcast_query_response_interval  u64
  14  MCAST_STARTUP_QUERY_INTVL  mcast_startup_query_interval   u64
  15  MCAST_QUERIER              mcast_querier                  bool
  16  MCAST_ROUTER_PORTS         mcast_router_ports             bin
  17  MCAST_QUERIER_STATE        mcast_querier_state            nest(bridge_querier)
  18  MSTI                       msti                           u16
]])
schema.set("bridge_vlan", { header = header, prefix = "BRIDGE_VLANDB_" }, [[
  1  ENTRY           entries     nest(bridge_vlan_entry)  multi
  1  DUMP_FLAGS      dump_flags  u32                      writeonly
  2  GLOBAL_OPTIONS  globals     nest(bridge_vlan_global) multi   -- bridge_vlan_global.lua
]])
schema.message("bridge_vlan", { head = "br_vlan_msg", attrs = "bridge_vlan", c = "VLAN", header = "linux/rtnetlink.h",
  new = 112, del = 113, get = 114 })

local NEW, DEL, GET = 112, 113, 114
local AF_BRIDGE = 7
local PVID, UNTAGGED, ONLY_OPTS = 2, 4, 64
local DUMP_STATS = 1 -- BRIDGE_VLANDB_DUMPF_STATS
local SET_TUNNEL, UNSET_TUNNEL = 19, 17 -- RTM_SETLINK, RTM_DELLINK: what BRIDGE_VLANDB_TINFO_CMD takes
local ENOENT = core.errno.ENOENT

---@class nslua.BridgeVlan  a row: one VLAN of one link
---@field dev string         the port, or the bridge itself; `dev_index`
---@field vid integer
---@field pvid boolean?      packets without a tag come in as this one
---@field untagged boolean?  packets go out without a tag
---@field state string?      "forwarding", "blocking", ... of a port
---@field tunnel_id integer? the id in a VXLAN
---@field mcast_router integer?  `mcast_n_groups`, `mcast_max_groups`, `neigh_suppress` where the kernel has them
---@field stats table?       rx_bytes, rx_packets, tx_bytes, tx_packets: with list{ stats = true }

local vlan = { name = "bridge_vlan", noun = "vid", new = NEW, del = DEL, get = GET, methods = {},
  none = { [ENOENT] = "no such VLAN" }, missing = ENOENT }

local function of_entry(word)
  return function(row)
    return row.entries[1][word]
  end
end
local computed = {
  dev = function(row, set)
    return verbs.link_name(set, row.dev_index)
  end,
  vid = function(row)
    return row.entries[1].info.vid
  end,
  tunnel_id = function(row)
    local tunnel = row.entries[1].tunnel
    return tunnel and tunnel.id
  end,
}
for _, word in ipairs { "state", "stats", "mcast_router", "mcast_n_groups", "mcast_max_groups", "neigh_suppress" } do
  computed[word] = of_entry(word)
end
for _, word in ipairs { "pvid", "untagged" } do
  computed[word] = function(row)
    return row.entries[1].info.flags[word] or nil
  end
end

vlan.class = schema.class {
  name = "bridge_vlan",
  computed = computed,
  hidden = { "family", "reserved1", "reserved2", "entries", "globals", "dump_flags" },
  same = function(a, b)
    return a.dev_index == b.dev_index and a.vid == b.vid and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

-- Writing -------------------------------------------------------------------------------------------------------------------------

vlan.writers = { dev = true, vid = true, pvid = "boolean", untagged = "boolean", self = "boolean", tunnel_id = true, state = true,
  mcast_router = true, mcast_max_groups = true, neigh_suppress = true }
local yes_no = { pvid = true, untagged = true, self = true, neigh_suppress = true }

-- 10, "10-20", { 10, 20 }: the first and the last
local function range(call, key, value, most)
  local first, last
  if type(value) == "number" then
    first, last = value, value
  elseif type(value) == "string" then
    local a, b = value:match "^(%d+)%-?(%d*)$"
    first, last = tonumber(a), tonumber(b ~= "" and b or a)
  elseif type(value) == "table" then
    first, last = value[1], value[2] or value[1]
  end
  if type(first) ~= "number" or type(last) ~= "number" or first < 1 or last < first or last > most or first % 1 ~= 0 or last % 1 ~= 0 then
    errors.misuse("%s: %s must be a number or a range like \"10-20\" within 1 to %d, got %s", call, key, most, tostring(value))
  end
  return first, last
end

vlan.range = range

local function detail_of(words)
  local vid = words.vid
  if type(vid) == "table" then
    vid = ("%s-%s"):format(tostring(vid[1]), tostring(vid[2]))
  end
  return ("%svid %s"):format((type(words.dev) == "string" or type(words.dev) == "number") and ("dev " .. words.dev .. " ") or "", tostring(vid))
end
vlan.detail = detail_of

local function head(handle, call, t)
  if t.dev == nil or t.vid == nil then
    errors.misuse("%s: dev and vid are needed", call)
  end
  return { family = AF_BRIDGE, dev_index = device.index(handle, t.dev, call, "dev") }
end

-- `flags`: more of the first entry's. A tunnel id for each VLAN makes an entry for each.
local function message_of(handle, call, t, flags)
  verbs.options(call, t, vlan.writers)
  for word, value in pairs(t) do
    if value == false and not yes_no[word] and not (word == "tunnel_id" and flags ~= 0) then
      errors.misuse("%s: %s cannot be false", call, word)
    end
  end
  local message = head(handle, call, t)
  local first, last = range(call, "vid", t.vid, 4094)
  if t.pvid and first ~= last then
    errors.misuse("%s: pvid is one VLAN, not the range %d-%d", call, first, last)
  end
  flags = flags + (t.pvid and PVID or 0) + (t.untagged and UNTAGGED or 0)
  local function entry(vid, to)
    return { info = { flags = flags, vid = vid }, range = to ~= vid and to or nil, state = t.state, mcast_router = t.mcast_router,
      mcast_max_groups = t.mcast_max_groups, neigh_suppress = t.neigh_suppress }
  end
  message.entries = {}
  if t.tunnel_id == nil or t.tunnel_id == false then
    message.entries[1] = entry(first, last)
    if t.tunnel_id == false then
      message.entries[1].tunnel = { cmd = UNSET_TUNNEL }
    end
    return message
  end
  local id, most = range(call, "tunnel_id", t.tunnel_id, 16777215)
  if most - id ~= last - first then
    errors.misuse("%s: vid and tunnel_id must be ranges of one length", call)
  end
  for vid = first, last do
    local one = entry(vid, vid)
    one.tunnel = { id = id + vid - first, cmd = SET_TUNNEL }
    message.entries[#message.entries + 1] = one
  end
  return message
end

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = {}
vlan.matchers = matchers
for _, word in ipairs { "dev_index", "pvid", "untagged", "state", "mcast_router", "mcast_max_groups", "mcast_n_groups", "neigh_suppress" } do
  matchers[word] = true
end
matchers.dev = verbs.matchers.dev
matchers.master = verbs.ports
for word, most in pairs { vid = 4094, tunnel_id = 16777215 } do
  matchers[word] = function(_, value, call)
    local first, last = range(call, word, value, most)
    return function(row)
      local has = row[word]
      return has ~= nil and has >= first and has <= last
    end
  end
end
local function always()
  return true
end
matchers.stats = function()
  return always
end
matchers.self = matchers.stats

function vlan.payloads(self, filter, call)
  return { (vlan.schema or verbs.schema(vlan)):encode { family = AF_BRIDGE,
    dev_index = filter.dev and device.index(self.handle, filter.dev, call, "dev") or nil, dump_flags = filter.stats and DUMP_STATS or nil } }
end

-- A message tells the VLANs of one link, like ones as a range.
function vlan.split(message, emit)
  for _, entry in ipairs(message.entries or {}) do
    local first, tunnel = entry.info.vid, entry.tunnel and entry.tunnel.id
    local last = entry.range or first
    entry.range = nil
    for vid = first, last do
      entry.info.vid = vid
      if tunnel then
        entry.tunnel.id = tunnel + vid - first
      end
      emit { family = message.family, dev_index = message.dev_index, entries = { entry } }
    end
  end
end

local hints = { EOPNOTSUPP = "this kernel's bridges filter no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)" }

vlan.hints = hints

local function rows_of(self, call, filter)
  return many.rows(self, call, filter, hints)
end

local function key_words(call, key)
  if type(key) == "userdata" then
    return { dev = key.dev_index, vid = key.vid }
  elseif type(key) == "table" then
    verbs.options(call .. ": key", key, { dev = true, vid = true, self = true, dev_index = true })
    return { dev = key.dev or key.dev_index, vid = key.vid }
  end
  errors.misuse("%s: a VLAN is named by { dev = \"eth0\", vid = 10 } or its row, got %s", call, type(key))
end
vlan.key_words = key_words

function vlan.find(self, call, key)
  local words = key_words(call, key)
  head(self.handle, call, words)
  return rows_of(self, call, words)[1]
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local function write(self, call, t, flags, asked)
  if not verbs.write(self, call, 0, message_of(self.handle, call, t, flags), t, asked) then
    return vlan.find(self, call, { dev = t.dev, vid = t.vid })
  end
end

local methods = vlan.methods

---Let VLANs through a port, or through the bridge itself: bridge vlan add. One that is there gets these flags. rtnetlink(7), RTM_NEWVLAN.
---
---`t`: dev (a port, or a bridge), vid (10, "10-20", { 10, 20 }), pvid, untagged, state ("forwarding", "blocking", ...), mcast_router, tunnel_id (of
---a VXLAN; a range for a range; the port needs vlan_tunnel), mcast_max_groups, neigh_suppress. `self` is told by dev.
---@param t table
---@return nslua.BridgeVlan? row  the first of a range; nothing in a batch
function methods:add(t)
  return write(self, "bridge_vlan.add", t, 0)
end

---The same.
---@param t table
---@return nslua.BridgeVlan?
function methods:replace(t)
  return write(self, "bridge_vlan.replace", t, 0)
end

-- All VLANs of the link: one that gets `pvid` takes it from another. moved_to: the index that it has by then.
local function as_they_were(self, call, key)
  local index = head(self.handle, call, { dev = type(key) == "table" and key.dev or key.dev_index, vid = key.vid }).dev_index
  local before = {}
  for _, row in ipairs(rows_of(self, call, { dev = index })) do
    before[row.vid] = row
  end
  return function(_, moved_to)
    index = moved_to or index
    local now = {}
    for _, row in ipairs(rows_of(self, call, { dev = index })) do
      now[row.vid] = row
      if not before[row.vid] then
        self:delete(row)
      end
    end
    for vid, old in pairs(before) do
      local new, options = now[vid] or {}, {}
      if not now[vid] or new.pvid ~= old.pvid or new.untagged ~= old.untagged then
        self:add { dev = index, vid = vid, pvid = old.pvid, untagged = old.untagged }
        new = vlan.find(self, call, { dev = index, vid = vid }) or new
      end
      for _, word in ipairs { "state", "mcast_router", "mcast_max_groups", "neigh_suppress" } do
        options[word] = old[word] ~= new[word] and old[word] or nil
      end
      if old.tunnel_id ~= new.tunnel_id then
        options.tunnel_id = old.tunnel_id or false
      end
      if next(options) then
        self:change({ dev = index, vid = vid }, options)
      end
    end
  end
end
vlan.inverses = { add = as_they_were, replace = as_they_were, change = as_they_were, delete = as_they_were }

---Make it so: VLANs that are there as they should be are left alone.
---@param t table
---@return nslua.BridgeVlan?
function methods:ensure(t)
  local call = "bridge_vlan.ensure"
  verbs.options(call, t, vlan.writers)
  head(self.handle, call, t)
  local first, last = range(call, "vid", t.vid, 4094)
  local tunnel = t.tunnel_id and range(call, "tunnel_id", t.tunnel_id, 16777215)
  local there, fine = {}, {}
  for _, row in ipairs(rows_of(self, call, { dev = t.dev, vid = t.vid })) do
    there[row.vid] = true
  end
  for _, row in ipairs(rows_of(self, call, t)) do
    fine[row.vid] = row
  end
  local rest = {}
  for word, value in pairs(t) do
    if word ~= "dev" and word ~= "vid" then
      rest[word] = value
    end
  end
  -- a run of VLANs that lack the same is written at once
  local vid = first
  while vid <= last do
    local to = vid
    while to < last and there[to + 1] == there[vid] and (fine[to + 1] ~= nil) == (fine[vid] ~= nil) do
      to = to + 1
    end
    rest.tunnel_id = tunnel and { tunnel + vid - first, tunnel + to - first } or nil
    if not there[vid] then
      local words = { dev = t.dev, vid = { vid, to } }
      for word, value in pairs(rest) do
        words[word] = value
      end
      self:add(words)
    elseif not fine[vid] then
      self:change({ dev = t.dev, vid = { vid, to } }, rest)
    end
    vid = to + 1
  end
  if not netlink.batching(self.handle) then
    return fine[first] or vlan.find(self, call, { dev = t.dev, vid = first })
  end
end

---Change VLANs: their options, or whether they are tagged.
---@param key table  { dev =, vid = } (a range too), or a row
---@param t table    pvid, untagged, state, mcast_router, tunnel_id (false: none), ...
function methods:change(key, t)
  local call = "bridge_vlan.change"
  verbs.options(call, t, vlan.writers)
  local words, flags = key_words(call, key), ONLY_OPTS
  if t.dev ~= nil or t.vid ~= nil then
    errors.misuse("%s: dev and vid are the key; add another, then delete this one", call)
  end
  if t.pvid ~= nil or t.untagged ~= nil then
    local row = verbs.existing(self, call, words)
    words.pvid, words.untagged = row.pvid, row.untagged
    flags = 0
  end
  for word, value in pairs(t) do
    words[word] = value
  end
  if flags == 0 and words.tunnel_id == false then
    self:change(key, { tunnel_id = false })
    words.tunnel_id = nil
  end
  local message = message_of(self.handle, call, words, flags)
  verbs.write(self, call, 0, message, words, { call = call, key, t })
end

---Take VLANs away.
---@param key table  { dev =, vid = } (a range too), or a row
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "bridge_vlan.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  -- the kernel says nothing where there is none
  if not netlink.batching(self.handle) and not verbs.existing(self, call, words, absent) then
    return
  end
  local message = message_of(self.handle, call, words, 0)
  local S = vlan.schema or verbs.schema(vlan)
  netlink.remove(self, call, S:encode(message), detail_of(words), absent, key)
end

-- A filter: dev, master (ports of it), vid (a range too), pvid, untagged, state, tunnel_id; stats = true counts.
return many.object(vlan, hints)
