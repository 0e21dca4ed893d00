-- nslua bench/wires.lua WORK [ARGS]: how fast and how true wires are. Prints milliseconds, packets or Mbit/s, and of `stream` nanoseconds.
-- As somebody without rights it makes a user namespace for it all.
local ns = require "nslua"

local LLADDR = { "02:00:00:00:00:01", "02:00:00:00:00:02" }
local home = not ns.run({ "sh", "-c", "test $(id -u) = 0" }).ok and ns.userns.new { map_users = "root" } or nil

local function namespaces()
  local out = {}
  for i = 1, 2 do
    out[i] = ns.netns.new { lo = true, userns = home }
    out[i]:sysctl("net.ipv6.conf.default.disable_ipv6", 1)
  end
  return out[1], out[2]
end

local function introduce(a, b)
  a.neighbour:add { "10.0.0.2", lladdr = LLADDR[2], dev = "eth0" }
  b.neighbour:add { "10.0.0.1", lladdr = LLADDR[1], dev = "eth0" }
end

local function wire(to, from, seed)
  local a, b = namespaces()
  local w = ns.wire.new { a = { a, dev = "eth0", address = "10.0.0.1/24", lladdr = LLADDR[1] },
    b = { b, dev = "eth0", address = "10.0.0.2/24", lladdr = LLADDR[2] }, to = to, from = from, seed = seed }
  introduce(a, b)
  return a, b, w
end

local function veth()
  local a, b = namespaces()
  a.link:add { name = "eth0", kind = "veth", address = LLADDR[1], peer = { name = "eth0", netns = b, address = LLADDR[2] } }
  for i, handle in ipairs { a, b } do
    handle.address:add { ("10.0.0.%d/24"):format(i), dev = "eth0" }
    handle.link:change("eth0", { up = true })
  end
  introduce(a, b)
  return a, b
end

local PYTHON = [[
import os, socket, sys, threading, time
l, c, warm, size = socket.socket(fileno=int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
for s in l, c: s.setsockopt(6, 13, b"cubic") # TCP_CONGESTION
l.bind(("10.0.0.2", 5001)); l.listen(1)
def send():
    c.connect(("10.0.0.2", 5001))
    data, left = bytes(1 << 20), warm + size
    while left > 0: left -= c.send(data[:left])
    c.shutdown(1)
t = threading.Thread(target=send); t.start()
s, _ = l.accept()
buf, got, began = bytearray(1 << 20), 0, 0
while True:
    n = s.recv_into(buf)
    if not n: break
    got += n
    if not began and got >= warm: began, at = time.monotonic_ns(), got
print(time.monotonic_ns() - began, got - at)
t.join()
]]

-- One TCP stream from a to b; bytes after the first `warm` of them are timed.
local function stream(a, b, warm, size)
  local listener, client = b:socket("inet", "stream"), a:socket("inet", "stream")
  return ns.spawn { "python3", "-c", PYTHON, tostring(listener:number()), tostring(client:number()), ("%d"):format(warm), ("%d"):format(size),
    fds = { listener, client }, stdout = "capture" }
end

local function result(p)
  local took, bytes = p:wait(120):check().stdout:match "(%d+) (%d+)"
  return tonumber(took), tonumber(bytes)
end

local function goodput(p)
  local took, bytes = result(p)
  return bytes * 8e3 / took
end

local works = {}

-- The median of so many round trips, 10 ms each way.
function works.rtt(count)
  local a = wire({ delay = "10ms" }, { delay = "10ms" })
  local out, list = a:output { "ping", "-c", count, "-i", "0.01", "10.0.0.2" }, {}
  for ms in out:gmatch "time=([%d.]+)" do
    list[#list + 1] = tonumber(ms)
  end
  table.sort(list)
  assert(#list == tonumber(count))
  return list[#list // 2]
end

-- Which of so many packets are lost by 1 %.
local function lost(count)
  local a, b, w = wire({ loss = "1%" }, nil, 1)
  local s, r = a:socket("inet", "dgram"), b:socket("inet", "dgram")
  ns.run { "python3", "-c", ([[
import socket
s, r = socket.socket(fileno=%d), socket.socket(fileno=%d)
s.bind(("10.0.0.1", 6000)); r.bind(("10.0.0.2", 5000)); s.connect(("10.0.0.2", 5000)); r.connect(("10.0.0.1", 6000))]]):format(s:number(),
    r:number()), fds = { s, r }, check = true }
  s:nonblock(true)
  r:nonblock(true)
  local before, came = w:counters().to.taken, {}
  for first = 1, count, 100 do
    local last = math.min(first + 99, count)
    for i = first, last do
      assert(s:write(tostring(i)))
    end
    while w:counters().to.taken - before < last do end -- luacheck: ignore 542
    for text in function() return r:read(100) end do
      came[tonumber(text)] = true
    end
  end
  local out = {}
  for i = 1, count do
    out[#out + 1] = not came[i] and i or nil
  end
  assert(#out == w:counters().to.lost)
  w:close()
  return out
end

function works.loss(count)
  count = tonumber(count)
  local first, again = lost(count), lost(count)
  assert(table.concat(first, " ") == table.concat(again, " "), "the same seed lost others")
  return #first
end

function works.stream(what, megabytes)
  local a, b
  if what == "veth" then
    a, b = veth()
  else
    a, b = wire()
  end
  return (result(stream(a, b, 20e6, megabytes * 1e6)))
end

-- Of so many wires at once, each with one stream at 100 Mbit/s: the slowest's, or the fastest's.
function works.rate(count, which)
  local list = {}
  local running = {}
  for i = 1, tonumber(count) do
    list[i] = { wire({ rate = "100mbit" }) }
  end
  for i, each in ipairs(list) do
    running[i] = stream(each[1], each[2], 5e6, 50e6)
  end
  local least, most = math.huge, 0
  for _, p in ipairs(running) do
    local rate = goodput(p)
    least, most = math.min(least, rate), math.max(most, rate)
  end
  return which == "most" and most or least
end

if not works[arg[1]] then
  io.stderr:write("usage: nslua bench/wires.lua rtt COUNT | loss COUNT | stream wire|veth MEGABYTES | rate WIRES [most]\n")
  os.exit(2)
end
print(("%.3f"):format(works[arg[1]](table.unpack(arg, 2))))
