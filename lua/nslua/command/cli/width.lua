-- How many columns of a terminal a text takes: two for East Asian wide characters and pictures, none for marks upon others. wcwidth(3)

-- Ranges of code points, sorted: from, to.
local WIDE = {
  0x1100, 0x115f, 0x231a, 0x231b, 0x2329, 0x232a, 0x23e9, 0x23ec, 0x2e80, 0x303e, 0x3041, 0xa4cf, 0xa960, 0xa97c, 0xac00, 0xd7a3,
  0xf900, 0xfaff, 0xfe30, 0xfe6f, 0xff01, 0xff60, 0xffe0, 0xffe6, 0x16fe0, 0x18aff, 0x1b000, 0x1b2ff, 0x1f300, 0x1f64f, 0x1f680, 0x1f6ff,
  0x1f900, 0x1f9ff, 0x20000, 0x3fffd,
}
local NONE = { 0x300, 0x36f, 0x483, 0x489, 0x591, 0x5bd, 0x610, 0x61a, 0x64b, 0x65f, 0x200b, 0x200f, 0x202a, 0x202e, 0x20d0, 0x20f0,
  0xfe00, 0xfe0f, 0xfe20, 0xfe2f, 0xfeff, 0xfeff, 0xe0100, 0xe01ef }

local function within(ranges, code)
  for i = 1, #ranges, 2 do
    if code < ranges[i] then
      return false
    elseif code <= ranges[i + 1] then
      return true
    end
  end
  return false
end

local function of(code)
  return code < 0x300 and 1 or within(NONE, code) and 0 or within(WIDE, code) and 2 or 1
end

local M = {}

---@param text string
---@return integer columns  its bytes where it is no UTF-8
function M.width(text)
  if not text:find "[\x80-\xff]" or not utf8.len(text) then
    return #text
  end
  local n = 0
  for _, code in utf8.codes(text) do
    n = n + of(code)
  end
  return n
end

---As much of the beginning as fits.
---@param text string
---@param columns integer
---@return string
function M.clip(text, columns)
  if M.width(text) <= columns then
    return text
  elseif not utf8.len(text) then
    return text:sub(1, columns)
  end
  local n = 0
  for at, code in utf8.codes(text) do
    n = n + of(code)
    if n > columns then
      return text:sub(1, at - 1)
    end
  end
  return text
end

return M
