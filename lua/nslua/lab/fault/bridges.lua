-- Faults of bridges and of those who are on them.

local errors = require "nslua.error"
local ways = require "nslua.lab.fault.ways"

---@type table<string, nslua.lab.fault.Known>
return {
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
