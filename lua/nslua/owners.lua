-- Whose sockets are open: the processes that have an fd of each. proc_pid_fd(5)

local core = require "nslua.core"

local M = {}

---@class nslua.Owner
---@field pid integer
---@field fd integer
---@field command string  its name, of /proc/PID/comm: 15 bytes, and whatever the process put there

---Walk over all processes that may be looked at.
---@param aside? boolean  in a thread, while the caller does something else; the first question waits for it
---@return table? scan    for `of`, and for core.socktext.lines; nil: there is no /proc
function M.scan(aside)
  return (core.owners.scan(aside))
end

---What a walk found.
---@param scan? table
---@return table<integer, nslua.Owner[]> owners  by inode
---@return integer unseen                        processes that may not be looked at
function M.of(scan)
  local commands, unseen = nil, 0
  if scan then
    commands, unseen = scan:commands()
  end
  local out = {}
  if not commands then
    return out, 0
  end
  local all = scan:all()
  for i = 1, #all, 4 do
    local owner, known = { pid = all[i + 1], fd = all[i + 2], command = commands[all[i + 3]] }, out[all[i]]
    if known then
      known[#known + 1] = owner
    else
      out[all[i]] = { owner }
    end
  end
  return out, unseen
end

---The owners of sockets, of all processes that may be looked at.
---@return table<integer, nslua.Owner[]> owners  by inode
---@return integer unseen                        processes that may not be looked at
function M.of_sockets()
  return M.of(M.scan())
end

return M
