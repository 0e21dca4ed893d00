-- The headers of a packet as tables of fields: Ethernet, VLAN, ARP, IPv4, IPv6, ICMP, ICMPv6, TCP, UDP, DNS. What was cut off is not there.

local core = require "nslua.core"

local M = {}

local function set(text)
  local out = {}
  for word in text:gmatch "%S+" do
    out[word] = true
  end
  return out
end

---The fields that each header may have.
---@type table<string, table<string, true>>
M.fields = {
  eth = set "src dst type",
  vlan = set "id priority",
  arp = set "op sender sender_ip target target_ip",
  ip = set "src dst tos length id ttl protocol dont_fragment more_fragments fragment_offset",
  ip6 = set "src dst tos length ttl flow protocol",
  icmp = set "type code name id seq",
  icmp6 = set "type code name id seq",
  tcp = set "sport dport seq ack flags window payload_length",
  udp = set "sport dport length",
  dns = set "id response rcode answers name type",
}

local function lladdr(bytes)
  return ("%02x:%02x:%02x:%02x:%02x:%02x"):format(bytes:byte(1, 6))
end

local function unpack(format, bytes, at)
  if at + string.packsize(format) - 1 <= #bytes then
    return string.unpack(format, bytes, at)
  end
end

-- In the order of tcpdump's letters.
local FLAGS = { { 0x02, "S" }, { 0x01, "F" }, { 0x04, "R" }, { 0x08, "P" }, { 0x10, "A" }, { 0x20, "U" }, { 0x40, "E" }, { 0x80, "C" } }

