-- What a program sees of a network namespace besides sockets: its own /sys with all mounts below, /etc/netns/NAME.

local ns = require "nslua"
local helper = require "spec.helper"
local unprivileged = require "spec.unprivileged"
local held = helper.held

-- What is mounted below /sys, and how: "/sys/fs/cgroup cgroup rw", sorted.
local mounts = [[awk '$5 ~ "^/sys/" { for (i = 7; $i != "-"; i++); print $5, $(i+1), $6 }' /proc/self/mountinfo | sort]]

local function need_root()
  if not helper.is_root() then
    pending "not root"
  end
end

-- Lua in a mount namespace which a shell script prepared: through the environment, for no quoting survives three shells.
local function lua_after(unshare, script, code, wrapper)
  local env = helper.lua:gsub(" lua5.4$", "")
  return (helper.sh(("%s LUACODE=%s %s sh -c %s"):format(env, unprivileged.quote(code), unshare,
    unprivileged.quote(script .. "\nexec " .. (wrapper or "env") .. ' lua5.4 -e "$LUACODE"'))))
end

local count = 0
local function name()
  count = count + 1
  return ("sysspec%s-%d"):format(helper.sh "echo $PPID", count)
end

-- A named namespace with files in /etc/netns/NAME.
local function named(files)
  local n = name()
  local a = ns.netns.add(n)
  helper.sh("mkdir -p /etc/netns/" .. n)
  for file, text in pairs(files) do
    helper.sh(("printf %%s '%s' > /etc/netns/%s/%s"):format(text, n, file))
  end
  finally(function()
    a:close()
    ns.netns.delete(n)
    helper.sh("rm -rf /etc/netns/" .. n .. "; rmdir /etc/netns")
  end)
  return a, n
end

after_each(helper.close_held)

describe("/sys of netns:run", function()
  it("shows that namespace's devices", function()
    local a = held(helper.netns())
    assert.equal("lo", a:output { "ls", "/sys/class/net" })
    assert.equal("lo", ns.run({ "ls", "/sys/class/net", join = { net = a } }).stdout:match "^%S+")
    assert.equal(helper.sh "ls /sys/class/net", a:output { "ls", "/sys/class/net", sys = false })
  end)

  it("has every mount that was below the old one", function()
    need_root()
    local a = held(ns.netns.new())
    assert.equal(helper.sh(mounts), a:output { "sh", "-c", mounts })
    -- Their content too, where ip-netns(8) shows an empty directory.
    assert.equal(helper.sh "ls /sys/fs/cgroup", a:output { "ls", "/sys/fs/cgroup" })
  end)

  it("is made once for a handle, and freed with it", function()
    local a = helper.netns()
    local inode = a:output { "readlink", "/proc/self/ns/mnt" }
    assert.equal(inode, a:output { "readlink", "/proc/self/ns/mnt" })
    assert.not_equal(inode, (helper.sh "readlink /proc/self/ns/mnt"))
    local before = helper.fd_count()
    local held_fds = helper.is_root() and 2 or 3 -- itself, the view, and the user namespace it was made in
    a:close()
    assert.equal(before - held_fds, helper.fd_count())
  end)

  it("leaves the caller's mounts alone", function()
    local before = helper.state()
    local a = held(helper.netns())
    a:run { "true", check = true }
    a:run { "mount", "-t", "tmpfs", "none", "/mnt", check = true }
    assert.equal(before, helper.state())
  end)

  it("sees what is mounted later", function()
    need_root()
    local dir = helper.sh "mktemp -d"
    finally(function() helper.sh(("umount %s; umount %s; rmdir %s"):format(dir, dir, dir)) end)
    -- On a mount that is shared, as systemd makes all of them.
    helper.sh(("mount --bind %s %s && mount --make-shared %s"):format(dir, dir, dir))
    local a = held(ns.netns.new())
    a:run { "true", check = true }
    helper.sh(("mkdir %s/x; mount -t tmpfs none %s/x && touch %s/x/later"):format(dir, dir, dir))
    assert.equal("later", a:output { "ls", dir .. "/x" })
    helper.sh(("umount %s/x; rmdir %s/x"):format(dir, dir))
  end)

  it("stays read-only where it was", function()
    need_root()
    local code = [[local a = require("nslua").netns.new()
      print(a:output { "sh", "-c", "grep \" /sys \" /proc/self/mountinfo | tail -1 | cut -d\" \" -f6; ls /sys/class/net" })]]
    local out = lua_after("unshare -m", "mount -o remount,bind,ro,nosuid /sys", code)
    assert.matches("^ro,nosuid", out)
    assert.matches("\nlo$", out)
  end)

  it("is joined with a mount namespace of the plan, or not at all", function()
    local a = held(helper.netns())
    assert.equal("lo", a:output { "ls", "/sys/class/net", unshare = "mount" })
    local p = held(a:spawn { "sh", "-c", "echo up; exec sleep 1000", unshare = "mount", sys = false, stdout = "pipe" })
    p.stdout:read()
    assert.equal(helper.sh "ls /sys/class/net", a:output { "ls", "/sys/class/net", join = { mount = p.pid } })
    assert.equal("lo\n", ns.run({ "ls", "/sys/class/net", unshare = "net,mount", sys = true,
      map_users = not helper.is_root() and "root" or nil }).stdout)
  end)

  it("is its own in a chroot too", function()
    need_root()
    local dir = helper.sh "mktemp -d"
    local code = ([[local a = require("nslua").netns.new() print(a:output { "sh", "-c", "pwd; ls /sys/class/net; ls -d /only-in-here" })]])
    local out = lua_after("unshare -m", ([[for d in usr bin lib lib64 etc proc sys dev; do [ -d /$d ] && mkdir %s/$d && mount --rbind /$d %s/$d; done
      mkdir %s/only-in-here %s/code; mount --bind . %s/code; cd %s]]):format(dir, dir, dir, dir, dir, dir), code,
      "chroot . sh -c 'cd /code; exec \"$0\" \"$@\"'")
    helper.sh("rm -rf --one-file-system " .. dir)
    assert.equal("/code\nlo\n/only-in-here", out)
  end)

  it("works without root", function()
    local can, why = unprivileged.can()
    if not can then
      pending(why)
    end
    local out = unprivileged.lua([[
      local u <close> = ns.userns.new { map_users = "root" }
      local a <close> = ns.netns.new { userns = u }
      print(a:output { "ls", "/sys/class/net" })
      print(a:output { "sh", "-c", "]] .. mounts:gsub('"', '\\"') .. [[" })]])
    assert.equal("lo", out:match "^[^\n]*")
    local function places(text) -- locked flags differ: a user namespace may add some
      return (text:gsub(" [%w,]+(\n?)", "%1"))
    end
    -- The old mounts stay below, covered: a user namespace may not take them away.
    assert.equal(places(helper.sh(mounts)), helper.sh("printf %s " .. unprivileged.quote(places(out:match "\n(.*)$")) .. " | sort -u"))
  end)

  it("is kept where parts of it are masked, and that is said", function()
    local can, why = unprivileged.can()
    if not can then
      pending(why)
    end
    local out = lua_after("setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urm", "mount -t tmpfs none /sys/kernel", [[
        local ns = require "nslua"
        local u = ns.userns.new { map_users = "root" }
        local a = ns.netns.new { userns = u }
        local r = a:run { "true" }
        print(r.ok, r.note)]])
    assert.equal("true\tsys: no new sysfs may be mounted here: the old /sys was kept (Operation not permitted)", out)
  end)
end)

