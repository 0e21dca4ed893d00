-- Containers of every engine: each laid out as its sources say, with processes in cgroups of their names; lists, groups, and what is hostile in them.

local helper = require "spec.helper"
local layout = require "spec.container_helper"
local ns = require "nslua"

local HOST = "build/bin/nslua"
local root = helper.is_root()
local A, B = layout.A, layout.B
local C = ("c0de"):rep(16)

describe("containers", function()
  local dir, at
  before_each(function()
    dir = helper.sh "mktemp -d"
    at = layout.below(dir)
  end)
  after_each(function()
    helper.close_held()
    helper.sh("rm -rf " .. dir)
  end)

  local function find(name)
    return helper.held(ns.container.find(name, { root = dir }))
  end
  local function refused(name, code)
    local ok, e = pcall(ns.container.find, name, { root = dir })
    assert.is_false(ok)
    assert.is_true(ns.error.is(e, code), tostring(e))
    return tostring(e), e
  end
  local function list(options)
    options = options or {}
    options.root = dir
    local rows, problems = ns.container.list(options)
    local by = {}
    for _, row in ipairs(rows) do
      by[row.name] = row
    end
    return rows, by, problems
  end
  local function started(pid)
    return tonumber((helper.sh(("cut -d' ' -f22 /proc/%d/stat"):format(pid))))
  end

  -- What follows has processes of its own in cgroups of their names.
  local function needs_cgroups()
    if not root then
      pending "needs root: a process in a cgroup of its name"
    end
    return root
  end

  local function kubernetes(id, pod, container, pid, space)
    at.containerd("k8s.io", id, pid, nil, ([[{"annotations":{"io.kubernetes.cri.container-type":"%s","io.kubernetes.cri.sandbox-id":"%s",
      "io.kubernetes.cri.sandbox-name":"%s","io.kubernetes.cri.sandbox-namespace":"%s","io.kubernetes.cri.sandbox-uid":"11-22"%s}}]])
      :format(container and "container" or "sandbox", A, pod, space or "shop",
        container and (',"io.kubernetes.cri.container-name":"%s","io.kubernetes.cri.image-name":"nginx:1"'):format(container) or ""))
  end

  it("of Kubernetes are found by their pod, which is a group of one network", function()
    if not needs_cgroups() then
      return
    end
    local pause = layout.process(A, "kubepods/pod11-22", { unshare = "net" })
    local web = layout.process(B, "kubepods/pod11-22", { join = { net = pause } })
    kubernetes(A, "web-0", nil, pause)
    kubernetes(B, "web-0", "nginx", web)
    for _, name in ipairs { "pod:shop/web-0", "pod:web-0", "shop/web-0" } do
      assert.equal(pause, find(name).pid, name)
    end
    for _, name in ipairs { "pod:shop/web-0/nginx", "shop/web-0/nginx", "containerd:k8s.io/" .. B, B } do
      assert.equal(web, find(name).pid, name)
    end
    assert.same({ namespace = "shop", name = "web-0", uid = "11-22", container = "nginx", sandbox = false }, find(B).pod)
    refused("pod:other/web-0", "ENOENT")
    refused("pod:web", "ENOENT")
    local _, by = list()
    assert.same({ "shop/web-0/nginx" }, by["shop/web-0"].shares)
    assert.same({ "shop/web-0" }, by["shop/web-0/nginx"].shares)
    assert.equal("nginx:1", by["shop/web-0/nginx"].image)
    kubernetes(C, "web-0", nil, 1, "test")
    assert.matches("test/web%-0", (refused("pod:web-0", "ENOTUNIQ")))
  end)

  it("of CRI-O stand in podman's storage and are not podman's", function()
    if not needs_cgroups() then
      return
    end
    local pid = layout.process("crio-" .. A .. ".scope")
    at.podman { { id = A, name = "k8s_nginx_web-0_shop_11-22_0", pid = pid, metadata = '{"pod-name":"web-0","image-name":"nginx:2"}' },
      { id = B, name = "plain" } }
    at.write(("/run/containers/storage/overlay-containers/%s/userdata/config.json"):format(A),
      '{"annotations":{"io.kubernetes.cri-o.ContainerType":"container","io.kubernetes.cri-o.Namespace":"shop","io.kubernetes.cri-o.Labels":'
      .. '"{\\"io.kubernetes.pod.name\\":\\"web-0\\",\\"io.kubernetes.pod.namespace\\":\\"shop\\",\\"io.kubernetes.container.name\\":\\"nginx\\"}"}}')
    local c = find "pod:shop/web-0/nginx"
    assert.same({ "crio", pid, "nginx:2" }, { c.engine, c.pid, c.image })
    assert.equal(pid, find("crio:" .. A).pid)
    refused("podman:" .. A, "ENOENT")
    local rows = list { all = true }
    assert.same({ "shop/web-0/nginx", "plain" }, { rows[1].name, rows[2].name })
  end)

  it("of runc and crun are known by when their process was started", function()
    local p = helper.held(ns.spawn { "sleep", "600" })
    at.write("/run/runc/box/state.json", ('{"id":"box","init_process_pid":%d,"init_process_start":%d,"created":"2026-01-02T03:04:05Z"}')
      :format(p.pid, started(p.pid)))
    at.write("/run/crun/cell/status", ('{"pid":%d,"process-start-time":%d,"cgroup-path":"/x"}'):format(p.pid, started(p.pid) + 1))
    assert.equal(p.pid, find "box".pid)
    assert.equal("runc", find "runc:box".engine)
    assert.matches("crun:cell %(cell%) is not running: pid %d+, which it had, is another process now", (refused("cell", "ESRCH")))
    local _, by = list()
    assert.is_nil(by.cell)
    _, by = list { all = true }
    assert.equal("exited", by.cell and "exited")
    assert.is_nil(by.cell.pid)
  end)

  it("of systemd-nspawn are machines", function()
    if not needs_cgroups() then
      return
    end
    local pid = layout.process "machine-deb.scope"
    at.write("/run/systemd/machines/deb", ("NAME=deb\nCLASS=container\nSCOPE=machine-deb.scope\nLEADER=%d\nROOT=/var/lib/machines/deb\n"):format(pid))
    at.write("/run/systemd/machines/box", "NAME=box\nCLASS=vm\nLEADER=1\n")
    assert.equal(pid, find "machine:deb".pid)
    assert.equal("machine", find "deb".engine)
    refused("box", "ENOENT")
  end)

  it("that two engines know are listed once, by the one above", function()
    if not needs_cgroups() then
      return
    end
    local pid = layout.process(A)
    at.docker(A, "web", pid)
    at.containerd("moby", A, pid)
    at.write("/run/runc/" .. A .. "/state.json", ('{"init_process_pid":%d,"init_process_start":%d}'):format(pid, started(pid)))
    at.docker(B, "old", 0)
    local rows = list()
    assert.equal(1, #rows)
    assert.same({ "docker", "web", pid, "busybox", "running", true, "b" },
      { rows[1].engine, rows[1].name, rows[1].pid, rows[1].image, rows[1].state, rows[1].host_network, rows[1].labels.a })
    rows = list { all = true }
    assert.same({ "old", "exited" }, { rows[1].name, rows[1].state })
    assert.equal(2, #rows)
  end)

  it("give the addresses of their networks where they are asked for", function()
    if not needs_cgroups() then
      return
    end
    local web = layout.process(A, nil, { unshare = "net" })
    local near = layout.process(B, nil, { join = { net = web } })
    local hosty = layout.process(C)
    at.docker(A, "web", web)
    at.docker(B, "near", near)
    at.docker(C, "hosty", hosty)
    helper.sh(("nsenter -t %d -n ip link set lo up; nsenter -t %d -n ip address add 10.1.2.3/24 dev lo"):format(web, web))
    local rows, of, inodes = list { addresses = true }, {}, {}
    for _, row in ipairs(rows) do
      of[row.name], inodes[row.name] = row.addresses, row.netns
    end
    assert.same({ web = { "10.1.2.3" }, near = { "10.1.2.3" } }, of)
    assert.equal(inodes.web, inodes.near)
    assert.equal(ns.netns.current().inode, inodes.hosty)
    for _, row in ipairs(list()) do
      assert.same({ inodes[row.name] }, { row.netns, row.addresses })
    end
  end)

  it("that LXC or an unknown engine made are found by their cgroups alone", function()
    if not needs_cgroups() then
      return
    end
    local inner = layout.process("lxc.payload.nslua-spec-" .. ns.clock(), nil, { unshare = "pid", init = true })
    local name = helper.sh(("cat /proc/%d/cgroup"):format(inner)):match "lxc%.payload%.([^\n/]+)"
    local c = helper.held(ns.container.find("lxc:" .. name))
    assert.equal("lxc", c.engine)
    assert.equal(inner, c.pid)
    local id = helper.sh "od -An -tx1 -N32 /dev/urandom":gsub("%s", "")
    local pid = layout.process(id, "garden")
    local unknown = helper.held(ns.container.find(id:sub(1, 20)))
    assert.same({ "unknown", pid, id }, { unknown.engine, unknown.pid, unknown.container })
    local seen
    for _, row in ipairs(ns.container.list()) do
      seen = seen or row.container == id and row
    end
    assert.equal(pid, seen.pid)
  end)

  it("are handles of their network, with the container's names for the host's programs", function()
    if not needs_cgroups() then
      return
    end
    local pid = layout.process(A, nil, { unshare = "net,mount", propagation = "private", mounts = { { tmpfs = "/etc" } } })
    helper.sh(("echo '10.1.2.3 db' > /proc/%d/root/etc/hosts"):format(pid))
    at.docker(A, "web", pid)
    local c = find "web"
    assert.same({ "docker web", "web", "/proc/" .. pid .. "/root", false }, { c:describe(), c.name, c.root, c.host_network })
    assert.equal("lo", c.link:get(1).name)
    assert.equal(("net:[%d]"):format(c.inode), c:output { "readlink", "/proc/self/ns/net" })
    assert.equal("10.1.2.3 db", c:output { "cat", "/etc/hosts" })
    assert.equal("10.1.2.3 db\n", c:read_file "/etc/hosts")
    assert.equal("10.1.2.3", c:tcp("db", 80, { timeout = "10ms" }).dst)
    assert.equal(helper.sh(("readlink /proc/%d/ns/mnt"):format(pid)), c:output { "readlink", "/proc/self/ns/mnt", join = "all" })
    local m = helper.held(ns.namespace.open(c, "mount"))
    assert.equal(helper.sh(("readlink /proc/%d/ns/mnt"):format(pid)), ("mnt:[%d]"):format(m.inode))
    c:close()
    assert.is_false(pcall(function() return c.pidfd:stat() end))
  end)

  describe("that are hostile", function()
    it("have names that no terminal obeys", function()
      local p = helper.held(ns.spawn { "sleep", "600" })
      at.write("/run/runc/box/state.json", ('{"init_process_pid":%d,"init_process_start":%d}'):format(p.pid, started(p.pid)))
      at.docker(A, "\\u001b[31mred\\u0007\\n\\u009bx", 0)
      local rows = list { all = true }
      for _, row in ipairs(rows) do
        assert.is_nil(row.name:find "[%c]")
      end
      local text = refused("a1b2", "ESRCH")
      assert.is_nil(text:find "[%c]", text)
    end)

    it("lead nowhere on the host by the symlinks of their root, and end no reader", function()
      local jail = dir .. "/jail"
      helper.sh(("mkdir -p %s/etc %s/dev && echo inner > %s/etc/name && ln -s /etc/name %s/etc/absolute && ln -s ../../../../../../etc/passwd "
        .. "%s/etc/up && ln -s /proc/self/root/etc/passwd %s/etc/magic && mkfifo %s/etc/fifo && truncate -s 5G %s/etc/huge && ln -s loop %s/etc/loop")
        :format(jail, jail, jail, jail, jail, jail, jail, jail, jail))
      local read = require "nslua.core".foreign.read
      assert.equal("inner\n", (read(jail, "/etc/absolute", 100)))
      for path, code in pairs { up = "ENOENT", magic = "ENOENT", fifo = "EINVAL", loop = "ELOOP" } do
        local text, _, errno = read(jail, "/etc/" .. path, 100)
        assert.is_nil(text)
        assert.equal(require "nslua.core".errno[code], errno, path)
      end
      assert.is_nil((read(jail, "/etc", 100)))
      local text, more = read(jail, "/etc/huge", 100)
      assert.same({ 100, true }, { #text, more })
      text, more = read(jail, "/etc/name", 6)
      assert.same({ "inner\n", false }, { text, more })
      for _, path in ipairs { "/proc/sys/net/ipv4/ip_default_ttl", "/sys/class/net/lo/mtu" } do
        assert.is_string((read("/", path, 99)))
        local none, _, errno = read("/", path, 99, true)
        assert.is_nil(none)
        assert.equal(require "nslua.core".errno.EINVAL, errno)
      end
      assert.equal("inner\n", (read(jail, "/etc/name", 99, true)))
      local endless, rest = read("/", "/proc/self/pagemap", 999) -- one more is asked for, and it gives words of 8
      assert.same({ 999, true }, { #endless, rest })
    end)

    it("are runc's, where runc and crun both have the id", function()
      local p = helper.held(ns.spawn { "sleep", "600" })
      at.write("/run/crun/both/status", ('{"pid":%d,"process-start-time":%d}'):format(p.pid, started(p.pid)))
      at.write("/run/runc/both/state.json", ('{"init_process_pid":%d,"init_process_start":%d}'):format(p.pid, started(p.pid)))
      local rows = list()
      assert.same({ 1, "runc" }, { #rows, rows[1].engine })
      assert.equal("crun", find "crun:both".engine)
    end)

    it("are two where two have a name that is an id", function()
      local p = helper.held(ns.spawn { "sleep", "600" })
      at.containerd("one", "same", p.pid)
      at.containerd("two", "same", p.pid)
      at.write("/run/crun/same/status", ('{"pid":%d,"process-start-time":%d}'):format(p.pid, started(p.pid)))
      local _, by = list { all = true }
      assert.same({ "containerd", "containerd", "crun" }, { by["one/same"].engine, by["two/same"].engine, by.same.engine })
      local text = refused("same", "ENOTUNIQ")
      assert.matches("containerd:one/same .*containerd:two/same .*crun:same", text)
      assert.matches("containerd:one/same", (refused("one/same", "ESRCH"))) -- its process is in no cgroup of that name
      assert.equal(p.pid, find("crun:same").pid)
    end)

    it("are nobody's of another user who has their id", function()
      at.docker(A, "mine", 0)
      at.write("/etc/passwd", "mallory:x:4711:4711::/home/mallory:/bin/sh\n")
      local function yours(plan, state)
        plan[1], plan[2] = "sleep", "600"
        local p = helper.held(ns.spawn(plan))
        at.docker(A, "yours", p.pid, "/home/mallory/.local/share/docker")
        at.write("/run/user/4711/docker/runtime-runc/moby/" .. A .. "/state.json", ('{"init_process_pid":%d,"init_process_start":%d}')
          :format(p.pid, started(p.pid)))
        local _, by = list { all = true }
        assert.same({ "exited", state, 4711 }, { by.mine.state, by.yours.state, by.yours.uid })
      end
      yours({}, "exited") -- not a process of that user
      refused("yours", "ESRCH")
      refused(A, "ENOTUNIQ")
      refused("mine", "ESRCH")
      if root then
        yours({ uid = 4711 }, "running")
        yours({ unshare = "user", owner = { 4711, 4711 } }, "running")
      end
    end)

    it("have state files of all shapes", function()
      at.write("/run/runc/a/state.json", "[1,2,3]")
      at.write("/run/runc/b/state.json", '{"init_process_pid":-4,"init_process_start":"x"}')
      at.write("/run/crun/c/status", '{"pid":1e300}')
      at.write("/run/crun/d/status", ("["):rep(20000))
      at.write("/var/lib/docker/containers/" .. A .. "/config.v2.json", '{"State":7,"Name":{"a":1},"Config":[]}')
      at.write("/var/lib/docker/containers/" .. B .. "/config.v2.json", "\0\255")
      at.write("/var/lib/containers/storage/overlay-containers/containers.json", '[{"id":7},4,{"id":"ab","names":{"x":1},"metadata":"{"}]')
      at.write("/run/systemd/machines/m", "LEADER=abc\n\0")
      helper.sh(("d=%s/run/containerd/io.containerd.runtime.v2.task/default && mkdir -p $d && mkfifo $d/x"):format(dir))
      local rows, _, problems = list { all = true }
      assert.is_true(#rows >= 3)
      assert.is_true(#problems >= 2, table.concat(problems, "\n"))
      for _, row in ipairs(rows) do
        assert.is_nil(row.pid)
      end
    end)

    it("have pids that are none, and hide no other container", function()
      for i, pid in ipairs { "0", "1e15", "4294967297", "2147483648" } do
        at.write(("/run/runc/r%d/state.json"):format(i), ('{"init_process_pid":%s}'):format(pid))
        at.write(("/run/systemd/machines/m%d"):format(i), "LEADER=" .. pid .. "\nCLASS=container\n")
      end
      at.containerd("default", "none", 0)
      at.containerd("default", "many", 99999999999)
      at.podman { { id = A, name = "zero", pid = 0 }, { id = B, name = "beyond", pid = 4294967297 } }
      at.write("/var/lib/docker/containers/" .. C .. "/config.v2.json", '{"State":{"Pid":4294967297,"Running":true},"Config":{}}')
      local rows, by = list { all = true }
      assert.equal(9, #rows) -- and no machines: such a file is of none that runs
      for _, row in ipairs(rows) do
        assert.is_nil(row.pid)
      end
      assert.same({}, by[C:sub(1, 12)].names)
      refused("zero", "ESRCH")
      refused("default/many", "ESRCH")
      refused("r3", "ESRCH")
      refused("m1", "ENOENT")
    end)

    it("end while they are looked at: an error, and no waiting", function()
      if not needs_cgroups() then
        return
      end
      local pid, _, p = layout.process(A, nil, { unshare = "net" })
      at.docker(A, "web", pid)
      local c = find "web"
      p:kill "KILL"
      p:wait()
      assert.is_false(c:running())
      helper.fails("ESRCH", c.run, c, { "true", join = "all" })
      helper.fails("ESRCH", c.read_file, c, "/etc/hosts")
      assert.equal("lo", c.link:get(1).name) -- the handle holds the network
      assert.is_true(c:run { "true" }.ok)
      refused("web", "ESRCH")
    end)
  end)

  it("whose daemon must be asked are asked briefly, and one that hangs is said", function()
    if not helper.has "python3" then
      return pending "no python3 here"
    end
    local pid, id
    if root then
      pid, id = layout.process(A)
    else
      pid, id = 1, A
    end
    helper.sh("mkdir -p " .. dir .. "/run/podman")
    local server = helper.held(ns.spawn { "python3", "-c", ([[
import json, os, socket, sys, threading, time
def drip(c):
    try:
        while True:
            c.sendall(b"H"); time.sleep(0.1)
    except OSError:
        pass
socks = []
for path in ("docker.sock", "podman/podman.sock"):
    s = socket.socket(socket.AF_UNIX); s.bind(%q + "/run/" + path); s.listen(5); socks.append(s)
print("ready", flush=True)
hang = []
while True:
    c, _ = socks[0].accept()
    line = c.recv(4096).split(b"\r\n")[0].decode()
    if "/containers/hang/" in line:
        hang.append(c); continue
    if "/containers/drip/" in line:
        threading.Thread(target=drip, args=(c,), daemon=True).start(); continue
    ok = "/containers/web/json" in line
    body = json.dumps({"Id": %q, "Name": "/web", "State": {"Running": True, "Pid": %d}, "Config": {"Image": "busybox"}}) if ok else '{"message":"no"}'
    c.sendall(("HTTP/1.0 %%s\r\nContent-Type: application/json\r\n\r\n" %% ("200 OK" if ok else "404 Not Found") + body).encode()); c.close()
]]):format(dir, id, pid), stdout = "pipe" })
    assert.equal("ready", server.stdout:read "l")
    if root then
      local c = find "docker:web"
      assert.same({ "docker", pid, "busybox" }, { c.engine, c.pid, c.image })
    else
      assert.matches("web", (refused("docker:web", "ESRCH")))
    end
    refused("docker:other", "ENOENT")
    for _, name in ipairs { "hang", "drip" } do
      local text = refused("docker:" .. name, "ENOENT")
      assert.matches("docker.sock: no answer within 2 s", text)
    end
  end)

  it("are listed and entered by commands", function()
    local out, ok = helper.sh(HOST .. " containers --help")
    assert.is_true(ok)
    assert.matches("print JSON", out)
    local name = "nslua-spec-" .. math.random(1, 1 << 30)
    local _, _, status = helper.sh(HOST .. " enter " .. name .. " true")
    assert.equal(125, status)
    _, _, status = helper.sh(HOST .. " enter")
    assert.equal(125, status)
    out = helper.sh(HOST .. " enter 123456789012 true 2>&1") -- what an id may begin with
    assert.is_nil(out:find("is not a pid", 1, true), out)
    assert.matches("no such container, and no such name in /run/netns", out)
    if helper.is_root() then
      helper.held(ns.netns.add(name .. "a"))
      finally(function()
        ns.netns.delete(name .. "a")
      end)
      assert.matches(("; did you mean '%sa'?"):format(name), (helper.sh(HOST .. " enter " .. name .. "b true 2>&1")), 1, true)
    end
    for _, words in ipairs { "enter lxq:web true", "show lxq:web", "sockets lxq:web", "ping lxq:web ::1" } do
      assert.matches("unknown container engine 'lxq' %(did you mean 'lx[cd]'%?%)", (helper.sh(HOST .. " " .. words .. " 2>&1")))
    end
    for words, message in pairs { foo = "no name is taken here: foo", ["-qj"] = "exclude each other" } do
      assert.matches(message, (helper.sh(HOST .. " containers " .. words .. " 2>&1")))
    end
    assert.is_truthy((helper.sh(HOST .. " show netns:" .. name .. " 2>&1")):find("(/run/netns/" .. name .. ")", 1, true))
    if not needs_cgroups() then
      return
    end
    local id = helper.sh "od -An -tx1 -N32 /dev/urandom":gsub("%s", "")
    local pid = layout.process(id, nil, { unshare = "net,uts,pid,mount", init = true, hostname = "inner", mount_proc = true })
    local short = id:sub(1, 16)
    out = helper.sh(("%s containers -q"):format(HOST))
    assert.is_truthy(("\n" .. out .. "\n"):find("\n" .. id .. "\n", 1, true), out)
    local j = require "dkjson".decode((helper.sh(HOST .. " containers -j")))
    local mine
    for _, row in ipairs(j) do
      mine = mine or row.id == id and row
    end
    assert.same({ "unknown", pid, "running", false }, { mine.engine, mine.pid, mine.state, mine.host_network })
    local net, uts = helper.sh(("readlink /proc/%d/ns/net"):format(pid)), helper.sh(("readlink /proc/%d/ns/uts"):format(pid))
    local function enter(words)
      return helper.sh(("%s enter %s"):format(HOST, words))
    end
    assert.equal(net, (enter(short .. " readlink /proc/self/ns/net")))
    assert.equal(helper.sh "readlink /proc/self/ns/mnt" ~= "", enter(short .. " hostname") ~= "inner")
    assert.equal("inner", (enter("-a " .. short .. " hostname")))
    assert.equal(uts, (enter("-a " .. short .. " readlink /proc/self/ns/uts")))
    assert.equal("X=1", (enter("-a -e X=1 " .. short .. " sh -c 'echo X=$X'")))
    assert.equal("inner /proc/1/root " .. net, (enter("-t " .. short .. " sh -c 'echo $(hostname) $CONTAINER_ROOT $(readlink /proc/1/ns/net)'")))
    assert.equal(helper.sh "cat /etc/os-release", (enter("-t " .. short .. " cat /etc/os-release")))
    assert.equal("/tmp", (enter("-w /tmp " .. short .. " pwd")))
    for _, how in ipairs { "", "-t ", "-a " } do
      assert.equal("nslua enter: --workdir /no/dir: No such file or directory", (enter(how .. "-w /no/dir " .. short .. " true 2>&1")))
    end
    assert.matches("failed to execute no%-such%-program: ", (enter(short .. " no-such-program 2>&1")))
    for words, want in pairs { [" sh -c 'exit 7'"] = 7, [" no-such-program"] = 127, [" /etc"] = 126, [" sh -c 'kill -9 $$'"] = 137 } do
      _, _, status = enter(short .. words)
      assert.equal(want, status, words)
    end
    assert.equal(net, (helper.sh(("%s -n %s -e 'print(require \"nslua.core\".file.readlink \"/proc/self/ns/net\")'"):format(HOST, short))))
    assert.matches("lo", (helper.sh(("%s link list -n %s"):format(HOST, short))))
    assert.equal(net, (helper.sh(("%s nsenter -t %s -n readlink /proc/self/ns/net"):format(HOST, short))))
  end)
end)
