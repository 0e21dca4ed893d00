-- The program: options of lua(1), scripts, commands, errors, exit codes as a shell sees them.

local helper = require "spec.helper"

local bin = helper.sh "pwd" .. "/build/bin/nslua"
local folder

local function write(name, text)
  local f = assert(io.open(folder .. "/" .. name, "w"))
  f:write(text)
  f:close()
  return folder .. "/" .. name
end

-- Run the program from the test's folder: stdout, stderr, exit code.
local function run(args, input, env)
  local out, err = folder .. "/out", folder .. "/err"
  local _, _, status = helper.sh(("cd %s && %s %s %s <%s >%s 2>%s"):format(folder, env or "", bin, args,
    input and write("input", input) or "/dev/null", out, err))
  local function read(path)
    local f = assert(io.open(path))
    local text = f:read "a"
    f:close()
    return text
  end
  return read(out), read(err), status
end

setup(function()
  folder = helper.sh "mktemp -d"
end)

teardown(function()
  helper.sh("rm -rf " .. folder)
end)

describe("options of lua(1)", function()
  it("-e runs text, several in order, attached or not", function()
    assert.equal("1\n2\n3\n", (run "-e 'print(1)' -e'print(2)' -e 'print(3)'"))
  end)

  it("-e with a script: first the text, then the script", function()
    write("s.lua", "print('script', x)")
    assert.equal("script\t5\n", (run "-e 'x = 5' s.lua"))
  end)

  it("-l requires into a global", function()
    write("mod.lua", "return { name = ... }")
    assert.equal("mod\n", (run "-l mod -e 'print(mod.name)'"))
    assert.equal("mod\n", (run "-l m=mod -e 'print(m.name)'"))
    assert.equal("mod\n", (run "-lmod -e 'print(mod.name)'"))
    local _, err, status = run "-l nothere -e 'print(1)'"
    assert.equal(1, status)
    assert.matches("module 'nothere' not found", err)
  end)

  it("-v and --version print the version and start no prompt", function()
    for _, option in ipairs { "-v", "--version" } do
      local out, err, status = run(option, "print(1)\n")
      assert.matches("^nslua %d+%.%d+%.%d+  Lua 5%.4%.%d", out)
      assert.equal("", err)
      assert.equal(0, status)
      assert.is_nil(out:find "\n1\n")
    end
  end)

  it("-i prompts after the script", function()
    write("s.lua", "y = 6")
    local out = run("-i s.lua", "y\n")
    assert.matches("> 6\n", out)
  end)

  it("-E ignores the environment", function()
    local env = "LUA_INIT='print(\"init\")' LUA_PATH='/elsewhere/?.lua;;'"
    assert.equal("init\ntrue\n", (run("-e 'print((package.path:find \"elsewhere\") ~= nil)'", nil, env)))
    assert.equal("false\n", (run("-E -e 'print((package.path:find \"elsewhere\") ~= nil)'", nil, env)))
  end)

  it("LUA_INIT with @ runs a file", function()
    write("init.lua", "print 'from file'")
    assert.equal("from file\n", (run("-e ''", nil, "LUA_INIT=@init.lua")))
    assert.equal("versioned\n", (run("-e ''", nil, "LUA_INIT=@init.lua LUA_INIT_5_4='print \"versioned\"'")))
  end)

  it("-W turns warnings on", function()
    local _, err = run "-W -e 'warn \"careful\"'"
    assert.matches("Lua warning: careful", err)
    _, err = run "-e 'warn \"careful\"'"
    assert.equal("", err)
  end)

  it("- reads the script from standard input; so does nothing at all", function()
    assert.equal("in\ta\tb\n", (run("- a b", "print('in', ...)")))
    assert.equal("in\n", (run("", "print('in', ...)")))
  end)

  it("-- ends the options", function()
    write("s.lua", "print(arg[0], ...)")
    assert.equal("./s.lua\t-e\n", (run "-- ./s.lua -e"))
  end)

  it("-h and --help print the usage", function()
    for _, option in ipairs { "-h", "--help" } do
      local out, _, status = run(option)
      assert.matches("^usage:", out)
      assert.equal(0, status)
    end
  end)

  it("refuses what is no option, and an option without its value", function()
    for _, option in ipairs { "-x", "--foo", "-e", "-l", "-n", "-ix", "-e -v" } do
      local out, err, status = run(option)
      assert.equal(1, status, option)
      assert.equal("", out)
      assert.matches("usage:", err)
    end
  end)
end)

