-- Options of a link's kind, and of a port, in the shape that ip -d -j gives them.

local core = require "nslua.core"
local json = require "nslua.command.list.json"
local tunnel = require "nslua.command.list.tunnel"

local M = {}
local copy = tunnel.copy

-- How a value is said; nil: as it is.
local as = {}
function as.digit(value) -- a yes or no of the library
  return value and 1 or 0
end
function as.centi(seconds) -- the kernel's hundredths of a second
  return math.floor(seconds * 100 + 0.5)
end
as.timer = json.hundredths
function as.hex(value)
  return value == 0 and "0" or ("0x%x"):format(value)
end
function as.id(text) -- bytes without leading zeros
  return (text:gsub("([.:])0(%x)", "%1%2"))
end
function as.protocol(text)
  return (tostring(text):gsub("1q$", "1Q"))
end
function as.yes(value) -- told only where it is so
  return value and true or nil
end
function as.some(value)
  return value ~= 0 and value or nil
end
function as.hexsome(value)
  value = value == "inherit" and 1 or value
  return value ~= 0 and ("0x%x"):format(value) or nil
end

-- "key", "key:how", "key=field:how", in ip's order.
local function compile(text)
  local out = {}
  for word in text:gmatch "%S+" do
    local key, field, how = word:match "^([%w_]+)=?([%w_]*):?(%a*)$"
    out[#out + 1] = { key, field ~= "" and field or key, how ~= "" and assert(as[how], how) or nil }
  end
  return out
end

local function fill(object, shape, data)
  for _, entry in ipairs(shape) do
    local value = data[entry[2]]
    if value ~= nil then
      if entry[3] then
        value = entry[3](value)
      end
      object:add(entry[1], value)
    end
  end
  return object
end

local bridge = compile [[
  forward_delay:centi hello_time:centi max_age:centi ageing_time:centi stp_state:digit priority vlan_filtering:digit vlan_protocol:protocol
  bridge_id:id root_id:id root_port root_path_cost topology_change:digit topology_change_detected:digit hello_timer:timer tcn_timer:timer
  topology_change_timer:timer gc_timer:timer vlan_default_pvid vlan_stats_enabled:digit vlan_stats_per_port:digit group_fwd_mask:hex group_addr
  mcast_snooping:digit no_linklocal_learn:digit mcast_vlan_snooping:digit mcast_router mcast_query_use_ifaddr:digit mcast_querier:digit
  mcast_hash_elasticity mcast_hash_max mcast_last_member_cnt mcast_startup_query_cnt mcast_last_member_intvl:centi mcast_membership_intvl:centi
  mcast_querier_intvl:centi mcast_query_intvl:centi mcast_query_response_intvl:centi mcast_startup_query_intvl:centi mcast_stats_enabled:digit
  mcast_igmp_version mcast_mld_version nf_call_iptables:digit nf_call_ip6tables:digit nf_call_arptables:digit
]]

local bridge_port = compile [[
  state priority cost hairpin guard root_block fastleave learning flood id:hex no:hex designated_port designated_cost bridge_id:id root_id:id
  hold_timer:timer message_age_timer:timer forward_delay_timer:timer topology_change_ack:digit config_pending:digit proxy_arp proxy_arp_wifi
  multicast_router=mcast_router mcast_flood bcast_flood mcast_to_unicast neigh_suppress group_fwd_mask:hex group_fwd_mask_str vlan_tunnel isolated
  locked backup_port
]]

local vxlan = compile [[
  external:yes id group group6 remote remote6 local local6 link=dev port_range port learning proxy:yes rsc:yes l2miss:yes l3miss:yes tos:hexsome
  ttl df label:hexsome ageing limit:some udp_csum udp_zero_csum6_tx udp_zero_csum6_rx remcsum_tx:yes remcsum_rx:yes gbp:yes gpe:yes
]]

local macvlan = compile "mode nopromisc nodst bcqueuelen usedbcqueuelen macaddr_count:some macaddr_data"

-- What a mask of groups that a bridge forwards is called. bridge(8)
local function mask_text(mask)
  local named, out = { [0] = "stp", [2] = "lacp", [14] = "lldp" }, {}
  for bit = 0, 15 do
    if mask >> bit & 1 == 1 then
      out[#out + 1] = named[bit] or ("0x%x"):format(1 << bit)
    end
  end
  return out[1] and table.concat(out, ",") or "0x0"
end

-- Any other kind: the library's words, sorted.
local function plain(object, data)
  local keys = {}
  for key in pairs(data) do
    keys[#keys + 1] = type(key) == "string" and key:sub(1, 1) ~= "#" and key or nil
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local value = data[key]
    if type(value) == "table" and #value == 0 then
      value = plain(json.object(), value)
    end
    object:add(key, value)
  end
  return object
end

local kinds = {
  bridge = function(data)
    return fill(json.object(), bridge, data)
  end,
  vxlan = function(data)
    data = copy(data)
    local six = data.local_ and data.local_:find(":", 1, true)
    data[six and "local6" or "local"] = data.local_
    for _, key in ipairs { "group", "remote" } do
      if data[key] and data[key]:find(":", 1, true) then
        data[key .. "6"], data[key] = data[key], nil
      end
    end
    local range = data.port_range
    data.port_range = range and json.object():add("low", range.low):add("high", range.high)
    return fill(json.object(), vxlan, data)
  end,
  macvlan = function(data)
    data = copy(data)
    for flag in pairs(data.flags or {}) do
      data[flag] = true
    end
    return fill(json.object(), macvlan, data)
  end,
}
kinds.macvtap = kinds.macvlan

-- The name of a group; its number where it has none.
local function group_name(number)
  for line in io.lines "/etc/group" do
    local name, gid = line:match "^([^:]*):[^:]*:(%d+):"
    if tonumber(gid) == number then
      return name
    end
  end
  return ("%d"):format(number)
end

function kinds.tun(data, kind)
  local object = json.object():add("type", kind)
  for _, key in ipairs { "pi", "vnet_hdr", "multi_queue" } do
    object:add(key, data[key] or false)
  end
  if data.multi_queue then
    object:add("numqueues", data.numqueues):add("numdisabled", data.numdisabled)
  end
  object:add("persist", data.persist or false)
  object:add("user", data.user and (core.idmap.name(data.user) or ("%d"):format(data.user)))
  return object:add("group", data.group and group_name(data.group))
end
kinds.tap = kinds.tun

---The `linkinfo` of a link; nil: it has none.
---@param row nslua.Link
---@return nslua.list.Object?
function M.object(row)
  local found = row.linkinfo
  if not found then
    return nil
  end
  local object = json.object():add("info_kind", found.kind)
  local data = row.kind and row[row.kind]
  if type(data) == "table" and next(data) ~= nil then
    local shaped = (kinds[row.kind] or function(t, kind)
      return plain(json.object(), tunnel.kinds[kind] and tunnel.kinds[kind](t) or t)
    end)(data, row.kind)
    object:add("info_data", #shaped > 0 and shaped or nil)
  end
  if found.slave_kind then
    object:add("info_slave_kind", found.slave_kind)
    local port = row.port
    if port and found.slave_kind == "bridge" then
      port = copy(port)
      port.group_fwd_mask_str = port.group_fwd_mask and mask_text(port.group_fwd_mask)
      object:add("info_slave_data", fill(json.object(), bridge_port, port))
    elseif port then
      port = found.slave_kind == "bond" and tunnel.bond_port(port) or port
      object:add("info_slave_data", plain(json.object(), port))
    end
  end
  return object
end

-- Text: what a line says of a kind, of its options those that people look for.
local brief = {
  vxlan = { "id", "group", "remote", "local_", "port" },
  macvlan = { "mode" }, macvtap = { "mode" }, ipvlan = { "mode" },
  vlan = { "id" }, geneve = { "id", "remote" }, vrf = { "table" }, bond = { "mode" },
  bridge = { "vlan_filtering", "stp_state" },
}

---@param row nslua.Link
---@return string[]
function M.brief(row)
  local out, data = {}, row.kind and brief[row.kind] and row[row.kind]
  for _, key in ipairs(data and brief[row.kind] or {}) do
    local value = data[key]
    if value == true then
      out[#out + 1] = key
    elseif value then
      out[#out + 1] = ("%s %s"):format(key:gsub("_$", ""), tostring(value))
    end
  end
  return out
end

return M
