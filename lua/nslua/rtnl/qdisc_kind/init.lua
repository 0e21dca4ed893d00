-- Kinds of queueing disciplines and of their classes: what is known of each, and the words of its options with their units (tc(8)).
-- A kind is a table (see fifo.lua, tbf.lua, netem.lua).

local check = require "nslua.check"
local errors = require "nslua.error"
local handle = require "nslua.rtnl.handle"
local psched = require "nslua.rtnl.psched"
local schema = require "nslua.schema"
local units = require "nslua.units"

local M = {}

---@class nslua.QdiscKind
---@field kind string
---@field words? table<string, string>   a word of its options and its unit: a key of `units_of` below
---@field only_read? table<string, true>  words that rows have and nobody writes
---@field untold? table<string, true>    words that the kernel takes and does not tell
---@field needed? boolean                it is nothing without options
---@field partial? boolean               the kernel keeps what a change does not say
---@field zero? table<string, any>       words that the kernel keeps where a change does not say them, and what is as if never said
---@field born? table<string, true>      words that the kernel takes when it is made, and refuses later
---@field unsay? fun(words: table, new: table)  takes away what the kernel or we have worked out of what `new` changes
---@field near? table<string, number>    words that the kernel rounds: what is so little off is the same
---@field instead? table<string, string> words that say the same thing in two ways: one of them unsays the other
---@field type? string                   the type of TCA_OPTIONS, as in a schema; default: a nest of `attributes`, after `head`
---@field header? string                 where `attributes` are numbered; default "linux/pkt_sched.h"
---@field prefix? string
---@field attributes? string
---@field head? string                   struct in front of the attributes
---@field xstats? string                 type of what it counts beyond `stats`
---@field write? fun(data: table, call: string, context: table?): table?  words in units of the wire into keys, in place or anew
---@field read? fun(data: table, row?: table): table?    keys into words, in place or anew
---@field restored? fun(data: table)    makes what the kernel told what it takes
---@field describe? fun(xstats: table): table            xstats in units of people
---@field classes? nslua.QdiscKind       its classes

local U32 = 4294967295

local function whole(value, what)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 0 then
    errors.misuse("%s must be a whole number, got %s", what, type(value) == "number" and tostring(value) or type(value))
  end
  return value
end

local function positive(value, what)
  if value < 0 then
    errors.misuse("%s: %s is below 0", what, tostring(value))
  end
  return value
end

local function rounded(value)
  return math.floor(value + 0.5)
end

-- The shortest decimal fraction that is the same 32 bits.
local function fraction_of(value)
  local exact = value / U32
  for digits = 1, 10 do
    local short = tonumber(("%." .. digits .. "g"):format(exact))
    if rounded(short * U32) == value then
      return short
    end
  end
  return exact
end

local function duration(scale)
  return {
    to = function(value, what)
      return rounded(positive(units.duration(value, what), what) * scale)
    end,
    from = function(value)
      return value / scale
    end,
  }
end

---What a word's value is, and what the wire holds of it.
---@type table<string, { to: (fun(value: any, what: string): any), from: (fun(value: any): any) }>
local units_of = {
  count = { to = whole },
  size = { to = function(value, what)
    return rounded(positive(units.size(value, what), what))
  end },
  signed = { to = function(value, what)
    if type(value) ~= "number" or value % 1 ~= 0 then
      errors.misuse("%s must be a whole number, got %s", what, tostring(value))
    end
    return value
  end },
  -- 64 bits, as rows have them: what a kernel chose may read below 0, or as text where Lua has no such numbers
  bits64 = { to = function(value, what)
    if not (type(value) == "number" and value % 1 == 0 or type(value) == "string" and value:match "^%d+$") then
      errors.misuse("%s must be a whole number, got %s", what, tostring(value))
    end
    return value
  end },
  seconds = duration(1), us = duration(1e6), ns = duration(1e9),
  -- bytes per second on the wire
  rate = { to = function(value, what)
    return math.floor(positive(units.rate(value, what), what) / 8)
  end, from = function(value)
    return value * 8
  end },
  fraction = { to = function(value, what)
    return rounded(units.fraction(value, what) * U32)
  end, from = fraction_of },
  yes_no = { to = function(value, what)
    if type(value) ~= "boolean" then
      errors.misuse("%s must be true or false, got %s", what, type(value))
    end
    return value and 1 or 0
  end, from = function(value)
    return value ~= 0
  end },
  boolean = { to = function(value, what)
    if type(value) ~= "boolean" then
      errors.misuse("%s must be true or false, got %s", what, type(value))
    end
    return value
  end },
  linklayer = { to = function(value, what)
    local number = psched.linklayers[value == "adsl" and "atm" or value]
    if not number then
      errors.misuse("%s: %s", what, check.unknown("linklayer", value, psched.linklayers))
    end
    return number
  end, from = function(value)
    return psched.linklayer_names[value % 16] or value
  end },
  handle = { to = function(value, what)
    return handle.number(value, what, "a handle")
  end, from = handle.text },
  any = {}, -- the kind's own affair
}

---Take one value of a unit to the wire: for what stands deeper than the words.
---@param unit string
---@param value any
---@param what string
---@return any
function M.to(unit, value, what)
  return units_of[unit].to(value, what)
