-- Packets of UDP at a rate: how many come, how late, in which order. Each has a number and the time in it. RFC 3550, A.8 (jitter)

local core = require "nslua.core"
local errors = require "nslua.error"

local M = {}

local packet = core.packet
local E = core.errno
local HEAD = "<c4I8I8" -- mark, number, ns of CLOCK_REALTIME
local MARK = "nslT"
local BURST = 64        -- packets that are sent or taken between two looks at the clock
local GRACE = 0.1       -- seconds beyond the longest delay that packets are waited for in the end
local ALONE = 1         -- the same, where none came at all

---Send at the rate; where the socket takes no more, what is late is not made up for beyond the time.
---@return { sent: integer, elapsed: number }
function M.source(flow, sources, call)
  local fd = sources[1]
  local function fail(errno)
    errors.raise { call = call, netns = flow.from.node_name, errno = errno, detail = ("%s port %d"):format(flow.address, flow.port) }
  end
  local ok, _, errno = packet.connect(fd, flow.ip, flow.port)
  if not ok then
    fail(errno)
  end
  local pad = ("\0"):rep(flow.size - string.packsize(HEAD))
  local gap, start, sent = flow.size * 8 / flow.rate, core.fd.clock(), 0
  local total = math.max(1, math.floor(flow.seconds / gap + 0.5))
  while sent < total do
    local now = core.fd.clock()
    if now >= start + flow.seconds + GRACE then
      break
    end
    local due = math.min(total, math.floor((now - start) / gap) + 1, sent + BURST)
    while sent < due do
      local n
      n, _, errno = packet.send(fd, string.pack(HEAD, MARK, sent, packet.realtime()) .. pad)
      if n then
        sent = sent + 1
      elseif errno == E.EAGAIN then
        core.fd.poll({ { fd, "w" } }, 0.01)
        break
      elseif errno == E.ENOBUFS then
        core.fd.poll({}, 0.001)
        break
      elseif errno ~= E.EINTR then
        fail(errno)
      end
    end
    local wait = start + sent * gap - core.fd.clock()
    if sent < total and wait > 0 then
      core.fd.poll({}, wait)
    end
  end
  return { sent = sent, elapsed = core.fd.clock() - start }
end

-- Of a packet that came: what it says of all.
local function note(out, seen, number, delay)
  if seen[number] then
    out.duplicates = out.duplicates + 1
    return
  end
  seen[number] = true
  out.received = out.received + 1
  if number < out.highest then
    out.reordered = out.reordered + 1
  end
  out.highest = math.max(out.highest, number)
  out.delay.sum, out.delay.min, out.delay.max = out.delay.sum + delay, math.min(out.delay.min, delay), math.max(out.delay.max, delay)
  if out.transit then
    out.jitter = out.jitter + (math.abs(delay - out.transit) - out.jitter) / 16
  end
  out.transit = delay
end

---Take what comes, until all has come, or nothing more is on its way.
---@return table
function M.sink(flow, fd, reader)
  packet.set(fd, "timestamp", 1)
  packet.set(fd, "rcvbuf", 1 << 22)
  local out = { received = 0, bytes = 0, duplicates = 0, reordered = 0, highest = -1, jitter = 0.0, samples = {},
    delay = { sum = 0.0, min = math.huge, max = 0.0 } }
  local seen, begun, last, sent, stop = {}, nil, nil, nil, nil
  local next_sample, told, bytes_told
  while not (sent and out.received >= sent) do
    local now = core.fd.clock()
    if stop and now >= stop then
      break
    end
    local list = { { fd, "r" } }
    if not sent then
      list[2] = { reader, "r" }
    end
    local ready = core.fd.poll(list, stop and stop - now) or {}
    if ready[2] then
      local text = reader:read()
      if not text or #text ~= 8 then
        break -- the source failed
      end
      sent = string.unpack("<I8", text)
      stop = core.fd.clock() + (begun and out.delay.max + GRACE or ALONE)
    end
    for _ = 1, ready[1] and BURST or 0 do
      local got = packet.receive(fd, false, flow.size)
      if not got then
        break
      end
      if #got.data >= string.packsize(HEAD) and got.data:sub(1, 4) == MARK then
        local _, number, time = string.unpack(HEAD, got.data)
        now = core.fd.clock()
        if not begun then
          begun, told, bytes_told = now, 0, 0
          next_sample = flow.interval > 0 and begun + flow.interval or math.huge
        end
        last = now
        local fresh = not seen[number]
        note(out, seen, number, math.max(0, ((got.time or packet.realtime()) - time) / 1e9))
        out.bytes = out.bytes + (fresh and #got.data or 0)
        if now >= next_sample then
          local since = now - begun - (out.samples[1] and out.samples[#out.samples].at or 0)
          out.samples[#out.samples + 1] = { at = now - begun, received = out.received - told, bytes = out.bytes - bytes_told,
            goodput = (out.bytes - bytes_told) * 8 / since, jitter = out.jitter }
          told, bytes_told = out.received, out.bytes
          next_sample = begun + (math.floor((now - begun) / flow.interval) + 1) * flow.interval
        end
      end
    end
  end
  out.elapsed = last and last - begun or 0.0
  return out
end

---Both sides as one result.
function M.result(flow, source, sink)
  local some = sink.received > 0
  local out = { sent = source.sent, received = sink.received, lost = source.sent - sink.received, duplicates = sink.duplicates,
    reordered = sink.reordered, jitter = sink.jitter, bytes = sink.bytes, samples = sink.samples,
    elapsed = math.max(sink.elapsed, flow.seconds), delay = some and { min = sink.delay.min, max = sink.delay.max,
      avg = sink.delay.sum / sink.received } or nil }
  out.loss = out.sent > 0 and out.lost / out.sent or 0.0
  return out
end

return M
