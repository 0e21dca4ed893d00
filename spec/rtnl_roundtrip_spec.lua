-- For every message the kernel answers what nslua writes with: decode(encode(decode(m))) = decode(m), and no attribute is lost, added or
-- changed (roundtrip_spec.lua does the same for what ip(8) writes).

local core = require "nslua.core"
local roundtrip = require "spec.roundtrip"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"

describe("answers of the kernel", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(rtnl.close)

  it("survive decoding and encoding", function()
    local a, b = rtnl.netns "a", rtnl.netns "b"
    roundtrip.start()
    a:set_nsid(b, 7)
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth0", netns = b, up = true }, up = true, alias = "x",
      altnames = { "an-other-name" } }
    a.link:add { name = "br0", kind = "bridge", up = true }
    a.link:add { name = "p0", kind = "veth", peer = { name = "p1" }, master = "br0", up = true }
    a.link:add { name = "vx0", kind = "vxlan", vxlan = { id = 42, port = 4789, remote = "10.0.0.2", gbp = true, ttl_inherit = true,
      port_range = { low = 1, high = 2 } } }
    a.link:add { name = "mv0", kind = "macvlan", link = "p1", macvlan = { mode = "source", macaddr_mode = "set",
      macaddr_data = { "02:00:00:00:00:07" } } }
    a.link:add { name = "mt0", kind = "macvtap", link = "p1" }
    a.link:add { name = "ifb0", kind = "ifb" }
    if rtnl.has_tun() then
      a.link:add { name = "tap0", kind = "tap" }
    end
    a.address:add { "10.0.0.1/24", dev = "eth0", valid_lft = 100 }
    a.address:add { "10.1.0.1", peer = "10.1.0.2", dev = "eth0" }
    a.address:add { "2001:db8::1/64", dev = "eth0" }
    a.route:add { "10.3.0.0/16", nexthops = { { via = "10.0.0.3", weight = 3 }, { via = "2001:db8::9", dev = "eth0" } } }
    a.route:add { "10.4.0.0/16", via = "2001:db8::9", dev = "eth0", table = 100000, mtu = 1400, congctl = "reno", lock = { "mtu" } }
    a.route:add { "2001:db8:1::/48", nexthops = { { via = "2001:db8::3", dev = "eth0" }, { via = "2001:db8::4", dev = "eth0" } } }
    a.nexthop:add { id = 1, via = "10.0.0.3", dev = "eth0", encap = { type = "ip", id = 5, dst = "10.0.0.9" } }
    a.nexthop:add { id = 2, group = { { id = 1, weight = 3 } }, type = "resilient", buckets = 4 }
    a.rule:add { from = "10.0.0.0/8", fwmark = "1/3", sport = "1-2", table = 5 }
    a.neighbour:add { "10.0.0.2", lladdr = "02:00:00:00:00:02", dev = "eth0" }
    for _, collection in ipairs { "link", "address", "route", "rule", "neighbour", "nexthop" } do
      a[collection]:list()
      b[collection]:list()
    end
    assert.same({ 7 }, a:nsids())
    local _, by_name = roundtrip.finish()
    for _, name in ipairs { "link", "address", "route", "rule", "neighbour", "nexthop", "nsid" } do
      assert.is_true((by_name[name] or 0) > 0, name)
    end
  end)

  it("survive decoding and encoding: queueing disciplines, classes and filters of whatever this kernel has, of tc", function()
    if not require("spec.helper").has "tc" then
      return pending "needs tc(8)"
    end
    local a = rtnl.netns "a"
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
    roundtrip.start()
    for _, words in ipairs { "tbf rate 40gbit burst 10mb latency 1ms peakrate 50gbit mtu 9000", "pfifo", "bfifo", "pfifo_fast", "mq", "codel",
      "fq_codel", "fq", "sfq perturb 10", "prio", "red limit 400000 min 30000 max 90000 avpkt 1000 burst 55",
      "netem delay 10ms 1ms distribution normal loss gemodel 1% rate 40gbit slot 1ms 2ms", "cake", "drr", "hfsc", "ets bands 3 strict 3",
      "pie", "choke limit 1000 bandwidth 10mbit", "handle 1: htb default 10" } do
      rtnl.inside(a, "tc qdisc replace dev eth0 root " .. words)
      rtnl.inside(a, "tc qdisc delete dev eth1 root")
      a.qdisc:list()
      a.class:list()
    end
    for _, words in ipairs { "qdisc add dev eth0 clsact", "class add dev eth0 parent 1: classid 1:10 htb rate 1mbit ceil 40gbit",
      "qdisc add dev eth0 parent 1:10 handle 10: pfifo limit 7",
      "filter add dev eth0 parent 1: protocol ip u32 match ip dst 10.0.0.0/8 match tcp dst 22 0xffff flowid 1:10",
      "filter add dev eth0 parent 1: handle 5: u32 divisor 256",
      "filter add dev eth0 ingress u32 match u32 0 0 match mark 3 0xff action mirred egress redirect dev eth1",
      "filter add dev eth0 egress bpf da bytecode '1,6 0 0 0'", "filter add dev eth0 egress matchall action police rate 1mbit burst 10k drop",
      "filter add dev eth0 egress protocol ip chain 3 flower ip_proto tcp dst_port 80 action drop random netrand pass 4",
      "filter add dev eth0 ingress fw classid 1:1", "filter add dev eth0 ingress basic action pass" } do
      rtnl.inside(a, "tc " .. words)
    end
    for _, collection in ipairs { "qdisc", "class", "filter" } do
      a[collection]:list()
    end
    local _, by_name = roundtrip.finish()
    for _, name in ipairs { "qdisc", "class", "filter" } do
      assert.is_true((by_name[name] or 0) > 0, name)
    end
  end)

  it("have no attribute that the schemas do not know", function()
    local a = rtnl.netns "a"
    a.link:add { name = "br0", kind = "bridge", up = true }
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" }, master = "br0", altnames = { "other" } }
    a.link:add { name = "vx0", kind = "vxlan", vxlan = { id = 42, port = 4789 } }
    a.link:add { name = "mv0", kind = "macvlan", link = "v1" }
    local seen = {}
    core.netlink.record(seen)
    a.link:list()
    core.netlink.record(nil)
    local S = schema.compile "link"
    local function known(t, path)
      for key, value in pairs(t) do
        -- a struct may be shorter or longer
        assert.is_true(key == "#size" or key == "#tail" or not tostring(key):find "^#", path .. tostring(key))
        if type(value) == "table" then
          known(value, path .. key .. ".")
        end
      end
    end
    for _, message in ipairs(seen) do
      known(S:decode(message[2]), "link.")
    end
    assert.is_true(#seen > 4)
  end)
end)
