-- Links: what they say of themselves (the schema), how rows read, and the verbs. rtnetlink(7), ip-link(8), linux/if_link.h.

local check = require "nslua.check"
local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local kinds = require "nslua.rtnl.kind"
local linkwords = require "nslua.rtnl.linkwords"
local names = require "nslua.rtnl.names"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local told = require "nslua.rtnl.told"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.devconf"

local link_h = "linux/if_link.h"

schema.flags("iff", { header = "linux/if.h", prefix = "IFF_" }, {
  up = 0x1, broadcast = 0x2, debug = 0x4, loopback = 0x8, pointopoint = 0x10, notrailers = 0x20, running = 0x40, noarp = 0x80,
  promisc = 0x100, allmulti = 0x200, master = 0x400, slave = 0x800, multicast = 0x1000, portsel = 0x2000, automedia = 0x4000,
  dynamic = 0x8000, lower_up = 0x10000, dormant = 0x20000, echo = 0x40000 })
schema.enum("arphrd", { header = "linux/if_arp.h", prefix = "ARPHRD_" }, {
  ether = 1, infiniband = 32, ppp = 512, tunnel = 768, tunnel6 = 769, loopback = 772, sit = 776, ipgre = 778,
  ip6gre = 823, netlink = 824, none = 0xfffe, void = 0xffff })
schema.enum("operstate", { header = "linux/if.h", prefix = "IF_OPER_" }, {
  unknown = 0, notpresent = 1, down = 2, lowerlayerdown = 3, testing = 4, dormant = 5, up = 6 })
schema.enum("linkmode", { header = "linux/if.h", prefix = "IF_LINK_MODE_" }, { default = 0, dormant = 1, testing = 2 })
schema.enum("addrgenmode", { header = link_h, prefix = "IN6_ADDR_GEN_MODE_" }, {
  eui64 = 0, none = 1, stable_privacy = 2, random = 3 })

schema.struct("ifinfomsg", { c = "struct ifinfomsg", header = "linux/rtnetlink.h", prefix = "ifi_" }, [[
  family u8  pad(1)  link_type=ifi_type u16:enum(arphrd)  index s32  flags u32:flags(iff)  change u32:flags(iff)
]])
local counters = [[
  rx_packets T  tx_packets T  rx_bytes T  tx_bytes T  rx_errors T  tx_errors T  rx_dropped T  tx_dropped T  multicast T  collisions T
  rx_length_errors T  rx_over_errors T  rx_crc_errors T  rx_frame_errors T  rx_fifo_errors T  rx_missed_errors T
  tx_aborted_errors T  tx_carrier_errors T  tx_fifo_errors T  tx_heartbeat_errors T  tx_window_errors T
  rx_compressed T  tx_compressed T  rx_nohandler T
]]
schema.struct("link_stats", { c = "struct rtnl_link_stats", header = link_h, prefix = "" }, (counters:gsub("%f[%w]T%f[%W]", "u32")))
schema.struct("link_stats64", { c = "struct rtnl_link_stats64", header = link_h, prefix = "" },
  (counters:gsub("%f[%w]T%f[%W]", "u64")) .. " rx_otherhost_dropped u64")
schema.struct("link_map", { c = "struct rtnl_link_ifmap", header = link_h, prefix = "" }, [[
  mem_start u64  mem_end u64  base_addr u64  irq u16  dma u8  port u8  pad(4)
]])
schema.struct("link_cacheinfo", { c = "struct ifla_cacheinfo", header = link_h, prefix = "" }, [[
  max_reasm_len u32  tstamp u32  reachable_time u32  retrans_time u32
]])