end

---And back.
---@param unit string
---@param value any
---@return any
function M.from(unit, value)
  return units_of[unit].from(value)
end

---@type table<string, nslua.QdiscKind>
M.kinds = {}
---@type table<string, nslua.QdiscKind>  by the kind of the qdisc they are of
M.classes = {}

---Declare what a kind's messages hold.
---@param kind nslua.QdiscKind
---@param name string
---@param of "qdisc"|"class"|"filter"
local function declare(kind, name, of)
  local text = kind.type
  if kind.attributes then
    local set = of .. "_" .. name
    schema.set(set, { header = kind.header or "linux/pkt_sched.h", prefix = kind.prefix }, kind.attributes)
    text = kind.head and ("nest(%s,%s)"):format(set, kind.head) or ("nest(%s)"):format(set)
  end
  if text then
    schema.kind(of .. "_options", name, text)
  end
  if kind.xstats then
    schema.kind(of .. "_xstats", name, kind.xstats)
  end
  kind.kind, kind.words = name, kind.words or {}
end
M.declare = declare

---Add a kind.
---@param kind nslua.QdiscKind
function M.define(kind)
  declare(kind, kind.kind, "qdisc")
  M.kinds[kind.kind] = kind
  if kind.classes then
    declare(kind.classes, kind.kind, "class")
    M.classes[kind.kind] = kind.classes
  end
end

---The keys of the wire for the words of a kind.
---@param call string
---@param kind nslua.QdiscKind
---@param words table
---@param context? table  what a kind of filter wants to know besides
---@return any
function M.write(call, kind, words, context)
  if type(words) ~= "table" then
    errors.misuse("%s: %s must be a table of its options, got %s", call, kind.kind, type(words))
  end
  local data = {}
  for word, value in pairs(words) do
    local unit = kind.words[word]
    if not unit then
      errors.misuse("%s: %s: %s", call, kind.kind, check.unknown("key", word, kind.words))
    elseif kind.only_read and kind.only_read[word] then
      errors.misuse("%s: %s: %s is told, not set", call, kind.kind, word)
    end
    local to = units_of[unit].to
    data[word] = to and to(value, call .. ": " .. word) or value
  end
  return kind.write and kind.write(data, call, context) or data
end

---The words for the keys of the wire.
---@param kind nslua.QdiscKind
---@param raw table  a decoded TCA_OPTIONS; not changed
---@param row? table
---@return table
function M.read(kind, raw, row)
  local data = {}
  for key, value in pairs(raw) do
    data[key] = value
  end
  data = kind.read and kind.read(data, row) or data
  local words = {}
  for word, value in pairs(data) do
    local unit = kind.words[word]
    if unit then
      local from = units_of[unit].from
      if from then
        words[word] = from(value)
      else
        words[word] = value
      end
    end
  end
  return words
end

---Words over what is there: what a change is to send, as the kernel takes them all together.
---@param kind nslua.QdiscKind
---@param old table
---@param new table  false: as if never said
---@param sending? boolean  without what a change may not say again
---@return table
function M.merge(kind, old, new, sending)
  local words = {}
  for word, value in pairs(sending and kind.partial and {} or old) do
    local other = kind.instead and kind.instead[word]
    if not (kind.only_read and kind.only_read[word]) and not (other and new[other] ~= nil) then
      words[word] = value
    end
  end
  if kind.unsay then
    kind.unsay(words, new)
  end
  -- of two words for one thing the row has both
  for one, other in pairs(kind.instead or {}) do
    if words[one] ~= nil and words[other] ~= nil then
      words[one < other and one or other] = nil
    end
  end
  for word, value in pairs(new) do
    if value == false and kind.words[word] ~= "yes_no" and kind.words[word] ~= "boolean" then
      words[word] = kind.zero and kind.zero[word]
    else
      words[word] = value
    end
  end
  for word in pairs(sending and kind.born or {}) do
    if new[word] == old[word] then
      words[word] = nil
    end
  end
  return words
end

---Whether a value is as wanted: numbers that are off by `near` are.
---@param wanted any
---@param found any
---@param near? number
---@return boolean
local function alike(wanted, found, near)
  if type(wanted) == "table" and type(found) == "table" then
    for key, value in pairs(wanted) do
      if not alike(value, found[key], near) then
        return false
      end
    end
    return true
  elseif found == nil then
    return wanted == 0 or wanted == false
  elseif near and type(wanted) == "number" and type(found) == "number" then
    return math.abs(wanted - found) <= math.max(near, found * 5e-4)
  end
  return wanted == found
end

M.alike = alike

---Whether the words are how it is: each, as it would be told by the kernel.
---@param kind nslua.QdiscKind
---@param wanted table  words, as given
---@param found table   words, as read
---@param told fun(words: table): table  words as the kernel would tell them
---@return boolean
function M.same(kind, wanted, found, told)
  local expected = told(M.merge(kind, found, wanted))
  for word in pairs(wanted) do
    if not (kind.untold and kind.untold[word]) and not alike(expected[word], found[word], kind.near and kind.near[word]) then
      return false
    end
  end
  return true
end

return M
