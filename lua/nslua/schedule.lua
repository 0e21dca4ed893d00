-- What a link is told to do later, as steps: after so many seconds, these words of each direction, or the plug; once, or again and again.

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local units = require "nslua.units"

local M = {}

local LONGEST = 1e6 -- seconds
local SHORTEST = 1e-3
M.MOST = 16384 -- points of a trace
local BIN = 100 -- ms of a packet-delivery trace that make one rate
local FRAME = 1514 -- bytes of the packet that each of its lines lets through

---@class nslua.Step
---@field after number   seconds from now
---@field every? number  seconds; nil: once
---@field times? integer so often in all; nil: on and on
---@field to? nslua.Impairment|false
---@field from? nslua.Impairment|false
---@field up? boolean
---@field what string    for messages

local function seconds(value, what, least)
  local t = units.duration(value, what)
  if not (t >= (least or 0) and t <= LONGEST) then
    errors.misuse("%s: %s is no time to wait", what, tostring(value))
  end
  return t
end

---@param call string
---@param after number|string
---@param t { to: nslua.Impairment|false, from: nslua.Impairment|false, up: boolean? }
---@return nslua.Step[]
function M.at(call, after, t)
  check.options(call, t, { to = "table|false", from = "table|false", up = "boolean" })
  return { { after = seconds(after, call .. ": after"), to = t.to, from = t.from, up = t.up, what = call } }
end

---@class nslua.Flap
---@field down number|string    so long it is down, each time
---@field up? number|string     so long it is up before it goes down again
---@field count? integer        so often it goes down (default: until unschedule())
---@field after? number|string  until the first time (default 0)

local flap_words = { down = "number|string", up = "number|string", count = "integer", after = "number|string" }

---@param call string
---@param t nslua.Flap
---@return nslua.Step[]
function M.flap(call, t)
  check.options(call, t, flap_words)
  local down = seconds(t.down or errors.misuse("%s: down is missing: { down = 1, up = 4, count = 3 }", call), call .. ": down", SHORTEST)
  local after = t.after and seconds(t.after, call .. ": after") or 0
  if t.count and not (t.count >= 1 and t.count <= 4294967295) then
    errors.misuse("%s: count is at least 1", call)
  elseif not t.up and t.count ~= 1 then
    errors.misuse("%s: up is missing: how long it is up before it goes down again", call)
  end
  local every = t.count ~= 1 and down + seconds(t.up, call .. ": up", SHORTEST) or nil
  return { { after = after, every = every, times = t.count, up = false, what = call },
    { after = after + down, every = every, times = t.count, up = true, what = call } }
end

-- Traces ------------------------------------------------------------------------------------------------------------------------------

---@class nslua.Replay  what follows a trace: a table { { seconds, value }, ... }, the value from that time on; or the path of a file
---@field delay? table|string  of lines "seconds value", where "#" begins a comment
---@field jitter? table|string
---@field loss? table|string
---@field rate? table|string   0 lets nothing through; a file may be a packet-delivery trace of mahimahi's too: a number of milliseconds a line
---@field to? nslua.Replay     of that direction alone
---@field from? nslua.Replay
---@field loop? boolean|number|string  over again: after so long, or (true) at the end: the last value lasts as long as the one before it

