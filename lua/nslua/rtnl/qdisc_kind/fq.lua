-- fq: a queue for each flow, paced. tc-fq(8).

local errors = require "nslua.error"
local schema = require "nslua.schema"

local header = "linux/pkt_sched.h"

schema.struct("tc_fq_xstats", { c = "struct tc_fq_qd_stats", header = header, prefix = "" }, [[
  gc_flows u64  highprio_packets u64  tcp_retrans u64  throttled u64  flows_plimit u64  pkts_too_long u64  allocation_errors u64
  time_next_delayed_flow s64  flows u32  inactive_flows u32  throttled_flows u32  unthrottle_latency_ns u32  ce_mark u64
  horizon_drops u64  horizon_caps u64
]])

local function log2(value, call)
  local log, power = 0, 1
  while power < value do
    log, power = log + 1, power * 2
  end
  if power ~= value then
    errors.misuse("%s: buckets %s is no power of 2", call, tostring(value))
  end
  return log
end

return {
  { kind = "fq",
    prefix = "TCA_FQ_",
    attributes = [[
      1   PLIMIT              limit               u32
      2   FLOW_PLIMIT         flow_limit          u32
      3   QUANTUM             quantum             u32
      4   INITIAL_QUANTUM     initial_quantum     u32
      5   RATE_ENABLE         pacing              u32
      6   FLOW_DEFAULT_RATE   default_rate        u32
      7   FLOW_MAX_RATE       maxrate             u32
      8   BUCKETS_LOG         buckets_log         u32
      9   FLOW_REFILL_DELAY   refill_delay        u32
      10  ORPHAN_MASK         orphan_mask         u32
      11  LOW_RATE_THRESHOLD  low_rate_threshold  u32
      12  CE_THRESHOLD        ce_threshold        u32
      13  TIMER_SLACK         timer_slack         u32
      14  HORIZON             horizon             u32
      15  HORIZON_DROP        horizon_drop        u8
    ]],
    words = { limit = "count", flow_limit = "count", quantum = "size", initial_quantum = "size", pacing = "yes_no", maxrate = "rate",
      buckets = "count", refill_delay = "us", orphan_mask = "count", low_rate_threshold = "rate", ce_threshold = "us", timer_slack = "ns",
      horizon = "us", horizon_drop = "yes_no" },
    partial = true,
    write = function(data, call)
      if data.buckets then
        data.buckets_log, data.buckets = log2(data.buckets, call), nil
      end
    end,
    read = function(data)
      data.buckets = data.buckets_log and 2 ^ data.buckets_log
      if data.maxrate == 4294967295 then
        data.maxrate = nil -- none
      end
    end,
    xstats = "struct(tc_fq_xstats)",
  },
}
