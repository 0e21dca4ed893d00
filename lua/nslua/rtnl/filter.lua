-- Filters: which packet goes where, and what is done with it. rtnetlink(7), tc(8), linux/pkt_cls.h.

local action = require "nslua.rtnl.action"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local handle = require "nslua.rtnl.handle"
local kinds = require "nslua.rtnl.qdisc_kind"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"
local tcm = require "nslua.rtnl.tcm"
local traffic = require "nslua.rtnl.traffic"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.qdisc" -- struct bitfield32, and what filters are attached to

local known = {}
for _, name in ipairs { "u32", "bpf", "matchall", "flower", "fw", "basic" } do
  local kind = require("nslua.rtnl.filter_kind." .. name)
  kinds.declare(kind, name, "filter")
  known[name] = kind
end

tcm.message("filter", "TFILTER", 44)

local NEW, DEL, GET = 44, 45, 46
local ENOENT, EINVAL = core.errno.ENOENT, core.errno.EINVAL
local ANY = 3 -- ETH_P_ALL
local BLOCK = -1 -- TCM_IFINDEX_MAGIC_BLOCK: no link, but the block whose number stands in the place of the parent
local SKIP_HW, SKIP_SW, IN_HW, NOT_IN_HW = 1, 2, 4, 8 -- TCA_CLS_FLAGS_*

-- linux/if_ether.h, ETH_P_*
local protocols = { all = ANY, ip = 0x0800, ipv4 = 0x0800, arp = 0x0806, rarp = 0x8035, ipv6 = 0x86dd, ["802.1q"] = 0x8100,
  ["802.1ad"] = 0x88a8, mpls_uc = 0x8847, mpls_mc = 0x8848, lldp = 0x88cc, loop = 0x0060 }
local protocol_names = {}
for name, number in pairs(protocols) do
  protocol_names[number] = name ~= "ipv4" and name or protocol_names[number]
end
protocol_names[0x0800], protocol_names[0x8100] = "ip", "802.1Q"

---@class nslua.Filter  a row
---@field kind string        "u32", "bpf", "matchall", "flower", "fw", "basic"
---@field dev string?        `dev_index`
---@field parent string?     "ingress", "egress", "1:", "1:10"; `parent_number`
---@field block integer?     the block that qdiscs share (`ingress_block`, `egress_block`); it has no dev and no parent
---@field pref integer       what is asked first has the lowest
---@field protocol string|integer  "ip", "ipv6", "arp", "802.1Q", "all"
---@field handle string|integer    "800::800" of u32, a number of others; `handle_number`
---@field chain integer
---@field classid string?    where its packets go
---@field action table[]?    what is done with them: { kind = "mirred", egress = "redirect", dev = "ifb0", index =, stats = }
---@field in_hw boolean      the network card does it

local filter = { name = "filter", noun = "kind", new = NEW, del = DEL, get = GET, methods = {},
  none = { [ENOENT] = "no such filter", [EINVAL] = "no such filter" }, missing = ENOENT }

filter.writers = { true, kind = true, dev = true, block = true, parent = true, pref = true, protocol = true, handle = true, chain = true,
  classid = true, action = true, skip_hw = true, skip_sw = true }
filter.matchers = tcm.matchers "filter"

-- The two halves of `info`: the preference, and the protocol in network order.
local little
local function swap(number)
  if little == nil then
    little = (filter.schema or verbs.schema(filter)):encode({ info = 1 }):byte(17) == 1
  end
  return little and number % 256 * 256 + math.floor(number / 256) or number
end

local function protocol_number(value, call)
  local number = type(value) == "string" and (protocols[value:lower()] or tonumber(value)) or value
  if type(number) ~= "number" or number < 0 or number > 65535 or number % 1 ~= 0 then
    errors.misuse("%s: %s", call, type(value) == "string" and check.unknown("protocol", value, protocols) or "protocol must be a name or a number")
  end
  return number
end

