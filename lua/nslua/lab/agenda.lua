-- What links were told to do later (at, flap, replay), as data that other processes and drawings have, and as a few words.

local core = require "nslua.core"
local schedule = require "nslua.schedule"
local text = require "nslua.lab.text"
local topologies = require "nslua.lab.topology"
local units = require "nslua.units"

local M = {}

local traced = { "delay", "jitter", "loss", "rate" }

---@class nslua.lab.Entry  of one call, in numbers
---@field kind "at"|"flap"|"replay"
---@field began number       of ns.clock()
---@field lasts number?      seconds until its last step; nil: it goes on and on
---@field after number?      of at and flap: seconds
---@field to? table|false    of at: words; of replay: traces, as they were said
---@field from? table|false
---@field up boolean|number|nil   of at; of flap: seconds
---@field down number?       of flap: seconds
---@field count integer?
---@field loop boolean|number|nil

local function entry(kind, fields)
  fields.kind, fields.began = kind, core.fd.clock()
  return fields
end

-- Words of one direction, as numbers; those that are taken away are false.
local function numbers(words, way)
  if not words then
    return words
  end
  local out = topologies.link({ "a", "b", [way] = words })[way] or {}
  for word, value in pairs(words) do
    if value == false then
      out[word] = false
    end
  end
  return out
end

---@param after number|string
---@param t table  as of link:at, each direction apart
---@return nslua.lab.Entry
function M.at(after, t)
  local seconds = units.duration(after)
  return entry("at", { after = seconds, lasts = seconds, to = numbers(t.to, "to"), from = numbers(t.from, "from"), up = t.up })
end

---@param t nslua.Flap
---@return nslua.lab.Entry
function M.flap(t)
  local down, up, after = units.duration(t.down), t.up and units.duration(t.up), t.after and units.duration(t.after) or 0
  return entry("flap", { down = down, up = up, count = t.count, after = after,
    lasts = t.count and after + (t.count - 1) * (down + (up or 0)) + down })
end

---@param t nslua.Replay
---@return nslua.lab.Entry
function M.replay(t)
  local out, lasts = { to = {}, from = {} }, 0
  for _, way in ipairs { "to", "from" } do
    for _, word in ipairs(traced) do
      local trace = t[way] and t[way][word] or t[word]
      out[way][word] = trace
    end
  end
  for _, step in ipairs(schedule.replay("link.replay", t)) do
    lasts = math.max(lasts, step.after)
  end
  out.loop = t.loop and (t.loop == true or units.duration(t.loop)) or nil
  out.lasts = not out.loop and lasts or nil
  return entry("replay", out)
end

---Whether nothing more of it is to come.
---@param one nslua.lab.Entry
---@return boolean
function M.is_done(one)
  return one.lasts ~= nil and core.fd.clock() >= one.began + one.lasts
end

local function time(value)
  return text.value("delay", value)
end

-- "loss 10%", with an arrow where it is of one direction.
local function words_of(to, from, show)
  local seen, names, out = {}, {}, {}
  to, from = to or {}, from or {}
  for _, words in ipairs { to, from } do
    for word in pairs(words) do
      names[#names + 1] = not seen[word] and word or nil
      seen[word] = true
    end
  end
  table.sort(names)
  for _, word in ipairs(names) do
    local a, b = to[word], from[word]
    local there, back = a ~= nil and show(word, a), b ~= nil and show(word, b)
    if there == back then
      out[#out + 1] = there
    else
      out[#out + 1] = there and ">" .. there or nil
      out[#out + 1] = back and "<" .. back or nil
    end
  end
  return out
end

local shown = {}

function shown.at(one)
  local out = words_of(one.to, one.from, function(word, value)
    return value == false and "no " .. word or word .. " " .. text.value(word, value)
  end)
  local none = (one.to == false and 1 or 0) + (one.from == false and 2 or 0) -- a direction that nothing impairs any more
  local first = { one.up ~= nil and (one.up and "up" or "down") or nil }
  first[#first + 1] = ({ ">nothing", "<nothing", "nothing" })[none]
  table.move(out, 1, #out, #first + 1, first)
  return ("at %s: %s"):format(time(one.after), table.concat(first, ", "))
end

function shown.flap(one)
  return ("flap %s%s%s"):format(time(one.down), one.up and "/" .. time(one.up) or "", one.count and (" %d times"):format(one.count) or "")
end

function shown.replay(one)
  local out = words_of(one.to, one.from, function(word)
    return word
  end)
  return ("replay %s%s"):format(table.concat(out, ", "), one.loop and " again and again" or "")
end

---Each in a few words; what has come to its end and left nothing is left out.
---@param list? nslua.lab.Entry[]
---@return string[]
function M.texts(list)
  local out = {}
  for _, one in ipairs(list or {}) do
    out[#out + 1] = not (one.kind == "flap" and M.is_done(one)) and shown[one.kind](one) or nil
  end
  return out
end

---In full, for JSON.
---@param list? nslua.lab.Entry[]
---@return table[]?
function M.data(list)
  local out = {}
  for i, one in ipairs(list or {}) do
    out[i] = { done = M.is_done(one) }
    for key, value in pairs(one) do
      out[i][key] = key ~= "began" and value or nil
      if value == false then
        out[i][key] = false
      end
    end
  end
  return out[1] and out or nil
end

return M
