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
  return helper.sh(("nsenter --net=/proc/%d/fd/%d %s"):format(pid, handle.fd:number(), command))
end

---Output of `ip -d -j ...` inside a namespace, decoded.
---@param handle table
---@param arguments string
---@return table
function M.ip(handle, arguments)
  local out, ok = M.inside(handle, "ip -d -j " .. arguments)
  assert(ok, "ip " .. arguments .. ": " .. out)
  return out == "" and {} or cjson.decode(out)
end

---Do something with ip(8) inside a namespace.
---@param handle table
---@param arguments string
function M.set(handle, arguments)
  local out, ok = M.inside(handle, "ip " .. arguments)
  assert(ok, "ip " .. arguments .. ": " .. out)
end

local open = {}

---A namespace that `M.close` closes.
---@param label string
---@return table
function M.netns(label)
  local handle = require("nslua").netns.new { lo = true, label = label }
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
  if not helper.is_root() then
    return "needs root: ip(8) is run inside the namespaces"
  elseif not (helper.has "ip" and helper.has "nsenter") then
    return "needs ip(8) and nsenter(1)"
  end
end

---Whether this kernel makes links of a kind.
---@param kind string
---@return boolean
function M.has_kind(kind)
  local handle = require("nslua").netns.new()
  local _, ok = M.inside(handle, "ip link add name probe0 type " .. kind .. (({ vxlan = " id 1 dstport 4789" })[kind] or ""))
  handle:close()
  return ok
end

return M
