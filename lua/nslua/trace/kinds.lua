-- Options of link kinds as words of ip link: a table for each kind, from the keys of its attributes (rtnl/kind/KIND.lua) to what ip(8) calls
-- them. A key that is not in it is its own word. Values: a word; { word, style }; false: not said; or a function that adds words.
--
-- Styles: "on" (word on, word off), "01" (word 1, word 0), "no" (word, noword), "flag" (word where it is true), "dev" (the name of a link).

local M = {}

---@alias nslua.trace.Option string|{ [1]: string, [2]: string }|false|fun(add: fun(...), value: any, data: table, context: nslua.trace.Context)

local styles = {
  on = function(add, word, value)
    add(word, (value == true or value == 1) and "on" or "off")
  end,
  ["01"] = function(add, word, value)
    add(word, (value == true or value ~= 0 and value) and 1 or 0)
  end,
  no = function(add, word, value)
    add(((value == true or value == 1) and "" or "no") .. word)
  end,
  flag = function(add, word, value)
    if value then
      add(word)
    end
  end,
  dev = function(add, word, value, context)
    if value ~= 0 then
      add(word, context.link(value))
    end
  end,
  hex = function(add, word, value)
    add(word, ("0x%x"):format(value))
  end,
}

-- Bits that are told in pairs of value and mask: { bit = word }.
local function bits(value_key, mask_key, list, style)
  return function(add, value)
    for _, pair in ipairs(list) do
      local bit, word = pair[1], pair[2]
      if math.floor(value[mask_key] / bit) % 2 == 1 then
        styles[style](add, word, math.floor(value[value_key] / bit) % 2 == 1)
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

-- Of several keys that are one word: vxlan's group4 and group6.
local function multicast(address)
  local first = tonumber(address:match "^(%d+)%.")
  return first and first >= 224 and first < 240 or address:find "^[fF][fF]" ~= nil
end

local function group_or_remote(add, value)
  add(multicast(value) and "group" or "remote", value)
end

