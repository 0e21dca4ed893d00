-- Echo requests: to one target, and between many at once. ping(8), icmp(7)

local core = require "nslua.core"
local check = require "nslua.check"
local errors = require "nslua.error"
local icmp = require "nslua.inspect.icmp"
local namespace = require "nslua.namespace"
local socket = require "nslua.inspect.socket"
local target = require "nslua.inspect.target"
local units = require "nslua.units"

local M = {}

-- Errors that a request ended with, and the answers, of one target.
local function rows(family, list)
  local replies, failures, duplicates = {}, {}, 0
  for _, r in ipairs(list) do
    local from = r.from and core.inet.text(r.from)
    if r.rtt then
      duplicates = duplicates + (r.duplicates or 0)
      replies[#replies + 1] = { seq = r.seq, from = from, rtt = r.rtt, ttl = r.ttl, bytes = r.bytes, duplicates = r.duplicates }
    elseif r.errno then
      failures[#failures + 1] = { seq = r.seq, from = from, after = r.after, error = icmp.errno(r.errno), type = r.type, code = r.code,
        icmp = r.type and icmp.word(family, r.type, r.code), mtu = r.mtu and r.mtu > 0 and r.mtu or nil }
    end
  end
  return replies, failures, duplicates
end

---@class nslua.Rtt  seconds; all nil where nothing was received
---@field min? number
---@field avg? number
---@field median? number
---@field max? number
---@field mdev? number  standard deviation, as in ping(8)

---@param replies { rtt: number }[]
---@return nslua.Rtt
local function statistics(replies)
  local n, sum, squares, sorted = #replies, 0, 0, {}
  if n == 0 then
    return {}
  elseif n == 1 then
    local rtt = replies[1].rtt
    return { min = rtt, max = rtt, avg = rtt, median = rtt, mdev = 0 }
  end
  for i, r in ipairs(replies) do
    sum, squares, sorted[i] = sum + r.rtt, squares + r.rtt * r.rtt, r.rtt
  end
  table.sort(sorted)
  local avg = sum / n
  return { min = sorted[1], max = sorted[n], avg = avg, median = (sorted[(n + 1) // 2] + sorted[n // 2 + 1]) / 2,
    mdev = math.sqrt(math.max(0, squares / n - avg * avg)) }
end

local function result_of(t, sent, received, list)
  local replies, failures, duplicates = rows(t.family, list)
  return { address = t.address, family = t.family, sent = sent, received = received, loss = sent > 0 and (sent - received) / sent or 0,
    duplicates = duplicates, rtt = statistics(replies), replies = replies, errors = failures }
end

local numbers = { count = "1-4194304", interval = "number|string", timeout = "number|string", size = "integer|string", ttl = "1-255" }

-- Options that C takes, from those of the caller.
local function numeric(call, options, defaults)
  local out = {}
  for key, default in pairs(defaults) do
    local value = options[key]
    if key == "interval" or key == "timeout" then
      value = units.duration(value or default, call .. ": " .. key)
    elseif key == "size" then
      value = units.size(value or default, call .. ": size")
    else
      value = value or default
    end
    out[key] = value
  end
  if out.interval < 0 or out.timeout < 0 then
    errors.misuse("%s: interval and timeout cannot be negative", call)
  elseif out.size < 0 or out.size > 65507 or out.size % 1 ~= 0 then
    errors.misuse("%s: size must be 0 to 65507 bytes, got %s", call, tostring(out.size))
  end
  return out
end

local function fragmentation(handle, call, fd, family, forbidden)
  if forbidden ~= nil then
    socket.set(handle, call, fd, family, "mtu_discover", forbidden and 2 or 0) -- IP_PMTUDISC_DO, IP_PMTUDISC_DONT
  end
end

-- Call fn with sockets that are closed after it, whatever it does.
local function with_sockets(list, fn)
  local closer <close> = setmetatable({}, { __close = function()
    for _, s in ipairs(list) do
      s.fd:close()
    end
  end })
  return fn(closer)
end

-- One call of the loop in C; signals of the host are seen between two.
local function run(ping, fds, most)
  while true do
    local done, finished, errno = ping:run(fds, most)
    if done ~= nil then
      return done, finished
    elseif errno ~= core.errno.EINTR then
      errors.check("ping", nil, done, finished, errno)
    end
  end
end

---@class nslua.PingOptions
---@field count? integer           1
---@field interval? number|string  seconds between two requests, 1
---@field timeout? number|string   that each is waited for, 1
---@field size? integer|string     bytes of payload, 56
---@field family? "inet"|"inet6"   where the target is a name
---@field ttl? integer             or hop limit
---@field dont_fragment? boolean   true: what does not fit fails, with `mtu`; false: routers may fragment it, where it is IPv4; by default what does
---not fit fails once, and is fragmented by this host then
---@field from? string             an address or a link of the namespace
---@field each? fun(event: nslua.PingEvent, index: integer?)  is told of each reply, error and loss as it comes; of a list, with the target's index

---@class nslua.PingEvent   what became of one request
---@field seq integer
---@field rtt? number         seconds; of a reply
---@field from? string        who answered, or who said the error
---@field ttl? integer
---@field duplicate? boolean  a further reply
---@field lost? boolean       nothing came in time
---@field error? string       "EHOSTUNREACH", ..., with what nslua.ProbeError has

---@class nslua.PingResult
---@field sent integer
---@field received integer
---@field loss number              0 to 1
---@field rtt nslua.Rtt
---@field replies { seq: integer, from: string, rtt: number, ttl: integer, bytes: integer, duplicates: integer? }[]
---@field errors nslua.ProbeError[]  with `seq`, and `after` (seconds)
---@field duplicates integer
---@field address string
---@field family "inet"|"inet6"

---Echo requests to a target, and what came of them. What is not answered in time is lost, which is no error. Times are those of the kernel's
---stamps on the replies. Of a list of targets all are asked at the same time, `a:ping({ "10.0.0.2", { "fd00::2", count = 5 } }, { count = 3 })`, and
---there is a list of results; what cannot be sent to has `error` and `message`. Many hundreds are for ns.probe.ping_many.
---@param to any  an address, a name, an object with `address_of`; or a list of such
---@param options? nslua.PingOptions
---@return nslua.PingResult
function M:ping(to, options)
  local call = "netns.ping"
  options = options or {}
  check.options(call, options, { count = numbers.count, interval = numbers.interval, timeout = numbers.timeout, size = numbers.size,
    ttl = numbers.ttl, family = "string", dont_fragment = "boolean", from = "string" })
  namespace.fd_of(self, call)
  target.check_family(call, options.family)
  local plan = numeric(call, options, { count = 1, interval = 1, timeout = 1, size = 56 })
  plan.window, plan.retries = 32768, 0
  local t = target.resolve(self, call, to, options)
  local sockets = socket.icmp({ self }, t.family)
  return with_sockets(sockets, function()
    local s = sockets[1]
    socket.dress(self, call, s.fd, t.family, options)
    fragmentation(self, call, s.fd, t.family, options.dont_fragment)
    local ping = core.echo.ping({ { inet6 = t.family == "inet6", raw = s.raw } }, { { 1, t.ip, t.scope } }, plan)
    run(ping, { s.fd }, math.huge)
    return result_of(t, ping:result(1))
  end)
end

M.result_of, M.statistics, M.numeric, M.run, M.with_sockets, M.fragmentation = result_of, statistics, numeric, run, with_sockets, fragmentation

return M
