-- a:tcp and a:udp: what answers, what refuses, what is not there.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local probe = require "spec.probe_helper"
local rtnl = require "spec.rtnl_helper"
local servers = require "spec.probe_servers"

local why = probe.cannot()

describe("a:tcp", function()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(servers.close)

  it("connects, and says how long it took and between which ends", function()
    local row = probe.row(3)
    probe.families(function(address)
      local to = address:format(2, 2)
      local fd <close> = servers.bound(row[3], to, "stream", 80)
      local r = row[1]:tcp(to, 80)
      assert.same({ true, true, address:format(1, 1), to, 80 }, { r.ok, r.connected, r.src, r.dst, r.dport })
      assert.is_true(r.sport > 0 and r.elapsed < 5 and r.elapsed >= 0 and r.rtt > 0 and r.rtt < 5 and r.mss > 1300 and r.mss <= 1460)
      assert.is_nil(r.error)
      assert.is_true(fd:isopen())
    end)
  end)

  it("says what it was told to, and hears as much as it was told to", function()
    local row = probe.row(2)
    servers.tcp(row[2], "10.0.1.2", 7, function(connection)
      local n = core.fd.poll({ { connection, "r" } }) and connection:read()
      connection:write("you said " .. n)
    end)
    local r = row[1]:tcp("10.0.1.2", 7, { send = "hello", receive = true })
    assert.same({ true, "you said hello", true }, { r.ok, r.received, r.closed })
    r = row[1]:tcp("10.0.1.2", 7, { send = "hello", receive = 3 })
    assert.same({ true, "you" }, { r.ok, r.received })
    assert.is_nil(r.closed)
    r = row[1]:tcp("10.0.1.2", 7, { receive = 3, timeout = 0.1 })
    assert.same({ false, true, "ETIMEDOUT", "" }, { r.ok, r.connected, r.error, r.received })
  end)

  it("sends more than the other side takes at once, until the time is over", function()
    local row = probe.row(2)
    local fd <close> = servers.bound(row[2], "10.0.1.2", "stream", 9)
    local r = row[1]:tcp("10.0.1.2", 9, { send = ("x"):rep(20000000), timeout = 0.2 })
    assert.same({ false, true, "ETIMEDOUT" }, { r.ok, r.connected, r.error })
    assert.is_true(fd:isopen())
  end)

  it("says that a port refuses", function()
    local row = probe.row(3)
    probe.families(function(address)
      local r = row[1]:tcp(address:format(2, 2), 81)
      assert.same({ false, false, "ECONNREFUSED" }, { r.ok, r.connected, r.error })
      assert.is_nil(r.from)
    end)
  end)

  it("says who says that there is no way", function()
    local row = probe.row(3)
    probe.families(function(address, family)
      local far = family == "inet" and "192.0.2.7" or "2001:db8::7"
      local r = row[1]:tcp(far, 80)
      assert.same({ false, "ENETUNREACH" }, { r.ok, r.error })
      row[1].route:add { "default", via = address:format(1, 2), family = family }
      row[2].route:add { family == "inet" and "192.0.2.0/24" or "2001:db8::/64", type = "prohibit" }
      r = row[1]:tcp(far, 80)
      assert.same({ false, family == "inet" and "EHOSTUNREACH" or "EACCES", address:format(1, 2), "admin_prohibited" },
        { r.ok, r.error, r.from, r.icmp })
    end)
  end)

  it("waits no longer than it was told to", function()
    local row = probe.row(2)
    row[2].route:add { "10.0.1.1/32", type = "blackhole" }
    local start = ns.clock()
    local r = row[1]:tcp("10.0.1.2", 80, { timeout = "100ms" })
    assert.same({ false, "ETIMEDOUT" }, { r.ok, r.error })
    assert.is_true(ns.clock() - start < 3)
  end)

  it("teaches what is wrong with a call, and leaves no fd", function()
    local row = probe.row(2)
    local before = rtnl.fds()
    for text, arguments in pairs { ["port must be 1-65535"] = { "10.0.1.2", 0 }, ["unknown key 'sned' (did you mean 'send'?)"] =
      { "10.0.1.2", 1, { sned = "" } }, ["receive must be"] = { "10.0.1.2", 1, { receive = 0 } } } do
      local ok, e = pcall(row[1].tcp, row[1], table.unpack(arguments))
      assert.is_false(ok)
      assert.truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    helper.fails("EADDRNOTAVAIL", row[1].tcp, row[1], "10.0.1.2", 80, { from = "10.9.9.9" })
    assert.is_false(row[1]:tcp("10.0.1.2", 80).ok)
    assert.same(before, rtnl.fds())
  end)
end)

