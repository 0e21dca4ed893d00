-- Steps of a schedule (nslua.schedule) for links that have no process of their own: a copy of the script does them when they are due.

local core = require "nslua.core"
local process = require "nslua.process"

local M = {}

local SETTLED = 0.05 -- seconds that a step may take

-- Steps of the same period, in their order: what is due next is the place in the list, and how often that has been gone through.
local function rounds(steps)
  local by_period, out = {}, {}
  for _, step in ipairs(steps) do
    local round = by_period[step.every or 0]
    if not round then
      round = { every = step.every, at = 1, gone = 0, times = step.every and step.times or nil }
      by_period[step.every or 0] = round
      out[#out + 1] = round
    end
    round[#round + 1] = step
  end
  return out
end

local function due(round)
  return round[round.at].after + round.gone * (round.every or 0)
end

-- Whether there is one more.
local function advance(round)
  round.at = round.at + 1
  if round.at > #round then
    round.at, round.gone = 1, round.gone + 1
    return round.every ~= nil and round.gone < (round.times or math.huge)
  end
  return true
end

---Do the steps, each when it is due.
---@param steps nslua.Step[]  by the time they are due
---@param began number  what their times are counted from, of ns.clock()
---@param act fun(step: nslua.Step)  one that fails is left out
---@param since? number  what was due until then has been done
function M.through(steps, began, act, since)
  local open = rounds(steps)
  for i = since and #open or 0, 1, -1 do
    local more = true
    while more and began + due(open[i]) <= since do
      more = advance(open[i])
    end
    if not more then
      table.remove(open, i)
    end
  end
  while open[1] do
    local first = 1
    for i = 2, #open do
      first = due(open[i]) < due(open[first]) and i or first
    end
    local rest = began + due(open[first]) - core.fd.clock()
    if rest > 0 then
      core.fd.poll({}, rest)
    else
      pcall(act, open[first][open[first].at])
      if not advance(open[first]) then
        table.remove(open, first)
      end
    end
  end
end

---@class nslua.lab.Follower  who does them
---@field steps nslua.Step[]
---@field began number
---@field process nslua.Process

---The same in a copy of the script, which ends with it.
---@param steps nslua.Step[]
---@param act fun(step: nslua.Step)
---@param began? number  (default: now)
---@param since? number
---@return nslua.lab.Follower
function M.start(steps, act, began, since)
  began = began or core.fd.clock()
  return { steps = steps, began = began, process = process.fork(function()
    M.through(steps, began, act, since)
  end) }
end

---@param followers nslua.lab.Follower[]
function M.stop(followers)
  for _, each in ipairs(followers) do
    each.process:kill "KILL"
    each.process:close()
  end
end

-- Seconds since the last of the steps was due.
local function since_last(followers, now)
  local least = math.huge
  for _, each in ipairs(followers) do
    for _, step in ipairs(each.steps) do
      local past = now - each.began - step.after
      local gone = past >= 0 and step.every and math.min(past // step.every, (step.times or math.huge) - 1) or 0
      past = past - gone * (step.every or 0)
      least = past >= 0 and math.min(least, past) or least
    end
  end
  return least
end

---Stop them, and none in the middle of a step, unless steps are so close that there is always one.
---@param followers nslua.lab.Follower[]
---@return number since  what was due until then has been done
function M.pause(followers)
  local now, tries = core.fd.clock(), 0
  while since_last(followers, now) < SETTLED and tries < 10 do
    core.fd.poll({}, SETTLED - since_last(followers, now))
    now, tries = core.fd.clock(), tries + 1
  end
  M.stop(followers)
  return now
end

return M
