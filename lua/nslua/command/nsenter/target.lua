-- The process that --target names, held by a pidfd: never another that got its number.

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"
local privilege = require "nslua.privilege"

local M = {}

---@class nslua.nsenter.Target
---@field pid integer
---@field pidfd nslua.fd
---@field by_path? boolean  the pidfd is not of this thread but of its process: its namespaces are opened by path
local Target = {}
Target.__index = Target

local function fail(message, errno, hint)
  errors.raise { call = "nsenter", errno = errno, message = message, hint = hint }
end

local PIDFS = 0x50494446 -- where pidfds have inodes of their own, Linux 6.9

-- Of a thread that is not its process's first: it may be in namespaces of its own.
local function of_thread(tid)
  local file <close> = io.open(("/proc/%d/status"):format(tid))
  local leader = file and tonumber(file:read "a":match "\nTgid:%s*(%d+)")
  local pidfd = leader and core.namespace.pidfd(tid, true)
  if pidfd then
    return pidfd
  end
  return leader and core.namespace.pidfd(leader), true -- before Linux 6.9
end

local function by_pid(word, pid, inode)
  if not pid or pid < 1 or pid > 0x7fffffff then
    fail(("failed to parse pid: '%s'"):format(word))
  end
  local pidfd, message, errno = core.namespace.pidfd(pid)
  local by_path
  if errno == core.errno.ESRCH then
    pidfd, by_path = of_thread(pid)
  end
  if not pidfd then
    fail(errno == core.errno.ESRCH and ("no process has the pid %d"):format(pid) or message, errno)
  end
  if inode then
    local _, own = pidfd:stat()
    if pidfd:fstype() ~= PIDFS then
      fail("pidfds of this kernel have no inode to compare", core.errno.EOPNOTSUPP, "Linux 6.9, or a plain pid")
    elseif own ~= inode then
      fail(("the process with pid %d is another: its pidfd has inode %d, not %d"):format(pid, own, inode), core.errno.ESRCH)
    end
  end
  return pid, pidfd, by_path
end

-- "docker:web" by whoever resolves that prefix, any other word is a container's name.
local function by_name(word)
  local prefix, rest = word:match "^(%l[%w_-]*):(.*)$"
  local resolver = prefix and ns.namespace.resolvers[prefix]
  local found = resolver and resolver(rest, "pid") or ns.container.find(word)
  if type(found) == "number" then
    return by_pid(word, found)
  elseif type(found) ~= "table" or not found.pid or not found.pidfd then
    fail(("'%s' names a namespace and no process"):format(word))
  end
  return found.pid, found.pidfd
end

---@param word string  a pid, "PID:INODE" (of its pidfd), or the name of a container
---@return nslua.nsenter.Target
function M.open(word)
  local self = setmetatable({}, Target)
  local pid, inode = word:match "^(%d+):?(%d*)$"
  if pid or word:find "^[+-]?%d*:?%d*$" then
    if not pid or word:sub(-1) == ":" then
      fail(("failed to parse pid: '%s'"):format(word))
    end
    self.pid, self.pidfd, self.by_path = by_pid(word, math.tointeger(tonumber(pid)), inode ~= "" and math.tointeger(tonumber(inode)) or nil)
  else
    self.pid, self.pidfd = by_name(word)
  end
  return self
end

-- What was read by the pid was the process's own, if it still lives.
function Target:check()
  if not core.namespace.pidfd_alive(self.pidfd) then
    fail(("the process with pid %d has ended"):format(self.pid), core.errno.ESRCH)
  end
end

---One of its namespaces.
---@param t string  "net"
---@return nslua.Namespace
function Target:namespace(t)
  local fd, _, errno
  if self.by_path then
    fd, _, errno = core.namespace.open(("/proc/%d/ns/%s"):format(self.pid, core.namespace.proc[t]), core.namespace.flags[t])
  else
    fd, _, errno = core.namespace.of_pidfd(self.pidfd, core.namespace.flags[t])
  end
  self:check()
  return fd and ns.namespace.wrap(t, fd) or fail(("cannot open the %s namespace of pid %d: %s"):format(t, self.pid, core.strerror(errno)), errno,
    privilege.hint(errno, { pid = self.pid, capability = "CAP_SYS_PTRACE" }))
end

---Open a file or fail as the command.
---@param path string
---@param mode string  as of core.fd.open
---@return nslua.fd
function M.file(path, mode)
  local fd, _, errno = core.fd.open(path, mode)
  return fd or fail(("cannot open %s: %s"):format(path, core.strerror(errno)), errno)
end

---One of its files in /proc.
---@param name string   "root"
---@param mode string   as of core.fd.open
---@return nslua.fd
function Target:open(name, mode)
  self:check()
  return M.file(("/proc/%d/%s"):format(self.pid, name), mode)
end

---The whole text of one of them.
---@param name string
---@return string
function Target:read(name)
  local fd <close> = self:open(name, "r")
  local parts = {}
  repeat
    local text, message, errno = fd:read()
    parts[#parts + 1] = errors.check(name, nil, text, message, errno)
  until text == ""
  return table.concat(parts)
end

---Its variables.
---@return table<string, string>
function Target:environment()
  local out = {}
  for name, value in self:read "environ":gmatch "([^=%z]+)=(%Z*)" do
    out[name] = out[name] or value
  end
  return out
end

---The network namespace of one of its sockets. PTRACE_MODE_ATTACH
---@param number integer  the fd
---@return nslua.Netns
function Target:socket_net(number)
  local what = ("net-socket %d"):format(number)
  local copy <close> = errors.check(what, nil, core.namespace.getfd(self.pidfd, number))
  local fd, message, errno = core.namespace.of_socket(copy)
  if not fd and (errno == core.errno.ENOTTY or errno == core.errno.EINVAL) then
    fail(("fd %d of pid %d is no socket"):format(number, self.pid), errno)
  end
  local owned <close> = errors.check(what, nil, fd, message, errno)
  return ns.namespace.open(owned, "net")
end

---Its effective uid and gid, as they are called in a user namespace.
---@param userns? nslua.Namespace  (default: this process's own)
---@return { uid: integer, gid: integer }
function Target:ids(userns)
  local function ask()
    local status = self:read "status"
    return tonumber(status:match "\nUid:%s*%d+%s+(%d+)"), tonumber(status:match "\nGid:%s*%d+%s+(%d+)")
  end
  if not userns then
    local uid, gid = ask()
    return { uid = uid, gid = gid }
  end
  local p <close> = ns.fork({ join = { user = userns } }, ask)
  local uid, gid = p:result()
  return { uid = uid, gid = gid }
end

return M
