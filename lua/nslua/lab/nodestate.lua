-- What is wrong with nodes, as far as it can be seen from outside: what a failed expectation says besides.

local errors = require "nslua.error"

local M = {}

local function add(out, node, ...)
  out[#out + 1] = node.node_name .. ": " .. (...):format(select(2, ...))
end

local function links_of(node, out)
  for row in node.link:each() do
    if row.name ~= "lo" and not row.up then
      add(out, node, "%s is down", row.name)
    elseif row.name ~= "lo" and row.carrier == false then
      add(out, node, "%s has no carrier", row.name)
    end
  end
  for row in node.neighbour:each() do
    if row.state == "failed" or row.state == "incomplete" then
      add(out, node, "neighbour %s on %s: %s", row.dst, row.dev, row.state)
    end
  end
end

local function route_of(node, other, out)
  local address = other.lab.plan:address_of(other.node_name, node.node_name) or other:address_of()
  if address and node ~= other then
    local ok, e = pcall(node.route.lookup, node.route, { address })
    if not ok and errors.is(e) then
      add(out, node, "no route to %s (%s): %s", other.node_name, address, e.code == "EINVAL" and "a blackhole leads there" or e.message)
    end
  end
end

-- How far the nodes are from one of them: the cost of the links, 1 where none is said.
local function distances(lab, from)
  local out, again = { [from] = 0 }, true
  while again do
    again = false
    for i, link in ipairs(lab.plan.links) do
      local said = lab.topology.links[i]
      local cost = said and tonumber(said.cost) or 1
      for side = 1, 2 do
        local here, there = link.ends[side].node, link.ends[3 - side].node
        if out[here] and out[here] + cost < (out[there] or math.huge) then
          out[there], again = out[here] + cost, true
        end
      end
    end
  end
  return out
end

---The nodes on the shortest ways from one to another, with both.
---@param lab nslua.Lab
---@param from nslua.lab.Node
---@param to nslua.lab.Node
---@return nslua.lab.Node[]
function M.between(lab, from, to)
  local near, far, out = distances(lab, from.node_name), distances(lab, to.node_name), {}
  local length = near[to.node_name]
  for _, node in ipairs(lab.nodes) do
    local a, b = near[node.node_name], far[node.node_name]
    if node == from or node == to or length and a and b and a + b == length then
      out[#out + 1] = node
    end
  end
  table.sort(out, function(a, b)
    return (near[a.node_name] or math.huge) < (near[b.node_name] or math.huge)
  end)
  return out
end

---Links that are down, neighbours that do not answer; and where it is said who wants to reach whom, what has no route, on all the way.
---@param lab nslua.Lab
---@param nodes nslua.lab.Node[]
---@param from? nslua.lab.Node
---@param to? nslua.lab.Node
---@return string[]
function M.lines(lab, nodes, from, to)
  local out, looked = {}, {}
  local way = from and to and M.between(lab, from, to) or {}
  for _, list in ipairs { nodes, way } do
    for _, node in ipairs(list) do
      if not looked[node] and node:isopen() then
        looked[node] = true
        links_of(node, out)
      end
    end
  end
  for _, node in ipairs(way) do
    if node.kind ~= "switch" and node:isopen() then
      route_of(node, to, out)
      route_of(node, from, out)
    end
  end
  return out
end

return M