local function set_names(add, set, word)
  local list = {}
  for name in pairs(set) do
    list[#list + 1] = name
  end
  table.sort(list)
  for _, name in ipairs(list) do
    add(word, name)
  end
end

---@type table<string, table<string, nslua.trace.Option>>
M.kinds = {
  veth = { peer = false },
  vxcan = { peer = false },
  bridge = {
    boolean = "01", boolopts = bits("optval", "optmask", { { 1, "no_linklocal_learn" }, { 2, "mcast_vlan_snooping" } }, "01"),
    group_addr = "group_address", fdb_flush = { "fdb_flush", "flag" },
    mcast_last_member_cnt = "mcast_last_member_count", mcast_startup_query_cnt = "mcast_startup_query_count",
    mcast_last_member_intvl = "mcast_last_member_interval", mcast_membership_intvl = "mcast_membership_interval",
    mcast_querier_intvl = "mcast_querier_interval", mcast_query_intvl = "mcast_query_interval",
    mcast_query_response_intvl = "mcast_query_response_interval", mcast_startup_query_intvl = "mcast_startup_query_interval",
  },
  vlan = {
    first = { "protocol", "id" },
    flags = bits("flags", "mask", { { 1, "reorder_hdr" }, { 2, "gvrp" }, { 4, "loose_binding" }, { 8, "mvrp" }, { 16, "bridge_binding" } }, "on"),
    ingress_qos = priorities "ingress-qos-map", egress_qos = priorities "egress-qos-map",
  },
  macvlan = {
    first = { "mode" },
    flags = function(add, value)
      set_names(add, value, "flag")
    end,
    macaddr_mode = function(add, value, data)
      add("macaddr", value)
      for _, address in ipairs(data.macaddr_nest and data.macaddr_nest.macaddr or { data.macaddr }) do
        add(address)
      end
    end,
    macaddr = false, macaddr_nest = false,
  },
  ipvlan = {
    first = { "mode" },
    flags = function(add, value)
      if type(value) == "number" then
        add(({ [0] = "bridge", "private", "vepa" })[value] or value)
      elseif next(value) then
        add((next(value)))
      else
        add "bridge"
      end
    end,
  },
  vxlan = {
    first = { "external", "id" },
    group4 = group_or_remote, group6 = group_or_remote, local4 = "local", local6 = "local", dev_index = { "dev", "dev" },
    learning = { "learning", "no" }, limit = "maxaddress", proxy = { "proxy", "no" }, rsc = { "rsc", "no" }, l2miss = { "l2miss", "no" },
    l3miss = { "l3miss", "no" }, port = "dstport", udp_csum = { "udpcsum", "no" }, udp_zero_csum6_tx = { "udp6zerocsumtx", "no" },
    udp_zero_csum6_rx = { "udp6zerocsumrx", "no" }, remcsum_tx = { "remcsumtx", "no" }, remcsum_rx = { "remcsumrx", "no" },
    gbp = { "gbp", "flag" }, gpe = { "gpe", "flag" }, external = { "external", "no" }, label = { "flowlabel", "hex" },
    ttl_inherit_flag = function(add)
      add("ttl", "inherit")
    end,
    ttl_inherit = false,
    vnifilter = { "vnifilter", "no" },
    tos = { "tos", "hex" },
    port_range = function(add, value)
      add("srcport", value.low, value.high)
    end,
  },
  bond = {
    first = { "mode" },
    num_peer_notif = "num_grat_arp",
    active_slave_index = { "active_slave", "dev" }, primary_index = { "primary", "dev" },
    boolean = "01",
  },
  geneve = {
    first = { "external", "id" },
    remote4 = "remote", remote6 = "remote", port = "dstport", label = { "flowlabel", "hex" }, external = { "external", "no" },
    udp_csum = { "udpcsum", "no" }, udp_zero_csum6_tx = { "udp6zerocsumtx", "no" }, udp_zero_csum6_rx = { "udp6zerocsumrx", "no" },
    inner_proto_inherit = { "innerprotoinherit", "flag" }, tos = { "tos", "hex" },
  },
}
M.kinds.macvtap, M.kinds.ipvtap = M.kinds.macvlan, M.kinds.ipvlan

local states = { disabled = 0, listening = 1, learning = 2, forwarding = 3, blocking = 4 }

---Options of ports: `type bridge_slave`.
M.ports = {
  bridge = {
    boolean = "on",
    state = function(add, value)
      add("state", states[value] or value)
    end,
    flush = { "fdb_flush", "flag" }, backup_port_index = { "backup_port", "dev" }, fast_leave = { "mcast_fast_leave", "on" },
    fastleave = { "mcast_fast_leave", "on" }, hairpin = { "hairpin", "on" },
  },
}

-- Words of one option.
local function say(words, how, key, value, data, context, boolean)
  local function add(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
  if type(how) == "function" then
    how(add, value, data, context)
  elseif type(how) == "table" then
    styles[how[2]](add, how[1], value, context)
  elseif how ~= false then
    local word = how or key:gsub("_$", "")
    if type(value) == "boolean" then
      styles[boolean](add, word, value)
    elseif type(value) == "table" then
      return word
    else
      add(word, type(value) == "number" and ("%.0f"):format(value) or value)
    end
  end
end

---Add the words of a kind's options.
---@param words string[]
---@param options table<string, nslua.trace.Option>  of M.kinds or M.ports
---@param data table     decoded attributes
---@param context nslua.trace.Context
---@return string? left  what has no words
function M.words(words, options, data, context)
  local keys, left, done = {}, {}, {}
  for _, key in ipairs(options.first or {}) do
    if data[key] ~= nil then
      keys[#keys + 1] = key
      done[key] = true
    end
  end
  local rest = {}
  for key in pairs(data) do
    if not done[key] then
      rest[#rest + 1] = tostring(key)
    end
  end
  table.sort(rest)
  for _, key in ipairs(rest) do
    keys[#keys + 1] = key
  end
  for _, key in ipairs(keys) do
    if key:find "^#" then
      left[#left + 1] = "attribute " .. key
    else
      left[#left + 1] = say(words, options[key], key, data[key], data, context, options.boolean or "on")
    end
  end
  return left[1] and table.concat(left, ", ") or nil
end

return M
