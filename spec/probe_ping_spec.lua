-- a:ping and ns.probe.ping_many against the kernel's own answers.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local probe = require "spec.probe_helper"
local rtnl = require "spec.rtnl_helper"
local servers = require "spec.probe_servers"

describe("a:ping", function()
  local why = probe.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(servers.close)

  local function both(row, fn)
    fn("10.0.%d.%d", "inet", row)
    fn("fd00:%d::%d", "inet6", row)
  end

  it("counts and times what comes back, of both families", function()
    both(probe.row(3), function(address, family, row)
      local p = row[1]:ping(address:format(2, 2), { count = 3, interval = "5ms", timeout = 5 })
      assert.same({ 3, 3, 0, 0, family, address:format(2, 2) }, { p.sent, p.received, p.loss, p.duplicates, p.family, p.address })
      assert.same({}, p.errors)
      local r = p.rtt
      assert.is_true(0 < r.min and r.min <= r.median and r.median <= r.max and r.max < 5 and r.min <= r.avg and r.avg <= r.max and r.mdev >= 0)
      for i, reply in ipairs(p.replies) do
        assert.same({ i, 63, 64, address:format(2, 2) }, { reply.seq, reply.ttl, reply.bytes, reply.from })
      end
      assert.equal(3, #p.replies)
    end)
  end)

  it("agrees with itself on statistics", function()
    local row = probe.row(2)
    local p = row[1]:ping("10.0.1.2", { count = 4, interval = 0 })
    local sum, squares = 0, 0
    for _, reply in ipairs(p.replies) do
      sum, squares = sum + reply.rtt, squares + reply.rtt ^ 2
    end
    assert.is_true(math.abs(p.rtt.avg - sum / 4) < 1e-9)
    assert.is_true(math.abs(p.rtt.mdev ^ 2 - (squares / 4 - (sum / 4) ^ 2)) < 1e-12)
  end)

  it("waits between two requests, not after the last", function()
    local row = probe.row(2)
    local start = ns.clock()
    row[1]:ping("10.0.1.2", { count = 3, interval = 0.1 })
    local took = ns.clock() - start
    assert.is_true(took >= 0.2 and took < 2, tostring(took))
  end)

  it("says who cannot be reached, and who says so", function()
    both(probe.row(3), function(address, family, row)
      row[2].route:add { family == "inet" and "192.0.2.0/24" or "2001:db8::/64", type = "unreachable" }
      local far = family == "inet" and "192.0.2.7" or "2001:db8::7"
      local p = row[1]:ping(far)
      assert.same({ 1, 0, 1 }, { p.sent, p.received, p.loss })
      assert.same({ "ENETUNREACH" }, { p.errors[1].error }) -- no route: the kernel of the sender
      assert.is_nil(p.errors[1].from)
      row[1].route:add { "default", via = address:format(1, 2), family = family }
      p = row[1]:ping(far, { timeout = 5 })
      assert.same({ 0, {} }, { p.received, p.rtt })
      local e = p.errors[1]
      assert.equal(address:format(1, 2), e.from)
      assert.same(family == "inet" and { 3, 1, "host_unreachable", "EHOSTUNREACH" } or { 1, 0, "no_route", "ENETUNREACH" },
        { e.type, e.code, e.icmp, e.error })
      assert.is_true(e.after < 5)
    end)
  end)

  it("says where a time to live was over", function()
    both(probe.row(4), function(address, _, row)
      local p = row[1]:ping(address:format(3, 2), { ttl = 2, timeout = 5 })
      assert.same({ "time_exceeded", address:format(2, 2), 0 }, { p.errors[1].icmp, p.errors[1].from, p.received })
      assert.equal(1, row[1]:ping(address:format(3, 2), { ttl = 3 }).received)
    end)
  end)

  it("loses what is dropped: a value, no error, when the time is over", function()
    local row = probe.row(2)
    row[2]:sysctl("net.ipv4.icmp_echo_ignore_all", 1)
    local start = ns.clock()
    local p = row[1]:ping("10.0.1.2", { count = 2, interval = 0, timeout = "50ms" })
    assert.same({ 2, 0, 1, {}, {}, {} }, { p.sent, p.received, p.loss, p.rtt, p.errors, p.replies })
    assert.is_true(ns.clock() - start >= 0.05)
  end)

  it("does not fragment where it may not, and says what would fit", function()
    both(probe.row(4, { [2] = 1300 }), function(address, _, row)
      local to = address:format(3, 2)
      if to:find "%." then
        assert.equal(1, row[1]:ping(to, { size = 4000, dont_fragment = false, timeout = 5 }).received)
      end
      local p = row[1]:ping(to, { size = 1400, dont_fragment = true, timeout = 5 })
      assert.same({ "EMSGSIZE", 1300, 0, address:format(1, 2) }, { p.errors[1].error, p.errors[1].mtu, p.received, p.errors[1].from })
      p = row[1]:ping(to, { size = 1400, dont_fragment = true, timeout = 5 }) -- now this host knows
      assert.same({ "EMSGSIZE", 1300 }, { p.errors[1].error, p.errors[1].mtu })
      assert.is_nil(p.errors[1].from)
      assert.equal(1, row[1]:ping(to, { size = 1200, dont_fragment = true }).received)
    end)
  end)

  it("works with any size of payload", function()
    local row = probe.row(2)
    for _, size in ipairs { 0, 1, 7, 8, 9, 1472, 1473, "63kb", 65507 } do
      local p = row[1]:ping("10.0.1.2", { size = size, timeout = 5 })
      assert.equal(1, p.received, tostring(size))
      assert.equal(8 + (size == "63kb" and 63 * 1024 or size), p.replies[1].bytes)
    end
  end)

  it("sends from an address or a link that is said", function()
    local row = probe.row(3)
    row[1].address:add { "10.0.9.9/32", dev = "right" }
    row[2].route:add { "10.0.9.9/32", dev = "left" }
    assert.equal(1, row[1]:ping("10.0.1.2", { from = "10.0.9.9" }).received)
    row[2].route:delete { "10.0.9.9/32" }
    row[2].route:add { "10.0.9.9/32", type = "blackhole" }
    assert.equal(0, row[1]:ping("10.0.1.2", { from = "10.0.9.9", timeout = 0.05 }).received)
    assert.equal(1, row[1]:ping("10.0.1.2", { from = "right" }).received)
    assert.matches("EADDRNOTAVAIL", helper.fails("EADDRNOTAVAIL", row[1].ping, row[1], "10.0.1.2", { from = "10.1.1.1" }))
    assert.matches("in n1", helper.fails("ENODEV", row[1].ping, row[1], "10.0.1.2", { from = "nolink" }))
  end)

  it("uses a ping socket where the namespace allows it, and gets the same", function()
    local row = probe.row(2)
    row[1]:sysctl("net.ipv4.ping_group_range", "0 0")
    local fd = core.namespace.socket(row[1].fd, 2, 2, 1)
    if not fd then
      return pending "this user's group has no number in the namespace, or it has to be entered"
    end
    fd:close()
    both(row, function(address)
      local p = row[1]:ping(address:format(1, 2), { count = 2, interval = 0, size = 4 })
      assert.same({ 2, 64 }, { p.received, p.replies[1].ttl })
    end)
    local p = row[1]:ping("10.0.1.77", { timeout = 10 })
    assert.same({ "host_unreachable", "10.0.1.1" }, { p.errors[1].icmp, p.errors[1].from })
  end)

  it("reaches link-local addresses by their link, and what an object says is its address", function()
    local row = probe.row(2)
    row[2].address:add { "fe80::77/64", dev = "left", nodad = true }
    row[1].address:add { "fe80::76/64", dev = "right", nodad = true }
    assert.equal(1, row[1]:ping("fe80::77%right", { timeout = 5 }).received)
    helper.fails("ENODEV", row[1].ping, row[1], "fe80::77%nolink")
    row[1].node_name = "n1"
    local node = { address_of = function(_, who, family)
      assert.equal("n1", who)
      return family == "inet6" and "fd00:1::2/64" or "10.0.1.2/24"
    end }
    assert.equal("10.0.1.2", row[1]:ping(node).address)
    assert.equal("fd00:1::2", row[1]:ping(node, { family = "inet6" }).address)
    assert.has_error(function()
      row[1]:ping { address_of = function() end }
    end)
  end)

  it("does not take the answers of others", function()
    local row = probe.row(2)
    -- two at once in one namespace
    local r = ns.probe.ping_many({ { from = row[1], to = "10.0.1.2" }, { from = row[1], to = "10.0.1.1" }, { from = row[1], to = "10.0.1.2" } },
      { count = 5, interval = 0, size = 0 })
    assert.same({ 15, 15, 0 }, { r.sent, r.received, r.loss })
    for _, p in ipairs(r.pairs) do
      assert.equal(0, p.duplicates)
    end
  end)

  it("counts answers that come twice, and does not take one that was made up", function()
    local row = probe.row(2)
    -- answers each request once more, and before that something that only looks like an answer
    servers.child(row[2]:socket("inet", "raw", "icmp"), function(fd)
      core.fd.poll { { fd, "r" } }
      local got = core.packet.receive(fd)
      if got and got.data:byte(21) == 8 then
        for _, rest in ipairs { got.data:sub(25, 28) .. ("?"):rep(#got.data - 28), got.data:sub(25) } do
          local bytes = "\0\0\0\0" .. rest
          core.packet.send(fd, "\0\0" .. string.pack(">I2", core.packet.checksum(bytes)) .. rest, got.from)
        end
      end
    end)
    row[2]:sysctl("net.ipv4.icmp_echo_ignore_all", 1)
    local p = row[1]:ping("10.0.1.2", { count = 3, interval = 0.2, timeout = 5 })
    assert.same({ 3, 3, 0 }, { p.sent, p.received, p.duplicates })
    row[2]:sysctl("net.ipv4.icmp_echo_ignore_all", 0)
    p = row[1]:ping("10.0.1.2", { count = 3, interval = 0.2, timeout = 5 })
    assert.same({ 3, 3 }, { p.sent, p.received })
    assert.is_true(p.duplicates >= 2 and p.replies[1].duplicates == 1)
  end)

  it("teaches what is wrong with a call", function()
    local row = probe.row(2)
    local function says(text, ...)
      local ok, e = pcall(row[1].ping, row[1], ...)
      assert.is_false(ok)
      assert.truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    says("unknown key 'cuont' (did you mean 'count'?)", "10.0.1.2", { cuont = 1 })
    says("an address, a name or an object with address_of expected, got number", 5)
    says("family must be", "10.0.1.2", { family = "ip4" })
    says("is no address of inet6", "10.0.1.2", { family = "inet6" })
    says("size must be 0 to 65507", "10.0.1.2", { size = 65508 })
    says("cannot be negative", "10.0.1.2", { timeout = -1 })
    says("no address and no host name", "10.0.1.2/24")
    row[1]:close()
    says("is closed", "10.0.1.2")
  end)

  it("leaves no fd behind", function()
    local row = probe.row(2)
    row[1]:ping "10.0.1.2"
    local before = rtnl.fds()
    row[1]:ping "10.0.1.2"
    pcall(row[1].ping, row[1], "10.0.1.2", { from = "10.1.1.1" })
    ns.probe.ping_many { { from = row[1], to = "10.0.1.2" } }
    assert.same(before, rtnl.fds())
  end)
end)

describe("ns.probe.ping_many", function()
  if probe.cannot() then
    return it("", function()
      pending(probe.cannot())
    end)
  end
  after_each(probe.close)

  -- Hosts on a bridge.
  local function star(count)
    local sw, hosts = rtnl.netns "switch", {}
    sw.link:add { name = "br0", kind = "bridge", up = true }
    for i = 1, count do
      hosts[i] = rtnl.netns("h" .. i)
      hosts[i]:sysctl("net.ipv6.conf.default.accept_dad", 0)
      sw.link:add { name = "p" .. i, kind = "veth", master = "br0", up = true, peer = { name = "eth0", netns = hosts[i] } }
      hosts[i].address:add { ("10.0.0.%d/24"):format(i), dev = "eth0" }
      hosts[i].address:add { ("fd00::%x/64"):format(i), dev = "eth0", nodad = true }
      hosts[i].link:change("eth0", { up = true })
    end
    probe.settle(hosts)
    return hosts, sw
  end

  local function all(hosts, address)
    local list = {}
    for i = 1, #hosts do
      for j = 1, i - 1 do
        list[#list + 1] = { from = hosts[i], to = address:format(j) }
        list[#list + 1] = { from = hosts[j], to = address:format(i) }
      end
    end
    return list
  end

  it("reaches everybody from everybody, both families together, and takes its neighbours away", function()
    local hosts = star(13)
    hosts[1].neighbour:add { "10.0.0.2", lladdr = hosts[2].link:get("eth0").address, dev = "eth0" }
    local list = all(hosts, "10.0.0.%d")
    for _, pair in ipairs(all(hosts, "fd00::%x")) do
      list[#list + 1] = pair
    end
    assert.equal(13 * 12 * 2, #list)
    local r = ns.probe.ping_many(list, { timeout = 5, retries = 1 })
    assert.same({ #list, #list, 0 }, { r.sent, r.received, r.loss })
    for i, p in ipairs(r.pairs) do
      assert.equal(list[i].to, p.address)
      assert.equal(list[i].from, p.from)
    end
    local left = 0
    for _, host in ipairs(hosts) do
      for n in host.neighbour:each { dev = "eth0" } do
        left = left + ((n.dst:find "^10%." or n.dst:find "^fd") and n.state ~= "permanent" and 1 or 0)
      end
    end
    assert.is_true(left < 13 * 12, tostring(left))
    assert.equal("permanent", hosts[1].neighbour:get({ "10.0.0.2", dev = "eth0" }).state)
  end)

  it("reaches more pairs than the kernel keeps neighbours, in any order", function()
    local hosts = star(34)
    local list = {}
    for i, from in ipairs(hosts) do
      for j = 1, #hosts do
        list[#list + 1] = i ~= j and { from = from, to = ("10.0.0.%d"):format(j) } or nil
      end
    end
    assert.equal(34 * 33, #list)
    local r = ns.probe.ping_many(list, { timeout = 5, retries = 1 })
    assert.same({ #list, #list, 0 }, { r.sent, r.received, r.loss })
  end)

  it("waits for all the dead at the same time", function()
    local hosts = star(4)
    hosts[4].link:change("eth0", { up = false })
    local start = ns.clock()
    local r = ns.probe.ping_many(all(hosts, "10.0.0.%d"), { timeout = 0.3, retries = 1 })
    local took = ns.clock() - start
    assert.same({ 12, 6, 0.5 }, { r.sent, r.received, r.loss })
    assert.is_true(took >= 0.6 and took < 3, tostring(took)) -- three with an answer of no route at once, three lost twice
    for _, p in ipairs(r.pairs) do
      local dead = p.from == hosts[4] or p.address == "10.0.0.4"
      assert.equal(dead and 1 or 0, p.loss)
    end
  end)

  it("sends a lost one again, if asked to", function()
    if not probe.has_nft() then
      return pending "no nft(8)"
    end
    local hosts = star(2)
    -- the first request of all is dropped
    probe.nft(hosts[2], [[table ip t { chain c { type filter hook input priority 0;
      icmp type echo-request limit rate over 1/hour burst 1 packets accept
      icmp type echo-request drop
    }
    }]])
    assert.equal(0, ns.probe.ping_many({ { from = hosts[1], to = "10.0.0.2" } }, { timeout = 0.2 }).received)
    probe.nft(hosts[2], "flush ruleset\n" .. [[table ip t { chain c { type filter hook input priority 0;
      icmp type echo-request limit rate over 1/hour burst 1 packets accept
      icmp type echo-request drop
    }
    }]])
    local r = ns.probe.ping_many({ { from = hosts[1], to = "10.0.0.2" } }, { timeout = 0.2, retries = 1 })
    assert.same({ 1, 1, 0 }, { r.sent, r.received, r.loss })
  end)

  it("keeps to its window where answers are large", function()
    local hosts = star(3)
    local r = ns.probe.ping_many(all(hosts, "10.0.0.%d"), { count = 40, interval = 0, size = 20000, window = 500, timeout = 5 })
    assert.same({ 240, 240 }, { r.sent, r.received })
  end)

  it("says of nobody that nobody was lost", function()
    assert.same({ 0, 0, 0 }, { ns.probe.ping_many({}).sent, ns.probe.ping_many({}).received, ns.probe.ping_many({}).loss })
  end)
end)

describe("core.echo", function()
  local echo = core.echo

  it("reads what it writes", function()
    for _, six in ipairs { false, true } do
      local request = echo.request(six, 0x1234, 0xfedc, 20)
      assert.equal(28, #request)
      local id, seq, bytes = echo.read(request, six, false, true)
      assert.same({ 0x1234, 0xfedc, 28 }, { id, seq, bytes })
      assert.is_nil((echo.read(request, six, false, false)))
    end
    assert.equal(0, core.packet.checksum(echo.request(false, 1, 2, 31)))
  end)

  it("computes the checksum of RFC 1071", function()
    assert.equal(0x220d, core.packet.checksum "\x00\x01\xf2\x03\xf4\xf5\xf6\xf7")
    assert.equal(0xffff, core.packet.checksum "")
    assert.equal(0xfeff, core.packet.checksum "\x01")
  end)

  it("takes no packet that is not whole, whatever is in it", function()
    local random = helper.held and math.random
    math.randomseed(4711)
    local reply = "\x45" .. ("\0"):rep(19) .. "\0\0" .. echo.request(false, 7, 9, 24):sub(3)
    local seen = 0
    for _ = 1, 20000 do
      local bytes = { reply:byte(1, random(0, #reply)) }
      for _ = 1, random(0, 3) do
        if #bytes > 0 then
          bytes[random(#bytes)] = random(0, 255)
        end
      end
      local text = string.char(table.unpack(bytes))
      for flags = 0, 7 do
        local id, seq, n = echo.read(text, flags & 1 ~= 0, flags & 2 ~= 0, flags & 4 ~= 0)
        if id then
          seen = seen + 1
          assert.is_true(id >= 0 and id < 65536 and seq >= 0 and seq < 65536 and n >= 8 and n <= #text)
        end
      end
    end
    assert.is_true(seen > 0)
  end)

  it("refuses what would not fit", function()
    local plan = { count = 1, interval = 0, timeout = 1, size = 56, window = 1, retries = 0 }
    local function with(key, value)
      local t = {}
      for k, v in pairs(plan) do
        t[k] = v
      end
      t[key] = value
      return t
    end
    for key, value in pairs { count = 1e9, size = 70000, window = 0, retries = 101, timeout = 0 / 0, interval = -1 } do
      assert.has_error(function()
        echo.ping({ {} }, { { 1, "\10\0\0\1" } }, with(key, value))
      end)
    end
    assert.has_error(function() echo.ping({ {} }, { { 2, "\10\0\0\1" } }, plan) end)
    assert.has_error(function() echo.ping({ {} }, { { 1, ("\0"):rep(16) } }, plan) end)
    assert.has_error(function() echo.ping({ {} }, { { 1, "\10\0\0\1" } }, plan):run({}, 1) end)
    assert.has_error(function() echo.ping({}, { { 1, "\10\0\0\1" } }, plan) end)
  end)
end)
