-- Impaired links of a lab: netem where the kernel has it, wires of one process where it has not.

local impair = require "nslua.lab.impair"
local netem = require "nslua.netem"
local wire = require "nslua.wire"

local M = {}

local function of_end(lab, at)
  return { lab.node[at.node], dev = at.dev, lladdr = at.lladdr, mtu = at.mtu, up = false }
end

---The process that carries a lab's wires.
---@param lab nslua.Lab
---@return nslua.WireHub
function M.hub(lab)
  lab.hub = lab.hub or wire.hub { seed = lab.topology.seed, keeper = lab.keeper }
  return lab.hub
end

---Make those of a lab; each is kept in `lab.wires` by the number of its link.
---@param lab nslua.Lab
---@param topology nslua.lab.Topology
function M.add(lab, topology)
  for i, link in ipairs(topology.links) do
    if lab.plan.links[i].impaired then
      if not lab.hub and not netem.available() then
        M.hub(lab)
      end
      local ends = lab.plan.links[i].ends
      lab.wires[i] = impair.link { a = of_end(lab, ends[1]), b = of_end(lab, ends[2]), to = link.to, from = link.from, hub = lab.hub,
        seed = not lab.hub and topology.seed and topology.seed + i or nil }
    end
  end
end

return M
