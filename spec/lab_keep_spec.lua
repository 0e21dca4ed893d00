-- Labs that other processes find: names, keep, the command, and that nothing is left of what was not kept.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"
local unprivileged = require "spec.unprivileged"

local NSLUA = "build/bin/nslua"
local UID, OTHER = unprivileged.UID, 23458

-- Of this run alone: others use the machine too.
local PREFIX = ("spec-%s-"):format(ns.run({ "sh", "-c", "echo $PPID" }).stdout:match "%d+")

local function eventually(fn)
  local stop = ns.clock() + 10
  while not fn() do
    if ns.clock() > stop then
      return false
    end
    ns.wait({}, 0.005)
  end
  return true
end

local function plan_of(uid, words)
  if uid then
    words.uid, words.gid, words.groups = uid, uid, {}
  end
  return words
end

-- A script of another process: what it printed and its result.
local function script(uid, code, ...)
  local r = ns.run(plan_of(uid, { NSLUA, "-", ..., input = code }))
  return (r.stdout:gsub("\n$", "")), r
end

local function lab_command(uid, ...)
  return ns.run(plan_of(uid, { NSLUA, "lab", ... }))
end

local function row(name)
  for _, each in ipairs(ns.lab.list()) do
    if each.name == name then
      return each
    end
  end
end

