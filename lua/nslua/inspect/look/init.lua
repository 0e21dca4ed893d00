-- ns.look: what can be seen of a namespace from outside, as plain tables: a:look(), a:look{ "routes", "nat" }. Nothing is put into it.

local around = require "nslua.inspect.look.around"
local check = require "nslua.check"
local core = require "nslua.core"
local counters = require "nslua.inspect.look.counters"
local errors = require "nslua.error"
local etc = require "nslua.inspect.etc"
local firewall = require "nslua.inspect.look.firewall"
local nat = require "nslua.inspect.look.nat"
local ns = require "nslua"
local settings = require "nslua.inspect.look.settings"

local M = {}

local MOST = 1000 -- connections that are told one by one

---The sections, in the order in which they are shown.
M.sections = { "links", "routes", "rules", "neighbours", "sockets", "names", "published", "nat", "conntrack", "firewall", "settings", "counters" }

---@class nslua.Look  what stands for the sections that were asked for, and always what the namespace is
---@field name string       what messages call it
---@field netns integer     inode; of a container `engine container pid command image pod host_network shares` too
---@field links? table[]    name, kind, up, carrier, operstate, mtu, address, alias, master, `addresses` ("10.0.0.2/24"), its counters, and `peer`:
---the other end of a veth, { name, space, netns, bridge, up, state, hairpin }
---@field routes? table[]   of the main table; `rules`: beside those that every namespace has; `neighbours` likewise
---@field listening? table[]  sockets that listen: proto, family, src, sport, dev, v6only, inode, owners; of TCP `waiting` of at most `backlog`
---@field connections? table<string, integer>  of the other sockets: "tcp established" -> how many
---@field names? { servers: string[], search: string[], ndots: integer, path: string }
---@field published? nslua.PublishedPort[]
---@field nat? nslua.NatRule[]  rules of the namespaces around that have to do with its addresses
---@field conntrack? { count: integer, max: integer?, entries: nslua.Connection[], around: { space: string, netns: integer, count: integer,
---entries: nslua.Connection[] }[] }  of it, and of the namespaces around those with its addresses; at most 1000 entries each
---@field firewall? nslua.Firewall
---@field settings? { name: string, value: string, default: string }[]  sysctls that a new namespace has otherwise
---@field counters? { name: string, value: integer }[]  that tell of trouble and are not zero
---@field growth? nslua.Growth[]  with `seconds`: what grew meanwhile
---@field problems { section: string, why: string }[]  what could not be read

local usual_rules = { [0] = true, [32766] = true, [32767] = true }

-- section -> function(handle, out, memory): `memory` holds what several sections want
local readers = {}

