-- Links of a lab, while it runs: down and up, and what impairs them.

local agenda = require "nslua.lab.agenda"
local check = require "nslua.check"
local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local lost = require "nslua.lab.lost"
local shared = require "nslua.lab.shared"
local topologies = require "nslua.lab.topology"
local wires = require "nslua.lab.wires"

local M = {}

local change_words = { to = "table|false", from = "table|false", mtu = "68-65535|false" }
local at_words = { to = "table|false", from = "table|false", up = "boolean" }
for word, types in pairs(impairment.words) do
  change_words[word], at_words[word] = types, types
end

---@class nslua.lab.Link
---@field lab nslua.Lab
---@field name string?
---@field number integer          in the topology
---@field subnet string|string[]|nil  of the segment that it is part of, IPv4 before IPv6
---@field ends { node: nslua.lab.Node, dev: string }[]  two
local Link = { __name = "nslua.lab.Link" }
Link.__index = Link

-- What of it is the plan's: it changes where something is moved.
local function follow(self, plan)
  self.plan, self.ends = plan, {}
  for side, at in ipairs(plan.ends) do
    self.ends[side] = { node = self.lab.node[at.node], dev = at.dev }
  end
  local segment = plan.segments[1]
  local list = {}
  for _, family in ipairs { "inet", "inet6" } do
    list[#list + 1] = segment and segment[family] or nil
  end
  self.subnet = #list > 1 and list or list[1]
end
M.follow = follow

---@param lab nslua.Lab
---@param plan nslua.lab.PlanLink
---@return nslua.lab.Link
function M.of(lab, plan)
  local self = setmetatable({ lab = lab, name = plan.name, number = plan.index }, Link)
  follow(self, plan)
  return self
end

---The link of that number.
---@param lab nslua.Lab
---@param number integer
---@return nslua.lab.Link
function M.numbered(lab, number)
  local plan, known = lab.plan.links[number], lab.link_of
  known[plan] = known[plan] or M.of(lab, plan)
  return known[plan]
end

local function down(self)
  for _, at in ipairs(self.ends) do
    if at.node.kind ~= "switch" then
      lost.remember(at.node, at.dev)
    end
  end
  for _, at in ipairs(self.ends) do
    at.node.link:change(at.dev, { up = false })
  end
  self.is_down = true
end

---Pull the plug: both ends go down, and with them the routes that lead over them, until link:up().
---@return nslua.lab.Link
function Link:down()
  shared.alone(self.lab, "link.down", down, self)
  return self
end

-- What the lab gave, where another process took the link down, and nobody here knows what there was.
local function restore(node, dev)
  local plan = node.plan
  for _, interface in ipairs(plan.interfaces) do
    if interface.dev == dev or interface.parent and interface.parent.dev == dev then
      if interface.parent then
        node.link:change(interface.dev, { up = true })
      end
      for _, address in ipairs(interface.addresses) do
        node.address:ensure { address, dev = interface.dev, nodad = address:find(":", 1, true) and true or nil }
      end
    end
  end
  local routed = rawget(node, "routed") or {} -- families whose routes daemons have taken over
  for _, route in ipairs(node.lab.plan:routes(plan.name)) do
    local family = (route.via or route[1]):find(":", 1, true) and "inet6" or "inet"
    if not routed[family] then
      node.route:ensure(route)
    end
  end
end

local function up(self)
  for _, at in ipairs(self.ends) do
    at.node.link:change(at.dev, { up = true })
  end
  self.is_down = nil
  for _, at in ipairs(self.ends) do
    if at.node.kind ~= "switch" and not lost.restore(at.node) then
      restore(at.node, at.dev)
    end
  end
  require("nslua.lab.build").settle(self.lab, 10)
end

---Put it back: both ends up, with the addresses and routes there were, whoever set them.
---@return nslua.lab.Link
function Link:up()
  shared.alone(self.lab, "link.up", up, self)
  return self
end

---Plug a host or router into another switch. It keeps its device and, where both switches are one segment, its addresses; else it has new ones, and
---all routes and names follow. Programs that run already see the `/etc/hosts` they started with.
---@param to string|nslua.lab.Node  a switch
---@param options? nslua.lab.MoveOptions
---@return nslua.lab.Link
function Link:move(to, options)
  if rawget(self, "each") then
    errors.misuse("link.move: a function sees the packets of %s: link:each_packet(nil) first", tostring(self))
  end
  shared.alone(self.lab, "link.move", require("nslua.lab.move").move, self, to, options, function()
    shared.tell(self.lab)
  end)
  return self
end

local function wire_of(self, call)
  local wire = self.lab.wires[self.number]
  if not wire and self.plan.impaired then
    errors.misuse("link.%s: %s is impaired by the process that built the lab, which alone can ask it: another version of nslua", call,
      tostring(self))
  elseif not wire then
    errors.misuse("link.%s: %s was built without anything that impairs it; a link that shall be later begins with --0ms--", call, tostring(self))
  end
  return wire
end

-- Words of both directions and of each, as those of each.
local function each_way(t)
  local out = {}
  for _, way in ipairs { "to", "from" } do
    local words = {}
    for word in pairs(impairment.words) do
      words[word] = t[word]
    end
    for word, value in pairs(t[way] or {}) do
      words[word] = value
    end
    if t[way] == false then
      out[way] = false
    elseif next(words) ~= nil then
      out[way] = words
    end
  end
  return out
end

local function impair(self, words)
  local wire = wire_of(self, "change")
  wires.prepare(self.lab, wire, { words })
  wire:change(words)
  -- what is drawn, and what is built from now on by that topology
  local said = self.lab.topology.links[self.number]
  local now = topologies.link({ said[1], said[2], to = wire.to or nil, from = wire.from or nil }, self.number)
  said.to, said.from, self.lab.topology_text = now.to, now.from, nil
  if not said.to and not said.from then
    said.to, said.from = { delay = 0 }, { delay = 0 } -- it still is one that can be impaired
  end
end

local function change(self, words, mtu)
  local before = self.lab.topology.links[self.number].mtu or false
  if mtu ~= nil then
    require("nslua.lab.mtu").change(self, mtu)
  end
  local ok, e = true, nil
  if mtu == nil or next(words) ~= nil then
    ok, e = pcall(impair, self, words)
  end
  if not ok then -- all or nothing
    if mtu ~= nil then
      pcall(require("nslua.lab.mtu").change, self, before)
    end
    error(e, 0)
  end
end

---Change what impairs it, while it runs: words of both directions, `to` (from its first end to its second) and `from`; and `mtu`, of both ends of any
---link. What is not said stays, false takes it away.
---@param t table  { delay = "20ms", to = { loss = "1%" }, mtu = 1400 }
---@return nslua.lab.Link
function Link:change(t)
  check.options("link.change", t, change_words)
  local words = each_way(t)
  if t.mtu == nil or next(words) ~= nil then
    wire_of(self, "change")
  end
  if t.mtu ~= nil and rawget(self, "each") then
    errors.misuse("link.change: a function sees the packets of %s: link:each_packet(nil) before its MTU changes", tostring(self))
  end
  shared.alone(self.lab, "link.change", change, self, words, t.mtu)
  return self
end

-- Note what it was told to do later, for drawings and other processes.
local function note(self, entry)
  local lab = self.lab
  lab.agenda = lab.agenda or {}
  local list = lab.agenda[self.number] or {}
  lab.agenda[self.number], list[#list + 1] = list, entry
end

-- Have the wire do something later.
local function later(self, method, steps, entry, ...)
  local wire = wire_of(self, method)
  wires.prepare(self.lab, wire, steps)
  wire[method](wire, ...)
  note(self, entry(...))
end

---Change later what impairs it: words as of change(), and `up = false`, nothing gets through, or `true`. It happens whatever the script is busy with:
---a wire's process does it, or (of netem) a copy of the script, which ends with it. What is not said stays as it is by then. What netem cannot do
---when it is due is raised by the next call that asks the link for something, and by lab:close() where nobody has.
---@param after number|string  seconds from now, or "500ms"
---@param t table  { delay = "50ms", to = { loss = "1%" } }
---@return nslua.lab.Link
function Link:at(after, t)
  wire_of(self, "at")
  check.options("link.at", t, at_words)
  local words = each_way(t)
  words.up = t.up
  if next(words) == nil then
    errors.misuse "link.at: nothing is to change then: { delay = \"50ms\" }, { up = false }"
  end
  shared.alone(self.lab, "link.at", later, self, "at", { words }, agenda.at, after, words)
  return self
end

---Let nothing through and then all again, so often, or until link:unschedule(). Carrier, addresses and routes stay; link:down() takes them.
---@param t nslua.Flap  { down = 1, up = 4, count = 3 }
---@return nslua.lab.Link
function Link:flap(t)
  wire_of(self, "flap")
  shared.alone(self.lab, "link.flap", later, self, "flap", { { up = false } }, agenda.flap, t)
  return self
end

---Let delay, jitter, loss or rate follow a trace: a table { { seconds, value }, ... } or the path of a file; that of a rate may be one of mahimahi's
---packet-delivery traces.
---@param t nslua.Replay  { rate = { { 0, "10mbit" }, { 2, "1mbit" } }, loop = true }
---@return nslua.lab.Link
function Link:replay(t)
  wire_of(self, "replay")
  shared.alone(self.lab, "link.replay", later, self, "replay", { { to = { loss = 1 } } }, agenda.replay, t)
  return self
end

local function unschedule(self)
  wire_of(self, "unschedule"):unschedule()
  if self.lab.agenda then
    self.lab.agenda[self.number] = nil
  end
end

---Nothing of at(), flap() and replay() is to come any more: it stays as it is now, and is up.
---@return nslua.lab.Link
function Link:unschedule()
  wire_of(self, "unschedule")
  shared.alone(self.lab, "link.unschedule", unschedule, self)
  return self
end

---What it was told to do later, each in a few words: "flap 2s/1s", "at 500ms: loss 10%".
---@return string[]
function Link:scheduled()
  shared.refresh(self.lab)
  return agenda.texts(self.lab.agenda and self.lab.agenda[self.number])
end

---Capture packets at both its ends. See lab:capture.
---@param options? nslua.CaptureOptions
---@return nslua.Capture
function Link:capture(options)
  check.argument("link.capture", "options", options, "nil|table")
  local all = { links = { self } }
  for key, value in pairs(options or {}) do
    all[key] = value
  end
  return self.lab:capture(all)
end

---What has passed and what has not, in each direction: sent, bytes, lost, duplicated, corrupted, reordered, dropped, queued.
---@return { to: table, from: table }
function Link:counters()
  return wire_of(self, "counters"):counters()
end

---Let a function see every packet that either end sends, before what impairs the link: it may look at it, change it, drop, delay and copy it
---(nslua.lab.Packet); what it leaves alone passes. It runs in a copy of the script: what it changes of upvalues stays there, and p:emit() brings
---values back. Packets are as on the network: none is larger than the MTU, checksums are right, and are right again after a change.
---Where the function raises, packets pass without it from then on, and emitted() and close() raise the same. It ends by close(), with another
---function (or nil) for the link, with the lab, and with the script. Needs Linux 5.16.
---@param fn fun(p: nslua.lab.Packet)|nil
---@return nslua.lab.EachPacket?
function Link:each_packet(fn)
  if fn ~= nil and type(fn) ~= "function" then
    errors.misuse("link.each_packet: a function expected, got %s", type(fn))
  end
  local each = rawget(self, "each")
  if each then
    each:close()
  end
  if fn then
    self.each = require("nslua.lab.packet.each").begin(self, fn)
    self.lab.packet_functions[self.each] = true
  end
  return rawget(self, "each")
end

---What p:emit() of the function of each_packet() was given since this was last asked.
---@return any[]
function Link:emitted()
  local each = rawget(self, "each")
  if not each then
    errors.misuse("link.emitted: %s has no function that sees its packets: link:each_packet(fn)", tostring(self))
  end
  return each:emitted()
end

function Link:__tostring()
  return ("link %s:%s -- %s:%s%s"):format(self.ends[1].node.node_name, self.ends[1].dev, self.ends[2].node.node_name, self.ends[2].dev,
    self.is_down and " (down)" or "")
end

return M
