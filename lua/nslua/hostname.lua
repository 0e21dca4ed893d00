-- The host name that programs in a handle see, where the handle says one (handle.hostname): in a UTS namespace that it keeps.

local keeper = require "nslua.keeper"
local namespace = require "nslua.namespace"

local M = {}

---@param handle nslua.Namespace  with `hostname`
---@return nslua.Namespace uts  closed with the handle
function M.uts(handle)
  local uts = rawget(handle, "uts")
  if not uts then
    local userns = rawget(handle, "userns")
    uts = namespace.wrap("uts", keeper.uts(userns and userns.fd, handle.hostname))
    rawset(handle, "uts", uts)
  end
  return uts
end

return M
