-- Joining and making namespaces: orders, owners, ids, views; unshare(1) and nsenter(1) as oracles.

local ns = require "nslua"
local namespace = require "nslua.namespace"
local helper = require "spec.helper"
local unprivileged = require "spec.unprivileged"
local held = helper.held

local types = { "cgroup", "ipc", "mount", "net", "pid", "time", "user", "uts" }
local proc = { mount = "mnt" }

-- { net = "net:[...]", ... } of a process, as the shell sees it.
local list_script = "for t in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$t; done"

local function parse(text)
  local out = {}
  for t, inode in text:gmatch "(%l+):%[(%d+)%]" do
    out[t] = inode
  end
  return out
end

local here = parse((helper.sh(list_script)))

local function need_root()
  if not helper.is_root() then
    pending "not root"
  end
end

-- A process in new namespaces, made by unshare(1).
local function holder(options)
  local p = ns.spawn { "sh", "-c", "exec unshare " .. options .. " sh -c 'echo up; exec sleep 1000'", stdout = "pipe" }
  assert.equal("up", p.stdout:read())
  return p
end

after_each(helper.close_held)

describe("unshare", function()
  for _, t in ipairs(types) do
    it("makes one " .. t .. " namespace and nothing else", function()
      if t ~= "user" then
        need_root()
      end
      local r = ns.run { "sh", "-c", list_script, unshare = t }
      assert.is_true(r.ok, r.stderr)
      local there = parse(r.stdout)
      for _, other in ipairs(types) do
        local key = proc[other] or other
        if other == t then
          assert.not_equal(here[key], there[key])
        else
          assert.equal(here[key], there[key], other)
        end
      end
    end)
  end

  it("makes all of them without root, in a user namespace", function()
    local r = ns.run { "sh", "-c", list_script .. "; id -u", unshare = "all", map_users = "root", mount_proc = true }
    assert.is_true(r.ok, r.stderr)
    local there = parse(r.stdout)
    for _, t in ipairs(types) do
      assert.not_equal(here[proc[t] or t], there[proc[t] or t])
    end
    assert.matches("\n0\n$", r.stdout)
  end)

  it("leaves the script where it is", function()
    ns.run { "true", unshare = "all", map_users = "root" }
    assert.same(here, parse((helper.sh(list_script))))
  end)
end)

describe("id maps", function()
  local function map(plan)
    plan[1], plan[2], plan[3] = "sh", "-c", "id -u; id -g; cat /proc/self/uid_map; cat /proc/self/setgroups"
    local r = ns.run(plan)
    return (r.stdout:gsub("[ \t]+", " "))
  end
  local uid = tonumber((helper.sh "id -u"))
  local gid = tonumber((helper.sh "id -g"))

  it("root", function()
    local oracle = helper.sh("unshare -r sh -c 'id -u; id -g; cat /proc/self/uid_map'"):gsub("[ \t]+", " ")
    assert.equal(oracle, map({ map_users = "root" }):match "^(.*)\n%l+\n$")
  end)

  it("current", function()
    assert.matches(("^%d\n%d\n %d %d 1\n"):format(uid, gid, uid, uid), map { map_users = "current" })
  end)

  it("ranges, written from outside", function()
    need_root()
    assert.equal("0\n0\n 0 1000 10\n 10 3000 5\nallow\n", map { map_users = { { 0, 1000, 10 }, { 10, 3000, 5 } }, map_groups = { { 0, 1000, 10 } } })
    assert.equal("0\n0\n 0 1000 10\ndeny\n", map { map_users = { { 0, 1000, 10 } }, map_groups = { { 0, 1000, 10 } }, setgroups = "deny" })
  end)

  it("all", function()
    need_root()
    assert.matches("^0\n0\n 0 0 4294967295\n", map { map_users = "all" })
  end)

  it("are of the joined user namespace where one is joined", function()
    need_root()
    local u = held(ns.userns.new { map_users = { { 0, 100000, 1000 } }, map_groups = { { 0, 100000, 1000 } } })
    assert.equal("0\n0\n 0 100 10\n 20 300 10\nallow\n",
      map { join = u, unshare = "user", map_users = { { 0, 100, 10 }, { 20, 300, 10 } }, map_groups = { { 0, 100, 10 } } })
    assert.matches("^0\n0\n 0 0 1\n", map { join = u, unshare = "user", map_users = "root" })
    assert.has_error(function() map { join = u, unshare = "user", map_users = "auto" } end)
  end)
end)

