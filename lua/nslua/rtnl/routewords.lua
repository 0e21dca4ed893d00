-- What people write of a route, as the message that says it.

local check = require "nslua.check"
local device = require "nslua.rtnl.device"
local encap = require "nslua.rtnl.encap"
local errors = require "nslua.error"
local mpls = require "nslua.rtnl.mpls"
local names = require "nslua.rtnl.names"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local units = require "nslua.units"

local M = {}

local AF_INET, AF_INET6 = prefix.AF_INET, prefix.AF_INET6
M.AF_MPLS = 28
local AF_MPLS = M.AF_MPLS

local family_names = { [AF_INET] = "inet", [AF_INET6] = "inet6", [AF_MPLS] = "mpls" }

---The AF_ number of a route's family: "inet", "inet6" or "mpls".
---@param value string|integer
---@param call string
---@return integer
function M.family(value, call)
  return (value == "mpls" or value == AF_MPLS) and AF_MPLS or prefix.family(value, call)
end

---@param family integer
---@return string
function M.family_name(family)
  return family_names[family]
end

---Whether a destination is an MPLS label, which no other family has.
---@param dst any
---@return boolean
function M.is_label(dst)
  return type(dst) == "number" or type(dst) == "string" and dst:find "^%d+$" ~= nil
end

-- linux/rtnetlink.h, RTAX_*: also the bit in RTAX_LOCK
M.metrics = { mtu = 2, window = 3, rtt = 4, rttvar = 5, ssthresh = 6, cwnd = 7, advmss = 8, reordering = 9, hoplimit = 10, initcwnd = 11,
  features = 12, rto_min = 13, initrwnd = 14, quickack = 15, congctl = 16, fastopen_no_cookie = 17 }

local RTO_MIN_LOCKED = 2 ^ M.metrics.rto_min

-- Words that may be false: the others are left out, or removed by `change`.
M.yes_no = { onlink = true, pervasive = true, ttl_propagate = true, quickack = true, fastopen_no_cookie = true }

-- Word to how it is written: "plain" (as it is), "metric", "told" (by M.destination), or a function; filled in below.
---@type table<string|integer, string|fun(message: table, value: any, call: string, handle: table, family: integer)>
M.writers = { "told", family = "told" }
for _, word in ipairs { "src", "metric", "tos", "pref", "nhid", "realms", "ttl_propagate" } do
  M.writers[word] = "plain"
end
for metric in pairs(M.metrics) do
  M.writers[metric] = "metric"
end

local RTNH_F_PERVASIVE, RTNH_F_ONLINK = 2, 4
local types = { unspec = 0, unicast = 1, ["local"] = 2, broadcast = 3, anycast = 4, multicast = 5, blackhole = 6, unreachable = 7, prohibit = 8,
  throw = 9, nat = 10, xresolve = 11 }
local SCOPE_LINK, SCOPE_HOST, SCOPE_NOWHERE = 253, 254, 255
local TABLE_MAIN, TABLE_LOCAL = 254, 255
local PROTO_BOOT = 3 -- ip(8)'s, for routes set by hand

---Raise where a word is not known.
---@param call string
---@param t any
function M.check(call, t)
  if type(t) ~= "table" then
    errors.misuse("%s: a table expected, got %s", call, type(t))
  end
  for key in pairs(t) do
    if M.writers[key] == nil then
      errors.misuse("%s: %s", call, names.unknown(key, M.writers))
    end
  end
end

---Where a route leads to, and its family.
---@param call string
---@param t table
---@return string? address  nil for "default"
---@return integer length
---@return integer family
---@return boolean told     whether anything tells the family; IPv4 where nothing does
function M.destination(call, t)
  local dst = t[1]
  local family = t.family ~= nil and M.family(t.family, call) or nil
  if family == AF_MPLS or family == nil and M.is_label(dst) then
    return mpls.address(call, "[1]", dst), 20, AF_MPLS, true
  elseif dst == "default" or dst == "all" or dst == "any" then
    if not family then
      local hint = t.via or t.src or t.from or (type(t.nexthops) == "table" and type(t.nexthops[1]) == "table" and t.nexthops[1].via)
      if type(hint) == "string" then
        family = hint:find(":", 1, true) and AF_INET6 or AF_INET
      end
    end
    return nil, 0, family or AF_INET, family ~= nil
  elseif dst == nil then
    errors.misuse("%s: the destination at [1] is needed: \"10.0.0.0/8\" or \"default\"", call)
  end
  local address, length, of = prefix.split(call, "[1]", dst)
  if family and family ~= of then
    errors.misuse("%s: %s is not of family %s", call, dst, tostring(t.family))
  end
  return address, length, of, true
