-- The packet scheduler's clock, and what its queues want to know of a rate in ticks of it.

local M = {}

local US = 1000000
local U32 = 4294967295

-- /proc/net/psched: ticks in so many microseconds, twice; clock resolution; HZ of its timers. The numbers are those of the kernel's build.
local factor, hz

local function load()
  local ticks, us, resolution, timers = 1000, 64, US, 1000000000
  local file = io.open("/proc/net/psched", "r")
  if file then
    local a, b, c, d = (file:read "*l" or ""):match "^(%x+) (%x+) (%x+) (%x+)"
    file:close()
    if a then
      ticks, us, resolution, timers = tonumber(a, 16), tonumber(b, 16), tonumber(c, 16), tonumber(d, 16)
    end
  end
  if resolution == 1000000000 then
    ticks = us -- kernels that count in nanoseconds
  end
  factor, hz = ticks / us * (resolution / US), resolution == US and timers or 100
end

---Ticks of a time.
---@param seconds number
---@return number ticks  not rounded
function M.ticks(seconds)
  if not factor then
    load()
  end
  return seconds * US * factor
end

---The time of ticks.
---@param ticks number
---@return number seconds
function M.seconds(ticks)
  if not factor then
    load()
  end
  return ticks / factor / US
end

---What classes of htb take as HZ when they choose a burst.
---@return number
function M.hz()
  if not hz then
    load()
  end
  return hz
end

---Ticks that so many bytes take at a rate, as tc(8) has them: cut to whole microseconds first.
---@param rate number   bytes per second
---@param bytes number
---@return integer
local function coarse(rate, bytes)
  return math.min(math.floor(M.ticks(math.floor(US * (bytes / rate)) / US) + 1e-6), U32)
end

M.coarse = coarse

---Ticks that so many bytes take at a rate: those of tc(8), and where its whole microseconds lose more than a thousandth, all of them.
---@param rate number   bytes per second
---@param bytes number
---@return integer
function M.transmit(rate, bytes)
  if US * (bytes / rate) >= 1000 then
    return coarse(rate, bytes)
  end
  return math.min(math.ceil(M.ticks(bytes / rate) - 1e-6), U32)
end

---Bytes that a rate sends in so many ticks.
---@param rate number   bytes per second
---@param ticks number
---@return integer
function M.bytes(rate, ticks)
  return math.floor(rate * M.seconds(ticks) + 0.5)
end

M.linklayers = { unaware = 0, ethernet = 1, atm = 2 } -- linux/pkt_sched.h, TC_LINKLAYER_*
M.linklayer_names = { [0] = "unaware", "ethernet", "atm" }

---What a packet takes on the wire: an ATM cell carries 48 bytes in 53.
---@param bytes integer
---@param mpu integer
---@param linklayer integer
---@return integer
local function on_wire(bytes, mpu, linklayer)
  bytes = math.max(bytes, mpu)
  if linklayer == M.linklayers.atm then
    bytes = math.ceil(bytes / 48) * 53
  end
  return bytes
end

M.on_wire = on_wire

---@class nslua.RateOptions
---@field mpu? integer         bytes the smallest packet takes
---@field overhead? integer    bytes on top of each packet
---@field mtu? integer         the largest packet the table is for
---@field linklayer? integer

---struct tc_ratespec of a rate, and the table of what packets of each size take: of the 256 sizes that are a power of two apart.
---@param rate number  bytes per second
---@param options nslua.RateOptions
---@return table spec
---@return integer[] ticks
function M.rate(rate, options)
  local mtu = options.mtu and options.mtu > 0 and options.mtu or 2047
  local mpu, linklayer = options.mpu or 0, options.linklayer or M.linklayers.ethernet
  local cell, log = 1, 0
  while math.floor(mtu / cell) > 255 do
    cell, log = cell * 2, log + 1
  end
  local ticks = {}
  for i = 1, 256 do
    ticks[i] = coarse(rate, on_wire(i * cell, mpu, linklayer))
  end
  return { cell_log = log, linklayer = linklayer, overhead = options.overhead or 0, cell_align = -1, mpu = mpu, rate = math.min(rate, U32) }, ticks
end

---Whether a rate is more than 32 bits hold.
---@param rate number  bytes per second
---@return boolean
function M.wide(rate)
  return rate > U32
end

return M