describe("join", function()
  it("enters every namespace of a process, as nsenter -a does", function()
    need_root()
    local p = held(holder "-muinpCT --fork --mount-proc")
    local inner = helper.sh("pgrep -P " .. p.pid)
    local oracle = parse((helper.sh("nsenter -t " .. inner .. " -a sh -c '" .. list_script .. "'")))
    for _, join in ipairs { tonumber(inner), "pid:" .. inner } do
      local r = ns.run { "sh", "-c", list_script, join = join }
      assert.is_true(r.ok, r.stderr)
      assert.same(oracle, parse(r.stdout))
    end
    assert.equal("sleep\n", ns.run({ "cat", "/proc/1/comm", join = tonumber(inner) }).stdout)
  end)

  it("enters one, and leaves the others", function()
    need_root()
    local p = held(holder "-muinC")
    for _, t in ipairs { "net", "uts", "ipc", "cgroup", "mount" } do
      local there = parse(ns.run({ "sh", "-c", list_script, join = { [t] = p.pid }, sys = false }).stdout)
      for _, other in ipairs(types) do
        local key = proc[other] or other
        if other == t then
          assert.not_equal(here[key], there[key])
        else
          assert.equal(here[key], there[key])
        end
      end
    end
  end)

  it("takes handles, names, paths and pids", function()
    need_root()
    local name = "spawnspec" .. helper.sh "echo $PPID"
    local a = held(ns.netns.add(name))
    finally(function() ns.netns.delete(name) end)
    local want = ("net:[%d]\n"):format(a.inode)
    for _, join in ipairs { a, { net = a }, name, { net = name }, { net = "/run/netns/" .. name } } do
      assert.equal(want, ns.run({ "readlink", "/proc/self/ns/net", join = join }).stdout)
    end
  end)

  it("takes a process of this script, as long as it is there", function()
    local root = helper.is_root()
    local p = held(ns.spawn { "sleep", "60", unshare = root and "net,uts" or "net,uts,user", map_users = not root and "root" or nil })
    local want = helper.sh(("readlink /proc/%d/ns/net /proc/%d/ns/uts"):format(p.pid, p.pid)) .. "\n"
    assert.equal(want, ns.run({ "readlink", "/proc/self/ns/net", "/proc/self/ns/uts", join = p }).stdout)
    local net = held(ns.netns.open(p))
    assert.equal(want:match "[^\n]+", net:describe())
    assert.equal("ESRCH", select(2, pcall(function()
      p:kill "KILL"
      p:wait(10)
      ns.run { "true", join = p }
    end)).code)
    p:close()
    assert.matches("join_spec.lua:%d+: pidfd: the process is closed", select(2, pcall(ns.run, { "true", join = p })))
  end)

  it("is nothing where the namespace is our own", function()
    local mine = helper.sh "echo $PPID"
    local r = ns.run { "sh", "-c", list_script, join = tonumber(mine) }
    assert.is_true(r.ok, r.stderr)
    assert.same(here, parse(r.stdout))
    for _, t in ipairs(types) do
      local handle = held(namespace.current(t))
      assert.is_true(ns.run({ "true", join = handle }).ok)
    end
  end)

  it("gives the pid namespace to the program itself, as the script's child", function()
    local p = held(ns.spawn { "sh", "-c", "echo up; exec sleep 1000", unshare = "user,pid", map_users = "root", mount_proc = true,
      stdout = "pipe" })
    p.stdout:read()
    local r = ns.run { "sh", "-c", "readlink /proc/self/ns/pid; echo $$", join = p.pid }
    assert.is_true(r.ok, r.stderr)
    assert.equal(helper.sh("readlink /proc/" .. p.pid .. "/ns/pid"), r.stdout:match "^[^\n]*")
    assert.is_true(tonumber(r.stdout:match "\n(%d+)") < 100)
    local q = held(ns.spawn { "sleep", 100, join = p.pid })
    assert.equal(helper.sh "echo $PPID", helper.sh("ps -o ppid= -p " .. q.pid):match "%d+")
    q:kill()
    assert.equal("TERM", q:wait(10).signal)
  end)

  it("refuses to go up: an ancestor pid namespace is EINVAL", function()
    need_root()
    local outer = held(namespace.current "pid")
    local code = [[local ok, e = pcall(require("nslua").run, { "true", join = { pid = "fd:9" } }) print(e.step, e.code, e.hint)]]
    local r = ns.run {
      "sh", "-c", helper.lua .. " -e '" .. code .. "'", unshare = "pid", mount_proc = true, fds = { { outer.fd, as = 9 } },
    }
    assert.equal("join pid\tEINVAL\tonly a pid namespace below this process's own can be joined\n", r.stdout)
  end)

  it("joins owners that are mixed: what root owns, then the user namespace, then what that owns", function()
    need_root()
    -- A network namespace of root and a UTS namespace of a user namespace, in one plan.
    local a = held(ns.netns.new())
    local q = held(ns.spawn { "sh", "-c", "echo up; exec sleep 1000", unshare = "user,uts", map_users = { { 0, 65534, 1 } },
      map_groups = { { 0, 65534, 1 } }, stdout = "pipe" })
    q.stdout:read()
    local r = ns.run { "sh", "-c", list_script .. "; id -u; hostname inside && hostname", join = { net = a, user = q.pid, uts = q.pid } }
    assert.is_true(r.ok, r.stderr)
    local there = parse(r.stdout)
    assert.equal(tostring(a.inode), there.net)
    assert.not_equal(here.user, there.user)
    assert.not_equal(here.uts, there.uts)
    assert.matches("\n0\ninside\n$", r.stdout)
    assert.equal(helper.sh "hostname", helper.sh "cat /proc/sys/kernel/hostname")
  end)

  it("takes the root of a user namespace at once: files are its root's", function()
    need_root()
    local u = held(ns.userns.new { map_users = { { 0, 65534, 1 } }, map_groups = { { 0, 65534, 1 } } })
    local r = ns.run { "sh", "-c", "id -u; id -g; id -G", join = u }
    assert.equal("0\n0\n0\n", r.stdout)
    local path = os.tmpname()
    os.remove(path)
    ns.run { "touch", path, join = u, check = true }
    assert.equal("65534 65534", (helper.sh("stat -c '%u %g' " .. path)))
    os.remove(path)
  end)

  it("lets the owner of a user namespace, without rights, into all of it", function()
    local can, why = unprivileged.can()
    if not can then
      pending(why)
    end
    local out = unprivileged.lua([[
      local p <close> = ns.spawn { "sh", "-c", "hostname box; echo up; sleep 1000; :", unshare = "user,net,uts,ipc,mount,pid,cgroup",
        map_users = "root", mount_proc = true, stdout = "pipe", stderr = "null" }
      p.stdout:read()
      local r = ns.run { "sh", "-c", "id -u; hostname; cat /proc/1/comm; ip link set lo up && echo lo", join = p.pid }
      io.write(r.stdout, r.stderr)
      local u <close> = ns.userns.new { map_users = "root" }
      local a <close> = ns.netns.new { userns = u, lo = true }
      io.write(a:run { "sh", "-c", "ls /sys/class/net; id -u" }.stdout)
      io.write(a:run { "pwd", cwd = "/etc" }.stdout)]])
    assert.equal("0\nbox\nsh\nlo\nlo\n0\n/etc", out)
  end)

  it("says what is missing to others", function()
    need_root()
    local can, why = unprivileged.can()
    if not can then
      pending(why)
    end
    local a = held(ns.netns.new())
    local p = held(a:spawn { "sh", "-c", "echo up; exec sleep 1000", uid = 65534, gid = 65534, stdout = "pipe" })
    p.stdout:read()
    local out = unprivileged.lua(("print(select(2, pcall(ns.run, { 'true', join = { net = %d } })))"):format(p.pid))
    assert.matches("run: join net in net:%[%d+%]: EPERM: Operation not permitted; this process has no CAP_SYS_ADMIN in user:%[%d+%]", out)
  end)

  it("names the pid that is gone", function()
    local p = ns.spawn { "true" }
    p:wait()
    local ok, err = pcall(ns.run, { "true", join = p.pid })
    assert.is_false(ok)
    assert.is_true(ns.error.is(err, "ESRCH"))
  end)
end)

