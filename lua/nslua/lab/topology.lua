-- Topologies as tables: what people write, made canonical: every node listed with its kind, every value a number, each direction of a link apart.

local check = require "nslua.check"
local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local units = require "nslua.units"

local M = {}

---@class nslua.lab.Said  what ns.lab takes as a table
---@field nodes? (string|table)[]|table<string, table>  names, or { "h1", kind =, sysctl =, ... }; those only named by links need not be here
---@field links? table[]   { "h1", "r1", delay = "10ms", ... (both directions), to = {...}, from = {...}, name =, subnet =, mtu =, cost =, ends = }
---@field seed? integer     of all chances
---@field ipv4? boolean
---@field ipv6? boolean
---@field multipath? boolean
---@field wire? boolean          links are impaired by a process, also where the kernel has netem
---@field name? string           other processes find it by
---@field keep? string|boolean   it outlives its script, under that name (true: under `name`)

local node_words = { "string", name = "string", kind = "string", sysctl = "table", addresses = "string|table|false", ipv4 = "boolean",
  ipv6 = "boolean", serve = "string|table", container = "string", bridge = "string", macvlan = "string", wire = "string" }
M.node_words = node_words

local link_words = { "string|table", "string|table", to = "table|false", from = "table|false", name = "string", subnet = "string|table|false",
  mtu = "68-65535", cost = "integer", ends = "table",
  vxlan = "1-16777215", via = "table" }
M.end_words = { dev = "string", address = "string|table", vlan = "integer|table", trunk = "integer|table", foreign = "boolean" }

local top_words = { nodes = "table", links = "table", seed = "integer", ipv4 = "boolean", ipv6 = "boolean", multipath = "boolean",
  wire = "boolean", name = "string", keep = "string|boolean" } -- the last two are of the lab, not of its topology

---Words of an impairment that are read as numbers; the others are taken as they are.
local scales = { delay = units.duration, jitter = units.duration, rate = units.rate, limit_bytes = units.size }
for word in pairs(impairment.words) do
  if word:find "correlation$" or word == "loss" or word == "duplicate" or word == "corrupt" or word == "reorder" then
    scales[word] = units.fraction
  end
end

---One word of an impairment as a number.
---@param word string
---@param value any
---@param what string
---@return any
function M.number(word, value, what)
  local scale = scales[word]
  return scale and type(value) ~= "table" and value ~= false and scale(value, what) or value
end

-- One value, or a list of such.
local function list(value, where, of)
  if value == nil or value == false then
    return value
  elseif type(value) ~= "table" then
    return { value }
  end
  local out = {}
  for i, each in ipairs(value) do
    check.argument(where, "[" .. i .. "]", each, of)
    out[i] = each
  end
  for key in pairs(value) do
    if math.type(key) ~= "integer" or key < 1 or key > #out then
      errors.misuse("%s: a list expected, got a table with %s", where, tostring(key))
    end
  end
  return out
end

local function read_end(said, where)
  check.options(where, said, M.end_words)
  local vlan = said.vlan
  if type(vlan) == "table" then
    vlan = list(vlan, where .. ": vlan", "integer")
    vlan = vlan[2] and vlan or vlan[1]
  end
  return { dev = said.dev, address = list(said.address, where .. ": address", "string"), vlan = vlan,
    trunk = list(said.trunk, where .. ": trunk", "integer"), foreign = said.foreign or nil }
end

-- Loss in bursts, with numbers: the other tables that netem has for it, impairment.numbers refuses.
local function read_bursts(loss, where)
  local model = loss.gemodel
  if type(model) ~= "table" then
    return loss
  end
  local out = {}
  for word, value in pairs(model) do
    out[word] = (type(value) == "number" or type(value) == "string") and units.fraction(value, where) or value
  end
  local more = {}
  for word, value in pairs(loss) do
    more[word] = value
  end
  more.gemodel = out
  return more
end

