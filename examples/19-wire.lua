-- A bad line on any kernel: 10 ms away, every fourth packet lost on the way there, always the same ones for the same seed; then mended, and cut.
--
-- Use:    nslua examples/19-wire.lua
-- Prints: what ping(8) saw, and what the wire counted.
-- Needs:  root, or `unshare -Ur` before it; /dev/net/tun that may be opened.

local a <close> = ns.netns.new{ lo = true, label = "a" }
local b <close> = ns.netns.new{ lo = true, label = "b" }
local ok, wire = pcall(ns.wire.new, {
  a = { a, dev = "eth0", address = "10.0.0.1/24" },
  b = { b, dev = "eth0", address = "10.0.0.2/24" },
  to = { delay = "10ms", loss = "25%" },
  from = { delay = "10ms" },
  seed = 7,
})
if not ok then
  print("no wire: " .. wire)
  return
end

local function ping(what)
  local r = a:run{ "ping", "-q", "-c", 20, "-i", 0.02, "-W", 1, "10.0.0.2" }
  print(("%-8s %2d of 20 came back, the fastest after %s ms"):format(what, r.stdout:match "(%d+) received", r.stdout:match "= ([%d.]+)/" or "-"))
end

ping "bad:"
print(("         %d packets lost on the way there"):format(wire:counters().to.lost))
wire:change{ to = { loss = false, delay = "1ms" }, from = { delay = "1ms" } }
ping "mended:"
wire:down()
ping "cut:"
print("carrier:", a.link:get("eth0").carrier)
wire:close()
