-- The fds of a program: stdin, stdout, stderr, input, pty, and those it keeps.

local core = require "nslua.core"
local errors = require "nslua.error"
local check = require "nslua.check"

local M = {}

---The number of an fd handle, a Lua file or an integer that is open.
---@param call string
---@param key string  of the plan, for messages
---@param value any
---@return integer
function M.number(call, key, value)
  local ok, number, message, errno = pcall(core.process.fileno, value)
  if not ok then -- a closed file, or no file at all
    errors.misuse("%s: %s: %s", call, key, (tostring(number):match "%((.*)%)" or tostring(number)))
  end
  errors.check(call .. ": " .. key, nil, number, message, errno)
  return number
end

local words = {
  stdin = { inherit = true, null = true, pipe = true },
  stdout = { inherit = true, null = true, pipe = true, capture = true },
  stderr = { inherit = true, null = true, pipe = true, capture = true, stdout = true },
}

-- What one of stdin, stdout, stderr is to the child (job[key]) and to us (job.ours[key]).
local function stream(call, job, key, value)
  local function child_end(fd)
    job.held[#job.held + 1] = fd
    job[key] = fd
  end
  if type(value) == "string" then
    if not words[key][value] then
      errors.misuse("%s: %s: %s", call, key, check.unknown("word", value, words[key]))
    end
    if value == "null" then
      if not job.null then
        job.null = errors.check(call .. ": stdio", nil, core.fd.open("/dev/null", "rw"))
        job.held[#job.held + 1] = job.null
      end
      job[key] = job.null
    elseif value == "pipe" or value == "capture" then
      local reader, writer, errno = core.fd.pipe()
      errors.check(call .. ": stdio", nil, reader, writer, errno)
      if key == "stdin" then
        job.ours[key] = writer
        child_end(reader)
      else
        job.ours[key] = reader
        child_end(writer)
      end
      job.captured[key] = value == "capture"
    else
      job[key] = value
    end
  elseif type(value) == "table" and value.file ~= nil then
    check.options(("%s: %s"):format(call, key), value, { file = "string", append = "boolean" })
    local mode = key == "stdin" and "r" or value.append and "a" or "w"
    child_end(errors.check(("%s: %s"):format(call, key), { detail = value.file }, core.fd.open(value.file, mode)))
  elseif type(value) == "number" or type(value) == "userdata" then
    job[key] = M.number(call, key, value)
  else
    errors.misuse("%s: %s must be a word, { file = ... }, a file or an fd, got %s", call, key, type(value))
  end
end

---The fds the program keeps, each with the number it sees.
---@param call string
---@param list any[]
---@return { fd: integer, as: integer }[]
function M.keep(call, list)
  local out, seen = {}, {}
  for i, entry in ipairs(list) do
    local fd, as = entry, nil
    if type(entry) == "table" then
      check.options(("%s: fds[%d]"):format(call, i), entry, { true, as = "integer" })
      fd, as = entry[1], entry.as
    end
    fd = M.number(call, ("fds[%d]"):format(i), fd)
    as = as or fd
    if as < 0 or as > 1048575 then
      errors.misuse("%s: fds[%d]: %s is no file descriptor", call, i, tostring(as))
    elseif as < 3 then
      errors.misuse("%s: fds[%d]: 0, 1 and 2 are stdin, stdout and stderr", call, i)
    elseif seen[as] then
      errors.misuse("%s: fds[%d]: %d is taken by another", call, i, as)
    end
    seen[as] = true
    out[#out + 1] = { fd = fd, as = as }
  end
  return out
end

---stdin, stdout, stderr, input, pty.
function M.prepare(call, job, plan, defaults)
  if plan.pty then
    local size = type(plan.pty) == "table" and plan.pty or {}
    check.options(call .. ": pty", size, { rows = "0-65535", columns = "0-65535" })
    if plan.stdin or plan.stdout or plan.stderr then
      errors.misuse("%s: with a pty, stdin, stdout and stderr are the pty", call)
    end
    local master, slave, errno = core.process.pty(size.rows, size.columns)
    errors.check(call .. ": pty", nil, master, slave, errno)
    job.pty = slave
    job.held[#job.held + 1] = slave
    job.ours.pty = master
    job.captured.stdout = defaults.stdout == "capture"
    job.input = plan.input and tostring(plan.input)
    return
  end
  if plan.input then
    if plan.stdin then
      errors.misuse("%s: stdin and input are two words for one thing", call)
    end
    job.input = tostring(plan.input)
    stream(call, job, "stdin", "pipe")
  else
    stream(call, job, "stdin", plan.stdin or defaults.stdin)
  end
  stream(call, job, "stdout", plan.stdout or defaults.stdout)
  stream(call, job, "stderr", plan.stderr or defaults.stderr)
end

---Refuse a pipe, or a capture, to a call that would leave nobody to read it.
---@param call string
---@param plan nslua.Plan
function M.refuse_pipes(call, plan)
  for _, key in ipairs { "stdin", "stdout", "stderr" } do
    local word = type(plan) == "table" and plan[key]
    if word == "pipe" or word == "capture" and call == "exec" then
      errors.misuse("%s: %s = %q is for %s: %s", call, key, word, word == "pipe" and "spawn" or "run",
        call == "exec" and "exec does not return" or call .. " returns when the program has ended")
    end
  end
end

return M
