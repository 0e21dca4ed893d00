-- nslua lab enter: the prompt of a lab that runs, or a shell on a node, whose prompt says where it is.

local node = require "nslua.command.lab.node"
local ns = require "nslua"
local options = require "nslua.command.cli.options"
local prompt = require "nslua.command.lab.prompt"

local declaration = options.declare {
  name = "lab enter", usage = "<name> [<node>]", operands = "lab",
  summary = "The prompt of a running lab, as where it was built: h1 ping h2, link h1 r1 down, Lua. With a node, a shell there.",
}

return function(args)
  return declaration:run(args, function(o)
    if not o[1] then
      return declaration:wrong "the name of a lab is missing"
    elseif o[3] then
      return declaration:wrong "too many words: a program is run by `nslua lab exec`"
    elseif o[2] then
      return node.open(o[1], o[2]):shell()
    end
    local lab <close> = ns.lab.open(o[1])
    return prompt.run(lab)
  end)
end
