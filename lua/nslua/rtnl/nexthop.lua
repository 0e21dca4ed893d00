-- Nexthop objects and groups of them, which routes name by id. ip-nexthop(8), linux/nexthop.h.

local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local encap = require "nslua.rtnl.encap"
local errors = require "nslua.error"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local units = require "nslua.units"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.routeschema" -- flags rtnh_flags

local header = "linux/nexthop.h"

schema.enum("nexthop_type", { header = header, prefix = "NEXTHOP_GRP_TYPE_", c = { resilient = "NEXTHOP_GRP_TYPE_RES" } }, {
  mpath = 0, resilient = 1 })
schema.struct("nhmsg", { c = "struct nhmsg", header = header, prefix = "nh_" }, [[
  family u8:enum(inet_family)  scope_number=nh_scope u8  proto_number=nh_protocol u8  pad(1)  flags u32:flags(rtnh_flags)
]])
schema.struct("nexthop_grp", { c = "struct nexthop_grp", header = header, prefix = "" }, [[
  id u32  weight u8  weight_high=+weight_high u8  resvd2 u16
]])
schema.set("nexthop_resilient", { header = header, prefix = "NHA_RES_GROUP_" }, [[
  1  BUCKETS           buckets           u16
  2  IDLE_TIMER        idle_timer        u32
  3  UNBALANCED_TIMER  unbalanced_timer  u32
  4  UNBALANCED_TIME   unbalanced_time   u64
]])
schema.set("nexthop_res_bucket", { header = header, prefix = "NHA_RES_BUCKET_" }, [[
  1  INDEX      index      u16
  2  IDLE_TIME  idle_time  u64
  3  NH_ID      nhid       u32
]])
schema.set("nexthop", { header = header, prefix = "NHA_" }, [[
  1   ID          id            u32
  2   GROUP       members       array(struct(nexthop_grp))
  3   GROUP_TYPE  type          u16:enum(nexthop_type)
  4   BLACKHOLE   blackhole     flag
  5   OIF         dev_index     u32
  6   GATEWAY     via           ip
  7   ENCAP_TYPE  encap_type    u16:enum(lwt_type)
  8   ENCAP       encap         union(encap_type, route_encap)
  9   GROUPS      groups        flag
  10  MASTER      master_index  u32
  11  FDB         fdb           flag
  12  RES_GROUP   resilient     nest(nexthop_resilient)
  13  RES_BUCKET  bucket        nest(nexthop_res_bucket)
]])
schema.message("nexthop", { head = "nhmsg", attrs = "nexthop", c = "NEXTHOP", header = "linux/rtnetlink.h", new = 104, del = 105, get = 106 })
schema.message("nexthop_bucket", { head = "nhmsg", attrs = "nexthop", c = "NEXTHOPBUCKET", header = "linux/rtnetlink.h",
  new = 116, del = 117, get = 118 })

local NEW, DEL, GET = 104, 105, 106
local AF_INET = prefix.AF_INET
local ONLINK = 4 -- RTNH_F_ONLINK
local USER_HZ = 100
local ENOENT = core.errno.ENOENT

---@class nslua.Nexthop  a row
---@field id integer
---@field via string?        the gateway
---@field dev string?        `dev_index`
---@field blackhole boolean?
---@field onlink boolean?    `dead`, `linkdown` likewise
---@field group table[]?     { id =, weight = } of a group
---@field type string?       of a group: "mpath", "resilient"
---@field buckets integer?   of a resilient group, with idle_timer, unbalanced_timer, unbalanced_time in seconds
---@field fdb boolean?       for VXLAN's table instead of routes
---@field encap nslua.Encap?
---@field proto string|integer

local nexthop = { name = "nexthop", noun = "id", new = NEW, del = DEL, get = GET, methods = {},
  none = { [ENOENT] = "no such nexthop" }, missing = ENOENT }

local function link_of(row, set)
  return verbs.link_name(set, row.dev_index)
end

