-- Texts of probes: what is typed to be sent, what came, and targets with ports.

local core = require "nslua.core"
local errors = require "nslua.error"
local where = require "nslua.command.probe.where"

local M = {}

local NAMED = { n = "\n", r = "\r", t = "\t", ["0"] = "\0", ["\\"] = "\\" }

---@param text? string  with \n, \x41
---@return string?
function M.unescape(text)
  return text and (text:gsub("\\(x?)(.?%x?)", function(x, rest)
    if x == "x" then
      if not rest:find "^%x%x$" then
        errors.misuse("'%s': two hexadecimal digits are needed after \\x", text)
      end
      return string.char(tonumber(rest, 16))
    end
    local c = rest:sub(1, 1)
    if not NAMED[c] then
      errors.misuse("'%s': \\%s is not understood; \\n, \\r, \\t, \\0, \\\\ and \\x41 are", text, c)
    end
    return NAMED[c] .. rest:sub(2)
  end))
end

-- What a port is said to be, by the error.
M.states = { ECONNREFUSED = "refused", ETIMEDOUT = "silent" }

local SHOWN = 60

---The beginning of what came, in quotes.
---@param bytes string
---@return string
function M.shown(bytes)
  return ('"%s"%s'):format(bytes:sub(1, SHOWN):gsub("\r", "\\r"):gsub("\n", "\\n"):gsub("\t", "\\t"),
    #bytes > SHOWN and (" and %d bytes more"):format(#bytes - SHOWN) or "")
end

---The jobs' fields for each port of each target of the command's words.
---@param o table
---@return table[]
function M.ports_of(o)
  local out = {}
  for i = 2, #o do
    local host, ports = where.host_and_ports(o[i])
    local form = core.inet.bytes((host:gsub("%%.*", ""))) and host:find(":", 1, true) and "[%s]:%d" or "%s:%d"
    for _, port in ipairs(ports) do
      out[#out + 1] = { target = form:format(host, port), host = host, port = port }
    end
  end
  return out
end

---@param jobs nslua.probe.Job[]
---@param o table
---@return nslua.probe.Job[]
function M.open_only(jobs, o)
  if not o.open then
    return jobs
  end
  local out = {}
  for _, job in ipairs(jobs) do
    out[#out + 1] = job.result and job.result.connected and job or nil
  end
  return out
end

return M
