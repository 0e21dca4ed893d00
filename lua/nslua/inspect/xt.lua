-- The structures of iptables' matches, as values. linux/netfilter/xt_*.h, linux/netfilter_ipv4/ipt_icmp.h
--
-- They are the same in the tables of iptables-legacy and in the expressions "match" of iptables-nft. Too few bytes raise.

local M = {}

local unpack = string.unpack

-- { from, to } of both ends, and whether each is what is not meant.
local function ports(info, flags)
  local s1, s2, d1, d2 = unpack("=I2I2I2I2", info)
  return { sport = { s1, s2 }, dport = { d1, d2 }, not_sport = flags & 1 ~= 0, not_dport = flags & 2 ~= 0 }
end

---@class nslua.xt.Ports
---@field sport [integer, integer]
---@field dport [integer, integer]
---@field not_sport boolean
---@field not_dport boolean
---@field option integer?    of tcp: an option that is asked for; 0: none
---@field mask integer?      of tcp: the flags that are looked at
---@field compare integer?   of tcp: those of them that are set
---@field not_flags boolean?

---@param info string
---@return nslua.xt.Ports
function M.tcp(info)
  local option, mask, compare, flags = unpack("BBBB", info, 9)
  local out = ports(info, flags)
  out.option, out.mask, out.compare, out.not_flags = option, mask, compare, flags & 4 ~= 0
  return out
end

---@param info string
---@return nslua.xt.Ports
function M.udp(info)
  return ports(info, (unpack("B", info, 9)))
end

---@param info string
---@return integer? type  nil: any
---@return integer low    the lowest code
---@return integer high
---@return boolean inverted
function M.icmp(info)
  local type, low, high, flags = unpack("BBBB", info)
  return type ~= 255 and type or nil, low, high, flags & 1 ~= 0
end

local ENDS = { [0] = "sport", "dport" }

---@param info string
---@return "sport"|"dport"|nil which  nil: either
---@return [integer, integer][] ranges
---@return boolean inverted
function M.multiport(info)
  local which, count = unpack("BB", info)
  local ranges = {}
  for i = 0, math.min(count, 15) - 1 do
    local port = unpack("=I2", info, 3 + 2 * i)
    if i > 0 and info:byte(33 + i - 1) == 1 then -- the one before begins a range
      ranges[#ranges][2] = port
    else
      ranges[#ranges + 1] = { port, port }
    end
  end
  return ENDS[which], ranges, info:byte(48) == 1
end

---@param info string
---@param revision integer
---@return integer flags     what is asked
---@return integer inverted  what of that is what is not meant
---@return integer states    bits
---@return integer status    bits
function M.conntrack(info, revision)
  local flags, inverted = unpack("=I2I2", info, 147)
  local states, status = unpack(revision == 1 and "=BB" or "=I2I2", info, 151)
  return flags, inverted, states, status
end

---@param info string
---@return integer states  bits
function M.state(info)
  return (unpack("=I4", info))
end

---@param info string
---@param revision integer
---@return integer source  types as bits; 0: not asked
---@return integer dest
---@return boolean not_source
---@return boolean not_dest
---@return boolean of_device  it is asked what the address is to one device
function M.addrtype(info, revision)
  local source, dest, flags = unpack("=I2I2I4", info)
  if revision == 0 then
    return source, dest, flags ~= 0, unpack("=I4", info, 9) ~= 0, false
  end
  return source, dest, flags & 1 ~= 0, flags & 2 ~= 0, flags & 12 ~= 0
end

---@param info string
---@return integer mark
---@return integer mask
---@return boolean inverted
function M.mark(info)
  local mark, mask, inverted = unpack("=I4I4B", info)
  return mark, mask, inverted ~= 0
end

return M
