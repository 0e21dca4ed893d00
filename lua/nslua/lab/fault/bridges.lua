-- Faults of bridges and of those who are on them.

local core = require "nslua.core"
local errors = require "nslua.error"
local inside = require "nslua.inside"
local programs = require "nslua.lab.fault.programs"
local ways = require "nslua.lab.fault.ways"

local DGRAM = 2 -- socket(2)

-- Let a switch keep VLANs apart, and put the port of a host into others: by words of bridge_vlan:add.
local function filter(node, words)
  local switch, index = ways.port_of(node)
  local bridge = switch.link:get(index).master
  local filtered = switch.link:get(bridge).bridge.vlan_filtering
  switch.link:change(bridge, { bridge = { vlan_filtering = true } })
  local old = switch.bridge_vlan:list { dev = index }
  for _, row in ipairs(old) do
    switch.bridge_vlan:delete(row)
  end
  words.dev = index
  switch.bridge_vlan:add(words)
  return function()
    for _, row in ipairs(switch.bridge_vlan:list { dev = index }) do
      switch.bridge_vlan:delete(row)
    end
    for _, row in ipairs(old) do
      switch.bridge_vlan:add { vid = row.vid, dev = index, pvid = row.pvid, untagged = row.untagged }
    end
    switch.link:change(bridge, { bridge = { vlan_filtering = filtered } })
  end
end

---@type table<string, nslua.lab.fault.Known>
return {
  wrong_vlan = { why = "a switch keeps VLANs apart, and the port of a host is in another than the rest", here = true, run = function(node)
    return filter(node, { vid = 20, pvid = true, untagged = true })
  end },
  checksum_offload = { why = "a program on the way passes on what has no checksums yet", run = function(node)
    local switch, index = ways.port_of(node)
    local bridge, other = switch.link:get(index).master_index, nil
    for _, member in ipairs(ways.first_device(node).segment.members) do
      other = other or member.node ~= node.node_name and member.inet and member
    end
    if not other then
      errors.misuse("lab.fault: nobody else with an IPv4 address is on the switch of %s", node.node_name)
    end
    switch.link:change(index, { master = false })
    local passer = programs.passer(switch, { index, bridge })
    local fd = inside.raw_socket(node, 2, DGRAM, 0)
    local function undo()
      fd:close()
      passer:close()
      switch.link:change(index, { master = bridge })
    end
    assert(core.packet.connect(fd, core.inet.bytes(other.inet), 9)) -- discard
    return ways.seen(undo, function()
      core.packet.send(fd, "x") -- ECONNREFUSED where it arrives
      return require("nslua.inspect").look.counters(node.lab.node[other.node])["Udp.InCsumErrors"] > 0
    end)
  end },
  no_pvid = { why = "a port of a switch takes nothing without a tag", here = true, run = function(node)
    return filter(node, { vid = 1 })
  end },
  isolated_port = { why = "two ports of a switch are isolated from each other", here = true, run = function(node)
    local switch, index = ways.port_of(node)
    local undo = { ways.port(node, "isolated", true) }
    for _, port in ipairs(switch.link:list { kind = "veth" }) do
      if port.index ~= index and port.master_index then
        local row = port.index
        switch.link:change(row, { port = { isolated = true } })
        undo[2] = function()
          switch.link:change(row, { port = { isolated = false } })
        end
        break
      end
    end
    return ways.all(undo)
  end },
  locked_port = { why = "a port of a switch is locked, and does not know who is behind it", here = true, run = function(node)
    local switch, index = ways.port_of(node)
    local undo = ways.port(node, "locked", true)
    for _, row in ipairs(switch.fdb:list { dev = switch.link:get(index).name }) do
      if row.state ~= "permanent" then
        switch.fdb:delete(row, { absent = "ok" })
      end
    end
    return undo
  end },
  deaf_port = { why = "a switch does not send broadcasts by a port", here = true, run = function(node)
    return ways.port(node, "bcast_flood", false)
  end },
  listening_port = { why = "a switch runs the spanning tree protocol, and does not yet forward for a port", here = true, run = function(node)
    local switch, index = ways.port_of(node)
    local bridge = switch.link:get(index).master
    local old = switch.link:get(bridge).bridge.forward_delay
    local function again()
      switch.link:change(index, { master = false })
      switch.link:change(index, { master = bridge })
    end
    switch.link:change(bridge, { bridge = { stp_state = true, forward_delay = 30 } })
    again()
    return function()
      switch.link:change(bridge, { bridge = { stp_state = false } }) -- while it runs the delay is at least two seconds
      switch.link:change(bridge, { bridge = { forward_delay = old } })
      again()
    end
  end },
  no_bridge = { why = "the port of a host is on no bridge", here = true, run = function(node)
    local switch, index = ways.port_of(node)
    local master = switch.link:get(index).master
    switch.link:change(index, { master = false })
    return function()
      switch.link:change(index, { master = master })
    end
  end },
  wrong_bridge = { why = "the port of a host is on another bridge", here = true, run = function(node)
    local switch, index = ways.port_of(node)
    local master = switch.link:get(index).master
    switch.link:add { name = "wrong", kind = "bridge", up = true }
    switch.link:change(index, { master = "wrong" })
    return function()
      switch.link:change(index, { master = master })
      switch.link:delete("wrong", { absent = "ok" })
    end
  end },
  stale_veth = { why = "a veth whose end was never given to anybody is left on a switch", here = true, run = function(node)
    local bridge = node.plan.bridge or errors.misuse("lab.fault: %s is no switch", node.node_name)
    node.link:add { name = "stale0", kind = "veth", peer = { name = "stale1" }, master = bridge, up = true }
    return function()
      node.link:delete("stale0", { absent = "ok" })
    end
  end },
  narrow_port = { why = "a port of a switch takes less than the hosts send", here = true, run = function(node)
    local switch, index = ways.port_of(node)
    return ways.change(switch, index, { mtu = 1300 })
  end },
  hairpin = { why = "a bridge sends nothing back by the port it came by", here = true, run = function(node)
    return ways.port(node, "hairpin", false)
  end },
}
