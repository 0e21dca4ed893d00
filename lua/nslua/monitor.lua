-- ns.monitor: what changes in network namespaces, as the kernel tells it.

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local groups = require "nslua.rtnl.groups"
local linknames = require "nslua.rtnl.linknames"
local namespace = require "nslua.namespace"
local netfds = require "nslua.netfds"
local netns = require "nslua.netns"
local procfs = require "nslua.procfs"
local rundir = require "nslua.rundir"
local schema = require "nslua.schema"
local units = require "nslua.units"
require "nslua.rtnl.nsid" -- declares its schema

local M = {}

local E = core.errno
local AF_NETLINK, SOCK_RAW, NETLINK_ROUTE = 16, 3, 0
local AF_BRIDGE = 7
local IGNORED = {}
local BUFFER = 4 * 1024 * 1024 -- what the kernel's default holds is 256 events
local MANY = 1024 -- are read at a turn: who changes things faster than they are read here must not keep next() from its time
local NSIDS, NEWNSID, DELNSID = 28, 88, 89 -- linux/rtnetlink.h: RTNLGRP_NSID

---@class nslua.Monitor
local Monitor = { __name = "nslua.Monitor" }
Monitor.__index = Monitor

local function push(self, event)
  self.queue[#self.queue + 1] = event
end

local function event(source, action, what, object)
  return { action = action, what = what, object = object, netns = source.name, inode = source.inode, nsid = source.nsid }
end

-- A dump under which the tables did not hold still may lack what has been there all the time: it is one more loss.
local function dump(self, source)
  for _, what in ipairs(self.objects) do
    local rows = source.handle[what]:list()
    for _, row in ipairs(rows) do
      push(self, event(source, "existing", what, row))
    end
    if rows.interrupted then
      source.lost, self.more = true, true
    end
  end
end

-- After an overrun nothing that is queued can be trusted, for what came after it is missing: it goes, and the state is read again. While
-- there is something of it the kernel queues nothing more. Where it does not end, that is one more overrun, at the next turn.
local function recover(self, source)
  source.lost = true
  for _ = 1, self.room do
    local kind, _, errno = source.socket:receive(0)
    if not kind and errno ~= E.ENOBUFS then
      source.lost = false
      break
    end
  end
  self.more = self.more or source.lost
  source.links:ask()
  push(self, event(source, "overrun"))
  dump(self, source)
end

-- What the kernel has for us, or as much of it as is read at a turn.
local function drain(self, source, most)
  if source.lost then
    return recover(self, source)
  end
  for _ = 1, most or MANY do
    local kind, bytes, errno = source.socket:receive(0)
    if kind then
      local known = bytes:byte(1) == AF_BRIDGE and source.bridge[kind] or source.kinds[kind]
      if source.links then
        source.links:follow(kind, bytes)
      end
      if known and known.id then
        self.ids[#self.ids + 1] = { known.id, schema.compile("nsid"):decode(bytes).nsid }
      elseif known and known ~= IGNORED then
        local row = source.links:row(known.what, bytes)
        local visible = known.action == "new" and source.handle[known.what].object.visible
        if not visible or visible(row) then
          push(self, event(source, known.action, known.what, row))
        end
      end
    elseif errno == E.ENOBUFS then
      return recover(self, source)
    elseif errno and errno ~= E.EINTR then
      return errors.check("monitor", { netns = source.name }, kind, bytes, errno)
    else
      return
    end
  end
  self.more = true
end

local function id_of(self, handle)
  local ok, id = pcall(self.here.nsid_of, self.here, handle)
  return ok and id or nil
end

-- Listen in a namespace. `owned`: the handle is closed with the source.
local function add(self, handle, owned, name)
  local fd = handle:raw_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)
  local socket = errors.check("monitor", { netns = handle:describe() }, core.netlink.open(fd))
  local source = { handle = handle, owned = owned, socket = socket, inode = handle.inode, name = name or handle:describe(), names = 0,
    kinds = {}, bridge = {} }
  source.nsid = id_of(self, handle)
  socket:buffer(self.buffer)
  for _, what in ipairs(self.objects) do
    local object = handle[what].object
    local kinds = object.bridge and source.bridge or source.kinds
    kinds[object.new] = { action = "new", what = what }
    kinds[object.del] = { action = "delete", what = what }
    if what == "neighbour" and not source.bridge[object.new] then
      source.bridge[object.new], source.bridge[object.del] = IGNORED, IGNORED -- of the same group and type: fdb's
    end
    for _, group in ipairs(groups[what]) do
      errors.check("monitor", { netns = source.name }, socket:join(group))
    end
  end
  if self.objects[1] then
    errors.check("monitor", { netns = source.name }, socket:join(groups.link[1])) -- rows tell names of links
    source.bridge[handle.link.object.del] = IGNORED -- a port that leaves a bridge: the link stays
    source.links = linknames.new(handle)
  end
  if self.ids and not next(self.sources) then -- this process's own
    source.kinds[NEWNSID], source.kinds[DELNSID] = { id = "new" }, { id = "delete" }
    errors.check("monitor", { netns = source.name }, socket:join(NSIDS))
  end
  errors.check("monitor", nil, core.watch.add(self.group, socket:pollfd()))
  self.sources[source.inode] = source
  return source
end

local function remove(self, source)
  self.sources[source.inode] = nil
  source.socket:close()
  if source.owned then
    source.handle:close()
  end
end

-- A namespace that was found; nil where this process may not listen in it.
local function found(self, handle, name)
  local source = self.sources[handle.inode]
  if source then
    handle:close()
  else
    local ok, made = pcall(add, self, handle, true, name)
    if not ok then
      handle:close()
      return nil
    end
    source = made
    source.found = true
    netfds.mark(handle.fd)
  end
  return source
end

-- A name: a namespace from the moment it is mounted there. Until then it is looked at again.
local function look(self, name, quiet)
  local state = rundir.state(name)
  if state == "alive" then
    self.pending[name] = nil
    local ok, handle = pcall(netns.open, name)
    if ok then
      local inode = handle.inode
      local source
      if self.names_only then
        handle:close()
      else
        source = found(self, handle, name)
      end
      self.named[name] = inode
      if source then
        source.names = source.names + 1
      end
      if not quiet then
        push(self, { action = "netns_new", netns = name, inode = inode, nsid = source and source.nsid })
        if source and self.existing then
          dump(self, source)
        end
      end
    end
  elseif state == "stale" and not quiet then
    self.pending[name] = self.pending[name] or core.fd.clock() + 1
  else
    self.pending[name] = nil
  end
end

local function gone(self, name)
  local inode = self.named[name]
  self.pending[name] = nil
  if not inode then
    return
  end
  self.named[name] = nil
  local source = self.sources[inode]
  if source then
    drain(self, source, self.room)
    source.names = source.names - 1
    if source.found and source.names == 0 and not source.seen and not source.holder then
      remove(self, source) -- its socket would keep it alive
    end
  end
  push(self, { action = "netns_gone", netns = name, inode = inode })
end

-- /run/netns, or /run where that is not there yet.
local function watch(self)
  if self.directory then
    self.directory:close()
  end
  self.directory = core.watch.directory(rundir.path)
  self.waits = not self.directory
  if not self.directory then
    self.directory = core.watch.directory "/run"
    local late = core.watch.directory(rundir.path) -- it came between the two
    if late then
      if self.directory then
        self.directory:close()
      end
      self.directory, self.waits = late, false
    end
  end
  if self.directory then
    core.watch.add(self.group, self.directory)
  end
end

local function names(self)
  local there = {}
  for _, name in ipairs(rundir.names "monitor") do
    there[name] = true
    if not self.named[name] then
      look(self, name)
    end
  end
  local known = {}
  for name in pairs(self.named) do
    known[#known + 1] = name
  end
  for _, name in ipairs(known) do
    if not there[name] then
      gone(self, name)
    end
  end
end

local function changes(self)
  local list, lost = core.watch.changes(self.directory)
  if self.waits or lost then
    if lost or core.file.stat(rundir.path) then
      watch(self)
      names(self)
    end
    return
  end
  for _, change in ipairs(list) do
    if change[2] then
      look(self, change[1])
    else
      gone(self, change[1])
    end
  end
end

-- A namespace has come that has no name to tell of it.
local function came(self, source)
  if self.started then
    push(self, event(source, "netns_new"))
    if self.existing then
      dump(self, source)
    end
  end
end

-- Namespaces that have got an id here, and that nothing else showed: an fd of some process holds them. That takes a walk of all fds, so it
-- is done when an id comes, and not at each interval.
local function search(self, ids)
  for _, source in pairs(self.sources) do
    source.nsid = id_of(self, source.handle)
    ids[source.nsid or -1] = nil
  end
  local looked = {}
  local function visit(inode, path, pid)
    if self.sources[inode] or looked[inode] then
      return false
    end
    looked[inode] = true
    local ok, handle = pcall(netns.open, path)
    local id = ok and id_of(self, handle)
    if id and ids[id] then
      ids[id] = nil
      local source = found(self, handle)
      if source then
        source.holder = pid
        came(self, source)
      end
    elseif ok then
      handle:close()
    end
    return not next(ids)
  end
  if next(ids) then
    netfds.each(visit)
  end
end

-- Ids that came and went.
local function numbered(self)
  local list, new = self.ids, {}
  self.ids = {}
  for _, change in ipairs(list) do
    local kind, id = change[1], change[2]
    new[id] = kind == "new" or nil
    for _, source in pairs(self.sources) do
      if kind == "delete" and source.nsid == id then
        source.nsid = nil
      end
    end
  end
  if next(new) then
    search(self, new)
  end
end

-- Namespaces without a name: those of processes. Nothing is asked of a process but the text of one link: its command line, say, is not to
-- be had while it waits for a page that does not come.
local function scan(self)
  local alive = {}
  for _, pid in ipairs(procfs.numbers "/proc" or {}) do
    local inode = procfs.inode(procfs.dir(pid), "net")
    if inode and not alive[inode] then
      alive[inode] = true
      if not self.sources[inode] then
        local ok, handle = pcall(netns.open, pid)
        if ok then
          alive[handle.inode] = true -- the process may have moved
          local known, source = self.sources[handle.inode], found(self, handle)
          if source and not known then
            came(self, source)
          end
        end
      end
    end
  end
  local lost = {}
  for inode, source in pairs(self.sources) do
    source.seen = alive[inode]
    if source.found and source.names == 0 and not source.seen then
      source.holder = source.holder and netfds.holder(inode, source.holder)
      if not source.holder then
        lost[#lost + 1] = source
      end
    end
  end
  for _, source in ipairs(lost) do
    drain(self, source, self.room)
    remove(self, source)
    push(self, event(source, "netns_gone"))
  end
  self.next_scan = core.fd.clock() + self.interval -- from its end: the walk may take longer than that
end

-- Seconds until something is to be looked at again without being told to.
local function timer(self)
  if self.more then
    return 0
  end
  local now, at = core.fd.clock(), self.next_scan
  if next(self.pending) then
    at = math.min(at or now + 1, now + 0.002)
  end
  return at and math.max(0, at - now)
end

local function work(self)
  local now = core.fd.clock()
  self.more = false
  if self.directory then
    changes(self)
  end
  local list = {}
  for name in pairs(self.pending) do
    list[#list + 1] = name
  end
  for _, name in ipairs(list) do
    if self.pending[name] < now then
      self.pending[name] = nil -- a file that was left behind
    else
      look(self, name)
    end
  end
  if self.next_scan and self.next_scan <= now then
    scan(self)
  end
  local sources = {}
  for _, source in pairs(self.sources) do
    sources[#sources + 1] = source
  end
  table.sort(sources, function(a, b)
    return a.inode < b.inode
  end)
  for _, source in ipairs(sources) do
    drain(self, source)
  end
  if self.ids and self.ids[1] then
    numbered(self)
  end
end

local function open_of(self, call)
  if not self.group then
    errors.misuse("%s: the monitor is closed", call)
  end
end

---The next event.
---@param seconds? number|string  how long to wait for it (default: for ever; 0: do not wait)
---@return nslua.Event?           nil where the time ran out
function Monitor:next(seconds)
  open_of(self, "monitor.next")
  local deadline = seconds and core.fd.clock() + units.duration(seconds, "monitor.next: seconds")
  while true do
    if self.at <= #self.queue then
      local e = self.queue[self.at]
      self.queue[self.at] = false
      self.at = self.at + 1
      return e
    end
    self.queue, self.at = {}, 1
    work(self)
    if #self.queue == 0 then
      local left = deadline and deadline - core.fd.clock()
      if left and left <= 0 then
        return nil
      end
      local own = timer(self)
      core.fd.poll({ { self.group:number(), "r" } }, left and own and math.min(left, own) or left or own)
    end
  end
end

---Iterate over events, until none comes for that long.
---@param seconds? number|string
---@return fun(): nslua.Event?
function Monitor:each(seconds)
  return function()
    return self:next(seconds)
  end
end

---The handle of a namespace that is listened in: it lives as long as that, and is closed with it.
---@param inode integer  as events have it
---@return nslua.Netns?  nil: it is gone, or was only a name
function Monitor:handle(inode)
  local source = self.sources[inode]
  return source and source.handle or nil
end

---Stop listening.
---@return true
function Monitor:close()
  if self.group then
    for _, source in pairs(self.sources) do
      remove(self, source)
    end
    for _, key in ipairs { "directory", "group", "here" } do
      if self[key] then
        self[key]:close()
        self[key] = nil
      end
    end
  end
  return true
end
Monitor.__close, Monitor.__gc = Monitor.close, Monitor.close

---One fd for all of it: for ns.wait, cqueues, luv, LuaSocket. When it is readable, or timeout() is over, call next(0) until it gives nil.
---@return integer
function Monitor:pollfd()
  open_of(self, "monitor.pollfd")
  return self.group:number()
end
Monitor.getfd = Monitor.pollfd

---@return string
function Monitor:events() -- luacheck: ignore 212
  return "r"
end

---@return number? seconds
function Monitor:timeout()
  return self.at <= #self.queue and 0 or timer(self)
end

function Monitor:__tostring()
  return ("monitor%s"):format(self.group and "" or " (closed)")
end

local known = { netns = "string|table", names = "boolean", existing = "boolean", buffer = "integer", interval = "number|string" }

---Listen for changes: `ns.monitor{ "link", "address", netns = "all" }`.
---
---What is listed (default: link, address and route) is listened for in the current namespace; in those of `netns = { a, b }`; or with "all" in
---every one that has a name, a process, or an id here and an fd of a process: names and ids are seen as they come (netns_new, netns_gone),
---processes by a look every `interval` seconds (default 1). `names = true` listens for nothing else than names that come and go. `existing =
---true` gives what is there first, without a gap. `buffer` is the size of the kernel's queue in bytes: where it overran there is "overrun",
---then what there is as "existing": forget what you knew of that namespace, and go on.
---@param options? table
---@return nslua.Monitor
function M.monitor(options)
  options = options or {}
  if type(options) ~= "table" then
    errors.misuse("monitor: a table expected, got %s", type(options))
  end
  local named = {}
  local self = setmetatable({ sources = {}, queue = {}, at = 1, pending = {}, named = {}, objects = {},
    existing = options.existing, names_only = options.names,
    buffer = options.buffer or BUFFER, room = math.max(MANY, math.floor((tonumber(options.buffer) or BUFFER) / 128)), -- no message takes less of it
    interval = units.duration(options.interval or 1, "monitor: interval") }, Monitor)
  for key, value in pairs(options) do
    if type(key) == "number" then
      if value == "conntrack" then
        errors.misuse "monitor: tracked connections are told of by another protocol: a.conntrack:monitor()"
      elseif value == "sockets" or value == "nftables" then
        errors.misuse("monitor: the kernel's events do not tell of %s; a.%s reads what there is", value, value)
      elseif not groups[value] then
        errors.misuse("monitor: %s", check.unknown("object", value, groups))
      end
      self.objects[#self.objects + 1] = value
    else
      named[key] = value
    end
  end
  check.options("monitor", named, known)
  if options.names then
    self.objects = {}
  elseif #self.objects == 0 then
    self.objects = { "link", "address", "route" }
  end
  if type(options.netns) == "string" and options.netns ~= "all" then
    errors.misuse("monitor: netns is \"all\", a handle or a list of handles or names like { %q }, got %q", options.netns, options.netns)
  elseif type(options.netns) == "table" and not namespace.is(options.netns) and #options.netns == 0 then
    errors.misuse "monitor: netns is an empty list: in which namespaces?"
  end
  local ok, err = pcall(function()
    self.group = errors.check("monitor", nil, core.watch.group())
    self.here = netns.current()
    if options.names then
      watch(self)
      for _, name in ipairs(rundir.names "monitor") do
        look(self, name, true)
      end
    elseif options.netns == "all" then
      watch(self)
      self.ids = {}
      add(self, netns.current(), true)
      for _, name in ipairs(rundir.names "monitor") do
        look(self, name, true)
      end
      scan(self)
      local ids = {}
      for _, id in ipairs(self.here:nsids()) do
        ids[id] = true
      end
      search(self, ids)
    else
      local list = namespace.is(options.netns) and { options.netns } or options.netns
      for _, target in ipairs(list or { netns.current() }) do
        local handle = netns.open(target)
        add(self, handle, not list or not rawequal(handle, target))
      end
    end
    if self.existing then
      for _, source in pairs(self.sources) do
        dump(self, source)
      end
    end
  end)
  if not ok then
    self:close()
    error(err, 0)
  end
  self.started = true
  return self
end

return M
