-- What queueing disciplines, classes and filters share: the header of their messages, statistics, keys, and how words become messages.
-- rtnetlink(7), tc(8), linux/pkt_sched.h.

local check = require "nslua.check"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local handle = require "nslua.rtnl.handle"
local kinds = require "nslua.rtnl.qdisc_kind"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.stab" -- the type of one attribute

local M = {}

local rtnetlink_h, gen_stats_h, sched_h = "linux/rtnetlink.h", "linux/gen_stats.h", "linux/pkt_sched.h"

schema.struct("tcmsg", { c = "struct tcmsg", header = rtnetlink_h, prefix = "tcm_" }, [[
  family u8  pad(3)  dev_index=tcm_ifindex s32  handle_number=tcm_handle u32  parent_number=tcm_parent u32  info u32
]])
schema.struct("tc_stats", { c = "struct tc_stats", header = sched_h, prefix = "" }, [[
  bytes u64  packets u32  drops u32  overlimits u32  bps u32  pps u32  qlen u32  backlog u32  pad(4)
]])
schema.struct("tc_estimator", { c = "struct tc_estimator", header = sched_h, prefix = "" }, [[ interval s8  ewma_log u8 ]])
schema.struct("gnet_basic", { c = "struct gnet_stats_basic", header = gen_stats_h, prefix = "" }, [[ bytes u64  packets u32  pad(4) ]])
schema.struct("gnet_queue", { c = "struct gnet_stats_queue", header = gen_stats_h, prefix = "" }, [[
  qlen u32  backlog u32  drops u32  requeues u32  overlimits u32
]])
schema.struct("gnet_rate", { c = "struct gnet_stats_rate_est", header = gen_stats_h, prefix = "" }, [[ bps u32  pps u32 ]])
schema.struct("gnet_rate64", { c = "struct gnet_stats_rate_est64", header = gen_stats_h, prefix = "" }, [[ bps u64  pps u64 ]])

local stats_set = [[
  1  BASIC       basic     struct(gnet_basic)
  2  RATE_EST    rate      struct(gnet_rate)
  3  QUEUE       queue     struct(gnet_queue)
  4  APP         app       %s
  5  RATE_EST64  rate64    struct(gnet_rate64)
  7  BASIC_HW    basic_hw  struct(gnet_basic)
  8  PKT64       packets64 u64
]]
local set = [[
  1   KIND            kind            strz
  2   OPTIONS         options         union(kind,OBJECT_options)
  3   STATS           stats32         struct(tc_stats)
  4   XSTATS          xstats_old      union(kind,OBJECT_xstats)
  5   RATE            estimator       struct(tc_estimator)
  6   FCNT            filters         u32
  7   STATS2          stats2          nest(OBJECT_stats2)
  8   STAB            stab            nest(tc_stab)
  10  DUMP_INVISIBLE  dump_invisible  flag
  11  CHAIN           chain           u32
  12  HW_OFFLOAD      hw_offload      bool
  13  INGRESS_BLOCK   ingress_block   u32
  14  EGRESS_BLOCK    egress_block    u32
  15  DUMP_FLAGS      dump_flags      bin
  16  EXT_WARN_MSG    warning         strz
]]

---Declare the message of one of the three.
---@param name "qdisc"|"class"|"filter"
---@param c string
---@param new integer  RTM_NEW; RTM_DEL and RTM_GET are the two after it
function M.message(name, c, new)
  schema.set(name .. "_stats2", { header = gen_stats_h, prefix = "TCA_STATS_" }, stats_set:format("union(kind," .. name .. "_xstats)"))
  schema.set(name, { header = rtnetlink_h, prefix = "TCA_" }, (set:gsub("OBJECT", name)))
  schema.message(name, { head = "tcmsg", attrs = name, c = c, header = rtnetlink_h, new = new, del = new + 1, get = new + 2 })
end

---What an object has counted, or nil.
---@param row table
---@return table?
local function stats(row)
  local found = row.stats2
  if not found then
    return row.stats32
  end
  local basic, queue = found.basic or {}, found.queue or {}
  local rate = found.rate64 or found.rate
  return { bytes = basic.bytes, packets = found.packets64 or basic.packets, drops = queue.drops, overlimits = queue.overlimits,
    requeues = queue.requeues, backlog = queue.backlog, qlen = queue.qlen, bps = rate and rate.bps * 8, pps = rate and rate.pps }
end

---Fields of rows that all three have.
---@param object "qdisc"|"class"|"filter"
---@param known table<string, nslua.QdiscKind>
---@return table<string, fun(row: table, set: table): any>
function M.computed(object, known)
  return {
    dev = function(row, rowset)
      return verbs.link_name(rowset, row.dev_index)
    end,
    parent = function(row)
      local number = row.parent_number
      if number == handle.INGRESS and row.kind == "clsact" then
        return "clsact"
      end
      return handle.text(number, object)
    end,
    stats = stats,
    xstats = function(row)
      local found, kind = row.stats2, known[row.kind]
      found = found and found.app or row.xstats_old
      if type(found) ~= "table" then
        return nil
      end
      return kind and kind.describe and kind.describe(found) or found
    end,
  }
end

M.hidden = { "family", "options", "stats32", "stats2", "xstats_old", "estimator", "stab", "dump_invisible", "dump_flags", "filters", "info",
  "warning" }

---The number of a handle; false where none is given.
---@param words table
---@param key string
---@param call string
---@param object? string
---@return integer?
function M.handle(words, key, call, object)
  local value = words[key]
  if value == nil then
    return nil
  elseif value == false then
    errors.misuse("%s: %s cannot be false", call, key)
  end
  return handle.number(value, call, key, object)
end

