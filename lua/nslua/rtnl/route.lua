-- Routes: their schema, how rows read, and the verbs. rtnetlink(7), ip-route(8), linux/rtnetlink.h.

local check = require "nslua.check"
local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local encap = require "nslua.rtnl.encap"
local errors = require "nslua.error"
local mpls = require "nslua.rtnl.mpls"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local routewords = require "nslua.rtnl.routewords"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.routeschema"

local NEW, DEL, GET = 24, 25, 26
local AF_INET, AF_INET6, AF_MPLS = prefix.AF_INET, prefix.AF_INET6, routewords.AF_MPLS
local FIB_MATCH, LOOKUP_TABLE = 0x2000, 0x1000
local USER_HZ = 100 -- what rta_expires counts in
local ESRCH, ENOENT, ENETUNREACH = core.errno.ESRCH, core.errno.ENOENT, core.errno.ENETUNREACH

---@class nslua.Route  a row
---@field dst string         "10.0.0.0/8", always with its length; "default" for everything
---@field via string?        the gateway, of either family
---@field dev string?        `dev_index`; nil for several nexthops
---@field src string?        source address it prefers
---@field from string?       source prefix it is for (IPv6)
---@field metric integer?
---@field table string|integer  `table_number`
---@field proto string|integer  `proto_number`
---@field scope string|integer
---@field type string        "unicast", "blackhole", "unreachable", ...
---@field nexthops table[]?  { via =, dev =, dev_index =, weight =, onlink = } of a multipath route
---@field mtu integer?       and the other metrics: advmss window rtt rttvar rto_min (seconds) ssthresh cwnd initcwnd initrwnd hoplimit quickack
---congctl features ...
---@field lock string[]?     metrics that path MTU discovery and TCP may not change; rto_min is locked wherever it is set, as TCP heeds no other
---@field encap nslua.Encap?  what its packets are wrapped in
---@field as string?         labels that an MPLS route puts in place of its own ("200/300")
---@field nhid integer?      its nexthop object
---@field family "inet"|"inet6"|"mpls"

local route = { name = "route", noun = "dst", new = NEW, del = DEL, get = GET, methods = {}, writers = routewords.writers,
  none = { [ESRCH] = "no such route", [ENOENT] = "no such route" }, missing = ENOENT }

local function via_of(from)
  local via = from.gateway
  if via then
    return via
  end
  via = from.via_bytes
  return via and core.inet.text(via:sub(3))
end

local computed = {
  dst = { how = "prefix", "dst_address", "dst_len", extra = "default", call = function(row)
    local address = row.dst_address
    return address and mpls.of_address(address)
  end },
  from = { how = "prefix", "src_address", "src_len" },
  via = schema.when("gateway", "via_bytes", via_of),
  dev = verbs.link_of "dev_index",
  iif = verbs.link_of "iif_index",
  table = names.of("table", "table_number", "table8"),
  proto = names.of("proto", "proto_number"),
  scope = names.of("scope", "scope_number"),
  nexthops = schema.when("multipath", function(row, set)
    local out = {}
    for i, hop in ipairs(row.multipath) do
      out[i] = { via = via_of(hop), dev = verbs.link_name(set, hop.dev_index), dev_index = hop.dev_index, weight = hop.hops + 1,
        realms = hop.realms, encap = encap.read(hop.encap_type, hop.encap, set), as = mpls.text(hop.newdst) }
      for flag in pairs(hop.flags) do
        out[i][flag] = true
      end
    end
    return out
  end),
  encap = schema.when("encap_type", function(row, set)
    return encap.read(row.encap_type, schema.raw(row, "encap"), set)
  end),
  as = schema.when("newdst", function(row)
    return mpls.text(row.newdst)
  end),
  expires = schema.when("cacheinfo", function(row)
    local info = row.cacheinfo
    return info and info.expires and info.expires ~= 0 and info.expires / USER_HZ or nil
  end),
  error = schema.when("cacheinfo", function(row)
    local info = row.cacheinfo
    local errno = info and info.error
    -- the kernel's -ENETUNREACH as an unsigned number
    return errno and errno ~= 0 and core.errno[errno > 2147483647 and 4294967296 - errno or errno] or nil
  end),
}
for flag, bits in pairs { dead = 1, onlink = 4, offload = 8, linkdown = 16, trap = 64, cloned = 0x200 } do -- RTNH_F_*, RTM_F_*
  computed[flag] = { how = "flag", "flags", bits = bits }
end
for metric in pairs(routewords.metrics) do
  computed[metric] = schema.when("metrics", function(row)
    return routewords.metric_value(metric, row.metrics[metric])
  end)
