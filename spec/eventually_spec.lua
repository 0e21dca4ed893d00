-- ns.eventually.

local ns = require "nslua"

describe("ns.eventually", function()
  it("gives what its function returns, once that is true", function()
    local n = 0
    local a, b = ns.eventually(function()
      n = n + 1
      if n < 3 then
        error "not yet"
      end
      return n > 3 and n, "more"
    end, 5, 0.001)
    assert.same({ 4, "more", 4 }, { a, b, n })
  end)

  it("raises when the time is over, with what was wrong last", function()
    local ok, e = pcall(ns.eventually, function()
      error("no route", 0)
    end, 0.05, "10ms")
    assert.is_false(ok)
    assert.equal("eventually", e.call)
    assert.is_truthy(tostring(e):find("not within 0.05 seconds (no route)", 1, true), tostring(e))
    ok, e = pcall(ns.eventually, function() return false, "3 of 5" end, 0)
    assert.is_true(not ok and tostring(e):find("not within 0 seconds (3 of 5)", 1, true) ~= nil)
    ok, e = pcall(ns.eventually, function() end, 0)
    assert.is_true(not ok and tostring(e):find("not within 0 seconds", 1, true) ~= nil)
    assert.is_false((pcall(ns.eventually, 5)))
  end)
end)
