-- Whose a socket is, and whether who has it open runs at all.

local procfs = require "nslua.procfs"

local M = {}

---Who has a socket open: "nginx (pid 812)"; nil where this process may not see it. Looked for once in an examination.
---@param space nslua.doctor.Snapshot
---@param row nslua.Socket
---@return string? words
---@return nslua.Owner[]? owners
function M.of(space, row)
  local exam = space.examination
  exam.owners = exam.owners or space.handle.sockets.owners()
  local owners = exam.owners[row.inode]
  if owners then
    return ("%s (pid %d)"):format(owners[1].command, owners[1].pid), owners
  end
end

-- The state of a process: behind the name, which may have anything in it. proc_pid_stat(5)
local function state(pid)
  return (procfs.read(("/proc/%d/stat"):format(pid)) or ""):match "^.*%) (%a)"
end

---Those of a socket's owners that are stopped by a signal, and the command that lets them go on, typed from here.
---@param owners nslua.Owner[]?
---@return string? seen
---@return string? fix
function M.stopped(owners)
  for _, owner in ipairs(owners or {}) do
    if state(owner.pid) == "T" then
      return ("pid %d (%s) is stopped: state T (/proc/%d/stat)"):format(owner.pid, owner.command, owner.pid), ("kill -CONT %d"):format(owner.pid)
    end
  end
end

return M
