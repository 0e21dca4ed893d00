-- User namespaces as handles: made, opened, compared, closed; what is said where they cannot be made.

local core = require "nslua.core"
local errors = require "nslua.error"
local helper = require "spec.helper"
local ns = require "nslua"
local unprivileged = require "spec.unprivileged"

describe("ns.userns", function()
  it("makes one without moving the script", function()
    local before = helper.sh "readlink /proc/$PPID/ns/user"
    local u = ns.userns.new { map_users = "root", label = "mine" }
    assert.equal("user", u.type)
    assert.equal(before, helper.sh "readlink /proc/$PPID/ns/user")
    assert.not_equal(ns.userns.current(), u)
    assert.equal(ns.userns.current(), u.parent)
    assert.equal((core.idmap.who()), u.owner_uid)
    assert.equal("user namespace mine", tostring(u))
    assert.is_true(u:close())
    assert.is_true(u:close())
    assert.equal("user namespace mine (closed)", tostring(u))
    assert.has_error(function()
      u:maps()
    end, "userns.maps: mine is closed")
  end)

  it("opens and compares by what they are", function()
    local u = ns.userns.new { map_users = "root" }
    local copy = u:copy()
    assert.equal(u, copy)
    local again = ns.userns.open(("/proc/self/fd/%d"):format(u.fd:number()))
    assert.equal(u, again)
    assert.equal(u, ns.userns.open(u))
    assert.same(u:maps(), again:maps())
    assert.equal(ns.userns.current(), ns.userns.open(tonumber((helper.sh "echo $PPID"))))
    assert.has_error(function()
      ns.userns.open "/proc/self/ns/net"
    end)
    assert.has_error(function()
      ns.userns.new { map_user = "root" }
    end, "userns.new: unknown key 'map_user' (did you mean 'map_users'?)")
    assert.has_error(function()
      ns.userns.new { map_users = true }
    end)
    for _, handle in ipairs { u, copy, again } do
      handle:close()
    end
  end)

  it("reads the maps of its own", function()
    local own = {}
    for a, b, c in helper.sh("cat /proc/self/uid_map"):gmatch "(%d+)%s+(%d+)%s+(%d+)" do
      own[#own + 1] = { tonumber(a), tonumber(b), tonumber(c) }
    end
    assert.same(own, ns.userns.current():maps().uid.ranges)
  end)

  it("is owner of what is made in it", function()
    local u = ns.userns.new { map_users = "root" }
    local a = ns.netns.new { userns = u, lo = true }
    assert.equal(u, a.owner)
    assert.equal(u, a.userns)
    u:close() -- the namespace holds a handle of its own
    local s = a:raw_socket(2, 2, 0)
    assert.is_true(core.namespace.lo_up(s))
    s:close()
    assert.matches("LOOPBACK,UP", a:run({ "ip", "-o", "link" }).stdout)
    assert.matches("^uid=0", a:run({ "id" }).stdout)
    local userns = a.userns
    a:close()
    assert.is_false(userns:isopen())
  end)

  it("of another's making is entered with memory of its own", function()
    -- A program inside holds it; the script opens it by pid.
    local u = ns.userns.new { map_users = "root" }
    local p = ns.spawn { "sleep", "1000", join = { user = u } }
    local opened = ns.userns.open(p.pid)
    assert.equal(u, opened)
    assert.is_false(require("nslua.keeper").trusted(opened.fd))
    local a = ns.netns.new { userns = opened, lo = true }
    assert.equal(u, a.owner)
    p:kill "KILL"
    p:wait(5)
    for _, handle in ipairs { a, opened, p, u } do
      handle:close()
    end
  end)

  it("leaves no fd where it fails", function()
    local before = helper.fd_count()
    for _ = 1, 20 do
      assert.is_false((pcall(ns.userns.new, { map_users = { { 0, 4294967294, 1 }, { 1, 4294967294, 1 } } })))
      assert.is_false((pcall(ns.userns.open, "/nonexistent")))
      assert.is_false((pcall(ns.userns.open, 2147483647)))
    end
    assert.equal(before, helper.fd_count())
  end)

  it("names the limit where none can be made", function()
    local out = helper.sh("unshare -Ur sh -c " .. unprivileged.quote(
      "echo 0 > /proc/sys/user/max_user_namespaces; exec env " .. helper.lua
      .. [[ -e 'print(pcall(require("nslua").userns.new, { map_users = "root" }))']]))
    if out:match "^unshare:" then
      pending(out)
      return
    end
    assert.matches("userns.new: ENOSPC: .*user.max_user_namespaces = 0", out)
    out = helper.sh("unshare -Ur sh -c " .. unprivileged.quote(
      "echo 0 > /proc/sys/user/max_net_namespaces; exec env " .. helper.lua
      .. [[ -e 'local ns = require "nslua" print(pcall(ns.netns.new, { userns = ns.userns.new { map_users = "root" } }))']]))
    assert.matches("netns.new: ENOSPC: .*user.max_net_namespaces = 0", out)
  end)

  it("says that they nest 32 levels deep", function()
    local f = ns.fork({}, function()
      local depth = 0
      while true do
        local ok, e = pcall(ns.userns.new, { map_users = "root" })
        if not ok then
          return depth, tostring(e)
        end
        ns.setns(e)
        depth = depth + 1
      end
    end)
    local depth, message = f:result(10)
    assert.is_true(depth > 0 and depth <= 33, message)
    assert.matches("32 levels", message)
  end)

  it("is refused inside a chroot with a reason", function()
    if not helper.is_root() then
      pending "not root"
      return
    end
    local quote = unprivileged.quote
    local code = "print(pcall(require('nslua').userns.new, { map_users = 'root' }))"
    local inner = "cd " .. helper.sh "pwd" .. " && exec env " .. helper.lua .. " -e " .. quote(code)
    local out = helper.sh("unshare -m sh -c " .. quote("mount --rbind / /mnt; exec chroot /mnt sh -c " .. quote(inner)))
    assert.matches("userns.new: EPERM: .*; a chroot or a security module refuses user namespaces here", out)
  end)
end)

describe("the sysctls that forbid user namespaces", function()
  if not helper.is_root() then
    pending "not root"
    return
  end
  -- Few kernels have them; the files are put where they would be, in a private mount namespace, and the hint is asked for.
  local function hint(file, text)
    return (unprivileged.sh("env " .. helper.lua .. " -e " .. unprivileged.quote(
      "print(require('nslua.privilege').hint(require('nslua.core').errno.EPERM, { new = { 'user' } }))"),
      { uid = 0, files = { ["/etc/hosts"] = "" },
        before = ("mount -t tmpfs none /proc/sys/kernel; echo %s > /proc/sys/kernel/%s"):format(text, file) }))
  end

  it("are named", function()
    assert.matches("sysctl kernel.unprivileged_userns_clone=1", hint("unprivileged_userns_clone", "0"), 1, true)
    local apparmor = hint("apparmor_restrict_unprivileged_userns", "1")
    assert.matches("kernel.apparmor_restrict_unprivileged_userns=0", apparmor, 1, true)
    assert.matches("userns, }", apparmor, 1, true)
    assert.matches("chroot", hint("unprivileged_userns_clone", "1"))
  end)
end)

describe("errors", function()
  it("are objects with the call and the errno", function()
    local ok, e = pcall(ns.userns.open, "/nonexistent")
    assert.is_false(ok)
    assert.is_true(errors.is(e, "ENOENT"))
  end)
end)
