-- A packet as the function of link:each_packet sees it: its headers as tables of fields that may be read and set.

local carry = require "nslua.carry"
local check = require "nslua.check"
local fields = require "nslua.lab.packet.fields"
local dnsanswers = require "nslua.lab.packet.dnsanswers"
local headers = require("nslua.inspect").headers
local layout = require "nslua.lab.packet.layout"
local units = require "nslua.units"

local M = {}

---@class nslua.lab.Packet  one packet on its way; what is not in it is nil
---@field from string     name of the node it left
---@field to string       name of the node at the other end of the link
---@field number integer  of the packet among all that the function has seen, from 1
---@field eth table       src, dst, type; these and those below may be read, and set but for what is named "(read)"
---@field vlan table?     id, priority
---@field arp table?      op, sender, sender_ip, target, target_ip
---@field ip table?       src, dst, tos, id, ttl, dont_fragment; (read) length, protocol, more_fragments, fragment_offset
---@field ip6 table?      src, dst, tos, flow, ttl; (read) length, protocol
---@field icmp table?     type, code, id, seq; (read) name
---@field icmp6 table?    likewise
---@field tcp table?      sport, dport, seq, ack, flags ("SA"; letters of SFRPAUEC), window; (read) payload_length
---@field udp table?      sport, dport; (read) length
---@field dns table?      id, rcode, addresses (of its answers; as many as there are); (read) response, answers, name, type
---@field payload string? what TCP, UDP or ICMP carries; lengths and checksums follow a change
---@field bytes string    the whole frame; one that is set goes out as it is, without a checksum mended
local Packet = {}

local STATE = {}

local Layer = {}
Layer.__name = "nslua.lab.Layer"

local words = { from = true, to = true, number = true, payload = true, bytes = true, drop = true, delay = true, copy = true, emit = true }
for layer in pairs(headers.fields) do
  words[layer] = true
end

local function layout_of(s)
  s.layout = s.layout or layout.of(s.bytes)
  return s.layout
end

local function start_of(s, layer)
  local l = layout_of(s)
  if layer == "eth" then
    return 1
  elseif layer == l.transport then
    return l.at
  end
  return l[layer]
end

-- The fields of all headers, as they are now.
local function decoded(s)
  if not s.decoded then
    s.decoded = headers.decode(s.bytes, "ethernet")
    local dns, at = s.decoded.dns, s.decoded.dns and layout_of(s).dns
    if dns and at then
      dns.addresses = {}
      for i, answer in ipairs(dnsanswers.find(s.bytes, at, s.layout.stop)) do
        dns.addresses[i] = answer.address
      end
    end
  end
  return s.decoded
end

local function changed(s, bytes)
  s.bytes, s.layout, s.decoded, s.changed = bytes, nil, nil, true
end

function Layer:__index(key)
  local layer = rawget(self, STATE)
  local value = (decoded(layer.packet)[layer.name] or {})[key]
  if value == nil and not headers.fields[layer.name][key] and not fields.known[layer.name][key] and key ~= "addresses" then
    error(check.unknown("field of " .. layer.name, key, headers.fields[layer.name]), 2)
  end
  return value
end

function Layer:__newindex(key, value)
  local layer = rawget(self, STATE)
  local s, name = layer.packet, layer.name
  local start = start_of(s, name)
  local addresses = name == "dns" and key == "addresses"
  if not addresses and not fields.known[name][key] then
    error(headers.fields[name][key] and ("%s.%s cannot be set"):format(name, key)
      or check.unknown("field of " .. name, key, fields.known[name]), 2)
  elseif not start then
    error(("%s.%s: the packet is cut off"):format(name, key), 2)
  end
  local ok, bytes
  if addresses then
    ok, bytes = pcall(fields.set_addresses, s.bytes, dnsanswers.find(s.bytes, start, s.layout.stop), value)
  else
    ok, bytes = pcall(fields.set, s.bytes, start, name, key, value)
  end
  if not ok then
    error(bytes, 2)
  end
  changed(s, bytes)
end

function Layer:__pairs()
  local layer = rawget(self, STATE)
  return next, decoded(layer.packet)[layer.name] or {}, nil
end

-- Methods -------------------------------------------------------------------------------------------------------------------------

local methods = {}

local function state_of(self, call)
  return type(self) == "table" and rawget(self, STATE) or error(("p:%s: a method is called with a colon"):format(call), 3)
end

