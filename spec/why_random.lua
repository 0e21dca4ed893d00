-- Random labs with random faults, to compare what ns.why predicts with what the kernel does. A seed makes the same one again.

local ns = require "nslua"

local M = {}

-- { text, from, to }; nodes that may be broken are all of them.
local LABS = {
  { "h1 -- h2", "h1", "h2" },
  { "h1 -- (sw) -- h2\n (sw) -- h3", "h1", "h2" },
  { "h1 -- r1 -- h2", "h1", "h2" },
  { "h1 -- r1 -- (sw) -- h2\n (sw) -- h3", "h1", "h2" },
  { "h1 -- (s1) -- r1 -- r2 -- (s2) -- h2\n (s1) -- h3", "h1", "h2" },
  { "h1 -- r1 -- r2 -- h2\n r1 -- r3 -- r2", "h1", "h2" },
  { "h1 -- (s1) -- (s2) -- h2\n (s2) -- r1 -- h3", "h1", "h3" },
}

local function pick(rng, list)
  return list[rng(#list)]
end

local function of_kind(lab, ...)
  local out = {}
  for _, node in ipairs(lab.nodes) do
    for _, kind in ipairs { ... } do
      out[#out + 1] = node.kind == kind and node or nil
    end
  end
  return out
end

-- A port of a switch, as { node, dev }.
local function port_of(lab, rng)
  local switches = of_kind(lab, "switch")
  local sw = switches[1] and pick(rng, switches)
  local ports = {}
  for row in (sw and sw.link:each() or function() end) do
    ports[#ports + 1] = row.master and row.name or nil
  end
  return sw, ports[1] and pick(rng, ports), ports
end

local function prefix_of(t)
  if t.family == "inet6" then
    return t.address .. "/128", t.address:gsub("::.*$", "::/64")
  end
  return t.address .. "/32", (t.address:gsub("%.%d+$", ".0/24"))
end

local function routed(lab)
  return of_kind(lab, "host", "router")
end

local function nft(node, text)
  local r = node:run { "nft", "-f", "-", input = text }
  assert(r.ok, r.stderr .. text)
end

local NAMES = {}
for name in pairs(ns.lab.faults()) do
  NAMES[#NAMES + 1] = name
end

-- One of them, by a number that is drawn: a fault that is new takes the place of few.
local function named(number)
  local best, least
  for _, name in ipairs(NAMES) do
    local hash = number
    for i = 1, #name do
      hash = (hash ~ name:byte(i)) * 16777619 & 0xffffffff
    end
    hash = (hash ~ hash >> 15) * 2246822519 & 0xffffffff -- names that begin alike are far apart
    if not least or hash < least or hash == least and name < best then
      best, least = name, hash
    end
  end
  return best
end

-- Each does something to a lab; a name and where, or nil where the lab has nothing of the kind. `t`: { address, family, proto, port, from, to }.
M.faults = {
  function(lab, rng)
    local routers = of_kind(lab, "router")
    local node = routers[1] and pick(rng, routers)
    return node and tostring(lab:fault("no_forwarding", node))
  end,
  function(lab, rng)
    local node = pick(rng, routed(lab))
    return tostring(lab:fault("rp_filter", node))
  end,
  function(lab, rng)
    return tostring(lab:fault("no_default_route", pick(rng, routed(lab))))
  end,
  function(lab, rng)
    return tostring(lab:fault("link_down", pick(rng, routed(lab))))
  end,
  function(lab, rng)
    return tostring(lab:fault("wrong_neighbour", pick(rng, routed(lab))))
  end,
  function(lab, rng, t) -- a route of an odd type
    local node, kind = pick(rng, routed(lab)), pick(rng, { "blackhole", "unreachable", "prohibit" })
    local one, net = prefix_of(t)
    local dst = rng(2) == 1 and one or net
    if node == t.to and dst == one then
      return nil
    end
    node.route:replace { dst, type = kind, metric = dst == net and 1 or nil }
    return ("%s %s on %s"):format(kind, dst, node.label)
  end,
  function(lab, rng, t) -- a rule
    local node, action = pick(rng, routed(lab)), pick(rng, { "blackhole", "unreachable", "prohibit" })
    local match = pick(rng, { { to = (prefix_of(t)) }, { ipproto = "tcp" }, { from = (prefix_of { family = t.family, address = t.src }) },
      { ipproto = t.proto == "icmp" and "icmp" or t.proto, dport = t.port } })
    match.priority, match.action, match.family = 100, action, t.family
    node.rule:add(match)
    return ("rule %s %s%s%s on %s"):format(action, match.to and "to" or match.from and "from" or "", match.ipproto or "", match.dport or "",
      node.label)
  end,
  function(lab, rng, t) -- a table that has nothing, or another way
    local node = pick(rng, routed(lab))
    node.rule:add { priority = 50, to = (prefix_of(t)), table = 77 }
    if rng(2) == 1 then
      node.route:add { prefix_of(t), type = "unreachable", table = 77 }
    end
    return "table 77 on " .. node.label
  end,
  function(lab, rng) -- the mask is wrong
    local node = pick(rng, of_kind(lab, "host"))
    local row = node.address:list({ family = "inet", dev = "eth0" })[1]
    if not row then
      return nil
    end
    local ip = row.address:match "^[^/]+"
    local length = pick(rng, { 8, 16, 30, 32 })
    local default = node.route:list({ "default", family = "inet" })[1]
    local via = default and default.via
    node.address:delete { row.address, dev = "eth0" }
    node.address:add { ("%s/%d"):format(ip, length), dev = "eth0" }
    if via then
      pcall(node.route.ensure, node.route, { "default", via = via, dev = "eth0" })
    end
    return ("mask /%d on %s"):format(length, node.label)
  end,
  function(lab, rng) -- a port of a bridge
    local sw, port, ports = port_of(lab, rng)
    if not sw then
      return nil
    end
    local what = rng(5)
    if what == 1 then
      for _, each in ipairs(ports) do
        sw.link:change(each, { port = { isolated = true } })
      end
      return "isolated ports of " .. sw.label
    elseif what == 2 then
      sw.link:change(port, { port = { flood = false } })
      return ("no flood to %s of %s"):format(port, sw.label)
    elseif what == 3 then
      sw.link:change(port, { port = { bcast_flood = false, mcast_flood = false } })
      return ("no broadcast to %s of %s"):format(port, sw.label)
    elseif what == 4 then
      sw.link:change(port, { port = { state = "blocking" } })
      return ("blocking %s of %s"):format(port, sw.label)
    end
    sw.link:change(port, { port = { locked = true } })
    for _, row in ipairs(sw.fdb:list()) do
      if row.dev == port and row.state == "dynamic" then
        sw.fdb:delete(row)
      end
    end
    return ("locked %s of %s"):format(port, sw.label)
  end,
  function(lab, rng) -- an entry of a bridge's table that is wrong
    local sw, port = port_of(lab, rng)
    if not sw then
      return nil
    end
    local host = pick(rng, of_kind(lab, "host"))
    local mac = host.link:get("eth0").address
    sw.fdb:replace { mac, dev = port, master = true, static = true }
    return ("%s behind %s of %s"):format(host.label, port, sw.label)
  end,
  function(lab, rng) -- one end of a link
    local all = {}
    for _, node in ipairs(lab.nodes) do
      for row in node.link:each() do
        all[#all + 1] = row.kind and { node, row.name } or nil
      end
    end
    local one = pick(rng, all)
    one[1].link:change(one[2], { up = false })
    return ("%s of %s down"):format(one[2], one[1].label)
  end,
  function(lab, rng) -- who answers ARP
    local node = pick(rng, routed(lab))
    local value = rng(2)
    node:sysctl("net.ipv4.conf.all.arp_ignore", value)
    return ("arp_ignore %d on %s"):format(value, node.label)
  end,
  function(lab, rng) -- one of those that labs have a name for
    local name, node = named(rng(1 << 20)), pick(rng, rng(3) == 1 and lab.nodes or routed(lab))
    local ok, fault = pcall(lab.fault, lab, name, node)
    return ok and tostring(fault) or nil -- it has no such thing to break
  end,
  function(lab, rng, t) -- a way that is longer, or goes back
    local routers = of_kind(lab, "router")
    if #routers < 2 then
      return nil
    end
    local a, b = routers[1], routers[2]
    local via = b:address_of(a, t.family)
    local _, net = prefix_of(t)
    local node = pick(rng, { a, b })
    via = node == a and via or a:address_of(b, t.family)
    node.route:replace { net, via = via, metric = 1 }
    return ("%s via %s on %s"):format(net, via, node.label)
  end,
}

local hooks = { "prerouting", "input", "forward", "output", "postrouting" }
M.filters = {
  function(lab, rng, t) -- a rule of a filter
    local node = pick(rng, routed(lab))
    local ip = t.family == "inet" and "ip" or "ip6"
    local icmp = t.family == "inet" and "icmp" or "icmpv6"
    local l4 = t.proto == "icmp" and "meta l4proto " .. icmp or "meta l4proto " .. t.proto
    local matches = { l4, ("%s daddr %s"):format(ip, t.address), ("%s saddr %s"):format(ip, t.src),
      ("%s daddr { %s, %s }"):format(ip, t.address, t.src),
      'iifname "eth0"', 'oifname "eth*"', "ct state new", "ct state { established, related }", "ct state invalid", "ct state != new",
      'iifname { "eth0", "eth1" } ' .. l4, ("%s saddr != %s"):format(ip, t.src), "meta nfproto ipv4", "meta nfproto ipv6" }
    if t.proto ~= "icmp" then
      matches[#matches + 1] = ("%s dport %d"):format(t.proto, t.port)
      matches[#matches + 1] = ("%s dport { 1-8, 53 }"):format(t.proto)
      matches[#matches + 1] = ("%s dport != %d"):format(t.proto, t.port)
      matches[#matches + 1] = ("%s sport > 1024"):format(t.proto)
      matches[#matches + 1] = ("%s dport vmap { 7 : drop, 9 : accept }"):format(t.proto)
    else
      matches[#matches + 1] = icmp .. " type echo-request"
      matches[#matches + 1] = icmp .. " type echo-reply"
    end
    if t.family == "inet" then
      matches[#matches + 1] = ("ip saddr %s ip daddr %s"):format((t.src:gsub("%.%d+$", ".0/24")), (t.address:gsub("%.%d+$", ".0/24")))
    end
    local match = pick(rng, matches)
    local hook = pick(rng, hooks)
    if match:find "^iif" and (hook == "output" or hook == "postrouting") or match:find "^oif" and (hook == "input" or hook == "prerouting") then
      hook = "forward"
    end
    local verdict = pick(rng, match:find "vmap" and { "" } or { "drop", "drop", "accept", "counter drop", "jump other", "goto other", "return",
      "ct state new drop", "counter drop comment \"x\"" })
    local policy = pick(rng, { "accept", "accept", "accept", "drop" })
    M.tables = (M.tables or 0) + 1 -- a chain that is there keeps its hook
    nft(node, ([[table inet why_random%d {
      chain other { counter; %s drop; }
      chain first { type filter hook %s priority %d; policy %s; %s %s; }
    }]]):format(M.tables, l4, hook, pick(rng, { -150, 0, 10 }), policy, match, verdict))
    return ("nft %s: %s %s (policy %s) on %s"):format(hook, match, verdict, policy, node.label)
  end,
  function(lab, rng, t)
    local node, filter = pick(rng, routed(lab)), pick(rng, { "block_icmp", "stateful" })
    node:firewall(filter)
    return filter .. " on " .. node.label, t
  end,
  function(lab, rng)
    local routers = of_kind(lab, "router")
    local node = routers[1] and pick(rng, routers)
    if not node then
      return nil
    end
    local out = pick(rng, node.plan.interfaces).dev
    node:nat(pick(rng, { "home", "cgnat" }), { out = out })
    return ("nat %s out of %s"):format(node.label, out)
  end,
  function(lab, rng, t) -- of a bridge
    local switches = of_kind(lab, "switch")
    local sw = switches[1] and pick(rng, switches)
    if not sw then
      return nil
    end
    local ip, icmp = t.family == "inet" and "ip" or "ip6", t.family == "inet" and "icmp" or "icmpv6"
    local proto = t.proto == "icmp" and icmp or t.proto
    local hook = pick(rng, { "prerouting", "forward", "forward", "postrouting", "input" })
    local first = sw.link:list({ kind = "veth" })[1].name
    local match = pick(rng, { "ether type arp", "ether type " .. ip, "meta l4proto " .. proto, "arp operation request", "arp operation reply",
      ("%s daddr %s"):format(ip, t.address), ("%s saddr %s"):format(ip, t.src), "ether daddr ff:ff:ff:ff:ff:ff",
      ('%s "%s"'):format(hook == "postrouting" and "oifname" or "iifname", first), "meta l4proto icmpv6" })
    M.tables = (M.tables or 0) + 1
    local policy, verdict = pick(rng, { "accept", "accept", "drop" }), pick(rng, { "drop", "drop", "accept" })
    nft(sw, ("table bridge why_bridge%d {\n chain c { type filter hook %s priority 0; policy %s; %s %s; }\n}\n"):format(M.tables, hook, policy,
      match, verdict))
    return ("bridge %s: %s %s (policy %s) on %s"):format(hook, match, verdict, policy, sw.label)
  end,
  function(lab, rng, t) -- of a device
    local node = pick(rng, lab.nodes)
    local dev = pick(rng, node.link:list { kind = "veth" }).name
    local family = pick(rng, { "netdev", "netdev", "inet" })
    local hook = family == "inet" and "ingress" or pick(rng, { "ingress", "egress" })
    local ip = t.family == "inet" and "ip" or "ip6"
    local match = pick(rng, { "meta protocol " .. ip, ("%s daddr %s"):format(ip, t.address), ("%s saddr %s"):format(ip, t.src),
      "meta l4proto " .. (t.proto == "icmp" and "{ icmp, icmpv6 }" or t.proto), "ether daddr ff:ff:ff:ff:ff:ff" })
    M.tables = (M.tables or 0) + 1
    nft(node, ("table %s why_dev%d {\n chain c { type filter hook %s device \"%s\" priority 0; %s drop; }\n}\n"):format(family, M.tables, hook,
      dev, match))
    return ("%s %s of %s: %s drop on %s"):format(family, hook, dev, match, node.label)
  end,
  function(lab, rng, t) -- of iptables, which br_netfilter may ask about what bridges pass on
    local node = pick(rng, lab.nodes)
    local chain = pick(rng, node.kind == "switch" and { "FORWARD" } or { "FORWARD", "INPUT", "OUTPUT" })
    local l4 = t.proto == "icmp" and (t.family == "inet" and "icmp" or "ipv6-icmp") or t.proto
    local matches = { "-p " .. l4, "-m conntrack --ctstate NEW -p " .. l4, "-m conntrack ! --ctstate ESTABLISHED,RELATED -p " .. l4,
      "-m addrtype --dst-type LOCAL -p " .. l4, "-m addrtype ! --dst-type LOCAL -p " .. l4, "-m mark --mark 0x5", "-s " .. t.src,
      "-d " .. t.address .. " -m comment --comment why" }
    if t.proto ~= "icmp" then
      matches[#matches + 1] = ("-p %s -m multiport --dports 1:8,53"):format(t.proto)
      matches[#matches + 1] = ("-p %s -m multiport ! --dports 53,80"):format(t.proto)
      matches[#matches + 1] = ("-p %s --sport 1024: -m conntrack --ctdir ORIGINAL"):format(t.proto)
      matches[#matches + 1] = ("-p %s --dport 7"):format(t.proto)
    end
    if node.kind ~= "switch" or rng(3) > 1 then
      matches[#matches + 1] = "-m physdev --physdev-is-bridged"
    end
    local on = node.kind == "switch" and rng(4) > 1
    local option = t.family == "inet" and "net.bridge.bridge-nf-call-iptables" or "net.bridge.bridge-nf-call-ip6tables"
    if on and not pcall(node.sysctl, node, option, 1) then
      return nil
    end
    local match = pick(rng, matches)
    local verdict = pick(rng, { "DROP", "DROP", "ACCEPT", "RETURN", "REJECT", t.proto == "tcp" and "REJECT --reject-with tcp-reset" or "DROP" })
    if verdict:find "tcp" and not match:find "-p tcp" then
      verdict = "DROP"
    end
    local tool = t.family == "inet" and "iptables" or "ip6tables"
    local r = node:run { "sh", "-c", ("%s -w -N WHY; %s -w -A %s -j WHY; %s -w -A WHY %s -j %s"):format(tool, tool, chain, tool, match, verdict) }
    return ("%s %s %s%s on %s%s"):format(chain, match, verdict, on and " (bridged)" or "", node.label, r.ok and "" or r.stderr)
  end,
  function(lab, rng, t) -- to somebody else
    local node = pick(rng, routed(lab))
    if t.proto == "icmp" then
      return nil
    end
    local other = pick(rng, of_kind(lab, "host"))
    local to = other:address_of(node.node_name, t.family) or other:address_of(nil, t.family)
    M.tables = (M.tables or 0) + 1
    local hook = node == t.from and "output" or "prerouting"
    local port = pick(rng, { ":7", ":9", "" })
    if to:find ":" then
      to = port ~= "" and "[" .. to .. "]" or to
    end
    nft(node, ("table inet why_nat%d {\n"
      .. " chain c { type nat hook %s priority -100; %s dport %d dnat %s to %s%s; }\n}\n"):format(M.tables, hook, t.proto, t.port,
      t.family == "inet" and "ip" or "ip6", to, port))
    return ("dnat %s to %s%s on %s"):format(hook, to, port, node.label)
  end,
}

---A lab, its faults and whom it is asked about.
---@param seed integer
---@param with_filters boolean
---@return nslua.Lab
---@return table t
---@return string[] faults
function M.make(seed, with_filters)
  local state = seed * 2654435761 % 4294967296
  local function rng(n) -- not that of math: its draws differ between versions of Lua
    state = (state * 1103515245 + 12345) % 2147483648
    return (state >> 8) % n + 1
  end
  for _ = 1, 8 do
    rng(2)
  end
  local shape = pick(rng, LABS)
  local lab = ns.lab(shape[1])
  local ok, e = pcall(function()
    local t = { family = pick(rng, { "inet", "inet", "inet6" }), proto = pick(rng, { "tcp", "tcp", "tcp", "udp", "icmp" }),
      port = pick(rng, { 7, 7, 7, 9 }),
      from = lab.node[shape[2]], to = lab.node[shape[3]], shape = shape[1] }
    t.address, t.src = t.to:address_of(t.from, t.family), t.from:address_of(t.to, t.family)
    t.port = t.proto ~= "icmp" and t.port or nil
    for _, node in ipairs(routed(lab)) do -- what does not answer is given up soon; that it is told is not rationed
      node:sysctl("net.ipv4.icmp_ratelimit", 0)
      node:sysctl("net.ipv6.icmp.ratelimit", 0)
      for row in node.link:each() do
        for _, family in ipairs { "ipv4", "ipv6" } do
          if row.kind then
            node:sysctl(("net.%s.neigh.%s.retrans_time_ms"):format(family, row.name), 20)
          end
        end
      end
    end
    for _, node in ipairs(of_kind(lab, "host")) do
      if rng(3) > 1 or node == t.to then
        node:serve "echo"
      end
    end
    local faults, count = {}, rng(4) - 1
    for _ = 1, count do
      local list = with_filters and rng(2) == 1 and M.filters or M.faults
      faults[#faults + 1] = pick(rng, list)(lab, rng, t)
    end
    return { t, faults }
  end)
  if not ok then
    lab:close()
    error(("seed %d: %s"):format(seed, tostring(e)), 0)
  end
  return lab, e[1], e[2]
end

return M
