-- Network namespaces under faults: no fds, no space, no rights, limits. Each is a clear error; nothing is half made, no fd is left.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"
local unprivileged = require "spec.unprivileged"

local sh = helper.sh
local lua = "env " .. helper.lua

-- A script with its own mount namespace and an empty /run of that size; `before` runs as a shell line.
local function fresh_run(script, size, before)
  return helper.fresh_run(([[%s
exec %s - <<'LUA'
local ns = require "nslua"
local core = require "nslua.core"
local function fds() collectgarbage() collectgarbage() return #core.file.list "/proc/self/fd" end
%s
LUA]]):format(before or "", lua, script), size)
end

describe("a full /run", function()
  it("of no inode for the name leaves nothing", function()
    helper.needs_root(pending)
    local out = fresh_run([[
      local before = fds()
      for i = 1, 3 do
        local ok, e = pcall(ns.netns.add, "n" .. i)
        print(ok, ok or e.code, ok or tostring(e):match "netns.add in n%d: ENOSPC: No space left on device %(/run/netns/n%d%)")
        if ok then e:close() end
      end
      print(fds() == before, #ns.netns.list())]], "nr_inodes=4", ": > /run/x")
    assert.equal("true\ttrue\ttrue\nfalse\tENOSPC\tnetns.add in n2: ENOSPC: No space left on device (/run/netns/n2)\n"
      .. "false\tENOSPC\tnetns.add in n3: ENOSPC: No space left on device (/run/netns/n3)\ntrue\t1", out)
  end)

  it("that is read only is EROFS", function()
    helper.needs_root(pending)
    local out = fresh_run([[
      local before = fds()
      print(select(2, pcall(ns.netns.add, "a")).code, fds() == before)]], "size=1m", "mount -o remount,ro /run")
    assert.equal("EROFS\ttrue", out)
  end)
end)

describe("few fds", function()
  it("of RLIMIT_NOFILE 20 are a clear error at every call, and none is left", function()
    helper.needs_root(pending)
    local out = fresh_run([[
      local held = {}
      local first = ns.netns.add "first"
      first:close()
      local target = ns.netns.new()
      assert(ns.netns.list()) -- what is loaded on first use is loaded
      pcall(ns.netns.holders, "first")
      while true do
        local fd = core.fd.open("/dev/null", "r")
        if not fd then break end
        held[#held + 1] = fd
      end
      local calls = {
        new = function() return ns.netns.new() end,
        add = function() return ns.netns.add "second" end,
        open = function() return ns.netns.open "first" end,
        pid = function() return ns.netns.open(tonumber(core.file.readlink "/proc/self")) end,
        current = function() return ns.netns.current() end,
        socket = function() return target:socket("inet", "stream") end,
        sysctl = function() return target:sysctl "net.ipv4.ip_forward" end,
        attach = function() return ns.netns.attach("third", target) end,
      }
      local ns_net = core.file.readlink "/proc/self/ns/net"
      -- With 0 to 4 fds free: each either works and gives its fd back, or fails with EMFILE and leaves nothing.
      for free = 0, 4 do
        for name, call in pairs(calls) do
          local before = #held
          local ok, e = pcall(call)
          if ok then
            if type(e) == "table" or type(e) == "userdata" then e:close() end
            pcall(ns.netns.delete, "second") pcall(ns.netns.delete, "third")
          elseif not ns.error.is(e, "EMFILE") or not tostring(e):find("RLIMIT_NOFILE", 1, true) then
            print(free, name, tostring(e))
          end
          collectgarbage() collectgarbage()
          local n, refill = 0, {}
          while true do
            local fd = core.fd.open("/dev/null", "r")
            if not fd then break end
            refill[#refill + 1] = fd
          end
          if #refill ~= free then print("fds", free, #refill, name) end
          for _, fd in ipairs(refill) do fd:close() end
          if core.file.readlink "/proc/self/ns/net" ~= ns_net then print("moved", name) end
        end
        held[#held]:close()
        held[#held] = nil
      end
      for _, fd in ipairs(held) do fd:close() end
      for _, row in ipairs(ns.netns.list()) do print(row.name, row.alive) end]], nil, "ulimit -n 20")
    assert.equal("first\ttrue", out)
  end)
end)

describe("limits", function()
  it("of network namespaces name the limit and the sysctl, and leave no name", function()
    local out, ok = sh(([[unshare -Urm --propagation private sh <<'END'
mount -t tmpfs tmpfs /run || exit 1
echo 0 > /proc/sys/user/max_net_namespaces || exit 1
exec %s -e 'local ns = require "nslua" for _, f in ipairs { ns.netns.new, function() return ns.netns.add "a" end } do
  local ok, e = pcall(f)
  print(e.code, tostring(e):match "user.max_net_namespaces = 0 in this user namespace, or less in one above; raise it with sysctl")
end
print(#ns.netns.list())'
END
]]):format(lua))
    if not ok then
      pending(out)
      return
    end
    local hint = "user.max_net_namespaces = 0 in this user namespace, or less in one above; raise it with sysctl"
    assert.equal(("ENOSPC\t%s\nENOSPC\t%s\n0"):format(hint, hint), out)
  end)
end)

describe("missing rights", function()
  it("are named: which capability, in which user namespace, and what grants it", function()
    unprivileged.needs_uid(pending)
    local out = unprivileged.lua [[
      local here = require "nslua.core".file.readlink "/proc/self/ns/user"
      for _, f in ipairs { function() ns.netns.new() end, function() ns.netns.add "nsn-x" end,
          function() ns.netns.current():socket("inet", "raw", "icmp") end, function() ns.setns(ns.netns.current()) end } do
        local ok, e = pcall(f)
        print(e.code, (tostring(e):gsub(here:gsub("%p", "%%%0"), "HERE"):match "no CAP_%u+_%u+ in HERE: run as root"))
      end]]
    local lines = {}
    for line in out:gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    for _, i in ipairs { 1, 2, 4 } do
      assert.equal("EPERM\tno CAP_SYS_ADMIN in HERE: run as root", lines[i], out)
    end
    assert.equal("EPERM\tno CAP_NET_RAW in HERE: run as root", lines[3])
  end)

  it("come with what that call could do instead", function()
    unprivileged.needs_uid(pending)
    for code, wanted in pairs {
      ["ns.netns.new()"] = ': run as root, or in a user namespace %(userns = ns.userns.new{ map_users = "root" }, or `unshare %-rn`%)$',
      ['ns.netns.add "nsn-x"'] = ': run as root, or make one without a name: ns.netns.new{ userns = ns.userns.new{ map_users = "root" } }$',
      ['ns.netns.current().link:add { name = "nsn-x", kind = "ifb" }'] =
        " no CAP_NET_ADMIN in .*: run as root, or work in a namespace of this script's own: ns.netns.new{ userns = ",
      ['ns.run { "true", unshare = "net,uts" }'] = ': run as root, or with unshare = "user,net,uts", map_users = "root"$',
      ['ns.run { "true", hostname = "x" }'] = ': run as root, or with unshare = "user,uts", map_users = "root"$',
      ['ns.spawn { "true", mounts = { { tmpfs = "/mnt" } } }'] = ': run as root, or with unshare = "user,mount", map_users = "root"$',
      ['ns.unshare "net"'] = ': run as root, or with "user" among the types$',
      -- the machine's own: nothing but root
      ['ns.run { "true", join = { net = ns.netns.current(), uts = 1 } }'] = "CAP_SYS_PTRACE over it is missing %(PTRACE_MODE_READ%); run as root$",
      ['ns.run { "true", join = 1 }'] = "^run: join %l+: EACCES: .*pid 1.*CAP_SYS_PTRACE over it is missing %(PTRACE_MODE_READ%); run as root$",
      ["ns.setns(ns.netns.current())"] = "EPERM: .*: run as root$",
    } do
      local out = unprivileged.lua(("local ok, e = pcall(function() %s end) print((tostring(e):gsub('^.-:%%d+: ', '')))"):format(code))
      assert.matches(wanted, out)
    end
  end)

  it("in a user namespace of the same user are not missing: it is entered by who made it, named or not", function()
    unprivileged.needs_uid(pending)
    local out = unprivileged.lua [[
      local p = ns.spawn { "sleep", "1000", unshare = "user,net", map_users = "root" }
      local h = ns.netns.open(p.pid)
      print(ns.run { "true", join = h }.ok)
      print(ns.run { "true", join = { net = h, user = p.pid } }.ok)
      p:kill "KILL"]]
    assert.equal("true\ntrue", out)
  end)

  it("in a foreign user namespace name its owner", function()
    helper.needs_root(pending)
    -- Root of a user namespace may make namespaces, but not touch those of the machine.
    local out, ok = sh("unshare -Ur " .. lua .. [[ - <<'END'
      local ns = require "nslua"
      local core = require "nslua.core"
      print(select(2, pcall(ns.setns, ns.netns.current())))
      local a = ns.netns.new { lo = true } -- it cannot return from there: a child goes
      print(a.owner == ns.namespace.current "user", a.link:get("lo").up, ns.netns.current() ~= a)
END
]])
    assert.is_true(ok, out)
    assert.matches("setns: EPERM: .*CAP_SYS_ADMIN is needed in .*, which owns the target; this process has it in user:%[%d+%] only", out)
    assert.matches("true\ttrue\ttrue$", out)
  end)

  it("of names say who owns the directory", function()
    unprivileged.needs_uid(pending)
    local out = unprivileged.sh([[unshare -Ur ]] .. lua .. [[ -e 'print(select(2, pcall(require "nslua".netns.add, "nsn-x")))']])
    assert.matches("netns.add in nsn%-x: E%u+: .*/run/?", out)
  end)
end)

describe("rounds", function()
  -- A sanitizer keeps what is freed.
  local sanitized = io.open("/proc/self/maps"):read("*a"):find "libasan" ~= nil

  local function rss()
    return tonumber(io.open("/proc/self/statm"):read("*a"):match "^%d+ (%d+)")
  end

  it("of open and close, 10,000 times, leave fds and memory as they were", function()
    local pid = tonumber(core.file.readlink "/proc/self")
    local function round()
      ns.netns.open(pid):close()
      ns.netns.open("/proc/self/ns/net"):close()
      ns.netns.current():close()
      pcall(ns.netns.open, "/etc/passwd")
    end
    local function thousand()
      for _ = 1, 1000 do
        round()
      end
      collectgarbage()
      collectgarbage()
    end
    thousand()
    local fds, memory = #core.file.list "/proc/self/fd", rss()
    for _ = 1, 10 do
      thousand()
    end
    assert.equal(fds, #core.file.list "/proc/self/fd")
    assert.is_true(sanitized or rss() - memory < 256, "pages: " .. rss() - memory) -- 1 MB
  end)

  it("of new, add and delete, 500 times, leave fds, memory and mounts as they were", function()
    helper.needs_root(pending)
    local out = fresh_run [[
      local function rss() return tonumber(io.open("/proc/self/statm"):read("*a"):match "^%d+ (%d+)") end
      local function round()
        ns.netns.add("a", { lo = true }):close()
        ns.netns.delete "a"
        ns.netns.new():close()
      end
      local function mounts() return select(2, io.open("/proc/self/mountinfo"):read("*a"):gsub("nsfs", "")) end
      local there = mounts() -- other people's
      for _ = 1, 50 do round() end
      local before, memory = fds(), rss()
      for _ = 1, 500 do round() end
      print(fds() - before, rss() - memory < 256 or io.open("/proc/self/maps"):read("*a"):find "libasan" ~= nil, #ns.netns.list())
      print(mounts() - there)]]
    assert.equal("0\ttrue\t0\n0", out)
  end)
end)
