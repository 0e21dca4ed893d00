-- Three hosts on a bridge: each reaches each. The bridge has a namespace of its own, so that nothing of the host's is touched.
--
-- Use:    nslua examples/07-bridge.lua
-- Prints: the ports of the bridge, and a line for each of the six pings.
-- Needs:  root, or `unshare -Ur` before it.

local switch <close> = ns.netns.new{ label = "switch" }
switch.link:add{ name = "br0", kind = "bridge", up = true }

local hosts = {}
for i, name in ipairs{ "h1", "h2", "h3" } do
  local h = ns.netns.new{ lo = true, label = name }
  switch.link:add{ name = name, kind = "veth", master = "br0", up = true, peer = { name = "eth0", netns = h } }
  h:batch(function()
    h.link:change("eth0", { up = true })
    h.address:add{ "10.0.0." .. i .. "/24", dev = "eth0" }
  end)
  hosts[i] = h
end

for link in switch.link:each{ master = "br0" } do
  print(("port %s of %s: %s"):format(link.name, link.master, link.up and "up" or "down"))
end
for i, from in ipairs(hosts) do
  for j, to in ipairs(hosts) do
    if i ~= j then
      local r = from:run{ "ping", "-c1", "-W5", "10.0.0." .. j }
      print(("%s -> %s: %s"):format(from.label, to.label, r.ok and "answered" or "no answer"))
    end
  end
end
