-- What faults are made of: settings that are set back, tables that are loaded, several that are undone in turn.

local errors = require "nslua.error"
local eventually = require("nslua.eventually").eventually
local firewall = require "nslua.lab.firewall"

local M = {}

---Set a sysctl.
---@param node nslua.lab.Node
---@param name string
---@param value string|integer
---@return fun() undo
function M.sysctl(node, name, value)
  local old = node:sysctl(name)
  node:sysctl(name, value)
  return function()
    node:sysctl(name, old)
  end
end

---Change a link.
---@param node nslua.lab.Node
---@param link string|integer
---@param words table  of link:change; what they were is what a row says of them
---@return fun() undo
function M.change(node, link, words)
  local row, old = node.link:get(link), {}
  for word in pairs(words) do
    old[word] = row[word]
  end
  node.link:change(link, words)
  return function()
    node.link:change(link, old)
  end
end

---Load a table of nf_tables.
---@param node nslua.lab.Node
---@param name string    "table inet nslua_fault"
---@param chains string  what stands in its braces
---@return fun() undo  the table goes, where it is still there
function M.load(node, name, chains)
  local gone = ("%s\ndelete %s\n"):format(name, name)
  firewall.load(node, "lab.fault", ("%s%s { %s }\n"):format(gone, name, chains))
  return function()
    firewall.load(node, "lab.fault", gone)
  end
end

---Undo all of a list, the last first.
---@param list (fun())[]
---@return fun() undo
function M.all(list)
  return function()
    for i = #list, 1, -1 do
      list[i]()
    end
  end
end

---Wait until a fault is seen. Where it never is, or the look raises, it is undone, and that raises.
---@param undo fun()
---@param look fun(): any  is asked until it says yes
---@return fun() undo
function M.seen(undo, look)
  local ok, e = pcall(eventually, look)
  if not ok then
    undo()
    error(e, 0)
  end
  return undo
end

---What puts back the IPv6 addresses of a device, and the routes by it.
---@param node nslua.lab.Node
---@param dev string
---@return fun() undo
function M.addresses6(node, dev)
  local addresses, routes = {}, {}
  for _, row in ipairs(node.address:list { dev = dev, family = "inet6" }) do
    addresses[#addresses + 1] = row.scope ~= "link" and row.address or nil
  end
  for _, row in ipairs(node.route:list { family = "inet6", table = "main" }) do
    if row.dev == dev and row.via then
      routes[#routes + 1] = { row.dst, via = row.via, dev = dev, family = "inet6" }
    end
  end
  return function()
    for _, address in ipairs(addresses) do
      node.address:ensure { address, dev = dev, nodad = true }
    end
    for _, route in ipairs(routes) do
      node.route:ensure(route)
    end
  end
end

---The first interface of a node, as it was planned.
---@param node nslua.lab.Node
---@return table interface
function M.first_device(node)
  return node.plan.interfaces[1] or errors.misuse("lab.fault: %s has no interface", node.node_name)
end

---The switch a node is on, and its port there.
---@param node nslua.lab.Node
---@return nslua.lab.Node switch
---@return integer index
function M.port_of(node)
  local at = M.first_device(node)
  local switch = node.lab.node[at.peer]
  if not switch or switch.plan.kind ~= "switch" then
    errors.misuse("lab.fault: %s is on no switch", node.node_name)
  end
  return switch, node.link:get(at.dev).link_index
end

---Set an option of the port that a node is on.
---@param node nslua.lab.Node
---@param word string  of `port` of a link
---@param value any
---@return fun() undo
function M.port(node, word, value)
  local switch, index = M.port_of(node)
  local old = switch.link:get(index).port[word]
  switch.link:change(index, { port = { [word] = value } })
  return function()
    switch.link:change(index, { port = { [word] = old } })
  end
end

return M