---The kind that words are about, and its options; raises where they do not fit together.
---@param call string
---@param t table
---@param known table<string, nslua.QdiscKind>
---@return string? kind
---@return table? options
function M.kind(call, t, known)
  local kind = t[1]
  if kind ~= nil and t.kind ~= nil and kind ~= t.kind then
    errors.misuse("%s: kind is %q at [1] and %q", call, tostring(kind), tostring(t.kind))
  end
  kind = kind or t.kind
  local options
  for name in pairs(known) do
    if t[name] ~= nil then
      if kind and kind ~= name or options then
        errors.misuse("%s: %s is of another kind than %q", call, name, tostring(kind))
      end
      kind, options = name, name
    end
  end
  if kind ~= nil and type(kind) ~= "string" then
    errors.misuse("%s: kind must be text, got %s", call, type(kind))
  end
  return kind, options and t[options]
end

---What the kernel is told of a kind's options: nil where there is nothing to say.
---@param call string
---@param kind nslua.QdiscKind?
---@param options table?
---@return any
function M.options(call, kind, options)
  if kind and (kind.needed or options and next(options) ~= nil) then
    return kinds.write(call, kind, options or {})
  elseif options ~= nil and type(options) ~= "table" then
    errors.misuse("%s: %s must be a table of its options, got %s", call, kind and kind.kind or "options", type(options))
  end
end

---A kind's options as the kernel would tell them.
---@param object nslua.Object
---@param kind nslua.QdiscKind
---@param row table
---@return fun(words: table): table
local function teller(object, kind, row, call)
  return function(words)
    local S = object.schema or verbs.schema(object)
    local sent = S:decode(S:encode { kind = kind.kind, options = kinds.write(call, kind, words) }).options
    return type(sent) == "table" and kinds.read(kind, sent, row) or {}
  end
end

---Whether a row has these options.
---@param object nslua.Object
---@param kind nslua.QdiscKind
---@param wanted table
---@param row table
---@param call string
---@return boolean
function M.same(object, kind, wanted, row, call)
  return row.kind == kind.kind and (next(wanted) == nil or kinds.same(kind, wanted, row[kind.kind] or {}, teller(object, kind, row, call)))
end

---Words and matchers of every kind.
---@param object nslua.Object
---@param known table<string, nslua.QdiscKind>
---@param computed table
function M.kinds(object, known, computed)
  for name, kind in pairs(known) do
    object.writers[name] = true
    computed[name] = next(kind.words) and function(row)
      local options = row.options
      if row.kind == name then
        return type(options) == "table" and kinds.read(kind, options, row) or {}
      end
    end or nil
    object.matchers[name] = function(_, value, call)
      if type(value) ~= "table" then
        errors.misuse("%s: %s must be a table of its options, got %s", call, name, type(value))
      end
      for word in pairs(value) do
        if not kind.words[word] then
          errors.misuse("%s: %s: %s", call, name, check.unknown("key", word, kind.words))
        end
      end
      return function(row)
        return M.same(object, kind, value, row, call)
      end
    end
  end
end

---Matchers that all have.
---@param object "qdisc"|"class"|"filter"
---@return table
function M.matchers(object)
  local matchers = { dev = verbs.matchers.dev, dev_index = true, stats = true, kind = true }
  matchers[1] = function(_, value)
    return "kind", value
  end
  for word, field in pairs { parent = "parent_number", handle = "handle_number", classid = "handle_number" } do
    matchers[word] = function(_, value, call)
      return field, handle.number(value, call, word, object)
    end
    matchers[field] = true
  end
  return matchers
end

---Words of an error: "dev eth0, parent root".
---@param names string[]
---@return fun(words: table): string?
function M.describer(names)
  return function(t)
    local parts = {}
    for _, key in ipairs(names) do
      local value = t[key]
      if type(value) == "string" or type(value) == "number" then
        parts[#parts + 1] = ((key == 1 or key == "kind") and "" or key .. " ") .. value
      elseif key == "dev" and (type(value) == "userdata" or type(value) == "table") then
        parts[#parts + 1] = "dev " .. tostring(value.name or value.index)
      end
    end
    return parts[1] and table.concat(parts, ", ") or nil
  end
end

---Send what makes or changes an object, or queue it.
---@param self nslua.Collection
---@param call string
---@param flags integer
---@param message table
---@param request { words: table, asked?: table, hint?: function, none?: table }
---@return boolean queued
---@return table[]? replies
function M.write(self, call, flags, message, request)
  local object = self.object
  local S = object.schema or verbs.schema(object)
  local batching = netlink.batching(self.handle)
  local replies = netlink.write { object.new, flags, S:encode(message), handle = self.handle, call = call, object = object.name, schema = S,
    describe = object.detail, words = request.words, asked = request.asked, hint = request.hint, none = request.none }
  return batching, replies
end

---A hint for a kernel without a module.
---@param what string  "qdisc", "filter"
---@param module string  "sch_%s"
---@param kind string?
---@param known table
---@param says table<string, true>  the kernel's words where it has none
---@return fun(errno: integer, extack: string?): string?
function M.hint(what, module, kind, known, says)
  return function(_, extack)
    if kind and says[extack] then
      local near = not known[kind] and check.nearest(kind, known)
      if near then
        return ("there is no %s %q (did you mean %q?)"):format(what, kind, near)
      end
      return ("this kernel has no %s of kind %q: `modprobe %s`, or a kernel that has it"):format(what, kind, module:format(kind))
    end
  end
end

---Index of the device of words.
---@param self nslua.Collection
---@param words table
---@param call string
---@return integer
function M.dev(self, words, call)
  if words.dev == nil then
    errors.misuse("%s: dev is needed", call)
  end
  return device.index(self.handle, words.dev, call, "dev")
end

return M
