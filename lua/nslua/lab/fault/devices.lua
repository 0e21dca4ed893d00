-- Faults of links: what is down, too small, or has the address of another.

local errors = require "nslua.error"
local firewall = require "nslua.lab.firewall"
local ways = require "nslua.lab.fault.ways"

---@type table<string, nslua.lab.fault.Known>
return {
  link_down = { why = "an interface is down", here = true, run = function(node)
    local at = ways.first_device(node)
    local link = node.lab:link(node, at.peer)
    link:down()
    return function()
      link:up()
    end
  end },
  loopback_down = { why = "the loopback interface is down", run = function(node)
    return ways.change(node, "lo", { up = false })
  end },
  duplicate_mac = { why = "two have one link-layer address", here = true, run = function(node)
    local at = ways.first_device(node)
    for _, member in ipairs(at.segment and at.segment.members or {}) do
      local other = member.node ~= node.node_name and node.lab.node[member.node]
      if other and member.inet then
        return ways.change(node, at.dev, { address = other.link:get(member.dev).address })
      end
    end
    errors.misuse("lab.fault: nobody else is on the link of %s", node.node_name)
  end },
  mtu_black_hole = { why = "a link takes less than its ends know, and says so to nobody", run = function(node)
    local at = node.plan.interfaces[#node.plan.interfaces] or ways.first_device(node)
    local back = ways.change(node, at.dev, { mtu = 1300 })
    firewall.firewall(node, "block_frag_needed")
    return ways.all { back, function()
      firewall.clear(node, "block_frag_needed")
    end }
  end },
}
