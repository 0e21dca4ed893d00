-- The tables of iptables-legacy as rows of the firewall. They are read by getsockopt(2), as iptables-save reads them: ip_tables.h, ip6_tables.h

local core = require "nslua.core"
local inside = require "nslua.inside"
local xt = require "nslua.inspect.look.xt"

local M = {}

local unpack = string.unpack
local RAW = 3 -- SOCK_RAW
local hooks = { [0] = "prerouting", "input", "forward", "output", "postrouting" }
local verdicts = { [-1] = "drop", [-2] = "accept", [-4] = "queue", [-5] = "return" } -- -NF_* - 1, XT_RETURN

-- What differs between the families.
local families = {
  ip = { version = 4, domain = 2, names = "/proc/net/ip_tables_names", length = 4, links = 16, tail = 80, offsets = 88, counters = 96, size = 112 },
  ip6 = { version = 6, domain = 10, names = "/proc/net/ip6_tables_names", length = 16, links = 64, tail = 128, offsets = 140, counters = 152,
    size = 168 },
}

local function prefix(address, mask)
  local bits = 0
  for i = 1, #mask do
    local byte = mask:byte(i)
    while byte & 0x80 ~= 0 do
      bits, byte = bits + 1, byte << 1 & 0xff
    end
  end
  local text = core.inet.text(address)
  return bits == #mask * 8 and text or text .. "/" .. bits
end

