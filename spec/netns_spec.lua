-- Network namespace handles: new, equality, what is done inside (sockets, files, sysctls, call), ids, connect, close.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"
local unprivileged = require "spec.unprivileged"

local fails = helper.fails

local function pack(...)
  return { n = select("#", ...), ... }
end

local function misuse(text, fn, ...)
  local ok, e = pcall(fn, ...)
  assert.is_false(ok)
  assert.equal("string", type(e))
  assert.matches(text, e)
  assert.matches("^[./]*spec/", e) -- at the caller's line
end

local function new(options)
  local h = helper.netns(options)
  finally(function() h:close() end)
  return h
end

setup(function() ns.netns.allow_call(true) end)
teardown(function() ns.netns.allow_call(false) end)

describe("netns.new", function()
  it("makes a namespace of its own, with lo down, which ends with its handle", function()
    helper.needs_root(pending)
    local h = ns.netns.new()
    local path = ("/proc/%s/fd/%d"):format(core.file.readlink "/proc/self", h.fd:number())
    assert.matches("net:%[" .. h.inode .. "%]", (helper.sh("readlink " .. path)))
    assert.are_not.equal(h, ns.netns.current())
    assert.matches("^lo +DOWN", (helper.sh("nsenter --net=" .. path .. " ip -br link")))
    h:close()
    for _, row in ipairs(ns.namespace.list { type = "net" }) do
      assert.are_not.equal(h.inode, row.inode == h.inode and row.how_found == "fd" and row.inode)
    end
  end)

  it("brings lo up if asked, and is called what it is labelled", function()
    local h = new { lo = true, label = "blue" }
    assert.is_true(h.link:get("lo").up)
    assert.equal("blue", h:describe())
    assert.equal("netns blue", tostring(h))
    assert.is_nil(h.name)
  end)

  it("leaves this thread where it was", function()
    local before = ns.netns.current()
    new()
    assert.equal(before, ns.netns.current())
    before:close()
  end)

  it("refuses unknown options", function()
    misuse("netns.new: unknown key 'lable' %(did you mean 'label'%?%)", ns.netns.new, { lable = "x" })
    misuse("netns.new: lo must be boolean, got string", ns.netns.new, { lo = "yes" })
  end)

  it("says what is missing to a user without rights", function()
    unprivileged.needs_uid(pending)
    assert.matches("netns.new: EPERM: .*no CAP_SYS_ADMIN in user:%[%d+%]: run as root, or in a user namespace",
      (unprivileged.lua "print(select(2, pcall(ns.netns.new)))"))
  end)
end)

describe("inside", function()
  it("sockets are of that namespace", function()
    local h = new()
    for _, of in ipairs { { "inet", "stream" }, { "inet", "dgram", "udp" }, { "inet6", "stream", "tcp" }, { "unix", "seqpacket" } } do
      local s = h:socket(of[1], of[2], of[3])
      local home = core.namespace.of_socket(s)
      if home then -- without root in our own user namespace we may not ask
        local _, inode = home:stat()
        assert.equal(h.inode, inode)
        home:close()
      end
      s:close()
    end
    misuse("unknown socket type 'steam' %(did you mean 'stream'%?%)", h.socket, h, "inet", "steam")
    misuse("type must be 0%-2147483647", h.socket, h, "inet", 1.5)
    misuse("domain must be 0%-2147483647", h.raw_socket, h, "inet", 1, 0)
    fails("EPROTONOSUPPORT", h.socket, h, "inet", "stream", 255)
  end)

  it("sysctls are read and set there only", function()
    local h = new()
    local outside = helper.sh "cat /proc/sys/net/ipv4/conf/default/forwarding"
    local want = outside == "1" and 0 or 1
    assert.is_true(h:sysctl("net.ipv4.conf.default.forwarding", want))
    assert.equal(want, h:sysctl "net.ipv4.conf.default.forwarding")
    assert.equal(want, h:sysctl "net/ipv4/conf/default/forwarding")
    assert.equal(outside, (helper.sh "cat /proc/sys/net/ipv4/conf/default/forwarding"))
    assert.is_true(h:sysctl("net.ipv4.conf.default.forwarding", want == 0))
    assert.equal(1 - want, h:sysctl "net.ipv4.conf.default.forwarding")
    assert.matches("^%d+%s+%d+$", h:sysctl "net.ipv4.ip_local_port_range")
    assert.is_true(h:sysctl("net.ipv4.ip_local_port_range", "2000 3000"))
    assert.matches("^2000%s+3000$", h:sysctl "net.ipv4.ip_local_port_range")
  end)

  it("sysctls take device names with a dot", function()
    local h = new()
    h.link:add { name = "a.1", kind = "bridge" }
    assert.equal(0, h:sysctl "net.ipv4.conf.a/1.proxy_arp")
    assert.is_true(h:sysctl("net/ipv4/conf/a.1/proxy_arp", true))
    assert.equal(1, h:sysctl "net.ipv4.conf.a/1.proxy_arp")
  end)

  it("sysctls fail clearly", function()
    local h = new { label = "blue" }
    assert.matches("netns.sysctl in blue: ENOENT", fails("ENOENT", h.sysctl, h, "net.ipv4.nothing"))
    assert.matches('"zzz"', fails("EINVAL", h.sysctl, h, "net.ipv4.conf.all.forwarding", "zzz"))
    misuse("not of a network namespace", h.sysctl, h, "kernel.hostname", "x")
    misuse("no file that a network namespace has", h.sysctl, h, "net/../kernel/hostname")
    misuse("value must be", h.sysctl, h, "net.ipv4.conf.all.forwarding", {})
  end)

  it("files of /proc/net are those of the namespace", function()
    local h = new()
    h.link:add { name = "nsbr0", kind = "bridge" }
    assert.matches("nsbr0:", h:read "/proc/net/dev")
    assert.matches("^%d\n$", h:read "/proc/sys/net/ipv4/conf/nsbr0/rp_filter")
    assert.is_nil((helper.sh "cat /proc/net/dev"):find "nsbr0:")
    misuse("no file that a network namespace has", h.read, h, "/etc/passwd")
    misuse("no file that a network namespace has", h.read, h, "/proc/net/../../etc/passwd")
    fails("ENOENT", h.read, h, "/proc/net/nothing")
  end)
end)

