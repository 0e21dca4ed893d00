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
  gateway_address = { why = "a router or a bridge has lost its address", here = true, run = function(node)
    local dev = node.plan.bridge or ways.first_device(node).dev
    local kept = {}
    for _, row in ipairs(node.address:list { dev = dev, family = "inet" }) do
      kept[#kept + 1] = row.address
      node.address:delete(row)
    end
    return function()
      for _, address in ipairs(kept) do
        node.address:ensure { address, dev = dev }
      end
    end
  end },
  arp_off = { why = "an interface does not answer ARP", here = true, run = function(node)
    local at = ways.first_device(node)
    node.link:change(at.dev, { arp = false })
    return function()
      node.link:change(at.dev, { arp = true })
    end
  end },
  arp_ignore = { why = "a host keeps silent about its addresses", run = function(node)
    return ways.sysctl(node, "net.ipv4.conf.all.arp_ignore", 8)
  end },
}