-- What the head of an entry asks: addresses, links, protocol.
local function head(layout, entry, facts, words)
  local n, at = layout.length, layout.tail + 1
  local proto = unpack("=I2", entry, at)
  local flags, inverted = entry:byte(layout.version == 6 and at + 3 or at + 2, layout.version == 6 and at + 4 or at + 3)
  local zero = ("\0"):rep(n)
  local function ask(field, text, values, bit)
    words[#words + 1] = xt.asks(facts, field, text, values, inverted & bit ~= 0)
  end
  local links = layout.links + 1
  for i, each in ipairs { { "iif", "iifname", 0x01 }, { "oif", "oifname", 0x02 } } do
    local name = entry:sub(links + (i - 1) * 16, links + i * 16 - 1):match "^%Z*"
    local mask = entry:sub(links + 32 + (i - 1) * 16, links + 32 + i * 16 - 1):match "^%Z*"
    if name ~= "" then
      ask(each[1], each[2], { #mask > #name and name or name:gsub("%+$", "") .. "*" }, each[3])
    end
  end
  for i, each in ipairs { { "src", "saddr", 0x08 }, { "dst", "daddr", 0x10 } } do
    local address, mask = entry:sub((i - 1) * n + 1, i * n), entry:sub((i + 1) * n + 1, (i + 2) * n)
    if mask ~= zero then
      ask(each[1], facts.family .. " " .. each[2], { prefix(address, mask) }, each[3])
    end
  end
  if proto ~= 0 and (layout.version == 4 or flags & 1 ~= 0) then
    ask("proto", "meta l4proto", { xt.protocols[proto] or proto }, 0x40)
    facts.proto_at = #words
  end
end

-- One entry. Its target: a verdict, a jump, or one with a name.
local function entry_of(layout, family, entry, target_at)
  local facts = { family = family, match = {} }
  local words = {}
  facts.proto_word = function()
    local proto = facts.match.proto
    return proto and not proto.inverted and tostring(proto[1]) or "th"
  end
  head(layout, entry, facts, words)
  local at = layout.size + 1
  while at < target_at do
    local size, name, revision = unpack("=I2c29B", entry, at)
    if size < 32 then
      break
    end
    local text = xt.match(name:match "^%Z*", entry:sub(at + 32, at + size - 1), revision, facts)
    words[#words + 1] = text ~= "" and text or nil
    if facts.proto_at and not facts.match.proto.inverted and text:find("^" .. facts.proto_word() .. " ") then
      words[facts.proto_at] = "" -- "tcp dport" says it
    end
    at = at + size
  end
  local size, name, revision = unpack("=I2c29B", entry, target_at)
  name = name:match "^%Z*"
  local verdict = name == "" and unpack("=i4", entry, target_at + 32) or nil
  local info = entry:sub(target_at + 32, target_at + size - 1)
  if name ~= "" and name ~= "ERROR" then
    words[#words + 1] = xt.target(name, info, revision, facts)
  end
  return facts, words, verdict, name == "ERROR" and info:match "^%Z*" or nil
end

-- A table: its chains by the offsets they begin at, then its rules.
local function read_table(out, family, layout, name, bytes, starts, policies)
  local entries, chain_at, policy_of = {}, {}, {}
  for hook, offset in pairs(starts) do
    chain_at[offset] = { source = "iptables", family = family, table = name, name = hooks[hook]:upper(), hook = hooks[hook] }
    policy_of[policies[hook]] = chain_at[offset]
  end
  local at = 0
  while at < #bytes do
    local target, next_at = unpack("=I2I2", bytes, at + layout.offsets + 1)
    if next_at < layout.size or target >= next_at then
      break
    end
    local entry = bytes:sub(at + 1, at + next_at)
    local facts, words, verdict, error_name = entry_of(layout, family, entry, target + 1)
    local packets, octets = unpack("=I8I8", entry, layout.counters + 1)
    entries[#entries + 1] = { at = at, facts = facts, words = words, verdict = verdict, packets = packets, bytes = octets,
      fallthrough = at + next_at }
    if error_name and at + next_at < #bytes then -- the head of a chain of the user's; the last one is the end of the table
      chain_at[at + next_at] = { source = "iptables", family = family, table = name, name = error_name }
      entries[#entries].heads = true
    elseif error_name then
      entries[#entries].heads = true
    end
    at = at + next_at
  end
  local chain, number = nil, 0
  for i, e in ipairs(entries) do
    if chain_at[e.at] then
      chain, number = chain_at[e.at], 0
      out.chains[#out.chains + 1] = chain
    end
    local ends = entries[i + 1] and entries[i + 1].heads or chain_at[e.fallthrough]
    if policy_of[e.at] then
      chain = policy_of[e.at]
      chain.policy, chain.packets, chain.bytes = verdicts[e.verdict], e.packets, e.bytes
    elseif not e.heads and chain and not (ends and not chain.hook and e.verdict == -5 and #e.words == 0) then -- not the return at its end
      number = number + 1
      local row = { source = "iptables", family = family, table = name, chain = chain.name, handle = number, packets = e.packets,
        bytes = e.bytes, match = e.facts.match, nat = e.facts.nat, comment = e.facts.comment, verdict = e.facts.verdict,
        more = e.facts.more, ends = e.facts.ends }
      if e.verdict then
        local to = e.verdict >= 0 and chain_at[e.verdict]
        if e.verdict < 0 then
          row.verdict = verdicts[e.verdict] or tostring(e.verdict)
          e.words[#e.words + 1] = row.verdict
        elseif to then
          row.verdict, row.to = "jump", to.name
          e.words[#e.words + 1] = "jump " .. to.name
        end
      end
      local words = {}
      for _, word in ipairs(e.words) do
        words[#words + 1] = word ~= "" and word or nil
      end
      row.text = table.concat(words, " ")
      out.rules[#out.rules + 1] = row
    end
  end
end

---Add what iptables-legacy has in a namespace to `out.chains` and `out.rules`; to `out.unread` the tables that may not be read.
---@param handle nslua.Netns
---@param out table
function M.read(handle, out)
  for _, family in ipairs { "ip", "ip6" } do
    local layout = families[family]
    local ok, names = pcall(handle.read, handle, layout.names) -- those that are there: to ask for another would make it
    for name in (ok and names or ""):gmatch "%S+" do
      local made, socket = pcall(inside.raw_socket, handle, layout.domain, RAW, 255)
      local bytes, starts, policies
      if made then
        bytes, starts, policies = core.xtables.read(socket, layout.version, name)
        socket:close()
      end
      if bytes then
        read_table(out, family, layout, name, bytes, starts, policies)
      else
        out.unread[#out.unread + 1] = { what = ("table %s of %s"):format(name, family == "ip" and "iptables-legacy" or "ip6tables-legacy"),
          why = tostring(made and starts or socket) }
      end
    end
  end
end

return M
