-- Real containerd without an engine above it, from the host: containers that ctr made of an imported image. containerd of Debian runs in mount and
-- network namespaces of its own, with its state where it is by default and all else in a temporary folder.

local dkjson = require "dkjson"
local h = require "spec.helper"
local ns = require "nslua"

local HOST = "build/bin/nslua"

-- What it takes, probed: nil, or why it cannot run here.
local function obstacle()
  if not h.is_root() then
    return "needs root: containerd"
  end
  for _, tool in ipairs { "containerd", "ctr", "containerd-shim-runc-v2", "runc", "busybox", "nsenter", "tar", "sha256sum" } do
    if not h.has(tool) then
      return tool .. " is not installed (apt-get install containerd runc busybox-static)"
    end
  end
  if not h.sh("ldd $(command -v busybox)"):find("not a dynamic executable", 1, true) then
    return "busybox is not static (apt-get install busybox-static)"
  end
end

-- An image as `docker save` writes it: one layer, a description, a list of both.
local IMAGE = [[
set -e
cd "$1"
mkdir -p layer/bin layer/etc image
cp -L "$(command -v busybox)" layer/bin/busybox
echo 'of the container' > layer/etc/motd
tar -C layer -cf image/layer.tar .
sum=$(sha256sum < image/layer.tar | cut -d' ' -f1)
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
echo "{\"architecture\":\"$arch\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$sum\"]}}" > image/config.json
echo '[{"Config":"config.json","RepoTags":["localhost/busybox:1"],"Layers":["layer.tar"]}]' > image/manifest.json
tar -C image -cf image.tar manifest.json config.json layer.tar
]]

describe("containerd", function()
  local why = obstacle()
  if why then
    return pending(why)
  end

  local dir, daemon, name

  -- In the namespaces of the daemon.
  local function inside(words)
    local r = ns.run { "sh", "-c", words, join = { mount = daemon.pid, net = daemon.pid }, cwd = "/", timeout = 60 }
    return (r.stdout .. r.stderr):gsub("\n$", ""), r.status
  end
  local function ctr(words)
    local out, status = inside(("ctr -a %s/sock -n %s %s"):format(dir, name, words))
    assert(status == 0, "ctr " .. words .. ": " .. out)
    return out
  end
  local function nslua(words)
    return inside(("%s/%s %s"):format(h.sh "pwd", HOST, words))
  end
  local function start(id, options)
    ctr(("run -d --snapshotter native %s localhost/busybox:1 %s /bin/busybox sleep 600"):format(options or "", id))
  end
  local function remove(id)
    inside(("ctr -a %s/sock -n %s task rm -f %s; ctr -a %s/sock -n %s container rm %s"):format(dir, name, id, dir, name, id))
  end
  local function pid_of(id)
    return tonumber(ctr "task ls":match("%f[%w]" .. id .. "%s+(%d+)"))
  end
  local function begin()
    daemon = ns.spawn { "sh", "-c", ([[mount -t tmpfs tmpfs /run && ip link set lo up && cd %s && exec containerd --root %s/root --address %s/sock \
      --config %s/config.toml]]):format(dir, dir, dir, dir), unshare = "net,mount", propagation = "private", stdout = { file = dir .. "/log" },
      stderr = { file = dir .. "/log", append = true } }
    assert(ns.eventually(function()
      return select(2, inside(("ctr -a %s/sock version"):format(dir))) == 0 or daemon:wait(0)
    end, 60) and not daemon:wait(0), "containerd did not start: " .. h.sh("tail -n 5 " .. dir .. "/log"))
  end

  setup(function()
    dir = h.sh "mktemp -d /tmp/nslua-containerd.XXXXXX"
    name = "nslua" .. dir:match "%.(%w+)$" -- a namespace of containerd's own kind, and what its cgroups are in
    local f = assert(io.open(dir .. "/config.toml", "w"))
    -- what of it would look at the machine's own networks, disks and kernel modules
    f:write 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", '
    f:write '"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.overlayfs"]\n'
    f:close()
    local r = ns.run { "sh", "-c", IMAGE, "sh", dir }
    assert(r.ok, r.stderr)
    begin()
    ctr(("image import --snapshotter native %s/image.tar"):format(dir))
  end)

  teardown(function()
    for _, id in ipairs { "web", "helper", "hosty", "gone" } do
      remove(id)
    end
    daemon:kill "TERM"
    daemon:wait(20)
    daemon:close()
    h.sh(("find /sys/fs/cgroup -depth -type d -path '*/%s*' -exec rmdir {} +; rm -rf %s"):format(name, dir))
    assert.falsy(h.sh("ps axww -o stat,args"):find("\n[^Z\n][^\n]*" .. dir:gsub("%p", "%%%0")), "a process of the daemon is left")
    assert.falsy(h.state():find "nslua%-containerd", "a mount of the daemon is left")
  end)

  it("has containers that are found, listed and entered, with the daemon running or stopped", function()
    start "web"
    local pid = pid_of "web"
    local net = h.sh(("readlink /proc/%d/ns/net"):format(pid))
    start("helper", ("--with-ns network:/proc/%d/ns/net"):format(pid))
    start("hosty", "--net-host")
    local function all()
      for _, word in ipairs { "web", "containerd:web", name .. "/web", ("containerd:%s/web"):format(name) } do
        assert.equal(net, (nslua("enter " .. word .. " readlink /proc/self/ns/net")), word)
      end
      assert.equal("of the container", (nslua "enter -a web /bin/busybox cat /etc/motd"))
      assert.equal("of the container", (nslua "enter -t web cat /proc/1/root/etc/motd"))
      local by = {}
      for _, row in ipairs(dkjson.decode((nslua "containers -j"))) do
        by[row.names[1] or ""] = row -- others may have no name
      end
      local web, helper, hosty = by[name .. "/web"], by[name .. "/helper"], by[name .. "/hosty"]
      assert.same({ "containerd", "running", pid, { name .. "/helper" } }, { web.engine, web.state, web.pid, web.shares })
      assert.same({ web.netns, { name .. "/web" } }, { helper.netns, helper.shares })
      assert.same({ true, {} }, { hosty.host_network, hosty.shares })
    end
    all()
    daemon:kill "STOP"
    finally(function()
      daemon:kill "CONT"
    end)
    all()
  end)

  it("has containers that do not run, and run again", function()
    start "gone"
    local before = pid_of "gone"
    ctr "task kill -s KILL gone"
    assert(ns.eventually(function()
      return h.sh(("cat /proc/%d/stat 2>/dev/null"):format(before)) == ""
    end, 20))
    local out, status = nslua "enter gone true"
    assert.equal(125, status)
    assert.matches("is not running", out)
    assert.is_nil((nslua "containers"):find("/gone", 1, true))
    assert.matches("/gone +containerd +gone +%l+", (nslua "containers -a"))
    ctr "task rm gone"
    out, status = nslua "enter gone true"
    assert.equal(125, status)
    assert.matches("no such container", out)
    ctr "task start -d gone"
    assert.equal(h.sh(("readlink /proc/%d/ns/net"):format(pid_of "gone")), (nslua "enter gone readlink /proc/self/ns/net"))
  end)
end)
