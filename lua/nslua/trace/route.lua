-- ip route add, append, change, replace, delete, get, show. ip-route(8)

local address = require "nslua.trace.address"
local core = require "nslua.core"
local encap = require "nslua.trace.encap"
local names = require "nslua.rtnl.names"
local routewords = require "nslua.rtnl.routewords"

local CREATE, REPLACE, EXCL, APPEND = 0x400, 0x100, 0x200, 0x800
local BOOT = 3
local MAIN, LOCAL = 254, 255
local LINK, HOST, NOWHERE = 253, 254, 255

local M = { message = "route" }

local local_types = { ["local"] = true, broadcast = true, anycast = true, nat = true }

-- What ip(8) would take where no scope is given.
local function default_scope(m, deleting)
  local type = m.type or "unspec"
  if m.family == "inet6" or m.family == "mpls" then
    return 0
  elseif type == "local" or type == "nat" then
    return HOST
  elseif type == "broadcast" or type == "multicast" or type == "anycast" then
    return LINK
  elseif deleting then
    return NOWHERE
  elseif (type == "unicast" or type == "unspec") and not (m.gateway or m.via_bytes or m.via_other or m.multipath or m.nhid) then
    return LINK
  end
  return 0
end

local function via(hop, add)
  local gateway = hop.gateway
  if gateway then
    add("via", gateway)
  elseif hop.via_bytes then
    local text = core.inet.text(hop.via_bytes:sub(3))
    add("via", text:find(":", 1, true) and "inet6" or "inet", text)
  end
end

-- Labels of MPLS that take the place of the route's.
local function swap(from, add)
  if type(from.newdst) == "table" then
    add("as", encap.labels(from.newdst))
  end
  return type(from.newdst) == "string" and "newdst" or nil
end

local function realms(value)
  return ("%.0f/%.0f"):format(math.floor(value / 65536), value % 65536)
end

local metrics = { "mtu", "advmss", "rtt", "rttvar", "reordering", "window", "cwnd", "initcwnd", "ssthresh", "rto_min", "hoplimit", "initrwnd",
  "quickack", "congctl", "fastopen_no_cookie" }

local function adder(words)
  return function(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
end

local function metric_words(all, add)
  local locked = {}
  for _, name in ipairs(all.lock and routewords.locked(all.lock) or {}) do
    locked[name] = true
  end
  for _, name in ipairs(metrics) do
    if all[name] ~= nil then
      add(name)
      if locked[name] and name ~= "rto_min" then -- which ip(8) locks itself
        add "lock"
      end
      add(all[name])
    end
  end
  for name in pairs(all.features or {}) do
    add("features", name)
  end
end

local function hops(context, list, add)
  local left
  for _, hop in ipairs(list) do
    add "nexthop"
    left = encap.words(add, hop, context) or left
    left = swap(hop, add) or left
    via(hop, add)
    if hop.dev_index and hop.dev_index ~= 0 then
      add("dev", context.link(hop.dev_index))
    end
    add("weight", ("%.0f"):format(hop.hops + 1))
    if hop.realms then
      add("realms", realms(hop.realms))
    end
    for _, flag in ipairs { "onlink", "pervasive" } do
      if hop.flags and hop.flags[flag] then
        add(flag)
      end
    end
  end
  return left
end

-- Words of a route that every verb has.
local function route_words(context, m, words, deleting)
  local add = adder(words)
  local kind = m.type
  if kind and kind ~= "unspec" and kind ~= "unicast" then
    add(kind)
  end
  local is_mpls = m.family == "mpls"
  if is_mpls then
    add(m.dst_address and encap.label(m.dst_address) or "default")
  else
    add(m.dst_address and ("%s/%d"):format(m.dst_address, m.dst_len) or "default")
  end
  if m.src_address then
    add("from", ("%s/%d"):format(m.src_address, m.src_len))
  end
  if m.tos and m.tos ~= 0 then
    add("tos", ("0x%02x"):format(m.tos))
  end
  local left = encap.words(add, m, context)
  left = swap(m, add) or left
  via(m, add)
  if m.dev_index and m.dev_index ~= 0 then
    add("dev", context.link(m.dev_index))
  end
  local table_number = m.table_number or m.table8
  if table_number and table_number ~= 0 and table_number ~= (local_types[kind] and LOCAL or MAIN) then
    add("table", names.name("table", table_number))
  end
  local proto = m.proto_number or 0
  if proto ~= (deleting and 0 or BOOT) then
    add("proto", names.name("proto", proto))
  end
  if m.scope_number and m.scope_number ~= default_scope(m, deleting) then
    add("scope", names.name("scope", m.scope_number))
  end
  for _, pair in ipairs { { "src", "src" }, { "metric", "metric" }, { "nhid", "nhid" }, { "pref", "pref" }, { "expires_left", "expires" } } do
    if m[pair[1]] ~= nil then
      add(pair[2], m[pair[1]])
    end
  end
  if m.realms then
    add("realms", realms(m.realms))
  end
  if m.ttl_propagate ~= nil then
    add("ttl-propagate", m.ttl_propagate and "enabled" or "disabled")
  end
  for _, flag in ipairs { "onlink", "pervasive" } do
    if m.flags and m.flags[flag] then
      add(flag)
    end
  end
  metric_words(m.metrics or {}, add)
  return hops(context, m.multipath or {}, add) or left
end

-- ip(8) tells the family of a route by its addresses.
local function begin(m, ...)
  local words = { ... }
  if m.family == "inet6" and not m.dst_address then
    table.insert(words, 1, "-6")
  elseif m.family == "mpls" then
    table.insert(words, 1, "-M")
  end
  return words
end

function M.write(context, m, bits)
  local verb = address.verb(bits)
  if address.has(bits, APPEND) then
    verb = "append"
  elseif verb == "add" and not address.has(bits, EXCL) then
    verb = address.has(bits, CREATE) and "prepend" or "change"
  elseif address.has(bits, REPLACE) and not address.has(bits, CREATE) then
    verb = "change"
  end
  local words = begin(m, "route", verb)
  local left = route_words(context, m, words, false)
  if left then
    return nil, "a route with " .. left .. ": " .. table.concat(words, " ")
  end
  return words
end

function M.delete(context, m)
  local words = begin(m, "route", "delete")
  return words, route_words(context, m, words, true)
end

function M.show(context, m, one)
  if one then
    local words = { "route", "get" }
    local add = adder(words)
    if m.flags and m.flags.fib_match then
      add "fibmatch"
    end
    add(m.dst_address or "default")
    if m.src_address then
      add("from", m.src_address)
    end
    for _, pair in ipairs { { "tos", "tos" }, { "mark", "mark" }, { "uid", "uid" }, { "ipproto", "ipproto" }, { "sport", "sport" },
      { "dport", "dport" } } do
      if m[pair[1]] and m[pair[1]] ~= 0 then
        add(pair[2], m[pair[1]])
      end
    end
    if m.iif_index then
      add("iif", context.link(m.iif_index))
    end
    if m.dev_index then
      add("oif", context.link(m.dev_index))
    end
    return words
  end
  local words = { "route", "show" }
  if m.family == "inet6" then
    table.insert(words, 1, "-6")
  end
  local number = m.table_number or m.table8
  words[#words + 1] = "table"
  words[#words + 1] = (not number or number == 0) and "all" or names.name("table", number)
  return words
end

return M
