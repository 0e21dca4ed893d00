-- IPv6 is switched off on a link whose neighbours speak it, or lacks the address that neighbour discovery needs.

-- Whoever else on the segment has an address of IPv6.
local function speaker(target, link)
  for i, each in ipairs(target:segment(link)) do
    local row = i > 1 and each.space ~= target and each.space:addresses_of(each.link, "inet6")[1]
    if row then
      return each, row
    end
  end
end

local function link_local(mac)
  local a, b, c, d, e, f = mac:match "^(%x%x):(%x%x):(%x%x):(%x%x):(%x%x):(%x%x)$"
  return a and ("fe80::%02x%s:%sff:fe%s:%s%s/64"):format(tonumber(a, 16) ~ 2, b, c, d, e, f)
end

return {
  name = "ipv6_off",
  why = "With disable_ipv6=1 a link has no address of IPv6 and takes none: names that have both sorts of address are tried in vain first. Without "
    .. "an address in fe80::/10 routers are not found, and DHCPv6 and routing protocols do not work.",
  run = function(target, report)
    local own, near = {}, {}
    for _, row in ipairs(target.addresses) do
      if row.family == "inet6" then
        local at = row.scope == "link" and near or own
        at[row.dev_index] = row
      end
    end
    for _, link in ipairs(target.links) do
      if link.up and link.carrier and link.link_type == "ether" and not link.master_index and link.kind ~= "bridge" then
        local word = ("net.ipv6.conf.%s.disable_ipv6"):format((link.name:gsub("%.", "/")))
        if not own[link.index] and not near[link.index] and target:addresses_of(link)[1] then
          local other, row = speaker(target, link)
          -- where it is off for all links the host is meant to do without
          if other and target:sysctl(word) == "1" and target:sysctl "net.ipv6.conf.all.disable_ipv6" ~= "1" then
            report:found { problem = ("IPv6 is off on %s"):format(link.name), sure = 0.75,
              evidence = { word .. " is 1 (sysctl)", ("%s on the same link has %s (rtnetlink address)"):format(other.space.title, row.address) },
              fix = ("sysctl -w %s=0"):format(word) }
          end
        elseif own[link.index] and not near[link.index] and link.addrgenmode ~= "none" and link_local(link.address or "") then
          report:found { problem = ("%s has no link-local address"):format(link.name), sure = 0.7,
            evidence = ("%s has %s, and none in fe80::/10 (rtnetlink address)"):format(link.name, own[link.index].address),
            fix = ("ip -6 address add %s dev %s"):format(link_local(link.address), link.name) }
        end
      end
    end
  end,
}
