-- What a script and the supervisor of a service say to each other: values in frames, over two pipes.

local carry = require "nslua.carry"
local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local E = core.errno
local LONGEST = 1 << 24

---@class nslua.lab.Channel
---@field reader nslua.fd
---@field writer nslua.fd
local Channel = {}
Channel.__index = Channel

---Both ends of a channel.
---@return nslua.lab.Channel script
---@return nslua.lab.Channel supervisor
function M.pair()
  local fds = {}
  for i = 1, 3, 2 do
    local reader, writer, errno = core.fd.pipe()
    errors.check("service", nil, reader, writer, errno)
    reader:nonblock(true)
    fds[i], fds[i + 1] = reader, writer
  end
  return setmetatable({ reader = fds[1], writer = fds[4], buffer = "" }, Channel),
    setmetatable({ reader = fds[3], writer = fds[2], buffer = "" }, Channel)
end

---@return true
function Channel:close()
  self.reader:close()
  self.writer:close()
  return true
end

---Send a value: what ns.fork can bring back.
---@param value any
---@return boolean sent  false where nobody is there any more
function Channel:send(value)
  local text = carry.pack("message", 1, value)
  text = string.pack("<s4", text)
  local from = 1
  while from <= #text do
    local n, _, errno = core.process.write(self.writer, text, from)
    if n then
      from = from + n
    elseif errno ~= E.EINTR then
      return false
    end
  end
  return true
end

---The next value that is there, if one is whole.
---@return any value     nil: none; false: the other end is closed
function Channel:take()
  while true do
    if #self.buffer >= 4 then
      local length = string.unpack("<I4", self.buffer)
      if length > LONGEST then
        return false
      elseif #self.buffer >= 4 + length then
        local text = self.buffer:sub(5, 4 + length)
        self.buffer = self.buffer:sub(5 + length)
        return carry.unpack(text)[1]
      end
    end
    local bytes, _, errno = self.reader:read()
    if bytes == "" then
      return false
    elseif bytes then
      self.buffer = self.buffer .. bytes
    elseif errno ~= E.EINTR then
      return errno ~= E.EAGAIN and false or nil
    end
  end
end

---Wait for the next value.
---@param deadline? number  of ns.clock()
---@return any value  nil: the time is over; false: the other end is closed
function Channel:receive(deadline)
  while true do
    local value = self:take()
    if value ~= nil then
      return value
    end
    local left = deadline and deadline - core.fd.clock()
    if left and left <= 0 then
      return nil
    end
    local ready, message, errno = core.fd.poll({ { self.reader, "r" } }, left)
    if not ready and errno and errno ~= E.EINTR then
      errors.check("service", nil, ready, message, errno)
    end
  end
end

return M