describe("scripts", function()
  it("have arg with negative indices, and varargs", function()
    write("s.lua", "print(arg[0], arg[1], arg[2], #arg, arg[-1], arg[-2], ...)")
    assert.equal("s.lua\ta\tb\t2\t-W\t" .. bin .. "\ta\tb\n", (run "-W s.lua a b"))
  end)

  it("run by their shebang line", function()
    local path = write("s", "#!/usr/bin/env nslua\nprint('shebang', arg[0], ...)")
    helper.sh("chmod +x " .. path)
    assert.equal("shebang\t" .. path .. "\tx", (helper.sh(("PATH=%s:$PATH %s x"):format(bin:match "^(.*)/", path))))
  end)

  it("are words with a slash or ending in .lua", function()
    write("plain", "print 'plain'")
    assert.equal("plain\n", (run "./plain"))
    local _, err, status = run "plain"
    assert.equal(127, status)
    assert.matches("there is no command 'plain'", err)
    assert.matches("%./plain", err)
  end)

  it("have ns, and nslua's files count as inside", function()
    write("s.lua", "print(ns == require 'nslua', (pcall(require, 'nslua.core')), debug.getregistry()['nslua.host'])")
    assert.equal("true\ttrue\ttrue\n", (run "s.lua"))
    write("w.lua", "local e = require 'nslua.error'\nprint(pcall(ns.wait, 5))\nprint(e.inside(debug.getinfo(ns.wait, 'S').source))")
    assert.equal("false\tw.lua:2: wait: a list of objects expected, got number\ntrue\n", (run "w.lua"))
    helper.sh(("mkdir -p %s/lua/nslua && cp %s/w.lua %s/lua/nslua/w.lua"):format(folder, folder, folder))
    assert.equal("false\tlua/nslua/w.lua:2: wait: a list of objects expected, got number\ntrue\n", (run "lua/nslua/w.lua"))
  end)

  it("that are not there or do not parse end with 1", function()
    local _, err, status = run "nothere.lua"
    assert.equal(1, status)
    assert.matches("nothere%.lua", err)
    write("bad.lua", "x x")
    _, err, status = run "bad.lua"
    assert.equal(1, status)
    assert.matches("bad%.lua:1: syntax error", err)
  end)

  it("-n starts them in a network namespace", function()
    if not helper.is_root() then
      pending "setns needs root"
    end
    local name = "hostspec" .. helper.sh "echo $$"
    helper.sh("ip netns add " .. name)
    finally(function() helper.sh("ip netns delete " .. name) end)
    local out, err = run(("-n %s -e 'print(ns.netns.current().inode)'"):format(name))
    assert.equal(helper.sh("stat -L -c %i /run/netns/" .. name) .. "\n", out, err)
    out = run(("-n /run/netns/%s -e 'print(ns.netns.current().inode)'"):format(name))
    assert.equal(helper.sh("stat -L -c %i /run/netns/" .. name) .. "\n", out)
    local _, status
    _, err, status = run "-n nosuchname -e 'print(1)'"
    assert.equal(1, status)
    assert.matches("ENOENT", err)
  end)
end)

