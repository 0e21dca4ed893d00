-- The process that starts a service and looks after it: readiness, restarts, its output. It lives with the lab's keeper, so the script may be busy.

local core = require "nslua.core"
local owned = require "nslua.owned"
local readiness = require "nslua.lab.service.ready"

local M = {}

local E = core.errno
local STEADY = 10        -- seconds after which an end is not the next of a row of failures
local LONGEST_PAUSE = 5  -- seconds between two starts, at the most
local LINE = 65536       -- bytes of a line that is looked at

---@class nslua.lab.Supervised
---@field start fun(): nslua.Process  with its output as a pipe
---@field ready nslua.lab.Ready?
---@field restart "never"|"on_failure"|"always"
---@field max_restarts integer
---@field backoff number
---@field grace number
---@field log integer                 bytes that are kept
---@field node nslua.lab.Node
---@field keep boolean                it outlives the script

local Supervisor = {}
Supervisor.__index = Supervisor

local settled = { running = true, exited = true, failed = true, stopped = true }

local function status(self)
  return { state = self.state, pid = self.child and self.child.pid, restarts = self.restarts, reason = self.reason, missing = self.missing,
    error = self.start_error }
end

local function answer(self, request, value)
  if request and request.seq then
    self.channel:send { seq = request.seq, value = value }
  end
end

local function settle(self, state)
  self.state, self.missing = state, nil
  if settled[state] then
    for _, request in ipairs(self.waiting) do
      answer(self, request, status(self))
    end
    self.waiting = {}
  end
end

-- Output ---------------------------------------------------------------------------------------------------------------------------

