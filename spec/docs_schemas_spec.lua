-- doc/schemas.md: its code is one script; it prints what the page says. The types it lists are those there are.

local core = require "nslua.core"
local h = require "spec.helper"
local ns = require "nslua"

local f = assert(io.open "doc/schemas.md")
local page = f:read "a"
f:close()

describe("doc/schemas.md", function()
  it("prints what it says", function()
    if not select(2, h.sh((h.is_root() and "" or "unshare -Ur ") .. "unshare -n true")) then
      return pending "no right to make a network namespace, and no user namespace"
    end
    local probe = h.netns {}
    local there, why = pcall(probe.netlink, probe, ns.netlink.family { name = "mptcp_pm" })
    probe:close()
    if not there then
      return pending(tostring(why))
    end
    local code, said = {}, {}
    for block in page:gmatch "```lua\n(.-)```" do
      code[#code + 1] = block
      for line in block:gmatch "[^\n]+" do
        said[#said + 1] = line:match "%-%-> (.*)$"
      end
    end
    local name = os.tmpname()
    local file <close> = assert(io.open(name, "w"))
    file:write(table.concat(code))
    file:close()
    finally(function()
      os.remove(name)
    end)
    local out, ok = h.sh((h.is_root() and "" or "unshare -Ur ") .. "build/bin/nslua " .. name)
    assert(ok, out)
    local lines = {}
    for line in out:gmatch "[^\n]+" do
      lines[#lines + 1] = line:gsub("^(false\t)[^%s]+:%d+: ", "%1")
    end
    assert.same(said, lines)
    assert.is_true(#said > 10)
  end)

  it("lists every type and flag", function()
    local listed = {}
    for cell in page:gmatch "\n| (`[^|]*) |" do
      for word in cell:gmatch "[%a][%w]*" do
        listed[word] = true
      end
    end
    local types = core.schema.types()
    types.fixed = nil -- array(TYPE,N)
    for name in pairs(types) do
      assert.truthy(listed[name], name)
    end
    for _, flag in ipairs { "multi", "nonested", "netorder", "writeonly" } do
      assert.truthy(listed[flag], flag)
    end
  end)

  it("names files that are there", function()
    for name in page:gmatch "%]%(([%w/._-]+)%)" do
      assert(io.open("doc/" .. name)):close()
    end
    for name in page:gmatch "`(spec/[%w_]+%.lua)`" do
      assert(io.open(name)):close()
    end
  end)
end)
