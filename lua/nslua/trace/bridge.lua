-- bridge vlan and bridge mdb: VLANs and multicast groups of bridges. bridge(8), linux/if_bridge.h

local core = require "nslua.core"
local schema = require "nslua.schema"

local M = {}

local UNSET_TUNNEL = 17 -- RTM_DELLINK: what BRIDGE_VLANDB_TINFO_CMD takes
local DUMP_GLOBAL = 2 -- BRIDGE_VLANDB_DUMPF_GLOBAL
local ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86dd

local function adder(words)
  return function(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
end

local function span(first, last)
  return last and last ~= first and ("%.0f-%.0f"):format(first, last) or ("%.0f"):format(first)
end

-- The lines that one entry stands for: the VLAN with its flags, its tunnel, its options.
local function entry_lines(context, m, entry, verb)
  local out = {}
  local info = entry.info or { flags = {} }
  local vid = span(info.vid, entry.range)
  local function line(how)
    local words = { "vlan", how, "vid", vid, "dev", context.link(m.dev_index) }
    out[#out + 1] = words
    return adder(words)
  end
  local tunnel = entry.tunnel
  if not info.flags.only_opts then
    local add = line(verb)
    for _, flag in ipairs { "pvid", "untagged" } do
      if info.flags[flag] then
        add(flag)
      end
    end
    if info.flags.brentry then
      add "self"
    end
  end
  if tunnel then
    local last = entry.range and tunnel.id and tunnel.id + entry.range - info.vid
    line(tunnel.cmd == UNSET_TUNNEL and "del" or "add")("tunnel_info", "id", span(tunnel.id or 0, last))
  end
  local set
  for _, word in ipairs { "state", "mcast_router", "mcast_max_groups", "neigh_suppress" } do
    if entry[word] ~= nil then
      set = set or line "set"
      local value = entry[word]
      set(word, type(value) == "boolean" and (value and "on" or "off") or value)
    end
  end
  return out
end

local GLOBAL = { "mcast_snooping", "mcast_querier", "mcast_igmp_version", "mcast_mld_version", "mcast_last_member_count",
  "mcast_last_member_interval", "mcast_startup_query_count", "mcast_startup_query_interval", "mcast_membership_interval",
  "mcast_querier_interval", "mcast_query_interval", "mcast_query_response_interval", "msti" }

local function global_line(context, m, entry)
  local words = { "vlan", "global", "set", "vid", span(entry.vid, entry.range), "dev", context.link(m.dev_index) }
  local add = adder(words)
  for _, word in ipairs(GLOBAL) do
    local value = entry[word]
    if value ~= nil then
      add(word, type(value) == "boolean" and (value and "1" or "0") or ("%.0f"):format(value))
    end
  end
  return words
end

local function lines(context, m, verb)
  local all = {}
  for _, entry in ipairs(m.globals or {}) do
    all[#all + 1] = global_line(context, m, entry)
  end
  for _, entry in ipairs(m.entries or {}) do
    for _, words in ipairs(entry_lines(context, m, entry, verb)) do
      all[#all + 1] = words
    end
  end
  local first = table.remove(all, 1)
  if first and all[1] then
    first.also = all
  end
  return first, not first and "no VLAN" or nil
end

M.vlan = {
  message = "bridge_vlan", tool = "bridge",
  write = function(context, m)
    return lines(context, m, "add")
  end,
  delete = function(context, m)
    return lines(context, m, "del")
  end,
  show = function(context, m)
    -- a request has other attributes than an answer: the first is BRIDGE_VLANDB_DUMP_FLAGS
    local flags = context.payload and #context.payload >= 16 and context.payload:byte(13) + context.payload:byte(16) or 0
    local words = { "vlan", math.floor(flags / DUMP_GLOBAL) % 2 == 1 and "global" or "show" }
    if words[2] == "global" then
      words[3] = "show"
    end
    if m.dev_index and m.dev_index ~= 0 then
      adder(words)("dev", context.link(m.dev_index))
    end
    return words
  end,
}

-- The schema of rows reads another attribute 1 than requests have.
local declared = false

local function request(payload)
  if not declared then
    declared = true
    schema.set("trace_mdb", {}, [[
      1  -  entry   struct(br_mdb_entry)
      2  -  wanted  nest(mdb_wanted)
    ]])
    schema.message("trace_mdb", { head = "br_port_msg", attrs = "trace_mdb" })
  end
  return schema.compile("trace_mdb"):decode(payload)
end

local function group(entry)
  local bytes = entry.bytes or ""
  if entry.ethertype == ETH_P_IP then
    return core.inet.text(bytes:sub(1, 4))
  elseif entry.ethertype == ETH_P_IPV6 then
    return core.inet.text(bytes)
  end
  return ("%02x:%02x:%02x:%02x:%02x:%02x"):format(bytes:byte(1, 6))
end

local function mdb(context, m, verb)
  local entry, wanted = m.entry, m.wanted or {}
  if not entry then
    return nil, "no group"
  end
  local words = { "mdb", verb, "dev", context.link(m.dev_index), "port", context.link(entry.port_index), "grp", group(entry) }
  local add = adder(words)
  if wanted.src then
    add("src", wanted.src)
  end
  add(entry.state)
  if entry.vid and entry.vid ~= 0 then
    add("vid", entry.vid)
  end
  if wanted.filter_mode then
    add("filter_mode", wanted.filter_mode)
  end
  if wanted.proto_number then
    add("proto", wanted.proto_number)
  end
  return words
end

M.mdb = {
  message = "mdb", tool = "bridge",
  decode = function(payload, verb)
    return verb ~= "show" and request(payload) or nil
  end,
  write = function(context, m)
    return mdb(context, m, "add")
  end,
  delete = function(context, m)
    return mdb(context, m, "del")
  end,
  show = function()
    return { "mdb", "show" }
  end,
}

return M
