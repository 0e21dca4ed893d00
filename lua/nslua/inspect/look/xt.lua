-- Matches and targets of iptables in the words of nft(8), and what they say as values. linux/netfilter/x_tables.h and xt_*.h
--
-- The same structures are in the tables of iptables-legacy and, as expressions "match" and "target", in those of iptables-nft.

local core = require "nslua.core"
local xt = require "nslua.inspect.xt"

local M = {}

M.protocols = { [1] = "icmp", [2] = "igmp", [6] = "tcp", [17] = "udp", [47] = "gre", [50] = "esp", [51] = "ah", [58] = "icmpv6", [132] = "sctp",
  [136] = "udplite" }

local unpack = string.unpack

---A value, or the range of two.
---@param from any
---@param to any
---@return any|table
function M.range(from, to)
  return from == to and from or { from, to }
end

---@param value any
---@return string
function M.text(value)
  return type(value) == "table" and ("%s-%s"):format(value[1], value[2]) or tostring(value)
end

---Note what a rule asks of packets. Where it asks for one thing twice, the last says not all.
---@param facts table
---@param field string
---@param values table
function M.note(facts, field, values)
  facts.more = facts.more or facts.match[field] ~= nil or nil
  facts.match[field], facts.asked = values, true
end

---Note what a rule asks of packets, and say it.
---@param facts table       its `match`: field -> { value or { from, to }, ..., inverted = true }; `more` where it asks what is no field
---@param field string?     "dport"; nil: it is only said
---@param words string      "tcp dport"
---@param values table
---@param inverted boolean
---@return string
function M.asks(facts, field, words, values, inverted)
  local texts = {}
  for i, value in ipairs(values) do
    texts[i] = M.text(value)
  end
  if field then
    values.inverted = inverted or nil
    M.note(facts, field, values)
  else
    facts.more = true
  end
  return words .. (inverted and " != " or " ") .. (texts[2] and "{ " .. table.concat(texts, ", ") .. " }" or texts[1] or "{ }")
end

