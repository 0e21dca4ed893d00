-- Links and addresses of another namespace, asked for by its id.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"

describe("another namespace's", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a, b

  before_each(function()
    a, b = rtnl.netns "a", rtnl.netns "b"
    a:set_nsid(b, 3)
    b.link:add { name = "br0", kind = "bridge", up = true, index = 70 }
    b.link:add { name = "eth0", kind = "veth", index = 71, peer = { name = "eth0", netns = a, index = 70 }, master = "br0",
      altnames = { "the-other-end" } }
    b.address:add { "10.0.0.1/24", dev = "br0" }
    b.address:add { "2001:db8::1/64", dev = "br0", nodad = true }
    a.address:add { "10.0.0.2/24", dev = "eth0" }
  end)
  after_each(rtnl.close)

  it("links are those that ip shows there, and say where they are from", function()
    local names = {}
    for i, t in ipairs(rtnl.ip(b, "link")) do
      names[i] = ("%d %s %s"):format(t.ifindex, t.ifname, tostring(t.master))
    end
    local ours = {}
    for i, row in ipairs(a.link:list { target_nsid = 3 }) do
      ours[i] = ("%d %s %s"):format(row.index, row.name, tostring(row.master)) -- a name of there
      assert.equal(3, row.target_nsid)
    end
    assert.same(names, ours)
    local row = a.link:get("eth0", { target_nsid = 3 })
    assert.same({ 71, "br0", 3 }, { row.index, row.master, row.target_nsid })
    assert.equal(70, a.link:get("eth0").index)
    assert.is_nil(a.link:get("eth0").target_nsid)
    assert.equal(71, a.link:get("the-other-end", { target_nsid = 3 }).index)
    assert.is_nil(a.link:get("nope", { target_nsid = 3 }))
    -- the same index is another link
    assert.is_true(row == a.link:get(row))
    assert.is_false(a.link:get(70) == a.link:get(70, { target_nsid = 3 }))
    local found = {}
    for each in a.link:each { target_nsid = 3, master = "br0" } do
      found[#found + 1] = each.name
    end
    assert.same({ "eth0" }, found)
  end)

  it("addresses are those that ip shows there", function()
    local rows = a.address:list { target_nsid = 3, dev = "br0" }
    local out = {}
    for i, row in ipairs(rows) do
      out[i] = ("%s %s %d"):format(row.address, row.dev, row.target_nsid)
    end
    assert.same({ "10.0.0.1/24 br0 3", "2001:db8::1/64 br0 3" }, { out[1], out[2] })
    assert.equal(1, #a.address:list { target_nsid = 3, family = "inet6", scope = "global" })
    assert.is_true(a.address:get({ "10.0.0.1/24", dev = "br0" }, { target_nsid = 3 }) == rows[1])
    assert.is_true(a.address:get(rows[1]) == rows[1])
    assert.is_nil(a.address:get({ "10.0.0.2/24", dev = "eth0" }, { target_nsid = 3 }))
    assert.is_nil(a.address:get "10.0.0.1/24")
    a.link:change("eth0", { name = "here" })
    assert.is_nil(a.address:get({ "10.0.0.2/24", dev = "here" }, { target_nsid = 3 })) -- a name of this one
  end)

  it("rows are no keys for what writes here", function()
    local link, address = a.link:get("eth0", { target_nsid = 3 }), a.address:get("10.0.0.1/24", { target_nsid = 3 })
    for _, fn in ipairs {
      function()
        a.link:delete(link)
      end,
      function()
        a.link:change(link, { mtu = 1400 })
      end,
      function()
        a.address:delete(address)
      end,
    } do
      local ok, e = pcall(fn)
      assert.is_false(ok)
      assert.matches("the row is of another namespace, nsid 3", tostring(e))
    end
    assert.equal(3, #a.link:list() + #b.link:list() - 2) -- eth0, and br0 and eth0, beside two lo
  end)

  it("id that nobody has, or that is none, is an error", function()
    helper.fails("EINVAL", a.link.list, a.link, { target_nsid = 9 })
    helper.fails("EINVAL", a.address.list, a.address, { target_nsid = 9 })
    for _, id in ipairs { -1, "b" } do
      local ok, e = pcall(a.link.list, a.link, { target_nsid = id })
      assert.is_false(ok)
      assert.matches("target_nsid must be an id from 0", tostring(e))
    end
    local ok, e = pcall(a.route.list, a.route, { target_nsid = 3 })
    assert.is_false(ok)
    assert.matches("unknown key 'target_nsid'", tostring(e))
    helper.fails("ENODEV", a.address.list, a.address, { target_nsid = 3, dev = "nope" })
  end)
end)
