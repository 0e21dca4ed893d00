-- The language netlink messages are declared in: one line an attribute, read once (schema/language.lua), kept in a book (schema/book.lua),
-- flattened (schema/plan.lua) and compiled to C arrays by nslua.core.
--
-- Sources of every number: the UAPI headers <linux/*.h>, named in each declaration; `M.constants()` lists them for a spec
-- that compiles them against the headers.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local book = require "nslua.schema.book"
local language = require "nslua.schema.language"

local M = {}

-- The declarations of rtnetlink and of whatever names no family: schema.set(...) and so on are its methods (doc: nslua.schema.book).
M.book = book.new()
M.messages = M.book.messages
for _, name in ipairs { "struct", "flags", "enum", "names", "set", "keys", "kind", "branches", "message", "compile", "constants" } do
  M[name] = function(...)
    return M.book[name](M.book, ...)
  end
end
M.kinds = M.branches

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
---@field computed? table<string, nslua.schema.Computed>
---@field hidden? string[]  raw fields that decode, json and pairs leave out; they can still be read by name
---@field methods? table<string, function>
---@field same? fun(a: nslua.Row, b: nslua.Row): boolean  what == means: the same kernel object

---A function of a row and its row set, or how C makes it (`call`: a function for what that leaves): "call", only where the attribute at [1] or
---that at [2] is there; "prefix" of the address and its length at [1] and [2] (`extra`: what no address at all is); "link", the name of the index
---at [1]; "name" of the number at [1], or else [2], by the table `extra`; "flag", whether one of `bits` is set in [1], or else [2] (`no`: false
---where none is, not nil).
---@alias nslua.schema.Computed
---| fun(row: nslua.Row, rowset: any): any
---| { how: "call"|"prefix"|"link"|"name"|"flag", [1]: string, [2]: string?, call: function?, extra: any, bits: integer?, no: boolean? }

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
      elseif type(v) ~= "function" and not (kind == "computed" and type(v) == "table" and v.how) then
        errors.misuse("schema.class %s: %s.%s must be a function", t.name, kind, tostring(k))
      end
    end
  end
  return t
end

---A computed field that is nil where neither of these attributes is there, without a look at it.
---@param one string
---@param other? string  may be left out
---@param call fun(row: nslua.Row, rowset: any): any
---@return nslua.schema.Computed
function M.when(one, other, call)
  if call == nil then
    other, call = nil, other
  end
  return { how = "call", one, other, call = call }
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

-- C's encode calls this with "link.mtu: ..."; where a word is unknown, also with the word and the known ones.
core.schema.on_misuse(function(message, word, known)
  local near = word and check.nearest(word, known)
  errors.misuse("%s%s", message, near and (" (did you mean '%s'?)"):format(near) or "")
end)

return M
