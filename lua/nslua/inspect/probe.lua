-- ns.probe: what every handle of a network namespace can ask the network, each a method of it: a:ping("10.0.0.2").

local M = {}

M.ping_many = require("nslua.inspect.ping_many").ping_many

---Methods of handles; the composition root hands them down.
M.methods = {
  ping = require("nslua.inspect.ping").ping,
  tcp = require("nslua.inspect.tcp").tcp,
  udp = require("nslua.inspect.udp").udp,
  trace = require("nslua.inspect.trace").trace,
  path_mtu = require("nslua.inspect.path_mtu").path_mtu,
  resolve = require("nslua.inspect.resolve").resolve,
  http = require("nslua.inspect.http").http,
}

return M
