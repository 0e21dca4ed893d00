-- ns.run: results, streams of any size, the fd table, signals, timeouts, failures.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"

-- State of a process: "S", "Z", or nil where there is none.
local function state_of(pid)
  local f = io.open(("/proc/%d/stat"):format(pid))
  local text = f and f:read "*a"
  if f then
    f:close()
  end
  return text and text:match "%) (%u)"
end

local function alive(pid)
  local state = state_of(pid)
  return state ~= nil and state ~= "Z"
end

-- Whether fn() becomes true within 5 s: what was killed takes a moment to be gone.
local function eventually(fn)
  local deadline = ns.clock() + 5
  repeat
    if fn() then
      return true
    end
  until ns.clock() > deadline
  return false
end

local function fails(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

local function temp()
  local name = os.tmpname()
  finally(function() os.remove(name) end)
  return name
end

describe("ns.run", function()
  it("gives status, output and time", function()
    local r = ns.run { "sh", "-c", "echo out; echo err >&2; exit 3" }
    assert.same({ false, 3, nil, false, "out\n", "err\n" }, { r.ok, r.status, r.signal, r.timed_out, r.stdout, r.stderr })
    assert.is_true(r.elapsed > 0 and r.elapsed < 10)
    assert.is_true(ns.run({ "true" }).ok)
  end)

  it("has no status where a signal ended it", function()
    local r = ns.run { "sh", "-c", "kill -USR1 $$" }
    assert.is_nil(r.status)
    assert.equal("USR1", r.signal)
    assert.is_false(r.ok)
    assert.equal("killed by SIGUSR1", r:reason())
  end)

  it("raises on failure only if asked to, with the tail of stderr", function()
    local r = ns.run { "sh", "-c", "echo what is wrong >&2; exit 2" }
    local err = fails(r.check, r)
    assert.matches("run: sh: exit status 2 %(what is wrong%)", tostring(err))
    assert.equal(r, err.result)
    assert.matches("exit status 1", tostring(fails(ns.run, { "false", check = true })))
    assert.equal("result of false (exit status 1)", tostring(ns.run { "false" }))
    assert.matches("exit status 1 %(%?%[31mred%?%)$", tostring(fails(ns.run, { "sh", "-c", [[printf '\033[31mred\000' >&2; exit 1]], check = true })))
    assert.is_true(ns.run({ "true", check = true }).ok)
  end)

  it("takes numbers as arguments", function()
    assert.equal("1 2.5 1000000\n", ns.run({ "echo", 1, 2.5, 1e6 }).stdout)
  end)

  it("names the step of a failure: exec", function()
    local err = fails(ns.run, { "no-such-program-here" })
    assert.is_true(ns.error.is(err, "ENOENT"))
    assert.equal("exec", err.step)
    assert.matches("run_spec.lua:%d+: run: exec: ENOENT: No such file or directory %(no 'no%-such%-program%-here' on PATH ", tostring(err))
    assert.matches("/nowhere/x", tostring(fails(ns.run, { "/nowhere/x" })))
    assert.equal("EACCES", fails(ns.run, { "/etc/passwd" }).code)
  end)

  it("says so where a script's interpreter is missing", function()
    local script = temp()
    local f = assert(io.open(script, "w"))
    f:write "#!/no/such/interpreter\n"
    f:close()
    os.execute("chmod +x " .. script)
    assert.matches("interpreter", fails(ns.run, { script }).detail)
  end)

  it("runs a script without #! as execvp does", function()
    local script = temp()
    local f = assert(io.open(script, "w"))
    f:write "echo script $1\n"
    f:close()
    os.execute("chmod +x " .. script)
    assert.equal("script a\n", ns.run({ script, "a" }).stdout)
  end)

  it("finds programs by the PATH of the plan", function()
    assert.equal("ENOENT", fails(ns.run, { "ls", env = { PATH = "/nowhere" } }).code)
    assert.is_true(ns.run({ "ls", env = { PATH = "/nowhere:/bin" } }).ok)
    assert.is_true(ns.run({ "ls", clear_env = true }).ok)
  end)

  it("changes the environment, or clears it", function()
    assert.equal("1 unset\n", ns.run({ "sh", "-c", 'echo $A ${HOME-unset}', env = { A = 1, HOME = false } }).stdout)
    assert.equal("A=1\n", ns.run({ "env", clear_env = true, env = { A = 1 } }).stdout)
    assert.equal(os.getenv "HOME" .. "\n", ns.run({ "sh", "-c", "echo $HOME" }).stdout)
  end)

  it("starts in cwd", function()
    assert.equal("/etc\n", ns.run({ "pwd", cwd = "/etc" }).stdout)
    local err = fails(ns.run, { "pwd", cwd = "/no/such/dir" })
    assert.same({ "cwd", "ENOENT", "/no/such/dir" }, { err.step, err.code, err.detail })
  end)
end)

describe("streams of ns.run", function()
  it("are null, captured and captured by default", function()
    assert.equal("/dev/null\n", ns.run({ "readlink", "/proc/self/fd/0" }).stdout)
  end)

  it("carry 10 MB in and on both outputs at once", function()
    local text = (("x"):rep(1023) .. "\n"):rep(10 * 1024)
    local r = ns.run { "tee", "/dev/stderr", input = text }
    assert.is_true(r.ok)
    assert.is_true(r.stdout == text)
    assert.is_true(r.stderr == text)
  end)

  it("survive a program that reads no input", function()
    local r = ns.run { "true", input = ("x"):rep(1e6) }
    assert.is_true(r.ok)
    r = ns.run { "head", "-c", 3, input = ("abc"):rep(1e6) }
    assert.equal("abc", r.stdout)
  end)

  it("go on where a program closes them and runs", function()
    local r = ns.run { "sh", "-c", "exec >&- 2>&- <&-; sleep 0.05; exit 4", input = "x" }
    assert.equal(4, r.status)
  end)

  it("end when the program ends, not at the end of a grandchild's pipe", function()
    local r = ns.run { "sh", "-c", "sleep 20 & echo $!" }
    assert.is_true(r.ok and r.elapsed < 10)
    os.execute("kill -9 " .. r.stdout)
  end)

  it("are not kept busy by a grandchild that writes for ever", function()
    local r = ns.run { "sh", "-c", "yes & echo $! >&2; exit 0" }
    assert.is_true(r.ok and r.elapsed < 10)
    os.execute("kill -9 " .. r.stderr .. " 2>/dev/null")
  end)

  it("go to files, and are appended", function()
    local path = temp()
    ns.run { "echo", "one", stdout = { file = path } }
    ns.run { "echo", "two", stdout = { file = path, append = true } }
    assert.equal("one\ntwo\n", ns.run({ "cat", stdin = { file = path } }).stdout)
    ns.run { "echo", "three", stdout = { file = path } }
    assert.equal("three\n", ns.run({ "cat", stdin = { file = path } }).stdout)
    assert.equal("ENOENT", fails(ns.run, { "cat", stdin = { file = "/no/such/file" } }).code)
  end)

  it("go to a Lua file, after what Lua wrote", function()
    local path = temp()
    local f = assert(io.open(path, "w"))
    f:write "first\n"
    local r = ns.run { "echo", "second", stdout = f }
    assert.is_nil(r.stdout)
    f:close()
    assert.equal("first\nsecond\n", ns.run({ "cat", path }).stdout)
    assert.matches("closed file", fails(ns.run, { "true", stdout = f }))
  end)

  it("put stderr where stdout goes", function()
    local r = ns.run { "sh", "-c", "echo a; echo b >&2; echo c", stderr = "stdout" }
    assert.equal("a\nb\nc\n", r.stdout)
    assert.is_nil(r.stderr)
  end)

  it("read nothing from null and write nothing to it", function()
    local r = ns.run { "sh", "-c", "cat; echo x", stdin = "null", stdout = "null" }
    assert.is_true(r.ok)
    assert.is_nil(r.stdout)
  end)

  it("are inherited when asked for", function()
    local out = helper.sh(helper.lua .. [[ -e 'require("nslua").run{"cat", stdin = "inherit", stdout = "inherit"}' < /etc/hostname]])
    assert.equal(helper.sh "cat /etc/hostname", out)
  end)
end)

describe("the program's fds", function()
  -- Listing adds the directory's own fd; readlink does not.
  local probe = [[for f in /proc/$$/fd/*; do n=${f##*/}; [ -e $f ] && echo $n; done]]

  it("are 0, 1 and 2", function()
    local held = core.fd.open("/etc/passwd", "r")
    local loose = io.open "/etc/passwd" -- Lua opens without O_CLOEXEC
    assert.equal("0\n1\n2\n", ns.run({ "dash", "-c", probe }).stdout)
    held:close()
    loose:close()
  end)

  it("and those that the plan names", function()
    local a, b = core.fd.open("/etc/passwd", "r"), core.fd.open("/etc/hostname", "r")
    local r = ns.run { "sh", "-c", "readlink /proc/self/fd/9 /proc/self/fd/$0", a:number(), fds = { a, { b, as = 9 } } }
    assert.equal("/etc/hostname\n/etc/passwd\n", r.stdout)
    r = ns.run { "dash", "-c", probe, fds = { { b, as = 9 } } }
    assert.equal("0\n1\n2\n9\n", r.stdout)
    -- Each at the other's number.
    r = ns.run {
      "sh", "-c", ("readlink /proc/self/fd/%d /proc/self/fd/%d"):format(a:number(), b:number()),
      fds = { { a, as = b:number() }, { b, as = a:number() } },
    }
    assert.equal("/etc/hostname\n/etc/passwd\n", r.stdout)
    a:close()
    b:close()
  end)

  it("have something at 0 where the caller has it closed", function()
    local code = [[local r = require("nslua").run{"readlink", "/proc/self/fd/0", "/proc/self/fd/2", stdin = "inherit", stderr = "inherit"}
      io.write(r.stdout)]]
    assert.equal("/dev/null\n/dev/null", helper.sh(helper.lua .. " -e '" .. code .. "' <&- 2>&-"))
  end)

  it("of the caller are the same after 1,000 runs", function()
    ns.run { "true" }
    local before = helper.fd_count()
    for _ = 1, 1000 do
      ns.run { "/bin/true" }
    end
    for _ = 1, 20 do
      pcall(ns.run, { "/nowhere" })
      pcall(ns.run, { "true", cwd = "/nowhere" })
      pcall(ns.run, { "true", stdout = "pipe" })
      pcall(ns.run, { "true", input = "x", unshare = "nonsense" })
    end
    assert.same(before, helper.fd_count())
  end)

  it("may be few: RLIMIT_NOFILE of 20", function()
    local code = [[local ns = require "nslua"
      for i = 1, 30 do assert(ns.run{"cat", input = "x"}.stdout == "x") end
      local held = {}
      pcall(function() for i = 1, 20 do held[i] = io.open "/dev/null" or error() end end)
      local ok, err = pcall(ns.run, {"true"})
      print(ok, err.code)
      print(err)
      held[1]:close() held[2]:close() held = nil collectgarbage()
      print(ns.run{"true"}.ok)]]
    local out = helper.sh("ulimit -n 20; " .. helper.lua .. " -e '" .. code .. "'")
    assert.matches("^false\tEMFILE\n", out)
    assert.matches("\ntrue$", out)
  end)
end)

