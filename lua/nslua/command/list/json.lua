-- JSON as ip -j and ip -j -p print it: the keys of an object stay in the order in which they were added.

local schema = require "nslua.schema"

local M = {}

---@class nslua.list.Object
local Object = {}
Object.__index = Object

---An object without keys.
---@return nslua.list.Object
function M.object()
  return setmetatable({}, Object)
end

M.null = setmetatable({}, { __name = "null" })

-- A number with that many digits behind its point.
local Fixed = {}

---@param value number
---@return table
function M.hundredths(value)
  return setmetatable({ ("%.2f"):format(value) }, Fixed)
end

---Add a key; nil adds none.
---@param key string
---@param value any  a plain table is a list
---@return nslua.list.Object self
function Object:add(key, value)
  if value ~= nil then
    self[#self + 1] = { key, value }
  end
  return self
end

local INDENT = "    "

---@param value any
---@param pretty? boolean
---@param depth? integer
---@return string
function M.text(value, pretty, depth)
  depth = depth or 0
  local class = getmetatable(value)
  if value == M.null then
    return "null"
  elseif class == Fixed then
    return value[1]
  elseif type(value) ~= "table" then
    if math.type(value) == "float" and value % 1 == 0 then
      value = math.tointeger(value)
    end
    return schema.json(value)
  end
  local parts, is_object = {}, class == Object
  for i, entry in ipairs(value) do
    if is_object then
      parts[i] = schema.json(entry[1]) .. (pretty and ": " or ":") .. M.text(entry[2], pretty, depth + 1)
    else
      parts[i] = M.text(entry, pretty, depth + 1)
    end
  end
  if is_object and pretty and parts[1] then
    local stop = "\n" .. INDENT:rep(depth)
    return "{" .. stop .. INDENT .. table.concat(parts, "," .. stop .. INDENT) .. stop .. "}"
  end
  local text = table.concat(parts, ",")
  if is_object then
    return "{" .. text .. "}"
  end
  return pretty and (text == "" and "[ ]" or ("[ %s ]"):format(text)) or "[" .. text .. "]"
end

return M
