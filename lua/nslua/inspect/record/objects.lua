-- Objects of a namespace as they are kept, compared and told: what makes two states of one the same object, what of it is noise, its line.

local M = {}

---In the order in which they are told.
M.all = { "link", "address", "route", "rule", "neighbour", "conntrack" }

-- Fields that move all the time, or that others tell already.
local noise = {
  link = "stats flags carrier_changes carrier_up_count carrier_down_count link link_index dpll_pin devlink_port prop_list event",
  address = "tstamp cstamp dev_index proto_number prefixlen permanent stable_privacy",
  route = "expires used users dev_index proto_number table_number dead linkdown offload trap",
  rule = "proto_number table_number flags",
  neighbour = "confirmed used updated probes dev_index",
  conntrack = "timeout counters use id start stop",
}

-- The same of what is nested, at whatever depth.
local inner = {}
for word in ("hello_timer tcn_timer topology_change_timer gc_timer hold_timer forward_delay_timer message_age_timer topology_change "
  .. "topology_change_detected timers stats xstats mdb_n fdb_n_learned"):gmatch "%S+" do
  inner[word] = true
end

for what, words in pairs(noise) do
  local set = {}
  for word in words:gmatch "%S+" do
    set[word] = true
  end
  noise[what] = set
end

-- A neighbour that is known goes through these by itself.
local known = { reachable = "known", stale = "known", delay = "known", probe = "known" }

local function flatten(out, prefix, value, hidden)
  if type(value) ~= "table" then
    out[prefix] = value
    return
  end
  for key, each in pairs(value) do
    if not (hidden and hidden[key]) and not inner[key] then
      flatten(out, prefix == "" and tostring(key) or prefix .. "." .. tostring(key), each)
    end
  end
end

---What of an object can be compared: { ["mtu"] = 1500, ["bridge.vlan_filtering"] = true, ... }.
---@param what string
---@param object table
---@return table<string, any>
function M.fields(what, object)
  local out = {}
  flatten(out, "", object, noise[what])
  if what == "neighbour" then
    out.state = known[out.state] or out.state
  elseif what == "address" then
    for _, key in ipairs { "valid_lft", "preferred_lft" } do
      out[key] = out[key] == "forever" and "forever" or out[key] ~= nil and "limited" or nil -- it runs down
    end
  end
  return out
end

local function join(...)
  local list = table.pack(...)
  for i = 1, list.n do
    list[i] = tostring(list[i])
  end
  return table.concat(list, " ")
end

