-- nslua bench/works.lua WORK ROUNDS [ARGS]: what bench/floor does in C, in Lua; prints its nanoseconds, or what it takes in bytes.
local ns = require "nslua"

local works = {}

local function timed(fn)
  local start = ns.clock()
  fn()
  return ns.clock() - start
end

works["netns-new"] = function(rounds)
  return timed(function()
    for _ = 1, rounds do
      ns.netns.new():close()
    end
  end)
end

works.call = function(rounds)
  local a <close> = ns.netns.new()
  local function empty() end
  return timed(function()
    for _ = 1, rounds do
      a:call(empty)
    end
  end)
end

works.run = function(rounds)
  local a <close> = ns.netns.new()
  return timed(function()
    for _ = 1, rounds do
      assert(a:run{ "/bin/true", sys = false }.ok)
    end
  end)
end

works["run-sys"] = function(rounds)
  local a <close> = ns.netns.new()
  return timed(function()
    for _ = 1, rounds do
      assert(a:run{ "/bin/true" }.ok)
    end
  end)
end

works["run-sys-fresh"] = function(rounds)
  return timed(function()
    for _ = 1, rounds do
      local a <close> = ns.netns.new()
      assert(a:run{ "/bin/true" }.ok)
    end
  end)
end

works["link-get"] = function(rounds)
  local a <close> = ns.netns.new()
  local link = a.link
  return timed(function()
    for _ = 1, rounds do
      assert(link:get("lo").index == 1)
    end
  end)
end

-- 16.0.0.0/32 and those after it, all by lo.
local function destination(n)
  return ("16.%d.%d.%d/32"):format(n >> 16, n >> 8 & 255, n & 255)
end

local function add_routes(a, count)
  a:batch(function()
    for n = 0, count - 1 do
      a.route:add{ destination(n), dev = "lo" }
    end
  end)
end

works["routes-add"] = function(count)
  local a <close> = ns.netns.new{ lo = true }
  return timed(function()
    add_routes(a, count)
  end)
end

-- A namespace with that many routes, and one more in table 1000, for other works: kept until its name is deleted.
works["routes-make"] = function(count, name)
  local a <close> = ns.netns.add(name, { lo = true })
  return timed(function()
    add_routes(a, count)
    a.route:add{ "32.0.0.0/8", dev = "lo", table = 1000 }
  end)
end

local function in_routes(rounds, name, fn)
  local a <close> = ns.netns.open(name)
  return timed(function()
    for _ = 1, rounds do
      fn(a.route)
    end
  end)
end

works["routes-list"] = function(rounds, name)
  return in_routes(rounds, name, function(route)
    local rows, n = route:list{ family = "inet" }, 0
    for i = 1, #rows do
      local row = rows[i]
      n = n + #row.dst + row.dev_index
    end
    assert(n > 0)
  end)
end

