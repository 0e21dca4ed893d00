-- A bridge keeps VLANs apart, and who belongs together is in different ones, or a port takes nothing that has no tag.

-- An address of a far end that is in the network of one of the target's: of who sends without tags.
local function shared(target, own, space, link)
  for _, row in ipairs(space:addresses_of(link)) do
    local ip = row.address:match "^[^/]+"
    for _, each in ipairs(own) do
      if each.family == row.family and each.address:match "^[^/]+" ~= ip and target:within(ip, each.address) then
        return ip
      end
    end
  end
end

-- Those on the bridge that the target is to reach; and whether a port of the target's VLAN leads to somebody who cannot be seen.
local function others(target, own, space, bridge, port)
  local out, blind = {}, false
  local here = shared(target, own, space, bridge)
  out[1] = here and { space = space, link = bridge, ip = here, vlans = space:vlan_of(bridge) } or nil
  for _, link in ipairs(space.links) do
    if link.master_index == bridge.index and link.index ~= port.index then
      local far, vlans = space:far(link), space:vlan_of(link)
      local ip = far and shared(target, own, far.space, far.link)
      out[#out + 1] = ip and { space = far.space, link = link, ip = ip, vlans = vlans } or nil
      blind = blind or not (far and target.addresses_of(far.space, far.link)[1]) and vlans.member[port.vlans.pvid or 0] ~= nil
    end
  end
  return out, blind
end

local function reach(a, b)
  return a.pvid ~= nil and b.pvid ~= nil and b.member[a.pvid] == "untagged" and a.member[b.pvid] == "untagged"
end

-- The VLAN that most are in; of two, the bridge's default.
local function usual(list, default)
  local count, best = {}, nil
  for _, each in ipairs(list) do
    local pvid = each.vlans.pvid
    if pvid and each.vlans.member[pvid] == "untagged" then
      count[pvid] = (count[pvid] or 0) + 1
      if not best or count[pvid] > count[best] or count[pvid] == count[best] and pvid == default then
        best = pvid
      end
    end
  end
  return best or default ~= 0 and default or 1
end

local function command(each, bridge, vid)
  local of, old = each.link.index == bridge.index and " self" or "", each.vlans.pvid
  return ("bridge vlan add dev %s vid %d pvid untagged%s"):format(each.link.name, vid, of)
    .. (old and old ~= vid and each.vlans.count == 1 and (" && bridge vlan del dev %s vid %d%s"):format(each.link.name, old, of) or "")
end

local function words(each)
  local pvid = each.vlans.pvid
  local what = pvid and ("VLAN %d is its PVID%s"):format(pvid, each.vlans.member[pvid] == "tagged" and ", and goes out with a tag" or "")
  return ("%s: %s (rtnetlink VLANs of bridges)"):format(each.link.name, what or "no VLAN is its PVID")
end

return {
  name = "wrong_vlan",
  why = "A bridge with vlan_filtering on takes what has no tag for the VLAN that is the port's PVID, and sends it to ports of that VLAN alone. A "
    .. "port without a PVID drops it. Two in different VLANs do not hear each other's ARP, though all links are up.",
  run = function(target, report)
    for _, link in ipairs(target.links) do
      local own = link.name ~= "lo" and target:addresses_of(link) or {}
      local far = own[1] and target:far(link)
      local space, port = far and far.space, far and far.link
      local bridge = port and port.master_index and space.link_of[port.master_index]
      if bridge and bridge.kind == "bridge" and bridge.bridge.vlan_filtering then
        local me = { space = target, link = port, index = port.index, vlans = space:vlan_of(port) }
        local list, blind = others(target, own, space, bridge, me)
        local reached, apart = 0, nil
        local gateways = {}
        for _, each in ipairs(target:gateways()) do
          gateways[each.ip] = true
        end
        for _, each in ipairs(list) do
          if reach(me.vlans, each.vlans) then
            reached = reached + 1
          elseif not apart or gateways[each.ip] then
            apart = each
          end
        end
        if apart and (gateways[apart.ip] or not me.vlans.pvid or reached == 0 and not blind) then
          list[#list + 1] = me
          local vid = usual(list, bridge.bridge.default_pvid)
          local wrong = (me.vlans.pvid ~= vid or me.vlans.member[vid] ~= "untagged") and me or apart
          report:found { at = space, sure = gateways[apart.ip] and 0.95 or me.vlans.pvid and 0.9 or 0.93,
            problem = not wrong.vlans.pvid and ("%s of bridge %s takes nothing without a tag"):format(wrong.link.name, bridge.name)
              or ("bridge %s keeps %s and %s in different VLANs"):format(bridge.name, target.title, apart.ip),
            evidence = { words(me), words(apart),
              gateways[apart.ip] and ("%s has a route by %s (rtnetlink route)"):format(target.title, apart.ip)
                or ("%s has an address of the same network, %s (rtnetlink address)"):format(target.title, own[1].address) },
            fix = command(wrong, bridge, vid) }
        end
      end
    end
  end,
}
