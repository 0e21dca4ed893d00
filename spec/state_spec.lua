-- The program's Lua state: as the build left it in the program, or made anew where the environment asks for other files. Both are one to a script.

local helper = require "spec.helper"

local bin = helper.sh "pwd" .. "/build/bin/nslua"
local folder

local function write(name, text)
  local f = assert(io.open(folder .. "/" .. name, "w"))
  f:write(text)
  f:close()
  return folder .. "/" .. name
end

-- The output, both streams, of a script; `env` and `options` stand before it.
local function run(text, env, options)
  return (helper.sh(("cd %s && %s %s %s ./%s 2>&1"):format(folder, env or "", bin, options or "", write("script.lua", text):match "[^/]*$")))
end

-- Where a path is set, the state is made anew; this one changes nothing.
local ANEW = "LUA_PATH=';;'"

setup(function()
  folder = helper.sh "mktemp -d"
end)

teardown(function()
  helper.sh("rm -rf " .. folder)
end)

describe("the state in the program", function()
  local saved = "print(package.loaded['nslua.command.netns'] ~= nil)"

  it("is taken where nothing asks for other files", function()
    assert.equal("true", run(saved))
    assert.equal("false", run(saved, ANEW))
    assert.equal("false", run(saved, "LUA_CPATH_5_4=';;'"))
    assert.equal("true", run(saved, "LUA_PATH=nowhere", "-E"))
  end)

  it("has the globals, libraries and paths of one that is made anew", function()
    local text = [[
      local names = {}
      for _, t in ipairs { _G, string, table, io, os, math, coroutine, debug, utf8, package } do
        for k, v in pairs(t) do
          names[#names + 1] = tostring(k) .. "=" .. (type(v) == "string" and v or type(v))
        end
      end
      table.sort(names)
      print(table.concat(names, "\n"))
      print(debug.getregistry().LUA_NOENV, #package.searchers, arg[0], #arg, ns == require "nslua", getmetatable("").__index == string)]]
    local have = run(text)
    assert.truthy(have:find("path=/", 1, true))
    assert.equal(run(text, ANEW), have)
    assert.equal(run(text, ANEW, "-E"), run(text, nil, "-E"))
  end)

  it("does not have the build's environment", function()
    assert.equal("set", run("print(os.getenv 'NSLUA_SPEC', package.path)", "NSLUA_SPEC=set LUA_PATH_5_4=mine"):match "^%S+")
    assert.equal("mine", run("print(package.path)", "LUA_PATH_5_4=mine"))
    write("folder_module.lua", "return 'found'")
    assert.equal("found", run("print((require 'folder_module'))"))
  end)

  it("reads, writes and buffers as libc of this run does", function()
    local text = [[
      local a, b = io.read(), io.stdin:read()
      io.output():setvbuf "full"
      io.write(a, " ", b, " ")
      io.stdout:flush()
      io.stderr:write "err "
      print(io.type(io.stderr), #tostring(io.stdin) > 6)]]
    write("input", "one\ntwo\n")
    write("script.lua", text)
    assert.equal("one two err file\ttrue", (helper.sh(("cd %s && %s ./script.lua <input 2>&1"):format(folder, bin))))
  end)

  it("draws other random numbers in every run", function()
    local seen = {}
    for _ = 1, 5 do
      local drawn = run "print(math.random(0))"
      assert.is_nil(seen[drawn])
      seen[drawn] = true
    end
  end)

  it("closes what is open and runs finalizers at the end, the youngest first", function()
    local text = [[
      local function closing(word)
        return setmetatable({}, { __close = function() print(word) end, __gc = function() print(word .. " collected") end })
      end
      first = closing "first"
      second = closing "second"
      local third <close> = closing "third"
      %s]]
    for _, last in ipairs { "", "os.exit(0)" } do
      assert.equal("third\nthird collected\nsecond collected\nfirst collected", run(text:format(last)))
    end
    local _, words = run(text:format "error 'wrong'"):gsub("%a+ collected", "")
    assert.equal(3, words)
  end)

  it("tells of a finalizer's error, and goes on", function()
    local out = run([[
      x = setmetatable({}, { __gc = function() print "x" end })
      y = setmetatable({}, { __gc = function() error "of y" end })]], nil, "-W")
    assert.truthy(out:find("of y", 1, true))
    assert.truthy(out:find("\nx", 1, true) or out:find "^x")
  end)
end)

describe("the memory of the state", function()
  local work = [[
    local kept, sum = {}, 0
    local x = 42
    local function random(n) -- the same in every run
      x = (x * 1103515245 + 12345) % 2147483648
      return x // 65536 % n + 1
    end
    for i = 1, 60000 do
      local slot, kind = random(3000), random(4)
      local old = kept[slot]
      if old then
        assert(old.text == ("%d"):format(old.i):rep(old.n))
        sum = (sum + #old.text) % 1000003
      end
      local n = kind == 1 and random(400) or kind == 2 and random(40) or 1
      kept[slot] = { i = i, n = n, text = ("%d"):format(i):rep(n), kind == 3 and { i } or nil, list = kind == 4 and table.pack(i, i, i, i, i) or nil }
    end
    kept = nil
    collectgarbage() collectgarbage()
    print(sum, collectgarbage "count" < 1000)]]

  it("is what malloc's would be, for small and large things that grow, shrink and go", function()
    local have = run(work)
    assert.truthy(have:find "^%d+%s+true$")
    assert.equal(have, run(work, ANEW))
    assert.equal(have, (helper.sh("lua5.4 " .. write("plain.lua", work))))
  end)

  it("ends with an error that can be caught where there is no more", function()
    local out = run([[
      local ok, e = pcall(function()
        local t = {}
        for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end
      end)
      print(ok, e)
      print(#("y"):rep(1000))]], "ulimit -v 300000;")
    assert.equal("false\tnot enough memory\n1000", out)
  end)
end)
