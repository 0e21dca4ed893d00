-- What ns.namespace.list learns from the kernel, where no process shows it. Oracle: what the maker says.

local ns = require "nslua"
local census = require "spec.census_helper"
local helper = require "spec.helper"

local major, minor = helper.sh "uname -r":match "^(%d+)%.(%d+)"
local function since(a, b)
  return tonumber(major) > a or tonumber(major) == a and tonumber(minor) >= b
end
local why = not helper.is_root() and "needs root: the kernel lists what its user may enter" or not census.can_hide and "no python3"
  or not since(6, 12) and "this kernel lists no mount namespaces"

local HIDE = [[
def private():
    unshare(NEWNS); mount("none", "/", "none", PRIVATE); mount("tmpfs", "/mnt", "tmpfs", 0)
    open("/mnt/a b\\y", "w").close()
    def bind(): unshare(NEWNET); say("net", NET); mount(NET, "/mnt/a b\\y", "none", BIND)
    to_its_end(bind); say("mount", "/proc/thread-self/ns/mnt"); os.write(w, b"x")
r, w = os.pipe(); pid = child(private); os.read(r, 1)
kept = os.open("/proc/%d/ns/mnt" % pid, os.O_RDONLY)
os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); children.remove(pid)
]]

describe("the kernel shows namespace.list", function()
  local function hide(script)
    return census.hide(script, finally)
  end

  it("what is mounted in a mount namespace that no process is in", function()
    if why then
      pending(why)
      return
    end
    local places = hide(HIDE)
    local list = ns.namespace.list { type = "net" }
    local row = census.rows_of(list)[places.net.inode]
    assert.is_table(row)
    assert.same({ "mount" }, row.found)
    assert.same({}, row.paths)
    assert.same({ { path = "/mnt/a b\\y", mount_namespace = places.mount.inode } }, row.mounts)
    assert.is_number(row.owner) -- it was opened there
    assert.is_nil(row.holder)
    assert.is_nil(table.concat(list.missed, ", "):find("mounted only", 1, true))
    local out = helper.sh(("build/bin/nslua ls -n -P -o COMMAND -Q 'NS == %d'"):format(places.net.inode))
    assert.equal(("[mounted on /mnt/a b\\y in mount namespace %d]"):format(places.mount.inode), out)
  end)

  it("a mount namespace that is on its way through a socket only, and what is mounted there", function()
    if why then
      pending(why)
      return
    end
    local places = hide(HIDE .. [[
import array
one, other = socket.socketpair()
one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [kept]))]); os.close(kept)]])
    local rows = census.rows_of(ns.namespace.list())
    assert.same({ "kernel" }, rows[places.mount.inode].found)
    assert.equal("kernel", rows[places.mount.inode].how_found)
    assert.is_number(rows[places.mount.inode].owner)
    assert.same({ "mount" }, rows[places.net.inode].found)
    local out = helper.sh(("build/bin/nslua ls -n -P -o FOUND,COMMAND -Q 'NS == %d'"):format(places.mount.inode))
    assert.equal("kernel [held by what no process shows]", out)
  end)

  it("mounts beside a process in a chroot, each once", function()
    if why then
      pending(why)
      return
    end
    local places = hide [[
unshare(NEWNS); mount("none", "/", "none", PRIVATE); mount("tmpfs", "/mnt", "tmpfs", 0)
os.mkdir("/mnt/jail"); mount("tmpfs", "/mnt/jail", "tmpfs", 0)
for name in "out", "jail/in": open("/mnt/" + name, "w").close()
def bind(word, path):
    def run(): unshare(NEWNET); say(word, NET); mount(NET, path, "none", BIND)
    to_its_end(run)
bind("out", "/mnt/out"); bind("in", "/mnt/jail/in"); say("mount", "/proc/self/ns/mnt")
os.chroot("/mnt/jail"); os.chdir("/")]]
    local rows = census.rows_of(ns.namespace.list { type = "net" })
    assert.same({ { path = "/mnt/out", mount_namespace = places.mount.inode } }, rows[places.out.inode].mounts)
    assert.same({ { path = "/in", mount_namespace = places.mount.inode, pid = places["in"].pid } }, rows[places["in"].inode].mounts)
  end)

  it("nothing more to who has fewer rights, and no error", function()
    if not helper.has "setpriv" or not helper.is_root() then
      pending "no setpriv, or not root: rights are fewer anyway"
      return
    end
    local out = helper.sh(("setpriv --reuid 65534 --regid 65534 --clear-groups env %s -e '%s'"):format(helper.lua, [[
      local list = require "nslua".namespace.list { type = "mount" }
      print(#list > 0, (table.concat(list.missed, ", "):find("mounted only", 1, true)) ~= nil)]]))
    assert.equal("true\ttrue", out)
  end)
end)

-- Linux 6.19 has listns(2); elsewhere a library stands in for it.
describe("listns(2) shows namespace.list", function()
  it("every namespace that is open somewhere, page by page", function()
    if why or not since(6, 18) or not helper.has "cc" then
      pending(why or "no 64-bit ids, or no cc")
      return
    end
    local dir = helper.sh "mktemp -d"
    finally(function()
      helper.sh("rm -r " .. dir)
    end)
    local message, ok = helper.sh(("cc -shared -fPIC -o %s/listns.so spec/census_faults.c -ldl"):format(dir))
    assert.is_true(ok, message)
    local places = census.hide([[
def net(): unshare(NEWNET); held.append(os.open(NET, os.O_RDONLY)); say("net", NET)
def uts(): unshare(NEWUTS); held.append(os.open("/proc/thread-self/ns/uts", os.O_RDONLY)); say("uts", "/proc/thread-self/ns/uts")
to_its_end(net); to_its_end(uts)
print("fds", held[0], held[1], flush=True)]], finally)
    local fd = ("/proc/%d/fd/%%d"):format(places.net.pid)
    local function census_of(paths, filter)
      return (helper.sh(("%s LD_PRELOAD=%s/listns.so %s -e '%s'"):format(paths and ("NSLUA_LISTNS='" .. paths .. "'") or "", dir, helper.lua, ([[
      local list = require "nslua".namespace.list(%s)
      for _, row in ipairs(list) do
        if row.inode == %d or row.inode == %d then print(row.type, row.how_found, row.owner ~= nil, row.id ~= nil) end
      end
      print(table.concat(list.missed, ", "))]]):format(filter, places.net.inode, places.uts.inode))))
    end
    local both = fd:format(places.fds.inode) .. " /proc/self/ns/net " .. fd:format(places.fds.pid)
    local last = "held only by a socket that no process has open, held only by an open fd"
    assert.equal("net\tkernel\ttrue\ttrue\nuts\tkernel\ttrue\ttrue\n" .. last .. ", held only by a socket", census_of(both, "{ fds = false }"))
    assert.equal("net\tfd\ttrue\ttrue\nuts\tfd\ttrue\ttrue\nheld only by a socket that no process has open", census_of(both, ""))
    if not since(6, 19) then
      assert.matches("^held only by an fd on its way", census_of(nil, "{ fds = false }"))
    end
  end)
end)
