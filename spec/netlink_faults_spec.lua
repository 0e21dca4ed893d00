-- Netlink sockets, and the kernel's rare answers, which a shim makes.

local helper = require "spec.helper"

local made, why = pcall(helper.netns, { lo = true })
if made then
  why:close()
end

describe("a netlink socket, when the kernel", function()
  local shim = os.tmpname()
  -- the interpreter that runs this, where it is a plain one
  local exe = helper.sh "readlink /proc/$PPID/exe"
  local lua = exe:match "/lua[%w.%-]*$" and ("LUA_PATH='%s' LUA_CPATH='%s' %s"):format(package.path, package.cpath, exe) or helper.lua

  setup(function()
    if made and helper.has "cc" then
      local out, ok = helper.sh(("cc -shared -fPIC -o %s.so spec/netlink_faults.c -ldl"):format(shim))
      assert(ok, out)
    end
  end)
  teardown(function()
    os.remove(shim)
    os.remove(shim .. ".so")
  end)

  -- Run Lua in a process whose recvmsg has a fault; `nl`, `link`, `route`, `batch` are there.
  local function with(fault, text)
    local path = os.tmpname()
    local f = assert(io.open(path, "w"))
    f:write [[
      local ns, core, schema = require "nslua", require "nslua.core", require "nslua.schema"
      require "nslua.rtnl.link"
      require "nslua.rtnl.route"
      local link, route, E = schema.compile "link", schema.compile "route", core.errno
      local a = require("spec.helper").netns { lo = true }
      local nl = assert(core.netlink.open(a:raw_socket(16, 3, 0)))
      local lo = link:encode { index = 1 }
      local all = link:encode {}
      local gone = { 17, 0, link:encode { name = "gone" } }
    ]]
    f:write(text, '\nprint "fine"\n')
    f:close()
    local out = helper.sh(("NSLUA_FAULT=%s LD_PRELOAD=%s.so %s %s"):format(fault, shim, lua, path))
    os.remove(path)
    assert.are.equal("fine", out)
  end

  local function fault(name, setting, text)
    it(name, function()
      if not made or not helper.has "cc" then
        return pending "needs a C compiler and namespaces"
      end
      with(setting, text)
    end)
  end

  fault("calls a dump inconsistent, is asked again", "interrupted:3", [[
    local d = nl:dump(18, 0, all)
    assert(#d >= 1 and not d.interrupted)
  ]])
  fault("calls a list inconsistent, is asked again", "interrupted:3", [[
    local rows, interrupted = nl:list(18, 0, all, link)
    assert(#rows >= 1 and #rows == #nl:dump(18, 0, all) and interrupted == false)
  ]])
  fault("calls every list inconsistent, says so", "interrupted:1000", [[
    local rows, interrupted = nl:list(18, 0, all, link)
    assert(#rows >= 1 and interrupted == true)
    assert(a.link:list().interrupted == true)
  ]])
  fault("fails at the end of a list, is heard", "done:1", [[
    local d, message, errno, extack = nl:list(18, 0, all, link)
    assert(d == nil and errno == E.EINVAL and extack.message == "done badly", message)
    assert(#nl:list(18, 0, all, link) >= 1)
  ]])
  fault("finds nothing at the end of a list, gives an empty one", "vanished:1", [[
    assert(nl:list(18, 0, all, link))
  ]])
  fault("is interrupted by a signal whose hook raises, leaves the socket free", "eintr:1", [[
    local calls = 0
    debug.sethook(function()
      calls = calls + 1
      if calls == 4 then -- pcall, list, what it protects, and where hooks run
        debug.sethook()
        error "stopped"
      end
    end, "c")
    local ok, e = pcall(nl.list, nl, 18, 0, all, link)
    assert(not ok and e:find "stopped", e)
    assert(nl:get(18, lo, link).name == "lo")
    assert(#nl:list(18, 0, all, link) >= 1)
  ]])
  fault("does not answer a list, ends in time", "silent:1", [[
    local ok, message, errno = nl:list(18, 0, all, link, nil, nil, nil, 0)
    assert(ok == nil and errno == E.ETIMEDOUT, message)
    assert(#nl:list(18, 0, all, link) >= 1)
  ]])
  fault("calls every dump inconsistent, is asked eleven times, and the rows say so", "interrupted:1000", [[
    local before = nl:request(18, 0, lo) and 0
    local d = nl:dump(18, 0, all)
    assert(#d >= 1 and d.interrupted == true)
  ]])
  fault("fails at the end of a dump, is heard", "done:1", [[
    local d, message, errno, extack = nl:dump(18, 0, all)
    assert(d == nil and errno == E.EINVAL and extack.message == "done badly", message)
    assert(#nl:dump(18, 0, all) >= 1)
  ]])
  fault("finds nothing at the end of a dump, gives an empty one", "vanished:1", [[
    assert(nl:dump(18, 0, all))
  ]])
  fault("warns, passes it on", "warning:1", [[
    local ok, warning = nl:request(19, 4, lo)
    assert(ok and warning.message == "mind the gap")
    ok, warning = nl:request(19, 4, lo)
    assert(ok and warning == nil)
  ]])
  fault("warns in a batch, says of which request", "warning:1", [[
    local failures, warnings = nl:batch { { 19, 4, lo }, { 19, 0, lo } }
    assert(#failures == 0 and #warnings == 1 and warnings[1].index == 1 and warnings[1].message == "mind the gap")
  ]])
  fault("echoes the whole request, is still understood", "uncapped:1", [[
    local ok, message, errno, extack = nl:request(17, 4, gone[3])
    assert(not ok and errno == E.ENODEV and extack.message == "behind it", message)
  ]])
  fault("sends more than fits, does not parse it", "truncated:1", [[
    local ok, message, errno = nl:request(18, 0, lo)
    assert(not ok and errno == E.EMSGSIZE, message)
    assert(nl:request(18, 0, lo))
  ]])
  fault("sends more than fits for an index, says what is known", "truncated:1", [[
    local ok, message, errno = nl:index "lo"
    assert(not ok and errno == E.EMSGSIZE, message)
    assert(nl:index "lo" == 1)
  ]])
  fault("loses answers of a batch, calls them unknown", "nobufs:1", [[
    local failures = nl:batch({ gone, gone, gone }, 0.2)
    assert(#failures == 3)
    local unknown = 0
    for _, f in ipairs(failures) do
      unknown = unknown + (f.unknown and 1 or 0)
      assert(f.unknown and f.errno == E.ENOBUFS or f.errno == E.ENODEV)
    end
    assert(unknown == 1, unknown)
  ]])
  fault("loses the last answer of a batch, does not wait for it", "nobufs:1", [[
    local failures = nl:batch { { 19, 0, lo } }
    assert(#failures == 1 and failures[1].unknown and failures[1].errno == E.ENOBUFS)
    assert(#nl:batch { { 19, 0, lo } } == 0)
  ]])
  fault("loses the answer of a request, says so", "nobufs:1", [[
    local ok, message, errno = nl:request(18, 0, lo)
    assert(not ok and errno == E.ENOBUFS, message)
    assert(nl:request(18, 0, lo))
  ]])
  fault("is interrupted by signals, goes on", "eintr:25", [[
    assert(nl:get(18, lo, link).name == "lo")
    assert(nl:index "lo" == 1)
    assert(#nl:dump(18, 0, all) >= 1)
    assert(#nl:list(18, 0, all, link) >= 1)
    assert(#nl:batch { { 19, 0, lo } } == 0)
  ]])
  fault("does not answer, ends in time", "silent:1000000", [[
    for _, call in ipairs { "request", "get", "dump" } do
      local start = core.fd.clock()
      local ok, message, errno
      if call == "get" then
        ok, message, errno = nl:get(18, lo, link, nil, nil, 0)
      else
        ok, message, errno = nl[call](nl, 18, 0, lo, 0)
      end
      assert(ok == nil and errno == E.ETIMEDOUT, message)
      assert(core.fd.clock() - start < 5)
    end
    local failures = nl:batch({ gone }, 0)
    assert(failures[1].unknown and failures[1].errno == E.ETIMEDOUT)
  ]])
  fault("is late, the old answer is not the next one's", "silent:1", [[
    local ok, message, errno = nl:request(18, 0, lo, 0)
    assert(not ok and errno == E.ETIMEDOUT, message)
    local ok, message, errno = nl:request(18, 0, link:encode { index = 99 })
    assert(not ok and errno == E.ENODEV, message)
    assert(nl:get(18, lo, link).index == 1)
  ]])
  fault("is late with a dump, the next dump works", "silent:1", [[
    local list = {}
    for i = 0, 3999 do
      list[#list + 1] = { 24, 0x600, route:encode { family = "inet", dst_len = 32, type = "unicast", table8 = 254, scope_number = 253,
        proto_number = 4, dev_index = 1, dst_address = ("10.9.%d.%d"):format(math.floor(i / 256), i % 256) } }
    end
    assert(nl:dump(26, 0, route:encode { family = "inet" }, 0) == nil)
    assert(#nl:batch(list) == 0)
    local all = route:encode { family = "inet", table8 = 254 }
    assert(#nl:dump(26, 0, all) == 4000)
  ]])
  -- What is there with the echoes of today's kernel, and without: the rows that add returns, and what they are compared with.
  local adds = [[
    local b = ns.netns.new { userns = rawget(a, "userns") }
    -- an older link of the kind, and one of another: neither is the one that is made next
    a.link:add { name = "old0", kind = "veth", peer = { name = "old1" } }
    a.link:add { name = "br0", kind = "bridge", up = true }
    local function is(row, name, found)
      assert(row, "no row")
      assert(row.name == name, row.name)
      assert(row == found and row.index == found.index)
      for key, value in pairs(found:decode()) do
        assert(type(value) == "table" or key:find "^carrier" or key == "operstate" or row[key] == value, key)
      end
      row:json()
      return row
    end
    local row = is(a.link:add { name = "v0", kind = "veth", mtu = 1400, peer = { name = "w0" } }, "v0", a.link:get "v0")
    assert(row.kind == "veth" and row.mtu == 1400 and row.link == "w0")
    -- without a name it is the youngest of its kind: not the bridge, not the far end
    row = a.link:add { kind = "veth", peer = { name = "w1", mtu = 1300 } }
    assert(row.name:find "^veth%d+$" and row.link == "w1" and row.mtu == 1500, row.name)
    is(row, row.name, a.link:get(row.name))
    row = a.link:add { kind = "bridge" }
    assert(row.kind == "bridge" and row.name ~= "br0", row.name)
    -- what the kernel takes no notice of while it makes a link, masters, other namespaces
    row = is(a.link:add { name = "p0", kind = "veth", up = true, master = "br0", altnames = { "a-longer-name" }, alias = "x",
      peer = { name = "p1", netns = b, up = true } }, "p0", a.link:get "p0")
    assert(row.master == "br0" and row.up and row.altnames[1] == "a-longer-name" and row.alias == "x" and row.link_netnsid)
    is(a.link:add { name = "far0", kind = "bridge", netns = b }, "far0", b.link:get "far0")
    assert(b.link:get "p1".up and not a.link:get "far0")
    is(a.link:replace { name = "v1", kind = "veth", peer = { name = "w2" } }, "v1", a.link:get "v1")
    is(a.link:ensure { name = "v2", kind = "veth", peer = { name = "w3" } }, "v2", a.link:get "v2")
    -- a link that cannot be made is an error, not the row of another
    local ok, e = pcall(a.link.add, a.link, { name = "v0", kind = "veth" })
    assert(not ok and ns.error.is(e, "EEXIST"), tostring(e))
    -- the other objects, which were echoed earlier
    row = a.address:add { "10.0.0.1/24", dev = "br0" }
    assert(row == a.address:get { "10.0.0.1/24", dev = "br0" } and row.dev == "br0")
    row = a.route:add { "10.9.0.0/16", via = "10.0.0.2", metric = 7 }
    assert(row == a.route:get "10.9.0.0/16" and row.via == "10.0.0.2" and row.metric == 7)
    assert(a.route:replace({ "10.9.0.0/16", via = "10.0.0.3", metric = 7 }).via == "10.0.0.3")
    row = a.rule:add { from = "10.0.0.0/8", table = 100 }
    assert(row == a.rule:get(row.priority) and row.from == "10.0.0.0/8" and row.table == 100)
    local replies = assert(nl:request(16, 0x60c, link:encode { name = "raw0", linkinfo = { kind = "bridge" } }))
    local echoes = #replies -- whether the fault was there at all
  ]]
  fault("echoes what it makes, the rows are these", "none:0", adds .. "assert(echoes <= 1, echoes)") -- Linux 6.1 echoes no links
  fault("echoes nothing, add asks once for the row", "noecho:1000", adds .. "assert(echoes == 0, echoes)")
  fault("is waited for, a signal's hook can end it", "eintr:3", [[
    -- what a signal handler does: a hook, which runs at the next call
    local waiting
    local function stop()
      local outer = debug.getinfo(3, "f")
      if outer and outer.func == waiting then
        error("stop", 0)
      end
    end
    for _, call in ipairs { "dump", "request", "batch" } do
      waiting = nl[call]
      debug.sethook(stop, "c")
      local ok, e
      if call == "batch" then
        ok, e = pcall(waiting, nl, { gone })
      else
        ok, e = pcall(waiting, nl, 18, 0, call == "dump" and all or lo)
      end
      debug.sethook()
      assert(not ok and e == "stop", e)
    end
    assert(#nl:dump(18, 0, all) >= 1)
    assert(nl:get(18, lo, link).name == "lo")
  ]])
end)
