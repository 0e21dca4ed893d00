-- a:look(): what can be seen of a namespace from outside.

local helper = require "spec.helper"
local ns = require "nslua"

local RULES = [[
table inet t {
  set s { type ipv4_addr; elements = { 1.2.3.4, 5.6.7.8 } }
  chain c { type filter hook input priority 0; policy drop;
    iifname "lo" accept
    tcp dport { 22, 80-90 } counter accept comment "web"
    ip saddr 10.0.0.0/8 ip daddr != @s drop
    ct state established,related accept
    ct state vmap { new : accept, invalid : drop }
    meta mark 0x10 limit rate 10/second log prefix "hi " reject with tcp reset
    tcp flags & (syn|rst) == syn accept
    icmp type echo-request jump d
    ip protocol udp th dport != 1000-2000 drop
  }
  chain d { icmp type destination-unreachable icmp code frag-needed drop; }
}
table ip nat {
  chain p { type nat hook prerouting priority -100;
    tcp dport 81 counter dnat to 10.5.0.2:80
    tcp dport 82 redirect to :8082
    dnat to tcp dport map { 84 : 10.5.0.2, 443 : 10.0.0.2 }
  }
  chain q { type nat hook postrouting priority 100;
    ip saddr 10.5.0.0/24 oifname "eth*" masquerade
    ip saddr 10.6.0.0/24 snat to 1.1.1.1
  }
}
]]

local TEXTS = { "iifname lo accept", "tcp dport { 22, 80-90 } accept", "ip saddr 10.0.0.0/8 ip daddr != @s drop",
  "ct state established,related accept",
  "ct state vmap { invalid : drop, new : accept }", 'meta l4proto tcp meta mark 0x10 limit rate 10/second log prefix "hi " reject with tcp reset',
  "tcp flags syn / syn,rst accept", "icmp type 8 jump d", "ip protocol udp udp dport != 1000-2000 drop", "icmp type 3 icmp code 4 drop",
  "tcp dport 81 dnat to 10.5.0.2:80",
  "tcp dport 82 redirect to :8082", "dnat to tcp dport map { 84 : 10.5.0.2, 443 : 10.0.0.2 }", "ip saddr 10.5.0.0/24 oifname eth* masquerade",
  "ip saddr 10.6.0.0/24 snat to 1.1.1.1" }

