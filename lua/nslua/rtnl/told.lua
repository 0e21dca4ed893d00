-- Values of filters as the kernel would tell them.

local check = require "nslua.check"
local errors = require "nslua.error"
local schema = require "nslua.schema"

local M = {}

local none = {}

-- Keys of an object's messages that rows have as they are.
local function plain_keys(object)
  local keys = object.plain_keys
  if not keys then
    keys = {}
    object.plain_keys = keys
    local message, computed = schema.messages[object.message or object.name], object.class.computed or none
    for _, list in ipairs { message.head and schema.book.structs[message.head].members or none, schema.book.sets[message.attrs].fields or none } do
      for _, field in ipairs(list) do
        keys[field.key or ""] = not computed[field.key] or nil
      end
    end
  end
  return keys
end

---The value that a filter asks for, as rows have it: one that no message can hold is misuse, as it is in `add`.
---@param object nslua.Object
---@param key string
---@param value any
---@param call string
---@return any
function M.value(object, key, value, call)
  local how = object.class.computed and object.class.computed[key]
  if value == false then
    return value
  elseif type(how) == "table" and how.how == "flag" then
    check.argument(call, key, value, "boolean")
  elseif plain_keys(object)[key] then
    local name = object.message or object.name
    local S = object.schema or schema.compile(name)
    local ok, bytes = pcall(S.encode, S, { [key] = value })
    if not ok then
      local said = errors.without_place(bytes):gsub("^" .. name .. "%.", "")
      errors.misuse("%s: %s", call, said)
    elseif type(value) ~= "table" then
      return S:decode(bytes)[key]
    end
  end
  return value
end

return M
