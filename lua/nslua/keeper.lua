-- What a script without rights of its own needs done inside user namespaces, and the keeper: the process that ends with the script.
--
-- Two ways, chosen by what has to live on. An *errand* is a child of a few microseconds that joins a user namespace, makes namespaces or opens
-- sockets and files there, and leaves the fds with the script: what it made is held by those fds and nothing else. The *keeper* is a process: pid 1
-- of a pid namespace whose programs all end when the script does. The script itself never changes its user namespace.

local core = require "nslua.core"
local errors = require "nslua.error"
local idmap = require "nslua.idmap"
local namespace = require "nslua.namespace"
local privilege = require "nslua.privilege"

local M = {}

local USER, NET = core.namespace.flags.user, core.namespace.flags.net

-- User namespaces of our own making: an errand may take our memory along. Into any other it goes with a copy, closed to ptrace.
local made = setmetatable({}, { __mode = "k" })

---Whether this process has to go into a user namespace to make namespaces: it has no CAP_SYS_ADMIN in its own.
---@return boolean
function M.needed()
  return not core.idmap.capable "sys_admin"
end

local function is_own(userns_fd)
  if made[userns_fd] then
    return false
  end
  local own = core.namespace.current(USER)
  local device, inode = own:stat()
  own:close()
  local d, i = userns_fd:stat()
  return d == device and i == inode
end

local function hint(errno, message, at, steps, userns_fd)
  local step = at and steps[at]
  if errno == core.errno.EAGAIN then
    return "no process more for this user: RLIMIT_NPROC (`ulimit -u`), or pids.max of its cgroup"
  elseif not step then
    return privilege.hint(errno, {})
  elseif step[1] == "user" then
    if message:find("^user namespace") then
      return privilege.hint(errno, { new = { "user" } })
    end
    return idmap.hint(step[2], message, errno)
  elseif step[1] == "new" then
    return errno == core.errno.EPERM and privilege.apparmor() or privilege.hint(errno, { new = { "net" } })
  elseif step[1] == "join" then
    return errno == core.errno.EPERM and privilege.apparmor()
      or privilege.hint(errno, { fd = step[3] == USER and userns_fd or step[2], types = { step[3] == USER and "user" or "net" } })
  end
end

-- Do `steps` inside a user namespace (nil, or our own: without joining it); by `two` children, each a half of them.
local function errand(call, what, userns_fd, steps, two)
  local joins = userns_fd and not is_own(userns_fd) -- setns(2): one's own is EINVAL
  if joins then
    table.insert(steps, 1, { "join", userns_fd, USER })
  end
  local fds, message, errno, at = core.errand.run(steps, userns_fd ~= nil and not made[userns_fd], two and (joins and 1 or 0) or nil)
  if fds then
    return fds
  end
  return errors.check(call, { netns = what, hint = hint(errno, message, at, steps, userns_fd) }, fds, message, errno)
end

---Make a user namespace, a child of this process's own.
---@param maps nslua.IdMaps  of idmap.resolve
---@param call? string
---@return nslua.fd
function M.userns(maps, call)
  local fd = errand(call or "userns.new", nil, nil, { { "user", maps } })[1]
  made[fd] = true
  return fd
end

---Say that an fd is of a user namespace that this process made (a copy of one that M.userns gave).
---@param fd nslua.fd
---@return nslua.fd
function M.trust(fd)
  made[fd] = true
  return fd
end

---Whether it is.
---@param fd nslua.fd
---@return boolean
function M.trusted(fd)
  return made[fd] == true
end

local MANY = 16 -- are worth a second child: the kernel makes them side by side

