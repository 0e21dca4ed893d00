-- nslua: Linux namespaces and rtnetlink for Lua. The composition root: parts are loaded when first used.

local core = require "nslua.core"

-- Before anything else is loaded: it puts printing functions in the place of the core's.
local trace = os.getenv "NSLUA_TRACE"
if trace and trace ~= "" and trace ~= "0" then
  require("nslua.trace").start(trace, true)
end

---@class nslua
local ns = { _VERSION = "nslua 0.1.0" }

-- key -> the module that is its value
local modules = {
  error = "nslua.error",
  namespace = "nslua.namespace",
  netns = "nslua.netns",
  userns = "nslua.userns",
  netlink = "nslua.netlink",
  wire = "nslua.wire",
  test = "nslua.test",
}

-- The same of floor 2, which is Lua 5.4.
local upper = {
  container = "nslua.container",
  lab = "nslua.lab",
  probe = "nslua.inspect.probe",
  capture = "nslua.inspect.capture",
  doctor = "nslua.inspect.doctor",
  journal = "nslua.inspect.record",
  map = "nslua.inspect.map",
  look = "nslua.inspect.look",
}

-- key -> module, function of it
local functions = {
  run = { "nslua.process", "run" },
  spawn = { "nslua.process", "spawn" },
  exec = { "nslua.exec", "exec" },
  fork = { "nslua.process", "fork" },
  wait = { "nslua.wait", "wait" },
  unshare = { "nslua.namespace", "unshare" },
  setns = { "nslua.namespace", "setns" },
  connect = { "nslua.connect", "connect" },
  monitor = { "nslua.monitor", "monitor" },
  transaction = { "nslua.transaction", "transaction" },
  eventually = { "nslua.eventually", "eventually" },
}

-- The same of floor 2.
local upper_functions = {
  sweep = { "nslua.lab.sweep", "sweep" },
  snapshot = { "nslua.inspect.record.snapshot", "snapshot" },
  diff = { "nslua.inspect.record.diff", "diff" },
  why = { "nslua.inspect.why", "why" },
}

---Seconds of the monotonic clock.
---@return number
ns.clock = core.fd.clock

setmetatable(ns, {
  __keys = { modules, upper, functions, upper_functions }, -- for completion
  __index = function(t, key)
    local value
    if modules[key] then
      value = require(modules[key])
    elseif upper[key] or upper_functions[key] then
      if _VERSION < "Lua 5.4" then
        error(("ns.%s needs Lua 5.4, this is %s"):format(key, _VERSION), 2)
      end
      value = upper[key] and require(upper[key]) or require(upper_functions[key][1])[upper_functions[key][2]]
    elseif functions[key] then
      value = require(functions[key][1])[functions[key][2]]
    end
    if value ~= nil then
      rawset(t, key, value)
    end
    return value
  end,
})

-- Handed down to floor 1: what "docker:web" stands for.
local resolvers = require "nslua.resolvers"
for _, engine in ipairs { "docker", "podman", "crio", "containerd", "runc", "crun", "machine", "lxc", "lxd", "incus", "pod" } do
  resolvers[engine] = function(rest)
    return ns.container.find(engine .. ":" .. rest)
  end
end

-- And the probes: methods of every handle of a network namespace.
local handed = require "nslua.handed"
for _, name in ipairs { "ping", "tcp", "udp", "trace", "path_mtu", "resolve", "http" } do
  handed[name] = function(...)
    if _VERSION < "Lua 5.4" then
      error(("%s needs Lua 5.4, this is %s"):format(name, _VERSION), 2)
    end
    handed[name] = ns.probe.methods[name]
    return handed[name](...)
  end
end

handed.look = function(...)
  if _VERSION < "Lua 5.4" then
    error(("look needs Lua 5.4, this is %s"):format(_VERSION), 2)
  end
  handed.look = ns.look.methods.look
  return handed.look(...)
end

handed.capture = function(...)
  if _VERSION < "Lua 5.4" then
    error(("capture needs Lua 5.4, this is %s"):format(_VERSION), 2)
  end
  handed.capture = ns.capture.methods.capture
  return handed.capture(...)
end

return ns