describe("errors", function()
  it("print message and traceback and end with 1", function()
    write("s.lua", "local function f() error('oops') end\nlocal function g() f() end\ng()")
    local _, err, status = run "s.lua"
    assert.equal(1, status)
    assert.matches("s%.lua:1: oops\nstack traceback:", err)
    assert.matches("in upvalue 'f'", err)
  end)

  it("of objects too", function()
    write("s.lua", "local function f() require('nslua.error').raise{ call = 'x', errno = 17 } end\nf()")
    local _, err, status = run "s.lua"
    assert.equal(1, status)
    assert.matches("s%.lua:1: x: EEXIST: File exists\nstack traceback:", err)
    write("o.lua", "error(setmetatable({}, { __tostring = function() return 'text of it' end }))")
    _, err = run "o.lua"
    assert.matches("text of it\nstack traceback:", err)
    write("t.lua", "error({})")
    _, err = run "t.lua"
    assert.matches("%(error object is a table value%)", err)
    write("n.lua", "error(nil)")
    _, err = run "n.lua"
    assert.matches("%(error object is a nil value%)", err)
  end)

  it("run the close handlers", function()
    write("s.lua", "local g <close> = setmetatable({}, { __close = function() print 'closed' end })\nerror 'x'")
    assert.equal("closed\n", (run "s.lua"))
  end)

  it("of a full disk are seen", function()
    local _, _, status = helper.sh(bin .. " -e 'print(1)' >/dev/full")
    assert.equal(1, status)
  end)
end)

describe("os.exit", function()
  local guard = "local function guard(n) return setmetatable({}, { __close = function() print(n) end }) end\nlocal a <close> = guard 'a'\n"

  it("closes, with the status it is given", function()
    for code, want in pairs { ["3"] = 3, ["true"] = 0, ["false"] = 1, [""] = 0 } do
      write("s.lua", guard .. ("os.exit(%s)"):format(code))
      local out, _, status = run "s.lua"
      assert.equal("a\n", out)
      assert.equal(want, status)
    end
  end)

  it("closes what coroutines and calls of pcall hold, innermost first", function()
    write("s.lua", guard .. [[
      pcall(function()
        local b <close> = guard "b"
        coroutine.wrap(function()
          local c <close> = guard "c"
          pcall(os.exit, 4)
        end)()
      end)]])
    local out, _, status = run "s.lua"
    assert.equal("c\nb\na\n", out)
    assert.equal(4, status)
  end)

  it("does not close when told so", function()
    write("s.lua", guard .. "os.exit(5, false)")
    local out, _, status = run "s.lua"
    assert.equal("", out)
    assert.equal(5, status)
  end)

  it("works in a close handler and in a finalizer", function()
    write("s.lua", guard .. "local b <close> = setmetatable({}, { __close = function() os.exit(6) end })")
    local out, _, status = run "s.lua"
    assert.equal("a\n", out)
    assert.equal(6, status)
    write("g.lua", "setmetatable({}, { __gc = function() os.exit(7) end })")
    _, _, status = run "g.lua"
    assert.equal(7, status)
  end)
end)

describe("embedded Lua files", function()
  it("need no file on disk and win over package.path", function()
    write("nslua.lua", "error 'the wrong one'")
    assert.matches("^nslua %d", (run("-e 'print(require(\"nslua\")._VERSION)'", nil, "LUA_PATH='./?.lua'")))
  end)

  it("lose against a copy below $NSLUA_LUA, but not with -E", function()
    helper.sh("mkdir -p " .. folder .. "/own/nslua")
    write("own/nslua/wait.lua", "return { wait = function() return 'mine', debug.getinfo(1, 'S').source end }")
    assert.equal("mine\t@[nslua]/wait.lua\n", (run("-e 'print(ns.wait())'", nil, "NSLUA_LUA=own")))
    local _, _, status = run("-E -e 'print(ns.wait())'", nil, "NSLUA_LUA=own")
    assert.equal(1, status)
  end)

  it("are named when a module is missing", function()
    local _, err = run "-e 'require \"nslua.nothere\"'"
    assert.matches("no 'nslua%.nothere' in the nslua program", err)
  end)
end)

describe("Debian's C modules", function()
  for _, name in ipairs { "cjson", "lfs", "readline" } do
    it("load: " .. name, function()
      local _, ok = helper.sh("lua5.4 -e 'require \"" .. name .. "\"'")
      if not ok then
        pending(name .. " is not installed")
      end
      local out, err = run("-e 'print(type(require \"" .. name .. "\"))'")
      assert.equal("table\n", out, err)
    end)
  end
end)

