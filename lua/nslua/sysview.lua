-- The view a program gets with a network namespace: its own /sys, and over /etc the files of /etc/netns/NAME and those that the handle brings
-- along (handle.etc_files: { name =, text = }), in one mount namespace which is made at first need and kept by the handle (handle.sys_mount).

local core = require "nslua.core"

local M = {}

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

---Whether no view can be kept: a chroot of ours is no root of a mount namespace, and joining one would lead out of it.
---@return boolean
function M.in_chroot()
  return core.mount.is_root "/" == false
end

---The view that is kept for a handle, if it is still that of its /etc/netns/NAME.
---@param handle nslua.Netns
---@return nslua.fd?
---@return string? note  what could not be
function M.kept(handle)
  local fd = rawget(handle, "sys_mount")
  if not fd then
    return nil
  elseif handle.sys_key == select(2, etc_of(handle)) then
    return fd, handle.sys_note
  end
  fd:close()
  handle.sys_mount = nil
end

---Keep a view that has been made for a program.
---@param handle nslua.Netns
---@param fd nslua.fd     its mount namespace
---@param key string      what /etc/netns/NAME was then
---@param note? string
function M.keep(handle, fd, key, note)
  handle.sys_mount, handle.sys_key, handle.sys_note = fd, key, note
end

return M
