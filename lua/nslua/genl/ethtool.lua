-- ethtool: what a network device's driver can do, and how it is set. linux/ethtool_netlink.h, ethtool(8).
--
--    local e = a:netlink "ethtool"
--    e:features_set{ dev = "eth0", wanted = { ["tx-checksum-ip-generic"] = false } }
--    print(e:channels_get{ dev = "eth0" }.combined_count)

local check = require "nslua.check"
local declare = require "nslua.genl.declare"
local errors = require "nslua.error"

local flags = { compact_bitsets = true, omit_reply = true, stats = true }

-- `dev` is the name, index or row of a link, and stands in the header that every message begins with.
local function write(t, call)
  local dev, kind = t.dev, type(t.dev)
  local header
  if t.header ~= nil then
    if dev == nil and t.flags == nil then
      return
    end
    errors.misuse("%s: dev and flags are what the header says: one of them", call)
  elseif kind == "string" then
    header = { dev_name = dev }
  elseif kind == "number" then
    header = { dev_index = dev }
  elseif dev == nil then
    header = {} -- of every device, or of none
  elseif (kind == "table" or kind == "userdata") and type(dev.index) == "number" then
    header = { dev_index = dev.index }
  else
    errors.misuse("%s: dev must be the name or index of a link, or its row, got %s", call, kind)
  end
  for flag in pairs(type(t.flags) == "table" and t.flags or {}) do
    if type(flag) == "string" and not flags[flag] then
      errors.misuse("%s: %s", call, check.unknown("flag", flag, flags))
    end
  end
  t.dev, t.flags, header.flags = nil, nil, t.flags
  t.header = header
end

-- privflags have a field of that name
local function write_privflags(t, call)
  local own = t.flags
  t.flags = nil
  write(t, call)
  t.flags = own
end

local class = {
  hidden = { "header" },
  computed = {
    dev = function(row)
      return row.header and row.header.dev_name
    end,
    dev_index = function(row)
      return row.header and row.header.dev_index
    end,
  },
}

local function of(prefix, lines)
  return { prefix = "ETHTOOL_A_" .. prefix, "1 HEADER header nest(header)\n" .. lines }
end

