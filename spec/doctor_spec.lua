-- The doctor: what it names first is what is wrong, its own command mends it, and of a healthy network it says nothing.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"
local dkjson = require "dkjson"
local truth = require "spec.doctor_table"

local HOST = "build/bin/nslua"

describe("the doctor", function()
  local why = rtnl.cannot()
  if why then
    return pending(why)
  end

  after_each(helper.close_held)

  local function told(findings)
    local out = {}
    for i, f in ipairs(findings) do
      out[i] = ("%s (%.2f): %s in %s, by: %s"):format(f.check, f.sure, f.problem, f.place, tostring(f.fix))
    end
    return table.concat(out, "\n")
  end

  for _, case in ipairs(truth.cases) do
    it("names " .. (case.title or case.fault or case.check) .. " first, and its command mends it", function()
      local cannot = case.slow and case.slow(ns) or truth.cannot(ns, case)
      if cannot then
        return pending(cannot)
      end
      local result = truth.run(ns, case)
      assert.equal("", told(result.before))
      assert.is_not_nil(result.first, "nothing found")
      assert.equal(case.check, result.first.check, told { result.first })
      assert.is_true(#result.first.evidence > 0 and #result.first.why > 40)
      assert.is_nil(result.failed)
      assert.equal("", told(result.left))
    end)
  end

  it("has a case for each fault, and a check for each case", function()
    local checks, cases = {}, {}
    for _, each in ipairs(ns.doctor.checks()) do
      checks[each.name] = true
      assert.is_true(#each.why > 40, each.name)
    end
    for _, case in ipairs(truth.cases) do
      cases[case.fault or case.check] = true
      assert.is_true(checks[case.check], case.check)
    end
    for name in pairs(ns.lab.faults()) do
      assert.is_true(cases[name], "no case for the fault " .. name)
    end
  end)

  it("says nothing of healthy labs", function()
    for _, text in ipairs { "h1 -- h2", "h1 -- (sw) -- h2", "h1 -- r1 -- r2 -- h2", "h1 -- r1 -- (sw) -- h2\n(sw) -- h3\nr1 -- h4",
      "h1 -- (a) -- r1 -- (b) -- h2\n(a) -- r2 -- (b)" } do
      local lab <close> = ns.lab(text)
      assert.equal("", told(ns.doctor(lab)))
      assert.equal("", told(ns.doctor(lab, { quick = true })))
    end
  end)

  for _, case in ipairs(require "spec.doctor_cases.healthy") do
    it("says nothing of " .. case.title, function()
      local cannot = truth.cannot(ns, case)
      if cannot then
        return pending(cannot)
      end
      local lab <close> = ns.lab(case.lab)
      if lab.h2 then
        lab.h2:serve "http"
      end
      local say = type(case.say) == "function" and case.say(lab) or case.say
      for i = 1, #say, 2 do
        local r = lab.node[say[i]]:run { "sh", "-ec", say[i + 1] }
        assert.equal("", r.stderr .. (r.ok and "" or r.stdout))
      end
      assert.equal("", told(ns.doctor(lab, { quick = true })))
    end)
  end

  it("does not ask for names where there is no network", function()
    local lab <close> = ns.lab "h1"
    lab.h1:set_resolv_conf "nameserver 10.99.9.9\n"
    assert.equal("", told(ns.doctor(lab)))
  end)

  it("takes a counter of few packets for no news", function()
    local lab <close> = ns.lab "h1 -- r1 -- h2"
    lab.r1:sysctl("net.ipv4.conf.all.rp_filter", 1)
    lab.h1:run { "ping", "-q", "-f", "-c150", lab.r1:address_of "h1" }
    lab.h1.address:add { "203.0.113.7/32", dev = "lo" }
    lab.h1:run { "ping", "-c1", "-W0.1", "-I", "203.0.113.7", lab.h2:address_of() }
    lab.h1.address:delete { "203.0.113.7/32", dev = "lo" }
    assert.is_truthy(lab.r1:read("/proc/net/netstat"):find "IPReversePathFilter")
    assert.equal("", told(ns.doctor(lab.r1, { quick = true })))
  end)

  it("knows what filters do with a port, and keeps silent where it cannot know", function()
    local cannot = truth.cannot(ns, { nft = true })
    if cannot then
      return pending(cannot)
    end
    local lab <close> = ns.lab "h1 -- h2"
    lab.h2:serve "http"
    local base = "chain input { type filter hook input priority filter; policy %s; %s }"
    for _, case in ipairs {
      { "drop", "ct state vmap { new : accept, established : accept }" }, { "drop", "tcp dport { 22, 80-90 } accept" },
      { "drop", "ip saddr 10.0.0.0/8 accept; iif lo accept; meta nfproto ipv6 accept" },
      { "accept", "ip saddr != 10.0.0.0/8 drop; iif lo accept" }, { "accept", "tcp dport 80 limit rate over 100/second drop" },
      { "accept", "tcp dport 80 jump other", "ip6 saddr ::1 return; tcp dport 80 goto more", "tcp dport != 81 return; drop" },
      { "accept", "udp dport 80 drop; ct state established drop; iifname != eth0 drop" },
      { "accept", "tcp dport 80 jump other", "tcp dport 80 goto more", "tcp dport 79-81 drop", bad = true },
      { "drop", "iif lo accept; tcp dport vmap { 22 : accept, 80 : jump other }", "meta nfproto ipv4 drop; accept", bad = true },
      { "accept", "ip saddr 10.0.0.0/8 ip saddr != 10.0.0.0/8 drop; meta nfproto ipv6 meta protocol ip drop" },
      { "accept", "ip saddr 10.0.0.0/8 goto other; ip6 saddr fd00::/8 goto other; drop", "counter" },
      { "drop", "meta nfproto ipv4 accept", bad = true },
      { "accept", "iif lo accept; ct state != { established, related } tcp dport 80 reject", bad = true },
    } do
      local chains = (case[4] and "chain more { " .. case[4] .. "; }; " or "") .. (case[3] and "chain other { " .. case[3] .. "; }; " or "")
      local r = lab.h2:run { "nft", "-f", "-", input = ("table inet t\ndelete table inet t\ntable inet t { %s%s; }\n"):format(chains,
        base:format(case[1], case[2] .. ";")) }
      assert.equal("", r.stderr)
      local found = ns.doctor(lab.h2, { port = 80, checks = { "input_drop" } })
      assert.equal(case.bad and "input_drop" or nil, found[1] and found[1].check, case[2] .. "\n" .. told(found))
    end
  end)

  it("tells a default route that rejects from one that is the last resort", function()
    local lab <close> = ns.lab "h1 -- r1 -- h2"
    local way = lab.h1.route:list({ "default", family = "inet6" })[1].via
    lab.h1.route:add { "default", type = "unreachable", metric = 4278198272, family = "inet" }
    lab.h1.route:add { "default", type = "prohibit", metric = 2147483647, family = "inet6" }
    assert.equal("", told(ns.doctor(lab, { quick = true })))
    lab.h1.route:delete { "default", type = "prohibit", metric = 2147483647, family = "inet6" }
    local function one(check, kind)
      local found = ns.doctor(lab.h1, { quick = true })
      assert.same({ 1, check }, { #found, found[1] and found[1].check }, kind .. "\n" .. told(found))
      assert.equal("", lab.h1:run({ "sh", "-c", found[1].fix }).stderr)
      assert.equal("", told(ns.doctor(lab.h1, { quick = true })))
    end
    for _, kind in ipairs { "prohibit", "blackhole", "throw" } do
      lab.h1.route:add { "default", type = kind, metric = 50, family = "inet6" }
      one("default_rejects", kind)
    end
    lab.h1.route:delete { "default", via = way, family = "inet6" }
    lab.h1.route:add { "default", type = "unreachable", metric = 50, family = "inet6" }
    one("no_default_route", "unreachable")
  end)

  it("leads to a loopback address what comes for its port, and nothing else", function()
    local cannot = truth.cannot(ns, { nft = true })
    if cannot then
      return pending(cannot)
    end
    local lab <close> = ns.lab "h1 -- h2"
    lab.h2:serve("http", { address = "127.0.0.1" })
    local fix = ns.doctor(lab.h2, { port = 80 })[1].fix
    assert.is_true(lab.h2:run({ "sh", "-c", fix }).ok)
    assert.is_true(lab.h1:tcp("h2", 80, { family = "inet" }).ok)
    -- a neighbour who sends to other addresses of the loopback
    lab.h2:serve("sink", { address = "127.0.0.77", port = 81 })
    lab.h1:sysctl("net.ipv4.conf.eth0.route_localnet", 1)
    lab.h1.route:delete { "127.0.0.0/8", table = "local", type = "local" }
    lab.h1.route:add { "127.0.0.77/32", via = lab.h2:address_of(), dev = "eth0" }
    local from = { from = lab.h1:address_of(), timeout = "300ms" }
    assert.equal("ETIMEDOUT", lab.h1:tcp("127.0.0.77", 81, from).error)
    assert.is_true(lab.h2:run({ "nft", "flush", "chain", "ip", "nslua_tcp_80", "guard" }).ok)
    from.timeout = 5
    assert.is_true(lab.h1:tcp("127.0.0.77", 81, from).ok)
    assert.equal("", told(ns.doctor(lab.h2, { port = 80 })))
  end)

  it("reads the name servers of a process that has its own files", function()
    local lab = helper.held(ns.lab "h1 -- r1")
    lab.h1:set_resolv_conf "nameserver 127.0.0.53\n"
    local p = helper.held(lab.h1:spawn { "sh", "-c", "echo up; exec sleep 600", stdout = "pipe" })
    assert.equal("up", p.stdout:read())
    local r = ns.run { HOST, "doctor", "-q", "pid:" .. p.pid }
    assert.is_truthy(r.stdout:find(("  seen  /proc/%d/root/etc/resolv.conf names 127.0.0.53\n"):format(p.pid), 1, true), r.stdout .. r.stderr)
    assert.is_nil(ns.run({ HOST, "doctor", "-q", "lab:" .. lab.name .. "/h1" }).stdout:find "127.0.0.53") -- only the script knows
  end)

  it("mends the name servers of a named namespace", function()
    helper.needs_root(pending)
    local name = "nslua-doctor-" .. ns.namespace.current("net").inode .. "-" .. math.random(1 << 30)
    local a, b = helper.held(ns.netns.add(name)), helper.held(ns.netns.new { lo = true })
    finally(function()
      ns.netns.delete(name)
      helper.sh("rm -rf /etc/netns/" .. name .. "; rmdir /etc/netns")
    end)
    a.link:change("lo", { up = true })
    ns.connect(a, b, { "10.99.0.1/24", "10.99.0.2/24" })
    a.route:add { "default", via = "10.99.0.2" }
    helper.sh(("mkdir -p /etc/netns/%s; echo nameserver 127.0.0.53 > /etc/netns/%s/resolv.conf"):format(name, name))
    local socket = helper.held(b:socket("inet", "dgram"))
    assert(require("nslua.core").packet.bind(socket, "\10\99\0\2", 53))
    local checks = { checks = { "dns_config" } }
    local found = ns.doctor(a, checks)
    assert.equal("nobody serves at the name server 127.0.0.53", found[1].problem)
    assert.is_true(found[1].outside)
    assert.is_true(ns.run({ "sh", "-c", found[1].fix }).ok)
    assert.equal("nameserver 10.99.0.2", helper.sh(("cat /etc/netns/%s/resolv.conf"):format(name)))
    assert.equal("", told(ns.doctor(a, checks)))
  end)

  it("is a command: lines, JSON, statuses", function()
    local lab = helper.held(ns.lab "h1 -- r1 -- h2")
    local r = lab.h1:run { HOST, "doctor" }
    assert.same({ 0, "nothing found\n", "" }, { r.status, r.stdout, r.stderr })
    local fault <close> = lab:fault("no_default_route", "h1")
    local name = lab.name
    r = ns.run { HOST, "doctor", ("lab:%s/h1"):format(name) }
    assert.equal(1, r.status)
    assert.is_truthy(r.stdout:find("h1: there is no default route  (sure, no_default_route)\n", 1, true), r.stdout)
    assert.is_truthy(r.stdout:find("  seen  the table main has no default route for IPv4 (rtnetlink route)\n", 1, true), r.stdout)
    -- the command is typed as it stands
    local command = r.stdout:match "  mend  ([^\n]+)\n"
    local mended = ns.run { "sh", "-c", (command:gsub("^nslua", HOST)) }
    assert.same({ true, "" }, { mended.ok, mended.stderr })
    r = ns.run { HOST, "doctor", "--json", "-q", "lab:" .. name }
    assert.same({ 0, "[]\n" }, { r.status, r.stdout })
    fault:mend()
    lab:fault("no_forwarding", "r1")
    local findings = dkjson.decode(ns.run { HOST, "doctor", "--json", "lab:" .. name }.stdout)
    assert.equal("no_forwarding", findings[1].check)
    assert.equal("r1", findings[1].place)
    for _, words in ipairs { { "--check", "rpfilter", "did you mean 'rp_filter'?" }, { "nowhere", "nowhere" },
      { "--explain", "linkdown", "did you mean 'link_down'?" }, { "--port", "80x", "a list of such expected" } } do
      local text = table.remove(words)
      r = lab.h1:run { HOST, "doctor", table.unpack(words) }
      assert.equal(2, r.status)
      assert.is_truthy(r.stderr:find(text, 1, true), r.stderr)
    end
    r = lab.h2:run { HOST, "doctor", "-p", "80", "-p", "53/udp", "-c", "not_listening" }
    assert.is_truthy(r.stdout:find "nothing listens on tcp port 80.*nothing listens on udp port 53", r.stdout)
    r = ns.run { HOST, "doctor", "--explain", "rp_filter" }
    assert.is_true(r.status == 0 and r.stdout:find "drops, without a word" ~= nil)
    r = ns.run { HOST, "doctor", "--list" }
    assert.is_true(r.status == 0 and r.stdout:find "\nno_forwarding +A host drops" ~= nil, r.stdout)
  end)

  it("takes checks of one's own, and one that stands for a built-in one", function()
    local folder = os.tmpname()
    os.remove(folder)
    helper.sh(("mkdir -p %s/checks"):format(folder))
    local function write(name, text)
      local f <close> = assert(io.open(("%s/checks/%s.lua"):format(folder, name), "w"))
      f:write(text)
    end
    write("mine", [[return { name = "mine", why = "it is mine", run = function(target, report)
      report:found { problem = "a\27[2Jb in " .. target.title, evidence = { "x", "y" }, sure = 0.3 } end }]])
    write("rp_filter", [[return { name = "rp_filter", why = "never", run = function() end }]])
    local lab = helper.held(ns.lab "h1 -- h2")
    local r = lab.h1:run { HOST, "doctor", env = { NSLUA_PATH = folder } }
    assert.equal(1, r.status)
    assert.is_truthy(r.stdout:find "^this namespace: a[^\27]+b in this namespace  %(possible, mine%)\n  seen  x\n  seen  y\n", r.stdout)
    r = lab.h1:run { HOST, "doctor", "--explain", "rp_filter", env = { NSLUA_PATH = folder } }
    assert.is_truthy(r.stdout:find("never", 1, true))
    -- one with a mistake keeps nothing else from being looked at
    for _, body in ipairs { "local x; return x.y", "report:found {}", "report:found { problem = 'p', sure = 'much' }" } do
      write("wrong", ("return { name = 'wrong', why = 'w', run = function(target, report) %s end }"):format(body))
      r = lab.h1:run { HOST, "doctor", env = { NSLUA_PATH = folder } }
      assert.is_truthy(r.status == 1 and r.stdout:find "possible, mine" and r.stderr:find "not looked at: wrong of this namespace: .-wrong.lua:1: ",
        r.stdout .. r.stderr)
    end
    write("wrong", "return {\n  no lua")
    r = lab.h1:run { HOST, "doctor", env = { NSLUA_PATH = folder } }
    assert.is_truthy(r.status == 2 and r.stderr:find "line 2, .- near 'lua' %(.-/wrong.lua%)", r.stderr)
    helper.sh(("rm %s/checks/wrong.lua"):format(folder))
    write("bad", "return 1")
    r = lab.h1:run { HOST, "doctor", env = { NSLUA_PATH = folder } }
    assert.equal(2, r.status)
    assert.is_truthy(r.stderr:find("bad.lua returns no check", 1, true), r.stderr)
    helper.sh("rm -r " .. folder)
  end)
end)
