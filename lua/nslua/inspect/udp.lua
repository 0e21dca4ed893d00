-- Datagrams of UDP: what answers, or who says that nobody does. udp(7)

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local icmp = require "nslua.inspect.icmp"
local namespace = require "nslua.namespace"
local socket = require "nslua.inspect.socket"
local target = require "nslua.inspect.target"
local tcp = require "nslua.inspect.tcp"
local units = require "nslua.units"

local M = {}

local packet = core.packet
local E = core.errno

---The next answer on a connected socket, or what ended it.
---@param fd nslua.fd
---@param family "inet"|"inet6"
---@param deadline number
---@return { data: string, time: integer? }? answer
---@return nslua.ProbeError? why_not  nil: the time is over
---@package
function M.receive(fd, family, deadline)
  while true do
    local kept = packet.receive(fd, true, 512)
    if kept and kept.error then
      return nil, icmp.error(family, kept.error)
    end
    local answer, _, errno = packet.receive(fd)
    if answer then
      return answer
    elseif errno == E.EAGAIN then
      if not socket.wait(fd, "r", deadline) then
        return nil
      end
    elseif errno ~= E.EINTR and not (packet.receive(fd, true, 512)) then
      return nil, { error = icmp.errno(errno) }
    end
  end
end

---Send a datagram on a connected socket.
---@param fd nslua.fd
---@param family "inet"|"inet6"
---@param data string
---@param deadline number
---@return integer? time  ns of CLOCK_REALTIME
---@return nslua.ProbeError? why_not
---@package
function M.send(fd, family, data, deadline)
  while true do
    local n, time, errno = packet.send(fd, data)
    if n then
      return time
    elseif errno == E.EAGAIN then
      if not socket.wait(fd, "w", deadline) then
        return nil, { error = "ETIMEDOUT" }
      end
    elseif errno ~= E.EINTR then
      local kept = packet.receive(fd, true, 512)
      return nil, kept and kept.error and icmp.error(family, kept.error) or { error = icmp.errno(errno) }
    end
  end
end

---@class nslua.UdpOptions
---@field timeout? number|string  seconds that an answer is waited for, 1
---@field family? "inet"|"inet6"  where the target is a name
---@field from? string            an address or a link of the namespace
---@field ttl? integer            or hop limit
---@field send? string            what is sent; by default nothing, in a datagram
---@field reply? boolean          false: no answer is expected; it is good if nobody says an error in that time

---@class nslua.UdpResult : nslua.ProbeError
---@field ok boolean       else `error` says why: "ECONNREFUSED", "ETIMEDOUT" (no answer), ...
---@field elapsed number   seconds until the answer
---@field reply? string
---@field src? string
---@field sport? integer
---@field dst string
---@field dport integer

---Send a datagram of UDP and wait for an answer. That none comes is a result, no error. Many at the same time, as of `tcp`:
---`a:udp({ { "10.0.0.2", 53 }, { "db", 161 } }, { timeout = 3 })`.
---@param to any        an address, a name, an object with `address_of`; or a list of { to, port, ... }, and then the options
---@param port integer
---@param options? nslua.UdpOptions
---@return nslua.UdpResult
function M:udp(to, port, options)
  local call = "netns.udp"
  options = options or {}
  check.options(call, options, { timeout = "number|string", family = "string", from = "string", send = "string", reply = "boolean",
    ttl = "1-255" })
  namespace.fd_of(self, call)
  tcp.port(call, port)
  target.check_family(call, options.family)
  local data = options.send or ""
  if #data > 65507 then
    errors.misuse("%s: a datagram has at most 65507 bytes", call)
  end
  local timeout = units.duration(options.timeout or 1, call .. ": timeout")
  local t = target.resolve(self, call, to, options)
  local fd = socket.open(self, call, t.family, "dgram", options)
  local closer <close> = fd -- luacheck: ignore
  local start = core.fd.clock()
  local deadline = start + timeout
  local ok, _, errno = packet.connect(fd, t.ip, port, t.scope)
  local sent, answer, why
  if ok then
    sent, why = M.send(fd, t.family, data, deadline)
  else
    why = { error = icmp.errno(errno) }
  end
  if sent then
    answer, why = M.receive(fd, t.family, deadline)
  end
  local out = why or {}
  out.elapsed = core.fd.clock() - start
  if answer then
    out.reply = answer.data
    if answer.time and answer.time > sent then
      out.elapsed = math.min(out.elapsed, (answer.time - sent) / 1e9)
    end
  elseif not why and options.reply ~= false then
    out.error = "ETIMEDOUT"
  end
  out.ok = out.error == nil
  out.dst, out.dport = t.address, port
  local ip, sport = packet.name(fd)
  if ok and ip then
    out.src, out.sport = core.inet.text(ip), sport
  end
  return out
end

return M
