-- Plans: what is refused, where and with which words; and that nothing is left of a plan that was refused.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"
local held = helper.held

local function misuse(plan, call)
  local ok, err = pcall(ns[call or "run"], plan)
  assert.is_false(ok)
  assert.equal("string", type(err), "an ordinary Lua error")
  return err
end

after_each(helper.close_held)

describe("a plan", function()
  it("names the nearest key, at the caller's line", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, err = pcall(function() ns.run { "true", unshre = "net" } end)
    assert.is_false(ok)
    assert.equal(("spec/plan_spec.lua:%d: run: unknown key 'unshre' (did you mean 'unshare'?)"):format(line), (err:gsub("^%./", "")))
    assert.matches("unknown key 'timeuot' %(did you mean 'timeout'%?%)", misuse { "true", timeuot = 1 })
    assert.matches("spawn: unknown key 'pipes'", misuse({ "true", pipes = 1 }, "spawn"))
  end)

  it("is a table with a program", function()
    assert.matches("a plan %(a table%) expected, got string", misuse "ls")
    assert.matches("a plan %(a table%) expected, got nil", misuse(nil))
    assert.matches("no program", misuse {})
    assert.matches("argument 2 must be a string, got nil", misuse { "a", nil, "b", [4] = "c" })
    assert.matches("argument 1 must be a string, got table", misuse { {} })
    assert.matches("argument 2 has a NUL byte", misuse { "ls", "a\0b" })
  end)

  it("checks types", function()
    assert.matches("cwd must be string or userdata, got 1", misuse { "true", cwd = 1 })
    assert.matches("uid must be integer, got 1.5", misuse { "true", uid = 1.5 })
    assert.matches("uid %-1 is no user or group id", misuse { "true", uid = -1 })
    assert.matches("group .*nan is no user or group id", misuse { "true", groups = { 0 / 0 } })
    assert.matches("group 1.5 is no user or group id", misuse { "true", groups = { 1.5 } })
    local file = assert(io.open("/dev/null"))
    file:close()
    assert.matches("^[^%[].*run: stdin: attempt to use a closed file", misuse { "true", stdin = file })
    assert.matches("gid 4294967295 is no user or group id", misuse { "true", gid = 4294967295 })
    assert.matches("groups%[1%] must be a group id", misuse { "true", groups = { "adm" } })
    assert.matches("init must be boolean", misuse { "true", init = "yes" })
    assert.matches("hostname is 65 bytes", misuse { "true", hostname = ("x"):rep(65) })
    assert.matches("cwd has a NUL byte", misuse { "true", cwd = "/\0" })
  end)

  it("checks words", function()
    assert.matches("run: unshare: unknown namespace type 'nte' %(did you mean 'net'%?%)", misuse { "true", unshare = "nte" })
    assert.matches("unknown word 'inhert' %(did you mean 'inherit'%?%)", misuse { "true", stdin = "inhert" })
    assert.matches("stdin: unknown word 'capture'", misuse { "true", stdin = "capture" })
    assert.matches('stdout = "pipe" is for spawn', misuse { "true", stdout = "pipe" })
    assert.matches("unknown word 'privat' %(did you mean 'private'%?%)", misuse { "true", unshare = "mount", propagation = "privat" })
    assert.matches("propagation is of a new mount namespace", misuse { "true", propagation = "private" })
    assert.matches("map_users: unknown word 'rot' %(did you mean 'root'%?%)", misuse { "true", map_users = "rot" })
    assert.matches('timeout: cannot read "5 parsecs"', misuse { "true", timeout = "5 parsecs" })
  end)

  it("checks the environment", function()
    assert.matches('env: "a=b" is no name of a variable', misuse { "true", env = { ["a=b"] = 1 } })
    assert.matches("env.A must be text, a number or false, got table", misuse { "true", env = { A = {} } })
    assert.matches("env.A must be text, a number or false, got boolean", misuse { "true", env = { A = true } })
    assert.matches("env.A has a NUL byte", misuse { "true", env = { A = "\0" } })
  end)

  it("checks mounts", function()
    assert.matches("mounts%[1%] must have either bind or tmpfs", misuse { "true", mounts = { { to = "/x" } } })
    assert.matches("mounts%[2%] has no `to`", misuse { "true", mounts = { { tmpfs = "/x" }, { bind = "/y" } } })
    assert.matches("mounts%[1%]: unknown key 'too'", misuse { "true", mounts = { { bind = "/x", too = "/y" } } })
    assert.matches("size: cannot read", misuse { "true", mounts = { { tmpfs = "/x", size = "big" } } })
  end)

  it("checks fds", function()
    assert.matches("fds%[1%]: 0, 1 and 2 are stdin", misuse { "true", fds = { 1 } })
    local f = held(core.fd.open("/dev/null", "r"))
    assert.matches("fds%[2%]: %d+ is taken by another", misuse { "true", fds = { f, { f } } })
    assert.matches("is no file descriptor", misuse { "true", fds = { { f, as = 2 ^ 40 } } })
    local ok, err = pcall(ns.run, { "true", fds = { 999 } })
    assert.is_false(ok)
    assert.is_true(ns.error.is(err, "EBADF"))
    assert.is_nil(err.hint)
  end)

  it("names the limit of open files where a number of `fds` does not fit below it", function()
    local out = helper.sh("ulimit -n 64; exec env " .. helper.lua .. [[ - <<'END'
      local ns = require "nslua"
      local f = io.open "/dev/null"
      local function run(as)
        local ok, e = pcall(ns.run, { "sh", "-c", "readlink /proc/self/fd/$0", as, fds = { { f, as = as } } })
        return ok and e.stdout or e
      end
      io.write(run(40))
      for as = 56, 70 do
        local e = run(as)
        local hint = ("fd %d and what has to move out of its way do not fit below the limit of open files, 64: RLIMIT_NOFILE"):format(as)
        if type(e) ~= "string" and not tostring(e):find(hint, 1, true) then
          print(as, e)
        elseif as >= 64 and type(e) == "string" then
          print(as, "worked")
        end
      end
      local ok, e = pcall(ns.fork, { fds = { { f, as = 64 } } }, function() end)
      print(ok, e.code, e.hint:match "the limit of open files, 64")
END]])
    assert.equal("/dev/null\nfalse\tEINVAL\tthe limit of open files, 64", out)
  end)

  it("has keys that are of some calls only", function()
    assert.matches("run: ready is for spawn", misuse { "true", ready = { tcp = 1 } })
    assert.matches("spawn: check is for run", misuse({ "true", check = true }, "spawn"))
    assert.matches("ready.tcp must be a port, got 70000", misuse({ "true", ready = { tcp = 70000 } }, "spawn"))
  end)

  it("checks stdio", function()
    assert.matches("stdin and input are two words", misuse { "true", stdin = "null", input = "x" })
    assert.matches("with a pty, stdin, stdout and stderr are the pty", misuse { "true", pty = true, stdin = "null" })
    assert.matches("stdout: unknown key 'apend' %(did you mean 'append'%?%)", misuse { "true", stdout = { file = "/x", apend = true } })
    assert.matches("stdout must be a word", misuse { "true", stdout = true })
  end)

  it("checks what is joined", function()
    assert.matches("join must be a namespace handle, a process, a pid or a table", misuse { "true", join = true })
    assert.matches("unknown namespace type 'nett'", misuse { "true", join = { nett = 1 } })
    assert.matches("join must name the type of each", misuse { "true", join = { 1 } })
    local handle = held(require("nslua.namespace").current "uts")
    assert.matches("a net namespace expected", misuse { "true", join = { net = handle } })
    local ok, err = pcall(ns.run, { "true", join = { net = 2 ^ 30 } })
    assert.is_false(ok)
    assert.is_true(ns.error.is(err, "ESRCH") or ns.error.is(err, "EINVAL"))
    ok, err = pcall(ns.run, { "true", join = "no-such-name" })
    assert.is_false(ok)
    assert.is_true(ns.error.is(err, "ENOENT"))
    local closed = require("nslua.namespace").current "net"
    closed:close()
    assert.matches("closed", misuse { "true", join = closed })
  end)

  it("says which right was missing, to who has none", function()
    local unprivileged = require "spec.unprivileged"
    local can, why = unprivileged.can()
    if not can then
      pending(why)
    end
    local out = unprivileged.lua [[
      print(select(2, pcall(ns.run, { "true", unshare = "net" })))
      print(select(2, pcall(ns.run, { "true", uid = 0 })))
      print(select(2, pcall(ns.run, { "true", unshare = "user", map_users = { { 0, 0, 1 } } })))]]
    assert.matches("run: unshare net: EPERM: Operation not permitted; this process has no CAP_SYS_ADMIN in user:%[%d+%]: run as root", out)
    assert.matches("run: uid: EPERM: .*CAP_SETUID", out)
    assert.matches("run: map users: EPERM", out)
  end)

  it("that was refused leaves no fd and no process", function()
    local before = helper.fd_count()
    local children = helper.sh "ps --no-headers --ppid $PPID | wc -l"
    for _ = 1, 50 do
      pcall(ns.run, { "true", input = "x", stdout = "capture", fds = { 999 } })
      pcall(ns.run, { "true", join = { net = "self", nett = 1 } })
      pcall(ns.run, { "true", pty = true, root = "/nowhere" })
      pcall(ns.run, { "true", unshare = "user,pid", map_users = "root", cwd = "/nowhere" })
      pcall(ns.spawn, { "/nowhere", stdin = "pipe", stdout = "pipe", stderr = "pipe" })
    end
    assert.equal(before, helper.fd_count())
    assert.equal(children, helper.sh "ps --no-headers --ppid $PPID | wc -l")
  end)
end)
