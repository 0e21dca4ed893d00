-- What a sweep has done, in a file: a line of JSON for each run, so that an interrupted sweep goes on where it stopped.

local errors = require "nslua.error"
local schema = require "nslua.schema"

local M = {}

-- Reading needs a library; writing does not.
local function decoder()
  local ok, dkjson = pcall(require, "dkjson")
  if not ok then
    errors.raise { call = "sweep", message = "the file of a sweep is JSON, and the Lua module dkjson that reads it is missing",
      hint = "apt-get install lua-dkjson, or luarocks install dkjson" }
  end
  return dkjson.decode
end

---@class nslua.sweep.Journal
local Journal = { __name = "nslua.sweep.Journal" }
Journal.__index = Journal

-- Lines that were written to their end; a sweep that was killed may have left a part of one.
local function lines_of(path)
  local out, whole = {}, 0
  local f <close> = io.open(path, "rb")
  local text = f and f:read "a" or ""
  for line, after in text:gmatch "([^\n]*)\n()" do
    out[#out + 1], whole = line, after - 1
  end
  return out, text:sub(1, whole), #text > whole
end

local function fail(path, message, hint)
  errors.raise { call = "sweep", message = message, detail = path, hint = hint }
end

-- What is no number to JSON stands as a text.
local others = { inf = math.huge, ["-inf"] = -math.huge, nan = 0 / 0 }

local function to_text(values)
  local out = values and {}
  for name, value in pairs(values or {}) do
    out[name] = value ~= value and "nan" or value == math.huge and "inf" or value == -math.huge and "-inf" or value
  end
  return out
end

local function from_text(values)
  for name, value in pairs(values) do
    values[name] = others[value] or value
  end
end

---Open or begin a journal.
---@param path string
---@param about table  what must be the same for its runs to count: names of the parameters, the seed, the lab's text
---@return nslua.sweep.Journal
function M.open(path, about)
  local self = setmetatable({ path = path, done = {} }, Journal)
  local header = schema.json { sweep = 1, about = about }
  local lines, whole, torn = lines_of(path)
  local decode = lines[1] and decoder()
  if lines[1] and lines[1] ~= header then
    local ok, first = pcall(decode, lines[1])
    local is_one = ok and type(first) == "table" and first.sweep
    local other = "the file holds the runs of another sweep (other parameters, another seed or another lab)"
    fail(path, is_one and other or "the file is not one of a sweep", "name another file, or remove this one")
  end
  for i = 2, #lines do
    local ok, row = pcall(decode, lines[i])
    if not ok or type(row) ~= "table" or type(row.point) ~= "string" or math.type(row.number) == nil then
      fail(path, ("line %d is not a run of a sweep"):format(i), "remove the line")
    end
    if type(row.values) == "table" then -- what failed is tried again
      from_text(row.values)
      self.done[row.point .. " #" .. math.tointeger(row.number)] = row
    end
  end
  local message
  if torn then
    self.file, message = io.open(path, "wb")
    if self.file then
      self.file:write(whole)
    end
  else
    self.file, message = io.open(path, "ab")
  end
  if not self.file then
    fail(nil, message)
  end
  if not lines[1] then
    self.file:write(header, "\n")
  end
  self.file:flush()
  return self
end

---The run of that point and number, if it is done.
---@param point string  its name
---@param number integer
---@return table? row  values, elapsed
function Journal:get(point, number)
  return self.done[point .. " #" .. number]
end

---@param row { point: string, number: integer, values: table?, error: string?, elapsed: number }
function Journal:add(row)
  local ok, message = self.file:write(schema.json { point = row.point, number = row.number, values = to_text(row.values), error = row.error,
    elapsed = row.elapsed }, "\n")
  ok, message = ok and self.file:flush(), message
  if not ok then
    fail(self.path, message or "cannot be written")
  end
end

function Journal:close()
  self.file:close()
end
Journal.__close = Journal.close

return M
