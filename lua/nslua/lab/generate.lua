-- Topologies of the usual shapes, for ns.lab: `ns.lab(ns.lab.star(8))`.

local errors = require "nslua.error"

local M = {}

local function count(call, value, least)
  if math.type(value) ~= "integer" or value < least then
    errors.misuse("lab.%s: a whole number of at least %d expected, got %s", call, least, tostring(value))
  end
  return value
end

-- Adds links that are all impaired alike.
local function linker(call, options)
  if options ~= nil and type(options) ~= "table" then
    errors.misuse("lab.%s: what links have is a table, got %s", call, type(options))
  end
  local t = { nodes = {}, links = {} }
  return t, function(a, b)
    local link = { a, b }
    for word, value in pairs(options or {}) do
      link[word] = value
    end
    t.links[#t.links + 1] = link
  end, function(name, kind)
    t.nodes[#t.nodes + 1] = { name, kind = kind }
  end
end

---Hosts h1 to hN on one switch, sw.
---@param hosts integer
---@param options? table  of each link: { delay = "1ms" }
---@return nslua.lab.Said
function M.star(hosts, options)
  count("star", hosts, 1)
  local t, link, node = linker("star", options)
  node("sw", "switch")
  for i = 1, hosts do
    node("h" .. i, "host")
    link("h" .. i, "sw")
  end
  return t
end

---Routers r1 to rN in a row, and a host at each end: h1 beside r1, h2 beside the last.
---@param routers integer
---@param options? table
---@return nslua.lab.Said
function M.line(routers, options)
  count("line", routers, 1)
  local t, link, node = linker("line", options)
  node("h1", "host")
  for i = 1, routers do
    node("r" .. i, "router")
    link(i == 1 and "h1" or "r" .. i - 1, "r" .. i)
  end
  node("h2", "host")
  link("r" .. routers, "h2")
  return t
end

-- Routers r1 to rN, linked as `join` says, each with a host of its number.
local function with_hosts(call, routers, options, join)
  local t, link, node = linker(call, options)
  for i = 1, routers do
    node("r" .. i, "router")
  end
  join(link)
  for i = 1, routers do
    node("h" .. i, "host")
    link("r" .. i, "h" .. i)
  end
  return t
end

---Routers r1 to rN in a ring, each with a host of its number.
---@param routers integer
---@param options? table
---@return nslua.lab.Said
function M.ring(routers, options)
  count("ring", routers, 3)
  return with_hosts("ring", routers, options, function(link)
    for i = 1, routers do
      link("r" .. i, "r" .. i % routers + 1)
    end
  end)
end

---Switches in a tree of that depth, each with so many below it, and hosts below the last: as mininet's `--topo tree,depth,fanout`.
---@param depth integer   of switches
---@param fanout integer
---@param options? table
---@return nslua.lab.Said
function M.tree(depth, fanout, options)
  count("tree", depth, 1)
  count("tree", fanout, 1)
  local t, link, node = linker("tree", options)
  local switches, hosts = 0, 0
  local function grow(level)
    local name
    if level > depth then
      hosts = hosts + 1
      name = "h" .. hosts
      node(name, "host")
      return name
    end
    switches = switches + 1
    name = "s" .. switches
    node(name, "switch")
    for _ = 1, fanout do
      link(name, grow(level + 1))
    end
    return name
  end
  grow(1)
  return t
end

---Routers r1 to rN, each linked with every other, each with a host of its number.
---@param routers integer
---@param options? table
---@return nslua.lab.Said
function M.mesh(routers, options)
  count("mesh", routers, 2)
  return with_hosts("mesh", routers, options, function(link)
    for i = 1, routers do
      for k = i + 1, routers do
        link("r" .. i, "r" .. k)
      end
    end
  end)
end

---A fat tree of k pods (Al-Fares, Loukissas, Vahdat 2008) of routers: (k/2)^2 core routers c1.., in each pod k/2 aggregation routers (a1_1: pod 1)
---and k/2 edge routers (e1_1), each of which has k/2 hosts (h1..). All shortest paths are used.
---@param k integer  even
---@param options? table
---@return nslua.lab.Said
function M.fat_tree(k, options)
  count("fat_tree", k, 2)
  if k % 2 == 1 then
    errors.misuse("lab.fat_tree: the number of pods is even, got %d", k)
  end
  local t, link, node = linker("fat_tree", options)
  local half, hosts = k // 2, 0
  for i = 1, half * half do
    node("c" .. i, "router")
  end
  for pod = 1, k do
    for i = 1, half do
      node(("a%d_%d"):format(pod, i), "router")
    end
    for i = 1, half do
      node(("e%d_%d"):format(pod, i), "router")
    end
    for i = 1, half do
      for j = 1, half do
        link(("c%d"):format((i - 1) * half + j), ("a%d_%d"):format(pod, i))
        link(("a%d_%d"):format(pod, i), ("e%d_%d"):format(pod, j))
      end
    end
    for i = 1, half do
      for _ = 1, half do
        hosts = hosts + 1
        node("h" .. hosts, "host")
        link(("e%d_%d"):format(pod, i), "h" .. hosts)
      end
    end
  end
  t.multipath = true
  return t
end

return M
