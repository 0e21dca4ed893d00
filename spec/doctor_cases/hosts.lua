-- Cases of the doctor: bridges and their ports, neighbours, IPv6, what a host itself does wrong.

-- Why what is the whole machine's is not filled here.
local function shared()
  local f <close> = assert(io.open "/proc/cmdline")
  return not f:read("a"):find " vm=" and "others on this machine would feel it: tools/vm has one of its own" or nil
end

---@type doctor.Case[]
return {
  { check = "bridge_port", fault = "isolated_port", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "bridge_port", fault = "locked_port", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "bridge_port", fault = "deaf_port", lab = "h1 -- (sw) -- r1 -- h2", at = "r1", ask = "h1" },
  { check = "link_down", fault = "listening_port", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "wrong_bridge", fault = "no_bridge", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "wrong_bridge", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "stale_veth", lab = "h1 -- (sw) -- h2", at = "sw" },
  { check = "gateway_missing", fault = "gateway_address", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1" },
  { check = "gateway_missing", fault = "gateway_address", title = "gateway_address of a bridge", lab = "h1 -- (sw) -- h2", at = "sw", ask = "h1",
    before = function(lab)
      lab.node.sw.address:add { "10.0.1.254/24", dev = "sw" }
      lab.h1.route:add { "default", via = "10.0.1.254", dev = "eth0" }
    end },
  { check = "gateway_missing", fault = "gateway_off_link", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "rule_rejects", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "arp_silent", fault = "arp_off", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1" },
  { check = "arp_silent", fault = "arp_ignore", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1" },
  { check = "neighbour_silent", fault = "arp_rule", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1", nft = true },
  { check = "neighbour_silent", fault = "arp_lost", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1", nft = true },
  { check = "ipv6_duplicate", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "ipv6_off", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "ipv6_off", fault = "no_link_local", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "ra_ignored", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "path_mtu", fault = "narrow_port", lab = "h1 -- (sw) -- h2", at = "h2", ask = "h1" },
  { check = "neighbours_full", lab = "h1 -- h2", at = "h1", ask = "h2", machine = true, probe = shared },
  { check = "softnet_drops", lab = "h1 -- (sw) -- h2\nh3 -- (sw) -- h4\nh5 -- (sw) -- h6", at = "h1", machine = true, probe = shared,
    options = { checks = { "softnet_drops" } } },
  { check = "wrong_vlan", lab = "h1 -- (sw) -- h2", at = "h1", vlans = true },
  { check = "wrong_vlan", fault = "no_pvid", lab = "h1 -- (sw) -- r1 -- h2", at = "r1", ask = "h1", vlans = true },
  { check = "checksum_offload", lab = "h1 -- (sw) -- h2", at = "h1", ask = "h2", probe = function()
    return not require("spec.helper").has "ethtool" and "no ethtool(8) here" or nil
  end },
  { check = "queue_full", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "queue_full", title = "queue_full of a gateway", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1" },
  { check = "default_rejects", lab = "h1 -- r1 -- h2", at = "h1" },
  { check = "asymmetric_route", lab = "h1 -- (a) -- r1 -- (b) -- h2\n(a) -- r2 -- (b)", at = "h2", ask = "h1", nft = true },
}
