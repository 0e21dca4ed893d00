-- nslua bench/scene.lua sockets|docker|wires|file COUNT: what some rows look at. Says what they have to know when it is there, ends
-- with its input.
--
-- sockets: this process, in a network namespace of its own, with so many TCP sockets open, each connected to another.
-- wires: this process, with so many network namespaces, each wired by a veth to the next and to the one after that.
-- docker: a dockerd with so many running containers of busybox; says its pid, in whose mount namespace its files are where they are by default,
-- and the path of its socket.
-- file: a file in memory of so many megabytes, half of what is free at the most; says its path.
local core = require "nslua.core"
local ns = require "nslua"

local what, count = arg[1], tonumber(arg[2])

local function sh(script, ...)
  local r = ns.run { "sh", "-c", script, "sh", ..., stderr = "capture" }
  return r.ok and (r.stdout:gsub("\n$", "")), r.stderr
end

local scenes = {}

function scenes.sockets()
  assert(core.limits.files(count + 50))
  ns.unshare "net"
  local here <close> = ns.netns.current()
  here.link:change("lo", { up = true })
  local address, kept = core.inet.bytes "127.0.0.1", {}
  local listener <close> = here:socket("inet", "stream")
  assert(core.packet.bind(listener, address, 80))
  assert(core.packet.listen(listener))
  for i = 1, count - 1, 2 do
    local client = here:socket("inet", "stream")
    assert(core.packet.connect(client, address, 80))
    kept[i], kept[i + 1] = client, assert(core.packet.accept(listener))
  end
  print "ready"
  io.stdout:flush()
  io.read "a"
  assert(#kept >= count - 1)
end

function scenes.wires()
  assert(core.limits.files(3 * count + 100))
  local all = {}
  for i = 1, count do
    all[i] = ns.netns.new { lo = true }
  end
  for i = 1, count do
    for step = 1, 2 do
      local far = all[(i - 1 + step) % count + 1]
      all[i].link:add { name = "to" .. step, kind = "veth", up = true, peer = { name = "from" .. step, netns = far } }
      all[i].address:add { ("10.%d.%d.%d/30"):format(step, i >> 8, i & 255), dev = "to" .. step }
      far.link:change("from" .. step, { up = true })
    end
  end
  print "ready"
  io.stdout:flush()
  io.read "a"
end

function scenes.docker()
  local dir = assert(sh "mktemp -d /tmp/nslua-bench.XXXXXX")
  local made_etc = sh "mkdir /etc/docker"
  local docker = "docker -H unix://" .. dir .. "/sock "
  local daemon <close> = ns.spawn { "sh", "-c", [[
    mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/docker && mkdir -p /var/lib/docker "$1/data" && mount --bind "$1/data" /var/lib/docker &&
    ip link set lo up && cd "$1" && exec dockerd --pidfile "$1/pid" --host "unix://$1/sock" --storage-driver vfs \
      --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "${1##*/}" --bip 172.17.0.1/16 --userland-proxy=false \
      --iptables=false --ip6tables=false --ip-masq=false]], "sh", dir, unshare = "net,mount", propagation = "private",
    stdout = { file = dir .. "/log" }, stderr = { file = dir .. "/log", append = true } }
  local ok, message = pcall(function()
    assert(ns.eventually(function()
      return sh(docker .. "version")
    end, 60), "dockerd did not start")
    assert(sh([[cd "$1" && mkdir -p image/bin && cp -L "$(command -v busybox)" image/bin/busybox && tar -C image -c . | ]] .. docker
      .. "import - busybox", dir))
    for i = 1, count do
      assert(sh(docker .. "run -d --name c$1 busybox /bin/busybox sleep 86400", ("%d"):format(i)))
    end
    print(("%d %s"):format(daemon.pid, dir .. "/sock"))
    io.stdout:flush()
    io.read "a"
  end)
  sh(docker .. "rm -f $(" .. docker .. "ps -aq)")
  daemon:kill "TERM"
  daemon:wait(30)
  sh("find /sys/fs/cgroup -depth -type d -name \"${1##*/}\" -exec rmdir {} +; rm -rf \"$1\"" .. (made_etc and "; rmdir /etc/docker" or ""), dir)
  assert(ok, message)
end

function scenes.file()
  local path = ("/dev/shm/nslua-bench-%.0f"):format(ns.clock() * 1e6)
  dofile "bench/filled.lua"(path, count)
  print(path)
  io.stdout:flush()
  io.read "a"
  os.remove(path)
end

assert(scenes[what], "usage: nslua bench/scene.lua sockets|docker|wires|file COUNT")()
