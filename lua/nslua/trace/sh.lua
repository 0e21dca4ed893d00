-- Words as sh(1) reads them back.

local M = {}

-- Bytes that would act on a terminal: printf makes them again.
local function octal(text)
  return '"$(printf \'' .. text:gsub("[%%\\']", { ["%"] = "%%", ["\\"] = "\\\\", ["'"] = "\\047" }):gsub("[%z\1-\31\127]", function(c)
    return ("\\%03o"):format(c:byte())
  end) .. "')\""
end

---One word, quoted where sh would not take it as it is.
---@param word any
---@return string
function M.quote(word)
  word = tostring(word)
  if word:find "^[%w_@%%+:,./=-]+$" then
    return word
  elseif word:find "[%z\1-\9\11-\31\127]" and word:sub(-1) ~= "\n" then -- a command's last newline is cut
    return octal(word)
  end
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

---Words of a command line.
---@param words any[]
---@return string
function M.join(words)
  local out = {}
  for i, word in ipairs(words) do
    out[i] = M.quote(word)
  end
  -- a first word with "=" in it would be an assignment
  if out[1] and out[1]:find "^[%a_][%w_]*=" then
    out[1] = "'" .. out[1] .. "'"
  end
  return table.concat(out, " ")
end

---Text in one line, for a comment.
---@param text string
---@return string
function M.flat(text)
  return (text:gsub("[%z\1-\31\127]", function(c)
    return c == "\n" and "\\n" or ("\\%03d"):format(c:byte())
  end))
end

return M
