-- Cases of the doctor: bridges and their ports, neighbours, IPv6, what a host itself does wrong.

---@type doctor.Case[]
return {
  { check = "bridge_port", fault = "isolated_port", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "bridge_port", fault = "locked_port", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "bridge_port", fault = "deaf_port", lab = "h1 -- (sw) -- r1 -- h2", at = "r1", ask = "h1" },
  { check = "link_down", fault = "listening_port", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "wrong_bridge", fault = "no_bridge", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "wrong_bridge", lab = "h1 -- (sw) -- h2", at = "h1" },
  { check = "stale_veth", lab = "h1 -- (sw) -- h2", at = "sw" },
}
