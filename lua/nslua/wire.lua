-- Wires: links whose impairment is a program's. Each end is a TAP device; frames go from one to the other through a process of C (c/wireloop.c),
-- which works on every kernel, with netem or without. Many wires share one process, a hub; it ends with the script, and the devices with it.

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local inside = require "nslua.inside"
local keeper = require "nslua.keeper"
local netns = require "nslua.netns"
local owned = require "nslua.owned"
local privilege = require "nslua.privilege"

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

---@class nslua.NewWire
---@field a nslua.WireEnd
---@field b nslua.WireEnd
---@field to? nslua.Impairment    from a to b
---@field from? nslua.Impairment  from b to a
---@field seed? integer           of both directions (default: the hub's, and the number of the wire in it)

local end_words = { true, dev = "string", address = "string|table", mtu = "integer", lladdr = "string", txqlen = "integer", up = "boolean" }

-- The hub -------------------------------------------------------------------------------------------------------------------------

-- Processes that were told to go and are taking down their devices: waited for when the next one starts.
local leaving = {}

local function sweep()
  for i = #leaving, 1, -1 do
    if leaving[i]:close() then
      table.remove(leaving, i)
    end
  end
end

---A process that carries the wires made with it; for a lab. It ends by close(), and with the script.
---@param options? { seed: integer }  default 1
---@return nslua.WireHub
function M.hub(options)
  options = options or {}
  check.options("wire.hub", options, { seed = "integer|string" })
  sweep()
  local home = keeper.get()
  local process, message, errno = core.wire.start(home.pid.fd, home.user and home.user.fd)
  errors.check("wire.hub", { hint = privilege.hint(errno, {}) }, process, message, errno)
  return setmetatable({ process = process, pid = process:pid(), seed = options.seed or 1, made = 0, open = 0, closed = false }, Hub)
end

---End the process: every wire of it ends, and the kernel takes down the devices. Idempotent.
---@return true
function Hub:close()
  if not self.closed and not self.process:close() then
    leaving[#leaving + 1] = self.process
  end
  self.closed = true
  return true
end

Hub.__close = Hub.close

---Whether it runs, as this process's own.
---@return boolean
function Hub:alive()
  return self.process:alive()
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

local tun = "/dev/net/tun"

local function tun_hint(errno)
  if errno == E.EACCES then
    return "a wire needs to read and write " .. tun .. " (mode 0666 on most machines): chmod 666 " .. tun
  elseif errno == E.ENOENT or errno == E.ENXIO or errno == E.ENODEV then
    return "this kernel has no TUN: modprobe tun, and mknod " .. tun .. " c 10 200"
  end
end

-- A device in a namespace; it lives as long as the fd.
local function device(handle, t)
  local ok, fd, message, errno = pcall(inside.open, handle, "wire.new", tun, "rw")
  if not ok then
    if errors.is(fd) then
      fd.hint = tun_hint(fd.errno) or fd.hint
    end
    error(fd, 0)
  end
  local where = { netns = handle:describe(), hint = tun_hint(errno) or privilege.hint(errno, { fd = handle.fd }) }
  errors.check("wire.new", where, fd, message, errno)
  local name
  name, message, errno = core.tun.attach(fd, t.dev or "eth%d", { tap = true, vnet_hdr = true, excl = true })
  if not name then
    fd:close()
    where = { netns = handle:describe(), detail = ("dev = %q"):format(t.dev or "eth%d"), hint = privilege.hint(errno, { fd = handle.fd }) }
    errors.check("wire.new", where, nil, message, errno == E.EBUSY and E.EEXIST or errno)
  end
  return fd, name
end

local function configure(handle, name, t)
  handle.link:change(name, { mtu = t.mtu, address = t.lladdr, txqlen = t.txqlen or 4096, up = t.up ~= false })
  local list = type(t.address) == "table" and t.address or { t.address }
  for _, address in ipairs(list) do
    handle.address:add { address, dev = name, nodad = address:find(":", 1, true) and true or nil }
  end
end

-- What the core takes for one direction. A wire without a seed of its own takes the hub's, and draws its own numbers from it.
local function numbers(self, call, way, i)
  local words = self[way]
  local out = impairment.numbers(call .. ": " .. way, words)
  out.seed = words.seed or self.seed or self.state.hub.seed
  out.stream = (words.seed or self.seed) and i or self.number * 2 + i
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
  if state.id and hub:alive() then
    hub.process:remove(state.id)
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
  local fd, name = device(first, options.a)
  local ok, far, far_name = pcall(device, second, options.b)
  local id, message, errno
  if ok then
    self.a, self.b = { dev = name }, { dev = far_name }
    id, message, errno = state.hub.process:add(fd, far, numbers(self, "wire.new", "to", 0), numbers(self, "wire.new", "from", 1))
    far:close()
  end
  fd:close()
  if not ok then
    error(far, 0)
  end
  state.id = errors.check("wire.new", { hint = errno == E.EMFILE and "RLIMIT_NOFILE of the hub: two fds a wire" or nil }, id, message, errno)
  configure(first, name, options.a)
  configure(second, far_name, options.b)
end

---Make a wire with this hub's process.
---@param options nslua.NewWire
---@return nslua.Wire
function Hub:new(options)
  if self.closed then
    errors.misuse "wire.new: the hub is closed"
  end
  check.options("wire.new", options, { a = "table", b = "table", to = "table", from = "table", seed = "integer|string" })
  for _, which in ipairs { "a", "b" } do
    check.options("wire.new: " .. which, options[which] or errors.misuse("wire.new: %s is missing", which), end_words)
  end
  local wire = setmetatable({ to = impairment.merge("wire.new: to", {}, options.to or {}),
    from = impairment.merge("wire.new: from", {}, options.from or {}), seed = options.seed, number = self.made + 1, state = { hub = self } }, Wire)
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
---@field a { dev: string }  the ends: names of the devices
---@field b { dev: string }
---@field to nslua.Impairment    from a to b, as it was said
---@field from nslua.Impairment  from b to a
local methods = Wire

local function id_of(self, call)
  if type(self) ~= "table" or getmetatable(self) ~= Wire then
    errors.misuse("%s: a wire expected (a method is called with a colon)", call)
  elseif self.state.gone or self.state.hub.closed then
    errors.misuse("%s: the wire is closed", call)
  end
  return self.state.hub.process, self.state.id
end

local function checked(call, ok, message, errno)
  return errors.check(call, { hint = errno == E.EBADFD and "a device of it was deleted" or nil }, ok, message, errno)
end

---Change what is impaired. What is not said stays as it is, `false` is as if never said (`to = false`: nothing is impaired). What is on its way
---stays there, and what was sent before the change is impaired as before.
---@param t { to: nslua.Impairment|false, from: nslua.Impairment|false }
---@return true
function methods:change(t)
  local process, id = id_of(self, "wire.change")
  check.options("wire.change", t, { to = "table|false", from = "table|false" })
  local old, new = { to = self.to, from = self.from }, {}
  local ok, err = pcall(function()
    for i, way in ipairs { "to", "from" } do
      if t[way] ~= nil then
        self[way] = impairment.merge("wire.change: " .. way, self[way], t[way])
        new[way] = numbers(self, "wire.change", way, i - 1)
      end
    end
    checked("wire.change", process:change(id, new.to, new.from))
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
  local process, id = id_of(self, "wire.counters")
  local to, from, errno = process:counters(id)
  if not to then
    checked("wire.counters", to, from, errno)
  end
  return { to = to, from = from }
end

---Pull the plug: both ends lose their carrier, and what is on its way is lost.
---@return true
function methods:down()
  local process, id = id_of(self, "wire.down")
  return checked("wire.down", process:carrier(id, false))
end

---Put it in again.
---@return true
function methods:up()
  local process, id = id_of(self, "wire.up")
  return checked("wire.up", process:carrier(id, true))
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