-- One direction: what is said of both, and over it what is said of this one.
local function direction(link, way, where)
  local out = {}
  for word in pairs(impairment.words) do
    out[word] = link[word]
  end
  if link[way] ~= nil and link[way] ~= false then
    check.options(where .. ": " .. way, link[way], impairment.words)
    for word, value in pairs(link[way]) do
      out[word] = value
    end
  elseif link[way] == false then
    return nil
  end
  if type(out.loss) == "table" then
    out.loss = read_bursts(out.loss, where .. ": loss")
  end
  for word, value in pairs(out) do
    out[word] = M.number(word, value, ("%s: %s"):format(where, word)) or nil
  end
  if next(out) == nil then
    return nil
  end
  impairment.numbers(where, out)
  return out
end

local all_link_words = {}
for word, types in pairs(impairment.words) do
  all_link_words[word] = types
end
for word, types in pairs(link_words) do
  all_link_words[word] = types
end

local function read_vxlan(out, said, where)
  out.vxlan = said.vxlan
  if out.to or out.from then
    errors.misuse("%s: a VXLAN is impaired where its packets go: on the links between the nodes that carry it", where)
  elseif said.via then
    check.options(where .. ": via", said.via, { "string", "string" })
    if #said.via ~= 2 then
      errors.misuse("%s: via names two nodes, that of each end", where)
    end
    out.via = { said.via[1], said.via[2] }
  end
end

---A link made canonical.
---@param said table
---@param i? integer  its place in the list
---@return nslua.lab.TopologyLink
function M.link(said, i)
  local where = ("lab: links[%d]"):format(i or 1)
  check.options(where, said, all_link_words)
  for side = 1, 2 do
    if type(said[side]) ~= "string" then
      errors.misuse("%s: a link is between two nodes: { \"h1\", \"r1\" }", where)
    end
  end
  where = ("lab: link %s--%s"):format(said[1], said[2])
  local out = { said[1], said[2], name = said.name, mtu = said.mtu, cost = said.cost, subnet = list(said.subnet, where .. ": subnet", "string"),
    to = direction(said, "to", where), from = direction(said, "from", where) }
  if said.vxlan then
    read_vxlan(out, said, where)
  elseif said.via then
    errors.misuse("%s: via is of a VXLAN: { \"s1\", \"s2\", vxlan = 42, via = { \"r1\", \"r2\" } }", where)
  end
  if said.ends then
    check.options(where .. ": ends", said.ends, { "table", "table" })
    out.ends = { read_end(said.ends[1] or {}, where .. ": ends[1]"), read_end(said.ends[2] or {}, where .. ": ends[2]") }
    if not next(out.ends[1]) and not next(out.ends[2]) then
      out.ends = nil
    end
  end
  return out
end

local kinds = { host = true, router = true, switch = true }
M.kinds = kinds

-- Sysctls as they are written into /proc.
local function read_sysctls(said, where)
  local out = {}
  for name, value in pairs(said) do
    if type(name) ~= "string" or not name:find "^net[./][^%c%s={},\"]+$" then
      errors.misuse("%s: sysctl %s is not of a network namespace: names begin with \"net.\"", where, tostring(name))
    end
    check.argument(where, "sysctl " .. tostring(name), value, "string|integer|boolean")
    out[name] = type(value) == "boolean" and (value and "1" or "0") or type(value) == "number" and ("%d"):format(value) or value
  end
  return out
end

---Services that a topology can name (lua/nslua/lab/service): true where they can be told a port.
M.services = { echo = true, sink = true, http = true, dns = true, dhcp = false }

