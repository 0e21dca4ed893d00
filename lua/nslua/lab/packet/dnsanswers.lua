-- Addresses among the answers of a DNS message, and where they stand. RFC 1035 4.1

local core = require "nslua.core"

local M = {}

local A, AAAA, IN = 1, 28, 1

-- Behind a name; nil where it ends too soon.
local function skip(bytes, at, stop)
  for _ = 1, 128 do
    local size = at < stop and bytes:byte(at)
    if not size then
      return nil
    elseif size >= 0xc0 then
      return at + 2
    elseif size == 0 then
      return at + 1
    end
    at = at + 1 + size
  end
end

---@param bytes string
---@param at integer    where the message begins
---@param stop integer  behind its end
---@return { at: integer, size: integer, address: string }[]
function M.find(bytes, at, stop)
  local out = {}
  if at + 12 > stop then
    return out
  end
  local questions, answers = string.unpack(">I2I2", bytes, at + 4)
  local place = at + 12
  for _ = 1, math.min(questions, 16) do
    place = skip(bytes, place, stop)
    if not place then
      return out
    end
    place = place + 4
  end
  for _ = 1, math.min(answers, 1024) do
    place = skip(bytes, place, stop)
    if not place or place + 10 > stop then
      return out
    end
    local kind, class, _, size = string.unpack(">I2I2I4I2", bytes, place)
    place = place + 10
    if place + size > stop then
      return out
    elseif class == IN and (kind == A and size == 4 or kind == AAAA and size == 16) then
      out[#out + 1] = { at = place, size = size, address = core.inet.text(bytes:sub(place, place + size - 1)) }
    end
    place = place + size
  end
  return out
end

return M
