-- Options of VLANs on the whole bridge: what bridge(8) sends and shows for the same words.

local cjson = require "cjson"
local errors = require "nslua.error"
local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"
local sent = require "spec.sent"

describe("options of VLANs on the whole bridge", function()
  local why = rtnl.cannot() or not helper.has "bridge" and "needs bridge(8)" or nil
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a, g

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "br0", kind = "bridge", up = true }
    a.link:add { name = "p0", kind = "veth", peer = { name = "p1", up = true }, master = "br0", up = true }
    g = a.bridge_vlan_global
  end)
  after_each(rtnl.close)
  teardown(sent.close)

  -- With VLANs 10 to 14 on the bridge; why there are none, or nil.
  local function lacks()
    local out, ok = rtnl.inside(a, "ip link set br0 type bridge vlan_filtering 1 mcast_vlan_snooping 1 && bridge vlan add dev br0 vid 10-14 self")
    return not ok and "this kernel's bridges filter no VLANs: " .. out or nil
  end

  local all = { mcast_snooping = true, mcast_querier = true, mcast_igmp_version = 3, mcast_mld_version = 2, mcast_last_member_count = 5,
    mcast_last_member_interval = "2s", mcast_startup_query_count = 4, mcast_startup_query_interval = 31.25, mcast_membership_interval = 260,
    mcast_querier_interval = 255, mcast_query_interval = 125, mcast_query_response_interval = 10 }
  local all_words = "mcast_snooping 1 mcast_querier 1 mcast_igmp_version 3 mcast_mld_version 2 mcast_last_member_count 5 "
    .. "mcast_last_member_interval 200 mcast_startup_query_count 4 mcast_startup_query_interval 3125 mcast_membership_interval 26000 "
    .. "mcast_querier_interval 25500 mcast_query_interval 12500 mcast_query_response_interval 1000"

  it("are sent as bridge(8) sends them", function()
    local cannot = sent.cannot()
    if cannot then
      return pending(cannot)
    end
    for _, case in ipairs {
      { "vid 10 mcast_snooping 0", 10, { mcast_snooping = false } }, { "vid 10-20 mcast_querier 1", "10-20", { mcast_querier = true } },
      { "vid 10-20 " .. all_words, { 10, 20 }, all },
    } do
      sent.same(a, "bridge vlan global set dev br0 " .. case[1], 8, function()
        g:change({ dev = "br0", vid = case[2] }, case[3])
      end)
    end
  end)

  it("are traced as the line of bridge(8)", function()
    local netlink = require "nslua.trace.netlink"
    local function line(kind, payload)
      local tool, words = netlink.words({ payload = payload, link = function()
        return "br0"
      end }, kind, 5, payload)
      return tool .. " " .. table.concat(words, " ")
    end
    local request = sent.ours(function()
      g:change({ dev = "br0", vid = "10-20" }, all)
    end)
    assert.equal("bridge vlan global set vid 10-20 dev br0 " .. all_words, line(request.type, request.payload))
    assert.equal("bridge vlan global show dev br0", line(114, g.object.payloads(g, { dev = "br0" }, "list")[1]))
    assert.equal("bridge vlan show dev br0", line(114, a.bridge_vlan.object.payloads(a.bridge_vlan, { dev = "br0" }, "list")[1]))
    assert.equal("bridge vlan show", line(114, a.bridge_vlan.object.payloads(a.bridge_vlan, { stats = true }, "list")[1]))
  end)

  it("read as what was told, a range as its VLANs", function()
    local S = schema.compile "bridge_vlan"
    local rows = {}
    g.object.split(S:decode(S:encode { family = 7, dev_index = 2, globals = { { vid = 10, range = 12, mcast_snooping = true,
      mcast_query_interval = 12500 }, { vid = 20, mcast_querier = false } } }), function(message)
      rows[#rows + 1] = S:row(S:encode(message), g.object.class, { handle = a })
    end)
    assert.equal(4, #rows)
    for i, vid in ipairs { 10, 11, 12, 20 } do
      assert.equal(vid, rows[i].vid)
    end
    assert.same({ true, 125 }, { rows[2].mcast_snooping, rows[2].mcast_query_interval, rows[2].mcast_querier })
    assert.same({ vid = 20, dev_index = 2, dev = rows[4].dev, mcast_querier = false }, rows[4]:decode())
  end)

  it("are shown by bridge(8) as they read, are changed, ensured and taken back", function()
    local cannot = lacks()
    if cannot then
      return pending(cannot)
    end
    local function theirs()
      local out = {}
      for _, bridge in ipairs(cjson.decode((assert(rtnl.inside(a, "bridge -j vlan global show dev br0"))))) do
        for _, one in ipairs(bridge.vlans) do
          for vid = one.vlan, one.vlanEnd or one.vlan do
            out[vid] = one
          end
        end
      end
      return out
    end
    local function same()
      local shown, n = theirs(), 0
      for _, row in ipairs(g:list { dev = "br0" }) do
        local one = shown[row.vid]
        n = n + 1
        for word in pairs(all) do
          local mine = row[word]
          if type(mine) == "boolean" then
            mine = mine and 1 or 0
          elseif word:find "_interval$" then
            mine = math.floor(mine * 100 + 0.5)
          end
          assert.equal(one[word], mine, word)
        end
      end
      assert.equal(6, n) -- VLAN 1 too
    end
    same()
    g:change({ dev = "br0", vid = "11-12" }, all)
    same()
    assert.equal(2, #g:list { dev = "br0", mcast_querier = true, mcast_query_interval = "125s" })
    local row = g:get { dev = "br0", vid = 11 }
    assert.same({ 11, "br0", 31.25, 3 }, { row.vid, row.dev, row.mcast_startup_query_interval, row.mcast_igmp_version })
    assert.is_true(g:get(row) == row)
    assert.is_true(g:ensure { dev = "br0", vid = 11, mcast_igmp_version = 3 } == row)
    assert.equal(2, g:ensure({ dev = "br0", vid = "11-12", mcast_igmp_version = 2 }).mcast_igmp_version)
    g:change(row, { mcast_querier = false })
    same()
    local ok, e = pcall(a.transaction, a, function()
      g:change({ dev = "br0", vid = "10-14" }, { mcast_querier = true, mcast_query_interval = 60 })
      assert.equal(5, #g:list { mcast_querier = true })
      error "no"
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find "no$", tostring(e))
    assert.equal(1, #g:list { mcast_querier = true })
    assert.equal(0, #g:list { mcast_query_interval = 60 })
    assert.is_nil(g:get { dev = "br0", vid = 99 })
    assert.equal(0, #g:list { dev = "p0" })
    same()
  end)

  it("say what is wrong", function()
    for message, t in pairs {
      ["unknown key 'mcast_snoping' (did you mean 'mcast_snooping'?)"] = { { dev = "br0", vid = 10 }, { mcast_snoping = true } },
      ["dev (the bridge) and vid are needed"] = { { dev = "br0" }, {} },
      ["vid must be a number or a range"] = { { dev = "br0", vid = 4095 }, {} },
      ["mcast_snooping must be true or false, got 1"] = { { dev = "br0", vid = 10 }, { mcast_snooping = 1 } },
      ["mcast_igmp_version must be a number, got x"] = { { dev = "br0", vid = 10 }, { mcast_igmp_version = "x" } },
    } do
      local ok, e = pcall(g.change, g, t[1], t[2])
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(message, 1, true), tostring(e))
    end
    local ok, e = pcall(g.list, g)
    if not ok then -- a kernel that has none
      assert.is_true(errors.is(e, "EOPNOTSUPP"), tostring(e))
      assert.is_truthy(tostring(e):find("this kernel's bridges filter no VLANs", 1, true), tostring(e))
    end
  end)
end)
