-- --trace, NSLUA_TRACE: the lines are what was done, and sh(1) builds the same with them.

local cjson = require "cjson"
local h = require "spec.helper"

local function file(text)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write(text or "")
  f:close()
  finally(function()
    os.remove(name)
  end)
  return name
end

local function read(name)
  local f = assert(io.open(name))
  local text = f:read "*a"
  f:close()
  return text
end

-- In a mount namespace of its own, with an empty /run: names are nobody else's. Without root, in a user namespace.
local function alone(script)
  return h.sh(([[unshare %s -m --propagation private sh -c 'umount -lR /run/netns 2>/dev/null; mount -t tmpfs tmpfs /run && exec sh' <<'END'
%s
END
]]):format(h.is_root() and "" or "-Urn", script))
end

local able, why
if not (h.has "ip" and h.has "unshare") then
  why = "needs ip(8) and unshare(1)"
else
  local said, ok = alone "ip netns add trace-probe && ip netns exec trace-probe true && ip netns delete trace-probe"
  able, why = ok, "no named network namespace can be made here: " .. said
end

-- What a script prints and what its trace says; sh runs the lines afterwards where `again` is asked for.
local function traced(code, options)
  options = options or {}
  local script, trace, second = file(code), file(), file()
  local out, ok = alone(([[
    build/bin/nslua --trace=%s%s %s || exit 1
    for n in $(ls /run/netns 2>/dev/null); do ip netns delete $n; done
    %s
  ]]):format(options.all and "all:" or "", trace, script, options.again and ("sh -e %s >%s </dev/null"):format(trace, second) or ""))
  assert.is_true(ok, out:sub(-2000) .. "\n" .. read(trace))
  return out, read(trace), read(second)
end

-- What differs for reasons of its own: indexes, counters, times, how far a link has come.
local passing = { ifindex = true, link_index = true, stats64 = true, stats = true, operstate = true, gc_timer = true, hello_timer = true,
  tcn_timer = true, topology_change_timer = true, valid_life_time = true, preferred_life_time = true, tentative = true, hold_timer = true,
  forward_delay_timer = true, message_age_timer = true, probes = true, used = true, confirmed = true, updated = true, refcnt = true,
  flags = true, id = true, port_id = true }

