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

-- The cgroup that a process is frozen in, as a directory. cgroups(7): cgroup.events; of version 1 freezer.state
local function frozen(pid)
  for id, controllers, path in (procfs.read(("/proc/%d/cgroup"):format(pid)) or ""):gmatch "(%d+):([^:\n]*):(/[^\n]*)" do
    local roots = id == "0" and { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" } or controllers == "freezer" and { "/sys/fs/cgroup/freezer" }
    for _, root in ipairs(roots or {}) do
      local text = procfs.read(root .. path .. "/cgroup.events") or procfs.read(root .. path .. "/freezer.state") or ""
      if text:find "frozen 1" or text:find "^FROZEN" then
        return root .. path, id == "0"
      end
    end
  end
end

---Whether those who have a socket open are stopped by a signal or frozen, and the command that lets them go on, typed from here.
---@param space nslua.doctor.Snapshot
---@param owners nslua.Owner[]?
---@return string? seen
---@return string? fix
function M.stopped(space, owners)
  for _, owner in ipairs(owners or {}) do
    if state(owner.pid) == "T" then
      return ("pid %d (%s) is stopped: state T (/proc/%d/stat)"):format(owner.pid, owner.command, owner.pid), ("kill -CONT %d"):format(owner.pid)
    end
    local folder, two = frozen(owner.pid)
    if folder then
      local engine = rawget(space.handle, "container") and rawget(space.handle, "engine")
      local fix = (engine == "docker" or engine == "podman") and ("%s unpause %s"):format(engine, space.handle.container:sub(1, 12))
        or not folder:find "[^%w_./:@-]" and (two and "echo 0 > %s/cgroup.freeze" or "echo THAWED > %s/freezer.state"):format(folder) or nil
      return ("pid %d (%s) is frozen: its cgroup is (%s)"):format(owner.pid, owner.command, folder), fix
    end
  end
end

return M
