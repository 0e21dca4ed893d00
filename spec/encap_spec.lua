-- Encapsulations of routes and MPLS: what ip(8) shows of nslua's routes, how its own read, and the bytes both send.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local sent = require "spec.sent"

describe("encapsulations", function()
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
    a.address:add { "2001:db8::1/64", dev = "eth0", nodad = true }
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  -- whether this kernel has an encapsulation: ip(8) tells
  local function lacks(command)
    local out, ok = rtnl.inside(a, "ip route add " .. command)
    if ok then
      rtnl.inside(a, "ip route del " .. command)
      return nil
    end
    return out
  end

  local cases = {
    { "10.1.0.0/16 encap ip id 5 src 10.0.0.1 dst 10.0.0.9 ttl 7 tos 4 key csum dev eth0",
      { "10.1.0.0/16", dev = "eth0",
        encap = { type = "ip", id = 5, src = "10.0.0.1", dst = "10.0.0.9", ttl = 7, tos = 4, key = true, csum = true } } },
    { "10.2.0.0/16 encap ip6 id 6 src 2001:db8::1 dst 2001:db8::9 hoplimit 7 tc 4 seq dev eth0",
      { "10.2.0.0/16", encap = { type = "ip6", id = 6, src = "2001:db8::1", dst = "2001:db8::9", hoplimit = 7, tc = 4, seq = true }, dev = "eth0" } },
    { "2001:db8:1::/48 encap seg6 mode encap segs fc00::1,fc00::2 dev eth0",
      { "2001:db8:1::/48", encap = { type = "seg6", mode = "encap", segs = { "fc00::1", "fc00::2" } }, dev = "eth0" } },
    { "2001:db8:2::/48 encap seg6 mode inline segs fc00::1,fc00::2 dev eth0",
      { "2001:db8:2::/48", encap = { type = "seg6", mode = "inline", segs = { "fc00::1", "fc00::2" } }, dev = "eth0" } },
    { "2001:db8:3::/48 encap seg6local action End.X nh6 fc00::9 dev eth0",
      { "2001:db8:3::/48", encap = { type = "seg6local", action = "End.X", nh6 = "fc00::9" }, dev = "eth0" } },
    { "2001:db8:4::/48 encap seg6local action End.DT6 table 100 count dev eth0",
      { "2001:db8:4::/48", encap = { type = "seg6local", action = "End.DT6", table = 100, count = true }, dev = "eth0" } },
    { "2001:db8:5::/48 encap seg6local action End.B6.Encaps srh segs fc00::1,fc00::2 dev eth0",
      { "2001:db8:5::/48", encap = { type = "seg6local", action = "End.B6.Encaps", segs = { "fc00::1", "fc00::2" } }, dev = "eth0" } },
    { "2001:db8:6::/48 encap seg6local action End.DX2 oif eth1 dev eth0",
      { "2001:db8:6::/48", encap = { type = "seg6local", action = "End.DX2", oif = "eth1" }, dev = "eth0" } },
    { "10.3.0.0/16 encap mpls 100/200 ttl 9 via 10.0.0.2 dev eth0",
      { "10.3.0.0/16", encap = { type = "mpls", labels = "100/200", ttl = 9 }, via = "10.0.0.2", dev = "eth0" } },
    { "10.4.0.0/16 dev eth0 encap xfrm if_id 7", { "10.4.0.0/16", encap = { type = "xfrm", if_id = 7 }, dev = "eth0" } },
  }

  for _, case in ipairs(cases) do
    local command, words = case[1], case[2]

    it("are shown by ip as they read: " .. command, function()
      local cannot = lacks(command)
      if cannot then
        return pending("ip route add " .. command .. ": " .. cannot)
      end
      rtnl.set(a, "route add " .. command)
      local theirs, shown = a.route:get(words[1]), rtnl.inside(a, "ip -d route show to exact " .. words[1])
      for word, value in pairs(words.encap) do
        if word == "count" then
          assert.same({ packets = 0, bytes = 0, errors = 0 }, theirs.encap.count)
        else
          assert.same(value, theirs.encap[word])
        end
      end
      a.route:delete(words[1])
      local ours = a.route:add(words)
      assert.same(theirs.encap, ours.encap)
      assert.equal(shown, (rtnl.inside(a, "ip -d route show to exact " .. words[1])))
      -- found by what it has, and not made anew
      assert.equal(1, #a.route:list { encap = words.encap })
      assert.is_true(a.route:ensure(words) == ours)
      a.route:change(words[1], { mtu = 1300 })
      assert.same(theirs.encap, a.route:get(words[1]).encap)
    end)

    it("are sent as ip sends them: " .. command, function()
      local cannot = sent.cannot()
      if cannot then
        return pending(cannot)
      end
      -- ip says "create, and fail where it is", as `add` does
      sent.same(a, "ip " .. (words[1]:find ":" and "-6 " or "") .. "route add " .. command, 12, function()
        a.route:add(words)
      end)
    end)
  end

  it("stand in the nexthops of a route", function()
    local row = a.route:add { "10.1.0.0/16", nexthops = { { dev = "eth0", encap = { type = "ip", id = 1, dst = "10.0.0.8" } },
      { dev = "eth1", weight = 2, encap = { type = "ip", id = 2, dst = "10.0.0.9" } } } }
    assert.equal(1, row.nexthops[1].encap.id)
    assert.equal("10.0.0.9", row.nexthops[2].encap.dst)
    local shown = rtnl.inside(a, "ip route show 10.1.0.0/16")
    assert.is_truthy(shown:find("nexthop  encap ip id 2 src 0.0.0.0 dst 10.0.0.9 ttl 0 tos 0 dev eth1 weight 2", 1, true), shown)
    a.route:change(row, { mtu = 1300 })
    assert.equal(2, a.route:get "10.1.0.0/16".nexthops[2].encap.id)
  end)

  it("of other types are bytes, which are kept", function()
    local row = a.route:add { "10.1.0.0/16", dev = "eth0", encap = { type = "ip", id = 1, dst = "10.0.0.8" } }
    local S = require("nslua.schema").compile "route"
    local message = S:decode(require("nslua.schema").bytes(row))
    message.encap_type, message.encap = 8, "\8\0\1\0abcd"
    local other = S:row(S:encode(message), getmetatable(a.route) and a.route.object.class, { handle = a })
    assert.same({ type = "rpl", bytes = "\8\0\1\0abcd" }, other.encap)
    local ours = sent.ours(function()
      a.route:change(other, { mtu = 1300 })
    end)
    assert.equal("\8\0\1\0abcd", S:decode(ours.payload).encap)
  end)

  it("that are misspelt raise and name the nearest", function()
    for message, encap in pairs {
      ["unknown type 'seg7' %(did you mean 'seg6'%?%)"] = { type = "seg7" },
      ["unknown key 'hoplimits' %(did you mean 'hoplimit'%?%)"] = { type = "ip6", hoplimits = 3 },
      ["labels: 1048576 is no MPLS label"] = { type = "mpls", labels = 1048576 },
      ["segs must be a list of IPv6 addresses"] = { type = "seg6" },
      ["segs: 10.0.0.1 is no IPv6 address"] = { type = "seg6", segs = { "10.0.0.1" } },
      ["encap must be a table"] = "mpls",
    } do
      local ok, e = pcall(a.route.add, a.route, { "10.1.0.0/16", dev = "eth0", encap = encap })
      assert.is_false(ok)
      assert.matches(message, tostring(e))
    end
  end)

  -- MPLS's own table of routes
  local labels = {
    { "100 as 200/300 via inet 10.0.0.2 dev eth0", { 100, as = "200/300", via = "10.0.0.2", dev = "eth0" } },
    { "101 via inet6 2001:db8::9 dev eth0 ttl-propagate disabled", { "101", via = "2001:db8::9", dev = "eth0", ttl_propagate = false } },
    { "102 nexthop via inet 10.0.0.2 as 201 dev eth0 nexthop via inet 10.0.0.3 dev eth0",
      { 102, nexthops = { { as = 201, via = "10.0.0.2", dev = "eth0" }, { via = "10.0.0.3", dev = "eth0" } } } },
  }

  it("of MPLS: routes are sent as ip sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs(labels) do
      sent.same(a, "ip -f mpls route add " .. case[1], 12, function()
        a.route:add(case[2])
      end)
    end
  end)

  it("of MPLS: routes are shown by ip as they read", function()
    local ok = pcall(a.sysctl, a, "net.mpls.platform_labels", 1000)
    if not ok then
      return pending "this kernel has no MPLS routing (net.mpls.platform_labels)"
    end
    for _, case in ipairs(labels) do
      rtnl.set(a, "-f mpls route add " .. case[1])
    end
    assert.same({ "200/300", "10.0.0.2", "eth0", "100", "mpls", "main" }, (function(row)
      return { row.as, row.via, row.dev, row.dst, row.family, row.table }
    end)(a.route:get(100)))
    assert.is_false(a.route:get({ "101", family = "mpls" }).ttl_propagate)
    assert.same({ "201", "10.0.0.2" }, { a.route:get(102).nexthops[1].as, a.route:get(102).nexthops[1].via })
    local shown = rtnl.inside(a, "ip -f mpls route")
    for _, row in ipairs(a.route:list { family = "mpls" }) do
      a.route:delete(row)
    end
    assert.same({}, a.route:list { family = "mpls" })
    for _, case in ipairs(labels) do
      assert.equal("mpls", a.route:ensure(case[2]).family)
      assert.is_true(a.route:ensure(case[2]) == a.route:get(case[2][1]))
    end
    assert.equal(shown, (rtnl.inside(a, "ip -f mpls route")))
    a.route:change(100, { as = 400 })
    assert.equal("400", a.route:get(100).as)
    assert.equal(3, #a.route:list { family = "mpls" })
    helper.fails("ENOENT", a.route.delete, a.route, 103)
    a.route:delete(103, { absent = "ok" })
  end)
end)
