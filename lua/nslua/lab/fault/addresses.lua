-- Faults of addresses and neighbours.

local errors = require "nslua.error"
local eventually = require("nslua.eventually").eventually
local ways = require "nslua.lab.fault.ways"

---@type table<string, nslua.lab.fault.Known>
return {
  neighbours_full = { why = "one host has so many neighbours that nobody on the machine gets new ones", machine = true, run = function(node)
    local dev = ways.first_device(node).dev
    local back = ways.sysctl(node, ("net.ipv4.neigh.%s.base_reachable_time_ms"):format(dev), 3600000) -- as long as they are in use
    local most = node.neighbour_table:get({ "arp_cache" }).thresh3
    local function undo()
      for _, row in ipairs(node.neighbour:list { dev = dev, family = "inet" }) do
        if row.dst:find "^198%.1[89]%." then
          node.neighbour:delete(row, { absent = "ok" })
        end
      end
      back()
    end
    for i = 1, most + 1 do -- RFC 2544: addresses for such
      local ok, e = pcall(node.neighbour.replace, node.neighbour,
        { ("198.18.%d.%d"):format(i >> 8 & 255, i & 255), lladdr = "02:00:00:00:00:01", dev = dev, state = "reachable" })
      if not ok then
        if errors.is(e, "ENOBUFS") then
          return undo
        end
        undo()
        error(e, 0)
      end
    end
    undo()
    errors.raise { call = "lab.fault", netns = node.node_name, message = ("%d neighbours are not too many here"):format(most + 1) }
  end },
  duplicate_address = { why = "two have one address on a link", here = true, run = function(node)
    local at = ways.first_device(node)
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
    local at = ways.first_device(node)
    local list = {}
    for _, entry in ipairs(node.lab.plan:neighbours(node.node_name)) do
      if entry.dev == at.dev then
        node.neighbour:replace { entry[1], lladdr = "02:ff:ff:ff:ff:ff", dev = at.dev }
        list[#list + 1] = function()
          node.neighbour:delete({ entry[1], dev = at.dev }, { absent = "ok" })
        end
      end
    end
    return ways.all(list)
  end },
  gateway_address = { why = "a router or a bridge has lost its address", here = true, run = function(node)
    local dev = node.plan.bridge or ways.first_device(node).dev
    local kept = {}
    for _, row in ipairs(node.address:list { dev = dev, family = "inet" }) do
      kept[#kept + 1] = row.address
      node.address:delete(row)
    end
    return function()
      for _, address in ipairs(kept) do
        node.address:ensure { address, dev = dev }
      end
    end
  end },
  arp_off = { why = "an interface does not answer ARP", here = true, run = function(node)
    local at = ways.first_device(node)
    node.link:change(at.dev, { arp = false })
    return function()
      node.link:change(at.dev, { arp = true })
    end
  end },
  arp_ignore = { why = "a host keeps silent about its addresses", run = function(node)
    return ways.sysctl(node, "net.ipv4.conf.all.arp_ignore", 8)
  end },
  ipv6_duplicate = { why = "an IPv6 address is another's, and duplicate address detection says so", run = function(node)
    local at = ways.first_device(node)
    for _, member in ipairs(at.segment and at.segment.members or {}) do
      if member.node ~= node.node_name and member.inet6 then
        local conf = ("net.ipv6.conf.%s."):format(at.dev)
        local undo = { ways.sysctl(node, conf .. "accept_dad", 1), ways.sysctl(node, conf .. "dad_transmits", 1) }
        node.address:add { member.inet6 .. "/64", dev = at.dev }
        undo[3] = function()
          node.address:delete({ member.inet6 .. "/64", dev = at.dev }, { absent = "ok" })
        end
        -- the other one answers at once
        if not eventually(function()
          local row = node.address:get { member.inet6 .. "/64", dev = at.dev }
          return row and row.dadfailed
        end, 10) then
          ways.all(undo)()
          errors.misuse("lab.fault: %s has not noticed that %s is another's", node.node_name, member.inet6)
        end
        return ways.all(undo)
      end
    end
    errors.misuse("lab.fault: nobody else is on the link of %s with an IPv6 address", node.node_name)
  end },
  ipv6_off = { why = "IPv6 is switched off on an interface", run = function(node)
    local dev = ways.first_device(node).dev
    local back = ways.addresses6(node, dev)
    local undo = ways.sysctl(node, ("net.ipv6.conf.%s.disable_ipv6"):format(dev), 1)
    return ways.all { back, undo }
  end },
  no_link_local = { why = "an interface has lost its link-local address", here = true, run = function(node)
    local dev = ways.first_device(node).dev
    for _, row in ipairs(node.address:list { dev = dev, family = "inet6" }) do
      if row.scope == "link" then
        local address = row.address
        node.address:delete(row)
        return function()
          node.address:ensure { address, dev = dev }
        end
      end
    end
    errors.misuse("lab.fault: %s has no link-local address", node.node_name)
  end },
  ra_ignored = { why = "a host that forwards takes no router advertisements, and has no IPv6 address and no way out", run = function(node)
    local dev = ways.first_device(node).dev
    local back = ways.addresses6(node, dev)
    for _, row in ipairs(node.address:list { dev = dev, family = "inet6" }) do
      if row.scope ~= "link" then
        node.address:delete(row)
      end
    end
    for _, row in ipairs(node.route:list { "default", family = "inet6" }) do
      node.route:delete(row)
    end
    local conf = ("net.ipv6.conf.%s."):format(dev)
    return ways.all { back, ways.sysctl(node, conf .. "forwarding", 1), ways.sysctl(node, conf .. "accept_ra", 1) }
  end },
}
