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
      netem.options("spec", { each_packet = true })
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
      local r = a:run { "ping", "-q", "-c", tostring(count), "-i", "0.01", "-W", "3", "10.0.0.2", timeout = 30 }
      return tonumber(r.stdout:match "= ([%d.]+)/") / 1000, tonumber(r.stdout:match "(%d+) received")
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
      local lab = helper.held(ns.lab(("{seed=7%s} h1 -- r1 --0ms-- h2"):format(backend == "wire" and ", wire=on" or "")))
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
      l:at(2, { to = { loss = 1 } })
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
