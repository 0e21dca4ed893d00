-- ns.capture: packets of interfaces in many namespaces, written into one pcapng by a process of C (c/captureloop.c), or read as values.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local filters = require "nslua.inspect.capture.filter"
local headers = require "nslua.inspect.capture.headers"
local inside = require "nslua.inside"
local keeper = require "nslua.keeper"
local interfaces = require "nslua.inspect.capture.interfaces"
local leaving = require "nslua.leaving"
local namespace = require "nslua.namespace"
local owned = require "nslua.owned"
local packet = require "nslua.inspect.capture.packet"
local pcapng = require "nslua.inspect.capture.pcapng"
local privilege = require "nslua.privilege"
local stdio = require "nslua.stdio"
local units = require "nslua.units"

local M = {}

---The fields that each header of a packet may have: `fields.tcp.flags` is true.
---@type table<string, table<string, true>>
M.fields = headers.fields

local PACKET, RAW_SOCKET = 17, 3 -- AF_PACKET, SOCK_RAW
local SNAPLEN = 262144
local BUFFER, MEMORY = 8 << 20, 64 << 20 -- a larger buffer finds no room in the caches of a processor
local LEAST_BLOCK, LARGEST_BLOCK = 128 << 10, 2 << 20 -- a packet of 64 KB has room in each
local WHOLE = 131072 -- no packet is longer

---@class nslua.capture.Ring
---@field bytes? integer|string    of a file, then the next one
---@field packets? integer         of a file
---@field files? integer           at the most; then the first is written again (default 2)

---@class nslua.CaptureOptions
---@field file? string|nslua.fd|file*  path, or what is open for writing: a pipe, a socket. Without it packets wait in memory: `next`, `packets`
---@field dev? string|string[]     these interfaces only
---@field filter? string           words of pcap-filter(7), all of them where libpcap is installed; names of nodes are addresses
---@field snaplen? integer         bytes of a packet at the most (default 262144)
---@field count? integer           end after so many packets
---@field ring? nslua.capture.Ring  several files: x.0.pcapng, x.1.pcapng ...
---@field memory? integer|string   of packets that were not read yet, where there is no file (default "64mb"); what has no room is counted
---@field buffer? integer|string   of the kernel, for all interfaces together (default "8mb", and 1 MB of each at the least)
---@field comment? string          of the file
---@field promiscuous? boolean     frames for others too, where the interface can

local words = { file = "string|table|userdata", dev = "string|table", filter = "string", snaplen = "64-262144", count = "1-9007199254740992",
  ring = "table", memory = "integer|string", buffer = "integer|string", comment = "string", promiscuous = "boolean" }
local ring_words = { bytes = "integer|string", packets = "1-9007199254740992", files = "1-10000" }

---@class nslua.Capture
---@field interfaces string[]  names: "h1:eth0"
local Capture = { __name = "nslua.Capture" }
Capture.__index = Capture

-- Where packets begin with an Ethernet header; others begin with their network header.
local ethernet = { ether = true, loopback = true }

