-- ip link add, set, delete, show. ip-link(8)

local kinds = require "nslua.trace.kinds"
local names = require "nslua.rtnl.names"
local spaces = require "nslua.trace.spaces"

local CREATE = 0x400
local NEWLINK = 16

local M = { message = "link" }

local AF_BRIDGE = 7

-- Of a bridge's own family these messages say other things.
function M.fits(payload)
  return payload:byte() ~= AF_BRIDGE
end

-- Kinds are declared when first named.
function M.again(m)
  local info = m.linkinfo
  return info ~= nil and type(info.data) == "string" and require("nslua.rtnl.kind").kinds[info.kind] ~= nil
end

-- A name that ip(8) could take for one of its words, which it reads by their beginnings, stands behind `word`.
local function named(words, word, name, always)
  if always or not name:find "%d" or name:find "^%-" then
    words[#words + 1] = word
  end
  words[#words + 1] = name
end

-- Plain attributes and their words.
local attributes = {
  { "address", "address" }, { "broadcast", "broadcast" }, { "mtu", "mtu" }, { "txqlen", "txqueuelen" }, { "num_tx_queues", "numtxqueues" },
  { "num_rx_queues", "numrxqueues" }, { "gso_max_size", "gso_max_size" }, { "gso_max_segs", "gso_max_segs" }, { "gro_max_size", "gro_max_size" },
  { "link_netnsid", "link-netnsid" }, { "alias", "alias" }, { "operstate", "state" }, { "linkmode", "mode" },
}
-- IFF_*: the flag as decoded, its word, and what says yes and no
local flags = {
  { "noarp", "arp", "off", "on" }, { "promisc", "promisc", "on", "off" }, { "allmulti", "allmulticast", "on", "off" },
  { "multicast", "multicast", "on", "off" }, { "dynamic", "dynamic", "on", "off" }, { "notrailers", "trailers", "off", "on" },
}

local function on(value)
  return value and "on" or "off"
end

-- The words that `add` and `set` share, and a peer's.
local function common(context, m, words)
  local function add(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
  for _, pair in ipairs(attributes) do
    if m[pair[1]] ~= nil then
      add(pair[2], m[pair[1]])
    end
  end
  if m.group then
    add("group", names.name("group", m.group))
  end
  if m.netns_fd then
    add("netns", spaces.argument(spaces.of(m.netns_fd)))
  elseif m.netns_pid then
    add("netns", m.netns_pid)
  end
  if m.master_index == 0 then
    add "nomaster"
  elseif m.master_index then
    add("master", context.link(m.master_index))
  end
  if m.carrier ~= nil then
    add("carrier", on(m.carrier))
  end
  if m.proto_down ~= nil then
    add("protodown", on(m.proto_down))
  end
  local spec = m.af_spec and m.af_spec.inet6
  if spec and spec.addr_gen_mode then
    add("addrgenmode", spec.addr_gen_mode == "stable_privacy" and "stable_secret" or spec.addr_gen_mode)
  end
  local changed, set = m.change or {}, m.flags or {}
  for _, flag in ipairs(flags) do
    if changed[flag[1]] then
      add(flag[2], set[flag[1]] and flag[3] or flag[4])
    end
  end
  if changed.up then
    add(set.up and "up" or "down")
  end
  return changed.debug and "debug" or nil
end

local function peer_words(context, peer, words)
  words[#words + 1] = "peer"
  if peer.name then
    words[#words + 1] = "name"
    words[#words + 1] = peer.name
  end
  if peer.index and peer.index ~= 0 then
    words[#words + 1] = "index"
    words[#words + 1] = peer.index
  end
  common(context, peer, words)
end

-- The name the kernel gave, from the echo.
local function given(replies)
  local S = require("nslua.schema").compile "link"
  for i = replies and #replies or 0, 1, -1 do
    if replies[i][1] == NEWLINK then
      return S:decode(replies[i][2]).name
    end
  end
end

local function info_words(context, info, words)
  local kind = info.kind
  local data = type(info.data) == "table" and info.data or {}
  words[#words + 1] = "type"
  words[#words + 1] = kind
  local left = kinds.words(words, kinds.kinds[kind] or {}, data, context) or type(info.data) == "string" and "its options" or nil
  if data.peer then
    peer_words(context, data.peer, words)
  end
  return left
end

local function add(context, m, replies)
  local words = { "link", "add" }
  if m.link_index then
    words[#words + 1] = "link"
    words[#words + 1] = context.link(m.link_index)
  end
  local name = m.name or given(replies)
  if name then
    named(words, "name", name)
  end
  if m.index and m.index ~= 0 then
    words[#words + 1] = "index"
    words[#words + 1] = m.index
  end
  local left = common(context, m, words)
  local info = m.linkinfo or {}
  return words, info_words(context, info, words) or left
end

-- The link a message is about, and whether its name is a new one.
local function target(context, m, words, always)
  local renames = false
  if m.index and m.index ~= 0 then
    named(words, "dev", context.link(m.index), always)
    renames = m.name ~= nil
  elseif m.name or m.alt_ifname then
    named(words, "dev", m.name or m.alt_ifname, always)
  elseif m.group then
    words[#words + 1] = "group"
    words[#words + 1] = names.name("group", m.group)
    m.group = nil
  end
  return renames
end

local function set(context, m)
  local token = m.af_spec and m.af_spec.inet6 and m.af_spec.inet6.token
  if token then
    local words = { "token", "set", token }
    target(context, m, words, true)
    return words
  end
  local words = { "link", "set" }
  if target(context, m, words) then
    words[#words + 1] = "name"
    words[#words + 1] = m.name
  end
  local left = common(context, m, words)
  local info = m.linkinfo
  if info and info.kind then
    left = info_words(context, info, words) or left
  end
  if info and info.slave_kind then
    words[#words + 1] = "type"
    words[#words + 1] = info.slave_kind .. "_slave"
    left = kinds.words(words, kinds.ports[info.slave_kind] or {}, type(info.slave_data) == "table" and info.slave_data or {}, context) or left
  end
  return words, left
end

function M.write(context, m, bits, replies)
  if math.floor(bits / CREATE) % 2 == 1 then
    return add(context, m, replies)
  end
  return set(context, m)
end

function M.delete(context, m)
  local words = { "link", "delete" }
  target(context, m, words)
  return words
end

function M.show(context, m)
  local words = { "link", "show" }
  target(context, m, words)
  if m.master_index then
    words[#words + 1] = "master"
    words[#words + 1] = context.link(m.master_index)
  end
  if m.linkinfo and m.linkinfo.kind then
    words[#words + 1] = "type"
    words[#words + 1] = m.linkinfo.kind
  end
  return words
end

M.target = target

return M
