-- Declarations flattened: what C wants of a message is lists of numbers (c/schema.c).

local check = require "nslua.check"
local language = require "nslua.schema.language"

local M = {}

local fail = language.fail
local BITS = 16

local widths = {
  u8 = 1, u16 = 2, u32 = 4, u64 = 8, s8 = 1, s16 = 2, s32 = 4, s64 = 8, be16 = 2, be32 = 4, be64 = 8,
  bool = 1, ip4 = 4, ip6 = 16,
}
local Plan = {}
Plan.__index = Plan

local function find(registry, what, name, where)
  local found = registry[name]
  if not found then
    fail(where, "%s", check.unknown(what, name, registry))
  end
  return found
end

function Plan:key(key)
  if not key then
    return 0
  end
  local i = self.key_numbers[key]
  if not i then
    i = #self.keys + 1
    self.keys[i] = key
    self.key_numbers[key] = i
  end
  return i
end

-- Room for n fields that must stand together; they are filled in afterwards.
function Plan:reserve(n)
  local first = #self.fields + 1
  for i = first, first + n - 1 do
    self.fields[i] = false
  end
  return first
end

function Plan:enum(name, where)
  local e = find(self.declared.enums, "enum", name, where)
  if not self.enum_numbers[name] then
    self.enums[#self.enums + 1] = { names = e.names, values = e.values }
    self.enum_numbers[name] = #self.enums
  end
  return self.enum_numbers[name], e
end

-- Bytes a type always takes, or nil.
function Plan:size(t, where)
  if widths[t.name] then
    return widths[t.name]
  elseif t.name == "bytes" or t.name == "chars" or t.name == "pad" or t.name == "hex" or t.name == "base64" then
    return tonumber(t.args[1])
  elseif t.name == "struct" then
    return self:struct_size(t.args[1], where)
  elseif t.name == "array" and t.args[2] then
    local one = self:size(t.element, where)
    return one and one * tonumber(t.args[2])
  end
end

function Plan:struct_size(name, where)
  local s = find(self.declared.structs, "struct", name, where)
  if not s.size then
    if s.measuring then
      fail(where, "struct %s contains itself", name)
    end
    s.measuring = true
    local size = 0
    for _, m in ipairs(s.members) do
      m.size = self:size(m.type, m.where)
      if not m.size then
        fail(m.where, "%s has no fixed size", m.type.text)
      end
      m.off = size
      size = size + m.size
    end
    s.size, s.measuring = size, nil
  end
  return s.size
end

-- `records`: its first member is the record's length, which C reads and writes.
function Plan:struct(name, where, records)
  local s = find(self.declared.structs, "struct", name, where)
  local id = (records and "records " or "") .. name
  if self.struct_numbers[id] then
    return self.struct_numbers[id]
  end
  local entry = { size = self:struct_size(name, where), n = #s.members }
  self.structs[#self.structs + 1] = entry
  self.struct_numbers[id] = #self.structs
  local number = #self.structs
  entry.first = self:reserve(entry.n)
  for i, m in ipairs(s.members) do
    local hidden = records and i == 1
    if hidden and (m.key ~= "len" or m.type.name ~= "u16") then
      fail(where, "records: struct %s must begin with 'len u16'", name)
    end
    self:field(entry.first + i - 1, m.type, { key = not hidden and m.key or nil, off = m.off }, m.where)
  end
  return number
end

function Plan:set(name, where)
  local s = find(self.declared.sets, "set", name, where)
  if self.set_numbers[name] then
    return self.set_numbers[name]
  end
  local entry = { n = #s.fields }
  self.sets[#self.sets + 1] = entry
  self.set_numbers[name] = #self.sets
  local number = #self.sets
  entry.first = self:reserve(entry.n)
  for i, f in ipairs(s.fields) do
    self:field(entry.first + i - 1, f.type, f, f.where)
  end
  return number
end

function Plan:union(selector, name)
  local id = selector .. " " .. name
  if self.union_numbers[id] then
    return self.union_numbers[id]
  end
  local entry = { selector = self:key(selector), fallback = 0, branches = {} }
  self.unions[#self.unions + 1] = entry
  self.union_numbers[id] = #self.unions
  local number = #self.unions
  for value, branch in pairs(self.declared.kinds[name] or {}) do
    local at = self:reserve(1)
    self:field(at, branch.type, {}, branch.where)
    if value == "*" then
      entry.fallback = at
    else
      entry.branches[value] = at
    end
  end
  return number
end

-- Header members and attributes are one table, so a key may not be both.
function Plan:no_clash(struct, set, where)
  local members = {}
  for _, m in ipairs(find(self.declared.structs, "struct", struct, where).members) do
    if m.key then
      members[m.key] = true
    end
  end
  for _, f in ipairs(find(self.declared.sets, "set", set, where).fields) do
    if members[f.key] then
      fail(f.where, "'%s' is a member of struct %s, which stands in front of it (%s)", f.key, struct, where)
    end
  end
end

function Plan:field(at, t, from, where)
  local f = {
    type = t.name, id = from.id or 0, off = from.off or 0, flags = from.flags or 0, size = 0,
    key = self:key(from.key), elem = 0, enum = 0, sub = 0, head = 0,
  }
  self.fields[at] = f
  if t.enum then
    local number, e = self:enum(t.enum, where)
    if e.bits ~= t.bits then
      fail(where, "%s is declared as %s", t.enum, e.bits and "flags" or "enum")
    end
    f.enum = number
    f.flags = f.flags + (t.bits and BITS or 0)
  end
  f.size = self:size(t, where) or 0
  if t.name == "strz" then
    f.size = tonumber(t.args[1] or 0)
  elseif t.name == "nest" then
    f.sub = self:set(t.args[1], where)
    if t.args[2] then
      f.head = self:struct(t.args[2], where)
      self:no_clash(t.args[2], t.args[1], where)
    end
  elseif t.name == "struct" then
    f.sub = self:struct(t.args[1], where)
  elseif t.name == "records" then
    f.head = self:struct(t.args[1], where, true)
    f.sub = self:set(t.args[2], where)
    self:no_clash(t.args[1], t.args[2], where)
  elseif t.name == "union" then
    f.sub = self:union(t.args[1], t.args[2] or t.args[1])
  elseif t.element then
    f.elem = self:reserve(1)
    self:field(f.elem, t.element, {}, where)
    if t.name == "array" then
      if not self:size(t.element, where) then
        fail(where, "array of %s, which has no fixed size", t.element.text)
      end
      f.type = t.args[2] and "fixed" or "array"
    elseif t.name == "list" then
      f.size = tonumber(t.args[2] or 0)
    elseif t.args[2] then
      f.enum = self:enum(t.args[2], where)
    end
  end
end

local function new(declared)
  return setmetatable({
    declared = declared, fields = {}, sets = {}, structs = {}, enums = {}, unions = {}, keys = {},
    key_numbers = {}, enum_numbers = {}, struct_numbers = {}, set_numbers = {}, union_numbers = {},
  }, Plan)
end

function Plan:message(name)
  local m = find(self.declared.messages, "message", name, "compile")
  local where = self.declared.title .. "message " .. name
  self.head = m.head and self:struct(m.head, where) or 0
  self.set_ = m.attrs and self:set(m.attrs, where) or 0
  if m.head and m.attrs then
    self:no_clash(m.head, m.attrs, where)
  end
end

---What core.schema.new takes.
---@param declared nslua.schema.Book
---@param name string  of a message
---@return table
function M.of(declared, name)
  local plan = new(declared)
  plan:message(name)
  plan.declared = nil
  setmetatable(plan, nil)
  plan.name, plan.set = name, plan.set_
  return plan
end

---Raise what flattening any of the messages would.
---@param declared nslua.schema.Book
function M.check(declared)
  local plan = new(declared)
  for name in pairs(declared.messages) do
    plan:message(name)
  end
end

---Lay a struct out: its members get `off` and `size`.
---@param declared table
---@param name string
---@param where string
---@return integer size  in bytes
function M.struct_size(declared, name, where)
  return setmetatable({ declared = declared }, Plan):struct_size(name, where)
end

return M
