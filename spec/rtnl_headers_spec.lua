-- Every number of every rtnetlink schema against the kernel's own headers: a C file of _Static_asserts is made of them and compiled.

local helper = require "spec.helper"
local schema = require "nslua.schema"

describe("numbers of the rtnetlink schemas", function()
  local constants

  setup(function()
    for _, name in ipairs { "link", "address", "route", "rule", "neighbour", "nexthop", "bridge_vlan", "netconf", "addrlabel", "mdb", "nsid", "qdisc",
      "class", "filter" } do
      require("nslua.rtnl." .. name)
    end
    local kinds = require "nslua.rtnl.kind"
    for name in pairs(kinds.files) do
      assert.is_table(kinds.kinds[name])
    end
    constants = schema.constants()
  end)

  it("are those of <linux/*.h>", function()
    if not helper.has "cc" then
      return pending "no C compiler here"
    end
    local headers, newer = {}, {}
    for _, c in ipairs(constants) do
      headers[c.header] = true
      newer[c.expression] = c.newer or nil
    end
    local includes = {}
    for header in pairs(headers) do
      includes[#includes + 1] = ("#include <%s>"):format(header)
    end
    table.sort(includes)
    local path = os.tmpname()
    local function compile(missing)
      local lines = {}
      for _, c in ipairs(constants) do
        if not missing[c.expression] then
          lines[#lines + 1] = ("_Static_assert((unsigned long)(%s) == %.0fUL, \"%s\");"):format(c.expression, c.value, c.where)
        end
      end
      -- what libc declares too comes from libc first
      local f = assert(io.open(path .. ".c", "w"))
      f:write("#include <stddef.h>\n#include <sys/socket.h>\n", table.concat(includes, "\n"), "\n", table.concat(lines, "\n"), "\n")
      f:close()
      return helper.sh("LC_ALL=C cc -std=gnu11 -fsyntax-only -fmax-errors=0 " .. path .. ".c")
    end
    local missing = {}
    local out, ok = compile(missing)
    if not ok then
      -- headers older than an attribute do not have it
      for name in out:gmatch "'([%u%d_]+)' undeclared" do
        missing[name] = newer[name]
      end
      out, ok = compile(missing)
    end
    os.remove(path)
    os.remove(path .. ".c")
    assert(ok, out)
  end)

  it("are many", function()
    assert.is_true(#constants > 600)
  end)

  it("cover every attribute that the headers have of the kinds of link this machine can make", function()
    -- the enum's last member tells how many there are; a header newer than the table would have more
    local want = { IFLA_VXLAN_ = 30, IFLA_BR_ = 47, IFLA_BRPORT_ = 39, IFLA_MACVLAN_ = 8, IFLA_TUN_ = 9, IFLA_VLAN_ = 5, VETH_INFO_ = 1 }
    for prefix, count in pairs(want) do
      local ids = {}
      for _, c in ipairs(constants) do
        if c.expression:sub(1, #prefix) == prefix and c.where:find("^set ") and not c.where:find("vlan_qos") then
          ids[c.value] = true
        end
      end
      local skipped = { [prefix == "IFLA_BR_" and 40 or 0] = true, [prefix == "IFLA_BRPORT_" and 26 or 0] = true } -- _PAD
      for id = 1, count do
        assert.is_true(ids[id] or skipped[id] or false, prefix .. id)
      end
    end
  end)
end)
