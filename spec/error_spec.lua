-- The error object: its text, its fields, and the line it names.

local errors = require "nslua.error"
local core = require "nslua.core"

describe("error object", function()
  it("prints where, call, namespace, code, message and detail", function()
    local e = errors.new { call = "link.add", netns = "blue", errno = 17, detail = 'name = "eth0"', where = "lab.lua:7" }
    assert.equal('lab.lua:7: link.add in blue: EEXIST: File exists (name = "eth0")', tostring(e))
    assert.equal("EEXIST", e.code)
    assert.equal(17, e.errno)
  end)

  it("prints the kernel's own words, the attribute and its range in place of strerror", function()
    local e = errors.new { call = "link.add", errno = 34, where = "x.lua:1", attribute = "link.linkinfo.data.id = 33554432",
      extack = "VXLAN ID must be lower than 16777216", range = "0 to 16777215" }
    assert.equal("x.lua:1: link.add: ERANGE: link.linkinfo.data.id = 33554432: VXLAN ID must be lower than 16777216 (0 to 16777215)",
      tostring(e))
  end)

  it("prints what grants a missing right after the rest", function()
    local e = errors.new { call = "netns.new", errno = 1, where = "x.lua:1", hint = "run it as root" }
    assert.equal("x.lua:1: netns.new: EPERM: Operation not permitted; run it as root", tostring(e))
  end)

  it("concatenates on both sides", function()
    local e = errors.new { call = "x", errno = 2, where = "a:1" }
    assert.equal("<a:1: x: ENOENT: No such file or directory>", "<" .. e .. ">")
  end)

  it("names the first line outside nslua", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, e = pcall(function() errors.check("call", nil, nil, "thing: File exists", 17) end)
    assert.is_false(ok)
    assert.equal(("%s:%d"):format(debug.getinfo(1, "S").short_src, line), e.where)
    assert.equal("thing", e.detail)
  end)

  it("passes results through untouched, false included", function()
    assert.same({ false, "b", 3, 4 }, { errors.check("call", nil, false, "b", 3, 4) })
  end)

  it("is told from other values by is()", function()
    local _, e = pcall(errors.raise, { call = "x", errno = core.errno.EPERM })
    assert.is_true(errors.is(e))
    assert.is_true(errors.is(e, "EPERM"))
    assert.is_false(errors.is(e, "EEXIST"))
    assert.is_false(errors.is("EPERM", "EPERM"))
    assert.is_false(errors.is({ code = "EPERM" }, "EPERM"))
  end)

  it("misuse is an ordinary string error at the caller's line", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, e = pcall(function() errors.misuse("bad %s", "thing") end)
    assert.is_false(ok)
    assert.equal("string", type(e))
    assert.truthy(e:find((":%d: bad thing"):format(line), 1, true))
  end)

  it("knows every errno both ways", function()
    local known = 0
    for number = 1, 133 do
      local name = core.errno[number]
      if name then
        known = known + 1
        assert.equal(number, core.errno[name])
      end
    end
    assert.is_true(known > 120)
    assert.is_nil(core.errno.ENOSUCH)
    assert.is_nil(core.errno[0])
    assert.equal("EAGAIN", core.errno[11])
    assert.equal("EOPNOTSUPP", core.errno[95])
  end)
end)
