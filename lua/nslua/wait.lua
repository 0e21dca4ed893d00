-- ns.wait: poll(2) over anything that has pollfd(), events() and timeout().

local core = require "nslua.core"
local errors = require "nslua.error"
local units = require "nslua.units"

local M = {}

---Wait until one of the objects is ready.
---@param objects table[]             each with pollfd(), events(), timeout() (the cqueues protocol)
---@param seconds? number|string      give up after that long (default: never)
---@return table[]? ready             those that are ready, or nil when the time ran out
function M.wait(objects, seconds)
  if type(objects) ~= "table" then
    errors.misuse("wait: a list of objects expected, got %s", type(objects))
  end
  for i, o in ipairs(objects) do
    local ok, method = pcall(function() return o.pollfd end)
    if not ok or method == nil then
      errors.misuse("wait: [%d] must have pollfd(), events() and timeout(), got %s", i, type(o))
    end
  end
  if not objects[1] and not seconds then
    errors.misuse "wait: nothing to wait for, and no time"
  end
  local limit = seconds and units.duration(seconds, "wait: seconds")
  local deadline = limit and core.fd.clock() + limit
  while true do
    local list, timed = {}, nil
    local left = deadline and math.max(0, deadline - core.fd.clock())
    for i, o in ipairs(objects) do
      list[i] = { o:pollfd(), o:events() }
      local t = o:timeout()
      if t and (not left or t <= left) then
        left, timed = t, o
      end
    end
    local ready, message, errno = core.fd.poll(list, left)
    if ready then
      local out = {}
      for i, o in ipairs(objects) do
        if ready[i] then
          out[#out + 1] = o
        end
      end
      return out
    elseif errno and errno ~= core.errno.EINTR then
      errors.check("wait", nil, ready, message, errno)
    elseif not errno then
      return timed and { timed } or nil
    end
  end
end

return M
