-- A podman container without a network is given one from the host. podman runs in mount and network namespaces of its own, with every
-- file in a temporary folder.

local h = require "spec.helper"
local ns = require "nslua"

local function obstacle()
  if not h.is_root() then
    return "needs root: podman without it wants newuidmap and a home"
  end
  for _, tool in ipairs{ "podman", "conmon", "runc", "busybox", "nsenter" } do
    if not h.has(tool) then
      return tool .. " is not installed (apt-get install podman runc busybox-static)"
    end
  end
  if not h.sh("ldd $(command -v busybox)"):find("not a dynamic executable", 1, true) then
    return "busybox is not static (apt-get install busybox-static)"
  end
end

describe("a podman container", function()
  local why = obstacle()
  if why then
    return pending(why)
  end

  local dir, place
  local function podman(command)
    return h.sh(([[nsenter -t %d -m -n podman --root %s/root --runroot %s/run --tmpdir %s/tmp --storage-driver vfs \
      --runtime $(command -v runc) --cgroup-manager cgroupfs --events-backend none %s]]):format(place.pid, dir, dir, dir, command))
  end

  setup(function()
    dir = h.sh "mktemp -d /tmp/nslua-podman.XXXXXX"
    place = ns.spawn{ "sh", "-c", "mount -t tmpfs tmpfs /run && echo ready && exec sleep 600", unshare = "net,mount", propagation = "private",
      stdout = "pipe" }
    assert.equal("ready", place.stdout:read "l")
    h.sh(([[cd %s && mkdir -p rootfs/bin rootfs/www && cp -L $(command -v busybox) rootfs/bin/busybox && echo hello > rootfs/www/index.html]])
      :format(dir))
  end)
  teardown(function()
    podman "rm -a -f -t 0"
    place:kill "KILL"
    place:wait()
    place:close()
    h.sh("find /sys/fs/cgroup -depth -type d -path '*libpod_parent*' -exec rmdir {} + ; rm -rf " .. dir)
    assert.falsy(h.state():find "podman", "a mount of podman is left")
  end)

  it("is given a network from outside, and serves in it", function()
    -- Limits are given: the defaults want CAP_SYS_RESOURCE.
    local out, ok = podman(([[run -d --name web --network none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 \
      --cgroup-parent libpod_parent --rootfs %s/rootfs /bin/busybox httpd -f -p 80 -h /www]]):format(dir))
    assert(ok, out)
    local pid = tonumber((podman "inspect -f '{{.State.Pid}}' web"))
    local c <close> = ns.netns.open(pid)
    assert.equal(h.sh(("nsenter -t %d -n ip -j addr"):format(pid)), (c:run{ "ip", "-j", "addr", timeout = 10 }:check().stdout:gsub("\n$", "")))
    local client <close> = ns.netns.new{ lo = true, label = "client" }
    ns.connect(client, c, { "10.88.0.1/24", "10.88.0.2/24" })
    -- By its name, from podman's files where they are by default, in a mount namespace of this command.
    local script = ([[mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/containers/storage /run/containers/storage &&
      mount --bind %s/root /var/lib/containers/storage && mount --bind %s/run /run/containers/storage &&
      exec %s/build/bin/nslua nsenter "$@"]]):format(dir, dir, h.sh "pwd")
    for _, name in ipairs{ "web", "podman:web" } do
      local r = ns.run{ "sh", "-c", script, "sh", "-t", name, "-n", "readlink", "/proc/self/ns/net", join = { mount = place.pid }, unshare = "mount",
        cwd = "/", timeout = 10 }
      assert.equal(h.sh(("readlink /proc/%d/ns/net"):format(pid)), (r:check().stdout:gsub("\n$", "")))
    end
    local page = client:run{ "busybox", "wget", "-qO-", "http://10.88.0.2/", timeout = 10 }
    assert.equal("hello\n", page:check().stdout)
  end)
end)
