-- --trace, NSLUA_TRACE: every effect on the system as the line of ip(8), tc(8), unshare(1), nsenter(1), sysctl(8) that it stands for, with its time
-- and result. Loaded only where it is asked for: it puts printing functions in the place of those of nslua.core, through which every effect
-- goes, so that nothing else knows of it.
--
-- Lines that changed something can be run by sh(1), and build again what the script built. What failed, what only reads (`all`) and what no tool
-- has words for is a comment. Files of trace/: out (the lines), sh (quoting), spaces (what a namespace is called), netlink and one file for each
-- object, kinds (options of links), process (programs), effects (the rest).

local errors = require "nslua.error"

local M = {}

local on = false

-- Lua 5.1 finalises no tables, but has newproxy.
local newproxy = rawget(_G, "newproxy")

local function at_end(fn)
  if newproxy then
    local p = newproxy(true)
    getmetatable(p).__gc = fn
    return p
  end
  return setmetatable({}, { __gc = fn })
end

---Begin to trace. Once begun it goes on to the end of the program.
---@param where? string   "1" or "": to stderr; "all": reads too; a path: to that file; "all:PATH"
---@param append? boolean after what the file has (of NSLUA_TRACE, which programs that are started inherit)
function M.start(where, append)
  if on then
    return
  end
  on = true
  local out = require "nslua.trace.out"
  local path = where or ""
  if path == "all" or path:sub(1, 4) == "all:" then
    out.all = true
    path = path:sub(5)
  end
  if path ~= "" and path ~= "1" then
    local ok, message, errno = out.open(path, append == true)
    errors.check("trace", nil, ok, message, errno)
  end
  M.closer = at_end(out.finish) -- made first, so run last: what closes with the state is told before
  require("nslua.trace.spaces").start()
  require("nslua.trace.netlink").start()
  require("nslua.trace.process").start()
  require("nslua.trace.effects").start()
end

return M
