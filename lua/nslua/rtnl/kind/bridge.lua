-- bridge: a switch in software, and the options of its ports. linux/if_link.h, ip-link(8), bridge(8).
-- Times are seconds; the kernel counts hundredths (USER_HZ).

local bits = require "nslua.rtnl.kind.bits"
local schema = require "nslua.schema"
require "nslua.rtnl.kind.vlan" -- enum vlan_protocol

local link_h = "linux/if_link.h"

schema.struct("bridge_id", { c = "struct ifla_bridge_id", header = link_h }, [[ prio be16  addr bytes(6) ]])
schema.struct("bridge_boolopts", { c = "struct br_boolopt_multi", header = "linux/if_bridge.h" }, [[ optval u32  optmask u32 ]])
schema.set("bridge_querier", { header = "linux/if_bridge.h", prefix = "BRIDGE_QUERIER_" }, [[
  1  IP_ADDRESS        ip_address        ip4
  2  IP_PORT           ip_port           u32
  3  IP_OTHER_TIMER    ip_other_timer    u64
  5  IPV6_ADDRESS      ipv6_address      ip6
  6  IPV6_PORT         ipv6_port         u32
  7  IPV6_OTHER_TIMER  ipv6_other_timer  u64
]])
schema.enum("bridge_port_state", { header = "linux/if_bridge.h", prefix = "BR_STATE_" },
  { disabled = 0, listening = 1, learning = 2, forwarding = 3, blocking = 4 })
schema.enum("bridge_stp_mode", {}, { auto = 0, user = 1, kernel = 2 })

-- "8000.02:00:00:00:00:01", as bridge(8) prints it
local function bridge_id(id)
  return id and ("%04x.%02x:%02x:%02x:%02x:%02x:%02x"):format(id.prio, id.addr:byte(1, 6))
end

-- BR_BOOLOPT_*: the first 5.0; mst_enabled 5.18, the others 6.14 and 6.18
local options = { no_linklocal_learn = 1, mcast_vlan_snooping = 2, mst_enabled = 4, mdb_offload_fail_notification = 8, fdb_local_vlan_0 = 16 }

