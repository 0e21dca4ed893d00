-- ns.snapshot, ns.diff, ns.journal and nslua record: what changed, in a script and afterwards.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"

local HOST = "build/bin/nslua"

describe("what changes in namespaces", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local path, a, b

  before_each(function()
    path = os.tmpname()
    a, b = rtnl.netns "a", rtnl.netns "b"
    for _, handle in ipairs { a, b } do
      handle:sysctl("net.ipv6.conf.default.addr_gen_mode", 1) -- no address comes in the background
    end
    ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24" })
  end)
  after_each(function()
    os.remove(path)
    os.remove(path .. ".1")
    rtnl.close()
  end)

  local function lines(diff)
    local out = {}
    for line in (tostring(diff) .. "\n"):gmatch "([^\n]+)\n" do
      out[line:gsub("^ +", "")] = true
    end
    return out
  end

  -- Until the journal's last state is the kernel's: links change in the background for a moment.
  local function agrees(recorder, ...)
    local left
    for i = 1, 400 do
      recorder:next(i == 1 and 0 or 0.05)
      while recorder:next(0) do end
      left = ns.diff(ns.journal.open(path):at(math.huge), ns.snapshot { ... })
      if not left[1] then
        return
      end
    end
    error("the journal ends elsewhere: " .. tostring(left))
  end

  it("is the difference of two snapshots, as text and as values", function()
    a.route:add { "10.9.0.0/16", via = "10.0.0.2" }
    a.route:add { "10.8.0.0/16", via = "10.0.0.2" }
    local before = ns.snapshot(a)
    assert.equal(0, #ns.diff(before, ns.snapshot(a)))
    a.link:change("eth0", { mtu = 1400 })
    a.route:delete "10.9.0.0/16"
    a.route:replace { "10.8.0.0/16", via = "10.0.0.3" }
    a.rule:add { from = "10.0.0.0/8", table = 100, priority = 7 }
    a.neighbour:add { "10.0.0.9", lladdr = "02:00:00:00:00:09", dev = "eth0" }
    local diff = ns.diff(before, ns.snapshot(a))
    local text = lines(diff)
    for _, line in ipairs { "a:", "~ link eth0: mtu 1500 -> 1400", "- route 10.9.0.0/16 via 10.0.0.2 dev eth0",
      "~ route 10.8.0.0/16: via 10.0.0.2 -> 10.0.0.3", "+ rule 7: from 10.0.0.0/8 lookup 100",
      "+ neighbour 10.0.0.9 dev eth0 lladdr 02:00:00:00:00:09 permanent" } do
      assert.is_true(text[line], line .. " is not in " .. tostring(diff))
    end
    assert.equal(5, #diff)
    for _, change in ipairs(diff) do
      if change.what == "link" then
        assert.same({ "changed", "eth0", "a", { mtu = { before = 1500, after = 1400 } }, 1500, 1400 },
          { change.action, change.name, change.netns, change.fields, change.before.mtu, change.after.mtu })
      end
    end
    assert.is_truthy(schema.json(diff):find '"what":"link"')
  end)

  it("compares namespaces with one another, and tells of those that come and go", function()
    local diff = ns.diff(ns.snapshot(a), ns.snapshot(b))
    assert.is_true(lines(diff)["+ address 10.0.0.2/24 dev eth0"], tostring(diff))
    assert.is_nil(lines(diff)["~ link eth0: index"])
    diff = ns.diff(ns.snapshot { a }, ns.snapshot { a, b })
    assert.same({ "added", "netns", "b" }, { diff[1].action, diff[1].what, diff[1].name })
    assert.equal("+ namespace b", tostring(diff))
    assert.equal("- namespace b", tostring(ns.diff(ns.snapshot { a, b }, ns.snapshot { a })))
    assert.equal(1, #ns.snapshot(a, { "link" }).namespaces)
    assert.is_nil(ns.snapshot(a, { "link" }).namespaces[1].route)
    assert.has_error(function()
      ns.snapshot(a, { "lnk" })
    end)
    assert.has_error(function()
      ns.diff(ns.snapshot(a), {})
    end)
  end)

  it("is written to a journal, whose state at a time is what was there then", function()
    local recorder = helper.held(ns.journal.record { file = path, netns = { a, b } })
    local states = {}
    local function mark()
      agrees(recorder, a, b)
      states[#states + 1] = { ns.journal.open(path).last, ns.snapshot { a, b } }
    end
    mark()
    a.route:add { "10.9.0.0/16", via = "10.0.0.2" }
    mark()
    a.link:add { name = "br0", kind = "bridge", up = true }
    b.address:add { "10.7.0.2/24", dev = "eth0" }
    mark()
    a.link:change("br0", { up = false })
    a.link:change("br0", { name = "br1" })
    mark()
    recorder:close()
    local journal = ns.journal.open(path)
    for _, state in ipairs(states) do
      assert.equal("", tostring(ns.diff(journal:at(state[1]), state[2])))
    end
    assert.is_true(lines(journal:diff(states[1][1], states[2][1]))["+ route 10.9.0.0/16 via 10.0.0.2 dev eth0"])
    assert.is_false(journal.torn)
    local last = 0
    for e in journal:events() do
      assert.is_true(e.time >= last and (e.netns == "a" or e.netns == "b"))
      last = e.time
    end
  end)

  it("has the routes of which the kernel says nothing", function()
    a.route:add { "10.9.0.0/16", via = "10.0.0.2" }
    local recorder = helper.held(ns.journal.record { file = path, netns = a })
    a.link:change("eth0", { up = false })
    agrees(recorder, a)
    local silent
    for e in ns.journal.open(path):events() do
      silent = silent or e.silent and e.action == "delete" and e.object.dst == "10.9.0.0/16"
    end
    assert.is_true(silent)
    a.link:change("eth0", { up = true })
    a.route:add { "10.9.0.0/16", via = "10.0.0.2" }
    a.route:replace { "10.9.0.0/16", via = "10.0.0.5" }
    a.address:delete { "10.0.0.1/24", dev = "eth0" }
    agrees(recorder, a)
  end)

  it("ends at the kernel's state after many changes at random", function()
    math.randomseed(tonumber(os.getenv "SEED") or 12)
    local recorder = helper.held(ns.journal.record { file = path, netns = { a, b } })
    local function some(list)
      return list[math.random(#list)]
    end
    for i = 1, 300 do
      local at, n = some { a, b }, math.random(9)
      pcall(some { function()
        at.address:add { ("10.%d.0.%d/24"):format(n, n), dev = "eth0" }
      end, function()
        at.address:delete { ("10.%d.0.%d/24"):format(n, n), dev = "eth0" }
      end, function()
        at.route:add { ("172.16.%d.0/24"):format(n), via = ("10.%d.0.77"):format(math.random(9)), metric = some { 0, 10 } }
      end, function()
        at.route:replace { ("172.16.%d.0/24"):format(n), via = ("10.%d.0.78"):format(math.random(9)) }
      end, function()
        at.route:delete(("172.16.%d.0/24"):format(n))
      end, function()
        at.route:add { ("fd00:%d::/64"):format(n), dev = "eth0" }
      end, function()
        at.rule:add { from = ("10.%d.0.0/16"):format(n), table = 100 + n }
      end, function()
        at.rule:delete { from = ("10.%d.0.0/16"):format(n), table = 100 + n }
      end, function()
        at.neighbour:replace { ("10.%d.0.99"):format(n), lladdr = ("02:00:00:00:00:%02d"):format(n), dev = "eth0" }
      end, function()
        at.link:change("eth0", { up = false })
      end, function()
        at.link:change("eth0", { up = true })
      end, function()
        at.link:add { name = "v" .. n, kind = "veth", peer = { name = "w" .. n }, up = true }
      end, function()
        at.link:delete("v" .. n)
      end, function()
        at.link:change("eth0", { mtu = 1400 + n })
      end })
      if i % 10 == 0 then
        while recorder:next(0) do end
      end
    end
    agrees(recorder, a, b)
  end)

  it("is complete again after the kernel's queue ran over", function()
    local recorder = helper.held(ns.journal.record { file = path, netns = a })
    recorder.monitor:close()
    recorder.monitor = ns.monitor { "link", "address", "route", "rule", "neighbour", netns = a, existing = true, buffer = 4096 }
    while recorder:next(0) do end
    a:batch(function()
      for i = 1, 2000 do
        a.route:add { ("10.%d.%d.0/24"):format(100 + i // 250, i % 250), dev = "eth0" }
      end
    end)
    agrees(recorder, a)
    local overrun
    for e in ns.journal.open(path):events() do
      overrun = overrun or e.action == "overrun"
    end
    assert.is_true(overrun)
  end)

  it("has connections that are tracked", function()
    local ok = pcall(a.conntrack.list, a.conntrack)
    if not ok or not helper.has "nft" then
      return pending "no connection tracking here, or no nft"
    end
    local _, loaded = rtnl.inside(a, "nft 'table inet t { chain c { type filter hook output priority 0; ct state new counter accept; }; }'")
    if not loaded then
      return pending "nft cannot track connections here"
    end
    local recorder = helper.held(ns.journal.record { netns = a, objects = { "conntrack" } })
    local server = a:socket("inet", "dgram")
    server:close()
    rtnl.inside(a, "sh -c 'echo x | timeout 2 nslua-none 2>/dev/null; ping -c1 -W1 10.0.0.2 >/dev/null'")
    local seen
    for e in recorder:each(5) do
      seen = e
      if e.what == "conntrack" then
        break
      end
    end
    assert.same({ "new", "conntrack", "icmp", "10.0.0.2" }, { seen.action, seen.what, seen.object.proto, seen.object.orig.dst })
  end)

  it("goes on in a second file when the first is full, with the state there was", function()
    local recorder = helper.held(ns.journal.record { file = path, netns = a, limit = "40kb" })
    local second, i = nil, 0
    repeat
      i = i + 1
      a.address:add { ("10.1.%d.1/24"):format(i), dev = "eth0" }
      while recorder:next(0) do end
      second = second or io.open(path .. ".1") and i
    until i == 200 or second and i >= second + 10
    assert.is_truthy(second)
    agrees(recorder, a)
    recorder:close()
    local f = assert(io.open(path))
    assert.is_true(f:seek "end" < 400000)
    f:close()
    os.remove(path .. ".1") -- the second stands alone
    assert.equal("", tostring(ns.diff(ns.journal.open(path):at(math.huge), ns.snapshot(a))))
  end)

  it("is read as far as it was written, and nothing else is taken for a journal", function()
    local recorder = ns.journal.record { file = path, netns = a }
    recorder:close()
    assert.is_true(recorder:close())
    assert.has_error(function()
      recorder:next(0)
    end)
    local f = assert(io.open(path, "a"))
    f:write '{"action":"new","ti'
    f:close()
    assert.is_true(ns.journal.open(path).torn)
    for _, text in ipairs { "", "x\n", "{}\n", '{"time":1,"action":"new"}\n', ("["):rep(5000) .. "\n" } do
      f = assert(io.open(path, "w"))
      f:write(text)
      f:close()
      local ok, e = pcall(ns.journal.open, path)
      assert.is_true(not ok and tostring(e):find "journal" ~= nil, text)
    end
    assert.is_false(pcall(ns.journal.open, path .. ".none"))
  end)

  it("is read also where it was damaged, where the clock was set back, and not beyond its begin", function()
    local f = assert(io.open(path, "w"))
    local link = '{"time":%d,"action":"%s","what":"link","inode":1,"netns":"a","object":{"index":%d,"name":"%s"}}\n'
    f:write('{"time":5000,"action":"begin"}\n', link:format(5000, "existing", 1, "lo"), '[1]\n{"time":1\n',
      link:format(5001, "new", 2, "eth0"):sub(1, 60), "\n", '{"time":5002,"action":"new","what":"link","inode":1,"object":{}}\n',
      '{"time":5002,"action":"new","what":"x","inode":1,"object":{}}\n', link:format(5003, "new", 3, "eth1"), link:format(1400, "new", 4, "eth2"),
      link:format(1401, "delete", 3, "eth1"))
    f:close()
    local journal = ns.journal.open(path)
    assert.is_true(journal.bad >= 4)
    local names = {}
    for _, row in ipairs(journal:at(journal:time "end").namespaces[1].link) do
      names[#names + 1] = row.name
    end
    assert.equal("lo eth2", table.concat(names, " "))
    local out, _, status = helper.sh(HOST .. " record --at @4000 " .. path)
    assert.is_truthy(status == 2 and out:find ", nothing is known of @4000", out)
    out = helper.sh(HOST .. " record " .. path)
    assert.is_truthy(out:find "lines? of .- cannot be read: left out" and out:find "eth2", out)
  end)

  it("says that the disk is full, and what is no time before it writes", function()
    local ok, e = pcall(ns.journal.record, { file = "/dev/full", netns = a })
    assert.is_true(not ok and e.code == "ENOSPC" or tostring(e):find "No space left" ~= nil, tostring(e))
    os.remove(path)
    local out, _, status = helper.sh(HOST .. " record --for abc -o " .. path)
    assert.is_truthy(status == 2 and out:find "abc", out)
    assert.is_nil(io.open(path))
  end)

  it("has times by the clock, the begin and the end", function()
    local f = assert(io.open(path, "w"))
    local noon = os.time { year = 2026, month = 3, day = 4, hour = 12 }
    f:write(('{"time":%d,"action":"begin"}\n{"time":%d.5,"action":"netns_new","inode":1,"netns":"a"}\n'):format(noon, noon + 60))
    f:close()
    local journal = ns.journal.open(path)
    for text, seconds in pairs { begin = 0, ["end"] = 60.5, ["12:00"] = 0, ["12:01:02.5"] = 62.5, ["2026-03-04T12:00:30"] = 30, ["+10s"] = 10,
      ["-1m"] = 0.5, ["@" .. noon + 7] = 7, ["-0.5"] = 60 } do
      assert.equal(noon + seconds, journal:time(text), text)
    end
    for _, text in ipairs { "24:00", "12:60", "noon", "", "12", "2026-03-04", "+x", "12:00:99" } do
      assert.is_false(pcall(journal.time, journal, text), text)
    end
  end)

  describe("by nslua record", function()
    local function record(words)
      return helper.sh(HOST .. " record " .. words)
    end

    it("is printed as it comes, and as JSON", function()
      local p = helper.held(a:spawn { HOST, "record", "-j", "-N", "/proc/self/ns/net", stdout = "pipe" })
      local function line()
        return p.stdout:read("L", 10)
      end
      for _ = 1, 500 do -- it listens when the first comes
        a.link:change("eth0", { mtu = math.random(1300, 1500) })
        if p.stdout.fd and ns.wait({ p.stdout }, 0.02) then
          break
        end
      end
      local text = line()
      assert.is_truthy(text and text:find('"what":"link"', 1, true), text)
      p:kill "INT"
      p:wait(10)
    end)

    it("is written, then asked for what was and what changed", function()
      local recorder = ns.journal.record { file = path, netns = { a, b } }
      a.link:change("eth0", { alias = "red \27[31m" })
      a.route:add { "10.9.0.0/16", via = "10.0.0.2" }
      agrees(recorder, a, b)
      recorder:close()
      local out, ok = record(path)
      assert.is_true(ok)
      assert.is_truthy(out:find "%d%d:%d%d:%d%d%.%d%d%d a   route 10%.9%.0%.0/16 via 10%.0%.0%.2 dev eth0")
      assert.is_nil(out:find("\27", 1, true))
      local _, _, status
      out, _, status = record("--diff begin end " .. path)
      assert.equal(1, status)
      assert.is_truthy(out:find("+ route 10.9.0.0/16", 1, true))
      out, _, status = record("--diff -0s end -N b " .. path)
      assert.same({ "", 0 }, { out, status })
      assert.is_truthy(record("--at end -N a -w route " .. path):find "^a:\n  route")
      assert.is_truthy(record("--at end -j " .. path):find '^{"namespaces":%[')
      for words, message in pairs { ["-N none " .. path] = "no namespace or container", ["-w nix " .. path] = "unknown object 'nix'",
        ["--diff 1"] = "two times", ["--at end"] = "which journal", [path .. " x"] = "one journal", ["--at noon " .. path] = "is no time",
        ["-o x " .. path] = "to write", [path .. ".none"] = "No such file" } do
        out, _, status = record(words)
        assert.equal(2, status, words)
        assert.is_truthy(out:find(message, 1, true), out)
      end
    end)

    it("is whole up to where it was killed", function()
      local p = helper.held(a:spawn { HOST, "record", "-o", path, "-N", "/proc/self/ns/net", stderr = "pipe" })
      assert.matches("1 namespace", p.stderr:read("L", 10))
      a.address:add { "10.66.0.1/24", dev = "eth0" }
      for _ = 1, 1000 do
        if record("-w address " .. path):find("10.66.0.1", 1, true) then
          break
        end
        ns.wait({}, 0.01)
      end
      p:kill "KILL"
      p:wait(10)
      assert.is_truthy(record(path):find("10.66.0.1/24", 1, true))
    end)
  end)
end)
