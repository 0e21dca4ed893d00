-- Routing daemons of FRR on nodes of a lab: OSPF in both families that converges and heals, configurations of one's own, and what is left of it.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("frr", function()
  local why = rtnl.cannot() or not select(2, helper.sh "test -x /usr/lib/frr/ospfd") and "no FRR here (apt-get install frr)"
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local lab
  after_each(function()
    if lab then
      lab:close()
      lab = nil
    end
  end)

  it("has OSPF on every router, which finds another way when a link fails, and comes back", function()
    lab = ns.lab "h1 -- r1 -- r2 -- h2\nr1 -- r3 -- r2"
    local frr = lab:frr { ospf = true, ospf6 = true }
    assert.is_true(frr:converged() >= 0)
    assert.same({}, lab.r1.route:list { table = "main", proto = "boot" })
    local through = lab.r3:address_of "r1"
    assert.equal(0, #lab.r1.route:list { dst = lab:link("r2", "h2").subnet[1], via = through })
    lab:link("r1", "r2"):down()
    for _, family in ipairs { "inet", "inet6" } do
      lab:expect { "h1", "h2", family = family, within = 60 }
    end
    ns.eventually(function()
      return lab.r1.route:list({ dst = lab:link("r2", "h2").subnet[1], proto = "ospf" })[1].via == through
    end, 60)
    lab:link("r1", "r2"):up()
    ns.eventually(function()
      return lab.r1.route:list({ dst = lab:link("r2", "h2").subnet[1], proto = "ospf" })[1].via == lab.r2:address_of "r1"
    end, 60)
    local r1 = frr.routers.r1
    assert.matches("O>%* 10%.0%.3%.0/24", r1:vtysh "show ip route ospf")
    assert.equal(2, #require("dkjson").decode(lab.r1:output { "ip", "-j", "-4", "route", "show", "proto", "ospf" }))
    local neighbours = 0
    for _ in pairs(r1:json "show ip ospf neighbor json".neighbors) do
      neighbours = neighbours + 1
    end
    assert.equal(2, neighbours)
    assert.equal("frr on r1 (running)", tostring(r1))
    local ok, e = pcall(r1.vtysh, r1, "show nonsense")
    assert.is_false(ok)
    assert.matches("frr.vtysh in r1: %% Unknown command: show nonsense %(show nonsense%)$", tostring(e))
    ok, e = pcall(lab.r1.frr, lab.r1, { ospf = true })
    assert.is_false(ok)
    assert.matches("lab_frr_spec.lua:%d+: frr: its daemons run on r1 already", tostring(e))
    local pid = r1.service.pid
    frr:close()
    assert.is_false(helper.sh(("kill -0 %d"):format(pid)) == "")
    helper.fails("ESRCH", r1.vtysh, r1, "show version")
    assert.same({}, lab.r1.route:list { proto = "ospf" })
    lab:expect { "h1", "h2", within = 20 } -- by the lab's routes again
  end)

  it("takes a configuration and daemons of one's own", function()
    lab = ns.lab "r1 -- r2"
    local config = [[
      router bgp %d
       no bgp ebgp-requires-policy
       neighbor %s remote-as %d
       neighbor %s timers 1 3
       neighbor %s timers connect 1
       address-family ipv4 unicast
        network 10.9.%d.0/24
       exit-address-family]]
    for i, name in ipairs { "r1", "r2" } do
      local node, other = lab.node[name], lab.node[i == 1 and "r2" or "r1"]
      node.address:add { ("10.9.%d.1/24"):format(i), dev = "lo" }
      local peer = other:address_of(name)
      node:frr { config = config:format(65000 + i, peer, 65003 - i, peer, peer, i), daemons = { "bgpd" } }
    end
    ns.eventually(function()
      return lab.r1.route:list({ dst = "10.9.2.0/24", proto = "bgp" })[1]
    end, 60)
  end)

  it("takes a long configuration", function()
    lab = ns.lab "h1 -- r1"
    local frr = lab.r1:frr { config = ("! nothing but words\n"):rep(8000) .. "ip prefix-list last seq 1 permit 10.1.0.0/24" }
    assert.is_true(#frr.config > 1 << 17)
    assert.matches("seq 1 permit 10.1.0.0/24", frr:vtysh "show ip prefix-list")
  end)

  it("leaves nothing of itself in the files of the host", function()
    local before = helper.sh "ls -lR /etc/frr /run/frr /var/tmp 2>&1"
    lab = ns.lab "h1 -- r1 -- h2"
    local frr = lab:frr { ospf = true }
    assert.equal(before, (helper.sh "ls -lR /etc/frr /run/frr /var/tmp 2>&1"))
    frr:converged()
    lab:close()
    assert.equal(before, (helper.sh "ls -lR /etc/frr /run/frr /var/tmp 2>&1"))
  end)

  it("says what is wrong", function()
    lab = ns.lab "h1 -- (sw) -- h2"
    local function fault(pattern, fn)
      local ok, e = pcall(fn)
      assert.is_false(ok)
      assert.matches(pattern, tostring(e))
    end
    fault("this lab has no routers", function() lab:frr { ospf = true } end)
    fault("sw is a switch", function() lab.sw:frr { ospf = true } end)
    fault("ospf = true, ospf6 = true or a config expected", function() lab.h1:frr {} end)
    fault("unknown key 'osfp'", function() lab.h1:frr { osfp = true } end)
    fault("there is no /usr/lib/frr/nosuchd", function() lab.h1:frr { config = "", daemons = { "nosuchd" } } end)
    fault("daemons are names", function() lab.h1:frr { config = "", daemons = { "../x" } } end)
    lab:close()
    lab = ns.lab "h1 -- r1 -- h2"
    local function routes()
      local out = {}
      for _, route in ipairs(lab.h1.route:list { table = "main" }) do
        out[#out + 1] = tostring(route)
      end
      table.sort(out)
      return out
    end
    local before = routes()
    assert.is_false(pcall(lab.h1.frr, lab.h1, { ospf = true, ospf6 = true, config = "no such words at all" }))
    assert.same(before, routes())
    local e = select(2, pcall(lab.h1.frr, lab.h1, { config = "no such words at all" }))
    assert.is_truthy(tostring(e):find("no such words at all", 1, true), tostring(e))
  end)
end)
