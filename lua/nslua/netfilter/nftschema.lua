-- Messages of nf_tables, as far as they are read. linux/netfilter/nf_tables.h

local netfilter = require "nslua.netfilter.schema"

local book = netfilter.book "nftables"
local header = "linux/netfilter/nf_tables.h"

local function flags(name, prefix, values)
  book:flags(name, { header = header, prefix = prefix }, values)
end

local function enum(name, prefix, values)
  book:enum(name, { header = header, prefix = prefix }, values)
end

local function set(name, prefix, text, from)
  book:set(name, { header = from or header, prefix = "NFTA_" .. prefix }, text)
end

book:flags("table_flag", { header = header, prefix = "NFT_TABLE_F_", c = { persist = "+NFT_TABLE_F_PERSIST" } },
  { dormant = 1, owner = 2, persist = 4 })
flags("chain_flag", "NFT_CHAIN_", { base = 1, hw_offload = 2, binding = 4 })
flags("set_flag", "NFT_SET_", { anonymous = 1, constant = 2, interval = 4, map = 8, timeout = 16, eval = 32, object = 64, concat = 128, expr = 256 })
flags("element_flag", "NFT_SET_ELEM_", { interval_end = 1, catchall = 2 })
book:enum("policy", { header = "linux/netfilter.h", prefix = "NF_" }, { drop = 0, accept = 1 })
-- the words of nft(8)
book:enum("verdict", {}, { drop = 0, accept = 1, stolen = 2, queue = 3, continue = 4294967295,
  ["break"] = 4294967294, jump = 4294967293, ["goto"] = 4294967292, ["return"] = 4294967291 })
enum("cmp_op", "NFT_CMP_", { eq = 0, neq = 1, lt = 2, lte = 3, gt = 4, gte = 5 })
book:enum("payload_base", { header = header, prefix = "NFT_PAYLOAD_", c = { link = "NFT_PAYLOAD_LL_HEADER", network = "NFT_PAYLOAD_NETWORK_HEADER",
  transport = "NFT_PAYLOAD_TRANSPORT_HEADER", inner = "NFT_PAYLOAD_INNER_HEADER" } }, { link = 0, network = 1, transport = 2, inner = 3 })
enum("meta_key", "NFT_META_", { len = 0, protocol = 1, priority = 2, mark = 3, iif = 4, oif = 5, iifname = 6, oifname = 7, iiftype = 8, oiftype = 9,
  skuid = 10, skgid = 11, nftrace = 12, rtclassid = 13, secmark = 14, nfproto = 15, l4proto = 16, bri_iifname = 17, bri_oifname = 18, pkttype = 19,
  cpu = 20, iifgroup = 21, oifgroup = 22, cgroup = 23, prandom = 24, secpath = 25, iifkind = 26, oifkind = 27, time_ns = 30, time_day = 31,
  time_hour = 32, sdif = 33, sdifname = 34 })
enum("ct_key", "NFT_CT_", { state = 0, direction = 1, status = 2, mark = 3, secmark = 4, expiration = 5, helper = 6, l3protocol = 7, src = 8, dst = 9,
  protocol = 10, proto_src = 11, proto_dst = 12, labels = 13, pkts = 14, bytes = 15, avgpkt = 16, zone = 17, eventmask = 18, src_ip = 19,
  dst_ip = 20, src_ip6 = 21, dst_ip6 = 22, id = 23 })
enum("nat_type", "NFT_NAT_", { snat = 0, dnat = 1 })
book:enum("reject_type", { header = header, prefix = "NFT_REJECT_" }, { icmp_unreach = 0, tcp_rst = 1, icmpx_unreach = 2 })

