-- Connections that the kernel tracks in a namespace: a.conntrack. conntrack(8), linux/netfilter/nfnetlink_conntrack.h
--
--    for c in a.conntrack:each{ proto = "tcp", dport = 80 } do print(c.orig.src, c.state, c.timeout) end
--    local changes <close> = a.conntrack:monitor()

local book = require "nslua.netfilter.conntrackschema"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local netfilter = require "nslua.netfilter.schema"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local within = require "nslua.rtnl.within"

local M = {}

local SUBSYSTEM, NEW, GET, DELETE = 256, 0, 1, 2 -- NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_*

---@class nslua.Tuple  one direction of a connection
---@field src string     `dst` likewise
---@field sport? integer `dport` likewise; of ICMP `icmp_id`, `icmp_type`, `icmp_code`
---@field proto string|integer

---@class nslua.Connection  a row of `a.conntrack`
---@field family "inet"|"inet6"
---@field proto string|integer  "tcp", "udp", "icmp", ...
---@field orig nslua.Tuple   as the first packet went; `reply` as answers come, which NAT makes another
---@field status table<string, true>  "seen_reply", "assured", "confirmed", "src_nat", "dst_nat", ...
---@field state? string      of TCP and SCTP: "established", "time_wait", ...; more of it in `protoinfo`
---@field timeout? integer   seconds until it is forgotten
---@field mark? integer      `zone`, `id`, `use`, `labels`, `helper` likewise, where there is one
---@field counters? { orig: { packets: integer, bytes: integer }, reply: { packets: integer, bytes: integer } }  with
---net.netfilter.nf_conntrack_acct
---@field start? number      seconds since 1970, with net.netfilter.nf_conntrack_timestamp; `stop` in the event of its end

local function tuple(t)
  if not t then
    return nil
  end
  local ip, l4 = t.ip or {}, t.l4 or {}
  return { src = ip.src4 or ip.src6, dst = ip.dst4 or ip.dst6, proto = l4.proto, sport = l4.sport, dport = l4.dport, zone = t.zone,
    icmp_id = l4.icmp_id or l4.icmpv6_id, icmp_type = l4.icmp_type or l4.icmpv6_type, icmp_code = l4.icmp_code or l4.icmpv6_code }
end

local function seconds(key)
  return function(row)
    local t = row.timestamp
    return t and t[key] and tonumber(t[key]) / 1e9 or nil
  end
end

local families = { [prefix.AF_INET] = "inet", [prefix.AF_INET6] = "inet6" }