end
computed.lock = schema.when("metrics", function(row)
  local lock = row.metrics.lock
  return lock and routewords.locked(lock)
end)

route.class = schema.class {
  name = "route",
  computed = computed,
  hidden = { "dst_address", "dst_len", "src_address", "src_len", "gateway", "via_bytes", "via_other", "multipath",
    "metrics", "cacheinfo", "table8", "flags",
    "scope_number", "mfc_stats", "newdst", "expires_left", "encap_type" },
  same = function(a, b)
    return a.family == b.family and a.dst == b.dst and a.table == b.table and a.metric == b.metric and a.tos == b.tos and a.type == b.type
      and a.dev_index == b.dev_index and a.via == b.via and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

-- Finding one ---------------------------------------------------------------------------------------------------------------------

local function key_words(call, key)
  local kind = type(key)
  if kind == "string" or kind == "number" then
    return { key }
  elseif kind == "userdata" then
    return routewords.of_row(key)
  elseif kind == "table" then
    if key[1] == nil and key.dst ~= nil then
      return routewords.of_row(key)
    end
    routewords.check(call .. ": key", key)
    return key
  end
  errors.misuse("%s: a route is named by { \"10.0.0.0/8\", table =, metric =, type = } or its row, got %s", call, kind)
end
route.key_words = key_words

local function dump(self, call, message)
  local S = route.schema or verbs.schema(route)
  return netlink.dump(self.handle, call, "route", S, GET, S:encode(message)), S
end

-- The longest match for the prefix's own address is the route itself, unless one inside of it is there too.
local function by_lookup(self, call, words, tests)
  local address, length, family = routewords.destination(call, words)
  if not address or length == 0 or family == AF_MPLS then
    return nil
  end
  local S = route.schema or verbs.schema(route)
  local ok, row = pcall(netlink.ask, self, call, S:encode { family = family, dst_len = #core.inet.bytes(address) * 8,
    dst_address = address, flags = FIB_MATCH }, ENETUNREACH)
  return ok and row and verbs.passes(row, tests) and row or nil
end

function route.find(self, call, key)
  local words = key_words(call, key)
  local tests = verbs.tests(self, call, words)
  local _, _, family = routewords.destination(call, words)
  local in_main = words.table == nil or names.number("table", words.table, call) == 254
  if in_main and not words.type and not words.metric then
    local row = by_lookup(self, call, words, tests)
    if row then
      return row
    end
  end
  local number = words.table and names.number("table", words.table, call)
  local found, S = dump(self, call, { family = family, table8 = number and number < 256 and number or 0, table_number = number or 254 })
  local best
  for _, row in ipairs(found:rows(S, route.class, verbs.rowset(self), function(row)
    return verbs.passes(row, tests)
  end)) do
    -- the lowest metric is the one in use
    if not best or (row.metric or 0) < (best.metric or 0) then
      best = row
    end
  end
  return best
end

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = {}
route.matchers = matchers
for _, word in ipairs { "tos", "nhid", "mark", "uid", "pref", "type", "dev_index", "iif_index", "realms", "error",
  "ttl_propagate", "onlink", "dead", "linkdown", "cloned", "offload", "trap" } do
  matchers[word] = true
end
-- as the kernel keeps it
for metric in pairs(routewords.metrics) do
  matchers[metric] = function(_, value, call)
    if routewords.counted(metric) then
      check.argument(call, metric, value, "integer")
    elseif routewords.yes_no[metric] then
      check.argument(call, metric, value, "boolean|integer")
    end
    return metric, routewords.metric_value(metric, routewords.metric_number(metric, value, call))
  end
end
matchers.metric = function(_, value, call)
  check.argument(call, "metric", value, "integer")
  return function(row)
    -- none is 0 in IPv4; IPv6 has 1024 for it
    return (row.metric or 0) == value or value == 0 and row.family == "inet6" and row.metric == 1024
  end
end
matchers.lock = function(_, value, call)
  local wanted = routewords.locked(routewords.lock_mask(value, call))
  local named = table.concat(wanted, " "):find("rto_min", 1, true)
  return function(row)
    local at = 0
    for _, metric in ipairs(row.lock or {}) do
      if named or metric ~= "rto_min" then -- which is locked wherever it is set
        at = at + 1
        if metric ~= wanted[at] then
          return false
        end
      end
    end
    return at == #wanted
  end
end
-- It counts down: one of the asked length or less is as it should be.
matchers.expires = function(_, value, call)
  local wanted = routewords.seconds(value, call, "expires")
  return function(row)
    local left = row.expires
    return left ~= nil and left <= wanted and left > wanted - 2
  end
end
matchers.encap = encap.matcher
matchers.as = function(_, value, call)
  return "as", mpls.text(mpls.stack(call, "as", value))
end
matchers.table_number, matchers.proto_number = true, true
for _, word in ipairs { "proto", "scope", "table" } do
  matchers[word] = verbs.matchers[word]
end
matchers.family = function(_, value, call)
  return "family", routewords.family_name(routewords.family(value, call))
end
route.family_number = routewords.family
matchers.dev = function(self, value, call)
  local index = device.index(self.handle, value, call, "dev")
  return function(row)
    if row.dev_index == index then
      return true
    end
    for _, hop in ipairs(row.multipath or {}) do
      if hop.dev_index == index then
        return true
      end
    end
    return false
  end
end
matchers.oif = matchers.dev
matchers.dst = function(_, value, call)
  local mpls_address = routewords.is_label(value) and mpls.address(call, "dst", value)
  if mpls_address then
    return function(row)
      return row.family == "mpls" and row.dst == ("%d"):format(tonumber(value))
    end
  end
  local address, length, family, written = routewords.destination(call, { value })
  address = address and prefix.canonical(address)
  return function(row)
    return row.dst_len == length and (length == 0 or row.dst_address == address)
      and (not written or row.family == routewords.family_name(family))
  end
end
matchers[1] = matchers.dst
matchers.from = function(_, value, call)
  local address, length = prefix.split(call, "from", value)
  address = prefix.canonical(address)
  return function(row)
    return row.src_address == address and row.src_len == length
  end
end
matchers.via = function(_, value, call)
  local bare = type(value) == "string" and value:gsub("^inet6? ", "") or value -- "inet6 fe80::1", as ip(8) writes it
  prefix.address(call, "via", bare)
  local wanted = prefix.canonical(bare)
  return function(row)
    if row.via == wanted then
      return true
    end
    for _, hop in ipairs(row.multipath or {}) do
      if via_of(hop) == wanted then
        return true
      end
    end
    return false
  end
end
matchers.src = function(_, value, call)
  prefix.address(call, "src", value)
  return "src", prefix.canonical(value)
end
matchers.nexthops = function(self, value, call)
  local wanted = routewords.nexthops(self.handle, call, value)
  return function(row)
    local has = row.multipath or {}
    if #has ~= #wanted then
      return false
    end
    for i, hop in ipairs(wanted) do
      local other = has[i]
      local via = hop.gateway or hop.via_other and core.inet.text(hop.via_other["#tail"])
      if via and prefix.canonical(via) ~= via_of(other) or hop.dev_index ~= 0 and hop.dev_index ~= other.dev_index or hop.hops ~= other.hops
        or mpls.text(hop.newdst) ~= mpls.text(other.newdst) or hop.encap_type and hop.encap_type ~= other.encap_type then
        return false
      end
    end
    return true
  end
end

function route.payloads(self, filter, call)
  local S = route.schema or verbs.schema(route)
  local message = {}
  if filter.table then
    message.table_number = names.number("table", filter.table, call)
    message.table8 = message.table_number < 256 and message.table_number or 0
  end
  if filter.proto then
    message.proto_number = names.number("proto", filter.proto, call)
  end
  if type(filter.type) == "string" then
    message.type = filter.type
  end
  local dev = filter.dev or filter.oif
  if dev then
    message.dev_index = device.index(self.handle, dev, call, "dev")
  end
  local dst, family = filter[1] or filter.dst, nil
  if filter.family then
    family = routewords.family(filter.family, call)
  elseif routewords.is_label(dst) then
    family = AF_MPLS
  elseif type(dst) == "string" then
    local _, _, of, written = routewords.destination(call, { dst })
    family = written and of or nil
  end
  local out, families = {}, {}
  for i, each in ipairs(family and { family } or { AF_INET, AF_INET6 }) do
    message.family = each
    out[i], families[i] = S:encode(message), routewords.family_name(each)
  end
  return out, families
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local function detail_of(words)
  local text = tostring(words[1])
  if words.via then
    text = text .. " via " .. tostring(words.via)
  end
  if type(words.dev) == "string" or type(words.dev) == "number" then
    text = text .. " dev " .. words.dev
  end
  if words.nhid then
    text = text .. " nhid " .. tostring(words.nhid)
  end
  if words.table then
    text = text .. " table " .. tostring(words.table)
  end
  return text
end
route.detail = detail_of

local E = core.errno

-- What to do about words of the kernel that do not say it.
function route.hint(errno, extack, words)
  if errno == E.ENODEV and words.dev == nil and not (words.via or words.nexthops or words.nhid) then
    return "where its packets go is missing: dev, via, nexthops or nhid"
  elseif extack == "Invalid prefix for given prefix length" then
    return ("bits of %s are set behind its length: write %q"):format(words[1], prefix.network(words[1]))
  end
end

local HEADER, DST = 12, 16 -- sizeof(struct rtmsg), and where the address is: it is the first attribute
local inet_split = core.inet.split

-- Keep what the next route of the batch may be made of.
local function keep_words(self, kept, call, flags, t, bytes)
  local _, length, _, _, address = inet_split(t[1])
  if not address or length ~= bytes:byte(2) or bytes:sub(DST + 1, DST + #address) ~= address or bytes:byte(HEADER + 1) ~= #address + 4 then
    return
  end
  local words = {}
  for word, value in pairs(t) do
    if type(value) == "table" or type(value) == "userdata" then
      return -- it may be another the next time
    elseif word ~= 1 then
      words[word] = value
    end
  end
  kept.route = { form = verbs.form(self, call, route.schema, flags), call = call, flags = flags, words = words, bytes = bytes, length = length,
    at = DST, size = #address }
end

---@return nslua.Route? row  of the echo
---@return boolean queued
local function write(self, call, flags, t, asked)
  local kept = netlink.kept(self.handle)
  local last = kept and kept.route
  if last and last.call == call and last.flags == flags and not asked and type(t) == "table" and t.dev == last.words.dev and t.via == last.words.via
    and netlink.again(last, route.new, t) then
    return nil, true
  end
  local bytes = (route.schema or verbs.schema(route)):encode(routewords.message(self.handle, call, t))
  if kept and not asked and type(t[1]) == "string" then
    keep_words(self, kept, call, flags, t, bytes)
  end
  local queued, replies = verbs.send(self, call, flags, bytes, t, asked)
  return not queued and verbs.echoed(self, replies) or nil, queued
end

-- "default" is of the family that the other words tell, which the key does not have.
local function key_of(t, call)
  local family = t.family
  if family == nil then
    local _, _, of, told = routewords.destination(call, t)
    family = told and routewords.family_name(of) or nil
  end
  return { t[1], table = t.table, metric = t.metric, type = t.type, tos = t.tos, family = family, from = t.from }
end

local methods = route.methods
local ADD, APPEND, REPLACE = netlink.CREATE + netlink.EXCL + netlink.ECHO, netlink.CREATE + netlink.APPEND + netlink.ECHO,
  netlink.CREATE + netlink.REPLACE + netlink.ECHO

---Add a route. rtnetlink(7), RTM_NEWROUTE.
---
---`t`: the destination at [1] ("10.0.0.0/8", "default"), via (of either family), dev, src, metric, table, proto, scope, type, tos, from, onlink,
---nexthops = { { via =, dev =, weight =, onlink =, encap = }, ... }, metrics (mtu, advmss, hoplimit, initcwnd, congctl, ...), lock = { "mtu" }, pref,
---expires (seconds), nhid (a nexthop object), realms, encap = { type = "ip", dst = }, family (for "default" where nothing else tells). MPLS: a
---label at [1], as = "200/300", via, ttl_propagate.
---@param t table
---@return nslua.Route? row  nothing in a batch
function methods:add(t)
  local row, queued = write(self, "route.add", ADD, t)
  return row or not queued and route.find(self, "route.add", key_of(t, "route.add")) or nil
end

---The same, behind the routes to that destination with that metric: IPv4 keeps them in this order, for when the first is taken away; IPv6 makes
---one route of several nexthops of them. ip route append.
---@param t table
---@return nslua.Route?
function methods:append(t)
  local row, queued = write(self, "route.append", APPEND, t)
  return row or not queued and route.find(self, "route.append", key_of(t, "route.append")) or nil
end

---The same, in place of a route to that destination with that metric and table.
---@param t table
---@return nslua.Route?
function methods:replace(t)
  local row, queued = write(self, "route.replace", REPLACE, t)
  return row or not queued and route.find(self, "route.replace", key_of(t, "route.replace")) or nil
end

-- What the kernel tells of a route and refuses, or takes for something else, when it is made.
function route.restored(message)
  local info = message.cacheinfo
  message.expires_left = info and info.expires and info.expires > 0 and math.ceil(info.expires / USER_HZ) or nil
  message.flags, message.cacheinfo = { onlink = message.flags and message.flags.onlink or nil }, nil
  for _, hop in ipairs(message.multipath or {}) do
    hop.flags = { onlink = hop.flags and hop.flags.onlink or nil }
  end
  if message.nhid then -- its object says where packets go
    message.flags.onlink = nil
    for _, word in ipairs { "dev_index", "gateway", "via_bytes", "via_other", "multipath", "encap_type", "encap" } do
      message[word] = nil
    end
  end
end

route.unchecked = { family = true }

function route.identity(_, t, call)
  local rest = {}
  for word, value in pairs(t) do
    rest[word] = value
  end
  return key_of(t, call), rest
end

---Change a route: what `t` says in place of what it had, the rest kept.
---@param key string|table
---@param t table  false removes
function methods:change(key, t)
  local call = "route.change"
  routewords.check(call, t)
  local row = type(key) == "userdata" and key or verbs.existing(self, call, key)
  local words = routewords.all_of_row(row)
  for word, value in pairs(t) do
    if word == "nexthops" then
      words.via, words.dev = nil, nil
    elseif (word == "via" or word == "dev") and value then
      words.nexthops = nil
    end
    if value and t.nhid == nil and (word == "nexthops" or word == "via" or word == "dev") then
      words.nhid = nil -- either an object says where packets go, or the route does
    end
    if value == false and not routewords.yes_no[word] then
      value = nil
    end
    words[word] = value
  end
  local table_number = row.table_number or row.table8
  local moved = words.metric ~= row.metric or names.number("table", words.table or table_number, call) ~= table_number
    or (words.tos or 0) ~= row.tos or t[1] ~= nil and t[1] ~= row.dst
  if moved then
    -- another place in the table: the kernel would change the route that is there
    write(self, call, netlink.CREATE + netlink.EXCL, words, { call = call, key, t })
    self:delete(row)
  else
    write(self, call, netlink.REPLACE, words, { call = call, key, t })
  end
end

---Delete a route: the first that fits what is given.
---@param key string|table
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "route.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  local S = route.schema or verbs.schema(route)
  local message = routewords.message(self.handle, call, words, true)
  if message.family == AF_MPLS and not verbs.existing(self, call, key, absent) then
    return -- the kernel says nothing where there is none
  end
  netlink.remove(self, call, S:encode(message), detail_of(words), absent, key)
end

local lookup_words = { true, from = true, mark = true, iif = true, oif = true, dev = true, uid = true, tos = true, ipproto = true, sport = true,
  dport = true, fibmatch = true, vrf = true, family = true }
local protocols = { tcp = 6, udp = 17, icmp = 1, icmp6 = 58, sctp = 132 }

---The route the kernel would take: ip route get.
---@param t string|table  { "8.8.8.8", from =, mark =, iif =, oif =, vrf =, uid =, tos =, ipproto =, sport =, dport =, fibmatch = };
---fibmatch: the route as it stands in the table
---@return nslua.Route row  raises where there is none: ENETUNREACH, or what its type says: EHOSTUNREACH, EACCES, EINVAL (blackhole)
function methods:lookup(t)
  local call = "route.lookup"
  if type(t) == "string" then
    t = { t }
  end
  verbs.options(call, t, lookup_words)
  local handle = self.handle
  if t.vrf ~= nil and (t.oif or t.dev) then
    errors.misuse("%s: vrf and oif name the same thing", call)
  end
  local address, length, family = routewords.destination(call, t)
  local message = { family = family, dst_address = address, dst_len = length,
    -- IPv6 always tells the table, and refuses to be asked to
    flags = (family == AF_INET and LOOKUP_TABLE or 0) + (t.fibmatch and FIB_MATCH or 0),
    mark = t.mark, uid = t.uid, tos = t.tos, sport = t.sport, dport = t.dport }
  if t.ipproto ~= nil then
    message.ipproto = protocols[t.ipproto] or t.ipproto
  end
  if t.from then
    message.src_address, message.src_len = prefix.split(call, "from", t.from)
  end
  if t.iif then
    message.iif_index = device.index(handle, t.iif, call, "iif")
  end
  local oif = t.oif or t.dev or t.vrf -- a packet of a VRF leaves by its device
  if oif then
    message.dev_index = device.index(handle, oif, call, "oif")
  end
  local S = route.schema or verbs.schema(route)
  local row = netlink.ask(self, call, S:encode(message), nil, t[1])
  local failed = row.error
  if failed then
    -- IPv6 answers with a route that says why there is none
    errors.raise { call = call, netns = handle:describe(), errno = core.errno[failed], detail = t[1] }
  end
  return row
end

return verbs.object(route)
