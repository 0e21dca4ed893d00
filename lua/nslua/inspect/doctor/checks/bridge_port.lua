-- A port of a bridge does not pass on what comes: it is isolated, locked, or hears no broadcasts.

-- The words that bridge(8) takes of a port.
local function set(port, words)
  return ("bridge link set dev %s %s"):format(port.name, words)
end

-- Whether the bridge knows that somebody is behind a locked port.
local function known(space, port, address)
  for _, row in ipairs(space.fdb) do
    if row.dev_index == port.index and row.lladdr == address then
      return true
    end
  end
end

return {
  name = "bridge_port",
  why = "A port that is isolated passes nothing to others that are; one that is locked takes frames only of whom the bridge was told; one that "
    .. "broadcasts are not flooded to hears no ARP, so that nobody finds who is behind it.",
  run = function(target, report)
    for _, link in ipairs(target.links) do
      local far = target:far(link)
      local port = far and far.link.master_index and far.link.port
      local bridge = port and far.space.link_of[far.link.master_index]
      if bridge and bridge.kind == "bridge" and target:addresses_of(link)[1] then
        local space = far.space
        if port.locked and not known(space, far.link, link.address) then
          report:found { at = space, problem = ("port %s of bridge %s is locked, and does not know %s"):format(far.link.name, bridge.name,
            target.title), sure = 0.94, evidence = { "locked is on (rtnetlink, IFLA_BRPORT_LOCKED)",
            ("the forwarding database has no %s behind it (rtnetlink fdb)"):format(link.address) }, fix = set(far.link, "locked off") }
        end
        local gateways = {}
        for _, each in ipairs(target:gateways()) do
          local owner = each.link.index == link.index and target:owner(each.ip, link)
          if owner then
            gateways[owner.space.handle.inode] = each.ip
          end
        end
        -- where somebody can be reached, those who are kept from each other are so on purpose: a private VLAN
        local uplink = space:addresses_of(bridge)[1] ~= nil
        for _, other in ipairs(space.links) do
          uplink = uplink or other.master_index == bridge.index and other.port and not other.port.isolated
        end
        for _, other in ipairs(space.links) do
          local them = other.master_index == bridge.index and other.port and space:far(other)
          local user = them and them.space:addresses_of(them.link)[1]
          local ip = user and gateways[them.space.handle.inode]
          if user and other.index ~= far.link.index and port.isolated and other.port.isolated and (ip or not uplink) then
            report:found { at = space, problem = ("ports %s and %s of bridge %s are isolated from each other"):format(
              math.min(far.link.index, other.index) == other.index and other.name or far.link.name,
              math.min(far.link.index, other.index) == other.index and far.link.name or other.name, bridge.name),
              sure = ip and 0.95 or 0.6, evidence = { "isolated is on for both (rtnetlink, IFLA_BRPORT_ISOLATED)",
                ip and ("%s has a route by %s of %s (rtnetlink route)"):format(target.title, ip, them.space.title) or nil },
              fix = set(ip and other or far.link, "isolated off") }
          end
          if user and other.port.bcast_flood == false and not other.port.neigh_suppress and not other.port.proxy_arp
            and not other.port.proxy_arp_wifi then
            report:found { at = space, problem = ("broadcasts do not get to %s by port %s of bridge %s"):format(them.space.title, other.name,
              bridge.name), sure = 0.93, evidence = { "bcast_flood is off (rtnetlink, IFLA_BRPORT_BCAST_FLOOD)",
              ("%s has %s there (rtnetlink address)"):format(them.space.title, user.address) }, fix = set(other, "bcast_flood on") }
          end
        end
      end
    end
  end,
}
