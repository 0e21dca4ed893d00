-- A route leads by an address that nobody has, or that is on no network of the link.

-- Who should have that address: a bridge, or whoever forwards, without an address of that family there.
local function heir(target, link, family)
  local found
  for i, each in ipairs(target:segment(link)) do
    local conf = (each.space.netconf[family] or {})[each.link.name]
    if i > 1 and each.space ~= target and not each.link.master and not each.space:addresses_of(each.link, family)[1] then
      if each.link.kind == "bridge" and conf then
        return each
      end
      found = found or conf and conf.forwarding and each or nil
    end
  end
  return found
end

return {
  name = "gateway_missing",
  why = "A route by a gateway works while somebody on the link has that address. Where a bridge or a router lost it, or the gateway is of another "
    .. "network, packets wait for an answer to ARP that does not come, and are dropped.",
  run = function(target, report)
    for _, each in ipairs(target:gateways()) do
      local ip, link, row = each.ip, each.link, each.route
      local own = target:addresses_of(link, row.family)
      if own[1] and not ip:find "^fe80:" and not target:owner(ip, link) and not target:has_address(ip) and target:closed(link)
        and not target:fixed(ip, link) then
        local six = row.family == "inet6" and "-6 " or ""
        local network
        for _, address in ipairs(own) do
          network = network or target:within(ip, address.address) and address
        end
        local seen = ("%s via %s dev %s (rtnetlink route)"):format(row.dst, ip, link.name)
        local router
        for _, other in ipairs(target:routers(row.family)) do
          local conf = other.space.netconf[row.family][other.link.name]
          router = router or other.mine.index == link.index and conf and conf.forwarding and other
        end
        local to = network and heir(target, link, row.family)
        if to then
          report:found { at = to.space, sure = 0.93,
            problem = ("%s of %s has no address, and should have %s"):format(to.link.name, to.space.title, ip),
            evidence = { target.title .. ": " .. seen, ("nobody on that link has %s, and %s has none there (rtnetlink address)"):format(ip,
              to.space.title) },
            fix = ("ip %saddress add %s/%d dev %s"):format(six, ip, network.prefixlen, to.link.name) }
        elseif not network then
          report:found { problem = ("the gateway %s is on no network of %s"):format(ip, link.name), sure = 0.94,
            evidence = { seen, ("%s has %s, and nobody on that link %s (rtnetlink address)"):format(link.name, own[1].address, ip) },
            fix = router and ("ip %sroute replace %s via %s dev %s"):format(six, row.dst, router.ip, link.name) or nil }
        end
      end
    end
  end,
}
