-- What filters do with a packet: mirred, gact, police; a chain of them. tc-mirred(8), tc-actions(8), tc-police(8), linux/pkt_cls.h.

local check = require "nslua.check"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local psched = require "nslua.rtnl.psched"
local schema = require "nslua.schema"
local units = require "nslua.units"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.qdisc_kind.tbf" -- struct tc_ratespec

local M = {}

local cls_h = "linux/pkt_cls.h"

schema.struct("tc_tm", { c = "struct tcf_t", header = cls_h, prefix = "" }, [[ install u64  lastuse u64  expires u64  firstuse u64 ]])
schema.struct("tc_mirred", { c = "struct tc_mirred", header = "linux/tc_act/tc_mirred.h", prefix = "" }, [[
  index u32  capab u32  action s32  refcnt s32  bindcnt s32  eaction s32  ifindex u32
]])
schema.struct("tc_gact", { c = "struct tc_gact", header = "linux/tc_act/tc_gact.h", prefix = "" }, [[
  index u32  capab u32  action s32  refcnt s32  bindcnt s32
]])
schema.struct("tc_gact_prob", { c = "struct tc_gact_p", header = "linux/tc_act/tc_gact.h", prefix = "" }, [[ ptype u16  pval u16  paction s32 ]])
schema.struct("tc_police", { c = "struct tc_police", header = cls_h, prefix = "" }, [[
  index u32  action s32  limit u32  burst u32  mtu u32  rate struct(tc_ratespec)  peakrate struct(tc_ratespec)
  refcnt s32  bindcnt s32  capab u32
]])
schema.set("tc_mirred", { header = "linux/tc_act/tc_mirred.h", prefix = "TCA_MIRRED_" }, [[
  1  TM     times  struct(tc_tm)
  2  PARMS  parms  struct(tc_mirred)
]])
schema.set("tc_gact", { header = "linux/tc_act/tc_gact.h", prefix = "TCA_GACT_" }, [[
  1  TM     times  struct(tc_tm)
  2  PARMS  parms  struct(tc_gact)
  3  PROB   prob   struct(tc_gact_prob)
]])
schema.set("tc_police", { header = cls_h, prefix = "TCA_POLICE_" }, [[
  1   TBF         parms       struct(tc_police)
  2   RATE        rtab        array(u32)
  3   PEAKRATE    ptab        array(u32)
  4   AVRATE      avrate      u32
  5   RESULT      result      s32
  6   TM          times       struct(tc_tm)
  8   RATE64      rate64      u64
  9   PEAKRATE64  peakrate64  u64
  10  PKTRATE64   pkt_rate    u64
  11  PKTBURST64  pkt_burst   u64
]])
for _, kind in ipairs { "mirred", "gact", "police" } do
  schema.kind("action_options", kind, "nest(tc_" .. kind .. ")")
end
schema.set("action_stats2", { header = "linux/gen_stats.h", prefix = "TCA_STATS_" }, [[
  1  BASIC     basic      struct(gnet_basic)
  3  QUEUE     queue      struct(gnet_queue)
  4  APP       app        bin
  7  BASIC_HW  basic_hw   struct(gnet_basic)
  8  PKT64     packets64  u64
]])
schema.set("tc_action", { header = cls_h, prefix = "TCA_ACT_" }, [[
  1   KIND           kind           strz
  2   OPTIONS        options        union(kind,action_options)
  3   INDEX          index          u32
  4   STATS          stats          nest(action_stats2)
  6   COOKIE         cookie         bin
  7   FLAGS          flags          struct(bitfield32)
  8   HW_STATS       hw_stats       struct(bitfield32)
  9   USED_HW_STATS  used_hw_stats  struct(bitfield32)
  10  IN_HW_COUNT    in_hw_count    u32
]])

-- linux/pkt_cls.h, TC_ACT_*
local verdicts = { unspec = -1, continue = -1, pass = 0, ok = 0, reclassify = 1, drop = 2, shot = 2, pipe = 3, stolen = 4, queued = 5,
  ["repeat"] = 6, redirect = 7, trap = 8 }
local verdict_names = { [-1] = "continue", [0] = "pass", [1] = "reclassify", [2] = "drop", [3] = "pipe", [4] = "stolen", [5] = "queued",
  [6] = "repeat", [7] = "redirect", [8] = "trap" }
local JUMP, GOTO_CHAIN = 0x10000000, 0x20000000

