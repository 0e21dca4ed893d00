-- Everything by a user without rights: the script as uid 65534, in user namespaces of its own.

local helper = require "spec.helper"
local unprivileged = require "spec.unprivileged"

describe("a script without rights", function()
  local run
  if helper.is_root() then
    local can, why = unprivileged.can()
    if not can then
      pending(why)
      return
    end
    run = unprivileged.lua
  else
    run = function(code)
      return helper.sh("exec env " .. helper.lua .. " -e " .. unprivileged.quote("local ns = require 'nslua'\n" .. code))
    end
  end

  -- Each piece is a script; it prints "ok" at its end or says what went wrong.
  local function works(code)
    local out, ok = run(code .. "\nprint 'ok'")
    assert.equal("ok", out)
    assert.is_true(ok)
  end

  local two = [[
    local u <close> = ns.userns.new { map_users = "root" }
    local a <close> = ns.netns.new { userns = u, lo = true, label = "a" }
    local b <close> = ns.netns.new { userns = u, lo = true, label = "b" }
    local function fails(code, pattern, fn, ...)
      local ok, e = pcall(fn, ...)
      assert(not ok, "it worked")
      assert(ns.error.is(e, code), tostring(e))
      assert(tostring(e):match(pattern), tostring(e))
    end
  ]]

  it("is told what is missing and what grants it", function()
    works(two .. [[
      fails("EPERM", "netns.new: EPERM: .* no CAP_SYS_ADMIN in user:%[%d+%]", ns.netns.new)
      fails("EPERM", 'userns = ns.userns.new{ map_users = "root" }, or `unshare %-rn`', ns.netns.new)
      ns.netns.allow_call(true)
      fails("EPERM", "netns.call in a: EPERM: .*fork", a.call, a, function() end)
    ]])
  end)

  it("has its own namespaces: links, addresses, routes, neighbours, rules from outside", function()
    works(two .. [[
      a.link:add { name = "a0", kind = "veth", peer = { name = "b0", netns = b }, up = true }
      b.link:change("b0", { up = true })
      a.address:add { "10.9.0.1/24", dev = "a0" }
      b.address:add { "10.9.0.2/24", dev = "b0" }
      b.route:add { "default", via = "10.9.0.1" }
      assert(b.route:get { "default" }.via == "10.9.0.1")
      a.neighbour:add { "10.9.0.2", lladdr = "02:00:00:00:00:02", dev = "a0" }
      a.rule:add { from = "10.0.0.0/8", table = 100 }
      local br = a.link:add { name = "br0", kind = "bridge" }
      assert(br.kind == "bridge")
      a.link:delete "br0"
      assert(a.link:get "br0" == nil)
      a:batch(function()
        for i = 1, 20 do
          a.address:add { "10.9.1." .. i .. "/32", dev = "a0" }
        end
      end)
      assert(#a.address:list { dev = "a0", family = "inet" } == 21)
      ns.connect(a, b, { "10.8.0.1/24", "10.8.0.2/24", mtu = 1400 })
    ]])
  end)

  it("sees the same links as ip(8) run inside", function()
    works(two .. [[
      local p = a:run { "ip", "-o", "link" }
      assert(p.ok, p.stderr)
      local names = {}
      for name in p.stdout:gmatch "%d+: ([^:@]+)" do names[name] = true end
      local n = 0
      for link in a.link:each() do assert(names[link.name], link.name) n = n + 1 end
      for _ in pairs(names) do n = n - 1 end
      assert(n == 0)
    ]])
  end)

  it("runs programs inside that reach each other", function()
    works(two .. [[
      ns.connect(a, b, { "10.8.0.1/24", "10.8.0.2/24" })
      local s = a:socket("inet", "dgram")
      s:close()
      local r = a:run { "sh", "-c", "id -u; cat /proc/net/dev | grep -c :; readlink /proc/self/ns/net" }
      assert(r.ok, r.stderr)
      local id, devices, net = r.stdout:match "^(%d+)\n(%d+)\n(.*)\n$"
      assert(id == "0" and devices == "2", r.stdout)
      assert(net == ("net:[%d]"):format(a.inode), net)
      local route = a:run { "ip", "route", "get", "10.8.0.2" }
      assert(route.ok and route.stdout:match "src 10.8.0.1", route.stderr)
      local p <close> = a:spawn { "sleep", "1000" }
      p:kill "KILL"
      assert(p:wait(5).signal == "KILL")
    ]])
  end)

  it("forks functions inside", function()
    works(two .. [[
      a.link:add { name = "a0", kind = "bridge" }
      local f = a:fork({}, function(x)
        local here = require("nslua").netns.current()
        local names = {}
        for link in here.link:each() do names[#names + 1] = link.name end
        return x + 1, table.concat(names, " ")
      end, 41)
      local n, names = f:result(10)
      assert(n == 42 and names:match "a0", names)
    ]])
  end)

  it("reads and sets what a namespace has of its own", function()
    works(two .. [[
      assert(a:sysctl "net.ipv4.ip_forward" == 0 or a:sysctl "net.ipv4.ip_forward" == 1)
      a:sysctl("net.ipv4.ip_forward", 1)
      b:sysctl("net.ipv4.ip_forward", 0)
      assert(a:sysctl "net.ipv4.ip_forward" == 1 and b:sysctl "net.ipv4.ip_forward" == 0)
      assert(a:read "/proc/net/dev":match "lo:" and not a:read "/proc/net/dev":match "eth0")
      fails("ENOENT", "netns.read in a", a.read, a, "/proc/net/no_such_file")
    ]])
  end)

  it("knows the ids of its namespaces for each other", function()
    works(two .. [[
      a:set_nsid(b, 7)
      assert(a:nsid_of(b) == 7)
      assert(b:nsid_of(a) == nil)
    ]])
  end)

  it("keeps its own user namespace and takes nothing along", function()
    works [[
      local core = require "nslua.core"
      local before = { core.file.readlink "/proc/self/ns/user", core.file.readlink "/proc/self/ns/net" }
      local count = require "spec.helper".fd_count
      local function round()
        local u <close> = ns.userns.new { map_users = "root" }
        local a <close> = ns.netns.new { userns = u, lo = true }
        local b <close> = ns.netns.new { userns = u }
        ns.connect(a, b, { "10.8.0.1/24", "10.8.0.2/24" })
        a:run { "true" }
        a:sysctl "net.ipv4.ip_forward"
      end
      round()
      local fds = count()
      for _ = 1, 20 do round() end
      assert(count() == fds, count() .. " fds, " .. fds .. " before")
      assert(core.file.readlink "/proc/self/ns/user" == before[1])
      assert(core.file.readlink "/proc/self/ns/net" == before[2])
    ]]
  end)

  it("has a keeper whose programs share its namespaces", function()
    works [[
      local keeper = require "nslua.keeper"
      local k <close> = keeper.get()
      local a <close> = ns.netns.new { userns = k.user, lo = true }
      local join = { user = k.user, pid = k.pid, mount = k.mount, net = a }
      local p <close> = ns.spawn { "sleep", "1000", join = join }
      local r = ns.run { "sh", "-c", "id -u; ip -o link | wc -l; ls /proc | grep -c '^[0-9]'", join = join }
      assert(r.stdout:match "^0\n1\n", r.stdout .. r.stderr)
      k:close()
      assert(p:wait(5).signal == "KILL")
      -- The user namespace is held by the script, not by the process that died: what was made in it goes on.
      assert(keeper.get().user == k.user)
      assert(#a.link:list() == 1)
    ]]
  end)

  it("has the ids of /etc/subuid in its keeper where it has some", function()
    if not helper.is_root() then
      pending "not root"
      return
    end
    local out = unprivileged.lua([[
      local k <close> = require "nslua.keeper".get()
      print((ns.run { "sort", "-n", "/proc/self/uid_map", join = k.join }.stdout:gsub("[ \t]+", " ")))
    ]], { files = { ["/etc/subuid"] = "65534:300000:1000\n", ["/etc/subgid"] = "65534:400000:1000\n" } })
    assert.equal(" 0 65534 1\n 1 300000 999", (out:gsub("\n+$", "")))
    -- A line for the users alone, or ranges that newuidmap does not grant: one id is enough.
    out = unprivileged.lua([[
      local k <close> = require "nslua.keeper".get()
      print((ns.run { "cat", "/proc/self/uid_map", join = k.join }.stdout:gsub("[ \t]+", " ")))
    ]], { files = { ["/etc/subuid"] = "65534:300000:1000\n", ["/etc/subgid"] = "" } })
    assert.equal(" 0 65534 1", (out:gsub("\n+$", "")))
  end)

  it("cannot enter what is not its own", function()
    if not helper.is_root() then
      pending "not root: nothing is another's"
      return
    end
    local out = run [[
      local ok, e = pcall(ns.userns.open, 1)
      print(ok, e)
      ok, e = pcall(ns.netns.new, { userns = ns.userns.current() })
      print(ok, e)
      ok, e = pcall(ns.netns.new, { userns = ns.netns.current() })
      print(ok, e)
    ]]
    local first, second, third = out:match "^(.-)\n(.-)\n(.*)$"
    assert.matches("false.*userns.open.*EACCES", first)
    assert.matches("false.*netns.new: EPERM: .*CAP_SYS_ADMIN", second)
    assert.matches("false.*a user namespace expected", third)
  end)
end)

describe("a script with rights", function()
  if not helper.is_root() then
    pending "not root"
    return
  end
  local ns = require "nslua"

  it("makes namespaces in a user namespace too, and moves into them itself", function()
    local u <close> = ns.userns.new { map_users = "root" }
    local a <close> = ns.netns.new { userns = u, lo = true }
    assert.equal(u, a.owner)
    ns.netns.allow_call(true)
    assert.equal(("net:[%d]"):format(a.inode), a:call(function()
      return require("nslua.core").file.readlink "/proc/thread-self/ns/net"
    end))
    ns.netns.allow_call(false)
    a.link:add { name = "v0", kind = "bridge" }
    assert.matches("v0", a:run({ "ip", "-o", "link" }).stdout)
    assert.matches(("user:%%[%d%%]"):format(u.inode), a:run({ "readlink", "/proc/self/ns/user" }).stdout)
    a:sysctl("net.ipv4.ip_forward", 1)
    assert.equal(1, a:sysctl "net.ipv4.ip_forward")
  end)
end)
