-- The ruleset of a namespace as checks need it: what each rule asks for, in short. What is more is told as `other`.

local xt = require "nslua.inspect.look.xt"

local M = {}

---@class nslua.doctor.Rule
---@field iif? string        name of the link that a packet came by; "veth*" for a prefix; `not_iif` where it must be another; `oif` likewise
---@field saddr? string      prefix; `daddr` likewise
---@field proto? integer     `dport`, `icmp` (type), `icmp_code` likewise
---@field established? boolean  it asks for a state of conntrack, which no first packet has
---@field other? boolean     there is more that it asks for
---@field verdict? string    "accept", "drop", "reject", "jump", "goto", "return"; `chain` is the one of a jump
---@field nat? { type: string, address: string?, port: integer? }  "snat", "dnat", "masquerade", "redirect"
---@field packets? integer   that its counter has seen
---@field row nslua.FirewallRule

---@class nslua.doctor.Ruleset
---@field chains table[]     with `row` and `rules`
---@field unread? string     why it could not be read

local numbers = {}
for number, name in pairs(xt.protocols) do
  numbers[name] = number
end

-- The rule as far as each thing that it asks for is one value.
local function simple(row)
  local rule = { row = row, verdict = row.verdict, chain = row.to, nat = row.nat, packets = row.packets, other = row.more }
  for field, values in pairs(row.match) do
    local value = not values[2] and type(values[1]) ~= "table" and values[1] or nil
    local inverted = values.inverted
    if field == "state" then
      local first = false
      for _, each in ipairs(values) do
        first = first or ("," .. each .. ","):find(",new,", 1, true) ~= nil
      end
      rule.established = first == (inverted or false)
    elseif field == "iif" or field == "oif" then
      rule[(inverted and "not_" or "") .. field] = value
      rule.other = rule.other or value == nil
    elseif value == nil or inverted then
      rule.other = true
    elseif field == "proto" then
      rule.proto = numbers[value] or math.tointeger(value)
    elseif field == "nfproto" then
      rule.family = value == "ipv6" and "inet6" or "inet"
    else
      local name = ({ src = "saddr", dst = "daddr", icmp_type = "icmp" })[field] or field
      rule[name] = value
    end
  end
  rule.other = rule.other or row.verdicts ~= nil or nil
  return rule
end

---The chains of a firewall with their rules.
---@param firewall nslua.Firewall
---@return nslua.doctor.Ruleset
function M.read(firewall)
  local set, known = { chains = {} }, {}
  for _, row in ipairs(firewall.chains) do
    local chain = { row = row, rules = {} }
    set.chains[#set.chains + 1] = chain
    known[("%s %s %s %s"):format(row.source, row.family, row.table, row.name)] = chain
  end
  for _, row in ipairs(firewall.rules) do
    local chain = known[("%s %s %s %s"):format(row.source, row.family, row.table, row.chain)]
    if chain then
      table.insert(chain.rules, simple(row))
    end
  end
  set.unread = firewall.unread[1] and firewall.unread[1].why
  return set
end

---For a shell: names of tables and chains are the ruleset's, which may be anybody's.
---@param text string
---@return string
function M.quoted(text)
  return text:find "^[%w_.-]+$" and text or "'" .. text:gsub("'", "'\\''") .. "'"
end

local classic = { filter = true, nat = true, mangle = true, raw = true, security = true }

---The tool that a chain or a rule is changed with: "iptables-legacy", "ip6tables-nft"; nil: nft(8). A rule of nft in a table of iptables-nft
---would make that table unreadable for it.
---@param row nslua.FirewallRule|nslua.FirewallChain
---@return string?
function M.iptables(row)
  local tool = row.family == "ip6" and "ip6tables" or "iptables"
  if row.source == "iptables" then
    return tool .. "-legacy"
  end
  local table_of_its = (row.family == "ip" or row.family == "ip6") and classic[row.table]
  return table_of_its and (row.chain or row.name):find "^[%u%d_-]+$" and tool .. "-nft" or nil
end

---The words of nft(8) for the chain of a rule: "inet filter input".
---@param row nslua.FirewallRule|nslua.FirewallChain
---@return string
function M.chain_words(row)
  return ("%s %s %s"):format(row.family, M.quoted(row.table), M.quoted(row.chain or row.name))
end

---Where rules of this source are read.
---@param row nslua.FirewallRule|nslua.FirewallChain
---@return string
function M.source(row)
  return row.source == "iptables" and "iptables-legacy" or "nf_tables"
end

---A rule in words, with where it was read.
---@param row nslua.FirewallRule
---@return string
function M.words(row)
  return ("rule %d of %s: %s (%s)"):format(row.handle, M.chain_words(row), row.text, M.source(row))
end

---The command that deletes a rule.
---@param rule nslua.doctor.Rule
---@return string
function M.delete(rule)
  local row = rule.row
  if row.source == "iptables" then
    return ("%s -t %s -D %s %d"):format(M.iptables(row), row.table, M.quoted(row.chain), row.handle)
  end
  return ("nft delete rule %s handle %d"):format(M.chain_words(row), row.handle)
end

---Rules of chains at a hook, and of the chains they jump to: fn(rule, base chain) until it gives something.
---@generic T
---@param set nslua.doctor.Ruleset
---@param hooks table<string, boolean>
---@param fn fun(rule: nslua.doctor.Rule, base: table): T?
---@return T?
function M.find(set, hooks, fn)
  local by_name = {}
  for _, chain in ipairs(set.chains) do
    by_name[chain.row.source .. chain.row.family .. " " .. chain.row.table .. " " .. chain.row.name] = chain
  end
  local function walk(chain, base, seen)
    if seen[chain] then
      return
    end
    seen[chain] = true
    for _, rule in ipairs(chain.rules) do
      local found = fn(rule, base)
      if found ~= nil then
        return found
      end
      local next_chain = rule.chain and by_name[chain.row.source .. chain.row.family .. " " .. chain.row.table .. " " .. rule.chain]
      found = next_chain and walk(next_chain, base, seen)
      if found ~= nil then
        return found
      end
    end
  end
  for _, chain in ipairs(set.chains) do
    if chain.row.hook and hooks[chain.row.hook] and chain.row.family ~= "arp" and chain.row.family ~= "netdev" then
      local found = walk(chain, chain, {})
      if found ~= nil then
        return found
      end
    end
  end
end

return M