describe("the view of files", function()
  it("keeps the caller's directory across a join, by its path", function()
    need_root()
    local p = held(holder "-m")
    local r = ns.run { "pwd", join = { mount = p.pid } }
    assert.equal(helper.sh "pwd" .. "\n", r.stdout)
    assert.equal("/usr\n", ns.run({ "pwd", join = { mount = p.pid }, cwd = "/usr" }).stdout)
  end)

  it("is /, where the path is not there", function()
    local r = ns.run { "pwd", unshare = "user,mount", map_users = "root", root = "/usr", env = { PATH = "/bin" } }
    assert.equal("/\n", r.stdout)
  end)

  it("has no way back out of a new root", function()
    local r = ns.run { "sh", "-c", "cd ..; ls -d etc/passwd bin; cat /proc/self/mountinfo | wc -l", unshare = "user,mount", map_users = "root",
      root = "/usr", mounts = { { bind = "/proc", to = "/share" } }, env = { PATH = "/bin" } }
    assert.matches("bin", r.stdout)
    assert.not_matches("etc/passwd", r.stdout)
    assert.is_false((ns.run { "true", unshare = "user,mount", map_users = "root", root = "/usr", cwd = "/share", env = { PATH = "/bin" } }).timed_out)
    local ok, err = pcall(ns.run, { "true", root = "/nowhere", unshare = "user,mount", map_users = "root" })
    assert.is_false(ok)
    assert.same({ "root", "ENOENT", "/nowhere" }, { err.step, err.code, err.detail })
  end)

  it("has binds and tmpfs, and leaves the caller's alone", function()
    local before = helper.state()
    local r = ns.run {
      "sh", "-c", "ls /mnt/passwd; touch /mnt/x 2>&1; touch /opt/y && ls /opt; stat -f -c %T /opt; df -B1 --output=size /opt | tail -1",
      unshare = "user", map_users = "root", mounts = { { bind = "/etc", to = "/mnt", ro = true }, { tmpfs = "/opt", size = "64kb" } },
    }
    assert.equal("/mnt/passwd\ntouch: cannot touch '/mnt/x': Read-only file system\ny\ntmpfs\n65536\n", (r.stdout:gsub(" +(%d)", "%1")))
    assert.equal(before, helper.state())
    local ok, err = pcall(ns.run, { "true", unshare = "user", map_users = "root", mounts = { { bind = "/nowhere", to = "/mnt" } } })
    assert.is_false(ok)
    assert.same({ "mounts", "ENOENT", "/nowhere" }, { err.step, err.code, err.detail })
  end)

  it("binds from the caller's side into a mount namespace that is joined", function()
    need_root()
    local p = held(ns.spawn { "sh", "-c", "echo up; exec sleep 1000", mounts = { { tmpfs = "/opt" } }, stdout = "pipe" })
    p.stdout:read()
    local r = ns.run { "sh", "-c", "ls /opt; ls /mnt/passwd", join = { mount = p.pid }, mounts = { { bind = "/etc", to = "/mnt" } } }
    assert.equal("/mnt/passwd\n", r.stdout)
    assert.is_true(ns.run({ "test", "-e", "/mnt/passwd", join = { mount = p.pid } }).status == 1)
  end)

  it("propagates nothing by default, and what is asked for", function()
    for word, want in pairs { private = "", slave = "master:", shared = "shared:" } do
      local r = ns.run { "sh", "-c", "awk '$5 == \"/\"' /proc/self/mountinfo", unshare = "user,mount", map_users = "root",
        propagation = word }
      if want == "" then
        assert.not_matches("shared:", r.stdout)
        assert.not_matches("master:", r.stdout)
      elseif word == "shared" then
        assert.matches(want, r.stdout)
      end
    end
  end)

  it("may have a proc elsewhere", function()
    local r = ns.run { "sh", "-c", "ls -d /mnt/1 /mnt/self/ns", unshare = "user,pid", map_users = "root", mount_proc = "/mnt" }
    assert.equal("/mnt/1\n/mnt/self/ns\n", r.stdout)
  end)
end)

