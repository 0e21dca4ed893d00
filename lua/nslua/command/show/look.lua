-- What `nslua show` tells of a namespace, as a table: read in one go, from outside, nothing put into it.

local core = require "nslua.core"
local ns = require "nslua"
local sockets = require "nslua.command.sockets.line"
local spaces = require "nslua.command.list.spaces"

local M = {}

-- The far end of a veth: where it is, what it is called there, and the bridge it is a port of.
local function far_end(handle, row)
  if row.kind ~= "veth" or not row.link_index then
    return nil
  elseif not row.link_netnsid then
    local other = handle.link:get(row.link_index)
    return other and { name = other.name, space = "the same namespace" } or nil
  end
  for _, quick in ipairs { true, false } do -- most are found without a look at every open file
    for _, space in ipairs(spaces.all(quick)) do
      local there <close> = spaces.enter(space)
      local ok, id = pcall(function()
        return there and handle:nsid_of(there)
      end)
      if ok and id == row.link_netnsid then
        local other = there.link:get(row.link_index)
        local where = space.name == "this namespace" and "the namespace of this command" or space.name
        return other and { name = other.name, space = where, bridge = other.master, up = other.up, state = other.port and other.port.state } or nil
      end
    end
  end
  return { name = ("if%d"):format(row.link_index), space = ("nsid %d"):format(row.link_netnsid) }
end

local function links(handle)
  local addresses, out = {}, {}
  for _, row in ipairs(handle.address:list()) do
    addresses[row.dev_index] = addresses[row.dev_index] or {}
    table.insert(addresses[row.dev_index], row.address .. (row.dadfailed and " (duplicate)" or row.tentative and " (tentative)" or ""))
  end
  for i, row in ipairs(handle.link:list()) do
    local s = row.stats or {}
    out[i] = { name = row.name, kind = row.kind, up = row.up, carrier = row.carrier, operstate = row.operstate, mtu = row.mtu, address = row.address,
      alias = row.alias, master = row.master, addresses = addresses[row.index] or {}, peer = far_end(handle, row), rx_bytes = s.rx_bytes,
      tx_bytes = s.tx_bytes, rx_dropped = s.rx_dropped, tx_dropped = s.tx_dropped, rx_errors = s.rx_errors, tx_errors = s.tx_errors }
  end
  return out
end

local function routes(handle)
  local out = {}
  for _, row in ipairs(handle.route:list { table = "main" }) do
    if not row.dst:find "^fe80:" then
      out[#out + 1] = { dst = row.dst, via = row.via, dev = row.dev, src = row.src, metric = row.metric, type = row.type, nexthops = row.nexthops,
        proto = row.proto }
    end
  end
  return out
end

