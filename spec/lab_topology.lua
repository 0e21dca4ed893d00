-- Topologies for the specs of labs, and what is true of them by other means than those of nslua.lab: floods, breadth-first search, a router's lookup.

local core = require "nslua.core"

local M = {}

---A topology from links: what is named "sw..." is a switch, what is named "r..." a router.
---@param links table[]
---@param more? table  further keys; `nodes` adds options by name
---@return table
function M.of(links, more)
  local topology, seen = { nodes = {}, links = links }, {}
  for key, value in pairs(more or {}) do
    if key ~= "nodes" then
      topology[key] = value
    end
  end
  for _, link in ipairs(links) do
    for i = 1, 2 do
      local name = link[i]
      if not seen[name] then
        seen[name] = { name = name, kind = name:find "^sw" and "switch" or name:find "^r" and "router" or "host" }
        for key, value in pairs(more and more.nodes and more.nodes[name] or {}) do
          seen[name][key] = value
        end
        topology.nodes[#topology.nodes + 1] = seen[name]
      end
    end
  end
  return topology
end

---A generator of numbers that depends on its seed alone.
---@param seed integer
---@return fun(m: integer, n: integer?): integer
function M.random(seed)
  local state = seed * 2654435761 + 1
  return function(m, n)
    if not n then
      m, n = 1, m
    end
    state = (state * 6364136223846793005 + 1442695040888963407)
    return m + (state >> 33) % (n - m + 1)
  end
end

---A connected topology without VLANs. Hosts hang on routers and switches, some by several links.
---@param seed integer
---@param options? { switches: integer?, costs: boolean? }
---@return table
function M.connected(seed, options)
  local random = M.random(seed)
  local links, inner = {}, { "r1" }
  local switches = options and options.switches or random(0, 4)
  local function link(a, b)
    local one = random(2) == 1 and { a, b } or { b, a }
    if options and options.costs and random(3) == 1 then
      one.cost = random(9)
    end
    if random(6) == 1 then
      one.subnet = ("192.168.%d.0/24"):format(#links)
    end
    links[#links + 1] = one
  end
  for i = 2, random(1, 9) + switches do
    local name = i <= switches + 1 and "sw" .. i or "r" .. i
    link(name, inner[random(#inner)])
    inner[i] = name
  end
  for _ = 1, random(0, 8) do
    local a, b = inner[random(#inner)], inner[random(#inner)]
    if a ~= b then
      link(a, b)
    end
  end
  local hosts = random(1, 8)
  for i = 1, hosts do
    local name = (random(3) == 1 and "node-%d" or "h%d"):format(i)
    for _ = 1, random(5) == 1 and 2 or 1 do
      link(name, inner[random(#inner)])
    end
  end
  for _, one in ipairs(links) do -- a switch has its links on one segment, which has one subnet
    one.subnet = not (one[1] .. " " .. one[2]):find "sw" and one.subnet or nil
  end
  return M.of(links)
end

---Who can hear whom, by flooding through switches.
---@param topology table
---@return table<table, table<string, boolean>>  by link: the names of hosts and routers on its segment
function M.flood(topology)
  local switch = {}
  for _, node in ipairs(topology.nodes) do
    switch[node.name] = node.kind == "switch"
  end
  local heard = {}
  for _, start in ipairs(topology.links) do
    local names, seen, todo = {}, { [start] = true }, { start }
    while #todo > 0 do
      local link = table.remove(todo)
      for i = 1, 2 do
        if not switch[link[i]] then
          names[link[i]] = true
        else
          for _, other in ipairs(topology.links) do
            if not seen[other] and (other[1] == link[i] or other[2] == link[i]) then
              seen[other] = true
              todo[#todo + 1] = other
            end
          end
        end
      end
    end
    heard[start] = names
  end
  return heard
end

---How far every node is from one: segments that are crossed, or their costs where only links are between routers. Bellman and Ford.
---@param topology table
---@param from string
---@param heard table  M.flood(topology)
---@return table<string, integer>
function M.distances(topology, from, heard)
  local forwards = {}
  for _, node in ipairs(topology.nodes) do
    forwards[node.name] = node.kind == "router" or node.name == from
  end
  local distance, changed = { [from] = 0 }, true
  while changed do
    changed = false
    for _, link in ipairs(topology.links) do
      for a in pairs(heard[link]) do
        local on_it = link[1] == a or link[2] == a
        for b in pairs(on_it and forwards[a] and distance[a] and heard[link] or {}) do
          local there = distance[a] + (link.cost or 1)
          if there < (distance[b] or math.huge) then
            distance[b], changed = there, true
          end
        end
      end
    end
  end
  return distance
end

-- As a string of bits, so that a longer match is a longer string.
local known_bits = {}
local function bits(address)
  known_bits[address] = known_bits[address] or core.inet.bytes(address):gsub(".", function(c)
    local out = {}
    for i = 7, 0, -1 do
      out[#out + 1] = c:byte() >> i & 1
    end
    return table.concat(out)
  end)
  return known_bits[address]
end

---The tables of all nodes, as a router looks into them.
---@param plan nslua.lab.Plan
---@return table<string, table[]>
function M.tables(plan)
  local tables = {}
  for _, node in ipairs(plan.nodes) do
    local list = {}
    local function add(destination, hops)
      local address, length = destination:match "^(.*)/(%d+)$"
      local family = (address or hops[1].via):find(":", 1, true) and 6 or 4
      list[#list + 1] = { prefix = address and bits(address):sub(1, tonumber(length)) or "", family = family, hops = hops }
    end
    for _, interface in ipairs(node.interfaces) do
      for _, address in ipairs(interface.addresses) do
        add(address, { { interface = interface } })
      end
    end
    for _, route in ipairs(plan:routes(node.name)) do
      local hops = {}
      for i, hop in ipairs(route.nexthops or { route }) do
        for _, interface in ipairs(node.interfaces) do
          if interface.dev == hop.dev then
            hops[i] = { interface = interface, via = hop.via }
          end
        end
        assert(hops[i], "no device " .. tostring(hop.dev))
      end
      add(route[1], hops)
    end
    tables[node.name] = list
  end
  return tables
end

local function has(interface, address)
  for _, own in ipairs(interface.addresses) do
    if own:match "^[^/]+" == address then
      return true
    end
  end
end

-- Whether a node has an address on any interface, lo too.
local function owns(node, address)
  for _, interface in ipairs(node.interfaces) do
    if has(interface, address) then
      return true
    end
  end
  for _, own in ipairs(node.loopback) do
    if own:match "^[^/]+" == address then
      return true
    end
  end
end

---Follow a packet, by every next hop that a route has.
---@param plan nslua.lab.Plan
---@param tables table
---@param from string
---@param address string
---@param arrived fun(node: string, cost: integer)  called at the end of each way
function M.follow(plan, tables, from, address, arrived)
  local wanted, family = bits(address), address:find(":", 1, true) and 6 or 4
  local function step(name, cost, depth)
    local node = plan.node[name]
    assert(depth <= #plan.nodes, "a loop on the way to " .. address)
    if owns(node, address) then
      return arrived(name, cost)
    end
    assert(depth == 0 or node.kind == "router", name .. " does not forward")
    local best
    for _, entry in ipairs(tables[name]) do
      if entry.family == family and wanted:sub(1, #entry.prefix) == entry.prefix and (not best or #entry.prefix > #best.prefix) then
        best = entry
      end
    end
    assert(best, ("%s has no route to %s"):format(name, address))
    for _, hop in ipairs(best.hops) do
      local next_node
      for _, member in ipairs(hop.interface.segment.members) do
        if has(member, hop.via or address) then
          next_node = member.node
        end
      end
      assert(next_node, ("%s: nobody answers for %s"):format(name, hop.via or address))
      step(next_node, cost + hop.interface.cost, depth + 1)
    end
  end
  step(from, 0, 0)
end

return M
