-- The largest packet that gets to a target and back: what the routers say of it, and what they do not. RFC 1191, RFC 8201, RFC 2923 (black holes)

local core = require "nslua.core"
local check = require "nslua.check"
local echoes = require "nslua.inspect.echoes"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local socket = require "nslua.inspect.socket"
local target = require "nslua.inspect.target"
local trace = require "nslua.inspect.trace"
local units = require "nslua.units"

local M = {}

local CALL = "netns.path_mtu"
local HEADER = { inet = 28, inet6 = 48 } -- of IP and ICMP
local LEAST = { inet = 68, inet6 = 1280 } -- what every link carries
local AT_ONCE = 12 -- sizes in one round

-- Send a packet of a size; its number, or nil and why not.
local function send(self, size)
  self.number = self.number % echoes.MOST + 1
  local why = self.echoes:send(self.number, size - self.header)
  return not why and self.number or nil, why
end

-- By UDP: a host says that a port is nobody's a few times at once, and then once a second (icmp_ratelimit, icmp(7)). So behind each packet goes one
-- that is known to fit: the silence of the first counts if the second is answered.
local function one(self, size)
  local silent = 0
  for _ = 1, 8 + self.retries do
    local number, why = send(self, size)
    local second = send(self, self.low)
    local deadline, heard = core.fd.clock() + self.timeout, false
    while number do
      local got = self.echoes:next(deadline)
      if not got then
        break
      elseif got.number == number then
        return self.answered(got) or got
      end
      heard = heard or got.number == second
    end
    silent = silent + (heard and 1 or 0)
    if why or silent > self.retries then
      return why
    elseif not heard then
      socket.wait(self.echoes.fd, "r", core.fd.clock() + 1)
    end
  end
end

-- Send echo requests of some sizes, each again while it is silent; by size: true, an error, or nothing.
local function round(self, sizes)
  local out, numbers, open = {}, {}, #sizes
  if self.udp and self.low > 0 then
    return { [sizes[1]] = one(self, sizes[1]) }
  end
  for _ = 0, self.retries do
    for _, size in ipairs(sizes) do
      if out[size] == nil then
        local number, why = send(self, size)
        if number then
          numbers[number] = size
        else
          out[size], open = why, open - 1
        end
      end
    end
    local deadline = core.fd.clock() + self.timeout
    while open > 0 do
      local got = self.echoes:next(deadline)
      if not got then
        break
      end
      local size = numbers[got.number]
      if size and out[size] == nil then
        out[size], open = self.answered(got) or got, open - 1
      elseif size and self.answered(got) then -- an error that was not the last word
        out[size] = true
      end
    end
    if open == 0 then
      break
    end
  end
  return out
end

