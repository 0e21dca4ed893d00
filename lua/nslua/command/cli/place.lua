-- What users type where a network namespace is named: a name in /run/netns, a pid, a path, a container.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"
local resolvers = require "nslua.resolvers"

local M = {}

-- The name that may have been meant, of those in /run/netns and of containers.
local function near(word)
  local known = {}
  for _, row in ipairs(ns.netns.list()) do
    known[row.name] = true
  end
  local ok, rows = pcall(ns.container.list)
  for _, row in ipairs(ok and rows or {}) do
    known[row.name], known[row.engine .. ":" .. row.name] = true, true
  end
  local best = check.nearest(word, known)
  return best and ("did you mean '%s'?"):format(errors.short(best)) or nil
end

---Open it. A dot is this process's own namespace, where the message speaks of containers.
---A bare word is a name in /run/netns, else a container's; digits are a pid, where no name is so and they are not
---more than a pid has: then they are the beginning of a container's id.
---@param word string
---@param tell? boolean  the message speaks of containers too; else it is that of ip(8)
---@return nslua.Netns
function M.open(word, tell)
  if tell and word == "." then
    return ns.netns.current()
  end
  local named = core.file.stat("/run/netns/" .. word) ~= nil
  if not named and word:find "^netns:." then
    word, named = word:sub(7), true
  end
  local pid = not named and word:find "^%d+$" and math.tointeger(tonumber(word))
  if pid and pid <= 0x7fffffff then
    return ns.netns.open(pid)
  end
  local ok, handle = pcall(ns.netns.open, word)
  if ok then
    return handle
  end
  local prefix = not named and word:match "^(%w+):"
  local strange = prefix and not resolvers[prefix] and prefix ~= "pid"
  local within = word:find "^[%w_][%w_.-]*/[^:]*$" and errors.is(handle, "EINVAL") -- "default/web", as containerd's and pods are listed
  if not within and (not errors.is(handle, "ENOENT") or word:find(strange and "/" or "[:/]") or named) then
    error(handle, 0)
  end
  local found, container = pcall(ns.container.find, word)
  if not found and strange then -- no engine is called so
    local message = tostring(container):gsub("^.-container%.find: ", "")
    if tell then
      errors.raise { call = "container.find", errno = core.errno.ENOENT, message = message, detail = '"' .. word .. '"' }
    end
    handle.hint = message
    error(handle, 0)
  elseif not found and errors.is(container, "ENOENT") then
    if tell then
      container.message, container.hint = "no such container, and no such name in /run/netns", container.hint or near(word)
      error(container, 0)
    end
    error(handle, 0)
  elseif not found then
    error(container, 0)
  end
  return container
end

return M
