-- nslua lab enter: a shell on a node, whose prompt says where it is.

local node = require "nslua.command.lab.node"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "lab enter", usage = "<name> [<node>]", summary = "A shell on a node of a running lab, on its first host if no node is said.",
  operands = "lab",
}

return function(args)
  return declaration:run(args, function(o)
    if not o[1] then
      return declaration:wrong "the name of a lab is missing"
    elseif o[3] then
      return declaration:wrong "too many words: a program is run by `nslua lab exec`"
    end
    return node.open(o[1], o[2]):shell()
  end)
end
