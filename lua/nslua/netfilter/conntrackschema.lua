-- Messages of connection tracking. linux/netfilter/nfnetlink_conntrack.h

local netfilter = require "nslua.netfilter.schema"

local book = netfilter.book "conntrack"
local header = "linux/netfilter/nfnetlink_conntrack.h"

book:flags("status", { header = "linux/netfilter/nf_conntrack_common.h", prefix = "IPS_" }, { expected = 1, seen_reply = 2, assured = 4,
  confirmed = 8,
  src_nat = 16, dst_nat = 32, seq_adjust = 64, src_nat_done = 128, dst_nat_done = 256, dying = 512, fixed_timeout = 1024, template = 2048,
  untracked = 4096, helper = 8192, offload = 16384, hw_offload = 32768 })
-- the words of conntrack(8)
book:enum("tcp_state", { header = "linux/netfilter/nf_conntrack_tcp.h", prefix = "TCP_CONNTRACK_", c = { none = "TCP_CONNTRACK_NONE" } },
  { none = 0, syn_sent = 1, syn_recv = 2, established = 3, fin_wait = 4, close_wait = 5, last_ack = 6, time_wait = 7, close = 8, syn_sent2 = 9 })
book:enum("sctp_state", {}, { none = 0, closed = 1, cookie_wait = 2, cookie_echoed = 3, established = 4, shutdown_sent = 5, shutdown_recd = 6,
  shutdown_ack_sent = 7, heartbeat_sent = 8 })
book:enum("proto", {}, { icmp = 1, tcp = 6, udp = 17, dccp = 33, gre = 47, icmpv6 = 58, sctp = 132, udplite = 136 })

local function set(name, prefix, text)
  book:set(name, { header = header, prefix = "CTA_" .. prefix }, text)
end

set("ip", "IP_", [[
  1   V4_SRC         src4           ip4
  2   V4_DST         dst4           ip4
  3   V6_SRC         src6           ip6
  4   V6_DST         dst6           ip6
]])
set("l4", "PROTO_", [[
  1   NUM            proto          u8:enum(proto)
  2   SRC_PORT       sport          be16
  3   DST_PORT       dport          be16
  4   ICMP_ID        icmp_id        be16
  5   ICMP_TYPE      icmp_type      u8
  6   ICMP_CODE      icmp_code      u8
  7   ICMPV6_ID      icmpv6_id      be16
  8   ICMPV6_TYPE    icmpv6_type    u8
  9   ICMPV6_CODE    icmpv6_code    u8
]])
set("tuple", "TUPLE_", [[
  1   IP             ip             nest(ip)
  2   PROTO          l4             nest(l4)
  3   ZONE           zone           be16
]])
set("tcp", "PROTOINFO_TCP_", [[
  1   STATE            state           u8:enum(tcp_state)
  2   WSCALE_ORIGINAL  wscale_original u8
  3   WSCALE_REPLY     wscale_reply    u8
  4   FLAGS_ORIGINAL   flags_original  bin
  5   FLAGS_REPLY      flags_reply     bin
]])
set("sctp", "PROTOINFO_SCTP_", [[
  1   STATE            state           u8:enum(sctp_state)
  2   VTAG_ORIGINAL    vtag_original   be32
  3   VTAG_REPLY       vtag_reply      be32
]])
set("dccp", "PROTOINFO_DCCP_", [[
  1   STATE            state           u8
  2   ROLE             role            u8
  3   HANDSHAKE_SEQ    handshake_seq   be64
]])
set("protoinfo", "PROTOINFO_", [[
  1   TCP            tcp            nest(tcp)
  2   DCCP           dccp           nest(dccp)
  3   SCTP           sctp           nest(sctp)
]])
set("counters", "COUNTERS_", [[
  1   PACKETS        packets        be64
  2   BYTES          bytes          be64
]])
set("timestamp", "TIMESTAMP_", [[
  1   START          start          be64
  2   STOP           stop           be64
]])
set("help", "HELP_", [[
  1   NAME           name           strz
  2   INFO           info           bin
]])
set("secctx", "SECCTX_", "1 NAME name strz")
set("seqadj", "SEQADJ_", [[
  1   CORRECTION_POS correction_pos be32
  2   OFFSET_BEFORE  offset_before  be32
  3   OFFSET_AFTER   offset_after   be32
]])
set("synproxy", "SYNPROXY_", [[
  1   ISN            isn            be32
  2   ITS            its            be32
  3   TSOFF          tsoff          be32
]])
set("conntrack", "", [[
  1   TUPLE_ORIG     tuple_orig     nest(tuple)
  2   TUPLE_REPLY    tuple_reply    nest(tuple)
  3   STATUS         status         be32:flags(status)
  4   PROTOINFO      protoinfo      nest(protoinfo)
  5   HELP           help           nest(help)
  7   TIMEOUT        timeout        be32
  8   MARK           mark           be32
  9   COUNTERS_ORIG  counters_orig  nest(counters)
  10  COUNTERS_REPLY counters_reply nest(counters)
  11  USE            use            be32
  12  ID             id             be32
  14  TUPLE_MASTER   tuple_master   nest(tuple)
  15  SEQ_ADJ_ORIG   seq_adj_orig   nest(seqadj)
  16  SEQ_ADJ_REPLY  seq_adj_reply  nest(seqadj)
  17  SECMARK        secmark        be32
  18  ZONE           zone           be16
  19  SECCTX         secctx         nest(secctx)
  20  TIMESTAMP      timestamp      nest(timestamp)
  21  MARK_MASK      mark_mask      be32
  22  LABELS         labels         bin
  23  LABELS_MASK    labels_mask    bin
  24  SYNPROXY       synproxy       nest(synproxy)
]])
book:message("conntrack", { head = "nfgenmsg", attrs = "conntrack" })

return book
