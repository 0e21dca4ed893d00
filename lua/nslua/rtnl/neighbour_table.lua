-- How the ARP and ND tables work: sizes, and what each link's neighbours are asked and kept for. ip-ntable(8), linux/neighbour.h.

local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local units = require "nslua.units"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.families" -- enum inet_family

local header = "linux/neighbour.h"

schema.struct("ndtmsg", { c = "struct ndtmsg", header = header, prefix = "ndtm_" }, [[ family u8:enum(inet_family)  pad(3) ]])
schema.struct("ndt_config", { c = "struct ndt_config", header = header, prefix = "ndtc_" }, [[
  key_len u16  entry_size u16  entries u32  last_flush u32  last_rand u32  hash_rnd u32  hash_mask u32  hash_chain_gc u32  proxy_qlen u32
]])
schema.struct("ndt_stats", { c = "struct ndt_stats", header = header, prefix = "ndts_" }, [[
  allocs u64  destroys u64  hash_grows u64  res_failed u64  lookups u64  hits u64  rcv_probes_mcast u64  rcv_probes_ucast u64
  periodic_gc_runs u64  forced_gc_runs u64  table_fulls u64
]])
schema.set("neighbour_parms", { header = header, prefix = "NDTPA_" }, [[
  1   IFINDEX                 dev_index       u32
  2   REFCNT                  refcnt          u32
  3   REACHABLE_TIME          reachable       u64
  4   BASE_REACHABLE_TIME     base_reachable  u64
  5   RETRANS_TIME            retrans         u64
  6   GC_STALETIME            gc_stale        u64
  7   DELAY_PROBE_TIME        delay_probe     u64
  8   QUEUE_LEN               queue           u32
  9   APP_PROBES              app_probes      u32
  10  UCAST_PROBES            ucast_probes    u32
  11  MCAST_PROBES            mcast_probes    u32
  12  ANYCAST_DELAY           anycast_delay   u64
  13  PROXY_DELAY             proxy_delay     u64
  14  PROXY_QLEN              proxy_queue     u32
  15  LOCKTIME                locktime        u64
  16  QUEUE_LENBYTES          queue_bytes     u32
  17  MCAST_REPROBES          mcast_reprobes  u32
  19  INTERVAL_PROBE_TIME_MS  interval_probe  u64
]])
schema.set("neighbour_table", { header = header, prefix = "NDTA_" }, [[
  1  NAME         name     strz
  2  THRESH1      thresh1  u32
  3  THRESH2      thresh2  u32
  4  THRESH3      thresh3  u32
  5  CONFIG       config   struct(ndt_config)
  6  PARMS        parms    nest(neighbour_parms)
  7  STATS        stats    struct(ndt_stats)
  8  GC_INTERVAL  gc_int   u64
]])
schema.message("neighbour_table", { head = "ndtmsg", attrs = "neighbour_table", c = "NEIGHTBL", header = "linux/rtnetlink.h",
  new = 64, get = 66, set = 67 })

local GET, SET = 66, 67
local ENOENT = core.errno.ENOENT

---@class nslua.NeighbourTable  a row: what is so by default, or of one link. Durations are seconds
---@field name string        "arp_cache", "ndisc_cache"
---@field family "inet"|"inet6"
---@field dev string?        `dev_index`; nil: the table itself
---@field base_reachable number  reachable retrans gc_stale delay_probe anycast_delay proxy_delay locktime interval_probe: durations
---@field ucast_probes integer   app_probes mcast_probes mcast_reprobes: how often it is asked
---@field queue integer      packets that wait for an answer; `queue_bytes`, `proxy_queue`
---@field thresh1 integer?   of the table: entries above which it is cleaned up; `thresh2`, `thresh3`, `gc_int` (seconds), `config`, `stats`

local tables = { name = "neighbour_table", noun = "name", new = 64, get = GET, methods = {},
  none = { [ENOENT] = "no such table" }, missing = ENOENT }

local durations = { reachable = true, base_reachable = true, retrans = true, gc_stale = true, delay_probe = true, anycast_delay = true,
  proxy_delay = true, locktime = true, interval_probe = true }
