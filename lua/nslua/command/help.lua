-- list the commands, or explain one: nslua help [NAME]
--
-- A command is a file NAME.lua that returns function(args) ... return status end. It is looked for in the folders of
-- $NSLUA_PATH, then in ~/.config/nslua/commands, then among those of the program. The first comment line of the file is
-- what `nslua help` lists, the lines after it are what `nslua help NAME` prints.

local command = require "nslua.command"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "help", usage = "[options] [<command>]", summary = "List the commands, or explain one.",
  { "l", "list", help = "print the names of the commands only" },
  { false, "completion", arg = "shell", words = { "bash" }, help = "print the completion script for a shell" },
  operands = "command",
}

local function sorted(all)
  local names = {}
  for name in pairs(all) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function list()
  local all = command.all()
  local names, width = sorted(all), 0
  for _, name in ipairs(names) do
    width = math.max(width, #name)
  end
  print "usage: nslua [options] [script | command] [arguments]    (options: nslua -h)\n\ncommands:"
  for _, name in ipairs(names) do
    local summary = command.comment(all[name])
    print(("  %-" .. width .. "s  %s%s"):format(name, summary, all[name].path and "  [" .. all[name].path .. "]" or ""))
  end
  return 0
end

local function explain(name)
  local entry = command.find(name)
  if not entry then
    local near = require("nslua.check").nearest(name, command.all())
    io.stderr:write(("nslua help: there is no command '%s'%s\n"):format(name, near and (" (did you mean '%s'?)"):format(near) or ""))
    return 1
  end
  local summary, rest = command.comment(entry)
  print(name .. ": " .. summary)
  if rest ~= "" then
    print(rest)
  end
  local declared = command.declaration(entry)
  if declared then
    io.write(declared:help())
  end
  if entry.path then
    print("\n" .. entry.path)
  end
  return 0
end

return function(args)
  return declaration:run(args, function(o)
    if o.completion then
      if o.completion ~= "bash" then
        return declaration:wrong("there is no completion for '%s', only for bash", o.completion)
      end
      io.write(require "nslua.command.cli.completion"())
      return 0
    elseif o.list then
      print(table.concat(sorted(command.all()), "\n"))
      return 0
    elseif o[1] then
      return explain(o[1])
    end
    return list()
  end)
end
