-- one page about a container's network: links and where they lead, addresses, routes, neighbours, what listens, what is unusual
--
-- Everything is read from outside. A veth is followed to its other end and the bridge that is a port of; settings are compared with those of a new
-- namespace; counters are those that tell of trouble.

local columns = require "nslua.command.cli.columns"
local look = require "nslua.command.show.look"
local ns = require "nslua"
local options = require "nslua.command.cli.options"
local place = require "nslua.command.cli.place"
local schema = require "nslua.schema"
local sockets = require "nslua.command.sockets.line"

local declaration = options.declare {
  name = "show", usage = "[options] [<container>]", operands = "container", summary = "Show the network of a container or namespace on one page.",
  { "j", "json", help = "print JSON" },
  examples = { { "nslua show web", "the network of a container" }, { "nslua show", "that of this namespace" } },
}

local safe = columns.safe

local function heading(text)
  io.write("\n", text, "\n")
end

local function size(bytes)
  local n = bytes or 0
  for _, unit in ipairs { "B", "kB", "MB", "GB" } do
    if n < 1000 or unit == "GB" then
      return unit == "B" and ("%d B"):format(n) or ("%.3g %s"):format(n, unit)
    end
    n = n / 1000
  end
end

local function title(seen)
  local words = { not seen.name:find "^net:" and safe(seen.name) or nil }
  if seen.container then
    words[#words + 1] = safe(seen.container:sub(1, 12))
  end
  words[#words + 1] = seen.image and "image " .. safe(seen.image) or nil
  words[#words + 1] = seen.pid and ("pid %d%s"):format(seen.pid, seen.command and " (" .. safe(seen.command) .. ")" or "") or nil
  words[#words + 1] = ("net:[%d]"):format(seen.netns)
  io.write(table.concat(words, ", "), "\n")
  if seen.host_network then
    io.write "has no network of its own: this is the host's\n"
  elseif seen.shares and seen.shares[1] then
    io.write("shares its network with ", safe(table.concat(seen.shares, ", ")), "\n")
  end
end

local function links(seen)
  local lines = {}
  for i, link in ipairs(seen.links) do
    local leads = ""
    if link.peer then
      leads = ("%s in %s"):format(link.peer.name, link.peer.space) .. (link.peer.bridge and ", port of " .. link.peer.bridge or "")
        .. (link.peer.up == false and ", which is down" or "")
    elseif link.master then
      leads = "port of " .. link.master
    end
    local lost = (link.rx_dropped or 0) + (link.tx_dropped or 0) + (link.rx_errors or 0) + (link.tx_errors or 0)
    lines[i] = { LINK = link.name, KIND = link.kind or "", STATE = link.up and (link.carrier and "up" or "no carrier") or "down",
      MTU = ("%d"):format(link.mtu), ADDRESS = link.addresses, RX = size(link.rx_bytes), TX = size(link.tx_bytes),
      LOST = lost > 0 and ("%d"):format(lost) or "", ["LEADS TO"] = leads }
  end
  columns.print("links", { { name = "LINK" }, { name = "KIND" }, { name = "STATE" }, { name = "MTU", right = true }, { name = "ADDRESS" },
    { name = "RX", right = true }, { name = "TX", right = true }, { name = "LOST", right = true }, { name = "LEADS TO", trunc = true } }, lines, {})
end

local function routes(seen)
  for _, route in ipairs(seen.routes) do
    local words = { "  " .. (route.type ~= "unicast" and route.type .. " " or "") .. route.dst }
    local function add(word, value)
      words[#words + 1] = value and word .. " " .. tostring(value) or nil
    end
    add("via", route.via)
    add("dev", route.dev)
    add("src", route.src)
    add("metric", route.metric ~= 0 and route.metric or nil)
    for _, hop in ipairs(route.nexthops or {}) do
      add("nexthop via", hop.via)
    end
    io.write(safe(table.concat(words, " ")), "\n")
  end
end

local function listening(seen)
  for _, each in ipairs(seen.listening) do
    local full = ""
    if each.waiting and each.backlog and each.waiting > each.backlog then
      full = ("  its queue is full: %d of %d"):format(each.waiting, each.backlog)
    end
    io.write(("  %-4s %-24s %s%s\n"):format(each.proto, each.text, sockets.users(each.owners) or "", full))
  end
  local words = {}
  for key, n in pairs(seen.connections) do
    words[#words + 1] = ("%d %s"):format(n, key)
  end
  table.sort(words)
  if words[1] then
    io.write("  besides: ", table.concat(words, ", "), "\n")
  end
end

local function page(seen)
  title(seen)
  io.write "\n"
  links(seen)
  if seen.routes[1] then
    heading "ROUTES"
    routes(seen)
  end
  if seen.rules[1] then
    heading "RULES (beside the usual)"
    for _, rule in ipairs(seen.rules) do
      io.write(("  %d: from %s to %s%s table %s\n"):format(rule.priority, rule.from or "all", rule.to or "all",
        rule.fwmark and (" fwmark 0x%x"):format(rule.fwmark) or "", tostring(rule.table)))
    end
  end
  if seen.neighbours[1] then
    heading "NEIGHBOURS"
    for _, each in ipairs(seen.neighbours) do
      io.write(("  %s dev %s %s %s\n"):format(each.dst, safe(each.dev or "?"), each.lladdr or "-", tostring(each.state)))
    end
  end
  if seen.listening[1] or next(seen.connections) then
    heading "SOCKETS"
    listening(seen)
  end
  if seen.names.servers[1] then
    heading "NAMES"
    local search = seen.names.search[1] and "; search " .. table.concat(seen.names.search, " ") or ""
    io.write("  asks ", safe(table.concat(seen.names.servers, ", ") .. search), "\n")
  end
  if seen.settings[1] then
    heading "SETTINGS (a new namespace has)"
    for _, each in ipairs(seen.settings) do
      io.write(("  %s = %s (%s)\n"):format(each.name, safe(tostring(each.value)), safe(tostring(each.default))))
    end
  end
  if seen.counters[1] then
    heading "COUNTERS"
    for _, each in ipairs(seen.counters) do
      io.write(("  %s %d\n"):format(each.name, each.value))
    end
  end
end

return function(args)
  return declaration:run(args, function(o)
    local handle <close> = o[1] and place.open(o[1]) or ns.netns.current()
    local seen = look.of(handle)
    if o.json then
      io.write(schema.json(seen), "\n")
    else
      page(seen)
    end
    return 0
  end)
end