local counts = { refcnt = true, queue = true, app_probes = true, ucast_probes = true, mcast_probes = true, proxy_queue = true, queue_bytes = true,
  mcast_reprobes = true }
local read_only = { reachable = true, refcnt = true }
local whole = { thresh1 = true, thresh2 = true, thresh3 = true } -- of the table, not of a link

local matchers = { family = verbs.matchers.family, dev = verbs.matchers.dev, name = true, gc_int = true }
tables.matchers = matchers
matchers[1] = function(_, value)
  return "name", value
end

local computed = {
  dev_index = function(row)
    return row.parms and row.parms.dev_index
  end,
  dev = function(row, set)
    return verbs.link_name(set, row.dev_index)
  end,
  gc_int = function(row)
    local value = schema.raw(row, "gc_int")
    return value and value / 1000
  end,
}
for word in pairs(durations) do
  computed[word] = function(row)
    local value = row.parms and row.parms[word]
    return value and value / 1000
  end
  matchers[word] = true
end
for word in pairs(counts) do
  computed[word] = function(row)
    return row.parms and row.parms[word]
  end
  matchers[word] = true
end
for word in pairs(whole) do
  matchers[word] = true
end

tables.class = schema.class {
  name = "neighbour_table",
  computed = computed,
  hidden = { "parms" },
  same = function(a, b)
    return a.name == b.name and a.dev_index == b.dev_index and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

function tables.payloads(_, filter, call)
  return { (tables.schema or verbs.schema(tables)):encode { family = filter.family and prefix.family(filter.family, call) or nil } }
end

local function key_words(call, key)
  if type(key) == "string" then
    return { key }
  elseif type(key) == "userdata" then
    return { key.name, dev = key.dev_index }
  elseif type(key) == "table" then
    verbs.options(call .. ": key", key, { true, dev = true })
    if key[1] ~= nil then
      return key
    end
  end
  errors.misuse("%s: a table is named by { \"arp_cache\" or \"ndisc_cache\", dev = } or its row", call)
end
tables.key_words = key_words

function tables.detail(words)
  return ("%s%s"):format(tostring(words[1]), type(words.dev) == "string" and " dev " .. words.dev or "")
end

function tables.find(self, call, key)
  local words = key_words(call, key)
  return verbs.list(self, { words[1], dev = words.dev or false })[1]
end

local elsewhere = { [ENOENT] = "no such table, or not the machine's first network namespace: name a dev" }
local settable = { thresh1 = true, thresh2 = true, thresh3 = true, gc_int = true }
for _, set in ipairs { durations, counts } do
  for word in pairs(set) do
    settable[word] = not read_only[word] or nil
  end
end

local methods = tables.methods

---Change a table, or what is so of one link. rtnetlink(7), RTM_SETNEIGHTBL.
---@param key string|table  "arp_cache", { "ndisc_cache", dev = "eth0" }, or a row
---@param t table  base_reachable, retrans, ucast_probes, queue, ...; without dev (in the machine's first namespace only) thresh1, gc_int, ... too
function methods:change(key, t)
  local call = "neighbour_table.change"
  verbs.options(call, t, settable)
  local words = key_words(call, key)
  local message = { name = words[1] }
  local parms = { dev_index = words.dev ~= nil and device.index(self.handle, words.dev, call, "dev") or nil }
  for word, value in pairs(t) do
    if word == "gc_int" then
      message.gc_int = math.floor(units.duration(value, call .. ": gc_int") * 1000 + 0.5)
    elseif whole[word] then
      message[word] = value
    else
      parms[word] = durations[word] and math.floor(units.duration(value, call .. ": " .. word) * 1000 + 0.5) or value
    end
  end
  message.parms = next(parms) and parms or nil
  local S = tables.schema or verbs.schema(tables)
  netlink.write { SET, 0, S:encode(message), handle = self.handle, call = call, object = tables.name, schema = S, detail = tables.detail(words),
    none = words.dev == nil and elsewhere or tables.none, asked = { call = call, key, t } }
end

tables.inverses = { change = function(self, call, key, t)
  local row = tables.find(self, call, key)
  local was = {}
  for word in pairs(row and type(t) == "table" and t or {}) do
    was[word] = row[word]
  end
  return function()
    self:change(key, was)
  end
end }

return verbs.object(tables)
