-- There is no way out, or one that leads to nobody.

local filters = require "nslua.inspect.doctor.filters"

local world = { inet = "198.51.100.1", inet6 = "2001:db8::1" } -- somebody far away

-- Whether there is a way to what is beyond a router without a default route.
local function reaches(target, router, family)
  for _, row in ipairs(router.space.addresses) do
    local beyond = row.family == family and row.scope == "global" and row.dev_index ~= router.link.index and router.space.link_of[row.dev_index]
    if beyond and beyond.name ~= "lo" and not target:lookup((row.address:match "^[^/]+")) then
      return false
    end
  end
  return true
end

-- Who has routes by gateways to some networks is meant to reach these alone.
local function chosen(target, family)
  for _, each in ipairs(target:gateways()) do
    for _, row in ipairs(each.routes) do
      if row.family == family and row.table == "main" then
        return true
      end
    end
  end
  return false
end

-- Whether the router itself keeps from the world whoever is on that link, as that of an internal network does.
local function kept(target, router, family)
  local own = target:addresses_of(router.mine, family)[1]
  return filters.drops_all(router.space, "forward", { family = family, src = own and own.address:match "^[^/]+", dst = world[family],
    iif = router.link.name, iif_index = router.link.index }) ~= nil
end

return {
  name = "no_default_route",
  why = "Without a route there is no way to whoever is not on a link of one's own: connect() says that the network is unreachable. A "
    .. "gateway that nobody has, or that is on no link of one's own, is as good as none.",
  run = function(target, report)
    local evidence, fixes = {}, {}
    for _, family in ipairs { "inet", "inet6" } do
      local six = family == "inet6" and "-6 " or ""
      local routers, own = target:routers(family), target:default_route(family)
      local router
      for _, each in ipairs(routers) do
        local conf = each.space.netconf[family].all
        router = router or conf and conf.forwarding and each
      end
      local conf = target.netconf[family].all
      if not own and router and not (conf and conf.forwarding) and not chosen(target, family)
        and not reaches(target, router, family) and not kept(target, router, family) then
        local rejects, away = target:rejecting_default(family)
        evidence[#evidence + 1] = rejects and ("%s default (rtnetlink route)"):format(rejects.type)
          or ("the table main has no default route for %s (rtnetlink route)"):format(family == "inet6" and "IPv6" or "IPv4")
        evidence[#evidence + 1] = ("%s forwards, and is on the link of %s with %s (rtnetlink address, netconf)"):format(router.space.title,
          router.mine.name, router.ip)
        fixes[#fixes + 1] = away
        fixes[#fixes + 1] = ("ip %sroute add default via %s dev %s"):format(six, router.ip, router.mine.name)
      elseif own and own.via and type(own.via) == "string" then
        local link = target.link_of[own.dev_index]
        local segment = link and target:segment(link)
        if router and link and segment[2] and router.ip ~= own.via and router.mine.index == link.index and not own.via:find "^fe80:"
          and not target:owner(own.via, link) and not target:fixed(own.via, link) and target:closed(link) then
          report:found { problem = ("nobody has the address of the gateway %s"):format(own.via), sure = 0.9,
            evidence = { ("default via %s dev %s (rtnetlink route)"):format(own.via, link.name),
              ("nobody on that link has it; %s, which forwards, has %s (rtnetlink address)"):format(router.space.title, router.ip) },
            fix = ("ip %sroute replace default via %s dev %s"):format(six, router.ip, link.name) }
        end
      end
    end
    if fixes[1] then
      report:found { problem = "there is no default route", sure = 0.92, evidence = evidence, fix = table.concat(fixes, " && ") }
    end
  end,
}
