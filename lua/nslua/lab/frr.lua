-- Routing daemons of FRR on nodes of a lab: their files and sockets are in a mount namespace of their own, and they end with the lab. frr(8)

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local foreign = require "nslua.lab.foreign"
local namespace = require "nslua.namespace"
local shared = require "nslua.lab.shared"
local units = require "nslua.units"

local M = {}

local PLACE = "/usr/lib/frr" -- where Debian's package has the daemons

---@class nslua.lab.FrrOptions
---@field ospf? boolean       OSPF in area 0 on every interface of the router, with timers of a lab: a dead neighbour is known after a second
---@field ospf6? boolean      likewise OSPFv3: after three seconds
---@field config? string      more of frr.conf, after what the words above make of it
---@field daemons? string[]   beside zebra and what the words above need: { "bgpd", "bfdd" }
---@field static_routes? boolean  keep the routes the lab made (default: those of the families that are routed here are taken out)

local words = { ospf = "boolean", ospf6 = "boolean", config = "string", daemons = "table", static_routes = "boolean" }

---@class nslua.lab.Frr
---@field node nslua.lab.Node
---@field service nslua.lab.Service  all daemons of the node
---@field config string              what they were started with
local Frr = { __name = "nslua.lab.Frr" }
Frr.__index = Frr
M.methods = Frr

function Frr:__tostring()
  return ("frr on %s (%s)"):format(self.node.node_name, self.service.state)
end

-- An interface between two routers alone needs no designated router, and so no time to choose one.
local function is_point_to_point(node, interface)
  local peer = interface.peer and node.lab.plan.node[interface.peer]
  return peer ~= nil and peer.kind == "router"
end

local function leads_to_routers(node, interface)
  for _, member in ipairs(interface.segment and interface.segment.members or {}) do
    if member.node ~= node.node_name and node.lab.plan.node[member.node].kind == "router" then
      return true
    end
  end
  return false
end