describe("credentials", function()
  it("are set, groups with them", function()
    need_root()
    assert.equal("uid=12 gid=34 groups=34", (ns.run({ "id", uid = 12, gid = 34 }).stdout:gsub("%(%w+%)", ""):gsub("\n", "")))
    assert.equal("12 34 34 4 5\n", ns.run({ "sh", "-c", "echo $(id -u) $(id -g) $(id -G)", uid = 12, gid = 34, groups = { 4, 5 } }).stdout)
    assert.equal("0\n", ns.run({ "id", "-G", groups = {} }).stdout)
    assert.matches("CapEff:%s+0000000000000000", ns.run({ "grep", "CapEff", "/proc/self/status", uid = 12 }).stdout)
  end)

  it("still end with the script", function()
    need_root()
    local code = [[local ns = require "nslua" print(ns.spawn{"sleep", "100", uid = 12, gid = 34}.pid) io.stdout:flush() ns.run{"sleep", 100}]]
    local p = held(ns.spawn { "sh", "-c", helper.lua .. " -e '" .. code .. "' & echo $!; wait", stdout = "pipe" })
    local script, child = p.stdout:read(), p.stdout:read()
    os.execute("kill -9 " .. script)
    local deadline = ns.clock() + 5
    local state
    repeat
      local f = io.open("/proc/" .. child .. "/stat")
      state = f and (f:read "*a" or ""):match "%) (%u)" or "gone" -- nothing to read: it ended meanwhile
      if f then
        f:close()
      end
    until state == "gone" or state == "Z" or ns.clock() > deadline
    assert.is_true(state == "gone" or state == "Z")
  end)

  it("that are not mapped are EINVAL", function()
    local ok, err = pcall(ns.run, { "true", unshare = "user", map_users = "root", uid = 5 })
    assert.is_false(ok)
    assert.same({ "uid", "EINVAL" }, { err.step, err.code })
    assert.matches("not mapped", err.hint)
  end)
end)