local function whole(what, object)
  local list = {}
  for key, value in pairs(M.fields(what, object)) do
    list[#list + 1] = key .. "=" .. tostring(value)
  end
  table.sort(list)
  return table.concat(list, " ")
end

local function tuple(t)
  return t and join(t.proto, t.src, t.sport or t.icmp_id, t.dst, t.dport or t.icmp_type, t.zone or 0) or "?"
end

---What the kernel holds one of: two events with the same of it are of one object.
---@type table<string, fun(o: table): string>
M.identity = {
  link = function(o)
    return tostring(o.index)
  end,
  address = function(o)
    return join(o.address, o.dev_index, o.peer)
  end,
  route = function(o)
    local hops = {}
    for i, hop in ipairs(o.nexthops or {}) do
      hops[i] = join(hop.via, hop.dev)
    end
    return join(o.family, o.type, o.dst, o.table, o.tos, o.metric, o.from, o.via, o.dev_index, table.concat(hops, ","), o.nhid)
  end,
  rule = function(o)
    return whole("rule", o)
  end,
  neighbour = function(o)
    return join(o.dst, o.dev_index, o.proxy)
  end,
  conntrack = function(o)
    return join(o.family, tuple(o.orig))
  end,
}

---What of IPv4 routes a replace takes the place of, whatever way the old one had: ip-route(8).
---@param o table
---@return string
function M.route_group(o)
  return join(o.family, o.dst, o.table, o.tos, o.metric)
end

-- By what two states of an object are found, from the surest to the least: what is left over on both sides goes on to the next.
local matches = {
  link = { function(o)
    return join(o.index, o.name)
  end, function(o)
    return o.name
  end, function(o)
    return tostring(o.index)
  end },
  address = { function(o)
    return join(o.address, o.dev, o.peer)
  end, function(o)
    return join(o.address:match "^[^/]*", o.dev)
  end },
  route = { function(o)
    return join(o.family, o.type, o.dst, o.table, o.tos, o.metric, o.via, o.dev)
  end, M.route_group, function(o)
    return join(o.family, o.dst, o.table)
  end },
  rule = { function(o)
    return whole("rule", o)
  end, function(o)
    return join(o.family, o.priority)
  end },
  neighbour = { function(o)
    return join(o.dst, o.dev, o.proxy)
  end },
  conntrack = { M.identity.conntrack },
}

-- Between two boots or two namespaces numbers of links say nothing.
local foreign = { link = { matches.link[2] } }

---@param what string
---@param same_namespace boolean
---@return (fun(o: table): string)[]
function M.matches(what, same_namespace)
  return not same_namespace and foreign[what] or matches[what]
end

-- Fields that say nothing where two namespaces are compared: numbers and hardware addresses that the kernel gave.
local given = { link = { index = true, address = true, link_netnsid = true, netns_inode = true } }

---What is different between two states of an object; nil: nothing.
---@param what string
---@param before table
---@param after table
---@param elsewhere? boolean  they are of two namespaces: what the kernel gave is no difference
---@return table<string, { before: any, after: any }>?
function M.changed(what, before, after, elsewhere)
  local one, other = M.fields(what, before), M.fields(what, after)
  local ignored = elsewhere and given[what] or {}
  local out
  for _, fields in ipairs { one, other } do
    for key in pairs(fields) do
      if one[key] ~= other[key] and not ignored[key] then
        out = out or {}
        out[key] = { before = one[key], after = other[key] }
      end
    end
  end
  return out
end

---What follows from something else, and is not told: routes that an address has made, the usual rules, multicast's neighbours.
---@param what string
---@param o table
---@return boolean
function M.implied(what, o)
  if what == "route" then
    return o.table == "local" and o.proto == "kernel"
  elseif what == "rule" then
    return o.proto == "kernel" and (o.priority == 0 or o.priority == 32766 or o.priority == 32767)
  end
  return what == "neighbour" and o.state == "noarp"
end

local function words(...)
  local out = {}
  for _, word in ipairs(table.pack(...)) do
    out[#out + 1] = word or nil
  end
  return out
end

local function add(out, word, value)
  if value ~= nil and value ~= false then
    out[#out + 1] = value == true and word or word .. " " .. tostring(value)
  end
end

-- What it is called in a line, and what else the line of a new one says.
local names, more = {}, {}

function names.link(o)
  return tostring(o.name or o.index)
end

function more.link(o, out)
  add(out, "kind", o.kind)
  add(out, o.up and "up" or "down", true)
  add(out, "no carrier", o.up and o.carrier == false)
  add(out, "mtu", o.mtu)
  add(out, "master", o.master)
  add(out, "lladdr", o.address)
  add(out, "alias", o.alias)
end

function names.address(o)
  return join(o.address, "dev", o.dev or o.dev_index)
end

function more.address(o, out)
  add(out, "peer", o.peer)
  add(out, "scope", o.scope ~= "global" and o.scope)
  add(out, "tentative", o.tentative)
  add(out, "duplicate address", o.dadfailed)
end

function names.route(o)
  local out = words(o.type ~= "unicast" and o.type, o.dst)
  add(out, "table", o.table ~= "main" and o.table)
  return table.concat(out, " ")
end

function more.route(o, out)
  add(out, "via", o.via)
  add(out, "dev", o.dev)
  add(out, "src", o.src)
  add(out, "metric", o.metric ~= 0 and o.metric)
  for _, hop in ipairs(o.nexthops or {}) do
    add(out, "nexthop via", hop.via)
    add(out, "dev", hop.dev)
  end
  add(out, "nhid", o.nhid)
end

function names.rule(o)
  local out = { ("%s: from %s"):format(tostring(o.priority or 0), o.from or "all") }
  add(out, "to", o.to)
  add(out, "fwmark", o.fwmark)
  add(out, "iif", o.iif)
  add(out, "oif", o.oif)
  add(out, "family", o.family == "inet6" and "inet6")
  return table.concat(out, " ")
end

function more.rule(o, out)
  add(out, o.action == "lookup" and "lookup" or "action", o.action == "lookup" and o.table or o.action)
end

function names.neighbour(o)
  return join(o.dst, "dev", o.dev or o.dev_index)
end

function more.neighbour(o, out)
  add(out, "lladdr", o.lladdr)
  add(out, tostring(o.state), true)
  add(out, "proxy", o.proxy)
end

local function ends(t)
  t = t or {}
  local function side(address, port)
    return port and (address and address:find ":" and "[%s]:%d" or "%s:%d"):format(address, port) or tostring(address)
  end
  return side(t.src, t.sport) .. " to " .. side(t.dst, t.dport)
end

function names.conntrack(o)
  return tostring(o.proto) .. " " .. ends(o.orig)
end

function more.conntrack(o, out)
  local status = o.status or {}
  add(out, tostring(o.state), o.state ~= nil)
  if status.src_nat or status.dst_nat then
    add(out, "answers", ends(o.reply))
  end
  add(out, "unanswered", not status.seen_reply)
end

---"eth0", "10.0.0.0/24 table 100": what it is called in a line.
---@param what string
---@param object table
---@return string
function M.name(what, object)
  return names[what](object)
end

---"link eth0 kind veth up mtu 1500".
---@param what string
---@param object table
---@return string
function M.line(what, object)
  local out = { what, names[what](object) }
  more[what](object, out)
  return table.concat(out, " ")
end

return M
