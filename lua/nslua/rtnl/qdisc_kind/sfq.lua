-- sfq: flows take turns. tc-sfq(8). `perturb`: seconds after which flows are sorted anew; 0: never.

local schema = require "nslua.schema"

local header = "linux/pkt_sched.h"

schema.struct("tc_sfq", { c = "struct tc_sfq_qopt_v1", header = header }, [[
  quantum u32  perturb s32  limit u32  divisor u32  flows u32  depth u32  headdrop u32  redflowlimit u32  min u32  max u32
  wlog u8  plog u8  scell_log u8  flags u8  max_p u32
  prob_drop u32  forced_drop u32  prob_mark u32  forced_mark u32  prob_mark_head u32  forced_mark_head u32
]])
schema.struct("tc_sfq_xstats", { c = "struct tc_sfq_xstats", header = header, prefix = "" }, [[ allot s32 ]])

return {
  { kind = "sfq",
    type = "struct(tc_sfq)",
    words = { quantum = "size", perturb = "seconds", limit = "count", divisor = "count", flows = "count", depth = "count", headdrop = "yes_no" },
    classes = { xstats = "struct(tc_sfq_xstats)" },
  },
}
