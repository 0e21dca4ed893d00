-- What wires are told to do later, and traces that they follow.

local helper = require "spec.helper"
local ns = require "nslua"
local schedule = require "nslua.schedule"
local wires = require "spec.wire_helper"

after_each(helper.close_held)

-- The process has done what was due when this was called: it looks at the clock between two requests.
local function settle(w)
  w:counters()
  w:counters()
end

-- The script is busy, and reads nothing.
local function busy(seconds)
  local stop = ns.clock() + seconds
  while ns.clock() < stop do end -- luacheck: ignore 542
end

for _, kind in ipairs(wires.kinds) do describe("a schedule of a wire of kind " .. kind, function()
  before_each(function()
    wires.kind = kind
  end)
  wires.kind = kind
  local why = wires.cannot()
  if why then
    pending(why)
    return
  end

  it("changes while the script is busy, each word when it is due", function()
    local w, a, b = wires.wire { delay = "1ms" }
    local s, r = wires.sockets(a, b)
    w:at("60s", { to = { duplicate = "100%" } })
    w:at(0.02, { to = { corrupt = 0 } })
    w:at(0.01, { to = { loss = "100%" }, from = { delay = "1ms" } })
    busy(0.03)
    settle(w)
    assert.same({}, wires.datagrams(w, s, r, 5))
    assert.same({ 5, 0 }, { w:counters().to.lost, w:counters().to.duplicated })
    w:change { to = { delay = "2ms" } } -- what a step set is left as it is
    assert.same({}, wires.datagrams(w, s, r, 5))
    w:at(0, { to = { loss = false, duplicate = "100%" } })
    settle(w)
    assert.same({ 1, 1, 2, 2 }, wires.datagrams(w, s, r, 2))
    w:at(0, { to = false })
    w:at(60, { to = { loss = 1 } })
    w:unschedule()
    settle(w)
    assert.same({ 1, 2 }, wires.datagrams(w, s, r, 2))
  end)

  it("draws the same numbers whether a change was scheduled or not", function()
    local function got(late)
      local w, a, b = wires.wire({ loss = "30%" }, nil, { seed = 5 })
      local s, r = wires.sockets(a, b)
      local first = wires.datagrams(w, s, r, 50)
      if late then
        w:at(0, { to = { loss = "50%", seed = late } })
        settle(w)
      else
        w:change { to = { loss = "50%" } }
      end
      return table.concat(first, " ") .. "; " .. table.concat(wires.datagrams(w, s, r, 50), " ")
    end
    local without = got()
    assert.equal(without:match "^[^;]*", got(6):match "^[^;]*")
    assert.are_not.equal(without, got(6))
    assert.equal(got(6), got(6))
  end)

  it("flaps, and is up again at the end", function()
    local w, a, b = wires.wire()
    local s, r = wires.sockets(a, b)
    w:flap { down = 60, count = 1 }
    settle(w)
    s:write "1"
    assert.is_true(wires.eventually(function()
      return w:counters().to.down == 1
    end))
    assert.is_true(a.link:get("eth0").carrier and b.link:get("eth0").carrier)
    w:unschedule()
    assert.same({ 1, 2, 3 }, wires.datagrams(w, s, r, 3))
    w:down()
    w:unschedule()
    settle(w)
    assert.is_false(a.link:get("eth0").carrier) -- what the script pulled stays so
    w:up()
    w:flap { down = "2ms", up = "1ms", count = 2, after = "1ms" }
    busy(0.01)
    settle(w)
    assert.is_true(wires.eventually(function()
      return a.link:get("eth0").operstate == "up" and b.link:get("eth0").operstate == "up"
    end))
    assert.same({ 1, 2 }, wires.datagrams(w, s, r, 2))
  end)

  it("does what it missed in its order, the last of each", function()
    local w, a, b = wires.wire()
    local s, r = wires.sockets(a, b)
    w:flap { down = "20ms", up = "10ms", count = 2, after = "20ms" }
    busy(0.03)
    helper.sh(("kill -STOP %d"):format(w.state.hub.pid))
    busy(0.05) -- up, down and up again
    helper.sh(("kill -CONT %d"):format(w.state.hub.pid))
    settle(w)
    assert.same({ 1, 2 }, wires.datagrams(w, s, r, 2))
  end)

  it("follows a rate that falls to nothing, and what waits is sent at the new one, in its order", function()
    local w, a, b = wires.wire { delay = "1ms" }
    local s, r = wires.sockets(a, b)
    w:replay { to = { rate = { { 0, 0 } } }, from = { delay = { { 0, "1ms" }, { 0.001, "2ms" } } }, loop = 0.002 }
    settle(w)
    for i = 1, 20 do
      s:write(("%d "):format(i))
    end
    assert.is_true(wires.eventually(function()
      return w:counters().to.queued == 20
    end))
    w:change { to = { rate = "8kbit" } } -- the first of them would be through after 43 ms, the last after one second
    w:change { to = { rate = "80bit" } }
    w:unschedule()
    assert.equal(20, w:counters().to.queued + w:counters().to.sent)
    w:change { to = { rate = false } }
    assert.is_true(wires.eventually(function()
      return w:counters().to.queued == 0
    end))
    local got = wires.received(r)
    assert.equal(20, #got)
    for i = 1, 20 do
      assert.equal(i, got[i])
    end
    -- Nothing is owed for what was dropped on the way.
    w:change { to = { rate = "1bit" } }
    s:write "1"
    assert.is_true(wires.eventually(function()
      return w:counters().to.queued == 1
    end))
    w:down()
    w:up()
    w:change { to = { rate = "100mbit" } }
    assert.same({ 1, 2 }, wires.datagrams(w, s, r, 2))
  end)

  it("says what is wrong, and does nothing of it", function()
    local w = wires.wire()
    local function wrong(text, name, ...)
      local ok, e = pcall(w[name], w, ...)
      assert.is_false(ok)
      assert.is_true(tostring(e):find(text, 1, true) ~= nil, tostring(e))
    end
    wrong("no time to wait", "at", -1, {})
    wrong("did you mean 'loss'", "at", 1, { to = { los = 1 } })
    wrong("down is missing", "flap", { up = 1 })
    wrong("up is missing", "flap", { down = 1 })
    wrong("no time to wait", "flap", { down = 0, up = 1 })
    wrong("nothing follows a trace", "replay", {})
    wrong("rate: point 2 is not after", "replay", { rate = { { 1, "1mbit" }, { 1, "2mbit" } } })
    wrong("rate: point 1", "replay", { rate = { { 1, "fast" } } })
    wrong("delay: point 2", "replay", { delay = { { 1, 1 }, { 2, "soon" } } })
    wrong("ENOENT", "replay", { delay = "/nonexistent" })
    wrong("one point", "replay", { delay = { { 0, 1 } }, loop = true })
    wrong("longer than", "replay", { delay = { { 0, 1 }, { 5, 1 } }, loop = 5 })
    w:close()
    wrong("closed", "at", 1, {})
    wrong("closed", "unschedule")
  end)
end) end

describe("a trace", function()
  local function file(text)
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    helper.held { close = function() os.remove(path) end }
    return path
  end

  local function told(t)
    local out = {}
    for i, step in ipairs(schedule.replay("spec", t)) do
      local words = step.to or step.from
      local word, value = next(words)
      out[i] = ("%g%s %s=%s%s"):format(step.after, step.every and ("/%g"):format(step.every) or "", word, tostring(value),
        step.to and step.from and "" or step.to and " to" or " from")
    end
    return out
  end

  it("is a table or a file, of both directions or of each", function()
    local path = file "# seconds, delay\n0 10ms\n\n0.5 0.02 # late\n"
    assert.same({ "0 delay=10ms", "0.5 delay=0.02" }, told { delay = path })
    assert.same({ "0/1 delay=10ms to", "0.5/1 delay=0.02 to" }, told { to = { delay = path }, loop = true })
    local list = told { rate = { { 0, "1mbit" }, { 1, "0mbit" } }, from = { delay = { { "0s", "5ms" } } } }
    table.sort(list)
    assert.same({ "0 delay=5ms from", "0 rate=1mbit", "1 rate=1" }, list)
    for text, lines in pairs { [":2: expected"] = "0 1mbit\nx\n", ["later before"] = "5\n4\n", ["lasts no time"] = "0\n0\n", ["1 to"] = "#\n" } do
      local ok, e = pcall(told, { rate = file(lines) })
      assert.is_false(ok)
      assert.is_true(tostring(e):find(text, 1, true) ~= nil, tostring(e))
    end
    assert.is_false((pcall(told, { delay = file "1\n2\n" })))
  end)

  it("of packet deliveries is a rate for each tenth of a second", function()
    local lines = {}
    for ms = 1, 100 do
      lines[#lines + 1] = ms -- 1514 bytes a millisecond
    end
    lines[#lines + 1], lines[#lines + 2] = 301, 350 -- nothing for 200 ms, then two in 50
    local path = file(table.concat(lines, "\n") .. "\n")
    local steps = schedule.replay("spec", { to = { rate = path }, loop = true })
    assert.equal(3, #steps)
    local rates = {}
    for i, step in ipairs(steps) do
      rates[i] = ("%g %.0f %g"):format(step.after, step.to.rate, step.every)
    end
    assert.same({ "0 12112000 0.35", "0.1 1 0.35", "0.3 484480 0.35" }, rates)
  end)
end)
