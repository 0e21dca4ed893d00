-- README.md: its example prints what it says, its errors are those that come, and what it tells to write can be read and is there.

local h = require "spec.helper"

local function text()
  local f = assert(io.open "README.md")
  local s = f:read "a"
  f:close()
  return s
end
local readme = text()

local function script(code)
  local name = os.tmpname()
  local f = assert(io.open(name, "w"))
  f:write(code)
  f:close()
  finally(function()
    os.remove(name)
  end)
  return name
end

-- As root, or as root of a user namespace.
local as = h.is_root() and "" or "unshare -Ur "
local able = select(2, h.sh(as .. "unshare -n true"))

describe("README.md", function()
  it("has an example of 15 lines that prints what it says", function()
    if not able then
      return pending "no right to make a network namespace, and no user namespace"
    end
    local code, said = readme:match "```lua\n(.-)```\n```console\n# nslua demo.lua\n(.-)\n```"
    assert.truthy(select(2, code:gsub("[^\n]*%S[^\n]*\n", "")) <= 16)
    local function plain(s)
      return (s:gsub("= [%d./]+ ms", "= T ms"):gsub("time=[%d.]+ ms", "time=T ms"))
    end
    local out, ok = h.sh(as .. "build/bin/nslua " .. script(code))
    assert.truthy(ok, out)
    assert.equal(plain(said), plain(out))
  end)

  it("shows the trace that comes", function()
    if not able then
      return pending "no right to make a network namespace, and no user namespace"
    end
    local code, said = readme:match "```lua\n(%-%- pair%.lua\n.-)```\n```console\n# nslua %-%-trace pair%.lua\n(.-)\n```"
    local name = script(code)
    local out, ok = h.sh(as .. "build/bin/nslua --trace " .. name)
    assert.truthy(ok, out)
    local pid = out:match "pid (%d+)"
    out = out:gsub(name, "pair.lua", 1):gsub("pid " .. pid, "pid 812"):gsub("nslua%-" .. pid, "nslua-812")
    local function plain(s)
      return (s:gsub("# [%d.]+ m?s", "# T"))
    end
    assert.equal(plain(said), plain(out))
  end)

  it("shows the errors that come", function()
    if not able then
      return pending "no right to make a network namespace, and no user namespace"
    end
    local code = readme:match "## Errors.-```lua\n(.-)```"
    local said = {}
    code = code:gsub("(a%.link:add[^\n]*)\n%-%-> x%.lua:%d+: ([^\n]*)", function(call, message)
      said[#said + 1] = message
      return ("print(select(2, pcall(function() %s end)))"):format(call)
    end):gsub("%-%-> (e%.[^\n]*)", function(list)
      return "assert(" .. list:gsub(", ", " and ") .. ")"
    end)
    local out, ok = h.sh(as .. "build/bin/nslua " .. script(code))
    assert.truthy(ok, out)
    assert.equal(table.concat(said, "\n"), (out:gsub("[^\n]-:%d+: (link%.add)", "%1")))
    assert.equal(3, #said)
  end)

  it("tells to write what can be read and is there", function()
    local api = assert(io.open "doc/api.md"):read "a"
    local rows = 0
    for left, right in readme:match "## You used to type.-\n\n(.-)\n\n":gmatch "| ([^\n]-) | ([^\n]-) |\n" do
      for code in right:gmatch "`([^`]+)`" do
        rows = rows + 1
        assert.truthy(load("return " .. code), left .. ": " .. code)
        local name = code:match "^(ns%.[%w_.]+)"
        assert.truthy(not name or api:find(name .. "(", 1, true) or name == "ns.netns.current", left .. ": " .. code)
      end
    end
    assert.truthy(rows > 20)
  end)

  it("names files that are there", function()
    for name in readme:gmatch "%]%(([%w/._-]+)%)" do
      assert(io.open(name)):close()
    end
    for name in readme:gmatch "`(examples/[%w-]+%.lua)`" do
      assert(io.open(name)):close()
    end
  end)
end)
