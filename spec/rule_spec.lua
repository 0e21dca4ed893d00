-- Routing rules: what nslua makes ip(8) shows, and what ip(8) makes nslua reads.

local errors = require "nslua.error"
local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"

describe("rules", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a
  -- a uid is one of the caller's user namespace; inside one of ours, ip(8) runs as its 0, and only from there a rule may name one
  local uid = tonumber((helper.sh "id -u"))

  before_each(function()
    a = rtnl.netns "a"
  end)
  after_each(rtnl.close)

  -- text of a rule in ip(8)'s own output
  local function text(family, priority)
    for line in (rtnl.inside(a, "ip " .. family .. " rule") .. "\n"):gmatch "([^\n]*)\n" do
      if line:match "^(%d+):" == tostring(priority) then
        return (line:gsub("^%d+:%s+", ""):gsub("%s+", " "):gsub(" $", ""))
      end
    end
  end

  it("of ip read as it shows them", function()
    rtnl.set(a, "rule add from 10.0.0.0/8 table 100 priority 10")
    rtnl.set(a, "rule add to 192.0.2.1 iif lo oif lo fwmark 1/255 table 100000 priority 11")
    rtnl.set(a, "rule add not from 10.0.0.1 blackhole priority 12")
    rtnl.set(a, "rule add goto 32766 priority 13")
    rtnl.set(a, "rule add ipproto tcp sport 80 dport 1000-2000 uidrange 0-0 unreachable priority 14")
    rtnl.set(a, "rule add from all lookup main suppress_prefixlength 0 protocol static priority 15")
    rtnl.set(a, "-6 rule add from 2001:db8::/32 prohibit priority 16")
    local function get(priority)
      return a.rule:get(priority)
    end
    local r = get(10)
    assert.same({ "10.0.0.0/8", 100, "lookup", "inet" }, { r.from, r.table, r.action, r.family })
    r = get(11)
    assert.same({ "192.0.2.1/32", "lo", "lo", 1, 255, 100000 }, { r.to, r.iif, r.oif, r.fwmark, r.fwmask, r.table })
    r = get(12)
    assert.same({ true, "blackhole", "10.0.0.1/32" }, { r.not_, r.action, r.from })
    assert.is_nil(r.table)
    assert.same({ "goto", 32766 }, { get(13).action, get(13).goto_ })
    assert.equal(13, a.rule:list({ action = "goto" })[1].priority)
    r = get(14)
    assert.same({ "tcp", 80, "1000-2000", ("%d-%d"):format(uid, uid), "unreachable" }, { r.ipproto, r.sport, r.dport, r.uidrange, r.action })
    r = get(15)
    assert.same({ 0, "static", "main" }, { r.suppress_prefixlength, r.proto, r.table })
    r = get(16)
    assert.same({ "2001:db8::/32", "prohibit", "inet6" }, { r.from, r.action, r.family })
    assert.same({ 0, "local" }, { get(0).priority, get(0).table })
    assert.equal(#rtnl.ip(a, "-4 rule") + #rtnl.ip(a, "-6 rule"), #a.rule:list())
  end)

  it("of nslua are shown by ip as they read", function()
    for priority, pair in pairs {
      [10] = { { from = "10.0.0.0/8", table = 100 }, "from 10.0.0.0/8 lookup 100 proto boot" },
      [11] = { { to = "192.0.2.1", iif = "lo", fwmark = "0x1/0xff", table = 1000 },
        "from all to 192.0.2.1 fwmark 0x1/0xff iif lo lookup 1000 proto boot" },
      [12] = { { not_ = true, from = "10.0.0.1", action = "blackhole" }, "not from 10.0.0.1 blackhole proto boot" },
      [13] = { { goto_ = 32766 }, "from all goto 32766 proto boot" },
      [14] = { { ipproto = "tcp", sport = 80, dport = "1000-2000", uidrange = uid == 0 and { 0, 0 } or nil, table = "main", proto = "static" },
        "from all " .. (uid == 0 and "uidrange 0-0 " or "") .. "ipproto tcp sport 80 dport 1000-2000 lookup main" },
      [16] = { { from = "2001:db8::/32", action = "prohibit", oif = "lo" }, "from 2001:db8::/32 oif lo prohibit proto boot", "-6" },
      [17] = { { fwmark = 5, tos = 16, table = 7, suppress_prefixlength = 0, family = "inet" },
        "from all tos 0x10 fwmark 0x5 lookup 7 suppress_prefixlength 0 proto boot" },
    } do
      pair[1].priority = priority
      local row = a.rule:add(pair[1])
      assert.equal(priority, row.priority)
      local shown = text(pair[3] or "-4", priority)
      -- ip(8) differs between versions in whether it tells the protocol, and in names of a tos
      shown = shown:gsub(" proto %w+", ""):gsub("tos lowdelay", "tos 0x10")
      assert.equal((pair[2]:gsub(" proto %w+", "")), shown)
      assert.is_true(row == a.rule:get(priority))
      assert.is_true(row == a.rule:get(pair[1]))
    end
  end)

  it("are changed, replaced, ensured and deleted", function()
    local row = a.rule:add { from = "10.0.0.0/8", table = 100 }
    assert.is_true(row.priority < 32766)
    a.rule:delete(row)
    a.rule:add { from = "10.0.0.0/8", table = 100, priority = 5, fwmark = 3 }
    a.rule:change(5, { table = 200 })
    assert.equal(1, #a.rule:list { priority = 5 })
    assert.same({ 200, 3 }, { a.rule:get(5).table, a.rule:get(5).fwmark })
    a.rule:change(5, { fwmark = false })
    assert.is_nil(a.rule:get(5).fwmark)
    row = a.rule:replace { priority = 5, from = "10.1.0.0/16", action = "unreachable" }
    assert.equal(1, #a.rule:list { priority = 5 })
    assert.same({ "10.1.0.0/16", "unreachable" }, { row.from, row.action })
    assert.is_true(row == a.rule:replace { priority = 5, from = "10.1.0.0/16", action = "unreachable" })
    assert.is_true(row == a.rule:ensure { priority = 5, from = "10.1.0.0/16", action = "unreachable" })
    assert.equal(1, #a.rule:list { priority = 5 })
    assert.equal(9, a.rule:ensure({ priority = 9, to = "10.0.0.1", table = 5 }).priority)
    a.rule:delete { from = "10.1.0.0/16" }
    a.rule:delete(9)
    assert.same({}, a.rule:list { priority = 9 })
    a.rule:delete(9, { absent = "ok" })
    local ok, e = pcall(a.rule.delete, a.rule, 9)
    assert.is_true(not ok and errors.is(e, "ENOENT"))
    a.rule:add { priority = 5, table = 5 }
    ok, e = pcall(a.rule.add, a.rule, { priority = 5, table = 5 })
    assert.is_true(not ok and errors.is(e, "EEXIST"))
  end)

  it("are not deleted or changed by a key that fits all of them", function()
    local before = #a.rule:list()
    for _, key in ipairs { {}, { family = "inet6" }, { from = "all" }, { to = "any", family = "inet" } } do
      for _, verb in ipairs { "delete", "change", "ensure" } do
        local ok, e = pcall(a.rule[verb], a.rule, key, verb == "change" and { table = 5 } or nil)
        assert.is_false(ok)
        assert.matches("rule_spec.lua:%d+: rule." .. verb .. ": the key matches every rule", tostring(e))
      end
    end
    assert.equal(before, #a.rule:list())
  end)

  it("of one family do not hide those of the other", function()
    a.rule:add { priority = 50, table = 5, family = "inet6" }
    assert.equal("inet6", a.rule:get(50).family)
    a.rule:add { priority = 50, table = 5 }
    assert.equal("inet", a.rule:get(50).family)
    a.rule:delete(50)
    assert.equal("inet6", a.rule:get(50).family)
    assert.equal(1, #a.rule:list { priority = 50 })
    assert.equal(0, #a.rule:list { priority = 50, family = "inet" })
    assert.equal(2, #a.rule:list { table = "main" })
    assert.equal(6, #a.rule:list { from = false })
  end)
end)
