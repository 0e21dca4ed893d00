-- SIGINT, SIGTERM and SIGHUP unwind a script, whatever it is doing, and then end the program; the exit code is the shell's.

local helper = require "spec.helper"

local bin = helper.sh "pwd" .. "/build/bin/nslua"
local folder

setup(function()
  folder = helper.sh "mktemp -d"
end)

teardown(function()
  helper.sh("rm -rf " .. folder)
end)

-- guard(n) writes n when it is closed, after work that includes caught errors and a coroutine.
local prelude = [[
local function guard(name)
  return setmetatable({}, { __close = function()
    local n = 0
    for i = 1, 5000 do n = n + #tostring(i) end
    local ok, e = pcall(function() error("x", 0) end)
    assert(not ok and e == "x")
    local co = coroutine.wrap(function() coroutine.yield(1) for i = 1, 1000 do tostring(i) end end)
    co() co()
    io.stdout:write(name, " ")
    io.stdout:flush()
  end })
end
local function ready() local f = io.open(arg[1], "w") f:write "ready" f:close() end
local function spin() ready() while true do end end
]]

local function write(name, text)
  local f = assert(io.open(folder .. "/" .. name, "w"))
  f:write(text)
  f:close()
end

-- Run a script, send it signals once it is ready, wait: stdout, stderr and exit code. `kills` is a line of sh; $p is the process.
local function run(body, kills, env)
  write("s.lua", prelude .. body)
  write("s.sh", ([[
    cd %s; rm -f ready
    %s %s s.lua ready >out 2>err </dev/null &
    p=$!
    until [ -s ready ]; do kill -0 $p || exit 99; done
    %s
    wait $p]]):format(folder, env or "", bin, kills))
  local _, _, status = helper.sh("timeout 60 sh " .. folder .. "/s.sh")
  local function read(name)
    local f = assert(io.open(folder .. "/" .. name))
    local text = f:read "a"
    f:close()
    return text
  end
  return read "out", read "err", status
end

local codes = { INT = 130, TERM = 143, HUP = 129 }

