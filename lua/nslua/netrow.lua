-- From a row of ns.namespace.list to a handle.

local errors = require "nslua.error"
local netns = require "nslua.netns"

local M = {}

---Open the network namespace that a row tells of; nil where this process may not, or it is gone.
---@param row nslua.NamespaceRow
---@return nslua.Netns?
function M.open(row)
  for _, target in ipairs { row.pid or false, row.paths[1] or false, row.id and ("id:%d"):format(row.id) or false } do
    local ok, handle = nil, nil
    if target then
      ok, handle = pcall(netns.open, target)
    end
    if ok and handle.inode == row.inode then
      return handle
    elseif ok then
      handle:close() -- the process has moved
    elseif handle and not errors.is(handle) then
      error(handle, 0)
    end
  end
end

return M
