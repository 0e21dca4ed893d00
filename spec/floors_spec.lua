-- The rules of the house: arrows point down, effects go through the core, files are small, floors 0 and 1 are Lua 5.1.

local helper = require "spec.helper"

local function files(command)
  local out = {}
  for path in helper.sh(command):gmatch "[^\n]+" do
    out[#out + 1] = path
  end
  assert.is_true(#out > 0, command)
  return out
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "a"
  f:close()
  return text
end

-- Comments and long strings do not count.
local function code(path)
  return (read(path):gsub("%-%-%[(=*)%[.-%]%1%]", ""):gsub("%-%-[^\n]*", ""))
end

local rooms = { container = 2, draw = 2, lab = 2, inspect = 2, command = 3 }

-- "nslua.lab.draw" -> 2, "lab"
local function floor_of(module)
  if module == "nslua.core" then
    return 0
  elseif module == "nslua.host" then
    return 3
  end
  local room = module:match "^nslua%.([%w_]+)"
  return rooms[room] or 1, rooms[room] and room
end

local function module_of(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

describe("the house", function()
  local lua = files "find lua -name '*.lua' | sort"

  it("has no arrow that points up", function()
    for _, path in ipairs(lua) do
      if path ~= "lua/nslua/init.lua" then
        local from, room = floor_of(module_of(path))
        for module in code(path):gmatch "require%s*%(?%s*[\"'](nslua[%w_.]*)[\"']" do
          local to, other = floor_of(module)
          local floor3_on_top = from == 3 and module == "nslua"
          assert.is_true(to <= from, ("%s (floor %d) requires %s (floor %d)"):format(path, from, module, to))
          assert.is_true(module ~= "nslua" or floor3_on_top or from == 2, path .. " requires the composition root")
          if from == 2 and to == 2 and other ~= room then
            assert.equal("nslua." .. other, module, path .. " reaches into another room")
          end
        end
      end
    end
  end)

  it("names what it requires; only the composition root and the commands compute the name of a module", function()
    for _, path in ipairs(lua) do
      local text = code(path)
      for argument in text:gmatch "%f[%w_]require%s*(%b())" do
        local computes = argument:find "%.%." or not argument:find "[\"']"
        local registry = path:find "^lua/nslua/rtnl/" and argument:find '%("nslua%.rtnl%.' ~= nil -- its own objects and kinds
        assert.is_true(not computes or registry or path == "lua/nslua/init.lua" or path:find "^lua/nslua/command/" ~= nil,
          path .. " computes the name of a module: require" .. argument)
      end
    end
  end)

  it("starts no program behind the core's back", function()
    for _, path in ipairs(lua) do
      local text = code(path)
      assert.is_nil(text:find "io%s*%.%s*popen", path)
      assert.is_nil(text:find "os%s*%.%s*execute", path)
    end
  end)

  it("has no file of 600 lines or more, and none called utils", function()
    for _, path in ipairs(files "find c lua spec tools bench examples -name '*.[ch]' -o -name '*.lua' | sort") do
      local _, lines = read(path):gsub("\n", "")
      assert.is_true(lines < 600, ("%s has %d lines"):format(path, lines))
      assert.is_nil(path:lower():find "util", path)
    end
  end)

  it("has a licence line in every C file", function()
    for _, path in ipairs(files "find c -name '*.[ch]'") do
      assert.matches("^/%* SPDX%-License%-Identifier: MIT %*/\n", read(path), path)
    end
  end)

  it("has no step of a new child that calls back into child.c", function()
    local texts, home = {}, {}
    for _, path in ipairs(files "find c -name '*.c' | sort") do
      texts[path] = read(path):gsub("/%*.-%*/", "")
      for name in ("\n" .. texts[path]):gmatch "\n%l[%w_ ]*[ *](%l[%w_]*)%([^;{}]*%)\n{" do
        home[name] = home[name] == nil and path or home[name]
      end
    end
    assert.equal("c/child.c", home.spawn_run)
    local callees = {}
    for name in texts["c/child.c"]:gmatch "%f[%w_](spawn_[%w_]+)%(" do
      callees[home[name]] = true
    end
    assert.is_true(callees["c/place.c"] and callees["c/report.c"])
    callees["c/child.c"] = nil
    for path in pairs(callees) do
      for name in texts[path]:gmatch "%f[%w_](spawn_[%w_]+)%(" do
        assert.are_not.equal("c/child.c", home[name], path .. " calls " .. name)
      end
    end
  end)

  it("sets no global", function()
    if not helper.has "luac5.4" then
      pending "no luac5.4"
    end
    for _, path in ipairs(lua) do
      local listing = helper.sh("luac5.4 -l -p " .. path)
      assert.is_nil(listing:find "SETTABUP[^\n]*_ENV", path)
    end
  end)

  for _, version in ipairs { "lua5.1", "luajit", "lua5.2", "lua5.3" } do
    it("has floors 0 and 1 in Lua that " .. version .. " can read", function()
      if not helper.has(version) then
        pending(version .. " is not installed")
      end
      for _, path in ipairs(lua) do
        if floor_of(module_of(path)) <= 1 then
          local out, ok = helper.sh(("%s -e 'assert(loadfile(%q))'"):format(version, path))
          assert.is_true(ok, out)
        end
      end
    end)
  end
end)
