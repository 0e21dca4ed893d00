-- Sockets of a namespace: ss(8) is the oracle, python3 the program that has them open.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"

local PROGRAM = [[
import socket, sys, time
l = socket.create_server(("127.0.0.1", 8080), backlog=5)
c = socket.create_connection(("127.0.0.1", 8080))
c.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
d, _ = l.accept()
c.send(b"abc")
l6 = socket.create_server(("::", 8081), family=socket.AF_INET6, dualstack_ipv6=True)
c6 = socket.create_connection(("127.0.0.1", 8081))
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
u.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
u.bind(("::1", 53))
x = socket.socket(socket.AF_UNIX)
x.bind("\0nslua-spec")
x.listen(3)
y = socket.socket(socket.AF_UNIX)
y.connect("\0nslua-spec")
p, q = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
k = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
k.bind(("lo", 0x0800))
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
n.bind((0, 1 | 16))
print("up", flush=True)
sys.stdin.read()
]]

describe("sockets", function()
  local why = rtnl.cannot() or not (helper.has "ss" and helper.has "python3") and "needs ss(8) and python3" or nil
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a, program, script

  before_each(function()
    a = rtnl.netns "a"
    script = os.tmpname()
    local f = assert(io.open(script, "w"))
    f:write(PROGRAM)
    f:close()
    program = a:spawn { "python3", script, stdin = "pipe", stdout = "pipe" }
    assert.equal("up", program.stdout:read())
  end)
  after_each(function()
    program:close()
    os.remove(script)
    rtnl.close()
  end)

  -- Lines of ss by the socket's cookie, or another number in it.
  local function shown(arguments, pattern, base)
    local out, ok = rtnl.inside(a, "ss -H -O -n -e " .. arguments)
    assert(ok, out)
    local lines = {}
    for line in out:gmatch "[^\n]+" do
      lines[tonumber(line:match(pattern or "sk:(%x+)"), base or 16)] = line
    end
    return lines
  end

  local states = { ESTAB = "established", LISTEN = "listen", UNCONN = "closed", ["TIME-WAIT"] = "time-wait" }

  local function count(t)
    local n = 0
    for _ in pairs(t) do
      n = n + 1
    end
    return n
  end

  it("of the internet are those that ss shows, field by field", function()
    local theirs, n = shown "-a -i -m -t -u", 0
    for row in a.sockets:each { family = { "inet", "inet6" } } do
      local line = theirs[row.cookie]
      assert.is_string(line, row:json())
      n = n + 1
      local proto, state, recv, send, src, sport, dst, dport = line:match "^(%S+)%s+(%S+)%s+(%d+)%s+(%d+)%s+(%S+):(%S+)%s+(%S+):(%S+)"
      local function address(text)
        return text == "*" and "::" or (text:gsub("[%[%]]", ""):gsub("%%.*$", ""))
      end
      local function port(text)
        return text == "*" and 0 or tonumber(text)
      end
      assert.same({ proto, states[state], tonumber(recv), tonumber(send), address(src), port(sport), address(dst), port(dport) },
        { row.proto, row.state, row.recv_queue, row.send_queue, row.src, row.sport, row.dst, row.dport }, line)
      assert.equal(tonumber(line:match "ino:(%d+)") or 0, row.inode)
      assert.equal(tonumber(line:match "uid:(%d+)") or 0, row.uid)
      assert.equal(line:match "%%(%w+):", row.dev)
      local m = row.memory
      assert.equal(line:match "skmem:%((.-)%)", ("r%d,rb%d,t%d,tb%d,f%d,w%d,o%d,bl%d,d%d"):format(m.rmem_alloc, m.rcv_buf, m.wmem_alloc,
        m.snd_buf, m.fwd_alloc, m.wmem_queued, m.opt_mem, m.back_log, m.sock_drop))
      if proto == "tcp" then
        local t = row.tcp_info
        assert.truthy((line .. " "):find(" " .. row.congestion .. " ", 1, true), line)
        assert.equal(line:match " cwnd:(%d+)" or "10", ("%d"):format(t.snd_cwnd))
        if row.state == "established" then
          assert.equal(line:match " rto:(%S+)", ("%.14g"):format(t.rto * 1000))
          assert.equal(line:match " rtt:(%S+)", ("%g/%g"):format(t.rtt * 1000, t.rttvar * 1000))
          assert.equal(line:match " wscale:(%S+)", ("%d,%d"):format(t.snd_wscale, t.rcv_wscale))
          for ours, word in pairs { snd_mss = "mss", pmtu = "pmtu", rcv_mss = "rcvmss", advmss = "advmss", bytes_sent = "bytes_sent",
            bytes_acked = "bytes_acked", bytes_received = "bytes_received", segs_out = "segs_out", segs_in = "segs_in", delivered = "delivered" } do
            assert.equal(tonumber(line:match(" " .. word .. ":(%d+)")) or 0, t[ours], word .. " in " .. line)
          end
          assert.equal(tonumber((line:match " send (%d+)bps")) and "established", t.state)
        end
      end
      assert.equal(line:match "timer:%((%a+)", row.timer and row.timer.name)
    end
    assert.equal(count(theirs), n)
    assert.is_true(n >= 7)
  end)

  it("leave out what takes time, where it is asked so", function()
    local full, brief = a.sockets:list { proto = "tcp" }, a.sockets:list({ proto = "tcp" }, { brief = true })
    assert.equal(#full, #brief)
    for i, row in ipairs(brief) do
      assert.truthy(row == full[i])
      assert.truthy(full[i].tcp_info)
      assert.is_nil(row.tcp_info)
      assert.is_nil(row.memory)
      assert.equal(full[i].src .. full[i].sport .. full[i].state, row.src .. row.sport .. row.state)
    end
    local ok, message = pcall(a.sockets.list, a.sockets, {}, { breif = true })
    assert.is_false(ok)
    assert.matches("did you mean 'brief'", tostring(message))
  end)

  it("of TCP count marks of ECN and the bytes that have them, where the kernel tells", function()
    a:sysctl("net.ipv4.tcp_ecn", 1)
    local peers = a:spawn { "python3", "-c", [[
import socket, struct, sys
l = socket.create_server(("127.0.0.1", 9090))
c = socket.create_connection(("127.0.0.1", 9090))
s, _ = l.accept()
c.sendall(b"x" * 5000)
n = 0
while n < 5000: n += len(s.recv(5000))
info = s.getsockopt(socket.SOL_TCP, socket.TCP_INFO, 1000)
print(*(struct.unpack_from("7I", info, 248) if len(info) >= 276 else ["none"]), flush=True)
sys.stdin.read()
]], stdin = "pipe", stdout = "pipe" }
    local theirs = peers.stdout:read()
    local t = a.sockets:list({ sport = 9090, state = "established" })[1].tcp_info
    peers:close()
    assert.is_true(t.options.ecn)
    local ours = {}
    for _, word in ipairs { "received_ce", "delivered_e1_bytes", "delivered_e0_bytes", "delivered_ce_bytes", "received_e1_bytes",
      "received_e0_bytes", "received_ce_bytes" } do
      ours[#ours + 1] = t[word] and ("%d"):format(t[word])
    end
    assert.equal(theirs, ours[1] and table.concat(ours, " ") or "none")
    assert.equal(ours[1] and 5000, t.received_e0_bytes)
  end)

  it("are found by what a filter asks of the kernel", function()
    local s = a.sockets
    local function n(filter)
      return #s:list(filter)
    end
    assert.equal(1, n { sport = 8080, state = "listen" })
    assert.equal(1, n { dport = 8080 })
    assert.equal("keepalive", s:list { dport = 8080 }[1].timer.name)
    assert.equal(3, s:list { sport = 8080, state = "established" }[1].recv_queue)
    assert.equal(3, n { sport = 8080, src = "127.0.0.0/8" } + n { dport = 8080, dst = "127.0.0.1" })
    assert.equal(0, n { dport = 8080, dst = "126.0.0.0/8" })
    assert.equal(1, n { dport = 8080, dst = "126.0.0.0/7" })
    assert.equal(2, n { state = "listen", proto = "tcp" })
    assert.equal(1, n { state = "listen", family = "inet6" })
    -- IPv4 in a socket of IPv6
    assert.equal("::ffff:127.0.0.1", s:list { sport = 8081, src = "127.0.0.0/8", state = "connected" }[1].src)
    assert.equal(1, n { dev = "lo", proto = "udp" })
    assert.equal("::1", s:list({ dev = "lo", proto = "udp" })[1].src)
    assert.equal(1, n { src = "::1/128" })
    assert.equal(0, n { src = "::2/127", proto = "udp" })
    local row = s:list({ sport = 53 })[1]
    assert.is_true(row == s:list({ cookie = row.cookie })[1])
    assert.is_true(row == s:list({ inode = row.inode, uid = row.uid })[1])
    local same = n { state = "established" }
    assert.equal(same, n { state = { "estab" } })
    assert.equal(n {}, n { state = "all", family = { "inet", "inet6", "unix" } } + n { family = { "packet", "netlink" } })
  end)

  it("of unix, packet and netlink are those that ss shows, too", function()
    local theirs, n = shown("-a -x", "^%S+%s+%S+%s+%d+%s+%d+%s+%S+%s+(%d+)", 10), 0
    for row in a.sockets:each { family = "unix" } do
      local line = theirs[row.inode]
      local kind, state, recv, send, path, inode, peer = line:match "^(%S+)%s+(%S+)%s+(%d+)%s+(%d+)%s+(%S+)%s+(%d+)%s+%S+%s+(%d+)"
      assert.same({ kind, states[state], tonumber(recv), tonumber(send), path ~= "*" and path or nil, tonumber(inode), tonumber(peer) },
        { ({ stream = "u_str", dgram = "u_dgr", seqpacket = "u_seq" })[row.type], row.state, row.recv_queue, row.send_queue, row.path, row.inode,
          row.peer or 0 }, line)
      n = n + 1
    end
    assert.equal(count(theirs), n)
    local listener = a.sockets:list({ path = "@nslua-spec", state = "listen" })[1]
    assert.equal(1, #listener.pending)
    assert.equal(2, #a.sockets:list { type = "seqpacket" })
    local k = a.sockets:list({ family = "packet" })
    assert.equal(1, #k)
    assert.same({ "dgram", 0x800, "lo" }, { k[1].type, k[1].protocol, k[1].dev })
    theirs = shown "-a -0"
    assert.matches("^p_dgr.*ino:" .. k[1].inode, theirs[k[1].cookie])
    local r = a.sockets:list { protocol = "route", group = 5 }
    assert.equal(1, #r)
    assert.same({ 1, 5 }, r[1].groups)
    assert.equal(r[1].pid, a.sockets:list({ pid = r[1].pid, protocol = "route" })[1].pid)
    assert.equal(0, #a.sockets:list { protocol = "route", group = 7 })
  end)

  it("are closed by destroy, where the kernel does that", function()
    local row = a.sockets:list({ dport = 8080 })[1]
    local ok, e = pcall(a.sockets.destroy, a.sockets, row)
    if not ok then
      assert(require "nslua".error.is(e, "EOPNOTSUPP"), tostring(e))
      assert.matches("CONFIG_INET_DIAG_DESTROY", tostring(e))
      return pending(tostring(e))
    end
    assert.equal(0, #a.sockets:list { dport = 8080, state = "established" })
    helper.fails("ENOENT", a.sockets.destroy, a.sockets, row)
    assert.equal(1, a.sockets:destroy { proto = "tcp", sport = 8081, state = "listen" })
    assert.equal(0, #a.sockets:list { sport = 8081, state = "listen" })
    assert.equal(0, a.sockets:destroy { sport = 8081, state = "listen" })
    assert.equal(1, a.sockets:destroy { proto = "udp", sport = 53 }) -- keeps its port
    a:batch(function()
      a.sockets:destroy { sport = 8080, state = "listen" }
    end)
    assert.equal(0, #a.sockets:list { sport = 8080, state = "listen" })
  end)

  it("teach what is wrong with a call", function()
    local function says(text, fn, ...)
      local ok, e = pcall(fn, ...)
      assert.is_false(ok)
      assert.truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    local s = a.sockets
    says("unknown key 'dprt' (did you mean 'dport'?)", s.list, s, { dprt = 1 })
    says("unknown state 'listn' (did you mean 'listen'?)", s.list, s, { state = "listn" })
    says("unknown proto 'tpc' (did you mean 'tcp'?)", s.list, s, { proto = "tpc" })
    says("sport must be a port from 0 to 65535, got 70000", s.list, s, { sport = 70000 })
    says("sport must be a port from 0 to 65535, got string", s.list, s, { sport = "80" })
    says("src: \"10.0.0\" is no address", s.list, s, { src = "10.0.0" })
    says("a filter with something in it, expected: an empty one is every socket", s.destroy, s, {})
    says("got link row", s.destroy, s, a.link:get "lo")
    says("family unix", s.destroy, s, s:list({ family = "unix" })[1])
    says("sockets.destroy", a.transaction, a, function()
      s:destroy { sport = 1 }
    end)
  end)
end)

describe("numbers of the schemas of sockets", function()
  it("are those of <linux/*.h>", function()
    if not helper.has "cc" then
      return pending "no C compiler here"
    end
    local out, ok = require "spec.headers".check(require "nslua.diag.schema", {})
    assert(ok, out)
  end)

  it("of struct tcp_info are those of <linux/tcp.h>, as far as it has them", function()
    if not helper.has "cc" then
      return pending "no C compiler here"
    end
    local book, constants = require "nslua.diag.schema", {}
    book:compile "tcp_info"
    for _, m in ipairs(book.structs.tcp_info.members) do
      if m.key ~= "wscale" and m.key ~= "bits" then
        constants[#constants + 1] = { expression = ("offsetof(struct tcp_info, tcpi_%s)"):format(m.key), value = m.off, header = "linux/tcp.h",
          where = m.key, newer = m.off >= 232 }
      end
    end
    assert.is_true(#constants > 55)
    local out, ok = require "spec.headers".check(nil, constants)
    assert(ok, out)
  end)
end)
