-- What rtnetlink errors say: the kernel's words, the attribute, the range, which namespace lacked which right; and misuse.

local core = require "nslua.core"
local errors = require "nslua.error"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("rtnetlink errors", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local blue

  before_each(function()
    blue = rtnl.netns "blue"
  end)
  after_each(rtnl.close)

  local function fails(fn, ...)
    local ok, e = pcall(fn, ...)
    assert.is_false(ok)
    return e, (tostring(e):gsub("^.-rtnl_errors_spec.lua:%d+: ", "", 1))
  end

  it("name the object", function()
    blue.link:add { name = "eth0", kind = "veth" }
    local e, text = fails(blue.link.add, blue.link, { name = "eth0", kind = "veth" })
    assert.equal('link.add in blue: EEXIST: File exists (name = "eth0")', text)
    assert.same({ "EEXIST", core.errno.EEXIST, "link.add", "blue" }, { e.code, e.errno, e.call, e.netns })
    assert.is_truthy(e.where:find "rtnl_errors_spec.lua:%d+$")
    assert.is_true(ns.error.is(e, "EEXIST"))
    text = select(2, fails(blue.link.delete, blue.link, "nix"))
    assert.equal('link.delete in blue: ENODEV: No such device (name = "nix")', text)
    text = select(2, fails(blue.link.change, blue.link, "nix", { up = true }))
    assert.equal('link.change in blue: ENODEV: No such device (name = "nix")', text)
    e, text = fails(blue.route.add, blue.route, { "10.0.0.0/8", dev = "nix" })
    assert.equal('route.add in blue: ENODEV: No such device (dev = "nix")', text)
    assert.equal("ENODEV", e.code)
  end)

  it("say that there is none, where the errno's text speaks of something else", function()
    blue.link:add { name = "eth0", kind = "veth", up = true }
    local route, rule, neighbour, address = blue.route, blue.rule, blue.neighbour, blue.address
    local gone = rule:add { priority = 9, table = 9 }
    rule:delete(9)
    for _, case in ipairs {
      { "route.delete", "ESRCH", "no such route (10.0.0.0/8)", route, "10.0.0.0/8" },
      { "route.delete", "ENOENT", "no such route (default)", route, { "default", family = "inet6" } }, -- IPv6 has an entry for none
      { "route.delete", "ESRCH", "FIB table does not exist (10.0.0.0/8 table 100)", route, { "10.0.0.0/8", table = 100 } }, -- the kernel's own words
      { "route.change", "ENOENT", "no such route (10.0.0.0/8)", route, "10.0.0.0/8", { metric = 3 } },
      { "rule.delete", "ENOENT", "no such rule (priority 77)", rule, 77 },
      { "rule.delete", "ENOENT", "no such rule (priority 9, table 9)", rule, gone },
      { "rule.change", "ENOENT", "no such rule (priority 77)", rule, 77, { table = 3 } },
      { "rule.change", "ENOENT", "no such rule (priority 9, table 9)", rule, gone, { table = 3 } },
      { "neighbour.delete", "ENOENT", "no such neighbour (10.0.0.1 dev eth0)", neighbour, { "10.0.0.1", dev = "eth0" } },
      { "neighbour.delete", "ENOENT", "no such neighbour (10.0.0.1)", neighbour, "10.0.0.1" },
      { "neighbour.change", "ENOENT", "no such neighbour (2001:db8::1 dev eth0)", neighbour, { "2001:db8::1", dev = "eth0" }, { router = true } },
      { "address.delete", "EADDRNOTAVAIL", "no such address (10.0.0.1)", address, "10.0.0.1" },
      { "address.delete", "EADDRNOTAVAIL", nil, address, { "10.0.0.1/24", dev = "eth0" } }, -- newer kernels have words for it
      { "address.change", "EADDRNOTAVAIL", 'no such address (10.0.0.1/24, dev = "eth0")', address, { "10.0.0.1/24", dev = "eth0" }, { metric = 3 } },
    } do
      local call, code, says, collection = case[1], case[2], case[3], case[4]
      local verb = call:match "%l+$"
      local e, text = fails(collection[verb], collection, case[5], case[6])
      assert.is_true(errors.is(e, code), text)
      assert.is_truthy(says == nil or text == ("%s in blue: %s: %s"):format(call, code, says), text)
      assert.is_truthy(e.message:find("no such " .. call:match "^%l+", 1, true), e.message)
      if verb == "delete" then
        collection:delete(case[5], { absent = "ok" })
      end
    end
    -- in a batch too
    local e = fails(blue.batch, blue, function()
      route:delete "10.0.0.0/8"
      neighbour:delete { "10.0.0.1", dev = "eth0" }
      route:delete({ "10.0.0.0/8", table = 100 }, { absent = "ok" })
    end)
    assert.equal(2, #e.errors)
    assert.same({ "no such route", "no such neighbour" }, { e.errors[1].error.message, e.errors[2].error.message })
    -- what cannot be made is not "no such route"
    blue.route:add { "10.0.0.0/8", dev = "eth0" }
    e = fails(route.add, route, { "10.1.0.0/16", dev = "eth0", nhid = 7777 })
    assert.is_nil(e.message:find "no such")
  end)

  it("name the attribute and what it was", function()
    local e, text = fails(blue.link.add, blue.link, { name = "v0", kind = "vxlan", vxlan = { id = 33554432 } })
    assert.equal("link.linkinfo.data.id", e.attribute)
    assert.equal(33554432, e.value)
    assert.is_truthy(text:find("link.linkinfo.data.id = 33554432: VXLAN ID must be lower than 16777216", 1, true), text)
    e = fails(blue.address.add, blue.address, { "10.0.0.1/24", dev = "lo", scope = 400 })
    assert.is_false(errors.is(e)) -- misuse
    blue.address:add { "10.0.0.1/24", dev = "lo" }
    e = fails(blue.route.add, blue.route, { "10.1.0.1/16", dev = "lo" })
    assert.equal("EINVAL", e.code)
    text = select(2, fails(blue.route.add, blue.route, { "10.1.0.0/16", via = "192.0.2.1" }))
    assert.is_truthy(text:find("Nexthop has invalid gateway", 1, true), text)
  end)

  it("tell the range the kernel allows", function()
    -- no word of ours passes on a name that is too long: the attribute by its number
    local link = require "nslua.rtnl.link"
    blue.link:list()
    local e, text = fails(require("nslua.netlink").write, { link.new, 0x600, link.schema:encode { ["#3"] = ("x"):rep(20) .. "\0" }, handle = blue,
      call = "link.add", object = "link", schema = link.schema })
    assert.equal("link.name", e.attribute)
    if not e.range then
      return pending "this kernel tells no policy"
    end
    assert.equal("at most 15 bytes", e.range)
    assert.is_truthy(text:find("(" .. e.range .. ")", 1, true))
  end)

  it("tell what to write where the kernel's words do not", function()
    blue.link:add { name = "eth0", kind = "veth", up = true }
    local function says(text, fn, ...)
      local e, whole = fails(fn, ...)
      assert.is_true(errors.is(e), whole)
      assert.is_truthy(whole:find(text, 1, true), whole)
    end
    says("dev, via, nexthops or nhid", blue.route.add, blue.route, { "10.1.0.0/16" })
    says("dev, via, nexthops or nhid", blue.route.replace, blue.route, { "2001:db8::/32" })
    says('write "10.1.0.0/17"', blue.route.add, blue.route, { "10.1.127.255/17", dev = "eth0" })
    says("default nhid 55", blue.route.add, blue.route, { "default", nhid = 55 })
    says("mtu = 10, eth0 takes 68 to 65535", blue.link.change, blue.link, "eth0", { mtu = 10 })
    says("mtu = 10", blue.link.add, blue.link, { name = "br0", kind = "bridge", mtu = 10 })
    says('address = "02:00:00" has 3 bytes, not 6', blue.link.change, blue.link, "eth0", { address = "02:00:00" })
    local e = fails(blue.batch, blue, function()
      blue.link:change("eth0", { mtu = 10 })
      for i = 1, 3 do
        blue.route:add { ("10.%d.0.0/16"):format(i) }
      end
    end)
    assert.equal(4, #e.errors)
    assert.equal("mtu = 10", e.errors[1].error.hint)
    assert.matches("nexthops or nhid", e.errors[4].error.hint)
    -- not where it is not that
    e = fails(blue.route.add, blue.route, { "10.1.0.0/16", via = "192.0.2.1" })
    assert.is_nil(e.hint)
  end)

  it("tell which kind the kernel lacks", function()
    ns.netlink.kind { kind = "nslua-no-such" }
    local e, text = fails(blue.link.add, blue.link, { name = "x0", kind = "nslua-no-such" })
    assert.equal("EOPNOTSUPP", e.code)
    assert.is_truthy(text:find("modprobe rtnl-link-nslua-no-such", 1, true))
  end)

  it("tell which namespace lacked CAP_NET_ADMIN", function()
    if not helper.has "setpriv" or not helper.is_root() then
      return pending "needs setpriv(1) and root"
    end
    -- sockets keep the rights of who opened them: without CAP_NET_ADMIN the kernel refuses
    local script = os.tmpname()
    local f = assert(io.open(script, "w"))
    f:write [[
      local ns = require "nslua"
      local ok, e = pcall(function()
        local here = ns.netns.current()
        here.link:add { name = "nslua-x0", kind = "ifb" }
      end)
      print(ok, e)
    ]]
    f:close()
    local out = helper.sh("LUA_PATH='./lua/?.lua;./lua/?/init.lua' LUA_CPATH='./build/?.so' unshare -n setpriv --bounding-set=-net_admin " ..
      "--inh-caps=-net_admin lua5.4 " .. script)
    os.remove(script)
    assert.is_truthy(out:find("EPERM", 1, true), out)
    assert.is_truthy(out:find("CAP_NET_ADMIN", 1, true), out)
    assert.is_truthy(out:find("user:%[%d+%]"), out)
    assert.is_truthy(out:find("net:%[%d+%]"), out)
  end)

  it("of misuse are plain errors at the caller's line, with the nearest word", function()
    blue.link:add { name = "eth0", kind = "veth" }
    for _, case in ipairs {
      { function() blue.link:add { nmae = "x", kind = "veth" } end, "link.add: unknown key 'nmae' (did you mean 'name'?)" },
      { function() blue.link:add { name = "x", kind = "vxlan", vxlan = { prot = 4789 } } end,
        "link.add: vxlan: unknown key 'prot' (did you mean 'port'?)" },
      { function() blue.link:add { name = "x", type = "veth" } end, "a link has a kind" },
      { function() blue.link:add { "x", kind = "veth" } end, "unknown key '1' (a link's name is written name = \"eth0\")" },
      { function() blue.route:add { "10.0.0.0/8", gateway = "10.0.0.1" } end, "unknown key 'gateway' (did you mean 'via'?)" },
      { function() blue.route:add { "10.0.0.0/8", nexthops = { { gw = "10.0.0.1" } } } end, "nexthops[1]: unknown key 'gw' (did you mean 'via'?)" },
      { function() blue.rule:add { lookup = 5 } end, "unknown key 'lookup' (did you mean 'table'?)" },
      { function() blue.rule:add { pref = 5 } end, "unknown key 'pref' (did you mean 'priority'?)" },
      { function() blue.neighbour:add { "10.0.0.1", dev = "eth0", nud = "stale" } end, "unknown key 'nud' (did you mean 'state'?)" },
      { function() blue.address:add { "10.0.0.1/8", dev = "eth0", brd = "+" } end, "unknown key 'brd' (did you mean 'broadcast'?)" },
      { function() blue.link:change("eth0", { state = "up" }) end, "unknown key 'state' (did you mean 'up'?)" },
      { function() blue.link:add { name = "x", kind = "vxlan", id = 5 } end,
        "unknown key 'id' (it is an option of its kind: vxlan = { id = })" },
      { function() blue.link:add { name = "x", kind = "nonesuch", id = 5 } end, "unknown key 'id'" },
      { function() blue.link:add { name = "x" } end, "kind is needed" },
      { function() blue.link:add { name = "x", kind = "veth", mtu = "big" } end, "mtu" },
      { function() blue.link:add { name = "x", kind = "veth", mtu = false } end, "mtu cannot be false" },
      { function() blue.link:add { name = "x", kind = "veth", up = "yes" } end, "up must be true or false" },
      { function() blue.link:add { name = "x", kind = "veth", address = "zz" } end, "address" },
      { function() blue.link:add { name = "x", kind = "bridge", vxlan = { id = 1 } } end, "options of kind vxlan for a link of kind bridge" },
      { function() blue.link:add { name = "x", kind = "veth", peer = { nmae = "y" } } end, "peer: unknown key 'nmae' (did you mean 'name'?)" },
      { function() blue.link:change("eth0", { port = { hairpon = true } }) end, "unknown key 'hairpon' (did you mean 'hairpin'?)" },
      { function() blue.link:change("eth0", { kind = "bridge" }) end, "kind cannot be changed" },
      { function() blue.link:delete("eth0", { abesnt = "ok" }) end, "did you mean 'absent'" },
      { function() blue.link:get {} end, "name or index of a link" },
      { function() blue.link:list { mtuu = 5 } end, "did you mean 'mtu'" },
      { function() blue.address:add { "10.0.0.1/33", dev = "eth0" } end, "the length of a prefix is 0 to 32, not 33" },
      { function() blue.address:add { "2001:db8::1/200", dev = "eth0" } end, "the length of a prefix is 0 to 128, not 200" },
      { function() blue.address:add { "10.0.0.1/24" } end, "dev is needed" },
      { function() blue.address:add { "10.0.0.1/24", dev = "eth0", broadcst = "+" } end, "did you mean 'broadcast'" },
      { function() blue.route:add { via = "10.0.0.1" } end, "destination at [1] is needed" },
      { function() blue.route:add { "10.0.0.0/8", via = "nowhere" } end, "via must be an IP address" },
      { function() blue.route:add { "10.0.0.0/8", table = "nothing" } end, "unknown table 'nothing'" },
      { function() blue.route:add { "10.0.0.0/8", type = "blackhoel" } end, "blackhole" },
      { function() blue.route:add { "10.0.0.0/8", metirc = 4 } end, "did you mean 'metric'" },
      { function() blue.rule:add { from = "10.0.0.0/8", to = "2001:db8::1" } end, "one family" },
      { function() blue.rule:add { sport = "x" } end, "sport must be" },
      { function() blue.neighbour:add { "10.0.0.1", lladdr = "02:00:00:00:00:01" } end, "dev is needed" },
      { function() blue.neighbour:add { "10.0.0.1", dev = "eth0", state = "asleep" } end, "state" },
    } do
      local e = fails(case[1])
      assert.equal("string", type(e), tostring(e))
      assert.is_truthy(e:find(case[2], 1, true), e .. " / " .. case[2])
      assert.is_truthy(e:find("rtnl_errors_spec.lua:%d+: "), e)
    end
  end)

  it("are misuse where a yes or no is something else, a metric no number, or a word has no meaning there", function()
    blue.link:add { name = "eth0", kind = "veth", up = true }
    for _, case in ipairs {
      { "address", { "10.0.0.1/24", dev = "eth0", nodad = "no" }, "address.add: nodad must be true or false, got string" },
      { "neighbour", { "10.0.0.1", dev = "eth0", proxy = 0 }, "neighbour.add: proxy must be true or false, got number" },
      { "nexthop", { id = 1, dev = "eth0", onlink = "yes" }, "nexthop.add: onlink must be true or false, got string" },
      { "nexthop", { id = 1, dev = "eth0", idle_timer = 3 }, "nexthop.add: idle_timer is for groups" },
      { "nexthop", { id = 2, group = "1", dev = "eth0" }, "nexthop.add: dev is for nexthops, not for groups of them" },
      { "rule", { priority = 9, not_ = 1 }, "rule.add: not_ must be true or false, got number" },
      { "fdb", { "02:00:00:00:00:01", dev = "eth0", sticky = "off" }, "fdb.add: sticky must be true or false, got string" },
      { "route", { "10.0.0.0/8", dev = "eth0", mtu = true }, "route.add: mtu must be a number, got boolean" },
      { "route", { "10.0.0.0/8", dev = "eth0", features = "ecm" }, "route.add: unknown feature 'ecm' (did you mean 'ecn'?)" },
      { "route", { "10.0.0.0/8", dev = "eth0", as = 5 }, 'route.add: as is for MPLS routes (encap = { type = "mpls" } puts labels on others)' },
      { "link", { name = "br0", kind = "bridge", port = { cost = 5 } }, "link.add: port has the options as a port of master, which is needed" },
    } do
      local _, text = fails(blue[case[1]].add, blue[case[1]], case[2])
      assert.equal(case[3], text)
    end
    local _, text = fails(blue.route.list, blue.route, { features = {  {} } })
    assert.is_truthy(text:find("route.list: unknown feature 'table: ", 1, true))
    assert.is_truthy(blue.link:add { name = "br0", kind = "bridge", port = {} })
    _, text = fails(blue.link.add, blue.link, { name = "v1", kind = "veth", master = "br0", port = { cots = 5 } })
    assert.equal("link.add: port: unknown key 'cots' (did you mean 'cost'?)", text)
    assert.equal("link.add", fails(blue.link.add, blue.link, { name = "v1", kind = "veth", master = "br0", port = { cost = 500000000 } }).call)
    _, text = fails(blue.link.get, blue.link, ("x"):rep(70000))
    assert.is_true(#text < 500, text)
    _, text = fails(blue.route.add, blue.route, { [("x"):rep(70000)] = 1 })
    assert.is_true(#text < 500, text)
  end)

  it("of names that cannot be are clear", function()
    for name, says in pairs { [("x"):rep(16)] = "16 bytes, 15 fit", [("x"):rep(255)] = "255 bytes", [""] = "is empty", [".."] = "is no name",
      ["a/b"] = "slash", ["a b"] = "blank", ["a\0b"] = "NUL" } do
      local e, text = fails(blue.link.add, blue.link, { name = name, kind = "veth" })
      assert.is_true(errors.is(e, "EINVAL"))
      assert.is_truthy(text:find(says, 1, true), text)
    end
    -- bytes above 127 are fine with the kernel
    local name = "\195\164\255x"
    assert.equal(name, blue.link:add({ name = name, kind = "ifb" }).name)
    blue.link:delete(name)
  end)

  it("of a closed namespace say so", function()
    local gone = rtnl.netns "gone"
    local link = gone.link
    link:list()
    gone:close()
    local e = fails(link.list, link)
    assert.is_truthy(e:find("gone is closed", 1, true), e)
  end)

  it("are misuse where a key is no row of the object, or an address no text", function()
    blue.link:add { name = "br0", kind = "bridge", up = true, multicast = false } -- or groups come in among the neighbours
    local rows = { link = blue.link:get "br0", address = blue.address:add { "10.0.0.1/24", dev = "br0" }, route = blue.route:get "10.0.0.0/24",
      rule = blue.rule:get(32766), neighbour = blue.neighbour:add { "10.0.0.2", dev = "br0", lladdr = "02:00:00:00:00:02" } }
    -- IPv6 of a link that is up gets rows of its own, when the kernel comes to it, and so do groups
    local four = { family = "inet" }
    local function count()
      local fixed = { family = "inet", state = "permanent" }
      return #blue.rule:list() + #blue.route:list(four) + #blue.neighbour:list(fixed) + #blue.address:list(four) + #blue.link:list()
    end
    local before = count()
    for name in pairs(rows) do
      for other, row in pairs(rows) do
        for _, verb in ipairs { "get", "change", "delete" } do
          if name ~= other then
            local e = fails(blue[name][verb], blue[name], row, verb == "change" and {} or nil)
            assert.matches(("rtnl_errors_spec.lua:%%d+: %s.%s: %s row expected as the key, got %s row"):format(name, verb, name, other), e)
          end
        end
      end
      assert.matches("row expected as the key, got userdata", fails(blue[name].get, blue[name], io.stdout))
    end
    assert.equal(before, count())
    assert.matches("rtnl_errors_spec.lua:%d+: .*src must be an IP address, got number", fails(blue.route.list, blue.route, { src = 5 }))
    assert.matches("rtnl_errors_spec.lua:%d+: .*must be text", fails(blue.address.list, blue.address, { broadcast = print }))
  end)

  it("leave nothing half made and no fd behind", function()
    local before, links = rtnl.fds(), #blue.link:list()
    for _ = 1, 50 do
      pcall(blue.link.add, blue.link, { name = "t0", kind = "tap", mtu = 1 })
      pcall(blue.link.add, blue.link, { name = "v0", kind = "veth", peer = { netns = "nslua-not-there" } })
      pcall(blue.link.add, blue.link, { name = "v0", kind = "vxlan", vxlan = { id = 33554432 } })
    end
    blue.link:list()
    local after = rtnl.fds()
    local count = 0
    for n in pairs(after) do
      count = count + (before[n] and 0 or 1)
    end
    assert.is_true(count <= 1) -- blue's own kept socket
    assert.equal(links, #blue.link:list())
  end)

  it("do not happen after a fork: the child opens a socket of its own", function()
    blue.link:add { name = "eth0", kind = "ifb" }
    local process = ns.fork({}, function()
      return blue.link:get "eth0".kind
    end)
    assert.equal("ifb", process:result(10))
    assert.equal("ifb", blue.link:get "eth0".kind)
  end)
end)