describe("/etc/netns/NAME", function()
  it("covers /etc, as ip netns exec has it", function()
    need_root()
    local a, n = named { hosts = "10.9.8.7 inside" }
    assert.equal(helper.sh("ip netns exec " .. n .. " cat /etc/hosts"), a:output { "cat", "/etc/hosts" })
    assert.equal("10.9.8.7 inside", a:output { "cat", "/etc/hosts" })
    assert.not_equal("10.9.8.7 inside", (helper.sh "cat /etc/hosts"))
    assert.equal("10.9.8.7 inside", a:output { "cat", "/etc/hosts", unshare = "mount" })
    assert.not_equal("10.9.8.7 inside", a:output { "cat", "/etc/hosts", sys = false })
  end)

  it("is looked at again when it changes", function()
    need_root()
    local a, n = named { hosts = "one" }
    assert.equal("one", a:output { "cat", "/etc/hosts" })
    helper.sh(("printf two > /etc/netns/%s/new && mv /etc/netns/%s/new /etc/netns/%s/hosts"):format(n, n, n))
    assert.equal("two", a:output { "cat", "/etc/hosts" })
    helper.sh(("rm /etc/netns/%s/hosts"):format(n))
    assert.equal(helper.sh "cat /etc/hosts", a:output { "cat", "/etc/hosts" })
  end)

  it("covers a symlink itself: its target may be renamed over", function()
    need_root()
    local link = "/etc/" .. name()
    local dir = helper.sh "mktemp -d"
    finally(function() helper.sh(("rm -rf %s %s"):format(dir, link)) end)
    helper.sh(("echo host > %s/file; ln -s %s/file %s"):format(dir, dir, link))
    local a = named { [link:match "[^/]*$"] = "inside" }
    local p = held(a:spawn { "sh", "-c", "cat $0; echo; read x; cat $0; echo", link, stdin = "pipe", stdout = "pipe" })
    assert.equal("inside", p.stdout:read())
    helper.sh(("echo new > %s/n; mv %s/n %s/file"):format(dir, dir, dir))
    p.stdin:write "\n"
    assert.equal("inside", p.stdout:read())
    assert.equal("new", (helper.sh("cat " .. link)))
  end)

  it("says what it could not cover", function()
    need_root()
    local a = named { ["no-such-file-in-etc"] = "x" }
    local r = a:run { "true" }
    assert.is_true(r.ok)
    assert.equal("etc: no-such-file-in-etc (No such file or directory)", r.note)
  end)
end)
