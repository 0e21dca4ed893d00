-- nslua ls: which rows, in which order, as which tree.

local columns = require "nslua.command.ls.columns"
local core = require "nslua.core"
local host = require "nslua.host"
local ns = require "nslua"
local procfs = require "nslua.procfs"
local table_of = require "nslua.command.cli.columns"

local USUAL = { "NS", "TYPE", "NPROCS", "PID", "USER", "COMMAND" }
local USUAL_NET = { "NS", "TYPE", "NPROCS", "PID", "USER", "NETNSID", "NSFS", "COMMAND" }

local function fail(status, format, ...)
  io.stderr:write("nslua ls: ", format:format(...), "\n")
  return status
end

-- Ids that network namespaces have here: asked only for a column that shows them.
local function add_nsids(rows)
  local here <close> = ns.netns.current()
  for _, row in ipairs(rows) do
    local target = row.type == "net" and (row.pid or row.paths[1])
    if target then
      local ok, id = pcall(here.nsid_of, here, target)
      row.nsid = ok and id or nil
    end
  end
end

-- A line's place in the tree.
local function hang(line, parent)
  line.parent = parent
  parent.children = parent.children or {}
  table.insert(parent.children, line)
end

-- As lsns(8) does it: under the line that showed the parent process last.
local function by_process(lines)
  local shown = {}
  for _, line in ipairs(lines) do
    local pid = line.row.pid
    local parent = pid and shown[columns.parent_pid(line.row)]
    if parent then
      hang(line, parent)
    end
    if pid then
      shown[pid] = line
    end
  end
end

local function by_relation(lines, key)
  local at = {}
  for _, line in ipairs(lines) do
    at[line.row.inode] = line
  end
  for _, line in ipairs(lines) do
    local parent = at[line.row[key]] or key == "parent" and at[line.row.owner]
    if parent and parent ~= line then
      hang(line, parent)
    end
  end
end

