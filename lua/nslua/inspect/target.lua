-- Whom a probe is for: an address, a name as the namespace knows it, an object that has addresses.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local etc = require "nslua.inspect.etc"

local M = {}

---@class nslua.Target
---@field ip string       4 or 16 bytes
---@field address string  their text
---@field family "inet"|"inet6"
---@field scope integer   link index of a link-local address; 0: none

local families = { [4] = "inet", [16] = "inet6" }

---@param call string
---@param family any
function M.check_family(call, family)
  if family ~= nil and family ~= "inet" and family ~= "inet6" then
    errors.misuse("%s: family must be \"inet\" or \"inet6\", got %s", call, tostring(family))
  end
end

-- An address, "fe80::1%eth0" too; nil for other text.
local function address_of_text(handle, call, text)
  local plain, zone = text:match "^([%x:.]+)%%(.+)$"
  local ip = core.inet.bytes(plain or text)
  if not ip or zone and #ip == 4 then
    return nil
  end
  local scope = 0
  if zone then
    local link = zone:match "^%d+$" and { index = math.tointeger(tonumber(zone)) } or handle.link:get(zone)
    if not link then
      errors.raise { call = call, netns = handle:describe(), errno = core.errno.ENODEV, detail = ("%q"):format(text) }
    end
    scope = link.index
  end
  return { ip = ip, address = core.inet.text(ip), family = families[#ip], scope = scope }
end

---The text of a target that is given as one, or as an object with `address_of`, as the nodes of a lab have it.
---@param handle nslua.Netns  who asks
---@param call string
---@param target any
---@param family? string
---@return string
local function text_of(handle, call, target, family)
  if type(target) == "table" and type(target.address_of) == "function" then
    local address = target:address_of(handle.node_name, family) or target:address_of(nil, family) -- where no way leads, the kernel says so
    if type(address) == "string" then
      return (address:gsub("/%d+$", ""))
    end
    return errors.misuse("%s: %s has no address that %s could reach", call, rawget(target, "label") or "the target", handle:describe())
  elseif type(target) ~= "string" then
    return errors.misuse("%s: an address, a name or an object with address_of expected, got %s", call, type(target))
  end
  return target
end

-- An address of a host name, as a program inside would find it: by the hosts file, then by DNS.
local function named(handle, call, name, family)
  for _, address in ipairs(etc.hosts(handle, name)) do
    if not family or families[#core.inet.bytes(address)] == family then
      return address
    end
  end
  local result
  for _, type in ipairs(family == "inet6" and { "AAAA" } or family == "inet" and { "A" } or { "A", "AAAA" }) do
    result = require("nslua.inspect.resolve").resolve(handle, name, { type = type })
    if result.addresses[1] then
      return result.addresses[1]
    elseif result.error then
      break
    end
  end
  local lab = rawget(handle, "lab")
  local near = lab and check.nearest(name, rawget(lab, "node"))
  return errors.raise { call = call, netns = handle:describe(), errno = core.errno.ENOENT, detail = ("%q"):format(name),
    hint = near and ("did you mean the node %s?"):format(near) or nil,
    message = ("no address is known of this name (%s%s)"):format(result.error or result.rcode, result.server and ", " .. result.server or "") }
end

---Find out whom a probe is for. Raises where that cannot be.
---@param handle nslua.Netns
---@param call string       "netns.ping"
---@param target any
---@param options { family: string?, timeout: number? }
---@return nslua.Target
function M.resolve(handle, call, target, options)
  local text = text_of(handle, call, target, options.family)
  local found = address_of_text(handle, call, text)
  if not found then
    if text == "" or text:find "[^%w._-]" then
      errors.misuse("%s: %q is no address and no host name", call, text)
    end
    found = address_of_text(handle, call, named(handle, call, text, options.family))
  end
  if options.family and found.family ~= options.family then
    errors.misuse("%s: %s is no address of %s", call, text, options.family)
  end
  return found
end

return M
