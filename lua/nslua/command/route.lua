-- list routes, or ask which one is taken, as ip route does
--
-- As ip does, it shows IPv4's main table unless -6, another table or a destination of IPv6 is asked for.

local core = require "nslua.core"
local json = require "nslua.command.list.json"
local link = require "nslua.command.list.link"
local names = require "nslua.rtnl.names"
local run = require "nslua.command.list.run"
local words = require "nslua.command.list.words"

local MAIN = 254

-- In ip's order, with its names.
local FLAGS = { { "dead" }, { "onlink" }, { "pervasive" }, { "offload" }, { "trap" }, { "notify" }, { "linkdown" }, { "unresolved" },
  { "rt_offload" }, { "rt_trap" }, { "offload_failed", "rt_offload_failed" } }

local function flags_of(has)
  local out = {}
  for _, flag in ipairs(FLAGS) do
    if has[flag[1]] then
      out[#out + 1] = flag[2] or flag[1]
    end
  end
  return out
end

-- What the upper bits mean in the answer to a lookup, in ip's order. linux/in_route.h
local CACHE = { { "#bit31", "local" }, { "#bit30", "reject" }, { "offload_failed", "mc" }, { "#bit28", "brd" } }

-- In the order of their numbers; durations are milliseconds there.
local METRICS = { { "mtu" }, { "window" }, { "rtt", ms = true }, { "rttvar", ms = true }, { "ssthresh" }, { "cwnd" }, { "advmss" },
  { "reordering" }, { "hoplimit" }, { "initcwnd" }, { "features" }, { "rto_min", ms = true }, { "initrwnd" }, { "quickack" },
  { "congctl", "congestion" }, { "fastopen_no_cookie" } }

local function metrics_of(row)
  local out = json.object()
  for _, metric in ipairs(METRICS) do
    local value = row[metric[1]]
    if metric[1] == "features" then
      for _, name in ipairs { "ecn", "sack", "timestamp", "allfrag" } do
        for _, feature in ipairs(value or {}) do
          out:add(name, feature == name and json.null or nil)
        end
      end
    elseif value ~= nil then
      value = metric.ms and math.floor(value * 1000 + 0.5) or value == true and 1 or value == false and 0 or value
      out:add(metric[2] or metric[1], value)
    end
  end
  return #out > 0 and { out } or nil
end

-- The metrics as ip route writes them: "mtu lock 1400", "rto_min lock 200ms".
local function metric_words(row, out)
  local locked = {}
  for _, name in ipairs(row.lock or {}) do
    locked[name] = true
  end
  for _, metric in ipairs(METRICS) do
    local name = metric[1]
    local value = row[name]
    if value ~= nil then
      value = type(value) == "table" and table.concat(value, " ") or metric.ms and ("%dms"):format(math.floor(value * 1000 + 0.5))
        or value == true and 1 or value == false and 0 or value
      out[#out + 1] = ("%s %s%s"):format(name, locked[name] and "lock " or "", value)
    end
  end
end

-- The lines of -o have them in words.
local function metrics_told(row, o)
  if o.json or not o.oneline then
    return metrics_of(row)
  end
  local out = {}
  metric_words(row, out)
  return out[1] and table.concat(out, " ") or nil
end

-- A whole address is told without its length.
local function bare(text)
  return text and (text:find(":", 1, true) and text:gsub("/128$", "") or text:gsub("/32$", ""))
end

local function family_of(address)
  return address:find(":", 1, true) and "inet6" or "inet"
end

local function add_via(object, family, via)
  if via and family_of(via) == family then
    object:add("gateway", via)
  elseif via then
    object:add("via", json.object():add("family", family_of(via)):add("host", via))
  end
end

local function realms(number)
  if not number then
    return nil
  end
  local from, to = number >> 16, number & 0xffff
  return json.object():add("from", from ~= 0 and ("%d"):format(from) or nil):add("to", ("%d"):format(to))
end

-- What packets are wrapped in: its type, then the library's words.
local function add_encap(object, encap)
  if not encap then
    return
  end
  object:add("encap", encap.type)
  local keys = {}
  for key, value in pairs(encap) do
    keys[#keys + 1] = type(key) == "string" and key ~= "type" and type(value) ~= "table" and key or nil
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    object:add(key, encap[key])
  end
end

local function nexthops_of(row, handle)
  local out = {}
  for i, hop in ipairs(row.nexthops or {}) do
    local object = json.object()
    add_encap(object, hop.encap)
    add_via(object, row.family, hop.via)
    object:add("flow", realms(hop.realms))
    object:add("dev", link.name(handle, hop.dev_index)):add("weight", hop.weight):add("flags", flags_of(hop))
    out[i] = object
  end
  return out[1] and out or nil
end

-- The nexthop object a route has.
local function nexthop_of(id, handle)
  local hop = handle.nexthop:get(id)
  if not hop then
    return nil
  end
  local out = json.object():add("id", id)
  local group = {}
  for i, member in ipairs(hop.group or {}) do
    group[i] = json.object():add("id", member.id):add("weight", member.weight > 1 and member.weight or nil)
  end
  out:add("group", group[1] and group or nil)
  out:add("type", hop.type ~= "mpath" and hop.type or nil)
  add_via(out, hop.family, hop.via)
  -- a row tells a scope only beside a gateway, ip always
  out:add("dev", hop.dev):add("scope", tostring(names.name("scope", hop.scope_number))):add("blackhole", hop.blackhole and json.null)
  return out:add("protocol", tostring(hop.proto)):add("flags", flags_of(hop.flags))
end

local function object(row, f, o, handle)
  local out, flags = json.object(), row.flags
  local details = o.details
  if row.type ~= "unicast" or details then
    out:add("type", row.type)
  end
  out:add("dst", bare(row.dst)):add("from", bare(row.from))
  add_encap(out, row.encap)
  out:add("tos", row.tos ~= 0 and not f.tos and ("0x%02x"):format(row.tos) or nil):add("nhid", row.nhid)
  add_via(out, row.family, not (f.via and f.via.whole) and row.via or nil)
  out:add("dev", row.dev_index and not f.dev and link.name(handle, row.dev_index) or nil)
  if (row.table ~= "main" or details) and not f.table then
    out:add("table", tostring(row.table))
  end
  if not flags.cloned then
    out:add("protocol", (row.proto ~= "boot" or details) and not f.proto and tostring(row.proto) or nil)
    out:add("scope", (row.scope ~= "global" or details) and not f.scope and tostring(row.scope) or nil)
  end
  out:add("prefsrc", not f.src and row.src or nil):add("metric", row.metric):add("flags", flags_of(flags))
  if details and row.nhid then
    out:add("nh_info", nexthop_of(row.nhid, handle))
  end
  out:add("mark", row.mark):add("flow", realms(row.realms)):add("uid", row.uid)
  if flags.cloned and row.family == "inet" then
    local cache = {}
    for _, flag in ipairs(CACHE) do
      cache[#cache + 1] = flags[flag[1]] and flag[2] or nil
    end
    out:add("cache", cache)
  end
  local left = row.expires
  out:add("expires", left and math.floor(left)):add("metrics", metrics_told(row, o))
  out:add("iif", row.iif_index and link.name(handle, row.iif_index)):add("nexthops", nexthops_of(row, handle))
  return out:add("pref", row.pref and tostring(row.pref))
end

-- Which part of the table: "root" the prefix and what is within it, "match" it and what it is within, "exact" itself.
local function selected(f, row)
  local how, prefix = f.how, f.prefix
  local address, length = "", 0
  if row.dst ~= "default" then
    address, length = row.dst:match "^(.*)/(%d+)$"
    length = tonumber(length)
  end
  if not length or prefix.family and prefix.family ~= row.family then
    return false
  elseif how == "root" then
    return length >= prefix.length and (prefix.length == 0 or words.within(prefix, address))
  elseif length > prefix.length or how == "exact" and length ~= prefix.length then
    return false
  end
  -- within the other way round: what the row covers of the prefix
  return length == 0 or words.within({ bytes = core.inet.bytes(address), length = length }, core.inet.text(prefix.bytes))
end

-- The prefix is read when the family is known.
local function to(f, how, value)
  f.how, f.to = how, value
end

local function how(word)
  return { word, set = function(f, value) to(f, word, value) end }
end

local known = {
  { "table", set = function(f, value)
    if value == "all" or value == "0" then
      f.every = true
    else
      words.named("table", "table", "table id value is invalid\n").set(f, value)
    end
  end },
  words.value "dev", words.value("oif", "dev"), words.value "iif", words.named("proto", "proto", 'invalid "protocol"\n'),
  words.named("protocol", "proto", 'invalid "protocol"\n'),
  words.named("scope", "scope", 'invalid "scope"\n'), words.value "type", words.value "via", words.value "src",
  { "tos", set = function(f, value)
    f.tos = tonumber(value) or words.wrong(255, 'Error: argument "%s" is wrong: TOS value is invalid\n', value)
  end },
  how "root", how "match", how "exact", { "to", arg = false, set = function() end },
}

local TYPES = { unicast = true, ["local"] = true, broadcast = true, anycast = true, multicast = true, blackhole = true, unreachable = true,
  prohibit = true, throw = true, nat = true, xresolve = true }

local function device(handle, name)
  local row = name and handle.link:get(name)
  return row and row.index or name and words.absent('Cannot find device "%s"', name) or nil
end

local columns = { { name = "TYPE" }, { name = "DST" }, { name = "VIA" }, { name = "DEV" }, { name = "TABLE" }, { name = "PROTO" },
  { name = "SCOPE" }, { name = "METRIC", right = true }, { name = "SRC" }, { name = "MORE", trunc = true } }

local function line(row, _, _, handle)
  local via, dev, more = row.via, row.dev_index and link.name(handle, row.dev_index), flags_of(row.flags)
  if row.nexthops then
    via, dev = {}, {}
    for i, hop in ipairs(row.nexthops) do
      via[i], dev[i] = hop.via or "-", ("%s weight %d"):format(link.name(handle, hop.dev_index), hop.weight)
    end
  end
  for _, key in ipairs { "from", "tos", "nhid", "pref" } do
    local value = row[key]
    if value and value ~= 0 and value ~= "medium" then
      more[#more + 1] = ("%s %s"):format(key, tostring(value))
    end
  end
  metric_words(row, more)
  if row.expires then
    more[#more + 1] = ("expires %ds"):format(math.floor(row.expires))
  end
  if row.encap then
    more[#more + 1] = "encap " .. tostring(row.encap.type)
  end
  return { { TYPE = row.type, DST = bare(row.dst), VIA = via, DEV = dev, TABLE = tostring(row.table), PROTO = tostring(row.proto),
    SCOPE = tostring(row.scope), METRIC = row.metric, SRC = row.src, MORE = table.concat(more, " ") } }
end

-- ip route get: the words of a packet.
local function number(word, key)
  return { word, set = function(f, value)
    f[key or word] = tonumber(value) or words.wrong(255, 'Error: argument "%s" is wrong: invalid "%s"\n', value, word)
  end }
end

local get = {
  words = { words.value "from", number "mark", words.value "iif", words.value("oif", "out"), words.value("dev", "out"), number "uid", number "tos",
    number("dsfield", "tos"), words.value "ipproto", number "sport", number "dport", words.value "vrf",
    words.flag "fibmatch", words.value("to", "to") },
  bare = function(f, value)
    if f.to then
      words.wrong(255, 'Error: either "to" is duplicate, or "%s" is a garbage.', value)
    end
    f.to = value
  end,
  rows = function(handle, f, o)
    if not f.to then
      words.wrong(1, "need at least a destination address")
    end
    words.prefix(f.to, o.family)
    return { handle.route:lookup { f.to, from = f.from, mark = f.mark, iif = device(handle, f.iif), oif = device(handle, f.out), uid = f.uid,
      tos = f.tos, ipproto = tonumber(f.ipproto) or f.ipproto, sport = f.sport, dport = f.dport, vrf = f.vrf, fibmatch = f.fibmatch } }
  end,
  object = function(row, _, o, handle)
    return object(row, {}, o, handle)
  end,
}

return run.command {
  name = "route", summary = "List routes, or show the one that a packet takes.",
  usage = "[options] [list [<words>] | get <address> [<words>]]",
  words = known,
  bare = function(f, value)
    if value == "all" or value == "any" or value == "default" or value:find "[.:%d/]" then
      to(f, "exact", value)
    else
      words.prefix(value)
    end
  end,
  verbs = { get = get },
  notes = [[Words of list: [to] [root|match|exact] <prefix>, table <table>|all, dev <name>, via <prefix>, src <prefix>, proto <proto>,
scope <scope>, type <type>, tos <tos>.
Words of get: from <address>, iif <name>, oif <name>, mark <n>, uid <n>, tos <n>, ipproto <proto>, sport <port>, dport <port>,
vrf <name>, fibmatch.
dev and via find routes of several hops, too, which ip leaves out.]],
  rows = function(handle, f, o)
    if f.to and not f.prefix then
      f.prefix = words.prefix(f.to, o.family)
    end
    for _, key in ipairs { "via", "src" } do
      if type(f[key]) == "string" then
        f[key] = words.prefix(f[key], o.family)
        f[key].whole = f[key].length == #f[key].bytes * 8
      end
    end
    if f.type and not TYPES[f.type] then
      words.wrong(255, 'Error: argument "%s" is wrong: node type value is invalid\n', f.type)
    end
    local family = o.family or f.prefix and f.prefix.family or f.via and f.via.family or f.src and f.src.family
    if not f.every and not f.table then
      f.table = MAIN
    end
    if not family and not f.every then
      family = "inet"
    end
    local filter = { family = family, table = f.table, proto = f.proto, scope = f.scope, type = f.type, tos = f.tos, dev = device(handle, f.dev),
      iif_index = device(handle, f.iif) }
    local out = {}
    for _, row in ipairs(handle.route:list(filter)) do
      local ok = not f.prefix or selected(f, row)
      if ok and f.via then
        ok = row.via ~= nil and words.within(f.via, row.via)
        for _, hop in ipairs(row.nexthops or {}) do
          ok = ok or hop.via ~= nil and words.within(f.via, hop.via)
        end
      end
      if ok and f.src then
        ok = row.src ~= nil and words.within(f.src, row.src)
      end
      out[#out + 1] = ok and row or nil
    end
    return out
  end,
  object = object, columns = columns, line = line,
}
