-- Answers of HTTP/1.1, read as they come. RFC 9112
--
-- What is read comes from anybody: heads end after 64 kilobytes, bodies after what the caller takes.

local M = {}

local HEAD = 65536 -- bytes of all header fields, of the lines between chunks, and of trailers

-- What is read of: `more()` gives the next bytes, "" at the end, or nil and why not.
local Reader = {}
Reader.__index = Reader

local function malformed(text)
  error({ error = "EBADMSG", detail = text }, 0)
end

-- Get more; false at the end.
function Reader:fill()
  local bytes, why = self.more()
  if not bytes then
    error({ error = why }, 0)
  elseif bytes == "" then
    return false
  end
  self.buffer = self.at > 1 and self.buffer:sub(self.at) .. bytes or self.buffer .. bytes
  self.at = 1
  return true
end

-- The next line, without its end; nil where there is nothing any more.
function Reader:line()
  local from = self.at
  while true do
    local stop = self.buffer:find("\n", from, true)
    if stop then
      local line = self.buffer:sub(self.at, stop - 1)
      self.at = stop + 1
      self.head = self.head - #line - 1
      if self.head < 0 then
        malformed "a head of more than 64 kilobytes"
      end
      return (line:gsub("\r$", ""))
    end
    local have = #self.buffer - self.at + 1
    if have > self.head then
      malformed "a head of more than 64 kilobytes"
    elseif not self:fill() then
      if have > 0 then
        malformed "the answer ends in a line"
      end
      return nil
    end
    from = self.at + have
  end
end

function Reader:need_line()
  return self:line() or malformed "the answer ends too soon"
end

-- Header fields until the empty line: by name in lower case, repeated ones joined by ", "; and all in their order.
function Reader:fields()
  local headers, list = {}, {}
  while true do
    local line = self:need_line()
    if line == "" then
      break
    end
    local name, value = line:match "^([%w!#$%%&'*+.^_`|~-]+):[ \t]*(.-)[ \t]*$"
    if name then
      list[#list + 1] = { name = name, value = value }
    elseif line:match "^[ \t]" and list[1] then -- a line that goes on
      list[#list].value = list[#list].value .. " " .. line:match "^[ \t]*(.-)[ \t]*$"
    else
      malformed "a line of the head that is no field"
    end
  end
  for _, field in ipairs(list) do
    local key = field.name:lower()
    headers[key] = headers[key] and headers[key] .. ", " .. field.value or field.value
  end
  return headers, list
end

-- So many bytes of body (math.huge: until the end) are put to `parts`; where they are more than there is room for, an error.
function Reader:bytes(n)
  while n > 0 do
    local have = #self.buffer - self.at + 1
    if have == 0 then
      if not self:fill() then
        return n == math.huge or malformed "the body ends too soon"
      end
      have = #self.buffer
    end
    local take = math.tointeger(math.min(have, n, self.room))
    self.parts[#self.parts + 1] = self.buffer:sub(self.at, self.at + take - 1)
    self.at, self.room, n = self.at + take, self.room - take, n - take
    if self.room == 0 and n > 0 and (self.at <= #self.buffer or self:fill()) then
      error({ error = "EMSGSIZE", detail = "a body that is larger than what is taken" }, 0)
    end
  end
end

function Reader:chunks()
  while true do
    self.head = HEAD
    local digits = self:need_line():match "^(%x+)%s*;?.*$"
    if not digits or #digits:gsub("^0+", "") > 12 then
      malformed "no size of a chunk"
    end
    local n = tonumber(digits:gsub("^0+(%x)", "%1"), 16)
    if n == 0 then
      self.head = HEAD
      self:fields()
      return
    end
    self:bytes(n)
    if self:need_line() ~= "" then
      malformed "a chunk that is longer than it says"
    end
  end
end

function Reader:body(out, method)
  if method == "HEAD" or out.status == 204 or out.status == 304 then
    return
  end
  local coding = out.headers["transfer-encoding"]
  if coding then
    if not coding:lower():match "^%s*chunked%s*$" then
      if coding:lower():match "chunked%s*$" then
        malformed("a transfer coding that is not read here: " .. coding:sub(1, 100))
      end
      return self:bytes(math.huge)
    end
    return self:chunks()
  end
  local length = out.headers["content-length"]
  if not length then
    return self:bytes(math.huge)
  end
  local first
  for text in (length .. ","):gmatch "%s*(.-)%s*," do
    local n = text:match "^%d+$" and #text <= 15 and math.tointeger(tonumber(text))
    if not n or first and n ~= first then
      malformed("a length that is none: " .. length:sub(1, 100))
    end
    first = n
  end
  return self:bytes(first)
end

local function read(self, out, method)
  repeat
    local line = self:line()
    local version, status, reason = (line or malformed "no answer"):match "^HTTP/(1%.%d) (%d%d%d) ?(.*)$"
    if not status then
      malformed "no status line"
    end
    out.version, out.status, out.reason = version, math.tointeger(tonumber(status)), reason
    out.headers, out.fields = self:fields()
  until out.status >= 200 or out.status == 101
  self:body(out, method)
end

---Read an answer.
---@param more fun(): string?, string?  the next bytes, "" at the end, nil and a word for an error
---@param method string  of the request
---@param most integer   bytes of body that are taken
---@return { status: integer?, reason: string?, headers: table<string, string>?, fields: table?, body: string, error: string?, detail: string? }
function M.read(more, method, most)
  local self = setmetatable({ more = more, buffer = "", at = 1, head = HEAD, room = most, parts = {} }, Reader)
  local out = {}
  local ok, why = pcall(read, self, out, method)
  if not ok then
    if type(why) ~= "table" or not why.error then
      error(why, 0)
    end
    out.error, out.detail = why.error, why.detail
  end
  out.body = table.concat(self.parts)
  return out
end

return M
