-- Routes of labs: followed hop by hop, by the longest match, they lead everywhere on a shortest path. Pure data.

local addressing = require "nslua.lab.addressing"
local topologies = require "spec.lab_topology"

local of = topologies.of

-- Every pair of nodes by the address that one uses for the other, and by all others of it.
local function check(topology)
  local plan = addressing.plan(topology)
  local tables, heard = topologies.tables(plan), topologies.flood(topology)
  local pairs_checked = 0
  for _, from in ipairs(plan.nodes) do
    local distance = topologies.distances(topology, from.name, heard)
    for _, to in ipairs(from.kind ~= "switch" and plan.nodes or {}) do
      for _, family in ipairs(to.kind ~= "switch" and { "inet", "inet6" } or {}) do
        local ends = 0
        topologies.follow(plan, tables, from.name, plan:address_of(to.name, from.name, family), function(name, cost)
          ends = ends + 1
          assert.equal(to.name, name)
          assert.equal(distance[to.name], cost, from.name .. " to " .. to.name)
        end)
        assert.is_true(topology.multipath and ends >= 1 or ends == 1)
        pairs_checked = pairs_checked + 1
        for _, interface in ipairs(to.interfaces) do
          topologies.follow(plan, tables, from.name, interface[family], function(name) assert.equal(to.name, name) end)
        end
      end
    end
  end
  return pairs_checked, plan
end

local function is_on(segment, name)
  for _, member in ipairs(segment.members) do
    if member.node == name then
      return true
    end
  end
  return false
end

-- What the cheapest way to a segment costs, over one of the routers on it.
local function cheapest(plan, segment, distance, from)
  local least = math.huge
  for _, member in ipairs(segment.members) do
    if plan.node[member.node].kind == "router" or member.node == from then
      least = math.min(least, distance[member.node] + member.cost)
    end
  end
  return least
end

