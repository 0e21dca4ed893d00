-- nslua: Linux namespaces and rtnetlink for Lua. The composition root: parts are loaded when first used.

local core = require "nslua.core"

---@class nslua
local ns = { _VERSION = "nslua 0.1.0" }

-- key -> the module that is its value
local modules = {
  error = "nslua.error",
  namespace = "nslua.namespace",
  netns = "nslua.netns",
  userns = "nslua.userns",
  netlink = "nslua.netlink",
}

-- key -> module, function of it
local functions = {
  run = { "nslua.process", "run" },
  spawn = { "nslua.process", "spawn" },
  exec = { "nslua.process", "exec" },
  fork = { "nslua.process", "fork" },
  wait = { "nslua.wait", "wait" },
  unshare = { "nslua.namespace", "unshare" },
  setns = { "nslua.namespace", "setns" },
  connect = { "nslua.connect", "connect" },
}

---Seconds of the monotonic clock.
---@return number
ns.clock = core.fd.clock

return setmetatable(ns, {
  __index = function(t, key)
    local value
    if modules[key] then
      value = require(modules[key])
    elseif functions[key] then
      value = require(functions[key][1])[functions[key][2]]
    end
    if value ~= nil then
      rawset(t, key, value)
    end
    return value
  end,
})
