-- Classes: the parts of a queueing discipline that has any. rtnetlink(7), tc(8), linux/pkt_sched.h.

local core = require "nslua.core"
local errors = require "nslua.error"
local handle = require "nslua.rtnl.handle"
local kinds = require "nslua.rtnl.qdisc_kind"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local tcm = require "nslua.rtnl.tcm"
local traffic = require "nslua.rtnl.traffic"
local verbs = require "nslua.rtnl.verbs"
local qdisc = require "nslua.rtnl.qdisc" -- which knows the kinds

tcm.message("class", "TCLASS", 40)

local NEW, DEL, GET = 40, 41, 42
local ENOENT = core.errno.ENOENT

---@class nslua.Class  a row
---@field kind string      of the qdisc it belongs to: "htb"
---@field dev string       `dev_index`
---@field classid string   "1:10"; `classid_number`
---@field parent string    "1:1", or "root" for one directly below its qdisc; `parent_number`
---@field leaf string?     handle of the qdisc in it
---@field htb table?       rate and ceil in bits per second, burst and cburst in bytes, prio, quantum, level
---@field stats table      bytes packets drops overlimits requeues backlog qlen
---@field xstats table?    htb: lends borrows giants, tokens and ctokens in seconds

local class = { name = "class", noun = "kind", new = NEW, del = DEL, get = GET, echoes_get = true, methods = {},
  none = { [ENOENT] = "no such class" }, missing = ENOENT }

class.writers = { true, kind = true, dev = true, parent = true, classid = true }
class.matchers = tcm.matchers "class"

local computed = tcm.computed("class", kinds.classes)
computed.classid = function(row)
  return handle.text(row.handle_number)
end
computed.classid_number = function(row)
  return row.handle_number
end
computed.leaf = function(row)
  return handle.text(row.info)
end
tcm.kinds(class, kinds.classes, computed)

-- A class directly below its qdisc: "root" to the kernel, and that qdisc's handle to people.
local match_parent = class.matchers.parent
class.matchers.parent = function(self, value, call)
  local field, number = match_parent(self, value, call)
  if number % 65536 ~= 0 then
    return field, number
  end
  return function(row)
    return row.parent_number == number or row.parent_number == handle.ROOT and handle.major(row.handle_number) == number
  end
end

