-- Queueing disciplines: what waits on a link, and how it leaves. rtnetlink(7), tc(8), linux/pkt_sched.h.

local core = require "nslua.core"
local errors = require "nslua.error"
local handle = require "nslua.rtnl.handle"
local kinds = require "nslua.rtnl.qdisc_kind"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local stab = require "nslua.rtnl.stab"
local tcm = require "nslua.rtnl.tcm"
local traffic = require "nslua.rtnl.traffic"
local verbs = require "nslua.rtnl.verbs"

for _, file in ipairs { "fifo", "ingress", "prio", "tbf", "htb", "codel", "fq", "sfq", "red", "netem" } do
  for _, kind in ipairs(require("nslua.rtnl.qdisc_kind." .. file)) do
    kinds.define(kind)
  end
end

tcm.message("qdisc", "QDISC", 36)

local NEW, DEL, GET = 36, 37, 38
local ENOENT, EINVAL = core.errno.ENOENT, core.errno.EINVAL
local INGRESS = { ingress = true, clsact = true }
local FIRST = 0xffff0000 -- the handle these two have

---@class nslua.Qdisc  a row
---@field kind string        "htb", "fq_codel", "netem", ...
---@field dev string         `dev_index`
---@field handle string?     "1:"; nil: one that the kernel chose for itself
---@field parent string?     "root", "ingress", "clsact", "1:10"; `parent_number`
---@field root boolean?      it is the first one of its link
---@field stats table        bytes packets drops overlimits requeues backlog qlen; bps and pps where the kernel estimates
---@field xstats table?      what its kind counts besides
---@field ingress_block integer?  the shared block of filters; `egress_block`
---@field stab table?       what packets count as: mtu, tsize, mpu, overhead, linklayer
---@field hw_offload boolean?

local qdisc = { name = "qdisc", noun = "kind", new = NEW, del = DEL, get = GET, echoes_get = true, methods = {},
  none = { [ENOENT] = "no such qdisc" }, missing = ENOENT }

qdisc.writers = { true, kind = true, dev = true, parent = true, handle = true, ingress_block = true, egress_block = true,
  stab = true }
qdisc.matchers = tcm.matchers "qdisc"
for _, word in ipairs { "root", "ingress_block", "egress_block", "hw_offload" } do
  qdisc.matchers[word] = true
end
qdisc.matchers.stab = function(_, value, call)
  if type(value) == "table" then
    stab.write(call, value) -- raises where a word is misspelt
  elseif type(value) ~= "boolean" then
    errors.misuse("%s: stab must be a table of its words, true or false, got %s", call, type(value))
  end
  return function(row)
    if value == true then
      return row.stab ~= nil
    end
    return stab.same(call, value, row.stab)
  end
end

local computed = tcm.computed("qdisc", kinds.kinds)
computed.handle = function(row)
  return handle.text(row.handle_number)
end
computed.root = function(row)
  return row.parent_number == handle.ROOT or nil
end
computed.stab = function(row)
  return stab.read(schema.raw(row, "stab"))
end
tcm.kinds(qdisc, kinds.kinds, computed)

