-- Numbered packets on one socket, and what comes of each: echo requests, or datagrams of UDP to ports that nobody has.

local core = require "nslua.core"
local errors = require "nslua.error"
local icmp = require "nslua.inspect.icmp"
local socket = require "nslua.inspect.socket"

local M = {}

local packet = core.packet
local E = core.errno
local PORT = 33433 -- the first packet goes to 33434, as traceroute(8) has it
M.MOST = 65535 - PORT

---@class nslua.Echoes
---@field fd nslua.fd
---@field family "inet"|"inet6"
local Echoes = {}
Echoes.__index = Echoes

---@param handle nslua.Netns
---@param call string
---@param t nslua.Target
---@param proto "icmp"|"udp"
---@param options table  as for socket.dress
---@return nslua.Echoes  to be closed
function M.open(handle, call, t, proto, options)
  local self = setmetatable({ handle = handle, call = call, to = t, family = t.family, six = t.family == "inet6", sent = {} }, Echoes)
  if proto == "udp" then
    self.udp = true
    self.fd = socket.open(handle, call, t.family, "dgram", options)
    return self
  end
  local s = socket.icmp({ handle }, t.family)[1]
  self.fd, self.raw, self.id = s.fd, s.raw, math.random(0, 65535)
  local ok, e = pcall(socket.dress, handle, call, s.fd, t.family, options)
  if not ok then
    s.fd:close()
    error(e, 0)
  end
  packet.set(self.fd, "rcvbuf", 1 << 20)
  return self
end

---@return true
function Echoes:close()
  return self.fd:close()
end
Echoes.__close = Echoes.close

---@param name string
---@param value integer
function Echoes:set(name, value)
  socket.set(self.handle, self.call, self.fd, self.family, name, value)
end

-- One thing that has come, with the number it is for; nil: nothing.
function Echoes:take(current)
  local got = packet.receive(self.fd, true)
  if got then
    local e = got.error
    local number
    if not e or e.errno == E.EREMOTEIO then -- what a redirect is called
      return {}
    elseif e.origin == "local" then
      number = current
    elseif self.udp then
      number = got.port - PORT
    else
      local id, seq = core.echo.read(got.data, self.six, false, true)
      number = (not self.raw or id == self.id) and seq or nil
    end
    local out = icmp.error(self.family, e)
    out.number, out.time = number, got.time
    return out
  end
  local _, errno
  got, _, errno = packet.receive(self.fd)
  if not got then
    return errno ~= E.EAGAIN and errno ~= E.EINTR and {} or nil
  end
  local number
  if self.udp then
    number = got.from == self.to.ip and got.port - PORT or nil
  else
    local id, seq = core.echo.read(got.data, self.six, self.raw and not self.six, false)
    number = id and (not self.raw or id == self.id) and seq or nil
  end
  return { number = number, time = got.time, from = got.from and core.inet.text(got.from), ttl = got.ttl, answered = true }
end

---Send packet `number` (1 or more; a number may be sent again).
---@param number integer
---@param size integer  bytes of payload
---@return nslua.ProbeError? why_not  it could not be sent
function Echoes:send(number, size)
  local bytes = self.udp and ("\0"):rep(size) or core.echo.request(self.six, self.id, number, size)
  local deadline
  for _ = 1, 1000 do
    local n, time, errno = packet.send(self.fd, bytes, self.to.ip, self.udp and PORT + number or 0, self.to.scope)
    if n then
      self.sent[number] = time
      return nil
    end
    if errno == E.EAGAIN or errno == E.ENOBUFS then
      deadline = deadline or core.fd.clock() + 1
      if core.fd.clock() > deadline then
        return { error = icmp.errno(errno) }
      end
      socket.wait(self.fd, "r", core.fd.clock() + 0.005)
    elseif errno ~= E.EINTR then
      -- an error of a packet before is told here, once; or it is of this one
      local got = self:take(number)
      if not got then
        return { error = icmp.errno(errno) }
      elseif got.number == number then
        return got
      end
      self.early = self.early or {}
      table.insert(self.early, got)
    end
  end
  return errors.raise { call = self.call, netns = self.handle:describe(), errno = E.EIO, detail = "send" }
end

---What comes next.
---@param deadline number
---@return table? got  { number=, rtt=, from=, answered=, error=, icmp=, ... }, `number` of one that was sent; nil: the time is over
function Echoes:next(deadline)
  while true do
    local got = self.early and table.remove(self.early, 1) or self:take()
    local sent = got and got.number and self.sent[got.number]
    if sent then
      got.rtt = math.max((got.time or packet.realtime()) - sent, 0) / 1e9
      return got
    elseif not got and not socket.wait(self.fd, "r", deadline) then
      return nil
    end
  end
end

return M
