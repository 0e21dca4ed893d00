-- What the words of a command say: a node of a lab that runs.

local check = require "nslua.check"
local errors = require "nslua.error"
local ns = require "nslua"

local M = {}

-- Where one is dropped off that says nothing: a host rather than a router.
local function first_of(lab)
  for _, kind in ipairs { "host", "router", "switch" } do
    for _, node in ipairs(lab.nodes) do
      if node.kind == kind then
        return node
      end
    end
  end
end

---A node of a lab, which stays open.
---@param lab_name string
---@param name? string  (default: the first host)
---@return nslua.lab.Node
function M.open(lab_name, name)
  local lab = ns.lab.open(lab_name)
  local node = name and lab.node[name] or not name and first_of(lab) or nil
  if not node then
    local known = {}
    for i, each in ipairs(lab.nodes) do
      known[i] = each.node_name
    end
    lab:close()
    errors.raise { call = "lab", message = name and check.unknown("node", name, known) or "it has no nodes",
      hint = known[1] and "there are " .. table.concat(known, ", ") or nil }
  end
  return node
end

return M
