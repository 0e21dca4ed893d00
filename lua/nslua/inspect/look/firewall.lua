-- The rules that packets meet in a namespace, of nf_tables and of iptables-legacy, in one form.

local errors = require "nslua.error"
local iptables = require "nslua.inspect.look.iptables"
local nft = require "nslua.inspect.look.nft"

local M = {}

---@class nslua.FirewallRule
---@field source "nftables"|"iptables"  iptables-nft writes rules of nf_tables; "iptables" are those of iptables-legacy
---@field family string    "ip", "ip6", "inet", ...
---@field table string     `chain` likewise
---@field handle integer   of nf_tables; of iptables its number in the chain
---@field text string      in the words of nft(8): "tcp dport 8080 dnat to 172.17.0.2:80"; what is not known is "[name]" or "match NAME"
---@field match table<string, table>  what it asks, by `proto src dst sport dport iif oif iif_index oif_index state nfproto icmp_type icmp_code`:
---a list of values and of ranges, { from, to }; `inverted` is true where it is all but these
---@field more? boolean    it asks for more than `match` says
---@field ends? boolean    it may end the way of a packet otherwise than by `verdict`: a map of verdicts whose values are not known, such a target
---@field nat? { type: "dnat"|"snat"|"masquerade"|"redirect", address: string?, address_max: string?, port: integer?, port_max: integer? }
---@field verdict? string  "accept", "drop", "reject", "jump", "goto", "return", "queue", ...; `to` is the chain of a jump
---@field verdicts? table[] of a map of verdicts, { value, verdict, chain? }; `verdict_of` is the field that they are of
---@field packets? integer `bytes` likewise, where it has a counter
---@field comment? string

---@class nslua.FirewallChain
---@field source "nftables"|"iptables"  `family`, `table`, `name` likewise
---@field hook? string     "input", "forward", ...; `type`, `priority` (nf_tables), `policy`, `packets`, `bytes` likewise

---@class nslua.Firewall
---@field chains nslua.FirewallChain[]
---@field rules nslua.FirewallRule[]  in the order of their chains
---@field unread { what: string, why: string }[]  what is there and could not be read

local function read_nftables(handle, out)
  for _, row in ipairs(handle.nftables:chains()) do
    local counters = row.counters
    out.chains[#out.chains + 1] = { source = "nftables", family = row.family, table = row.table, name = row.name, hook = row.hook, type = row.type,
      priority = row.priority, policy = row.policy, dev = row.dev, packets = counters and counters.packets, bytes = counters and counters.bytes }
  end
  local sets
  for _, row in ipairs(handle.nftables:rules()) do
    local function set(name)
      if not sets then
        sets = {}
        for _, each in ipairs(handle.nftables:sets()) do
          sets[("%s %s %s"):format(each.family, each.table, each.name)] = each:decode()
        end
      end
      local found = sets[("%s %s %s"):format(row.family, row.table, name)]
      if found and not found.elements then
        local ok, elements = pcall(handle.nftables.elements, handle.nftables, { family = found.family, table = found.table, name = found.name })
        found.elements = ok and elements or {}
      end
      return found
    end
    local rule = nft.rule(row:decode(), set)
    rule.source, rule.family, rule.table, rule.chain, rule.handle = "nftables", row.family, row.table, row.chain, row.handle
    rule.comment = row.comment or rule.comment
    out.rules[#out.rules + 1] = rule
  end
end

---Every rule of a namespace.
---@param handle nslua.Netns
---@return nslua.Firewall
function M.firewall(handle)
  local out = { chains = {}, rules = {}, unread = {} }
  local ok, e = pcall(read_nftables, handle, out)
  if not ok and not errors.is(e) then
    error(e, 0)
  elseif not ok and not errors.is(e, "EINVAL") then -- EINVAL: the kernel has none
    out.unread[1] = { what = "nf_tables", why = e.message or tostring(e) }
  end
  iptables.read(handle, out)
  return out
end

return M