set("hook", "HOOK_", [[
  1   HOOKNUM        hook_number    be32
  2   PRIORITY       priority_bits  be32
  3   DEV            dev            strz
  4   DEVS           devs           nest(devices)
]])
book:set("devices", { bare = true }, "1 name strz multi")
set("counters", "COUNTER_", [[
  1   BYTES          bytes          be64
  2   PACKETS        packets        be64
]])
set("table", "TABLE_", [[
  1   NAME           name           strz
  2   FLAGS          flags          be32:flags(table_flag)
  3   USE            use            be32
  4   HANDLE         handle         be64
  6   USERDATA       userdata       bin
  7   OWNER          owner          be32
]])
set("chain", "CHAIN_", [[
  1   TABLE          table          strz
  2   HANDLE         handle         be64
  3   NAME           name           strz
  4   HOOK           hook_nest      nest(hook)
  5   POLICY         policy         be32:enum(policy)
  6   USE            use            be32
  7   TYPE           type           strz
  8   COUNTERS       counters       nest(counters)
  10  FLAGS          flags          be32:flags(chain_flag)
  11  ID             id             be32
  12  USERDATA       userdata       bin
]])
set("verdict", "VERDICT_", [[
  1   CODE           code           be32:enum(verdict)
  2   CHAIN          chain          strz
  3   CHAIN_ID       chain_id       be32
]])
set("data", "DATA_", [[
  1   VALUE          value          bin
  2   VERDICT        verdict        nest(verdict)
]])
set("expression", "EXPR_", [[
  1   NAME           name           strz
  2   DATA           data           union(name,expression)
]])
set("rule", "RULE_", [[
  1   TABLE          table          strz
  2   CHAIN          chain          strz
  3   HANDLE         handle         be64
  4   EXPRESSIONS    expressions    list(nest(expression),1)
  6   POSITION       position       be64
  7   USERDATA       userdata       bin
]])
set("field", "SET_FIELD_", "1 LEN len be32")
set("description", "SET_DESC_", [[
  1   SIZE           size           be32
  2   CONCAT         concat         list(nest(field),1)
]])
set("set", "SET_", [[
  1   TABLE          table          strz
  2   NAME           name           strz
  3   FLAGS          flags          be32:flags(set_flag)
  4   KEY_TYPE       key_type       be32
  5   KEY_LEN        key_len        be32
  6   DATA_TYPE      data_type      be32
  7   DATA_LEN       data_len       be32
  8   POLICY         policy         be32
  9   DESC           desc           nest(description)
  11  TIMEOUT        timeout        be64
  12  GC_INTERVAL    gc_interval    be32
  13  USERDATA       userdata       bin
  15  OBJ_TYPE       object_type    be32
  16  HANDLE         handle         be64
  17  EXPR           expression     nest(expression)
  18  EXPRESSIONS    expressions    list(nest(expression),1)
]])
set("element", "SET_ELEM_", [[
  1   KEY            key            nest(data)
  2   DATA           data           nest(data)
  3   FLAGS          flags          be32:flags(element_flag)
  4   TIMEOUT        timeout        be64
  5   EXPIRATION     expiration     be64
  6   USERDATA       userdata       bin
  7   EXPR           expression     nest(expression)
  9   OBJREF         object         strz
  10  KEY_END        key_end        nest(data)
  11  EXPRESSIONS    expressions    list(nest(expression),1)
]])
set("elements", "SET_ELEM_LIST_", [[
  1   TABLE          table          strz
  2   SET            set            strz
  3   ELEMENTS       elements       list(nest(element),1)
]])
set("trace", "TRACE_", [[
  1   TABLE            table        strz
  2   CHAIN            chain        strz
  3   RULE_HANDLE      rule_handle  be64
  4   TYPE             trace_type   be32
  5   VERDICT          verdict      nest(verdict)
  6   ID               id           u32
  10  IIF              iif_index    be32
  12  OIF              oif_index    be32
  14  MARK             mark         be32
  15  NFPROTO          nfproto      be32
  16  POLICY           policy       be32:enum(policy)
]])

local compat = "linux/netfilter/nf_tables_compat.h"

