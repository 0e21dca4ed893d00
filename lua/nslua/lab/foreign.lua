-- Nodes of a lab that were there before: containers and other namespaces, and bridges of the machine. The lab puts an end of a veth into them, whose
-- other end is its own: with the lab's namespaces the kernel takes both away. Nothing else of them is touched.

local core = require "nslua.core"
local errors = require "nslua.error"
local netns = require "nslua.netns"
local subnets = require "nslua.lab.subnet"
local wires = require "nslua.lab.wires"

local M = {}

local TEMPLATE = "lab%d" -- the kernel counts: dev_alloc_name() in net/core/dev.c
local PATIENCE = 1 -- seconds for what a lab left whose script was killed a moment ago: the kernel is taking it away

---Whether a node was there before.
---@param node nslua.lab.PlanNode
---@return boolean
function M.is(node)
  return node.container ~= nil or node.existing ~= nil
end

---Refuse to do something to one that would stay there when the lab is gone.
---@param node nslua.lab.Node
---@param call string
function M.refuse(node, call)
  if M.is(node.plan) then
    errors.misuse("%s: %s was there before the lab, and this would stay when the lab is gone", call, node.node_name)
  end
end

---Refuse what would not be as it was when the lab is gone.
---@param plan nslua.lab.Plan
---@param topology nslua.lab.Topology
function M.check(plan, topology)
  local switches = {}
  for _, node in ipairs(plan.nodes) do
    local other = node.existing and switches[node.existing]
    if other then
      errors.misuse("lab: %s and %s are the same bridge, %s: one switch does, with the links of both", other, node.name, node.existing)
    elseif node.existing then
      switches[node.existing] = node.name
    end
  end
  for i, link in ipairs(plan.links) do
    local a, b = link.nodes[1], link.nodes[2]
    if M.is(a) and M.is(b) then
      errors.misuse("lab: link %d: neither %s nor %s is the lab's own, so it would outlive the lab; put a switch or router between them", i, a.name,
        b.name)
    elseif (M.is(a) or M.is(b)) and (topology.links[i].to or topology.links[i].from) then
      local name = M.is(a) and a.name or b.name
      errors.misuse("lab: link %d: the end at %s cannot be impaired; put a switch between and impair the link behind it: %s -- (sw) --10ms-- %s", i,
        name, name, M.is(a) and b.name or a.name)
    end
    for side, node in ipairs(link.nodes) do
      local words = link.words[side]
      if M.is(node) and (words.vlan or words.trunk) then
        errors.misuse("lab: link %d: VLANs of %s are not the lab's to set", i, node.name)
      end
    end
  end
end

---Open one.
---@param lab nslua.Lab
---@param node nslua.lab.PlanNode
---@return nslua.Netns
function M.open(lab, node)
  if lab.home then
    errors.raise { call = "lab", errno = core.errno.EPERM, detail = node.name,
      message = ("%s belongs to others: a lab of a script without root is in a user namespace of its own, from which nothing leads there")
        :format(node.container and "the container" or "the bridge"), hint = "root" }
  end
  if node.container then
    local word = node.container
    local handle = word:find "^[%w_.-]+$" and not word:find "^%d+$" and require("nslua").container.find(word)
      or netns.open(word:find "^%d+$" and math.tointeger(tonumber(word)) or (word:gsub("^netns:", "")))
    local own <close> = netns.current()
    if own == handle then
      handle:close()
      errors.raise { call = "lab", errno = core.errno.EINVAL, detail = word,
        message = ("%s is in the network that this script is in: it has none of its own"):format(node.name) }
    end
    return handle
  end
  local handle = netns.current()
  local ok, row = pcall(handle.link.get, handle.link, node.existing)
  if not ok or not row or row.kind ~= "bridge" then
    handle:close()
    errors.raise { call = "lab", errno = core.errno.ENODEV, detail = node.name,
      message = not ok and tostring(row) or row and ("%s is no bridge but a link of kind %s"):format(node.existing, row.kind or "none")
        or ("there is no bridge %s here"):format(node.existing) }
  end
  return handle
end

---The name that the far end of a link is made with.
---@param node nslua.lab.PlanNode
---@param link nslua.lab.PlanLink
---@param side integer
---@return string
function M.dev(node, link, side)
  return link.words[side].dev or M.is(node) and TEMPLATE or link.ends[side].dev
end

local function address_in(handle, subnet)
  for row in handle.address:each { family = subnet.family } do
    if row.dev and row.dev ~= "lo" and subnets.overlap(subnet, subnets.of(subnets.parse(row.address))) then
      return row
    end
  end
end