local function canonical(value)
  if type(value) ~= "table" then
    return tostring(value)
  end
  local parts = {}
  for key, item in pairs(value) do
    if type(key) == "number" then
      parts[#parts + 1] = canonical(item)
    elseif not passing[key] then
      parts[#parts + 1] = key .. "=" .. canonical(item)
    end
  end
  table.sort(parts)
  return "{" .. table.concat(parts, " ") .. "}"
end

-- The lines of JSON in a text, each in a form that can be compared.
local function state(text)
  local out = {}
  for line in text:gmatch "[^\n]+" do
    if line:find "^%[" then
      local list = {}
      for i, item in ipairs(cjson.decode(line)) do
        list[i] = canonical(item)
      end
      table.sort(list)
      out[#out + 1] = table.concat(list, "\n")
    end
  end
  return out
end

-- Lines that begin with "kind? " only where this kernel makes that kind; a backslash goes on.
local function without_kinds(code)
  return (code:gsub("\\\n", ""):gsub("([^\n]-)%? ([^\n]*)\n", function(kind, rest)
    kind = kind:match "%S+$"
    local said, ok = alone(("ip netns add trace-kind; ip -n trace-kind link add name p type %s %s"):format(kind,
      ({ vxlan = "id 1 dstport 4789" })[kind] or ""))
    return (ok or not said:find "Unknown device type") and rest .. "\n" or ""
  end))
end

local describe_all = [[
for _, n in ipairs(all) do
  for _, what in ipairs{ "link", "address", "-4 route show table all", "-6 route show table all", "rule", "-6 rule", "neighbour" } do
    local argv = { "ip", "-d", "-j" }
    for word in what:gmatch "%S+" do argv[#argv + 1] = word end
    print(n:output(argv))
  end
end
]]

describe("a trace", function()
  it("is run by sh, and builds the same", function()
    if not able then
      return pending(why)
    end
    local out, trace, again = traced(without_kinds [[
local red, blue, anonymous = ns.netns.add "red", ns.netns.add("blue", { lo = true }), ns.netns.new{ label = "hidden" }
local all = { red, blue, anonymous }
for _, n in ipairs(all) do
  n:sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
  n:sysctl("net.ipv4.ip_forward", true)
  n.link:change("lo", { up = true, group = 5 })
end
red:set_nsid(blue, 17)
red.link:add{ name = "eth0", kind = "veth", address = "02:00:00:00:00:01", mtu = 1400, txqlen = 77, up = true, alias = "it's \"red\" # 1",
  peer = { name = "eth0", netns = blue, address = "02:00:00:00:00:02", mtu = 1400, group = 9, up = true } }
red.link:add{ name = "eth1", kind = "veth", address = "02:00:00:00:00:03", num_tx_queues = 2, peer = { name = "far", netns = anonymous,
  address = "02:00:00:00:00:04" } }
blue.link:add{ name = "moved", kind = "veth", address = "02:00:00:00:00:05", peer = { name = "stays", address = "02:00:00:00:00:06" } }
blue.link:change("moved", { netns = red, name = "came" })
red.link:change("came", { altnames = { "an-alternative-name" }, promisc = true, arp = false, allmulticast = true })
bridge? red.link:add{ name = "br0", kind = "bridge", address = "02:00:00:00:00:10", \
  bridge = { forward_delay = 4, ageing_time = 30, mcast_snooping = false, priority = 9 } }
bridge? red.link:change("eth1", { master = "br0", port = { cost = 7, hairpin = true, learning = false, isolated = true } })
bridge? red.link:change("br0", { up = true })
ifb? red.link:add{ name = "ifb7", kind = "ifb", address = "02:00:00:00:00:11" }
macvlan? red.link:add{ name = "mv", kind = "macvlan", link = "eth0", address = "02:00:00:00:00:12", macvlan = { mode = "vepa" } }
vxlan? red.link:add{ name = "vx", kind = "vxlan", address = "02:00:00:00:00:13", \
  vxlan = { id = 42, port = 4790, remote = "10.0.0.2", local_ = "10.0.0.1", dev = "eth0", \
  ttl = 5, learning = false, ageing = 60, tos = 4, udp_csum = true } }
vxlan? red.link:add{ name = "vy", kind = "vxlan", address = "02:00:00:00:00:14", \
  vxlan = { id = 43, port = 4789, group = "239.1.1.1", dev = "eth0", l2miss = true, proxy = true } }
dummy? red.link:add{ name = "d0", kind = "dummy", address = "02:00:00:00:00:15", up = true }
vlan? red.link:add{ name = "eth0.5", kind = "vlan", link = "eth0", address = "02:00:00:00:00:16", \
  vlan = { id = 5, gvrp = true, egress_qos = { { 1, 2 } } } }
red.address:add{ "10.0.0.1/24", dev = "eth0", broadcast = "+" }
red.address:add{ "10.4.0.9/24", dev = "eth0", label = "eth0:x", scope = "link", metric = 50, valid_lft = 1000, preferred_lft = 500 }
red.address:add{ "10.0.1.1/32", dev = "eth0", peer = "10.0.1.2/32", noprefixroute = true }
red.address:add{ "fd00::1/64", dev = "eth0", nodad = true }
blue.address:add{ "10.0.0.2/24", dev = "eth0" }
blue:batch(function()
  blue.address:add{ "10.0.3.1/24", dev = "eth0" }
  blue.address:add{ "127.0.0.2/8", dev = "lo" }
  blue.route:add{ "10.30.0.0/16", via = "10.0.0.1" }
end)
red.route:add{ "default", via = "10.0.0.254", metric = 100, mtu = 1300, lock = { "mtu" }, advmss = 1000, hoplimit = 9,
  initcwnd = 20, quickack = true }
red.route:add{ "10.9.0.0/16", nexthops = { { via = "10.0.0.2", weight = 3 }, { via = "10.0.0.3", dev = "eth0" } }, table = 100, proto = "static" }
red.route:add{ "10.8.0.0/16", type = "blackhole" }
red.route:add{ "10.7.0.0/16", dev = "eth0", src = "10.0.0.1", tos = 16, rtt = 80 }
red.route:add{ "10.6.0.0/16", via = "10.99.0.1", dev = "eth0", onlink = true, realms = 65538 }
red.route:add{ "10.5.0.0/16", via = "fd00::5", dev = "eth0" }
red.route:add{ "fd01::/64", via = "fd00::2", metric = 7, pref = "high" }
red.route:add{ "default", dev = "eth0", family = "inet6", metric = 3000 }
red.route:add{ "fd02::/64", nexthops = { { via = "fd00::3" }, { via = "fd00::4", weight = 2 } } }
red.route:replace{ "10.8.0.0/16", type = "unreachable" }
red.rule:add{ from = "10.0.0.0/8", fwmark = "0x1/0xff", table = 100, priority = 500 }
red.rule:add{ not_ = true, iif = "eth0", ipproto = "tcp", dport = "80-90", goto_ = 600, priority = 550, family = "inet6" }
red.rule:add{ to = "fd01::/64", action = "prohibit", priority = 600, uidrange = "0-0" }
red.rule:add{ table = "main", suppress_prefixlength = 0, priority = 700, oif = "eth0", sport = 53, ipproto = "udp" }
red.neighbour:add{ "10.0.0.7", lladdr = "02:00:00:00:00:22", dev = "eth0" }
red.neighbour:add{ "10.0.0.8", dev = "eth0", proxy = true }
red.neighbour:add{ "fd00::9", dev = "eth0", lladdr = "02:00:00:00:00:23", state = "stale", router = true }
ns.netns.attach("also-red", red)
pcall(red.link.add, red.link, { name = "eth0", kind = "veth" })
]] .. describe_all, { again = true })
    local before, after = state(out), state(again)
    assert.equal(21, #before, out)
    for i = 1, 21 do
      assert.equal(before[i], after[i], trace)
    end
    assert.truthy(before[1]:find("alias=it's", 1, true))
    assert.truthy(trace:find "\n# ip %-n red link add eth0 type veth   # [%d.]+ ms EEXIST: File exists\n", trace)
  end)

  it("says when and how each step went", function()
    if not able then
      return pending(why)
    end
    local _, trace = traced [[
local a <close> = ns.netns.add "red"
a.link:add{ name = "eth0", kind = "veth", up = true, peer = { name = "eth1" } }
a:batch(function() a.address:add{ "10.0.0.1/24", dev = "eth0" } a.address:add{ "10.0.0.2/24", dev = "eth1" } end)
a:run{ "sh", "-c", "exit 3" }
pcall(a.run, a, { "/nonexistent" })
a.link:delete(a.link:get "eth0")
]]
    local at = 1
    for _, pattern in ipairs {
      "^# /tmp/[%w_]+, pid %d+: [^\n]+\n", "ip netns add red   # [%d.]+ ms ok\n",
      "ip %-n red link add eth0 up type veth peer name eth1   # [%d.]+ ms ok\n",
      "ip %-n red address add 10.0.0.1/24 dev eth0   # [%d.]+ ms for 2 in a batch, ok\n", "ip %-n red address add 10.0.0.2/24 dev eth1   # ok\n",
      "ip netns exec red sh %-c 'exit 3' </dev/null   # [%d.]+ ms exit 3\n",
      "# ip netns exec red /nonexistent </dev/null   # [%d.]+ ms ENOENT: No such file or directory[^\n]*\n",
      "ip %-n red link delete eth0   # [%d.]+ ms ok\n$",
    } do
      local from, to = trace:find(pattern, at)
      assert.equal(at, from, pattern .. "\n" .. trace:sub(at))
      at = to + 1
    end
  end)

  it("shows each route of a batch of many alike", function()
    if not able then
      return pending(why)
    end
    local _, trace = traced [[
local a <close> = ns.netns.add("red", { lo = true })
pcall(a.batch, a, function()
  for i = 1, 4 do
    a.route:add{ ("10.1.%d.0/24"):format(i), dev = "lo", metric = 7 }
  end
  a.route:add{ "10.1.2.0/24", dev = "lo", metric = 7 }
  a.route:add{ "10.1.9.0/24", dev = "lo", table = 100 }
end)
]]
    for i = 1, 4 do
      assert.truthy(trace:find(("\nip %%-n red route add 10.1.%d.0/24 dev lo [^\n]*metric 7[^\n]*   # [^\n]*ok\n"):format(i)), trace)
    end
    assert.truthy(trace:find "\n# ip %-n red route add 10.1.2.0/24 dev lo [^\n]*   # EEXIST[^\n]+\n", trace)
    assert.truthy(trace:find "\nip %-n red route add 10.1.9.0/24 dev lo [^\n]*table 100[^\n]*   # ok", trace)
  end)

  it("shows what only reads where it is asked to, as comments", function()
    if not able then
      return pending(why)
    end
    local _, trace = traced([[
local a <close> = ns.netns.add "red"
a.link:list{ kind = "veth" }
a.route:list{ table = "main" }
a.address:list{ dev = "lo" }
pcall(a.address.list, a.address, { dev = "none" })
a.route:list{ family = "inet6" }
a.rule:list{ family = "inet" }
pcall(a.route.lookup, a.route, { "10.1.2.3", mark = 5 })
a:sysctl "net.ipv4.ip_forward"
]], { all = true })
    for _, line in ipairs { "link show type veth", "route show table main", "address show dev lo", "rule show", "link show dev lo",
      "link show dev none", "%-6 route show table all",
      "route get 10.1.2.3 mark 5" } do
      assert.truthy(trace:find("\n# ip %-n red " .. line .. "   # [%d.]+ ms [^\n]+\n"), line .. "\n" .. trace)
    end
    assert.truthy(trace:find "\n# ip netns exec red sysctl net.ipv4.ip_forward   # ", trace)
    for line in trace:gmatch "[^\n]+" do
      assert.truthy(line:find "^#" or line:find "^ip netns add", line)
    end
  end)

  it("leaves out what a change reads before", function()
    if not able then
      return pending(why)
    end
    local script = [[
local a <close> = ns.netns.add "red"
a.link:add{ name = "eth0", kind = "veth", up = true, peer = { name = "eth1" } }
a.qdisc:add{ "htb", dev = "eth0", handle = "1:" }
a.class:add{ dev = "eth0", classid = "1:1", htb = { rate = "1mbit" } }
a.class:change({ dev = "eth0", classid = "1:1" }, { htb = { ceil = "2mbit" } })
a.class:get{ dev = "eth0", classid = "1:1" }
]]
    local _, trace = traced(script)
    assert.truthy(trace:find("class change", 1, true), trace)
    assert.falsy(trace:find(" show ", 1, true), trace)
    _, trace = traced(script, { all = true })
    assert.truthy(trace:find "\n# tc %-n red class show dev eth0 classid 1:1   # [%d.]+ ms ok", trace)
    assert.falsy(trace:find "\ntc[^\n]+ show ", trace)
  end)

  it("shows programs with what they are set up by, and sh sets them up so", function()
    if not able then
      return pending(why)
    end
    local out, trace, again = traced([[
local a = ns.netns.add "red"
local function say(r) io.write(r.stdout) io.flush() end
say(a:run{ "sh", "-c", 'echo "$A|$HOME|$(pwd)|$1|$(cat)"', "sh", "it's\na 'word'", env = { A = "b c", HOME = false }, cwd = "/tmp",
  input = "text\t%s" })
say(ns.run{ "sh", "-c", "hostname; ls /mnt; findmnt -no OPTIONS /mnt | grep -o 'size=64k'", unshare = "uts,mount", hostname = "elsewhere",
  mounts = { { tmpfs = "/mnt", size = "64kb" } } })
say(ns.run{ "sh", "-c", "echo $$; set -- /proc/[0-9]*; echo $#", unshare = "pid,mount", mount_proc = true })
say(ns.run{ "sh", "-c", "ip -br link show up | grep -c lo", unshare = "net", lo = true })
say(a:run{ "sh", "-c", "echo err >&2; echo out", stderr = "stdout", timeout = 60 })
say(a:run{ "sh", "-c", "ls /sys/class/net" })
say(a:run{ "sh", "-c", "readlink /proc/self/ns/net | grep -c .", sys = false })
]], { again = true })
    assert.equal(out .. "\n", again, trace)
    assert.truthy(out:find("b c||/tmp|it's\na 'word'|text\t%s\n", 1, true), out)
    assert.truthy(out:find "elsewhere\nsize=64k\n", out)
    assert.truthy(trace:find("\ntimeout 60 ip netns exec red sh -c ", 1, true), trace)
    assert.truthy(trace:find("\nnsenter --net=/run/netns/red sh -c ", 1, true), trace)
  end)

  it("has what is undone by the end as comments, and what is undone before as lines", function()
    if not able then
      return pending(why)
    end
    local _, trace = traced [[
local a <close> = ns.netns.new{ label = "kept" }
do local b <close> = ns.netns.new{ label = "gone" } end
a.link:change("lo", { up = true })
local p = a:spawn{ "sleep", "100" }
]]
    assert.truthy(trace:find "\nip netns delete nslua%-%d+%-gone   # closed\nip %-n nslua%-%d+%-kept link set dev lo up   #", trace)
    assert.truthy(trace:find "\nip netns exec nslua%-%d+%-kept sleep 100 </dev/null & p%d+=$!   # [%d.]+ ms pid %d+\n", trace)
    assert.truthy(trace:find "\n# kill %-s TERM \"$p%d+\"   # ok\n# pid %d+ %(sleep%): SIGTERM after [%d.]+ m?s\n", trace)
    assert.truthy(trace:find "\n# ip netns delete nslua%-%d+%-kept   # closed\n$", trace)
  end)

  it("says where this process goes, and what its forks do", function()
    if not able then
      return pending(why)
    end
    local _, trace = traced [[
local a = ns.netns.add "red"
a:call(function() end)
ns.fork(function() a.link:change("lo", { up = true }) return 1 end):result(10)
a:fork(function() return 1 end):result(10)
ns.setns(a)
ns.unshare "net,uts"
ns.netns.current().link:change("lo", { mtu = 1500 })
ns.exec{ "true" }
]]
    for _, pattern in ipairs { "# nsenter %-%-net=/run/netns/red: Lua function [^\n]+:2\n", "ip %-n red link set dev lo up   #",
      "# fork: ip netns exec red %(a Lua function%)   # ", "# nsenter %-%-net=/run/netns/red   # [%d.]+ ms ok, this process\n",
      "# unshare %-%-net %-%-uts   # [%d.]+ ms ok, this process\n",
      "ip netns add nslua%-%d+%-1   # [%d.]+ ms ok, where this process is now\nip %-n nslua%-%d+%-1 link set dev lo mtu 1500   #",
      "exec true   # this process becomes the program\n$" } do
      assert.truthy(trace:find(pattern), pattern .. "\n" .. trace)
    end
  end)

  it("goes to stderr, or after what is in the file, where the environment asks for it", function()
    local script = file 'require("nslua").netns.current():close()\npcall(require("nslua").run, { "true" })'
    local out, ok = h.sh(("NSLUA_TRACE=1 %s %s 2>&1 >/dev/null"):format(h.lua, script))
    assert.is_true(ok, out)
    assert.truthy(out:find "^# [^\n]+\ntrue </dev/null   # [%d.]+ ms exit 0$", out)
    local trace = file "before\n"
    h.sh(("NSLUA_TRACE=%s %s %s"):format(trace, h.lua, script))
    assert.truthy(read(trace):find "^before\n# [^\n]+\ntrue <", read(trace))
    assert.equal("", (h.sh(("NSLUA_TRACE=0 %s %s"):format(h.lua, script))))
    assert.equal("", (h.sh(("NSLUA_TRACE=1 build/bin/nslua -E %s"):format(script))))
    assert.equal("1", (h.sh "build/bin/nslua --trace=/nonexistent/file -e 'print(1)'; echo $?"):match "%d+$")
  end)

  it("shows what commands do", function()
    if not able then
      return pending(why)
    end
    local function run(command)
      local out, ok = alone("ip netns add blue\n" .. command)
      assert.is_true(ok, out)
      return out
    end
    assert.matches("^# nslua netns add red, pid %d+: [^\n]+\nip netns add red   # [%d.]+ ms ok$", run "build/bin/nslua --trace netns add red 2>&1")
    assert.matches("\nexec ip netns exec blue env 'A=b c' true   # ", run "build/bin/nslua --trace netns exec blue env 'A=b c' true")
    assert.matches("\nip netns attach me %d+   # [%d.]+ ms ok$", run "build/bin/nslua --trace netns attach me $$")
    assert.matches("\nip netns delete blue   # [%d.]+ ms ok$", run "build/bin/nslua --trace netns delete blue")
    assert.matches("\n# ip netns delete red   # [%d.]+ ms ENOENT: ", run "build/bin/nslua --trace netns delete red || true")
    assert.matches("\nip netns set blue 5   # [%d.]+ ms ok$", run "build/bin/nslua --trace netns set blue 5")
    assert.matches("\nexec unshare %-%-uts %-%-net true   # ", run "build/bin/nslua --trace unshare -n -u true")
    assert.matches("\nexec nsenter %-%-net=/run/netns/blue true   # ", run "build/bin/nslua --trace nsenter --net=/run/netns/blue true")
  end)

  it("has stand-ins for namespaces in user namespaces, too", function()
    local userns, is_able = h.sh "unshare -Ur true"
    if not is_able then
      return pending("no user namespace here: " .. userns)
    end
    local trace = file()
    local script = file [[
local u <close> = ns.userns.new{ map_users = "root" }
local a <close> = ns.netns.new{ userns = u, label = "a b" }
a.link:add{ kind = "veth" }
a:sysctl("net.ipv4.ip_forward", 1)
a:run{ "true" }
]]
    local out, ok = h.sh(("build/bin/nslua --trace=%s %s"):format(trace, script))
    assert.is_true(ok, out)
    trace = read(trace)
    assert.matches("\n# unshare %-%-user   # [%d.]+ ms ok, held by the script\n", trace)
    assert.matches("\nip netns add nslua%-%d+%-1   # [%d.]+ ms ok, in a user namespace of the script\n", trace)
    assert.matches("\nip %-n nslua%-%d+%-1 link add veth%d type veth   # ", trace)
    assert.matches("\nip netns exec nslua%-%d+%-1 sysctl %-w net.ipv4.ip_forward=1   # ", trace)
    assert.matches("\nip netns exec nslua%-%d+%-1 true </dev/null   # [%d.]+ ms exit 0; not in the line: in its user namespace\n", trace)
  end)

  it("costs no module more where it is off", function()
    local code = "for name in pairs(package.loaded) do if name:find 'trace' then print(name) end end"
    local script = file("local ns = require 'nslua' local _ = ns.netns, ns.run, ns.netlink " .. code)
    assert.equal("", (h.sh(("%s %s"):format(h.lua, script))))
    assert.equal("", (h.sh(("build/bin/nslua %s"):format(script))))
  end)
end)
