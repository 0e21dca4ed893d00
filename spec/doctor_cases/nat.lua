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

-- A router to the world, which knows no way back to who is inside.
local function home(lab)
  lab.r1:nat("home", { out = "h2" })
  lab.r1.route:add { "default", via = lab.h2.plan.interfaces[1].inet, dev = lab.r1.plan.interfaces[2].dev }
  for _, row in ipairs(lab.h2.route:list { "default" }) do
    lab.h2.route:delete(row)
  end
end

-- The router leads a port to what h2 serves.
local function published(lab)
  lab.h2:serve "http"
  assert(lab.r1:run { "nft", ("add table ip p; add chain ip p pre { type nat hook prerouting priority -100; }; "
    .. "add rule ip p pre tcp dport 8080 dnat to %s:80"):format(lab.h2.plan.interfaces[1].inet) }.ok)
end

-- The host of a bridge, which leads a port to one of those who are on it: as docker does without its proxy.
local function bridged(lab)
  local sw, h1 = lab.node.sw, lab.h1.plan.interfaces[1].inet
  local gateway = h1:gsub("%d+$", "254")
  sw.address:add { gateway .. "/24", dev = "sw" }
  sw:sysctl("net.ipv4.ip_forward", 1)
  sw:sysctl("net.bridge.bridge-nf-call-iptables", 1)
  for _, name in ipairs { "h1", "h2" } do
    lab[name].route:add { "default", via = gateway, dev = "eth0" }
  end
  sw.link:change(lab.h1.link:get("eth0").link_index, { port = { hairpin = true } })
  lab.h1:serve "http"
  assert(sw:run { "nft", ("add table ip p; add chain ip p pre { type nat hook prerouting priority -100; }; "
    .. "add chain ip p post { type nat hook postrouting priority 100; }; add rule ip p pre tcp dport 8080 dnat to %s:80; "
    .. "add rule ip p post ip saddr %s ip daddr %s masquerade"):format(h1, h1, h1) }.ok)
end

-- A link in the middle takes less, who is before it tells nobody, and a router tells TCP.
local function clamped(lab)
  lab.r2:firewall "block_frag_needed"
  assert(lab.r1:run { "nft", "add table inet m; add chain inet m f { type filter hook forward priority -150; }; "
    .. "add rule inet m f tcp flags syn tcp option maxseg size set rt mtu" }.ok)
end

-- Why bridged packets meet no filters here.
local function unbridged(ns)
  local lab <close> = ns.lab "a -- b"
  return not pcall(lab.a.sysctl, lab.a, "net.bridge.bridge-nf-call-iptables") and "this kernel has no br_netfilter" or nil
end

-- Why no program can be attached to a link here.
local function programs(ns)
  local lab <close> = ns.lab "a -- b"
  local ok, e = pcall(lab.fault, lab, "packet_drop", "a")
  return not ok and e.message or nil
end

-- Why the table of connections is not filled here.
local function endless(ns)
  local lab <close> = ns.lab "a -- b"
  local ok, most = pcall(lab.a.sysctl, lab.a, "net.netfilter.nf_conntrack_max")
  if not ok or not pcall(lab.a.run, lab.a, { "conntrack", "--version" }) then
    return ok and "no conntrack(8) here" or "this kernel tracks no connections"
  end
  return tonumber(most) > 2000000 and ("it would take %s connections to fill the table"):format(most) or nil
end

local function many(ns)
  local lab <close> = ns.lab "a -- b"
  local ok, most = pcall(lab.a.sysctl, lab.a, "net.netfilter.nf_conntrack_max")
  return ok and tonumber(most) > 70000 and ("%s connections fill the table: make doctor-table runs it"):format(most) or nil
end

---@type doctor.Case[]
return {
  { check = "input_drop", lab = "h1 -- r1 -- h2", at = "h2", options = { port = 80 }, before = serves "http", nft = true },
  { check = "input_drop", fault = "input_policy", lab = "h1 -- h2", at = "h2", before = serves "http", nft = true },
  { check = "output_drop", lab = "h1 -- r1 -- h2", at = "h1", nft = true },
  { check = "loopback_filter", lab = "h1 -- h2", at = "h1", nft = true },
  { check = "forward_drop", fault = "forward_legacy", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1", probe = legacy },
  { check = "mixed_firewalls", lab = "h1 -- r1 -- h2", at = "h2", before = serves "http", nft = true, probe = legacy },
  { check = "no_masquerade", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1", before = home, nft = true },
  { check = "service_gone", lab = "h1 -- r1 -- h2", at = "h2", ask = "h1", before = published, nft = true },
  { check = "stale_connection", lab = "h1 -- r1 -- h2", at = "r1", ask = "h1", nft = true },
  { check = "hairpin", lab = "h1 -- (sw) -- h2", at = "h1", before = bridged, nft = true, probe = unbridged },
  { check = "bridge_nf_off", lab = "h1 -- (sw) -- h2", at = "sw", ask = "h2", before = bridged, nft = true, probe = unbridged },
  { check = "bridge_nf_on", lab = "h1 -- (sw) -- h2", at = "sw", ask = "h1", nft = true, probe = unbridged },
  { check = "no_mss_clamp", lab = "h1 -- r1 --mtu 1400-- r2 -- h2", at = "r1", ask = "h1", before = clamped, nft = true },
  { check = "conntrack_full", lab = "h1 -- h2", at = "h1", nft = true, probe = endless, slow = many },
  { check = "packet_drop", lab = "h1 -- r1 -- h2", at = "h1", probe = programs, after = function(lab)
    lab.h1:ping("r1", { timeout = "200ms" })
  end },
}
