-- Settings of links, labels of addresses: what ip(8) shows and sends.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"
local sent = require "spec.sent"

describe("settings", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1" }, up = true }
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  it("of links are those that ip netconf shows", function()
    a:sysctl("net.ipv4.conf.eth0.forwarding", 1)
    a:sysctl("net.ipv4.conf.eth0.rp_filter", 2)
    a:sysctl("net.ipv6.conf.eth1.proxy_ndp", 1)
    a:sysctl("net.ipv4.conf.all.bc_forwarding", 1)
    local theirs = {}
    for _, family in ipairs { "inet", "inet6" } do
      for _, t in ipairs(rtnl.ip(a, ("-f %s netconf"):format(family))) do
        theirs[family .. (t.interface or t.dev)] = t
      end
    end
    local n = 0
    for row in a.netconf:each() do
      local t = theirs[row.family .. row.dev]
      assert.same({ t.forwarding, t.rp_filter, t.mc_forwarding, t.proxy_neigh, t.ignore_routes_with_linkdown },
        { row.forwarding, row.rp_filter, row.mc_forwarding, row.proxy_neigh, row.ignore_routes_with_linkdown })
      n = n + 1
    end
    assert.equal(10, n) -- lo, two links, all and default, twice
    local row = a.netconf:get { dev = "eth0" }
    assert.same({ true, "loose", "inet", "eth0" }, { row.forwarding, row.rp_filter, row.family, row.dev })
    assert.is_true(row == a.netconf:get(row))
    assert.is_true(a.netconf:get("all").bc_forwarding)
    assert.equal("default", a.netconf:get({ dev = "default", family = "inet6" }).dev)
    assert.is_true(a.netconf:get(a.netconf:get "all") == a.netconf:get "all")
    assert.equal(1, #a.netconf:list { proxy_neigh = true })
    assert.equal(2, #a.netconf:list { dev = "eth0" })
    assert.equal(5, #a.netconf:list { family = "inet6" })
    assert.is_nil(a.netconf:get { dev = 77 })
    assert.is_nil(a.netconf.add)
  end)

  it("are asked for by a header of one byte, and three of nothing", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    local theirs = sent.theirs(a, "ip -f inet netconf show dev eth0", 82).payload
    assert.equal(theirs, schema.compile "netconf":encode { family = "inet", dev_index = a.link:get "eth0".index })
    assert.equal(12, #theirs)
  end)

  it("are told by a monitor", function()
    local monitor = require "nslua".monitor { "netconf", netns = a }
    a:sysctl("net.ipv4.conf.eth0.forwarding", 1)
    local event = monitor:next(5)
    assert.same({ "netconf", "eth0", true }, { event.what, event.object.dev, event.object.forwarding })
    monitor:close()
  end)

  local function shown()
    local out = {}
    for _, t in ipairs(rtnl.ip(a, "addrlabel list")) do
      out[#out + 1] = ("%s/%d %s %d"):format(t.address, t.prefixlen or 128, t.ifname or t.dev or "-", t.label)
    end
    table.sort(out)
    return out
  end

  local function ours(filter)
    local out = {}
    for row in a.addrlabel:each(filter) do
      out[#out + 1] = ("%s %s %d"):format(row.prefix, row.dev or "-", row.label)
    end
    table.sort(out)
    return out
  end

  it("of addresses: labels are shown by ip as they read", function()
    assert.same(shown(), ours())
    rtnl.set(a, "addrlabel add prefix 2001:db8::/32 label 99 dev eth0")
    local row = a.addrlabel:get { "2001:db8::/32", dev = "eth0" }
    assert.same({ 99, "eth0" }, { row.label, row.dev })
    assert.is_true(a.addrlabel:ensure { "2001:db8::/32", dev = "eth0", label = 99 } == row)
    assert.is_nil(a.addrlabel:get "2001:db8::/32")
    assert.equal(98, a.addrlabel:add({ "2001:DB8:0::/32", label = 98 }).label)
    assert.same(shown(), ours())
    a.addrlabel:change("2001:db8::/32", { label = 97 })
    assert.equal(97, a.addrlabel:get("2001:db8::/32").label)
    assert.equal(96, a.addrlabel:replace({ "2001:db8::/32", label = 96 }).label)
    assert.equal(95, a.addrlabel:ensure({ "2001:db8::/32", label = 95 }).label)
    assert.same({ "2001:db8::/32 - 95" }, ours { label = 95 })
    helper.fails("EEXIST", a.addrlabel.add, a.addrlabel, { "2001:db8::/32", label = 1 })
    a.addrlabel:delete(row)
    a.addrlabel:delete "2001:db8::/32"
    a.addrlabel:delete("2001:db8::/32", { absent = "ok" })
    helper.fails("ESRCH", a.addrlabel.delete, a.addrlabel, "2001:db8::/32")
    assert.same(shown(), ours())
  end)

  it("of addresses: labels are sent as ip sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    sent.same(a, "ip addrlabel add prefix 2001:db8::/32 label 99 dev eth0", 12, function()
      a.addrlabel:add { "2001:db8::/32", label = 99, dev = "eth0" }
    end)
    local row = a.addrlabel:add { "2001:db8::/32", label = 9 }
    sent.same(a, "ip addrlabel del prefix 2001:db8::/32 label 9", 12, function()
      a.addrlabel:delete(row)
    end)
  end)

  it("of addresses: labels are taken back by a transaction", function()
    a.addrlabel:add { "2001:db8::/32", label = 9 }
    a.addrlabel:add { "2001:db8::/33", label = 8, dev = "eth0" }
    local before = shown()
    local ok, e = pcall(a.transaction, a, function()
      a.addrlabel:change("2001:db8::/32", { label = 10 })
      a.addrlabel:delete { "2001:db8::/33", dev = "eth0" }
      a.addrlabel:add { "2001:db8::/34", label = 7 }
      error "no"
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find "no$", tostring(e))
    assert.same(before, shown())
  end)
end)
