-- list the commands, or explain one: nslua help [NAME]
--
-- A command is a file NAME.lua that returns function(args) ... return status end. It is looked for in the folders of
-- $NSLUA_PATH, then in ~/.config/nslua/commands, then among those of the program. The first comment line of the file is
-- what `nslua help` lists, the lines after it are what `nslua help NAME` prints.

local command = require "nslua.command"

local function list()
  local all, names, width = command.all(), {}, 0
  for name in pairs(all) do
    names[#names + 1] = name
    width = math.max(width, #name)
  end
  table.sort(names)
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
  local declaration = command.declaration(entry)
  if declaration then
    io.write(declaration:help())
  end
  if entry.path then
    print("\n" .. entry.path)
  end
  return 0
end

return function(args)
  if args[1] then
    return explain(args[1])
  end
  return list()
end
