-- The filters of ss(8): `state established`, `dport = :443 and dst 10.0.0.0/8`, `not ( sport = :22 or sport = :80 )`.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local keywords = { state = true, exclude = true, src = true, dst = true, sport = true, dport = true, dev = true, ["not"] = true, ["!"] = true,
  ["("] = true, inode = true }

---Whether a word begins a filter.
---@param word string
---@return boolean
function M.begins(word)
  return keywords[word] == true or word:find "^%(" ~= nil
end

local operators = { ["="] = "eq", ["=="] = "eq", eq = "eq", ["!="] = "ne", ne = "ne", neq = "ne", [">"] = "gt", gt = "gt", ["<"] = "lt", lt = "lt",
  [">="] = "ge", ge = "ge", geq = "ge", ["<="] = "le", le = "le", leq = "le" }

local compare = {
  eq = function(a, b) return a == b end, ne = function(a, b) return a ~= b end, gt = function(a, b) return a > b end,
  lt = function(a, b) return a < b end, ge = function(a, b) return a >= b end, le = function(a, b) return a <= b end,
}

-- Words, with parentheses and operators apart.
local function words_of(list)
  local out = {}
  for word in table.concat(list, " "):gsub("[()]", " %0 "):gsub("([<>=!]=?)", " %1 "):gmatch "%S+" do
    out[#out + 1] = word
  end
  return out
end

local function port_of(word)
  local number = word and math.tointeger(tonumber(word:match "^:?(%d+)$"))
  if not number or number > 65535 then
    errors.misuse("a port is a number from 0 to 65535, as in `sport = :80`; got %s", word or "nothing")
  end
  return number
end

-- An address, "[::1]", "*" or "10.0.0.0/8", with a port behind a colon or none.
local function host_of(word)
  if not word then
    errors.misuse "an address is missing behind src or dst"
  end
  local address, port = word:match "^%[(.*)%]:?(%d*)$"
  if not address then
    address, port = word:match "^([^:]*):(%d+)$"
  end
  if not address then
    address, port = word, ""
  end
  return address ~= "*" and address ~= "" and address or nil, port ~= "" and port_of(port) or nil
end

local function inside(address, length)
  local want = core.inet.bytes(address)
  if not want then
    errors.misuse("%s is no address; names are not looked up", address)
  end
  local bits = length and math.tointeger(tonumber(length)) or #want * 8
  if not bits or bits > #want * 8 then
    errors.misuse("%s/%s is no prefix", address, tostring(length))
  end
  local whole, rest = bits // 8, bits % 8
  return function(text)
    local have = text and core.inet.bytes(text)
    if have and #have == 16 and #want == 4 and have:sub(1, 12) == ("\0"):rep(10) .. "\255\255" then
      have = have:sub(13)
    end
    if not have or #have ~= #want or have:sub(1, whole) ~= want:sub(1, whole) then
      return false
    end
    return rest == 0 or have:byte(whole + 1) >> (8 - rest) == want:byte(whole + 1) >> (8 - rest)
  end
end

local Parser = {}
Parser.__index = Parser

function Parser:next()
  self.at = self.at + 1
  return self.words[self.at - 1]
end

function Parser:peek()
  return self.words[self.at]
end

function Parser:condition()
  local word = self:next()
  if word == "not" or word == "!" then
    local test = self:condition()
    return function(row) return not test(row) end
  elseif word == "(" then
    local test = self:expression()
    if self:next() ~= ")" then
      errors.misuse "a parenthesis is not closed"
    end
    return test
  elseif word == "sport" or word == "dport" then
    local fits = compare[operators[self:peek() or ""] and operators[self:next()] or "eq"]
    local port = port_of(self:next())
    return function(row) return row[word] ~= nil and fits(row[word], port) end
  elseif word == "src" or word == "dst" then
    local negated = operators[self:peek() or ""] and operators[self:next()] == "ne"
    local host = self:next()
    local prefix, bits = (host or ""):match "^(.-)/(%d+)$"
    local address, port = host_of(prefix or host)
    local fits = address and inside(address, bits)
    local port_key = word == "src" and "sport" or "dport"
    return function(row)
      local yes = row[word] ~= nil and (not fits or fits(row[word])) and (not port or row[port_key] == port)
      return yes ~= (negated == true)
    end
  elseif word == "dev" or word == "inode" then
    local negated = operators[self:peek() or ""] and operators[self:next()] == "ne"
    local value = self:next()
    return function(row) return (tostring(row[word]) == value) ~= (negated == true) end
  end
  errors.misuse("a filter is made of state, exclude, src, dst, sport, dport, dev, inode, not, and, or and parentheses; got %s", word or "nothing")
end

function Parser:conjunction()
  local test = self:condition()
  while true do
    local word = self:peek()
    if word == "and" or word == "&" or word == "&&" then
      self:next()
    elseif not word or word == ")" or word == "or" or word == "|" or word == "||" then
      return test
    end
    local left, right = test, self:condition()
    test = function(row) return left(row) and right(row) end
  end
end

function Parser:expression()
  local test = self:conjunction()
  while self:peek() == "or" or self:peek() == "|" or self:peek() == "||" do
    self:next()
    local left, right = test, self:conjunction()
    test = function(row) return left(row) or right(row) end
  end
  return test
end

---@param list string[]
---@return { states: string[]?, excluded: string[]?, test: (fun(row: nslua.Socket): boolean)? }
function M.read(list)
  local parser = setmetatable({ words = words_of(list), at = 1 }, Parser)
  local out = {}
  while parser:peek() == "state" or parser:peek() == "exclude" do
    local key = parser:next() == "state" and "states" or "excluded"
    local word = parser:next()
    if not word then
      errors.misuse "the name of a state is missing"
    end
    out[key] = out[key] or {}
    table.insert(out[key], word:lower())
  end
  out.test = parser:peek() and parser:expression() or nil
  if parser:peek() then
    errors.misuse("a filter ends before %s", parser:peek())
  end
  return out
end

return M
