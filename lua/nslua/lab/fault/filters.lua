-- Faults of firewalls.

local firewall = require "nslua.lab.firewall"

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
}
