-- Filters by values that no row can have: misuse, not an empty list.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"

local why = rtnl.cannot()
if why then
  return it("", function()
    pending(why)
  end)
end

describe("a filter", function()
  local a

  setup(function()
    a = rtnl.netns "a"
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1", up = true }, up = true }
    a.link:add { name = "br0", kind = "bridge" }
    a.address:add { "10.0.0.1/24", dev = "v0" }
    a.neighbour:add { "10.0.0.7", dev = "v0", lladdr = "02:00:00:00:00:02" }
  end)
  teardown(rtnl.close)

  local function raises(object, filter, message)
    for _, verb in ipairs { "list", "each" } do
      local ok, e = pcall(a[object][verb], a[object], filter)
      assert.is_false(ok)
      assert.equal("string", type(e)) -- misuse, no error of the kernel
      assert.matches("spec/filter_values_spec.lua:%d+: " .. object .. "%." .. verb .. ": ", e)
      assert.is_truthy(e:find(message, 1, true), e)
    end
  end

  it("by a value of another type raises", function()
    raises("link", { mtu = "1500" }, "mtu: integer expected, got '1500'")
    raises("link", { up = "yes" }, "up must be boolean, got string")
    raises("link", { arp = "on" }, "arp must be boolean")
    raises("link", { name = 5 }, "name: string expected")
    raises("link", { address = 5 }, "address must be string")
    raises("link", { txqueuelen = "7" }, "txqlen: integer expected")
    raises("route", { metric = "5" }, "metric must be integer")
    raises("route", { mtu = "1500" }, "mtu must be integer")
    raises("route", { nhid = "1" }, "nhid: integer expected")
    raises("route", { onlink = 1 }, "onlink must be boolean")
    raises("route", { via = "10.0.0" }, "via must be an IP address")
    raises("address", { dynamic = "no" }, "dynamic must be boolean")
    raises("address", { prefixlen = "24" }, "prefixlen: integer expected")
    raises("rule", { priority = "77" }, "priority must be integer")
    raises("rule", { fwmask = "0xff" }, "fwmask must be integer")
    raises("neighbour", { lladdr = 5 }, "lladdr must be string")
    raises("neighbour", { router = "x" }, "router must be boolean")
    raises("neighbour", { vlan = "1" }, "vlan: integer expected")
    raises("fdb", { vlan = "1" }, ": vlan: integer expected")
    raises("nexthop", { id = "1" }, "id: integer expected")
  end)

  it("by a word in the wrong case raises, and names the right one", function()
    raises("link", { operstate = "UP" }, "unknown name 'UP' (did you mean 'up'?)")
    raises("link", { kind = "VETH" }, "unknown kind 'VETH' (did you mean 'veth'?)")
    raises("route", { type = "Unicast" }, "unknown name 'Unicast' (did you mean 'unicast'?)")
    raises("rule", { action = "LOOKUP" }, "(did you mean 'lookup'?)")
    raises("rule", { ipproto = "TCP" }, "(did you mean 'tcp'?)")
    raises("neighbour", { state = "PERMANENT" }, "(did you mean 'permanent'?)")
    raises("fdb", { state = "PERMANENT" }, "(did you mean 'permanent'?)")
    raises("nexthop", { type = "Mpath" }, "(did you mean 'mpath'?)")
  end)

  it("by the number of a word finds what the word finds", function()
    assert.equal(#a.link:list { operstate = "up" }, #a.link:list { operstate = 6 })
    assert.is_true(#a.link:list { operstate = 6 } >= 1)
    assert.equal(#a.route:list { type = "local" }, #a.route:list { type = 2 })
  end)

  it("by a flag that is off is none that fits all", function()
    assert.equal(0, #a.link:list { arp = false })
    a.link:change("br0", { arp = false, multicast = false })
    assert.equal("br0", a.link:list { arp = false }[1].name)
    assert.equal(1, #a.link:list { multicast = false, kind = "bridge" })
    assert.equal(2, #a.link:list { arp = true, kind = "veth" })
  end)
end)

describe("a change of altnames that fails", function()
  it("leaves those there were, and none of the new", function()
    local a = rtnl.netns "a"
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" } }
    a.link:change("v0", { altnames = { "one", "two" } })
    local function left()
      assert.same({ "one", "two" }, rtnl.ip(a, "link show dev v0")[1].altnames)
    end
    local ok, e = pcall(a.link.change, a.link, "v0", { altnames = { "two", "three", "v1" } })
    assert.is_false(ok)
    assert.equal("EEXIST", e.code)
    left()
    assert.is_false((pcall(a.batch, a, function()
      a.link:change("v0", { altnames = { "v1" } })
    end)))
    left()
    a:batch(function()
      a.link:change("v0", { altnames = { "three", "two" } })
    end)
    assert.same({ "two", "three" }, rtnl.ip(a, "link show dev v0")[1].altnames)
    rtnl.close()
  end)
end)

describe("each", function()
  it("tells that its dumps never settled, as list does", function()
    local shim = os.tmpname()
    local exe = helper.sh "readlink /proc/$PPID/exe"
    local lua = exe:match "/lua[%w.%-]*$" and ("LUA_PATH='%s' LUA_CPATH='%s' %s"):format(package.path, package.cpath, exe) or helper.lua
    if not helper.has "cc" then
      return pending "needs a C compiler"
    end
    local out, made = helper.sh(("cc -shared -fPIC -o %s.so spec/netlink_faults.c -ldl"):format(shim))
    assert(made, out)
    local f = assert(io.open(shim, "w"))
    f:write [[
      local a = require("spec.helper").netns { lo = true }
      local rows, told = 0, {}
      for _, collection in ipairs { a.link, a.route } do
        local step, state = collection:each()
        for row in step, state do
          rows = rows + 1
        end
        told[#told + 1] = tostring(state.interrupted)
      end
      print(rows > 2 and table.concat(told, " "), tostring(a.link:list().interrupted))]]
    f:close()
    local function with(fault)
      return (helper.sh(("NSLUA_FAULT=%s LD_PRELOAD=%s.so %s %s"):format(fault, shim, lua, shim)))
    end
    local always, once = with "interrupted:1000", with "interrupted:3"
    os.remove(shim)
    os.remove(shim .. ".so")
    assert.equal("true true\ttrue", always)
    assert.equal("nil nil\tnil", once)
  end)
end)
