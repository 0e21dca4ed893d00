-- Services that are here already: node:serve("http", { port = 80 }). Each is a server in Lua, with sockets that are bound before it starts.

local check = require "nslua.check"
local errors = require "nslua.error"
local listen = require "nslua.lab.service.listen"
local service = require "nslua.lab.service"

local M = {}

---@class nslua.lab.ServeOptions  what there is of it depends on the service
---@field port? integer             TCP and UDP; by default the well-known one: echo 7, sink 9, dns 53, http 80 (dhcp has its own)
---@field address? string           to listen on (default: all, in both families)
---@field restart? "never"|"on_failure"|"always"  default: on_failure
---@field delay? number|string      http, dns: seconds before each answer
---@field files? table<string, string|nslua.lab.HttpAnswer|fun(request: nslua.lab.HttpRequest): any>  http: by path; default: "/" says the node's name
---@field root? string              http: a directory whose files are given
---@field handler? fun(request: nslua.lab.HttpRequest): string|nslua.lab.HttpAnswer|nil  http: answers what no file does; nil is 404
---@field zone? table<string, string|table>  dns: addresses of names, or { "10.0.1.2", CNAME = "web.lab", MX = "10 mail.lab" }; "*.lab" is all others
---there; default: the lab's nodes, as "h1" and "h1.lab"
---@field domain? string            dns: behind the nodes' names, "lab"; dhcp: told to clients
---@field ttl? integer              dns: seconds, 60
---@field servfail? boolean|string[]  dns: it fails for all names, or these
---@field drop? boolean|string[]    dns: it says nothing
---@field truncate? boolean         dns: answers by UDP are cut off, so that clients come by TCP
---@field resolv_conf? boolean      dns: the lab's nodes ask it from now on
---@field link? string              dhcp: the device or the neighbour; needed where there are several
---@field range? string[]           dhcp: first and last address (default: the upper half of the subnet)
---@field router? string|false      dhcp: told to clients (default: the node, where it routes)
---@field dns? string|string[]|false  dhcp: told to clients
---@field lease? number|string      dhcp: seconds, 600

local kinds = {}
for _, part in ipairs { require "nslua.lab.service.echo", require "nslua.lab.service.http", require "nslua.lab.service.dns",
  (require "nslua.lab.service.dhcp") } do
  for name, kind in pairs(part) do
    kinds[name] = kind
  end
end

local common = { restart = "string", max_restarts = "integer", backoff = "number|string", grace = "number|string", log = "number|string" }

-- The lab's nodes ask this one; programs that run already do not see it.
local function point_to(node)
  for _, each in ipairs(node.lab.nodes) do
    local lines = {}
    for _, family in ipairs { "inet", "inet6" } do
      local address = each == node and (family == "inet" and "127.0.0.1" or nil) or each ~= node and node:address_of(each, family)
      lines[#lines + 1] = address and "nameserver " .. address .. "\n" or nil
    end
    each:set_resolv_conf(table.concat(lines))
  end
end

---@param node nslua.lab.Node
---@param name string
---@param options? nslua.lab.ServeOptions
---@return nslua.lab.Service
function M.serve(node, name, options)
  local call = "node.serve"
  check.argument(call, "service", name, "string")
  local kind = kinds[name] or errors.misuse("%s: %s", call, check.unknown("service", name, kinds))
  call = ("serve %q"):format(name)
  local known, own = { port = kind.port and "1-65535" or nil, address = kind.port and "string" or nil }, {}
  for _, list in ipairs { common, kind.words } do
    for word, types in pairs(list) do
      known[word] = types
    end
  end
  check.options(call, options or {}, known)
  for word, value in pairs(options or {}) do
    own[word] = value
  end
  own.port = kind.port and (own.port or kind.port)
  local shared = kind.check and kind.check(own, call, node) -- an fd of the lab that it needs too
  local sockets = kind.open and kind.open(node, call, own) or listen.open(node, call, kind.protos, own.port, own.address)
  local fds = {}
  for i, each in ipairs(sockets) do
    fds[i] = each.fd
  end
  local kept = table.move(fds, 1, #fds, 1, {})
  kept[#kept + 1] = shared
  local ok, result = pcall(function()
    return service.start(node, { function()
      kind.run(sockets, own)
    end, name = name, restart = own.restart or "on_failure", max_restarts = own.max_restarts, backoff = own.backoff, grace = own.grace,
      log = own.log }, kept)
  end)
  for _, fd in ipairs(fds) do
    fd:close()
  end
  if not ok then
    error(result, 0)
  end
  result.port, result.options = own.port, own
  node.services = rawget(node, "services") or {}
  node.services[name] = result
  if own.resolv_conf then
    point_to(node)
  end
  return result
end

---After nodes have other addresses: they ask the name server where it is now.
---@param lab nslua.Lab
---@package
function M.moved(lab)
  for _, node in ipairs(lab.nodes) do
    local dns = (rawget(node, "services") or {}).dns
    if dns and dns.options.resolv_conf then
      point_to(node)
    end
  end
end

---Start what a lab's topology says: `h2{serve=http}`. A name server there is the lab's.
---@param lab nslua.Lab
---@package
function M.start_said(lab)
  for i, said in ipairs(lab.topology.nodes) do
    for _, text in ipairs(said.serve or {}) do
      local name, port = text:match "^(%w+):?(%d*)$"
      M.serve(lab.nodes[i], name, { port = port ~= "" and math.tointeger(tonumber(port)) or nil, resolv_conf = name == "dns" or nil })
    end
  end
end

---The nodes of a lab that another process built ask the name server that its topology says.
---@param lab nslua.Lab
---@package
function M.find_said(lab)
  for i, said in ipairs(lab.topology.nodes) do
    for _, text in ipairs(said.serve or {}) do
      if text == "dns" then
        point_to(lab.nodes[i])
      end
    end
  end
end

return M
