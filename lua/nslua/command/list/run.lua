-- What the listing commands do alike: their options, which namespaces they look at, JSON or a table.

local columns = require "nslua.command.cli.columns"
local core = require "nslua.core"
local errors = require "nslua.error"
local json = require "nslua.command.list.json"
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
    out[i] = command.object(row, f, o, space.handle)
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
  local render = o.json and objects or lines_of
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

---Make a listing command.
---@param command nslua.list.Command
---@return fun(args: string[]): integer
function M.command(command)
  local declared = { name = command.name, usage = command.usage, summary = command.summary, notes = command.notes, status = 255,
    operands = { "list", command.verbs and "get" or nil },
    { "n", "netns", arg = "netns", help = "look from that network namespace: a name, a path, a pid, docker:web" },
    { "a", "all", help = "every network namespace that can be opened" },
    { "j", "json", help = "print JSON, as ip -j does" },
    { "p", "pretty", help = "print JSON with lines and indents" },
    { "d", "details", help = "print more" },
    { "4", false, help = "only IPv4" },
    { "6", false, help = "only IPv6" },
    { false, "noheadings", help = "no headings" } }
  for _, option in ipairs(command.more or {}) do
    declared[#declared + 1] = option
  end
  local declaration = options.declare(declared)
  return function(args)
    return declaration:run(args, function(o)
      o.family = o["4"] and "inet" or o["6"] and "inet6" or nil
      o.json = o.json or o.pretty
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
