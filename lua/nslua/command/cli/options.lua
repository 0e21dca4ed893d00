-- The options of a command, declared once: read as getopt_long(3) reads them, printed by --help, completed, and put into the manual page.

local columns = require "nslua.command.cli.columns"
local host = require "nslua.host"
local errors = require "nslua.error"

local M = {}

---@class nslua.cli.Option
---@field [1] string|false   short: "m"; false where there is none
---@field [2] string|false   long: "mount"; the key in what `read` returns (else the short one)
---@field arg? string        what its value is called: "file"
---@field optional? boolean  the value may be left out: --mount, --mount=FILE
---@field attached? boolean  of an optional value: the short option takes one too, written to it (-mFILE)
---@field many? boolean      may come more than once: its values are a list
---@field keeps? boolean     of an optional value: it stays where the option comes again without
---@field own? boolean       the tool that the command stands for has no such option: it is spelt in full, and makes none of theirs ambiguous
---@field words? string[]    the values there are, for completion
---@field help string

---@class nslua.cli.Declaration
---@field [integer] nslua.cli.Option|string  a string is a heading in the help
---@field name string          of the command, as in `nslua NAME`
---@field usage string         what follows the name: "[options] [<program> [<argument>...]]"
---@field summary string       a sentence
---@field stop? boolean        the first operand ends the options (they are a program's)
---@field status? integer      exit status of wrong usage and of errors (default 1)
---@field notes? string        more text for the end of the help
---@field commands? table[]     { name, usage =, help =, operands = }
---@field operands? string     what operands are, for completion: "program", "netns", "file", or words
---@field examples? string[][] { command, what it does }, for the manual page
local Declaration = {}
Declaration.__index = Declaration

---@type table<string, nslua.cli.Declaration>
-- By name, once their files are loaded.
M.declared = {}

-- After them no option is read: they are all there is to do.
local ENDS = { h = true, help = true, V = true, version = true }

local HELP = { "h", "help", help = "display this help" }

---Declare the options of a command; --help is added.
---@param declaration nslua.cli.Declaration
---@return nslua.cli.Declaration
function M.declare(declaration)
  local self = setmetatable(declaration, Declaration)
  local taken = {}
  for _, option in ipairs(self) do
    if type(option) == "table" then
      taken[option[1] or ""], taken[option[2] or ""] = true, true
    end
  end
  if not taken.help then
    self[#self + 1] = taken.h and { false, "help", help = HELP.help } or HELP
  end
  self.by_name = {}
  for _, option in ipairs(self) do
    if type(option) == "table" then
      for i = 1, 2 do
        if option[i] then
          self.by_name[option[i]] = option
        end
      end
    end
  end
  M.declared[self.name] = self
  return self
end

---The prefix of the command's messages.
---@return string
function Declaration:prefix()
  return "nslua " .. self.name
end

---Print a message and the way to the help; for wrong usage.
---@param format string
---@param ... any
---@return integer status
function Declaration:wrong(format, ...)
  if format then
    io.stderr:write(self:prefix(), ": ", format:format(...), "\n")
  end
  io.stderr:write(("Try 'nslua %s --help' for more information.\n"):format(self.name))
  return self.status or 1
end

local function is_spelt(words, name)
  for _, word in ipairs(words) do
    if word == "--" .. name or word:sub(1, #name + 3) == "--" .. name .. "=" then
      return true
    end
  end
  return false
end

-- What getopt_long is told.
local function tables(self, words)
  local letters, long = { self.stop and "+" or "" }, {}
  for _, option in ipairs(self) do
    if type(option) == "table" then
      local kind = not option.arg and "none" or option.optional and "optional" or "required"
      if option[1] then
        letters[#letters + 1] = option[1] .. (kind == "required" and ":" or kind == "optional" and option.attached and "::" or "")
      end
      if option[2] and (not option.own or is_spelt(words, option[2])) then
        long[#long + 1] = { option[2], kind }
      end
    end
  end
  return table.concat(letters), long
end

---Read a command's words: { [key] = value or true, [1..] = operands, given = { { key, value }, ... in the order given } }.
---Nil and an exit status where there is nothing more to do: the help was asked for, or an option was wrong (both have been printed).
---@param args string[]
---@return table? options
---@return integer? status
function Declaration:read(args)
  local words = { [0] = self:prefix() }
  for i, word in ipairs(args) do
    words[i] = word
  end
  local letters, long = tables(self, words)
  local list, first = host.getopt(words, letters, long, ENDS)
  if not list then
    return nil, self:wrong()
  end
  local out = { given = {} }
  for _, entry in ipairs(list) do
    local option = self.by_name[entry[1]]
    local key, value = option[2] or option[1], entry[2] or true
    if key == "help" then
      io.stdout:write(self:help())
      return nil, 0
    end
    out.given[#out.given + 1] = { key, value }
    if option.many then
      out[key] = out[key] or {}
      table.insert(out[key], value)
    elseif not (option.keeps and value == true and out[key]) then
      out[key] = value
    end
  end
  for i = first, #words do
    out[#out + 1] = words[i]
  end
  return out
end

-- " -m, --mount[=<file>]"
local function head(option)
  local value = ""
  if option.arg then
    value = (option.optional and "[=<%s>]" or " <%s>"):format(option.arg)
  end
  if option[1] and option[2] then
    return (" -%s, --%s%s"):format(option[1], option[2], value)
  elseif option[1] then
    return (" -%s%s"):format(option[1], value)
  end
  return ("     --%s%s"):format(option[2], value)
end
M.head = head

---The text of --help.
---@return string
function Declaration:help()
  local out = { "", "Usage:", (" nslua %s %s"):format(self.name, self.usage), "", self.summary, "" }
  local width = 0
  for _, option in ipairs(self) do
    if type(option) == "table" then
      local n = #head(option)
      width = n <= 30 and math.max(width, n) or width
    end
  end
  if type(self[1]) ~= "string" then
    out[#out + 1] = "Options:"
  end
  for _, option in ipairs(self) do
    if type(option) == "string" then
      out[#out + 1] = option .. ":"
    else
      local text = head(option)
      local lines = {}
      for line in (option.help .. "\n"):gmatch "([^\n]*)\n" do
        lines[#lines + 1] = line
      end
      if #text > width then
        out[#out + 1] = text
        text = ""
      end
      for i, line in ipairs(lines) do
        out[#out + 1] = ("%-" .. width .. "s  %s"):format(i == 1 and text or "", line)
      end
    end
  end
  if self.commands then
    out[#out + 1] = "\nCommands:"
    for _, sub in ipairs(self.commands) do
      local text = (" %s %s"):format(sub[1], sub.usage or "")
      if #text > width then
        out[#out + 1] = text
        text = ""
      end
      out[#out + 1] = ("%-" .. width .. "s  %s"):format(text, sub.help)
    end
  end
  if self.notes then
    out[#out + 1] = ""
    out[#out + 1] = self.notes
  end
  return table.concat(out, "\n") .. "\n"
end

-- What the library found wrong with what the user asked for: misuse has no place where all frames are nslua's own.
local function is_misuse(e)
  return type(e) == "string" and not e:find "^[^\n]-:%d+: "
end

---Read the options and run `fn(options)`; its value is the exit status. An error object (or misuse) becomes one line on stderr and the
---exit status of wrong usage; `explain(e)` may give another line (nil: the error's own message) and another status.
---@param args string[]
---@param fn fun(options: table): integer|boolean|nil
---@param explain? fun(e: nslua.Error): string?, integer?
---@return integer|boolean|nil status
function Declaration:run(args, fn, explain)
  local options, status = self:read(args)
  if not options then
    return status
  end
  local ok, result = xpcall(fn, function(e)
    return (errors.is(e) or is_misuse(e)) and e or host.traceback(e)
  end, options)
  if ok then
    return result
  elseif host.interrupted() or not errors.is(result) and not is_misuse(result) then
    error(result, 0)
  end
  local text, code
  if explain and errors.is(result) then
    text, code = explain(result)
  end
  io.stdout:flush()
  io.stderr:write(self:prefix(), ": ", M.shown(text or M.line(result)), "\n")
  return code or self.status or 1
end

---What a terminal may see of a text of several lines.
---@param text string
---@return string
function M.shown(text)
  return (text:gsub("[^\n]+", function(line)
    return line:find "[%c\127-\255]" and columns.safe(line) or nil
  end))
end

---An error object in one line, for a user who wrote no script: without the place in the source.
---@param e nslua.Error
---@return string
function M.line(e)
  return (tostring(e):gsub("^[^\n]-:%d+: ", "", 1))
end

return M
