-- What was seen of a namespace, as a page of text.

local columns = require "nslua.command.cli.columns"
local objects = require "nslua.inspect.record.objects"
local sockets = require "nslua.command.sockets.line"

local M = {}

local CONNECTIONS = 10 -- are printed of each namespace

local safe = columns.safe

local function heading(text)
  io.write("\n", text, "\n")
end

---Three digits, and all those before the point.
---@param n number
---@return string
function M.number(n)
  return (math.abs(n) < 99.95 and "%.3g" or "%.0f"):format(n)
end

---Bytes for people: "1.5 kB".
---@param bytes number?
---@return string
local function size(bytes)
  local n = bytes or 0
  for _, unit in ipairs { "B", "kB", "MB", "GB", "TB" } do
    if n < 999.5 or unit == "TB" then -- more would be 1e+03
      return M.number(n) .. " " .. unit
    end
    n = n / 1000
  end
end

M.size = size

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
      local where = link.peer.space == "this namespace" and "the namespace of this command" or link.peer.space
      leads = ("%s in %s"):format(link.peer.name, where) .. (link.peer.bridge and ", port of " .. link.peer.bridge or "")
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

-- As ss(8) writes it: "*:80" of both families.
local function bound(each)
  local address, port = sockets.ends(setmetatable({ dst = "::", dport = 0 }, { __index = each })) -- who listens has no other end
  return address .. ":" .. port
end

local function listening(seen)
  for _, each in ipairs(seen.listening) do
    local full = ""
    if each.waiting and each.backlog and each.waiting > each.backlog then
      full = ("  its queue is full: %d of %d"):format(each.waiting, each.backlog)
    end
    io.write(("  %-4s %-24s %s%s\n"):format(each.proto, safe(bound(each)), sockets.users(each.owners) or "", full))
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

local function counted(rule)
  return rule.packets and ("   %d packets, %s"):format(rule.packets, size(rule.bytes)) or ""
end

local function port_text(first, last)
  return first and (last and last ~= first and ("%d-%d"):format(first, last) or ("%d"):format(first)) or "*"
end

-- "*:80", "172.17.0.2:8000-8010", "[::]:80".
local function end_text(address, first, last)
  return (address and address:find(":", 1, true) and "[%s]:%s" or "%s:%s"):format(address or "*", port_text(first, last))
end

local function published(seen)
  for _, port in ipairs(seen.published) do
    local by = port.rule and ("by a rule of %s%s"):format(port.rule.space, counted(port.rule)) or "no rule leads there: a proxy may"
    io.write(safe(("  %-4s %s to %s   %s"):format(port.proto, end_text(port.host_address, port.host_port, port.host_port_max),
      end_text(port.address, port.port, port.port_max), by)), "\n")
  end
end

local function nat(seen)
  for _, rule in ipairs(seen.nat) do
    io.write(safe(("  %s: %s %s %s: %s%s"):format(rule.space, rule.family, rule.table, rule.chain, rule.text, counted(rule))), "\n")
  end
end

