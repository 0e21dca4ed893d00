-- nslua lab destroy: the end of labs that are kept.

local ns = require "nslua"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "lab destroy", usage = "<name>...", summary = "End labs that are kept, with everything that runs in them.", operands = "lab",
}

return function(args)
  return declaration:run(args, function(o)
    if not o[1] then
      return declaration:wrong "the name of a lab is missing"
    end
    for _, name in ipairs(o) do
      ns.lab.destroy(name)
    end
    return 0
  end)
end
