-- Filters that the kernel runs over its internet sockets: the bytecode of linux/inet_diag.h, every part of which has to hold.

local book = require "nslua.diag.schema"

local M = {}

-- INET_DIAG_BC_*
local S_GE, S_LE, D_GE, D_LE, S_COND, D_COND, DEV_COND = 2, 3, 4, 5, 7, 8, 9

local function encode(name, t)
  return book:compile(name):encode(t)
end

---@class nslua.diag.Tests
---@field ports { [1]: "sport"|"dport", [2]: integer }[]
---@field addresses { [1]: "src"|"dst", [2]: integer, [3]: integer, [4]: string }[]  family, length of the prefix, bytes
---@field dev? integer

---@param tests nslua.diag.Tests
---@return string? bytes  nil: nothing to test
function M.of(tests)
  local parts = {}
  local function op(code, argument)
    parts[#parts + 1] = { code, argument }
  end
  for _, port in ipairs(tests.ports) do
    -- the port stands in the `no` of an operation of its own; "equal" is newer than these two
    local argument = encode("op", { no = port[2] })
    op(port[1] == "sport" and S_GE or D_GE, argument)
    op(port[1] == "sport" and S_LE or D_LE, argument)
  end
  for _, a in ipairs(tests.addresses) do
    op(a[1] == "src" and S_COND or D_COND, encode("hostcond", { family = a[2], prefix_len = a[3], port = -1 }) .. a[4])
  end
  if tests.dev then
    op(DEV_COND, encode("word", { value = tests.dev }))
  end
  if not parts[1] then
    return nil
  end
  local out = ""
  for i = #parts, 1, -1 do
    local size = 4 + #parts[i][2]
    -- `no` jumps four bytes behind the end: it is none of those asked for
    out = encode("op", { code = parts[i][1], yes = size, no = #out + size + 4 }) .. parts[i][2] .. out
  end
  return out
end

return M
