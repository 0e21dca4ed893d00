-- Objects as they were: made again from the bytes that the kernel told of them, in the order it had them in.

local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local verbs = require "nslua.rtnl.verbs"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore

---@class nslua.Moved  a link that has another index now
---@field from integer
---@field to integer

local function schema_of(object)
  return object.schema or verbs.schema(object)
end

-- The message that would make it. moved: the link has another index.
local function message_of(object, bytes, moved)
  local message = schema_of(object):decode(bytes)
  for _, part in ipairs(moved and { message, unpack(message.multipath or {}) } or {}) do
    part.dev_index = part.dev_index == moved.from and moved.to or part.dev_index
  end
  if object.restored then
    object.restored(message, moved)
  end
  return message
end

---Make an object again: what no word of ours says is in its bytes too.
---@param object nslua.Object
---@param handle table
---@param bytes string
---@param flags integer
---@param moved? nslua.Moved
function M.restore(object, handle, bytes, flags, moved)
  local S = schema_of(object)
  netlink.write { object.new, flags, S:encode(message_of(object, bytes, moved)), handle = handle, call = object.name .. ".restore",
    object = object.name, schema = S }
end

-- Flags of addresses that come and go on their own.
local passing = { "tentative", "secondary", "deprecated", "dadfailed", "optimistic" }

-- The bytes without what counts and what follows on its own: two that have the same are the same.
local function essence(object, bytes, moved)
  local message = message_of(object, bytes, moved)
  message.cacheinfo, message.expires_left, message.flags8 = nil, nil, nil
  if object.name == "address" then
    for _, flag in ipairs(passing) do
      (message.flags or {})[flag] = nil
    end
  end
  return schema_of(object):encode(message)
end

-- Among which an object's order means something.
local slots = {
  address = function(m)
    return ("%s %d %d"):format(m.family, m.dev_index, m.family == "inet6" and m.scope_number or 0)
  end,
  route = function(m)
    return table.concat({ m.family, m.table_number or m.table8, tostring(m.dst_address), m.dst_len, tostring(m.src_address), m.src_len, m.tos,
      m.metric or 0 }, " ")
  end,
  rule = function(m)
    return ("%s %d"):format(m.family, m.priority or 0)
  end,
}

---The slot of an object's bytes.
---@param object nslua.Object
---@param bytes string
---@param moved? nslua.Moved
---@return string
function M.slot(object, bytes, moved)
  return slots[object.name](message_of(object, bytes, moved))
end

-- Lists of { bytes, key } by slot, and the slots in order.
local function by_slot(object, list, moved)
  local out, order = {}, {}
  for _, bytes in ipairs(list) do
    local slot = M.slot(object, bytes, moved)
    if not out[slot] then
      out[slot] = {}
      order[#order + 1] = slot
    end
    local mine = out[slot]
    mine[#mine + 1] = { bytes, essence(object, bytes, moved) }
  end
  return out, order
end

local function reversed(list)
  local out = {}
  for i = #list, 1, -1 do
    out[#out + 1] = list[i]
  end
  return out
end

local function remove(object, handle, bytes)
  local S = schema_of(object)
  local message = S:decode(bytes)
  if object.name == "route" then
    object.restored(message)
    message.metrics, message.expires_left = nil, nil
  end
  netlink.write { object.del, 0, S:encode(message), handle = handle, call = object.name .. ".restore", object = object.name, schema = S,
    none = object.none, absent = object.none }
end

-- Make one slot as it was. What stands where it should stays; new ones come behind those that are there, so the rest goes and comes again.
local function settle(object, handle, wanted, now, whole, moved)
  local family = schema_of(object):decode((wanted[1] or now[1])[1]).family
  local how = netlink.CREATE + netlink.EXCL
  if object.name == "route" and family ~= "mpls" then
    how = netlink.CREATE + netlink.APPEND
    if #wanted == 1 and #now == 1 and not whole then
      return M.restore(object, handle, wanted[1][1], netlink.CREATE + netlink.REPLACE, moved) -- never without one
    end
  elseif object.name == "address" and family == "inet6" then
    wanted, now = reversed(wanted), reversed(now) -- the youngest is told first
  end
  local same = 0
  while not whole and wanted[same + 1] and now[same + 1] and wanted[same + 1][2] == now[same + 1][2] do
    same = same + 1
  end
  for i = #now, same + 1, -1 do
    remove(object, handle, now[i][1])
  end
  for i = same + 1, #wanted do
    local ok, e = pcall(M.restore, object, handle, wanted[i][1], how, moved)
    if not ok and not errors.is(e, "EEXIST") then
      error(e, 0)
    end
  end
end

local function differ(wanted, now)
  if #wanted ~= #now then
    return true
  end
  for i, one in ipairs(wanted) do
    if one[2] ~= now[i][2] then
      return true
    end
  end
  return false
end

-- By what two states of an object are the same one.
local function identity(object, bytes)
  if object.name == "route" then
    return M.slot(object, bytes)
  end
  local m = schema_of(object):decode(bytes)
  return ("%s %d %s/%d"):format(m.family, m.dev_index, m.local_address or m.prefix_address, m.prefixlen)
end

---Which of these addresses or routes are not among those, in whatever state.
---@param object nslua.Object
---@param wanted string[]
---@param now string[]
---@return string[]
function M.missing(object, wanted, now)
  local there, out = {}, {}
  for _, bytes in ipairs(now) do
    there[identity(object, bytes)] = true
  end
  for _, bytes in ipairs(wanted) do
    out[#out + 1] = not there[identity(object, bytes)] and bytes or nil
  end
  return out
end

---Make addresses, routes or rules as they were, in their order.
---@param object nslua.Object
---@param handle table
---@param wanted string[]          what there was
---@param look fun(): string[]     what there is
---@param only? boolean            slots of which there was nothing are let alone
---@param moved? nslua.Moved
function M.sequence(object, handle, wanted, look, only, moved)
  local lists, order = by_slot(object, wanted, moved)
  local failed
  for pass = 1, 3 do -- the kernel may have taken away another one than the one meant: then all of the slot is made anew
    local now, there = by_slot(object, look())
    for _, slot in ipairs(only and {} or there) do
      if not lists[slot] then
        lists[slot] = {}
        order[#order + 1] = slot
      end
    end
    local changed
    for _, slot in ipairs(order) do
      local has = now[slot] or {}
      if differ(lists[slot], has) then
        changed = true
        local ok, e = pcall(settle, object, handle, lists[slot], has, pass > 1, moved)
        failed = not ok and e or pass > 1 and failed or nil
      end
    end
    if not changed then
      return
    end
  end
  if failed then
    error(failed, 0)
  end
end

return M
