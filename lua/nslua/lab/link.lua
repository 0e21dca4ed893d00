-- Links of a lab, while it runs: down and up, and what impairs them.

local M = {}

---@class nslua.lab.Link
---@field lab nslua.Lab
---@field name string?
---@field number integer          in the topology
---@field subnet string|string[]|nil  of the segment that it is part of, IPv4 before IPv6
---@field ends { node: nslua.lab.Node, dev: string }[]  two
local Link = { __name = "nslua.lab.Link" }
Link.__index = Link

---@param lab nslua.Lab
---@param plan nslua.lab.PlanLink
---@return nslua.lab.Link
function M.of(lab, plan)
  local self = setmetatable({ lab = lab, plan = plan, name = plan.name, number = plan.index, ends = {} }, Link)
  for side, at in ipairs(plan.ends) do
    self.ends[side] = { node = lab.node[at.node], dev = at.dev }
  end
  local segment = plan.segments[1]
  local list = {}
  for _, family in ipairs { "inet", "inet6" } do
    list[#list + 1] = segment and segment[family] or nil
  end
  self.subnet = #list > 1 and list or list[1]
  return self
end

---Pull the plug: both ends go down, and with them the routes that lead over them.
---@return nslua.lab.Link
function Link:down()
  for _, at in ipairs(self.ends) do
    at.node.link:change(at.dev, { up = false })
  end
  self.is_down = true
  return self
end

-- What the kernel took away with the device, and does not bring back.
local function restore(node, dev)
  local plan = node.plan
  for _, interface in ipairs(plan.interfaces) do
    if interface.dev == dev or interface.parent and interface.parent.dev == dev then
      if interface.parent then
        node.link:change(interface.dev, { up = true })
      end
      for _, address in ipairs(interface.addresses) do
        node.address:ensure { address, dev = interface.dev, nodad = address:find(":", 1, true) and true or nil }
      end
    end
  end
  for _, route in ipairs(node.lab.plan:routes(plan.name)) do
    node.route:ensure(route)
  end
end

---Put it back: both ends up, with the addresses and routes the lab gave them.
---@return nslua.lab.Link
function Link:up()
  for _, at in ipairs(self.ends) do
    at.node.link:change(at.dev, { up = true })
  end
  self.is_down = nil
  for _, at in ipairs(self.ends) do
    if at.node.kind ~= "switch" then
      restore(at.node, at.dev)
    end
  end
  require("nslua.lab.build").settle(self.lab, 10)
  return self
end

function Link:__tostring()
  return ("link %s:%s -- %s:%s%s"):format(self.ends[1].node.node_name, self.ends[1].dev, self.ends[2].node.node_name, self.ends[2].dev,
    self.is_down and " (down)" or "")
end

return M