local function preference(value, call)
  if type(value) ~= "number" or value < 1 or value > 65535 or value % 1 ~= 0 then
    errors.misuse("%s: pref must be 1 to 65535, got %s", call, tostring(value))
  end
  return value
end

local function handle_number(kind, value, call)
  if known[kind] and known[kind].handle_number then
    return known[kind].handle_number(value, call, "handle")
  end
  local number = tonumber(value)
  if not number then
    errors.misuse("%s: handle %s is no number", call, tostring(value))
  end
  return number
end

local computed = tcm.computed("filter", known)
computed.xstats, computed.stats = nil, nil
computed.block = function(row)
  return schema.raw(row, "dev_index") == BLOCK and schema.raw(row, "parent_number") or nil
end
-- What a filter of a block has not: the wire has the block there.
for _, word in ipairs { "dev_index", "parent_number" } do
  computed[word] = function(row)
    return schema.raw(row, "dev_index") ~= BLOCK and schema.raw(row, word) or nil
  end
end
local parent_text = computed.parent
computed.parent = function(row)
  return row.block == nil and parent_text(row) or nil
end
computed.pref = function(row)
  return math.floor(row.info / 65536)
end
computed.protocol_number = function(row)
  return swap(row.info % 65536)
end
computed.protocol = function(row)
  local number = swap(row.info % 65536)
  return protocol_names[number] or number
end
computed.chain = function(row)
  return schema.raw(row, "chain") or 0
end
computed.handle = function(row)
  local kind = known[row.kind]
  return kind and kind.handle_text and kind.handle_text(row.handle_number) or row.handle_number
end
local function option(row, key)
  local options = row.options
  return type(options) == "table" and options[key] or nil
end
computed.classid = function(row)
  local number = option(row, "classid")
  return number and handle.text(number)
end
computed.action = function(row, set)
  local list = option(row, "action")
  return list and action.read(list, set)
end
computed.in_hw = function(row)
  return math.floor((option(row, "flags") or 0) / IN_HW) % 2 == 1
end
for word, bit in pairs { skip_hw = SKIP_HW, skip_sw = SKIP_SW } do
  computed[word] = function(row)
    return math.floor((option(row, "flags") or 0) / bit) % 2 == 1 or nil
  end
end

-- What the kernel tells of besides: the place of a preference, and heads of tables.
function filter.visible(row)
  local kind = known[row.kind]
  return row.handle_number ~= 0 and (not kind or not kind.visible or kind.visible(row))
end

-- Whether a network card has it is told, and not taken; of what polices, not all that is wanted is told.
function filter.restored(message)
  local options = message.options
  local flags = type(options) == "table" and options.flags
  for _, bit in ipairs { IN_HW, NOT_IN_HW } do
    flags = flags and math.floor(flags / bit) % 2 == 1 and flags - bit or flags
  end
  if flags then
    options.flags = flags
  end
  action.restored(type(options) == "table" and options.action or {})
end