---Make network namespaces inside a user namespace (nil: this process's own), all in one errand.
---@param userns_fd nslua.fd?
---@param count? integer  default 1
---@param call? string
---@return nslua.fd[]
function M.netns(userns_fd, count, call)
  local steps = {}
  for i = 1, count or 1 do
    steps[i] = { "new", NET }
  end
  return errand(call or "netns.new", nil, userns_fd, steps, #steps >= MANY)
end

---Make a UTS namespace with a host name.
---@param userns_fd nslua.fd?
---@param hostname string
---@return nslua.fd
function M.uts(userns_fd, hostname)
  return errand("hostname", nil, userns_fd, { { "new", core.namespace.flags.uts }, { "hostname", hostname } })[1]
end

---Open sockets in network namespaces of a user namespace, all in one errand.
---@param userns_fd nslua.fd
---@param list { [1]: nslua.fd, [2]: integer, [3]: integer, [4]: integer }[]  each { netns fd, domain, type, protocol }, as in socket(2)
---@param call? string
---@param what? string   the namespace, for messages
---@return nslua.fd[]
function M.sockets(userns_fd, list, call, what)
  local steps = {}
  for _, s in ipairs(list) do
    steps[#steps + 1] = { "join", s[1], NET }
    steps[#steps + 1] = { "socket", s[2], s[3], s[4] or 0 }
  end
  return errand(call or "netns.socket", what, userns_fd, steps)
end

---Open one socket.
---@param userns_fd nslua.fd
---@param netns_fd nslua.fd
---@param domain integer
---@param type integer
---@param protocol integer
---@param what? string
---@return nslua.fd
function M.socket(userns_fd, netns_fd, domain, type, protocol, what)
  return M.sockets(userns_fd, { { netns_fd, domain, type, protocol } }, nil, what)[1]
end

---Open a file as seen from inside (of /proc/net, /proc/sys/net), or write one there.
---@param userns_fd nslua.fd
---@param netns_fd nslua.fd
---@param path string
---@param text? string  write this, in one write(2)
---@param call? string
---@param what? string
---@param mode? "rw"     of the fd, to read from where it is missing
---@return nslua.fd|true  true after a write
function M.file(userns_fd, netns_fd, path, text, call, what, mode)
  local fds = errand(call or "netns.read", what, userns_fd, {
    { "join", netns_fd, NET },
    text and { "write", path, text } or { "open", path, mode },
  })
  return text and true or fds[1]
end

---Write files as seen from inside network namespaces, all in one errand. What is not there is passed over.
---@param userns_fd nslua.fd
---@param list { [1]: nslua.fd, [2]: string, [3]: string }[]  each { netns fd, path, text }; those of one namespace behind each other
---@param call string
function M.write(userns_fd, list, call)
  local steps, last = {}, nil
  for _, w in ipairs(list) do
    if w[1] ~= last then
      last = w[1]
      steps[#steps + 1] = { "join", last, NET }
    end
    steps[#steps + 1] = { "write", w[2], w[3], true }
  end
  errand(call, nil, userns_fd, steps)
end

---The id maps of a user namespace, as they were written: outside ids are those of its parent.
---@param userns_fd nslua.fd
---@return nslua.IdMaps
function M.maps(userns_fd)
  local fds = errand("userns.maps", nil, userns_fd, {
    { "open", "/proc/thread-self/uid_map" },
    { "open", "/proc/thread-self/gid_map" },
    { "open", "/proc/thread-self/setgroups" },
  })
  local out = {}
  for i, key in ipairs { "uid", "gid" } do
    local ranges = {}
    for a, b, c in idmap.read(fds[i]):gmatch "(%d+)%s+(%d+)%s+(%d+)" do
      ranges[#ranges + 1] = { tonumber(a), tonumber(b), tonumber(c) }
    end
    out[key] = { ranges = ranges, helper = false }
  end
  out.setgroups = idmap.read(fds[3]):match "%a+"
  return out
end

-- The user namespace of the keeper and of what lives in it, for a script without rights.
local home

---The user namespace that a script without rights owns and that its contained programs, labs and services share: made on first need, with
---root, and the ids of /etc/subuid and /etc/subgid where this user has some. nil for a script that needs none.
---@return nslua.Namespace?
function M.home()
  if not M.needed() then
    return nil
  end
  if not (home and home:isopen()) then
    local userns = require "nslua.userns"
    local wide = idmap.blocks("uid")[1] and idmap.blocks("gid")[1]
    local ok
    if wide then
      -- newuidmap may be missing, or refused (no setuid programs here): one id is enough then.
      ok, home = pcall(userns.new, { map_users = { "root", "auto" } })
    end
    if not ok then
      home = nil
      home = userns.new { map_users = "root" }
    end
  end
  return home
end

---@class nslua.Keeper
---@field pid nslua.Namespace      its pid namespace: what runs there ends with the script
---@field mount nslua.Namespace    its mount namespace, with a /proc of that pid namespace
---@field user nslua.Namespace?    the user namespace that owns both, where that is not the script's own
---@field join table               { user=, pid=, mount= }: as a spawn plan's `join`
---@field process userdata         alive() pid() close()
---@field proc_errno integer?      why its /proc could not be mounted (a container masks parts of /proc)

local Keeper = { __name = "nslua.Keeper" }
Keeper.__index = Keeper

-- One keeper, and one more for each further user namespace a script without rights contains programs in.
local keepers = {}

-- Keepers that were told to go and wait for programs that this process has yet to wait for.
local leaving = {}

local function sweep()
  for i = #leaving, 1, -1 do
    if leaving[i]:close() then
      table.remove(leaving, i)
    end
  end
end

---End the keeper, and with it everything in its pid namespace. Idempotent.
---@return true
function Keeper:close()
  for key, k in pairs(keepers) do
    if k == self then
      keepers[key] = nil
    end
  end
  if not rawget(self, "closed") and not self.process:close() then
    leaving[#leaving + 1] = self.process
  end
  self.closed = true
  self.pid:close()
  self.mount:close()
  return true
end

Keeper.__close = Keeper.close

---Whether it runs, as this process's own. Everything in it died with it.
---@return boolean
function Keeper:alive()
  return self.process:alive()
end

local function start(userns)
  local userns_fd = userns and namespace.fd_of(userns, "keeper")
  local process, pid, mount, user, proc_errno = core.keeper.start(userns_fd)
  if not process then
    local message, errno = pid, mount
    local step = message:match "^[^:]*"
    local act = step == "join user" and { fd = userns_fd, types = { "user" } }
      or (step == "unshare pid" or step == "unshare mount") and { new = { step:match "%a+$" } } or {}
    errors.raise {
      call = "keeper",
      errno = errno,
      detail = step,
      hint = errno == core.errno.EAGAIN and hint(errno, message) or errno == core.errno.EPERM and privilege.apparmor()
        or privilege.hint(errno, act),
    }
  end
  user:close()
  local self = setmetatable({ process = process, user = userns, proc_errno = proc_errno ~= 0 and proc_errno or nil }, Keeper)
  self.pid = namespace.wrap("pid", pid)
  self.mount = namespace.wrap("mount", mount)
  self.join = { user = userns, pid = self.pid, mount = self.mount }
  return self
end

-- The user namespace that a keeper is in: nil for a script with rights.
local function home_of(userns)
  if M.needed() then
    return userns or M.home()
  end
end

---One more keeper, for what has an end of its own: a lab.
---@param userns? nslua.Namespace  as of M.get
---@return nslua.Keeper
function M.new(userns)
  sweep()
  return start(home_of(userns))
end

---The keeper of this process: started on first need; started anew where it died or where this process is a forked child, which has none of
---its parent's. For a script with rights it is in the script's own user namespace, else in `userns` (default: M.home()).
---@param userns? nslua.Namespace  only looked at for a script without rights
---@return nslua.Keeper
function M.get(userns)
  userns = home_of(userns)
  local key = userns and ("%s:%s"):format(tostring(userns.device), tostring(userns.inode)) or "own"
  local k = keepers[key]
  if k and k:alive() then
    return k
  elseif k then
    k:close()
  end
  sweep()
  k = start(userns)
  keepers[key] = k
  return k
end

return M
