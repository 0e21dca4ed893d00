-- flower: fields of a packet, by their names. tc-flower(8), linux/pkt_cls.h.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local prefix = require "nslua.rtnl.prefix"

local protocols = { icmp = 1, tcp = 6, udp = 17, icmpv6 = 58, sctp = 132 }
local protocol_names = { [1] = "icmp", [6] = "tcp", [17] = "udp", [58] = "icmpv6", [132] = "sctp" }
local ports = { [6] = "tcp", [17] = "udp", [132] = "sctp" }
local VLANS = { [0x8100] = true, [0x88a8] = true }

-- A mask of so many bits, as the text of an address.
local function mask_text(length, bytes)
  local out = {}
  for i = 1, bytes do
    local bits = math.max(0, math.min(8, length - 8 * (i - 1)))
    out[i] = 256 - 2 ^ (8 - bits)
  end
  if bytes == 4 then
    return ("%d.%d.%d.%d"):format(out[1], out[2], out[3], out[4])
  end
  local words = {}
  for i = 1, bytes, 2 do
    words[#words + 1] = ("%x"):format(out[i] * 256 + out[i + 1])
  end
  return table.concat(words, ":")
end

local function mask_length(text)
  local length = 0
  for byte in core.inet.bytes(text):gmatch "." do
    local b = byte:byte()
    while b >= 128 do
      length, b = length + 1, (b - 128) * 2
    end
  end
  return length
end

-- "0x10/0xff", or a number with all bits
local function masked(value, what, most)
  local v, m = value, most
  if type(value) == "string" then
    local a, b = value:match "^([^/]+)/?(.*)$"
    v, m = tonumber(a), b ~= "" and tonumber(b) or most
  end
  if type(v) ~= "number" or type(m) ~= "number" then
    errors.misuse("%s: a number, or text like \"0x10/0xff\" expected, got %s", what, tostring(value))
  end
  return v, m
end

local words = { indev = "any", src_mac = "any", dst_mac = "any", ip_proto = "any", src_ip = "any", dst_ip = "any", src_port = "any",
  dst_port = "any", vlan_id = "count", vlan_prio = "count", vlan_ethtype = "any", tcp_flags = "any", ip_tos = "any", ip_ttl = "any",
  type = "count", code = "count" }
local most_of = { tcp_flags = 0xffff, ip_tos = 0xff, ip_ttl = 0xff }

return {
  kind = "flower",
  header = "linux/pkt_cls.h",
  prefix = "TCA_FLOWER_",
  needed = true,
  attributes = [[
    1   CLASSID               classid         u32
    2   INDEV                 indev           strz(15)
    3   ACT                   action          list(nest(tc_action))
    4   KEY_ETH_DST           dst_mac         lladdr
    5   KEY_ETH_DST_MASK      dst_mac_mask    lladdr
    6   KEY_ETH_SRC           src_mac         lladdr
    7   KEY_ETH_SRC_MASK      src_mac_mask    lladdr
    8   KEY_ETH_TYPE          eth_type        be16
    9   KEY_IP_PROTO          ip_proto        u8
    10  KEY_IPV4_SRC          src_ip4         ip4
    11  KEY_IPV4_SRC_MASK     src_ip4_mask    ip4
    12  KEY_IPV4_DST          dst_ip4         ip4
    13  KEY_IPV4_DST_MASK     dst_ip4_mask    ip4
    14  KEY_IPV6_SRC          src_ip6         ip6
    15  KEY_IPV6_SRC_MASK     src_ip6_mask    ip6
    16  KEY_IPV6_DST          dst_ip6         ip6
    17  KEY_IPV6_DST_MASK     dst_ip6_mask    ip6
    18  KEY_TCP_SRC           tcp_src         be16
    19  KEY_TCP_DST           tcp_dst         be16
    20  KEY_UDP_SRC           udp_src         be16
    21  KEY_UDP_DST           udp_dst         be16
    22  FLAGS                 flags           u32
    23  KEY_VLAN_ID           vlan_id         u16
    24  KEY_VLAN_PRIO         vlan_prio       u8
    25  KEY_VLAN_ETH_TYPE     vlan_ethtype    be16
    35  KEY_TCP_SRC_MASK      tcp_src_mask    be16
    36  KEY_TCP_DST_MASK      tcp_dst_mask    be16
    37  KEY_UDP_SRC_MASK      udp_src_mask    be16
    38  KEY_UDP_DST_MASK      udp_dst_mask    be16
    39  KEY_SCTP_SRC_MASK     sctp_src_mask   be16
    40  KEY_SCTP_DST_MASK     sctp_dst_mask   be16
    41  KEY_SCTP_SRC          sctp_src        be16
    42  KEY_SCTP_DST          sctp_dst        be16
    49  KEY_ICMPV4_CODE       icmp_code       u8
    50  KEY_ICMPV4_CODE_MASK  icmp_code_mask  u8
    51  KEY_ICMPV4_TYPE       icmp_type       u8
    52  KEY_ICMPV4_TYPE_MASK  icmp_type_mask  u8
    53  KEY_ICMPV6_CODE       icmp6_code      u8
    54  KEY_ICMPV6_CODE_MASK  icmp6_code_mask u8
    55  KEY_ICMPV6_TYPE       icmp6_type      u8
    56  KEY_ICMPV6_TYPE_MASK  icmp6_type_mask u8
    71  KEY_TCP_FLAGS         tcp_flags       be16
    72  KEY_TCP_FLAGS_MASK    tcp_flags_mask  be16
    73  KEY_IP_TOS            ip_tos          u8
    74  KEY_IP_TOS_MASK       ip_tos_mask     u8
    75  KEY_IP_TTL            ip_ttl          u8
    76  KEY_IP_TTL_MASK       ip_ttl_mask     u8
    86  IN_HW_COUNT           in_hw_count     u32
  ]],
  words = words,
  write = function(data, call, context)
    local what = call .. ": flower"
    local wire = { flags = 0, indev = data.indev, vlan_id = data.vlan_id, vlan_prio = data.vlan_prio }
    local protocol = context.protocol
    if protocol ~= context.any then
      wire.eth_type = protocol
    end
    if data.vlan_ethtype then
      wire.vlan_ethtype = context.number(data.vlan_ethtype, what)
    end
    local network = VLANS[protocol] and wire.vlan_ethtype or protocol
    for _, side in ipairs { "src", "dst" } do
      local mac = data[side .. "_mac"]
      if mac then
        local address, mask = tostring(mac):match "^([^/]+)/?(.*)$"
        wire[side .. "_mac"], wire[side .. "_mac_mask"] = address, mask ~= "" and mask or "ff:ff:ff:ff:ff:ff"
      end
      local ip = data[side .. "_ip"]
      if ip then
        local address, length, family = prefix.split(what, side .. "_ip", ip)
        local four = family == prefix.AF_INET
        if network ~= (four and 0x0800 or 0x86dd) then
          errors.misuse("%s: %s_ip %s needs protocol = %q", what, side, ip, four and "ip" or "ipv6")
        end
        local key = side .. (four and "_ip4" or "_ip6")
        wire[key], wire[key .. "_mask"] = address, mask_text(length, four and 4 or 16)
      end
    end
    local proto = data.ip_proto
    if proto ~= nil then
      wire.ip_proto = protocols[proto] or tonumber(proto) or errors.misuse("%s: %s", what, check.unknown("ip_proto", proto, protocols))
    end
    for _, side in ipairs { "src", "dst" } do
      local port = data[side .. "_port"]
      if port ~= nil then
        local name = ports[wire.ip_proto] or errors.misuse("%s: %s_port needs ip_proto: \"tcp\", \"udp\" or \"sctp\"", what, side)
        local value, mask = masked(port, what .. ": " .. side .. "_port", 0xffff)
        wire[name .. "_" .. side] = value
        wire[name .. "_" .. side .. "_mask"] = mask ~= 0xffff and mask or nil
      end
    end
    for word, most in pairs(most_of) do
      if data[word] ~= nil then
        wire[word], wire[word .. "_mask"] = masked(data[word], what .. ": " .. word, most)
      end
    end
    for _, word in ipairs { "type", "code" } do
      if data[word] then
        local of = wire.ip_proto == 1 and "icmp_" or wire.ip_proto == 58 and "icmp6_"
          or errors.misuse("%s: %s needs ip_proto: \"icmp\" or \"icmpv6\"", what, word)
        wire[of .. word], wire[of .. word .. "_mask"] = data[word], 0xff
      end
    end
    return wire
  end,
  read = function(data)
    local out = { indev = data.indev, vlan_id = data.vlan_id, vlan_prio = data.vlan_prio, ip_proto = protocol_names[data.ip_proto] or data.ip_proto,
      vlan_ethtype = data.vlan_ethtype, type = data.icmp_type or data.icmp6_type, code = data.icmp_code or data.icmp6_code }
    for _, side in ipairs { "src", "dst" } do
      local mac, mask = data[side .. "_mac"], data[side .. "_mac_mask"]
      out[side .. "_mac"] = mac and (mask == nil or mask == "ff:ff:ff:ff:ff:ff") and mac or mac and mac .. "/" .. mask
      for _, key in ipairs { side .. "_ip4", side .. "_ip6" } do
        if data[key] then
          out[side .. "_ip"] = ("%s/%d"):format(data[key], mask_length(data[key .. "_mask"]))
        end
      end
      for _, name in pairs(ports) do
        local port, part = data[name .. "_" .. side], data[name .. "_" .. side .. "_mask"]
        if port then
          out[side .. "_port"] = (part == nil or part == 0xffff) and port or ("%d/0x%x"):format(port, part)
        end
      end
    end
    for word, most in pairs(most_of) do
      local value, mask = data[word], data[word .. "_mask"]
      out[word] = value and ((mask == nil or mask == most) and value or ("0x%x/0x%x"):format(value, mask)) or nil
    end
    return out
  end,
}
