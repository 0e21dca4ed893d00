-- How far a sweep is, on a terminal: one line that is written over.

local core = require "nslua.core"

local M = {}

---@class nslua.sweep.Progress
local Progress = { __name = "nslua.sweep.Progress" }
Progress.__index = Progress

local function time(seconds)
  local whole = math.floor(seconds + 0.5)
  return whole < 3600 and ("%d:%02d"):format(whole // 60, whole % 60) or ("%d:%02d:%02d"):format(whole // 3600, whole // 60 % 60, whole % 60)
end

---The line: a bar, how many of how many, those that failed, how long it still takes.
---@param done integer
---@param total integer
---@param failed integer
---@param left? number  seconds
---@param columns? integer
---@return string
function M.line(done, total, failed, left, columns)
  local words = (" %d/%d"):format(done, total) .. (failed > 0 and (", %d failed"):format(failed) or "")
    .. (left and done < total and (", %s left"):format(time(left)) or "")
  local width = math.max(5, math.min(40, (columns or 80) - #words - 3))
  local full = total > 0 and done * width // total or width
  return "[" .. ("#"):rep(full) .. (" "):rep(width - full) .. "]" .. words
end

---@param wanted boolean|nil|fun(done: integer, total: integer, failed: integer)  nil: where stderr is a terminal
---@param total integer
---@return nslua.sweep.Progress
function M.new(wanted, total)
  local on = wanted
  local rows, columns = core.process.winsize(2)
  if wanted == nil then
    on = rows ~= nil
  end
  return setmetatable({ total = total, done = 0, failed = 0, ran = 0, started = core.fd.clock(), columns = rows and columns or nil,
    tell = type(on) == "function" and on or nil, on = on == true }, Progress)
end

---One more is done.
---@param failed boolean
---@param from_file boolean  it was not run now, and tells nothing of the time
function Progress:step(failed, from_file)
  self.done, self.failed, self.ran = self.done + 1, self.failed + (failed and 1 or 0), self.ran + (from_file and 0 or 1)
  if self.tell then
    self.tell(self.done, self.total, self.failed)
  end
  self:draw()
end

function Progress:draw()
  if self.on then
    local left = self.ran > 0 and (core.fd.clock() - self.started) / self.ran * (self.total - self.done) or nil
    io.stderr:write("\r", M.line(self.done, self.total, self.failed, left, self.columns), "\27[K")
  end
end

---The line goes away.
function Progress:close()
  if self.on then
    io.stderr:write "\r\27[K"
  end
end
Progress.__close = Progress.close

return M
