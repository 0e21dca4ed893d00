-- named network namespaces: list, add, delete, enter, as ip netns does
--
-- Takes the words and prints the lines of ip-netns(8). More than it: identify prints every name, list marks files that were left
-- behind, exec keeps what is mounted below /sys, -all exec runs --jobs at a time, shell has a prompt that says where it is.

local options = require "nslua.command.cli.options"
local words = require "nslua.command.netns.words"

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
local ORDER = { "list", "show", "lst", "list-id", "help", "add", "set", "delete", "identify", "pids", "exec", "monitor", "attach", "shell" }
local SAME = { show = "list", lst = "list" }

local function command_of(word)
  for _, name in ipairs(ORDER) do
    if name:sub(1, #word) == word then
      return SAME[name] or name
    end
  end
end

-- Options of ip(8), which have one dash or two and may be shortened; in the order in which ip tries what a word may be short for.
-- key: what it is here (nil: it changes nothing that is printed); value: one follows.
local OPTIONS = {
  { "loops", value = true }, { "family", value = true }, { "4", exact = true }, { "6", exact = true }, { "0", exact = true },
  { "M", exact = true }, { "B", exact = true }, { "h", exact = true, key = "help" }, { "human-readable" }, { "iec" }, { "stats" },
  { "statistics" }, { "details" }, { "resolve" }, { "oneline" }, { "timestamp" }, { "tshort" }, { "force" }, { "brief" },
  { "json", key = "json" }, { "rcvbuf", value = true }, { "help", key = "help" }, { "netns", key = "netns", value = true }, { "Numeric" },
  { "all", key = "all" }, { "color" }, { "pretty", key = "pretty" }, { "jobs", key = "jobs", value = true },
}

local function option_of(word)
  for _, option in ipairs(OPTIONS) do
    if word == option[1] or not option.exact and #word > 0 and option[1]:sub(1, #word) == word then
      return option
    end
  end
end

-- Read options from args[i] on into `o`: where the next word is, or nil and a status.
local function read(o, args, i)
  while args[i] and args[i]:find "^%-." do
    if args[i] == "--" then
      return i + 1
    end
    local word, equals, value = args[i]:match "^%-%-?([^=]*)(=?)(.*)$"
    local option = option_of(word)
    if not option or equals == "=" and not option.value and option[1] ~= "color" then
      return nil, words.fail(255, 'Option "%s" is unknown, try "nslua netns --help".', args[i])
    elseif option.value and equals == "" then
      i = i + 1
      value = args[i]
    end
    if option.value and not value then
      return nil, words.fail(255, 'Command line is not complete. Try option "help"')
    elseif option.key == "netns" then
      local status
      o.from, status = words.from(value)
      if not o.from then
        return nil, status
      end
    elseif option.key then
      o[option.key] = not option.value or value
    end
    i = i + 1
  end
  return i
end

-- Options may stand behind the commands whose words are no names, too.
local TRAILING = { list = true, ["list-id"] = true, monitor = true }

-- The words of a command behind args[i]; nil and a status.
local function operands(o, args, i, command)
  i = i + 1
  o.help = o.help or args[i] == "--help"
  while args[i] do
    if TRAILING[command] and args[i]:find "^%-%-?%a" then
      local status
      i, status = read(o, args, i)
      if not i then
        return nil, status
      end
    else
      o[#o + 1] = args[i]
      i = i + 1
    end
  end
  return true
end

return function(args)
  local o = {}
  local first, status = read(o, args, 1)
  if not first then
    return status
  end
  local word = args[first] or "list"
  local command = command_of(word)
  local ok
  ok, status = operands(o, args, first, command)
  if not ok then
    return status
  elseif o.help then
    io.write(declaration:help())
    return 0
  elseif not o.all and o[1] and not words.is_name(o[1]) then -- of every command, as ip has it
    return words.fail(255, 'Invalid netns name "%s"', o[1])
  elseif not command then
    return words.fail(255, 'Command "%s" is unknown, try "nslua netns help".', word)
  elseif command == "exec" or command == "shell" then
    return require "nslua.command.netns.exec"[command](o)
  elseif command == "monitor" then
    return require "nslua.command.netns.monitor"(o)
  elseif command == "set" or command == "list-id" then
    return require "nslua.command.netns.ids"[command](o)
  end
  return require "nslua.command.netns.verbs"[command](o)
end
