-- Messages of sock_diag(7): requests and answers for internet, unix, packet and netlink sockets, in a book of their own.

local books = require "nslua.schema.book"

local book = books.new "sock_diag: "
book.name = "sockets"

local inet, unix, packet, link = "linux/inet_diag.h", "linux/unix_diag.h", "linux/packet_diag.h", "linux/netlink_diag.h"

-- include/net/tcp_states.h, which is no UAPI; the words of ss(8)
book:enum("state", {}, { established = 1, ["syn-sent"] = 2, ["syn-recv"] = 3, ["fin-wait-1"] = 4, ["fin-wait-2"] = 5, ["time-wait"] = 6, closed = 7,
  ["close-wait"] = 8, ["last-ack"] = 9, listen = 10, closing = 11, ["new-syn-recv"] = 12 })
book:enum("family", {}, { unix = 1, inet = 2, inet6 = 10, netlink = 16, packet = 17 })
book:enum("type", {}, { stream = 1, dgram = 2, raw = 3, rdm = 4, seqpacket = 5, dccp = 6, packet = 10 })
book:enum("ca_state", { header = "linux/tcp.h", prefix = "TCP_CA_", c = { open = "TCP_CA_Open", disorder = "TCP_CA_Disorder",
  recovery = "TCP_CA_Recovery", loss = "TCP_CA_Loss" } }, { open = 0, disorder = 1, cwr = 2, recovery = 3, loss = 4 })
-- linux/tcp.h
book:flags("tcp_option", { header = "linux/tcp.h", prefix = "TCPI_OPT_", c = { usec_ts = "+TCPI_OPT_USEC_TS", tfo_child = "+TCPI_OPT_TFO_CHILD" } },
  { timestamps = 1, sack = 2, wscale = 4, ecn = 8, ecn_seen = 16, syn_data = 32, usec_ts = 64, tfo_child = 128 })
book:flags("shutdown", {}, { receive = 1, send = 2 })
book:flags("packet_flag", { header = packet, prefix = "PDI_" }, { running = 1, auxdata = 2, origdev = 4, vnethdr = 8, loss = 16 })
book:flags("netlink_flag", { header = link, prefix = "NDIAG_FLAG_", c = { ext_ack = "+NDIAG_FLAG_EXT_ACK", strict_chk = "+NDIAG_FLAG_STRICT_CHK" } },
  { cb_running = 1, pktinfo = 2, broadcast_error = 4, no_enobufs = 8, listen_all_nsid = 16, cap_ack = 32, ext_ack = 64, strict_chk = 128 })
book:enum("netlink_protocol", { header = "linux/netlink.h", prefix = "NETLINK_" }, { route = 0, usersock = 2, firewall = 3, sock_diag = 4, nflog = 5,
  xfrm = 6, selinux = 7, iscsi = 8, audit = 9, fib_lookup = 10, connector = 11, netfilter = 12, ip6_fw = 13, dnrtmsg = 14, kobject_uevent = 15,
  generic = 16, scsitransport = 18, ecryptfs = 19, rdma = 20, crypto = 21, smc = 22 })

