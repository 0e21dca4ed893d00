-- Captures: what is in them, in order and whole, as others read it too; limits; that they end with whom they belong to.

local core = require "nslua.core"
local filters = require "nslua.inspect.capture.filter"
local helper = require "spec.helper"
local leaving = require "nslua.leaving"
local ns = require "nslua"
local pcapng = require "nslua.inspect.capture.pcapng"
local wires = require "spec.wire_helper"

local folder

setup(function()
  folder = helper.sh "mktemp -d"
end)
teardown(function()
  helper.sh("rm -rf " .. folder)
end)
after_each(helper.close_held)

local function path(name)
  return folder .. "/" .. name
end

-- Two namespaces, a link, no IPv6 and no ARP: what is captured is what a test sends.
local function pair()
  local a, b = wires.namespaces()
  ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24" })
  for i, handle in ipairs { a, b } do
    local other = i == 1 and b or a
    handle.neighbour:add { ("10.0.0.%d"):format(3 - i), lladdr = other.link:get("eth0").address, dev = "eth0" }
  end
  return a, b
end

local function capture(what, options)
  return helper.held(what:capture(options))
end

local function datagram(from, port, text)
  local s <close> = from:socket("inet", "dgram")
  assert(core.packet.connect(s, core.inet.bytes "10.0.0.2", port))
  assert(s:write(text))
end

-- A frame as it is, out of a's eth0.
local function send_frame(a, bytes)
  local s <close> = a:socket("packet", "raw")
  local hex = bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  ns.run { "python3", "-c", ("import socket; s = socket.socket(fileno=%d); s.bind(('eth0', 0)); s.send(bytes.fromhex('%s'))"):format(s:number(), hex),
    fds = { s }, check = true, join = { user = rawget(a, "userns"), net = a } }
end

