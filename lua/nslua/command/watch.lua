-- a container's network with rates, drawn again and again: bytes and packets of links, connections, counters that grow
--
-- On a terminal it is drawn in place, else a block after the other. What counts losses, refusals and what was sent again has a "!". It ends with the
-- container, or with Ctrl-C.

local columns = require "nslua.command.cli.columns"
local core = require "nslua.core"
local errors = require "nslua.error"
local host = require "nslua.host"
local ns = require "nslua"
local options = require "nslua.command.cli.options"
local page = require "nslua.command.show.page"
local place = require "nslua.command.cli.place"
local schema = require "nslua.schema"
local units = require "nslua.units"

local declaration = options.declare {
  name = "watch", usage = "[options] [<container>]", operands = "container", summary = "Watch the network of a container or namespace.",
  { "n", "interval", arg = "time", help = "between two looks: 2, 500ms (default: 1 second)" },
  { "c", "count", arg = "number", help = "end after so many" },
  { "j", "json", help = "print JSON, a line each" },
  examples = { { "nslua watch web", "what goes through a container's links, and what is lost" },
    { "nslua watch -n 10 -c 6 --json web", "a minute of it, for a program" } },
}

local ROWS = 12 -- counters that are drawn where it is no terminal

local function sockets_of(handle)
  local out = {}
  for _, row in ipairs(handle.sockets:list { family = { "inet", "inet6" }, proto = "tcp", state = "all" }) do
    out[row.state] = (out[row.state] or 0) + 1
  end
  return out
end

local function conntrack(handle)
  local function number(name)
    local ok, value = pcall(handle.sysctl, handle, name)
    return ok and math.tointeger(tonumber(value)) or nil
  end
  local count = number "net.netfilter.nf_conntrack_count"
  return count and { count = count, max = number "net.netfilter.nf_conntrack_max" } or nil
end

-- What there is now, beside what there was.
local function compare(handle, before, after, seconds)
  local links = {}
  for _, row in ipairs(handle.link:list()) do
    local rates = {}
    for _, key in ipairs { "rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_dropped", "tx_dropped", "rx_errors", "tx_errors" } do
      local name = ("link.%s.%s"):format(row.name, key)
      rates[key] = math.max(0, (after[name] or 0) - (before[name] or after[name] or 0)) / seconds
    end
    links[#links + 1] = { name = row.name, up = row.up, carrier = row.carrier, rates = rates }
  end
  local growth = {}
  for _, each in ipairs(ns.look.grown(before, after, seconds)) do
    growth[#growth + 1] = not each.name:find "^link%." and each or nil
  end
  return { time = core.file.now(), seconds = seconds, name = handle:describe(), netns = handle.inode, links = links, tcp = sockets_of(handle),
    conntrack = conntrack(handle), growth = growth }
end

local function per_second(rate, of)
  return rate == 0 and "" or of and page.size(rate) or page.number(rate)
end

-- How many of the links and of the counters have room on the terminal: a page that is longer would run out at its top.
local function room(seen, terminal)
  local rows = terminal and core.process.winsize(1) or 0
  if rows < 1 then
    return #seen.links, ROWS
  end
  local left = rows - (seen.conntrack and 10 or 9) -- other lines, and that of the cursor
  local links = math.max(1, math.min(#seen.links, left))
  return links, math.max(0, left - links)
end

local function draw(seen, terminal)
  local lines = {}
  local most_links, most = room(seen, terminal)
  for i = 1, most_links do
    local link = seen.links[i]
    local r = link.rates
    local lost = r.rx_dropped + r.tx_dropped + r.rx_errors + r.tx_errors
    lines[i] = { LINK = link.name, STATE = link.up and (link.carrier and "up" or "no carrier") or "down", ["RX/s"] = per_second(r.rx_bytes, true),
      ["TX/s"] = per_second(r.tx_bytes, true), ["RX PKT/s"] = per_second(r.rx_packets), ["TX PKT/s"] = per_second(r.tx_packets),
      ["LOST/s"] = lost > 0 and "! " .. per_second(lost) or "" }
  end
  io.write(columns.safe(seen.name), os.date("  %H:%M:%S\n\n", math.floor(seen.time)))
  columns.print("links", { { name = "LINK" }, { name = "STATE" }, { name = "RX/s", right = true }, { name = "TX/s", right = true },
    { name = "RX PKT/s", right = true }, { name = "TX PKT/s", right = true }, { name = "LOST/s", right = true } }, lines, {})
  if #seen.links > most_links then
    io.write(("  and %d links more\n"):format(#seen.links - most_links))
  end
  local words = {}
  for state, n in pairs(seen.tcp) do
    words[#words + 1] = ("%d %s"):format(n, state)
  end
  table.sort(words)
  io.write("\nTCP: ", words[1] and table.concat(words, ", ") or "no sockets", "\n")
  if seen.conntrack then
    io.write(("tracked connections: %d%s\n"):format(seen.conntrack.count, seen.conntrack.max and " of " .. seen.conntrack.max or ""))
  end
  io.write "\n"
  for i = 1, math.min(#seen.growth, most) do
    local each = seen.growth[i]
    io.write(("%s %-32s %+d (%s/s)\n"):format(each.trouble and "!" or " ", columns.safe(each.name), each.growth, page.number(each.rate)))
  end
  if #seen.growth > most then
    io.write(("  and %d more that grow\n"):format(#seen.growth - most))
  end
end

return function(args)
  return declaration:run(args, function(o)
    local count = o.count and math.tointeger(tonumber(o.count))
    if o.count and (count or 0) < 1 then
      errors.misuse("--count: %s is no number from 1 on", o.count)
    end
    local interval = units.duration(tonumber(o.interval) or o.interval or 1, "--interval")
    if interval <= 0 then
      errors.misuse "--interval: more than 0 seconds"
    end
    if o[2] then
      return declaration:wrong(("one container, not more: %s"):format(columns.safe(o[2])))
    end
    local handle <close> = o[1] and place.open(o[1], true) or ns.netns.current()
    local terminal = host.is_terminal(1) and not o.json
    local pidfd = rawget(handle, "pidfd")
    local ending = pidfd and { { pidfd, "r" } } or {} -- a container's
    local before, at = ns.look.counters(handle), core.fd.clock()
    while count ~= 0 do
      core.fd.poll(ending, math.max(0, at + interval - core.fd.clock()))
      if handle.running and not handle:running() then
        io.stderr:write("nslua watch: ", columns.safe(handle:describe()), " has ended\n")
        return 0
      end
      local after, now = ns.look.counters(handle), core.fd.clock()
      local seen = compare(handle, before, after, now - at)
      before, at, count = after, now, count and count - 1
      if o.json then
        seen.tcp = next(seen.tcp) and seen.tcp -- an empty table would be a list
        io.write(schema.json(seen), "\n")
      else
        io.write(terminal and "\27[H\27[J" or "")
        draw(seen, terminal)
        io.write(terminal and "" or "\n")
      end
      errors.check("stdout", nil, io.stdout:flush())
    end
    return 0
  end)
end
