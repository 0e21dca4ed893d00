-- Options of tunnels, VLANs, bonds and others in the shape that ip -d -j gives them: what is off is left out, ends are "any", keys are dotted.

local json = require "nslua.command.list.json"

local M = {}

local function dotted(number)
  return ("%d.%d.%d.%d"):format(number >> 24 & 255, number >> 16 & 255, number >> 8 & 255, number & 255)
end

local function milliseconds(seconds)
  return math.floor(seconds * 1000 + 0.5)
end

local function on(value)
  return value and "on" or "off"
end

-- What ip does not tell where it is so.
local function usual(key, value, data)
  if value == false then
    return key ~= "pmtudisc" and key ~= "noencap"
  elseif key:find "^encap_" then
    return data.encap == "none" or data.encap == nil
  end
  return key == "encap" and value == "none" or (key == "fwmark" or key == "tos") and value == 0
end

-- A new table without what is usual, with the names of ip.
local function tunnel(data, renamed)
  local out = {}
  for key, value in pairs(data) do
    if not usual(key, value, data) then
      out[renamed[key] or key] = value
    end
  end
  for _, key in ipairs { "ikey", "okey" } do
    out[key] = out[key] and dotted(out[key])
  end
  out.remote, out["local"] = out.remote or "any", out["local"] or "any"
  return out
end

local four = { dev = "link", mode = "proto", local_ = "local" }
local six = { dev = "link", mode = "proto", local_ = "local", encaplimit = "encap_limit", hoplimit = "ttl" }

local function over_ip4(data)
  local out = tunnel(data, four)
  out.ttl = out.ttl == "inherit" and 0 or out.ttl
  out.tos = out.tos and ("0x%x"):format(out.tos == "inherit" and 1 or out.tos)
  return out
end

local function over_ip6(data)
  local out = tunnel(data, six)
  local label, class = out.flowlabel, out.tclass
  out.flowlabel = type(label) == "number" and ("0x%05x"):format(label) or label
  out.tclass = type(class) == "number" and ("0x%02x"):format(class) or class
  return out
end

local function sit(data)
  local out = over_ip4(data)
  local prefix, length = tostring(out.sixrd_prefix or ""):match "^(.-)/(%d+)$"
  out.sixrd_prefix, out.prefix, out.prefixlen = nil, prefix, tonumber(length)
  return out
end

---A table that may be changed, of the same words.
---@param data table
---@return table
local function copy(data)
  local out = {}
  for key, value in pairs(data) do
    out[key] = value
  end
  return out
end
M.copy = copy

M.kinds = { gre = over_ip4, gretap = over_ip4, ipip = over_ip4, vti = over_ip4, sit = sit, ip6tnl = over_ip6, ip6gre = over_ip6, ip6gretap = over_ip6,
  vti6 = over_ip6 }

function M.kinds.geneve(data)
  local out = copy(data)
  out.label = out.label ~= 0 and out.label or nil
  out.tos = out.tos ~= 0 and out.tos or nil
  out.ttl_inherit = out.ttl_inherit or nil
  return out
end

local macsec = { cipher = "cipher_suite", encodingsa = "encoding_sa", end_station = "es", icvlen = "icv_len", send_sci = "inc_sci",
  replay = "replay_protect", validate = "validation" }
function M.kinds.macsec(data)
  local out = {}
  for key, value in pairs(data) do
    out[macsec[key] or key] = value
  end
  out.port = nil
  out.cipher_suite = out.cipher_suite == "default" and "GCM-AES-128" or tostring(out.cipher_suite):upper()
  return out
end

function M.kinds.xfrm(data)
  local out = copy(data)
  out.if_id, out.dev = out.if_id and ("0x%x"):format(out.if_id), nil
  return out
end

function M.kinds.ipvlan(data)
  return { mode = data.mode, [type(data.flags) == "string" and data.flags or "bridge"] = true }
end
M.kinds.ipvtap = M.kinds.ipvlan

function M.kinds.vlan(data)
  local out, flags = copy(data), {}
  for _, flag in ipairs { "reorder_hdr", "gvrp", "mvrp", "loose_binding", "bridge_binding" } do
    flags[#flags + 1] = data[flag] and flag:upper() or nil
    out[flag] = nil
  end
  out.flags = flags[1] and flags or nil
  for _, key in ipairs { "ingress_qos", "egress_qos" } do
    local list = {}
    for i, pair in ipairs(data[key] or {}) do
      list[i] = json.object():add("from", pair.from):add("to", pair.to)
    end
    out[key] = list[1] and list or nil
  end
  return out
end

function M.kinds.bond(data)
  local out = copy(data)
  for _, key in ipairs { "miimon", "updelay", "downdelay", "peer_notify_delay", "arp_interval" } do
    out[key] = out[key] and milliseconds(out[key])
  end
  out.arp_validate = out.arp_validate ~= "none" and out.arp_validate or nil
  out.ad_lacp_rate, out.lacp_rate = out.lacp_rate, nil
  out.ad_lacp_active, out.lacp_active = out.lacp_active ~= nil and on(out.lacp_active) or nil, nil
  return out
end

---A port of a bond.
---@param port table
---@return table
function M.bond_port(port)
  local out = copy(port)
  out.state, out.mii_status = out.state and out.state:upper(), out.mii_status and out.mii_status:upper()
  return out
end

return M
