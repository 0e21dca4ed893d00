-- nslua ping, tcp, udp, resolve, http, trace, path-mtu; and the forms of probes for many targets that they stand on.

local cjson = require "cjson"
local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local probe = require "spec.probe_helper"
local servers = require "spec.probe_servers"

local HOST = "build/bin/nslua"
local why = probe.cannot()

local function misuse(pattern, fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  assert.matches("^spec/command_probe_spec.lua:%d+: .*" .. pattern, tostring(e))
end

describe("probes of many targets", function()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(servers.close)

  it("ask all at the same time, and tell of each reply as it comes", function()
    local row = probe.row(2)
    local events = {}
    local list = row[1]:ping({ "10.0.1.2", "fd00:1::2", { "127.0.0.1", count = 3 }, "10.9.9.9", "nowhere.invalid." }, { count = 2, interval = "10ms",
      timeout = 5, each = function(e, i)
        events[i] = events[i] or {}
        table.insert(events[i], e)
      end })
    assert.same({ 2, 2, 3, 0, 0 }, { list[1].received, list[2].received, list[3].received, list[4].received, list[5].received })
    assert.same({ "10.0.1.2", "fd00:1::2", "127.0.0.1", "10.9.9.9" }, { list[1].to, list[2].to, list[3].to, list[4].to })
    assert.same({ 2, 2, 3, 2 }, { #events[1], #events[2], #events[3], #events[4] })
    assert.same({ 1, 2 }, { events[2][1].seq, events[2][2].seq })
    assert.is_true(events[1][1].rtt > 0 and events[1][1].rtt == list[1].replies[1].rtt and events[1][1].ttl == 64)
    assert.same({ "ENETUNREACH", 1.0 }, { events[4][1].error, list[4].loss })
    assert.same({ 1, 0 }, { list[5].loss, list[5].sent })
    assert.is_truthy(list[5].error and list[5].message:find "no address is known")
    assert.is_nil(events[5])
  end)

  it("tell that one target is lost, and what an ICMP error says", function()
    local row = probe.row(3)
    row[2]:sysctl("net.ipv4.conf.all.forwarding", 1)
    row[3]:sysctl("net.ipv4.icmp_echo_ignore_all", 1)
    row[1].route:add { "10.99.0.0/16", via = "10.0.1.2" }
    row[2].route:add { "10.99.0.0/16", type = "unreachable" }
    local seen = {}
    local r = row[1]:ping("10.0.2.2", { timeout = 0.05, each = function(e)
      seen[#seen + 1] = e
    end })
    assert.same({ { seq = 1, lost = true } }, seen)
    assert.same({ 1, 0, 1.0 }, { r.sent, r.received, r.loss })
    r = row[1]:ping({ "10.99.0.1" }, { timeout = 5 })[1]
    assert.same({ 0, "EHOSTUNREACH", "host_unreachable", "10.0.1.2" }, { r.received, r.errors[1].error, r.errors[1].icmp, r.errors[1].from })
  end)

  it("have one form for tcp, udp, http, resolve, trace and path_mtu", function()
    local row = probe.row(2)
    servers.tcp(row[2], "10.0.1.2", 80, function(connection)
      if core.fd.poll({ { connection, "r" } }) and connection:read() then
        connection:write "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
      end
    end)
    servers.udp(row[2], "10.0.1.2", 7, function(data)
      return "<" .. data .. ">"
    end)
    local t = row[1]:tcp({ { "10.0.1.2", 80 }, { "10.0.1.2", 81 }, { "fd00:1::2", 82 }, { "nowhere.invalid.", 1 } }, { timeout = 5 })
    assert.same({ true, false, false, false }, { t[1].ok, t[2].ok, t[3].ok, t[4].ok })
    assert.same({ "ECONNREFUSED", "ECONNREFUSED", 82, "nowhere.invalid." }, { t[2].error, t[3].error, t[3].port, t[4].to })
    local u = row[1]:udp({ { "10.0.1.2", 7, send = "a" }, { "10.0.1.2", 7, send = "b" }, { "10.0.1.2", 8 } }, { timeout = 5 })
    assert.same({ "<a>", "<b>", "ECONNREFUSED", "port_unreachable" }, { u[1].reply, u[2].reply, u[3].error, u[3].icmp })
    local h = row[1]:http({ "http://10.0.1.2/", "http://10.0.1.2:81/" }, { timeout = 5 })
    assert.same({ 200, "hi", "ECONNREFUSED" }, { h[1].status, h[1].body, h[2].error })
    local w = row[1]:trace { "10.0.1.2", "fd00:1::2", { "127.0.0.1", max = 1 } }
    assert.same({ true, true, true }, { w[1].reached, w[2].reached, w[3].reached })
    local m = row[1]:path_mtu { "10.0.1.2", "fd00:1::2" }
    assert.same({ 1500, 1500 }, { m[1].mtu, m[2].mtu })
    local d = row[1]:resolve({ "a", { "b", type = "AAAA" } }, { server = "10.0.1.2", timeout = 5 })
    assert.same({ "ECONNREFUSED", "ECONNREFUSED" }, { d[1].error, d[2].error })
    assert.same({}, row[1]:tcp {})
    local many, refused = {}, 0
    for i = 1, 700 do -- more than are asked at the same time
      many[i] = { i % 2 == 0 and "10.0.1.2" or "fd00:1::2", 1000 + i }
    end
    for i, r in ipairs(row[1]:tcp(many, { timeout = 30 })) do
      refused = refused + ((r.error == "ECONNREFUSED" and r.dport == 1000 + i) and 1 or 0)
    end
    assert.equal(700, refused)
  end)

  it("say at the caller's line what is wrong with a list", function()
    local row = probe.row(2)
    misuse("port must be 1%-65535", row[1].tcp, row[1], { { "10.0.0.1" } })
    misuse("%[2%] has no target", row[1].ping, row[1], { "10.0.0.1", {} })
    misuse("%[1%] has more than a target", row[1].ping, row[1], { { "10.0.0.1", 2 } })
    misuse("unknown key 'tmeout'", row[1].udp, row[1], { { "10.0.0.1", 1, tmeout = 1 } })
    misuse("each must be a function", row[1].ping, row[1], "10.0.0.1", { each = 1 })
  end)

  it("run beside those of other namespaces; an error of one closes the sockets of all", function()
    local row = probe.row(2)
    local fd <close> = servers.bound(row[2], "10.0.1.2", "stream", 9) -- nothing is ever said there
    local ended = {}
    local values = ns.probe.together({ function()
      return row[1]:tcp("10.0.1.2", 9, { receive = 1, timeout = 0.2 }).error
    end, function()
      return row[2]:ping("10.0.1.1", { timeout = 5, each = function() end }).received
    end }, function(i)
      ended[#ended + 1] = i
    end)
    assert.same({ "ETIMEDOUT", 1 }, values)
    assert.same({ 2, 1 }, ended)
    local before = helper.fd_count()
    local ok, e = pcall(ns.probe.together, { function()
      return row[1]:tcp("10.0.1.2", 9, { receive = 1, timeout = 60 })
    end, function()
      row[1]:udp("10.0.1.2", 1, { timeout = 5 })
      error { "mine" }
    end })
    assert.is_false(ok)
    assert.same({ "mine" }, e)
    assert.equal(before, helper.fd_count())
    assert.is_true(fd:isopen())
  end)
end)

describe("the commands of probes", function()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  local row
  before_each(function()
    row = probe.row(2)
  end)
  after_each(servers.close)

  -- Run in the first namespace: "." is it.
  local function nslua(words, status)
    local r = row[1]:run { HOST, table.unpack(words) }
    assert.equal(status, r.status, r.stdout .. r.stderr)
    return r.stdout, r.stderr
  end

  it("ping: several at once, a table, JSON, the status", function()
    local out = nslua({ "ping", "-c2", "-i", "0.01", "-W5", ".", "10.0.1.2", "fd00:1::2" }, 0)
    assert.matches("10%.0%.1%.2 +10%.0%.1%.2 +2 +2 +0%% +[%d.]+ ms", out)
    assert.matches("fd00:1::2 +fd00:1::2 +2 +2 +0%% +[%d.]+ ms", out)
    out = nslua({ "ping", "-v", "-c1", "-W5", ".", "10.0.1.2", "10.9.9.9" }, 1)
    assert.matches("10%.0%.1%.2: seq 1 ttl 64 [%d.]+ ms\n", out)
    assert.matches("10%.9%.9%.9: seq 1 ENETUNREACH: no route in this namespace leads there\n", out)
    local list = cjson.decode((nslua({ "ping", "-j", "-c1", "-W5", ".", "10.0.1.2", "10.9.9.9" }, 1)))
    assert.same({ 1, "10.0.1.2", ".", 0 }, { list[1].received, list[1].target, list[1].netns, list[2].received })
    assert.equal(list[1].rtt.min, list[1].replies[1].rtt)
    assert.equal("ENETUNREACH", list[2].errors[1].error)
    out = nslua({ "ping", "-4", "-c1", "-W5", ".", "." }, 0) -- as a target, too
    assert.matches("\n%. +127%.0%.0%.1 +1 +1 +0%%[^\n]+\n$", out)
  end)

  it("ping: Ctrl-C prints what there is", function()
    local p = row[1]:spawn { HOST, "ping", "-v", "-c0", "-i", "0.01", "-W", "5", ".", "10.0.1.2", stdout = "pipe" }
    assert.matches("seq 1 ", p.stdout:read "l")
    p:kill "INT"
    local rest = p.stdout:read "a"
    local sent, received = rest:match "\n10%.0%.1%.2 +10%.0%.1%.2 +(%d+) +(%d+) +0%% "
    assert.is_true(sent ~= nil and sent == received, rest)
    assert.equal(0, p:wait(10).status)
  end)

  it("tcp and udp: who refuses, what is open, what was said", function()
    servers.tcp(row[2], "10.0.1.2", 25, function(connection)
      connection:write "220 \27[31mhi\255\r\n"
    end)
    local out = nslua({ "tcp", ".", "10.0.1.2:25,26", "[fd00:1::2]:80" }, 1)
    assert.matches("10%.0%.1%.2 +10%.0%.1%.2 +25 +open", out)
    assert.matches("26 +refused +[%d.]+ ms +ECONNREFUSED: the host is there, and nothing listens", out)
    assert.matches("fd00:1::2 +fd00:1::2 +80 +refused", out)
    out = nslua({ "tcp", "-o", "-r", "4096", ".", "10.0.1.2:20-30" }, 0)
    assert.matches('\n10%.0%.1%.2 +10%.0%.1%.2 +25 +open .*"220 \\x1b%[31mhi\\xff\\r\\n"\n$', out)
    servers.udp(row[2], "10.0.1.2", 7, function(data)
      return data:upper()
    end)
    out = nslua({ "udp", "-s", "a\\x41\\n", "-W5", ".", "10.0.1.2:7,8" }, 1)
    assert.matches('7 +answered +[%d.]+ ms "AA\\n"', out)
    assert.matches("8 +refused +ECONNREFUSED: 10%.0%.1%.2 says port unreachable: nothing has that port", out)
    nslua({ "udp", "-n", "-W", "0.05", ".", "10.0.1.2:7" }, 0)
  end)

  it("http, trace and path-mtu", function()
    servers.tcp(row[2], "10.0.1.2", 80, function(connection)
      if core.fd.poll({ { connection, "r" } }) and connection:read() then
        connection:write "HTTP/1.1 404 Not\27 here\r\nContent-Length: 2\r\n\r\nno"
      end
    end)
    local out = nslua({ "http", ".", "http://10.0.1.2/", "10.0.1.2:81" }, 1)
    assert.matches("404 Not\\x1b here +2 ", out)
    assert.matches("no answer .*ECONNREFUSED", out)
    assert.equal("no", (nslua({ "http", "-b", ".", "http://10.0.1.2/" }, 1)))
    out = nslua({ "trace", ".", "10.0.1.2", "10.9.9.9" }, 1)
    assert.matches("^from %. to 10%.0%.1%.2\n 1  10%.0%.1%.2  [%d.]+ ms\n\nfrom %. to 10%.9%.9%.9\n.*ENETUNREACH", out)
    local list = cjson.decode((nslua({ "trace", "-j", ".", "10.0.1.2" }, 0)))
    assert.equal("10.0.1.2", list[1].hops[1].address)
    out = nslua({ "path-mtu", ".", "10.0.1.2", "fd00:1::2" }, 0)
    assert.matches("10%.0%.1%.2 +10%.0%.1%.2 +1500", out)
    assert.matches("fd00:1::2 +fd00:1::2 +1500", out)
  end)

  it("resolve: the hosts file, the server, what it says", function()
    servers.udp(row[2], "10.0.1.2", 53, function(data) -- every name is 192.0.2.7
      local _, stop = data:find("\0", 13, true)
      local question = data:sub(13, stop + 4)
      local a = question:sub(-4, -3) == "\0\1"
      return data:sub(1, 2) .. "\x81\x80\0\1" .. (a and "\0\1" or "\0\0") .. "\0\0\0\0" .. question
        .. (a and "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\192\0\2\7" or "")
    end)
    local out = nslua({ "resolve", "-S", "10.0.1.2", ".", "example.org." }, 0)
    assert.matches("example%.org%. +A +192%.0%.2%.7 +60 +10%.0%.1%.2", out)
    assert.matches("example%.org%. +AAAA +10%.0%.1%.2 +.*the name has no such record", out)
    out = nslua({ "resolve", ".", "localhost" }, 0)
    assert.matches("localhost +A +127%.0%.0%.1 +hosts file", out)
    local _, err = nslua({ "resolve", "-t", "AAA", ".", "x" }, 2)
    assert.matches("unknown type 'AAA' %(did you mean 'A", err)
  end)

  it("take the names of other namespaces and containers, and several places at once", function()
    local pid = row[2]:spawn({ "sleep", "600" }).pid
    local from = row[1]:spawn({ "sleep", "600" }).pid
    local function host(words, status)
      local userns = rawget(row[1], "userns")
      local r = ns.run { HOST, join = userns and { user = userns } or nil, table.unpack(words) }
      assert.equal(status, r.status, r.stdout .. r.stderr)
      return r.stdout
    end
    local out = host({ "ping", "-c1", "-W5", ("pid:%d,pid:%d"):format(from, pid), ("pid:%d"):format(pid) }, 0)
    assert.matches(("pid:%d +pid:%d +10%%.0%%.1%%.2 +1 +1 +0%%%%"):format(from, pid), out)
    assert.matches(("pid:%d +pid:%d +127%%.0%%.0%%.1 +1 +1 +0%%%%"):format(pid, pid), out)
    out = host({ "ping", "-4", "-6", "-c1", "-W5", ("pid:%d"):format(from), ("pid:%d"):format(pid) }, 0)
    assert.matches("10%.0%.1%.2 .*fd00:1::2 ", out)
  end)

  it("teach who holds them wrong, with status 2", function()
    for _, each in ipairs {
      { { "ping" }, "where%? .* nslua ping web" },
      { { "ping", "10.0.1.2" }, "no container or namespace; the first word says from where" },
      { { "ping", "." }, "whom%?" },
      { { "ping", "-c", "x", ".", "a" }, "invalid argument of %-%-count: 'x'" },
      { { "ping", "-4", ".", "fd00::1" }, "no address of IPv4" },
      { { "tcp", ".", "db" }, "a target and its port" },
      { { "tcp", ".", "fd00::2:80" }, "%[fd00::2%]:80" },
      { { "tcp", ".", "db:0" }, "a port is a number" },
      { { "tcp", "-s", "\\q", ".", "db:1" }, "\\q is not understood" },
      { { "http", ".", "https://x/" }, "nslua enter web curl" },
      { { "http", "-H", "x", ".", "http://x/" }, "name: value" },
      { { "path-mtu", "nslua-no-such-one", "a" }, "nslua%-no%-such%-one" },
    } do
      local out, err = nslua(each[1], 2)
      assert.equal("", out)
      assert.matches(each[2], err)
    end
  end)
end)
