-- VLANs of bridges: what nslua makes bridge(8) shows, what bridge(8) makes nslua reads, and the bytes both send.

local cjson = require "cjson"
local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"
local sent = require "spec.sent"

describe("VLANs of bridges", function()
  local why = rtnl.cannot() or not helper.has "bridge" and "needs bridge(8)" or nil
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "br0", kind = "bridge", up = true }
    a.link:add { name = "p0", kind = "veth", peer = { name = "p1", up = true }, master = "br0", up = true }
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  -- why this kernel's bridges filter none, or nil
  local function lacks()
    local out, ok = rtnl.inside(a, "ip link set br0 type bridge vlan_filtering 1")
    return not ok and "this kernel's bridges filter no VLANs: " .. out or nil
  end

  -- "vid pvid untagged" of each, as bridge(8) tells
  local function theirs(dev)
    local out = {}
    for _, port in ipairs(cjson.decode((assert(rtnl.inside(a, "bridge -j vlan show dev " .. dev))))) do
      for _, vlan in ipairs(port.vlans) do
        local text = ("%d"):format(vlan.vlan)
        for _, flag in ipairs(vlan.flags or {}) do
          text = text .. " " .. flag
        end
        out[#out + 1] = text
      end
    end
    return out
  end

  local function ours(filter)
    local out = {}
    for row in a.bridge_vlan:each(filter) do
      out[#out + 1] = ("%d%s%s"):format(row.vid, row.pvid and " PVID" or "", row.untagged and " Egress Untagged" or "")
    end
    assert.equal(#out, #a.bridge_vlan:list(filter))
    return out
  end

  it("are shown by bridge(8) as they read", function()
    local cannot = lacks()
    if cannot then
      return pending(cannot)
    end
    assert.same({ "1 PVID Egress Untagged" }, ours { dev = "p0" })
    assert(select(2, rtnl.inside(a, "bridge vlan add dev p0 vid 20-22")))
    assert(select(2, rtnl.inside(a, "bridge vlan add dev br0 vid 20 self")))
    assert.same(theirs "p0", ours { dev = "p0" })
    assert.same(theirs "br0", ours { dev = "br0" })
    local row = a.bridge_vlan:add { dev = "p0", vid = 10, pvid = true, untagged = true }
    assert.same({ 10, "p0", true, true, "forwarding" }, { row.vid, row.dev, row.pvid, row.untagged, row.state })
    row = a.bridge_vlan:add { dev = "p0", vid = "30-35" }
    assert.same({ 30 }, { row.vid, row.pvid, row.untagged })
    a.bridge_vlan:add { dev = "p0", vid = { 40, 41 }, untagged = true }
    a.bridge_vlan:add { dev = "br0", vid = 21, self = true }
    assert.same(theirs "p0", ours { dev = "p0" })
    assert.same(theirs "br0", ours { dev = "br0" })
    assert.equal(14, #theirs "p0" + 1)
  end)

  it("are found, changed, ensured and deleted", function()
    local cannot = lacks()
    if cannot then
      return pending(cannot)
    end
    local key = { dev = "p0", vid = 10 }
    local row = a.bridge_vlan:ensure { dev = "p0", vid = 10, untagged = true }
    assert.is_true(a.bridge_vlan:get(key) == row)
    assert.is_true(a.bridge_vlan:get(row) == row)
    assert.is_true(a.bridge_vlan:ensure { dev = "p0", vid = 10, untagged = true } == row)
    assert.equal(5, #(a.bridge_vlan:ensure { dev = "p0", vid = "10-14" } and a.bridge_vlan:list { dev = "p0", vid = "10-14" }))
    a.bridge_vlan:change(key, { pvid = true })
    assert.same({ true, true }, { a.bridge_vlan:get(key).pvid, a.bridge_vlan:get(key).untagged })
    assert.is_nil(a.bridge_vlan:get({ dev = "p0", vid = 1 }).pvid) -- there is one
    a.bridge_vlan:change(row, { pvid = false, untagged = false, state = "blocking" })
    row = a.bridge_vlan:get(key)
    assert.same({ "blocking" }, { row.state, row.pvid, row.untagged })
    a.bridge_vlan:change({ dev = "p0", vid = "10-12" }, { state = "learning", mcast_router = 2 })
    assert.equal(3, #a.bridge_vlan:list { state = "learning", mcast_router = 2 })
    assert.is_truthy(rtnl.inside(a, "bridge -d vlan show dev p0"):find("state learning mcast_router 2", 1, true))
    assert.equal(4, #a.bridge_vlan:list { vid = { 10, 13 }, master = "br0" })
    assert.equal(0, a.bridge_vlan:list({ dev = "p0", vid = 10, stats = true })[1].stats.rx_packets)
    a.bridge_vlan:delete { dev = "p0", vid = "11-14" }
    a.bridge_vlan:delete(row)
    assert.same({ "1 Egress Untagged" }, ours { dev = "p0" })
    a.bridge_vlan:delete(key, { absent = "ok" })
    helper.fails("ENOENT", a.bridge_vlan.delete, a.bridge_vlan, key)
    helper.fails("ENODEV", a.bridge_vlan.add, a.bridge_vlan, { dev = "nope", vid = 10 })
    helper.fails("EINVAL", a.bridge_vlan.add, a.bridge_vlan, { dev = "lo", vid = 10 })
    a:batch(function()
      a.bridge_vlan:add { dev = "p0", vid = 50 }
      a.bridge_vlan:delete { dev = "p0", vid = 1 }
    end)
    assert.same({ "50" }, ours { dev = "p0" })
  end)

  it("are ids in a VXLAN", function()
    local cannot = lacks() or not rtnl.has_kind "vxlan" and "this kernel has no vxlan"
    if cannot then
      return pending(cannot)
    end
    a.link:add { name = "vx0", kind = "vxlan", vxlan = { external = true, port = 4789 }, master = "br0", port = { vlan_tunnel = true } }
    a.bridge_vlan:add { dev = "vx0", vid = "10-12", tunnel_id = "100-102" }
    a.bridge_vlan:add { dev = "vx0", vid = 20, tunnel_id = 7 }
    local out = {}
    for _, row in ipairs(a.bridge_vlan:list { dev = "vx0", vid = "2-4094" }) do
      out[#out + 1] = ("%d %d"):format(row.vid, row.tunnel_id)
    end
    assert.same({ "10 100", "11 101", "12 102", "20 7" }, out)
    local shown = rtnl.inside(a, "bridge vlan tunnelshow dev vx0")
    assert.is_truthy(shown:find "20%s+7", shown)
    assert.equal(1, #a.bridge_vlan:list { tunnel_id = 101 })
    a.bridge_vlan:change({ dev = "vx0", vid = 20 }, { tunnel_id = false })
    assert.is_nil(a.bridge_vlan:get({ dev = "vx0", vid = 20 }).tunnel_id)
    a.bridge_vlan:change({ dev = "vx0", vid = 20 }, { tunnel_id = 9 })
    assert.equal(9, a.bridge_vlan:get({ dev = "vx0", vid = 20 }).tunnel_id)
  end)

  it("have options that are sent as bridge(8) sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs {
      { "dev p0 vid 10 state blocking", { dev = "p0", vid = 10 }, { state = "blocking" } },
      { "dev p0 vid 10-20 mcast_router 2", { dev = "p0", vid = "10-20" }, { mcast_router = 2 } },
    } do
      sent.same(a, "bridge vlan set " .. case[1], 8, function()
        a.bridge_vlan:change(case[2], case[3])
      end)
    end
  end)

  it("are asked for in these bytes", function()
    local S = schema.compile "bridge_vlan"
    local function entries(t)
      return S:decode(sent.ours(function()
        a.bridge_vlan:add(t)
      end).payload).entries
    end
    assert.same({ { info = { flags = { pvid = true, untagged = true }, vid = 10 } } }, entries { dev = "p0", vid = 10, pvid = true, untagged = true })
    assert.same({ { info = { flags = {}, vid = 10 }, range = 12, state = "forwarding" } },
      entries { dev = "p0", vid = "10-12", state = "forwarding" })
    assert.same({ { info = { flags = {}, vid = 10 }, tunnel = { id = 5, cmd = 19 } },
      { info = { flags = {}, vid = 11 }, tunnel = { id = 6, cmd = 19 } } },
      entries { dev = "p0", vid = { 10, 11 }, tunnel_id = { 5, 6 } })
  end)

  it("cannot be listed where bridges filter none, and the error says so", function()
    if not lacks() then
      return pending "this kernel's bridges filter VLANs"
    end
    assert.matches("this kernel's bridges filter no VLANs", helper.fails("EOPNOTSUPP", a.bridge_vlan.list, a.bridge_vlan))
  end)

  it("that are misspelt raise and name what is wrong", function()
    for message, t in pairs {
      ["unknown key 'vdi' %(did you mean 'vid'%?%)"] = { dev = "p0", vdi = 1 },
      ["dev and vid are needed"] = { dev = "p0" },
      ["vid must be a number or a range"] = { dev = "p0", vid = 4095 },
      ["pvid is one VLAN"] = { dev = "p0", vid = "10-20", pvid = true },
      ["ranges of one length"] = { dev = "p0", vid = "10-20", tunnel_id = 5 },
    } do
      local ok, e = pcall(a.bridge_vlan.add, a.bridge_vlan, t)
      assert.is_false(ok)
      assert.matches(message, tostring(e))
    end
  end)

  it("are taken back by a transaction", function()
    local cannot = lacks()
    if cannot then
      return pending(cannot)
    end
    a.bridge_vlan:add { dev = "p0", vid = "20-22", untagged = true }
    a.bridge_vlan:change({ dev = "p0", vid = 21 }, { state = "blocking" })
    local function details()
      return (rtnl.inside(a, "bridge -d vlan show dev p0"))
    end
    local before = details()
    local ok, e = pcall(a.transaction, a, function()
      a.bridge_vlan:add { dev = "p0", vid = "30-35", untagged = true }
      a.bridge_vlan:change({ dev = "p0", vid = 20 }, { pvid = true, untagged = false })
      a.bridge_vlan:delete { dev = "p0", vid = 21 }
      a.bridge_vlan:ensure { dev = "p0", vid = "22-40", state = "learning" }
      error "no"
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find "no$", tostring(e))
    assert.equal(before, details())
  end)
end)
