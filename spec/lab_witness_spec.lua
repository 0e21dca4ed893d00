-- Expectations of packets in a lab: that one goes by, that none does, and what a failed one says.

local helper = require "spec.helper"
local ns = require "nslua"

after_each(helper.close_held)

local function lab()
  return helper.held(ns.lab "h1 -- r1 -- (sw) -- h2")
end

local function message(ok, e)
  assert.is_false(ok)
  return tostring(e), e
end

describe("lab:expect of packets", function()
  it("gives the packet, by fields, names and functions", function()
    local l = lab()
    local p, all = l:expect { link = { "h1", "r1" }, from = "h1", to = "h2", tcp = { flags = "S", dport = { 80, 81 } }, when = function()
      l.h1:tcp("h2", 81)
    end }
    assert.same({ "S", 81, 1 }, { p.tcp.flags, p.tcp.dport, #all })
    assert.same({ "in", "r1" }, { p.direction, p.netns })
    assert.equal(l.h1:address_of "h2", p.ip.src)
    l:expect { link = "r1 sw", ip = { src = "h1", ttl = function(ttl) return ttl == 63 end }, icmp = { type = 8 }, count = 2, when = function()
      l.h1:ping("h2", { count = 2, interval = 0.01, family = "inet" })
    end }
    l:expect { node = "h2", icmp6 = true, where = function(q) return q.length > 100 end, when = function()
      l.h1:ping("h2", { family = "inet6" })
    end }
    l:expect { link = l:link("h1", "r1"), udp = true, direction = "out", filter = "udp port 5353", when = function()
      l.h1:udp("h2", 9, { timeout = 0.1 })
      l.h1:udp("h2", 5353, { timeout = 0.1 })
    end }
  end)

  it("sees what went by since a watch began", function()
    local l = lab()
    local w <close> = l:watch { link = { "r1", "sw" }, icmp = { type = 0 } }
    w:never()
    l.h1:ping("h2", { family = "inet" })
    assert.equal(0, w:expect({ within = 0 }).icmp.type)
    assert.equal(1, #w:packets())
    l.h1:ping("h2", { family = "inet" })
    assert.equal(2, select(2, w:expect { count = 2, within = 0 })[2] and #w:packets())
    assert.matches("there is such a packet on r1:", (message(pcall(w.never, w))))
  end)

  it("says where it fails what was seen, and what is wrong at the nodes", function()
    local l = lab()
    local text, e = message(pcall(l.expect, l, { link = { "r1", "sw" }, from = "h1", to = "h2", udp = { dport = 53 }, within = "50ms",
      when = function()
        l.h1:ping("h2", { family = "inet" })
        l:link("h1", "r1"):down()
      end }))
    assert.matches('lab.expect: no such packet on r1:%S+ %-%- sw:%S+ within 0.05 seconds: from h1, to h2, udp { dport = 53 }', text)
    assert.matches("\n  %d+:%d+:%d+%.%d+ sw:%S+ < IP 10%.%d+%.%d+%.%d+ > 10%.%d+%.%d+%.%d+: ICMP echo request, id %d+, seq %d+, 98 bytes\n", text)
    assert.matches("\n  h1: eth0 is down\n", text)
    assert.matches("\n  h1: no route to h2 %(10", text)
    assert.is_true(#e.packets >= 2)
    l:link("r1", "sw"):down()
    text, e = message(pcall(l.expect, l, { "h1", "h2", timeout = 0.05 }))
    assert.matches("lab.expect: h1 does not reach h2 %([^\n]+%); state:\n", text)
    assert.matches("\n  r1: eth1 is down\n", text) -- a node between them
    assert.matches("^h1: ", e.state[1])
    l:link("r1", "sw"):up()
    assert.matches("2 of 3 such packets?", (message(pcall(l.expect, l, { node = "h2", icmp = { type = 8 }, direction = "in", count = 3, within = 0,
      when = function()
        l:link("h1", "r1"):up()
        l.h1:ping("h2", { count = 2, interval = 0.01, family = "inet" })
      end }))))
  end)

  it("says why the kernel dropped packets, where this is root", function()
    helper.needs_root(pending)
    local drops, why = ns.capture.drops()
    if not drops then
      pending(why)
    end
    drops:close()
    local l = lab()
    local text, e = message(pcall(l.expect, l, { node = "h2", dns = true, within = 0, when = function()
      l.h1:udp("h2", 9, { timeout = 0.1 })
    end }))
    assert.matches("dropped by the kernel of this machine meanwhile:\n", text)
    local found
    for _, drop in ipairs(e.drops) do
      -- other programs of the machine have drops too
      found = found or drop.reason == "NO_SOCKET" and drop.protocol == 0x800 and drop.place:find("udp", 1, true) ~= nil
    end
    assert.is_true(found, text)
  end)

  it("is misuse where it says nothing, or what is not there", function()
    local l = lab()
    local function misuse(t, text)
      assert.matches("lab_witness_spec.lua:%d+: lab.expect: " .. text, (message(pcall(function() l:expect(t) end))))
    end
    misuse({ link = { "h1", "r1" }, node = "h1" }, "where%? link or node")
    misuse({ link = { "h1", "h2" } }, "there is no link between h1 and h2")
    misuse({ link = { "h1", "r2" } }, "unknown node 'r2'")
    misuse({ link = "h1 r1", tpc = true }, "unknown key 'tpc' %(did you mean 'tcp'%?%)")
    misuse({ link = "h1 r1", tcp = { flag = "S" } }, "tcp: unknown field 'flag' %(did you mean 'flags'%?%)")
    misuse({ link = "h1 r1", direction = "sideways" }, "unknown direction")
    misuse({ link = "h1 r1", from = "h9" }, "unknown node 'h9'")
    misuse({ from = "h1", tcp = true }, "where%? link or node")
    for text, t in pairs {
      ['tcp.dport: a number expected, got "80"'] = { tcp = { dport = { 81, "80" } } },
      ['tcp.flags: letters of SFRPAUEC expected, got "SX"'] = { tcp = { flags = "SX" } },
      ["ip.src: an address or a node expected, got \"h9\": unknown node 'h9' %(did you mean 'h1'%?%)"] = { ip = { src = "h9" } },
      ['ip.dst: an address of IPv4 expected, got "fd00::1"'] = { ip = { dst = "fd00::1" } },
      ['eth.src: an Ethernet address expected, got "h1"'] = { eth = { src = "h1" } },
      ['icmp.type: a number expected, got "echo request"'] = { icmp = { type = "echo request" } },
      ["arp.op: .*got \"requst\": unknown word 'requst' %(did you mean 'request'%?%)"] = { arp = { op = "requst" } },
      ["ip.dont_fragment: true or false expected, got 1"] = { ip = { dont_fragment = 1 } },
    } do
      t.link = "h1 r1"
      misuse(t, text)
    end
  end)
end)

describe("lab:never of packets", function()
  it("knows addresses and flags however they are written", function()
    local l = lab()
    local w <close> = l:watch { link = "h1 r1", tcp = { flags = "AS" }, eth = { dst = l.h1.link:get("eth0").address:upper() },
      ip6 = { src = l.h2:address_of("h1", "inet6"):upper():gsub("::", ":0::") } }
    l.h2:serve("echo", { port = 80 })
    l.h1:tcp("h2", 80, { family = "inet6" })
    assert.matches("there is such a packet", (message(pcall(w.never, w))))
    l:never { link = "h1 r1", vlan = true, when = function()
      l.h1:ping "h2"
    end }
  end)

  it("passes where none goes by, and shows the one that does", function()
    local l = lab()
    l:never { link = { "h1", "r1" }, udp = true, when = function()
      l.h1:ping "h2"
    end }
    local text = message(pcall(l.never, l, { link = { "h1", "r1" }, udp = true, during = 5, when = function()
      l.h1:udp("h2", 9, { timeout = 0.05 })
    end }))
    assert.matches("lab.never: there is such a packet on h1:eth0 %-%- r1:%S+: udp\n", text)
    assert.matches("> 10%.%d+%.%d+%.%d+%.9: UDP", text)
  end)
end)
