-- The sysctls of one link as its messages have them: net.ipv4.conf.LINK and net.ipv6.conf.LINK, in the order of linux/ip.h and
-- linux/ipv6.h; a kernel has fewer or more of them. Reading is all: `netns:sysctl` writes.

local schema = require "nslua.schema"

local inet = [[
  forwarding  mc_forwarding  proxy_arp  accept_redirects  secure_redirects  send_redirects  shared_media  rp_filter
  accept_source_route  bootp_relay  log_martians  tag  arpfilter  medium_id  noxfrm  nopolicy  force_igmp_version  arp_announce
  arp_ignore  promote_secondaries  arp_accept  arp_notify  accept_local  src_vmark  proxy_arp_pvlan  route_localnet
  igmpv2_unsolicited_report_interval  igmpv3_unsolicited_report_interval  ignore_routes_with_linkdown
  drop_unicast_in_l2_multicast  drop_gratuitous_arp  bc_forwarding  arp_evict_nocarrier
]]
local inet6 = [[
  forwarding  hoplimit  mtu6  accept_ra  accept_redirects  autoconf  dad_transmits  rtr_solicits  rtr_solicit_interval
  rtr_solicit_delay  use_tempaddr  temp_valid_lft  temp_prefered_lft  regen_max_retry  max_desync_factor  max_addresses
  force_mld_version  accept_ra_defrtr  accept_ra_pinfo  accept_ra_rtr_pref  rtr_probe_interval  accept_ra_rt_info_max_plen
  proxy_ndp  optimistic_dad  accept_source_route  mc_forwarding  disable_ipv6  accept_dad  force_tllao  ndisc_notify
  mldv1_unsolicited_report_interval  mldv2_unsolicited_report_interval  suppress_frag_ndisc  accept_ra_from_local
  use_optimistic  accept_ra_mtu  stable_secret  use_oif_addrs_only  accept_ra_min_hop_limit  ignore_routes_with_linkdown
  drop_unicast_in_l2_multicast  drop_unsolicited_na  keep_addr_on_down  rtr_solicit_max_interval  seg6_enabled
  seg6_require_hmac  enhanced_dad  addr_gen_mode  disable_policy  accept_ra_rt_info_min_plen  ndisc_tclass  rpl_seg_enabled
  ra_defrtr_metric  ioam6_enabled  ioam6_id  ioam6_id_wide  ndisc_evict_nocarrier  accept_untracked_na  accept_ra_min_lft
  force_forwarding
]]
local newer = { force_forwarding = true } -- 6.17

local function declare(name, header, prefix, first, type, words)
  local numbers, c, members = {}, {}, {}
  for word in words:gmatch "%S+" do
    numbers[word] = first + #members
    members[#members + 1] = word .. " " .. type
    c[word] = newer[word] and "+" .. prefix .. word:upper() or nil
  end
  -- an enum, so that the numbers are checked against the header; a struct, since the kernel sends them one after the other
  schema.enum(name, { header = header, prefix = prefix, c = c }, numbers)
  schema.struct(name, {}, table.concat(members, "\n"))
end

declare("ipv4_devconf", "linux/ip.h", "IPV4_DEVCONF_", 1, "u32", inet)
declare("ipv6_devconf", "linux/ipv6.h", "DEVCONF_", 0, "s32", inet6)
