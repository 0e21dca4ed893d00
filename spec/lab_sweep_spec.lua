-- ns.sweep: an experiment over a grid of parameters, in labs of its own, in parallel, that can be gone on with; and what shows its results.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"
local dkjson = require "dkjson"

local function fails(pattern, options)
  local ok, e = pcall(ns.sweep, options)
  assert.is_false(ok)
  assert.matches(pattern, tostring(e))
end

local function temporary()
  local path = os.tmpname()
  os.remove(path)
  return path
end

describe("a sweep", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  it("runs every combination so often as is said, each in a lab of its own with the values in its text", function()
    local told = {}
    local r = ns.sweep {
      lab = "h1{net.ipv4.ip_default_ttl=$ttl} -- h2", over = { { "ttl", { 7, 9 } }, { "what", { "a", "b" } } }, repeats = 2, jobs = 3,
      progress = function(done, total, failed)
        told[#told + 1] = ("%d/%d/%d"):format(done, total, failed)
      end,
      run = function(lab, point, number)
        return { its_ttl = tonumber(lab.h1:sysctl "net.ipv4.ip_default_ttl"), same = point.ttl == tonumber(lab.h1:sysctl "net.ipv4.ip_default_ttl"),
          number = number, pid = tonumber(lab.name), its_seed = lab.topology.seed }
      end,
    }
    local seen, pids = {}, {}
    for i, row in ipairs(r.rows) do
      assert.is_nil(row.error)
      assert.equal(row.point.ttl, row.values.its_ttl)
      assert.equal(1, row.values.same)
      assert.equal(row.number, row.values.number)
      assert.equal(row.number, row.values.its_seed)
      assert.is_nil(pids[row.values.pid])
      pids[row.values.pid] = true
      seen[i] = ("%d%s%d"):format(row.point.ttl, row.point.what, row.number)
    end
    assert.equal("7a1 7a2 7b1 7b2 9a1 9a2 9b1 9b2", table.concat(seen, " "))
    assert.equal("1/8/0 2/8/0 3/8/0 4/8/0 5/8/0 6/8/0 7/8/0 8/8/0", table.concat(told, " "))
    assert.equal(0, r.failed)
    local s = r:summary()
    assert.equal(4, #s)
    assert.same({ median = 9, low = 9, high = 9, min = 9, max = 9, n = 2 }, s[3].figures.its_ttl)
  end)

  it("takes a function for the lab, and loses the same packets for the same seed", function()
    local function losses()
      local r = ns.sweep {
        lab = function(point)
          return { links = { { "h1", "h2", loss = point.loss } } }
        end,
        over = { loss = { "30%" } }, repeats = 3,
        run = function(lab)
          return lab.h1:ping("h2", { count = 30, interval = "1ms", timeout = "500ms", family = "inet" }).received
        end,
      }
      local out = {}
      for i, row in ipairs(r.rows) do
        out[i] = row.values.value
      end
      return table.concat(out, " ")
    end
    local netem = ns.lab "h1 --1ms-- h2"
    local by_wire = rawget(netem, "hub") ~= nil
    netem:close()
    if not by_wire then
      return pending "netem of this kernel has no seed"
    end
    local first = losses()
    assert.equal(first, losses())
    assert.is_truthy(first:find "%d+ %d+ %d+")
  end)

  it("goes on where a run raises, returns nothing of use or takes too long, and says so", function()
    local r = ns.sweep {
      lab = "h1 -- h2", over = { what = { "fine", "raises", "text", "slow" } }, repeats = 1, timeout = 1.5,
      run = function(lab, point)
        if point.what == "raises" then
          lab.h1.link:get(1).nothing.at_all = 1
        elseif point.what == "slow" then
          lab.h1:run { "sleep", "60" }
        end
        return point.what == "text" and { figure = "seven" } or { figure = 7 }
      end,
    }
    assert.equal(3, r.failed)
    assert.equal(7, r.rows[1].values.figure)
    assert.matches("attempt to index a nil value", r.rows[2].error)
    assert.matches("run returned figure = string: figures are numbers", r.rows[3].error)
    assert.matches("took longer than 1.5 s", r.rows[4].error)
    assert.is_nil(r.rows[4].values)
    assert.matches("0 %(1 failed%)", r:table())
  end)

  it("takes more of a run than a pipe holds", function()
    local r = ns.sweep { lab = "h1 -- h2", over = { a = { 1 } }, repeats = 2, timeout = 60, run = function(_, _, number)
      return number == 1 and 5 or error(("x"):rep(200000), 0)
    end }
    assert.equal(5, r.rows[1].values.value)
    assert.equal(200000, #r.rows[2].error)
  end)

  it("raises where all runs fail, with the first reason", function()
    fails("all 2 runs failed; the first %(a=1%): .*no such luck", { lab = "h1 -- h2", over = { a = { 1 } }, repeats = 2, run = function()
      error "no such luck"
    end })
  end)

  it("has no figure that is called as a parameter or another column is", function()
    for name, text in pairs { a = "a parameter", ["repeat"] = "a column of the results" } do
      fails("run returned " .. name .. ": that is the name of " .. text, { lab = "h1 -- h2", over = { a = { 1 } }, repeats = 1, run = function()
        return { [name] = 1 }
      end })
    end
  end)

  it("says what is wrong with what it is given before it runs anything", function()
    local function never()
      error "it ran"
    end
    fails("sweep: over = { delay", { lab = "h1 -- h2", run = never, over = {} })
    fails("sweep: run is missing", { lab = "h1 -- h2", over = { a = { 1 } } })
    fails("over.a is a list of values", { lab = "h1 -- h2", run = never, over = { a = 3 } })
    fails("over.a: 1 stands twice", { lab = "h1 -- h2", run = never, over = { a = { 1, 1 } } })
    fails("repeats is at least 1", { lab = "h1 -- h2", run = never, over = { a = { 1 } }, repeats = 0 })
    fails("lab says %$dely, which is no parameter; there are %$delay", { lab = "h1 --$dely-- h2", run = never, over = { delay = { 1 } } })
    fails("repeats", { lab = "h1 -- h2", run = never, over = { a = { 1 } }, repeat_ = 3 })
    fails("timeout must be more than nothing", { lab = "h1 -- h2", run = never, over = { a = { 1 } }, timeout = 0 })
    fails("over: seed is a column of the results", { lab = "h1 -- h2", run = never, over = { seed = { 1 } } })
    fails("line 1, column 7", { lab = "h1 -- $a", run = never, over = { a = { "--" } } })
  end)

  describe("with a file", function()
    local path, marks

    before_each(function()
      path, marks = temporary(), temporary()
    end)

    after_each(function()
      os.remove(path)
      os.remove(marks)
    end)

    local function read(name)
      local f = io.open(name)
      local text = f and f:read "a" or ""
      if f then
        f:close()
      end
      return text
    end

    local function write(name, text)
      local f = assert(io.open(name, "w"))
      f:write(text)
      f:close()
    end

    local function options()
      return { lab = "h1 -- h2", over = { a = { 1, 2, 3 } }, repeats = 2, jobs = 1, file = path, run = function(_, point, number)
        local f = assert(io.open(marks, "a"))
        f:write(("%d.%d "):format(point.a, number))
        f:close()
        return { b = point.a / 3 + number }
      end }
    end

    it("does not do again what is done, also after a kill -9 in the middle of a line", function()
      local script = temporary()
      write(script, ([[
        local n = 0
        ns.sweep { lab = "h1 -- h2", over = { a = { 1, 2, 3 } }, repeats = 2, jobs = 1, file = %q, run = function(_, point, number)
          return { b = point.a / 3 + number }
        end, progress = function(done) if done == 3 then ns.run { "kill", "-9", (io.open "/proc/self/stat":read "n") } end end }]]):format(path))
      local _, ok, status = helper.sh("build/bin/nslua " .. script)
      os.remove(script)
      assert.is_false(ok)
      assert.equal(137, status)
      write(path, read(path) .. '{"elapsed":0.1,"number":2,"po') -- what a kill may leave
      local r = ns.sweep(options())
      assert.equal("2.2 3.1 3.2 ", read(marks))
      local fresh = {}
      for i, row in ipairs(r.rows) do
        fresh[i] = row.values.b == row.point.a / 3 + row.number
      end
      assert.same({ true, true, true, true, true, true }, fresh)
      local again = ns.sweep(options())
      assert.equal("2.2 3.1 3.2 ", read(marks))
      assert.equal(r:csv(), again:csv())
      for line in read(path):gmatch "[^\n]+" do
        assert.is_table(dkjson.decode(line))
      end
    end)

    it("keeps figures that are no numbers to JSON", function()
      local o = options()
      local figures = { math.huge, -math.huge, 0 / 0 }
      o.repeats, o.run = 1, function(_, point)
        return { a_figure = figures[point.a] }
      end
      assert.matches("\n1,1,1,inf,\n2,1,1,%-inf,\n3,1,1,nan,\n$", ns.sweep(o):csv())
      o.run = error
      assert.matches("\n1,1,1,inf,\n2,1,1,%-inf,\n3,1,1,nan,\n$", ns.sweep(o):csv())
    end)

    it("tries again what failed", function()
      local o = options()
      local run = o.run
      o.run = function(lab, point, number)
        return point.a == 2 and error "not yet" or run(lab, point, number)
      end
      assert.equal(2, ns.sweep(o).failed)
      o.run = run
      assert.equal(0, ns.sweep(o).failed)
      assert.equal("1.1 1.2 3.1 3.2 2.1 2.2 ", read(marks))
    end)

    it("refuses one of another sweep, and one that is none", function()
      ns.sweep(options())
      local o = options()
      o.over = { b = { 1 } }
      fails("the file holds the runs of another sweep", o)
      o = options()
      o.lab = o.lab .. "\nh3"
      fails("the file holds the runs of another sweep", o)
      write(path, "something else\n")
      fails("the file is not one of a sweep", options())
      o.file = "/nowhere/at/all"
      fails("/nowhere/at/all: No such file", o)
    end)
  end)

  it("ends its runs when a signal ends the script", function()
    local out, _, status = helper.sh [[
      build/bin/nslua -e 'ns.sweep { lab = "h1 -- h2", over = { a = { 1 } }, repeats = 4, progress = false,
        run = function(lab) lab.h1:run { "sleep", "3217" } return 1 end }' &
      script=$!
      exec 2>/dev/null
      until pgrep -f '^sleep 3217' >/dev/null || ! kill -0 $script; do sleep 0.02; done
      kill -TERM $script
      wait $script
      status=$?
      for i in $(seq 100); do pgrep -f '^sleep 3217' >/dev/null || break; sleep 0.02; done
      pgrep -f '^sleep 3217'
      exit $status]]
    assert.equal("", out)
    assert.equal(143, status)
  end)
end)

describe("what a sweep found", function()
  local results = require "nslua.lab.sweep.results"
  local points = require "nslua.lab.sweep.points"

  local function sweep(over, fn, repeats)
    local parameters = points.parameters(over)
    local rows = {}
    for _, point in ipairs(points.grid(parameters)) do
      for number = 1, repeats or 5 do
        local values, e = fn(point, number)
        rows[#rows + 1] = { point = point, name = points.name(parameters, point), number = number, seed = number, values = values, error = e,
          elapsed = 0 }
      end
    end
    return results.new(parameters, rows)
  end

  it("has medians and quarters", function()
    assert.same({ median = 3, low = 2, high = 4, min = 1, max = 5, n = 5 }, results.spread { 5, 1, 4, 2, 3 })
    assert.same({ median = 2.5, low = 1.75, high = 3.25, min = 1, max = 4, n = 4 }, results.spread { 4, 3, 2, 1 })
    assert.same({ median = 7, low = 7, high = 7, min = 7, max = 7, n = 1 }, results.spread { 7, 0 / 0 })
    assert.is_nil(results.spread { 0 / 0 })
    local inf = math.huge
    assert.same({ median = 1, low = -inf, high = 1, min = -inf, max = 1, n = 3 }, results.spread { 1, -inf, 1 })
  end)

  it("is a table of text, CSV and JSON", function()
    local s = sweep({ { "cc", { "a,b", 'say "x"' } } }, function(point, number)
      if number == 2 then
        return nil, "line one\nline two"
      end
      return { rate = number * 0.1, [point.cc == "a,b" and "only" or "rate"] = 1 }
    end, 3)
    assert.equal([[
cc       only  25 %  75 %  rate  25 %  75 %          runs
a,b         1     1     1   0.2  0.15  0.25  2 (1 failed)
say "x"     -     -     -     1     1     1  2 (1 failed)
2 failed: line one
]], s:table())
    local out, ok = helper.sh(([[python3 -c 'import csv, json, sys
for r in csv.reader(sys.stdin): print(json.dumps(r))' <<'END'
%sEND]]):format(s:csv()))
    assert.is_true(ok, out)
    local lines = {}
    for line in out:gmatch "[^\n]+" do
      lines[#lines + 1] = dkjson.decode(line)
    end
    assert.same({ "cc", "repeat", "seed", "only", "rate", "error" }, lines[1])
    assert.same({ "a,b", "1", "1", "1", "0.1", "" }, lines[2])
    assert.same({ "a,b", "2", "2", "", "", "line one\nline two" }, lines[3])
    assert.same({ 'say "x"', "3", "3", "", "1", "" }, lines[7])
    assert.matches("\n1,1,1,nan,\n", sweep({ { "a", { 1 } } }, function()
      return { b = -(0 / 0) }
    end, 1):csv())
    local j = dkjson.decode(s:json())
    assert.equal(6, #j.runs)
    assert.equal(2, j.failed)
    assert.equal("line one\nline two", j.runs[2].error)
    assert.equal(0.2, j.summary[1].figures.rate.median)
  end)

  it("is a chart whose points stand where their values are", function()
    local s = sweep({ { "loss", { "1%", "0%", "2%" } }, { "cc", { "reno", "<cubic>" } } }, function(point, number)
      return { goodput = (point.cc == "reno" and 50e6 or 100e6) - tonumber(point.loss:match "%d") * 10e6 + number, rtt = number / 1000 }
    end)
    local svg = s:svg { units = { goodput = "bit/s", rtt = "s" }, title = "TCP & loss" }
    local out, ok = helper.sh(([[python3 -c 'import sys, xml.dom.minidom as x
d = x.parse(sys.stdin)
for t in d.getElementsByTagName("text"): print(t.firstChild.data)
for c in d.getElementsByTagName("circle"):
  if c.firstChild: print(c.getAttribute("cx"), c.getAttribute("cy"), c.firstChild.firstChild.data)' <<'END'
%sEND]]):format(svg))
    assert.is_true(ok, out)
    for _, text in ipairs { "TCP & loss", "goodput", "rtt", "loss", "cc", "reno", "<cubic>", "100 Mbit/s", "0 bit/s", "5 ms", "0%", "1%", "2%" } do
      assert.is_truthy(("\n" .. out .. "\n"):find("\n" .. text .. "\n", 1, true), text .. " in " .. out)
    end
    local last, fallen
    for x, y in out:gmatch "([%d.]+) ([%d.]+) reno: median [%d.]+ Mbit/s" do
      fallen = not last or (tonumber(x) > last[1] and tonumber(y) > last[2])
      assert.is_true(fallen)
      last = { tonumber(x), tonumber(y) }
    end
    assert.is_true(fallen)
  end)

  it("is charted with the axes that are asked for, or says why not", function()
    local s = sweep({ delay = { 0.001, 0.01, 0.1, 1 } }, function(point)
      return { figure = point.delay == 1 and 0 or 1 / point.delay }
    end)
    local function fault(pattern, options)
      local ok, e = pcall(s.svg, s, options)
      assert.is_false(ok)
      assert.matches(pattern, tostring(e))
    end
    fault("figure has values that are not above zero", { log_y = true })
    fault("unknown parameter 'dely' %(did you mean 'delay'", { x = "dely" })
    fault("unknown figure 'fig'", { y = "fig" })
    fault("unknown scale 'logarithmic'", { scale = "logarithmic" })
    local places = {}
    for x in s:svg({ scale = "log" }):gmatch '<circle class="d1" cx="([%d.]+)"' do
      places[#places + 1] = tonumber(x)
    end
    assert.equal(4, #places)
    assert.is_true(math.abs((places[2] - places[1]) - (places[4] - places[3])) < 0.2)
    local words = sweep({ what = { "b", "a" } }, function() return { x = 1 } end)
    assert.is_false(pcall(words.svg, words, { scale = "linear" }))
    local odd = sweep({ what = { "\255\27[2J", "a" }, more = { "\254", "b" } }, function() return { x = 1 } end)
    assert.is_nil((odd:svg() .. odd:table()):find "[\27\254\255]")
    assert.is_truthy(odd:table():find("?%?%[2J"))
    assert.is_truthy(sweep({ a = { 1 } }, function() return { x = 0 / 0 } end):svg():find("no run gave a number", 1, true))
  end)

  it("tells numbers with their units", function()
    local axis = require "nslua.lab.sweep.axis"
    local function is(text, ...)
      assert.equal(text, axis.number(...))
    end
    is("94 Mbit/s", 94e6, "bit/s")
    is("1 Gbit/s", 1e9, "bit/s")
    is("20.1 ms", 0.0201, "s")
    is("0 s", 0, "s")
    is("1.5k", 1500)
    is("0.25", 0.25)
    is("-3 kB", -3000, "B")
    is("12 µs", 12e-6, "s")
  end)

  it("is on the way shown by a bar that fits", function()
    local progress = require "nslua.lab.sweep.progress"
    assert.equal("[##########          ] 5/10, 1 failed, 1:05 left", progress.line(5, 10, 1, 65, 49))
    assert.equal("[########################################] 10/10", progress.line(10, 10, 0, 0, 80))
    for columns = 45, 100, 7 do
      assert.is_true(#progress.line(123, 4567, 12, 4000, columns) < columns)
    end
    local out = helper.sh [[script -qec "build/bin/nslua -e 'ns.sweep { lab = \"h1 -- h2\", over = { a = { 1, 2 } }, repeats = 1,
      run = function() return 1 end }'" /dev/null </dev/null]]
    if out:find("EPERM", 1, true) then
      return pending(out)
    end
    assert.is_truthy(out:find("] 0/2", 1, true), out)
    assert.is_truthy(out:find("] 2/2\27[K\r\27[K", 1, true), out)
    out = helper.sh [[build/bin/nslua -e 'ns.sweep { lab = "h1 -- h2", over = { a = { 1 } }, repeats = 1, progress = true,
      run = function() return 1 end }' 2>&1 >/dev/null | cat]]
    assert.is_truthy(out:find("] 1/1\27[K\r\27[K", 1, true), out)
  end)
end)
