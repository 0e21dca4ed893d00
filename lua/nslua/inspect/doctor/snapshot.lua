-- What a namespace is like, read once and lazily, and shared by all checks: each part is asked for when a check first looks at it.

local core = require "nslua.core"
local counters = require "nslua.inspect.look.counters"
local errors = require "nslua.error"
local etc = require "nslua.inspect.etc"
local expected = require "nslua.inspect.doctor.expected"
local firewall = require "nslua.inspect.look.firewall"
local passers = require "nslua.inspect.look.passers"
local rules = require "nslua.inspect.doctor.rules"

local M = {}

local LAST = 0x7fffffff -- metrics from here on are of routes for when there is no other

---@class nslua.doctor.Snapshot
---@field handle nslua.Netns
---@field title string               what a user calls it
---@field quick boolean              nothing is sent
---@field links nslua.Link[]         rows, as `handle.link:list()` has them; so of the next ones
---@field addresses nslua.Address[]
---@field routes nslua.Route[]       of all tables
---@field rules nslua.Rule[]
---@field neighbours nslua.Neighbour[]
---@field fdb nslua.Fdb[]           forwarding tables of its bridges
---@field vlans nslua.BridgeVlan[]  of the ports of its bridges
---@field qdiscs nslua.Qdisc[]       with `stats`
---@field netconf table              `netconf.inet.eth0`, `.inet.all`, `.inet6...`: forwarding, rp_filter
---@field counters table<string, integer>  "TcpExt.ListenOverflows", of /proc/net/snmp, snmp6, netstat
---@field sockets nslua.Socket[]     TCP and UDP
---@field passers nslua.Socket[]  packet sockets of programs that may pass on what comes by a device
---@field expected nslua.doctor.Expected[]  ports that something should listen on
---@field firewall nslua.Firewall    its chains and rules, of nf_tables and of iptables-legacy
---@field nft nslua.doctor.Ruleset   the same, each rule in short
---@field resolv nslua.ResolvConf
---@field ends nslua.doctor.End[]    the far ends of its veths that can be looked at
---@field around nslua.doctor.Snapshot[]  the namespaces on its segments
local Snapshot = {}
local methods = {}

---@class nslua.doctor.End  a link of a namespace
---@field space nslua.doctor.Snapshot
---@field link nslua.Link

local lazy = {}

function Snapshot:__index(key)
  local method = methods[key]
  if method then
    return method
  end
  local read = lazy[key]
  if read then
    local value = read(self)
    rawset(self, key, value)
    return value
  end
end

function lazy:links()
  return self.handle.link:list()
end

function lazy:link_of()
  local out = {}
  for _, link in ipairs(self.links) do
    out[link.index], out[link.name] = link, link
  end
  return out
end

function lazy:addresses()
  return self.handle.address:list()
end

function lazy:routes()
  return self.handle.route:list()
end

function lazy:rules()
  return self.handle.rule:list()
end

function lazy:neighbours()
  return self.handle.neighbour:list()
end

function lazy:fdb()
  return self.handle.fdb:list()
end

function lazy:vlans()
  local ok, rows = pcall(self.handle.bridge_vlan.list, self.handle.bridge_vlan)
  if not ok and not errors.is(rows, "EOPNOTSUPP") then
    error(rows, 0)
  end
  return ok and rows or {} -- this kernel's bridges know none
end

function lazy:qdiscs()
  return self.handle.qdisc:list()
end

function lazy:netconf()
  local out = { inet = {}, inet6 = {} }
  for _, row in ipairs(self.handle.netconf:list()) do
    if out[row.family] then
      out[row.family][row.dev] = row
    end
  end
  return out
end

function lazy:counters()
  return setmetatable(counters.protocols(self.handle), { __index = function()
    return 0
  end })
end

function lazy:sockets()
  return self.handle.sockets:list { family = { "inet", "inet6" }, proto = { "tcp", "udp" }, state = "all" }
end

