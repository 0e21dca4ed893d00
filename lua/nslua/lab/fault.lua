-- Faults of networks, to learn to find them and to test those who do: each is what really goes wrong, and can be mended.

local check = require "nslua.check"
local errors = require "nslua.error"
local firewall = require "nslua.lab.firewall"
local foreign = require "nslua.lab.foreign"
local nodename = require "nslua.lab.nodename"

local M = {}

-- Set a sysctl; what sets it back.
local function sysctl(node, name, value)
  local old = node:sysctl(name)
  node:sysctl(name, value)
  return function()
    node:sysctl(name, old)
  end
end

local function all(list)
  return function()
    for i = #list, 1, -1 do
      list[i]()
    end
  end
end

local function first_device(node)
  local interface = node.plan.interfaces[1]
  return interface or errors.misuse("lab.fault: %s has no interface", node.node_name)
end

---Each does it, and returns what mends it. `why` says what it is; `here`: it is of a device of the lab alone, with which it goes.
---@type table<string, { why: string, run: (fun(node: nslua.lab.Node): fun()), here?: boolean }>
M.known = {
  no_forwarding = { why = "a router does not forward", run = function(node)
    return all { sysctl(node, "net.ipv4.ip_forward", 0), sysctl(node, "net.ipv6.conf.all.forwarding", 0) }
  end },
  rp_filter = { why = "packets that do not come the way their answer would go are dropped", run = function(node)
    return sysctl(node, "net.ipv4.conf.all.rp_filter", 1)
  end },
  no_default_route = { why = "a host has no way out", run = function(node)
    local kept = {}
    for _, family in ipairs { "inet", "inet6" } do
      for _, row in ipairs(node.route:list { "default", family = family }) do
        kept[#kept + 1] = row:decode()
        node.route:delete(row)
      end
    end
    return function()
      for _, row in ipairs(kept) do
        node.route:ensure { "default", via = row.via, dev = row.dev, family = row.family }
      end
    end
  end },
  link_down = { why = "an interface is down", here = true, run = function(node)
    local at = first_device(node)
    local link = node.lab:link(node, at.peer)
    link:down()
    return function()
      link:up()
    end
  end },
  loopback_down = { why = "the loopback interface is down", run = function(node)
    node.link:change("lo", { up = false })
    return function()
      node.link:change("lo", { up = true })
    end
  end },
  duplicate_address = { why = "two have one address on a link", here = true, run = function(node)
    local at = first_device(node)
    for _, member in ipairs(at.segment and at.segment.members or {}) do
      if member.node ~= node.node_name and member.inet then
        local address = member.addresses[1]
        node.address:add { address, dev = at.dev }
        return function()
          node.address:delete({ address, dev = at.dev }, { absent = "ok" })
        end
      end
    end
    errors.misuse("lab.fault: nobody else is on the link of %s", node.node_name)
  end },
  wrong_neighbour = { why = "a neighbour's link-layer address is another's", here = true, run = function(node)
    local at = first_device(node)
    local list = {}
    for _, entry in ipairs(node.lab.plan:neighbours(node.node_name)) do
      if entry.dev == at.dev then
        node.neighbour:replace { entry[1], lladdr = "02:ff:ff:ff:ff:ff", dev = at.dev }
        list[#list + 1] = function()
          node.neighbour:delete({ entry[1], dev = at.dev }, { absent = "ok" })
        end
      end
    end
    return all(list)
  end },
  mtu_black_hole = { why = "a link takes less than its ends know, and says so to nobody", run = function(node)
    local at = node.plan.interfaces[#node.plan.interfaces] or first_device(node)
    local old = node.link:get(at.dev).mtu
    node.link:change(at.dev, { mtu = 1300 })
    firewall.firewall(node, "block_frag_needed")
    return function()
      node.link:change(at.dev, { mtu = old })
      firewall.clear(node, "block_frag_needed")
    end
  end },
  blackhole_route = { why = "a route throws away what is for a neighbour's network", run = function(node)
    local at = first_device(node)
    local host = node.lab.node[at.peer]
    local far = at.segment and at.segment.members or {}
    for _, member in ipairs(far) do
      if member.node ~= node.node_name and member.inet then
        host = node.lab.node[member.node]
      end
    end
    local ip
    for _, interface in ipairs(host and host.plan.interfaces or {}) do
      ip = interface.inet or ip -- the last one: beyond a router
    end
    local dst = (ip or errors.misuse("lab.fault: nobody with an IPv4 address is beside %s", node.node_name)) .. "/32"
    node.route:add { dst, type = "blackhole" }
    return function()
      node.route:delete({ dst, type = "blackhole" }, { absent = "ok" })
    end
  end },
  duplicate_mac = { why = "two have one link-layer address", here = true, run = function(node)
    local at = first_device(node)
    for _, member in ipairs(at.segment and at.segment.members or {}) do
      local other = member.node ~= node.node_name and node.lab.node[member.node]
      if other and member.inet then
        local old = node.link:get(at.dev).address
        node.link:change(at.dev, { address = other.link:get(member.dev).address })
        return function()
          node.link:change(at.dev, { address = old })
        end
      end
    end
    errors.misuse("lab.fault: nobody else is on the link of %s", node.node_name)
  end },
  forward_drop = { why = "a router drops what no rule of its firewall accepts", run = function(node)
    local rules = "table inet nslua_forward_drop\ndelete table inet nslua_forward_drop\n"
    firewall.load(node, "lab.fault", rules
      .. "table inet nslua_forward_drop { chain forward { type filter hook forward priority filter; policy drop; }; }\n")
    return function()
      firewall.load(node, "lab.fault", rules)
    end
  end },
  icmp_blocked = { why = "echo requests are dropped", run = function(node)
    firewall.firewall(node, "block_icmp")
    return function()
      firewall.clear(node, "block_icmp")
    end
  end },
}

---@class nslua.lab.Fault
---@field name string
---@field node nslua.lab.Node
---@field why string
local Fault = { __name = "nslua.lab.Fault" }
Fault.__index = Fault

---Undo it. Idempotent.
---@return true
function Fault:mend()
  local undo = self.undo
  self.undo = nil
  if undo and self.node:isopen() then
    undo()
  end
  return true
end
Fault.__close = Fault.mend

function Fault:__tostring()
  return ("%s on %s: %s%s"):format(self.name, self.node.node_name, self.why, self.undo and "" or " (mended)")
end

---@param lab nslua.Lab
---@param name string
---@param node string|nslua.lab.Node
---@return nslua.lab.Fault
function M.make(lab, name, node)
  local known = M.known[name] or errors.misuse("lab.fault: %s", check.unknown("fault", name, M.known))
  local where = nodename.of(node, "lab.fault", lab)
  local target = lab.node[where] or errors.misuse("lab.fault: %s", check.unknown("node", where, lab.node))
  if not known.here then
    foreign.refuse(target, "lab.fault")
  end
  return setmetatable({ name = name, node = target, why = known.why, undo = known.run(target) }, Fault)
end

return M
