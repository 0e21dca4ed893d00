-- Values as a prompt shows them: of a table what is in it.

local M = {}

local DEEPEST, MOST, WIDTH = 3, 64, 100

local function is_plain(value)
  local meta = type(value) == "table" and getmetatable(value) or nil
  return type(value) == "table" and (not meta or type(meta) == "table" and not meta.__tostring and not meta.__name)
end

local function key_text(key)
  return type(key) == "string" and key:find "^[%a_][%w_]*$" and key or ("[%s]"):format(type(key) == "string" and ("%q"):format(key) or tostring(key))
end

local function text(value, depth, indent)
  if not is_plain(value) then
    return type(value) == "string" and depth > 1 and ("%q"):format(value) or tostring(value)
  elseif depth > DEEPEST then
    return "{ ... }"
  end
  local keys, parts, length = {}, {}, 0
  for key in next, value do
    if math.type(key) ~= "integer" or key < 1 or key > #value then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  local function put(prefix, item)
    parts[#parts + 1] = prefix .. text(item, depth + 1, indent .. "  ")
    length = length + #parts[#parts] + 2
  end
  for i = 1, math.min(#value, MOST) do
    put("", value[i])
  end
  if #value > MOST then
    parts[#parts + 1] = ("... %d more"):format(#value - MOST)
  end
  for _, key in ipairs(keys) do
    put(key_text(key) .. " = ", value[key])
  end
  if not parts[1] then
    return "{}"
  elseif length + #indent <= WIDTH and not table.concat(parts):find("\n", 1, true) then
    return "{ " .. table.concat(parts, ", ") .. " }"
  end
  return "{\n" .. indent .. "  " .. table.concat(parts, ",\n" .. indent .. "  ") .. "\n" .. indent .. "}"
end

---@param value any
---@return string
function M.text(value)
  return text(value, 1, "")
end

return M
