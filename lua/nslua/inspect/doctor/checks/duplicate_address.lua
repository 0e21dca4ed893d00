-- Two on a link have one address: answers go to whoever spoke last.

return {
  name = "duplicate_address",
  why = "Where two have one address, neighbours send to whoever answered last: connections work by turns, or reach the wrong one.",
  run = function(target, report)
    for _, link in ipairs(target.links) do
      for _, row in ipairs(link.name ~= "lo" and target:addresses_of(link) or {}) do
        local ip = row.address:match "^[^/]+"
        local other = not row.dadfailed and not target:parted(link) and target:owner(ip, link)
        local theirs = other and other.space:has_address(ip)
        if other and not theirs.dadfailed and other.space ~= target then
          -- one that was added beside another of the same prefix is the stranger
          local extra = #target:addresses_of(link, row.family) > 1 and (row.flags or {}).secondary or row.secondary
          local mine = extra or #other.space:addresses_of(other.link, row.family) <= #target:addresses_of(link, row.family)
          local at, dev = mine and target or other.space, mine and link.name or other.link.name
          report:found { at = at, problem = ("%s has the address %s, and so has %s"):format(target.title, ip, other.space.title), sure = 0.93,
            evidence = { ("%s is on %s in %s (rtnetlink address)"):format(row.address, link.name, target.title),
              ("%s is on %s in %s (rtnetlink address)"):format(theirs.address, other.link.name, other.space.title),
              ("both are on one segment (veths and bridges between them)") },
            fix = ("ip address del %s dev %s"):format(mine and row.address or theirs.address, dev) }
        end
      end
    end
  end,
}
