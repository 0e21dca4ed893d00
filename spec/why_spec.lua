-- ns.why: what it says of healthy and broken labs, and that the kernel does what it predicts.

local cjson = require "cjson"
local helper = require "spec.helper"
local ns = require "nslua"
local random = require "spec.why_random"

local cannot = require("spec.rtnl_helper").cannot()
if cannot then
  return it("why", function()
    pending(cannot)
  end)
end

after_each(helper.close_held)

local function lab(text)
  return helper.held(ns.lab(text))
end

local TEXT = [[
  h1 -- r1 -- (sw) -- h2
              (sw) -- h3
]]

local predict = { probe = false }

describe("why", function()
  it("goes hop by hop to who listens, and back", function()
    local l = lab(TEXT)
    l.h2:serve "echo"
    for _, family in ipairs { "inet", "inet6" } do
      local w = ns.why(l.h1, l.h2, 7, { probe = false, family = family })
      assert.is_true(w.ok, tostring(w))
      local kinds = {}
      for _, step in ipairs(w.prediction.forward) do
        kinds[#kinds + 1] = step.kind == "space" and step.space.label or not step.arrives and step.kind or nil
      end
      assert.equal("h1 route neighbour link r1 route neighbour link bridge link h2 route socket", table.concat(kinds, " "))
      local plain = cjson.decode(w:json())
      assert.is_true(plain.ok)
      assert.equal("h2", plain.prediction.forward[#plain.prediction.forward].netns)
    end
  end)

  it("says where it ends, why, and what mends it, which it does", function()
    local l = lab(TEXT)
    l.h2:serve "echo"
    local r1, h1, h2, sw = l.r1, l.h1, l.h2, l.sw
    local cases = {
      { "no_forwarding", "r1", function() r1:sysctl("net.ipv4.ip_forward", 0) end },
      { "no_route", "h1", function() h1.route:delete { "default", family = "inet" } end, function()
        h1.route:add { "default", via = l.r1:address_of "h1" } end },
      { "blackhole", "r1", function() r1.route:add { h2:address_of() .. "/32", type = "blackhole" } end },
      { "rule_prohibit", "r1", function() r1.rule:add { from = h1:address_of(), action = "prohibit", priority = 9 } end },
      { "link_down", "sw", function() sw.link:change("h2", { up = false }) end },
      { "wrong_neighbour", "r1", function() r1.neighbour:replace { h2:address_of(), dev = "eth1", lladdr = "02:ff:ff:ff:ff:ff" } end },
    }
    for _, case in ipairs(cases) do
      case[3]()
      local w = ns.why(h1, h2, 7, predict)
      assert.is_false(w.ok)
      local code = w.code == "neighbour" and w.prediction.finding.because and w.prediction.finding.because.code or w.code
      assert.equal(case[1], code == "port_state" and "link_down" or code, tostring(w))
      assert.is_string(w.why)
      if case[4] then
        case[4]()
      else
        local where, fix = w.fix:match "^in (%S+): (.*)$"
        local r = l.node[where]:run { "sh", "-c", fix }
        assert(r.ok, fix .. ": " .. r.stderr)
      end
      local now = ns.why(h1, h2, 7, predict)
      assert.is_true(now.ok, case[1] .. "\n" .. tostring(now))
    end
  end)

  it("knows who does not listen, and who listens elsewhere", function()
    local l = lab(TEXT)
    l.h3:serve "echo"
    local w = ns.why(l.h1, l.h2, 7, predict)
    assert.same({ "refused", "no_listener", "h2", "ECONNREFUSED" }, { w.verdict, w.code, w.where, w.error })
    assert.matches("nothing listens on tcp port 7 in h2", w:text(), 1, true)
  end)

  it("refuses what it has no sense for", function()
    local l = lab "h1 -- h2"
    assert.error_matches(function() ns.why(l.h1, l.h2, 70000) end, "port")
    assert.error_matches(function() ns.why(l.h1, l.h2, 7, { prot = "udp" }) end, "proto")
    assert.error_matches(function() ns.why(l.h1, l.h2, 7, { proto = "icmp" }) end, "no port")
    assert.error_matches(function() ns.why(l.h1, 12, 7) end, "expected")
    assert.error_matches(function() ns.why(l.h1, l.h2, nil, { proto = "udp" }) end, "UDP goes to a port: which one?", 1, true)
    assert.error_matches(function() ns.why(l.h1, l.h2, 70000) end, "got 70000", 1, true)
    assert.error_matches(function() ns.why(l.h1, l.h2, 7, { timeout = -1 }) end, "more than 0", 1, true)
  end)
end)

-- What the kernel does with it.
local function really(t, timeout)
  if t.proto == "icmp" then
    local r = t.from:ping(t.address, { count = 1, timeout = timeout })
    return r.received == 1, r.received == 0 and (r.errors[1] and r.errors[1].error or "ETIMEDOUT") or nil
  end
  local r = t.from[t.proto](t.from, t.address, t.port, { timeout = timeout, send = t.proto == "udp" and "x" or nil })
  return r.ok, r.error
end

-- Each: what is done where, and what then becomes of tcp, udp and icmp: true, or the code of the finding and a word of it.
local BRIDGED = "sysctl -qw net.bridge.bridge-nf-call-iptables=1 && "
local layers = {
  { "sw", BRIDGED .. "iptables -w -N U && iptables -w -A FORWARD -j U && iptables -w -A U -i h1+ -m comment --comment no -j RETURN && "
    .. "iptables -w -A U -p tcp -m conntrack --ctstate NEW -m addrtype ! --dst-type LOCAL -m multiport --dports 1:8 "
    .. "-m physdev --physdev-in r1 --physdev-is-bridged -j DROP", tcp = "ip filter U handle", udp = true, icmp = true, br_netfilter = true },
  { "sw", "sysctl -qw net.bridge.bridge-nf-call-iptables=0 && iptables -w -P FORWARD DROP", tcp = true, udp = true, icmp = true,
    br_netfilter = true },
  { "sw", "nft 'add table bridge t;"
    .. " add chain bridge t f { type filter hook forward priority 0; policy drop; };"
    .. " add rule bridge t f ether type arp accept; add rule bridge t f ip protocol icmp accept'",
    tcp = "bridge t f", udp = "bridge t f", icmp = true },
  { "sw", "nft 'add table bridge t; add chain bridge t f { type filter hook prerouting priority 0; };"
    .. " add rule bridge t f arp operation reply drop'", tcp = "bridge t f", udp = "bridge t f", icmp = "bridge t f" },
  { "h2", "nft 'add table netdev t; add chain netdev t i { type filter hook ingress device eth0 priority 0; }; add rule netdev t i udp dport 7 drop'",
    tcp = true, udp = "netdev t i handle", icmp = true },
  { "h2", "nft 'add table inet t; add chain inet t i { type filter hook ingress device eth0 priority 0; }; add rule inet t i tcp dport 7 drop'",
    tcp = "inet t i handle", udp = true, icmp = true },
  { "h2", "nft 'add table netdev t; add chain netdev t e { type filter hook egress device eth0 priority 0; }; add rule netdev t e tcp sport 7 drop'",
    tcp = "netdev t e handle", udp = true, icmp = true },
  { "h2", "nft 'add table arp t; add chain arp t i { type filter hook input priority 0; }; add rule arp t i arp operation request drop'",
    tcp = "arp t i handle", udp = "arp t i handle", icmp = "arp t i handle" },
  { "h2", "nft 'add table inet t; add chain inet t i { type filter hook input priority 0; }; add rule inet t i tcp dport 7 reject with tcp reset'",
    tcp = "says reject", udp = true, icmp = true },
}

describe("rules below and beside those of IP", function()
  it("are worked out, and the kernel agrees", function()
    if not (helper.has "nft" and helper.has "iptables") then
      return pending "needs nft(8) and iptables(8)"
    end
    local l, tried = lab(TEXT), 0
    l.h2:serve "echo"
    l.r1:sysctl("net.ipv4.neigh.eth1.retrans_time_ms", 20)
    for _, case in ipairs(layers) do
      local node = l.node[case[1]]
      local can = not case.br_netfilter or pcall(node.read, node, "/proc/sys/net/bridge/bridge-nf-call-iptables")
      local made = can and node:run { "sh", "-c", case[2] }
      if made and made.ok then -- else this kernel has no such hook
        tried = tried + 1
        for proto, expected in pairs { tcp = case.tcp, udp = case.udp, icmp = case.icmp } do
          l.r1.neighbour:delete({ l.h2:address_of(), dev = "eth1" }, { absent = "ok" })
          l.h2.neighbour:delete({ l.r1:address_of "h2", dev = "eth0" }, { absent = "ok" })
          local w = ns.why(l.h1, l.h2, proto ~= "icmp" and 7 or nil, { proto = proto, probe = false })
          local ok, e = really({ from = l.h1, address = w.address, proto = proto, port = 7 }, w.error == "ETIMEDOUT" and 0.1 or 10)
          assert.same({}, w.prediction.doubts, tostring(w))
          assert.equal(expected == true, w.ok, tostring(w))
          assert.equal(w.ok, ok, tostring(w))
          assert.equal(w.error, e, tostring(w))
          if expected ~= true then
            assert.matches(expected, w.why, 1, true)
          end
        end
      end
      node:run { "nft", "flush", "ruleset" }
    end
    assert.is_true(tried > 3, "hardly anything of it could be set up")
  end)

  it("and what cannot be worked out is a doubt, which the probe decides", function()
    local l = lab "h1 -- h2"
    l.h2:serve "echo"
    l.h2.qdisc:add { "clsact", dev = "eth0" }
    assert.same({}, ns.why(l.h1, l.h2, 7, predict).prediction.doubts)
    local ok, e = pcall(l.h2.filter.add, l.h2.filter, { "u32", dev = "eth0", parent = "ingress", protocol = "ip", u32 = { match = "ip src 10.9.9.9" },
      classid = "1:1" })
    if not ok then
      return pending("this kernel has no u32: " .. tostring(e))
    end
    local w = ns.why(l.h1, l.h2, 7, predict)
    assert.same({ "h2: a filter of tc at eth0 (ingress, u32) may drop the packet or send it elsewhere" }, w.prediction.doubts)
    assert.matches("reached, if that lets it through", w:text(), 1, true)
    assert.is_true(ns.why(l.h1, l.h2, 7).ok)
  end)

  it("what leads where the walk does not follow is no prediction", function()
    local l = lab "h1 -- h2"
    l.h2:serve "echo"
    local ok, e = pcall(l.h1.link.add, l.h1.link, { name = "m0", kind = "macvlan", link = "eth0", macvlan = { mode = "bridge" }, up = true })
    if not ok then
      return pending("this kernel has no macvlan: " .. tostring(e))
    end
    l.h1.address:add { "10.99.0.1/24", dev = "m0" }
    l.h2.address:add { "10.99.0.2/24", dev = "eth0" }
    local w = ns.why(l.h1, "10.99.0.2", 7, predict)
    assert.same({ "unknown", false }, { w.verdict, w.ok })
    assert.is_nil(w.error)
    assert.matches("? h1: ", w:text(), 1, true)
    w = ns.why(l.h1, "10.99.0.2", 7)
    assert.same({ "reached", true }, { w.verdict, w.ok })
    assert.is_nil(w.disagree)
    w = ns.why(l.h1, "10.99.0.2", 8)
    assert.same({ "refused", "ECONNREFUSED" }, { w.verdict, w.error })
    assert.matches("what is behind that is not seen", w.why, 1, true)
    assert.is_nil(w.disagree)
  end)

  it("a program of XDP is one, too", function()
    helper.needs_root(pending)
    local module = os.tmpname()
    local out, built = helper.sh(("cc -shared -fPIC -I/usr/include/lua5.4 -o %s spec/bpf_program.c"):format(module))
    local load = built and package.loadlib(module, "luaopen_bpf_program_xdp")
    os.remove(module)
    if not load then
      return pending("no C compiler, or no Lua 5.4: " .. out)
    end
    local l = lab "h1 -- h2"
    l.h2:serve "echo"
    ns.netns.allow_call(true)
    local fd, errno = l.h2:call(load, l.h2.link:get("eth0").index)
    if not fd then
      return pending(("no program of XDP can be attached here (errno %s)"):format(tostring(errno)))
    end
    local attached <close> = require("nslua.core").fd.adopt(fd) -- luacheck: ignore
    local w = ns.why(l.h1, l.h2, 7, { timeout = 0.2 })
    assert.is_false(w.ok)
    assert.matches("an XDP program %(id %d+%) at eth0 may drop the packet", w.why)
    assert.is_nil(w.disagree)
  end)
end)

describe("predictions", function()
  -- NSLUA_WHY_LABS=500: so many; NSLUA_WHY_FROM: from this seed on
  local count, first = tonumber(os.getenv "NSLUA_WHY_LABS" or "") or helper.rounds(30, 10), tonumber(os.getenv "NSLUA_WHY_FROM" or "") or 1
  local probed = lab and helper.has "nft"
  it(("are what the kernel does, in %d random labs"):format(count), function()
    local wrong = {}
    for seed = first, first + count - 1 do
      local l <close>, t, faults = random.make(seed, probed)
      local w = ns.why(t.from, t.address, t.port, { proto = t.proto, probe = false })
      assert.is_truthy(l)
      -- what is predicted to be lost is not waited for: should it come after all, it comes at once
      local ok, e = really(t, w.error == "ETIMEDOUT" and 0.1 or 10)
      -- a link that has just lost its carrier forgets who was asked for, and what waited: then nobody is told
      local untold = w.code == "neighbour" and e == "ETIMEDOUT"
      if #w.prediction.doubts == 0 and (ok ~= w.ok or e ~= w.error and not untold) then
        wrong[#wrong + 1] = ("seed %d (%s): %s\nkernel: %s %s\n%s"):format(seed, t.shape, table.concat(faults, "; "), tostring(ok), tostring(e),
          tostring(w))
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)
end)

describe("the probe", function()
  it("is seen on its way, there and back, and decides", function()
    local l = lab(TEXT)
    l.h2:serve "echo"
    for _, proto in ipairs { "tcp", "udp", "icmp" } do
      local w = ns.why(l.h1, l.h2, proto ~= "icmp" and 7 or nil, { proto = proto })
      assert.is_true(w.ok, tostring(w))
      assert.is_nil(w.disagree)
      assert.equal("leaves h1:eth0, arrives r1:eth0, leaves r1:eth1, arrives sw:r1, leaves sw:h2, arrives h2:eth0, "
        .. "leaves h2:eth0, arrives sw:h2, leaves sw:r1, arrives r1:eth1, leaves r1:eth0, arrives h1:eth0", table.concat(w.probe.seen, ", "))
    end
    l.r1:sysctl("net.ipv4.ip_forward", 0)
    local w = ns.why(l.h1, l.h2, 7, { timeout = 0.2 })
    assert.same({ "failed", "no_forwarding", "r1", "ETIMEDOUT" }, { w.verdict, w.code, w.where, w.probe.error })
    assert.equal("leaves h1:eth0, arrives r1:eth0", table.concat(w.probe.seen, ", "))
  end)

  it("tells of the rule that drops it, by the trace of nf_tables, which goes with it", function()
    if not helper.has "nft" then
      pending "needs nft(8)"
    end
    local l = lab(TEXT)
    l.h2:serve "echo"
    l.h2:firewall "stateful"
    local w = ns.why(l.h1, l.h2, 7, { timeout = 0.2 })
    assert.same({ "failed", "filter", "h2", "nslua_stateful" }, { w.verdict, w.code, w.where, w.prediction.finding.table })
    assert.same({ "nslua_stateful", "input", w.prediction.finding.handle }, { w.probe.rule.table, w.probe.rule.chain, w.probe.rule.handle })
    assert.is_true(ns.eventually(function() -- the kernel takes it away a moment after its process has ended
      return #l.h2.nftables:tables() == 1
    end, 10))
    local r = l.h2:run { "sh", "-c", (w.fix:match "^in h2: (nft delete rule [^,]*)") }
    assert(r.ok, r.stderr)
    assert.is_true(ns.why(l.h1, l.h2, 7).ok)
    -- one that cannot be worked out is named all the same, also where nothing listens
    r = l.r1:run { "nft", "-f", "-", input = "table inet t { chain f { type filter hook forward priority 0; numgen inc mod 1 0 drop; }\n}\n" }
    assert(r.ok, r.stderr)
    for port, predicted in pairs { [7] = "reached", [9] = "refused" } do
      w = ns.why(l.h1, l.h2, port, { timeout = 0.2 })
      assert.same({ "failed", "filter", "r1", "ETIMEDOUT", predicted }, { w.verdict, w.code, w.where, w.error, w.prediction.verdict })
      assert.equal(("in r1: nft delete rule inet t f handle %d, or a rule before it that accepts"):format(w.probe.rule.handle), w.fix)
      assert.is_nil(w.disagree)
    end
  end)

  it("counts what routers take from the time to live, and sees that lo is down", function()
    local l = lab "h1 -- r1 -- r2 -- h2"
    l.r1.link:change("lo", { up = false })
    assert.same({ "link_down", "in r1: ip link set lo up" }, { ns.why(l.r1, l.r1).code, ns.why(l.r1, "::1").fix })
    l.h2:serve "echo"
    l.h1:sysctl("net.ipv4.ip_default_ttl", 2)
    l.h1:sysctl("net.ipv6.conf.eth0.hop_limit", 2)
    for _, family in ipairs { "inet", "inet6" } do
      local w = ns.why(l.h1, l.h2, 7, { family = family })
      assert.same({ "failed", "ttl", "r2", "EHOSTUNREACH" }, { w.verdict, w.code, w.where, w.prediction.error }, w:text())
      assert.is_nil(w.disagree)
    end
    l.h1:sysctl("net.ipv4.ip_default_ttl", 3)
    assert.is_true(ns.why(l.h1, l.h2, 7).ok)
  end)
end)

describe("nslua why", function()
  it("draws it, and says by its status whether it is reached", function()
    local l = helper.held(ns.lab(TEXT, { name = ("why%d"):format(math.random(1, 1 << 30)) }))
    l.h2:serve "echo"
    local name = l.name
    local out, ok = helper.sh(("build/bin/nslua why lab:%s/h1 lab:%s/h2:7"):format(name, name))
    assert(ok, out)
    assert.matches("* r1\n", out, 1, true)
    assert.matches("probe: reached", out, 1, true)
    local _, _, status = helper.sh(("build/bin/nslua why -n lab:%s/h1 %s:8"):format(name, l.h2:address_of()))
    assert.equal(1, status)
    local json = cjson.decode((helper.sh(("build/bin/nslua why -nj lab:%s/h1 %s:8"):format(name, l.h2:address_of()))))
    assert.same({ "refused", "no_listener", 8 }, { json.verdict, json.code, json.port })
    for word, said in pairs { ["lab:%s/h2:http"] = "is no port", ["-s 9000 lab:%s/h2:7"] = "its mtu is 1500", ["-4 -6 lab:%s/h2:7"] = "one of them",
      ["lab:%s/sw"] = "sw has no address" } do
      out, _, status = helper.sh(("build/bin/nslua why lab:%s/h1 %s"):format(name, word:format(name)))
      assert.equal(word:find "9000" and 1 or 2, status)
      assert.matches(said, out, 1, true)
      assert.is_nil(out:find("predicted was", 1, true))
    end
    out, _, status = helper.sh "build/bin/nslua why"
    assert.is_true(status ~= 0 and out:find("FROM TO:PORT", 1, true) ~= nil, out)
  end)
end)
