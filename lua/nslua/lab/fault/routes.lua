-- Faults of routes and of what a host does with a packet that is not for it.

local errors = require "nslua.error"
local ways = require "nslua.lab.fault.ways"

---@type table<string, nslua.lab.fault.Known>
return {
  no_default_route = { why = "a host has no way out", run = function(node)
    local kept = {}
    for _, family in ipairs { "inet", "inet6" } do
      for _, row in ipairs(node.route:list { "default", family = family }) do
        kept[#kept + 1] = row:decode()
        node.route:delete(row)
      end
    end
    return function()
      for _, row in ipairs(kept) do
        local ok, e = pcall(node.route.ensure, node.route, { "default", via = row.via, dev = row.dev, family = row.family })
        -- out of reach: the node was moved meanwhile, and has the route of its new place
        if not ok and not errors.is(e, "ENETUNREACH") and not errors.is(e, "EHOSTUNREACH") then
          error(e, 0)
        end
      end
    end
  end },
  default_rejects = { why = "a default route that rejects comes before the one that leads on", run = function(node)
    local row = node.route:list({ "default", family = "inet" })[1] or errors.misuse("lab.fault: %s has no default route", node.node_name)
    local route = { "default", via = row.via, dev = row.dev, metric = (row.metric or 0) + 100 }
    local old = { "default", via = row.via, dev = row.dev, metric = row.metric }
    node.route:add(route)
    node.route:delete(row)
    node.route:add { "default", type = "unreachable", metric = row.metric }
    return function()
      node.route:delete({ "default", type = "unreachable", metric = old.metric }, { absent = "ok" })
      node.route:delete(route, { absent = "ok" })
      node.route:ensure(old)
    end
  end },
  blackhole_route = { why = "a route throws away what is for a neighbour's network", run = function(node)
    local at = ways.first_device(node)
    local host = node.lab.node[at.peer]
    local far = at.segment and at.segment.members or {}
    for _, member in ipairs(far) do
      if member.node ~= node.node_name and member.inet then
        host = node.lab.node[member.node]
      end
    end
    local ip
    for _, interface in ipairs(host and host.plan.interfaces or {}) do
      ip = interface.inet or ip -- the last one: beyond a router
    end
    local dst = (ip or errors.misuse("lab.fault: nobody with an IPv4 address is beside %s", node.node_name)) .. "/32"
    node.route:add { dst, type = "blackhole" }
    return function()
      node.route:delete({ dst, type = "blackhole" }, { absent = "ok" })
    end
  end },
  no_forwarding = { why = "a router does not forward", run = function(node)
    return ways.all { ways.sysctl(node, "net.ipv4.ip_forward", 0), ways.sysctl(node, "net.ipv6.conf.all.forwarding", 0) }
  end },
  rp_filter = { why = "packets that do not come the way their answer would go are dropped", run = function(node)
    return ways.sysctl(node, "net.ipv4.conf.all.rp_filter", 1)
  end },
  gateway_off_link = { why = "the default route leads by an address of no network of the link", run = function(node)
    local row = node.route:list({ "default", family = "inet" })[1] or errors.misuse("lab.fault: %s has no default route", node.node_name)
    local old, dev = row.via, row.dev
    node.route:replace { "default", via = "192.0.2.254", dev = dev, onlink = true }
    return function()
      node.route:replace { "default", via = old, dev = dev }
    end
  end },
  rule_rejects = { why = "a rule of policy routing ends the way", run = function(node)
    local rule = { priority = 100, family = "inet", from = ways.first_device(node).inet .. "/32", action = "prohibit" }
    node.rule:add(rule)
    return function()
      node.rule:delete(rule, { absent = "ok" })
    end
  end },
}
