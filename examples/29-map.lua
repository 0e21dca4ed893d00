-- A map: every network namespace of the machine and how they are wired, and what has changed between two of them.
--
-- Use:    nslua examples/29-map.lua [FILE.svg]
-- Prints: the map, with a lab in it; then what is different once a link of the lab is down and an address is new.
-- Needs:  nothing: without root it has the namespaces that this user may look at.

local lab <close> = ns.lab [[
  h1 -- r1 -- (sw) -- h2
              (sw) -- h3
]]

local before = ns.map()
io.write(before:text { columns = 100 })
if arg[1] then
  local f <close> = assert(io.open(arg[1], "w"))
  f:write(before:svg())
end

lab.h1.link:change("eth0", { up = false })
lab.h2.address:add { "192.0.2.7/24", dev = "eth0" }

local mine = {}
for _, node in ipairs(lab.nodes) do
  mine[node.inode] = node.node_name
end
print()
for _, change in ipairs(before:diff(ns.map())) do
  if mine[change.netns] and (change.address == "192.0.2.7/24" or change.changes and change.changes.up) then
    print(change.action, change.what, mine[change.netns], change.link, change.address or "up = " .. tostring(change.changes.up.after))
  end
end
