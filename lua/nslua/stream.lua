-- The pipes (or the pty) of a process as streams: read as a Lua file is read, write, close, and pollable.

local core = require "nslua.core"
local errors = require "nslua.error"
local units = require "nslua.units"

local M = {}

---@class nslua.Stream
---@field fd nslua.fd?  nil once closed
local Stream = { __name = "nslua.Stream" }
Stream.__index = Stream
M.Stream = Stream

---@param fd nslua.fd
---@param name string  for messages: "stdout"
---@return nslua.Stream
function M.new(fd, name)
  return setmetatable({ fd = fd, name = name, buffer = "" }, Stream)
end

local function open_fd(self, what)
  if not self.fd then
    errors.misuse("%s: %s is closed", what, self.name)
  end
  return self.fd
end

-- Wait for the fd; false when the time ran out. A signal handler gets its turn between two waits.
local function ready(fd, what, deadline)
  while true do
    local left = deadline and math.max(0, deadline - core.fd.clock())
    local list, message, errno = core.fd.poll({ { fd, what } }, left)
    if list then
      return true
    elseif not errno then
      return false
    elseif errno ~= core.errno.EINTR then
      errors.check("poll", nil, list, message, errno)
    end
  end
end

-- One more read(2) into the buffer: true, false at the end, nil when the time ran out.
local function fill(self, deadline)
  if self.ended then
    return false
  end
  if not ready(self.fd, "r", deadline) then
    return nil
  end
  local text, message, errno = self.fd:read()
  if not text then
    if errno == core.errno.EIO then -- a pty whose other side is closed
      text = ""
    elseif errno == core.errno.EAGAIN or errno == core.errno.EINTR then
      return true
    else
      errors.check(self.name .. ":read", nil, text, message, errno)
    end
  end
  if text == "" then
    self.ended = true
    return false
  end
  self.buffer = self.buffer .. text
  return true
end

local function take(self, n)
  local text = self.buffer:sub(1, n)
  self.buffer = self.buffer:sub(n + 1)
  return text
end

---Read like a Lua file: "l" a line (the default), "L" with its newline, "a" all until the end, a number of bytes; or "some": what is there,
---a byte at least.
---@param format? string|integer
---@param timeout? number|string  seconds; nil, "timeout" when it ran out (what came so far stays for the next read)
---@return string?               nil at the end
---@return string? reason
function Stream:read(format, timeout)
  open_fd(self, "read")
  local deadline = timeout and core.fd.clock() + units.duration(timeout, "read: timeout")
  format = type(format) == "string" and format:gsub("^%*", "") or format or "l"
  if type(format) == "number" then
    while #self.buffer < format do
      local more = fill(self, deadline)
      if more == nil then
        return nil, "timeout"
      elseif not more then
        break
      end
    end
    if self.buffer == "" and format > 0 then
      return nil
    end
    return take(self, format)
  elseif format == "a" then
    local parts = { self.buffer }
    self.buffer = ""
    while true do
      local more = fill(self, deadline)
      parts[#parts + 1] = self.buffer
      self.buffer = ""
      if more == nil then
        self.buffer = table.concat(parts)
        return nil, "timeout"
      elseif not more then
        return table.concat(parts)
      end
    end
  elseif format == "some" then
    while self.buffer == "" do
      local more = fill(self, deadline)
      if not more then
        return nil, more == nil and "timeout" or nil
      end
    end
    return take(self, #self.buffer)
  elseif format == "l" or format == "L" then
    local from = 1
    while true do
      local at = self.buffer:find("\n", from, true)
      if at then
        local line = take(self, at)
        return format == "L" and line or line:sub(1, -2)
      end
      from = #self.buffer + 1
      local more = fill(self, deadline)
      if more == nil then
        return nil, "timeout"
      elseif not more then
        return self.buffer ~= "" and take(self, #self.buffer) or nil
      end
    end
  end
  return errors.misuse("read: format must be \"l\", \"L\", \"a\", \"some\" or a number, got %s", tostring(format))
end

---Iterate over lines, to the end.
---@return fun(): string?
function Stream:lines()
  return function()
    return (self:read "l")
  end
end

---Write all of it.
---@param ... string|number
---@return nslua.Stream self
function Stream:write(...)
  open_fd(self, "write")
  for i = 1, select("#", ...) do
    local text, from = select(i, ...), 1
    if type(text) ~= "string" and type(text) ~= "number" then
      errors.misuse("write: text or a number expected, got %s", type(text))
    end
    text = tostring(text)
    while from <= #text do
      local n, message, errno = core.process.write(self.fd, text, from)
      if n then
        from = from + n
      elseif errno == core.errno.EAGAIN then
        ready(self.fd, "w")
      elseif errno ~= core.errno.EINTR then
        errors.check(self.name .. ":write", nil, n, message, errno)
      end
    end
  end
  return self
end

---@return true
function Stream:close()
  local fd = self.fd
  self.fd = nil
  if fd then
    fd:close()
  end
  return true
end
Stream.__close = Stream.close

---The number of the fd, for event loops. What is buffered here is not seen by them: read with a timeout of 0 first.
---@return integer
function Stream:pollfd()
  return open_fd(self, "pollfd"):number()
end
Stream.getfd = Stream.pollfd

---@return string
function Stream:events()
  return self.name == "stdin" and "w" or "r"
end

---@return nil
function Stream:timeout() -- luacheck: ignore 212
  return nil
end

function Stream:__tostring()
  return ("%s (%s)"):format(self.name, self.fd and tostring(self.fd) or "closed")
end

return M
