-- nslua nsenter: options that are newer than the nsenter(1) of the machine, by what they do; what it does where nsenter(1) fails; how it ends.

local helper = require "spec.helper"
local n = require "spec.nsenter_helper"
local ns = require "nslua"
local core = require "nslua.core"

local same, ours = n.same, n.ours
local WITH = n.root and "" or "-U "

local function wrong(options, message, program)
  local out, _, status = ours(options, program)
  assert.equal(1, status, options .. ": " .. out)
  assert.truthy(out:find(message, 1, true), options .. ": " .. out)
  assert.truthy(out:find "^nslua nsenter: " and not out:find("\n%s"), out)
end

describe("a target", function()
  after_each(helper.close_held)

  it("PID:INODE is that process and no other", function()
    local pid = n.target "-n"
    local pidfd = helper.held(core.namespace.pidfd(pid))
    local _, inode = pidfd:stat()
    if pidfd:fstype() ~= 0x50494446 then
      pending "pidfds have no inodes here (Linux 6.9)"
      return
    end
    assert.equal(n.namespaces(pid).net, (ours(("-t %d:%d %s-n"):format(pid, inode, WITH), "readlink /proc/self/ns/net")))
    wrong(("-t %d:%d -n"):format(pid, inode + 1), "is another")
  end)

  it("that is none is said, and nothing runs", function()
    for word, message in pairs { ["0"] = "failed to parse pid: '0'", ["-7"] = "failed to parse pid: '-7'", ["7:"] = "failed to parse pid: '7:'",
      [":7"] = "failed to parse pid: ':7'", ["99999999999"] = "failed to parse pid", ["4194305"] = "no process has the pid 4194305",
      ["no-such-box"] = "no such container", ["docker:no-such-box"] = "no such docker container", ["lxq:box"] = "unknown container engine 'lxq'" } do
      wrong(("-t %s -n"):format(word), message, "echo ran")
    end
    local p = ns.spawn { "true" }
    p:wait()
    wrong(("-t %d -n"):format(p.pid), "no process has the pid " .. p.pid)
    p:close()
    wrong("-t 1 -t 2 -n", "--target may be given only once")
  end)

  it("may be named by whoever resolves a prefix", function()
    local pid = n.target "-n"
    local init = ("require 'nslua'.namespace.resolvers.box = function(name) return %d + tonumber(name) end"):format(pid)
    local out = helper.sh(("LUA_INIT=%s %s -t box:0 %s-n readlink /proc/self/ns/net"):format(n.quote(init), n.OURS, WITH))
    assert.equal(n.namespaces(pid).net, out)
  end)
end)

describe("usage", function()
  after_each(helper.close_held)

  it("that cannot be is an error, of the same status as of nsenter(1)", function()
    local pid = n.target "-n"
    wrong("", "no namespace specified")
    wrong("-n", "no target PID specified")
    wrong("-a", "no target PID specified")
    wrong("-r -m=/proc/self/ns/mnt", "no target PID specified")
    wrong(("-t %d -m -w -W/"):format(pid), "mutually exclusive")
    wrong(("-t %d %s-n -S nobody"):format(pid, WITH), "failed to parse uid: 'nobody'")
    wrong(("-t %d %s-n -G -1"):format(pid, WITH), "failed to parse gid: '-1'")
    wrong(("-t %d %s-n --proc"):format(pid, WITH), "--proc is for a pid namespace")
    wrong("-n/no/such", "/no/such")
    wrong("-n/etc/passwd", "is not a namespace")
    wrong("-n/proc/self/ns/uts", "uts")
    wrong("-w/no/such -u/proc/self/ns/uts", "cannot open /no/such: No such file or directory")
    for _, options in ipairs { "--no-such-option", "-9", "--no-fork=1", "-t" } do
      local want, _, want_status = helper.sh("/usr/bin/nsenter " .. options)
      local got, _, status = helper.sh(n.OURS .. " " .. options)
      assert.equal(want_status, status)
      assert.equal((want:gsub("nsenter", "nslua nsenter"):gsub("/usr/bin/", "")), got)
    end
  end)

  it("of a program that is none: 127 where it is not there, 126 where it cannot be executed", function()
    local pid = n.target "-n -p -f"
    for _, options in ipairs { "-n", "-p" } do
      local with = n.root and "" or "-U --preserve-credentials "
      local _, status = same(("PATH=/usr/bin:/bin nsenter -t %d %s%s no-such-program 2>/dev/null"):format(pid, with, options))
      assert.equal(127, status)
      assert.equal(126, (select(3, ours(("-t %d %s%s"):format(pid, WITH, options), "/etc/passwd"))))
      local out = ours(("-t %d %s%s"):format(pid, WITH, options), "no-such-program")
      assert.matches("^nslua nsenter: failed to execute no%-such%-program: No such file or directory", out)
    end
  end)

  it("without the right says what is missing", function()
    local bare = n.root and "setpriv --bounding-set=-all --inh-caps=-all " or ""
    local pid = n.target("-n", bare .. "sleep 600")
    local out, _, status = helper.sh(("%s%s -t %d -n true"):format(bare, n.OURS, pid))
    assert.equal(1, status)
    assert.matches("Operation not permitted", out)
    assert.matches("CAP_SYS_ADMIN", out)
  end)
end)

