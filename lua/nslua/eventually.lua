-- ns.eventually: what is to become true, without a sleep that is too short on one machine and too long on the other.

local core = require "nslua.core"
local errors = require "nslua.error"
local units = require "nslua.units"

local M = {}

local unpack = table.unpack or rawget(_G, "unpack")

local function packed(...)
  return { n = select("#", ...), ... }
end

---Call a function until what it returns is true, and return that. What it raises counts as not yet. Where it never is, the error says what was raised
---last, or the text that was returned behind the false value.
---@param fn fun(): any
---@param seconds? number|string  how long at the most; default 5
---@param pause? number|string    between two calls; default "20ms"
---@return any ...  what it returned
function M.eventually(fn, seconds, pause)
  if type(fn) ~= "function" then
    errors.misuse("eventually: a function expected, got %s", type(fn))
  end
  local deadline = core.fd.clock() + units.duration(seconds or 5, "eventually: seconds")
  pause = units.duration(pause or 0.02, "eventually: pause")
  while true do
    local results = packed(pcall(fn))
    if results[1] and results[2] then
      return unpack(results, 2, results.n)
    elseif core.fd.clock() >= deadline then
      errors.raise { call = "eventually", message = ("not within %g seconds"):format(units.duration(seconds or 5)),
        detail = not results[1] and tostring(results[2]) or type(results[3]) == "string" and results[3] or nil }
    end
    core.fd.poll({}, math.max(0, math.min(pause, deadline - core.fd.clock())))
  end
end

return M
