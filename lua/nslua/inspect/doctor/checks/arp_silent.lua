-- A neighbour does not answer ARP, by a setting of its own.

local function settings(space, link)
  local out = { value = 0 }
  for _, name in ipairs { "all", link.name } do
    local word = ("net.ipv4.conf.%s.arp_ignore"):format((name:gsub("%.", "/")))
    local value = math.tointeger(tonumber(space:sysctl(word) or "0")) or 0
    out.value = math.max(out.value, value)
    if value > 0 then
      out[#out + 1] = word
    end
  end
  return out
end

-- Who has it on the segment, on whatever device.
local function holder(target, ip, link)
  for i, each in ipairs(target:segment(link)) do
    local row = i > 1 and each.space ~= target and not each.link.master and each.space:has_address(ip)
    if row then
      return each, row
    end
  end
end

return {
  name = "arp_silent",
  why = "Before an IPv4 packet goes out on a link, its sender asks by ARP who has the address. A link with ARP off answers nobody; arp_ignore=1 "
    .. "and 2 keep silent about addresses of other interfaces, 8 about all.",
  run = function(target, report)
    local asked = {}
    for _, each in ipairs(target:gateways()) do
      asked[each.ip] = each.link
    end
    for _, row in ipairs(target.neighbours) do
      if row.family == "inet" and (row.state == "failed" or row.state == "incomplete") then
        asked[row.dst] = target.link_of[row.dev_index]
      end
    end
    for ip, link in pairs(asked) do
      local flags = link.flags or {}
      local each, row = nil, nil
      if not ip:find(":", 1, true) and not flags.noarp and not flags.loopback then
        each, row = holder(target, ip, link)
      end
      if each then
        local space, theirs = each.space, each.link
        if (theirs.flags or {}).noarp then
          report:found { at = space, problem = ("%s of %s answers no ARP"):format(theirs.name, space.title), sure = 0.96,
            evidence = { "the flag NOARP is set (rtnetlink link)",
              ("%s sends to its address %s (rtnetlink route, neighbour)"):format(target.title, ip) },
            fix = ("ip link set dev %s arp on"):format(theirs.name) }
        else
          local set = settings(space, theirs)
          local holds = space.link_of[row.dev_index] or {}
          local beside = holds.link_index == theirs.index and not holds.link_netnsid and holds.kind ~= "veth" -- a macvlan answers for itself
          if not beside and (set.value == 8 or (set.value == 1 or set.value == 2) and row.dev_index ~= theirs.index) then
            report:found { at = space, problem = ("%s does not answer who asks for %s"):format(space.title, ip), sure = 0.95,
              evidence = { ("%s is %d (sysctl)"):format(table.concat(set, ", "), set.value),
                ("%s is on %s, and is asked for on %s (rtnetlink address)"):format(ip, tostring(row.dev), theirs.name) },
              fix = ("sysctl -w %s=0"):format(table.concat(set, "=0 ")) }
          end
        end
      end
    end
  end,
}
