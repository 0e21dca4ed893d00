-- What the routers of a target translate: services that they lead elsewhere, and whose address those have who go out.

local filters = require "nslua.inspect.doctor.filters"
local passing = require "nslua.inspect.doctor.passing"
local rules = require "nslua.inspect.doctor.rules"

local M = {}

local MOST, QUICK = 20000, 1000 -- connections that are looked at

---@class nslua.doctor.Service  a rule that leads what comes elsewhere
---@field router nslua.doctor.Snapshot
---@field link nslua.Link       of the router, on whose segment the address is
---@field rule nslua.FirewallRule
---@field address string
---@field family "inet"|"inet6"  of the address
---@field proto? string  `port`: it is led to; `dport`: it came for
---@field owner? nslua.doctor.End  who has the address

-- Whether any rule may give a packet that goes out another source.
local function hides(router, packet)
  for _, rule in ipairs(router.firewall.rules) do
    local nat = rule.nat
    if nat and (nat.type == "masquerade" or nat.type == "snat") and filters.matches(rule, packet) ~= false then
      return true
    end
  end
  return false
end
M.hides = hides

---Routers of a target, each once, and itself.
---@param target nslua.doctor.Snapshot
---@return nslua.doctor.Snapshot[]
function M.routers(target)
  local out, seen = { target }, { [target] = true }
  for _, each in ipairs(passing.outward(target)) do
    local router = each.owner and each.owner.space
    if router and not seen[router] then
      seen[router] = true
      out[#out + 1] = router
    end
  end
  return out
end

---Rules of a namespace that lead what comes to one address on a link of its own.
---@param router nslua.doctor.Snapshot
---@return nslua.doctor.Service[]
function M.services(router)
  if not router.services_list then
    local out, places = {}, {}
    for _, rule in ipairs(router.firewall.rules) do
      local nat = rule.nat
      local address = nat and nat.type == "dnat" and not nat.address_max and nat.address
      if address and not address:find "^127%." and address ~= "::1" and not router:has_address(address) then
        local at = places[address]
        if not at then
          local way = router:lookup(address)
          local link = way and not way.via and router.link_of[way.dev_index] or nil
          at = { link = link, away = way == nil, owner = link and router:owner(address, link) or nil }
          places[address] = at
        end
        local proto, dport = rule.match.proto, rule.match.dport
        out[#out + 1] = { router = router, link = at.link, rule = rule, address = address, family = passing.family_of(address), away = at.away,
          port = math.tointeger(tonumber(nat.port)), proto = proto and not proto.inverted and tostring(proto[1]) or nil,
          owner = at.owner, dport = dport and not dport.inverted and math.tointeger(dport[1]) or nil }
      end
    end
    rawset(router, "services_list", out)
  end
  return router.services_list
end

---The sysctl by which what is bridged meets the filters and the NAT of the host.
---@param family "inet"|"inet6"
---@return string
function M.bridge_nf(family)
  return family == "inet" and "net.bridge.bridge-nf-call-iptables" or "net.bridge.bridge-nf-call-ip6tables"
end

---The command that adds a rule to where sources are translated: `ask` in the words of nft and of iptables.
---@param router nslua.doctor.Snapshot
---@param family "inet"|"inet6"
---@param nft string
---@param iptables string
---@return string
function M.masquerade(router, family, nft, iptables)
  local word = family == "inet" and "ip" or "ip6"
  for _, chain in ipairs(router.firewall.chains) do
    if chain.hook == "postrouting" and (chain.type == "nat" or chain.source == "iptables" and chain.table == "nat") then
      if rules.iptables(chain) and chain.family == word then
        return ("%s -A %s %s -j MASQUERADE"):format(filters.iptables(chain), chain.name, iptables)
      elseif not rules.iptables(chain) and (chain.family == word or chain.family == "inet") then
        return ("nft add rule %s %s masquerade"):format(rules.chain_words(chain), nft)
      end
    end
  end
  return ("nft 'add table %s nslua_nat; add chain %s nslua_nat postrouting { type nat hook postrouting priority 100; }; "
    .. "add rule %s nslua_nat postrouting %s masquerade'"):format(word, word, word, nft)
end

---Connections that a namespace tracks, where these are few enough to be looked at.
---@param space nslua.doctor.Snapshot
---@return nslua.Connection[]
function M.connections(space)
  if not space.connection_list then
    local count = tonumber(space:sysctl "net.netfilter.nf_conntrack_count") or 0
    local ok, list = false, nil
    if count > 0 and count <= (space.quick and QUICK or MOST) then
      ok, list = pcall(space.handle.conntrack.list, space.handle.conntrack)
    end
    rawset(space, "connection_list", ok and list or {})
  end
  return space.connection_list
end

return M
