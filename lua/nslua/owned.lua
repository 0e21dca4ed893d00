-- Which processes run, whom they belong to, and how they end: TERM, a second, KILL.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"

local M = {}

-- signal(7), the numbers that most architectures share; the core says what they are here.
M.signals = core.process.signals

local names = {}
for name, number in pairs(M.signals) do
  names[number] = name
end

---@param number integer
---@return string  "TERM"; "34" for one without a name
function M.signal_name(number)
  return names[number] or ("%d"):format(number)
end

---@param call string
---@param signal any  "TERM", "SIGTERM", 15, "15"
---@return integer
function M.signal_number(call, signal)
  signal = type(signal) == "string" and tonumber(signal:match "^%d+$") or signal
  if type(signal) == "number" and signal == math.floor(signal) and signal >= 0 and signal <= 64 then
    return signal
  elseif type(signal) == "string" then
    local number = M.signals[signal:upper():gsub("^SIG", "")]
    if number then
      return number
    end
    errors.misuse("%s: %s", call, check.unknown("signal", signal, M.signals))
  end
  return errors.misuse("%s: signal must be a name or a number, got %s", call, tostring(signal))
end

-- Every process that runs, by entry: what holds its handle's owner. An owner is not collected under its processes.
local running, count, swept = {}, 0, 32

-- Collected handles leave entries of processes that end unseen; as many as run may be dead before they are looked for.
local function sweep()
  for entry in pairs(running) do
    if entry.child:reap() then
      M.remove(entry)
    end
  end
  swept = math.max(32, 2 * count)
end

---@param entries table[]
---@param signal integer
local function signal_all(entries, signal)
  for _, entry in ipairs(entries) do
    entry.child:kill(signal, true)
  end
end

-- Whether pid 1 of a namespace would not even see TERM: the kernel drops what it has no handler for.
local function deaf(entry)
  if not entry.first then
    return false
  end
  local f = core.fd.open(("/proc/%d/status"):format(entry.child:pid()), "r")
  local text = f and f:read() or ""
  if f then
    f:close()
  end
  local caught = text:match "SigCgt:%s*(%x+)"
  return caught ~= nil and math.floor(tonumber(caught:sub(-4), 16) / 2 ^ 14) % 2 == 0 -- bit 14 is signal 15
end

---End processes and what belongs to them: TERM, up to `grace` seconds for all of them, KILL. Returns how the last one ended.
---@param entries table[]
---@param grace number
---@return string how
---@return integer number
function M.terminate(entries, grace)
  local left, how, number = {}, nil, nil
  for _, entry in ipairs(entries) do
    if entry.child:mine() then
      left[#left + 1] = entry
    end
  end
  if grace > 0 then
    signal_all(left, M.signals.TERM)
    signal_all(left, M.signals.CONT) -- one that is stopped would not see it
    local deadline = core.fd.clock() + grace
    while true do
      local list = {}
      for _, entry in ipairs(left) do
        if not deaf(entry) then
          list[#list + 1] = { entry.child:pollfd(), "r" }
        end
      end
      local seconds = deadline - core.fd.clock()
      if #list == 0 or seconds <= 0 then
        break
      end
      local ready = core.fd.poll(list, seconds)
      if ready then
        local still, at = {}, 0
        for _, entry in ipairs(left) do
          local waited = not deaf(entry)
          at = waited and at + 1 or at
          if not (waited and ready[at]) then
            still[#still + 1] = entry
          else
            entry.over = true
          end
        end
        left = still
      end
    end
  end
  for _, entry in ipairs(entries) do
    if entry.child:mine() then
      -- Its group too, before the leader is reaped: until then the number cannot be another's.
      entry.child:kill(M.signals.KILL, true)
      repeat
        core.fd.poll({ { entry.child:pollfd(), "r" } })
        how, number = entry.child:reap()
      until how ~= false
    end
    M.remove(entry)
  end
  return how, number
end

---@class nslua.Owned
-- What belongs to a handle. Its close() is called by the handle's.
local Owned = {}
Owned.__index = Owned

function Owned:close()
  local list = {}
  for entry in pairs(self.entries) do
    list[#list + 1] = entry
  end
  M.terminate(list, 1)
  return true
end

-- Lua 5.1 finalises no tables, but has newproxy.
local newproxy = rawget(_G, "newproxy")

---Call a function when the state closes, or when nothing refers to what this returns any more.
---@param fn fun()
---@return any
function M.at_collection(fn)
  if newproxy then
    local p = newproxy(true)
    getmetatable(p).__gc = fn
    return p
  end
  return setmetatable({}, { __gc = fn })
end

---End everything that runs.
function M.terminate_all()
  local list = {}
  for entry in pairs(running) do
    list[#list + 1] = entry
  end
  M.terminate(list, 1)
end

local guard

-- Finalisers run in the reverse order of creation when the state closes: the guard must be younger than every process.
local function renew_guard()
  local id = {}
  guard = { id = id }
  guard.proxy = M.at_collection(function()
    if guard.id == id then
      M.terminate_all()
    end
  end)
end

---Note a process that runs.
---@param owner table?    a handle: `owner.processes` is set, for its close()
---@param process table   nslua.Process
---@return table entry
function M.add(owner, process)
  if count >= swept then
    sweep()
  end
  local entry = { child = process.child, owner = owner, first = process.first }
  running[entry] = true
  count = count + 1
  if owner then
    local list = rawget(owner, "processes")
    if not list then
      list = setmetatable({ entries = {} }, Owned)
      owner.processes = list
    end
    list.entries[entry] = true
  end
  renew_guard()
  process.child:keep() -- last: an error before this line ends it
  return entry
end

---@param entry table
function M.remove(entry)
  if running[entry] then
    running[entry] = nil
    count = count - 1
    local list = entry.owner and rawget(entry.owner, "processes")
    if list then
      list.entries[entry] = nil
    end
    entry.owner = nil
  end
end

return M