describe("an option that is newer", function()
  after_each(helper.close_held)

  it("--net=:ID: a namespace by its 64-bit id", function()
    local handle = helper.held(helper.netns())
    if not handle.id then
      pending "namespaces have no ids here (Linux 6.18)"
      return
    end
    local holder = helper.held(handle:spawn { "sleep", "600" }) -- without root it is found by a process in it
    local by = n.root and "" or ("-U/proc/%d/ns/user "):format(holder.pid)
    for _, option in ipairs { "--net=:%d", "-n:%d", "-n=:%d" } do
      assert.equal(("net:[%d]"):format(handle.inode), (ours(by .. option:format(handle.id), "readlink /proc/self/ns/net")))
    end
    wrong(("--uts=:%d"):format(handle.id), "no uts namespace with this id")
    wrong("--net=:99999999999", "no net namespace with this id")
    wrong("--net=:x", "failed to parse nsid: 'x'")
  end)

  it("-N: the network namespace of a socket, that no process is in", function()
    local p = helper.held(ns.spawn { n.HOST, "-e", [[
      local h = require "spec.helper"
      local a = h.netns { lo = true }
      local s = a:socket("inet", "dgram")
      print(s:number(), a.inode)
      io.stdout:flush()
      a:close()
      io.read(1)]], stdin = "pipe", stdout = "pipe" })
    local fd, inode = p.stdout:read "l":match "(%d+)%s+(%d+)"
    for _, option in ipairs { "-N " .. fd, "-N" .. fd, "--net-socket=" .. fd } do
      assert.equal(("net:[%s]"):format(inode), (ours(("-t %d %s"):format(p.pid, option), "readlink /proc/self/ns/net")))
    end
    wrong(("-t %d -N 0"):format(p.pid), "is no socket")
    wrong(("-t %d -N 999"):format(p.pid), "Bad file descriptor")
    wrong(("-t %d -N x"):format(p.pid), "failed to parse file descriptor: 'x'")
  end)

  it("--user-parent: the user namespace above, that no process is in", function()
    -- as bwrap --dev leaves it: mounts made in one user namespace, the program in one below it
    local pid = n.target("-Ur -m", "unshare -U --map-user=1000 sleep 600")
    local inner = helper.held(ns.userns.open(pid))
    local outer = inner.owner
    local want = ("user:[%d]"):format(outer.inode)
    local function enters(options)
      return (ours(("-t %d %s"):format(pid, options), "sh -c 'readlink /proc/self/ns/user /proc/self/ns/mnt; id -u'"))
    end
    local mnt = n.namespaces(pid).mnt
    assert.equal(("%s\n%s\n0"):format(want, mnt), enters "--user-parent -m")
    assert.equal(("%s\n%s\n0"):format(want, mnt), enters "--user-parent -m -U")
    assert.truthy(enters "--user-parent":find(want, 1, true))
    assert.not_equal(want, n.namespaces(pid).user)
    helper.held({ close = function() outer:close() end })
  end)

  it("--keep-caps: any uid keeps what the user namespace gives", function()
    local p = helper.held(ns.spawn { "sleep", "600", unshare = "user", map_users = "current" })
    local show = "grep -E 'Cap(Eff|Amb)' /proc/self/status"
    local kept = ours(("-t %d -U --preserve-credentials --keep-caps"):format(p.pid), show)
    local bare = ours(("-t %d -U --preserve-credentials"):format(p.pid), show)
    assert.not_matches("CapAmb:%s*0+$", kept)
    assert.equal(kept:match "CapEff:%s*(%x+)", kept:match "CapAmb:%s*(%x+)")
    assert.matches("CapAmb:%s*0+$", bare)
    -- without a user namespace there is nothing to keep
    assert.matches("CapAmb:%s*0+$", (ours("-u/proc/self/ns/uts --keep-caps", show)))
  end)

  it("-S follow, -G follow: the ids of the target, as the namespace calls them", function()
    if not n.root then
      local pid = n.target "-u"
      assert.equal("0 0", (ours(("-t %d -U -S follow -G follow"):format(pid), "sh -c 'echo $(id -u) $(id -g)'")))
      return
    end
    local p = helper.held(ns.spawn { "sleep", "600", unshare = "user", map_users = { { 0, 1000, 100 } }, map_groups = { { 0, 2000, 100 } },
      uid = 7, gid = 8 })
    local show = "sh -c 'echo $(id -u) $(id -g) $(id -G)'"
    assert.equal("7 8 8", (ours(("-t %d -U -S follow -G follow"):format(p.pid), show)))
    assert.equal("7 0 0", (ours(("-t %d -U -S follow"):format(p.pid), show)))
    assert.equal("1007 2008 2008", (ours(("-t %d -S follow -G follow"):format(p.pid), show)))
  end)

  it("-e: the environment of the target, and its PATH and SHELL", function()
    local dir = helper.sh "mktemp -d"
    helper.sh(([[printf '#!/bin/sh\necho found "$A"\n' > %s/tool; chmod +x %s/tool]]):format(dir, dir))
    finally(function()
      helper.sh("rm -r " .. dir)
    end)
    local p = helper.held(ns.spawn { "/bin/sleep", "600", clear_env = true,
      env = { A = "one two\nthree", PATH = dir .. ":/bin:/usr/bin", SHELL = "/bin/sh", EMPTY = "" } })
    local uts = ("-t %d -u/proc/self/ns/uts -e"):format(p.pid)
    local out = ours(uts, [[sh -c 'env -0 | tr "\0" ";"']])
    for _, want in ipairs { "A=one two\nthree;", "PATH=" .. dir, "EMPTY=;" } do
      assert.truthy(out:find(want, 1, true), out)
    end
    assert.is_nil(out:find "HOME=")
    assert.equal("found one two\nthree", (ours(uts .. " --", "tool")))
    assert.equal("-sh", (helper.sh(("echo 'echo $0' | SHELL=/bin/bash %s %s"):format(n.OURS, uts))))
  end)

  it("--proc: a /proc of the pid namespace, that nobody else sees", function()
    local pid = n.target "-p -f"
    local function mounts(of) -- of proc: other mounts come and go
      return (n.read(("/proc/%s/mountinfo"):format(of)):gsub("[^\n]+", function(line) return line:find "/proc" and line or "" end):gsub("\n+", "\n"))
    end
    local own, theirs = mounts "self", mounts(pid)
    for _, options in ipairs { "-p", "-a" } do
      local out = ours(("-t %d %s%s --proc"):format(pid, WITH, options), "sh -c 'cat /proc/1/comm /proc/$$/comm'")
      assert.equal("sleep\nsh", out)
    end
    assert.equal(own, mounts "self")
    assert.equal(theirs, mounts(pid))
    wrong(("-t %d %s-p -r --proc"):format(pid, WITH), "--mount or --all")
  end)

  it("--proc: with the target's root and directory", function()
    local dir = helper.sh "mktemp -d"
    helper.sh(("mkdir %s/bin %s/proc %s/sub && cp /bin/busybox %s/bin/ && ln -s busybox %s/bin/sleep"):format(dir, dir, dir, dir, dir))
    finally(function()
      helper.sh("rm -r " .. dir)
    end)
    local pid = n.target(("-m -p -f -R %s -w /sub"):format(dir), "/bin/sleep 600")
    local out = ours(("-t %d %s-a -r -w --proc"):format(pid, WITH), "/bin/busybox sh -c 'pwd; echo /*; busybox cat /proc/1/comm'")
    assert.equal("/sub\n/bin /proc /sub\nsleep", out)
    assert.equal(dir .. "/sub", (ours(("-t %d %s-a -w --proc"):format(pid, WITH), "pwd -P")))
  end)

  it("-c: the cgroups of the target; stdin stays what it was, and no fd of ours stays open", function()
    if not n.root then
      pending "not root: cgroups of other processes"
      return
    end
    local name = ("nslua-%s"):format(core.file.readlink "/proc/self")
    local views = { [""] = "as it is", ["umount -l /sys/fs/cgroup/unified 2>/dev/null"] = "v1",
      ["umount -l -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup"] = "v2" }
    for prepare, version in pairs(views) do
      local script = ([[
        %s
        dirs=$(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -printf '%%h\n')
        case "$dirs" in *[a-z]*) ;; *) echo none; exit;; esac
        for d in $dirs; do mkdir $d/%s; done
        sleep 600 & p=$!
        for d in $dirs; do echo $p > $d/%s/cgroup.procs; done 2>/dev/null
        sort /proc/$p/cgroup; echo ==
        echo stdin | %s -t $p -u/proc/self/ns/uts -c sh -c 'sort /proc/self/cgroup; echo ==; cat; ls -l /proc/self/fd | grep -c cgroup'
        kill $p; wait $p 2>/dev/null
        for d in $dirs; do rmdir $d/%s; done]]):format(prepare, name, name, n.OURS, name)
      local out = helper.sh("unshare -m sh -c " .. n.quote(script))
      if out == "none" then
        pending("no cgroups " .. version)
      else
        local want, got, rest = out:match "^(.-)\n==\n(.-)\n==\n(.*)$"
        assert.equal(want, got, version .. ": " .. out)
        assert.truthy(got:find(name, 1, true), version)
        assert.equal("stdin\n0", rest, version)
      end
    end
  end)

  it("-Z: nothing where no security module gives labels, else the target's", function()
    local pid = n.target "-n"
    local label = helper.sh(("cat /proc/%d/attr/current 2>/dev/null"):format(pid))
    local out = ours(("-t %d %s-n -Z"):format(pid, WITH), "sh -c 'cat /proc/self/attr/current 2>/dev/null; :'")
    assert.equal(label, out)
  end)
