-- red: random early detection. tc-red(8); S. Floyd and V. Jacobson, "Random Early Detection Gateways for Congestion Avoidance".

local errors = require "nslua.error"
local psched = require "nslua.rtnl.psched"
local schema = require "nslua.schema"
local units = require "nslua.units"

local header = "linux/pkt_sched.h"
local P = 4294967296 -- in which chances are counted

schema.struct("tc_red", { c = "struct tc_red_qopt", header = header }, [[
  limit u32  min u32  max u32  wlog u8  plog u8  scell_log u8  flags u8
]])
schema.struct("tc_red_xstats", { c = "struct tc_red_xstats", header = header, prefix = "" }, [[ early u32  pdrop u32  other u32  marked u32 ]])
schema.struct("bitfield32", { c = "struct nla_bitfield32", header = "linux/netlink.h", prefix = "" }, [[ value u32  selector u32 ]])

local flags = { ecn = 1, harddrop = 2, adaptive = 4, nodrop = 8 }

-- log2 of the weight by which the average follows the queue: the smallest that lets a burst pass.
local function weight(min, burst, avpkt)
  local wanted, w = burst + 1 - min / avpkt, 0.5
  for log = 1, 31 do
    if wanted >= 1 and wanted <= (1 - (1 - w) ^ burst) / w then
      return log
    end
    w = w / 2
  end
end

-- log2 of the slope of the chance to be dropped.
local function slope(min, max, probability)
  local p = probability / (max - min)
  for log = 0, 31 do
    if p > 1 then
      return log
    end
    p = p * 2
  end
  return 32
end

-- How the average decays while nothing comes: 256 steps of 2^cell ticks each.
local function decay(wlog, avpkt, bandwidth)
  local rate = -math.log(1 - 1 / 2 ^ wlog) / math.max(psched.coarse(bandwidth, avpkt), 1)
  local cell, log = 1, 0
  while 31 / rate / cell >= 512 do
    cell, log = cell * 2, log + 1
  end
  local steps = { 0 }
  for i = 1, 254 do
    steps[i + 1] = math.min(31, math.floor(i * cell * rate))
  end
  steps[256] = 31
  return log, steps
end

local function shortest(chance)
  for digits = 1, 10 do
    local short = tonumber(("%." .. digits .. "g"):format(chance / P))
    if math.floor(short * P) == chance then
      return short
    end
  end
  return chance / P
end

return {
  { kind = "red",
    needed = true,
    prefix = "TCA_RED_",
    attributes = [[
      1  PARMS             parms             struct(tc_red)
      2  STAB              steps             array(u8)
      3  MAX_P             max_p             u32
      4  FLAGS             flags             struct(bitfield32)
      5  EARLY_DROP_BLOCK  early_drop_block  u32
      6  MARK_BLOCK        mark_block        u32
    ]],
    words = { limit = "size", min = "size", max = "size", avpkt = "size", burst = "count", probability = "any", bandwidth = "rate",
      ecn = "boolean", harddrop = "boolean", adaptive = "boolean", nodrop = "boolean" },
    untold = { avpkt = true, burst = true, bandwidth = true },
    write = function(data, call)
      local limit, min, max, avpkt = data.limit, data.min, data.max, data.avpkt
      if not (limit and min and max and avpkt) then
        errors.misuse("%s: red: limit, min, max and avpkt (bytes of a usual packet) are needed", call)
      elseif max <= min or min == 0 or avpkt == 0 then
        errors.misuse("%s: red: 0 < min < max is needed", call)
      end
      local burst = data.burst or math.floor((2 * min + max) / (3 * avpkt))
      local wlog = weight(min, burst, avpkt)
      if not wlog then
        errors.misuse("%s: red: burst %s is too small for min %s and avpkt %s", call, tostring(burst), tostring(min), tostring(avpkt))
      end
      local probability = units.fraction(data.probability or 0.02, call .. ": probability")
      local value = 0
      for flag, bit in pairs(flags) do
        value = value + (data[flag] and bit or 0)
      end
      local cell, steps = decay(wlog, avpkt, data.bandwidth or 1250000)
      return { parms = { limit = limit, min = min, max = max, wlog = wlog, plog = slope(min, max, probability), scell_log = cell },
        steps = steps, max_p = math.min(math.floor(probability * P), P - 1), flags = { value = value, selector = 15 } }
    end,
    read = function(data)
      local parms = data.parms or {}
      local words = { limit = parms.limit, min = parms.min, max = parms.max, probability = data.max_p and shortest(data.max_p) }
      local value = data.flags and data.flags.value or parms.flags or 0
      for flag, bit in pairs(flags) do
        words[flag] = math.floor(value / bit) % 2 == 1
      end
      return words
    end,
    restored = function(data)
      local parms = data.parms
      parms.scell_log, data.steps = decay(parms.wlog, 1000, 1250000) -- how long a packet takes is not told
    end,
    xstats = "struct(tc_red_xstats)",
  },
}
