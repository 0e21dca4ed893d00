-- ns.fork: a Lua function in a child of a plan, its values, its errors, and what must not happen twice.

local ns = require "nslua"
local helper = require "spec.helper"
local held = helper.held

local function pack(...)
  return { n = select("#", ...), ... }
end

local function result(plan, fn, ...)
  local p = ns.fork(plan, fn, ...)
  local values = pack(pcall(p.result, p, 20))
  p:close()
  if not values[1] then
    error(values[2], 0)
  end
  return (unpack or table.unpack)(values, 2, values.n) -- luacheck: ignore 113
end

local function fails(...)
  local ok, err = pcall(result, ...)
  assert.is_false(ok)
  return err
end

after_each(helper.close_held)

describe("ns.fork", function()
  it("gives what the function returns", function()
    local function back(...)
      return ...
    end
    assert.same({ n = 0 }, pack(result({}, back)))
    assert.same({ 1, nil, false, "s\0\n", 1.5, nil, n = 6 }, pack(result({}, back, 1, nil, false, "s\0\n", 1.5, nil)))
    local nested = { { a = { 1, 2, { true } } }, [2.5] = "x", [true] = 1 }
    assert.same({ nested }, { result({}, back, nested) })
    local i, f, inf, nan, min = result({}, back, 3, 3.0, -math.huge, 0 / 0, math.mininteger)
    if math.type then
      assert.equal("integer float", math.type(i) .. " " .. math.type(f))
    end
    assert.equal(-math.huge, inf)
    assert.is_true(nan ~= nan)
    assert.equal(math.mininteger, min)
    local big = ("z"):rep(1e6)
    assert.is_true(result({}, back, big) == big)
  end)

  it("raises what the function raises", function()
    assert.matches("fork_spec.lua:%d+: oops", fails({}, function() error "oops" end))
    assert.same({ code = "x" }, fails({}, function() error { code = "x" } end))
    local err = fails({}, function() ns.run { "/nowhere" } end)
    assert.is_true(ns.error.is(err, "ENOENT"))
    assert.matches("run: exec: ENOENT", tostring(err))
    assert.is_nil(fails({}, function() error() end))
  end)

  it("says what cannot come back", function()
    assert.equal("fork: result 1 is a function: only nil, booleans, numbers, strings and tables come back", fails({}, function() return print end))
    assert.matches('result 2%["a"%]%[1%] is a userdata', fails({}, function() return 1, { a = { io.stdout } } end))
    assert.matches("result 1%[1%] contains itself", fails({}, function()
      local t = {}
      t[1] = t
      return t
    end))
  end)

  it("says how a child ended that gave no result", function()
    assert.matches("without a result: exit status 3", tostring(fails({}, function() os.exit(3) end)))
    assert.matches("without a result: exit status 1", tostring(fails({}, function() os.exit(false, true) end)))
    assert.matches("without a result: killed by SIGKILL", tostring(fails({}, function() os.execute "kill -9 $PPID" end)))
  end)

  it("times out as a value", function()
    local p = held(ns.fork({}, function() ns.run { "sleep", 100 } end))
    assert.same({ nil, "timeout" }, { p:result(0.05) })
  end)

  it("is a copy: what it changes stays there", function()
    local x = 1
    assert.equal(2, (result({}, function()
      x = x + 1
      return x
    end)))
    assert.equal(1, x)
  end)

  it("writes buffered output once, and runs no finaliser or to-be-closed variable of the script", function()
    local code = [[local ns = require "nslua"
      local keep = setmetatable({}, { __gc = function() io.write "[gc]" end, __close = function() io.write "[close]" end })
      do
        local c <close> = keep
        io.write "once "
        local p = ns.fork({}, function() io.write "child " return 1 end)
        io.write(p:result(), " ")
        local q = ns.fork({}, function() io.write "exit " os.exit(0, true) end)
        q:wait()
      end]]
    assert.equal("once child 1 exit [close][gc]", helper.sh(helper.lua .. " -e '" .. code .. "'"))
  end)

  it("does not end the script's other processes", function()
    local p = held(ns.spawn { "sleep", 100 })
    assert.is_false(result({}, function()
      return p:kill "KILL"
    end))
    result({}, function()
      p:close()
      collectgarbage()
    end)
    assert.is_true(p:running())
  end)

  it("runs the steps of the plan", function()
    local name, uid = result({ hostname = "forked", unshare = "user", map_users = "root" }, function()
      return ns.run({ "uname", "-n" }).stdout, ns.run({ "id", "-u" }).stdout
    end)
    assert.same({ "forked\n", "0\n" }, { name, uid })
    assert.same({ 1, 2 }, { result({ unshare = "user,pid", map_users = "root", mount_proc = true }, function()
      local first = io.open("/proc/self/stat"):read "*n"
      return first, first + 1
    end) })
    assert.equal(2, (result({ unshare = "user,pid", map_users = "root", mount_proc = true, init = true }, function()
      return io.open("/proc/self/stat"):read "*n"
    end)))
    local err = fails({ cwd = "/nowhere" }, function() end)
    assert.same({ "cwd", "ENOENT" }, { err.step, err.code })
    assert.matches("fork: cwd", tostring(err))
  end)

  it("is a method of handles", function()
    local a = held(helper.netns { lo = true })
    local p = held(a:fork(function(x) return ns.run({ "readlink", "/proc/self/ns/net" }).stdout, x end, 5))
    assert.same({ ("net:[%d]\n"):format(a.inode), 5 }, { p:result() })
    local q = held(a:fork({ cwd = "/etc" }, function() return ns.run({ "pwd" }).stdout end))
    assert.equal("/etc\n", (q:result()))
  end)

  it("does without a plan", function()
    assert.same({ 5, 6 }, { held(ns.fork(function(x, y) return x, y end, 5, 6)):result() })
    assert.same({ 7 }, { held(ns.fork(nil, function(x) return x end, 7)):result() })
  end)

  it("refuses misuse", function()
    assert.matches("a function expected", fails({}, nil))
    assert.matches("has no program", fails({ "ls" }, function() end))
    assert.matches("unknown key 'cdw'", fails({ cdw = "/" }, function() end))
  end)

  it("has the fds of the plan under their numbers, and returns at once", function()
    local core = require "nslua.core"
    local a = held(assert(core.fd.open("/proc/self/comm", "r")))
    local wanted = core.file.readlink("/proc/self/fd/" .. a:number())
    -- it looks when it is told to: a fork that waited for its child would never come back
    local go_read, go = assert(core.fd.pipe())
    held(go_read)
    held(go)
    local function look(as)
      core.fd.open("/proc/self/fd/200", "r"):read(1)
      return (core.file.readlink("/proc/self/fd/" .. as))
    end
    for as = a:number(), a:number() + 9 do -- the numbers that the child and its maker use for themselves are among these
      local p = ns.fork({ fds = { { a, as = as }, { go_read, as = 200 } } }, look, as)
      go:write "x"
      assert.equal(wanted, p:result(10))
      p:close()
    end
  end)

  it("works or fails clearly where fds run out, and never leaves a child nobody waits for", function()
    local out = helper.sh("ulimit -n 40; timeout 20 env " .. helper.lua .. [==[ -e '
      local ns, core = require "nslua", require "nslua.core"
      ns.fork({ unshare = "user,pid", map_users = "root" }, function() end):result() -- loads what it needs
      local held = {}
      while true do
        local fd = core.fd.open("/dev/null", "r")
        if not fd then break end
        held[#held + 1] = fd
      end
      for free = 0, 10 do
        for _, plan in ipairs { {}, { unshare = "user,pid", map_users = "root" } } do
          local ok, e = pcall(function()
            local p = ns.fork(plan, function() return 7 end)
            assert(p:result(10) == 7)
            p:close()
          end)
          if not ok and not ns.error.is(e, "EMFILE") then print(free, tostring(e)) end
          if free == 10 then print(ok) end
        end
        collectgarbage()
        table.remove(held):close()
      end']==])
    assert.equal("true\ntrue", out)
  end)

  it("leaves no fd", function()
    result({}, function() end)
    local before = helper.fd_count()
    for _ = 1, 20 do
      result({}, function() return 1 end)
      pcall(result, { cwd = "/nowhere" }, function() end)
    end
    assert.equal(before, helper.fd_count())
  end)
end)
