-- Whether this kernel impairs links itself, and the words of a wire as those of its qdisc. tc-netem(8)

local errors = require "nslua.error"
local impairment = require "nslua.impairment"
local keeper = require "nslua.keeper"
local netns = require "nslua.netns"

local M = {}

-- What only a wire knows.
local foreign = { each_packet = true, limit_bytes = true }

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

local function refuse(call, t)
  for word in pairs(foreign) do
    if t[word] then
      errors.misuse("%s: %s is for wires; netem has no such thing", call, word)
    end
  end
end

---The options of the qdisc; `false` for every word that is not said, so that a change says it all.
---@param call string
---@param t nslua.Impairment
---@return table
function M.options(call, t)
  impairment.numbers(call, t) -- the same misuse as a wire
  refuse(call, t)
  local out = {}
  for word in pairs(impairment.words) do
    if not foreign[word] then
      out[word] = t[word] or false
    end
  end
  out.limit = t.limit or 1000
  out.distribution = t.jitter and t.jitter ~= 0 and distribution(t.distribution) or false
  return out
end

---Those of a change: what is not said stays.
---@param call string
---@param t nslua.Impairment|false
---@return table
function M.changes(call, t)
  if t == false then
    return M.options(call, {})
  end
  impairment.changes(call, t)
  refuse(call, t)
  local out = {}
  for word, value in pairs(t) do
    if not foreign[word] then
      out[word] = value
    end
  end
  out.limit = t.limit or t.limit == false and 1000 or nil
  if t.distribution ~= nil then
    out.distribution = distribution(t.distribution)
  end
  return out
end

return M
