-- Impaired links: the same words and methods on netem and on wires. Where the kernel has no netem its half is skipped.

local helper = require "spec.helper"
local impair = require "nslua.lab.impair"
local netem = require "nslua.netem"
local ns = require "nslua"
local wires = require "spec.wire_helper"

after_each(helper.close_held)

local function link(words)
  local a, b = wires.namespaces()
  words.a, words.b = wires.ends(a, b)
  local made = helper.held(impair.link(words))
  wires.introduce(a, b)
  return made, a, b
end

describe("netem.available", function()
  it("says what adding one says, and asks once", function()
    local handle = helper.held(helper.netns())
    local ok, e = pcall(handle.qdisc.add, handle.qdisc, { "netem", dev = "lo", netem = { delay = "1ms" } })
    assert.is_true(ok or ns.error.is(e, "ENOENT"))
    assert.equal(ok, netem.available())
    local began = helper.fd_count()
    assert.equal(ok, netem.available())
    assert.equal(began, helper.fd_count())
  end)
end)

describe("the words of a wire as netem's", function()
  it("are all said, so that a change is complete", function()
    local t = netem.options("spec", { delay = "10ms", loss = "1%" })
    assert.equal("10ms 1% 1000", ("%s %s %d"):format(t.delay, t.loss, t.limit))
    for _, word in ipairs { "jitter", "duplicate", "corrupt", "reorder", "rate", "gap" } do
      assert.is_false(t[word])
    end
    assert.is_nil(t.each_packet)
    assert.is_true(netem.knows { delay = 1, loss = { gemodel = { p = 0.1 } } })
    assert.is_false(netem.knows { limit_bytes = "64kb" })
    assert.has_error(function()
      netem.options("spec", { limit_bytes = "64kb" })
    end)
  end)
end)

