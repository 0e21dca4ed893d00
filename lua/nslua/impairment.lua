-- The words that impair one direction of a link, as numbers. They are those of the netem qdisc (tc-netem(8)), with each_packet and limit_bytes.

local check = require "nslua.check"
local errors = require "nslua.error"
local units = require "nslua.units"

local M = {}

---@class nslua.Impairment  of one direction
---@field delay? number|string         "10ms"
---@field jitter? number|string        the delay is this much more or less, for each packet on its own: packets overtake
---@field distribution? "uniform"|"normal"|"pareto"|"paretonormal"  of the jitter (default "uniform"); of "normal" the jitter is the deviation, and
---the last two are tc(8)'s: most packets somewhat early, few of them late by up to four times the jitter
---@field correlation? number|string   of the jitter: the chance that a packet has the jitter of the one before it
---@field loss? number|string|table    "1%"; in bursts: { gemodel = { p = "1%", r = "10%", h = 0, k = 1 } }, where p and r are the chances to go from
---good to bad and back, h and k those to get through in the bad and in the good state
---@field loss_correlation? number|string
---@field duplicate? number|string     "1%"
---@field duplicate_correlation? number|string
---@field corrupt? number|string       one bit of the frame is flipped, after its checksums were made
---@field corrupt_correlation? number|string
---@field reorder? number|string       this part of the packets is sent at once, before those that wait out the delay
---@field reorder_correlation? number|string
---@field gap? integer                 at the most every so many-th packet is (default 1)
---@field rate? number|string          "100mbit": a packet takes its time to be sent
---@field limit? integer               packets on their way, in all (default 1000): what comes on top is dropped
---@field limit_bytes? number|string   the same in bytes
---@field each_packet? boolean         segmentation offload off also where only the delay is impaired; any chance and any rate turn it off
---@field seed? integer                of the chances

local number = "number|string|false"
M.words = { delay = number, jitter = number, correlation = number, distribution = "string|false", loss = "number|string|table|false",
  loss_correlation = number, duplicate = number, duplicate_correlation = number, corrupt = number, corrupt_correlation = number,
  reorder = number, reorder_correlation = number, gap = "integer|false", rate = number, limit = "integer|false", limit_bytes = number,
  each_packet = "boolean", seed = "integer|string|false" }

local distributions = { uniform = 0, normal = 1, pareto = 2, paretonormal = 3 }

local LIMIT = 1000

local chances = { "loss", "duplicate", "corrupt", "reorder" }
local gemodel = { p = "number|string", r = "number|string", h = "number|string", k = "number|string" }

local function nanoseconds(value, what)
  local seconds = units.duration(value, what)
  if seconds < 0 or seconds > 1e9 then
    errors.misuse("%s: %s is no time to wait", what, tostring(value))
  end
  return math.floor(seconds * 1e9 + 0.5)
end

local function bursts(out, loss, what)
  check.options(what, loss, { gemodel = "table" })
  local t = loss.gemodel or errors.misuse("%s must be a fraction or { gemodel = {...} }", what)
  check.options(what .. ".gemodel", t, gemodel)
  local p = units.fraction(t.p or errors.misuse("%s.gemodel: p is needed", what), what)
  out.bursts, out.to_bad, out.to_good = true, p, t.r and units.fraction(t.r, what) or 1 - p
  out.loss_bad = 1 - units.fraction(t.h or 0, what)
  out.loss_good = 1 - units.fraction(t.k or 1, what)
end

---Put the words of a change over those that are there: what is not said stays, false is as if never said.
---@param call string
---@param old nslua.Impairment
---@param t nslua.Impairment|false  false: nothing is impaired any more
---@return nslua.Impairment
function M.merge(call, old, t)
  local out = {}
  if t == false then
    return out
  end
  check.options(call, t, M.words)
  for key, value in pairs(old) do
    out[key] = value
  end
  for key, value in pairs(t) do
    out[key] = value or nil
  end
  return out
end

