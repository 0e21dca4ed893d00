-- Numbers of a book's declarations against the kernel's own headers: a C file of _Static_asserts, compiled.

local helper = require "spec.helper"

local M = {}

---@param book nslua.schema.Book?
---@param more table[]  further constants, as schema.constants() gives them
---@return string output
---@return boolean ok
function M.check(book, more)
  local constants, headers, newer = book and book:constants() or {}, {}, {}
  for _, c in ipairs(more) do
    constants[#constants + 1] = c
  end
  assert(constants[1], "nothing to check")
  for _, c in ipairs(constants) do
    headers[c.header] = true
    if c.newer then
      newer[c.expression] = true
      newer[c.expression:match "([%w_]+)%)$" or ""] = c.expression
    end
  end
  local includes = {}
  for header in pairs(headers) do
    includes[#includes + 1] = ("#include <%s>"):format(header)
  end
  table.sort(includes)
  local path = os.tmpname()
  local function compile(missing)
    local lines = {}
    for _, c in ipairs(constants) do
      if not missing[c.expression] then
        lines[#lines + 1] = ("_Static_assert((unsigned long)(%s) == %.0fUL, \"%s\");"):format(c.expression, c.value, c.where)
      end
    end
    local f = assert(io.open(path .. ".c", "w"))
    f:write("#include <stddef.h>\n#include <sys/socket.h>\n", table.concat(includes, "\n"), "\n", table.concat(lines, "\n"), "\n")
    f:close()
    return helper.sh("LC_ALL=C cc -std=gnu11 -fsyntax-only -fmax-errors=0 " .. path .. ".c")
  end
  local out, ok = compile {}
  if not ok then
    local missing = {}
    for name in out:gmatch "'([%u%d_]+)' undeclared" do
      missing[name] = newer[name]
    end
    for name in out:gmatch "no member named '([%w_]+)'" do
      missing[newer[name] or ""] = true
    end
    out, ok = compile(missing)
  end
  os.remove(path)
  os.remove(path .. ".c")
  return out, ok
end

return M