schema.set("linkinfo", { header = link_h, prefix = "IFLA_INFO_" }, [[
  1  KIND        kind        strz
  2  DATA        data        union(kind, link_kind)
  3  XSTATS      xstats      bin
  4  SLAVE_KIND  slave_kind  strz
  5  SLAVE_DATA  slave_data  union(slave_kind, link_port)
]])
schema.set("link_xdp", { header = link_h, prefix = "IFLA_XDP_" }, [[
  1  FD           fd           s32
  2  ATTACHED     attached     u8
  3  FLAGS        flags        u32
  4  PROG_ID      prog_id      u32
  5  DRV_PROG_ID  drv_prog_id  u32
  6  SKB_PROG_ID  skb_prog_id  u32
  7  HW_PROG_ID   hw_prog_id   u32
  8  EXPECTED_FD  expected_fd  u32
]])
schema.set("link_inet", { header = link_h, prefix = "IFLA_INET_" }, [[
  1  CONF  conf  struct(ipv4_devconf)
]])
schema.set("link_inet6", { header = link_h, prefix = "IFLA_INET6_" }, [[
  1  FLAGS          flags          u32
  2  CONF           conf           struct(ipv6_devconf)
  3  STATS          stats          array(u64)
  4  MCAST          mcast          bin
  5  CACHEINFO      cacheinfo      struct(link_cacheinfo)
  6  ICMP6STATS     icmp6stats     array(u64)
  7  TOKEN          token          ip6
  8  ADDR_GEN_MODE  addr_gen_mode  u8:enum(addrgenmode)
  9  RA_MTU         ra_mtu         u32
]])
schema.set("link_af_spec", { header = "sys/socket.h", prefix = "AF_" }, [[
  2   INET   inet   nest(link_inet)
  10  INET6  inet6  nest(link_inet6)
]])
schema.set("link_prop_list", { header = link_h, prefix = "IFLA_" }, [[
  53  ALT_IFNAME  altnames  strz(127)  multi
]])
schema.set("link_proto_down_reason", { header = link_h, prefix = "IFLA_PROTO_DOWN_REASON_" }, [[
  1  MASK   mask   u32
  2  VALUE  value  u32
]])
schema.set("link_devlink_port", { header = "linux/devlink.h", prefix = "DEVLINK_ATTR_" }, [[
  1  BUS_NAME    bus_name    strz
  2  DEV_NAME    dev_name    strz
  3  PORT_INDEX  port_index  u32
]])
schema.set("link_dpll_pin", {}, [[
  1  -  id  u32   -- DPLL_A_PIN_ID
]])
schema.set("link", { header = link_h, prefix = "IFLA_" }, [[
  1   ADDRESS             address             lladdr
  2   BROADCAST           broadcast           lladdr
  3   IFNAME              name                strz(15)
  4   MTU                 mtu                 u32
  5   LINK                link_index          u32
  6   QDISC               qdisc               strz
  7   STATS               stats32             struct(link_stats)
  8   COST                cost                u32
  9   PRIORITY            priority            u32
  10  MASTER              master_index        u32
  12  PROTINFO            protinfo            bin
  13  TXQLEN              txqlen              u32
  14  MAP                 map                 struct(link_map)
  15  WEIGHT              weight              u32
  16  OPERSTATE           operstate           u8:enum(operstate)
  17  LINKMODE            linkmode            u8:enum(linkmode)
  18  LINKINFO            linkinfo            nest(linkinfo)
  19  NET_NS_PID          netns_pid           u32
  20  IFALIAS             alias               strz(255)
  21  NUM_VF              num_vf              u32
  22  VFINFO_LIST         vfinfo_list         bin
  23  STATS64             stats               struct(link_stats64)
  24  VF_PORTS            vf_ports            bin
  25  PORT_SELF           port_self           bin
  26  AF_SPEC             af_spec             nest(link_af_spec)
  27  GROUP               group               u32
  28  NET_NS_FD           netns_fd            u32
  29  EXT_MASK            ext_mask            u32
  30  PROMISCUITY         promiscuity         u32
  31  NUM_TX_QUEUES       num_tx_queues       u32
  32  NUM_RX_QUEUES       num_rx_queues       u32
  33  CARRIER             carrier             bool
  34  PHYS_PORT_ID        phys_port_id        lladdr
  35  CARRIER_CHANGES     carrier_changes     u32
  36  PHYS_SWITCH_ID      phys_switch_id      lladdr
  37  LINK_NETNSID        link_netnsid        s32
  38  PHYS_PORT_NAME      phys_port_name      strz
  39  PROTO_DOWN          proto_down          bool
  40  GSO_MAX_SEGS        gso_max_segs        u32
  41  GSO_MAX_SIZE        gso_max_size        u32
  43  XDP                 xdp                 nest(link_xdp)
  44  EVENT               event               u32
  45  NEW_NETNSID         new_netnsid         s32
  46  TARGET_NETNSID      target_nsid         s32
  47  CARRIER_UP_COUNT    carrier_up_count    u32
  48  CARRIER_DOWN_COUNT  carrier_down_count  u32
  49  NEW_IFINDEX         new_ifindex         s32
  50  MIN_MTU             min_mtu             u32
  51  MAX_MTU             max_mtu             u32
  52  PROP_LIST           prop_list           nest(link_prop_list)
  53  ALT_IFNAME          alt_ifname          strz(127)
  54  PERM_ADDRESS        permaddr            lladdr
  55  PROTO_DOWN_REASON   proto_down_reason   nest(link_proto_down_reason)
  56  PARENT_DEV_NAME     parentdev           strz
  57  PARENT_DEV_BUS_NAME parentbus           strz
  58  GRO_MAX_SIZE        gro_max_size        u32
  59  TSO_MAX_SIZE        tso_max_size        u32
  60  TSO_MAX_SEGS        tso_max_segs        u32
  61  ALLMULTI            allmulti            u32
  62  +DEVLINK_PORT       devlink_port        nest(link_devlink_port)   -- 6.2
  63  +GSO_IPV4_MAX_SIZE  gso_ipv4_max_size   u32                       -- 6.3
  64  +GRO_IPV4_MAX_SIZE  gro_ipv4_max_size   u32
  65  +DPLL_PIN           dpll_pin            nest(link_dpll_pin)       -- 6.7
  66  +MAX_PACING_OFFLOAD_HORIZON  max_pacing_offload_horizon  u32  -- 6.13; ns; from 4.3 s on the kernel needs eight bytes
  67  +NETNS_IMMUTABLE    netns_immutable     bool                      -- 6.15
  68  +HEADROOM           headroom            u16                       -- 6.18
  69  +TAILROOM           tailroom            u16
]])
schema.message("linkprop", { head = "ifinfomsg", attrs = "link", c = "LINKPROP", header = "linux/rtnetlink.h", new = 108, del = 109 })
schema.message("link", { head = "ifinfomsg", attrs = "link", c = "LINK", header = "linux/rtnetlink.h",
  new = 16, del = 17, get = 18, set = 19 })

