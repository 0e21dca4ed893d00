-- Routing rules: which table a packet is looked up in. rtnetlink(7), ip-rule(8), linux/fib_rules.h.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.families" -- enum inet_family

local header = "linux/fib_rules.h"

schema.enum("rule_action", { header = header, prefix = "FR_ACT_", c = { lookup = "FR_ACT_TO_TBL" } }, {
  unspec = 0, lookup = 1, ["goto"] = 2, nop = 3, blackhole = 6, unreachable = 7, prohibit = 8 })
schema.flags("rule_flags", { header = header, prefix = "FIB_RULE_", c = { ["not"] = "FIB_RULE_INVERT" } }, {
  permanent = 1, ["not"] = 2, unresolved = 4, iif_detached = 8, oif_detached = 16, find_saddr = 0x10000 })
schema.struct("fib_rule_hdr", { c = "struct fib_rule_hdr", header = header, prefix = "" }, [[
  family u8:enum(inet_family)  dst_len u8  src_len u8  tos u8  table8=table u8  res1 u8  res2 u8  action u8:enum(rule_action)
  flags u32:flags(rule_flags)
]])
schema.struct("fib_rule_uid_range", { c = "struct fib_rule_uid_range", header = header, prefix = "" }, [[ start u32  end_=end u32 ]])
schema.struct("fib_rule_port_range", { c = "struct fib_rule_port_range", header = header, prefix = "" }, [[ start u16  end_=end u16 ]])
schema.set("rule", { header = header, prefix = "FRA_" }, [[
  1   DST                 dst_address            ip
  2   SRC                 src_address            ip
  3   IIFNAME             iif                    strz(15)
  4   GOTO                goto_                  u32
  6   PRIORITY            priority               u32   -- absent: 0
  10  FWMARK              fwmark                 u32
  11  FLOW                realms                 u32
  12  TUN_ID              tun_id                 be64
  13  SUPPRESS_IFGROUP    suppress_ifgroup       s32
  14  SUPPRESS_PREFIXLEN  suppress_prefixlength  s32
  15  TABLE               table_number           u32
  16  FWMASK              mask                   u32
  17  OIFNAME             oif                    strz(15)
  19  L3MDEV              l3mdev                 bool
  20  UID_RANGE           uids                   struct(fib_rule_uid_range)
  21  PROTOCOL            proto_number           u8
  22  IP_PROTO            ipproto                u8
  23  SPORT_RANGE         sports                 struct(fib_rule_port_range)
  24  DPORT_RANGE         dports                 struct(fib_rule_port_range)
]])
schema.message("rule", { head = "fib_rule_hdr", attrs = "rule", c = "RULE", header = "linux/rtnetlink.h", new = 32, del = 33, get = 34 })

local NEW, DEL, GET = 32, 33, 34
local AF_INET, AF_INET6 = prefix.AF_INET, prefix.AF_INET6
local LOOKUP, GOTO = 1, 2
local INVERT = 2 -- FIB_RULE_INVERT
local PROTO_BOOT = 3
local ENOENT = core.errno.ENOENT
local ALL = 4294967295

---@class nslua.Rule  a row
---@field priority integer   0 is asked first
---@field from string?       "10.0.0.0/8"; nil: from anywhere
---@field to string?
---@field iif string?
---@field oif string?
---@field fwmark integer?    with `fwmask` where that is not all bits
---@field table string|integer|nil  `table_number`; nil where the action is not "lookup"
---@field action string      "lookup", "goto", "nop", "blackhole", "unreachable", "prohibit"
---@field goto_ integer?
---@field not_ boolean?      for packets that do not match
---@field ipproto string|integer|nil
---@field sport string|integer|nil  80 or "1000-2000"; `dport` likewise
---@field uidrange string?   "0-1000"
---@field family "inet"|"inet6"

local rule = { name = "rule", new = NEW, del = DEL, get = GET, methods = {}, none = { [ENOENT] = "no such rule" }, missing = ENOENT }

local protocols = { tcp = 6, udp = 17, icmp = 1, icmp6 = 58, sctp = 132, igmp = 2, gre = 47, esp = 50, ah = 51, udplite = 136, dccp = 33 }
local protocol_names = {}
for name, number in pairs(protocols) do
  protocol_names[number] = name
end

-- 80 for one, "80-90" for a range
local function range_text(range)
  if range then
    return range.start == range.end_ and range.start or ("%d-%d"):format(range.start, range.end_)
  end
end

