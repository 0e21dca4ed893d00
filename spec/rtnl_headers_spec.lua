-- Every number of every rtnetlink schema against the kernel's own headers: a C file of _Static_asserts is made of them and compiled.

local helper = require "spec.helper"
local schema = require "nslua.schema"

describe("numbers of the rtnetlink schemas", function()
  local constants

  setup(function()
    for _, name in ipairs { "link", "address", "route", "rule", "neighbour", "nexthop", "bridge_vlan", "netconf", "addrlabel", "mdb",
      "neighbour_table", "nsid", "qdisc", "class", "filter" } do
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
      for struct, member in out:gmatch "'(struct [%l%d_]+)' has no member named '([%l%d_]+)'" do
        local name = ("offsetof(%s, %s)"):format(struct, member)
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

  it("cover every attribute of every kind of link, as far as Linux 7.0 has them", function()
    local want = { vxlan = 34, bridge = 50, port_bridge = 45, macvlan = 9, tun = 9, vlan = 5, veth = 1, ipvlan = 2, geneve = 18, bond = 34,
      port_bond = 12, vrf = 1, port_vrf = 1, gre = 24, ip6gre = 24, ipip = 20, sit = 20, ip6tnl = 20, vti = 6, xfrm = 3, macsec = 15, hsr = 8,
      netkit = 10 }
    local pads = { bridge = 40, port_bridge = 26, macsec = 14 } -- IFLA_*_PAD
    local ids = {}
    for _, c in ipairs(constants) do
      local set = c.where:match "^set linkinfo_([%w_]+) line"
      if set then
        ids[set] = ids[set] or {}
        ids[set][c.value] = true
      end
    end
    for set, count in pairs(want) do
      for id = 1, count do
        assert.is_true(ids[set][id] or pads[set] == id, set .. " " .. id)
      end
    end
    local all = {}
    for set in pairs(ids) do
      all[set] = want[set]
    end
    assert.same(want, all)
  end)
end)
