-- What a lab's topology comes to: names of devices, addresses, routes. Pure data: nothing here asks the kernel for anything.

local allocation = require "nslua.lab.allocation"
local check = require "nslua.check"
local device = require "nslua.lab.device"
local errors = require "nslua.error"
local overlay = require "nslua.lab.overlay"
local routing = require "nslua.lab.routing"
local segments = require "nslua.lab.segment"

local M = {}

local LEAST_INET6 = 1280 -- bytes of an MTU

---@class nslua.lab.Topology
---@field nodes nslua.lab.TopologyNode[]
---@field links nslua.lab.TopologyLink[]
---@field ipv4? boolean       false: no IPv4 but for nodes that say ipv4 = true
---@field ipv6? boolean
---@field multipath? boolean  routes by all shortest paths
---@field wire? boolean       links are impaired by a process, also where the kernel has netem

---@class nslua.lab.TopologyNode
---@field name string
---@field kind "host"|"router"|"switch"
---@field ipv4? boolean  (default: as the topology)
---@field ipv6? boolean
---@field addresses? string|string[]|false  of its lo; false: it gets no address but those that are fixed at ends

---@field container? string  it is there already: what ns.container.find takes, "netns:NAME", "pid:12" or a path
---@field macvlan? string    it has a device "outside" too, a macvlan on that link of the namespace the script is in
---@field wire? string       likewise by a wire, a process that carries the packets
---@field bridge? string     of a switch: it is that bridge of the namespace the script is in

---@class nslua.lab.TopologyLink
---@field [1] string
---@field [2] string
---@field name? string
---@field subnet? string|string[]|false  "10.1.0.0/24", one for a family; false: nobody gets an address here
---@field mtu? integer
---@field cost? integer       of sending over it (`metric` is the same): routes are the cheapest; 1 where none is said
---@field vxlan? integer      between two switches: it is a VXLAN of that number
---@field via? string[]        the two nodes that carry it (default: the router beside each switch)
---@field ends? nslua.lab.TopologyEnd[]

---@class nslua.lab.TopologyEnd
---@field dev? string
---@field address? string|string[]
---@field vlan? integer|integer[]  on a switch: the VLAN of what comes untagged (1); on a host: VLANs that have a device (eth0.10)
---@field foreign? boolean         its addresses need not be of the subnet there: nothing is routed to them
---@field trunk? integer[]         VLANs that are tagged. A switch's end that says nothing follows what the other end tags

---@class nslua.lab.Plan
---@field nodes nslua.lab.PlanNode[]   in the order of the topology
---@field node table<string, nslua.lab.PlanNode>
---@field links nslua.lab.PlanLink[]   in the order of the topology
---@field segments nslua.lab.Segment[]
---@field multipath boolean
---@field weighted boolean  whether a link has a cost other than 1
---@field with_loopback nslua.lab.PlanNode[]  nodes that have addresses on their lo
---@field graph nslua.lab.Graph
local Plan = { __name = "nslua.lab.Plan" }
Plan.__index = Plan
M.Plan = Plan

---@class nslua.lab.PlanNode
---@field name string
---@field kind "host"|"router"|"switch"
---@field index integer
---@field inet boolean     whether it has IPv4
---@field inet6 boolean
---@field interfaces nslua.lab.Interface[]  devices of VLANs come behind the others; a switch has none
---@field loopback string[]                 addresses of its lo, as CIDR
---@field addresses string|string[]|false?  as the topology says
---@field ports nslua.lab.Port[]?           of a switch
---@field bridge string?                    of a switch: the name of its bridge
---@field container string?                 it was there before, and is left as it was
---@field existing string?                  likewise a switch: the bridge
---@field vlan_filtering boolean?           of a switch: whether a port says anything of VLANs

---@class nslua.lab.Interface
---@field node string
---@field dev string
---@field link integer     index of the link
---@field side integer     1 or 2
---@field peer string      the node at the other end of the link
---@field segment nslua.lab.Segment?  none on a trunk that has nothing untagged
---@field addresses string[]          as CIDR, IPv4 before IPv6
---@field inet string?     the first IPv4 address, without its length
---@field inet6 string?
---@field foreign table<"inet"|"inet6", string>?  addresses that are not of the subnet
---@field lladdr string    "02:00:00:00:01:02": link 1, its second end
---@field mtu integer?
---@field cost integer
---@field vlan integer?    of a device that tags
---@field parent nslua.lab.Interface?  what it stands on then

---@class nslua.lab.Port
---@field node string
---@field dev string
---@field link integer
---@field side integer
---@field peer string
---@field lladdr string
---@field mtu integer?
---@field vlan integer?    VLAN of what is untagged; none: it is dropped
---@field trunk integer[]? VLANs that are tagged

