-- networks to try things in: build one from a text, draw it, type at it; list, enter and end those that run
--
-- With a file (or -e TEXT) it builds the lab that is written there, draws it, and reads commands until the end: h1 ping h2, pingall,
-- link h1 r1 down, and Lua. Leaving it takes the lab down, unless --keep NAME says otherwise. A file ending in .lua is a script that
-- returns what ns.lab takes.

local columns = require "nslua.command.cli.columns"
local core = require "nslua.core"
local errors = require "nslua.error"
local host = require "nslua.host"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "lab", usage = "[options] [<file> | list | enter | exec | destroy] [<argument>...]", operands = "file", stop = true,
  summary = "Build a network of namespaces and use it.",
  { "e", "execute", arg = "text", help = "the lab itself: -e 'h1 --10ms-- r1 -- h2'" },
  { "k", "keep", arg = "name", help = "it outlives this command, under that name" },
  { "N", "name", arg = "name", help = "what others open it by while it runs" },
  { "d", "draw", help = "draw it and build nothing" },
  { "f", "format", arg = "format", words = { "text", "svg", "dot", "mermaid", "json", "shell" },
    help = "of the drawing; shell: a script of ip(8) that builds the same" },
  { "a", "addresses", help = "draw addresses too" },
  { "q", "quiet", help = "do not draw it at the beginning" },
  { "j", "json", help = "list: print JSON" },
  commands = {
    { "list", help = "labs that run" },
    { "enter", usage = "<name> [<node>]", help = "a shell on a node (by default the first host)" },
    { "exec", usage = "<name> <node> <program> ...", help = "run a program on a node" },
    { "destroy", usage = "<name>", help = "end a lab and all that runs in it" },
  },
  examples = {
    { "nslua lab -e 'h1 --10ms-- r1 -- h2'", "two hosts and a router between them, and a prompt" },
    { "nslua lab -d -f svg net.lab > net.svg", "a picture of what a file says" },
    { "nslua lab --keep demo -q -e 'h1 -- (sw) -- h2'; nslua lab exec demo h1 ping -c1 h2", "a lab that stays" },
  },
}

local function lab()
  return require("nslua").lab
end

local verbs = {}

function verbs.list(o)
  for i = 2, #o do
    o.json = o.json or o[i] == "-j" or o[i] == "--json" or errors.misuse "usage: nslua lab list [-j]"
  end
  local rows = {}
  for i, each in ipairs(lab().list()) do
    rows[i] = { NAME = each.name, NODES = tostring(#each.nodes), PID = each.pid and tostring(each.pid) or "", KEPT = each.kept and "kept" or "",
      SINCE = os.date("%Y-%m-%d %H:%M:%S", each.since) }
  end
  if o.json then
    io.write(require("nslua.schema").json(lab().list()), "\n")
    return 0
  end
  columns.print("labs", { { name = "NAME" }, { name = "NODES", right = true }, { name = "PID", right = true }, { name = "KEPT" },
    { name = "SINCE" } }, rows, {})
  return 0
end

local function node_of(opened, name)
  if not name then
    for _, node in ipairs(opened.nodes) do
      if node.kind == "host" then
        return node
      end
    end
    return opened.nodes[1]
  end
  local node = opened.node[name]
  if not node then
    errors.misuse("%s", require("nslua.check").unknown("node", name, opened.node))
  end
  return node
end

function verbs.enter(o)
  if not o[2] or o[4] then
    errors.misuse "usage: nslua lab enter <name> [<node>]"
  end
  local opened <close> = lab().open(o[2])
  return node_of(opened, o[3]):shell()
end

function verbs.exec(o)
  if not o[4] then
    errors.misuse "usage: nslua lab exec <name> <node> <program> [<argument>...]"
  end
  local opened <close> = lab().open(o[2])
  return node_of(opened, o[3]):shell(table.move(o, 4, #o, 1, {}))
end

function verbs.destroy(o)
  if not o[2] or o[3] then
    errors.misuse "usage: nslua lab destroy <name>"
  end
  lab().destroy(o[2])
  return 0
end

-- What a file says: a text, or what a script returns.
local function read(path)
  if path:find "%.lua$" then
    local chunk, message = loadfile(path, "t", setmetatable({ ns = require "nslua" }, { __index = _G }))
    if not chunk then
      errors.misuse("%s", message)
    end
    return chunk()
  end
  local file <close> = path == "-" and io.stdin or io.open(path) or errors.misuse("cannot open %s", path)
  return file:read "a"
end

local function terminal_width()
  local _, limit = core.process.winsize(1)
  return host.is_terminal(1) and limit and limit > 0 and limit or 80
end

local function draw(o, said)
  local format = o.format or "text"
  if format == "shell" then
    local built <close> = lab()(said)
    io.write(built:to_shell())
  else
    io.write(lab().draw(said, { format = format, addresses = o.addresses, columns = format == "text" and terminal_width() or nil }))
  end
  return 0
end

local function run(o)
  local said = o.execute
  if said and o[1] or not said and not o[1] then
    errors.misuse "a file, -e <text>, or one of list, enter, exec, destroy is needed"
  end
  said = said or read(o[1])
  if o.draw or o.format then
    return draw(o, said)
  end
  local built <close> = lab()(said, { name = o.name, keep = o.keep })
  if not o.quiet then
    io.write(built:draw { addresses = true, columns = terminal_width() }, "\n")
  end
  if o.keep then
    return 0
  end
  io.flush()
  return require "nslua.command.lab.prompt".run(built)
end

return function(args)
  return declaration:run(args, function(o)
    local verb = not o.execute and verbs[o[1]]
    return verb and verb(o) or not verb and run(o)
  end)
end
