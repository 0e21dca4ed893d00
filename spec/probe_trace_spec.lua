-- a:trace and a:path_mtu over routers that answer, and over some that do not.

local ns = require "nslua"
local probe = require "spec.probe_helper"
local rtnl = require "spec.rtnl_helper"
local servers = require "spec.probe_servers"

local why = probe.cannot()
describe("a:trace", function()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(servers.close)

  it("finds each router on the way, by UDP and by ICMP, of both families", function()
    local row = probe.row(5)
    probe.families(function(address)
      for _, proto in ipairs { "udp", "icmp" } do
        local start = ns.clock()
        local t = row[1]:trace(address:format(4, 2), { proto = proto, timeout = 10 })
        assert.is_true(ns.clock() - start < 5)
        assert.is_true(t.reached)
        assert.equal(4, #t)
        for i = 1, 4 do
          assert.same({ i, address:format(i, 2) }, { t[i].ttl, t[i].address })
          assert.is_true(t[i].rtt > 0 and t[i].rtt < 10)
          assert.equal(i < 4 and "time_exceeded" or proto == "udp" and "port_unreachable" or nil, t[i].icmp)
        end
      end
    end)
  end)

  it("sends several for each hop where it is told to", function()
    local row = probe.row(3)
    for _, proto in ipairs { "udp", "icmp" } do
      local t = row[1]:trace("10.0.2.2", { probes = 3, proto = proto, timeout = 10, max = 2 })
      assert.same({ 3, 3, true }, { #t[1].answers, #t[2].answers, t.reached })
      assert.is_true(t[1].rtt <= t[1].answers[3].rtt)
    end
  end)

  it("goes on behind a router that says nothing", function()
    if not probe.has_nft() then
      return pending "no nft(8)"
    end
    local row = probe.row(4)
    probe.nft(row[3], "table ip t { chain c { type filter hook output priority 0; icmp type time-exceeded drop\n }\n }")
    local t = row[1]:trace("10.0.3.2", { timeout = "100ms" })
    assert.is_true(t.reached)
    assert.same({ "10.0.1.2", "10.0.3.2", 3 }, { t[1].address, t[3].address, #t })
    assert.is_nil(t[2].address)
    assert.same({}, t[2].answers)
  end)

  it("ends where somebody says that there is no way, and where nobody says anything", function()
    local row = probe.row(4)
    row[3].route:replace { "10.0.3.0/24", type = "unreachable" }
    local t = row[1]:trace("10.0.3.2", { timeout = 5 })
    assert.same({ false, 2, "10.0.2.2", "time_exceeded", "host_unreachable" }, { t.reached, #t, t[2].address, t[1].icmp, t[2].icmp })
    row[3].route:replace { "10.0.3.0/24", type = "blackhole" }
    t = row[1]:trace("10.0.3.2", { timeout = "100ms" })
    assert.same({ false, 2, 2 }, { t.reached, #t, t[2].ttl }) -- routed away before its time to live is looked at
    assert.is_nil(t[2].address)
    assert.equal("10.0.1.2", t[1].address)
    t = row[1]:trace("10.0.3.2", { max = 1 })
    assert.same({ false, 1, "10.0.1.2" }, { t.reached, #t, t[1].address })
  end)

  it("says that nothing could be sent", function()
    local row = probe.row(2)
    for _, proto in ipairs { "udp", "icmp" } do
      local t = row[1]:trace("192.0.2.1", { proto = proto })
      assert.same({ false, 0, "ENETUNREACH" }, { t.reached, #t, t.error })
    end
  end)

  it("reaches a port that somebody has, and a target that is near", function()
    local row = probe.row(3)
    servers.udp(row[3], "10.0.2.2", 33435, function()
      return "?"
    end)
    local t = row[1]:trace("10.0.2.2", { timeout = 5 })
    assert.same({ true, 2, "10.0.2.2" }, { t.reached, #t, t[2].address })
    t = row[1]:trace("127.0.0.1", { timeout = 5 })
    assert.same({ true, 1 }, { t.reached, #t })
  end)

  it("teaches what is wrong with a call, and leaves no fd", function()
    local row = probe.row(2)
    local before = rtnl.fds()
    for text, options in pairs { ["proto must be"] = { proto = "tcp" }, ["max must be 1-255"] = { max = 0 }, ["size must be"] = { size = 5 } } do
      local ok, e = pcall(row[1].trace, row[1], "10.0.1.2", options)
      assert.is_false(ok)
      assert.truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    row[1]:trace "10.0.1.2"
    assert.same(before, rtnl.fds())
  end)
end)

describe("a:path_mtu", function()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(servers.close)

  it("is that of the smallest link, and says which router said so", function()
    local row = probe.row(5, { [2] = 1400, [3] = 1281 })
    probe.families(function(address)
      local p = row[1]:path_mtu(address:format(4, 2), { timeout = 5 })
      assert.same({ mtu = 1281, address = address:format(4, 2), black_hole = false, limits = { { mtu = 1500 },
        { mtu = 1400, from = address:format(1, 2) }, { mtu = 1281, from = address:format(2, 2) } } }, p)
      assert.equal(1500, row[1]:path_mtu(address:format(1, 2), { timeout = 5 }).mtu)
    end)
  end)

  it("is found again whatever the host has kept of it", function()
    local row = probe.row(4, { [2] = 1400 })
    assert.equal(1400, row[1]:path_mtu("10.0.3.2", { timeout = 5 }).mtu)
    row[2].link:change("right", { mtu = 1350 })
    assert.equal(1350, row[1]:path_mtu("10.0.3.2", { timeout = 5 }).mtu)
    row[2].link:change("right", { mtu = 1500 })
    row[3].link:change("left", { mtu = 1500 })
    assert.equal(1500, row[1]:path_mtu("10.0.3.2", { timeout = 5 }).mtu)
  end)

  it("tells a black hole, where larger packets vanish, and the last router before it", function()
    if not probe.has_nft() then
      return pending "no nft(8)"
    end
    local row = probe.row(4, { [2] = 1400, [3] = 1333 })
    probe.nft(row[3], [[table inet t { chain c { type filter hook output priority 0
      icmp type destination-unreachable drop
      icmpv6 type packet-too-big drop
    }
    }]])
    probe.families(function(address)
      local p = row[1]:path_mtu(address:format(3, 2), { timeout = 0.2 })
      assert.same({ 1333, true, address:format(2, 2), 2, 2, { mtu = 1400, from = address:format(1, 2) } },
        { p.mtu, p.black_hole, p.last_hop, p.last_ttl, #p.limits, p.limits[2] })
    end)
  end)

  it("tells a filter of large packets that nobody can see", function()
    if not probe.has_nft() then
      return pending "no nft(8)"
    end
    local row = probe.row(3)
    probe.nft(row[2], "table inet t { chain c { type filter hook forward priority 0\n meta length > 1000 drop\n }\n }")
    local p = row[1]:path_mtu("10.0.2.2", { timeout = 0.2 })
    assert.same({ 1000, true, "10.0.1.2" }, { p.mtu, p.black_hole, p.last_hop })
  end)

  it("is found by UDP too, where echo requests are dropped, and of one way alone", function()
    if not probe.has_nft() then
      return pending "no nft(8)"
    end
    local row = probe.row(4, { [2] = 1400, [3] = 1300 })
    row[4]:sysctl("net.ipv4.icmp_echo_ignore_all", 1)
    probe.nft(row[4], "table inet t { chain c { type filter hook output priority 0\n meta length > 1280 drop\n }\n }")
    probe.families(function(address)
      local p = row[1]:path_mtu(address:format(3, 2), { timeout = 5, proto = "udp" })
      assert.same({ 1300, false, address:format(2, 2) }, { p.mtu, p.black_hole, p.limits[3].from })
    end)
    probe.nft(row[3], "table ip t { chain c { type filter hook output priority 0\n icmp code frag-needed drop\n }\n }")
    local p = row[1]:path_mtu("10.0.3.2", { timeout = 0.1, proto = "udp", max = 1310 })
    assert.same({ 1300, true, "10.0.2.2" }, { p.mtu, p.black_hole, p.last_hop })
  end)

  it("has none where nothing is answered", function()
    local row = probe.row(2)
    row[2]:sysctl("net.ipv4.icmp_echo_ignore_all", 1)
    assert.same({ address = "10.0.1.2", error = "ETIMEDOUT", limits = {}, black_hole = false }, row[1]:path_mtu("10.0.1.2", { timeout = 0.05 }))
    assert.equal("ENETUNREACH", row[1]:path_mtu("192.0.2.1").error)
    assert.equal(65535, row[1]:path_mtu("127.0.0.1", { timeout = 5 }).mtu)
    assert.equal(1000, row[1]:path_mtu("127.0.0.1", { timeout = 5, max = 1000 }).mtu)
    assert.has_error(function()
      row[1]:path_mtu("10.0.1.2", { max = 67 })
    end)
  end)
end)
