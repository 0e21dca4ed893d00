-- The ruleset as nft(8) lists it and as it reads.

local cjson = require "cjson"
local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"

local RULES = [[
table inet t {
  set s { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 }; }
  chain c {
    type filter hook input priority -5; policy drop;
    tcp dport 22 counter accept comment "hello"
    ip saddr @s jump d
    fib saddr type local drop
    tcp option maxseg exists accept
  }
  chain d {
    tcp dport { 80, 443 } log prefix "x" reject
    return
  }
}
]]

describe("nftables", function()
  local why = rtnl.cannot() or not helper.has "nft" and "needs nft(8)" or nil
  local a
  local function load()
    a = rtnl.netns "a"
    return a:run { "nft", "-f", "-", input = RULES }
  end
  if not why then
    local r = load()
    why = not r.ok and "no nf_tables here: " .. r.stderr or nil
    rtnl.close()
  end
  if why then
    return it("", function()
      pending(why)
    end)
  end
  before_each(load)
  after_each(rtnl.close)

  it("reads what nft lists", function()
    local out, ok = rtnl.inside(a, "nft -j list ruleset")
    assert(ok, out)
    local n = { table = 0, chain = 0, rule = 0, set = 0 }
    for _, entry in ipairs(cjson.decode(out).nftables) do
      local what, t = next(entry)
      if n[what] then
        n[what] = n[what] + 1
        local found
        for _, row in ipairs(a.nftables[what .. "s"](a.nftables, { family = "inet" })) do
          if row.handle == t.handle then
            found = row
          end
        end
        assert.is_truthy(found, what .. " " .. t.handle)
        if what == "table" then
          assert.equal(t.name, found.name)
        else
          assert.same({ t.table, t.name, t.chain, t.comment, t.hook, t.prio, t.policy },
            { found.table, found.name, found.chain, found.comment, found.hook, found.priority, found.policy })
        end
      end
    end
    assert.same({ table = 1, chain = 2, rule = 6, set = 1 }, n)
  end)

  it("names the expressions of rules, and keeps what it does not know", function()
    local rules = a.nftables:rules { table = "t", chain = "c" }
    local function names(row)
      local out = {}
      for i, e in ipairs(row.expressions) do
        out[i] = e.name
      end
      return table.concat(out, " ")
    end
    assert.equal("meta cmp payload cmp counter immediate", names(rules[1]))
    local e = rules[1].expressions
    assert.same({ "l4proto", "transport", "\0\22", "accept" }, { e[1].data.key, e[3].data.base, e[4].data.data.value, e[6].data.data.verdict.code })
    assert.equal("d", rules[2].expressions[#rules[2].expressions].data.data.verdict.chain)
    local last = a.nftables:rules({ table = "t", chain = "d" })[2]
    assert.equal("return", last.expressions[1].data.data.verdict.code)
    assert.equal("fib", rules[3].expressions[1].name)
    assert.same({ 3, 1 }, { rules[3].expressions[1].data.result, rules[3].expressions[1].data.flags }) -- NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_SADDR
    local unknown
    for _, expression in ipairs(rules[4].expressions) do
      unknown = expression.name == "exthdr" and expression.data or unknown
    end
    assert.is_string(unknown)
  end)

  it("reads the elements of a set", function()
    local out = {}
    for i, e in ipairs(a.nftables:elements { family = "inet", table = "t", name = "s" }) do
      out[i] = e.key.value
    end
    table.sort(out)
    assert.same({ "\10\0\0\1", "\10\0\0\2" }, out)
  end)
end)

describe("numbers of the schema of nftables", function()
  it("are those of <linux/netfilter/nf_tables.h>", function()
    if not helper.has "cc" then
      return pending "no C compiler here"
    end
    local out, ok = require "spec.headers".check(require "nslua.netfilter.nftschema", {})
    assert(ok, out)
  end)
end)
