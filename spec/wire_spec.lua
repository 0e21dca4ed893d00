-- Wires: every impairment on real devices, what is counted, what a change does, and that everything ends with the script.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local unprivileged = require "spec.unprivileged"
local wires = require "spec.wire_helper"

after_each(helper.close_held)

local function runs(pid)
  local f = io.open(("/proc/%d/stat"):format(pid))
  local state = f and f:read("*a"):match "%) (%a)"
  if f then
    f:close()
  end
  return state ~= nil and state ~= "Z" and state ~= "X"
end

-- Every frame is accounted for.
local function balanced(c)
  assert.equal(c.taken + c.duplicated, c.sent + c.lost + c.limited + c.down + c.queued)
end

for _, kind in ipairs(wires.kinds) do describe("a wire of kind " .. kind, function()
  before_each(function()
    wires.kind = kind
  end)
  wires.kind = kind
  local why = wires.cannot()
  if why then
    pending(why)
    return
  end

  -- Round trips in seconds. Not of ping(8), which waits for the last answers no longer than twice what the others took.
  -- Under another Lua than 5.4, which that needs, by the program.
  local function ping(handle, count, size)
    if _VERSION == "Lua 5.4" then
      local r = handle:ping("10.0.0.2", { count = count, interval = 0.01, timeout = 10, size = size, dont_fragment = size and true })
      return r.rtt.min, r.received
    end
    local words = { "build/bin/nslua", "ping", "-j", "-c", tostring(count), "-i", "0.01", "-W", "10", "-s", tostring(size or 56), ".", "10.0.0.2" }
    if size then
      table.insert(words, 3, "-M")
    end
    local out = handle:run(words).stdout
    return tonumber(out:match '"min":([%d.e-]+)'), tonumber(out:match '"received":(%d+)')
  end

  it("has an end that moves to another namespace, and ends with that", function()
    local a, b = wires.namespaces()
    local c = ns.netns.new { lo = true, userns = rawget(a, "userns") }
    local first, second = wires.ends(a, b, 1400)
    local w = ns.wire.new { a = first, b = second, to = { delay = "20ms" }, kind = kind }
    ping(a, 1)
    w:move("b", c, "eth7")
    assert.is_nil(b.link:get "eth0")
    b:close()
    c.address:add { "10.0.0.2/24", dev = "eth7" }
    c.link:change("eth7", { up = true })
    a.neighbour:delete({ "10.0.0.2", dev = "eth0" }, { absent = "ok" })
    local min, received = ping(a, 3)
    assert.equal(3, received)
    assert.is_true(min >= 0.02)
    w:mtu("a", 9000)
    w:mtu("b", 9000)
    assert.equal(1, select(2, ping(a, 1, 8972)))
    for text, wrong in pairs { ["unknown end 'c'"] = { "c", 1500 }, ["wire.mtu: mtu must be 68-65535"] = { "a", 60 } } do
      local ok, e = pcall(w.mtu, w, wrong[1], wrong[2])
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    w:change { to = { each_packet = true } }
    w:down()
    ns.eventually(function()
      return not c.link:get("eth7").carrier
    end, 10)
    w:up()
    assert.is_false((pcall(w.move, w, "c", a)))
    c:close()
    assert.is_false(w:isopen())
    ns.eventually(function()
      return a.link:get "eth0" == nil
    end, 10)
  end)

  it("is two devices with what was asked for, and nothing more once closed", function()
    local a, b = wires.namespaces()
    local first, second = wires.ends(a, b, 1400)
    second.up = false
    local w = ns.wire.new { a = first, b = second, kind = kind }
    local row = a.link:get "eth0"
    assert.equal(kind .. " 1400 02:00:00:00:00:01", ("%s %d %s"):format(row.kind, row.mtu, row.address))
    assert.is_true(row.up)
    assert.is_true(row.carrier)
    assert.is_false(b.link:get("eth0").up)
    assert.equal("10.0.0.1/24", a.address:list({ dev = "eth0", family = "inet" })[1].address)
    assert.equal("eth0 eth0", w.a.dev .. " " .. w.b.dev)
    assert.is_true(w:close())
    assert.is_true(w:close())
    assert.is_nil(a.link:get "eth0")
    assert.is_nil(b.link:get "eth0")
    assert.is_false(pcall(w.counters, w))
    assert.matches("closed", select(2, pcall(w.change, w, {})))
  end)

  it("delays each way", function()
    local w, a = wires.wire({ delay = "10ms" }, { delay = "20ms" })
    local function fastest(least, below) -- on a machine that has time for it
      ns.eventually(function()
        local min, received = ping(a, 10)
        assert.equal(10, received)
        assert.is_true(min >= least, min)
        return min < below
      end, 20)
    end
    fastest(0.030, 0.3)
    w:change { from = { delay = false } }
    fastest(0.010, 0.030)
    w:change { to = false, from = false }
    fastest(0, 0.010)
    assert.equal(0, w:counters().to.lost)
  end)

  it("loses everything, nothing, or each time the same", function()
    local w, a, b = wires.wire({ loss = "100%" }, nil, { seed = 7 })
    local s, r = wires.sockets(a, b)
    assert.same({}, wires.datagrams(w, s, r, 50))
    w:change { to = { loss = false } }
    assert.equal(50, #wires.datagrams(w, s, r, 50))
    local c = w:counters()
    assert.equal(50, c.to.lost)
    assert.equal(100, c.to.taken)
    assert.equal(0, c.from.taken)
    helper.close_held()

    local function half(seed, noise)
      local w2, a2, b2 = wires.wire({ loss = "50%" }, nil, { seed = seed })
      local s2, r2 = wires.sockets(a2, b2)
      if noise then -- another flow moves nothing
        a2:run { "ping", "-q", "-c3", "-i0.01", "-W0.1", "10.0.0.2" }
      end
      local got = wires.datagrams(w2, s2, r2, 200)
      balanced(w2:counters().to)
      if not noise then
        assert.equal(200 - #got, w2:counters().to.lost)
      end
      helper.close_held()
      return got
    end
    local got = half(7)
    assert.is_true(#got > 60 and #got < 140, #got)
    assert.same(got, half(7, true))
    assert.are_not.same(got, half(8))
  end)

  it("duplicates", function()
    local w, a, b = wires.wire { duplicate = "100%" }
    local s, r = wires.sockets(a, b)
    assert.same({ 1, 1, 2, 2, 3, 3 }, wires.datagrams(w, s, r, 3))
    assert.equal(3, w:counters().to.duplicated)
    balanced(w:counters().to)
  end)

  it("reorders: what is sent at once is there before what waits", function()
    local w, a, b = wires.wire({ delay = "200ms", reorder = "100%", gap = 5 })
    local s, r = wires.sockets(a, b)
    assert.same({ 5, 10, 1, 2, 3, 4, 6, 7, 8, 9 }, wires.datagrams(w, s, r, 10))
    assert.equal(2, w:counters().to.reordered)
  end)

  it("lets packets overtake where the delay jitters", function()
    local w, a, b = wires.wire({ delay = "30ms", jitter = "30ms" }, nil, { seed = 3 })
    local s, r = wires.sockets(a, b)
    local got = wires.datagrams(w, s, r, 100)
    assert.equal(100, #got)
    local backwards = 0
    for i = 2, #got do
      backwards = backwards + (got[i] < got[i - 1] and 1 or 0)
    end
    assert.is_true(backwards > 20, backwards)
  end)

  it("corrupts what had a right checksum", function()
    local w, a, b = wires.wire({ corrupt = "100%" }, nil, { seed = 5 })
    local s, r = wires.sockets(a, b)
    local got = wires.datagrams(w, s, r, 40, 1400)
    assert.equal(40, w:counters().to.corrupted)
    -- A bit in the Ethernet header or the addresses is caught elsewhere, or by nobody.
    local names, values = b:read("/proc/net/snmp"):match "\nUdp: (%a[^\n]+)\nUdp: (%d[^\n]+)"
    local errors = {}
    local next_value = values:gmatch "%d+"
    for name in names:gmatch "%S+" do
      errors[name] = tonumber(next_value())
    end
    assert.is_true(errors.InCsumErrors >= 35, errors.InCsumErrors)
    assert.is_true(#got <= 5, #got)
    w:change { to = false }
    assert.equal(40, #wires.datagrams(w, s, r, 40, 1400))
  end)

  it("sends at a rate", function()
    local w, a, b = wires.wire { rate = "10mbit" }
    local s, r = wires.sockets(a, b)
    local began = ns.clock()
    assert.equal(150, #wires.datagrams(w, s, r, 150, 1200))
    local expected = 150 * (1200 + 42) * 8 / 10e6
    local elapsed = ns.clock() - began
    assert.is_true(elapsed >= expected * 0.98, elapsed)
    assert.is_true(elapsed < expected + 2, elapsed)
    assert.equal(150 * (1200 + 42), w:counters().to.bytes)
  end)

  it("drops what finds the queue full", function()
    local w, a, b = wires.wire { delay = "300ms", limit = 20 }
    local s, r = wires.sockets(a, b)
    local got = wires.datagrams(w, s, r, 50)
    assert.equal(20, #got)
    assert.same({ 1, 20 }, { got[1], got[20] })
    assert.equal(30, w:counters().to.limited)
    w:change { to = { limit = false, limit_bytes = 5000 } }
    assert.equal(4, #wires.datagrams(w, s, r, 10, 1200))
    assert.equal(36, w:counters().to.limited)
    balanced(w:counters().to)
  end)

  it("changes without loss of what is on its way", function()
    local w, a, b = wires.wire { delay = "500ms" }
    local s, r = wires.sockets(a, b)
    for i = 1, 20 do
      s:write(("%d "):format(i))
    end
    w:change { to = { delay = "10ms", loss = "100%" } } -- of those too that the device still has
    assert.same({}, wires.received(r))
    for i = 21, 30 do
      s:write(("%d "):format(i))
    end
    assert.is_true(wires.eventually(function()
      return w:counters().to.lost == 10
    end))
    assert.equal(20, w:counters().to.queued)
    assert.is_true(wires.eventually(function()
      return w:counters().to.queued == 0
    end))
    assert.equal(20, #wires.received(r))
    assert.equal("10ms 100%", w.to.delay .. " " .. w.to.loss)
    w:change { to = { loss = false } }
    assert.same({ delay = "10ms" }, w.to)
  end)

  it("carries TCP unharmed: through a delay by large frames, through chances packet by packet", function()
    local w, a, b = wires.wire({ delay = "5ms" }, { delay = "5ms" })
    local function transfer(bytes)
      wires.transfer(a, b, bytes)
    end
    transfer(4000000)
    local c = w:counters().to
    assert.is_true(c.bytes / c.sent > 3000, "frames of " .. c.bytes / c.sent .. " bytes")
    w:change { to = { loss = "1%", duplicate = "1%", corrupt = "1%", reorder = "1%", jitter = "1ms" }, from = { delay = "1ms" } }
    transfer(1000000)
    local d = w:counters().to
    assert.is_true((d.bytes - c.bytes) / (d.sent - c.sent) <= 1514)
    assert.is_true(d.lost > 0 and d.duplicated > 0 and d.corrupted > 0 and d.reordered > 0)
    balanced(d)
    w:change { to = { loss = false, duplicate = false, corrupt = false, reorder = false, jitter = false } }
    transfer(4000000)
    local e = w:counters().to
    assert.is_true((e.bytes - d.bytes) / (e.sent - d.sent) > 3000)
  end)

  it("keeps VLAN tags", function()
    local w, a, b = wires.wire { corrupt = 0, loss = 0 }
    local s, r = helper.held(a:socket("packet", "raw")), helper.held(b:socket("packet", "raw"))
    local out = ns.run { "python3", "-c", ([[
import socket, struct
s, r = socket.socket(fileno=%d), socket.socket(fileno=%d)
for x in s, r: x.bind(("eth0", 3))
r.setsockopt(263, 8, 1) # SOL_PACKET, PACKET_AUXDATA
frame = bytes.fromhex("020000000002" "020000000001") + struct.pack("!HHH", 0x8100, 0x2007, 0x88b5) + b"nslua"
s.send(frame)
r.settimeout(10)
while True:
    data, control, _, _ = r.recvmsg(2000, 100)
    if data.endswith(b"nslua"): break
print(data.hex(), "%%x %%x" %% struct.unpack("IIIHHHH", control[0][2])[5:])
]]):format(s:number(), r:number()), fds = { s, r }, timeout = 20 }
    assert.equal("02000000000202000000000188b56e736c7561 2007 8100\n", out.stdout, out.stderr)
    assert.equal(23, w:counters().to.bytes)
  end)

  it("carries what is tunnelled, in large frames too", function()
    local w, a, b = wires.wire({ delay = "1ms" }, { delay = "1ms" })
    for i, handle in ipairs { a, b } do
      local ok, e = pcall(handle.link.add, handle.link, { name = "vx0", kind = "vxlan", address = ("02:00:00:00:01:0%d"):format(i), up = true,
        vxlan = { id = 1, port = 4789, remote = ("10.0.0.%d"):format(3 - i), dev = "eth0" } })
      if not ok then
        pending("no VXLAN here: " .. tostring(e))
      end
      handle.address:add { ("10.1.0.%d/24"):format(i), dev = "vx0" }
      handle.neighbour:add { ("10.1.0.%d"):format(3 - i), lladdr = ("02:00:00:00:01:0%d"):format(3 - i), dev = "vx0" }
    end
    wires.transfer(a, b, 3000000, "10.1.0.2")
    assert.is_true(w:counters().to.bytes > 3000000)
  end)

  it("is unplugged and plugged in again", function()
    local w, a, b = wires.wire { delay = "500ms" }
    local s, r = wires.sockets(a, b)
    s:write "1"
    assert.is_true(wires.eventually(function()
      return w:counters().to.queued == 1
    end))
    w:down()
    for _, handle in ipairs { a, b } do
      assert.is_false(handle.link:get("eth0").carrier)
    end
    assert.same({ 0, 1 }, { w:counters().to.queued, w:counters().to.down })
    assert.is_true(wires.eventually(function()
      return a.link:get("eth0").operstate == "down"
    end))
    w:up()
    w:change { to = false }
    assert.is_true(a.link:get("eth0").carrier and b.link:get("eth0").carrier)
    assert.is_true(wires.eventually(function()
      return a.link:get("eth0").operstate ~= "down"
    end))
    assert.same({ 1, 2, 3 }, wires.datagrams(w, s, r, 3))
    -- The far device down, the wire up: counted too.
    b.link:change("eth0", { up = false })
    assert.same({}, wires.datagrams(w, s, r, 3))
    assert.equal(4, w:counters().to.down)
    balanced(w:counters().to)
  end)

  it("outlives neither of its namespaces, and a deleted device is no trouble", function()
    local w, a, b = wires.wire()
    a:close()
    assert.is_false(w:isopen())
    assert.is_nil(b.link:get "eth0")
    local w2, a2, b2 = wires.wire()
    a2.link:delete "eth0"
    b2:run { "ping", "-c1", "-W0.1", "10.0.0.1" }
    assert.is_true(w2:counters().from.down > 0)
    assert.matches("deleted", helper.fails(kind == "tap" and "EBADFD" or "ENODEV", w2.down, w2))
    w2:close()
  end)

  it("is collected with what it joins", function()
    local a, b = wires.namespaces()
    local first, second = wires.ends(a, b)
    ns.wire.new { a = first, b = second, kind = kind }
    collectgarbage()
    collectgarbage()
    assert.is_not_nil(a.link:get "eth0") -- the namespaces hold it
    local path_a, path_b = ("/proc/self/fd/%d"):format(a.fd:number()), ("/proc/self/fd/%d"):format(b.fd:number())
    local fa, fb = helper.held(ns.netns.open(path_a)), helper.held(ns.netns.open(path_b))
    fa.userns, fb.userns = a.userns and a.userns:copy(), b.userns and b.userns:copy()
    ns.wire.new { a = { fa, dev = "x" }, b = { fb, dev = "x" }, kind = kind }
    collectgarbage()
    collectgarbage()
    assert.is_nil(a.link:get "x")
  end)

  it("says what is wrong, and leaves nothing behind", function()
    local a, b = wires.namespaces()
    local first, second = wires.ends(a, b)
    local before = helper.fd_count()
    local function wrong(text, t)
      t.a, t.b, t.kind = t.a or first, t.b or second, kind
      local ok, e = pcall(ns.wire.new, t)
      assert.is_false(ok)
      assert.is_true(tostring(e):find(text, 1, true) ~= nil, tostring(e))
    end
    wrong("unknown key 'los' (did you mean 'loss'?)", { to = { los = "1%" } })
    wrong("is not between 0 and 1", { to = { loss = 2 } })
    wrong("jitter needs a delay", { from = { jitter = "1ms" } })
    wrong("reorder needs a delay", { from = { reorder = 0.1 } })
    wrong("gap is of reorder", { from = { gap = 2 } })
    wrong("mbps", { to = { rate = "10mbps" } })
    wrong("limit is at least 1", { to = { limit = 0 } })
    wrong("wire.new: to: limit_bytes: inf is no limit", { to = { limit_bytes = math.huge } })
    wrong('wire.new: to: seed is a whole number of at most 18 digits, got "x"', { to = { seed = "x" } })
    wrong('wire.new: seed is a whole number of at most 18 digits, got "x"', { seed = "x" })
    wrong("p is needed", { to = { loss = { gemodel = { r = 1 } } } })
    wrong("wire.new in b: EINVAL", { b = { b, dev = "x/y" } })
    wrong("ENOENT", { b = { "nobody-has-this-name" } })
    wrong("address", { b = { b, address = "10.0.0.300/24" } })
    assert.is_nil(a.link:get "eth0")
    local w = ns.wire.new { a = first, b = second, kind = kind }
    wrong("wire.new in a: EEXIST", {})
    assert.is_false((pcall(w.change, w, { to = { rate = -1 } })))
    assert.same({}, w.to)
    w:close()
    first, second = nil, nil
    collectgarbage()
    assert.is_true(helper.fd_count() <= before + 4) -- what the handles keep: a netlink socket each; the keeper's
  end)

  it("is one of many in a process", function()
    local hub = helper.held(ns.wire.hub { seed = 3 })
    assert.is_true(runs(hub.pid))
    local made = {}
    for i = 1, helper.rounds(20, 4) do
      local w, a, b = wires.wire({ loss = "50%" }, nil, { hub = hub })
      made[i] = { w = w, a = a, b = b }
    end
    local seen, different = nil, false
    for i = 1, #made do
      local s, r = wires.sockets(made[i].a, made[i].b)
      local got = table.concat(wires.datagrams(made[i].w, s, r, 40), " ")
      different = different or seen ~= nil and seen ~= got
      seen = got
    end
    assert.is_true(different) -- each draws its own numbers from the seed
    made[1].w:close()
    assert.is_true(made[2].w:isopen())
    hub:close()
    assert.is_true(wires.eventually(function()
      return made[2].a.link:get "eth0" == nil
    end))
    assert.is_false(made[2].w:isopen())
    assert.matches("closed", select(2, pcall(wires.wire, nil, nil, { hub = hub })))
    assert.matches("closed", select(2, pcall(made[2].w.counters, made[2].w)))
  end)

  it("goes in a process of its own, which ends with its last wire", function()
    local w = wires.wire()
    local pid = w.state.hub.pid
    assert.is_true(runs(pid))
    if helper.is_root() then
      local fds = helper.sh(("ls -l /proc/%d/fd | sed -n 's/.* -> //p' | sort | uniq -c"):format(pid))
      local devices = kind == "tap" and "2 /dev/net/tun\n%s+" or ""
      assert.matches(devices .. "1 anon_inode:%[eventpoll%]\n%s+1 anon_inode:%[pidfd%]\n%s+1 anon_inode:%[timerfd%]\n%s+1 socket", fds)
    end
    w:close()
    assert.is_true(wires.eventually(function()
      return not runs(pid)
    end))
    -- Killed by somebody: said, and the next one is well.
    w = wires.wire()
    helper.sh("kill -9 " .. w.state.hub.pid)
    assert.is_true(wires.eventually(function()
      return not w.state.hub:alive()
    end))
    helper.fails("ESRCH", w.counters, w)
    assert.is_true(w:close())
    assert.equal(0, wires.wire():counters().to.lost)
  end)

  it("is not a forked child's to use or to end", function()
    local w, a = wires.wire()
    local p = ns.fork({}, function()
      local ok, e = pcall(w.counters, w)
      w:close()
      return ok, tostring(e)
    end)
    local ok, e = p:result(10)
    p:close()
    assert.is_false(ok)
    assert.matches("ESRCH", e)
    assert.equal(0, w:counters().to.lost)
    assert.is_not_nil(a.link:get "eth0")
  end)

  it("leaks no fd over many rounds", function()
    local a, b = wires.namespaces()
    local first, second = wires.ends(a, b)
    local hub = helper.held(ns.wire.hub())
    hub:new({ a = first, b = second, kind = kind }):close()
    local before = helper.fd_count()
    local function held_there() -- nobody but root may look
      return helper.is_root() and #core.file.list("/proc/" .. hub.pid .. "/fd") or 0
    end
    local there = held_there()
    for _ = 1, helper.rounds(50) do
      hub:new({ a = first, b = second, kind = kind }):close()
    end
    assert.equal(before, helper.fd_count())
    assert.equal(there, held_there())
  end)
end) end

-- A script of its own, as root or as nobody, who may open the device here.
local start = [[
  local kind = %s
  local ns = require "nslua"
  local wires = require "spec.wire_helper"
  local u = require("nslua.keeper").needed() and ns.userns.new { map_users = "root" } or nil
  local a, b = ns.netns.new { userns = u }, ns.netns.new { userns = u }
  local first, second = wires.ends(a, b)
  local w = ns.wire.new { a = first, b = second, to = { delay = "10ms" }, kind = kind }
  wires.introduce(a, b)
]]

-- How to run it, and its file. `mode` is that of the device.
local function command(code, as_nobody, kind, mode)
  local script = os.tmpname()
  local f = assert(io.open(script, "w"))
  f:write(start:format(kind and ("%q"):format(kind) or "nil") .. code)
  f:close()
  helper.sh("chmod 644 " .. script)
  local line = "exec env " .. helper.lua .. " " .. script
  if as_nobody then
    line = ("mount -t tmpfs tmpfs /dev/net; %s; exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -c %s"):format(
      mode == "" and "true" or ("mknod -m %s /dev/net/tun c 10 200"):format(mode or "666"), unprivileged.quote(line))
    line = "exec unshare -m sh -c " .. unprivileged.quote(line)
  end
  return line, script
end

describe("a script without rights", function()
  for mode, kind in pairs { ["666"] = "tap", ["600"] = "veth", [""] = "veth" } do
    it("has wires like root, of kind " .. kind .. " where /dev/net/tun has mode " .. (mode == "" and "none" or mode), function()
      unprivileged.needs_uid(pending)
      local line, script = command([[
        local r = a:ping("10.0.0.2", { count = 3, interval = 0.01, timeout = 10 })
        w:change { to = { delay = "20ms", loss = 0 } }
        w:down()
        w:up()
        w:change { to = { loss = 1 } }
        print(w.a.kind, r.received, r.rtt.min >= 0.01, w:counters().to.sent >= 3)
        w:close()
        print(a.link:get "eth0")
      ]], true, nil, mode)
      assert.equal(kind .. "\t3\ttrue\ttrue\nnil", (helper.sh(line)))
      os.remove(script)
    end)
  end
end)

describe("kill -9 of the script", function()
  for name, way in pairs { ["of root"] = { false, "tap" }, ["of root, with veths"] = { false, "veth" }, ["without rights"] = { true, "tap" },
    ["without rights, with veths"] = { true, "veth" } } do
    it(name .. " ends the process and frees the devices", function()
      unprivileged.needs_uid(pending)
      local line, script = command([[
        print(w.state.hub.pid, a.inode, w:counters().to.taken)
        io.stdout:flush()
        ns.wait({}, 100)
      ]], way[1], way[2])
      local p = helper.held(ns.spawn { "sh", "-c", line, stdout = "pipe" })
      local said = assert(p.stdout:read("l", 20))
      os.remove(script)
      local pid, inode = said:match "(%d+)%s+(%d+)"
      assert.is_true(runs(tonumber(pid)), said)
      p:kill "KILL"
      p:wait(5)
      assert.is_true(wires.eventually(function()
        return not runs(tonumber(pid))
      end))
      assert.is_true(wires.eventually(function()
        for _, row in ipairs(ns.namespace.list { type = "net" }) do
          if row.inode == tonumber(inode) then
            return false
          end
        end
        return true
      end))
    end)
  end
end)

describe("a TAP device that cannot be had", function()
  it("is told", function()
    unprivileged.needs_uid(pending)
    for mode, text in pairs { ["600"] = "EACCES.*chmod 666 /dev/net/tun", [""] = "ENOENT.*modprobe tun" } do
      local line, script = command("", true, "tap", mode)
      local out = helper.sh(line)
      os.remove(script)
      assert.matches("wire.new.*" .. text, out)
    end
  end)
end)
