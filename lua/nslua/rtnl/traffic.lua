-- How traffic control is taken back: qdiscs, classes and filters of a link go together, so what a verb takes away is looked for on all of the link.

local device = require "nslua.rtnl.device"
local handle = require "nslua.rtnl.handle"
local kinds = require "nslua.rtnl.qdisc_kind"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"

local M = {}

local ABSENT = { absent = "ok" }
local NAMES = { "qdisc", "class", "filter" }

local function collection(owner, name)
  return require("nslua.rtnl").collection(owner, name)
end

local function preference(row)
  return table.concat({ row.dev_index or "block", row.block or row.parent_number, row.pref, row.protocol_number, row.chain }, " ")
end

-- By what two states of an object are the same one.
local identity = {
  qdisc = function(row)
    return ("%d %d %s"):format(row.parent_number, row.handle_number, row.kind)
  end,
  class = function(row)
    return ("%d"):format(row.classid_number)
  end,
  filter = function(row)
    local options = row.kind == "u32" and row.options
    -- u32 has other numbers when it is made again
    local which = type(options) == "table" and options.sel and options.sel .. tostring(options.classid) or row.handle_number
    return table.concat({ preference(row), row.kind, which }, " ")
  end,
}

-- What there is on a link, without what the kernel makes for itself; by identity too.
local function look(owner, index)
  local out = {}
  for _, name in ipairs(NAMES) do
    local found = { by = {} }
    for _, row in ipairs(collection(owner, name):list { dev = index }) do
      local own = kinds.classes[row.kind] or not kinds.kinds[row.kind] -- prio's classes, say, come with it
      if name == "filter" or name == "class" and own or name == "qdisc" and row.handle_number > 0 then
        found[#found + 1] = row
        found.by[identity[name](row)] = row
      end
    end
    out[name] = found
  end
  return out
end

local function known_kind(name, kind)
  return name == "qdisc" and kinds.kinds[kind] or name == "class" and kinds.classes[kind] or nil
end

-- The table that a filter of u32 is in, as nobody else's of that number.
local function table_of(row)
  return row.kind == "u32" and preference(row) .. " " .. math.floor(row.handle_number / 0x100000) or nil
end

-- Make one again from its bytes. tables: those of u32 that are there.
local function restore(owner, name, row, flags, tables)
  local self = collection(owner, name)
  local object = self.object
  local S = object.schema or verbs.schema(object)
  local message = S:decode(schema.bytes(row))
  if object.restored then
    object.restored(message)
  end
  local options = message.options
  if tables and row.kind == "u32" and type(options) == "table" and options.sel and not tables[table_of(row)] then
    message.handle_number, options.ht = 0, nil -- that number may be another preference's by now
  end
  netlink.write { object.new, flags, S:encode(message), handle = owner, call = name .. ".restore", object = name, schema = S }
end

-- Whether what an object hangs on is there.
local function ready(name, row, now)
  local parent = row.parent_number
  if name == "class" and parent == handle.ROOT then
    parent = handle.major(row.classid_number)
  elseif parent == handle.ROOT or parent == handle.INGRESS then
    return true
  end
  local major = handle.major(parent)
  for _, qdisc in ipairs(now.qdisc) do
    if qdisc.handle_number == major and (parent == major or kinds.kinds[qdisc.kind] and not kinds.classes[qdisc.kind]) then
      return true
    end
  end
  return now.class.by[("%d"):format(parent)] ~= nil
end

-- Make again what is gone, what carries before what it carries.
local function rebuild(owner, index, before)
  local failed
  for _ = 1, #before.qdisc + #before.class + 1 do
    local now, made = look(owner, index), false
    for _, name in ipairs { "qdisc", "class" } do
      for _, row in ipairs(before[name]) do
        if not now[name].by[identity[name](row)] and ready(name, row, now) then
          local ok, e = pcall(restore, owner, name, row, netlink.CREATE + netlink.EXCL)
          made, failed = made or ok, not ok and (failed or e) or failed
        end
      end
    end
    if not made then
      break
    end
  end
  local there, tables = {}, {}
  for _, row in ipairs(look(owner, index).filter) do
    local id = identity.filter(row)
    there[id] = (there[id] or 0) + 1
    tables[table_of(row) or 0] = true
  end
  for _, row in ipairs(before.filter) do
    local id = identity.filter(row)
    there[id] = (there[id] or 0) - 1
    if there[id] < 0 then
      local ok, e = pcall(restore, owner, "filter", row, netlink.CREATE + netlink.EXCL, tables)
      failed = not ok and (failed or e) or failed
      if row.kind == "u32" and row.u32.divisor then
        tables[table_of(row)] = true -- somebody's own, which keeps its number
      end
    end
  end
  if failed then
    error(failed, 0)
  end
end

-- The link that a verb is about, or the first one of a block; nil where there is none, which the verb itself tells.
local function index_of(self, call, t)
  local block
  if type(t) == "userdata" or type(t) == "table" then
    block = t.block
    t = type(t) == "userdata" and t.dev_index or t.dev
  end
  if t ~= nil then
    return device.index(self.handle, t, call, "dev")
  end
  for row in collection(self.handle, "qdisc"):each() do
    if block ~= nil and (row.ingress_block == block or row.egress_block == block) then
      return row.dev_index
    end
  end
end

local function alike(a, b)
  return verbs.within(a, b) and verbs.within(b, a)
end

-- Whether a verb left it as it was, but for what counts.
local function untouched(name, old, row)
  local known = known_kind(name, row.kind)
  if not known or not alike(old.stab, row.stab) then
    return schema.bytes(old) == schema.bytes(row)
  end
  local was, is = old[row.kind] or {}, row[row.kind] or {}
  for word in pairs(known.words) do
    if not (known.only_read and known.only_read[word]) and not alike(was[word], is[word]) then
      return false
    end
  end
  return true
end

-- What was made goes; where its preference is new, that too, which u32 would leave empty.
local function remove(owner, name, row, fresh)
  local self = collection(owner, name)
  local words = fresh and self.object.key_words("filter.delete", row) or row
  if fresh then
    words.handle = nil
  end
  self:delete(words, ABSENT)
end

local function made(self, _, t)
  local name, rows = self.object.name, nil
  if name == "filter" and type(t) == "table" then
    local asked = pcall(function()
      rows = t.pref and self:list { dev = t.dev, block = t.block, parent = t.parent, pref = t.pref } or {}
    end)
    rows = asked and rows or nil -- the verb itself tells what is wrong with its words
  end
  local there = {}
  for _, row in ipairs(rows or {}) do
    there[preference(row)] = true
  end
  return function(row)
    if row then
      remove(self.handle, name, row, rows and not there[preference(row)])
    end
  end
end

-- What a verb took away or put something in the place of comes back; what it made goes.
local function as_it_was(self, call, key)
  local name, owner = self.object.name, self.handle
  local index = index_of(self, call, key)
  if not index then
    return nil
  end
  local before = look(owner, index)
  return function(row)
    if type(row) == "userdata" then
      local old = before[name].by[identity[name](row)]
      if not old then
        local fresh = name == "filter"
        for _, other in ipairs(fresh and before.filter or {}) do
          fresh = fresh and preference(other) ~= preference(row)
        end
        remove(owner, name, row, fresh)
      elseif not untouched(name, old, row) then
        restore(owner, name, old, netlink.CREATE + netlink.REPLACE)
      end
    end
    rebuild(owner, index, before)
  end
end

local function changed(self, call, key)
  local old = self.object.find(self, call, key)
  return old and function()
    restore(self.handle, self.object.name, old, netlink.CREATE + netlink.REPLACE)
  end
end

---For an object's `inverses`.
M.inverses = { add = made, delete = as_it_was, replace = as_it_was, ensure = as_it_was, change = changed }

return M
