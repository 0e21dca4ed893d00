-- A book of declarations: the structs, enums, sets of attributes, branches and messages that may name each other. rtnetlink's are in one
-- (nslua.schema); each family of generic netlink has its own.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"
local constants = require "nslua.schema.constants"
local language = require "nslua.schema.language"
local plan = require "nslua.schema.plan"

---@class nslua.schema.Message
---@field name string
---@field head? string      struct in front of the attributes
---@field attrs? string     set of attributes
---@field new? integer      message types (rtnetlink(7)): RTM_NEWX, RTM_DELX, RTM_GETX, RTM_SETX
---@field del? integer
---@field get? integer
---@field set? integer

---@class nslua.schema.Book
---@field title string  in front of what messages name: "family wireguard: "
---@field structs table<string, table>
---@field enums table<string, table>
---@field sets table<string, table>
---@field kinds table<string, table>
---@field messages table<string, nslua.schema.Message>
---@field name? string  of the family, in front of the path of what is wrong in a table
---@field compiled table<string, nslua.schema.Compiled>  by message; emptied when a declaration is added: it may add a branch to any
local Book = {}
Book.__index = Book

local M = {}

---An empty book.
---@param title? string
---@return nslua.schema.Book
function M.new(title)
  return setmetatable({ title = title or "", structs = {}, enums = {}, sets = {}, kinds = {}, messages = {}, compiled = {} }, Book)
end

---A book whose declarations stand over another's, which is not changed: to see whether they hold.
---@param title string
---@return nslua.schema.Book
function Book:trial(title)
  local other = M.new(title)
  for _, key in ipairs { "structs", "enums", "sets", "kinds" } do
    setmetatable(other[key], { __index = self[key] })
  end
  return other
end

local field_flags = { multi = 1, nonested = 2, writeonly = 4, netorder = 8 }
local fail = language.fail

local function new_entry(self, registry, what, name, value)
  if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then
    errors.misuse("schema.%s: '%s' is no name", what, tostring(name))
  elseif registry[name] and not self.replacing then
    errors.misuse("schema.%s: '%s' is declared twice", what, name)
  end
  registry[name] = value
  self.compiled = {}
end

---Declare a C struct: the header of a message, the payload of an attribute or what stands in front of a nest's attributes.
---
---    schema.struct("ifinfomsg", { c = "struct ifinfomsg", header = "linux/rtnetlink.h", prefix = "ifi_" }, [[
---      family u8  pad(1)  type u16  index s32  flags u32:flags(iff)  change u32 ]])
---
---Members are `KEY TYPE` pairs, laid out without gaps (write `pad(N)`); `KEY=member` where the C member is not prefix .. KEY.
---Types of fixed size: u8..u64 s8..s64 be16 be32 be64 bool ip4 ip6 bytes(N) chars(N) hex(N) base64(N) struct(NAME) array(TYPE,N).
---@param name string
---The C type, where it is declared, the prefix of its members (none: their offsets are not checked):
---@param options { c?: string, header?: string, prefix?: string }
---@param text string
function Book:struct(name, options, text)
  check.options("schema.struct", options, { c = "string", header = "string", prefix = "string" })
  local where = self.title .. "struct " .. tostring(name)
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
  new_entry(self, self.structs, "struct", name, { name = name, options = options, members = members })
end

local function declare_enum(self, what, name, options, values, bits)
  check.options("schema." .. what, options, { header = "string", prefix = "string", c = "table" })
  local names, where = {}, self.title .. what .. " " .. tostring(name)
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
  new_entry(self, self.enums, what, name, { name = name, options = options, values = values, names = names, bits = bits })
end

---Declare flags: names of single bits. A field `u32:flags(NAME)` reads as `{ up = true }` (bits without a name as `#bit20`) and is
---written as that, as a list or text of names, or as a number.
---@param name string
---The constant of a name is prefix .. NAME, or c[name] ("+NAME": newer than some headers); false: not checked:
---@param options { header?: string, prefix?: string, c?: table<string, string|false> }
---@param values table<string, integer>  name to the bit's value
function Book:flags(name, options, values)
  declare_enum(self, "flags", name, options, values, true)
end

---Declare an enum: a field `u8:enum(NAME)` reads as the name, or as the number where none is known; both are written.
---@param name string
---@param options { header?: string, prefix?: string, c?: table<string, string|false> }
---@param values table<string, integer>
function Book:enum(name, options, values)
  declare_enum(self, "enum", name, options, values, false)
end

---Names and numbers of a declared enum or flags.
---@param name string
---@return table<string, integer> values
---@return table<integer, string> names
function Book:names(name)
  local e = self.enums[name]
  if not e then
    errors.misuse("schema.names: %s", check.unknown("enum", name, self.enums))
  end
  return e.values, e.names
end

