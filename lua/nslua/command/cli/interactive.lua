-- A prompt that takes Lua, and what else its owner has words for: of the interactive nslua, and of labs.
--
-- With the Lua module "readline" there is line editing, completion and a history in ~/.nslua_history. _PROMPT and _PROMPT2 are the
-- prompts, as in lua(1).

local core = require "nslua.core"
local host = require "nslua.host"
local names = require "nslua.command.cli.names"

local M = {}

local function prompt(first, own)
  local p = first and _G._PROMPT or not first and _G._PROMPT2
  return p and tostring(p) or first and (own or "> ") or ">> "
end

-- A reader takes a prompt and gives a line, or nil at the end of input.
local function plain_reader()
  return {
    read = function(text)
      io.write(text)
      io.flush()
      local line, errno, _
      repeat -- a signal that was not for us may end the call
        line, _, errno = io.read "L"
      until errno ~= core.errno.EINTR
      return line
    end,
    remember = function() end,
    reset = function() end,
    finish = function() end,
  }
end

-- Lines that come from elsewhere.
local function given_reader(lines)
  local function nothing() end
  return {
    read = function()
      local line = lines()
      return line and line .. "\n"
    end,
    remember = nothing,
    reset = nothing,
    finish = nothing,
    silent = true,
  }
end

-- The callback interface of readline, so that Ctrl-C is seen by the wait here and not inside of readline.
local function editing_reader(readline, complete)
  local home = host.getenv "HOME"
  readline.set_options { keeplines = 1000, histfile = home and home .. "/.nslua_history" or "", completion = true }
  readline.set_readline_name "nslua"
  readline.set_complete_function(function(text, from, to)
    local ok, list, after = pcall(complete, text, from, to)
    readline.set_completion_append_character(ok and after or "")
    return ok and list or {}
  end)
  -- handler_remove() closes readline's stream first and writes to it then, unless the line is done: who is interrupted only begins anew
  local open, settings
  return {
    read = function(text)
      local done, line
      settings = open and settings or host.terminal()
      readline.handler_install(text, function(s)
        done, line = true, s
        readline.handler_remove()
      end)
      open = true
      while not done do
        if core.fd.poll({ { 0, "r" } }) then
          readline.read_char()
        end
      end
      open = false
      return line and line .. "\n"
    end,
    remember = function(statement)
      readline.add_history((statement:gsub("\n+$", ""):gsub("\n", " ")))
    end,
    reset = function() end,
    finish = function() -- also when a signal ends the program: the terminal must be as it was
      if open then
        host.terminal(settings)
        if host.getenv "TERM" ~= "dumb" then
          io.write "\27[?2004l" -- what is pasted comes as it is again
          io.flush()
        end
        open = false
      end
      readline.save_history()
    end,
  }
end

local function make_reader(complete)
  local terminal = host.is_terminal(0)
  local ok, readline = pcall(require, "readline")
  if terminal and ok and readline.handler_install then
    return editing_reader(readline, complete)
  end
  return plain_reader()
end

-- A chunk that fails only because it ends too early wants another line.
local function compile(text, env)
  text = text:gsub("^=", "return ") -- as lua(1) takes it
  local chunk = load("return " .. text, "=stdin", "t", env)
  if chunk then
    return chunk
  end
  local message
  chunk, message = load(text, "=stdin", "t", env)
  if chunk then
    return chunk
  end
  return nil, message, message:find "<eof>$" ~= nil
end

local function show(as, ok, ...)
  if not ok then
    -- what is below the statement is this file
    io.stderr:write((tostring((...)):gsub("\n\t%[C%]: in function 'xpcall'\n\t%[nslua%]/command/cli/interactive.*$", "")), "\n")
  elseif select("#", ...) > 0 then
    local values = table.pack(...)
    for i = 1, as and values.n or 0 do
      values[i] = as(values[i])
    end
    local printed, message = pcall(print, table.unpack(values, 1, values.n))
    if not printed then
      io.stderr:write("error calling 'print' (", tostring(message), ")\n")
    end
  end
  io.flush()
end

---@class nslua.Interactive
---@field prompt? string
---@field lines? fun(): string?              gives what is typed, in place of what is read
---@field env? table                         globals of what is typed
---@field line? fun(text: string): boolean?  takes a line before it is Lua: true where it was its own, false to end
---@field as? fun(value: any): string         how a value is shown (default: as print does)
---@field complete? fun(text: string, from: integer, to: integer): string[], string?  and what follows the only one

---Read and run lines until the end of input.
---@param options? nslua.Interactive
---@return integer status
function M.run(options)
  options = options or {}
  local env = options.env or _G
  local complete = options.complete or function(text, from, to)
    return names.complete(env, text:sub(from, to))
  end
  local reader <close> = setmetatable(options.lines and given_reader(options.lines) or make_reader(complete),
    { __close = function(r) r.finish() end })
  local buffer = ""
  local reading
  host.loop(function(interrupted)
    if interrupted and reading then
      reader.reset()
      buffer = ""
      io.write "\n"
    end
    reading = true
    local line = reader.read(prompt(buffer == "", options.prompt))
    reading = false
    if not line then
      io.write(reader.silent and "" or "\n")
      return false
    end
    buffer = buffer .. line
    if buffer:find "^%s*$" then
      buffer = ""
      return true
    end
    if options.line and buffer == line then
      local text = line:match "^%s*(.-)%s*$"
      local ok, taken = xpcall(options.line, host.traceback, text)
      if not ok or taken ~= nil then
        reader.remember(line)
        buffer = ""
        if not ok then
          show(nil, false, taken)
        end
        io.flush()
        return not ok or taken
      end
    end
    local chunk, message, unfinished = compile(buffer, env)
    if unfinished then
      return true
    end
    reader.remember(buffer)
    buffer = ""
    if chunk then
      show(options.as, xpcall(chunk, host.traceback))
    else
      io.stderr:write(message, "\n")
    end
    return true
  end)
  return 0
end

return M
