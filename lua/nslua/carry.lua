-- Lua values as bytes, for the results of ns.fork: nil, booleans, numbers, strings, and tables of them; and the pipe they come by.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local function number(v)
  if math.type and math.type(v) == "integer" then
    return ("i%d;"):format(v)
  elseif v ~= v then
    return "dnan;"
  elseif v == math.huge or v == -math.huge then
    return v > 0 and "dinf;" or "d-inf;"
  end
  return ("d%.17g;"):format(v)
end

local function put(out, v, above, path)
  local t = type(v)
  if t == "nil" then
    out[#out + 1] = "n"
  elseif t == "boolean" then
    out[#out + 1] = v and "t" or "f"
  elseif t == "number" then
    out[#out + 1] = number(v)
  elseif t == "string" then
    out[#out + 1] = ("s%d:"):format(#v)
    out[#out + 1] = v
  elseif t == "table" then
    if above[v] then
      error(("%s contains itself"):format(path), 0)
    elseif #path > 2000 then
      error(("%s... is nested too deep"):format(path:sub(1, 40)), 0)
    end
    above[v] = true
    out[#out + 1] = errors.is(v) and "e" or "{"
    for k, item in next, v do
      local at = ("%s[%s]"):format(path, type(k) == "string" and ("%q"):format(k) or tostring(k))
      put(out, k, above, at)
      put(out, item, above, at)
    end
    out[#out + 1] = "}"
    above[v] = nil
  else
    error(("%s is a %s: only nil, booleans, numbers, strings and tables come back"):format(path, t), 0)
  end
end

---Bytes of values. Raises text that names the value which cannot be carried.
---@param what string  "result"
---@param n integer
---@param ... any
---@return string
function M.pack(what, n, ...)
  local out = { ("%d;"):format(n) }
  for i = 1, n do
    put(out, (select(i, ...)), {}, ("%s %d"):format(what, i))
  end
  return table.concat(out)
end

local get

local function get_table(text, at, class)
  local t = {}
  while text:sub(at, at) ~= "}" do
    local k, v
    k, at = get(text, at)
    v, at = get(text, at)
    t[k] = v
  end
  return class and setmetatable(t, class) or t, at + 1
end

function get(text, at)
  local c = text:sub(at, at)
  if c == "n" then
    return nil, at + 1
  elseif c == "t" or c == "f" then
    return c == "t", at + 1
  elseif c == "{" then
    return get_table(text, at + 1)
  elseif c == "e" then
    return get_table(text, at + 1, errors.Error)
  elseif c == "s" then
    local length, from = text:match("^(%d+):()", at + 1)
    local last = from + tonumber(length) - 1
    return text:sub(from, last), last + 1
  end
  local digits, after = text:match("^([^;]*);()", at + 1)
  if digits == "nan" then
    return 0 / 0, after
  elseif digits == "inf" or digits == "-inf" then
    return digits == "inf" and math.huge or -math.huge, after
  end
  local v = tonumber(digits)
  return c == "d" and v + 0.0 or v, after
end

---The values of bytes that pack() made.
---@param text string
---@return table values
---@return integer n
function M.unpack(text)
  local n, at = text:match "^(%d+);()"
  n = tonumber(n)
  local values = {}
  for i = 1, n do
    values[i], at = get(text, at)
  end
  return values, n
end

---A pipe for the result, whose writing end keeps its number in the child: none that the plan gives to another fd.
---@param fds { fd: integer, as: integer }[]?
---@return nslua.fd? reader
---@return nslua.fd|string writer
---@return integer? errno
function M.pipe(fds)
  local spare = {}
  local reader, writer, errno
  repeat
    local taken = false
    reader, writer, errno = core.fd.pipe()
    for _, entry in ipairs(reader and fds or {}) do
      taken = taken or entry.as == writer:number()
    end
    if taken then
      spare[#spare + 1], spare[#spare + 2] = reader, writer
    end
  until not taken
  for _, fd in ipairs(spare) do
    fd:close()
  end
  return reader, writer, errno
end

---In the copy: fds of ours whose numbers the plan has given away are not ours to close any more.
---@param job table
function M.let_go(job)
  local taken = {}
  for _, entry in ipairs(job.fds or {}) do
    taken[entry.as] = true
  end
  for _, list in ipairs { job.held, job.ours } do
    for _, fd in pairs(list) do
      if fd:isopen() and taken[fd:number()] then
        fd:release()
      end
    end
  end
end

return M
