-- OSPF by FRR on three routers in a ring: the way from h1 to h2, a link that fails, the way around it, and back.
--
-- Use:    nslua examples/24-ospf.lua
-- Prints: who forwards from h1 to h2 in each state, and how many routes OSPF has.
-- Needs:  the package frr; no root.

local lab <close> = ns.lab [[
  h1 -- r1 -- r2 -- h2
        r1 -- r3 -- r2
]]
local frr <close> = lab:frr { ospf = true } -- in place of the lab's own routes
frr:converged()

-- Who answers on the way; routers send one "time exceeded" a second: where one said nothing, once more.
local function way()
  local names, silent = {}, false
  for _, hop in ipairs(lab.h1:trace "h2") do
    silent = silent or not hop.address
    for _, node in ipairs(lab.nodes) do
      for address in node.address:each { family = "inet" } do
        names[#names + 1] = address.address:match "^[^/]*" == hop.address and node.node_name or nil
      end
    end
  end
  if silent then
    ns.wait({}, 1)
    return way()
  end
  return table.concat(names, " ")
end

print("routes of r1: ", #lab.r1.route:list { proto = "ospf" })
print("at first:     ", way())
lab:link("r1", "r2"):down()
lab:expect { "h1", "h2", within = 30 }
print("link is down: ", way())
lab:link("r1", "r2"):up()
print("and up again: ", ns.eventually(function()
  local now = way()
  return now == "r1 r2 h2" and now
end, 30, 1))
