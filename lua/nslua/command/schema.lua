-- print what netlink messages are made of, as nslua knows them
--
-- Without a name it lists the objects of rtnetlink, their kinds, and the families of generic netlink. A name is one of them, or a path into
-- it: link, link.vxlan, link.linkinfo.data, wireguard, wireguard.set_device.peers. Printed are the number of each attribute (of a member of a
-- struct: its offset, behind a +), its key, its type, and the names of its numbers or the path of what is in it.

local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "schema", usage = "[options] [<name>...]", summary = "Print what netlink messages are made of, as nslua knows them.",
  { "f", "file", arg = "file", many = true, help = "a Lua file that returns a family of one's own" },
  { "J", "json", help = "print JSON" },
  { "k", "kernel", help = "a family as this kernel tells of it, to begin a declaration with: numbers and types without names" },
  { "n", "noheadings", help = "no headings" },
  { "r", "recursive", help = "also what is nested in it" },
  { "u", "notruncate", help = "do not cut text to the terminal's width" },
  operands = "schema",
  examples = {
    { "nslua schema link.vxlan", "the options of a vxlan link" },
    { "nslua schema -r wireguard.set_device", "all that a request to WireGuard may have" },
  },
}

return function(args)
  return declaration:run(args, function(o)
    return require "nslua.command.schema.show"(o, declaration)
  end)
end
