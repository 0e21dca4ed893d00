-- Whoever is to pass packets on does not.

local passing = require "nslua.inspect.doctor.passing"

return {
  name = "no_forwarding",
  why = "A host drops what is not for itself unless it forwards. It is set for the namespace and for each interface that packets come in "
    .. "by, in each family; a new namespace takes the IPv4 setting from the machine, not the IPv6 one.",
  run = function(target, report)
    local asked = {}
    local function look(router, link, ip, who)
      local family = passing.family_of(ip)
      local conf = router.netconf[family][link.name]
      local key = router.handle.inode .. family .. link.name
      -- who has nowhere to go on is a host that answers for itself
      local onward
      for _, other in ipairs(router.links) do
        onward = onward or other.index ~= link.index and other.name ~= "lo" and router:addresses_of(other, family)[1] ~= nil
      end
      if onward and conf and not conf.forwarding and not asked[key] then
        asked[key] = true
        local all = router.netconf[family].all
        local word = family == "inet" and "net.ipv4.ip_forward" or "net.ipv6.conf.all.forwarding"
        if all and all.forwarding then
          word = ("net.%s.conf.%s.forwarding"):format(family == "inet" and "ipv4" or "ipv6", link.name)
        end
        report:found { at = router, problem = ("%s does not forward %s"):format(router.title, family == "inet" and "IPv4" or "IPv6"), sure = 0.95,
          evidence = { ("forwarding of %s is off (rtnetlink netconf)"):format(link.name),
            ("%s has a route by its address %s (rtnetlink route)"):format(who.title, ip) }, fix = ("sysctl -w %s=1"):format(word) }
      end
    end
    -- a route to an address that the gateway has itself, on lo as anycast has it, needs no forwarding
    local function passes(router, routes)
      for _, row in ipairs(routes) do
        local ip = row.dst:match "^[^/]+"
        local way = ip ~= "default" and router:lookup(ip)
        if not way or way.type ~= "local" then
          return true
        end
      end
      return false
    end
    for _, each in ipairs(target:gateways()) do
      local owner = target:owner(each.ip, each.link)
      if owner and passes(owner.space, each.routes) then
        look(owner.space, owner.link, each.ip, target)
      end
    end
    for _, other in ipairs(target.around) do
      for _, each in ipairs(other:gateways()) do
        local owner = target:has_address(each.ip) and other:owner(each.ip, each.link)
        if owner and owner.space == target and passes(target, each.routes) then
          look(target, owner.link, each.ip, other)
        end
      end
    end
  end,
}
