-- fd handles and ns.wait: closing, reading, waiting, and nothing leaked.

local core = require "nslua.core"
local ns = require "nslua"
local helper = require "spec.helper"

describe("fd handle", function()
  it("reads what was written, and the end", function()
    local r, w = core.fd.pipe()
    assert.equal(5, w:write "hello")
    assert.equal("hello", r:read())
    assert.is_true(w:close())
    assert.equal("", r:read())
    r:close()
  end)

  it("closes once and raises afterwards", function()
    local f = core.fd.open("/dev/null", "r")
    assert.is_true(f:close())
    assert.is_true(f:close())
    assert.is_false(f:isopen())
    assert.equal("fd (closed)", tostring(f))
    assert.has_error(function() f:read() end)
  end)

  it("fails with what, why and errno", function()
    local f, message, errno = core.fd.open("/nonexistent/file", "r")
    assert.is_nil(f)
    assert.equal("/nonexistent/file: No such file or directory", message)
    assert.equal(core.errno.ENOENT, errno)
  end)

  it("opens no other file than the one named, at a NUL byte", function()
    local f, _, errno = core.fd.open("/dev/null\0x", "r")
    assert.is_nil(f)
    assert.are.equal(core.errno.EINVAL, errno)
  end)

  it("opens close-on-exec", function()
    local f = core.fd.open("/dev/null", "r")
    local flags = helper.sh(("grep flags /proc/$PPID/fdinfo/%d"):format(f:number()))
    assert.equal(tonumber("02000000", 8), tonumber(flags:match "%d+", 8) & tonumber("02000000", 8))
    f:close()
  end)

  it("release gives the number away, adopt takes it", function()
    local f = core.fd.open("/dev/zero", "r")
    local n = f:release()
    assert.is_false(f:isopen())
    local g = core.fd.adopt(n)
    assert.equal(3, #g:read(3))
    g:close()
    assert.is_nil((core.fd.adopt(n)))
  end)

  it("is collected without a leak", function()
    local before = helper.fd_count()
    for _ = 1, 10000 do
      core.fd.open("/dev/null", "r")
    end
    assert.equal(before, helper.fd_count())
  end)
end)

describe("ns.wait", function()
  it("returns what is ready", function()
    local r, w <close> = core.fd.pipe()
    local quiet, other <close> = core.fd.pipe()
    w:write "x"
    assert.same({ r }, ns.wait({ quiet, r }, 5))
    other:write "y"
    assert.same({ quiet, r }, ns.wait({ quiet, r }))
  end)

  it("is nil when the time runs out, and not before", function()
    local r, _w <close> = core.fd.pipe()
    local start = ns.clock()
    assert.is_nil(ns.wait({ r }, "20ms"))
    assert.is_true(ns.clock() - start >= 0.020)
    assert.is_nil(ns.wait({ r }, 0))
  end)

  it("honours an object's own timeout", function()
    local r, _w <close> = core.fd.pipe()
    local timed = { pollfd = function() return r:number() end, events = function() return "r" end, timeout = function() return 0.01 end }
    assert.same({ timed }, ns.wait({ timed }, 5))
  end)

  it("refuses what is no list", function()
    assert.has_error(function() ns.wait(1) end)
    assert.has_error(function() ns.wait({}, "soon") end)
    for what, arguments in pairs { ["is no number"] = { {}, 0 / 0 }, ["nothing to wait for, and no time"] = { {} },
      ["%[1%] must have pollfd"] = { { 5 } }, ["%[1%] must have pollfd%(%)"] = { { {} }, 0 } } do
      local ok, e = pcall(ns.wait, arguments[1], arguments[2])
      assert.is_false(ok)
      assert.matches("fd_spec.lua:%d+: wait: .*" .. what, e)
    end
  end)
end)
