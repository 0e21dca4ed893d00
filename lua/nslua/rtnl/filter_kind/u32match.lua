-- What u32 compares: words of tc-u32(8) as 32-bit values, masks and offsets.

local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local prefix = require "nslua.rtnl.prefix"

local M = {}

local function band(a, b)
  local out, bit = 0, 1
  while a > 0 and b > 0 do
    if a % 2 == 1 and b % 2 == 1 then
      out = out + bit
    end
    a, b, bit = (a - a % 2) / 2, (b - b % 2) / 2, bit * 2
  end
  return out
end

local function bor(a, b)
  return a + b - band(a, b)
end

local protocols = { icmp = 1, igmp = 2, tcp = 6, udp = 17, gre = 47, esp = 50, ah = 51, icmp6 = 58, sctp = 132 }

-- name = { bytes, offset }: of the header, or of the next one
local fields = {
  ip = { tos = { 1, 1 }, dsfield = { 1, 1 }, precedence = { 1, 1 }, ihl = { 1, 0 }, protocol = { 1, 9 }, sport = { 2, 20 }, dport = { 2, 22 },
    icmp_type = { 1, 20 }, icmp_code = { 1, 21 } },
  ip6 = { priority = { 4, 0, 20 }, protocol = { 1, 6 }, flowlabel = { 4, 0 }, sport = { 2, 40 }, dport = { 2, 42 }, icmp_type = { 1, 40 },
    icmp_code = { 1, 41 } },
  tcp = { src = { 2, 0 }, dst = { 2, 2 } },
  udp = { src = { 2, 0 }, dst = { 2, 2 } },
  icmp = { type = { 1, 0 }, code = { 1, 1 } },
}
local fragments = { nofrag = { 0, 0x3fff }, firstfrag = { 0, 0x1fff }, df = { 0x4000, 0x4000 }, mf = { 0x2000, 0x2000 } }
local addresses = { ip = { src = 12, dst = 16 }, ip6 = { src = 8, dst = 24 } }
local words_of = { ip = {}, ip6 = {}, tcp = fields.tcp, udp = fields.udp, icmp = fields.icmp }
for name, of in pairs(addresses) do
  for _, words in ipairs { fields[name], of, name == "ip" and fragments or {} } do
    for word in pairs(words) do
      words_of[name][word] = true
    end
  end
end
local known = { ip = true, ip6 = true, tcp = true, udp = true, icmp = true, u32 = true, u16 = true, u8 = true, mark = true }
local widths = { u32 = 4, u16 = 2, u8 = 1 }

-- Keys of one place are one key, as tc(8) makes them.
local function add(keys, value, mask, off, offmask, what)
  value = band(value, mask)
  for _, key in ipairs(keys) do
    if key.off == off and key.offmask == offmask then
      local both = band(mask, key.mask)
      if band(value, both) ~= band(key.val, both) then
        errors.misuse("%s wants two values of the same bits", what)
      end
      key.val, key.mask = bor(key.val, value), bor(key.mask, mask)
      return
    end
  end
  keys[#keys + 1] = { val = value, mask = mask, off = off, offmask = offmask }
end

-- A value of 1, 2 or 4 bytes in the 32-bit word it is in.
local function pack(keys, width, value, mask, off, offmask, what)
  local most = 2 ^ (8 * width) - 1
  if not value or not mask or value < 0 or value > most or mask < 0 or mask > most then
    errors.misuse("%s: a value and a mask of %d bits expected", what, 8 * width)
  elseif off % width ~= 0 then
    errors.misuse("%s: at %d is not a multiple of %d", what, off, width)
  end
  local shift = 2 ^ (8 * (4 - width - off % 4))
  add(keys, value * shift, mask * shift, off - off % 4, offmask, what)
end

local function address(keys, what, text, family, off)
  local ip, length, found = prefix.split(what, "address", text or "")
  if found ~= family then
    errors.misuse("%s: %s is of the other family", what, text)
  end
  local bytes = core.inet.bytes(ip)
  for i = 0, #bytes / 4 - 1 do
    local bits = math.max(0, math.min(32, length - 32 * i))
    if bits > 0 then
      local a, b, c, d = bytes:byte(4 * i + 1, 4 * i + 4)
      add(keys, ((a * 256 + b) * 256 + c) * 256 + d, 4294967296 - 2 ^ (32 - bits), off + 4 * i, 0, what)
    end
  end
end

-- Masks are hexadecimal to tc(8), with "0x" or without.
local function mask_of(text, width)
  if not text then
    return 2 ^ (8 * width) - 1
  end
  return tonumber((text:gsub("^0[xX]", "")), 16)
end

local function parse(keys, text, what)
  local w = {}
  for word in text:gmatch "%S+" do
    w[#w + 1] = word
  end
  local head, field = w[1], w[2]
  what = ("%s %q"):format(what, text)
  if not known[head] then
    errors.misuse("%s: %s", what, check.unknown("word", tostring(head), known))
  elseif head == "mark" then
    return { val = tonumber(field) or errors.misuse("%s: a number expected", what), mask = mask_of(w[3], 4) }
  elseif widths[head] then
    local at, off = w[4] or "at", w[4] == nil and "0" or w[5]
    local next_header = off and off:match "^nexthdr%+(%d+)$"
    if at ~= "at" or not off then
      errors.misuse("%s: write it like \"%s VALUE MASK at OFFSET\"", what, head)
    end
    pack(keys, widths[head], tonumber(field), mask_of(w[3], widths[head]),
      tonumber(next_header or off) or errors.misuse("%s: %s is no offset", what, off), next_header and -1 or 0, what)
  elseif addresses[head] and addresses[head][field] then
    address(keys, what, w[3], head == "ip" and prefix.AF_INET or prefix.AF_INET6, addresses[head][field])
  elseif head == "ip" and fragments[field] then
    pack(keys, 2, fragments[field][1], fragments[field][2], 6, 0, what)
  else
    local f = fields[head][field]
    if not f then
      errors.misuse("%s: %s", what, check.unknown(head, tostring(field), words_of[head]))
    end
    local value = field == "protocol" and protocols[w[3]] or tonumber(w[3]) or errors.misuse("%s: a number expected", what)
    local mask = mask_of(w[4], f[3] and 1 or f[1])
    if f[3] then
      value, mask = value * 2 ^ f[3], mask * 2 ^ f[3]
    end
    pack(keys, f[1], value, mask, f[2], addresses[head] and 0 or -1, what)
  end
end

---Keys of what is to match: one text, one table { value, mask, off }, or a list of them.
---@param what string
---@param value any
---@return table[] keys  { val =, mask =, off =, offmask = }
---@return table? mark
function M.keys(what, value)
  if type(value) == "string" or type(value) == "table" and (type(value[1]) == "number" or value.value) then
    value = { value }
  elseif type(value) ~= "table" then
    errors.misuse("%s must be text, or a list, got %s", what, type(value))
  end
  local keys, mark = {}, nil
  for _, each in ipairs(value) do
    if type(each) == "string" then
      mark = parse(keys, each, what) or mark
    elseif type(each) == "table" then
      check.options(what, each, { "integer", "integer", "integer", value = "integer", mask = "integer", off = "integer", offmask = "integer" })
      local off, offmask = each.off or each[3] or 0, each.offmask or 0
      if off % 4 ~= 0 then
        errors.misuse("%s: off %d is not a multiple of 4", what, off)
      end
      add(keys, each.value or each[1] or 0, each.mask or each[2] or 4294967295, off, offmask, what)
    else
      errors.misuse("%s: text or { value, mask, off } expected, got %s", what, type(each))
    end
  end
  return keys, mark
end

return M
