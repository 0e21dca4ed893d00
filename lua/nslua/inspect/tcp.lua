-- Connections of TCP: whether they come about, how long it takes, what is said over them. tcp(7)

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local icmp = require "nslua.inspect.icmp"
local namespace = require "nslua.namespace"
local socket = require "nslua.inspect.socket"
local target = require "nslua.inspect.target"
local units = require "nslua.units"

local M = {}

local packet = core.packet
local E = core.errno

---A port's number, or misuse.
---@param call string
---@param port any
---@return integer
---@package
function M.port(call, port)
  check.argument(call, "port", port, "1-65535")
  return port
end

-- What an ICMP error said that the kernel kept, beside what it came to.
local function failure(fd, family, errno)
  local kept = packet.receive(fd, true, 512)
  local e = kept and kept.error and icmp.error(family, kept.error) or {}
  e.error = icmp.errno(errno)
  return e
end

---Connect until a time.
---@param fd nslua.fd  of TCP
---@param t nslua.Target
---@param port integer
---@param deadline number  of ns.clock()
---@return boolean connected
---@return nslua.ProbeError? why_not
---@package
function M.connect(fd, t, port, deadline)
  local ok, _, errno = packet.connect(fd, t.ip, port, t.scope)
  if not ok and errno == E.EINPROGRESS then
    if not socket.wait(fd, "w", deadline) then
      return false, failure(fd, t.family, E.ETIMEDOUT) -- with a word that did not end it
    end
    errno = packet.get(fd, "error")
    ok = errno == 0
  end
  if ok then
    return true
  end
  return false, failure(fd, t.family, errno)
end

---Send all of a text.
---@param fd nslua.fd
---@param text string
---@param deadline number
---@return string? error  "ETIMEDOUT", "ECONNRESET", ...
---@package
function M.send(fd, text, deadline)
  local at = 1
  while at <= #text do
    local n, _, errno = packet.send(fd, at == 1 and text or text:sub(at))
    if n then
      at = at + n
    elseif errno ~= E.EAGAIN and errno ~= E.EINTR then
      return icmp.errno(errno)
    elseif not socket.wait(fd, "w", deadline) then
      return "ETIMEDOUT"
    end
  end
end

---What comes next.
---@param fd nslua.fd
---@param deadline number
---@param most? integer  bytes
---@return string? bytes  "" at the end
---@return string? error
---@package
function M.receive(fd, deadline, most)
  while true do
    local bytes, _, errno = fd:read(most or 65536)
    if bytes then
      return bytes
    elseif errno ~= E.EAGAIN and errno ~= E.EINTR then
      return nil, icmp.errno(errno)
    elseif not socket.wait(fd, "r", deadline) then
      return nil, "ETIMEDOUT"
    end
  end
end

-- Receive `want` bytes, or (true) all until the end.
local function receive(fd, want, deadline, out)
  local parts, size = {}, 0
  while want == true or size < want do
    local bytes, e = M.receive(fd, deadline, want ~= true and math.min(want - size, 65536) or nil)
    if not bytes or bytes == "" then
      out.closed = bytes == "" or nil
      out.error = e
      break
    end
    parts[#parts + 1] = bytes
    size = size + #bytes
    if size > M.MOST then
      out.error = "EMSGSIZE"
      break
    end
  end
  out.received = table.concat(parts)
end
-- What is kept of an answer without an end: bytes.
M.MOST = 16 * 1024 * 1024

---@class nslua.TcpOptions
---@field timeout? number|string  seconds for all of it, 5
---@field family? "inet"|"inet6"  where the target is a name
---@field from? string            an address or a link of the namespace
---@field send? string            what is said first
---@field receive? integer|true   then so many bytes are waited for; true: all until the other side ends it

---@class nslua.TcpResult : nslua.ProbeError
---@field ok boolean          connected, and said and heard what was asked for; else `error` says why: "ECONNREFUSED", "ETIMEDOUT", ...
---@field connected boolean
---@field elapsed number      seconds until it was connected, or had failed
---@field src? string         ends of the connection
---@field sport? integer
---@field dst string
---@field dport integer
---@field rtt? number         as the kernel measured it, seconds
---@field mss? integer
---@field received? string
---@field closed? boolean     the other side ended it

---Connect by TCP. That it fails is a result, no error. Many at the same time:
---`a:tcp({ { "10.0.0.2", 80 }, { "db", 5432, timeout = 1 } }, { timeout = 3 })` gives a list of results, in which a name without an address is one
---too, with `error` and `message`.
---@param to any        an address, a name, an object with `address_of`; or a list of { to, port, ... }, and then the options
---@param port integer
---@param options? nslua.TcpOptions
---@return nslua.TcpResult
function M:tcp(to, port, options)
  local call = "netns.tcp"
  options = options or {}
  check.options(call, options, { timeout = "number|string", family = "string", from = "string", send = "string", receive = "integer|boolean" })
  namespace.fd_of(self, call)
  M.port(call, port)
  target.check_family(call, options.family)
  if options.receive and options.receive ~= true and options.receive < 1 then
    errors.misuse("%s: receive must be a count of bytes, or true", call)
  end
  local timeout = units.duration(options.timeout or 5, call .. ": timeout")
  local t = target.resolve(self, call, to, options)
  local fd = socket.open(self, call, t.family, "stream", options)
  local closer <close> = fd -- luacheck: ignore
  local start = core.fd.clock()
  local deadline = start + timeout
  local connected, why = M.connect(fd, t, port, deadline)
  local out = why or {}
  out.ok, out.connected, out.elapsed, out.dst, out.dport = false, connected, core.fd.clock() - start, t.address, port
  if not connected then
    return out
  end
  local ip, sport = packet.name(fd)
  out.src, out.sport = ip and core.inet.text(ip), sport
  if options.send then
    out.error = M.send(fd, options.send, deadline)
  end
  if options.receive and not out.error then
    receive(fd, options.receive, deadline, out)
  end
  local info = packet.tcp_info(fd)
  if info then
    out.rtt, out.mss = info.rtt, info.mss
  end
  out.ok = out.error == nil
  return out
end

return M