works["routes-one"] = function(rounds, name)
  return in_routes(rounds, name, function(route)
    assert(#route:list{ family = "inet", table = 1000 } == 1)
  end)
end

works["routes-decode"] = function(rounds, name)
  return in_routes(rounds, name, function(route)
    local out = {}
    for row in route:each{ family = "inet" } do
      out[#out + 1] = row:decode()
    end
    assert(#out > 0)
  end)
end

-- Memory at the highest, above what there was before.
local function peak(name, fn)
  local function status(key)
    local f <close> = assert(io.open "/proc/self/status")
    return tonumber(f:read("a"):match(key .. ":%s+(%d+)")) * 1024
  end
  local a <close> = ns.netns.open(name)
  a.route:list{ family = "inet", table = 1000 }
  local before = status "VmRSS"
  fn(a.route)
  return status "VmHWM" - before, "bytes"
end

works["routes-list-peak"] = function(_, name)
  return peak(name, function(route)
    local rows = route:list{ family = "inet" }
    for i = 1, #rows do
      assert(rows[i].dst and rows[i].dev_index)
    end
  end)
end

works["routes-each-peak"] = function(_, name)
  return peak(name, function(route)
    for row in route:each{ family = "inet" } do
      assert(row.dst and row.dev_index)
    end
  end)
end

-- Pairs of one experiment go together.
works["veths-delete"] = function(pairs_wanted)
  local a <close> = ns.netns.new()
  a:batch(function()
    for i = 1, pairs_wanted do
      a.link:add{ name = "a" .. i, kind = "veth", group = 7, peer = { name = "b" .. i } }
    end
  end)
  return timed(function()
    a.link:delete{ group = 7 }
  end)
end

works["veths-delete-singly"] = function(pairs_wanted)
  local a <close> = ns.netns.new()
  a:batch(function()
    for i = 1, pairs_wanted do
      a.link:add{ name = "a" .. i, kind = "veth", peer = { name = "b" .. i } }
    end
  end)
  return timed(function()
    for i = 1, pairs_wanted do
      a.link:delete("a" .. i)
    end
  end)
end

works.census = function(rounds, links)
  return timed(function()
    for _ = 1, rounds do
      assert(#ns.namespace.list { fds = links ~= "links" } > 8)
    end
  end)
end

local function star(hosts)
  local sw = ns.netns.new()
  local list = {}
  for i = 1, hosts do
    list[i] = ns.netns.new()
  end
  sw:batch(function()
    sw.link:add{ name = "br0", kind = "bridge", up = true }
    for i = 1, hosts do
      sw.link:add{ name = "p" .. i, kind = "veth", master = "br0", group = 7, peer = { name = "eth0", netns = list[i] } }
    end
  end)
  for i = 1, hosts do
    local h = list[i]
    h:batch(function()
      h.address:add{ "10.0.0." .. i .. "/16", dev = "eth0" }
      h.link:change("eth0", { up = true })
      h.route:add{ "default", via = "10.0.0.254" }
    end)
  end
  sw.link:change({ group = 7 }, { up = true })
  return sw, list
end

-- What a user's script does: build, close, end. The kernel frees in the background, as it does behind mininet.
works["star-close"] = function()
  return timed(function()
    local sw, list = star(64)
    for _, h in ipairs(list) do
      h:close()
    end
    sw:close()
  end)
end

-- With "teardown", closing is timed too, until the kernel has freed it all: it frees in the order of closing, and the last
-- namespace to be closed holds the far end of a veth, which tells.
works.star = function(rounds, teardown)
  local total = 0
  for _ = 1, rounds do
    local start = ns.clock()
    local sw, list = star(64)
    local built = ns.clock()
    local near <close>, far = ns.netns.new(), ns.netns.new()
    near.link:add{ name = "last", kind = "veth", peer = { name = "last", netns = far } }
    for _, h in ipairs(list) do
      h:close()
    end
    sw:close()
    far:close{ wait = true }
    total = total + (teardown and ns.clock() or built) - start
  end
  return total
end

-- Everybody pings everybody: 4,032 pairs, that is. ping(8) in each namespace takes two minutes for them.
works["star-ping"] = function(rounds)
  local sw, list = star(64)
  local pairs_ = {}
  for i, from in ipairs(list) do
    for j = 1, #list do
      pairs_[#pairs_ + 1] = i ~= j and { from = from, to = "10.0.0." .. j } or nil
    end
  end
  local taken = timed(function()
    for _ = 1, rounds do
      assert(ns.probe.ping_many(pairs_, { retries = 1 }).loss == 0)
    end
  end)
  sw:close()
  return taken
end

-- A star of so many hosts, until all is up. It is the process's end that takes it down: closing is another work.
works["lab"] = function(hosts)
  local lab
  local took = timed(function()
    lab = ns.lab(ns.lab.star(hosts))
  end)
  lab:close()
  return took
end

works["lab-close"] = function(hosts)
  local lab = ns.lab(ns.lab.star(hosts))
  return timed(function()
    lab:close()
  end)
end

-- Up, one ping, down.
works["lab-ping"] = function(hosts)
  return timed(function()
    local lab <close> = ns.lab(ns.lab.star(hosts))
    assert(lab.h1:ping(lab.h2, { timeout = 5 }).loss == 0)
  end)
end

works["lab-line"] = function(routers)
  return timed(function()
    local lab <close> = ns.lab(ns.lab.line(routers))
    assert(lab.h1:ping(lab.h2, { timeout = 5 }).loss == 0)
  end)
end

works["lab-ping-all"] = function(hosts)
  local lab <close> = ns.lab(ns.lab.star(hosts))
  return timed(function()
    local r = lab:ping_all { family = "inet", timeout = 5 }
    assert(r.loss == 0 and #r.pairs == hosts * (hosts - 1))
  end)
end

-- The same by ping(8), one after another: of so many pairs.
works["lab-ping-each"] = function(count)
  local lab <close> = ns.lab(ns.lab.star(64))
  return timed(function()
    for i = 1, count do
      local from, to = lab.nodes[i % 64 + 2], lab.nodes[(i * 7 + 13) % 64 + 2]
      assert(from == to or from:run({ "ping", "-c1", "-q", to:address_of() }).ok)
    end
  end)
end

-- Two containers on one bridge, why one reaches the other; and what a look at them by ip(8) costs, 100 of it.
local function pair_on_bridge(fn)
  local lab <close> = ns.lab "h1 -- (sw) -- h2"
  lab.h2:serve "echo"
  return timed(function()
    fn(lab)
  end)
end

works.why = function(rounds)
  return pair_on_bridge(function(lab)
    for _ = 1, rounds do
      assert(ns.why(lab.h1, lab.h2, 7).ok)
    end
  end)
end

works["ip-inside"] = function(rounds)
  return pair_on_bridge(function(lab)
    for i = 1, rounds * 100 do
      assert(lab[i % 2 == 1 and "h1" or "h2"]:run({ "ip", "route" }).ok)
    end
  end)
end

-- A container that nothing is wrong with: what the command says of it, and what 50 looks by ip(8) cost.
local function healthy(fn)
  local lab <close> = ns.lab "web -- r1 -- db"
  local inside <close> = ns.spawn { "sleep", "1000", join = { net = lab.web } }
  return timed(function()
    fn(lab.web, inside.pid)
  end)
end

works["doctor-quick"] = function(rounds)
  return healthy(function(_, pid)
    for _ = 1, rounds do
      local r = ns.run { "build/bin/nslua", "doctor", "--quick", pid }
      assert(r.ok, r.stdout .. r.stderr)
    end
  end)
end

works["ip-inside-50"] = function(rounds)
  return healthy(function(web)
    for _ = 1, rounds * 50 do
      assert(web:run({ "ip", "route" }).ok)
    end
  end)
end

local name, rounds = arg[1], tonumber(arg[2])
if not works[name] or not rounds then
  io.stderr:write("usage: nslua bench/works.lua WORK ROUNDS [ARGS]\n")
  os.exit(2)
end
local result, unit = works[name](math.tointeger(rounds), select(3, table.unpack(arg)))
print(("%.0f"):format(unit == "bytes" and result or result * 1e9))
