-- The expressions of --filter, as scols-filter(5) describes them: comparisons of columns, numbers and texts, =~ and !~ with a POSIX regular
-- expression, and, or, not, parentheses.

local host = require "nslua.host"

local SAME = { eq = "==", ne = "!=", lt = "<", le = "<=", gt = ">", ge = ">=", ["and"] = "&&", ["or"] = "||", ["not"] = "!" }

local POWER = { K = 1, M = 2, G = 3, T = 4, P = 5, E = 6 }

-- "2K" and "2KiB" are 2048, "2KB" is 2000; nil: no number, or more follows than its unit.
local function number(text)
  local digits, unit, rest = text:match "^(%d+%.?%d*)([KMGTPE]?)([%a_]*)"
  if not digits or rest ~= "" and (unit == "" or rest ~= "B" and rest ~= "iB") then
    return nil
  end
  local value = unit == "" and digits or ("%.0f"):format(tonumber(digits) * (rest == "B" and 1000 or 1024) ^ POWER[unit])
  return digits .. unit .. rest, value
end

-- A list of { kind, text }: "name" "number" "text" "op".
local function words(expression)
  local out, at = {}, 1
  while true do
    at = expression:find("%S", at)
    if not at then
      return out
    end
    local rest = expression:sub(at)
    local quoted = rest:match '^"[^"]*"' or rest:match "^'[^']*'"
    local digits, value = number(rest)
    local name = rest:match "^[%a_][%w_%%.-]*"
    local op = rest:match "^[=!<>]=" or rest:match "^[=!]~" or rest:match "^&&" or rest:match "^||" or rest:match "^[<>()!]"
    local word = quoted or digits or name or op
    if not word then
      return nil, ("'%s' at %d"):format(rest:sub(1, 10), at)
    end
    local kind = quoted and "text" or digits and "number" or name and not SAME[name:lower()] and "name" or "op"
    out[#out + 1] = { kind, quoted and quoted:sub(2, -2) or value or kind == "op" and SAME[word:lower()] or word }
    at = at + #word
  end
end

local function compare(op, a, b)
  local x, y = tonumber(a), tonumber(b)
  if not (x and y) then
    x, y = tostring(a == nil and "" or a), tostring(b == nil and "" or b)
  end
  if op == "==" then
    return x == y
  elseif op == "!=" then
    return x ~= y
  elseif a == nil or b == nil then
    return false
  elseif op == "<" then
    return x < y
  elseif op == "<=" then
    return x <= y
  elseif op == ">" then
    return x > y
  end
  return x >= y
end

---@param expression string
---@param known table<string, any>  columns
---@return { accepts: (fun(line: table): boolean), columns: fun(set: table) }?
---@return string? message
return function(expression, known)
  local list, message = words(expression)
  if not list then
    return nil, message
  end
  local at, used = 1, {}
  local either

  local function fail(what)
    error({ what or list[at] and ("unexpected '%s'"):format(list[at][2]) or "it ends too early" }, 0)
  end
  local function take(op)
    if list[at] and list[at][1] == "op" and list[at][2] == op then
      at = at + 1
      return true
    end
  end
  local function operand()
    local word = list[at]
    if not word or word[1] == "op" then
      fail()
    end
    at = at + 1
    if word[1] == "name" then
      local name = word[2]:upper()
      if word[2]:lower() == "true" or word[2]:lower() == "false" then
        return function() return word[2]:lower() == "true" end, word
      elseif not known[name] then
        fail(("unknown column '%s'"):format(word[2]))
      end
      used[name] = true
      return function(line)
        local value = line[name]
        return type(value) == "table" and table.concat(value, "\n") or value
      end, word
    end
    return function() return word[2] end, word
  end
  local function primary()
    if take "(" then
      local inner = either()
      return take ")" and inner or fail()
    elseif take "!" then
      local inner = primary()
      return function(line) return not inner(line) end
    end
    local left = operand()
    local op = list[at] and list[at][1] == "op" and list[at][2]
    if op == "=~" or op == "!~" then
      at = at + 1
      local _, word = operand()
      local ok, regex = pcall(host.regex, word[2])
      if not ok then
        fail(regex)
      end
      return function(line)
        local value = left(line)
        return regex(tostring(value == nil and "" or value)) == (op == "=~")
      end
    elseif op and op:find "^[=!<>]" and op ~= "!" then
      at = at + 1
      local right = operand()
      return function(line) return compare(op, left(line), right(line)) end
    end
    return function(line) -- a column alone: whether it says something
      local value = left(line)
      return value ~= nil and value ~= false and value ~= "" and value ~= 0 and value ~= "0"
    end
  end
  local function both()
    local left = primary()
    while take "&&" do
      local a, b = left, primary()
      left = function(line) return a(line) and b(line) end
    end
    return left
  end
  function either()
    local left = both()
    while take "||" do
      local a, b = left, both()
      left = function(line) return a(line) or b(line) end
    end
    return left
  end

  local ok, accepts = pcall(function()
    local f = either()
    return list[at] and fail() or f
  end)
  if not ok then
    return nil, type(accepts) == "table" and accepts[1] or error(accepts, 0)
  end
  return {
    accepts = accepts,
    columns = function(set)
      for name in pairs(used) do
        set[name] = true
      end
    end,
  }
end