for _, backend in ipairs { "netem", "wire" } do
  describe("an impaired link by " .. backend, function()
    if backend == "netem" and not netem.available() then
      pending "this kernel has no netem"
      return
    elseif backend == "wire" and wires.cannot() then
      pending(wires.cannot())
      return
    end

    local function rtt(a, count)
      local r = a:ping("10.0.0.2", { count = count, interval = 0.01, timeout = 10 })
      return r.rtt.min, r.received
    end

    it("delays, loses, changes and counts", function()
      local l, a = link { backend = backend, to = { delay = "10ms" }, from = { delay = "10ms" }, seed = 1 }
      assert.equal(backend, l.backend)
      assert.is_true(rtt(a, 5) >= 0.020)
      assert.is_true(l:counters().to.sent >= 5)
      l:change { to = { delay = "20ms" } }
      assert.is_true(rtt(a, 5) >= 0.030)
      l:change { to = { loss = "100%" } }
      assert.equal("20ms 100%", l.to.delay .. " " .. l.to.loss)
      local r = a:run { "ping", "-q", "-c3", "-i0.01", "-W0.1", "10.0.0.2" }
      assert.matches(" 0 received", r.stdout)
      assert.is_true(l:counters().to.lost >= 3)
      l:change { to = { loss = false } }
      assert.is_true(rtt(a, 5) >= 0.030)
      l:change { to = false, from = false }
      local min, received = rtt(a, 5)
      assert.is_true(min < 0.010)
      assert.equal(5, received)
    end)

    it("lets nothing through while it is down", function()
      local l, a = link { backend = backend, to = { delay = "1ms" } }
      l:down()
      local r = a:run { "ping", "-q", "-c2", "-i0.01", "-W0.1", "10.0.0.2" }
      assert.is_nil(r.stdout:find "[1-9] received")
      l:up()
      local min, received = rtt(a, 3)
      assert.is_true(min >= 0.001)
      assert.equal(3, received)
    end)

    it("does later what it was told, and stays so", function()
      local l, a = link { backend = backend, to = { delay = "1ms" } }
      local function received()
        return tonumber(a:run({ "ping", "-q", "-c2", "-i0.01", "-W0.3", "10.0.0.2" }).stdout:match "(%d+) received")
      end
      l:at(0, { to = { loss = "100%" } })
      ns.eventually(function()
        return received() == 0
      end, 20)
      l:change { from = { delay = "5ms" }, to = { corrupt = 0 } } -- leaves what a step set
      assert.equal(0, received())
      l:at(0.01, { to = { loss = false } })
      ns.eventually(function()
        return received() == 2
      end, 20)
      l:replay { to = { delay = { { 0, "2ms" }, { 0.01, "20ms" } } } }
      ns.eventually(function()
        return rtt(a, 2) >= 0.025
      end, 20)
      l:flap { down = 60, count = 1 }
      ns.eventually(function()
        return received() == 0
      end, 20)
      l:at(30, { to = { loss = 1 } })
      assert.is_true(l:unschedule())
      ns.eventually(function()
        return received() == 2
      end, 20)
      l:flap { down = "10ms", up = "5ms", count = 2 }
      ns.eventually(function()
        return received() == 2
      end, 20)
      assert.is_false((pcall(l.at, l, 1, { to = { los = 1 } })))
      assert.is_false((pcall(l.flap, l, { down = 1 })))
    end)

    it("jitters by a distribution, and by another", function()
      local l, a = link { backend = backend, to = { delay = "50ms", jitter = "5ms", distribution = "pareto", correlation = "25%" } }
      local function least(count)
        local min, received = rtt(a, count)
        assert.equal(count, received)
        return min
      end
      -- no packet is early by more than two thirds, or four times, or one time the jitter
      assert.is_true(least(20) >= 0.0465)
      l:change { to = { distribution = "normal" } }
      assert.is_true(least(20) >= 0.029)
      l:change { to = { distribution = false } }
      assert.is_true(least(20) >= 0.0449)
      l:change { to = { jitter = false } }
      assert.is_true(least(5) >= 0.0499)
    end)

    it("has single packets also of what is forwarded to it", function()
      local lab = helper.held(ns.lab(("{seed=7%s} h1 -- r1 --0ms-- h2\nr1 --0ms-- h3"):format(backend == "wire" and ", wire=on" or "")))
      local l = lab:link("r1", "h2")
      assert.equal(backend, lab.wires[l.number].backend)
      -- How large frames are; netem counts the packets in a frame, so there it is what the sender may put into one
      local function size()
        if backend == "netem" then
          return lab.h1.link:get("eth0").gso_max_segs * 1514
        end
        local before = l:counters().to
        wires.transfer(lab.h1, lab.h2, 500000, lab.h2:address_of())
        local c = l:counters().to
        return (c.bytes - before.bytes) / (c.sent - before.sent)
      end
      assert.is_true(size() > 1514)
      l:change { to = { loss = "0.0001%" } }
      assert.is_true(size() <= 1514)
      local other = lab:link("r1", "h3")
      other:change { delay = "1ms" } -- is part of the same paths
      assert.is_true(backend == "wire" or lab.h3.link:get("eth0").gso_max_segs == 1)
      assert.equal(l, l:at(60, { delay = "1ms", to = { loss = "1%" } }))
      assert.equal(l, l:flap { down = 1, count = 1, after = 60 })
      assert.equal(l, l:replay { to = { rate = { { 60, "1mbit" } } } })
      assert.equal(l, l:unschedule())
      local ok, e = pcall(function()
        lab:link("h1", "r1"):at(1, {})
      end)
      assert.is_false(ok)
      assert.matches("was built without anything", tostring(e))
    end)

    it("goes on with what it was told to do later where it is moved", function()
      local lab = helper.held(ns.lab(("{ipv6=off%s} h1 --0ms-- (s1) -- r1 -- (s2) -- h2"):format(backend == "wire" and ", wire=on" or "")))
      local l = lab:link("h1", "s1")
      assert.equal(backend, lab.wires[l.number].backend)
      local function ping(to)
        return lab.h1:ping(lab[to]:address_of(), { count = 2, interval = 0.01, timeout = 0.3 })
      end
      l:at(0, { delay = "20ms" })
      ns.eventually(function()
        local r = ping "r1"
        return r.received > 0 and r.rtt.min >= 0.04
      end, 20)
      l:at(1, { to = { loss = 1 } })
      l:move "s2"
      local r = ping "h2"
      assert.is_true(r.received == 0 or r.rtt.min >= 0.04)
      ns.eventually(function()
        return ping("h2").received == 0
      end, 20)
      l:unschedule()
      l:change { delay = false, to = { loss = false } }
      assert.equal(2, ping("h2").received)
    end)

    -- What was due when this is called has been done: who does it looks at the clock before an answer.
    local function settle(l)
      l:counters()
      return l:counters()
    end

    local function received(a)
      return a:ping("10.0.0.2", { count = 2, interval = 0.01, timeout = 0.2 }).received
    end

    -- Until all have arrived that are not lost.
    local function arrive(a)
      ns.eventually(function()
        return received(a) == 2
      end, 20)
    end

    it("keeps what is changed while a flap has it down", function()
      local l, a = link { backend = backend, to = { loss = { gemodel = { p = 1, r = 0 } } } }
      l:at(0, { up = false })
      settle(l)
      l:change { to = { loss = false } }
      assert.equal(0, received(a))
      l:at(0, { up = true })
      settle(l)
      arrive(a)
      l:at(0, { up = false })
      l:change { to = { loss = 1 } }
      l:at(0, { up = true })
      settle(l)
      assert.equal(0, received(a))
      l:flap { down = "1ms", up = "1ms" }
      l:change { to = { loss = 0 } }
      l:unschedule()
      arrive(a)
    end)

    it("is after down() and up() what a schedule has made of it, also meanwhile", function()
      local l, a = link { backend = backend, to = { delay = "1ms" } }
      l:at(0, { to = { loss = 1 } })
      settle(l)
      l:down()
      l:up()
      assert.equal(0, received(a))
      l:at(0, { up = false, to = { loss = false } })
      l:down()
      l:at(0, { to = { delay = "30ms" } })
      settle(l)
      l:up()
      assert.equal(0, received(a))
      l:unschedule()
      ns.eventually(function()
        local min, count = rtt(a, 2)
        return count == 2 and min >= 0.03
      end, 20)
      assert.equal("1ms", l.to.delay) -- what change() said
    end)

    it("loses what is on its way where it goes down, and not where it changes", function()
      local l, a, b = link { backend = backend, to = { delay = "60s" } }
      local s, r = wires.sockets(a, b)
      local function on_their_way(count)
        return ns.eventually(function()
          return l:counters().to.queued == count
        end, 20)
      end
      s:write "1"
      on_their_way(1)
      l:change { to = { delay = "50s", duplicate = 0 } }
      l:at(0, { to = false, from = { delay = "1ms" } })
      settle(l)
      on_their_way(1)
      l:at(0, { up = false })
      settle(l)
      on_their_way(0)
      l:at(0, { up = true, to = { delay = "60s" } })
      settle(l)
      s:write "2"
      on_their_way(1)
      local before = l:counters().to
      l:down()
      on_their_way(0)
      l:change { to = { delay = false } }
      l:up()
      ns.eventually(function()
        s:write "3"
        return r:read(10) == "3"
      end, 20)
      assert.is_true(l:counters().to.sent > before.sent) -- it goes on counting
    end)

    it("lets nothing through at a rate of 0, until there is another", function()
      local l, a = link { backend = backend, from = { delay = "1ms" } }
      l:replay { to = { rate = { { 0, 0 } } } }
      settle(l)
      assert.equal(0, received(a))
      l:replay { to = { rate = { { 0, "100mbit" } } } }
      settle(l)
      arrive(a)
    end)

    it("draws on where it is changed", function()
      local l, a, b = link { backend = backend, to = { delay = "1ms", loss = "50%" }, seed = 3 }
      local s = wires.sockets(a, b)
      for i = 1, 40 do
        l:change { to = { delay = i * 1e-6 } }
        s:write(tostring(i))
      end
      ns.eventually(function()
        local c = l:counters().to
        return c.sent + c.lost == 40
      end, 20)
      local lost = l:counters().to.lost
      assert.is_true(lost > 0 and lost < 40, lost)
    end)

    it("says what a step has failed by, to the first who asks", function()
      if backend == "wire" then
        pending "steps of a wire do not fail: what it sends to a device that is gone is counted as `down`"
      end
      local l, a = link { backend = backend, to = { delay = "1ms" } }
      l:flap { down = "1ms", up = "1ms" }
      a.link:delete "eth0"
      ns.eventually(function()
        local ok, e = pcall(l.change, l, { to = { loss = 0 } })
        return not ok and tostring(e):find "impair.change: .*to be done after [%d.e-]+ s %(impair.flap%) has failed.*eth0"
      end, 20)
      pcall(l.close, l) -- it fails on and on
      l = link { backend = backend, to = { delay = "1ms" } }
      l:at(60, { to = { loss = 1 } })
      helper.sh(("kill -9 %d"):format(l.follower.process.pid))
      local ok, e = pcall(l.counters, l)
      assert.is_false(ok)
      assert.matches("has ended %(.*KILL.*nothing of it is to come", tostring(e))
      assert.equal(0, l:counters().to.lost)
      assert.is_true(l:unschedule())
      -- a lab's end is late, and not too late
      local lab = helper.held(ns.lab "{ipv6=off} h1 --0ms-- h2")
      lab:link("h1", "h2"):flap { down = "1ms", up = "1ms" }
      lab.h1.link:delete "eth0"
      ns.wait({}, 0.005) -- a step at the least is due by now
      ok, e = pcall(lab.close, lab)
      assert.is_false(ok)
      assert.matches("link.at: .*after [%d.e-]+ s %(link.flap%) has failed", tostring(e))
    end)

    -- What is said; how it is drawn; what netem has of it.
    local said = {
      { { delay = "10ms" }, "10ms", { delay = 0.01 } },
      { { delay = "10ms", jitter = "1ms" }, "10ms,jitter 1ms", { delay = 0.01, jitter = 0.001 } },
      { { delay = "20ms", jitter = "2ms", distribution = "pareto", correlation = "25%" }, "20ms, jitter 2ms, correlation 25%, distribution pareto",
        { delay = 0.02, jitter = 0.002, correlation = 0.25 } },
      { { loss = "1.5%", loss_correlation = 0.5 }, "1.5%,loss_correlation 50%", { loss = 0.015, loss_correlation = 0.5 } },
      { { loss = { gemodel = { p = "1%", r = "10%", h = "30%", k = "99%" } } }, "loss gemodel p 1% r 10% h 30% k 99%",
        { gemodel = { p = 0.01, r = 0.1, h = 0.3, k = 0.99 } } },
      { { duplicate = "2%", duplicate_correlation = "10%" }, "duplicate 2%, duplicate_correlation 10%",
        { duplicate = 0.02, duplicate_correlation = 0.1 } },
      { { delay = "5ms", reorder = "25%", reorder_correlation = "50%", gap = 5 }, "5ms, gap 5, reorder 25%, reorder_correlation 50%",
        { delay = 0.005, reorder = 0.25, reorder_correlation = 0.5, gap = 5 } },
      { { to = { corrupt = "0.1%", corrupt_correlation = "5%" } }, ">corrupt 0.1%, >corrupt_correlation 5%",
        { corrupt = 0.001, corrupt_correlation = 0.05 } },
      { { rate = "10mbit", limit = 50 }, "10mbit,limit 50", { rate = 10e6, limit = 50 } },
      { { to = { delay = 1.5, rate = 8000 }, from = { delay = "3us" } }, ">1.5s,<3us,>8kbit", { delay = 1.5, rate = 8000 } },
      { { each_packet = true, seed = 5 }, "each_packet,seed 5", {} },
      { {}, "0s", { delay = 0, jitter = 0, correlation = 0, loss = 0, loss_correlation = 0, duplicate = 0, duplicate_correlation = 0, reorder = 0,
        reorder_correlation = 0, gap = 0, corrupt = 0, corrupt_correlation = 0, rate = 0, limit = 1000 } },
    }

    local wrong = {
      { "jitter needs a delay", "change", { jitter = 5 } },
      { "reorder needs a delay: nothing waits that could be overtaken", "change", { to = { reorder = 0.1 } } },
      { "gap is of reorder", "change", { gap = 3 } },
      { "distribution is of jitter", "change", { delay = 1, distribution = "normal" } },
      { "unknown distribution 'norm' (did you mean 'normal'?)", "change", { delay = 1, jitter = 1, distribution = "norm" } },
      { "link.change: unknown key 'los' (did you mean 'loss'?)", "change", { los = 1 } },
      { "link.change: to: loss: 2 is not between 0 and 1 (or 0% and 100%)", "change", { loss = 2 } },
      { "link.change: from: duplicate: cannot read \"x\" (write it like \"1%\")", "change", { from = { duplicate = "x" } } },
      { "link.change: to: loss.gemodel: p is needed", "change", { loss = { gemodel = { r = 1 } } } },
      { "link.change: to: rate: 0 is no rate (false is any)", "change", { rate = 0 } },
      { "link.change: to: delay: -1 is no time to wait", "change", { delay = -1 } },
      { "link.change: to: a limit is at least 1", "change", { limit = 0 } },
      { "link.at: after: -1 is no time to wait", "at", -1, { delay = 1 } },
      { "link.at: to: corrupt: 200% is not between 0 and 1 (or 0% and 100%)", "at", 1, { corrupt = "200%" } },
      { "link.flap: down is missing: { down = 1, up = 4, count = 3 }", "flap", { up = 1 } },
      { "link.replay: delay: point 2 is not after the one before it", "replay", { delay = { { 1, 1 }, { 1, 2 } } } },
      { "link.replay: delay: point 1: to: delay: cannot read \"x\" (write it like \"10ms\")", "replay", { delay = { { 0, "x" } } } },
    }

    it("shows what it was told, and says what is wrong", function()
      local lab = helper.held(ns.lab(("{ipv6=off%s} h1 --0ms-- h2"):format(backend == "wire" and ", wire=on" or "")))
      local l = lab:link("h1", "h2")
      for _, case in ipairs(said) do
        l:change { to = false, from = false }
        l:change(case[1])
        local drawn = lab:draw()
        assert.equal((case[2]:gsub("[ ,]", "")), ((drawn:match "%[1%] ([^\n]+)" or drawn:match "h1 (.-) h2"):gsub("─", ""):gsub("[ ,]", "")))
        assert.same(case[1].to or case[1].from and {} or case[1], lab.wires[l.number].to)
        local row = backend == "netem" and lab.h1.qdisc:get("eth0").netem or case[3]
        for word, value in pairs(case[3]) do
          if word == "gemodel" then
            assert.same(backend == "netem" and value or nil, backend == "netem" and row.loss.gemodel or nil)
          else
            assert.near(value, row[word], value * 1e-3, word)
          end
        end
      end
      local drawn = lab:draw { format = "json" }
      for _, case in ipairs(wrong) do
        local ok, e = pcall(l[case[2]], l, table.unpack(case, 3))
        assert.is_false(ok)
        assert.is_truthy(tostring(e):find(case[1], 1, true), tostring(e))
      end
      assert.equal(drawn, lab:draw { format = "json" })
    end)

    it("takes packets of another size", function()
      local lab = helper.held(ns.lab(("{%s} h1 --0ms-- r1 -- h2"):format(backend == "wire" and "wire=on" or "seed=1")))
      local l = lab:link("h1", "r1")
      local function fits(size)
        return lab.h1:ping("h2", { size = size - 28, dont_fragment = true, family = "inet", timeout = 2 }).received == 1
      end
      assert.is_true(fits(1500))
      assert.equal(l, l:change { mtu = 1400, delay = "1ms" })
      assert.equal("1400 1400", lab.h1.link:get("eth0").mtu .. " " .. lab.r1.link:get("eth0").mtu)
      assert.is_false(fits(1401))
      assert.is_true(fits(1400))
      lab:link("r1", "h2"):change { mtu = 9000 } -- any link has one
      l:change { mtu = 9000 }
      assert.is_true(fits(9000))
      local drawn = lab:draw { format = "json" }
      assert.is_truthy(drawn:find('"mtu":9000', 1, true))
      for text, t in pairs { ["link.change: mtu must be 68-65535 or false, got 67"] = { mtu = 67 }, ["IPv6 needs an MTU of 1280"] = { mtu = 1000 },
        ["unknown key 'mtu'"] = { to = { mtu = 1400 } } } do
        local ok, e = pcall(l.change, l, t)
        assert.is_false(ok)
        assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
      end
      assert.equal(drawn, lab:draw { format = "json" })
      l:change { mtu = false }
      assert.equal(1500, lab.r1.link:get("eth0").mtu)
    end)

    it("is gone once closed", function()
      local l, a, b = link { backend = backend }
      assert.is_true(l:isopen())
      assert.is_true(l:close())
      assert.is_true(l:close())
      assert.is_nil(a.link:get "eth0")
      assert.is_nil(b.link:get "eth0")
      assert.is_false((pcall(l.counters, l)))
    end)

    it("has one packet in a frame where packets count", function()
      local l, a, b = link { backend = backend, to = { rate = "200mbit" } }
      wires.transfer(a, b, 500000)
      local c = l:counters().to
      assert.is_true(c.bytes >= 500000)
      assert.is_true(c.bytes / c.sent <= 1514, c.bytes / c.sent)
    end)
  end)
