-- ns.exec, and what a plan says of where and as whom the program is: persist, owner, lo, cgroup, root and cwd by fd, capabilities.

local helper = require "spec.helper"
local ns = require "nslua"
local core = require "nslua.core"

local root = helper.is_root()

-- A piece of Lua in a process of its own: it may become a program.
local function script(text)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write("local ns = require 'nslua'\n", text)
  f:close()
  local out, ok, status = helper.sh(helper.lua .. " " .. name)
  os.remove(name)
  return out, ok, status
end

local MAPS = root and "" or "map_users = 'root', "
local unshared = root and "net" or "net,user"

describe("exec", function()
  after_each(helper.close_held)

  it("becomes the program: the same process, no other", function()
    local out = script [[
      io.write(require "nslua.core".file.readlink "/proc/self", "\n") -- what is written before is not lost
      ns.exec { "sh", "-c", "echo $$" }]]
    local before, after = out:match "^(%d+)\n(%d+)$"
    assert.is_truthy(before, out)
    assert.equal(before, after)
  end)

  it("joins, makes and maps what the plan says", function()
    local out = script(("ns.exec { 'sh', '-c', 'readlink /proc/self/ns/net; cat /proc/self/uid_map; ip -o link', unshare = %q, %slo = true }")
      :format(unshared, MAPS))
    local net = out:match "net:%[%d+%]"
    assert.not_equal(helper.sh "readlink /proc/self/ns/net", net)
    assert.matches("<LOOPBACK,UP,LOWER_UP>", out)
    if not root then
      assert.matches("%s0%s+%d+%s+1\n", out)
    end
  end)

  it("gives a new pid namespace to the program's children, as unshare(1) without --fork", function()
    local out = script(("ns.exec { 'sh', '-c', 'echo $$; sh -c \"echo \\\\$\\\\$\"; :', unshare = %q, %s }"):format(
      root and "pid" or "pid,user", MAPS))
    local own, child = out:match "^(%d+)\n(%d+)$"
    assert.equal("1", child, out)
    assert.not_equal("1", own)
  end)

  it("keeps the program's fds to 0, 1, 2 and the plan's", function()
    local out = script [[
      local a = io.open("/dev/null")
      ns.exec { "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '", stdin = "null", fds = { { a, as = 7 } } }]]
    assert.equal("0 1 2 3 7", (out:gsub("%s+$", "")))
  end)

  it("ends what the script owns", function()
    local pid = script [[
      local p = ns.spawn { "sleep", "60" }
      ns.exec { "sh", "-c", "echo " .. p.pid }]]
    assert.is_nil(core.file.stat("/proc/" .. pid))
  end)

  it("raises what failed, and the script goes on", function()
    local out = script [[
      local ok, e = pcall(ns.exec, { "no-such-program" })
      print(ok, e.code, e.step)
      ok, e = pcall(ns.exec, { "true", cwd = "/no/such" })
      print(ok, e.code, e.step)
      print(ns.run { "echo", "on" }.stdout)]]
    assert.equal("false\tENOENT\texec\nfalse\tENOENT\tcwd\non", (out:gsub("%s+$", "")))
  end)

  it("refuses what needs this process afterwards", function()
    for key, value in pairs { timeout = 1, pty = true, init = true, input = "x", stdout = "capture", stdin = "pipe", contain = true } do
      local ok, e = pcall(ns.exec, { "true", [key] = value })
      assert.is_false(ok)
      assert.matches("is for", tostring(e), key)
    end
    assert.has_error(function()
      ns.exec { "true", unshare = "pid", persist = { pid = "/dev/null" } }
    end)
  end)

  it("is a method of handles", function()
    local out = script(([[
      local a = require "spec.helper".netns()
      print(a.inode)
      io.stdout:flush()
      a:exec { "readlink", "/proc/self/ns/net" }]]))
    local inode, inside = out:match "(%d+)\nnet:%[(%d+)%]"
    assert.is_truthy(inode)
    assert.equal(inode, inside)
  end)
end)

