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
