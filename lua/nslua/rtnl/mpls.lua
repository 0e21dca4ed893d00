-- MPLS labels as people write them: 100, "100/200", { 100, 200 }. ip-route(8), RFC 3032, linux/mpls.h.

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local LABEL, BOTTOM = 4096, 256 -- a label stands above 12 bits; the bit that says it is the last of its stack
local MOST = 1048575

local function label(call, key, value)
  local number = tonumber(value)
  if not number or number < 0 or number > MOST or number % 1 ~= 0 then
    errors.misuse("%s: %s: %s is no MPLS label (0 to %d)", call, key, tostring(value), MOST)
  end
  return number
end

---The entries of a stack of labels.
---@param call string
---@param key string  for the message
---@param value integer|string|integer[]
---@return integer[]
function M.stack(call, key, value)
  local out = {}
  if type(value) == "table" then
    for i, one in ipairs(value) do
      out[i] = label(call, key, one)
    end
  elseif type(value) == "string" then
    for word in (value .. "/"):gmatch "([^/]*)/" do
      out[#out + 1] = label(call, key, word)
    end
  else
    out[1] = label(call, key, value)
  end
  if #out == 0 then
    errors.misuse("%s: %s: a label is needed", call, key)
  end
  for i, one in ipairs(out) do
    out[i] = one * LABEL + (i == #out and BOTTOM or 0)
  end
  return out
end

---The text of a stack of entries: "100/200".
---@param entries integer[]?
---@return string?
function M.text(entries)
  if not entries then
    return nil
  end
  local out = {}
  for i, entry in ipairs(entries) do
    out[i] = ("%d"):format((entry - entry % LABEL) / LABEL)
  end
  return table.concat(out, "/")
end

---One label as the four bytes of RTA_DST, in the text that addresses have.
---@param call string
---@param key string
---@param value any
---@return string
function M.address(call, key, value)
  local entry = label(call, key, value) * LABEL + BOTTOM
  local bytes = {}
  for i = 4, 1, -1 do
    bytes[i] = entry % 256
    entry = (entry - bytes[i]) / 256
  end
  return ("%d.%d.%d.%d"):format(bytes[1], bytes[2], bytes[3], bytes[4])
end

---The label in these four bytes.
---@param address string
---@return string
function M.of_address(address)
  local a, b, c = core.inet.bytes(address):byte(1, 3)
  return ("%d"):format(a * 4096 + b * 16 + (c - c % 16) / 16)
end

return M
