-- The process in which the function of link:each_packet runs: it takes frames of both ends, hands them to the function, and gives on what is left.

local carry = require "nslua.carry"
local core = require "nslua.core"
local packet = require "nslua.lab.packet.packet"

local M = {}

local E = core.errno
local TURN = 64        -- frames of one end before the next one's turn
local WAITING = 100000 -- frames that are delayed at once
local EMITTED = 1000000

-- A heap of what is delayed, by `due` and then by what came first.
local function before(a, b)
  return a.due < b.due or a.due == b.due and a.order < b.order
end

local function push(heap, item)
  local i = #heap + 1
  while i > 1 and before(item, heap[i // 2]) do
    heap[i] = heap[i // 2]
    i = i // 2
  end
  heap[i] = item
end

local function pop(heap)
  local first, last = heap[1], table.remove(heap)
  local n, i = #heap, 1
  while 2 * i <= n do
    local child = 2 * i
    if child < n and before(heap[child + 1], heap[child]) then
      child = child + 1
    end
    if not before(heap[child], last) then
      break
    end
    heap[i] = heap[child]
    i = child
  end
  if n > 0 then
    heap[i] = last
  end
  return first
end

local function give(self, at, bytes)
  local ok = core.wire.give(at.fd, bytes)
  local count = self.count
  if ok then
    count.sent = count.sent + 1
  else
    count.refused = count.refused + 1
  end
end

local function send(self, at, s)
  local count, bytes = self.count, packet.finish(s)
  if s.dropped then
    count.dropped = count.dropped + 1
    return
  end
  count.changed = count.changed + (s.changed and 1 or 0)
  if not s.delay or s.delay == 0 then
    give(self, at, bytes)
  elseif #self.heap >= WAITING then
    count.limited = count.limited + 1
  else
    count.delayed = count.delayed + 1
    self.order = self.order + 1
    push(self.heap, { due = core.fd.clock() + s.delay, order = self.order, at = at, bytes = bytes })
  end
end

local function give_due(self)
  local now = core.fd.clock()
  while self.heap[1] and self.heap[1].due <= now do
    local item = pop(self.heap)
    give(self, item.at, item.bytes)
  end
end

-- Whatever was raised, as text: an error object too.
local function traced(e)
  local ok, text = pcall(tostring, e)
  return debug.traceback(ok and text or type(e), 2)
end

-- The function raised: from here on the link is as it was without it. Of the traceback, what is the script's.
local function fail(self, message)
  self.failed = message:gsub("\n\t%[C%]: in function 'xpcall'.*", ""):gsub("^nil\n", "error(nil)\n")
  for _, at in ipairs(self.ends) do
    at.away:close()
  end
end

local function handle(self, at, bytes)
  local count = self.count
  count.taken = count.taken + 1
  if self.failed then
    return give(self, at, bytes)
  end
  local p, s = packet.new(bytes, at.from, at.to, count.taken, self.emit)
  local ok, result = xpcall(self.fn, traced, p)
  if ok and result ~= nil then
    ok, result = false, ("each_packet: the function returned %s, and is to return nothing: p:drop() drops"):format(tostring(result))
  end
  if not ok then
    fail(self, result)
    return give(self, at, bytes)
  end
  send(self, at, s)
  for _, copy in ipairs(s.copies) do
    count.copied = count.copied + 1
    send(self, at, copy)
  end
end

-- Take what an end has; whether there may be more.
local function take(self, at, most)
  for _ = 1, most do
    local bytes, _, errno = core.wire.take(at.fd, at.packet)
    if bytes then
      handle(self, at, bytes)
    elseif errno ~= E.EINTR then
      return false
    end
  end
  return true
end

local function take_all(self)
  for _, at in ipairs(self.ends) do
    take(self, at, 16384)
  end
end

local function answer(self, kind, ...)
  local text = kind .. carry.pack("answer", select("#", ...), ...)
  text = string.pack("<s4", text)
  local from = 1
  while from <= #text do
    local n, _, errno = core.process.write(self.answers, text, from)
    if n then
      from = from + n
    elseif errno ~= E.EINTR then
      core.process.exit(1)
    end
  end
end

local function counters(self)
  local out = { queued = #self.heap }
  for name, value in pairs(self.count) do
    out[name] = value
  end
  for _, at in ipairs(self.ends) do
    if at.packet then
      at.missed = at.missed + (core.wire.missed(at.fd) or 0)
    end
    out.missed = (out.missed or 0) + at.missed
  end
  return out
end

-- What the script asks: "e" what was emitted, "c" the counters, "q" an end.
local function converse(self)
  local what = self.requests:read(1)
  if what == "e" then
    take_all(self)
    local list = self.emitted
    self.emitted = {}
    answer(self, "e", list, self.failed)
  elseif what == "c" then
    take_all(self)
    answer(self, "c", counters(self), self.failed)
  else
    for _, at in ipairs(self.ends) do -- what is on its way here still arrives
      at.away:close()
    end
    take_all(self)
    while self.heap[1] do
      local item = pop(self.heap)
      give(self, item.at, item.bytes)
    end
    answer(self, "q", self.failed)
    return true
  end
end

---Serve until the script says that it is enough.
---@param fn fun(p: nslua.lab.Packet)
---@param ends table[]  of each: `fd`, `packet`, `from`, `to`, `away` (what keeps the packets coming)
---@param requests nslua.fd
---@param answers nslua.fd
function M.run(fn, ends, requests, answers)
  local self = { fn = fn, ends = ends, requests = requests, answers = answers, heap = {}, order = 0, emitted = {},
    count = { taken = 0, sent = 0, dropped = 0, delayed = 0, copied = 0, changed = 0, limited = 0, refused = 0 } }
  function self.emit(text)
    if #self.emitted >= EMITTED then
      error(("p:emit: %d values wait for link:emitted()"):format(EMITTED), 3)
    end
    self.emitted[#self.emitted + 1] = text
  end
  local set = { { requests, "r" } }
  for i, at in ipairs(ends) do
    at.missed = 0
    set[i + 1] = { at.fd, "r" }
  end
  while true do
    give_due(self)
    io.stdout:flush() -- what the function prints
    local ready = core.fd.poll(set, self.heap[1] and math.max(0, self.heap[1].due - core.fd.clock()) or nil)
    for i, at in ipairs(ends) do
      if ready and ready[i + 1] then
        take(self, at, TURN)
      end
    end
    if ready and ready[1] and converse(self) then
      return
    end
  end
end

return M
