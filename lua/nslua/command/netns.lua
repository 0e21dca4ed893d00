-- named network namespaces: list, add, delete, enter, as ip netns does
--
-- Takes the words and prints the lines of ip-netns(8). More than it: identify prints every name, list marks files that were left
-- behind, exec keeps what is mounted below /sys, -all exec runs --jobs at a time, shell has a prompt that says where it is.

local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "netns", usage = "[options] [<command> [<argument>...]]", operands = "netns", status = 255,
  summary = "Named network namespaces, those in /run/netns.",
  { false, "all", help = "delete or exec: every name (also -all, -a)" },
  { "n", "netns", arg = "netns", help = "look from that network namespace: a name, a path or a pid" },
  { "j", "json", help = "print JSON" },
  { "p", "pretty", help = "print JSON with lines and indents" },
  { false, "jobs", arg = "n", help = "exec --all: run that many at a time, each line behind its name" },
  commands = {
    { "list", help = "the names, and the ids these namespaces have here" },
    { "add", usage = "<name>", help = "make a namespace with a name" },
    { "attach", usage = "<name> <pid>", help = "give a process's namespace a name" },
    { "set", usage = "<name> <id>|auto", operands = "netns", help = "give a namespace an id here" },
    { "delete", usage = "<name>", operands = "netns", help = "remove the name; what is in use lives on" },
    { "identify", usage = "[<pid>]", operands = "pid", help = "the names of a process's namespace" },
    { "pids", usage = "<name>", operands = "netns", help = "the processes in it" },
    { "exec", usage = "<name> <program> ...", operands = "netns", help = "run a program in it, with its /sys and /etc/netns/<name>" },
    { "shell", usage = "<name>", operands = "netns", help = "a shell in it, whose prompt says so" },
    { "monitor", usage = "[--all]", help = "tell of names that come and go; with --all of every change in every namespace" },
    { "list-id", usage = "[target-nsid <id> | nsid <id>] ...", help = "the ids namespaces have here, or in the one with that id" },
    { "help", help = "print ip-netns(8)'s summary" },
  },
}

-- In the order in which ip netns tries what a word may be short for.
local ORDER = { "help", "list", "show", "lst", "list-id", "add", "set", "delete", "identify", "pids", "exec", "monitor", "attach", "shell" }
local SAME = { show = "list", lst = "list" }

local function command_of(word)
  for _, name in ipairs(ORDER) do
    if name:sub(1, #word) == word then
      return SAME[name] or name
    end
  end
end

-- Options of ip(8) have one dash or two, may be shortened, and stand before the command.
local LONG = { "all", "json", "pretty", "netns", "jobs", "help" }
local SHORT = { a = "all", j = "json", p = "pretty", n = "netns", h = "help" }

local function read(args)
  local o, i = {}, 1
  while args[i] and args[i]:find "^%-." do
    local word, value = args[i]:match "^%-%-?([^=]+)=?(.*)$"
    local name = word and SHORT[word]
    for _, long in ipairs(LONG) do
      name = name or word and #word > 1 and long:sub(1, #word) == word and long or nil
    end
    if not name then
      io.stderr:write(('Option "%s" is unknown, try "nslua netns --help".\n'):format(args[i]))
      return nil, 255
    elseif name == "netns" or name == "jobs" then
      if value == "" then
        i = i + 1
        value = args[i]
      end
      if not value then
        io.stderr:write 'Command line is not complete. Try option "help"\n'
        return nil, 255
      end
      o[name] = value
    else
      o[name] = true
    end
    i = i + 1
  end
  table.move(args, i, #args + 1, 1, o)
  return o
end

return function(args)
  local o, status = read(args)
  if not o then
    return status
  elseif o.help then
    io.write(declaration:help())
    return 0
  end
  local word = table.remove(o, 1) or "list"
  local command = command_of(word)
  if not command then
    io.stderr:write(('Command "%s" is unknown, try "nslua netns help".\n'):format(word))
    return 255
  end
  local fn
  if command == "exec" or command == "shell" then
    fn = require "nslua.command.netns.exec"[command]
  elseif command == "monitor" then
    fn = require "nslua.command.netns.monitor"
  else
    fn = require "nslua.command.netns.verbs"[command:gsub("-", "_")]
  end
  return fn(o)
end