-- Expressions, by name; what is not here is its attributes as bytes.
local expressions = {
  immediate = { "IMMEDIATE_", "1 DREG dreg be32 \n 2 DATA data nest(data)" },
  cmp = { "CMP_", "1 SREG sreg be32 \n 2 OP op be32:enum(cmp_op) \n 3 DATA data nest(data)" },
  payload = { "PAYLOAD_", "1 DREG dreg be32 \n 2 BASE base be32:enum(payload_base) \n 3 OFFSET offset be32 \n 4 LEN len be32 \n 5 SREG sreg be32" },
  meta = { "META_", "1 DREG dreg be32 \n 2 KEY key be32:enum(meta_key) \n 3 SREG sreg be32" },
  ct = { "CT_", "1 DREG dreg be32 \n 2 KEY key be32:enum(ct_key) \n 3 DIRECTION direction u8 \n 4 SREG sreg be32" },
  bitwise = { "BITWISE_", "1 SREG sreg be32 \n 2 DREG dreg be32 \n 3 LEN len be32 \n 4 MASK mask nest(data) \n 5 XOR xor nest(data)\n"
    .. "6 OP op be32 \n 7 DATA data nest(data)" },
  lookup = { "LOOKUP_", "1 SET set strz \n 2 SREG sreg be32 \n 3 DREG dreg be32 \n 4 SET_ID set_id be32 \n 5 FLAGS flags be32" },
  range = { "RANGE_", "1 SREG sreg be32 \n 2 OP op be32 \n 3 FROM_DATA from_data nest(data) \n 4 TO_DATA to_data nest(data)" },
  counter = { "COUNTER_" },
  limit = { "LIMIT_", "1 RATE rate be64 \n 2 UNIT unit be64 \n 3 BURST burst be32 \n 4 TYPE type be32 \n 5 FLAGS flags be32" },
  nat = { "NAT_", "1 TYPE type be32:enum(nat_type) \n 2 FAMILY family be32:enum(nfproto) \n 3 REG_ADDR_MIN reg_addr_min be32\n"
    .. "4 REG_ADDR_MAX reg_addr_max be32 \n 5 REG_PROTO_MIN reg_proto_min be32\n"
    .. "6 REG_PROTO_MAX reg_proto_max be32 \n 7 FLAGS flags be32" },
  masq = { "MASQ_", "1 FLAGS flags be32 \n 2 REG_PROTO_MIN reg_proto_min be32 \n 3 REG_PROTO_MAX reg_proto_max be32" },
  redir = { "REDIR_", "1 REG_PROTO_MIN reg_proto_min be32 \n 2 REG_PROTO_MAX reg_proto_max be32 \n 3 FLAGS flags be32" },
  reject = { "REJECT_", "1 TYPE type be32:enum(reject_type) \n 2 ICMP_CODE icmp_code u8" },
  log = { "LOG_", "1 GROUP group be16 \n 2 PREFIX prefix strz \n 3 SNAPLEN snaplen be32 \n 4 QTHRESHOLD qthreshold be16\n"
    .. "5 LEVEL level be32 \n 6 FLAGS flags be32" },
  quota = { "QUOTA_", "1 BYTES bytes be64 \n 2 FLAGS flags be32 \n 4 CONSUMED consumed be64" },
  fib = { "FIB_", "1 DREG dreg be32 \n 2 RESULT result be32 \n 3 FLAGS flags be32" },
  queue = { "QUEUE_", "1 NUM num be16 \n 2 TOTAL total be16 \n 3 FLAGS flags be16" },
  -- of iptables-nft
  match = { "MATCH_", "1 NAME name strz \n 2 REV revision be32 \n 3 INFO info bin", compat },
  target = { "TARGET_", "1 NAME name strz \n 2 REV revision be32 \n 3 INFO info bin", compat },
  objref = { "OBJREF_", "1 IMM_TYPE imm_type be32 \n 2 IMM_NAME imm_name strz \n 3 SET_SREG set_sreg be32 \n 4 SET_NAME set_name strz" },
}
for name, e in pairs(expressions) do
  if e[2] then
    set("expression_" .. name, e[1], e[2], e[3])
  end
  book:kind("expression", name, e[2] and "nest(expression_" .. name .. ")" or "nest(counters)")
end
book:kind("expression", "*", "bin")

for _, name in ipairs { "table", "chain", "rule", "set", "elements", "trace" } do
  book:message(name, { head = "nfgenmsg", attrs = name })
end

return book
