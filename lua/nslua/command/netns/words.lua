-- What the words of nslua netns stand for, and what ip netns says of those that stand for nothing.

local core = require "nslua.core"
local errors = require "nslua.error"
local host = require "nslua.host"
local ns = require "nslua"

local M = {}

M.path = "/run/netns/"

---Names are other people's text: a terminal gets no control bytes of them.
---@param text string
---@param fd? integer  where it is written to (default 1)
---@return string
function M.shown(text, fd)
  return host.is_terminal(fd or 1) and require "nslua.command.cli.columns".safe(text) or text
end
local shown = M.shown

---A line on stderr.
---@param status integer
---@param format string
---@return integer status
function M.fail(status, format, ...)
  io.stdout:flush()
  local lines = {}
  for line in (format:format(...) .. "\n"):gmatch "([^\n]*)\n" do
    lines[#lines + 1] = shown(line, 2)
  end
  io.stderr:write(table.concat(lines, "\n"), "\n")
  return status
end
local fail = M.fail

---Say why something failed; what is no error object is raised on.
---@param status integer
---@param what string
---@param e any
---@return integer status
function M.explain(status, what, e)
  if not errors.is(e) then
    error(e, 0)
  end
  return fail(status, "%s: %s%s", what, e.errno and core.strerror(e.errno) or e.message, e.hint and "\n" .. e.hint or "")
end

---Call fn(...); where it raises an error object, say what failed and why.
---@param status integer
---@param what string
---@param fn function
---@return any? result
---@return integer? status  where there is no result
function M.try(status, what, fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then
    return result
  end
  return nil, M.explain(status, what, result)
end

---Whether ip netns takes it for a name.
---@param word string
---@return boolean
function M.is_name(word)
  return (pcall(require "nslua.rundir".name, "netns", word))
end

---The namespace with a name: what stands in /run/netns, else what a prefix ("docker:web") says.
---@param name string
---@return nslua.Netns
function M.named(name)
  return ns.netns.open(name:find(":", 1, true) and core.file.stat(M.path .. name) and M.path .. name or name)
end

---Open a namespace for a program, or to look from.
---@param word string     what the user said
---@param target? string  what it stands for (default: a name)
---@return nslua.Netns?
---@return integer? status
function M.open(word, target)
  local ok, handle = pcall(target and ns.netns.open or M.named, target or word)
  if ok then
    return handle
  elseif not errors.is(handle) then
    error(handle, 0)
  end
  local format = handle.code == "EINVAL" and 'setting the network namespace "%s" failed: %s' or 'Cannot open network namespace "%s": %s'
  local why = word:find "^%l[%w_-]*:" and handle.message or core.strerror(handle.errno)
  return nil, fail(255, format .. "%s", word, why, handle.hint and "\n" .. handle.hint or "")
end

---What -n names: a name, a path (with a slash), or a pid.
---@param word string
---@return nslua.Netns?
---@return integer? status
function M.from(word)
  local target
  if word == "" or word == "." or word == ".." then
    target = M.path .. word -- no namespace, and that is what is said of it
  elseif word:find("/", 1, true) then
    target = word:sub(1, 1) == "/" and word or "/proc/self/cwd/" .. word
  elseif word:find "^%d+$" and not core.file.stat(M.path .. word) then
    target = M.process(word)
    target = core.file.stat(target) and target or M.path .. word
  end
  return M.open(word, target)
end

---The file of a process's namespace. By it, and not by the pid: ip netns takes the number of a thread too.
---@param pid string|integer
---@return string
function M.process(pid)
  return ("/proc/%s/ns/net"):format(pid)
end

---A number as iproute2 reads it: decimal, 0x or 0, with a sign, in 32 bits.
---@param text string
---@return integer?
function M.integer(text)
  local sign, digits = text:match "^%s*([+-]?)(%w+)$"
  local value
  if not digits then
    return nil
  elseif digits:find "^0[xX]%x+$" then
    value = #digits <= 17 and tonumber(digits) -- beyond, tonumber wraps around
  elseif digits:find "^0" then
    value = #digits <= 21 and tonumber(digits, 8)
  else
    value = digits:find "^%d+$" and tonumber(digits)
  end
  value = value and (sign == "-" and -value or value)
  return value and value >= -2147483648 and value <= 2147483647 and math.tointeger(value) or nil
end

return M