local NEW, DEL, GET = 16, 17, 18
local SKIP_STATS = 8 -- RTEXT_FILTER_SKIP_STATS: a third of the bytes
local ENODEV = core.errno.ENODEV

---@class nslua.Link  a row
---@field name string
---@field index integer
---@field kind string?       "veth"; nil for what rtnetlink did not make (lo, a network card)
---@field mtu integer
---@field up boolean         set up by somebody (IFF_UP)
---@field carrier boolean?
---@field operstate string   "up", "down", "lowerlayerdown", ... (RFC 2863)
---@field address string     "02:00:00:00:00:01"
---@field master string?     the bridge it is a port of; `master_index`
---@field link string?       the lower link, or the other end of a veth in the same namespace; `link_index`
---@field link_netnsid integer?  id of the namespace `link_index` counts in; nil: this one
---@field target_nsid integer?  id of the namespace the row is of, where that was asked for
---@field group integer
---@field alias string?
---@field altnames string[]?
---@field stats table        rx_packets, tx_bytes, ... (struct rtnl_link_stats64)
---@field flags table<string, true>
---@field port table?        options of its port of `master`
---@field af_spec table?     `inet.conf` and `inet6.conf`: its sysctls, as `forwarding = 0`; not among what `decode` and `json` give

local link = { name = "link", new = NEW, del = DEL, get = GET, writers = linkwords.writers, matchers = {},
  none = { [ENODEV] = true }, missing = ENODEV, elsewhere = true }

-- What linkinfo has under `key`: in a row that was read before its kind was loaded these are bytes.
function link.options(row, key)
  local found = row.linkinfo
  local data = found and found[key]
  if type(data) == "string" then
    local S = link.schema or verbs.schema(link)
    data = S:decode(schema.bytes(row)).linkinfo[key]
  end
  return type(data) == "table" and data or nil
end

