-- Multicast groups of bridges: what nslua makes bridge(8) shows, what bridge(8) makes nslua reads, and the bytes both send.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local sent = require "spec.sent"

describe("multicast groups", function()
  local why = rtnl.cannot() or not helper.has "bridge" and "needs bridge(8)" or nil
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "br0", kind = "bridge", up = true, bridge = { mcast_snooping = true, mcast_igmp_version = 3, vlan_default_pvid = 0 } }
    a.link:add { name = "p0", kind = "veth", peer = { name = "p1", up = true }, master = "br0", up = true }
    a.link:change("p0", { addrgenmode = "none" })
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  local cases = {
    { "grp 239.1.1.1 permanent", { grp = "239.1.1.1", state = "permanent" } },
    { "grp 239.1.1.2", { grp = "239.1.1.2" } },
    { "grp ff05::77 permanent", { grp = "ff05::77", permanent = true } },
    { "grp 239.1.1.3 src 10.0.0.9 permanent", { grp = "239.1.1.3", src = "10.0.0.9", permanent = true } },
    { "grp 01:02:03:04:05:06 permanent", { grp = "01:02:03:04:05:06", permanent = true } },
  }
  local function words(t)
    local out = { dev = "br0", port = "p0" }
    for word, value in pairs(t) do
      out[word] = value
    end
    return out
  end

  -- the other end has groups of its own, which come and go
  local function tested(grp)
    return grp:find "^239" or grp:find "^ff05" or grp:find "^01:"
  end
  local function ours()
    local out = {}
    for row in a.mdb:each { dev = "br0", port = "p0" } do
      if tested(row.grp) then
        out[#out + 1] = ("%s %s%s"):format(row.grp, row.src and "src " .. row.src .. " " or "", row.state)
      end
    end
    table.sort(out)
    return out
  end
  local function theirs()
    local out = {}
    for line in rtnl.inside(a, "bridge mdb show dev br0"):gmatch "[^\n]+" do
      local grp, rest = line:match "port p0 grp (%S+) (.*)$"
      if grp and tested(grp) then
        local src = rest:match "src (%S+)"
        out[#out + 1] = ("%s %s%s"):format(grp, src and "src " .. src .. " " or "", rest:match "permanent" or "temp")
      end
    end
    table.sort(out)
    return out
  end

  it("are shown by bridge(8) as they read", function()
    for _, case in ipairs(cases) do
      local out, ok = rtnl.inside(a, "bridge mdb add dev br0 port p0 " .. case[1])
      assert(ok, out)
    end
    local all = theirs()
    assert.equal(#cases, #all)
    assert.same(all, ours())
    for _, row in ipairs(a.mdb:list { dev = "br0", port = "p0" }) do
      if tested(row.grp) then
        a.mdb:delete(row)
      end
    end
    assert.same({}, theirs())
    for _, case in ipairs(cases) do
      local row = a.mdb:add(words(case[2]))
      assert.same({ case[2].grp, "p0", "br0" }, { row.grp, row.port, row.dev })
      assert.is_true(row == a.mdb:get(row))
      assert.is_true(a.mdb:ensure(words(case[2])) == row)
    end
    assert.same(all, theirs())
    assert.same(all, ours())
  end)

  it("are sent as bridge(8) sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs(cases) do
      sent.same(a, "bridge mdb add dev br0 port p0 " .. case[1], 8, function()
        a.mdb:add(words(case[2]))
      end)
    end
    sent.same(a, "bridge mdb add dev br0 port br0 grp 239.1.1.9 vid 7", 8, function()
      a.mdb:add { dev = "br0", grp = "239.1.1.9", vid = 7 }
    end)
  end)

  it("are found, changed, replaced and deleted", function()
    local key = { dev = "br0", port = "p0", grp = "239.1.1.1" }
    local row = a.mdb:add(key)
    assert.same({ "temp", true }, { row.state, row.timer > 0 })
    helper.fails("EEXIST", a.mdb.add, a.mdb, key)
    a.mdb:change(key, { state = "permanent" })
    assert.same({ "permanent" }, { a.mdb:get(key).state, a.mdb:get(key).timer })
    assert.equal("temp", a.mdb:ensure({ dev = "br0", port = "p0", grp = "239.1.1.1", state = "temp" }).state)
    assert.equal("permanent", a.mdb:replace({ dev = "br0", port = "p0", grp = "239.1.1.1", permanent = true }).state)
    a.mdb:add { dev = "br0", port = "p0", grp = "239.1.1.1", src = "10.0.0.9", permanent = true }
    assert.equal("10.0.0.9", a.mdb:get({ dev = "br0", grp = "239.1.1.1", src = "10.0.0.9" }).src)
    assert.is_nil(a.mdb:get(key).src)
    assert.equal(2, #a.mdb:list { grp = "239.1.1.1", permanent = true })
    assert.equal(1, #a.mdb:list { src = "10.0.0.9", port = "p0" })
    local own = a.mdb:add { dev = "br0", grp = "239.1.1.5" } -- for the host itself
    assert.equal("br0", own.port)
    a.mdb:delete(own)
    a.mdb:delete(key)
    assert.same({ "239.1.1.1 src 10.0.0.9 permanent" }, ours())
    a.mdb:delete(key, { absent = "ok" })
    helper.fails("ENOENT", a.mdb.delete, a.mdb, key)
    helper.fails("ENODEV", a.mdb.add, a.mdb, { dev = "br0", port = "nope", grp = "239.1.1.1" })
    for message, t in pairs {
      ["unknown key 'group' %(did you mean 'grp'%?%)"] = { dev = "br0", group = "239.1.1.1" },
      ["grp must be an IP or Ethernet address"] = { dev = "br0", grp = "x" },
      ["dev %(the bridge%), port and grp are needed"] = { dev = "br0" },
    } do
      local ok, e = pcall(a.mdb.add, a.mdb, t)
      assert.is_false(ok)
      assert.matches(message, tostring(e))
    end
  end)

  it("are taken back by a transaction", function()
    for _, case in ipairs(cases) do
      a.mdb:add(words(case[2]))
    end
    local before = theirs()
    local ok, e = pcall(a.transaction, a, function()
      a.mdb:add { dev = "br0", port = "p0", grp = "239.1.1.9" }
      a.mdb:change(words { grp = "239.1.1.1" }, { state = "temp" })
      a.mdb:replace(words { grp = "239.1.1.2", permanent = true })
      a.mdb:delete(words { grp = "239.1.1.3", src = "10.0.0.9" })
      error "no"
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find "no$", tostring(e))
    assert.same(before, theirs())
  end)
end)
