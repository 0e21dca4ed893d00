-- Faults of networks, to learn to find them and to test those who do: each is what really goes wrong, and can be mended.

local check = require "nslua.check"
local errors = require "nslua.error"
local foreign = require "nslua.lab.foreign"
local nodename = require "nslua.lab.nodename"

local M = {}

---@class nslua.lab.fault.Known
---@field why string                                what it is, in a line
---@field run fun(node: nslua.lab.Node): fun()      does it, and returns what mends it
---@field here? boolean                             it is of a device of the lab alone, with which it goes
---@field machine? boolean                          others on the machine feel it too

---@type table<string, nslua.lab.fault.Known>
M.known = {}
for _, group in ipairs {
  require "nslua.lab.fault.addresses",
  require "nslua.lab.fault.bridges",
  require "nslua.lab.fault.devices",
  require "nslua.lab.fault.filters",
  require "nslua.lab.fault.nat",
  require "nslua.lab.fault.routes",
  require "nslua.lab.fault.names",
  require "nslua.lab.fault.services",
  (require "nslua.lab.fault.sockets"),
} do
  for name, known in pairs(group) do
    M.known[name] = known
  end
end

---@class nslua.lab.Fault
---@field name string
---@field node nslua.lab.Node
---@field why string
local Fault = { __name = "nslua.lab.Fault" }
Fault.__index = Fault

---Undo it. Idempotent.
---@return true
function Fault:mend()
  local undo = self.undo
  self.undo = nil
  if undo and self.node:isopen() then
    undo()
  end
  return true
end
Fault.__close = Fault.mend

function Fault:__tostring()
  return ("%s on %s: %s%s"):format(self.name, self.node.node_name, self.why, self.undo and "" or " (mended)")
end

---@param lab nslua.Lab
---@param name string
---@param node string|nslua.lab.Node
---@param options? { machine: boolean? }
---@return nslua.lab.Fault
function M.make(lab, name, node, options)
  check.options("lab.fault", options or {}, { machine = "boolean" })
  local known = M.known[name] or errors.misuse("lab.fault: %s", check.unknown("fault", name, M.known))
  local where = nodename.of(node, "lab.fault", lab)
  local target = lab.node[where] or errors.misuse("lab.fault: %s", check.unknown("node", where, lab.node))
  if known.machine and not (options or {}).machine then
    errors.misuse("lab.fault: others on this machine feel %s too: { machine = true } says that they may", name)
  end
  if not known.here then
    foreign.refuse(target, "lab.fault")
  end
  return setmetatable({ name = name, node = target, why = known.why, undo = known.run(target) }, Fault)
end

return M
