-- Nexthop objects: what nslua makes ip(8) shows, what ip(8) makes nslua reads, and the bytes both send.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local sent = require "spec.sent"

describe("nexthops", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
    a.address:add { "10.0.0.1/24", dev = "eth0" }
    a.address:add { "10.0.1.1/24", dev = "eth1" }
    a.address:add { "2001:db8::1/64", dev = "eth0", nodad = true }
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  -- ip's command, nslua's words, and what rows say that ip says too
  local cases = {
    { "id 1 blackhole", { id = 1, blackhole = true } },
    { "id 2 via 10.0.0.2 dev eth0 proto static", { id = 2, via = "10.0.0.2", dev = "eth0", proto = "static" } },
    { "id 3 via 192.0.2.3 dev eth1 onlink", { id = 3, via = "192.0.2.3", dev = "eth1", onlink = true } },
    { "id 4 dev eth1", { id = 4, dev = "eth1" } },
    { "id 5 via 2001:db8::5 dev eth0", { id = 5, via = "2001:db8::5", dev = "eth0" } },
    { "id 6 encap ip id 9 dst 10.0.0.9 dev eth0", { id = 6, dev = "eth0", encap = { type = "ip", id = 9, dst = "10.0.0.9" } } },
    { "id 7 via 10.9.0.1 fdb", { id = 7, via = "10.9.0.1", fdb = true } },
    { "id 10 group 2,3/3", { id = 10, group = { { id = 2, weight = 3 }, 3 } } },
    { "id 11 group 2/3 type resilient buckets 8 idle_timer 60 unbalanced_timer 120",
      { id = 11, group = "2/3", type = "resilient", buckets = 8, idle_timer = 60, unbalanced_timer = "2m" } },
  }

  it("are shown by ip as they read", function()
    for _, case in ipairs(cases) do
      rtnl.set(a, "nexthop add " .. case[1])
    end
    local shown = rtnl.inside(a, "ip -d nexthop")
    local theirs = {}
    for _, case in ipairs(cases) do
      local row = a.nexthop:get(case[2].id)
      theirs[#theirs + 1] = row:decode()
      for word, value in pairs(case[2]) do
        if word == "encap" then
          assert.same({ "ip", 9, "10.0.0.9" }, { row.encap.type, row.encap.id, row.encap.dst })
        elseif word == "group" then
          assert.same({ { id = 2, weight = case[2].id == 10 and 3 or 1 }, { id = 3, weight = 1 } }, row.group)
        else
          assert.same(word == "unbalanced_timer" and 120 or value, row[word], word)
        end
      end
    end
    assert.equal(#cases, #a.nexthop:list())
    for i = #cases, 1, -1 do
      a.nexthop:delete(cases[i][2].id)
    end
    assert.same({}, a.nexthop:list())
    for i, case in ipairs(cases) do
      local row = a.nexthop:add(case[2])
      local ours = row:decode()
      ours.unbalanced_time, theirs[i].unbalanced_time = nil, nil -- runs
      assert.same(theirs[i], ours)
      assert.is_true(row == a.nexthop:get(row))
      assert.is_true(a.nexthop:ensure(case[2]) == row)
    end
    assert.equal(shown, (rtnl.inside(a, "ip -d nexthop")))
  end)

  it("are sent as ip sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs(cases) do
      for _, verb in ipairs { "add", "replace" } do
        sent.same(a, ("ip nexthop %s %s"):format(verb, case[1]), 8, function()
          a.nexthop[verb](a.nexthop, case[2])
        end)
      end
    end
    sent.same(a, "ip nexthop del id 7", 8, function()
      a.nexthop:delete(7)
    end)
  end)

  it("are what routes name by nhid", function()
    a.nexthop:add { id = 2, via = "10.0.0.2", dev = "eth0" }
    a.nexthop:add { id = 3, via = "10.0.1.2", dev = "eth1" }
    a.nexthop:add { id = 5, via = "2001:db8::5", dev = "eth0" }
    a.nexthop:add { id = 10, group = { 2, 3 } }
    local row = a.route:add { "10.1.0.0/16", nhid = 10, metric = 5 }
    assert.same({ 10, 2 }, { row.nhid, #row.nexthops })
    assert.equal(5, a.route:add({ "2001:db8:1::/48", nhid = 5 }).nhid)
    assert.equal(10, rtnl.ip(a, "route show 10.1.0.0/16")[1].nhid)
    assert.is_true(a.route:ensure { "10.1.0.0/16", nhid = 10, metric = 5 } == row)
    assert.equal(2, #a.route:list { nhid = 10 } + #a.route:list { nhid = 5 })
    -- what the object says stands in its rows, and is no part of the route
    a.route:change(row, { mtu = 1300 })
    assert.same({ 10, 1300 }, { a.route:get("10.1.0.0/16").nhid, a.route:get("10.1.0.0/16").mtu })
    a.route:change(row, { nhid = 3 })
    row = a.route:get "10.1.0.0/16"
    assert.same({ 3, "10.0.1.2" }, { row.nhid, row.via })
    a.route:add { "10.3.0.0/16", nhid = 3 }
    a.route:ensure { "10.3.0.0/16", via = "10.0.0.2", dev = "eth0" } -- its own way in place of an object's
    assert.same({ "10.0.0.2" }, { a.route:get("10.3.0.0/16").via, a.route:get("10.3.0.0/16").nhid })
    a.route:delete "10.3.0.0/16"
    a.route:delete(row)
    assert.is_nil(a.route:get "10.1.0.0/16")
    a.route:delete(a.route:get "2001:db8:1::/48")
    -- the kernel says nothing of the routes that a nexthop takes along
    a.route:add { "10.1.0.0/16", nhid = 2 }
    a.nexthop:delete(2)
    assert.is_nil(a.route:get "10.1.0.0/16")
    assert.same({ { id = 3, weight = 1 } }, a.nexthop:get(10).group)
  end)

  it("are changed, replaced, ensured, found and deleted", function()
    a.nexthop:add { id = 2, via = "10.0.0.2", dev = "eth0", proto = "static" }
    a.nexthop:change(2, { via = "10.0.0.3" })
    assert.same({ "10.0.0.3", "eth0", "static" }, (function(row)
      return { row.via, row.dev, row.proto }
    end)(a.nexthop:get(2)))
    a.nexthop:change(2, { via = "2001:db8::7" })
    assert.equal("inet6", a.nexthop:get(2).family)
    a.nexthop:change(a.nexthop:get(2), { blackhole = true })
    assert.is_true(a.nexthop:get(2).blackhole)
    assert.equal("10.0.0.4", a.nexthop:replace({ id = 2, via = "10.0.0.4", dev = "eth0" }).via)
    assert.equal("10.0.0.5", a.nexthop:ensure({ id = 2, via = "10.0.0.5", dev = "eth0" }).via)
    a.nexthop:add { id = 3, via = "10.0.1.2", dev = "eth1" }
    a.nexthop:add { id = 10, group = { 2, 3 } }
    a.nexthop:change(10, { group = { { id = 2, weight = 9 }, { 3, weight = 2 } } })
    assert.same({ { id = 2, weight = 9 }, { id = 3, weight = 2 } }, a.nexthop:get(10).group)
    a.nexthop:add { id = 11, group = { 2, 3 }, type = "resilient", buckets = 4 }
    a.nexthop:change(11, { idle_timer = 5 })
    assert.same({ 5, 4 }, { a.nexthop:get(11).idle_timer, a.nexthop:get(11).buckets })
    local function ids(filter)
      local out = {}
      for row in a.nexthop:each(filter) do
        out[#out + 1] = row.id
      end
      assert.equal(#out, #a.nexthop:list(filter))
      return table.concat(out, " ")
    end
    assert.equal("2", ids { dev = "eth0" })
    assert.equal("10 11", ids { groups = true })
    assert.equal("2 3", ids { group = false })
    assert.equal("11", ids { type = "resilient" })
    assert.equal("3", ids { via = "10.0.1.2" })
    assert.equal("2 3", ids { family = "inet" })
    a.link:add { name = "br0", kind = "bridge", up = true }
    a.link:change("eth1", { master = "br0" })
    assert.equal("3", ids { master = "br0" })
    -- an id of the kernel's choice
    local row = a.nexthop:add { via = "10.0.0.9", dev = "eth0" }
    assert.is_true(row.id > 0 and row == a.nexthop:get(row.id))
    a.nexthop:delete(row)
    a.nexthop:delete(row, { absent = "ok" })
    helper.fails("ENOENT", a.nexthop.delete, a.nexthop, row)
    helper.fails("ENOENT", a.nexthop.change, a.nexthop, 77, { dev = "eth0" })
    helper.fails("EEXIST", a.nexthop.add, a.nexthop, { id = 2, blackhole = true })
    assert.is_nil(a.nexthop:get(77))
    a:batch(function()
      a.nexthop:add { id = 21, via = "10.0.0.21", dev = "eth0" }
      a.nexthop:add { id = 22, group = { 21, 3 } }
    end)
    assert.equal("2 3 10 11 21 22", ids())
  end)

  it("have buckets in resilient groups", function()
    a.nexthop:add { id = 2, via = "10.0.0.2", dev = "eth0" }
    a.nexthop:add { id = 3, via = "10.0.1.2", dev = "eth1" }
    a.nexthop:add { id = 11, group = { { id = 2, weight = 3 }, 3 }, type = "resilient", buckets = 8 }
    a.nexthop:add { id = 12, group = { 2 }, type = "resilient", buckets = 2 }
    local rows = a.nexthop:buckets { id = 11 }
    local theirs = rtnl.ip(a, "nexthop bucket list id 11")
    assert.same({ 8, 8 }, { #rows, #theirs })
    for i, row in ipairs(rows) do
      assert.same({ 11, theirs[i].bucket.index, theirs[i].bucket.nhid }, { row.id, row.index, row.nhid })
      assert.is_true(row.idle_time >= 0)
    end
    assert.equal(6, #a.nexthop:buckets { id = 11, nhid = 2 })
    assert.equal(10, #a.nexthop:buckets())
    assert.equal(2, #a.nexthop:buckets { dev = "eth1" })
  end)

  it("are told by a monitor", function()
    local ns = require "nslua"
    local monitor = ns.monitor { "nexthop", netns = a }
    a.nexthop:add { id = 2, via = "10.0.0.2", dev = "eth0" }
    local event = monitor:next(5)
    assert.same({ "new", "nexthop", 2, "eth0" }, { event.action, event.what, event.object.id, event.object.dev })
    a.nexthop:delete(2)
    assert.equal("delete", monitor:next(5).action)
    monitor:close()
  end)

  it("that are misspelt raise and name what is wrong", function()
    for message, t in pairs {
      ["unknown key 'vai' %(did you mean 'via'%?%)"] = { id = 1, vai = "10.0.0.2" },
      ["type is for groups"] = { id = 1, type = "resilient" },
      ["weight must be 1 to 65536, got 0"] = { id = 1, group = { { id = 2, weight = 0 } } },
      ["group must be a list of ids"] = { id = 1, group = {} },
      ["via 10.0.0.2: a nexthop has one family"] = { id = 1, via = "10.0.0.2", family = "inet6" },
    } do
      local ok, e = pcall(a.nexthop.add, a.nexthop, t)
      assert.is_false(ok)
      assert.matches(message, tostring(e))
    end
    local ok, e = pcall(a.nexthop.ensure, a.nexthop, { blackhole = true })
    assert.is_false(ok)
    assert.matches("id is needed", tostring(e))
  end)

  it("are taken back by a transaction", function()
    a.nexthop:add { id = 2, via = "10.0.0.2", dev = "eth0", proto = "static" }
    a.nexthop:add { id = 3, via = "192.0.2.3", dev = "eth1", onlink = true }
    a.nexthop:add { id = 11, group = { { id = 2, weight = 3 }, 3 }, type = "resilient", buckets = 4 }
    local before = rtnl.inside(a, "ip -d nexthop"):gsub("unbalanced_time %S+", "")
    local ok, e = pcall(a.transaction, a, function()
      a.nexthop:add { id = 4, blackhole = true }
      a.nexthop:change(2, { via = "10.0.0.9" })
      a.nexthop:replace { id = 3, via = "10.0.1.9", dev = "eth1" }
      a.nexthop:change(11, { group = { 2 } })
      a.nexthop:ensure { id = 5, via = "10.0.0.5", dev = "eth0" }
      a.nexthop:delete(4)
      error "no"
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find "no$", tostring(e))
    assert.equal(before, (rtnl.inside(a, "ip -d nexthop"):gsub("unbalanced_time %S+", "")))
    a.route:add { "10.77.0.0/16", nhid = 2 }
    local routes = rtnl.inside(a, "ip route")
    ok, e = pcall(a.transaction, a, function()
      a.nexthop:delete(2) -- with the route, and out of the group
      error "no"
    end)
    assert.is_false(ok)
    assert.is_nil(e.rollback)
    assert.equal(before, (rtnl.inside(a, "ip -d nexthop"):gsub("unbalanced_time %S+", "")))
    assert.equal(routes, (rtnl.inside(a, "ip route")))
  end)
end)
