-- The axes of a chart: where its ticks are, what stands at them, and where a value is.

local errors = require "nslua.error"
local units = require "nslua.units"

local M = {}

local prefixes = { { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" }, { 1, "" }, { 1e-3, "m" }, { 1e-6, "µ" }, { 1e-9, "n" } }

---A number with its unit, as people write it: 9.4e7, "bit/s" -> "94 Mbit/s".
---@param value number
---@param unit? string
---@return string
function M.number(value, unit)
  if value == 0 or value ~= value or value == math.huge or value == -math.huge then
    return ("%g"):format(value) .. (unit and " " .. unit or "")
  elseif unit == "%" then
    return ("%.4g %%"):format(value)
  end
  local size = math.abs(value) * (1 + 1e-9)
  for i, prefix in ipairs(prefixes) do
    local small_alone = prefix[1] < 1 and unit ~= "s" -- only time is told in thousandths
    if size >= prefix[1] or i == #prefixes or small_alone then
      local scale = small_alone and 1 or prefix[1]
      return ("%.4g"):format(value / scale) .. (unit and " " or "") .. (small_alone and "" or prefix[2]) .. (unit or "")
    end
  end
end

-- 1, 2 or 5 of a power of ten.
local function nice_step(span, most)
  local raw = span / most
  local power = 10 ^ math.floor(math.log(raw, 10))
  for _, factor in ipairs { 1, 2, 5, 10 } do
    if factor * power >= raw * (1 - 1e-9) then
      return factor * power
    end
  end
end

---A linear axis that begins at zero where the values allow it to.
---@param low number
---@param high number
---@param most integer  ticks
---@return { low: number, high: number, ticks: number[], at: fun(value: number): number }  at: from 0 to 1
function M.linear(low, high, most)
  if low > 0 and low < 0.6 * high then
    low = 0
  end
  if low == high then
    low, high = low == 0 and 0 or math.min(low, 0), high == 0 and 1 or math.max(high, 0)
  end
  local step = nice_step(high - low, most)
  local first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  local ticks = {}
  for i = first, last do
    ticks[#ticks + 1] = i * step
  end
  local from, to = first * step, last * step
  return { low = from, high = to, ticks = ticks, at = function(value)
    return (value - from) / (to - from)
  end }
end

---A logarithmic axis.
function M.log(low, high, name)
  if low <= 0 then
    errors.misuse("sweep.svg: %s has values that are not above zero: a logarithmic axis cannot show them", name)
  end
  local from, to = math.floor(math.log(low, 10) + 1e-9), math.ceil(math.log(high, 10) - 1e-9)
  to = math.max(to, from + 1)
  local ticks = {}
  for power = from, to do
    for _, factor in ipairs(to - from <= 2 and { 1, 2, 5 } or { 1 }) do
      if power < to or factor == 1 then
        ticks[#ticks + 1] = factor * 10.0 ^ power
      end
    end
  end
  return { low = 10.0 ^ from, high = 10.0 ^ to, ticks = ticks, at = function(value)
    return (math.log(value, 10) - from) / (to - from)
  end }
end

local kinds = { { units.duration, "s" }, { units.rate, "bit/s" }, { units.size, "B" } }

-- Numbers of texts that all have units of one kind, else nil.
local function parsed(values)
  local percent = {}
  for i, value in ipairs(values) do
    percent[i] = type(value) == "string" and tonumber(value:match "^%s*([%d.]+)%s*%%$") or value == 0 and 0 or nil
  end
  if #percent == #values and #values > 0 then
    return percent
  end
  for _, kind in ipairs(kinds) do
    local out = {}
    for i, value in ipairs(values) do
      local ok, number = false, nil
      if type(value) ~= "boolean" then
        ok, number = pcall(kind[1], value)
      end
      out[i] = ok and number or nil
      if not ok then
        break
      end
    end
    if #out == #values then
      return out
    end
  end
end

---The axis of a parameter: each value has its place and its label.
---@param parameter nslua.sweep.Parameter
---@param scale? "linear"|"log"|"even"
---@param unit? string
---@return { places: table<any, number>, ticks: { place: number, label: string }[], numeric: boolean }
function M.of_parameter(parameter, scale, unit)
  local values, numbers = parameter.values, nil
  if math.type(values[1]) then
    numbers = values
    for _, value in ipairs(values) do
      numbers = math.type(value) and numbers or nil
    end
  end
  numbers = numbers or parsed(values)
  if not numbers and scale and scale ~= "even" then
    errors.misuse("sweep.svg: the values of %s are no numbers: only the scale \"even\" can show them", parameter.name)
  end
  local sorted = numbers and table.move(numbers, 1, #numbers, 1, {})
  if sorted then
    table.sort(sorted)
  end
  if not scale then
    local least, most = math.huge, 0
    for i = 2, sorted and #sorted or 0 do
      least, most = math.min(least, sorted[i] - sorted[i - 1]), math.max(most, sorted[i] - sorted[i - 1])
    end
    scale = sorted and #sorted > 1 and most <= 8 * least and "linear" or "even"
  end
  local out = { places = {}, ticks = {}, numeric = sorted ~= nil }
  local function label(value)
    return math.type(value) and M.number(value, unit) or tostring(value)
  end
  if scale == "even" then
    local order = {}
    for i, value in ipairs(values) do
      order[i] = { value, sorted and numbers[i] or i }
    end
    table.sort(order, function(a, b)
      return a[2] < b[2]
    end)
    for i, each in ipairs(order) do
      local place = #order == 1 and 0.5 or (i - 0.5) / #order
      out.places[each[1]] = place
      out.ticks[i] = { place = place, label = label(each[1]) }
    end
    return out
  end
  local axis = scale == "log" and M.log(sorted[1], sorted[#sorted], parameter.name) or M.linear(sorted[1], sorted[#sorted], 8)
  for i, value in ipairs(values) do
    out.places[value] = axis.at(numbers[i])
    out.ticks[i] = { place = out.places[value], label = label(value) }
  end
  return out
end

return M
