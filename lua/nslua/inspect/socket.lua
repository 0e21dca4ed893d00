-- Sockets of probes: made inside, with what they need to tell; waited for outside.

local core = require "nslua.core"
local errors = require "nslua.error"
local inside = require "nslua.inside"
local keeper = require "nslua.keeper"
local together = require "nslua.inspect.together"

local M = {}

local packet = core.packet
local DGRAM, RAW, NONBLOCK = 2, 3, 0x800 -- SOCK_*, socket(2)
local domains = { inet = 2, inet6 = 10 }
local icmp_protocols = { inet = 1, inet6 = 58 }
M.types = { stream = 1 + NONBLOCK, dgram = DGRAM + NONBLOCK }

---Pass a core result through, or raise it with the namespace's name.
---@param handle nslua.Netns
---@param call string
---@param ok any
---@param message? string
---@param errno? integer
---@return any
function M.check(handle, call, ok, message, errno)
  return errors.check(call, { netns = handle:describe() }, ok, message, errno)
end

---Set an option by its word, that of IPv6 where the socket is.
---@param handle nslua.Netns
---@param call string
---@param fd nslua.fd
---@param family "inet"|"inet6"
---@param name string  "recverr"
---@param value integer
function M.set(handle, call, fd, family, name, value)
  M.check(handle, call, packet.set(fd, family == "inet6" and name .. "6" or name, value))
end

---Where it is sent from: an address, or a link by its name.
---@param handle nslua.Netns
---@param call string
---@param fd nslua.fd
---@param family "inet"|"inet6"
---@param from? string
function M.from(handle, call, fd, family, from)
  if not from then
    return
  end
  local plain, zone = from:match "^([%x:.]+)%%(.+)$"
  local ip = core.inet.bytes(plain or from)
  if not ip then
    return M.check(handle, call, packet.device(fd, from))
  elseif #ip ~= (family == "inet6" and 16 or 4) then
    errors.misuse("%s: from = %q is no address of %s", call, from, family)
  end
  local link = zone and handle.link:get(zone)
  M.check(handle, call, packet.bind(fd, ip, 0, link and link.index or 0))
end

---What every probe asks of its socket: time stamps, the TTL of what comes, and who says an error.
---@param handle nslua.Netns
---@param call string
---@param fd nslua.fd
---@param family "inet"|"inet6"
---@param options { ttl: integer?, from: string? }
function M.dress(handle, call, fd, family, options)
  M.set(handle, call, fd, family, "recverr", 1)
  packet.set(fd, "timestamp", 1)
  M.set(handle, call, fd, family, "recvttl", 1)
  if options.ttl then
    M.set(handle, call, fd, family, "ttl", options.ttl)
  end
  M.from(handle, call, fd, family, options.from)
end

---A socket of TCP or UDP.
---@param handle nslua.Netns
---@param call string
---@param family "inet"|"inet6"
---@param type "stream"|"dgram"
---@param options table  as for `dress`
---@return nslua.fd
function M.open(handle, call, family, type, options)
  local fd = inside.raw_socket(handle, domains[family], M.types[type], 0)
  local ok, e = pcall(M.dress, handle, call, fd, family, options)
  if not ok then
    fd:close()
    error(e, 0)
  end
  return fd
end

---Sockets of ICMP, one in each of many namespaces: ping sockets (icmp(7), net.ipv4.ping_group_range) where this process may have them, else raw
---ones. One that this process must enter a user namespace for is raw: there it has the right.
---@param handles nslua.Netns[]
---@param family "inet"|"inet6"
---@return { fd: nslua.fd, raw: boolean }[]
function M.icmp(handles, family)
  local out, rest, places = {}, {}, {}
  for i, handle in ipairs(handles) do
    local fd
    if not (rawget(handle, "userns") and keeper.needed()) then
      fd = core.namespace.socket(handle.fd, domains[family], DGRAM + NONBLOCK, icmp_protocols[family])
    end
    if fd then
      out[i] = { fd = fd, raw = false }
    else
      rest[#rest + 1], places[#places + 1] = handle, i
    end
  end
  for i, fd in ipairs(inside.sockets(rest, domains[family], RAW + NONBLOCK, icmp_protocols[family])) do
    out[places[i]] = { fd = fd, raw = true }
  end
  return out
end

---poll(2) until a socket is ready or the time has come.
---@param fd nslua.fd
---@param events "r"|"w"|"rw"
---@param deadline number  of ns.clock()
---@return string|false|nil ready  nil: it is over
function M.wait(fd, events, deadline)
  if together.inside() then
    return coroutine.yield(fd, events, deadline)
  end
  while true do
    local left = deadline - core.fd.clock()
    local ready, message, errno = core.fd.poll({ { fd, events } }, math.max(left, 0))
    if ready then
      return ready[1]
    elseif not errno then
      return nil
    elseif errno ~= core.errno.EINTR then
      errors.check("poll", nil, ready, message, errno)
    end
  end
end

return M
