-- tc filter: add, change, replace, del, show. Its options and actions are read by rtnl/filter.lua's own row.

local schema = require "nslua.schema"
local tc = require "nslua.trace.tc"

local M = { message = "filter", tool = "tc" }

local function whole(value)
  return ("%.0f"):format(value)
end

local function hex(value)
  return ("0x%x"):format(value)
end

-- The message as a row, which has names of links from us.
local function row_of(context)
  local names = setmetatable({}, { __index = function(_, index)
    return context.link(index)
  end })
  return schema.compile("filter"):row(context.payload, require("nslua.rtnl.filter").class, { names = names })
end

---@type table<string, fun(add: fun(...), words: table): string?>
local options = {}

function options.u32(add, words)
  if words.divisor then
    add("divisor", whole(words.divisor))
  end
  local handles = require "nslua.rtnl.filter_kind.u32"
  for _, word in ipairs { "ht", "link" } do
    if words[word] then
      add(word, handles.handle_text(words[word]))
    end
  end
  for _, key in ipairs(words.match or {}) do
    add("match", "u32", hex(key.value), hex(key.mask), "at", key.offmask and "nexthdr+" .. whole(key.off) or whole(key.off))
  end
  if words.mark then
    add("match", "mark", hex(words.mark.value), hex(words.mark.mask))
  end
  if words.indev then
    add("indev", words.indev)
  end
end

function options.flower(add, words)
  -- what others depend on goes first
  for _, word in ipairs { "indev", "vlan_id", "vlan_prio", "vlan_ethtype", "ip_proto", "src_mac", "dst_mac", "src_ip", "dst_ip", "src_port",
    "dst_port", "tcp_flags", "ip_tos", "ip_ttl", "type", "code" } do
    local value = words[word]
    if value ~= nil then
      if type(value) == "number" then
        value = (word == "vlan_ethtype" or word == "tcp_flags" or word == "ip_tos") and hex(value) or whole(value)
      end
      add(word, value)
    end
  end
end

function options.bpf(add, words)
  if words.direct_action then
    add "direct-action"
  end
  if not words.ops then
    return "its program"
  end
  local list = { whole(#words.ops) }
  for _, op in ipairs(words.ops) do
    list[#list + 1] = ("%.0f %.0f %.0f %.0f"):format(op[1], op[2], op[3], op[4])
  end
  add("bytecode", table.concat(list, ","))
end

function options.matchall() end
options.basic = options.matchall

function options.fw(add, words)
  if words.indev then
    add("indev", words.indev)
  end
end

local function split(add, text)
  for word in tostring(text):gmatch "%S+" do
    add(word)
  end
end

---@type table<string, fun(add: fun(...), a: table): string?>
local actions = {}

function actions.mirred(add, a)
  local direction = a.egress and "egress" or "ingress"
  add("mirred", direction, a[direction])
  if a.index and a.index > 0 then
    add("index", whole(a.index))
  end
  add("dev", a.dev)
  if a.control ~= (a[direction] == "redirect" and "stolen" or "pipe") then
    add(a.control)
  end
end

function actions.gact(add, a)
  split(add, a.control)
  if a.random then
    add("random", a.random[1], a.random[2], whole(a.random[3]))
  end
  if a.index and a.index > 0 then
    add("index", whole(a.index))
  end
end

function actions.police(add, a)
  add "police"
  if a.rate then
    add("rate", tc.rate(a.rate), "burst", whole(a.burst))
  end
  if a.mtu then
    add("mtu", whole(a.mtu))
  end
  if a.peakrate then
    add("peakrate", tc.rate(a.peakrate))
  end
  if a.pkt_rate then
    add("pkts_rate", whole(a.pkt_rate), "pkts_burst", whole(a.pkt_burst or 0))
  end
  if a.conform then
    add("conform-exceed", ("%s/%s"):format(a.exceed, a.conform))
  else
    split(add, a.exceed)
  end
  if a.index and a.index > 0 then
    add("index", whole(a.index))
  end
end

-- Where the filter is, and which it is.
local function place(add, context, row, m)
  if row.block then
    add("block", whole(row.block))
  elseif m.dev_index and m.dev_index ~= 0 then
    add("dev", context.link(m.dev_index))
  end
  local parent = row.parent
  if parent == "root" or parent == "ingress" or parent == "egress" then
    add(parent)
  elseif parent then
    add("parent", parent)
  end
  if m.chain then
    add("chain", whole(m.chain))
  end
  if row.protocol_number ~= 0 and row.protocol ~= "all" then
    add("protocol", type(row.protocol) == "number" and hex(row.protocol) or row.protocol)
  end
  if row.pref > 0 then
    add("pref", whole(row.pref))
  end
  if m.handle_number and m.handle_number ~= 0 then
    local mask = m.kind == "fw" and (row.fw or {}).mask
    local counts = mask and mask ~= 4294967295 and "/" .. whole(mask) or ""
    add("handle", (type(row.handle) == "number" and whole(row.handle) or row.handle) .. counts)
  end
  if m.kind then
    add(m.kind)
  end
end

function M.write(context, m, bits)
  local words, left = { "filter", tc.verb(bits) }, nil
  local function add(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
  local row = row_of(context)
  place(add, context, row, m)
  local write = options[m.kind]
  if write then
    left = write(add, row[m.kind] or {})
  elseif m.options ~= nil then
    left = "its options"
  end
  if row.classid then
    add("classid", row.classid)
  end
  for _, flag in ipairs { "skip_hw", "skip_sw" } do
    if row[flag] then
      add(flag)
    end
  end
  for _, a in ipairs(row.action or {}) do
    add "action"
    local say = actions[a.kind]
    if say then
      say(add, a)
    else
      add(a.kind)
      left = "options of action " .. tostring(a.kind)
    end
  end
  return words, left
end

function M.delete(context, m)
  local words = { "filter", "del" }
  place(function(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end, context, row_of(context), m)
  return words
end

function M.show(context, m)
  local words = { "filter", "show" }
  place(function(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end, context, row_of(context), m)
  return words
end

return M