---The number of a verdict: "drop", "pass", "goto chain 3", "jump 1".
local function verdict(value, what)
  if type(value) == "number" then
    return value
  elseif type(value) ~= "string" then
    errors.misuse("%s must be a verdict like \"drop\", got %s", what, type(value))
  end
  local chain, jump = value:match "^goto chain (%d+)$", value:match "^jump (%d+)$"
  return verdicts[value] or chain and GOTO_CHAIN + tonumber(chain) or jump and JUMP + tonumber(jump)
    or errors.misuse("%s: %s", what, check.unknown("verdict", value, verdicts))
end

local function verdict_text(number)
  if number >= GOTO_CHAIN then
    return ("goto chain %d"):format(number - GOTO_CHAIN)
  elseif number >= JUMP then
    return ("jump %d"):format(number - JUMP)
  end
  return verdict_names[number] or number
end

local directions = { egress = { redirect = 1, mirror = 2 }, ingress = { redirect = 3, mirror = 4 } } -- TCA_EGRESS_REDIR ...
local told = { stats = true, bindings = true, installed = true, used = true } -- what rows have besides

local kinds = {}

-- { "mirred", egress = "redirect" | "mirror", dev = "ifb0" }; `ingress` likewise
kinds.mirred = {
  words = { egress = "string", ingress = "string", dev = "string|integer|table|userdata", control = "string|integer", index = "integer" },
  write = function(t, what, handle)
    local direction = t.egress and "egress" or t.ingress and "ingress" or nil
    if not direction or t.egress and t.ingress then
      errors.misuse("%s: one of egress and ingress is needed: \"redirect\" or \"mirror\"", what)
    elseif t.dev == nil then
      errors.misuse("%s: dev is needed", what)
    end
    local how = t[direction]
    local eaction = directions[direction][how] or errors.misuse("%s: %s: %s", what, direction, check.unknown("way", how, directions.egress))
    return { parms = { eaction = eaction, ifindex = device.index(handle, t.dev, what, "dev"), index = t.index,
      action = t.control ~= nil and verdict(t.control, what) or how == "redirect" and verdicts.stolen or verdicts.pipe } }
  end,
  read = function(data, out, set)
    local parms = data.parms
    for direction, ways in pairs(directions) do
      for how, number in pairs(ways) do
        if number == parms.eaction then
          out[direction] = how
        end
      end
    end
    out.dev, out.control = verbs.link_name(set, parms.ifindex) or parms.ifindex, verdict_text(parms.action)
  end,
}

local chances = { netrand = 1, determ = 2 } -- PGACT_NETRAND, PGACT_DETERM

-- { "gact", control = "drop", random = { "netrand" | "determ", "pass", 4 } }: one in four passes
kinds.gact = {
  words = { control = "string|integer", random = "table", index = "integer" },
  write = function(t, what)
    local data = { parms = { action = verdict(t.control == nil and "drop" or t.control, what), index = t.index } }
    if t.random then
      local how, other, one_in = t.random[1], t.random[2], t.random[3]
      data.prob = { ptype = chances[how] or errors.misuse("%s: random: %s", what, check.unknown("way", how, chances)),
        paction = verdict(other, what), pval = one_in }
    end
    return data
  end,
  read = function(data, out)
    out.control = verdict_text(data.parms.action)
    local prob = data.prob
    if prob and prob.ptype > 0 then
      out.random = { prob.ptype == 1 and "netrand" or "determ", verdict_text(prob.paction), prob.pval }
    end
  end,
}

local number = "number|string"

