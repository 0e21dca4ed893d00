-- Addressing of labs: names of devices, subnets, addresses, and what cannot be. Pure data; the routes are in lab_routing_spec.lua.

local addressing = require "nslua.lab.addressing"
local topologies = require "spec.lab_topology"

local of = topologies.of

-- "h1 eth0 10.0.1.1/24 fd00:1::1/64", a line for every interface
local function lines(plan, names)
  local out = {}
  for _, name in ipairs(names) do
    for _, interface in ipairs(plan.node[name].interfaces) do
      out[#out + 1] = table.concat({ name, interface.dev, table.unpack(interface.addresses) }, " ")
    end
  end
  return out
end

local function plan_of(links, more)
  return addressing.plan(of(links, more))
end

-- Every name, device and address of a plan, in order.
local function all(plan)
  local out = {}
  for _, node in ipairs(plan.nodes) do
    for _, interface in ipairs(node.interfaces) do
      out[#out + 1] = table.concat({ node.name, interface.dev, interface.lladdr, table.unpack(interface.addresses) }, " ")
    end
    for _, port in ipairs(node.ports or {}) do
      out[#out + 1] = node.name .. " " .. port.dev
    end
  end
  return out
end

describe("addresses", function()
  it("read well", function()
    local plan = plan_of { { "h1", "r1" }, { "r1", "sw" }, { "sw", "h2" }, { "sw", "h3" }, { "sw", "web" }, { "sw", "x3" } }
    assert.same({ "h1 eth0 10.0.1.1/24 fd00:1::1/64", "r1 eth0 10.0.1.254/24 fd00:1::254/64", "r1 eth1 10.0.2.254/24 fd00:2::254/64",
      "h2 eth0 10.0.2.2/24 fd00:2::2/64", "h3 eth0 10.0.2.3/24 fd00:2::3/64", "web eth0 10.0.2.1/24 fd00:2::1/64",
      "x3 eth0 10.0.2.4/24 fd00:2::4/64" }, lines(plan, { "h1", "r1", "h2", "h3", "web", "x3" }))
    assert.same({ "h1--r1", "(sw)" }, { plan.segments[1].name, plan.segments[2].name })
    assert.same({ "10.0.2.0/24", "fd00:2::/64" }, { plan.segments[2].inet, plan.segments[2].inet6 })
    assert.same({ "sw" }, plan.segments[2].switches)
  end)

  it("count routers from the top, segments in hex, and beyond 255", function()
    local links = {}
    for i = 1, 300 do
      links[i] = { "r" .. i, "r" .. i + 1 }
    end
    local plan = plan_of(links)
    assert.same({ "r10 eth0 10.0.9.253/24 fd00:9::253/64", "r10 eth1 10.0.10.254/24 fd00:a::254/64" }, lines(plan, { "r10" }))
    assert.same({ "r256 eth0 10.0.255.253/24 fd00:ff::253/64", "r256 eth1 10.1.0.254/24 fd00:100::254/64" }, lines(plan, { "r256" }))
    assert.equal("10.1.44.0/24", plan.segments[300].inet)
  end)

  it("of many on one switch are out of a /16", function()
    local links = { { "r1", "sw" } }
    for i = 1, 1000 do
      links[#links + 1] = { "h" .. i, "sw" }
    end
    local plan = plan_of(links)
    assert.same({ "r1 eth0 10.1.255.254/16 fd00:1::9999/64", "h1 eth0 10.1.0.1/16 fd00:1::1/64", "h1000 eth0 10.1.3.232/16 fd00:1::1000/64" },
      lines(plan, { "r1", "h1", "h1000" }))
    assert.equal(1001, #plan.segments[1].members)
    for i = 1, 300 do -- 10.1.0.0/24 is not free for segment 256
      links[#links + 1] = { "r" .. i, "r" .. i + 1 }
    end
    plan = plan_of(links)
    assert.equal("10.0.255.0/24", plan.segments[255].inet)
    assert.same({ "10.255.255.0/24", "fd00:100::/64" }, { plan.segments[256].inet, plan.segments[256].inet6 })
    assert.equal("10.255.210.0/24", plan.segments[301].inet)
  end)

  it("that are fixed stay, and the others go out of their way", function()
    local plan = plan_of { { "h1", "r1", ends = { { address = "10.0.2.9/24" } } }, { "h2", "r1", subnet = { "10.1.0.0/30", "fd00:3::/64" } },
      { "h3", "r1" }, { "h4", "r1", ends = { [2] = { address = { "192.168.1.4", "fe80::1/64" } } }, subnet = "192.168.1.0/25" } }
    assert.same({ "h1 eth0 10.0.2.9/24 fd00:1::1/64", "h2 eth0 10.1.0.2/30 fd00:3::2/64", "h3 eth0 10.0.3.3/24 fd00:ffff::3/64",
      "h4 eth0 192.168.1.1/25 fd00:4::4/64", "r1 eth0 10.0.2.254/24 fd00:1::254/64", "r1 eth1 10.1.0.1/30 fd00:3::254/64",
      "r1 eth2 10.0.3.254/24 fd00:ffff::254/64", "r1 eth3 192.168.1.4/25 fe80::1/64 fd00:4::254/64" },
      lines(plan, { "h1", "h2", "h3", "h4", "r1" }))
    assert.equal("10.0.2.0/24", plan.segments[1].inet)
    plan = plan_of { { "h1", "r1" }, { "h2", "r1", subnet = { "10.0.1.128/25", "fd00:1::8000/113" } } } -- a part of what segment 1 would have
    assert.same({ "h1 eth0 10.255.255.1/24 fd00:ffff::1/64", "h2 eth0 10.0.1.130/25 fd00:1::8002/113" }, lines(plan, { "h1", "h2" }))
  end)

  it("of the smallest subnets", function()
    local plan = plan_of { { "r1", "r2", subnet = { "10.9.0.0/31", "fd09::/127" } }, { "r2", "r3", subnet = { "10.9.0.4/30", "fd09::4/126" } } }
    assert.same({ "r1 eth0 10.9.0.1/31 fd09::1/127", "r2 eth0 10.9.0.0/31 fd09::/127", "r2 eth1 10.9.0.6/30 fd09::7/126",
      "r3 eth0 10.9.0.5/30 fd09::6/126" }, lines(plan, { "r1", "r2", "r3" }))
  end)

  it("are of the families that a node has", function()
    local links = { { "h1", "r1" }, { "h2", "r1" } }
    local plan = plan_of(links, { ipv6 = false, nodes = { h1 = { ipv6 = true }, h2 = { addresses = false }, r1 = { ipv6 = true } } })
    assert.same({ "h1 eth0 10.0.1.1/24 fd00:1::1/64", "h2 eth0", "r1 eth0 10.0.1.254/24 fd00:1::254/64", "r1 eth1 10.0.2.254/24 fd00:2::254/64" },
      lines(plan, { "h1", "h2", "r1" }))
    assert.equal("default", plan:routes("h1")[2][1])
    plan = plan_of(links, { ipv4 = false })
    assert.same({ "h1 eth0 fd00:1::1/64" }, lines(plan, { "h1" }))
    assert.is_nil(plan.segments[1].inet)
    plan = plan_of { { "h1", "h2", subnet = false } }
    assert.same({ "h1 eth0", "h2 eth0" }, lines(plan, { "h1", "h2" }))
  end)

  it("are the same every time, and stay when a link is added at the end", function()
    for seed = 1, 60 do
      local before = all(addressing.plan(topologies.connected(seed)))
      assert.same(before, all(addressing.plan(topologies.connected(seed))))
      local topology = topologies.connected(seed)
      local random = topologies.random(seed + 1000)
      local links = topology.links
      for i = 1, 5 do
        links[#links + 1] = { topology.nodes[random(#topology.nodes)].name, "new" .. i }
        topology.nodes[#topology.nodes + 1] = { name = "new" .. i, kind = "host" }
      end
      local after = {}
      for _, line in ipairs(all(addressing.plan(topology))) do
        after[line] = true
      end
      for _, line in ipairs(before) do
        assert.is_true(after[line], line)
      end
    end
  end)

  it("are each somebody's alone, and so are names of devices", function()
    for seed = 1, 100 do
      local plan = addressing.plan(topologies.connected(seed))
      local seen = {}
      for _, node in ipairs(plan.nodes) do
        local devs = {}
        for _, list in ipairs { node.interfaces, node.ports or {} } do
          for _, at in ipairs(list) do
            assert.is_nil(devs[at.dev], at.dev)
            assert.is_nil(seen[at.lladdr], at.lladdr)
            devs[at.dev], seen[at.lladdr] = true, true
            assert.is_true(#at.dev <= 15)
            for _, address in ipairs(at.addresses or {}) do
              assert.is_nil(seen[address], address)
              seen[address] = true
            end
            assert.equal(at.addresses and 2, at.addresses and #at.addresses)
          end
        end
      end
    end
  end)
end)

describe("names of devices", function()
  it("go around those that are fixed", function()
    local plan = plan_of { { "r1", "h1" }, { "r1", "h2", ends = { { dev = "eth1" } } }, { "r1", "h3" }, { "r1", "h4", ends = { { dev = "wan" } } } }
    local devs = {}
    for i, interface in ipairs(plan.node.r1.interfaces) do
      devs[i] = interface.dev
    end
    assert.same({ "eth0", "eth1", "eth2", "wan" }, devs)
  end)

  it("of ports are those of the neighbours, where they can be", function()
    local plan = plan_of { { "sw1", "h1" }, { "sw1", "a-name-too-long-for-it" }, { "sw1", "h1" }, { "sw1", "p3" }, { "sw1", "sw2" }, { "sw1", "lo" },
      { "sw1", "lo", ends = { { dev = "p7" } } }, { "sw1", "lo" }, { "sw1", "sw2" } }
    local devs = {}
    for i, port in ipairs(plan.node.sw1.ports) do
      devs[i] = port.dev
    end
    assert.same({ "h1", "p2", "p3", "p4", "sw2", "p6", "p7", "p8", "p9" }, devs)
    assert.equal("sw1", plan.node.sw1.bridge)
    assert.equal("sw1", plan.node.sw2.ports[1].dev)
    assert.is_true(plan.segments[1].loop)
    plan = plan_of { { "sw-of-a-long-name-", "h1" } }
    assert.equal("br0", plan.node["sw-of-a-long-name-"].bridge)
    assert.is_nil(plan.segments[1].loop)
  end)
end)

describe("VLANs", function()
  it("part a switch, and go through trunks", function()
    local plan = plan_of {
      { "h1", "sw1", ends = { {}, { vlan = 10 } } }, { "h2", "sw1", ends = { {}, { vlan = 20 } } },
      { "sw1", "sw2", ends = { { trunk = { 10, 20 } } } },
      { "sw2", "h3", ends = { { vlan = 10 } } }, { "sw2", "h4", ends = { { vlan = 20 } } }, { "h5", "sw2" },
      { "sw2", "h6", ends = { { trunk = { 10 } } } } }
    assert.same({ "h1 eth0 10.0.1.1/24 fd00:1::1/64", "h2 eth0 10.0.2.2/24 fd00:2::2/64", "h3 eth0 10.0.1.3/24 fd00:1::3/64",
      "h4 eth0 10.0.2.4/24 fd00:2::4/64", "h5 eth0 10.0.3.5/24 fd00:3::5/64", "h6 eth0" }, lines(plan, { "h1", "h2", "h3", "h4", "h5", "h6" }))
    assert.same({ "(sw1) vlan 10", "(sw1) vlan 20", "(sw2)" },
      { plan.segments[1].name, plan.segments[2].name, plan.segments[3].name })
    assert.same({ "sw1", "sw2" }, plan.segments[1].switches)
    local port = plan.node.sw2.ports[1]
    assert.same({ "sw1", nil, { 10, 20 } }, { port.dev, port.vlan, port.trunk })
    assert.is_true(plan.node.sw2.vlan_filtering)
    assert.is_nil(plan.node.h6.interfaces[1].segment)
    assert.is_nil(plan:address_of("h1", "h2"))
    assert.equal("10.0.1.1", plan:address_of("h1", "h3"))
  end)

  it("have devices on hosts that say so", function()
    local plan = plan_of { { "r1", "sw", ends = { { trunk = { 10, 20 }, address = "10.5.0.1/24" } } }, { "sw", "h1", ends = { { vlan = 10 } } },
      { "sw", "h2", ends = { { vlan = 20 }, { address = "10.5.0.2/24" } } } }
    assert.same({ "r1 eth0", "r1 eth0.10 10.0.1.254/24 fd00:1::254/64", "r1 eth0.20 10.5.0.1/24 fd00:2::254/64" }, lines(plan, { "r1" }))
    assert.same({ { "default", via = "10.0.1.254", dev = "eth0" }, { "default", via = "fd00:1::254", dev = "eth0" } }, plan:routes "h1")
    local tagged = plan.node.r1.interfaces[2]
    assert.same({ 10, plan.node.r1.interfaces[1] }, { tagged.vlan, tagged.parent })
    plan = plan_of { { "h1", "h2", ends = { { vlan = 7 }, { vlan = 7 } } } }
    assert.same({ "h1 eth0", "h1 eth0.7 10.0.1.1/24 fd00:1::1/64", "h2 eth0", "h2 eth0.7 10.0.1.2/24 fd00:1::2/64" }, lines(plan, { "h1", "h2" }))
  end)
end)

describe("what cannot be is told, at the caller's line", function()
  local cases = {
    ["h1, towards r1: 10.2.0.1/24 is outside of 10.1.0.0/24, the subnet of h1--r1"] = { { "h1", "r1", subnet = "10.1.0.0/24",
      ends = { { address = "10.2.0.1/24" } } } },
    ["r1, towards h1: 10.2.0.1/24 is outside of 10.1.0.0/24, the subnet of core"] = { { "h1", "r1", name = "core",
      ends = { { address = "10.1.0.1/24" }, { address = "10.2.0.1/24" } } } },
    ["h1 and h2 both have 10.1.0.1 on (sw)"] = { { "h1", "sw", ends = { { address = "10.1.0.1/24" } } },
      { "h2", "sw", ends = { { address = "10.1.0.1/24" } } } },
    ["10.1.0.0/30 is too small for the 3 on (sw)"] = { { "h1", "sw", subnet = "10.1.0.0/30" }, { "h2", "sw" }, { "h3", "sw" } },
    ["10.1.0.0/16 and 10.1.7.0/24 overlap (h2--r1, h1--r1)"] = { { "h2", "r1", subnet = "10.1.7.0/24" }, { "h1", "r1", subnet = "10.1.0.0/16" } },
    ["link 2 (h2--sw) is of the segment (sw), which has 10.1.0.0/24 already: 10.2.0.0/24"] = { { "h1", "sw", subnet = "10.1.0.0/24" },
      { "h2", "sw", subnet = "10.2.0.0/24" } },
    ["h1: two devices are named \"x\": towards r1 and towards r2"] = {
      { "h1", "r1", ends = { { dev = "x" } } }, { "h1", "r2", ends = { { dev = "x" } } } },
    ["h1: the name of a device has at most 15 bytes, \"0123456789abcdef\" has 16"] = { { "h1", "r1", ends = { { dev = "0123456789abcdef" } } } },
    ["h1: the name of a device has at most 15 bytes, \"0123456789abc.10\" has 16"] = {
      { "h1", "sw", ends = { { dev = "0123456789abc", vlan = 10 } } } },
    ["h1: \"a b\" is no name for a device"] = { { "h1", "r1", ends = { { dev = "a b" } } } },
    ["sw: two devices are named \"sw\": towards the bridge itself and towards h1"] = { { "h1", "sw", ends = { {}, { dev = "sw" } } } },
    ["sw, towards h1: VLAN 10 twice"] = { { "h1", "sw", ends = { {}, { vlan = 10, trunk = { 10, 20 } } } } },
    ["h1, towards sw: VLAN 20 twice"] = { { "h1", "sw", ends = { { trunk = { 20, 20 } } } } },
    ["sw, towards h1: a VLAN is a number from 1 to 4094, got 4095"] = { { "h1", "sw", ends = { {}, { vlan = 4095 } } } },
    ["sw, towards h1: a port has one untagged VLAN; the tagged ones are written trunk = { ... }"] = {
      { "h1", "sw", ends = { {}, { vlan = { 1, 2 } } } } },
    ["h1 tags VLAN 30 towards sw, which does not take it"] = { { "h1", "sw", ends = { { vlan = 30 }, { trunk = { 10 } } } } },
    ["h1 tags VLAN 30 towards h2, which does not take it"] = { { "h1", "h2", ends = { { vlan = 30 } } } },
    ["link 1 (sw1--sw2) carries 2 segments, so it has not one subnet"] = {
      { "sw1", "sw2", subnet = "10.1.0.0/24", ends = { { trunk = { 1, 2 } } } } },
    ["h1, towards sw: 10.7.0.1/24 is in no subnet of the VLANs there"] = {
      { "h1", "sw", ends = { { vlan = { 10, 20 }, address = "10.7.0.1/24" } } } },
    ["sw, towards h1: a switch has no addresses: 10.1.0.1/24"] = { { "h1", "sw", ends = { {}, { address = "10.1.0.1/24" } } } },
    ["h1, towards r1: 10.1.0.0/24 is the network's own address of 10.1.0.0/24"] = { { "h1", "r1", ends = { { address = "10.1.0.0/24" } } } },
    ["h1, towards r1: 10.1.0.255/24 is the broadcast address of 10.1.0.0/24"] = { { "h1", "r1", ends = { { address = "10.1.0.255/24" } } } },
    ["h1, towards r1: 10.1.0.1/16 is not of the length of 10.1.0.0/24"] = {
      { "h1", "r1", subnet = "10.1.0.0/24", ends = { { address = "10.1.0.1/16" } } } },
    ["link 1 (h1--r1): 10.1.0.1/24 is an address in 10.1.0.0/24, not a subnet"] = { { "h1", "r1", subnet = "10.1.0.1/24" } },
    ["link 1 (h1--r1): a subnet is text like \"10.1.0.0/24\", got \"10.1.0.0\""] = { { "h1", "r1", subnet = "10.1.0.0" } },
    ["h1, towards r1: an address is text like \"10.1.0.1/24\", got \"10.1.0.1/33\""] = { { "h1", "r1", ends = { { address = "10.1.0.1/33" } } } },
    ["link 1 is from h1 to itself"] = { { "h1", "h1" } },
    ["link 1 (h1--r1): a cost is a whole number above 0, got 0"] = { { "h1", "r1", cost = 0 } },
  }
  for message, links in pairs(cases) do
    it(message, function()
      local topology = of(links)
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, err = pcall(function() addressing.plan(topology) end)
      assert.is_false(ok)
      assert.equal(("spec/lab_addressing_spec.lua:%d: lab: %s"):format(line, message), (tostring(err):gsub("^%./", "")))
    end)
  end

  it("of nodes", function()
    local function complaint(topology)
      return select(2, pcall(addressing.plan, topology)):match "lab: .*"
    end
    local h1 = { name = "h1", kind = "host" }
    assert.equal("lab: two nodes are named \"h1\"", complaint { nodes = { h1, h1 }, links = {} })
    assert.equal("lab: h1: unknown kind of node 'hots' (did you mean 'host'?)", complaint { nodes = { { name = "h1", kind = "hots" } }, links = {} })
    assert.equal("lab: unknown node 'h2' (did you mean 'h1'?)", complaint { nodes = { h1 }, links = { { "h1", "h2" } } })
    assert.equal("lab: node 1 has no name", complaint { nodes = { {} }, links = {} })
    assert.equal("lab: h1 has no IPv4, but the address 10.1.0.1/24",
      complaint(of({ { "h1", "r1", ends = { { address = "10.1.0.1/24" } } } }, { nodes = { h1 = { ipv4 = false } } })))
    assert.equal("lab: h1 and r1 both have 10.9.9.9/32",
      complaint(of({ { "h1", "r1" } }, { nodes = { h1 = { addresses = { "10.9.9.9/32" } }, r1 = { addresses = { "10.9.9.9/32" } } } })))
    assert.equal("lab: h1: an address of lo has the length /32: 10.9.9.9/24",
      complaint(of({ { "h1", "r1" } }, { nodes = { h1 = { addresses = { "10.9.9.9/24" } } } })))
  end)
end)