---What is wrong with a service as a topology names it, "http" or "http:8080"; nil: nothing.
---@param text string
---@return string?
function M.service_fault(text)
  local name, port = text:match "^(%w+)$", nil
  if not name then
    name, port = text:match "^(%w+):(%d+)$"
  end
  if M.services[name] == nil then
    return check.unknown("service", name or text, M.services)
  elseif port and (not M.services[name] or #port > 5 or tonumber(port) < 1 or tonumber(port) > 65535) then
    return ("%s has no port %s"):format(name, port)
  end
end

local function read_services(said, where)
  local out = list(said, where .. ": serve", "string")
  for _, text in ipairs(out or {}) do
    local fault = M.service_fault(text)
    if fault then
      errors.misuse("%s: serve: %s", where, fault)
    end
  end
  return out and out[1] and out or nil
end

local function read_node(said, where)
  check.options(where, said, node_words)
  local out = { name = said.name or said[1], kind = said.kind }
  if out.kind and not kinds[out.kind] then
    errors.misuse("%s: %s", where, check.unknown("kind of node", out.kind, kinds))
  end
  out.ipv4, out.ipv6 = said.ipv4, said.ipv6
  out.sysctl = said.sysctl and read_sysctls(said.sysctl, where)
  out.addresses = list(said.addresses, where .. ": addresses", "string")
  out.serve = read_services(said.serve, where)
  out.container, out.bridge, out.macvlan, out.wire = said.container, said.bridge, said.macvlan, said.wire
  if out.container and (out.kind or "host") ~= "host" then
    errors.misuse("%s: a container is a host: it does not forward for the lab", where)
  elseif out.bridge and (out.kind or "switch") ~= "switch" or out.bridge and out.container then
    errors.misuse("%s: a bridge of the machine is a switch", where)
  elseif (out.container or out.bridge) and (out.sysctl or out.serve or out.addresses) then
    errors.misuse("%s: %s is there already: its settings, services and addresses of lo are not the lab's", where, out.container or out.bridge)
  end
  if (out.macvlan or out.wire) and (out.container or out.kind == "switch" or out.bridge) then
    errors.misuse("%s: macvlan and wire are for a host or router of the lab", where)
  elseif out.macvlan and out.wire then
    errors.misuse("%s: it has one device outside, a macvlan or a wire", where)
  end
  out.kind = out.container and "host" or out.bridge and "switch" or out.kind
  return out
end

---Whether programs can be told by a name: hostname(7), and no longer than a link of that name may be written about.
---@param name any
---@return boolean
function M.is_name(name)
  return type(name) == "string" and name:find "^[%w_][%w_.-]*$" ~= nil and name:sub(-1) ~= "-" and not name:find("--", 1, true) and #name <= 63
end

local function check_name(name, where)
  if not M.is_name(name) then
    errors.misuse("%s: %s is no name of a node: letters, digits, '_', '.' and single '-', at most 63 of them", where,
      type(name) == "string" and ("%q"):format(name) or type(name))
  end
end

---Make a topology of what was said. Raises misuse, with the nearest word that is known.
---@param said nslua.lab.Said
---@return nslua.lab.Topology
function M.read(said)
  check.options("lab", said, top_words)
  local out = { nodes = {}, links = {}, seed = said.seed, ipv4 = said.ipv4, ipv6 = said.ipv6, multipath = said.multipath, wire = said.wire }
  local by_name, named = {}, {}
  local function add(node, where)
    check_name(node.name, where)
    if by_name[node.name] then
      errors.misuse("%s: two nodes are named %q", where, node.name)
    end
    by_name[node.name] = node
    out.nodes[#out.nodes + 1] = node
  end
  for i, each in ipairs(said.nodes or {}) do
    add(read_node(type(each) == "table" and each or { each }, ("lab: nodes[%d]"):format(i)), ("lab: nodes[%d]"):format(i))
  end
  for name, each in pairs(said.nodes or {}) do
    if type(name) == "string" then
      named[#named + 1] = name
      check.argument("lab", "nodes." .. name, each, "table")
    elseif math.type(name) ~= "integer" or name < 1 or name > #said.nodes then
      errors.misuse("lab: nodes: %s is neither a name nor a place in a list", tostring(name))
    end
  end
  table.sort(named)
  for i, each in ipairs(said.links or {}) do
    out.links[i] = M.link(each, i)
  end
  local function mention(name, where)
    if not by_name[name] then
      local own = said.nodes and said.nodes[name]
      local node = own and read_node(own, "lab: nodes." .. name) or {}
      node.name = name
      add(node, where)
    end
  end
  local degree = {}
  for i, link in ipairs(out.links) do
    for side = 1, 2 do
      mention(link[side], ("lab: links[%d]"):format(i))
      degree[link[side]] = (degree[link[side]] or 0) + 1
    end
    if link[1] == link[2] then
      errors.misuse("lab: links[%d]: a link from %s to itself", i, link[1])
    end
  end
  for _, name in ipairs(named) do
    mention(name, "lab: nodes." .. name)
  end
  for _, node in ipairs(out.nodes) do
    node.kind = node.kind or (degree[node.name] or 0) > 1 and "router" or "host"
  end
  return out
end

return M
