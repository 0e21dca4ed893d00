-- encap of routes and nexthops, and MPLS labels. ip-route(8), linux/lwtunnel.h

local core = require "nslua.core"

local M = {}

local CSUM, KEY, SEQ = 1, 4, 8 -- linux/if_tunnel.h, TUNNEL_*
local modes = { [0] = "inline", "encap", "l2encap", "encap.red", "l2encap.red" } -- linux/seg6_iptunnel.h

---A stack of labels: "100/200".
---@param entries integer[]
---@return string
function M.labels(entries)
  local out = {}
  for i, entry in ipairs(entries) do
    out[i] = ("%.0f"):format(math.floor(entry / 4096))
  end
  return table.concat(out, "/")
end

---The label in the four bytes of a destination, which read as an address.
---@param address string
---@return string
function M.label(address)
  local a, b, c = core.inet.bytes(address):byte(1, 3)
  return ("%.0f"):format(a * 4096 + b * 16 + math.floor(c / 16))
end

-- Segments stand behind a header of `from` - 1 bytes, the last hop first.
local function segments(bytes, from)
  local out = {}
  for at = #bytes - 15, from, -16 do
    out[#out + 1] = core.inet.text(bytes:sub(at, at + 15))
  end
  return table.concat(out, ",")
end

local function has(bits, bit)
  return math.floor(bits / bit) % 2 == 1
end

local function tunnel(add, t, words)
  if t.id then
    add("id", tostring(t.id))
  end
  for _, pair in ipairs(words) do
    if t[pair[1]] ~= nil then
      add(pair[2], type(t[pair[1]]) == "number" and ("%.0f"):format(t[pair[1]]) or t[pair[1]])
    end
  end
  for _, flag in ipairs { { KEY, "key" }, { CSUM, "csum" }, { SEQ, "seq" } } do
    if has(t.flags or 0, flag[1]) then
      add(flag[2])
    end
  end
  return t.opts and "opts" or nil
end

local writers = {
  mpls = function(add, t)
    add(M.labels(t.labels or {}))
    if t.ttl then
      add("ttl", t.ttl)
    end
  end,
  ip = function(add, t)
    return tunnel(add, t, { { "dst", "dst" }, { "src", "src" }, { "tos", "tos" }, { "ttl", "ttl" } })
  end,
  ip6 = function(add, t)
    return tunnel(add, t, { { "dst", "dst" }, { "src", "src" }, { "hoplimit", "hoplimit" }, { "tc", "tc" } })
  end,
  seg6 = function(add, t)
    local bytes = t.bytes or ""
    local mode = bytes:byte(1) -- of four bytes in the machine's order, of which the others are zero
    if mode == 0 and bytes:byte(4) then
      mode = bytes:byte(4) ~= 0 and bytes:byte(4) or 0
    end
    local list = segments(bytes, 13)
    -- the last hop of mode inline is the packet's own destination, which the kernel writes there
    add("mode", modes[mode] or mode, "segs", mode == 0 and list:gsub(",::$", "") or list)
  end,
  seg6local = function(add, t, context)
    add("action", t.action)
    for _, key in ipairs { "table", "vrftable", "nh4", "nh6" } do
      if t[key] then
        add(key, t[key])
      end
    end
    for _, pair in ipairs { { "iif_index", "iif" }, { "oif_index", "oif" } } do
      if t[pair[1]] then
        add(pair[2], context.link(t[pair[1]]))
      end
    end
    if t.srh_bytes then
      add("srh", "segs", segments(t.srh_bytes, 9))
    end
    if t.counters then
      add "count"
    end
    local flavors = t.flavors
    if flavors then
      local list = {}
      for name in pairs(flavors.operation or {}) do
        list[#list + 1] = name
      end
      table.sort(list)
      add("flavors", table.concat(list, ","))
      for _, pair in ipairs { { "lblen", "lblen" }, { "nflen", "nflen" } } do
        if flavors[pair[1]] then
          add(pair[2], flavors[pair[1]])
        end
      end
    end
    return t.bpf and "bpf" or nil
  end,
  xfrm = function(add, t, context)
    add("if_id", t.if_id)
    if t.link_index then
      add("link_dev", context.link(t.link_index))
    end
  end,
}

---Add the words of what packets are wrapped in.
---@param add fun(...)
---@param from table    a decoded route, nexthop of one, or nexthop object
---@param context nslua.trace.Context
---@return string? left
function M.words(add, from, context)
  local kind = from.encap_type
  if not kind or kind == "none" then
    return nil
  end
  local write = writers[kind]
  if not write or type(from.encap) ~= "table" then
    return "encap " .. tostring(kind)
  end
  add("encap", kind)
  local left = write(add, from.encap, context)
  return left and "encap " .. left
end

return M
