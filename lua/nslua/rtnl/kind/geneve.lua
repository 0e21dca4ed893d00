-- geneve: Ethernet or IP in UDP with options (RFC 8926). linux/if_link.h, ip-link(8).

local schema = require "nslua.schema"
require "nslua.rtnl.kind.tunnel" -- enum tunnel_tos

schema.enum("geneve_df", { header = "linux/if_link.h", prefix = "GENEVE_DF_" }, { unset = 0, set = 1, inherit = 2 })
schema.struct("geneve_port_range", { header = "linux/if_link.h" }, [[ low be16  high be16 ]])

local families = { "remote", "local_" }

return {
  kind = "geneve",
  header = "linux/if_link.h",
  prefix = "IFLA_GENEVE_",
  -- port_range: Linux 6.15; those after it later
  attributes = [[
    1   ID                   id                   u32
    2   REMOTE               remote4              ip4
    3   TTL                  ttl                  u8
    4   TOS                  tos                  u8:enum(tunnel_tos)
    5   PORT                 port                 be16
    6   COLLECT_METADATA     external             flag
    7   REMOTE6              remote6              ip6
    8   UDP_CSUM             udp_csum             bool
    9   UDP_ZERO_CSUM6_TX    udp_zero_csum6_tx    bool
    10  UDP_ZERO_CSUM6_RX    udp_zero_csum6_rx    bool
    11  LABEL                label                be32
    12  TTL_INHERIT          ttl_inherit          bool
    13  DF                   df                   u8:enum(geneve_df)
    14  INNER_PROTO_INHERIT  inner_proto_inherit  flag
    15  +PORT_RANGE          port_range           struct(geneve_port_range)
    16  +GRO_HINT            gro_hint             flag
    17  +LOCAL               local4               ip4
    18  +LOCAL6              local6               ip6
  ]],
  hidden = { "remote4", "remote6", "local4", "local6" },
  words = { remote = "string", local_ = "string" },
  spelled = { vni = "id", dstport = "port", flowlabel = "label", udpcsum = "udp_csum", udp6zerocsumtx = "udp_zero_csum6_tx",
    udp6zerocsumrx = "udp_zero_csum6_rx", innerprotoinherit = "inner_proto_inherit" },
  write = function(data)
    for _, word in ipairs(families) do
      local address = data[word]
      if address then
        data[word:gsub("_", "") .. (address:find(":", 1, true) and "6" or "4")] = address
        data[word] = nil
      end
    end
  end,
  read = function(data)
    for _, word in ipairs(families) do
      local name = word:gsub("_", "")
      data[word] = data[name .. "4"] or data[name .. "6"]
    end
  end,
}
