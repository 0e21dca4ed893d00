-- Programs on a pty, and on the script's own terminal: sessions, sizes, Ctrl-C, Ctrl-Z.

local ns = require "nslua"
local core = require "nslua.core"
local helper = require "spec.helper"
local held = helper.held


-- Start Lua on a pty of its own; a job-control shell stands between, as at a desk.
local function at_a_terminal(code)
  return ns.spawn { "bash", "--norc", "-i", pty = true, env = { PS1 = "PROMPT ", LUACODE = code } }
end

-- Read until the pattern was seen; the text so far.
local function expect(p, pattern, seconds)
  local text, deadline = "", ns.clock() + (seconds or 10)
  while not text:find(pattern) do
    local more = p.pty:read(1, math.max(0, deadline - ns.clock()))
    assert(more, "no " .. pattern .. " in: " .. text)
    text = text .. more
  end
  return text
end

after_each(helper.close_held)

describe("a pty", function()
  it("is the program's terminal, in a session of its own", function()
    local r = ns.run { "sh", "-c", "tty; ps -o sid=,pid=,tpgid= -p $$; test -t 0 && test -t 1 && test -t 2 && echo all", pty = true }
    assert.is_true(r.ok)
    local tty, sid, pid, foreground = r.stdout:match "^(/dev/pts/%d+)\r\n%s*(%d+)%s+(%d+)%s+(%d+)"
    assert.is_truthy(tty)
    assert.equal(pid, sid)
    assert.equal(pid, foreground)
    assert.matches("all\r\n$", r.stdout)
    assert.equal("", r.stderr)
  end)

  it("has a size", function()
    assert.equal("24 80\r\n", ns.run({ "stty", "size", pty = true }).stdout)
    assert.equal("50 132\r\n", ns.run({ "stty", "size", pty = { rows = 50, columns = 132 } }).stdout)
    assert.equal("65535 1\r\n", ns.run({ "stty", "size", pty = { rows = 65535, columns = 1 } }).stdout)
    for _, bad in ipairs { 65536, 65560, -1, 2 ^ 31, 1.5, "80" } do
      local ok, e = pcall(ns.run, { "stty", "size", pty = { columns = bad } })
      assert.is_false(ok)
      assert.matches("^[./]*spec/pty_spec.lua:%d+: run: pty: columns must be 0%-65535, got ", e)
    end
  end)

  it("takes input, and end of file as Ctrl-D", function()
    local r = ns.run { "cat", pty = true, input = "hello\n\4" }
    assert.same({ 0, "hello\r\nhello\r\n" }, { r.status, r.stdout })
  end)

  it("carries more than it holds", function()
    local r = ns.run { "sh", "-c", "stty -echo -icanon; seq 1 100000", pty = true }
    assert.equal(select(2, r.stdout:gsub("\n", "")), 100000)
  end)

  it("talks with spawn, both ways", function()
    local p = held(ns.spawn { "sh", "-c", "stty -echo; echo ready; read x; echo got $x; exit 2", pty = true })
    expect(p, "ready\r\n")
    p.pty:write "abc\n"
    expect(p, "got abc\r\n")
    assert.equal(2, p:wait(10).status)
  end)

  it("gives Ctrl-C to the program", function()
    local p = held(ns.spawn { "sh", "-c", "echo ready; exec cat", pty = true })
    expect(p, "ready")
    p.pty:write "\3"
    assert.equal("INT", p:wait(10).signal)
  end)

  it("hangs up when it is closed", function()
    local p = ns.spawn { "sleep", 100, pty = true }
    p.pty:close()
    assert.equal("HUP", p:wait(10).signal)
    p:close()
  end)

  it("can be changed in size", function()
    local p = held(ns.spawn { "bash", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done", pty = true })
    expect(p, "ready")
    for _, bad in ipairs { { 65536, 80 }, { 24, -1 }, { "x", 80 } } do
      local ok, e = pcall(p.resize, p, bad[1], bad[2])
      assert.is_false(ok)
      assert.matches("pty_spec.lua:%d+: resize: ", e)
    end
    p:resize(30, 90)
    expect(p, "30 90")
  end)
end)

describe("the script's own terminal", function()
  if not helper.has "bash" then
    pending "no bash"
    return
  end
  local start = "env " .. helper.lua .. [[ -e "$LUACODE"]]

  it("is the program's while it runs: Ctrl-C ends the program, not the script", function()
    local p = helper.held_shell(at_a_terminal [[local ns = require "nslua"
      local r = ns.run{"sh", "-c", "echo ready; exec cat", stdin = "inherit", stdout = "inherit", stderr = "inherit"}
      print("ended by " .. tostring(r.signal))
      print("mine again: " .. tostring(require("nslua.core").process.foreground(0)))]])
    expect(p, "PROMPT ")
    p.pty:write(start .. "\n")
    expect(p, "ready")
    p.pty:write "\3"
    expect(p, "ended by INT")
    expect(p, "mine again: true")
    expect(p, "PROMPT ")
  end)

  it("goes with the script where Ctrl-Z stops the program, and comes back with fg", function()
    local p = helper.held_shell(at_a_terminal [[local ns = require "nslua"
      local r = ns.run{"sh", "-c", "echo ready $$.; read x; echo got $x; exit 3", stdin = "inherit", stdout = "inherit",
        stderr = "inherit"}
      print("status " .. tostring(r.status))]])
    expect(p, "PROMPT ")
    p.pty:write(start .. "\n")
    local pid = expect(p, "ready %d+%."):match "ready (%d+)%."
    p.pty:write "\26"
    expect(p, "Stopped")
    expect(p, "PROMPT ")
    -- Until it has come to its stop too, it would take from the shell what is typed.
    local deadline = ns.clock() + 10
    while helper.sh("cat /proc/" .. pid .. "/stat"):match "%) (%a)" ~= "T" do
      assert(ns.clock() < deadline, "it does not stop")
      ns.wait({}, 0.01)
    end
    p.pty:write "fg\n"
    expect(p, "LUACODE")
    p.pty:write "abc\n"
    expect(p, "got abc")
    expect(p, "status 3")
  end)

  it("is the program's in a pid namespace too", function()
    local p = helper.held_shell(at_a_terminal [[local ns = require "nslua"
      local r = ns.run{"sh", "-c", "echo ready; read x; echo got $x; exit 4", stdin = "inherit", stdout = "inherit", stderr = "inherit",
        unshare = "user,pid", map_users = "root", mount_proc = true, init = true}
      print("status " .. tostring(r.status), require("nslua.core").process.foreground(0))]])
    expect(p, "PROMPT ")
    p.pty:write(start .. "\n")
    expect(p, "ready")
    p.pty:write "abc\n"
    expect(p, "got abc")
    expect(p, "status 4%s+true")
  end)
end)

describe("core.process.pty", function()
  it("leaves no fd", function()
    local before = helper.fd_count()
    for _ = 1, 20 do
      ns.run { "true", pty = true }
    end
    assert.equal(before, helper.fd_count())
    local master, slave = core.process.pty(10, 20)
    assert.same({ 10, 20 }, { core.process.winsize(slave) })
    master:close()
    slave:close()
  end)
end)
