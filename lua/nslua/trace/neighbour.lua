-- ip neighbour add, change, replace, delete, show. ip-neighbour(8)

local address = require "nslua.trace.address"
local names = require "nslua.rtnl.names"

local AF_BRIDGE = 7

local M = { message = "neighbour" }

function M.fits(payload)
  return payload:byte() ~= AF_BRIDGE
end

local function which(context, m, words)
  local function add(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
  local set = m.flags or {}
  if set.proxy then
    add "proxy"
  end
  if m.dst then
    add(m.dst)
  end
  local index = m.dev_index ~= 0 and m.dev_index or m.ifindex
  if index and index ~= 0 then
    add("dev", context.link(index))
  end
  return add
end

function M.write(context, m, bits)
  local words = { "neighbour", address.verb(bits) }
  local add = which(context, m, words)
  if m.lladdr then
    add("lladdr", m.lladdr)
  end
  local set = m.flags or {}
  local state = type(m.state) == "number" and ("0x%x"):format(m.state) or m.state
  if state and state ~= "none" and not set.proxy and not (state == "permanent" and not set.use) then
    add("nud", state) -- permanent is ip(8)'s own
  elseif (state == "none" or state == nil) and not set.proxy and not set.use and not (m.flags_ext and m.flags_ext.managed) then
    add("nud", "none")
  end
  for _, flag in ipairs { "router", "use", "extern_learn" } do
    if set[flag] then
      add(flag)
    end
  end
  if m.flags_ext and m.flags_ext.managed then
    add "managed"
  end
  if m.proto_number then
    add("protocol", names.name("proto", m.proto_number))
  end
  local left = {}
  for _, key in ipairs { "nhid", "vlan", "port", "vni" } do
    if m[key] then
      left[#left + 1] = key
    end
  end
  if set.sticky then
    left[#left + 1] = "sticky"
  end
  return words, left[1] and table.concat(left, ", ") or nil
end

function M.delete(context, m)
  local words = { "neighbour", "delete" }
  which(context, m, words)
  return words
end

function M.show(context, m, one)
  local words = { "neighbour", one and "get" or "show" }
  which(context, m, words)
  return words
end

return M
