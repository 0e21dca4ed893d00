-- bridge fdb add, append, replace, del, show. bridge(8)

local address = require "nslua.trace.address"

local M = { message = "neighbour", tool = "bridge" }

local AF_BRIDGE, APPEND = 7, 0x800
local REACHABLE, NOARP, PERMANENT = 2, 64, 128 -- linux/neighbour.h, NUD_*
local states = { none = 0, incomplete = 1, reachable = 2, stale = 4, delay = 8, probe = 16, failed = 32, noarp = 64, permanent = 128 }

function M.fits(payload)
  return payload:byte() == AF_BRIDGE
end

local function has(bits, bit)
  return math.floor(bits / bit) % 2 == 1
end

local function entry(context, m, words)
  local function add(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
  if m.lladdr then
    add(m.lladdr)
  end
  if m.dev_index and m.dev_index ~= 0 then
    add("dev", context.link(m.dev_index))
  end
  local set = m.flags or {}
  for _, flag in ipairs { "self", "master", "use", "router", "extern_learn", "sticky" } do
    if set[flag] then
      add(flag)
    end
  end
  if m.dst then
    add("dst", m.dst)
  end
  for _, word in ipairs { "vlan", "port", "vni", "src_vni", "nhid" } do
    if m[word] then
      add(word, m[word])
    end
  end
  if m.ifindex then
    add("via", context.link(m.ifindex))
  end
  return add
end

function M.write(context, m, bits)
  local verb = address.has(bits, APPEND) and "append" or address.verb(bits)
  local words = { "fdb", verb == "change" and "replace" or verb }
  local add = entry(context, m, words)
  local state = states[m.state] or m.state or 0
  if has(state, PERMANENT) then
    add "permanent"
  elseif has(state, NOARP) then
    add "static"
  elseif has(state, REACHABLE) then
    add "dynamic"
  end
  return words
end

function M.delete(context, m)
  local words = { "fdb", "del" }
  entry(context, m, words)
  return words
end

function M.show(context, m, one)
  local words = { "fdb", one and "get" or "show" }
  if m.master_index then
    words[#words + 1] = "br"
    words[#words + 1] = context.link(m.master_index)
  end
  entry(context, m, words)
  return words
end

return M
