-- Questions to the network from inside a namespace, with no program there: ping, trace, path MTU, TCP, and many pings at once.
--
-- Use:    nslua examples/19-probe.lua
-- Prints: the answers; who says that a packet is too large; that a port refuses; that everybody reaches everybody.
-- Needs:  root, or `unshare -Ur` before it.

local left <close> = ns.netns.new{ lo = true, label = "left" }
local router <close> = ns.netns.new{ lo = true, label = "router" }
local right <close> = ns.netns.new{ lo = true, label = "right" }

ns.connect(left, router, { "10.0.1.2/24", "10.0.1.1/24" })
ns.connect(right, router, { "10.0.2.2/24", "10.0.2.1/24", mtu = 1400 })
left.route:add{ "default", via = "10.0.1.1" }
right.route:add{ "default", via = "10.0.2.1" }
router:sysctl("net.ipv4.ip_forward", 1)

local p = left:ping("10.0.2.2", { count = 3, interval = "10ms" })
print(("ping: %d of %d answered"):format(p.received, p.sent))

local way = left:trace "10.0.2.2"
for _, hop in ipairs(way) do
  print(("hop %d: %s"):format(hop.ttl, hop.address))
end

local path = left:path_mtu "10.0.2.2"
print(("path MTU %d, said by %s"):format(path.mtu, path.limits[#path.limits].from))

print("port 80: " .. left:tcp("10.0.2.2", 80).error)

local all = ns.probe.ping_many {
  { from = left, to = "10.0.2.2" }, { from = right, to = "10.0.1.2" }, { from = router, to = "10.0.1.2" }, { from = router, to = "10.0.2.2" },
}
print(("all: %d of %d answered"):format(all.received, all.sent))
