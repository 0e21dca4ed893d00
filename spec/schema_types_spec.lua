-- Types of the schema language that have a text or a table of their own: integers of two sizes, bytes as text, socket addresses, bit sets.

local schema = require "nslua.schema"

local pack = require "spec.pack"

-- An attribute as the kernel writes it.
local function attr(id, payload)
  return pack("<I2I2", 4 + #payload, id) .. payload .. ("\0"):rep(-#payload % 4)
end

schema.flags("t_flags", {}, { up = 1, running = 64, high = 2147483648 })
schema.enum("t_mode", {}, { private = 1, vepa = 2, passthru = 8 })

describe("schema types", function()
  it("addresses as inet_pton(3) reads them", function()
    local bytes = require("nslua.core").inet.bytes
    assert.are.equal("\0\0\0\0", bytes "0.0.0.0")
    assert.are.equal("\1\20\200\255", bytes "1.20.200.255")
    assert.are.equal(("\0"):rep(15) .. "\1", bytes "::1")
    assert.are.equal(("\0"):rep(10) .. "\255\255\1\2\3\4", bytes "::ffff:1.2.3.4")
    for _, text in ipairs { "", ".", "1", "1.2.3", "1.2.3.", "1.2.3.4.", ".1.2.3", "1..2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.00", "256.1.1.1",
      "1.2.3.1000",
      "1.2.3.4 ", " 1.2.3.4", "1.2.3.4\0", "1.2.3\0.4", "1,2,3,4", "a.b.c.d", "-1.2.3.4", "0x1.2.3.4", ":", "::1\0", "1:2" } do
      assert.is_nil(bytes(text), text)
    end
  end)

  it("integers as long as they have to be", function()
    schema.set("t_sized", {}, "1 A u uint \n 2 B s sint \n 3 C f uint:flags(t_flags) \n 4 D e sint:enum(t_mode)")
    schema.message("t_sized", { attrs = "t_sized" })
    local sized = schema.compile "t_sized"
    local function is(t, bytes)
      assert.are.equal(bytes, sized:encode(t))
      assert.are.same(t, sized:decode(bytes))
    end
    is({ u = 4294967295 }, attr(1, "\255\255\255\255"))
    is({ u = 4294967296 }, attr(1, "\0\0\0\0\1\0\0\0"))
    is({ s = -2147483648 }, attr(2, "\0\0\0\128"))
    is({ s = -2147483649 }, attr(2, "\255\255\255\127\255\255\255\255"))
    is({ s = 2147483648 }, attr(2, "\0\0\0\128\0\0\0\0"))
    is({ f = { up = true, high = true } }, attr(3, "\1\0\0\128"))
    is({ e = "vepa" }, attr(4, "\2\0\0\0"))
    assert.are.same({ u = 7 }, sized:decode(attr(1, "\7\0\0\0\0\0\0\0")))
    assert.are.same({ ["#1"] = "\7\0" }, sized:decode(attr(1, "\7\0")))
  end)

  it("bytes as text", function()
    schema.set("t_text", {}, "1 A h hex \n 2 B b base64 \n 3 C key base64(4) \n 4 D a sockaddr \n 5 E pairs array(hex(2)) \n 6 F - pad \n 7 G z u8")
    schema.message("t_text", { attrs = "t_text" })
    local text = schema.compile "t_text"
    local function is(t, bytes)
      assert.are.equal(bytes, text:encode(t))
      assert.are.same(t, text:decode(bytes))
    end
    is({ h = "00ff1a" }, attr(1, "\0\255\26"))
    is({ h = "" }, attr(1, ""))
    assert.are.equal(attr(1, "\171"), text:encode { h = "AB" })
    for bytes, b in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=", foobar = "Zm9vYmFy" } do
      is({ b = b }, attr(2, bytes)) -- RFC 4648
    end
    is({ key = "/+8AAQ==" }, attr(3, "\255\239\0\1"))
    is({ a = "10.0.0.1:51820" }, attr(4, "\2\0\202\108\10\0\0\1" .. ("\0"):rep(8)))
    is({ a = "[fe80::1%3]:1" }, attr(4, "\10\0\0\1\0\0\0\0\254\128" .. ("\0"):rep(13) .. "\1\3\0\0\0"))
    is({ a = "[::]:0" }, attr(4, "\10\0\0\0\0\0\0\0" .. ("\0"):rep(20)))
    is({ pairs = { "0001", "fffe" } }, attr(5, "\0\1\255\254"))
    assert.are.same({ z = 3 }, text:decode(attr(6, "\0\0\0\0") .. attr(7, "\3")))
    -- what the text cannot say stays bytes
    for _, bytes in ipairs { "\2\0\0\1\10\0\0\1" .. ("\1"):rep(8), "\10\0\0\1\1" .. ("\0"):rep(23), "\3\0" .. ("\0"):rep(14), "\2\0\0\1" } do
      assert.are.same({ ["#4"] = bytes }, text:decode(attr(4, bytes)))
    end
    local function refuses(pattern, t)
      local ok, e = pcall(text.encode, text, t)
      assert.is_false(ok)
      assert.is_truthy(e:find(pattern), e)
    end
    refuses("t_text.h: hexadecimal text expected", { h = "0" })
    refuses("hexadecimal text expected", { h = "0g" })
    for _, b in ipairs { "Zg=", "Zg", "Zh==", "Zm9=", "====", "Z===", "Zm 9v===", "Zg==Zg==", "\0AAA" } do
      refuses("t_text.b: base64 text expected", { b = b })
    end
    refuses("t_text.key: 4 bytes expected, got 3", { key = "Zm9v" })
    refuses("base64 text expected, got number", { key = 3 })
    for _, a in ipairs { "", ":", "1.2.3.4", "1.2.3.4:65536", "1.2.3.4:", "1.2.3:4", "::1:80", "[::1]80", "[::1%]:80", "[::1%x]:80",
      "[1.2.3.4]:5", "[:80", "]:80", "1.2.3.4:+5", "[::1%4294967296]:1" } do
      refuses('t_text.a: "ADDRESS:PORT" expected, got', { a = a })
    end
  end)

  it("sets of bits that have names", function()
    schema.set("t_bitset", {}, "1 A features bitset \n 2 B more list(bitset)")
    schema.message("t_bitset", { attrs = "t_bitset" })
    local sets = schema.compile "t_bitset"
    local function bit(name, value)
      return attr(32769, attr(2, name .. "\0") .. (value and attr(3, "") or ""))
    end
    local t = { features = { rx = true, ["tx-all"] = false, ["#bit7"] = true } }
    local bytes = attr(32769, attr(32771, attr(32769, attr(1, "\7\0\0\0") .. attr(3, "")) .. bit("rx", true) .. bit "tx-all"))
    assert.are.equal(bytes, sets:encode(t))
    assert.are.same(t, sets:decode(bytes))
    assert.are.equal(sets:encode { features = { rx = true } }, sets:encode { features = { "rx" } })
    assert.are.same({ features = {} }, sets:decode(sets:encode { features = {} }))
    -- as the kernel writes: index and name, and with NOMASK those that are there are set
    local full = attr(32771, attr(32769, attr(1, "\0\0\0\0") .. attr(2, "rx\0")))
    assert.are.same({ features = { rx = false } }, sets:decode(attr(32769, full)))
    assert.are.same({ features = { rx = true } }, sets:decode(attr(32769, attr(1, "") .. attr(2, "\60\0\0\0") .. full)))
    -- words of 32 bits
    local words = attr(2, "\33\0\0\0") .. attr(4, "\1\0\0\0\1\0\0\0")
    assert.are.same({ features = { ["#bit0"] = true, ["#bit1"] = false, ["#bit32"] = true } },
      sets:decode(attr(32769, words .. attr(5, "\3\0\0\0\1\0\0\0"))))
    assert.are.same({ features = { ["#bit0"] = true, ["#bit32"] = true } }, sets:decode(attr(32769, attr(1, "") .. words)))
    assert.is_truthy(sets:decode(attr(32769, words))["#1n"])
    assert.is_truthy(sets:decode(attr(32769, attr(2, "\200\0\0\0") .. attr(4, "\1\0\0\0")))["#1n"])
    assert.are.equal('{"features":{},"more":[{"a":true}]}', sets:row(sets:encode { features = {}, more = { { a = true } } }):json())
    -- the bit that the kernel means
    local path = sets:path(bytes, #bytes - 3)
    assert.are.equal("features.tx-all", path)
    assert.are.equal("features", (sets:path(bytes, 0)))
    local ok, e = pcall(sets.encode, sets, { features = { rx = 1 } })
    assert.is_false(ok)
    assert.is_truthy(e:find "t_bitset.features: true or false expected, got number", e)
    assert.is_false(pcall(sets.encode, sets, { features = "rx" }))
    assert.is_false(pcall(sets.encode, sets, { features = { "" } }))
  end)
end)
