-- What a route or nexthop wraps packets in: lightweight tunnels. ip-route(8), linux/lwtunnel.h, linux/seg6_iptunnel.h, linux/seg6_local.h.

local check = require "nslua.check"
local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local mpls = require "nslua.rtnl.mpls"
local names = require "nslua.rtnl.names"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"

local M = {}

local lwt_h, seg6_h, local_h = "linux/lwtunnel.h", "linux/seg6_iptunnel.h", "linux/seg6_local.h"

schema.enum("lwt_type", { header = lwt_h, prefix = "LWTUNNEL_ENCAP_", c = { seg6local = "LWTUNNEL_ENCAP_SEG6_LOCAL" } }, {
  none = 0, mpls = 1, ip = 2, ila = 3, ip6 = 4, seg6 = 5, bpf = 6, seg6local = 7, rpl = 8, ioam6 = 9, xfrm = 10 })
schema.enum("seg6_mode", { header = seg6_h, prefix = "SEG6_IPTUN_MODE_", c = { ["encap.red"] = "SEG6_IPTUN_MODE_ENCAP_RED",
  ["l2encap.red"] = "SEG6_IPTUN_MODE_L2ENCAP_RED" } }, { inline = 0, encap = 1, l2encap = 2, ["encap.red"] = 3, ["l2encap.red"] = 4 })

-- "End.DT4": SEG6_LOCAL_ACTION_END_DT4
local actions, action_c = {}, {}
for number, name in ipairs { "End", "End.X", "End.T", "End.DX2", "End.DX6", "End.DX4", "End.DT6", "End.DT4", "End.B6", "End.B6.Encaps", "End.BM",
  "End.S", "End.AS", "End.AM", "End.BPF", "End.DT46" } do
  actions[name] = number
  action_c[name] = "SEG6_LOCAL_ACTION_" .. name:gsub("Encaps", "Encap"):gsub("%.", "_"):upper()
end
schema.enum("seg6_action", { header = local_h, c = action_c }, actions)
schema.flags("seg6_flavor", { header = local_h, c = { psp = "1 << SEG6_LOCAL_FLV_OP_PSP", usp = "1 << SEG6_LOCAL_FLV_OP_USP",
  usd = "1 << SEG6_LOCAL_FLV_OP_USD", ["next-csid"] = "1 << SEG6_LOCAL_FLV_OP_NEXT_CSID" } }, { psp = 2, usp = 4, usd = 8, ["next-csid"] = 16 })

schema.struct("ipv6_sr_hdr", { c = "struct ipv6_sr_hdr", header = "linux/seg6.h", prefix = "" }, [[
  nexthdr u8  hdrlen u8  type u8  segments_left u8  first_segment u8  flags u8  tag be16
]]) -- the segments follow, the last hop first
schema.struct("seg6_encap", {}, [[ mode u32:enum(seg6_mode)  srh struct(ipv6_sr_hdr) ]])
local _, modes = schema.names "seg6_mode"
schema.set("lwt_mpls", { header = "linux/mpls_iptunnel.h", prefix = "MPLS_IPTUNNEL_" }, [[
  1  DST  labels  array(be32)
  2  TTL  ttl     u8
]])
local tunnel = [[
  1  ID    id    be64
  2  DST   dst   T
  3  SRC   src   T
  4  %s    u8
  5  %s    u8
  6  FLAGS flags be16
  8  OPTS  opts  bin
]]
schema.set("lwt_ip", { header = lwt_h, prefix = "LWTUNNEL_IP_" }, (tunnel:format("TTL ttl", "TOS tos"):gsub("%f[%w]T%f[%W]", "ip4")))
schema.set("lwt_ip6", { header = lwt_h, prefix = "LWTUNNEL_IP6_" }, (tunnel:format("HOPLIMIT hoplimit", "TC tc"):gsub("%f[%w]T%f[%W]", "ip6")))
schema.set("lwt_seg6", { header = seg6_h, prefix = "SEG6_IPTUNNEL_" }, [[
  1  SRH  bytes   bin                 -- seg6_encap and the segments
  1  SRH  header  struct(seg6_encap)  writeonly
]])
schema.set("lwt_bpf_prog", { header = lwt_h, prefix = "LWT_BPF_PROG_" }, [[
  1  FD    fd    u32
  2  NAME  name  strz
]])
schema.set("lwt_bpf", { header = lwt_h, prefix = "LWT_BPF_" }, [[
  1  IN             in_       nest(lwt_bpf_prog)
  2  OUT            out       nest(lwt_bpf_prog)
  3  XMIT           xmit      nest(lwt_bpf_prog)
  4  XMIT_HEADROOM  headroom  u32
]])
schema.set("seg6_local_bpf", { header = local_h, prefix = "SEG6_LOCAL_BPF_" }, [[
  1  PROG       fd    u32
  2  PROG_NAME  name  strz
]])
schema.set("seg6_local_counters", { header = local_h, prefix = "SEG6_LOCAL_CNT_" }, [[
  2  PACKETS  packets  u64
  3  BYTES    bytes    u64
  4  ERRORS   errors   u64
]])
schema.set("seg6_local_flavors", { header = local_h, prefix = "SEG6_LOCAL_FLV_" }, [[
  1  OPERATION       operation  u32:flags(seg6_flavor)
  2  LCBLOCK_BITS    lblen      u8
  3  LCNODE_FN_BITS  nflen      u8
]])
schema.set("lwt_seg6local", { header = local_h, prefix = "SEG6_LOCAL_" }, [[
  1   ACTION    action     u32:enum(seg6_action)
  2   SRH       srh_bytes  bin
  2   SRH       srh        struct(ipv6_sr_hdr)  writeonly
  3   TABLE     table      u32
  4   NH4       nh4        ip4
  5   NH6       nh6        ip6
  6   IIF       iif_index  u32
  7   OIF       oif_index  u32
  8   BPF       bpf        nest(seg6_local_bpf)
  9   VRFTABLE  vrftable   u32
  10  COUNTERS  counters   nest(seg6_local_counters)
  11  FLAVORS   flavors    nest(seg6_local_flavors)
]])
schema.set("lwt_xfrm", { header = lwt_h, prefix = "LWT_XFRM_" }, [[
  1  IF_ID  if_id       u32
  2  LINK   link_index  u32
]])
for _, name in ipairs { "mpls", "ip", "ip6", "seg6", "bpf", "seg6local", "xfrm" } do
  schema.kind("route_encap", name, "nest(lwt_" .. name .. ")")
