-- fw: by the mark that a packet has, which is the handle. tc-fw(8). `mask`: the bits of the mark that count.
return {
  kind = "fw",
  header = "linux/pkt_cls.h",
  prefix = "TCA_FW_",
  attributes = [[
    1  CLASSID  classid  u32
    2  POLICE   police   bin
    3  INDEV    indev    strz
    4  ACT      action   list(nest(tc_action))
    5  MASK     mask     u32
  ]],
  words = { indev = "any", mask = "count" },
}
