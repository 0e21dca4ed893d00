-- Steps of a schedule (nslua.schedule) for links that have no process of their own: a copy of the script does them when they are due.

local core = require "nslua.core"
local process = require "nslua.process"

local M = {}

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
function M.through(steps, began, act)
  local open = rounds(steps)
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

---The same in a copy of the script, which ends with it.
---@param steps nslua.Step[]
---@param act fun(step: nslua.Step)
---@return nslua.Process
function M.start(steps, act)
  local began = core.fd.clock()
  return process.fork(function()
    M.through(steps, began, act)
  end)
end

return M