function readers.links(_, out, memory)
  out.links = {}
  local addresses = {}
  for _, row in ipairs(memory.addresses()) do
    local list = addresses[row.dev_index] or {}
    addresses[row.dev_index] = list
    list[#list + 1] = row.address .. (row.dadfailed and " (duplicate)" or row.tentative and " (tentative)" or "")
  end
  for i, row in ipairs(memory.links()) do
    local s = row.stats or {}
    out.links[i] = { name = row.name, index = row.index, kind = row.kind, up = row.up, carrier = row.carrier, operstate = row.operstate,
      mtu = row.mtu, address = row.address, alias = row.alias, master = row.master, addresses = addresses[row.index] or {},
      peer = around.peer(memory.around(), memory.handle, row), rx_bytes = s.rx_bytes, tx_bytes = s.tx_bytes, rx_packets = s.rx_packets,
      tx_packets = s.tx_packets, rx_dropped = s.rx_dropped, tx_dropped = s.tx_dropped, rx_errors = s.rx_errors, tx_errors = s.tx_errors }
  end
end

function readers.routes(handle, out)
  out.routes = {}
  for _, row in ipairs(handle.route:list { table = "main" }) do
    if not row.dst:find "^fe80:" then
      out.routes[#out.routes + 1] = { dst = row.dst, via = row.via, dev = row.dev, src = row.src, metric = row.metric, type = row.type,
        nexthops = row.nexthops, proto = row.proto }
    end
  end
end

function readers.rules(handle, out)
  out.rules = {}
  for _, row in ipairs(handle.rule:list()) do
    if not usual_rules[row.priority] then
      out.rules[#out.rules + 1] = row:decode()
    end
  end
end

function readers.neighbours(handle, out)
  out.neighbours = {}
  for _, row in ipairs(handle.neighbour:list()) do
    if row.state ~= "noarp" then
      out.neighbours[#out.neighbours + 1] = { dst = row.dst, lladdr = row.lladdr, dev = row.dev, state = row.state }
    end
  end
end

function readers.sockets(handle, out)
  local owners = handle.sockets:owners()
  out.listening, out.connections = {}, {}
  for _, row in ipairs(handle.sockets:list { family = { "inet", "inet6" }, proto = { "tcp", "udp" }, state = "all" }) do
    if row.state == "listen" or row.proto == "udp" and row.state == "closed" then
      local tcp = row.proto == "tcp"
      out.listening[#out.listening + 1] = { proto = row.proto, family = row.family, src = row.src, sport = row.sport, dev = row.dev,
        dev_index = row.dev_index, v6only = row.v6only, inode = row.inode, owners = owners[row.inode], waiting = tcp and row.recv_queue or nil,
        backlog = tcp and row.send_queue or nil }
    else
      local key = ("%s %s"):format(row.proto, row.state)
      out.connections[key] = (out.connections[key] or 0) + 1
    end
  end
  table.sort(out.listening, function(a, b)
    if a.proto ~= b.proto then
      return a.proto < b.proto
    elseif a.sport ~= b.sport then
      return a.sport < b.sport
    end
    return a.family .. a.src < b.family .. b.src
  end)
end

function readers.names(handle, out)
  out.names = etc.resolv(handle)
end

-- Rules of the namespaces around that concern the addresses, read once.
local function nat_rules(memory)
  if not memory.nat then
    memory.nat = {}
    for _, there in pairs(memory.around().open) do
      local walls = firewall.firewall(there.handle)
      for _, rule in ipairs(nat.rules(walls, memory.plain(), there.name)) do
        memory.nat[#memory.nat + 1] = rule
      end
      for _, unread in ipairs(walls.unread) do
        memory.problem("nat", ("%s of %s: %s"):format(unread.what, there.name, unread.why))
      end
    end
  end
  return memory.nat
end

function readers.nat(_, out, memory)
  out.nat = nat_rules(memory)
end

function readers.published(handle, out, memory)
  out.published = nat.published(type(handle.published) == "function" and handle:published() or {}, nat_rules(memory))
end

local function number(handle, name)
  local ok, value = pcall(handle.sysctl, handle, name)
  return ok and math.tointeger(value) or nil
end

function readers.conntrack(handle, out, memory)
  local entries, count = {}, 0
  for row in handle.conntrack:each() do
    count = count + 1
    entries[count] = count <= MOST and row:decode() or nil
  end
  out.conntrack = { count = count, max = number(handle, "net.netfilter.nf_conntrack_max"), entries = entries, around = {} }
  for _, there in pairs(memory.around().open) do
    local ok, rows, n = pcall(nat.connections, there.handle, memory.plain(), MOST)
    if ok then
      table.insert(out.conntrack.around, { space = there.name, netns = there.inode, count = n, entries = rows })
    else
      memory.problem("conntrack", ("%s: %s"):format(there.name, errors.is(rows) and rows.message or tostring(rows)))
    end
  end
end

function readers.firewall(handle, out)
  out.firewall = firewall.firewall(handle)
end

function readers.settings(handle, out)
  out.settings = settings.unusual_sysctls(handle)
end

function readers.counters(handle, out, memory)
  local now = counters.counters(handle)
  if memory.seconds then
    local began = core.fd.clock()
    core.fd.poll({}, memory.seconds)
    local after = counters.counters(handle)
    out.growth = counters.grown(now, after, core.fd.clock() - began)
    now = after
  end
  out.counters = counters.troubles(now)
end

-- What a handle of a container knows of it.
local function introduce(handle, out)
  out.engine, out.container, out.pid = rawget(handle, "engine"), rawget(handle, "container"), rawget(handle, "pid")
  out.image, out.pod = rawget(handle, "image"), rawget(handle, "pod")
  if not out.pid then
    return
  end
  out.command = around.command(out.pid)
  out.host_network = rawget(handle, "host_network") or false
  out.shares = not out.host_network and {} or nil
  for _, row in ipairs(not out.host_network and ns.container.list() or {}) do
    if row.netns == handle.inode and row.container ~= out.container then
      out.shares[#out.shares + 1] = row.name
    end
  end
end

local function memory_of(handle, out)
  local memory = { handle = handle }
  function memory.links()
    memory.link_rows = memory.link_rows or handle.link:list()
    return memory.link_rows
  end
  function memory.addresses()
    memory.address_rows = memory.address_rows or handle.address:list()
    return memory.address_rows
  end
  function memory.plain()
    local texts = {}
    for i, row in ipairs(memory.addresses()) do
      texts[i] = row.address
    end
    return nat.plain(texts)
  end
  function memory.around()
    memory.spaces = memory.spaces or around.of(handle, memory.links())
    return memory.spaces
  end
  function memory.problem(section, why)
    out.problems[#out.problems + 1] = { section = section, why = why }
  end
  return setmetatable(memory, { __close = function()
    if memory.spaces then
      memory.spaces:close()
    end
  end })
end

---Look at a namespace from outside. A section that cannot be read for want of a right, or since the kernel has no such thing, is missing, and
---`problems` says why.
---@param self nslua.Netns
---@param wanted? { [integer]: string, seconds: number|string? }  of "links", "routes", "rules", "neighbours", "sockets", "names", "published", "nat",
---"conntrack", "firewall", "settings", "counters" (default: all); seconds: how long to watch the counters grow (default: not at all)
---@return nslua.Look
function M.look(self, wanted)
  local call = "netns.look"
  wanted = wanted or {}
  check.argument(call, "argument", wanted, "table")
  local known, asked = {}, {}
  for _, name in ipairs(M.sections) do
    known[name] = true
  end
  for key, value in pairs(wanted) do
    if math.type(key) ~= "integer" and key ~= "seconds" then
      errors.misuse("%s: %s", call, check.unknown("key", tostring(key), { seconds = true }))
    elseif key ~= "seconds" and not known[value] then
      errors.misuse("%s: %s", call, check.unknown("section", tostring(value), known))
    end
    asked[value] = true
  end
  local seconds = wanted.seconds and require("nslua.units").duration(wanted.seconds, call .. ": seconds")
  if seconds and seconds < 0 then
    errors.misuse("%s: seconds: 0 or more", call)
  end
  local out = { name = self:describe(), netns = self.inode, problems = {} }
  introduce(self, out)
  local memory <close> = memory_of(self, out)
  memory.seconds = seconds
  for _, name in ipairs(M.sections) do
    if not wanted[1] or asked[name] then
      local ok, e = pcall(readers[name], self, out, memory)
      if not ok and not errors.is(e) then
        error(e, 0)
      elseif not ok then
        memory.problem(name, e.message or tostring(e))
      end
    end
  end
  if out.pid and self.running and not self:running() then
    errors.raise { call = call, netns = self:describe(), errno = core.errno.ESRCH, message = "the container has ended" }
  end
  return out
end

-- The same one by one: what stands in each of these is told in its own file.
M.firewall = firewall.firewall
M.sysctls, M.unusual_sysctls = settings.sysctls, settings.unusual_sysctls
M.counters, M.grown, M.is_trouble = counters.counters, counters.grown, counters.is_trouble

---Methods of handles; the composition root hands them down.
M.methods = { look = M.look }

return M
