-- The words behind a listing command, as ip(8) reads them, and what it says of those that mean nothing.

local core = require "nslua.core"
local names = require "nslua.rtnl.names"

local M = {}

-- What is wrong with the words: caught by list/run.lua, printed, and the exit status.
local Wrong = { __name = "wrong words" }

---Stop with ip's words for what is wrong.
---@param status integer
---@param format string
function M.wrong(status, format, ...)
  error(setmetatable({ status = status, text = format:format(...) }, Wrong), 0)
end
local wrong = M.wrong

---The same, of a device that may be in another namespace.
---@param format string
function M.absent(format, ...)
  error(setmetatable({ status = 1, text = format:format(...), absent = true }, Wrong), 0)
end

---The same, of a word's value.
---@param value string
function M.absent_argument(value)
  error(setmetatable({ status = 255, text = ('Error: argument "%s" is wrong: Device does not exist\n'):format(value), absent = true }, Wrong), 0)
end

---@param e any
---@return boolean
function M.is_wrong(e)
  return getmetatable(e) == Wrong
end

---@class nslua.list.Word
---@field [1] string      "master"
---@field arg? boolean    a value follows (default true)
---@field set fun(f: table, value: string)

---Read words into a filter. A word may be shortened, the first that it fits is taken; one that fits none is what `bare` takes.
---@param words string[]
---@param first integer
---@param known nslua.list.Word[]
---@param bare fun(f: table, value: string)
---@return table f
function M.read(words, first, known, bare)
  local f, i = {}, first
  local function word_of(text)
    for _, word in ipairs(known) do
      if word[1] == text then
        return word
      end
    end
    for _, word in ipairs(known) do
      if #text > 1 and word[1]:sub(1, #text) == text then
        return word
      end
    end
  end
  while words[i] do
    local word = word_of(words[i])
    if not word then
      bare(f, words[i])
    elseif word.arg == false then
      word.set(f)
    else
      i = i + 1
      if not words[i] then
        wrong(255, 'Command line is not complete. Try option "help"')
      end
      word.set(f, words[i])
    end
    i = i + 1
  end
  return f
end

---A word that sets a key of the filter to its value.
---@param word string
---@param key? string
---@return nslua.list.Word
function M.value(word, key)
  return { word, set = function(f, value) f[key or word] = value end }
end

---A word that stands alone.
---@param word string
---@param key? string
---@param value? any
---@return nslua.list.Word
function M.flag(word, key, value)
  return { word, arg = false, set = function(f) f[key or word] = value == nil and true or value end }
end

---A word whose value has a name or a number: a table, protocol, scope, group.
---@param word string
---@param kind "table"|"proto"|"scope"|"group"
---@param complaint string  of ip, for one that is neither
---@return nslua.list.Word
function M.named(word, kind, complaint)
  return { word, set = function(f, value)
    local ok, number = pcall(names.number, kind, value, word)
    if not ok then
      wrong(255, 'Error: argument "%s" is wrong: %s\n', value, complaint)
    end
    f[kind] = number
  end }
end

---The bare word of links and addresses: a link, once.
---@param f table
---@param value string
function M.bare_dev(f, value)
  if f.dev then
    wrong(255, 'Error: either "dev" is duplicate, or "%s" is a garbage.', value)
  end
  f.dev = value
end

---@class nslua.list.Prefix
---@field bytes string
---@field length integer
---@field family "inet"|"inet6"

---"10.0.0.0/8", "default"; missing bytes of a short IPv4 prefix are zero, as in ip: "10/8".
---@param text string
---@param family? "inet"|"inet6"
---@return nslua.list.Prefix
function M.prefix(text, family)
  if text == "default" or text == "all" or text == "any" then
    return { bytes = "", length = 0, family = family }
  end
  local address, length = text:match "^([^/]+)/?(%d*)$"
  if address and address:find "^%d+[%d.]*$" then
    local _, dots = address:gsub("%.", "")
    length = length == "" and dots < 3 and (dots + 1) * 8 or length
    address = address .. (".0"):rep(3 - dots)
  end
  local ok, bytes = pcall(core.inet.bytes, address or "")
  bytes = ok and bytes or nil
  local most = bytes and #bytes * 8
  length = length == "" and most or math.tointeger(tonumber(length))
  if not bytes or not length or length > most or family and (family == "inet") ~= (most == 32) then
    wrong(1, 'Error: %s prefix is expected rather than "%s".', family or "any valid", text)
  end
  return { bytes = bytes, length = length, family = most == 32 and "inet" or "inet6" }
end

---Whether the address lies within the prefix.
---@param prefix nslua.list.Prefix
---@param address string
---@return boolean
function M.within(prefix, address)
  if prefix.length == 0 then
    return true
  end
  local bytes = core.inet.bytes(address)
  if #bytes ~= #prefix.bytes then
    return false
  end
  local whole, rest = prefix.length // 8, prefix.length % 8
  if bytes:sub(1, whole) ~= prefix.bytes:sub(1, whole) then
    return false
  end
  return rest == 0 or bytes:byte(whole + 1) >> (8 - rest) == prefix.bytes:byte(whole + 1) >> (8 - rest)
end

return M
