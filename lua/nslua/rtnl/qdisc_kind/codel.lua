-- codel, fq_codel: queues that keep the time packets stand in them short. tc-codel(8), tc-fq_codel(8).

local schema = require "nslua.schema"

local header = "linux/pkt_sched.h"

schema.struct("tc_codel_xstats", { c = "struct tc_codel_xstats", header = header, prefix = "" }, [[
  maxpacket u32  count u32  lastcount u32  ldelay u32  drop_next s32  drop_overlimit u32  ecn_mark u32  dropping u32  ce_mark u32
]])
-- both are unions: the one of a qdisc has type 0, of a class 1
schema.struct("tc_fq_codel_xstats", { c = "struct tc_fq_codel_xstats", header = header }, [[
  type u32  maxpacket u32  drop_overlimit u32  ecn_mark u32  new_flow_count u32  new_flows_len u32  old_flows_len u32  ce_mark u32
  memory_usage u32  drop_overmemory u32
]])
schema.struct("tc_fq_codel_class_xstats", {}, [[
  type u32  deficit s32  ldelay u32  count u32  lastcount u32  dropping u32  drop_next s32
]])

-- microseconds in the kernel, seconds here
local function times(xstats)
  for _, key in ipairs { "ldelay", "drop_next" } do
    xstats[key] = xstats[key] and xstats[key] / 1e6
  end
  xstats.type = nil
  return xstats
end

return {
  { kind = "codel",
    prefix = "TCA_CODEL_",
    attributes = [[
      1  TARGET        target        u32
      2  LIMIT         limit         u32
      3  INTERVAL      interval      u32
      4  ECN           ecn           u32
      5  CE_THRESHOLD  ce_threshold  u32
    ]],
    words = { target = "us", limit = "count", interval = "us", ecn = "yes_no", ce_threshold = "us" },
    partial = true,
    near = { target = 2e-6, interval = 2e-6, ce_threshold = 2e-6 }, -- the kernel counts units of 1024 ns
    xstats = "struct(tc_codel_xstats)",
    describe = times,
  },
  { kind = "fq_codel",
    prefix = "TCA_FQ_CODEL_",
    attributes = [[
      1   TARGET                 target                 u32
      2   LIMIT                  limit                  u32
      3   INTERVAL               interval               u32
      4   ECN                    ecn                    u32
      5   FLOWS                  flows                  u32
      6   QUANTUM                quantum                u32
      7   CE_THRESHOLD           ce_threshold           u32
      8   DROP_BATCH_SIZE        drop_batch             u32
      9   MEMORY_LIMIT           memory_limit           u32
      10  CE_THRESHOLD_SELECTOR  ce_threshold_selector  u8
      11  CE_THRESHOLD_MASK      ce_threshold_mask      u8
    ]],
    words = { target = "us", limit = "count", interval = "us", ecn = "yes_no", flows = "count", quantum = "size", ce_threshold = "us",
      drop_batch = "count", memory_limit = "size", ce_threshold_selector = "count", ce_threshold_mask = "count" },
    partial = true,
    near = { target = 2e-6, interval = 2e-6, ce_threshold = 2e-6 },
    born = { flows = true },
    xstats = "struct(tc_fq_codel_xstats)",
    describe = times,
    classes = { xstats = "struct(tc_fq_codel_class_xstats)", describe = times },
  },
}
