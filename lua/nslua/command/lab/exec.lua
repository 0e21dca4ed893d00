-- nslua lab exec: a program on a node, with its exit status.

local node = require "nslua.command.lab.node"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "lab exec", usage = "<name> <node> [--] <program> [<argument>...]", operands = "lab",
  summary = "Become a program on a node of a running lab.", stop = true,
}

-- As a shell has it: 127 where the program is not there, 126 where it is none.
local function explain(e)
  if e.step == "exec" then
    return ("%s%s"):format(e.message, e.detail and (" (%s)"):format(e.detail) or ""), e.code == "ENOENT" and 127 or 126
  end
end

return function(args)
  return declaration:run(args, function(o)
    if o[3] == "--" then
      table.remove(o, 3)
    end
    if not o[3] then
      return declaration:wrong(not o[1] and "the name of a lab is missing" or not o[2] and "the name of a node is missing" or "a program is missing")
    end
    return node.open(o[1], o[2]):exec { fds = "inherit", table.unpack(o, 3) }
  end, explain)
end
