-- Fields of a frame's headers that may be set: where each stands, and its bytes.

local core = require "nslua.core"
local layout = require "nslua.lab.packet.layout"

local M = {}

-- Raised at the line of the function that sets it.
local function refuse(name, format, ...)
  error(("%s: %s"):format(name, format:format(...)), 0)
end

local function integer(most, format)
  return function(name, v)
    local n = math.type(v) and math.tointeger(v)
    if not n or n < 0 or n > most then
      refuse(name, "an integer from 0 to %d expected, got %s", most, tostring(v))
    end
    return format and string.pack(format, n) or n
  end
end

local u8, u16, u32 = integer(255, "B"), integer(65535, ">I2"), integer(4294967295, ">I4")

local function address(size)
  return function(name, v)
    local bytes = type(v) == "string" and core.inet.bytes(v)
    if not bytes or #bytes ~= size then
      refuse(name, "an address of %s expected, got %s", size == 4 and "IPv4" or "IPv6", tostring(v))
    end
    return bytes
  end
end

local function lladdr(name, v)
  if type(v) ~= "string" or not v:match("^" .. ("%x%x:"):rep(5) .. "%x%x$") then
    refuse(name, "an Ethernet address such as 02:00:00:00:00:01 expected, got %s", tostring(v))
  end
  return (v:gsub("(%x%x):?", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

-- Some bits of what stands there.
local function bits(format, mask, shift, convert)
  local size = string.packsize(format)
  return function(name, v, old)
    local n = convert and convert(name, v) or integer(mask >> shift)(name, v)
    return string.pack(format, string.unpack(format, old) & ~mask | n << shift & mask)
  end, size
end

local function choice(mask, format)
  return bits(format, mask, 0, function(name, v)
    if type(v) ~= "boolean" then
      refuse(name, "true or false expected, got %s", tostring(v))
    end
    return v and mask or 0
  end)
end

local FLAGS = { F = 1, S = 2, R = 4, P = 8, A = 16, U = 32, E = 64, C = 128 }

local function flags(name, v)
  local n = 0
  for letter in (type(v) == "string" and v or refuse(name, "letters such as \"SA\" expected, got %s", tostring(v))):gmatch "." do
    n = n | (FLAGS[letter] or refuse(name, "unknown flag '%s': they are S F R P A U E C", letter))
  end
  return string.char(n)
end

local OPS = { request = 1, reply = 2 }
local RCODES = { NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5 }

local function word(known, other)
  return function(name, v, ...)
    return other(name, known[v] or v, ...)
  end
end

-- layer -> field -> { offset, what makes its bytes, how many it looks at }
local function at(offset, make, size)
  return { offset, make, size or 0 }
end

local ipv4, ipv6 = address(4), address(16)
local known = {
  eth = { dst = at(0, lladdr), src = at(6, lladdr) },
  vlan = { id = at(0, bits(">I2", 0xfff, 0)), priority = at(0, bits(">I2", 0xe000, 13)) },
  arp = { op = at(6, word(OPS, u16)), sender = at(8, lladdr), sender_ip = at(14, ipv4), target = at(18, lladdr), target_ip = at(24, ipv4) },
  ip = { tos = at(1, u8), id = at(4, u16), dont_fragment = at(6, choice(0x4000, ">I2")), ttl = at(8, u8), src = at(12, ipv4), dst = at(16, ipv4) },
  ip6 = { tos = at(0, bits(">I4", 0x0ff00000, 20)), flow = at(0, bits(">I4", 0xfffff, 0)), ttl = at(7, u8), src = at(8, ipv6), dst = at(24, ipv6) },
  icmp = { type = at(0, u8), code = at(1, u8), id = at(4, u16), seq = at(6, u16) },
  icmp6 = { type = at(0, u8), code = at(1, u8), id = at(4, u16), seq = at(6, u16) },
  tcp = { sport = at(0, u16), dport = at(2, u16), seq = at(4, u32), ack = at(8, u32), flags = at(13, flags), window = at(14, u16) },
  udp = { sport = at(0, u16), dport = at(2, u16) },
  dns = { id = at(0, u16), rcode = at(2, word(RCODES, (bits(">I2", 0xf, 0))), 2) },
}
M.known = known

---The frame with a field set.
---@param bytes string
---@param start integer  where the header begins
---@param layer string
---@param field string
---@param value any
---@return string
function M.set(bytes, start, layer, field, value)
  local entry = known[layer][field]
  local place = start + entry[1]
  local name = layer .. "." .. field
  return layout.put(bytes, place, entry[2](name, value, bytes:sub(place, place + entry[3] - 1)))
end

---The frame with another payload: its lengths say so.
---@param bytes string
---@param l nslua.lab.Layout
---@param payload string
---@return string
function M.set_payload(bytes, l, payload)
  if type(payload) ~= "string" then
    refuse("payload", "bytes expected, got %s", type(payload))
  elseif l.fragment then
    refuse("payload", "the packet is a fragment of one")
  end
  local begin, size = l.ip or l.ip6, l.payload - l.at + #payload
  local total = l.at - begin + size - (l.ip6 and 40 or 0)
  if total > 65535 then
    refuse("payload", "%d bytes do not fit into a packet", #payload)
  end
  bytes = bytes:sub(1, l.payload - 1) .. payload
  if l.transport == "udp" then
    bytes = layout.put(bytes, l.at + 4, string.pack(">I2", size))
  end
  return layout.put(bytes, begin + (l.ip6 and 4 or 2), string.pack(">I2", total))
end

---@param bytes string
---@param answers { at: integer, size: integer, address: string }[]
---@param list string[]
---@return string
function M.set_addresses(bytes, answers, list)
  if type(list) ~= "table" or #list ~= #answers then
    refuse("dns.addresses", "%d addresses expected, as there are answers of them", #answers)
  end
  for i, answer in ipairs(answers) do
    bytes = layout.put(bytes, answer.at, (answer.size == 4 and ipv4 or ipv6)("dns.addresses", list[i]))
  end
  return bytes
end

return M
