-- draw every network namespace of the machine: containers, labs, names, their links, bridges, addresses, and how they are wired
--
-- With the name of a container, a namespace or a lab: what is around it alone.
-- A block for each namespace that others hang on; what hangs on its bridges stands below them, and what has nothing but lo is named at the end.

local core = require "nslua.core"
local columns = require "nslua.command.cli.columns"
local host = require "nslua.host"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "map", usage = "[options] [<container> | <netns> | lab:<name>[/<node>]]", operands = "container", status = 2,
  summary = "Draw every network namespace, and how they are wired.",
  { "t", "text", help = "as text that fits the terminal (default)" },
  { "s", "svg", help = "as SVG, for a browser" },
  { "d", "dot", help = "as a graph of Graphviz" },
  { "m", "mermaid", help = "as a flowchart of Mermaid" },
  { "j", "json", help = "print JSON, which --diff reads" },
  { "a", "all", help = "leave nothing out of the text: every leaf, and addresses of link scope" },
  { "H", "hops", arg = "number", help = "how many namespaces further than the one that is named (default 1)" },
  { "D", "diff", arg = "file", help = "print what has changed since that was written by --json (exit status 1: something has, 2: trouble)" },
  { "w", "watch", help = "draw it again whenever links or addresses change" },
  examples = {
    { "nslua map", "the machine in a terminal" },
    { "nslua map web", "a container, and what its links lead to" },
    { "nslua map -H 2 lab:demo/h1", "a node, its neighbours and theirs" },
    { "nslua map --svg > map.svg", "a picture" },
    { "nslua map -j > before; ...; nslua map --diff before", "what has changed" },
  },
}

local function width()
  local said = tonumber(os.getenv "COLUMNS" or "")
  if said and math.tointeger(said) then
    return math.max(1, math.tointeger(said))
  end
  local _, limit = core.process.winsize(1)
  return host.is_terminal(1) and limit and limit > 0 and limit or 80
end

local FORMATS = { "text", "svg", "dot", "mermaid", "json" }

local function ascii()
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
    local value = os.getenv(name) or ""
    if value ~= "" then
      return not value:lower():find "utf%-?8"
    end
  end
  return false
end

local function drawn(map, format, o)
  if format == "text" then
    return map:text { columns = width(), ascii = ascii(), all = o.all }
  end
  local text = map[format](map)
  return text:sub(-1) == "\n" and text or text .. "\n"
end

local SIGN = { new = "+", delete = "-", change = "~" }

local function told(change)
  local words = { SIGN[change.action], columns.safe(change.title), change.link and columns.safe(change.link) or nil }
  words[#words + 1] = change.address
  local fields = {}
  for field in pairs(change.changes or {}) do
    fields[#fields + 1] = field
  end
  table.sort(fields)
  for i, field in ipairs(fields) do
    local each = change.changes[field]
    fields[i] = ("%s %s -> %s"):format(field, columns.safe(tostring(each.before)), columns.safe(tostring(each.after)))
  end
  words[#words + 1] = fields[1] and table.concat(fields, ", ")
  return table.concat(words, "  ")
end

local function read(path)
  local f, why = io.open(path == "-" and "/dev/stdin" or path, "rb")
  if not f then
    require("nslua.error").raise { call = "map", message = why }
  end
  local text = f:read "a"
  f:close()
  return text
end

-- The inode of what the map has under another name: "pid:12", "/run/netns/blue".
local function inode_of(word)
  local handle <close> = require("nslua.command.cli.place").open(word, true)
  return handle.inode
end

-- The map, or what is of it around the operand.
local function of(map, o)
  if not o[1] then
    return map
  end
  local errors = require "nslua.error"
  local hops = o.hops and (math.tointeger(tonumber(o.hops)) or errors.misuse("--hops: a number expected, got %s", o.hops))
  local ok, found = pcall(map.around, map, o[1], { hops = hops })
  if ok then
    return found
  elseif not errors.is(found, "ENOENT") then
    error(found, 0)
  end
  local opened, inode = pcall(inode_of, o[1])
  if opened then
    return map:around(inode, { hops = hops })
  elseif not errors.is(inode, "ENOENT") and not o[1]:find "^lab:" then
    error(inode, 0)
  end
  errors.misuse("%s", found.message)
end

local function diff(ns, o)
  local before = ns.map.load(read(o.diff))
  local changes = ns.map.diff(before, of(ns.map(), o))
  if o.json then
    print(require("nslua.schema").json(changes))
  else
    for _, change in ipairs(changes) do
      print(told(change))
    end
  end
  return changes[1] and 1 or 0
end

local SETTLE = 0.2 -- seconds: changes come in swarms

-- Every change of the machine, one drawing for a swarm of them.
local function watch(ns, draw)
  local monitor <close> = ns.monitor { "link", "address", netns = "all" }
  local terminal = host.is_terminal(1)
  while true do
    io.write(terminal and "\27[H\27[2J" or "", draw())
    io.flush()
    monitor:next()
    local quiet = core.fd.clock() + SETTLE
    while core.fd.clock() < quiet do
      monitor:next(math.max(0, quiet - core.fd.clock()))
    end
  end
end

return function(args)
  return declaration:run(args, function(o)
    local ns = require "nslua"
    local format
    for _, each in ipairs(FORMATS) do
      if o[each] then
        if format then
          require("nslua.error").raise { call = "map", message = ("--%s and --%s: it is drawn in one of them"):format(format, each) }
        end
        format = each
      end
    end
    if o[2] then
      require("nslua.error").misuse("one name, not more: %s", o[2])
    elseif o.hops and not o[1] then
      require("nslua.error").misuse "--hops goes with the name of what to begin at"
    elseif o.diff then
      return diff(ns, o)
    end
    format = format or "text"
    if o.watch then
      return watch(ns, function()
        return drawn(of(ns.map(), o), format, o)
      end)
    end
    local map = of(ns.map(), o)
    io.write(drawn(map, format, o))
    io.flush()
    if not map.complete then
      io.stderr:write("nslua map: not seen: ", columns.safe(table.concat(map.missed, "; ")), "\n")
    end
    return 0
  end)
end
