-- A router between two subnets: addresses, default routes, forwarding.
--
-- Use:    nslua examples/08-router.lua
-- Prints: the ping that fails while the router does not forward, the ping that is answered (its ttl is one less), and the routes.
-- Needs:  root, or `unshare -Ur` before it.

local left <close> = ns.netns.new{ lo = true, label = "left" }
local router <close> = ns.netns.new{ lo = true, label = "router" }
local right <close> = ns.netns.new{ lo = true, label = "right" }

ns.connect(left, router, { "10.0.1.2/24", "10.0.1.1/24" })
ns.connect(right, router, { "10.0.2.2/24", "10.0.2.1/24" })
left.route:add{ "default", via = "10.0.1.1" }
right.route:add{ "default", via = "10.0.2.1" }

local function try()
  local r = left:run{ "ping", "-c1", "-W1", "10.0.2.2" }
  print(r.ok and "answered, " .. r.stdout:match "ttl=%d+" or "no answer")
end

router:sysctl("net.ipv4.ip_forward", 0)
try()
router:sysctl("net.ipv4.ip_forward", 1)
try()

for _, r in ipairs(left.route:list{ family = "inet", table = "main" }) do
  print(("left: %s %s dev %s"):format(r.dst, r.via and "via " .. r.via or "direct", r.dev))
end
local r = left.route:lookup{ "10.0.2.2" }
print(("left reaches %s via %s dev %s from %s"):format("10.0.2.2", r.via, r.dev, r.src))
