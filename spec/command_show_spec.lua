-- nslua show: one page about a namespace, checked beside the tools that tell the parts of it.

local helper = require "spec.helper"
local ns = require "nslua"
local dkjson = require "dkjson"

local HOST = "build/bin/nslua"

describe("nslua show", function()
  local why = not select(2, helper.sh((helper.is_root() and "" or "unshare -Ur ") .. "unshare -n true")) and "no right to make a network namespace"
  if why then
    return pending(why)
  end

  after_each(helper.close_held)

  -- A machine with a bridge, and a container on it: both namespaces of this spec.
  local function build()
    local userns = not helper.is_root() and helper.held(ns.userns.new { map_users = "root" }) or nil
    local machine = helper.held(ns.netns.new { lo = true, userns = userns })
    local box = helper.held(ns.netns.new { lo = true, userns = userns })
    machine.link:add { name = "br0", kind = "bridge", up = true }
    machine.link:add { name = "vethbox", kind = "veth", master = "br0", up = true, peer = { name = "eth0", netns = box } }
    box.link:change("eth0", { up = true })
    box.address:add { "10.5.0.2/24", dev = "eth0" }
    box.route:add { "default", via = "10.5.0.1" }
    box.route:add { "10.9.0.0/16", type = "blackhole" }
    box.rule:add { from = "10.5.0.0/24", table = 100, priority = 50 }
    box.neighbour:add { "10.5.0.1", lladdr = "02:00:00:00:00:01", dev = "eth0" }
    box:sysctl("net.ipv4.ip_default_ttl", 17)
    return machine, box
  end

  local function show(handle, words)
    local r = handle:run { HOST, "show", table.unpack(words or {}) }
    assert.equal("", r.stderr)
    assert.equal(0, r.status)
    return r.stdout
  end

  it("tells links, addresses, routes, rules, neighbours and what is unusual", function()
    local _, box = build()
    local page = show(box)
    for _, pattern in ipairs { "eth0 +veth +up +1500 10%.5%.0%.2/24", "\n  default via 10%.5%.0%.1 dev eth0\n", "\n  blackhole 10%.9%.0%.0/16",
      "\n  50: from 10%.5%.0%.0/24 to all table 100\n", "\n  10%.5%.0%.1 dev eth0 02:00:00:00:00:01 permanent\n",
      "\n  net%.ipv4%.ip_default_ttl = 17 %(64%)\n", ("net:%%[%d%%]"):format(box.inode) } do
      assert.is_truthy(page:find(pattern), pattern .. " in " .. page)
    end
    local j = dkjson.decode(show(box, { "-j" }))
    assert.equal(box.inode, j.netns)
    local eth0
    for _, link in ipairs(j.links) do
      eth0 = link.name == "eth0" and link or eth0
    end
    assert.equal("10.5.0.2/24", eth0.addresses[1])
    local blackholes = 0
    for _, route in ipairs(j.routes) do
      blackholes = blackholes + (route.type == "blackhole" and 1 or 0)
    end
    assert.equal(1, blackholes)
  end)

  it("tells what listens, with its process, and counts the rest", function()
    if not helper.has "python3" then
      return pending "no python3 here"
    end
    local _, box = build()
    local p = box:spawn { "python3", "-c", [[
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", 8080)); s.listen(1)
t = socket.create_server(("::", 8081), family=socket.AF_INET6, dualstack_ipv6=True)
v = socket.create_server(("::1", 8082), family=socket.AF_INET6)
c = [socket.create_connection(("127.0.0.1", 8080)) for i in range(2)]
print("ready", flush=True); time.sleep(600)]], stdout = "pipe" }
    assert.equal("ready", p.stdout:read "l")
    local page = show(box)
    local line = ('tcp  127%%.0%%.0%%.1:8080 +users:%%(%%("python3",pid=%d,fd=%%d+%%)%%)  its queue is full: 2 of 1'):format(p.pid)
    assert.is_truthy(page:find(line), page)
    assert.is_truthy(page:find "\n  tcp  %*:8081 +users", page)
    assert.is_truthy(page:find "\n  tcp  %[::1%]:8082 +users", page)
    assert.is_truthy(page:find("besides: 4 tcp established", 1, true), page)
  end)

  it("follows a veth to the bridge that it is a port of", function()
    if not helper.is_root() then
      return pending "needs root: namespaces of a user namespace are seen from the machine's only"
    end
    local machine, box = build()
    local p = helper.held(ns.spawn { "sleep", "600", join = { net = box } })
    local page = helper.sh(("%s show %d"):format(HOST, p.pid))
    assert.is_truthy(page:find "vethbox in [^\n]*, port of br0", page)
    page = machine:output { HOST, "show", ("pid:%d"):format(p.pid) }
    assert.is_truthy(page:find("vethbox in the namespace of this command, port of br0", 1, true), page)
    local out, _, status = helper.sh(HOST .. " show nslua-no-such-one")
    assert.equal(1, status)
    assert.matches("nslua%-no%-such%-one", out)
  end)

  it("tells the rules around that lead to it, its own, and what is tracked; or the sections that are asked for", function()
    local machine, box = build()
    if not helper.has "nft" or machine:run({ "nft", "list", "ruleset" }).status ~= 0 then
      return pending "no nft here"
    end
    machine:output { "nft", "table ip t { chain c { type nat hook prerouting priority dstnat; tcp dport 8080 counter dnat to 10.5.0.2:80; }; }" }
    box:output { "nft", "table inet own { chain i { type filter hook input priority 0; policy drop; ct state established counter accept; }; }" }
    -- who looks has both open: a process of another user namespace may be hidden
    local seen = box:look()
    assert.equal("dnat", (seen.nat[1] or {}).kind)
    local r = box:run { HOST, "show", ".", "firewall", "routes" }
    assert.equal("", r.stderr)
    for _, text in ipairs { "FIREWALL\n  inet own i (hook input, policy drop)", "ct state established", "0 packets, 0 B", "ROUTES\n" } do
      assert.is_truthy(r.stdout:find(text, 1, true), text .. " is not in " .. r.stdout)
    end
    assert.is_nil(r.stdout:find("NEIGHBOURS", 1, true))
    if helper.is_root() then
      local p = helper.held(ns.spawn { "sleep", "600", join = { net = box } })
      local page = machine:output { HOST, "show", ("pid:%d"):format(p.pid), "published", "nat" }
      assert.is_truthy(page:find("PUBLISHED PORTS\n  tcp  *:8080 to 10.5.0.2:80   by a rule of this namespace   0 packets, 0 B", 1, true), page)
      assert.is_truthy(page:find("ip t c: tcp dport 8080 dnat to 10.5.0.2:80", 1, true), page)
    end
    r = box:run { HOST, "show", ".", "fierwall" }
    assert.equal(1, r.status)
    assert.matches("did you mean 'firewall'", r.stderr)
    r = box:run { HOST, "show", "-s", "-1", "." }
    assert.matches("0 or more", r.stderr)
    local j = dkjson.decode(box:output { HOST, "show", "-j", "-s", "10ms", ".", "counters" })
    assert.is_table(j.growth)
    assert.is_nil(j.links)
  end)

  it("is drawn again with rates by nslua watch", function()
    local machine, box = build()
    machine.address:add { "10.5.0.1/24", dev = "br0" }
    machine.link:change("br0", { address = "02:00:00:00:00:01" }) -- as box's neighbour entry has it
    local p = helper.held(box:spawn { HOST, "watch", "-n", "50ms", "-j", stdout = "pipe" })
    local rate, seen
    for _ = 1, 200 do -- until a look has one of these pings in it
      box:ping("10.5.0.1", { count = 1, timeout = 0.1 })
      seen = dkjson.decode(assert(p.stdout:read("l", 10)))
      for _, link in ipairs(seen.links) do
        rate = link.name == "eth0" and link.rates.tx_packets > 0 and link.rates.tx_packets or rate
      end
      if rate then
        break
      end
    end
    assert.is_true(rate > 0)
    assert.equal(box.inode, seen.netns)
    p:kill "INT"
    assert.is_truthy(p:wait(10))
    local text = box:output { HOST, "watch", "-c", "2", "-n", "0.01" }
    local _, times = text:gsub("LINK +STATE", "")
    assert.equal(2, times)
    assert.matches("TCP: no sockets", text)
    for i = 1, 5 do
      box.link:add { name = "v" .. i, kind = "veth", peer = { name = "w" .. i } }
    end
    local t = helper.held(box:spawn { HOST, "watch", "-n", "0.02", ".", pty = { rows = 12, columns = 60 } })
    local screen = ""
    while not screen:find "\27%[H.*\27%[H" do -- no line runs out of it at the top
      screen = screen .. assert(t.pty:read(1, 30), screen)
    end
    local _, lines = screen:match "\27%[H(.-)\27%[H":gsub("\n", "")
    assert.is_true(lines < 12, screen)
    assert.matches("and %d+ links more", screen)
    t:kill "INT"
    t:wait(10)
    assert.equal("0 B|12.5 B|842 B|1 kB|1.5 MB|1 TB|1500 TB|0.5|12|1235", box:output { HOST, "-e", [[
      local page, out = require "nslua.command.show.page", {}
      for _, n in ipairs { 0, 12.5, 841.7, 999.7, 1.5e6, 999.9e9, 1.5e15 } do out[#out + 1] = page.size(n) end
      for _, n in ipairs { 0.5, 12, 1234.6 } do out[#out + 1] = page.number(n) end
      print(table.concat(out, "|"))]] })
    for words, message in pairs { ["-n 0"] = "more than 0", ["-c x"] = "no number", ["-c -5"] = "from 1 on",
      ["-c 0"] = "from 1 on", ["-n x"] = "interval",
      ["-c 1 -n .01 . >/dev/full"] = "stdout: ENOSPC", [". db"] = "one container" } do
      local out, _, status = helper.sh(HOST .. " watch " .. words)
      assert.equal(1, status)
      assert.is_truthy(out:find(message, 1, true), out)
    end
    if helper.is_root() then
      local q = helper.held(ns.spawn { "sleep", "600", join = { net = box } })
      local w = helper.held(ns.spawn { HOST, "watch", "-n", "20ms", "-j", ("pid:%d"):format(q.pid), stdout = "pipe" })
      assert.is_truthy(w.stdout:read("l", 10)) -- a namespace without its process goes on
      w:kill "INT"
      w:wait(10)
    end
  end)

  it("shows no name that a terminal would obey", function()
    local _, box = build()
    box.link:add { name = "a\27[31m", kind = "veth", peer = { name = "b" } }
    assert.is_nil(show(box):find "\27")
  end)
end)
