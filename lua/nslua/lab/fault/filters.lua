-- Faults of firewalls.

local errors = require "nslua.error"
local firewall = require "nslua.lab.firewall"
local programs = require "nslua.lab.fault.programs"
local ways = require "nslua.lab.fault.ways"

local function iptables(node, words)
  local argv = { "iptables-legacy", "-w" }
  for word in words:gmatch "%S+" do
    argv[#argv + 1] = word
  end
  local ok, r = pcall(node.run, node, argv)
  if not ok and errors.is(r, "ENOENT") then
    errors.raise { call = "lab.fault", message = "iptables-legacy(8) is not installed", hint = "Debian has it in the package iptables" }
  elseif not ok then
    error(r, 0)
  elseif not r.ok then
    errors.raise { call = "lab.fault", netns = node.node_name, message = "iptables-legacy refuses the rules", detail = r.stderr:match "[^\n]+" }
  end
end

-- A chain of iptables-legacy that drops something, and is reached by a jump.
local function load_legacy(node, from, rule)
  iptables(node, "-N NSLUA_FAULT")
  iptables(node, "-A NSLUA_FAULT " .. rule)
  iptables(node, ("-I %s 1 -j NSLUA_FAULT"):format(from))
  return function()
    iptables(node, ("-D %s -j NSLUA_FAULT"):format(from))
    iptables(node, "-F NSLUA_FAULT")
    iptables(node, "-X NSLUA_FAULT")
  end
end

-- The port that a node serves.
local function port_of(node)
  local _, service = programs.served(node)
  return service.port
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
    return ways.load(node, "table inet nslua_forward_drop", "chain forward { type filter hook forward priority filter; policy drop; };")
  end },
  icmp_blocked = { why = "echo requests are dropped", run = function(node)
    firewall.firewall(node, "block_icmp")
    return function()
      firewall.clear(node, "block_icmp")
    end
  end },
  arp_rule = { why = "a rule drops who asks for addresses", run = function(node)
    local undo = ways.load(node, "table arp nslua_fault", "chain input { type filter hook input priority filter; arp operation request drop; };")
    forget(node)
    return undo
  end },
  arp_lost = { why = "what asks for addresses does not get in", run = function(node)
    local undo = ways.load(node, "table netdev nslua_fault",
      ('chain ingress { type filter hook ingress device "%s" priority filter; arp operation request drop; };'):format(ways.first_device(node).dev))
    forget(node)
    return undo
  end },
  input_drop = { why = "a host drops what comes for a port that it serves", run = function(node)
    return ways.load(node, "table inet nslua_fault", ("chain ports { tcp dport %d drop; }; "
      .. "chain input { type filter hook input priority filter; meta l4proto tcp jump ports; };"):format(port_of(node)))
  end },
  input_policy = { why = "a host lets nothing in", run = function(node)
    return ways.load(node, "table inet nslua_fault", [[chain input { type filter hook input priority filter; policy drop;
      iifname "lo" accept; ct state vmap { established : accept, related : accept, invalid : drop }; meta l4proto { icmp, ipv6-icmp } accept; };]])
  end },
  output_drop = { why = "a host lets nothing out", run = function(node)
    return ways.load(node, "table inet nslua_fault", [[chain output { type filter hook output priority filter; policy drop;
      oifname "lo" accept; ct state established,related accept; meta l4proto ipv6-icmp accept; };]])
  end },
  loopback_filter = { why = "a host drops what it sends to itself", run = function(node)
    return ways.load(node, "table inet nslua_fault", [[chain input { type filter hook input priority filter; policy drop;
      iifname != "lo" accept; };]])
  end },
  forward_legacy = { why = "a chain of iptables-legacy drops what a router is to pass on", run = function(node)
    return load_legacy(node, "FORWARD", "-j DROP")
  end },
  mixed_firewalls = { why = "nf_tables accept a port that a host serves, and iptables-legacy drop it", run = function(node)
    local port = port_of(node)
    return ways.all { ways.load(node, "table inet nslua_fault",
      ("chain input { type filter hook input priority filter; tcp dport %d accept; };"):format(port)),
      load_legacy(node, "INPUT", ("-p tcp --dport %d -j DROP"):format(port)) }
  end },
  asymmetric_route = { why = "answers go by another router, whose firewall knows nothing of the connection", run = function(node)
    local at = ways.first_device(node)
    for _, member in ipairs(at.segment and at.segment.members or {}) do
      local other = member.node ~= node.node_name and member.inet and node.lab.node[member.node]
      local undo = {}
      for _, row in ipairs(other and other.plan.kind == "router" and node.route:list { family = "inet", dev = at.dev } or {}) do
        local old = row.via ~= member.inet and row.via
        if old then
          local dst = row.dst
          node.route:replace { dst, via = member.inet, dev = at.dev }
          undo[#undo + 1] = function()
            node.route:replace { dst, via = old, dev = at.dev }
          end
        end
      end
      if undo[1] then
        undo[#undo + 1] = ways.load(other, "table inet nslua_fault",
          "chain forward { type filter hook forward priority filter; ct state invalid drop; };")
        return ways.all(undo)
      end
    end
    errors.misuse("lab.fault: %s goes by all the routers that are on its link", node.node_name)
  end },
}