---Declare a set of attributes, one a line: `ID C-NAME key type [flags]`; `-- comment`. A C-NAME of `-` is not checked, `+NAME` only where
---the header has it: headers older than the attribute do not.
---
---    schema.set("link", { header = "linux/if_link.h", prefix = "IFLA_" }, [[
---      3   IFNAME    name      strz(15)
---      4   MTU       mtu       u32
---      18  LINKINFO  linkinfo  nest(linkinfo) ]])
---
---Types: u8 u16 u32 u64 s8 s16 s32 s64 be16 be32 be64 uint sint (4 or 8 bytes; all with `:enum(X)` or `:flags(X)`); flag (present = true);
---bool (u8); strz[(MAX)] (ends in a zero byte) str bin (bytes) bytes(N) chars(N) (fixed, padded with zeros) hex[(N)] base64[(N)] (bytes as
---text); ip ip4 ip6 (text) lladdr ("02:00:...") sockaddr ("10.0.0.1:80"); bitset (of ethtool: { name = true or false });
---nest(SET) nest(SET,STRUCT) (the struct comes first) struct(NAME) array(TYPE) (packed) list(TYPE[,ID]) (children counted from 1,
---or all with ID) indexed(TYPE[,ENUM]) (children keyed by their id) records(STRUCT,SET) (structs that begin with `len u16`, each with
---attributes); union(KEY[,TABLE]): the branch of TABLE (default: KEY) registered by `schema.kind` for the value of KEY here or further out.
---Flags: multi (several attributes make a list), nonested (no NLA_F_NESTED), netorder (NLA_F_NET_BYTEORDER), writeonly (not used to decode).
---@param name string
---@param options { header?: string, prefix?: string, bare?: boolean }  `bare`: lines without a C-NAME
---@param text string
function Book:set(name, options, text)
  check.options("schema.set", options, { header = "string", prefix = "string", bare = "boolean" })
  local fields, seen, ids = {}, {}, {}
  for n, w in language.lines(text) do
    if #w > 0 then
      local where = ("%sset %s line %d"):format(self.title, tostring(name), n)
      if #w < (options.bare and 3 or 4) then
        fail(where, "'ID %skey type [flags]' expected, got '%s'", options.bare and "" or "C-NAME ", table.concat(w, " "))
      elseif options.bare then
        table.insert(w, 2, "-")
      end
      local id = w[1]:match "^%d+$" and tonumber(w[1])
      if not id or id > 16383 then
        fail(where, "'%s' is no attribute id", w[1])
      end
      local t = language.type(w[4], where)
      if t.name ~= "pad" or w[3] ~= "-" then
        language.key(w[3], where)
      end
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
      if t.name == "pad" then
        f.key = nil
        if w[3] ~= "-" or t.args[1] then
          fail(where, "padding is written 'ID %s- pad'", options.bare and "" or "C-NAME ")
        end
      elseif seen[f.key] then
        fail(where, "'%s' is there twice", f.key)
      end
      if ids[id] and not set_flags.writeonly then
        fail(where, "attribute %d is there twice", id)
      end
      seen[f.key or ""] = true
      if not set_flags.writeonly then
        ids[id] = true
      end
      fields[#fields + 1] = f
    end
  end
  new_entry(self, self.sets, "set", name, { name = name, options = options, fields = fields })
end

---The keys of a declared set.
---@param name string
---@return string[]
function Book:keys(name)
  local s = self.sets[name]
  if not s then
    errors.misuse("schema.keys: %s", check.unknown("set", name, self.sets))
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
function Book:kind(union, value, text)
  check.argument("schema.kind", "union", union, "string")
  check.argument("schema.kind", "value", value, "string")
  check.argument("schema.kind", "type", text, "string")
  local where = ("%skind %s %s"):format(self.title, union, value)
  local t = language.type((text:gsub("%s+", "")), where)
  local branches = rawget(self.kinds, union) or setmetatable({}, { __index = self.kinds[union] })
  self.kinds[union] = branches
  if branches[value] and not self.replacing then
    fail(where, "is declared twice")
  end
  branches[value] = { type = t, where = where }
  self.compiled = {}
end

---The values a union's table has branches for.
---@param union string
---@return table<string, true>
function Book:branches(union)
  local out = {}
  for value in pairs(self.kinds[union] or {}) do
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
function Book:message(name, options)
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
  new_entry(self, self.messages, "message", name, m)
  return m
end

---Compile a declared message. The result is kept; a declaration made later compiles it anew at the next call.
---@param name string
---@return nslua.schema.Compiled
function Book:compile(name)
  local S = self.compiled[name]
  if S then
    return S
  end
  local flat = plan.of(self, name)
  flat.name = self.name and self.name .. "." .. name or name
  S = core.schema.new(flat)
  self.compiled[name] = S
  return S
end

---Raise what compiling any of the messages would, without doing it.
function Book:check()
  plan.check(self)
end

---Call fn, which may declare anew what is declared already.
---@param fn fun(...)
function Book:replace(fn, ...)
  self.replacing = true
  local ok, e = pcall(fn, ...)
  self.replacing = nil
  if not ok then
    error(e, 0)
  end
end

---Every number of every declaration as a C constant expression and the value it must have, with the header that defines it:
---a spec writes `_Static_assert(EXPRESSION == VALUE)` for each; those with `newer` only where the header has them.
---@return { expression: string, value: integer, header: string, where: string, newer: boolean }[]
function Book:constants()
  return constants.of(self)
end

return M
