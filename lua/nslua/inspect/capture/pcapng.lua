-- Files of pcapng: the blocks before the packets as they are written, and all of them as they are read.
-- https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local SECTION, INTERFACE, SIMPLE, NAMES, STATISTICS, PACKET = 0x0a0d0d0a, 1, 3, 4, 5, 6
local MAGIC = 0x1a2b3c4d
local LONGEST = 16 << 20 -- of a block
local MOST = 65536 -- interfaces of a section

M.ETHERNET, M.RAW = 1, 101

-- Writing -------------------------------------------------------------------------------------------------------------------------

local function padded(text)
  return text .. ("\0"):rep(-#text % 4)
end

local function option(code, value)
  return string.pack("=I2I2", code, #value) .. padded(value)
end

local function block(kind, body)
  local size = #body + 12
  return string.pack("=I4I4", kind, size) .. body .. string.pack("=I4", size)
end

---@param text string
---@return string  what an option can hold
local function short(text)
  return #text > 60000 and text:sub(1, 60000) or text
end

---The block that begins a file.
---@param comment? string
---@return string
function M.section(comment)
  local options = (comment and option(1, short(comment)) or "") .. option(3, "Linux") .. option(4, "nslua") .. option(0, "")
  return block(SECTION, string.pack("=I4I2I2i8", MAGIC, 1, 0, -1) .. options)
end

---The block of an interface.
---@param t { name: string, description: string?, address: string?, network: boolean?, snaplen: integer, filter: string? }
---@return string
function M.interface(t)
  local options = { option(2, short(t.name)) }
  if t.description then
    options[#options + 1] = option(3, short(t.description))
  end
  if t.address and #t.address == 6 then
    options[#options + 1] = option(6, t.address)
  end
  options[#options + 1] = option(9, "\9") -- nanoseconds
  if t.filter then
    options[#options + 1] = option(11, "\0" .. short(t.filter))
  end
  options[#options + 1] = option(12, "Linux") .. option(0, "")
  return block(INTERFACE, string.pack("=I2I2I4", t.network and M.RAW or M.ETHERNET, 0, t.snaplen) .. table.concat(options))
end

---Blocks of names, each of some size.
---@param list { [1]: string, [2]: string }[]  address (text), name
---@return string[]
function M.names(list)
  local out, records, size = {}, {}, 0
  local function finish()
    if records[1] then
      out[#out + 1] = block(NAMES, table.concat(records) .. string.pack("=I2I2", 0, 0) .. option(0, ""))
    end
    records, size = {}, 0
  end
  for _, entry in ipairs(list) do
    local bytes = core.inet.bytes(entry[1])
    local name = entry[2]:gsub("%z", "")
    if bytes and name ~= "" then
      local value = bytes .. name:sub(1, 1000) .. "\0"
      records[#records + 1] = option(#bytes == 4 and 1 or 2, value)
      size = size + #records[#records]
      if size > 30000 then
        finish()
      end
    end
  end
  finish()
  return out
end

-- Reading -------------------------------------------------------------------------------------------------------------------------

local function broken(what, ...)
  errors.raise { call = "capture.read", errno = core.errno.EBADMSG, message = "no pcapng that can be read: " .. what:format(...) }
end

-- Options from a place on: a function called with each code and value.
local function each_option(body, at, endian, visit)
  while at + 3 <= #body do
    local code, size = string.unpack(endian .. "I2I2", body, at)
    if code == 0 then
      return
    elseif at + 3 + size > #body then
      broken "an option that ends behind its block"
    end
    visit(code, body:sub(at + 4, at + 3 + size))
    at = at + 4 + size + -size % 4
  end
end

---@class nslua.capture.File
---@field interfaces nslua.capture.FileInterface[]
---@field names table<string, string>  address to name
---@field comment string?              of the section
local Reader = {}
Reader.__index = Reader

---@class nslua.capture.FileInterface
---@field number integer       in the file, from 0
---@field name string
---@field description string?
---@field link_type integer    1: Ethernet, 101: IP
---@field snaplen integer
---@field filter string?
---@field received integer?    as the statistics at the end of the file say
---@field dropped integer?

---Read what a function gives.
---@param fetch fun(offset: integer, size: integer): string  shorter at the end
---@return nslua.capture.File
function M.reader(fetch)
  return setmetatable({ fetch = fetch, at = 0, buffer = "", from = 0, interfaces = {}, names = {}, endian = "<", began = false }, Reader)
end

-- Bytes from self.at on, or nil where they are not there yet.
local function need(self, size)
  local first = self.at - self.from
  if first + size > #self.buffer then
    self.buffer = self.buffer:sub(first + 1)
    self.from, first = self.at, 0
    while #self.buffer < size do
      local more = self.fetch(self.from + #self.buffer, math.max(262144, size - #self.buffer))
      if more == "" then
        return nil
      end
      self.buffer = self.buffer .. more
    end
  end
  return first + 1
end

local function section(self, body)
  self.interfaces, self.began = {}, true
  if #body < 16 then
    broken "a section header that is too short"
  end
  each_option(body, 17, self.endian, function(code, value)
    if code == 1 then
      self.comment = value
    end
  end)
end

local function interface(self, body)
  if #body < 8 then
    broken "the description of an interface is too short"
  elseif #self.interfaces >= MOST then
    broken "too many interfaces"
  end
  local kind, _, snaplen = string.unpack(self.endian .. "I2I2I4", body)
  local entry = { number = #self.interfaces, name = ("%d"):format(#self.interfaces), link_type = kind, snaplen = snaplen }
  local unit = 1000 -- nanoseconds
  each_option(body, 9, self.endian, function(code, value)
    if code == 2 then
      entry.name = value
    elseif code == 3 then
      entry.description = value
    elseif code == 11 and value:byte() == 0 then
      entry.filter = value:sub(2)
    elseif code == 9 and #value >= 1 then
      local n = value:byte()
      if n >= 128 then
        unit = n - 128 <= 60 and { n - 128 } or broken "a unit of time below 2^-60 s"
      else
        unit = n <= 18 and 10.0 ^ (9 - n) or broken "a unit of time below 10^-18 s"
      end
    end
  end)
  entry.unit = unit
  self.interfaces[#self.interfaces + 1] = entry
end

local function nanoseconds(entry, high, low)
  local ticks, unit = high << 32 | low, entry.unit
  if type(unit) == "table" then
    local shift = unit[1]
    local whole, part = ticks >> shift, ticks & ((1 << shift) - 1)
    return whole * 1000000000 + math.floor(part / 2.0 ^ shift * 1e9)
  elseif unit >= 1 then
    return ticks * (unit // 1 | 0)
  end
  return ticks // (1 / unit // 1 | 0)
end

local function names(self, body)
  local at = 1
  while at + 3 <= #body do
    local kind, size = string.unpack(self.endian .. "I2I2", body, at)
    if kind == 0 then
      return
    elseif at + 3 + size > #body then
      broken "a name that ends behind its block"
    end
    local value, length = body:sub(at + 4, at + 3 + size), kind == 1 and 4 or kind == 2 and 16
    local name = length and value:sub(length + 1):match "^([^%z]+)"
    if name then
      self.names[core.inet.text(value:sub(1, length))] = name
    end
    at = at + 4 + size + -size % 4
  end
end

local function statistics(self, body)
  if #body < 12 then
    broken "statistics that are too short"
  end
  local entry = self.interfaces[string.unpack(self.endian .. "I4", body) + 1] or broken "statistics of an interface that is not there"
  each_option(body, 13, self.endian, function(code, value)
    if (code == 4 or code == 5) and #value == 8 then
      entry[code == 4 and "received" or "dropped"] = string.unpack(self.endian .. "i8", value)
    end
  end)
end

local directions = { "in", "out" }

local function packet(self, body, simple)
  local number, high, low, captured, length, at = 0, 0, 0, nil, nil, nil
  if #body < (simple and 4 or 20) then
    broken "a packet that is too short"
  elseif simple then
    length, at = string.unpack(self.endian .. "I4", body)
    captured = math.min(length, #body - 4)
  else
    number, high, low, captured, length, at = string.unpack(self.endian .. "I4I4I4I4I4", body)
  end
  local entry = self.interfaces[number + 1] or broken("a packet of interface %d, which is not described", number)
  if at + captured - 1 > #body then
    broken "a packet that ends behind its block"
  end
  local out = { interface = entry, length = length, nanoseconds = nanoseconds(entry, high, low), bytes = body:sub(at, at + captured - 1) }
  if not simple then
    each_option(body, at + captured + -captured % 4, self.endian, function(code, value)
      if code == 1 then
        out.comments = out.comments or {}
        table.insert(out.comments, value)
      elseif code == 2 and #value == 4 then
        out.direction = directions[string.unpack(self.endian .. "I4", value) & 3]
      end
    end)
  end
  return out
end

---The next packet: nil at the end of what is there; later there may be more.
---@return table?
function Reader:next()
  while true do
    local at = need(self, 12)
    if not at then
      return nil
    end
    local kind = string.unpack(self.endian .. "I4", self.buffer, at)
    if kind == SECTION then
      local magic = string.unpack("<I4", self.buffer, at + 8)
      self.endian = magic == MAGIC and "<" or ">"
      if string.unpack(self.endian .. "I4", self.buffer, at + 8) ~= MAGIC then
        broken "its first bytes are others"
      end
    elseif not self.began then
      broken "its first bytes are others"
    end
    local size = string.unpack(self.endian .. "I4", self.buffer, at + 4)
    if size < 12 or size % 4 ~= 0 or size > LONGEST then
      broken("a block of %d bytes", size)
    end
    at = need(self, size)
    if not at then
      return nil
    end
    local body = self.buffer:sub(at + 8, at + size - 5)
    self.at = self.at + size
    if kind == SECTION then
      section(self, body)
    elseif kind == INTERFACE then
      interface(self, body)
    elseif kind == NAMES then
      names(self, body)
    elseif kind == STATISTICS then
      statistics(self, body)
    elseif kind == PACKET or kind == SIMPLE then
      return packet(self, body, kind == SIMPLE)
    end
  end
end

---Whether it ended in the middle of a block.
---@return boolean
function Reader:truncated()
  return need(self, 1) ~= nil
end

return M
