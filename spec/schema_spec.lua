-- Schemas: the declaration language, encode and decode, paths, and every number against <linux/*.h>.

local schema = require "nslua.schema"
local core = require "nslua.core"

local pack = require "spec.pack"
local unpack = table.unpack or rawget(_G, "unpack")
local wide = math.type ~= nil -- 64-bit integers

-- An attribute as the kernel writes it.
local function attr(id, payload)
  return pack("<I2I2", 4 + #payload, id) .. payload .. ("\0"):rep(-#payload % 4)
end

schema.enum("t_family", {}, { unspec = 0, inet = 2, inet6 = 10, bridge = 7 })
schema.flags("t_flags", {}, { up = 1, running = 64, high = 2147483648 })
schema.flags("t_wide", {}, { low = 1, top = 4611686018427387904 })
schema.enum("t_mode", {}, { private = 1, vepa = 2, passthru = 8 })
schema.struct("t_head", {}, [[
  family u8:enum(t_family)  pad(1)  type u16  -- comments are allowed
  index s32
  flags u32:flags(t_flags)
]])
schema.struct("t_small", {}, "family u8")
schema.struct("t_range", {}, "low be16  high be16")
schema.struct("t_rate", {}, "cell u8 pad(3) rate u32")
schema.struct("t_big", {}, "limit u32 rate struct(t_rate) map array(u8,4) name chars(8) raw bytes(2) pad(2) n s64 on bool pad(3) a ip4")
schema.struct("t_hop", {}, "len u16 flags u8 hops u8 ifindex s32")
schema.struct("t_group", {}, "id u32 weight u8 pad(3)")
schema.set("t_hops", {}, "5 GATEWAY gateway ip")
schema.set("t_vxlan", {}, [[
  1  ID     id        u32
  10 RANGE  range     struct(t_range)
  15 PORT   port      be16
  7  LEARN  learning  bool
  25 META   metadata  flag
  17 GROUP  group     ip
]])
schema.set("t_tunnel", {}, "1 ID id u16")
schema.set("t_info", {}, [[
  1 KIND kind strz
  2 DATA data union(kind, t_kinds)
  4 SLAVE_KIND slave_kind strz
  5 SLAVE_DATA slave_data union(slave_kind, t_slave_kinds)
]])
schema.set("t_afspec", {}, "2 INET inet nest(t_inet)")
schema.set("t_bridge", {}, "0 FLAGS flags_ u16")
schema.set("t_inet", {}, "1 CONF conf indexed(u32)")
schema.set("t_prop", {}, "53 ALT alt strz(127) multi")
schema.set("t_all", {}, [[
  1  A  lladdr    lladdr
  2  B  name      strz(15)
  3  C  u8_       u8
  4  D  u16_      u16
  5  E  u32_      u32
  6  F  u64_      u64
  7  G  s8_       s8
  8  H  s16_      s16
  9  I  s32_      s32
  10 J  s64_      s64
  11 K  be16_     be16
  12 L  be32_     be32
  13 M  be64_     be64
  14 N  on        flag
  15 O  yes       bool
  16 P  text      str
  17 Q  raw       bin
  18 R  ip        ip
  19 S  v4        ip4
  20 T  v6        ip6
  21 U  info      nest(t_info)
  22 V  peer      nest(t_all, t_head)
  23 W  hops      records(t_hop, t_hops)
  24 X  group     array(struct(t_group))
  25 Y  words     array(u16)
  26 Z  list      list(nest(t_tunnel))
  27 AA fixedlist list(u32, 7)
  28 AB index_    indexed(strz)
  29 AC families  indexed(u32, t_family)
  30 AD props     nest(t_prop)
  31 AE big       struct(t_big)
  32 AF mode      u32:enum(t_mode)
  33 AG bits      u32:flags(t_flags)
  34 AH wide      u64:flags(t_wide)
  35 AI spec      union(family, t_afspecs)
  36 AJ ips       ip multi
  37 AK plain     nest(t_tunnel) nonested
  38 AL port      be16 netorder
  39 AM conf      array(u32)
  39 AM set_conf  indexed(u32) writeonly
  40 AN exact     bytes(3)
]])
schema.kind("t_kinds", "vxlan", "nest(t_vxlan)")
schema.kind("t_kinds", "number", "u32")
schema.kind("t_afspecs", "bridge", "nest(t_bridge)")
schema.kind("t_afspecs", "*", "nest(t_afspec)")
schema.message("t_all", { head = "t_head", attrs = "t_all" })
schema.message("t_small", { head = "t_small", attrs = "t_tunnel" })
schema.message("t_bare", { head = "t_head" })
schema.message("t_noheader", { attrs = "t_tunnel" })

local S = schema.compile "t_all"
local head = ("\0"):rep(12)

-- What is behind the header of an encoded table.
local function attrs(t)
  return S:encode(t):sub(13)
end

-- The one key beside the header's.
local function decoded(bytes)
  local t = S:decode(head .. bytes)
  t.family, t.type, t.index, t.flags = nil, nil, nil, nil
  return t
end

local function both(t, bytes)
  assert.are.equal(bytes, attrs(t))
  assert.are.same(t, decoded(bytes))
end

describe("schema declarations", function()
  local function fails(pattern, fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_truthy(tostring(message):find(pattern), tostring(message))
    assert.is_truthy(tostring(message):find "schema_spec", "at the caller's line: " .. tostring(message))
  end

  it("name the line that is wrong", function()
    fails("set t_x line 2: unknown type 'u33' %(did you mean 'u32'%?%)", schema.set, "t_x", {}, "1 A a u8\n2 B b u33")
    fails("set t_x line 1: 'ID C%-NAME key type", schema.set, "t_x", {}, "1 A a")
    fails("set t_x line 2: attribute 1 is there twice", schema.set, "t_x", {}, "1 A a u8\n1 B b u8")
    fails("set t_x line 2: 'a' is there twice", schema.set, "t_x", {}, "1 A a u8\n2 B a u8")
    fails("set t_x line 1: unknown flag 'mutli'", schema.set, "t_x", {}, "1 A a u8 mutli")
    fails("set t_x line 1: 'decode' is a method of rows", schema.set, "t_x", {}, "1 A decode u8")
    fails("set t_x line 1: 'json' is a method of rows", schema.set, "t_x", {}, "1 A json u8")
    fails("set t_x line 1: 'x' is no attribute id", schema.set, "t_x", {}, "x A a u8")
    fails("set t_x line 1: '70000' is no attribute id", schema.set, "t_x", {}, "70000 A a u8")
    fails("set t_x line 1: nest takes 1 to 2 arguments", schema.set, "t_x", {}, "1 A a nest(a,b,c)")
    fails("set t_x line 1: strz is no integer", schema.set, "t_x", {}, "1 A a strz:enum(t_mode)")
    fails("struct t_x line 1: unknown type", schema.struct, "t_x", {}, "a b")
    fails("struct t_x: 'b' has no type", schema.struct, "t_x", {}, "a u8 b")
    fails("struct t_x: no members", schema.struct, "t_x", {}, "")
    fails("'t_head' is declared twice", schema.struct, "t_head", {}, "a u8")
    fails("unknown key 'prefx' %(did you mean 'prefix'%?%)", schema.set, "t_x", { prefx = "" }, "1 A a u8")
    fails("is not one bit", schema.flags, "t_x", {}, { a = 3 })
    fails("are the same number", schema.enum, "t_x", {}, { a = 3, b = 3 })
    fails("needs head or attrs", schema.message, "t_x", {})
    fails("unknown message 't_al'", schema.compile, "t_al")
  end)

  it("are checked against each other when compiled", function()
    schema.set("t_wrong1", {}, "1 A a nest(t_nowhere)")
    schema.message("t_wrong1", { attrs = "t_wrong1" })
    fails("set t_wrong1 line 1: unknown set 't_nowhere'", schema.compile, "t_wrong1")
    schema.set("t_wrong2", {}, "1 A family u8")
    schema.message("t_wrong2", { head = "t_head", attrs = "t_wrong2" })
    fails("set t_wrong2 line 1: 'family' is a member of struct t_head", schema.compile, "t_wrong2")
    schema.set("t_wrong3", {}, "1 A a u8:flags(t_mode)")
    schema.message("t_wrong3", { attrs = "t_wrong3" })
    fails("t_mode is declared as enum", schema.compile, "t_wrong3")
    schema.set("t_wrong4", {}, "1 A a records(t_head, t_hops)")
    schema.message("t_wrong4", { attrs = "t_wrong4" })
    fails("struct t_head must begin with 'len u16'", schema.compile, "t_wrong4")
    schema.struct("t_wrong5", {}, "a strz")
    schema.message("t_wrong5", { head = "t_wrong5" })
    fails("struct t_wrong5 line 1: strz has no fixed size", schema.compile, "t_wrong5")
    schema.struct("t_wrong6", {}, "a struct(t_wrong6)")
    schema.message("t_wrong6", { head = "t_wrong6" })
    fails("contains itself", schema.compile, "t_wrong6")
  end)

  it("compile once, and again after a new branch", function()
    local before = schema.compile "t_small"
    assert.are.equal(before, schema.compile "t_small")
    schema.kind("t_kinds", "late", "nest(t_tunnel)")
    local bytes = schema.compile "t_all":encode { info = { kind = "late", data = { id = 7 } } }
    assert.are.equal(7, schema.compile "t_all":decode(bytes).info.data.id)
    assert.are.same({ vxlan = true, number = true, late = true }, schema.kinds "t_kinds")
  end)

  it("refuse plans that do not hold together", function()
    assert.has_error(function() core.schema.new {} end)
    local plan = { name = "x", fields = {}, sets = { { first = 1, n = 5 } }, structs = {}, enums = {}, unions = {}, keys = {}, set = 1, head = 0 }
    assert.has_error(function() core.schema.new(plan) end)
  end)
end)

describe("schema encode and decode", function()
  it("header", function()
    local bytes = S:encode { family = "inet6", type = 772, index = -1, flags = { up = true, high = true } }
    assert.are.equal(pack("<BBI2i4I4", 10, 0, 772, -1, 0x80000001), bytes)
    assert.are.same({ family = "inet6", type = 772, index = -1, flags = { up = true, high = true } }, S:decode(bytes))
    assert.are.equal(99, S:decode(pack("<BBI2i4I4", 99, 0, 0, 0, 0)).family)
    assert.are.equal(pack("<BBI2i4I4", 99, 0, 0, 0, 0), S:encode { family = 99 })
  end)

  it("numbers of every width and order", function()
    both({ u8_ = 255 }, attr(3, "\255"))
    both({ u16_ = 65535 }, attr(4, "\255\255"))
    both({ u32_ = 4294967295 }, attr(5, "\255\255\255\255"))
    both({ u64_ = 2 ^ 52 }, attr(6, pack("<I8", 2 ^ 52)))
    -- as the design says: a decimal string where Lua has no 64-bit integers
    both({ u64_ = wide and -1 or "18446744073709551615" }, attr(6, ("\255"):rep(8)))
    both({ s64_ = wide and math.mininteger or "-9223372036854775808" }, attr(10, ("\0"):rep(7) .. "\128"))
    both({ s8_ = -128 }, attr(7, "\128"))
    both({ s16_ = -2 }, attr(8, pack("<i2", -2)))
    both({ s32_ = -1 }, attr(9, pack("<i4", -1)))
    both({ s64_ = -5 }, attr(10, pack("<i8", -5)))
    both({ be16_ = 4789 }, attr(11, pack(">I2", 4789)))
    both({ be32_ = 0x01020304 }, attr(12, "\1\2\3\4"))
    both({ be64_ = 0x04050607080900 }, attr(13, "\0\4\5\6\7\8\9\0"))
    assert.are.equal(attr(5, "\5\0\0\0"), attrs { u32_ = 5.0 })
    assert.are.equal(attr(6, ("\255"):rep(8)), attrs { u64_ = "18446744073709551615" })
  end)

  it("u64 at any offset of 4", function()
    local bytes = head .. attr(3, "\1") .. attr(6, pack("<I8", 7)) .. attr(3, "\2") .. attr(6, pack("<I8", 8))
    assert.are.equal(8, S:decode(bytes).u64_)
    assert.are.equal(8, S:decode(("x"):rep(0) .. bytes).u64_)
  end)

  it("flags and yes or no", function()
    both({ on = true }, attr(14, ""))
    assert.are.equal("", attrs { on = false })
    both({ yes = true }, attr(15, "\1"))
    both({ yes = false }, attr(15, "\0"))
    both({ yes = 2 }, attr(15, "\2"))
    assert.are.equal(attr(15, "\1"), attrs { yes = 1 })
  end)

  it("text and bytes", function()
    both({ name = "eth0" }, attr(2, "eth0\0"))
    both({ name = "" }, attr(2, "\0"))
    assert.are.same({ name = "eth0" }, decoded(attr(2, "eth0")))
    assert.are.same({ name = "" }, decoded(attr(2, "")))
    both({ name = ("x"):rep(15) }, attr(2, ("x"):rep(15) .. "\0"))
    both({ name = "\200\255" }, attr(2, "\200\255\0"))
    both({ text = "abc" }, attr(16, "abc"))
    both({ raw = "\0\1\0" }, attr(17, "\0\1\0"))
    both({ exact = "abc" }, attr(40, "abc"))
  end)

  it("addresses", function()
    both({ lladdr = "02:00:00:0a:ff:01" }, attr(1, "\2\0\0\10\255\1"))
    both({ lladdr = "" }, attr(1, ""))
    local long = ("0f:"):rep(31) .. "0f"
    both({ lladdr = long }, attr(1, ("\15"):rep(32)))
    both({ ["#1"] = ("\15"):rep(33) }, attr(1, ("\15"):rep(33)))
    assert.are.equal(attr(1, "\2\0\171"), attrs { lladdr = "2-0-AB" })
    both({ ip = "10.0.255.1" }, attr(18, "\10\0\255\1"))
    both({ ip = "fe80::1" }, attr(18, "\254\128" .. ("\0"):rep(13) .. "\1"))
    both({ v4 = "0.0.0.0" }, attr(19, "\0\0\0\0"))
    both({ v6 = "::" }, attr(20, ("\0"):rep(16)))
    both({ ips = { "1.2.3.4", "::1" } }, attr(36, "\1\2\3\4") .. attr(36, ("\0"):rep(15) .. "\1"))
  end)

  it("enums and flags by name and by number", function()
    both({ mode = "vepa" }, attr(32, "\2\0\0\0"))
    both({ mode = 77 }, attr(32, "\77\0\0\0"))
    assert.are.equal(attr(32, "\2\0\0\0"), attrs { mode = 2 })
    both({ bits = { up = true, ["#bit1"] = true, high = true } }, attr(33, "\3\0\0\128"))
    both({ bits = {} }, attr(33, "\0\0\0\0"))
    assert.are.equal(attr(33, "\65\0\0\0"), attrs { bits = { "up", "running" } })
    assert.are.equal(attr(33, "\65\0\0\0"), attrs { bits = "up,running" })
    assert.are.equal(attr(33, "\65\0\0\0"), attrs { bits = 65 })
    assert.are.equal(attr(33, "\1\0\0\0"), attrs { bits = { up = true, running = false } })
    both({ wide = { low = true, top = true, ["#bit63"] = true } }, attr(34, "\1" .. ("\0"):rep(6) .. "\192"))
  end)

  it("nests, with the nested bit set and ignored", function()
    local inner = attr(53, "a\0") .. attr(53, "b\0")
    both({ props = { alt = { "a", "b" } } }, attr(32798, inner))
    assert.are.same({ props = { alt = { "a", "b" } } }, decoded(attr(30, inner)))
    assert.are.same({ u32_ = 1 }, decoded(attr(16389, "\1\0\0\0")))
    both({ plain = { id = 1 } }, attr(37, attr(1, "\1\0")))
    both({ port = 80 }, attr(16422, "\0\80"))
    both({ props = {} }, attr(32798, ""))
  end)

  it("unions by a sibling, also after it", function()
    local data = attr(1, "\42\0\0\0") .. attr(15, "\18\181")
    both({ info = { kind = "vxlan", data = { id = 42, port = 4789 } } }, attr(32789, attr(1, "vxlan\0") .. attr(32770, data)))
    assert.are.same({ info = { kind = "vxlan", data = { id = 42, port = 4789 } } }, decoded(attr(21, attr(2, data) .. attr(1, "vxlan"))))
    both({ info = { kind = "number", data = 5 } }, attr(32789, attr(1, "number\0") .. attr(2, "\5\0\0\0")))
    both({ info = { kind = "alien", data = "\1\2" } }, attr(32789, attr(1, "alien\0") .. attr(2, "\1\2")))
    both({ info = { data = "\1\2" } }, attr(32789, attr(2, "\1\2")))
  end)

  it("unions by the family of the header, with a default", function()
    local inet = attr(32770, attr(32769, attr(3, "\9\0\0\0")))
    local t = { family = "unspec", type = 0, index = 0, flags = {}, spec = { inet = { conf = { [3] = 9 } } } }
    assert.are.equal(head .. attr(32803, inet), S:encode { spec = t.spec })
    assert.are.same(t, S:decode(head .. attr(32803, inet)))
    t = { family = "bridge", type = 0, index = 0, flags = {}, spec = { flags_ = 2 } }
    assert.are.equal("\7" .. head:sub(2) .. attr(32803, attr(0, "\2\0")), S:encode(t))
    assert.are.same(t, S:decode(S:encode(t)))
    assert.are.equal(S:encode(t), S:encode { family = 7, spec = { flags_ = 2 } })
  end)

  it("a struct in front of a nest's attributes, with scopes of its own", function()
    local t = { peer = { family = "bridge", type = 0, index = 7, flags = {}, name = "x", spec = { flags_ = 1 } } }
    assert.are.same(t, decoded(attrs(t)))
    assert.are.equal(attr(32790, pack("<BBI2i4I4", 7, 0, 0, 7, 0) .. attr(2, "x\0") .. attr(32803, attr(0, "\1\0"))), attrs(t))
    t = { peer = { family = "unspec", type = 0, index = 7, flags = {} } }
    both(t, attr(32790, pack("<BBI2i4I4", 0, 0, 0, 7, 0)))
  end)

  it("records, packed arrays, lists and indexed nests", function()
    local one, two = pack("<I2BBi4", 16, 0, 0, 2) .. attr(5, "\10\0\0\1"), pack("<I2BBi4", 8, 0, 3, 4)
    both({ hops = { { flags = 0, hops = 0, ifindex = 2, gateway = "10.0.0.1" }, { flags = 0, hops = 3, ifindex = 4 } } }, attr(23, one .. two))
    both({ group = { { id = 1, weight = 2 }, { id = 3, weight = 4 } } }, attr(24, pack("<I4BxxxI4Bxxx", 1, 2, 3, 4)))
    both({ words = { 1, 2, 3 } }, attr(25, "\1\0\2\0\3\0"))
    both({ words = {} }, attr(25, ""))
    both({ list = { { id = 5 }, { id = 6 } } }, attr(32794, attr(32769, attr(1, "\5\0")) .. attr(32770, attr(1, "\6\0"))))
    both({ fixedlist = { 5, 6 } }, attr(32795, attr(7, "\5\0\0\0") .. attr(7, "\6\0\0\0")))
    both({ index_ = { [0] = "zero", [300] = "x" } }, attr(32796, attr(0, "zero\0") .. attr(300, "x\0")))
    both({ families = { inet = 1, [99] = 2 } }, attr(32797, attr(2, "\1\0\0\0") .. attr(99, "\2\0\0\0")))
    assert.are.equal(attr(32807, attr(1, "\5\0\0\0")), attrs { set_conf = { [1] = 5 } })
    both({ conf = { 1, 2 } }, attr(39, "\1\0\0\0\2\0\0\0"))
  end)

  it("structs in structs, arrays, fixed text and bytes", function()
    local bytes = pack("<I4", 9) .. pack("<BxxxI4", 3, 8) .. "\1\2\3\4" ..
      "name\0\0\0\0" .. "\7\8" .. "\0\0" .. pack("<i8", -3) .. "\1\0\0\0" .. "\127\0\0\1"
    both({
      big = { limit = 9, rate = { cell = 3, rate = 8 }, map = { 1, 2, 3, 4 }, name = "name", raw = "\7\8", n = -3, on = true, a = "127.0.0.1" },
    }, attr(31, bytes))
  end)

  it("short and long structs", function()
    both({ big = { limit = 9, ["#size"] = 4 } }, attr(31, pack("<I4", 9)))
    local t = decoded(attr(31, ("\0"):rep(45) .. "tail"))
    assert.are.equal(t.big["#tail"] and #t.big["#tail"], 49 - 44)
    assert.are.equal(attr(31, ("\0"):rep(45) .. "tail"), attrs(t))
    both({ ["peer"] = { family = "inet", ["#size"] = 3 } }, attr(32790, "\2\0\0"))
    assert.are.same({ ["#size"] = 0 }, S:decode "")
    assert.are.same({ family = "inet", ["#size"] = 1 }, S:decode "\2")
    assert.are.equal("\2", S:encode { family = "inet", ["#size"] = 1 })
  end)

  it("says at the caller's line that a message is too long", function()
    local ok, message = pcall(function() return #S:encode { raw = ("x"):rep(2 ^ 21) } end)
    assert.is_false(ok)
    assert.is_truthy(tostring(message):find "^[^%[]*schema_spec.*a message of more than", tostring(message))
  end)

  it("keeps a struct inside a struct or an array at its size", function()
    local function fails(t)
      local ok, message = pcall(S.encode, S, t)
      assert.is_false(ok)
      assert.is_truthy(tostring(message):find "bytes expected, got", tostring(message))
    end
    fails { big = { rate = { ["#tail"] = "abcd" } } }
    fails { big = { rate = { ["#tail"] = ("x"):rep(5000) } } }
    fails { group = { { id = 1, ["#tail"] = "abcd" }, { id = 2 } } }
    fails { group = { { id = 1, ["#size"] = 4 }, { id = 2 } } }
  end)

  it("a header of one byte is padded, with zeros", function()
    local small = schema.compile "t_small"
    assert.are.equal("\2\0\0\0" .. attr(1, "\5\0"), small:encode { family = 2, id = 5 })
    assert.are.equal("\2\0\0\0", small:encode { family = 2 })
    assert.are.same({ family = 2, id = 5 }, small:decode("\2\0\0\0" .. attr(1, "\5\0")))
    assert.are.same({ family = 2 }, small:decode "\2")
  end)

  it("messages of a header only, and of attributes only", function()
    local bare, none = schema.compile "t_bare", schema.compile "t_noheader"
    assert.are.equal(head, bare:encode {})
    assert.are.equal("more", bare:decode(head .. "more")["#tail"])
    assert.are.equal(head .. "more", bare:encode { ["#tail"] = "more" })
    assert.are.equal(attr(1, "\5\0"), none:encode { id = 5 })
    assert.are.same({ id = 5 }, none:decode(attr(1, "\5\0")))
  end)

  it("what is unknown is kept, with its flags, and what does not fit its type too", function()
    both({ ["#61"] = "abc", ["#62n"] = "def", ["#63b"] = "" }, attr(61, "abc") .. attr(16447, "") .. attr(32830, "def"))
    both({ ["#61"] = { "a", "b", "c" } }, attr(61, "a") .. attr(61, "b") .. attr(61, "c"))
    both({ ["#5"] = "\1\2" }, attr(5, "\1\2"))
    both({ ["#14"] = "x" }, attr(14, "x"))
    both({ ["#18"] = "12345" }, attr(18, "12345"))
    both({ ["#23"] = "\3\0\0\0" }, attr(23, "\3\0\0\0"))
    both({ ["#25"] = "abc" }, attr(25, "abc"))
    both({ props = { ["#9"] = "x" } }, attr(32798, attr(9, "x")))
  end)

  it("what is no attribute is kept as the tail", function()
    for _, tail in ipairs { "\0", "\3\0\1\0", "\255\0\1\0abc", "\0\0\0\0" } do
      local t = decoded(attr(3, "\1") .. tail)
      assert.are.same({ u8_ = 1, ["#tail"] = tail }, t)
      assert.are.equal(attr(3, "\1") .. tail, attrs(t))
    end
    assert.are.same({ props = { ["#tail"] = "ab" } }, decoded(attr(30, "ab")))
  end)

  it("the last of several that may be there once counts, as in the kernel", function()
    assert.are.same({ u8_ = 2 }, decoded(attr(3, "\1") .. attr(3, "\2")))
  end)

  it("the same table gives the same bytes", function()
    local t = { name = "x", u8_ = 1, u16_ = 2, u32_ = 3, ["#61"] = "a", ["#60"] = "b", info = { kind = "vxlan", data = { id = 1, port = 2 } } }
    local first = S:encode(t)
    for _ = 1, 20 do
      local copy = {}
      for k, v in pairs(t) do
        copy[k] = v
      end
      assert.are.equal(first, S:encode(copy))
    end
  end)

  it("large messages, up to what an attribute can hold", function()
    local big = ("x"):rep(65531)
    assert.are.equal(big, decoded(attrs { raw = big }).raw)
    assert.has_error(function() S:encode { raw = big .. "x" } end, nil)
    local many = {}
    for i = 1, 5000 do
      many[i] = "10.0.0.1"
    end
    assert.are.same(many, decoded(attrs { ips = many }).ips)
  end)

  it("nests deeper than any kernel's are bytes, and refused on the way out", function()
    local bytes = ""
    for _ = 1, 100 do
      bytes = attr(32790, head .. bytes)
    end
    local t = S:decode(head .. bytes)
    assert.are.same(t, S:decode(S:encode(t)))
    local cycle = {}
    cycle.peer = cycle
    local ok, message = pcall(S.encode, S, cycle)
    assert.is_false(ok)
    assert.is_truthy(message:find "nested too deeply")
  end)
end)

describe("schema misuse", function()
  local function fails(message, t)
    local ok, got = pcall(function() S:encode(t) end)
    assert.is_false(ok)
    assert.is_truthy(got:find("schema_spec.lua:%d+: "), got)
    assert.are.equal(message, (got:gsub("^.-:%d+: ", "")))
  end

  it("names the path and the nearest key", function()
    fails("t_all: unknown key 'nmae' (did you mean 'name'?)", { nmae = "x" })
    fails("t_all: unknown key 'famly' (did you mean 'family'?)", { famly = 2 })
    fails("t_all: unknown key of type number", { "x" })
    fails("t_all.info.data (vxlan): unknown key 'prot' (did you mean 'port'?)", { info = { kind = "vxlan", data = { prot = 1 } } })
    fails("t_all.info.data: no schema for 'alien'", { info = { kind = "alien", data = {} } })
    fails("t_all.info.data: needs 'kind' beside it", { info = { data = {} } })
    fails("t_all.hops[2].ifindex: integer expected, got 'x'", { hops = { {}, { ifindex = "x" } } })
    fails("t_all.group[1]: unknown key 'wieght' (did you mean 'weight'?)", { group = { { wieght = 1 } } })
    fails("t_all.big.rate: table expected, got number", { big = { rate = 1 } })
    fails("t_all.big.map: 4 values expected, got 1", { big = { map = { 1 } } })
    fails("t_all.list[1].id: 65536 does not fit in u16 (0 to 65535)", { list = { { id = 65536 } } })
    fails("t_all.props.alt: list expected, got 'x'", { props = { alt = "x" } })
    fails("t_all.families: unknown key 'inte' (did you mean 'inet'?)", { families = { inte = 1 } })
    fails("t_all: table expected, got number", 7)
  end)

  it("of types and ranges", function()
    fails("t_all.name: string expected, got number", { name = 1 })
    fails("t_all.name: string expected, got boolean", { name = false })
    fails("t_all.name: 'xxxxxxxxxxxxxxxx' is longer than 15 bytes", { name = ("x"):rep(16) })
    fails("t_all.name: a zero byte in a string", { name = "a\0b" })
    fails("t_all.u8_: 256 does not fit in u8 (0 to 255)", { u8_ = 256 })
    fails("t_all.u8_: -1 does not fit in u8 (0 to 255)", { u8_ = -1 })
    fails("t_all.s8_: 128 does not fit in s8 (-128 to 127)", { s8_ = 128 })
    fails("t_all.u32_: integer expected, got number", { u32_ = 1.5 })
    fails("t_all.u32_: integer expected, got number", { u32_ = 0 / 0 })
    fails("t_all.u32_: integer expected, got '1500'", { u32_ = "1500" })
    fails("t_all.u32_: 1.0000000000000001e+300 does not fit in u32 (0 to 4294967295)", { u32_ = 1e300 })
    fails("t_all.u64_: integer expected, got '-1'", { u64_ = "-1" })
    fails("t_all.u64_: '18446744073709551616' does not fit in u64 (0 to 18446744073709551615)", { u64_ = "18446744073709551616" })
    fails("t_all.u32_: u32 expected, got boolean", { u32_ = true })
    fails("t_all.on: boolean expected, got number", { on = 1 })
    fails("t_all.yes: boolean expected, got 'yes'", { yes = "yes" })
    fails("t_all.mode: unknown name 'vepp' (did you mean 'vepa'?)", { mode = "vepp" })
    fails("t_all.bits: unknown flag 'upp' (did you mean 'up'?)", { bits = { upp = true } })
    fails("t_all.bits: name of a flag expected, got boolean", { bits = { true } })
    fails("t_all.lladdr: link-layer address expected, got '02:zz'", { lladdr = "02:zz" })
    fails("t_all.lladdr: link-layer address expected, got '02:'", { lladdr = "02:" })
    fails("t_all.ip: IP address expected, got '10.0.0'", { ip = "10.0.0" })
    fails("t_all.v4: IPv4 address expected, got '::1'", { v4 = "::1" })
    fails("t_all.v6: IPv6 address expected, got '1.2.3.4'", { v6 = "1.2.3.4" })
    fails("t_all.exact: 3 bytes expected, got 2", { exact = "ab" })
    fails("t_all.raw: 65532 bytes do not fit in an attribute (65531)", { raw = ("x"):rep(65532) })
  end)
end)

describe("schema paths", function()
  it("say what stands at an offset", function()
    local t = {
      index = 5, name = "eth0", info = { kind = "vxlan", data = { id = 33554432, port = 1 } },
      hops = { { ifindex = 1 }, { ifindex = 2, gateway = "10.0.0.1" } }, ips = { "1.1.1.1", "2.2.2.2" },
      list = { { id = 3 } }, ["#61"] = "abc",
    }
    local bytes = S:encode(t)
    local function at(payload, n)
      local offset = bytes:find(payload, 1, true) - 1
      local path, value = S:path(bytes, offset + (n or 0))
      return path .. "=" .. tostring(value)
    end
    assert.are.equal("info.data.id=33554432", at(attr(1, pack("<I4", 33554432))))
    assert.are.equal("info.data.id=33554432", at(attr(1, pack("<I4", 33554432)), 4))
    assert.are.equal("name=eth0", at "eth0")
    assert.are.equal("info.kind=vxlan", at "vxlan")
    assert.are.equal("hops[2].gateway=10.0.0.1", at(attr(5, "\10\0\0\1")))
    assert.are.equal("hops[2].ifindex=2", at(pack("<I2BBi4", 16, 0, 0, 2), 4))
    assert.are.equal("ips[2]=2.2.2.2", at "\2\2\2\2")
    assert.are.equal("list[1].id=3", at(attr(1, "\3\0")))
    assert.are.equal("#61=abc", at "abc")
    local path, value = S:path(bytes, 4)
    assert.are.equal("index", path)
    assert.are.equal(5, value)
    path, value = S:path(bytes, bytes:find("vxlan", 1, true) - 1 - 8)
    assert.are.equal("info", path)
    assert.are.equal("vxlan", value.kind)
    assert.is_nil(S:path(bytes, #bytes))
    assert.is_nil(S:path(bytes, -1))
    assert.is_nil(S:path("", 0))
  end)

  it("say what is missing", function()
    local bytes = S:encode { info = { kind = "vxlan", data = { port = 1 } } }
    local info = 12
    assert.are.equal("name", S:missing(bytes, 2))
    assert.are.equal("info.slave_kind", S:missing(bytes, 4, info))
    assert.are.equal("info.data.id", S:missing(bytes, 1, bytes:find(attr(15, "\0\1"), 1, true) - 1 - 4))
    assert.are.equal("#99", S:missing(bytes, 99))
  end)
end)

describe("schema robustness", function()
  -- A fixed generator: the same bytes on every run.
  local state = 12345
  local function random(n)
    state = (state * 69069 + 12345) % 4294967296
    return math.floor(state / 65536) % n
  end

  it("bytes of any kind decode, and decode to the same again", function()
    local seed = S:encode {
      index = 5, name = "eth0", info = { kind = "vxlan", data = { id = 1, range = { low = 1, high = 2 } } },
      hops = { { ifindex = 1, gateway = "10.0.0.1" } }, ips = { "1.1.1.1" }, list = { { id = 3 } },
      families = { inet = 3 }, group = { { id = 1 } }, big = { limit = 1 }, ["#61"] = "abc", peer = { name = "p" },
    }
    for _ = 1, 3000 do
      local b = { seed:byte(1, -1) }
      for _ = 1, 1 + random(6) do
        b[1 + random(#b)] = random(3) == 0 and random(256) or random(40)
      end
      local bytes = string.char(unpack(b)):sub(1, #b - random(3) * random(40))
      local once = S:decode(bytes)
      local again = S:decode(S:encode(once))
      assert.are.same(once, again)
    end
  end)
end)
