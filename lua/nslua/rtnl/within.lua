-- Whether an address is in a prefix.

local core = require "nslua.core"
local prefix = require "nslua.rtnl.prefix"

local M = {}

local MAPPED = ("\0"):rep(10) .. "\255\255"

local function begins(bytes, wanted, length)
  local rest = length % 8
  local whole = (length - rest) / 8
  if bytes:sub(1, whole) ~= wanted:sub(1, whole) then
    return false
  end
  local unit = 2 ^ (8 - rest)
  return rest == 0 or math.floor(bytes:byte(whole + 1) / unit) == math.floor(wanted:byte(whole + 1) / unit)
end

---A test for addresses in a prefix; one of IPv4 in IPv6 ("::ffff:10.0.0.1") counts as what it is. Misuse where it is no prefix.
---@param call string
---@param key string
---@param value string
---@return fun(text: string?): boolean inside
---@return integer family  2 or 10
---@return integer length
---@return string bytes
function M.of(call, key, value)
  local _, length, family, _, wanted = prefix.split(call, key, value)
  return function(text)
    local bytes = text and core.inet.bytes(text)
    if bytes and #bytes == 16 and #wanted == 4 and bytes:sub(1, 12) == MAPPED then
      bytes = bytes:sub(13)
    end
    return bytes ~= nil and #bytes == #wanted and begins(bytes, wanted, length)
  end, family, length, wanted
end

return M