local function fixed_address(text)
  local list = {}
  for digits in (text or ""):gmatch "%x%x" do
    list[#list + 1] = string.char(tonumber(digits, 16))
  end
  return table.concat(list)
end

local MOST_BLOCKS = 128 -- of a ring
local LEAST = 1 << 20 -- bytes of a ring

-- Blocks of a ring: in all the buffer, each large enough. The process is woken by each, so few are better where nothing waits for other interfaces.
local function sizes(buffer, count, alone)
  if buffer < 1 then
    errors.misuse("capture: buffer must be at least 1 byte, got %.0f", buffer)
  elseif buffer > count * MOST_BLOCKS * LARGEST_BLOCK then
    errors.misuse("capture: buffer must be at most 256 MB for each interface, %d MB for the %d that are captured here, got %.0f MB",
      count * MOST_BLOCKS * LARGEST_BLOCK >> 20, count, buffer / (1 << 20))
  end
  local each, size, few = buffer // count, LARGEST_BLOCK, alone and 4 or 8
  while size > LEAST_BLOCK and size * few > each do
    size = size // 2
  end
  return size, math.tointeger(math.max(few, LEAST // size, math.min(MOST_BLOCKS, each // size)))
end

local function output_of(options)
  local file = options.file
  if options.ring then
    if type(file) ~= "string" then
      errors.misuse "capture: ring is of files: file = \"x.pcapng\" is missing"
    end
    check.options("capture: ring", options.ring, ring_words)
    local folder, name = file:match "^(.*)/([^/]*)$"
    local before, after = (name or file):match "^(.*)(%.[^.]*)$"
    before, after = (before or name or file) .. ".", after or ""
    if #before > 255 or #after > 63 then
      errors.misuse "capture: file has a name that is too long"
    end
    folder = folder == "" and "/" or folder or "."
    local bytes = options.ring.bytes and units.size(options.ring.bytes, "capture: ring.bytes") or 0
    if bytes < 1 and not options.ring.packets then
      errors.misuse "capture: ring says when a file is full: { bytes = \"10mb\" } or { packets = 1000 }"
    end
    local fd, message, errno = core.fd.open(folder, "path")
    return errors.check("capture", { detail = folder }, fd, message, errno), { before = before, after = after, file_bytes = bytes,
      file_packets = options.ring.packets, files = options.ring.files or 2 }, true
  elseif type(file) == "string" then
    local fd, message, errno = core.fd.open(file, "w")
    return errors.check("capture", { detail = file }, fd, message, errno), {}, true
  elseif type(file) == "table" and type(file.pollfd) == "function" then -- a program's standard input
    return file:pollfd(), {}, false
  elseif file then
    return stdio.number("capture", "file", file), {}, false
  end
  local memory = options.memory and units.size(options.memory, "capture: memory") or MEMORY
  if not (memory >= 1 and memory <= 1 << 40) then
    errors.misuse("capture: memory must be from 1 byte to 1 TB, got %s", tostring(options.memory))
  end
  memory = math.floor(memory)
  return errors.check("capture", nil, core.capture.memory()), { memory = memory }, true, true
end

-- Let go of the process; it does not need the object.
local function let_go(state)
  if state.process and not state.gone then
    state.gone = true
    if state.process:alive() then
      state.process:stop()
    end
    leaving.close(state.process)
  end
end

local function socket_of(self, interface, socket)
  local options, block, blocks, wait = self.options, self.ring.block, self.ring.blocks, self.ring.wait
  local function checked(ok, message, errno)
    return errors.check("capture", { netns = interface.handle:describe(), hint = privilege.hint(errno, {}) }, ok, message, errno)
  end
  local network = not ethernet[interface.kind]
  if options.filter or options.snaplen and options.snaplen < WHOLE then
    local key = network and pcapng.RAW or pcapng.ETHERNET
    local programs = self.programs
    if programs[key] == nil then
      programs[key] = filters.compile("capture", options.filter or "", key, options.snaplen or SNAPLEN, self.hosts)
    end
    local ok, message, errno = core.capture.filter(socket, programs[key])
    if not ok and errno == core.errno.ENOMEM then
      errors.raise { call = "capture", errno = errno, detail = "filter", hint = "it is longer than net.core.optmem_max has room for" }
    end
    checked(ok, message, errno)
  end
  checked(core.capture.ring(socket, block, blocks, wait, interface.kind == "loopback"))
  if options.promiscuous then
    checked(core.capture.promiscuous(socket, interface.index))
  end
  local description = pcapng.interface { name = interface.full, description = interface.description, address = fixed_address(interface.address),
    network = network, snaplen = options.snaplen or SNAPLEN, filter = options.filter }
  local ok, message, errno = self.state.process:add(socket, interface.index, block, blocks, network, description)
  if not ok and errno == core.errno.ENODEV then
    return false -- it went away meanwhile
  end
  return checked(ok, message, errno)
end

local function begin(self, list, more)
  local options, state, home = self.options, self.state, more.keeper or keeper.get()
  local buffer = options.buffer and units.size(options.buffer, "capture: buffer") // 1 or BUFFER
  local block, blocks = sizes(buffer, #list, #list == 1 and not more.grows)
  local fd, limits, ours, is_memory = output_of(options)
  local handles = {}
  for i, interface in ipairs(list) do
    handles[i] = interface.handle
  end
  local sockets = {}
  local ok, e = pcall(function()
    sockets = inside.sockets(handles, PACKET, RAW_SOCKET, 0)
    state.event = errors.check("capture", nil, core.capture.event())
    local process, message, errno = core.capture.start(home.pid.fd, home.user and home.user.fd)
    state.process = errors.check("capture", { hint = privilege.hint(errno, {}) }, process, message, errno)
    -- A kernel's timer for each ring: fewer rings, finer times.
    local wait = math.min(250, math.max(8, #list // 4))
    self.ring = { block = block, blocks = blocks, wait = wait }
    limits.hold, limits.snaplen, limits.count = wait * 2 + 4, options.snaplen or SNAPLEN, options.count
    errors.check("capture", nil, process:output(fd, state.event, limits))
    errors.check("capture", nil, process:block(pcapng.section(options.comment)))
    for _, each in ipairs(pcapng.names(more.names or {})) do
      errors.check("capture", nil, process:block(each))
    end
    for i, interface in ipairs(list) do
      if socket_of(self, interface, sockets[i]) then
        self.interfaces[#self.interfaces + 1] = interface.full
      end
    end
  end)
  for _, socket in ipairs(sockets) do
    socket:close()
  end
  if is_memory and ok then
    state.memory = fd
    self.reader = pcapng.reader(function(offset, size)
      return errors.check("capture", nil, core.capture.read(fd, offset, size))
    end)
  elseif ours then
    fd:close()
  end
  if not ok then
    error(e, 0)
  end
end

---@package
---@class nslua.capture.Target
---@field handle nslua.Netns
---@field label string
---@field dev? string[]        all, if none are said
---@field without_lo? boolean

---Begin to capture.
---@param targets nslua.capture.Target[]
---@param options? nslua.CaptureOptions
---@param more? { names: string[][]?, hosts: (fun(name: string): string[]?)?, keeper: nslua.Keeper?, grows: boolean? }  grows: more is included later
---@return nslua.Capture
function M.new(targets, options, more)
  options, more = options or {}, more or {}
  check.options("capture", options, words)
  local list = interfaces.of(targets, options.dev ~= nil)
  if not list[1] then
    errors.raise { call = "capture", errno = core.errno.ENODEV, detail = "no interface" }
  end
  local self = setmetatable({ options = options, hosts = more.hosts, programs = {}, interfaces = {}, state = {} }, Capture)
  local state = self.state
  leaving.sweep()
  self.guard = owned.at_collection(function()
    let_go(state)
  end)
  local ok, e = pcall(begin, self, list, more)
  if not ok then
    pcall(self.close, self)
    error(e, 0)
  end
  return self
end

---Capture another interface too, from now on.
---@package
---@param target nslua.capture.Target
function Capture:include(target)
  for _, interface in ipairs(interfaces.of({ target }, false)) do
    local sockets = inside.sockets({ interface.handle }, PACKET, RAW_SOCKET, 0)
    local ok, added = pcall(socket_of, self, interface, sockets[1])
    sockets[1]:close()
    if not ok then
      error(added, 0)
    elseif added then
      self.interfaces[#self.interfaces + 1] = interface.full
    end
  end
end

local function process_of(self, call)
  if type(self) ~= "table" or getmetatable(self) ~= Capture then
    errors.misuse("%s: a capture expected (a method is called with a colon)", call)
  elseif self.state.gone then
    errors.misuse("%s: the capture is closed", call)
  end
  return self.state.process
end

---@class nslua.CaptureCounters
---@field packets integer     that were captured
---@field bytes integer       of these, as they were on the network
---@field dropped integer     that the kernel's buffer had no room for
---@field unwritten integer   that memory, or a file that could not be written, had no room for; they are in `packets` too
---@field files integer       that were written
---@field done boolean        it has ended: by `count`, or because it could not write
---@field failed integer?     errno of writing

---What was captured so far.
---@return nslua.CaptureCounters
function Capture:counters()
  if self.result then
    return self.result
  end
  return errors.check("capture.counters", nil, process_of(self, "capture.counters"):counters())
end

---Write what was received until now: packets that were sent before the call are there after it.
---@return nslua.CaptureCounters
function Capture:sync()
  if self.result then
    return self.result
  end
  return errors.check("capture.sync", nil, process_of(self, "capture.sync"):sync())
end

---Put a comment on the next packet, which Wireshark shows; where no more packets come, on the statistics at the end.
---@param text string
---@return true
function Capture:comment(text)
  check.argument("capture.comment", "text", text, "string")
  if #text > 60000 then
    errors.misuse "capture.comment: text is longer than 60000 bytes"
  end
  errors.check("capture.comment", nil, process_of(self, "capture.comment"):comment(text))
  return true
end

---@class nslua.CaptureResult: nslua.CaptureCounters
---@field interfaces { name: string, packets: integer, bytes: integer, dropped: integer }[]
---@field missing string[]?  ports of a lab that were moved, and could not be captured where they are now: "sw2:h1: the reason"

---End it: what was received before is written, the file is whole. Packets in memory can still be read. Idempotent.
---@return nslua.CaptureResult
function Capture:stop()
  if not self.result then
    local process = process_of(self, "capture.stop")
    local result = errors.check("capture.stop", nil, process:stop())
    result.interfaces = {}
    for i, name in ipairs(self.interfaces) do
      local one = errors.check("capture.stop", nil, process:interface(i - 1))
      result.interfaces[i] = { name = name, packets = one.packets, bytes = one.bytes, dropped = one.dropped }
    end
    result.missing = self.missing
    self.result = result
  end
  local failed = self.result.failed
  if failed and failed ~= core.errno.EPIPE then
    errors.raise { call = "capture", errno = failed, detail = type(self.options.file) == "string" and self.options.file or "write" }
  end
  return self.result
end

---End it, and let go of what was captured. Idempotent.
---@return true
function Capture:close()
  let_go(self.state)
  for _, key in ipairs { "memory", "event" } do
    if self.state[key] then
      self.state[key]:close()
    end
  end
  return true
end

Capture.__close = Capture.close

---Whether it is there.
---@return boolean
function Capture:isopen()
  return not self.state.gone
end

-- Reading -------------------------------------------------------------------------------------------------------------------------

local FORGET = 4 << 20 -- bytes that were read, before their memory is given back

local function reader_of(self, call)
  process_of(self, call)
  if not self.reader then
    errors.misuse("%s: the packets are written to a file; without one they can be read", call)
  end
  return self.reader
end

-- The next packet that is there, without a wait.
local function step(self)
  local raw = self.reader:next()
  if raw then
    if self.reader.at - (self.forgotten or 0) > FORGET then
      self.forgotten = self.reader.at
      core.capture.forget(self.state.memory, self.forgotten)
    end
    return packet.of(raw)
  end
end

---The next packet. It is taken: its memory is free again.
---@param seconds? number|string  how long it is waited for at the most (default: until there is one, or the capture has ended)
---@return nslua.capture.Packet?  nil: none came, or none will
function Capture:next(seconds)
  reader_of(self, "capture.next")
  local deadline = seconds and core.fd.clock() + units.duration(seconds, "capture.next: seconds")
  if self.ahead and self.ahead[1] then
    return table.remove(self.ahead, 1)
  end
  while true do
    local p = step(self)
    if p or self.result then
      return p
    end
    local left = deadline and deadline - core.fd.clock()
    if left and left <= 0 then
      return nil
    end
    self.state.event:read(8)
    p = step(self)
    if p then
      return p
    elseif self:counters().done then
      return step(self)
    end
    local ready, message, errno = core.fd.poll({ { self.state.event, "r" } }, left and math.max(0, left))
    if not ready and errno and errno ~= core.errno.EINTR then
      errors.check("capture.next", nil, nil, message, errno)
    end
  end
end

---Packets as they come.
---@param seconds? number|string  end after so long without one
---@return fun(): nslua.capture.Packet?
function Capture:each(seconds)
  reader_of(self, "capture.each")
  return function()
    return self:next(seconds)
  end
end

---What was captured until now and was not taken by `next` or `each`. It stays there.
---@return nslua.capture.Packet[]
function Capture:packets()
  reader_of(self, "capture.packets")
  self:sync()
  self.ahead = self.ahead or {}
  while true do
    local p = step(self)
    if not p then
      return table.move(self.ahead, 1, #self.ahead, 1, {})
    end
    self.ahead[#self.ahead + 1] = p
  end
end

---Wait until it has ended by `count`, or because it cannot write.
---@param seconds? number|string
---@return true?  nil: not within that time
function Capture:wait(seconds)
  process_of(self, "capture.wait")
  local deadline = seconds and core.fd.clock() + units.duration(seconds, "capture.wait: seconds")
  while not (self.result or self:counters().done) do
    local left = deadline and deadline - core.fd.clock()
    if left and left <= 0 then
      return nil
    end
    core.fd.poll({ { self.state.event, "r" } }, left)
    self.state.event:read(8)
  end
  return true
end

---An fd that is readable once there may be packets; for event loops, with `events` and `timeout`.
---@return integer
function Capture:pollfd()
  process_of(self, "capture.pollfd")
  return self.state.event:number()
end

---@return "r"
function Capture.events()
  return "r"
end

---Zero where packets wait already.
---@return number?
function Capture:timeout()
  return self.ahead and self.ahead[1] and 0 or nil
end

function Capture:__tostring()
  return ("capture of %d interfaces%s"):format(#self.interfaces, self.state.gone and " (closed)" or self.result and " (stopped)" or "")
end

---@class nslua.capture.Drops
---@field read fun(self): nslua.capture.Drop[], integer
---@field close fun(self): true

---Hear from now on of every packet that the kernel of this machine drops, and why: needs root, and leaves nothing behind.
---@return nslua.capture.Drops?
---@return string? why  there is none
function M.drops()
  return require("nslua.inspect.capture.drops").open()
end

---Their reasons and counts as lines of text.
---@param list nslua.capture.Drop[]
---@return string[]
function M.drop_lines(list)
  return require("nslua.inspect.capture.drops").lines(list)
end

-- Of handles, and files -----------------------------------------------------------------------------------------------------------

---Names of what has an address: { address, name }.
---@param handle nslua.Netns
---@param label string
---@param out string[][]
function M.names_of(handle, label, out)
  for row in handle.address:each() do
    local ip = (row.local_ or row.address or ""):match "^[^/]+"
    if ip and row.scope ~= "host" and not ip:find "^fe80:" then
      out[#out + 1] = { ip, label }
    end
  end
end

---A name for the interfaces of a handle.
---@param handle nslua.Netns
---@return string
local function label_of(handle)
  return rawget(handle, "label") or rawget(handle, "name") or handle:describe()
end
M.label_of = label_of

---Capture in several namespaces: `{ { "web", handle }, { handle } }`, or handles.
---@param list any[]
---@param options? nslua.CaptureOptions
---@return nslua.Capture
function M.many(list, options)
  check.argument("capture", "list", list, "table")
  check.argument("capture", "options", options, "nil|table")
  local targets, names = {}, {}
  for i, each in ipairs(list) do
    local label, handle = nil, each
    if type(each) == "table" and type(each[1]) == "string" then
      label, handle = each[1], each[2]
    end
    namespace.fd_of(handle, "capture")
    label = label or label_of(handle)
    targets[i] = { handle = handle, label = label, dev = options and options.dev }
    M.names_of(handle, label, names)
  end
  return M.new(targets, options, { names = names, hosts = function(name)
    local out = {}
    for _, entry in ipairs(names) do
      if entry[2] == name then
        out[#out + 1] = entry[1]
      end
    end
    return out[1] and out
  end })
end

---Methods of handles; the composition root hands them down.
M.methods = require "nslua.inspect.capture.method"

---@class nslua.capture.Recording
---@field each fun(self): fun(): nslua.capture.Packet?
---@field names table<string, string>
---@field interfaces nslua.capture.FileInterface[]

---Read a file of pcapng.
---@param path string
---@return nslua.capture.Recording  each() gives its packets; then names, interfaces and their statistics are complete
function M.read(path)
  check.argument("capture.read", "path", path, "string")
  local fd, message, errno = core.fd.open(path, "r")
  errors.check("capture.read", { detail = path }, fd, message, errno)
  local reader = pcapng.reader(function()
    return errors.check("capture.read", { detail = path }, fd:read(1 << 20))
  end)
  function reader.each()
    return function()
      local raw = reader:next()
      return raw and packet.of(raw)
    end
  end
  function reader.close()
    return fd:close()
  end
  return reader
end

return M
