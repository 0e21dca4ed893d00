-- Values between quotes in the text of a lab: what would else end them, or be read as something else, stands there as it is.

local M = {}

local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }
local letters = { n = "\n", t = "\t" }

---A value as it is written: between quotes where it must be.
---@param value string
---@return string
function M.write(value)
  if value:find "^[%w_./:+-]+$" and not value:find("--", 1, true) then
    return value
  end
  return '"' .. value:gsub('[%c"\\]', function(c)
    return escapes[c] or ("\\%03d"):format(c:byte())
  end) .. '"'
end

---@param text string  as it is written
---@return string? value  nil where quotes are open, or something stands behind them
function M.read(text)
  if text:sub(1, 1) ~= '"' then
    return text
  end
  local inner, i = {}, 2
  while true do
    local c = text:sub(i, i)
    if c == '"' then
      return i == #text and table.concat(inner) or nil
    elseif c == "" then
      return nil
    elseif c == "\\" then
      local digits = text:match("^%d%d%d", i + 1)
      local code = digits and tonumber(digits) < 256 and string.char(tonumber(digits))
      local letter = text:sub(i + 1, i + 1)
      inner[#inner + 1] = code or letters[letter] or letter
      i = i + (code and 4 or 2)
    else
      inner[#inner + 1] = c
      i = i + 1
    end
  end
end

---The text with the same places, where nothing between quotes and in comments looks like anything: letters stand there.
---@param text string
---@return string
function M.mask(text)
  local out, at = {}, 1
  local function keep(to)
    out[#out + 1] = text:sub(at, to)
    at = to + 1
  end
  while true do
    local next_at = text:find('["#]', at)
    if not next_at then
      keep(#text)
      return table.concat(out)
    end
    keep(next_at - 1)
    local stop = next_at
    if text:sub(next_at, next_at) == '"' then
      local i = next_at + 1
      while true do
        local c = text:sub(i, i)
        if c == '"' then
          stop = i
          break
        elseif c == "" or c == "\n" then -- they are open: as if they were none
          break
        end
        i = i + (c == "\\" and 2 or 1)
      end
      if stop > next_at then
        out[#out + 1] = '"' .. ("x"):rep(stop - next_at - 1) .. '"'
        at = stop + 1
      else
        keep(next_at)
      end
    else
      keep(text:match("^[^\n]*()", next_at) - 1)
    end
  end
end

return M
