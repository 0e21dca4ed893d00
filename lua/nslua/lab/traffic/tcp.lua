-- Streams of TCP: a source that writes as fast as it may and asks the kernel how it goes, and a sink that counts. tcp(7), linux/tcp.h

local core = require "nslua.core"
local errors = require "nslua.error"
local rows = require "nslua.diag.rows"

local M = {}

local packet = core.packet
local E = core.errno
local CHUNK = ("nslua traffic.. "):rep(1 << 14) -- 256 kB
local MORE = 1 << 26 -- bytes that one look takes at the most
local NO_THRESHOLD = 0x7fffffff

-- In the sink's process ------------------------------------------------------------------------------------------------------------------

---Count what comes.
---@return { elapsed: number, bytes: integer, streams: { port: integer, bytes: integer }[], complete: boolean }
function M.sink(flow, listener, reader)
  local out = { streams = {}, bytes = 0, complete = false, elapsed = 0.0 }
  local fds, begun, last, open, over = {}, nil, nil, 0, false
  while true do
    local now = core.fd.clock()
    local limit = begun and begun + (flow.seconds or flow.timeout)
    if limit and now >= limit then
      out.elapsed = now - begun
      return out
    end
    local list = { { not over and reader or nil, "r" } }
    if over then
      list = {}
    end
    local first = #list
    local accepts = #fds < flow.streams
    if accepts then
      list[#list + 1] = { listener, "r" }
    end
    local offset = #list
    local at = {}
    for i, fd in pairs(fds) do
      if fd then
        list[#list + 1], at[#at + 1] = { fd, "r" }, i
      end
    end
    local ready = core.fd.poll(list, limit and limit - now) or {}
    if first == 1 and ready[1] then
      over = true -- the source has gone; what it has sent still comes
    end
    if accepts and ready[offset] then
      local fd = packet.accept(listener)
      if fd then
        local _, port = packet.name(fd, true)
        fds[#fds + 1], open = fd, open + 1
        out.streams[#fds] = { port = port, bytes = 0 }
        begun = begun or core.fd.clock()
      end
    end
    if over and not begun then
      return out
    end
    for k, i in ipairs(at) do
      if ready[offset + k] then
        local n, _, errno = packet.discard(fds[i], MORE)
        if n and n > 0 then
          out.streams[i].bytes, out.bytes, last = out.streams[i].bytes + n, out.bytes + n, core.fd.clock()
        elseif n == 0 or errno ~= E.EAGAIN and errno ~= E.EINTR then
          fds[i]:close()
          fds[i], open = false, open - 1
        end
      end
    end
    if open == 0 and #fds == flow.streams and not flow.seconds then
      out.complete, out.elapsed = out.bytes >= flow.bytes, last and last - begun or 0.0
      return out
    end
  end
end

-- In the source's process ----------------------------------------------------------------------------------------------------------------

local function connect(flow, sources, call)
  local deadline = core.fd.clock() + flow.timeout
  local function fail(errno, detail, hint)
    errors.raise { call = call, netns = flow.from.node_name, errno = errno, detail = detail, hint = hint }
  end
  local to = ("%s port %d"):format(flow.address, flow.port)
  for _, fd in ipairs(sources) do
    if flow.congestion then
      local ok, _, errno = packet.congestion(fd, flow.congestion)
      if not ok then
        fail(errno, ("congestion = %q"):format(flow.congestion),
          "there are " .. tostring(flow.from:sysctl "net.ipv4.tcp_available_congestion_control"):gsub("%s+", ", "))
      end
    end
    local ok, _, errno = packet.connect(fd, flow.ip, flow.port)
    if not ok and errno ~= E.EINPROGRESS then
      fail(errno, to)
    end
  end
  for _, fd in ipairs(sources) do
    while not core.fd.poll({ { fd, "w" } }, math.max(0, deadline - core.fd.clock())) do
      if core.fd.clock() >= deadline then
        fail(E.ETIMEDOUT, to)
      end
    end
    local errno = packet.get(fd, "error")
    if errno ~= 0 then
      fail(errno, to)
    end
  end
end

-- What the kernel tells of each stream now.
local function sample(samples, sources, at)
  for i, fd in ipairs(sources) do
    local bytes = packet.tcp_info(fd, true)
    if bytes then
      samples[#samples + 1] = { at = at, stream = i, bytes = bytes }
    end
  end
end

-- A sample in the words of the result; `before`: the one before it of the same stream.
local function decode(raw, before)
  local info = rows.tcp_info(raw.bytes)
  local out = { at = raw.at, stream = raw.stream, rtt = info.rtt, rttvar = info.rttvar, min_rtt = info.min_rtt, cwnd = info.snd_cwnd,
    ssthresh = info.snd_ssthresh ~= NO_THRESHOLD and info.snd_ssthresh or nil, mss = info.snd_mss, unacked = info.unacked, lost = info.lost,
    retransmits = info.total_retrans, bytes_acked = info.bytes_acked, delivery_rate = info.delivery_rate, pacing_rate = info.pacing_rate }
  local since = raw.at - (before and before.at or 0)
  if out.bytes_acked and since > 0 then
    out.goodput = (out.bytes_acked - (before and before.bytes_acked or 0)) * 8 / since
  end
  return out
end

---Write until the time is over, or all is written.
---@return table
function M.source(flow, sources, call)
  connect(flow, sources, call)
  local start, samples, taken = core.fd.clock(), {}, 0
  local left = {} -- of `bytes`, a part for each stream
  for i in ipairs(sources) do
    left[i] = flow.bytes and flow.bytes // #sources + (i <= flow.bytes % #sources and 1 or 0) or math.huge
  end
  local stop = start + (flow.seconds or flow.timeout)
  while true do
    local now = core.fd.clock()
    if now >= stop then
      break
    end
    local next_sample = flow.interval > 0 and start + (taken + 1) * flow.interval or math.huge
    if now >= next_sample then
      taken = math.floor((now - start) / flow.interval)
      sample(samples, sources, now - start)
      next_sample = start + (taken + 1) * flow.interval
    end
    local list, at = {}, {}
    for i, fd in ipairs(sources) do
      if left[i] > 0 then
        list[#list + 1], at[#at + 1] = { fd, "w" }, i
      end
    end
    if not list[1] then
      break
    end
    local ready = core.fd.poll(list, math.min(stop, next_sample) - now) or {}
    for k, i in ipairs(at) do
      if ready[k] then
        local n, _, errno = packet.send(sources[i], left[i] >= #CHUNK and CHUNK or CHUNK:sub(1, left[i]))
        if n then
          left[i] = left[i] - n
        elseif errno ~= E.EAGAIN and errno ~= E.EINTR then
          left[i] = 0 -- the sink's time is over, or the way is broken
        end
      end
    end
  end
  local out = { streams = {}, samples = {}, congestion = packet.congestion(sources[1]) }
  if flow.interval > 0 then
    sample(samples, sources, core.fd.clock() - start)
  end
  local before = {}
  for i, raw in ipairs(samples) do
    out.samples[i] = decode(raw, before[raw.stream])
    before[raw.stream] = out.samples[i]
  end
  for i, fd in ipairs(sources) do
    local info = packet.tcp_info(fd)
    local _, port = packet.name(fd)
    packet.shutdown(fd) -- the sink's process has it open too
    out.streams[i] = { sport = port, retransmits = info and info.retransmits or 0 }
  end
  return out
end

---Both sides as one result.
function M.result(flow, source, sink)
  local out = { bytes = sink.bytes, elapsed = sink.elapsed, congestion = source.congestion, samples = source.samples, streams = source.streams,
    retransmits = 0, timed_out = flow.bytes and not sink.complete or nil }
  local by_port = {}
  for _, each in ipairs(sink.streams) do
    by_port[each.port] = each.bytes
  end
  for i, each in ipairs(out.streams) do
    out.retransmits = out.retransmits + each.retransmits
    each.bytes = by_port[each.sport] or sink.streams[i] and sink.streams[i].bytes or 0 -- behind NAT the port is another
    each.goodput = out.elapsed > 0 and each.bytes * 8 / out.elapsed or 0.0
  end
  return out
end

return M
