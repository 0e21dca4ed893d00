-- ns.probe: what every handle of a network namespace can ask the network, each a method of it: a:ping("10.0.0.2").

local check = require "nslua.check"
local many = require "nslua.inspect.many"

local M = {}

M.ping_many = require("nslua.inspect.ping_many").ping_many

---Do several things at the same time, so far as they wait in probes, of whatever namespaces:
---`ns.probe.together{ function() return a:tcp("10.0.0.2", 80) end, function() return b:http "http://10.0.0.3/" end }`.
---What waits elsewhere keeps the others waiting. An error of one ends all, and is raised.
---@param list (fun(): any)[]
---@param each? fun(index: integer, value: any)  called as each comes to its end
---@return any[] values  the first value of each, in the order of the list
function M.together(list, each)
  check.argument("probe.together", "list", list, "table")
  return many.together(list, each)
end

---Methods of handles; the composition root hands them down.
M.methods = {
  ping = many.of_ping(require("nslua.inspect.ping").ping),
  tcp = many.of("netns.tcp", require("nslua.inspect.tcp").tcp, 2),
  udp = many.of("netns.udp", require("nslua.inspect.udp").udp, 2),
  trace = many.of("netns.trace", require("nslua.inspect.trace").trace),
  path_mtu = many.of("netns.path_mtu", require("nslua.inspect.path_mtu").path_mtu),
  resolve = many.of("netns.resolve", require("nslua.inspect.resolve").resolve),
  http = many.of("netns.http", require("nslua.inspect.http").http),
}

return M
