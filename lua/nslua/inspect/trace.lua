-- The way to a target, hop by hop, all at the same time. traceroute(8); IP_RECVERR, ip(7)

local core = require "nslua.core"
local check = require "nslua.check"
local echoes = require "nslua.inspect.echoes"
local errors = require "nslua.error"
local namespace = require "nslua.namespace"
local target = require "nslua.inspect.target"
local units = require "nslua.units"

local M = {}

local HEADER = { inet = 28, inet6 = 48 } -- of IP, and of ICMP or UDP

-- Send probes for every TTL; packet `number` is of TTL (number - 1) // probes + 1.
local function send_all(e, max, probes, size)
  local out = {}
  for ttl = 1, max do
    e:set("ttl", ttl)
    out[ttl] = { ttl = ttl, answers = {}, missing = probes }
    for i = 1, probes do
      local why = e:send((ttl - 1) * probes + i, size)
      if why then
        return out, why
      end
    end
  end
  return out
end

-- The hop that is known to be the last, if those before it have nothing to wait for: how many hops count.
local function complete(hops, last)
  for ttl = 1, last or #hops do
    if hops[ttl].missing > 0 then
      return false
    end
  end
  return true
end

local function collect(e, hops, probes, deadline)
  local last, reached
  while not complete(hops, last) do
    local got = e:next(deadline)
    if not got then
      break
    end
    local ttl = (got.number - 1) // probes + 1
    local hop = hops[ttl]
    if hop and #hop.answers < probes then
      hop.missing = hop.missing - 1
      hop.answers[#hop.answers + 1] = { address = got.from, rtt = got.rtt, icmp = got.icmp, type = got.type, code = got.code, error = got.error,
        mtu = got.mtu }
      if got.answered or got.icmp == "port_unreachable" and got.from == e.to.address then
        reached = math.min(reached or ttl, ttl)
        last = math.min(last or ttl, ttl)
      elseif got.icmp ~= "time_exceeded" then
        last = math.min(last or ttl, ttl)
      end
    end
  end
  return last, reached
end

---@class nslua.TraceOptions
---@field max? integer            the largest TTL, 30
---@field timeout? number|string  that answers are waited for, seconds: 1
---@field proto? "udp"|"icmp"     "udp": to ports from 33434 on, as traceroute(8) does
---@field probes? integer         packets for each TTL, 1
---@field size? integer|string    bytes of each packet, all headers included; they are not fragmented then
---@field family? "inet"|"inet6"  where the target is a name
---@field from? string            an address or a link of the namespace

---@class nslua.Hop
---@field ttl integer
---@field address? string  who answered; nil: nobody
---@field rtt? number      the shortest, seconds
---@field icmp? string     "time_exceeded", or what ended the way; nil of the target's own answer to an echo request
---@field type? integer
---@field code? integer
---@field answers nslua.Hop[]  one for each packet that was answered: { address, rtt, icmp, type, code, error, mtu }

---The routers on the way to a target. The list ends with the target (`reached` is true then), with who said that there is no way on, or with the
---first of those that said nothing. `error` is there where nothing could be sent. A list of targets is traced at the same time, and gives a list.
---@param to any  an address, a name, an object with `address_of`; or a list of such
---@param options? nslua.TraceOptions
---@return { [integer]: nslua.Hop, reached: boolean, address: string, error: string? }
function M:trace(to, options)
  local call = "netns.trace"
  options = options or {}
  check.options(call, options, { max = "1-255", timeout = "number|string", proto = "string", probes = "1-32", size = "integer|string",
    family = "string", from = "string" })
  namespace.fd_of(self, call)
  target.check_family(call, options.family)
  local proto, probes, max = options.proto or "udp", options.probes or 1, options.max or 30
  if proto ~= "udp" and proto ~= "icmp" then
    errors.misuse("%s: proto must be \"udp\" or \"icmp\", got %s", call, proto)
  end
  local timeout = units.duration(options.timeout or 1, call .. ": timeout")
  local t = target.resolve(self, call, to, options)
  local size = options.size and units.size(options.size, call .. ": size") - HEADER[t.family] or 32
  if size < 0 or size > 65535 - HEADER[t.family] or size % 1 ~= 0 then
    errors.misuse("%s: size must be %d to 65535 bytes", call, HEADER[t.family])
  end
  local e <close> = echoes.open(self, call, t, proto, { from = options.from })
  if options.size then
    e:set("mtu_discover", 3) -- IP_PMTUDISC_PROBE
  end
  local hops, why = send_all(e, max, probes, math.tointeger(size))
  local out = { reached = false, address = t.address, error = why and why.error }
  if why and #hops == 1 and not next(e.sent) then
    return out
  end
  local last, reached = collect(e, hops, probes, core.fd.clock() + timeout)
  for ttl = 1, last or #hops do
    local hop = hops[ttl]
    hop.missing = nil
    for _, answer in ipairs(hop.answers) do
      hop.address, hop.icmp, hop.type, hop.code = hop.address or answer.address, hop.icmp or answer.icmp, hop.type or answer.type,
        hop.code or answer.code
      hop.rtt = math.min(hop.rtt or answer.rtt, answer.rtt)
    end
    out[ttl] = hop
  end
  while #out > 1 and not out[#out].address and not out[#out - 1].address do
    out[#out] = nil
  end
  out.reached = reached ~= nil and reached == last
  return out
end

return M
