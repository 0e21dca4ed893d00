-- a:resolve against servers that are honest, slow, wrong and hostile; and messages of DNS as such.

local helper = require "spec.helper"
local probe = require "spec.probe_helper"
local rtnl = require "spec.rtnl_helper"
local servers = require "spec.probe_servers"
local dns = require "nslua.inspect.dns"
local etc = require "nslua.inspect.etc"

local T = dns.types

-- A record; its name is that of the question, by a pointer, where none is given.
local function record(type, data, name, ttl)
  return (name and dns.encode_name(name) or "\xc0\x0c") .. string.pack(">I2I2I4s2", type, 1, ttl or 60, data)
end

-- An answer to a query: counts of sections, and their records.
local function answer(query, flags, records, counts)
  local name = dns.encode_name(dns.decode(query).questions[1].name)
  local question = query:sub(13, 16 + #name)
  counts = counts or { #records, 0, 0 }
  return query:sub(1, 2) .. string.pack(">I2I2I2I2I2", flags, 1, table.unpack(counts)) .. question .. table.concat(records)
end

local function name_of(query)
  local q = dns.decode(query).questions[1]
  return q.name, q.type
end

describe("a:resolve", function()
  local why = probe.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(servers.close)

  local OK, NXDOMAIN = 0x8580, 0x8583

  -- What the servers of these tests know.
  local function zone(query)
    local name, type = name_of(query)
    name = name:lower()
    if name == "silent.example" then
      return nil
    elseif name == "www.example" and type == "A" then
      return answer(query, OK, { record(T.A, "\10\0\0\7"), record(T.A, "\10\0\0\8") })
    elseif name == "www.example" and type == "AAAA" then
      return answer(query, OK, { record(T.AAAA, "\xfd" .. ("\0"):rep(14) .. "\7") })
    elseif name == "alias.example" then
      return answer(query, OK, { record(T.CNAME, "\3www\xc0\x12"), record(T.A, "\10\0\0\7", "www.example", 5) })
    elseif name == "mail.example" and type == "MX" then
      return answer(query, OK, { record(T.MX, "\0\10\2mx\xc0\x11") })
    elseif name == "text.example" and type == "TXT" then
      return answer(query, OK, { record(T.TXT, "\5hello\6 world") })
    elseif name == "srv.example" and type == "SRV" then
      return answer(query, OK, { record(T.SRV, string.pack(">I2I2I2", 1, 2, 80) .. dns.encode_name "www.example") })
    elseif name == "7.0.0.10.in-addr.arpa" and type == "PTR" then
      return answer(query, OK, { record(T.PTR, dns.encode_name "www.example") })
    elseif name == "large.example" then
      return answer(query, 0x8780, {})
    elseif name == "torn.example" then -- cut off in a record
      return answer(query, 0x8780, { record(T.A, "\10\0\0\7"):sub(1, 12) }, { 1, 0, 0 })
    elseif name == "old.example" and query:byte(12) == 1 then -- a server that knows no EDNS
      return answer(query, 0x8181, {})
    elseif name == "old.example" then
      return answer(query, OK, { record(T.A, "\10\0\0\9") })
    elseif name == "broken.example" then
      return query:sub(1, 2) .. "\x85\x80\0\1\0\1\0\0\0\0\xc0\x0c"
    elseif name == "sick.example" then
      return answer(query, 0x8182, {})
    end
    return answer(query, NXDOMAIN, { record(T.SOA, dns.encode_name "ns.example" .. dns.encode_name "root.example"
      .. string.pack(">I4I4I4I4I4", 1, 2, 3, 4, 5), "example") }, { 0, 1, 0 })
  end

  local function net()
    local row = probe.row(2)
    servers.udp(row[2], "10.0.1.2", 53, zone)
    servers.udp(row[2], "fd00:1::2", 53, zone)
    return row[1], row[2]
  end

  it("gets records of all kinds", function()
    local a = net()
    local function ask(name, type, server)
      local r = a:resolve(name, { type = type, server = server or "10.0.1.2", timeout = 5 })
      assert.is_true(r.ok, tostring(r.error or r.rcode))
      assert.same({ "NOERROR", server or "10.0.1.2", false }, { r.rcode, r.server, r.tcp })
      assert.is_true(r.elapsed < 5)
      return r
    end
    local r = ask "www.example."
    assert.same({ { name = "www.example", type = "A", ttl = 60, address = "10.0.0.7" },
      { name = "www.example", type = "A", ttl = 60, address = "10.0.0.8" } }, r.answers)
    assert.same({ "10.0.0.7", "10.0.0.8" }, r.addresses)
    assert.is_true(r.authoritative)
    assert.same({ "fd00::7" }, ask("www.example.", "AAAA", "fd00:1::2").addresses)
    assert.same({ "10.0.0.7", "10.0.0.8" }, ask("WWW.Example.").addresses)
    r = ask "alias.example."
    assert.same({ "CNAME", "www.example", "10.0.0.7" }, { r.answers[1].type, r.answers[1].target, r.addresses[1] })
    assert.same({ 10, "mx.example" }, { ask("mail.example.", "MX").answers[1].preference, ask("mail.example.", "MX").answers[1].target })
    assert.equal("hello world", ask("text.example.", "TXT").answers[1].text)
    r = ask("srv.example.", "SRV").answers[1]
    assert.same({ 1, 2, 80, "www.example" }, { r.priority, r.weight, r.port, r.target })
    assert.equal("www.example", ask("10.0.0.7", "PTR").answers[1].target)
    assert.same({ "10.0.0.9" }, ask("old.example.").addresses)
  end)

  it("says that there is no such name, and who does not answer", function()
    local a = net()
    local r = a:resolve("none.example.", { server = "10.0.1.2", timeout = 5 })
    assert.same({ false, "NXDOMAIN", {}, 5 }, { r.ok, r.rcode, r.answers, r.authority[1].minimum })
    r = a:resolve("sick.example.", { server = "10.0.1.2", timeout = 5 })
    assert.same({ false, "SERVFAIL" }, { r.ok, r.rcode })
    r = a:resolve("silent.example.", { server = "10.0.1.2", timeout = "100ms" })
    assert.same({ false, "ETIMEDOUT", "10.0.1.2", {} }, { r.ok, r.error, r.server, r.answers })
    assert.is_nil(r.rcode)
    r = a:resolve("www.example.", { server = "10.0.1.2", port = 54, timeout = 5 })
    assert.same({ "ECONNREFUSED", "port_unreachable", "10.0.1.2" }, { r.error, r.icmp, r.from })
    r = a:resolve("www.example.", { server = "192.0.2.1", timeout = 5 })
    assert.equal("ENETUNREACH", r.error)
    r = a:resolve("broken.example.", { server = "10.0.1.2", timeout = 5 })
    assert.same({ "EBADMSG", "a pointer in a name goes forward" }, { r.error, r.detail })
  end)

  it("goes over to TCP where an answer is cut off, or at once", function()
    local a, b = net()
    local function serve(connection)
      local size = connection:read(2)
      local query = size and #size == 2 and connection:read(string.unpack(">I2", size))
      local text = query and string.pack(">s2", answer(query, OK, { record(T.A, "\10\0\0\66") }))
      if text then
        connection:write(text:sub(1, 1)) -- in two parts
        connection:write(text:sub(2))
      end
    end
    servers.tcp(b, "10.0.1.2", 53, serve)
    for _, name in ipairs { "large.example.", "torn.example." } do
      local r = a:resolve(name, { server = "10.0.1.2", timeout = 5 })
      assert.same({ true, true, { "10.0.0.66" } }, { r.ok, r.tcp, r.addresses })
    end
    local r = a:resolve("www.example.", { server = "10.0.1.2", tcp = true, timeout = 5 })
    assert.same({ true, true, { "10.0.0.66" } }, { r.ok, r.tcp, r.addresses })
    r = a:resolve("www.example.", { server = "fd00:1::2", tcp = true, timeout = 5 })
    assert.same({ false, "ECONNREFUSED" }, { r.ok, r.error })
  end)

  it("takes no answer to something else", function()
    local row = probe.row(2)
    servers.child(servers.bound(row[2], "10.0.1.2", "dgram", 53), function(fd)
      local core = require "nslua.core"
      core.fd.poll { { fd, "r" } }
      local got = core.packet.receive(fd)
      local query = got.data
      local good = answer(query, OK, { record(T.A, "\10\0\0\1") })
      local bad = answer(query, OK, { record(T.A, "\10\6\6\6") })
      local other = dns.query(0, dns.encode_name "www.other", 1, true)
      for _, text in ipairs {
        "", "\0", string.pack(">I2", (string.unpack(">I2", bad) + 1) & 0xffff) .. bad:sub(3), -- another id
        query, -- no answer
        query:sub(1, 2) .. answer(other, OK, { record(T.A, "\10\6\6\6") }):sub(3), -- another name
        query:sub(1, 2) .. string.pack(">I2I2I2I2I2", OK, 0, 1, 0, 0) .. record(T.A, "\10\6\6\6", "www.example"), -- no question
        good } do
        core.packet.send(fd, text, got.from, got.port)
      end
    end)
    assert.same({ "10.0.0.1" }, row[1]:resolve("www.example.", { server = "10.0.1.2", timeout = 5 }).addresses)
  end)

  it("reads what resolv.conf and hosts say, and looks through the search list", function()
    local conf = etc.parse_resolv("# nameserver 1.1.1.1\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver x\n"
      .. "search a.b c\noptions timeout:1 ndots:2\n")
    assert.same({ servers = { "10.0.0.1", "fe80::1%eth0" }, search = { "a.b", "c" }, ndots = 2 }, conf)
    assert.same({ "1.1.1.1", "1.1.1.2", "1.1.1.3" }, etc.parse_resolv(("nameserver 1.1.1.1 nameserver 1.1.1.2 nameserver x nameserver 1.1.1.3 "
      .. "nameserver 1.1.1.4"):gsub(" nam", "\nnam")).servers)
    local a = net()
    local read = etc.resolv
    etc.resolv = function()
      return { servers = { "10.0.1.77", "10.0.1.2" }, search = { "a..b", ("x"):rep(64), ".", "none", "example" }, ndots = 1, path = "test" }
    end
    a:sysctl("net.ipv4.ip_local_port_range", "32768 60999")
    a.route:add { "10.0.1.77/32", type = "unreachable" }
    local ok, e = pcall(function()
      local r = a:resolve("www", { timeout = 5 })
      assert.same({ true, "www.example", "10.0.1.2" }, { r.ok, r.name, r.server })
      assert.equal("10.0.0.7", require("nslua.inspect.target").resolve(a, "test", "www", {}).address)
      assert.equal("fd00::7", require("nslua.inspect.target").resolve(a, "test", "www", { family = "inet6" }).address)
      assert.matches("NXDOMAIN", helper.fails("ENOENT", a.ping, a, "nobody"))
      etc.resolv = function()
        return { servers = {}, search = {}, ndots = 1, path = "test" }
      end
      assert.same({ "ENOENT", "no server in test" }, { a:resolve("www").error, a:resolve("www").detail })
    end)
    etc.resolv = read
    assert(ok, e)
  end)

  it("uses /etc/netns/NAME, where the namespace has a name", function()
    if not helper.is_root() then
      return pending "needs root"
    end
    local out = helper.sh(([[unshare -m --propagation private sh -e <<'END'
      mkdir -p /etc/netns; mount -t tmpfs tmpfs /etc/netns; mkdir /etc/netns/x
      echo 'nameserver 127.0.0.9' >/etc/netns/x/resolv.conf
      echo '127.0.0.8 here # nobody' >/etc/netns/x/hosts
      %s -e 'local ns = require "nslua"
        local a = ns.netns.new { lo = true }
        a.name = "x"
        local r = a:resolve("y.", { timeout = 5 })
        print(r.error, r.server, a:ping("here").address, pcall(a.ping, a, "nobody.", {}))'
END
    ]]):format(helper.lua))
    assert.matches("^ECONNREFUSED\t127.0.0.9\t127.0.0.8\tfalse\t.*ECONNREFUSED, 127.0.0.9", out)
  end)

  it("teaches what is wrong with a call, and leaves no fd", function()
    local a = net()
    local before = rtnl.fds()
    for text, arguments in pairs { ["unknown type 'AAA' (did you mean"] = { "x", { type = "AAA" } }, ["an empty label"] = { "a..b" },
      ["more than 63 bytes"] = { ("x"):rep(64) }, ["more than 255 bytes"] = { ("abc."):rep(70) } } do
      local ok, e = pcall(a.resolve, a, arguments[1], arguments[2] or { server = "10.0.1.2" })
      assert.is_false(ok)
      assert.truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    a:resolve("www.example.", { server = "10.0.1.2" })
    assert.same(before, rtnl.fds())
  end)
end)

describe("a message of DNS", function()
  it("has its names in bytes and in text", function()
    for text, bytes in pairs { ["a.bc"] = "\1a\2bc\0", ["a.bc."] = "\1a\2bc\0", ["."] = "\0", ["a\\.b.c"] = "\3a.b\1c\0", ["\\000\\255"] =
      "\2\0\255\0", ["a\\\\"] = "\2a\\\0" } do
      assert.equal(bytes, dns.encode_name(text))
    end
    for _, text in ipairs { ".a", "a..b", "\\", "\\256", ("x"):rep(64), ("abc."):rep(64) } do
      assert.is_nil((dns.encode_name(text)), text)
    end
    local message = dns.decode(dns.query(7, "\3a.b\4\0\255x\\\0", 1, true))
    assert.same({ 7, "a\\.b.\\000\\255x\\\\", "A", 1 }, { message.id, message.questions[1].name, message.questions[1].type,
      message.questions[1].class })
    assert.equal("\3a.b\4\0\255x\\\0", dns.encode_name(message.questions[1].name))
  end)

  it("does not run in circles, nor over an end", function()
    local head = "\0\1\x85\x80\0\0\0\1\0\0\0\0"
    local function why(body)
      local message, reason = dns.decode(head .. body)
      assert.is_nil(message)
      return reason
    end
    local short = "the message ends too soon"
    assert.equal("a pointer in a name goes forward", why "\xc0\x0c\0\1\0\1\0\0\0\0\0\4\1\2\3\4") -- to itself
    assert.equal("a pointer in a name goes forward", why "\1a\xc0\x0c\0\1\0\1\0\0\0\0\0\4\1\2\3\4")
    assert.equal("a pointer in a name goes forward", why "\xc0\x0e\xc0\x0c")
    assert.equal(short, why "\xc0")
    assert.equal(short, why "\63abc")
    assert.equal(short, why "\0\0\1\0\1\0\0\0\0\0\5\1\2\3\4")
    assert.equal("a label of an unknown kind", why "\x40abc")
    assert.equal("a record of a wrong size", why "\0\0\1\0\1\0\0\0\0\0\3\1\2\3")
    assert.equal("a name goes over the end of its record", why "\0\0\5\0\1\0\0\0\0\0\1\1a\0")
    assert.equal("a string goes over the end of its record", why "\0\0\16\0\1\0\0\0\0\0\2\5a")
    assert.equal("a name of more than 255 bytes", why(("\63" .. ("x"):rep(63)):rep(4) .. "\0"))
    assert.equal(short, select(2, dns.decode "abc"))
    -- backwards, many times: a chain of pointers, each to the one before
    local chain = { "\0\3\xe7\0\1\0\0\0\0", "", "\0" } -- in the data of a record, behind its name at 12
    for i = 1, 200 do
      chain[#chain + 1] = string.pack(">I2", 0xc000 | (i == 1 and 12 or 24 + 2 * (i - 2)))
    end
    chain[2] = string.pack(">I2", 1 + 400)
    local text = "\0\1\x85\x80\0\0\0\2\0\0\0\0" .. table.concat(chain)
    local function last(i)
      return select(2, dns.decode(text .. string.pack(">I2", 0xc000 | (24 + 2 * (i - 1))) .. "\0\1\0\1\0\0\0\0\0\4\1\2\3\4"))
    end
    assert.is_nil(last(100))
    assert.equal("too many pointers in a name", last(200))
  end)

  it("is read, or not, whatever is done to it", function()
    local known = {}
    for _, text in ipairs { "the message ends too soon", "a pointer in a name goes forward", "a label of an unknown kind",
      "a name of more than 255 bytes", "a name goes over the end of its record", "a string goes over the end of its record",
      "a record that is too short", "a record of a wrong size", "too many pointers in a name" } do
      known[text] = true
    end
    local query = dns.query(99, dns.encode_name "www.example", 1, false)
    local www = dns.encode_name "www.example"
    local whole = answer(query, 0x8580, { record(T.A, "\10\0\0\7"), record(T.AAAA, ("\0"):rep(16)), record(T.MX, "\0\1" .. www),
      record(T.TXT, "\3abc\4defg"), record(T.SOA, www .. www .. ("\0"):rep(20)), record(T.SRV, "\0\1\0\2\0\3" .. www),
      record(T.CAA, "\0\5issueca.org"), record(T.CNAME, "\xc0\x0c"), record(41, ""), record(999, "xyz") })
    assert.equal(9, #assert(dns.decode(whole)).answers)
    math.randomseed(20)
    local read, refused = 0, 0
    for _ = 1, 20000 do
      local bytes = { whole:byte(1, math.random(4) == 1 and math.random(#whole) or #whole) }
      for _ = 1, math.random(0, 6) do
        bytes[math.random(#bytes)] = math.random(3) == 1 and 0xc0 or math.random(0, 255)
      end
      local message, why = dns.decode(string.char(table.unpack(bytes)))
      if message then
        read = read + 1
      else
        refused = refused + 1
        assert.is_true(known[why], why)
      end
    end
    assert.is_true(read > 1000 and refused > 1000, read .. " " .. refused)
  end)
end)
