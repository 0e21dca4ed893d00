-- Who forwards takes no word of routers, unless told to.

return {
  name = "ra_ignored",
  why = "Router advertisements give a host its IPv6 addresses and its default route. With accept_ra=1 the kernel stops taking them once it forwards, "
    .. "as it does where a container engine turned that on: addresses run out later, and the route goes. accept_ra=2 takes them all the same.",
  run = function(target, report)
    if target:default_route "inet6" then
      return
    end
    local has = {}
    for _, row in ipairs(target.addresses) do
      if row.family == "inet6" then
        has[row.dev_index] = row.scope == "link" and (has[row.dev_index] or "link") or "global"
      end
    end
    for _, link in ipairs(target.links) do
      local conf = target.netconf.inet6[link.name]
      if has[link.index] == "link" and conf and conf.forwarding and link.up and not link.master_index then
        for i, each in ipairs(target:segment(link)) do
          local theirs = i > 1 and each.space ~= target and each.space.netconf.inet6[each.link.name]
          local row = theirs and theirs.forwarding and each.space:addresses_of(each.link, "inet6")[1]
          local word = ("net.ipv6.conf.%s.accept_ra"):format((link.name:gsub("%.", "/")))
          if row and target:sysctl(word) == "1" then
            report:found { problem = ("%s takes no router advertisements"):format(link.name), sure = 0.75,
              evidence = { word .. " is 1 (sysctl)", ("forwarding of %s is on (rtnetlink netconf)"):format(link.name),
                ("%s routes on that link, with %s, and %s has a link-local address alone (rtnetlink address)"):format(each.space.title, row.address,
                  link.name) }, fix = ("sysctl -w %s=2"):format(word) }
            break
          end
        end
      end
    end
  end,
}
