-- Namespaces of all types: open, what they are, current, setns, unshare, list. Oracles: readlink(1), lsns(8), unshare(1), /proc.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"

local words = { cgroup = "cgroup", ipc = "ipc", mount = "mnt", net = "net", pid = "pid", time = "time", user = "user", uts = "uts" }

-- Run a script in an interpreter of its own (what it does to itself stays there), behind a command such as unshare(1).
local function child(script, wrapper)
  return helper.sh(("%s env %s - <<'END'\nlocal ns = require 'nslua'\n%s\nEND\n"):format(wrapper or "", helper.lua, script))
end

local function inode_of(pid, t)
  return tonumber(helper.sh(("readlink /proc/%s/ns/%s"):format(pid, words[t])):match "%[(%d+)%]")
end

local fails = helper.fails

-- A process in namespaces of its own, if this user may make them; stopped at the end of the test.
local function other(options)
  local p = io.popen(("exec unshare %s sh -c 'echo $$; exec sleep 60'"):format(options))
  local pid = tonumber(p:read "*l")
  finally(function()
    if pid then
      helper.sh("kill " .. pid)
    end
    p:close()
  end)
  if pid then
    helper.becomes(pid, "sleep")
  end
  return pid
end

describe("namespaces of each type", function()
  for t, word in pairs(words) do
    it("open: this thread's " .. t, function()
      local link = helper.sh(("readlink /proc/%d/ns/%s"):format(tonumber(core.file.readlink "/proc/self"), word))
      local pid = tonumber(core.file.readlink "/proc/self")
      for _, target in ipairs { pid, "pid:" .. pid, "/proc/self/ns/" .. word, "/proc/thread-self/ns/" .. word } do
        local h = ns.namespace.open(target, t)
        assert.equal(t, h.type)
        assert.equal(link, ("%s:[%d]"):format(word, h.inode))
        assert.equal(h, ns.namespace.current(t))
        assert.is_true(h:close())
      end
    end)

    it("open: a " .. t .. " namespace by its 64-bit id, and by no other", function()
      local own = ns.namespace.current(t)
      local id = own.id
      if not id then
        own:close()
        assert.matches("Linux 6.18", fails("EOPNOTSUPP", ns.namespace.open, "id:1", t))
        return
      end
      local h = ns.namespace.open(("id:%s"):format(tostring(id)), t)
      assert.equal(own, h)
      assert.equal(t, h.type)
      h:close()
      own:close()
      assert.matches("no " .. t .. " namespace with this id", fails("ENOENT", ns.namespace.open, "id:999999999999", t))
      fails("ERANGE", ns.namespace.open, "id:99999999999999999999999", t)
      local another = ns.namespace.current(t == "net" and "uts" or "net")
      local ok = pcall(ns.namespace.open, "id:" .. tostring(another.id), t)
      another:close()
      assert.is_false(ok)
    end)

    it("tell of " .. t .. " what ioctl_nsfs(2) tells", function()
      local h = ns.namespace.current(t)
      local device = helper.sh(("stat -Lc %%d /proc/self/ns/%s"):format(word))
      assert.equal(tonumber(device), h.device)
      assert.is_true(h.id == nil or h.id > 0)
      if t == "user" then
        assert.is_true(h.owner_uid >= 0)
      else
        assert.is_nil(h.owner_uid)
        assert.equal(inode_of("self", "user"), h.owner.inode)
        assert.equal("user", h.owner.type)
      end
      local owner = h.owner
      h:close()
      assert.is_true(owner == nil or not owner:isopen())
    end)
  end

  it("open from a process in others", function()
    local pid = other "-Ur -muipnC"
    if not pid then
      pending "no user namespaces here"
      return
    end
    local outer = ns.namespace.current "user"
    for _, t in ipairs { "user", "mount", "uts", "ipc", "net", "cgroup" } do
      local h = ns.namespace.open(pid, t)
      assert.equal(inode_of(pid, t), h.inode)
      assert.are_not.equal(h, ns.namespace.current(t))
      if t == "user" then
        assert.equal(outer, h.parent)
        assert.equal(outer, h.owner)
        assert.equal(tonumber((helper.sh "id -u")), h.owner_uid)
      else
        assert.equal(inode_of(pid, "user"), h.owner.inode)
      end
      h:close()
    end
    outer:close()
  end)

  it("know their parent only as far as this process sees", function()
    assert.is_nil(ns.namespace.current("user").parent)
    assert.is_nil(ns.namespace.current("pid").parent)
    assert.is_nil(ns.namespace.current("net").parent)
  end)
end)

