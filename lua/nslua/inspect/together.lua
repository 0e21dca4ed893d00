-- Several probes at the same time in one thread: each is a coroutine that stands still where it would wait for its socket.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local WINDOW = 256 -- sockets that are open at the same time

-- Coroutines of `M.run`: only these may be stopped in a wait. Others, of a script or its event loop, block as they always did.
local ours = setmetatable({}, { __mode = "k" })

---Whether the running coroutine is one of `run`: then a wait is `coroutine.yield(fd, events, deadline)`.
---@return boolean
function M.inside()
  return ours[coroutine.running()] == true
end

local function start(job)
  local co = coroutine.create(job)
  ours[co] = true
  return co
end

-- Go on with one until it waits again; its value where it has come to its end.
local function go(waiting, index, co, ...)
  local ok, fd, events, deadline = coroutine.resume(co, ...)
  if not ok then
    waiting[index] = nil
    error(fd, 0)
  elseif coroutine.status(co) == "dead" then
    waiting[index] = nil
    return true, fd
  end
  waiting[index] = { co = co, fd = fd, events = events, deadline = deadline }
end

-- What of those that wait need wait no more: index -> "r", "w", "rw", or false where its time is over.
local function ready(waiting)
  local list, order, first = {}, {}, math.huge
  for index, each in pairs(waiting) do
    list[#list + 1], order[#order + 1] = { each.fd, each.events }, index
    first = math.min(first, each.deadline)
  end
  local words, message, errno = core.fd.poll(list, first < math.huge and math.max(first - core.fd.clock(), 0) or nil)
  if not words and errno and errno ~= core.errno.EINTR then
    errors.check("poll", nil, words, message, errno)
  end
  local now, out = core.fd.clock(), {}
  for i, index in ipairs(order) do
    local word = words and words[i]
    if word or not errno and waiting[index].deadline <= now then
      out[#out + 1] = { index, word or nil }
    end
  end
  table.sort(out, function(a, b)
    return a[1] < b[1]
  end)
  return out
end

---Run functions at the same time, so far as they wait in probes. An error of one ends all.
---@param jobs (fun(): any)[]
---@param each? fun(index: integer, value: any)  called as each comes to its end
---@return any[] values  in the order of the jobs
function M.run(jobs, each)
  local out, begun, waiting = {}, 0, {}
  local closer <close> = setmetatable({}, { __close = function() -- luacheck: ignore
    for _, one in pairs(waiting) do
      coroutine.close(one.co) -- and its socket
    end
  end })
  local running = 0
  local function step(index, ...)
    local over, value = go(waiting, index, ...)
    if over then
      running = running - 1
      out[index] = value
      if each then
        each(index, value)
      end
    end
  end
  while begun < #jobs or running > 0 do
    while begun < #jobs and running < WINDOW do
      begun, running = begun + 1, running + 1
      step(begun, start(jobs[begun]))
    end
    if running > 0 then
      for _, found in ipairs(ready(waiting)) do
        step(found[1], waiting[found[1]].co, found[2])
      end
    end
  end
  return out
end

return M
