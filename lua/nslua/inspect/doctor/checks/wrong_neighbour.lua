-- The entry of a neighbour is another's, or its address could not be found.

return {
  name = "wrong_neighbour",
  why = "Packets go to the link-layer address that the neighbour table has. A fixed entry that is not the neighbour's, or one that could "
    .. "not be resolved, sends them nowhere.",
  run = function(target, report)
    local gateways = {}
    for _, each in ipairs(target:gateways()) do
      gateways[each.ip] = true
    end
    for _, row in ipairs(target.neighbours) do
      local link = target.link_of[row.dev_index]
      local owner = link and target:owner(row.dst, link)
      local expected = owner and owner.link.address
      local fix = ("ip neighbour del %s dev %s"):format(row.dst, tostring(row.dev))
      if owner and row.lladdr and row.lladdr ~= expected and row.state ~= "failed" then
        report:found { problem = ("the entry of %s is not its address"):format(row.dst), sure = row.state == "permanent" and 0.95 or 0.6,
          evidence = { ("%s dev %s lladdr %s %s (rtnetlink neighbour)"):format(row.dst, row.dev, row.lladdr, tostring(row.state)),
            ("%s of %s has %s (rtnetlink link)"):format(owner.link.name, owner.space.title, tostring(expected)) }, fix = fix }
      elseif not owner and row.state == "failed" and gateways[row.dst] then
        report:found { problem = ("the gateway %s does not answer"):format(row.dst), sure = 0.7,
          evidence = ("%s dev %s failed (rtnetlink neighbour)"):format(row.dst, row.dev), fix = fix }
      end
    end
  end,
}