---@class nslua.lab.PlanLink
---@field index integer
---@field name string?
---@field nodes nslua.lab.PlanNode[]   two
---@field ends (nslua.lab.Interface|nslua.lab.Port)[]  two
---@field interfaces nslua.lab.Interface[][]  with addresses, of both ends: several where VLANs are tagged
---@field segments nslua.lab.Segment[]        that hosts at its ends are on: one, but for trunks
---@field words nslua.lab.TopologyEnd[]       as the topology says
---@field vxlan integer?                      the number of a VXLAN
---@field tunnel { node: string, address: string }[]?  of a VXLAN: who carries it, by which addresses
---@field subnet string|string[]|false|nil    as the topology says
---@field impaired boolean     by something, and so no plain veth

local families = { "inet", "inet6" }
local kinds = { host = true, router = true, switch = true }

local function add_nodes(plan, topology)
  for i, said in ipairs(topology.nodes) do
    if type(said.name) ~= "string" then
      errors.misuse("lab: node %d has no name", i)
    elseif not kinds[said.kind] then
      errors.misuse("lab: %s: %s", said.name, check.unknown("kind of node", said.kind, kinds))
    elseif plan.node[said.name] then
      errors.misuse("lab: two nodes are named %q", said.name)
    end
    local function has(family)
      local own = said[family]
      if own == nil then
        own = topology[family]
      end
      return own ~= false and said.kind ~= "switch"
    end
    local node = { name = said.name, kind = said.kind, index = i, inet = has "ipv4", inet6 = has "ipv6", addresses = said.addresses, loopback = {},
      interfaces = {}, ports = said.kind == "switch" and {} or nil, container = said.container, existing = said.bridge,
      macvlan = said.macvlan, wire = said.wire }
    plan.nodes[i], plan.node[said.name] = node, node
  end
end

local function cost_of(link, i)
  local cost = link.cost or link.metric or 1
  if math.type(cost) ~= "integer" or cost < 1 then
    errors.misuse("lab: link %d (%s--%s): a cost is a whole number above 0, got %s", i, link[1], link[2], tostring(cost))
  end
  return cost
end

