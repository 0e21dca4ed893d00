-- Which rule and which entry decide where a packet goes. The kernel is asked; what it does not say is looked for in its tables.

local core = require "nslua.core"
local try = require("nslua.inspect.why.space").try

local M = {}

local protocols = { tcp = 6, udp = 17, icmp = 1, icmp6 = 58 }

local function asked(packet, iif, from, fibmatch)
  local ports = packet.proto == "tcp" or packet.proto == "udp"
  return { packet.dst, from = from, iif = iif, mark = packet.mark ~= 0 and packet.mark or nil, ipproto = protocols[packet.proto],
    sport = ports and packet.sport or nil, dport = ports and packet.dport or nil, fibmatch = fibmatch or nil, oif = packet.oif, tos = nil }
end

-- Whether an address is in a prefix: "10.0.0.0/8", "default".
local function within(ip, cidr)
  if cidr == "default" or cidr == nil then
    return true, 0
  end
  local net, length = cidr:match "^(.*)/(%d+)$"
  local a, b = core.inet.bytes(ip), core.inet.bytes(net or cidr)
  length = math.tointeger(tonumber(length)) or (b and #b * 8)
  if not a or not b or #a ~= #b then
    return false
  end
  local whole, rest = length // 8, length % 8
  if a:sub(1, whole) ~= b:sub(1, whole) then
    return false
  end
  local shift = 8 - rest
  return rest == 0 or a:byte(whole + 1) >> shift == b:byte(whole + 1) >> shift, length
end
M.within = within

-- The entry of a table that is for an address: the longest prefix, the lowest metric.
local function longest(space, family, number, ip)
  local best, best_length
  for _, row in ipairs(space:routes()) do
    local inside, length = within(ip, row.dst)
    inside = inside and row.family == family and (row.table_number or row.table8 or 254) == number and not row.cloned
    if inside and (not best or length > best_length or length == best_length and (row.metric or 0) < (best.metric or 0)) then
      best, best_length = row, length
    end
  end
  return best
end

local LOCAL = 255 -- RT_TABLE_LOCAL

---What an address is to a namespace.
---@param space nslua.why.Space
---@param family "inet"|"inet6"
---@param ip string
---@return "local"|"broadcast"|"anycast"|"multicast"|"unicast"
function M.kind(space, family, ip)
  if family == "inet" and (ip == "255.255.255.255" or ip:find "^0%.") then
    return "broadcast"
  elseif family == "inet" and within(ip, "224.0.0.0/4") or family == "inet6" and within(ip, "ff00::/8") then
    return "multicast"
  end
  local row = longest(space, family, LOCAL, ip)
  local kind = row and row.type
  return (kind == "local" or kind == "broadcast" or kind == "anycast") and kind or "unicast"
end

local function in_range(range, port)
  local first, last = tostring(range):match "^(%d+)%-?(%d*)$"
  return port and port >= tonumber(first) and port <= (tonumber(last) or tonumber(first))
end

local function rule_matches(rule, packet, iif, src)
  local yes = (not rule.from or src and within(src, rule.from)) and (not rule.to or within(packet.dst, rule.to))
    and (not rule.iif or rule.iif == (iif and iif.name or "lo")) and not rule.oif
    and (not rule.fwmark or packet.mark & (rule.fwmask or 0xffffffff) == rule.fwmark)
    and (not rule.ipproto or rule.ipproto == packet.proto) and (not rule.dport or in_range(rule.dport, packet.dport))
    and (not rule.sport or in_range(rule.sport, packet.sport))
  if rule.not_ then
    yes = not yes
  end
  return yes and true or false
end

local function rule_text(rule)
  local out = { ("rule %d:"):format(rule.priority) }
  out[2] = rule.not_ and "not" or nil
  for _, word in ipairs { "from", "to", "iif", "oif", "ipproto", "sport", "dport" } do
    out[#out + 1] = rule[word] and ("%s %s"):format(word, rule[word]) or nil
  end
  out[#out + 1] = rule.fwmark and ("fwmark 0x%x"):format(rule.fwmark) or nil
  out[#out + 1] = rule.action == "lookup" and ("lookup %s"):format(rule.table) or rule.action
  return table.concat(out, " ")
end

local function route_text(row)
  local out = { row.type ~= "unicast" and row.type or row.dst }
  out[2] = row.type ~= "unicast" and row.dst or nil
  for _, word in ipairs { "via", "dev", "src", "metric" } do
    out[#out + 1] = row[word] and row[word] ~= 0 and ("%s %s"):format(word, row[word]) or nil
  end
  if row.nexthops then
    out[#out + 1] = ("(%d nexthops)"):format(#row.nexthops)
  end
  return table.concat(out, " ")
end
M.text = route_text

---The rule and the entry that a packet meets, as the tables have it.
---@param space nslua.why.Space
---@param packet table
---@param iif? table
---@param src? string
---@return table? rule
---@return table? route
function M.explain(space, packet, iif, src)
  local rules = {}
  for _, rule in ipairs(space:rules()) do
    rules[#rules + 1] = rule.family == packet.family and rule or nil
  end
  table.sort(rules, function(a, b)
    return a.priority < b.priority
  end)
  local at = 1
  while rules[at] do
    local rule = rules[at]
    if rule_matches(rule, packet, iif, src) then
      if rule.action == "lookup" then
        local row = longest(space, packet.family, rule.table_number or 254, packet.dst)
        local _, length = within(packet.dst, row and row.dst)
        if row and row.type ~= "throw" and not (rule.suppress_prefixlength and length <= rule.suppress_prefixlength) then
          return rule, row
        end
      elseif rule.action == "goto" then
        while rules[at] and rules[at].priority < rule.goto_ do
          at = at + 1
        end
        at = at - 1
      elseif rule.action ~= "nop" then
        return rule, nil
      end
    end
    at = at + 1
  end
end

local usual = { [0] = true, [32766] = true, [32767] = true }

-- The step that says what was taken.
local function step_of(space, packet, iif, src, row, entry)
  local rule
  for _, each in ipairs(space:rules()) do
    if each.family == packet.family and not usual[each.priority] then
      rule = M.explain(space, packet, iif, src)
      break
    end
  end
  local shown = entry or row
  local text = route_text(shown)
  local odd = rule and not usual[rule.priority]
  return { kind = "route", space = space, route = text, table = shown.table, rule = odd and rule_text(rule) or nil, dev = row.dev,
    text = ("%s%s"):format(text, odd and (" (%s)"):format(rule_text(rule)) or shown.table ~= "main" and shown.table ~= "local" and
      (" (table %s)"):format(shown.table) or "") }
end

local own = { ENETUNREACH = true }

-- Why there is no way, in words.
local function failure(space, packet, iif, src, code)
  local rule, entry = M.explain(space, packet, iif, src)
  if entry and entry.type ~= "unicast" and entry.type ~= "local" then
    return { code = entry.type, space = space, errno = code, route = route_text(entry),
      why = ("the route %s says that there is no way"):format(route_text(entry)),
      fix = ("ip%s route delete %s %s%s"):format(packet.family == "inet6" and " -6" or "", entry.type, entry.dst,
        entry.table ~= "main" and " table " .. entry.table or "") }
  elseif rule and not entry and rule.action ~= "lookup" then
    return { code = "rule_" .. rule.action, space = space, errno = code, rule = rule_text(rule), why = ("%s"):format(rule_text(rule)),
      fix = ("ip%s rule delete priority %d"):format(packet.family == "inet6" and " -6" or "", rule.priority) }
  elseif not entry or own[code] then
    return { code = "no_route", space = space, errno = code, why = ("no route to %s"):format(packet.dst),
      fix = ("ip%s route add %s via GATEWAY"):format(packet.family == "inet6" and " -6" or "", packet.dst) }
  end
  return { code = "no_route", space = space, errno = code, why = ("no route to %s (%s)"):format(packet.dst, code) }
end

---The way out of a packet that begins here.
---@param space nslua.why.Space
---@param packet table  its src is set where it has none
---@return table? route   { row, dev_index, via, type }
---@return table step_or_finding
function M.output(space, packet)
  local lookup, collection = space.handle.route.lookup, space.handle.route
  local from = packet.bound and packet.src or nil
  local row, code = try(lookup, collection, asked(packet, nil, from))
  if not row then
    return nil, failure(space, packet, nil, from, code)
  end
  if not packet.src then
    packet.src = row.src
    if not packet.src then
      return nil, { code = "no_address", space = space, errno = "EADDRNOTAVAIL", why = ("%s has no address to reach %s from"):format(space.label,
        packet.dst), fix = "ip address add ADDRESS/LENGTH dev " .. tostring(row.dev) }
    end
    -- IPv4 asks again for ports, now that it has a source address: rules may be about it
    if packet.family == "inet" and packet.proto ~= "icmp" then
      row, code = try(lookup, collection, asked(packet, nil, packet.src))
      if not row then
        return nil, failure(space, packet, nil, packet.src, code)
      end
    end
  end
  local src = from or packet.family == "inet" and packet.proto ~= "icmp" and packet.src or nil
  local entry = try(lookup, collection, asked(packet, nil, src, true))
  return row, step_of(space, packet, nil, src, row, entry)
end

-- The step for a packet that goes back the way it came says why rp_filter does not like it.
local function reverse(space, packet, iif)
  local row = try(space.handle.route.lookup, space.handle.route, { packet.src })
  local dev = row and row.dev
  return { code = "rp_filter", space = space, errno = "EXDEV", dev = iif.name,
    why = ("%s comes in at %s, but the way to it is %s, and rp_filter is strict"):format(packet.src, iif.name, dev and "by " .. dev or "not there"),
    fix = ("sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.%s.rp_filter=2, or a route to %s by %s"):format(iif.name, packet.src, iif.name) }
end

---The way of a packet that has come in.
---@param space nslua.why.Space
---@param packet table
---@param iif table
---@return table? route
---@return table step_or_finding
function M.input(space, packet, iif)
  local lookup, collection = space.handle.route.lookup, space.handle.route
  local row, code = try(lookup, collection, asked(packet, iif.index, packet.src))
  if row then
    local entry = try(lookup, collection, asked(packet, iif.index, packet.src, true))
    return row, step_of(space, packet, iif, packet.src, row, entry)
  elseif code == "EXDEV" then
    return nil, reverse(space, packet, iif)
  elseif packet.family == "inet" and space:sysctl("net.ipv4.conf." .. iif.name:gsub("%.", "/") .. ".forwarding") == 0 then
    return nil, { code = "no_forwarding", space = space, dev = iif.name, sysctl = "net.ipv4.ip_forward",
      why = ("%s does not forward: net.ipv4.conf.%s.forwarding is 0"):format(space.label, iif.name), fix = "sysctl -w net.ipv4.ip_forward=1" }
  end
  local finding = failure(space, packet, iif, packet.src, code)
  if packet.family == "inet" then
    local told = { ENETUNREACH = { 3, 0 }, EHOSTUNREACH = { 3, 1 }, EACCES = { 3, 13 } }
    finding.icmp = told[code]
  else
    local told = { ENETUNREACH = { 1, 0 }, EHOSTUNREACH = { 1, 0 }, EACCES = { 1, 1 } }
    finding.icmp = told[code]
  end
  return nil, finding
end

return M
