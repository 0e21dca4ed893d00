-- What must hold for every message the kernel sends: decode(encode(decode(m))) = decode(m), and encode(decode(m)) has the same attributes
-- as m: the same sorted multiset of (path, type, payload).  A spec switches it on with start() and checks what was received with finish().

-- an unsigned 16-bit number of this machine, which is taken for a little-endian one
local function u16(bytes, at)
  return bytes:byte(at) + 256 * bytes:byte(at + 1)
end

local function aligned(len)
  return len + (4 - len % 4) % 4
end

local core = require "nslua.core"
local schema = require "nslua.schema"

local M = {}

-- Children of bytes as attributes: a list of { id, payload }, or nil where they are none from end to end.
local function children(bytes, at)
  local out = {}
  at = at or 1
  if at > #bytes then
    return nil
  end
  while at <= #bytes do
    if at + 3 > #bytes then
      return nil
    end
    local len, id = u16(bytes, at), u16(bytes, at + 2)
    if len < 4 or at + len - 1 > #bytes then
      return nil
    end
    out[#out + 1] = { id % 0x4000, bytes:sub(at + 4, at + len - 1) }
    at = at + aligned(len)
  end
  return out
end

local canonical

-- struct rtnexthop begins with its length; 8 bytes, then attributes
local function records(bytes)
  local out, at = {}, 1
  while at + 7 <= #bytes do
    local len = u16(bytes, at)
    if len < 8 or at + len - 1 > #bytes then
      return nil
    end
    local one = bytes:sub(at, at + len - 1)
    local inner = children(one, 9)
    if len > 8 and not inner then
      return nil
    end
    out[#out + 1] = one:sub(1, 8) .. (inner and canonical(inner) or "")
    at = at + aligned(len)
  end
  return at > #bytes and #out > 0 and table.concat(out, "\n") or nil
end

-- netem's struct of 24 bytes, then attributes
local function headed(bytes)
  local inner = #bytes > 24 and children(bytes, 25)
  return inner and bytes:sub(1, 24) .. canonical(inner)
end

---Text that is the same for attributes that differ only in order and in the flag bits of their types.
---@param list { [1]: integer, [2]: string }[]
---@return string
function canonical(list)
  local out = {}
  for i, a in ipairs(list) do
    local inner = children(a[2])
    -- RTA_MULTIPATH: the head of a record may look like that of an attribute
    out[i] = ("%d(%s)"):format(a[1], a[1] == 9 and records(a[2]) or inner and canonical(inner) or records(a[2]) or headed(a[2]) or a[2])
  end
  table.sort(out)
  return "{" .. table.concat(out) .. "}"
end

---The attributes behind a header, as text that does not depend on their order.
---@param bytes string
---@param head integer  bytes of the header
---@return string
function M.attributes(bytes, head)
  return canonical(children(bytes, head + 1) or {})
end

local by_type

local function schema_of(type)
  if not by_type then
    by_type = {}
    for name, m in pairs(schema.messages) do
      for _, verb in ipairs { "new", "del" } do
        if m[verb] and m.head then
          by_type[m[verb]] = name
        end
      end
    end
  end
  return by_type[type] and schema.compile(by_type[type]), by_type[type]
end

local function hex(bytes)
  return (bytes:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end

---Whether two values are the same through and through; 1 and 1.0 are not, where Lua has both.
---@param a any
---@param b any
---@return boolean
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b and (not math.type or math.type(a) == math.type(b))
  end
  for k, v in pairs(a) do
    if not same(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

M.same, M.hex = same, hex

---The attributes after `head` bytes, as text that their order does not change.
---@param bytes string
---@param head integer
---@return string
function M.attributes(bytes, head)
  return canonical(children(bytes, head + 1) or {})
end

---Check one message; raises where it does not hold.
---@param message_type integer
---@param bytes string  its payload
---@return boolean known  whether a schema for the type is declared
function M.check(message_type, bytes)
  local S, name = schema_of(message_type)
  if not S then
    return false
  end
  local once = S:decode(bytes)
  local encoded = S:encode(once)
  local again = S:decode(encoded)
  if not same(once, again) then
    error(("%s: decode(encode(decode(m))) ~= decode(m) for %s"):format(name, hex(bytes)), 0)
  end
  local head = #S:encode {}
  if encoded:sub(1, head) ~= bytes:sub(1, head) then
    error(("%s: another header for %s: %s"):format(name, hex(bytes), hex(encoded)), 0)
  end
  local before, after = canonical(children(bytes, head + 1) or {}), canonical(children(encoded, head + 1) or {})
  if before ~= after then
    error(("%s: other attributes for %s: %s"):format(name, hex(bytes), hex(encoded)), 0)
  end
  local row = S:row(bytes)
  for k, v in pairs(once) do
    if type(k) == "string" and k:sub(1, 1) ~= "#" and not same(row[k], v) then
      error(("%s: the row's %s is not decode's, for %s"):format(name, k, hex(bytes)), 0)
    end
  end
  row:json()
  return true
end

local recorded

---Keep a copy of every message received from here on.
function M.start()
  recorded = {}
  core.netlink.record(recorded)
end

---Stop, and check what was received.
---@return integer checked, table<string, integer> by_name
function M.finish()
  core.netlink.record(nil)
  by_type = nil -- of what is declared by now
  local n, by_name = 0, {}
  for _, m in ipairs(recorded) do
    if M.check(m[1], m[2]) then
      local _, name = schema_of(m[1])
      n = n + 1
      by_name[name] = (by_name[name] or 0) + 1
    end
  end
  recorded = nil
  return n, by_name
end

return M
