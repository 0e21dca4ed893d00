-- what is wrong with the network of a container, a namespace, a lab, and how it is mended
--
-- Looks at links, addresses, routes, neighbours, settings, rules, counters and sockets, and at those of the namespaces that links lead to: the
-- host's side of a container too. Each finding says what was seen and where it was read, why it matters, how sure it is, and the command that
-- mends it; the most likely cause comes first. Nothing is changed. The status is 0 where nothing was found, 1 where something was, 2 for misuse.
--
-- A check is a file: return { name = "x", why = "...", run = function(target, report) report:found { problem =, evidence =, fix =, sure = } end }.
-- Your own are those in ~/.config/nslua/checks, and in the folder checks of each in $NSLUA_PATH.

local columns = require "nslua.command.cli.columns"
local errors = require "nslua.error"
local ns = require "nslua"
local options = require "nslua.command.cli.options"
local place = require "nslua.command.cli.place"
local schema = require "nslua.schema"
local spaces = require "nslua.command.list.spaces"
local wrap = require "nslua.command.cli.wrap"

local safe = columns.safe

local declaration = options.declare {
  name = "doctor", usage = "[options] [<container> | <netns> | lab:<name>[/<node>] | all]...", operands = "container", status = 2,
  summary = "Find what is wrong with a network, and how it is mended.",
  { "j", "json", help = "print JSON" },
  { "q", "quick", help = "send nothing: only look at what can be read" },
  { "p", "port", arg = "port", many = true, help = "something should listen on it: 80, 53/udp; may be said again" },
  { "c", "check", arg = "name", many = true, help = "this check alone; may be said again" },
  { "l", "list", help = "list the checks" },
  { "e", "explain", arg = "name", help = "tell what a check looks for and why" },
  examples = { { "nslua doctor web", "what is wrong with a container's network" }, { "nslua doctor -p 80 web", "and whether it listens on port 80" },
    { "nslua doctor --quick all || alert", "for a script" } },
}

local function sureness(sure)
  return sure >= 0.9 and "sure" or sure >= 0.7 and "likely" or "possible"
end

local function print_findings(found)
  for i, f in ipairs(found) do
    io.write(i > 1 and "\n" or "", safe(f.place), ": ", safe(f.problem), "  (", sureness(f.sure), ", ", f.check, ")\n")
    for _, seen in ipairs(f.evidence) do
      io.write("  seen  ", safe(seen), "\n")
    end
    io.write("  why   ", wrap(f.why, "        ", 100), "\n")
    if f.command then
      io.write("  mend  ", safe(f.command), "\n")
    end
  end
  if not found[1] then
    io.write "nothing found\n"
  end
end

local function plain(found)
  local out = {}
  for i, f in ipairs(found) do
    out[i] = { check = f.check, problem = f.problem, evidence = f.evidence, why = f.why, fix = f.fix, command = f.command, place = f.place,
      target = f.target, sure = f.sure }
  end
  return out
end

-- Containers by their network: what is published is theirs.
local function containers_of()
  local out = {}
  local ok, rows = pcall(ns.container.list)
  for _, row in ipairs(ok and rows or {}) do
    if row.netns and not row.host_network and not out[row.netns] then
      out[row.netns] = row.container
    end
  end
  return out
end

-- What is asked about, as handles; what was opened goes into `opened`.
local function targets(words, opened)
  local out = {}
  local function add(handle)
    out[#out + 1], opened[#opened + 1] = handle, handle
  end
  for _, word in ipairs(words) do
    local name, node = word:match "^lab:([^/]+)/?(.*)$"
    if word == "all" then
      local containers = containers_of()
      for _, space in ipairs(spaces.all()) do
        local own = space.row and containers[space.inode]
        local found, handle = pcall(own and ns.container.find or spaces.enter, own or space) -- it may have ended meanwhile
        handle = found and handle or own and spaces.enter(space)
        if handle and own and found then
          add(handle)
        elseif handle then
          handle.label = rawget(handle, "label") or space.row and space.name or nil
          add(handle)
        end
      end
    elseif name then
      local lab = ns.lab.open(name)
      opened[#opened + 1] = lab
      if node ~= "" and not lab.node[node] then
        errors.misuse("lab %s has no node '%s'", name, node)
      end
      for _, each in ipairs(node ~= "" and { lab.node[node] } or lab.nodes) do
        out[#out + 1] = each
      end
    else
      add(place.open(word, true))
    end
  end
  if not words[1] then
    add(ns.netns.current())
  end
  return out
end

local function explain(name)
  for _, each in ipairs(ns.doctor.checks()) do
    if each.name == name then
      io.write(each.name, "\n  ", wrap(each.why, "  ", 100), "\n", each.probe and "  It sends something: --quick leaves it out.\n" or "",
        each.on_request and ("  It is looked for only where it is asked for: --check %s.\n"):format(each.name) or "")
      return 0
    end
  end
  local known = {}
  for _, each in ipairs(ns.doctor.checks()) do
    known[each.name] = true
  end
  errors.misuse("%s", require("nslua.check").unknown("check", name, known))
end

local function list(o)
  local out = {}
  for i, each in ipairs(ns.doctor.checks()) do
    out[i] = { name = each.name, why = each.why, probe = each.probe or false, on_request = each.on_request or false }
    if not o.json then
      io.write(("%-20s %s\n"):format(safe(each.name), safe(each.why:match "^.-[.:]%f[%s%z]" or each.why)))
    end
  end
  if o.json then
    io.write(schema.json(out), "\n")
  end
  return 0
end

return function(args)
  return declaration:run(args, function(o)
    if o.list then
      return list(o)
    elseif o.explain then
      return explain(o.explain)
    end
    local opened = {}
    local _ <close> = setmetatable({}, { __close = function()
      for _, each in ipairs(opened) do
        each:close()
      end
    end })
    local found = ns.doctor(targets(o, opened), { quick = o.quick, checks = o.check, port = o.port })
    if o.json then
      io.write(schema.json(plain(found)), "\n")
    else
      print_findings(found)
    end
    for _, text in ipairs(found.unseen) do
      io.stderr:write("nslua doctor: not looked at: ", safe(text), "\n")
    end
    return found[1] and 1 or 0
  end)
end