describe("a:udp", function()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(servers.close)

  it("gets an answer", function()
    local row = probe.row(3)
    probe.families(function(address)
      servers.udp(row[3], address:format(2, 2), 53, function(data)
        return data ~= "quiet" and data .. "!" or nil
      end)
      local r = row[1]:udp(address:format(2, 2), 53, { send = "hello", timeout = 5 })
      assert.same({ true, "hello!", address:format(1, 1), 53 }, { r.ok, r.reply, r.src, r.dport })
      assert.is_true(r.elapsed > 0 and r.elapsed < 5)
      r = row[1]:udp(address:format(2, 2), 53, { timeout = 5 })
      assert.same({ true, "!" }, { r.ok, r.reply })
      r = row[1]:udp(address:format(2, 2), 53, { send = "quiet", timeout = "50ms" })
      assert.same({ false, "ETIMEDOUT" }, { r.ok, r.error })
      assert.is_true(row[1]:udp(address:format(2, 2), 53, { send = "quiet", timeout = "50ms", reply = false }).ok)
    end)
  end)

  it("says that a port refuses, and who said so", function()
    local row = probe.row(3)
    probe.families(function(address)
      local r = row[1]:udp(address:format(2, 2), 54, { send = "x", timeout = 5 })
      assert.same({ false, "ECONNREFUSED", "port_unreachable", address:format(2, 2) }, { r.ok, r.error, r.icmp, r.from })
      assert.is_true(r.elapsed < 5)
      r = row[1]:udp(address:format(2, 2), 54, { reply = false, timeout = 5 })
      assert.same({ false, "ECONNREFUSED" }, { r.ok, r.error })
      r = row[1]:udp(address:format(2, 2), 54, { ttl = 1, timeout = 5 })
      assert.same({ false, "time_exceeded", address:format(1, 2) }, { r.ok, r.icmp, r.from })
    end)
  end)

  it("says that there is no way, and what is too large", function()
    local row = probe.row(2)
    probe.families(function(_, family)
      assert.equal("ENETUNREACH", row[1]:udp(family == "inet" and "192.0.2.7" or "2001:db8::7", 1).error)
    end)
    assert.has_error(function()
      row[1]:udp("10.0.1.2", 1, { send = ("x"):rep(65508) })
    end)
  end)
end)

describe("signals of the host", function()
  if why or not helper.has "timeout" then
    return it("", function()
      pending(why or "no timeout(1)")
    end)
  end

  it("end a probe that waits, and what is open is closed", function()
    local script = os.tmpname()
    local f = assert(io.open(script, "w"))
    f:write [[
      local helper = require "spec.helper"
      local a = helper.netns { lo = true }
      a.route:add { "192.0.2.0/24", dev = "lo" }
      local closed <close> = setmetatable({}, { __close = function() print "closed" io.stdout:flush() end })
      print "up" io.stdout:flush()
      local what = arg[1]
      if what == "ping" then
        a:sysctl("net.ipv4.icmp_echo_ignore_all", 1)
        a:ping("127.0.0.1", { timeout = 60 })
      elseif what == "many" then
        a:sysctl("net.ipv4.icmp_echo_ignore_all", 1)
        ns.probe.ping_many({ { from = a, to = "127.0.0.1" } }, { timeout = 60 })
      else
        a:tcp("192.0.2.1", 9, { timeout = 60 })
      end
    ]]
    f:close()
    for _, what in ipairs { "ping", "many", "tcp" } do
      local start = ns.clock()
      local out, _, status = helper.sh(("LUA_PATH='./?.lua;;' timeout -s TERM 1 build/bin/nslua %s %s"):format(script, what))
      assert.equal("up\nclosed", out)
      assert.equal(124, status)
      assert.is_true(ns.clock() - start < 10)
    end
    os.remove(script)
  end)
end)
