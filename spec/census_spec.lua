-- ns.namespace.list: every place where a namespace can be held is made, and found under its name. Oracle: what the maker says.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"
local census = require "spec.census_helper"

local PYTHON, can_hide, rows_of = census.python, census.can_hide, census.rows_of

local function hide(script)
  return census.hide(script, finally)
end

describe("namespace.list finds", function()
  local function it_can(what, test)
    it(what, function()
      if not can_hide then
        pending "no python3, or no new namespaces for this user"
        return
      end
      test()
    end)
  end

  it_can("what a thread, an fd, a socket, an fd of a thread's own, the children to come hold", function()
    local places = hide [[
unshare(NEWNET) # one that is left and entered again
unshare(NEWTIME); say("children", "/proc/self/ns/time_for_children")
def fd(): unshare(NEWNET); say("fd", NET); held.append(os.open(NET, os.O_RDONLY))
to_its_end(fd)
def sock(): unshare(NEWNET); say("socket", NET); held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
to_its_end(sock)
done = threading.Event()
def thread(): unshare(NEWUTS); say("thread", "/proc/thread-self/ns/uts"); done.set(); time.sleep(60)
in_thread(thread); done.wait(5); done.clear()
def own():
    home = os.open(NET, os.O_RDONLY)
    unshare(FILES | NEWNET); say("own", NET); os.open(NET, os.O_RDONLY); must(libc.setns(home, 0)); done.set(); time.sleep(60)
in_thread(own); done.wait(5)]]
    local rows = rows_of(ns.namespace.list())
    for word, place in pairs(places) do
      local row = rows[place.inode]
      assert.is_table(row, word)
      assert.equal(word == "own" and "fd" or word, row.how_found, word)
      assert.same({ row.how_found }, row.found)
      assert.equal(0, row.nprocs)
      assert.equal(place.pid, row.holder, word)
      assert.is_nil(row.pid)
      assert.is_number(row.owner, word)
    end
    local without = ns.namespace.list { fds = false }
    rows = rows_of(without)
    assert.is_nil(rows[places.fd.inode])
    assert.is_nil(rows[places.own.inode])
    assert.is_nil(rows[places.socket.inode])
    assert.equal("thread", rows[places.thread.inode].how_found)
    assert.is_false(without.complete)
    assert.matches("only by an open fd.*only by a socket", table.concat(without.missed, ", "))
    without = ns.namespace.list { sockets = false, type = "net" }
    rows = rows_of(without)
    assert.equal("fd", rows[places.fd.inode].how_found)
    assert.is_nil(rows[places.socket.inode])
    assert.is_nil(rows[places.thread.inode])
    assert.is_false(without.complete)
    assert.equal("held only by a socket", without.missed[#without.missed])
    assert.is_nil(table.concat(ns.namespace.list({ sockets = false, type = "uts" }).missed, ", "):find("only by a socket", 1, true))
  end)

  it_can("an fd that was opened by the name of a bind mount", function()
    local places = hide [[
unshare(NEWNS); mount("none", "/", "none", PRIVATE)
mount("tmpfs", "/mnt", "tmpfs", 0); open("/mnt/net", "w").close()
def bind(): unshare(NEWNET); mount(NET, "/mnt/net", "none", BIND)
to_its_end(bind)
say("fd", "/mnt/net"); held.append(os.open("/mnt/net", os.O_RDONLY)); must(libc.umount2(b"/mnt/net", 2))
assert not os.readlink("/proc/self/fd/%d" % held[0]).startswith("net:")]]
    local row = rows_of(ns.namespace.list { type = "net" })[places.fd.inode]
    assert.same({ "fd" }, row.found)
    assert.equal(places.fd.pid, row.holder)
  end)

  it_can("bind mounts in other mount namespaces, also beside a process in a chroot, and never what covers one", function()
    local places = hide [[
unshare(NEWNS); mount("none", "/", "none", PRIVATE)
mount("tmpfs", "/mnt", "tmpfs", 0); os.mkdir("/mnt/jail")
mount("tmpfs", "/mnt/jail", "tmpfs", 0)
for name in "a b", "covered": open("/mnt/" + name, "w").close()
def bind(name):
    def run(): unshare(NEWNET); say(name.replace(" ", "_"), NET); mount(NET, "/mnt/" + name, "none", BIND)
    return run
to_its_end(bind("a b")); to_its_end(bind("covered"))
mount("/proc/self/ns/uts", "/mnt/covered", "none", BIND)
outside = child(lambda: None)
os.chroot("/mnt/jail"); os.chdir("/")
print("outside", 0, outside, flush=True)]]
    local list = ns.namespace.list { type = "net" }
    local rows = rows_of(list)
    local row = rows[places.a_b.inode]
    assert.same({ "mount" }, row.found)
    assert.same({}, row.paths)
    assert.equal("/mnt/a b", row.mounts[1].path)
    assert.equal(places.outside.pid, row.mounts[1].pid) -- the other's root has no such path
    assert.equal(tonumber((helper.sh(("stat -Lc %%i /proc/%d/ns/mnt"):format(places.outside.pid)))), row.mounts[1].mount_namespace)
    assert.is_number(row.owner)
    row = rows[places.covered.inode]
    assert.same({ "mount" }, row.found)
    assert.is_nil(row.owner)
    assert.is_nil(row.id)
  end)

  it_can("bind mounts in this mount namespace by their paths", function()
    local out, ok = helper.sh(([[unshare %s sh <<'END'
mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && touch "/mnt/a b" && unshare -u mount --bind /proc/self/ns/uts "/mnt/a b" && %s -e '
local ns = require "nslua"
for _, row in ipairs(ns.namespace.list { type = "uts" }) do
  if row.paths[1] == "/mnt/a b" then print(row.inode, row.how_found, #row.mounts, row.paths[1]) end
end' && stat -Lc %%i "/mnt/a b"
END]]):format(helper.is_root() and "-m" or "-Urm", helper.lua))
    assert.is_true(ok, out)
    local inode, at = out:match "^(%d+)\tmount\t0\t/mnt/a b\n(%d+)$"
    assert.is_truthy(inode, out)
    assert.equal(at, inode)
  end)

  it_can("owners and parents that nothing else holds", function()
    local places = hide [[
def nest():
    uid, gid = os.getuid(), os.getgid()
    unshare(NEWUSER); say("middle", "/proc/self/ns/user")
    for name, text in (("setgroups", "deny"), ("uid_map", "0 %d 1" % uid), ("gid_map", "0 %d 1" % gid)):
        with open("/proc/self/" + name, "w") as f: f.write(text)
    unshare(NEWUSER); say("inner", "/proc/self/ns/user"); os.write(w, b"x")
r, w = os.pipe(); child(nest); os.read(r, 1)]]
    local rows = rows_of(ns.namespace.list { type = "user" })
    local inner, middle = rows[places.inner.inode], rows[places.middle.inode]
    assert.same({ "process" }, inner.found)
    assert.equal(places.inner.pid, inner.pid)
    assert.equal(places.middle.inode, inner.parent)
    assert.same({ "relation" }, middle.found)
    assert.equal(0, middle.nprocs)
    assert.is_nil(middle.holder)
    assert.equal(tonumber((helper.sh "id -u")), middle.user)
  end)

  it_can("each of many processes once, and is one thread all the time", function()
    local places = hide [[
unshare(NEWUTS); say("uts", "/proc/self/ns/uts")
for i in range(300): child(lambda: None)]]
    local uts = places.uts
    for _ = 1, 3 do
      local row = rows_of(ns.namespace.list { type = "uts" })[uts.inode]
      assert.equal(301, row.nprocs)
      assert.is_true(row.pid <= uts.pid) -- pids begin anew: a child's may be the lowest
      assert.same({ "process" }, row.found)
    end
    -- A process with several threads may not do this.
    local out, ok = helper.sh(([[for i in 1 2 3; do %s -e 'local ns = require "nslua" ns.namespace.list() ns.unshare "user"' || exit 1; done]])
      :format(helper.lua))
    assert.is_true(ok, out)
  end)
end)

describe("namespace.list", function()
  it("leaves no fd, and refuses what it does not know", function()
    ns.namespace.list()
    local before = helper.fd_count()
    for _ = 1, 5 do
      ns.namespace.list()
    end
    assert.equal(before, helper.fd_count())
    assert.matches("fds must be boolean, got 1", select(2, pcall(ns.namespace.list, { fds = 1 })))
    assert.matches("unknown key 'socket'.*sockets", select(2, pcall(ns.namespace.list, { socket = true })))
  end)

  it("counts every process that it may not look at", function()
    if not (helper.is_root() and helper.has "setpriv") then
      pending "not root, or no setpriv: which processes another user may not look at is not known exactly"
      return
    end
    local out = helper.sh(([[unshare -p -f --mount-proc sh <<'END'
sleep 60 & sleep 60 &
setpriv --reuid 65534 --regid 65534 --clear-groups env %s -e '
  local list = require "nslua".namespace.list()
  print(list.complete, list.unreadable)
  for _, row in ipairs(list) do
    if row.nprocs ~= 1 and row.how_found ~= "mount" and row.how_found ~= "relation" then print(row.type, row.how_found, row.nprocs, row.command) end
  end'
END]]):format(helper.lua))
    assert.equal("false\t3", out)
  end)

  it("is not complete where /proc hides processes of others", function()
    if not (helper.is_root() and helper.has "setpriv") then
      pending "not root, or no setpriv: nobody else to hide from"
      return
    end
    local nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups env " .. helper.lua
    local member = "setpriv --reuid 65534 --regid 65534 --groups 4321 env " .. helper.lua
    for _, case in ipairs {
      { "hidepid=2", nobody, "false 0 invisible of processes that /proc hides (it is mounted with hidepid=invisible)" },
      { "hidepid=4,gid=4321", member, "false 0 ptraceable of processes that /proc hides (it is mounted with hidepid=ptraceable)" },
      { "hidepid=1", nobody, "false 2 noaccess of processes that /proc hides (it is mounted with hidepid=noaccess)" },
      { "hidepid=2,gid=4321", nobody, "false 0 invisible of processes that /proc hides (it is mounted with hidepid=invisible)" },
      { "hidepid=2,gid=4321", member, "false 2 nil nil" }, -- it sees them, and may not look at them
      { "hidepid=2", "setpriv --regid 4321 --groups 1,2 --bounding-set -sys_ptrace --inh-caps -sys_ptrace env " .. helper.lua,
        "false 0 invisible of processes that /proc hides (it is mounted with hidepid=invisible)" },
      { "hidepid=2", "env " .. helper.lua, "true 0 nil nil" },
      { "hidepid=0", nobody, "false 2 nil nil" },
    } do
      local out = helper.sh(([[unshare -m -p -f sh <<'END'
mount -t proc -o %s proc /proc
sleep 60 &
%s -e '
  local list = require "nslua".namespace.list { type = "uts" }
  print(list.complete, list.unreadable, list.hides, list.missed[#list.missed]:match "^of processes.*")'
kill $!
END]]):format(case[1], case[2]))
      assert.equal(case[3], (out:gsub("\t", " ")), case[1] .. " " .. case[2])
    end
  end)

  it("is an error without a /proc, and finds what it can in one where this process is not", function()
    if not can_hide then
      pending "no python3, or no new namespaces for this user"
      return
    end
    local new = "unshare " .. (helper.is_root() and "" or "-Ur") .. " -m -p -f --mount-proc "
    local out = helper.sh((new .. [[sh <<'END'
mount -t tmpfs tmpfs /proc
%s -e 'print(pcall(require "nslua".namespace.list))'
END]]):format(helper.lua))
    assert.matches("^false.*namespace.list: ENOENT: No such file or directory %(proc%(5%) on /proc%)$", out)
    -- The /proc of a pid namespace below.
    out = helper.sh((new .. [[sh <<'END'
unshare -m -p -f --mount-proc sh -c 'exec 3</proc/self/ns/net; exec unshare -n sleep 61' &
until C=$(pgrep -x sleep); do sleep 0.05; done
nsenter -t $C -m env -C "$PWD" %s -e '
  local found = {}
  for _, row in ipairs(require "nslua".namespace.list { type = "net" }) do
    if row.how_found ~= "mount" then table.insert(found, row.how_found .. (row.owner and "" or "?")) end
  end
  table.sort(found)
  print(table.concat(found, " "))'
kill $C
END]]):format(helper.lua))
    assert.equal(helper.is_root() and "fd process" or "fd? process", out) -- its owner is above what another user sees
  end)

  it("does not wait for a file system whose server has stopped to answer", function()
    local _, ok = helper.sh "test -w /dev/fuse"
    if not can_hide or not ok then
      pending "no python3, no new namespaces for this user, or no /dev/fuse"
      return
    end
    -- A bind mount, and the root of a process, on a file system by a thread that ends.
    local places = hide [[
import select, struct
unshare(NEWNS); mount("none", "/", "none", PRIVATE); mount("tmpfs", "/mnt", "tmpfs", 0); os.mkdir("/mnt/fuse")
fuse = os.open("/dev/fuse", os.O_RDWR)
must(libc.mount(b"spec", b"/mnt/fuse", b"fuse", 0, b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse))
def attributes(node): return struct.pack("<6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755 if node == 1 else 0o100644, 1, 0, 0, 0, 4096, 0)
def serve():
    while not stop:
        if not select.select([fuse], [], [], 0.01)[0]: continue
        size, code, unique, node = struct.unpack_from("<IIQQ", os.read(fuse, 1 << 20))
        if code == 26: answer = struct.pack("<4I2H2I2H8I", 7, 31, 4096, 0, 12, 9, 4096, 1, *[0] * 10) # INIT
        elif code == 3: answer = struct.pack("<QII", 0, 0, 0) + attributes(node) # GETATTR
        elif code == 1: answer = struct.pack("<4QII", 2, 0, 0, 0, 0, 0) + attributes(2) # LOOKUP
        else: answer = None
        if code not in (2, 36): # FORGET, INTERRUPT
            os.write(fuse, struct.pack("<IiQ", 16 + len(answer or b""), 0 if answer else -38, unique) + (answer or b""))
stop = False
server = in_thread(serve)
def bind(): unshare(NEWNET); say("net", NET); mount(NET, "/mnt/fuse/net", "none", BIND)
to_its_end(bind)
def jail(): os.chroot("/mnt/fuse"); os.write(w, b"x")
r, w = os.pipe(); pid = child(jail); os.read(r, 1)
stop = True; server.join()
print("jail", 0, pid, flush=True)]]
    local out
    out, ok = helper.sh(("timeout 20 env %s -e '%s'"):format(helper.lua, ([[
      for _, row in ipairs(require "nslua".namespace.list { type = "net" }) do
        if row.inode == %d then print(row.how_found, row.mounts[1].path) end
      end]]):format(places.net.inode)))
    assert.is_true(ok, "it waited: " .. out)
    assert.equal("mount\t/mnt/fuse/net", out)
  end)

  it("is complete where sockets of this network namespace may not be asked: that they are its own is known", function()
    -- In a user namespace without rights over the network namespace.
    local out, ok = helper.sh(([[unshare -Ur -p -f -m --mount-proc env %s -e '
      local ns = require "nslua"
      local here = ns.netns.current()
      here.link:list() -- by a socket, which is kept
      local list = ns.namespace.list { type = "net" }
      local of_processes = {}
      for _, row in ipairs(list) do
        if row.nprocs > 0 then table.insert(of_processes, row) end
      end
      print(list.complete, list.unreadable, #of_processes, of_processes[1].inode == here.inode)']]):format(helper.lua))
    if not ok and out:find("unshare:", 1, true) then
      pending(out)
      return
    end
    assert.equal("true\t0\t1\ttrue", out)
  end)

  it("puts no process into a pid or time namespace that is to come, of which it would be the first", function()
    if not can_hide then
      pending "no python3, or no new namespaces for this user"
      return
    end
    local out, ok = helper.sh(([[unshare %s -m -p -f --mount-proc sh <<'END'
%s -c 'import os, time
for i in range(250):
    if os.fork() == 0: time.sleep(600); os._exit(0)
print("ready", flush=True); time.sleep(600)' >/dev/null & sleep 0.1
until [ $(ls /proc | grep -c "^[0-9]") -gt 250 ]; do sleep 0.05; done
%s -e '
  local ns = require "nslua"
  ns.unshare "pid,time"
  assert(#ns.namespace.list() > 0)
  local f = assert(io.open("/proc/self/timens_offsets", "w"))
  print(f:write "monotonic 5 0", f:close(), ns.run({ "true" }).ok)'
END]]):format(helper.is_root() and "" or "-Ur", PYTHON, helper.lua))
    assert.is_true(ok, out)
    assert.matches("^file %S+\ttrue\ttrue$", out)
  end)

  it("is made of rows that the kernel's links confirm", function()
    local pid = tonumber(core.file.readlink "/proc/self")
    for _, row in ipairs(ns.namespace.list()) do
      if row.pid == pid then
        local link = core.file.readlink(("/proc/%d/ns/%s"):format(pid, core.namespace.proc[row.type]))
        assert.equal(row.inode, tonumber(link:match "%d+"))
      end
      assert.equal(row.found[1], row.how_found)
      assert.equal(row.pid == nil, row.nprocs == 0)
    end
  end)
end)
