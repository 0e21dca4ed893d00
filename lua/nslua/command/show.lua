-- one page about a container's network: links and where they lead, routes, sockets, published ports, rules around it, what is unusual
--
-- Everything is read from outside. A veth is followed to its other end and the bridge that is a port of; rules of the namespaces around are told
-- where they lead to the container's addresses; settings are compared with those of a new namespace; counters are those that tell of trouble.

local ns = require "nslua"
local options = require "nslua.command.cli.options"
local page = require "nslua.command.show.page"
local place = require "nslua.command.cli.place"
local schema = require "nslua.schema"

local declaration = options.declare {
  name = "show", usage = "[options] [<container> [<section>...]]", operands = "container",
  summary = "Show the network of a container or namespace on one page, or some sections of it.",
  { "s", "seconds", arg = "time", help = "watch the counters for so long, and tell which grew" },
  { "j", "json", help = "print JSON" },
  notes = "Sections: links routes rules neighbours sockets names published nat conntrack firewall settings counters.\n"
    .. "A dot is this namespace.",
  examples = { { "nslua show web", "the network of a container" }, { "nslua show web published nat", "how the host's ports lead to it" },
    { "nslua show -s 5 . counters", "what grows in this namespace within five seconds" } },
}

-- What a rule asks for is a list that may say of itself that it is inverted: in JSON an object, { values = [...], inverted = true }.
local function plain(value)
  if type(value) ~= "table" then
    return value
  end
  local out = {}
  for key, each in pairs(value) do
    out[key] = plain(each)
  end
  if out.inverted and out[1] ~= nil then
    return { values = table.move(out, 1, #out, 1, {}), inverted = true }
  end
  return out
end

return function(args)
  return declaration:run(args, function(o)
    local handle <close> = o[1] and place.open(o[1], true) or ns.netns.current()
    local wanted = { table.unpack(o, 2) }
    wanted.seconds = o.seconds and (tonumber(o.seconds) or o.seconds)
    local seen = handle:look(wanted)
    if o.json then
      local out = plain(seen)
      out.connections = next(out.connections or {}) and out.connections -- an empty table would be a list
      io.write(schema.json(out), "\n")
    else
      page.print(seen)
    end
    return 0
  end)
end
