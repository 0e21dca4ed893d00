-- Where the headers of a frame begin, and its checksums. What is read comes from anybody: no length is believed.

local core = require "nslua.core"

local M = {}

local TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
local NAMES = { [TCP] = "tcp", [UDP] = "udp", [ICMP] = "icmp", [ICMP6] = "icmp6" }
-- The least size of each, and where its checksum is.
local SIZES = { tcp = 20, udp = 8, icmp = 8, icmp6 = 8 }
local SUMS = { tcp = 16, udp = 6, icmp = 2, icmp6 = 2 }
local EXTENSIONS = { [0] = true, [43] = true, [60] = true }

---@class nslua.lab.Layout  positions in the bytes of a frame, from 1; what is not there is nil
---@field vlan integer?
---@field arp integer?
---@field ip integer?
---@field ip6 integer?
---@field transport string?  "tcp", "udp", "icmp", "icmp6"
---@field at integer?        where that begins
---@field payload integer?   what it carries
---@field stop integer?      behind the last byte of the packet: a short frame is padded
---@field fragment boolean?  the packet is not whole
---@field dns integer?

-- What an IP packet carries.
local function transport(out, bytes, protocol, at)
  local name = NAMES[protocol]
  if not name or at + SIZES[name] > out.stop then
    return
  end
  out.transport, out.at, out.protocol = name, at, protocol
  out.payload = at + SIZES[name]
  if name == "tcp" then
    local size = (bytes:byte(at + 12) >> 4) * 4
    out.payload = size >= 20 and at + size <= out.stop and at + size or nil
  elseif name == "udp" and not out.fragment then
    local sport, dport = string.unpack(">I2I2", bytes, at)
    out.dns = (sport == 53 or dport == 53) and at + 20 <= out.stop and at + 8 or nil
  end
end

local function ip(out, bytes, at)
  local size = at + 19 <= #bytes and (bytes:byte(at) & 15) * 4 or 0
  if size < 20 or at + size - 1 > #bytes then
    return
  end
  local length, _, fragment, _, protocol = string.unpack(">I2I2I2BB", bytes, at + 2)
  out.ip, out.ip_size, out.stop = at, size, math.min(#bytes + 1, at + length)
  out.fragment = fragment & 0x3fff ~= 0 or nil
  if fragment & 0x1fff == 0 then
    transport(out, bytes, protocol, at + size)
  end
end

local function ip6(out, bytes, at)
  if at + 39 > #bytes then
    return
  end
  local length, protocol = string.unpack(">I2B", bytes, at + 4)
  out.ip6, out.stop = at, math.min(#bytes + 1, at + 40 + length)
  at = at + 40
  for _ = 1, 8 do
    if at + 7 >= out.stop then
      break
    elseif protocol == 44 then
      local offset = string.unpack(">I2", bytes, at + 2)
      out.fragment = offset & 0xfff9 ~= 0 or nil
      if offset & 0xfff8 ~= 0 then
        return
      end
      protocol, at = bytes:byte(at), at + 8
    elseif EXTENSIONS[protocol] then
      protocol, at = bytes:byte(at), at + bytes:byte(at + 1) * 8 + 8
    else
      break
    end
  end
  transport(out, bytes, protocol, at)
end

---@param bytes string
---@return nslua.lab.Layout
function M.of(bytes)
  local out, at = {}, 13
  if #bytes < 14 then
    return out
  end
  local kind = string.unpack(">I2", bytes, at)
  while (kind == 0x8100 or kind == 0x88a8) and at + 5 <= #bytes do
    out.vlan = out.vlan or at + 2
    kind, at = string.unpack(">I2", bytes, at + 4), at + 4
  end
  if kind == 0x0800 then
    ip(out, bytes, at + 2)
  elseif kind == 0x86dd then
    ip6(out, bytes, at + 2)
  elseif kind == 0x0806 and at + 29 <= #bytes and bytes:sub(at + 2, at + 7) == "\0\1\8\0\6\4" then
    out.arp = at + 2
  end
  return out
end

-- The sum that a checksum is made of: pseudo-header and segment, without the field itself. RFC 793, RFC 8200 8.1
local function sum(bytes, l)
  local field = l.at + SUMS[l.transport]
  local pseudo = ""
  if l.transport ~= "icmp" then
    local addresses = l.ip and bytes:sub(l.ip + 12, l.ip + 19) or bytes:sub(l.ip6 + 8, l.ip6 + 39)
    pseudo = addresses .. string.pack(">I4I4", l.stop - l.at, l.protocol)
  end
  return ~core.packet.checksum(pseudo .. bytes:sub(l.at, field - 1) .. "\0\0" .. bytes:sub(field + 2, l.stop - 1)) & 0xffff
end

local function fold(n)
  n = (n & 0xffff) + (n >> 16)
  return (n & 0xffff) + (n >> 16)
end

local function put(bytes, at, data)
  return bytes:sub(1, at - 1) .. data .. bytes:sub(at + #data)
end
M.put = put

---A frame that was changed, with its checksums changed likewise: what was wrong before stays wrong, and a fragment's, which nobody can know, is right
---where it was right. RFC 1624
---@param old string
---@param bytes string
---@return string
function M.mend(old, bytes)
  local before, l = M.of(old), M.of(bytes)
  if l.ip then
    bytes = put(bytes, l.ip + 10, "\0\0")
    bytes = put(bytes, l.ip + 10, string.pack(">I2", core.packet.checksum(bytes:sub(l.ip, l.ip + l.ip_size - 1))))
  end
  if not (l.transport and before.transport == l.transport) then
    return bytes
  end
  local field = l.at + SUMS[l.transport]
  local was = string.unpack(">I2", old, before.at + SUMS[before.transport])
  if was == 0 and l.transport == "udp" and l.ip then
    return bytes -- it has none
  end
  local now = ~fold((~was & 0xffff) + sum(bytes, l) + (~sum(old, before) & 0xffff)) & 0xffff
  -- both are zero: of UDP 0 says that there is none, and what the kernel completes has the other for TCP too
  return put(bytes, field, string.pack(">I2", now == 0 and (l.transport == "udp" or was == 0xffff) and 0xffff or now))
end

return M
