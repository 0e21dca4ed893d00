-- What the specs of impaired links share: two namespaces with a link between them and nothing else on it, and datagrams.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"

local M = {}

---What is tried: what carries the frames is the same C under every Lua.
M.kinds = _VERSION == "Lua 5.4" and { "tap", "veth" } or { "tap" }

---@type "tap"|"veth"|nil  of the wires that are made here
M.kind = nil

local LLADDR = { "02:00:00:00:00:01", "02:00:00:00:00:02" }

-- A user namespace of a script without rights, for the namespaces of a test.
local function userns()
  return not helper.is_root() and helper.held(ns.userns.new { map_users = "root" }) or nil
end

---Two namespaces, quiet: no IPv6, so that every frame is the test's.
---@return table a, table b
function M.namespaces()
  local u = userns()
  local out = {}
  for i = 1, 2 do
    out[i] = helper.held(ns.netns.new { lo = true, label = i == 1 and "a" or "b", userns = u })
    out[i]:sysctl("net.ipv6.conf.default.disable_ipv6", 1)
  end
  return out[1], out[2]
end

---The two ends as a wire takes them.
---@param a table
---@param b table
---@param mtu? integer
---@return table, table
function M.ends(a, b, mtu)
  return { a, dev = "eth0", address = "10.0.0.1/24", lladdr = LLADDR[1], mtu = mtu },
    { b, dev = "eth0", address = "10.0.0.2/24", lladdr = LLADDR[2], mtu = mtu }
end

---Neighbours that are known need no ARP.
---@param a table
---@param b table
function M.introduce(a, b)
  a.neighbour:add { "10.0.0.2", lladdr = LLADDR[2], dev = "eth0" }
  b.neighbour:add { "10.0.0.1", lladdr = LLADDR[1], dev = "eth0" }
end

---A wire between two new namespaces, held until the test ends.
---@param to? table
---@param from? table
---@param options? { seed: integer?, mtu: integer?, hub: table? }
---@return table wire, table a, table b
function M.wire(to, from, options)
  options = options or {}
  local a, b = M.namespaces()
  local first, second = M.ends(a, b, options.mtu)
  local words = { a = first, b = second, to = to, from = from, seed = options.seed, kind = M.kind }
  local w = helper.held(options.hub and options.hub:new(words) or ns.wire.new(words))
  M.introduce(a, b)
  return w, a, b
end

---Why no wire can be made here, or nil.
---@return string?
function M.cannot()
  local ok, e = pcall(M.wire)
  helper.close_held()
  if not ok then
    return "no wire can be made here: " .. tostring(e)
  end
end

---Two connected UDP sockets, one in each namespace.
---@return table from, table to
function M.sockets(a, b)
  local s, r = helper.held(a:socket("inet", "dgram")), helper.held(b:socket("inet", "dgram"))
  ns.run { "python3", "-c", ([[
import socket
s, r = socket.socket(fileno=%d), socket.socket(fileno=%d)
s.bind(("10.0.0.1", 6000)); r.bind(("10.0.0.2", 5000)); s.connect(("10.0.0.2", 5000)); r.connect(("10.0.0.1", 6000))
for x in s, r:
    x.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
]]):format(s:number(), r:number()), fds = { s, r }, check = true }
  s:nonblock(true)
  r:nonblock(true)
  return s, r
end

---Wait for something that is about to be; whether it came to be.
---@param fn fun(): boolean
---@param seconds? number
---@return boolean
function M.eventually(fn, seconds)
  local stop = ns.clock() + (seconds or 10)
  while not fn() do
    if ns.clock() > stop then
      return false
    end
    ns.wait({}, 0.001)
  end
  return true
end

---Send datagrams "1", "2", ... of `size` bytes; what came to the other socket, in order, once nothing is on its way any more.
---@param w table
---@param s table
---@param r table
---@param count integer
---@param size? integer
---@return integer[]
function M.datagrams(w, s, r, count, size)
  local before = w:counters().to.taken
  for i = 1, count do
    assert(s:write(("%d "):format(i) .. ("."):rep((size or 10) - #tostring(i) - 1)))
  end
  assert(M.eventually(function()
    local c = w:counters().to
    return c.taken - before == count and c.queued == 0
  end), "they did not get through")
  return M.received(r)
end

local port = 80

---Send bytes by TCP from a to b and look that they are the same there.
---@param a table
---@param b table
---@param bytes integer
---@param address? string  of b
function M.transfer(a, b, bytes, address)
  port = port + 1
  local listener, client = b:socket("inet", "stream"), a:socket("inet", "stream")
  local r = ns.run { "python3", "-c", ([[
import hashlib, os, socket, threading
l, c = socket.socket(fileno=%d), socket.socket(fileno=%d)
at = (%q, %d)
l.bind(at); l.listen(); c.connect(at); s, _ = l.accept()
data = os.urandom(%d)
threading.Thread(target=lambda: (c.sendall(data), c.shutdown(1))).start()
h = hashlib.sha256()
while True:
    part = s.recv(1 << 20)
    if not part: break
    h.update(part)
print(h.digest() == hashlib.sha256(data).digest())
]]):format(listener:number(), client:number(), address or "10.0.0.2", port, bytes), fds = { listener, client }, timeout = 60 }
  listener:close()
  client:close()
  assert(r.stdout == "True\n", r.stdout .. r.stderr)
end

---Numbers of the datagrams that wait in a socket.
---@param r table
---@return integer[]
function M.received(r)
  local out = {}
  while true do
    local text, message, errno = r:read()
    if not text then
      assert(errno == core.errno.EAGAIN, message)
      return out
    end
    out[#out + 1] = tonumber(text:match "^%d+")
  end
end

return M
