-- Rows: fields decoded when read, computed fields, what is public, equality, and rows that live for one step.

local schema = require "nslua.schema"
local pack = require "spec.pack"
local helper = require "spec.helper"

local wide = math.type ~= nil -- 64-bit integers, and pairs() on userdata in all of these

schema.flags("r_flags", {}, { up = 1 })
schema.struct("r_head", {}, "family u8 pad(3) index s32 flags u32:flags(r_flags)")
schema.set("r_info", {}, "1 KIND kind strz\n2 LIST list array(u8)\n3 SUB sub nest(r_info)")
schema.set("r_set", {}, [[
  1 NAME   name    strz(15)
  2 MTU    mtu     u32
  3 INFO   info    nest(r_info)
  4 ADDR   address ip
  5 SECRET secret  u32
  6 BIG    big     u64
  7 ALT    alt     strz multi
  8 BITS   bits    u32:flags(r_flags)
]])
schema.message("r_message", { head = "r_head", attrs = "r_set" })
local S = schema.compile "r_message"

local function message(t)
  t.index = t.index or 3
  return S:encode(t)
end

local calls = 0
local class = schema.class {
  name = "thing",
  hidden = { "secret", "family", "bits" },
  computed = {
    address = function(row)
      calls = calls + 1
      local raw = schema.raw(row, "address")
      return raw and raw .. "/24"
    end,
    doubled = function(row, rowset)
      return row.secret * (rowset and rowset.factor or 2)
    end,
    list = function()
      return { 1, { a = "b" } }
    end,
    absent = function()
      return nil
    end,
  },
  methods = {
    greet = function(row, word)
      return word .. " " .. row.name
    end,
  },
  same = function(a, b)
    return a.index == b.index
  end,
}

