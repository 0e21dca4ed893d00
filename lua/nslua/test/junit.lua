-- Reports in the XML of JUnit, as CI systems read it: a suite of cases, each with its time, and why it failed.

local M = {}

local Junit = {}
Junit.__index = Junit

---@param out file*
---@return table
function M.new(out)
  return setmetatable({ out = out, cases = {}, notes = {} }, Junit)
end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\n"] = "&#10;", ["\t"] = "&#9;", ["\r"] = "&#13;" }

-- Continuation bytes that a first byte of UTF-8 asks for, and the least and most that the next one may be.
local function utf8_shape(b)
  if b >= 0xc2 and b <= 0xdf then
    return 1, 0x80, 0xbf
  elseif b >= 0xe0 and b <= 0xef then
    return 2, b == 0xe0 and 0xa0 or 0x80, b == 0xed and 0x9f or 0xbf
  elseif b >= 0xf0 and b <= 0xf4 then
    return 3, b == 0xf0 and 0x90 or 0x80, b == 0xf4 and 0x8f or 0xbf
  end
end

-- Text that may stand in XML 1.0: what is no UTF-8, or no character there, becomes "?".
local function clean(text)
  local out, at = {}, 1
  while at <= #text do
    local plain = text:match("^[\t\n\r\32-\126]+", at)
    if plain then
      out[#out + 1] = plain
      at = at + #plain
    else
      local more, least, most = utf8_shape(text:byte(at))
      local second = text:byte(at + 1)
      local good = more and second and second >= least and second <= most and text:match("^[\128-\191]+", at + 1)
      local whole = good and #good >= more and text:sub(at, at + more)
      if whole == "\239\191\190" or whole == "\239\191\191" then -- U+FFFE, U+FFFF
        whole = false
      end
      out[#out + 1] = whole or "?"
      at = at + (whole and #whole or 1)
    end
  end
  return table.concat(out)
end

local function attribute(text)
  return '"' .. clean(text):gsub('[&<>"\n\t\r]', entities) .. '"'
end

local function content(text)
  return (clean(text):gsub("[&<>\r]", entities))
end

function Junit:begin(test)
  self.class = test.name:gsub("^.*/", ""):gsub("%.lua$", "")
  self.date = os.date "!%Y-%m-%dT%H:%M:%S"
end

function Junit:result(_, r)
  local head = ("    <testcase name=%s classname=%s time=\"%.3f\""):format(attribute(r.name), attribute(self.class), r.elapsed)
  if r.status == "failed" then
    local file, number = (r.where or ""):match "^(.*):(%d+)$"
    if file then
      head = head .. (" file=%s line=\"%s\""):format(attribute(file), number)
    end
    local text = r.message .. (r.traceback and r.traceback ~= "" and "\n" .. r.traceback or "")
    self.cases[#self.cases + 1] = ("%s>\n      <failure message=%s type=\"failure\">%s</failure>\n    </testcase>\n"):format(head,
      attribute(r.message), content(text))
  elseif r.status == "skipped" then
    self.cases[#self.cases + 1] = ("%s>\n      <skipped message=%s/>\n    </testcase>\n"):format(head, attribute(r.message or ""))
  else
    self.cases[#self.cases + 1] = head .. "/>\n"
  end
end

function Junit:note(text)
  self.notes[#self.notes + 1] = text
end

function Junit:finish(test, broken)
  if not broken and test.plan and test.plan ~= test.count then
    broken = ("%d tests were planned, %d run"):format(test.plan, test.count)
  end
  if broken then
    self.cases[#self.cases + 1] = ("    <testcase name=%s classname=%s time=\"0\">\n      <error message=%s type=\"error\"/>\n"
      .. "    </testcase>\n"):format(attribute "the script itself", attribute(self.class), attribute(broken))
  end
  local elapsed = require("nslua.core").fd.clock() - test.began
  local counts = ("tests=\"%d\" failures=\"%d\" errors=\"%d\" skipped=\"%d\" time=\"%.3f\""):format(test.count + (broken and 1 or 0), test.failed,
    broken and 1 or 0, test.skipped, elapsed)
  self.out:write('<?xml version="1.0" encoding="UTF-8"?>\n', ("<testsuites %s>\n"):format(counts),
    ("  <testsuite name=%s timestamp=\"%s\" %s>\n"):format(attribute(test.name), self.date, counts), table.concat(self.cases))
  if self.notes[1] then
    self.out:write("    <system-out>", content(table.concat(self.notes, "\n")), "</system-out>\n")
  end
  self.out:write "  </testsuite>\n</testsuites>\n"
  local ok, why = self.out:flush()
  self.unwritten = not ok and why or nil
end

return M
