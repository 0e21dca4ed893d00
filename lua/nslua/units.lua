-- Durations, rates, sizes and fractions: plain numbers, or text with a unit.

local errors = require "nslua.error"

local M = {}

local function parse(what, value, units, example)
  if type(value) == "number" then
    if value ~= value then
      errors.misuse("%s is no number (0/0)", what)
    end
    return value
  end
  if type(value) ~= "string" then
    errors.misuse("%s must be a number or text like %q, got %s", what, example, type(value))
  end
  local number, unit = value:match "^%s*([-+]?%d*%.?%d+)%s*(%a*%%?)%s*$"
  local factor = number and units[unit:lower()]
  if not factor then
    errors.misuse("%s: cannot read %q (write it like %q)", what, value, example)
  end
  return tonumber(number) * factor
end

local durations = { [""] = 1, s = 1, sec = 1, ms = 1e-3, us = 1e-6, ns = 1e-9, m = 60, min = 60, h = 3600 }

---Seconds of a duration: 0.01 or "10ms".
---@param value number|string
---@param what? string
---@return number seconds
function M.duration(value, what)
  return parse(what or "duration", value, durations, "10ms")
end

local rates = { [""] = 1, bit = 1, kbit = 1e3, mbit = 1e6, gbit = 1e9, tbit = 1e12 }

---Bits per second of a rate: 100e6 or "100mbit". "mbps" raises: tc(8) means bytes by it, everybody else bits.
---@param value number|string
---@param what? string
---@return number bits_per_second
function M.rate(value, what)
  if type(value) == "string" and value:lower():find "bps" then
    errors.misuse("%s: %q is bytes to tc(8) and bits to others; write bit, kbit, mbit or gbit", what or "rate", value)
  end
  return parse(what or "rate", value, rates, "100mbit")
end

local sizes = { [""] = 1, b = 1, k = 1024, kb = 1024, kib = 1024, m = 1048576, mb = 1048576, mib = 1048576,
  g = 1073741824, gb = 1073741824, gib = 1073741824 }

---Bytes of a size: 65536 or "64kb" (1024, as in tc(8)).
---@param value number|string
---@param what? string
---@return number bytes
function M.size(value, what)
  return parse(what or "size", value, sizes, "64kb")
end

---A fraction from 0 to 1: 0.01 or "1%".
---@param value number|string
---@param what? string
---@return number
function M.fraction(value, what)
  local f = parse(what or "fraction", value, { [""] = 1, ["%"] = 0.01 }, "1%")
  if f < 0 or f > 1 then
    errors.misuse("%s: %s is not between 0 and 1 (or 0%% and 100%%)", what or "fraction", tostring(value))
  end
  return f
end

return M
