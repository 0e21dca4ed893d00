-- Options of link kinds as words of ip link: a table for each kind, from the keys of its attributes (rtnl/kind/KIND.lua) to what ip(8) calls
-- them (kindwords.lua, tunnelwords.lua). A key that is not in it is its own word, so a kind that nobody has written a table for is told, too.
--
-- A table's values: a word; { word, style }; false: not said; or a function that adds words. Styles: "on" (word on, word off), "01" (word 1, word 0),
-- "no" (word, noword), "flag" (word where it is true), "dev" (the name of a link), "hex" (0x2a), "bare" (its value alone).
-- In a table, `first` lists the keys that go first, `boolean` is the style of yes and no ("on").

local M = {}

---@alias nslua.trace.Option string|{ [1]: string, [2]: string }|false|fun(add: fun(...), value: any, data: table, context: nslua.trace.Context)

local tables = require "nslua.trace.kindwords"

---@type table<string, table<string, nslua.trace.Option>>
M.kinds, M.ports = {}, tables.ports
for _, list in ipairs { tables.kinds, (require "nslua.trace.tunnelwords") } do
  for name, options in pairs(list) do
    M.kinds[name] = options
  end
end

local styles = {
  on = function(add, word, value)
    add(word, (value == true or value == 1) and "on" or "off")
  end,
  ["01"] = function(add, word, value)
    add(word, (value == true or value ~= 0 and value) and 1 or 0)
  end,
  no = function(add, word, value)
    add(((value == true or value == 1) and "" or "no") .. word)
  end,
  flag = function(add, word, value)
    if value then
      add(word)
    end
  end,
  dev = function(add, word, value, context)
    if value ~= 0 then
      add(word, context.link(value))
    end
  end,
  hex = function(add, word, value)
    add(word, type(value) == "number" and ("0x%x"):format(value) or value)
  end,
  bare = function(add, _, value)
    add(value)
  end,
}

-- Words of one option.
local function say(words, how, key, value, data, context, boolean)
  local function add(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
  if type(how) == "function" then
    how(add, value, data, context)
  elseif type(how) == "table" then
    styles[how[2]](add, how[1], value, context)
  elseif how ~= false then
    local word = how or key:gsub("_$", "")
    if type(value) == "boolean" then
      styles[boolean](add, word, value)
    elseif type(value) == "table" then
      return word
    else
      add(word, type(value) == "number" and ("%.0f"):format(value) or value)
    end
  end
end

---Add the words of a kind's options.
---@param words string[]
---@param options table<string, nslua.trace.Option>  of M.kinds or M.ports
---@param data table     decoded attributes
---@param context nslua.trace.Context
---@return string? left  what has no words
function M.words(words, options, data, context)
  local keys, left, done = {}, {}, {}
  for _, key in ipairs(options.first or {}) do
    if data[key] ~= nil then
      keys[#keys + 1] = key
      done[key] = true
    end
  end
  local rest = {}
  for key in pairs(data) do
    if not done[key] then
      rest[#rest + 1] = tostring(key)
    end
  end
  table.sort(rest)
  for _, key in ipairs(rest) do
    keys[#keys + 1] = key
  end
  for _, key in ipairs(keys) do
    if key:find "^#" and options[key] == nil then
      left[#left + 1] = "attribute " .. key
    else
      left[#left + 1] = say(words, options[key], key, data[key], data, context, options.boolean or "on")
    end
  end
  return left[1] and table.concat(left, ", ") or nil
end

return M
