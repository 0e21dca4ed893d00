-- ns.spawn: handles, streams, signals, ownership, waiting; output and shell.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"
local held = helper.held

local function alive(pid)
  local f = io.open(("/proc/%d/stat"):format(pid))
  local text = f and f:read "*a"
  if f then
    f:close()
  end
  local state = text and text:match "%) (%u)"
  return state ~= nil and state ~= "Z"
end

-- Wait until fn() is true; false after 5 s.
local function eventually(fn)
  local deadline = ns.clock() + 5
  repeat
    if fn() then
      return true
    end
  until ns.clock() > deadline
  return false
end

local function netns()
  return helper.netns { lo = true }
end

describe("ns.spawn", function()
  it("runs beside the script until it is waited for", function()
    local p = held(ns.spawn { "sh", "-c", "read line; echo got $line; exit 3", stdin = "pipe", stdout = "pipe" })
    assert.is_true(p:running())
    assert.is_nil(p:wait(0))
    assert.is_nil(p:wait "10ms")
    p.stdin:write("abc", "\n")
    assert.equal("got abc", p.stdout:read())
    local r = p:wait()
    assert.same({ false, 3 }, { r.ok, r.status })
    assert.equal(r, p:wait())
    assert.is_false(p:running())
    assert.is_nil(p.stdout:read())
    p:close()
    assert.is_false(p:running())
  end)

  it("reads lines, numbers of bytes, all, and with a timeout", function()
    local p = held(ns.spawn { "sh", "-c", "printf 'one\\ntwo\\nthree four'; read x; printf five", stdin = "pipe", stdout = "pipe" })
    assert.equal("one", p.stdout:read())
    assert.equal("two\n", p.stdout:read "L")
    assert.equal("three", p.stdout:read(5))
    assert.same({ nil, "timeout" }, { p.stdout:read("a", 0.02) })
    p.stdin:write "\n"
    p.stdin:close()
    assert.equal(" fourfive", p.stdout:read "*a")
    assert.equal("", p.stdout:read "*a")
    assert.is_nil(p.stdout:read(1))
    local list = {}
    local q = held(ns.spawn { "printf", "a\\nb\\nc", stdout = "pipe" })
    for line in q.stdout:lines() do
      list[#list + 1] = line
    end
    assert.same({ "a", "b", "c" }, list)
    assert.has_error(function() q.stdout:read "x" end)
  end)

  it("takes text and numbers only", function()
    local p = ns.spawn { "cat", stdin = "pipe", stdout = "pipe" }
    for _, bad in ipairs { {}, true, print } do
      local ok, e = pcall(p.stdin.write, p.stdin, bad)
      assert.is_false(ok)
      assert.matches("spawn_spec.lua:%d+: write: text or a number expected", e)
    end
    p.stdin:write("a", 5, "\n"):close()
    assert.equal("a5\n", p.stdout:read "a")
    p:close()
  end)

  it("captures while it is waited for", function()
    local p = held(ns.spawn { "sh", "-c", "cat; echo e >&2", stdout = "capture", stderr = "capture", input = ("y"):rep(300000) })
    local r = p:wait()
    assert.equal(300000, #r.stdout)
    assert.equal("e\n", r.stderr)
  end)

  it("gives EPIPE as an error, not a signal, to who writes to a program that has gone", function()
    local p = held(ns.spawn { "true", stdin = "pipe" })
    p:wait()
    local ok, err = pcall(p.stdin.write, p.stdin, "x")
    assert.is_false(ok)
    assert.is_true(ns.error.is(err, "EPIPE"))
  end)

  it("sends signals by name or number, to that process only", function()
    local p = held(ns.spawn { "sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done", stdout = "pipe" })
    p.stdout:read()
    assert.is_true(p:kill "USR1")
    assert.equal(7, p:wait(10).status)
    assert.is_false(p:kill "KILL")
    local q = held(ns.spawn { "sleep", 100 })
    assert.is_true(q:kill "SIGTERM")
    assert.equal("TERM", q:wait(10).signal)
    local r = held(ns.spawn { "sleep", 100 })
    assert.is_true(r:kill(9))
    assert.equal("KILL", r:wait(10).signal)
    assert.has_error(function() r:kill "NOSUCH" end, nil)
  end)

  it("is waited for by ns.wait", function()
    local p = held(ns.spawn { "sleep", 100 })
    local q = held(ns.spawn { "true" })
    assert.same({ q }, ns.wait({ p, q }, 10))
    assert.equal("r", p:events())
    assert.equal(p:pollfd(), p:getfd())
    assert.is_nil(p:timeout())
  end)

  it("has a timeout that wait keeps", function()
    local p = held(ns.spawn { "sh", "-c", "sleep 100; echo", timeout = 0.1 })
    assert.is_true(p:timeout() > 0)
    local r = p:wait()
    assert.is_true(r.timed_out)
  end)

  it("closes: TERM first", function()
    local p = ns.spawn { "sh", "-c", "trap 'echo term; exit' TERM; echo ready; while :; do sleep 0.01; done", stdout = "pipe" }
    assert.equal("ready", p.stdout:read())
    local copy = core.fd.open(("/proc/self/fd/%d"):format(p.stdout:pollfd()), "r")
    assert.is_true(p:close())
    assert.equal("term\n", copy:read())
    copy:close()
    assert.is_true(p:close())
    assert.is_false(alive(p.pid))
    assert.has_error(function() p:wait() end)
  end)

  it("closes: KILL after a second, and its whole group", function()
    local p = ns.spawn { "sh", "-c", "trap '' TERM; sleep 100 & echo $!; sleep 100; sleep 100", stdout = "pipe" }
    local grandchild = tonumber(p.stdout:read())
    local began = ns.clock()
    p:close()
    local took = ns.clock() - began
    assert.is_true(took >= 0.9 and took < 5)
    assert.is_true(eventually(function() return not alive(p.pid) and not alive(grandchild) end))
  end)

  it("does not end a process whose handle is collected", function()
    local pid = ns.spawn({ "sleep", 100 }).pid
    collectgarbage()
    collectgarbage()
    assert.is_true(alive(pid))
    os.execute("kill " .. pid)
  end)

  it("reaps the unwaited in time", function()
    local pids = {}
    for i = 1, 100 do
      pids[i] = ns.spawn({ "true" }).pid
    end
    assert.is_true(eventually(function()
      ns.spawn({ "true" }):wait()
      local zombies = 0
      for _, pid in ipairs(pids) do
        zombies = zombies + (io.open(("/proc/%d/stat"):format(pid)) and 1 or 0)
      end
      collectgarbage()
      return zombies < 90
    end))
  end)

  it("takes part in a script's end", function()
    local code = [[local ns = require "nslua"
      ns.spawn{"sh", "-c", "trap \"echo term; exit\" TERM; echo $$; sleep 100 & wait"}
      local p = ns.spawn{"sleep", "100"}
      print(p.pid) io.stdout:flush()
      ns.run{"sleep", "0.2"}]]
    local out = helper.sh(helper.lua .. " -e '" .. code .. "'")
    assert.matches("term", out)
    for pid in out:gmatch "%d+" do
      assert.is_true(eventually(function() return not alive(tonumber(pid)) end))
    end
  end)
end)

describe("ready", function()
  local server = [[use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8080", Listen => 1) or die;
    print "listening\n"; sleep 100]]

  it("returns when the program listens, in its own network", function()
    if not helper.has "perl" then
      pending "no perl"
    end
    local a = held(netns())
    local p = held(a:spawn { "perl", "-e", "select(undef, undef, undef, 0.1); " .. server, ready = { tcp = 8080 }, stdout = "null" })
    assert.is_true(p:running())
    local ok, err = pcall(ns.spawn, { "sleep", 100, ready = { tcp = 8080, seconds = "50ms" } })
    assert.is_false(ok)
    assert.is_true(ns.error.is(err, "ETIMEDOUT"))
    assert.matches("spawn: ready: ETIMEDOUT: sleep: no listener on TCP port 8080: nobody after 0.05 s", tostring(err))
  end)

  it("raises where the program ends first", function()
    local ok, err = pcall(ns.spawn, { "sh", "-c", "exit 3", ready = { tcp = 1 } })
    assert.is_false(ok)
    assert.equal("ready", err.step)
    assert.matches("no listener on TCP port 1: exit status 3", tostring(err))
  end)
end)

describe("a handle's processes", function()
  it("are joined to it and end when it closes", function()
    local a = netns()
    local p = a:spawn { "sleep", 100 }
    local q = a:spawn { "sh", "-c", "sleep 100 & echo $!; wait", stdout = "pipe" }
    local grandchild = tonumber(q.stdout:read())
    assert.equal(("net:[%d]"):format(a.inode), (helper.sh("readlink /proc/" .. p.pid .. "/ns/net")))
    a:close()
    assert.is_true(eventually(function() return not alive(p.pid) and not alive(q.pid) and not alive(grandchild) end))
    assert.equal("TERM", p:wait().signal)
    assert.has_error(function() a:run { "true" } end)
  end)

  it("keep it alive", function()
    local pid
    do
      local a = netns()
      pid = a:spawn({ "sleep", 100 }).pid
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(alive(pid))
    os.execute("kill " .. pid)
  end)

  it("give output, trimmed, or raise", function()
    local a = held(netns())
    assert.equal("a\nb", a:output { "printf", "a\\nb\\n\\n" })
    local ok, err = pcall(a.output, a, { "sh", "-c", "echo bad >&2; exit 9" })
    assert.is_false(ok)
    assert.matches("output: sh: exit status 9 %(bad%)", tostring(err))
  end)

  it("contained: the whole tree ends with a script that is killed", function()
    local ready = helper.is_root() and "ns.netns.new()" or "ns.netns.new{ userns = ns.userns.new{ map_users = \"root\" } }"
    local code = ([[local ns = require "nslua"
      local a = %s
      local p = a:spawn{"sh", "-c", "setsid sleep 4321 & echo up; wait", contain = true, stdout = "pipe"}
      p.stdout:read()
      print(require("nslua.namespace").open(p.pid, "pid").inode)
      io.stdout:flush()
      ns.run{"sleep", "100"}]]):format(ready)
    local p = held(ns.spawn { "sh", "-c", helper.lua .. " -e '" .. code .. "' & echo $!; wait", stdout = "pipe" })
    local script, pidns = p.stdout:read(), p.stdout:read()
    assert.is_truthy(tonumber(pidns))
    local inside = ("for f in /proc/[0-9]*/ns/pid; do readlink $f; done 2>/dev/null | grep -c %s"):format(pidns)
    assert.is_true(tonumber((helper.sh(inside))) >= 2)
    os.execute("kill -9 " .. script)
    assert.is_true(eventually(function() return helper.sh(inside) == "0" end))
  end)
end)

describe("netns:shell", function()
  it("is a shell inside, and gives its status", function()
    local code = [[local a = require("spec.helper").netns{label = "blue sky"}
      print("status", a:shell())]]
    local out = helper.sh("echo 'ls /sys/class/net; exit 5' | SHELL=/bin/sh " .. helper.lua .. " -e '" .. code .. "'")
    assert.equal("lo\nstatus\t5", out)
  end)

  it("says where it is: bash, sh", function()
    for _, shell in ipairs { "/bin/bash", "/bin/sh" } do
      local code = [[local a = require("spec.helper").netns{label = "blue sky"} os.exit(a:shell())]]
      local r = ns.run {
        "sh", "-c", helper.lua .. " -e '" .. code .. "'", pty = true, timeout = 20,
        input = "ls /sys/class/net | sed s/^/net-/\nexit 6\n", env = { SHELL = shell, HOME = "/nonexistent" },
      }
      assert.equal(6, r.status)
      assert.matches("%(blue%?sky%) ", r.stdout)
      assert.matches("net%-lo", r.stdout)
    end
  end)
end)
