-- Services that are here already: echo, sink, http, dns, dhcp. What they answer to programs of others, to many at once, and to garbage.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local packet = core.packet

describe("serve", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local lab

  setup(function()
    lab = ns.lab "h1 -- r1 -- h2"
  end)
  teardown(function()
    lab:close()
  end)
  after_each(helper.close_held)

  local function serve(node, name, options)
    return helper.held(lab[node]:serve(name, options))
  end

  -- A connection to a node, whose reads wait.
  local function connect(from, to, port)
    local fd = lab[from]:socket("inet", "stream")
    assert(packet.connect(fd, core.inet.bytes(lab[to]:address_of(from)), port))
    return helper.held(fd)
  end

  local function log_has(s, text)
    ns.eventually(function()
      return s:log():find(text, 1, true)
    end, 20)
  end

  describe("echo", function()
    it("gives back what comes by TCP and UDP in both families, from the address that was asked", function()
      serve("r1", "echo")
      for _, family in ipairs { "inet", "inet6" } do
        assert.equal("to and fro", lab.h1:tcp("r1", 7, { send = "to and fro", receive = 10, family = family }).received)
        -- the router's address at the far side: its answer would by itself come from the near one
        assert.equal("over", lab.h2:udp(lab.r1:address_of("h1", family), 7, { send = "over" }).reply)
      end
    end)

    it("serves hundreds at the same time, and goes on when they are gone", function()
      local s = serve("h2", "echo")
      local clients = {}
      for i = 1, 300 do
        clients[i] = connect("h1", "h2", 7)
      end
      for i, fd in ipairs(clients) do
        assert(packet.send(fd, ("client %d"):format(i)))
      end
      for i, fd in ipairs(clients) do
        assert.equal(("client %d"):format(i), fd:read(100))
        fd:close()
      end
      assert.equal("x", lab.h1:tcp("h2", 7, { send = "x", receive = 1 }).received)
      assert.equal("running", s.state)
    end)

    it("gives back all of a large text whose sender does not read at first", function()
      serve("h2", "echo")
      local fd = connect("h1", "h2", 7)
      local sent, got = 0, 0
      local text = ("0123456789abcdef"):rep(4096)
      while sent < 1 << 25 do -- until nobody takes more
        local n, _, errno = packet.send(fd, text)
        if not n then
          assert.equal(core.errno.EAGAIN, errno)
          if not core.fd.poll({ { fd, "w" } }, 0.1) then
            break
          end
        end
        sent = sent + (n or 0)
      end
      while got < sent do
        got = got + #fd:read(1 << 20)
      end
      assert.equal(sent, got)
    end)
  end)

  it("sink counts what comes and says nothing", function()
    local s = serve("h2", "sink", { port = 9000 })
    local fd = connect("h1", "h2", 9000)
    local n = packet.send(fd, ("x"):rep(100000))
    fd:close()
    log_has(s, ("10.0.1.1 %d bytes\n"):format(n))
    assert.equal("ETIMEDOUT", lab.h1:udp("h2", 9000, { timeout = 0.02 }).error)
  end)

  describe("http", function()
    it("gives files, what functions say, and errors their status", function()
      local s = serve("h2", "http", { files = {
        ["/"] = "hello\n",
        ["/a b.json"] = "{}",
        ["/moved"] = { status = 302, headers = { Location = "/" } },
        ["/form"] = function(request)
          return ("%s %s %s %s"):format(request.method, request.query, request.headers["content-type"], request.body)
        end,
        ["/bad"] = function()
          error "no such table"
        end,
      } })
      local function get(path, options)
        return lab.h1:http("http://" .. lab.h2:address_of "h1" .. path, options)
      end
      assert.equal("hello\n", get("/").body)
      assert.equal("hello\n", lab.h1:http("http://[" .. lab.h2:address_of("h1", "inet6") .. "]/").body)
      assert.equal("application/json", get("/a%20b.json").headers["content-type"])
      local moved = get("/moved")
      assert.equal(302, moved.status)
      assert.equal("/", moved.headers.location)
      assert.equal(404, get("/none").status)
      local bad = get("/bad")
      assert.equal(500, bad.status)
      assert.matches("no such table", bad.body)
      local fd = connect("h1", "h2", 80)
      assert(packet.send(fd, "POST /form?x=1 HTTP/1.1\r\nHost: h2\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\nab"))
      assert(packet.send(fd, "cdHEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\n\r\n")) -- two more before the first is answered
      local text = ""
      repeat
        local more = fd:read()
        text = text .. more
      until more == ""
      local first, second, third = text:match "^(.-POST x=1 text/x abcd)(HTTP.-\r\n\r\n)(HTTP.*)$"
      assert.matches("^HTTP/1.1 200 OK\r\n", first)
      assert.matches("Content%-Length: 6\r\n", second)
      assert.matches("close\r\n\r\nhello\n$", third)
      log_has(s, "10.0.1.1 POST /form 200\n")
    end)

    it("answers programs of others", function()
      if not helper.has "busybox" then
        return pending "no busybox"
      end
      serve("h2", "http")
      assert.equal("h2", lab.h1:output { "busybox", "wget", "-q", "-O-", "http://h2/" })
    end)

    it("gives the files of a directory, and none beside it", function()
      local dir = os.tmpname()
      helper.sh(("rm %s; mkdir -p %s/site/sub; cd %s; echo secret > secret"):format(dir, dir, dir)
        .. "; echo index > site/index.html; echo sub > site/sub/a.css; mkfifo site/pipe")
      serve("h2", "http", { root = dir .. "/site", files = { ["/over"] = "over" } })
      local function get(path)
        local fd = connect("h1", "h2", 80)
        packet.send(fd, ("GET %s HTTP/1.0\r\n\r\n"):format(path))
        local text = ""
        repeat
          local more = fd:read()
          text = text .. more
        until more == ""
        return text:match "^HTTP/1.1 (%d+)", text:match "Content%-Type: (%S+)", text:match "\r\n\r\n(.*)$", text
      end
      assert.same({ "200", "text/html", "index\n" }, { table.unpack({ get "/" }, 1, 3) })
      assert.same({ "200", "text/css", "sub\n" }, { table.unpack({ get "/sub/a.css" }, 1, 3) })
      assert.equal("over", (select(3, get "/over")))
      assert.matches("\r\nLocation: /sub/\r\n", (select(4, get "/sub")))
      for path, status in pairs { ["/../secret"] = "403", ["/sub/../../secret"] = "403", ["/%2e%2e/secret"] = "403", ["/none"] = "404",
        ["/pipe"] = "404", ["/sub/"] = "404", ["/%00"] = "403" } do
        assert.equal(status, (get(path)), path)
      end
      helper.sh("rm -r " .. dir)
      helper.fails("ENOENT", lab.h1.serve, lab.h1, "http", { root = dir })
    end)

    it("says go on to who asks before the body", function()
      serve("h2", "http", { handler = function(request)
        return request.body
      end })
      local fd = connect("h1", "h2", 80)
      packet.send(fd, "PUT /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
      assert.equal("HTTP/1.1 100 Continue\r\n\r\n", fd:read())
      packet.send(fd, "body")
      assert.matches("\r\n\r\nbody$", fd:read())
    end)

    it("says what is wrong with an answer that is none, and goes on", function()
      local answers = { ["/status"] = { status = "gone" }, ["/body"] = { body = 5 }, ["/headers"] = { headers = "x" },
        ["/name"] = { headers = { ["a b"] = "x" } }, ["/odd"] = { status = 99 } }
      local s = serve("h2", "http", { handler = function(request)
        return answers[request.path] or "well"
      end })
      for path, text in pairs { ["/status"] = "status is a number as 404, not gone\n", ["/body"] = "body is text, not number\n",
        ["/headers"] = "headers are a table, not string\n", ["/name"] = "a b is no name of a header\n",
        ["/odd"] = "status is a number as 404, not 99\n", ["/"] = "well" } do
        local r = lab.h1:http("http://" .. lab.h2:address_of "h1" .. path)
        assert.equal(path == "/" and 200 or 500, r.status)
        assert.equal(text, r.body)
      end
      log_has(s, "error: body is text, not number\n")
      assert.equal(0, s.restarts)
    end)

    it("is late when it is told to, for one client and not for others", function()
      serve("h2", "http", { handler = function(request)
        return request.path
      end, delay = "50ms" })
      local start = ns.clock()
      local fds = {}
      for i = 1, 8 do
        fds[i] = connect("h1", "h2", 80)
        assert(packet.send(fds[i], ("GET /%d HTTP/1.0\r\n\r\n"):format(i)))
      end
      for i, fd in ipairs(fds) do
        assert.matches("/" .. i .. "$", fd:read())
      end
      assert.is_true(ns.clock() - start >= 0.05)
    end)

    it("takes garbage and what never ends", function()
      local s = serve("h2", "http")
      local function answer(text)
        local fd = connect("h1", "h2", 80)
        packet.send(fd, text)
        return fd:read():match "^HTTP/1.1 (%d+)"
      end
      assert.equal("400", answer "\0\1\2\3\r\n\r\n")
      assert.equal("400", answer "GET / HTTP/1.1\r\nno field\r\n\r\n")
      assert.equal("400", answer "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
      assert.equal("413", answer "PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n")
      assert.equal("501", answer "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
      assert.equal("431", answer(("GET /"):rep(10000)))
      connect("h1", "h2", 80) -- says nothing at all
      assert.equal("200", answer "GET / HTTP/1.1\r\n\r\n")
      assert.equal("running", s.state)
      assert.equal(0, s.restarts)
    end)
  end)

  describe("dns", function()
    local function ask(name, type, more)
      local options = { type = type, server = lab.h2:address_of "h1" }
      for key, value in pairs(more or {}) do
        options[key] = value
      end
      return lab.h1:resolve(name, options)
    end

    it("knows the lab's nodes, and they ask it", function()
      serve("r1", "dns", { resolv_conf = true })
      assert.same({ lab.h2:address_of() }, lab.h1:resolve("h2.lab").addresses)
      assert.same({ lab.h2:address_of(nil, "inet6") }, lab.h1:resolve("H2", { type = "AAAA" }).addresses)
      local reverse = lab.h1:resolve("2.2.0.10.in-addr.arpa", { type = "PTR" })
      assert.equal("h2.lab", reverse.answers[1].target)
      assert.equal("NXDOMAIN", lab.h1:resolve("nobody.lab").rcode)
      assert.equal("nameserver 10.0.1.254\nnameserver fd00:1::254", lab.h1:output { "cat", "/etc/resolv.conf" })
      assert.matches("^10%.0%.2%.2%s", lab.h1:output { "getent", "ahostsv4", "h2.lab" }) -- it is not in /etc/hosts
    end)

    it("answers programs of others", function()
      if not helper.has "busybox" then
        return pending "no busybox"
      end
      serve("h2", "dns", { zone = { ["www.example"] = { "192.0.2.7", "2001:db8::7" } } })
      local out = lab.h1:output { "busybox", "nslookup", "www.example", lab.h2:address_of "h1" }
      assert.matches("Address: 192.0.2.7\n", out)
      assert.matches("Address: 2001:db8::7", out)
    end)

    it("has a zone of its own: types, aliases, all others there", function()
      serve("h2", "dns", { ttl = 5, zone = { ["web.example"] = "192.0.2.1", ["www.example"] = { CNAME = "web.example" },
        ["example"] = { MX = "10 mail.example", TXT = { "v=spf1 -all", "two" }, NS = "ns.example", SRV = "1 2 5060 sip.example" },
        ["*.wild.example"] = "192.0.2.9", ["loop.example"] = { CNAME = "loop.example" } } })
      local r = ask("www.example", "A")
      assert.same({ "192.0.2.1" }, r.addresses)
      assert.equal("web.example", r.answers[1].target)
      assert.equal(5, r.answers[1].ttl)
      assert.is_true(r.authoritative)
      assert.equal(10, ask("example", "MX").answers[1].preference)
      assert.equal("two", ask("example", "TXT").answers[2].text)
      assert.equal(5060, ask("example", "SRV").answers[1].port)
      assert.same({ "192.0.2.9" }, ask("a.b.wild.example", "A").addresses)
      local empty = ask("wild.example", "A") -- there are names below it
      assert.equal("NOERROR", empty.rcode)
      assert.same({}, empty.addresses)
      assert.equal("NOERROR", ask("web.example", "AAAA").rcode)
      assert.equal("NXDOMAIN", ask("nobody.example", "A").rcode)
      assert.equal("SERVFAIL", ask("loop.example", "A", { timeout = 2 }).rcode)
    end)

    it("comes by TCP where UDP is too small, or is told to be", function()
      serve("h2", "dns", { zone = { big = { TXT = ("x"):rep(4000) } } })
      local r = ask("big", "TXT")
      assert.is_true(r.tcp)
      assert.equal(("x"):rep(4000), r.answers[1].text)
      helper.close_held()
      serve("h2", "dns", { truncate = true, zone = { small = "192.0.2.1" } })
      r = ask("small", "A")
      assert.is_true(r.tcp)
      assert.same({ "192.0.2.1" }, r.addresses)
    end)

    it("fails as it is told to", function()
      serve("h2", "dns", { servfail = { "bad" }, drop = { "lost" }, delay = "30ms", zone = { bad = "192.0.2.1", good = "192.0.2.2" } })
      assert.equal("SERVFAIL", ask("bad", "A").rcode)
      local good = ask("good", "A")
      assert.same({ "192.0.2.2" }, good.addresses)
      assert.is_true(good.elapsed >= 0.03)
      assert.is_true(ask("lost", "A", { timeout = 0.05 }).error ~= nil)
    end)

    it("takes garbage", function()
      local s = serve("h2", "dns", { zone = { ok = "192.0.2.1" } })
      local fd = helper.held(lab.h1:socket("inet", "dgram"))
      local server = core.inet.bytes(lab.h2:address_of "h1")
      local query = string.pack(">I2I2I2I2I2I2", 7, 0x100, 1, 0, 0, 0)
      for _, text in ipairs { "", "x", ("\0"):rep(11), ("\xff"):rep(300), query, query .. "\xc0\x0c\0\1\0\1", query .. "\63abc",
        query .. ("\1a"):rep(200), string.pack(">I2I2I2I2I2I2", 7, 0x8100, 1, 0, 0, 0) .. "\2ok\0\0\1\0\1" } do
        packet.send(fd, text, server, 53)
      end
      packet.send(fd, query .. "\2ok\0\0\1\0\1", server, 53)
      local last
      ns.eventually(function()
        core.fd.poll({ { fd, "r" } }, 1)
        last = packet.receive(fd).data
        return last:sub(-4) == "\192\0\2\1"
      end, 20)
      assert.equal(0x8580, string.unpack(">I2", last, 3)) -- an answer, authoritative, as was asked
      local stream = connect("h1", "h2", 53)
      packet.send(stream, "\0\1x\0\0" .. string.pack(">s2", query .. "\2ok\0\0\1\0\1"))
      assert.equal("\192\0\2\1", stream:read():sub(-4))
      assert.equal(0, s.restarts)
      assert.equal("running", s.state)
    end)
  end)

  describe("dhcp", function()
    local script = [[
#!/bin/sh
[ "$1" = bound ] && env | grep -E '^(ip|subnet|router|dns|lease|serverid|domain)=' | sort
exit 0
]]
    local name

    setup(function()
      name = os.tmpname()
      local f = assert(io.open(name, "w"))
      f:write(script)
      f:close()
      helper.sh("chmod 755 " .. name)
    end)
    teardown(function()
      os.remove(name)
    end)

    local function lease(node, ...)
      local r = lab[node]:run { timeout = 60, "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", name, ... }
      return r.stdout, r
    end

    it("leases addresses to a client, with what it needs", function()
      if not helper.has "busybox" then
        return pending "no busybox"
      end
      local s = serve("r1", "dhcp", { link = "h1", dns = { "10.0.1.254", "192.0.2.53" }, domain = "lab", lease = 300 })
      assert.equal("dns=10.0.1.254 192.0.2.53\ndomain=lab\nip=10.0.1.128\nlease=300\nrouter=10.0.1.254\nserverid=10.0.1.254\nsubnet=255.255.255.0\n",
        (lease "h1"))
      assert.matches("ip=10.0.1.128\n", (lease "h1")) -- the same again
      assert.truthy(s:log():find("offer 10.0.1.128 02:00:00:00:01:01\nack 10.0.1.128 02:00:00:00:01:01\n", 1, true), s:log())
    end)

    it("gives each client another address, as it wishes where that is free, to the end of the pool", function()
      if not helper.has "busybox" then
        return pending "no busybox"
      end
      serve("r1", "dhcp", { link = "h1", range = { "10.0.1.20", "10.0.1.21" }, router = false })
      local function as(id, ...)
        return (lease("h1", "-x", "0x3d:" .. id, ...)):match "ip=(%S+)"
      end
      assert.equal("10.0.1.21", as("00aa", "-r", "10.0.1.21"))
      assert.equal("10.0.1.20", as("00bb", "-r", "10.0.1.21"))
      assert.equal("10.0.1.21", as "00aa")
      assert.is_nil(as("00cc", "-t", "1", "-T", "1"))
    end)

    -- A client of our own, for what udhcpc does not do. It has an address, so that it can be answered at that too.
    local function client()
      local fd = helper.held(lab.h1:socket("inet", "dgram"))
      assert(packet.set(fd, "broadcast", 1))
      assert(packet.bind(fd, "\0\0\0\0", 68))
      -- The type and address of what is answered, or nil
      return function(type, who, ciaddr, options, answered)
        packet.send(fd, "\1\1\6\0xid!\0\0\0\0" .. ciaddr .. ("\0"):rep(12) .. who .. ("\0"):rep(10 + 192) .. "\x63\x82\x53\x63\53\1"
          .. string.char(type) .. (options or "") .. "\255", core.inet.bytes(lab.r1:address_of "h1"), 67)
        if answered ~= false then
          assert(core.fd.poll({ { fd, "r" } }, 20))
          local got = packet.receive(fd).data
          assert.equal("\2\1\6\0xid!", got:sub(1, 8))
          return got:byte(243), core.inet.text(got:sub(17, 20))
        end
      end
    end

    it("leases, renews, refuses, takes back, and passes over what is taken", function()
      local s = serve("r1", "dhcp", { link = "h1", range = { "10.0.1.20", "10.0.1.21" } })
      local ask = client()
      local DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = 1, 2, 3, 4, 5, 6, 7, 8
      local NONE, a, b, me, us = "\0\0\0\0", "client", "tneilc", "\10\0\1\1", "\54\4\10\0\1\254"
      local function is(type, address, ...)
        assert.same({ type, address }, { ... })
      end
      is(OFFER, "10.0.1.20", ask(DISCOVER, a, NONE))
      is(ACK, "10.0.1.20", ask(REQUEST, a, NONE, us .. "\50\4\10\0\1\20"))
      is(OFFER, "10.0.1.21", ask(DISCOVER, b, NONE))
      is(NAK, "0.0.0.0", ask(REQUEST, b, NONE, us .. "\50\4\10\0\1\20")) -- it is a's
      is(NAK, "0.0.0.0", ask(REQUEST, b, me)) -- it has an address that is not given here
      ask(RELEASE, a, NONE, us, false)
      ask(REQUEST, b, NONE, "\54\4\10\0\1\99\50\4\10\0\1\21", false) -- b takes another's, and lets go of its own
      is(OFFER, "10.0.1.20", ask(DISCOVER, b, NONE))
      ask(DECLINE, b, NONE, us .. "\50\4\10\0\1\20", false)
      is(OFFER, "10.0.1.21", ask(DISCOVER, b, NONE)) -- .20 is somebody's who does not say so
      is(ACK, "0.0.0.0", ask(INFORM, a, me))
      log_has(s, "release 63:6c:69:65:6e:74\n")
      log_has(s, "decline 10.0.1.20 74:6e:65:69:6c:63\n")
    end)

    it("takes garbage", function()
      local s = serve("r1", "dhcp", { link = "h1" })
      local fd = helper.held(lab.h1:socket("inet", "dgram"))
      local head = "\1\1\6\0" .. ("\0"):rep(232) .. "\x63\x82\x53\x63"
      for _, text in ipairs { "", "x", ("\xff"):rep(600), head, head .. "\53\1", head .. "\53\200\1", head .. "\53\1\3\50\1\1\255",
        head .. "\53\1\9\255",
        head:gsub("^\1\1\6", "\1\1\xff") .. "\53\1\1\255" } do
        packet.send(fd, text, core.inet.bytes(lab.r1:address_of "h1"), 67)
      end
      log_has(s, "offer ") -- the last is one, of a client with a long address
      assert.equal(0, s.restarts)
    end)
  end)

  it("stands in the text of a lab, for who builds it and who opens it", function()
    local other = helper.held(ns.lab "h1 -- r1{serve=dns} -- h2{serve=http, serve=echo:7000}")
    assert.equal("h2\n", other.h1:http("http://h2.lab/").body)
    assert.equal("x", other.h1:tcp("h2", 7000, { send = "x", receive = 1 }).received)
    log_has(other.h2.services.http, "10.0.1.1 GET / 200\n")
    local opened = helper.held(ns.lab.open(other.name))
    assert.equal("h2\n", opened.h1:http("http://h2.lab/").body)
    assert.matches("^10%.0%.2%.2%s", opened.h1:output { "getent", "ahostsv4", "h2.lab" })
    local ok, e = pcall(ns.lab, { nodes = { { "h1", serve = "http" }, { "h2", serve = { "http", "http" } } }, links = { { "h1", "h2" } } })
    assert.is_false(ok)
    assert.is_true(ns.error.is(e, "EADDRINUSE"), tostring(e)) -- and the lab is gone
  end)

  it("says at once what it cannot do", function()
    serve("h2", "http")
    helper.fails("EADDRINUSE", lab.h2.serve, lab.h2, "http")
    local function says(text, ...)
      local ok, e = pcall(lab.h2.serve, lab.h2, ...)
      assert.is_false(ok)
      assert.truthy(tostring(e):find(text, 1, true), tostring(e))
      assert.matches("lab_serve_spec.lua:%d+: ", tostring(e))
    end
    says("unknown service 'htpp' (did you mean 'http'?)", "htpp")
    says("unknown key 'prot' (did you mean 'port'?)", "echo", { prot = 7 })
    says('files["/x"]: status is a number as 404, not gone', "http", { files = { ["/x"] = { status = "gone" } } })
    says('files["/x"]: body is text, not number', "http", { files = { ["/x"] = { body = 5 } } })
    says("lease is 1 to 4294967295 seconds, got 0", "dhcp", { lease = 0 })
    says("lease is 1 to 4294967295 seconds, got 8589934592", "dhcp", { lease = 1 << 33 })
    says('files: index.html is no path: it begins with "/"', "http", { files = { ["index.html"] = "x" } })
    says('a: "10.0.0" is no address', "dns", { zone = { a = "10.0.0" } })
    says("a: unknown type 'AAA' (did you mean 'AAAA'?)", "dns", { zone = { a = { AAA = "::1" } } })
    says("link: unknown device or neighbour 'h3'", "dhcp", { link = "h3" })
    says("is no range of the link's subnet", "dhcp", { range = { "10.0.9.1", "10.0.9.9" } })
  end)

  it("has its port again after its process was killed, and nobody is refused meanwhile", function()
    local s = serve("h2", "http", { backoff = "20ms" })
    assert.equal(200, lab.h1:http("http://" .. lab.h2:address_of "h1" .. "/").status)
    s:kill "KILL"
    assert.equal(200, lab.h1:http("http://" .. lab.h2:address_of "h1" .. "/").status) -- it waits for the next process
    assert.equal(1, s.restarts)
  end)
end)
