-- Wires: links whose impairment is a program's. Frames go from one end to the other through a process of C (c/wireloop.c), which works on every
-- kernel, with netem or without. Many wires share one process, a hub; it ends with the script, and the devices with it.

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local keeper = require "nslua.keeper"
local leaving = require "nslua.leaving"
local netns = require "nslua.netns"
local owned = require "nslua.owned"
local privilege = require "nslua.privilege"
local schedule = require "nslua.schedule"
local wireend = require "nslua.wireend"

local M = {}

local E = core.errno

---@class nslua.WireHub
---@field pid integer   of its process
---@field seed integer  of the wires that have none of their own
local Hub = { __name = "nslua.WireHub" }
Hub.__index = Hub

local Wire = { __name = "nslua.Wire" }
Wire.__index = Wire

---@class nslua.WireEnd
---@field [1] any                   the namespace: whatever ns.netns.open takes
---@field dev? string               name of the device (default: the first free "ethN")
---@field address? string|string[]  "10.0.0.1/24"
---@field mtu? integer
---@field lladdr? string            its Ethernet address (default: the kernel draws one)
---@field txqlen? integer           packets that the device itself keeps where the process is late (default 4096)
---@field up? boolean               default true
---@field attach? boolean           `dev` is a link that is there already: the wire is one more station on it, and leaves it as it is