local computed = {
  priority = function(row)
    return schema.raw(row, "priority") or 0
  end,
  from = function(row)
    return row.src_len > 0 and row.src_address .. "/" .. ("%d"):format(row.src_len) or nil
  end,
  to = function(row)
    return row.dst_len > 0 and row.dst_address .. "/" .. ("%d"):format(row.dst_len) or nil
  end,
  table = function(row)
    if row.action ~= "lookup" then
      return nil
    end
    return names.name("table", row.table_number or row.table8)
  end,
  fwmask = function(row)
    return row.mask ~= ALL and row.mask or nil
  end,
  proto = function(row)
    return row.proto_number and names.name("proto", row.proto_number)
  end,
  not_ = function(row)
    return row.flags["not"] or nil
  end,
  sport = function(row)
    return range_text(row.sports)
  end,
  dport = function(row)
    return range_text(row.dports)
  end,
  ipproto = function(row)
    local number = schema.raw(row, "ipproto")
    return protocol_names[number] or number
  end,
  uidrange = function(row)
    local range = row.uids
    return range and ("%d-%d"):format(range.start, range.end_)
  end,
}

-- What makes two rules one, in the kernel's eyes.
local function same(a, b)
  for _, field in ipairs { "family", "priority", "from", "to", "iif", "oif", "fwmark", "mask", "action", "goto_", "tos", "not_", "ipproto", "sport",
    "dport", "uidrange", "l3mdev", "tun_id" } do
    if a[field] ~= b[field] then
      return false
    end
  end
  return (a.table_number or a.table8) == (b.table_number or b.table8) and schema.rowset(a).handle == schema.rowset(b).handle
end

rule.class = schema.class {
  name = "rule",
  computed = computed,
  hidden = { "dst_address", "dst_len", "src_address", "src_len", "table8", "res1", "res2", "flags", "mask", "uids", "sports", "dports" },
  same = same,
}

-- Writing -------------------------------------------------------------------------------------------------------------------------

rule.writers = { priority = true, from = true, to = true, iif = true, oif = true, fwmark = true, fwmask = true, table = true, action = true,
  goto_ = true, not_ = "boolean", tos = true, ipproto = true, sport = true, dport = true, uidrange = true, proto = true, l3mdev = true, tun_id = true,
  realms = true, suppress_prefixlength = true, suppress_ifgroup = true, family = true }

local function bounds(call, key, value, most)
  local first, last
  if type(value) == "number" then
    first, last = value, value
  elseif type(value) == "table" then
    first, last = value[1], value[2] or value[1]
  elseif type(value) == "string" then
    local a, b = value:match "^(%d+)%-?(%d*)$"
    first = tonumber(a)
    last = b ~= "" and tonumber(b) or first
  end
  if type(first) ~= "number" or type(last) ~= "number" or first % 1 ~= 0 or last % 1 ~= 0 or first < 0 or last < first or last > most then
    errors.misuse("%s: %s must be a number or a range like \"80-90\" within 0 to %.0f, got %s", call, key, most, tostring(value))
  end
  return { start = first, end_ = last }
end

-- "0x1/0xff", { 1, 0xff }, 1
local function mark(call, t)
  local value, mask = t.fwmark, t.fwmask
  if type(value) == "string" then
    local m, k = value:match "^([^/]+)/?(.*)$"
    value = tonumber(m)
    mask = k ~= "" and tonumber(k) or mask
  elseif type(value) == "table" then
    value, mask = value[1], value[2] or mask
  end
  if type(value) ~= "number" then
    errors.misuse("%s: fwmark must be a number, or text like \"0x1/0xff\", got %s", call, tostring(t.fwmark))
  end
  return value, mask
end

local function side(call, key, value)
  if value == "all" or value == "any" or value == "default" then
    return nil, 0, nil
  end
  local address, length, family = prefix.split(call, key, value)
  return address, length, family
end

local function plain_words(call, t)
  verbs.options(call, t, rule.writers)
  for key, value in pairs(t) do
    if value == false and key ~= "not_" and key ~= "l3mdev" then
      errors.misuse("%s: %s cannot be false", call, key)
    end
  end
end