-- Arguments of iptables, and the same in the words of nft(8).
local IPTABLES = {
  { "-t nat -A PREROUTING ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.5.0.2:80",
    "iifname != docker0 tcp dport 8080 dnat to 10.5.0.2:80" },
  { "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER", "fib daddr type local jump DOCKER" },
  { "-t nat -A POSTROUTING -s 10.5.0.0/16 ! -o docker0 -j MASQUERADE", "oifname != docker0 ip saddr 10.5.0.0/16 masquerade" },
  { "-t nat -A DOCKER -d 10.0.0.0/8 -p tcp -m multiport --dports 80,443 -j DNAT --to-destination 10.5.0.2:80-90",
    "ip daddr 10.0.0.0/8 tcp dport { 80, 443 } dnat to 10.5.0.2:80-90" },
  { "-t nat -A DOCKER -p udp -j REDIRECT --to-ports 5353", "meta l4proto udp redirect to :5353" },
  { "-A FORWARD -i eth+ ! -o br+ -j ACCEPT", "iifname eth* oifname != br* accept" },
  { "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "ct state established,related accept" },
  { "-A FORWARD -p tcp --dport 80 -m comment --comment 'hi there' -j REJECT", "tcp dport 80 reject" },
  { "-A FORWARD -p icmp --icmp-type echo-request -j DROP", "icmp type 8 drop" },
  { "-A FORWARD -m mark --mark 0x1/0xff -m limit --limit 5/min -j LOG --log-prefix 'x: '",
    'meta mark & 0xff == 0x1 limit rate 5/minute log prefix "x: "' },
}

-- iptables-legacy's lock is of the machine, and root's; here each namespace is one script's alone.
local LOCK = "export XTABLES_LOCKFILE=$(mktemp); trap 'rm -f $XTABLES_LOCKFILE' EXIT; "

describe("a:look()", function()
  local why = not select(2, helper.sh((helper.is_root() and "" or "unshare -Ur ") .. "unshare -n true")) and "no right to make a network namespace"
  if why then
    return pending(why)
  end

  after_each(helper.close_held)

  local function made()
    return helper.held(helper.netns { lo = true })
  end

  -- A machine, and a box on it.
  local function build()
    local userns = not helper.is_root() and helper.held(ns.userns.new { map_users = "root" }) or nil
    local machine, box = helper.held(ns.netns.new { lo = true, userns = userns }), helper.held(ns.netns.new { lo = true, userns = userns })
    ns.connect(machine, box, { "10.5.0.1/24", "10.5.0.2/24" })
    return machine, box
  end

  local function needs(a, command, what)
    if not helper.has(command:match "^%S+") then
      return pending("needs " .. what)
    end
    local r = a:run { "sh", "-c", LOCK .. command }
    if not r.ok then
      return pending(("not here: %s: %s"):format(command, r.stderr))
    end
  end

  local function texts(firewall)
    local out = {}
    for i, rule in ipairs(firewall.rules) do
      out[i] = rule.text
    end
    return out
  end

  it("tells the rules of nf_tables in nft's words and as values", function()
    local a = made()
    needs(a, "nft list ruleset", "nft(8)")
    local r = a:run { "nft", "-f", "-", input = RULES }
    if not r.ok then
      pending("this kernel's nf_tables lacks some of these: " .. r.stderr)
    end
    local firewall = a:look { "firewall" }.firewall
    assert.same(TEXTS, texts(firewall))
    local web, dnat = firewall.rules[2], firewall.rules[11]
    assert.same({ "accept", "web", 0, { 22, { 80, 90 } } }, { web.verdict, web.comment, web.packets, web.match.dport })
    assert.same({ type = "dnat", address = "10.5.0.2", port = 80 }, dnat.nat)
    assert.same({ "10.0.0.0/8" }, firewall.rules[3].match.src)
    local policies = {}
    for _, chain in ipairs(firewall.chains) do
      policies[chain.name] = ("%s %s"):format(chain.hook, chain.policy)
    end
    assert.same({ c = "input drop", d = "nil nil", p = "prerouting accept", q = "postrouting accept" }, policies)
    assert.same({}, firewall.unread)
  end)

  for _, flavour in ipairs { "iptables-nft", "iptables-legacy" } do
    it("tells the rules of " .. flavour, function()
      local a = made()
      needs(a, flavour .. " -t nat -N DOCKER", flavour)
      local lines, want = {}, {}
      for _, each in ipairs(IPTABLES) do
        lines[#lines + 1] = flavour .. " " .. each[1]
        want[each[2]] = true
      end
      local r = a:run { "sh", "-ec", LOCK .. table.concat(lines, "\n") }
      if not r.ok then
        pending("this kernel's xtables lack some of these: " .. r.stderr)
      end
      local firewall = a:look { "firewall" }.firewall
      assert.same({}, firewall.unread)
      local got, jump, comment = {}, nil, nil
      for _, rule in ipairs(firewall.rules) do
        assert.equal(flavour == "iptables-nft" and "nftables" or "iptables", rule.source)
        got[rule.text] = true
        jump = rule.to or jump
        comment = rule.comment or comment
      end
      assert.same(want, got)
      assert.equal(#IPTABLES, #firewall.rules)
      assert.same({ "DOCKER", "hi there" }, { jump, comment })
    end)
  end

  it("reads the counters and policies of iptables-legacy, and makes no table", function()
    local a = made()
    assert.same({}, a:look { "firewall" }.firewall.chains)
    needs(a, "iptables-legacy -A INPUT -i lo -p udp --dport 9 -j DROP; iptables-legacy -P FORWARD DROP", "iptables-legacy")
    local ok, socket = pcall(a.socket, a, "inet", "dgram")
    assert(ok, socket)
    socket:close()
    a:udp("127.0.0.1", 9, { timeout = 0.05, send = "x" })
    local firewall = a:look { "firewall" }.firewall
    assert.equal(1, #firewall.rules)
    assert.equal("iifname lo udp dport 9 drop", firewall.rules[1].text)
    assert.is_true(firewall.rules[1].packets >= 1)
    local policies = {}
    for _, chain in ipairs(firewall.chains) do
      policies[chain.name] = chain.table .. " " .. chain.policy
    end
    assert.same({ INPUT = "filter accept", FORWARD = "filter drop", OUTPUT = "filter accept" }, policies)
  end)

  it("tells the rules around it that lead to its addresses, and the ports", function()
    local machine, box = build()
    needs(machine, "nft list ruleset", "nft(8)")
    local r = machine:run { "nft", "-f", "-", input = RULES }
    if not r.ok then
      pending("this kernel's nf_tables lacks some of these: " .. r.stderr)
    end
    local seen = box:look { "nat", "published" }
    local kinds = {}
    for i, rule in ipairs(seen.nat) do
      kinds[i] = rule.kind .. ": " .. rule.text
    end
    assert.same({ "dnat: " .. TEXTS[11], "dnat: " .. TEXTS[13], "masquerade: " .. TEXTS[14] }, kinds)
    local port = seen.published[1]
    assert.same({ "tcp", 81, "10.5.0.2", 80, "rule" }, { port.proto, port.host_port, port.address, port.port, port.from })
    assert.same({}, seen.problems)
    assert.same({}, machine:look { "nat" }.nat)
    -- of what is published on several addresses each has its own rule
    local nat = require "nslua.inspect.look.nat"
    local function rule(dst, to)
      return { kind = "dnat", family = "ip", match = { proto = { "tcp" }, dport = { 90 }, dst = dst }, nat = { type = "dnat", address = "10.5.0.2",
        port = to }, text = tostring(to) }
    end
    local found = nat.published({ { proto = "tcp", host_port = 90, host_address = "127.0.0.1" }, { proto = "tcp", host_port = 90,
      host_address = "10.0.0.1" }, { proto = "tcp", host_port = 90, host_address = "::1" }, { proto = "tcp", host_port = 90 } },
      { rule({ "10.0.0.0/24" }, 1), rule({ "127.0.0.1" }, 2), rule({ "10.9.9.9", inverted = true }, 3) })
    assert.same({ "2", "1", false, "1" }, { found[1].rule.text, found[2].rule.text, found[3].rule or false, found[4].rule.text })
    assert.is_nil(found[5])
  end)

  it("tells the sysctls that a new namespace has otherwise", function()
    local a = made()
    assert.same({}, a:look { "settings" }.settings)
    a.link:add { name = "d0", kind = "veth", peer = { name = "d1" } }
    a:sysctl("net.ipv4.ip_default_ttl", 17)
    a:sysctl("net.ipv4.conf.d0.proxy_arp", 1)
    a:sysctl("net.ipv6.conf.d0.accept_ra", 0)
    local got = {}
    for _, each in ipairs(a:look { "settings" }.settings) do
      got[each.name] = each.value .. " not " .. each.default
    end
    assert.same({ ["net.ipv4.ip_default_ttl"] = "17 not 64", ["net.ipv4.conf.d0.proxy_arp"] = "1 not 0", ["net.ipv6.conf.d0.accept_ra"] = "0 not 1" },
      got)
  end)

  it("tells the counters that grow", function()
    local a = made()
    local before = ns.look.counters(a)
    a:udp("127.0.0.1", 9, { timeout = 5, send = "x" })
    local grown = {}
    for _, each in ipairs(ns.look.grown(before, ns.look.counters(a), 2)) do
      grown[each.name] = each
    end
    local no_ports = grown["Udp.NoPorts"]
    assert.is_true(no_ports.trouble)
    assert.equal(no_ports.growth / 2, no_ports.rate)
    assert.is_true(grown["link.lo.rx_packets"].growth >= 1 and not grown["link.lo.rx_packets"].trouble)
    local counters = {}
    for _, each in ipairs(a:look { "counters", seconds = 0 }.counters) do
      counters[each.name] = each.value
    end
    assert.equal(no_ports.value, counters["Udp.NoPorts"])
  end)

  it("tells what is tracked inside, and outside of its addresses", function()
    local machine, box = build()
    needs(machine, "nft add table t && nft 'add chain t c { type filter hook output priority 0; }' && nft add rule t c ct state new accept", "nft(8)")
    machine:udp("10.5.0.2", 9, { timeout = 5, send = "x" })
    machine:udp("127.0.0.1", 9, { timeout = 5, send = "x" })
    local seen = box:look { "conntrack" }.conntrack
    assert.equal(0, seen.count)
    assert.same({ 1, machine.inode }, { #seen.around, seen.around[1].netns })
    assert.equal(1, seen.around[1].count)
    assert.equal("10.5.0.2", seen.around[1].entries[1].orig.dst)
    local count = machine:look { "conntrack" }.conntrack.count
    assert.equal(2, count)
  end)

  it("tells the ports that engines say are published", function()
    if not helper.is_root() then
      pending "needs root: a process in a cgroup of its container's name"
    end
    local layout = require "spec.container_helper"
    local dir = helper.sh "mktemp -d"
    finally(function()
      helper.sh("rm -rf " .. dir)
    end)
    local at, pid = layout.below(dir), layout.process(layout.A)
    at.docker(layout.A, "web", pid)
    local path = ("/var/lib/docker/containers/%s/config.v2.json"):format(layout.A)
    local f <close> = assert(io.open(dir .. path))
    local text = f:read "a":gsub('"Driver"', '"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::",'
      .. '"HostPort":"8080"}],"53/udp":[{"HostIp":"10.0.0.1","HostPort":"53"}],"90/tcp":null,"91/tcp":[7,{"HostPort":"x"}]}},"Driver"')
    at.write(path, text)
    local c = helper.held(ns.container.find("docker:web", { root = dir }))
    assert.same({ { proto = "udp", port = 53, host_port = 53, host_address = "10.0.0.1" }, { proto = "tcp", port = 80, host_port = 8080 },
      { proto = "tcp", port = 80, host_port = 8080, host_address = "::" } }, c:published())
    at.podman { { id = layout.A, name = "pod", pid = pid } }
    at.write("/var/lib/cni/results/podman-" .. layout.A .. "-eth0", '{"kind":"cniCacheV1","capabilityArgs":{"portMappings":[{"hostPort":8081,'
      .. '"containerPort":81,"protocol":"tcp","hostIP":""},{"hostPort":99999}]}}')
    c = helper.held(ns.container.find("podman:pod", { root = dir }))
    assert.same({ { proto = "tcp", port = 81, host_port = 8081 } }, c:published())
  end)

  it("tells only what is asked, and knows the words", function()
    local a = made()
    local seen = a:look { "routes", "rules" }
    assert.same({ a.inode, {}, {}, {} }, { seen.netns, seen.routes, seen.rules, seen.problems })
    assert.is_nil(seen.links)
    for _, each in ipairs { { { "rout" }, "did you mean 'routes'" }, { { second = 1 }, "did you mean 'seconds'" },
      { { seconds = "x" }, "seconds" } } do
      local ok, e = pcall(a.look, a, each[1])
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(each[2], 1, true), tostring(e))
    end
  end)
end)
