-- Why the kernel dropped packets: the tracepoint skb:kfree_skb, by perf_event_open(2). It needs root, and is of the whole machine.

local core = require "nslua.core"
local privilege = require "nslua.privilege"

local M = {}

local PAGES = 64

---@class nslua.capture.Drop
---@field time number      seconds, of ns.clock()
---@field reason string    "NETFILTER_DROP", as the kernel calls it
---@field place string?    where: the name of a function
---@field protocol integer of Ethernet

local Drops = {}
Drops.__index = Drops

local function read(path)
  local f <close> = io.open(path)
  return f and f:read "a"
end

-- Where fields stand in a record, and what the reasons are called: both differ between kernels.
local function describe(text)
  local fields, reasons = {}, {}
  for name, offset, size in text:gmatch "field:[^;]-([%w_]+);%s*offset:(%d+);%s*size:(%d+);" do
    fields[name] = { math.tointeger(offset) + 1, math.tointeger(size) }
  end
  for number, name in (text:match "__print_symbolic%(REC%->reason,(.*)" or ""):gmatch '{ (%d+), "([^"]+)" }' do
    reasons[math.tointeger(number)] = name
  end
  return fields, reasons
end

---Listen from now on.
---@return nslua.capture.Drops?  with read() and close()
---@return string? why  there is none
function M.open()
  local root, message, errno = core.perf.tracefs()
  if not root then
    return nil, privilege.hint(errno, { capability = "CAP_SYS_ADMIN" }) or message
  end
  local folder = ("/proc/self/fd/%d/events/skb/kfree_skb/"):format(root:number())
  local id, format = tonumber(read(folder .. "id") or ""), read(folder .. "format")
  root:close()
  if not id or not format then
    return nil, "the kernel has no tracepoint skb:kfree_skb"
  end
  local fields, reasons = describe(format)
  if not (fields.reason and fields.protocol and fields.location) then
    return nil, "the kernel says no reasons for drops (Linux 5.17 does)"
  end
  local perf
  perf, message, errno = core.perf.open(math.tointeger(id), PAGES)
  if not perf then
    return nil, privilege.hint(errno, { capability = "CAP_PERFMON" }) or message
  end
  return setmetatable({ perf = perf, fields = fields, reasons = reasons }, Drops)
end

local function field(raw, at)
  return at[1] + at[2] - 1 <= #raw and string.unpack("=I" .. at[2], raw, at[1]) or 0
end

-- The functions that addresses lie in: /proc/kallsyms once, for all of them.
local function places(addresses)
  local out, best = {}, {}
  local f <close> = next(addresses) and io.open "/proc/kallsyms" or nil
  for line in f and f:lines() or function() end do
    local text, name = line:match "^(%x+) [tTwW] ([^%s%[]+)"
    local at = text and math.tointeger(tonumber(text, 16))
    if at and at ~= 0 then
      for address in pairs(addresses) do
        if math.ult(at, address + 1) and (not best[address] or math.ult(best[address], at)) then
          best[address], out[address] = at, name
        end
      end
    end
  end
  return out
end

---What was dropped since the last call. Packets that were used up are none.
---@return nslua.capture.Drop[]
---@return integer lost  drops that found no room
function Drops:read()
  local list, lost = self.perf:read()
  local out, addresses = {}, {}
  for _, sample in ipairs(list) do
    local reason = field(sample.raw, self.fields.reason)
    local address = field(sample.raw, self.fields.location)
    addresses[address] = true
    out[#out + 1] = { time = sample.time, reason = self.reasons[reason] or ("reason %d"):format(reason), address = address,
      protocol = field(sample.raw, self.fields.protocol) }
  end
  local names = places(addresses)
  for _, drop in ipairs(out) do
    drop.place, drop.address = names[drop.address], nil
  end
  return out, lost
end

function Drops:close()
  return self.perf:close()
end
Drops.__close = Drops.close

---Lines of how many were dropped for what reason, the most first. Where the kernel says none, there is nothing to be learnt.
---@param list nslua.capture.Drop[]
---@return string[]
function M.lines(list)
  local count, order = {}, {}
  for _, drop in ipairs(list) do
    local key = drop.reason .. (drop.place and " in " .. drop.place or "")
    if not count[key] then
      count[key] = 0
      order[#order + 1] = drop.reason ~= "NOT_SPECIFIED" and key or nil
    end
    count[key] = count[key] + 1
  end
  table.sort(order, function(a, b)
    return count[a] > count[b] or count[a] == count[b] and a < b
  end)
  local out = {}
  for i = 1, math.min(#order, 8) do
    out[i] = ("%s: %d"):format(order[i], count[order[i]])
  end
  return out
end

return M
