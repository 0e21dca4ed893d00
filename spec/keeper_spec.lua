-- The keeper: what it is, that everything in it ends with the script, and what happens when it dies first.

local core = require "nslua.core"
local errors = require "nslua.error"
local helper = require "spec.helper"
local keeper = require "nslua.keeper"
local ns = require "nslua"
local unprivileged = require "spec.unprivileged"

local function read(path)
  local f = io.open(path)
  local text = f and f:read "*a"
  if f then
    f:close()
  end
  return text
end

-- Whether a process runs; a zombie does not.
local function runs(pid)
  local state = (read(("/proc/%d/stat"):format(pid)) or ""):match "%) (%a)"
  return state ~= nil and state ~= "Z" and state ~= "X"
end

-- Wait for something that the kernel is about to do.
local function eventually(fn)
  local stop = ns.clock() + 10
  while not fn() do
    if ns.clock() > stop then
      return false
    end
    ns.wait({}, 0.002)
  end
  return true
end

-- Keepers that are children of this process, also those that nobody has waited for.
local function keepers()
  local n = 0
  for pid in (read(("/proc/self/task/%d/children"):format(read("/proc/self/stat"):match "^%d+")) or ""):gmatch "%d+" do
    if read("/proc/" .. pid .. "/comm") == "nslua-keeper\n" then
      n = n + 1
    end
  end
  return n
end

describe("keeper", function()
  local ok, first = pcall(keeper.get)
  if not ok then
    pending("no keeper here: " .. tostring(first))
    return
  end
  first:close()

  it("is pid 1 of its own pid and mount namespace, with nothing of ours", function()
    local k = keeper.get()
    local pid = k.process:pid()
    local status = read(("/proc/%d/status"):format(pid))
    assert.equal("nslua-keeper", status:match "Name:%s*(%S+)")
    assert.equal("1", status:match "NSpid:[%d%s]-(%d+)\n")
    if helper.is_root() then
      local fds = helper.sh(("ls -l /proc/%d/fd | sed -n 's/.* -> //p' | sed 's/:.*//' | sort"):format(pid))
      assert.equal("anon_inode\nsocket", fds)
      assert.equal(("pid:[%d]"):format(k.pid.inode), helper.sh(("readlink /proc/%d/ns/pid"):format(pid)))
      assert.equal(("mnt:[%d]"):format(k.mount.inode), helper.sh(("readlink /proc/%d/ns/mnt"):format(pid)))
      assert.equal("/", helper.sh(("readlink /proc/%d/cwd"):format(pid)))
    end
    assert.not_equal(ns.namespace.current "pid", k.pid)
    assert.not_equal(ns.namespace.current "mount", k.mount)
    k:close()
  end)

  it("is one, and another after it was closed or died", function()
    local k = keeper.get()
    assert.equal(k, keeper.get())
    assert.is_true(k:alive())
    local pid = k.process:pid()
    assert.is_true(k:close())
    assert.is_true(k:close())
    assert.is_false(k:alive())
    assert.is_false(runs(pid))
    local second = keeper.get()
    assert.is_true(second:alive())
    helper.sh("kill -9 " .. second.process:pid())
    assert.is_true(eventually(function()
      return not second:alive()
    end))
    local third = keeper.get()
    assert.is_true(third:alive())
    assert.not_equal(second, third)
    third:close()
  end)

  it("holds programs that see its /proc and end with it", function()
    local k = keeper.get()
    assert.matches("^1 %(nslua%-keeper%)", ns.run({ "cat", "/proc/1/stat", join = k.join }).stdout)
    local p = ns.spawn { "sleep", "1000", join = k.join }
    assert.is_true(runs(p.pid))
    -- Its own child is ours no longer once it is orphaned: the keeper reaps it.
    ns.run { "sh", "-c", "(sleep 0 &) ; true", join = k.join }
    k:close()
    local r = p:wait(10)
    assert.equal("KILL", r.signal)
    -- It could not end before its program was waited for; now it can, and is not left as a zombie either.
    assert.is_true(eventually(function()
      keeper.get():close()
      return keepers() == 0
    end))
  end)

  it("leaves a dead one's namespace with a clear error", function()
    local k = keeper.get()
    local join = k.join
    helper.sh("kill -9 " .. k.process:pid())
    assert.is_true(eventually(function()
      return not k:alive()
    end))
    local failed, e = pcall(ns.run, { "true", join = join })
    assert.is_false(failed)
    assert.is_true(errors.is(e, "ENOMEM"), tostring(e))
    k:close()
  end)

  it("is not a forked child's to use or to end", function()
    local k = keeper.get()
    local f = ns.fork({}, function()
      local mine = require "nslua.keeper"
      local before = k:alive()
      local own = mine.get()
      local pid, alive = own.process:pid(), own:alive()
      k:close()
      return before, pid, alive
    end)
    local before, pid, alive = f:result(10)
    assert.is_false(before)
    assert.is_true(alive)
    assert.not_equal(k.process:pid(), pid)
    assert.is_true(k:alive())
    assert.is_true(eventually(function()
      return not runs(pid)
    end))
    k:close()
  end)

  it("leaks nothing over many rounds of start and close", function()
    keeper.get():close()
    local before = helper.fd_count()
    for _ = 1, helper.rounds(500) do
      keeper.get():close()
    end
    assert.equal(before, helper.fd_count())
    assert.equal(0, keepers())
  end)

  it("names the limit that was reached", function()
    if not helper.is_root() or not helper.has "unshare" then
      pending "not root"
      return
    end
    local out = helper.sh("unshare -Ur sh -c " .. unprivileged.quote(
      "echo 0 > /proc/sys/user/max_pid_namespaces; exec env " .. helper.lua .. [[ -e 'print(pcall(require("nslua.keeper").get))']]))
    assert.matches("keeper: ENOSPC: .*unshare pid.*user.max_pid_namespaces = 0", out)
    out = helper.sh("unshare -Ur sh -c " .. unprivileged.quote(
      "echo 0 > /proc/sys/user/max_mnt_namespaces; exec env " .. helper.lua .. [[ -e 'print(pcall(require("nslua.keeper").get))']]))
    assert.matches("keeper: ENOSPC: .*unshare mount.*user.max_mnt_namespaces = 0", out)
  end)

  it("names RLIMIT_NPROC", function()
    local can, why = unprivileged.can()
    if not can then
      pending(why)
      return
    end
    -- A uid of its own: the limit counts all processes of the user.
    local out = unprivileged.sh("exec prlimit --nproc=1 env " .. helper.lua .. " -e " .. unprivileged.quote
      "print(pcall(require('nslua.keeper').get)) print(pcall(require('nslua').userns.new, { map_users = 'root' }))", { uid = 23457 })
    assert.matches("EAGAIN: .*RLIMIT_NPROC", out)
    assert.is_nil(out:match "true")
  end)
end)

