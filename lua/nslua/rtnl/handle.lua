-- Handles of tc(8): "1:" is a qdisc, "1:10" a class of it; both numbers are hexadecimal. And the places that have names.

local errors = require "nslua.error"

local M = {}

-- linux/pkt_sched.h: TC_H_ROOT, TC_H_INGRESS (which TC_H_CLSACT is, too), TC_H_MIN_INGRESS, TC_H_MIN_EGRESS
M.ROOT, M.INGRESS = 0xffffffff, 0xfffffff1
local BLOCK_INGRESS, BLOCK_EGRESS = 0xfffffff2, 0xfffffff3
local MOST = 0xffffffff

-- "ingress" is where the qdisc of that name is attached, and where the filters of it are: tc(8) has two numbers for the word.
local places = {
  qdisc = { root = M.ROOT, ingress = M.INGRESS, clsact = M.INGRESS },
  class = { root = M.ROOT },
  filter = { root = M.ROOT, ingress = BLOCK_INGRESS, egress = BLOCK_EGRESS },
}

---The number of a handle: text as tc(8) writes it, a place, or the number itself.
---@param value any
---@param call string
---@param key string     for the message
---@param object? "qdisc"|"class"|"filter"  whose places are known
---@return integer
function M.number(value, call, key, object)
  if type(value) == "number" then
    if value < 0 or value > MOST or value % 1 ~= 0 then
      errors.misuse("%s: %s %s is no handle", call, key, tostring(value))
    end
    return value
  elseif type(value) ~= "string" then
    errors.misuse("%s: %s must be text like \"1:10\", or a number, got %s", call, key, type(value))
  end
  local place = places[object] and places[object][value]
  if place then
    return place
  end
  local major, minor = value:match "^(%x*):(%x*)$"
  if not major or value == ":" or #major > 4 or #minor > 4 then
    local words = {}
    for word in pairs(places[object] or {}) do
      words[#words + 1] = (", %q"):format(word)
    end
    table.sort(words)
    errors.misuse("%s: %s %q is no handle: write it like \"1:\" or \"1:10\" (hexadecimal)%s", call, key, value, table.concat(words))
  end
  return (tonumber(major, 16) or 0) * 65536 + (tonumber(minor, 16) or 0)
end

---The number of the qdisc a handle is of.
---@param number integer
---@return integer
function M.major(number)
  return number - number % 65536
end

---A handle as tc(8) writes it; places by their names.
---@param number integer
---@param object? "qdisc"|"class"|"filter"
---@return string? text  nil for 0: none
function M.text(number, object)
  if number == 0 then
    return nil
  elseif number == M.ROOT then
    return "root"
  elseif object == "qdisc" and number == M.INGRESS then
    return "ingress"
  elseif object == "filter" and number == BLOCK_INGRESS then
    return "ingress"
  elseif object == "filter" and number == BLOCK_EGRESS then
    return "egress"
  end
  local minor = number % 65536
  return minor == 0 and ("%x:"):format(number / 65536) or ("%x:%x"):format((number - minor) / 65536, minor)
end

return M
