-- What users type where a network namespace is named: a name in /run/netns, a pid, a path, a container.

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"

local M = {}

---Open it. A bare word is a name in /run/netns, else a container's; digits are a pid, where no name is so and they are not
---more than a pid has: then they are the beginning of a container's id.
---@param word string
---@param tell? boolean  the message says what of containers could not be read; else it is that of ip(8)
---@return nslua.Netns
function M.open(word, tell)
  local named = core.file.stat("/run/netns/" .. word) ~= nil
  local pid = not named and word:find "^%d+$" and math.tointeger(tonumber(word))
  if pid and pid <= 0x7fffffff then
    return ns.netns.open(pid)
  end
  local ok, handle = pcall(ns.netns.open, word)
  if ok then
    return handle
  end
  local within = word:find "^[%w_][%w_.-]*/[^:]*$" and errors.is(handle, "EINVAL") -- "default/web", as containerd's and pods are listed
  if not within and (not errors.is(handle, "ENOENT") or word:find "[:/]" or named) then
    error(handle, 0)
  end
  local found, container = pcall(ns.container.find, word)
  if not found and errors.is(container, "ENOENT") then
    handle.hint = handle.hint or tell and container.message .. (container.hint and "; " .. container.hint or "") or nil
    error(handle, 0)
  elseif not found then
    error(container, 0)
  end
  return container
end

return M
