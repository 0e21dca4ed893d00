-- Matches and targets of iptables, worked out for a packet. linux/netfilter/xt_*.h, linux/netfilter_ipv4/ipt_*.h; nslua.inspect.xt reads the matches.
--
-- They stand in the rules of iptables-nft as expressions "match" and "target". nil: it is not known what it says.

local core = require "nslua.core"
local look = require "nslua.inspect.look.xt"
local routes = require "nslua.inspect.why.routes"
local xt = require "nslua.inspect.xt"

local M = {}

local unpack = string.unpack
local protocols = { tcp = 6, udp = 17, icmp = 1, icmp6 = 58 }

-- Whether it is in one of the ranges { from, to }, or not, where that is asked.
local function one_of(value, ranges, inverted)
  local inside = false
  for _, range in ipairs(ranges) do
    inside = inside or value >= range[1] and value <= range[2]
  end
  return inside ~= inverted
end

local function ports(at, asked)
  local p = at.packet
  return one_of(p.sport, { asked.sport }, asked.not_sport) and one_of(p.dport, { asked.dport }, asked.not_dport)
end

local function icmp(proto)
  return function(at, info)
    local type, low, high, inverted = xt.icmp(info)
    local p = at.packet
    if p.proto ~= proto then
      return false
    end
    local code = p.icmp_code or 0
    return (not type or p.icmp_type == type and code >= low and code <= high) ~= inverted
  end
end

-- Bits of a state, as matches have them.
local function state_bits(at)
  local c = at.connection
  local bits = ({ invalid = 1, established = 2, related = 4, new = 8, untracked = 256 })[at.ct_state]
  return bits | (c and c.snat and 64 or 0) | (c and c.dnat and 128 or 0)
end

local function masked(family, bytes, address, mask)
  local n = family == "inet" and 4 or 16
  for i = 1, n do
    if (bytes:byte(i) ~ address:byte(i)) & mask:byte(i) ~= 0 then
      return false
    end
  end
  return true
end

local function bytes_of(ip)
  return ip and core.inet.bytes(ip) or ("\0"):rep(16)
end