---Raise unless it is a whole number, or the text of one.
---@param call string
---@param seed integer|string|false|nil
function M.check_seed(call, seed)
  if type(seed) == "string" and not (seed:find "^%d+$" and #seed <= 18) then
    errors.misuse("%s: seed is a whole number of at most 18 digits, got %q", call, seed)
  end
end

-- What core.wire takes of these words; with no regard to how they go together.
local function translated(call, t)
  check.options(call, t, M.words)
  M.check_seed(call, t.seed)
  local out = { limit = t.limit or nil, gap = t.gap or nil }
  for _, key in ipairs { "delay", "jitter" } do
    out[key] = t[key] and nanoseconds(t[key], call .. ": " .. key) or nil
  end
  for _, key in ipairs(chances) do
    local value, correlation = t[key], t[key .. "_correlation"]
    if type(value) == "table" then
      bursts(out, value, call .. ": " .. key)
    elseif value then
      out[key] = units.fraction(value, call .. ": " .. key)
    end
    out[key .. "_correlation"] = correlation and units.fraction(correlation, call .. ": " .. key .. "_correlation") or nil
  end
  out.correlation = t.correlation and units.fraction(t.correlation, call .. ": correlation") or nil
  if t.distribution then
    out.distribution = distributions[t.distribution] or errors.misuse("%s: %s", call, check.unknown("distribution", t.distribution, distributions))
  end
  if t.rate then
    out.rate = units.rate(t.rate, call .. ": rate")
    if not (out.rate > 0 and out.rate <= 1e15) then
      errors.misuse("%s: rate: %s is no rate (false is any)", call, tostring(t.rate))
    end
  end
  if t.limit_bytes then
    local size = units.size(t.limit_bytes, call .. ": limit_bytes")
    out.limit_bytes = size <= 9e15 and math.floor(size) or errors.misuse("%s: limit_bytes: %s is no limit (false is none)", call,
      tostring(t.limit_bytes))
  end
  if out.limit and (out.limit < 1 or out.limit > 4294967295) or (out.limit_bytes or 1) < 1 then
    errors.misuse("%s: a limit is at least 1", call)
  elseif out.gap and not (out.gap >= 1 and out.gap <= 4294967295) then
    errors.misuse("%s: gap is at least 1", call)
  end
  return out
end

---What core.wire takes, without seed and stream.
---@param call string
---@param t nslua.Impairment
---@return table
function M.numbers(call, t)
  local out = translated(call, t)
  if out.gap and not out.reorder then
    errors.misuse("%s: gap is of reorder", call)
  elseif out.distribution and not out.jitter then
    errors.misuse("%s: distribution is of jitter", call)
  elseif (out.jitter or 0) > 0 and (out.delay or 0) == 0 then
    errors.misuse("%s: jitter needs a delay", call)
  elseif (out.reorder or 0) > 0 and (out.delay or 0) == 0 then
    errors.misuse("%s: reorder needs a delay: nothing waits that could be overtaken", call)
  end
  out.limit = out.limit or LIMIT
  out.each_packet = M.each_packet(t)
  out.all = true
  return out
end

---The same of a change: only what is said.
---@param call string
---@param t nslua.Impairment|false  false: nothing is impaired any more
---@return table
function M.changes(call, t)
  if t == false then
    return { limit = LIMIT, all = true }
  end
  local out = translated(call, t)
  for word, value in pairs(t) do
    if value == false and word ~= "seed" and word ~= "each_packet" then
      out[word] = word == "limit" and LIMIT or 0
    end
  end
  if t.loss ~= nil then -- the two kinds of it take turns
    out.bursts, out.loss = out.bursts or false, out.loss or 0
  end
  return out
end

---Whether something is decided for each packet, so that a frame must be one: anything but a delay.
---@param t nslua.Impairment
---@return boolean
function M.each_packet(t)
  for key, value in pairs(t) do
    if value and key ~= "delay" and key ~= "seed" and value ~= 0 then
      return true
    end
  end
  return false
end

return M
