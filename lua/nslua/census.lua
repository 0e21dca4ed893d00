-- ns.namespace.list: every namespace that processes, threads, fds, sockets and bind mounts show, and the owners and parents above them.

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local procfs = require "nslua.procfs"

local M = {}

local knamespace = core.namespace

---@class nslua.NamespaceMount
---@field path string              as that process sees it
---@field mount_namespace integer  its inode
---@field pid integer?            a process that sees it; nil: none is there

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
---@field mounts nslua.NamespaceMount[]  bind mounts in others, those that a process is in
---@field how_found string   the first of `found`
---@field found string[]     "process", "children" (of a process, to come), "thread", "fd", "socket", "mount", "relation" (owner or parent of
---another), "kernel" (nothing shows what holds it)
---@field holder integer?    where no process is in it: one that keeps it

---@class nslua.NamespaceList: nslua.NamespaceRow[]
---@field complete boolean    whether every process could be looked at, and all of it was
---@field unreadable integer  processes that could not
---@field hides string?       /proc hides processes of others from this one: "invisible", "ptraceable", or "noaccess" (these are unreadable)
---@field missed string[]     what this list cannot have in it: whoever asks, and then what was not asked for, or not to be seen

-- What no list can have in it: the kernel lists the namespaces that are open somewhere since 6.19, mount namespaces since 6.12, to those who
-- have every right.
local function hidden(listed, mounts)
  if listed then
    return { "held only by a socket that no process has open" }
  end
  local out = { "held only by an fd on its way through a unix socket", "held only by a file registered with io_uring" }
  if not mounts then
    out[3] = "mounted only in a mount namespace without a process"
  end
  return out
end
local NOT_ASKED = { fds = "held only by an open fd", sockets = "held only by a socket" }

---Every namespace that can be found, sorted by type, then inode. One walk of /proc in C: the links of processes and, where there is more than
---one, threads; open files; each socket once; the bind mounts of every mount namespace with a process, and where the kernel lists them (6.12) of
---those without; all that are open somewhere where the kernel lists these (6.19). Looking at open files takes most of the
---time where there are many. Of more than 200 processes a copy of this one looks at its share, which no wait() and no SIGCHLD shows.
---@param filter? { type: string|string[], fds: boolean, sockets: boolean }  type: "net", "net,user" or a list (default: all);
---`fds = false`: do not look at open files, nor sockets; `sockets = false`: do not ask sockets for their network namespace
---@return nslua.NamespaceList
function M.list(filter)
  filter = filter or {}
  check.options("namespace.list", filter, { type = "string|table", fds = "boolean", sockets = "boolean" })
  local _, flags = namespace.typelist("namespace.list", filter.type or "all")
  local fds = filter.fds ~= false
  local sockets = fds and filter.sockets ~= false
  local rows, unreadable, errno, listed, mounts = core.census.scan(flags, fds, sockets)
  errors.check("namespace.list", nil, rows, unreadable, errno)
  local commands = {}
  for _, row in ipairs(rows) do
    local pid = row.pid
    if pid then
      commands[pid] = commands[pid] or procfs.command(pid)
      row.command = commands[pid]
    end
  end
  rows.unreadable = unreadable
  rows.missed = hidden(listed, mounts)
  local always = #rows.missed
  if not fds then
    table.insert(rows.missed, NOT_ASKED.fds)
  end
  local net = knamespace.flags.net
  if not sockets and flags % (2 * net) >= net then
    table.insert(rows.missed, NOT_ASKED.sockets)
  end
  rows.hides = procfs.hides()
  if rows.hides and (rows.hides ~= "noaccess" or unreadable > 0) then
    table.insert(rows.missed, ("of processes that /proc hides (it is mounted with hidepid=%s)"):format(rows.hides))
  end
  rows.complete = unreadable == 0 and #rows.missed == always
  return rows
end

return M