local function tracked(list, count)
  for i = 1, math.min(#list, CONNECTIONS) do
    io.write("    ", safe(objects.line("conntrack", list[i])), "\n")
  end
  if count > CONNECTIONS then
    io.write(("    and %d more (--json has them)\n"):format(count - CONNECTIONS))
  end
end

local function conntrack(seen)
  local own = seen.conntrack
  if own.count > 0 then
    io.write(("  %d%s\n"):format(own.count, own.max and (" of at most %d"):format(own.max) or ""))
    tracked(own.entries, own.count)
  end
  for _, there in ipairs(own.around) do
    if there.count > 0 then
      io.write(safe(("  %d with its addresses in %s"):format(there.count, there.space)), "\n")
      tracked(there.entries, there.count)
    end
  end
end

local function has_connections(seen)
  local n = seen.conntrack and seen.conntrack.count or 0
  for _, there in ipairs(seen.conntrack and seen.conntrack.around or {}) do
    n = n + there.count
  end
  return n > 0
end

local function firewall(seen)
  for _, chain in ipairs(seen.firewall.chains) do
    local of, n = {}, 0
    for _, rule in ipairs(seen.firewall.rules) do
      if rule.source == chain.source and rule.family == chain.family and rule.table == chain.table and rule.chain == chain.name then
        n = n + 1
        of[n] = rule
      end
    end
    local hook = chain.hook and (" (hook %s%s)"):format(chain.hook, chain.policy and ", policy " .. chain.policy or "") or ""
    if n > 0 or chain.policy == "drop" then
      io.write(safe(("  %s%s %s %s%s%s"):format(chain.source == "iptables" and "iptables " or "", chain.family, chain.table, chain.name, hook,
        counted(chain))), "\n")
      for _, rule in ipairs(of) do
        io.write("    ", safe(rule.text .. counted(rule)), "\n")
      end
    end
  end
  for _, unread in ipairs(seen.firewall.unread) do
    io.write("  ", safe(unread.what .. ": " .. unread.why), "\n")
  end
end

local function growth(seen)
  for _, each in ipairs(seen.growth) do
    io.write(safe(("  %s%s +%d (%s a second)"):format(each.trouble and "! " or "", each.name, each.growth, M.number(each.rate))), "\n")
  end
end

---Print what was seen; a section that is empty is left out.
---@param seen nslua.Look
function M.print(seen)
  local function section(name, list, print_it)
    if list and (list == true or list[1]) then
      heading(name)
      print_it(seen)
    end
  end
  title(seen)
  if seen.links then
    io.write "\n"
    links(seen)
  end
  section("ROUTES", seen.routes, routes)
  section("RULES (beside the usual)", seen.rules, function()
    for _, rule in ipairs(seen.rules) do
      io.write(safe(("  %d: from %s to %s%s table %s"):format(rule.priority, rule.from or "all", rule.to or "all",
        rule.fwmark and (" fwmark 0x%x"):format(rule.fwmark) or "", tostring(rule.table))), "\n")
    end
  end)
  section("NEIGHBOURS", seen.neighbours, function()
    for _, each in ipairs(seen.neighbours) do
      io.write(("  %s dev %s %s %s\n"):format(each.dst, safe(each.dev or "?"), each.lladdr or "-", tostring(each.state)))
    end
  end)
  section("SOCKETS", seen.listening and (seen.listening[1] or next(seen.connections)) and true, listening)
  section("NAMES", seen.names and seen.names.servers, function()
    local search = seen.names.search[1] and "; search " .. table.concat(seen.names.search, " ") or ""
    io.write("  asks ", safe(table.concat(seen.names.servers, ", ") .. search), "\n")
  end)
  section("PUBLISHED PORTS", seen.published, published)
  section("RULES AROUND (that lead to it, translate or name its addresses)", seen.nat, nat)
  section("TRACKED CONNECTIONS", has_connections(seen) or nil, conntrack)
  section("FIREWALL", seen.firewall and (seen.firewall.rules[1] or seen.firewall.unread[1]) and true, firewall)
  section("SETTINGS (a new namespace has)", seen.settings, function()
    for _, each in ipairs(seen.settings) do
      io.write(("  %s = %s (%s)\n"):format(each.name, safe(tostring(each.value)), safe(tostring(each.default))))
    end
  end)
  section("COUNTERS", seen.counters, function()
    for _, each in ipairs(seen.counters) do
      io.write(("  %s %d\n"):format(safe(each.name), each.value))
    end
  end)
  section("GREW", seen.growth, growth)
  section("NOT SEEN", seen.problems, function()
    for _, each in ipairs(seen.problems) do
      io.write("  ", safe(each.section .. ": " .. each.why), "\n")
    end
  end)
end

return M
