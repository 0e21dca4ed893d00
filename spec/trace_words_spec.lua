-- What ip(8) sends, read as words by the trace, given to ip(8) again: the same request.

local rtnl = require "spec.rtnl_helper"
local sent = require "spec.sent"

local messages = {}

-- A request as text that does not depend on the order of attributes.
local function text(m)
  local schema = require "nslua.schema"
  if not messages[m.type] then
    for name, message in pairs(schema.messages) do
      for _, verb in ipairs { "new", "del", "set" } do
        if message[verb] == m.type then
          messages[m.type] = name
        end
      end
    end
  end
  local json = schema.json(schema.compile(messages[m.type]):decode(m.payload))
  return ("%d %x %s"):format(m.type, m.flags, (json:gsub('"success":%d+', '"success":0'))) -- tc leaves there what the stack had
end

describe("the words of a trace", function()
  local why = rtnl.cannot() or sent.cannot()
  teardown(sent.close)
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(rtnl.close)

  local netlink = require "nslua.trace.netlink"
  local sh = require "nslua.trace.sh"
  for _, object in ipairs { "link", "address", "route", "rule", "neighbour", "nsid", "nexthop", "fdb", "bridge_vlan", "mdb", "addrlabel",
    "qdisc", "class", "filter" } do
    require("nslua.rtnl." .. object)
  end

  -- What a command sends in a new namespace with the links v0 and v1, and the line that the trace makes of it.
  local function request(command)
    local handle = rtnl.netns "trace"
    handle.link:add { name = "v0", kind = "veth", peer = { name = "v1" } }
    local before = {}
    for _, row in ipairs(handle.link:list()) do
      before[row.index] = row.name
    end
    local m = sent.theirs(handle, command)
    handle:close()
    local context = { space = {}, link = function(index)
      return before[index]
    end }
    local tool, words, left = netlink.words(context, m.type, m.flags, m.payload)
    assert.truthy(tool, ("%s: %s"):format(command, tostring(words)))
    assert.is_nil(left, command)
    return m, tool .. " " .. sh.join(words)
  end

  local function same(list)
    for _, command in ipairs(list) do
      local theirs, line = request(command)
      assert.equal(text(theirs), text((request(line))), command .. "\n" .. line)
    end
  end

  it("are those of links", function()
    same {
      "ip link add name w0 type veth peer name w1 mtu 1400 address 02:00:00:00:00:01",
      "ip link add type ifb", "ip link add name b0 index 77 mtu 1300 txqueuelen 7 address 02:00:00:00:00:02 numtxqueues 3 type ifb",
      "ip link add link v0 name v0.5 type vlan protocol 802.1ad id 5 reorder_hdr off gvrp on mvrp off loose_binding on"
        .. " ingress-qos-map 1:2 egress-qos-map 3:4 5:6",
      "ip link add link v0 name m0 type macvlan mode passthru flag nopromisc bcqueuelen 50",
      "ip link add link v0 name m1 type macvlan mode source macaddr set 02:00:00:00:00:01 02:00:00:00:00:02",
      "ip link add link v0 name m2 type macvtap mode vepa",
      "ip link add name x0 type vxlan id 42 dstport 4789 remote fd00::1 local fd00::2 ttl inherit flowlabel 0x55 df set nolearning proxy noudpcsum",
      "ip link add name x1 type vxlan id 42 dstport 4789 group 239.0.0.1 dev v0 ttl 9 tos 0x12"
        .. " srcport 1 100 ageing 5 maxaddress 99 rsc l2miss l3miss gbp",
      "ip link add name x2 type vxlan dstport 4789 external udp6zerocsumtx remcsumrx",
      "ip link add name br7 type bridge forward_delay 400 stp_state 1 vlan_filtering 1 vlan_protocol 802.1ad mcast_snooping 0 no_linklocal_learn 1"
        .. " priority 7 group_fwd_mask 8 mcast_last_member_interval 5 mcast_startup_query_count 3 nf_call_iptables 1 group_address 01:80:c2:00:00:04",
      "ip link set dev v0 up mtu 1400 arp off promisc on multicast off alias 'an alias' group 5 address 02:00:00:00:00:05 txqueuelen 9",
      "ip link set dev v0 down name v7", "ip link set dev v1 nomaster", "ip link set dev v1 addrgenmode stable_secret", "ip link set group 5 up",
      "ip link set dev v1 protodown on", "ip link set dev v1 carrier off",
      "ip link property add dev v1 altname a-name altname another", "ip link property del dev v1 altname a-name",
      "ip link delete dev v1", "ip link delete group 5", "ip token set ::5/64 dev v0",
    }
  end)

  it("are those of bonds, tunnels and other kinds", function()
    if not require("nslua.rtnl.kind").kinds.bond then
      return pending "bond and gre are no kinds of links here"
    end
    same {
      "ip link add link v0 name x0 type ipvlan mode l3 private", "ip link add link v0 name x0 type ipvlan mode l3s bridge",
      "ip link add link v0 name x0 type ipvtap mode l2 vepa",
      "ip link add link v0 name x0 type macsec port 7 cipher gcm-aes-256 icvlen 16 encrypt on send_sci on scb off protect on "
        .. "replay on window 32 validate strict",
      "ip link add link v0 name x0 type macsec sci 0200000000010001 encodingsa 2 send_sci off validate check",
      "ip link add name x0 type hsr slave1 v0 slave2 v1 supervision 45 version 1", "ip link add name x0 type hsr slave1 v0 slave2 v1 proto 1",
      "ip link add name x0 type bond mode active-backup miimon 100 updelay 200 downdelay 300 primary_reselect better fail_over_mac "
        .. "active num_grat_arp 3 peer_notify_delay 400 resend_igmp 2 min_links 0 all_slaves_active 1 use_carrier 1",
      "ip link add name x0 type bond mode 802.3ad miimon 100 lacp_rate fast ad_select bandwidth xmit_hash_policy layer3+4 "
        .. "ad_actor_sys_prio 9 ad_user_port_key 7 ad_actor_system 02:00:00:00:00:09 lacp_active off lp_interval 2 min_links 2",
      "ip link add name x0 type bond mode active-backup arp_interval 500 arp_ip_target 10.0.0.1,10.0.0.2 arp_validate all "
        .. "arp_all_targets all arp_missed_max 4",
      "ip link add name x0 type bond mode active-backup arp_interval 500 ns_ip6_target 2001:db8::1,2001:db8::2",
      "ip link add name x0 type bond mode balance-rr packets_per_slave 7", "ip link add name x0 type bond mode balance-tlb tlb_dynamic_lb 0",
      "ip link add name x0 type vrf table 1234",
      "ip link add name x0 type gre remote 10.0.0.2 local 10.0.0.1 ttl 5 tos 4 key 7 csum seq nopmtudisc fwmark 9",
      "ip link add name x0 type gre remote 10.0.0.2 ikey 1 okey 10.0.0.1 iseq ocsum ignore-df nopmtudisc dev v0",
      "ip link add name x0 type gretap remote 10.0.0.2 local 10.0.0.1 ttl inherit tos inherit encap gue encap-sport auto "
        .. "encap-dport 5555 encap-csum encap-remcsum",
      "ip link add name x0 type gretap external",
      "ip link add name x0 type erspan remote 10.0.0.2 local 10.0.0.1 seq key 30 erspan_ver 1 erspan 123",
      "ip link add name x0 type erspan remote 10.0.0.2 local 10.0.0.1 seq key 30 erspan_ver 2 erspan_dir egress erspan_hwid 7",
      "ip link add name x0 type ip6gre remote 2001:db8::2 local 2001:db8::1 hoplimit 5 encaplimit none tclass 0x30 flowlabel "
        .. "0x12345 key 9 seq fwmark 8",
      "ip link add name x0 type ip6gretap remote 2001:db8::2 tclass inherit flowlabel inherit dscp inherit fwmark inherit "
        .. "allow-localremote dev v0",
      "ip link add name x0 type ip6erspan remote 2001:db8::2 local 2001:db8::1 seq key 3 erspan_ver 2 erspan_dir ingress erspan_hwid 5",
      "ip link add name x0 type ipip remote 10.0.0.2 local 10.0.0.1 ttl 7 tos 8 mode any fwmark 3 dev v0",
      "ip link add name x0 type ipip remote 10.0.0.2 mode ipip encap fou encap-sport 5555 encap-dport 5556 noencap-csum",
      "ip link add name x0 type sit remote 10.0.0.2 local 10.0.0.1 ttl 9 mode ip6ip isatap",
      "ip link add name x0 type sit local 10.0.0.1 6rd-prefix 2001:db8::/32 6rd-relay_prefix 10.0.0.0/8 mode ip6ip",
      "ip link add name x0 type ip6tnl mode ipip6 remote 2001:db8::2 local 2001:db8::1 hoplimit 3 encaplimit 7 tclass 0x10 "
        .. "flowlabel 0x1 allow-localremote dev v0",
      "ip link add name x0 type ip6tnl mode any remote 2001:db8::2 tclass inherit dscp inherit encaplimit none",
      "ip link add name x0 type vti remote 10.0.0.2 local 10.0.0.1 ikey 5 okey 10.0.0.9 fwmark 4 dev v0",
      "ip link add name x0 type vti6 remote 2001:db8::2 local 2001:db8::1 key 77",
      "ip link add name x0 type geneve id 5 remote 10.0.0.2 ttl 7 tos 8 dstport 6082 udpcsum df set",
      "ip link add name x0 type geneve id 16777215 remote 2001:db8::2 ttl inherit flowlabel 0x12345 udp6zerocsumtx udp6zerocsumrx",
      "ip link add name x0 type geneve external innerprotoinherit", "ip link add name x0 type xfrm dev v0 if_id 0x2a",
      "ip link add name x0 type xfrm external",
    }
  end)

  it("are those of a bridge's ports", function()
    local S = require("nslua.schema").compile "link"
    local tool, words = netlink.words({ link = function(index)
      return "v" .. index
    end }, 16, 5, S:encode { index = 2, linkinfo = { slave_kind = "bridge", slave_data = { state = "forwarding", cost = 9, hairpin = true,
      isolated = false, mcast_router = 2, fastleave = true, backup_port_index = 3, flush = true } } })
    assert.equal("ip link set v2 type bridge_slave backup_port v3 cost 9 mcast_fast_leave on fdb_flush hairpin on isolated off mcast_router 2 "
      .. "state 3",
      tool .. " " .. table.concat(words, " "))
  end)

  it("are those of addresses", function()
    same {
      "ip address add 10.0.0.1/24 dev v0 broadcast 10.0.0.255 label v0:1 scope link metric 5",
      "ip address replace 10.0.0.1/32 peer 10.0.0.2/24 dev v0 valid_lft 100 preferred_lft 50 noprefixroute",
      "ip address change fd00::1/64 dev v0 nodad home mngtmpaddr valid_lft forever preferred_lft 7", "ip address add 127.0.0.2/8 dev v0",
      "ip address delete 10.0.0.1/24 dev v0", "ip address delete fd00::1/64 dev v0",
    }
  end)

  it("are those of routes", function()
    same {
      "ip route add 10.0.0.0/8 dev v0", "ip route add default via 10.0.0.1 dev v0 onlink metric 7 src 10.0.0.9 table 100 proto static",
      "ip route append 10.1.0.0/16 via 10.0.0.1 mtu 1400 advmss 1000 rtt 300ms rttvar 50ms window 5 cwnd 7 ssthresh 8 initcwnd 9 initrwnd 10"
        .. " reordering 3 hoplimit 64 quickack 1 congctl cubic features ecn rto_min 200ms",
      "ip route add 10.1.0.0/16 via 10.0.0.1 mtu lock 1400 congctl lock cubic", "ip route change unreachable 10.2.0.0/16 table 5",
      "ip route replace blackhole default metric 9", "ip route prepend 10.3.0.0/16 nexthop via 10.0.0.1 weight 5 nexthop dev v0 onlink realms 1/2",
      "ip route add local 10.9.0.1/32 dev v0", "ip route add broadcast 10.9.0.255/32 dev v0", "ip route add 10.4.0.0/16 via inet6 fd00::1 dev v0",
      "ip route add 10.5.0.0/16 tos 0x10 dev v0 scope global realms 5", "ip -6 route add default dev v0 metric 5",
      "ip route add fd00:1::/64 from fd00:2::/64 via fd00::1 pref low expires 500", "ip -6 route add unreachable default metric 7",
      "ip route add fd00:1::/64 nexthop via fd00::1 nexthop via fd00::2 dev v0 weight 9", "ip route add 10.6.0.0/16 nhid 7",
      "ip route delete 10.0.0.0/8 dev v0", "ip route delete default", "ip -6 route delete default metric 5 proto ra",
      "ip route delete 10.1.0.0/16 table 100 via 10.0.0.1", "ip route add throw 10.7.0.0/16", "ip route add prohibit 10.8.0.0/16 table local",
    }
  end)

  it("are those of encapsulations and MPLS", function()
    same {
      "ip route add 10.1.0.0/16 encap mpls 100/200 ttl 9 via 10.0.0.1",
      "ip route add 10.1.0.0/16 encap ip id 7 dst 10.0.0.9 src 10.0.0.8 ttl 5 tos 3 dev v0",
      "ip route add 10.1.0.0/16 encap ip id 7 dst 10.0.0.9 key csum seq dev v0",
      "ip route add fd00:1::/64 encap ip6 id 7 dst fd00::9 src fd00::8 hoplimit 5 tc 3 dev v0",
      "ip -6 route add fd00:1::/64 encap seg6 mode encap segs fd00::1,fd00::2 dev v0",
      "ip -6 route add fd00:1::/64 encap seg6 mode inline segs fd00::1 dev v0",
      "ip -6 route add fd00:1::/64 encap seg6local action End.DT6 table 5 dev v0",
      "ip -6 route add fd00:1::/64 encap seg6local action End.X nh6 fd00::5 dev v0",
      "ip -6 route add fd00:1::/64 encap seg6local action End.DT4 vrftable 5 count dev v0",
      "ip -6 route add fd00:1::/64 encap seg6local action End flavors psp,usd dev v0",
      "ip -6 route add fd00:1::/64 encap seg6local action End flavors next-csid lblen 32 nflen 16 dev v0",
      "ip route add 10.1.0.0/16 encap xfrm if_id 5 link_dev v1 dev v0",
      "ip route add 10.1.0.0/16 nexthop encap mpls 5 via 10.0.0.1 nexthop encap mpls 6 via 10.0.0.2",
      "ip -M route add 100 as 200/300 via inet 10.0.0.1", "ip -M route add 100 dev v0",
      "ip -M route add 100 nexthop as 5 via inet 10.0.0.1 nexthop as 6 via inet6 fd00::1 dev v0",
      "ip -M route delete 100", "ip -M route replace 100 via inet 10.0.0.1 dev v0 ttl-propagate enabled",
    }
  end)

  it("are those of nexthops", function()
    same {
      "ip nexthop add id 1 via 10.0.0.1 dev v0 onlink", "ip nexthop replace id 2 via fd00::1 dev v0 protocol static",
      "ip nexthop add id 3 dev v0", "ip -6 nexthop add id 3 dev v0",
      "ip nexthop add id 4 blackhole", "ip nexthop add id 5 group 1/2,7/3 type mpath",
      "ip nexthop add id 6 group 1/2 type resilient buckets 32 idle_timer 5 unbalanced_timer 9",
      "ip nexthop add id 7 via 10.0.0.1 fdb", "ip nexthop add id 8 encap mpls 100 via 10.0.0.1 dev v0", "ip nexthop delete id 4",
      "ip nexthop add via 10.0.0.1 dev v0",
      "ip nexthop add id 9 group 7 fdb",
    }
  end)

  it("are those of forwarding tables", function()
    same {
      "bridge fdb add 02:00:00:00:00:01 dev v0", "bridge fdb add 02:00:00:00:00:01 dev v0 master static vlan 5",
      "bridge fdb append 02:00:00:00:00:01 dev v0 dst 10.0.0.1 port 4789 vni 7 via v1",
      "bridge fdb replace 02:00:00:00:00:01 dev v0 dst fd00::1 src_vni 5 self",
      "bridge fdb add 02:00:00:00:00:01 dev v0 dynamic master sticky extern_learn",
      "bridge fdb del 02:00:00:00:00:01 dev v0 master", "bridge fdb add 02:00:00:00:00:01 dev v0 nhid 7 self use router",
    }
  end)

  it("are those of multicast groups and labels", function()
    same {
      "bridge mdb add dev v0 port v1 grp 239.1.1.1 permanent vid 5 src 10.0.0.1", "bridge mdb add dev v0 port v1 grp ff02::99",
      "bridge mdb del dev v0 port v1 grp 239.1.1.1", "ip addrlabel add prefix fd00::/8 label 99 dev v0", "ip addrlabel del prefix fd00::/8 label 99",
    }
  end)

  it("are those of a bridge's VLANs", function()
    local S = require("nslua.schema").compile "bridge_vlan"
    local function lines(kind, entry)
      local tool, words = netlink.words({ link = function(index)
        return "v" .. index
      end }, kind, 5, S:encode { family = 7, dev_index = 2, entries = { entry } })
      local out = { tool .. " " .. table.concat(words, " ") }
      for i, more in ipairs(words.also or {}) do
        out[i + 1] = tool .. " " .. table.concat(more, " ")
      end
      return out
    end
    assert.same({ "bridge vlan add vid 5 dev v2 pvid untagged" }, lines(112, { info = { vid = 5, flags = { "pvid", "untagged" } } }))
    assert.same({ "bridge vlan add vid 5-9 dev v2 self", "bridge vlan set vid 5-9 dev v2 state blocking mcast_router 2" },
      lines(112, { info = { vid = 5, flags = { "brentry" } }, range = 9, state = "blocking", mcast_router = 2 }))
    assert.same({ "bridge vlan add vid 5-6 dev v2 tunnel_info id 100-101" },
      lines(112, { info = { vid = 5, flags = { "only_opts" } }, range = 6, tunnel = { id = 100, cmd = 19 } }))
    assert.same({ "bridge vlan del vid 5 dev v2" }, lines(113, { info = { vid = 5 } }))
  end)

  it("are those of queueing disciplines and classes", function()
    same {
      "tc qdisc add dev v0 root handle 1: htb default 10 r2q 5 direct_qlen 500", "tc qdisc add dev v0 root tbf rate 4mbit burst 10k latency 70ms",
      "tc qdisc add dev v0 root tbf rate 4mbit burst 10k latency 70ms linklayer atm",
      "tc qdisc replace dev v0 root tbf rate 7mbit burst 3k latency 12.3ms peakrate 9mbit mtu 1540 mpu 64 overhead 14",
      "tc qdisc add dev v0 parent 1:2 handle 20: pfifo limit 7", "tc qdisc add dev v0 root bfifo limit 10kb",
      "tc qdisc add dev v0 root prio bands 4 priomap 0 1 2 3 0 1 2 3",
      "tc qdisc add dev v0 root fq_codel limit 1000 target 5ms interval 100ms noecn quantum 1514 flows 512 ce_threshold 1ms "
        .. "memory_limit 4mb drop_batch 32",
      "tc qdisc change dev v0 root codel limit 100 target 5ms interval 50ms ecn ce_threshold 2ms", "tc qdisc add dev v0 root fq_codel",
      "tc qdisc add dev v0 root fq limit 100 flow_limit 10 quantum 3000 initial_quantum 10000 maxrate 10mbit buckets 512 "
        .. "orphan_mask 511 nopacing refill_delay 40ms low_rate_threshold 1mbit ce_threshold 1ms timer_slack 10us horizon 5s horizon_drop",
      "tc qdisc add dev v0 root sfq perturb 10 quantum 3000 limit 100 divisor 512 depth 20 headdrop",
      "tc qdisc add dev v0 root netem delay 10ms 2ms 25% loss 1% 5% duplicate 2% 3% reorder 10% 50% gap 4 corrupt 0.1% 1% rate 10mbit 5 "
        .. "6 7 limit 500 ecn",
      "tc qdisc add dev v0 root netem delay 10ms 2ms distribution normal", "tc qdisc add dev v0 root netem loss 0.3%",
      "tc qdisc add dev v0 root netem delay 10ms reorder 10% slot 1ms 2ms packets 3 bytes 4",
      "tc qdisc add dev v0 root netem loss state 1% 2% 3% 4% 5% rate 40gbit", "tc qdisc add dev v0 root netem loss gemodel 1% 2% 3% 4%",
      "tc qdisc add dev v0 clsact", "tc qdisc add dev v0 ingress", "tc qdisc del dev v0 root", "tc qdisc del dev v0 clsact",
      "tc qdisc del dev v0 parent 1:2 handle 5:",
      "tc qdisc add dev v0 root stab overhead 18 linklayer ethernet pfifo limit 5", "tc qdisc add dev v0 root stab mpu 64 overhead -4 pfifo",
      "tc qdisc add dev v0 root handle 1: stab mtu 9000 tsize 1024 overhead 40 linklayer adsl htb default 10",
      "tc qdisc add dev v0 ingress_block 22 ingress", "tc qdisc add dev v0 ingress_block 22 egress_block 23 clsact",
      "tc class add dev v0 parent 1: classid 1:10 htb rate 5mbit ceil 10mbit burst 5k cburst 6k prio 3 quantum 3000 mtu 1500",
      "tc class replace dev v0 parent 1:1 classid 1:11 htb rate 40gbit", "tc class del dev v0 classid 1:10",
    }
  end)

  it("are those of filters", function()
    same {
      "tc filter add dev v0 parent 1: protocol ip pref 5 u32 match ip dst 10.0.0.0/8 match ip sport 80 0xffff match tcp dst 22 0xffff "
        .. "flowid 1:10",
      "tc filter add dev v0 parent 1: u32 match u32 0 0 action mirred egress redirect dev v1",
      "tc filter add dev v0 egress u32 match u8 6 0xff at 9 match u16 0x1234 0xffff at nexthdr+2 match mark 3 0xff classid 1:3",
      "tc filter add dev v0 egress u32 match u32 0x0a000000 0xff000000 at 16 action mirred egress mirror dev v1 action mirred ingress "
        .. "redirect dev v0",
      "tc filter add dev v0 ingress chain 3 protocol ipv6 u32 match ip6 dst 2001:db8::/33 match ip6 src 2001:db8:1:2::5 match ip6 "
        .. "protocol 6 0xff match ip6 priority 3 0xff match ip6 flowlabel 5 0xfffff",
      "tc filter add dev v0 ingress protocol ip pref 7 u32 match ip tos 0x10 0xff match ip protocol 17 0xff match ip ihl 5 0xf match ip "
        .. "dport 53 0xffff match ip icmp_code 0 0xff",
      "tc filter add dev v0 ingress protocol ip u32 match ip dsfield 3 0xfc match icmp type 8 0xff match icmp code 0 0xff action drop",
      "tc filter add dev v0 parent 1: pref 9 handle 5: u32 divisor 256", "tc filter add dev v0 ingress matchall action drop",
      "tc filter add dev v0 ingress chain 3 protocol ipv6 matchall skip_hw action pass", "tc filter add dev v0 parent 1: matchall classid 1:7",
      "tc filter add dev v0 egress matchall action police rate 1mbit burst 10kb mtu 2kb drop",
      "tc filter add dev v0 egress matchall action police rate 1mbit burst 10kb conform-exceed drop/pipe action drop",
      "tc filter add dev v0 egress matchall action drop random netrand pass 4", "tc filter add dev v0 egress matchall action goto chain 4",
      "tc filter add dev v0 ingress protocol ip flower ip_proto tcp dst_ip 10.0.0.0/8 src_ip 10.1.2.3 src_port 80 dst_mac "
        .. "02:00:00:00:00:01 action goto chain 4",
      "tc filter add dev v0 ingress protocol ipv6 flower ip_proto udp src_ip 2001:db8::/35 dst_port 53",
      "tc filter add dev v0 ingress protocol 802.1q flower vlan_id 3 vlan_prio 2 action drop",
      "tc filter add dev v0 ingress protocol ip flower ip_proto tcp tcp_flags 0x2/0x12 ip_ttl 3 ip_tos 0x10/0xfc",
      "tc filter add dev v0 ingress protocol ip flower ip_proto icmp type 8 code 0",
      "tc filter add dev v0 egress bpf bytecode '1,6 0 0 4294967295' flowid 1:1",
      "tc filter add dev v0 egress bpf da bytecode '4,40 0 0 12,21 0 1 2048,6 0 0 0,6 0 0 1'",
      "tc filter add block 22 protocol ip pref 3 matchall action drop", "tc filter del block 22 pref 3 protocol ip",
      "tc filter replace dev v0 ingress pref 5 matchall action drop", "tc filter del dev v0 ingress",
      "tc filter del dev v0 ingress pref 5 protocol ip", "tc filter del dev v0 parent 1: pref 5 protocol ip handle 800::800 u32",
    }
  end)

  it("are those of rules", function()
    same {
      "ip rule add from 10.0.0.0/8 to 10.1.0.0/16 tos 0x10 fwmark 0x5/0xff iif v0 oif v1"
        .. " priority 500 table 100",
      "ip rule add not fwmark 7 uidrange 5-9 ipproto tcp sport 5 dport 80-90 lookup main protocol static", "ip rule add priority 9 goto 100",
      "ip -6 rule add from fd00::/8 blackhole", "ip rule add to 10.0.0.0/8 prohibit priority 3", "ip rule add unreachable priority 4",
      "ip rule add nop",
      "ip rule add table 7 suppress_prefixlength 0 suppress_ifgroup 5", "ip rule add l3mdev priority 1000", "ip rule add lookup 5 realms 1/2",
      "ip rule delete priority 500", "ip -6 rule delete from fd00::/8 table 9", "ip rule delete fwmark 0x5 priority 3 blackhole",
    }
  end)

  it("are those of neighbours", function()
    same {
      "ip neighbour add 10.0.0.2 dev v0 lladdr 02:00:00:00:00:01",
      "ip neighbour replace fd00::2 dev v0 lladdr 02:00:00:00:00:01 nud stale router",
      "ip neighbour change 10.0.0.2 dev v0 nud noarp extern_learn", "ip neighbour add proxy 10.0.0.3 dev v0", "ip neighbour add 10.0.0.4 dev v0 use",
      "ip neighbour add 10.0.0.4 dev v0 managed", "ip neighbour delete 10.0.0.2 dev v0", "ip neighbour delete proxy 10.0.0.3 dev v0",
      "ip neighbour add 10.0.0.5 dev v0 nud none protocol static",
    }
  end)
end)
