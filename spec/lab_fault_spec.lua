-- Faults of a lab, NAT and packet filters: each does what it says, and is gone when it is mended.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("a lab's", function()
  local why = rtnl.cannot()
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

  local function needs_nft()
    local a = helper.netns {}
    local r = helper.has "nft" and a:run { "nft", "add table inet t { chain c { type nat hook postrouting priority srcnat; } ; }" }
    a:close()
    if not (r and r.ok) then
      return pending(r and "this kernel has no nftables: " .. r.stderr or "no nft(8) here")
    end
  end

  local function reaches(a, b, options)
    options = options or {}
    options.timeout = options.timeout or "300ms"
    return lab.node[a]:ping(b, options).loss == 0
  end

  local simple = {
    no_forwarding = "r1", no_default_route = "h1", link_down = "h2", icmp_blocked = "h2", wrong_neighbour = "h1",
  }
  for name, node in pairs(simple) do
    it("fault " .. name .. " keeps h1 from h2 until it is mended", function()
      if name == "icmp_blocked" then
        needs_nft()
      end
      lab = ns.lab "h1 -- r1 -- h2"
      lab:expect { "h1", "h2", timeout = 5 }
      do
        local fault <close> = lab:fault(name, node)
        assert.is_false(reaches("h1", "h2"))
        assert.is_truthy(tostring(fault):find(name .. " on " .. node, 1, true))
      end
      lab:expect { "h1", "h2", within = 5 }
      lab:expect { "h1", "h2", within = 5, family = "inet6" }
    end)
  end

  it("fault rp_filter drops what comes by another way than its answer goes", function()
    lab = ns.lab "h1 -- r1 -- h2\nh1 -- r1"
    -- the way there is one link, the way back the other
    local to = lab.h1.plan.interfaces[2]
    lab.h1.route:replace { lab.h2:address_of "r1" .. "/32", via = lab.r1.plan.interfaces[3].inet, dev = to.dev, src = lab.h1.plan.interfaces[1].inet }
    local from = lab.h1.plan.interfaces[1].inet
    assert.is_true(reaches("h1", lab.h2:address_of(), { from = from, timeout = 5 }))
    local fault = lab:fault("rp_filter", "r1")
    assert.is_false(reaches("h1", lab.h2:address_of(), { from = from }))
    fault:mend()
    assert.is_true(reaches("h1", lab.h2:address_of(), { from = from, timeout = 5 }))
    assert.is_true(fault:mend())
  end)

  it("fault duplicate_address gives one's address to another", function()
    lab = ns.lab "h1 -- (sw) -- h2\n(sw) -- h3"
    local fault = lab:fault("duplicate_address", "h3")
    assert.is_truthy(lab.h3.address:get { lab.h1:address_of() .. "/24", dev = "eth0" })
    fault:mend()
    assert.is_nil(lab.h3.address:get { lab.h1:address_of() .. "/24", dev = "eth0" })
  end)

  it("fault mtu_black_hole lets small packets through and no large ones", function()
    needs_nft()
    lab = ns.lab "h1 -- r1 -- h2"
    lab:expect { "h1", "h2", timeout = 5 }
    local fault = lab:fault("mtu_black_hole", "r1")
    assert.is_true(reaches("h1", "h2"))
    assert.is_false(reaches("h1", "h2", { size = 1400, dont_fragment = true }))
    local found = lab.h1:path_mtu("h2", { timeout = "200ms" })
    assert.equal(1300, found.mtu)
    fault:mend()
    assert.is_true(reaches("h1", "h2", { size = 1400 }))
  end)

  it("faults of services keep h1 from what h2 serves until they are mended", function()
    lab = ns.lab "h1 -- h2"
    lab.h2:serve "http"
    for name, code in pairs { not_listening = "ECONNREFUSED", loopback_only = "ECONNREFUSED", v6_only = "ECONNREFUSED",
      accept_queue = "ETIMEDOUT" } do
      local fault <close> = lab:fault(name, "h2")
      local r = lab.h1:tcp("h2", 80, { timeout = "300ms", family = "inet" })
      assert.equal(code, r.error, name)
      fault:mend()
      assert.is_true(lab.h1:tcp("h2", 80).ok, name)
    end
    local _ <close> = lab:fault("port_exhaustion", "h1")
    assert.equal("port_exhaustion", ns.doctor(lab.h1, { quick = true })[1].check)
  end)

  it("NAT of a home hides who is inside, and lets nobody in", function()
    needs_nft()
    lab = ns.lab "h1 -- r1 -- h2"
    lab:expect { "h2", "h1", timeout = 5 }
    lab.r1:nat("home", { out = "h2" })
    assert.is_true(reaches("h1", "h2", { timeout = 5 }))
    lab:never { "h2", "h1", timeout = "200ms" }
    -- h2 has no way back to the inside: what came, came from the router
    lab.h2.route:delete { "default", family = "inet" }
    assert.is_true(reaches("h1", lab.h2:address_of "h1", { timeout = 5 }))
    lab.r1:clear "home"
    assert.is_false(reaches("h1", lab.h2:address_of "h1"))
  end)

  it("NAT of a full cone gives one host the outside address", function()
    needs_nft()
    lab = ns.lab "h1 -- r1 -- h2"
    lab.r1:nat("full_cone", { out = "h2", host = "h1" })
    local outside = lab.r1:address_of "h2"
    local p = lab.h1:spawn { "sh", "-c", "exec tail -f /dev/null" }
    local hits = tonumber(lab.h1:read("/proc/net/snmp"):match "\nIcmp: (%d+)") or 0
    assert.is_true(reaches("h2", outside, { timeout = 5 }))
    assert.is_true(tonumber(lab.h1:read("/proc/net/snmp"):match "\nIcmp: (%d+)") > hits) -- it was h1 that was asked
    p:kill()
  end)

  it("words are known, or the nearest is named", function()
    lab = ns.lab "h1 -- r1 -- h2"
    for _, case in ipairs {
      { function() lab:fault("rpfilter", "r1") end, "did you mean 'rp_filter'?" },
      { function() lab:fault("rp_filter", "r2") end, "unknown node 'r2'" },
      { function() lab:fault("not_listening", "h1") end, "h1 serves nothing" },
      { function() lab.r1:nat("hom", { out = "h2" }) end, "did you mean 'home'?" },
      { function() lab.r1:nat("home", { out = "h3" }) end, "unknown device or neighbour 'h3'" },
      { function() lab.r1:nat("home") end, "out is needed" },
      { function() lab.r1:firewall "x" end, "unknown preset 'x'" },
    } do
      local ok, e = pcall(case[1])
      assert.is_true(not ok and tostring(e):find(case[2], 1, true) ~= nil, tostring(e))
    end
  end)
end)
