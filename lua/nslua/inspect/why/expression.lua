-- Expressions of nf_tables, worked out for a packet: what a rule says of it. linux/netfilter/nf_tables.h
--
-- What is not understood is not guessed: the rule is then one of which it is not known whether it matches.

local core = require "nslua.core"
local routes = require "nslua.inspect.why.routes"
local try = require("nslua.inspect.why.space").try
local xt = require "nslua.inspect.why.xt"

local M = {}

local UNKNOWN = {} -- raised
M.UNKNOWN = UNKNOWN

local function unknown()
  error(UNKNOWN, 0)
end

local function mac_bytes(text)
  return (text:gsub("(%x%x):?", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local ethertypes = { inet = 0x0800, inet6 = 0x86dd, arp = 0x0806 }
local l4 = { tcp = 6, udp = 17, icmp = 1, icmp6 = 58 }
local states = { new = 8, established = 2, related = 4, invalid = 1, untracked = 64 }

local function be(format, ...)
  return string.pack(">" .. format, ...)
end

local function host(n)
  return string.pack("=I4", n)
end

local function interface_name(link)
  local name = link and link.name or ""
  return name .. ("\0"):rep(16 - #name)
end

-- The network header, as far as it is known.
local function network(p)
  if p.family == "arp" then
    return be("I2I2BBI2", 1, ethertypes.inet, 6, 4, p.op) .. mac_bytes(p.sha) .. core.inet.bytes(p.src) .. mac_bytes(p.tha) .. core.inet.bytes(p.dst)
  end
  local src, dst = core.inet.bytes(p.src or (p.family == "inet" and "0.0.0.0" or "::")), core.inet.bytes(p.dst)
  if p.family == "inet" then
    return be("BBI2I2I2BBI2", 0x45, 0, math.min(p.size, 65535), 0, 0x4000, p.ttl or 64, l4[p.proto], 0) .. src .. dst
  end
  return be("I4I2BB", 0x60000000, math.max(math.min(p.size, 65535) - 40, 0), l4[p.proto], p.ttl or 64) .. src .. dst
end

local function transport(p)
  if p.proto == "icmp" or p.proto == "icmp6" then
    return be("BBI2", p.icmp_type or 0, p.icmp_code or 0, 0)
  elseif p.proto == "udp" then
    return be("I2I2I2I2", p.sport, p.dport, math.min(p.size, 65535) - (p.family == "inet" and 20 or 40), 0)
  end
  local flags = p.rst and 0x14 or p.reply and 0x12 or 0x02
  return be("I2I2I4I4BBI2I2I2", p.sport, p.dport, 1, 0, 0x50, flags, 64240, 0, 0)
end

-- Of these bytes nothing is known: identification, checksums, sequence numbers, windows.
local vague = {
  network4 = { { 4, 6 }, { 10, 12 } }, tcp = { { 4, 12 }, { 14, 18 } }, udp = { { 6, 8 } }, icmp = { { 2, 65536 } }, icmp6 = { { 2, 65536 } },
  network6 = {}, networkarp = {}, link = {},
}
local spots_of = { inet = "network4", inet6 = "network6", arp = "networkarp" }
local family_numbers = { bridge = 7, netdev = 5, arp = 3 } -- NFPROTO_*

local function is_multicast(p)
  return p.family == "inet" and p.dst:find "^2[23]%d%." ~= nil or p.family == "inet6" and p.dst:find "^ff" ~= nil
end

-- PACKET_HOST, BROADCAST, MULTICAST
local function packet_type(p, at)
  if at.frame then
    local group = at.frame.dst == "ff:ff:ff:ff:ff:ff" and "\1" or tonumber(at.frame.dst:sub(1, 2), 16) & 1 == 1 and "\2"
    return group or unknown()
  end
  return is_multicast(p) and "\2" or "\0"
end

local link_types = { ether = 1, loopback = 772, none = 0xfffe } -- ARPHRD_*

local function link_type(link)
  return string.pack("=I2", link_types[link.link_type] or unknown())
end

local meta = {
  len = function(p) return host(p.size) end,
  protocol = function(p) return be("I2", ethertypes[p.family]) end,
  mark = function(p) return host(p.mark or 0) end,
  iif = function(_, at) return host(at.iif and at.iif.index or 0) end,
  oif = function(_, at) return host(at.oif and at.oif.index or 0) end,
  iiftype = function(_, at) return link_type(at.iif or at.frame and at.oif or unknown()) end, -- where it leaves a device, that one counts
  oiftype = function(_, at) return at.oif and link_type(at.oif) end,
  iifname = function(_, at) return interface_name(at.iif) end,
  oifname = function(_, at) return interface_name(at.oif) end,
  bri_iifname = function(_, at) return at.bridge and at.iif and interface_name(at.bridge) or nil end,
  bri_oifname = function(_, at) return at.bridge and at.oif and interface_name(at.bridge) or nil end,
  iifkind = function(_, at) return at.iif and interface_name { name = at.iif.kind or "" } or nil end,
  oifkind = function(_, at) return at.oif and interface_name { name = at.oif.kind or "" } or nil end,
  nfproto = function(p, at) return string.char(family_numbers[at.family] or p.family == "inet" and 2 or 10) end,
  l4proto = function(p) return l4[p.proto] and string.char(l4[p.proto]) end,
  pkttype = packet_type,
  nftrace = function() return "\0" end,
}

-- What is loaded by each expression that loads; nil: the packet has no such thing, and the rule does not match.
local function load_meta(d, at)
  local fn = meta[d.key] or unknown()
  return fn(at.packet, at)
end

local function load_payload(d, at)
  local p, bytes, spots = at.packet, nil, nil
  if d.base == "network" then
    bytes, spots = network(p), vague[spots_of[p.family]]
  elseif d.base == "link" and at.frame then
    bytes, spots = mac_bytes(at.frame.dst) .. mac_bytes(at.frame.src) .. be("I2", ethertypes[p.family]), vague.link
  elseif d.base == "transport" then
    if not l4[p.proto] then
      return nil
    end
    bytes, spots = transport(p), vague[p.proto]
  else
    unknown()
  end
  for _, spot in ipairs(spots) do
    if d.offset < spot[2] and d.offset + d.len > spot[1] then
      unknown()
    end
  end
  if d.offset + d.len > #bytes then
    unknown()
  end
  return bytes:sub(d.offset + 1, d.offset + d.len)
end

local function load_ct(d, at)
  local p, c = at.packet, at.connection
  if d.key == "state" then
    return host(states[at.ct_state])
  elseif d.key == "status" and c then
    local bits = (c.replied and 2 or 0) + (c.snat and 0x10 or 0) + (c.dnat and 0x20 or 0)
    return host(bits + (c.confirmed and 8 or 0))
  elseif d.key == "direction" and c then
    return string.char(p.reply and 1 or 0)
  elseif d.key == "mark" then
    return host(c and c.mark or 0)
  elseif not c then
    return nil -- not tracked
  end
  local tuple = d.direction == 1 and c.reply or c.orig
  if d.key == "l3protocol" then
    return string.char(p.family == "inet" and 2 or 10)
  elseif d.key == "protocol" then
    return string.char(l4[tuple.proto])
  elseif d.direction and (d.key == "src" or d.key == "src_ip" or d.key == "src_ip6") then
    return core.inet.bytes(tuple.src)
  elseif d.direction and (d.key == "dst" or d.key == "dst_ip" or d.key == "dst_ip6") then
    return core.inet.bytes(tuple.dst)
  elseif d.direction and (d.key == "proto_src" or d.key == "proto_dst") then
    local port = tuple[d.key == "proto_src" and "sport" or "dport"]
    return port and be("I2", port) or unknown()
  end
  return unknown()
end

local RTN = { unicast = 1, ["local"] = 2, broadcast = 3, anycast = 4, multicast = 5 }
local FIB_OIF, FIB_TYPE = 1, 3
local FIB_SADDR, FIB_DADDR, FIB_IIF, FIB_OIF_FLAG, FIB_PRESENT = 1, 2, 8, 16, 32

-- What the routes say of an address: its type, or the way back to where a packet came in.
local function load_fib(d, at)
  local p, flags = at.packet, d.flags
  if p.family == "arp" or family_numbers[at.family] then
    return unknown()
  end
  local ip = flags & FIB_SADDR ~= 0 and p.src or flags & FIB_DADDR ~= 0 and p.dst or unknown()
  if d.result == FIB_TYPE and flags & (FIB_IIF | FIB_OIF_FLAG) == 0 then
    return host(RTN[routes.kind(at.space, p.family, ip)])
  elseif d.result ~= FIB_OIF or flags & FIB_IIF == 0 or not at.iif or routes.kind(at.space, p.family, ip) ~= "unicast" then
    return unknown()
  end
  local row = try(at.space.handle.route.lookup, at.space.handle.route, { ip, mark = p.mark ~= 0 and p.mark or nil })
  local found = row and row.type == "unicast" and row.dev_index == at.iif.index
  if flags & FIB_PRESENT ~= 0 then
    return found and "\1" or "\0"
  end
  return host(found and at.iif.index or 0)
end

local function compare(op, a, b)
  a = a:sub(1, #b)
  return op == "eq" and a == b or op == "neq" and a ~= b or op == "lt" and a < b or op == "lte" and a <= b or op == "gt" and a > b
    or op == "gte" and a >= b
end

local function bitwise(d, value)
  if d.op and d.op ~= 0 then
    unknown()
  end
  local mask, xor, out = d.mask.value, d.xor.value, {}
  for i = 1, d.len do
    out[i] = string.char((value:byte(i) or 0) & mask:byte(i) ~ xor:byte(i))
  end
  return table.concat(out)
end

-- The element of a set that a key is in; intervals are a beginning and, after it, an end.
local function find(set, key)
  if set.flags.concat and set.flags.interval then
    for _, e in ipairs(set.elements) do
      local first, last = e.key.value, e.key_end and e.key_end.value or e.key.value
      local at, inside = 1, true
      for _, field in ipairs(set.desc and set.desc.concat or {}) do
        local part = key:sub(at, at + field.len - 1)
        inside = inside and part >= first:sub(at, at + field.len - 1) and part <= last:sub(at, at + field.len - 1)
        at = at + (field.len + 3) // 4 * 4
      end
      if inside then
        return e
      end
    end
  elseif set.flags.interval then
    local best, start
    for _, e in ipairs(set.elements) do
      local value = e.key and e.key.value
      if value and value <= key:sub(1, #value) and (not start or value > start or value == start and not (e.flags and e.flags.interval_end)) then
        best, start = e, value
      end
    end
    if best and not (best.flags and best.flags.interval_end) then
      return best
    end
  else
    for _, e in ipairs(set.elements) do
      if e.key and e.key.value == key:sub(1, #e.key.value) then
        return e
      end
    end
  end
  for _, e in ipairs(set.elements) do
    if e.flags and e.flags.catchall then
      return e
    end
  end
end

-- Registers of 16 bytes 1 to 4 are those of 4 bytes from 8 on.
local function register(n)
  return n >= 1 and n <= 4 and 8 + (n - 1) * 4 or n
end

local function put(regs, n, value)
  n = register(n)
  for i = 0, math.max((#value + 3) // 4 - 1, 0) do
    local part = value:sub(i * 4 + 1, i * 4 + 4)
    regs[n + i] = part .. ("\0"):rep(4 - #part)
  end
end

local function get(regs, n, len)
  n = register(n)
  local out = {}
  for i = 0, (len + 3) // 4 - 1 do
    out[#out + 1] = regs[n + i] or "\0\0\0\0"
  end
  return table.concat(out):sub(1, len)
end

local function verdict_of(data)
  return data.verdict and { data.verdict.code, data.verdict.chain }
end

-- An address and a port that NAT makes, from registers.
local function nat(d, regs, at)
  local family = at.packet.family
  local length = family == "inet" and 4 or 16
  local out = { type = d.type }
  if d.reg_addr_min then
    out.address = core.inet.text(get(regs, d.reg_addr_min, length))
    if d.reg_addr_max and d.reg_addr_max ~= d.reg_addr_min and get(regs, d.reg_addr_max, length) ~= get(regs, d.reg_addr_min, length) then
      at.doubt "addresses of NAT are drawn from a range"
    end
  end
  if d.reg_proto_min then
    out.port = string.unpack(">I2", get(regs, d.reg_proto_min, 2))
  end
  return { "nat", out }
end

local passes = { counter = true, log = true, last = true }
local loads = { meta = load_meta, payload = load_payload, ct = load_ct, fib = load_fib }

---What a rule says of a packet.
---@param rule table  a row, decoded
---@param at { packet: table, space: table, family: string, iif: table?, oif: table?, ct_state: string, connection: table?, sets: table,
---  doubt: fun(text: string), untrack: fun(), frame: table?, bridge: table?, physin: table?, physout: table? }
---@return table? verdict  { "accept" }, { "jump", chain }, { "nat", {...} }; nil: it does not match, or says nothing
function M.rule(rule, at)
  local regs = {}
  for _, e in ipairs(rule.expressions or {}) do
    local d, name = e.data, e.name
    if name == "notrack" then
      at.untrack()
    elseif type(d) ~= "table" and not passes[name] then
      unknown()
    elseif loads[name] and d.dreg then
      local value = loads[name](d, at)
      if not value then
        return nil
      end
      put(regs, d.dreg, value)
    elseif name == "meta" and d.key == "mark" then
      at.packet.mark = string.unpack("=I4", get(regs, d.sreg, 4))
    elseif name == "meta" and (d.key == "nftrace" or d.key == "priority") then
      regs.none = nil
    elseif name == "ct" and d.key == "mark" then
      if at.connection then
        at.connection.mark = string.unpack("=I4", get(regs, d.sreg, 4))
      end
    elseif name == "match" then
      local yes = xt.match(d, at)
      if yes == nil then
        unknown()
      elseif not yes then
        return nil
      end
    elseif name == "target" then
      local verdict = xt.target(d, at) or unknown()
      if verdict ~= "continue" then
        return verdict
      end
    elseif name == "immediate" then
      local verdict = verdict_of(d.data)
      if verdict then
        return verdict
      end
      put(regs, d.dreg, d.data.value)
    elseif name == "cmp" then
      if not compare(d.op, get(regs, d.sreg, #d.data.value), d.data.value) then
        return nil
      end
    elseif name == "range" then
      local from, to = d.from_data.value, d.to_data.value
      local value = get(regs, d.sreg, #from)
      if (value >= from and value <= to) ~= (d.op == 0 or d.op == "eq") then
        return nil
      end
    elseif name == "bitwise" then
      put(regs, d.dreg, bitwise(d, get(regs, d.sreg, d.len)))
    elseif name == "lookup" then
      local set = at.sets(d.set) or unknown()
      local found = find(set, get(regs, d.sreg, set.key_len))
      if (found ~= nil) == ((d.flags or 0) & 1 == 1) then
        return nil
      elseif found and d.dreg then
        local verdict = verdict_of(found.data or {})
        if verdict then
          return verdict
        end
        put(regs, d.dreg, found.data.value)
      end
    elseif name == "nat" then
      return nat(d, regs, at)
    elseif name == "masq" then
      return { "nat", { type = "masquerade" } }
    elseif name == "redir" then
      return { "nat", { type = "redirect", port = d.reg_proto_min and string.unpack(">I2", get(regs, d.reg_proto_min, 2)) } }
    elseif name == "reject" then
      return { "reject", d }
    elseif not passes[name] then
      unknown()
    end
  end
  return nil
end

return M
