-- Batches: writes on one namespace queue and go out together.

local errors = require "nslua.error"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("a batch", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a, b

  before_each(function()
    a, b = rtnl.netns "a", rtnl.netns "b"
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
    a.address:add { "10.0.0.1/24", dev = "eth0" }
  end)
  after_each(rtnl.close)

  local function links(handle)
    -- names alone: the carrier follows by a work queue
    return (rtnl.inside(handle, "ip -o link"):gsub("(%d+: [^:]*):[^\n]*", "%1"))
  end

  it("queues writes, which return nothing, and sends them at its end", function()
    local before = links(a)
    a:batch(function()
      assert.is_nil(a.link:add { name = "new0", kind = "ifb" })
      assert.is_nil(a.address:add { "10.1.0.1/24", dev = "eth0" }) -- eth0 is looked up, and nothing queued is about it
      assert.is_nil(a.route:add { "10.2.0.0/16", via = "10.0.0.2" })
      assert.is_nil(a.rule:add { table = 5, priority = 7 })
      assert.is_nil(a.neighbour:add { "10.0.0.2", lladdr = "02:00:00:00:00:02", dev = "eth0" })
      assert.is_nil(a.link:delete("not-there", { absent = "ok" }))
      assert.equal(before, links(a))
    end)
    assert.is_truthy(a.link:get "new0")
    assert.is_truthy(a.address:get { "10.1.0.1/24", dev = "eth0" })
    assert.is_truthy(a.route:get "10.2.0.0/16")
    assert.equal(5, a.rule:get(7).table)
    assert.is_truthy(a.neighbour:get { "10.0.0.2", dev = "eth0" })
  end)

  it("is sent before a read, and before a write elsewhere", function()
    a:batch(function()
      a.link:add { name = "x0", kind = "ifb" }
      assert.is_truthy(a.link:get "x0") -- a read
      a.link:add { name = "x1", kind = "ifb" }
      b.link:add { name = "y0", kind = "ifb" } -- a write elsewhere, at once
      assert.is_truthy(links(a):find "x1")
      assert.is_truthy(links(b):find "y0")
      a.link:add { name = "x2", kind = "ifb" }
      assert.equal(1, #b.link:list { kind = "ifb" }) -- a read elsewhere
      assert.is_truthy(links(a):find "x2")
    end)
  end)

  it("runs all of it, then raises one error that holds every failure", function()
    local ok, e = pcall(a.batch, a, function()
      a.link:add { name = "eth0", kind = "ifb" }
      a.link:add { name = "x0", kind = "ifb" }
      a.route:add { "10.2.0.0/16", via = "192.0.2.77" }
      a.link:get "eth0" -- sends what is there
      a.link:delete "nothing"
      a.link:add { name = "x1", kind = "ifb" }
    end)
    assert.is_true(not ok and errors.is(e))
    assert.equal("batch", e.call)
    assert.same({ 1, 3, 4 }, { e.errors[1].index, e.errors[2].index, e.errors[3].index })
    assert.same({ "EEXIST", "ENETUNREACH", "ENODEV" }, { e.errors[1].error.code, e.errors[2].error.code, e.errors[3].error.code })
    assert.same({ call = "link.add", { name = "eth0", kind = "ifb" } }, e.errors[1].request)
    assert.same({ call = "link.delete", "nothing" }, e.errors[3].request)
    assert.is_truthy(tostring(e):find("3 of 5 requests failed", 1, true))
    assert.is_truthy(tostring(e):find("batch_spec.lua", 1, true))
    assert.is_truthy(a.link:get "x0")
    assert.is_truthy(a.link:get "x1")
  end)

  it("keeps what had failed before the function raised", function()
    a.link:add { name = "twice", kind = "ifb" }
    local ok, e = pcall(a.batch, a, function()
      a.link:add { name = "twice", kind = "ifb" }
      a.link:get "lo" -- a read sends what is queued
      a.link:add { name = "w", kind = "ifb", master = "nothing" }
    end)
    assert.is_false(ok)
    assert.equal("ENODEV", e.code)
    assert.equal(1, #e.errors)
    assert.equal("EEXIST", e.errors[1].error.code)
    assert.is_truthy(tostring(e):find("ENODEV.*; request 1 had failed: link.add in .*EEXIST"), tostring(e))
    a.link:delete "twice"
  end)

  it("drops what is unsent where the function raises", function()
    local before = links(a)
    local ok, e = pcall(a.batch, a, function()
      a.link:add { name = "x0", kind = "ifb" }
      error("enough", 0)
    end)
    assert.same({ false, "enough" }, { ok, e })
    assert.equal(before, links(a))
    assert.is_truthy(a.link:add { name = "x1", kind = "ifb" }) -- and is over
    ok = pcall(a.batch, a, function()
      a.link:add { name = "x2", kind = "ifb" }
      a.link:add { nmae = "x3" }
    end)
    assert.is_false(ok)
    assert.is_nil(a.link:get "x2")
  end)

  it("joins one it stands in, and gives way to one of another namespace", function()
    a:batch(function()
      a.link:add { name = "x0", kind = "ifb" }
      a:batch(function()
        a.link:add { name = "x1", kind = "ifb" }
      end)
      assert.is_nil(links(a):find "x1")
      b:batch(function()
        assert.is_truthy(links(a):find "x1")
        b.link:add { name = "y0", kind = "ifb" }
        assert.is_nil(links(b):find "y0")
      end)
      assert.is_truthy(links(b):find "y0")
      a.link:add { name = "x2", kind = "ifb" }
      assert.is_nil(links(a):find "x2")
    end)
    assert.is_truthy(links(a):find "x2")
  end)

  it("cannot be yielded in", function()
    local co = coroutine.create(function()
      a:batch(function()
        a.link:add { name = "x0", kind = "ifb" }
        coroutine.yield()
      end)
    end)
    local ok, e = coroutine.resume(co)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find "yield")
    assert.is_nil(a.link:get "x0")
  end)

  it("makes pairs with both ends, and what their other ends are told", function()
    a:batch(function()
      a.link:add { name = "br0", kind = "bridge", up = true }
      for i = 1, 8 do
        a.link:add { name = "p" .. i, kind = "veth", master = "br0", up = true, alias = "port " .. i,
          peer = { name = "h" .. i, netns = b, up = true, mtu = 1400 } }
      end
    end)
    for i = 1, 8 do
      local port, far = a.link:get("p" .. i), b.link:get("h" .. i)
      assert.same({ "br0", true, "port " .. i }, { port.master, port.up, port.alias })
      assert.same({ true, 1400 }, { far.up, far.mtu })
    end
    local ok, e = pcall(a.batch, a, function()
      a.link:add { name = "q1", kind = "veth", peer = { name = "q2", netns = b, up = true } }
      a.link:add { name = "q1", kind = "veth", peer = { name = "q3", netns = b, up = true } }
    end)
    assert.is_true(not ok and #e.errors == 1 and e.errors[1].index == 2)
  end)

  it("does not send what names a namespace that was closed meanwhile", function()
    local ok, e = pcall(a.batch, a, function()
      a.link:add { name = "x0", kind = "veth", peer = { name = "y0", netns = b } }
      b:close()
    end)
    assert.is_true(not ok)
    assert.equal("EBADF", e.errors[1].error.code)
    assert.is_truthy(tostring(e):find("closed before the batch was sent", 1, true)) -- not asked of the kernel: the fd may be another's by then
    assert.is_nil(a.link:get "x0")
  end)

  it("of thousands loses no answer", function()
    a:batch(function()
      for i = 0, 2999 do
        a.route:add { ("10.%d.%d.0/24"):format(100 + math.floor(i / 256), i % 256), via = "10.0.0.2", table = 77 }
      end
    end)
    assert.equal(3000, #a.route:list { table = 77 })
    local ok, e = pcall(a.batch, a, function()
      for i = 0, 999 do
        a.route:add { ("10.%d.%d.0/24"):format(100 + math.floor(i / 256), i % 256), via = "10.0.0.2", table = 77 }
      end
    end)
    assert.is_true(not ok and #e.errors == 1000 and e.errors[1000].index == 1000)
  end)

  it("tells which of many like ones failed, among others", function()
    local ok, e = pcall(a.batch, a, function()
      a.route:add { "10.2.0.0/24", dev = "eth0" } -- 1
      a.route:add { "10.2.1.0/24", dev = "eth0" }
      a.route:add { "10.2.0.0/24", dev = "eth0" } -- 3: there already
      a.link:add { name = "eth0", kind = "ifb" } -- 4: there already
      a.address:add { "10.0.0.1/24", dev = "eth0" } -- 5: there already
      a.address:add { "10.0.0.2/24", dev = "eth0" }
      a.route:add { "10.2.2.0/24", dev = "eth0" }
      a.route:add { "10.2.1.0/24", dev = "eth0" } -- 8: there already
    end)
    assert.is_false(ok)
    local found = {}
    for i, failed in ipairs(e.errors) do
      found[i] = { failed.index, failed.request.call, failed.request[1][1] or failed.request[1].name, failed.error.code }
    end
    assert.same({ { 3, "route.add", "10.2.0.0/24", "EEXIST" }, { 4, "link.add", "eth0", "EEXIST" }, { 5, "address.add", "10.0.0.1/24", "EEXIST" },
      { 8, "route.add", "10.2.1.0/24", "EEXIST" } }, found)
    assert.is_truthy(tostring(e.errors[4].error):find("10.2.1.0/24 dev eth0", 1, true))
    assert.is_truthy(a.route:get "10.2.2.0/24")
    assert.is_truthy(a.address:get { "10.0.0.2/24", dev = "eth0" })
  end)

  it("makes of routes that are alike what each of them says", function()
    local same = { "10.2.7.0/24", dev = "eth0", metric = 5 }
    a:batch(function()
      a.route:add { "10.2.0.0/24", dev = "eth0", metric = 5 }
      a.route:add { "10.2.1.0/24", dev = "eth0", metric = 5 }
      a.route:add { "10.2.2.0/25", dev = "eth0", metric = 5 } -- another length
      a.route:add { "fd00:2::/64", dev = "eth0", metric = 5 } -- another family
      a.route:add { "fd00:3::/64", dev = "eth0", metric = 5 }
      a.route:add { "10.2.3.0/24", dev = "eth0", metric = 6 } -- another word
      a.route:add { "10.2.4.0/24", dev = "eth0" } -- one less
      a.route:add { "10.2.5.0/24", dev = "eth0", table = 99 } -- one more
      a.route:add { "10.2.6.1", dev = "eth0", table = 99 } -- no length
      a.route:add { "default", dev = "eth0", table = 99 }
      a.route:add(same)
      same.metric = 8 -- the table that it was is another now
      same[1] = "10.2.8.0/24"
      a.route:add(same)
      a.route:add { "10.2.9.0/24", nexthops = { { via = "10.0.0.7" }, { via = "10.0.0.8" } } }
      a.route:add { "10.2.10.0/24", nexthops = { { via = "10.0.0.9" }, { via = "10.0.0.8" } } }
      a.route:replace { "10.2.0.0/24", dev = "eth0", metric = 5, mtu = 1300 }
    end)
    local function of(dst, key)
      key = key or {}
      key[1] = dst
      local row = assert(a.route:get(key), dst)
      return row.dst, row.metric, row.family, row.mtu
    end
    assert.same({ "10.2.0.0/24", 5, "inet", 1300 }, { of "10.2.0.0/24" })
    assert.same({ "10.2.1.0/24", 5, "inet" }, { of "10.2.1.0/24" })
    assert.same({ "10.2.2.0/25", 5, "inet" }, { of "10.2.2.0/25" })
    assert.same({ "fd00:2::/64", 5, "inet6" }, { of "fd00:2::/64" })
    assert.same({ "fd00:3::/64", 5, "inet6" }, { of "fd00:3::/64" })
    assert.same({ "10.2.3.0/24", 6, "inet" }, { of "10.2.3.0/24" })
    assert.same({ "10.2.4.0/24", nil, "inet" }, { of "10.2.4.0/24" })
    assert.same({ "10.2.5.0/24", nil, "inet" }, { of("10.2.5.0/24", { table = 99 }) })
    assert.same({ "10.2.6.1/32", nil, "inet" }, { of("10.2.6.1/32", { table = 99 }) })
    assert.same({ "default", nil, "inet" }, { of("default", { table = 99 }) })
    assert.same({ "10.2.7.0/24", 5, "inet" }, { of "10.2.7.0/24" })
    assert.same({ "10.2.8.0/24", 8, "inet" }, { of "10.2.8.0/24" })
    assert.equal("10.0.0.7", a.route:get("10.2.9.0/24").nexthops[1].via)
    assert.equal("10.0.0.9", a.route:get("10.2.10.0/24").nexthops[1].via)
  end)

  it("knows that a name stands for another link after what it did to links", function()
    a.link:add { name = "x0", kind = "veth", peer = { name = "x1", up = true }, up = true }
    a:batch(function()
      a.route:add { "10.2.0.0/24", dev = "x0" }
      a.link:change("x0", { up = false })
      a.link:change("x0", { name = "y0" })
      a.link:change("x1", { up = false })
      a.link:change("x1", { name = "x0", up = true })
      a.link:change("y0", { up = true })
      a.route:add { "10.2.1.0/24", dev = "x0" }
    end)
    assert.equal(a.link:get("x0").index, a.route:get("10.2.1.0/24").dev_index)
  end)

  it("says at its line what is no route, also after one like it", function()
    local ok, e = pcall(a.batch, a, function()
      a.route:add { "10.2.0.0/24", dev = "eth0" }
      a.route:add { "10.2.0.0/33", dev = "eth0" }
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find("batch_spec.lua", 1, true) and tostring(e):find('"10.2.0.0/33": the length', 1, true), tostring(e))
    ok, e = pcall(a.batch, a, function()
      a.route:add { "10.2.0.0/24", dev = "eth0" }
      a.route:add { dev = "eth0" }
    end)
    assert.is_true(not ok and tostring(e):find("the destination at [1] is needed", 1, true) ~= nil, tostring(e))
  end)

  it("leaves no fd", function()
    if not helper.is_root() then
      return pending "names of namespaces take root"
    end
    local before = rtnl.fds()
    local name = "nslua-batch-spec"
    helper.sh("ip netns del " .. name)
    ns.netns.add(name):close()
    finally(function()
      ns.netns.delete(name)
    end)
    a:batch(function()
      a.link:add { name = "x0", kind = "veth", peer = { name = "x0", netns = name } }
    end)
    local after = rtnl.fds()
    for n in pairs(after) do
      assert.is_truthy(before[n], n)
    end
  end)
end)
