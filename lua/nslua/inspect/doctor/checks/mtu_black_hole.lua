-- A link takes less than its ends know, and nobody is told.

local rules = require "nslua.inspect.doctor.rules"

-- The rules that keep ICMP from saying that a packet is too large.
local function silencers(space)
  local out = {}
  rules.find(space.nft, { output = true, forward = true, input = true }, function(rule)
    if rule.verdict == "drop" and not rule.other and (rule.proto == 1 and rule.icmp == 3 and (rule.icmp_code == nil or rule.icmp_code == 4)
      or rule.proto == 58 and rule.icmp == 2) then
      out[#out + 1] = rule
    end
  end)
  return out
end

return {
  name = "mtu_black_hole",
  why = "Large packets that a link does not take are dropped; their sender should be told by ICMP, and often is not. Small ones pass: "
    .. "connections open and then hang.",
  run = function(target, report)
    local spaces = { target }
    for _, each in ipairs(target.around) do
      spaces[#spaces + 1] = each
    end
    for _, space in ipairs(spaces) do
      local fixes, seen = {}, {}
      local silent = silencers(space)
      local quiet = silent[1] ~= nil
      for _, rule in ipairs(silent) do
        fixes[#fixes + 1] = rules.delete(rule)
        seen[#seen + 1] = ("rule %d of %s drops ICMP that says so (nf_tables)"):format(rule.row.handle, rules.chain_words(rule.row))
      end
      local odd = false
      for _, link in ipairs(space.links) do
        local far = space:far(link)
        local least = far and math.min(link.mtu, far.link.mtu)
        if far and link.mtu < far.link.mtu and (space == target or far.space == target or quiet) then
          odd = true
          table.insert(seen, 1, ("mtu %d of %s in %s, %d of %s in %s at its other end (rtnetlink link)"):format(link.mtu, link.name, space.title,
            far.link.mtu, far.link.name, far.space.title))
          table.insert(fixes, 1, ("ip link set dev %s mtu %d"):format(link.name, far.link.mtu))
          report:found { at = space, problem = ("%s takes %d bytes, its other end sends %d"):format(link.name, least, far.link.mtu),
            sure = quiet and 0.96 or 0.7, evidence = seen, fix = table.concat(fixes, " && ") }
          fixes, seen = {}, {}
        end
        local below = link.kind == "vxlan" and link.link_index and (not link.link_netnsid and space
          or space.examination:by_nsid(space, link.link_netnsid))
        local under = below and below.link_of[link.link_index]
        local room = under and under.mtu - 50
        if room and link.mtu > room then
          odd = true
          report:found { at = space, sure = 0.9,
            problem = ("%s takes %d bytes, of which %s can carry %d"):format(link.name, link.mtu, under.name, room),
            evidence = ("mtu %d of %s, less 50 of VXLAN (rtnetlink link)"):format(under.mtu, under.name),
            fix = ("ip link set dev %s mtu %d"):format(link.name, room) }
        end
      end
      if quiet and not odd then
        report:found { at = space, problem = ("%s tells nobody that a packet is too large"):format(space.title), sure = 0.5, evidence = seen,
          fix = table.concat(fixes, " && ") }
      end
    end
  end,
}