-- The processes of one namespace.
local function processes(o, inode)
  local rows = ns.namespace.list { fds = false }
  local row
  for _, r in ipairs(rows) do
    row = r.inode == inode and r or row
  end
  if not row then
    return fail(1, "not found namespace: %d", inode)
  end
  local lines, at = {}, {}
  for _, pid in ipairs(procfs.numbers "/proc") do
    if procfs.inode(procfs.dir(pid), core.namespace.proc[row.type]) == inode then
      local p = { pid = pid, command = procfs.command(pid) }
      local st = core.file.stat(procfs.dir(pid))
      if st then
        p.user = st.uid
        local line = { row = p, PID = pid, PPID = columns.parent_pid(p), USER = columns.known.USER.get(p), COMMAND = columns.known.COMMAND.get(p) }
        lines[#lines + 1] = line
        at[pid] = line
      end
    end
  end
  for _, line in ipairs(lines) do
    local parent = at[line.PPID]
    if parent and not o.list then
      hang(line, parent)
    end
  end
  local list = {}
  for i, name in ipairs { "PID", "PPID", "USER", "COMMAND" } do
    local c = columns.known[name]
    list[i] = { name = name, right = c.right, number = c.number, trunc = c.trunc, tree = name == "COMMAND" and not o.list and not o.raw }
  end
  table_of.print("namespaces", list, lines, o) -- as lsns(8) calls it
  return 0
end

-- One listing.
local function show(o, wanted, filter, before)
  local rows = ns.namespace.list { type = o.types, fds = not o["no-fds"] }
  local own
  if o.task then
    own = {}
    for _, word in pairs(core.namespace.proc) do
      local inode = procfs.inode(procfs.dir(tonumber(o.task)), word)
      own[inode or 0] = true
    end
  end
  table.sort(rows, function(a, b)
    return a.inode < b.inode
  end)
  local needed, lines, inodes = {}, {}, {}
  for _, name in ipairs(wanted) do
    needed[name] = true
  end
  if filter then
    filter.columns(needed)
  end
  if needed.NETNSID then
    add_nsids(rows)
  end
  for _, row in ipairs(rows) do
    inodes[row.inode] = true
    if (not own or own[row.inode]) and not (o.persistent and row.nprocs > 0) then
      local line = { row = row }
      for name in pairs(needed) do
        line[name] = columns.known[name].get(row)
      end
      if o.nowrap and line.NSFS then
        line.NSFS = table.concat(line.NSFS, ",")
      end
      if before and not before[row.inode] then
        line.COMMAND = "+ " .. (line.COMMAND or "")
      end
      if not filter or filter.accepts(line) then
        lines[#lines + 1] = line
      end
    end
  end
  local tree = not (o.list or o.raw) and (o.tree or "process")
  if tree == "process" then
    by_process(lines)
  elseif tree then
    by_relation(lines, tree == "parent" and "parent" or "owner")
  end
  local list = {}
  for i, name in ipairs(wanted) do
    local c = columns.known[name]
    local branches = tree and name == (tree == "process" and "COMMAND" or "NS")
    list[i] = { name = name, right = c.right and not branches, number = c.number, hint = c.hint, trunc = c.trunc, tree = branches }
  end
  o.more = rows.complete and {} or { { "complete", false }, { "unreadable", rows.unreadable } }
  table_of.print("namespaces", list, lines, o)
  if rows.unreadable > 0 and host.is_terminal(2) and not o.json then
    io.stdout:flush()
    io.stderr:write(("%d processes could not be looked at: as root the list is complete\n"):format(rows.unreadable))
  end
  return inodes
end

---@param declaration nslua.cli.Declaration
---@param o table
---@return integer status
return function(declaration, o)
  if o["list-columns"] then
    for _, name in ipairs(columns.order) do
      print(("%12s  %s"):format(name, columns.known[name].help))
    end
    return 0
  elseif o[2] then
    return declaration:wrong("too many arguments")
  end
  local types = {}
  for i, word in ipairs(o.type or {}) do
    local ok, t = pcall(ns.namespace.type, "ls", word)
    if not ok then
      return fail(1, "unknown namespace type: %s", word)
    end
    types[i] = t
  end
  o.types = #types > 0 and types or nil
  if o.task and not o.task:find "^%d+$" then
    return fail(1, "invalid PID argument: '%s'", o.task)
  elseif o[1] then
    local inode = math.tointeger(tonumber(o[1]))
    if o.task then
      return declaration:wrong("--task is mutually exclusive with <namespace>")
    end
    return inode and processes(o, inode) or not inode and fail(1, "invalid namespace argument: '%s'", o[1]) or 1
  end
  if o.tree == true then
    o.tree = "owner"
  elseif o.tree then
    o.tree = o.tree:gsub("^=", "")
    if o.tree ~= "owner" and o.tree ~= "parent" and o.tree ~= "process" then
      return fail(1, "unknown tree type: %s", o.tree)
    end
  end
  local usual = #types == 1 and types[1] == "net" and USUAL_NET or USUAL
  if o.tree and o.tree ~= "process" then
    table.sort(types)
  end
  local wanted, unknown = usual
  if o["output-all"] then
    wanted = columns.order
  elseif o.output then
    wanted, unknown = columns.named(o.output, usual)
    if not wanted then
      return fail(1, "unknown column: %s", unknown)
    end
  end
  local filter
  if o.filter then
    local message
    filter, message = require "nslua.command.ls.filter"(o.filter, columns.known)
    if not filter then
      return fail(1, "failed to parse filter: %s", message)
    end
  end
  if not o.watch then
    show(o, wanted, filter)
    return 0
  end
  local seconds = o.watch == true and 2 or tonumber(o.watch)
  if not seconds or seconds <= 0 then
    return fail(1, "invalid interval: '%s'", tostring(o.watch))
  end
  local before
  while true do
    if host.is_terminal(1) then
      io.write "\27[H\27[2J"
    end
    before = show(o, wanted, filter, before)
    io.stdout:flush()
    ns.wait({}, seconds)
  end
end
