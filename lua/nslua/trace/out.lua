-- The lines of a trace: written at once, with their time and result; what closes at the end of the script is held back, so that it can
-- stand there as a comment: the lines then leave what the script had built.

local core = require "nslua.core"
local sh = require "nslua.trace.sh"

local M = {
  all = false, -- reads too
}

local fd -- nil: stderr
local started = false
local held, MOST = {}, 200

---The id of this process.
---@return string
function M.pid()
  return (core.file.readlink "/proc/self" or "0"):match "%d+" or "0"
end

local function put(text)
  text = text .. "\n"
  if not fd then
    io.stderr:write(text)
    return
  end
  local from = 1
  while from <= #text do
    local n, _, errno = core.process.write(fd, text, from)
    if n then
      from = from + n
    elseif errno ~= core.errno.EINTR then
      return
    end
  end
end

-- The script with its arguments, or the command.
local function what_runs()
  local args = rawget(_G, "arg")
  if type(args) ~= "table" or type(args[0]) ~= "string" then
    return "nslua"
  end
  local words = { args[0] }
  if not args[0]:find "[/.]" and args[-1] then
    words[1] = "nslua"
    words[2] = args[0] -- a command
  end
  for _, word in ipairs(args) do
    words[#words + 1] = word
  end
  local text = sh.flat(sh.join(words))
  return #text > 100 and text:sub(1, 97) .. "..." or text
end

local function header()
  if not started then
    started = true
    put(("# %s, pid %s: what it does to the system, in lines for sh"):format(what_runs(), M.pid()))
  end
end

local explained = false

---Say once what stand-in names are.
function M.explain()
  header()
  if not explained then
    explained = true
    put(("# nslua-%s-X stands for a namespace that has no name in the script"):format(M.pid()))
  end
end

---Open the file the lines go to.
---@param path string
---@param append boolean  after what is there
---@return true?
---@return string? message
---@return integer? errno
function M.open(path, append)
  local file, message, errno = core.fd.open(path, append and "a" or "w")
  if not file then
    return nil, message, errno
  end
  fd = file
  return true
end

---How long, as text.
---@param seconds number
---@return string
function M.time(seconds)
  return seconds < 1 and ("%.2f ms"):format(seconds * 1000) or ("%.2f s"):format(seconds)
end

---What a failure is called.
---@param errno integer?
---@param message string?
---@param extack? string
---@return string
function M.failure(errno, message, extack)
  if not errno then
    return sh.flat(message or "failed")
  end
  return ("%s: %s"):format(core.errno[errno] or ("errno %d"):format(errno), sh.flat(extack or core.strerror(errno)))
end

local function flush(real)
  local list = held
  held = {}
  for _, line in ipairs(list) do
    put(line.closing and not real and "# " .. sh.flat(line.text) or line.text)
  end
end

local function add(text, note)
  return note and text .. "   # " .. note or text
end

---A line that changed something: sh may run it.
---@param text string
---@param note? string  time and result
function M.effect(text, note)
  header()
  flush(true)
  put(add(text, note))
end

---A line that changed nothing (it failed, it only reads), or that no tool has words for.
---@param text string
---@param note? string
function M.comment(text, note)
  header()
  local line = "# " .. sh.flat(add(text, note))
  if #held > MOST then
    flush(true) -- the script goes on for long without an effect
  end
  if held[1] then
    held[#held + 1] = { text = line }
  else
    put(line)
  end
end

---What is undone by the script's end, or earlier: a line for sh where something else comes after it, a comment where nothing does.
---@param text string
---@param note? string
function M.closing(text, note)
  header()
  held[#held + 1] = { text = add(text, note), closing = true }
end

---A line that worked, or a comment that says why it did not.
---@param text string
---@param began number   of the monotonic clock, in seconds
---@param ok any
---@param errno integer?
---@param message string?
---@param extack? string
function M.result(text, began, ok, errno, message, extack)
  local time = M.time(core.fd.clock() - began)
  if ok then
    M.effect(text, time .. " ok")
  else
    M.comment(text, time .. " " .. M.failure(errno, message, extack))
  end
end

---Drop what is held: in a forked copy of the script it is the script's.
function M.forked()
  held = {}
end

---The end of the script.
function M.finish()
  flush(false)
end

return M
