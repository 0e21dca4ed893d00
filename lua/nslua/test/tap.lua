-- Reports in the Test Anything Protocol, version 13: what prove(1) reads.

local M = {}

local Tap = {}
Tap.__index = Tap

---@param out file*
---@return table
function M.new(out)
  return setmetatable({ out = out }, Tap)
end

-- One line; "#" would begin a directive.
local function line(text)
  return (text:gsub("[%c]+", " "):gsub("\\", "\\\\"):gsub("#", "\\#"))
end

-- A text in YAML, between double quotes.
local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return c == "\n" and "\\n" or c == "\t" and "\\t" or c == '"' and '\\"' or c == "\\" and "\\\\" or ("\\x%02x"):format(c:byte())
  end) .. '"'
end

function Tap:write(text)
  self.out:write(text)
  local ok, why = self.out:flush()
  self.unwritten = self.unwritten or not ok and why or nil
end

function Tap:begin(test)
  self:write("TAP version 13\n" .. (test.plan and ("1..%d\n"):format(test.plan) or ""))
end

function Tap:result(number, r)
  local text = ("%s %d - %s"):format(r.status == "failed" and "not ok" or "ok", number, line(r.name))
  if r.status == "skipped" then
    text = text .. " # SKIP " .. line(r.message or "")
  end
  text = text .. "\n"
  if r.status == "failed" then
    text = text .. "  ---\n  message: " .. quoted(r.message) .. "\n"
    if r.where then
      text = text .. "  at: " .. quoted(r.where) .. "\n"
    end
    if r.traceback and r.traceback ~= "" then
      text = text .. "  stack: |\n"
      for each in r.traceback:gmatch "[^\n]+" do
        text = text .. "    " .. each:gsub("%c", "?") .. "\n"
      end
    end
    text = text .. ("  seconds: %.3f\n  ...\n"):format(r.elapsed)
  end
  self:write(text)
end

function Tap:note(text)
  self:write((text .. "\n"):gsub("([^\n]*)\n", "# %1\n"), nil)
end

function Tap:finish(test, broken)
  if not test.plan and not broken then
    self:write(("1..%d\n"):format(test.count))
  end
  self:note(tostring(test))
  if broken then
    self:write("Bail out! " .. line(broken) .. "\n")
  end
end

return M