describe("routes", function()
  it("of hosts with one router are a default, of others one for each segment", function()
    local plan = addressing.plan(of { { "h1", "r1" }, { "r1", "r2" }, { "r2", "h2" }, { "h3", "r1" }, { "h3", "r2" } })
    assert.same({ { "default", via = "10.0.1.254", dev = "eth0" }, { "default", via = "fd00:1::254", dev = "eth0" } }, plan:routes "h1")
    assert.same({ { "10.0.3.0/24", via = "10.0.2.253", dev = "eth1" }, { "10.0.5.0/24", via = "10.0.2.253", dev = "eth1" },
      { "fd00:3::/64", via = "fd00:2::253", dev = "eth1" }, { "fd00:5::/64", via = "fd00:2::253", dev = "eth1" } }, plan:routes "r1")
    assert.same({ { "10.0.1.0/24", via = "10.0.4.254", dev = "eth0" }, { "10.0.2.0/24", via = "10.0.4.254", dev = "eth0" },
      { "10.0.3.0/24", via = "10.0.5.254", dev = "eth1" } }, { table.unpack(plan:routes "h3", 1, 3) })
    assert.same({}, addressing.plan(of { { "h1", "sw" }, { "h2", "sw" } }):routes "h1")
    assert.same({}, addressing.plan { nodes = { { name = "h1", kind = "host" } }, links = {} }:routes "h1")
  end)

  it("lead through no host, whether it is the lab's or a container, however many links it has", function()
    local topology = of { { "h1", "r1" }, { "r1", "c" }, { "c", "r2" }, { "r2", "h2" }, { "r1", "r3" }, { "r3", "r4" }, { "r4", "r2" } }
    for _, what in ipairs { { kind = "host" }, { kind = "host", container = "web" } } do
      for _, node in ipairs(topology.nodes) do
        if node.name == "c" then
          node.kind, node.container = what.kind, what.container
        end
      end
      for _, multipath in ipairs { false, true } do
        topology.multipath = multipath
        local plan = addressing.plan(topology)
        local way = {}
        topologies.follow(plan, topologies.tables(plan), "h1", plan:address_of("h2", "h1", "inet"), function(name, cost)
          way[#way + 1] = name .. " " .. cost
        end)
        assert.same({ "h2 5" }, way)
        assert.equal("10.0.4.2", plan:address_of("h2", "c"))
      end
    end
    local plan = addressing.plan { nodes = { { name = "h1", kind = "host" }, { name = "c", kind = "host", container = "web" },
      { name = "h2", kind = "host" } }, links = { { "h1", "c" }, { "c", "h2" } } }
    assert.same({}, plan:routes "h1")
    assert.is_nil(plan:address_of("h2", "h1"))
  end)

  it("lead everywhere, by a shortest path", function()
    local checked = 0
    for seed = 1, 150 do
      checked = checked + check(topologies.connected(seed))
    end
    assert.is_true(checked > 10000, checked)
  end)

  it("lead by all of the shortest paths, where that is wanted", function()
    local several = 0
    for seed = 1, 60 do
      local topology = topologies.connected(seed)
      topology.multipath = true
      local _, plan = check(topology)
      for _, node in ipairs(plan.nodes) do
        for _, route in ipairs(plan:routes(node.name)) do
          several = several + (route.nexthops and 1 or 0)
        end
      end
    end
    assert.is_true(several > 100, several)
    local plan = addressing.plan(of({ { "r1", "r2" }, { "r1", "r3" }, { "r2", "r4" }, { "r3", "r4" }, { "r4", "h1" } }, { multipath = true }))
    assert.same({ "10.0.5.0/24", nexthops = { { via = "10.0.1.253", dev = "eth0" }, { via = "10.0.2.253", dev = "eth1" } } }, plan:routes "r1"[3])
    plan = addressing.plan(of({ { "r1", "r2" }, { "r1", "r2" }, { "r2", "h1" } }, { multipath = true }))
    assert.equal(2, #plan:routes "r1"[1].nexthops)
  end)

  it("are the cheapest where links have costs", function()
    local links = { { "r1", "r2", cost = 5 }, { "r1", "r3" }, { "r3", "r2", metric = 2 }, { "r2", "h1" } }
    local plan = addressing.plan(of(links))
    assert.same({ "10.0.4.0/24", via = "10.0.2.253", dev = "eth1" }, plan:routes "r1"[2])
    links[1].cost = 2
    assert.same({ "10.0.4.0/24", via = "10.0.1.253", dev = "eth0" }, addressing.plan(of(links)):routes "r1"[2])
    plan = addressing.plan(of { { "r1", "sw", cost = 9 }, { "r2", "sw" }, { "r1", "r2" }, { "r2", "h1" } }) -- its own segment needs no route
    assert.same({ { "10.0.3.0/24", via = "10.0.2.253", dev = "eth1" }, { "fd00:3::/64", via = "fd00:2::253", dev = "eth1" } }, plan:routes "r1")
    for seed = 1, 60 do -- arrival; what they cost is compared below, for a segment that two are on is entered directly whatever it costs
      local topology = topologies.connected(seed, { switches = seed % 3, costs = true })
      local made = addressing.plan(topology)
      local tables = topologies.tables(made)
      for _, from in ipairs(made.nodes) do
        for _, to in ipairs(from.kind ~= "switch" and made.nodes or {}) do
          for _, interface in ipairs(to.interfaces) do
            topologies.follow(made, tables, from.name, interface.inet6, function(name) assert.equal(to.name, name) end)
          end
        end
      end
    end
  end)

  it("cost no more than other ways, where links have costs", function()
    local compared = 0
    for seed = 1, 60 do
      local topology = topologies.connected(seed, { switches = 0, costs = true })
      local plan = addressing.plan(topology)
      local tables, heard = topologies.tables(plan), topologies.flood(topology)
      for _, from in ipairs(plan.nodes) do
        local distance = topologies.distances(topology, from.name, heard)
        for _, segment in ipairs(plan.segments) do
          -- To a segment: the cheapest way to a router on it, and over it. A route for it is for whoever is on it.
          local least = cheapest(plan, segment, distance, from.name)
          for _, member in ipairs(is_on(segment, from.name) and {} or segment.members) do
            topologies.follow(plan, tables, from.name, member.inet, function(_, cost)
              assert.is_true(cost <= least, ("%s to %s: %d > %d"):format(from.name, member.inet, cost, least))
              compared = compared + 1
            end)
          end
        end
      end
    end
    assert.is_true(compared > 1000, compared)
  end)

  it("lead by all of the cheapest ways, and by no others", function()
    local several = 0
    for seed = 1, 60 do
      local topology = topologies.connected(seed, { switches = 0, costs = true })
      topology.multipath = true
      local plan = addressing.plan(topology)
      local heard, distance = topologies.flood(topology), {}
      for _, node in ipairs(plan.nodes) do
        distance[node.name] = topologies.distances(topology, node.name, heard)
      end
      for _, node in ipairs(plan.nodes) do
        local hops = {}
        for _, route in ipairs(plan:routes(node.name)) do
          hops[route[1]] = route.nexthops and #route.nexthops or 1
          several = several + (route.nexthops and 1 or 0)
        end
        for _, segment in ipairs(node.kind == "router" and plan.segments or {}) do
          local least, wanted = cheapest(plan, segment, distance[node.name], node.name), 0
          for _, interface in ipairs(node.interfaces) do
            for _, member in ipairs(interface.segment.members) do
              if plan.node[member.node].kind == "router" and member.node ~= node.name
                and interface.cost + cheapest(plan, segment, distance[member.node], member.node) == least then
                wanted = wanted + 1
              end
            end
          end
          if not is_on(segment, node.name) then
            assert.equal(wanted, hops[segment.inet], node.name .. " to " .. segment.inet)
          end
        end
      end
    end
    assert.is_true(several > 50, several)
  end)

  it("are of each family by itself", function()
    local plan = addressing.plan(of({ { "h1", "r1" }, { "r1", "r2" }, { "r2", "r4" }, { "r1", "r3" }, { "r3", "r5" }, { "r5", "r4" },
      { "r4", "h2" } }, { nodes = { r2 = { ipv6 = false } } }))
    local tables = topologies.tables(plan)
    local function cost(address)
      local out
      topologies.follow(plan, tables, "h1", address, function(_, sum) out = sum end)
      return out
    end
    assert.equal(4, cost(plan:address_of("h2", "h1", "inet")))
    assert.equal(5, cost(plan:address_of("h2", "h1", "inet6")))
    assert.equal("10.0.3.253", plan:address_of("r4", "h1"))
    assert.equal("fd00:6::253", plan:address_of("r4", "h1", "inet6"))
    plan = addressing.plan(of({ { "h1", "sw" }, { "sw", "r1" }, { "sw", "r2" }, { "r2", "h2" } }, { nodes = { r1 = { ipv6 = false } } }))
    assert.same({ { "10.0.2.0/24", via = "10.0.1.253", dev = "eth0" }, { "default", via = "fd00:1::254", dev = "eth0" } }, plan:routes "h1")
  end)

  it("lead to what nodes have on their lo", function()
    local plan = addressing.plan(of({ { "h1", "sw" }, { "sw", "r1" }, { "r1", "r2" }, { "r2", "r3" }, { "h2", "sw" } },
      { nodes = { h1 = { addresses = { "10.99.0.1", "fd99::1/128" } }, r3 = { addresses = { "10.0.1.0/32" } } } }))
    assert.same({ "10.99.0.1/32", "fd99::1/128" }, plan.node.h1.loopback)
    assert.equal("10.255.255.0/24", plan.segments[1].inet, "10.0.1.0 is taken")
    local tables, arrived = topologies.tables(plan), 0
    for _, node in ipairs(plan.nodes) do
      for address, owner in pairs(node.kind ~= "switch" and { ["10.99.0.1"] = "h1", ["fd99::1"] = "h1", ["10.0.1.0"] = "r3" } or {}) do
        topologies.follow(plan, tables, node.name, address, function(name)
          assert.equal(owner, name)
          arrived = arrived + 1
        end)
      end
    end
    assert.equal(15, arrived)
    assert.same({ "10.99.0.1/32", via = "10.255.255.1", dev = "eth0" }, plan:routes "h2"[2])
  end)

  it("of a thousand hosts, a long line and a mesh", function()
    local links = { { "r1", "sw" }, { "r1", "x1" } }
    for i = 1, 1000 do
      links[#links + 1] = { "h" .. i, "sw" }
    end
    local plan = addressing.plan(of(links))
    assert.equal("10.1.255.254", plan:routes "h777"[1].via)
    assert.equal(plan:hosts "h1", plan:hosts "h777")
    links = {}
    for i = 1, 1000 do
      links[i] = { "r" .. i, "r" .. i + 1 }
    end
    plan = addressing.plan(of(links))
    assert.equal(2 * (1000 - 2), #plan:routes "r500")
    assert.equal("10.3.231.0/24", plan:routes "r1"[998][1])
    links = {}
    for i = 1, 40 do
      for k = i + 1, 40 do
        links[#links + 1] = { "r" .. i, "r" .. k }
      end
    end
    plan = addressing.plan(of(links))
    assert.equal(2 * (780 - 39), #plan:routes "r40")
  end)
end)

describe("a plan", function()
  local plan = addressing.plan(of { { "h1", "r1", name = "first", mtu = 1400 }, { "r1", "r2" }, { "r2", "sw" }, { "sw", "h2" }, { "r1", "r2" } })

  it("tells an address that a peer reaches", function()
    assert.equal("10.0.1.1", plan:address_of "h1")
    assert.equal("fd00:1::1", plan:address_of("h1", nil, "inet6"))
    assert.equal("10.0.1.254", plan:address_of "r1")
    assert.equal("10.0.1.254", plan:address_of("r1", "h1"))
    assert.equal("10.0.2.254", plan:address_of("r1", "r2"))
    assert.equal("10.0.2.254", plan:address_of("r1", "h2"))
    assert.equal("10.0.3.254", plan:address_of("r2", "h2"))
    assert.equal("fd00:2::253", plan:address_of("r2", "h1", "inet6"))
    assert.equal("10.0.1.1", plan:address_of("h1", "h1"))
    assert.is_nil(plan:address_of "sw")
    assert.is_nil(addressing.plan(of { { "h1", "h2" }, { "h3", "h4" } }):address_of("h1", "h3"))
    assert.has_error(function() plan:address_of "h9" end)
    assert.has_error(function() plan:address_of("h1", "r1", "ipv4") end)
  end)

  it("tells the links between two nodes", function()
    local link = plan:link("r1", "h1")
    assert.same({ 1, "first", "10.0.1.0/24", 1400, "eth0" }, { link.index, link.name, link.segments[1].inet, link.ends[2].mtu, link.ends[1].dev })
    local one, two, three = plan:link("r2", "r1")
    assert.same({ 2, 5, nil }, { one.index, two.index, three })
    assert.equal("h2", (plan:link("sw", "h2")).ends[1].dev)
    assert.is_nil(plan:link("h1", "h2"))
  end)

  it("tells the names for /etc/hosts, and neighbours", function()
    assert.same({ { "10.0.1.1", "h1" }, { "fd00:1::1", "h1" }, { "10.0.2.254", "r1" }, { "fd00:2::254", "r1" }, { "10.0.3.254", "r2" },
      { "fd00:3::254", "r2" }, { "10.0.3.2", "h2" }, { "fd00:3::2", "h2" } }, plan:hosts "h2")
    assert.same({ { "10.0.3.254", lladdr = "02:00:00:00:03:01", dev = "eth0" }, { "fd00:3::254", lladdr = "02:00:00:00:03:01", dev = "eth0" } },
      plan:neighbours "h2")
    assert.same({}, plan:neighbours "sw")
  end)
end)
