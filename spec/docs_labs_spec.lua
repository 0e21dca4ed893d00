-- doc/labs.md: each block of code is a script; it prints what the page says.

local h = require "spec.helper"

local f = assert(io.open "doc/labs.md")
local page = f:read "a"
f:close()

describe("doc/labs.md", function()
  local n = 0
  for block in page:gmatch "```lua\n(.-)```" do
    n = n + 1
    local title = block:match "^[^\n]+"
    it(("prints what it says: %d, %s"):format(n, title), function()
      if not select(2, h.sh((h.is_root() and "" or "unshare -Ur ") .. "unshare -n true")) then
        return pending "no right to make a network namespace, and no user namespace"
      elseif block:find("ping", 1, true) and not h.has "ping" then
        return pending "no ping(8) here"
      end
      local said = {}
      for line in block:gmatch "[^\n]+" do
        said[#said + 1] = line:match "%-%-> (.*)$"
      end
      local name = os.tmpname()
      local file = assert(io.open(name, "w"))
      file:write(block)
      file:close()
      local out, ok = h.sh("build/bin/nslua " .. name)
      os.remove(name)
      assert(ok, out)
      local lines = {}
      for line in out:gmatch "[^\n]+" do
        lines[#lines + 1] = line
      end
      assert.same(said, lines)
    end)
  end

  it("has blocks", function()
    assert.is_true(n > 5)
  end)
end)
