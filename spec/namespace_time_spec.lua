-- What helper processes do for a script whose children get another time namespace. Linux before 6.2 shares no memory with such a child.

local helper = require "spec.helper"

describe("after unshare of a time namespace", function()
  local message, able = helper.sh "unshare -Ur true"
  if not able or not io.open "/proc/self/ns/time" then
    return it("", function()
      pending("needs user and time namespaces: " .. message)
    end)
  end

  local dir
  setup(function()
    dir = helper.sh "mktemp -d"
    local f = assert(io.open(dir .. "/newgidmap", "w"))
    f:write "#!/bin/sh\necho no: $*\nexit 1\n"
    f:close()
    helper.sh(("cd %s && chmod 755 newgidmap && ln -s newuidmap newuidmap"):format(dir))
  end)
  teardown(function()
    helper.sh("rm -r " .. dir)
  end)

  -- Rights over what it makes and none over where it is from: what this program would not come back from is done by children.
  local function run(text, environment)
    local path = dir .. "/script.lua"
    local f = assert(io.open(path, "w"))
    f:write([[
local core = require "nslua.core"
local ns = require "nslua"
local keeper = require "nslua.keeper"
]], text)
    f:close()
    return helper.sh(("%s %s unshare -Ur lua5.4 %s"):format(helper.lua:gsub("lua5.4$", ""), environment or "", path))
  end

  local work = [[
local a = ns.netns.new { lo = true }
assert(a ~= ns.netns.current())
assert(a.link:get("lo").up)
assert(a:read("/proc/net/dev"):find "lo:" and not a:read("/proc/net/dev"):find "eth")
a:sysctl("net.ipv4.ip_forward", 1)
assert(a:read "/proc/sys/net/ipv4/ip_forward" == "1\n")
local ok, e = pcall(a.read, a, "/proc/net/nothing")
assert(not ok and ns.error.is(e, "ENOENT"), tostring(e))
-- a user namespace, and another network namespace in it
local u = ns.userns.new { map_users = "root" }
local b = ns.netns.new { userns = u, lo = true }
assert(b.link:get("lo").up and b ~= a)
-- the keeper is ours, and pid 1 of its own
local k = keeper.get()
assert(k.process:alive() and k.process:pid() > 1)
k:close()
-- a program that writes maps, which says why not; and one that cannot be run
local maps = { gid = { helper = true, ranges = { { 0, 1, 2 } } } }
local none, why, errno = core.idmap.apply(77, maps)
assert(none == nil and errno == core.errno.EPERM and why:find "^no: 77 0 1 2", why)
none, why, errno = core.idmap.apply(77, { uid = { helper = true, ranges = { { 0, 1, 2 } } } })
assert(none == nil and errno == core.errno.ELOOP and why:find "newuidmap", why)
assert(ns.run { "echo", "here" }.stdout == "here\n")
print "done"
]]

  it("namespaces, sockets, files, the keeper and programs are there", function()
    -- (a copy of this program goes to the new namespace, which is one of these two)
    assert.equal("done", (run([[
ns.unshare "time"
]] .. work, "PATH=" .. dir .. ":$PATH")))
  end)

  it("programs are in it, with its offsets, where nothing else was before them", function()
    assert.equal("monotonic           0         0\nboottime       100000         0", (run [[
ns.unshare "time"
local f = assert(io.open("/proc/self/timens_offsets", "w"))
f:write "boottime 100000 0"
assert(f:close())
io.write(ns.run { "cat", "/proc/self/timens_offsets" }.stdout)
]]))
  end)

  it("all of it is so where the kernel shares no memory", function()
    if not helper.has "cc" then
      return pending "needs a C compiler"
    end
    local said, built = helper.sh(("cc -shared -fPIC -o %s/faults.so spec/clone_faults.c -ldl"):format(dir))
    assert.is_true(built, said)
    local out = run(work, ("LD_PRELOAD=%s/faults.so PATH=%s:$PATH"):format(dir, dir))
    assert.matches("^!!!+done$", out)
  end)
end)
