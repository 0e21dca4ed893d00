-- Faults of firewalls.

local firewall = require "nslua.lab.firewall"
local ways = require "nslua.lab.fault.ways"

-- Load a table; what is returned deletes it.
local function load(node, name, chains)
  local gone = ("%s\ndelete %s\n"):format(name, name)
  firewall.load(node, "lab.fault", ("%s%s { %s }\n"):format(gone, name, chains))
  return function()
    firewall.load(node, "lab.fault", gone)
  end
end

-- Let the neighbours of a node forget where it is, as they do in time.
local function forget(node)
  local at = ways.first_device(node)
  for _, member in ipairs(at.segment and at.segment.members or {}) do
    local other = member.node ~= node.node_name and node.lab.node[member.node]
    if other then
      other.neighbour:delete({ at.inet, dev = member.dev }, { absent = "ok" })
    end
  end
end

---@type table<string, nslua.lab.fault.Known>
return {
  forward_drop = { why = "a router drops what no rule of its firewall accepts", run = function(node)
    local rules = "table inet nslua_forward_drop\ndelete table inet nslua_forward_drop\n"
    firewall.load(node, "lab.fault", rules
      .. "table inet nslua_forward_drop { chain forward { type filter hook forward priority filter; policy drop; }; }\n")
    return function()
      firewall.load(node, "lab.fault", rules)
    end
  end },
  icmp_blocked = { why = "echo requests are dropped", run = function(node)
    firewall.firewall(node, "block_icmp")
    return function()
      firewall.clear(node, "block_icmp")
    end
  end },
  arp_rule = { why = "a rule drops who asks for addresses", run = function(node)
    local undo = load(node, "table arp nslua_fault", "chain input { type filter hook input priority filter; arp operation request drop; };")
    forget(node)
    return undo
  end },
  arp_lost = { why = "what asks for addresses does not get in", run = function(node)
    local undo = load(node, "table netdev nslua_fault",
      ('chain ingress { type filter hook ingress device "%s" priority filter; arp operation request drop; };'):format(ways.first_device(node).dev))
    forget(node)
    return undo
  end },
}
