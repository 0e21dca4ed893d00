-- Faults of programs and of their sockets: who does not listen, or where nobody comes by.

local errors = require "nslua.error"
local firewall = require "nslua.lab.firewall"

-- The service that a node serves: its name and itself. Of several, the first by name that listens on a TCP port.
local function served(node)
  local names = {}
  for name, service in pairs(rawget(node, "services") or {}) do
    names[#names + 1] = service.port and not service.closed and name or nil
  end
  table.sort(names)
  local name = names[1] or errors.misuse('lab.fault: %s serves nothing: node:serve("http") first', node.node_name)
  return name, node.services[name]
end

-- Serve it in another way; back as it was.
local function serve_otherwise(node, change)
  local name, service = served(node)
  local options, changed = service.options, {}
  for key, value in pairs(options) do
    changed[key] = value
  end
  service:close()
  change(name, changed)
  return function()
    node.services[name]:close() -- what serves now: the fault's, or who started it again
    node:serve(name, options)
  end
end

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
    return serve_otherwise(node, function() end)
  end },
  loopback_only = { why = "a program listens on 127.0.0.1 alone", run = function(node)
    return serve_otherwise(node, function(name, options)
      options.address = "127.0.0.1"
      node:serve(name, options)
    end)
  end },
  wrong_port = { why = "a router leads a port to one that nobody listens on", run = function(node)
    local host, ip = neighbour(node)
    local _, service = served(host)
    local rules = "table ip nslua_wrong_port\ndelete table ip nslua_wrong_port\n"
    firewall.load(node, "lab.fault", rules .. ("table ip nslua_wrong_port { chain prerouting { type nat hook prerouting priority dstnat; "
      .. "tcp dport 8080 dnat to %s:%d; }; }\n"):format(ip, service.port % 65535 + 1))
    return function()
      firewall.load(node, "lab.fault", rules)
    end
  end },
}
