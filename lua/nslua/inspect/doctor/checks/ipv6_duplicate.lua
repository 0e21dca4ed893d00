-- Duplicate address detection found that another has an address already: the kernel keeps it, and does not use it.

return {
  name = "ipv6_duplicate",
  why = "Before it uses an IPv6 address a host asks whether another has it. Where one answers, the address stays in the list with the flag dadfailed,"
    .. " and nothing is sent from it or answered for it.",
  run = function(target, report)
    for _, row in ipairs(target.addresses) do
      local link = row.dadfailed and target.link_of[row.dev_index]
      if link then
        local ip = row.address:match "^[^/]+"
        local owner = target:owner(ip, link)
        report:found { problem = ("%s of %s is another's: it is not used"):format(row.address, link.name), sure = 0.96,
          evidence = { ("%s dev %s dadfailed (rtnetlink address)"):format(row.address, link.name),
            owner and ("%s has it on %s, with %s (rtnetlink address, link)"):format(owner.space.title, owner.link.name, owner.link.address) or nil },
          fix = ("ip -6 address del %s dev %s"):format(row.address, link.name) }
      end
    end
  end,
}
