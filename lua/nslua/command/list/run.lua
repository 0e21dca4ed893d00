-- What the listing commands do alike: their options, which namespaces they look at, JSON or a table.

local columns = require "nslua.command.cli.columns"
local core = require "nslua.core"
local errors = require "nslua.error"
local json = require "nslua.command.list.json"
local oneline = require "nslua.command.list.oneline"
local options = require "nslua.command.cli.options"
local spaces = require "nslua.command.list.spaces"
local words = require "nslua.command.list.words"

local M = {}

---@class nslua.list.Command
---@field name string          "link"
---@field summary string
---@field usage string         the words it takes
---@field notes? string
---@field more? table[]        further options
---@field words nslua.list.Word[]
---@field bare fun(f: table, value: string)
---@field verbs? table<string, fun(self: nslua.list.Command, f: table, o: table, words: string[], first: integer)>  beside list
---@field rows fun(handle: nslua.Netns, f: table, o: table): any[]
---@field object fun(row: any, f: table, o: table, handle: nslua.Netns): nslua.list.Object
---@field columns nslua.cli.Column[]
---@field line fun(row: any, f: table, o: table, handle: nslua.Netns): nslua.cli.Line[]
---@field brief? fun(row: any, f: table, o: table, handle: nslua.Netns): string, nslua.list.Object  the line of ip -br, and its JSON

local SAME = { show = "list", lst = "list" }