describe("netns:call", function()
  it("runs a function inside and gives its results", function()
    helper.needs_root(pending)
    local h = new()
    assert.same({ n = 4, 7, nil, "x", nil }, pack(h:call(function(...) return ..., nil, "x", nil end, 7)))
    assert.equal(h.inode, h:call(function() return ns.netns.current().inode end))
    assert.are_not.equal(h, ns.netns.current())
    assert.same({ n = 0 }, pack(h:call(function() end)))
  end)

  it("raises what the function raised, after the return", function()
    helper.needs_root(pending)
    local h, before = new(), ns.netns.current()
    local object = {}
    assert.equal(object, select(2, pcall(h.call, h, function() error(object) end)))
    assert.matches("boo", select(2, pcall(h.call, h, function() error "boo" end)))
    assert.equal(before, ns.netns.current())
  end)

  it("nests, and cannot yield", function()
    helper.needs_root(pending)
    local a, b = new(), new()
    local x, y, z = a:call(function()
      local inner = b:call(function() return ns.netns.current() == b end)
      return inner, ns.netns.current() == a, a:call(function() return ns.netns.current() == a end)
    end)
    assert.same({ true, true, true }, { x, y, z })
    local co = coroutine.wrap(function() a:call(coroutine.yield) end)
    assert.matches("yield", select(2, pcall(co)))
    assert.are_not.equal(a, ns.netns.current())
  end)

  it("returns to where it came from, also after unshare and a closed handle", function()
    helper.needs_root(pending)
    local out = helper.sh(helper.lua .. [[ - <<'END'
      local ns = require "nslua"
      ns.netns.allow_call(true)
      local a = ns.netns.new()
      a:call(function() end)
      ns.unshare "net"
      local here = ns.netns.current()
      a:call(function() a:close() end)
      print(here == ns.netns.current())
      local b = ns.netns.new()
      b:call(function() ns.unshare "net" end)
      print(here == ns.netns.current())
END
]])
    assert.equal("true\ntrue", out)
  end)

  it("keeps no fd beyond its handle", function()
    helper.needs_root(pending)
    local before = helper.fd_count()
    local h = ns.netns.new()
    h:call(function() end)
    h:close()
    assert.equal(before, helper.fd_count())
  end)

  it("is opt-in in a program that is not nslua", function()
    local h = new()
    local registry = debug.getregistry()
    local host = registry["nslua.host"] -- the specs may be run by nslua
    registry["nslua.host"] = nil
    ns.netns.allow_call(false)
    finally(function()
      registry["nslua.host"] = host
      ns.netns.allow_call(true)
    end)
    misuse("which is not nslua: ns.netns.allow_call%(true%) allows it", h.call, h, function() end)
    misuse("a function expected, got number", h.call, h, 5)
  end)

  it("names fork where the thread may not go and come back", function()
    unprivileged.needs_uid(pending)
    local out = unprivileged.lua [[
      ns.netns.allow_call(true)
      local a <close> = ns.netns.new { userns = ns.userns.new { map_users = "root" }, label = "a" }
      print(select(2, pcall(a.call, a, print)))]]
    assert.matches("netns.call in a: EPERM: .*handle:fork%(fn%)", out)
  end)
end)

describe("without root, in a user namespace of ours", function()
  it("sockets, sysctls and files are those inside", function()
    unprivileged.needs_uid(pending)
    local out = unprivileged.lua [[
      local u <close> = ns.userns.new { map_users = "root" }
      local a <close> = ns.netns.new { userns = u, lo = true }
      local b <close> = ns.netns.new { userns = u }
      ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24" })
      print(a.link:get("lo").up, a:sysctl("net.ipv4.ip_forward", 1), a:sysctl "net.ipv4.ip_forward", a:read "/proc/net/dev":match "eth0")
      print(a:socket("inet", "dgram"):isopen(), b.address:get({ "10.0.0.2/24", dev = "eth0" }).address)]]
    assert.equal("true\ttrue\t1\teth0\ntrue\t10.0.0.2/24", out)
  end)
end)

