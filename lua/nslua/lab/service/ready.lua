-- Whether a service is ready: what has to be so before it counts as running. Looked at by its supervisor, inside the node.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local units = require "nslua.units"

local M = {}

---@class nslua.lab.Ready    all that is said has to be so
---@field tcp? integer       somebody on the node listens on that TCP port
---@field udp? integer       somebody on the node has that UDP port
---@field file? string       a file of that name is there
---@field output? string     a line of its output matches that pattern of Lua
---@field probe? fun(node: nslua.lab.Node): any  it returns true; called again and again in the supervisor, a copy of the script
---@field seconds? number|string  in which it must become ready, 10; else it is ended, and counts as failed

---What a plan's `ready` says, checked.
---@param said nslua.lab.Ready|fun(node: nslua.lab.Node): any|nil
---@return nslua.lab.Ready?
function M.read(said)
  if type(said) == "function" then
    said = { probe = said }
  elseif said == nil then
    return nil
  end
  check.options("service: ready", said, { tcp = "1-65535", udp = "1-65535", file = "string", output = "string", probe = "function",
    seconds = "number|string" })
  local out = { seconds = units.duration(said.seconds or 10, "service: ready.seconds") }
  for _, word in ipairs { "tcp", "udp", "file", "output", "probe" } do
    out[word] = said[word]
  end
  if next(out, next(out)) == nil then
    errors.misuse "service: ready says nothing: tcp, udp, file, output or probe"
  end
  if said.output then
    local ok, why = pcall(string.find, "", said.output)
    if not ok then
      errors.misuse("service: ready.output is no pattern: %s", why)
    end
  end
  return out
end

local function text_of(path)
  local f = core.fd.open(path, "r")
  local parts = {}
  while f do
    local bytes = f:read()
    if not bytes or bytes == "" then
      f:close()
      break
    end
    parts[#parts + 1] = bytes
  end
  return table.concat(parts)
end

-- Whether a socket of this network namespace has a local port: proc_pid_net(5). State 0A is LISTEN; of UDP any will do.
local function has_port(proto, port)
  local pattern = (":%04X %%x+:%%x+ %s "):format(port, proto == "tcp" and "0A" or "%x%x")
  for _, name in ipairs { proto, proto .. "6" } do
    if text_of("/proc/thread-self/net/" .. name):find(pattern) then
      return true
    end
  end
  return false
end

---What is missing yet, in words; nil: it is ready.
---@param ready nslua.lab.Ready
---@param seen boolean          whether a line of the output matched
---@param node nslua.lab.Node
---@return string?
function M.missing(ready, seen, node)
  if ready.tcp and not has_port("tcp", ready.tcp) then
    return ("nobody listens on TCP port %d"):format(ready.tcp)
  elseif ready.udp and not has_port("udp", ready.udp) then
    return ("nobody has UDP port %d"):format(ready.udp)
  elseif ready.file and not core.file.stat(ready.file) then
    return ("there is no file %s"):format(ready.file)
  elseif ready.output and not seen then
    return ("no line of its output matches %q"):format(ready.output)
  elseif ready.probe then
    local ok, value = pcall(ready.probe, node)
    if not ok then
      return "the probe raised: " .. tostring(value)
    elseif not value then
      return "the probe does not say so"
    end
  end
end

return M
