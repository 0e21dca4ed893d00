-- Labs on the running kernel: what is built, what it does, and that nothing is left.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("a lab", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local lab

  local function build(nodes, links, more)
    local topology = { nodes = {}, links = links }
    for i, name in ipairs(nodes) do
      local kind = name:find "^r" and "router" or name:find "^s" and "switch" or "host"
      topology.nodes[i] = { name = name, kind = kind }
    end
    for key, value in pairs(more or {}) do
      topology[key] = value
    end
    lab = ns.lab(topology)
    return lab
  end

  after_each(function()
    if lab then
      lab:close()
      lab = nil
    end
  end)

  local function reaches(from, to, ...)
    return from:run({ "ping", "-c1", "-W1", "-q", ..., to }).ok
  end

  it("joins hosts by a switch, addressed in both families", function()
    build({ "s1", "h1", "h2" }, { { "h1", "s1" }, { "h2", "s1" } })
    assert.equal("10.0.1.1", lab.h1:address_of())
    assert.equal("fd00:1::2", lab.h2:address_of("h1", "inet6"))
    assert.equal("10.0.1.2", lab.h2:address_of(lab.h1))
    assert.is_true(reaches(lab.h1, "h2", "-4"))
    assert.is_true(reaches(lab.h1, "h2", "-6"))
    assert.same({ "10.0.1.0/24", "fd00:1::/64" }, lab:link("h1", "s1").subnet)
  end)

  it("routes between all of them, the shortest way", function()
    build({ "h1", "r1", "r2", "r3", "h2" }, { { "h1", "r1" }, { "r1", "r2" }, { "r2", "r3" }, { "r1", "r3" }, { "r3", "h2" } })
    for _, family in ipairs { "-4", "-6" } do
      assert.is_true(reaches(lab.h1, "h2", family))
      assert.is_true(reaches(lab.h2, "r2", family))
    end
    local far = lab.h2.plan.interfaces[1].segment.inet
    assert.equal(lab.r3:address_of("r1"), lab.r1.route:get(far).via)
  end)

  it("has links that can be pulled and put back, with the routes over them", function()
    build({ "h1", "r1", "h2" }, { { "h1", "r1" }, { "r1", "h2" } })
    local link = lab:link("r1", "h2")
    assert.equal(link, lab.h2:link_to "r1")
    link:down()
    assert.is_false(reaches(lab.h1, "h2", "-4"))
    assert.is_truthy(tostring(link):find("(down)", 1, true))
    link:up()
    assert.is_true(reaches(lab.h1, "h2", "-4"))
    assert.is_true(reaches(lab.h1, "h2", "-6"))
  end)

  it("gives programs their node's name, and the names of all nodes", function()
    build({ "h1", "r1", "h2" }, { { "h1", "r1" }, { "r1", "h2" } })
    assert.equal("h1", lab.h1:output { "hostname" })
    assert.equal("h2", lab.h2:output { "uname", "-n" })
    local hosts = lab.h1:output { "cat", "/etc/hosts" }
    assert.is_truthy(hosts:find(lab.h2:address_of "h1" .. " h2", 1, true))
    assert.is_truthy(hosts:find("127.0.0.1 localhost", 1, true))
    assert.equal("", lab.h1:output { "cat", "/etc/resolv.conf" })
    assert.equal("lo", lab.h1:output({ "sh", "-c", "ls /sys/class/net | grep lo" }))
    assert.not_equal(hosts, helper.sh "cat /etc/hosts")
    assert.equal("other", lab.h1:output { "hostname", hostname = "other" })
    assert.equal("h1", lab.h1:output { "hostname" })
  end)

  it("starts from the same settings whatever the machine has", function()
    build({ "h1", "r1" }, { { "h1", "r1" } })
    assert.equal(0, lab.h1:sysctl "net.ipv4.ip_forward")
    assert.equal(1, lab.r1:sysctl "net.ipv4.ip_forward")
    assert.equal(1, lab.r1:sysctl "net.ipv6.conf.all.forwarding")
    assert.equal(0, lab.h1:sysctl "net.ipv4.conf.all.rp_filter")
    assert.is_truthy(({ cubic = true, reno = true })[lab.h1:sysctl "net.ipv4.tcp_congestion_control"])
    lab:close()
    lab = ns.lab { nodes = { { name = "h1", kind = "host", sysctl = { ["net.ipv4.ip_default_ttl"] = 17 } } }, links = {} }
    assert.equal(17, lab.h1:sysctl "net.ipv4.ip_default_ttl")
  end)

  it("joins switches, also in a ring", function()
    build({ "s1", "s2", "s3", "h1", "h2" }, { { "s1", "s2" }, { "s2", "s3" }, { "s3", "s1" }, { "h1", "s1" }, { "h2", "s3" } })
    assert.is_true(reaches(lab.h1, "h2", "-4"))
  end)

  it("has nodes under any name, and says what there is not", function()
    lab = ns.lab { nodes = { { name = "link", kind = "host" }, { name = "close", kind = "host" } }, links = { { "link", "close" } } }
    assert.is_true(reaches(lab.node.link, "close", "-4"))
    assert.is_nil(lab.h9)
    assert.has_error(function()
      lab:link("link", "clos")
    end)
  end)

  it("is gone when it is closed, and says so", function()
    build({ "h1", "h2" }, { { "h1", "h2" } })
    local h1 = lab.h1
    assert.is_true(lab:isopen())
    assert.is_true(lab:close())
    assert.is_true(lab:close())
    assert.is_false(lab:isopen())
    assert.has_error(function()
      h1.link:list()
    end)
  end)

  it("leaves nothing where it cannot be built", function()
    local before = #ns.namespace.list { type = "net" }
    local ok, e = pcall(ns.lab, { nodes = { { name = "h1", kind = "host" }, { name = "h2", kind = "host" } },
      links = { { "h1", "h2", ends = { { dev = "a/b" }, {} } } } })
    assert.is_false(ok)
    assert.is_truthy(tostring(e):find("a/b", 1, true), tostring(e))
    assert.equal(before, #ns.namespace.list { type = "net" })
  end)

  it("stands beside others of the same names", function()
    local one <close> = ns.lab { nodes = { { name = "h1", kind = "host" }, { name = "h2", kind = "host" } }, links = { { "h1", "h2" } } }
    build({ "h1", "h2" }, { { "h1", "h2" } })
    assert.not_equal(one.h1, lab.h1)
    assert.is_true(reaches(one.h1, "h2", "-4") and reaches(lab.h1, "h2", "-4"))
  end)
end)
