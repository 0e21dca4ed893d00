-- Every example, run by the host; what it prints is checked. As root, and without a right inside a user namespace.

local h = require "spec.helper"

local HOST = "build/bin/nslua"
local root = h.is_root()

-- How to run a command without rights, as root of a user namespace; or nil and why that cannot be.
local nobody = root and "setpriv --reuid=65534 --regid=65534 --clear-groups " or ""
local function userns()
  local out, ok = h.sh(nobody .. "unshare -Ur true")
  if not ok then
    return nil, "no user namespace without root: " .. out
  end
  out, ok = h.sh(nobody .. "test -x " .. HOST)
  if not ok then
    return nil, "the checkout is not readable for other users " .. out
  end
  return nobody .. "unshare -Ur "
end

local ways = { root = root and "" or nil, ["a user namespace"] = userns() }
local why_not = { root = "needs root", ["a user namespace"] = select(2, userns()) }

local function example(name, check, more)
  for _, way in ipairs{ "root", "a user namespace" } do
    local title = ("%s as %s"):format(name, way)
    if not ways[way] then
      pending(title .. ": " .. why_not[way])
    else
      it(title, function()
        local out, ok = h.sh(("%s%s examples/%s.lua %s"):format(ways[way], HOST, name, more or ""))
        assert(ok, out)
        check(out, way)
      end)
    end
  end
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    list[#list + 1] = line
  end
  return list
end

local function has(text, part)
  assert(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

describe("examples:", function()
  example("01-namespaces", function(out, way)
    local links = {}
    for _, line in ipairs(lines(out)) do
      local type, link = line:match "^(%w+)%s+(%S+)$"
      links[type] = link
    end
    for type, file in pairs{ cgroup = "cgroup", ipc = "ipc", mount = "mnt", net = "net", pid = "pid", time = "time", user = "user", uts = "uts" } do
      if type ~= "user" or way == "root" then
        assert.equal(h.sh("readlink /proc/self/ns/" .. file), links[type])
      end
    end
    assert.equal(8, #lines(out))
  end)

  example("02-unshare", function(out)
    local inside, outside = {}, {}
    for _, line in ipairs(lines(out)) do
      local type, a, b = line:match "^(%w+)%s+inside: (.-)%s+outside: (.*)$"
      inside[type], outside[type] = a, b
    end
    assert.equal("0", inside.user)
    assert.equal("web", inside.uts)
    assert.equal(h.sh "hostname", outside.uts)
    assert.equal("lo:", inside.net)
    assert.equal("1", inside.pid)
    assert.not_equal("1", outside.pid)
    assert.equal("tmpfs", inside.mount)
    assert.truthy(tonumber(inside.time) - tonumber(outside.time) >= 86400)
    for _, type in ipairs{ "ipc", "cgroup" } do
      assert.truthy(inside[type] and inside[type] ~= outside[type], type)
    end
  end)

  if h.sh "test -x /usr/lib/frr/ospfd && echo here" == "here" then
    example("24-ospf", function(out)
      assert.same({ "routes of r1: \t2", "at first:     \tr1 r2 h2", "link is down: \tr1 r3 r2 h2", "and up again: \tr1 r2 h2" }, lines(out))
    end)
  else
    pending "24-ospf: no FRR here (apt-get install frr)"
  end

  example("25-loss", function(out)
    local rows, goodput = 0, {}
    for control, loss, median, unit in out:gmatch "(%a+) +([%d.]+%%) +([%d.]+)([kM]?)" do
      rows = rows + 1
      goodput[control .. loss] = tonumber(median) * (unit == "M" and 1e6 or unit == "k" and 1e3 or 1)
    end
    assert.equal(12, rows)
    assert.is_true(goodput["reno0%"] > goodput["reno5%"], out)
  end, "1 0.3")

  example("26-bufferbloat", function(out)
    assert.truthy(out:find "cubic +10 ")
    assert.truthy(out:find "cubic +1000 ")
    assert.is_nil(out:find("failed", 1, true))
  end, "1 0.3")

  example("27-third-syn-ack", function(out)
    local l = lines(out)
    assert.truthy(l[1]:find "^connection 1: open after " and l[2]:find "^connection 2: open after ", out)
    assert.is_true(tonumber(l[3]:match "^connection 3: open after ([%d.]+) s$") >= 0.9, out)
    assert.equal("dropped: from server, port 7, flags SA", l[4])
  end)

  example("28-what-changed", function(out)
    has(out, "  ~ link eth0: mtu 1500 -> 1300\n  + route blackhole 10.99.0.0/16\n")
    local _, journal = out:match "^(.*)from the journal:\n(.*)$"
    assert.truthy(journal:find "r1:.*  %+ rule 10: from [%d./]+ action prohibit")
    assert.truthy(journal:find "h2:.*  %- route default via [%d.]+ dev eth0")
  end)

  example("29-map", function(out)
    assert.truthy(out:find "\nlab:%d+/sw.-\n  sw bridge\n  ├─ h2 ── lab:%d+/h2 eth0 ")
    has(out, "change\tlink\th1\teth0\tup = false\n")
    has(out, "new\taddress\th2\teth0\t192.0.2.7/24")
  end)

  example("30-why", function(out)
    has(out, "the router does not forward:\tr1 does not forward: net.ipv4.conf.eth0.forwarding is 0\n")
    has(out, "\tmended in r1 by:\tip route delete blackhole ")
    has(out, "\tmended in sw by:\tip link set db up\n")
    has(out, "and back: db, r1, web\nprobe: reached")
  end)

  example("03-enter", function(out)
    has(out, "host name inside: web\n")
    assert.truthy(out:find "ip %-br addr: lo +UNKNOWN +127%.0%.0%.1/8 ::1/128")
    has(out, "lo 127.0.0.1/8\n")
    has(out, "lo ::1/128\n")
    has(out, "host name outside: " .. h.sh "hostname")
  end)

  it("03-enter with a pid enters that process", function()
    local way = ways.root or ways["a user namespace"]
    if not way then
      return pending(why_not["a user namespace"])
    end
    local out, ok = h.sh(("%sunshare -nu sh -c 'hostname other; sleep 30 & exec 3>&-; %s examples/03-enter.lua $!; kill $!'"):format(way, HOST))
    assert(ok, out)
    has(out, "host name inside: other\n")
  end)

  example("04-named", function(out)
    assert.same({
      "at first:\tnone",
      "added two:\tnsdemo1 nsdemo2",
      "added again:\tfalse\tEEXIST",
      "exec:\t1: lo: <LOOPBACK>",
      "deleted one:\tnsdemo2",
      "deleted all:\tnone",
    }, lines(out))
  end)

  example("05-loopback", function(out)
    assert.same({
      "lo is down; addresses: none; ping 127.0.0.1: no answer",
      "lo is up; addresses: 127.0.0.1/8 ::1/128; ping 127.0.0.1: answered",
      "lo is down; addresses: 127.0.0.1/8; ping 127.0.0.1: no answer",
    }, lines(out))
  end)

  example("06-veth", function(out)
    assert.truthy(out:find "before: [^\n]*Network is unreachable")
    has(out, "after:  1 packets transmitted, 1 received")
    has(out, "connect: 1 received")
  end)

  example("07-bridge", function(out)
    for _, name in ipairs{ "h1", "h2", "h3" } do
      has(out, ("port %s of br0: up"):format(name))
    end
    local _, answered = out:gsub(": answered", "")
    assert.equal(6, answered)
  end)

  example("08-router", function(out)
    local l = lines(out)
    assert.equal("no answer", l[1])
    assert.equal("answered, ttl=63", l[2])
    has(out, "left: default via 10.0.1.1 dev ")
    has(out, "left: 10.0.1.0/24 direct dev ")
    assert.truthy(out:find "left reaches 10%.0%.2%.2 via 10%.0%.1%.1 dev %S+ from 10%.0%.1%.2")
  end)

  it("09-container lists the addresses, routes and listening sockets of a process", function()
    local way = ways.root or ways["a user namespace"]
    if not way then
      return pending(why_not["a user namespace"])
    end
    if not h.has "busybox" then
      return pending "busybox is not installed"
    end
    -- A namespace with an address, a route and a listener, made with the tools of the host. (Docker itself: docker_spec.)
    local out, ok = h.sh(way .. [[unshare -n sh -c '
      ip link set lo up; ip addr add 10.9.0.1/24 dev lo; ip route add default via 10.9.0.7 dev lo
      busybox httpd -f -p 10.9.0.1:8080 & httpd=$!
      until grep -q ":1F90 .* 0A " /proc/net/tcp; do kill -0 $httpd || exit 1; done
      build/bin/nslua examples/09-container.lua $$; status=$?
      kill $httpd; exit $status']])
    assert(ok, out)
    has(out, "address 10.9.0.1/24 dev lo\n")
    has(out, "address ::1/128 dev lo\n")
    has(out, "route   default via 10.9.0.7 dev lo\n")
    has(out, "listen  tcp 10.9.0.1:8080")
  end)

  it("09-container without a pid says how it is used", function()
    local out, ok = h.sh(HOST .. " examples/09-container.lua")
    assert.is_false(ok)
    has(out, "usage: nslua examples/09-container.lua PID")
  end)

  it("10-without-root", function()
    local way = nobody .. "test -x " .. HOST
    if not select(2, h.sh(way)) or not ways["a user namespace"] then
      return pending(why_not["a user namespace"] or "the checkout is not readable for other users")
    end
    local out, ok = h.sh(nobody .. HOST .. " examples/10-without-root.lua")
    assert(ok, out)
    assert.truthy(out:find "uid outside: [1-9]")
    has(out, "uid inside:  0\n")
    has(out, "ping:        1 received")
  end)

  example("11-monitor", function(out)
    local at = {}
    for i, line in ipairs(lines(out)) do
      at[line] = at[line] or i
    end
    for _, name in ipairs { "a", "b" } do
      assert.truthy(at[name .. "\texisting\tlink\tlo"])
      assert.truthy(at[name .. "\tnew\tlink\tcable"] < at[name .. "\tdelete\tlink\tcable"])
    end
    assert.truthy(at["a\tnew\taddress\t10.0.0.1/24"] and at["b\tnew\taddress\t10.0.0.2/24"])
  end)

  example("12-ethtool", function(out)
    local l = lines(out)
    assert.equal("eth0: 10000 Mbit/s, full duplex, port tp, link up", l[1])
    assert.equal("tx-checksum-ip-generic: true, then false", l[2])
    assert.truthy(l[3]:find "^channels: %d+ of (%d+), then %d+$")
    assert.equal("refused: channels.rx_count: requested channel count exceeds maximum", l[4])
    has(out, "told:\tfeatures_ntf\teth0\n")
    has(out, "told:\tchannels_ntf\teth0")
  end)

  example("13-wireguard", function(out)
    if out:find "^this kernel has no" then
      assert.equal('this kernel has no generic netlink family "wireguard" (it may be in a module that is not there: modprobe wireguard)', out)
      return
    end
    for i, name in ipairs { "a", "b" } do
      local other = 3 - i
      assert.truthy(out:find(("%s: peer [%%w+/]+..., 192%%.0%%.2%%.%d:51820, allowed 10%%.7%%.0%%.%d/32, received true, handshake true"):format(
        name, other, other)), out)
    end
  end)

  example("14-families", function(out)
    local l = lines(out)
    assert.truthy(l[1]:find "^families: nlctrl ")
    if l[2]:find "^this kernel has no" then
      return
    end
    assert.same({
      "endpoint 1: 10.0.0.1 signal",
      "endpoint 7: 2001:db8::1 subflow",
      "limits: 2 addresses, 3 subflows",
    }, { l[2], l[3], l[4] })
    assert.truthy(l[5]:find "^refused:\t.")
    assert.equal('{"endpoint":{"addr6":"2001:db8::1","family":"inet6","flags":{"backup":true,"subflow":true},"id":7,"port":0}}', l[6])
  end)

  example("15-shape", function(out)
    assert.truthy(out:find "^the far end is 20 ms away\n" or out:find "^no netem: ")
    has(out, "1:1   below root   8.0 of  8.0 Mbit/s: ")
    has(out, "1:10  below 1:1    4.0 of  8.0 Mbit/s: 100 packets, 124200 bytes\n") -- 1200 bytes of data, 42 of headers
    assert.truthy(tonumber(out:match "1:20  below 1:1    2%.0 of  2%.0 Mbit/s: (%d+) packets") >= 25)
  end)

  example("19-wire", function(out)
    if out:find "^no wire: .*/dev/net/tun" then
      return
    end
    has(out, "bad:     13 of 20 came back") -- the same ones, whoever runs it
    assert.truthy(tonumber(out:match "after ([%d.]+) ms") >= 20)
    has(out, "mended:  20 of 20 came back")
    has(out, "cut:      0 of 20 came back")
    has(out, "carrier:\tfalse")
  end)

  -- The same script under the host and under the interpreter of others, in the loop of others.
  local function in_a_loop(out)
    local at = {}
    for i, line in ipairs(lines(out)) do
      at[line] = at[line] or i
    end
    for i, name in ipairs { "a", "b" } do
      local new, address = at[name .. "\tnew\tlink\tcable"], at[("%s\tnew\taddress\t10.0.0.%d/24"):format(name, i)]
      assert.truthy(new and address and new < address, out)
      assert.truthy(address < at[name .. "\tdelete\tlink\tcable"], out)
      assert.truthy(at["status\t0"] < at[name .. "\tdelete\tlink\tcable"], out)
    end
    assert.truthy(at["said\thello"] < at["status\t0"], out)
    assert.equal(#lines(out), at["ticks\ttrue"])
  end
  for name, module in pairs { ["16-cqueues"] = "cqueues", ["17-luv"] = "luv", ["18-luasocket"] = "socket" } do
    if not select(2, h.sh(("lua5.4 -e 'require %q'"):format(module))) then
      pending(name .. ": " .. module .. " is not installed")
    else
      example(name, in_a_loop)
      it(name .. " under lua5.4", function()
        local way = ways.root or ways["a user namespace"]
        if not way then
          return pending(why_not["a user namespace"])
        end
        local out, ok = h.sh(("%senv %s examples/%s.lua"):format(way,
          "LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH='./build/?.so;;' timeout 60 lua5.4", name))
        assert(ok, out)
        in_a_loop(out)
      end)
    end
  end

  example("19-probe", function(out)
    assert.equal("ping: 3 of 3 answered\nhop 1: 10.0.1.1\nhop 2: 10.0.2.2\npath MTU 1400, said by 10.0.1.1\nport 80: ECONNREFUSED\n"
      .. "all: 4 of 4 answered", out)
  end)

  example("20-services", function(out)
    local l = lines(out)
    assert.same({ "hello from web", "you are 10.0.1.1", "log: 10.0.1.1 GET /you 200", "shop.example\tNOERROR\t192.0.2.80\tlate",
      "api.example\tSERVFAIL\t-\tlate", "none.example\tNXDOMAIN\t-\tlate", "log: 10.0.1.1 none.example A NXDOMAIN",
      "service sh on web (running)\tkilled by SIGKILL", "working as web", "working as web" }, { table.unpack(l, 1, 10) })
    assert.matches("^examples/20%-services.lua:%d+: service.wait_ready in web: sh: failed: exit status 78; given up after 2 restarts in a row "
      .. "%(cannot read my configuration$", l[11])
  end)

  example("21-traffic", function(out)
    assert.matches("^left to right by tcp: [%d.]+ Mbit/s in 0.5%d* s, %d+ retransmits\n", out)
    assert.matches("\n0.%d s  rtt +[%d.]+ ms  cwnd +%d+ +[%d.]+ Mbit/s  %d+ retransmitted\n", out)
    assert.matches("\n2mbit of UDP: it fits; one way %d+ to %d+ ms\n20mbit of UDP: much is lost; one way ", out)
    assert.matches("\ntwo at once share %d+ Mbit/s$", out)
  end)

  example("22-test", function(out)
    assert.matches("^TAP version 13\nok 1 %- the server answers\nok 2 %- nobody reaches a port that is not served\n"
      .. "ok 3 %- a router that does not forward is noticed\nok 4 %- wireguard is there.*\n1..4\n# [34] passed, 0 failed, [01] skipped$", out)
  end)

  example("23-capture", function(out)
    assert.matches("^%d+ packets at 4 interfaces, 0 dropped\n", out)
    assert.matches("\n%S+ h1:eth0 > IP 10%.%S+ > 10%.%S+%.80: TCP %[S%], seq %d+, win %d+, length 0, 74 bytes\n", out)
    assert.matches("\n%S+ r1:eth0 > IP 10%.%S+%.80 > 10%.%S+: TCP %[R[A.]*%]", out)
    assert.matches("\na SYN to port 443 arrived with a TTL of 63\n", out)
    assert.matches("\n[^\n]*lab.expect: no such packet on h1:eth0 %-%- r1:eth0 within 0.1 seconds: from h2, icmp\nseen on", out)
    assert.matches("\n  r1: eth1 is down\n", out)
  end)

  it("there is a spec for each, and each says how it is used, what it prints and what it needs", function()
    local source = assert(io.open "spec/examples_spec.lua"):read "a"
    for name in h.sh("ls examples"):gmatch "[^\n]+" do
      local text = assert(io.open("examples/" .. name)):read "a"
      has(source, (name:gsub("%.lua$", "")))
      for _, word in ipairs{ "\n-- Use:    nslua examples/" .. name, "\n-- Prints: ", "\n-- Needs:  " } do
        has(text, word)
      end
    end
  end)
end)