end)

describe("the owner of a user namespace without root", function()
  after_each(helper.close_held)

  local unprivileged = require "spec.unprivileged"
  local why = n.root and select(2, unprivileged.can())

  -- A shell script as somebody else than root.
  local function nobody(script)
    if n.root then
      return (unprivileged.sh(script))
    end
    return (helper.sh(script))
  end
  local OURS = n.OURS

  it("enters all of it with -a; what is ours already is skipped", function()
    if why then
      pending(why)
      return
    end
    local out = nobody(([[
      unshare -Urmp -f sh -c 'exec sleep 600' 2>/dev/null & u=$!
      for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        p=$(echo $(cat /proc/$u/task/$u/children)); [ "$(cat /proc/${p:-x}/comm 2>/dev/null)" = sleep ] && break; sleep 0.1
      done
      for t in user mnt pid net; do readlink /proc/$p/ns/$t; done; echo ==
      %s -t $p -a sh -c 'for t in user mnt pid net; do readlink /proc/self/ns/$t; done; echo $(id -u) $(id -g)' </dev/null
      kill -9 $p; wait $u 2>/dev/null]]):format(OURS))
    local want, got, ids = out:match "^(.-)\n==\n(.*)\n([%d ]+)$"
    assert.equal(want, got, out)
    assert.equal("0 0", ids, out)
  end)

  it("enters with -U -m though groups cannot be set there", function()
    if why then
      pending(why)
      return
    end
    local out = nobody(([[
      unshare -Urm sleep 600 & u=$!
      while [ "$(cat /proc/$u/comm)" != sleep ]; do sleep 0.05; done
      cat /proc/$u/setgroups
      %s -t $u -U -m sh -c 'readlink /proc/self/ns/mnt; id -u' </dev/null; readlink /proc/$u/ns/mnt
      kill -9 $u; wait $u 2>/dev/null]]):format(OURS))
    local mnt, same_mnt = out:match "^deny\n(mnt:%S+)\n0\n(mnt:%S+)$"
    assert.truthy(mnt, out)
    assert.equal(mnt, same_mnt)
  end)
end)

