-- Nodes as they are named: by their name, or by themselves.

local errors = require "nslua.error"

local M = {}

---@param value any
---@param call string
---@return string
function M.of(value, call)
  if type(value) == "string" then
    return value
  end
  local name = type(value) == "table" and rawget(value, "node_name")
  if not name then
    errors.misuse("%s: a node or its name expected, got %s", call, type(value))
  end
  return name
end

return M
