-- Completion of Lua names: globals, and what follows a dot or a colon.

local M = {}

local function add_keys(out, from)
  for key in next, from do
    if type(key) == "string" and key:find "^[%a_][%w_]*$" and not key:find "^__" then
      out[key] = true
    end
  end
end

-- What a value can be asked for: its own keys, those its metatable leads to, and those it says in `__keys`.
local function keys_of(value, out, depth)
  if type(value) == "table" then
    add_keys(out, value)
  end
  local mt = getmetatable(value)
  if type(mt) ~= "table" or depth > 4 then
    return out
  end
  local said = type(mt.__keys) == "function" and mt.__keys(value) or mt.__keys
  for _, from in ipairs(said or {}) do
    keys_of(from, out, depth + 1)
  end
  if type(mt.__index) == "table" then
    keys_of(mt.__index, out, depth + 1)
  end
  return out
end

local function get(value, key)
  return value[key]
end

---Names that begin as the word does. Nothing is called.
---@param env table     globals
---@param word string   "pri", "h1:pi", "ns.container.fi"
---@return string[]
function M.complete(env, word)
  local base, separator, begin = word:match "^(.-)([.:]?)([%w_]*)$"
  local value = env
  if base ~= "" or separator ~= "" then
    if not base:find "^[%a_][%w_.:]*$" then
      return {}
    end
    for name in base:gmatch "[%a_][%w_]*" do
      local ok, found = pcall(get, value, name)
      if not ok or found == nil then
        return {}
      end
      value = found
    end
  end
  local out = {}
  for key in pairs(keys_of(value, {}, 0)) do
    if key:sub(1, #begin) == begin and (begin ~= "" or not key:find "^_") then
      local ok, found = true, nil
      if separator == ":" then
        ok, found = pcall(get, value, key)
      end
      if separator ~= ":" or ok and type(found) == "function" then
        out[#out + 1] = base .. separator .. key
      end
    end
  end
  table.sort(out)
  return out
end

return M