local function contents(path, call)
  local fd, message, errno = core.fd.open(path, "r")
  errors.check(call, { detail = path }, fd, message, errno)
  local parts = {}
  repeat
    local text, why, number = fd:read(65536)
    if not text then
      fd:close()
      errors.check(call, { detail = path }, text, why, number)
    end
    parts[#parts + 1] = text
  until text == ""
  fd:close()
  return table.concat(parts)
end

-- The rate of each tenth of a second.
local function of_deliveries(times)
  local last = times[#times]
  local counts, points = {}, {}
  local function bin_of(ms)
    return math.max(math.ceil(ms / BIN) - 1, 0)
  end
  for _, ms in ipairs(times) do
    counts[bin_of(ms)] = (counts[bin_of(ms)] or 0) + 1
  end
  local before
  for bin = 0, bin_of(last) do
    local length = math.min(BIN, last - bin * BIN)
    local rate = (counts[bin] or 0) * FRAME * 8 / (length / 1000)
    if rate ~= before then
      points[#points + 1] = { bin * BIN / 1000, rate }
    end
    before = rate
  end
  return points, last / 1000
end

local function from_file(path, word, what)
  local points, times, number = {}, {}, 0
  for line in (contents(path, what) .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    local text = line:gsub("#.*", "")
    local at, value = text:match "^%s*(%S+)%s+(%S+)%s*$"
    local alone = text:match "^%s*(%d+)%s*$"
    if at and not times[1] then
      points[#points + 1] = { tonumber(at) or at, tonumber(value) or value }
    elseif alone and word == "rate" and not points[1] then
      times[#times + 1] = tonumber(alone)
      if times[#times] < (times[#times - 1] or 0) then
        errors.misuse("%s: %s:%d: it was later before", what, path, number)
      end
    elseif text:find "%S" then
      errors.misuse("%s: %s:%d: expected \"seconds value\"%s", what, path, number,
        word == "rate" and ", or in every line the milliseconds of a delivery" or "")
    end
  end
  if times[1] then
    if times[#times] == 0 then
      errors.misuse("%s: %s lasts no time", what, path)
    end
    return of_deliveries(times)
  end
  return points
end

local function points_of(trace, word, what)
  local list, lasts = trace, nil
  if type(trace) == "string" then
    list, lasts = from_file(trace, word, what)
  end
  local points = {}
  for i, point in ipairs(list) do
    local where = ("%s: point %d"):format(what, i)
    if type(point) ~= "table" or point[2] == nil then
      errors.misuse("%s is not { seconds, value }", where)
    end
    local value = point[2]
    if word == "rate" and units.rate(value, where) == 0 then
      value = 1 -- bit a second; 0 would be any rate
    end
    points[i] = { seconds(point[1], where), value, where }
    if i > 1 and points[i][1] <= points[i - 1][1] then
      errors.misuse("%s is not after the one before it", where)
    end
  end
  if #points == 0 or #points > M.MOST then
    errors.misuse("%s: a trace has 1 to %d points, not %d", what, M.MOST, #points)
  end
  return points, lasts
end

-- After how long it begins again.
local function period_of(points, lasts, loop, what)
  local first, last = points[1][1], points[#points][1]
  if not loop then
    return nil
  elseif loop ~= true then
    local period = seconds(loop, what .. ": loop", SHORTEST)
    return period > last - first and period or errors.misuse("%s: loop: the trace is longer than %s", what, tostring(loop))
  elseif lasts then
    return lasts
  elseif #points == 1 then
    errors.misuse("%s: loop = true: a trace of one point does not say how long it lasts", what)
  end
  return last - first + last - points[#points - 1][1]
end

local traced = { "delay", "jitter", "loss", "rate" }
local trace_words = {}
for _, word in ipairs(traced) do
  trace_words[word] = "table|string"
end
local replay_words = { to = "table", from = "table", loop = "boolean|number|string" }
for word, types in pairs(trace_words) do
  replay_words[word] = types
end

---@param call string
---@param t nslua.Replay
---@return nslua.Step[]
function M.replay(call, t)
  check.options(call, t, replay_words)
  local steps = {}
  local function add(word, trace, to, from)
    local what = ("%s: %s"):format(call, word)
    local points, lasts = points_of(trace, word, what)
    local every = period_of(points, lasts, t.loop, what)
    for _, point in ipairs(points) do
      local words = { [word] = point[2] }
      steps[#steps + 1] = { after = point[1], every = every, to = to and words, from = from and words, what = point[3] }
    end
  end
  for _, way in ipairs { "to", "from" } do
    check.options(call .. ": " .. way, t[way] or {}, trace_words)
  end
  for _, word in ipairs(traced) do
    local to, from = (t.to or t)[word] or t[word], (t.from or t)[word] or t[word]
    if to and to == from then
      add(word, to, true, true)
    else
      for i, trace in pairs { to or nil, from or nil } do
        add(word, trace, i == 1 or nil, i == 2 or nil)
      end
    end
  end
  if not steps[1] then
    errors.misuse("%s: nothing follows a trace: { rate = { { 0, \"10mbit\" }, { 2, \"1mbit\" } } }", call)
  end
  table.sort(steps, function(a, b)
    return a.after < b.after
  end)
  return steps
end

return M
