-- link:each_packet: a function of Lua that sees every packet of a link. What it makes of them is judged by real senders and receivers.

local helper = require "spec.helper"
local layout = require "nslua.lab.packet.layout"
local ns = require "nslua"
local packet = require "nslua.lab.packet.packet"

after_each(helper.close_held)

local function lab(text)
  local l = helper.held(ns.lab(text or "h1 -- h2"))
  return l, l:link(l.nodes[1].node_name, l.nodes[2].node_name)
end

local function message(fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  return tostring(e), e
end

describe("link:each_packet", function()
  it("drops the packets it is told to, and lets the others pass", function()
    local l, link = lab()
    local seen = 0
    link:each_packet(function(p)
      if p.icmp and p.icmp.name == "echo request" then
        seen = seen + 1
        if seen == 2 then p:drop() p:emit { seen, p.icmp.seq, p.from, p.to } end
      end
    end)
    local r = l.h1:ping("h2", { family = "inet", count = 3, interval = 0.01, timeout = 0.3 })
    assert.equal(2, r.received)
    assert.same({ { 2, r.replies[1].seq + 1, "h1", "h2" } }, link:emitted())
    assert.equal(0, seen) -- it is a copy that counts
    assert.same({}, link:emitted())
    local count = link.each:counters()
    assert.equal(1, count.dropped)
    assert.equal(0, count.missed + count.limited + count.refused + count.queued)
    assert.equal(count.taken, count.sent + count.dropped)
  end)

  it("delays one and not the others", function()
    local l, link = lab()
    link:each_packet(function(p)
      if p.icmp and p.icmp.type == 0 then p:delay "50ms" end
      if p.icmp6 and p.icmp6.type == 129 then p:delay(0.03) end
    end)
    assert.is_true(l.h1:ping("h2", { family = "inet" }).rtt.min >= 0.05)
    assert.is_true(l.h1:ping("h2", { family = "inet6" }).rtt.min >= 0.03)
    assert.equal(2, link.each:counters().delayed)
  end)

  it("keeps the order of what it leaves alone and of what waits equally long", function()
    local l, link = lab()
    local w = helper.held(l:watch { node = "h2", icmp = { type = 8 } })
    link:each_packet(function(p)
      if p.icmp then p:delay(0.02) end
    end)
    assert.equal(50, l.h1:ping("h2", { family = "inet", count = 50, interval = 0.001, timeout = 10 }).received)
    local _, all = w:expect { count = 50, within = 10 }
    for i, p in ipairs(all) do
      assert.equal(all[1].icmp.seq + i - 1, p.icmp.seq)
    end
  end)

  it("copies", function()
    local l, link = lab()
    link:each_packet(function(p)
      if p.icmp and p.icmp.type == 8 then
        p:copy():drop()
        local other = p:copy()
        other.icmp.seq = p.icmp.seq + 1000
        other:copy()
      end
    end)
    local w = helper.held(l:watch { node = "h2", icmp = { type = 8 } })
    assert.equal(1, l.h1:ping("h2", { family = "inet" }).received)
    local _, all = w:expect { count = 3, within = 5 }
    assert.same({ 1000, 0 }, { all[2].icmp.seq - all[1].icmp.seq, all[3].icmp.seq - all[2].icmp.seq })
    assert.equal(3, link.each:counters().copied)
  end)

  for _, family in ipairs { "inet", "inet6" } do
    it("changes what TCP and UDP carry, for real receivers: " .. family, function()
      local l, link = lab()
      l.h2:serve "echo"
      link:each_packet(function(p)
        if p.to == "h2" and p.payload == "hello" then
          p.payload = p.udp and "a longer one" or "HELLO"
        end
      end)
      assert.equal("HELLO", l.h1:tcp("h2", 7, { family = family, send = "hello", receive = 5 }).received)
      assert.equal("a longer one", l.h1:udp("h2", 7, { family = family, send = "hello" }).reply)
    end)

    it("changes addresses and ports: " .. family, function()
      local l, link = lab()
      local far = family == "inet" and "192.0.2.7" or "2001:db8::7"
      local real = l.h2:address_of("h1", family)
      l.h2:serve "echo"
      l.h1.route:add { far .. (family == "inet" and "/32" or "/128"), via = real }
      link:each_packet(function(p)
        local ip = p.ip or p.ip6
        if ip and ip.dst == far then
          ip.dst, p.tcp.dport = real, 7
        elseif p.tcp and p.tcp.sport == 7 then
          ip.src, p.tcp.sport = far, 70
        end
      end)
      local r = l.h1:tcp(far, 70, { send = "through", receive = 7 })
      assert.same({ true, "through" }, { r.ok, r.received })
    end)
  end

  it("answers for a DNS server", function()
    local l, link = lab()
    l.h2:serve("dns", { zone = { ["web.example"] = { "192.0.2.1", "192.0.2.2", "2001:db8::1" } } })
    link:each_packet(function(p)
      if p.dns and p.dns.response then
        p:emit { p.dns.name, p.dns.type, p.dns.addresses }
        if p.dns.type == "A" then
          p.dns.addresses = { "198.51.100.1", "198.51.100.2" }
        elseif p.dns.type == "AAAA" then
          p.dns.addresses = { "2001:db8::bad" }
        else
          p.dns.rcode = "REFUSED"
        end
      end
    end)
    local server = l.h2:address_of "h1"
    local a = l.h1:resolve("web.example", { server = server })
    table.sort(a.addresses)
    assert.same({ "198.51.100.1", "198.51.100.2" }, a.addresses)
    assert.same({ "2001:db8::bad" }, l.h1:resolve("web.example", { server = server, type = "AAAA" }).addresses)
    assert.equal("REFUSED", l.h1:resolve("web.example", { server = server, type = "MX" }).rcode)
    local emitted = link:emitted()
    assert.equal("web.example A 2", ("%s %s %d"):format(emitted[1][1], emitted[1][2], #emitted[1][3]))
  end)

  it("sees ARP, and changes it", function()
    local l, link = lab()
    link:each_packet(function(p)
      if p.arp and p.arp.op == "reply" and p.from == "h2" then
        p.arp.sender = "02:00:00:00:be:ef"
        p:emit(p.arp)
      end
    end)
    l.h1.neighbour:delete({ l.h2:address_of("h1", "inet"), dev = "eth0" }, { absent = "ok" })
    assert.equal(0, l.h1:ping("h2", { family = "inet", timeout = 0.2 }).received) -- nobody has that address
    local told = link:emitted()[1]
    assert.same({ "reply", "02:00:00:00:be:ef", l.h2:address_of("h1", "inet") }, { told.op, told.sender, told.sender_ip })
    assert.equal("02:00:00:00:be:ef", l.h1.neighbour:get({ told.sender_ip, dev = "eth0" }).lladdr)
  end)

  it("sees packets as they are on the network, many of them, at a switch and where a wire impairs the link", function()
    local l = helper.held(ns.lab "h1 --1ms-- (sw) -- h2")
    local link = l:link("sw", "h1")
    local most, bad = 0, 0
    link:each_packet(function(p)
      most = math.max(most, #p.bytes)
      if p.tcp then
        bad = bad + (layout.mend(p.bytes, p.bytes) == p.bytes and 0 or 1)
        if p.tcp.flags:find "F" then p:emit { most, bad, p.from } end
      end
    end)
    local r = l.h1:traffic("h2", { bytes = "300kb" })
    assert.equal(300 * 1024, r.bytes)
    for _, told in ipairs(link:emitted()) do
      assert.same({ true, 0 }, { told[1] <= 1514, told[2] })
      assert.is_true(told[3] == "h1" or told[3] == "sw")
    end
    local count = link.each:counters()
    assert.equal(0, count.missed)
    assert.is_true(count.taken >= 300 * 1024 // 1460)
  end)

  it("is another function when it is called again, and gone with nil, with close() and with the lab", function()
    local l, link = lab()
    local function emits(word)
      return function(p)
        if p.icmp then p:emit(word) end
      end
    end
    local first = link:each_packet(emits "one")
    l.h1:ping("h2", { family = "inet" })
    assert.same({ "one", "one" }, link:emitted())
    local second = link:each_packet(emits "two")
    assert.is_false(first:isopen())
    l.h1:ping("h2", { family = "inet" })
    assert.same({ "two", "two" }, second:emitted())
    assert.is_nil(link:each_packet(nil))
    assert.is_false(second:isopen())
    assert.equal("link.emitted: link h1:eth0 -- h2:eth0 has no function that sees its packets: link:each_packet(fn)",
      (message(link.emitted, link):match "link%.emitted.*fn%)"))
    assert.equal(0, #l.h1.nftables:tables())
    local before = helper.fd_count()
    do
      local each <close> = link:each_packet(emits "three")
      assert.equal(2, #l.h1.nftables:tables())
      assert.truthy(l.h1.link:get "lua-eth0")
      assert.truthy(tostring(each):find "^each packet of link h1:eth0")
    end
    assert.equal(before, helper.fd_count())
    assert.equal(0, #l.h1.nftables:tables())
    assert.is_nil(l.h1.link:get "lua-eth0")
    assert.equal(1, l.h1:ping("h2", { family = "inet" }).received)
    local last = link:each_packet(emits "four")
    l:close()
    assert.is_false(last:isopen())
  end)

  it("gives delayed packets on at once where it is taken away", function()
    local l, link = lab()
    local w = helper.held(l:watch { node = "h2", udp = { dport = 9 } })
    local each = link:each_packet(function(p)
      if p.udp and p.udp.dport == 9 then p:delay(3600) end
    end)
    l.h1:udp("h2", 9, { family = "inet", timeout = 0.01 })
    assert.is_true(ns.eventually(function() return each:counters().queued == 1 end, 10))
    each:close()
    w:expect { count = 1, within = 5 }
  end)

  it("raises in emitted() and close() what the function raised; packets pass since then", function()
    local l, link = lab()
    local each = link:each_packet(function(p)
      p:emit "before"
      if p.icmp then error "no pings here" end
    end)
    assert.equal(2, l.h1:ping("h2", { family = "inet", count = 2, interval = 0.01 }).received)
    local text, e = message(link.emitted, link)
    assert.truthy(text:find("spec/lab_each_packet_spec.lua:%d+: no pings here\nstack traceback:"), text)
    assert.equal("before", e.emitted[1])
    assert.is_true(each:close()) -- it was told
    each = link:each_packet(function(p) p.udp.dprt = 1 end)
    l.h1:udp("h2", 9, { timeout = 0.2 })
    assert.truthy(message(each.close, each):find("the function raised", 1, true))
    assert.is_false(each:isopen())
    assert.equal(0, #l.h1.nftables:tables())
    each = link:each_packet(function()
      error(setmetatable({}, { __tostring = function() return "no text, but an object" end }))
    end)
    assert.equal(1, l.h1:ping("h2", { family = "inet" }).received)
    assert.truthy(message(each.close, each):find("since: no text, but an object\nstack", 1, true))
  end)

  it("does not keep a script waiting that has failed, where the function never comes back", function()
    local f <close> = ns.fork(function()
      local l <close> = ns.lab "h1 -- h2"
      l:link("h1", "h2"):each_packet(function()
        while true do end
      end)
      l.h1:ping("h2", { timeout = 0.05 })
      error("the script fails", 0)
    end)
    local ok, e = pcall(f.result, f, 25)
    assert.is_false(ok)
    assert.matches("the script fails", tostring(e))
  end)

  it("raises it as the lab closes, where nobody asked, but not over another error", function()
    for _, other in ipairs { false, "another" } do
      local ok, e = pcall(function()
        local l <close> = ns.lab "h1 -- h2"
        l:link("h1", "h2"):each_packet(function(p)
          if p.icmp then error "no pings here" end
        end)
        l.h1:ping("h2", { family = "inet" })
        if other then error(other, 0) end
      end)
      assert.is_false(ok)
      assert.truthy(tostring(e):find(other or "no pings here", 1, true), tostring(e))
    end
  end)

  it("is the script's, not that of copies of it; works in a lab that another process built; is in the way of a move", function()
    local l, link = lab()
    link:each_packet(function(p)
      if p.icmp then p:emit(p.from) end
    end)
    local f <close> = ns.fork(function()
      link:each_packet(nil)
      local again <close> = ns.lab.open(l.name)
      again:link("h2", "h1"):each_packet(nil)
      return again.h1:ping("h2", { family = "inet" }).received
    end)
    assert.equal(1, f:result(20))
    assert.same({ "h1", "h2" }, link:emitted())
    assert.truthy(message(link.move, link, "h1"):find("link:each_packet(nil) first", 1, true))
    link:each_packet(nil)
    local other = helper.held(ns.lab.open(l.name))
    local there = other:link("h1", "h2")
    there:each_packet(function(p)
      if p.icmp then p:drop() end
    end)
    assert.equal(0, l.h1:ping("h2", { family = "inet", timeout = 0.1 }).received)
    there:each_packet(nil)
    assert.equal(1, l.h1:ping("h2", { family = "inet" }).received)
  end)

  it("is of two links whose devices have names that are long and alike", function()
    local l = helper.held(ns.lab "h1[abcdefghijk1] -- h2\nh1[abcdefghijk2] -- h3")
    for _, name in ipairs { "h2", "h3" } do
      l:link("h1", name):each_packet(function(p)
        if p.icmp then p:emit(p.to) end
      end)
    end
    for _, name in ipairs { "h2", "h3" } do
      assert.equal(1, l.h1:ping(name, { family = "inet" }).received)
      assert.same({ name, "h1" }, l:link("h1", name):emitted())
    end
  end)

  it("takes nothing back from the function, and nothing but a function", function()
    local l, link = lab()
    local each = link:each_packet(function(p)
      if p.icmp then return "drop" end
    end)
    assert.equal(1, l.h1:ping("h2", { family = "inet" }).received)
    assert.truthy(message(each.emitted, each):find("the function returned drop, and is to return nothing: p:drop() drops", 1, true))
    assert.truthy(message(link.each_packet, link, "drop"):find("link.each_packet: a function expected, got string", 1, true))
  end)

  it("lets packets pass where its process is killed, and says so", function()
    local l, link = lab()
    local each = link:each_packet(function(p)
      if p.icmp then p:drop() end
    end)
    assert.equal(0, l.h1:ping("h2", { family = "inet", timeout = 0.1 }).received)
    each.process:kill "KILL"
    each.process:wait()
    assert.equal(1, l.h1:ping("h2", { family = "inet" }).received)
    assert.truthy(message(link.emitted, link):find("the process that the function ran in was ended: killed by SIGKILL", 1, true))
    each:close()
    assert.is_nil(l.h1.link:get "lua-eth0")
  end)

  it("ends with a script that is killed", function()
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write [[
      local lab = ns.lab "h1 -- h2"
      local each = lab:link("h1", "h2"):each_packet(function() end)
      each:counters()
      print(each.process.pid)
      io.stdout:flush()
      ns.spawn { "sleep", "60" }:wait()
    ]]
    file:close()
    local p <close> = ns.spawn { "build/bin/nslua", name, stdout = "pipe" }
    local pid = tonumber(p.stdout:read "l")
    p:kill "KILL"
    p:wait()
    os.remove(name)
    assert.is_true(ns.eventually(function()
      return not io.open(("/proc/%d/ns/net"):format(pid)) and (not io.open(("/proc/%d/stat"):format(pid))
        or io.open(("/proc/%d/stat"):format(pid)):read "a":find "%) [ZX]" ~= nil)
    end, 10))
  end)
end)

-- Frames -------------------------------------------------------------------------------------------------------------------------

local function bytes_of(hex)
  return (hex:gsub("%s+", ""):gsub("..", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local ETH = "020000000002 020000000001 "
local frames = {
  bytes_of(ETH .. "0800 4500001d000100004011 f96b c0000201c0000202 0035 1234 0009 0000 61"),
  bytes_of(ETH .. "0800 45000028000100004006 0000 c0000201c0000202 0050 1234 00000001 00000002 5012 ffff 0000 0000"),
  bytes_of(ETH .. "8100 2064 86dd 60000000 0010 00 40 20010db8000000000000000000000001 20010db8000000000000000000000002"
    .. " 3a000000 00000000 8000 0000 0001 0001"),
  bytes_of(ETH .. "0806 0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202"),
  bytes_of(ETH .. "0800 45000050000100004011 0000 c0000201c0000202 0035 1234 003c 0000 0001 8180 0001 0002 0000 0000 0161 00 0001 0001"
    .. " c00c 0001 0001 00000000 0004 c0000201 c00c 0001 0001 00000000 0004 c0000202"),
}

-- Read all there is, set all that can be set.
local function exercise(bytes)
  local p, s = packet.new(bytes, "a", "b", 1, function() end)
  tostring(p)
  for _, layer in ipairs { "eth", "vlan", "arp", "ip", "ip6", "icmp", "icmp6", "tcp", "udp", "dns" } do
    for key, value in pairs(p[layer] or {}) do
      local ok, e = pcall(function()
        p[layer][key] = value
      end)
      assert.is_truthy(ok or e:find "cannot be set" or e:find "cut off" or e:find "expected", e)
    end
  end
  if p.payload then
    pcall(function()
      p.payload = p.payload .. "xyz"
    end)
  end
  p:emit(p)
  p:copy()
  return packet.finish(s)
end

describe("a packet", function()
  it("is the same after each field was set to what it is, whatever its bytes are", function()
    local state = 12345
    local function random(n)
      state = (state * 1103515245 + 12345) & 0x7fffffff
      return (state >> 8) % n
    end
    for _, frame in ipairs(frames) do
      for size = 0, #frame do
        exercise(frame:sub(1, size))
      end
      for _ = 1, 100 do
        local at = 1 + random(#frame)
        exercise(layout.put(frame, at, string.char(random(256))))
        exercise(frame:sub(1, at) .. string.char(random(256)) .. frame:sub(at + 2, at + 1 + random(#frame)))
      end
    end
  end)

  it("says what is wrong with what it is told", function()
    for _, case in ipairs {
      { function(p) p.tcp_.sport = 1 end, "unknown field of a packet 'tcp_' %(did you mean 'tcp'%?%)" },
      { function(p) p.ip.ttll = 1 end, "unknown field of ip 'ttll' %(did you mean 'ttl'%?%)" },
      { function(p) return p.udp.dprt end, "unknown field of udp 'dprt' %(did you mean 'dport'%?%)" },
      { function(p) p.ip.length = 1 end, "ip.length cannot be set" },
      { function(p) p.ip.ttl = 256 end, "ip.ttl: an integer from 0 to 255 expected, got 256" },
      { function(p) p.ip.dst = "::1" end, "ip.dst: an address of IPv4 expected, got ::1" },
      { function(p) p.eth.src = "x" end, "eth.src: an Ethernet address such as" },
      { function(p) p.payload = 7 end, "payload: bytes expected, got number" },
      { function(p) p.from = "h3" end, "from cannot be set" },
      { function(p) p.bytes = "" end, "bytes: those of a frame expected" },
      { function(p) p:emit(print) end, "p:emit: value 1 is a function" },
      { function(p) p:emit() end, "p:emit: a value expected" },
      { function(p) p:delay(-1) end, "p:delay: seconds from 0 to a day expected" },
      { function(p) p.drop() end, "p:drop: a method is called with a colon" },
    } do
      local text = message(case[1], (packet.new(frames[1], "a", "b", 1, print)))
      assert.truthy(text:find("spec/lab_each_packet_spec.lua:%d+: " .. case[2]), text)
    end
  end)

  it("says the VLAN, and lets it be set", function()
    local p, s = packet.new(frames[3], "a", "b", 1, print)
    assert.same({ 100, 1, 128 }, { p.vlan.id, p.vlan.priority, p.icmp6.type })
    p.vlan.id = 200
    local q = packet.new(packet.finish(s), "a", "b", 1, print)
    assert.same({ 200, 1 }, { q.vlan.id, q.vlan.priority })
  end)

  it("has a checksum that is wrong still where it was wrong, and none where it had none", function()
    local p, s = packet.new(frames[1], "a", "b", 1, print)
    p.udp.dport = 99
    assert.equal("\0\0", packet.finish(s):sub(41, 42))
    p, s = packet.new(frames[2], "a", "b", 1, print)
    local right = string.unpack(">I2", (layout.mend(frames[2], frames[2])), 51)
    assert.equal(0, right) -- it was wrong
    p.tcp.seq, p.ip.src = 2, "192.0.2.0" -- these leave the sum as it is
    assert.equal(0, (string.unpack(">I2", packet.finish(s), 51)))
    p.tcp.seq = 5
    assert.equal(0xfffc, (string.unpack(">I2", packet.finish(s), 51)))
  end)

  it("keeps the one or the other of the two checksums that are zero", function()
    for _, zero in ipairs { "\0\0", "\255\255" } do
      local frame = layout.put(frames[2], 51, zero)
      frame = layout.mend(frame, frame) -- the header's
      assert.equal(zero, frame:sub(51, 52))
      assert.equal(frame, layout.mend(frame, frame))
    end
  end)

  it("goes out as it is told where its bytes are set", function()
    local p, s = packet.new(frames[2], "a", "b", 1, print)
    p.bytes = frames[4]
    assert.equal("request", p.arp.op)
    assert.equal(frames[4], packet.finish(s))
  end)
end)
