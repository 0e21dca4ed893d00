-- A journal of what happens in network namespaces, written: a line of JSON for each event, after the state it begins with.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local monitor = require "nslua.monitor"
local objects = require "nslua.inspect.record.objects"
local schema = require "nslua.schema"
local snapshot = require "nslua.inspect.record.snapshot"
local units = require "nslua.units"
local wait = require "nslua.wait"

local M = {}

local VERSION = 1

---@class nslua.Recorder
---@field events integer   told since it began
local Recorder = { __name = "nslua.Recorder" }
Recorder.__index = Recorder

local function fail(self, message)
  errors.raise { call = "record", message = message, detail = self.path }
end

local function write(self, entry)
  if not self.file then
    return
  end
  local ok, message = self.file:write(schema.json(entry), "\n")
  if not ok then
    fail(self, message)
  end
end

-- A disk that is full says so here.
local function flush(self)
  local ok, message = self.file:flush()
  if not ok then
    fail(self, message)
  end
end

local function begin(self)
  write(self, { time = core.file.now(), action = "begin", nslua_record = VERSION })
end

-- An event, into the file and to who reads along.
local function tell(self, space, action, what, object, silent)
  local entry = { time = core.file.now(), action = action, what = what, object = object, netns = space.netns, inode = space.inode,
    container = space.container, silent = silent or nil }
  write(self, entry)
  if action ~= "existing" then
    self.events = self.events + 1
    self.queue[#self.queue + 1] = entry
  end
end

local function space_of(self, e)
  local space = self.spaces[e.inode]
  if not space then
    space = { netns = e.netns, inode = e.inode, objects = {}, groups = {} }
    for _, what in ipairs(self.wanted) do
      space.objects[what] = {}
    end
    self.spaces[e.inode] = space
    self.unknown = true
  end
  return space
end

local function keep(space, what, object, is_there)
  local key = objects.identity[what](object)
  space.objects[what][key] = is_there and object or nil
  if what == "route" and object.family == "inet" then
    local group = objects.route_group(object)
    local of = space.groups[group] or {}
    of[key] = is_there or nil
    space.groups[group] = next(of) and of
  end
end

-- The kernel says nothing of IPv4 routes that go with a link, an address or by a replace: they are looked for.
local function look_for_routes(self, space)
  local handle = self.monitor:handle(space.inode)
  local routes = space.objects.route
  if not handle or not routes then
    return
  end
  local there = {}
  for _, row in ipairs(handle.route:list { family = "inet" }) do
    local object = row:decode()
    there[objects.identity.route(object)] = object
  end
  local lost = {}
  for key, object in pairs(routes) do
    if object.family == "inet" and not there[key] then
      lost[#lost + 1] = object
    end
  end
  table.sort(lost, function(a, b)
    return objects.identity.route(a) < objects.identity.route(b)
  end)
  for _, object in ipairs(lost) do
    keep(space, "route", object, false)
    tell(self, space, "delete", "route", object, true)
  end
  for key, object in pairs(there) do
    if not routes[key] then
      keep(space, "route", object, true)
      tell(self, space, "new", "route", object, true)
    end
  end
end

-- Counters move all the time; what a kernel has nothing of is an empty table.
local function plain(row)
  local object = row:decode()
  object.stats = nil
  for key, value in pairs(object) do
    if type(value) == "table" and next(value) == nil then
      object[key] = nil
    end
  end
  return object
end

-- What may take routes away without a word: a new one of IPv4, where there was another of its group.
local function takes_routes(space, e, object, before)
  if e.what == "link" then
    return e.action == "delete" or before and before.up and not object.up or before and before.carrier and not object.carrier
  elseif e.what == "address" then
    return e.action == "delete"
  end
  local group = e.what == "route" and e.action == "new" and space.groups[objects.route_group(object)]
  return group and next(group, next(group)) ~= nil
end

-- Connections are told of by another protocol, a socket in each namespace; where the kernel has it not, nothing is tracked either.
local function track(self, space)
  if not self.conntrack or space.tracked ~= nil then
    return
  end
  local handle = self.monitor:handle(space.inode)
  local ok, changes = pcall(function()
    return handle and handle.conntrack:monitor()
  end)
  space.tracked = ok and changes or false
  if space.tracked then
    local known, rows = pcall(handle.conntrack.list, handle.conntrack)
    for _, row in ipairs(known and rows or {}) do
      local object = row:decode()
      keep(space, "conntrack", object, true)
      tell(self, space, "existing", "conntrack", object)
    end
  end
end

local function connections(self, space)
  for e in space.tracked:each(0) do
    if e.action == "overrun" then
      space.objects.conntrack = {}
      local handle = self.monitor:handle(space.inode)
      for _, row in ipairs(handle and handle.conntrack:list() or {}) do
        keep(space, "conntrack", row:decode(), true)
      end
    else
      local object = e.object:decode()
      local before = space.objects.conntrack[objects.identity.conntrack(object)]
      keep(space, "conntrack", object, e.action ~= "destroy")
      if e.action == "destroy" and before then
        object = before -- the last event says less
      end
      if not (before and e.action == "update" and not objects.changed("conntrack", before, object)) then
        tell(self, space, e.action == "destroy" and "delete" or "new", "conntrack", object)
      end
    end
  end
end

local function take(self, e)
  if not self.every and e.action == "netns_new" and not self.monitor:handle(e.inode) then
    return
  end
  local space = space_of(self, e)
  if e.action == "netns_new" then
    space.netns = e.netns
    tell(self, space, "netns_new")
    track(self, space)
  elseif e.action == "netns_gone" then
    if not self.monitor:handle(e.inode) then -- a name may go and the namespace stay
      tell(self, space, "netns_gone")
      if space.tracked then
        space.tracked:close()
      end
      self.spaces[e.inode] = nil
    end
  elseif e.action == "overrun" then
    for what, list in pairs(space.objects) do
      space.objects[what] = what == "conntrack" and list or {}
    end
    space.groups = {}
    tell(self, space, "overrun")
  else
    local object = plain(e.object)
    local before = space.objects[e.what][objects.identity[e.what](object)]
    keep(space, e.what, object, e.action ~= "delete")
    if e.action ~= "new" or not before or objects.changed(e.what, before, object) then
      tell(self, space, e.action, e.what, object)
    end
    if e.action ~= "existing" and takes_routes(space, e, object, before) then
      space.look = true
    end
    track(self, space)
  end
end

-- What the namespaces are called by people: engines write their files a little after the namespace is there.
local function name_them(self)
  local now = core.fd.clock()
  if self.unknown then
    self.unknown, self.name_at, self.tries = false, self.started and now + 0.3 or now, 0
  end
  if not self.name_at or self.name_at > now or not self.every then
    return
  end
  self.tries = self.tries + 1
  self.name_at = self.tries < 3 and now + self.tries or nil
  local ok, rows = pcall(function()
    return require("nslua.container").list()
  end)
  for _, row in ipairs(ok and rows or {}) do
    local space = row.netns and not row.host_network and self.spaces[row.netns]
    local word = space and ("%s:%s"):format(row.engine, row.name)
    if space and space.container ~= word and not (space.container and row.shares and row.shares[1]) then
      space.container = word
      write(self, { time = core.file.now(), action = "named", inode = space.inode, netns = space.netns, container = word })
    end
  end
end

-- The file is full: it becomes FILE.1, and a new one begins with the state.
local function turn(self)
  if not self.limit or self.file:seek() < self.limit then
    return
  end
  flush(self)
  self.file:close()
  local ok, message = os.rename(self.path, self.path .. ".1")
  self.file = ok and io.open(self.path, "wb")
  if not self.file then
    fail(self, message or "cannot be opened again")
  end
  begin(self)
  local time = core.file.now()
  for _, space in pairs(self.spaces) do
    write(self, { time = time, action = "named", inode = space.inode, netns = space.netns, container = space.container })
    for _, what in ipairs(self.wanted) do
      for _, object in pairs(space.objects[what]) do
        write(self, { time = time, action = "existing", what = what, object = object, netns = space.netns, inode = space.inode })
      end
    end
  end
end

local function work(self)
  local seen = 0
  for e in self.monitor:each(0) do
    take(self, e)
    seen = seen + 1
    if seen >= 10000 then
      break
    end
  end
  for _, space in pairs(self.spaces) do
    if space.look then
      space.look = nil
      look_for_routes(self, space)
    end
    if space.tracked then
      connections(self, space)
    end
  end
  name_them(self)
  if self.file then
    turn(self)
    flush(self)
  end
end

---The next event, as it was written. The journal is written by this call: call it again and again.
---@param seconds? number|string  how long to wait for it (default: for ever; 0: do not wait)
---@return nslua.JournalEntry?    nil where the time ran out
function Recorder:next(seconds)
  if not self.monitor then
    errors.misuse "recorder.next: the recorder is closed"
  end
  local deadline = seconds and core.fd.clock() + units.duration(seconds, "recorder.next: seconds")
  while true do
    if self.at <= #self.queue then
      self.at = self.at + 1
      return self.queue[self.at - 1]
    end
    self.queue, self.at = {}, 1
    work(self)
    if #self.queue == 0 then
      local now = core.fd.clock()
      local left = deadline and deadline - now
      if left and left <= 0 then
        return nil
      end
      local list = { self.monitor }
      for _, space in pairs(self.spaces) do
        list[#list + 1] = space.tracked or nil
      end
      local timer = self.name_at and math.max(0, self.name_at - now)
      wait.wait(list, left and timer and math.min(left, timer) or left or timer)
    end
  end
end

---Iterate over events, until none comes for that long.
---@param seconds? number|string
---@return fun(): nslua.JournalEntry?
function Recorder:each(seconds)
  return function()
    return self:next(seconds)
  end
end

---How many namespaces it listens in now.
---@return integer
function Recorder:namespaces()
  local n = 0
  for _ in pairs(self.spaces) do
    n = n + 1
  end
  return n
end

---End the journal.
---@return true
function Recorder:close()
  if self.monitor then
    for _, space in pairs(self.spaces) do
      if space.tracked then
        space.tracked:close()
      end
    end
    self.monitor:close()
    self.monitor = nil
    if self.file then
      self.file:close()
      self.file = nil
    end
  end
  return true
end
Recorder.__close, Recorder.__gc = Recorder.close, Recorder.close

local known = { file = "string", netns = "string|table", objects = "table", limit = "integer|string" }

---Write down what happens in network namespaces, after what there is: `for e in ns.journal.record{ file = "j" }:each() do end`.
---
---A line of JSON for each event of links, addresses, routes, rules, neighbours and tracked connections, with its time, namespace and container.
---IPv4 routes that the kernel takes away without a word are looked for and written as `silent`. Where the file has grown to `limit` it becomes
---FILE.1, and a new one begins with the state there is.
---@param options? { file: string?, netns: any, objects: string[]?, limit: integer|string? }  `file`: where to (default: nowhere, events are for the
---caller); `netns`: one, a list, or "all" (default); `objects`: of "link", "address", "route", "rule", "neighbour", "conntrack" (default: all)
---@return nslua.Recorder
function M.record(options)
  options = options or {}
  check.options("record", options, known)
  local wanted = snapshot.wanted("record", options.objects)
  local self = setmetatable({ path = options.file, spaces = {}, queue = {}, at = 1, events = 0, wanted = wanted,
    limit = options.limit and units.size(options.limit, "record: limit") or nil }, Recorder)
  local what = { existing = true }
  for _, word in ipairs(wanted) do
    if word == "conntrack" then
      self.conntrack = true
    else
      what[#what + 1] = word
    end
  end
  if #what == 0 then
    what[1] = "link" -- where there is a namespace, there is one
    self.wanted = { "link", table.unpack(wanted) }
  end
  self.every = options.netns == nil or options.netns == "all"
  what.netns = self.every and "all" or type(options.netns) == "string" and { options.netns } or options.netns
  if self.path then
    local message
    self.file, message = io.open(self.path, "wb")
    if not self.file then
      fail(self, message)
    end
  end
  begin(self)
  local ok, err = pcall(function()
    self.monitor = monitor.monitor(what)
    work(self)
  end)
  if not ok then
    self.monitor = self.monitor or { close = function() end }
    self:close()
    error(err, 0)
  end
  self.started = true
  return self
end

return M
