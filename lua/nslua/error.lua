-- The error object that floors 1 to 3 raise, and how a core failure becomes one.

local core = require "nslua.core"

local M = {}

---@class nslua.Error
---@field code string        symbolic errno: "EEXIST"
---@field errno integer      its number
---@field call string        what was being done: "link.add"
---@field netns? string      where: the namespace's label, name or inode
---@field message string     what the kernel says of the errno, and what grants it where a right was missing
---@field where? string      "file:line" of the first frame outside nslua
---@field detail? string     what it was done to: `name = "eth0"`
---@field extack? string     the kernel's own words (netlink extended ack)
---@field attribute? string  path of the offending attribute: "link.linkinfo.data.id"
---@field value? any          what it was
---@field range? string      what the kernel's policy allows there
local Error = { __name = "nslua.Error" }
Error.__index = Error
M.Error = Error

-- Chunks below this prefix are nslua's own: "where" is the first frame outside of them.
local prefix = debug.getinfo(1, "S").source:gsub("error%.lua$", "")

---Whether a chunk name (debug.getinfo(...).source) is one of nslua's own files.
---@param source string
---@return boolean
function M.inside(source)
  return source:sub(1, #prefix) == prefix or source:sub(1, 2) == "=[" or source == "=?"
end

---The level, as error() counts it in the caller of `level_outside`, of the first frame outside nslua.
---@return integer level
---@return string? where "file:line"
function M.level_outside()
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then
      return 0, nil
    end
    if info.currentline > 0 and not M.inside(info.source) then
      return level - 1, ("%s:%d"):format(info.short_src, info.currentline)
    end
    level = level + 1
  end
end

function Error:__tostring()
  local parts = {}
  if self.where then
    parts[#parts + 1] = self.where .. ": "
  end
  parts[#parts + 1] = self.call or "nslua"
  if self.netns then
    parts[#parts + 1] = " in " .. self.netns
  end
  if self.code then
    parts[#parts + 1] = ": " .. self.code
  end
  if self.extack then
    local attribute = self.attribute
    if attribute and self.value ~= nil then
      attribute = attribute .. " = " .. tostring(self.value)
    end
    parts[#parts + 1] = ": " .. (attribute and attribute .. ": " or "") .. self.extack
    if self.range then
      parts[#parts + 1] = " (" .. self.range .. ")"
    end
  elseif self.message then
    parts[#parts + 1] = ": " .. self.message
  end
  if self.detail then
    parts[#parts + 1] = " (" .. self.detail .. ")"
  end
  if self.hint then
    parts[#parts + 1] = "; " .. self.hint
  end
  return table.concat(parts)
end

function Error.__concat(a, b)
  return tostring(a) .. tostring(b)
end

---Make an error object; `where` is found here.
---@param fields table  the fields of nslua.Error; `errno` alone is enough for `code` and `message`
---@return nslua.Error
function M.new(fields)
  local e = setmetatable(fields, Error)
  if e.errno and not e.code then
    e.code = core.errno[e.errno] or ("errno " .. e.errno)
  end
  if e.errno and not e.message then
    e.message = core.strerror(e.errno)
  end
  if not e.where then
    local _
    _, e.where = M.level_outside()
  end
  return e
end

---Raise an error object.
---@param fields table
function M.raise(fields)
  error(M.new(fields), 0)
end

---Pass a core result through, or raise what it failed with.
---@generic T
---@param call string     "netns.add"
---@param fields? table   further fields of the error object
---@param ok? T           the core function's results follow
---@return T
function M.check(call, fields, ok, message, errno, ...)
  if ok ~= nil then
    return ok, message, errno, ...
  end
  local e = {}
  for k, v in pairs(fields or {}) do
    e[k] = v
  end
  e.call = call
  e.errno = errno
  if not errno then
    e.message = message
  elseif not e.detail and message then
    -- "what: reason": the reason repeats strerror, what is new is the detail.
    local reason = ": " .. core.strerror(errno)
    if message:sub(-#reason) == reason then
      e.detail = message:sub(1, -#reason - 1)
    else
      e.message = message
    end
  end
  M.raise(e)
end

---Whether `e` is an error object, of that code if one is given.
---@param e any
---@param code? string  "EEXIST"
---@return boolean
function M.is(e, code)
  return type(e) == "table" and getmetatable(e) == Error and (code == nil or e.code == code)
end

---An error's text without the place in a script that Lua puts before it: "lab.lua:7: no such link" is "no such link".
---@param e any
---@return string
function M.without_place(e)
  return (tostring(e):gsub("^[^ ]*:%d+: ", "", 1))
end

---Text for a message: what is long is cut.
---@param text string
---@return string
function M.short(text)
  return #text <= 300 and text or ("%s... (%d bytes)"):format(text:sub(1, 100), #text)
end

---Raise a plain Lua error at the first line outside nslua: a misuse, not a failure.
---@param fmt string
function M.misuse(fmt, ...)
  local level = M.level_outside()
  error(select("#", ...) > 0 and fmt:format(...) or fmt, level > 0 and level or 0)
end

return M
