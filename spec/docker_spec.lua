-- A real Docker container, from the host: the article's demo. dockerd of Debian runs in network and mount namespaces of its own (its
-- docker0, its /run, its sysctls are not the host's), with every file in a temporary folder; the image is a busybox made here.

local h = require "spec.helper"
local ns = require "nslua"

local HOST = "build/bin/nslua"

-- What it takes, probed: nil, or why it cannot run here.
local function obstacle()
  if not h.is_root() then
    return "needs root: dockerd"
  end
  for _, tool in ipairs{ "dockerd", "docker", "containerd", "runc", "busybox", "nsenter", "tar" } do
    if not h.has(tool) then
      return tool .. " is not installed (apt-get install docker.io busybox-static)"
    end
  end
  if not h.sh("ldd $(command -v busybox)"):find("not a dynamic executable", 1, true) then
    return "busybox is not static (apt-get install busybox-static)"
  end
end

describe("a Docker container", function()
  local why = obstacle()
  if why then
    return pending(why)
  end

  local dir, daemon, made_etc

  local function docker(command)
    return h.sh(("docker -H unix://%s/sock %s"):format(dir, command))
  end
  local function check(command)
    local out, ok = docker(command)
    assert(ok, "docker " .. command .. ": " .. out)
    return out
  end

  setup(function()
    dir = h.sh "mktemp -d /tmp/nslua-docker.XXXXXX"
    made_etc = select(2, h.sh "mkdir /etc/docker")
    daemon = ns.spawn{ "sh", "-c", ([[
      mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/docker && ip link set lo up && cd %s && exec dockerd \
        --data-root %s/data --exec-root %s/exec --pidfile %s/pid --host unix://%s/sock --storage-driver vfs \
        --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent %s --bip 172.17.0.1/16 --userland-proxy=false \
        --iptables=false --ip6tables=false --ip-masq=false]]):format(dir, dir, dir, dir, dir, dir:match "[^/]+$"),
      unshare = "net,mount", propagation = "private", stdout = { file = dir .. "/log" }, stderr = { file = dir .. "/log", append = true } }
    local up
    for _ = 1, 150 do
      up = select(2, docker "version")
      if up or daemon:wait(0.2) then
        break
      end
    end
    assert(up, "dockerd did not start: " .. h.sh("tail -n 5 " .. dir .. "/log"))
    h.sh(([[cd %s && mkdir -p image/bin image/www && cp -L $(command -v busybox) image/bin/busybox && ln -s busybox image/bin/httpd &&
      echo hello > image/www/index.html]]):format(dir))
    local out, ok = h.sh(("tar -C %s/image -c . | docker -H unix://%s/sock import - busybox"):format(dir, dir))
    assert(ok, out)
  end)

  teardown(function()
    docker "rm -f $(docker ps -aq)"
    daemon:kill "TERM"
    daemon:wait(20)
    daemon:close()
    h.sh(("find /sys/fs/cgroup -depth -type d -name %s -exec rmdir {} +"):format(dir:match "[^/]+$"))
    h.sh("rm -rf " .. dir .. (made_etc and "; rmdir /etc/docker" or ""))
    assert.falsy(h.state():find "docker", "a mount or a link of the daemon is left")
    assert.falsy(h.sh("ps axww -o stat,args"):find("\n[^Z\n][^\n]*" .. dir:gsub("%p", "%%%0")), "a process of the daemon is left")
  end)

  local function start(name, arguments, command)
    check(("run -d --name %s %s busybox %s"):format(name, arguments, command))
    finally(function()
      docker("rm -f " .. name)
    end)
    return tonumber(check(("inspect -f '{{.State.Pid}}' %s"):format(name)))
  end
  -- Without -n the container's httpd is asked until it listens: it is, as soon as its line stands in /proc/PID/net.
  local function listening(pid, port)
    for _ = 1, 100 do
      if h.sh(("cat /proc/%d/net/tcp /proc/%d/net/tcp6"):format(pid, pid)):find((":%04X [0:]+0000 0A"):format(port)) then
        return
      end
      h.sh "sleep 0.05"
    end
    error("nothing listens on port " .. port)
  end

  it("shows its addresses, routes and listening sockets as nsenter does", function()
    local pid = start("web", "", "httpd -f -p 0.0.0.0:80 -h /www")
    listening(pid, 80)
    local out, ok = h.sh(("%s examples/09-container.lua %d"):format(HOST, pid))
    assert(ok, out)
    -- nothing is sent: from this daemon's namespace no way leads to the machine's name server
    assert.equal("nothing found", (h.sh(("%s doctor -q -p 80 pid:%d"):format(HOST, pid)):gsub("%s+$", "")))

    -- The same from the tools the article uses, run in the container's network by nsenter.
    local want = {}
    for dev, address in h.sh(("nsenter -t %d -n ip -o addr"):format(pid)):gmatch "%d+: (%S+)%s+inet6? (%S+)" do
      want[#want + 1] = ("address %s dev %s"):format(address, dev)
    end
    for line in h.sh(("nsenter -t %d -n ip route; nsenter -t %d -n ip -6 route"):format(pid, pid)):gmatch "[^\n]+" do
      local dst, via, dev = line:match "^(%S+)", line:match " via (%S+)", line:match " dev (%S+)"
      want[#want + 1] = ("route   %s%s dev %s"):format(dst, via and " via " .. via or "", dev)
    end
    want[#want + 1] = "listen  tcp 0.0.0.0:80"
    local got = {}
    for line in out:gmatch "[^\n]+" do
      got[#got + 1] = line
    end
    table.sort(want)
    table.sort(got)
    assert.same(want, got)
    assert.truthy(out:find("address 172.17.0.2/16 dev eth0", 1, true))
    assert.truthy(out:find("route   default via 172.17.0.1 dev eth0", 1, true))
  end)

  it("runs the host's tools in its network, and its own in all its namespaces", function()
    local pid = start("web", "--hostname box", "httpd -f -p 80 -h /www")
    listening(pid, 80)
    local c <close> = ns.netns.open(pid)
    -- The host's ip, in the container's network; busybox has none.
    local r = c:run{ "ip", "-j", "addr", timeout = 10 }
    assert.equal(h.sh(("nsenter -t %d -n ip -j addr"):format(pid)), (r:check().stdout:gsub("\n$", "")))
    -- Its own page, by its own programs: every namespace and its root.
    local s = ns.run{ "/bin/busybox", "hostname", join = pid, timeout = 10 }
    assert.equal("box\n", s:check().stdout)
    -- What it serves is reached from the namespace of dockerd, over docker0.
    local d <close> = ns.netns.open(daemon.pid)
    local page = d:run{ "busybox", "wget", "-qO-", "http://172.17.0.2/", timeout = 10 }
    assert.equal("hello\n", page:check().stdout)
  end)

  it("sees the veth of a container from both sides", function()
    local pid = start("web", "", "httpd -f -p 80 -h /www")
    local c <close> = ns.netns.open(pid)
    local d <close> = ns.netns.open(daemon.pid)
    local eth0 = c.link:get "eth0"
    local outer = d.link:get(eth0.link_index or eth0.link)
    assert.equal("veth", eth0.kind)
    assert.equal("docker0", outer.master)
    assert.truthy(outer.up)
  end)

  it("probes others from inside, by names of its hosts file and of containers", function()
    local db = start("db", "", "httpd -f -p 80 -h /www")
    listening(db, 80)
    local address = check "inspect -f '{{.NetworkSettings.IPAddress}}' db"
    start("web", "--add-host store:" .. address, "httpd -f -p 80 -h /www")
    finally(function()
      docker "rm -f web db"
    end)
    local function nslua(words)
      local script = ([[mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/docker && mount --bind %s/data /var/lib/docker && exec %s/%s %s]]):format(dir,
        h.sh "pwd", HOST, words)
      local r = ns.run{ "sh", "-c", script, join = { mount = daemon.pid }, unshare = "mount", propagation = "private", cwd = "/", timeout = 60 }
      assert.equal("", r.stderr)
      return r.stdout, r.status
    end
    local plain = address:gsub("%.", "%%.")
    local out, status = nslua("ping -c1 -W5 web store docker:db " .. address)
    assert.equal(0, status, out)
    assert.matches("\nstore +" .. plain .. " +1 +1 +0%%", out)
    assert.matches("\ndocker:db +" .. plain .. " +1 +1 +0%%", out)
    out, status = nslua "http -b docker:web http://store/index.html"
    assert.same({ "hello\n", 0 }, { out, status })
    out, status = nslua "tcp web store:80,81 docker:db:80"
    assert.equal(1, status)
    assert.matches("store +" .. plain .. " +80 +open", out)
    assert.matches("store +" .. plain .. " +81 +refused", out)
    assert.matches("docker:db +" .. plain .. " +80 +open", out)
    out, status = nslua "resolve web store"
    assert.equal(0, status)
    assert.matches("store +A +" .. plain .. " +hosts file", out)
  end)

  it("is found by its name, with the daemon stopped, and entered with its own programs or the host's", function()
    local pid = start("web", "--hostname box -e A=one", "httpd -f -p 80 -h /www")
    local id = check "inspect -f '{{.Id}}' web"
    -- The daemon's files where they are by default, in a mount namespace of this command.
    local function nsenter(arguments)
      local script = ([[mkdir -p /run/docker && mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/docker /run/docker/containerd 2>/dev/null
        mount --bind %s/data /var/lib/docker && mount --bind %s/exec/containerd /run/docker/containerd && exec %s/%s nsenter %s]]):format(dir, dir,
        h.sh "pwd", HOST, arguments)
      local r = ns.run{ "sh", "-c", script, join = { mount = daemon.pid }, unshare = "mount", propagation = "private", cwd = "/", timeout = 10 }
      return r.stdout .. r.stderr, r.status
    end
    local daemons = { daemon.pid, tonumber((h.sh(("cat %s/exec/containerd/*.pid"):format(dir)))) }
    for _, daemon_pid in ipairs(daemons) do
      h.sh("kill -STOP " .. daemon_pid)
    end
    finally(function()
      for _, daemon_pid in ipairs(daemons) do
        h.sh("kill -CONT " .. daemon_pid)
      end
      docker "rm -f web"
    end)
    for _, name in ipairs{ "web", "docker:web", id, "docker:" .. id:sub(1, 8), "containerd:moby/" .. id } do
      assert.equal("box\n", (nsenter(("-t %s -a -e busybox hostname"):format(name))), name)
    end
    assert.equal(h.sh(("readlink /proc/%d/ns/net"):format(pid)) .. "\n", (nsenter "-t web -n readlink /proc/self/ns/net"))
    assert.equal("one\n", (nsenter [[-t web -a -e busybox sh -c 'echo $A']]))
    local out, status = nsenter "-t wbe -n true"
    assert.matches("no such container", out)
    assert.equal(1, status)
    for _, daemon_pid in ipairs(daemons) do
      h.sh("kill -CONT " .. daemon_pid)
    end
    check "stop -t 0 web"
    out, status = nsenter "-t web -n true"
    assert.matches("docker:web %(%x+%) is not running", out)
    assert.equal(1, status)
  end)

  it("is listed as docker ps lists it, with the daemon running or stopped, and entered by one word", function()
    local pid = start("web", "--hostname box -e A=one --label tier=front", "httpd -f -p 80 -h /www")
    start("helper", "--network container:web", "/bin/busybox sleep 600")
    start("hosty", "--network host", "/bin/busybox sleep 600")
    check "create --name never busybox /bin/busybox sleep 1"
    check "pause hosty"
    finally(function()
      h.sh("kill -CONT " .. daemon.pid)
      docker "unpause hosty"
      docker "rm -f web helper hosty never watcher"
    end)
    -- the program with the daemon's files where they are by default, in a mount namespace of its own
    local function nslua(words)
      local script = ([[mkdir -p /run/docker && mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/docker /run/docker/containerd 2>/dev/null
        mount --bind %s/data /var/lib/docker && mount --bind %s/exec/containerd /run/docker/containerd && exec %s/%s %s]]):format(dir, dir,
        h.sh "pwd", HOST, words)
      local r = ns.run{ "sh", "-c", script, join = { mount = daemon.pid, net = daemon.pid }, unshare = "mount", propagation = "private", cwd = "/",
        timeout = 20 }
      return r.stdout, r.status, r.stderr
    end
    local function seen(more)
      local rows = {}
      for _, row in ipairs(require "dkjson".decode((nslua("containers -j " .. (more or ""))))) do
        rows[#rows + 1] = row.engine == "docker" and ("%s %s %s"):format(row.names[1], row.id, row.state) or nil
      end
      table.sort(rows)
      return table.concat(rows, "\n")
    end
    local function known(more)
      return h.sh(("docker -H unix://%s/sock ps --no-trunc %s --format '{{.Names}} {{.ID}} {{.State}}' | sort"):format(dir, more or ""))
    end
    local want, want_all = known(), known "-a"
    assert.equal(want, seen())
    assert.equal(want_all, seen "-a")
    local j = {}
    for _, row in ipairs(require "dkjson".decode((nslua "containers -j"))) do
      j[row.name] = row
    end
    assert.same({ { "172.17.0.2" }, { "helper" }, "busybox", "front", pid },
      { j.web.addresses, j.web.shares, j.web.image, j.web.labels.tier, j.web.pid })
    assert.is_true(j.hosty.host_network)
    local table_of = nslua "containers"
    assert.matches("web +docker +%x+ +running +%d+ 172%.17%.0%.2 +with helper +busybox", table_of)
    assert.matches("hosty +docker +%x+ +paused +%d+ +the host's +busybox", table_of)
    h.sh("kill -STOP " .. daemon.pid)
    assert.equal(want, seen())
    assert.matches("eth0@%S+ .*172%.17%.0%.2", (nslua "enter web ip -br addr"))
    h.sh("kill -CONT " .. daemon.pid)
    assert.equal("box one\n", (nslua [[enter -a web /bin/busybox sh -c 'echo $(busybox hostname) $A']]))
    assert.equal("hello\n", (nslua "enter -t web cat /proc/1/root/www/index.html"))
    check "run -d --name watcher --pid host busybox /bin/busybox sleep 600"
    assert.equal("hello\nhello\n", (nslua "enter -t web sh -c 'cat $CONTAINER_ROOT/www/index.html'") .. (nslua
      "enter -t watcher sh -c 'cat $CONTAINER_ROOT/www/index.html'"))
    local _, status, message = nslua "enter -a web"
    assert.equal(125, status)
    assert.matches("docker web has no /bin/sh; name a program it has, or take the host's with %-%-tools", message)
    _, status = nslua "enter web sh -c 'exit 9'"
    assert.equal(9, status)
    -- renamed, stopped, started again
    check "rename web site"
    assert.equal("box\n", (nslua "enter -a site /bin/busybox hostname"))
    _, status, message = nslua "enter web true"
    assert.matches("web", message)
    assert.equal(125, status)
    check "restart -t 0 site"
    assert.equal(h.sh(("readlink /proc/%s/ns/net"):format(check "inspect -f '{{.State.Pid}}' site")) .. "\n",
      (nslua "enter site readlink /proc/self/ns/net"))
    check "rename site web"
  end)

  it("is a node of a lab, and is left as it was", function()
    local pid = start("web", "", "httpd -f -p 80 -h /www")
    listening(pid, 80)
    local function state()
      return h.sh(("nsenter -t %d -n sh -c 'ip -br addr; ip route; ip -6 route'"):format(pid))
    end
    local before = state()
    local lab = ns.lab(("h1 -- r1 -- web{container=pid:%d}"):format(pid))
    assert.equal("hello\n", lab.h1:http("http://" .. lab.web:address_of "h1" .. "/").body)
    assert.equal("hello\n", lab.h1:http("http://[" .. lab.web:address_of("h1", "inet6") .. "]/").body)
    assert.truthy(state():find "default via 172%.17%.0%.1 dev eth0")
    lab:close()
    assert.equal(before, state())
  end)

  it("is named where a veth leads to it", function()
    local pid = start("web", "", "httpd -f -p 80 -h /www")
    -- names are read from the files of the daemon, bound to where they usually are
    local script = ("mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/docker && mount --bind %s/data /var/lib/docker && "
      .. "exec %s/%s link list master docker0"):format(dir, h.sh "pwd", HOST)
    local r = ns.run{ "sh", "-c", script, join = { mount = daemon.pid, net = daemon.pid }, unshare = "mount", propagation = "private", cwd = "/",
      timeout = 10 }
    assert.matches("docker0 +veth +%-> eth0 in docker web", r.stdout .. r.stderr)
    local out, ok = h.sh(("%s address -n %d -4"):format(HOST, pid))
    assert(ok, out)
    assert.matches("eth0 +up +172%.17%.0%.2/16 ", out)
  end)

  it("notices that the container is gone", function()
    local pid = start("web", "", "httpd -f -p 80 -h /www")
    local c <close> = ns.netns.open(pid)
    check "rm -f web"
    -- The handle keeps the namespace; the pid leads nowhere any more.
    assert.truthy(c.link:get "lo")
    local ok, e = pcall(ns.netns.open, pid)
    assert.is_false(ok)
    assert.truthy(ns.error.is(e, "ESRCH") or ns.error.is(e, "ENOENT"), tostring(e))
  end)
end)
