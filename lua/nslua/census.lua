-- ns.namespace.list: every namespace that processes, threads, fds, sockets and bind mounts show, and the owners and parents above them.

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local procfs = require "nslua.procfs"

local M = {}

local knamespace = core.namespace

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
---@field mounts { path: string, mount_namespace: integer, pid: integer }[]  bind mounts in others: as that process sees them
---@field how_found string   the first of `found`
---@field found string[]     "process", "children" (of a process, to come), "thread", "fd", "socket", "mount", "relation" (owner or parent of
---another)
---@field holder integer?    where no process is in it: one that keeps it

local type_of = {}
for t, word in pairs(knamespace.proc) do
  type_of[word] = t
end

local Census = {}
Census.__index = Census

-- The row of a namespace; `open` is called where the row is new, for what only an fd tells.
function Census:row(t, inode, how, open)
  local row = self.rows[inode]
  if not row then
    row = { type = t, inode = inode, nprocs = 0, paths = {}, mounts = {}, found = {} }
    self.rows[inode] = row
    local fd = open()
    if fd then
      row.id = (knamespace.id(fd))
      self:relations(row, fd)
      fd:close()
    end
  end
  if how ~= "relation" or #row.found == 0 then
    row.found[#row.found + 1] = how
  end
  return row
end

-- Owner and parent, which may be held by nothing else.
function Census:relations(row, fd)
  local owner = knamespace.userns(fd)
  if owner then
    local _, inode = owner:stat()
    row.owner = inode
    if self.wanted.user and not self.rows[inode] then
      self:row("user", inode, "relation", function()
        return owner
      end)
    end
    owner:close()
  end
  if row.type == "user" or row.type == "pid" then
    local parent = knamespace.parent(fd)
    if parent then
      local _, inode = parent:stat()
      row.parent = inode
      if self.wanted[row.type] and not self.rows[inode] then
        self:row(row.type, inode, "relation", function()
          return parent
        end)
      end
      parent:close()
    end
    if row.type == "user" then
      row.user = (knamespace.owner_uid(fd))
    end
  end
end

-- What the scan met can be opened where it met it.
local function reopen(seen)
  local word = knamespace.proc[seen.type]
  if seen.how == "fd" then
    return (knamespace.open(("/proc/%.0f/fd/%.0f"):format(seen.pid, seen.fd)))
  elseif seen.how == "socket" then
    local pidfd = knamespace.pidfd(seen.pid)
    local copy = pidfd and knamespace.getfd(pidfd, seen.fd)
    local fd = copy and knamespace.of_socket(copy)
    for _, held in ipairs { pidfd or false, copy or false } do
      if held then
        held:close()
      end
    end
    return fd
  elseif seen.how == "children" then
    word = word .. "_for_children"
  end
  return (knamespace.open(procfs.dir(seen.pid, seen.tid) .. "/ns/" .. word))
end

-- Processes, threads, fds, sockets: one walk, in C. Returns the mount namespaces that processes are in.
function Census:scan(flags, fds)
  local mount = knamespace.flags.mount
  local all = flags % (2 * mount) >= mount and flags or flags + mount
  local seen, unreadable, errno = knamespace.census(all, fds)
  errors.check("namespace.list", nil, seen, unreadable, errno)
  local views = {}
  for _, s in ipairs(seen) do
    if s.type == "mount" and s.how ~= "fd" then
      views[#views + 1] = { inode = s.inode, dir = procfs.dir(s.pid, s.tid), pid = s.pid }
    end
  end
  for _, s in ipairs(seen) do
    if self.wanted[s.type] then
      self.rows[s.inode] = { type = s.type, inode = s.inode, nprocs = s.nprocs, pid = s.first, paths = {}, mounts = {}, found = s.found,
        holder = not s.first and s.pid or nil }
    end
  end
  for _, s in ipairs(seen) do
    local row = self.rows[s.inode]
    local fd = row and reopen(s)
    if fd then
      local _, inode = fd:stat()
      if inode == s.inode then -- else the number is another's by now
        row.id = (knamespace.id(fd))
        self:relations(row, fd)
      end
      fd:close()
    end
  end
  return views, unreadable
end

-- Bind mounts: here, and in every mount namespace that a process is in.
function Census:mounts(views)
  local here = procfs.inode("/proc/thread-self", "mnt")
  local function look(dir, view)
    for _, mount in ipairs(procfs.namespace_mounts(dir) or {}) do
      local t = type_of[mount.word]
      if t and self.wanted[t] then
        local before = self.rows[mount.inode]
        local row = self:row(t, mount.inode, "mount", function()
          local fd = knamespace.open((view and dir .. "/root" or "") .. mount.path)
          local _, inode = nil, nil
          if fd then
            _, inode = fd:stat()
          end
          if fd and inode ~= mount.inode then
            fd:close()
            fd = nil
          end
          return fd
        end)
        if before and row.found[#row.found - 1] == "mount" then
          row.found[#row.found] = nil
        end
        if view then
          row.mounts[#row.mounts + 1] = { path = mount.path, mount_namespace = view.inode, pid = view.pid }
        else
          row.paths[#row.paths + 1] = mount.path
        end
      end
    end
  end
  look "/proc/thread-self"
  for _, view in ipairs(views) do
    if view.inode ~= here then
      look(view.dir, view)
    end
  end
end

---Every namespace that can be found. Rows are sorted by type, then inode; `complete` is false where processes could not be looked at
---(`unreadable` of them) or were not asked for their fds; `missed` says what no walk over /proc can find.
---@param filter? { type: string|string[], fds: boolean }  "net", "net,user" or a list (default: all); fds = false: no open files and sockets,
---which is several times faster
---@return nslua.NamespaceRow[]
function M.list(filter)
  filter = filter or {}
  check.options("namespace.list", filter, { type = "string|table", fds = "boolean" })
  local self = setmetatable({ rows = {}, wanted = {} }, Census)
  local types, flags = namespace.typelist("namespace.list", filter.type or "all")
  for _, t in ipairs(types) do
    self.wanted[t] = true
  end
  local views, unreadable = self:scan(flags, filter.fds ~= false)
  self:mounts(views)
  local out = {}
  for _, row in pairs(self.rows) do
    row.how_found = row.found[1]
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
  out.complete = unreadable == 0 and filter.fds ~= false
  out.missed = { "fds on their way through a unix socket", "bind mounts in a mount namespace without a process" }
  return out
end

return M
