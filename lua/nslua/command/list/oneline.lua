-- Rows as ip -o prints them, from what ip -j says of them: a row is a line, what ip would begin a line with stands behind a backslash.

local M = {}

---@type table<string, fun(object: nslua.list.Object): string[]>
M.lines = {}

local function fields(object)
  local out = {}
  for _, entry in ipairs(object) do
    out[entry[1]] = entry[2]
  end
  return out
end

-- Text from parts; nil ones are left out.
local function joined(parts, n)
  local out = {}
  for i = 1, n do
    if parts[i] ~= nil and parts[i] ~= "" then
      out[#out + 1] = tostring(parts[i])
    end
  end
  return table.concat(out, " ")
end

local function text(...)
  return joined({ ... }, select("#", ...))
end

local function word(name, value)
  return value ~= nil and ("%s %s"):format(name, tostring(value)) or nil
end

local function stated(name, value)
  return value ~= nil and name or nil
end

local function name_of(f)
  return f.link_index and ("%s@if%d"):format(f.ifname, f.link_index) or type(f.link) == "string" and f.ifname .. "@" .. f.link
    or f.link and f.ifname .. "@NONE" or f.ifname
end

function M.lines.link(object)
  local f = fields(object)
  local head = text(("%d: %s: <%s>"):format(f.ifindex, name_of(f), table.concat(f.flags, ",")), word("mtu", f.mtu), word("qdisc", f.qdisc),
    word("master", f.master), word("state", f.operstate), word("mode", f.linkmode), word("group", f.group), word("qlen", f.txqlen))
  local out = { head, "    " .. text("link/" .. tostring(f.link_type), f.address,
    f.broadcast and (f.link_pointtopoint and "peer " or "brd ") .. f.broadcast,
    word("permaddr", f.permaddr), word("link-netnsid", f.link_netnsid), f.proto_down and "protodown on" or nil) }
  if f.ifalias then
    out[#out + 1] = "    alias " .. f.ifalias
  end
  for _, name in ipairs(f.altnames or {}) do
    out[#out + 1] = "    altname " .. name
  end
  return { table.concat(out, "\\") }
end

local ADDRESS_FLAGS = { "secondary", "temporary", "nodad", "optimistic", "dadfailed", "home", "deprecated", "tentative", "dynamic", "mngtmpaddr",
  "noprefixroute", "autojoin", "stable-privacy" }

local function lifetime(value)
  return value == 4294967295 and "forever" or ("%dsec"):format(value)
end

function M.lines.address(object)
  local f, out = fields(object), {}
  for i, each in ipairs(f.addr_info or {}) do
    local a = fields(each)
    local own = a.address and ("%s peer %s/%d"):format(a["local"], a.address, a.prefixlen) or ("%s/%d"):format(a["local"] or "", a.prefixlen)
    local flags = {}
    for j, flag in ipairs(ADDRESS_FLAGS) do
      flags[j] = a[flag] and flag or nil
    end
    out[i] = ("%d: %s    %s\\       %s"):format(f.ifindex, f.ifname, text(a.family, own, word("metric", a.metric), word("brd", a.broadcast),
      word("any", a.anycast), word("scope", a.scope), joined(flags, #ADDRESS_FLAGS), a.label),
      text(word("valid_lft", lifetime(a.valid_life_time)), word("preferred_lft", lifetime(a.preferred_life_time))))
  end
  return out
end

local function via(f)
  local other = f.via and fields(f.via)
  return f.gateway and "via " .. f.gateway or other and ("via %s %s"):format(other.family, other.host) or nil
end

-- ip says of an encapsulation in JSON what it says in text, in the same order.
local function encap(f)
  if not f.encap then
    return nil
  end
  local out = { "encap " .. tostring(f.encap) }
  for _, key in ipairs { "id", "src", "dst", "ttl", "hoplimit", "tos", "tc" } do
    out[#out + 1] = word(key, f[key])
  end
  return joined(out, #out)
end

function M.lines.route(object)
  local f = fields(object)
  local hops = {}
  for i, each in ipairs(f.nexthops or {}) do
    local hop = fields(each)
    hops[i] = "\\\tnexthop " .. text(encap(hop), via(hop), word("dev", hop.dev), word("weight", hop.weight),
      joined(hop.flags or {}, #(hop.flags or {})))
  end
  local head = text(f.type, f.dst, word("from", f.from), word("tos", f.tos), word("nhid", f.nhid), f.nexthops == nil and encap(f) or nil, via(f),
    word("dev", f.dev), word("table", f.table), word("proto", f.protocol), word("scope", f.scope), word("src", f.prefsrc), word("metric", f.metric),
    joined(f.flags or {}, #(f.flags or {})), f.expires and ("expires %dsec"):format(f.expires) or nil, f.metrics, word("iif", f.iif),
    not hops[1] and word("pref", f.pref) or nil)
  return { head .. (hops[1] and f.pref and " pref " .. f.pref or "") .. (hops[1] and " " or "") .. table.concat(hops, " ") }
end

local function side(name, f, key)
  local value, length = f[key], f[key .. "len"]
  return value and ("%s %s%s"):format(name, value, length and "/" .. length or "") or nil
end

local function range(f, key)
  return word(key, f[key] or f[key .. "_start"] and f[key .. "_start"] .. "-" .. f[key .. "_end"] or nil)
end

function M.lines.rule(object)
  local f = fields(object)
  return { ("%d:\t"):format(f.priority) .. text(stated("not", f["not"]), side("from", f, "src"), side("to", f, "dst"), word("tos", f.tos),
    f.fwmark and "fwmark " .. f.fwmark .. (f.fwmask and "/" .. f.fwmask or "") or nil, word("iif", f.iif), stated("[detached]", f.iif_detached),
    word("oif", f.oif), stated("[detached]", f.oif_detached), stated("lookup [l3mdev-table]", f.l3mdev),
    f.uid_start and ("uidrange %d-%d"):format(f.uid_start, f.uid_end) or nil, word("ipproto", f.ipproto), range(f, "sport"), range(f, "dport"),
    word("tun_id", f.tun_id), word("lookup", f.table), word("suppress_prefixlength", f.suppress_prefixlen),
    word("suppress_ifgroup", f.suppress_ifgroup),
    f.flow_to and "realms " .. (f.flow_from and f.flow_from .. "/" or "") .. f.flow_to or nil,
    word("goto", f["goto"]), stated("[unresolved]", f.unresolved), stated("nop", f.nop), f.action, word("proto", f.protocol)) }
end

function M.lines.neighbour(object)
  local f = fields(object)
  local state = f.state or {}
  return { text(f.dst, word("dev", f.dev), word("lladdr", f.lladdr), stated("router", f.router), stated("proxy", f.proxy),
    stated("managed", f.managed), stated("extern_learn", f.extern_learn), table.concat(state, ","), word("proto", f.protocol)) }
end

return M