end

-- A gateway of the route's family stands in RTA_GATEWAY, one of another in struct rtvia.
local function gateway(call, value, family, message)
  if type(value) == "string" then
    value = value:gsub("^inet6? ", "") -- "inet6 fe80::1", as ip(8) writes it
  end
  local bytes, of = prefix.address(call, "via", value)
  if family == AF_MPLS then
    message.via_other = { family = of, ["#tail"] = bytes } -- MPLS has no gateways of its own
  elseif of == family then
    message.gateway = value
  elseif family == AF_INET6 then
    errors.misuse("%s: via %s: an IPv6 route has an IPv6 gateway", call, value)
  else
    message.via_other = { family = of, ["#tail"] = bytes }
  end
end

local hop_words = { via = true, dev = true, weight = true, onlink = true, pervasive = true, realms = true, encap = true, as = true, dev_index = true,
  dead = true, linkdown = true, offload = true, trap = true, unresolved = true }

---@param handle table
---@param call string
---@param list any
---@param family? integer  of the route
---@return table[]
function M.nexthops(handle, call, list, family)
  if type(list) ~= "table" or #list == 0 then
    errors.misuse("%s: nexthops must be a list of { via =, dev =, weight = }", call)
  end
  local out = {}
  for i, hop in ipairs(list) do
    local where = ("%s: nexthops[%d]"):format(call, i)
    if type(hop) ~= "table" then
      errors.misuse("%s: a table expected, got %s", where, type(hop))
    end
    for key in pairs(hop) do
      if not hop_words[key] then
        errors.misuse("%s: %s", where, names.unknown(key, hop_words))
      end
    end
    local weight = hop.weight or 1
    if type(weight) ~= "number" or weight < 1 or weight > 256 or weight % 1 ~= 0 then
      errors.misuse("%s: weight must be 1 to 256, got %s", where, tostring(weight))
    end
    local entry = { hops = weight - 1, flags = (hop.onlink and RTNH_F_ONLINK or 0) + (hop.pervasive and RTNH_F_PERVASIVE or 0),
      dev_index = 0, realms = hop.realms }
    if hop.via then
      gateway(where, hop.via, family or (hop.via:find(":", 1, true) and AF_INET6 or AF_INET), entry)
    end
    if hop.encap then
      encap.write(entry, hop.encap, where, handle)
    end
    entry.newdst = hop.as and mpls.stack(where, "as", hop.as) or nil
    local dev = hop.dev or hop.dev_index
    if dev then
      entry.dev_index = device.index(handle, dev, where, "dev")
    end
    out[i] = entry
  end
  return out
end

-- Seconds, which the kernel counts in eighths, quarters and whole milliseconds.
local metric_units = { rtt = 8000, rttvar = 4000, rto_min = 1000 }

local function check_features(value, call)
  if type(value) ~= "table" then
    errors.misuse("%s: features must be a list like { \"ecn\" }, got %s", call, type(value))
  end
  local features = schema.names "rtax_features"
  for key, name in pairs(value) do
    name = type(key) == "string" and key or name
    if not features[name] then
      errors.misuse("%s: %s", call, check.unknown("feature", name, features))
    end
  end
  return value
end

