-- ns.connect: a veth between two namespaces, with addresses and up, in one call.

local errors = require "nslua.error"
local check = require "nslua.check"
local netns = require "nslua.netns"

local M = {}

---@class nslua.Connect
---@field [1] string|string[]|false  addresses of the first end: "10.0.0.1/24"
---@field [2] string|string[]|false  addresses of the second end
---@field mtu? integer               of both ends, in bytes
---@field names? string[]            { "eth0", "eth0" }; by default the first free "ethN" of each

---The first free "ethN" of a namespace, leaving out `taken`.
---@package
---@param handle nslua.Netns
---@param taken? string
---@return string
function M.free_name(handle, taken)
  local used = { [taken or ""] = true }
  for _, link in ipairs(handle.link:list()) do
    used[link.name] = true
    for _, name in ipairs(link.altnames or {}) do
      used[name] = true
    end
  end
  local n = 0
  while used["eth" .. n] do
    n = n + 1
  end
  return "eth" .. n
end

local function addresses(value, i)
  if value == nil or value == false then
    return {}
  elseif type(value) == "string" then
    return { value }
  end
  for _, address in ipairs(value) do
    check.argument("connect", ("[%d]"):format(i), address, "string")
  end
  return value
end

---Add addresses to a device. Those of IPv6 answer at once: whoever calls knows that nobody else has them.
---@package
---@param handle nslua.Netns
---@param dev string
---@param list string[]
function M.give(handle, dev, list)
  for _, address in ipairs(list) do
    handle.address:add { address, dev = dev, nodad = address:find(":", 1, true) and true or nil }
  end
end

---Join two namespaces by a veth: made, addressed and brought up at both ends. Nothing is left of it where a step fails.
---IPv6 addresses are added with `nodad`: between two ends that were born together nobody else can have them, and they answer at once.
---@param a any  whatever ns.netns.open takes
---@param b any
---@param options nslua.Connect
---@return table link_a  row of the end in a
---@return table link_b
function M.connect(a, b, options)
  options = options or {}
  check.options("connect", options, { [1] = "string|table|false", [2] = "string|table|false", mtu = "integer", names = "table" })
  local own_addresses, far_addresses = addresses(options[1], 1), addresses(options[2], 2)
  local names = options.names or {}
  for i = 1, 2 do
    check.argument("connect", ("names[%d]"):format(i), names[i], "string|nil")
  end
  local first = netns.open(a)
  local second_ok, second = pcall(netns.open, b)
  if not second_ok then
    if not rawequal(first, a) then
      first:close()
    end
    error(second, 0)
  end
  local name, far_name
  local made
  local ok, result, far = pcall(function()
    name = names[1] or M.free_name(first)
    far_name = names[2] or M.free_name(second, first == second and name or nil)
    first.link:add { name = name, kind = "veth", mtu = options.mtu, up = true,
      peer = { name = far_name, netns = second, mtu = options.mtu, up = true } }
    made = true
    M.give(first, name, own_addresses)
    M.give(second, far_name, far_addresses)
    return first.link:get(name), second.link:get(far_name)
  end)
  if not ok and made then
    pcall(first.link.delete, first.link, name)
  end
  if not rawequal(first, a) then
    first:close()
  end
  if not rawequal(second, b) then
    second:close()
  end
  if not ok then
    if type(result) == "table" and errors.is(result) then
      result.detail = ("connect %s and %s%s"):format(tostring(first), tostring(second), result.detail and ": " .. result.detail or "")
    end
    error(result, 0)
  end
  return result, far
end

return M