local function add_links(plan, topology)
  for i, said in ipairs(topology.links) do
    local nodes = { plan:find(said[1]), plan:find(said[2]) }
    if nodes[1] == nodes[2] then
      errors.misuse("lab: link %d is from %s to itself", i, said[1])
    end
    local words = said.ends or {}
    local link = { index = i, name = said.name, nodes = nodes, ends = {}, interfaces = { {}, {} }, segments = {}, subnet = said.subnet,
      words = { words[1] or {}, words[2] or {} }, impaired = said.to ~= nil or said.from ~= nil,
      vxlan = said.vxlan, via = said.via }
    local cost = cost_of(said, i)
    plan.weighted = plan.weighted or cost ~= 1
    for side, node in ipairs(nodes) do
      local at = { node = node.name, dev = link.words[side].dev, link = i, side = side, peer = nodes[3 - side].name, mtu = said.mtu,
        lladdr = ("02:00:%02x:%02x:%02x:%02x"):format(i >> 16, i >> 8 & 0xff, i & 0xff, side) }
      if node.kind ~= "switch" then
        at.addresses, at.cost = {}, cost
      end
      local list = node.ports or node.interfaces
      link.ends[side], list[#list + 1] = at, at
    end
    plan.links[i] = link
  end
end

---The node of that name; raises where there is none.
---@param name string
---@return nslua.lab.PlanNode
function Plan:find(name)
  local node = self.node[name]
  if not node then
    errors.misuse("lab: %s", check.unknown("node", name, self.node))
  end
  return node
end

-- The kernel has no IPv6 on a device with a smaller MTU. RFC 8200, 5
local function check_mtu(plan)
  for _, link in ipairs(plan.links) do
    for side, at in ipairs(link.ends) do
      for _, interface in ipairs(link.interfaces[side]) do
        if interface.inet6 and interface.mtu and interface.mtu < LEAST_INET6 then
          errors.misuse("lab: link %d (%s--%s): IPv6 needs an MTU of %d, and this one has %d%s: a larger one, or {ipv6=off} behind %s or for the lab",
            link.index, link.nodes[1].name, link.nodes[2].name, LEAST_INET6, interface.mtu,
            interface.segment.overlay and ", what a VXLAN leaves" or "", at.node)
        end
      end
    end
  end
end

---What a topology comes to. Raises where it cannot be.
---@param topology nslua.lab.Topology
---@return nslua.lab.Plan
function M.plan(topology)
  local plan = setmetatable({ nodes = {}, node = {}, links = {}, segments = {}, multipath = topology.multipath or false, weighted = false }, Plan)
  add_nodes(plan, topology)
  add_links(plan, topology)
  segments.find(plan)
  local overlays = overlay.mark(plan)
  device.name(plan)
  allocation.allocate(plan)
  plan.with_loopback = {}
  for _, node in ipairs(plan.nodes) do
    plan.with_loopback[#plan.with_loopback + 1] = #node.loopback > 0 and node or nil
  end
  plan.graph = routing.graph(plan)
  if overlays then
    overlay.resolve(plan)
  end
  check_mtu(plan)
  return plan
end

---Which of its ends makes a link, as a veth: the lab's own, and of two such the switch's, whose ports are made in its own batch then. None where
---something impairs it, or it is a VXLAN: such links are made behind all others.
---@param number integer  of the link
---@return integer? side
function Plan:maker(number)
  local link = self.links[number]
  if link.impaired or link.vxlan then
    return nil
  end
  local a, b = link.nodes[1], link.nodes[2]
  if a.container or a.existing then
    return 2
  end
  return a.kind ~= "switch" and b.kind == "switch" and not b.existing and 2 or 1
end

---Whether a switch is joined with others in a ring: without STP a broadcast would go round for ever.
---@param switch string
---@return boolean
function Plan:in_ring(switch)
  for _, segment in ipairs(self.segments) do
    for _, name in ipairs(segment.loop and segment.switches or {}) do
      if name == switch then
        return true
      end
    end
  end
  return false
end

---Static routes of a node, by the words of ip-route(8): one for every segment that it is not on, by a shortest path. A host that has one router
---beside it has a default route. Computed when asked for, one node at a time.
---@param name string
---@return { [1]: string, via: string?, dev: string?, nexthops: { via: string, dev: string }[]? }[]  IPv4 first
function Plan:routes(name)
  return routing.routes(self, self:find(name))
end

-- The address of `node` that `from` uses: on a segment that both are on, else on that which is nearest to `from`.
local function towards(plan, node, from, family)
  local best, least
  local tree = from and from ~= node and routing.tree(plan, from, family)
  for _, interface in ipairs(node.interfaces) do
    local distance = not interface[family] and math.huge or not tree and 0 or tree:distance_to(interface.segment)
    if interface[family] and (not best or distance < least) then
      best, least = interface, distance
    end
  end
  for _, interface in ipairs(best and {} or node.interfaces) do
    if interface.foreign and interface.foreign[family] then
      return interface.foreign[family], tree and math.huge or 0
    end
  end
  return best and best[family], least
end

---An address of a node, without its length: the one that the peer reaches, on the interface towards it; without a peer, its first.
---@param name string
---@param peer? string
---@param family? "inet"|"inet6"  (default: IPv4 where there is one)
---@return string?  nil where it has none, or the peer has no way to it
function Plan:address_of(name, peer, family)
  if family ~= nil and family ~= "inet" and family ~= "inet6" then
    errors.misuse("address_of: family must be \"inet\" or \"inet6\", got %s", tostring(family))
  end
  local node, from = self:find(name), peer and self:find(peer) or nil
  for _, one in ipairs(family and { family } or families) do
    local address, distance = towards(self, node, from, one)
    if address and distance < math.huge then
      return address
    end
  end
  return nil
end

---The links between two nodes, in order, each a result of its own; none where there is none. Their `ends` are in the order of the topology.
---@param a string
---@param b string
---@return nslua.lab.PlanLink? ...
function Plan:link(a, b)
  local from, to = self:find(a), self:find(b)
  local out = {}
  for _, at in ipairs(from.ports or from.interfaces) do
    if at.peer == to.name and not at.parent then
      out[#out + 1] = self.links[at.link]
    end
  end
  return table.unpack(out)
end

---Entries of a node's /etc/hosts: the name of every node with the address by which this one reaches it, or its first where there is no way. Lists
---may be shared between nodes: read them only.
---@param name string
---@return { [1]: string, [2]: string }[]  { address, name }, in the order of the nodes, IPv4 before IPv6
function Plan:hosts(name)
  local node = self:find(name)
  local only = #node.interfaces == 1 and node.interfaces[1]
  local key = only and not only.foreign and only.segment or node -- who stands on one segment sees what its neighbours see
  local out = self.graph.hosts[key]
  if not out then
    out = {}
    for _, other in ipairs(self.nodes) do
      for _, family in ipairs(families) do
        local address = towards(self, other, node, family)
        out[#out + 1] = address and { address, other.name }
      end
    end
    self.graph.hosts[key] = out
  end
  return out
end

---Permanent neighbour entries of a node, by the words of ip-neighbour(8): of all that is on its segments.
---@param name string
---@return { [1]: string, lladdr: string, dev: string }[]
function Plan:neighbours(name)
  local out = {}
  for _, interface in ipairs(self:find(name).interfaces) do
    for _, member in ipairs(interface.segment and interface.segment.members or {}) do
      if member.node ~= name then
        for _, address in ipairs(member.addresses) do
          out[#out + 1] = { address:match "^[^/]+", lladdr = member.lladdr, dev = interface.dev }
        end
      end
    end
  end
  return out
end

return M
