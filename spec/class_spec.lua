-- Classes of htb and of others: nslua sends what tc(8) sends for the same words; what one makes the other shows.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local tc = require "spec.tc_helper"

describe("classes", function()
  local why = tc.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a, htb

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
    htb = pcall(a.qdisc.add, a.qdisc, { "htb", dev = "eth0", handle = "1:", htb = { default = "1:20" } })
  end)
  after_each(rtnl.close)

  local function test(name, fn)
    it(name, function()
      if not htb then
        return pending "no htb in this kernel"
      end
      fn()
    end)
  end

  -- how tc shows one, as words: its JSON has no htb
  local function shown(classid)
    local out = rtnl.inside(a, "tc -d class show dev eth0")
    for line in out:gmatch "[^\n]+" do
      if line:find(("class htb %s "):format(classid), 1, true) then
        local words = { parent = line:match "parent (%S+)" or line:match " (root) ", leaf = line:match "leaf (%S+)" }
        for word, value in line:gmatch "(%l+) (%S+)" do
          words[word] = words[word] or value
        end
        return words
      end
    end
  end

  test("are sent as tc sends the same words", function()
    if not helper.has "strace" then
      return pending "needs strace(1)"
    end
    local cases = {
      { { rate = "10mbit" }, "rate 10mbit" },
      { { rate = "1mbit", ceil = "3mbit", burst = "15kb", cburst = "20kb", prio = 3, quantum = 3000 },
        "rate 1mbit ceil 3mbit burst 15kb cburst 20kb prio 3 quantum 3000" },
      { { rate = 1234567, burst = 5001 }, "rate 1234567bit burst 5001" },
      { { rate = "8mbit", mtu = 9000, mpu = 64, overhead = 4, linklayer = "atm" }, "rate 8mbit mtu 9000 mpu 64 overhead 4 linklayer atm" },
      { { rate = "1mbit", ceil = "40gbit", cburst = "10mb" }, "rate 1mbit ceil 40gbit cburst 10mb" },
    }
    local lines = { "class replace dev eth0 parent 1: classid 1:2 htb rate 1mbit" }
    for _, case in ipairs(cases) do
      for _, parent in ipairs { "1:", "1:1" } do
        lines[#lines + 1] = ("class add dev eth0 parent %s classid 1:1f htb %s"):format(parent, case[2])
      end
    end
    local sent, at = tc.sent(a, lines), 1
    for _, case in ipairs(cases) do
      for _, parent in ipairs { "1:", "1:1" } do
        at = at + 1
        local ours = tc.would_send(a.class.add, a.class, { "htb", dev = "eth0", parent = parent, classid = "1:1f", htb = case[1] })
        tc.equal("class", ours, sent[at], case[2])
      end
    end
    local t = { "htb", dev = "eth0", classid = "1:2", htb = { rate = "1mbit" } }
    tc.equal("class", tc.would_send(a.class.replace, a.class, t), sent[1], "replace")
  end)

  test("are shown by tc as they were asked for, also above 32 bits", function()
    local row = a.class:add { "htb", dev = "eth0", classid = "1:1", htb = { rate = "100mbit" } }
    assert.same({ "1:1", "root", "htb", "eth0", 100e6, 100e6 }, { row.classid, row.parent, row.kind, row.dev, row.htb.rate, row.htb.ceil })
    row = a.class:add { dev = "eth0", parent = "1:1", classid = "1:20", htb = { rate = "10mbit", ceil = "40gbit", burst = "15kb",
      cburst = "10mb", prio = 3, quantum = 3000 } }
    assert.same({ 10e6, 40e9, 15360, 3, 3000, 0 },
      { row.htb.rate, row.htb.ceil, row.htb.burst, row.htb.prio, row.htb.quantum, row.htb.level })
    assert.is_true(math.abs(row.htb.cburst - 10485760) <= 5000, tostring(row.htb.cburst)) -- tc's microseconds
    local words = shown "1:20"
    assert.same({ "1:1", "3", "3000", "10Mbit", "40Gbit", "15Kb/1" },
      { words.parent, words.prio, words.quantum, words.rate, words.ceil, words.burst })
    a.qdisc:add { "pfifo", dev = "eth0", parent = "1:20", handle = "200:" }
    assert.same({ "200:", "200:" }, { a.class:get({ dev = "eth0", classid = "1:20" }).leaf, shown "1:20".leaf })
    -- microseconds are too coarse for these
    row = a.class:add { dev = "eth0", classid = "1:30", htb = { rate = "40gbit" } }
    assert.is_true(row.htb.burst >= 1600 and row.htb.burst <= 2240, tostring(row.htb.burst))
  end)

  test("of tc read as it shows them", function()
    tc.set(a, "class add dev eth0 parent 1: classid 1:1 htb rate 50mbit")
    tc.set(a, "class add dev eth0 parent 1:1 classid 1:20 htb rate 20mbit ceil 50mbit burst 10kb prio 1")
    tc.set(a, "class add dev eth0 parent 1:1 classid 1:21 htb rate 30mbit")
    local row = a.class:get { dev = "eth0", classid = "1:20" }
    assert.same({ 20e6, 50e6, 10240, 1, "1:1" }, { row.htb.rate, row.htb.ceil, row.htb.burst, row.htb.prio, row.parent })
    local function count(filter)
      return #a.class:list(filter)
    end
    assert.same({ 3, 1, 1, 2, 1, 1 }, { count(), count { parent = "root" }, count { parent = "1:" }, count { parent = "1:1" },
      count { htb = { rate = "30mbit" } }, count { dev = "eth0", classid = "1:21" } })
    assert.same({ 0, 0 }, { count { dev = "eth1" }, count { "drr" } })
    assert.is_true(row == a.class:get(row) and row ~= a.class:get { dev = "eth0", classid = "1:21" })
    assert.is_true(row.xstats.lends >= 0 and row.xstats.tokens > 0 and row.stats.bytes >= 0)
  end)

  test("change what is said, are ensured, and go", function()
    a.class:add { dev = "eth0", classid = "1:20", htb = { rate = "10mbit", burst = "15kb", prio = 2 } }
    local key = { dev = "eth0", classid = "1:20" }
    a.class:change(key, { htb = { ceil = "30mbit" } })
    local row = a.class:get(key)
    assert.same({ 10e6, 30e6, 15360, 2 }, { row.htb.rate, row.htb.ceil, row.htb.burst, row.htb.prio })
    a.class:change(row, { htb = { rate = "20mbit", prio = false } })
    row = a.class:get(key)
    assert.same({ 20e6, 30e6, 15360, 0, 200000 }, { row.htb.rate, row.htb.ceil, row.htb.burst, row.htb.prio, row.htb.quantum })
    assert.equal("20Mbit", shown "1:20".rate)
    assert.equal(30e6, a.class:ensure({ dev = "eth0", classid = "1:20", htb = { rate = "20mbit" } }).htb.ceil)
    assert.equal(25e6, a.class:ensure({ dev = "eth0", classid = "1:20", htb = { rate = "25mbit" } }).htb.rate)
    assert.equal(1e6, a.class:ensure({ dev = "eth0", classid = "1:21", htb = { rate = "1mbit" } }).htb.rate)
    assert.equal(2e6, a.class:replace({ dev = "eth0", classid = "1:21", htb = { rate = "2mbit" } }).htb.rate)
    a.class:delete(row)
    assert.is_nil(a.class:get(key))
    a.class:delete(key, { absent = "ok" })
    helper.fails("ENOENT", a.class.delete, a.class, key)
  end)

  test("say what is wrong", function()
    local c = a.class
    local function misuse(text, t)
      local ok, e = pcall(c.add, c, t)
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    misuse("did you mean 'ceil'", { dev = "eth0", classid = "1:2", htb = { rate = 1, ciel = 1 } })
    misuse("is told, not set", { dev = "eth0", classid = "1:2", htb = { rate = 1, level = 1 } })
    misuse("unknown key 'rate' (it is an option of its kind: htb = { rate = })", { dev = "eth0", classid = "1:2", rate = 1 })
    misuse("rate is needed", { dev = "eth0", classid = "1:2" })
    misuse("classid is needed", { dev = "eth0", htb = { rate = 1 } })
    misuse("the kind at [1] is needed", { dev = "eth0", classid = "7:2" })
    a.class:add { dev = "eth0", classid = "1:2", htb = { rate = "1mbit" } }
    helper.fails("EEXIST", c.add, c, { dev = "eth0", classid = "1:2", htb = { rate = "1mbit" } })
    local e = helper.fails("ENOENT", c.add, c, { "htb", dev = "eth0", classid = "7:2", htb = { rate = "1mbit" } })
    assert.is_truthy(e:find("dev eth0, classid 7:2", 1, true), e)
    a.class:add { dev = "eth0", classid = "1:3", parent = "1:2", htb = { rate = "1mbit" } }
    assert.is_truthy(helper.fails("EBUSY", c.delete, c, { dev = "eth0", classid = "1:2" }):find("1:2", 1, true))
  end)

  it("of other kinds are read", function()
    local ok = pcall(a.qdisc.replace, a.qdisc, { "prio", dev = "eth0", handle = "5:" })
    if not ok then
      return pending "no prio in this kernel"
    end
    local rows = a.class:list { dev = "eth0" }
    assert.equal(3, #rows)
    assert.same({ "prio", "5:" }, { rows[1].kind, a.class:list({ parent = "5:" })[1] and "5:" })
  end)

  it("come back with their qdiscs and filters where a transaction is taken back", function()
    local function everything()
      local classes = {} -- in the order of a table of hashes
      for line in rtnl.inside(a, "tc -d class show dev eth0"):gmatch "[^\n]+" do
        classes[#classes + 1] = line
      end
      table.sort(classes)
      local out = rtnl.inside(a, "tc qdisc show dev eth0") .. "\n" .. table.concat(classes, "\n")
      for _, parent in ipairs { "1:", "1:1", "2:" } do
        out = out .. "\n" .. rtnl.inside(a, "tc filter show dev eth0 parent " .. parent)
      end
      return (out:gsub("direct_packets_stat %d+", ""):gsub("fh %x+:", "fh :"):gsub("ht %x+ bkt", "ht bkt")) -- u32 numbers its tables anew
    end
    local function taken_back(what, fn)
      local before = everything()
      local ok, e = pcall(a.transaction, a, function()
        fn()
        assert.are_not.equal(before, everything(), what)
        error("stop", 0)
      end)
      assert.is_false(ok)
      assert.equal("stop", e, what)
      assert.equal(before, everything(), what)
    end
    for _, q in ipairs { { "prio" }, { "tbf", tbf = { rate = "1mbit", burst = "10kb", latency = "50ms" } },
      { "netem", netem = { delay = "10ms", loss = "1%" } },
      { "red", red = { limit = "400kb", min = "30kb", max = "90kb", avpkt = 1000, burst = 55, bandwidth = "10mbit" } }, { "sfq" }, { "fq_codel" },
      { "codel" }, { "pfifo", pfifo = { limit = 7 } }, { "bfifo", bfifo = { limit = "64kb" } } } do
      q.dev, q.parent, q.handle = "eth1", "root", "7:"
      if pcall(a.qdisc.add, a.qdisc, q) then
        local before = rtnl.inside(a, "tc qdisc show dev eth1")
        pcall(a.transaction, a, function()
          a.qdisc:delete "eth1"
          error "stop"
        end)
        assert.equal(before, rtnl.inside(a, "tc qdisc show dev eth1"))
        a.qdisc:delete "eth1"
      end
    end
    if htb then
      a.class:add { dev = "eth0", classid = "1:1", htb = { rate = "10mbit", ceil = "20mbit", prio = 2 } }
      a.class:add { dev = "eth0", classid = "1:10", parent = "1:1", htb = { rate = "1mbit", quantum = 2000 } }
      a.class:add { dev = "eth0", classid = "1:20", parent = "1:1", htb = { rate = "10gbit", burst = "100kb" } }
      a.qdisc:add { "htb", dev = "eth0", parent = "1:10", handle = "2:" }
      a.class:add { dev = "eth0", classid = "2:3", htb = { rate = "1gbit", burst = "100kb" } }
      a.qdisc:add { "tbf", dev = "eth0", parent = "2:3", handle = "3:", tbf = { rate = "1mbit", burst = "10kb", latency = "50ms" } }
      for i = 1, 3 do
        a.filter:add { "u32", dev = "eth0", parent = "1:", pref = 5, protocol = "ip", u32 = { match = "ip dst 10.0.0." .. i }, classid = "1:10" }
      end
      a.filter:add { "u32", dev = "eth0", parent = "1:", pref = 7, protocol = "ip", u32 = { match = "ip src 10.0.0.0/8" }, classid = "1:20" }
      a.filter:add { "u32", dev = "eth0", parent = "2:", pref = 7, protocol = "ip", u32 = { match = "ip src 10.0.0.0/8" }, classid = "2:3" }
      taken_back("all of it", function()
        a.qdisc:delete "eth0"
      end)
      taken_back("a qdisc in a class", function()
        a.qdisc:delete { dev = "eth0", handle = "2:" }
      end)
      taken_back("another in its place", function()
        a.qdisc:replace { "bfifo", dev = "eth0", bfifo = { limit = "64kb" } }
      end)
      taken_back("filters of a preference, and others", function()
        a.filter:delete { dev = "eth0", parent = "1:", pref = 5 }
        a.filter:delete { dev = "eth0", parent = "1:", pref = 7 }
        a.filter:add { "u32", dev = "eth0", parent = "1:1", protocol = "ip", u32 = { match = "ip dst 10.0.0.0/8" }, classid = "1:20" }
      end)
      taken_back("what is changed", function()
        a.class:ensure { dev = "eth0", classid = "1:20", htb = { rate = "5mbit" } }
        a.class:replace { dev = "eth0", classid = "1:30", htb = { rate = "5mbit" } }
        a.qdisc:ensure { "tbf", dev = "eth0", parent = "2:3", tbf = { rate = "7mbit", burst = "10kb", latency = "50ms" } }
        a.filter:change({ dev = "eth0", parent = "1:", pref = 7 }, { classid = "1:10" })
      end)
    end
  end)
end)
