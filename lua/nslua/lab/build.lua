-- A plan becomes namespaces, links, addresses and routes: each namespace's part in one batch, ports of switches up last and together.

local connect = require "nslua.connect"
local core = require "nslua.core"
local errors = require "nslua.error"
local foreign = require "nslua.lab.foreign"
local keeper = require "nslua.keeper"
local namespace = require "nslua.namespace"
local node = require "nslua.lab.node"
local overlay = require "nslua.lab.overlay"
local settings = require "nslua.lab.settings"
local wires = require "nslua.lab.wires"

local M = {}

local PORTS = 1 -- link group of the ports of a switch, all of which come up in one request
local AF_NETLINK, SOCK_RAW, NETLINK_ROUTE = 16, 3, 0

-- Files that a node keeps open: its namespace, a socket; and views and names of those whose programs run, user namespaces, ends of wires.
local FILES = 4

local function make_room(count)
  local ok, message, errno = core.limits.files(count * FILES + 128)
  if not ok then
    errors.check("lab", { detail = ("%d nodes"):format(count), hint = "open files: `ulimit -Hn`" }, ok, message, errno)
  end
end

-- All are made in one errand; where this script needs a user namespace for it, so are their sockets.
local function new_namespaces(lab, count)
  local home = lab.home
  local out = {}
  if not home then
    for i, fd in ipairs(keeper.netns(nil, count, "lab")) do
      out[i] = namespace.wrap("net", fd, { anonymous = true })
    end
    return out
  end
  for i, fd in ipairs(keeper.netns(home.fd, count, "lab")) do
    out[i] = namespace.wrap("net", fd, { userns = home:copy(), anonymous = true })
  end
  local list = {}
  for i, handle in ipairs(out) do
    list[i] = { handle.fd, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE }
  end
  for i, fd in ipairs(keeper.sockets(home.fd, list, "lab")) do
    local nl, message, errno = core.netlink.open(fd)
    rawset(out[i], "netlink_socket", errors.check("lab", nil, nl, message, errno))
  end
  return out
end

local function bridge(self, ring)
  self.link:add { name = self.plan.bridge, kind = "bridge", up = true,
    bridge = { forward_delay = 0, stp_state = ring and 1 or 0, mcast_snooping = false, vlan_filtering = self.plan.vlan_filtering or nil } }
end

local function port_words(self)
  if self.kind == "switch" then
    return self.plan.bridge, PORTS
  end
end

local function add_link(lab, link)
  local side = lab.plan:maker(link.index)
  local near, far = link.ends[side], link.ends[3 - side]
  local here, there = lab.node[near.node], lab.node[far.node]
  local master, group = port_words(here)
  local bridged = there.plan.existing ~= nil -- others may be on that bridge with such addresses
  -- the kernel makes a queue for each processor, and things of sysfs for each queue: a fifth of a link's time
  here.link:add { name = near.dev, kind = "veth", address = not bridged and near.lladdr or nil, mtu = near.mtu, master = master, group = group,
    num_tx_queues = 1, num_rx_queues = 1,
    peer = { name = foreign.dev(there.plan, link, 3 - side), netns = there, address = bridged and foreign.lladdr() or far.lladdr, mtu = far.mtu,
      num_tx_queues = 1, num_rx_queues = 1 } }
end

-- VLANs of a switch's ports: what comes untagged, and what is tagged.
local function set_vlans(self, ports)
  for _, port in ipairs(ports) do
    if port.vlan ~= 1 then
      self.bridge_vlan:delete({ vid = 1, dev = port.dev }, { absent = "ok" })
    end
    if port.vlan and port.vlan ~= 1 then
      self.bridge_vlan:add { vid = port.vlan, dev = port.dev, pvid = true, untagged = true }
    end
    for _, id in ipairs(port.trunk or {}) do
      if id ~= port.vlan then
        self.bridge_vlan:add { vid = id, dev = port.dev }
      end
    end
  end
end