describe("kill -9 of the script", function()
  if not helper.is_root() or not helper.has "unshare" then
    pending "not root"
    return
  end

  -- A fresh user namespace that may hold few namespaces: one that stayed behind would be counted there by the kernel.
  local LIMIT = 60
  local script = [[
    local ns, keeper = require "nslua", require "nslua.keeper"
    local function round()
      local u <close> = ns.userns.new { map_users = "root" }
      local a <close> = ns.netns.new { userns = u, lo = true }
      local k <close> = keeper.get()
      local p = ns.spawn { "sh", "-c", "sleep 1000 & (sleep 1000 &); sleep 1000", join = k.join }
      local q = ns.spawn { "sleep", "1000", join = k.join, unshare = "mount" }
      k:close()
      p:wait(5) q:wait(5)
      keeper.get()
    end
    while true do
      local ok, e = pcall(round)
      -- What the round before gave back is freed a moment later.
      if not ok and not ns.error.is(e, "ENOSPC") then io.stderr:write(tostring(e), "\n") os.exit(1) end
    end
  ]]
  local count = [[
    local ns, core, keeper = require "nslua", require "nslua.core", require "nslua.keeper"
    -- A dead keeper keeps its pid namespace until whoever inherited it reaps it; where that is a lazy pid 1, it takes seconds.
    local stop, last = ns.clock() + 120
    repeat
      local ok, e = pcall(function()
        local home = keeper.home()
        local held, n = {}, %d
        for i = 1, n do
          held[#held + 1] = ns.userns.new { map_users = "root" }
          held[#held + 1] = ns.netns.new { userns = held[1] }
          held[#held + 1] = assert(core.keeper.start(home and home.fd))
        end
        for _, h in ipairs(held) do h:close() end
      end)
      if ok then print "all free" os.exit(0) end
      collectgarbage() collectgarbage()
      ns.wait({}, 0.05)
      last = e
    until ns.clock() > stop
    print(last)
  ]]

  -- Everything that runs here carries this word in its environment.
  local function survivors(token)
    local out = {}
    for pid in helper.sh("grep -l -s -a -F NSLUA_SPEC=" .. token .. " /proc/[0-9]*/environ"):gmatch "/proc/(%d+)/" do
      if runs(tonumber(pid)) then
        out[#out + 1] = pid .. " " .. (read("/proc/" .. pid .. "/comm") or ""):gsub("\n", "")
      end
    end
    return out
  end

  -- It is the kernel and the keeper, which is C, that this is about: where the specs run again they are the same.
  if helper.runs_again() then
    return
  end

  local function storm(who, times, enter, drop)
    it(("leaves no process, mount or namespace: %d times %s"):format(times, who), function()
      local token = ("%d-%d"):format(os.time(), math.random(1, 1000000000))
      local file = os.tmpname()
      local f = assert(io.open(file, "w"))
      f:write(script)
      f:close()
      helper.sh("chmod 644 " .. file)
      local loop = {}
      for i = 1, times do
        loop[i] = ("%s env %s %s >/dev/null & pid=$!; sleep %.4f; kill -9 $pid; wait $pid 2>/dev/null")
          :format(drop, helper.lua, file, 0.004 + math.random() * 0.030)
      end
      -- In a mount namespace of its own, where nobody else mounts.
      local inside = table.concat({
        "before=$(wc -l < /proc/self/mountinfo)",
        ("for t in net user pid mnt; do echo %d > /proc/sys/user/max_${t}_namespaces; done"):format(LIMIT),
        table.concat(loop, "\n"),
        "[ $(wc -l < /proc/self/mountinfo) = $before ] || echo mounts were left",
        ("%s env %s -e %s"):format(drop, helper.lua, unprivileged.quote(count:format(LIMIT - 2))),
      }, "\n")
      local runner = os.tmpname()
      f = assert(io.open(runner, "w"))
      f:write(inside)
      f:close()
      helper.sh("chmod 644 " .. runner)
      local out = helper.sh(("NSLUA_SPEC=%s timeout 200 %s sh %s"):format(token, enter, runner))
      os.remove(file)
      os.remove(runner)
      local left
      assert.is_true(eventually(function()
        left = survivors(token)
        return #left == 0
      end), table.concat(left, ", "))
      assert.equal("all free", out)
    end)
  end

  storm("as root", 100, "unshare -Urm", "")
  -- Root of nothing: the same uid without a capability has to make its user namespaces like anybody.
  storm("without capabilities", 50,
    "setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Ucm --keep-caps", "setpriv --inh-caps -all --ambient-caps -all")
end)

describe("errand", function()
  local USER, NET, UTS = core.namespace.flags.user, core.namespace.flags.net, core.namespace.flags.uts

  it("makes and opens in bulk, in order", function()
    local u = ns.userns.new { map_users = "root" }
    local fds = keeper.netns(u.fd, 5)
    assert.equal(5, #fds)
    local seen = {}
    for _, fd in ipairs(fds) do
      local _, inode = fd:stat()
      assert.is_nil(seen[inode])
      seen[inode] = true
    end
    local list = {}
    for i, fd in ipairs(fds) do
      list[i] = { fd, 2, 2, 0 }
    end
    local sockets = keeper.sockets(u.fd, list)
    for i, s in ipairs(sockets) do
      assert.is_true(core.namespace.lo_up(s))
      local text = keeper.file(u.fd, fds[i], "/proc/net/dev"):read()
      assert.matches("lo:", text)
      assert.is_nil(text:match "eth0")
    end
    assert.is_true(keeper.file(u.fd, fds[2], "/proc/sys/net/ipv4/ip_forward", "1\n"))
    assert.equal("1\n", keeper.file(u.fd, fds[2], "/proc/sys/net/ipv4/ip_forward"):read())
    assert.equal("0\n", keeper.file(u.fd, fds[3], "/proc/sys/net/ipv4/conf/all/proxy_arp"):read())
    u:close()
  end)

  it("closes what it had opened where a later step fails, and names the step", function()
    local u = ns.userns.new { map_users = "root" }
    local before = helper.fd_count()
    local fds, message, errno, at = core.errand.run { { "join", u.fd, USER }, { "new", NET }, { "socket", 2, 2, 0 }, { "open", "/nonexistent" } }
    assert.is_nil(fds)
    assert.equal("/nonexistent: No such file or directory", message)
    assert.equal(core.errno.ENOENT, errno)
    assert.equal(4, at)
    assert.equal(before, helper.fd_count())
    u:close()
  end)

  it("refuses what is no step", function()
    for _, steps in ipairs { { 1 }, { {} }, { { "jump" } }, { { "join", 0 } }, { { "new", 0x20000000 } }, { { "open" } }, { { "socket", 1 } } } do
      assert.is_false((pcall(core.errand.run, steps)))
    end
    assert.same({}, core.errand.run {})
  end)

  it("goes with memory of its own where told so", function()
    local u = ns.userns.new { map_users = "root" }
    local fds = core.errand.run({ { "join", u.fd, USER }, { "new", NET }, { "open", "/proc/self/uid_map" } }, true)
    assert.equal(2, #fds)
    assert.equal("net", core.namespace.type(fds[1]) and "net")
    local fds2, message = core.errand.run({ { "join", u.fd, USER }, { "new", NET }, { "open", "/nonexistent" } }, true)
    assert.is_nil(fds2)
    assert.matches("^/nonexistent", message)
    u:close()
  end)

  it("is shared by two children where told so, each with the first steps and half of the others", function()
    local u = ns.userns.new { map_users = "root" }
    for _, private in ipairs { false, true } do
      for n = 0, 5 do
        local steps = { { "join", u.fd, USER } }
        for i = 1, n do
          steps[i + 1] = { "new", UTS }
        end
        local before = helper.fd_count()
        local fds, seen = core.errand.run(steps, private, 1), {}
        assert.equal(n, #fds)
        for _, fd in ipairs(fds) do
          local _, inode = fd:stat()
          assert.is_nil(seen[inode])
          seen[inode] = true
        end
        assert.equal(before + n, helper.fd_count())
        for at = 2, n + 1 do -- in the one half or the other
          local good = steps[at]
          steps[at] = { "open", "/nonexistent" }
          local none, message, errno, where = core.errand.run(steps, private, 1)
          assert.same({ "/nonexistent: No such file or directory", core.errno.ENOENT, at }, { message, errno, where })
          assert.is_nil(none)
          steps[at] = good
        end
        for _, fd in ipairs(fds) do
          fd:close()
        end
        assert.equal(before, helper.fd_count())
      end
    end
    -- in order, and without a step that both do
    local names = {}
    for i = 1, 7 do
      names[i] = { "open", "/proc/sys/kernel/" .. ({ "ostype", "osrelease", "version", "hostname", "domainname", "pid_max", "threads-max" })[i] }
    end
    for i, fd in ipairs(core.errand.run(names, false, 0)) do
      assert.equal(assert(io.open(names[i][2])):read "*a", fd:read())
    end
    assert.is_false((pcall(core.errand.run, names, false, 8)))
    assert.is_false((pcall(core.errand.run, names, false, -1)))
    u:close()
  end)

  it("fails at RLIMIT_NOFILE with nothing left", function()
    local out = helper.sh("ulimit -n 20; exec env " .. helper.lua .. " -e " .. unprivileged.quote [[
      local ns, keeper = require "nslua", require "nslua.keeper"
      local u = ns.userns.new { map_users = "root" }
      local count = require "spec.helper".fd_count
      local before = count()
      print(pcall(keeper.netns, u.fd, 30))
      print(count() - before)
      local held = {}
      repeat local ok, e = pcall(function() held[#held + 1] = ns.userns.new { map_users = "root" } end) until not ok
      local ok, k = pcall(keeper.get)
      print(k)
    ]])
    assert.matches("EMFILE", out)
    assert.matches("\n0\n", out)
    assert.matches("\n[^\n]*EMFILE[^\n]*$", out)
  end)

  it("leaks no fd over many rounds", function()
    local u = ns.userns.new { map_users = "root" }
    local a = keeper.netns(u.fd, 1)[1]
    local before = helper.fd_count()
    for _ = 1, helper.rounds(2000) do
      keeper.socket(u.fd, a, 2, 2, 0):close()
      assert.is_false((pcall(keeper.file, u.fd, a, "/nonexistent")))
    end
    assert.equal(before, helper.fd_count())
    for _ = 1, helper.rounds(2000) do
      ns.userns.new({ map_users = "root" }):close()
    end
    assert.equal(before, helper.fd_count())
    a:close()
    u:close()
  end)
end)