---It does not arrive.
function methods:drop()
  state_of(self, "drop").dropped = true
end

---It arrives later; what comes behind it does not wait.
---@param seconds number|string  0.02, "20ms"
function methods:delay(seconds)
  local s = state_of(self, "delay")
  local t = units.duration(seconds, "p:delay: seconds")
  if t < 0 or t > 86400 then
    error("p:delay: seconds from 0 to a day expected", 2)
  end
  s.delay = (s.delay or 0) + t
end

---Another one like it as it is now, which arrives behind it, and may be changed, delayed, dropped for itself.
---@return nslua.lab.Packet
function methods:copy()
  local s = state_of(self, "copy")
  local to = s.origin
  if #to.copies >= 10000 then
    error("p:copy: 10000 copies of one packet are enough", 2)
  end
  local copy = { bytes = s.bytes, original = s.original, changed = s.changed, raw = s.raw, from = s.from, to = s.to, number = s.number, origin = to,
    emit = s.emit }
  to.copies[#to.copies + 1] = copy
  return setmetatable({ [STATE] = copy }, Packet)
end

-- What the tables of a packet say, as plain ones.
local function plain(value, deep)
  if type(value) ~= "table" or deep > 100 then
    return value
  end
  local s = rawget(value, STATE)
  if s and getmetatable(value) == Packet then
    local out = { from = s.from, to = s.to, number = s.number }
    for layer, known in pairs(decoded(s)) do
      out[layer] = known
    end
    return out
  elseif s then
    return decoded(s.packet)[s.name]
  end
  local out = {}
  for k, v in pairs(value) do
    out[k] = plain(v, deep + 1)
  end
  return out
end

---Bring a value to the script: link:emitted() gives it. Numbers, strings, booleans, tables of them; a packet or a header is its fields.
---@param value any
function methods:emit(value)
  local s = state_of(self, "emit")
  if value == nil then
    error("p:emit: a value expected", 2)
  end
  local ok, text = pcall(carry.pack, "p:emit: value", 1, plain(value, 0))
  if not ok then
    error(text, 2)
  end
  s.emit(text)
end

function Packet:__index(key)
  local s = rawget(self, STATE)
  if methods[key] then
    return methods[key]
  elseif key == "bytes" then
    return s.bytes
  elseif key == "payload" then
    local l = layout_of(s)
    return l.payload and s.bytes:sub(l.payload, l.stop - 1) or nil
  elseif key == "from" or key == "to" or key == "number" then
    return s[key]
  elseif not headers.fields[key] then
    error(check.unknown("field of a packet", key, words), 2)
  end
  return decoded(s)[key] and setmetatable({ [STATE] = { packet = s, name = key } }, Layer)
end

function Packet:__newindex(key, value)
  local s = rawget(self, STATE)
  if key == "bytes" then
    if type(value) ~= "string" or #value < 14 or #value > 65535 then
      error("bytes: those of a frame expected: 14 to 65535", 2)
    end
    changed(s, value)
    s.raw = true
  elseif key == "payload" then
    local l = layout_of(s)
    if not l.payload then
      error("payload: the packet has none", 2)
    end
    local ok, bytes = pcall(fields.set_payload, s.bytes, l, value)
    if not ok then
      error(bytes, 2)
    end
    changed(s, bytes)
  else
    error(words[key] and ("%s cannot be set"):format(key) or check.unknown("field of a packet", key, { payload = true, bytes = true }), 2)
  end
end

function Packet:__tostring()
  local s = rawget(self, STATE)
  local names = {}
  for layer in pairs(decoded(s)) do
    names[#names + 1] = layer
  end
  table.sort(names)
  return ("packet %d, %s to %s: %s, %d bytes"):format(s.number, s.from, s.to, table.concat(names, " "), #s.bytes)
end

---A packet for the function.
---@param bytes string
---@param from string
---@param to string
---@param number integer
---@param emit fun(text: string)
---@return nslua.lab.Packet
---@return table state  `copies`, and as of each of these: `dropped`, `delay`, `changed`; M.finish gives the frame
function M.new(bytes, from, to, number, emit)
  local s = { bytes = bytes, original = bytes, from = from, to = to, number = number, emit = emit, copies = {} }
  s.origin = s
  return setmetatable({ [STATE] = s }, Packet), s
end

---The frame that goes out.
---@param s table
---@return string
function M.finish(s)
  return s.changed and not s.raw and layout.mend(s.original, s.bytes) or s.bytes
end

return M