---A switch whose plan is another: whether it tells VLANs apart.
---@param self nslua.lab.Node
---@param before nslua.lab.PlanNode
function M.filter_vlans(self, before)
  local wanted = self.plan.vlan_filtering or false
  if wanted ~= (before.vlan_filtering or false) then
    self.link:change(self.plan.bridge, { bridge = { vlan_filtering = wanted } })
  end
end

---A link's end that came to a switch becomes its port.
---@param self nslua.lab.Node
---@param port nslua.lab.Port
function M.port(self, port)
  self.link:change(port.dev, { master = self.plan.bridge, group = PORTS })
  if self.plan.vlan_filtering then
    set_vlans(self, { port })
  end
  self.link:change(port.dev, { up = true })
end

-- Addresses, up, and routes of a host or router.
local function configure(self, plan)
  self.link:change("lo", { up = true })
  for _, address in ipairs(self.plan.loopback) do
    self.address:add { address, dev = "lo" }
  end
  for _, interface in ipairs(self.plan.interfaces) do
    if interface.parent then
      self.link:add { name = interface.dev, kind = "vlan", link = interface.parent.dev, vlan = { id = interface.vlan } }
    end
    connect.give(self, interface.dev, interface.addresses)
    self.link:change(interface.dev, { up = true })
  end
  for _, route in ipairs(plan:routes(self.node_name)) do
    self.route:add(route)
  end
end

-- Whether somebody pulled the link that an interface or a port is of: nothing comes of it until it is put back.
local function is_pulled(self, at)
  local known = self.lab.link_of[self.lab.plan.links[at.link]]
  return known and known.is_down
end

-- Whether an end of it was taken down or deleted by hand: that is not waited for.
local function is_down(self, at)
  local link = self.lab.plan.links[at.link]
  for _, each in ipairs(link and link.ends or {}) do
    local at_end = self.lab.node[each.node]
    local row = foreign.is(at_end.plan) or at_end.link:get(each.dev)
    if not row or row ~= true and not row.up then
      return true
    end
  end
  return false
end

-- A device that is not what it shall be yet. One by one: since Linux 6.9 who asks for a single link has the kernel look at its carrier at once,
-- while of what happened to many links it works off a hundred a second in the background (net/core/link_watch.c).
local function waiting(self)
  local slow = self.kind == "switch" and self.lab.plan:in_ring(self.node_name) -- STP takes its time; without it ports with a carrier forward
  for _, at in ipairs(self.plan.ports or self.plan.interfaces) do
    if not at.parent and not is_pulled(self, at) then
      local row = self.link:get(at.dev)
      local up = row and (row.operstate == "up" or row.operstate == "unknown" and row.carrier) -- a TAP's is not known
      local port = up and slow and row.port
      if not up and not is_down(self, at) or port and port.state ~= "forwarding" and port.state ~= "blocking" then
        return at.dev
      end
    end
  end
  if self.kind == "switch" then
    self.link:get(self.plan.bridge)
  end
end

-- The group by which a neighbour with that address is asked for: ff02::1:ff00:0/104 and its last three bytes. RFC 4291, 2.7.1
local function solicited(address)
  return core.inet.text(core.inet.bytes "ff02::1:ff00:0":sub(1, 13) .. core.inet.bytes(address):sub(14))
end

-- Whether an address of IPv6 answers: the kernel joins the group of one without DAD a moment after it has it.
local function deaf(self)
  local joined
  for _, interface in ipairs(self.plan.interfaces) do
    if interface.inet6 and not is_pulled(self, interface) then
      if not joined then
        joined = {}
        for _, row in ipairs(self.address:groups()) do
          joined[row.group] = true
        end
      end
      if not joined[solicited(interface.inet6)] and self.address:get { interface.inet6, dev = interface.dev } then -- else it was taken away by hand
        return interface.dev
      end
    end
  end
end

