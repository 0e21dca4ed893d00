-- The directory of named network namespaces, shared with iproute2: /run/netns. ip-netns(8)

local core = require "nslua.core"
local errors = require "nslua.error"
local privilege = require "nslua.privilege"

local M = {}

local file, mount = core.file, core.mount
local E = core.errno
local NSFS_MAGIC = 0x6e736673

M.path = "/run/netns"

---Check a name as iproute2 does: 1 to 255 bytes, no "/", not "." or "..". Raises EINVAL.
---@param call string
---@param name any
---@return string name
function M.name(call, name)
  if type(name) ~= "string" then
    errors.misuse("%s: a name must be text, got %s", call, type(name))
  end
  local why
  if name == "" then
    why = "is empty"
  elseif #name > 255 then
    why = ("has %d bytes, 255 is the most"):format(#name)
  elseif name == "." or name == ".." then
    why = "is a directory"
  elseif name:find("/", 1, true) then
    why = "contains a slash"
  elseif name:find("\0", 1, true) then
    why = "contains a NUL byte"
  end
  if why then
    errors.raise { call = call, errno = E.EINVAL, message = "not a name of a network namespace: it " .. why,
      detail = ("name = %q"):format(#name > 64 and name:sub(1, 61) .. "..." or name) }
  end
  return name
end

---The file of a name.
---@param name string
---@return string
function M.file(name)
  return M.path .. "/" .. name
end

---What stands under a name: "alive" (a network namespace), "stale" (an empty file that was left behind), "other", or nil (nothing).
---@param name string
---@return string? state
---@return table? stat  see core.file.stat
function M.state(name)
  local st = file.stat(M.file(name), true)
  if not st then
    return nil
  end
  if st.type == "link" then -- people link names to /proc/PID/ns/net
    st = file.stat(M.file(name)) or st
  end
  if st.fstype == NSFS_MAGIC then
    local fd = core.namespace.open(M.file(name), core.namespace.flags.net)
    if fd then
      fd:close()
      return "alive", st
    end
    return "other", st
  end
  return st.type == "file" and st.size == 0 and "stale" or "other", st
end

local function checked(call, name, ok, message, errno)
  if ok ~= nil then
    return ok
  end
  local hint
  if errno == E.EPERM or errno == E.EACCES then
    hint = privilege.has "CAP_SYS_ADMIN" and M.path .. " belongs to another user"
      or "names in " .. M.path .. " need root: run as root, or " .. privilege.grants.anonymous
  else
    hint = privilege.hint(errno, {})
  end
  return errors.check(call, { netns = name, hint = hint }, ok, message, errno)
end

-- Make the directory a mount of its own with a fresh peer group, once, under the lock; as iproute2 does since 5.7. Without it a name
-- added in one mount namespace would be seen in no other; done twice at once, mounts would multiply.
local function set_up(call, name)
  if not file.stat(M.path) then
    local ok, message, errno = file.mkdir(M.path, 493) -- 0755
    if not ok and errno ~= E.EEXIST then
      checked(call, name, ok, message, errno)
    end
  end
  local lock = checked(call, name, file.lock(M.path))
  local ok, message, errno = mount.is_root(M.path)
  if ok == false then
    ok, message, errno = mount.bind(M.path, M.path, "rec")
    if ok then
      ok, message, errno = mount.propagation(M.path, "private")
      if ok then
        ok, message, errno = mount.propagation(M.path, "shared")
      end
      if not ok then
        mount.umount(M.path, "detach")
      end
    end
  end
  if not ok then
    lock:close()
    checked(call, name, ok, message, errno)
  end
  return lock
end

-- A file of mode 0 that is a moment old may be another iproute2's, which binds next and without the lock: give it that moment.
local function stays_stale(name, st)
  local function young(s)
    return s.mode == 0 and math.abs(file.now() - s.changed) < 0.1
  end
  local state = "stale"
  while state == "stale" and young(st) do
    core.fd.poll({}, 0.002)
    state, st = M.state(name)
  end
  return state == "stale" or state == nil
end

---Give a namespace a name. EEXIST where the name is taken; a file that was left behind is taken over.
---@param call string
---@param name string
---@param make fun(): nslua.fd  called once the name is known to be free
---@return nslua.fd
function M.bind(call, name, make)
  local path = M.file(M.name(call, name))
  local state, st = M.state(name)
  if state and (state ~= "stale" or not stays_stale(name, st)) then
    errors.raise { call = call, netns = name, errno = E.EEXIST, detail = path }
  end
  local fd = make()
  local lock
  local ok, err = pcall(function()
    lock = set_up(call, name)
    local f, message, errno = core.fd.open(path, "x", 0)
    if not f and errno == E.EEXIST then
      state, st = M.state(name)
      if state == nil or (state == "stale" and stays_stale(name, st)) then
        file.unlink(path)
        f, message, errno = core.fd.open(path, "x", 0)
      end
    end
    checked(call, name, f, message, errno)
    f:close()
    local bound
    bound, message, errno = mount.bind(("/proc/thread-self/fd/%.0f"):format(fd:number()), path)
    if not bound then
      file.unlink(path)
      checked(call, name, bound, message, errno)
    end
  end)
  if lock then
    lock:close()
  end
  if not ok then
    fd:close()
    error(err, 0)
  end
  return fd
end

---Remove a name; the namespace lives on while something holds it. ENOENT where there is none.
---@param call string
---@param name string
---@return true
function M.unbind(call, name)
  local path = M.file(M.name(call, name))
  -- One file may carry several mounts: each iproute2 that raced for the name left one.
  local ok, message, errno
  repeat
    ok, message, errno = mount.umount(path, "detach nofollow")
  until not ok
  local denied = errno == E.EPERM and message
  ok, message, errno = file.unlink(path)
  if not ok and errno == E.EBUSY and denied then
    errno, message = E.EPERM, denied
  end
  return checked(call, name, ok, message, errno)
end

---Every name, sorted. None where the directory is missing.
---@param call string
---@return string[]
function M.names(call)
  local names, message, errno = file.list(M.path)
  if not names and errno == E.ENOENT then
    return {}
  end
  checked(call, nil, names, message, errno)
  table.sort(names)
  return names
end

return M