local hidden = { "stats", "hw_offload", "ingress_block", "egress_block" }
for _, key in ipairs(tcm.hidden) do
  hidden[#hidden + 1] = key
end

-- Writing -------------------------------------------------------------------------------------------------------------------------

local function flag(t, call, word, bit)
  if t[word] ~= nil and type(t[word]) ~= "boolean" then
    errors.misuse("%s: %s must be true or false, got %s", call, word, type(t[word]))
  end
  return t[word] and bit or 0
end

local function check_block(value, call)
  if type(value) ~= "number" or value < 1 or value > 4294967295 or value % 1 ~= 0 then
    errors.misuse("%s: block must be a number from 1, got %s", call, tostring(value))
  end
  return value
end

-- Index and parent of where words are, as the wire has them.
local function place_of(self, t, call)
  if t.block == nil then
    if t.dev == nil then
      errors.misuse("%s: dev or block is needed", call)
    end
    return tcm.dev(self, t, call), tcm.handle(t, "parent", call, "filter")
  elseif t.dev ~= nil then
    errors.misuse("%s: dev and block cannot both be said", call)
  elseif t.parent ~= nil then
    errors.misuse("%s: a block has no parent: qdiscs name it by ingress_block and egress_block", call)
  end
  return BLOCK, check_block(t.block, call)
end

-- The message of words. `place`: without what is done.
local function message_of(self, call, t, place)
  verbs.options(call, t, filter.writers, known)
  local kind, options = tcm.kind(call, t, known)
  if not kind and not place then
    errors.misuse("%s: the kind at [1] is needed: \"u32\", \"flower\", \"matchall\", \"bpf\", \"fw\", \"basic\"", call)
  end
  local protocol = t.protocol ~= nil and protocol_number(t.protocol, call) or not place and ANY or 0
  local pref = t.pref ~= nil and preference(t.pref, call) or 0
  local index, parent = place_of(self, t, call)
  local message = { kind = kind, dev_index = index, parent_number = parent, chain = t.chain,
    handle_number = t.handle ~= nil and handle_number(kind, t.handle, call) or nil, info = pref * 65536 + swap(protocol) }
  local form = known[kind]
  if place then
    return message, options
  end
  if t.chain == 0 then
    message.chain = nil
  end
  local act = t.action ~= nil and action.write(call, t.action, self.handle) or nil
  local classid = tcm.handle(t, "classid", call)
  if form then
    local context = { final = act ~= nil or classid ~= nil, protocol = protocol, any = ANY, number = protocol_number }
    local data = kinds.write(call, form, options or {}, context)
    data.classid, data.action = classid, act
    local flags = flag(t, call, "skip_hw", SKIP_HW) + flag(t, call, "skip_sw", SKIP_SW)
    if flags > 0 then
      data.flags = flags
    end
    message.options = data
  elseif act or classid then
    errors.misuse("%s: nothing is known of filters of kind %q but that they are there", call, kind)
  end
  return message, options
end

-- The row that the kernel would make of words.
local function told(self, message)
  local S = filter.schema or verbs.schema(filter)
  return S:row(S:encode(message), filter.class, verbs.rowset(self))
end

local function same_actions(wanted, found)
  if #wanted ~= #(found or {}) then
    return false
  end
  for i, one in ipairs(wanted) do
    for key, value in pairs(one) do
      local ignored = key == "bindings" or key == "index" and value == 0 -- that of the kernel's choice
      if not ignored and not kinds.alike(value, found[i][key], key == "burst" and 1 or nil) then
        return false
      end
    end
  end
  return true
end

-- Whether a row does what these words say.
local function same(self, message, options, row)
  local expected = told(self, message)
  if row.kind ~= expected.kind or row.protocol_number ~= expected.protocol_number or row.classid ~= expected.classid
    or row.chain ~= expected.chain or not same_actions(expected.action or {}, row.action) then
    return false
  end
  local form = known[row.kind]
  local want, have = form and expected[row.kind] or {}, form and row[row.kind] or {}
  for word in pairs(options or {}) do
    if not (form.untold and form.untold[word]) and not kinds.alike(want[word], have[word]) then
      return false
    end
  end
  return true
end

-- Filters of filters --------------------------------------------------------------------------------------------------------------

local matchers = filter.matchers
matchers.chain, matchers.in_hw, matchers.skip_hw, matchers.skip_sw, matchers.protocol_number = true, true, true, true, true
matchers.pref = true
-- The kernel is asked about the blocks of a link or parent, and tells their filters without either.
for _, word in ipairs { "dev", "parent" } do
  local matcher = matchers[word]
  matchers[word] = function(self, value, call)
    local field, wanted = matcher(self, value, call)
    return function(row)
      return row.block ~= nil or row[field] == wanted
    end
  end
end
matchers.block = function(_, value, call)
  return "block", check_block(value, call)
end
matchers.protocol = function(_, value, call)
  return "protocol_number", protocol_number(value, call)
end
matchers.classid = function(_, value, call)
  local text = handle.text(handle.number(value, call, "classid"))
  return "classid", text
end
matchers.handle = function(_, value)
  return function(row)
    return row.handle == value or row.handle_number == value or row.handle_number == tonumber(value)
  end
end
matchers.action = function(self, value, call)
  local S = filter.schema or verbs.schema(filter)
  local sent = { kind = "matchall", options = { action = action.write(call, value, self.handle) } }
  local wanted = S:row(S:encode(sent), filter.class, verbs.rowset(self)).action
  return function(row)
    return same_actions(wanted, row.action)
  end
end
tcm.kinds(filter, known, computed)
for name, form in pairs(known) do
  matchers[name] = function(_, value, call)
    if type(value) ~= "table" then
      errors.misuse("%s: %s must be a table of its options, got %s", call, name, type(value))
    end
    for word in pairs(value) do
      if not form.words[word] then
        errors.misuse("%s: %s: %s", call, name, check.unknown("key", word, form.words))
      end
    end
    return function(row)
      if row.kind ~= name then
        return false
      end
      local context = { final = true, protocol = row.protocol_number, any = ANY, number = protocol_number }
      local expected = kinds.read(form, (filter.schema or verbs.schema(filter)):decode(
        (filter.schema or verbs.schema(filter)):encode { kind = name, options = kinds.write(call, form, value, context) }).options)
      local found = row[name] or {}
      for word in pairs(value) do
        if not kinds.alike(expected[word], found[word]) then
          return false
        end
      end
      return true
    end
  end
end

filter.class = schema.class {
  name = "filter",
  computed = computed,
  hidden = hidden,
  same = function(a, b)
    return a.block == b.block and a.dev_index == b.dev_index and a.parent_number == b.parent_number and a.info == b.info
      and a.handle_number == b.handle_number and a.chain == b.chain and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}
filter.detail = tcm.describer { 1, "kind", "dev", "block", "parent", "pref", "protocol", "handle", "chain" }

-- Where filters can be on a link: the kernel tells of one place at a time. A block is one place, however many share it.
local PLACES = { clsact = { "ingress", "egress" }, ingress = { "ingress" } }
local function parents(self, index, wanted)
  local collection = require("nslua.rtnl").collection
  local out, blocks, classful = {}, {}, {}
  local function place(dev, parent, block)
    if wanted and parent ~= wanted or block and blocks[block] then
      return
    elseif block then
      blocks[block] = true
      dev, parent = BLOCK, block
    end
    out[#out + 1] = { dev, parent }
  end
  for row in collection(self.handle, "qdisc"):each(index and { dev = index } or nil) do
    local kind, dev = row.kind, row.dev_index
    for _, name in ipairs(PLACES[kind] or {}) do
      place(dev, handle.number(name, "filter.list", "parent", "filter"), row[name .. "_block"])
    end
    if row.handle_number > 0 and not PLACES[kind] and kind ~= "mq" and (kinds.classes[kind] or not kinds.kinds[kind]) then
      place(dev, row.handle_number)
      if kind == "htb" then
        classful[dev] = true
      end
    end
  end
  for dev in pairs(classful) do
    for class in collection(self.handle, "class"):each { dev = dev } do
      if class.kind == "htb" then
        place(dev, class.classid_number)
      end
    end
  end
  return out
end

function filter.payloads(self, words, call)
  local S = filter.schema or verbs.schema(filter)
  local index, parent
  if words.block ~= nil then
    index, parent = place_of(self, words, call)
  else
    index = words.dev and tcm.dev(self, words, call) or words.dev_index
    parent = words.parent and tcm.handle(words, "parent", call, "filter")
  end
  local payloads = {}
  for i, place in ipairs(index and parent and { { index, parent } } or parents(self, index, parent)) do
    payloads[i] = S:encode { dev_index = place[1], parent_number = place[2], chain = words.chain or nil }
  end
  return payloads
end

-- Finding one ---------------------------------------------------------------------------------------------------------------------

local KEY = { dev = true, block = true, parent = true, pref = true, handle = true, kind = true, protocol = true, chain = true, [1] = true }

local function key_words(call, key)
  local kind = type(key)
  if kind == "userdata" then
    return { dev = key.dev_index, block = key.block, parent = key.parent_number, pref = key.pref, handle = key.handle_number, kind = key.kind,
      protocol = key.protocol_number, chain = key.chain }
  elseif kind == "table" then
    verbs.options(call .. ": key", key, KEY)
    if key.dev == nil and key.block == nil then
      errors.misuse("%s: dev or block is needed", call)
    end
    return key
  end
  errors.misuse("%s: a filter is named by { dev =, parent =, pref =, ... }, { block =, pref =, ... } or its row, got %s", call, kind)
end
filter.key_words = key_words

function filter.find(self, call, key)
  return verbs.list(self, key_words(call, key))[1]
end

-- Verbs ---------------------------------------------------------------------------------------------------------------------------

local unknown_kind = { ["TC classifier not found"] = true, ["Specified filter kind is unknown"] = true }
local SHARED = "This filter block is shared. Please use the block index to manipulate the filters"
local unknown_action = { ["Failed to load TC action module"] = true }

local function send(self, call, flags, message, words, asked, none)
  local no_kind = tcm.hint("filter", "cls_%s", message.kind, known, unknown_kind)
  local function hint(errno, extack)
    if unknown_action[extack] then
      local names = {}
      for i, act in ipairs(message.options and message.options.action or {}) do
        names[i] = "act_" .. act.kind
      end
      return ("this kernel has not all of these actions: `modprobe -a %s`, or a kernel that has them"):format(table.concat(names, " "))
    end
    if extack == SHARED then
      return "its filters are those of a block: say block = the qdisc's ingress_block or egress_block, and neither dev nor parent"
    end
    if errno == core.errno.EEXIST and flags == 0 and message.kind == "matchall" then
      return "a matchall cannot be changed: delete it and add it"
    end
    return no_kind(errno, extack)
  end
  return tcm.write(self, call, flags, message, { words = words, asked = asked, hint = hint, none = none })
end

local function made(self, call, flags, t)
  local message = message_of(self, call, t)
  local queued, replies = send(self, call, flags, message, t)
  if queued then
    return nil
  end
  local row = verbs.echoed(self, replies)
  if row and row.handle_number ~= 0 then
    return row
  end
  -- older kernels (6.1) echo a matchall as the place it is at
  local rows = verbs.list(self, { dev = t.dev, block = t.block, parent = row and row.parent_number or t.parent, kind = message.kind,
    pref = row and row.pref or t.pref, chain = t.chain or 0, handle = t.handle })
  return rows[#rows]
end

local methods = filter.methods

---Add a filter. rtnetlink(7), RTM_NEWTFILTER.
---
---`t`: the kind at [1], dev (or `block`: of all qdiscs with that `ingress_block` or `egress_block`), parent ("ingress" and "egress" of a clsact
---or ingress qdisc, "1:", "1:10"; the link's root qdisc), pref (the kernel chooses one below those there are), protocol ("ip", "ipv6", "arp",
---"802.1Q"; "all" is the default), handle, chain, classid (where its packets go), action, skip_hw, skip_sw, and a table named after the kind:
---`u32 = { match = "ip dst 10.0.0.0/8" | { value, mask, off } | a list of these }` (words of tc-u32(8)),
---`flower = { ip_proto = "tcp", dst_port = 80, src_ip =, dst_ip =, src_mac =, dst_mac =, vlan_id =, tcp_flags =, ip_tos =, ip_ttl =, ... }`,
---`bpf = { fd = | ops = { { code, jt, jf, k }, ... }, name =, direct_action = }`, `matchall`, `fw = { mask =, indev = }` (handle: the mark), `basic`.
---
---`action`: "drop", "pass", "pipe", "continue", "reclassify", "goto chain 3"; `{ "mirred", egress = "redirect", dev = "ifb0" }` (or "mirror",
---or `ingress =`); `{ "gact", control = "drop", random = { "netrand", "pass", 4 } }`;
---`{ "police", rate = "1mbit", burst = "10kb", exceed = "drop" }`; or a list of these.
---@param t table
---@return nslua.Filter? row  nothing in a batch
function methods:add(t)
  return made(self, "filter.add", netlink.CREATE + netlink.EXCL + netlink.ECHO, t)
end

---The same, in place of the one of that pref and handle.
---@param t table
---@return nslua.Filter?
function methods:replace(t)
  return made(self, "filter.replace", netlink.CREATE + netlink.ECHO, t)
end

-- Words of a row, with others in their place.
local function update(self, call, row, t, options, asked)
  local form = known[row.kind]
  local words = { row.kind, dev = row.dev_index, block = row.block, parent = row.parent_number, pref = row.pref, protocol = row.protocol_number,
    handle = row.handle_number, chain = row.chain, classid = row.classid, action = row.action, skip_hw = row.skip_hw, skip_sw = row.skip_sw }
  for _, word in ipairs { "classid", "action", "skip_hw", "skip_sw" } do
    if t[word] ~= nil then
      words[word] = t[word] or nil
    end
  end
  if form then
    words[row.kind] = kinds.merge(form, row[row.kind] or {}, options or {}, true)
  end
  send(self, call, 0, message_of(self, call, words), row, asked, filter.none)
end

---Change what a filter does; what is not said stays as it is, `false` takes away. A program given by `fd` must be given again; a matchall
---cannot be changed (EEXIST).
---@param key table  { dev = | block =, parent =, pref =, handle =, kind =, protocol = } or a row
---@param t table
function methods:change(key, t)
  local call = "filter.change"
  verbs.options(call, t, filter.writers, known)
  local row = type(key) == "userdata" and filter.find(self, call, key) or verbs.existing(self, call, key)
  local kind, options = tcm.kind(call, t, known)
  if kind and kind ~= row.kind then
    errors.misuse("%s: it is of kind %s: replace it", call, row.kind)
  end
  for _, word in ipairs { "dev", "block", "parent", "pref", "protocol", "chain", "handle" } do
    if t[word] ~= nil then
      errors.misuse("%s: %s cannot be changed", call, word)
    end
  end
  update(self, call, row, t, options, { call = call, key, t })
end

---Make it so if it is not: one that does the same is left alone; with a handle, that one is changed; else it is added.
---@param t table  as for `add`
---@return nslua.Filter? row
function methods:ensure(t)
  local call = "filter.ensure"
  local message, options = message_of(self, call, t)
  local rows = verbs.list(self, { dev = t.dev, block = t.block, parent = t.parent, kind = message.kind, pref = t.pref, chain = t.chain or 0 })
  for _, row in ipairs(rows) do
    if (not message.handle_number or message.handle_number == row.handle_number) and same(self, message, options, row) then
      return row
    end
  end
  for _, row in ipairs(rows) do
    if message.handle_number == row.handle_number then
      update(self, call, row, t, options)
      return not netlink.batching(self.handle) and filter.find(self, call, row) or nil
    end
  end
  return self:add(t)
end

---Delete a filter; without a handle in the key, all those of its pref.
---@param key table  with dev (or block) and pref, or a row
---@param options? { absent: "ok" }
function methods:delete(key, options)
  local call = "filter.delete"
  local absent = verbs.absent_ok(call, options)
  local words = key_words(call, key)
  if words.pref == nil then
    errors.misuse("%s: pref is needed: without it every filter would go", call)
  end
  if words.parent == nil and words.block == nil then
    local row = verbs.existing(self, call, words, absent)
    if not row then
      return
    end
    local found = { parent = row.parent_number }
    for word, value in pairs(words) do
      found[word] = value
    end
    words = found
  end
  local message = message_of(self, call, words, true)
  netlink.remove(self, call, (filter.schema or verbs.schema(filter)):encode(message), filter.detail(key_words(call, key)), absent, key)
end

filter.inverses = traffic.inverses

return verbs.object(filter)
