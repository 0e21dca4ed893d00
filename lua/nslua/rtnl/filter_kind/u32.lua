-- u32: bytes of the packet, masked, compared. tc-u32(8), linux/pkt_cls.h.

local errors = require "nslua.error"
local schema = require "nslua.schema"
local u32match = require "nslua.rtnl.filter_kind.u32match"

local header = "linux/pkt_cls.h"
local TERMINAL = 1 -- TC_U32_TERMINAL: what matches is decided

schema.struct("tc_u32_key", { c = "struct tc_u32_key", header = header, prefix = "" }, [[ mask be32  val be32  off s32  offmask s32 ]])
schema.struct("tc_u32_sel", { c = "struct tc_u32_sel", header = header, prefix = "" }, [[
  flags u8  offshift u8  nkeys u8  pad(1)  offmask be16  off u16  offoff s16  hoff s16  hmask be32
]])
schema.struct("tc_u32_mark", { c = "struct tc_u32_mark", header = header, prefix = "" }, [[ val u32  mask u32  success u32 ]])
-- keys follow the selector without being attributes
schema.message("u32_key", { head = "tc_u32_key" })
schema.message("u32_sel", { head = "tc_u32_sel" })

local SEL, KEY = 16, 16 -- bytes

-- "800:" of a hash table, "800::1" of a key in it, "800:5:1" in its bucket 5
local function handle_number(value, call, key)
  if type(value) == "number" then
    return value
  end
  local table_, bucket, node = tostring(value):match "^(%x+):(%x*):?(%x*)$"
  if not table_ then
    errors.misuse("%s: %s %q is no handle of u32: write it like \"800:\" or \"800::1\"", call, key, tostring(value))
  end
  return tonumber(table_, 16) * 0x100000 + (tonumber(bucket, 16) or 0) * 0x1000 + (tonumber(node, 16) or 0)
end

return {
  kind = "u32",
  header = header,
  prefix = "TCA_U32_",
  needed = true,
  attributes = [[
    1   CLASSID  classid  u32
    2   HASH     ht       u32
    3   LINK     link     u32
    4   DIVISOR  divisor  u32
    5   SEL      sel      bin
    6   POLICE   police   bin
    7   ACT      action   list(nest(tc_action))
    8   INDEV    indev    strz(15)
    9   PCNT     hits     bin
    10  MARK     mark     struct(tc_u32_mark)
    11  FLAGS    flags    u32
  ]],
  words = { match = "any", ht = "any", link = "any", divisor = "count", indev = "any", mark = "any" },
  untold = { ht = true },
  handle_number = handle_number,
  handle_text = function(number)
    local node, bucket = number % 0x1000, math.floor(number / 0x1000) % 0x100
    local text = ("%x:%s"):format(math.floor(number / 0x100000), bucket > 0 and ("%x"):format(bucket) or "")
    return node > 0 and text .. (":%x"):format(node) or text
  end,
  -- the heads of its tables are none of the filters, but those that somebody has asked for are
  visible = function(row)
    local options = row.options
    return type(options) ~= "table" or options.sel ~= nil or (options.divisor or 0) > 1
  end,
  write = function(data, call, context)
    local keys, mark = {}, data.mark
    if data.match ~= nil then
      keys, mark = u32match.keys(call .. ": match", data.match)
      mark = mark or data.mark
    elseif not data.divisor then
      errors.misuse("%s: u32: match is needed: \"ip dst 10.0.0.0/8\", { value, mask, off } or a list", call)
    end
    data.match = nil
    data.mark = mark and { val = mark.val or mark.value, mask = mark.mask } or nil
    data.ht = data.ht and handle_number(data.ht, call, "ht")
    data.link = data.link and handle_number(data.link, call, "link")
    if not data.divisor then
      local bytes, S = { schema.compile("u32_sel"):encode { flags = context.final and TERMINAL or 0, nkeys = #keys } }, schema.compile "u32_key"
      for i, key in ipairs(keys) do
        bytes[i + 1] = S:encode(key)
      end
      data.sel = table.concat(bytes)
    end
  end,
  read = function(data)
    local sel = data.sel
    local words = { indev = data.indev, link = data.link, divisor = data.divisor,
      mark = data.mark and { value = data.mark.val, mask = data.mark.mask } }
    if sel then
      local S = schema.compile "u32_key"
      words.match = {}
      for i = 1, math.floor((#sel - SEL) / KEY) do
        local key = S:decode(sel:sub(SEL + KEY * (i - 1) + 1, SEL + KEY * i))
        words.match[i] = { value = key.val, mask = key.mask, off = key.off, offmask = key.offmask ~= 0 and key.offmask or nil }
      end
    end
    return words
  end,
}
