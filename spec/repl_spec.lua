-- The prompt, on a terminal: several lines, values, history, Ctrl-C, Ctrl-D.

local helper = require "spec.helper"
local ns = require "nslua"

local bin = helper.sh "pwd" .. "/build/bin/nslua"
local folder

setup(function()
  folder = helper.sh "mktemp -d"
end)

teardown(function()
  helper.sh("rm -rf " .. folder)
end)

-- Without readline: an empty package.cpath, as where the module is not installed.
local without = { LUA_PATH = "/nonexistent/?.lua", LUA_CPATH = "/nonexistent/?.so" }

local function session(env, words)
  local plan = { bin, pty = true, cwd = folder, env = { HOME = folder, TERM = "dumb", INPUTRC = "/dev/null" } }
  table.move(words or {}, 1, #(words or {}), 2, plan)
  for k, v in pairs(env or {}) do
    plan.env[k] = v
  end
  local p = ns.spawn(plan)
  local s = { process = p }
  -- Read until `text` has been shown; returns what was.
  function s.see(text)
    local seen, from = "", 1
    while not seen:find(text, from, true) do
      local byte, reason = p.pty:read(1, 10)
      assert(byte, ("%s while waiting for %q, seen: %q"):format(reason or "end", text, seen))
      seen = seen .. byte
      from = math.max(1, #seen - #text)
    end
    return seen
  end
  function s.type(text)
    p.pty:write(text)
  end
  function s.finish()
    local r = p:wait(10)
    p:close()
    return assert(r, "still there after ten seconds")
  end
  return s
end

local function has_readline()
  local _, ok = helper.sh "lua5.4 -e 'assert(require(\"readline\").handler_install)'"
  return ok
end

for name, env in pairs { ["with readline"] = {}, ["without readline"] = without } do
  describe("the prompt " .. name, function()
    it("prints values, takes statements of several lines, keeps globals", function()
      if name == "with readline" and not has_readline() then
        pending "the readline module is not installed"
      end
      local s = session(env)
      assert.matches("^nslua %d", s.see "> ")
      s.type "1 + 1, 'x'\n"
      s.see "2\tx\r\n"
      s.see "> "
      s.type "for i = 1, 2 do\n"
      s.see ">> "
      s.type "print('line', i)\n"
      s.see ">> "
      s.type "end\n"
      s.see "line\t1\r\nline\t2\r\n"
      s.see "> "
      s.type "x = 7\n"
      s.see "> "
      s.type "x * 6\n"
      s.see "42\r\n"
      s.see "> "
      s.type "=x * 5\n"
      s.see "35\r\n"
      s.see "> "
      s.type "type(ns.netns)\n"
      s.see "table\r\n"
      s.see "> "
      s.type "\4"
      s.finish()
    end)

    it("shows errors with the statement's traceback only, and goes on", function()
      if name == "with readline" and not has_readline() then
        pending "the readline module is not installed"
      end
      local s = session(env)
      s.see "> "
      s.type "local function f() error('oops') end f()\n"
      local text = s.see "> "
      assert.matches("stdin:1: oops\r\nstack traceback:", text)
      assert.is_nil(text:find("repl.lua", 1, true))
      s.type "x x\n"
      assert.matches("stdin:1: syntax error near 'x'", s.see "> ")
      s.type "error(setmetatable({}, { __tostring = function() return 'an object' end }))\n"
      s.see "an object\r\n"
      s.see "> "
      s.type "'still ' .. 'here'\n"
      s.see "still here\r\n"
      s.see "> "
      s.type "\4"
      s.finish()
    end)

    it("Ctrl-C drops the line and stops the statement, not the program", function()
      if name == "with readline" and not has_readline() then
        pending "the readline module is not installed"
      end
      local s = session(env)
      s.see "> "
      s.type "for i = 1, 2 do\n"
      s.see ">> "
      s.type "garbage"
      s.see "garbage"
      s.type "\3"
      s.see "\n> "
      s.type "local g <close> = setmetatable({}, { __close = function() print 'closed' end }) print 'started' while true do pcall(error) end\n"
      s.see "started\r\n"
      s.type "\3"
      s.see "closed"
      s.see "interrupted by SIGINT"
      s.see "> "
      s.type "print('run' .. 'ning') ns.run{ 'sleep', '50' }\n"
      s.see "running"
      s.type "\3"
      s.see "interrupted by SIGINT"
      s.see "> "
      s.type "'still ' .. 'here'\n"
      s.see "still here\r\n"
      s.see "> "
      s.type "\4"
      assert.equal(0, s.finish().status)
    end)

    it("ends at Ctrl-D, by os.exit, and of a signal", function()
      if name == "with readline" and not has_readline() then
        pending "the readline module is not installed"
      end
      local s = session(env)
      s.see "> "
      s.type "\4"
      assert.equal(0, s.finish().status)
      s = session(env)
      s.see "> "
      s.type "os.exit(9)\n"
      assert.equal(9, s.finish().status)
      s = session(env)
      s.see "> "
      s.process:kill "TERM"
      assert.equal("TERM", s.finish().signal)
    end)
  end)
end

it("drops a line that was begun on Ctrl-C, and leaves the terminal as it was", function()
  if not has_readline() then
    pending "the readline module is not installed"
  end
  for _, ends in ipairs { "\4", "TERM" } do
    local s = session({ TERM = "xterm" }, { "lab", "-q", "-e", "h1 -- h2" })
    s.see "lab> "
    for _ = 1, 5 do
      s.type "error 'begun"
      s.see "begun"
      s.type "\3"
      s.see "lab> "
    end
    s.type "1 + 1\n"
    s.see "2\r\n"
    s.see "lab> "
    if ends == "TERM" then
      s.type "error 'begun"
      s.see "begun"
      s.process:kill(ends)
    else
      s.type(ends)
    end
    s.see "\27[?2004l"
    assert.equal(ends == "TERM" and ends or nil, s.finish().signal)
  end
end)

it("completes names of Lua, and at a lab's prompt nodes and the words of commands", function()
  if not has_readline() then
    pending "the readline module is not installed"
  end
  local s = session {}
  s.see "> "
  s.type "ns.cont\t.fi\t == ns.container.find\n"
  s.see "true\r\n"
  s.see "> "
  s.type "\4"
  s.finish()
  local env = { HOME = folder, TERM = "dumb", INPUTRC = "/dev/null" }
  local can = select(2, helper.sh((helper.is_root() and "" or "unshare -Ur ") .. "unshare -n true"))
  if not can then
    return
  end
  local p = ns.spawn { bin, "lab", "-q", "-e", "h1 -- r1 -- (s1) -- h2", pty = true, cwd = folder, env = env }
  local function see(text)
    local seen = ""
    while not seen:find(text, 1, true) do
      seen = seen .. assert(p.pty:read(1, 10), seen)
    end
  end
  see "lab> "
  p.pty:write "link h1 \tdo\t\n" -- its only neighbour
  see "link h1:eth0 -- r1:eth0"
  see "lab> "
  p.pty:write "h1:addr\t()\n"
  see "10.0.1.1"
  see "lab> "
  p.pty:write "exit\n"
  assert(p:wait(10))
  p:close()
end)

it("keeps a history where readline is there", function()
  if not has_readline() then
    pending "the readline module is not installed"
  end
  os.remove(folder .. "/.nslua_history")
  local s = session()
  s.see "> "
  s.type "first = 1\n"
  s.see "> "
  s.type "\4"
  s.finish()
  s = session()
  s.see "> "
  s.type "\27[A"
  s.see "first = 1"
  s.type "\n"
  s.see "> "
  s.type "os.exit(0)\n"
  s.finish()
  local f = assert(io.open(folder .. "/.nslua_history"))
  assert.matches("^first = 1\n", f:read "a")
  f:close()
end)

it("takes _PROMPT and _PROMPT2", function()
  local s = session(without)
  s.see "> "
  s.type "_PROMPT, _PROMPT2 = 'ready? ', 'more? '\n"
  s.see "ready? "
  s.type "x =\n"
  s.see "more? "
  s.type "5\n"
  s.see "ready? "
  s.type "\4"
  s.finish()
end)
