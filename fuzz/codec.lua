-- What codec.c checks of any bytes: the first one chooses the schema, the second a few places in the rest.

package.path = "./?.lua;./lua/?.lua;./lua/?/init.lua;" .. package.path
local schema = require "nslua.schema"
local same = require("spec.roundtrip").same
for _, name in ipairs { "link", "address", "route", "rule", "neighbour", "nsid" } do
  require("nslua.rtnl." .. name)
end
local kinds = require "nslua.rtnl.kind"
for name in pairs(kinds.names()) do
  kinds.load(name)
end

-- Every type there is, in few bytes, so that the fuzzer gets deep.
schema.enum("fuzz_enum", {}, { zero = 0, one = 1, many = 255 })
schema.flags("fuzz_flags", {}, { low = 1, high = 128 })
schema.struct("fuzz_head", {}, "family u8:enum(fuzz_enum) pad(1) type u16 marks u8:flags(fuzz_flags) three bytes(3)")
schema.struct("fuzz_hop", {}, "len u16 count u8 pad(1) via be32")
schema.struct("fuzz_part", {}, "a u16 b s16")
schema.struct("fuzz_big", {}, "a u8 n array(u8,3) part struct(fuzz_part) name chars(4) n64 u64 yes bool")
schema.set("fuzz_set", {}, [[
  0  - kind   strz(7)
  1  - data   union(kind, fuzz_kinds)
  2  - nest   nest(fuzz_set)
  3  - peer   nest(fuzz_set, fuzz_head)
  4  - hops   records(fuzz_hop, fuzz_set)
  5  - parts  array(struct(fuzz_part))
  6  - list   list(nest(fuzz_set))
  7  - strings list(strz, 9)
  8  - index_ indexed(nest(fuzz_set))
  9  - named  indexed(u8, fuzz_enum)
  10 - big    struct(fuzz_big)
  11 - byfamily union(family, fuzz_families)
  12 - ip     ip multi
  13 - lladdr lladdr
  14 - flag   flag
  15 - bool   bool
  16 - n64    be64
  17 - bits   u32:flags(fuzz_flags)
  18 - enum_  u16:enum(fuzz_enum)
  19 - bin    bin nonested
  20 - number union(n8, fuzz_numbers)
  21 - n8     u8
  22 - s64    s64
  23 - str    str multi
  24 - uint   uint
  25 - sint   sint multi
  26 - ubits  uint:flags(fuzz_flags)
  27 - hex    hex
  28 - base64 base64
  29 - key    base64(5)
  30 - sockaddr sockaddr multi
  31 - bitset bitset
  32 - -      pad
  33 - sets   list(bitset)
  34 - hexes  array(hex(3))
]])
schema.kind("fuzz_kinds", "a", "nest(fuzz_set)")
schema.kind("fuzz_kinds", "b", "u32")
schema.kind("fuzz_kinds", "c", "struct(fuzz_part)")
schema.kind("fuzz_families", "one", "nest(fuzz_set)")
schema.kind("fuzz_families", "*", "u8")
schema.kind("fuzz_numbers", "1", "union(kind, fuzz_kinds)")
schema.kind("fuzz_numbers", "2", "records(fuzz_hop, fuzz_set)")
schema.message("fuzz", { head = "fuzz_head", attrs = "fuzz_set" })
schema.message("fuzz_bare", { attrs = "fuzz_set" })

local names = { "fuzz", "fuzz_bare", "link", "address", "route", "rule", "neighbour", "nsid", "ethtool.features", "ethtool.stats", "wireguard.device",
  "nlctrl.family" }

local class = schema.class {
  name = "fuzzed",
  hidden = { "kind" },
  computed = {
    name = function(row)
      return { schema.raw(row, "name") }
    end,
  },
  same = function()
    return true
  end,
}

-- rtnetlink's by their name, a family's by that and the set.
local compiled = {}
for _, name in ipairs(names) do
  local family, set = name:match "^(.*)%.(.*)$"
  compiled[name] = family and require("nslua.genl." .. family):compile(set) or schema.compile(name)
end

