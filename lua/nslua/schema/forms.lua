-- Declarations in the short forms of ns.netlink.family and ns.netlink.kind: enums, flags, structs, sets and unions of a table into a book.

local errors = require "nslua.error"
local language = require "nslua.schema.language"

local M = {}

-- "unset set inherit", "a=3 b": names and numbers from 0; of bits: "up down=#5", from bit 0, and "up=4" says the number itself.
local function words(where, text, bits)
  local out, n = {}, 0
  for _, line in language.lines(text) do
    for _, word in ipairs(line) do
      local name, hash, value = word:match "^([^=]+)=?(#?)(.*)$"
      local number = tonumber(value)
      if not name or word:find "=" and not number or hash ~= "" and not bits then
        language.fail(where, "'%s' is no NAME and no NAME=NUMBER", word)
      elseif out[name] then
        language.fail(where, "'%s' is there twice", name)
      elseif number and bits and hash == "" then
        out[name] = number
      else
        n = number or n
        out[name] = bits and 2 ^ n or n
        n = n + 1
      end
      out[name] = math.tointeger and math.tointeger(out[name]) or out[name]
    end
  end
  return out
end

---The keys of a table, sorted as text.
---@param t table?
---@return any[]
function M.sorted(t)
  local keys = {}
  for key in pairs(t or {}) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  return keys
end
local sorted = M.sorted

---Lines of `ID key type` as lines of `ID C-NAME key type`, none of which has a C constant.
---@param text string
---@return string
function M.unnamed(text)
  return (("\n" .. text):gsub("(\n%s*%d+)(%s)", "%1 -%2"):sub(2))
end

---`text`, or { text, option = ... }: options and text; the header is that of the whole where none is given.
---@param owner { title: string, header: string? }
---@param what string
---@param name any
---@param value any
---@return table options
---@return any text
function M.parts(owner, what, name, value)
  if type(value) == "string" then
    return {}, value
  elseif type(value) ~= "table" then
    errors.misuse("%s: %s %s must be text or a table, got %s", owner.title, what, tostring(name), type(value))
  end
  local options = { header = owner.header }
  for key, v in pairs(value) do
    if key ~= 1 then
      options[key] = v
    end
  end
  return options, value[1]
end
local parts = M.parts

local function names(owner, book, what, list)
  local method = what == "flags" and "flags" or "enum"
  for _, name in ipairs(sorted(list)) do
    local value = list[name]
    local options, text = parts(owner, what, name, value)
    if type(text) ~= "string" then
      options, text = {}, value -- names to numbers
    else
      text = words(("%s%s %s"):format(book.title, method, tostring(name)), text, method == "flags")
    end
    book[method](book, name, options, text)
  end
end

---Declare what a table has of `enums`, `flags`, `structs`, `sets` and `unions`.
---@param owner { title: string, header: string? }  for messages: "family wireguard"
---@param book nslua.schema.Book
---@param t table
function M.declare(owner, book, t)
  names(owner, book, "enums", t.enums)
  names(owner, book, "flags", t.flags)
  for _, name in ipairs(sorted(t.structs)) do
    local options, text = parts(owner, "struct", name, t.structs[name])
    book:struct(name, options, text)
  end
  for _, name in ipairs(sorted(t.sets)) do
    local options, text = parts(owner, "set", name, t.sets[name])
    if type(text) ~= "string" then
      errors.misuse("%s: set %s has no text at [1]", owner.title, tostring(name))
    end
    options.bare = not options.prefix
    book:set(name, options, text)
  end
  for _, union in ipairs(sorted(t.unions)) do
    for _, value in ipairs(sorted(t.unions[union])) do
      book:kind(union, value, t.unions[union][value])
    end
  end
end

return M
