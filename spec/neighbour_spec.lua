-- Neighbours: what nslua makes ip(8) shows, and what ip(8) makes nslua reads.

local errors = require "nslua.error"
local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local sent = require "spec.sent"

describe("neighbours", function()
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
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  it("of ip read as it shows them", function()
    rtnl.set(a, "neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0")
    rtnl.set(a, "neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev eth0 nud stale")
    rtnl.set(a, "neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev eth0 router nud reachable")
    rtnl.set(a, "neigh add proxy 10.0.0.9 dev eth0")
    local function get(ip)
      local row = a.neighbour:get { ip, dev = "eth0" }
      return row and { row.dst, row.lladdr, row.dev, row.state, row.router, row.family }
    end
    assert.same({ "10.0.0.2", "02:00:00:00:00:02", "eth0", "permanent", nil, "inet" }, get "10.0.0.2")
    assert.equal("stale", get "10.0.0.3"[4])
    assert.same({ "2001:db8::2", "02:00:00:00:00:02", "eth0", "reachable", true, "inet6" }, get "2001:db8::2")
    assert.is_nil(get "10.0.0.9")
    assert.is_true(a.neighbour:get({ "10.0.0.9", dev = "eth0", proxy = true }).proxy)
    assert.equal("10.0.0.9", a.neighbour:list({ proxy = true })[1].dst)
  end)

  it("of nslua are shown by ip as they read", function()
    for _, t in ipairs {
      { "10.0.0.2", lladdr = "02:00:00:00:00:02", dev = "eth0" }, { "10.0.0.3", lladdr = "02:00:00:00:00:03", dev = "eth1", state = "stale" },
      { "2001:db8::2", lladdr = "02:00:00:00:00:02", dev = a.link:get "eth0", router = true, extern_learn = true },
    } do
      local row = a.neighbour:add(t)
      local ip = rtnl.ip(a, ("neigh show %s dev %s"):format(row.dst, row.dev))[1]
      assert.same({ ip.dst, ip.lladdr, ip.state[1]:lower() }, { row.dst, row.lladdr, row.state })
      assert.equal(ip.router ~= nil, row.router == true)
      assert.is_true(row == a.neighbour:get(row))
    end
    a.neighbour:add { "10.0.0.9", dev = "eth0", proxy = true }
    assert.equal("10.0.0.9", rtnl.ip(a, "neigh show proxy")[1].dst)
  end)

  it("are sent as ip sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs {
      { "add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0", { "10.0.0.2", lladdr = "02:00:00:00:00:02", dev = "eth0" } },
      { "add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud stale proto static",
        { "10.0.0.2", lladdr = "02:00:00:00:00:02", dev = "eth0", state = "stale", proto = "static" } },
      { "replace 2001:db8::2 lladdr 02:00:00:00:00:02 dev eth0 router extern_learn",
        { "2001:db8::2", lladdr = "02:00:00:00:00:02", dev = "eth0", router = true, extern_learn = true } },
      { "add proxy 10.0.0.9 dev eth0", { "10.0.0.9", dev = "eth0", proxy = true } },
      { "add 10.0.0.3 dev eth0 managed", { "10.0.0.3", dev = "eth0", managed = true } },
    } do
      sent.same(a, "ip neigh " .. case[1], 12, function()
        a.neighbour[case[1]:match "^%l+"](a.neighbour, case[2])
      end)
    end
  end)

  it("that are proxies are added, found, changed and deleted as such", function()
    local key = { "2001:db8::9", dev = "eth0", proxy = true }
    local row = a.neighbour:add { "2001:db8::9", dev = "eth0", proxy = true, router = true }
    assert.same({ true, true, "inet6" }, { row.proxy, row.router, row.family })
    a.neighbour:add { "2001:db8::9", dev = "eth0", lladdr = "02:00:00:00:00:09" } -- another thing
    assert.is_nil(a.neighbour:get({ "2001:db8::9", dev = "eth0" }).proxy)
    assert.is_true(a.neighbour:ensure(key) == row)
    assert.equal(1, #a.neighbour:list { proxy = true, family = "inet6", dev = "eth0" })
    a.neighbour:change(key, { proto = "static" })
    assert.equal("static", a.neighbour:get(key).proto)
    a.neighbour:delete(row)
    assert.is_nil(a.neighbour:get(key))
    assert.is_truthy(a.neighbour:get { "2001:db8::9", dev = "eth0" })
    a.neighbour:delete(key, { absent = "ok" })
  end)

  it("are changed, replaced, ensured, deleted and found", function()
    a.neighbour:add { "10.0.0.2", lladdr = "02:00:00:00:00:02", dev = "eth0" }
    a.neighbour:change({ "10.0.0.2", dev = "eth0" }, { lladdr = "02:00:00:00:00:22" })
    local row = a.neighbour:get { "10.0.0.2", dev = "eth0" }
    assert.same({ "02:00:00:00:00:22", "permanent" }, { row.lladdr, row.state })
    row = a.neighbour:replace { "10.0.0.2", lladdr = "02:00:00:00:00:23", dev = "eth0", state = "noarp" }
    assert.same({ "02:00:00:00:00:23", "noarp" }, { row.lladdr, row.state })
    assert.equal("02:00:00:00:00:23", a.neighbour:ensure({ "10.0.0.2", dev = "eth0" }).lladdr)
    assert.equal("02:00:00:00:00:24", a.neighbour:ensure({ "10.0.0.2", dev = "eth0", lladdr = "02:00:00:00:00:24" }).lladdr)
    a.neighbour:add { "2001:db8::2", lladdr = "02:00:00:00:00:02", dev = "eth1" }
    local function count(filter)
      return #a.neighbour:list(filter)
    end
    assert.equal(2, count { lladdr = "02:00:00:00:00:24" } + count { family = "inet6", state = "permanent" })
    assert.equal(1, count { dev = "eth0", family = "inet" })
    assert.equal("2001:db8::2", a.neighbour:get "2001:db8::2".dst)
    a.neighbour:delete { "10.0.0.2", dev = "eth0" }
    a.neighbour:delete "2001:db8::2"
    a.neighbour:delete("10.0.0.77", { absent = "ok" })
    local ok, e = pcall(a.neighbour.delete, a.neighbour, { "10.0.0.77", dev = "eth0" })
    assert.is_true(not ok and errors.is(e, "ENOENT"))
    ok, e = pcall(a.neighbour.add, a.neighbour, { "10.0.0.2", dev = "eth0", lladdr = "02:00" })
    assert.is_true(not ok and errors.is(e))
  end)

  it("are kept in tables that are those of ip ntable", function()
    local theirs = {}
    for _, t in ipairs(rtnl.ip(a, "ntable show")) do
      theirs[t.name .. (t.dev or "")] = t
    end
    local n = 0
    for row in a.neighbour_table:each() do
      local t = theirs[row.name .. (row.dev or "")]
      for _, word in ipairs { "base_reachable", "retrans", "gc_stale", "delay_probe", "anycast_delay", "proxy_delay", "locktime" } do
        assert.equal(t[word], row[word] * 1000, word)
      end
      for _, word in ipairs { "family", "queue", "app_probes", "ucast_probes", "mcast_probes", "proxy_queue", "thresh1", "thresh2", "thresh3" } do
        assert.equal(t[word], row[word], word)
      end
      n = n + 1
    end
    assert.equal(8, n) -- lo, two links and the table, twice
    local key = { "arp_cache", dev = "eth0" }
    a.neighbour_table:change(key, { base_reachable = 20, ucast_probes = 5, queue = 50, locktime = "500ms" })
    local row = a.neighbour_table:get(key)
    assert.same({ 20, 5, 50, 0.5, "eth0", "inet" }, { row.base_reachable, row.ucast_probes, row.queue, row.locktime, row.dev, row.family })
    assert.is_true(a.neighbour_table:get(row) == row)
    assert.is_nil(a.neighbour_table:get("arp_cache").dev)
    a.neighbour_table:change({ "ndisc_cache", dev = "eth1" }, { retrans = 2 })
    assert.equal(2, a.neighbour_table:get({ "ndisc_cache", dev = "eth1" }).retrans)
    assert.matches("name a dev", helper.fails("ENOENT", a.neighbour_table.change, a.neighbour_table, "arp_cache", { thresh1 = 7 }))
    assert.equal(1, #a.neighbour_table:list { base_reachable = 20 })
    pcall(a.transaction, a, function()
      a.neighbour_table:change(key, { base_reachable = 40, queue = 60 })
      error "no"
    end)
    assert.same({ 20, 50 }, { a.neighbour_table:get(key).base_reachable, a.neighbour_table:get(key).queue })
    assert.equal(4, #a.neighbour_table:list { family = "inet6" })
    local cannot = sent.cannot()
    if not cannot then
      sent.same(a, "ip ntable change name arp_cache dev eth0 retrans 3000 queue 7 ucast_probes 4", 4, function()
        a.neighbour_table:change(key, { retrans = 3, queue = 7, ucast_probes = 4 })
      end)
    end
    local ok, e = pcall(a.neighbour_table.change, a.neighbour_table, key, { reachable = 3 })
    assert.is_false(ok)
    assert.matches("unknown key 'reachable'", tostring(e))
  end)
end)
