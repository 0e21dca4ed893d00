-- Rules of nf_tables in the words of nft(8), and what they say as values: what a register was loaded with is named where it is compared.

local core = require "nslua.core"
local xt = require "nslua.inspect.look.xt"

local M = {}

local unpack = string.unpack
local SHOWN = 20 -- elements of a set without a name

local ethertypes = { [0x0800] = "ip", [0x0806] = "arp", [0x86dd] = "ip6", [0x8100] = "vlan" }
local ct_states = { [1] = "invalid", [2] = "established", [4] = "related", [8] = "new", [64] = "untracked" }
local ct_status = { [1] = "expected", [2] = "seen-reply", [4] = "assured", [8] = "confirmed", [16] = "snat", [32] = "dnat", [512] = "dying" }
local compare = { eq = "", neq = "!= ", lt = "< ", lte = "<= ", gt = "> ", gte = ">= " }

local function host_number(bytes)
  return #bytes <= 8 and unpack("=I" .. #bytes, bytes) or nil
end

local function net_number(bytes)
  return #bytes <= 8 and unpack(">I" .. #bytes, bytes) or nil
end

local function hex(bytes)
  return "0x" .. bytes:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end)
end

-- type of a value -> what its bytes are
local shown = {
  address = function(bytes)
    return (#bytes == 4 or #bytes == 16) and core.inet.text(bytes) or hex(bytes)
  end,
  port = net_number, number = net_number, host = host_number,
  proto = function(bytes)
    return xt.protocols[bytes:byte()] or bytes:byte()
  end,
  nfproto = function(bytes)
    return ({ [2] = "ipv4", [10] = "ipv6" })[bytes:byte()] or bytes:byte()
  end,
  name = function(bytes)
    return bytes:find "%z" and bytes:match "^%Z*" or bytes .. "*"
  end,
  mark = function(bytes)
    return ("0x%x"):format(host_number(bytes) or 0)
  end,
  ethertype = function(bytes)
    return ethertypes[net_number(bytes)] or hex(bytes)
  end,
  mac = function(bytes)
    return (bytes:gsub(".", function(c)
      return (":%02x"):format(c:byte())
    end):sub(2))
  end,
  state = function(bytes)
    return table.concat(xt.bits(host_number(bytes) or 0, ct_states), ",")
  end,
  status = function(bytes)
    return table.concat(xt.bits(host_number(bytes) or 0, ct_status), ",")
  end,
  flags = function(bytes)
    return table.concat(xt.bits(bytes:byte(), xt.tcp_flags), ",")
  end,
  addrtype = function(bytes)
    return ({ [0] = "unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit" })[host_number(bytes)]
      or hex(bytes)
  end,
}

local function text_of(load, bytes)
  return (shown[load.type] or hex)(bytes) or hex(bytes)
end

local metas = { iifname = { "iifname", "name", "iif" }, oifname = { "oifname", "name", "oif" }, iif = { "iif", "host", "iif_index" },
  oif = { "oif", "host", "oif_index" },
  mark = { "meta mark", "mark" }, l4proto = { "meta l4proto", "proto", "proto" }, nfproto = { "meta nfproto", "nfproto", "nfproto" },
  protocol = { "meta protocol", "ethertype" }, skuid = { "meta skuid", "host" }, skgid = { "meta skgid", "host" } }

-- "ip saddr" of a load from a packet, where it is known.
local function payload(state, data)
  local base, at, len = data.base, data.offset, data.len
  local v6 = state.family == "ip6" or state.nfproto == "ipv6"
  local v4 = state.family == "ip" or state.nfproto == "ipv4"
  if base == "network" and v4 then
    if (at == 12 or at == 16) and len <= 4 then
      return { words = at == 12 and "ip saddr" or "ip daddr", type = "address", field = at == 12 and "src" or "dst", whole = 4, implies = "nfproto" }
    elseif at == 9 then
      return { words = "ip protocol", type = "proto", field = "proto" }
    end
  elseif base == "network" and v6 then
    if at == 8 and len > 1 or at == 24 then
      return { words = at == 8 and "ip6 saddr" or "ip6 daddr", type = "address", field = at == 8 and "src" or "dst", whole = 16, implies = "nfproto" }
    elseif at == 6 then
      return { words = "ip6 nexthdr", type = "proto", field = "proto" }
    end
  elseif base == "transport" then
    local proto = state.proto_word()
    local named = proto ~= "th"
    local icmp = proto == "icmp" or proto == "icmpv6"
    if icmp and len == 2 and at == 0 then
      return { words = proto, type = "pair", implies = "l4proto" }
    elseif len == 2 and (at == 0 or at == 2) and not icmp then
      return { words = proto .. (at == 0 and " sport" or " dport"), type = "port", field = at == 0 and "sport" or "dport",
        implies = named and "l4proto" or nil }
    elseif proto == "tcp" and at == 13 then
      return { words = "tcp flags", type = "flags", implies = "l4proto" }
    elseif icmp and len == 1 and at < 2 then
      local word = at == 0 and "type" or "code"
      return { words = proto .. " " .. word, type = "number", implies = "l4proto", field = "icmp_" .. word }
    end
  elseif base == "link" and len == 6 and (at == 0 or at == 6) then
    return { words = at == 0 and "ether daddr" or "ether saddr", type = "mac" }
  end
  return { words = ("@%s,%d,%d"):format(({ link = "ll", network = "nh", transport = "th", inner = "ih" })[base] or base, at * 8, len * 8) }
end

local function slot(register)
  return register >= 8 and register - 8 or (register - 1) * 4
end

local function prefix_bits(mask)
  local bits, ended = 0, false
  for i = 1, #mask do
    for bit = 7, 0, -1 do
      local set = mask:byte(i) >> bit & 1 == 1
      if set and ended then
        return nil
      end
      ended = ended or not set
      bits = bits + (set and 1 or 0)
    end
  end
  return bits
end

-- A value a register is compared with: with the mask that was laid over it, or as the prefix of which only its bytes were loaded.
local function value_of(load, bytes)
  if load.type == "address" and #bytes < (load.whole or 0) then
    return ("%s/%d"):format(core.inet.text(bytes .. ("\0"):rep(load.whole - #bytes)), #bytes * 8)
  elseif load.mask and load.type == "address" then
    local bits = prefix_bits(load.mask)
    return bits and ("%s/%d"):format(text_of(load, bytes), bits) or ("%s & %s"):format(text_of(load, bytes), text_of(load, load.mask))
  end
  return text_of(load, bytes)
end

local function say(state, words, load)
  if load and load.implies and state.implied[load.implies] then
    state.words[state.implied[load.implies]] = ""
  end
  if state.implied.nfproto and (words:find "^ip6? " or words:find "^icmpv?6? ") then -- they are of one family
    state.words[state.implied.nfproto] = ""
  end
  state.words[#state.words + 1] = words
end

local handlers = {}

function handlers.meta(state, data)
  local known = metas[data.key] or { "meta " .. tostring(data.key), "host" }
  if data.sreg then
    local from = state.registers[slot(data.sreg)]
    say(state, ("%s set %s"):format(known[1], from and (from.bytes and text_of({ type = known[2] }, from.bytes) or from.words) or "?"))
  else
    state.registers[slot(data.dreg)] = { words = known[1], type = known[2], field = known[3], key = data.key }
  end
end

function handlers.payload(state, data)
  if data.sreg then
    say(state, payload(state, data).words .. " set")
  else
    state.registers[slot(data.dreg)] = payload(state, data)
  end
end

function handlers.ct(state, data)
  local types = { state = "state", status = "status", mark = "mark" }
  if data.sreg then
    say(state, ("ct %s set"):format(data.key))
  else
    local way = data.direction and (data.direction == 0 and "original " or "reply ") or ""
    local address = ({ src = 1, dst = 1, src_ip = 1, dst_ip = 1, src_ip6 = 1, dst_ip6 = 1 })[data.key]
    state.registers[slot(data.dreg)] = { words = ("ct %s%s"):format(way, data.key), key = data.key,
      type = types[data.key] or address and "address" or "host", field = data.key == "state" and "state" or nil }
  end
end

function handlers.fib(state, data)
  local from = xt.bits(data.flags or 0, { [1] = "saddr", [2] = "daddr", [4] = "mark", [8] = "iif", [16] = "oif" })
  local result = ({ [1] = "oif", [2] = "oifname", [3] = "type" })[data.result] or tostring(data.result)
  state.registers[slot(data.dreg)] = { words = ("fib %s %s"):format(table.concat(from, " . "), result),
    type = result == "type" and "addrtype" or result == "oifname" and "name" or "host" }
end

function handlers.bitwise(state, data)
  local load = state.registers[slot(data.sreg)]
  local copy = {}
  for key, value in pairs(load or { words = "?" }) do
    copy[key] = value
  end
  copy.mask = data.mask and data.mask.value
  state.registers[slot(data.dreg)] = copy
end

function handlers.cmp(state, data)
  local load, bytes = state.registers[slot(data.sreg)] or { words = "?" }, data.data.value or ""
  if load.mask and load.type ~= "address" then
    if data.op == "neq" and not bytes:find "[^%z]" and (load.type == "state" or load.type == "status" or load.type == "flags") then
      local names = {}
      for name in text_of(load, load.mask):gmatch "[^,]+" do
        names[#names + 1] = name
      end
      if load.field then
        xt.note(state.facts, load.field, names)
      else
        state.facts.more = true
      end
      return say(state, load.words .. " " .. table.concat(names, ","), load)
    end
    state.facts.more = true
    if load.type == "flags" then
      return say(state, ("%s %s%s / %s"):format(load.words, compare[data.op], text_of(load, bytes), text_of(load, load.mask)), load)
    end
    return say(state, ("%s & %s %s%s"):format(load.words, text_of(load, load.mask), data.op == "eq" and "== " or compare[data.op] or "",
      text_of(load, bytes)), load)
  end
  local value = value_of(load, bytes)
  if data.op == "eq" and load.type == "pair" then
    xt.note(state.facts, "icmp_type", { bytes:byte(1) })
    xt.note(state.facts, "icmp_code", { bytes:byte(2) })
    say(state, ("%s type %d %s code %d"):format(load.words, bytes:byte(1), load.words, bytes:byte(2)), load)
  elseif data.op == "eq" or data.op == "neq" then
    local known = load.key == "protocol" and { ip = "ipv4", ip6 = "ipv6" }
    if known and known[value] then
      xt.asks(state.facts, "nfproto", "", { known[value] }, data.op == "neq")
      say(state, ("%s %s%s"):format(load.words, compare[data.op], value), load)
    else
      say(state, xt.asks(state.facts, load.field, load.words, { value }, data.op == "neq"), load)
    end
    if data.op == "eq" and load.key == "nfproto" then
      state.nfproto, state.implied.nfproto = value, #state.words
    elseif data.op == "eq" and load.key == "protocol" then
      state.nfproto, state.implied.nfproto = ({ ip = "ipv4", ip6 = "ipv6" })[value], #state.words
    elseif data.op == "eq" and load.key == "l4proto" then
      state.implied.l4proto = #state.words
    end
  elseif data.op == "lte" and load.from then -- from a to b are two comparisons
    state.words[#state.words] = xt.asks(state.facts, load.field, load.words, { { load.from, value } }, false)
    state.open = state.open - 1
  else
    state.open = state.open + 1
    load.from = data.op == "gte" and value or nil
    say(state, ("%s %s%s"):format(load.words, compare[data.op] or "", value), load)
  end
end

function handlers.range(state, data)
  local load = state.registers[slot(data.sreg)] or { words = "?" }
  local from, to = value_of(load, data.from_data.value), value_of(load, data.to_data.value)
  say(state, xt.asks(state.facts, load.field, load.words, { { from, to } }, data.op == "neq" or data.op == 1), load)
end

local function verdict_text(verdict)
  return verdict.chain and ("%s %s"):format(verdict.code, verdict.chain) or tostring(verdict.code)
end

-- The values of a set without a name: intervals come as their first value, and a mark where they end.
local function elements(state, name, loads)
  local set = state.set(name)
  if not set or not set.flags or not set.flags.anonymous then
    return nil
  end
  local out, list = {}, {}
  for _, element in ipairs(set.elements) do
    if element.key and element.key.value then
      list[#list + 1] = element
    end
  end
  local load = loads[1]
  local simple = not loads[2] and not set.flags.concat
  table.sort(list, function(a, b)
    return a.key.value < b.key.value
  end)
  for i, element in ipairs(list) do
    local ends = element.flags and element.flags.interval_end
    if simple and set.flags.interval and not ends then
      local after = list[i + 1] and list[i + 1].flags and list[i + 1].flags.interval_end and list[i + 1].key.value
      local last = after and core.inet and M.before(after) or ("\255"):rep(#element.key.value)
      local value = M.interval(load, element.key.value, last)
      out[#out + 1] = { value, element }
    elseif simple and not ends then
      out[#out + 1] = { text_of(load, element.key.value), element }
    elseif not ends then
      local parts, at = {}, 1
      for j, each in ipairs(loads) do
        local width = each.whole or (each.type == "address" and 4) or (each.type == "port" and 2) or 4
        parts[j] = tostring(text_of(each, element.key.value:sub(at, at + width - 1)))
        at = at + (width + 3) // 4 * 4
      end
      out[#out + 1] = { table.concat(parts, " . "), element }
    end
  end
  return out
end

---The bytes that are one less, as a number.
---@param bytes string
---@return string
function M.before(bytes)
  local out, borrow = {}, 1
  for i = #bytes, 1, -1 do
    local byte = bytes:byte(i) - borrow
    borrow = byte < 0 and 1 or 0
    out[i] = string.char(byte & 0xff)
  end
  return table.concat(out)
end

---A value, a prefix or a range of what is between two, both within.
---@param load table
---@param first string
---@param last string
---@return any
function M.interval(load, first, last)
  if first == last then
    return text_of(load, first)
  elseif load.type == "address" then
    for bits = #first * 8 - 1, 0, -1 do
      local same = true
      for i = 1, #first do
        local kept = math.max(0, math.min(8, bits - (i - 1) * 8))
        local mask = 0xff << 8 - kept & 0xff
        local a, b = first:byte(i), last:byte(i)
        same = same and a & mask == b & mask and a & ~mask & 0xff == 0 and b & ~mask & 0xff == ~mask & 0xff
      end
      if same then
        return ("%s/%d"):format(text_of(load, first), bits)
      end
    end
  end
  return { text_of(load, first), text_of(load, last) }
end

function handlers.lookup(state, data)
  local first = slot(data.sreg)
  local loads = { state.registers[first] or { words = "?" } }
  local set = state.set(data.set)
  if set and set.flags and set.flags.concat then
    local at = first
    for i = 2, 5 do -- what follows in the registers behind it
      at = at + (((loads[i - 1].whole or 4) + 3) // 4)
      if not state.registers[at] or (at - first) * 4 >= (set.key_len or 0) then
        break
      end
      loads[i] = state.registers[at]
    end
  end
  local words = {}
  for i, load in ipairs(loads) do
    words[i] = load.words
  end
  local inverted = (data.flags or 0) & 1 == 1
  local found = elements(state, data.set, loads)
  local text, values = nil, {}
  if found then
    local texts = {}
    for i, each in ipairs(found) do
      values[i] = each[1]
      local to = each[2].data
      texts[i] = i <= SHOWN and xt.text(each[1]) .. (to and " : " .. (to.verdict and verdict_text(to.verdict) or M.unknown(to.value)) or "") or nil
    end
    text = ("{ %s%s }"):format(table.concat(texts, ", "), #found > SHOWN and (", ... %d more"):format(#found - SHOWN) or "")
  end
  text = text or "@" .. data.set
  local what = table.concat(words, " . ")
  if data.dreg and data.dreg ~= 0 then
    state.registers[slot(data.dreg)] = { words = ("%s map %s"):format(what, text) }
    for _, load in ipairs(loads) do
      if load.implies and state.implied[load.implies] then
        state.words[state.implied[load.implies]] = ""
      end
    end
    return
  end
  if found and not loads[2] and loads[1].field and not loads[1].mask then
    values.inverted = inverted or nil
    xt.note(state.facts, loads[1].field, values)
  else
    state.facts.more = true
  end
  if data.dreg == 0 then -- a map of verdicts
    local map = found and state.facts.match[loads[1].field] == values and {} or nil
    for i, each in ipairs(map and found or {}) do
      local verdict = each[2].data and each[2].data.verdict
      map[i] = verdict and { each[1], verdict.code, verdict.chain }
    end
    state.facts.verdicts, state.facts.verdict_of = map, map and loads[1].field
    state.facts.ends = state.facts.ends or not map or nil
  end
  say(state, ("%s %s%s%s"):format(what, inverted and "!= " or "", data.dreg and "vmap " or "", text), loads[1])
  for i = 2, #loads do
    if loads[i].implies and state.implied[loads[i].implies] then
      state.words[state.implied[loads[i].implies]] = ""
    end
  end
end

---The value of a map, which says of itself only how long it is.
---@param bytes string
---@return string
function M.unknown(bytes)
  return (#bytes == 4 or #bytes == 16) and core.inet.text(bytes) or #bytes == 2 and tostring(net_number(bytes)) or hex(bytes)
end

function handlers.immediate(state, data)
  local verdict = data.data and data.data.verdict
  if verdict then
    state.facts.verdict, state.facts.to = verdict.code, verdict.chain
    say(state, verdict_text(verdict))
  else
    state.registers[slot(data.dreg)] = { words = hex(data.data.value or ""), bytes = data.data.value or "" }
  end
end

function handlers.counter(state, data)
  state.facts.packets, state.facts.bytes = data.packets, data.bytes
end

local function register(state, n, type)
  local load = n and state.registers[slot(n)]
  return load and (load.bytes and text_of({ type = type }, type == "port" and load.bytes:sub(1, 2) or load.bytes) or load.words)
end

local function nat(state, type, word, data)
  local v6 = data.family == "inet6" or data.family == "ipv6" or state.family == "ip6"
  local function address(n)
    local load = n and state.registers[slot(n)]
    if load and load.bytes then
      return core.inet.text(load.bytes:sub(1, v6 and 16 or 4))
    end
    return nil, load and load.words
  end
  local out = { type = type }
  out.address, out.address_map = address(data.reg_addr_min)
  out.address_max = address(data.reg_addr_max)
  out.address_max = out.address_max ~= out.address and out.address_max or nil
  out.port, out.port_max = register(state, data.reg_proto_min, "port"), register(state, data.reg_proto_max, "port")
  out.port_max = out.port_max ~= out.port and out.port_max or nil
  state.facts.nat = out
  local to = xt.nat_text(out)
  say(state, word .. (to ~= "" and " to " .. to or "") .. ((data.flags or 0) & 0x14 ~= 0 and " random" or ""))
end

function handlers.nat(state, data)
  nat(state, data.type, tostring(data.type), data)
end

function handlers.masq(state, data)
  nat(state, "masquerade", "masquerade", data)
end

function handlers.redir(state, data)
  nat(state, "redirect", "redirect", data)
end

function handlers.reject(state, data)
  state.facts.verdict = "reject"
  say(state, data.type == "tcp_rst" and "reject with tcp reset" or "reject")
end

function handlers.log(state, data)
  say(state, "log" .. (data.prefix and (" prefix %q"):format(data.prefix) or "") .. (data.group and (" group %d"):format(data.group) or ""))
end

function handlers.limit(state, data)
  local unit = ({ [1] = "second", [60] = "minute", [3600] = "hour", [86400] = "day", [604800] = "week" })[data.unit] or tostring(data.unit) .. "s"
  state.facts.more = true
  say(state, ("limit rate %s%d%s/%s"):format((data.flags or 0) & 1 == 1 and "over " or "", data.rate, data.type == 1 and " bytes" or "", unit))
end

function handlers.queue(state, data)
  state.facts.verdict = "queue"
  say(state, "queue to " .. tostring(data.num))
end

function handlers.match(state, data)
  local text = xt.match(data.name, data.info or "", data.revision or 0, state.facts)
  if text ~= "" then
    local proto = state.proto_word()
    say(state, text, { implies = proto ~= "th" and text:find("^" .. proto .. " ") and "l4proto" or nil })
  end
end

function handlers.target(state, data)
  say(state, xt.target(data.name, data.info or "", data.revision or 0, state.facts))
end

-- Those after which the next rule may not be asked.
local enders = { tproxy = true, synproxy = true, fwd = true }

---One rule.
---@param rule nslua.NftRule
---@param set fun(name: string): table?  a set of its table, with `elements`
---@return table facts  text, match, nat, verdict, to, packets, bytes
function M.rule(rule, set)
  local facts = { family = rule.family, match = {} }
  local state = { family = rule.family, registers = {}, words = {}, open = 0, implied = {}, facts = facts, set = set }
  facts.proto_word = function()
    local proto = facts.match.proto
    return proto and not proto.inverted and not proto[2] and type(proto[1]) == "string" and proto[1] or "th"
  end
  state.proto_word = facts.proto_word
  for _, e in ipairs(rule.expressions or {}) do
    local handler = type(e.data) == "table" and handlers[e.name]
    if not handler or not pcall(handler, state, e.data) then
      facts.more = e.name ~= "notrack" and e.name ~= "objref" or facts.more
      facts.ends = facts.ends or enders[e.name]
      state.words[#state.words + 1] = e.name == "notrack" and "notrack" or "[" .. tostring(e.name) .. "]"
      local into = type(e.data) == "table" and e.data.dreg
      if into then -- what was in the register before is not what is compared next
        state.registers[slot(into)] = { words = "[" .. tostring(e.name) .. "]", type = "host" }
        state.words[#state.words] = ""
      elseif type(e.data) ~= "table" then
        state.registers = {}
      end
    end
  end
  local words = {}
  for _, word in ipairs(state.words) do
    words[#words + 1] = word ~= "" and word or nil
  end
  facts.more, facts.asked = facts.more or state.open > 0 or nil, nil
  facts.text, facts.family, facts.proto_word = table.concat(words, " "), nil, nil
  return facts
end

return M
