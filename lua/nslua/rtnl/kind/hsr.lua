-- hsr: two links as one without a gap when one fails (HSR, PRP; IEC 62439-3). linux/if_link.h, ip-link(8).

local schema = require "nslua.schema"

schema.enum("hsr_protocol", { header = "linux/if_link.h", prefix = "HSR_PROTOCOL_" }, { hsr = 0, prp = 1 })

return {
  kind = "hsr",
  header = "linux/if_link.h",
  prefix = "IFLA_HSR_",
  attributes = [[
    1  SLAVE1            slave1_index      u32
    2  SLAVE2            slave2_index      u32
    3  MULTICAST_SPEC    supervision       u8      -- the last byte of the address
    4  SUPERVISION_ADDR  supervision_addr  lladdr  -- only read
    5  SEQ_NR            seq_nr            u16     -- only read
    6  VERSION           version           u8
    7  PROTOCOL          proto             u8:enum(hsr_protocol)
    8  +INTERLINK        interlink_index   u32
  ]],
  dev = { slave1 = "slave1_index", slave2 = "slave2_index", interlink = "interlink_index" },
  untold = { version = true },
  read = function(data)
    local last = data.supervision_addr and data.supervision_addr:match "%x%x$"
    data.supervision = last and tonumber(last, 16) or data.supervision
  end,
}
