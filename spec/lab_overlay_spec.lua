-- VXLANs between switches of a lab: what is said, what is built, what goes over them.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("a VXLAN in a text", function()
  local function refused(text, why)
    local ok, e = pcall(ns.lab.draw, text)
    assert.is_false(ok, text)
    assert.is_truthy(tostring(e):find(why, 1, true), tostring(e))
  end

  it("is the same as a table, without loss", function()
    for _, text in ipairs { "(s1) --vxlan 42-- (s2)\n", "(s1)[vlan 10] --vxlan 16777215 via r-1 h1, mtu 1400, name far-- (s2)[trunk 10]\n" } do
      local topology = ns.lab.topology(text)
      assert.equal(text, ns.lab.text(topology):match "[^\n]*vxlan.*$")
      assert.same(topology, ns.lab.topology(ns.lab.text(topology)))
    end
    local link = ns.lab.topology({ links = { { "s1", "s2", vxlan = 42, via = { "r1", "r2" } } } }).links[1]
    assert.same({ 42, "r1", "r2" }, { link.vxlan, link.via[1], link.via[2] })
  end)

  it("is refused where it cannot be, with its place where the text says it", function()
    refused("(s1) --vxlan x-- (s2)", "line 1, column 8: a VXLAN is said as: vxlan 42")
    refused("(s1) --vxlan 42 via r1-- (s2)", "vxlan 42 via r1 r2")
    refused("(s1) --vxlan 16777216-- (s2)", "line 1, column 6")
    refused("(s1) --vxlan 42, 10ms-- (s2)", "is impaired where its packets go")
    refused("(s1) --vxlan 1, vxlan 2-- (s2)", "said twice")
    refused("(s1) --vxlan 42-- (s2)", "there is no router")
    refused("r1 -- r2\nr1 -- (s1) --vxlan 42-- h1", "h1 is a host; a VXLAN is between two switches")
    refused("h1 -- r1 -- (s1) -- r2 -- (s2)\n(s1) --vxlan 42-- (s2)", "beside s1 there are several routers")
    refused("r1 -- (s1) --vxlan 42 via r1 r9-- (s2) -- r2", "unknown node 'r9'")
    refused("h1 -- (s1) --vxlan 42 via r1 r1-- (s2) -- r1 -- h2", "both its ends are at r1")
    refused("h1 -- r1 -- (s1) --vxlan 42-- (s2) -- r2 -- h2", "no way leads from r1 to r2 but through the VXLAN itself")
    refused("r1 -- r2\nr1 -- (s1)\nr2 -- (s2)\n(s1) --vxlan 42-- (s2)\n(s3) --vxlan 42 via r1 r2-- (s4)", "carries a VXLAN 42 already")
    local low = "h1 -- (s1) -- r1 --mtu %d-- r2 -- (s2) -- h2\n(s1) --vxlan 42-- (s2)"
    refused(low:format(1300), "link 1 (h1--s1): IPv6 needs an MTU of 1280, and this one has 1250, what a VXLAN leaves")
    refused("{ipv6=off}" .. low:format(100), "a packet of 50 bytes is all that would fit")
    assert.equal("string", type(ns.lab.draw("{ipv6=off}" .. low:format(1300))))
    refused("h1 --mtu 1000-- h2{ipv6=off} --mtu 1000-- h3", "link 1 (h1--h2): IPv6 needs an MTU of 1280, and this one has 1000:")
    refused({ links = { { "s1", "s2", via = { "r1", "r2" } } } }, "via is of a VXLAN")
  end)

  it("is drawn", function()
    local text = "h1 -- (s1) --vxlan 42-- (s2) -- h2\n(s1) -- r1 -- r2 -- (s2)"
    assert.is_truthy(ns.lab.draw(text):find("vxlan 42", 1, true))
    for _, format in ipairs { "svg", "dot", "mermaid" } do
      assert.is_truthy(ns.lab.draw(text, { format = format }):find("vxlan 42", 1, true), format)
    end
    assert.is_truthy(ns.lab.draw(text, { format = "json" }):find('"vxlan":42', 1, true))
  end)
end)

describe("a VXLAN between two switches", function()
  local why = rtnl.cannot()
  if not why and not select(2, helper.sh((helper.is_root() and "" or "unshare -Ur ") .. "unshare -n ip link add v type vxlan id 1 dstport 4789")) then
    why = "no VXLAN in this kernel"
  end
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local network = [[
    h1 -- (s1) -- r1 --2ms-- r0 -- r2 -- (s2) -- h2
    (s1) --vxlan 42-- (s2)
    h0 -- r0
  ]]

  it("is one segment across a routed network, with room for its headers", function()
    local lab <close> = ns.lab(network)
    assert.same({ "10.0.1.0/24", "fd00:1::/64" }, lab:link("h2", "s2").subnet)
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    assert.equal(1, #lab.h1:trace "h2") -- no router between
    assert.is_true(lab.h1:ping("h2", { timeout = 5 }).rtt.min >= 0.004)
    assert.same({ 1450, 1450, 1500 }, { lab.h1.link:get("eth0").mtu, lab.s2.link:get("s1").mtu, lab.h0.link:get("eth0").mtu })
    assert.is_true(lab.h1:run({ "ping", "-4", "-c1", "-W5", "-q", "-M", "do", "-s", "1422", "h2" }).ok) -- 1450 with its headers
    -- routers reach each other below it
    assert.equal(lab.r0:address_of "r1", lab.r1.route:get(lab.r2.plan.interfaces[1].segment.inet).via)
    lab:link("r1", "r0"):down()
    lab:never { "h1", "h2", timeout = "50ms" }
    lab:link("r1", "r0"):up()
    lab:expect { "h1", "h2", within = 5 }
    lab:link("s1", "s2"):down()
    lab:never { "h1", "h2", family = "inet6", timeout = "50ms" }
  end)

  it("goes by IPv6 where there is nothing else, by hosts, and several of them", function()
    local lab <close> = ns.lab [[
      {ipv4=off}
      v1 --mtu 9000-- v2
      v2 --mtu 1400-- v3
      a1 -- (s1) --vxlan 1 via v1 v2-- (s2) -- a2
      (s2) --vxlan 2 via v2 v3-- (s3) -- a3
    ]]
    assert.equal(0, lab:ping_all({ timeout = 5, nodes = { "a1", "a2", "a3" } }).loss)
    assert.equal(1330, lab.a1.link:get("eth0").mtu)
    assert.equal("fd00:1::1", lab.s2.link:get("s1").vxlan.remote)
  end)

  it("has room for a host that is moved there", function()
    local lab <close> = ns.lab(network .. "r0 -- (s3) -- h3\n(s4)")
    assert.equal(1500, lab.h3.link:get("eth0").mtu)
    lab:link("h3", "s3"):move "s2"
    assert.equal(1450, lab.h3.link:get("eth0").mtu)
    assert.equal(lab.h3:address_of "h1", "10.0.1.3")
    assert.equal(0, lab:ping_all({ timeout = 5 }).loss)
    local ok, e = pcall(function()
      lab:link("r1", "s1"):move "s3"
    end)
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find("the VXLAN s1--s2 goes by 10.0.2.254 of r1, which would have another address", 1, true), tostring(e))
    lab:link("r1", "s1"):move "s4" -- who carries it need not stand beside it
    assert.equal(0, lab:ping_all({ timeout = 5, nodes = { "h1", "h2" } }).loss)
  end)
end)
