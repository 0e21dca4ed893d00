-- Forwarding tables of bridges, VXLAN and network cards: which address is behind which link. bridge(8), linux/neighbour.h.

local check = require "nslua.check"
local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local putback = require "nslua.rtnl.putback"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.neighbour" -- the message, which is theirs

local NEW, DEL, GET = 28, 29, 30
local AF_BRIDGE = 7
local SELF, MASTER = 2, 4 -- linux/neighbour.h, NTF_SELF, NTF_MASTER
local REACHABLE, STALE, NOARP, PERMANENT = 2, 4, 64, 128 -- NUD_*
local USER_HZ = 100
local APPEND = 0x800 -- NLM_F_APPEND
local ENOENT = core.errno.ENOENT

---@class nslua.Fdb  a row
---@field lladdr string      "02:00:00:00:00:02"
---@field dev string         `dev_index`
---@field master string?     the bridge whose table it is in; `master_index`
---@field self boolean?      it is in the link's own table
---@field vlan integer?
---@field state string       "permanent" (the host's own), "static", "dynamic" (learnt, or made so), "stale"
---@field dst string?        VXLAN: the other end; `port`, `vni`, `src_vni`, `via` (the link there), `nhid`
---@field extern_learn boolean?  `sticky`, `offload`, `router`, `locked` likewise
---@field used number?       seconds since a packet went there; `updated` since it was learnt

local fdb = { name = "fdb", message = "neighbour", noun = "lladdr", new = NEW, del = DEL, get = GET, methods = {}, bridge = true,
  none = { [ENOENT] = "no such entry" }, missing = ENOENT }

local function has(bits, bit)
  return math.floor(bits / bit) % 2 == 1
end

local states = schema.names "nud"

local function state_of(row)
  local state = schema.raw(row, "state")
  return states[state] or state
end

local computed = {
  dev = function(row, set)
    return verbs.link_name(set, row.dev_index)
  end,
  master = function(row, set)
    return verbs.link_name(set, row.master_index)
  end,
  via = function(row, set)
    return verbs.link_name(set, row.ifindex)
  end,
  proto = function(row)
    return row.proto_number and names.name("proto", row.proto_number)
  end,
  -- several bits may be set: bridge(8) looks at them in this order
  state = function(row)
    local state = state_of(row)
    return has(state, PERMANENT) and "permanent" or has(state, NOARP) and "static" or has(state, STALE) and "stale" or "dynamic"
  end,
  locked = function(row)
    local flags = row.flags_ext
    return flags and (flags.locked or flags["#bit1"]) or nil
  end,
}
local flag_bits = { use = 1, extern_learn = 16, sticky = 64, router = 128 }
for _, word in ipairs { "self", "use", "extern_learn", "offload", "sticky", "router" } do
  computed[word] = function(row)
    return row.flags[word] or nil
  end
end
for _, word in ipairs { "confirmed", "used", "updated" } do
  computed[word] = function(row)
    local info = row.cacheinfo
    return info and info[word] / USER_HZ
  end
end

fdb.class = schema.class {
  name = "fdb",
  computed = computed,
  hidden = { "family", "flags", "flags_ext", "cacheinfo", "type", "ifindex", "fdb_ext", "state_mask", "flags_mask", "probes" },
  same = function(a, b)
    return a.dev_index == b.dev_index and a.lladdr == b.lladdr and a.vlan == b.vlan and a.dst == b.dst and a.self == b.self
      and a.vni == b.vni and a.src_vni == b.src_vni and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

-- Writing -------------------------------------------------------------------------------------------------------------------------

fdb.writers = { true, dev = true, self = "boolean", master = true, vlan = true, state = true, permanent = "boolean", static = "boolean",
  dynamic = "boolean", dst = true, port = true, vni = true, src_vni = true, via = true, nhid = true, extern_learn = "boolean", sticky = "boolean",
  router = "boolean", use = "boolean", proto = true }
local yes_no = { self = true, master = true, permanent = true, static = true, dynamic = true, extern_learn = true, sticky = true, router = true,
  use = true }
local written = { permanent = NOARP + PERMANENT, static = NOARP + REACHABLE, dynamic = REACHABLE }

local function detail_of(t)
  local text = tostring(t[1])
  for _, word in ipairs { "dev", "vlan", "dst" } do
    if type(t[word]) == "string" or type(t[word]) == "number" then
      text = ("%s %s %s"):format(text, word, t[word])
    end
  end
  return text
end
fdb.detail = detail_of

local function lladdr_of(call, value)
  if type(value) ~= "string" or not value:find "^%x%x?:[%x:]+$" then
    errors.misuse("%s: the address at [1] must be text like \"02:00:00:00:00:02\", got %s", call, tostring(value))
  end
  return value
end

-- The parts that say which entry it is.
local function which(handle, call, t)
  local lladdr = lladdr_of(call, t[1])
  if t.dev == nil then
    errors.misuse("%s: dev is needed", call)
  end
  local flags = (t.self and SELF or 0) + (t.master and MASTER or 0)
  return { family = AF_BRIDGE, lladdr = lladdr, dev_index = device.index(handle, t.dev, call, "dev"), vlan = t.vlan,
    flags = flags > 0 and flags or SELF, -- as bridge(8)
    dst = t.dst, port = t.port, vni = t.vni, src_vni = t.src_vni, nhid = t.nhid,
    ifindex = t.via ~= nil and device.index(handle, t.via, call, "via") or nil }
end

local function state_word(call, t)
  local state = t.state
  for word in pairs(written) do
    if t[word] then
      if state and state ~= word then
        errors.misuse("%s: an entry is either %s or %s", call, state, word)
      end
      state = word
    end
  end
  return state
end

local function compose(handle, call, t)
  verbs.options(call, t, fdb.writers)
  for word, value in pairs(t) do
    if value == false and not yes_no[word] then
      errors.misuse("%s: %s cannot be false", call, tostring(word))
    end
  end
  local message = which(handle, call, t)
  local state = state_word(call, t) or "permanent"
  message.state = written[state] or errors.misuse("%s: state must be \"permanent\", \"static\" or \"dynamic\", got %s", call, tostring(state))
  for word, bit in pairs(flag_bits) do
    if t[word] then
      message.flags = message.flags + bit
    end
  end
  if t.proto ~= nil then
    message.proto_number = names.number("proto", t.proto, call)
  end
  return message
end

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = {}
fdb.matchers = matchers
for _, word in ipairs { "dev_index", "master_index", "vlan", "state", "port", "vni", "src_vni", "nhid", "use",
  "extern_learn", "offload", "sticky", "router", "locked", "proto_number", "link_netnsid", "used", "updated", "confirmed" } do
  matchers[word] = true
end
for _, word in ipairs { "use", "extern_learn", "offload", "sticky", "router", "locked" } do
  matchers[word] = "boolean"
end
function matchers.state(_, value, call)
  local known = { permanent = true, static = true, stale = true, dynamic = true }
  if not known[value] then
    errors.misuse("%s: %s", call, check.unknown("state", value, known))
  end
  return "state", value
end
-- The table of the link itself; a bridge's is its own.
local function own_table(row)
  return row.self or row.master_index ~= nil and row.master_index == row.dev_index
end
matchers.self = function()
  return own_table
end
for word in pairs(written) do
  matchers[word] = function()
    return "state", word
  end
end
matchers.dev, matchers.proto = verbs.matchers.dev, verbs.matchers.proto
matchers.via = function(self, value, call)
  return "ifindex", device.index(self.handle, value, call, "via")
end
matchers.lladdr = function(_, value, call)
  return "lladdr", lladdr_of(call, value):lower()
end
matchers[1] = matchers.lladdr
matchers.dst = function(_, value, call)
  prefix.address(call, "dst", value)
  return "dst", prefix.canonical(value)
end
-- true: in the table of some bridge
matchers.master = function(self, value, call)
  if value == true then
    return function(row)
      return row.master_index ~= nil
    end
  end
  return "master_index", device.index(self.handle, value, call, "master")
end
-- as bridge(8): what belongs to that bridge, its own addresses too
matchers.br = function(self, value, call)
  local index = device.index(self.handle, value, call, "br")
  local port = verbs.ports(self, index, call)
  return function(row)
    return row.master_index == index or row.dev_index == index or port(row)
  end
end

function fdb.payloads(self, filter, call)
  local message = { family = AF_BRIDGE }
  if filter.dev then
    message.dev_index = device.index(self.handle, filter.dev, call, "dev")
  end
  local bridge = filter.br or filter.master ~= true and filter.master
  if bridge then
    message.master_index = device.index(self.handle, bridge, call, "br")
  end
  return { (fdb.schema or verbs.schema(fdb)):encode(message) }
end

-- Finding one ---------------------------------------------------------------------------------------------------------------------

local key_parts = { "vlan", "dst", "port", "vni", "src_vni", "nhid" }

local function of_row(row)
  local own = own_table(row)
  local words = { row.lladdr, dev = row.dev_index or row.dev, self = own or nil, master = not own or nil, via = row.ifindex }
  for _, word in ipairs(key_parts) do
    words[word] = row[word]
  end
  return words
end

local function key_words(call, key)
  local kind = type(key)
  if kind == "string" then
    return { key }
  elseif kind == "userdata" or kind == "table" and key.lladdr ~= nil then
    return of_row(key)
  elseif kind == "table" then
    verbs.options(call .. ": key", key, fdb.writers)
    return key
  end
  errors.misuse("%s: an entry is named by { \"02:00:00:00:00:02\", dev = \"eth0\", vlan = } or its row, got %s", call, kind)
end
fdb.key_words = key_words

function fdb.find(self, call, key)
  local words = {}
  for word, value in pairs(key_words(call, key)) do
    words[word] = value or nil
  end
  lladdr_of(call, words[1])
  local rows = verbs.list(self, words)
  -- an address without a VLAN stands in the table once more for each VLAN of its port
  for _, row in ipairs(rows) do
    if type(key) == "userdata" and row == key or type(key) ~= "userdata" and (words.vlan or not row.vlan) then
      return row
    end
  end
  return type(key) ~= "userdata" and rows[1] or nil
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local function write(self, call, flags, t, asked)
  local message = compose(self.handle, call, t)
  if not verbs.write(self, call, flags, message, t, asked) then
    -- no echo
    local words = { t[1], dev = message.dev_index, vlan = t.vlan, dst = t.dst, vni = t.vni, src_vni = t.src_vni }
    if has(message.flags, MASTER) then
      words.master = true
    else
      words.self = true
    end
    return fdb.find(self, call, words)
  end
end

local methods = fdb.methods

---Add an entry: bridge fdb add. rtnetlink(7), RTM_NEWNEIGH.
---
---`t`: the address at [1], dev (the port, or the VXLAN), master = true (the table of its bridge) or self = true (its own; the default, as in
---bridge(8)), state ("permanent" is the default; "static", "dynamic") or permanent, static, dynamic = true, vlan, extern_learn, sticky, router, use;
---VXLAN: dst, port, vni, src_vni, via (a link), nhid. Without a vlan it is for every VLAN of the port, where the bridge filters them.
---@param t table
---@return nslua.Fdb? row  nothing in a batch
function methods:add(t)
  return write(self, "fdb.add", netlink.CREATE + netlink.EXCL, t)
end

---One more destination of an address: bridge fdb append.
---@param t table
---@return nslua.Fdb?
function methods:append(t)
  return write(self, "fdb.append", netlink.CREATE + APPEND, t)
end

---The same as `add`, in place of the entry of that address.
---@param t table
---@return nslua.Fdb?
function methods:replace(t)
  return write(self, "fdb.replace", netlink.CREATE + netlink.REPLACE, t)
end

function fdb.restored(message)
  local flags = message.flags or {}
  flags[(flags.self or message.master_index == message.dev_index) and "self" or "master"] = true
  flags.offload = nil
  message.flags, message.cacheinfo = flags, nil
  if message.state == "stale" then
    message.state = "reachable"
  end
end

fdb.unchecked = { use = true, master = true, self = true }

function fdb.identity(_, t, call)
  if t[1] == nil or t.dev == nil then
    errors.misuse("%s: the address at [1] and dev are needed", call)
  end
  local key, rest = { t[1], dev = t.dev, vlan = t.vlan, vni = t.vni, src_vni = t.src_vni }, {}
  if t.master then
    key.master = true
  else
    key.self = true
  end
  for word, value in pairs(t) do
    if word ~= 1 and key[word] == nil then
      rest[word] = value
    end
  end
  return key, rest
end

---Change an entry: where its address is, or how long.
---@param key table  { "02:00:00:00:00:02", dev = "eth0", vlan = } or a row
---@param t table    dst, state, dev, ...
function methods:change(key, t)
  local call = "fdb.change"
  verbs.options(call, t, fdb.writers)
  local row = verbs.existing(self, call, key)
  local words = of_row(row)
  words.extern_learn, words.sticky, words.router, words.proto = row.extern_learn, row.sticky, row.router, row.proto_number
  words.state = row.state ~= "stale" and row.state or "dynamic"
  if state_word(call, t) then
    words.state = nil
  end
  for word, value in pairs(t) do
    words[word] = value or nil
  end
  write(self, call, netlink.REPLACE, words, { call = call, key, t })
end

---Delete an entry.
---@param key table|string  { "02:00:00:00:00:02", dev = "eth0", master = true }, a row, or the address alone
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "fdb.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  if words.dev == nil then
    local row = verbs.existing(self, call, words, absent)
    if not row then
      return
    end
    words = of_row(row)
  end
  local message = which(self.handle, call, words)
  message.state = written.permanent -- a link's own table wants it
  netlink.remove(self, call, (fdb.schema or verbs.schema(fdb)):encode(message), detail_of(words), absent, key)
end

-- One of several destinations of an address comes beside the others.
fdb.inverses = { delete = function(self, call, key)
  local old = fdb.find(self, call, key)
  return old and function()
    putback.restore(fdb, self.handle, schema.bytes(old), netlink.CREATE + (old.dst and APPEND or netlink.EXCL))
  end
end }

return verbs.object(fdb)
