-- basic: every packet of its protocol. tc-basic(8). Its ematches (`match`) are not spoken: what they say u32, flower and bpf say too.
return {
  kind = "basic",
  header = "linux/pkt_cls.h",
  prefix = "TCA_BASIC_",
  attributes = [[
    1  CLASSID   classid    u32
    2  EMATCHES  ematches   bin
    3  ACT       action     list(nest(tc_action))
    4  POLICE    police     bin
    5  PCNT      hits       bin
  ]],
}
