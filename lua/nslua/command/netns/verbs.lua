-- What ip netns does with names and ids, with its words and exit statuses.

local core = require "nslua.core"
local errors = require "nslua.error"
local host = require "nslua.host"
local ns = require "nslua"

local M = {}

local PATH = "/run/netns/"

-- A line on stderr; the exit status.
function M.fail(status, format, ...)
  io.stdout:flush()
  io.stderr:write(format:format(...), "\n")
  return status
end
local fail = M.fail

-- Names are other people's text: a terminal gets no control bytes of them.
function M.shown(name)
  return host.is_terminal(1) and name:gsub("%c", function(c)
    return ("\\x%02x"):format(c:byte())
  end) or name
end
local shown = M.shown

---Call fn(...); where it raises an error object, say it in the words of ip netns.
---@param status integer
---@param format string   "%s" stands for what strerror(3) says
function M.try(status, format, fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then
    return result
  elseif not errors.is(result) then
    error(result, 0)
  end
  if result.code == "EINVAL" and result.message:find "not a name" then
    return nil, fail(255, 'Invalid netns name "%s"', ((...)))
  end
  local why = result.errno and core.strerror(result.errno) or result.message
  return nil, fail(status, "%s%s", format:format(why), result.hint and "\n" .. result.hint or "")
end
local try = M.try

-- The namespace that is looked from: -n, or the current one.
local function viewer(o)
  if not o.netns then
    return ns.netns.current()
  end
  local target = o.netns:match "^%d+$" and not core.file.stat(PATH .. o.netns) and tonumber(o.netns) or o.netns
  return try(255, ('Cannot open network namespace "%s": %%s'):format(o.netns), ns.netns.open, target)
end

local INDENT = "    "

-- As ip -p prints it: every object of a list on lines of its own.
local function json(o, rows)
  local schema = require "nslua.schema"
  local out = {}
  for i, row in ipairs(rows) do
    local keys, parts = {}, {}
    for _, key in ipairs { "nsid", "name", "id", "current-nsid", "stale" } do
      if row[key] ~= nil then
        keys[#keys + 1] = key
      end
    end
    for k, key in ipairs(keys) do
      local text = ("%s:%s"):format(schema.json(key), (o.pretty and " " or "") .. schema.json(row[key]))
      parts[k] = o.pretty and ("\n%s%s%s"):format(INDENT, INDENT, text) or text
    end
    out[i] = "{" .. table.concat(parts, ",") .. (o.pretty and "\n" .. INDENT .. "}" or "}")
  end
  if #out == 0 then
    return "[  ]\n"
  end
  return (o.pretty and "[ %s ]\n" or "[%s]\n"):format(table.concat(out, ","))
end

function M.list(o)
  local from <close>, status = viewer(o)
  if not from then
    return status
  end
  local rows = ns.netns.list()
  for _, row in ipairs(rows) do
    if row.alive and o.netns then
      local ok, id = pcall(from.nsid_of, from, row.name)
      row.id = ok and id or nil
    end
    row.stale = not row.alive or nil
  end
  if o.json then
    io.write(#rows > 0 and json(o, rows) or "")
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
  local handle, status = try(1, ('Cannot create namespace file "%s%s": %%s'):format(PATH, name), ns.netns.add, name)
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
  elseif not pid:find "^%d+$" then
    return fail(1, "Invalid PID: %s", pid)
  end
  local taken = core.file.stat(PATH .. name)
  local handle, status = try(1, taken and ('Cannot create namespace file "%s%s": %%s'):format(PATH, name)
    or ("Bind /proc/%s/ns/net -> %s%s failed: %%s"):format(pid, PATH, name), ns.netns.attach, name, tonumber(pid))
  if not handle then
    return status
  end
  handle:close()
  return 0
end

function M.delete(o)
  if o.all then
    return try(1, "Cannot remove namespace files: %s", ns.netns.delete_all) and 0 or 1
  end
  local name = o[1]
  if not name then
    return fail(1, "No netns name specified")
  end
  local ok, status = try(1, ('Cannot remove namespace file "%s%s": %%s'):format(PATH, name), ns.netns.delete, name)
  return ok and 0 or status
end

function M.set(o)
  local name, id = o[1], o[2]
  if not name then
    return fail(1, "No netns name specified")
  elseif not id then
    return fail(1, "No nsid specified")
  end
  local number = id:match "^%d+$" and math.tointeger(tonumber(id))
  if id ~= "auto" and not (number and number <= 2147483647) then
    return fail(255, 'Error: argument "%s" is wrong: Invalid "netnsid" value', id)
  end
  local from <close>, status = viewer(o)
  if not from then
    return status
  end
  local other <close>, wrong = try(1, ('Cannot open network namespace "%s": %%s'):format(name), ns.netns.open, name)
  if not other then
    return wrong
  end
  local ok, e = pcall(from.set_nsid, from, other, number)
  if ok then
    return 0
  elseif not errors.is(e) then
    error(e, 0)
  end
  return fail(2, "%s", e.extack and ("Error: %s."):format(e.extack) or "RTNETLINK answers: " .. e.message)
end

function M.identify(o)
  local pid = o[1]
  if o[2] then
    return fail(1, "extra arguments specified")
  elseif pid and not pid:find "^%d+$" then
    return fail(1, "Specified string '%s' is not a pid", pid)
  end
  local names, status = try(1, "Cannot open network namespace: %s", ns.netns.identify, pid and tonumber(pid) or nil)
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
  end
  local pids, status = try(1, "Cannot open network namespace: %s", ns.netns.pids, name)
  if not pids then
    return status
  end
  for _, pid in ipairs(pids) do
    print(("%d"):format(pid))
  end
  return 0
end

-- Names by the id they have in a namespace.
local function names_by_id(from)
  local out = {}
  for _, row in ipairs(ns.netns.list()) do
    local ok, id = pcall(from.nsid_of, from, row.name)
    if ok and id then
      out[id] = row.name
    end
  end
  return out
end

function M.list_id(o)
  local wanted = {}
  for i = 1, #o, 2 do
    if o[i] ~= "target-nsid" and o[i] ~= "nsid" then
      return M.help()
    elseif not o[i + 1] then
      return fail(255, 'Command line is not complete. Try option "help"')
    end
    local id = o[i + 1]:match "^%d+$" and math.tointeger(tonumber(o[i + 1]))
    if not id or id > 2147483647 then
      return fail(255, 'Error: argument "%s" is wrong: "%s" value is invalid', o[i + 1], o[i])
    end
    wanted[o[i]] = id
  end
  local from <close>, status = viewer(o)
  if not from then
    return status
  end
  local target = wanted["target-nsid"]
  local ok, ids = pcall(from.nsids, from, { target = target })
  if not ok then
    return errors.is(ids) and fail(2, "Error: %s.", ids.extack or ids.message) or error(ids, 0)
  end
  local names, rows = names_by_id(from), {}
  for _, entry in ipairs(ids) do
    local id, current = target and entry.id or entry, target and entry.current or nil
    if wanted.nsid == nil or wanted.nsid == id then
      rows[#rows + 1] = { nsid = id, ["current-nsid"] = current, name = names[target and current or not target and id] }
    end
  end
  if wanted.nsid and #rows == 0 then
    return fail(2, "Error: Peer netns reference is invalid.")
  elseif o.json then
    io.write(json(o, rows))
    return 0
  end
  for _, row in ipairs(rows) do
    io.write(("nsid %d "):format(row.nsid), row["current-nsid"] and ("current-nsid %d "):format(row["current-nsid"]) or "",
      row.name and ("(iproute2 netns name: %s)"):format(shown(row.name)) or "", "\n")
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
