-- Nodes as they are named: by their name, or by themselves.

local errors = require "nslua.error"

local M = {}

---@param value any
---@param call string
---@param lab? nslua.Lab  whose node it has to be: another lab's may have the same name
---@return string
function M.of(value, call, lab)
  if type(value) == "string" then
    return value
  end
  local name = type(value) == "table" and rawget(value, "node_name")
  if not name then
    errors.misuse("%s: a node or its name expected, got %s", call, type(value))
  end
  local its = rawget(value, "lab")
  if lab and its and its ~= lab and its.name ~= lab.name then
    errors.misuse("%s: %s is a node of another lab", call, name)
  end
  return name
end

return M
