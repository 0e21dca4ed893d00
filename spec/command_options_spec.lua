-- The options of `nslua unshare` and `nslua nsenter` where they meet: repeated, abbreviated, in odd order, with odd values.

local helper = require "spec.helper"
local n = require "spec.nsenter_helper"

local UNSHARE = n.HOST .. " unshare"
local RIGHTS = n.root and "" or "-r "

-- The same command line, "TOOL" by util-linux and by ours: output but for the name, and exit status.
local function same(command, tool)
  local want, _, want_status = helper.sh((command:gsub("TOOL", tool)))
  local got, _, status = helper.sh((command:gsub("TOOL", n.HOST .. " " .. tool)))
  assert.equal(want, (got:gsub("nslua " .. tool, tool)), command)
  assert.equal(want_status, status, command)
  return got, status
end

local function unshare(words)
  local out, _, status = helper.sh(UNSHARE .. " " .. words)
  return out, status
end

describe("options", function()
  after_each(helper.close_held)

  it("that are more than the tool's own leave its abbreviations alone", function()
    same("TOOL --h >/dev/null", "unshare")
    same(("TOOL %s--i --net true"):format(RIGHTS), "unshare")
    same(("TOOL --i%s readlink /proc/self/ns/ipc >/dev/null"):format(n.root and "" or " -r"), "unshare")
    local pid = n.target "-u"
    same(("TOOL -t %d %s--pre -u true"):format(pid, n.root and "" or "-U "), "nsenter")
    same(("TOOL -t %d %s--pr -u true"):format(pid, n.root and "" or "-U "), "nsenter")
    assert.equal("box", (unshare(RIGHTS .. "--hostname=box hostname")))
    assert.equal("box", (unshare(RIGHTS .. "--hostname box hostname")))
    local out, status = unshare "--hostnam box hostname"
    assert.equal("nslua unshare: unrecognized option '--hostnam'\nTry 'nslua unshare --help' for more information.", out)
    assert.equal(1, status)
  end)

  it("end where the help or the version is asked for", function()
    for _, tool in ipairs { "unshare", "nsenter" } do
      for _, words in ipairs { "-h -Q", "-help", "--help --nothing", "-V -Q", "--version --nothing" } do
        local _, status = same(("TOOL %s >/dev/null"):format(words), tool)
        assert.equal(0, status, words)
      end
      same("TOOL -Q -h", tool)
    end
  end)

  it("that name a namespace's file keep it where they come again without", function()
    if not n.root then
      pending "not root: binds in this mount namespace"
      return
    end
    local file = os.tmpname()
    for _, words in ipairs { "--net=%s -n", "-n --net=%s" } do
      unshare(words:format(file) .. " true")
      assert.equal("nsfs", (helper.sh("stat -f -c %T " .. file)), words)
      helper.sh("umount " .. file)
    end
    os.remove(file)
  end)
end)

describe("nslua nsenter", function()
  after_each(helper.close_held)

  it("takes a thread for its target", function()
    -- a thread in a network namespace of its own, as vpp and others have; without root: in its process's
    local p = helper.held(require "nslua".spawn { "python3", "-c", [[
import ctypes, threading, time
def main():
    ctypes.CDLL(None).unshare(0x40000000)
    print(threading.get_native_id(), flush=True)
    time.sleep(600)
threading.Thread(target=main, daemon=True).start()
time.sleep(600)]], stdout = "pipe" })
    local tid = p.stdout:read "l"
    if not tid then
      pending "no python3"
      return
    end
    assert.not_equal(p.pid, tonumber(tid))
    local show = "sh -c 'readlink /proc/self/ns/net; id -u'"
    assert.equal(helper.sh(("readlink /proc/%s/ns/net; id -u"):format(tid)), (n.ours(("-t %s -n"):format(tid), show)))
    if not n.root then
      return
    end
    for _, words in ipairs { "-n", "-n -r -w", "-a", "-n -S 65534" } do
      same(("TOOL -t %s %s %s"):format(tid, words, show), "nsenter")
    end
    assert.equal("0", (n.ours(("-t %s -n -S follow -G follow -e -c"):format(tid), "/usr/bin/id -u")))
  end)

  it("says what is wrong in its own words", function()
    for words, message in pairs {
      ["--net=/no/such"] = "cannot open /no/such: No such file or directory",
      ["--net="] = "cannot open the file '': No such file or directory",
      ["-u="] = "cannot open the file '': No such file or directory",
      ["--ipc=/etc/passwd"] = "/etc/passwd is not a namespace",
      ["--net=/proc/self/ns/uts"] = "/proc/self/ns/uts is a uts namespace, not net",
      ["-t 1x -n"] = "no such container: 1x",
      ["-t 2147483648 -n"] = "failed to parse pid: '2147483648'",
      ["-t 1 -t 1"] = "option --target may be given only once",
    } do
      local out, _, status = n.ours(words)
      assert.equal(1, status, words)
      assert.equal("nslua nsenter: " .. message, out:match "^[^\n;]*", words)
    end
    if n.root then
      same("TOOL -n/proc/self/ns/net -S +5 id -u", "nsenter")
    end
  end)

  it("keeps the file of a namespace where its option comes again without", function()
    local pid = n.target "-n"
    local by = n.root and "" or ("-U/proc/%d/ns/user "):format(pid)
    local out = n.ours(("%s--net=/proc/%d/ns/net -t $$ -n"):format(by, pid), "readlink /proc/self/ns/net")
    assert.equal(n.namespaces(pid).net, out)
  end)
end)

