-- ipip: IPv4 in IPv4; sit: IPv6 in IPv4 (RFC 4213; 6rd, RFC 5969); ip6tnl: IPv4 or IPv6 in IPv6 (RFC 2473).
-- linux/if_tunnel.h, ip-link(8). `sixrd_prefix` is ip(8)'s 6rd-prefix: "2002::/16".

local bits = require "nslua.rtnl.kind.bits"
local errors = require "nslua.error"
local schema = require "nslua.schema"
local tunnel = require "nslua.rtnl.kind.tunnel"

-- IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_MPLS: what is inside
schema.enum("ipip_mode", {}, { any = 0, ipip = 4, mplsip = 137 })
schema.enum("sit_mode", {}, { any = 0, ipip = 4, ip6ip = 41, mplsip = 137 })
schema.enum("ip6tnl_mode", {}, { any = 0, ipip6 = 4, ip6ip6 = 41 })

local function attributes(mode, flags, ttl)
  return ([[
    1   LINK                 dev_index              u32
    2   LOCAL                local_                 ip
    3   REMOTE               remote                 ip
    4   TTL                  %s
    5   TOS                  tos                    u8:enum(tunnel_tos)
    6   ENCAP_LIMIT          encap_limit            u8
    7   FLOWINFO             flowinfo               be32
    8   FLAGS                flags                  %s   -- SIT_ISATAP is a number of the machine's order, whatever the header says
    9   PROTO                mode                   u8:enum(%s)
    10  PMTUDISC             pmtudisc               bool
    11  6RD_PREFIX           sixrd_prefix_bytes     ip6
    12  6RD_RELAY_PREFIX     sixrd_relay_bytes      ip4
    13  6RD_PREFIXLEN        sixrd_prefixlen        u16
    14  6RD_RELAY_PREFIXLEN  sixrd_relay_prefixlen  u16
    15  ENCAP_TYPE           encap                  u16:enum(tunnel_encap)
    16  ENCAP_FLAGS          encap_flags            u16
    17  ENCAP_SPORT          encap_sport            be16:enum(tunnel_port)
    18  ENCAP_DPORT          encap_dport            be16
    19  COLLECT_METADATA     external               flag
    20  FWMARK               fwmark                 u32
  ]]):format(ttl, flags, mode)
end

local sixrd = { "sixrd_prefix_bytes", "sixrd_relay_bytes", "sixrd_prefixlen", "sixrd_relay_prefixlen" }
local function concealed(...)
  local out = { ... }
  for _, key in ipairs(sixrd) do
    out[#out + 1] = key
  end
  return out
end

local ISATAP = { isatap = 1 } -- SIT_ISATAP
local prefixes = { sixrd_prefix = { "sixrd_prefix_bytes", "sixrd_prefixlen", 128 },
  sixrd_relay_prefix = { "sixrd_relay_bytes", "sixrd_relay_prefixlen", 32 } }

local ipip = tunnel.kind("inet", {
  kind = "ipip",
  prefix = "IFLA_IPTUN_",
  attributes = attributes("ipip_mode", "u16", "ttl u8:enum(tunnel_ttl)"),
  hidden = concealed("encap_limit", "flowinfo", "flags"),
})
ipip.also = {
  tunnel.kind("inet", {
    kind = "sit",
    prefix = "IFLA_IPTUN_",
    attributes = attributes("sit_mode", "u16", "ttl u8:enum(tunnel_ttl)"),
    hidden = concealed("encap_limit", "flowinfo", "flags"),
    words = { isatap = "boolean", sixrd_prefix = "string", sixrd_relay_prefix = "string" },
    write = function(data, call, now)
      bits.write(data, "flags", ISATAP, now)
      for word, keys in pairs(prefixes) do
        if data[word] then
          local address, length = data[word]:match "^([^/]+)/?(%d*)$"
          length = length == "" and keys[3] or tonumber(length)
          if not length or length > keys[3] then
            errors.misuse("%s: %s: %q is no prefix", call, word, data[word])
          end
          data[keys[1]], data[keys[2]], data[word] = address, length, nil
        end
      end
    end,
    read = function(data)
      bits.read(data, "flags", ISATAP)
      for word, keys in pairs(prefixes) do
        local address, length = data[keys[1]], data[keys[2]]
        if address and length and not (word == "sixrd_relay_prefix" and length == 0) then
          data[word] = ("%s/%d"):format(address, length)
        end
      end
    end,
  }),
  tunnel.kind("inet6", {
    kind = "ip6tnl",
    prefix = "IFLA_IPTUN_",
    attributes = attributes("ip6tnl_mode", "u32", "hoplimit u8"),
    hidden = concealed("tos", "pmtudisc"),
    flow = true,
    spelled = { ttl = "hoplimit" },
  }),
}
return ipip