end

---@class nslua.Encap  what packets of a route are wrapped in
---`mpls`: labels ("100/200"), ttl. `ip`: id, dst, src, ttl, tos, key, csum, seq; `ip6` likewise with hoplimit and tc. `seg6`: mode ("encap",
---"inline", "l2encap", "encap.red", "l2encap.red"), segs (a list, the first hop first).
---`seg6local`: action ("End.DT4"), table, vrftable, nh4, nh6, iif, oif,
---segs, count, flavors, lblen, nflen. `bpf`: in_, out, xmit ({ fd =, name = }), headroom. `xfrm`: if_id, link_dev. Other types: bytes.
---@field type string

-- The list of segments as the header has them, and back.
local function segments(call, value)
  local list = {}
  if type(value) == "string" then
    for word in value:gmatch "[^,%s]+" do
      list[#list + 1] = word
    end
  elseif type(value) == "table" then
    list = value
  end
  if #list == 0 then
    errors.misuse("%s: segs must be a list of IPv6 addresses", call)
  end
  local bytes = {}
  for i, address in ipairs(list) do
    local packed, family = prefix.address(call, "segs", address)
    if family ~= prefix.AF_INET6 then
      errors.misuse("%s: segs: %s is no IPv6 address", call, address)
    end
    bytes[#list - i + 1] = packed
  end
  return bytes
end

-- A routing header of type 4: RFC 8754.
local function routing_header(bytes)
  local n = #bytes
  return { hdrlen = 2 * n, type = 4, segments_left = n - 1, first_segment = n - 1, ["#tail"] = table.concat(bytes) }
end

-- `from`: where the first of them begins.
local function segments_of(bytes, from)
  local out = {}
  for at = #bytes - 15, from, -16 do
    out[#out + 1] = core.inet.text(bytes:sub(at, at + 15))
  end
  return out
end

local tunnel_flags = { csum = 1, key = 4, seq = 8 } -- linux/if_tunnel.h, TUNNEL_CSUM ...

local function write_tunnel(_, words)
  local flags = 0
  for word, bit in pairs(tunnel_flags) do
    flags = flags + (words[word] and bit or 0)
    words[word] = nil
  end
  words.flags = flags > 0 and flags or nil
  return words
end

local function read_tunnel(data)
  local flags = data.flags or 0
  for word, bit in pairs(tunnel_flags) do
    data[word] = math.floor(flags / bit) % 2 == 1 or nil
  end
  data.flags = nil
  return data
end

local function write_index(words, call, handle, word, field)
  if words[word] ~= nil then
    words[field], words[word] = device.index(handle, words[word], call, word), nil
  end
end

local tunnel_words = { id = true, dst = true, src = true, csum = true, key = true, seq = true, opts = true }
local kinds = {
  mpls = { words = { labels = true, ttl = true },
    write = function(call, words)
      words.labels = mpls.stack(call, "labels", words.labels)
      return words
    end,
    read = function(data)
      data.labels = mpls.text(data.labels)
      return data
    end },
  ip = { words = { ttl = true, tos = true }, write = write_tunnel, read = read_tunnel },
  ip6 = { words = { hoplimit = true, tc = true }, write = write_tunnel, read = read_tunnel },
  seg6 = { words = { mode = true, segs = true },
    write = function(call, words)
      local bytes = segments(call, words.segs)
      if words.mode == "inline" then
        table.insert(bytes, 1, ("\0"):rep(16)) -- the packet's own destination takes this place
      end
      local srh = routing_header(bytes)
      local tail = srh["#tail"]
      srh["#tail"] = nil -- it follows the struct that this one is in
      return { header = { mode = words.mode or "encap", srh = srh, ["#tail"] = tail } }
    end,
    read = function(data)
      local bytes = data.bytes
      local mode = bytes:byte(1) + bytes:byte(4) -- an int, of either byte order
      local segs = segments_of(bytes, 13)
      if modes[mode] == "inline" then
        segs[#segs] = nil
      end
      return { mode = modes[mode] or mode, segs = segs }
    end },
  bpf = { words = { in_ = true, out = true, xmit = true, headroom = true } },
  seg6local = { words = { action = true, table = true, vrftable = true, nh4 = true, nh6 = true, iif = true, oif = true, segs = true, count = true,
      flavors = true, lblen = true, nflen = true, bpf = true },
    write = function(call, words, handle)
      write_index(words, call, handle, "iif", "iif_index")
      write_index(words, call, handle, "oif", "oif_index")
      for _, word in ipairs { "table", "vrftable" } do
        words[word] = words[word] ~= nil and names.number("table", words[word], call) or nil
      end
      if words.segs then
        words.srh, words.segs = routing_header(segments(call, words.segs)), nil
      end
      if words.flavors or words.lblen or words.nflen then
        words.flavors = { operation = words.flavors or 0, lblen = words.lblen, nflen = words.nflen }
        words.lblen, words.nflen = nil, nil
      end
      words.counters, words.count = words.count and { packets = 0, bytes = 0, errors = 0 } or nil, nil
      return words
    end,
    read = function(data, set)
      data.segs, data.srh_bytes = data.srh_bytes and segments_of(data.srh_bytes, 9), nil
      data.iif, data.oif = verbs.link_name(set, data.iif_index), verbs.link_name(set, data.oif_index)
      data.count, data.counters = data.counters, nil
      data.bpf = data.bpf and { id = data.bpf.fd, name = data.bpf.name } -- the kernel tells the program's id, and wants an fd
      local flavors = data.flavors
      if flavors then
        local list = {}
        for name in pairs(flavors.operation or {}) do
          list[#list + 1] = name
        end
        table.sort(list)
        data.flavors, data.lblen, data.nflen = list, flavors.lblen, flavors.nflen
      end
      for _, word in ipairs { "table", "vrftable" } do
        data[word] = data[word] and names.name("table", data[word])
      end
      return data
    end },
  xfrm = { words = { if_id = true, link_dev = true },
    write = function(call, words, handle)
      write_index(words, call, handle, "link_dev", "link_index")
      return words
    end,
    read = function(data, set)
      data.link_dev = verbs.link_name(set, data.link_index)
      return data
    end },
}
for word in pairs(tunnel_words) do
  kinds.ip.words[word], kinds.ip6.words[word] = true, true
end

---What a message says of an encapsulation.
---@param message table  gets `encap_type` and `encap`
---@param value table
---@param call string
---@param handle table
function M.write(message, value, call, handle)
  call = call .. ": encap"
  if type(value) ~= "table" or value.type == nil then
    errors.misuse("%s must be a table like { type = \"mpls\", labels = \"100/200\" }", call)
  end
  local kind = kinds[value.type]
  message.encap_type = value.type
  if not kind then
    if type(value.bytes) ~= "string" then
      errors.misuse("%s: %s", call, check.unknown("type", value.type, kinds))
    end
    message.encap = value.bytes
    return
  end
  local words = {}
  for word, given in pairs(value) do
    if word ~= "type" then
      if not kind.words[word] and not (word == "iif_index" or word == "oif_index" or word == "link_index") then
        verbs.unknown(call, word, kind.words)
      end
      words[word] = given
    end
  end
  message.encap = kind.write and kind.write(call, words, handle) or words
end

---How a row or one of its nexthops reads.
---@param kind string|integer|nil  encap_type
---@param data table|string|nil    encap
---@param set table
---@return nslua.Encap?
function M.read(kind, data, set)
  if not kind or kind == "none" then
    return nil
  end
  if type(data) ~= "table" then
    return { type = kind, bytes = data }
  end
  local out, how = {}, kinds[kind]
  for key, value in pairs(data) do
    out[key] = value
  end
  if how and how.read then
    out = how.read(out, set)
  end
  out.type = kind
  return out
end

---A filter: the words that are given are those it has.
---@param self nslua.Collection
---@param value table
---@param call string
---@return fun(row: table): boolean
function M.matcher(self, value, call)
  local message = {}
  M.write(message, value, call, self.handle)
  local S = schema.compile(self.object.name)
  local wanted = S:decode(S:encode(message))
  return function(row)
    return row.encap_type == wanted.encap_type and verbs.within(wanted.encap, schema.raw(row, "encap"))
  end
end

return M
