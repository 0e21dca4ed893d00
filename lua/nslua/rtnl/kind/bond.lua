-- bond: several links as one, and the options of its ports ("slaves"). linux/if_link.h, linux/if_bonding.h, ip-link(8).
-- Durations are seconds; the kernel counts milliseconds.

local schema = require "nslua.schema"

local bonding_h = "linux/if_bonding.h"

schema.enum("bond_mode", { header = bonding_h, c = { ["balance-rr"] = "BOND_MODE_ROUNDROBIN", ["active-backup"] = "BOND_MODE_ACTIVEBACKUP",
  ["balance-xor"] = "BOND_MODE_XOR", broadcast = "BOND_MODE_BROADCAST", ["802.3ad"] = "BOND_MODE_8023AD", ["balance-tlb"] = "BOND_MODE_TLB",
  ["balance-alb"] = "BOND_MODE_ALB" } }, { ["balance-rr"] = 0, ["active-backup"] = 1, ["balance-xor"] = 2, broadcast = 3, ["802.3ad"] = 4,
  ["balance-tlb"] = 5, ["balance-alb"] = 6 })
schema.enum("bond_hash", { header = bonding_h, c = { layer2 = "BOND_XMIT_POLICY_LAYER2", ["layer3+4"] = "BOND_XMIT_POLICY_LAYER34",
  ["layer2+3"] = "BOND_XMIT_POLICY_LAYER23", ["encap2+3"] = "BOND_XMIT_POLICY_ENCAP23", ["encap3+4"] = "BOND_XMIT_POLICY_ENCAP34",
  ["vlan+srcmac"] = "BOND_XMIT_POLICY_VLAN_SRCMAC" } }, { layer2 = 0, ["layer3+4"] = 1, ["layer2+3"] = 2, ["encap2+3"] = 3, ["encap3+4"] = 4,
  ["vlan+srcmac"] = 5 })
-- numbers of the driver, which no header of user space has
schema.enum("bond_arp_validate", {}, { none = 0, active = 1, backup = 2, all = 3, filter = 4, filter_active = 5, filter_backup = 6 })
schema.enum("bond_arp_all_targets", {}, { any = 0, all = 1 })
schema.enum("bond_primary_reselect", {}, { always = 0, better = 1, failure = 2 })
schema.enum("bond_fail_over_mac", {}, { none = 0, active = 1, follow = 2 })
schema.enum("bond_lacp_rate", {}, { slow = 0, fast = 1 })
schema.enum("bond_ad_select", {}, { stable = 0, bandwidth = 1, count = 2, actor_port_prio = 3 })
schema.enum("bond_state", { header = bonding_h, prefix = "BOND_STATE_" }, { active = 0, backup = 1 })
schema.enum("bond_link", { header = bonding_h, prefix = "BOND_LINK_" }, { up = 0, fail = 1, down = 2, back = 3 })
schema.enum("bond_churn", {}, { monitor = 0, churn = 1, none = 2 })
schema.set("bond_ad_info", { header = "linux/if_link.h", prefix = "IFLA_BOND_AD_INFO_" }, [[
  1  AGGREGATOR   aggregator   u16
  2  NUM_PORTS    num_ports    u16
  3  ACTOR_KEY    actor_key    u16
  4  PARTNER_KEY  partner_key  u16
  5  PARTNER_MAC  partner_mac  lladdr
]])

-- lists of addresses, which the kernel numbers from 0
local lists = { "arp_ip_target", "ns_ip6_target" }

