-- Text that a terminal, a browser or a file may be given: names of links are anybody's.

local M = {}

-- Characters of UTF-8 that do something instead of being seen: C1 controls, marks of direction, separators of lines, no characters at all.
local hidden = { "\xc2[\x80-\x9f]", "\xe2\x80[\x8b-\x8f\xa8-\xae]", "\xe2\x81[\xa0-\xaf]", "\xef\xbb\xbf", "\xef\xbf[\xb9-\xbf]",
  "\xed[\xa0-\xbf][\x80-\xbf]" }

---The text with a "?" for each character that is none to be seen, and for each byte that is no UTF-8.
---@param text string
---@return string
function M.text(text)
  text = text:gsub("%c", "?")
  if not text:find "[\x80-\xff]" then
    return text
  elseif not utf8.len(text) then
    return (text:gsub("[\x80-\xff]", "?"))
  end
  for _, pattern in ipairs(hidden) do
    text = text:gsub(pattern, "?")
  end
  return text
end

-- Of a character.
local function columns_of(code)
  return code >= 0x1100 and not (code >= 0x1200 and code < 0x2e80) and not (code >= 0xfb00 and code < 0xfe30) and 2 or 1
end

---Columns of a terminal: East Asian characters and pictures take two.
---@param text string
---@return integer
function M.width(text)
  local n = utf8.len(text) or #text
  if text:find "[\xe1-\xef\xf0]" then
    for _, code in utf8.codes(text) do
      n = n + columns_of(code) - 1
    end
  end
  return n
end

---As much of the beginning as fits, with a mark where something is missing.
---@param text string  UTF-8
---@param columns integer
---@param mark string  of one column
---@return string
function M.clip(text, columns, mark)
  local n, fits = 0, 0 -- `fits`: bytes that leave room for the mark
  for at, code in utf8.codes(text) do
    n = n + columns_of(code)
    if n > columns then
      return text:sub(1, fits) .. mark
    elseif n < columns then
      fits = at + #utf8.char(code) - 1
    end
  end
  return text
end

return M
