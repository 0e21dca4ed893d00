-- The ruleset of a namespace as checks need it: what each rule asks for, and what becomes of a packet. What is not understood is told as `other`.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

---@class nslua.doctor.Rule
---@field iif? string        name of the link that a packet came by; "veth*" for a prefix; `not_iif` where it must be another; `oif` likewise
---@field saddr? string      prefix; `daddr` likewise
---@field proto? integer     `dport`, `icmp` (type), `icmp_code` likewise
---@field established? boolean  it asks for a state of conntrack, which no first packet has
---@field state? integer     bits of the state: 1 invalid, 2 established, 4 related, 8 new
---@field other? boolean     there is more that it asks for
---@field verdict? string    "accept", "drop", "reject", "jump", "goto", "return"
---@field nat? { type: string, address: string?, port: integer? }  "snat", "dnat", "masquerade", "redirect"
---@field packets? integer   that its counter has seen
---@field row nslua.NftRule

---@class nslua.doctor.Ruleset
---@field chains table[]     with `row` and `rules`
---@field unread? string     why it could not be read

local function number(bytes)
  local n = 0
  for i = 1, math.min(#bytes, 7) do
    n = n << 8 | bytes:byte(i)
  end
  return n
end

-- Where an address is in the header of the network: IPv4, IPv6.
local places = { [12] = "saddr", [16] = "daddr", [8] = "saddr", [24] = "daddr" }

local function prefix(bytes, mask)
  local n = #bytes * 8
  if mask then
    n = 0
    for i = 1, #mask do
      local byte = mask:byte(i)
      while byte & 0x80 ~= 0 do
        n, byte = n + 1, byte << 1 & 0xff
      end
    end
  end
  local whole = bytes .. ("\0"):rep((#bytes > 4 and 16 or 4) - #bytes)
  local text = core.inet.text(whole)
  return text and (text .. "/" .. n)
end

-- One rule: a walk along its registers.
local function decode(row)
  local rule, registers, bytes = { row = row }, {}, {}
  for _, e in ipairs(row.expressions or {}) do
    local data = type(e.data) == "table" and e.data or {}
    if e.name == "meta" and data.dreg then
      registers[data.dreg] = { "meta", data.key }
    elseif e.name == "payload" and data.dreg then
      registers[data.dreg] = { data.base, data.offset, data.len }
    elseif e.name == "ct" and data.dreg then
      registers[data.dreg] = { "ct", data.key }
    elseif e.name == "bitwise" then
      local from = registers[data.sreg]
      registers[data.dreg] = from and { from[1], from[2], from[3], mask = data.mask and data.mask.value } or { "?" }
    elseif e.name == "cmp" then
      local r, value = registers[data.sreg] or { "?" }, data.data and data.data.value or ""
      if r[1] == "meta" and (r[2] == "iifname" or r[2] == "oifname") then
        local name = value:find "%z" and value:match "^[^%z]*" or #value < 16 and value .. "*" or value
        rule[(data.op == "neq" and "not_" or "") .. r[2]:sub(1, 3)] = name
      elseif data.op == "eq" and r[1] == "meta" and r[2] == "l4proto" then
        rule.proto = value:byte()
      elseif data.op == "eq" and r[1] == "meta" and r[2] == "nfproto" then
        rule.family = value:byte() == 10 and "inet6" or "inet"
      elseif data.op == "eq" and r[1] == "network" and places[r[2]] and (r[3] or 0) > 1 then
        local v6 = row.family == "ip6" or r[2] == 8 or r[2] == 24
        local whole = v6 and value .. ("\0"):rep(16 - #value) or value .. ("\0"):rep(math.max(4 - #value, 0))
        local length = r.mask and nil or #value * 8
        rule[v6 and (r[2] == 8 and "saddr" or "daddr") or places[r[2]]] = length and core.inet.text(whole) .. "/" .. length or prefix(value, r.mask)
      elseif data.op == "eq" and r[1] == "transport" and r[2] == 2 and r[3] == 2 then
        rule.dport = number(value)
      elseif data.op == "eq" and r[1] == "transport" and r[2] == 0 and r[3] == 1 then
        rule.icmp = value:byte()
      elseif data.op == "eq" and r[1] == "transport" and r[2] == 0 and r[3] == 2 then
        rule.icmp, rule.icmp_code = value:byte(1), value:byte(2)
      elseif data.op == "eq" and r[1] == "transport" and r[2] == 1 and r[3] == 1 then
        rule.icmp_code = value:byte()
      elseif r[1] == "ct" and r[2] == "state" and r.mask then
        rule.state = string.unpack("=I4", r.mask) -- in the host's order
        rule.established = data.op == "neq" and rule.state & 8 == 0
      else
        rule.other = true
      end
    elseif e.name == "lookup" or e.name == "limit" or e.name == "range" or e.name == "match" or e.name == "fib" then
      rule.other = true
    elseif e.name == "immediate" then
      local verdict = data.data and data.data.verdict
      if verdict then
        rule.verdict, rule.chain = verdict.code, verdict.chain
      else
        bytes[data.dreg] = data.data and data.data.value
      end
    elseif e.name == "counter" then
      rule.packets = tonumber(data.packets)
    elseif e.name == "reject" then
      rule.verdict = "reject"
    elseif e.name == "masq" then
      rule.nat = { type = "masquerade" }
    elseif e.name == "redir" then
      rule.nat = { type = "redirect", port = bytes[data.reg_proto_min] and number(bytes[data.reg_proto_min]) }
    elseif e.name == "nat" then
      local address, port = bytes[data.reg_addr_min], bytes[data.reg_proto_min]
      rule.nat = { type = data.type, address = address and core.inet.text(address), port = port and number(port) }
    end
  end
  return rule
end

---@param handle nslua.Netns
---@return nslua.doctor.Ruleset
function M.read(handle)
  local set, known = { chains = {} }, {}
  local ok, e = pcall(function()
    for _, row in ipairs(handle.nftables:chains()) do
      local chain = { row = row, rules = {} }
      set.chains[#set.chains + 1] = chain
      known[row.family .. " " .. row.table .. " " .. row.name] = chain
    end
    for _, row in ipairs(set.chains[1] and handle.nftables:rules() or {}) do
      local chain = known[row.family .. " " .. row.table .. " " .. row.chain]
      if chain then
        table.insert(chain.rules, decode(row))
      end
    end
  end)
  if not ok then
    if not errors.is(e) then
      error(e, 0)
    end
    set.unread = e.hint or e.message
  end
  return set
end

-- For a shell: names of tables and chains are the ruleset's, which may be anybody's.
local function quoted(text)
  return text:find "^[%w_.-]+$" and text or "'" .. text:gsub("'", "'\\''") .. "'"
end

---The words of nft(8) for the chain of a rule: "inet filter input".
---@param row nslua.NftRule|nslua.NftChain
---@return string
function M.chain_words(row)
  return ("%s %s %s"):format(row.family, quoted(row.table), quoted(row.chain or row.name))
end

---The command that deletes a rule.
---@param rule nslua.doctor.Rule
---@return string
function M.delete(rule)
  return ("nft delete rule %s handle %d"):format(M.chain_words(rule.row), rule.row.handle)
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
    by_name[chain.row.family .. " " .. chain.row.table .. " " .. chain.row.name] = chain
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
      local next_chain = rule.chain and by_name[chain.row.family .. " " .. chain.row.table .. " " .. rule.chain]
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
