-- Whose sockets are open: the processes that have an fd of each. proc_pid_fd(5)

local core = require "nslua.core"
local procfs = require "nslua.procfs"

local M = {}

---@class nslua.Owner
---@field pid integer
---@field fd integer
---@field command string  its name, of /proc/PID/comm: 15 bytes, and whatever the process put there

---The owners of sockets, of all processes that may be looked at.
---@return table<integer, nslua.Owner[]> owners  by inode
---@return integer unseen                        processes that may not be looked at
function M.of_sockets()
  local out, unseen = {}, 0
  for _, pid in ipairs(procfs.numbers "/proc" or {}) do
    local dir = procfs.dir(pid)
    local list, _, errno = core.owners.sockets(dir .. "/fd")
    if not list then
      unseen = unseen + (errno == core.errno.EACCES and 1 or 0)
    elseif list[1] then
      local command = (procfs.read(dir .. "/comm") or "?"):gsub("\n$", "")
      for i = 1, #list, 2 do
        local inode = list[i + 1]
        local owner = { pid = pid, fd = list[i], command = command }
        local known = out[inode]
        if known then
          known[#known + 1] = owner
        else
          out[inode] = { owner }
        end
      end
    end
  end
  return out, unseen
end

return M