book:struct("sockid", { c = "struct inet_diag_sockid", header = inet, prefix = "idiag_" }, [[
  sport be16  dport be16  src bytes(16)  dst bytes(16)  dev_index=idiag_if u32  cookie array(u32,2)
]])
book:struct("inet_request", { c = "struct inet_diag_req_v2", header = inet }, [[
  family u8  protocol u8  ext u8  pad(1)  states u32  id struct(sockid)
]])
book:struct("inet_message", { c = "struct inet_diag_msg", header = inet, prefix = "idiag_" }, [[
  family u8:enum(family)  state u8:enum(state)  timer u8  retrans u8  id=id struct(sockid)
  expires u32  recv_queue=idiag_rqueue u32  send_queue=idiag_wqueue u32  uid u32  inode u32
]])
book:struct("meminfo", { c = "struct inet_diag_meminfo", header = inet, prefix = "idiag_" }, "rmem u32  wmem u32  fmem u32  tmem u32")
-- SK_MEMINFO_* of linux/sock_diag.h, in the words of ss(8)
book:struct("memory", {}, [[
  rmem_alloc u32  rcv_buf u32  wmem_alloc u32  snd_buf u32  fwd_alloc u32  wmem_queued u32  opt_mem u32  back_log u32  sock_drop u32
]])
-- linux/tcp.h; the kernel may tell less of it, or more
book:struct("tcp_info", {}, [[
  state u8:enum(state)  ca_state u8:enum(ca_state)  retransmits u8  probes u8  backoff u8  options u8:flags(tcp_option)  wscale u8  bits u8
  rto u32  ato u32  snd_mss u32  rcv_mss u32
  unacked u32  sacked u32  lost u32  retrans u32  fackets u32
  last_data_sent u32  last_ack_sent u32  last_data_recv u32  last_ack_recv u32
  pmtu u32  rcv_ssthresh u32  rtt u32  rttvar u32  snd_ssthresh u32  snd_cwnd u32  advmss u32  reordering u32
  rcv_rtt u32  rcv_space u32  total_retrans u32
  pacing_rate u64  max_pacing_rate u64  bytes_acked u64  bytes_received u64  segs_out u32  segs_in u32
  notsent_bytes u32  min_rtt u32  data_segs_in u32  data_segs_out u32
  delivery_rate u64  busy_time u64  rwnd_limited u64  sndbuf_limited u64
  delivered u32  delivered_ce u32  bytes_sent u64  bytes_retrans u64  dsack_dups u32  reord_seen u32
  rcv_ooopack u32  snd_wnd u32  rcv_wnd u32  rehash u32  total_rto u16  total_rto_recoveries u16  total_rto_time u32
  received_ce u32  delivered_e1_bytes u32  delivered_e0_bytes u32  delivered_ce_bytes u32
  received_e1_bytes u32  received_e0_bytes u32  received_ce_bytes u32
]]) -- a word of AccECN follows, which Linux 6.18 and 7.0 lay out in two ways; its size does not tell which
book:struct("bbr", { c = "struct tcp_bbr_info", header = inet, prefix = "bbr_" }, "bw_lo u32  bw_hi u32  min_rtt u32  pacing_gain u32  cwnd_gain u32")
book:struct("dctcp", { c = "struct tcp_dctcp_info", header = inet, prefix = "dctcp_" },
  "enabled u16  ce_state u16  alpha u32  ab_ecn u32  ab_tot u32")
book:struct("vegas", { c = "struct tcpvegas_info", header = inet, prefix = "tcpv_" }, "enabled u32  rttcnt u32  rtt u32  minrtt u32")

book:set("inet_request", { header = inet, prefix = "INET_DIAG_REQ_" }, [[
  1   BYTECODE         bytecode        bin
  3   PROTOCOL         proto_number    u32
]])
book:set("inet", { header = inet, prefix = "INET_DIAG_" }, [[
  1   MEMINFO          meminfo         struct(meminfo)
  2   INFO             info            bin             -- struct tcp_info, of MPTCP another
  3   VEGASINFO        vegas           struct(vegas)
  4   CONG             congestion      strz
  5   TOS              tos             u8
  6   TCLASS           tclass          u8
  7   SKMEMINFO        memory          struct(memory)
  8   SHUTDOWN         shutdown_bits   u8:flags(shutdown)
  9   DCTCPINFO        dctcp           struct(dctcp)
  10  PROTOCOL         protocol        u8
  11  SKV6ONLY         v6only          u8
  15  MARK             mark            u32
  16  BBRINFO          bbr             struct(bbr)
  17  CLASS_ID         class_id        u32
  21  CGROUP_ID        cgroup          u64
  22  SOCKOPT          sockopt         bin
]])
-- filters: operations, and what stands behind some of them
book:struct("op", { c = "struct inet_diag_bc_op", header = inet, prefix = "" }, "code u8  yes u8  no u16")
book:struct("hostcond", { c = "struct inet_diag_hostcond", header = inet, prefix = "" }, "family u8  prefix_len u8  pad(2)  port s32")
book:struct("word", {}, "value u32")
for _, name in ipairs { "op", "hostcond", "word" } do
  book:message(name, { head = name })
