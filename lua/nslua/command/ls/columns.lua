-- The columns of `nslua ls`: what they say of a row of ns.namespace.list.

local core = require "nslua.core"
local procfs = require "nslua.procfs"

local M = {}

---@type table<string, nslua.cli.Column>
M.known = {}
M.order = {}

local function column(name, help, fields, get)
  local c = fields or {}
  c.name, c.help, c.get = name, help, get
  M.known[name] = c
  M.order[#M.order + 1] = name
end

local words = core.namespace.proc

local names = {}
local function user_name(uid)
  if names[uid] == nil then
    names[uid] = core.idmap.name(uid) or ("%d"):format(uid)
  end
  return names[uid]
end

-- What keeps a namespace without a process.
function M.holder(row)
  local command = row.holder and procfs.command(row.holder)
  local whose = row.holder and ("%d%s"):format(row.holder, command and " " .. command or "") or "?"
  if row.how_found == "mount" then
    local m = row.mounts[1]
    if row.paths[1] then
      return ("[mounted on %s]"):format(row.paths[1])
    end
    return m.pid and ("[mounted on %s in the mount namespace of %d]"):format(m.path, m.pid)
      or ("[mounted on %s in mount namespace %d]"):format(m.path, m.mount_namespace)
  elseif row.how_found == "relation" then
    return row.type == "user" and "[owner or parent of others]" or "[parent of others]"
  elseif row.how_found == "kernel" then
    return "[held by what no process shows]"
  elseif row.how_found == "children" then
    return ("[for the children of %s]"):format(whose)
  end
  return ("[%s of %s]"):format(row.how_found, whose)
end

-- Whether pids in /proc are those of this process's pid namespace: it has one there.
local pids_are_ours
local function ours()
  if pids_are_ours == nil then
    pids_are_ours = (procfs.read "/proc/self/status" or ""):match "\nNSpid:\t%d+\n" ~= nil
  end
  return pids_are_ours
end

local function parent_pid(row)
  local parent = row.pid and ours() and core.namespace.parent_of(row.pid)
  if parent then
    return parent
  end
  local stat = row.pid and procfs.read(procfs.dir(row.pid) .. "/stat")
  return stat and tonumber(stat:match "^.*%) %a (%d+)")
end
M.parent_pid = parent_pid

-- lsns(8) shows a kernel thread without brackets.
local function command(row)
  if not row.pid then
    return M.holder(row)
  end
  return row.command and row.command:gsub("^%[(.*)%]$", "%1") or ""
end

-- A container's id stands in its cgroup: 64 digits. Its name, and its engine where that knows it.
local function container(row)
  local text = row.pid and procfs.read(procfs.dir(row.pid) .. "/cgroup") or ""
  local id = text:match(("%x"):rep(64))
  if not id then
    return nil
  end
  local ok, found = pcall(function()
    local c <close> = require "nslua.container".find(id)
    return { c.name, c.engine }
  end)
  return ok and found[1] or id:sub(1, 12), ok and found[2] or nil
end
M.container = container

column("NS", "inode number of the namespace", { right = true, number = true }, function(row) return row.inode end)
column("TYPE", "its type", { hint = 5 }, function(row) return words[row.type] end)
column("PATH", "a path of it in /proc", nil, function(row)
  return row.pid and ("/proc/%d/ns/%s"):format(row.pid, words[row.type]) or nil
end)
column("NPROCS", "processes in it", { right = true, number = true }, function(row) return row.nprocs end)
column("PID", "the lowest of their pids", { right = true, number = true, hint = 5 }, function(row) return row.pid end)
column("PPID", "its parent", { right = true, number = true, hint = 5 }, parent_pid)
column("COMMAND", "its command line, or what holds the namespace", { trunc = true }, command)
column("UID", "its user", { right = true, number = true }, function(row) return row.user end)
column("USER", "the name of that user", nil, function(row) return row.user and user_name(row.user) end)
column("NETNSID", "id that a network namespace has here", { right = true }, function(row)
  return row.type == "net" and (row.nsid and ("%d"):format(row.nsid) or "unassigned") or nil
end)
column("NSFS", "where it is mounted", nil, function(row) return row.paths end)
column("PNS", "the namespace above (pid, user)", { right = true, number = true }, function(row) return row.parent or 0 end)
column("ONS", "the user namespace that owns it", { right = true, number = true }, function(row) return row.owner or 0 end)
column("ID", "its 64-bit id, which is never used again (Linux 6.18)", { right = true, number = true }, function(row) return row.id end)
column("FOUND", "how it was found: process, children, thread, fd, socket, mount, relation, kernel", nil, function(row)
  return table.concat(row.found, ",")
end)
column("CONTAINER", "the container of its first process", nil, container)

---The columns that a list names: "NS,TYPE", or "+PATH" for the usual ones and those.
---@param list string
---@param usual string[]
---@return string[]?
---@return string? unknown  the word that is none; "": nothing stands between two commas
function M.named(list, usual)
  local out = {}
  if list:sub(1, 1) == "+" then
    out = { table.unpack(usual) }
    list = list:sub(2)
  end
  for word in (list .. ","):gmatch "([^,]*)," do
    if not M.known[word:upper()] then
      return nil, word
    end
    out[#out + 1] = word:upper()
  end
  return out
end

return M