-- { "police", rate = "1mbit", burst = "10kb", exceed = "drop", conform = "pipe", mtu =, peakrate =, pkt_rate =, pkt_burst = }
kinds.police = {
  words = { rate = number, burst = number, mtu = number, peakrate = number, mpu = number, overhead = "integer", exceed = "string|integer",
    conform = "string|integer", pkt_rate = "integer", pkt_burst = "integer", index = "integer" },
  write = function(t, what)
    local rate, peak = t.rate and math.floor(units.rate(t.rate, what) / 8), t.peakrate and math.floor(units.rate(t.peakrate, what) / 8)
    local mtu = t.mtu and math.floor(units.size(t.mtu, what)) or 0
    local parms = { action = t.exceed ~= nil and verdict(t.exceed, what) or verdicts.reclassify, mtu = mtu, index = t.index }
    local data = { parms = parms, result = t.conform ~= nil and verdict(t.conform, what) or nil, pkt_rate = t.pkt_rate, pkt_burst = t.pkt_burst }
    local options = { mtu = mtu, mpu = t.mpu and math.floor(units.size(t.mpu, what)), overhead = t.overhead }
    if rate then
      if t.burst == nil then
        errors.misuse("%s: burst is needed beside rate", what)
      end
      parms.rate, data.rtab = psched.rate(rate, options)
      parms.burst = psched.transmit(rate, units.size(t.burst, what))
      data.rate64 = psched.wide(rate) and rate or nil
    elseif not t.pkt_rate then
      errors.misuse("%s: rate (with burst) or pkt_rate (with pkt_burst) is needed", what)
    end
    if peak then
      parms.peakrate, data.ptab = psched.rate(peak, options)
      data.peakrate64 = psched.wide(peak) and peak or nil
    end
    return data
  end,
  read = function(data, out)
    local parms = data.parms
    local rate, peak = data.rate64 or parms.rate.rate, data.peakrate64 or parms.peakrate.rate
    if rate > 0 then
      out.rate, out.burst = rate * 8, psched.bytes(rate, parms.burst)
    end
    out.peakrate, out.mtu = peak > 0 and peak * 8 or nil, parms.mtu > 0 and parms.mtu or nil
    out.exceed, out.conform = verdict_text(parms.action), data.result and verdict_text(data.result)
    out.pkt_rate, out.pkt_burst = data.pkt_rate, data.pkt_burst
  end,
}

local function one(value, what, handle)
  if type(value) == "string" then
    value = { "gact", control = value }
  elseif type(value) ~= "table" then
    errors.misuse("%s must be a verdict like \"drop\" or a table like { \"mirred\", egress = \"redirect\", dev = \"eth1\" }, got %s", what,
      type(value))
  end
  local kind = value[1] or value.kind
  local known = kinds[kind]
  if not known then
    errors.misuse("%s: %s", what, check.unknown("action", kind, kinds))
  end
  local words = {}
  for key, word in pairs(value) do
    if key ~= 1 and key ~= "kind" and not told[key] then
      words[key] = word
    end
  end
  check.options(("%s: %s"):format(what, kind), words, known.words)
  return { kind = kind, options = known.write(words, ("%s: %s"):format(what, kind), handle) }
end

---The message's list of actions: of one, or of a list of them.
---@param call string
---@param value any
---@param handle table  where links are looked up
---@return table[]
function M.write(call, value, handle)
  local what = call .. ": action"
  if type(value) ~= "table" or kinds[value[1]] or value.kind then
    return { one(value, what, handle) }
  end
  local list = {}
  for i, each in ipairs(value) do
    list[i] = one(each, ("%s[%d]"):format(what, i), handle)
  end
  if not list[1] then
    errors.misuse("%s is empty", what)
  end
  return list
end

---Make what the kernel told of actions what it takes: with the tables of what packets of each size take.
---@param list table[]
function M.restored(list)
  for _, action in ipairs(list) do
    local data = action.options
    local parms = action.kind == "police" and type(data) == "table" and data.parms
    for spec, names in pairs(parms and { rate = { "rtab", "rate64" }, peakrate = { "ptab", "peakrate64" } } or {}) do
      local now = parms[spec]
      local rate = data[names[2]] or now.rate
      if rate > 0 then
        parms[spec], data[names[1]] = psched.rate(rate, { mtu = parms.mtu, mpu = now.mpu, overhead = now.overhead,
          linklayer = now.linklayer > 0 and now.linklayer or nil })
      end
    end
  end
end

---The words of a message's actions.
---@param list table[]
---@param set table  the row set, which knows names of links
---@return table[]
function M.read(list, set)
  local out = {}
  for i, action in ipairs(list) do
    local words, data = { kind = action.kind }, action.options
    if type(data) == "table" and data.parms and kinds[action.kind] then
      words.index, words.bindings = data.parms.index, data.parms.bindcnt
      kinds[action.kind].read(data, words, set)
    end
    local stats = action.stats
    if stats then
      local basic, queue = stats.basic or {}, stats.queue or {}
      words.stats = { bytes = basic.bytes, packets = stats.packets64 or basic.packets, drops = queue.drops, overlimits = queue.overlimits }
    end
    out[i] = words
  end
  return out
end

return M
