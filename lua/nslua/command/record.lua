-- write down what changes in the network of every namespace and container, and tell later what changed before it broke
--
-- Links, addresses, routes, rules, neighbours and tracked connections, with the time, the namespace and the container: a line of JSON each. Without a
-- file they are printed as they come. A journal is read by the same command: all of it, the state at a time, or what differs between two times.

local core = require "nslua.core"
local errors = require "nslua.error"
local host = require "nslua.host"
local log = require "nslua.command.record.log"
local ns = require "nslua"
local options = require "nslua.command.cli.options"
local place = require "nslua.command.cli.place"
local schema = require "nslua.schema"
local units = require "nslua.units"

local declaration = options.declare {
  name = "record", status = 2, operands = "file",
  usage = "[-o <file>] [options]\n nslua record [--at <time> | --diff <time> <time>] [options] <file>",
  summary = "Write a journal of what changes in network namespaces, or read one.",
  "To write",
  { "o", "output", arg = "file", help = "the journal; without it events are printed as they come" },
  { "L", "limit", arg = "size", help = "then the file becomes <file>.1, and a new one begins: 100mb" },
  { "f", "for", arg = "time", help = "end after that long: 10m" },
  { "q", "quiet", help = "say nothing of how it goes" },
  "To read",
  { false, "at", arg = "time", help = "the state at a time" },
  { false, "diff", arg = "times", help = "what is different between two times" },
  { "S", "since", arg = "time", help = "what was told since then" },
  { "U", "until", arg = "time", help = "what was told until then" },
  { "a", "all", help = "also what follows from others: the kernel's routes of an address" },
  "Both",
  { "N", "net", arg = "netns", many = true, help = "only this namespace or container; more than once, if need be" },
  { "w", "what", arg = "list", help = "only these: link,address,route,rule,neighbour,conntrack" },
  { "j", "json", help = "print JSON, a line each" },
  notes = "With --diff the exit status is 0 where nothing changed, 1 where something did, 2 in trouble.\n"
    .. "Times: 14:03, 14:03:22.5, 2026-11-26T14:03, @SECONDS, +10s (after the begin), -5m (before the end), begin, end.",
  examples = {
    { "nslua record -o /var/tmp/net.journal --limit 100mb", "of all namespaces, until it is ended" },
    { "nslua record --diff 14:00 14:05 /var/tmp/net.journal", "what changed in those five minutes" },
    { "nslua record --at -10s -N web /var/tmp/net.journal", "the network of web, ten seconds before the end" },
    { "nslua record -N web", "what changes in it now" },
  },
}

