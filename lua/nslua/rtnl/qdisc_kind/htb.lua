-- htb: a tree of classes that have rates and lend each other what they do not use. tc-htb(8).

local errors = require "nslua.error"
local handle = require "nslua.rtnl.handle"
local psched = require "nslua.rtnl.psched"
local schema = require "nslua.schema"
require "nslua.rtnl.qdisc_kind.tbf" -- struct tc_ratespec

local header = "linux/pkt_sched.h"

schema.struct("tc_htb", { c = "struct tc_htb_opt", header = header, prefix = "" }, [[
  rate struct(tc_ratespec)  ceil struct(tc_ratespec)  buffer u32  cbuffer u32  quantum u32  level u32  prio u32
]])
schema.struct("tc_htb_glob", { c = "struct tc_htb_glob", header = header, prefix = "" }, [[
  version u32  rate2quantum u32  defcls u32  debug u32  direct_pkts u32
]])
schema.struct("tc_htb_xstats", { c = "struct tc_htb_xstats", header = header, prefix = "" }, [[
  lends u32  borrows u32  giants u32  tokens s32  ctokens s32
]])
local attributes = [[
  1  PARMS        parms        struct(tc_htb)
  2  INIT         init         struct(tc_htb_glob)
  3  CTAB         ctab         array(u32)
  4  RTAB         rtab         array(u32)
  5  DIRECT_QLEN  direct_qlen  u32
  6  RATE64       rate64       u64
  7  CEIL64       ceil64       u64
  9  OFFLOAD      offload      flag
]]

local VERSION, MTU = 3, 1600 -- TC_HTB_PROTOVER; what tc-htb(8) takes for the largest packet

-- The class that takes what no filter has sorted: "1:10", or its minor number; 0: none.
local function default_class(value, call)
  if type(value) == "string" then
    return handle.number(value:find(":", 1, true) and value or ":" .. value, call, "default") % 65536
  end
  return handle.number(value, call, "default")
end

-- The burst that is taken where none is given: what comes between two timer interrupts, and a packet.
local function usual_burst(rate, mtu)
  return math.floor(rate / psched.hz() + mtu)
end

-- A burst or quantum that came of the old rate does not stay with a new one.
local function unsay(words, new)
  for burst, of in pairs { burst = "rate", cburst = "ceil" } do
    if new[of] and words[burst] and math.abs(words[burst] - usual_burst((words[of] or 0) / 8, MTU)) <= words[burst] * 0.05 then
      words[burst] = nil
    end
  end
  if new.rate and words.quantum then
    local worked_out = math.max(1000, math.min(200000, math.floor((words.rate or 0) / 80))) -- r2q = 10
    if words.quantum == worked_out then
      words.quantum = nil
    end
  end
end

return {
  { kind = "htb",
    needed = true,
    prefix = "TCA_HTB_",
    attributes = attributes,
    words = { default = "any", r2q = "count", direct_qlen = "count", offload = "boolean", direct_packets = "count" },
    only_read = { direct_packets = true },
    write = function(data, call)
      return { init = { version = VERSION, rate2quantum = data.r2q or 10, defcls = data.default and default_class(data.default, call) or 0 },
        direct_qlen = data.direct_qlen, offload = data.offload }
    end,
    read = function(data, row)
      local init = data.init
      if type(init) ~= "table" then
        return {}
      end
      local major = row and row.handle_number or 0
      return { default = init.defcls ~= 0 and handle.text(major + init.defcls % 65536) or nil, r2q = init.rate2quantum,
        direct_packets = init.direct_pkts, direct_qlen = data.direct_qlen, offload = data.offload }
    end,
    restored = function(data)
      data.init.version = VERSION -- it tells more of it than it takes
    end,
    classes = {
      needed = true,
      prefix = "TCA_HTB_",
      attributes = attributes,
      words = { rate = "rate", ceil = "rate", burst = "size", cburst = "size", prio = "count", quantum = "size", mtu = "size", mpu = "size",
        overhead = "count", linklayer = "linklayer", level = "count" },
      only_read = { level = true },
      untold = { mtu = true },
      unsay = unsay,
      near = { burst = 1, cburst = 1 },
      write = function(data, call)
        local rate, mtu = data.rate, data.mtu or MTU
        if not rate or rate == 0 then
          errors.misuse("%s: htb: rate is needed", call)
        end
        local ceil = data.ceil or rate
        local options = { mpu = data.mpu, overhead = data.overhead, linklayer = data.linklayer, mtu = mtu }
        local wire = { rate64 = psched.wide(rate) and rate or nil, ceil64 = psched.wide(ceil) and ceil or nil }
        local parms = { prio = data.prio, quantum = data.quantum }
        parms.rate, wire.rtab = psched.rate(rate, options)
        parms.ceil, wire.ctab = psched.rate(ceil, options)
        parms.buffer = psched.transmit(rate, data.burst or usual_burst(rate, mtu))
        parms.cbuffer = psched.transmit(ceil, data.cburst or usual_burst(ceil, mtu))
        wire.parms = parms
        return wire
      end,
      read = function(data)
        local parms = data.parms
        if type(parms) ~= "table" or not parms.prio then
          return {}
        end
        local rate, ceil = data.rate64 or parms.rate.rate, data.ceil64 or parms.ceil.rate
        return { rate = rate, ceil = ceil, burst = psched.bytes(rate, parms.buffer), cburst = psched.bytes(ceil, parms.cbuffer),
          prio = parms.prio, quantum = parms.quantum, level = parms.level, linklayer = parms.rate.linklayer,
          mpu = parms.rate.mpu > 0 and parms.rate.mpu or nil, overhead = parms.rate.overhead > 0 and parms.rate.overhead or nil }
      end,
      xstats = "struct(tc_htb_xstats)",
      describe = function(xstats)
        xstats.tokens, xstats.ctokens = psched.seconds(xstats.tokens), psched.seconds(xstats.ctokens)
        return xstats
      end,
    },
  },
}
