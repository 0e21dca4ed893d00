-- list the sockets of a container or namespace, as ss(8) does, with the processes that have them
--
-- Options, states and filters are those of ss(8); ports and addresses are numbers. A container needs nothing in it: the kernel is asked from outside.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local filters = require "nslua.command.sockets.filter"
local host = require "nslua.host"
local lines = require "nslua.command.sockets.line"
local ns = require "nslua"
local owners_of = require "nslua.owners"
local options = require "nslua.command.cli.options"
local place = require "nslua.command.cli.place"
local rawfile = require "nslua.command.sockets.rawfile"
local safe = require("nslua.command.cli.columns").safe
local schema = require "nslua.schema"

local declaration = options.declare {
  name = "sockets", usage = "[options] [<container>] [<filter>]", operands = "container", status = 255,
  summary = "List the sockets of a network namespace: those that are connected, where no option says otherwise.",
  { "a", "all", help = "those that listen, and those that are connected" },
  { "l", "listening", help = "only those that listen" },
  { "t", "tcp", help = "TCP" },
  { "u", "udp", help = "UDP" },
  { "w", "raw", help = "raw" },
  { "S", "sctp", help = "SCTP" },
  { "M", "mptcp", help = "MPTCP" },
  { "x", "unix", help = "unix" },
  { "0", "packet", help = "packet" },
  { false, "netlink", help = "netlink" },
  { "4", "ipv4", help = "only of IPv4" },
  { "6", "ipv6", help = "only of IPv6" },
  { "p", "processes", help = "the processes that have them open" },
  { "e", "extended", help = "the user, the inode, the cookie" },
  { "o", "options", help = "timers" },
  { "m", "memory", help = "memory, and packets that found no room" },
  { "i", "info", help = "what TCP knows: round trips, window, what was sent again" },
  { "n", "numeric", help = "ports are numbers anyway" },
  { "H", "no-header", help = "no headings" },
  { "O", "oneline", help = "one line for each" },
  { "s", "summary", help = "how many there are" },
  { "j", "json", help = "print JSON" },
  { "N", "net", arg = "netns", help = "the namespace: a name, a pid, a container" },
  notes = "A filter: [state <state>] [exclude <state>] [<expression>], of src, dst, sport, dport, dev, and, or, not and parentheses:\n"
    .. "  nslua sockets -t web state established '( dport = :443 or dst 10.0.0.0/8 )'\n"
    .. "States: established syn-sent syn-recv fin-wait-1 fin-wait-2 time-wait closed close-wait last-ack listening closing;\n"
    .. "all connected synchronized bucket big.",
  examples = {
    { "nslua sockets -tlp web", "what listens in a container, and which process it is" },
    { "nslua sockets -ti web dport = :5432", "its connections to a database, with round trips and retransmissions" },
  },
}

local STATES = "established syn-sent syn-recv fin-wait-1 fin-wait-2 time-wait closed close-wait last-ack listen closing"

-- What words that stand for several states leave out.
local groups = { estab = "established", listening = "listen", unconn = "closed", unconnected = "closed", close = "closed", all = STATES,
  connected = STATES:gsub(" closed", ""):gsub(" listen", ""), bucket = "time-wait syn-recv",
  synchronized = STATES:gsub(" closed", ""):gsub(" listen", ""):gsub(" syn%-sent", ""),
  big = STATES:gsub(" syn%-recv", ""):gsub(" time%-wait", "") }