describe("packets as values", function()
  it("are those of every interface, in the order of time, with where, when and which way", function()
    local a, b = pair()
    local c = helper.held(ns.capture.many { a, b })
    assert.same({ "a:lo", "a:eth0", "b:lo", "b:eth0" }, c.interfaces)
    assert(c:comment "the first")
    local began = os.time()
    assert.equal(2, a:ping("10.0.0.2", { count = 2, interval = 0.01 }).received)
    local seen, last = {}, 0
    for i, p in ipairs(c:packets()) do
      seen[i] = ("%s %s %d"):format(p.interface, p.direction, p.length)
      assert.is_true(p.nanoseconds >= last)
      assert.is_true(math.abs(p.time - began) < 60)
      assert.equal(p.netns .. ":" .. p.dev, p.interface)
      assert.equal(p.length, #p.bytes)
      assert.same(i == 1 and { "the first" } or false, p.comments)
      last = p.nanoseconds
    end
    local once = { "a:eth0 out 98", "b:eth0 in 98", "b:eth0 out 98", "a:eth0 in 98" }
    assert.same({ once[1], once[2], once[3], once[4], once[1], once[2], once[3], once[4] }, seen)
    assert.equal(8, #c:packets()) -- they stay
    assert.equal("a:eth0", c:next(1).interface)
    assert.equal(7, #c:packets())
    local r = c:stop()
    assert.same({ 8, 784, 0, 0 }, { r.packets, r.bytes, r.dropped, r.unwritten })
    assert.same({ name = "b:eth0", packets = 4, bytes = 392, dropped = 0 }, r.interfaces[4])
    local n = 0
    for _ in c:each() do -- ends where it has ended
      n = n + 1
    end
    assert.equal(7, n)
    assert.equal(r, c:stop())
    assert.is_true(c:close())
    assert.is_true(c:close())
    assert.matches("closed", select(2, pcall(c.next, c)))
  end)

  it("come one after the other while a script waits, and not when none come", function()
    local a = pair()
    local c = capture(a, { dev = "eth0", filter = "icmp" })
    assert.is_nil(c:next(0))
    local p = helper.held(ns.fork({ join = { user = rawget(a, "userns"), net = a } }, function()
      os.execute "ping -q -c1 10.0.0.2 >/dev/null"
    end))
    assert.equal("out", c:next(10).direction)
    assert.equal("in", c:next(10).direction)
    p:result()
    assert.same({}, ns.wait({ c }, 0) and { c:next(0) } or {})
  end)

  it("are shown once on lo, and are cut where that was asked for", function()
    local a = pair()
    local c = capture(a, { dev = "lo", snaplen = 64 })
    a:ping("127.0.0.1", { size = 500 })
    local list = c:packets()
    assert.same({ 2, 542, 64 }, { #list, list[1].length, #list[1].bytes })
  end)

  it("are as many as asked for, and as find room; the others are counted", function()
    local a = pair()
    local c = capture(a, { count = 3 })
    a:ping("10.0.0.2", { count = 4, interval = 0.01 })
    assert.is_true(c:wait(10))
    assert.same({ 3, 3 }, { #c:packets(), c:stop().packets })
    local small = capture(a, { memory = "64kb", dev = "eth0" })
    for _ = 1, 100 do
      datagram(a, 9, ("x"):rep(1400))
      small:sync()
    end
    local r = small:stop()
    assert.is_true(r.unwritten > 0 and r.unwritten < r.packets, r.unwritten)
    assert.equal(r.packets - r.unwritten, #small:packets())
  end)

  it("give their memory back once they were read", function()
    local a = pair()
    local c, got = capture(a, { memory = "6mb", dev = "eth0" }), 0
    for _ = 1, 20 do
      for _ = 1, 500 do
        datagram(a, 9, ("x"):rep(1400))
      end
      c:sync()
      local p = c:next(0)
      while p do
        got = got + 1
        p = c:next(0)
      end
    end
    local r = c:stop()
    assert.is_true(r.packets >= 10000)
    assert.equal(0, r.unwritten)
    assert.equal(r.packets, got)
  end)
end)

describe("a frame", function()
  it("has the VLAN tag that the kernel took out of it", function()
    local a, b = pair()
    local c = capture(b, { dev = "eth0", filter = "vlan 42" })
    local other = capture(b, { dev = "eth0", filter = "vlan 43" })
    local frame = "\xff\xff\xff\xff\xff\xff\2\0\0\0\0\1\x81\0\x20\42\x88\xb5" .. ("abcd"):rep(15)
    send_frame(a, frame)
    local list = c:packets()
    assert.equal(1, #list)
    assert.equal(frame, list[1].bytes)
    assert.equal(#frame, list[1].length)
    assert.equal(0, #other:packets())
  end)

  it("has its checksum, also where a device would have made it", function()
    local a = pair()
    local c = capture(a, { dev = "eth0", filter = "udp" })
    for n = 1, 3 do
      datagram(a, 9, ("x"):rep(n))
    end
    local list = c:packets()
    assert.equal(3, #list)
    for _, p in ipairs(list) do
      local ip = p.bytes:sub(15)
      local length = string.unpack(">I2", ip, 25)
      local pseudo = ip:sub(13, 20) .. string.pack(">BBI2", 0, 17, length)
      assert.equal(0, core.packet.checksum(pseudo .. ip:sub(21, 20 + length)))
    end
  end)
end)

describe("a file", function()
  local function tshark(file, ...)
    local fields = {}
    for i, field in ipairs { ... } do
      fields[i] = "-e " .. field
    end
    return helper.sh(("HOME=%s tshark -r %s -T fields %s 2>/dev/null"):format(folder, file, table.concat(fields, " ")))
  end

  it("is read by tshark, with names and comments, and by tcpdump", function()
    local a, b = pair()
    local c = helper.held(ns.capture.many({ { "web", a }, { "db", b } }, { file = path "x.pcapng", comment = "of a test", filter = "icmp" }))
    c:comment "before"
    a:ping "10.0.0.2"
    c:comment "after"
    assert.equal(4, c:stop().packets)
    assert.same({ "read", "to a file" }, { "read", select(2, pcall(c.next, c)):match "to a file" })
    if helper.has "tshark" then
      assert.equal("web:eth0\t0x00000002\tbefore\tweb\ndb:eth0\t0x00000001\t\tweb\n" ..
        "db:eth0\t0x00000002\t\tdb\nweb:eth0\t0x00000001\t\tdb", tshark(path "x.pcapng" .. " -N n", "frame.interface_name", "frame.packet_flags",
        "frame.comment", "ip.src_host"):gsub("0x0000000(%d)", function(n)
          return "0x0000000" .. (tonumber(n) & 3)
        end))
    else
      pending "tshark is not installed"
    end
    if helper.has "tcpdump" then
      assert.equal("4", (helper.sh(("tcpdump -nr %s 2>/dev/null | grep -c 'ICMP echo'"):format(path "x.pcapng"))))
    end
    local file = ns.capture.read(path "x.pcapng")
    local n = 0
    for p in file:each() do
      n = n + (p.direction and 1 or 0)
    end
    assert.equal(4, n)
    assert.same({ ["10.0.0.1"] = "web", ["10.0.0.2"] = "db" }, file.names)
    assert.same({ "web:eth0", "icmp", 2, 0 }, { file.interfaces[2].name, file.interfaces[2].filter,
      file.interfaces[2].received, file.interfaces[2].dropped })
    assert.equal("of a test", file.comment)
    assert.is_false(file:truncated())
    file:close()
  end)

  it("is one of a ring", function()
    local a = pair()
    local c = capture(a, { file = path "ring.pcapng", dev = "eth0", ring = { packets = 10, files = 3 } })
    a:ping("10.0.0.2", { count = 23, interval = 0.001 })
    local r = c:stop()
    assert.same({ 46, 5 }, { r.packets, r.files })
    local counts = {}
    for i = 0, 2 do
      local file, n = ns.capture.read(path(("ring.%d.pcapng"):format(i))), 0
      for p in file:each() do
        n = n + 1
        assert.equal("a:eth0", p.interface)
      end
      file:close()
      counts[i + 1] = n
    end
    assert.same({ 10, 6, 10 }, counts)
    c = capture(a, { file = path "size.pcap", dev = "eth0", ring = { bytes = "2kb", files = 100 } })
    a:ping("10.0.0.2", { count = 30, interval = 0.001 })
    assert.is_true(c:stop().files >= 4)
    assert.is_true(tonumber((helper.sh("stat -c %s " .. path "size.0.pcap"))) <= 2048)
  end)

  it("may be a pipe; a reader that takes nothing holds up no end, one that goes is no error", function()
    local a = pair()
    local reader, writer = core.fd.pipe()
    local c = capture(a, { file = writer, dev = "eth0" })
    writer:close()
    a:ping "10.0.0.2"
    c:sync()
    local bytes = reader:read(1 << 20)
    local list, at = pcapng.reader(function(offset) return bytes:sub(offset + 1) end), 0
    while list:next() do
      at = at + 1
    end
    assert.equal(2, at)
    for _ = 1, 300 do
      datagram(a, 9, ("x"):rep(1400))
    end
    assert.equal(core.errno.EPIPE, c:stop().failed)
    local second, end_ = core.fd.pipe()
    c = capture(a, { file = end_, dev = "eth0" })
    end_:close()
    second:close()
    a:ping "10.0.0.2"
    assert.is_true(c:wait(10))
    assert.equal(core.errno.EPIPE, c:stop().failed)
    reader:close()
  end)

  it("that cannot be written is an error", function()
    local a = pair()
    helper.fails("ENOENT", a.capture, a, { file = path "none/x.pcapng" })
    if helper.sh "test -w /dev/full && echo yes" == "yes" then
      helper.fails("ENOSPC", a.capture, a, { file = "/dev/full", dev = "eth0" })
    end
    local only_read = assert(io.open("/dev/null", "r"))
    helper.fails("EBADF", a.capture, a, { file = only_read, dev = "eth0" })
    only_read:close()
  end)
end)

describe("a filter", function()
  local frames
  local function traffic(a)
    for _, port in ipairs { 9, 53, 80, 8080 } do
      datagram(a, port, ("x"):rep(port))
    end
    a:tcp("10.0.0.2", 80)
    a:tcp("10.0.0.2", 4711)
    a:ping "10.0.0.2"
    send_frame(a, frames)
  end
  frames = "\xff\xff\xff\xff\xff\xff\2\0\0\0\0\1\8\6\0\1\8\0\6\4\0\1\2\0\0\0\0\1\x0a\0\0\7\0\0\0\0\0\0\x0a\0\0\x09" .. ("\0"):rep(18)

  it("lets through what the same words of tcpdump do", function()
    if not helper.has "tcpdump" then
      pending "tcpdump is not installed"
    end
    local a = pair()
    local words = { "icmp", "tcp", "udp", "arp", "ip", "ip6", "tcp port 80", "port 80", "udp port 53 or icmp", "src port 80", "tcp dst port 80",
      "host 10.0.0.2", "src host 10.0.0.1 and not icmp", "dst 10.0.0.2", "net 10.0.0.0/30", "net 10.0.0.8/29",
      "arp host 10.0.0.9", "portrange 50-100", "tcp portrange 4000-5000", "less 100", "greater 1000", "not (udp or tcp)", "icmp or udp and port 53",
      "ether src 2:0:0:0:0:1", "ether host ff:ff:ff:ff:ff:ff", "ether proto 0x806", "src or dst port 53", "! tcp && ! udp",
      "ip6 or sctp", "ip host 10.0.0.1 and (port 9 or port 53)" }
    local all, list = capture(a, { file = path "all.pcapng", dev = "eth0" }), {}
    for i, text in ipairs(words) do
      assert(filters.own(text), text)
      list[i] = capture(a, { filter = text, dev = "eth0", buffer = "1mb" })
    end
    traffic(a)
    assert.is_true(all:stop().packets >= 11)
    for i, text in ipairs(words) do
      local count = helper.sh(("tcpdump -nr %s '%s' 2>/dev/null | wc -l"):format(path "all.pcapng", text))
      assert.equal(("%s: %s"):format(text, count), ("%s: %d"):format(text, list[i]:stop().packets))
    end
  end)

  it("takes libpcap's other words where that is there, and says what it does not know", function()
    local a = pair()
    if core.capture.compile("ip", 1, 65535) then
      local c = capture(a, { dev = "eth0", filter = "icmp[icmptype] == icmp-echo" })
      a:ping "10.0.0.2"
      assert.equal(1, c:stop().packets)
    end
    local _, e = pcall(a.capture, a, { filter = "tcp prot 80" })
    assert.matches("capture_spec.lua:%d+: capture: filter \"tcp prot 80\"", e)
    local _, why = filters.own "tcp prot 80"
    assert.equal("'prot'", why)
  end)

  it("names nodes, and which way", function()
    local a, b = pair()
    local c = helper.held(ns.capture.many({ a, b }, { filter = "icmp and src b and inbound" }))
    a:ping "10.0.0.2"
    local list = c:packets()
    assert.same({ 1, "a:eth0" }, { #list, list[1].interface })
  end)

  it("is a program that the kernel takes, or misuse, whatever is written", function()
    local a = pair()
    local s <close> = a:socket("packet", "raw")
    local tokens = { "tcp", "udp", "port", "80", "host", "10.0.0.1", "fd00::1", "and", "or", "not", "(", ")", "net", "10.0.0.0/8", "src", "dst",
      "vlan", "ether", "02:00:00:00:00:01", "less", "greater", "icmp", "arp", "ip", "ip6", "portrange", "1-65535", "inbound", "!",
      "&&", "proto", "\0", "99999" }
    local seed, taken = 7, 0
    local function draw(n)
      seed = (seed * 1103515245 + 12345) & 0x7fffffff
      return (seed >> 8) % n + 1
    end
    for _ = 1, 5000 do
      local text = {}
      for i = 1, draw(8) do
        text[i] = tokens[draw(#tokens)]
      end
      local program = filters.own(table.concat(text, " "))
      if program then
        taken = taken + 1
        assert(core.capture.filter(s, program))
      end
    end
    assert.is_true(taken > 100, taken)
    local long = {}
    for i = 1, 60 do
      long[i] = ("host 10.0.%d.%d"):format(i, i)
    end
    assert(core.capture.filter(s, assert(filters.own(table.concat(long, " or ")))))
    assert(core.capture.filter(s, assert(filters.own(table.concat(long, " and not ")))))
    assert.is_nil(filters.own(("("):rep(10000)))
  end)
end)

describe("a broken file", function()
  it("is an error that says so, wherever it is broken", function()
    local a = pair()
    local c = capture(a, { file = path "good.pcapng", dev = "eth0", comment = "c" })
    c:comment "x"
    a:ping "10.0.0.2"
    c:stop()
    local f = assert(io.open(path "good.pcapng", "rb"))
    local good = f:read "a"
    f:close()
    local function read(bytes)
      local reader, n = pcapng.reader(function(offset, size) return bytes:sub(offset + 1, offset + size) end), 0
      local ok, e = pcall(function()
        while reader:next() do
          n = n + 1
        end
      end)
      assert(ok or ns.error.is(e, "EBADMSG"), tostring(e))
      return n, reader
    end
    assert.equal(2, read(good))
    for size = 0, #good - 1 do
      local _, reader = read(good:sub(1, size))
      assert.is_true(size < 12 or reader:truncated() or true)
    end
    local seed = 1
    for i = 1, 3000 do
      seed = (seed * 1103515245 + 12345) & 0x7fffffff
      local at = seed % #good + 1
      read(good:sub(1, at - 1) .. string.char((seed >> 8) & 255) .. good:sub(at + 1 + (i % 3 == 0 and 4 or 0)))
    end
    helper.fails("EBADMSG", function() ns.capture.read("/proc/self/exe"):each()() end)
  end)
end)

describe("headers", function()
  local headers = require "nslua.inspect.capture.headers"
  local line = require "nslua.inspect.capture.line"
  local function hex(text)
    return (text:gsub("%s", ""):gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end))
  end
  local ether = "020000000002 020000000001"
  local frames = {
    dns = hex(ether .. "8100602a 0800 45000039 00010000 4011 0000 0a000001 0a000002 a0000035 00250000"
      .. "12340100 0001000000000000 03777777 0161 00 001c0001"),
    arp = hex(ether .. "0806 0001 0800 06 04 0002 020000000001 0a000001 020000000002 0a000002"),
    icmp6 = hex(ether .. "86dd 60000000 0018 00 40 fd000000000000000000000000000001"
      .. "fd000000000000000000000000000002 3a00010400000000 80000000 00070001 6162636465666768"),
    tcp = hex(ether .. "0800 45000028 00014000 4006 0000 0a000001 0a000002 0050a000 00000001 00000002 5012ffff 00000000"),
  }

  it("are fields of tables, those that are declared", function()
    local p = headers.decode(frames.dns, "ethernet")
    assert.same({ id = 42, priority = 3 }, p.vlan)
    assert.same({ id = 0x1234, response = false, rcode = "NOERROR", answers = 0, name = "www.a", type = "AAAA" }, p.dns)
    assert.same({ op = "reply", sender = "02:00:00:00:00:01", sender_ip = "10.0.0.1", target = "02:00:00:00:00:02", target_ip = "10.0.0.2" },
      headers.decode(frames.arp, "ethernet").arp)
    p = headers.decode(frames.icmp6, "ethernet")
    assert.same({ type = 128, code = 0, name = "echo request", id = 7, seq = 1 }, p.icmp6)
    assert.same({ "fd00::1", "fd00::2", 58 }, { p.ip6.src, p.ip6.dst, p.ip6.protocol })
    assert.same({ sport = 80, dport = 40960, seq = 1, ack = 2, flags = "SA", window = 65535, payload_length = 0 },
      headers.decode(frames.tcp, "ethernet").tcp)
    assert.same("SA", headers.decode(frames.tcp:sub(15), "ip").tcp.flags)
    for _, frame in pairs(frames) do
      for name, header in pairs(headers.decode(frame, "ethernet")) do
        for key in pairs(header) do
          assert.is_true(headers.fields[name][key], name .. "." .. key)
        end
      end
    end
  end)

  it("are read of whatever bytes there are", function()
    local seed = 3
    local function look(bytes)
      for _, kind in ipairs { 1, 101 } do
        local raw = { interface = { name = "a:b", link_type = kind }, nanoseconds = 0, length = #bytes, bytes = bytes, direction = "in" }
        local text = tostring(require("nslua.inspect.capture.packet").of(raw))
        assert.is_nil(text:find "[%c\127-\255]")
      end
    end
    for _, frame in pairs(frames) do
      for size = 0, #frame do
        look(frame:sub(1, size))
      end
      for _ = 1, 2000 do
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        local at = (seed >> 4) % #frame + 1
        frame = frame:sub(1, at - 1) .. string.char((seed >> 16) & 255) .. frame:sub(at + 1)
        look(frame)
      end
    end
    assert.matches("unknown$", line.summary(headers.decode("", "ethernet")))
  end)
end)

describe("a capture", function()
  it("says at the caller's line what it does not take", function()
    local a = pair()
    local function misuse(options, text)
      local ok, e = pcall(a.capture, a, options)
      assert.is_false(ok)
      assert.matches(text, tostring(e))
    end
    misuse({ fliter = "icmp" }, "capture_spec.lua:%d+: capture: unknown key 'fliter' %(did you mean 'filter'%?%)")
    misuse({ ring = { packets = 1 } }, "ring is of files")
    misuse({ file = path "r", ring = {} }, "ring says when a file is full")
    misuse({ snaplen = 5 }, "snaplen must be")
    misuse({ memory = 0 }, "capture_spec.lua:%d+: capture: memory must be from 1 byte")
    misuse({ buffer = -1 }, "capture_spec.lua:%d+: capture: buffer must be at least 1 byte, got %-1")
    misuse(5, "capture_spec.lua:%d+: capture: options must be nil or table, got number")
    misuse({ dev = "eht0" }, "unknown dev 'eht0' %(did you mean 'eth0'%?%)")
    assert.matches("a capture expected", select(2, pcall(ns.capture.read and a:capture().next)))
  end)

  it("goes on where a link goes away, and comes", function()
    local a, b = pair()
    local c = helper.held(ns.capture.many({ a, b }, { dev = "eth0" }))
    b.link:change("eth0", { up = false })
    b.link:change("eth0", { up = true })
    b.address:ensure { "10.0.0.2/24", dev = "eth0" }
    assert.is_true(wires.eventually(function() return a:ping("10.0.0.2", { timeout = 0.2 }).received == 1 end))
    assert.is_true(#c:packets() >= 4)
    a.link:delete "eth0"
    assert.is_true(c:stop().packets >= 4)
  end)

  it("ends with the script, and its file is whole; not even kill -9 leaves its process", function()
    local script = path "script.lua"
    local f = assert(io.open(script, "w"))
    f:write [[
      local ns = require "nslua"
      local u = not require("nslua.core").idmap.capable "sys_admin" and ns.userns.new { map_users = "root" } or nil
      local a = ns.netns.new { lo = true, label = "a", userns = u }
      local c = a:capture { file = arg[1] }
      a:ping "127.0.0.1"
      c:sync()
      print(c.state.process:pid())
      io.stdout:flush()
      if arg[2] then
        ns.wait({}, 60)
      end
    ]]
    f:close()
    local out, ok = helper.sh(helper.lua .. " " .. script .. " " .. path "end.pcapng")
    assert(ok, out)
    local file = ns.capture.read(path "end.pcapng")
    local n = 0
    for _ in file:each() do
      n = n + 1
    end
    file:close()
    assert.same({ 2, 2 }, { n, file.interfaces[1].received })
    local p = helper.held(ns.spawn { "lua5.4", script, path "killed.pcapng", "wait", stdout = "pipe", env = {
      LUA_PATH = "./lua/?.lua;./lua/?/init.lua", LUA_CPATH = "./build/?.so" } })
    local pid = tonumber((p.stdout:read()))
    assert.is_true(core.file.stat("/proc/" .. pid) ~= nil)
    p:kill "KILL"
    p:wait()
    assert.is_true(wires.eventually(function()
      local status = io.open(("/proc/%d/stat"):format(pid))
      local state = status and status:read("a"):match "%) (%a)"
      if status then
        status:close()
      end
      return not state or state == "Z" or state == "X"
    end))
    n = 0
    for _ in ns.capture.read(path "killed.pcapng"):each() do
      n = n + 1
    end
    assert.equal(2, n)
  end)

  local function children()
    local stat = assert(io.open "/proc/self/stat")
    local pid = stat:read "n"
    stat:close()
    return select(2, helper.sh(("cat /proc/%d/task/%d/children"):format(pid, pid)):gsub("%d+", ""))
  end

  it("leaves no fd behind, and no process that nobody waits for", function()
    local a = pair()
    a:capture():close()
    ns.eventually(leaving.sweep, 20)
    local before, processes = helper.fd_count(), children()
    for _ = 1, 3 do
      local c = a:capture { file = path "fds.pcapng" }
      c:stop()
      c:close()
      pcall(a.capture, a, { filter = "no such words" })
      a:capture():close()
    end
    ns.eventually(leaving.sweep, 20)
    assert.equal(before, helper.fd_count())
    assert.equal(processes, children())
  end)

  it("is of a lab, its nodes, its links", function()
    local lab = helper.held(ns.lab "h1 -- r1 -- (sw) -- h2")
    local all = lab:capture { filter = "icmp and host h2", file = path "lab.pcapng" }
    local link = helper.held(lab:link("h1", "r1"):capture { filter = "icmp" })
    local node = helper.held(lab:capture { nodes = { "h2" }, filter = "icmp" })
    assert.equal(1, lab.h1:ping("h2", { family = "inet" }).received)
    assert.same({ 4, 2 }, { #link:packets(), #node:packets() })
    assert.same({ "h1:eth0", "h2:eth0" }, { link:packets()[1].interface, node:packets()[1].interface })
    local dev = helper.held(lab:capture { dev = "eth1" }) -- others have none
    assert.same({ "r1:eth1" }, dev.interfaces)
    assert.matches("unknown dev 'eth9'", tostring(select(2, pcall(lab.capture, lab, { dev = { "eth0", "eth9" } }))))
    assert.matches("dev is for nodes", select(2, pcall(lab.capture, lab, { dev = "eth0", links = { { "h1", "r1" } } })))
    assert.matches("unknown node 'h3' %(did you mean", select(2, pcall(lab.capture, lab, { nodes = { "h3" } })))
    lab:close() -- ends it
    local file, n = ns.capture.read(path "lab.pcapng"), 0
    for _ in file:each() do
      n = n + 1
    end
    file:close()
    assert.equal(all.result.packets, n)
    assert.equal("h1", file.names[lab.plan:address_of "h1"])
  end)
end)
