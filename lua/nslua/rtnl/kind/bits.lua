-- Words that say yes or no and are single bits of one number of the kernel's.

local M = {}

---Whether a number has a bit.
---@param number integer
---@param bit integer  its value
---@return boolean
function M.has(number, bit)
  return math.floor(number / bit) % 2 == 1
end

---A number with a bit set or not.
---@param number integer
---@param bit integer
---@param on boolean
---@return integer
function M.set(number, bit, on)
  local is = M.has(number, bit)
  return on and not is and number + bit or is and not on and number - bit or number
end

---Words into the number `data[key]`, where one of them is there.
---@param data table  changed in place
---@param key string
---@param words table<string, integer>  word to its bit
---@param now? table  what the kernel has: bits without a word stay as they are
---@return integer? mask  the bits that were said; nil: none
function M.write(data, key, words, now)
  local value, mask = now and now[key] or 0, nil
  for word, bit in pairs(words) do
    if data[word] ~= nil then
      value, mask = M.set(value, bit, data[word]), (mask or 0) + bit
      data[word] = nil
    end
  end
  if mask then
    data[key] = value
  end
  return mask
end

---The number `data[key]` as words.
---@param data table  changed in place
---@param key string
---@param words table<string, integer>
function M.read(data, key, words)
  if data[key] then
    for word, bit in pairs(words) do
      data[word] = M.has(data[key], bit)
    end
  end
end

---A kind's `words` for these.
---@param words table<string, integer>
---@param into? table<string, string>
---@return table<string, string>
function M.booleans(words, into)
  into = into or {}
  for word in pairs(words) do
    into[word] = "boolean"
  end
  return into
end

return M