describe("namespace.open", function()
  it("takes a pidfd, an fd, an fd number and an object with a pidfd", function()
    local pid = tonumber(core.file.readlink "/proc/self")
    local pidfd = assert(core.namespace.pidfd(pid))
    local here = ns.namespace.current "uts"
    assert.equal(here, ns.namespace.open(pidfd, "uts"))
    assert.equal(here, ns.namespace.open({ pidfd = pidfd }, "uts"))
    assert.equal(here, ns.namespace.open(here.fd, "uts"))
    assert.equal(here, ns.namespace.open("fd:" .. here.fd:number(), "uts"))
    assert.is_true(rawequal(here, ns.namespace.open(here, "uts")))
    pidfd:close()
    here:close()
  end)

  it("takes mnt for mount", function()
    assert.equal("mount", ns.namespace.open("self", "mnt").type)
  end)

  it("refuses what is no namespace, or one of another type", function()
    assert.matches("/etc/passwd is not a namespace", fails("EINVAL", ns.namespace.open, "/etc/passwd", "uts"))
    assert.matches("is a ipc namespace, not uts", fails("EINVAL", ns.namespace.open, "/proc/self/ns/ipc", "uts"))
    assert.matches("fd 0 is not a namespace", fails("EINVAL", ns.namespace.open, "fd:0", "net"))
    fails("EBADF", ns.namespace.open, "fd:9999", "net")
    fails("ENOENT", ns.namespace.open, "/nowhere", "uts")
  end)

  it("does not wait for a fifo nor open a device", function()
    local name = os.tmpname()
    os.remove(name)
    helper.sh("mkfifo " .. name)
    finally(function() os.remove(name) end)
    fails("EINVAL", ns.namespace.open, name, "net")
    fails("EINVAL", ns.namespace.open, "/dev/null", "net")
  end)

  it("says of a dead pid that it is dead", function()
    local p = io.popen "echo $$"
    local pid = tonumber(p:read "*l")
    p:close()
    assert.matches(("in pid %d: ESRCH"):format(pid), fails("ESRCH", ns.namespace.open, pid, "net"))
    fails("ESRCH", ns.namespace.open, "pid:2147483647", "net")
  end)

  it("never opens the namespace of a process that got a dead one's pid", function()
    local p = io.popen "echo $$; exec sleep 60"
    local pid = p:read "*l"
    local pidfd = assert(core.namespace.pidfd(tonumber(pid)))
    assert.is_true(core.namespace.pidfd_alive(pidfd))
    helper.sh("kill " .. pid)
    p:close() -- reaps it: its number is free now
    fails("ESRCH", ns.namespace.open, pidfd, "net")
    pidfd:close()
  end)

  it("raises misuse at the caller's line", function()
    local ok, e = pcall(function() ns.namespace.open(1, "nte") end)
    assert.is_false(ok)
    assert.matches("namespace_spec.lua:%d+: namespace.open: unknown namespace type 'nte' %(did you mean 'net'%?%)", e)
    assert.matches("is not a pid", select(2, pcall(ns.namespace.open, -1, "net")))
    assert.matches("a uts namespace expected", select(2, pcall(ns.namespace.open, ns.namespace.current "ipc", "uts")))
    assert.matches("handle, pid, path or name expected, got boolean", select(2, pcall(ns.namespace.open, true, "net")))
    local closed = core.fd.open("/dev/null", "r")
    closed:close()
    for what, try in pairs { ["join: 1.5 is not a pid"] = function() ns.run { "true", join = 1.5 } end,
      ["join: %-1 is not a pid"] = function() ns.run { "true", join = -1 } end, ["setns: 1.5 is not a pid"] = function() ns.setns(1.5, "net,uts") end,
      ["setns: attempt to use a closed fd"] = function() ns.setns(closed, "net,uts") end,
      ["not a file descriptor"] = function() ns.namespace.open("fd:99999999999", "net") end,
      ["closed fd"] = function() ns.namespace.open(closed, "net") end } do
      assert.matches("namespace_spec.lua:%d+: .*" .. what, tostring(select(2, pcall(try))))
    end
    local f = io.open "/proc/self/ns/net" -- a Lua file is an fd, too
    local h = ns.namespace.open(f, "net")
    assert.equal(inode_of("self", "net"), h.inode)
    h:close()
    f:close()
  end)

  it("has handles that close once and are closed then", function()
    local h = ns.namespace.current "net"
    assert.is_true(h:close())
    assert.is_true(h:close())
    assert.is_false(h:isopen())
    assert.matches("closed", tostring(h))
    assert.matches("is closed", select(2, pcall(ns.setns, h)))
    assert.matches("is closed", select(2, pcall(h.raw_socket, h, 2, 1, 0)))
  end)
end)

