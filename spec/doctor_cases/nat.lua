-- Cases of the doctor: filters of hosts and routers, and what translates addresses.

local function serves(name)
  return function(lab)
    lab.h2:serve(name)
  end
end

-- Why there is no iptables-legacy here; nil where there is.
local function legacy(ns)
  local lab <close> = ns.lab "a -- b"
  local ok, r = pcall(lab.a.run, lab.a, { "iptables-legacy", "-w", "-S" })
  if not ok or not r.ok then
    return ok and "iptables-legacy(8) cannot be used: " .. r.stderr or "no iptables-legacy(8) here"
  end
end

---@type doctor.Case[]
return {
  { check = "input_drop", lab = "h1 -- r1 -- h2", at = "h2", options = { port = 80 }, before = serves "http", nft = true },
  { check = "input_drop", fault = "input_policy", lab = "h1 -- h2", at = "h2", before = serves "http", nft = true },
  { check = "output_drop", lab = "h1 -- r1 -- h2", at = "h1", nft = true },
  { check = "loopback_filter", lab = "h1 -- h2", at = "h1", nft = true },
  { check = "forward_drop", fault = "forward_legacy", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1", probe = legacy },
  { check = "mixed_firewalls", lab = "h1 -- r1 -- h2", at = "h2", before = serves "http", nft = true, probe = legacy },
}
