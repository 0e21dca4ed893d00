-- Why a network does not work: three things are broken, one after the other; ns.why finds each, and its own command mends it.
--
-- Use:    nslua examples/30-why.lua
-- Prints: what was broken, what is found, what mends it; then that it is reached.
-- Needs:  nothing but user namespaces, or root.

local lab <close> = ns.lab [[
  web -- r1 -- (sw) -- db
               (sw) -- other
]]
lab.db:serve "echo"

local faults = {
  { "the router does not forward", function() lab.r1:sysctl("net.ipv4.ip_forward", 0) end },
  { "a route drops it", function() lab.r1.route:add { lab.db:address_of() .. "/32", type = "blackhole" } end },
  { "a port of the switch is down", function() lab.sw.link:change("db", { up = false }) end },
}
for _, fault in ipairs(faults) do
  fault[2]()
  local w = ns.why(lab.web, lab.db, 7, { probe = false })
  print(fault[1] .. ":", w.why)
  local where, command = w.fix:match "^in (%S+): (.*)$"
  print("", "mended in " .. where .. " by:", command)
  lab.node[where]:run { "sh", "-c", command, check = true }
end
io.write("\n", ns.why(lab.web, lab.db, 7):text())
