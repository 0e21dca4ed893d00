-- The words of a declaration: its lines, the types in them, the keys. nslua.schema says what they mean.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"

local M = {}

local integers = {
  u8 = true, u16 = true, u32 = true, u64 = true, s8 = true, s16 = true, s32 = true, s64 = true,
  be16 = true, be32 = true, be64 = true, uint = true, sint = true,
}

---Raise a misuse that names the declaration and its line.
---@param where string
---@param fmt string
function M.fail(where, fmt, ...)
  errors.misuse("schema %s: " .. fmt, where, ...)
end
local fail = M.fail

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
local function parse(text, where)
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
  union = { 1, 2 }, records = { 2, 2 }, pad = { 0, 1 }, bytes = { 1, 1 }, chars = { 1, 1 }, hex = { 0, 1 }, base64 = { 0, 1 },
}
local type_names = core.schema.types()
type_names.fixed = nil -- array(TYPE, N) is how it is written

local function check_arguments(t, where)
  if not type_names[t.name] then
    fail(where, "%s", check.unknown("type", t.name, type_names))
  end
  local want = arity[t.name] or { 0, 0 }
  if #t.args < want[1] or #t.args > want[2] then
    fail(where, "%s takes %d to %d arguments, got %d", t.name, want[1], want[2], #t.args)
  end
  local inner = t.name == "list" or t.name == "indexed" or t.name == "array"
  if inner then
    t.element = M.type(t.args[1], where)
  end
  for i, arg in ipairs(t.args) do
    local numeric = t.name == "pad" or t.name == "bytes" or t.name == "chars" or t.name == "strz" or t.name == "hex" or t.name == "base64"
      or (i == 2 and (t.name == "array" or t.name == "list"))
    if numeric and not (arg:match "^%d+$" and tonumber(arg) > 0) then
      fail(where, "'%s' is no number, in %s", arg, t.text)
    elseif not numeric and not (inner and i == 1) and not arg:match "^[%a_][%w_]*$" then
      fail(where, "'%s' is no name, in %s", arg, t.text)
    end
  end
end

---@class nslua.schema.Type
---@field name string     "nest"
---@field args string[]   { "link", "ifinfomsg" }
---@field text string     as it was written
---@field element? nslua.schema.Type  of list, indexed and array
---@field enum? string    of an integer: the enum or flags it is read by
---@field bits? boolean   these are flags

---Read a type. Raises where it is none.
---@param text string
---@param where string
---@return nslua.schema.Type
function M.type(text, where)
  local t = parse(text, where)
  check_arguments(t, where)
  return t
end

---Names that rows have for themselves.
M.reserved = { decode = true, json = true }

---Raise where a word cannot be the key of a field.
---@param key string
---@param where string
function M.key(key, where)
  if not key:match "^[%a_][%w_]*$" then
    fail(where, "'%s' is no key", key)
  elseif M.reserved[key] then
    fail(where, "'%s' is a method of rows", key)
  end
end

---The lines of a declaration, without comments: the number of each, and its words; parts in parentheses are one word.
---@param text string
---@return fun(): integer?, string[]
function M.lines(text)
  local n, next_line = 0, (text .. "\n"):gmatch "([^\n]*)\n"
  return function()
    local line = next_line()
    if not line then
      return nil
    end
    n = n + 1
    line = line:gsub("%-%-.*$", ""):gsub("%b()", function(s)
      return (s:gsub("%s+", ""))
    end)
    local words = {}
    for word in line:gmatch "%S+" do
      words[#words + 1] = word
    end
    return n, words
  end
end

return M

