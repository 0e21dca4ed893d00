-- Links named in other objects: the index of "eth0" in a namespace, and the namespaces that requests name.

local core = require "nslua.core"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local netlink = require "nslua.netlink"

local M = {}

-- Of a link by its name or altname. link.lua, which needs this file, knows all of links: most scripts that add routes need none of it.
local function index_of(handle, name, call)
  local index
  if name ~= "" and #name <= 15 and not name:find "%z" then
    index = netlink.index(handle, call, name)
  end
  if index == nil then
    return require("nslua.rtnl.link").index(handle, name, call)
  end
  return index or nil
end

---Raise where a text cannot name a link: 1 to 15 bytes, no "/", ":" or blank, not "." or "..".
---@param call string
---@param key string
---@param name any
---@return string name
function M.name(call, key, name)
  if type(name) ~= "string" then
    errors.misuse("%s: %s must be text, got %s", call, key, type(name))
  end
  local why
  if name == "" then
    why = "is empty"
  elseif #name > 15 then
    why = ("has %d bytes, 15 fit"):format(#name)
  elseif name:find "[/:%s%z]" then
    why = "has a slash, colon, blank or NUL in it"
  elseif name == "." or name == ".." then
    why = "is no name"
  end
  if why then
    errors.raise { call = call, errno = core.errno.EINVAL, message = ("the name %q %s"):format(name, why), detail = key }
  end
  return name
end

---Index of a link, from its index, its name (or altname), or a row of it.
---@param handle table  the namespace it is in
---@param value any
---@param call string
---@param key string  for the message
---@return integer
function M.index(handle, value, call, key)
  local kind = type(value)
  if kind == "string" then
    local index = netlink.device(handle, value, index_of, call)
    if not index then
      errors.raise { call = call, netns = handle:describe(), errno = core.errno.ENODEV, detail = ("%s = %q"):format(key, value) }
    end
    return index
  elseif kind == "number" then
    if value < 1 or value % 1 ~= 0 or value > 2147483647 then
      errors.misuse("%s: %s: %s is no index of a link", call, key, tostring(value))
    end
    return value
  elseif kind == "userdata" or kind == "table" then
    local index = value.index
    if type(index) == "number" then
      return index
    end
  end
  errors.misuse("%s: %s must be the name or index of a link, or its row, got %s", call, key, kind)
end

---The namespace that a request names, by handle, name, pid or path.
---@param value any
---@param call string
---@return table handle
---@return boolean owned  opened here, to be closed by the caller
function M.netns(value, call)
  local handle = namespace.open(value, "net", call)
  return handle, handle ~= value
end

return M
