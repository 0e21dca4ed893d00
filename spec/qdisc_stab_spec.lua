-- Size tables of queueing disciplines: nslua sends what tc(8) sends for the same words, and reads what tc shows.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local tc = require "spec.tc_helper"

describe("size tables", function()
  local why = tc.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
  end)
  after_each(rtnl.close)

  local function pfifo(stab)
    return { "pfifo", dev = "eth0", pfifo = { limit = 5 }, stab = stab }
  end

  -- words of nslua, words of tc, and how they read
  local same_words = {
    { { overhead = 18, linklayer = "ethernet" }, "overhead 18 linklayer ethernet" },
    { { overhead = 40, mpu = 64 }, "overhead 40 mpu 64", { overhead = 40, mpu = 64, mtu = 2047, tsize = 512 } },
    { { linklayer = "atm", overhead = 10 }, "linklayer atm overhead 10", { linklayer = "atm", overhead = 10, mtu = 2047, tsize = 512 } },
    { { linklayer = "adsl", mtu = 9000, tsize = 1024, mpu = 84, overhead = -4 }, "linklayer adsl mtu 9000 tsize 1024 mpu 84 overhead -4",
      { linklayer = "atm", mtu = 9000, tsize = 1024, mpu = 84, overhead = -4 } },
    { { linklayer = "atm", mtu = 65535 }, "linklayer atm mtu 65535", { linklayer = "atm", mtu = 65535, tsize = 512 } },
    { { mtu = 100000, mpu = 1, tsize = 100 }, "mtu 100000 mpu 1 tsize 100" },
    { { mtu = "64kb", mpu = 1, tsize = 1 }, "mtu 65536 mpu 1 tsize 1", { mtu = 65536, mpu = 1, tsize = 1 } },
    { { linklayer = "ethernet", mtu = 1500 }, "linklayer ethernet mtu 1500", { linklayer = "ethernet" } },
  }

  it("are sent as tc sends the same words", function()
    if not helper.has "strace" then
      return pending "needs strace(1)"
    end
    local lines = {}
    for i, case in ipairs(same_words) do
      lines[i] = "qdisc add dev eth0 root stab " .. case[2] .. " pfifo limit 5"
    end
    local sent = tc.sent(a, lines)
    for i, case in ipairs(same_words) do
      tc.equal("qdisc", tc.would_send(a.qdisc.add, a.qdisc, pfifo(case[1])), sent[i], case[2])
    end
  end)

  it("of nslua are shown by tc, those of tc read", function()
    for _, case in ipairs(same_words) do
      local row = a.qdisc:add(pfifo(case[1]))
      local shown = rtnl.inside(a, "tc -d qdisc show dev eth0")
      assert.same(case[3] or case[1], row.stab, case[2])
      assert.same(row.stab, row:decode().stab)
      a.qdisc:delete "eth0"
      tc.set(a, "qdisc add dev eth0 root stab " .. case[2] .. " pfifo limit 5")
      assert.same(row.stab, a.qdisc:get("eth0").stab, case[2])
      local function of(text)
        return (text:match "limit 5p(.*)")
      end
      assert.equal(of(rtnl.inside(a, "tc -d qdisc show dev eth0")), of(shown))
      a.qdisc:delete "eth0"
    end
  end)

  it("stay when something else is changed, and go when they are told to", function()
    local atm = { linklayer = "atm", overhead = 10, mtu = 2047, tsize = 512 }
    a.qdisc:add(pfifo { linklayer = "atm", overhead = 10 })
    a.qdisc:change("eth0", { pfifo = { limit = 7 } })
    local row = a.qdisc:get "eth0"
    assert.same({ 7, atm }, { row.pfifo.limit, row.stab })
    a.qdisc:change("eth0", { stab = { overhead = 12 } })
    atm.overhead = 12
    assert.same(atm, a.qdisc:get("eth0").stab)
    a.qdisc:change("eth0", { stab = { overhead = false, mtu = 9000 } })
    atm.overhead, atm.mtu = nil, 9000
    row = a.qdisc:get "eth0"
    assert.same({ 7, atm }, { row.pfifo.limit, row.stab })
    local ok = pcall(a.transaction, a, function()
      a.qdisc:change("eth0", { stab = false })
      assert.is_nil(a.qdisc:get("eth0").stab)
      error "no"
    end)
    assert.is_false(ok)
    assert.same(atm, a.qdisc:get("eth0").stab)
    a.qdisc:change("eth0", { stab = false })
    row = a.qdisc:get "eth0"
    assert.same({ 7 }, { row.pfifo.limit, row.stab })
  end)

  it("are ensured and listed by", function()
    local row = a.qdisc:ensure(pfifo { overhead = 4 })
    assert.same({ overhead = 4 }, row.stab)
    local function writes(t)
      return (pcall(tc.would_send, a.qdisc.ensure, a.qdisc, t))
    end
    assert.is_false(writes(pfifo()))
    assert.is_false(writes(pfifo { overhead = 4 }))
    assert.is_true(writes(pfifo { overhead = 5 }))
    assert.same({ overhead = 5, linklayer = "ethernet" }, a.qdisc:ensure(pfifo { overhead = 5, linklayer = "ethernet" }).stab)
    local function count(stab)
      return #a.qdisc:list { dev = "eth0", stab = stab }
    end
    assert.same({ 1, 0, 1, 0 }, { count { overhead = 5 }, count { overhead = 6 }, count(true), count(false) })
  end)

  it("count packets with what the link adds", function()
    if not helper.has "bash" then
      return pending "needs bash(1), which sends a packet"
    end
    a.link:change("eth1", { up = true })
    a.address:add { "10.0.0.1/24", dev = "eth0" }
    a.neighbour:add { "10.0.0.2", lladdr = "02:00:00:00:00:02", dev = "eth0" }
    -- bytes of what is sent: more with the overhead, whatever the link sends by itself
    local function counted(overhead)
      local before = a.qdisc:replace(pfifo { overhead = overhead }).stats
      assert(select(2, rtnl.inside(a, "bash -c 'echo > /dev/udp/10.0.0.2/9'")))
      local now = a.qdisc:get("eth0").stats
      return (now.bytes - before.bytes) / (now.packets - before.packets)
    end
    assert.is_true(counted(1) < 1000)
    assert.is_true(counted(5000) > 5000)
  end)

  it("say what is wrong", function()
    local function misuse(text, stab)
      local ok, e = pcall(a.qdisc.add, a.qdisc, pfifo(stab))
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    misuse("did you mean 'overhead'", { overhed = 1 })
    misuse("did you mean 'ethernet'", { linklayer = "ethrnet" })
    misuse("stab is empty", {})
    misuse("stab must be a table of its words, got 4", 4)
    misuse("stab must be a table of its words, got false", false)
    misuse("tsize is at most", { mpu = 1, tsize = 40000 })
    misuse("overhead must be a whole number", { overhead = 1.5 })
  end)
end)