---Refuse containers in which the lab's subnets would be others' at the same time, and one that is two nodes.
---@param lab nslua.Lab
function M.vacant(lab)
  local seen, deadline = {}, core.fd.clock() + PATIENCE
  for _, node in ipairs(lab.nodes) do
    if node and node.plan.container then
      for _, other in ipairs(seen) do
        if other == node then
          errors.misuse("lab: %s and %s are the same network", other.node_name, node.node_name)
        end
      end
      seen[#seen + 1] = node
      for _, segment in ipairs(lab.plan.segments) do
        for _, family in ipairs { "inet", "inet6" } do
          local subnet = segment[family] and subnets.of(subnets.parse(segment[family]))
          local row = subnet and address_in(node, subnet)
          while row and row.dev:find "^lab%d+$" and core.fd.clock() < deadline do
            core.fd.poll({}, 0.01)
            row = address_in(node, subnet)
          end
          if row then
            errors.raise { call = "lab", errno = core.errno.EEXIST, detail = segment[family],
              message = ("%s has %s on %s already, and the lab has a subnet there"):format(node.node_name, row.address, row.dev),
              hint = "say another subnet in the link: " .. (family == "inet" and "--10.77.0.0/24--" or "--fd77::/64--") }
          end
        end
      end
    end
  end
end

---An Ethernet address that no bridge takes for its own: it has the lowest of its ports' (br_stp_recalculate_bridge_id() in net/bridge/br_stp_if.c).
---@return string
function M.lladdr()
  return ("fe:%02x:%02x:%02x:%02x:%02x"):format(math.random(0, 255), math.random(0, 255), math.random(0, 255), math.random(0, 255),
    math.random(0, 255))
end

---Learn how the kernel called the ends that it gave a number.
---@param lab nslua.Lab
---@param topology nslua.lab.Topology
function M.name(lab, topology)
  for i, link in ipairs(lab.plan.links) do
    for side, node in ipairs(link.nodes) do
      if M.is(node) then
        local near = link.ends[3 - side]
        local row = lab.node[near.node].link:get(near.dev)
        local far = lab.node[node.name].link:get(row.link_index)
        link.ends[side].dev = far.name
        local ends = topology.links[i].ends or { {}, {} } -- for who opens the lab from elsewhere
        ends[side].dev = far.name
        topology.links[i].ends = ends
      end
    end
  end
end

---What the lab adds to one: its ends come up, with addresses and routes to the lab's subnets, or as ports of the bridge.
---@param self nslua.lab.Node
---@param plan nslua.lab.Plan
function M.configure(self, plan)
  for _, port in ipairs(self.plan.ports or {}) do
    self.link:change(port.dev, { master = self.plan.existing, up = true })
  end
  for _, interface in ipairs(self.plan.interfaces) do
    for _, address in ipairs(interface.addresses) do
      local six = address:find(":", 1, true) ~= nil
      self.address:add { address, dev = interface.dev, nodad = six or nil }
    end
    self.link:change(interface.dev, { up = true })
  end
  for _, route in ipairs(self.plan.container and plan:routes(self.node_name) or {}) do
    self.route:add(route)
  end
end

-- A bridge that has no port takes the address of the first, and none is left of it when that goes (br_stp_recalculate_bridge_id()), however the lab
-- ends. One that was told its own keeps it.
local function keep_address(self)
  local bridge = self.link:get(self.plan.existing)
  if not self.link:list({ master = bridge.name })[1] and bridge.address ~= "00:00:00:00:00:00" then
    self.link:change(bridge.name, { address = bridge.address })
  end
end

---Before the lab's ends are of use there. Containers are often told to have no IPv6; the lab's own device in them shall.
---@param self nslua.lab.Node
function M.prepare(self)
  if self.plan.existing then
    keep_address(self)
  end
  for _, interface in ipairs(self.plan.container and self.plan.interfaces or {}) do
    if interface.inet6 then
      self:sysctl(("net.ipv6.conf.%s.disable_ipv6"):format((interface.dev:gsub("%.", "/"))), 0)
    end
  end
end

---Give nodes a device on a link of the machine, "outside": a macvlan, made where it is to be, or a wire. The link itself stays as it is.
---@param lab nslua.Lab
function M.outside(lab)
  for _, node in ipairs(lab.plan.nodes) do
    local dev = node.macvlan or node.wire
    if dev and lab.home then
      errors.raise { call = "lab", errno = core.errno.EPERM, detail = node.name, hint = "root",
        message = ("%s is a link of the machine, and a lab of a script without root has no rights to it"):format(dev) }
    elseif dev then
      local here <close> = netns.current()
      local there = lab.node[node.name]
      if node.macvlan then
        local ok, e = pcall(here.link.add, here.link, { name = "outside", kind = "macvlan",
          link = dev, netns = there, macvlan = { mode = "bridge" } })
        if not ok then
          local busy = errors.is(e, "EBUSY") or errors.is(e, "EINVAL")
          errors.raise { call = "lab", errno = errors.is(e) and e.errno or nil, detail = node.name,
            message = errors.is(e, "ENODEV") and ("there is no link %s here"):format(dev)
              or busy and ("%s takes no macvlan: it is a port of another device, or no Ethernet"):format(dev) or tostring(e),
            hint = busy and ("wire=%s goes by a process instead; of a bridge's port, take the bridge"):format(dev) or nil }
        end
        there.link:change("outside", { up = true })
      else
        wires.hub(lab):new { a = { there, dev = "outside" }, b = { here, dev = dev, attach = true } }
      end
    end
  end
end

---Take the ends out again, where the lab is closed: the kernel would do it a moment later.
---@param lab nslua.Lab
function M.leave(lab)
  for _, link in ipairs(lab.plan.links) do
    for side, node in ipairs(link.nodes) do
      local near = link.ends[3 - side]
      local own = M.is(node) and lab.node[near.node]
      if own and rawget(own, "fd") then
        pcall(own.link.delete, own.link, near.dev, { absent = "ok" })
      end
    end
  end
end

return M