local function message_of(call, t, deleting)
  local message = { priority = t.priority, iif = t.iif, oif = t.oif, tos = t.tos, goto_ = t.goto_, l3mdev = t.l3mdev or nil, tun_id = t.tun_id,
    realms = t.realms, suppress_prefixlength = t.suppress_prefixlength, suppress_ifgroup = t.suppress_ifgroup }
  local family = t.family ~= nil and prefix.family(t.family, call) or nil
  for key, of in pairs { from = "src", to = "dst" } do
    if t[key] ~= nil then
      local address, length, found = side(call, key, t[key])
      if family and found and family ~= found then
        errors.misuse("%s: %s %s: a rule has one family", call, key, tostring(t[key]))
      end
      family = family or found
      message[of .. "_address"], message[of .. "_len"] = address, length
    end
  end
  message.family = family or AF_INET
  if t.fwmark ~= nil then
    message.fwmark, message.mask = mark(call, t)
  elseif t.fwmask ~= nil then
    message.fwmark, message.mask = 0, t.fwmask
  end
  if t.not_ then
    message.flags = INVERT
  end
  if t.ipproto ~= nil then
    message.ipproto = protocols[t.ipproto] or t.ipproto
  end
  message.sports = t.sport ~= nil and bounds(call, "sport", t.sport, 65535) or nil
  message.dports = t.dport ~= nil and bounds(call, "dport", t.dport, 65535) or nil
  message.uids = t.uidrange ~= nil and bounds(call, "uidrange", t.uidrange, ALL) or nil
  if t.proto ~= nil then
    message.proto_number = names.number("proto", t.proto, call)
  elseif not deleting then
    message.proto_number = PROTO_BOOT
  end
  local action = t.action
  if action == nil then
    action = t.goto_ and GOTO or (not deleting or t.table ~= nil) and LOOKUP or nil
  end
  message.action = action
  if t.table ~= nil then
    message.table_number = names.number("table", t.table, call)
    message.table8 = message.table_number < 256 and message.table_number or 0
  elseif not deleting and (action == LOOKUP or action == "lookup") and not t.l3mdev then
    message.table8, message.table_number = 254, 254
  end
  return message
end

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = {}
rule.matchers = matchers
for _, word in ipairs { "priority", "iif", "oif", "action", "goto_", "tos", "l3mdev", "tun_id", "realms", "suppress_prefixlength", "suppress_ifgroup",
  "not_", "table_number", "proto_number" } do
  matchers[word] = true
end
matchers.priority, matchers.not_ = "integer", "boolean"
matchers.table, matchers.proto, matchers.family = verbs.matchers.table, verbs.matchers.proto, verbs.matchers.family
local function side_matcher(key)
  return function(_, value, call)
    local address, length = side(call, key, value)
    return key, address and prefix.canonical(address) .. "/" .. ("%d"):format(length) or nil
  end
end
matchers.from, matchers.to = side_matcher "from", side_matcher "to"
matchers.fwmark = function(_, value, call)
  local wanted, mask = mark(call, { fwmark = value })
  return function(row)
    return row.fwmark == wanted and (not mask or (row.mask or ALL) == mask)
  end
end
matchers.fwmask = function(_, value, call)
  check.argument(call, "fwmask", value, "integer")
  return function(row)
    return (row.mask or ALL) == value
  end
end
matchers.ipproto = function(_, value, call)
  if type(value) ~= "number" and not protocols[value] then
    errors.misuse("%s: %s", call, check.unknown("ipproto", value, protocols))
  end
  return "ipproto", protocol_names[value] or value
end
local function range_matcher(key, field, most)
  return function(_, value, call)
    return field, bounds(call, key, value, most)
  end
end
matchers.sport, matchers.dport = range_matcher("sport", "sports", 65535), range_matcher("dport", "dports", 65535)
matchers.uidrange = range_matcher("uidrange", "uids", ALL)

function rule.payloads(_, filter, call)
  local S = rule.schema or verbs.schema(rule)
  if filter.family then
    return { S:encode { family = prefix.family(filter.family, call) } }
  end
  return { S:encode { family = AF_INET }, S:encode { family = AF_INET6 } }, { "inet", "inet6" }
end

-- Finding one ---------------------------------------------------------------------------------------------------------------------