end
book:message("inet_request", { head = "inet_request", attrs = "inet_request" })
book:message("inet", { head = "inet_message", attrs = "inet" })
book:message("tcp_info", { head = "tcp_info" })

book:struct("unix_request", { c = "struct unix_diag_req", header = unix },
  "family u8  protocol u8  pad(2)  states u32  inode u32  show u32  cookie array(u32,2)")
book:struct("unix_message", { c = "struct unix_diag_msg", header = unix, prefix = "udiag_" }, [[
  family u8:enum(family)  type u8:enum(type)  state u8:enum(state)  pad(1)  inode=udiag_ino u32  cookie_words=udiag_cookie array(u32,2)
]])
book:struct("unix_vfs", { c = "struct unix_diag_vfs", header = unix, prefix = "udiag_vfs_" }, "inode=udiag_vfs_ino u32  dev u32")
book:struct("unix_queues", { c = "struct unix_diag_rqlen", header = unix, prefix = "udiag_" }, "recv=udiag_rqueue u32  send=udiag_wqueue u32")
book:set("unix", { header = unix, prefix = "UNIX_DIAG_" }, [[
  0   NAME      name           bin
  1   VFS       vfs            struct(unix_vfs)
  2   PEER      peer           u32
  3   ICONS     pending        array(u32)
  4   RQLEN     queues         struct(unix_queues)
  5   MEMINFO   memory         struct(memory)
  6   SHUTDOWN  shutdown_bits  u8:flags(shutdown)
  7   UID       uid            u32
]])
book:message("unix_request", { head = "unix_request" })
book:message("unix", { head = "unix_message", attrs = "unix" })

book:struct("packet_request", { c = "struct packet_diag_req", header = packet },
  "family u8  protocol u8  pad(2)  inode u32  show u32  cookie array(u32,2)")
book:struct("packet_message", { c = "struct packet_diag_msg", header = packet, prefix = "pdiag_" }, [[
  family u8:enum(family)  type u8:enum(type)  protocol=pdiag_num u16  inode=pdiag_ino u32  cookie_words=pdiag_cookie array(u32,2)
]])
book:struct("packet_info", { c = "struct packet_diag_info", header = packet, prefix = "pdi_" }, [[
  index u32  version u32  reserve u32  copy_thresh u32  tstamp u32  flags u32:flags(packet_flag)
]])
book:struct("packet_ring", { c = "struct packet_diag_ring", header = packet, prefix = "pdr_" }, [[
  block_size u32  block_nr u32  frame_size u32  frame_nr u32  retire_tmo u32  sizeof_priv u32  features u32
]])
book:set("packet", { header = packet, prefix = "PACKET_DIAG_" }, [[
  0   INFO      info     struct(packet_info)
  1   MCLIST    mclist   bin
  2   RX_RING   rx_ring  struct(packet_ring)
  3   TX_RING   tx_ring  struct(packet_ring)
  4   FANOUT    fanout   u32
  5   UID       uid      u32
  6   MEMINFO   memory   struct(memory)
  7   FILTER    filter   bin
]])
book:message("packet_request", { head = "packet_request" })
book:message("packet", { head = "packet_message", attrs = "packet" })

book:struct("netlink_request", { c = "struct netlink_diag_req", header = link },
  "family u8  protocol u8  pad(2)  inode u32  show u32  cookie array(u32,2)")
book:struct("netlink_message", { c = "struct netlink_diag_msg", header = link, prefix = "ndiag_" }, [[
  family u8:enum(family)  type u8:enum(type)  protocol u8:enum(netlink_protocol)  state_number=ndiag_state u8
  pid=ndiag_portid u32  dst_pid=ndiag_dst_portid u32  dst_group u32  inode=ndiag_ino u32  cookie_words=ndiag_cookie array(u32,2)
]])
book:set("netlink", { header = link, prefix = "NETLINK_DIAG_" }, [[
  0   MEMINFO   memory   struct(memory)
  1   GROUPS    group_bits  bin
  2   RX_RING   rx_ring  bin
  3   TX_RING   tx_ring  bin
  4   FLAGS     flags    u32:flags(netlink_flag)
]])
book:message("netlink_request", { head = "netlink_request" })
book:message("netlink", { head = "netlink_message", attrs = "netlink" })

return book