local function same_name(name, link, mask)
  local real = link and link.name or ""
  real = real .. ("\0"):rep(16 - #real)
  return masked("inet6", real, name, mask)
end

local STATE, DIRECTION, STATUS, EXPIRES = 0x1, 0x1000, 0x40, 0x80

-- { bit, tuple, key, where its address begins }
local ends = { { 0x4, "orig", "src", 1 }, { 0x8, "orig", "dst", 33 }, { 0x10, "reply", "src", 65 }, { 0x20, "reply", "dst", 97 } }
local port_ends = { { 0x100, "orig", "sport", 139, 155 }, { 0x200, "orig", "dport", 141, 157 }, { 0x400, "reply", "sport", 143, 159 },
  { 0x800, "reply", "dport", 145, 161 } }

local function conntrack(at, info, revision)
  local flags, inverted, states, status = xt.conntrack(info, revision)
  local c = at.connection
  if flags & STATE ~= 0 and (states & state_bits(at) ~= 0) == (inverted & STATE ~= 0) then
    return false
  elseif not c then
    return flags & STATE ~= 0
  elseif flags & EXPIRES ~= 0 then
    return nil
  elseif flags & DIRECTION ~= 0 and (not at.packet.reply) == (inverted & DIRECTION ~= 0) then
    return false
  elseif flags & 2 ~= 0 and (unpack("=I2", info, 137) == protocols[c.orig.proto]) == (inverted & 2 ~= 0) then
    return false
  elseif flags & STATUS ~= 0 then
    local bits = (c.replied and 2 or 0) | (c.snat and 0x10 or 0) | (c.dnat and 0x20 or 0)
    if (bits & status ~= 0) == (inverted & STATUS ~= 0) then
      return false
    end
  end
  for _, e in ipairs(ends) do
    local address, mask = info:sub(e[4], e[4] + 15), info:sub(e[4] + 16, e[4] + 31)
    if flags & e[1] ~= 0 and masked(at.packet.family, bytes_of(c[e[2]][e[3]]), address, mask) == (inverted & e[1] ~= 0) then
      return false
    end
  end
  for _, e in ipairs(port_ends) do
    if flags & e[1] ~= 0 then
      local order = revision < 3 and ">I2" or "=I2"
      local low = unpack(order, info, e[4])
      local high = revision < 3 and low or unpack("=I2", info, e[5])
      if one_of(c[e[2]][e[3]] or 0, { { low, high } }, inverted & e[1] ~= 0) == false then
        return false
      end
    end
  end
  return true
end

local kinds = { unspec = 1, unicast = 2, ["local"] = 4, broadcast = 8, anycast = 16, multicast = 32 }

local function marked(key)
  return function(at, info)
    local mark, mask, inverted = xt.mark(info)
    local have = key == "mark" and at.packet.mark or at.connection and at.connection.mark or 0
    return (have & mask == mark) ~= inverted
  end
end

-- name -> function(at, info, revision): whether it matches
local matches = {
  tcp = function(at, info)
    local asked = xt.tcp(info)
    local p = at.packet
    if p.proto ~= "tcp" or not ports(at, asked) then
      return false
    elseif asked.option ~= 0 then
      return nil
    end
    local flags = p.rst and 0x14 or p.reply and 0x12 or 0x02
    return (flags & asked.mask == asked.compare) ~= asked.not_flags
  end,
  udp = function(at, info)
    return at.packet.proto == "udp" and ports(at, xt.udp(info))
  end,
  icmp = icmp "icmp",
  icmp6 = icmp "icmp6",
  multiport = function(at, info)
    local which, ranges, inverted = xt.multiport(info)
    local p = at.packet
    if not p.sport then
      return false
    end
    local inside = which ~= "dport" and one_of(p.sport, ranges, false) or which ~= "sport" and one_of(p.dport, ranges, false)
    return inside ~= inverted
  end,
  comment = function()
    return true
  end,
  conntrack = conntrack,
  state = function(at, info)
    return xt.state(info) & state_bits(at) & 0x1ff ~= 0
  end,
  addrtype = function(at, info, revision)
    local source, dest, not_source, not_dest, of_device = xt.addrtype(info, revision)
    if of_device then
      return nil
    end
    local p = at.packet
    local function is(mask, ip)
      local kind = kinds[routes.kind(at.space, p.family, ip)]
      return mask & kind ~= 0
    end
    return (source == 0 or is(source, p.src) ~= not_source) and (dest == 0 or is(dest, p.dst) ~= not_dest)
  end,
  mark = marked "mark",
  connmark = marked "connmark",
  iprange = function(at, info)
    local p, flags = at.packet, info:byte(65)
    local n = p.family == "inet" and 4 or 16
    local function is(ip, first)
      local b = bytes_of(ip)
      return b >= info:sub(first, first + n - 1) and b <= info:sub(first + 16, first + 15 + n)
    end
    return (flags & 1 == 0 or is(p.src, 1) ~= (flags & 0x10 ~= 0)) and (flags & 2 == 0 or is(p.dst, 33) ~= (flags & 0x20 ~= 0))
  end,
  physdev = function(at, info)
    local inverted, asked = info:byte(65), info:byte(66)
    local function flag(bit, holds)
      return asked & bit == 0 or holds ~= (inverted & bit ~= 0)
    end
    return flag(4, at.physin ~= nil and at.physout ~= nil) and flag(8, at.physin ~= nil) and flag(16, at.physout ~= nil)
      and flag(1, same_name(info:sub(1, 16), at.physin, info:sub(17, 32))) and flag(2, same_name(info:sub(33, 48), at.physout, info:sub(49, 64)))
  end,
  pkttype = function(at, info)
    if at.physin then
      return nil
    end
    local kind, inverted = unpack("=i4i4", info)
    return (kind == 0) ~= (inverted ~= 0)
  end,
}

---Whether a match of iptables matches.
---@param d { name: string, info: string, revision: integer? }
---@param at table
---@return boolean?  nil: it is not known
function M.match(d, at)
  local fn = matches[d.name]
  if not fn or not d.info then
    return nil
  end
  local ok, yes = pcall(fn, at, d.info, d.revision or 0)
  if ok then
    return yes
  end
  return nil -- a structure that is shorter than it should be
end

local codes = { ip = { [0] = 0, 1, 2, 3, [5] = 9, [6] = 10, [8] = 13 }, ip6 = { [0] = 0, 1, 2, 3, 4, [7] = 5, [8] = 6 } }
local RESET = { ip = 7, ip6 = 6 }

-- What changes nothing that this walk looks at.
local passes = { LOG = true, NFLOG = true, TRACE = true, TCPMSS = true, CHECKSUM = true, CLASSIFY = true, AUDIT = true,
  DSCP = true, TOS = true, SECMARK = true, CONNSECMARK = true }

local function set_mark(_, info, at, revision)
  local mark, mask = unpack("=I4I4", info)
  if revision ~= 2 then
    return nil
  end
  at.packet.mark = at.packet.mark & ~mask ~ mark
  return "continue"
end

local function connmark(_, info, at, revision)
  local value, ctmask, nfmask, mode = unpack("=I4I4I4B", info)
  local c, p = at.connection, at.packet
  if revision == 2 then
    local bits
    bits, mode = info:byte(14, 15)
    if bits ~= 0 then
      return nil
    end
  end
  if not c then
    return "continue"
  elseif mode == 0 then
    c.mark = (c.mark or 0) & ~ctmask ~ value
  elseif mode == 1 then
    c.mark = (c.mark or 0) & ~ctmask ~ (p.mark & nfmask)
  elseif mode == 2 then
    p.mark = p.mark & ~nfmask ~ ((c.mark or 0) & ctmask)
  end
  return "continue"
end

-- TTL and HL: set, add, take away.
local function time_to_live(_, info, at)
  local mode, value = info:byte(1, 2)
  local p = at.packet
  p.ttl = math.max(0, math.min(255, mode == 0 and value or mode == 1 and (p.ttl or 64) + value or (p.ttl or 64) - value))
  return "continue"
end

-- ttl and hl: equal, not equal, less, more.
local function lives(at, info)
  local mode, value = info:byte(1, 2)
  local ttl = at.packet.ttl or 64
  if mode == 0 or mode == 1 then
    return (ttl == value) == (mode == 0)
  end
  return mode == 2 and ttl < value or mode == 3 and ttl > value
end
matches.ttl, matches.hl = lives, lives

local function untracked(_, _, at)
  at.untrack()
  return "continue"
end

local function nat(d, info, at, revision)
  local facts = { family = at.packet.family == "inet" and "ip" or "ip6", match = {} }
  look.target(d.name, info, revision, facts)
  local t = facts.nat
  if not t then
    return nil
  elseif t.address_max then
    at.doubt "addresses of NAT are drawn from a range"
  end
  return { "nat", { type = t.type, address = t.address, port = t.port } }
end

local targets = {
  DNAT = nat, SNAT = nat, MASQUERADE = nat, REDIRECT = nat, MARK = set_mark, CONNMARK = connmark, NOTRACK = untracked, TTL = time_to_live,
  HL = time_to_live,
  CT = function(d, info, at)
    return unpack("=I2", info) & 1 ~= 0 and untracked(d, info, at) or "continue"
  end,
  REJECT = function(_, info, at)
    local with, family = unpack("=I4", info), at.packet.family == "inet" and "ip" or "ip6"
    if with == RESET[family] then
      return { "reject", { type = "tcp_rst" } }
    end
    return codes[family][with] and { "reject", { type = "icmp_unreach", icmp_code = codes[family][with] } }
  end,
}

---What a target of iptables says.
---@param d { name: string, info: string, revision: integer? }
---@param at table
---@return table|"continue"|nil verdict  nil: it is not known
function M.target(d, at)
  if passes[d.name] then
    return "continue"
  end
  local fn = targets[d.name]
  local ok, verdict = pcall(fn or error, d, d.info or "", at, d.revision or 0)
  return ok and verdict or nil
end

return M
