-- IP prefixes as people write them: "10.0.0.0/8", "2001:db8::1", "default", with the family found from the text.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local inet_bytes, inet_split, inet_text = core.inet.bytes, core.inet.split, core.inet.text

M.AF_INET, M.AF_INET6 = 2, 10

local families = { inet = 2, inet6 = 10, [2] = 2, [10] = 10 }

---The AF_ number of "inet" or "inet6".
---@param value string|integer
---@param call string
---@return integer
function M.family(value, call)
  local family = families[value]
  if not family then
    errors.misuse("%s: family must be \"inet\" or \"inet6\", got %s", call,
      type(value) == "string" and ("%q"):format(value) or tostring(value))
  end
  return family
end

---@param call string
---@param key string
---@param value any
---@return string bytes, integer family
function M.address(call, key, value)
  local bytes = type(value) == "string" and inet_bytes(value)
  if not bytes then
    errors.misuse("%s: %s must be an IP address, got %s", call, key,
      type(value) == "string" and ("%q"):format(value) or type(value))
  end
  return bytes, #bytes == 4 and 2 or 10
end

---Split "address/length".
---@param call string
---@param key string          named in the error
---@param value any
---@return string address     without the length, as it was written
---@return integer length     32 or 128 where none was written
---@return integer family     2 (inet) or 10 (inet6)
---@return boolean written    whether a length was written
---@return string bytes
function M.split(call, key, value)
  if type(value) ~= "string" then
    errors.misuse("%s: %s must be text like \"10.0.0.1/24\", got %s", call, key, type(value))
  end
  local address, length, family, written, bytes = inet_split(value)
  if not address then
    local bare, behind = value:match "^(.-)/(%d+)$"
    local inner = bare and inet_bytes(bare)
    if inner then
      errors.misuse("%s: %s: %q: the length of a prefix is 0 to %d, not %s", call, key, value, 8 * #inner, behind)
    end
    errors.misuse("%s: %s: %q is no address, nor a prefix like \"10.0.0.0/24\"", call, key, value)
  end
  return address, length, family, written, bytes
end

---The prefix that an address with a length is in: "10.1.2.3/16" is in "10.1.0.0/16".
---@param value string
---@return string
function M.network(value)
  local _, length, _, _, bytes = M.split("prefix", "network", value)
  local left = length
  local network = bytes:gsub(".", function(c)
    local bits = math.max(0, math.min(8, left))
    left = left - 8
    return string.char(c:byte() - c:byte() % 2 ^ (8 - bits))
  end)
  return inet_text(network) .. "/" .. length
end

---The canonical text of an address or prefix ("2001:DB8::0:1" is "2001:db8::1"); other text comes back as it is.
---@param value string
---@return string
function M.canonical(value)
  if type(value) ~= "string" then
    errors.misuse("an address or prefix must be text, got %s", type(value))
  end
  local slash = value:find("/", 1, true)
  local bytes = inet_bytes(slash and value:sub(1, slash - 1) or value)
  if not bytes then
    return value
  end
  return inet_text(bytes) .. (slash and value:sub(slash) or "")
end

return M