local computed = {
  kind = function(row)
    local found = row.linkinfo
    local kind = found and found.kind
    if kind == "tun" and kinds.kinds.tun then
      local data = link.options(row, "data")
      return data and data.type or kind
    end
    return kind
  end,
  up = function(row)
    return row.flags.up == true
  end,
  master = function(row, set)
    return verbs.link_name(set, row.master_index)
  end,
  link = function(row, set)
    -- an index of another namespace means nothing in this one
    if row.link_netnsid == nil and row.link_index ~= row.index then
      return verbs.link_name(set, row.link_index)
    end
  end,
  altnames = function(row)
    local list = row.prop_list
    return list and list.altnames
  end,
  addrgenmode = function(row)
    local spec = row.af_spec
    return spec and spec.inet6 and spec.inet6.addr_gen_mode
  end,
  port = function(row, set)
    local found = row.linkinfo
    local kind = found and kinds.kinds[found.slave_kind]
    local data = kind and kind.port and link.options(row, "slave_data")
    return data and kinds.read(kind.port, data, function(index)
      return verbs.link_name(set, index)
    end)
  end,
}
-- The options that were said, as the kernel would read them back, found in those it has.
local function options_match(kind, key)
  return function(self, value, call)
    local said = kinds.said(call, kind, value)
    local wire = kinds.write(call, kind, value, device.index, self.handle)
    local S = link.schema or verbs.schema(link)
    local sent = S:decode(S:encode { linkinfo = { [key == "data" and "kind" or "slave_kind"] = kind.wire or kind.kind, [key] = wire } })
    local wanted = kinds.read(kind, sent.linkinfo[key] or {})
    return function(row)
      local data = (key ~= "data" or row.kind == kind.kind) and link.options(row, key)
      local found = data and kinds.read(kind, data) or {}
      for word in pairs(said) do
        if not (kind.untold and kind.untold[word]) and not verbs.within(wanted[word] or false, found[word] or false) then
          return false
        end
      end
      return data ~= false or next(said) == nil and row.kind == kind.kind
    end
  end
end
-- row.vxlan, row.bridge, ...: the options of its kind, nil for others.
function kinds.declared(name)
  computed[name] = function(row, set)
    if row.kind ~= name then
      return nil
    end
    local kind = kinds.kinds[name]
    local data = kind.set and link.options(row, "data")
    local elsewhere = row.link_netnsid ~= nil -- an index of another namespace has no name here
    return data and kinds.read(kind, data, not elsewhere and function(index)
      return verbs.link_name(set, index)
    end or nil) or nil
  end
  link.matchers[name] = function(...)
    return options_match(kinds.kinds[name], "data")(...)
  end
  link.writers[name] = "kind"
  link.schema = nil -- compiled anew, with this kind
end

for name in pairs(kinds.files) do
  kinds.declared(name)
end
for _, name in ipairs { "veth", "bridge" } do -- what nearly everybody uses is compiled at once
  kinds.load(name)
end

link.class = schema.class {
  name = "link",
  computed = computed,
  hidden = { "linkinfo", "prop_list", "stats32", "af_spec", "map", "change", "event", "family", "protinfo", "alt_ifname", "ext_mask",
    "weight", "new_netnsid", "new_ifindex", "netns_fd", "netns_pid", "vfinfo_list", "vf_ports", "port_self", "cost", "priority" },
  same = function(a, b)
    return a.index == b.index and verbs.together(a, b)
  end,
}

-- Filters -------------------------------------------------------------------------------------------------------------------------

local matchers = link.matchers
for _, word in ipairs { "name", "index", "kind", "mtu", "up", "carrier", "operstate", "link", "link_netnsid", "link_index",
  "master_index", "alias", "altnames", "txqlen", "qdisc", "linkmode", "flags", "link_type", "stats", "num_tx_queues", "num_rx_queues",
  "promiscuity", "allmulti", "min_mtu", "max_mtu", "gso_max_size", "gso_max_segs", "gro_max_size", "tso_max_size", "tso_max_segs",
  "gso_ipv4_max_size", "gro_ipv4_max_size", "carrier_changes", "carrier_up_count", "carrier_down_count", "proto_down", "permaddr",
  "parentdev", "parentbus", "addrgenmode", "num_vf", "xdp", "phys_port_id", "phys_port_name", "phys_switch_id", "proto_down_reason",
    "netns_immutable",
  "headroom", "tailroom" } do
  matchers[word] = true
