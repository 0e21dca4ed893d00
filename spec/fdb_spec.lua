-- Forwarding tables: what nslua makes bridge(8) shows, what bridge(8) makes nslua reads, and the bytes both send.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local sent = require "spec.sent"

describe("forwarding tables", function()
  local why = rtnl.cannot() or not helper.has "bridge" and "needs bridge(8)" or nil
  if why then
    return it("", function()
      pending(why)
    end)
  end
  local has_vxlan = rtnl.has_kind "vxlan"

  local a

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "br0", kind = "bridge", up = true, bridge = { vlan_default_pvid = 0 } }
    a.link:add { name = "p0", kind = "veth", peer = { name = "p1" }, master = "br0", up = true }
    if has_vxlan then
      a.link:add { name = "vx0", kind = "vxlan", vxlan = { id = 42, port = 4789, learning = false }, up = true }
      a.link:add { name = "vx1", kind = "vxlan", vxlan = { external = true, port = 4790, learning = false } }
    end
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  local function bridge(arguments)
    local out, ok = rtnl.inside(a, "bridge " .. arguments)
    assert(ok, "bridge " .. arguments .. ": " .. out)
    return out
  end

  -- as `bridge -d fdb` writes a row
  local function line(row)
    local out = row.lladdr .. " dev " .. row.dev
    for _, word in ipairs { "dst", "vlan", "port", "vni", "src_vni", "via" } do
      if row[word] then
        out = ("%s %s %s"):format(out, word, row[word])
      end
    end
    for _, flag in ipairs { "self", "extern_learn", "offload", "sticky" } do
      out = out .. (row[flag] and " " .. flag or "")
    end
    if row.master then
      out = out .. " master " .. row.master
    end
    return out .. ({ permanent = " permanent", static = " static", dynamic = " ", stale = " stale" })[row.state]
  end

  local function lines(text)
    local out = {}
    for one in text:gmatch "[^\n]+" do
      out[#out + 1] = one
    end
    table.sort(out)
    return out
  end

  local function ours(filter)
    local out = {}
    for row in a.fdb:each(filter) do
      out[#out + 1] = line(row)
    end
    assert.equal(#out, #a.fdb:list(filter))
    table.sort(out)
    return out
  end

  local cases = {
    { "02:00:00:00:00:02 dev p0 master", { "02:00:00:00:00:02", dev = "p0", master = true } },
    { "02:00:00:00:00:03 dev p0 master static sticky", { "02:00:00:00:00:03", dev = "p0", master = true, static = true, sticky = true } },
    { "02:00:00:00:00:04 dev p0 master dynamic extern_learn",
      { "02:00:00:00:00:04", dev = "p0", master = true, state = "dynamic", extern_learn = true } },
    { "02:00:00:00:00:05 dev p0", { "02:00:00:00:00:05", dev = "p0" } },
    { "02:00:00:00:00:06 dev br0 self permanent", { "02:00:00:00:00:06", dev = "br0", self = true, permanent = true } },
  }
  local over_vxlan = {
    { "02:00:00:00:00:07 dev vx0 dst 10.0.0.9 port 4790 vni 7 via p0",
      { "02:00:00:00:00:07", dev = "vx0", dst = "10.0.0.9", port = 4790, vni = 7, via = "p0" } },
    { "02:00:00:00:00:08 dev vx0 dst 2001:db8::9 self static", { "02:00:00:00:00:08", dev = "vx0", dst = "2001:db8::9", static = true } },
    { "02:00:00:00:00:09 dev vx1 dst 10.0.0.9 src_vni 77", { "02:00:00:00:00:09", dev = "vx1", dst = "10.0.0.9", src_vni = 77 } },
  }
  if has_vxlan then
    for _, case in ipairs(over_vxlan) do
      cases[#cases + 1] = case
    end
  end

  it("are shown by bridge(8) as they read", function()
    a.link:change("br0", { addrgenmode = "none" }) -- or addresses of DAD come and go
    for _, case in ipairs(cases) do
      -- an IPv6 destination needs an IPv6 VXLAN
      if not case[1]:find "2001" then
        bridge("fdb add " .. case[1])
      end
    end
    local shown = lines(bridge "-d fdb")
    assert.same(shown, ours())
    for _, case in ipairs(cases) do
      if not case[1]:find "2001" then
        a.fdb:delete(a.fdb:get { case[2][1], dev = case[2].dev })
      end
    end
    assert.equal(#shown - #cases + (has_vxlan and 1 or 0), #a.fdb:list())
    for _, case in ipairs(cases) do
      if not case[1]:find "2001" then
        local row = a.fdb:add(case[2])
        assert.equal(case[2][1], row.lladdr)
        assert.is_true(row == a.fdb:get(row))
        assert.is_true(a.fdb:ensure(case[2]) == row)
      end
    end
    assert.same(shown, lines(bridge "-d fdb"))
  end)

  it("are sent as bridge(8) sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs(cases) do
      for _, verb in ipairs { "add", "append", "replace" } do
        sent.same(a, ("bridge fdb %s %s"):format(verb, case[1]), 12, function()
          a.fdb[verb](a.fdb, case[2])
        end)
      end
    end
    sent.same(a, "bridge fdb del 02:00:00:00:00:02 dev p0 master vlan 10", 12, function()
      a.fdb:delete { "02:00:00:00:00:02", dev = "p0", master = true, vlan = 10 }
    end)
    sent.same(a, "bridge fdb add 02:00:00:00:00:02 dev p0 master vlan 10", 12, function()
      a.fdb:add { "02:00:00:00:00:02", dev = "p0", master = true, vlan = 10 }
    end)
    sent.same(a, "bridge fdb add 02:00:00:00:00:02 dev p0 nhid 7 self use router", 12, function()
      a.fdb:add { "02:00:00:00:00:02", dev = "p0", nhid = 7, use = true, router = true }
    end)
  end)

  it("are found by filters, where the kernel looks first", function()
    a.link:add { name = "q0", kind = "veth", peer = { name = "q1" }, master = "br0" }
    a.fdb:add { "02:00:00:00:00:02", dev = "p0", master = true }
    a.fdb:add { "02:00:00:00:00:03", dev = "q0", master = true, static = true }
    a.fdb:add { "02:00:00:00:00:04", dev = "q0" }
    local function there(filter)
      local out = {}
      for _, row in ipairs(a.fdb:list(filter)) do
        if row.lladdr:find "^02:00:00:00:00" then
          out[#out + 1] = row.lladdr:sub(-1)
        end
      end
      table.sort(out)
      return table.concat(out)
    end
    assert.equal("234", there())
    assert.equal("34", there { dev = "q0" })
    assert.equal("23", there { master = "br0" })
    assert.equal("23", there { master = true })
    assert.equal("234", there { br = "br0" })
    assert.equal("4", there { master = false })
    assert.equal("4", there { self = true })
    assert.equal("3", there { static = true })
    assert.equal("3", there { state = "static", dev = "q0" })
    assert.equal("2", there { lladdr = "02:00:00:00:00:02" })
    assert.equal("", there { vlan = 7 })
    for _, filter in ipairs { "dev q0", "br br0" } do
      local word, value = filter:match "(%w+) (%w+)"
      assert.equal(#lines(bridge("fdb show " .. filter)), #a.fdb:list { [word] = value }, filter)
    end
  end)

  it("are changed, replaced, ensured and deleted", function()
    local key = { "02:00:00:00:00:02", dev = "p0", master = true }
    a.fdb:add(key)
    a.fdb:change(key, { state = "static" })
    assert.equal("static", a.fdb:get(key).state)
    a.link:add { name = "q0", kind = "veth", peer = { name = "q1" }, master = "br0" }
    a.fdb:change(a.fdb:get(key), { dev = "q0" }) -- it has moved
    assert.equal("q0", a.fdb:get("02:00:00:00:00:02").dev)
    assert.equal("p0", a.fdb:replace({ "02:00:00:00:00:02", dev = "p0", master = true }).dev)
    assert.equal("static", a.fdb:ensure({ "02:00:00:00:00:02", dev = "p0", master = true, static = true }).state)
    helper.fails("EEXIST", a.fdb.add, a.fdb, key)
    a.fdb:delete(key)
    a.fdb:delete(key, { absent = "ok" })
    helper.fails("ENOENT", a.fdb.delete, a.fdb, key)
    helper.fails("ENOENT", a.fdb.delete, a.fdb, "02:00:00:00:00:02")
    helper.fails("ENODEV", a.fdb.add, a.fdb, { "02:00:00:00:00:02", dev = "nope" })
    a:batch(function()
      for i = 1, 9 do
        a.fdb:add { ("02:00:00:00:01:%02d"):format(i), dev = "p0", master = true }
      end
    end)
    assert.equal(9, #a.fdb:list { master = "br0", state = "permanent" } - 2) -- and the two ports' own
  end)

  it("of VXLAN have several destinations, and those of nexthops", function()
    if not has_vxlan then
      return pending "this kernel has no vxlan"
    end
    local flood = "00:00:00:00:00:00"
    a.fdb:append { flood, dev = "vx0", dst = "10.0.0.8" }
    local second = a.fdb:append { flood, dev = "vx0", dst = "10.0.0.9", vni = 5 }
    assert.same({ "10.0.0.9", 5 }, { second.dst, second.vni })
    assert.equal(2, #a.fdb:list { flood, dev = "vx0" })
    pcall(a.transaction, a, function()
      a.fdb:delete { flood, dev = "vx0", dst = "10.0.0.8" }
      assert.equal(1, #a.fdb:list { flood, dev = "vx0" })
      error "taken back"
    end)
    assert.equal(2, #a.fdb:list { flood, dev = "vx0" })
    a.fdb:delete { flood, dev = "vx0", dst = "10.0.0.8" }
    assert.equal("10.0.0.9", a.fdb:get({ flood, dev = "vx0" }).dst)
    a.fdb:delete(second)
    assert.same({}, a.fdb:list { flood, dev = "vx0" })
    a.nexthop:add { id = 7, via = "10.0.0.7", fdb = true }
    a.nexthop:add { id = 10, group = { 7 }, fdb = true }
    assert.equal(10, a.fdb:add({ "02:00:00:00:00:0a", dev = "vx0", nhid = 10 }).nhid)
    assert.is_truthy(bridge "fdb show dev vx0":find("02:00:00:00:00:0a nhid 10 self permanent", 1, true))
    assert.equal(1, #a.fdb:list { nhid = 10 })
  end)

  it("have VLANs where the bridge filters them", function()
    local ok, e = pcall(function()
      a.link:change("br0", { bridge = { vlan_filtering = true } })
      bridge "vlan add dev p0 vid 10-11"
    end)
    if not ok then
      return pending("this kernel's bridges filter no VLANs: " .. tostring(e))
    end
    local row = a.fdb:add { "02:00:00:00:00:02", dev = "p0", master = true, vlan = 10 }
    a.fdb:add { "02:00:00:00:00:02", dev = "p0", master = true, vlan = 11, static = true }
    assert.equal(10, row.vlan)
    assert.equal("static", a.fdb:get({ "02:00:00:00:00:02", dev = "p0", vlan = 11 }).state)
    a.fdb:delete(row)
    assert.equal(1, #a.fdb:list { "02:00:00:00:00:02" })
    assert.same({}, a.fdb:list { vlan = 10, "02:00:00:00:00:02" })
    -- without one: for each of the port, and for none
    row = a.fdb:add { "02:00:00:00:00:03", dev = "p0", master = true }
    assert.is_nil(row.vlan)
    assert.equal(3, #a.fdb:list { "02:00:00:00:00:03" })
    assert.is_true(a.fdb:get(row) == row)
    a.fdb:delete(row)
    assert.same({}, a.fdb:list { "02:00:00:00:00:03" })
  end)

  it("are told by a monitor, and not as neighbours", function()
    local ns = require "nslua"
    local both = ns.monitor { "fdb", "neighbour", netns = a }
    local only = ns.monitor { "neighbour", netns = a }
    a.fdb:add { "02:00:00:00:00:02", dev = "p0", master = true }
    a.neighbour:add { "10.0.0.2", lladdr = "02:00:00:00:00:03", dev = "br0" }
    local event = both:next(5)
    assert.same({ "fdb", "new", "02:00:00:00:00:02", "p0", "br0" },
      { event.what, event.action, event.object.lladdr, event.object.dev, event.object.master })
    for _, monitor in ipairs { both, only } do
      repeat -- the kernel has neighbours of its own
        event = monitor:next(5)
        assert.equal("neighbour", event.what)
        assert.is_truthy(event.object.family:find "^inet")
      until event.object.dst == "10.0.0.2"
    end
    both:close()
    only:close()
  end)

  it("that are misspelt raise and name what is wrong", function()
    for message, t in pairs {
      ["unknown key 'vlna' %(did you mean 'vlan'%?%)"] = { "02:00:00:00:00:02", dev = "p0", vlna = 1 },
      ["the address at %[1%] must be text"] = { "10.0.0.1", dev = "p0" },
      ["dev is needed"] = { "02:00:00:00:00:02" },
      ["either static or dynamic"] = { "02:00:00:00:00:02", dev = "p0", state = "static", dynamic = true },
      ["state must be"] = { "02:00:00:00:00:02", dev = "p0", state = "reachable" },
    } do
      local ok, e = pcall(a.fdb.add, a.fdb, t)
      assert.is_false(ok)
      assert.matches(message, tostring(e))
    end
  end)

  it("are taken back by a transaction", function()
    a.fdb:add { "02:00:00:00:00:02", dev = "p0", master = true, static = true, sticky = true }
    a.fdb:add { "02:00:00:00:00:03", dev = "p0" }
    a.fdb:add { "02:00:00:00:00:04", dev = "br0", self = true }
    if has_vxlan then
      a.fdb:add { "02:00:00:00:00:05", dev = "vx0", dst = "10.0.0.9", vni = 7 }
    end
    local before = ours()
    local ok, e = pcall(a.transaction, a, function()
      a.fdb:add { "02:00:00:00:00:06", dev = "p0", master = true }
      a.fdb:change({ "02:00:00:00:00:02", dev = "p0" }, { permanent = true, sticky = false })
      a.fdb:delete { "02:00:00:00:00:03", dev = "p0" }
      a.fdb:delete { "02:00:00:00:00:04", dev = "br0" }
      if has_vxlan then
        a.fdb:replace { "02:00:00:00:00:05", dev = "vx0", dst = "10.0.0.8", vni = 7 }
        a.fdb:append { "00:00:00:00:00:00", dev = "vx0", dst = "10.0.0.8" }
      end
      error "no"
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find "no$", tostring(e))
    assert.same(before, ours())
  end)
end)
