-- veth: a pair of links, what goes in at one end comes out at the other. linux/veth.h, veth(4).
-- The options of the other end stand in `peer` of the link itself, since they are a link's own (see link.lua).
return {
  kind = "veth",
  header = "linux/veth.h",
  prefix = "VETH_INFO_",
  attributes = [[
    1  PEER  peer  nest(link, ifinfomsg)
  ]],
  hidden = { "peer" },
  peer = true,
}