---@param input string
local function check(input)
  if #input < 2 then
    return
  end
  local S = compiled[names[input:byte(1) % #names + 1]]
  local bytes, place = input:sub(3), input:byte(2)
  local once = S:decode(bytes)
  local encoded = S:encode(once)
  assert(same(once, S:decode(encoded)), "decode(encode(decode(m))) ~= decode(m)")
  assert(S:encode(S:decode(encoded)) == encoded, "the same table, other bytes")
  local row = S:row(bytes)
  assert(same(once, row:decode()), "a row decodes to something else")
  for k, v in pairs(once) do
    if k:sub(1, 1) ~= "#" then
      assert(same(v, row[k]), k)
    end
  end
  row:json()
  local public = S:row(bytes, class)
  public:json()
  public:decode()
  assert(public == S:row(bytes, class))
  for i = place % 4, #bytes, 4 + place do
    S:path(bytes, i)
  end
  S:missing(bytes, place, place)
end

-- Called by make with a folder: what the fuzzer starts from, one file for each schema and each kind of nest.
local folder = ...
if not folder then
  return check
end
local part = { name = "x", n64 = 2 ^ 40, yes = true, n = { 1, 2, 3 }, a = 1, part = { a = 2, b = -2 } }
local inner = { kind = "c", data = { a = 1, b = 2 }, flag = true, bool = false, bits = 5, enum_ = "many", s64 = -1, n64 = 7 }
local seeds = {
  fuzz = {
    { family = "one", byfamily = inner, big = part, ip = { "1.2.3.4", "::1" }, lladdr = "02:00:00:00:00:01" },
    { nest = { nest = { nest = inner } }, peer = { family = "many", byfamily = 3, index_ = { [5] = inner } } },
    { hops = { { count = 1, via = 2, kind = "a", data = inner }, { count = 2 } }, parts = { { a = 1 }, { b = 2 } } },
    { list = { inner, {}, inner }, strings = { "a", "b" }, named = { one = 1, [7] = 2 }, bin = "abc", str = { "x", "y" } },
    { n8 = 1, number = 5, kind = "b", data = 9, ["#99"] = "unknown", ["#98n"] = { "a", "b" }, ["#tail"] = "\3" },
    { uint = 7, sint = { -1, 2 ^ 40 }, ubits = { low = true }, hex = "00ff", base64 = "AAECAw==", key = "AAECAwQ=", hexes = { "000102", "ffffff" } },
    { sockaddr = { "10.0.0.1:80", "[fe80::1%3]:51820", "[::]:0" }, bitset = { rx = true, tx = false, ["#bit5"] = true }, sets = { {}, { a = true } } },
    -- a bit set of words: size, value, mask
    { ["#31n"] = "\8\0\2\0\40\0\0\0\12\0\4\0\1\0\0\0\128\0\0\0\12\0\5\0\255\0\0\0\255\0\0\0", ["#32"] = "" },
    { n8 = 2, number = { { count = 3, kind = "a", data = { n8 = 1 } } } },
  },
  fuzz_bare = { inner },
  link = {
    { name = "eth0", mtu = 1500, ["#61"] = "x", linkinfo = { kind = "vxlan", data = { id = 42, port = 4789 } } },
    { index = 1, linkinfo = { kind = "veth", data = { peer = { name = "p" } } } },
    { index = 1, linkinfo = { kind = "bridge", data = {} } },
  },
  address = { { label = "x" } }, route = { { dst_len = 32, metric = 5 } }, rule = { {} }, neighbour = { {} }, nsid = { {} },
  ["ethtool.features"] = { { header = { dev_name = "x" }, active = { rx = true, tx = false } } },
  ["ethtool.stats"] = { { grp = { { id = "rmon", stat = { { [1] = 2 } }, hist_rx = { { hist_bkt_low = 1, hist_val = 5 } } } } } },
  ["wireguard.device"] = { { ifname = "wg0", peers = { { endpoint = "1.2.3.4:5", allowedips = { { family = 2, ipaddr = "10.0.0.0", cidr_mask = 8 } },
    last_handshake_time = { sec = 1 } } } } },
  ["nlctrl.family"] = { { family_name = "x", ops = { { id = 1, flags = { dump = true } } }, policy = { [0] = { [1] = { type = "u32" } } } } },
}
for i, name in ipairs(names) do
  for k, t in ipairs(seeds[name]) do
    local ok, bytes = pcall(compiled[name].encode, compiled[name], t)
    local f = assert(io.open(("%s/%s%d"):format(folder, name, k), "wb"))
    f:write(string.char((i - 1) % 256, k), ok and bytes or error(bytes, 0))
    f:close()
  end
end
