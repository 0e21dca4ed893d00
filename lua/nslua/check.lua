-- Checks of what callers pass: types, and keys against the known ones. Misuse raises at the caller's line.

local errors = require "nslua.error"

local M = {}

-- Damerau-Levenshtein with adjacent swaps, for "did you mean".
local function distance(a, b)
  local rows = {}
  for i = 0, #a do
    rows[i] = { [0] = i }
  end
  for j = 0, #b do
    rows[0][j] = j
  end
  for i = 1, #a do
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, rows[i - 2][j - 2] + 1)
      end
      rows[i][j] = best
    end
  end
  return rows[#a][#b]
end

-- Whether the shorter of two words begins the longer one ("net", "network"); a single letter begins too much.
local function begins(a, b)
  local n = math.min(#a, #b)
  return n > 1 and a:sub(1, n) == b:sub(1, n)
end

---The name in `known` (a set or a list) nearest to `word`, or nil where none is near: a few letters apart, else the beginning of it or begun by it.
---@param word string
---@param known table<string, any>|string[]
---@return string?
function M.nearest(word, known)
  if #word > 100 then
    return nil
  end
  local lower = word:lower()
  local most = math.min(#word - 1, math.max(2, math.floor(#word / 3)))
  local best, best_distance, best_far
  for k, v in pairs(known) do
    local name = type(k) == "number" and v or k
    if type(name) == "string" then
      local d = distance(lower, name:lower())
      local far = d > most
      if not far or begins(lower, name:lower()) then
        local closer = best_far and not far or far == best_far and (d < best_distance or d == best_distance and name < best)
        if best == nil or closer then
          best, best_distance, best_far = name, d, far
        end
      end
    end
  end
  return best
end

---"unknown key 'nmae' (did you mean 'name'?)"
---@param what string  "key", "kind", "namespace type"
---@param word any
---@param known table
---@return string
function M.unknown(what, word, known)
  local near = type(word) == "string" and M.nearest(word, known)
  return ("unknown %s '%s'%s"):format(what, errors.short(tostring(word)), near and (" (did you mean '%s'?)"):format(near) or "")
end

local function accepts(spec, value)
  if spec == true or spec == "any" then
    return true
  end
  local t = type(value)
  for want in spec:gmatch "[^|]+" do
    if want == t then
      return true
    elseif want == "integer" and t == "number" and value == math.floor(value) and value - value == 0 then -- no infinity
      return true
    elseif want == "false" and value == false then
      return true
    elseif t == "number" then
      local least, most = want:match "^(%d+)%-(%d+)$"
      if least and value >= tonumber(least) and value <= tonumber(most) and value == math.floor(value) then
        return true
      end
    end
  end
  return false
end

---Check a table of options: every key known, every value of a type it takes.
---@param call string                    what is called, for the message: "link.add"
---@param t any                          the options
---@param known table<string|integer, string|true>  key to "string|integer|false" (or a range of integers: "0-65535"), or true for anything
function M.options(call, t, known)
  if type(t) ~= "table" then
    errors.misuse("%s: a table expected, got %s", call, type(t))
  end
  for k, v in pairs(t) do
    local spec = known[k]
    if spec == nil then
      errors.misuse("%s: %s", call, M.unknown("key", k, known))
    elseif not accepts(spec, v) then
      errors.misuse("%s: %s must be %s, got %s", call, type(k) == "number" and "[" .. k .. "]" or k,
        spec:gsub("|", " or "), type(v) == "number" and tostring(v) or type(v))
    end
  end
end

---Check one argument's type.
---@param call string
---@param name string
---@param value any
---@param spec string  "string|integer"
function M.argument(call, name, value, spec)
  if not accepts(spec, value) then
    errors.misuse("%s: %s must be %s, got %s", call, name, (spec:gsub("|", " or ")), type(value))
  end
end

return M
