-- Addresses: what nslua makes ip(8) shows, and what ip(8) makes nslua reads.

local errors = require "nslua.error"
local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local sent = require "spec.sent"

describe("addresses", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a:sysctl("net.ipv6.conf.default.addr_gen_mode", 1) -- no address that is tentative in one look and not in the next
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  local function shown(dev)
    return rtnl.ip(a, "address show dev " .. dev)[1].addr_info
  end

  local function same(row, ip)
    assert.equal(ip["local"] .. "/" .. ip.prefixlen, row.address)
    assert.equal(ip.address and ip.address .. "/" .. ip.prefixlen, row.peer)
    assert.equal(ip.family, row.family)
    assert.equal(ip.scope, row.scope)
    assert.equal(ip.broadcast, row.broadcast)
    assert.equal(ip.metric, row.metric)
    if ip.family == "inet" then
      assert.equal(ip.label, row.label)
    end
    for _, flag in ipairs { "dynamic", "tentative", "dadfailed", "deprecated", "secondary", "nodad", "noprefixroute", "home", "autojoin",
      "mngtmpaddr" } do
      assert.equal(ip[flag] or false, row[flag], flag)
    end
    for _, key in ipairs { "valid_life_time", "preferred_life_time" } do
      local ours = row[key == "valid_life_time" and "valid_lft" or "preferred_lft"]
      if ours == "forever" then
        assert.equal(4294967295, ip[key])
      else
        assert.is_true(math.abs(ours - ip[key]) <= 1)
      end
    end
  end

  local function all_same(dev)
    local seen = 0
    for _, ip in ipairs(shown(dev)) do
      local row = a.address:get { ip["local"] .. "/" .. ip.prefixlen, dev = dev, peer = ip.address }
      same(row, ip)
      seen = seen + 1
    end
    assert.equal(seen, #a.address:list { dev = dev })
    return seen
  end

  it("of ip read as it shows them", function()
    for _, command in ipairs {
      "add 10.0.0.1/24 dev eth0", "add 10.0.0.9/24 dev eth0 label eth0:x", "add 10.1.0.1 peer 10.1.0.2/30 dev eth0 scope link",
      "add 10.2.0.1/16 broadcast + dev eth0 valid_lft 1000 preferred_lft 500", "add 10.3.0.1/24 metric 55 noprefixroute dev eth0",
      "add 2001:db8::1/64 dev eth0 nodad", "add 2001:db8:1::1/64 dev eth0 valid_lft 600 preferred_lft 0 nodad noprefixroute",
      "add 2001:db8:2::1 peer 2001:db8:2::2/128 dev eth0 nodad",
    } do
      rtnl.set(a, "address " .. command)
    end
    assert.is_true(all_same "eth0" >= 8)
    assert.is_true(all_same "lo" == 2)
    local peer = a.address:get { "10.1.0.1", dev = "eth0" }
    assert.same({ "10.1.0.1/30", "10.1.0.2/30", "eth0", "link" }, { peer.address, peer.peer, peer.dev, peer.scope })
  end)

  it("of nslua are shown by ip as they read", function()
    for _, t in ipairs {
      { "10.0.0.1/24", dev = "eth0" }, { "10.0.0.9/24", dev = "eth0", label = "eth0:x" },
      { "10.1.0.1", peer = "10.1.0.2/30", dev = "eth0", scope = "link" },
      { "10.2.0.1/16", broadcast = "+", dev = "eth0", valid_lft = 1000, preferred_lft = "500s" },
      { "10.3.0.1/24", dev = "eth0", metric = 55, noprefixroute = true }, { "2001:db8::1/64", dev = "eth0", nodad = true },
      { "2001:db8:1::1/64", dev = "eth0", valid_lft = "10m", preferred_lft = 0, nodad = true, home = true },
      { "2001:DB8:2::0:1", peer = "2001:db8:2::2", dev = a.link:get "eth0", nodad = true },
    } do
      local row = a.address:add(t)
      assert.equal("eth0", row.dev)
      assert.is_true(row == a.address:get(row))
    end
    assert.is_true(all_same "eth0" >= 8)
    assert.equal("10.2.255.255", a.address:get { "10.2.0.1/16", dev = "eth0" }.broadcast)
  end)

  it("have flags, lifetimes and an origin that are sent as ip sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs {
      { "10.0.0.1/24 dev eth0 noprefixroute metric 5", { "10.0.0.1/24", dev = "eth0", noprefixroute = true, metric = 5 } },
      { "10.0.0.1/24 dev eth0 brd + label eth0:1", { "10.0.0.1/24", dev = "eth0", broadcast = "+", label = "eth0:1" } },
      { "239.1.1.1/32 dev eth0 autojoin", { "239.1.1.1/32", dev = "eth0", autojoin = true } },
      { "10.1.0.1 peer 10.1.0.2/30 dev eth0 scope link", { "10.1.0.1", peer = "10.1.0.2/30", dev = "eth0", scope = "link" } },
      { "2001:db8::1/64 dev eth0 mngtmpaddr", { "2001:db8::1/64", dev = "eth0", mngtmpaddr = true } },
      { "2001:db8::1/64 dev eth0 valid_lft 600 preferred_lft 0", { "2001:db8::1/64", dev = "eth0", valid_lft = "10m", preferred_lft = 0 } },
      { "2001:db8::1/64 dev eth0 valid_lft forever preferred_lft 5",
        { "2001:db8::1/64", dev = "eth0", valid_lft = "forever", preferred_lft = 5 } },
    } do
      sent.same(a, "ip address add " .. case[1], 8, function()
        a.address:add(case[2])
      end)
    end
    sent.same(a, "ip address del 10.0.0.1/24 dev eth0", 8, function()
      a.address:delete { "10.0.0.1/24", dev = "eth0" }
    end)
  end)

  it("have temporary ones made, a group joined, an origin", function()
    a:sysctl("net.ipv6.conf.eth0.use_tempaddr", 1)
    local row = a.address:add { "2001:db8:7::1/64", dev = "eth0", mngtmpaddr = true, nodad = true, valid_lft = 600, preferred_lft = 300 }
    assert.is_true(row.mngtmpaddr)
    assert.is_true(#a.address:list { dev = "eth0", secondary = true, family = "inet6" } > 0) -- the kernel has made it
    assert.is_true(a.address:add({ "239.1.1.1/32", dev = "eth0", autojoin = true }).autojoin)
    assert.is_truthy(rtnl.inside(a, "ip maddress show dev eth0"):find("239.1.1.1", 1, true))
    row = a.address:add { "10.0.0.1/24", dev = "eth0", proto = 5 }
    -- kernels before 5.18 do not keep it
    assert.is_true(row.proto == 5 or row.proto == nil)
    row = a.address:add { "10.0.1.1/24", dev = "eth0", valid_lft = 100, preferred_lft = 50 }
    a.address:change(row, { preferred_lft = 0 })
    assert.is_true(a.address:get(row).deprecated)
    assert.is_true(a.address:ensure { "10.0.1.1/24", dev = "eth0", preferred_lft = 0 } == row)
    a.address:change(row, { valid_lft = false })
    assert.equal("forever", a.address:get(row).valid_lft)
  end)

  it("of IPv6 are tentative until they are unique", function()
    local row = a.address:add { "2001:db8::5/64", dev = "eth0" }
    assert.is_true(row.tentative or row.optimistic or not row.dadfailed)
    assert.is_false(row.dynamic)
    assert.is_true(a.address:add({ "2001:db8::6/64", dev = "eth0", valid_lft = 100 }).dynamic)
  end)

  it("are changed, replaced, ensured and deleted", function()
    a.address:add { "10.0.0.1/24", dev = "eth0", label = "eth0:1" }
    a.address:change({ "10.0.0.1/24", dev = "eth0" }, { valid_lft = 100, preferred_lft = 50 })
    local row = a.address:get { "10.0.0.1/24", dev = "eth0" }
    assert.same({ "eth0:1", true }, { row.label, row.dynamic })
    a.address:change(row, { valid_lft = "forever", preferred_lft = "forever" })
    assert.equal("forever", a.address:get(row).valid_lft)
    row = a.address:replace { "10.0.0.1/24", dev = "eth0", valid_lft = 70 }
    assert.is_true(row.valid_lft <= 70)
    assert.is_true(row == a.address:ensure { "10.0.0.1/24", dev = "eth0" })
    assert.equal("10.0.2.2/24", a.address:ensure { "10.0.2.2/24", dev = "eth0" }.address)
    assert.equal(66, a.address:ensure({ "10.0.2.2/24", dev = "eth0", metric = 66 }).metric)
    a.address:delete { "10.0.0.1/24", dev = "eth0" }
    a.address:delete "10.0.2.2" -- wherever it is
    assert.same({}, a.address:list { dev = "eth0", family = "inet" })
    a.address:delete({ "10.0.0.1/24", dev = "eth0" }, { absent = "ok" })
    a.address:delete({ "10.0.0.1/24", dev = "nothing" }, { absent = "ok" })
    local ok, e = pcall(a.address.delete, a.address, { "10.0.0.1/24", dev = "eth0" })
    assert.is_true(not ok and errors.is(e, "EADDRNOTAVAIL"))
    ok, e = pcall(a.address.change, a.address, { "10.0.0.1/24", dev = "eth0" }, { metric = 4 })
    assert.is_true(not ok and errors.is(e, "EADDRNOTAVAIL"))
    row = a.address:add { "10.0.0.1/24", dev = "eth0" }
    a.address:delete(row)
    ok, e = pcall(a.address.change, a.address, row, { metric = 4 })
    assert.is_true(not ok and errors.is(e, "EADDRNOTAVAIL"))
    assert.same({}, a.address:list { dev = "eth0", family = "inet" }) -- a change makes nothing
  end)

  it("leave the fd table and the memory as they were, many times over", function()
    local function memory()
      collectgarbage()
      collectgarbage()
      local f = assert(io.open "/proc/self/status")
      local text = f:read "*a"
      f:close()
      return tonumber(text:match "VmRSS:%s+(%d+)")
    end
    local key = { "10.0.0.1/24", dev = "eth0" }
    local function rounds(n)
      for _ = 1, n do
        a.address:add(key)
        a.address:delete(key)
        pcall(a.address.delete, a.address, key)
      end
    end
    local many = helper.rounds(10000)
    rounds(many) -- the collector lets the heap grow to its peak first
    local fds, least = rtnl.fds(), math.huge
    for _ = 1, 4 do -- what leaks leaks every time; a heap may find its shape late
      local kb = memory()
      rounds(least == math.huge and many or many / 2)
      least = math.min(least, memory() - kb)
      if least < 256 then
        break
      end
    end
    local after = rtnl.fds()
    for n in pairs(after) do
      assert.is_truthy(fds[n], n)
    end
    assert.is_true(least < 256, least .. " kB more each time")
  end)

  it("are found by filters, of both families without one", function()
    a.address:add { "10.0.0.1/24", dev = "eth0" }
    a.address:add { "2001:db8::1/64", dev = "eth1", nodad = true }
    local function list(filter)
      local out = {}
      for _, row in ipairs(a.address:list(filter)) do
        if not row.address:find "^fe80" then
          out[#out + 1] = row.address
        end
      end
      return out
    end
    assert.same({ "127.0.0.1/8", "10.0.0.1/24", "::1/128", "2001:db8::1/64" }, list())
    assert.same({ "10.0.0.1/24" }, list { dev = "eth0" })
    assert.same({ "127.0.0.1/8", "10.0.0.1/24" }, list { family = "inet" })
    assert.same({ "127.0.0.1/8", "::1/128" }, list { scope = "host" })
    assert.same({ "2001:db8::1/64" }, list { "2001:DB8::1" })
    assert.same({}, list { dev = "eth0", family = "inet", dynamic = true })
    assert.is_nil(a.address:get { "10.9.9.9/24", dev = "eth0" })
    assert.is_nil(a.address:get "10.0.0.1/25")
  end)

  it("have the multicast groups that links joined, as ip maddress tells them", function()
    a.address:add { "fd00:5::1234/64", dev = "eth0", nodad = true }
    local joined, index = nil, a.link:get("eth0").index
    for _ = 1, 500 do -- by a work queue
      joined = {}
      for _, row in ipairs(a.address:groups()) do
        joined[row.dev_index == index and row.group or ""] = true
      end
      if joined["ff02::1:ff00:1234"] then
        break
      end
      require("nslua").wait({}, 0.01)
    end
    assert.is_true(joined["ff02::1:ff00:1234"])
    assert.is_truthy(rtnl.inside(a, "ip -6 maddr show dev eth0"):find("ff02::1:ff00:1234", 1, true))
    assert.is_nil(joined["ff02::1:ff00:9999"])
  end)
end)