local hidden = { "handle_number" }
for _, key in ipairs(tcm.hidden) do
  hidden[#hidden + 1] = key
end

class.class = schema.class {
  name = "class",
  computed = computed,
  hidden = hidden,
  same = function(a, b)
    return a.dev_index == b.dev_index and a.handle_number == b.handle_number and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

class.detail = tcm.describer { 1, "kind", "dev", "classid", "parent" }

-- Finding one ---------------------------------------------------------------------------------------------------------------------

local function key_words(call, key)
  local kind = type(key)
  if kind == "userdata" then
    return { dev = key.dev_index, classid = key.handle_number }
  elseif kind == "table" then
    verbs.options(call .. ": key", key, { dev = true, classid = true })
    if key.classid == nil then
      errors.misuse("%s: classid is needed", call)
    end
    return key
  end
  errors.misuse("%s: a class is named by { dev =, classid = }, or its row, got %s", call, kind)
end
class.key_words = key_words

local function which(self, call, words)
  return { dev_index = tcm.dev(self, words, call), handle_number = tcm.handle(words, "classid", call) }
end

function class.find(self, call, key)
  local words = key_words(call, key)
  local S = class.schema or verbs.schema(class)
  return netlink.ask(self, call, S:encode(which(self, call, words)), ENOENT, class.detail(words))
end

-- The kernel tells of one link's classes at a time.
function class.payloads(self, filter, call)
  local S = class.schema or verbs.schema(class)
  local payloads = {}
  if filter.dev then
    return { S:encode { dev_index = tcm.dev(self, filter, call) } }
  end
  local seen = {}
  for row in require("nslua.rtnl").collection(self.handle, "qdisc"):each() do
    if kinds.classes[row.kind] or not kinds.kinds[row.kind] then
      local index = row.dev_index
      if not seen[index] then
        seen[index] = true
        payloads[#payloads + 1] = S:encode { dev_index = index }
      end
    end
  end
  return payloads
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

-- Without a kind: that of the qdisc whose number it has.
local function kind_of(self, call, t, index, classid)
  local kind, options = tcm.kind(call, t, kinds.classes)
  if not kind then
    local row = qdisc.find(require("nslua.rtnl").collection(self.handle, "qdisc"), call, { dev = index, handle = handle.major(classid) })
    kind = row and row.kind or errors.misuse("%s: the kind at [1] is needed: \"htb\", ...", call)
  end
  return kind, options
end

local function message_of(self, call, t, bare)
  verbs.options(call, t, class.writers, kinds.classes)
  local index = tcm.dev(self, t, call)
  local classid = tcm.handle(t, "classid", call)
  if not classid then
    errors.misuse("%s: classid is needed: \"1:10\"", call)
  end
  local kind, options = kind_of(self, call, t, index, classid)
  return { kind = kind, dev_index = index, handle_number = classid,
    parent_number = tcm.handle(t, "parent", call, "class") or handle.major(classid),
    options = not bare and tcm.options(call, kinds.classes[kind], options) or nil }, options
end

local function send(self, call, flags, message, t)
  local queued, replies = tcm.write(self, call, flags, message, { words = t })
  if not queued then
    return verbs.echoed(self, replies) or class.find(self, call, { dev = message.dev_index, classid = message.handle_number })
  end
end

local methods = class.methods

---Add a class. rtnetlink(7), RTM_NEWTCLASS.
---
---`t`: dev, classid ("1:10"), parent ("1:1"; default: the qdisc itself), the kind at [1] (default: that of the qdisc), and a table named
---after it: `htb = { rate = "10mbit", ceil = "100mbit", burst = "15kb", cburst =, prio = 0..7, quantum =, mtu =, mpu =, overhead =, linklayer = }`.
---@param t table
---@return nslua.Class? row  nothing in a batch
function methods:add(t)
  local call = "class.add"
  return send(self, call, netlink.CREATE + netlink.EXCL + netlink.ECHO, message_of(self, call, t), t)
end

---The same, or other options of the one that is there.
---@param t table
---@return nslua.Class?
function methods:replace(t)
  local call = "class.replace"
  return send(self, call, netlink.CREATE + netlink.ECHO, message_of(self, call, t), t)
end

local function update(self, call, row, options, asked)
  local kind = kinds.classes[row.kind]
  local message = { kind = row.kind, dev_index = row.dev_index, handle_number = row.handle_number, parent_number = row.parent_number,
    options = kind and kinds.write(call, kind, kinds.merge(kind, row[row.kind] or {}, options or {}, true)) or nil }
  tcm.write(self, call, 0, message, { words = row, asked = asked, none = class.none })
end

---Change the options of a class; what is not said stays as it is, `false` is as if never said.
---@param key table  { dev =, classid = } or a row
---@param t table
function methods:change(key, t)
  local call = "class.change"
  verbs.options(call, t, class.writers, kinds.classes)
  local row = type(key) == "userdata" and class.find(self, call, key) or verbs.existing(self, call, key)
  local kind, options = tcm.kind(call, t, kinds.classes)
  if kind and kind ~= row.kind then
    errors.misuse("%s: %s is a class of %s", call, row.classid, row.kind)
  end
  update(self, call, row, options, { call = call, key, t })
end

---Make it so if it is not: add it, or change what differs.
---@param t table  as for `add`
---@return nslua.Class? row
function methods:ensure(t)
  local call = "class.ensure"
  local message, options = message_of(self, call, t, true)
  local key = { dev = message.dev_index, classid = message.handle_number }
  local row = class.find(self, call, key)
  if not row then
    return self:add(t)
  end
  local kind = kinds.classes[row.kind]
  if not kind or not options or tcm.same(class, kind, options, row, call) then
    return row
  end
  update(self, call, row, options)
  if not netlink.batching(self.handle) then
    return class.find(self, call, key)
  end
end

---Delete a class and the qdisc in it.
---@param key table
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "class.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  netlink.remove(self, call, (class.schema or verbs.schema(class)):encode(which(self, call, words)), class.detail(words), absent, key)
end

class.inverses = traffic.inverses

return verbs.object(class)
