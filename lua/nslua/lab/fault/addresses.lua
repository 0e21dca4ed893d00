-- Faults of addresses and neighbours.

local errors = require "nslua.error"
local ways = require "nslua.lab.fault.ways"

---@type table<string, nslua.lab.fault.Known>
return {
  duplicate_address = { why = "two have one address on a link", here = true, run = function(node)
    local at = ways.first_device(node)
    for _, member in ipairs(at.segment and at.segment.members or {}) do
      if member.node ~= node.node_name and member.inet then
        local address = member.addresses[1]
        node.address:add { address, dev = at.dev }
        return function()
          node.address:delete({ address, dev = at.dev }, { absent = "ok" })
        end
      end
    end
    errors.misuse("lab.fault: nobody else is on the link of %s", node.node_name)
  end },
  wrong_neighbour = { why = "a neighbour's link-layer address is another's", here = true, run = function(node)
    local at = ways.first_device(node)
    local list = {}
    for _, entry in ipairs(node.lab.plan:neighbours(node.node_name)) do
      if entry.dev == at.dev then
        node.neighbour:replace { entry[1], lladdr = "02:ff:ff:ff:ff:ff", dev = at.dev }
        list[#list + 1] = function()
          node.neighbour:delete({ entry[1], dev = at.dev }, { absent = "ok" })
        end
      end
    end
    return ways.all(list)
  end },
}