qdisc.class = schema.class {
  name = "qdisc",
  computed = computed,
  hidden = tcm.hidden,
  same = function(a, b)
    return a.dev_index == b.dev_index and a.parent_number == b.parent_number and a.handle_number == b.handle_number
      and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

-- The kernel tells of a size table what it was made of, and wants the table; likewise of some kinds.
function qdisc.restored(message)
  local sizes = stab.read(message.stab)
  message.stab = sizes and stab.write("qdisc.restore", sizes) or nil
  local kind = kinds.kinds[message.kind]
  if kind and kind.restored and type(message.options) == "table" then
    kind.restored(message.options)
  end
end

qdisc.detail = tcm.describer { 1, "kind", "dev", "parent", "handle" }

-- Where a qdisc is: that of its kind, else the root.
local function place(t, call, kind)
  return tcm.handle(t, "parent", call, "qdisc") or (INGRESS[kind] and handle.INGRESS or handle.ROOT)
end

-- Finding one ---------------------------------------------------------------------------------------------------------------------

local function key_words(call, key)
  local kind = type(key)
  if kind == "string" then
    return { dev = key }
  elseif kind == "userdata" then
    return { dev = key.dev_index, parent = key.parent_number, handle = key.handle_number > 0 and key.handle_number or nil }
  elseif kind == "table" then
    verbs.options(call .. ": key", key, { dev = true, parent = true, handle = true })
    return key
  end
  errors.misuse("%s: a qdisc is named by { dev =, parent = } or { dev =, handle = }, or its row, got %s", call, kind)
end
qdisc.key_words = key_words

local nothing = { [ENOENT] = true, [EINVAL] = true } -- EINVAL: there is one, which the kernel made for itself and does not tell of

function qdisc.find(self, call, key)
  local words = key_words(call, key)
  local message = { dev_index = tcm.dev(self, words, call), handle_number = tcm.handle(words, "handle", call) }
  message.parent_number = tcm.handle(words, "parent", call, "qdisc") or not message.handle_number and handle.ROOT or nil
  if not message.parent_number then
    -- the kernel would answer with the parent it was asked with: none
    return verbs.list(self, { dev = message.dev_index, handle = message.handle_number })[1]
  end
  local S = qdisc.schema or verbs.schema(qdisc)
  return netlink.ask(self, call, S:encode(message), nothing, qdisc.detail(words))
end

function qdisc.payloads(self, filter, call)
  -- the kernel tells of every link, whatever is asked
  local message = { dev_index = filter.dev and tcm.dev(self, filter, call) or nil }
  return { (qdisc.schema or verbs.schema(qdisc)):encode(message) }
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local unknown_kind = { ["Specified qdisc kind is unknown"] = true, ["Specified qdisc not found"] = true, ["Unknown qdisc"] = true }

-- Words of `stab` are a table, or false where a change takes them away.
local function check_stab(call, t, changing)
  local words = t.stab
  if words ~= nil and type(words) ~= "table" and not (changing and words == false) then
    errors.misuse("%s: stab must be a table of its words, got %s", call, tostring(words))
  end
end

-- `bare`: without the options.
local function message_of(self, call, t, bare)
  verbs.options(call, t, qdisc.writers, kinds.kinds)
  check_stab(call, t)
  local kind, options = tcm.kind(call, t, kinds.kinds)
  if not kind then
    errors.misuse("%s: the kind at [1] is needed: \"htb\", \"fq_codel\", ...", call)
  end
  return { kind = kind, dev_index = tcm.dev(self, t, call), parent_number = place(t, call, kind),
    handle_number = tcm.handle(t, "handle", call) or INGRESS[kind] and FIRST or nil,
    options = not bare and tcm.options(call, kinds.kinds[kind], options) or nil, ingress_block = t.ingress_block, egress_block = t.egress_block,
    stab = t.stab and stab.write(call, t.stab) or nil }
end

local function send(self, call, flags, message, t, asked)
  local queued, replies = tcm.write(self, call, flags, message, { words = t, asked = asked,
    hint = tcm.hint("qdisc", "sch_%s", message.kind, kinds.kinds, unknown_kind) })
  if not queued then
    return verbs.echoed(self, replies) or qdisc.find(self, call, { dev = message.dev_index, parent = message.parent_number })
  end
end

local methods = qdisc.methods

---Add a queueing discipline. rtnetlink(7), RTM_NEWQDISC.
---
---`t`: the kind at [1] (or `kind`), dev, parent ("root" is the default; "1:10"; ingress and clsact have their own), handle ("1:"; the kernel
---chooses one), ingress_block and egress_block (of ingress and clsact: a number; links with the same one share its filters, see filter.add),
---`stab = { overhead =, linklayer = "ethernet" | "atm" | "adsl", mpu =, mtu =, tsize = }` (what packets count as, tc-stab(8)), and a table named
---after the kind:
---`netem = { delay = "10ms", jitter = "1ms", correlation = "25%", distribution = "normal", loss = "1%", duplicate =, reorder =, gap =, corrupt =,
---rate = "10mbit", packet_overhead =, cell_size =, cell_overhead =, limit = 1000, ecn =, slot = { min =, max =, packets =, bytes = }, seed = }`
---(`loss_correlation` and so on; `loss = { gemodel = { p =, r =, h =, k = } }` and `{ state = { p13 =, ... } }` are losses in bursts),
---`tbf = { rate =, burst =, latency = | limit =, peakrate =, mtu =, mpu =, overhead =, linklayer = }`,
---`htb = { default = "1:10", r2q =, direct_qlen = }`,
---`fq_codel = { limit =, target =, interval =, ecn =, flows =, quantum =, ce_threshold =, memory_limit =, drop_batch = }`,
---`codel`, `fq`, `sfq`, `red`, `prio = { bands =, priomap = }`, `pfifo = { limit = packets }`, `bfifo = { limit = "64kb" }`. Words and units
---are those of tc(8).
---@param t table
---@return nslua.Qdisc? row  nothing in a batch
function methods:add(t)
  local call = "qdisc.add"
  return send(self, call, netlink.CREATE + netlink.EXCL + netlink.ECHO, message_of(self, call, t), t)
end

---The same, in place of what is there.
---@param t table
---@return nslua.Qdisc?
function methods:replace(t)
  local call = "qdisc.replace"
  return send(self, call, netlink.CREATE + netlink.REPLACE + netlink.ECHO, message_of(self, call, t), t)
end

local function update(self, call, row, t, options, asked)
  local kind = kinds.kinds[row.kind]
  local message = { kind = row.kind, dev_index = row.dev_index, parent_number = row.parent_number,
    handle_number = row.handle_number > 0 and row.handle_number or nil, ingress_block = t.ingress_block, egress_block = t.egress_block }
  local sizes = stab.merge(row.stab, t.stab) -- a change without a table takes it away
  message.stab = sizes and stab.write(call, sizes) or nil
  if kind then
    message.options = kinds.write(call, kind, kinds.merge(kind, row[row.kind] or {}, options or {}, true))
  end
  tcm.write(self, call, 0, message, { words = row, asked = asked, none = qdisc.none })
end

---Change the options of a queueing discipline; what is not said stays as it is, `false` is as if never said.
---@param key table|string  { dev =, parent = } or { dev =, handle = }, its row, or a link: the root of it
---@param t table
function methods:change(key, t)
  local call = "qdisc.change"
  verbs.options(call, t, qdisc.writers, kinds.kinds)
  check_stab(call, t, true)
  local row = type(key) == "userdata" and qdisc.find(self, call, key) or verbs.existing(self, call, key)
  local kind, options = tcm.kind(call, t, kinds.kinds)
  if kind and kind ~= row.kind then
    errors.raise { call = call, netns = self.handle:describe(), errno = core.errno.EEXIST,
      message = ("it is of kind %s, which cannot be changed: replace it"):format(row.kind), detail = qdisc.detail(key_words(call, key)) }
  end
  update(self, call, row, t, options, { call = call, key, t })
end

---Make it so if it is not. One of another kind, or with another handle, is an error (EEXIST); what the kernel chose for itself is none.
---@param t table  as for `add`
---@return nslua.Qdisc? row
function methods:ensure(t)
  local call = "qdisc.ensure"
  local message = message_of(self, call, t, true)
  local key = { dev = message.dev_index, parent = message.parent_number }
  local row = qdisc.find(self, call, key)
  if not row or row.handle_number == 0 then
    return self:add(t)
  elseif row.kind ~= message.kind or message.handle_number and message.handle_number ~= row.handle_number then
    errors.raise { call = call, netns = self.handle:describe(), errno = core.errno.EEXIST, detail = qdisc.detail(t),
      message = ("there is %s %s"):format(row.kind, row.handle) }
  end
  for _, word in ipairs { "ingress_block", "egress_block" } do
    if t[word] ~= nil and t[word] ~= row[word] then
      errors.raise { call = call, netns = self.handle:describe(), errno = core.errno.EEXIST, detail = qdisc.detail(t),
        message = ("its %s is %s, which cannot be changed"):format(word, tostring(row[word])) }
    end
  end
  local _, options = tcm.kind(call, t, kinds.kinds)
  local kind = kinds.kinds[row.kind]
  if (not kind or not options or tcm.same(qdisc, kind, options, row, call)) and stab.same(call, t.stab, row.stab) then
    return row
  end
  update(self, call, row, t, options)
  if not netlink.batching(self.handle) then
    return qdisc.find(self, call, key)
  end
end

---Delete a queueing discipline and what is below it; the kernel puts its own in the place.
---@param key table|string
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "qdisc.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  local message = { dev_index = tcm.dev(self, words, call), handle_number = tcm.handle(words, "handle", call),
    parent_number = tcm.handle(words, "parent", call, "qdisc") }
  if not message.parent_number then
    if message.handle_number then
      -- the kernel wants to be told where it is
      local row = verbs.existing(self, call, words, absent)
      if not row then
        return
      end
      message.parent_number = row.parent_number
    else
      message.parent_number = handle.ROOT
    end
  end
  netlink.remove(self, call, (qdisc.schema or verbs.schema(qdisc)):encode(message), qdisc.detail(words), absent, key)
end

qdisc.inverses = traffic.inverses

return verbs.object(qdisc)