---@class nslua.NewWire
---@field a nslua.WireEnd
---@field b nslua.WireEnd
---@field to? nslua.Impairment    from a to b
---@field from? nslua.Impairment  from b to a
---@field seed? integer           of both directions (default: the hub's, and the number of the wire in it)
---@field kind? "tap"|"veth"      of the links at its ends (default: "tap" where /dev/net/tun may be opened)

local end_words = { true, dev = "string", address = "string|table", mtu = "integer", lladdr = "string", txqlen = "integer", up = "boolean",
  attach = "boolean" }

-- The hub -------------------------------------------------------------------------------------------------------------------------

---A process that carries the wires made with it; for a lab. It ends by close(), and with the script.
---@param options? { seed: integer, keeper: nslua.Keeper }  default 1; the one that it ends with, where that is not the script's own
---@return nslua.WireHub
function M.hub(options)
  options = options or {}
  check.options("wire.hub", options, { seed = "integer|string", keeper = "table" })
  impairment.check_seed("wire.hub", options.seed)
  leaving.sweep()
  local home = options.keeper or keeper.get()
  local process, message, errno = core.wire.start(home.pid.fd, home.user and home.user.fd)
  errors.check("wire.hub", { hint = privilege.hint(errno, {}) }, process, message, errno)
  return setmetatable({ process = process, pid = process:pid(), seed = options.seed or 1, made = 0, open = 0, closed = false,
    spaces = {}, peers = 0 }, Hub)
end

---End the process: every wire of it ends, and the kernel takes down the devices. Idempotent.
---@return true
function Hub:close()
  if not self.closed then
    leaving.close(self.process)
  end
  self.closed = true
  for _, device in ipairs(self.devices or {}) do -- of adopted wires: this process's handles
    wireend.let_go(device)
  end
  for key, space in pairs(self.spaces) do
    self.spaces[key] = nil
    space:close()
  end
  return true
end

Hub.__close = Hub.close

---Let it outlive the script: it ends with its keeper, and close() leaves it and its wires alone from now on.
---@return true
function Hub:keep()
  errors.check("wire.hub", { detail = "keep" }, self.process:keep())
  self.kept = true
  return true
end

---Whether it runs, as this process's own.
---@return boolean
function Hub:alive()
  return self.process:alive()
end

---An fd by which another process can ask about its wires too (M.adopt).
---@return nslua.fd
function Hub:share()
  return errors.check("wire.hub", { detail = "share" }, self.process:socket())
end

---The hub of another process, which goes on when this one lets go of it.
---@param socket nslua.fd  of hub:share()
---@param seed? integer
---@return nslua.WireHub
function M.adopt(socket, seed)
  local process, message, errno = core.wire.adopt(socket)
  errors.check("wire.hub", nil, process, message, errno)
  return setmetatable({ process = process, pid = process:pid(), seed = seed or 1, made = 0, open = 0, closed = false, kept = true,
    spaces = {}, peers = 0, devices = {} }, Hub)
end

---A wire that the process has which built the hub.
---@package
---@param ends { a: { netns: nslua.Netns, dev: string }, b: { netns: nslua.Netns, dev: string } }
---@param words { to: nslua.Impairment, from: nslua.Impairment }
---@param told table  of wire:told()
---@return nslua.Wire
function Hub:adopt(ends, words, told)
  local devices = {}
  for i, which in ipairs { "a", "b" } do
    devices[i] = wireend.adopt(ends[which].netns, ends[which].dev, told.kinds[i])
  end
  self.open = self.open + 1
  table.move(devices, 1, 2, #self.devices + 1, self.devices)
  return setmetatable({ backend = "wire", to = words.to, from = words.from, seed = told.seed, number = told.number,
    a = { dev = ends.a.dev, kind = told.kinds[1] }, b = { dev = ends.b.dev, kind = told.kinds[2] },
    ends = setmetatable({ ends.a.netns, ends.b.netns }, { __mode = "v" }),
    state = { hub = self, devices = devices, single = {}, id = told.id } }, Wire)
end

-- The one of wires that were made without a hub; it ends with the last of them.
local shared

local function shared_hub()
  if not (shared and shared:alive()) then
    if shared then
      shared:close()
    end
    shared = M.hub()
  end
  return shared
end

-- Making a wire -------------------------------------------------------------------------------------------------------------------

-- A wire without a seed of its own takes the hub's, and draws its own numbers from it.
local function stream_of(self, seed, i)
  return seed or self.seed or self.state.hub.seed, (seed or self.seed) and i or self.number * 2 + i
end

-- What the core takes for one direction.
local function numbers(self, call, way, i)
  local words = self[way]
  local out = impairment.numbers(call .. ": " .. way, words)
  out.seed, out.stream = stream_of(self, words.seed, i)
  return out
end

-- A wire goes with the namespaces its ends are in, as a veth does: those of handles that own them.
local Held = {}
Held.__index = Held

function Held:close()
  for wire in pairs(self) do
    wire:close()
  end
  return true
end

local function belong(handle, wire)
  if rawget(handle, "anonymous") then
    local list = rawget(handle, "wires")
    if not list then
      list = setmetatable({}, Held)
      rawset(handle, "wires", list)
    end
    list[wire] = true
  end
end

-- Let go of what the hub has of a wire; it does not need the object.
local function let_go(state)
  if state.gone then
    return
  end
  state.gone = true
  local hub = state.hub
  hub.open = hub.open - 1
  if hub.kept then
    for _, device in ipairs(state.devices) do
      pcall(wireend.let_go, device)
    end
    return
  end
  if state.id and hub:alive() then
    hub.process:remove(state.id)
  end
  if hub.closed or hub.process:mine() then -- else it is that of the process this one was forked from
    for _, device in ipairs(state.devices) do
      pcall(wireend.close, device)
    end
  end
  if hub == shared and hub.open == 0 then
    shared = nil
    hub:close()
  end
end

local function open_both(a, b)
  local first = netns.open(a)
  local ok, second = pcall(netns.open, b)
  if not ok then
    if not rawequal(first, a) then
      first:close()
    end
    error(second, 0)
  end
  return first, second
end

local function build(self, options, first, second)
  local state = self.state
  local devices, handles, ends = state.devices, { first, second }, { options.a, options.b }
  for i = 1, 2 do
    devices[i] = wireend.new(handles[i], ends[i], state.hub, options.kind)
  end
  self.a, self.b = { dev = devices[1].dev, kind = devices[1].kind }, { dev = devices[2].dev, kind = devices[2].kind }
  local sets = { numbers(self, "wire.new", "to", 0), numbers(self, "wire.new", "from", 1) }
  local id, message, errno = state.hub.process:add(devices[1].fd, devices[2].fd, sets[1], sets[2])
  for i = 1, 2 do
    devices[i].fd:close()
  end
  state.id = errors.check("wire.new", { hint = errno == E.EMFILE and "RLIMIT_NOFILE of the hub: two fds a wire" or nil }, id, message, errno)
  for i = 1, 2 do
    wireend.segment(devices[i], sets[i].each_packet)
    wireend.configure(handles[i], devices[i], ends[i])
  end
end

---Make a wire with this hub's process.
---@param options nslua.NewWire
---@return nslua.Wire
function Hub:new(options)
  if self.closed then
    errors.misuse "wire.new: the hub is closed"
  end
  check.options("wire.new", options, { a = "table", b = "table", to = "table", from = "table", seed = "integer|string",
    kind = "string" })
  impairment.check_seed("wire.new", options.seed)
  if options.kind and options.kind ~= "tap" and options.kind ~= "veth" then
    errors.misuse("wire.new: %s", check.unknown("kind", options.kind, { "tap", "veth" }))
  end
  for _, which in ipairs { "a", "b" } do
    check.options("wire.new: " .. which, options[which] or errors.misuse("wire.new: %s is missing", which), end_words)
  end
  local wire = setmetatable({ to = impairment.merge("wire.new: to", {}, options.to or {}),
    from = impairment.merge("wire.new: from", {}, options.from or {}), seed = options.seed, number = self.made + 1,
    state = { hub = self, devices = {}, single = {} } }, Wire)
  for _, way in ipairs { "to", "from" } do -- misuse is told before anything is made
    numbers(wire, "wire.new", way, 0)
  end
  local first, second = open_both(options.a[1], options.b[1])
  self.made = self.made + 1
  self.open = self.open + 1
  local state = wire.state
  wire.guard = owned.at_collection(function()
    let_go(state)
  end)
  local ok, err = pcall(build, wire, options, first, second)
  if ok then
    belong(first, wire)
    belong(second, wire)
    wire.ends = setmetatable({ first, second }, { __mode = "v" })
  else
    let_go(state)
  end
  if not rawequal(first, options.a[1]) then
    first:close()
  end
  if not rawequal(second, options.b[1]) then
    second:close()
  end
  if not ok then
    error(err, 0)
  end
  return wire
end

---A link between two namespaces, impaired in each direction as said. Both ends are there and up when it returns.
---
---It ends by close(), with the first of its namespaces that closes (of those that ns.netns.new made), and with the script.
---A chance hangs on the seed, on the flow (addresses, protocol, the lower port) and on the count of the packet in it: the same seed loses the
---same packets of a flow, whatever else is sent.
---@param options nslua.NewWire
---@return nslua.Wire
function M.new(options)
  local hub = shared_hub()
  local ok, wire = pcall(hub.new, hub, options)
  if not ok then
    if hub.open == 0 then
      shared = nil
      hub:close()
    end
    error(wire, 0)
  end
  return wire
end

-- Its methods ---------------------------------------------------------------------------------------------------------------------

---@class nslua.Wire
---@field a { dev: string, kind: "tap"|"veth" }  the ends
---@field b { dev: string, kind: "tap"|"veth" }
---@field to nslua.Impairment    from a to b, as it was said
---@field from nslua.Impairment  from b to a
local methods = Wire

-- What a method is called in messages: that of a link of a lab has another name.
local function id_of(self, method)
  if type(self) ~= "table" or getmetatable(self) ~= Wire then
    errors.misuse("wire.%s: a wire expected (a method is called with a colon)", method)
  end
  local call = (self.called or "wire") .. "." .. method
  if self.state.gone or self.state.hub.closed then
    errors.misuse("%s: the wire is closed", call)
  end
  return self.state.hub.process, self.state.id, call
end

local deleted = "a device of it was deleted"

local function checked(call, ok, message, errno)
  return errors.check(call, { hint = errno == E.EBADFD and deleted or nil }, ok, message, errno)
end

-- What the core takes of a change.
local function changed(self, call, words, i)
  local out = impairment.changes(call, words)
  if not words or words.seed ~= nil then
    out.seed, out.stream = stream_of(self, words and words.seed or nil, i - 1)
  end
  return out
end

---Change what is impaired. What is not said stays as it is, `false` is as if never said (`to = false`: nothing is impaired). What is on its way
---stays there, and what was sent before the change is impaired as before; but what waits for its turn is sent at the rate there is now.
---@param t { to: nslua.Impairment|false, from: nslua.Impairment|false }
---@return true
function methods:change(t)
  local process, id, call = id_of(self, "change")
  check.options(call, t, { to = "table|false", from = "table|false" })
  local old, new = { to = self.to, from = self.from }, {}
  local ok, err = pcall(function()
    for i, way in ipairs { "to", "from" } do
      if t[way] ~= nil then
        self[way] = impairment.merge(call .. ": " .. way, self[way], t[way])
        local all = numbers(self, call, way, i - 1)
        new[way] = changed(self, call .. ": " .. way, t[way], i)
        new[way].each_packet = all.each_packet or self.state.single[way] or false
        if new[way].each_packet then
          wireend.segment(self.state.devices[i], true)
        end
      end
    end
    checked(call, process:change(id, new.to, new.from))
    for i, way in ipairs { "to", "from" } do -- large frames come only once they may
      if new[way] then
        wireend.segment(self.state.devices[i], new[way].each_packet)
      end
    end
  end)
  if not ok then
    self.to, self.from = old.to, old.from
    error(err, 0)
  end
  return true
end

---@class nslua.WireCounters  of one direction; taken + duplicated = sent + lost + limited + down + queued
---@field taken integer       frames that came from the end
---@field sent integer        frames that the other end got
---@field bytes integer       bytes of these
---@field lost integer        by chance
---@field duplicated integer
---@field reordered integer   sent before those that waited
---@field corrupted integer
---@field limited integer     dropped: the queue was full
---@field down integer        dropped: the wire or the device at the other end was down
---@field queued integer      on their way now
---@field queued_bytes integer

---What has happened so far.
---@return { to: nslua.WireCounters, from: nslua.WireCounters }
function methods:counters()
  local process, id, call = id_of(self, "counters")
  local to, from, errno = process:counters(id)
  if not to then
    checked(call, to, from, errno)
  end
  return { to = to, from = from }
end

-- Frames of one packet each from now on where any step needs that: the device of a veth can be told by the script alone.
local function single_packets(self, call, process, id, steps)
  for i, way in ipairs { "to", "from" } do
    local single = false
    for _, step in ipairs(steps) do
      single = single or step[way] and impairment.each_packet(step[way]) or false
    end
    if single and not self.state.single[way] then
      self.state.single[way] = true
      wireend.segment(self.state.devices[i], true)
      checked(call, process:change(id, i == 1 and { each_packet = true } or nil, i == 2 and { each_packet = true } or nil))
    end
  end
end

local function schedule_steps(self, call, process, id, steps)
  local made = {}
  for k, step in ipairs(steps) do
    made[k] = {}
    for i, way in ipairs { "to", "from" } do
      made[k][i] = step[way] ~= nil and changed(self, step.what .. ": " .. way, step[way], i) or nil
    end
  end
  single_packets(self, call, process, id, steps)
  local now = core.fd.clock()
  for k, step in ipairs(steps) do
    checked(call, process:at(id, (now + step.after) * 1e9, (step.every or 0) * 1e9, step.times or 0, made[k][1], made[k][2], step.up))
  end
  return true
end

---Change later what is impaired: the wire's process does it, whatever the script is busy with. What is not said stays as it is by then. `to` and
---`from` of the wire go on telling what change() said.
---@param after number|string  seconds from now, or "500ms"
---@param t { to: nslua.Impairment|false, from: nslua.Impairment|false, up: boolean? }  `up = false`: nothing gets through, until `up = true`
---@return true
function methods:at(after, t)
  local process, id, call = id_of(self, "at")
  return schedule_steps(self, call, process, id, schedule.at(call, after, t))
end

---Let nothing through and then all again, so often, or until unschedule(). The carrier stays, as that of a path through switches does: a kernel takes
---up to a second to use a link that had none. wire:down() pulls the plug.
---@param t nslua.Flap  { down = 1, up = 4, count = 3 }
---@return true
function methods:flap(t)
  local process, id, call = id_of(self, "flap")
  return schedule_steps(self, call, process, id, schedule.flap(call, t))
end

---Let delay, jitter, loss or rate follow a trace. What waits for its turn when the rate changes is sent at the new one.
---@param t nslua.Replay  { rate = { { 0, "10mbit" }, { 2, "1mbit" } }, loop = true }
---@return true
function methods:replay(t)
  local process, id, call = id_of(self, "replay")
  return schedule_steps(self, call, process, id, schedule.replay(call, t))
end

---Nothing of at(), flap() and replay() is to come any more: what is impaired stays as it is now, and what gets through gets through.
---@return true
function methods:unschedule()
  local process, id, call = id_of(self, "unschedule")
  checked(call, process:unschedule(id))
  return true
end

local function plug(self, method, up)
  local process, id, call = id_of(self, method)
  checked(call, process:carrier(id, up))
  for _, device in ipairs(self.state.devices) do
    local ok, err = pcall(wireend.carrier, device, up)
    if not ok then
      errors.raise { call = call, errno = errors.is(err) and err.errno or nil, message = tostring(err), hint = deleted }
    end
  end
  return true
end

---Pull the plug: both ends lose their carrier, and what is on its way is lost.
---@return true
function methods:down()
  return plug(self, "down", false)
end

---Put it in again.
---@return true
function methods:up()
  return plug(self, "up", true)
end

---How large a packet may be that an end sends and takes, from now on.
---@param which "a"|"b"
---@param mtu integer
---@return true
function methods:mtu(which, mtu)
  local _, _, call = id_of(self, "mtu")
  local i = which == "a" and 1 or which == "b" and 2 or errors.misuse("%s: %s", call, check.unknown("end", which, { "a", "b" }))
  check.argument(call, "mtu", mtu, "68-65535")
  local handle = self.ends[i]
  if not handle or not handle:isopen() then
    errors.misuse("%s: the handle of the namespace that the end is in is closed", call)
  end
  wireend.resize(handle, self.state.devices[i], mtu)
  return true
end

---Move an end into another namespace, where it is down until somebody takes it up. What is on its way stays there.
---@param which "a"|"b"
---@param handle nslua.Netns  of that namespace; the wire ends with it from now on
---@param dev? string         its name there (default: the same)
---@return true
function methods:move(which, handle, dev)
  local _, _, call = id_of(self, "move")
  local i = which == "a" and 1 or which == "b" and 2 or errors.misuse("%s: %s", call, check.unknown("end", which, { "a", "b" }))
  local old = self.ends[i]
  if not old or not rawget(old, "fd") then
    errors.misuse("%s: the handle of the namespace that the end is in is closed", call)
  end
  local at = self[which]
  dev = dev or at.dev
  if old.link:get(at.dev) or not handle.link:get(dev) then -- else who was killed at it had moved it already
    old.link:change(at.dev, { netns = handle, name = dev })
  end
  at.dev, self.ends[i] = dev, handle
  wireend.moved(self.state.devices[i], handle, dev)
  local list = rawget(old, "wires")
  if list and self.ends[3 - i] ~= old then
    list[self] = nil
  end
  belong(handle, self)
  return true
end

---What another process has to know to ask it: see hub:adopt.
---@package
function methods:told()
  return { id = self.state.id, number = self.number, seed = self.seed, kinds = { self.a.kind, self.b.kind } }
end

---Another process has moved an end of it, or changed what it is impaired by.
---@package
function methods:follow(ends, words)
  self.to, self.from = words.to, words.from
  for i, which in ipairs { "a", "b" } do
    local at, now = self[which], ends[which]
    if at.dev ~= now.dev or self.ends[i] ~= now.netns then
      at.dev, self.ends[i] = now.dev, now.netns
      wireend.moved(self.state.devices[i], now.netns, now.dev)
    end
  end
end

---Whether it is there.
---@return boolean
function methods:isopen()
  return not (self.state.gone or self.state.hub.closed)
end

---Take it away, with the devices at its ends. Idempotent.
---@return true
function methods:close()
  for _, handle in ipairs { self.ends[1] or false, self.ends[2] or false } do
    local list = handle and rawget(handle, "wires")
    if list then
      list[self] = nil
    end
  end
  let_go(self.state)
  return true
end

Wire.__close = Wire.close

function Wire:__tostring()
  return ("wire %s - %s%s"):format(self.a.dev, self.b.dev, self.state.gone and " (closed)" or "")
end

return M
