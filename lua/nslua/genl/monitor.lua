-- What a family of generic netlink tells its multicast groups.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local units = require "nslua.units"

local M = {}

local NETLINK_GENERIC = 16
local BUFFER = 4 * 1024 * 1024 -- as ns.monitor's

---@class nslua.FamilyEvent
---@field action "event"|"overrun"  "overrun": events were lost, read the state again
---@field what? string|integer   the command, by the name it is declared with; its number where it is not
---@field object? nslua.FamilyRow  nil where the command is not declared
---@field netns string
---@field inode integer

---@class nslua.FamilyMonitor
local Monitor = { __name = "nslua.FamilyMonitor" }
Monitor.__index = Monitor

local function open_of(self, call)
  if not self.socket then
    errors.misuse("%s: the monitor is closed", call)
  end
end

local function event(self, action, what, object)
  return { action = action, what = what, object = object, netns = self.netns, inode = self.inode }
end

---The next event.
---@param seconds? number|string  how long to wait for it (default: for ever; 0: do not wait)
---@return nslua.FamilyEvent?     nil where the time ran out
function Monitor:next(seconds)
  open_of(self, "monitor.next")
  local deadline = seconds and core.fd.clock() + units.duration(seconds, "monitor.next: seconds")
  local family = self.family
  while true do
    local kind, bytes, errno = self.socket:receive(deadline and math.max(0, deadline - core.fd.clock()))
    if kind == family.info.family_id and #bytes >= 4 then
      local c = family.schema.heard[bytes:byte(1)] or family.schema.numbers[bytes:byte(1)]
      if not c then
        return event(self, "event", bytes:byte(1))
      end
      local S, set = family.schema, c.reply or c.set
      return event(self, "event", c.name, S:compile(set):row(bytes, S.classes[set], { handle = family.handle, family = family }))
    elseif not kind then
      if errno == core.errno.ENOBUFS then
        return event(self, "overrun")
      elseif errno and errno ~= core.errno.EINTR then
        errors.check(self.call, { netns = self.netns }, nil, bytes, errno)
      elseif not errno then
        return nil
      end
    end
  end
end

---Iterate over events, until none comes for that long.
---@param seconds? number|string
---@return fun(): nslua.FamilyEvent?
function Monitor:each(seconds)
  return function()
    return self:next(seconds)
  end
end

---Stop listening.
---@return true
function Monitor:close()
  if self.socket then
    self.socket:close()
    self.socket = nil
  end
  return true
end
Monitor.__close, Monitor.__gc = Monitor.close, Monitor.close

---For ns.wait, cqueues, luv, LuaSocket. When it is readable, or timeout() is over, call next(0) until it gives nil.
---@return integer
function Monitor:pollfd()
  open_of(self, "monitor.pollfd")
  return self.socket:pollfd()
end
Monitor.getfd = Monitor.pollfd

---@return string
function Monitor:events() -- luacheck: ignore 212
  return "r"
end

---@return number? seconds
function Monitor:timeout()
  return self.socket and self.socket:timeout()
end

function Monitor:__tostring()
  return ("monitor of %s%s"):format(tostring(self.family), self.socket and "" or " (closed)")
end

-- The number of a group in this kernel.
local function number(family, name, call)
  local names = {}
  for _, group in ipairs(family.info.mcast_groups or {}) do
    if group.name == name then
      return group.id
    end
    names[#names + 1] = group.name
  end
  if type(name) ~= "string" then
    errors.misuse("%s: the name of a group expected, got %s", call, type(name))
  end
  for _, declared in ipairs(family.schema.groups) do
    if declared == name then
      errors.raise { call = call, netns = family.handle:describe(), errno = core.errno.ENOENT,
        message = ("this kernel's family %s has no group %q"):format(family.schema.name, name) }
    end
  end
  errors.misuse("%s: %s", call, check.unknown("group", name, names))
end

---@param family nslua.Family
---@param groups string|string[]
---@param options? { buffer: integer }
---@return nslua.FamilyMonitor
function M.monitor(family, groups, options)
  local call = family.schema.name .. ".monitor"
  check.argument(call, "groups", groups, "string|table")
  check.options(call, options or {}, { buffer = "integer" })
  local ids = {}
  for i, name in ipairs(type(groups) == "table" and groups or { groups }) do
    ids[i] = number(family, name, call)
  end
  if not ids[1] then
    errors.misuse("%s: no group", call)
  end
  local handle = family.handle
  local self = setmetatable({ family = family, call = call, netns = handle:describe(), inode = handle.inode }, Monitor)
  self.socket = netlink.socket(handle, call, NETLINK_GENERIC)
  self.socket:buffer(options and options.buffer or BUFFER)
  for _, id in ipairs(ids) do
    local ok, message, errno = self.socket:join(id)
    if not ok then
      self:close()
      errors.check(call, { netns = self.netns }, ok, message, errno)
    end
  end
  return self
end

return M
