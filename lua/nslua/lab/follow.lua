-- Steps of a schedule (nslua.schedule) for links that have no process of their own: a copy of the script does them when they are due, and tells what
-- has come of it when it is asked.

local carry = require "nslua.carry"
local core = require "nslua.core"
local errors = require "nslua.error"
local process = require "nslua.process"

local M = {}

local PATIENCE = 30 -- seconds for an answer

---@class nslua.lab.Due  a step that is to come
---@field step nslua.Step
---@field due number   when it is next, of ns.clock()
---@field left number  so often

---@param steps nslua.Step[]
---@param began number  what their times are counted from
---@return nslua.lab.Due[]
function M.due(steps, began)
  local list = {}
  for i, step in ipairs(steps) do
    list[i] = { step = step, due = began + step.after, left = step.every and (step.times or math.huge) or 1 }
  end
  return list
end

---Those of a list that are to come after `since`.
---@param list nslua.lab.Due[]
---@param since number
---@return nslua.lab.Due[]
function M.after(list, since)
  local out = {}
  for _, each in ipairs(list) do
    if each.due <= since then
      local every = each.step.every
      local gone = every and math.floor((since - each.due) / every) + 1 or 1
      each.due, each.left = each.due + gone * (every or 0), each.left - gone
    end
    out[#out + 1] = each.left > 0 and each or nil
  end
  return out
end

-- Put one into a list whose last is the next, before those that are due no later.
local function put(list, each)
  local low, high = 1, #list + 1
  while low < high do
    local middle = (low + high) // 2
    if list[middle].due > each.due then
      low = middle + 1
    else
      high = middle
    end
  end
  table.insert(list, low, each)
end

-- Do what is due. Of those that were missed only the last is done, in its turn: another step may have come in between.
local function catch_up(list, now, act)
  while list[1] and list[#list].due <= now do
    local each = table.remove(list)
    local every = each.step.every
    local missed = every and math.min(math.floor((now - each.due) / every), each.left - 1) or 0
    if missed == 0 then
      act(each.step)
      missed = 1
    end
    each.due, each.left = each.due + missed * (every or 0), each.left - missed
    if each.left > 0 then
      put(list, each)
    end
  end
end

-- In the copy: an answer is until when all has been done, whether that was the last, and what `tell` says.
local function work(steps, requests, answers, act, tell)
  local list = {}
  for _, each in ipairs(steps) do
    put(list, each)
  end
  repeat
    local rest = list[1] and math.max(0, list[#list].due - core.fd.clock()) or 0
    local asked = core.fd.poll({ { requests, "r" } }, rest) and requests:read(1)
    local now = core.fd.clock()
    catch_up(list, now, act)
    if asked or not list[1] then
      local text = carry.pack("answer", 3, now, not list[1], tell())
      answers:write(string.pack("<s4", text))
    end
  until asked == "q" or not list[1]
end

---@class nslua.lab.Follower
---@field process nslua.Process
local Follower = {}
Follower.__index = Follower

local function pipe(fds)
  local reader, writer, errno = core.fd.pipe()
  errors.check("fork", nil, reader, writer, errno)
  fds[#fds + 1], fds[#fds + 2] = reader, writer
  return reader, writer
end

local function close_all(fds)
  for _, fd in ipairs(fds) do
    fd:close()
  end
end

---Let a copy of the script do them; it ends with them, and with the script.
---@param list nslua.lab.Due[]
---@param act fun(step: nslua.Step)
---@param tell fun(): table
---@return nslua.lab.Follower
function M.start(list, act, tell)
  local self = setmetatable({ fds = {} }, Follower)
  local ok, err = pcall(function()
    local requests, ask = pipe(self.fds)
    local answers, answer = pipe(self.fds)
    self.process = process.fork({ stdin = "null" }, work, list, requests, answer, act, tell)
    answer:close() -- that of requests stays: to write to a pipe that nobody reads would be a signal
    self.requests, self.answers = ask, answers
  end)
  if not ok then
    close_all(self.fds)
    error(err, 0)
  end
  return self
end

-- So many bytes of an answer; nil where there will be none.
local function receive(self, size)
  local text, deadline = "", core.fd.clock() + PATIENCE
  while #text < size do
    local ready, _, errno = core.fd.poll({ { self.answers, "r" } }, math.max(0, deadline - core.fd.clock()))
    local bytes = ready and self.answers:read(size - #text)
    if bytes == "" or not ready and not errno then
      return nil
    end
    text = text .. (bytes or "")
  end
  return text
end

---Whether it is this process's own: not that of the process which this one was forked from.
---@return boolean
function Follower:mine()
  return self.process.child ~= nil and self.process.child:mine()
end

---How far it is. Where it is at its end, or is told to end, it is closed.
---@param quit? boolean
---@return number? since  until then all that was due has been done; nil: it was ended by somebody else
---@return table|string told  what `tell` said; else how it ended
function Follower:ask(quit)
  self.requests:write(quit and "q" or "t")
  local head = receive(self, 4)
  local text = head and receive(self, (string.unpack("<I4", head)))
  if not text then
    if self.process:running() then
      self.process:kill "KILL"
    end
    local how = self.process:wait():reason()
    self:close()
    return nil, how
  end
  local since, last, told = table.unpack(carry.unpack(text), 1, 3)
  if quit or last then
    self:close()
  end
  return since, told
end

---End it. Idempotent.
---@return true
function Follower:close()
  self.closed = true
  if self:mine() and self.process:running() then
    self.process:kill "KILL"
  end
  self.process:close()
  close_all(self.fds)
  return true
end

return M
