-- The commands of the program: where they are, and how one is run.

local host = require "nslua.host"

local M = {}

---@class nslua.command.Entry
---@field name string
---@field path? string    a user's file
---@field module? string  a built-in one

-- Built in, but no commands themselves.
local hidden = { ["nslua.command"] = true, ["nslua.command.repl"] = true }

---The folders of the user's own commands, first match wins: $NSLUA_PATH, then ~/.config/nslua/commands.
---@return string[]
function M.folders()
  local out = {}
  for folder in (host.getenv "NSLUA_PATH" or ""):gmatch "[^:]+" do
    out[#out + 1] = folder
  end
  local config = host.getenv "XDG_CONFIG_HOME"
  local home = host.getenv "HOME"
  if config and config:sub(1, 1) == "/" then
    out[#out + 1] = config .. "/nslua/commands"
  elseif home then
    out[#out + 1] = home .. "/.config/nslua/commands"
  end
  return out
end

---Every command by name; a user's hides a built-in one of the same name.
---@return table<string, nslua.command.Entry>
function M.all()
  local out = {}
  for _, module in ipairs(host.modules()) do
    local name = module:match "^nslua%.command%.([^.]+)$"
    if name and not hidden[module] then
      out[name] = { name = name, module = module }
    end
  end
  local folders = M.folders()
  for i = #folders, 1, -1 do
    for _, file in ipairs(host.files(folders[i])) do
      local name = file:match "^([^.].*)%.lua$"
      if name then
        out[name] = { name = name, path = folders[i] .. "/" .. file }
      end
    end
  end
  return out
end

---@param name string
---@return nslua.command.Entry?
function M.find(name)
  for _, folder in ipairs(M.folders()) do
    local path = folder .. "/" .. name .. ".lua"
    local f = io.open(path, "r")
    if f then
      f:close()
      return { name = name, path = path }
    end
  end
  local module = "nslua.command." .. name
  if host.source(module) and not hidden[module] then
    return { name = name, module = module }
  end
end

---The declared options of a built-in command; nil where it has none.
---@param entry nslua.command.Entry
---@return nslua.cli.Declaration?
function M.declaration(entry)
  if entry.module then
    require(entry.module)
    return require("nslua.command.cli.options").declared[entry.name]
  end
end

---What the comment at the top of a command's file says.
---@param entry nslua.command.Entry
---@return string summary  its first line
---@return string rest     the lines after it, "" if there are none
function M.comment(entry)
  local text
  if entry.module then
    text = host.source(entry.module)
  else
    local f = io.open(entry.path, "r")
    if not f then
      return "", ""
    end
    text = f:read "a" or ""
    f:close()
  end
  local lines = {}
  for line in text:gsub("^#[^\n]*\n", ""):gmatch "([^\n]*)\n" do
    local comment = line:match "^%-%-+ ?(.*)$"
    if not comment then
      break
    end
    lines[#lines + 1] = comment
  end
  return table.remove(lines, 1) or "", table.concat(lines, "\n")
end

---Load a command.
---@param entry nslua.command.Entry
---@return (fun(args: string[]): integer|boolean|nil)? run
---@return string? message  why there is none
function M.load(entry)
  local f
  if entry.module then
    f = require(entry.module)
  else
    local chunk, message = loadfile(entry.path)
    if not chunk then
      return nil, message
    end
    f = chunk(entry.path)
  end
  if type(f) ~= "function" then
    return nil, ("%s: a command returns a function, this returns a %s"):format(entry.path or entry.module, type(f))
  end
  return f
end

---Run a command: what the program does with its first word.
---@param name string
---@param args string[]
---@return integer status
function M.main(name, args)
  local entry = M.find(name)
  if not entry then
    local near = require("nslua.check").nearest(name, M.all())
    io.stderr:write(("nslua: there is no command '%s'%s; `nslua help` lists them (a script is written ./%s)\n"):format(
      name, near and (" (did you mean '%s'?)"):format(near) or "", name))
    return 127
  end
  local f, message = M.load(entry)
  if not f then
    io.stderr:write("nslua: ", message, "\n")
    return 1
  end
  local status = f(args)
  if status == nil or status == true then
    return 0
  end
  return math.tointeger(status) or 1
end

return M
