-- What ip link calls the options of kinds that are no tunnels over IP. See kinds.lua.

local M = {}

-- Bits that are told in pairs of value and mask: { bit, word }.
local function bits(value_key, mask_key, list, yes, no)
  return function(add, value)
    for _, pair in ipairs(list) do
      local bit, word = pair[1], pair[2]
      if math.floor(value[mask_key] / bit) % 2 == 1 then
        add(word, math.floor(value[value_key] / bit) % 2 == 1 and yes or no)
      end
    end
  end
end

local function priorities(word)
  return function(add, value)
    add(word)
    for _, pair in ipairs(value.mapping or {}) do
      add(("%.0f:%.0f"):format(pair.from, pair.to))
    end
  end
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

-- An enum that ip(8) takes as a number.
local function number(word, values)
  return function(add, value)
    add(word, values[value] or value)
  end
end

-- Addresses that the kernel counts from 0.
local function addresses(word)
  return function(add, value)
    local list = {}
    for i = 0, 15 do
      list[#list + 1] = value[i]
    end
    add(word, table.concat(list, ","))
  end
end

local function multicast(address)
  local first = tonumber(address:match "^(%d+)%.")
  return first and first >= 224 and first < 240 or address:find "^[fF][fF]" ~= nil
end

local function group_or_remote(add, value)
  add(multicast(value) and "group" or "remote", value)
end

local function inherit(word)
  return function(add, value)
    if value then
      add(word, "inherit")
    end
  end
end

-- What ip(8) sends without being told, beside that which excludes it.
local function unless(word, other)
  return function(add, value, data)
    if not data[other] then
      add(word, value)
    end
  end
end

local ciphers = { ["36030996058996737"] = "default", ["36242102291529729"] = "gcm-aes-128", ["36242102291529730"] = "gcm-aes-256",
  ["36242102291529731"] = "gcm-aes-xpn-128", ["36242102291529732"] = "gcm-aes-xpn-256" }

local macvlan = {
  first = { "mode" },
  flags = function(add, value)
    for _, name in ipairs(sorted(value)) do
      add("flag", name)
    end
  end,
  macaddr_mode = function(add, value, data)
    add("macaddr", value)
    for _, address in ipairs(data.macaddr_nest and data.macaddr_nest.macaddr or { data.macaddr }) do
      add(address)
    end
  end,
  macaddr = false, macaddr_nest = false,
}
local ipvlan = { first = { "mode" }, flags = { "flags", "bare" } }

---@type table<string, table<string, nslua.trace.Option>>
M.kinds = {
  veth = { peer = false },
  vxcan = { peer = false },
  netkit = { peer = false, policy = { "policy", "bare" }, peer_policy = false, first = { "mode" } },
  bridge = {
    boolean = "01", boolopts = bits("optval", "optmask", { { 1, "no_linklocal_learn" }, { 2, "mcast_vlan_snooping" } }, 1, 0),
    group_addr = "group_address", fdb_flush = { "fdb_flush", "flag" },
    mcast_last_member_cnt = "mcast_last_member_count", mcast_startup_query_cnt = "mcast_startup_query_count",
    mcast_last_member_intvl = "mcast_last_member_interval", mcast_membership_intvl = "mcast_membership_interval",
    mcast_querier_intvl = "mcast_querier_interval", mcast_query_intvl = "mcast_query_interval",
    mcast_query_response_intvl = "mcast_query_response_interval", mcast_startup_query_intvl = "mcast_startup_query_interval",
  },
  vlan = {
    first = { "protocol", "id" },
    flags = bits("flags", "mask", { { 1, "reorder_hdr" }, { 2, "gvrp" }, { 4, "loose_binding" }, { 8, "mvrp" }, { 16, "bridge_binding" } },
      "on", "off"),
    ingress_qos = priorities "ingress-qos-map", egress_qos = priorities "egress-qos-map",
  },
  macvlan = macvlan, macvtap = macvlan, ipvlan = ipvlan, ipvtap = ipvlan,
  vxlan = {
    first = { "external", "id" },
    group4 = group_or_remote, group6 = group_or_remote, local4 = "local", local6 = "local", dev_index = { "dev", "dev" },
    learning = { "learning", "no" }, limit = "maxaddress", proxy = { "proxy", "no" }, rsc = { "rsc", "no" }, l2miss = { "l2miss", "no" },
    l3miss = { "l3miss", "no" }, port = "dstport", udp_csum = { "udpcsum", "no" }, udp_zero_csum6_tx = { "udp6zerocsumtx", "no" },
    udp_zero_csum6_rx = { "udp6zerocsumrx", "no" }, remcsum_tx = { "remcsumtx", "no" }, remcsum_rx = { "remcsumrx", "no" },
    gbp = { "gbp", "flag" }, gpe = { "gpe", "flag" }, external = { "external", "no" }, label = { "flowlabel", "hex" },
    ["#28"] = inherit "ttl", ttl_inherit = inherit "ttl", -- IFLA_VXLAN_TTL_INHERIT is written without bytes, read with one
    vnifilter = { "vnifilter", "no" }, tos = { "tos", "hex" },
    port_range = function(add, value)
      add("srcport", value.low, value.high)
    end,
  },
  geneve = {
    first = { "external", "id" },
    remote4 = "remote", remote6 = "remote", local4 = "local", local6 = "local", port = "dstport", label = { "flowlabel", "hex" },
    external = { "external", "flag" }, udp_csum = { "udpcsum", "no" }, udp_zero_csum6_tx = { "udp6zerocsumtx", "no" },
    udp_zero_csum6_rx = { "udp6zerocsumrx", "no" }, inner_proto_inherit = { "innerprotoinherit", "flag" }, tos = { "tos", "hex" },
    ttl_inherit = inherit "ttl", ttl = unless("ttl", "ttl_inherit"), id = unless("id", "external"),
    port_range = function(add, value)
      add("port_range", value.low, value.high)
    end,
  },
  bond = {
    first = { "mode" }, boolean = "01",
    num_peer_notif = "num_grat_arp", active_slave_index = { "active_slave", "dev" }, primary_index = { "primary", "dev" },
    arp_ip_target = addresses "arp_ip_target", ns_ip6_target = addresses "ns_ip6_target", lacp_active = { "lacp_active", "on" },
    coupled_control = { "coupled_control", "on" }, broadcast_neighbor = { "broadcast_neighbor", "on" },
  },
  xfrm = { first = { "dev_index" }, dev_index = { "dev", "dev" }, if_id = { "if_id", "hex" }, external = { "external", "flag" } },
  hsr = { slave1_index = { "slave1", "dev" }, slave2_index = { "slave2", "dev" }, interlink_index = { "interlink", "dev" },
    proto = number("proto", { hsr = 0, prp = 1 }) },
  macsec = {
    first = { "sci", "port" },
    sci = function(add, value)
      add("sci", (value:gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
      end)))
    end,
    cipher = function(add, value)
      local text = tostring(value) -- an integer, or text where Lua has none of 64 bits
      add("cipher", ciphers[text] or text)
    end,
  },
}

---Options of ports: `type bridge_slave`.
---@type table<string, table<string, nslua.trace.Option>>
M.ports = {
  bridge = {
    state = number("state", { disabled = 0, listening = 1, learning = 2, forwarding = 3, blocking = 4 }),
    flush = { "fdb_flush", "flag" }, backup_port_index = { "backup_port", "dev" }, fastleave = "mcast_fast_leave",
  },
  bond = {},
}

return M
