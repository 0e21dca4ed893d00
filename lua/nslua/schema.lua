-- The language netlink messages are declared in: one line an attribute, parsed here once, compiled to C arrays by nslua.core.
--
-- Sources of every number: the UAPI headers <linux/*.h>, named in each declaration; `M.constants()` lists them for a spec
-- that compiles them against the headers.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"

local M = {}

---@class nslua.schema.Message
---@field name string
---@field head? string      struct in front of the attributes
---@field attrs? string     set of attributes
---@field new? integer      message types (rtnetlink(7)): RTM_NEWX, RTM_DELX, RTM_GETX, RTM_SETX
---@field del? integer
---@field get? integer
---@field set? integer

local structs, enums, sets, kinds = {}, {}, {}, {}

---The declared messages by name.
---@type table<string, nslua.schema.Message>
M.messages = {}

-- Compiled schemas by message; emptied when a declaration is added, as that may add a branch to any of them.
local compiled = {}

local widths = {
  u8 = 1, u16 = 2, u32 = 4, u64 = 8, s8 = 1, s16 = 2, s32 = 4, s64 = 8, be16 = 2, be32 = 4, be64 = 8,
  bool = 1, ip4 = 4, ip6 = 16,
}
local integers = {
  u8 = true, u16 = true, u32 = true, u64 = true, s8 = true, s16 = true, s32 = true, s64 = true,
  be16 = true, be32 = true, be64 = true,
}
local field_flags = { multi = 1, nonested = 2, writeonly = 4, netorder = 8 }
local BITS = 16

local function fail(where, fmt, ...)
  errors.misuse("schema %s: " .. fmt, where, ...)
end

local function split(text, separator)
  local out, depth, start = {}, 0, 1
  for i = 1, #text do
    local c = text:sub(i, i)
    if c == "(" then
      depth = depth + 1
    elseif c == ")" then
      depth = depth - 1
    elseif c == separator and depth == 0 then
      out[#out + 1] = text:sub(start, i - 1)
      start = i + 1
    end
  end
  out[#out + 1] = text:sub(start)
  return out
end

-- "nest(link,ifinfomsg)" or "u32:enum(x)" -> { name =, args = {...}, enum =, bits = }
local function parse_type(text, where)
  local base, suffix = text, nil
  local parts = split(text, ":")
  if #parts > 2 then
    fail(where, "a type with more than one suffix: '%s'", text)
  elseif #parts == 2 then
    base, suffix = parts[1], parts[2]
  end
  local name, args = base:match "^([%w_]+)%((.*)%)$"
  local t = { name = name or base, args = {}, text = text }
  if name then
    for i, arg in ipairs(split(args, ",")) do
      t.args[i] = arg
    end
  end
  if suffix then
    local what, of = suffix:match "^(%a+)%(([%w_]+)%)$"
    if what ~= "enum" and what ~= "flags" then
      fail(where, "unknown suffix ':%s': enum(NAME) or flags(NAME)", suffix)
    end
    t.enum, t.bits = of, what == "flags"
    if not integers[t.name] then
      fail(where, "%s is no integer, so it has no %s", t.name, what)
    end
  end
  return t
end

local arity = {
  strz = { 0, 1 }, nest = { 1, 2 }, list = { 1, 2 }, indexed = { 1, 2 }, struct = { 1, 1 }, array = { 1, 2 },
  union = { 1, 2 }, records = { 2, 2 }, pad = { 1, 1 }, bytes = { 1, 1 }, chars = { 1, 1 },
}
local type_names = core.schema.types()
type_names.fixed = nil -- array(TYPE, N) is how it is written

local function check_type(t, where)
  if not type_names[t.name] then
    fail(where, "%s", check.unknown("type", t.name, type_names))
  end
  local want = arity[t.name] or { 0, 0 }
  if #t.args < want[1] or #t.args > want[2] then
    fail(where, "%s takes %d to %d arguments, got %d", t.name, want[1], want[2], #t.args)
  end
  local inner = t.name == "list" or t.name == "indexed" or t.name == "array"
  if inner then
    t.element = parse_type(t.args[1], where)
    check_type(t.element, where)
  end
  for i, arg in ipairs(t.args) do
    local numeric = t.name == "pad" or t.name == "bytes" or t.name == "chars" or t.name == "strz"
      or (i == 2 and (t.name == "array" or t.name == "list"))
    if numeric and not (arg:match "^%d+$" and tonumber(arg) > 0) then
      fail(where, "'%s' is no number, in %s", arg, t.text)
    elseif not numeric and not (inner and i == 1) and not arg:match "^[%a_][%w_]*$" then
      fail(where, "'%s' is no name, in %s", arg, t.text)
    end
  end
end

local reserved = { decode = true, json = true }

local function check_key(key, where)
  if not key:match "^[%a_][%w_]*$" then
    fail(where, "'%s' is no key", key)
  elseif reserved[key] then
    fail(where, "'%s' is a method of rows", key)
  end
end

local function new_entry(registry, what, name, value)
  if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then
    errors.misuse("schema.%s: '%s' is no name", what, tostring(name))
  elseif registry[name] then
    errors.misuse("schema.%s: '%s' is declared twice", what, name)
  end
  registry[name] = value
  compiled = {}
end

-- Lines of a declaration without comments, parts in parentheses without blanks.
local function lines(text)
  local n = 0
  return (text .. "\n"):gmatch "([^\n]*)\n", function(line)
    n = n + 1
    return n, (line:gsub("%-%-.*$", ""):gsub("%b()", function(s)
      return (s:gsub("%s+", ""))
    end))
  end
end

local function words(line)
  local out = {}
  for word in line:gmatch "%S+" do
    out[#out + 1] = word
  end
  return out
end

---Declare a C struct: the header of a message, the payload of an attribute or what stands in front of a nest's attributes.
---
---    schema.struct("ifinfomsg", { c = "struct ifinfomsg", header = "linux/rtnetlink.h", prefix = "ifi_" }, [[
---      family u8  pad(1)  type u16  index s32  flags u32:flags(iff)  change u32 ]])
---
---Members are `KEY TYPE` pairs, laid out without gaps (write `pad(N)`); `KEY=member` where the C member is not prefix .. KEY.
---Types of fixed size: u8..u64 s8..s64 be16 be32 be64 bool ip4 ip6 bytes(N) chars(N) struct(NAME) array(TYPE,N).
---@param name string
---The C type, where it is declared, the prefix of its members (none: their offsets are not checked):
---@param options { c?: string, header?: string, prefix?: string }
---@param text string
function M.struct(name, options, text)
  check.options("schema.struct", options, { c = "string", header = "string", prefix = "string" })
  local where = "struct " .. tostring(name)
  local members, seen = {}, {}
  local key
  local next_line, clean = lines(text)
  for raw in next_line do
    local n, line = clean(raw)
    for _, word in ipairs(words(line)) do
      local at = where .. " line " .. n
      if key == nil and word:match "^pad%(" then
        local t = parse_type(word, at)
        check_type(t, at)
        members[#members + 1] = { type = t, where = at }
      elseif key == nil then
        key = word
      else
        local k, member = key:match "^([^=]+)=(.+)$"
        k = k or key
        check_key(k, at)
        if seen[k] then
          fail(at, "'%s' is there twice", k)
        end
        seen[k] = true
        local t = parse_type(word, at)
        check_type(t, at)
        members[#members + 1] = {
          key = k, type = t, where = at,
          member = member or (options.prefix and options.prefix .. k:gsub("_$", "")),
        }
        key = nil
      end
    end
  end
  if key then
    fail(where, "'%s' has no type", key)
  elseif #members == 0 then
    fail(where, "no members")
  end
  new_entry(structs, "struct", name, { name = name, options = options, members = members })
end

local function declare_enum(what, name, options, values, bits)
  check.options("schema." .. what, options, { header = "string", prefix = "string", c = "table" })
  local names, where = {}, what .. " " .. tostring(name)
  for k, v in pairs(values) do
    if type(k) ~= "string" or type(v) ~= "number" or v < 0 or v ~= math.floor(v) then
      fail(where, "%s = %s is not a name and its number", tostring(k), tostring(v))
    elseif names[v] then
      fail(where, "%s and %s are the same number", names[v], k)
    end
    if bits then
      local bit = v
      while bit > 1 and bit % 2 == 0 do
        bit = bit / 2
      end
      if bit ~= 1 then
        fail(where, "%s = %s is not one bit", k, tostring(v))
      end
    end
    names[v] = k
  end
  new_entry(enums, what, name, { name = name, options = options, values = values, names = names, bits = bits })
end

---Declare flags: names of single bits. A field `u32:flags(NAME)` reads as `{ up = true }` (bits without a name as `#bit20`) and is
---written as that, as a list or text of names, or as a number.
---@param name string
---The constant of a name is prefix .. NAME, or c[name]; false: not checked:
---@param options { header?: string, prefix?: string, c?: table<string, string|false> }
---@param values table<string, integer>  name to the bit's value
function M.flags(name, options, values)
  declare_enum("flags", name, options, values, true)
end

---Declare an enum: a field `u8:enum(NAME)` reads as the name, or as the number where none is known; both are written.
---@param name string
---@param options { header?: string, prefix?: string, c?: table<string, string|false> }
---@param values table<string, integer>
function M.enum(name, options, values)
  declare_enum("enum", name, options, values, false)
end

---Names and numbers of a declared enum or flags.
---@param name string
---@return table<string, integer> values
---@return table<integer, string> names
function M.names(name)
  local e = enums[name]
  if not e then
    errors.misuse("schema.names: %s", check.unknown("enum", name, enums))
  end
  return e.values, e.names
end

---Declare a set of attributes, one a line: `ID C-NAME key type [flags]`; `-- comment`. A C-NAME of `-` is not checked.
---
---    schema.set("link", { header = "linux/if_link.h", prefix = "IFLA_" }, [[
---      3   IFNAME    name      strz(15)
---      4   MTU       mtu       u32
---      18  LINKINFO  linkinfo  nest(linkinfo) ]])
---
---Types: u8 u16 u32 u64 s8 s16 s32 s64 be16 be32 be64 (with `:enum(X)` or `:flags(X)`); flag (present = true); bool (u8);
---strz[(MAX)] (ends in a zero byte) str bin (bytes) bytes(N) chars(N) (fixed, padded with zeros); ip ip4 ip6 (text) lladdr ("02:00:...");
---nest(SET) nest(SET,STRUCT) (the struct comes first) struct(NAME) array(TYPE) (packed) list(TYPE[,ID]) (children counted from 1,
---or all with ID) indexed(TYPE[,ENUM]) (children keyed by their id) records(STRUCT,SET) (structs that begin with `len u16`, each with
---attributes); union(KEY[,TABLE]): the branch of TABLE (default: KEY) registered by `schema.kind` for the value of KEY here or further out.
---Flags: multi (several attributes make a list), nonested (no NLA_F_NESTED), netorder (NLA_F_NET_BYTEORDER), writeonly (not used to decode).
---@param name string
---@param options { header?: string, prefix?: string }
---@param text string
function M.set(name, options, text)
  check.options("schema.set", options, { header = "string", prefix = "string" })
  local fields, seen, ids = {}, {}, {}
  local next_line, clean = lines(text)
  for raw in next_line do
    local n, line = clean(raw)
    local w = words(line)
    if #w > 0 then
      local where = ("set %s line %d"):format(tostring(name), n)
      if #w < 4 then
        fail(where, "'ID C-NAME key type [flags]' expected, got '%s'", (line:gsub("^%s+", "")))
      end
      local id = w[1]:match "^%d+$" and tonumber(w[1])
      if not id or id > 16383 then
        fail(where, "'%s' is no attribute id", w[1])
      end
      check_key(w[3], where)
      local t = parse_type(w[4], where)
      check_type(t, where)
      local f = { id = id, c = w[2], key = w[3], type = t, flags = 0, where = where }
      local set_flags = {}
      for i = 5, #w do
        if not field_flags[w[i]] then
          fail(where, "%s", check.unknown("flag", w[i], field_flags))
        end
        set_flags[w[i]] = true
      end
      for flag in pairs(set_flags) do
        f.flags = f.flags + field_flags[flag]
      end
      if seen[f.key] then
        fail(where, "'%s' is there twice", f.key)
      elseif ids[id] and not set_flags.writeonly then
        fail(where, "attribute %d is there twice", id)
      elseif t.name == "pad" then
        fail(where, "pad is for structs")
      end
      seen[f.key] = true
      if not set_flags.writeonly then
        ids[id] = true
      end
      fields[#fields + 1] = f
    end
  end
  new_entry(sets, "set", name, { name = name, options = options, fields = fields })
end

---The keys of a declared set.
---@param name string
---@return string[]
function M.keys(name)
  local s = sets[name]
  if not s then
    errors.misuse("schema.keys: %s", check.unknown("set", name, sets))
  end
  local keys = {}
  for i, f in ipairs(s.fields) do
    keys[i] = f.key
  end
  return keys
end

---Add a branch to the unions that use a table: `schema.kind("kind", "vxlan", "nest(vxlan)")`. `*` is the branch for every other value;
---without one, what has no branch is bytes.
---@param union string  the table: the union's second argument, or its first
---@param value string  of the selector: its text, the name of its enum or its number
---@param text string   a type, as in a set
function M.kind(union, value, text)
  check.argument("schema.kind", "union", union, "string")
  check.argument("schema.kind", "value", value, "string")
  check.argument("schema.kind", "type", text, "string")
  local where = ("kind %s %s"):format(union, value)
  local t = parse_type((text:gsub("%s+", "")), where)
  check_type(t, where)
  kinds[union] = kinds[union] or {}
  if kinds[union][value] then
    fail(where, "is declared twice")
  end
  kinds[union][value] = { type = t, where = where }
  compiled = {}
end

---The values a union's table has branches for.
---@param union string
---@return table<string, true>
function M.kinds(union)
  local out = {}
  for value in pairs(kinds[union] or {}) do
    out[value] = true
  end
  return out
end

---Declare a message.
---
---    schema.message("link", { head = "ifinfomsg", attrs = "link", c = "LINK", header = "linux/rtnetlink.h", new = 16, del = 17, get = 18 })
---@param name string
---The numbers are RTM_NEW .. c and so on:
---@param options { head?: string, attrs?: string, c?: string, header?: string, new?: integer, del?: integer, get?: integer, set?: integer }
---@return nslua.schema.Message
function M.message(name, options)
  check.options("schema.message", options, {
    head = "string", attrs = "string", c = "string", header = "string",
    new = "integer", del = "integer", get = "integer", set = "integer",
  })
  if not options.head and not options.attrs then
    errors.misuse("schema.message: '%s' needs head or attrs", tostring(name))
  end
  local m = { name = name }
  for k, v in pairs(options) do
    m[k] = v
  end
  new_entry(M.messages, "message", name, m)
  return m
end

-- Flattening: what C wants is lists of numbers.

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
  local e = find(enums, "enum", name, where)
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
  elseif t.name == "bytes" or t.name == "chars" or t.name == "pad" then
    return tonumber(t.args[1])
  elseif t.name == "struct" then
    return self:struct_size(t.args[1], where)
  elseif t.name == "array" and t.args[2] then
    local one = self:size(t.element, where)
    return one and one * tonumber(t.args[2])
  end
end

function Plan:struct_size(name, where)
  local s = find(structs, "struct", name, where)
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
  local s = find(structs, "struct", name, where)
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
  local s = find(sets, "set", name, where)
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
  for value, branch in pairs(kinds[name] or {}) do
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
local function no_clash(struct, set, where)
  local s, members = structs[struct], {}
  for _, m in ipairs(s and s.members or {}) do
    if m.key then
      members[m.key] = true
    end
  end
  for _, f in ipairs(sets[set] and sets[set].fields or {}) do
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
      no_clash(t.args[2], t.args[1], where)
    end
  elseif t.name == "struct" then
    f.sub = self:struct(t.args[1], where)
  elseif t.name == "records" then
    f.head = self:struct(t.args[1], where, true)
    f.sub = self:set(t.args[2], where)
    no_clash(t.args[1], t.args[2], where)
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

---Compile a declared message. The result is kept; a declaration made later compiles it anew at the next call.
---@param name string
---@return nslua.schema.Compiled
function M.compile(name)
  local S = compiled[name]
  if S then
    return S
  end
  local m = find(M.messages, "message", name, "compile")
  local plan = setmetatable({
    name = name, fields = {}, sets = {}, structs = {}, enums = {}, unions = {}, keys = {},
    key_numbers = {}, enum_numbers = {}, struct_numbers = {}, set_numbers = {}, union_numbers = {},
  }, Plan)
  plan.head = m.head and plan:struct(m.head, "message " .. name) or 0
  plan.set = m.attrs and plan:set(m.attrs, "message " .. name) or 0
  if m.head and m.attrs then
    no_clash(m.head, m.attrs, "message " .. name)
  end
  S = core.schema.new(setmetatable(plan, nil))
  compiled[name] = S
  return S
end

---@class nslua.schema.Compiled
---encode: header struct and attributes; misuse raises at the caller's line, with the path.
---@field encode fun(self, t: table): string
---decode: raw keys. Unknown attributes are `["#61"]` (`#61n` with NLA_F_NESTED, `#61b` with NLA_F_NET_BYTEORDER; a list where there are
---several), a struct's surplus bytes `#tail`, a short struct's length `#size`; all are encoded again.
---@field decode fun(self, bytes: string): table
---@field row fun(self, bytes: string, class?: nslua.schema.Class, rowset?: any): nslua.Row
---path: the attribute at that offset of encoded bytes (extack.offset) and its value.
---@field path fun(self, bytes: string, offset: integer): string?, any
---missing: path of an attribute the kernel missed (extack.missing, extack.missing_nest).
---@field missing fun(self, bytes: string, id: integer, nest?: integer): string

---@class nslua.schema.Class
---@field name string
---computed: called once a row, when first read; takes the place of a raw field of that name.
---@field computed? table<string, fun(row: nslua.Row, rowset: any): any>
---@field hidden? string[]  raw fields that decode, json and pairs leave out; they can still be read by name
---@field methods? table<string, function>
---@field same? fun(a: nslua.Row, b: nslua.Row): boolean  what == means: the same kernel object

---@class nslua.Row  a message whose fields are decoded when read; read-only
---@field decode fun(self): table  every public field, as a plain table
---@field json fun(self): string   the same as JSON text

---Declare a class: the public vocabulary over a message's raw keys. Keys without a name in the schema are left out of its rows'
---decode and json, and `row["#4"]` is the payload of attribute 4.
---@param t nslua.schema.Class
---@return nslua.schema.Class
function M.class(t)
  check.options("schema.class", t, { name = "string", computed = "table", hidden = "table", methods = "table", same = "function" })
  check.argument("schema.class", "name", t.name, "string")
  for _, kind in ipairs { "computed", "methods" } do
    for k, v in pairs(t[kind] or {}) do
      if reserved[k] then
        errors.misuse("schema.class %s: '%s' is a method of rows", t.name, k)
      elseif type(v) ~= "function" then
        errors.misuse("schema.class %s: %s.%s must be a function", t.name, kind, tostring(k))
      end
    end
  end
  return t
end

---A row's field as the kernel sent it: for computed fields that take the place of a raw one.
---@param row nslua.Row
---@param key string
---@return any
function M.raw(row, key)
  return core.schema.raw(row, key)
end

---What was given as the row set of a row.
---@param row nslua.Row
---@return any
function M.rowset(row)
  return core.schema.rowset(row)
end

---The message's payload, as the kernel sent it.
---@param row nslua.Row
---@return string
function M.bytes(row)
  return core.schema.bytes(row)
end

---Whether a value is a row.
---@param value any
---@return boolean
function M.isrow(value)
  return core.schema.isrow(value)
end

---A Lua value as JSON text, keys sorted; a table with keys 1..n and an empty one is a list; bytes that are no UTF-8 become the
---characters of their numbers.
---@param value any
---@return string
function M.json(value)
  return core.schema.json(value)
end

---Every number of every declaration as a C constant expression and the value it must have, with the header that defines it:
---a spec writes `_Static_assert(EXPRESSION == VALUE)` for each.
---@return { expression: string, value: integer, header: string, where: string }[]
function M.constants()
  local out = {}
  local function add(expression, value, options, where)
    if options.header then
      out[#out + 1] = { expression = expression, value = value, header = options.header, where = where }
    end
  end
  for name, s in pairs(structs) do
    local where = "struct " .. name
    if s.options.c then
      add(("sizeof(%s)"):format(s.options.c), Plan:struct_size(name, where), s.options, where)
      for _, m in ipairs(s.members) do
        if m.member then
          add(("offsetof(%s, %s)"):format(s.options.c, m.member), m.off, s.options, m.where)
        end
      end
    end
  end
  for name, e in pairs(enums) do
    for k, v in pairs(e.values) do
      local c = e.options.c and e.options.c[k]
      if c == nil and e.options.prefix then
        c = e.options.prefix .. k:gsub("_$", ""):upper()
      end
      if c then
        add(c, v, e.options, (e.bits and "flags " or "enum ") .. name)
      end
    end
  end
  for _, s in pairs(sets) do
    for _, f in ipairs(s.fields) do
      if f.c ~= "-" and s.options.prefix then
        add(s.options.prefix .. f.c, f.id, s.options, f.where)
      end
    end
  end
  for name, m in pairs(M.messages) do
    for _, verb in ipairs { "new", "del", "get", "set" } do
      if m[verb] and m.c then
        add("RTM_" .. verb:upper() .. m.c, m[verb], m, "message " .. name)
      end
    end
  end
  table.sort(out, function(a, b)
    return a.expression < b.expression
  end)
  return out
end

-- C's encode calls this with "link.mtu: ..."; where a word is unknown, also with the word and the known ones.
core.schema.on_misuse(function(message, word, known)
  local near = word and check.nearest(word, known)
  errors.misuse("%s%s", message, near and (" (did you mean '%s'?)"):format(near) or "")
end)

return M
