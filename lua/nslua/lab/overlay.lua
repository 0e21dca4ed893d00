-- VXLANs between switches: a link whose frames travel in UDP between two nodes that are joined otherwise. Its device is a port of the switch and
-- its socket in the node that carries it: the kernel keeps a tunnel in the namespace it was made in, wherever its device goes (vxlan->net in
-- drivers/net/vxlan/vxlan_core.c). RFC 7348

local check = require "nslua.check"
local errors = require "nslua.error"
local routing = require "nslua.lab.routing"

local M = {}

M.PORT = 4789
M.LAST = 16777215 -- of the numbers of VXLANs, 24 bits

-- Outer headers: IP, UDP, VXLAN, Ethernet.
local OVERHEAD = { inet = 20 + 8 + 8 + 14, inet6 = 40 + 8 + 8 + 14 }
local ETHERNET = 1500
local LEAST = 68 -- of an MTU: ETH_MIN_MTU, linux/if_ether.h

-- What a router thinks of a way through an overlay, beside which any other is short: a tunnel must not lead through itself.
local FAR = 1 << 20

---Mark what is of an overlay; before there are addresses.
---@param plan nslua.lab.Plan
---@return boolean  whether there is one
function M.mark(plan)
  local some = false
  for _, link in ipairs(plan.links) do
    for _, segment in ipairs(link.vxlan and link.segments or {}) do
      segment.overlay, some = true, true
    end
  end
  for _, segment in ipairs(some and plan.segments or {}) do
    for _, interface in ipairs(segment.overlay and segment.members or {}) do
      if plan.node[interface.node].kind == "router" then
        interface.cost, plan.weighted = interface.cost + FAR, true
      end
    end
  end
  return some
end

local function where(link)
  return ("lab: the VXLAN %s--%s"):format(link.nodes[1].name, link.nodes[2].name)
end

-- The nodes that carry a link: those that are said, else the one beside each switch.
local function carriers(plan, link)
  local out = {}
  for side, switch in ipairs(link.nodes) do
    if switch.kind ~= "switch" then
      errors.misuse("%s: %s is a %s; a VXLAN is between two switches", where(link), switch.name, switch.kind)
    elseif switch.existing then
      errors.misuse("%s: %s is a bridge of the machine; put a switch of the lab between", where(link), switch.name)
    end
    local name, several = link.via and link.via[side], false
    for _, port in ipairs(not name and switch.ports or {}) do
      if plan.node[port.peer].kind == "router" then
        several, name = several or name ~= nil and name ~= port.peer, port.peer
      end
    end
    if not name or several then
      errors.misuse("%s: say by which nodes it goes: vxlan %d via r1 r2 (beside %s %s)", where(link), link.vxlan, switch.name,
        several and "there are several routers" or "there is no router")
    end
    local node = plan.node[name] or errors.misuse("%s: %s", where(link), check.unknown("node", name, plan.node))
    if node.kind == "switch" or node.container then
      errors.misuse("%s: %s cannot carry it: a host or router of the lab can", where(link), name)
    end
    out[side] = node
  end
  if out[1] == out[2] then
    errors.misuse("%s: both its ends are at %s: a plain link does", where(link), out[1].name)
  end
  return out[1], out[2]
end

-- The interface of a node that another reaches without an overlay, and how far that is.
local function outside(plan, node, from, family)
  local tree, best, least = routing.tree(plan, from, family), nil, FAR
  for _, interface in ipairs(node.interfaces) do
    local segment = interface.segment
    if interface[family] and not segment.overlay then
      local distance = tree:distance_to(segment)
      if distance < least then
        best, least = interface, distance
      end
    end
  end
  return best
end

local function interface_of(node, dev)
  for _, interface in ipairs(node.interfaces) do
    if interface.dev == dev then
      return interface
    end
  end
end

-- The largest packet that goes from a node to a segment.
local function path_mtu(plan, node, segment, family)
  local least = math.huge
  for _ = 1, #plan.nodes do
    local tree = routing.tree(plan, node, family)
    local own = tree.out[segment.number]
    local hop = not own and tree.hops[segment.number][1]
    least = math.min(least, (own or interface_of(node, hop.dev)).mtu or ETHERNET)
    if own then
      break
    end
    node = plan.node[hop.to.node]
  end
  return least
end

local function resolve(plan, link)
  local a, b = carriers(plan, link)
  for _, family in ipairs { "inet", "inet6" } do
    local at_a, at_b = outside(plan, a, b, family), outside(plan, b, a, family)
    if at_a and at_b then
      link.tunnel = { { node = a.name, address = at_a[family] }, { node = b.name, address = at_b[family] } }
      local path = math.min(path_mtu(plan, a, at_b.segment, family), path_mtu(plan, b, at_a.segment, family))
      return math.min(path - OVERHEAD[family], ETHERNET)
    end
  end
  errors.misuse("%s: no way leads from %s to %s but through the VXLAN itself", where(link), a.name, b.name)
end

---Find by what addresses VXLANs go, and tell all that is on their segments how large a frame they take.
---@param plan nslua.lab.Plan
function M.resolve(plan)
  local mtu, seen = {}, {}
  for _, link in ipairs(plan.links) do
    if link.vxlan then
      local fits = resolve(plan, link)
      if fits < LEAST then
        errors.misuse("%s: a packet of %d bytes is all that would fit in those that carry it: they need a larger MTU", where(link), fits)
      end
      if link.ends[1].mtu and link.ends[1].mtu < fits then
        fits = link.ends[1].mtu
      end
      for _, at in ipairs(link.tunnel) do
        local key = at.node .. " " .. link.vxlan
        if seen[key] then
          errors.misuse("%s: %s carries a VXLAN %d already, of %s: another number is needed", where(link), at.node, link.vxlan, seen[key])
        end
        seen[key] = ("%s--%s"):format(link.nodes[1].name, link.nodes[2].name)
      end
      for _, segment in ipairs(link.segments) do
        mtu[segment] = math.min(mtu[segment] or math.huge, fits)
      end
    end
  end
  for _, link in ipairs(plan.links) do
    for _, segment in ipairs(link.segments) do
      for side, at in ipairs(link.ends) do
        if mtu[segment] and not at.mtu then
          at.mtu = mtu[segment]
          for _, interface in ipairs(link.interfaces[side]) do
            interface.mtu = at.mtu
          end
        end
      end
    end
  end
end

---Make the devices of a link: each in its switch, its socket where the frames go.
---@param lab nslua.Lab
---@param link nslua.lab.PlanLink
function M.add(lab, link)
  for side, at in ipairs(link.ends) do
    local here, there = link.tunnel[side], link.tunnel[3 - side]
    lab.node[here.node].link:add { name = at.dev, kind = "vxlan", address = at.lladdr, mtu = at.mtu, netns = lab.node[at.node],
      vxlan = { id = link.vxlan, local_ = here.address, remote = there.address, port = M.PORT } }
  end
end

return M
