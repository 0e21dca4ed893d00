-- What the filters of a namespace do with a packet of which some is known: surely dropped, surely not, or not to be told. Of nf_tables,
-- iptables-nft and iptables-legacy alike, through all jumps.

local core = require "nslua.core"
local rules = require "nslua.inspect.doctor.rules"
local within = require "nslua.rtnl.within"

local M = {}

local DEEP = 16 -- jumps

---@class nslua.doctor.Packet  what is not known is nil; `false`: it has none
---@field family "inet"|"inet6"
---@field proto? string       "tcp"; `src dst sport dport iif oif` likewise; its state is that of a first packet
---@field icmp_type? integer

---@class nslua.doctor.Drop
---@field chain nslua.FirewallChain  that it is dropped in, or whose policy does it
---@field base nslua.FirewallChain   of the hook
---@field rule? nslua.FirewallRule   nil: the policy
---@field code string                "drop", "reject"

-- Whether a value is what is asked for; nil: it cannot be told.
local function is(field, want, have)
  if field == "iif" or field == "oif" then
    want = tostring(want)
    return want:sub(-1) == "*" and have ~= false and have:sub(1, #want - 1) == want:sub(1, -2) or want == have
  elseif have == false then
    return false
  elseif field == "src" or field == "dst" then
    if type(want) == "table" then
      local from, to, of = core.inet.bytes(want[1]), core.inet.bytes(want[2]), core.inet.bytes(have)
      return from and to and #from == #of and from <= of and of <= to or false
    elseif tostring(want):find(" ", 1, true) then
      return nil -- a mask that is no prefix
    elseif want:find("/", 1, true) then
      return (want:find(":", 1, true) ~= nil) == (have:find(":", 1, true) ~= nil) and within.of("doctor", "match", want)(have) or false
    end
    return core.inet.bytes(want) == core.inet.bytes(have)
  elseif field == "state" then
    if want == "dnat" or want == "snat" then -- of iptables: what became of it, not its state
      return nil
    end
    return ("," .. tostring(want) .. ","):find("," .. have .. ",", 1, true) ~= nil
  elseif type(want) == "table" then
    local from, to = tonumber(want[1]), tonumber(want[2])
    return from and to and from <= have and have <= to or false
  end
  return tostring(want) == tostring(have)
end

local function value_of(packet, field)
  if field == "state" then
    return packet.state or "new"
  elseif field == "nfproto" then
    return packet.family == "inet" and "ipv4" or "ipv6"
  end
  return packet[field]
end

---Whether a rule is for a packet; nil: it cannot be told.
---@param rule nslua.FirewallRule
---@param packet nslua.doctor.Packet
---@return boolean?
function M.matches(rule, packet)
  local sure = not rule.more
  for field, values in pairs(rule.match) do
    local have = value_of(packet, field)
    local found
    if have == nil then
      sure = false
    else
      found = false
      for _, want in ipairs(values) do
        local one = is(field, want, have)
        if one then
          found = true
          break
        elseif one == nil then
          found = nil
        end
      end
      if found == nil then
        sure = false
      elseif found == (values.inverted or false) then
        return false
      end
    end
  end
  if sure then
    return true
  end
  return nil
end

-- The rules of each chain, by its place.
local function index(firewall)
  if not firewall.by_chain then
    local by, chains = {}, {}
    for _, chain in ipairs(firewall.chains) do
      local key = ("%s %s %s %s"):format(chain.source, chain.family, chain.table, chain.name)
      by[key], chains[key] = {}, chain
    end
    for _, rule in ipairs(firewall.rules) do
      local list = by[("%s %s %s %s"):format(rule.source, rule.family, rule.table, rule.chain)]
      if list then
        list[#list + 1] = rule
      end
    end
    firewall.by_chain, firewall.chain_of = by, chains
  end
  return firewall.by_chain, firewall.chain_of
end

-- What may become of a packet in a chain: out.accept (the rule, or true), out.drop, out.maybe. Gives whether it may come to the chain's end.
local function walk(firewall, chain, base, packet, out, deep)
  local by, chains = index(firewall)
  local path = ("%s %s %s "):format(chain.source, chain.family, chain.table)
  local returns = false
  for _, rule in ipairs(by[path .. chain.name] or {}) do
    local matches = M.matches(rule, packet)
    if matches ~= false then
      local code, to = rule.verdict, rule.to
      if rule.verdicts then
        local value = value_of(packet, rule.verdict_of)
        out.maybe = out.maybe or value == nil
        for _, each in ipairs(value ~= nil and rule.verdicts or {}) do
          if is(rule.verdict_of, each[1], value) then
            code, to = each[2], each[3]
          end
        end
      end
      out.maybe = out.maybe or rule.ends
      local sure, through = matches == true, true
      if code == "accept" then
        out.accept, through = out.accept or rule, false
      elseif code == "drop" or code == "reject" then
        out.drop, through = out.drop or { chain = chain, base = base, rule = rule, code = code }, false
      elseif code == "jump" or code == "goto" then
        local other = chains[path .. tostring(to)]
        if other and deep < DEEP then
          through = walk(firewall, other, base, packet, out, deep + 1)
        else
          out.maybe = true
        end
        if code == "goto" then -- at its end this chain ends too
          returns = returns or through
          if sure then
            return returns
          end
        end
      elseif code == "return" then
        if sure then
          return true
        end
        returns = true
      elseif code and code ~= "continue" and code ~= "break" then
        out.maybe = true
        through = false
      end
      if sure and not through then
        return returns
      end
    end
  end
  return true
end

local family_of = { inet = { ip = true, inet = true }, inet6 = { ip6 = true, inet = true } }

---What each base chain of a hook does with a packet: in the order of the ruleset.
---@param firewall nslua.Firewall
---@param hook string
---@param packet nslua.doctor.Packet
---@return { chain: nslua.FirewallChain, accept: nslua.FirewallRule|true|nil, drop: nslua.doctor.Drop?, maybe: boolean? }[]
function M.verdicts(firewall, hook, packet)
  local out = {}
  for _, chain in ipairs(firewall.chains) do
    local nat = chain.type == "nat" or chain.source == "iptables" and chain.table == "nat"
    if chain.hook == hook and family_of[packet.family][chain.family] and not nat then
      local one = { chain = chain }
      if walk(firewall, chain, chain, packet, one, 0) then
        if chain.policy == "drop" then
          one.drop = one.drop or { chain = chain, base = chain, code = "drop" }
        else
          one.accept = one.accept or true
        end
      end
      out[#out + 1] = one
    end
  end
  return out
end

---A rule of one firewall that accepts what another firewall surely drops: of nf_tables and of iptables-legacy both are asked.
---@param space nslua.doctor.Snapshot
---@param hook string
---@param packet nslua.doctor.Packet
---@return nslua.FirewallRule? accepts
---@return nslua.doctor.Drop? drop
function M.disagree(space, hook, packet)
  local list = M.verdicts(space.firewall, hook, packet)
  for _, one in ipairs(list) do
    local rule = one.accept
    if type(rule) == "table" and not one.drop and not one.maybe and (rule.match.dport or rule.match.src or rule.match.dst or rule.match.iif) then
      for _, other in ipairs(list) do
        if other.drop and not other.accept and not other.maybe and other.chain.source ~= one.chain.source then
          return rule, other.drop
        end
      end
    end
  end
end

---What surely drops a packet at a hook; nil where nothing does, or it cannot be told.
---@param space nslua.doctor.Snapshot
---@param hook string
---@param packet nslua.doctor.Packet
---@return nslua.doctor.Drop?
function M.drops(space, hook, packet)
  for _, one in ipairs(M.verdicts(space.firewall, hook, packet)) do
    if one.drop and not one.accept and not one.maybe then
      return one.drop
    end
  end
end

---What surely drops whatever a program sends, TCP and UDP.
---@param space nslua.doctor.Snapshot
---@param hook string
---@param packet nslua.doctor.Packet
---@return nslua.doctor.Drop?
function M.drops_all(space, hook, packet)
  local found
  for _, proto in ipairs { "udp", "tcp" } do
    packet.proto = proto
    found = M.drops(space, hook, packet)
    if not found then
      break
    end
  end
  packet.proto = nil
  return found
end

---"iptables-legacy -t filter"
---@param of nslua.FirewallRule|nslua.FirewallChain
---@return string
function M.iptables(of)
  return ("%s -t %s"):format(rules.iptables(of), of.table)
end

---Where a packet is dropped, in words, with the source.
---@param drop nslua.doctor.Drop
---@return string
function M.words(drop)
  local chain, rule = drop.chain, drop.rule
  local source = rules.source(chain)
  local from = chain ~= drop.base and (", reached from %s"):format(drop.base.name) or ""
  if not rule then
    return ("no rule of %s accepts it, and its policy is drop (%s)"):format(rules.chain_words(chain), source)
  end
  return ("rule %d of %s%s: %s (%s)"):format(rule.handle, rules.chain_words(chain), from, rule.text ~= "" and rule.text or drop.code, source)
end

local words = { nft = { proto = "meta l4proto", iif = "iifname", oif = "oifname" }, iptables = { iif = "-i", oif = "-o", proto = "-p" } }

-- What a rule asks, in words of a tool.
local function asked(packet, fields, nft, family)
  local out = {}
  for _, field in ipairs(fields) do
    local value = packet[field]
    if value then
      if field == "dport" then
        out[#out + 1] = nft and ("%s dport %d"):format(packet.proto, value) or ("-p %s --dport %d"):format(packet.proto, value)
      elseif field == "src" or field == "dst" then
        out[#out + 1] = nft and ("%s %s %s"):format(family == "inet" and "ip" or "ip6", field == "src" and "saddr" or "daddr", value)
          or (field == "src" and "-s " or "-d ") .. value
      else
        out[#out + 1] = (nft and words.nft or words.iptables)[field] .. " " .. rules.quoted(value)
      end
    end
  end
  return table.concat(out, " ")
end

---The command after which a packet is no longer dropped there: the rule goes if it is of this packet alone, else one that accepts comes before it.
---@param drop nslua.doctor.Drop
---@param packet nslua.doctor.Packet
---@param fields string[]  that the new rule asks for
---@return string
function M.fix(drop, packet, fields)
  local rule, base = drop.rule, drop.base
  local nft = not rules.iptables(base)
  local narrow = rule and (rule.match.dport and #rule.match.dport == 1 and not rule.match.dport.inverted and type(rule.match.dport[1]) ~= "table"
    or rule.match.icmp_type)
  if narrow then
    return rules.delete { row = rule }
  end
  local ask = asked(packet, fields, nft, packet.family)
  if nft then
    return ("nft insert rule %s %s accept"):format(rules.chain_words(base), ask)
  end
  return ("%s -I %s %s -j ACCEPT"):format(M.iptables(base), base.name, ask)
end

return M
