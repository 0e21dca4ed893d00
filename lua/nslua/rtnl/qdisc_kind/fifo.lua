-- pfifo, bfifo, pfifo_fast, noqueue, mq: queues without an idea of their own. tc-pfifo(8), tc-bfifo(8), tc-pfifo_fast(8).

local schema = require "nslua.schema"

local header = "linux/pkt_sched.h"

schema.struct("tc_fifo", { c = "struct tc_fifo_qopt", header = header, prefix = "" }, [[ limit u32 ]])
schema.struct("tc_prio", { c = "struct tc_prio_qopt", header = header, prefix = "" }, [[ bands s32  priomap array(u8,16) ]])

local fast = { bands = true, priomap = true }

return {
  { kind = "pfifo", type = "struct(tc_fifo)", words = { limit = "count" } },  -- packets
  { kind = "bfifo", type = "struct(tc_fifo)", words = { limit = "size" } },
  { kind = "pfifo_fast", type = "struct(tc_prio)", words = { bands = "count", priomap = "any" }, only_read = fast },
  { kind = "noqueue" },
  { kind = "mq", classes = {} },
}