local function sorted(t)
  local keys = {}
  for k in pairs(t) do
    keys[#keys + 1] = k
  end
  table.sort(keys)
  return table.concat(keys, " ")
end

describe("a row", function()
  local bytes = message { name = "eth0", mtu = 1500, address = "10.0.0.1", secret = 21, info = { kind = "x", list = { 1, 2 } }, alt = { "a", "b" } }

  it("reads as its message decodes", function()
    local row = S:row(bytes)
    for k, v in pairs(S:decode(bytes)) do
      assert.are.same(v, row[k])
    end
    assert.is_nil(row.big)
    assert.is_nil(row.nothing)
    assert.is_nil(row[1])
    assert.is_nil(row[S])
    assert.are.equal("eth0", row.name)
    assert.are.equal(3, row.index)
    assert.are.same({ "a", "b" }, row.alt)
    assert.is_true(rawequal(row.info, row.info), "a table stays the same one")
    assert.are.same(S:decode(bytes), row:decode())
    assert.are.equal(bytes, schema.bytes(row))
    assert.is_true(schema.isrow(row))
    assert.is_false(schema.isrow(bytes))
  end)

  it("keeps its bytes, whatever happens to the string", function()
    local rows = {}
    for i = 1, 100 do
      rows[i] = S:row(message { index = i, name = "n" .. i })
    end
    collectgarbage()
    collectgarbage()
    for i = 1, 100 do
      assert.are.equal("n" .. i, rows[i].name)
    end
  end)

  it("has the fields of its class, computed when they are read", function()
    local row = S:row(bytes, class, { factor = 3 })
    calls = 0
    assert.are.equal("10.0.0.1/24", row.address)
    assert.are.equal("10.0.0.1/24", row.address)
    assert.are.equal("10.0.0.1/24", row:decode().address)
    assert.are.equal(3, calls)
    assert.are.equal(63, row.doubled)
    assert.are.equal(42, S:row(bytes, class).doubled)
    assert.is_nil(row.absent)
    assert.are.equal("hello eth0", row:greet "hello")
    assert.are.equal("10.0.0.1", schema.raw(row, "address"))
    assert.are.equal(3, schema.raw(row, "index"))
    assert.is_nil(schema.raw(row, "nothing"))
    assert.are.equal(3, schema.rowset(row).factor)
    assert.are.equal("thing row", tostring(row))
    assert.are.equal("r_message row", tostring(S:row(bytes)))
  end)

  it("shows what is public: neither hidden nor unnamed", function()
    local odd = bytes .. pack("<I2I2", 6, 99) .. "ab\0\0"
    local row = S:row(odd, class)
    assert.are.equal("address alt doubled flags index info list mtu name", sorted(row:decode()))
    assert.are.equal(21, row.secret, "hidden is not listed, but can be read")
    assert.are.equal("ab", row["#99"])
    assert.are.equal("eth0\0", row["#1"])
    assert.is_nil(row["#98"])
    assert.is_nil(row["#"])
    assert.are.equal("ab", S:row(odd):decode()["#99"])
    if pcall(pairs, row) then
      local seen = {}
      for k, v in pairs(row) do
        seen[k] = v
      end
      assert.are.same(row:decode(), seen)
    end
  end)

  it("cannot be written, and its vocabulary cannot shadow its methods", function()
    local row = S:row(bytes, class)
    assert.has_error(function()
      row.name = "x"
    end)
    local ok, e = pcall(schema.class, { name = "x", computed = { decode = function() end } })
    assert.is_false(ok)
    assert.is_truthy(e:find "'decode' is a method of rows")
    assert.is_false((pcall(schema.class, { name = "x", computde = {} })))
    assert.is_false((pcall(schema.class, { computed = {} })))
    assert.is_false((pcall(schema.class, { name = "x", computed = { a = 1 } })))
  end)

  it("is equal to the same object, not to equal bytes", function()
    local a, b = S:row(message { index = 1, name = "a" }, class), S:row(message { index = 1, name = "b" }, class)
    local c = S:row(message { index = 2, name = "a" }, class)
    assert.is_true(a == b)
    assert.is_false(a == c)
    assert.is_false(a == S:row(message { index = 1, name = "a" }))
    assert.is_true(S:row(bytes) == S:row(bytes))
    assert.is_false(S:row(bytes) == S:row(message { name = "x" }))
    assert.is_false(a == S)
    assert.is_false(a == io.stdout)
  end)

  it("passes on the error of a computed field", function()
    local odd = schema.class { name = "odd", computed = { type = function() error("say kind", 0) end } }
    local ok, e = pcall(function() return S:row(bytes, odd).type end)
    assert.is_false(ok)
    assert.are.equal("say kind", e)
  end)

  it("lives with messages that are short or broken", function()
    for n = 0, #bytes do
      local row = S:row(bytes:sub(1, n))
      local t = row:decode()
      for _, key in ipairs { "index", "name", "mtu", "info", "alt", "flags" } do
        assert.are.same(t[key], row[key])
      end
      row:json()
    end
  end)

  it("refuses what is no row", function()
    assert.has_error(function() S.row(bytes) end)
    assert.has_error(function() S:row {} end)
    assert.has_error(function() S:row(bytes, "class") end)
    assert.has_error(function() schema.raw({}, "name") end)
    local index = debug.getmetatable(S:row(bytes)).__index
    assert.has_error(function() index(io.stdout, "name") end)
    assert.has_error(function() index({}, "name") end)
  end)
end)

describe("row json", function()
  it("is sorted, exact and valid", function()
    local row = S:row(message {
      name = "a\"b\\c\n\1\200", mtu = 1500, big = wide and -1 or "18446744073709551615", info = {}, flags = "up", bits = 0, alt = { "x" },
    })
    assert.are.equal([[{"alt":["x"],"big":18446744073709551615,"bits":{},"family":0,]] ..
      [["flags":{"up":true},"index":3,"info":{},"mtu":1500,"name":"a\"b\\c\n\u0001\u00c8"}]], row:json())
    row = S:row(message { info = { list = {}, sub = {} }, address = "10.0.0.1", secret = 1 }, class)
    assert.are.equal([[{"address":"10.0.0.1/24","doubled":2,"flags":{},"index":3,"info":{"list":[],"sub":{}},"list":[1,{"a":"b"}]}]], row:json())
  end)

  it("of Lua values", function()
    assert.are.equal('[1,2.5,-3,true,false,"\195\164\226\130\172\240\159\152\128",{"a":[]}]',
      schema.json { 1, 2.5, -3, true, false, "\195\164\226\130\172\240\159\152\128", { a = {} } })
    assert.are.equal('{"1":"a","3":"b"}', schema.json { "a", [3] = "b" })
    assert.are.equal("null", schema.json(0 / 0))
    assert.are.equal("null", schema.json(nil))
    assert.are.equal("4294967296", schema.json(4294967296))
    assert.are.equal("0.1", schema.json(0.1))
    assert.are.equal('"\\u00ed\\u00a0\\u0080\\u00c0\\u00af"', schema.json "\237\160\128\192\175")
    assert.are.equal('"a\\u0000b"', schema.json "a\0b")
    assert.has_error(function() schema.json(print) end)
    assert.has_error(function() schema.json { [true] = 1 } end)
    local cycle = {}
    cycle[1] = cycle
    assert.has_error(function() schema.json(cycle) end)
  end)

  it("is read by another program", function()
    if not helper.has "python3" then
      return pending "no python3"
    end
    local all = {}
    for i = 0, 255 do
      all[#all + 1] = string.char(i)
    end
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(schema.json { text = table.concat(all), nested = { { 1, { x = "y" } } } })
    f:close()
    local out, ok = helper.sh("python3 -c '" ..
      "import json,sys; d=json.load(open(sys.argv[1])); print([ord(c) for c in d[\"text\"]]==list(range(256)), d[\"nested\"])' " .. path)
    os.remove(path)
    assert.is_true(ok, out)
    assert.are.equal("True [[1, {'x': 'y'}]]", out)
  end)

  describe("whose fields C makes", function()
    schema.struct("r_prefix_head", {}, "family u8 len u8 flags u16:flags(r_flags) pad(4)")
    schema.set("r_prefix_set", {}, [[
      1 ADDR  addr  ip
      2 INDEX index u32
      3 WIDE  wide  u32
      4 INFO  info  nest(r_info)
      5 ALT   alt   strz multi
      6 OTHER other u32
    ]])
    schema.message("r_prefix", { head = "r_prefix_head", attrs = "r_prefix_set" })
    local P = schema.compile "r_prefix"
    local names = { [7] = "seven" }
    local seen = 0
    local made = schema.class {
      name = "made",
      hidden = { "addr", "len", "flags", "info" },
      computed = {
        addr = { how = "prefix", "addr", "len", extra = "everything", call = function(row)
          return "of family " .. row.family
        end },
        dev = { how = "link", "index", call = function(row, set)
          return "asked for " .. row.index .. " of " .. set.name
        end },
        number = { how = "name", "wide", "len", extra = names, call = function(row)
          return "unknown " .. (row.wide or row.len)
        end },
        up = { how = "flag", "flags", bits = 1 },
        said = { how = "flag", "flags", bits = 1, no = true },
        kind = schema.when("info", function(row)
          seen = seen + 1
          return row.info.kind
        end),
        either = schema.when("wide", "other", function(row)
          return (row.wide or 0) + (row.other or 0)
        end),
      },
    }
    local function row(t, set)
      return P:row(P:encode(t), made, set)
    end

    it("has prefixes, the text for none, and the function for what is neither IPv4 nor IPv6", function()
      assert.equal("10.1.2.0/24", row({ family = 2, len = 24, addr = "10.1.2.0" }).addr)
      assert.equal("fd00::/8", row({ family = 10, len = 8, addr = "fd00::" }).addr)
      assert.equal("::1/128", row({ family = 10, len = 128, addr = "::1" }).addr)
      assert.equal("10.0.0.1/255", row({ family = 2, len = 255, addr = "10.0.0.1" }).addr)
      assert.equal("everything", row({ family = 2 }).addr)
      assert.is_nil(row({ family = 2, len = 3 }).addr)
      assert.equal("of family 28", row({ family = 28, len = 20, addr = "0.1.0.0" }).addr)
      assert.equal("of family 10", row({ family = 10, len = 20, addr = "0.1.0.0" }).addr)
    end)

    it("has names of links from the row set, and asks where it has none", function()
      assert.equal("eth7", row({ index = 7 }, { names = { [7] = "eth7" } }).dev)
      assert.equal("asked for 7 of x", row({ index = 7 }, { name = "x" }).dev)
      assert.is_nil(row({ index = 0 }, { name = "x" }).dev)
      assert.is_nil(row({}, { name = "x" }).dev)
    end)

    it("has names of numbers, by the first field that is there", function()
      assert.equal("seven", row({ wide = 7, len = 9 }).number)
      assert.equal("seven", row({ len = 7 }).number)
      assert.equal("unknown 4294967295", row({ wide = 4294967295 }).number:gsub("%.0$", ""))
      names.complete = true
      assert.equal(4294967295, row({ wide = 4294967295 }).number)
      names.complete = nil
    end)

    it("has bits, as true or nil, or as true or false", function()
      local on, off = row { flags = { "up" } }, row {}
      assert.same({ true, true }, { on.up, on.said })
      assert.is_nil(off.up)
      assert.is_false(off.said)
    end)

    it("does not call for what is not there", function()
      seen = 0
      assert.is_nil(row({}).kind)
      assert.is_nil(row({}):decode().kind)
      assert.equal(0, seen)
      assert.equal("k", row({ info = { kind = "k" } }).kind)
      assert.equal(1, seen)
      assert.is_nil(row({}).either)
      assert.equal(3, row({ wide = 3 }):decode().either)
      assert.equal(4, row({ other = 4 }).either)
    end)

    it("shows the same in decode, json and by its fields", function()
      local set = { names = { [7] = "eth7" } }
      local one = row({ family = 2, len = 24, addr = "10.1.2.0", index = 7, wide = 7, flags = { "up" }, info = { kind = "k" },
        alt = { "a", "b" } }, set)
      local t = one:decode()
      assert.same({ family = 2, addr = "10.1.2.0/24", index = 7, dev = "eth7", wide = 7, number = "seven", up = true, said = true, kind = "k",
        either = 7, alt = { "a", "b" } }, t)
      for key, value in pairs(t) do
        assert.same(value, one[key], key)
      end
      assert.equal('{"addr":"10.1.2.0/24","alt":["a","b"],"dev":"eth7","either":7,"family":2,"index":7,"kind":"k","number":"seven","said":true,'
        .. '"up":true,"wide":7}', one:json())
      assert.equal("k", one.info.kind) -- and a table that was asked for on the way is not in the way
      assert.same(t, one:decode())
    end)

    it("refuses a class that is made of what is no field", function()
      assert.has_error(function()
        P:row(P:encode {}, schema.class { name = "wrong", computed = { x = { how = "link", "indx" } } })
      end, "schema.class: x is made of 'indx', which is no field")
    end)
  end)
end)
