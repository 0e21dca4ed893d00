-- networks to try things in: build one from a text, draw it, type at it; list, enter and end those that run
--
-- With a file (or -e TEXT) it builds the lab that is written there, draws it, and reads commands until the end: h1 ping h2, pingall,
-- link h1 r1 down, and Lua. Leaving it takes the lab down, unless --keep NAME says otherwise. A file ending in .lua is a script that
-- returns what ns.lab takes.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local host = require "nslua.host"
local options = require "nslua.command.cli.options"

local formats = { "text", "svg", "dot", "mermaid", "json", "shell" }

local declaration = options.declare {
  name = "lab", usage = "[options] [<file> | list | enter | exec | destroy] [<argument>...]", operands = "file", stop = true,
  summary = "Build a network of namespaces and use it.",
  { "e", "execute", arg = "text", help = "the lab itself: -e 'h1 --10ms-- r1 -- h2'" },
  { "k", "keep", arg = "name", help = "it outlives this command, under that name" },
  { "N", "name", arg = "name", help = "what others open it by while it runs" },
  { "d", "draw", help = "draw it and build nothing" },
  { "f", "format", arg = "format", words = formats,
    help = "of the drawing: " .. table.concat(formats, ", ", 1, 5) .. "; shell: a script of ip(8) that builds the same" },
  { "a", "addresses", help = "draw addresses too" },
  { "q", "quiet", help = "do not draw it at the beginning" },
  commands = {
    { "list", usage = "[-j|-q]", help = "the labs that run" },
    { "enter", usage = "<name> [<node>]", operands = "lab", help = "the prompt of a lab that runs, or a shell on a node" },
    { "exec", usage = "<name> <node> [--] <program> ...", operands = "lab", help = "run a program on a node" },
    { "destroy", usage = "<name>...", operands = "lab", help = "end labs that are kept" },
  },
  notes = "nslua lab <command> --help tells more of a command.",
  examples = {
    { "nslua lab -e 'h1 --10ms-- r1 -- h2'", "two hosts and a router between them, and a prompt" },
    { "nslua lab -d -f svg net.lab > net.svg", "a picture of what a file says" },
    { "nslua lab --keep demo -q -e 'h1 -- (sw) -- h2'; nslua lab exec demo h1 ping -c1 h2", "a lab that stays" },
  },
}

local function lab()
  return require("nslua").lab
end

-- Or it is no file, but a command that was mistyped.
local function cannot_open(path)
  local commands = {}
  for _, each in ipairs(declaration.commands) do
    commands[each[1]] = true
  end
  local near = check.nearest(path, commands)
  errors.misuse("cannot open %s%s", path, near and (" (did you mean the command '%s'?)"):format(near) or "")
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
  local file <close> = path == "-" and io.stdin or io.open(path) or cannot_open(path)
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

local function is_one_of(list, word)
  for _, each in ipairs(list) do
    if word == (type(each) == "table" and each[1] or each) then
      return true
    end
  end
  return false
end

local function run(o)
  local said = o.execute
  if said and o[1] or not said and not o[1] then
    errors.misuse "a file, -e <text>, or one of list, enter, exec, destroy is needed"
  end
  if o.format and not is_one_of(formats, o.format) then
    errors.misuse("%s; there are %s", check.unknown("format", o.format, formats), table.concat(formats, ", "))
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
  if is_one_of(declaration.commands, args[1]) then
    return require("nslua.command.lab." .. args[1])(table.move(args, 2, #args, 1, {}))
  end
  return declaration:run(args, run)
end
