-- Traffic between nodes, and what it came to: node:traffic("h2", { seconds = 2 }), lab:traffic{ ... } for several at the same time.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local inside = require "nslua.inside"
local nodename = require "nslua.lab.nodename"
local tcp = require "nslua.lab.traffic.tcp"
local udp = require "nslua.lab.traffic.udp"
local units = require "nslua.units"

local M = {}

local packet = core.packet
local NONBLOCK = 0x800 -- SOCK_NONBLOCK, socket(2)
local domains = { inet = 2, inet6 = 10 }
local kinds = { tcp = { type = 1 + NONBLOCK, module = tcp }, udp = { type = 2 + NONBLOCK, module = udp } }

---@class nslua.lab.TrafficOptions
---@field proto? "tcp"|"udp"          default: tcp
---@field seconds? number|string      1
---@field bytes? integer|string       tcp: so many in all, in place of a time
---@field streams? integer            tcp: connections at the same time, 1
---@field congestion? string          tcp: "cubic", "reno", "bbr" ... as far as this kernel has them
---@field interval? number|string     seconds between samples, 0.1; 0: none are taken
---@field rate? number|string         udp: bits of data per second, "1mbit"
---@field size? integer               udp: bytes of data in a packet, 1200
---@field family? "inet"|"inet6"
---@field port? integer               of the sink (default: one that is free)
---@field timeout? number|string      seconds: to connect, 5; and of `bytes` in all, 60

---@class nslua.lab.Traffic
---@field proto "tcp"|"udp"
---@field from nslua.lab.Node
---@field to nslua.lab.Node
---@field bytes integer       of data that came in that time
---@field elapsed number      seconds
---@field goodput number      bits of data per second, at the sink
---@field retransmits integer?  tcp: segments that were sent again
---@field congestion string?    tcp
---@field streams table[]?      tcp: each { bytes, goodput, retransmits, sport }
---@field timed_out boolean?    tcp: not all `bytes` came in time
---@field sent integer?         udp: packets
---@field received integer?     udp: without duplicates
---@field lost integer?         udp
---@field loss number?          udp: a fraction
---@field duplicates integer?   udp
---@field reordered integer?    udp: that came behind a later one
---@field jitter number?        udp: seconds, as of RFC 3550
---@field delay { min: number, avg: number, max: number }?  udp: one way, seconds
---@field samples table[]  tcp: { at, stream, rtt, rttvar, min_rtt, cwnd, ssthresh, mss, unacked, lost, retransmits, bytes_acked, delivery_rate,
---pacing_rate, goodput }; udp: { at, received, bytes, goodput, jitter }; seconds, bits per second; cwnd and ssthresh in segments

local words = { proto = "string", seconds = "number|string", bytes = "integer|string", streams = "1-1000", congestion = "string",
  interval = "number|string", rate = "number|string", size = "24-65000", family = "string", port = "1-65535", timeout = "number|string" }
local only = { bytes = "tcp", streams = "tcp", congestion = "tcp", rate = "udp", size = "udp" }

local Traffic = { __name = "nslua.lab.Traffic" }
Traffic.__index = Traffic

local function rate_text(rate)
  for _, unit in ipairs { { 1e9, "Gbit/s" }, { 1e6, "Mbit/s" }, { 1e3, "kbit/s" } } do
    if rate >= unit[1] then
      return ("%.4g %s"):format(rate / unit[1], unit[2])
    end
  end
  return ("%.4g bit/s"):format(rate)
end

function Traffic:__tostring()
  local more = self.proto == "tcp" and ("%d retransmits"):format(self.retransmits)
    or ("%d of %d lost, jitter %.2f ms"):format(self.lost, self.sent, self.jitter * 1000)
  return ("%s to %s by %s: %s in %.3g s, %s"):format(self.from.node_name, self.to.node_name, self.proto, rate_text(self.goodput), self.elapsed, more)
end