local function words(text)
  local out = {}
  for word in text:gmatch "%S+" do
    out[#out + 1] = word
  end
  return out
end

local function wanted(o, filter)
  local protos, families = {}, {}
  for _, proto in ipairs { "tcp", "udp", "raw", "sctp", "mptcp" } do
    protos[#protos + 1] = o[proto] and proto or nil
  end
  local inet = o.ipv4 and not o.ipv6 and { "inet" } or o.ipv6 and not o.ipv4 and { "inet6" } or { "inet", "inet6" }
  local any = protos[1] or o.unix or o.packet or o.netlink
  for _, family in ipairs { "unix", "packet", "netlink" } do
    families[#families + 1] = (o[family] or not any and not o.ipv4 and not o.ipv6) and family or nil
  end
  local state = filter.states
  if filter.excluded then
    local out, without = {}, {}
    for _, word in ipairs(filter.excluded) do
      for state_word in (groups[word] or word):gmatch "%S+" do
        if not (" " .. STATES .. " "):find(" " .. state_word .. " ", 1, true) then
          errors.misuse("%s", check.unknown("state", word, { "listening", table.unpack(words(STATES)) }))
        end
        without[state_word] = true
      end
    end
    for word in STATES:gmatch "%S+" do
      out[#out + 1] = not without[word] and word or nil
    end
    state = state or out
  end
  return protos, inet, families, state or o.all and { "all" } or nil, any
end

-- UDP and raw sockets do not listen: those without a peer count as it.
local function shown(row, o, state)
  if state then
    return true
  end
  local is = row.state
  local listens = is == "listen" or is == "closed" and row.proto ~= "tcp" or row.family == "packet" or row.family == "netlink"
  return (o.listening ~= nil) == (listens == true)
end

local function collect(handle, o, filter)
  local protos, inet, families, state, any = wanted(o, filter)
  local out = {}
  local brief = { brief = not (o.json or o.info or o.memory) }
  local function take(query, all)
    local list = handle.sockets:list(query, brief)
    if all and not filter.test then
      table.move(list, 1, #list, #out + 1, out)
      return
    end
    for _, row in ipairs(list) do
      if (all or shown(row, o, state)) and (not filter.test or filter.test(row)) then
        out[#out + 1] = row
      end
    end
  end
  local narrow = state or o.listening and not (any and not o.tcp) and { "listen", "closed" } or nil
  if narrow and narrow[1] == "listening" then
    narrow = { "listen", "closed" }
  end
  for _, family in ipairs(families) do
    take { family = family, state = family == "unix" and narrow or nil }
  end
  -- raw ones, where sock_diag has none: those with a state that is asked for
  local states
  for _, word in ipairs(state or {}) do
    states = states or {}
    for each in (groups[word] or word):gmatch "%S+" do
      states[each] = true
    end
  end
  if (o.raw or not any) and not handle.sockets:list({ family = inet, proto = "raw" }, brief)[1] then
    for _, row in ipairs(rawfile.list(handle, inet)) do
      if shown(row, o, state) and (not states or states[row.state]) and (not filter.test or filter.test(row)) then
        out[#out + 1] = row
      end
    end
  end
  local others = #out
  if protos[1] or not any then
    -- TCP alone: the kernel leaves out those that listen
    take({ family = inet, proto = protos[1] and protos or nil, state = narrow or not o.all and { "connected", "closed" } or nil },
      state or not o.listening and protos[1] == "tcp" and not protos[2])
  end
  return out, others
end

local function details(row, o, owners)
  local first, second = {}, {}
  first[1] = owners and lines.users(owners[row.inode])
  if o.options then
    first[#first + 1] = lines.timer(row)
  end
  if o.extended then
    first[#first + 1] = lines.extended(row)
  end
  if o.memory then
    second[#second + 1] = lines.memory(row)
  end
  if o.info then
    second[#second + 1] = lines.info(row)
  end
  return table.concat(first, " "), table.concat(second, " ")
end

local HEAD = { "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Process" }

-- As ss has it: no column that would say the same everywhere.
local function columns_of(o, filter)
  local kinds = 0
  for _, name in ipairs { "tcp", "udp", "raw", "sctp", "mptcp", "unix", "packet", "netlink" } do
    kinds = kinds + (o[name] and 1 or 0)
  end
  local group = filter.states and #filter.states == 1 and filter.states[1]
  local one = group and not (group == "all" or group == "connected" or group == "synchronized" or group == "bucket" or group == "big")
  local connected = kinds == 1 and (o.udp or o.raw) and not o.all and not o.listening and not filter.states -- those have one state then
  return { kinds ~= 1, not one and not connected, true, true, true, true, true }
end

-- Text of each cell: of rows of which only the plain columns are shown, nslua.core makes it of the kernel's bytes.
local function print_table(handle, rows, others, o, scan, columns)
  local cells, names, owners = {}, {}, nil
  local plain = not (o.options or o.extended or o.memory or o.info)
  for i, command in ipairs(scan and scan:commands() or {}) do
    names[i] = safe(command)
  end
  if scan and (others > 0 or not plain) then
    owners = owners_of.of(scan)
  end
  for i = 1, plain and others or #rows do
    local row = rows[i]
    local src, sport, dst, dport = lines.ends(row)
    local first, second = details(row, o, owners)
    cells[i] = { lines.netid(row), lines.state(row), ("%d"):format(row.recv_queue or 0), ("%d"):format(row.send_queue or 0), src .. ":" .. sport,
      dport ~= "" and dst .. ":" .. dport or dst, first, second }
  end
  local devs = setmetatable({}, { __index = function(devs, index)
    local link = handle.link:get(index)
    devs[index] = link and safe(link.name) or ("if%d"):format(index)
    return devs[index]
  end })
  io.write(core.socktext.lines(rows, cells, columns, not o.no_header and HEAD or nil, devs, o.oneline, scan, names))
end

local function print_json(rows, owners)
  local list = {}
  for i, row in ipairs(rows) do
    local t = row:decode()
    t.owners = owners and owners[row.inode] or nil
    list[i] = t
  end
  io.write(schema.json(list), "\n")
end

local function print_summary(rows)
  local count, order = {}, {}
  for _, row in ipairs(rows) do
    local key = ("%-6s %s"):format(lines.netid(row), lines.state(row))
    if not count[key] then
      order[#order + 1] = key
    end
    count[key] = (count[key] or 0) + 1
  end
  table.sort(order)
  for _, key in ipairs(order) do
    print(("%s %d"):format(key, count[key]))
  end
end

return function(args)
  return declaration:run(args, function(o)
    o.no_header = o["no-header"]
    local name, first = o.net, 1
    if not name and o[1] and not filters.begins(o[1]) then
      name, first = o[1], 2
    end
    local filter = filters.read { table.unpack(o, first) }
    local handle <close> = name and place.open(name, true) or ns.netns.current()
    if o.summary then
      o.all = true
    end
    local scan = o.processes and owners_of.scan(true) or nil -- meanwhile the kernel lists the sockets
    local rows, others = collect(handle, o, filter)
    local _, unseen = nil, 0
    if scan then
      _, unseen = scan:commands()
    end
    if o.summary then
      print_summary(rows)
    elseif o.json then
      print_json(rows, scan and owners_of.of(scan))
    else
      print_table(handle, rows, others, o, scan, columns_of(o, filter))
    end
    if unseen and unseen > 0 and host.is_terminal(2) then
      io.stderr:write(("nslua sockets: %d processes of others may not be looked at\n"):format(unseen))
    end
    return 0
  end)
end
