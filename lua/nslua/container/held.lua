-- The process behind the number in a state file, if it still is the container's.

local cgroups = require "nslua.container.cgroups"
local core = require "nslua.core"
local procfs = require "nslua.procfs"

local M = {}

---Whether a cgroup's path names a container: "/docker/ID", "/libpod-ID.scope/container", "cri-containerd-ID.scope", "/lxc.payload.NAME".
---@param text string  of /proc/PID/cgroup
---@param id string
---@return boolean
local function in_cgroup(text, id)
  local from = 1
  while true do
    local first, last = text:find(id, from, true)
    if not first then
      return false
    elseif text:find("^[/:.-]", first - 1) and (last == #text or text:find("^[/.\n]", last + 1)) then
      return true
    end
    from = last + 1
  end
end

local function uid_of(dir)
  return math.tointeger(tonumber((procfs.read(dir .. "/status") or ""):match "\nUid:%s*%d+%s+(%d+)"))
end

-- Whether a user namespace, or one above it, was made by a user.
local function made_by(fd, uid)
  local closer <close> = fd -- luacheck: ignore
  local above = core.namespace.owner_uid(fd) ~= uid and core.namespace.parent(fd)
  return above == false or above ~= nil and made_by(above, uid)
end

-- Whether a process is of the user whose files name it: it runs as that user, or in a user namespace that this user made. Else users could call
-- anything their container.
local function is_theirs(entry)
  local dir = procfs.dir(entry.pid)
  if uid_of(dir) == entry.uid or entry.uid == uid_of "/proc/self" then
    return true
  end
  local fd = core.namespace.open(dir .. "/ns/user", core.namespace.flags.user)
  return fd ~= nil and made_by(fd, entry.uid)
end

local function is_named(entry, text)
  for _, word in ipairs(entry.cgroups or { entry.container }) do
    if in_cgroup(text, word) then
      return true
    end
  end
  return false
end

local function is_its(entry, text)
  if entry.uid and not is_theirs(entry) then
    return false
  end
  if entry.start then
    return cgroups.started(entry.pid) == entry.start
  end
  text = text or procfs.read(procfs.dir(entry.pid) .. "/cgroup")
  if text and is_named(entry, text) then
    return true
  end
  local pid, start = (entry.started or function() end)()
  return start ~= nil and pid == entry.pid and cgroups.started(pid) == start
end

---Whether what was read just now says all: that the process is the container's. Where not, `pidfd` has the answer.
---@param entry nslua.container.Entry  with a pid
---@param text string  its /proc/PID/cgroup
---@return boolean
function M.was(entry, text)
  return not entry.uid and not entry.start and is_named(entry, text)
end

---@param entry nslua.container.Entry  with a pid
---@param text? string  its /proc/PID/cgroup, where that was read just now
---@return nslua.fd? pidfd   nil: it does not run
---@return "ended"|"another"|string|nil why  "another": the number is another process's now; else what the kernel said
---@return integer? errno
function M.pidfd(entry, text)
  local pidfd, message, errno = core.namespace.pidfd(entry.pid)
  if not pidfd then
    return nil, errno == core.errno.ESRCH and "ended" or message, errno
  end
  local its = is_its(entry, text)
  if not core.namespace.pidfd_alive(pidfd) then -- what was read may be of another that got its number
    pidfd:close()
    return nil, "ended"
  elseif not its then
    pidfd:close()
    return nil, "another"
  end
  return pidfd
end

return M