return {
  kind = "bond",
  header = "linux/if_link.h",
  prefix = "IFLA_BOND_",
  attributes = [[
    1   MODE               mode               u8:enum(bond_mode)
    2   ACTIVE_SLAVE       active_slave_index u32
    3   MIIMON             miimon             u32
    4   UPDELAY            updelay            u32
    5   DOWNDELAY          downdelay          u32
    6   USE_CARRIER        use_carrier        bool
    7   ARP_INTERVAL       arp_interval       u32
    8   ARP_IP_TARGET      arp_ip_target      indexed(ip4)
    9   ARP_VALIDATE       arp_validate       u32:enum(bond_arp_validate)
    10  ARP_ALL_TARGETS    arp_all_targets    u32:enum(bond_arp_all_targets)
    11  PRIMARY            primary_index      u32
    12  PRIMARY_RESELECT   primary_reselect   u8:enum(bond_primary_reselect)
    13  FAIL_OVER_MAC      fail_over_mac      u8:enum(bond_fail_over_mac)
    14  XMIT_HASH_POLICY   xmit_hash_policy   u8:enum(bond_hash)
    15  RESEND_IGMP        resend_igmp        u32
    16  NUM_PEER_NOTIF     num_peer_notif     u8
    17  ALL_SLAVES_ACTIVE  all_slaves_active  bool
    18  MIN_LINKS          min_links          u32
    19  LP_INTERVAL        lp_interval        u32   -- seconds
    20  PACKETS_PER_SLAVE  packets_per_slave  u32
    21  AD_LACP_RATE       lacp_rate          u8:enum(bond_lacp_rate)
    22  AD_SELECT          ad_select          u8:enum(bond_ad_select)
    23  AD_INFO            ad_info            nest(bond_ad_info)
    24  AD_ACTOR_SYS_PRIO  ad_actor_sys_prio  u16
    25  AD_USER_PORT_KEY   ad_user_port_key   u16
    26  AD_ACTOR_SYSTEM    ad_actor_system    lladdr
    27  TLB_DYNAMIC_LB     tlb_dynamic_lb     bool
    28  PEER_NOTIF_DELAY   peer_notify_delay  u32
    29  AD_LACP_ACTIVE     lacp_active        bool
    30  MISSED_MAX         arp_missed_max     u8
    31  NS_IP6_TARGET      ns_ip6_target      indexed(ip6)
    32  COUPLED_CONTROL    coupled_control    bool
    33  +BROADCAST_NEIGH   broadcast_neighbor bool   -- 6.17
    34  +LACP_STRICT       lacp_strict        bool
  ]],
  dev = { active_slave = "active_slave_index", primary = "primary_index" },
  seconds = { miimon = 1000, updelay = 1000, downdelay = 1000, arp_interval = 1000, peer_notify_delay = 1000, lp_interval = 1 },
  spelled = { num_grat_arp = "num_peer_notif", num_unsol_na = "num_peer_notif" },
  write = function(data)
    for _, word in ipairs(lists) do
      local list = data[word]
      if type(list) == "table" then
        local from_0 = {}
        for i, address in ipairs(list) do
          from_0[i - 1] = address
        end
        data[word] = from_0
      end
    end
  end,
  read = function(data)
    for _, word in ipairs(lists) do
      local list
      if type(data[word]) == "table" then
        for i = 0, 15 do -- BOND_MAX_ARP_TARGETS, BOND_MAX_NS_TARGETS
          local address = data[word][i]
          if address then
            list = list or {}
            list[#list + 1] = address
          end
        end
      end
      data[word] = list
    end
  end,

  port = {
    header = "linux/if_link.h",
    prefix = "IFLA_BOND_SLAVE_",
    attributes = [[
      1   STATE                       state                       u8:enum(bond_state)
      2   MII_STATUS                  mii_status                  u8:enum(bond_link)
      3   LINK_FAILURE_COUNT          link_failure_count          u32
      4   PERM_HWADDR                 perm_hwaddr                 lladdr
      5   QUEUE_ID                    queue_id                    u16
      6   AD_AGGREGATOR_ID            ad_aggregator_id            u16
      7   AD_ACTOR_OPER_PORT_STATE    ad_actor_oper_port_state    u8
      8   AD_PARTNER_OPER_PORT_STATE  ad_partner_oper_port_state  u16
      9   PRIO                        prio                        s32
      10  ACTOR_PORT_PRIO             actor_port_prio             u16
      11  AD_CHURN_ACTOR_STATE        ad_churn_actor_state        u8:enum(bond_churn)
      12  AD_CHURN_PARTNER_STATE      ad_churn_partner_state      u8:enum(bond_churn)
    ]],
  },
}