local function look_for(self, bytes)
  local ready = self.spec.ready
  if not ready or not ready.output or self.seen then
    return
  end
  local text, at = self.line .. bytes, 1
  for line, stop in text:gmatch "([^\n]*)\n()" do
    self.seen, at = self.seen or line:find(ready.output) ~= nil, stop
  end
  self.line = text:sub(math.max(at, #text - LINE + 1))
  self.seen = self.seen or self.line:find(ready.output) ~= nil -- a prompt has no end of line
  if self.seen and self.next_check then
    self.next_check = 0
  end
end

local function append(self, bytes)
  self.log[#self.log + 1] = bytes
  self.log_size = self.log_size + #bytes
  if self.log_size > 2 * self.spec.log then
    local text = table.concat(self.log)
    text = text:sub(-self.spec.log):gsub("^[^\n]*\n", "", 1)
    self.log, self.log_size = { text }, #text
  end
  look_for(self, bytes)
end

-- What is there of the output; `last`: the service has ended.
local function drain(self, last)
  local out = self.child and self.child.stdout
  for _ = 1, last and 64 or 4 do -- a service that floods does not keep the supervisor from its work
    local bytes, _, errno
    if out and out.fd then
      bytes, _, errno = out.fd:read()
    end
    if not bytes then
      if errno and errno ~= E.EAGAIN and errno ~= E.EINTR then
        out:close()
      end
      break
    elseif bytes == "" then
      out:close()
      break
    end
    append(self, bytes)
  end
end

-- Beginning and end ------------------------------------------------------------------------------------------------------------------

local finished

local function start(self)
  self.seen, self.line, self.pause = false, "", 0.001
  self.started, self.wanted, self.kill_at = core.fd.clock(), nil, nil
  local ok, child = pcall(self.spec.start)
  if not ok then
    self.start_error = child
    answer(self, self.restarting, child)
    self.restarting = nil
    return finished(self, false, "it does not start: " .. tostring(child))
  end
  self.child, self.start_error = child, nil
  settle(self, "starting")
  answer(self, self.restarting, true)
  self.restarting = nil
  if self.spec.ready then
    self.next_check, self.ready_by = self.started, self.started + self.spec.ready.seconds
  else
    settle(self, "running")
  end
end

-- The service has ended by itself, or was told to.
function finished(self, ok, reason)
  self.reason = self.why or reason
  ok = ok and not self.why
  self.why, self.next_check, self.ready_by, self.kill_at = nil, nil, nil, nil
  local wanted = self.wanted
  self.wanted = nil
  if wanted == "restart" then
    return start(self)
  elseif wanted then
    return settle(self, "stopped")
  end
  local again = self.spec.restart == "always" or self.spec.restart == "on_failure" and not ok
  if core.fd.clock() - self.started > STEADY then
    self.in_a_row = 0
  end
  if not again then
    settle(self, ok and "exited" or "failed")
  elseif self.in_a_row >= self.spec.max_restarts then
    self.reason = ("%s; given up after %d restarts in a row"):format(self.reason, self.in_a_row)
    settle(self, "failed")
  else
    self.again_at = core.fd.clock() + math.min(LONGEST_PAUSE, self.spec.backoff * 2 ^ self.in_a_row)
    self.in_a_row = self.in_a_row + 1
    settle(self, "backoff")
  end
end

local function terminate(self)
  if self.child and not self.kill_at then
    self.child.child:kill(owned.signals.TERM, true)
    self.child.child:kill(owned.signals.CONT, true)
    self.kill_at = core.fd.clock() + self.spec.grace
  end
end

local function reap(self)
  local result = self.child and self.child:wait(0)
  if result then
    self.child.child:kill(owned.signals.KILL, true)
    drain(self, true)
    self.child:close()
    self.child = nil
    finished(self, result.ok, result:reason())
  end
end

-- What the script asks -----------------------------------------------------------------------------------------------------------------

local requests = {}

function requests.status(self, request)
  answer(self, request, status(self))
end

function requests.wait(self, request)
  if settled[self.state] then
    return answer(self, request, status(self))
  end
  request.deadline = request.seconds and core.fd.clock() + request.seconds
  self.waiting[#self.waiting + 1] = request
end

function requests.log(self, request)
  drain(self)
  local text = table.concat(self.log):sub(-self.spec.log)
  answer(self, request, text)
end

function requests.kill(self, request)
  answer(self, request, self.child ~= nil and self.child.child:kill(request.signal) == true)
end

-- Stop or start anew: what it was doing ends.
local function leave(self, wanted)
  self.again_at, self.in_a_row = nil, 0
  self.wanted = wanted
  if self.child then
    self.state = "stopping"
    terminate(self)
  elseif wanted == "restart" then
    start(self)
  else
    self.wanted = nil
    settle(self, "stopped")
  end
end

function requests.stop(self, request)
  leave(self, "stop")
  requests.wait(self, request)
end

function requests.restart(self, request)
  self.restarting = request
  leave(self, "restart")
end

function requests.close(self, request)
  self.closing = true
  leave(self, "stop")
  answer(self, request, true)
end

-- The loop ------------------------------------------------------------------------------------------------------------------------------

local function timers(self)
  local now, soonest = core.fd.clock(), nil
  local function at(time)
    if time and (not soonest or time < soonest) then
      soonest = time
    end
  end
  if self.again_at and now >= self.again_at then
    self.again_at, self.restarts = nil, self.restarts + 1
    start(self)
  end
  if self.kill_at and now >= self.kill_at and self.child then
    self.child.child:kill(owned.signals.KILL, true)
    self.kill_at = now + 1
  end
  if self.next_check and self.child and not self.kill_at and now >= self.next_check then
    self.missing = readiness.missing(self.spec.ready, self.seen, self.spec.node)
    reap(self) -- who has ended is not ready, whoever else has its port
    if not self.child then
      self.next_check = nil
    elseif not self.missing then
      self.next_check, self.ready_by = nil, nil
      settle(self, "running")
    elseif now >= self.ready_by then
      self.why = ("not ready within %g s: %s"):format(self.spec.ready.seconds, self.missing)
      terminate(self)
    else
      self.next_check = math.min(core.fd.clock() + self.pause, self.ready_by)
      self.pause = math.min(self.pause * 2, 0.05)
    end
  end
  for i = #self.waiting, 1, -1 do
    local request = self.waiting[i]
    if request.deadline and now >= request.deadline then
      table.remove(self.waiting, i)
      answer(self, request, status(self))
    end
    at(request.deadline)
  end
  at(self.again_at)
  at(self.child and self.kill_at)
  at(self.child and not self.kill_at and self.next_check)
  return soonest and math.max(0, soonest - core.fd.clock())
end

-- Whether there is more to do.
local function listen(self)
  while true do
    local request = self.channel:take()
    if request == false then
      self.deaf = true -- the script has gone; what is kept goes on
      return self.spec.keep
    elseif not request then
      return true
    end
    requests[request.op](self, request)
  end
end

local function step(self)
  local seconds = timers(self)
  if self.closing and not self.child then
    return false
  end
  local list, control, child, output = {}, nil, nil, nil
  if not self.deaf then
    list[1], control = { self.channel.reader, "r" }, 1
  end
  if self.child then
    child = #list + 1
    list[child] = { self.child:pollfd(), "r" }
    local out = self.child.stdout
    if out and out.fd then
      output = #list + 1
      list[output] = { out.fd, "r" }
    end
  end
  local ready = core.fd.poll(list, seconds) or {}
  if output and ready[output] then
    drain(self)
  end
  if child and ready[child] then
    reap(self)
  end
  return not (control and ready[control]) or listen(self)
end

---Supervise until it is told to close, or the script has gone.
---@param spec nslua.lab.Supervised
---@param channel nslua.lab.Channel
function M.run(spec, channel)
  local self = setmetatable({ spec = spec, channel = channel, state = "starting", restarts = 0, in_a_row = 0, waiting = {}, log = {}, log_size = 0 },
    Supervisor)
  start(self)
  channel:send { seq = 0, value = status(self) }
  while step(self) do -- luacheck: ignore 542
  end
  if self.child then
    owned.terminate({ { child = self.child.child } }, spec.grace)
  end
end

return M
