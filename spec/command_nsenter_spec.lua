-- nslua nsenter beside nsenter(1): each option, and the state the program finds itself in.

local helper = require "spec.helper"
local n = require "spec.nsenter_helper"
local ns = require "nslua"

local same, same_state, ours = n.same, n.same_state, n.ours

-- Without root the target's other namespaces belong to its user namespace, and are entered with it; nsenter(1) must leave the groups then.
local WITH = n.root and "" or "-U --preserve-credentials "

describe("nslua nsenter", function()
  after_each(helper.close_held)

  local types = { m = "mount", u = "uts", i = "ipc", n = "net", p = "pid", C = "cgroup", T = "time", U = "user" }
  local words = { m = "mnt", u = "uts", i = "ipc", n = "net", p = "pid", C = "cgroup", T = "time", U = "user" }

  for letter, long in pairs(types) do
    it(("-%s, --%s: the target's, a file's, long, short and attached"):format(letter, long), function()
      -- the program of unshare -p and -T is its child
      local forks = (letter == "p" or letter == "T") and " -f" or ""
      local pid = n.target(letter == "U" and n.root and "-Ur" or ("-%s%s"):format(letter == "U" and "u" or letter, forks))
      local file = ("/proc/%d/ns/%s"):format(pid, words[letter])
      local with = letter == "U" and n.root and "" or WITH
      local first = same_state(("-t %d %s-%s"):format(pid, with, letter))
      assert.truthy(first:find(n.namespaces(pid)[words[letter]], 1, true), first)
      local by_file = with == "" and "" or ("-U/proc/%d/ns/user --preserve-credentials "):format(pid)
      for _, option in ipairs { ("-t %d %s--%s"):format(pid, with, long), ("%s-%s%s"):format(by_file, letter, file),
        ("%s--%s=%s"):format(by_file, long, file) } do
        assert.equal(first, same_state(option), option)
      end
    end)
  end

  it("several letters in one word, abbreviations, and the program's own options", function()
    local pid = n.target "-m -u -n -i"
    same_state(("-t %d %s-munt%d"):format(pid, WITH, pid):gsub("^%-t %d+ ", ""))
    same_state(("--tar=%d %s--mou --net --ipc -u --"):format(pid, WITH))
    same(("nsenter -t %d %s-n echo -n -m --mount"):format(pid, WITH))
    same(("nsenter -t %d %s-n -- echo -n"):format(pid, WITH))
  end)

  it("takes a file by a relative path, and after a = that a short option has", function()
    local pid = n.target "-n"
    local net = n.namespaces(pid).net
    local by = WITH == "" and "" or ("-U/proc/%d/ns/user --preserve-credentials "):format(pid)
    assert.equal(net, same(("cd /proc/%d/ns && nsenter %s--net=net readlink /proc/self/ns/net"):format(pid, by)))
    assert.equal(net, (ours(("%s-n=/proc/%d/ns/net"):format(by, pid), "readlink /proc/self/ns/net")))
  end)

  it("--all: every namespace of the target", function()
    local pid = n.target "-m -u -i -n -p -C -T -f --mount-proc"
    if n.root then
      same_state(("-t %d -a"):format(pid))
    end
    local out = ours(("-t %d --all"):format(pid), [[sh -c 'for t in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$t; done']])
    local want = n.namespaces(pid)
    for _, t in ipairs { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" } do
      assert.truthy(out:find(want[t], 1, true), t .. " in " .. out)
    end
  end)

  it("--all, but one of them from a file", function()
    if not n.root then
      pending "not root: two user namespaces cannot be entered at once"
      return
    end
    local pid, other = n.target "-m -u -n", n.target "-u"
    local state = same_state(("-t %d -a --uts=/proc/%d/ns/uts"):format(pid, other))
    assert.truthy(state:find(n.namespaces(other).uts, 1, true))
    assert.truthy(state:find(n.namespaces(pid).net, 1, true))
  end)

  it("a user namespace: its root, without groups", function()
    local pid = n.target "-Ur --propagation unchanged"
    same_state(("-t %d -U --preserve-credentials"):format(pid))
    if n.root then
      same_state(("-t %d -U"):format(pid))
      same_state(("-t %d -U"):format(pid), "setpriv --groups 4,24")
    end
    assert.equal("0 0 0", (ours(("-t %d -U"):format(pid), "sh -c 'echo $(id -u) $(id -g) $(id -G)'"))) -- unmapped ones would be 65534
  end)

  it("-S and -G: with a user namespace, without, and beside each other", function()
    local pid = n.target "-u"
    for _, ids in ipairs(n.root and { "-S 5", "-G 5", "-S 5 -G 6", "--setuid=5 --setgid=6", "-S 0" } or { "-S 0", "-S 0 -G 0" }) do
      same_state(("-t %d %s-u %s"):format(pid, WITH, ids), n.root and "setpriv --groups 4,24,27" or "")
    end
    if n.root then
      local mapped = helper.held(ns.spawn { "sleep", "600", map_users = { { 0, 0, 100 } }, map_groups = { { 0, 0, 100 } } }).pid
      for _, ids in ipairs { "", "-S 5", "-G 5", "-S 5 -G 6", "--preserve-credentials", "--preserve-credentials -S 5",
        "--preserve-credentials -G 5" } do
        same_state(("-t %d -U %s"):format(mapped, ids), "setpriv --groups 4,24")
      end
    end
  end)

  it("-r: the target's root, or a directory that is opened before; the working directory follows where it is inside", function()
    local dir = helper.sh "mktemp -d"
    helper.sh(("mkdir -p %s/bin %s/sub && cp /bin/busybox %s/bin/ && ln -s busybox %s/bin/sleep"):format(dir, dir, dir, dir))
    finally(function()
      helper.sh("rm -r " .. dir)
    end)
    local pid = n.target(("-m -R %s"):format(dir), "/bin/sleep 600")
    local list = "/bin/busybox ls /"
    for _, options in ipairs { "-m -r", ("-m -r%s"):format(dir), ("-m --root=%s"):format(dir), "-r", "-m --root" } do
      assert.equal("bin\nsub", (same(("nsenter -t %d %s%s %s"):format(pid, WITH, options, list))), options)
    end
    assert.equal("/sub", same(("cd %s/sub && nsenter -t %d %s-r /bin/busybox pwd"):format(dir, pid, WITH)))
    -- a directory outside would be a way out
    assert.equal("/", (helper.sh(("cd /etc && %s -t %d %s-r /bin/busybox pwd"):format(n.OURS, pid, WITH))))
    assert.equal("/", (ours(("-t %d %s-m -r"):format(pid, WITH), "/bin/busybox pwd")))
    same(("cd /etc && nsenter -t %d %s-r%s pwd"):format(pid, WITH, "/"))
  end)

  it("-w: the target's directory, or one that is opened before; -W one inside", function()
    local dir = helper.sh "mktemp -d"
    finally(function()
      helper.sh("rmdir " .. dir)
    end)
    local pid = n.target("-m -u -w " .. dir)
    for _, options in ipairs { "-m", "-m -w", "-w", "-m --wd=/etc", "-m -w/etc", "-u --wd=/etc", "-m -W/etc", "-m --wdns=/etc" } do
      same_state(("-t %d %s%s"):format(pid, WITH, options))
    end
    assert.equal(dir, (ours(("-t %d %s-w"):format(pid, WITH), "pwd -P")))
    for _, options in ipairs { "-w=/etc", "-W=/etc", "-W /etc" } do
      assert.equal("/etc", (ours(("-t %d %s-m %s"):format(pid, WITH, options), "pwd")))
    end
    assert.equal("/etc", (ours(("-t %d %s-m --wdns etc"):format(pid, WITH), "pwd")))
    -- a way into this mount namespace
    helper.sh("echo here > " .. dir .. "/file")
    local hidden = n.target("-m", ("sh -c 'mount -t tmpfs tmpfs %s && exec sleep 600'"):format(dir))
    assert.equal("here", (same(("nsenter -t %d %s-m -w%s cat file"):format(hidden, WITH, dir))))
    same(("nsenter -t %d %s-m -W%s ls"):format(hidden, WITH, dir))
    helper.sh("rm " .. dir .. "/file")
  end)

  it("replaces itself by the program, but for a pid namespace: it forks then, unless told not to", function()
    local pid = n.target "-n -p -f"
    local show = "sh -c 'echo $$; cut -d\" \" -f4 /proc/$PPID/stat; :'"
    for _, options in ipairs { "-n", "-F -p" } do
      local command = ("sh -c 'echo $$; exec %s -t %d %s%s sh -c \"echo \\$\\$\"'"):format(n.OURS, pid, WITH, options)
      local before, after = helper.sh(command):match "^(%d+)\n(%d+)$"
      assert.equal(before, after, options)
    end
    assert.equal("2", (ours(("-t %d %s-p"):format(pid, WITH), show)):match "^%d+")
    same_state(("-t %d %s-p -F"):format(pid, WITH))
    same_state(("-t %d %s-p"):format(pid, WITH))
  end)

  it("leaves the program the fds it was given, and none of its own", function()
    local pid = n.target "-m -n -p -f"
    for _, options in ipairs { "-n", "-m -n", "-p" } do
      for _, fds in ipairs { "", "7</dev/null", "3</dev/null 9>/dev/null" } do
        same(("nsenter -t %d %s%s ls /proc/self/fd %s"):format(pid, WITH, options, fds))
      end
      -- a closed stdin is /dev/null for the program; nothing else takes its number
      assert.equal("/dev/null", (helper.sh(("%s -t %d %s%s readlink /proc/self/fd/0 <&-"):format(n.OURS, pid, WITH, options))))
    end
    assert.equal("here", (helper.sh(("echo here | %s -t %d %s-p cat"):format(n.OURS, pid, WITH))))
  end)

  it("starts a login shell where no program is named", function()
    local pid = n.target "-n -p -f"
    for _, options in ipairs { "-n", "-p" } do
      assert.equal("-sh", same(("echo 'echo $0' | SHELL=/bin/sh nsenter -t %d %s%s"):format(pid, WITH, options)))
      if n.root then -- as later ones than Debian's: that of passwd(5)
        local out = helper.sh(("echo 'echo $0' | env -u SHELL %s -t %d %s"):format(n.OURS, pid, options))
        assert.equal("-" .. helper.sh "getent passwd 0":match "([^/]*)$", out)
      end
      assert.equal("-sh", (helper.sh(("echo 'echo $0' | SHELL=/no/such/zsh %s -t %d %s%s"):format(n.OURS, pid, WITH, options))))
      assert.equal("on 7", (helper.sh(("echo 'readlink /proc/$$/ns/net >&7; echo on 7 >&7' | SHELL=/no/such/zsh %s -t %d %s%s 7>&1 >/dev/null")
        :format(n.OURS, pid, WITH, options)):match "on 7$"))
    end
  end)

  it("prints its help and its version", function()
    local help, ok = ours "--help"
    assert.is_true(ok)
    for option in helper.sh("nsenter --help"):gmatch "%-%-[%a-]+" do
      assert.truthy(help:find(option, 1, true), option)
    end
    assert.equal(help, (ours "-h"))
    assert.equal("nslua nsenter, of " .. ns._VERSION, (ours "-V"))
    assert.equal("nslua nsenter, of " .. ns._VERSION, (ours "--version"))
  end)
end)
