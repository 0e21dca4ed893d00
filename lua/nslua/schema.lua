-- The language netlink messages are declared in: one line an attribute, read once (schema/language.lua), flattened (schema/plan.lua) and
-- compiled to C arrays by nslua.core.
--
-- Sources of every number: the UAPI headers <linux/*.h>, named in each declaration; `M.constants()` lists them for a spec
-- that compiles them against the headers.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local constants = require "nslua.schema.constants"
local language = require "nslua.schema.language"
local plan = require "nslua.schema.plan"

local M = {}

---@class nslua.schema.Message
---@field name string
---@field head? string      struct in front of the attributes
---@field attrs? string     set of attributes
---@field new? integer      message types (rtnetlink(7)): RTM_NEWX, RTM_DELX, RTM_GETX, RTM_SETX
---@field del? integer
---@field get? integer
---@field set? integer

---The declared messages by name.
---@type table<string, nslua.schema.Message>
M.messages = {}

local structs, enums, sets, kinds = {}, {}, {}, {}
local declared = { structs = structs, enums = enums, sets = sets, kinds = kinds, messages = M.messages }

-- Compiled schemas by message; emptied when a declaration is added, as that may add a branch to any of them.
local compiled = {}

local field_flags = { multi = 1, nonested = 2, writeonly = 4, netorder = 8 }
local fail = language.fail

local function new_entry(registry, what, name, value)
  if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then
    errors.misuse("schema.%s: '%s' is no name", what, tostring(name))
  elseif registry[name] then
    errors.misuse("schema.%s: '%s' is declared twice", what, name)
  end
  registry[name] = value
  compiled = {}
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
  for n, words in language.lines(text) do
    for _, word in ipairs(words) do
      local at = where .. " line " .. n
      if key == nil and word:match "^pad%(" then
        local t = language.type(word, at)
        members[#members + 1] = { type = t, where = at }
      elseif key == nil then
        key = word
      else
        local k, member = key:match "^([^=]+)=(.+)$"
        k = k or key
        language.key(k, at)
        if seen[k] then
          fail(at, "'%s' is there twice", k)
        end
        seen[k] = true
        local t = language.type(word, at)
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
  for n, w in language.lines(text) do
    if #w > 0 then
      local where = ("set %s line %d"):format(tostring(name), n)
      if #w < 4 then
        fail(where, "'ID C-NAME key type [flags]' expected, got '%s'", table.concat(w, " "))
      end
      local id = w[1]:match "^%d+$" and tonumber(w[1])
      if not id or id > 16383 then
        fail(where, "'%s' is no attribute id", w[1])
      end
      language.key(w[3], where)
      local t = language.type(w[4], where)
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
  local t = language.type((text:gsub("%s+", "")), where)
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

---Compile a declared message. The result is kept; a declaration made later compiles it anew at the next call.
---@param name string
---@return nslua.schema.Compiled
function M.compile(name)
  local S = compiled[name]
  if S then
    return S
  end
  S = core.schema.new(plan.of(declared, name))
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
      if language.reserved[k] then
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
  return constants.of(declared)
end

-- C's encode calls this with "link.mtu: ..."; where a word is unknown, also with the word and the known ones.
core.schema.on_misuse(function(message, word, known)
  local near = word and check.nearest(word, known)
  errors.misuse("%s%s", message, near and (" (did you mean '%s'?)"):format(near) or "")
end)

return M