end
function matchers.master(self, value, call)
  return "master_index", device.index(self.handle, value, call, "master")
end
function matchers.group(_, value, call)
  return "group", names.number("group", value, call)
end
for word, kind in pairs { up = "boolean", link = "string", addrgenmode = "string|integer", altnames = "table" } do
  matchers[word] = kind
end
function matchers.kind(_, value, call)
  check.argument(call, "kind", value, "string")
  if not kinds.kinds[value] and kinds.kinds[value:lower()] then
    errors.misuse("%s: %s", call, check.unknown("kind", value, { value:lower() }))
  end
  return "kind", value
end
for word, field in pairs(linkwords.spelled) do
  matchers[word] = function(self, value, call)
    return field, told.value(self.object, field, value, call)
  end
end
local function lower(field)
  return function(_, value, call)
    check.argument(call, field, value, "string")
    return field, value:lower()
  end
end
matchers.address, matchers.broadcast = lower "address", lower "broadcast"
-- words of `add` and `change` that rows have among their flags
local function has_flag(word, name, opposite)
  return function(_, value, call)
    check.argument(call, word, value, "boolean")
    return function(row)
      return (row.flags[name] == true) == (value == not opposite)
    end
  end
end
for word, flag in pairs { promisc = "promisc", allmulticast = "allmulti", multicast = "multicast", dynamic = "dynamic", debug = "debug" } do
  matchers[word] = has_flag(word, flag)
end
link.yes_no = { promisc = true, allmulticast = true, multicast = true, dynamic = true, debug = true, arp = true, trailers = true }
matchers.arp, matchers.trailers = has_flag("arp", "noarp", true), has_flag("trailers", "notrailers", true)

function matchers.port(self, value, call)
  local port = linkwords.port(call, value) or errors.misuse("%s: port: several kinds of master have these options", call)
  return options_match(port, "slave_data")(self, value, call)
end

function link.payloads(self, filter, call, target)
  local message = { target_nsid = target }
  if filter.master then
    message.master_index = device.index(self.handle, filter.master, call, "master")
  end
  if type(filter.kind) == "string" then
    local kind = kinds.kinds[filter.kind]
    message.linkinfo = { kind = kind and kind.wire or filter.kind }
  end
  return { (link.schema or verbs.schema(link)):encode(message) }
end

-- Finding one ---------------------------------------------------------------------------------------------------------------------

-- What names a link in a message.
local function selector(self, call, key, message)
  local kind = type(key)
  if kind == "string" then
    if #key <= 15 then
      message.name = key
    else
      message.alt_ifname = key -- longer names are alternative names, which stand alone
    end
  else
    message.index = device.index(self.handle, key, call, "key")
  end
  return message
end

local function detail_of(key)
  local kind = type(key)
  if kind == "string" then
    return verbs.detail("name", key)
  elseif kind == "number" then
    return verbs.detail("index", key)
  elseif kind == "userdata" or kind == "table" then
    return verbs.detail("name", key.name)
  end
end

function link.find(self, call, key, target)
  local S = link.schema or verbs.schema(link)
  return netlink.ask(self, call, S:encode(selector(self, call, key, { target_nsid = target })), ENODEV, nil, target)
end

---Index of a link by its name or altname.
---@param handle table
---@param name string
---@param call string
---@param target? integer  nsid of the namespace it is in
---@return integer?
function link.index(handle, name, call, target)
  local S = link.schema or verbs.schema(link)
  local message = { [#name <= 15 and "name" or "alt_ifname"] = name, ext_mask = SKIP_STATS, target_nsid = target }
  local row = netlink.ask({ handle = handle, object = link }, call, S:encode(message), ENODEV)
  return row and row.index
end

---Names of every link by index, from one dump.
---@param handle table
---@param target? integer  nsid of the namespace they are in
---@return table<integer, string>
function link.names(handle, target)
  local S = link.schema or verbs.schema(link)
  local found = {}
  local dump = netlink.dump(handle, "link.list", "link", S, GET, S:encode { ext_mask = SKIP_STATS, target_nsid = target })
  for row in dump:each(S, link.class) do
    found[row.index] = row.name
  end
  return found
end

link.selector, link.detail = selector, detail_of

require "nslua.rtnl.linkverbs"(link)

return verbs.object(link)