-- Rules beside those that every namespace has.
local function rules(handle)
  local usual, out = { [0] = true, [32766] = true, [32767] = true }, {}
  for _, row in ipairs(handle.rule:list()) do
    if not usual[row.priority] then
      out[#out + 1] = row:decode()
    end
  end
  return out
end

local function neighbours(handle)
  local out = {}
  for _, row in ipairs(handle.neighbour:list()) do
    if row.state ~= "noarp" then
      out[#out + 1] = { dst = row.dst, lladdr = row.lladdr, dev = row.dev, state = row.state }
    end
  end
  return out
end

-- What listens, with its processes; and how many of the others there are in each state.
local function all_sockets(handle)
  local listening, count = {}, {}
  local owners = handle.sockets:owners()
  for _, row in ipairs(handle.sockets:list { family = { "inet", "inet6" }, proto = { "tcp", "udp" }, state = "all" }) do
    local state = sockets.state(row)
    if state == "LISTEN" or row.proto == "udp" and state == "UNCONN" then
      local address, port = sockets.ends(row)
      listening[#listening + 1] = { proto = row.proto, address = address, port = row.sport, text = address .. ":" .. port, owners = owners[row.inode],
        waiting = row.proto == "tcp" and row.recv_queue or nil, backlog = row.proto == "tcp" and row.send_queue or nil }
    else
      count[row.proto .. " " .. state] = (count[row.proto .. " " .. state] or 0) + 1
    end
  end
  table.sort(listening, function(a, b)
    return a.proto < b.proto or a.proto == b.proto and (a.port or 0) < (b.port or 0)
  end)
  return listening, count
end

-- Settings that decide where packets go, compared with those of a namespace that is new.
local SETTINGS = { "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter",
  "net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6", "net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.all.proxy_arp",
  "net.ipv4.conf.all.accept_local", "net.ipv4.conf.all.route_localnet", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.tcp_congestion_control", "net.ipv4.tcp_mtu_probing", "net.ipv4.tcp_syncookies", "net.ipv4.ip_default_ttl", "net.ipv4.ping_group_range",
  "net.core.somaxconn", "net.ipv4.icmp_echo_ignore_all", "net.ipv4.tcp_timestamps", "net.netfilter.nf_conntrack_max" }

local function settings(handle)
  local out = {}
  local ok, made = pcall(ns.netns.new)
  local fresh <close> = ok and made or nil
  if not fresh then
    return out
  end
  for _, name in ipairs(SETTINGS) do
    local had, value = pcall(handle.sysctl, handle, name)
    local known, default = pcall(fresh.sysctl, fresh, name)
    if had and known and tostring(value) ~= tostring(default) then
      out[#out + 1] = { name = name, value = value, default = default }
    end
  end
  return out
end

-- Counters that tell of trouble where they are not zero.
local TROUBLE = { ["Ip.InAddrErrors"] = true, ["Ip.OutNoRoutes"] = true, ["Ip.FragFails"] = true, ["Udp.NoPorts"] = true, ["Udp.RcvbufErrors"] = true,
  ["Udp.InCsumErrors"] = true, ["Tcp.RetransSegs"] = true, ["Tcp.InCsumErrors"] = true, ["Tcp.AttemptFails"] = true,
  ["TcpExt.ListenOverflows"] = true, ["TcpExt.ListenDrops"] = true, ["TcpExt.TCPTimeouts"] = true, ["TcpExt.IPReversePathFilter"] = true,
  ["TcpExt.TCPBacklogDrop"] = true, ["TcpExt.TCPReqQFullDrop"] = true, ["TcpExt.TCPMTUPFail"] = true }

local function counters(handle)
  local out = {}
  for _, path in ipairs { "/proc/net/snmp", "/proc/net/netstat" } do
    local ok, text = pcall(handle.read, handle, path)
    local names
    for line in (ok and text or ""):gmatch "[^\n]+" do
      local words = {}
      for word in line:gmatch "%S+" do
        words[#words + 1] = word
      end
      if names and names[1] == words[1] then
        for i = 2, #words do
          local name = names[1]:gsub(":$", ".") .. names[i]
          local value = math.tointeger(tonumber(words[i]))
          if TROUBLE[name] and value and value > 0 then
            out[#out + 1] = { name = name, value = value }
          end
        end
        names = nil
      else
        names = words
      end
    end
  end
  return out
end

local function names_of(handle)
  local text = handle.etc_file and handle:etc_file "resolv.conf" or ""
  local out = { servers = {}, search = {} }
  for line in text:gmatch "[^\n]+" do
    local word, rest = line:match "^%s*(%a+)%s+(.*)$"
    if word == "nameserver" then
      out.servers[#out.servers + 1] = rest:match "^%S+"
    elseif word == "search" or word == "domain" then
      for domain in rest:gmatch "%S+" do
        out.search[#out.search + 1] = domain
      end
    end
  end
  return out
end

-- Others that share the network.
local function shared_with(handle)
  local out = {}
  for _, row in ipairs(ns.container.list()) do
    if row.netns == handle.inode and row.container ~= rawget(handle, "container") then
      out[#out + 1] = row.name
    end
  end
  return out
end

---@param handle nslua.Netns
---@return table
function M.of(handle)
  local listening, count = all_sockets(handle)
  local out = { name = handle:describe(), netns = handle.inode, engine = rawget(handle, "engine"), container = rawget(handle, "container"),
    pid = rawget(handle, "pid"), image = rawget(handle, "image"), pod = rawget(handle, "pod"), links = links(handle), routes = routes(handle),
    rules = rules(handle), neighbours = neighbours(handle), listening = listening, connections = count, settings = settings(handle),
    counters = counters(handle), names = names_of(handle) }
  if out.pid then
    out.host_network = rawget(handle, "host_network") or false
    out.shares = not out.host_network and shared_with(handle) or nil
    out.command = core.foreign.read("/", ("/proc/%d/comm"):format(out.pid), 64)
    out.command = out.command and out.command:gsub("\n$", "") or nil
  end
  return out
end

return M
