-- Routes: what nslua makes ip(8) shows, and what ip(8) makes nslua reads.

local errors = require "nslua.error"
local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"
local sent = require "spec.sent"

describe("routes", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a:sysctl("net.ipv6.conf.default.addr_gen_mode", 1) -- no addresses, and routes to them, that come by themselves
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
    a.address:add { "10.0.0.1/24", dev = "eth0" }
    a.address:add { "10.0.1.1/24", dev = "eth1" }
    a.address:add { "2001:db8::1/64", dev = "eth0", nodad = true }
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  -- ip's words for a row, as far as both have them
  local function words(row)
    local out = { dst = row.dst:gsub("/32$", "") }
    if row.family == "inet6" then
      out.dst = row.dst:gsub("/128$", "")
    end
    out.type, out.gateway, out.dev, out.metric, out.prefsrc = row.type, row.via, row.dev, row.metric, row.src
    out.table, out.protocol = tostring(row.table), tostring(row.proto)
    if row.family == "inet" then
      out.scope = tostring(row.scope)
    end
    for _, hop in ipairs(row.nexthops or {}) do
      out.hops = (out.hops or "") .. ("%s %s %d;"):format(hop.via, hop.dev, hop.weight)
    end
    for _, metric in ipairs { "mtu", "advmss", "hoplimit", "initcwnd", "congctl" } do
      out[metric] = row[metric] and tostring(row[metric])
    end
    out.lock = row.lock and table.concat(row.lock, " ")
    return out
  end

  local function of_ip(route, family)
    local out = { dst = route.dst, type = route.type, gateway = route.gateway, dev = route.dev, metric = route.metric, prefsrc = route.prefsrc,
      table = route.table or "main", protocol = route.protocol, scope = family == "inet" and (route.scope or "global") or nil }
    if route.via then
      out.gateway = route.via.host
    end
    for _, hop in ipairs(route.nexthops or {}) do
      out.hops = (out.hops or "") .. ("%s %s %d;"):format(hop.gateway or hop.via and hop.via.host, hop.dev, hop.weight)
    end
    for key, value in pairs(route.metrics and route.metrics[1] or {}) do
      out[key == "congestion" and "congctl" or key] = tostring(value)
    end
    return out
  end

  local function sorted(list)
    table.sort(list, function(x, y)
      return table.concat { x.dst, " ", x.table, " ", x.type, " ", x.dev or "", " ", x.metric or 0 }
        < table.concat { y.dst, " ", y.table, " ", y.type, " ", y.dev or "", " ", y.metric or 0 }
    end)
    return list
  end

  local function all_same(skip)
    for family, flag in pairs { inet = "-4", inet6 = "-6" } do
      local theirs, ours = {}, {}
      for _, route in ipairs(rtnl.ip(a, flag .. " route show table all")) do
        theirs[#theirs + 1] = of_ip(route, family)
      end
      for _, row in ipairs(a.route:list { family = family }) do
        ours[#ours + 1] = words(row)
      end
      sorted(theirs)
      sorted(ours)
      for i = 1, math.max(#theirs, #ours) do
        for _, key in ipairs(skip or {}) do
          theirs[i][key], ours[i][key] = nil, nil
        end
        assert.same(theirs[i], ours[i])
      end
    end
  end

  it("of ip read as it shows them", function()
    for _, command in ipairs {
      "add default via 10.0.0.254 metric 100", "add 10.1.0.0/16 via 10.0.0.2 dev eth0 proto static",
      "add 10.2.0.0/16 dev eth0 src 10.0.0.1 scope link",
      "add 10.3.0.0/16 nexthop via 10.0.0.3 dev eth0 weight 3 nexthop via 10.0.1.3 dev eth1 weight 1", "add unreachable 10.4.0.0/16",
      "add blackhole 10.5.0.0/16 table 100", "add prohibit 10.6.0.0/16 table 100000", "add 10.7.0.1 via 10.0.0.9 table 42 mtu 1300 advmss 1200",
      "add 10.8.0.0/16 via inet6 2001:db8::9 dev eth0", "add 10.9.0.0/16 via 192.0.2.1 dev eth0 onlink",
      "-6 add default via 2001:db8::254 metric 50", "-6 add 2001:db8:1::/48 via 2001:db8::2 proto bgp mtu 1300", "-6 add unreachable 2001:db8:2::/48",
      "-6 add 2001:db8:3::/48 nexthop via 2001:db8::3 dev eth0 nexthop via 2001:db8::4 dev eth0", "add throw 10.10.0.0/16 table 7",
    } do
      rtnl.set(a, (command:gsub("^(%-?6? ?)add", "%1route add")))
    end
    all_same()
    assert.equal("2001:db8::9", a.route:get "10.8.0.0/16".via)
    assert.equal(100000, a.route:get({ "10.6.0.0/16", table = 100000 }).table)
    assert.is_true(a.route:get "10.9.0.0/16".onlink)
    assert.equal(3, a.route:get "10.3.0.0/16".nexthops[1].weight)
  end)

  it("of nslua are shown by ip as they read", function()
    for _, t in ipairs {
      { "default", via = "10.0.0.254", metric = 100 }, { "10.1.0.0/16", via = "10.0.0.2", dev = "eth0", proto = "static" },
      { "10.2.0.0/16", dev = "eth0", src = "10.0.0.1" },
      { "10.3.0.0/16", nexthops = { { via = "10.0.0.3", weight = 3 }, { via = "10.0.1.3", dev = "eth1" } } },
      { "10.4.0.0/16", type = "unreachable" }, { "10.5.0.0/16", type = "blackhole", table = 100 },
      { "10.6.0.0/16", type = "prohibit", table = 100000 },
      { "10.7.0.1", via = "10.0.0.9", table = "42", mtu = 1300, advmss = 1200, lock = { "mtu" } },
      { "10.8.0.0/16", via = "2001:db8::9", dev = "eth0" }, { "10.9.0.0/16", via = "192.0.2.1", dev = "eth0", onlink = true },
      { "10.10.0.0/16", via = "inet6 2001:db8::9", dev = "eth0" }, { "10.11.0.0/16", dev = "eth0", congctl = "reno", initcwnd = 20, hoplimit = 9 },
      { "10.12.0.0/16", nexthops = { { via = "2001:db8::9", dev = "eth0" }, { via = "10.0.0.7" } } },
      { "default", via = "2001:db8::254", metric = 50 }, { "2001:db8:1::/48", via = "2001:db8::2", proto = "bgp", mtu = 1300 },
      { "2001:db8:2::/48", type = "unreachable" }, { "2001:db8:4::/48", dev = "eth0", pref = "high", expires = 300 },
      { "2001:db8:3::/48", nexthops = { { via = "2001:db8::3", dev = "eth0" }, { via = "2001:db8::4", dev = "eth0" } } },
      { "default", family = "inet6", dev = "eth1", table = 200 },
    } do
      local row = a.route:add(t)
      assert.equal(t.type or "unicast", row.type)
      assert.is_true(row == a.route:get(row), tostring(t[1]))
    end
    all_same { "lock", "mtu" } -- ip 6.1 prints a locked metric in two ways
    local row = a.route:get { "10.7.0.1", table = 42 }
    assert.same({ 1300, 1200, { "mtu" }, 42, "10.7.0.1/32" }, { row.mtu, row.advmss, row.lock, row.table, row.dst })
    assert.is_truthy(rtnl.inside(a, "ip route show table 42"):find("mtu lock 1300", 1, true))
    assert.equal("reno", a.route:get "10.11.0.0/16".congctl)
    local timed = a.route:get "2001:db8:4::/48"
    assert.is_true(timed.expires > 290 and timed.expires <= 300)
    assert.equal("high", timed.pref)
  end)

  it("are looked up as the kernel would", function()
    a.route:add { "default", via = "10.0.0.254" }
    a.route:add { "default", via = "10.0.1.254", table = 100 }
    a.route:add { "10.66.0.0/16", type = "unreachable" }
    a.rule:add { fwmark = 7, table = 100 }
    a.rule:add { ipproto = "tcp", dport = 80, table = 100 }
    assert.equal("10.0.1.254", a.route:lookup({ "8.8.8.8", ipproto = "tcp", sport = 9, dport = 80 }).via)
    assert.equal("10.0.0.254", a.route:lookup({ "8.8.8.8", ipproto = "udp", dport = 80 }).via)
    if helper.is_root() then -- a user namespace knows only its own ids
      a.rule:add { uidrange = "77-78", table = 100 }
      assert.equal("10.0.1.254", a.route:lookup({ "8.8.8.8", uid = 78 }).via)
    end
    local row = a.route:lookup { "8.8.8.8" }
    assert.same({ "10.0.0.254", "eth0", "10.0.0.1", "8.8.8.8/32" }, { row.via, row.dev, row.src, row.dst })
    assert.equal("10.0.1.254", a.route:lookup({ "8.8.8.8", from = "10.0.0.1", mark = 7 }).via)
    assert.equal("default", a.route:lookup({ "8.8.8.8", fibmatch = true }).dst)
    assert.equal("eth0", a.route:lookup("2001:db8::77").dev)
    assert.equal("eth1", a.route:lookup({ "10.0.1.9", oif = "eth1" }).dev)
    for dst, code in pairs { ["10.66.0.1"] = "EHOSTUNREACH", ["2001:db9::1"] = "ENETUNREACH" } do
      local ok, e = pcall(a.route.lookup, a.route, { dst })
      assert.is_true(not ok and errors.is(e, code), tostring(e))
    end
  end)

  it("are appended behind what is there, as by ip route append", function()
    a.route:add { "10.3.0.0/16", via = "10.0.0.5" }
    local row = a.route:append { "10.3.0.0/16", via = "10.0.0.6" }
    assert.equal("10.0.0.6", row.via)
    rtnl.inside(a, "ip route append 10.3.0.0/16 via 10.0.0.7")
    local found = {}
    for i, each in ipairs(a.route:list { "10.3.0.0/16" }) do
      found[i] = each.via
    end
    assert.same({ "10.0.0.5", "10.0.0.6", "10.0.0.7" }, found)
    local ok = pcall(a.transaction, a, function()
      a.route:append { "10.3.0.0/16", via = "10.0.0.8" }
      error "no"
    end)
    assert.is_false(ok)
    assert.equal(3, #a.route:list { "10.3.0.0/16" })
    a:batch(function()
      a.route:append { "10.3.0.0/16", via = "10.0.0.8" }
      a.route:append { "10.3.0.0/16", via = "10.0.0.9" }
    end)
    assert.equal("10.0.0.9", a.route:list({ "10.3.0.0/16" })[5].via)
    a.address:add { "fd00:7::1/64", dev = "eth0", nodad = true }
    a.route:add { "fd00:9::/64", via = "fd00:7::5", dev = "eth0" }
    a.route:append { "fd00:9::/64", via = "fd00:7::6", dev = "eth0" }
    assert.equal(2, #(a.route:get("fd00:9::/64").nexthops or {}))
  end)

  it("of both families are ensured beside each other where both are the default", function()
    a.address:add { "fd00:7::1/64", dev = "eth0", nodad = true }
    a.route:add { "default", via = "10.0.0.9" }
    local six = a.route:ensure { "default", via = "fd00:7::9", dev = "eth0" }
    assert.same({ "inet6", "fd00:7::9" }, { six.family, six.via })
    assert.equal("10.0.0.9", a.route:get({ "default", family = "inet" }).via)
    assert.equal("inet6", a.route:replace({ "default", via = "fd00:7::8", dev = "eth0", metric = 7 }).family)
  end)

  it("are changed, replaced, ensured and deleted", function()
    a.route:add { "10.1.0.0/16", via = "10.0.0.2", metric = 10, mtu = 1400 }
    a.route:change({ "10.1.0.0/16", metric = 10 }, { via = "10.0.0.3" })
    local row = a.route:get { "10.1.0.0/16" }
    assert.same({ "10.0.0.3", 10, 1400 }, { row.via, row.metric, row.mtu })
    a.route:change(row, { mtu = false, metric = 20 })
    assert.equal(1, #a.route:list { dst = "10.1.0.0/16" })
    row = a.route:get "10.1.0.0/16"
    assert.equal(20, row.metric)
    assert.is_nil(row.mtu)
    a.route:change(row, { nexthops = { { via = "10.0.0.4" }, { via = "10.0.0.5" } } })
    assert.equal(2, #a.route:get "10.1.0.0/16".nexthops)
    assert.equal("10.0.0.9", a.route:replace({ "10.1.0.0/16", via = "10.0.0.9", metric = 20 }).via)
    local same = a.route:ensure { "10.1.0.0/16", via = "10.0.0.9", metric = 20 }
    assert.equal(1, #a.route:list { dst = "10.1.0.0/16" })
    assert.equal("10.0.0.8", a.route:ensure({ "10.1.0.0/16", via = "10.0.0.8", metric = 20 }).via)
    a.route:delete(a.route:get(same) or "10.1.0.0/16")
    assert.same({}, a.route:list { dst = "10.1.0.0/16" })
    a.route:delete("10.1.0.0/16", { absent = "ok" })
    local ok, e = pcall(a.route.delete, a.route, "10.1.0.0/16")
    assert.is_true(not ok and errors.is(e, "ESRCH"))
    -- the one of the metric
    a.route:add { "10.2.0.0/16", via = "10.0.0.2", metric = 1 }
    a.route:add { "10.2.0.0/16", via = "10.0.0.2", metric = 2, proto = "static" }
    a.route:delete { "10.2.0.0/16", metric = 2 }
    assert.equal(1, a.route:get "10.2.0.0/16".metric)
    a.route:delete { "10.2.0.0/16", type = "unicast" }
    a.route:add { "default", via = "2001:db8::254" }
    a.route:delete { "default", family = "inet6" }
    assert.is_nil(a.route:get { "default", family = "inet6" })
  end)

  it("are found by filters", function()
    a.route:add { "10.1.0.0/16", via = "10.0.0.2", table = 100, proto = "static" }
    a.route:add { "10.2.0.0/16", type = "blackhole", table = 100 }
    a.route:add { "10.3.0.0/16", dev = "eth1", table = 1000 }
    local function list(filter)
      local out = {}
      for row in a.route:each(filter) do
        out[#out + 1] = row.dst
      end
      assert.equal(#out, #a.route:list(filter))
      return table.concat(out, " ")
    end
    assert.equal("10.1.0.0/16 10.2.0.0/16", list { table = 100 })
    assert.equal("10.3.0.0/16", list { table = 1000 })
    assert.equal("", list { table = 4000 })
    assert.equal("10.1.0.0/16", list { proto = "static" })
    assert.equal("10.2.0.0/16", list { type = "blackhole" })
    assert.equal("10.3.0.0/16", list { dev = "eth1", table = 1000 })
    assert.equal("10.1.0.0/16", list { via = "10.0.0.2" })
    assert.equal("10.2.0.0/16", list { table = 100, via = false })
    assert.is_nil(a.route:get "10.1.0.0/16") -- another table
    assert.is_truthy(a.route:get { "10.1.0.0/16", table = 100 })
    assert.is_nil(a.route:get { "10.1.0.0/16", table = 100, metric = 5 })
    assert.has_error(function()
      a.route:list { tabel = 1 }
    end)
  end)

  it("have metrics in units of ip(8), and locks", function()
    local t = { "10.1.0.0/16", dev = "eth0", mtu = 1400, rtt = 0.3, rttvar = "100ms", rto_min = 0.2, lock = { "mtu", "rtt" }, quickack = true,
      initcwnd = 10, initrwnd = 20, ssthresh = 5, cwnd = 6, window = 7000, reordering = 4, features = { "ecn" }, congctl = "reno",
      fastopen_no_cookie = true, hoplimit = 9, advmss = 1300 }
    local row = a.route:add(t)
    local shown = rtnl.inside(a, "ip route show 10.1.0.0/16")
    for _, text in ipairs { "mtu lock 1400", "rtt lock 300ms", "rttvar 100ms", "rto_min lock 200ms", "quickack 1", "initcwnd 10", "initrwnd 20",
      "ssthresh 5", "cwnd 6", "window 7000", "reordering 4", "features ecn", "congctl reno", "fastopen_no_cookie 1", "hoplimit 9", "advmss 1300" } do
      assert.is_truthy(shown:find(text, 1, true), text .. " in " .. shown)
    end
    for word, value in pairs(t) do
      if word ~= 1 then
        assert.same(word == "rttvar" and 0.1 or word == "lock" and { "mtu", "rto_min", "rtt" } or value, row[word], tostring(word))
      end
    end
    assert.equal(1, #a.route:list { lock = { "rtt", "mtu", "rto_min" } })
    assert.equal(0, #a.route:list { lock = { "mtu", "rto_min" } })
    assert.equal(1, #a.route:list { rtt = "300ms", quickack = true, features = "ecn", lock = { "rtt", "mtu" } })
    assert.is_true(a.route:ensure(t) == row)
    a.route:change(row, { quickack = false, rtt = false, lock = "mtu" })
    row = a.route:get "10.1.0.0/16"
    assert.same({ nil, { "mtu", "rto_min" }, 0.2 }, { row.rtt, row.lock, row.rto_min })
    assert.is_falsy(row.quickack)
    a.route:change(row, { rto_min = false, lock = { "mtu", "hoplimit" } })
    row = a.route:get "10.1.0.0/16"
    assert.same({ { "hoplimit", "mtu" } }, { row.lock, row.rto_min })
  end)

  it("whose least timeout of TCP is set lock it, for TCP heeds no other", function()
    assert.same({ "rto_min" }, a.route:add({ "10.1.0.0/16", dev = "eth0", rto_min = "50ms" }).lock)
    a.route:change("10.1.0.0/16", { mtu = 1300 })
    assert.same({ "rto_min" }, a.route:get("10.1.0.0/16").lock)
    a.route:change("10.1.0.0/16", { rto_min = false })
    assert.is_nil(a.route:get("10.1.0.0/16").lock)
  end)

  it("of tables above 255 say so where the header has no room", function()
    local S = schema.compile "route"
    for number, in_header in pairs { [100] = 100, [255] = 255, [256] = 0, [100000] = 0 } do
      local message = S:decode(sent.ours(function()
        a.route:add { "10.1.0.0/16", dev = "eth0", table = number }
      end).payload)
      assert.same({ in_header, number }, { message.table8, message.table_number or message.table8 })
      assert.equal(number, a.route:add({ "10.1.0.0/16", dev = "eth0", table = number }).table_number)
      assert.equal(1, #a.route:list { table = number, dev = "eth0", dst = "10.1.0.0/16" })
    end
  end)

  it("are filtered here too, where the kernel takes no notice of a filter", function()
    a.route:add { "10.1.0.0/16", dev = "eth0", table = 100 }
    local object = a.route.object
    local payloads = object.payloads
    object.payloads = function(self, _, call)
      return payloads(self, {}, call)
    end
    local ok, rows = pcall(a.route.list, a.route, { table = 100 })
    object.payloads = payloads
    assert.is_true(ok, tostring(rows))
    assert.same({ 1, "10.1.0.0/16" }, { #rows, rows[1].dst })
  end)

  it("with a metric of 0 say so, which IPv6 takes for 1024", function()
    local S = schema.compile "route"
    for _, case in ipairs { { "10.1.0.0/16", nil }, { "2001:db8:1::/48", 1024 } } do
      for _, metric in ipairs { false, 0 } do
        local t = { case[1], dev = "eth0", metric = metric or nil }
        assert.equal(metric or nil, S:decode(sent.ours(function()
          a.route:add(t)
        end).payload).metric)
        local row = a.route:ensure(t)
        assert.equal(case[2], row.metric)
        assert.is_true(a.route:ensure(t) == row)
        a.route:delete(row)
      end
    end
  end)

  it("are deleted whoever made them, unless proto is said", function()
    a.route:add { "10.1.0.0/16", dev = "eth0", proto = "static" }
    local ok, e = pcall(a.route.delete, a.route, { "10.1.0.0/16", proto = "bgp" })
    assert.is_true(not ok and errors.is(e, "ESRCH"))
    a.route:delete "10.1.0.0/16"
    assert.is_nil(a.route:get "10.1.0.0/16")
  end)

  it("of IPv6 with several nexthops are one route: replaced, changed and deleted whole", function()
    local function hops(...)
      local out = {}
      for i, n in ipairs { ... } do
        out[i] = { via = "2001:db8::" .. n, dev = "eth0" }
      end
      return out
    end
    local dst = "2001:db8:1::/48"
    a.route:add { dst, nexthops = hops(3, 4) }
    local row = a.route:replace { dst, nexthops = hops(5, 6, 7) }
    assert.equal(3, #row.nexthops)
    assert.equal(1, #a.route:list { dst = dst })
    a.route:change(row, { nexthops = hops(5, 6) })
    assert.equal(2, #a.route:get(dst).nexthops)
    a.route:replace { dst, via = "2001:db8::8" }
    assert.same({ 1, "2001:db8::8" }, { #a.route:list { dst = dst }, a.route:get(dst).via })
    a.route:replace { dst, nexthops = hops(3, 4) }
    a.route:delete(a.route:get(dst))
    assert.same({}, a.route:list { dst = dst })
  end)

  it("are looked up anew each time: the kernel tells nobody that a link took its routes along", function()
    a.route:add { "10.1.0.0/16", via = "10.0.0.2" }
    a.link:change("eth0", { up = false })
    assert.is_nil(a.route:get "10.1.0.0/16")
    assert.same({}, a.route:list { dst = "10.1.0.0/16" })
  end)

  it("are sent as ip sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs {
      { "add 10.1.0.0/16 via 10.0.0.2 dev eth0 metric 5 table 100000 proto static src 10.0.0.1 mtu lock 1300 rtt 20ms features ecn",
        { "10.1.0.0/16", via = "10.0.0.2", dev = "eth0", metric = 5, table = 100000, proto = "static", src = "10.0.0.1", mtu = 1300, lock = "mtu",
          rtt = 0.02, features = "ecn" } },
      { "add 10.2.0.0/16 via inet6 2001:db8::9 dev eth0", { "10.2.0.0/16", via = "2001:db8::9", dev = "eth0" } },
      { "add 10.3.0.0/16 nexthop via 10.0.0.3 dev eth0 weight 3 onlink nexthop via inet6 2001:db8::9 dev eth0",
        { "10.3.0.0/16", nexthops = { { via = "10.0.0.3", dev = "eth0", weight = 3, onlink = true }, { via = "2001:db8::9", dev = "eth0" } } } },
      { "add unreachable 10.4.0.0/16 metric 0", { "10.4.0.0/16", type = "unreachable", metric = 0 } },
      { "add 10.5.0.0/16 nhid 7", { "10.5.0.0/16", nhid = 7 } },
      { "add local 10.6.0.1 dev eth0", { "10.6.0.1", type = "local", dev = "eth0" } },
      { "add 2001:db8:1::/48 dev eth0 pref high expires 300 from 2001:db8:2::/48", { "2001:db8:1::/48", dev = "eth0", pref = "high", expires = 300,
        from = "2001:db8:2::/48" }, "-6 " },
      { "del 10.7.0.0/16", "10.7.0.0/16" },
      { "del 10.7.0.0/16 via 10.0.0.2 dev eth0 table 100000 metric 5",
        { "10.7.0.0/16", via = "10.0.0.2", dev = "eth0", table = 100000, metric = 5 } },
    } do
      sent.same(a, "ip " .. (case[3] or "") .. "route " .. case[1], 12, function()
        if case[1]:find "^del" then
          a.route:delete(case[2])
        else
          a.route:add(case[2])
        end
      end)
    end
  end)

  it("of a prefix inside another are not taken for it", function()
    a.route:add { "10.1.0.0/24", via = "10.0.0.2" }
    assert.is_nil(a.route:get "10.1.0.0/16")
    a.route:add { "10.1.0.0/16", via = "10.0.0.3" }
    assert.equal("10.0.0.3", a.route:get "10.1.0.0/16".via)
    assert.equal("10.0.0.2", a.route:get "10.1.0.0/24".via)
  end)
end)
