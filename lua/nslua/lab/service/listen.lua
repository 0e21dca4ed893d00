-- Sockets of servers: bound in the node before its server starts, so that a port that is taken is the caller's error, and clients wait for a restart.

local core = require "nslua.core"
local errors = require "nslua.error"
local inside = require "nslua.inside"

local M = {}

local packet = core.packet
local NONBLOCK = 0x800 -- SOCK_NONBLOCK, socket(2)
local domains = { inet = 2, inet6 = 10 }
local types = { tcp = 1 + NONBLOCK, udp = 2 + NONBLOCK }
local BACKLOG = 1024

---@class nslua.lab.Listener
---@field fd nslua.fd
---@field proto "tcp"|"udp"
---@field family "inet"|"inet6"

local function dress(fd, proto, family, ip, port)
  local set = packet.set
  local ok, message, errno = set(fd, "reuseaddr", proto == "tcp" and 1 or 0)
  if ok and family == "inet6" then
    ok, message, errno = set(fd, "v6only", 1)
  end
  if ok and proto == "udp" then
    ok, message, errno = set(fd, family == "inet6" and "pktinfo6" or "pktinfo", 1)
  end
  if ok then
    ok, message, errno = packet.bind(fd, ip, port)
  end
  if ok and proto == "tcp" then
    ok, message, errno = packet.listen(fd, BACKLOG)
  end
  return ok, message, errno
end

---Listen on a port in both families, or on one address.
---@param node nslua.lab.Node
---@param call string
---@param protos ("tcp"|"udp")[]
---@param port integer
---@param address? string
---@return nslua.lab.Listener[]
function M.open(node, call, protos, port, address)
  local given = address and (core.inet.bytes(address) or errors.misuse("%s: address = %q is no address", call, address))
  local out = {}
  local function close_all()
    for _, each in ipairs(out) do
      each.fd:close()
    end
  end
  for _, proto in ipairs(protos) do
    for _, family in ipairs { "inet", "inet6" } do
      local size = family == "inet" and 4 or 16
      if not given or #given == size then
        local made, fd = pcall(inside.raw_socket, node, domains[family], types[proto], 0)
        if made then
          out[#out + 1] = { fd = fd, proto = proto, family = family }
          local ok, message, errno = dress(fd, proto, family, given or ("\0"):rep(size), port)
          if not ok then
            close_all()
            errors.check(call, { netns = node:describe(), detail = ("%s port %d"):format(proto, port) }, ok, message, errno)
          end
        elseif family == "inet" or given or not errors.is(fd, "EAFNOSUPPORT") then -- a kernel without IPv6 has IPv4 alone
          close_all()
          error(fd, 0)
        end
      end
    end
  end
  return out
end

return M
