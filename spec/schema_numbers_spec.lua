-- Numbers of schemas are given as C constants, which a compiler can check.

local schema = require "nslua.schema"
local helper = require "spec.helper"

describe("numbers", function()
  -- rtnl_headers_spec does this for every declaration of nslua.
  it("of a declaration are given as C constants", function()
    schema.set("t_checked", { header = "linux/if_link.h", prefix = "IFLA_" }, "4 MTU mtu u32\n99 - unchecked u32")
    schema.struct("t_checked", { c = "struct ifinfomsg", header = "linux/rtnetlink.h", prefix = "ifi_" },
      "family u8 pad(1) type u16 number=ifi_index s32 flags u32 change u32")
    schema.enum("t_checked", { header = "linux/if_link.h", prefix = "MACVLAN_MODE_", c = { odd = false } }, { vepa = 2, odd = 77 })
    schema.message("t_checked", { attrs = "t_checked", c = "LINK", header = "linux/rtnetlink.h", new = 16 })
    local found, lines = {}, {}
    for _, c in ipairs(schema.constants()) do
      found[c.expression] = c.value
      lines[#lines + 1] = ("#include <%s>\n_Static_assert((%s) == %d, \"\");\n"):format(c.header, c.expression, c.value)
    end
    assert.are.equal(4, found.IFLA_MTU)
    assert.are.equal(16, found["sizeof(struct ifinfomsg)"])
    assert.are.equal(4, found["offsetof(struct ifinfomsg, ifi_index)"])
    assert.are.equal(2, found.MACVLAN_MODE_VEPA)
    assert.are.equal(16, found.RTM_NEWLINK)
    assert.is_nil(found.MACVLAN_MODE_ODD)
    if not helper.has "cc" then
      pending "no C compiler"
      return
    end
    local function compile(text)
      local path = os.tmpname()
      local f = assert(io.open(path, "w"))
      f:write("#include <stddef.h>\n", text)
      f:close()
      local out, ok = helper.sh("cc -x c -fsyntax-only " .. path)
      os.remove(path)
      return ok, out
    end
    local text = table.concat(lines)
    local ok, out = compile(text)
    assert.is_true(ok, out)
    assert.is_false((compile((text:gsub("IFLA_MTU%) == 4", "IFLA_MTU) == 5")))))
  end)
end)
