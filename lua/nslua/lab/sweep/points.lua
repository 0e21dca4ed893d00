-- The grid of a sweep: every combination of its parameters' values, in a fixed order, and a text of a lab with those values in it.

local errors = require "nslua.error"

local M = {}

M.reserved = { ["repeat"] = true, seed = true, error = true } -- other columns of the results

local scalar = { number = true, string = true, boolean = true }

-- A list of { name, values } as it stands; a table by name in the order of the names.
local function pairs_of(over)
  local list = {}
  if type(over) ~= "table" or next(over) == nil then
    errors.misuse "sweep: over = { delay = { \"1ms\", \"10ms\" } } expected: the parameters and their values"
  end
  if over[1] ~= nil then
    for i, each in ipairs(over) do
      if type(each) ~= "table" then
        errors.misuse("sweep: over[%d] is { name, values }, got %s", i, type(each))
      end
      list[i] = { each[1], each[2] }
    end
  else
    for name, values in pairs(over) do
      list[#list + 1] = { name, values }
    end
    table.sort(list, function(a, b)
      return tostring(a[1]) < tostring(b[1])
    end)
  end
  return list
end

---@class nslua.sweep.Parameter
---@field name string
---@field values any[]  numbers, strings, booleans; none twice

---The parameters of a sweep, checked, in their order.
---@param over table
---@return nslua.sweep.Parameter[]
function M.parameters(over)
  local out, names = {}, {}
  for i, each in ipairs(pairs_of(over)) do
    local name, values = each[1], each[2]
    if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" then
      errors.misuse("sweep: over: %q is no name of a parameter (letters, digits, _)", tostring(name))
    elseif M.reserved[name] then
      errors.misuse("sweep: over: %s is a column of the results already; another name is needed", name)
    elseif names[name] then
      errors.misuse("sweep: over: %s stands twice", name)
    elseif type(values) ~= "table" or values[1] == nil then
      errors.misuse("sweep: over.%s is a list of values, as { 1, 2, 3 }", name)
    end
    names[name] = true
    local seen = {}
    for k, value in ipairs(values) do
      if not scalar[type(value)] then
        errors.misuse("sweep: over.%s[%d] is a number, a text or a boolean, got %s", name, k, type(value))
      elseif value ~= value then
        errors.misuse("sweep: over.%s[%d] is no number (0/0)", name, k)
      elseif seen[tostring(value)] then
        errors.misuse("sweep: over.%s: %s stands twice", name, tostring(value))
      end
      seen[tostring(value)] = true
    end
    out[i] = { name = name, values = table.move(values, 1, #values, 1, {}) }
  end
  return out
end

---Every combination; the last parameter changes first.
---@param parameters nslua.sweep.Parameter[]
---@return table<string, any>[]
function M.grid(parameters)
  local out = { {} }
  for _, parameter in ipairs(parameters) do
    local more = {}
    for _, point in ipairs(out) do
      for _, value in ipairs(parameter.values) do
        local copy = {}
        for k, v in pairs(point) do
          copy[k] = v
        end
        copy[parameter.name] = value
        more[#more + 1] = copy
      end
    end
    out = more
  end
  return out
end

---What a point is called: "delay=1ms loss=0.01".
---@param parameters nslua.sweep.Parameter[]
---@param point table<string, any>
---@return string
function M.name(parameters, point)
  local out = {}
  for i, parameter in ipairs(parameters) do
    out[i] = parameter.name .. "=" .. tostring(point[parameter.name])
  end
  return table.concat(out, " ")
end

---A text with the values of a point where it says $name.
---@param text string
---@param point table<string, any>
---@return string
function M.fill(text, point)
  return (text:gsub("%$([%a_][%w_]*)", function(name)
    local value = point[name]
    if value == nil then
      local known = {}
      for each in pairs(point) do
        known[#known + 1] = "$" .. each
      end
      table.sort(known)
      errors.misuse("sweep: lab says $%s, which is no parameter; there are %s", name, table.concat(known, ", "))
    end
    return tostring(value)
  end))
end

return M
