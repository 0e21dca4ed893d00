-- Small servers in namespaces: sockets made inside, served by a child of this script.

local core = require "nslua.core"
local rtnl = require "spec.rtnl_helper"

local M = {}

local packet = core.packet
local running = {}

---A socket bound inside a namespace.
---@param handle nslua.Netns
---@param address string
---@param type "stream"|"dgram"
---@param port integer
---@return nslua.fd
function M.bound(handle, address, type, port)
  local ip = core.inet.bytes(address)
  local fd = handle:socket(#ip == 4 and "inet" or "inet6", type)
  assert(packet.set(fd, "reuseaddr", 1))
  assert(packet.bind(fd, ip, port))
  if type == "stream" then
    assert(packet.listen(fd))
  end
  return fd
end

---Serve in a child: `serve(fd)` is called there again and again, until M.close.
---@param fd nslua.fd
---@param serve fun(fd: nslua.fd)
function M.child(fd, serve)
  local ns = require "nslua"
  local p = ns.fork({}, function()
    while true do
      serve(fd)
    end
  end)
  fd:close()
  running[#running + 1] = p
end

---Every connection is given to `serve(connection)` in a child.
---@param handle nslua.Netns
---@param address string
---@param port integer
---@param serve fun(connection: nslua.fd)
function M.tcp(handle, address, port, serve)
  M.child(M.bound(handle, address, "stream", port), function(fd)
    local connection = packet.accept(fd)
    if connection then
      serve(connection)
      connection:close()
    end
  end)
end

---Every datagram is answered by what `answer(data)` returns, if it does.
---@param handle nslua.Netns
---@param address string
---@param port integer
---@param answer fun(data: string): string?
function M.udp(handle, address, port, answer)
  M.child(M.bound(handle, address, "dgram", port), function(fd)
    core.fd.poll { { fd, "r" } }
    local got = packet.receive(fd)
    local text = got and answer(got.data)
    if text then
      packet.send(fd, text, got.from, got.port)
    end
  end)
end

---End the servers, and close the namespaces.
function M.close()
  for _, p in ipairs(running) do
    p:kill "KILL"
    p:wait()
    p:close()
  end
  running = {}
  rtnl.close()
end

return M
