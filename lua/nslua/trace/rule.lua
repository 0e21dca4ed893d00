-- ip rule add, delete, show. ip-rule(8)

local names = require "nslua.rtnl.names"

local M = { message = "rule" }

local MAIN = 254
local ALL = 4294967295

local function range(r)
  return r.start == r.end_ and ("%.0f"):format(r.start) or ("%.0f-%.0f"):format(r.start, r.end_)
end

local function rule_words(m, words, deleting)
  local function add(...)
    for _, word in ipairs { ... } do
      words[#words + 1] = word
    end
  end
  local set = m.flags or {}
  if set["not"] then
    add "not"
  end
  if m.priority then
    add("priority", m.priority)
  end
  if m.src_address then
    add("from", ("%s/%d"):format(m.src_address, m.src_len))
  end
  if m.dst_address then
    add("to", ("%s/%d"):format(m.dst_address, m.dst_len))
  end
  if m.tos and m.tos ~= 0 then
    add("tos", ("0x%02x"):format(m.tos))
  end
  if m.fwmark or m.mask then
    local mark = ("0x%x"):format(m.fwmark or 0)
    add("fwmark", m.mask and m.mask ~= ALL and ("%s/0x%x"):format(mark, m.mask) or mark)
  end
  for _, word in ipairs { "iif", "oif", "ipproto", "tun_id" } do
    if m[word] then
      add(word, m[word])
    end
  end
  if m.l3mdev then
    add "l3mdev"
  end
  if m.uids then
    add("uidrange", ("%.0f-%.0f"):format(m.uids.start, m.uids.end_))
  end
  if m.sports then
    add("sport", range(m.sports))
  end
  if m.dports then
    add("dport", range(m.dports))
  end
  local number = m.table_number or m.table8
  if m.action == "lookup" or m.action == "unspec" then
    if number and number ~= 0 and not (m.action == "unspec" and deleting and number == MAIN) then
      add("lookup", names.name("table", number))
    end
  elseif m.action == "goto" then
    add("goto", m.goto_)
  elseif m.action then
    add(m.action)
  end
  if m.realms then
    add("realms", ("%.0f/%.0f"):format(math.floor(m.realms / 65536), m.realms % 65536))
  end
  for _, word in ipairs { "suppress_prefixlength", "suppress_ifgroup" } do
    if m[word] and m[word] >= 0 then
      add(word, m[word])
    end
  end
  if m.proto_number and m.proto_number ~= 0 then
    add("protocol", names.name("proto", m.proto_number))
  end
  return words
end

-- ip(8) does not look at addresses for the family of a rule.
local function begin(m, verb)
  local words = { "rule", verb }
  if m.family == "inet6" then
    table.insert(words, 1, "-6")
  end
  return words
end

function M.write(_, m)
  return rule_words(m, begin(m, "add"), false)
end

function M.delete(_, m)
  return rule_words(m, begin(m, "delete"), true)
end

function M.show(_, m)
  return begin(m, "show")
end

return M
