-- Two namespaces cannot reach each other, until a veth joins them.
--
-- Use:    nslua examples/06-veth.lua
-- Prints: what ping says before ("Network is unreachable"), then the answer across the veth.
-- Needs:  root, or `unshare -Ur` before it.

local a <close> = ns.netns.new{ lo = true, label = "a" }
local b <close> = ns.netns.new{ lo = true, label = "b" }

local before = a:run{ "ping", "-c1", "-W1", "10.0.0.2" }
print("before: " .. before.stderr:gsub("%s+$", ""))

-- One end is born in each namespace, in one request.
a.link:add{ name = "eth0", kind = "veth", peer = { name = "eth0", netns = b } }
a.address:add{ "10.0.0.1/24", dev = "eth0" }
b.address:add{ "10.0.0.2/24", dev = "eth0" }
a.link:change("eth0", { up = true })
b.link:change("eth0", { up = true })

local after = a:run{ "ping", "-c1", "-W5", "10.0.0.2" }:check()
print("after:  " .. after.stdout:match "[^\n]*packets transmitted[^,]*, %d+ received")

-- ns.connect does all of that in one call.
local c <close> = ns.netns.new{ lo = true, label = "c" }
ns.connect(a, c, { "10.0.1.1/24", "10.0.1.2/24" })
print("connect: " .. a:run{ "ping", "-c1", "-W5", "10.0.1.2" }:check().stdout:match "%d+ received")
