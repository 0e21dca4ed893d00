-- Named network namespaces: /run/netns in both directions with iproute2, its set-up under a lock, stale files, who is inside.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"

local sh = helper.sh
local prefix = "nsn" .. core.file.readlink "/proc/self" .. "-"

if not helper.is_root() then
  describe("named namespaces", function()
    it("need root", function()
      local ok, e = pcall(ns.netns.add, prefix .. "a")
      assert.is_false(ok)
      assert.is_true(ns.error.is(e, "EPERM") or ns.error.is(e, "EACCES"), tostring(e))
    end)
  end)
  return
end

local fails, fresh_run = helper.fails, helper.fresh_run

-- A name of this spec's own, removed at the end of the test.
local names = {}
local function name(suffix)
  names[#names + 1] = prefix .. suffix
  return prefix .. suffix
end
after_each(function()
  for _, n in ipairs(names) do
    pcall(ns.netns.delete, n)
  end
  names = {}
end)

local function row(n)
  for _, r in ipairs(ns.netns.list()) do
    if r.name == n then
      return r
    end
  end
end

local lua = "env " .. helper.lua

describe("names and iproute2", function()
  it("ip sees and deletes ours", function()
    local n = name "a"
    local h = ns.netns.add(n)
    assert.equal(n, h.name)
    assert.matches("^netns " .. prefix, tostring(h))
    assert.matches("%f[^%s%z]" .. n:gsub("%-", "%%-"), "\n" .. sh "ip netns list")
    assert.equal(tostring(h.inode), (sh("ip netns exec " .. n .. " readlink /proc/self/ns/net"):match "%d+"))
    assert.equal("", (sh("ip netns delete " .. n)))
    assert.is_nil(row(n))
    assert.is_true(h:isopen())
    h:close()
  end)

  it("we see and delete those of ip", function()
    local n = name "b"
    sh("ip netns add " .. n)
    local h = ns.netns.open(n)
    assert.equal(h, ns.netns.open("/run/netns/" .. n))
    assert.equal(n, ns.netns.open("/run/netns/" .. n).name)
    assert.same({ name = n, inode = h.inode, alive = true }, row(n))
    h:close()
    assert.is_true(ns.netns.delete(n))
    assert.is_nil((sh "ip netns list"):find(n, 1, true))
  end)

  it("list tells the id that ip tells", function()
    local n = name "c"
    sh("ip netns add " .. n .. "; ip netns set " .. n .. " 4711")
    assert.equal(4711, row(n).id)
  end)

  it("delete of an absent name is ENOENT, add of a present one EEXIST", function()
    local n = name "d"
    fails("ENOENT", ns.netns.delete, n)
    fails("ENOENT", ns.netns.open, n)
    ns.netns.add(n):close()
    local function mounts() return (sh("grep -c /run/netns/" .. n .. " /proc/self/mountinfo")) end
    local before = row(n)
    assert.matches("netns.add in " .. prefix:gsub("%-", "%%-") .. "d: EEXIST: File exists", fails("EEXIST", ns.netns.add, n))
    fails("EEXIST", ns.netns.attach, n, "self")
    assert.same(before, row(n))
    assert.equal("1", mounts())
    assert.matches("File exists", (sh("ip netns add " .. n)))
  end)

  it("lo is up if asked for", function()
    local h = ns.netns.add(name "e", { lo = true })
    assert.is_true(h.link:get("lo").up)
    h:close()
  end)

  it("attach names a namespace that exists, identify gives every name", function()
    local p = io.popen "exec unshare -n sh -c 'echo $$; exec sleep 60'"
    local pid = tonumber(p:read "*l")
    finally(function() sh("kill " .. pid) p:close() end)
    local x, y = name "x", name "y"
    local h = ns.netns.attach(x, pid)
    assert.equal(h, ns.netns.open(pid))
    ns.netns.attach(y, h):close()
    assert.same({ x, y }, ns.netns.identify(pid))
    assert.same({ x, y }, ns.netns.identify(h))
    assert.same({ pid }, ns.netns.pids(x))
    assert.equal(tostring(pid), (sh("ip netns pids " .. y)))
    assert.equal((sh("ip netns identify " .. core.file.readlink "/proc/self")), ns.netns.identify()[1] or "")
    h:close()
  end)
end)

describe("refused names", function()
  for _, bad in ipairs { "", ".", "..", "a/b", "/", ("x"):rep(256), "a\0b" } do
    it(("are as in iproute2: %q"):format(#bad > 20 and #bad .. " bytes" or bad), function()
      for _, fn in ipairs { ns.netns.add, ns.netns.delete } do
        assert.matches("not a name of a network namespace", fails("EINVAL", fn, bad))
      end
      assert.is_false((pcall(ns.netns.open, bad)))
      if not bad:find "%z" then
        assert.is_false(select(2, sh(("ip netns add '%s'"):format(bad))))
      end
    end)
  end

  it("are misuse where they are no text", function()
    assert.matches("a name must be text, got number", select(2, pcall(ns.netns.add, 5)))
  end)

  it("are not those of 16 and 254 or 255 bytes, nor of bytes above 127", function()
    for _, n in ipairs { ("y"):rep(16), ("z"):rep(254), ("z"):rep(255), "\255\254\128", "ö ü", "-a", "a b" } do
      n = (prefix .. n):sub(1, #n < 250 and -1 or #n)
      n = name(n:sub(#prefix + 1))
      local h = ns.netns.add(n)
      assert.equal(h, ns.netns.open(n))
      assert.equal(h.inode, row(n).inode)
      assert.same({ n }, ns.netns.identify(h))
      h:close()
      assert.is_true(ns.netns.delete(n))
      assert.is_nil(row(n))
    end
  end)
end)

describe("what is left behind", function()
  it("is told from what lives, opened with a clear error, taken over by add, removed by delete", function()
    local n = name "stale"
    ns.netns.add(name "first"):close() -- so that the directory is there
    sh("touch /run/netns/" .. n)
    assert.same({ name = n, alive = false }, row(n))
    assert.matches("left behind, no living namespace: ns.netns.delete removes it", fails("EINVAL", ns.netns.open, n))
    assert.is_true(ns.netns.delete(n))
    sh("touch /run/netns/" .. n)
    local h = ns.netns.add(n)
    assert.is_true(row(n).alive)
    assert.equal(h, ns.netns.open(n))
    h:close()
  end)

  it("is taken over also from an iproute2 that died between making and binding", function()
    local n = name "dead"
    ns.netns.add(name "first"):close()
    sh("install -m 0 /dev/null /run/netns/" .. n)
    ns.netns.add(n):close()
    assert.is_true(row(n).alive)
  end)

  it("is not what somebody keeps there: a text, a directory, a link", function()
    ns.netns.add(name "first"):close()
    local n = name "kept"
    sh("echo text > /run/netns/" .. n)
    fails("EEXIST", ns.netns.add, n)
    assert.equal("text", (sh("cat /run/netns/" .. n)))
    sh(("rm /run/netns/%s; mkdir /run/netns/%s"):format(n, n))
    fails("EEXIST", ns.netns.add, n)
    fails("EINVAL", ns.netns.open, n)
    sh(("rmdir /run/netns/%s; ln -s /proc/self/ns/net /run/netns/%s"):format(n, n))
    assert.is_true(row(n).alive)
    fails("EEXIST", ns.netns.add, n)
    assert.is_true(ns.netns.delete(n))
    assert.equal(ns.netns.current(), ns.netns.open "/proc/self/ns/net")
  end)
end)

describe("/run/netns", function()
  it("is set up once: 100 adds at the same time are 100 names and 100 mounts", function()
    local out = fresh_run(([[
      i=0
      while [ $i -lt 10 ]; do
        %s -e 'local ns = require "nslua" for i = 1, 10 do ns.netns.add("p" .. %d .. "-" .. i .. "-" .. arg[1]):close() end' /dev/null $i &
        i=$((i + 1))
      done
      wait
      ls /run/netns | wc -l
      grep -c " /run/netns/p" /proc/self/mountinfo
      grep -c " /run/netns " /proc/self/mountinfo
      ip netns list | wc -l
      %s -e 'local ns = require "nslua" print(#ns.netns.list(), #ns.netns.delete_all(), #ns.netns.list())'
      grep -c " /run/netns/p" /proc/self/mountinfo]]):format(lua, 0, lua))
    assert.equal("100\n100\n1\n100\n100\t100\t0\n0", out)
  end)

  it("is set up together with iproute2", function()
    local out = fresh_run(([[
      i=0
      while [ $i -lt 10 ]; do
        ip netns add q$i &
        %s -e 'require "nslua".netns.add("p" .. arg[1]):close()' /dev/null $i &
        i=$((i + 1))
      done
      wait
      ls /run/netns | wc -l
      grep -c " /run/netns/" /proc/self/mountinfo
      ip -all netns delete
      %s -e 'print(#require "nslua".netns.list())']]):format(lua, lua))
    assert.equal("20\n20\n0", out)
  end)

  it("is a shared mount of its own, so that a name is seen and freed in every mount namespace", function()
    local out = fresh_run(([[
      %s -e 'require "nslua".netns.add "a":close()'
      grep " /run/netns " /proc/self/mountinfo | grep -c shared:
      ip netns add b
      grep -c " /run/netns " /proc/self/mountinfo]]):format(lua))
    assert.equal("1\n1", out)
  end)

  it("is emptied by several at once", function()
    local out = fresh_run(lua .. [==[ -e '
      local ns = require "nslua"
      for i = 1, 60 do ns.netns.add("n" .. i):close() end
      local going, sum = {}, 0
      for i = 1, 4 do going[i] = ns.fork(function() return #ns.netns.delete_all() end) end
      for i = 1, 4 do sum = sum + going[i]:result(20) end
      print(sum, #ns.netns.list())']==])
    assert.equal("60\t0", out)
  end)

  it("is emptied as far as that can be", function()
    local out = fresh_run(lua .. [==[ -e '
      local ns = require "nslua"
      ns.netns.add("a"):close()
      ns.netns.add("z"):close()
      os.execute "mkdir /run/netns/folder"
      local ok, e = pcall(ns.netns.delete_all)
      print(ok, e.code, e.netns, #ns.netns.list(), ns.netns.list()[1].name)']==])
    assert.equal("false\tEISDIR\tfolder\t1\tfolder", out)
  end)

  it("has names that look like something else", function()
    local out = fresh_run(lua .. [==[ -e '
      local ns = require "nslua"
      local pid = require "nslua.core".file.readlink "/proc/self"
      ns.unshare "net"
      local here = ns.netns.current()
      here:set_nsid(here, 4)
      ns.netns.add("pid:" .. pid):close()
      local row = ns.netns.list()[1]
      print(row.name == "pid:" .. pid, row.id, #ns.netns.delete_all())']==])
    assert.equal("true\tnil\t1", out)
  end)

  it("may be missing", function()
    assert.equal("0\t0", (fresh_run(lua .. [[ -e 'local ns = require "nslua" print(#ns.netns.list(), #ns.netns.delete_all())']])))
  end)
end)

describe("holders", function()
  it("are processes, threads, fds, sockets and mounts", function()
    local n = name "held"
    local h = ns.netns.add(n)
    local me = tonumber(core.file.readlink "/proc/self")
    local s = h:socket("inet", "dgram")
    local p = io.popen("exec ip netns exec " .. n .. " sh -c 'echo $$; exec sleep 60'")
    local pid = tonumber(p:read "*l")
    finally(function() sh("kill " .. pid) p:close() h:close() s:close() end)
    helper.becomes(pid, "sleep")
    local found = ns.netns.holders(n)
    assert.equal(1, #found.processes)
    assert.equal(pid, found.processes[1].pid)
    assert.matches("sleep 60", found.processes[1].command)
    assert.same({}, found.threads)
    local function at(list)
      for _, r in ipairs(list) do
        if r.pid == me then
          return r
        end
      end
    end
    assert.equal(h.fd:number(), at(found.fds).fd)
    assert.is_string(at(found.fds).command)
    assert.equal(s:number(), at(found.sockets).fd)
    local own
    for _, m in ipairs(found.mounts) do
      own = m.path == "/run/netns/" .. n and m.mount_namespace == ns.namespace.current("mount").inode or own
    end
    assert.is_true(own)
    assert.equal(found.unreadable == 0, found.complete)
    s:close()
    assert.is_nil(at(ns.netns.holders(n).sockets))
  end)

  it("are threads of a process whose first thread is elsewhere", function()
    if not helper.has "python3" then
      pending "no python3 to make a thread"
      return
    end
    local n = name "thread"
    ns.netns.add(n):close()
    local p = io.popen(([[exec python3 -c '
import ctypes, os, sys, threading, time
def go():
    f = os.open("/run/netns/%s", os.O_RDONLY)
    assert ctypes.CDLL(None).setns(f, 0x40000000) == 0
    os.close(f)
    print(os.getpid(), threading.get_native_id(), flush=True)
    time.sleep(60)
threading.Thread(target=go).start()']]):format(n))
    local pid, tid = p:read("*l"):match "(%d+) (%d+)"
    finally(function() sh("kill -9 " .. pid) p:close() end)
    local found = ns.netns.holders(n)
    assert.equal(1, #found.threads)
    assert.same({ tonumber(pid), tonumber(tid) }, { found.threads[1].pid, found.threads[1].tid })
    assert.same({}, found.processes)
    assert.same({}, ns.netns.pids(n))
  end)
end)
