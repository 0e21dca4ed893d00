-- Links of a lab that are pulled, put back, and moved to another switch.

local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local why = rtnl.cannot()

describe("a link that is pulled and put back", function()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  -- All routes that somebody set and all addresses of a node, as text that compares.
  local function held(node)
    local out = {}
    for _, row in ipairs(node.route:list {}) do
      if row.proto ~= "kernel" then
        local parts = { row.dst }
        for i, word in ipairs { "via", "dev", "table", "metric", "src", "proto" } do
          parts[i + 1] = tostring(row[word])
        end
        for _, hop in ipairs(row.nexthops or {}) do
          parts[#parts + 1] = ("%s %s %d"):format(hop.via, hop.dev, hop.weight)
        end
        out[#out + 1] = table.concat(parts, " ")
      end
    end
    for _, row in ipairs(node.address:list {}) do
      out[#out + 1] = ("%s %s %s"):format(row.address, row.dev, tostring(row.valid_lft))
    end
    table.sort(out)
    return out
  end

  it("has the routes and addresses again that somebody added", function()
    local lab <close> = ns.lab "h1 -- r1 -- h2"
    local r1 = lab.r1
    r1.address:add { "fd42::1/64", dev = "eth0", nodad = true }
    r1.route:add { "10.96.0.0/16", via = "10.0.1.1" }
    r1.route:add { "10.97.0.0/16", dev = "eth0", table = 77, src = "10.0.1.254", metric = 5 }
    r1.route:add { "10.98.0.0/16", nexthops = { { via = "10.0.1.1", dev = "eth0", weight = 3 }, { via = "10.0.2.2", dev = "eth1" } } }
    r1.route:add { "fd96::/64", via = "fd42::2", metric = 7, proto = "static" }
    r1.route:add { "fd98::/64", nexthops = { { via = "fd00:2::2", dev = "eth1", weight = 2 }, { via = "fd00:1::1", dev = "eth0", weight = 3 } } }
    lab.h1.route:delete { "default", family = "inet6" }
    local before, of_host = held(r1), held(lab.h1)
    local one, two = lab:link("h1", "r1"), lab:link("r1", "h2")
    one:down()
    assert.not_same(before, held(r1))
    one:up()
    assert.same(before, held(r1))
    assert.same(of_host, held(lab.h1)) -- what was taken away stays away
    -- both at the same time, either one first
    for _, first in ipairs { one, two } do
      one:down()
      two:down()
      first:up();
      (first == one and two or one):up()
      assert.same(before, held(r1))
    end
  end)

  it("leaves alone what somebody set meanwhile", function()
    local lab <close> = ns.lab "h1 -- r1 -- h2"
    lab.r1.route:add { "10.96.0.0/16", via = "10.0.1.1" }
    lab:link("h1", "r1"):down()
    lab.r1.route:add { "10.96.0.0/16", via = "10.0.2.2" }
    lab:link("h1", "r1"):up()
    assert.equal("10.0.2.2", lab.r1.route:get("10.96.0.0/16").via)
  end)

  it("keeps addresses of IPv6 that stay with their device", function()
    local lab <close> = ns.lab "h1 -- h2"
    lab.h1:sysctl("net.ipv6.conf.eth0.keep_addr_on_down", 1)
    local before = held(lab.h1)
    lab:link("h1", "h2"):down():up()
    assert.same(before, held(lab.h1))
    assert.equal(0, lab.h1:ping("h2", { family = "inet6", timeout = 5 }).loss)
  end)
end)

describe("a link that is moved to another switch", function()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  -- What the kernel holds of a lab, as text that compares; link-local addresses come in the background.
  local function state(lab)
    local out = {}
    for _, node in ipairs(lab.nodes) do
      local function put(format, ...)
        out[#out + 1] = node.node_name .. " " .. format:format(...)
      end
      for _, row in ipairs(node.link:list()) do
        put("%s %s %s %s", row.name, row.up, row.master or "-", row.address)
      end
      for _, row in ipairs(node.address:list()) do
        if row.scope ~= "link" then
          put("%s %s", row.address, row.dev)
        end
      end
      for _, row in ipairs(node.route:list()) do
        if not row.dst:find "^f[ef][80]" then
          put("%s %s %s %s", row.dst, tostring(row.via), row.dev, row.proto)
        end
      end
      put("%s", node:output { "cat", "/etc/hosts" })
    end
    table.sort(out)
    return out
  end

  local function is_like_new(lab)
    local other <close> = ns.lab(ns.lab.text(lab.topology))
    local mine, new = state(lab), state(other)
    for i, line in ipairs(mine) do -- bridges draw their addresses
      mine[i], new[i] = line:gsub("^(%S+ %S+ true %-) .*", "%1"), (new[i] or ""):gsub("^(%S+ %S+ true %-) .*", "%1")
    end
    assert.same(new, mine)
  end

  it("has an address of the other segment, and all routes and names follow", function()
    local lab <close> = ns.lab [[
      h1 -- (sw1) -- r1 -- (sw2) -- r2 -- h5
      h3 -- (sw1)
      (sw2) -- x1
    ]]
    local before = {}
    for _, name in ipairs { "h3", "x1", "h5", "r1", "r2" } do
      before[name] = lab.node[name]:address_of()
    end
    assert.equal("10.0.1.1", lab.h1:address_of "h5")
    local link, index = lab:link("h1", "sw1"), lab.h1.link:get("eth0").index
    lab.h1.route:add { "10.99.0.0/16", dev = "eth0" } -- the user's own
    assert.equal(link, link:move "sw2")
    assert.equal(link, lab:link("h1", "sw2"))
    assert.is_nil(lab:link("h1", "sw1"))
    assert.same({ "10.0.2.0/24", "fd00:2::/64" }, link.subnet)
    assert.equal("10.0.2.2", lab.h1:address_of "h5") -- x1 had .1 first
    assert.equal(index, lab.h1.link:get("eth0").index)
    assert.is_truthy(lab.h1.route:get "10.99.0.0/16")
    for name, address in pairs(before) do
      assert.equal(address, lab.node[name]:address_of())
    end
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    assert.is_true(lab.h3:run({ "ping", "-c1", "-W5", "-q", "h1" }).ok)
    assert.equal("link h1:eth0 -- sw2:h1", tostring(link))
    assert.is_truthy(lab:draw():find("h1 ─── (sw2)", 1, true), lab:draw())
    assert.is_truthy(lab:to_shell():find("ip -n sw2 link set h1 master sw2", 1, true))
    lab.h1.route:delete "10.99.0.0/16"
    is_like_new(lab)
    link:move "sw1"
    assert.equal("10.0.1.1", lab.h1:address_of())
    is_like_new(lab)
  end)

  it("keeps its addresses where both switches are one segment, and is found at once", function()
    local lab <close> = ns.lab [[
      h1 --1ms-- (sw1) -- (sw2) -- h2
                         (sw2) -- (sw3) -- h3
    ]]
    local link = lab:link("h1", "sw1")
    for _, to in ipairs { "sw2", "sw3", lab.sw1, "sw3" } do
      assert.equal(0, lab:ping_all({ timeout = 5 }).loss) -- all switches have learnt where it is
      link:move(to)
      assert.equal("10.0.1.1", lab.h1:address_of())
      assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    end
    assert.is_true(lab.h2:ping("h1", { timeout = 5 }).rtt.min >= 0.002)
    link:change { delay = "20ms" }
    assert.is_true(lab.h2:ping("h1", { timeout = 5 }).rtt.min >= 0.04)
    assert.is_true(link:counters().to.sent > 0)
    -- while it is down, it stays down
    link:down()
    link:move("sw1", { dev = "there" })
    assert.equal("link h1:eth0 -- sw1:there (down)", tostring(link))
    lab:never { "h2", "h1", timeout = "50ms" }
    link:up()
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    -- others are told of it
    local seen <close> = ns.lab.open(lab.name)
    assert.equal("link h1:eth0 -- sw1:there", tostring(seen:link("h1", "sw1")))
    assert.is_nil(seen:link("h1", "sw3"))
  end)

  it("is moved, impaired, pulled and put back by who has opened the lab too, and each sees what the other did", function()
    local lab <close> = ns.lab [[
      h1 --1ms-- (sw1) -- r1 -- (sw2) -- h2
    ]]
    lab.h2:serve("dns")
    local seen <close> = ns.lab.open(lab.name)
    local early <close> = lab:capture { links = { lab:link("h1", "sw1") }, filter = "icmp" }
    lab:link("h1", "sw1"):change { delay = "20ms" }
    assert.is_truthy(seen:draw():find("20ms", 1, true), seen:draw())
    local theirs = seen:link("h1", "sw1")
    assert.is_true(theirs:counters().to.sent > 0)
    theirs:move "sw2"
    assert.equal("10.0.2.1", seen.h1:address_of "h2")
    theirs:change { delay = "30ms", loss = 0 }
    local mine = lab:link("h1", "sw2")
    assert.equal("10.0.2.1", lab.h1:address_of "h2")
    assert.same({ "10.0.2.1" }, lab.r1:resolve("h1", { server = lab.h2:address_of "r1", timeout = 5 }).addresses)
    assert.is_true(lab.h2:ping("h1", { timeout = 5 }).rtt.min >= 0.06)
    local interfaces = {}
    for _, p in ipairs(early:packets()) do
      interfaces[p.interface] = true
    end
    assert.is_true(interfaces["sw2:h1"])
    is_like_new(lab)
    theirs:down()
    assert.equal("link h1:eth0 -- sw2:h1 (down)", tostring(lab:link("h1", "sw2")))
    lab:never { "h2", "h1", timeout = "50ms" }
    mine:up()
    assert.equal("link h1:eth0 -- sw2:h1", tostring(seen:link("h1", "sw2")))
    theirs:at(3600, { loss = "10%" })
    assert.is_truthy(lab:draw():find("at 3600s: loss 10%", 1, true), lab:draw())
    assert.same({ "at 3600s: loss 10%" }, mine:scheduled())
    mine:unschedule()
    assert.is_nil(seen:draw():find("3600", 1, true))
    mine:move "sw1"
    mine:change { delay = 0 }
    assert.equal("link h1:eth0 -- sw1:h1", tostring(seen:link("h1", "sw1")))
    assert.equal(0, seen:ping_all({ timeout = 5 }).loss)
    assert.equal(lab:draw { format = "json", addresses = true }, seen:draw { format = "json", addresses = true })
    is_like_new(seen)
  end)

  it("is moved to the end by whoever looks next, where the process that moves it is killed", function()
    local lab <close> = ns.lab [[
      h1 --1ms-- (sw1) -- r1 -- (sw2) -- h2
    ]]
    local at, to = "sw1", "sw2"
    for _, step in ipairs { "nslua.lab.build filter_vlans", "nslua.lab.build port", "nslua.lab.build settle", "nslua.lab.capture moved" } do
      local r = ns.run { "build/bin/nslua", "-e", ([[
        local module, name = ("%s"):match "(%%S+) (%%S+)"
        require(module)[name] = function() os.execute "kill -KILL $PPID" end
        ns.lab.open("%s"):link("h1", "%s"):move "%s"
      ]]):format(step, lab.name, at, to) }
      assert.equal("KILL", r.signal, r.stderr)
      assert.equal(("link h1:eth0 -- %s:h1"):format(to), tostring(lab:link("h1", to)))
      is_like_new(lab)
      at, to = to, at
    end
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    assert.is_true(lab.h2:ping("h1", { timeout = 5 }).rtt.min >= 0.002)
    local seen <close> = ns.lab.open(lab.name)
    lab:link("h1", at):down()
    seen:link("h1", at):move(to)
    lab:link("h1", to):up() -- not with what was there when it was pulled
    is_like_new(lab)
  end)

  it("does not wait for what somebody took down or away", function()
    local lab <close> = ns.lab [[
      h1 -- (sw1) -- r1 -- (sw2) -- h2
      (sw1) -- h3
    ]]
    lab.h3.link:change("eth0", { up = false })
    lab.r1.link:delete "eth1"
    lab.h2.address:delete { lab.h2:address_of("h1", "inet6"), dev = "eth0" }
    lab:link("h1", "sw1"):move "sw2"
    assert.equal("10.0.2.1", lab.h1:address_of())
  end)

  it("comes to what is captured by one interface: packets of both are in their order", function()
    local lab <close> = ns.lab "h1 -- (sw1) -- (sw2) -- h2"
    local capture <close> = lab:capture { nodes = { "sw2" }, dev = "h2", filter = "icmp" }
    lab:link("h1", "sw1"):move "sw2"
    lab.h1:ping("h2", { count = 300, interval = 0.001, timeout = 5, family = "inet" })
    local at, back, seen = 0, 0, {}
    for _, p in ipairs(capture:packets()) do
      back = back + (p.nanoseconds < at and 1 or 0)
      at, seen[p.interface] = p.nanoseconds, (seen[p.interface] or 0) + 1
    end
    assert.equal(0, back)
    assert.same({ ["sw2:h1"] = 600, ["sw2:h2"] = 600 }, seen)
  end)

  it("goes on being captured at both its ends, for a capture of the link, of a node that it comes to, and of all", function()
    local lab <close> = ns.lab "h1 -- (sw1) -- (sw2) -- h2"
    local link = lab:link("h1", "sw1")
    local path = os.tmpname()
    local of_link <close> = lab:capture { links = { link }, filter = "icmp" }
    local of_node <close> = lab:capture { nodes = { "sw2" }, filter = "icmp" }
    local left <close> = lab:capture { nodes = { "sw1" }, filter = "icmp" }
    local of_file <close> = lab:capture { file = path, filter = "icmp" }
    lab.h1:ping("h2", { timeout = 5, family = "inet" })
    link:move "sw2"
    lab.h1:ping("h2", { timeout = 5, family = "inet" })
    local function seen(packets)
      local out = {}
      for _, p in ipairs(packets) do
        out[p.interface] = (out[p.interface] or 0) + 1
      end
      return out
    end
    assert.same({ ["h1:eth0"] = 4, ["sw1:h1"] = 2, ["sw2:h1"] = 2 }, seen(of_link:packets()))
    assert.equal(2, seen(of_node:packets())["sw2:h1"])
    assert.equal(2, seen(left:packets())["sw1:h1"])
    local result, stopped = of_file:stop(), {}
    for _, each in ipairs(result.interfaces) do
      stopped[each.name] = each.packets
    end
    assert.same({ 2, 2, nil }, { stopped["sw1:h1"], stopped["sw2:h1"], result.missing })
    local recording, n = ns.capture.read(path), 0
    for p in recording:each() do
      n = n + (p.interface == "sw2:h1" and 1 or 0)
    end
    recording:close()
    os.remove(path)
    assert.equal(2, n)
  end)

  it("has the address that is said", function()
    local lab <close> = ns.lab [[
      (sw1) -- h1
      (sw1) -- r1 -- (sw2) -- h2
    ]]
    lab:link("h1", "sw1"):move("sw2", { address = "10.0.2.77/24" })
    assert.equal("10.0.2.77", lab.h1:address_of())
    assert.equal("fd00:2::1", lab.h1:address_of("h2", "inet6"))
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    is_like_new(lab)
    -- also where the segments would be others, were the lab made anew
    local other <close> = ns.lab "h1 -- (sw1)\nh2 -- (sw2)"
    other:link("h1", "sw1"):move("sw2", { address = { "10.0.2.9", "fd00:2::9" } })
    assert.same({ "10.0.2.9", "fd00:2::9", "10.0.2.2" }, { other.h1:address_of(), other.h1:address_of("h2", "inet6"), other.h2:address_of() })
    assert.equal(0, other:ping_all({ timeout = 5 }).loss)
    -- a router is moved likewise
    lab:link("r1", "sw2"):move "sw1"
    assert.equal(0, #lab.h2.route:list { "default", family = "inet" })
    assert.is_nil(lab.h1:address_of "r1")
  end)

  it("keeps its addresses where that is said, though nobody finds it by them", function()
    local lab <close> = ns.lab [[
      h1 -- (sw1) -- r1 -- (sw2) -- h2
      h3 -- (sw1)
    ]]
    local link = lab:link("h1", "sw1")
    link:move("sw2", { address = "keep" })
    assert.equal("10.0.1.1", lab.h1:address_of())
    assert.is_nil(lab.h1:address_of "h2")
    assert.is_truthy(lab.h2:output({ "cat", "/etc/hosts" }):find("10.0.1.1 h1", 1, true))
    assert.is_truthy(ns.lab.text(lab.topology):find("h1[10.0.1.1/24 fd00:1::1/64 foreign] -- (sw2)", 1, true))
    is_like_new(lab)
    local r = lab:ping_all { timeout = "200ms" }
    assert.same({ 12, 4 }, { r.sent, r.received })
    -- a route of the user's finds it; nobody remembers a redirect
    for _, dev in ipairs { "all", "eth1" } do
      lab.r1:sysctl(("net.ipv4.conf.%s.send_redirects"):format(dev), 0)
    end
    lab.r1.route:add { "10.0.1.1", dev = "eth1" }
    lab.h1.route:add { "10.0.2.254", dev = "eth0" }
    lab.h1.route:add { "default", via = "10.0.2.254" }
    assert.equal(0, lab.h1:ping("10.0.2.2", { timeout = 5 }).loss)
    lab.r1.route:delete "10.0.1.1"
    link:move "sw1"
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    link:move "sw2"
    assert.equal("10.0.2.1", lab.h1:address_of())
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
  end)

  it("keeps its VLAN, or has the one that is said", function()
    local there <close> = rtnl.netns()
    if not pcall(there.link.add, there.link, { name = "br", kind = "bridge", bridge = { vlan_filtering = true } }) then
      return pending "no VLAN filtering of bridges in this kernel"
    end
    local lab <close> = ns.lab [[
      h1 -- [vlan 10] (s1)
      (s1) -- h4
      (s1)[trunk 10] -- [trunk 10] (s2)
      (s2)[vlan 10] -- h2
      (s3) -- h5
      (s1) -- (s3)
    ]]
    local link = lab:link("h1", "s1")
    local address = lab.h1:address_of()
    local function reached()
      local out = {}
      for _, name in ipairs { "h2", "h4", "h5" } do
        local to = lab.node[name]:address_of("h1")
        out[#out + 1] = to and lab.h1:ping(to, { timeout = 5 }).received == 1 and name or nil
      end
      return table.concat(out, " ")
    end
    assert.equal("h2", reached())
    link:move "s2"
    assert.equal(address, lab.h1:address_of())
    assert.equal("h2", reached())
    is_like_new(lab)
    link:move("s3", { vlan = 1 })
    assert.equal("h4 h5", reached())
    is_like_new(lab)
    link:move("s1", { vlan = 10 })
    assert.equal("h2", reached())
    is_like_new(lab)
  end)

  it("says what cannot be, and does nothing then", function()
    local lab <close> = ns.lab [[
      h1 -- (sw1) -- (sw2) -- h2 -- h3
    ]]
    local link, before = lab:link("h1", "sw1"), state(lab)
    local function refused(what, why_not, ...)
      local ok, e = pcall(what.move, what, ...)
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(why_not, 1, true), tostring(e))
      assert.is_truthy(tostring(e):find("^spec/lab_move_spec"), tostring(e))
    end
    refused(link, "unknown node 'sw9' (did you mean 'sw1'?)", "sw9")
    refused(link, "leads there already", "sw1")
    refused(link, "is a router and no switch", "h2")
    refused(link, "10.9.0.1/24 is outside of 10.0.1.0/24", "sw2", { address = "10.9.0.1/24" })
    refused(link, "did you mean 'address'?", "sw2", { adress = "10.0.1.9" })
    refused(lab:link("sw1", "sw2"), "is between two switches", "sw1")
    refused(lab:link("h2", "h3"), "ends at no switch", "sw1")
    assert.same(before, state(lab))
    lab.sw2.link:add { name = "h1", kind = "bridge" } -- somebody's own
    before = state(lab)
    refused(link, "would be the port h1 of sw2, which has such a device", "sw2")
    assert.same(before, state(lab))
    assert.equal("link h1:eth0 -- sw1:h1", tostring(link))
    link:move("sw2", { dev = "h1-2" })
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
  end)

  it("takes a fault along, a name server, and hosts without an address", function()
    local lab <close> = ns.lab [[
      h1 -- (sw1) -- r1 -- (sw2) -- h2
      (sw3) --subnet none-- h3
    ]]
    lab.h2:serve("dns", { resolv_conf = true })
    local fault <close> = lab:fault("no_default_route", "h1")
    lab:link("h1", "sw1"):move "sw2"
    fault:mend()
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    lab:link("h2", "sw2"):move "sw1"
    assert.is_truthy(lab.h1:output({ "cat", "/etc/resolv.conf" }):find("nameserver " .. lab.h2:address_of "h1", 1, true))
    -- the names that it tells are those of now, h2's own too, also after its process was killed
    for _, name in ipairs { "h1", "h2.lab" } do
      local node = lab.node[name:match "^%w+"]
      for family, type in pairs { inet = "A", inet6 = "AAAA" } do
        local found = lab.r1:resolve(name, { server = lab.h2:address_of("r1"), type = type, timeout = 5 })
        assert.same({ node:address_of("h2", family) }, found.addresses)
      end
      lab.h2.services.dns:kill "KILL"
      ns.eventually(function()
        return lab.h2.services.dns.restarts >= 1
      end, 20)
    end
    lab:link("h1", "sw2"):move "sw3"
    assert.is_nil(lab.h1:address_of())
    assert.same({ 0, 0 }, { lab:ping_all().sent, lab:ping_all().loss }) -- nobody is left that could be asked
  end)
end)
