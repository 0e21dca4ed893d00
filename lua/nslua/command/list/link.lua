-- A link as ip -j tells it, and what a line says of it.

local core = require "nslua.core"
local json = require "nslua.command.list.json"
local linkinfo = require "nslua.command.list.linkinfo"
local names = require "nslua.rtnl.names"
local spaces = require "nslua.command.list.spaces"
local words = require "nslua.command.list.words"

local M = {}

-- In ip's order.
local FLAGS = { "loopback", "broadcast", "pointopoint", "multicast", "noarp", "allmulti", "promisc", "master", "slave", "debug", "dynamic",
  "automedia", "portsel", "notrailers", "up", "lower_up", "dormant", "echo" }

-- Other links, asked for once.
local function link_by_index(handle, index)
  M.known = M.known or setmetatable({}, { __mode = "k" })
  local known = M.known[handle] or {}
  M.known[handle] = known
  if known[index] == nil then
    known[index] = handle.link:get(index) or false
  end
  return known[index] or nil
end

---The name of a link, as ip has it of one that is gone.
---@param handle nslua.Netns
---@param index integer
---@return string
function M.name(handle, index)
  local row = link_by_index(handle, index)
  return row and row.name or ("if%d"):format(index)
end

local function flags_of(row, lower)
  local out, has = {}, row.flags
  if has.up and not has.running then
    out[1] = "NO-CARRIER"
  end
  for _, flag in ipairs(FLAGS) do
    if has[flag] then
      out[#out + 1] = flag:upper()
    end
  end
  if lower and not lower.flags.up then
    out[#out + 1] = "M-DOWN"
  end
  return out
end

---Add the counters of a link.
---@param out nslua.list.Object
---@param row nslua.Link
function M.statistics(out, row)
  local s, rx, tx = row.stats, json.object(), json.object()
  if s then
    for _, key in ipairs { "bytes", "packets", "errors", "dropped" } do
      rx:add(key, s["rx_" .. key])
      tx:add(key, s["tx_" .. key])
    end
    rx:add("over_errors", s.rx_over_errors):add("multicast", s.multicast)
    tx:add("carrier_errors", s.tx_carrier_errors):add("collisions", s.collisions)
    out:add("stats64", json.object():add("rx", rx):add("tx", tx))
  end
end

local LINK_TYPES = { tunnel = "ipip", ipgre = "gre", ip6gre = "gre6" } -- where ip calls it otherwise

-- Ends of tunnels are addresses of IP.
local ENDS = { tunnel = true, tunnel6 = true, sit = true, ipgre = true, ip6gre = true }
local function lladdr(row, text)
  if not (text and ENDS[row.link_type]) then
    return text
  end
  return core.inet.text((text:gsub("(%x%x):?", function(byte)
    return string.char(tonumber(byte, 16))
  end)))
end

---What `ip link` and `ip address` both tell.
---@param row nslua.Link
---@param o table  options; `brief`: neither type nor addresses, as ip has it of one family; `address`: for ip address
---@param handle nslua.Netns
---@return nslua.list.Object
function M.object(row, o, handle)
  local out = json.object():add("ifindex", row.index)
  local lower
  if row.link_index == 0 then
    out:add("link", json.null)
  elseif row.link_index and row.link_netnsid then
    out:add("link_index", row.link_index)
  elseif row.link_index then
    lower = link_by_index(handle, row.link_index)
    out:add("link", M.name(handle, row.link_index))
  end
  out:add("ifname", row.name):add("flags", flags_of(row, lower)):add("mtu", row.mtu)
  local xdp = row.xdp
  if xdp and (xdp.attached or 0) ~= 0 then
    out:add("xdp", json.object():add("mode", xdp.attached):add("prog", json.object():add("id", xdp.prog_id)))
  end
  out:add("qdisc", row.qdisc):add("master", row.master_index and M.name(handle, row.master_index))
  out:add("operstate", row.operstate and row.operstate:upper())
  if not o.address then
    out:add("linkmode", row.linkmode and tostring(row.linkmode):upper())
  end
  out:add("group", row.group and tostring(names.name("group", row.group)))
  out:add("txqlen", row.txqlen ~= 0 and row.txqlen or nil)
  if not o.brief then
    out:add("link_type", LINK_TYPES[row.link_type] or tostring(row.link_type)):add("address", lladdr(row, row.address))
    if row.broadcast then
      out:add("link_pointtopoint", row.flags.pointopoint):add("broadcast", lladdr(row, row.broadcast))
    end
    out:add("permaddr", row.permaddr ~= row.address and lladdr(row, row.permaddr) or nil)
  end
  out:add("link_netnsid", row.link_netnsid)
  if row.proto_down then
    out:add("proto_down", true)
  end
  if o.details then
    out:add("promiscuity", row.promiscuity):add("allmulti", row.allmulti):add("min_mtu", row.min_mtu):add("max_mtu", row.max_mtu)
    out:add("linkinfo", linkinfo.object(row))
    if not o.address then
      out:add("inet6_addr_gen_mode", row.addrgenmode)
    end
    for _, key in ipairs { "num_tx_queues", "num_rx_queues", "gso_max_size", "gso_max_segs", "tso_max_size", "tso_max_segs", "gro_max_size",
      "phys_port_name", "phys_port_id", "phys_switch_id", "parentbus", "parentdev" } do
      out:add(key, row[key])
    end
  end
  out:add("ifalias", (not o.address or o.details) and row.alias or nil)
  if o.statistics and not o.address then
    M.statistics(out, row)
  end
  return out:add("altnames", row.altnames)
end

---What `ip -br` says of a link before all else: "e0@if2          UP             ", and the same as JSON.
---@param row nslua.Link
---@param handle nslua.Netns
---@return string
---@return nslua.list.Object
function M.brief(row, handle)
  local out, name = json.object(), row.name
  if row.link_index == 0 then
    out:add("link", json.null)
    name = name .. "@NONE"
  elseif row.link_index and row.link_netnsid then
    out:add("link_index", row.link_index)
    name = ("%s@if%d"):format(name, row.link_index)
  elseif row.link_index then
    out:add("link", M.name(handle, row.link_index))
    name = name .. "@" .. M.name(handle, row.link_index)
  end
  local state = tostring(row.operstate):upper()
  return ("%-16s %-14s "):format(name, state), out:add("ifname", row.name):add("operstate", state)
end

---The flags of a link in ip's words.
---@param row nslua.Link
---@param handle nslua.Netns
---@return string[]
function M.flags(row, handle)
  return flags_of(row, row.link_index and row.link_index ~= 0 and not row.link_netnsid and link_by_index(handle, row.link_index) or nil)
end

-- The other end or the lower link, with its namespace where that is another.
local function attached(row, handle)
  local index = row.link_index
  if not index or index == 0 or index == row.index and not row.link_netnsid then
    return nil
  elseif not row.link_netnsid then
    return M.name(handle, index)
  end
  local ok, far = pcall(function()
    return handle.link:get(index, { target_nsid = row.link_netnsid })
  end)
  return ("%s in %s"):format(ok and far and far.name or ("if%d"):format(index), spaces.of_nsid(handle, row.link_netnsid))
end

---"-> eth0 in blue" of a veth, "on eth0 mode bridge" of a macvlan.
---@param row nslua.Link
---@param handle nslua.Netns
---@return string
function M.wired(row, handle)
  local to = attached(row, handle)
  local out = linkinfo.brief(row)
  if to then
    table.insert(out, 1, (row.kind == "veth" or row.kind == "netkit") and "-> " .. to or "on " .. to)
  end
  local data = row.kind == "vxlan" and row.vxlan
  if data and data.dev then
    out[#out + 1] = "on " .. data.dev
  end
  return table.concat(out, " ")
end

---The links that `dev`, `type`, `master`, `group` and `up` of ip leave; the kernel leaves out what it can.
---@param handle nslua.Netns
---@param f table
---@param missing fun(name: string)  what is said of a device that is not there
---@return nslua.Link[]
function M.rows(handle, f, missing)
  local filter = { kind = f.kind, group = f.group, up = f.up }
  if f.master then
    local master = handle.link:get(f.master)
    filter.master = master and master.index or words.absent_argument(f.master)
  end
  if f.nomaster then
    filter.master_index = false
  end
  if not f.dev then
    return handle.link:list(filter)
  end
  local row = handle.link:get(f.dev)
  if not row then
    missing(f.dev)
  end
  filter.index = row.index
  return #handle.link:list(filter) > 0 and { row } or {}
end

---Words that links and addresses take.
M.words = {
  words.value "dev", words.value("type", "kind"), words.value "master", words.flag "up", words.flag "nomaster",
  words.named("group", "group", 'Invalid "group" value'),
}

return M
