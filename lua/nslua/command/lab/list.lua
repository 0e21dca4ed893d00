-- nslua lab list: a line for each lab that runs.

local columns = require "nslua.command.cli.columns"
local core = require "nslua.core"
local json = require "nslua.command.list.json"
local ns = require "nslua"
local options = require "nslua.command.cli.options"

local declaration = options.declare {
  name = "lab list", usage = "[options]", summary = "List the labs that run: this user's, and for root those of every user.",
  { "j", "json", help = "print JSON" },
  { "q", "quiet", help = "print the names only" },
}

local COLUMNS = { { name = "NAME" }, { name = "NODES", right = true }, { name = "STATE" }, { name = "PID", right = true }, { name = "SINCE" } }
local USER = { name = "USER" }

local function print_json(rows)
  local list = {}
  for i, row in ipairs(rows) do
    list[i] = json.object():add("name", row.name):add("uid", row.uid):add("nodes", row.nodes):add("state", row.kept and "kept" or "running")
      :add("pid", row.pid):add("script", not row.kept and row.script or nil):add("since", row.since)
  end
  print(json.text(list))
end

return function(args)
  return declaration:run(args, function(o)
    local rows, own, others = ns.lab.list(), core.idmap.who(), false
    if o.json then
      print_json(rows)
      return 0
    end
    local lines = {}
    for i, row in ipairs(rows) do
      others = others or row.uid ~= own
      lines[i] = { NAME = row.name, NODES = ("%d"):format(#row.nodes), STATE = row.kept and "kept" or "running", PID = ("%d"):format(row.pid or 0),
        SINCE = os.date("%Y-%m-%d %H:%M:%S", row.since), USER = core.idmap.name(row.uid) or ("%d"):format(row.uid) }
      if o.quiet then
        print(row.uid == own and row.name or ("%d/%s"):format(row.uid, row.name))
      end
    end
    if not o.quiet and lines[1] then
      columns.print("labs", others and table.move(COLUMNS, 1, #COLUMNS, 1, { [#COLUMNS + 1] = USER }) or COLUMNS, lines, {})
    end
    return 0
  end)
end
