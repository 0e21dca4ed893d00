-- Echo requests between many namespaces at once, without more neighbours at a time than the kernel keeps for the whole machine.

local core = require "nslua.core"
local check = require "nslua.check"
local namespace = require "nslua.namespace"
local ping = require "nslua.inspect.ping"
local socket = require "nslua.inspect.socket"
local target = require "nslua.inspect.target"

local M = {}

local CALL = "probe.ping_many"
-- The table of neighbours is one for all namespaces of the machine: gc_thresh3, 1,024, is its end (arp(7)), and what was used within five seconds
-- is not taken from it. Each pair on its way has two entries, one at each end. What more than FEW pairs leave there is taken away after every ROUND.
local FEW, ROUND = 128, 320

-- One socket for each namespace and family, and what each pair has of it.
local function prepare(pairs_)
  local wires, index, targets, found = {}, {}, {}, {}
  for i, pair in ipairs(pairs_) do
    local t = target.resolve(pair.from, CALL, pair.to, pair)
    local key = t.family .. " " .. tostring(pair.from.inode)
    local wire = index[key]
    if not wire then
      wire = #wires + 1
      wires[wire] = { handle = pair.from, family = t.family }
      index[key] = wire
    end
    found[i], targets[i] = t, { wire, t.ip, t.scope }
  end
  return wires, targets, found
end

local function open(wires)
  local sockets = {}
  for _, family in ipairs { "inet", "inet6" } do
    local handles, places = {}, {}
    for i, wire in ipairs(wires) do
      if wire.family == family then
        handles[#handles + 1], places[#places + 1] = wire.handle, i
      end
    end
    for i, s in ipairs(handles[1] and socket.icmp(handles, family) or {}) do
      s.inet6 = family == "inet6"
      sockets[places[i]] = s
    end
  end
  return sockets
end

-- The neighbours that are there already: they stay.
local function known(wires)
  local out = {}
  for i, wire in ipairs(wires) do
    local set = {}
    for n in wire.handle.neighbour:each { family = wire.family } do
      set[n.dst] = true
    end
    out[i] = set
  end
  return out
end

-- Take from the tables what has come into them, at both ends of the pairs. One that is being asked for is left: a request waits for it.
local learned = { reachable = true, stale = true, delay = true, probe = true, failed = true }
local GONE_TOO = { absent = "ok" }
local function forget(wires, keep)
  for i, wire in ipairs(wires) do
    local list, neighbour, kept = {}, wire.handle.neighbour, keep[i]
    for n in neighbour:each { family = wire.family } do
      local dst = n.dst
      if not kept[dst] and learned[n.state] then
        list[#list + 1] = { dst = dst, dev_index = n.dev_index } -- as a row has them: there is nothing to be checked
      end
    end
    -- what the kernel has taken away meanwhile, or the namespace's owner, is no matter here
    pcall(wire.handle.batch, wire.handle, function()
      for _, n in ipairs(list) do
        neighbour:delete(n, GONE_TOO)
      end
    end)
  end
end

---@class nslua.PingManyOptions : nslua.PingOptions
---@field window? integer           requests on their way at the same time, 128
---@field retries? integer          how often one that was not answered is sent again before it counts as lost, 0
---@field keep_neighbours? boolean  do not take from the tables of neighbours what this put into them. By default it does for more than 128 pairs,
---or the tables of the machine would be full, and the kernel would answer for nobody

---@class nslua.PingPair
---@field from nslua.Netns
---@field to any            an address, a name, an object with `address_of`
---@field family? "inet"|"inet6"

---Echo requests from many namespaces, all at the same time.
---@param list nslua.PingPair[]
---@param options? nslua.PingManyOptions
---@return { sent: integer, received: integer, loss: number, elapsed: number, pairs: nslua.PingResult[] }  `pairs` in the order of the list, each with
---`from` and `to` as they were given
function M.ping_many(list, options)
  options = options or {}
  check.argument(CALL, "list", list, "table")
  check.options(CALL, options, { count = "1-4194304", interval = "number|string", timeout = "number|string", size = "integer|string", ttl = "1-255",
    family = "string", dont_fragment = "boolean", from = "string", window = "1-32768", retries = "0-100", keep_neighbours = "boolean" })
  target.check_family(CALL, options.family)
  for i, pair in ipairs(list) do
    check.options(("%s: [%d]"):format(CALL, i), pair, { from = "table", to = "any", family = "string" })
    namespace.fd_of(pair.from, CALL)
  end
  if not list[1] then
    return { sent = 0, received = 0, loss = 0, elapsed = 0, pairs = {} }
  end
  local plan = ping.numeric(CALL, options, { count = 1, interval = 1, timeout = 1, size = 56, window = 128, retries = 0 })
  local started = core.fd.clock()
  local wires, targets, found = prepare(list)
  local sockets = open(wires)
  local out = { sent = 0, received = 0, pairs = {} }
  ping.with_sockets(sockets, function()
    local fds = {}
    for i, wire in ipairs(wires) do
      fds[i] = sockets[i].fd
      socket.dress(wire.handle, CALL, fds[i], wire.family, options)
      ping.fragmentation(wire.handle, CALL, fds[i], wire.family, options.dont_fragment)
    end
    local engine = core.echo.ping(sockets, targets, plan)
    local keep = #list > FEW and not options.keep_neighbours and known(wires)
    repeat
      local done = ping.run(engine, fds, keep and ROUND or math.huge)
      if keep then
        forget(wires, keep)
      end
    until done
    for i, pair in ipairs(list) do
      local result = ping.result_of(found[i], engine:result(i))
      result.from, result.to = pair.from, pair.to
      out.sent, out.received = out.sent + result.sent, out.received + result.received
      out.pairs[i] = result
    end
  end)
  out.loss = (out.sent - out.received) / out.sent
  out.elapsed = core.fd.clock() - started
  return out
end

return M
