-- Whether this kernel impairs links itself, and the words of a wire as those of its qdisc. tc-netem(8)

local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local keeper = require "nslua.keeper"
local netns = require "nslua.netns"
local units = require "nslua.units"

local M = {}

-- What only a wire knows.
local foreign = { limit_bytes = true }

local SLOWEST = 8 -- bits per second: one byte; 0 is any rate

local available

---Whether this kernel has the netem qdisc: one is added, once, to the lo of a new namespace. That loads the module, where there is one.
---@return boolean
function M.available()
  if available == nil then
    local handle = netns.new { label = "netem?", userns = keeper.home() }
    local ok, err = pcall(handle.qdisc.add, handle.qdisc, { "netem", dev = "lo", netem = { delay = "1ms" } })
    handle:close()
    if not ok and not errors.is(err, "ENOENT") then
      error(err, 0)
    end
    available = ok
  end
  return available
end

---Whether netem can do what is asked for.
---@param t nslua.Impairment
---@return boolean
function M.knows(t)
  for word in pairs(foreign) do
    if t[word] then
      return false
    end
  end
  return true
end

-- What no distribution is, as one: the kernel keeps the table it has where a change brings none.
local flat = {}
for i = 1, 1024 do
  flat[i] = math.floor(((i - 0.5) / 512 - 1) * 8192)
end

local function distribution(word)
  return word and word ~= "uniform" and word or flat
end

---Refuse what only a wire knows.
---@param call string
---@param t nslua.Impairment|false
function M.refuse(call, t)
  for word in pairs(foreign) do
    if t and t[word] then
      errors.misuse("%s: %s is for wires; netem has no such thing: {wire=on} makes wires of a lab's links", call, word)
    end
  end
end

---The options of the qdisc; `false` for every word that is not said, so that a change says it all. Words that a schedule has left alone have no
---effect, or that which they have for a wire.
---@param t nslua.Impairment
---@return table
function M.words(t)
  local out = {}
  for word in pairs(impairment.words) do
    if not foreign[word] and word ~= "each_packet" then
      out[word] = t[word] or false
    end
  end
  local jitter, reorder = t.jitter and units.duration(t.jitter) or 0, t.reorder and units.fraction(t.reorder) or 0
  if (jitter > 0 or reorder > 0) and (t.delay and units.duration(t.delay) or 0) == 0 then
    out.delay = 1e-9
  end
  if t.rate and units.rate(t.rate) < SLOWEST then -- what comes now is lost: netem would send it at this rate even where it is another by then
    out.rate, out.loss = false, 1
  end
  out.gap = t.reorder and t.gap or false
  out.limit = t.limit or 1000
  out.distribution = jitter > 0 and distribution(t.distribution) or false
  return out
end

---The same of what is said for good.
---@param call string
---@param t nslua.Impairment
---@return table
function M.options(call, t)
  impairment.numbers(call, t) -- the same misuse as a wire
  M.refuse(call, t)
  return M.words(t)
end

return M
