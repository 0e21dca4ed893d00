-- Programs in pid namespaces: as pid 1, under the small init, reaped, signalled, ended whole.

local ns = require "nslua"
local helper = require "spec.helper"
local held = helper.held

local function plan(t)
  t.unshare = "user,pid,mount"
  t.map_users = "root"
  t.mount_proc = true
  return t
end

after_each(helper.close_held)

describe("a program in its own pid namespace", function()
  it("is pid 1, sees its own processes only", function()
    local r = ns.run(plan { "sh", "-c", "echo $$; set -- /proc/[0-9]*; echo $#" })
    assert.equal("1\n1\n", r.stdout)
    assert.is_true(r.ok)
  end)

  it("gives status and signal", function()
    assert.equal(9, ns.run(plan { "sh", "-c", "exit 9" }).status)
    assert.equal("KILL", ns.run(plan { "sleep", 100, timeout = 0.1 }).signal)
  end)

  it("is the child of the script, with a pidfd", function()
    local p = held(ns.spawn(plan { "sleep", 100 }))
    assert.equal(helper.sh "echo $PPID", helper.sh("ps -o ppid= -p " .. p.pid):match "%d+")
    assert.is_true(p:kill "KILL")
    assert.equal("KILL", p:wait(10).signal)
  end)

  it("closes at once where it has no handler for TERM", function()
    local p = ns.spawn(plan { "sleep", 100 })
    local began = ns.clock()
    p:close()
    assert.is_true(ns.clock() - began < 0.9)
  end)

  it("ends with everything in it", function()
    local p = ns.spawn(plan { "sh", "-c", "setsid sleep 7654 & echo up; wait", stdout = "pipe" })
    assert.equal("up", p.stdout:read())
    local inode = helper.sh("readlink /proc/" .. p.pid .. "/ns/pid"):match "%d+"
    local count = ("for f in /proc/[0-9]*/ns/pid; do readlink $f; done 2>/dev/null | grep -c %s"):format(inode)
    assert.is_true(tonumber((helper.sh(count))) >= 2)
    p:close()
    assert.equal("0", (helper.sh(count)))
  end)
end)

describe("the init", function()
  it("is pid 1, the program pid 2", function()
    -- the program may be there before the init has its name
    local r = ns.run(plan { "sh", "-c", "echo $$ $PPID; until grep init /proc/1/comm; do :; done", init = true, timeout = 10 })
    assert.equal("2 1\ninit\n", r.stdout)
  end)

  it("ends with the program's status, 128 + n for a signal", function()
    assert.equal(7, ns.run(plan { "sh", "-c", "exit 7", init = true }).status)
    assert.equal(128 + 9, ns.run(plan { "sh", "-c", "kill -9 $$", init = true }).status)
    local ok, err = pcall(ns.run, plan { "/nowhere", init = true })
    assert.is_false(ok)
    assert.same({ "exec", "ENOENT" }, { err.step, err.code })
  end)

  it("reaps orphans", function()
    -- Each subshell leaves a child that ends after it; without a reaper they would stay as zombies.
    local script = [[for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ') Z']]
    assert.equal("0\n", ns.run(plan { "sh", "-c", script, init = true }).stdout)
  end)

  it("passes signals on", function()
    for _, signal in ipairs { "HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "CONT" } do
      local p = held(ns.spawn(plan {
        "bash", "-c", ("trap 'echo %s; exit 3' %s; echo ready; while :; do sleep 0.01; done"):format(signal, signal), init = true, stdout = "pipe",
      }))
      assert.equal("ready", p.stdout:read())
      p:kill(signal)
      assert.equal(signal, p.stdout:read())
      assert.equal(3, p:wait(10).status)
    end
  end)

  it("ends the program by TERM when it is closed", function()
    local p = ns.spawn(plan { "sleep", 100, init = true })
    local began = ns.clock()
    p:close()
    assert.is_true(ns.clock() - began < 0.9)
  end)

  it("ends when the program does, and takes the rest along", function()
    local r = ns.run(plan { "sh", "-c", "sleep 1000 & echo x; exit 4", init = true })
    assert.same({ 4, "x\n" }, { r.status, r.stdout })
    assert.is_true(r.elapsed < 10)
  end)

  it("holds no fd and no directory of the caller", function()
    -- the program may be there before the init has set itself up
    local r = ns.run(plan { "sh", "-c", [[
      for i in $(seq 1000); do
        out=$(for f in /proc/1/fd/*; do readlink $f; done | sort)
        case $out in */dev/null*) ;; *signalfd*) break ;; esac
      done
      echo "$out"
      readlink /proc/1/cwd]], init = true })
    assert.equal("anon_inode:[pidfd]\nanon_inode:[signalfd]\n/\n", r.stdout)
  end)

  it("is timed out as a whole", function()
    local r = ns.run(plan { "sh", "-c", "trap '' TERM; setsid sleep 100 & wait; sleep 100", init = true, timeout = 0.1 })
    assert.is_true(r.timed_out)
  end)
end)