describe("unshare and setns", function()
  it("change the calling process, and back", function()
    local out = child [[
      ns.unshare "user"
      local before = ns.namespace.current "net"
      ns.unshare { "net", "uts", "mnt" }
      local new = ns.namespace.current "net"
      print(before == new)
      local uts = ns.namespace.current "uts"
      ns.unshare "uts"
      print(uts == ns.namespace.current "uts")
      ns.setns(uts)
      print(uts == ns.namespace.current "uts")
      print(ns.setns(uts, "uts"), select(2, pcall(ns.setns, uts, "net")))]]
    assert.matches("^false\nfalse\ntrue\ntrue\t.*uts namespace.* is of type uts, not net$", out)
  end)

  it("join several namespaces of a process at once", function()
    local pid = other "-Ur -un"
    if not pid then
      pending "no user namespaces here"
      return
    end
    local out = child(([[
      ns.setns(%d, "user,net,uts")
      print(ns.namespace.current("net").inode, ns.namespace.current("uts").inode, ns.namespace.current("user").inode)]]):format(pid))
    assert.equal(("%d\t%d\t%d"):format(inode_of(pid, "net"), inode_of(pid, "uts"), inode_of(pid, "user")), out)
  end)

  it("say which capability is missing", function()
    local drop = helper.is_root() and "setpriv --reuid 65534 --regid 65534 --clear-groups" or nil
    local out = child("print(select(2, pcall(ns.unshare, 'net')))", drop)
    assert.matches("unshare: EPERM: Operation not permitted %(net%); this process has no CAP_SYS_ADMIN in user:%[%d+%]: run as root", out)
  end)

  it("take types by name, all, or misuse", function()
    local list, flags = ns.namespace.typelist("x", "net, uts,net")
    assert.same({ "net", "uts" }, list)
    assert.equal(core.namespace.flags.net + core.namespace.flags.uts, flags)
    assert.equal(8, #ns.namespace.typelist("x", "all"))
    assert.matches("unknown namespace type 'nett'", select(2, pcall(ns.unshare, "nett")))
    assert.matches("no namespace type given", select(2, pcall(ns.unshare, "")))
    assert.matches("types are needed", select(2, pcall(ns.setns, 1)))
  end)

  it("name the limit that was reached", function()
    local out, ok = child([[
      local f = assert(io.open("/proc/sys/user/max_net_namespaces", "w"))
      f:write "0" f:close()
      print(select(2, pcall(ns.unshare, "net")))
      print(select(2, pcall(ns.netns.new)))]], "unshare -Ur")
    assert.is_true(ok, out)
    for line in out:gmatch "[^\n]+" do
      assert.matches("ENOSPC: .*user.max_net_namespaces = 0", line)
    end
  end)

  it("set and show the offsets of a time namespace", function()
    local out, ok = child([[
      ns.unshare "time"
      ns.namespace.set_time_offsets { monotonic = 86400.25, boottime = -1.5 }
      local o = ns.namespace.time_offsets()
      print(o.monotonic, o.boottime)
      io.write(ns.run { "cat", "/proc/self/timens_offsets", check = true }.stdout)
      print(select(2, pcall(ns.namespace.set_time_offsets, { monotonic = 1 })))]], "unshare -Ur")
    if not ok then
      pending(out)
      return
    end
    assert.matches("^86400.25\t%-1.5\nmonotonic +86400 +250000000\nboottime +%-2 +500000000\n", out)
    assert.matches("EACCES", out)
  end)
end)

describe("namespace.list", function()
  it("finds what lsns(8) finds, with the same processes", function()
    local function lsns()
      local out = {}
      for inode, t, nprocs in helper.sh("lsns -n -o NS,TYPE,NPROCS"):gmatch "(%d+) (%l+) +(%d+)" do
        out[tonumber(inode)] = { t, tonumber(nprocs) }
      end
      return out
    end
    -- Other programs come and go: what stands before and after must stand in the list.
    local before = lsns()
    local found = {}
    for _, row in ipairs(ns.namespace.list()) do
      found[row.inode] = row
    end
    for inode, row in pairs(lsns()) do
      if before[inode] and before[inode][2] > 0 and row[2] > 0 and before[inode][1] == row[1] then
        assert.is_table(found[inode], "not found: " .. inode)
        assert.equal(row[1], words[found[inode].type])
      end
    end
  end)

  it("tells how each was found: process, then fd, with owner and parent", function()
    local pid = other "-Ur -n"
    if not pid then
      pending "no user namespaces here"
      return
    end
    local kept = ns.namespace.open(pid, "net")
    local list = ns.namespace.list { type = "net,user" }
    local rows = {}
    for _, row in ipairs(list) do
      rows[row.inode] = row
      assert.is_true(row.type == "net" or row.type == "user")
    end
    local net, user = rows[kept.inode], rows[kept.owner.inode]
    assert.equal("process", net.how_found)
    assert.equal(1, net.nprocs)
    assert.equal(pid, net.pid)
    assert.matches("sleep 60", net.command)
    assert.equal(kept.owner.inode, net.owner)
    assert.equal(kept.id, net.id)
    assert.equal(inode_of("self", "user"), user.parent)
    helper.sh("kill " .. pid)
    core.fd.poll({ { assert(core.namespace.pidfd(pid)), "r" } }, 5)
    local left
    for _, row in ipairs(ns.namespace.list { type = "net" }) do
      left = row.inode == kept.inode and row or left
    end
    assert.equal("fd", left.how_found)
    assert.equal(0, left.nprocs)
    kept:close()
  end)

  it("says whether it is complete", function()
    local list = ns.namespace.list { type = "uts" }
    assert.equal(list.unreadable == 0, list.complete)
    local drop = helper.is_root() and "setpriv --reuid 65534 --regid 65534 --clear-groups" or nil
    assert.equal("false\ttrue", (child("local l = ns.namespace.list() print(l.complete, l.unreadable > 0)", drop)))
  end)
end)
