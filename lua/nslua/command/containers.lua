-- list containers of every engine, by what the engines leave on disk: no daemon need run
--
-- docker, podman, CRI-O, containerd, Kubernetes' pods, runc, crun, LXC, systemd-nspawn, and what only cgroups tell of; root's, and for root those of
-- users too. Containers that share a network say with whom.

local columns = require "nslua.command.cli.columns"
local core = require "nslua.core"
local ns = require "nslua"
local options = require "nslua.command.cli.options"
local schema = require "nslua.schema"

local declaration = options.declare {
  name = "containers", usage = "[options]", summary = "List the containers that run, and where their network is.",
  { "a", "all", help = "also those that do not run" },
  { "j", "json", help = "print JSON" },
  { "q", "quiet", help = "print what nslua enter and others take, a line each" },
  { "u", "notruncate", help = "do not cut text to the terminal's width; ids in full" },
  examples = {
    { "nslua containers -a", "every container that is known" },
    { "for c in $(nslua containers -q); do nslua link list -n $c; done", "the links of all of them" },
  },
}

local COLUMNS = { { name = "NAME", trunc = true }, { name = "ENGINE" }, { name = "ID" }, { name = "STATE" }, { name = "PID", right = true },
  { name = "ADDRESS" }, { name = "NETWORK", trunc = true }, { name = "IMAGE", trunc = true } }

local function network(row)
  if row.host_network then
    return "the host's"
  elseif row.shares and row.shares[1] then
    return "with " .. table.concat(row.shares, ", ")
  end
  return row.netns and "own" or ""
end

local function short(id, o)
  return #id == 64 and not o.notruncate and id:sub(1, 12) or id
end

-- What finds it again.
local function word(row)
  if row.pod and row.pod.name then
    return "pod:" .. row.name
  end
  return (row.engine == "unknown" and "" or row.engine .. ":") .. (row.names[1] or row.container)
end

local function print_json(rows)
  local list = {}
  for i, row in ipairs(rows) do
    local each = { id = row.container, addresses = row.addresses }
    for _, key in ipairs { "name", "engine", "names", "state", "pid", "image", "created", "uid", "netns", "host_network", "shares", "pod" } do
      each[key] = row[key]
    end
    each.labels = next(row.labels) and row.labels or nil
    list[i] = each
  end
  print(schema.json(list))
end

return function(args)
  collectgarbage "stop" -- it ends before there is much to collect
  return declaration:run(args, function(o)
    if o[1] then
      return declaration:wrong(("no name is taken here: %s; nslua show %s looks at one"):format(columns.safe(o[1]), columns.safe(o[1])))
    elseif o.quiet and o.json then
      return declaration:wrong "--quiet and --json exclude each other"
    end
    local rows, problems = ns.container.list { all = o.all, addresses = not o.quiet }
    if o.quiet then
      for _, row in ipairs(rows) do
        print((columns.safe(word(row)):gsub("%s", "?")))
      end
      return 0
    end
    if o.json then
      print_json(rows)
    else
      local lines = {}
      for i, row in ipairs(rows) do
        lines[i] = { NAME = row.name, ENGINE = row.engine .. (row.uid and (" of " .. (core.idmap.name(row.uid) or row.uid)) or ""),
          ID = short(row.container, o), STATE = row.state, PID = row.pid and ("%d"):format(row.pid) or "",
          ADDRESS = row.addresses or "",
          NETWORK = network(row), IMAGE = row.image or "" }
      end
      columns.print("containers", COLUMNS, lines, o)
    end
    local denied = false
    for _, problem in ipairs(problems) do
      denied = denied or problem:find(core.strerror(core.errno.EACCES), 1, true)
      io.stderr:write("nslua containers: not readable: ", columns.safe(problem), "\n")
    end
    if denied then
      io.stderr:write "nslua containers: root sees the names that are in there\n"
    end
    return 0
  end)
end