-- Without what takes the kernel's time: of a busy namespace these are few.
function lazy:listeners()
  local out = {}
  for _, row in ipairs(self.handle.sockets:list({ family = { "inet", "inet6" }, proto = { "tcp", "udp" }, state = { "listen", "closed" } },
    { brief = true })) do
    if row.proto == "tcp" and row.state == "listen" or row.proto == "udp" and row.dport == 0 then
      out[#out + 1] = row
    end
  end
  return out
end

function lazy:passers()
  return passers.of(self.handle)
end

function lazy:expected()
  return expected.of(self)
end

function lazy:firewall()
  local all = firewall.firewall(self.handle)
  for _, each in ipairs(all.unread) do
    table.insert(self.examination.unseen, ("%s of %s: %s"):format(each.what, self.title, each.why))
  end
  return all
end

function lazy:nft()
  return rules.read(self.firewall)
end

-- That of a process in another view of files is its own, as a container's is.
function lazy:resolv()
  local handle = self.handle
  local pid = not rawget(handle, "container") and not rawget(handle, "node_name") and not rawget(handle, "name") and rawget(handle, "pid")
  local view = pid and core.file.stat(("/proc/%d/ns/mnt"):format(pid))
  local text = view and view.inode ~= core.file.stat("/proc/self/ns/mnt").inode
    and core.foreign.read(("/proc/%d/root"):format(pid), "/etc/resolv.conf", 1 << 16, true)
  if text then
    local out = etc.parse_resolv(text)
    out.path, out.pid = ("/proc/%d/root/etc/resolv.conf"):format(pid), pid
    return out
  end
  return etc.resolv(handle)
end

function lazy:ends()
  local out = {}
  for _, link in ipairs(self.links) do
    out[#out + 1] = self:far(link)
  end
  return out
end

function lazy:around()
  local out, seen = {}, { [self.handle.inode] = true }
  for _, link in ipairs(self.links) do
    for _, each in ipairs(self:segment(link)) do
      if not seen[each.space.handle.inode] then
        seen[each.space.handle.inode] = true
        out[#out + 1] = each.space
      end
    end
  end
  return out
end

---Whether what was read so far tells already, and surely, what is wrong here: then a probe would only see what follows from it.
---@return boolean
function methods:explained()
  for _, each in ipairs(self.examination.findings) do
    local row = each[1]
    if row.sure >= 0.9 and (row.target == self.title or row.handle == self.handle) then
      return true
    end
  end
  return false
end

---A file below /proc/net or /proc/sys/net; "" where it is not there.
---@param path string
---@return string
function methods:read(path)
  local ok, text = pcall(self.handle.read, self.handle, path)
  if not ok and not errors.is(text) then
    error(text, 0)
  end
  return ok and text or ""
end

---A sysctl as the kernel prints it; nil where there is none.
---@param name string  "net.ipv4.ip_forward"
---@return string?
function methods:sysctl(name)
  local cache = self.sysctls
  if cache[name] == nil then
    local ok, value = pcall(self.handle.sysctl, self.handle, name)
    if not ok and not errors.is(value) then
      error(value, 0)
    end
    cache[name] = ok and tostring(value) or false
  end
  return cache[name] or nil
end

---The far end of a veth; nil where it cannot be found.
---@param link nslua.Link
---@return nslua.doctor.End?
function methods:far(link)
  local known = self.far_of[link.index]
  if known == nil then
    known = false
    if link.kind == "veth" and link.link_index then
      local space = not link.link_netnsid and self or self.examination:by_nsid(self, link.link_netnsid)
      local other = space and space.link_of[link.link_index]
      known = other and { space = space, link = other } or false
    end
    self.far_of[link.index] = known
  end
  return known or nil
end

-- The VLAN that a frame is of in a bridge, by the port it comes in by and its tag; false where it is dropped, nil where VLANs are not told apart.
local function vlan_in(space, bridge, port, tag)
  if not bridge.bridge.vlan_filtering then
    return nil
  end
  local own = space:vlan_of(port)
  local vlan = tag or own.pvid
  return own.member[vlan or 0] and vlan or false
end

---Every link that hears what this one sends without a tag, by veths and bridges and in its VLAN: this one first.
---@param link nslua.Link
---@return nslua.doctor.End[]
function methods:segment(link)
  local out, seen = {}, {}
  local leave
  -- it comes to a link from the other end of the wire
  local function enter(space, row, tag)
    local bridge = row.kind == "bridge" and row or row.master_index and space.link_of[row.master_index]
    if not bridge or bridge.kind ~= "bridge" then
      return
    end
    local vlan = vlan_in(space, bridge, row, tag)
    for _, port in ipairs(vlan ~= false and space.links or {}) do
      local on = port.index ~= row.index and (port.index == bridge.index or port.master_index == bridge.index)
      local is = on and (not vlan or space:vlan_of(port).member[vlan])
      if is then
        leave(space, port, is == "tagged" and vlan or not vlan and tag or nil)
      end
    end
  end
  local function hears(space, row, tag)
    local key = ("%s:%d:%d"):format(space.handle.inode, row.index, tag or 0)
    if seen[key] then
      return false
    end
    seen[key] = true
    out[#out + 1] = not tag and { space = space, link = row } or nil
    return true
  end
  -- it goes out by a link
  function leave(space, row, tag)
    if hears(space, row, tag) then
      local far = space:far(row)
      if far and hears(far.space, far.link, tag) then
        enter(far.space, far.link, tag)
      end
    end
  end
  leave(self, link)
  enter(self, link)
  return out
end

---What VLANs a port of a bridge is in: that of what comes without a tag, and of each whether what goes out has one.
---@param port nslua.Link
---@return { pvid: integer?, count: integer, member: table<integer, "tagged"|"untagged"> }
function methods:vlan_of(port)
  local known = self.vlans_of[port.index]
  if not known then
    known = { count = 0, member = {} }
    self.vlans_of[port.index] = known
    for _, row in ipairs(self.vlans) do
      if row.dev_index == port.index then
        known.pvid = row.pvid and row.vid or known.pvid
        known.member[row.vid] = row.untagged and "untagged" or "tagged"
        known.count = known.count + 1
      end
    end
  end
  return known
end

---Whether all that hears what a link sends can be seen: veths and bridges alone, where nobody else answers for others (proxy ARP, programs).
---@param link nslua.Link
---@return boolean
function methods:closed(link)
  for _, each in ipairs(self:segment(link)) do
    local space, row = each.space, each.link
    if row.kind ~= "veth" and row.kind ~= "bridge" or row.kind == "veth" and not space:far(row) or (row.xdp or {}).prog_id
      or space:sysctl(("net.ipv4.conf.%s.proxy_arp"):format((row.name:gsub("%.", "/")))) == "1" then
      return false
    end
    for _, other in ipairs(space.links) do
      if other.link_index == row.index and other.kind ~= "veth" and not other.link_netnsid then
        return false
      end
    end
    for _, qdisc in ipairs(space.qdiscs) do
      if qdisc.dev_index == row.index and (qdisc.kind == "clsact" or qdisc.kind == "ingress") then
        return false
      end
    end
  end
  return true
end

---Whether a fixed entry of the neighbour table leads to somebody on the link: then whoever has the address need not answer for it.
---@param ip string
---@param link nslua.Link
---@return boolean
function methods:fixed(ip, link)
  for _, row in ipairs(self.neighbours) do
    if row.dst == ip and row.dev_index == link.index and row.state == "permanent" then
      for i, each in ipairs(self:segment(link)) do
        if i > 1 and each.link.address == row.lladdr then
          return true
        end
      end
    end
  end
  return false
end

---Whether a bridge on the segment of a link keeps VLANs apart: then not all of it hears what is sent.
---@param link nslua.Link
---@return boolean
function methods:parted(link)
  for _, each in ipairs(self:segment(link)) do
    if each.link.kind == "bridge" and (each.link.bridge or {}).vlan_filtering then
      return true
    end
  end
  return false
end

---Addresses of a link, without those of the link itself (fe80::).
---@param link nslua.Link
---@param family? string
---@return nslua.Address[]
function methods:addresses_of(link, family)
  local out = {}
  for _, row in ipairs(self.addresses) do
    if row.dev_index == link.index and row.scope ~= "link" and (not family or row.family == family) then
      out[#out + 1] = row
    end
  end
  return out
end

---Whether it has that address.
---@param ip string
---@return nslua.Address?
function methods:has_address(ip)
  for _, row in ipairs(self.addresses) do
    if row.address:match "^[^/]+" == ip then
      return row
    end
  end
end

---Who has an address on the segment of a link.
---@param ip string
---@param link nslua.Link
---@return nslua.doctor.End?
function methods:owner(ip, link)
  for i, each in ipairs(self:segment(link)) do
    local row = i > 1 and each.space:has_address(ip)
    if row and row.dev_index == each.link.index then
      return each
    end
  end
end

---Routers that can be seen: namespaces on its segments that have an address there and another way to go on. Whether they forward is another question.
---@param family "inet"|"inet6"
---@return { space: nslua.doctor.Snapshot, link: nslua.Link, ip: string, mine: nslua.Link }[]
function methods:routers(family)
  local out = {}
  for _, link in ipairs(self.links) do
    if link.name ~= "lo" and self:addresses_of(link, family)[1] then
      for _, each in ipairs(self:segment(link)) do
        local own = each.space ~= self and each.space:addresses_of(each.link, family)[1]
        for _, other in ipairs(own and each.space.links or {}) do
          if other.index ~= each.link.index and other.name ~= "lo" and each.space:addresses_of(other, family)[1] then
            out[#out + 1] = { space = each.space, link = each.link, ip = own.address:match "^[^/]+", mine = link }
            break
          end
        end
      end
    end
  end
  return out
end

---The default route of a family, the preferred one.
---@param family "inet"|"inet6"
---@return nslua.Route?
function methods:default_route(family)
  local found
  for _, row in ipairs(self.routes) do
    if row.dst == "default" and row.family == family and row.type == "unicast" and row.table == "main"
      and (not found or (row.metric or 0) < (found.metric or 0)) then
      found = row
    end
  end
  return found
end

---The default route of a family that rejects, where it comes before the one that leads on, or there is none and it is no last resort.
---@param family "inet"|"inet6"
---@return nslua.Route? row
---@return string? fix  what takes it away
function methods:rejecting_default(family)
  local found
  for _, row in ipairs(self.routes) do
    if row.dst == "default" and row.family == family and row.table == "main" and (not found or (row.metric or 0) < (found.metric or 0)) then
      found = row
    end
  end
  local kind = found and found.type
  local rejects = kind == "unreachable" or kind == "prohibit" or kind == "blackhole" or kind == "throw"
  if rejects and ((found.metric or 0) < LAST or self:default_route(family)) then
    return found, ("ip %sroute del %s default%s"):format(family == "inet6" and "-6 " or "", kind,
      (found.metric or 0) > 0 and (" metric %d"):format(found.metric) or "")
  end
end

---Gateways of unicast routes, with the link that leads there, the first of their routes, and all of them.
---@return { ip: string, link: nslua.Link, route: nslua.Route, routes: nslua.Route[] }[]
function methods:gateways()
  local out, seen = {}, {}
  for _, row in ipairs(self.routes) do
    for _, hop in ipairs(row.nexthops or { row }) do
      local link = hop.via and (self.link_of[hop.dev_index or 0] or self.link_of[hop.dev or ""])
      if link and type(hop.via) == "string" then
        local key = hop.via .. link.name
        local one = seen[key] or { ip = hop.via, link = link, route = row, routes = {} }
        one.routes[#one.routes + 1] = row
        out[#out + 1] = not seen[key] and one or nil
        seen[key] = one
      end
    end
  end
  return out
end

---The route the kernel would take; nil and why where there is none.
---@param ip string
---@param from? string  an address of its own
---@return nslua.Route? row
---@return string? code  "ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL"
function methods:lookup(ip, from)
  local ok, row = pcall(self.handle.route.lookup, self.handle.route, { ip, from = from })
  if ok then
    return row
  elseif not errors.is(row) then
    error(row, 0)
  end
  return nil, row.code
end

---Sockets that listen: TCP in that state, UDP without a peer.
---@return nslua.Socket[]
function methods:listening()
  return self.listeners
end

---Whether an address is within a prefix.
---@param ip string
---@param prefix string  "10.0.0.1/24"
---@return boolean
function M.within(ip, prefix)
  local base, length = prefix:match "^([^/]+)/?(%d*)$"
  local a, b = core.inet.bytes(ip), base and core.inet.bytes(base)
  if not a or not b or #a ~= #b then
    return false
  end
  local bits = tonumber(length) or #a * 8
  for i = 1, #a do
    local take = math.max(math.min(bits - (i - 1) * 8, 8), 0)
    local mask = 0xff << (8 - take) & 0xff
    if a:byte(i) & mask ~= b:byte(i) & mask then
      return false
    end
  end
  return true
end
methods.within = function(_, ip, prefix)
  return M.within(ip, prefix)
end

---@param examination table
---@param space { handle: nslua.Netns, title: string, enter: string? }
---@return nslua.doctor.Snapshot
function M.new(examination, space)
  return setmetatable({ examination = examination, handle = space.handle, title = space.title, enter = space.enter, quick = examination.quick,
    sysctls = {}, far_of = {}, vlans_of = {}, nsids = {} }, Snapshot)
end

return M
