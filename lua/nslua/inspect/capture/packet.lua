-- A captured packet as a value: what the capture knows of it, and the fields of its headers, decoded when first asked for.

local headers_of = require "nslua.inspect.capture.headers"

local M = {}

---@class nslua.capture.Packet
---@field time number          seconds since 1970
---@field nanoseconds integer  the same, exactly
---@field interface string     "h1:eth0"
---@field netns string?        "h1"
---@field dev string           "eth0"
---@field direction "in"|"out"|nil  as the interface sees it
---@field length integer       bytes on the network; where segmentation is the device's, of what will be many packets
---@field bytes string         what was captured of it
---@field comments string[]?
---@field eth? table    { src, dst, type }
---@field vlan? table   { id, priority }, of the first tag
---@field arp? table    { op = "request"|"reply", sender, sender_ip, target, target_ip }
---@field ip? table     { src, dst, tos, length, id, ttl, protocol, dont_fragment, more_fragments, fragment_offset }
---@field ip6? table    { src, dst, tos, length, ttl, flow, protocol }
---@field icmp? table   { type, code, name, id, seq }; icmp6 the same
---@field tcp? table    { sport, dport, seq, ack, flags = "SA", window, payload_length }
---@field udp? table    { sport, dport, length }
---@field dns? table    { id, response, rcode, answers, name, type }
local Packet = { __name = "nslua.capture.Packet" }

local kinds = { [1] = "ethernet", [101] = "ip" }

function Packet:__index(key)
  local headers = rawget(self, "headers")
  if not headers then
    local kind = kinds[self.link_type]
    headers = kind and headers_of.decode(self.bytes, kind) or {}
    rawset(self, "headers", headers)
  end
  return headers[key]
end

function Packet:__tostring()
  return require("nslua.inspect.capture.line").of(self)
end

---@param raw table  of a pcapng reader
---@return nslua.capture.Packet
function M.of(raw)
  local name = raw.interface.name
  local netns, dev = name:match "^(.*):([^:]*)$"
  return setmetatable({ time = raw.nanoseconds / 1e9, nanoseconds = raw.nanoseconds, interface = name, netns = netns or false, dev = dev or name,
    direction = raw.direction or false, length = raw.length, bytes = raw.bytes, link_type = raw.interface.link_type,
    comments = raw.comments or false }, Packet)
end

---@param value any
---@return boolean
function M.is(value)
  return getmetatable(value) == Packet
end

return M