return {
  kind = "bridge",
  header = link_h,
  prefix = "IFLA_BR_",
  attributes = [[
    1   FORWARD_DELAY             forward_delay             u32
    2   HELLO_TIME                hello_time                u32
    3   MAX_AGE                   max_age                   u32
    4   AGEING_TIME               ageing_time               u32
    5   STP_STATE                 stp_state                 u32
    6   PRIORITY                  priority                  u16
    7   VLAN_FILTERING            vlan_filtering            bool
    8   VLAN_PROTOCOL             vlan_protocol             be16:enum(vlan_protocol)
    9   GROUP_FWD_MASK            group_fwd_mask            u16
    10  ROOT_ID                   root_id                   struct(bridge_id)
    11  BRIDGE_ID                 bridge_id                 struct(bridge_id)
    12  ROOT_PORT                 root_port                 u16
    13  ROOT_PATH_COST            root_path_cost            u32
    14  TOPOLOGY_CHANGE           topology_change           bool
    15  TOPOLOGY_CHANGE_DETECTED  topology_change_detected  bool
    16  HELLO_TIMER               hello_timer               u64
    17  TCN_TIMER                 tcn_timer                 u64
    18  TOPOLOGY_CHANGE_TIMER     topology_change_timer     u64
    19  GC_TIMER                  gc_timer                  u64
    20  GROUP_ADDR                group_addr                lladdr
    21  FDB_FLUSH                 fdb_flush                 flag
    22  MCAST_ROUTER              mcast_router              u8
    23  MCAST_SNOOPING            mcast_snooping            bool
    24  MCAST_QUERY_USE_IFADDR    mcast_query_use_ifaddr    bool
    25  MCAST_QUERIER             mcast_querier             bool
    26  MCAST_HASH_ELASTICITY     mcast_hash_elasticity     u32
    27  MCAST_HASH_MAX            mcast_hash_max            u32
    28  MCAST_LAST_MEMBER_CNT     mcast_last_member_cnt     u32
    29  MCAST_STARTUP_QUERY_CNT   mcast_startup_query_cnt   u32
    30  MCAST_LAST_MEMBER_INTVL   mcast_last_member_intvl   u64
    31  MCAST_MEMBERSHIP_INTVL    mcast_membership_intvl    u64
    32  MCAST_QUERIER_INTVL       mcast_querier_intvl       u64
    33  MCAST_QUERY_INTVL         mcast_query_intvl         u64
    34  MCAST_QUERY_RESPONSE_INTVL  mcast_query_response_intvl  u64
    35  MCAST_STARTUP_QUERY_INTVL   mcast_startup_query_intvl   u64
    36  NF_CALL_IPTABLES          nf_call_iptables          bool
    37  NF_CALL_IP6TABLES         nf_call_ip6tables         bool
    38  NF_CALL_ARPTABLES         nf_call_arptables         bool
    39  VLAN_DEFAULT_PVID         vlan_default_pvid         u16
    41  VLAN_STATS_ENABLED        vlan_stats_enabled        bool
    42  MCAST_STATS_ENABLED       mcast_stats_enabled       bool
    43  MCAST_IGMP_VERSION        mcast_igmp_version        u8
    44  MCAST_MLD_VERSION         mcast_mld_version         u8
    45  VLAN_STATS_PER_PORT       vlan_stats_per_port       bool
    46  MULTI_BOOLOPT             boolopts                  struct(bridge_boolopts)
    47  MCAST_QUERIER_STATE       mcast_querier_state       nest(bridge_querier)
    48  +FDB_N_LEARNED            fdb_n_learned             u32   -- 6.7
    49  +FDB_MAX_LEARNED          fdb_max_learned           u32
    50  +STP_MODE                 stp_mode                  u32:enum(bridge_stp_mode)
  ]],
  hidden = { "boolopts" },
  words = bits.booleans(options),
  spelled = { group_address = "group_addr", mcast_last_member_count = "mcast_last_member_cnt", mcast_startup_query_count = "mcast_startup_query_cnt",
    mcast_last_member_interval = "mcast_last_member_intvl", mcast_membership_interval = "mcast_membership_intvl",
    mcast_querier_interval = "mcast_querier_intvl", mcast_query_interval = "mcast_query_intvl",
    mcast_query_response_interval = "mcast_query_response_intvl", mcast_startup_query_interval = "mcast_startup_query_intvl" },
  yes_no = { stp_state = true },
  seconds = { forward_delay = 100, hello_time = 100, max_age = 100, ageing_time = 100, hello_timer = 100, tcn_timer = 100,
    topology_change_timer = 100, gc_timer = 100, mcast_last_member_intvl = 100, mcast_membership_intvl = 100,
    mcast_querier_intvl = 100, mcast_query_intvl = 100, mcast_query_response_intvl = 100, mcast_startup_query_intvl = 100 },
  write = function(data)
    local mask = bits.write(data, "boolopts", options)
    if mask then
      data.boolopts = { optval = data.boolopts, optmask = mask }
    end
  end,
  read = function(data)
    if data.boolopts then
      local has, mask = data.boolopts.optval, data.boolopts.optmask
      for word, bit in pairs(options) do
        if bits.has(mask, bit) then -- the kernel knows it
          data[word] = bits.has(has, bit)
        end
      end
    end
    data.root_id, data.bridge_id = bridge_id(data.root_id), bridge_id(data.bridge_id)
  end,

  port = {
    header = link_h,
    prefix = "IFLA_BRPORT_",
    attributes = [[
      1   STATE                state                u8:enum(bridge_port_state)
      2   PRIORITY             priority             u16
      3   COST                 cost                 u32
      4   MODE                 hairpin              bool
      5   GUARD                guard                bool
      6   PROTECT              root_block           bool
      7   FAST_LEAVE           fastleave            bool
      8   LEARNING             learning             bool
      9   UNICAST_FLOOD        flood                bool
      10  PROXYARP             proxy_arp            bool
      11  LEARNING_SYNC        learning_sync        bool
      12  PROXYARP_WIFI        proxy_arp_wifi       bool
      13  ROOT_ID              root_id              struct(bridge_id)
      14  BRIDGE_ID            bridge_id            struct(bridge_id)
      15  DESIGNATED_PORT      designated_port      u16
      16  DESIGNATED_COST      designated_cost      u16
      17  ID                   id                   u16
      18  NO                   no                   u16
      19  TOPOLOGY_CHANGE_ACK  topology_change_ack  bool
      20  CONFIG_PENDING       config_pending       bool
      21  MESSAGE_AGE_TIMER    message_age_timer    u64
      22  FORWARD_DELAY_TIMER  forward_delay_timer  u64
      23  HOLD_TIMER           hold_timer           u64
      24  FLUSH                flush                flag
      25  MULTICAST_ROUTER     mcast_router         u8
      27  MCAST_FLOOD          mcast_flood          bool
      28  MCAST_TO_UCAST       mcast_to_unicast     bool
      29  VLAN_TUNNEL          vlan_tunnel          bool
      30  BCAST_FLOOD          bcast_flood          bool
      31  GROUP_FWD_MASK       group_fwd_mask       u16
      32  NEIGH_SUPPRESS       neigh_suppress       bool
      33  ISOLATED             isolated             bool
      34  BACKUP_PORT          backup_port_index    u32
      35  MRP_RING_OPEN        mrp_ring_open        bool
      36  MRP_IN_OPEN          mrp_in_open          bool
      37  MCAST_EHT_HOSTS_LIMIT  mcast_eht_hosts_limit  u32
      38  MCAST_EHT_HOSTS_CNT    mcast_eht_hosts_cnt    u32
      39  LOCKED               locked               bool
      40  +MAB                 mab                  bool   -- 6.2
      41  +MCAST_N_GROUPS      mcast_n_groups       u32    -- 6.3
      42  +MCAST_MAX_GROUPS    mcast_max_groups     u32
      43  +NEIGH_VLAN_SUPPRESS  neigh_vlan_suppress  bool   -- 6.4
      44  +BACKUP_NHID         backup_nhid          u32    -- 6.6
      45  +NEIGH_FORWARD_GRAT  neigh_forward_grat   bool
    ]],
    dev = { backup_port = "backup_port_index" },
    spelled = { mcast_fast_leave = "fastleave", fdb_flush = "flush" },
    seconds = { message_age_timer = 100, forward_delay_timer = 100, hold_timer = 100 },
    read = function(data)
      data.root_id, data.bridge_id = bridge_id(data.root_id), bridge_id(data.bridge_id)
    end,
  },
}
