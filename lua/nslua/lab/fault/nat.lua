-- Faults of what translates addresses, and of what bridges do with it.

local core = require "nslua.core"
local errors = require "nslua.error"
local firewall = require "nslua.lab.firewall"
local inside = require "nslua.inside"
local ways = require "nslua.lab.fault.ways"

local packet = core.packet
local DGRAM = 2 -- socket(2)

local function prefix_of(at, last)
  return at.inet:gsub("%d+$", last)
end

-- Take the rules away whose last expression is such; the ruleset comes back as it was.
local function without(node, otherwise, is)
  local kept, gone = node:output { "nft", "-s", "list", "ruleset" }, {}
  for _, rule in ipairs(node.nftables:rules()) do
    local last = rule.expressions[#rule.expressions]
    gone[#gone + 1] = last and is(last) and ("delete rule %s %s %s handle %d\n"):format(rule.family, rule.table, rule.chain, rule.handle) or nil
  end
  if not gone[1] then
    errors.misuse("lab.fault: %s %s", node.node_name, otherwise)
  end
  firewall.load(node, "lab.fault", table.concat(gone))
  return function()
    firewall.load(node, "lab.fault", "flush ruleset\n" .. kept .. "\n")
  end
end

---@type table<string, nslua.lab.fault.Known>
return {
  no_masquerade = { why = "a router does not give what goes out its own address", run = function(node)
    return without(node, "translates nothing: node:nat first", function(last)
      return last.name == "masq" or last.name == "nat" and last.data.type == "snat"
    end)
  end },
  no_mss_clamp = { why = "a router does not tell TCP that a link beyond it takes less", run = function(node)
    return without(node, "clamps no MSS", function(last)
      return last.name == "exthdr"
    end)
  end },
  service_gone = { why = "a host has another address, and those who lead packets to it do not know", here = true, run = function(node)
    local at = ways.first_device(node)
    local row = node.address:list({ dev = at.dev, family = "inet" })[1] or errors.misuse("lab.fault: %s has no IPv4 address", node.node_name)
    local old, routes = row.address, {}
    for _, route in ipairs(node.route:list { family = "inet", table = "main", dev = at.dev }) do
      routes[#routes + 1] = route.via and route.type == "unicast" and { route.dst, via = route.via, dev = at.dev } or nil
    end
    local new = prefix_of(at, "77") .. old:match "/%d+$"
    local function move(from, to)
      node.address:delete({ from, dev = at.dev }, { absent = "ok" })
      node.address:ensure { to, dev = at.dev }
      for _, route in ipairs(routes) do
        node.route:ensure(route)
      end
    end
    move(old, new)
    return function()
      move(new, old)
    end
  end },
  stale_connection = { why = "a router still leads a flow of UDP to a host that is gone", run = function(node)
    local near, far = node.plan.interfaces[1], node.plan.interfaces[2]
    local client = near and node.lab.node[near.peer]
    if not client or not far or client.kind ~= "host" then
      errors.misuse("lab.fault: %s is not between a host and another network", node.node_name)
    end
    local gone = prefix_of(far, "77")
    local unload = ways.load(node, "table ip nslua_fault",
      ("chain prerouting { type nat hook prerouting priority dstnat; udp dport 5353 dnat to %s; };"):format(gone))
    local fd = inside.raw_socket(client, 2, DGRAM, 0)
    assert(packet.connect(fd, core.inet.bytes(near.inet), 5353))
    packet.send(fd, "x")
    require("nslua.eventually").eventually(function()
      return node.conntrack:list({ proto = "udp", dport = 5353 })[1] ~= nil
    end)
    unload()
    return function()
      fd:close()
      for _, row in ipairs(node.conntrack:list { proto = "udp", dport = 5353 }) do
        node.conntrack:delete(row, { absent = "ok" })
      end
    end
  end },
  bridge_nf_off = { why = "what a bridge passes is not translated", run = function(node)
    return ways.sysctl(node, "net.bridge.bridge-nf-call-iptables", 0)
  end },
  bridge_nf_on = { why = "what a bridge passes meets a firewall that drops it", run = function(node)
    return ways.all { ways.sysctl(node, "net.bridge.bridge-nf-call-iptables", 1), ways.load(node, "table inet nslua_fault",
      "chain forward { type filter hook forward priority filter; policy drop; ct state established,related accept; };") }
  end },
  packet_drop = { why = "a program at an interface drops what comes in", here = true, run = function(node)
    local dev = ways.first_device(node).dev
    node.qdisc:add { "clsact", dev = dev }
    node.filter:add { "bpf", dev = dev, parent = "ingress", bpf = { ops = { { 6, 0, 0, 2 } }, direct_action = true } } -- BPF_RET TC_ACT_SHOT
    return function()
      node.qdisc:delete({ dev = dev, parent = "clsact" }, { absent = "ok" })
    end
  end },
  conntrack_full = { why = "a host tracks as many connections as it may", run = function(node)
    local unload = ways.load(node, "table ip nslua_fault",
      "chain output { type filter hook output priority filter; ct state established accept; };")
    local most = math.tointeger(tonumber(node:sysctl "net.netfilter.nf_conntrack_max"))
    local sink, source = inside.raw_socket(node, 2, DGRAM, 0), inside.raw_socket(node, 2, DGRAM, 0)
    assert(packet.bind(sink, core.inet.bytes "0.0.0.0", 0))
    local _, port = packet.name(sink)
    assert(packet.bind(source, core.inet.bytes "127.0.0.1", 0))
    for i = 1, most + 100 do -- the kernel drops what the socket that nobody reads has no room for, and tracks it all the same
      packet.send(source, "x", string.char(127, 1 + (i >> 16 & 127), i >> 8 & 255, i & 255), port)
    end
    source:close()
    sink:close()
    return function()
      unload()
      node:run { "conntrack", "-F" }
    end
  end },
}
