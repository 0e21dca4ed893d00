-- What users type where a network namespace is named: a name in /run/netns, a pid, a path, a container.

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"

local M = {}

---Open it. A bare word is a name in /run/netns, else a container's; digits are a pid, where no name is so.
---@param word string
---@return nslua.Netns
function M.open(word)
  local named = core.file.stat("/run/netns/" .. word) ~= nil
  if word:find "^%d+$" and not named then
    return ns.netns.open(math.tointeger(tonumber(word)) or word)
  end
  local ok, handle = pcall(ns.netns.open, word)
  if ok then
    return handle
  elseif not errors.is(handle, "ENOENT") or word:find "[:/]" or named then
    error(handle, 0)
  end
  local found, container = pcall(ns.container.find, word)
  if not found and errors.is(container, "ENOENT") then
    error(handle, 0)
  elseif not found then
    error(container, 0)
  end
  return container
end

return M
