-- Cases of the doctor: links, addresses, routes and firewalls on the way.

---@type doctor.Case[]
return {
  { check = "link_down", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "loopback_down", lab = "h1 -- h2", at = "h1" },
  { check = "duplicate_address", lab = "h1 -- (sw) -- h2\n(sw) -- h3", at = "h3" },
  { check = "wrong_neighbour", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "no_default_route", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "no_forwarding", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1" },
  { check = "rp_filter", lab = "h1 -- r1 -- h2\nh1 -- r1", at = "r1", after = function(lab)
    local to, from = lab.h1.plan.interfaces[2], lab.h1.plan.interfaces[1].inet
    lab.h1.route:replace { lab.h2:address_of "r1" .. "/32", via = lab.r1.plan.interfaces[3].inet, dev = to.dev, src = from }
  end },
  { check = "mtu_black_hole", lab = "h1 -- r1 -- h2", at = "r1", ask = "h2", nft = true },
  { check = "blackhole_route", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "duplicate_mac", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "forward_drop", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1", nft = true },
  { check = "icmp_blocked", lab = "h1 -- r1 -- h2", at = "h1", nft = true },
}