describe("the program's end", function()
  after_each(helper.close_held)

  it("is ours: exit status, signal", function()
    local pid = n.target "-n -p -f"
    local with = n.root and "" or "-U --preserve-credentials "
    for _, options in ipairs { "-n", "-p" } do
      for _, script in ipairs { "exit 7", "exit 0" } do
        same(("nsenter -t %d %s%s sh -c '%s'"):format(pid, with, options, script))
      end
      for _, signal in ipairs { "TERM", "KILL", "SEGV", "INT" } do
        same(("nsenter -t %d %s%s sh -c 'kill -%s $$' 2>/dev/null"):format(pid, with, options, signal))
        local p = ns.run { n.HOST, "nsenter", "-t", pid, n.root and "-n" or "-U", options, "sh", "-c", "kill -" .. signal .. " $$" }
        assert.equal(signal, p.signal, options)
      end
    end
  end)

  -- A program in the target's pid namespace, its pid here, once it runs.
  local function started(pid, script)
    local p = helper.held(ns.spawn { n.HOST, "nsenter", "-t", pid, "-p", n.root and "-p" or "-U", "sh", "-c", script, stdout = "pipe" })
    assert.equal("ready", p.stdout:read "l")
    local child = n.read(("/proc/%d/task/%d/children"):format(p.pid, p.pid)):match "(%d+)%s*$" -- the last: who forked it may not be reaped yet
    return p, tonumber(child)
  end

  it("comes when the tool ends, killed or not", function()
    local pid = n.target "-p -f"
    for _, signal in ipairs { "TERM", "KILL", "HUP" } do
      local p, child = started(pid, "echo ready; sleep 600 & wait")
      p:kill(signal)
      assert.equal(signal, p:wait(5).signal)
      n.wait(function()
        return not core.file.stat("/proc/" .. child) or n.read("/proc/" .. child .. "/stat"):match "%) Z"
      end)
    end
  end)

  it("is on a terminal what the keyboard says", function()
    local pid = n.target "-p -f"
    local p = helper.held(ns.spawn { n.HOST, "nsenter", "-t", pid, "-p", n.root and "-p" or "-U", "sh", "-c", "echo ready; exec cat", pty = true })
    assert.equal("ready\r", p.pty:read("l", 5))
    p.pty:write "on\n"
    assert.equal("on\r", p.pty:read("l", 5)) -- the echo
    assert.equal("on\r", p.pty:read("l", 5))
    p.pty:write "\3"
    assert.equal("INT", p:wait(5).signal)
  end)

  it("is not its stop: the tool stops with it, and both go on", function()
    local pid = n.target "-p -f"
    local p, child = started(pid, "echo ready; kill -STOP $$; echo on")
    local function state(of)
      return n.read(("/proc/%d/stat"):format(of)):match "%) (%a)"
    end
    n.wait(function()
      return state(p.pid) == "T"
    end)
    assert.equal("T", state(child))
    p:kill "CONT"
    assert.equal("on", p.stdout:read "l")
    assert.equal(0, p:wait(5).status)
  end)
end)
