-- What the rtnetlink specs share: Debian's ip(8) as the oracle, run inside a namespace handle, and namespaces that end with a test.

local cjson = require "cjson"
local helper = require "spec.helper"

local M = {}

local pid = assert(io.open "/proc/self/stat"):read "*n"

---Run a host tool inside a namespace.
---@param handle table
---@param command string
---@return string output
---@return boolean ok
function M.inside(handle, command)
  local userns = rawget(handle, "userns")
  local user = userns and ("--user=/proc/%d/fd/%d --preserve-credentials "):format(pid, userns.fd:number()) or ""
  return helper.sh(("nsenter %s--net=/proc/%d/fd/%d %s"):format(user, pid, handle.fd:number(), command))
end

-- cjson has only floats, which print as "24.0" where Lua has integers
local function integers(value)
  if type(value) == "table" then
    for k, v in pairs(value) do
      value[k] = integers(v)
    end
  elseif type(value) == "number" and value % 1 == 0 and math.tointeger then
    return math.tointeger(value)
  end
  return value
end

---Output of `ip -d -j ...` inside a namespace, decoded.
---@param handle table
---@param arguments string
---@return table
function M.ip(handle, arguments)
  local out, ok = M.inside(handle, "ip -d -j " .. arguments)
  assert(ok, "ip " .. arguments .. ": " .. out)
  return out == "" and {} or integers(cjson.decode(out))
end

---Do something with ip(8) inside a namespace.
---@param handle table
---@param arguments string
function M.set(handle, arguments)
  local out, ok = M.inside(handle, "ip " .. arguments)
  assert(ok, "ip " .. arguments .. ": " .. out)
end

---This process's open fds without pipes: those of programs that have ended go when they are collected.
---@return table<integer, string>
function M.fds()
  local out = {}
  for n, target in pairs(helper.fds()) do
    if not target:find "^pipe:" then
      out[n] = target
    end
  end
  return out
end

local open = {}
local userns -- of a script without rights, for all of its namespaces

---A namespace that `M.close` closes: of root, or in a user namespace.
---@param label? string
---@return table
function M.netns(label)
  local ns = require "nslua"
  if not helper.is_root() then
    userns = userns or ns.userns.new { map_users = "root" }
  end
  local handle = ns.netns.new { lo = true, label = label, userns = userns }
  open[#open + 1] = handle
  return handle
end

---Close what `M.netns` made.
function M.close()
  for _, handle in ipairs(open) do
    handle:close()
  end
  open = {}
end

---Why these specs cannot run, or nil.
---@return string?
function M.cannot()
  if not (helper.has "ip" and helper.has "nsenter") then
    return "needs ip(8) and nsenter(1)"
  end
  local ok, e = pcall(M.netns, "probe")
  if not ok then
    return "no network namespace can be made here: " .. tostring(e)
  end
  local out, entered = M.inside(e, "true")
  e:close()
  if not entered then
    return "the namespace cannot be entered by nsenter(1): " .. out
  end
end

---Whether TUN and TAP devices can be made: the machine may keep their device file to root.
---@return boolean
function M.has_tun()
  local f = io.open("/dev/net/tun", "r")
  if f then
    f:close()
  end
  return f ~= nil
end

---Whether this kernel makes links of a kind.
---@param kind string
---@return boolean
function M.has_kind(kind)
  local handle = M.netns "probe"
  local _, ok = M.inside(handle, "ip link add name probe0 type " .. kind .. (({ vxlan = " id 1 dstport 4789" })[kind] or ""))
  handle:close()
  return ok
end

return M
