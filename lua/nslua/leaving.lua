-- Processes that were told to go and are not gone yet: the kernel takes down their devices or sockets first. They are waited for when the next one
-- starts, or they would stay in the list of processes as long as the script.

local M = {}

local list = {}

---Close a process, and remember it where it is not gone yet.
---@param process { close: fun(self): boolean }
function M.close(process)
  if not process:close() then
    list[#list + 1] = process
  end
end

---Those that are gone by now; the oldest first, as each that is not yet takes a moment.
---@return boolean  whether all are
function M.sweep()
  while list[1] and list[1]:close() do
    table.remove(list, 1)
  end
  return not list[1]
end

return M
