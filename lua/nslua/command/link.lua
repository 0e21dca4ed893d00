-- list links, of this namespace, another or all of them, as ip link does
--
-- The table names the other end of a veth with its namespace or container. --json is what ip -j prints.

local link = require "nslua.command.list.link"
local run = require "nslua.command.list.run"
local words = require "nslua.command.list.words"

local function when_statistics(o)
  return o.statistics
end

return run.command {
  name = "link", summary = "List links (network devices).",
  usage = "[options] [list [<words>]]",
  notes = [[Words of list: [dev] <name>, type <kind>, master <name>, nomaster, group <group>, up.
What they leave out is not there; ip -j prints empty objects for some.]],
  more = { { "s", "statistics", help = "print counters: bytes received and sent, with --json all of them" } },
  words = link.words, bare = words.bare_dev,
  rows = function(handle, f)
    return link.rows(handle, f, function(name)
      words.absent('Device "%s" does not exist.', name)
    end)
  end,
  object = function(row, _, o, handle)
    return link.object(row, o, handle)
  end,
  brief = function(row, _, _, handle)
    local text, object = link.brief(row, handle)
    local flags = link.flags(row, handle)
    return ("%s%s<%s> "):format(text, row.address and row.address .. " " or "", table.concat(flags, ",")),
      object:add("address", row.address):add("flags", flags)
  end,
  columns = {
    { name = "INDEX", right = true }, { name = "NAME" }, { name = "STATE" }, { name = "MTU", right = true }, { name = "ADDRESS" },
    { name = "MASTER" }, { name = "RX", right = true, when = when_statistics }, { name = "TX", right = true, when = when_statistics },
    { name = "KIND" }, { name = "LINK", trunc = true },
  },
  line = function(row, _, o, handle)
    local line = { INDEX = row.index, NAME = row.name, MTU = row.mtu, ADDRESS = row.address, KIND = row.kind or tostring(row.link_type),
      STATE = not row.up and "down" or row.operstate == "up" and "up" or row.carrier == false and "no-carrier" or row.operstate == "unknown" and "up"
        or row.operstate,
      MASTER = row.master_index and link.name(handle, row.master_index), LINK = link.wired(row, handle) }
    if o.statistics then
      line.RX, line.TX = ("%.0f"):format(row.stats.rx_bytes), ("%.0f"):format(row.stats.tx_bytes)
    end
    return { line }
  end,
}
