-- nslua ls: which rows, in which order, as which tree.

local columns = require "nslua.command.ls.columns"
local core = require "nslua.core"
local host = require "nslua.host"
local ns = require "nslua"
local procfs = require "nslua.procfs"
local table_of = require "nslua.command.cli.columns"

local USUAL = { "NS", "TYPE", "NPROCS", "PID", "USER", "COMMAND" }
local USUAL_PROCESSES = { "PID", "PPID", "USER", "COMMAND" }
local USUAL_NET = { "NS", "TYPE", "NPROCS", "PID", "USER", "NETNSID", "NSFS", "COMMAND" }

local function fail(status, format, ...)
  io.stderr:write("nslua ls: ", format:format(...), "\n")
  return status
end

-- A whole number as strtol(3) reads it, within a range; nil, and what follows the message.
local function number(text, least, most)
  local digits = text:match "^%s*%+?(%-?%d+)$"
  local n = digits and math.tointeger(tonumber(digits))
  if n and n >= least and n <= most then
    return n
  end
  return nil, digits and ": Numerical result out of range" or ""
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

-- The lines in the order in which lsns(8) has them: after what they hang on, or after their owners where nothing is above them.
local function by_relation(lines, key)
  local at, out = {}, {}
  for _, line in ipairs(lines) do
    at[line.row.inode] = line
  end
  local function add(line)
    local parent, owner = at[line.row[key]], at[line.row.owner]
    if at[line.row.inode] then
      at[line.row.inode] = nil
      if parent or owner then
        add(parent or owner)
      end
      out[#out + 1] = line
    end
  end
  for _, line in ipairs(lines) do
    add(line)
  end
  for _, line in ipairs(out) do
    at[line.row.inode] = line
  end
  for _, line in ipairs(out) do
    local parent = at[line.row[key]]
    if parent then
      hang(line, parent)
    end
  end
  return out
end

-- What the columns say of a row; for --nowrap, several mounts on one line.
local function line_of(row, needed, o)
  local line = { row = row }
  for name in pairs(needed) do
    line[name] = columns.known[name].get(row)
  end
  if o.nowrap and line.NSFS then
    line.NSFS = table.concat(line.NSFS, ",")
  end
  return line
end

local function needed_for(wanted, filter)
  local needed = {}
  for _, name in ipairs(wanted) do
    needed[name] = true
  end
  if filter then
    filter.columns(needed)
  end
  return needed
end

local function layout(wanted, branches_in)
  local list = {}
  for i, name in ipairs(wanted) do
    local c = columns.known[name]
    local branches = name == branches_in
    list[i] = { name = name, right = c.right and not branches, number = c.number, hint = c.hint, trunc = c.trunc, tree = branches }
  end
  return list
end

-- The row of a namespace; what only an open file or a socket holds is looked for where nothing else shows it.
local function find(o, inode)
  for _, fds in ipairs { false, not o["no-fds"] or nil } do
    for _, row in ipairs(ns.namespace.list { type = o.types, fds = fds }) do
      if row.inode == inode then
        return row
      end
    end
  end
end

-- The processes of one namespace.
local function processes(o, wanted, filter, before)
  local inode = o[1]
  local row = find(o, inode)
  if not row then
    return nil, fail(1, "not found namespace: %d", inode)
  end
  local needed = needed_for(wanted, filter)
  if needed.NETNSID then
    add_nsids { row }
  end
  local lines, at = {}, {}
  for _, pid in ipairs(procfs.numbers "/proc") do
    if procfs.inode(procfs.dir(pid), core.namespace.proc[row.type]) == inode then
      local st = core.file.stat(procfs.dir(pid))
      if st then
        local line = line_of(setmetatable({ pid = pid, command = procfs.command(pid), user = st.uid }, { __index = row }), needed, o)
        if not filter or filter.accepts(line) then
          lines[#lines + 1] = line
          at[pid] = line
        end
      end
    end
  end
  if before then
    for pid, line in pairs(at) do
      line.COMMAND = before[pid] and line.COMMAND or "+ " .. (line.COMMAND or "")
    end
  end
  if row.nprocs == 0 and not o.json then
    io.stderr:write(("nslua ls: no process is in %d %s\n"):format(inode, columns.holder(row)))
  end
  for _, line in ipairs(lines) do
    local parent = not o.list and at[columns.parent_pid(line.row)]
    if parent then
      hang(line, parent)
    end
  end
  table_of.print("namespaces", layout(wanted, not (o.list or o.raw) and "COMMAND" or nil), lines, o) -- as lsns(8) calls it
  return at
end

-- Namespaces that were asked for, and those above them that the tree hangs them on.
local function with_owners(rows, asked_for, key)
  local at, keep, out = {}, {}, {}
  for _, row in ipairs(rows) do
    at[row.inode] = row
  end
  for _, row in ipairs(rows) do
    local up = asked_for(row) and row
    while up and not keep[up.inode] do
      keep[up.inode] = true
      up = at[up[key]] or key == "parent" and at[up.owner]
    end
  end
  for _, row in ipairs(rows) do
    if keep[row.inode] then
      out[#out + 1] = row
    end
  end
  out.complete, out.unreadable, out.hides, out.missed = rows.complete, rows.unreadable, rows.hides, rows.missed
  return out
end

-- One listing.
local function show(o, wanted, filter, before)
  local tree = o.tree or not (o.list or o.raw) and "process"
  local related = tree and tree ~= "process"
  local rows = ns.namespace.list { type = not related and o.types or nil, fds = not o["no-fds"] }
  local own
  if o.task then
    own = {}
    for _, word in pairs(core.namespace.proc) do
      local inode = procfs.inode(procfs.dir(o.task), word)
      own[inode or 0] = true
    end
  end
  if related then
    local types = {}
    for _, t in ipairs(o.types or {}) do
      types[t] = true
    end
    rows = with_owners(rows, function(row)
      return (not o.types or types[row.type]) and (not own or own[row.inode])
    end, tree)
    own = nil
  end
  table.sort(rows, function(a, b)
    return a.inode < b.inode
  end)
  local needed, lines, inodes = needed_for(wanted, filter), {}, {}
  if needed.NETNSID then
    add_nsids(rows)
  end
  for _, row in ipairs(rows) do
    inodes[row.inode] = true
    if (not own or own[row.inode]) and not (o.persistent and row.nprocs > 0) then
      local line = line_of(row, needed, o)
      if before and not before[row.inode] then
        line.COMMAND = "+ " .. (line.COMMAND or "")
      end
      if not filter or filter.accepts(line) then
        lines[#lines + 1] = line
      end
    end
  end
  if tree == "process" then
    by_process(lines)
  elseif tree then
    lines = by_relation(lines, tree)
  end
  o.more = rows.complete and {} or { { "complete", false }, { "unreadable", rows.unreadable }, { "missed", rows.missed } }
  table_of.print("namespaces", layout(wanted, tree and (tree == "process" and "COMMAND" or "NS") or nil), lines, o)
  if host.is_terminal(2) and not o.json then
    io.stdout:flush()
    if rows.unreadable > 0 then
      io.stderr:write(("%d processes could not be looked at: as root the list is complete\n"):format(rows.unreadable))
    end
    if rows.hides and rows.hides ~= "noaccess" then
      io.stderr:write(("/proc hides processes of others (hidepid=%s): as root the list is complete\n"):format(rows.hides))
    end
  end
  return inodes
end

local function list_columns(o)
  local lines = {}
  for i, name in ipairs(columns.order) do
    local c = columns.known[name]
    lines[i] = { HOLDER = name, TYPE = c.number and "<integer>" or "<string>", DESCRIPTION = c.help }
  end
  o.noheadings = true
  table_of.print("lsns-columns", { { name = "HOLDER", right = true }, { name = "TYPE" }, { name = "DESCRIPTION" } }, lines, o)
  return 0
end

---@param o table
---@return integer status
return function(o)
  if o.json and o.raw then
    return fail(1, "mutually exclusive arguments: --json --raw")
  elseif o["list-columns"] then
    return list_columns(o)
  end
  local types, usual = {}, USUAL
  for i, word in ipairs(o.type or {}) do
    local ok, t = pcall(ns.namespace.type, "ls", word)
    if not ok then
      return fail(1, "unknown namespace type: %s", word)
    end
    types[i] = t
    usual = t == "net" and USUAL_NET or usual
  end
  o.types = #types > 0 and types or nil
  if o.task then
    local pid, reason = number(o.task, -2 ^ 31, 2 ^ 31 - 1)
    if not pid then
      return fail(1, "invalid PID argument: '%s'%s", o.task, reason)
    elseif o[1] then
      return fail(1, "--task is mutually exclusive with <namespace>")
    end
    o.task = pid ~= 0 and pid or nil -- as lsns(8): all of them
  end
  if o[1] then
    local inode, reason = number(o[1], 0, math.maxinteger)
    if not inode then
      return fail(1, "invalid namespace argument: '%s'%s", o[1], reason)
    end
    o[1] = inode
  end
  if o.tree == true then
    o.tree = "owner"
  elseif o.tree then
    o.tree = o.tree:gsub("^=", "")
    if o.tree ~= "owner" and o.tree ~= "parent" and o.tree ~= "process" then
      return fail(1, "unknown tree type: %s", o.tree)
    end
  end
  usual = o[1] and USUAL_PROCESSES or usual
  local wanted, unknown = usual
  if o["output-all"] then
    wanted = columns.order
  end
  if o.output then
    wanted, unknown = columns.named(o.output, wanted)
    if unknown == "" then
      return fail(1, "empty column name in '%s'", o.output)
    elseif not wanted then
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
  local list = o[1] and processes or show
  if not o.watch then
    local _, status = list(o, wanted, filter)
    return status or 0
  end
  local seconds = o.watch == true and 2 or tonumber(o.watch)
  if not seconds or seconds <= 0 or seconds == math.huge then
    return fail(1, "invalid interval: '%s'", tostring(o.watch))
  end
  local before
  while true do
    if host.is_terminal(1) then
      io.write "\27[H\27[2J"
    end
    local status
    before, status = list(o, wanted, filter, before)
    if not before then
      return status
    end
    io.stdout:flush()
    ns.wait({}, seconds)
  end
end
