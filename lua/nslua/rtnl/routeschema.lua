-- The message of routes. rtnetlink(7), linux/rtnetlink.h.

local schema = require "nslua.schema"
require "nslua.rtnl.families" -- enum inet_family
require "nslua.rtnl.encap" -- union route_encap

local header = "linux/rtnetlink.h"

schema.enum("rt_type", { header = header, prefix = "RTN_" }, { unspec = 0, unicast = 1, ["local"] = 2, broadcast = 3, anycast = 4, multicast = 5,
  blackhole = 6, unreachable = 7, prohibit = 8, throw = 9, nat = 10, xresolve = 11 })
schema.flags("rtm_flags", { header = header, prefix = "RTNH_F_", c = { notify = "RTM_F_NOTIFY", cloned = "RTM_F_CLONED", equalize = "RTM_F_EQUALIZE",
  prefix = "RTM_F_PREFIX", lookup_table = "RTM_F_LOOKUP_TABLE", fib_match = "RTM_F_FIB_MATCH", rt_offload = "RTM_F_OFFLOAD",
  rt_trap = "RTM_F_TRAP", offload_failed = "RTM_F_OFFLOAD_FAILED" } }, {
  dead = 1, pervasive = 2, onlink = 4, offload = 8, linkdown = 16, unresolved = 32, trap = 64, notify = 0x100, cloned = 0x200, equalize = 0x400,
  prefix = 0x800, lookup_table = 0x1000, fib_match = 0x2000, rt_offload = 0x4000, rt_trap = 0x8000, offload_failed = 0x20000000 })
schema.flags("rtnh_flags", { header = header, prefix = "RTNH_F_" }, {
  dead = 1, pervasive = 2, onlink = 4, offload = 8, linkdown = 16, unresolved = 32, trap = 64 })
schema.enum("route_pref", { header = "linux/icmpv6.h", prefix = "ICMPV6_ROUTER_PREF_" }, { medium = 0, high = 1, invalid = 2, low = 3 })
schema.flags("rtax_features", { header = header, prefix = "RTAX_FEATURE_" }, { ecn = 1, sack = 2, timestamp = 4, allfrag = 8 })
schema.struct("rtmsg", { c = "struct rtmsg", header = header, prefix = "rtm_" }, [[
  family u8:enum(inet_family)  dst_len u8  src_len u8  tos u8  table8=rtm_table u8  proto_number=rtm_protocol u8  scope_number=rtm_scope u8
  type u8:enum(rt_type)  flags u32:flags(rtm_flags)
]])
schema.struct("rta_cacheinfo", { c = "struct rta_cacheinfo", header = header, prefix = "rta_" }, [[
  clntref u32  lastuse u32  expires s32  error u32  used u32  id u32  ts u32  tsage u32
]])
schema.struct("rta_mfc_stats", { c = "struct rta_mfc_stats", header = header, prefix = "" }, [[
  packets=mfcs_packets u64  bytes=mfcs_bytes u64  wrong_if=mfcs_wrong_if u64
]])
schema.struct("rtvia", { c = "struct rtvia", header = header, prefix = "rtvia_" }, "family u16") -- the address follows
schema.struct("rtnexthop", { c = "struct rtnexthop", header = header, prefix = "rtnh_" }, [[
  len u16  flags u8:flags(rtnh_flags)  hops u8  dev_index=rtnh_ifindex s32
]])
schema.set("route_metrics", { header = header, prefix = "RTAX_" }, [[
  1   LOCK                lock                u32
  2   MTU                 mtu                 u32
  3   WINDOW              window              u32
  4   RTT                 rtt                 u32
  5   RTTVAR              rttvar              u32
  6   SSTHRESH            ssthresh            u32
  7   CWND                cwnd                u32
  8   ADVMSS              advmss              u32
  9   REORDERING          reordering          u32
  10  HOPLIMIT            hoplimit            u32
  11  INITCWND            initcwnd            u32
  12  FEATURES            features            u32:flags(rtax_features)
  13  RTO_MIN             rto_min             u32
  14  INITRWND            initrwnd            u32
  15  QUICKACK            quickack            u32
  16  CC_ALGO             congctl             strz
  17  FASTOPEN_NO_COOKIE  fastopen_no_cookie  u32
]])
schema.set("route_nexthop", { header = header, prefix = "RTA_" }, [[
  5   GATEWAY     gateway     ip
  11  FLOW        realms      u32
  18  VIA         via_bytes   bin
  18  VIA         via_other   struct(rtvia)  writeonly
  19  NEWDST      newdst      array(be32)
  21  ENCAP_TYPE  encap_type  u16:enum(lwt_type)
  22  ENCAP       encap       union(encap_type, route_encap)
]])
schema.set("route", { header = header, prefix = "RTA_" }, [[
  1   DST            dst_address    ip
  2   SRC            src_address    ip
  3   IIF            iif_index      u32
  4   OIF            dev_index      u32
  5   GATEWAY        gateway        ip
  6   PRIORITY       metric         u32
  7   PREFSRC        src            ip
  8   METRICS        metrics        nest(route_metrics)
  9   MULTIPATH      multipath      records(rtnexthop, route_nexthop)
  11  FLOW           realms         u32
  12  CACHEINFO      cacheinfo      struct(rta_cacheinfo)
  15  TABLE          table_number   u32
  16  MARK           mark           u32
  17  MFC_STATS      mfc_stats      struct(rta_mfc_stats)
  18  VIA            via_bytes      bin            -- struct rtvia: a family, then the address
  18  VIA            via_other      struct(rtvia)  writeonly
  19  NEWDST         newdst         array(be32)    -- MPLS labels
  20  PREF           pref           u8:enum(route_pref)
  21  ENCAP_TYPE     encap_type     u16:enum(lwt_type)
  22  ENCAP          encap          union(encap_type, route_encap)
  23  EXPIRES        expires_left   u32
  25  UID            uid            u32
  26  TTL_PROPAGATE  ttl_propagate  bool
  27  IP_PROTO       ipproto        u8
  28  SPORT          sport          be16
  29  DPORT          dport          be16
  30  NH_ID          nhid           u32
]])
schema.message("route", { head = "rtmsg", attrs = "route", c = "ROUTE", header = header, new = 24, del = 25, get = 26 })