local timers = { idle_timer = true, unbalanced_timer = true }
local computed = {
  dev = link_of,
  proto = function(row)
    return names.name("proto", row.proto_number)
  end,
  scope = function(row)
    return row.via and names.name("scope", row.scope_number) or nil
  end,
  family = function(row)
    local family = schema.raw(row, "family")
    return family ~= "unspec" and family or nil
  end,
  encap = function(row, set)
    return encap.read(row.encap_type, schema.raw(row, "encap"), set)
  end,
  group = function(row)
    local members = row.members
    if not members then
      return nil
    end
    local out = {}
    for i, member in ipairs(members) do
      out[i] = { id = member.id, weight = member.weight_high * 256 + member.weight + 1 }
    end
    return out
  end,
  buckets = function(row)
    return row.resilient and row.resilient.buckets
  end,
}
for _, word in ipairs { "idle_timer", "unbalanced_timer", "unbalanced_time" } do
  computed[word] = function(row)
    local value = row.resilient and row.resilient[word]
    return value and value / USER_HZ
  end
end
for _, flag in ipairs { "onlink", "dead", "linkdown", "offload", "trap" } do
  computed[flag] = function(row)
    return row.flags[flag] or nil
  end
end

nexthop.class = schema.class {
  name = "nexthop",
  computed = computed,
  hidden = { "members", "resilient", "bucket", "flags", "groups", "encap_type", "scope_number", "master_index" },
  same = function(a, b)
    return a.id == b.id and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

-- Writing -------------------------------------------------------------------------------------------------------------------------

nexthop.writers = { id = true, via = true, dev = true, blackhole = "boolean", onlink = "boolean", group = true, type = true, buckets = true,
  idle_timer = true, unbalanced_timer = true, fdb = "boolean", encap = true, proto = true, family = true }
local yes_no = { blackhole = true, onlink = true, fdb = true }

-- { 1, { id = 2, weight = 3 } }, or ip(8)'s "1/2,3"
local function members(call, value)
  local list = {}
  if type(value) == "string" then
    for word in value:gmatch "[^/]+" do
      local id, weight = word:match "^(%d+),?(%d*)$"
      list[#list + 1] = { id = tonumber(id), weight = tonumber(weight) }
    end
  elseif type(value) == "table" then
    list = value
  end
  local out = {}
  for i, member in ipairs(list) do
    local id, weight = member, 1
    if type(member) == "table" then
      verbs.options(("%s: group[%d]"):format(call, i), member, { true, id = true, weight = true })
      id, weight = member.id or member[1], member.weight or 1
    elseif type(member) == "userdata" then
      id = member.id
    end
    if type(id) ~= "number" or id < 1 then
      errors.misuse("%s: group[%d]: the id of a nexthop expected, got %s", call, i, tostring(id))
    elseif type(weight) ~= "number" or weight < 1 or weight > 65536 or weight % 1 ~= 0 then
      errors.misuse("%s: group[%d]: weight must be 1 to 65536, got %s", call, i, tostring(weight))
    end
    out[i] = { id = id, weight = (weight - 1) % 256, weight_high = math.floor((weight - 1) / 256) }
  end
  if #out == 0 then
    errors.misuse("%s: group must be a list of ids or { id =, weight = }", call)
  end
  return out
end

local function message_of(handle, call, t)
  verbs.options(call, t, nexthop.writers)
  for word, value in pairs(t) do
    if value == false and not yes_no[word] then
      errors.misuse("%s: %s cannot be false", call, word)
    end
  end
  local message = { id = t.id, blackhole = t.blackhole or nil, fdb = t.fdb or nil, flags = t.onlink and ONLINK or nil }
  if t.proto ~= nil then
    message.proto_number = names.number("proto", t.proto, call)
  end
  if t.group then
    for _, word in ipairs { "via", "dev", "encap", "onlink" } do
      if t[word] then
        errors.misuse("%s: %s is for nexthops, not for groups of them", call, word)
      end
    end
    message.members = members(call, t.group)
    message.type = t.type
    if t.buckets or t.idle_timer or t.unbalanced_timer then
      message.resilient = { buckets = t.buckets }
      for word in pairs(timers) do
        if t[word] ~= nil then
          message.resilient[word] = math.floor(units.duration(t[word], call .. ": " .. word) * USER_HZ + 0.5)
        end
      end
    end
    return message
  end
  for _, word in ipairs { "type", "buckets", "idle_timer", "unbalanced_timer" } do
    if t[word] ~= nil then
      errors.misuse("%s: %s is for groups", call, word)
    end
  end
  if t.via then
    local _, family = prefix.address(call, "via", t.via)
    message.family, message.via = family, t.via
  end
  if t.family then
    local family = prefix.family(t.family, call)
    if message.family and message.family ~= family then
      errors.misuse("%s: via %s: a nexthop has one family", call, t.via)
    end
    message.family = family
  end
  message.family = message.family or AF_INET
  if t.dev ~= nil then
    message.dev_index = device.index(handle, t.dev, call, "dev")
  end
  if t.encap then
    encap.write(message, t.encap, call, handle)
  end
  return message
end

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = {}
nexthop.matchers = matchers
for _, word in ipairs { "id", "blackhole", "onlink", "dead", "linkdown", "offload", "trap", "type", "fdb", "dev_index", "proto_number",
  "buckets", "unbalanced_time" } do
  matchers[word] = true
end
for word in pairs(timers) do
  matchers[word] = function(_, value, call)
    return word, math.floor(units.duration(value, call .. ": " .. word) * USER_HZ + 0.5) / USER_HZ
  end
end
matchers.dev, matchers.proto, matchers.family, matchers.scope = verbs.matchers.dev, verbs.matchers.proto, verbs.matchers.family,
  verbs.matchers.scope
matchers.via = function(_, value)
  return "via", prefix.canonical(value)
end
matchers.encap = encap.matcher
matchers.group = function(_, value, call)
  local wanted = members(call, value)
  return function(row)
    local has = row.members
    return has ~= nil and #has == #wanted and verbs.within(wanted, has)
  end
end
matchers.groups = function()
  return function(row)
    return row.members ~= nil
  end
end
-- of links that are ports of it
matchers.master = verbs.ports

function nexthop.payloads(self, filter, call)
  local message = { groups = filter.groups or nil, fdb = filter.fdb or nil }
  if filter.family then
    message.family = prefix.family(filter.family, call)
  end
  for word, field in pairs { dev = "dev_index", master = "master_index" } do
    if filter[word] then
      message[field] = device.index(self.handle, filter[word], call, word)
    end
  end
  return { (nexthop.schema or verbs.schema(nexthop)):encode(message) }
end

-- Finding one ---------------------------------------------------------------------------------------------------------------------

local function key_words(call, key)
  local kind = type(key)
  if kind == "number" then
    return { id = key }
  elseif kind == "userdata" or kind == "table" and key.id ~= nil then
    return { id = key.id }
  end
  errors.misuse("%s: a nexthop is named by its id or its row, got %s", call, kind)
end
nexthop.key_words = key_words

function nexthop.detail(words)
  return verbs.detail("id", words.id)
end

function nexthop.find(self, call, key)
  local words = key_words(call, key)
  local S = nexthop.schema or verbs.schema(nexthop)
  return netlink.ask(self, call, S:encode { id = words.id }, ENOENT, nexthop.detail(words))
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local function write(self, call, flags, t, asked)
  local queued, replies = verbs.write(self, call, flags + netlink.ECHO, message_of(self.handle, call, t), t, asked)
  if not queued then
    return verbs.echoed(self, replies) or t.id and nexthop.find(self, call, t.id)
  end
end

local methods = nexthop.methods

---Make a nexthop, or a group of them. rtnetlink(7), RTM_NEWNEXTHOP.
---
---`t`: id (the kernel chooses one where there is none), via, dev, onlink, encap, blackhole, fdb, proto, family (where via does not tell: inet).
---A group: group = { 1, { id = 2, weight = 3 } } (or "1/2,3"), type ("mpath", "resilient"), and of a resilient one buckets, idle_timer,
---unbalanced_timer (seconds). Routes name it by `nhid`.
---@param t table
---@return nslua.Nexthop? row  nothing in a batch
function methods:add(t)
  return write(self, "nexthop.add", netlink.CREATE + netlink.EXCL, t)
end

---The same, in place of the nexthop of that id; routes stay.
---@param t table  with id
---@return nslua.Nexthop?
function methods:replace(t)
  return write(self, "nexthop.replace", netlink.CREATE + netlink.REPLACE, t)
end

function nexthop.restored(message)
  for key in pairs(message) do
    if key:find "^#" then -- what only newer kernels tell, of statistics
      message[key] = nil
    end
  end
  message.scope_number = 0
  message.flags = { onlink = message.flags and message.flags.onlink or nil }
  if message.resilient then
    message.resilient.unbalanced_time = nil
  end
end

nexthop.unchecked = {}

function nexthop.identity(_, t, call)
  if t.id == nil then
    errors.misuse("%s: id is needed: it says which nexthop", call)
  end
  local rest = {}
  for word, value in pairs(t) do
    rest[word] = value
  end
  return t.id, rest
end

---Change a nexthop: what `t` says in place of what it had, the rest kept. Groups stay groups.
---@param key integer|table  an id or a row
---@param t table  false removes
function methods:change(key, t)
  local call = "nexthop.change"
  verbs.options(call, t, nexthop.writers)
  local row = verbs.existing(self, call, key)
  local words = { id = row.id, via = row.via, dev = row.dev_index, blackhole = row.blackhole, onlink = row.onlink, group = row.group, fdb = row.fdb,
    encap = row.encap, proto = row.proto_number, family = row.family }
  if row.group then
    words.type, words.buckets, words.idle_timer, words.unbalanced_timer = row.type, row.buckets, row.idle_timer, row.unbalanced_timer
  end
  if t.via and not t.family then
    words.family = nil
  end
  if t.blackhole then
    words.via, words.dev, words.encap, words.onlink = nil, nil, nil, nil
  elseif t.via or t.dev then
    words.blackhole = nil
  end
  for word, value in pairs(t) do
    words[word] = value or nil
  end
  write(self, call, netlink.REPLACE, words, { call = call, key, t })
end

---Delete a nexthop; its routes go with it, groups lose it.
---@param key integer|table  an id or a row
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "nexthop.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  local S = nexthop.schema or verbs.schema(nexthop)
  netlink.remove(self, call, S:encode { id = words.id }, nexthop.detail(words), absent, key)
end

-- Buckets of resilient groups: made by the kernel, read here.

---@class nslua.NexthopBucket  a row
---@field id integer         of the group
---@field index integer
---@field nhid integer       the nexthop its packets go to
---@field idle_time number   seconds since one did

local bucket = { name = "nexthop_bucket", get = 118, matchers = { id = true, index = true, nhid = true, dev_index = true } }

local function of_bucket(word)
  return function(row)
    return row.bucket and row.bucket[word]
  end
end

bucket.class = schema.class {
  name = "nexthop_bucket",
  computed = { index = of_bucket "index", nhid = of_bucket "nhid", dev = link_of, idle_time = function(row)
    local time = row.bucket and row.bucket.idle_time
    return time and time / USER_HZ
  end },
  hidden = { "members", "resilient", "bucket", "flags", "groups", "encap_type", "encap", "scope_number", "master_index", "family", "proto_number",
    "blackhole", "fdb", "type", "via" },
  same = function(a, b)
    return a.id == b.id and a.index == b.index and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

function bucket.payloads(self, filter, call)
  return { (bucket.schema or verbs.schema(bucket)):encode { id = filter.id, bucket = filter.nhid and { nhid = filter.nhid } or nil,
    dev_index = filter.dev and device.index(self.handle, filter.dev, call, "dev") or nil } }
end
bucket.matchers.dev = function()
  return function()
    return true -- the kernel looked: a bucket does not tell its link
  end
end

---The buckets of resilient groups: `a.nexthop:buckets{ id = 10 }`.
---@param filter? { id: integer?, nhid: integer?, dev: any, index: integer? }
---@return nslua.NexthopBucket[]
function methods:buckets(filter)
  return verbs.list({ handle = self.handle, object = bucket }, filter)
end

return verbs.object(nexthop)
