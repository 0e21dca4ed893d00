-- gre, gretap: IP or Ethernet in GRE (RFC 2784, 2890) over IPv4; ip6gre, ip6gretap over IPv6; erspan, ip6erspan: mirrored Ethernet.
-- linux/if_tunnel.h, ip-link(8). `key`, `seq` and `csum` are both directions of `ikey okey`, `iseq oseq`, `icsum ocsum`.

local bits = require "nslua.rtnl.kind.bits"
local schema = require "nslua.schema"
local tunnel = require "nslua.rtnl.kind.tunnel"

schema.enum("erspan_dir", {}, { ingress = 0, egress = 1 })

local CSUM, KEY, SEQ = 0x8000, 0x2000, 0x1000 -- GRE_CSUM, GRE_KEY, GRE_SEQ
local both = { key = { "ikey", "okey" }, seq = { "iseq", "oseq" }, csum = { "icsum", "ocsum" } }
local directions = {
  { "iflags", "ikey", { iseq = SEQ, icsum = CSUM } },
  { "oflags", "okey", { oseq = SEQ, ocsum = CSUM } },
}

local function write(data, call, now)
  for _, d in ipairs(directions) do
    local flags, key = d[1], d[2]
    bits.write(data, flags, d[3], now)
    if data[key] ~= nil then
      data[flags] = bits.set(data[flags] or now and now[flags] or 0, KEY, data[key] ~= false)
      data[key] = data[key] and tunnel.key(call, key, data[key]) or 0
    end
  end
end

local function read(data)
  for _, d in ipairs(directions) do
    bits.read(data, d[1], d[3])
    if not bits.has(data[d[1]] or 0, KEY) then
      data[d[2]] = nil
    end
  end
end

local common = [[
    1   LINK              dev_index     u32
    2   IFLAGS            iflags        be16
    3   OFLAGS            oflags        be16
    4   IKEY              ikey          be32
    5   OKEY              okey          be32
    6   LOCAL             local_        ip
    7   REMOTE            remote        ip
    14  ENCAP_TYPE        encap         u16:enum(tunnel_encap)
    15  ENCAP_FLAGS       encap_flags   u16
    16  ENCAP_SPORT       encap_sport   be16:enum(tunnel_port)
    17  ENCAP_DPORT       encap_dport   be16
    18  COLLECT_METADATA  external      flag
    20  FWMARK            fwmark        u32
    21  ERSPAN_INDEX      erspan        u32
    22  ERSPAN_VER        erspan_ver    u8
    23  ERSPAN_DIR        erspan_dir    u8:enum(erspan_dir)
    24  ERSPAN_HWID       erspan_hwid   u16
]]
local inet = common .. [[
    8   TTL               ttl           u8:enum(tunnel_ttl)
    9   TOS               tos           u8:enum(tunnel_tos)
    10  PMTUDISC          pmtudisc      bool
    11  ENCAP_LIMIT       encap_limit   u8
    12  FLOWINFO          flowinfo      be32
    13  FLAGS             flags         u32
    19  IGNORE_DF         ignore_df     bool
]]
local inet6 = common .. [[
    8   TTL               hoplimit      u8
    9   TOS               tos           u8
    10  PMTUDISC          pmtudisc      bool
    11  ENCAP_LIMIT       encap_limit   u8
    12  FLOWINFO          flowinfo      be32
    13  FLAGS             flags         u32
    19  IGNORE_DF         ignore_df     bool
]]

local function kind(name, family)
  local hidden = family == "inet" and { "iflags", "oflags", "encap_limit", "flowinfo", "flags" }
    or { "iflags", "oflags", "tos", "pmtudisc", "ignore_df" } -- of the other family
  return tunnel.kind(family, {
    kind = name,
    prefix = "IFLA_GRE_",
    attributes = family == "inet" and inet or inet6,
    hidden = hidden,
    flow = true,
    words = { ikey = "integer|string|false", okey = "integer|string|false", iseq = "boolean", oseq = "boolean",
      icsum = "boolean", ocsum = "boolean" },
    both = both,
    spelled = family == "inet6" and { ttl = "hoplimit" } or nil,
    write = write,
    read = read,
  })
end

local gre = kind("gre", "inet")
gre.also = { kind("gretap", "inet"), kind("erspan", "inet"), kind("ip6gre", "inet6"), kind("ip6gretap", "inet6"), kind("ip6erspan", "inet6") }
return gre
