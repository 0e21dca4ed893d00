-- Faults of programs that serve: who does not listen, or where nobody comes by.

local errors = require "nslua.error"
local programs = require "nslua.lab.fault.programs"
local ways = require "nslua.lab.fault.ways"

-- A host beside a node that serves something.
local function neighbour(node)
  for _, interface in ipairs(node.plan.interfaces) do
    for _, member in ipairs(interface.segment and interface.segment.members or {}) do
      local other = member.node ~= node.node_name and node.lab.node[member.node]
      if other and other.kind == "host" and member.inet and next(rawget(other, "services") or {}) then
        return other, member.inet
      end
    end
  end
  return errors.misuse("lab.fault: nobody beside %s serves anything", node.node_name)
end

---@type table<string, nslua.lab.fault.Known>
return {
  not_listening = { why = "the program that should listen does not run", run = function(node)
    return programs.serve_otherwise(node, function() end)
  end },
  loopback_only = { why = "a program listens on 127.0.0.1 alone", run = function(node)
    return programs.serve_otherwise(node, function(name, options)
      options.address = "127.0.0.1"
      return node:serve(name, options)
    end)
  end },
  v6_only = { why = "a program listens on [::], and that is IPv6 alone", run = function(node)
    local back = ways.sysctl(node, "net.ipv6.bindv6only", 1)
    return ways.all { back, programs.serve_otherwise(node, function(_, options)
      return programs.acceptor(node, options.port, "::", 16)
    end) }
  end },
  wrong_port = { why = "a router leads a port to one that nobody listens on", run = function(node)
    local host, ip = neighbour(node)
    local _, service = programs.served(host)
    return ways.load(node, "table ip nslua_wrong_port",
      ("chain prerouting { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to %s:%d; };"):format(ip, service.port % 65535 + 1))
  end },
}