-- A key is a row, a priority (IPv4's rules are looked through first), or a full match.
local function key_words(call, key)
  local kind = type(key)
  if kind == "number" then
    return { priority = key }
  elseif kind == "userdata" then
    return { priority = key.priority, from = key.from, to = key.to, table = key.table }
  elseif kind == "table" then
    plain_words(call .. ": key", key)
    return key
  end
  errors.misuse("%s: a rule is named by its priority, a table of what it matches, or its row, got %s", call, kind)
end

rule.key_words = key_words

-- A table that says nothing of a rule fits every one, first of all the one that finds this host's own addresses.
local function must_match(call, key)
  if type(key) ~= "table" then
    return
  end
  local anything = { all = true, any = true, default = true }
  for word, value in pairs(key_words(call, key)) do
    if word ~= "family" and not ((word == "from" or word == "to") and anything[value]) then
      return
    end
  end
  errors.misuse("%s: the key matches every rule: name one by its priority, from, to, table ...", call)
end

function rule.find(self, call, key)
  local found
  if type(key) == "userdata" then
    for _, row in ipairs(verbs.list(self, { family = key.family })) do
      if row == key then
        found = row
        break
      end
    end
    return found
  end
  local words = key_words(call, key)
  local rows = verbs.list(self, words)
  -- what a full match does not name, the rule does not have: { from = X } is not the rule { from = X, iif = Y }
  for _, row in ipairs(rows) do
    local exact = type(key) == "number"
    if not exact then
      exact = true
      for _, selector in ipairs { "from", "to", "iif", "oif", "fwmark", "ipproto", "sport", "dport", "uidrange", "not_" } do
        exact = exact and (words[selector] ~= nil or row[selector] == nil)
      end
    end
    if exact then
      return row
    end
  end
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local function detail_of(t)
  local parts = {}
  for _, key in ipairs { "priority", "from", "to", "iif", "oif", "fwmark", "table", "action" } do
    if t[key] ~= nil then
      parts[#parts + 1] = key .. " " .. tostring(t[key])
    end
  end
  return parts[1] and table.concat(parts, ", ") or nil
end

rule.detail = detail_of

local function write(self, call, t, asked)
  plain_words(call, t)
  local queued, replies = verbs.write(self, call, netlink.CREATE + netlink.EXCL + netlink.ECHO, message_of(call, t), t, asked)
  if not queued then
    return verbs.echoed(self, replies) or rule.find(self, call, t)
  end
end

local function remove_row(self, call, row, key, absent)
  local detail = detail_of(key_words(call, row))
  -- the rule as the kernel told it, byte for byte: no other fits
  netlink.remove(self, call, schema.bytes(row), detail, absent, key)
end

local methods = rule.methods

---Add a rule. rtnetlink(7), RTM_NEWRULE.
---
---`t`: priority (the kernel chooses one below those there are), from, to, iif, oif, fwmark (1, "0x1/0xff"), table, action ("lookup" is the
---default; "blackhole", "unreachable", "prohibit", "nop"), goto_ (a priority), not_, tos, ipproto ("tcp"), sport, dport (80, "80-90"), uidrange,
---suppress_prefixlength, suppress_ifgroup, l3mdev, tun_id, proto, family (where neither from nor to tells: inet).
---@param t table
---@return nslua.Rule? row  nothing in a batch
function methods:add(t)
  return write(self, "rule.add", t)
end

---A rule in place of the others of its priority and family. The new one stands before the old ones go.
---@param t table  with priority
---@return nslua.Rule?
function methods:replace(t)
  local call = "rule.replace"
  plain_words(call, t)
  if t.priority == nil then
    errors.misuse("%s: priority is needed: it says which rule is replaced", call)
  end
  local family = message_of(call, t).family == AF_INET and "inet" or "inet6"
  local old = verbs.list(self, { priority = t.priority, family = family })
  local ok, e = pcall(write, self, call, t)
  if not ok and not errors.is(e, "EEXIST") then
    error(e, 0)
  end
  local new = rule.find(self, call, t)
  for _, row in ipairs(old) do
    if row ~= new then
      remove_row(self, call, row, t.priority)
    end
  end
  if not netlink.batching(self.handle) then
    return new
  end
end

rule.unchecked = { family = true }

---@param t table
---@return nslua.Rule? row
function methods:ensure(t)
  local call = "rule.ensure"
  plain_words(call, t)
  must_match(call, t)
  return rule.find(self, call, t) or self:add(t)
end

---Change a rule: it is made anew with what `t` says in place of what it had, then the old one goes.
---@param key integer|table
---@param t table  false removes
function methods:change(key, t)
  local call = "rule.change"
  verbs.options(call, t, rule.writers)
  must_match(call, key)
  local row = verbs.existing(self, call, key)
  local words = { family = row.family, proto = row.proto_number }
  for word in pairs(rule.writers) do
    if words[word] == nil and row[word] ~= nil then
      words[word] = row[word]
    end
  end
  words.action = row.action ~= "goto" and row.action or nil
  words.tos = row.tos ~= 0 and row.tos or nil
  for word, value in pairs(t) do
    words[word] = value or nil
  end
  if t.action and t.action ~= "lookup" then
    words.table = nil
  end
  write(self, call, words, { call = call, key, t })
  remove_row(self, call, row, key)
end

---Delete a rule.
---@param key integer|table  a priority, a full match, or a row
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "rule.delete"
  local absent = verbs.absent_ok(call, options)
  must_match(call, key)
  local row = type(key) == "userdata" and key or verbs.existing(self, call, key, absent)
  if row then
    remove_row(self, call, row, key, absent)
  end
end

return verbs.object(rule)