local sets = {
  header = { prefix = "ETHTOOL_A_HEADER_", [[
    1   DEV_INDEX  dev_index  u32
    2   DEV_NAME   dev_name   strz
    3   FLAGS      flags      u32:flags(header)
  ]] },
  string = { prefix = "ETHTOOL_A_STRING_", [[
    1   INDEX      index      u32
    2   VALUE      value      strz
  ]] },
  strings = { prefix = "ETHTOOL_A_STRINGS_", "1 STRING string nest(string) multi" },
  stringset = { prefix = "ETHTOOL_A_STRINGSET_", [[
    1   ID         id         u32:enum(stringset)
    2   COUNT      count      u32
    3   STRINGS    strings    nest(strings)
  ]] },
  stringsets = { prefix = "ETHTOOL_A_STRINGSETS_", "1 STRINGSET stringset nest(stringset) multi" },
  strset = of("STRSET_", [[
    2   STRINGSETS   stringsets   nest(stringsets)
    3   COUNTS_ONLY  counts_only  flag
  ]]),
  linkinfo = of("LINKINFO_", [[
    2   PORT          port          u8:enum(port)
    3   PHYADDR       phyaddr       u8
    4   TP_MDIX       tp_mdix       u8:enum(mdix)
    5   TP_MDIX_CTRL  tp_mdix_ctrl  u8:enum(mdix)
    6   TRANSCEIVER   transceiver   u8:enum(transceiver)
  ]]),
  linkmodes = of("LINKMODES_", [[
    2   AUTONEG             autoneg             bool
    3   OURS                ours                bitset
    4   PEER                peer                bitset
    5   SPEED               speed               u32     -- Mbit/s
    6   DUPLEX              duplex              u8:enum(duplex)
    7   MASTER_SLAVE_CFG    master_slave_cfg    u8
    8   MASTER_SLAVE_STATE  master_slave_state  u8
    9   LANES               lanes               u32
    10  RATE_MATCHING       rate_matching       u8
  ]]),
  linkstate = of("LINKSTATE_", [[
    2   LINK          link          bool
    3   SQI           sqi           u32
    4   SQI_MAX       sqi_max       u32
    5   EXT_STATE     ext_state     u8
    6   EXT_SUBSTATE  ext_substate  u8
  ]]),
  debug = of("DEBUG_", "2 MSGMASK msgmask bitset"),
  wol = of("WOL_", [[
    2   MODES   modes   bitset
    3   SOPASS  sopass  lladdr
  ]]),
  features = of("FEATURES_", [[
    2   HW        hw        bitset
    3   WANTED    wanted    bitset
    4   ACTIVE    active    bitset
    5   NOCHANGE  nochange  bitset
  ]]),
  privflags = of("PRIVFLAGS_", "2 FLAGS flags bitset"),
  rings = of("RINGS_", [[
    2   RX_MAX               rx_max               u32
    3   RX_MINI_MAX          rx_mini_max          u32
    4   RX_JUMBO_MAX         rx_jumbo_max         u32
    5   TX_MAX               tx_max               u32
    6   RX                   rx                   u32
    7   RX_MINI              rx_mini              u32
    8   RX_JUMBO             rx_jumbo             u32
    9   TX                   tx                   u32
    10  RX_BUF_LEN           rx_buf_len           u32
    11  TCP_DATA_SPLIT       tcp_data_split       u8:enum(tcp_data_split)
    12  CQE_SIZE             cqe_size             u32
    13  TX_PUSH              tx_push              bool
    14  -                    rx_push              bool
    15  -                    tx_push_buf_len      u32
    16  -                    tx_push_buf_len_max  u32
    17  -                    hds_thresh           u32
    18  -                    hds_thresh_max       u32
  ]]),
  channels = of("CHANNELS_", [[
    2   RX_MAX          rx_max          u32
    3   TX_MAX          tx_max          u32
    4   OTHER_MAX       other_max       u32
    5   COMBINED_MAX    combined_max    u32
    6   RX_COUNT        rx_count        u32
    7   TX_COUNT        tx_count        u32
    8   OTHER_COUNT     other_count     u32
    9   COMBINED_COUNT  combined_count  u32
  ]]),
  coalesce = of("COALESCE_", [[
    2   RX_USECS              rx_usecs              u32
    3   RX_MAX_FRAMES         rx_max_frames         u32
    4   RX_USECS_IRQ          rx_usecs_irq          u32
    5   RX_MAX_FRAMES_IRQ     rx_max_frames_irq     u32
    6   TX_USECS              tx_usecs              u32
    7   TX_MAX_FRAMES         tx_max_frames         u32
    8   TX_USECS_IRQ          tx_usecs_irq          u32
    9   TX_MAX_FRAMES_IRQ     tx_max_frames_irq     u32
    10  STATS_BLOCK_USECS     stats_block_usecs     u32
    11  USE_ADAPTIVE_RX       use_adaptive_rx       bool
    12  USE_ADAPTIVE_TX       use_adaptive_tx       bool
    13  PKT_RATE_LOW          pkt_rate_low          u32
    14  RX_USECS_LOW          rx_usecs_low          u32
    15  RX_MAX_FRAMES_LOW     rx_max_frames_low     u32
    16  TX_USECS_LOW          tx_usecs_low          u32
    17  TX_MAX_FRAMES_LOW     tx_max_frames_low     u32
    18  PKT_RATE_HIGH         pkt_rate_high         u32
    19  RX_USECS_HIGH         rx_usecs_high         u32
    20  RX_MAX_FRAMES_HIGH    rx_max_frames_high    u32
    21  TX_USECS_HIGH         tx_usecs_high         u32
    22  TX_MAX_FRAMES_HIGH    tx_max_frames_high    u32
    23  RATE_SAMPLE_INTERVAL  rate_sample_interval  u32
    24  USE_CQE_MODE_TX       use_cqe_mode_tx       bool
    25  USE_CQE_MODE_RX       use_cqe_mode_rx       bool
    26  -                     tx_aggr_max_bytes     u32
    27  -                     tx_aggr_max_frames    u32
    28  -                     tx_aggr_time_usecs    u32
  ]]),
  pause = of("PAUSE_", [[
    2   AUTONEG  autoneg  bool
    3   RX       rx       bool
    4   TX       tx       bool
    5   STATS    stats    nest(pause_stat)
  ]]),
  pause_stat = { prefix = "ETHTOOL_A_PAUSE_STAT_", [[
    1   PAD        -          pad
    2   TX_FRAMES  tx_frames  u64
    3   RX_FRAMES  rx_frames  u64
  ]] },
  eee = of("EEE_", [[
    2   MODES_OURS      modes_ours      bitset
    3   MODES_PEER      modes_peer      bitset
    4   ACTIVE          active          bool
    5   ENABLED         enabled         bool
    6   TX_LPI_ENABLED  tx_lpi_enabled  bool
    7   TX_LPI_TIMER    tx_lpi_timer    u32     -- microseconds
  ]]),
  tsinfo = of("TSINFO_", [[
    2   TIMESTAMPING  timestamping  bitset
    3   TX_TYPES      tx_types      bitset
    4   RX_FILTERS    rx_filters    bitset
    5   PHC_INDEX     phc_index     u32
  ]]),
  phc_vclocks = of("PHC_VCLOCKS_", [[
    2   NUM    num     u32
    3   INDEX  index_  array(s32)
  ]]),
  cable_test = of("CABLE_TEST_", ""),
  cable_result = { prefix = "ETHTOOL_A_CABLE_RESULT_", [[
    1   PAIR  pair  u8:enum(cable_pair)
    2   CODE  code  u8:enum(cable_code)
  ]] },
  cable_fault_length = { prefix = "ETHTOOL_A_CABLE_FAULT_LENGTH_", [[
    1   PAIR  pair  u8:enum(cable_pair)
    2   CM    cm    u32
  ]] },
  cable_nest = { prefix = "ETHTOOL_A_CABLE_NEST_", [[
    1   RESULT        result        nest(cable_result) multi
    2   FAULT_LENGTH  fault_length  nest(cable_fault_length) multi
  ]] },
  cable_test_ntf = of("CABLE_TEST_NTF_", [[
    2   STATUS  status  u8:enum(cable_status)
    3   NEST    nest    nest(cable_nest)
  ]]),
  tunnel_udp_entry = { prefix = "ETHTOOL_A_TUNNEL_UDP_ENTRY_", [[
    1   PORT  port  be16
    2   TYPE  type  u32:enum(tunnel_type)
  ]] },
  tunnel_udp_table = { prefix = "ETHTOOL_A_TUNNEL_UDP_TABLE_", [[
    1   SIZE   size   u32
    2   TYPES  types  bitset
    3   ENTRY  entry  nest(tunnel_udp_entry) multi
  ]] },
  tunnel_udp = { prefix = "ETHTOOL_A_TUNNEL_UDP_", "1 TABLE table nest(tunnel_udp_table) multi" },
  tunnel_info = of("TUNNEL_INFO_", "2 UDP_PORTS udp_ports nest(tunnel_udp)"),
  fec_stat = { prefix = "ETHTOOL_A_FEC_STAT_", [[
    1   PAD        -          pad
    2   CORRECTED  corrected  array(u64)
    3   UNCORR     uncorr     array(u64)
    4   CORR_BITS  corr_bits  array(u64)
  ]] },
  fec = of("FEC_", [[
    2   MODES   modes   bitset
    3   AUTO    auto    bool
    4   ACTIVE  active  u32
    5   STATS   stats   nest(fec_stat)
  ]]),
  module_eeprom = of("MODULE_EEPROM_", [[
    2   OFFSET       offset       u32
    3   LENGTH       length       u32
    4   PAGE         page         u8
    5   BANK         bank         u8
    6   I2C_ADDRESS  i2c_address  u8
    7   DATA         data         hex
  ]]),
  stats_grp = { prefix = "ETHTOOL_A_STATS_GRP_", [[
    1   PAD          -            pad
    2   ID           id           u32:enum(stats_group)
    3   SS_ID        ss_id        u32:enum(stringset)
    4   STAT         stat         indexed(u64) multi    -- number of its name in that string set -> count
    5   HIST_RX      hist_rx      nest(stats_grp) multi
    6   HIST_TX      hist_tx      nest(stats_grp) multi
    7   HIST_BKT_LOW hist_bkt_low u32
    8   HIST_BKT_HI  hist_bkt_hi  u32
    9   HIST_VAL     hist_val     u64
  ]] },
  stats = { prefix = "ETHTOOL_A_STATS_", [[
    1   PAD      -        pad
    2   HEADER   header   nest(header)
    3   GROUPS   groups   bitset
    4   GRP      grp      nest(stats_grp) multi
  ]] },
  module = of("MODULE_", [[
    2   POWER_MODE_POLICY  power_mode_policy  u8:enum(power_policy)
    3   POWER_MODE         power_mode         u8:enum(power_mode)
  ]]),
  rss = of("RSS_", [[
    2   -  context        u32
    3   -  hfunc          u32
    4   -  indir          array(u32)
    5   -  hkey           hex
    6   -  input_xfrm     u32
    7   -  start_context  u32
  ]]),
}
sets.rss[1] = sets.rss[1]:gsub("HEADER", "-", 1) -- later than the headers of Linux 6.1

