-- The other end of a veth is on no bridge, or on another than those it is to reach.

-- Whether somebody takes care of what comes by that link: an address, a route, rules of tc, XDP, proxy ARP, a program.
local function tended(space, link)
  if space:addresses_of(link)[1] or (link.xdp or {}).prog_id or (link.qdisc or "") == "clsact" then
    return true
  end
  for _, row in ipairs(space.routes) do
    if row.dev_index == link.index and row.table ~= "local" and row.dst ~= "fe80::/64" and row.dst ~= "ff00::/8" and row.type == "unicast" then
      return true
    end
  end
  for _, row in ipairs(space.qdiscs) do
    if row.dev_index == link.index and (row.kind == "clsact" or row.kind == "ingress") then
      return true
    end
  end
  for _, row in ipairs(space.passers) do
    if row.dev_index == link.index then
      return true
    end
  end
  return space:sysctl(("net.ipv4.conf.%s.proxy_arp"):format((link.name:gsub("%.", "/")))) == "1"
end

-- Whether a bridge leads to somebody with an address within one of some prefixes: whom, and which.
local function leads(space, bridge, addresses, but)
  for _, each in ipairs(space:segment(bridge)) do
    for _, row in ipairs(each.space ~= but and each.space:addresses_of(each.link) or {}) do
      local ip = row.address:match "^[^/]+"
      for _, own in ipairs(addresses) do
        if own.family == row.family and space:within(ip, own.address) and own.address:match "^[^/]+" ~= ip then
          return each, ip
        end
      end
    end
  end
end

return {
  name = "wrong_bridge",
  why = "A container reaches whom the other end of its veth leads to. Where that end was put on no bridge, or on another one than those with "
    .. "addresses of the same network, it is alone, though each link is up.",
  run = function(target, report)
    for _, link in ipairs(target.links) do
      local own = link.name ~= "lo" and target:addresses_of(link) or {}
      local far = own[1] and target:far(link)
      local space, port = far and far.space, far and far.link
      local here = port and port.master_index and space.link_of[port.master_index]
      if far and space ~= target and (not port.master_index or here and here.kind == "bridge") then
        local there, who, ip
        if not (here and leads(space, here, own, target) or not here and tended(space, port)) then
          for _, bridge in ipairs(space.links) do
            if not there and bridge.kind == "bridge" and bridge ~= here then
              who, ip = leads(space, bridge, own, target)
              there = who and bridge
            end
          end
        end
        if there then
          report:found { at = space, sure = 0.94,
            problem = here and ("%s, the other end of %s of %s, is on bridge %s, and its network on %s"):format(port.name, link.name, target.title,
              here.name, there.name) or ("%s, the other end of %s of %s, is on no bridge"):format(port.name, link.name, target.title),
            evidence = { here and ("%s has the master %s (rtnetlink link)"):format(port.name, here.name)
              or ("%s has no master, no address and no route (rtnetlink link, address, route)"):format(port.name),
              ("%s has %s; %s of the same network is of %s, behind bridge %s (rtnetlink address)"):format(target.title, own[1].address, ip,
                who.space.title, there.name) },
            fix = ("ip link set dev %s master %s"):format(port.name, there.name) }
        end
      end
    end
  end,
}
