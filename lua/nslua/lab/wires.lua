-- Which links of a lab are impaired, and by what: netem where the kernel has it, wires where it has not.

local M = {}

---Whether a link cannot be a plain veth.
---@param lab nslua.Lab
---@param link nslua.lab.TopologyLink
---@return boolean
function M.needed(lab, link)
  return false
end

function M.add(lab, topology)
end

function M.impair(lab, topology)
end

return M