describe("ids", function()
  it("are what ip-netns(8) shows, none is nil", function()
    helper.needs_root(pending)
    local a, b = new(), new()
    assert.is_nil(a:nsid_of(b))
    assert.equal(7, a:set_nsid(b, 7))
    assert.equal(7, a:nsid_of(b))
    assert.same({ 7 }, a:nsids())
    assert.is_nil(b:nsid_of(a))
    assert.equal(0, b:set_nsid(a))
    local path = ("/proc/%s/fd/%d"):format(core.file.readlink "/proc/self", a.fd:number())
    assert.matches("nsid 7", (helper.sh("nsenter --net=" .. path .. " ip netns list-id")))
    fails("EEXIST", a.set_nsid, a, b, 8)
    misuse("id must be", a.set_nsid, a, b, "x")
  end)
end)

describe("ns.connect", function()
  it("joins two namespaces: a veth, addresses, up", function()
    local a = new { label = "a" }
    local options = { label = "b", userns = rawget(a, "userns") }
    local b = ns.netns.new(options)
    finally(function() b:close() end)
    local x, y = ns.connect(a, b, { "10.7.0.1/24", { "10.7.0.2/24", "fd07::2/64" }, mtu = 1400 })
    assert.same({ "eth0", "eth0", 1400, 1400, "veth" }, { x.name, y.name, x.mtu, y.mtu, x.kind })
    assert.is_true(x.up and y.up)
    assert.equal("10.7.0.1/24", a.address:get({ "10.7.0.1/24", dev = "eth0" }).address)
    assert.equal("fd07::2/64", b.address:get({ "fd07::2/64", dev = "eth0" }).address)
    assert.is_true(a:run({ "ping", "-c1", "-W2", "10.7.0.2", sys = false }).ok)
    -- a second one takes the next free names
    x, y = ns.connect(a, b, { names = { "up0" } })
    assert.same({ "up0", "eth1" }, { x.name, y.name })
    x, y = ns.connect(a, a)
    assert.same({ "eth1", "eth2" }, { x.name, y.name })
  end)

  it("leaves nothing where a step fails", function()
    local a = new()
    local b = ns.netns.new { userns = rawget(a, "userns") }
    finally(function() b:close() end)
    assert.is_false((pcall(ns.connect, a, b, { "10.7.0.1/24", "10.7.0.2/240" })))
    assert.equal(1, #a.link:list())
    assert.equal(1, #b.link:list())
    misuse("unknown key 'mut'", ns.connect, a, b, { mut = 1400 })
    fails("ENOENT", ns.connect, a, "nsn-no-such-name", {})
  end)
end)

describe("close", function()
  it("waits for the far ends of veths if asked", function()
    helper.needs_root(pending)
    local a, b = ns.netns.new(), new()
    ns.connect(a, b)
    assert.is_true(a:close { wait = true })
    assert.is_nil(b.link:get "eth0")
    assert.is_true(a:close { wait = true })
  end)

  it("gives up waiting where something else keeps the namespace", function()
    helper.needs_root(pending)
    local a, b = ns.netns.new(), new()
    local kept = core.namespace.dup(a.fd)
    finally(function() kept:close() end)
    ns.connect(a, b)
    assert.is_false(a:close { wait = true, timeout = "20ms" })
    assert.is_not_nil(b.link:get "eth0")
    misuse("unknown key 'wiat'", b.close, b, { wiat = true })
  end)

  it("leaves fds as they were", function()
    local before = helper.fd_count()
    local h = ns.netns.new { userns = not helper.is_root() and ns.userns.new { map_users = "root" } or nil }
    assert.is_table(h.owner)
    assert.equal(1, #h.link:list())
    h:socket("inet", "dgram"):close()
    h:close()
    assert.equal(before, helper.fd_count())
    assert.matches("is closed", select(2, pcall(h.link.list, h.link)))
    assert.matches("is closed", select(2, pcall(function() return h.route end)))
    assert.matches("is closed", select(2, pcall(h.sysctl, h, "net.ipv4.ip_forward")))
    assert.matches("run: a handle expected, got table %(a method is called with a colon: handle:run%)", select(2, pcall(h.run, { "ls" })))
  end)
end)

describe("the own namespace", function()
  it("is read, entered and left without any right", function()
    unprivileged.needs_uid(pending)
    assert.equal("lo\t7\ttrue", (unprivileged.lua [[
      local here = ns.netns.current()
      ns.netns.allow_call(true)
      print(here.link:get("lo").name, here:call(function(x) return x end, 7), here:read("/proc/net/dev"):find("lo:") ~= nil)
    ]]))
  end)
end)

describe("connect with IPv6", function()
  it("answers at once", function()
    local a, b = new(), new()
    ns.connect(a, b, { "fd00::1/64", "fd00::2/64" })
    assert.is_false(a.address:get({ "fd00::1/64", dev = "eth0" }).tentative)
    local r = a:run { "ping", "-6", "-c1", "-W2", "fd00::2" }
    assert.is_true(r.ok, r.stdout .. r.stderr)
  end)
end)
