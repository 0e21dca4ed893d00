-- Containers of a user namespace of their own, as engines without root make them, looked at by who made them: without root the owner's rights there
-- are taken first. As root nothing else is needed, and the same comes out.

local helper = require "spec.helper"
local ns = require "nslua"

local HOST = "build/bin/nslua"

describe("a container in a user namespace", function()
  local why = not helper.has "ip" and "no ip(8) here" or not helper.has "python3" and "no python3 here"
  if not why and not helper.is_root() and not select(2, helper.sh "unshare -Urn true") then
    why = "no right to make a user namespace"
  end
  if why then
    return pending(why)
  end

  local p

  setup(function()
    p = ns.spawn { "python3", "-c", [[
import socket, subprocess, sys
subprocess.run("ip link set lo up && ip address add 10.9.0.1/24 dev lo", shell=True, check=True)
s = socket.create_server(("10.9.0.1", 8080))
print("ready", flush=True)
sys.stdin.read()
]], unshare = "user,net,mount,pid", map_users = "root", mount_proc = true, stdin = "pipe", stdout = "pipe" }
    assert.equal("ready", p.stdout:read "l")
  end)
  teardown(function()
    p:close()
  end)

  local function nslua(words)
    local r = ns.run { "sh", "-c", HOST .. " " .. words:gsub("PID", ("pid:%d"):format(p.pid)), timeout = 20 }
    assert.equal("", r.stderr)
    return r.stdout
  end

  it("is entered", function()
    assert.matches("^lo +UNKNOWN +127.0.0.1/8 10.9.0.1/24", (nslua "enter PID ip -br address"))
    local inode = nslua "enter PID readlink /proc/self/ns/net"
    assert.equal(helper.sh(("readlink /proc/%d/ns/net"):format(p.pid)) .. "\n", inode)
    assert.equal("1\n", (nslua "enter -t PID sh -c 'test -e $CONTAINER_ROOT/bin && ls -d /proc/1 | wc -l'"))
    assert.equal("0\n", (nslua "enter -a PID id -u"))
  end)

  it("is looked at", function()
    assert.matches("\n +%d+ lo +up ", (nslua "link list -n PID"))
    assert.matches("lo +up .*10%.9%.0%.1/24", (nslua "address -n PID"))
    assert.matches(("10%%.9%%.0%%.1:8080 .*python3.,pid=%d,"):format(p.pid), (nslua "sockets -tlnp PID"))
    assert.matches("10%.9%.0%.1 +10%.9%.0%.1 +1 +1 +0%%", (nslua "ping -c 1 PID 10.9.0.1"))
    assert.matches("10%.9%.0%.1:8080", (nslua "show PID"))
  end)

  it("is captured from", function()
    local a <close> = ns.netns.open(p.pid)
    local capture <close> = a:capture {}
    assert.equal(0, a:ping("10.9.0.1", { count = 1 }).loss)
    local packet = capture:next(10)
    assert.equal("lo", packet.dev)
  end)

  it("is changed", function()
    local a <close> = ns.netns.open(p.pid)
    a.link:add { name = "d0", kind = "veth", peer = { name = "d1" } }
    a:sysctl("net.ipv4.ip_forward", 1)
    assert.equal(1, a:sysctl "net.ipv4.ip_forward")
    assert.equal("d0", a:output { "sh", "-c", "ip -br link show d0 | cut -d@ -f1" })
    a.link:delete "d0"
  end)
end)
