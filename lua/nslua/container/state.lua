-- The state files of container engines. What is not there is no problem; what is there and cannot be read is remembered, for the message.

local core = require "nslua.core"

local M = {}

local MOST = 16 << 20 -- bytes of a file: what is larger is no state file

---@class nslua.container.Files
---@field root string        what stands before every path ("": the machine's own files)
---@field problems string[]  "/var/lib/docker/containers: Permission denied"
---@field top? nslua.fd      "/", held while many files are read
local Files = {}
Files.__index = Files

---@param root? string
---@return nslua.container.Files
function M.files(root)
  return setmetatable({ root = root or "", problems = {} }, Files)
end

---Hold what all paths begin at, until the fd is closed.
---@return nslua.fd?
function Files:hold()
  self.top = core.fd.open("/", "path")
  return self.top
end

function Files:problem(path, reason)
  self.problems[#self.problems + 1] = path .. ": " .. reason
end

-- Gone, or never there: what runs changes while it is looked at.
local absent = { [core.errno.ENOENT] = true, [core.errno.ENOTDIR] = true, [core.errno.ESRCH] = true }

---@param path string
---@return string?
function Files:read(path)
  local text, more, errno = core.foreign.read(self.top and self.top:isopen() and self.top or "/", self.root .. path, MOST)
  if not text and not absent[errno] then
    self:problem(path, core.strerror(errno))
  elseif text and more then
    self:problem(path, ("longer than %d bytes"):format(MOST))
    return nil
  end
  return text
end

---@param path string
---@return boolean
function Files:exists(path)
  return core.file.stat(self.root .. path) ~= nil
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

---The pid in a file that has nothing else in it.
---@param path string
---@return integer?
function Files:pid(path)
  return M.pid(tonumber((self:read(path) or ""):match "^%s*(%d+)%s*$"))
end

-- A text of JSON that is an object or a list.
local function decode(text, keys)
  local value, message = core.json.decode(text, keys)
  if type(value) == "table" then
    return value
  end
  return nil, message or "no JSON: neither an object nor a list"
end

---A JSON file whose text has `word` in it, where one is given; nil for others.
---@param path string
---@param word? string
---@param keys? table<string, boolean>  what of the outermost object is wanted; nil: all
---@return table?
function Files:json(path, word, keys)
  local text = self:read(path)
  if not text or (word and not text:find(word, 1, true)) then
    return nil
  end
  -- an engine writes such a file anew: half of it is no JSON
  local value, message = decode(text, keys)
  if not value then
    self:problem(path, message)
  end
  return value
end

---What came from an engine itself.
---@param text string
---@param from string  for the message
---@return table?
function Files:decode(text, from)
  local value, message = decode(text)
  if not value then
    self:problem(from, message)
  end
  return value
end

---A value that is a table, or an empty one: what a file says need not be what it ought to.
---@param value any
---@return table
function M.table(value)
  return type(value) == "table" and value or {}
end

---@param value any
---@return string?
function M.text(value)
  return type(value) == "string" and value ~= "" and value or nil
end

---A pid in what a file says: users write such files too, and one that is wrong must not hide the containers of all others.
---@param value any
---@return integer?
function M.pid(value)
  local n = type(value) == "number" and math.tointeger(value)
  return n and n > 0 and n <= 0x7fffffff and n or nil
end

---@class nslua.container.User
---@field uid integer
---@field data string?  where engines without root keep their data: "~/.local/share"
---@field run string?   and what they have while they run: "/run/user/1000"

---Users whose engines are looked for: this one; for root everybody who is logged in, or lingers.
---@param files nslua.container.Files
---@return nslua.container.User[]
function M.users(files)
  local uid = math.tointeger(tonumber((files:read "/proc/self/status" or ""):match "\nUid:%s*%d+%s+(%d+)")) or -1
  local own = files.root == "" -- what the environment says is of this machine's files
  local home = own and os.getenv "HOME"
  local out = { { uid = uid, data = own and os.getenv "XDG_DATA_HOME" or home and home .. "/.local/share",
    run = own and os.getenv "XDG_RUNTIME_DIR" or nil } }
  local homes
  for _, name in ipairs(uid ~= 0 and own and {} or files:list "/run/user") do
    local other = math.tointeger(tonumber(name))
    if other and other ~= uid then
      if not homes then
        homes = {}
        for id, at in (files:read "/etc/passwd" or ""):gmatch "[^:\n]*:[^:\n]*:(%d+):[^:\n]*:[^:\n]*:([^:\n]*)" do
          homes[id] = at
        end
      end
      out[#out + 1] = { uid = other, data = homes[name] and homes[name] .. "/.local/share", run = "/run/user/" .. name }
    end
  end
  return out
end

return M