-- Learn from a round: `self.low` gets through, what is larger than `self.high` does not.
local function learn(self, results)
  local sizes = {}
  for size in pairs(results) do
    sizes[#sizes + 1] = size
  end
  table.sort(sizes)
  for _, size in ipairs(sizes) do
    local result = results[size]
    if result == true then
      self.low = math.max(self.low, size)
    elseif result.error == "EMSGSIZE" then
      local mtu = result.mtu
      if not mtu or mtu >= size or mtu < LEAST[self.family] then -- old routers, and liars: less than this it is
        mtu = size - 1
      end
      if mtu < self.high then
        self.high = mtu
        self.limits[#self.limits + 1] = { mtu = mtu, from = result.from }
      end
    else
      self.high = math.min(self.high, size - 1)
      self.error = self.error or result
    end
  end
  if self.low > self.high then -- who said less was wrong
    self.high = self.low
  end
end

-- Sizes from low to high, which itself is one; or the one in the middle.
local function between(low, high, at_once)
  local n = math.min(at_once, high - low)
  if n == 1 then
    return { (low + high + 1) // 2 }
  end
  local out = {}
  for i = 1, n do
    out[i] = low + (high - low) * i // n
  end
  return out
end

local function search(self)
  local top -- the largest size that has been sent for the present limit
  while self.low < self.high do
    local asked = top ~= self.high and { self.high } or between(self.low, self.high, self.at_once)
    top = self.high
    local results = round(self, asked)
    local before = self.high
    learn(self, results)
    if before == self.high then -- nobody says what is wrong with the largest
      local silent
      for _, size in ipairs(asked) do
        if results[size] == nil and size > self.low then
          silent = math.min(silent or size, size)
        end
      end
      if silent and (asked[1] < self.high or self.high == self.low + 1) then
        self.high, self.hole = silent - 1, true
        top = self.high -- that has been sent, or is what got through
      end
    else
      self.hole = nil -- said: by whom is in `limits`
    end
  end
end

-- The last router that a packet of a size gets to.
local function last_hop(handle, t, options, size, timeout)
  local way = trace.trace(handle, t.scope > 0 and t.address .. "%" .. t.scope or t.address,
    { proto = options.proto or "icmp", size = size, timeout = timeout, from = options.from, probes = 2 })
  for i = #way, 1, -1 do
    if way[i].address then
      return way[i].address, way[i].ttl
    end
  end
end

---@class nslua.PathMtuOptions
---@field proto? "icmp"|"udp"     "icmp": echo requests, and each answer is as large as its request, so the smaller of both ways is found; "udp":
---to ports that nobody has, the way there alone, one size after the other, since hosts limit how often they say so
---@field max? integer|string     the largest that is tried, bytes: 65535, which is what the first link carries
---@field timeout? number|string  that each answer is waited for, seconds: 0.5
---@field retries? integer        how often a size is tried again before it counts as lost: 1
---@field family? "inet"|"inet6"  where the target is a name
---@field from? string            an address or a link of the namespace
---@field hops? boolean           false: of a black hole the last router is not looked for, which takes as long again

---@class nslua.PathMtu
---@field mtu? integer          bytes of the largest packet, all headers included, that is answered; nil where nothing is
---@field address string
---@field limits { mtu: integer, from: string? }[]  who said that a packet is too large, and what would fit; without `from`: this host, of its link
---@field black_hole boolean    packets larger than `mtu` vanish, and nobody says so
---@field last_hop? string      of a black hole: the last router that such a packet gets to; nil: none of them
---@field last_ttl? integer
---@field error? string         why nothing is answered, or what was said of the larger ones instead

---Find the path MTU by packets of several sizes, which nobody may fragment. Of a list of targets it is found at the same time, and gives a list.
---@param to any  an address, a name, an object with `address_of`; or a list of such
---@param options? nslua.PathMtuOptions
---@return nslua.PathMtu
function M:path_mtu(to, options)
  options = options or {}
  check.options(CALL, options, { max = "integer|string", proto = "string",
    timeout = "number|string", retries = "0-100", family = "string", from = "string", hops = "boolean" })
  namespace.fd_of(self, CALL)
  target.check_family(CALL, options.family)
  local timeout = units.duration(options.timeout or 0.5, CALL .. ": timeout")
  local t = target.resolve(self, CALL, to, options)
  local max = units.size(options.max or 65535, CALL .. ": max")
  if max < LEAST[t.family] or max > 65535 or max % 1 ~= 0 then
    errors.misuse("%s: max must be %d to 65535 bytes", CALL, LEAST[t.family])
  end
  local proto = options.proto or "icmp"
  if proto ~= "icmp" and proto ~= "udp" then
    errors.misuse("%s: proto must be \"icmp\" or \"udp\", got %s", CALL, proto)
  end
  local e <close> = echoes.open(self, CALL, t, proto, { from = options.from })
  e:set("mtu_discover", 3) -- IP_PMTUDISC_PROBE: not fragmented, whatever this host knows of the path
  local state = { echoes = e, number = 0, family = t.family, header = HEADER[t.family], timeout = timeout, retries = options.retries or 1,
    udp = proto == "udp", at_once = proto == "udp" and 1 or AT_ONCE, low = 0, high = math.tointeger(max), limits = {} }
  function state.answered(got)
    return got.answered or state.udp and got.icmp == "port_unreachable" and got.from == t.address
  end
  local out = { address = t.address, limits = state.limits, black_hole = false }
  local least = LEAST[t.family]
  local first = round(state, { least })[least]
  if first ~= true then
    out.error = first and first.error or "ETIMEDOUT"
    return out
  end
  state.low = least
  search(state)
  out.mtu, out.black_hole = state.low, state.hole == true
  out.error = state.error and state.error.error
  if out.black_hole and options.hops ~= false then
    out.last_hop, out.last_ttl = last_hop(self, t, options, state.low + 1, timeout)
  end
  return out
end

return M
