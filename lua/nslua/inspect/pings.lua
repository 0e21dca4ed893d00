-- Echo requests to one target that are told of as they come: each reply, error and loss.

local core = require "nslua.core"
local echoes = require "nslua.inspect.echoes"
local ping = require "nslua.inspect.ping"

local M = {}

-- The request that a number on the wire, which has 16 bits, stands for: the last of those that were sent.
local function seq_of(number, last)
  return number + echoes.MOST * ((last - number) // echoes.MOST)
end

---@param handle nslua.Netns
---@param call string
---@param t nslua.Target
---@param options nslua.PingOptions
---@param tell fun(event: nslua.PingEvent)
---@return nslua.PingResult
function M.run(handle, call, t, options, tell)
  local plan = ping.numeric(call, options, { count = 1, interval = 1, timeout = 1, size = 56 })
  local e <close> = echoes.open(handle, call, t, "icmp", { ttl = options.ttl, from = options.from })
  ping.fragmentation(handle, call, e.fd, t.family, options.dont_fragment)
  local replies, failures, at, size = {}, {}, {}, math.tointeger(plan.size)
  local out = { address = t.address, family = t.family, sent = 0, received = 0, duplicates = 0, replies = replies, errors = failures }
  local function fail(seq, why)
    local sent = at[seq]
    at[seq] = nil
    local one = { seq = seq, error = why.error, icmp = why.icmp, type = why.type, code = why.code, from = why.from, mtu = why.mtu,
      after = why.rtt or core.fd.clock() - (sent or core.fd.clock()) }
    failures[#failures + 1] = one
    tell(one)
  end
  local last, oldest, due = 0, 1, core.fd.clock()
  while true do
    local now = core.fd.clock()
    while oldest <= last and (not at[oldest] or at[oldest] + plan.timeout <= now) do
      if at[oldest] then
        at[oldest] = nil
        tell { seq = oldest, lost = true }
      end
      oldest = oldest + 1
    end
    if last == plan.count and oldest > last then
      break
    elseif last < plan.count and now >= due then
      last, due = last + 1, due + plan.interval
      out.sent, at[last] = last, now
      local why = e:send((last - 1) % echoes.MOST + 1, size)
      if why then
        fail(last, why)
      end
    end
    local wake = last < plan.count and due or math.huge
    if oldest <= last then -- of one that has ended already, the next step takes notice
      wake = math.min(wake, at[oldest] and at[oldest] + plan.timeout or now)
    end
    local got = e:next(wake)
    local seq = got and seq_of(got.number, last)
    if got and got.answered then
      local one = { seq = seq, from = got.from, rtt = got.rtt, ttl = got.ttl, bytes = size + 8 }
      if at[seq] then
        at[seq], out.received = nil, out.received + 1
        replies[#replies + 1] = one
        tell(one)
      elseif seq >= oldest then -- what comes after its time is lost, as it was told
        out.duplicates, one.duplicate = out.duplicates + 1, true
        tell(one)
      end
    elseif got and at[seq] then
      fail(seq, got)
    end
  end
  out.loss, out.rtt = (out.sent - out.received) / out.sent, ping.statistics(replies)
  return out
end

return M