---Wait until every link has a carrier and every port forwards, which the kernel sees to in the background.
---@param lab nslua.Lab
---@param seconds number
function M.settle(lab, seconds)
  local deadline, pause = core.fd.clock() + seconds, 0.0005
  local nodes = table.move(lab.nodes, 1, #lab.nodes, 1, {})
  while true do
    local what
    for i = #nodes, 1, -1 do
      local device = waiting(nodes[i]) or deaf(nodes[i])
      if device then
        what = what or ("%s of %s"):format(device, nodes[i].node_name)
      else
        table.remove(nodes, i)
      end
    end
    if not what then
      return
    elseif core.fd.clock() > deadline then
      errors.raise { call = "lab", message = ("%s is not up after %g seconds"):format(what, seconds) }
    end
    core.fd.poll({}, pause)
    pause = math.min(pause * 2, 0.02)
  end
end

---Build what the plan says: nodes into `lab.nodes` and `lab.node`, wires into `lab.wires`.
---@param lab nslua.Lab
---@param topology nslua.lab.Topology
function M.build(lab, topology)
  local plan = lab.plan
  make_room(#plan.nodes)
  local own = {}
  for i, each in ipairs(plan.nodes) do
    if foreign.is(each) then
      local opened = node.of(foreign.open(lab, each), lab, each)
      lab.nodes[i], lab.node[each.name] = opened, opened
    else
      lab.nodes[i], own[#own + 1] = false, i -- no hole: who closes a lab that failed goes through them
    end
  end
  local ok, made = pcall(function()
    foreign.vacant(lab)
    return new_namespaces(lab, #own)
  end)
  if not ok then
    for i = #lab.nodes, 1, -1 do
      if not lab.nodes[i] then
        table.remove(lab.nodes, i)
      end
    end
    error(made, 0)
  end
  for k, handle in ipairs(made) do
    local each = node.of(handle, lab, plan.nodes[own[k]])
    lab.nodes[own[k]], lab.node[each.node_name] = each, each
  end
  if not own[1] then
    return
  end
  local common, writes = settings.common(lab.nodes[own[1]], plan), {}
  lab.common = common
  for k, i in ipairs(own) do
    writes[k] = { lab.nodes[i], settings.of(common, plan.nodes[i], topology.nodes[i].sysctl) }
  end
  settings.write(writes, lab.home)
  local owned = {}
  for _, link in ipairs(plan.links) do
    local side = plan:maker(link.index)
    if side then
      local name = link.nodes[side].name
      owned[name] = owned[name] or {}
      table.insert(owned[name], link)
    end
  end
  for _, i in ipairs(own) do
    local each = lab.nodes[i]
    each:batch(function()
      if each.kind == "switch" then
        bridge(each, plan:in_ring(each.node_name))
      end
      for _, link in ipairs(owned[each.node_name] or {}) do
        add_link(lab, link)
      end
    end)
  end
  wires.add(lab, topology)
  for _, link in ipairs(plan.links) do
    if link.vxlan then
      overlay.add(lab, link)
    end
  end
  local others = #own < #lab.nodes
  if others then
    foreign.name(lab, topology)
  end
  for _, each in ipairs(lab.nodes) do
    if others and foreign.is(each.plan) then
      foreign.prepare(each)
    end
    each:batch(function()
      if others and foreign.is(each.plan) then
        foreign.configure(each, plan)
        return
      elseif each.kind ~= "switch" then
        configure(each, plan)
        return
      end
      each.link:change("lo", { up = true })
      for _, port in ipairs(each.plan.ports) do
        -- ports that another switch made, and those of wires, have no master yet
        if plan:maker(port.link) ~= port.side then
          each.link:change(port.dev, { master = each.plan.bridge, group = PORTS })
        end
      end
    end)
  end
  for _, each in ipairs(lab.nodes) do
    if each.kind == "switch" and each.plan.ports[1] and not each.plan.existing then
      if each.plan.vlan_filtering then
        each:batch(function()
          set_vlans(each, each.plan.ports)
        end)
      end
      each.link:change({ group = PORTS }, { up = true })
    end
  end
  foreign.outside(lab)
  wires.prepare_all(lab)
  M.settle(lab, 10)
end

return M
