-- Handles of namespaces of all eight types; unshare and setns of the calling thread itself.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local privilege = require "nslua.privilege"
local knamespace = core.namespace
local E, USER = core.errno, core.namespace.flags.user

local M = {}

M.types = { "cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts" }

---The type a word names; "mnt" is "mount". Raises misuse.
---@param call string
---@param word any
---@return string type
---@return integer flag  CLONE_NEW*
function M.type(call, word)
  if word == "mnt" then
    word = "mount"
  end
  local flag = type(word) == "string" and knamespace.flags[word]
  if not flag then
    errors.misuse("%s: %s", call, check.unknown("namespace type", word, M.types))
  end
  return word, flag
end

---Types from "net,uts", { "net", "uts" } or "all".
---@param call string
---@param words string|string[]
---@return string[] types
---@return integer flags
function M.typelist(call, words)
  local list, flags, seen = {}, 0, {}
  if words == "all" then
    words = M.types
  elseif type(words) == "string" then
    local split = {}
    for word in words:gmatch "[^%s,]+" do
      split[#split + 1] = word
    end
    words = split
  elseif type(words) ~= "table" then
    errors.misuse("%s: namespace types must be text (\"net,uts\") or a list, got %s", call, type(words))
  end
  for _, word in ipairs(words) do
    local t, flag = M.type(call, word)
    if not seen[t] then
      seen[t] = true
      list[#list + 1] = t
      flags = flags + flag
    end
  end
  if #list == 0 then
    errors.misuse("%s: no namespace type given", call)
  end
  return list, flags
end

---@class nslua.Namespace
---@field type string         "net", "mount", ...
---@field fd nslua.fd?        nil once closed
---@field inode integer       with `device` what identifies it while a handle is open
---@field device integer
---@field id integer?         64-bit id, never reused (Linux 6.18; nil before)
---@field owner nslua.Namespace?   user namespace that owns it; nil where this process may not see it
---@field owner_uid integer?  of a user namespace: the uid that made it, as seen from here
---@field parent nslua.Namespace?  of a user or pid namespace; nil at the edge of what this process may see
---@field userns nslua.Namespace?  user namespace it was made in (a copy of the handle given); joined before it
---@field pid integer?        process it was opened from
local Namespace = { __name = "nslua.Namespace" }
M.Namespace = Namespace

-- Fields that are asked of the kernel when first read. Owned handles are closed with this one.
local asked = {
  id = function(_, fd)
    return (knamespace.id(fd))
  end,
  owner = function(_, fd)
    local owner = knamespace.userns(fd)
    return owner and M.wrap("user", owner)
  end,
  parent = function(self, fd)
    local parent = (self.type == "user" or self.type == "pid") and knamespace.parent(fd)
    return parent and M.wrap(self.type, parent) or nil
  end,
  owner_uid = function(self, fd)
    return self.type == "user" and knamespace.owner_uid(fd) or nil
  end,
}

---What a class answers for a key: its methods, then what the kernel knows.
---@param methods table
function M.index(methods)
  return function(self, key)
    local value = methods[key]
    if value ~= nil then
      return value
    end
    local ask = asked[key]
    local fd = rawget(self, "fd")
    if ask and fd then
      value = ask(self, fd)
      rawset(self, key, value)
      return value
    end
  end
end

function Namespace.__eq(a, b)
  return a.inode == b.inode and a.device == b.device
end

local methods = {}
Namespace.methods = methods
Namespace.__index = M.index(methods)

---The fd of an open handle, or misuse.
---@param handle nslua.Namespace
---@param call string
---@return nslua.fd
function M.fd_of(handle, call)
  local fd = type(handle) == "table" and rawget(handle, "fd")
  if not fd then
    if not M.is(handle) then
      errors.misuse("%s: a handle expected, got %s (a method is called with a colon: handle:%s)", call, type(handle), call:match "[^.]+$")
    end
    errors.misuse("%s: %s is closed", call, handle:describe())
  end
  return fd
end

---Text for messages: label, name, or "net:[4026532000]".
---@return string
function methods:describe()
  return rawget(self, "label") or rawget(self, "name")
    or ("%s:[%s]"):format(knamespace.proc[self.type], tostring(rawget(self, "inode")))
end

-- What a handle may own beside its fd, in the order it is closed: processes, wires, the netlink sockets, a mount namespace for /sys,
-- a UTS namespace for its host name.
local held = { "pidfd", "processes", "wires", "netlink_socket", "netlink_sockets", "sys_mount", "uts", "home", "owner", "parent", "userns" }

---End the processes that belong to the handle, drop the fd and what was opened for it. The namespace lives on while something else holds it.
---@return true
function methods:close()
  local transaction = rawget(self, "transaction_running")
  if transaction then -- os.exit in the middle of one closes what is open first
    transaction:abandon()
  end
  local fd = rawget(self, "fd")
  self.fd = nil
  local failed
  for _, key in ipairs(held) do
    local object = rawget(self, key)
    rawset(self, key, nil)
    if object then
      local ok, err = pcall(object.close, object)
      failed = failed or not ok and err
    end
  end
  if fd then
    fd:close()
  end
  if failed then
    error(failed, 0)
  end
  return true
end

-- Programs inside: nslua.process, when first asked for.
for _, name in ipairs { "run", "spawn", "exec", "output", "fork", "shell" } do
  methods[name] = function(self, ...)
    return require("nslua.process").methods[name](self, ...)
  end
end

---Whether the handle is open.
---@return boolean
function methods:isopen()
  return rawget(self, "fd") ~= nil
end

function Namespace:__tostring()
  return ("%s namespace %s%s"):format(self.type, self:describe(), rawget(self, "fd") and "" or " (closed)")
end

function Namespace:__close()
  self:close()
end

-- type -> class, for types that have more than the generic methods ("net" and "user", from when their modules are loaded)
local classes = {}

---Give a type its own class of handles.
---@param t string
---@param class table  a metatable
function M.class(t, class)
  classes[t] = class
end

-- metatable -> type, of handles that are more than their type has: nodes of a lab
local derived = setmetatable({}, { __mode = "k" })

---Say that handles of a metatable are of a type too.
---@param t string
---@param class table  a metatable
function M.derive(t, class)
  derived[class] = t
end

-- A handle of a class whose module is not loaded yet is given it when something of it is asked for; that it is joined asks nothing.
local function settle(self)
  if not classes[self.type] then
    require(self.type == "net" and "nslua.netns" or "nslua.userns")
  end
  return setmetatable(self, classes[self.type])
end

local Unsettled = { __name = "nslua.Namespace", __eq = Namespace.__eq }
function Unsettled:__index(key)
  return settle(self)[key]
end
function Unsettled:__tostring()
  return tostring(settle(self))
end
function Unsettled:__close()
  settle(self):close()
end

---@type table<nslua.Namespace, true>
-- Every handle that is not collected, open or closed.
M.live = setmetatable({}, { __mode = "k" })

---A handle around an fd that is known to be a namespace of that type. The handle owns the fd.
---@param t string
---@param fd nslua.fd
---@param fields? table  name, label, userns, ...
---@return nslua.Namespace
function M.wrap(t, fd, fields)
  local self = fields or {}
  self.type = t
  self.fd = fd
  local device, inode, errno = fd:stat()
  if not device then
    fd:close()
    errors.check("namespace.open", nil, device, inode, errno)
  end
  self.device, self.inode = device, inode
  M.live[self] = true
  return setmetatable(self, classes[t] or (t == "net" or t == "user") and Unsettled or Namespace)
end

---Whether a value is a handle of a namespace (of that type).
---@param value any
---@param t? string
---@return boolean
function M.is(value, t)
  if type(value) ~= "table" then
    return false
  end
  local mt = getmetatable(value)
  return (mt == Namespace or mt == Unsettled or (mt ~= nil and (classes[rawget(value, "type")] == mt or derived[mt] ~= nil)))
    and (t == nil or value.type == t)
end

M.resolvers = require "nslua.resolvers"

-- Raise what the core said, with the hint; `netns` carries which one was meant.
local function opened(call, what, act, fd, message, errno)
  if fd then
    return fd
  end
  return errors.check(call, { netns = what, hint = privilege.hint(errno, act) }, fd, message, errno)
end

---A number that may be a pid, or misuse.
---@param call string
---@param pid number
---@return integer
function M.pid(call, pid)
  if not (pid >= 1 and pid <= 2147483647 and pid == math.floor(pid)) then
    errors.misuse("%s: %s is not a pid", call, tostring(pid))
  end
  return pid
end

-- Of a network namespace that belongs to another user namespace, as those of containers without root do: that one is joined before it, where
-- this process has no right to go there otherwise. Whoever made it may. user_namespaces(7)
local function found(self)
  local owner = self.type == "net" and not core.idmap.capable "sys_admin" and knamespace.userns(self.fd)
  local own = owner and knamespace.current(USER)
  if own then
    local device, inode = own:stat()
    local d, i = owner:stat()
    own:close()
    if d and (d ~= device or i ~= inode) then
      self.userns = M.wrap("user", owner)
      return self
    end
  end
  if owner then
    owner:close()
  end
  return self
end
M.found = found

local function from_pid(call, pid, t, flag)
  M.pid(call, pid)
  local what = ("pid %.0f"):format(pid)
  local pidfd = opened(call, what, {}, knamespace.pidfd(pid))
  local fd, message, errno = knamespace.of_pidfd(pidfd, flag)
  pidfd:close()
  return found(M.wrap(t, opened(call, what, { pid = pid, capability = "CAP_SYS_PTRACE" }, fd, message, errno), { pid = pid }))
end

local function from_path(call, path, t, flag)
  if path:find("\0", 1, true) then
    errors.raise { call = call, errno = core.errno.EINVAL, message = "a path has no NUL byte", detail = ("%q"):format(path) }
  end
  return found(M.wrap(t, opened(call, nil, { pid = path:match "^/proc/(%d+)/" }, knamespace.open(path, flag))))
end

-- What takes a number, an fd handle or a Lua file: misuse where it is none of these, or a closed one.
local function fd_number(call, fd)
  local ok, number = pcall(core.process.fileno, fd)
  if not ok then
    errors.misuse("%s: %s", call, (tostring(number):match "%((.*)%)" or tostring(number)))
  end
  return io.type(fd) and number or fd
end

-- An fd: of the namespace itself, or a pidfd.
local function from_fd(call, fd, t, flag)
  fd = fd_number(call, fd)
  local kind, _, errno = knamespace.type(fd)
  if not kind and errno == core.errno.EINVAL then
    local of, message, why = knamespace.of_pidfd(fd, flag)
    if of or why ~= core.errno.EINVAL then
      return found(M.wrap(t, opened(call, nil, { pid = true, capability = "CAP_SYS_PTRACE" }, of, message, why)))
    end
  end
  return found(M.wrap(t, opened(call, nil, {}, knamespace.dup(fd, flag))))
end

-- By its 64-bit id. A kernel that wants the inode too (6.18), or opens no namespace by handle, is served by looking for it.
local function from_id(call, id, t, flag)
  id = id:gsub("^0+(%d)", "%1")
  local fd, message, errno = knamespace.by_id(id, flag)
  if fd or errno == E.EINVAL or errno == E.ERANGE then
    return M.wrap(t, opened(call, "id " .. id, {}, fd, message, errno))
  end
  for _, row in ipairs(M.list { type = t }) do
    if row.id and tostring(row.id) == id then
      fd = knamespace.by_id(id, flag, row.inode)
      if fd then
        return M.wrap(t, fd)
      end
      local place = row.pid or row.paths[1] -- where rights do not do for a handle
      local handle = place and M.open(place, t, call)
      if handle and tostring(handle.id) == id then
        return handle
      elseif handle then
        handle:close()
      end
    end
  end
  local own = M.current(t)
  local has_ids = own.id ~= nil
  own:close()
  return errors.raise { call = call, netns = "id " .. id, errno = has_ids and E.ENOENT or E.EOPNOTSUPP,
    message = has_ids and ("no %s namespace with this id can be found"):format(t) or "namespaces have ids since Linux 6.18" }
end

local function of_number(open)
  return function(call, digits, t, flag)
    return open(call, tonumber(digits), t, flag)
  end
end
local numbered = { pid = of_number(from_pid), fd = of_number(from_fd), id = from_id }

---What "prefix:rest" stands for: "pid:12", "fd:3", "id:4711", or what a resolver makes of it. For M.open and for netns.lua, which owns names.
---@param call string
---@param text string
---@param t string
---@param flag integer
---@return nslua.Namespace?  nil for text without a prefix that is known
function M.prefixed(call, text, t, flag)
  local prefix, rest = text:match "^(%l[%w_-]*):(.*)$"
  if numbered[prefix] and rest:match "^%d+$" then
    return numbered[prefix](call, rest, t, flag)
  elseif prefix and M.resolvers[prefix] then
    return M.open(M.resolvers[prefix](rest, t), t, call)
  end
end

---Open a namespace.
---
---`target`: a handle (returned as it is), a pid, "pid:12", "fd:3", "id:4711" (its 64-bit id, Linux 6.18), "/path" (of /proc/PID/ns/X or a bind
---mount), "self" (this thread's own), an fd handle (of a namespace, or a pidfd), an object with a `pidfd`; for "net" any other text is a name in
---/run/netns.
---A pid is held by a pidfd while it is looked at: never the namespace of another process that got its number.
---@param target any
---@param t string  type; "mnt" is "mount"
---@param call? string  for messages
---@return nslua.Namespace
function M.open(target, t, call)
  call = call or "namespace.open"
  local flag
  t, flag = M.type(call, t)
  local kind = type(target)
  if kind == "number" then
    return from_pid(call, target, t, flag)
  elseif kind == "string" then
    if target:sub(1, 1) == "/" then
      if t == "net" then
        return require("nslua.netns").open(target)
      end
      return from_path(call, target, t, flag)
    elseif target == "self" and t ~= "net" then
      return M.current(t)
    end
    local handle = M.prefixed(call, target, t, flag)
    if handle then
      return handle
    elseif t == "net" then
      return require("nslua.netns").open(target)
    end
    errors.misuse("%s: %q is no pid, path or handle of a %s namespace", call, target, t)
  elseif kind == "userdata" then
    return from_fd(call, target, t, flag)
  elseif kind == "table" then
    if M.is(target) then
      if target.type ~= t and rawget(target, "pidfd") then -- of a container: the other namespaces of its process
        M.fd_of(target, call)
        return from_fd(call, target.pidfd, t, flag)
      elseif target.type ~= t then
        errors.misuse("%s: a %s namespace expected, got %s", call, t, tostring(target))
      end
      M.fd_of(target, call)
      return target
    elseif target.pidfd then
      return from_fd(call, type(target.pidfd) == "function" and target:pidfd() or target.pidfd, t, flag)
    end
  end
  return errors.misuse("%s: a handle, pid, path or name expected, got %s", call, kind)
end

M.open_path = from_path

---This thread's own namespace of a type.
---@param t string
---@return nslua.Namespace
function M.current(t)
  local flag
  t, flag = M.type("namespace.current", t)
  return M.wrap(t, opened("namespace.current", nil, {}, knamespace.current(flag)))
end

---Told when this thread has changed its namespaces; replaced by who keeps something of the old ones.
function M.moved() end

---Put the calling thread (user: process; pid, time: its later children) into new namespaces. unshare(2)
---@param types string|string[]  "net,uts"
---@return true
function M.unshare(types)
  local list, flags = M.typelist("unshare", types)
  local ok, message, errno = knamespace.unshare(flags)
  M.moved()
  local hint = privilege.hint(errno, { new = list, grant = 'with "user" among the types' })
  return errors.check("unshare", { detail = table.concat(list, ","), hint = hint }, ok, message, errno)
end

---Put the calling thread into an existing namespace, or into several of a process. setns(2)
---@param target any  a handle (then `types` only checks); or a pid, "pid:12", pidfd or process with `types`
---@param types? string|string[]
---@return true
function M.setns(target, types)
  local list, flags
  if types then
    list, flags = M.typelist("setns", types)
  end
  if M.is(target) then
    local t, flag = M.type("setns", target.type)
    if flags and flags ~= flag then
      errors.misuse("setns: %s is of type %s, not %s", tostring(target), t, table.concat(list, ","))
    end
    local fd = M.fd_of(target, "setns")
    local ok, message, errno = knamespace.setns(fd, flag)
    M.moved()
    return errors.check("setns", { detail = tostring(target), hint = privilege.hint(errno, { fd = fd, types = { t } }) }, ok, message, errno)
  end
  if not list then
    errors.misuse "setns: namespace types are needed with a process"
  end
  if #list == 1 then
    local handle = M.open(target, list[1], "setns")
    local ok, err = pcall(M.setns, handle)
    if not rawequal(handle, target) then
      handle:close()
    end
    return ok or error(err, 0)
  end
  local pidfd, owned
  if type(target) == "table" and target.pidfd then
    pidfd = type(target.pidfd) == "function" and target:pidfd() or target.pidfd
  elseif type(target) == "userdata" then
    pidfd = fd_number("setns", target)
  else
    local pid = type(target) == "number" and target or tonumber(type(target) == "string" and target:match "^pid:(%d+)$")
    if not pid then
      errors.misuse("setns: a pid, pidfd or process expected, got %s", type(target))
    end
    M.pid("setns", pid)
    pidfd = opened("setns", ("pid %.0f"):format(pid), {}, knamespace.pidfd(pid))
    owned = true
  end
  local ok, message, errno = knamespace.setns(pidfd, flags)
  M.moved()
  if owned then
    pidfd:close()
  end
  return errors.check("setns", { detail = table.concat(list, ","), hint = privilege.hint(errno, { types = list }) }, ok, message, errno)
end

---Every namespace that can be found. See nslua.census.
---@param filter? { type: string|string[], fds: boolean, sockets: boolean }
---@return nslua.NamespaceList
function M.list(filter)
  return require("nslua.census").list(filter)
end

local OFFSETS = "/proc/self/timens_offsets"

---Offsets of the time namespace that this process's next children are in. time_namespaces(7)
---@param pid? integer  of another process
---@return { monotonic: number, boottime: number } seconds
function M.time_offsets(pid)
  local path = pid and ("/proc/%.0f/timens_offsets"):format(pid) or OFFSETS
  local f, message, errno = core.fd.open(path, "r")
  errors.check("time_offsets", nil, f, message, errno)
  local text = f:read(4096) or ""
  f:close()
  local out = {}
  for name, s, n in text:gmatch "(%l+)%s+(-?%d+)%s+(%d+)" do
    out[name] = tonumber(s) + tonumber(n) / 1e9
  end
  return out
end

---Set them, after unshare "time" and before the first process is in it (EACCES after). Writing takes CAP_SYS_TIME in the owner.
---@param offsets { monotonic: number?, boottime: number? }  seconds, negative is back
---@return true
function M.set_time_offsets(offsets)
  check.options("set_time_offsets", offsets, { monotonic = "number", boottime = "number" })
  local lines = {}
  for _, name in ipairs { "monotonic", "boottime" } do
    local s = offsets[name]
    if s then
      local whole = math.floor(s)
      lines[#lines + 1] = ("%s %.0f %.0f\n"):format(name, whole, math.min(999999999, math.floor((s - whole) * 1e9 + 0.5)))
    end
  end
  local f, message, errno = core.fd.open(OFFSETS, "w")
  errors.check("set_time_offsets", nil, f, message, errno)
  local n
  n, message, errno = f:write(table.concat(lines))
  f:close()
  errors.check("set_time_offsets", { hint = errno == core.errno.EPERM and privilege.missing "CAP_SYS_TIME" or nil }, n, message, errno)
  return true
end

return M
