-- nslua bench/capture.lua nslua|tcpdump cpu|lost SECONDS [FILE]: one TCP stream at full rate over a veth, captured into a file meanwhile.
-- cpu: what the capture's process took, nanoseconds for a gigabyte that it wrote; lost: of a thousand million packets.
-- FILE: what is there of it is written over. Without it, it is a new one. Its pages cost more than the capture does, and a virtual machine may have
-- to get them from its host, which costs as much again: as many are used beforehand, and let go.
local core = require "nslua.core"
local ns = require "nslua"

local side, what, seconds = arg[1], arg[2], tonumber(arg[3])
local there = arg[4]
local FILE = there or ("/dev/shm/nslua-bench-%.0f"):format(ns.clock() * 1e6) -- in memory: a disk would be measured instead

local function cpu(pid)
  local f <close> = assert(io.open(("/proc/%d/stat"):format(pid)))
  local fields = {}
  for word in f:read "a":match "%) (.*)":gmatch "%S+" do
    fields[#fields + 1] = word
  end
  return (tonumber(fields[12]) + tonumber(fields[13])) / 100
end

local a <close> = ns.netns.new { lo = true }
local b <close> = ns.netns.new { lo = true }
ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24" })

local function stream()
  local listener <close> = b:socket("inet", "stream")
  local client <close> = a:socket("inet", "stream")
  local address = core.inet.bytes "10.0.0.2"
  assert(core.packet.bind(listener, address, 5001))
  assert(core.packet.listen(listener))
  assert(core.packet.connect(client, address, 5001))
  local server <close> = assert(core.packet.accept(listener))
  local reader = ns.fork({}, function()
    client:close() -- its copy
    repeat
      local data = server:read(1 << 20)
    until not data or data == ""
  end)
  server:close()
  local data, stop = ("x"):rep(1 << 20), ns.clock() + seconds
  while ns.clock() < stop do
    client:write(data)
  end
  client:close()
  reader:result()
end

if not there then
  dofile "bench/filled.lua"(FILE, 8000)
end
local file <close> = assert(io.open(FILE, there and "r+" or "w"))
local took, packets, dropped
if side == "nslua" then
  local capture <close> = a:capture { file = file, dev = "eth0" }
  stream()
  local r = capture:stop()
  took, packets, dropped = cpu(capture.state.process:pid()), r.packets, r.dropped
else
  local p <close> = a:spawn { "tcpdump", "-Z", "root", "-i", "eth0", "-w", "-", stdout = file, stderr = "pipe" }
  local text = p.stderr:read "l"
  while text and not text:find "listening on" do
    text = p.stderr:read "l"
  end
  stream()
  took = cpu(p.pid)
  p:kill "INT"
  local said = p.stderr:read "a"
  p:wait()
  packets, dropped = tonumber(said:match "(%d+) packets? captured"), tonumber(said:match "(%d+) packets? dropped")
end
local written = file:seek "cur" -- it is one place for all who have it open
if not there then
  os.remove(FILE)
end
print(("%.0f"):format(what == "cpu" and took / written * 1e18 or dropped / (packets + dropped) * 1e9))
