-- Dumps that are gone while their rows are still around.

local core = require "nslua.core"
local helper = require "spec.helper"
local schema = require "nslua.schema"
require "nslua.rtnl.route"

local route = schema.compile "route"
local NEWROUTE, GETROUTE, CREATE_EXCL = 24, 26, 0x600

local made, why = pcall(helper.netns, { lo = true })
if made then
  why:close()
end

describe("a dump", function()
  if not made then
    return it("", function()
      pending("no namespace can be made: " .. tostring(why))
    end)
  end

  local a, nl

  before_each(function()
    a = helper.netns { lo = true }
    nl = assert(core.netlink.open(a:raw_socket(16, 3, 0)))
  end)
  after_each(function()
    nl:close()
    a:close()
  end)

  local function routes(n)
    local list = {}
    for i = 1, n do
      list[i] = { NEWROUTE, CREATE_EXCL, route:encode { family = "inet", dst_len = 32, type = "unicast", table8 = 254, scope_number = 253,
        proto_number = 4, dev_index = 1, dst_address = ("10.9.0.%d"):format(i) } }
    end
    return list
  end

  local function routes_of(t)
    return route:encode { family = "inet", table8 = t }
  end

  it("gives no row of a dump that was collected before what a finaliser reads, or that was gone through in between", function()
    local seen, newproxy = {}, rawget(_G, "newproxy") -- Lua 5.1 finalises no tables
    local function abandon() -- its finaliser runs after that of the dump, which is younger
      local proxy = newproxy and newproxy(true) or setmetatable({}, {})
      local kept = {}
      getmetatable(proxy).__gc = function()
        for name, fn in pairs(kept) do
          seen[name] = { pcall(fn) }
        end
      end
      if not newproxy then
        setmetatable(proxy, getmetatable(proxy)) -- marked when the metamethod is there
      end
      local step = a.link:each()
      local row = step()
      kept.row, kept.step = function() return row.name end, step
    end
    abandon()
    collectgarbage()
    collectgarbage()
    assert.is_table(seen.row)
    assert.is_false(seen.row[1])
    assert.is_false(seen.step[1])

    nl:batch(routes(3))
    local d = assert(nl:dump(GETROUTE, 0, routes_of(254)))
    local step = d:each(route)
    local row = step()
    assert.are.equal(3, #d:rows(route))
    assert.is_false((pcall(function() return row.dst_address end)))
    assert.is_false((pcall(step)))
    d = assert(nl:dump(GETROUTE, 0, routes_of(254)))
    local ok, e = pcall(d.rows, d, route, nil, nil, function() d:rows(route) end)
    assert.is_false(ok)
    assert.is_truthy(e:find "gone through")
  end)
end)
