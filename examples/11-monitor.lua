-- What changes in network namespaces, as the kernel tells it: links and addresses of two at once, and what is there first.
--
-- Use:    nslua examples/11-monitor.lua
-- Prints: a line for each event: the namespace, what happened, to what.
-- Needs:  root, or `unshare -Ur` before it.

local a <close> = ns.netns.new{ label = "a" }
local b <close> = ns.netns.new{ label = "b" }
local changes <close> = ns.monitor{ "link", "address", netns = { a, b }, existing = true }

ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24", names = { "cable", "cable" } })
a.link:delete "cable"

for e in changes:each(0.5) do -- until nothing has happened for half a second
  print(e.netns, e.action, e.what, e.object.name or e.object.address)
end
