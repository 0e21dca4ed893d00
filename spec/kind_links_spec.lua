-- Links on links, and links that are alone: vlan, macvlan, macvtap, ipvlan, ipvtap, macsec, hsr, bond, vrf, bridge, vxlan, veth, dummy, ifb,
-- nlmon; and the options of their ports.

local kinds = require "spec.kinds"
local rtnl = require "spec.rtnl_helper"

local pair = { "link add v0 type veth peer name v1" }

local function skip(reason)
  pending(reason)
end

describe("links", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(rtnl.close)

  kinds.specs(it, skip, {
    { ip = "link v0 type vlan id 5", before = pair, t = { kind = "vlan", link = "v0", vlan = { id = 5 } }, change = { gvrp = true },
      other = { flags = false } },
    { ip = "link v0 type vlan protocol 802.1ad id 4094 reorder_hdr off gvrp on mvrp off loose_binding on bridge_binding off "
      .. "ingress-qos-map 1:2 3:4 egress-qos-map 5:6", before = pair,
      t = { kind = "vlan", link = "v0", vlan = { id = 4094, protocol = "802.1ad", reorder_hdr = false, gvrp = true, mvrp = false,
        loose_binding = true,
        bridge_binding = false, ingress_qos_map = { { from = 1, to = 2 }, { from = 3, to = 4 } }, egress_qos_map = { { from = 5, to = 6 } } } },
      change = { gvrp = false }, other = { flags = false, ingress_qos = false, egress_qos = false } },
    { ip = "link v0 type macvlan mode private bcqueuelen 500", before = pair,
      t = { kind = "macvlan", link = "v0", macvlan = { mode = "private", bcqueuelen = 500 } }, change = { mode = "vepa" } },
    { ip = "link v0 type macvlan mode passthru nopromisc", before = pair,
      t = { kind = "macvlan", link = "v0", macvlan = { mode = "passthru", flags = { "nopromisc" } } } },
    { ip = "link v0 type macvtap mode bridge", before = pair, t = { kind = "macvtap", link = "v0", macvtap = { mode = "bridge" } } },
    { ip = "link v0 type ipvlan mode l3 private", before = pair, t = { kind = "ipvlan", link = "v0", ipvlan = { mode = "l3", flags = "private" } },
      change = { mode = "l2" } },
    { ip = "link v0 type ipvlan mode l3s bridge", before = pair, t = { kind = "ipvlan", link = "v0", ipvlan = { mode = "l3s", flags = "bridge" } } },
    { ip = "link v0 type ipvtap mode l2 vepa", before = pair, t = { kind = "ipvtap", link = "v0", ipvtap = { mode = "l2", flags = "vepa" } } },
    { ip = "link v0 type macsec port 7 cipher gcm-aes-256 icvlen 16 encrypt on send_sci on scb off protect on replay on window 32 validate strict",
      before = pair, t = { kind = "macsec", link = "v0", macsec = { port = 7, cipher = "gcm-aes-256", icvlen = 16, encrypt = true, send_sci = true,
        scb = false, protect = true, replay = true, window = 32, validate = "strict" } }, change = { encrypt = false } },
    { ip = "link v0 type macsec sci 0200000000010001 encodingsa 2 send_sci on validate check", before = pair,
      t = { kind = "macsec", link = "v0", macsec = { sci = "0200000000010001", encodingsa = 2, send_sci = true, validate = "check" } } },
    { ip = "type hsr slave1 v0 slave2 v1 supervision 45 version 1", before = pair,
      t = { kind = "hsr", hsr = { slave1 = "v0", slave2 = "v1", supervision = 45, version = 1 } } },
    { ip = "type hsr slave1 v0 slave2 v1 proto 1", before = pair,
      t = { kind = "hsr", hsr = { slave1 = "v0", slave2 = "v1", proto = "prp" } } },
    { ip = "type bond mode active-backup miimon 100 updelay 200 downdelay 300 primary_reselect better fail_over_mac active num_grat_arp 3 "
      .. "peer_notify_delay 400 resend_igmp 2 min_links 0 all_slaves_active 1 use_carrier 1",
      t = { kind = "bond", bond = { mode = "active-backup", miimon = "100ms", updelay = 0.2, downdelay = 0.3, primary_reselect = "better",
        fail_over_mac = "active", num_grat_arp = 3, peer_notify_delay = 0.4, resend_igmp = 2, min_links = 0, all_slaves_active = true,
        use_carrier = true } }, change = { resend_igmp = 5 } },
    { ip = "type bond mode 802.3ad miimon 100 lacp_rate fast ad_select bandwidth xmit_hash_policy layer3+4 ad_actor_sys_prio 9 ad_user_port_key 7 "
      .. "ad_actor_system 02:00:00:00:00:09 lacp_active off lp_interval 2 min_links 2",
      t = { kind = "bond", bond = { mode = "802.3ad", miimon = 0.1, lacp_rate = "fast", ad_select = "bandwidth", xmit_hash_policy = "layer3+4",
        ad_actor_sys_prio = 9, ad_user_port_key = 7, ad_actor_system = "02:00:00:00:00:09", lacp_active = false, lp_interval = 2, min_links = 2 } },
      change = { xmit_hash_policy = "vlan+srcmac" } },
    { ip = "type bond mode active-backup arp_interval 500 arp_ip_target 10.0.0.1,10.0.0.2 arp_validate all arp_all_targets all arp_missed_max 4",
      t = { kind = "bond", bond = { mode = "active-backup", arp_interval = 0.5, arp_ip_target = { "10.0.0.1", "10.0.0.2" }, arp_validate = "all",
        arp_all_targets = "all", arp_missed_max = 4 } }, change = { arp_ip_target = { "10.0.0.3" } } },
    { ip = "type bond mode active-backup arp_interval 500 ns_ip6_target 2001:db8::1,2001:db8::2",
      t = { kind = "bond", bond = { mode = "active-backup", arp_interval = 0.5, ns_ip6_target = { "2001:db8::1", "2001:db8::2" } } } },
    { ip = "type bond mode balance-rr packets_per_slave 7", t = { kind = "bond", bond = { mode = "balance-rr", packets_per_slave = 7 } } },
    { ip = "type bond mode balance-tlb tlb_dynamic_lb 0", t = { kind = "bond", bond = { mode = "balance-tlb", tlb_dynamic_lb = false } } },
    { ip = "type vrf table 1234", t = { kind = "vrf", vrf = { table = 1234 } } },
    { ip = "type bridge forward_delay 400 hello_time 100 max_age 1200 ageing_time 9000 stp_state 1 priority 8192 group_fwd_mask 8 mcast_snooping 0 "
      .. "mcast_querier 1 no_linklocal_learn 1 mcast_query_interval 10000 vlan_stats_per_port 0",
      t = { kind = "bridge", bridge = { forward_delay = 4, hello_time = 1, max_age = 12, ageing_time = 90, stp_state = true, priority = 8192,
        group_fwd_mask = 8, mcast_snooping = false, mcast_querier = true, no_linklocal_learn = true, mcast_query_interval = 100,
        vlan_stats_per_port = false } }, other = kinds.bridge, change = { max_age = 13 } },
    { ip = "type bridge vlan_filtering 1 vlan_protocol 802.1ad vlan_default_pvid 7 vlan_stats_enabled 1 nf_call_iptables 1 mcast_vlan_snooping 0",
      t = { kind = "bridge", bridge = { vlan_filtering = true, vlan_protocol = "802.1ad", vlan_default_pvid = 7, vlan_stats_enabled = true,
        nf_call_iptables = true, mcast_vlan_snooping = false } }, other = kinds.bridge, built = "vlan_filtering" },
    { ip = "type vxlan id 42 dstport 4789 dev v0 group 239.1.1.1 local 10.0.0.1 ttl 9 tos 4 nolearning ageing 120 maxaddress 99 proxy rsc l2miss "
      .. "l3miss srcport 1000 2000 udpcsum", before = pair, t = { kind = "vxlan", vxlan = { id = 42, dstport = 4789, dev = "v0", group = "239.1.1.1",
        local_ = "10.0.0.1", ttl = 9, tos = 4, learning = false, ageing = "2m", maxaddress = 99, proxy = true, rsc = true, l2miss = true,
        l3miss = true, port_range = { low = 1000, high = 2000 }, udpcsum = true } }, change = { ageing = 99 } },
    { ip = "type vxlan id 43 dstport 4790 remote 2001:db8::2 local 2001:db8::1 ttl inherit flowlabel 0x12345 df inherit udp6zerocsumtx "
      .. "udp6zerocsumrx gbp", t = { kind = "vxlan", vxlan = { id = 43, port = 4790, remote = "2001:db8::2", local_ = "2001:db8::1",
        ttl_inherit = true,
        label = 0x12345, df = "inherit", udp_zero_csum6_tx = true, udp_zero_csum6_rx = true, gbp = true, learning = true } } },
    { ip = "type vxlan dstport 4791 external vnifilter", t = { kind = "vxlan", vxlan = { port = 4791, external = true, vnifilter = true,
        learning = false } } },
    { ip = "mtu 1400 address 02:00:00:00:00:01 txqueuelen 77 numtxqueues 1 numrxqueues 2 type veth peer name y0 mtu 1300 address 02:00:00:00:00:02",
      t = { kind = "veth", mtu = 1400, address = "02:00:00:00:00:01", txqlen = 77, numtxqueues = 1, numrxqueues = 2,
        peer = { name = "y0", mtu = 1300, address = "02:00:00:00:00:02" } } },
    { ip = "type dummy", t = { kind = "dummy" } },
    { ip = "type ifb", t = { kind = "ifb" } },
    { ip = "type nlmon", t = { kind = "nlmon" } },
  })

  local function port(ip, master, words)
    it("send a port's options as ip(8) does: " .. ip, function()
      local trace = kinds.cannot_trace()
      if trace then
        return pending(trace)
      end
      local handle = rtnl.netns "a"
      rtnl.set(handle, pair[1])
      rtnl.set(handle, "link add v2 type veth peer name v3")
      kinds.same_port(kinds.sent(handle, "link set dev v0 " .. ip), kinds.port(handle, master, words), ip)
    end)
  end
  port("type bond_slave queue_id 7", "bond", { queue_id = 7 })
  port("type bond_slave prio -5", "bond", { prio = -5 })
  port("type bridge_slave state 3 priority 5 cost 9 hairpin on guard off root_block on fastleave off learning on flood off isolated on", "bridge",
    { state = "forwarding", priority = 5, cost = 9, hairpin = true, guard = false, root_block = true, fastleave = false, learning = true,
        flood = false,
      isolated = true })
  port("type bridge_slave proxy_arp on proxy_arp_wifi off mcast_router 2 mcast_flood off mcast_to_unicast on bcast_flood off group_fwd_mask 8 "
    .. "neigh_suppress on vlan_tunnel off locked on backup_port v2", "bridge", { proxy_arp = true, proxy_arp_wifi = false, mcast_router = 2,
    mcast_flood = false, mcast_to_unicast = true, bcast_flood = false, group_fwd_mask = 8, neigh_suppress = true, vlan_tunnel = false, locked = true,
    backup_port = "v2" })
  port("type bridge_slave nobackup_port fdb_flush", "bridge", { backup_port = false, fdb_flush = true })
end)