local function kinds(o)
  if not o.what then
    return nil
  end
  local out = {}
  for word in o.what:gmatch "[^,%s]+" do
    out[#out + 1] = word
  end
  return out
end

local function count(n, word)
  return ("%d %s%s"):format(n, word, n == 1 and "" or "s")
end

local function write(o)
  local seconds = o["for"] and units.duration(tonumber(o["for"]) or o["for"], "--for")
  local handles, targets <close> = {}, setmetatable({}, { __close = function(t)
    for _, handle in ipairs(t) do
      handle:close()
    end
  end })
  for i, word in ipairs(o.net or {}) do
    targets[i] = place.open(word, true)
    handles[i] = targets[i]
  end
  local recorder <close> = ns.journal.record { file = o.output, netns = o.net and handles or "all", objects = kinds(o), limit = o.limit }
  local tells = o.output and not o.quiet
  if tells then
    io.stderr:write(("writing what changes in %s to %s; Ctrl-C ends it\n"):format(count(recorder:namespaces(), "namespace"), o.output))
  end
  local last = setmetatable({}, { __close = function()
    if tells then
      io.stderr:write(("%s in %s\n"):format(count(recorder.events, "change"), o.output))
    end
  end })
  local ends <close> = last -- luacheck: ignore 211
  local deadline = seconds and core.fd.clock() + seconds
  while true do
    local left = deadline and math.max(0, deadline - core.fd.clock())
    local e = recorder:next(left)
    if not e then
      return 0
    elseif not o.output and (o.all or o.json or not log.implied(e)) then
      io.write(o.json and schema.json(e) or log.line(e), "\n")
      io.flush()
    end
  end
end

-- Of a state, the namespaces that are asked for.
local function only(o, journal, state)
  local out, seen = {}, {}
  for _, space in ipairs(state.namespaces) do
    for _, word in ipairs(o.net or { false }) do
      if not word or log.is(space, word) then
        out[#out + 1] = space
        seen[word] = true
        break
      end
    end
  end
  for _, word in ipairs(o.net or {}) do
    if not seen[word] and not log.knows(journal, word) then
      errors.raise { call = "record", message = "no namespace or container of that name is in the journal", detail = word }
    end
  end
  local wanted = kinds(o)
  for _, space in ipairs(wanted and out or {}) do
    for _, what in ipairs { "link", "address", "route", "rule", "neighbour", "conntrack" } do
      space[what] = (" " .. table.concat(wanted, " ") .. " "):find(" " .. what .. " ", 1, true) and space[what] or nil
    end
  end
  state.namespaces = out
  return state
end

-- A time that something is known of.
local function known(journal, text)
  local time = journal:time(text)
  if time < journal.first then
    errors.raise { call = "record", message = ("the journal begins at %s, nothing is known of %s"):format(log.clock(journal.first), text) }
  end
  return time
end

local function read(o, path)
  ns.journal.check(kinds(o))
  local journal = ns.journal.open(path)
  if journal.torn and host.is_terminal(2) then
    io.stderr:write "its last line was not written to the end: left out\n"
  end
  if journal.bad > 0 then
    io.stderr:write(("nslua record: %s of %s cannot be read: left out\n"):format(count(journal.bad, "line"), log.safe(path)))
  end
  if o.at then
    local state = only(o, journal, journal:at(known(journal, o.at)))
    print(o.json and schema.json(state) or log.safe(state:text()))
  elseif o.diff then
    local from, to = known(journal, o.diff[1]), known(journal, o.diff[2])
    local changes = ns.diff(only(o, journal, journal:at(from)), only(o, journal, journal:at(to)))
    if o.json then
      for _, change in ipairs(changes) do
        print(schema.json(change))
      end
    elseif changes[1] then
      print(log.safe(changes:text()))
    end
    return changes[1] and 1 or 0
  else
    only(o, journal, { namespaces = {} })
    local from, to = o.since and journal:time(o.since), o["until"] and journal:time(o["until"])
    local wanted = kinds(o)
    for e in journal:events(from, to) do
      if log.passes(e, o.net, wanted) and (o.all or o.json or not log.implied(e)) then
        io.write(o.json and schema.json(log.plain(e)) or log.line(e), "\n")
      end
    end
  end
  return 0
end

-- "--diff T1 T2": the second time may begin with a minus, as options do.
local function two_times(args)
  local out, times = {}, nil
  local i = 1
  while i <= #args do
    if args[i] == "--diff" and not times and args[i + 2] then
      times = { args[i + 1], args[i + 2] }
      out[#out + 1] = "--diff=" .. args[i + 1]
      i = i + 3
    else
      out[#out + 1] = args[i]
      i = i + 1
    end
  end
  return out, times
end

return function(args)
  local words, times = two_times(args)
  return declaration:run(words, function(o)
    if o.diff and not times then
      return declaration:wrong "--diff takes two times and a file"
    end
    o.diff = times
    if o[1] and (o.output or o.limit or o["for"]) then
      return declaration:wrong("-o, --limit and --for are to write a journal, %s is one to read", log.safe(o[1]))
    elseif o[2] then
      return declaration:wrong("one journal at a time; %q is more", o[2])
    elseif not o[1] and (o.at or o.diff or o.since or o["until"]) then
      return declaration:wrong "which journal is to be read?"
    elseif o[1] then
      return read(o, o[1])
    end
    return write(o)
  end)
end