-- A flow that was said, checked.
local function read(call, from, to, said)
  said = said or {}
  check.options(call, said, words)
  local name = nodename.of(to, call, from.lab)
  local out = { from = from, to = from.lab.node[name] or errors.misuse("%s: %s", call, check.unknown("node", name, from.lab.node)),
    proto = said.proto or "tcp", streams = said.streams or 1, congestion = said.congestion, size = said.size or 1200, port = said.port }
  if not kinds[out.proto] then
    errors.misuse("%s: %s", call, check.unknown("proto", out.proto, kinds))
  elseif said.bytes and said.seconds then
    errors.misuse("%s: either seconds or bytes", call)
  end
  for word, proto in pairs(only) do
    if said[word] ~= nil and proto ~= out.proto then
      errors.misuse("%s: %s is of %s", call, word, proto)
    end
  end
  out.seconds = not said.bytes and units.duration(said.seconds or 1, call .. ": seconds") or nil
  out.bytes = said.bytes and math.tointeger(units.size(said.bytes, call .. ": bytes") // 1)
  out.timeout = units.duration(said.timeout or (said.bytes and 60 or 5), call .. ": timeout")
  out.interval = units.duration(said.interval or 0.1, call .. ": interval")
  out.rate = units.rate(said.rate or 1e6, call .. ": rate")
  if out.seconds and out.seconds <= 0 or out.bytes and out.bytes < 1 or out.rate <= 0 then
    errors.misuse("%s: seconds, bytes and rate must be more than nothing", call)
  end
  for _, family in ipairs(said.family and { said.family } or { "inet", "inet6" }) do
    out.address = out.address or out.to:address_of(from, domains[family] and family or errors.misuse("%s: %s", call,
      check.unknown("family", family, domains)))
    out.family = out.family or out.address and family
  end
  if not out.address then
    errors.raise { call = call, netns = from.node_name, errno = core.errno.EHOSTUNREACH, detail = "no address of " .. out.to.node_name }
  end
  out.ip = core.inet.bytes(out.address)
  return out
end

-- Sockets of a flow, and its two processes.
local function start(call, flow)
  local kind = kinds[flow.proto]
  local fds = {}
  local function new(node)
    local fd = inside.raw_socket(node, domains[flow.family], kind.type, 0)
    fds[#fds + 1] = fd
    return fd
  end
  local ok, e = pcall(function()
    local sink, sources = new(flow.to), {}
    errors.check(call, { netns = flow.to.node_name, detail = flow.port and "port " .. flow.port },
      packet.bind(sink, ("\0"):rep(#flow.ip), flow.port or 0))
    if flow.proto == "tcp" then
      errors.check(call, nil, packet.listen(sink, 1024))
    end
    local _, port = packet.name(sink)
    flow.port = port
    for i = 1, flow.proto == "tcp" and flow.streams or 1 do
      sources[i] = new(flow.from)
    end
    local reader, writer, errno = core.fd.pipe() -- its end says how many packets were sent
    errors.check(call, nil, reader, writer, errno)
    fds[#fds + 1], fds[#fds + 2] = reader, writer
    reader:nonblock(true)
    flow.tell = writer
    local plan = { contain = rawget(flow.from.lab, "keeper") or true, stdin = "null" }
    flow.sink = flow.to:fork(plan, function()
      writer:close()
      return kind.module.sink(flow, sink, reader)
    end)
    flow.source = flow.from:fork(plan, function()
      return kind.module.source(flow, sources, call)
    end)
  end)
  for _, fd in ipairs(fds) do
    if fd ~= flow.tell or not ok then
      fd:close()
    end
  end
  if not ok then
    error(e, 0)
  end
end

local function close(flow)
  for _, part in ipairs { "source", "sink" } do
    if flow[part] then
      flow[part]:kill "KILL"
      flow[part]:close()
    end
  end
  if flow.tell then
    flow.tell:close()
  end
end

local function finish(flow)
  local sent = flow.source:result()
  core.process.write(flow.tell, string.pack("<I8", sent.sent or 0)) -- no SIGPIPE where the sink has ended
  flow.tell:close()
  local out = kinds[flow.proto].module.result(flow, sent, (flow.sink:result()))
  out.proto, out.from, out.to = flow.proto, flow.from, flow.to
  out.goodput = out.elapsed > 0 and out.bytes * 8 / out.elapsed or 0.0
  return setmetatable(out, Traffic)
end

local function run(call, flows)
  local out = {}
  local ok, e = pcall(function()
    for _, flow in ipairs(flows) do
      start(call, flow)
    end
    for i, flow in ipairs(flows) do
      out[i] = finish(flow)
    end
  end)
  for _, flow in ipairs(flows) do
    close(flow)
  end
  if not ok then
    error(e, 0)
  end
  return out
end

---@param node nslua.lab.Node
---@param to string|nslua.lab.Node
---@param options? nslua.lab.TrafficOptions
---@return nslua.lab.Traffic
function M.one(node, to, options)
  return run("node.traffic", { read("node.traffic", node, to, options) })[1]
end

---@param lab nslua.Lab
---@param list table  flows: { "h1", "h2", congestion = "bbr" }; what stands outside of them is of all
---@return nslua.lab.Traffic[]
function M.many(lab, list)
  local call = "lab.traffic"
  local flows, shared = {}, {}
  check.argument(call, "flows", list, "table")
  for key, value in pairs(list) do
    if type(key) ~= "number" then
      shared[key] = value
    end
  end
  check.options(call, shared, words)
  for i, said in ipairs(list) do
    check.argument(call, "[" .. i .. "]", said, "table")
    local options = {}
    for key, value in pairs(shared) do
      options[key] = value
    end
    for key, value in pairs(said) do
      options[key] = value
    end
    local from, to = nodename.of(said[1], call, lab), nodename.of(said[2], call, lab)
    options[1], options[2] = nil, nil
    flows[i] = read(call, lab.node[from] or errors.misuse("%s: %s", call, check.unknown("node", from, lab.node)), to, options)
  end
  if not flows[1] then
    errors.misuse("%s: no flows", call)
  end
  return run(call, flows)
end

return M
