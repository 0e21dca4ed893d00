-- Every message of the kernel survives decode, encode, decode: whatever ip(8) can make here, read back and compared.

local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"
local roundtrip = require "spec.roundtrip"

describe("messages of the kernel", function()
  local cannot = rtnl.cannot()
  if cannot then
    return it("survive decode and encode", function()
      pending(cannot)
    end)
  end

  after_each(function()
    rtnl.close()
  end)

  it("survive decode and encode: links, addresses, routes, rules, neighbours", function()
    local a, b = rtnl.netns "roundtrip a", rtnl.netns "roundtrip b"
    local function try(command)
      -- a kind this kernel lacks is no failure of the codec
      rtnl.inside(a, "ip " .. command)
    end
    for _, command in ipairs {
      "link add v0 type veth peer name v1", "link add br0 type bridge vlan_filtering 1 stp_state 1",
      "link add vx0 type vxlan id 42 dstport 4789 group 239.1.1.1 dev v0", "link add mv0 link v0 type macvlan mode bridge",
      "link add mt0 link v0 type macvtap mode vepa", "link add ifb7 type ifb", "link add du0 type dummy",
      "link add link v0 name v0.10 type vlan id 10", "tuntap add tap0 mode tap", "tuntap add tun0 mode tun",
      "link add gre1 type gre local 10.0.0.1 remote 10.0.0.9", "link add sit1 type sit local 10.0.0.1 remote 10.0.0.9",
      "link add ip6t type ip6tnl local fe80::1 remote fe80::2", "link add vrf0 type vrf table 99", "link add bond9 type bond",
      "link property add dev v0 altname a-long-alternative-name-of-v0", "link set v0 alias something group 7 txqueuelen 17",
      "link set mv0 master br0", "link set v1 master br0", "link set v0 up", "link set v1 up", "link set br0 up",
      "address add 10.0.0.1/24 dev v0 label v0:x", "address add 10.9.0.1 peer 10.9.0.2/32 dev v0",
      "address add fd00::1/64 dev v0 nodad", "address add fd00::2/64 dev v0 valid_lft 1000 preferred_lft 500",
      "route add 10.5.0.0/16 via 10.0.0.254 metric 100 mtu 1400 advmss lock 1300", "route add blackhole 10.6.0.0/16",
      "route add 10.7.0.0/16 nexthop via 10.0.0.2 weight 2 nexthop via 10.0.0.3 dev v0 weight 1",
      "route add 10.8.0.0/16 dev v0 table 1000 proto static scope link src 10.0.0.1", "route add unreachable 10.66.0.0/16",
      "-6 route add fd01::/64 via fd00::9 metric 7", "-6 route add fd02::/64 nexthop via fd00::8 nexthop via fd00::7",
      "route add 10.77.0.0/16 via inet6 fe80::1 dev v0", "route add default via 10.0.0.254",
      "rule add from 10.0.0.0/8 table 1000 priority 50", "rule add fwmark 1/3 lookup main", "rule add iif v0 oif v0 goto 32766",
      "-6 rule add to fd00::/16 table 1000", "rule add ipproto tcp dport 80-90 table 7", "rule add from 1.2.3.4 uidrange 1-2 prohibit",
      "neighbour add 10.0.0.2 lladdr 02:00:00:00:00:02 dev v0", "neighbour add fd00::5 lladdr 02:00:00:00:00:05 dev v0 nud permanent",
      "neighbour add proxy 10.0.0.3 dev v0", "nexthop add id 2 via 10.0.0.3 dev v0", "nexthop add id 3 via fd00::3 dev v0",
      "nexthop add id 4 via 10.0.0.4 dev v0 encap ip id 5 dst 10.0.0.9", "nexthop add id 5 blackhole", "nexthop add id 10 group 2/4,3",
      "nexthop add id 11 group 2/4,3 type resilient buckets 8", "route add 10.78.0.0/16 nhid 10",
      "route add 10.79.0.0/16 encap ip6 id 5 dst fd00::9 key dev v0", "route add 10.80.0.0/16 encap mpls 100/200 via 10.0.0.2 dev v0",
      "-6 route add fd03::/64 encap seg6 mode inline segs fc00::1,fc00::2 dev v0",
      "-6 route add fd04::/64 encap seg6local action End.DT6 table 100 count dev v0",
      "-6 route add fd05::/64 encap seg6local action End.B6.Encaps srh segs fc00::1 dev v0",
    } do
      try(command)
    end
    a:set_nsid(b, 7)
    a.link:add { name = "far", kind = "veth", peer = { name = "near", netns = b } }

    roundtrip.start()
    for _, name in ipairs { "link", "address", "route", "rule", "neighbour", "nexthop" } do
      for _, handle in ipairs { a, b } do
        handle[name]:list()
      end
    end
    a.nexthop:buckets()
    a.fdb:list()
    a.netconf:list()
    a.addrlabel:list()
    a.mdb:list()
    a.neighbour_table:list()
    a.link:get "v0"
    a.nsids(a)
    local n, by_name = roundtrip.finish()
    assert.is_true(n > 50, "only " .. n .. " messages")
    for _, name in ipairs { "link", "address", "route", "rule", "neighbour", "nexthop" } do
      assert.is_true((by_name[name] or 0) > 2, name .. ": " .. tostring(by_name[name]))
    end
  end)

  it("survive it in this process's own namespace", function()
    local here = ns.netns.current()
    roundtrip.start()
    for _, name in ipairs { "link", "address", "route", "rule", "neighbour", "nexthop" } do
      here[name]:list()
    end
    here:close()
    assert.is_true((roundtrip.finish()) > 0)
  end)
end)
