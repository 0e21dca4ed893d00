-- Shortest paths over a plan's routers, and the static routes they make. One search (breadth first; Dijkstra's where links have costs) from a node
-- finds its first hops to all segments. Every hop is nearer to where a packet goes, so that the routes of all nodes together make no loop.

local M = {}

local families = { "inet", "inet6" }

---@class nslua.lab.Graph
---@field forwarders table<string, nslua.lab.Interface[][]>  by family and segment: interfaces of routers
---@field same boolean  whether both families have the same ways
---@field trees table   those that were searched, by family and node's index, until they are collected
---@field hosts table   lists for /etc/hosts, by node, or by segment for those that are on no other

---@class nslua.lab.Hop
---@field dev string
---@field to nslua.lab.Interface  of the neighbour

---@class nslua.lab.Tree
---@field distance number[]      by vertex: a segment's number; a router's index behind them
---@field out table<integer, nslua.lab.Interface>  own interfaces, by the segment's number
---@field hops nslua.lab.Hop[][] by vertex; the first hops of all shortest paths, or of one
local Tree = {}
Tree.__index = Tree

---@param plan nslua.lab.Plan
---@return nslua.lab.Graph
function M.graph(plan)
  local graph = { forwarders = {}, same = true, trees = { inet = setmetatable({}, { __mode = "v" }), inet6 = setmetatable({}, { __mode = "v" }) },
    hosts = {} }
  for _, family in ipairs(families) do
    local all = {}
    for i, segment in ipairs(plan.segments) do
      local some = {}
      for _, interface in ipairs(segment.members) do
        if interface[family] and plan.node[interface.node].kind == "router" then
          some[#some + 1] = interface
        end
        graph.same = graph.same and not interface.inet == not interface.inet6
      end
      all[i] = some
    end
    graph.forwarders[family] = all
  end
  if graph.same then
    graph.trees.inet6 = graph.trees.inet
  end
  return graph
end

-- Vertices by distance, those of one distance first in, first out, segments before routers: a heap. Edges into routers cost nothing.
local Heap = {}
Heap.__index = Heap

local function before(a, b)
  if a.distance ~= b.distance then
    return a.distance < b.distance
  elseif a.router ~= b.router then
    return b.router
  end
  return a.order < b.order
end

function Heap:push(vertex, distance, router)
  self.order = self.order + 1
  local item, i = { vertex = vertex, distance = distance, router = router, order = self.order }, #self + 1
  while i > 1 and before(item, self[i // 2]) do
    self[i], i = self[i // 2], i // 2
  end
  self[i] = item
end

function Heap:pop()
  local top, last = self[1], table.remove(self)
  if not last or last == top then
    return top and top.vertex, top and top.distance
  end
  local i = 1
  while true do
    local child = 2 * i
    if self[child + 1] and before(self[child + 1], self[child]) then
      child = child + 1
    end
    if not self[child] or not before(self[child], last) then
      break
    end
    self[i], i = self[child], child
  end
  self[i] = last
  return top.vertex, top.distance
end

-- The same where every link costs 1: a queue is in that order by itself.
local Queue = {}
Queue.__index = Queue

function Queue:push(vertex, distance)
  local last = self.last + 1
  self.last, self[last], self.distance[last] = last, vertex, distance
end

function Queue:pop()
  local first = self.first
  self.first = first + 1
  return self[first], self.distance[first]
end

local function union(a, b)
  local out, seen = { table.unpack(a) }, {}
  for _, hop in ipairs(a) do
    seen[hop.to] = true
  end
  for _, hop in ipairs(b) do
    if not seen[hop.to] then
      out[#out + 1], seen[hop.to] = hop, true
    end
  end
  return out
end

local function search(plan, origin, family)
  local distance, hops, out = {}, {}, {}
  local queue = plan.weighted and setmetatable({ order = 0 }, Heap) or setmetatable({ first = 1, last = 0, distance = {} }, Queue)
  local forwarders, multipath, routers = plan.graph.forwarders[family], plan.multipath, #plan.segments
  for _, interface in ipairs(origin.interfaces) do
    if interface[family] then
      local s = interface.segment.number
      if not out[s] or interface.cost < distance[s] then
        out[s], distance[s] = interface, interface.cost
        queue:push(s, interface.cost, false)
      end
    end
  end
  local v, d = queue:pop()
  while v do
    if d > distance[v] then -- pushed again since, nearer
      goto continue
    elseif v <= routers then
      local own = out[v]
      for _, interface in ipairs(forwarders[v]) do
        local node = plan.node[interface.node]
        local r = routers + node.index
        if node ~= origin and (not distance[r] or multipath and distance[r] == d) then
          local mine = own and { { dev = own.dev, to = interface } } or hops[v]
          hops[r] = hops[r] and union(hops[r], mine) or mine
          if not distance[r] then
            distance[r] = d
            queue:push(r, d, true)
          end
        end
      end
    else
      local mine = hops[v]
      for _, interface in ipairs(plan.nodes[v - routers].interfaces) do
        local s = interface[family] and interface.segment.number
        if s and not out[s] then
          local there, known = d + interface.cost, distance[s]
          if not known or there < known then
            distance[s], hops[s] = there, mine
            queue:push(s, there, false)
          elseif multipath and there == known then
            hops[s] = union(hops[s], mine)
          end
        end
      end
    end
    ::continue::
    v, d = queue:pop()
  end
  return setmetatable({ distance = distance, hops = hops, out = out }, Tree)
end

---Shortest paths from a node.
---@param plan nslua.lab.Plan
---@param node nslua.lab.PlanNode
---@param family "inet"|"inet6"
---@return nslua.lab.Tree
function M.tree(plan, node, family)
  local known = plan.graph.trees[family]
  local tree = known[node.index]
  if not tree then
    tree = search(plan, node, family)
    known[node.index] = tree
  end
  return tree
end

---How far a segment is: 0 where the node is on it itself, math.huge where no way leads.
---@param segment nslua.lab.Segment?
---@return number
function Tree:distance_to(segment)
  return segment and (self.out[segment.number] and 0 or self.distance[segment.number]) or math.huge
end

-- The one router beside a host, as a hop over the cheapest link, and whether there are more.
local function beside(plan, node, family)
  local found, least
  for _, interface in ipairs(node.interfaces) do
    for _, other in ipairs(interface[family] and plan.graph.forwarders[family][interface.segment.number] or {}) do
      if found and found.to.node ~= other.node then
        return found, true
      elseif not found or interface.cost < least then
        found, least = { dev = interface.dev, to = other }, interface.cost
      end
    end
  end
  return found, false
end

local function route(destination, hops, family, multipath)
  if not multipath or #hops == 1 then
    return { destination, via = hops[1].to[family], dev = hops[1].dev }
  end
  local nexthops = {}
  for i, hop in ipairs(hops) do
    nexthops[i] = { via = hop.to[family], dev = hop.dev }
  end
  return { destination, nexthops = nexthops }
end

-- Routes to what others have on their lo: by the neighbour itself on a segment that both are on, else as to the node.
local function loopback_routes(plan, node, family, tree, neighbours_only, out)
  for _, other in ipairs(plan.with_loopback) do
    local best, least = nil, math.huge
    for _, interface in ipairs(other ~= node and other.interfaces or {}) do
      local distance = interface[family] and tree:distance_to(interface.segment) or math.huge
      if distance < least then
        best, least = interface, distance
      end
    end
    local s = best and best.segment.number
    local hops = best and (tree.out[s] and { { dev = tree.out[s].dev, to = best } }
      or not neighbours_only and (tree.hops[#plan.segments + other.index] or tree.hops[s]))
    for _, destination in ipairs(hops and other.loopback or {}) do
      if (destination:find(":", 1, true) ~= nil) == (family == "inet6") then
        out[#out + 1] = route(destination, hops, family, plan.multipath)
      end
    end
  end
end

---@param plan nslua.lab.Plan
---@param node nslua.lab.PlanNode
---@return table[]  see Plan:routes
function M.routes(plan, node)
  local out = {}
  for _, family in ipairs(families) do
    local default, several
    if node.kind == "host" and not node.container then -- the default route of a container is its own
      default, several = beside(plan, node, family)
      default = not several and default
    end
    if default then
      out[#out + 1] = route("default", { default }, family)
    end
    if not default or #plan.with_loopback > 0 then
      local tree = M.tree(plan, node, family)
      local hops = tree.hops
      for s, segment in ipairs(default and {} or plan.segments) do
        if hops[s] and segment[family] then
          out[#out + 1] = route(segment[family], hops[s], family, plan.multipath)
        end
      end
      loopback_routes(plan, node, family, tree, default, out)
    end
  end
  return out
end

return M
