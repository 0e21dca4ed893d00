-- nslua quiz: a broken lab for a learner; every one can be solved, none is solved before, and how it is mended does not matter.

local dkjson = require "dkjson"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("a quiz", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local held = helper.held
  after_each(helper.close_held)

  -- What this machine lacks for a fault: packet filters.
  local cannot
  do
    local a <close> = helper.netns {}
    local r = helper.has "nft" and a:run { "nft", "add table inet t { chain c { type nat hook postrouting priority srcnat; } ; }" }
    cannot = not r and "no nft(8) here" or not r.ok and "this kernel has no nftables: " .. r.stderr
  end
  local function quiz(options)
    local ok, q = pcall(ns.lab.quiz, options)
    if not ok and (cannot or tostring(q):find("iptables-legacy", 1, true) or tostring(q):find("bridge-nf", 1, true)) then
      return pending(cannot or tostring(q))
    end
    return held(assert(ok and q, q))
  end

  -- A line of a solution, as at the prompt.
  local function type_line(lab, line)
    local node, command = line:match "^(%S+) (.*)$"
    node = node and rawget(lab, "node")[node]
    if node then
      node:run({ "sh", "-c", command, timeout = 10 }):check()
    else
      assert(load(line, "=line", "t", rawget(lab, "node")))()
    end
  end

  for _, each in ipairs(ns.lab.quizzes()) do
    it(each.fault .. " is broken, and solved by its own solution", function()
      local q = quiz(each.fault)
      assert.same({ each.complaint }, q.complaints)
      assert.equal(each.level, q.level)
      local ok, left = q:check { timeout = "30ms", within = 0 }
      assert.is_true(not ok and #left > 0)
      for i = 1, 3 do
        local text = assert(q:hint(), i)
        assert.is_true(#text > 20)
      end
      assert.is_nil(q:hint())
      local answers = q:solution()
      assert.equal(1, #answers)
      assert.is_true(#answers[1].why > 40)
      assert.is_truthy(answers[1].mend[1], "nothing mends it")
      for _, line in ipairs(answers[1].mend) do
        type_line(q.lab, line)
      end
      ok, left = q:check { timeout = 2, within = 10 }
      assert.equal("", table.concat(left, "; "))
      assert.same({ true, false, true, 3, 2 }, { ok, q.solved, q.given_up, q.hints, q.checks })
    end)
  end

  it("is well again where the fault is mended", function()
    for _, each in ipairs(ns.lab.quizzes()) do
      local ok, q = pcall(ns.lab.quiz, each.fault)
      if ok and each.fault ~= "wrong_port" and each.fault ~= "dns_no_redirect" then -- of which mend() leaves nothing that could work
        q.faults[1]:mend()
        local _, left = q:check { timeout = 2, within = 10 }
        assert.equal("", table.concat(left, "; "), each.fault)
      end
      if ok then
        q:close()
      end
    end
  end)

  it("takes any repair, and none that destroys something else", function()
    local q = quiz "no_default_route"
    -- two routes in place of the default one
    q.lab.h1.route:add { "10.0.2.0/25", via = q.lab.r1:address_of "h1" }
    local link = q.lab:link("r1", "h2")
    link:down()
    assert.is_false((q:check { timeout = "100ms", within = 0 }))
    link:up()
    q.lab.h2.services.http:close()
    ns.eventually(function()
      local _, left = q:check { timeout = 1, within = 0 }
      return left[1]:find("port 80 of h2 (ECONNREFUSED), and could before it was broken", 1, true)
    end, 20)
    assert.is_false(q.solved)
    q.lab.h2:serve "http"
    assert.is_true((q:check { timeout = 2, within = 10 }))
    assert.is_true(q.solved)
    assert.is_false(q.given_up)
    q:solution()
    assert.is_true(q.solved)
  end)

  it("takes two at once where it is hard, and the same ones for a seed", function()
    local two
    for seed = 1, 20 do
      local q = quiz { level = "hard", seed = seed }
      local again = quiz { level = "hard", seed = seed }
      assert.same(q.complaints, again.complaints)
      if q.complaints[2] and not two then
        two = q
        assert.is_false((q:check { timeout = "100ms", within = 0 }))
        q.faults[1]:mend()
        q.faults[2]:mend()
        assert.equal(2, #q:solution())
      end
      helper.close_held()
      if two then
        break
      end
    end
    assert.is_truthy(two)
  end)

  it("says what it does not know", function()
    for _, case in ipairs { { "no_default", "did you mean 'no_default_route'?" }, { 999, "no number 999" },
      { { level = "heavy" }, "unknown level 'heavy'" }, { { sed = 1 }, "unknown key 'sed'" } } do
      local ok, e = pcall(ns.lab.quiz, case[1])
      assert.is_true(not ok and tostring(e):find(case[2], 1, true) ~= nil, tostring(e))
    end
  end)

  local function command(args, input)
    return helper.sh(("printf '%%s' '%s' | build/bin/nslua quiz %s"):format((input or ""):gsub("'", "'\\''"), args))
  end

  it("is a command that reads lines: hints, checks, a solution, a score", function()
    local out, _, status = command("no_default_route", "h1 hostname\nhint\ncheck\nh1 ip route add default via 10.0.1.254\ncheck\nscore\nquit\n")
    assert.equal(0, status, out)
    for _, text in ipairs { "h1 10.0.1.1 ──10.0.1.0/24── r1", "A user complains:\n  I am on h1.", "nslua lab enter ", "quiz> h1\n",
      "hint 1 of 3: Where would h1", "not yet: h1 gets no answer from h2\n", "Solved, in ", "1 hint and 2 checks: 8 points",
      "no_default_route on h1: ",
      "1 of 1 solved, 8 points" } do
      assert.is_truthy(out:find(text, 1, true), text .. "\n" .. out)
    end
    -- given up, left, another one
    out, _, status = command("-q no_forwarding", "give up\nr1 sysctl -w net.ipv4.ip_forward=1\ncheck\nnext\n")
    assert.equal(1, status)
    for _, text in ipairs { "no_forwarding on r1: ", "\n  mend  r1 sysctl -w net.ipv4.ip_forward=1\n", "quiz> all works again\n",
      " 1  easy    given up",
      " 2  ", "0 of 2 solved, 0 points" } do
      assert.is_truthy(out:find(text, 1, true), text .. "\n" .. out)
    end
    assert.is_nil(ns.run({ "build/bin/nslua", "lab", "list", "-q" }).stdout:find "quiz")
  end)

  it("is a command for teachers: lines as options, JSON, a list without answers", function()
    local r = ns.run { "build/bin/nslua", "quiz", "-j", "-s", "5", "-c", "hint", "loopback_down",
      "-c", "h1:run{'ip', 'link', 'set', 'lo', 'up'}", "-c", "check" }
    assert.equal(0, r.status, r.stderr)
    local said = dkjson.decode(r.stdout:match "[^\n]+\n$")
    assert.same({ true, false, 1, 1, 8, 5, { "loopback_down" } },
      { said.solved, said.given_up, said.hints, said.checks, said.points, said.seed, said.faults })
    assert.is_true(said.seconds >= 0 and said.complaints[1]:find "127.0.0.1" ~= nil)
    r = ns.run { "build/bin/nslua", "quiz", "--list", "--level", "easy" }
    assert.is_true(r.ok and r.stdout:find "^  1  easy " ~= nil and not r.stdout:find "medium", r.stdout)
    for _, each in ipairs(ns.lab.quizzes()) do
      assert.is_nil(r.stdout:find(each.fault, 1, true))
    end
    assert.equal(#ns.lab.quizzes(), #dkjson.decode(ns.run({ "build/bin/nslua", "quiz", "--list", "--json" }).stdout))
    for _, words in ipairs { { "nothing_such" }, { "--level", "heavy" }, { "--seed", "x" }, { "1", "2" } } do
      r = ns.run { "build/bin/nslua", "quiz", table.unpack(words) }
      assert.equal(2, r.status, r.stderr)
      assert.is_truthy(r.stderr:find "^nslua quiz: ", r.stderr)
    end
  end)

  it("stays at its prompt on Ctrl-C, and ends with Ctrl-D and its lab with it", function()
    local p = held(ns.spawn { "build/bin/nslua", "quiz", "-q", "--name", "spec_quiz", "1", pty = true,
      env = { HOME = "/nonexistent", TERM = "dumb" } })
    local seen = ""
    local function expect(text)
      local deadline = ns.clock() + 20
      while not seen:find(text, 1, true) do
        seen = seen .. assert(p.pty:read(1, math.max(0, deadline - ns.clock())), "no " .. text .. " in: " .. seen)
      end
      seen = seen:sub(select(2, seen:find(text, 1, true)) + 1)
    end
    expect "quiz> "
    assert.is_truthy(ns.run({ "build/bin/nslua", "lab", "list", "-q" }).stdout:find("spec_quiz", 1, true))
    p.pty:write "h1 sh -c 'echo re''ady; exec sleep 60'\n"
    expect "\nready"
    p.pty:write "\3"
    expect "quiz> "
    p.pty:write "hint\n"
    expect "hint 1 of 3"
    expect "quiz> " -- what is typed before is not readline's yet
    p.pty:write "\4"
    assert.equal(1, p:wait(20).status)
    assert.is_nil(ns.run({ "build/bin/nslua", "lab", "list", "-q" }).stdout:find("spec_quiz", 1, true))
  end)
end)