local class = schema.class {
  name = "conntrack",
  hidden = { "tuple_orig", "tuple_reply", "tuple_master", "counters_orig", "counters_reply", "help",
     "timestamp", "family_number", "version", "res_id" },
  computed = {
    family = function(row)
      return families[row.family_number]
    end,
    orig = function(row)
      return tuple(row.tuple_orig)
    end,
    reply = function(row)
      return tuple(row.tuple_reply)
    end,
    master = function(row)
      return tuple(row.tuple_master)
    end,
    proto = function(row)
      return row.tuple_orig and row.tuple_orig.l4 and row.tuple_orig.l4.proto
    end,
    state = function(row)
      local info = row.protoinfo or {}
      return (info.tcp or info.sctp or info.dccp or {}).state
    end,
    counters = function(row)
      return row.counters_orig and { orig = row.counters_orig, reply = row.counters_reply } or nil
    end,
    helper = function(row)
      return row.help and row.help.name
    end,
    start = seconds "start", stop = seconds "stop",
  },
  same = function(a, b)
    return a.id == b.id and a.family == b.family and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

---@class nslua.ConntrackFilter
---@field family? "inet"|"inet6"
---@field proto? string|integer
---@field state? string
---@field mark? integer        `zone`, `id` likewise
---@field src? string          address or prefix, of the first packet; `dst` likewise
---@field sport? integer       of the first packet; `dport` likewise
---@field status? string       a flag that is set: "assured"

local words = { family = true, proto = true, state = true, mark = true, zone = true, id = true, src = true, dst = true, sport = true, dport = true,
  status = true }

local function tests_of(filter, call)
  if type(filter) ~= "table" then
    errors.misuse("%s: a filter is a table, got %s", call, type(filter))
  end
  local tests = {}
  for key, value in pairs(filter) do
    if not words[key] then
      errors.misuse("%s: %s", call, check.unknown("key", key, words))
    elseif key == "src" or key == "dst" then
      local inside = within.of(call, key, value)
      tests[#tests + 1] = function(row)
        return row.orig ~= nil and inside(row.orig[key])
      end
    elseif key == "sport" or key == "dport" then
      if type(value) ~= "number" or value < 0 or value > 65535 then
        errors.misuse("%s: %s must be a port from 0 to 65535, got %s", call, key, type(value) == "number" and value or type(value))
      end
      tests[#tests + 1] = function(row)
        return row.orig ~= nil and row.orig[key] == value
      end
    elseif key == "status" then
      local known = book:names "status"
      if not known[value] then
        errors.misuse("%s: %s", call, check.unknown("status", value, known))
      end
      tests[#tests + 1] = function(row)
        return row.status ~= nil and row.status[value] == true
      end
    elseif key == "proto" and type(value) == "string" and not book:names "proto"[value] then
      errors.misuse("%s: %s", call, check.unknown("proto", value, (book:names "proto")))
    elseif (key == "mark" or key == "zone" or key == "id") and type(value) ~= "number" then
      errors.misuse("%s: %s must be a number, got %s", call, key, type(value))
    elseif key == "state" and not (book:names "tcp_state"[value] or book:names "sctp_state"[value]) then
      errors.misuse("%s: %s", call, check.unknown("state", value, (book:names "tcp_state")))
    else
      if key == "family" then
        prefix.family(value, call)
      end
      tests[#tests + 1] = function(row)
        return row[key] == value
      end
    end
  end
  return function(row)
    for i = 1, #tests do
      if not tests[i](row) then
        return false
      end
    end
    return true
  end
end

---@class nslua.Conntrack
---@field handle nslua.Netns
local methods = {}

local Conntrack = { __index = methods, __name = "nslua.Conntrack" }
M.metatable = Conntrack

function Conntrack:__tostring()
  return "conntrack of " .. self.handle:describe()
end

local function hint(errno)
  return errno == core.errno.EINVAL
    and "this kernel has no nf_conntrack_netlink (CONFIG_NF_CT_NETLINK), or it is in a module that is not there" or nil
end

local function ask(self, filter, call)
  local passes = tests_of(filter, call)
  local S = book:compile "conntrack"
  local request = { family_number = filter.family and prefix.family(filter.family, call) or 0 }
  if filter.mark then
    request.mark, request.mark_mask = filter.mark, 4294967295
  end
  return netlink.dump(self.handle, call, "conntrack", S, SUBSYSTEM + GET, S:encode(request),
    { protocol = netfilter.NETLINK_NETFILTER, hint = hint }),
    S, passes
end

---Every connection that passes a filter, as independent rows. The kernel looks at family and mark itself. Nothing is tracked in a namespace
---before a rule asks for it ("ct state" in nftables).
---@param filter? nslua.ConntrackFilter
---@return nslua.Connection[]  `interrupted` is true where the table changed under ten dumps in a row
function methods:list(filter)
  local dump, S, passes = ask(self, filter or {}, "conntrack.list")
  local rows = dump:rows(S, class, { handle = self.handle }, passes)
  rows.interrupted = dump.interrupted or nil
  return rows
end

---Go through them. A row lives until the next step; `row:decode()` keeps it.
---@param filter? nslua.ConntrackFilter
---@return fun(): nslua.Connection?
function methods:each(filter)
  local dump, S, passes = ask(self, filter or {}, "conntrack.each")
  local step = dump:each(S, class, { handle = self.handle })
  return function()
    while true do
      local row = step()
      if not row or passes(row) then
        return row
      end
    end
  end
end

---Listen for connections that begin, change and end: `for e in a.conntrack:monitor():each(5) do print(e.action, e.object.orig.dst) end`.
---@param filter? nslua.ConntrackFilter
---@param options? { events: string[], buffer: integer }  of "new", "update", "destroy" (default: all); the kernel's queue in bytes
---@return nslua.NetfilterMonitor
function methods:monitor(filter, options)
  local call = "conntrack.monitor"
  local passes = tests_of(filter or {}, call)
  check.options(call, options or {}, { events = "table|string", buffer = "integer" })
  local groups = { new = 1, update = 2, destroy = 3 } -- NFNLGRP_CONNTRACK_*
  local ids, wanted = {}, options and options.events or { "new", "update", "destroy" }
  for i, word in ipairs(type(wanted) == "table" and wanted or { wanted }) do
    ids[i] = groups[word] or errors.misuse("%s: %s", call, check.unknown("event", word, groups))
  end
  local set, S = { handle = self.handle }, nil
  return require("nslua.netfilter.monitor").open(self.handle, call, ids, options and options.buffer, function(kind, bytes, flags)
    if kind ~= SUBSYSTEM + NEW and kind ~= SUBSYSTEM + DELETE then
      return nil
    end
    S = S or book:compile "conntrack"
    local row = S:row(bytes, class, set)
    if passes(row) then
      local new = flags % (2 * netlink.CREATE) >= netlink.CREATE -- it was not there before
      return kind == SUBSYSTEM + DELETE and "destroy" or new and "new" or "update", row
    end
  end)
end

return M