local function verb_of(command, word)
  for _, name in ipairs { "show", "list", "lst", "get" } do
    local verb = SAME[name] or name
    if name:sub(1, #word) == word and (verb == "list" or command.verbs and command.verbs[verb]) then
      return verb
    end
  end
end

local function complain(text)
  io.stdout:flush()
  io.stderr:write(text, "\n")
end

-- Of several namespaces one that is gone meanwhile has no rows; nil: this process may not look at it.
local function look(command, space, f, o)
  if not o.all then
    return command.rows(space.handle, f, o)
  end
  local ok, rows = pcall(command.rows, space.handle, f, o)
  if ok then
    return rows
  elseif words.is_wrong(rows) and rows.absent then
    return {} -- the device is in another namespace
  elseif words.is_wrong(rows) or not errors.is(rows) then
    error(rows, 0)
  end
  if rows.code == "EPERM" or rows.code == "EACCES" then
    return nil
  end
  complain(("nslua %s: %s: %s"):format(command.name, columns.safe(space.name), options.line(rows)))
  return {}
end

-- The JSON of a namespace, one row after the other.
local function objects(command, space, rows, f, o)
  local out = {}
  for i, row in ipairs(rows) do
    out[i] = o.brief and select(2, command.brief(row, f, o, space.handle)) or command.object(row, f, o, space.handle)
  end
  return o.all and { json.object():add("netns", space.name):add("inode", space.inode):add(command.name, out) } or out
end

local function lines_of(command, space, rows, f, o)
  local out = {}
  for _, row in ipairs(rows) do
    for _, line in ipairs(command.line(row, f, o, space.handle)) do
      line.NETNS = space.name
      out[#out + 1] = line
    end
  end
  return out
end

-- Of all namespaces each line begins with its namespace.
local function brief_lines(command, space, rows, f, o)
  local out = {}
  for i, row in ipairs(rows) do
    out[i] = (o.all and ("%-16s "):format(columns.safe(space.name)) or "") .. (command.brief(row, f, o, space.handle))
  end
  return out
end

-- The same of ip -o.
local function single_lines(command, space, rows, f, o)
  local out, front = {}, o.all and ("%-16s "):format(columns.safe(space.name)) or ""
  for _, row in ipairs(rows) do
    for _, line in ipairs(oneline.lines[command.name](command.object(row, f, o, space.handle))) do
      out[#out + 1] = front .. line:gsub("[^\t]+", columns.safe)
    end
  end
  return out
end

local function print_table(command, lines, f, o)
  local shown = { o.all and { name = "NETNS" } or nil }
  for _, column in ipairs(command.columns) do
    if not column.when or column.when(o, f) then
      shown[#shown + 1] = column
    end
  end
  columns.print(command.name, shown, lines, { noheadings = o.noheadings })
end

local function list(command, o, f)
  local render = o.json and objects or o.brief and brief_lines or o.oneline and single_lines or lines_of
  local out, missed, found = {}, 0, false
  for _, space in ipairs(o.all and spaces.all() or { {} }) do
    local handle <close> = o.netns and spaces.open(o.netns) or spaces.enter(space)
    space.handle = handle
    local rows = handle and look(command, space, f, o)
    if rows then
      for _, each in ipairs(render(command, space, rows, f, o)) do
        out[#out + 1] = each
      end
      found = found or #rows > 0
    else
      missed = missed + 1
    end
  end
  if o.all and f.dev and not found then
    words.wrong(1, 'Cannot find device "%s"', f.dev)
  end
  if o.json then
    io.write(json.text(out, o.pretty), "\n")
  elseif o.brief or o.oneline then
    out[#out + 1] = ""
    io.write(table.concat(out, "\n"))
  else
    print_table(command, out, f, o)
  end
  if missed > 0 then
    complain(("nslua %s: %d network namespaces could not be opened%s"):format(command.name, missed,
      core.idmap.who() ~= 0 and ": that needs root" or ""))
  end
  return 0
end

---The kernel's refusal in ip's words.
local function explain(e)
  return e.extack and ("Error: %s."):format(e.extack) or e.errno and "RTNETLINK answers: " .. core.strerror(e.errno) or options.line(e), 2
end

-- Options that ip(8) takes with one dash, written out or nearly so; getopt_long would take their letters apart.
local function with_two_dashes(args, declared)
  local out = {}
  for i, word in ipairs(args) do
    local name = word:match "^%-(%a%a+)$"
    for _, option in ipairs(name and declared or {}) do
      local long = type(option) == "table" and option[2]
      if long and (#name > 2 or name == "br") and long:sub(1, #name) == name then
        word = "--" .. long
        break
      end
    end
    out[i] = word
  end
  return out
end

---Make a listing command.
---@param command nslua.list.Command
---@return fun(args: string[]): integer
function M.command(command)
  local declared = { name = command.name, usage = command.usage, summary = command.summary, notes = command.notes, status = 255,
    operands = { "list", command.verbs and "get" or nil },
    { "n", "netns", arg = "netns", help = "look from that network namespace: a name, a path, a pid, docker:web" },
    { "a", "all", help = "every network namespace that can be opened; JSON is a list of them then" },
    { "j", "json", help = "print JSON, as ip -j does" },
    { "p", "pretty", help = "print JSON with lines and indents" },
    { "d", "details", help = "with --json: all that ip -d prints" },
    { "o", "oneline", help = "print a line for each, as ip -o does" },
    { "4", false, help = "only IPv4" },
    { "6", false, help = "only IPv6" },
    { "f", "family", arg = "family", words = { "inet", "inet6" }, help = "inet is -4, inet6 is -6" },
    { false, "noheadings", help = "no headings" } }
  if command.brief then
    table.insert(declared, 6, { false, "brief", help = "print lines as ip -br does; -br is the same" })
  end
  for _, option in ipairs(command.more or { { "s", "statistics", help = "taken as ip takes it: there are none here" } }) do
    declared[#declared + 1] = option
  end
  local declaration = options.declare(declared)
  return function(args)
    return declaration:run(with_two_dashes(args, declared), function(o)
      o.family = o["4"] and "inet" or o["6"] and "inet6" or o.family
      if o.family and o.family ~= "inet" and o.family ~= "inet6" then
        return declaration:wrong("the family is inet or inet6, not %s", o.family)
      end
      o.json = o.json or o.pretty
      if o.oneline and o.details and not o.json then
        return declaration:wrong "details are in --json, not in the lines of -o"
      end
      if o.all and o.netns then
        return declaration:wrong "-a and -n exclude each other"
      end
      local ok, result = xpcall(function()
        local verb = o[1] and verb_of(command, o[1]) or not o[1] and "list"
        if o[1] == "help" then
          io.write(declaration:help())
          return 0
        elseif not verb then
          words.wrong(255, 'Command "%s" is unknown, try "nslua %s help".', o[1], command.name)
        end
        if verb ~= "list" then
          command = setmetatable(command.verbs[verb], { __index = command })
        end
        return list(command, o, words.read(o, 2, command.words, command.bare))
      end, function(e)
        return (words.is_wrong(e) or errors.is(e) or type(e) == "string" and not e:find "^[^\n]-:%d+: ") and e
          or require "nslua.host".traceback(e)
      end)
      if ok then
        return result
      elseif words.is_wrong(result) then
        complain(result.text)
        return result.status
      end
      error(result, 0)
    end, explain)
  end
end

return M