describe("hostname and time", function()
  it("are the program's own", function()
    local before = helper.sh "hostname"
    assert.equal("elsewhere\n", ns.run({ "hostname", hostname = "elsewhere", unshare = "user", map_users = "root" }).stdout)
    assert.equal(before, helper.sh "hostname")
    local up = tonumber((helper.sh "cut -d. -f1 /proc/uptime"))
    local r = ns.run { "cut", "-d.", "-f1", "/proc/uptime", time = { boottime = "10h", monotonic = -5.5 }, unshare = "user", map_users = "root" }
    assert.is_true(math.abs(tonumber(r.stdout) - up - 36000) <= 3)
    r = ns.run { "cat", "/proc/self/timens_offsets", time = { boottime = 100, monotonic = -5.5 }, unshare = "user", map_users = "root" }
    assert.same({ "-6", "500000000", "100", "0" }, { r.stdout:match "monotonic%s+(%S+)%s+(%S+)%s+boottime%s+(%S+)%s+(%S+)" })
  end)

  it("that cannot be is an error of its step", function()
    local ok, err = pcall(ns.run, { "true", time = { monotonic = -1e12 }, unshare = "user", map_users = "root" })
    assert.is_false(ok)
    assert.same({ "time", "ERANGE" }, { err.step, err.code })
  end)
end)

describe("nothing of this", function()
  it("is left behind", function()
    local before = helper.fd_count()
    for _ = 1, 20 do
      ns.run { "true", unshare = "all", map_users = "root", mount_proc = true, init = true, mounts = { { tmpfs = "/mnt" } }, hostname = "x" }
      ns.run { "true", join = tonumber((helper.sh "echo $PPID")) }
    end
    assert.equal(before, helper.fd_count())
  end)
end)
