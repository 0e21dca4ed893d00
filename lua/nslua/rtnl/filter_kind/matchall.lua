-- matchall: every packet. tc-matchall(8).
return {
  kind = "matchall",
  header = "linux/pkt_cls.h",
  prefix = "TCA_MATCHALL_",
  attributes = [[
    1  CLASSID  classid  u32
    2  ACT      action   list(nest(tc_action))
    3  FLAGS    flags    u32
    4  PCNT     hits     bin
  ]],
}