describe("nslua unshare", function()
  it("takes numbers as unshare(1) does, and signals", function()
    local rights = n.root and "" or "-c "
    for _, words in ipairs { "-T --monotonic=+5 --boottime=-5 cat /proc/self/timens_offsets", "-T --monotonic 0x10 true", "-T --monotonic 1e3 true",
      "-T --monotonic '' true" } do
      local _, _, status = helper.sh(("unshare %s%s >/dev/null 2>&1"):format(n.root and "" or "-r ", words))
      assert.equal(status, select(2, unshare((n.root and "" or "-r ") .. words)), words)
    end
    same(("TOOL %s-S +%d id -u"):format(rights, n.root and 5 or tonumber((helper.sh "id -u"))), "unshare")
    for _, name in ipairs { "SIGTERM", "term", "RTMIN+3", "RTMAX-1" } do
      local got, status = same(("TOOL %s-f --kill-child=%s true"):format(rights, name), "unshare")
      assert.equal(0, status, name .. ": " .. got)
    end
    assert.equal(0, (select(2, unshare(rights .. "-f --kill-child=9 true"))))
    for _, name in ipairs { "0", "99", "FOO", "RTMIN+99", "''" } do
      local out, status = unshare(("%s-f --kill-child=%s true"):format(rights, name))
      assert.equal(1, status, name)
      assert.matches("unknown signal", out)
    end
  end)

  it("keeps capabilities of a new user namespace only", function()
    local show = "grep Cap /proc/self/status"
    same(("TOOL %s--keep-caps %s"):format(n.root and "" or "-r ", show), "unshare")
    if n.root then
      same("TOOL --keep-caps -n -f -S 65534 " .. show, "unshare")
      same("TOOL --keep-caps -S 65534 " .. show, "unshare")
    end
  end)

  it("mounts proc where a relative path leads", function()
    local dir = helper.sh "mktemp -d"
    helper.sh(("mkdir %s/proc %s/sub %s/sub/proc"):format(dir, dir, dir))
    finally(function()
      helper.sh("rm -r " .. dir)
    end)
    local show = [[sh -c 'awk "/ - proc /{print \$5}" /proc/self/mountinfo | tail -1']]
    for where, words in pairs { ["/proc"] = "--mount-proc=proc", ["/sub/proc"] = "-w sub --mount-proc=proc" } do
      local out = same(("cd %s && TOOL %s-p -f %s %s"):format(dir, n.root and "" or "-r ", words, show), "unshare")
      assert.equal(dir .. where, out)
    end
    local out, status = unshare((n.root and "" or "-r ") .. "-p -f --mount-proc=/no/such true")
    assert.equal("nslua unshare: mount of proc failed: No such file or directory (/no/such)", out)
    assert.equal(1, status)
  end)

  it("adds up what may come more than once", function()
    assert.equal("A=1\nB=2", (helper.sh(("A=1 B=2 C=3 %s --whitelist-env A --whitelist-env B,D env | grep '^[ABC]='"):format(UNSHARE))))
  end)

  it("maps groups only where it is told to", function()
    assert.equal("deny", (unshare "-r cat /proc/self/setgroups"))
    if not n.root then
      pending "not root: maps of several ids"
      return
    end
    local show = "sh -c 'cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups' | tr -s ' \n' ' '"
    assert.equal(" 0 0 4294967295 allow ", (unshare("--map-users=all " .. show)))
    assert.equal(" 0 0 4294967295 allow ", (unshare("--map-groups=all " .. show)))
    -- setgroups(2) is denied where the own group alone is mapped by hand: apt and the like drop groups in a namespace of many
    assert.equal(" 0 0 1 0 0 1 1 1000 10 allow ", (unshare("-r --map-groups=1:1000:10 " .. show)))
    assert.equal(" 0 0 1 0 0 1 1 1000 10 allow ", (unshare("-r --map-groups=1:1000:10 --setgroups allow " .. show)))
    assert.equal(" 0 0 1 0 0 1 1 1000 10 deny ", (unshare("-r --map-groups=1:1000:10 --setgroups deny " .. show)))
    assert.equal(" 0 65534 1 0 65534 1 allow ", (unshare("--owner 65534:65534 -r " .. show)))
  end)

  it("says what is wrong in the words of its options", function()
    for words, message in pairs {
      ["--map-users 0:0 true"] = "--map-users: '0:0' is not inner:outer:count",
      ["--map-users 0:99999999999999999999:1 true"] = "--map-users: '0:99999999999999999999:1' is not inner:outer:count, with ids up to 4294967294",
      ["--map-groups 0:0:0 true"] = "--map-groups: '0:0:0' is not inner:outer:count, with ids up to 4294967294",
      ["--map-users 1:0:4294967295 true"] = "--map-users: '1:0:4294967295' is not inner:outer:count, with ids up to 4294967294",
      ["--hostname " .. ("x"):rep(65) .. " true"] = "--hostname: 65 bytes, and a host name has at most 64",
      ["--json-status 99 true"] = "--json-status: file descriptor 99 is not open for writing",
      ["--json-status 3 true 3</dev/null"] = "--json-status: file descriptor 3 is not open for writing",
      ["-U --setgroups perhaps true"] = "unsupported --setgroups argument 'perhaps'",
    } do
      local out, status = unshare(words)
      assert.equal(1, status, words)
      assert.equal("nslua unshare: " .. message, out:match "^[^\n]*", words)
    end
    for _, option in ipairs { "--json-status 3", "--forward-signals" } do
      local out, status = unshare(option .. " no-such-program 3>/dev/null")
      assert.matches("^nslua unshare: failed to execute no%-such%-program: No such file", out)
      assert.equal(127, status)
      out, status = unshare(option .. " /etc/passwd 3>/dev/null")
      assert.matches("^nslua unshare: failed to execute /etc/passwd: Permission denied", out)
      assert.equal(126, status)
      assert.equal("-sh", (helper.sh(("echo 'echo $0' | SHELL=/no/such %s %s 3>/dev/null"):format(UNSHARE, option))))
    end
    local out, status = unshare("/etc/passwd/x")
    assert.equal("nslua unshare: failed to execute /etc/passwd/x: Not a directory", out)
    assert.equal(126, status)
    if n.root then
      same("TOOL --setgroups allow true", "unshare")
    end
  end)

  it("writes JSON to whatever file descriptor it is given", function()
    local program = "sh -c 'exit 3'"
    local function socket(words)
      return (helper.sh(([[python3 -c '
import socket, subprocess, sys
a, b = socket.socketpair()
subprocess.call(["sh", "-c", sys.argv[1] + " 3>&%%d" %% b.fileno()], pass_fds=[b.fileno()])
b.close()
print(a.makefile().read())' %s]]):format(n.quote(words))))
    end
    if not helper.has "python3" then
      pending "no python3"
      return
    end
    assert.matches('{"exit%-code":3}', socket(("%s --json-status 3 %s"):format(UNSHARE, program)))
  end)
end)

describe("without root", function()
  local unprivileged = require "spec.unprivileged"
  local why = n.root and select(2, unprivileged.can())

  -- As somebody else than root, with two groups more where that can be had.
  local function nobody(words)
    local as = n.root and "setpriv --reuid 65534 --regid 65534 --groups 4,5 --inh-caps=-all " or ""
    return helper.sh(("PATH=/usr/sbin:/usr/bin:/sbin:/bin %s%s unshare %s"):format(as, n.HOST, words))
  end

  it("nslua unshare says what would do, in options", function()
    if why then
      pending(why)
      return
    end
    for words, hint in pairs {
      ["-n true"] = "no CAP_SYS_ADMIN in user:%[%d+%]: run as root, or with %-%-map%-root%-user$",
      ["-R / true"] = "no CAP_SYS_CHROOT in user:%[%d+%]: run as root, or with %-%-map%-root%-user$",
      ["--owner 0:0 true"] = "^nslua unshare: owner failed: Operation not permitted; this process has no CAP_SETGID in user:%[%d+%]: run as root$",
      ["-r --mount-proc true"] = "%(or the program is in no pid namespace of its own: %-%-pid %-%-fork%)$",
    } do
      local out, _, status = nobody(words)
      assert.equal(1, status, words)
      assert.matches(hint, out)
      assert.is_nil(out:find("map_users", 1, true), out)
    end
  end)

  it("-G drops the other groups or fails", function()
    if why then
      pending(why)
      return
    elseif not n.root then
      pending "not root: no other groups"
      return
    end
    for _, words in ipairs { "-G 65534 id -G", "-r -G 0 id -G" } do
      local out, _, status = nobody(words)
      assert.equal(1, status, words .. ": " .. out)
      assert.matches("^nslua unshare: setgroups failed: Operation not permitted", out)
    end
    assert.equal("0 65534", (nobody "-r id -G"))
  end)
end)
