-- Faults of links: what is down, too small, or has the address of another.

local core = require "nslua.core"
local errors = require "nslua.error"
local firewall = require "nslua.lab.firewall"
local inside = require "nslua.inside"
local netns = require "nslua.netns"
local ways = require "nslua.lab.fault.ways"

local DGRAM = 2 -- socket(2)

---@type table<string, nslua.lab.fault.Known>
return {
  link_down = { why = "an interface is down", here = true, run = function(node)
    local at = ways.first_device(node)
    local link = node.lab:link(node, at.peer)
    link:down()
    return function()
      link:up()
    end
  end },
  loopback_down = { why = "the loopback interface is down", run = function(node)
    return ways.change(node, "lo", { up = false })
  end },
  duplicate_mac = { why = "two have one link-layer address", here = true, run = function(node)
    local at = ways.first_device(node)
    for _, member in ipairs(at.segment and at.segment.members or {}) do
      local other = member.node ~= node.node_name and node.lab.node[member.node]
      if other and member.inet then
        return ways.change(node, at.dev, { address = other.link:get(member.dev).address })
      end
    end
    errors.misuse("lab.fault: nobody else is on the link of %s", node.node_name)
  end },
  queue_full = { why = "more is to leave by a link than the rate that was set lets out", run = function(node)
    local at, limit = ways.first_device(node), 20000
    local to
    for _, member in ipairs(at.segment and at.segment.members or {}) do
      to = member.node ~= node.node_name and member.inet or to
    end
    to = to or errors.misuse("lab.fault: nobody with an IPv4 address is beside %s", node.node_name)
    node.qdisc:add { "tbf", dev = at.dev, parent = "root", tbf = { rate = "1kbit", burst = 1600, limit = limit } } -- minutes until it is empty
    local fd = inside.raw_socket(node, 2, DGRAM, 0)
    local function undo()
      fd:close()
      node.qdisc:delete({ dev = at.dev, parent = "root" }, { absent = "ok" })
    end
    local text = ("x"):rep(500)
    local connected = false
    return ways.seen(undo, function()
      connected = connected or assert(core.packet.connect(fd, core.inet.bytes(to), 9)) -- discard
      for _ = 1, 16 do
        core.packet.send(fd, text) -- ECONNREFUSED where it arrives
      end
      local row = node.qdisc:list({ dev = at.dev, kind = "tbf" })[1]
      return row and row.stats.drops >= 16 and row.stats.backlog >= limit - 1000
    end)
  end },
  softnet_drops = { why = "the machine drops most of what is sent to all, before anybody sees it", machine = true, run = function(node)
    local dst = core.inet.bytes(ways.first_device(node).inet:gsub("%d+$", "255"))
    local here = netns.current()
    local back = ways.sysctl(here, "net.core.netdev_max_backlog", 1)
    local sender = node:service { function()
      local fd = inside.raw_socket(netns.current(), 2, DGRAM, 0)
      assert(core.packet.set(fd, "broadcast", 1))
      while true do
        core.packet.send(fd, "x", dst, 9) -- discard
        core.fd.poll({}, 0.001)
      end
    end, name = "sender" }
    local function undo()
      sender:close()
      back()
      here:close()
    end
    local function dropped()
      local sum = 0
      for line in node:read("/proc/net/softnet_stat"):gmatch "[^\n]+" do
        sum = sum + tonumber(line:match "^%x+ (%x+)", 16)
      end
      return sum
    end
    local before = dropped()
    return ways.seen(undo, function()
      return dropped() > before
    end)
  end },
  mtu_black_hole = { why = "a link takes less than its ends know, and says so to nobody", run = function(node)
    local at = node.plan.interfaces[#node.plan.interfaces] or ways.first_device(node)
    local back = ways.change(node, at.dev, { mtu = 1300 })
    firewall.firewall(node, "block_frag_needed")
    return ways.all { back, function()
      firewall.clear(node, "block_frag_needed")
    end }
  end },
}
