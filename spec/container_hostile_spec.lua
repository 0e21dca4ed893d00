-- Containers that want to do harm: names, files and ends of one are tried on every command that looks at it.

local helper = require "spec.helper"
local layout = require "spec.container_helper"
local ns = require "nslua"

local HOST = helper.sh "pwd" .. "/build/bin/nslua"
local root = helper.is_root()

-- A folder's name is an id of runc: all bytes but / and \0.
local EVIL = "ev\27[31mil\7\n\155\255\xc2\x9bx"
local LINK = "l\27[2J\255\7"
local SECRET = "203.0.113.66"

-- A container's first process: another root, a name that is no text, sockets.
local PROCESS = [[
import ctypes, os, socket, sys, time
libc = ctypes.CDLL(None)
s = socket.socket(); s.bind(("127.0.0.1", 8080)); s.listen(1)
u = socket.socket(socket.AF_UNIX); u.bind(b"\0un\x1b]0;x\x07\xffix"); u.listen(1)
os.chroot(sys.argv[1]); os.chdir("/")
libc.prctl(15, b"c\x1b[31m\nm\xff", 0, 0, 0)
print("ready", flush=True)
time.sleep(600)
]]

describe("a hostile container", function()
  local why = not helper.has "python3" and "no python3 here"
    or not select(2, helper.sh((root and "" or "unshare -Ur ") .. "unshare -nm true")) and "no right to make namespaces"
  if why then
    return pending(why)
  end

  local dir, at, jail, userns, box, process
  before_each(function()
    dir = helper.sh "mktemp -d"
    at = layout.below(dir)
    jail = dir .. "/jail"
    helper.sh(("mkdir -p %s/etc %s/proc %s/run %s/var/lib && echo 'nameserver %s' >%s/secret && chmod 755 %s")
      :format(jail, jail, dir, dir, SECRET, dir, dir))
    userns = not root and helper.held(ns.userns.new { map_users = "root" }) or nil
    box = helper.held(ns.netns.new { lo = true, userns = userns, label = "box" })
  end)
  after_each(function()
    helper.close_held()
    helper.sh("rm -rf " .. dir)
  end)

  local function started(pid)
    local f = assert(io.open(("/proc/%d/stat"):format(pid)))
    local words = {}
    for word in f:read "a":match "^.*%) (.*)$":gmatch "%S+" do
      words[#words + 1] = word
    end
    f:close()
    return tonumber(words[20])
  end

  -- Its state file, as runc leaves it.
  local function tell(id, pid)
    os.execute(("mkdir -p '%s/run/runc/%s'"):format(dir, id))
    local f = assert(io.open(("%s/run/runc/%s/state.json"):format(dir, id), "w"))
    f:write(('{"init_process_pid":%d,"init_process_start":%d}'):format(pid, started(pid)))
    f:close()
  end

  local function start()
    process = helper.held(ns.spawn { "python3", "-c", PROCESS, jail, join = { user = userns, net = box }, unshare = "mount", stdout = "pipe",
      mounts = { { bind = "/proc", to = jail .. "/proc" } } })
    assert.equal("ready", process.stdout:read "l")
    tell(EVIL, process.pid)
  end

  -- A plan of nslua on a machine that has the state files of this spec.
  local function plan(words, more)
    local out = { HOST, join = userns and { user = userns } or nil, unshare = "mount",
      mounts = { { bind = dir .. "/run", to = "/run" }, { bind = dir .. "/var/lib", to = "/var/lib" } }, env = { LC_ALL = "C.UTF-8" } }
    for i, word in ipairs(words) do
      out[i + 1] = word
    end
    for key, value in pairs(more or {}) do
      out[key] = value
    end
    return out
  end

  -- Run to its end; nothing that it prints is obeyed by a terminal, and nothing of the host is in it.
  local function clean(text, what)
    what = what .. ": " .. ("%q"):format(text)
    assert.is_nil(text:find "[%z\1-\8\11-\31\127]", what)
    assert.is_nil(text:find "\xc2[\x80-\x9f]", what)
    assert.is_truthy(utf8.len(text), what)
    assert.is_nil(text:find(SECRET, 1, true), what)
    assert.is_nil(text:find "root:[x*!$]", what)
  end
  local function nslua(words, more)
    more = more or {}
    more.timeout = 60
    local r = ns.run(plan(words, more))
    local what = table.concat(words, " "):gsub("%c", "?")
    assert.is_false(r.timed_out, what)
    clean(r.stdout, what)
    clean(r.stderr, what)
    return r
  end

  it("has names that no command lets through", function()
    box.link:add { name = LINK, kind = "veth", peer = { name = "b" }, altnames = { "alt\27[0m" } }
    box.link:change(LINK, { up = true, alias = "al\27]0;x\7\nias\255" })
    box.address:add { "10.4.0.1/24", dev = LINK }
    box.route:add { "10.5.0.0/16", dev = LINK }
    box.neighbour:add { "10.4.0.9", lladdr = "02:00:00:00:00:01", dev = LINK }
    at.write("/jail/etc/resolv.conf", "nameserver 127.0.0.1\nsearch a\27[31m.b \255\27\n")
    at.write("/jail/etc/hosts", "127.0.0.5 h\27[31m\255\n")
    at.docker(layout.A, "d\\u001b[31m\\n\\u009b", 0)
    at.write("/var/lib/docker/containers/" .. layout.B .. "/config.v2.json",
      '{"State":{"Running":false,"Pid":0},"ID":"x","Config":{"Image":"im\\u001b[31m\255","Labels":{"l\\u001b[0m":"v\\u009b\255"}},'
      .. '"Name":"/n\\u0007\255"}')
    start()
    local status = {}
    for _, words in ipairs {
      { "containers", "-a" }, { "containers", "-aj" }, { "containers", "-q" }, { "show", EVIL }, { "show", "-j", EVIL },
      { "watch", "-c1", "-n.01", EVIL },
      { "sockets", "-apemoi", EVIL },
      { "sockets", "-apj", EVIL }, { "sockets", "-s", EVIL }, { "link", "list", "-n", EVIL }, { "link", "list", "--json", "-n", EVIL },
      { "address", "list", "-n", EVIL }, { "route", "list", "-n", EVIL }, { "neighbour", "list", "-n", EVIL }, { "rule", "list", "-n", EVIL },
      { "ls", "-t", "net" }, { "ls", "-t", "net", "-J" }, { "ls", "-r" },
      { "ping", "-vc1", "-W5", EVIL, "127.0.0.1" }, { "ping", "-jc1", "-W5", EVIL, "127.0.0.1" }, { "ping", "-4", "-vc1", "-W5", ".", EVIL },
      { "tcp", "-v", EVIL, "127.0.0.1:8080" }, { "udp", "-nvW0.01", EVIL, "127.0.0.1:8080" },
      { "http", "-W0.01", EVIL, "http://127.0.0.1:8080/" },
      { "trace", EVIL, "127.0.0.1" }, { "path-mtu", EVIL, "127.0.0.1" }, { "resolve", "-v", EVIL, "name" }, { "resolve", EVIL, "h\27[31m\255" },
      { "enter", EVIL, "true" }, { "enter", "-w", "/no\27dir", EVIL, "true" }, { "enter", "-a", EVIL, "no\27such" },
      { "enter", "-t", EVIL, "no\27such" }, { "nsenter", "-t", EVIL, "-n", "true" }, { "capture", "-B", "9999999999", EVIL },
    } do
      local r = nslua(words)
      status[words[1] .. " " .. words[2]:gsub("[^%w-]", ""):sub(1, 6)] = r.status
      if words[1] == "show" and words[2] == EVIL then
        assert.is_truthy(r.stdout:find("c\\x1b[31m\\x0am\\xff", 1, true), r.stdout)
        assert.is_truthy(r.stdout:find("l\\x1b[2J\\xff\\x07", 1, true), r.stdout)
      end
    end
    assert.same({ 0, 0, 0, 0, 0 }, { status["containers -a"], status["show -j"], status["ping -vc1"], status["link list"], status["tcp -v"] })
    -- the prompt of a shell
    tell("$(echo>PWNED)`echo>PWNED`\\$(echo>PWNED)", process.pid)
    for _, id in ipairs { EVIL, "$(echo>PWNED)`echo>PWNED`\\$(echo>PWNED)" } do
      local r = ns.run(plan({ "enter", id }, { input = "echo \"<$PS1>\"\nexit\n", cwd = dir, timeout = 60 }))
      assert.equal(0, r.status)
      local shown = r.stdout:match "<(%(.-%) )"
      assert.matches("^%(runc[%w_.:@%[%]?-]*%) $", shown)
    end
    assert.equal("", (helper.sh("find " .. dir .. " -name PWNED")))
  end)

  it("is captured under a name that no terminal obeys", function()
    start()
    local p = helper.held(ns.spawn(plan({ "capture", "-c1", EVIL, "icmp" }, { stdout = "pipe", stderr = "pipe" })))
    clean(p.stderr:read "l", "capture")
    assert.equal(1, box:ping("127.0.0.1", { timeout = 5 }).received)
    clean(p.stdout:read "l", "capture")
    assert.equal(0, p:wait(60).status)
    for i, words in ipairs { { "capture", EVIL, "icmp" }, { "capture", "-w", "/dev/null", EVIL } } do -- and no longer than it runs
      if i > 1 then
        start()
      end
      p = helper.held(ns.spawn(plan(words, { stderr = "pipe" })))
      assert.matches("listening on", p.stderr:read "l")
      process:kill "KILL"
      process:wait()
      local line = p.stderr:read("l", 60)
      clean(line, "capture")
      assert.matches("runc ev.* has ended$", line)
      assert.equal(0, p:wait(60).status)
    end
  end)

  it("has files of names that lead nowhere on the host, and end no reader", function()
    start()
    local function link(to)
      return ("ln -s '%s' F"):format(to)
    end
    local up = ("../"):rep(20)
    for what, command in pairs {
      absolute = link(dir .. "/secret"), relative = link(up .. dir:sub(2) .. "/secret"), passwd = link "/etc/passwd",
      shadow = link(up .. "etc/shadow"), magic = link "/proc/self/root/etc/passwd", other = link(("/proc/1/root%s/secret"):format(dir)),
      cwd = link("/proc/self/cwd" .. dir .. "/secret"), descriptor = link "/proc/self/fd/0",
      endless = link "/proc/self/pagemap", log = link "/proc/kmsg",
      loop = link "F", fifo = "mkfifo F", giant = "truncate -s 5G F", folder = "mkdir F", lines = "yes '127.0.0.1 a' | head -c 3000000 > F",
      unreadable = "echo 127.0.0.1 a >F; chmod 0 F",
    } do
      for _, name in ipairs { "hosts", "resolv.conf" } do
        helper.sh(("cd %s/etc && rm -rf hosts resolv.conf && %s"):format(jail, (command:gsub("F", name))))
        local c = { "show", "resolve", "ping" }
        for _, verb in ipairs(what == "giant" and c or { "show", name == "hosts" and "ping" or "resolve" }) do
          local r = nslua(verb == "show" and { "show", EVIL } or verb == "resolve" and { "resolve", "-W0.05", EVIL, "nobody.test" }
            or { "ping", "-c1", "-W0.05", EVIL, "nobody.test" })
          assert.equal(verb == "show" and 0 or 1, r.status, what .. " " .. verb .. ": " .. r.stderr)
        end
      end
      local r = nslua { "enter", EVIL, "sh", "-c", "head -c 100 /etc/resolv.conf | wc -l" }
      assert.equal(0, r.status, what .. r.stderr)
    end
  end)

  it("may end before: every command says so, and ends", function()
    start()
    process:kill "KILL"
    assert(ns.eventually(function() -- nobody has waited for it: a zombie, whose number stays its own
      local f = io.open(("/proc/%d/stat"):format(process.pid))
      local text = f and f:read "a" or ") Z"
      if f then
        f:close()
      end
      return text:find "%) Z" ~= nil
    end, 30))
    for _, words in ipairs {
      { "show", EVIL }, { "watch", EVIL }, { "sockets", EVIL }, { "link", "list", "-n", EVIL },
      { "address", "list", "-n", EVIL }, { "route", "list", "-n", EVIL }, { "neighbour", "list", "-n", EVIL },
      { "ping", EVIL, "127.0.0.1" }, { "tcp", EVIL, "127.0.0.1:1" }, { "udp", EVIL, "127.0.0.1:1" },
      { "resolve", EVIL, "a" }, { "http", EVIL, "http://127.0.0.1/" }, { "trace", EVIL, "127.0.0.1" }, { "path-mtu", EVIL, "127.0.0.1" },
      { "capture", EVIL }, { "enter", EVIL, "true" }, { "enter", "-a", EVIL, "true" }, { "enter", "-t", EVIL, "true" },
      { "nsenter", "-t", EVIL, "-n", "true" }, { "ping", "-c1", ".", EVIL },
    } do
      local r = nslua(words)
      assert.is_true(r.status ~= 0, table.concat(words, " "))
      assert.is_true(#r.stdout + #r.stderr > 0, table.concat(words, " "))
    end
    assert.equal(0, nslua { "containers", "-a" }.status)
  end)

  it("may end while it is looked at: what has its network goes on, what needs it says so", function()
    start()
    local p = helper.held(ns.spawn(plan({ "-e", ([[
      local c = ns.container.find(%q)
      print "found"
      io.flush()
      io.read "l" -- the spec has ended it
      print(pcall(c.read_file, c, "/etc/hosts"))
      print(pcall(c.run, c, { "true", join = "all" }))
      print(pcall(c.run, c, { "true", join = { net = c, pid = { pidfd = c.pidfd } } }))
      print(c:running(), c:etc_file "hosts" == "", c:ping("127.0.0.1", { timeout = 5 }).received, #c.link:list(), c:run({ "true" }).status)
    ]]):format(EVIL) }, { stdin = "pipe", stdout = "pipe" })))
    assert.equal("found", p.stdout:read "l")
    process:kill "KILL"
    process:wait()
    p.stdin:write "\n"
    p.stdin:close()
    local lines = {}
    for line in p.stdout:read "a":gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    assert.matches("^false\t.*ESRCH: the container has ended", lines[1])
    assert.matches("^false\t.*ESRCH: the container has ended", lines[2])
    assert.matches("^false\t.*ESRCH", lines[3])
    assert.matches("^false\ttrue\t1\t1\t0$", lines[4])
    assert.equal(0, p:wait(60).status)
  end)

  it("takes with it what runs in its namespace of processes", function()
    local first = helper.held(ns.spawn { "sleep", "600", join = { user = userns, net = box }, unshare = "pid,mount", mount_proc = true })
    tell("box", first.pid)
    local p = helper.held(ns.spawn(plan({ "enter", "-t", "box", "sh", "-c", "echo in; exec sleep 600" }, { stdout = "pipe" })))
    assert.equal("in", p.stdout:read "l")
    first:kill "KILL"
    local r = p:wait(60)
    assert.is_true(r ~= nil and (r.signal == "KILL" or r.status == 137), r and tostring(r.status))
  end)
end)