-- Objects in the order of their numbers; what the kernel says of them has numbers of its own.
local commands = {
  strset_get = { 1, "strset", reply = "strset", dump = true },
  linkinfo_get = { 2, "linkinfo", reply = "linkinfo", dump = true }, linkinfo_set = { 3, "linkinfo" },
  linkmodes_get = { 4, "linkmodes", reply = "linkmodes", dump = true }, linkmodes_set = { 5, "linkmodes" },
  linkstate_get = { 6, "linkstate", reply = "linkstate", dump = true },
  debug_get = { 7, "debug", reply = "debug", dump = true }, debug_set = { 8, "debug" },
  wol_get = { 9, "wol", reply = "wol", dump = true }, wol_set = { 10, "wol" },
  features_get = { 11, "features", reply = "features", dump = true }, features_set = { 12, "features", reply = "features" },
  privflags_get = { 13, "privflags", reply = "privflags", dump = true }, privflags_set = { 14, "privflags" },
  rings_get = { 15, "rings", reply = "rings", dump = true }, rings_set = { 16, "rings" },
  channels_get = { 17, "channels", reply = "channels", dump = true }, channels_set = { 18, "channels" },
  coalesce_get = { 19, "coalesce", reply = "coalesce", dump = true }, coalesce_set = { 20, "coalesce" },
  pause_get = { 21, "pause", reply = "pause", dump = true }, pause_set = { 22, "pause" },
  eee_get = { 23, "eee", reply = "eee", dump = true }, eee_set = { 24, "eee" },
  tsinfo_get = { 25, "tsinfo", reply = "tsinfo", dump = true },
  cable_test_act = { 26, "cable_test" },
  tunnel_info_get = { 28, "tunnel_info", reply = "tunnel_info", dump = true },
  fec_get = { 29, "fec", reply = "fec", dump = true }, fec_set = { 30, "fec" },
  module_eeprom_get = { 31, "module_eeprom", reply = "module_eeprom", dump = true },
  stats_get = { 32, "stats", reply = "stats", dump = true },
  phc_vclocks_get = { 33, "phc_vclocks", reply = "phc_vclocks", dump = true },
  module_get = { 34, "module", reply = "module", dump = true }, module_set = { 35, "module" },
  rss_get = { 38, "rss", reply = "rss", dump = true, c = "-" },
}

