-- "Understanding network namespaces, and debugging a container's network with them", an article that does by hand what nslua does:
-- every step of it in Lua, from unshare to a veth and a bridge, each compared with what the article's own command says.
-- Its Docker part is in docker_spec. All of it works on a /run of its own: the names of the machine are neither seen nor deleted.

local h = require "spec.helper"
local ns = require "nslua"

-- The seven types of the article's table, and time, which came later.
local types = { "cgroup", "ipc", "net", "mount", "pid", "user", "uts", "time" }
local file_of = { mount = "mnt" }

local function link_of(type, pid)
  return h.sh(("readlink /proc/%s/ns/%s"):format(pid or "self", file_of[type] or type))
end

-- `ip addr` without what only time or another kernel changes.
local function ip_addr(text)
  return (text:gsub("valid_lft %S+ preferred_lft %S+", ""):gsub("[ \t]+\n", "\n"):gsub("%s+$", ""))
end

local function names()
  local list = {}
  for i, n in ipairs(ns.netns.list()) do
    list[i] = n.name
  end
  table.sort(list)
  return table.concat(list, " ")
end
local function ip_names()
  local list = {}
  for name in h.sh "ip netns list":gmatch "[^\n]+" do
    list[#list + 1] = name:match "^%S+"
  end
  table.sort(list)
  return table.concat(list, " ")
end

describe("the article:", function()
  if not h.is_root() then
    return pending "needs root (examples_spec runs the same steps in a user namespace)"
  end
  teardown(function()
    assert.falsy(h.state():find("nsdemo", 1, true), "a name is left in /run/netns")
  end)

  describe("unshare", function()
    for _, type in ipairs(types) do
      it("--" .. type, function()
        local r = ns.run{ "readlink", "/proc/self/ns/" .. (file_of[type] or type), unshare = type, timeout = 10 }:check()
        local inside = r.stdout:gsub("\n$", "")
        assert.truthy(inside:find(("^%s:%%[%%d+%%]$"):format(file_of[type] or type)), inside)
        assert.not_equal(link_of(type), inside)
      end)
    end

    it("--fork --pid --mount-proc: the program is pid 1 and sees its own /proc", function()
      local command = "echo $$; echo /proc/[0-9]*"
      local r = ns.run{ "sh", "-c", command, unshare = "pid", mount_proc = true, timeout = 10 }:check()
      assert.equal(h.sh(("unshare --fork --pid --mount-proc sh -c '%s'"):format(command)), (r.stdout:gsub("\n$", "")))
    end)

    it("--map-root-user: root inside, nobody special outside", function()
      local r = ns.run{ "sh", "-c", "id -u; id -g; cat /proc/self/uid_map", unshare = "user", map_users = "root", map_groups = "root" }:check()
      assert.equal(h.sh "unshare --map-root-user sh -c 'id -u; id -g; cat /proc/self/uid_map'", (r.stdout:gsub("\n$", "")))
    end)
  end)

  describe("readlink", function()
    for _, type in ipairs(types) do
      it("/proc/self/ns/" .. (file_of[type] or type), function()
        local n <close> = ns.namespace.current(type)
        assert.equal(link_of(type), ("%s:[%d]"):format(file_of[type] or type, n.inode))
      end)
    end
  end)

  describe("nsenter", function()
    -- What every option enters: a process with a namespace of each kind.
    local target
    setup(function()
      target = ns.spawn{ "sleep", "600", unshare = "cgroup,ipc,net,mount,uts", hostname = "target" }
    end)
    teardown(function()
      target:kill "KILL"
      target:wait()
      target:close()
    end)

    for option, type in pairs{ m = "mount", u = "uts", i = "ipc", n = "net", C = "cgroup" } do
      it("-" .. option, function()
        local file = "/proc/self/ns/" .. (file_of[type] or type)
        local r = ns.run{ "readlink", file, join = { [type] = target.pid }, timeout = 10 }:check()
        assert.equal(h.sh(("nsenter -t %d -%s readlink %s"):format(target.pid, option, file)), (r.stdout:gsub("\n$", "")))
        assert.equal(link_of(type, target.pid), (r.stdout:gsub("\n$", "")))
      end)
    end

    it("-S -G -w", function()
      local plan = { "sh", "-c", "id -u; id -g; pwd; hostname", join = { uts = target.pid, net = target.pid } }
      plan.uid, plan.gid, plan.groups, plan.cwd, plan.timeout = 65534, 65534, {}, "/tmp", 10
      assert.equal(h.sh(("nsenter -t %d -u -n -S 65534 -G 65534 -w/tmp sh -c 'id -u; id -g; pwd; hostname'"):format(target.pid)),
        (ns.run(plan):check().stdout:gsub("\n$", "")))
    end)

    it("-n, then ip addr, route -n, netstat -unlpt", function()
      local n <close> = ns.netns.open(target.pid)
      n.link:change("lo", { up = true })
      n.address:add{ "10.9.0.1/24", dev = "lo" }
      n.route:add{ "10.8.0.0/16", via = "10.9.0.7" }
      local httpd <close> = n:spawn{ "busybox", "httpd", "-f", "-p", "10.9.0.1:80" }
      local listening = "0100090A:0050 00000000:0000 0A"
      while not n:read "/proc/net/tcp":find(listening, 1, true) do
        assert.is_nil(httpd:wait(0.01))
      end

      local function both(...)
        local enter = ("nsenter -t %d -n "):format(target.pid)
        local r = n:run{ timeout = 10, ... }:check()
        return ip_addr(h.sh(enter .. table.concat({ ... }, " "))), ip_addr(r.stdout)
      end
      assert.equal(both("ip", "addr"))
      if h.has "netstat" then
        assert.equal(both("route", "-n"))
        assert.equal(both("netstat", "-unlpt"))
      end

      -- And without any tool: the same rows from the kernel.
      local addresses, wanted = {}, {}
      for a in n.address:each() do
        addresses[#addresses + 1] = a.dev .. " " .. a.address
      end
      for dev, address in h.sh(("nsenter -t %d -n ip -o addr"):format(target.pid)):gmatch "%d+: (%S+)%s+inet6? (%S+)" do
        wanted[#wanted + 1] = dev .. " " .. address
      end
      assert.same(wanted, addresses)
      local route = n.route:get{ "10.8.0.0/16" }
      assert.equal("10.9.0.7", route.via)
      assert.equal("lo", route.dev)
      httpd:kill "TERM"
      httpd:wait(5)
    end)
  end)

  -- What works on /run/netns runs in a child with a /run of its own; it gives back { what, wanted, got } for each step.
  local function on_own_run(recipe)
    local steps = ns.fork({ unshare = "mount", mounts = { { tmpfs = "/run" } } }, function()
      local list = {}
      recipe(function(what, wanted, got)
        list[#list + 1] = { what, tostring(wanted), tostring(got) }
      end)
      return list
    end):result(60)
    for _, s in ipairs(steps) do
      assert.equal(s[2], s[3], s[1])
    end
    return #steps
  end

  it("ip netns list, add, del, -all del", function()
    assert.equal(11, on_own_run(function(step)
      step("no namespace by default", "", names())
      ns.netns.add "nsdemo1":close()
      local ok, e = pcall(ns.netns.add, "nsdemo1")
      step("adding it again", "false EEXIST", ("%s %s"):format(ok, e.code))
      step("ip says so too", true, h.sh "ip netns add nsdemo1":find("File exists", 1, true) ~= nil)
      h.sh "ip netns add nsdemo2"
      step("one added here, one by ip", "nsdemo1 nsdemo2", names())
      step("ip sees both", ip_names(), names())
      step("the files", "nsdemo1\nnsdemo2", h.sh "ls /var/run/netns")
      step("of the mode that ip gives", h.sh "stat -c '%a %s %U' /run/netns/nsdemo2", h.sh "stat -c '%a %s %U' /run/netns/nsdemo1")
      ns.netns.delete "nsdemo2"
      h.sh "ip netns del nsdemo1"
      step("each deletes the other's", "", names())
      h.sh "ip netns add nsdemo1; ip netns add nsdemo2"
      ns.netns.delete_all()
      step("ip -all netns del", "", ip_names())
      ns.netns.add "nsdemo3":close()
      h.sh "ip -all netns delete"
      step("ip's -all deletes ours", "", names())
      step("no file is left", "", h.sh "ls /run/netns")
    end))
  end)

  it("ip netns exec: ip addr, bash, route -n", function()
    assert.equal(4, on_own_run(function(step)
      local n <close> = ns.netns.add "nsdemo3"
      local function exec(...)
        local command = "'" .. table.concat({ ... }, "' '") .. "'"
        step(command, ip_addr(h.sh("ip netns exec nsdemo3 " .. command)), ip_addr(n:run{ timeout = 10, ... }:check().stdout))
      end
      exec("ip", "addr")
      exec("bash", "-c", "ip addr; ip netns identify")
      exec("ip", "route")
      exec("ls", "/sys/class/net")
    end))
  end)

  it("lo up, ping: network is unreachable, and lo is still up for the next one", function()
    assert.equal(7, on_own_run(function(step)
      local n <close> = ns.netns.add "nsdemo4"
      local r = n:run{ "ping", "-c1", "-W1", "127.0.0.1", timeout = 10 }
      step("lo is down", "false false", ("%s %s"):format(n.link:get "lo".up, r.ok))
      n.link:change("lo", { up = true })
      step("ip addr", h.sh "ip netns exec nsdemo4 ip -j addr", (n:run{ "ip", "-j", "addr" }:check().stdout:gsub("\n$", "")))
      step("lo is up", true, n.link:get "lo".up)
      step("lo answers", true, n:run{ "ping", "-c1", "-W1", "127.0.0.1", timeout = 10 }.ok)
      r = n:run{ "ping", "-c1", "-W1", "192.168.99.128", timeout = 10 }
      step("another network", h.sh "ip netns exec nsdemo4 ping -c1 -W1 192.168.99.128", (r.stderr:gsub("\n$", "")))
      step("is unreachable", true, r.stderr:find("Network is unreachable", 1, true) ~= nil)
      local again <close> = ns.netns.open "nsdemo4"
      step("the next one finds lo up", true, again.link:get "lo".up)
    end))
  end)

  it("ip netns exec NAME bash --rcfile: a shell whose prompt says where it is", function()
    if not h.has "script" then
      return pending "script(1) is not installed"
    end
    local command = [[build/bin/nslua -e 'ns.netns.new{ label = [=[nsdemo3]=] }:shell()']]
    local out = h.sh(([[printf 'ip -o link show lo\nexit\n' | script -qec "%s" /dev/null]]):format(command))
    assert.truthy(out:find("nsdemo3", 1, true), out)
    assert.truthy(out:find("1: lo: <LOOPBACK>", 1, true), out)
  end)

  it("past its last line: veth joins two namespaces, a bridge three", function()
    local a <close> = ns.netns.new{ lo = true, label = "a" }
    local b <close> = ns.netns.new{ lo = true, label = "b" }
    local function reaches(from, address)
      return from:run{ "ping", "-c1", "-W5", address, timeout = 10 }.ok
    end
    assert.is_false(reaches(a, "10.0.0.2"))
    ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24" })
    assert.is_true(reaches(a, "10.0.0.2"))
    assert.is_true(reaches(b, "10.0.0.1"))

    local switch <close> = ns.netns.new{ label = "switch" }
    switch.link:add{ name = "br0", kind = "bridge", up = true }
    local hosts = {}
    for i = 1, 3 do
      hosts[i] = ns.netns.new{ lo = true }
      switch.link:add{ name = "h" .. i, kind = "veth", master = "br0", up = true, peer = { name = "eth0", netns = hosts[i] } }
      hosts[i].link:change("eth0", { up = true })
      hosts[i].address:add{ ("10.0.1.%d/24"):format(i), dev = "eth0" }
    end
    for i = 1, 3 do
      assert.is_true(reaches(hosts[i], "10.0.1." .. i % 3 + 1))
      hosts[i]:close()
    end
  end)
end)
