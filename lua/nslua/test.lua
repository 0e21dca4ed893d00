-- ns.test: a script that tests, for prove(1) and the reports of CI systems. Its exit status is 1 where a test failed, whatever it does then.
--
--    local t <close> = ns.test{ file = "report.xml", format = "junit" }
--    t:test("h1 reaches h2", function() assert(lab.h1:ping("h2").loss == 0) end)

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local owned = require "nslua.owned"
local schema = require "nslua.schema"

local M = {}

local formats = { tap = true, junit = true }

---@class nslua.Test
---@field name string
---@field passed integer
---@field failed integer
---@field skipped integer
local Test = { __name = "nslua.Test" }
Test.__index = Test

---@class nslua.TestOptions
---@field format? "tap"|"junit"  default: tap, version 13
---@field file? string           where that goes (default: stdout); with junit in a file, TAP is on stdout
---@field name? string           of all of it (default: the script's)
---@field plan? integer          so many tests there are: fewer or more have failed

---@class nslua.TestResult  of one test
---@field name string
---@field status "passed"|"failed"|"skipped"
---@field elapsed number     seconds
---@field message? string    why it failed or was skipped
---@field where? string      "file:line"
---@field traceback? string

-- What ends a test as skipped.
local Skip = {}

local function emit(self, step, ...)
  for _, reporter in ipairs(self.reporters) do
    reporter[step](reporter, ...)
  end
end

-- The lines of a traceback that are of the test: not those of nslua, and not what called it.
local function trim(text)
  local out = {}
  for line in text:gmatch "[^\n]+" do
    if line:find("in function 'xpcall'", 1, true) then
      break
    end
    local source = line:match "^%s+(.-):%d+:"
    if source and not errors.inside("@" .. source) and not errors.inside(source) and not line:find "^%s+%[nslua%]" then
      out[#out + 1] = line:gsub("^%s+", "")
    end
  end
  return out
end

-- Whatever was raised, as text: a table that has none of its own is shown with what is in it.
local function told(e)
  local meta = getmetatable(e)
  if type(e) == "table" and not (type(meta) == "table" and meta.__tostring) then
    local ok, text = pcall(schema.json, e)
    return ok and text or "a table was raised"
  end
  local ok, text = pcall(tostring, e)
  return e == nil and "error(nil)" or ok and text or ("a %s was raised that says nothing"):format(type(e))
end

-- Called where something was raised.
local function caught(e)
  if type(e) == "table" and getmetatable(e) == Skip then
    return e
  end
  local lines = trim(debug.traceback("", 2))
  local text = told(e)
  local where = type(e) == "table" and errors.is(e) and e.where or text:match "^([^\n:]+:%d+): " or lines[1] and lines[1]:match "^(.-:%d+):"
  return { message = text, where = where, traceback = table.concat(lines, "\n") }
end

local function add(self, result)
  self[result.status] = self[result.status] + 1
  self.count = self.count + 1
  if result.status == "failed" then
    core.process.fail()
  end
  emit(self, "result", self.count, result)
end

---Run a test: it has passed where the function raises nothing. The next one runs whatever this one did.
---@param name string
---@param fn fun()
---@return boolean passed
function Test:test(name, fn)
  check.argument("test", "name", name, "string")
  check.argument("test", "fn", fn, "function")
  if self.closed then
    errors.misuse "test: it is closed"
  elseif self.running then
    errors.misuse("test: %q runs, one is not in the other", self.running)
  end
  self.running, self.started = name, core.fd.clock()
  local ok, e = xpcall(fn, caught)
  self.running = nil
  local result = { name = name, status = "passed", elapsed = core.fd.clock() - self.started }
  if not ok and getmetatable(e) == Skip then
    result.status, result.message = "skipped", e.why
  elseif not ok then
    result.status, result.message, result.where, result.traceback = "failed", e.message, e.where, e.traceback
  end
  add(self, result)
  return ok
end

---Inside a test: end it here as skipped. Outside of one: `t:skip(name, why)` notes one that is not run.
---@param why string
---@param reason? string
function Test:skip(why, reason)
  check.argument("skip", "why", why, "string")
  if self.running then
    error(setmetatable({ why = why }, Skip), 0)
  end
  add(self, { name = why, status = "skipped", elapsed = 0.0, message = reason or "" })
end

---A remark in the report.
---@param text string
function Test:note(text)
  emit(self, "note", tostring(text))
end

-- The end of the report; `broken`: what ended the script before its own end.
local function finish(self, broken)
  if self.closed then
    return
  end
  if self.running then
    add(self, { name = self.running, status = "failed", elapsed = core.fd.clock() - self.started, message = "the script ended in it" })
    self.running = nil
  end
  self.closed = true
  if self.plan and self.plan ~= self.count then
    self:note(("%d tests were planned, %d run"):format(self.plan, self.count))
  end
  if broken or self.plan and self.plan ~= self.count then
    core.process.fail()
  end
  emit(self, "finish", self, broken)
  if self.out ~= io.stdout then
    self.out:close()
  end
  for _, reporter in ipairs(self.reporters) do
    if reporter.unwritten then
      self.unwritten = true
      core.process.fail()
      io.stderr:write(("nslua: the report of the tests cannot be written: %s\n"):format(reporter.unwritten))
    end
  end
end

---The end: the plan and a summary, or the file. `<close>` does it, and so does the end of the script.
---@return boolean passed  whether all did, and the report could be written
function Test:close()
  finish(self)
  return self.failed == 0 and not self.unwritten and (not self.plan or self.plan == self.count)
end

function Test:__close(e)
  finish(self, e ~= nil and (tostring(e):gsub("\nstack traceback:\n.*", "")) or nil)
end

function Test:__tostring()
  return ("%d passed, %d failed, %d skipped"):format(self.passed, self.failed, self.skipped)
end

---Begin to test: `ns.test{ ... }` is the same. The exit status of the script is 1 where a test fails, also if it does not close this.
---@param options? nslua.TestOptions
---@return nslua.Test
function M.new(options)
  options = options or {}
  check.options("test", options, { format = "string", file = "string", name = "string", plan = "0-2147483647" })
  local format = options.format or "tap"
  if not formats[format] then
    errors.misuse("test: %s", check.unknown("format", format, formats))
  end
  local script = rawget(_G, "arg") and arg[0] or "test"
  local self = setmetatable({ name = options.name or script, passed = 0, failed = 0, skipped = 0, count = 0, plan = options.plan, closed = false,
    out = io.stdout, began = core.fd.clock() }, Test)
  if options.file then
    local file, why, errno = io.open(options.file, "w")
    errors.check("test", nil, file, why, errno)
    self.out = file
  end
  self.reporters = {}
  if format == "junit" then
    self.reporters[1] = require("nslua.test.junit").new(self.out)
  end
  if format == "tap" or self.out ~= io.stdout then
    table.insert(self.reporters, require("nslua.test.tap").new(format == "tap" and self.out or io.stdout))
  end
  emit(self, "begin", self)
  self.guard = owned.at_collection(function() -- a script that does not close it
    finish(self)
  end)
  return self
end

return setmetatable(M, { __call = function(_, options)
  return M.new(options)
end })
