-- What a subsystem of nfnetlink tells its multicast groups.

local core = require "nslua.core"
local errors = require "nslua.error"
local netfilter = require "nslua.netfilter.schema"
local netlink = require "nslua.netlink"
local units = require "nslua.units"

local M = {}

local BUFFER = 4 * 1024 * 1024 -- as ns.monitor's

---@class nslua.NetfilterEvent
---@field action "new"|"update"|"destroy"|"overrun"  "overrun": events were lost, read the state again
---@field object? table  the row
---@field netns string
---@field inode integer

---@class nslua.NetfilterMonitor
local Monitor = { __name = "nslua.NetfilterMonitor" }
Monitor.__index = Monitor

local function open_of(self, call)
  if not self.socket then
    errors.misuse("%s: the monitor is closed", call)
  end
end

---The next event.
---@param seconds? number|string  how long to wait for it (default: for ever; 0: do not wait)
---@return nslua.NetfilterEvent?  nil where the time ran out
function Monitor:next(seconds)
  open_of(self, "monitor.next")
  local deadline = seconds and core.fd.clock() + units.duration(seconds, "monitor.next: seconds")
  while true do
    local kind, bytes, errno, flags = self.socket:receive(deadline and math.max(0, deadline - core.fd.clock()))
    if kind then
      local action, row = self.read(kind, bytes, flags)
      if action then
        return { action = action, object = row, netns = self.netns, inode = self.inode }
      end
    elseif errno == core.errno.ENOBUFS then
      return { action = "overrun", netns = self.netns, inode = self.inode }
    elseif errno and errno ~= core.errno.EINTR then
      errors.check(self.call, { netns = self.netns }, nil, bytes, errno)
    elseif not errno then
      return nil
    end
  end
end

---Iterate over events, until none comes for that long.
---@param seconds? number|string
---@return fun(): nslua.NetfilterEvent?
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
  return ("%s in %s%s"):format(self.call, self.netns, self.socket and "" or " (closed)")
end

---@param handle nslua.Netns
---@param call string
---@param groups integer[]  NFNLGRP_*
---@param buffer? integer
---@param read fun(kind: integer, bytes: string, flags: integer): string?, table?  what a message says; nil: nothing of interest
---@return nslua.NetfilterMonitor
function M.open(handle, call, groups, buffer, read)
  local self = setmetatable({ call = call, netns = handle:describe(), inode = handle.inode, read = read }, Monitor)
  self.socket = netlink.socket(handle, call, netfilter.NETLINK_NETFILTER)
  self.socket:buffer(buffer or BUFFER)
  for _, group in ipairs(groups) do
    local ok, message, errno = self.socket:join(group)
    if not ok then
      self:close()
      errors.check(call, { netns = self.netns }, ok, message, errno)
    end
  end
  return self
end

return M
