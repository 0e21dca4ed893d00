-- What the words of a command say: a node of a lab that runs.

local check = require "nslua.check"
local errors = require "nslua.error"
local ns = require "nslua"

local M = {}

---A node of a lab, which stays open.
---@param lab_name string
---@param name string
---@return nslua.lab.Node
function M.open(lab_name, name)
  local lab = ns.lab.open(lab_name)
  local node = lab.node[name]
  if not node then
    local known = {}
    for i, each in ipairs(lab.nodes) do
      known[i] = each.node_name
    end
    lab:close()
    errors.raise { call = "lab", message = check.unknown("node", name, known),
      hint = known[1] and "there are " .. table.concat(known, ", ") or nil }
  end
  return node
end

return M
