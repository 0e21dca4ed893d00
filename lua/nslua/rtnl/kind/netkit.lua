-- netkit: a pair of links with BPF programs between them (Linux 6.7). linux/if_link.h, ip-link(8).
-- The words of the other end stand in `peer` of the link itself, as of a veth.

local schema = require "nslua.schema"

-- NETKIT_PASS, NETKIT_DROP, NETKIT_REDIRECT; the first two in ip(8)'s words
schema.enum("netkit_policy", {}, { forward = 0, blackhole = 2, redirect = 7 })
schema.enum("netkit_mode", {}, { l2 = 0, l3 = 1 })
schema.enum("netkit_scrub", {}, { none = 0, default = 1 })
schema.enum("netkit_pairing", {}, { pair = 0, single = 1 })

return {
  kind = "netkit",
  header = "linux/if_link.h",
  prefix = "IFLA_NETKIT_",
  -- scrub: 6.10; headroom, tailroom: 6.14
  attributes = [[
    1   +PEER_INFO  peer         nest(link, ifinfomsg)
    2   +PRIMARY  primary      bool
    3   +POLICY  policy       u32:enum(netkit_policy)
    4   +PEER_POLICY  peer_policy  u32:enum(netkit_policy)
    5   +MODE  mode         u32:enum(netkit_mode)
    6   +SCRUB  scrub        u32:enum(netkit_scrub)
    7   +PEER_SCRUB  peer_scrub   u32:enum(netkit_scrub)
    8   +HEADROOM  headroom     u16
    9   +TAILROOM  tailroom     u16
    10  +PAIRING  pairing      u32:enum(netkit_pairing)
  ]],
  hidden = { "peer" },
  peer = true,
}
