-- Checks of arguments: unknown keys name the nearest known one, wrong types say what was expected.

local check = require "nslua.check"
local units = require "nslua.units"

local function message(fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal("string", type(e))
  return e
end

describe("check.options", function()
  local known = { name = "string", mtu = "integer", up = "boolean", master = "string|integer|false", [1] = "string", any = true }

  it("takes what is known", function()
    check.options("link.add", { "x", name = "a", mtu = 1400, up = false, master = false, any = print }, known)
  end)
  it("names the nearest key", function()
    assert.truthy(message(check.options, "link.add", { nmae = 1 }, known):find("unknown key 'nmae' (did you mean 'name'?)", 1, true))
    assert.truthy(message(check.options, "link.add", { Mtu = 1 }, known):find("did you mean 'mtu'?", 1, true))
  end)
  it("names a key that is the beginning of the word, or begins with it", function()
    local types = { "cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts" }
    assert.equal("net", check.nearest("network", types))
    assert.equal("pid", check.nearest("pid_namespace", types))
    assert.equal("mount", check.nearest("mo", types))
    assert.equal("metric", check.nearest("metr", { metric = true, mtu = true, master = true, metres_of_another = true }))
    assert.is_nil(check.nearest("t", types)) -- a letter is none
    assert.is_nil(check.nearest("trick", { "t" }))
    -- a slip of the fingers is nearer than a beginning
    assert.equal("pods", check.nearest("podd", { "podcasts", "pods", "podddddddd" }))
  end)
  it("names none where none is near", function()
    assert.falsy(message(check.options, "link.add", { frobnicate = 1 }, known):find("did you mean", 1, true))
  end)
  it("says which types a key takes", function()
    assert.truthy(message(check.options, "x", { name = {} }, known):find("x: name must be string, got table", 1, true))
    assert.truthy(message(check.options, "x", { mtu = 1.5 }, known):find("mtu must be integer, got 1.5", 1, true))
    assert.truthy(message(check.options, "x", { master = true }, known):find("string or integer or false", 1, true))
    assert.truthy(message(check.options, "x", { 5 }, known):find("[1] must be string", 1, true))
  end)
  it("says which numbers a key takes", function()
    local ports = { port = "0-65535|false" }
    for _, good in ipairs { 0, 80, 65535, false } do
      check.options("x", { port = good }, ports)
    end
    for _, bad in ipairs { -1, 65536, 1.5, 2 ^ 53, 0 / 0, "80" } do
      assert.truthy(message(check.options, "x", { port = bad }, ports):find("x: port must be 0-65535 or false, got", 1, true))
    end
  end)
  it("refuses what is no table", function()
    assert.truthy(message(check.options, "x", 7, known):find("x: a table expected, got number", 1, true))
  end)
end)

describe("units", function()
  it("durations are seconds or text", function()
    assert.equal(0.01, units.duration "10ms")
    assert.equal(2, units.duration(2))
    assert.equal(1.5, units.duration "1.5s")
    assert.equal(120, units.duration "2min")
    assert.truthy(message(units.duration, "10 parsecs", "timeout"):find("timeout: cannot read", 1, true))
    assert.truthy(message(units.duration, true):find("got boolean", 1, true))
  end)
  it("rates are bits a second, mbps raises", function()
    assert.equal(100e6, units.rate "100mbit")
    assert.equal(1e9, units.rate "1Gbit")
    assert.truthy(message(units.rate, "10mbps"):find("bytes to tc(8)", 1, true))
  end)
  it("sizes are bytes, kb is 1024", function()
    assert.equal(65536, units.size "64kb")
    assert.equal(1500, units.size(1500))
  end)
  it("fractions lie between 0 and 1", function()
    assert.equal(0.01, units.fraction "1%")
    assert.truthy(message(units.fraction, "101%"):find("not between", 1, true))
    assert.truthy(message(units.fraction, -0.1):find("not between", 1, true))
  end)
end)
