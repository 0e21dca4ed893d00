-- Labs on the running kernel: what is built, what it does, and that nothing is left.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("a lab", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local lab

  local function build(nodes, links, more)
    local topology = { nodes = {}, links = links }
    for i, name in ipairs(nodes) do
      local kind = name:find "^r" and "router" or name:find "^s" and "switch" or "host"
      topology.nodes[i] = { name = name, kind = kind }
    end
    for key, value in pairs(more or {}) do
      topology[key] = value
    end
    lab = ns.lab(topology)
    return lab
  end

  after_each(function()
    if lab then
      lab:close()
      lab = nil
    end
  end)

  local function reaches(from, to, ...)
    return from:run({ "ping", "-c1", "-W1", "-q", ..., to }).ok
  end

  it("joins hosts by a switch, addressed in both families", function()
    build({ "s1", "h1", "h2" }, { { "h1", "s1" }, { "h2", "s1" } })
    assert.equal("10.0.1.1", lab.h1:address_of())
    assert.equal("fd00:1::2", lab.h2:address_of("h1", "inet6"))
    assert.equal("10.0.1.2", lab.h2:address_of(lab.h1))
    assert.is_true(reaches(lab.h1, "h2", "-4"))
    assert.is_true(reaches(lab.h1, "h2", "-6"))
    assert.same({ "10.0.1.0/24", "fd00:1::/64" }, lab:link("h1", "s1").subnet)
  end)

  it("takes no node of another lab for its own of that name", function()
    build({ "h1", "h2" }, { { "h1", "h2" } })
    local other <close> = ns.lab "h1 -- h2"
    local copy <close> = ns.lab.open(lab.name)
    lab:expect { copy.h1, copy.h2, within = 5 } -- that is the same one
    for call, fn in pairs { ["node.traffic"] = function() lab.h1:traffic(other.h2) end, ["lab.expect"] = function() lab:expect { "h1", other.h2 } end,
      ["lab.link"] = function() lab:link("h1", other.h2) end, ["lab.fault"] = function() lab:fault("link_down", other.h2) end,
      address_of = function() lab.h1:address_of(other.h2) end, ["lab.capture"] = function() lab:capture { nodes = { other.h2 } } end } do
      local ok, e = pcall(fn)
      assert.is_false(ok, call)
      assert.matches(call:gsub("%.", "%%.") .. ": h2 is a node of another lab", tostring(e))
      assert.matches("lab_spec.lua:%d+: ", tostring(e))
    end
  end)

  it("routes between all of them, the shortest way", function()
    build({ "h1", "r1", "r2", "r3", "h2" }, { { "h1", "r1" }, { "r1", "r2" }, { "r2", "r3" }, { "r1", "r3" }, { "r3", "h2" } })
    for _, family in ipairs { "-4", "-6" } do
      assert.is_true(reaches(lab.h1, "h2", family))
      assert.is_true(reaches(lab.h2, "r2", family))
    end
    local far = lab.h2.plan.interfaces[1].segment.inet
    assert.equal(lab.r3:address_of("r1"), lab.r1.route:get(far).via)
  end)

  it("has links that can be pulled and put back, with the routes over them", function()
    build({ "h1", "r1", "h2" }, { { "h1", "r1" }, { "r1", "h2" } })
    local link = lab:link("r1", "h2")
    assert.equal(link, lab.h2:link_to "r1")
    link:down()
    assert.is_false(reaches(lab.h1, "h2", "-4"))
    assert.is_truthy(tostring(link):find("(down)", 1, true))
    link:up()
    assert.is_true(reaches(lab.h1, "h2", "-4"))
    assert.is_true(reaches(lab.h1, "h2", "-6"))
  end)

  it("puts back what its user set, too, when a link is up again", function()
    build({ "h1", "r1", "h2" }, { { "h1", "r1" }, { "r1", "h2" }, { "h1", "r1" } })
    local h1 = lab.h1
    local first, second = lab:link("h1", "r1"), lab:link("h1", "r1", 2)
    local function hop(link, family)
      local side = link.ends[1].node == h1 and 1 or 2
      return { via = link.plan.ends[3 - side][family], dev = link.ends[side].dev }
    end
    local one, other, six = hop(first, "inet"), hop(second, "inet"), hop(first, "inet6")
    h1.address:add { "fd77::1/64", dev = one.dev, nodad = true }
    h1.address:add { "10.77.0.1/24", dev = one.dev }
    h1.route:add { "192.0.2.0/24", via = one.via, dev = one.dev, metric = 7, src = "10.77.0.1" }
    h1.route:add { "192.0.3.0/24", dev = one.dev, table = 100 }
    h1.route:add { "2001:db8:1::/48", via = six.via, dev = six.dev }
    h1.route:add { "198.51.100.0/24", nexthops = { one, other } }
    h1.route:add { "192.0.4.0/24", via = one.via, dev = one.dev, mtu = 1300 }
    h1.route:delete { "default" } -- the lab's own: it stays away
    local function told()
      local out = {}
      for _, row in ipairs(h1.route:list()) do
        if row.proto == "boot" then
          out[#out + 1] = ("%s %s %s %s %s %s"):format(row.dst, row.table, row.via or #(row.nexthops or {}), row.metric, row.src, row.mtu)
        end
      end
      for _, row in ipairs(h1.address:list()) do
        out[#out + 1] = row.scope ~= "link" and row.address .. " " .. row.dev or nil
      end
      table.sort(out)
      return out
    end
    local before = told()
    assert.is_truthy(table.concat(before, "\n"):find("fd77::1/64 " .. one.dev, 1, true))
    first:down()
    assert.is_true(#told() < #before)
    first:up()
    assert.same(before, told())
    first:down()
    second:down()
    first:up() -- the route over both waits for the second
    assert.is_truthy(h1.route:get "192.0.2.0/24")
    second:up()
    assert.same(before, told())
  end)

  it("gives programs their node's name, and the names of all nodes", function()
    build({ "h1", "r1", "h2" }, { { "h1", "r1" }, { "r1", "h2" } })
    assert.equal("h1", lab.h1:output { "hostname" })
    assert.equal("h2", lab.h2:output { "uname", "-n" })
    local hosts = lab.h1:output { "cat", "/etc/hosts" }
    assert.is_truthy(hosts:find(lab.h2:address_of "h1" .. " h2", 1, true))
    assert.is_truthy(hosts:find("127.0.0.1 localhost", 1, true))
    assert.equal("", lab.h1:output { "cat", "/etc/resolv.conf" })
    assert.equal("lo", lab.h1:output({ "sh", "-c", "ls /sys/class/net | grep lo" }))
    assert.not_equal(hosts, helper.sh "cat /etc/hosts")
    assert.equal("other", lab.h1:output { "hostname", hostname = "other" })
    assert.equal("h1", lab.h1:output { "hostname" })
  end)

  it("starts from the same settings whatever the machine has", function()
    build({ "h1", "r1" }, { { "h1", "r1" } })
    assert.equal(0, lab.h1:sysctl "net.ipv4.ip_forward")
    assert.equal(1, lab.r1:sysctl "net.ipv4.ip_forward")
    assert.equal(1, lab.r1:sysctl "net.ipv6.conf.all.forwarding")
    assert.equal(0, lab.h1:sysctl "net.ipv4.conf.all.rp_filter")
    assert.is_truthy(({ cubic = true, reno = true })[lab.h1:sysctl "net.ipv4.tcp_congestion_control"])
    lab:close()
    lab = ns.lab { nodes = { { name = "h1", kind = "host", sysctl = { ["net.ipv4.ip_default_ttl"] = 17 } } }, links = {} }
    assert.equal(17, lab.h1:sysctl "net.ipv4.ip_default_ttl")
    lab:close()
    -- one that is not there is passed over, the kernel's refusal of another is told with its path
    lab = ns.lab { nodes = { { name = "h1", sysctl = { ["net.ipv4.no_such"] = 1, ["net.ipv4.ip_forward"] = 1 } } }, links = {} }
    assert.equal(1, lab.h1:sysctl "net.ipv4.ip_forward")
    lab:close()
    local ok, e = pcall(ns.lab, { nodes = { { name = "h1", sysctl = { ["net.ipv4.ip_default_ttl"] = 1000 } } }, links = {} })
    assert.is_false(ok)
    assert.equal(22, e.errno) -- EINVAL
    assert.matches("ip_default_ttl", tostring(e), 1, true)
  end)

  it("has switches that ask no firewall, whatever modules the machine has", function()
    build({ "h1", "s1" }, { { "h1", "s1" } })
    local seen = 0
    for _, word in ipairs { "iptables", "ip6tables", "arptables" } do
      local ok, value = pcall(lab.s1.sysctl, lab.s1, "net.bridge.bridge-nf-call-" .. word)
      if ok then -- where br_netfilter is loaded
        assert.equal(0, value)
        seen = seen + 1
      end
    end
    assert.is_true(seen == 0 or seen == 3)
  end)

  it("joins switches, also in a ring", function()
    build({ "s1", "s2", "s3", "h1", "h2" }, { { "s1", "s2" }, { "s2", "s3" }, { "s3", "s1" }, { "h1", "s1" }, { "h2", "s3" } })
    assert.is_true(reaches(lab.h1, "h2", "-4"))
  end)

  it("has nodes under any name, and says what there is not", function()
    lab = ns.lab { nodes = { { name = "link", kind = "host" }, { name = "close", kind = "host" } }, links = { { "link", "close" } } }
    assert.is_true(reaches(lab.node.link, "close", "-4"))
    assert.is_nil(lab.h9)
    assert.has_error(function()
      lab:link("link", "clos")
    end)
  end)

  it("is gone when it is closed, and says so", function()
    build({ "h1", "h2" }, { { "h1", "h2" } })
    local h1 = lab.h1
    assert.is_true(lab:isopen())
    assert.is_true(lab:close())
    assert.is_true(lab:close())
    assert.is_false(lab:isopen())
    assert.has_error(function()
      h1.link:list()
    end)
  end)

  it("leaves nothing where it cannot be built", function()
    local function fds()
      collectgarbage()
      local out = {}
      for _, target in pairs(helper.fds()) do
        out[#out + 1] = target:match "^[^:]*"
      end
      table.sort(out)
      return table.concat(out, "\n")
    end
    ns.lab("h1 -- h2"):close() -- what is opened once stays
    local before = fds()
    local ok, e = pcall(ns.lab, { nodes = { { name = "h1", kind = "host" }, { name = "h2", kind = "host" } },
      links = { { "h1", "h2", ends = { { dev = "a/b" }, {} } } } })
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find("a/b", 1, true), tostring(e))
    -- what belongs to helpers that are taking down what they made closes a moment later
    pcall(ns.eventually, function()
      return fds() == before
    end, 10)
    assert.equal(before, fds())
  end)

  it("stands beside others of the same names", function()
    local one <close> = ns.lab { nodes = { { name = "h1", kind = "host" }, { name = "h2", kind = "host" } }, links = { { "h1", "h2" } } }
    build({ "h1", "h2" }, { { "h1", "h2" } })
    assert.not_equal(one.h1, lab.h1)
    assert.is_true(reaches(one.h1, "h2", "-4") and reaches(lab.h1, "h2", "-4"))
  end)

  it("is the design's own example", function()
    lab = ns.lab [[
      h1 --10ms-- r1 --10ms,100mbit-- (sw) -- h2
                                      (sw) -- h3
    ]]
    local p = lab.h1:ping(lab.h2, { count = 3, interval = "50ms" })
    assert.same({ 3, 3, 0 }, { p.sent, p.received, p.loss })
    assert.is_true(p.rtt.min >= 0.040, tostring(p.rtt.min))
    assert.is_true(lab.h2:ping("h3", { timeout = 5 }).rtt.min < 0.040)
    assert.equal(0, lab.h3:ping(lab.h1, { family = "inet6", timeout = 5 }).loss)
    local hops = lab.h1:trace "h3"
    assert.same({ lab.r1:address_of "h1", lab.h3:address_of "h1" }, { hops[1].address, hops[2].address })
  end)

  it("loses what it is told to lose, and can be told otherwise while it runs", function()
    lab = ns.lab "h1 -->100%-- h2"
    local link = lab:link("h1", "h2")
    assert.equal(1, lab.h1:ping("h2", { timeout = "100ms" }).loss)
    assert.is_true(link:counters().to.lost > 0)
    link:change { to = { loss = false }, from = { delay = "20ms" } }
    assert.equal(0, lab.h1:ping("h2", { timeout = 5 }).loss)
    assert.is_true(lab.h1:ping("h2", { timeout = 5 }).rtt.min >= 0.020)
    assert.has_error(function()
      link:change { dealy = 1 }
    end)
    lab:close()
    lab = ns.lab "h1 -- h2"
    assert.has_error(function()
      lab:link("h1", "h2"):change { delay = 1 }
    end)
  end)

  it("has bursts of loss in tc(8)'s order in its script", function()
    lab = ns.lab "a -->loss gemodel p 1% r 10% h 25% k 50%, <loss gemodel p 25%-- b"
    local script = lab:to_shell()
    assert.is_truthy(script:find("dev eth0 root netem loss gemodel 1% 10% 75% 50%\n", 1, true), script)
    assert.is_truthy(script:find("dev eth0 root netem loss gemodel 25% 75% 100% 0%\n", 1, true), script)
  end)

  it("asks everybody of everybody", function()
    lab = ns.lab [[ h1 -- (s1) -- h2
                    (s1) -- r1 -- h3 ]]
    local r = lab:ping_all { timeout = 5 }
    assert.same({ 12, 12, 0, 12 }, { r.sent, r.received, r.loss, #r.pairs })
    assert.is_true(r.pairs[1].from == lab.h1 and r.pairs[1].to == lab.h2)
    lab:link("r1", "h3"):down()
    r = lab:ping_all { family = "inet", timeout = "200ms" }
    assert.same({ 6, 2 }, { r.sent, r.received })
    assert.equal(2, lab:ping_all({ family = "inet", nodes = { "h1", lab.h2 }, timeout = 5 }).received)
    assert.has_error(function()
      lab:ping_all { nodes = { "h7" } }
    end)
    lab:close()
    lab = ns.lab "h1 -- h2\nh3 -- h4" -- where no way leads, nobody answers
    r = lab:ping_all { timeout = 5 }
    assert.same({ 24, 8 }, { r.sent, r.received })
  end)

  it("finds its way on equal paths, and everything on a fat tree", function()
    lab = ns.lab(ns.lab.fat_tree(4))
    local r = lab:ping_all { family = "inet6", timeout = 5, nodes = { "h1", "h2", "h5", "h16" } }
    assert.equal(0, r.loss)
    assert.is_truthy(lab.node.e1_1.route:get({ "default" }) or #lab.node.e1_1.route:list { table = "main" } > 10)
  end)

  it("is expected to be so, or never", function()
    lab = ns.lab "h1 --5ms-- r1 -- h2"
    assert.is_true(lab:expect({ "h1", "h2", timeout = 5 }).rtt.min >= 0.01)
    local function fails(verb, t)
      local ok, e = pcall(lab[verb], lab, t)
      assert.is_false(ok)
      return tostring(e)
    end
    assert.is_truthy(fails("expect", { "h1", "h2", rtt = "1ms" }):find("the median round trip is ", 1, true))
    assert.is_truthy(fails("expect", { "h1", "h2", tcp = 80 }):find("h1 does not reach h2 (tcp 80: ECONNREFUSED)", 1, true))
    assert.is_truthy(fails("never", { "h1", "h2", timeout = 5 }):find("h1 reaches h2", 1, true))
    assert.is_truthy(fails("expect", { "h1", "h9" }):find("unknown node 'h9'", 1, true))
    lab:link("r1", "h2"):down()
    lab:never { "h1", "h2", timeout = "50ms", during = "200ms" }
    local began = ns.clock()
    assert.is_truthy(fails("expect", { "h1", "h2", timeout = "20ms", within = "100ms" }):find("within 0.1 seconds", 1, true))
    assert.is_true(ns.clock() - began >= 0.1)
    lab:link("r1", "h2"):up()
    lab:expect { "h1", "h2", family = "inet6", within = 5 }
  end)

  it("of many hosts has more open files than a shell's limit, and programs have that limit", function()
    local script = os.tmpname()
    local f = assert(io.open(script, "w"))
    f:write [[
      local lab <close> = ns.lab(ns.lab.star(60))
      io.write(lab.h60:ping("h1", { timeout = 10 }).loss, " ", lab.h7:output { "sh", "-c", "ulimit -n" }, " ")
      io.write(ns.run({ "sh", "-c", "ulimit -n" }).stdout)
    ]]
    f:close()
    local host = "build/bin/nslua"
    local out = helper.sh(("ulimit -Sn 100; %s %s"):format(host, script))
    os.remove(script)
    assert.equal("0 100 100", out)
    out = helper.sh(("ulimit -n 100; %s -e 'ns.lab(ns.lab.star(60))'"):format(host))
    assert.is_truthy(out:find("EMFILE", 1, true) and out:find("ulimit -Hn", 1, true), out)
  end)

  -- What the kernel holds of a node, as ip tells it; what two builds of the same cannot have in common is left out.
  local function state(run, switch)
    local out = run("ip -br address; ip route; ip -6 route; ip -d link; "
      .. "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"):gsub(" proto %w+", "")
    out = out:gsub("@if%d+", "@"):gsub("link%-netnsid %d+", ""):gsub("link%-netns [%w_.-]+", ""):gsub(" group %w+", "")
      :gsub("timer +[%d.]+", ""):gsub("designated_cost %d+", ""):gsub("qdisc %w+", ""):gsub("qlen %d+", ""):gsub("forward_delay %d+", "")
    out = out:gsub("num[tr]xqueues %d+", "") -- how many a lab's links have is a matter of speed
    if switch then -- the order in which its ports were made
      out = out:gsub("(\n?)%d+: ", "%1"):gsub("port_no %w+ designated_port %d+", ""):gsub("port_id %w+", ""):gsub("designated_port %d+", "")
    end
    local lines = {}
    for line in out:gmatch "[^\n]+" do
      lines[#lines + 1] = line:gsub("%s+", " ")
    end
    table.sort(lines)
    return table.concat(lines, "\n")
  end

  it("has a script of ip(8) that builds the same", function()
    if not helper.has "bridge" then
      return pending "no bridge(8) here"
    elseif not helper.is_root() then
      return pending "not root: names in /run/netns"
    end
    lab = ns.lab [[ h1[10.7.0.9/24] --10.7.0.0/24, mtu 1400-- r1 -- (s1) -- h2
                    (s1) -- (s2) -- h3
                    r1 -- r2 -- h4{ipv6=off}
                    (s1) --vxlan 42 via r1 r2-- (s3) -- h5 ]]
    local prefix = ("nslua%d-"):format(io.open("/proc/self/stat"):read("n"))
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(lab:to_shell { prefix = prefix })
    f:close()
    local out, ok = helper.sh("sh " .. path)
    os.remove(path)
    local failed
    if ok then
      for _, node in ipairs(lab.nodes) do
        local switch = node.kind == "switch"
        local mine = state(function(command)
          return node:run({ "sh", "-c", command, sys = false }).stdout
        end, switch)
        local its
        local deadline = ns.clock() + 10
        repeat -- the last of it is done in the background: carriers, forwarding, link-local addresses
          its = state(function(command)
            return (helper.sh("ip netns exec " .. prefix .. node.node_name .. " sh -c '" .. command .. "'"))
          end, switch)
        until mine == its or ns.clock() > deadline
        if mine ~= its then
          failed = ("%s:\n%s\n--\n%s"):format(node.node_name, mine, its)
        end
      end
    end
    for _, node in ipairs(lab.nodes) do
      helper.sh("ip netns delete " .. prefix .. node.node_name)
    end
    assert(ok, out)
    assert(not failed, failed)
  end)
end)