local classes, writes = {}, {}
for name, c in pairs(commands) do
  local set = c[2]
  classes[set] = { hidden = class.hidden, computed = class.computed }
  writes[set] = set == "privflags" and write_privflags or write
  assert(sets[set], name)
end
classes.cable_test_ntf = { hidden = class.hidden, computed = class.computed }

return declare.family {
  name = "ethtool", version = 1, header = "linux/ethtool_netlink.h", prefix = "ETHTOOL_MSG_",
  flags = { header = { prefix = "ETHTOOL_FLAG_", "compact_bitsets omit_reply stats" } },
  enums = {
    stringset = { prefix = "ETH_SS_", [[test stats priv_flags ntuple_filters features rss_hash_funcs tunables phy_stats phy_tunables link_modes
      msg_classes wol_modes sof_timestamping ts_tx_types ts_rx_filters udp_tunnel_types stats_std stats_eth_phy stats_eth_mac stats_eth_ctrl
      stats_rmon]] },
    port = { prefix = "PORT_", "tp aui mii fibre bnc da none=239 other=255" },
    mdix = { prefix = "ETH_TP_", c = { invalid = "ETH_TP_MDI_INVALID", auto = "ETH_TP_MDI_AUTO" }, "invalid mdi mdi_x auto" },
    transceiver = { prefix = "XCVR_", "internal external" },
    duplex = { prefix = "DUPLEX_", "half full unknown=255" },
    tcp_data_split = { prefix = "ETHTOOL_TCP_DATA_SPLIT_", "unknown disabled enabled" },
    cable_pair = { prefix = "ETHTOOL_A_CABLE_PAIR_", "a b c d" },
    cable_code = { prefix = "ETHTOOL_A_CABLE_RESULT_CODE_", "unspec ok open same_short cross_short" },
    cable_status = { prefix = "ETHTOOL_A_CABLE_TEST_NTF_STATUS_", "unspec started completed" },
    tunnel_type = { prefix = "ETHTOOL_UDP_TUNNEL_TYPE_", "vxlan geneve vxlan_gpe" },
    stats_group = { prefix = "ETHTOOL_STATS_", "eth_phy eth_mac eth_ctrl rmon" },
    power_policy = { prefix = "ETHTOOL_MODULE_POWER_MODE_POLICY_", "high=1 auto" },
    power_mode = { prefix = "ETHTOOL_MODULE_POWER_MODE_", "low=1 high" },
  },
  sets = sets,
  commands = commands,
  events = {
    linkinfo_ntf = { 3, "linkinfo" }, linkmodes_ntf = { 5, "linkmodes" }, debug_ntf = { 8, "debug" }, wol_ntf = { 10, "wol" },
    features_ntf = { 13, "features" }, privflags_ntf = { 15, "privflags" }, rings_ntf = { 17, "rings" }, channels_ntf = { 19, "channels" },
    coalesce_ntf = { 21, "coalesce" }, pause_ntf = { 23, "pause" }, eee_ntf = { 25, "eee" }, cable_test_ntf = { 27, "cable_test_ntf" },
    fec_ntf = { 31, "fec" }, module_ntf = { 36, "module" },
  },
  groups = { "monitor" },
  classes = classes,
  write = writes,
  detail = { "dev" },
  methods = {
    ---The names of a string set: `e:strings "features"`; with a device, of one that is the driver's own: `e:strings("stats", "eth0")`.
    strings = function(self, id, dev)
      local row = self:strset_get { dev = dev, stringsets = { stringset = { { id = id } } } }
      local out = {}
      for _, set in ipairs(row.stringsets and row.stringsets.stringset or {}) do
        for _, s in ipairs(set.strings and set.strings.string or {}) do
          out[#out + 1] = s.value
        end
      end
      return out
    end,
  },
}
