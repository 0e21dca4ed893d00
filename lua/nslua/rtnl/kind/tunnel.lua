-- What IP tunnels share: their two ends, keys, what IPv6 ones have in a flow label, and UDP around them (fou, gue).
-- linux/if_tunnel.h, linux/ip6_tunnel.h, ip-link(8).

local bits = require "nslua.rtnl.kind.bits"
local core = require "nslua.core"
local errors = require "nslua.error"
local schema = require "nslua.schema"

local M = {}

M.header = "linux/if_tunnel.h"

schema.enum("tunnel_encap", { header = M.header, prefix = "TUNNEL_ENCAP_" }, { none = 0, fou = 1, gue = 2, mpls = 3 })
schema.enum("tunnel_ttl", {}, { inherit = 0 })
schema.enum("tunnel_tos", {}, { inherit = 1 })
schema.enum("tunnel_port", {}, { auto = 0 })
schema.flags("ip6_tnl", { header = "linux/ip6_tunnel.h", prefix = "IP6_TNL_F_" }, { ign_encap_limit = 1, use_orig_tclass = 2,
  use_orig_flowlabel = 4, mip6_dev = 8, rcv_dscp_copy = 0x10, use_orig_fwmark = 0x20, allow_local_remote = 0x40 })

local encap = { encap_csum = 1, encap_csum6 = 2, encap_remcsum = 4 } -- TUNNEL_ENCAP_FLAG_*

-- Ends that are any address: none is read, "any" and false are written.
local any = { inet = "0.0.0.0", inet6 = "::" }

local function write_ends(data, family)
  for _, word in ipairs { "local_", "remote" } do
    if data[word] == false or data[word] == "any" then
      data[word] = any[family]
    end
  end
end

local function read_ends(data, family)
  for _, word in ipairs { "local_", "remote" } do
    if data[word] == any[family] then
      data[word] = nil
    end
  end
end

---A tunnel's key: a number, or four bytes as ip(8) takes them.
---@param call string
---@param word string
---@param value any
---@return integer
function M.key(call, word, value)
  if type(value) == "string" and not tonumber(value) then
    local bytes = core.inet.bytes(value)
    if not bytes or #bytes ~= 4 then
      errors.misuse("%s: %s must be a number or four bytes (\"10.0.0.1\"), got %q", call, word, value)
    end
    local a, b, c, d = bytes:byte(1, 4)
    return ((a * 256 + b) * 256 + c) * 256 + d
  end
  return tonumber(value)
end

-- What IPv6 tunnels have in their flags and in the flow label: number of low bits, bit of "as in the packet inside".
local flow = { tclass = { 0x100000, 0x100, 2 }, flowlabel = { 1, 0x100000, 4 } }

local function write_inet6(data, call, now)
  local flags, said = now and now.flags or 0, false
  local function inherits(bit, on)
    flags, said = bits.set(flags, bit, on), true
  end
  if data.encaplimit ~= nil then
    local none = data.encaplimit == "none"
    inherits(1, none)
    data.encap_limit = not none and data.encaplimit or nil
    data.encaplimit = nil
  end
  local flowinfo
  for word, how in pairs(flow) do
    local value = data[word]
    if value ~= nil then
      inherits(how[3], value == "inherit")
      value = value == "inherit" and 0 or value
      if type(value) ~= "number" or value < 0 or value >= how[2] or value % 1 ~= 0 then
        errors.misuse("%s: %s must be \"inherit\" or a number from 0 to %d, got %s", call, word, how[2] - 1, tostring(data[word]))
      end
      flowinfo = flowinfo or now and now.flowinfo or 0
      local old = math.floor(flowinfo / how[1]) % how[2]
      flowinfo = flowinfo + (value - old) * how[1]
      data[word] = nil
    end
  end
  data.flowinfo = flowinfo
  if data.dscp ~= nil then
    if data.dscp and data.dscp ~= "inherit" then
      errors.misuse("%s: dscp must be \"inherit\" or false, got %q", call, data.dscp)
    end
    inherits(0x10, data.dscp == "inherit")
    data.dscp = nil
  end
  if data.fwmark ~= nil then
    inherits(0x20, data.fwmark == "inherit")
    data.fwmark = data.fwmark ~= "inherit" and data.fwmark or nil
  end
  if data.allow_localremote ~= nil then
    inherits(0x40, data.allow_localremote)
    data.allow_localremote = nil
  end
  data.flags = said and flags or nil
end

local function read_inet6(data)
  local flags = data.flags
  if not flags then
    return
  end
  data.encaplimit = bits.has(flags, 1) and "none" or data.encap_limit
  for word, how in pairs(flow) do
    local flowinfo = data.flowinfo
    data[word] = bits.has(flags, how[3]) and "inherit" or flowinfo and math.floor(flowinfo / how[1]) % how[2] or nil
  end
  data.dscp = bits.has(flags, 0x10) and "inherit" or nil
  data.fwmark = bits.has(flags, 0x20) and "inherit" or data.fwmark
  data.allow_localremote = bits.has(flags, 0x40)
end

---A kind of tunnel: `t` is the kind, to which the words of its family are added.
---@param family "inet"|"inet6"
---@param t nslua.Kind
---@return nslua.Kind
function M.kind(family, t)
  local write, read = t.write, t.read
  local inet6 = family == "inet6" and t.flow
  t.flow = nil
  t.header = M.header
  t.dev = { dev = "dev_index" }
  t.whole = true
  t.words = t.words or {}
  t.words.local_, t.words.remote = "string|false", "string|false"
  t.hidden = t.hidden or {}
  local wrapped = t.attributes:find("ENCAP_TYPE", 1, true)
  if wrapped then
    bits.booleans(encap, t.words)
    t.hidden[#t.hidden + 1] = "encap_flags"
  end
  if inet6 then
    t.words.encaplimit, t.words.tclass, t.words.flowlabel = "integer|string", "integer|string", "integer|string"
    t.words.dscp, t.words.fwmark, t.words.allow_localremote = "string|false", "integer|string", "boolean"
    for _, key in ipairs { "flags", "flowinfo", "encap_limit" } do
      t.hidden[#t.hidden + 1] = key
    end
  end
  function t.write(data, call, now)
    if write then
      write(data, call, now)
    end
    write_ends(data, family)
    if wrapped then
      bits.write(data, "encap_flags", encap, now)
    end
    if inet6 then
      write_inet6(data, call, now)
    end
  end
  function t.read(data)
    if read then
      read(data)
    end
    read_ends(data, family)
    if wrapped then
      bits.read(data, "encap_flags", encap)
    end
    if inet6 then
      read_inet6(data)
    end
  end
  return t
end

return M