---Names of the bits that are set.
---@param bits integer
---@param names table<integer, string>
---@return string[]
function M.bits(bits, names)
  local out = {}
  for bit = 0, 31 do
    if bits & 1 << bit ~= 0 then
      out[#out + 1] = names[1 << bit] or ("0x%x"):format(1 << bit)
    end
  end
  return out
end

local tcp_flags = { [1] = "fin", [2] = "syn", [4] = "rst", [8] = "psh", [16] = "ack", [32] = "urg", [64] = "ecn", [128] = "cwr" }
M.tcp_flags = tcp_flags

local function ports(facts, proto, asked)
  local out = {}
  for _, key in ipairs { "sport", "dport" } do
    local from, to, inverted = asked[key][1], asked[key][2], asked["not_" .. key]
    if from ~= 0 or to ~= 0xffff or inverted then
      out[#out + 1] = M.asks(facts, key, proto .. " " .. key, { M.range(from, to) }, inverted)
    end
  end
  return out
end

local function icmp(word)
  return function(info, _, facts)
    local type, low, high, inverted = xt.icmp(info)
    if not type then
      return ""
    end
    local coded = low ~= 0 or high ~= 255
    M.note(facts, "icmp_type", { type, inverted = inverted or nil })
    facts.match.icmp_code = coded and not inverted and { M.range(low, high) } or nil
    facts.more = facts.more or coded and inverted or nil
    return ("%s type %s%d%s"):format(word, inverted and "!= " or "", type, coded and " code " .. M.text(M.range(low, high)) or "")
  end
end

local states = { [1] = "invalid", [2] = "established", [4] = "related", [8] = "new", [64] = "snat", [128] = "dnat", [256] = "untracked" }

local function ct_state(facts, mask, inverted)
  local names = M.bits(mask, states)
  M.note(facts, "state", names)
  names.inverted = inverted or nil
  return "ct state " .. (inverted and "!= " or "") .. table.concat(names, ",")
end

local types = { [1] = "unspec", [2] = "unicast", [4] = "local", [8] = "broadcast", [16] = "anycast", [32] = "multicast", [64] = "blackhole",
  [128] = "unreachable", [256] = "prohibit" }

-- name -> function(info, revision, facts): its words, or a list of them
local matches = {
  tcp = function(info, _, facts)
    local asked = xt.tcp(info)
    local out = ports(facts, "tcp", asked)
    if asked.mask ~= 0 then
      facts.more = true
      out[#out + 1] = ("tcp flags %s%s / %s"):format(asked.not_flags and "!= " or "", table.concat(M.bits(asked.compare, tcp_flags), ","),
        table.concat(M.bits(asked.mask, tcp_flags), ","))
    end
    return out
  end,
  udp = function(info, _, facts)
    return ports(facts, "udp", xt.udp(info))
  end,
  icmp = icmp "icmp",
  icmp6 = icmp "icmpv6",
  multiport = function(info, _, facts)
    local field, ranges, inverted = xt.multiport(info)
    local values = {}
    for i, range in ipairs(ranges) do
      values[i] = M.range(range[1], range[2])
    end
    return M.asks(facts, field, facts.proto_word() .. " " .. (field or "port"), values, inverted)
  end,
  comment = function(info, _, facts)
    facts.comment = info:match "^%Z*"
    return ""
  end,
  conntrack = function(info, revision, facts)
    local flags, inverted, asked = xt.conntrack(info, revision)
    if flags & ~0x2000 ~= 1 then -- more than the state, which "state" of older versions asks as an alias
      return "match conntrack"
    end
    return ct_state(facts, asked, inverted & 1 ~= 0)
  end,
  state = function(info, _, facts)
    return ct_state(facts, xt.state(info), false)
  end,
  addrtype = function(info, revision)
    local source, dest, not_source, not_dest = xt.addrtype(info, revision)
    local out = {}
    if source ~= 0 then
      out[1] = "fib saddr type " .. (not_source and "!= " or "") .. table.concat(M.bits(source, types), ",")
    end
    if dest ~= 0 then
      out[#out + 1] = "fib daddr type " .. (not_dest and "!= " or "") .. table.concat(M.bits(dest, types), ",")
    end
    return out
  end,
  mark = function(info)
    local mark, mask, inverted = xt.mark(info)
    local masked = mask ~= 0xffffffff
    return ("meta mark %s%s0x%x"):format(masked and ("& 0x%x "):format(mask) or "", inverted and "!= " or masked and "== " or "", mark)
  end,
  limit = function(info)
    local average = unpack("=I4", info) -- ten thousandths of a second from one to the next
    local per = 10000 / math.max(average, 1)
    for _, unit in ipairs { { "second", 1 }, { "minute", 60 }, { "hour", 3600 }, { "day", 86400 } } do
      if per * unit[2] >= 1 then
        return ("limit rate %d/%s"):format(math.floor(per * unit[2] + 0.5), unit[1])
      end
    end
    return "limit"
  end,
}

local function address(facts, bytes)
  return core.inet.text(facts.family == "ip6" and bytes or bytes:sub(1, 4))
end

-- The range of a NAT target: of IPv4's older structure, or of the one for both.
local function nat_range(info, revision, facts, older)
  local _, flags, from, to, low, high
  if older and revision < 2 and facts.family ~= "ip6" then
    _, flags, from, to, low, high = unpack("=I4I4c4c4>I2I2", info)
  else
    flags, from, to, low, high = unpack("=I4c16c16>I2I2", info)
  end
  local out = {}
  if flags & 1 ~= 0 then
    out.address, out.address_max = address(facts, from), address(facts, to)
    out.address_max = out.address_max ~= out.address and out.address_max or nil
  end
  if flags & 2 ~= 0 then
    out.port, out.port_max = low, high ~= low and high or nil
  end
  out.random = flags & 0x14 ~= 0 or nil
  return out
end

---"172.17.0.2:80", ":8080", "" of what NAT makes an address.
---@param nat table
---@return string
function M.nat_text(nat)
  local out = nat.address and (nat.port and nat.address:find ":" and "[" .. nat.address .. "]" or nat.address) or nat.address_map or ""
  out = out .. (nat.address_max and "-" .. nat.address_max or "")
  return out .. (nat.port and (":%s%s"):format(nat.port, nat.port_max and "-" .. nat.port_max or "") or "")
end

local function nat(type, words, older)
  return function(info, revision, facts)
    facts.nat = nat_range(info, revision, facts, older)
    facts.nat.type = type
    local to = M.nat_text(facts.nat)
    return words .. (to ~= "" and " to " .. to or "") .. (facts.nat.random and " random" or "")
  end
end

local targets = {
  DNAT = nat("dnat", "dnat", true),
  SNAT = nat("snat", "snat", true),
  MASQUERADE = nat("masquerade", "masquerade", true),
  REDIRECT = nat("redirect", "redirect", true),
  REJECT = function(info, _, facts)
    facts.verdict = "reject"
    local with = unpack("=I4", info)
    return with == (facts.family == "ip6" and 6 or 7) and "reject with tcp reset" or "reject"
  end,
  LOG = function(info)
    local prefix = info:sub(3):match "^%Z*"
    return "log" .. (prefix ~= "" and (" prefix %q"):format(prefix) or "")
  end,
  MARK = function(info)
    local mark = unpack("=I4", info)
    return ("meta mark set 0x%x"):format(mark)
  end,
  TCPMSS = function(info)
    local size = unpack("=I2", info)
    return "tcp option maxseg size set " .. (size == 0xffff and "rt mtu" or ("%d"):format(size))
  end,
  NOTRACK = function()
    return "notrack"
  end,
}

-- Those after which the next rule is asked; what is not known may end it.
local passing = { CHECKSUM = true, CLASSIFY = true, CONNMARK = true, CT = true, DSCP = true, HL = true, NFLOG = true, SET = true, TOS = true,
  TRACE = true, TTL = true }

local function call(list, kind, name, info, revision, facts)
  local known = list[name]
  local ok, words = pcall(function()
    return known and known(info, revision, facts)
  end)
  if not ok or not words then -- one that is not known, or not in this revision
    return kind .. " " .. name
  end
  return type(words) == "table" and table.concat(words, " ") or words
end

---@param name string
---@param info string
---@param revision integer
---@param facts table
---@return string words  "" where it asks nothing
function M.match(name, info, revision, facts)
  facts.asked = nil
  local words = call(matches, "match", name, info, revision, facts)
  facts.more, facts.asked = facts.more or words ~= "" and not facts.asked or nil, nil
  return words
end

---@param name string
---@param info string
---@param revision integer
---@param facts table
---@return string words
function M.target(name, info, revision, facts)
  if not targets[name] and not passing[name] then
    facts.ends = true
  end
  return call(targets, "target", name, info, revision, facts)
end

return M
