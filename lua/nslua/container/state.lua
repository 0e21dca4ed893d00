-- The state files of container engines. What is not there is no problem; what is there and cannot be read is remembered, for the message.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

---@class nslua.container.Files
---@field root string        what stands before every path ("": the machine's own files)
---@field problems string[]  "/var/lib/docker/containers: Permission denied"
local Files = {}
Files.__index = Files

---@param root? string
---@return nslua.container.Files
function M.files(root)
  return setmetatable({ root = root or "", problems = {} }, Files)
end

function Files:problem(path, reason)
  self.problems[#self.problems + 1] = path .. ": " .. reason
end

-- Gone, or never there: what runs changes while it is looked at.
local absent = { [core.errno.ENOENT] = true, [core.errno.ENOTDIR] = true }

---@param path string
---@return string?
function Files:read(path)
  local f, message, errno = io.open(self.root .. path, "r")
  local text
  if f then
    text, message, errno = f:read "a"
    f:close()
  end
  if not text and not absent[errno] then
    self:problem(path, core.strerror(errno) or message)
  end
  return text
end

---Names in a directory, sorted; none where it cannot be read.
---@param path string
---@return string[]
function Files:list(path)
  local names, _, errno = core.file.list(self.root .. path)
  if not names and not absent[errno] then
    self:problem(path, core.strerror(errno))
  end
  names = names or {}
  table.sort(names)
  return names
end

---@param path string
---@return integer?
function Files:number(path)
  return math.tointeger(tonumber((self:read(path) or ""):match "^%s*(%d+)%s*$"))
end

local dkjson

---A JSON file whose text has `word` in it, where one is given; nil for others.
---@param path string
---@param word? string
---@return table?
function Files:json(path, word)
  local text = self:read(path)
  if not text or (word and not text:find(word, 1, true)) then
    return nil
  end
  if not dkjson then
    local ok, module = pcall(require, "dkjson")
    if not ok then
      errors.raise { call = "container.find", message = "the state files of containers are JSON, and the Lua module dkjson that reads it is missing",
        hint = "apt-get install lua-dkjson, or luarocks install dkjson" }
    end
    dkjson = module
  end
  -- an engine writes such a file anew: half of it is no JSON
  local ok, value, _, message = pcall(dkjson.decode, text)
  if not ok or type(value) ~= "table" then
    self:problem(path, ok and message or "no JSON")
    return nil
  end
  return value
end

---The user's own folders, where engines without root keep what they know: { data = , run = }.
---@return { data: string?, run: string? }
function M.user()
  local home = os.getenv "HOME"
  return { data = os.getenv "XDG_DATA_HOME" or home and home .. "/.local/share", run = os.getenv "XDG_RUNTIME_DIR" }
end

return M