-- name -> script, and what it must have written
local cases = {
  { "a plain loop", 'local a <close> = guard "a" spin()', "a " },
  { "a scope in a scope", 'local a <close> = guard "a" do local b <close> = guard "b" spin() end', "b a " },
  { "pcall", 'local a <close> = guard "a" pcall(function() local b <close> = guard "b" spin() end) print "BAD"', "b a " },
  { "a loop around pcall", 'local a <close> = guard "a" while true do pcall(spin) end', "a " },
  { "a loop around nested pcalls",
    'local a <close> = guard "a" while true do pcall(pcall, function() local b <close> = guard "b" spin() end) end', "b a " },
  { "a loop around short calls", 'local a <close> = guard "a" ready() while true do pcall(tostring, 1) end', "a " },
  { "pcall of a callable object", [[
    local a <close> = guard "a"
    local t = setmetatable({}, { __call = function() local b <close> = guard "b" spin() end })
    while true do pcall(t) end]], "b a " },
  { "xpcall with a handler in C", 'local a <close> = guard "a" while true do xpcall(spin, debug.traceback) end', "a " },
  { "xpcall with handlers in Lua", [[
    local a <close> = guard "a"
    while true do
      xpcall(function() xpcall(spin, function(m) for _ = 1, 1e5 do end return m end) end, function(m) return { m } end)
    end]], "a " },
  { "xpcall with a handler that fails", 'local a <close> = guard "a" while true do xpcall(spin, function(m) error(m) end) end', "a " },
  { "deep nesting", [[
    local a <close> = guard "a"
    pcall(function()
      local b <close> = guard "b"
      pcall(function()
        local c <close> = guard "c"
        xpcall(function() local d <close> = guard "d" spin() end, print)
      end)
    end)]], "d c b a ", "interrupted" },
  { "150 calls of pcall", [[
    local a <close> = guard "a"
    local function f(n) if n == 0 then spin() end local ok = pcall(f, n - 1) return ok end
    f(150)]], "a " },
  { "a coroutine under resume", [[
    local a <close> = guard "a"
    local co = coroutine.create(function() local b <close> = guard "b" spin() end)
    while true do coroutine.resume(co) end]], "b a " },
  { "coroutines under wrap and pcall", [[
    local a <close> = guard "a"
    while true do pcall(coroutine.wrap(function() local b <close> = guard "b" spin() end)) end]], "b a " },
  { "a coroutine that yielded in a pcall", [[
    local a <close> = guard "a"
    local co = coroutine.wrap(function()
      local b <close> = guard "b"
      while true do pcall(function() local c <close> = guard "c" coroutine.yield() spin() end) end
    end)
    co()
    while true do co() end]], "c b a " },
  { "coroutines in coroutines", [[
    local a <close> = guard "a"
    coroutine.wrap(function()
      local b <close> = guard "b"
      pcall(coroutine.wrap(function()
        local c <close> = guard "c"
        pcall(function() local d <close> = guard "d" coroutine.wrap(spin)() end)
      end))
      spin()
    end)()]], "d c b a " },
  { "a coroutine suspended before", [[
    local a <close> = guard "a"
    local co = coroutine.create(function() while true do coroutine.yield() end end)
    coroutine.resume(co) ready()
    while true do coroutine.resume(co) end]], "a " },
  { "coroutine.close", [[
    local a <close> = guard "a"
    local co = coroutine.create(function() local b <close> = guard "b" coroutine.yield() end)
    coroutine.resume(co)
    local slow <close> = setmetatable({}, { __close = function() ready() local t = ns.clock() + 0.1 while ns.clock() < t do end end })
    coroutine.close(co)]], "b a " },
  { "poll(2) in the core, under pcall", [[
    local a <close> = guard "a"
    local core = require "nslua.core"
    local r, w = core.fd.pipe() ready()
    while true do pcall(core.fd.poll, { { r, "r" } }) end]], "a " },
  { "ns.wait", 'local a <close> = guard "a" local r, w = require("nslua.core").fd.pipe() ready() ns.wait{ r } w:close()', "a " },
  { "ns.run", 'local a <close> = guard "a" ready() while true do pcall(ns.run, { "sleep", "50" }) end', "a " },
  { "a read from a pipe", 'local a <close> = guard "a" local p <close> = io.popen("sleep 1") ready() while true do pcall(p.read, p) end', "a " },
  { "load with a reader", 'local a <close> = guard "a" while true do load(function() local b <close> = guard "b" spin() end) end', "b a " },
  { "callbacks of table.sort", 'local a <close> = guard "a" while true do pcall(table.sort, { 3, 2, 1 }, spin) end', "a " },
  { "callbacks of string.gsub", 'local a <close> = guard "a" while true do pcall(string.gsub, "aaa", "a", spin) end', "a " },
  { "metamethods", [[
    local a <close> = guard "a"
    local t = setmetatable({}, { __index = spin })
    while true do pcall(function() return t.x end) end]], "a " },
  { "a generic for with a closing value",
    'local a <close> = guard "a" for _ in function() return 1 end, nil, nil, guard "f" do pcall(spin) end', "f a " },
  { "close handlers that fail", [[
    local a <close> = guard "a"
    while true do
      pcall(function()
        local b <close> = guard "b"
        local bad <close> = setmetatable({}, { __close = function() error "oops" end })
        spin()
      end)
    end]], "b a " },
  { "close handlers that are tail calls", [[
    local t = { work = function() local n = 0 for i = 1, 100000 do n = n + #tostring(i) end io.write "tail " end }
    local a <close> = setmetatable(t, { __close = function(o) return o.work() end, __index = t })
    while true do pcall(function() return spin() end) end]], "tail " },
  { "a close handler that runs already", [[
    local a <close> = guard "a"
    do
      local slow <close> = setmetatable({}, { __close = function()
        ready()
        local t = ns.clock() + 0.1
        while ns.clock() < t do end
        io.write "slow "
      end })
    end
    spin()]], "slow a " },
  { "a close handler that runs for an error", [[
    local a <close> = guard "a"
    pcall(function()
      local slow <close> = setmetatable({}, { __close = function()
        ready()
        local t = ns.clock() + 0.1
        while ns.clock() < t do end
        io.write "slow "
      end })
      error "x"
    end)
    spin()]], "slow a " },
  { "finalizers", [[
    local a <close> = guard "a"
    kept = setmetatable({}, { __gc = function() for i = 1, 1e5 do tostring(i) end io.write "gc " end })
    while true do pcall(spin) end]], "a gc " },
}

for signal, code in pairs(codes) do
  describe("SIG" .. signal .. " unwinds", function()
    for _, case in ipairs(cases) do
      it(case[1], function()
        local out, err, status = run(case[2], "kill -" .. signal .. " $p")
        if case[4] then
          out = out:gsub(case[4] .. "[^ ]* ?b?y? ?SIG%u+\n?", "")
        end
        assert.equal("", err)
        assert.equal(case[3], out)
        assert.equal(code, status)
      end)
    end
  end)
end

it("a second signal ends the program at once", function()
  local endless = 'local a <close> = setmetatable({}, { __close = function() io.write "in" io.flush() spin() end }) ready() spin()'
  local _, _, status = run(endless, "kill -TERM $p; until grep -q in out; do :; done; sleep 0.1; kill -TERM $p")
  assert.equal(143, status)
  _, _, status = run(endless, "kill -TERM $p; until grep -q in out; do :; done; kill -INT $p")
  assert.equal(130, status)
end)

it("the same signal twice at once is one, as timeout(1) sends it", function()
  local out, _, status = run('local a <close> = guard "a" ready() spin()', "kill -TERM $p; kill -TERM $p")
  assert.equal("a ", out)
  assert.equal(143, status)
end)

it("nohup stays in force", function()
  write("n.lua", "io.stdout:write(io.open('/proc/self/status'):read('a'):match('SigIgn:%s*(%x+)'))")
  local ignored = helper.sh(("cd %s; nohup %s n.lua 2>/dev/null </dev/null"):format(folder, bin))
  assert.equal(1, tonumber(ignored, 16) & 1)
end)

it("programs that are started ignore what the script was told to ignore, as a shell tells what it puts into the background", function()
  write("i.lua", [[
    local show = { "sed", "-n", "s/SigIgn://p", "/proc/self/status" }
    io.write(ns.run(show).stdout)
    print(pcall(ns.exec, { "no-such-program" }))
    io.write(ns.run(show).stdout)
    ns.exec(show)]])
  local out = helper.sh(("cd %s; trap '' INT TERM PIPE HUP; %s i.lua | sed '/no-such/d'"):format(folder, bin))
  local first, again, exec = out:match "(%x+)%s+(%x+)%s+(%x+)"
  local mask = 1 << 0 | 1 << 1 | 1 << 14 -- HUP INT TERM
  assert.equal(mask, tonumber(first, 16) & mask, out)
  assert.equal(first, again)
  assert.equal(mask | 1 << 12, tonumber(exec, 16) & (mask | 1 << 12)) -- PIPE too: the program takes the place of nslua
end)

it("C modules that resume coroutines themselves are stopped too: cqueues", function()
  local _, ok = helper.sh "lua5.4 -e 'require \"cqueues\"'"
  if not ok then
    pending "cqueues is not installed"
  end
  local out, _, status = run([[
    local cqueues = require "cqueues"
    local a <close> = guard "a"
    local cq = cqueues.new()
    cq:wrap(function() local b <close> = guard "b" ready() spin() end)
    while true do pcall(cq.loop, cq) end]], "kill -TERM $p")
  assert.equal("b a ", out)
  assert.equal(143, status)
end)

it("C modules that end the program themselves still close: luv", function()
  local _, ok = helper.sh "lua5.4 -e 'require \"luv\"'"
  if not ok then
    pending "luv is not installed"
  end
  local out, _, status = run([[
    local uv = require "luv"
    local a <close> = guard "a"
    local t = uv.new_timer()
    t:start(1, 0, function() local b <close> = guard "b" ready() spin() end)
    uv.run()]], "kill -TERM $p")
  assert.equal("b a ", out)
  assert.equal(143, status)
end)

it("nslua's own files clean up with pcall, scripts do not", function()
  helper.sh("mkdir -p " .. folder .. "/own/nslua")
  -- a module in the place of nslua.wait: what it does after its pcall is done to the end, once
  write("own/nslua/wait.lua", [[
    return { wait = function(fn)
      while true do
        local ok, e = pcall(fn)
        local n = 0
        for i = 1, 5000 do n = n + #tostring(i) end
        io.write "clean "
        local ok2, e2 = pcall(error, "y", 0)
        io.write(tostring(e2), " ")
      end
    end }]])
  local out, err, status = run([[
    local a <close> = guard "a"
    pcall(ns.wait, function() if not _G.again then _G.again = true ready() end spin() end)
    io.write "BAD"]], "kill -TERM $p", "NSLUA_LUA=own")
  assert.equal("", err)
  assert.equal("clean y a ", out)
  assert.equal(143, status)
end)

it("SIGPIPE on stdout unwinds quietly, on another pipe it is an error value", function()
  write("s.lua", prelude .. [[
    local a <close> = setmetatable({}, { __close = function() io.stderr:write "closed" end })
    for i = 1, 1e7 do print(i) end]])
  local out = helper.sh(("cd %s; { %s s.lua x 2>err; echo $? >code; } | head -n1; cat err code"):format(folder, bin))
  assert.equal("1\nclosed141", out)
  write("s.lua", [[
    local p = io.popen("exec true", "w")
    os.execute "sleep 0.05"
    local text = ("x"):rep(200000)
    local ok, message, code = p:write(text)
    print(ok, message, code)]])
  assert.equal("nil\tBroken pipe\t32", (helper.sh(("cd %s; %s s.lua"):format(folder, bin))))
end)

it("programs that a script starts have the default actions", function()
  local show = "grep -E SigIgn\\|SigBlk /proc/self/status"
  local want = helper.sh(show)
  assert.equal(want, (helper.sh(bin .. " -e 'os.execute [[" .. show .. "]]'")))
  assert.equal(want, (helper.sh(bin .. [[ -e 'io.write(ns.run{ "grep", "-E", "SigIgn|SigBlk", "/proc/self/status" }.stdout)']])))
end)
