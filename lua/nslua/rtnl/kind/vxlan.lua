-- vxlan: Ethernet in UDP (RFC 7348). linux/if_link.h, ip-link(8). `dev` is the lower link; `group` a multicast address, `remote` a unicast one.

local core = require "nslua.core"
local schema = require "nslua.schema"
require "nslua.rtnl.kind.tunnel" -- enum tunnel_tos

schema.struct("vxlan_port_range", { c = "struct ifla_vxlan_port_range", header = "linux/if_link.h" }, [[ low be16  high be16 ]])
schema.enum("vxlan_df", { header = "linux/if_link.h", prefix = "VXLAN_DF_" }, { unset = 0, set = 1, inherit = 2 })

schema.enum("vxlan_label", {}, { fixed = 0, inherit = 1 })
schema.struct("vxlan_reserved", {}, [[ flags be32  vni be32 ]]) -- bits of struct vxlanhdr that a packet may have and is still taken

local function multicast(address)
  local first = core.inet.bytes(address):byte()
  return address:find(":", 1, true) and first == 0xff or first >= 224 and first < 240
end

return {
  kind = "vxlan",
  header = "linux/if_link.h",
  prefix = "IFLA_VXLAN_",
  attributes = [[
    1   ID                  id                  u32
    2   GROUP               group4              ip4
    3   LINK                dev_index           u32
    4   LOCAL               local4              ip4
    5   TTL                 ttl                 u8
    6   TOS                 tos                 u8:enum(tunnel_tos)
    7   LEARNING            learning            bool
    8   AGEING              ageing              u32   -- seconds
    9   LIMIT               limit               u32
    10  PORT_RANGE          port_range          struct(vxlan_port_range)
    11  PROXY               proxy               bool
    12  RSC                 rsc                 bool
    13  L2MISS              l2miss              bool
    14  L3MISS              l3miss              bool
    15  PORT                port                be16
    16  GROUP6              group6              ip6
    17  LOCAL6              local6              ip6
    18  UDP_CSUM            udp_csum            bool
    19  UDP_ZERO_CSUM6_TX   udp_zero_csum6_tx   bool
    20  UDP_ZERO_CSUM6_RX   udp_zero_csum6_rx   bool
    21  REMCSUM_TX          remcsum_tx          bool
    22  REMCSUM_RX          remcsum_rx          bool
    23  GBP                 gbp                 flag
    24  REMCSUM_NOPARTIAL   remcsum_nopartial   flag
    25  COLLECT_METADATA    external            bool
    26  LABEL               label               be32
    27  GPE                 gpe                 flag
    28  TTL_INHERIT         ttl_inherit         bool   -- read as a number, written as a flag
    28  TTL_INHERIT         ttl_inherit_flag    flag   writeonly
    29  DF                  df                  u8:enum(vxlan_df)
    30  VNIFILTER           vnifilter           bool
    31  +LOCALBYPASS        localbypass         bool                     -- 6.4
    32  +LABEL_POLICY       label_policy        u32:enum(vxlan_label)    -- 6.7
    33  +RESERVED_BITS      reserved_bits       struct(vxlan_reserved)   -- 6.14
    34  +MC_ROUTE           mcroute             bool                     -- 6.17
  ]],
  hidden = { "ttl_inherit_flag", "group4", "group6", "local4", "local6" },
  words = { group = "string", remote = "string", local_ = "string" },
  dev = { dev = "dev_index" },
  spelled = { dstport = "port", vni = "id", maxaddress = "limit", flowlabel = "label", udpcsum = "udp_csum", udp6zerocsumtx = "udp_zero_csum6_tx",
    udp6zerocsumrx = "udp_zero_csum6_rx", remcsumtx = "remcsum_tx", remcsumrx = "remcsum_rx" },
  seconds = { ageing = 1 },
  write = function(data)
    data.ttl_inherit_flag, data.ttl_inherit = data.ttl_inherit or nil, nil
    local group = data.group or data.remote
    if group then
      data[group:find(":", 1, true) and "group6" or "group4"] = group
      data.group, data.remote = nil, nil
    end
    if data.local_ then
      data[data.local_:find(":", 1, true) and "local6" or "local4"] = data.local_
      data.local_ = nil
    end
  end,
  read = function(data)
    data.ttl_inherit, data["#28"] = data.ttl_inherit or data["#28"] and true, nil -- the flag, read back
    local group = data.group4 or data.group6
    if group then
      data[multicast(group) and "group" or "remote"] = group
    end
    data.local_ = data.local4 or data.local6
  end,
}
