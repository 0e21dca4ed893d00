-- Subnets and the addresses in them, as numbers: pure data, no kernel.

local core = require "nslua.core"

local bytes_of, text_of = core.inet.bytes, core.inet.text

local M = {}

M.text = text_of -- of an address's bytes

---@class nslua.lab.Subnet
---@field family "inet"|"inet6"
---@field bytes string     the network's address in network order: 4 or 16 bytes
---@field length integer   of the prefix
---@field text string      "10.0.1.0/24"
---@field lowest integer   number of the first address that a host may have
---@field highest integer  number of the last one (in IPv6 at most 0xffffff: nobody counts further)

-- The leading `length` bits; the others are zero.
local function mask(bytes, length)
  local whole, rest = length // 8, length % 8
  if whole == #bytes then
    return bytes
  end
  local partial = bytes:byte(whole + 1) & (0xff << (8 - rest)) & 0xff
  return bytes:sub(1, whole) .. string.char(partial) .. ("\0"):rep(#bytes - whole - 1)
end

---The subnet that an address of that prefix length is in.
---@param bytes string
---@param length integer
---@return nslua.lab.Subnet
function M.of(bytes, length)
  local network = mask(bytes, length)
  local bits = #bytes * 8 - length
  local lowest, highest = 1, (1 << math.min(bits, 24)) - 1
  if bits <= 1 then -- /31: RFC 3021; /127: RFC 6164
    lowest = 0
  elseif #bytes == 4 then
    highest = (1 << bits) - 2 -- the last one is the broadcast address
  end
  return { family = #bytes == 4 and "inet" or "inet6", bytes = network, length = length, text = text_of(network) .. "/" .. length,
    lowest = lowest, highest = highest }
end

---Read "10.0.0.1/24" or "10.0.0.1".
---@param text any
---@return string? bytes     nil where it is neither
---@return integer? length   nil where none is written
function M.parse(text)
  local address, length = text, nil
  if type(text) ~= "string" then
    return nil
  end
  if text:find("/", 1, true) then
    address, length = text:match "^(.-)/(%d%d?%d?)$"
  end
  local bytes = address and bytes_of(address)
  length = math.tointeger(tonumber(length))
  if not bytes or length and length > #bytes * 8 then
    return nil
  end
  return bytes, length
end

---@param subnet nslua.lab.Subnet
---@param bytes string
---@return boolean
function M.contains(subnet, bytes)
  return #bytes == #subnet.bytes and mask(bytes, subnet.length) == subnet.bytes
end

---@param a nslua.lab.Subnet
---@param b nslua.lab.Subnet
---@return boolean
function M.overlap(a, b)
  return M.contains(a.length <= b.length and a or b, a.length <= b.length and b.bytes or a.bytes)
end

---The address with that number. In IPv6 the digits of the number are written as they are, so that ::254 stands beside .254; a subnet with no room for
---that counts plainly.
---@param subnet nslua.lab.Subnet
---@param number integer  subnet.lowest to subnet.highest
---@return string bytes
function M.address(subnet, number)
  local bytes = subnet.bytes
  if subnet.family == "inet" then
    return (">I4"):pack((">I4"):unpack(bytes) + number)
  end
  if subnet.length <= 96 then
    number = tonumber(tostring(number), 16)
  end
  return bytes:sub(1, 8) .. (">i8"):pack((">i8"):unpack(bytes, 9) + number)
end

---Why no host can have that address, if it is so.
---@param subnet nslua.lab.Subnet
---@param bytes string  one of the subnet's
---@return string?
function M.unusable(subnet, bytes)
  if subnet.family == "inet" and subnet.length <= 30 then
    local number = (">I4"):unpack(bytes) - (">I4"):unpack(subnet.bytes)
    return number == 0 and "the network's own address" or number > subnet.highest and "the broadcast address" or nil
  end
end

---Two subnets of a list that overlap, if there are such. Subnets nest or are apart, so that neighbours in their order tell.
---@param list nslua.lab.Subnet[]  sorted here
---@return nslua.lab.Subnet?, nslua.lab.Subnet?
function M.clash(list)
  table.sort(list, function(a, b)
    if #a.bytes ~= #b.bytes then
      return #a.bytes < #b.bytes
    elseif a.bytes ~= b.bytes then
      return a.bytes < b.bytes
    end
    return a.length < b.length
  end)
  for i = 2, #list do
    if M.overlap(list[i - 1], list[i]) then
      return list[i - 1], list[i]
    end
  end
end

return M