-- frr.conf of a node.
local function config_of(node, options)
  local out = { "hostname " .. node.node_name, "service integrated-vtysh-config" }
  local function add(...)
    out[#out + 1] = (...):format(select(2, ...))
  end
  local id = ("10.255.%d.%d"):format(node.plan.index >> 8, node.plan.index & 255)
  for _, interface in ipairs((options.ospf or options.ospf6) and node.plan.interfaces or {}) do
    add("interface %s", interface.dev)
    local active = leads_to_routers(node, interface)
    if options.ospf and interface.inet then
      if active and is_point_to_point(node, interface) then
        add " ip ospf network point-to-point"
      end
      add(active and " ip ospf dead-interval minimal hello-multiplier 5" or " ip ospf passive")
      add " ip ospf retransmit-interval 2"
      add " ip ospf area 0"
    end
    if options.ospf6 and interface.inet6 then
      if active then
        add " ipv6 ospf6 hello-interval 1"
        add " ipv6 ospf6 dead-interval 3"
      else
        add " ipv6 ospf6 passive"
      end
      if active and is_point_to_point(node, interface) then
        add " ipv6 ospf6 network point-to-point"
      end
      add " ipv6 ospf6 retransmit-interval 2"
      add " ipv6 ospf6 area 0"
    end
    add "exit"
  end
  for _, protocol in ipairs { "ospf", "ospf6" } do
    if options[protocol] then
      add("router %s", protocol)
      add(" %s router-id %s", protocol, id)
      add " timers throttle spf 0 50 500"
      add(protocol == "ospf" and " timers throttle lsa all 50" or " timers lsa min-arrival 0")
      if protocol == "ospf" then
        add " timers lsa min-arrival 0"
      end
      add "exit"
    end
  end
  out[#out + 1] = options.config
  return table.concat(out, "\n") .. "\n"
end

local function daemons_of(options)
  local out, seen = {}, { zebra = true }
  local function add(name)
    if type(name) ~= "string" or not name:find "^%l[%w]*$" then
      errors.misuse("frr: daemons are names as { \"bgpd\" }, got %s", tostring(name))
    end
    if not seen[name] then
      seen[name], out[#out + 1] = true, name
    end
  end
  for _, name in ipairs { options.ospf and "ospfd" or false, options.ospf6 and "ospf6d" or false, table.unpack(options.daemons or {}) } do
    if name then
      add(name)
    end
  end
  for _, name in ipairs { "zebra", table.unpack(out) } do
    if not core.file.stat(PLACE .. "/" .. name) then
      errors.raise { call = "frr", errno = core.errno.ENOENT, message = ("there is no %s/%s"):format(PLACE, name), hint = "apt-get install frr" }
    end
  end
  return out
end

-- The daemons give up root for a user that must be in the group frrvty: here that is root itself, which in a user namespace may be the only one.
local SCRIPT = [[
set -e
umask 022
sed 's/^frrvty:.*//' /etc/group > /run/frr/group
echo 'frrvty:x:999:root' >> /run/frr/group
mount --bind /run/frr/group /etc/group
printf '%%s' %s > /run/frr/frr.conf
cp /run/frr/frr.conf /run/frr/vtysh.conf
start() { %s/$1 -f /run/frr/empty --log stdout -u root -g root -A 127.0.0.1 -P 0 -i /run/frr/$1.pid & pids="$pids $!"; }
wait_for() { until [ -S /run/frr/$1.vty ]; do kill -0 $pids; sleep 0.01; done; }
: > /run/frr/empty
pids=
trap 'kill $pids 2>/dev/null || true; wait; exit 0' TERM # zebra takes its routes with it
start zebra
wait_for zebra
for d in %s; do start $d; done
for d in %s; do wait_for $d; done
vtysh --config_dir /run/frr -b
echo '<frr is ready>'
while kill -0 $pids 2>/dev/null; do wait || break; done
echo 'a daemon has ended' >&2
kill $pids 2>/dev/null || true
exit 1
]]

-- The configuration as variables of the environment, each no longer than one may be (MAX_ARG_STRLEN, execve(2)), and as words of a shell.
local function variables_of(config)
  local env, used = {}, {}
  for from = 1, #config, 100000 do
    local name = "FRR_CONFIG_" .. #used + 1
    env[name], used[#used + 1] = config:sub(from, from + 99999), '"$' .. name .. '"'
  end
  return env, table.concat(used, " ")
end

-- Routes that were there before the daemons came would always win.
local function take_routes(node, options)
  if options.static_routes then
    return
  end
  local families = { inet = options.ospf, inet6 = options.ospf6 }
  shared.alone(node.lab, "frr", rawset, node, "routed", families)
  for family, routed in pairs(families) do
    for _, route in ipairs(routed and node.route:list { family = family, table = "main", proto = "boot" } or {}) do
      node.route:delete(route, { absent = "ok" })
    end
  end
end

-- The lab's own routes come back; those over a link that is down do when that comes up.
local function give_routes(node)
  local routed = rawget(node, "routed") or {}
  shared.alone(node.lab, "frr", rawset, node, "routed", nil)
  for _, route in ipairs(node:isopen() and node.lab.plan:routes(node.node_name) or {}) do
    if routed[(route.via or route[1]):find(":", 1, true) and "inet6" or "inet"] then
      pcall(node.route.ensure, node.route, route)
    end
  end
end

---Start FRR on a node; returns when its daemons have read their configuration. It needs the package frr, and no root.
---@param node nslua.lab.Node
---@param options nslua.lab.FrrOptions
---@return nslua.lab.Frr
function M.start(node, options)
  options = options or {}
  check.options("frr", options, words)
  foreign.refuse(node, "frr")
  if node.kind == "switch" then
    errors.misuse("frr: %s is a switch", node.node_name)
  elseif not options.ospf and not options.ospf6 and not options.config then
    errors.misuse "frr: ospf = true, ospf6 = true or a config expected"
  end
  local before = rawget(node, "daemons")
  if before and before.state ~= "failed" and before.state ~= "stopped" then
    errors.misuse("frr: its daemons run on %s already; close() of what started them ends them", node.node_name)
  end
  local daemons = table.concat(daemons_of(options), " ")
  local config = config_of(node, options)
  local env, used = variables_of(config)
  take_routes(node, options)
  local started, service = pcall(node.service, node, { "sh", "-c", SCRIPT:format(used, PLACE, daemons, daemons), env = env, name = "frr",
    mounts = { { tmpfs = "/run/frr" }, { tmpfs = "/var/tmp" } }, ready = { output = "^<frr is ready>", seconds = 30 } })
  if not started then
    give_routes(node)
    error(service, 0)
  end
  node.daemons = service
  local self = setmetatable({ node = node, service = service, config = config }, Frr)
  local ok, e = pcall(service.wait_ready, service, 30)
  if not ok then
    self:close()
    error(e, 0)
  end
  return self
end

---Say a command to the daemons, as vtysh(1) takes it: frr:vtysh "show ip ospf neighbor". Raises where it fails.
---@param command string
---@return string output
function Frr:vtysh(command)
  check.argument("frr.vtysh", "command", command, "string")
  local pid = self.service.pid
  if not pid then
    errors.raise { call = "frr.vtysh", netns = self.node.node_name, errno = core.errno.ESRCH,
      message = "the daemons do not run: " .. tostring(self.service.reason) }
  end
  local plan = { "vtysh", "--config_dir", "/run/frr", join = { mount = pid } }
  for line in command:gmatch "[^\n]+" do
    plan[#plan + 1] = "-c"
    plan[#plan + 1] = line
  end
  local result = namespace.Namespace.methods.run(self.node, plan)
  if not result.ok then -- what is wrong vtysh says on stdout
    errors.raise { call = "frr.vtysh", netns = self.node.node_name, detail = command,
      message = (result.stdout .. result.stderr):match "^%s*(.-)%s*$":gsub("%c+", " ") }
  end
  return result.stdout
end

---The answer of a command that ends with "json", as a table. Needs the Lua module dkjson.
---@param command string  "show ip route json"
---@return table
function Frr:json(command)
  local ok, dkjson = pcall(require, "dkjson")
  if not ok then
    errors.raise { call = "frr.json", message = "the Lua module dkjson is missing", hint = "apt-get install lua-dkjson" }
  end
  local text = self:vtysh(command)
  local value, _, message = dkjson.decode(text)
  if type(value) ~= "table" then
    errors.raise { call = "frr.json", netns = self.node.node_name, message = message or "no JSON: " .. text:sub(1, 200), detail = command }
  end
  return value
end

---End the daemons; the routes that the lab made, and they took the place of, come back. Idempotent.
---@return true
function Frr:close()
  self.service:close()
  if rawget(self.node, "daemons") == self.service then
    self.node.daemons = nil
    give_routes(self.node)
  end
  return true
end
Frr.__close = Frr.close

-- What a router has no route to: names of subnets.
local function missing(node, family)
  local known, out = {}, {}
  for _, route in ipairs(node.route:list { family = family, table = "main" }) do
    known[route.dst] = route.type == "unicast"
  end
  for _, segment in ipairs(node.lab.plan.segments) do
    local subnet = segment[family]
    if subnet and not known[subnet] then
      out[#out + 1] = subnet
    end
  end
  return out
end

---@class nslua.lab.FrrLab
---@field routers table<string, nslua.lab.Frr>
local All = { __name = "nslua.lab.FrrLab" }
All.__index = All
M.lab_methods = All

---Wait until every router has a route to every subnet, again after a change too. What is waited for are the kernel's own words of routes.
---@param seconds? number|string  default 30
---@return number elapsed  seconds
function All:converged(seconds)
  local limit = units.duration(seconds or 30, "frr.converged: seconds")
  local started = core.fd.clock()
  local list = {}
  for _, router in pairs(self.routers) do
    list[#list + 1] = router.node
  end
  local monitor <close> = require("nslua.monitor").monitor { "route", netns = list }
  while true do
    local lacks
    for _, router in pairs(self.routers) do
      for _, family in ipairs(self.families) do
        local subnets = missing(router.node, family)
        lacks = lacks or subnets[1] and ("%s has no route to %s"):format(router.node.node_name, table.concat(subnets, ", "))
      end
    end
    local left = limit - (core.fd.clock() - started)
    if not lacks then
      return core.fd.clock() - started
    elseif left <= 0 then
      errors.raise { call = "frr.converged", errno = core.errno.ETIMEDOUT, message = ("not within %g s: %s"):format(limit, lacks) }
    end
    monitor:next(left)
    while monitor:next(0) do end
  end
end

---End all daemons.
---@return true
function All:close()
  for _, router in pairs(self.routers) do
    router:close()
  end
  return true
end
All.__close = All.close

---FRR on every router of a lab: `lab:frr{ ospf = true }:converged()`.
---@param lab nslua.Lab
---@param options nslua.lab.FrrOptions
---@return nslua.lab.FrrLab
function M.start_all(lab, options)
  local self = setmetatable({ routers = {}, families = {} }, All)
  for family, routed in pairs { inet = options.ospf, inet6 = options.ospf6 } do
    self.families[#self.families + 1] = routed and family or nil
  end
  for _, node in ipairs(lab.nodes) do
    if node.kind == "router" then
      local ok, frr = pcall(M.start, node, options)
      if not ok then
        self:close()
        error(frr, 0)
      end
      self.routers[node.node_name] = frr
    end
  end
  if not next(self.routers) then
    errors.misuse "frr: this lab has no routers: nodes with two links or more"
  end
  return self
end

return M