---A metric as the kernel counts it.
---@param metric string
---@param value any
---@param call string
---@return any
function M.metric_number(metric, value, call)
  local unit = metric_units[metric]
  if M.yes_no[metric] and type(value) == "boolean" then
    return value and 1 or 0
  elseif unit then
    return math.floor(units.duration(value, call .. ": " .. metric) * (unit + 0.0) + 0.5)
  elseif metric == "features" then
    return check_features(type(value) == "string" and { value } or value, call)
  elseif type(value) == "boolean" then
    errors.misuse("%s: %s must be a number, got boolean", call, metric)
  end
  return value
end

---Whether a metric is a plain number.
---@param metric string
---@return boolean
function M.counted(metric)
  return not (metric_units[metric] or M.yes_no[metric] or metric == "features" or metric == "congctl")
end

---A metric as rows have it.
---@param metric string
---@param value any
---@return any
function M.metric_value(metric, value)
  if value == nil then
    return nil
  elseif metric_units[metric] then
    return value / metric_units[metric]
  elseif M.yes_no[metric] then
    return value ~= 0
  elseif metric == "features" then
    local list = {}
    for key, name in pairs(value) do
      list[#list + 1] = type(key) == "string" and key or name
    end
    table.sort(list)
    return list
  end
  return value
end

---@param value any
---@param call string
---@param key string
---@return integer
function M.seconds(value, call, key)
  return math.floor(units.duration(value, call .. ": " .. key) + 0.5)
end

---@param value string|string[]
---@param call string
---@return integer
function M.lock_mask(value, call)
  local mask = 0
  for _, metric in ipairs(type(value) == "table" and value or { value }) do
    local bit = M.metrics[metric]
    if not bit then
      errors.misuse("%s: lock: %s", call, check.unknown("metric", metric, M.metrics))
    end
    mask = mask + 2 ^ bit
  end
  return mask
end

---Names of the metrics that a lock mask holds.
---@param mask integer
---@return string[]
function M.locked(mask)
  local out = {}
  for metric, bit in pairs(M.metrics) do
    if math.floor(mask / 2 ^ bit) % 2 == 1 then
      out[#out + 1] = metric
    end
  end
  table.sort(out)
  return out
end

-- As ip(8) chooses it: how far away the destination may be.
local function default_scope(t, message, deleting)
  local kind = types[message.type] or message.type or 0
  if message.family == AF_INET6 or message.family == AF_MPLS then
    return 0
  elseif kind == types["local"] or kind == types.nat then
    return SCOPE_HOST
  elseif kind == types.broadcast or kind == types.multicast or kind == types.anycast then
    return SCOPE_LINK
  elseif deleting then
    return SCOPE_NOWHERE -- any
  elseif kind <= types.unicast and not t.via and not t.nexthops and not t.nhid then
    return SCOPE_LINK
  end
  return 0
end

local writers = M.writers

function writers.type(message, value, call)
  if type(value) ~= "number" and not types[value] then
    errors.misuse("%s: %s", call, check.unknown("type", value, types))
  end
  message.type = value
end

function writers.from(message, value, call)
  message.src_address, message.src_len = prefix.split(call, "from", value)
end

function writers.via(message, value, call, _, family)
  gateway(call, value, family, message)
end

function writers.dev(message, value, call, handle)
  message.dev_index = device.index(handle, value, call, "dev")
end

function writers.table(message, value, call)
  local number = names.number("table", value, call)
  if number < 256 then
    message.table8 = number
  else
    message.table_number = number -- and RT_TABLE_UNSPEC in the header
  end
end

function writers.proto(message, value, call)
  message.proto_number = names.number("proto", value, call)
end

function writers.scope(message, value, call)
  message.scope_number = names.number("scope", value, call)
end

function writers.nexthops(message, value, call, handle, family)
  message.multipath = M.nexthops(handle, call, value, family)
end

function writers.expires(message, value, call)
  message.expires_left = M.seconds(value, call, "expires")
end

local function hop_flag(bit)
  return function(message, value)
    message.flags = (message.flags or 0) + (value and bit or 0)
  end
end
writers.onlink, writers.pervasive = hop_flag(RTNH_F_ONLINK), hop_flag(RTNH_F_PERVASIVE)

function writers.lock(message, value, call)
  message.metrics = message.metrics or {}
  message.metrics.lock = M.lock_mask(value, call)
end

function writers.encap(message, value, call, handle)
  encap.write(message, value, call, handle)
end

function writers.as(message, value, call, _, family)
  if family ~= AF_MPLS then
    errors.misuse("%s: as is for MPLS routes (encap = { type = \"mpls\" } puts labels on others)", call)
  end
  message.newdst = mpls.stack(call, "as", value)
end

local local_types = { [types["local"]] = true, [types.broadcast] = true, [types.anycast] = true, [types.nat] = true }

---The message of a route.
---@param handle table
---@param call string
---@param t table
---@param deleting? boolean  what is not said fits anything
---@return table
function M.message(handle, call, t, deleting)
  if type(t) ~= "table" then
    errors.misuse("%s: a table expected, got %s", call, type(t))
  end
  local address, length, family = M.destination(call, t)
  -- with room for what nearly all have
  local message = { family = family, dst_len = length, dst_address = address, type = nil, proto_number = nil, table8 = nil, scope_number = nil,
    dev_index = nil }
  for key, value in pairs(t) do
    local how = writers[key]
    if not how then
      M.check(call, t)
    elseif value == false and not M.yes_no[key] then
      errors.misuse("%s: %s cannot be false", call, tostring(key))
    elseif how == "plain" then
      message[key] = value
    elseif how == "metric" then
      message.metrics = message.metrics or {}
      message.metrics[key] = M.metric_number(key, value, call)
    elseif how ~= "told" then
      how(message, value, call, handle, family)
    end
  end
  local metrics = message.metrics
  if metrics and metrics.rto_min and math.floor((metrics.lock or 0) / RTO_MIN_LOCKED) % 2 == 0 then
    metrics.lock = (metrics.lock or 0) + RTO_MIN_LOCKED -- TCP heeds no other; so does ip(8)
  end
  if not deleting or family == AF_MPLS then
    message.type = message.type or types.unicast
  end
  if not deleting then
    message.proto_number = message.proto_number or PROTO_BOOT
  end
  if not message.table8 and not message.table_number then
    message.table8 = local_types[types[message.type] or message.type] and TABLE_LOCAL or TABLE_MAIN
  end
  message.scope_number = message.scope_number or default_scope(t, message, deleting)
  return message
end

---Words that name exactly the route of a row.
---@param row table
---@return table
function M.of_row(row)
  local own = not row.nhid -- a nexthop object says the rest, and the kernel takes no more beside it
  return { row.dst, family = row.family, table = row.table_number or row.table, metric = row.metric, type = row.type,
    tos = row.tos ~= 0 and row.tos or nil, from = row.from, nhid = row.nhid, via = own and row.via or nil,
    dev = own and not row.nexthops and (row.dev_index or row.dev) or nil, proto = row.proto_number or row.proto }
end

---Words that would make the route of a row again.
---@param row table
---@return table
function M.all_of_row(row)
  local words = M.of_row(row)
  for _, word in ipairs { "src", "scope", "pref", "expires", "nhid", "realms", "ttl_propagate", "onlink", "lock", "encap", "as" } do
    words[word] = row[word]
  end
  for metric in pairs(M.metrics) do
    words[metric] = row[metric]
  end
  if words.lock and words.rto_min then -- its lock comes and goes with it
    local mask = M.lock_mask(words.lock, "route")
    words.lock = M.locked(mask - math.floor(mask / RTO_MIN_LOCKED) % 2 * RTO_MIN_LOCKED)
  end
  if words.family == "inet" then
    words.pref = nil
  end
  local hops = row.nexthops
  if hops then
    words.nexthops, words.via, words.dev = {}, nil, nil
    for i, hop in ipairs(hops) do
      words.nexthops[i] = { via = hop.via, dev = hop.dev_index, weight = hop.weight, onlink = hop.onlink, realms = hop.realms,
        encap = hop.encap, as = hop.as }
    end
  end
  if words.nhid then
    words.via, words.dev, words.nexthops = nil, nil, nil -- the nexthop object says it
  end
  return words
end

return M
