-- tbf: a bucket of tokens that fills at a rate. tc-tbf(8).

local errors = require "nslua.error"
local psched = require "nslua.rtnl.psched"
local schema = require "nslua.schema"

local header = "linux/pkt_sched.h"

schema.struct("tc_ratespec", { c = "struct tc_ratespec", header = header, prefix = "" }, [[
  cell_log u8  linklayer u8  overhead u16  cell_align s16  mpu u16  rate u32
]])
schema.struct("tc_tbf", { c = "struct tc_tbf_qopt", header = header, prefix = "" }, [[
  rate struct(tc_ratespec)  peakrate struct(tc_ratespec)  limit u32  buffer u32  mtu u32
]])

-- Bytes that may wait: those of the bucket, and those that come in the time a packet may stand in the queue.
local function waiting(rate, latency, bucket)
  return rate * latency + bucket
end

-- What the kernel made of a size: it has added what each packet has on top.
local function without(bytes, spec)
  return math.max(bytes - spec.overhead, 0)
end

return {
  { kind = "tbf",
    needed = true,
    prefix = "TCA_TBF_",
    attributes = [[
      1  PARMS   parms   struct(tc_tbf)
      2  RTAB    rtab    array(u32)
      3  PTAB    ptab    array(u32)
      4  RATE64  rate64  u64
      5  PRATE64 prate64 u64
      6  BURST   burst   u32
      7  PBURST  pburst  u32
    ]],
    words = { rate = "rate", burst = "size", latency = "us", limit = "size", peakrate = "rate", mtu = "size", mpu = "size", overhead = "count",
      linklayer = "linklayer" },
    instead = { latency = "limit", limit = "latency" },
    near = { burst = 1, mtu = 1, latency = 2e-6 },
    write = function(data, call)
      local rate, burst, peak, mtu = data.rate, data.burst, data.peakrate, data.mtu
      if not rate or rate == 0 then
        errors.misuse("%s: tbf: rate is needed", call)
      elseif not burst then
        errors.misuse("%s: tbf: burst is needed: the bytes that may go at once", call)
      elseif (data.latency == nil) == (data.limit == nil) then
        errors.misuse("%s: tbf: one of latency (how long a packet may wait) and limit (bytes that may wait) is needed", call)
      elseif peak and not mtu then
        errors.misuse("%s: tbf: mtu is needed beside peakrate", call)
      end
      local options = { mpu = data.mpu, overhead = data.overhead, linklayer = data.linklayer, mtu = mtu }
      local wire, limit = { burst = burst }, data.limit
      if not limit then
        limit = waiting(rate, data.latency / 1e6, burst)
        limit = math.floor(peak and math.min(limit, waiting(peak, data.latency / 1e6, mtu)) or limit)
      end
      wire.parms = { limit = limit, buffer = psched.transmit(rate, burst) }
      wire.parms.rate, wire.rtab = psched.rate(rate, options)
      wire.rate64 = psched.wide(rate) and rate or nil
      if peak then
        wire.parms.peakrate, wire.ptab = psched.rate(peak, options)
        wire.parms.mtu, wire.pburst = psched.transmit(peak, mtu), mtu
        wire.prate64 = psched.wide(peak) and peak or nil
      end
      return wire
    end,
    read = function(data)
      local parms = data.parms
      if type(parms) ~= "table" or not parms.mtu then
        return {}
      end
      local rate, peak = data.rate64 or parms.rate.rate, data.prate64 or parms.peakrate.rate
      local words = { rate = rate, burst = without(psched.bytes(rate, parms.buffer), parms.rate), limit = parms.limit,
        linklayer = parms.rate.linklayer, mpu = parms.rate.mpu > 0 and parms.rate.mpu or nil,
        overhead = parms.rate.overhead > 0 and parms.rate.overhead or nil }
      local latency = 1e6 * (parms.limit - words.burst) / rate
      if peak > 0 then
        words.peakrate, words.mtu = peak, without(psched.bytes(peak, parms.mtu), parms.peakrate)
        latency = math.max(latency, 1e6 * (parms.limit - words.mtu) / peak)
      end
      words.latency = math.floor(math.max(latency, 0) + 0.5)
      return words
    end,
  },
}