describe("commands", function()
  it("are found in $NSLUA_PATH, then ~/.config, then the program", function()
    helper.sh(("mkdir -p %s/p1 %s/p2 %s/home/.config/nslua/commands"):format(folder, folder, folder))
    write("p1/hello.lua", "-- says hello\n--\n-- More of it.\nreturn function(args) print('p1', args[0], #args) return 3 end")
    write("p2/hello.lua", "return function() print 'p2' end")
    write("p2/second.lua", "-- the second\nreturn function() print 'second' return true end")
    write("home/.config/nslua/commands/third.lua", "-- the third\nreturn function() return false end")
    write("home/.config/nslua/commands/second.lua", "return function() print 'hidden' end")
    local env = "env -u XDG_CONFIG_HOME HOME=home NSLUA_PATH=p1:p2"
    local _
    local out, err, status = run("hello a b", nil, env)
    assert.equal("p1\thello\t2\n", out, err)
    assert.equal(3, status)
    out, _, status = run("second", nil, env)
    assert.equal("second\n", out)
    assert.equal(0, status)
    _, _, status = run("third", nil, env)
    assert.equal(1, status)
    out = run("help", nil, env)
    assert.matches("\n  hello +says hello  %[p1/hello%.lua%]\n", out)
    assert.matches("\n  second +the second ", out)
    assert.matches("\n  third +the third ", out)
    assert.matches("\n  help +list the commands", out)
    out = run("help hello", nil, env)
    assert.matches("^hello: says hello\n\nMore of it%.\n", out)
    _, _, status = run("-E hello", nil, env)
    assert.equal(127, status)
  end)

  it("that are unknown are answered with the nearest", function()
    local _
    local out, err, status = run "hlep"
    assert.equal(127, status)
    assert.equal("", out)
    assert.matches("there is no command 'hlep' %(did you mean 'help'%?%)", err)
    _, err, status = run "help hlep"
    assert.equal(1, status)
    assert.matches("did you mean 'help'%?", err)
  end)

  it("turn an error object into one line, other errors into a traceback", function()
    write("p1/fails.lua", "return function() require('nslua.error').raise{ call = 'link.add', errno = 17 } end")
    write("p1/bug.lua", "return function() local x = nil; x() end")
    write("p1/nofunction.lua", "return 5")
    write("p1/syntax.lua", "return return")
    local _, err, status = run("fails", nil, "NSLUA_PATH=p1")
    assert.equal(1, status)
    assert.matches("^[^\n]*link%.add: EEXIST: File exists\n$", err)
    _, err, status = run("bug", nil, "NSLUA_PATH=p1")
    assert.equal(1, status)
    assert.matches("stack traceback", err)
    _, err, status = run("nofunction", nil, "NSLUA_PATH=p1")
    assert.equal(1, status)
    assert.matches("^nslua: p1/nofunction%.lua: a command returns a function, this returns a number\n$", err)
    _, err, status = run("syntax", nil, "NSLUA_PATH=p1")
    assert.equal(1, status)
    assert.matches("^nslua: p1/syntax%.lua:1: [^\n]*\n$", err)
  end)

  it("list every built-in one with a summary", function()
    local out = run "help"
    for name, summary in out:gmatch "\n  (%w+) +([^\n]*)" do
      assert.is_true(#summary > 5, name)
    end
  end)
end)

it("starts within 1.5 times the time of lua5.4", function()
  local function best(command)
    local text = helper.sh(([[for i in 1 2 3 4 5; do s=$(date +%%s%%N); for j in 1 2 3 4 5 6 7 8 9 10; do %s -e ""; done
      e=$(date +%%s%%N); echo $((e - s)); done | sort -n | head -1]]):format(command))
    return tonumber(text)
  end
  local ratio = math.huge
  for _ = 1, 5 do -- the machine may be busy: the best of a few
    ratio = math.min(ratio, best(bin) / best "lua5.4")
    if ratio <= 1.5 then
      break
    end
  end
  assert.is_true(ratio <= 1.5, "ratio " .. ratio)
end)
