-- Services of a lab's nodes: readiness, restarts, output, and their end. Their supervisor does it, whatever the script does.

local core = require "nslua.core"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local NSLUA = "build/bin/nslua"

describe("a service", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local lab, dir

  before_each(function()
    lab = ns.lab "h1 -- h2"
    dir = os.tmpname()
    os.remove(dir)
    assert(core.file.mkdir(dir))
  end)

  after_each(function()
    lab:close()
    helper.sh("rm -r " .. dir)
  end)

  local function read(name)
    local f = io.open(dir .. "/" .. name)
    local text = f and f:read "a"
    if f then
      f:close()
    end
    return text
  end

  -- The kernel takes a moment, and init another to reap it.
  local function is_gone(pid)
    ns.eventually(function()
      local f = io.open(("/proc/%d/stat"):format(pid))
      local text = f and f:read "a" or ""
      if f then
        f:close()
      end
      return not text:find "%) [^Z]"
    end, 20)
  end

  local function sh(script, more)
    local plan = { "sh", "-c", script, cwd = dir }
    for key, value in pairs(more or {}) do
      plan[key] = value
    end
    return lab.h2:service(plan)
  end

  local function becomes(s, state)
    ns.eventually(function()
      return s.state == state
    end, 20)
    return s
  end

  local function serve_tcp(node)
    local fd = node:socket("inet", "stream")
    assert(core.packet.bind(fd, "\0\0\0\0", 8080))
    assert(core.packet.listen(fd))
    ns.wait({}, 60)
  end

  it("is a program on its node, with its names and its pid", function()
    local s = sh("hostname; ls /sys/class/net; grep -c h1 /etc/hosts; exec sleep 60", { ready = { output = "^2$" } }):wait_ready()
    assert.equal("h2\neth0\nlo\n2\n", s:log())
    assert.equal("running", s.state)
    assert.equal(0, s.restarts)
    ns.eventually(function() -- the shell may be about to become it
      local f <close> = assert(io.open(("/proc/%d/comm"):format(s.pid)))
      return f:read "a" == "sleep\n"
    end, 20)
    assert.equal("service sh on h2 (running)", tostring(s))
  end)

  it("may be a function, which listens before it is ready", function()
    local s = lab.h2:service { serve_tcp, ready = { tcp = 8080 } }
    s:wait_ready(20)
    assert.is_true(lab.h1:tcp("h2", 8080).connected)
    assert.is_true(lab.h2:service({ function() end, ready = { tcp = 8080 } }).state ~= "running") -- it has ended, though somebody listens
  end)

  it("is ready by a UDP port, a file, a line, or what a function says", function()
    lab.h2:service({ function(node)
      local fd = node:socket("inet6", "dgram")
      assert(core.packet.bind(fd, ("\0"):rep(16), 5353))
      ns.wait({}, 60)
    end, ready = { udp = 5353 } }):wait_ready(20)
    sh("> up; exec sleep 60", { ready = { file = dir .. "/up" } }):wait_ready(20)
    sh("echo starting; printf 'ready> '; exec sleep 60", { ready = { output = "^ready>" } }):wait_ready(20)
    local s = lab.h2:service { serve_tcp, ready = function(node)
      return node:tcp("127.0.0.1", 8080).connected
    end }
    assert.equal("running", s:wait_ready(20).state)
  end)

  it("says why it is not ready, with the end of its output", function()
    local s = sh("echo started; echo bad port >&2; exec sleep 60", { ready = { tcp = 8080, output = "bad" } })
    ns.eventually(function()
      return s:log():find "bad port"
    end, 20)
    local text = helper.fails("ETIMEDOUT", s.wait_ready, s, 0.01)
    assert.truthy(text:find("service.wait_ready in h2: ETIMEDOUT: sh: not ready within 0.01 s: nobody listens on TCP port 8080 "
      .. "(started\nbad port)", 1, true), text)
    local ended = sh "printf 'no licence\\033[2J\\a\\n'; exit 3" -- a terminal shall not obey it
    becomes(ended, "failed")
    local ok, e = pcall(ended.wait_ready, ended)
    assert.is_false(ok)
    assert.truthy(tostring(e):find("sh: failed: exit status 3 (no licence?[2J?)", 1, true), tostring(e))
  end)

  it("that does not become ready in its time has failed", function()
    local s = becomes(sh("exec sleep 60", { ready = { file = dir .. "/never", seconds = 0.02 } }), "failed")
    assert.equal(("not ready within 0.02 s: there is no file %s/never"):format(dir), s.reason)
    assert.is_nil(s.pid)
  end)

  it("is started again after a failure, to a limit", function()
    local s = becomes(sh("echo x >> runs; exit 7", { restart = "on_failure", max_restarts = 3, backoff = "1ms" }), "failed")
    assert.equal("x\nx\nx\nx\n", read "runs")
    assert.equal(3, s.restarts)
    assert.equal("exit status 7; given up after 3 restarts in a row", s.reason)
    s:restart()
    becomes(s, "failed")
    assert.equal(8 * 2, #read "runs")
  end)

  it("ends for good with status 0, but for restart = always", function()
    local s = becomes(sh("echo x >> runs", { restart = "on_failure" }), "exited")
    assert.equal("exit status 0", s.reason)
    assert.equal(0, s.restarts)
    becomes(sh("exit 1", { restart = "never" }), "failed")
    becomes(sh("echo y >> always", { restart = "always", max_restarts = 2, backoff = "1ms" }), "failed")
    assert.equal("y\ny\ny\n", read "always")
  end)

  it("is started again while the script is busy", function()
    local s = sh("echo x >> runs; kill -9 $$", { restart = "on_failure", backoff = "1ms", max_restarts = 2 })
    local stop = os.time() + 20
    repeat
      assert(os.time() < stop, "it was not started again")
    until read "runs" == "x\nx\nx\n" -- no call of nslua in between
    becomes(s, "failed")
    assert.truthy(s.reason:find "killed by SIGKILL")
  end)

  it("has another pid after a restart of either kind", function()
    local s = sh("echo up; exec sleep 60", { restart = "on_failure", backoff = "1ms", ready = { output = "up" } }):wait_ready(20)
    local first = s.pid
    assert.is_true(s:kill "KILL")
    ns.eventually(function()
      return s.restarts == 1 and s.state == "running"
    end, 20)
    local second = s.pid
    assert.is_true(first and second and first ~= second)
    s:restart():wait_ready(20)
    assert.is_true(s.pid ~= second)
    assert.equal(1, s.restarts) -- of those by itself
    assert.equal("up\nup\nup\n", s:log())
    assert.equal("up\n", s:log(1))
  end)

  it("gets TERM first, then KILL, and stays stopped", function()
    local s = sh("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done", { restart = "always", ready = { output = "up" } })
    s:wait_ready(20):stop()
    assert.equal("stopped", s.state)
    assert.matches("^up\n.*bye\n$", s:log()) -- the shell may say that its sleep was terminated
    local deaf = sh("trap '' TERM; echo up; while :; do sleep 0.01; done", { grace = "20ms", ready = { output = "up" } }):wait_ready(20)
    deaf:stop()
    assert.equal("killed by SIGKILL", deaf.reason)
    assert.is_false(deaf:kill "HUP")
  end)

  it("keeps the end of its output alone", function()
    local s = becomes(sh("i=0; while [ $i -lt 3000 ]; do echo \"line $i of a long text\"; i=$((i+1)); done", { log = "4kb" }), "exited")
    local log = s:log()
    assert.is_true(#log <= 4096 and #log > 1000, tostring(#log))
    assert.equal("line 2999 of a long text\n", s:log(1))
    s:close()
    assert.equal(log, s:log())
    assert.equal("stopped", s.state)
  end)

  it("says what its function raised, and where", function()
    local s = becomes(lab.h2:service { function()
      print "going"
      error "out of cheese"
    end }, "failed")
    assert.matches("^going\n[^\n]*lab_service_spec.lua:%d+: out of cheese\nstack traceback:\n", s:log())
    assert.is_nil(s:log():find("supervis", 1, true))
  end)

  it("that cannot be started is an error, and so is what it cannot be told", function()
    helper.fails("ENOENT", lab.h2.service, lab.h2, { "no-such-program" })
    local function says(text, plan)
      local ok, e = pcall(lab.h2.service, lab.h2, plan)
      assert.is_false(ok)
      assert.truthy(tostring(e):find(text, 1, true), tostring(e))
      assert.matches("lab_service_spec.lua:%d+: ", tostring(e))
    end
    says("unknown key 'restrat' (did you mean 'restart'?)", { "true", restrat = "always" })
    says("restart: unknown word 'on-failure' (did you mean 'on_failure'?)", { "true", restart = "on-failure" })
    says("stdout is not for services: its output is the log", { "true", stdout = "null" })
    says("unknown key 'tpc' (did you mean 'tcp'?)", { "true", ready = { tpc = 80 } })
    says("ready says nothing", { "true", ready = { seconds = 1 } })
    says("no program, and no function", {})
  end)

  it("holds no file of the script", function()
    local reader, writer = core.fd.pipe()
    local s = lab.h2:service { function()
      ns.wait({}, 60)
    end }
    writer:close()
    local text, _, errno = reader:read()
    assert.equal("", text, errno)
    reader:close()
    assert.equal("running", s.state)
  end)

  it("has failed, and ends, when somebody ends its supervisor", function()
    local s = sh("echo up; exec sleep 60", { ready = { output = "up" } }):wait_ready(20)
    local pid = s.pid
    s.process:kill "KILL"
    becomes(s, "failed")
    assert.equal("its supervisor has ended: killed by SIGKILL", s.reason)
    assert.is_nil(s.pid)
    is_gone(pid)
    local ok, e = pcall(s.restart, s)
    assert.is_false(ok)
    assert.matches("service.restart in h2: sh: its supervisor has ended", tostring(e))
  end)

  it("ends with its lab, by TERM", function()
    sh("trap 'echo bye > said; exit' TERM; echo up; while :; do sleep 0.01; done", { ready = { output = "up" } }):wait_ready(20)
    local s = sh("echo up; exec sleep 60", { ready = { output = "up" } }):wait_ready(20)
    local pid = s.pid
    lab:close()
    assert.equal("bye\n", read "said")
    assert.is_nil(io.open(("/proc/%d/comm"):format(pid)))
    assert.equal("stopped", s.state)
    assert.is_true(s:close())
  end)

  it("leaves nothing when the script is killed, even what it started in sessions of their own", function()
    local r = ns.run { NSLUA, "-", dir, input = [[
      local lab = ns.lab "h1 -- h2"
      lab.h2:service({ "sh", "-c", "setsid sleep 61 & echo up; exec sleep 62", restart = "always", ready = { output = "up" } }):wait_ready(20)
      local s = lab.h1:service({ function() print "up" ns.wait({}, 63) end, ready = { output = "up" } }):wait_ready(20)
      print(s.pid)
      io.stdout:flush()
      os.execute "kill -9 $PPID"
    ]] }
    assert.equal("KILL", r.signal, r.stderr)
    local pid = tonumber(r.stdout:match "^%d+")
    is_gone(pid)
  end)

  it("goes on in a lab that is kept, until that is destroyed", function()
    local name = "spec-service-" .. dir:match "[^/]+$"
    local kept <close> = ns.lab("h1 -- h2", { keep = name })
    local s = kept.h2:service({ serve_tcp, ready = { tcp = 8080 }, restart = "always" }):wait_ready(20)
    local pid = s.pid
    kept:close()
    local again <close> = ns.lab.open(name)
    assert.is_true(again.h1:tcp("h2", 8080).connected)
    again:close()
    ns.lab.destroy(name)
    is_gone(pid)
  end)
end)