-- Those of some inode numbers that are still namespaces of somebody.
local function held(inodes)
  local out = {}
  for _, each in ipairs(ns.namespace.list { type = "net" }) do
    out[#out + 1] = inodes[each.inode] and each.inode or nil
  end
  return out
end

local function inodes_of(lab)
  local out = {}
  for _, node in ipairs(lab.nodes) do
    out[node.inode] = true
  end
  return out
end

-- Every test as root, where this is root, and as somebody else.
local function users(about, fn)
  local can, why = unprivileged.can()
  if helper.is_root() then
    describe(about .. ", as root", function()
      fn(nil)
    end)
  end
  describe(about .. ", without rights", function()
    if helper.is_root() and not can then
      return it("", function()
        pending(why)
      end)
    end
    fn(helper.is_root() and UID or nil)
  end)
end

describe("a running lab", function()
  local reason = rtnl.cannot()
  if reason then
    return it("", function()
      pending(reason)
    end)
  end

  local own = math.tointeger(tonumber((helper.sh "id -u")))
  local names = {}

  -- A name that is destroyed at the end of the test.
  local function name(suffix)
    local full = PREFIX .. suffix
    names[#names + 1] = full
    return full
  end

  -- As ns.lab.destroy wants it, whoever's it is.
  local function address(uid, full)
    return uid and ("%d/%s"):format(uid, full) or full
  end

  after_each(function()
    for _, full in ipairs(names) do
      local found = row(full)
      if found and found.kept then
        ns.lab.destroy(address(found.uid ~= own and found.uid or nil, full))
      end
    end
    names = {}
  end)

  local KEEP = [[
    local lab = ns.lab("h1 --1ms-- r1 -- h2", { keep = arg[1] })
    io.write(("%g"):format(lab.h1:ping("h2").loss), " ", lab.keeper:alive() and "held" or "")
  ]]

  users("that is kept", function(uid)
    it("outlives its script, works for others, and leaves nothing when it is destroyed", function()
      local full = name "kept"
      assert.equal("0 held", (script(uid, KEEP, full)))
      local found = row(full)
      assert.is_true(found.kept)
      assert.same({ "h1", "r1", "h2" }, found.nodes)
      assert.equal(uid or own, found.uid)
      assert.is_true(math.abs(os.time() - found.since) < 100)
      local inodes
      do
        local lab <close> = ns.lab.open(address(uid, full))
        inodes = inodes_of(lab)
        assert.equal(0, lab.h1:ping("h2").loss) -- its wire goes on, too
        assert.equal("10.0.1.1", lab.h1:address_of "r1")
        assert.equal("h1", lab.h1:output { "hostname" })
        assert.same({ "10.0.1.0/24", "fd00:1::/64" }, lab:link("h1", "r1").subnet)
        assert.equal(0, lab:ping_all().loss)
      end
      assert.equal("0", (script(uid, 'local l <close> = ns.lab.open(arg[1]) io.write(("%g"):format(l.h2:ping("h1").loss))', full)))
      assert.is_truthy(row(full)) -- close() of who opened it ends nothing
      if helper.is_root() then -- nobody else sees what a keeper holds
        assert.equal(3, #held(inodes))
      end
      assert.is_true(ns.lab.destroy(address(uid, full)))
      assert.is_nil(row(full))
      assert.is_true(eventually(function()
        return #held(inodes) == 0
      end))
      helper.fails("ENOENT", ns.lab.open, address(uid, full))
    end)

    it("outlives kill -9 and close(), for it was committed", function()
      local full = name "killed"
      local p <close> = ns.spawn(plan_of(uid, { NSLUA, "-e", ('local l = ns.lab("h1 --1ms-- h2", { name = %q, keep = true }) l:close() print "built" '
        .. "io.stdout:flush() ns.wait({}, 1000)"):format(full), stdout = "pipe" }))
      assert.equal("built", p.stdout:read "l")
      p:kill "KILL"
      p:wait()
      local lab <close> = ns.lab.open(address(uid, full))
      assert.is_true(lab.kept)
      assert.equal(0, lab.h2:ping("h1").loss)
    end)

    it("is one of its name; another raises, and leaves nothing", function()
      local full = name "twice"
      script(uid, KEEP, full)
      local text, r = script(uid, KEEP, full)
      assert.equal("", text)
      assert.matches("EEXIST: a lab named .* runs already", r.stderr)
      assert.equal("0", (script(uid, 'local l <close> = ns.lab.open(arg[1]) io.write(("%g"):format(l.h2:ping("h1").loss))', full)))
    end)
  end)

  users("that is not kept", function(uid)
    it("has the pid of its script for a name, is entered while that runs, and ends with it", function()
      local p <close> = ns.spawn(plan_of(uid, { NSLUA, "-e", 'a = ns.lab "h1 --1ms-- h2" b = ns.lab "x1 -- x2" print "built" io.stdout:flush() '
        .. "ns.wait({}, 1000)", stdout = "pipe" }))
      assert.equal("built", p.stdout:read "l")
      local first, second = ("%d"):format(p.pid), ("%d.2"):format(p.pid)
      assert.is_false(row(first).kept)
      assert.equal(p.pid, row(first).script)
      assert.same({ "x1", "x2" }, row(second).nodes)
      local r = lab_command(uid, "exec", first, "h2", "ping", "-c1", "-q", "h1")
      assert.equal(0, r.status, r.stderr)
      assert.matches("EBUSY: lab .* is not kept", lab_command(uid, "destroy", first).stderr)
      local lab = ns.lab.open(address(uid, first))
      local inodes = inodes_of(lab)
      lab:close()
      p:kill "KILL"
      p:wait()
      assert.is_true(eventually(function()
        return not row(first) and not row(second) and #held(inodes) == 0
      end))
    end)

    it("frees its name when it is closed, and where it cannot be built", function()
      local full = name "again"
      local code = [[
        local name = arg[1]
        for _ = 1, 3 do
          local lab <close> = ns.lab { links = { { "h1", "h2" } }, name = name }
          assert(lab.name == name and not lab.kept)
        end
        assert(not pcall(ns.lab, { links = { { "h1", "h2", ends = { { dev = "a/b" }, {} } } }, name = name }))
        assert(not pcall(ns.lab.open, name))
        io.write(#ns.lab.list())
      ]]
      local text, r = script(uid, code, full)
      assert.equal(0, r.status, r.stderr)
      assert.is_nil(row(full))
      assert.is_truthy(tonumber(text))
    end)
  end)

  it("has any text for a name that a terminal can show", function()
    for _, suffix in ipairs { "a b", "\"'$(id)`", "grün-日本", "@x", "a.b:c,d=e", "%s%d", ("x"):rep(64 - #PREFIX) } do
      local full = PREFIX .. suffix
      local _lab <close> = ns.lab("h1 -- h2", { name = full })
      assert.is_truthy(row(full), suffix)
      local r = lab_command(nil, "exec", full, "h1", "hostname")
      assert.equal("h1\n", r.stdout, r.stderr)
    end
    for _, bad in ipairs { "", "a\nb", "a\0b", "a\27[2J", "a/b", "-a", " a", "a ", "\xff", "a\u{9b}b", ("x"):rep(65) } do
      local ok, e = pcall(ns.lab, "h1 -- h2", { name = bad })
      assert.is_false(ok)
      assert.matches("is no name of a lab", e)
    end
    assert.has_error(function()
      ns.lab("h1 -- h2", { keep = true })
    end)
    assert.has_error(function()
      ns.lab("h1 -- h2", { name = "a", keep = "b" })
    end)
    assert.has_error(function()
      ns.lab("h1 -- h2", { kept = "b" })
    end)
  end)

  it("is not another user's to open, to end, to list", function()
    local can, why = unprivileged.can()
    if not can then
      return pending(why)
    end
    for _, uid in ipairs { 0, UID } do
      local full = name("mine" .. uid)
      script(uid ~= 0 and uid or nil, KEEP, full)
      local code = ([[
        local ns = require "nslua"
        for _, verb in ipairs { "open", "destroy" } do
          local ok, e = pcall(ns.lab[verb], "%d/%s")
          io.write(tostring(ok), " ", e.code, " ")
        end
        io.write(#ns.lab.list())
      ]]):format(uid, full)
      local text, r = script(OTHER, code)
      assert.matches("^false E%u+ false E%u+ 0$", text, r.stderr)
      assert.matches("EPERM", text)
      assert.is_truthy(row(full))
    end
  end)

  it("is not taken for another user's who has the name first", function()
    local can, why = unprivileged.can()
    if not can then
      return pending(why)
    end
    -- somebody else listens where root's lab would
    local p <close> = ns.spawn { NSLUA, "-e", ([[
      local core = require "nslua.core"
      local k = require "nslua.keeper".new()
      local fd = assert(core.running.bind("nslua/0/%sfake"))
      assert(k.process:take { assert(core.running.describe "x") })
      assert(k.process:serve(fd))
      print "there" io.stdout:flush() ns.wait({}, 1000)]]):format(PREFIX), uid = UID, gid = UID, groups = {}, stdout = "pipe" }
    assert.equal("there", p.stdout:read "l")
    assert.is_nil(row(PREFIX .. "fake"))
    helper.fails("EPERM", ns.lab.open, PREFIX .. "fake")
  end)

  it("is known to have ended by who has it open", function()
    local full = name "ended"
    ns.lab("h1 --0ms-- (s1) -- r1 -- (s2)", { keep = full }):close()
    local lab <close> = ns.lab.open(full)
    local link = lab:link("h1", "s1")
    assert.matches("did you mean the node", helper.fails("ENOENT", lab.h1.ping, lab.h1, "h9"))
    assert.matches("nothing is to change", select(2, pcall(link.at, link, 1, {})))
    assert.is_false(lab:has_ended())
    ns.lab.destroy(full)
    assert.is_true(eventually(function()
      return lab:has_ended() and not pcall(link.change, link, { delay = "1ms" })
    end))
    assert.is_truthy(helper.fails("ENOENT", link.change, link, { delay = "2ms" }):find(("the lab %q has ended meanwhile"):format(full), 1, true))
  end)

  it("answers many at once, and who says nothing or nonsense keeps nobody out", function()
    local full = name "crowd"
    local lab <close> = ns.lab("h1 -- h2", { name = full })
    local core = require "nslua.core"
    local silent = {}
    for i = 1, 60 do
      silent[i] = core.running.connect(("nslua/%d/%s"):format(own, full), own)
    end
    local other <close> = ns.lab.open(full)
    assert.equal(lab.h1, other.h1)
    for _, each in ipairs(silent) do
      each:close()
    end
  end)

  it("is listed, entered and ended by the command", function()
    local full = name "command"
    script(nil, KEEP, full)
    local out = lab_command(nil, "list").stdout
    assert.matches("NAME +NODES STATE +PID SINCE", out)
    assert.matches(full:gsub("%-", "%%-") .. " +3 kept +%d+ %d+%-%d+%-%d+ %d+:%d+:%d+", out)
    local json = ('"name":"%s","uid":%d,"nodes":["h1","r1","h2"],"state":"kept"'):format(full, own)
    assert.is_truthy(lab_command(nil, "list", "-j").stdout:find(json, 1, true))
    assert.is_truthy(("\n" .. lab_command(nil, "list", "-q").stdout):find("\n" .. full .. "\n", 1, true))
    local r = ns.run { NSLUA, "lab", "enter", full, "r1", input = "echo \"$PS1\"; hostname; exit 5\n", env = { SHELL = "/bin/sh" } }
    assert.equal("(r1) $ \nr1\n", r.stdout)
    assert.equal(5, r.status)
    -- without a node it is the lab's prompt; who has opened the lab sees what is done there
    local seen <close> = ns.lab.open(full)
    r = ns.run { NSLUA, "lab", "enter", full, input = "link h1 r1 delay 7ms\nlink h2 r1 down\nh1 hostname\nhelp\n" }
    for _, text in ipairs { "lab> link h1:eth0", "(down)", "lab> h1\n", "leave; the lab goes on" } do
      assert.is_truthy(r.stdout:find(text, 1, true), r.stdout .. r.stderr)
    end
    assert.is_truthy(seen:draw():find("h1 ──7ms── r1 ╌╌╌ h2", 1, true), seen:draw())
    seen:link("r1", "h2"):up()
    r = ns.run { NSLUA, "lab", "enter", full, input = "draw\npingall 4\n" }
    assert.is_truthy(r.stdout:find("h1 ──7ms── r1 ─── h2", 1, true) and r.stdout:find("2 of 2 pairs answer", 1, true), r.stdout)
    assert.equal(7, lab_command(nil, "exec", full, "h2", "sh", "-c", "exit 7").status)
    assert.equal(127, lab_command(nil, "exec", full, "h2", "nosuchprogram").status)
    assert.matches("unknown node 'h9'", lab_command(nil, "exec", full, "h9", "true").stderr)
    assert.equal(1, lab_command(nil, "exec", full).status)
    assert.equal(1, lab_command(nil).status)
    assert.equal(0, lab_command(nil, "destroy", full).status)
    assert.equal(1, lab_command(nil, "destroy", full).status)
    assert.equal(0, lab_command(nil, "enter", "--help").status)
  end)
end)

-- In namespaces of pids, mounts and networks where nobody else is: all that is there is ours.
describe("kill -9 of a script that builds labs", function()
  local can, why = unprivileged.can()
  if not can then
    return it("", function()
      pending(why)
    end)
  end

  local runner = [[
    local uid, times = tonumber(arg[1]), tonumber(arg[2])
    local plain = 'while true do local lab <close> = ns.lab "h1 --1ms-- r1 -- (s1) -- h2" end'
    local keep = 'ns.lab("h1 --1ms-- r1 -- h2", { keep = "storm" }) ns.wait({}, 1000)'
    local function lines(command, into, mark)
      for line in ns.run({ "sh", "-c", command }).stdout:gmatch "[^\n]+" do into[mark .. line] = true end
    end
    local function world()
      local out = {}
      for _, each in ipairs(ns.namespace.list()) do out[each.type .. ":" .. each.inode] = true end
      lines("ip -o link | cut -d: -f2", out, "link ")
      lines("cut -d' ' -f5 /proc/self/mountinfo", out, "mount ")
      lines([=[for p in /proc/[0-9]*; do
        read -r s < $p/stat && case "$s" in *") Z "*) ;; *"(nslua"*) echo "$s" | cut -d' ' -f1,2 ;; esac
      done 2>/dev/null; true]=], out, "process ")
      return out
    end
    local function more(before)
      local out = {}
      for key in pairs(world()) do out[#out + 1] = not before[key] and key or nil end
      return out
    end
    local before, began = world(), ns.clock()
    local kept, killed = 0, 0
    local function start(code)
      return ns.spawn { "build/bin/nslua", "-e", code, uid = uid, gid = uid, groups = {}, stderr = "pipe" }
    end
    -- End what is kept, until there is no lab: what is not kept goes by itself.
    local function clear()
      local stop = ns.clock() + 10
      repeat
        local rows = ns.lab.list()
        for _, row in ipairs(rows) do
          if row.kept then
            kept = kept + 1
            ns.lab.destroy(row.uid .. "/" .. row.name)
          end
        end
        assert(ns.clock() < stop, "a lab stays")
      until not rows[1]
    end
    local first = start(keep) -- how long one takes here
    repeat
      local row = ns.lab.list()[1]
      ns.wait({}, 0.001)
    until row and row.kept or ns.clock() > began + 30
    local span = (ns.clock() - began) * 2
    first:kill "KILL"
    first:wait()
    first:close()
    clear()
    kept = 0
    math.randomseed(20261126)
    while killed < times and ns.clock() < began + 100 do
      local p <close> = start(killed % 2 == 0 and keep or plain)
      ns.wait({}, math.random() * span)
      p:kill "KILL"
      killed = killed + 1
      if p:wait().signal ~= "KILL" then -- it had failed before
        print(killed, p.stderr:read("some", 0))
      end
      clear()
    end
    local left
    local stop = ns.clock() + 20
    repeat
      left = more(before)
      ns.wait({}, 0.02)
    until not left[1] or ns.clock() > stop
    assert(kept > 0 and kept < killed / 2, kept) -- before the commit and after it
    print(table.concat(left, ", "))
    assert(ns.clock() - began < 130, "took too long")
  ]]

  for about, uid in pairs { ["as root"] = 0, ["without rights"] = UID } do
    it("leaves nothing but what was kept: 200 times " .. about, function()
      local path = os.tmpname()
      local f = assert(io.open(path, "w"))
      f:write(runner)
      f:close()
      local out = helper.sh(("timeout 200 unshare -mpfn --mount-proc --propagation private sh -c '%s %s %d 200; exit $?'")
        :format(NSLUA, path, uid))
      os.remove(path)
      assert.equal("", out)
    end)
  end
end)
