-- TCP that comes through a router is cut by a link beyond it, and who sends it is not told: nothing tells TCP beforehand either.

local filters = require "nslua.inspect.doctor.filters"
local passing = require "nslua.inspect.doctor.passing"
local rules = require "nslua.inspect.doctor.rules"

-- Whether a rule of a router sets the largest segment of TCP.
local function clamps(router)
  for _, rule in ipairs(router.firewall.rules) do
    if rule.text:find("maxseg", 1, true) or rule.text:find("[exthdr]", 1, true) then
      return true
    end
  end
  return false
end

-- What keeps a router from telling that a packet is too large.
local function silenced(space)
  return filters.drops(space, "output", { family = "inet", proto = "icmp", icmp_type = 3, icmp_code = 4, state = "related", iif = false })
end

return {
  name = "no_mss_clamp",
  why = "Where a link beyond a router takes less than one's own, large packets from outside are dropped before it. Their sender "
    .. "should be told by ICMP; where that is filtered, connections open and then hang. A router that clamps the MSS of TCP to the "
    .. "path makes both ends send less.",
  run = function(target, report)
    for _, each in ipairs(passing.outward(target)) do
      local router = each.packet.family == "inet" and each.owner and each.owner.space
      local own = target.link_of[each.packet.oif].mtu
      for _, hop in ipairs(router and router ~= target and router:gateways() or {}) do
        local beyond = hop.link.index ~= each.owner.link.index and hop.link.mtu < own and router:owner(hop.ip, hop.link)
        local drop = beyond and not clamps(router) and silenced(beyond.space)
        if drop then
          report:found { at = router, sure = 0.9, problem = ("large packets of TCP for %s do not get through %s to %s"):format(target.title,
            hop.link.name, router.title),
            evidence = { ("mtu %d of %s in %s, %d of %s in %s (rtnetlink link)"):format(hop.link.mtu, hop.link.name, router.title, own,
              each.packet.oif, target.title), ("%s does not tell who sends too much: %s"):format(beyond.space.title, filters.words(drop)),
              ("no rule of %s clamps the MSS of TCP (nf_tables, iptables)"):format(router.title) },
            fix = ("nft 'add table inet nslua_mss; add chain inet nslua_mss forward { type filter hook forward priority -150; }; "
              .. "add rule inet nslua_mss forward oifname %s tcp flags syn tcp option maxseg size set rt mtu; "
              .. "add rule inet nslua_mss forward iifname %s tcp flags syn tcp option maxseg size set rt mtu'"):format(rules.quoted(hop.link.name),
              rules.quoted(hop.link.name)) }
          break
        end
      end
    end
  end,
}
