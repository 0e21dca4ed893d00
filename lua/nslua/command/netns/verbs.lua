-- What ip netns does with names, with its words and exit statuses.

local core = require "nslua.core"
local errors = require "nslua.error"
local ns = require "nslua"
local words = require "nslua.command.netns.words"

local M = {}

local PATH = words.path
local fail, shown, try = words.fail, words.shown, words.try

local function file(name)
  return ('namespace file "%s%s"'):format(PATH, name)
end

function M.list(o)
  local rows = ns.netns.list()
  for _, row in ipairs(rows) do
    if o.from then
      local ok, id = pcall(o.from.nsid_of, o.from, PATH .. row.name)
      row.id = row.alive and ok and id or nil
    end
    row.stale = not row.alive or nil
  end
  if o.json then
    require "nslua.command.netns.json"(o, rows)
    return 0
  end
  for _, row in ipairs(rows) do
    io.write(shown(row.name), row.id and (" (id: %d)"):format(row.id) or "", row.stale and " (stale)" or "", "\n")
  end
  return 0
end

function M.add(o)
  local name = o[1]
  if not name then
    return fail(1, "No netns name specified")
  end
  local handle, status = try(1, "Cannot create " .. file(name), ns.netns.add, name)
  if not handle then
    return status
  end
  handle:close()
  return 0
end

function M.attach(o)
  local name, pid = o[1], o[2]
  if not pid then
    return fail(1, "No netns name and PID specified")
  end
  local number = words.integer(pid)
  if not number or number == 0 then
    return fail(1, "Invalid PID: %s", pid)
  end
  local process = words.process(number)
  local ok, handle = pcall(ns.netns.attach, name, process)
  if ok then
    handle:close()
    return 0
  elseif errors.is(handle, "ENOENT") then
    return fail(1, "Bind %s -> %s%s failed: %s", process, PATH, name, core.strerror(handle.errno))
  end
  return words.explain(1, "Cannot create " .. file(name), handle)
end

function M.delete(o)
  local name = o[1]
  if not o.all and not name then
    return fail(1, "No netns name specified")
  end
  local ok, e = pcall(o.all and ns.netns.delete_all or ns.netns.delete, name)
  return ok and 0 or words.explain(1, "Cannot remove " .. file(e.netns or name), e)
end

function M.identify(o)
  local pid = o[1]
  if o[2] then
    return fail(1, "extra arguments specified")
  elseif pid and not pid:find "^%d+$" then
    return fail(1, "Specified string '%s' is not a pid", pid)
  end
  local names, status = try(1, "Cannot open network namespace", ns.netns.identify, pid and words.process(pid) or o.from)
  if not names then
    return status
  end
  for i, name in ipairs(names) do
    names[i] = shown(name)
  end
  print(table.concat(names, "\n"))
  return 0
end

function M.pids(o)
  local name = o[1]
  if not name then
    return fail(1, "No netns name specified")
  elseif o[2] then
    return fail(1, "extra arguments specified")
  end
  local pids, status = try(1, "Cannot open network namespace", function()
    local handle <close> = words.named(name)
    return ns.netns.pids(handle)
  end)
  if not pids then
    return status
  end
  for _, pid in ipairs(pids) do
    print(("%d"):format(pid))
  end
  return 0
end

function M.help()
  io.stderr:write [=[
Usage:	nslua netns list
	nslua netns add NAME
	nslua netns attach NAME PID
	nslua netns set NAME NETNSID
	nslua netns [--all] delete [NAME]
	nslua netns identify [PID]
	nslua netns pids NAME
	nslua netns [--all [--jobs N]] exec [NAME] cmd ...
	nslua netns shell NAME
	nslua netns monitor [--all]
	nslua netns list-id [target-nsid POSITIVE-INT] [nsid POSITIVE-INT]
NETNSID := auto | POSITIVE-INT
]=]
  return 255
end

return M
