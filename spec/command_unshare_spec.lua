-- `nslua unshare` beside Debian's unshare(1): the same output, exit status and state for every option that has both; newer ones by effect.

local helper = require "spec.helper"
local ns = require "nslua"
local core = require "nslua.core"

local root = helper.is_root()
local OURS = "build/bin/nslua unshare"

-- What a program can see of where and as whom it is; namespaces as "own" or "new".
local PROBE = [[sh -c '
  for t in mnt uts ipc net pid user cgroup time pid_for_children; do
    l=$(readlink /proc/$$/ns/$t); h=$(eval echo \$HOST_$t); [ "$l" = "$h" ] && echo $t own || echo $t new
  done
  echo ids $(id -u) $(id -g) $(id -G); cat /proc/$$/uid_map /proc/$$/gid_map /proc/$$/setgroups
  grep Cap /proc/$$/status; echo cwd $(pwd); for f in /proc/$$/fd/*; do readlink $f; done | grep -v "^/proc/\|/stdout$\|/stderr$\|pipe:"
  awk "
    \$5 !~ /netns\\// { print \$5, \$7, \$9 }" /proc/$$/mountinfo | sed "s/:[0-9]*//g" | sort
  env | sort | grep -v "^_=\|^HOST_\|^SHLVL\|^PWD\|^OLDPWD"; umask']]

local function host_namespaces()
  local out = {}
  for _, t in ipairs { "mnt", "uts", "ipc", "net", "pid", "user", "cgroup", "time", "pid_for_children" } do
    out[#out + 1] = ("HOST_%s=%s"):format(t, core.file.readlink("/proc/self/ns/" .. t))
  end
  return table.concat(out, " ")
end
local HOST = host_namespaces()

local function both(words)
  local results = {}
  for i, tool in ipairs { "unshare", OURS } do
    local out, _, status = helper.sh(("env PATH=/usr/sbin:/usr/bin:/sbin:/bin %s %s %s"):format(HOST, tool, words)) -- folders that this user can read
    out = out:gsub("nslua unshare:", "unshare:"):gsub("nslua unshare %-%-help", "unshare --help")
    results[i] = ("%s\nexit %d"):format(out, status)
  end
  return results[1], results[2]
end

local rights = root and "" or "-r "

-- option words -> whether they need root
local same = {
  "", "-U", "-r", "-c", "--map-user=7", "--map-user=7 --map-group=8", "--map-group 9", "--map-user=daemon", "-r --map-user=5",
  "-U --setgroups deny",
  rights .. "-n", rights .. "--net", rights .. "-u", rights .. "-i", rights .. "-m", rights .. "-C", rights .. "-mun",
  rights .. "-m --propagation slave", rights .. "-m --propagation shared", rights .. "-m --propagation unchanged",
  rights .. "--mount --propagation=private",
  rights .. "-p -f", rights .. "-f", rights .. "-p -f --mount-proc", rights .. "-pf --kill-child", rights .. "--kill-child=TERM -n",
  rights .. "-w /etc", rights .. "-R / -w /usr", rights .. "-f -w /tmp", "-r -S 0", "-c --keep-caps", "-r --keep-caps",
  rights .. "-T", rights .. "--time -f", rights .. "-n --", rights .. "--uts --ipc -w /",
}

describe("nslua unshare", function()
  for _, words in ipairs(same) do
    it("does as unshare(1): unshare " .. words, function()
      local theirs, ours = both(words .. " " .. PROBE)
      assert.equal(theirs, ours)
      assert.matches("exit 0$", ours)
    end)
  end

  if root then
    for _, words in ipairs { "-S 65534 -G 65534 -n", "-S 65534", "-G 65534", "-n -u -i -m -p -U -C -T -f" } do
      it("does as unshare(1), as root: unshare " .. words, function()
        local theirs, ours = both(words .. " " .. PROBE)
        assert.equal(theirs, ours)
      end)
    end
  end

  it("ends as the program ends", function()
    for _, words in ipairs { rights .. "-n sh -c 'exit 3'", rights .. "-f sh -c 'exit 4'", rights .. "-pf sh -c 'exit 5'", rights .. "-f true" } do
      local theirs, ours = both(words)
      assert.equal(theirs, ours)
    end
    for signal, status in pairs { TERM = 143, KILL = 137, USR1 = 138 } do
      local _, _, ended = helper.sh(("%s %s -f sh -c 'kill -%s $$'"):format(OURS, rights, signal))
      assert.equal(status, ended, signal)
    end
  end)

  it("says what is wrong as unshare(1) does, and exits as it does", function()
    for _, words in ipairs { "--no-such-option", "-Z", "--propagation wrong -m true", "--setgroups maybe -U true",
      "-w /no/such/dir true", "-R /no/such true",
      "no-such-program", "/etc/passwd", "--map-user=no-such-user true", "--monotonic 3 true", "-T --monotonic x true", "--map-group" } do
      local theirs, ours = both(words)
      assert.equal(theirs:match "exit %d+$", ours:match "exit %d+$", words .. "\n" .. theirs .. "\n" .. ours)
      assert.is_true(#ours > 10, words)
    end
    for _, words in ipairs { "--no-such-option", "-Z", "--map-group" } do
      local theirs, ours = both(words)
      assert.equal(theirs, ours)
    end
    local _, ours = both "-r -p --pid=/tmp/x true"
    assert.matches("needs %-%-fork", ours)
    _, ours = both "-U --map-users 1:2 true"
    assert.matches("inner:outer:count", ours)
    _, ours = both "--setgroups=allow --map-group=0 true"
    assert.matches("exclude", ours)
  end)

  it("prints help and version", function()
    local out, ok = helper.sh(OURS .. " --help")
    assert.is_true(ok)
    for option in helper.sh("unshare --help"):gmatch "%-%-([%l-]+)" do
      assert.is_truthy(out:find("--" .. option, 1, true), option)
    end
    assert.matches("nslua %d", (helper.sh(OURS .. " -V")))
  end)

  it("runs the user's shell as a login shell where no program is named", function()
    local theirs = helper.sh(("echo 'echo $0' | SHELL=/bin/sh unshare %s -u"):format(rights))
    assert.equal("-sh", theirs)
    assert.equal(theirs, helper.sh(("echo 'echo $0' | SHELL=/bin/sh %s %s -u"):format(OURS, rights)))
  end)

  it("replaces itself by the program without --fork", function()
    assert.equal("same", helper.sh(("sh -c 'echo $$; exec %s %s-n sh -c \"echo \\$\\$\"' | uniq | wc -l | sed s/^1$/same/"):format(OURS, rights)))
  end)

  it("leaks nothing to the program: it has the fds that the tool was given", function()
    local list = "sh -c 'for f in /proc/self/fd/*; do echo ${f##*/}; done | sort -n | tr \"\\n\" \" \"'"
    for _, words in ipairs { "-U -f", "-r -n", rights .. "-p -f --mount-proc", "-r -f --json-status 5" } do
      local plain = helper.sh(list .. " 7</dev/null")
      local ours = helper.sh(("%s %s %s 7</dev/null 5>/dev/null"):format(OURS, words, list))
      -- 3 is the listing's own; 5 is the program's where the tool does not take it
      assert.equal(words:find "json" and plain or (plain:gsub("3 7", "3 5 7")), ours, words)
    end
  end)

  it("keeps namespaces by files", function()
    if not root then
      pending "not root: binds in this mount namespace"
      return
    end
    local dir = helper.sh "mktemp -d"
    helper.sh(("cd %s && touch net uts ipc user pid"):format(dir))
    local out = helper.sh(("%s --net=%s/net --uts=%s/uts --ipc=%s/ipc sh -c 'for t in net uts ipc; do readlink /proc/self/ns/$t; done'"):format(
      OURS, dir, dir, dir))
    for t, inode in out:gmatch "(%l+):%[(%d+)%]" do
      assert.equal(inode, helper.sh(("stat -c %%i %s/%s"):format(dir, t)))
    end
    out = helper.sh(("%s -f --pid=%s/pid --user=%s/user sh -c 'readlink /proc/self/ns/user; echo $$'"):format(OURS, dir, dir))
    assert.matches("\n1$", out)
    assert.equal(out:match "%[(%d+)%]", helper.sh(("stat -c %%i %s/user"):format(dir)))
    assert.equal("nsfs", helper.sh(("stat -f -c %%T %s/pid"):format(dir)))
    local failed = helper.sh(("%s --net=%s/missing true; echo $?"):format(OURS, dir))
    assert.matches("missing.*\n1$", failed)
    helper.sh(("umount %s/*; rm -r %s"):format(dir, dir))
  end)

  it("maps ranges and words, and punches holes", function()
    if not root then
      pending "not root: maps of several ids"
      return
    end
    local map = helper.sh(OURS .. " --map-users 0:5:1 --map-users 7:100:10 cat /proc/self/uid_map"):gsub(" +", " ")
    assert.equal(" 0 5 1\n 7 100 10", map)
    assert.equal(helper.sh "cat /proc/self/uid_map", helper.sh(OURS .. " -U --map-users all --map-groups all cat /proc/self/uid_map"))
  end)

  it("takes ids that unshare(1) 2.38 stumbles over", function()
    if not root then
      pending "not root: other ids"
      return
    end
    assert.equal("0 0", helper.sh(OURS .. " -r -G 0 -S 0 sh -c 'echo $(id -u) $(id -g)'")) -- setgroups is denied, and there is none to drop
    assert.equal("1", helper.sh(OURS .. " --map-users=0:0:65536 -S 1 id -u")) -- no newuidmap is needed by root
    assert.equal("0 5 1", (helper.sh(OURS .. " -U --map-users 5,0,1 cat /proc/self/uid_map"):gsub("^ +", ""):gsub(" +", " "))) -- outer,inner,count
    local out, _, status = helper.sh(OURS .. " -U -S 0 true")
    assert.equal("nslua unshare: setuid failed: Invalid argument; that id is not mapped in the program's user namespace", out)
    assert.equal(1, status)
  end)

  it("matches lines of subuid exactly", function()
    if not root then
      pending "not root: cannot put another file over /etc/subuid"
      return
    end
    local unprivileged = require "spec.unprivileged"
    local out = unprivileged.sh(OURS .. " --map-auto cat /proc/self/uid_map; true",
      { uid = 0, files = { ["/etc/subuid"] = "alice:100000:65536\nroot:300000:1000\n", ["/etc/subgid"] = "alice:100000:65536\n0:400000:1000\n" } })
    assert.matches("%s0%s+300000%s+1000", out)
  end)

  it("makes the user namespace another's with --owner", function()
    if not root then
      pending "not root: cannot become another owner"
      return
    end
    local status = os.tmpname()
    helper.sh(("%s --owner 65534:65534 --map-users 0:65534:1 --json-status 3 sh -c 'exec sleep 0.2' 3>%s"):format(OURS, status))
    assert.matches('"exit%-code":0', (helper.sh("cat " .. status)))
    os.remove(status)
    assert.equal("0 65534 1", (helper.sh(OURS .. " --owner 65534:65533 -r cat /proc/self/uid_map"):gsub("^ +", ""):gsub(" +", " ")))
    assert.equal("0 65533 1", (helper.sh(OURS .. " --owner 65534:65533 -r cat /proc/self/gid_map"):gsub("^ +", ""):gsub(" +", " ")))
    assert.equal("65534", helper.sh(OURS .. " --owner 65534:65534 -f sh -c 'stat -c %u /proc/$$'"))
  end)

  it("writes how it goes as JSON lines", function()
    local out = helper.sh(("%s %s--json-status 3 -n -p sh -c 'readlink /proc/self/ns/net; exit 3' 3>&1 >/dev/null | tr '\\n' ' '"):format(
      OURS, rights))
    assert.matches('^{"cgroup%-namespace":%d+,"child%-pid":%d+.*"net%-namespace":%d+.*} {"exit%-code":3} $', out)
    out = helper.sh(("(%s %s--json-status 3 sh -c 'kill -9 $$' 3>&1 2>/dev/null; :) 2>/dev/null | tail -1"):format(OURS, rights))
    assert.equal('{"exit-signal":"KILL"}', out)
    -- the program may be there before who forked it has told so
    out = helper.sh(("for i in $(seq 40); do %s %s--json-status 3 -n -p true 3>&1; done | grep -c '\"net-namespace'"):format(OURS, rights))
    assert.equal("40", out)
  end)

  it("has an init that reaps, a host name, lo up", function()
    local out = helper.sh(("%s %s --init --mount-proc --hostname box --lo sh -c 'echo $$ $(hostname) $(cat /proc/1/comm); "
      .. "ip -o link show lo; (sleep 0 &); sleep 0.1; ps -o stat= | grep -c Z'"):format(OURS, rights))
    assert.matches("^2 box init\n", out)
    assert.matches("LOOPBACK,UP", out)
    assert.matches("\n0$", out)
  end)

  it("clears the environment but for a list", function()
    assert.equal("A=1", helper.sh(("A=1 B=2 %s --clear-env --whitelist-env A,C env | grep '^[ABC]'"):format(OURS)))
    assert.equal("", helper.sh(("A=1 B=2 %s --clear-env env | grep '^[AB]'"):format(OURS)))
  end)

  it("mounts binfmt_misc of the user namespace", function()
    if not helper.sh "cat /proc/filesystems":find "binfmt_misc" then
      pending "this kernel has no binfmt_misc"
      return
    end
    local out, ok = helper.sh(OURS .. " -r --load-interp ':spectest:M::spectest::/bin/cat:' sh -c 'head -2 /proc/sys/fs/binfmt_misc/spectest'")
    if out:find "EPERM" or out:find "EINVAL" then
      pending("no binfmt_misc in a user namespace here: " .. out)
      return
    end
    assert.is_true(ok, out)
    assert.matches("enabled\ninterpreter /bin/cat", out)
    assert.is_nil(core.file.stat "/proc/sys/fs/binfmt_misc/spectest")
  end)
end)

-- The tool, started in the background; its pid and the program's, which the program writes down.
local function background(words)
  local file = os.tmpname()
  local script = ("cut -d\" \" -f4 /proc/self/stat >>%s; trap \"echo usr1 >>%s\" USR1; while :; do sleep 0.05; done"):format(
    file, file)
  local p = ns.spawn { "sh", "-c", ("exec %s %s sh -c '%s'"):format(OURS, words, script), stdout = "null", stderr = "null" }
  return p, file
end

local function eventually(fn)
  for _ = 1, 1000 do
    local value = fn()
    if value then
      return value
    end
    ns.wait({}, 0.02)
  end
  return nil
end

local function read(file)
  return helper.sh("cat " .. file)
end

describe("ending nslua unshare", function()
  -- Whether the program lives: it has written down its pid, as the host sees it.
  local function lives(file)
    local state = helper.sh("cat /proc/" .. read(file):match "%d+" .. "/stat 2>/dev/null"):match "%) (%a)"
    return state ~= nil and state ~= "Z"
  end

  for _, signal in ipairs { "TERM", "KILL", "INT" } do
    it("ends the program with --fork: SIG" .. signal, function()
      local p, file = background(rights .. "-p -f")
      assert.is_truthy(eventually(function()
        return read(file):find "%d"
      end))
      p:kill(signal)
      assert.equal(signal, p:wait(30).signal)
      assert.is_truthy(eventually(function()
        return not lives(file)
      end))
      p:close()
      os.remove(file)
    end)
  end

  it("gives the program what --kill-child says, and no more", function()
    for _, how in ipairs { { "USR1", "KILL" }, { "USR1", "TERM" }, { "USR1", "HUP" }, { "RTMIN+3", "INT" } } do
      local name = how[1]:find "RT" and "37" or how[1]
      local file = os.tmpname()
      -- longer than the second that a program has which is ended without
      local script = ('for s in TERM INT HUP; do trap "echo wrong $s >>%s" $s; done; trap "sleep 1.5; echo done >>%s; exit" %s; echo ready >>%s; '
        .. "while :; do sleep 0.05; done"):format(file, file, name, file)
      local p = ns.spawn { "sh", "-c", ("exec %s %s-f --kill-child=%s bash -c '%s'"):format(OURS, rights, how[1], script), stderr = "null" }
      assert.is_truthy(eventually(function()
        return read(file):find "ready"
      end))
      p:kill(how[2])
      assert.equal(how[2], p:wait(30).signal)
      assert.is_truthy(eventually(function()
        return read(file):find "done"
      end), table.concat(how, " ") .. ": " .. read(file))
      assert.is_nil(read(file):find "wrong", table.concat(how, " "))
      p:close()
      os.remove(file)
    end
  end)

  it("passes signals on with --forward-signals, also to a deaf pid 1", function()
    local p, file = background(rights .. "-p --forward-signals")
    assert.is_truthy(eventually(function()
      return read(file):find "%d"
    end))
    assert.is_truthy(eventually(function()
      p:kill "USR1"
      return read(file):find "usr1"
    end))
    p:kill "TERM" -- pid 1 without a handler: the kernel would drop it
    local r = p:wait(30)
    assert.equal("TERM", r and r.signal)
    p:close()
    os.remove(file)
  end)
end)
