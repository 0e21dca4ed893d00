-- The view a program gets with a network namespace: its own /sys, and /etc/netns/NAME over /etc, in one mount namespace
-- which is made at first need and kept by the handle (handle.sys_mount).

local core = require "nslua.core"

local M = {}

local SLAVE = 0x80000 -- MS_SLAVE: what the host mounts later is seen too

-- What /etc/netns/NAME is now; another answer later makes the view anew.
local function etc_of(handle)
  local name = rawget(handle, "name")
  if not name then
    return nil, ""
  end
  local path = "/etc/netns/" .. name
  local st = core.file.stat(path)
  if not st or st.type ~= "directory" then
    return nil, ""
  end
  -- not the folder's times alone: two changes within one tick of the kernel's clock have the same
  local key = { ("%s:%s:%.9f"):format(tostring(st.device), tostring(st.inode), st.changed) }
  for _, entry in ipairs(core.file.list(path) or {}) do
    local file = core.file.stat(path .. "/" .. entry)
    key[#key + 1] = entry .. ":" .. tostring(file and file.inode)
  end
  table.sort(key)
  return path, table.concat(key, "/")
end
M.etc_of = etc_of

-- A chroot of ours is no root of a mount namespace: joining one would lead out of it.
local function in_chroot()
  return core.mount.is_root "/" == false
end

---The mount namespace of a handle's view.
---@param handle nslua.Netns
---@param join table[]      what a plan joins, user and net among it
---@return nslua.fd? fd     nil where the view must be made for each program
---@return string? note     what could not be
---@return integer? errno   where even making it failed, with the step and the detail
---@return string? step
---@return string? detail
function M.of(handle, join)
  local etc, key = etc_of(handle)
  local fd = rawget(handle, "sys_mount")
  if fd and handle.sys_key == key then
    return fd, handle.sys_note
  elseif in_chroot() then
    return nil
  end
  if fd then
    fd:close()
    handle.sys_mount = nil
  end
  local only = {}
  for _, j in ipairs(join) do
    if j.name == "net" or j.name == "user" then
      only[#only + 1] = j
    end
  end
  local ok, note, errno, made, detail = core.process.spawn {
    join = only, unshare = core.namespace.flags.mount, propagation = SLAVE, sys = true, etc = etc, give_mount = true,
  }
  if ok == nil then
    return nil, note, errno, made, detail
  end
  note = note and ("%s (%s)"):format(note, core.strerror(errno))
  handle.sys_mount, handle.sys_key, handle.sys_note = made, key, note
  return made, note
end

return M
