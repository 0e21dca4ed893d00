-- How a program ended, and what it printed.

local core = require "nslua.core"
local errors = require "nslua.error"
local owned = require "nslua.owned"

local M = {}

---@class nslua.Result
---@field ok boolean          ended by itself, in time, with status 0
---@field status integer?     exit status; nil where a signal ended it
---@field signal string?      "KILL"
---@field timed_out boolean
---@field stdout string?      what was captured
---@field stderr string?
---@field elapsed number      seconds
---@field note string?        what could not be as asked for, though the program ran
local Result = { __name = "nslua.Result" }
Result.__index = Result

local TAIL = 400 -- bytes of output in an error

---The end of what a program printed, for an error: what it says is not for a terminal to obey.
---@param text string?
---@return string
---@package
function M.tail(text)
  text = (text or ""):gsub("%s+$", "")
  if #text > TAIL then
    text = "..." .. text:sub(-TAIL)
  end
  return (text:gsub("\r\n", "\n"):gsub("[^%C\n\t]", "?"))
end

---How it ended, in words: "exit status 2", "killed by SIGTERM", "timed out after 5 s".
---@return string
function Result:reason()
  if self.timed_out then
    return ("timed out after %.3g s"):format(self.elapsed)
  elseif self.signal then
    return "killed by SIG" .. self.signal
  elseif self.status then
    return ("exit status %d"):format(self.status)
  end
  return "ended, and somebody else reaped it"
end

function Result:__tostring()
  return ("result of %s (%s)"):format(self.program, self:reason())
end

---Return the result, or raise what it failed with and the tail of stderr.
---@return nslua.Result
function Result:check()
  if not self.ok then
    local said = M.tail(self.stderr)
    errors.raise {
      call = self.call, message = ("%s: %s"):format(self.program, self:reason()), result = self,
      detail = said ~= "" and said or nil,
    }
  end
  return self
end

---The result of a process that has ended.
---@param process nslua.Process
---@param what string         "exited", "killed" or "lost", as process:reap() of the core says
---@param number integer      status or signal
---@param timed_out? boolean
---@return nslua.Result
function M.of(process, what, number, timed_out)
  local r = setmetatable({
    timed_out = timed_out or false, elapsed = core.fd.clock() - process.began, call = process.call, program = process.program,
    note = process.note, status = what == "exited" and number or nil, signal = what == "killed" and owned.signal_name(number) or nil,
  }, Result)
  if r.signal == "KILL" and process.killed_as then
    r.signal = owned.signal_name(process.killed_as)
  end
  r.ok = r.status == 0 and not r.timed_out
  for _, key in ipairs { "stdout", "stderr" } do
    r[key] = process.captured[key] and table.concat(process.captured[key])
  end
  if process.pty and r.stdout then
    r.stderr = ""
  end
  return r
end

return M
