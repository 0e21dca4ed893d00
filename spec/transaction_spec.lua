-- Transactions: all of it, or nothing. What is taken back is seen by ip, not by us.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local why = rtnl.cannot()
if why then
  return it("", function()
    pending(why)
  end)
end

local own_pid = assert(io.open "/proc/self/stat"):read "*n"
local a, b

-- What ip shows of a namespace, without what counts down or follows on its own. Few programs for all of it, as it is asked often:
-- a batch of ip(8) shows routes of both families, but rules of one.
local SHOWN = "sh -c 'printf \"addr\\nrule\\nroute show table all\\nneigh show nud permanent\\nneigh show proxy\\n\" | ip -d -b -; ip -6 rule'"
local function state(handle)
  local out = rtnl.inside(handle, SHOWN)
  return (out:gsub("valid_lft %d+sec", "valid_lft some")
    :gsub("preferred_lft %d+sec", "preferred_lft some"):gsub("(_timer) +[%d.]+", "%1")
    :gsub("Error: Peer netns reference is invalid%.\n?", "") -- a name in /run/netns that went while ip looked at it
    :gsub("tso_max_%a+ %d+", ""):gsub("@if%d+", "@"):gsub("state UNKNOWN", "state UP")) -- the kernel comes to it later
end

-- Lines that only one of two states has.
local function difference(before, after)
  local out = {}
  before, after = before:gsub("\n%d+: ", "\n"), after:gsub("\n%d+: ", "\n") -- a link that comes back has another index
  for sign, text in pairs { ["-"] = before, ["+"] = after } do
    local other = sign == "-" and after or before
    for line in text:gmatch "[^\n]+" do
      if not ("\n" .. other .. "\n"):find("\n" .. line .. "\n", 1, true) then
        out[#out + 1] = sign .. line
      end
    end
  end
  table.sort(out)
  return out
end

-- The pair has its carrier, and the kernel has made the routes that it makes a little later.
local function settle()
  local mon = a:monitor { "link", "route", existing = true }
  local carrier, route
  for e in mon:each(5) do
    local o = e.object
    if e.action ~= "delete" then
      carrier = carrier or o and o.name == "v0" and o.operstate == "up"
      route = route or o and o.dst == "fd00::1/128" and o.type == "local"
    end
    if carrier and route then
      break
    end
  end
  mon:close()
  assert(carrier and route, "the pair has no carrier or no route")
end

before_each(function()
  a, b = rtnl.netns "a", rtnl.netns "b"
  for _, handle in ipairs { a, b } do
    handle:sysctl("net.ipv6.conf.default.addr_gen_mode", 1) -- no addresses that come by themselves
    handle:sysctl("net.ipv6.conf.default.accept_dad", 0)
  end
  a.link:add { name = "v0", kind = "veth", peer = { name = "v1", netns = b, up = true }, up = true }
  a.address:add { "10.0.0.1/24", dev = "v0" }
  a.address:add { "fd00::1/64", dev = "v0", nodad = true }
  b.address:add { "10.0.0.2/24", dev = "v1" }
  a.route:add { "10.9.0.0/16", via = "10.0.0.2", metric = 5, mtu = 1300 }
  a.rule:add { from = "10.0.0.0/8", table = 100, priority = 77 }
  a.neighbour:add { "10.0.0.7", dev = "v0", lladdr = "02:00:00:00:00:02" }
  settle()
end)

after_each(rtnl.close)

-- Nothing is left of `fn` when it fails at its end.
local function undone(fn)
  local before_a, before_b = state(a), state(b)
  local during
  local ok, e = pcall(ns.transaction, { a, b }, function()
    fn()
    during = state(a) .. state(b)
    error("the end", 0)
  end)
  assert.is_false(ok)
  assert.equal("the end", e)
  assert.not_equal(before_a .. before_b, during)
  settle()
  pcall(ns.eventually, function() -- carriers follow a little later
    return #difference(before_a, state(a)) == 0
  end, 10)
  assert.same({}, difference(before_a, state(a)))
  assert.same({}, difference(before_b, state(b)))
end

describe("transaction", function()
  it("keeps what was done where the function ends, and returns what it returns", function()
    local x, y, z = a:transaction(function()
      a.address:add { "10.1.0.1/24", dev = "v0" }
      return 1, nil, 3
    end)
    assert.same({ 1, 3 }, { x, z })
    assert.is_nil(y)
    assert.truthy(a.address:get { "10.1.0.1/24", dev = "v0" })
  end)

  it("gives the verbs' rows to the function, also in a batch, whose requests it has to see", function()
    undone(function()
      assert.equal("br0", a.link:add({ name = "br0", kind = "bridge" }).name)
      a:batch(function()
        a.address:add { "10.1.0.1/24", dev = "v0" }
        a.address:add { "10.1.0.2/24", dev = "v0" }
      end)
    end)
  end)

  it("takes back links, and both ends of one in two namespaces", function()
    undone(function()
      a.link:add { name = "br0", kind = "bridge", up = true }
      a.link:add { name = "x0", kind = "veth", master = "br0", peer = { name = "x1", netns = b }, up = true }
      b.link:add { name = "born", kind = "bridge", netns = a }
    end)
  end)

  it("takes back changes of a link: words, name, master, alias, altnames", function()
    a.link:add { name = "br0", kind = "bridge", address = "02:00:00:00:00:99" }
    a.link:change("v0", { alias = "first", altnames = { "one" } })
    undone(function()
      a.link:change("v0", { mtu = 1400, txqlen = 7, alias = "second", altnames = { "two", "three" }, group = 7 })
      a.link:change("v0", { up = false })
      a.link:change("v0", { name = "w0" })
      a.link:change("w0", { master = "br0", alias = false })
      a.link:change("br0", { bridge = { stp_state = true, ageing_time = 20 } })
      a.link:change("w0", { port = { cost = 77, hairpin = true } })
    end)
  end)

  it("puts back what a link loses while it is down or elsewhere: addresses, routes", function()
    a.route:add { "10.8.0.0/16", nexthops = { { via = "10.0.0.2", weight = 2 }, { via = "10.0.0.3" } } }
    a.route:add { "fd01::/64", via = "fd00::2" }
    a.neighbour:add { "10.0.0.77", dev = "v0", proxy = true }
    undone(function()
      a.link:change("v0", { up = false })
    end)
    undone(function()
      a.link:change("v0", { netns = b, name = "guest" })
    end)
    undone(function()
      a.link:change("v0", { mtu = 1000 })
    end)
  end)

  it("takes back links of a group", function()
    a.link:add { name = "g0", kind = "bridge", group = 9, mtu = 1400 }
    a.link:add { name = "g1", kind = "bridge", group = 9, up = true }
    a.link:change("g0", { up = true })
    a.link:change("g0", { up = false })
    undone(function()
      a.link:change({ group = 9 }, { mtu = 1300, up = true })
    end)
  end)

  it("takes back addresses, with those and the routes that went with them", function()
    a.address:add { "10.0.0.11/24", dev = "v0", label = "v0:x" }
    a.address:add { "10.0.0.12/24", dev = "v0", valid_lft = 4000, preferred_lft = 3000 }
    undone(function()
      a.address:delete { "10.0.0.1/24", dev = "v0" }
      a.address:delete({ "10.0.0.11/24", dev = "v0" }, { absent = "ok" })
      a.address:delete { "fd00::1/64", dev = "v0" }
      a.address:replace { "10.5.0.1/24", dev = "v0" }
    end)
    undone(function()
      a.address:change({ "10.0.0.12/24", dev = "v0" }, { metric = 700 })
    end)
  end)

  it("takes back routes: added, changed, moved, replaced, deleted", function()
    undone(function()
      a.route:add { "10.7.0.0/16", via = "10.0.0.2", table = 1000 }
      a.route:change({ "10.9.0.0/16", metric = 5 }, { mtu = 1200 })
      a.route:change({ "10.9.0.0/16", metric = 5 }, { metric = 6 })
      a.route:replace { "10.9.0.0/16", via = "10.0.0.3", metric = 6 }
      a.route:delete { "10.9.0.0/16", metric = 6 }
      a.route:add { "10.66.0.0/16", type = "blackhole" }
    end)
  end)

  it("takes back routes of IPv6, of nexthop objects, and those behind another, in their order", function()
    a.nexthop:add { id = 1, via = "10.0.0.2", dev = "v0" }
    a.route:add { "10.6.0.0/16", nhid = 1 }
    for i = 3, 5 do
      a.route:append { "10.8.0.0/16", via = "10.0.0." .. i }
    end
    a.route:add { "fd01::/64", via = "fd00::2", metric = 5 }
    a.route:add { "default", via = "fd00::2" }
    undone(function()
      a.route:replace { "10.6.0.0/16", via = "10.0.0.3" }
      a.route:append { "10.8.0.0/16", via = "10.0.0.6" }
      a.route:delete { "10.8.0.0/16", via = "10.0.0.3" }
    end)
    undone(function()
      a.route:replace { "fd01::/64", via = "fd00::3" }
      a.route:replace { "default", via = "fd00::3" }
      a.route:delete { "default", family = "inet6" }
    end)
    undone(function()
      a.nexthop:delete(1)
    end)
    assert.matches("10%.0%.0%.3.*10%.0%.0%.4.*10%.0%.0%.5", (rtnl.inside(a, "ip route show 10.8.0.0/16")))
  end)

  it("takes back what is told of a link by its flags, and what a port loses with its bridge", function()
    a.link:add { name = "br0", kind = "bridge", address = "02:00:00:00:00:99", up = true }
    a.link:change("v0", { master = "br0" })
    a.link:change("v0", { port = { cost = 33, hairpin = true, learning = false } })
    a.fdb:add { "02:00:00:00:00:aa", dev = "v0", master = true, state = "static" }
    ns.eventually(function()
      return a.link:get("br0").operstate == "up" and a.link:get("v0").port.state == "forwarding"
    end, 10)
    undone(function()
      a.link:change("v0", { arp = false, multicast = false, allmulticast = true, address = "02:00:00:00:00:98" })
    end)
    assert.same({ "10.0.0.7" }, { a.neighbour:list { state = "permanent" }[1].dst })
    undone(function()
      a.link:change("v0", { master = false })
    end)
    assert.equal("static", a.fdb:list({ "02:00:00:00:00:aa" })[1].state)
    -- also by a move to another namespace, after which it has another index
    local vlans = pcall(a.link.change, a.link, "br0", { bridge = { vlan_filtering = true } }) -- not every kernel has them
    if vlans then
      a.bridge_vlan:add { dev = "v0", vid = "10-12", untagged = true }
    end
    a.mdb:add { dev = "br0", port = "v0", grp = "239.1.1.1", state = "permanent", vid = vlans and 10 or nil }
    local function port()
      local out = {}
      for _, words in ipairs { "vlan show dev v0", "fdb show dev v0", "mdb show dev br0" } do
        out[#out + 1] = rtnl.inside(a, ("sh -c 'bridge %s | sort'"):format(words))
      end
      return table.concat(out)
    end
    local before = port()
    undone(function()
      a.link:change("v0", { master = false })
    end)
    assert.equal(before, port())
    assert.matches((vlans and "10.*11.*12.*" or "") .. "02:00:00:00:00:aa.*239%.1%.1%.1", (before:gsub("\n", " ")))
    undone(function()
      a.link:change("v0", { netns = b, name = "guest" })
    end)
    assert.equal(before, port())
  end)

  it("takes back words that are spelled in another way, what a port of a bond loses, what polices, and VLANs of a bridge with STP", function()
    a.link:add { name = "br0", kind = "bridge" }
    a.link:add { name = "p0", kind = "veth", peer = { name = "p1" }, master = "br0" }
    undone(function()
      a.link:change("v0", { txqueuelen = 77 })
      a.link:change("br0", { bridge = { mcast_last_member_count = 5, group_address = "01:80:c2:00:00:09" } })
      a.link:change("p0", { port = { mcast_fast_leave = true } })
    end)
    if pcall(a.link.change, a.link, "br0", { bridge = { vlan_filtering = true, stp_state = true } }) then
      a.bridge_vlan:add { dev = "p0", vid = "10-12", untagged = true }
      undone(function()
        a.bridge_vlan:delete { dev = "p0", vid = 11 }
        a.link:change("p0", { alias = "seen by ip" })
      end)
      assert.same({ "p0" }, { a.bridge_vlan:get({ dev = "p0", vid = 11 }).dev })
    end
    if rtnl.has_kind "gre" then
      a.link:add { name = "g0", kind = "gre", gre = { local_ = "10.0.0.1", remote = "10.0.0.9", key = 7 } }
      undone(function()
        a.link:change("g0", { gre = { remote = "10.0.0.2", key = 8 } })
      end)
    end
    if rtnl.has_kind "bond" then
      a.link:add { name = "b0", kind = "bond", bond = { mode = "active-backup" } }
      a.link:add { name = "d0", kind = "dummy", master = "b0", port = { queue_id = 2 } }
      undone(function()
        a.link:change("d0", { master = false })
      end)
    end
    if rtnl.has_kind "vlan" then
      a.link:add { name = "l0", kind = "vlan", link = "v0", vlan = { id = 7, egress_qos = { { 1, 2 } }, reorder_hdr = false } }
      assert.is_false(a.link:get("l0").vlan.reorder_hdr)
      undone(function()
        a.link:change("l0", { vlan = { egress_qos = { { 1, 5 }, { 3, 4 } }, reorder_hdr = true } })
      end)
    end
    if rtnl.has_kind "macvlan" then
      a.link:add { name = "m0", kind = "macvlan", link = "v0",
        macvlan = { mode = "source", macaddr_mode = "set", macaddr_data = { "02:00:00:00:00:01" } } }
      undone(function()
        a.link:change("m0", { macvlan = { mode = "source", macaddr_mode = "set", macaddr_data = { "02:00:00:00:00:02", "02:00:00:00:00:03" } } })
      end)
    end
    a.qdisc:add { "clsact", dev = "v0" }
    local police = { "police", rate = "1mbit", burst = "10kb", exceed = "drop" }
    if pcall(a.filter.add, a.filter, { "matchall", dev = "v0", parent = "ingress", pref = 3, action = police }) then
      local before = a.filter:get({ dev = "v0", parent = "ingress", pref = 3 }).action[1]
      pcall(a.transaction, a, function()
        a.filter:delete { dev = "v0", parent = "ingress", pref = 3 }
        error "no"
      end)
      local after = a.filter:get({ dev = "v0", parent = "ingress", pref = 3 }).action[1]
      assert.same({ before.rate, before.burst, before.exceed }, { after.rate, after.burst, after.exceed })
    end
  end)

  it("keeps the order of addresses and of rules, and labels after a rename", function()
    a.address:add { "10.0.0.11/24", dev = "v0", label = "v0:x" }
    a.address:add { "10.0.0.12/24", dev = "v0" }
    a.rule:add { from = "10.1.0.0/16", table = 101, priority = 77 }
    local function order()
      return rtnl.inside(a, "ip -o -4 addr show dev v0") .. rtnl.inside(a, "ip rule")
    end
    local before = order()
    undone(function()
      a.link:change("v0", { up = false }) -- older kernels rename no other
      a.link:change("v0", { name = "w0" })
      a.address:delete { "10.0.0.11/24", dev = "w0" }
      a.rule:delete { from = "10.0.0.0/8" }
    end)
    assert.equal(before, order())
  end)

  it("takes back rules and neighbours", function()
    undone(function()
      a.rule:add { to = "10.3.0.0/16", table = 101, priority = 78 }
      a.rule:change(77, { table = 102 })
      a.rule:delete(77)
      a.neighbour:change({ "10.0.0.7", dev = "v0" }, { lladdr = "02:00:00:00:00:03" })
      a.neighbour:delete { "10.0.0.7", dev = "v0" }
      a.neighbour:add { "10.0.0.8", dev = "v0", lladdr = "02:00:00:00:00:04" }
    end)
  end)

  it("takes back what ensure did, and sysctls", function()
    a:sysctl("net.ipv4.conf.v0.rp_filter", 0)
    local ok = pcall(a.transaction, a, function()
      a.address:ensure { "10.1.0.1/24", dev = "v0" }
      a.link:ensure { name = "v0", mtu = 1300 }
      a.rule:ensure { priority = 79, table = 103 }
      a:sysctl("net.ipv4.conf.v0.rp_filter", 2)
      error "no"
    end)
    assert.is_false(ok)
    assert.is_nil(a.address:get { "10.1.0.1/24", dev = "v0" })
    assert.equal(1500, a.link:get("v0").mtu)
    assert.is_nil(a.rule:get(79))
    assert.equal(0, a:sysctl "net.ipv4.conf.v0.rp_filter")
  end)

  it("goes on with the kernel's error", function()
    local ok, e = pcall(a.transaction, a, function()
      a.address:add { "10.1.0.1/24", dev = "v0" }
      a.link:add { name = "v0", kind = "bridge" }
    end)
    assert.is_false(ok)
    assert.equal("EEXIST", e.code)
    assert.is_nil(e.rollback)
    assert.is_nil(a.address:get { "10.1.0.1/24", dev = "v0" })
  end)

  it("takes back a part of itself, where its error is caught, and the part with the whole", function()
    a:transaction(function()
      a.address:add { "10.1.0.1/24", dev = "v0" }
      pcall(a.transaction, a, function()
        a.address:add { "10.1.0.2/24", dev = "v0" }
        error "inner"
      end)
      assert.is_nil(a.address:get { "10.1.0.2/24", dev = "v0" })
    end)
    assert.truthy(a.address:get { "10.1.0.1/24", dev = "v0" })
    pcall(a.transaction, a, function()
      a:transaction(function()
        a.address:add { "10.1.0.3/24", dev = "v0" }
      end)
      error "outer"
    end)
    assert.is_nil(a.address:get { "10.1.0.3/24", dev = "v0" })
  end)

  it("says what could not be taken back, and takes back the rest", function()
    local ok, e = pcall(a.transaction, a, function()
      a.address:add { "10.1.0.1/24", dev = "v0" }
      local row = a.link:add { name = "br0", kind = "bridge", mtu = 1400 }
      a.link:change(row, { mtu = 1300 })
      rtnl.set(a, "link del br0")
      a.address:add { "10.1.0.2/24", dev = "v0" }
      error("wrong", 0)
    end)
    assert.is_false(ok)
    assert.equal(1, #e.rollback)
    assert.equal("link.change", e.rollback[1].call)
    assert.equal("ENODEV", e.rollback[1].error.code)
    assert.truthy(tostring(e):find("wrong", 1, true))
    assert.truthy(tostring(e):find("link.change was not taken back", 1, true))
    assert.is_nil(a.address:get { "10.1.0.1/24", dev = "v0" })
    assert.is_nil(a.address:get { "10.1.0.2/24", dev = "v0" })
  end)

  it("raises for what has no inverse, and for other namespaces", function()
    local function message(fn)
      local _, e = pcall(a.transaction, a, fn)
      return tostring(e)
    end
    assert.truthy(message(function() a.link:delete "v0" end):find("link.delete has no inverse", 1, true))
    assert.truthy(message(function() a:set_nsid(b, 77) end):find("set_nsid has no inverse", 1, true))
    assert.truthy(message(function() b.link:add { name = "br0", kind = "bridge" } end):find("is not among the namespaces", 1, true))
    assert.truthy(message(function() a.link:replace { name = "v0", kind = "bridge" } end):find("no inverse", 1, true))
    assert.truthy(a.link:get "v0")
    assert.truthy(tostring(select(2, pcall(ns.transaction, {}, print))):find("a list of netns handles", 1, true))
    assert.truthy(tostring(select(2, pcall(ns.transaction, { a }, 7))):find("function", 1, true))
    assert.truthy(tostring(select(2, pcall(a.batch, a, function() a:transaction(print) end))):find("not the other way", 1, true))
    b.link:add { name = "br0", kind = "bridge" } -- outside nothing is watched
  end)

  it("is taken back where one of its namespaces is closed", function()
    local c = rtnl.netns "c"
    local ok, e = pcall(ns.transaction, { a, c }, function()
      a.address:add { "10.1.0.1/24", dev = "v0" }
      c:close()
      a.address:add { "10.1.0.2/24", dev = "v0" }
    end)
    assert.is_false(ok)
    assert.truthy(tostring(e):find("was closed, so all was taken back", 1, true))
    assert.equal(1, #a.address:list { dev = "v0", family = "inet" })
    a.address:add { "10.1.0.1/24", dev = "v0" }
  end)

  it("cannot be left by a yield", function()
    local co = coroutine.wrap(function()
      a:transaction(function()
        a.address:add { "10.1.0.1/24", dev = "v0" }
        coroutine.yield()
      end)
    end)
    assert.is_false((pcall(co)))
    assert.is_nil(a.address:get { "10.1.0.1/24", dev = "v0" })
    a.address:add { "10.1.0.1/24", dev = "v0" }
  end)
end)

describe("a transaction that is ended from outside", function()
  local host = helper.sh "pwd" .. "/build/bin/nslua"

  local function left_of(script)
    local before = state(a)
    local path = helper.sh "mktemp"
    local f = assert(io.open(path, "w"))
    f:write(([[
      local a <close> = ns.netns.open "/proc/%d/fd/%d"
      a:transaction(function()
        a.address:add { "10.1.0.1/24", dev = "v0" }
        a.route:replace { "10.9.0.0/16", via = "10.0.0.3", metric = 5 }
        print "done"
        io.stdout:flush()
        %s
      end)]]):format(own_pid, a.fd:number(), script))
    f:close()
    local out = helper.sh(host .. " - <" .. path .. " 2>/dev/null")
    os.remove(path)
    assert.equal("done", out)
    assert.same({}, difference(before, state(a)))
  end

  it("by os.exit", function()
    helper.needs_root(pending) -- to open another process's namespace
    left_of "os.exit(3)"
  end)

  it("by a signal", function()
    helper.needs_root(pending)
    left_of "ns.run { 'sh', '-c', 'kill -INT $PPID' } while true do end"
    left_of "pcall(function() ns.run { 'sh', '-c', 'kill -TERM $PPID' } while true do end end)"
  end)

  it("by a signal that comes when the kernel has done it, and before that is noted", function()
    helper.needs_root(pending)
    local late = [[
      local netlink = require "nslua.netlink"
      local write = netlink.write
      netlink.write = function(request)
        netlink.write = write
        local replies = write(request)
        ns.run { "sh", "-c", "kill -INT $PPID" }
        return replies
      end
      a.address:add { "10.2.0.7/24", dev = "v0" }
      while true do end]]
    left_of(late)
    left_of("a:transaction(function() " .. late .. " end)")
  end)

  it("by a signal while it is taken back", function()
    helper.needs_root(pending)
    left_of [[
      local netlink = require "nslua.netlink"
      local exchange = netlink.exchange
      netlink.exchange = function(request)
        netlink.exchange = exchange
        ns.run { "sh", "-c", "kill -INT $PPID" }
        return exchange(request)
      end
      error "wrong"]]
  end)
end)