describe("a plan", function()
  it("binds new namespaces onto files, before the program runs", function()
    if not root then
      pending "not root: binds in this mount namespace"
      return
    end
    local files = {}
    for _, t in ipairs { "net", "uts", "user", "pid" } do
      files[t] = os.tmpname()
    end
    local r = ns.run { "sh", "-c", "for t in net uts user pid; do readlink /proc/self/ns/$t; done", unshare = "net,uts,user,pid,mount",
      map_users = "root", mount_proc = true, persist = files }
    local seen, bound = {}, {}
    for t, inode in r.stdout:gmatch "(%l+):%[(%d+)%]" do
      seen[t] = tonumber(inode)
    end
    for t, path in pairs(files) do
      bound[t] = ns.namespace.open(path, t).inode
    end
    collectgarbage()
    for _, path in pairs(files) do
      helper.sh("umount " .. path .. "; rm " .. path)
    end
    assert.same(seen, bound)
  end)

  it("fails where a file is missing: no program runs, nothing is left", function()
    local made = os.tmpname()
    os.remove(made)
    for _, t in ipairs { "net", "pid" } do
      local ok, e = pcall(ns.run, { "touch", made, unshare = root and t or t .. ",user", persist = { [t] = "/no/such/file" },
        map_users = not root and "root" or nil })
      assert.is_false(ok)
      assert.equal("persist", e.step)
      assert.is_truthy(e.code == "ENOENT" or e.code == "EPERM")
      assert.is_nil(core.file.stat(made))
    end
    if root then
      local file = os.tmpname()
      for _, late in ipairs { { persist = { net = file, uts = "/no/such/file" } }, { persist = { uts = file, net = "/no/such/file" } },
        { persist = { net = file, pid = "/no/such/file" } }, { persist = { uts = file, pid = file }, cwd = "/no/such/directory" },
        { "/no/such/program", persist = { net = file } } } do
        late.unshare, late[1] = "net,uts,pid", late[1] or "true"
        assert.is_false((pcall(ns.run, late)))
        assert.equal("0", (helper.sh("grep -c " .. file .. " /proc/self/mountinfo")))
      end
      os.remove(file)
    end
    local zombies = helper.sh("ps -o stat= --ppid " .. core.file.readlink "/proc/self" .. " | grep -c Z")
    assert.equal("0", zombies)
    assert.has_error(function()
      ns.run { "true", persist = { net = "/dev/null" } }
    end)
  end)

  it("waits for the helpers of a plan that fails, also where nobody else would", function()
    local text = ([[
      local ns, core = require "nslua", require "nslua.core"
      local function children() -- zombies too
        local f = core.fd.open("/proc/thread-self/children", "r")
        local n = 0
        for _ in (f:read() or ""):gmatch "%%d+" do
          n = n + 1
        end
        f:close()
        return n
      end
      local function fds()
        collectgarbage()
        collectgarbage()
        return #core.file.list "/proc/self/fd"
      end
      local missing = { unshare = "%s,pid", %spersist = { net = "/no/such/file" } }
      local late = { unshare = "%s,pid", %spersist = { pid = "/no/such/file" } }
      local maps = { "/no/such/program", unshare = "user", map_users = "root" }
      pcall(ns.exec, maps)
      local before = fds()
      missing[1], late[1] = "true", "true"
      print(pcall(ns.run, missing), pcall(ns.run, late), pcall(ns.exec, missing), pcall(ns.exec, maps))
      print(children(), fds() - before)]]):format(unshared, MAPS, unshared, MAPS)
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    f:write(text)
    f:close()
    local out = helper.sh(("unshare -r --pid --fork --mount-proc env %s %s"):format(helper.lua, name))
    os.remove(name)
    assert.equal("0\t0", out:match "[^\n]+$", out)
  end)

  it("gives the user namespace another owner", function()
    if not root then
      pending "not root: cannot become another owner"
      return
    end
    local p = helper.held(ns.spawn { "sleep", "60", unshare = "user", owner = { 65534, 65533 }, map_users = { { 0, 65534, 1 } },
      map_groups = { { 0, 65533, 1 } } })
    local u = helper.held(ns.namespace.open(p.pid, "user"))
    assert.equal(65534, u.owner_uid)
    assert.equal("0:0", helper.sh(("nsenter -t %d -U sh -c 'echo $(id -u):$(id -g)'"):format(p.pid)))
    helper.close_held()
  end)

  it("keeps capabilities over the exec for any uid", function()
    local r = ns.run { "grep", "Cap", "/proc/self/status", unshare = "user", map_users = "current", keep_caps = true }
    local bare = ns.run { "grep", "Cap", "/proc/self/status", unshare = "user", map_users = "current" }
    assert.not_matches("CapAmb:\t0+\n", r.stdout)
    assert.equal(r.stdout:match "CapPrm:\t(%x+)", r.stdout:match "CapAmb:\t(%x+)")
    assert.equal(r.stdout:match "CapPrm:\t(%x+)", r.stdout:match "CapEff:\t(%x+)")
    assert.matches("CapAmb:\t0+\n", bare.stdout)
  end)

  it("takes root and cwd as directories that were opened before", function()
    local fd = helper.held(core.fd.open("/etc", "path"))
    assert.equal("/etc\n", ns.run { "readlink", "/proc/self/cwd", cwd = fd }.stdout)
    local dir = helper.sh "d=$(mktemp -d); cp /bin/busybox $d; echo $d"
    local new = helper.held(core.fd.open(dir, "path"))
    for _, extra in ipairs { root and "net" or "user,net", root and "mount" or "user,mount" } do
      assert.equal("busybox\n", ns.run { "/busybox", "ls", "/", root = new, unshare = extra, map_users = not root and "root" or nil }.stdout)
    end
    helper.sh("rm -r " .. dir)
    assert.has_error(function()
      ns.run { "true", root = io.stdout }
    end)
  end)

  it("names the program otherwise than it is found", function()
    assert.equal("-tool\n", ns.run { "sh", "-c", "tr '\\0' '\\n' </proc/$$/cmdline | head -n 1", argv0 = "-tool" }.stdout)
    assert.has_error(function()
      ns.run { "true", argv0 = "a\0b" }
    end)
  end)

  it("keeps the groups with another uid", function()
    for _, word in ipairs { "all", "" } do
      assert.has_error(function()
        ns.run { "true", groups = word }
      end)
    end
    if not root then
      pending "not root: cannot take another uid"
      return
    end
    local out = helper.sh(("setpriv --groups 4,24 env %s -e %q"):format(helper.lua, [[local ns = require 'nslua'
      for _, groups in ipairs { 'keep', { 5 } } do io.write(ns.run { 'id', '-G', uid = 7, groups = groups }.stdout) end
      io.write(ns.run { 'id', '-G', uid = 7 }.stdout)]]))
    assert.equal("0 4 24\n0 5\n0", out)
  end)

  it("drops the caller's groups where the user namespace that is joined denies setting them", function()
    if not root then
      pending "not root: has no groups to drop"
      return
    end
    local p = helper.held(ns.spawn { "sleep", "600", unshare = "user", map_users = "root", setgroups = "deny" })
    local out = helper.sh(("setpriv --groups 4,24 env %s -e %q"):format(helper.lua,
      ("io.write(require 'nslua'.run { 'grep', 'Groups', '/proc/self/status', join = { user = %d } }.stdout)"):format(p.pid)))
    assert.matches("^Groups:%s*$", out)
  end)

  it("enters the cgroups of a process", function()
    if not root then
      pending "not root: cgroups of other processes"
      return
    end
    local own = helper.sh "cat /proc/self/cgroup"
    local first = helper.sh "cat /proc/1/cgroup"
    local r = ns.run { "cat", "/proc/self/cgroup", cgroup = 1 }
    assert.equal(first, (r.stdout:gsub("\n$", "")))
    assert.equal(own, helper.sh "cat /proc/self/cgroup")
    assert.has_error(function()
      ns.run { "true", cgroup = 2 ^ 22 + 5 }
    end)
  end)

  it("sends the program another signal when this process dies", function()
    local log = os.tmpname()
    local out = script(([[
      local p = ns.spawn { "sh", "-c", "trap 'echo got TERM >>%s; exit' TERM; echo ready; while :; do sleep 0.05; done", death_signal = "TERM" }
      print(p.pid)
      io.stdout:flush()
      while not io.open(%q):read "a":find "ready" do if ns.wait({}, 0.01) then break end end
      require "nslua.core".process.exit(0)]]):gsub("echo ready", "echo ready >>" .. log):format(log, log))
    assert.matches("^%d+", out)
    local text
    for _ = 1, 200 do
      text = helper.sh("cat " .. log)
      if text:find "TERM" then
        break
      end
      ns.wait({}, 0.02)
    end
    os.remove(log)
    assert.equal("ready\ngot TERM", text)
  end)
end)
