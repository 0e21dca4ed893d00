-- Blocks of filters that qdiscs share: nslua sends what tc(8) sends for the same words, and both read what the other made.

local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local tc = require "spec.tc_helper"

describe("shared blocks", function()
  local why = tc.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
    a.qdisc:add { "clsact", dev = "eth0", ingress_block = 22, egress_block = 23 }
    a.qdisc:add { "ingress", dev = "eth1", ingress_block = 22 }
  end)
  after_each(rtnl.close)

  local function u32(t)
    local words = { "u32", block = 22, protocol = "ip", u32 = { match = "ip dst 10.0.0.0/8" } }
    for key, value in pairs(t or {}) do
      words[key] = value
    end
    return words
  end

  local function has_u32()
    return (pcall(a.filter.add, a.filter, u32 { pref = 1 }))
  end

  it("are told of qdiscs as tc tells", function()
    local row = a.qdisc:get { dev = "eth0", parent = "clsact" }
    assert.same({ 22, 23 }, { row.ingress_block, row.egress_block })
    row = a.qdisc:get { dev = "eth1", parent = "ingress" }
    assert.same({ 22 }, { row.ingress_block, row.egress_block })
    assert.equal(2, #a.qdisc:list { ingress_block = 22 })
    local shown = rtnl.inside(a, "tc qdisc show dev eth0")
    assert.is_truthy(shown:find("ingress_block 22 egress_block 23", 1, true), shown)
    assert.equal("clsact", a.qdisc:ensure({ "clsact", dev = "eth0", ingress_block = 22 }).kind)
    local e = helper.fails("EEXIST", a.qdisc.ensure, a.qdisc, { "clsact", dev = "eth0", ingress_block = 24 })
    assert.is_truthy(e:find("its ingress_block is 22, which cannot be changed", 1, true), e)
  end)

  it("are named in what is sent as tc names them", function()
    if not helper.has "strace" then
      return pending "needs strace(1)"
    end
    local cases = {
      { "filter add block 22 protocol ip pref 5 u32 match ip dst 10.0.0.0/8", "add", u32 { pref = 5 } },
      { "filter replace block 22 protocol ip pref 5 chain 2 u32 match ip dst 10.0.0.0/8", "replace", u32 { pref = 5, chain = 2 } },
      { "filter add block 23 matchall action drop", "add", { "matchall", block = 23, action = "drop" } },
    }
    local lines = {}
    for i, case in ipairs(cases) do
      lines[i] = case[1]
    end
    local sent = tc.sent(a, lines)
    for i, case in ipairs(cases) do
      tc.equal("filter", tc.would_send(a.filter[case[2]], a.filter, case[3]), sent[i], case[1])
    end
  end)

  it("hold filters that tc shows", function()
    if not has_u32() then
      return pending "no u32 in this kernel"
    end
    local row = a.filter:add(u32 { pref = 5, action = { "mirred", egress = "redirect", dev = "eth1" } })
    assert.same({ 22, 5, "ip" }, { row.block, row.pref, row.protocol, row.dev, row.parent })
    assert.equal(22, row:decode().block)
    local shown = rtnl.inside(a, "tc -d filter show block 22")
    assert.is_truthy(shown:find("filter protocol ip pref 5 u32", 1, true) or shown:find("filter block 22 protocol ip pref 5 u32", 1, true), shown)
    assert.is_truthy(shown:find("Redirect to device eth1", 1, true), shown)
  end)

  it("are listed once, or with the links that have them", function()
    if not has_u32() then
      return pending "no u32 in this kernel"
    end
    tc.set(a, "filter add block 22 protocol ip pref 2 u32 match ip dport 22 0xffff")
    tc.set(a, "filter add block 23 protocol ip pref 3 u32 match ip sport 22 0xffff")
    a.link:add { name = "eth2", kind = "veth", peer = { name = "eth3" } }
    a.qdisc:add { "clsact", dev = "eth2" }
    a.filter:add { "u32", dev = "eth2", parent = "ingress", pref = 4, u32 = { match = "u32 0 0 at 0" } }
    local function prefs(filter)
      local out = {}
      for row in a.filter:each(filter) do
        out[#out + 1] = ("%s %d"):format(row.block or row.dev, row.pref)
      end
      assert.equal(#out, #a.filter:list(filter))
      table.sort(out)
      return table.concat(out, ", ")
    end
    assert.equal("22 1, 22 2, 23 3, eth2 4", prefs())
    assert.equal("22 1, 22 2", prefs { block = 22 })
    assert.equal("22 2", prefs { block = 22, pref = 2 })
    assert.equal("22 1, 22 2, 23 3", prefs { dev = "eth0" })
    assert.equal("22 1, 22 2", prefs { dev = "eth1" })
    assert.equal("eth2 4", prefs { dev = "eth2" })
    assert.equal("22 1, 22 2", prefs { dev = "eth0", parent = "ingress" })
    assert.equal("23 3", prefs { dev = "eth0", parent = "egress" })
    assert.equal("", prefs { block = 77 })
  end)

  it("are found, changed, ensured and deleted by their number", function()
    if not has_u32() then
      return pending "no u32 in this kernel"
    end
    local key = { block = 22, pref = 1 }
    local row = a.filter:get(key)
    assert.is_true(a.filter:get(row) == row)
    assert.is_true(a.filter:ensure(u32 { pref = 1 }) == row)
    a.filter:change(key, { classid = "1:5" })
    assert.equal("1:5", a.filter:get(row).classid)
    a.filter:change(row, { classid = "1:6" })
    assert.equal("1:6", a.filter:get(key).classid)
    assert.equal(1, #a.filter:list())
    a.filter:ensure(u32 { pref = 9 })
    assert.equal(2, #a.filter:list())
    a.filter:delete(row)
    a.filter:delete { block = 22, pref = 9, protocol = "ip" }
    assert.equal(0, #a.filter:list())
    a.filter:delete(key, { absent = "ok" })
    assert.is_nil(a.filter:get(key))
    local e = helper.fails("ENOENT", a.filter.delete, a.filter, key)
    assert.is_truthy(e:find("block 22, pref 1", 1, true), e)
    a:batch(function()
      a.filter:add(u32 { pref = 3 })
      a.filter:add(u32 { pref = 4 })
    end)
    assert.equal(2, #a.filter:list { block = 22 })
    local ok, raised = pcall(a.transaction, a, function()
      a.filter:add(u32 { pref = 5 })
      error "no"
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(raised):find "no$", tostring(raised))
    assert.equal(2, #a.filter:list { block = 22 })
    assert.is_nil(a.filter:get { block = 22, pref = 5 })
  end)

  it("are told of by a monitor", function()
    if not has_u32() then
      return pending "no u32 in this kernel"
    end
    local m <close> = a:monitor { "filter" }
    a.filter:add(u32 { pref = 6 })
    local e = m:next(5)
    assert.same({ "new", 22, 6 }, { e.action, e.object.block, e.object.pref, e.object.dev })
  end)

  it("say what is wrong", function()
    local function misuse(text, t, verb)
      local ok, e = pcall(a.filter[verb or "add"], a.filter, t)
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    misuse("dev and block cannot both be said", u32 { dev = "eth0" })
    misuse("a block has no parent", u32 { parent = "ingress" })
    misuse("block must be a number from 1, got 0", u32 { block = 0 })
    misuse("block must be a number from 1, got x", { block = "x" }, "list")
    misuse("dev or block is needed", { "u32", u32 = { match = "u32 0 0" } })
    misuse("dev or block is needed", { pref = 1 }, "get")
    -- no qdisc has it
    helper.fails("EINVAL", a.filter.add, a.filter, u32 { block = 77 })
    local e = helper.fails("EOPNOTSUPP", a.filter.add, a.filter, { "u32", dev = "eth0", parent = "ingress", u32 = { match = "u32 0 0 at 0" } })
    assert.is_truthy(e:find("say block =", 1, true), e)
  end)
end)