end

describe("impair.link", function()
  it("takes netem where there is one that knows the words, else a wire", function()
    if wires.cannot() then
      pending(wires.cannot())
    end
    assert.equal(netem.available() and "netem" or "wire", (link { to = { delay = "1ms" } }).backend)
    local hub = helper.held(ns.wire.hub())
    local l = link { to = { limit_bytes = "64kb" }, hub = hub }
    assert.equal("wire", l.backend)
    assert.equal(hub, l.state.hub)
  end)

  it("says what is wrong before it makes anything", function()
    local a, b = wires.namespaces()
    local first, second = wires.ends(a, b)
    for text, words in pairs { ["did you mean 'loss'"] = { to = { los = 1 } }, ["unknown backend 'wires'"] = { backend = "wires" },
      ["limit_bytes is for wires"] = { backend = "netem", to = { limit_bytes = 10000 } } } do
      words.a, words.b = first, second
      local ok, e = pcall(impair.link, words)
      assert.is_false(ok)
      assert.is_true(tostring(e):find(text, 1, true) ~= nil, tostring(e))
      assert.is_nil(a.link:get "eth0")
    end
  end)

  it("leaves nothing of a netem that the kernel has not", function()
    if netem.available() then
      pending "it has"
    end
    local a, b = wires.namespaces()
    local first, second = wires.ends(a, b)
    helper.fails("ENOENT", impair.link, { a = first, b = second, backend = "netem", to = { delay = 1 } })
    assert.is_nil(a.link:get "eth0")
    local plain = impair.link { a = first, b = second, backend = "netem" }
    assert.equal("veth", a.link:get("eth0").kind)
    helper.fails("ENOENT", plain.change, plain, { to = { delay = 1 } })
    assert.same({}, plain.to)
    assert.is_true(plain:isopen())
    plain:close()
    assert.is_nil(b.link:get "eth0")
  end)
end)