describe("signals", function()
  it("are as the caller has them, but for SIGCHLD and SIGPIPE", function()
    local masks = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    local code = ([[local r = require("nslua").run{"sh", "-c", "%s"} io.write(r.stdout)]]):format(masks)
    local direct = helper.sh("trap '' HUP; " .. masks)
    assert.equal(direct, helper.sh("trap '' HUP; " .. helper.lua .. ' -e \'' .. code:gsub("'", "'\\''") .. "'"))
    assert.equal(helper.sh(masks), helper.sh("trap '' PIPE CHLD; " .. helper.lua .. ' -e \'' .. code:gsub("'", "'\\''") .. "'"))
  end)

  it("ignored by the caller's host: SIGCHLD does not hide the status", function()
    local code = [[local r = require("nslua").run{"sh", "-c", "exit 5"} print(r.status)]]
    local out = helper.sh("perl -e '$SIG{CHLD}=\"IGNORE\"; exec @ARGV' env " .. helper.lua .. " -e '" .. code .. "'")
    assert.is_true(out == "5" or out == "nil") -- 5 where the kernel tells of reaped processes (6.15)
  end)
end)

describe("timeout", function()
  it("ends the whole tree and is a value", function()
    local r = ns.run { "sh", "-c", "sleep 50 & echo $!; sleep 50; echo", timeout = 0.2 }
    assert.same({ false, true, nil, "KILL" }, { r.ok, r.timed_out, r.status, r.signal })
    assert.is_true(r.elapsed >= 0.2 and r.elapsed < 10)
    local grandchild = tonumber(r.stdout)
    assert.is_true(eventually(function() return not alive(grandchild) end))
    assert.matches("timed out", r:reason())
  end)

  it("takes text, and does nothing to what ends in time", function()
    assert.is_true(ns.run({ "true", timeout = "20s" }).ok)
    assert.is_true(ns.run({ "sleep", 20, timeout = "50ms" }).timed_out)
    assert.is_true(ns.run({ "true", timeout = "20s" }).ok)
  end)

  it("is one for a program that fills its pipe", function()
    local r = ns.run { "yes", timeout = 0.1 }
    assert.is_true(r.timed_out)
    assert.is_true(#r.stdout > 0)
  end)
end)

describe("a script that is told to stop", function()
  it("ends what it runs, grandchildren too", function()
    local host = io.open "build/bin/nslua"
    if not host then
      pending "no build/bin/nslua"
    end
    host:close()
    for signal, status in pairs { INT = 130, TERM = 143, HUP = 129 } do
      local code = [[pcall(ns.run, {"sh", "-c", "sleep 100 & echo $! >&2; wait", stderr = "inherit"}) print "not here"]]
      local p = ns.spawn { "build/bin/nslua", "-e", code, stdout = "pipe", stderr = "stdout" }
      local grandchild = tonumber(p.stdout:read())
      p:kill(signal)
      local r = p:wait(10)
      assert.equal(status, r.status or 128 + core.process.signals[r.signal])
      assert.equal("", (p.stdout:read("a", 5)))
      assert.is_true(eventually(function() return not alive(grandchild) end))
      p:close()
    end
  end)
end)

describe("parent death", function()
  it("ends what the script had started, also on kill -9", function()
    local code = [[local ns = require "nslua"
      local p = ns.spawn{"sleep", "100"}
      local q = ns.spawn{"sleep", "100", unshare = "user,pid", map_users = "root"}
      print(p.pid) print(q.pid) io.stdout:flush()
      ns.run{"sh", "-c", "echo $$ >&2; exec sleep 100", stderr = "inherit"}]]
    local p = ns.spawn { "env", "sh", "-c", helper.lua .. " -e '" .. code .. "' & echo $!; wait", stdout = "pipe", stderr = "stdout" }
    local script = tonumber(p.stdout:read())
    local children = {}
    for i = 1, 3 do
      children[i] = tonumber(p.stdout:read())
      assert.is_true(alive(children[i]))
    end
    assert.is_true(script and alive(script))
    os.execute("kill -9 " .. script)
    assert.is_true(eventually(function()
      return not (alive(children[1]) or alive(children[2]) or alive(children[3]))
    end))
    p:close()
  end)
end)
