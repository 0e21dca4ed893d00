-- What faults are made of: settings that are set back, several that are undone in turn.

local errors = require "nslua.error"

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

return M
