-- ns.namespace.list: every namespace that processes, threads, fds and bind mounts show, and the owners and parents above them.

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local procfs = require "nslua.procfs"

local M = {}

local knamespace = core.namespace
local E = core.errno

---@class nslua.NamespaceRow
---@field type string
---@field inode integer
---@field id integer?        64-bit id (Linux 6.18)
---@field owner integer?     inode of the user namespace that owns it; nil where this process may not see it
---@field parent integer?    of a user or pid namespace: inode of the one above
---@field nprocs integer     processes whose first thread is in it
---@field pid integer?       the first of them
---@field command string?    its command line
---@field user integer?      its uid; of a user namespace without process: the uid that made it
---@field paths string[]     bind mounts in this mount namespace
---@field how_found string   "process", "children" (of a process, to come), "thread", "mount", "fd" or "relation" (owner or parent of another)

-- word in /proc/PID/ns -> type, how it is found there
local links = {}
for t, word in pairs(knamespace.proc) do
  links[#links + 1] = { word = word, type = t, how = "process" }
end
links[#links + 1] = { word = "pid_for_children", type = "pid", how = "children" }
links[#links + 1] = { word = "time_for_children", type = "time", how = "children" }
local type_of = {}
for t, word in pairs(knamespace.proc) do
  type_of[word] = t
end

local Census = {}
Census.__index = Census

-- The row of a namespace; `open` is called when it is new, for what only an fd tells.
function Census:row(t, inode, how, open)
  local row = self.rows[inode]
  if row or not self.wanted[t] then
    return row
  end
  row = { type = t, inode = inode, nprocs = 0, paths = {}, how_found = how }
  self.rows[inode] = row
  local fd = open()
  if fd then
    row.id = (knamespace.id(fd))
    self:relations(row, fd)
    fd:close()
  end
  return row
end

-- Owner and parent, which may be held by nothing else.
function Census:relations(row, fd)
  local owner = knamespace.userns(fd)
  if owner then
    local _, inode = owner:stat()
    row.owner = inode
    self:row("user", inode, "relation", function()
      return owner
    end)
    owner:close()
  end
  if row.type == "user" or row.type == "pid" then
    local parent = knamespace.parent(fd)
    if parent then
      local _, inode = parent:stat()
      row.parent = inode
      self:row(row.type, inode, "relation", function()
        return parent
      end)
      parent:close()
    end
    if row.type == "user" then
      row.user = (knamespace.owner_uid(fd))
    end
  end
end

function Census:process(pid)
  local dir = procfs.dir(pid)
  local readable = true
  for _, link in ipairs(links) do
    if self.wanted[link.type] then
      local inode, errno = procfs.inode(dir, link.word)
      if not inode and errno and errno ~= E.ENOENT and errno ~= E.ESRCH then
        readable = false
        break
      end
      local row = inode and self:row(link.type, inode, link.how, function()
        return (knamespace.open(dir .. "/ns/" .. link.word))
      end)
      if row and link.how == "process" then
        row.nprocs = row.nprocs + 1
        if not row.pid then
          row.pid = pid
          row.how_found = "process"
        end
      end
    end
  end
  return readable
end

function Census:threads(pid)
  for _, tid in ipairs(procfs.threads(pid)) do
    local dir = procfs.dir(pid, tid)
    for _, link in ipairs(links) do
      local inode = self.wanted[link.type] and procfs.inode(dir, link.word)
      if inode then
        self:row(link.type, inode, "thread", function()
          return (knamespace.open(dir .. "/ns/" .. link.word))
        end)
      end
    end
  end
end

function Census:fds(pid)
  local dir = procfs.dir(pid) .. "/fd"
  local fds, _, errno = procfs.numbers(dir)
  for _, fd in ipairs(fds or {}) do
    local path = ("%s/%.0f"):format(dir, fd)
    local text, inode = knamespace.peek(path)
    if text and inode and not self.rows[inode] then
      -- Opened by the name of a bind mount, the link is that name: the fd itself tells its type.
      local fd_open = knamespace.open(path)
      local _, t
      if fd_open then
        _, t = knamespace.type(fd_open)
      end
      if t and self.wanted[t] then
        self:row(t, inode, "fd", function()
          return fd_open
        end)
      end
      if fd_open then
        fd_open:close()
      end
    end
  end
  return fds ~= nil or errno == E.ENOENT or errno == E.ESRCH
end

function Census:mounts()
  for _, mount in ipairs(procfs.namespace_mounts "/proc/thread-self" or {}) do
    local t = type_of[mount.word]
    if t and self.wanted[t] then
      local row = self:row(t, mount.inode, "mount", function()
        return (knamespace.open(mount.path))
      end)
      row.paths[#row.paths + 1] = mount.path
    end
  end
end

---Every namespace that can be found. Rows are sorted by type, then inode; `complete` is false where processes could not be looked at
---(`unreadable` of them). Not found on any kernel without listns(2): an fd in flight in a unix socket, a bind mount in a mount namespace
---without a process.
---@param filter? { type: string|string[] }  "net", "net,user" or a list (default: all)
---@return nslua.NamespaceRow[]
function M.list(filter)
  filter = filter or {}
  check.options("namespace.list", filter, { type = "string|table" })
  local self = setmetatable({ rows = {}, wanted = {} }, Census)
  for _, t in ipairs((namespace.typelist("namespace.list", filter.type or "all"))) do
    self.wanted[t] = true
  end
  local pids, message, errno = procfs.numbers "/proc"
  errors.check("namespace.list", nil, pids, message, errno)
  local unreadable = 0
  for _, pid in ipairs(pids) do
    if self:process(pid) then
      self:threads(pid)
      if not self:fds(pid) then
        unreadable = unreadable + 1
      end
    else
      unreadable = unreadable + 1
    end
  end
  self:mounts()
  local out = {}
  for _, row in pairs(self.rows) do
    if row.pid then
      row.command = procfs.command(row.pid)
      local st = core.file.stat(procfs.dir(row.pid))
      row.user = st and st.uid or row.user
    end
    out[#out + 1] = row
  end
  table.sort(out, function(a, b)
    if a.type ~= b.type then
      return a.type < b.type
    end
    return a.inode < b.inode
  end)
  out.unreadable = unreadable
  out.complete = unreadable == 0
  return out
end

return M