local function tcp(out, bytes, at, stop)
  local sport, dport, seq, ack, offset, bits, window = unpack(">I2I2I4I4BBI2", bytes, at)
  if not sport then
    return
  end
  local flags = {}
  for _, flag in ipairs(FLAGS) do
    flags[#flags + 1] = bits & flag[1] ~= 0 and flag[2] or nil
  end
  out.tcp = { sport = sport, dport = dport, seq = seq, ack = ack, flags = table.concat(flags), window = window,
    payload_length = math.max(0, stop - at - (offset >> 4) * 4) }
end

local TYPES = { "A", "NS", [5] = "CNAME", [6] = "SOA", [12] = "PTR", [15] = "MX", [16] = "TXT", [28] = "AAAA", [33] = "SRV", [255] = "ANY" }
local RCODES = { [0] = "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" }

local function dns(out, bytes, at)
  local id, bits, questions, answers = unpack(">I2I2I2I2", bytes, at)
  if not id then
    return
  end
  local d = { id = id, response = bits & 0x8000 ~= 0, rcode = RCODES[bits & 15] or bits & 15, answers = answers }
  out.dns = d
  local labels, place = {}, at + 12
  while questions > 0 and #labels < 128 do
    local size = bytes:byte(place)
    if not size or size > 63 or place + size > #bytes then
      return
    elseif size == 0 then
      local kind = unpack(">I2", bytes, place + 1)
      d.name, d.type = table.concat(labels, "."), kind and (TYPES[kind] or tostring(kind))
      return
    end
    labels[#labels + 1] = bytes:sub(place + 1, place + size)
    place = place + 1 + size
  end
end

local function udp(out, bytes, at)
  local sport, dport, length = unpack(">I2I2I2", bytes, at)
  if sport then
    out.udp = { sport = sport, dport = dport, length = length }
    if sport == 53 or dport == 53 then
      dns(out, bytes, at + 8)
    end
  end
end

local ICMP = { [0] = "echo reply", [3] = "destination unreachable", [5] = "redirect", [8] = "echo request", [11] = "time exceeded" }
local ICMP6 = { [1] = "destination unreachable", [2] = "packet too big", [3] = "time exceeded", [128] = "echo request", [129] = "echo reply",
  [133] = "router solicitation", [134] = "router advertisement", [135] = "neighbour solicitation", [136] = "neighbour advertisement",
  [143] = "multicast listener report" }

local function icmp(out, bytes, at, names, name)
  local kind, code, _, id, seq = unpack(">BBI2I2I2", bytes, at)
  if kind then
    local echo = (names[kind] or ""):find "^echo"
    out[name] = { type = kind, code = code, name = names[kind] or ("type %d"):format(kind), id = echo and id or nil, seq = echo and seq or nil }
  end
end

local function transport(out, bytes, at, protocol, stop)
  if protocol == 6 then
    tcp(out, bytes, at, stop)
  elseif protocol == 17 then
    udp(out, bytes, at)
  elseif protocol == 1 then
    icmp(out, bytes, at, ICMP, "icmp")
  elseif protocol == 58 then
    icmp(out, bytes, at, ICMP6, "icmp6")
  end
end

local function ip(out, bytes, at)
  local first, tos, length, id, fragment, ttl, protocol = unpack(">BBI2I2I2BB", bytes, at)
  if not first or at + 19 > #bytes then
    return
  end
  out.ip = { src = core.inet.text(bytes:sub(at + 12, at + 15)), dst = core.inet.text(bytes:sub(at + 16, at + 19)), tos = tos,
    length = length, id = id, ttl = ttl, protocol = protocol, dont_fragment = fragment & 0x4000 ~= 0, more_fragments = fragment & 0x2000 ~= 0,
    fragment_offset = (fragment & 0x1fff) * 8 }
  if fragment & 0x1fff == 0 then
    transport(out, bytes, at + (first & 15) * 4, protocol, at + length)
  end
end

-- Headers that stand between IPv6 and what it carries, and how long they are.
local EXTENSIONS = { [0] = true, [43] = true, [60] = true }

local function ip6(out, bytes, at)
  local first, length, protocol, hops = unpack(">I4I2BB", bytes, at)
  if not first or at + 39 > #bytes then
    return
  end
  out.ip6 = { src = core.inet.text(bytes:sub(at + 8, at + 23)), dst = core.inet.text(bytes:sub(at + 24, at + 39)), tos = first >> 20 & 255,
    length = length, ttl = hops, flow = first & 0xfffff }
  local place, stop = at + 40, at + 40 + length
  for _ = 1, 8 do
    local nxt, size = unpack("BB", bytes, place)
    if protocol == 44 and nxt then
      local offset = unpack(">I2", bytes, place + 2) or 0
      protocol, place = offset & 0xfff8 == 0 and nxt or 59, place + 8
    elseif EXTENSIONS[protocol] and nxt then
      protocol, place = nxt, place + size * 8 + 8
    else
      break
    end
  end
  out.ip6.protocol = protocol
  transport(out, bytes, place, protocol, stop)
end

local function arp(out, bytes, at)
  local hardware, protocol, hlen, plen, op = unpack(">I2I2BBI2", bytes, at)
  if op and hardware == 1 and protocol == 0x0800 and hlen == 6 and plen == 4 and at + 27 <= #bytes then
    out.arp = { op = ({ "request", "reply" })[op] or op,
      sender = lladdr(bytes:sub(at + 8)), sender_ip = core.inet.text(bytes:sub(at + 14, at + 17)),
      target = lladdr(bytes:sub(at + 18)), target_ip = core.inet.text(bytes:sub(at + 24, at + 27)) }
  end
end

---@param bytes string
---@param kind "ethernet"|"ip"  what it begins with
---@return table
function M.decode(bytes, kind)
  local out, at = {}, 1
  local protocol
  if kind == "ethernet" then
    if #bytes < 14 then
      return out
    end
    protocol, at = string.unpack(">I2", bytes, 13), 15
    out.eth = { dst = lladdr(bytes), src = lladdr(bytes:sub(7)), type = protocol }
    while (protocol == 0x8100 or protocol == 0x88a8) and at + 3 <= #bytes do
      local tci, inner = string.unpack(">I2I2", bytes, at)
      out.vlan = out.vlan or { id = tci & 0xfff, priority = tci >> 13 }
      protocol, at = inner, at + 4
    end
  else
    local version = (bytes:byte() or 0) >> 4
    protocol = version == 4 and 0x0800 or version == 6 and 0x86dd or 0
  end
  local read = ({ [0x0800] = ip, [0x86dd] = ip6, [0x0806] = arp })[protocol]
  if read then
    read(out, bytes, at)
  end
  return out
end

return M
