-- Topologies as text and as tables: what they mean, that nothing is lost between the two, and what is said of mistakes.

local lab = require "nslua.lab"
local notation = require "nslua.lab.notation"

local function of(text)
  return lab.topology(text)
end

-- Kinds of the nodes, in their order: "h1 host".
local function nodes(t)
  local out = {}
  for i, node in ipairs(t.nodes) do
    out[i] = node.name .. " " .. node.kind
  end
  return out
end

describe("the text of a lab", function()
  it("has hosts, routers and switches", function()
    local t = of [[
      h1 --10ms-- r1 --10ms,100mbit-- (sw) -- h2   # the design's own
                                      (sw) -- h3
    ]]
    assert.same({ "h1 host", "r1 router", "sw switch", "h2 host", "h3 host" }, nodes(t))
    assert.same({ "h1", "r1", to = { delay = 0.01 }, from = { delay = 0.01 } }, t.links[1])
    assert.same({ "r1", "sw", to = { delay = 0.01, rate = 100e6 }, from = { delay = 0.01, rate = 100e6 } }, t.links[2])
    assert.same({ { "sw", "h2" }, { "sw", "h3" } }, { t.links[3], t.links[4] })
  end)

  it("has what impairs both directions or one, by its unit or by a word", function()
    local link = of("h1 --10ms±2ms, >1%, <rate 1mbit, duplicate 0.5%, limit 50, each_packet-- h2").links[1]
    local both = { delay = 0.01, jitter = 0.002, duplicate = 0.005, limit = 50, each_packet = true }
    local to, from = { loss = 0.01 }, { rate = 1e6 }
    for word, value in pairs(both) do
      to[word], from[word] = value, value
    end
    assert.same(to, link.to)
    assert.same(from, link.from)
    assert.same({ delay = 0.01, jitter = 0.002 }, of("h1 --10ms+-2ms-- h2").links[1].to)
    assert.is_nil(of("h1 -- h2").links[1].to)
  end)

  it("has names, subnets, sizes and costs of links", function()
    assert.same({ "h1", "h2", name = "core", subnet = { "10.7.0.0/24", "fd07::/64" }, mtu = 1400, cost = 5 },
      of("h1 --name core, 10.7.0.0/24, fd07::/64, mtu 1400, cost 5-- h2").links[1])
  end)

  it("has what stands at an end: device, addresses, VLANs", function()
    assert.is_true(of("h1[10.9.0.1/24 foreign] -- (s1)").links[1].ends[1].foreign)
    assert.is_nil(of('h1[dev "foreign"] -- (s1)').links[1].ends[1].foreign)
    local t = of "h1[eth5 10.1.0.1/24 fd00::5/64] -- (s1)[vlan 10] [trunk 10 20] -- (s2)[trunk 10,20]"
    assert.same({ { dev = "eth5", address = { "10.1.0.1/24", "fd00::5/64" } }, { vlan = 10 } }, t.links[1].ends)
    assert.same({ { trunk = { 10, 20 } }, { trunk = { 10, 20 } } }, t.links[2].ends)
    assert.same({ { vlan = { 10, 20 } }, {} }, of("h1[vlan 10 20] -- h2").links[1].ends)
  end)

  it("has options of nodes", function()
    local t = of "h1{ipv6=off, net.ipv4.ip_forward=1} -- r1{kind=router, address=10.9.0.1/32}"
    assert.same({ name = "h1", kind = "host", ipv6 = false, sysctl = { ["net.ipv4.ip_forward"] = "1" } }, t.nodes[1])
    assert.same({ name = "r1", kind = "router", addresses = { "10.9.0.1/32" } }, t.nodes[2])
    assert.same({ "http", "echo:7000" }, of("h1 -- h2{serve=http, serve=echo:7000}").nodes[2].serve)
  end)

  it("goes on over lines that end or begin with a link, and has chains of any number", function()
    local t = of "a -- b --\n  c\n  --10ms-- d\n\n# nothing\ne\nf -- a"
    assert.same({ "a router", "b router", "c router", "d host", "e host", "f host" }, nodes(t))
    assert.equal(4, #t.links)
    assert.same({ "c", "d" }, { t.links[3][1], t.links[3][2] })
  end)

  it("has several links between the same two, and names with dashes", function()
    local t = of "web-1--db_2.x--web-1 -- (sw-a)"
    assert.same({ "web-1", "db_2.x" }, { t.links[1][1], t.links[1][2] })
    assert.same({ "db_2.x", "web-1" }, { t.links[2][1], t.links[2][2] })
    assert.same({ "web-1 router", "db_2.x router", "sw-a switch" }, nodes(t))
  end)

  it("counts an item of one direction wherever it stands", function()
    assert.same({ { delay = 0.02 }, { delay = 0.01 } }, { of("a --10ms, >20ms-- b").links[1].to, of("a --10ms, >20ms-- b").links[1].from })
    assert.same(of "a --10ms, >20ms-- b", of "a -->20ms, 10ms-- b")
  end)

  it("tells the place of what is wrong with addresses, nodes and links too", function()
    for _, case in ipairs {
      { "h1[10.0.0.1/24] -- (sw)\nh2[10.0.0.1/24] -- (sw)", 2, 4, "h1 and h2 both have 10.0.0.1" },
      { "h1 -- (sw)\n\n  h2[10.9.0.1/24] --10.0.0.0/24-- (sw)", 3, 6, "h2, towards sw: 10.9.0.1/24 is outside" },
      { "a -- b\nb --mtu 1000-- c", 2, 3, "IPv6 needs an MTU of 1280" },
      { "b -- c\nx{macvlan=eth0, kind=switch} -- b", 2, 1, "macvlan and wire are for" },
      { "a --10.0.0.0/24-- b\n\tb --10.0.0.0/25-- c", 1, 5, "10.0.0.0/24 and 10.0.0.0/25 overlap" },
      { "a --10.0.0.0/30-- (sw) # 10.0.0.0/3\n(sw) -- b\n(sw) -- c", 1, 5, "too small for the 3" },
      { "h1 -- (a){bridge=docker0}\n(b){bridge=docker0} -- h2", 1, 7, "the same bridge" },
    } do
      for _, fn in ipairs { lab.new, lab.draw } do
        local ok, e = pcall(fn, case[1])
        assert.is_false(ok)
        assert.is_truthy(e:find(("lab: line %d, column %d: "):format(case[2], case[3]), 1, true), e)
        assert.is_truthy(e:find(case[4], 1, true) and e:find "\n[ \t]+%^$", e)
      end
    end
    -- a table has no lines
    assert.is_truthy(select(2, pcall(lab.new, { links = { { "a", "b", mtu = 1000 } } })):find "lab: link 1 %(a%-%-b%): IPv6 needs")
  end)

  it("has its mistakes pointed at behind tabs and letters of several bytes too", function()
    local text = "a -- b\r\n\th1 --name \"ä\"\t, 10xs-- h2\r\n"
    local e = select(2, pcall(lab.topology, text))
    local line = '        h1 --name "ä"   , 10xs-- h2'
    assert.equal(line, e:match "\n  ([^\n]*)\n")
    assert.is_truthy(e:find("line 2, column 18: ", 1, true), e)
    assert.equal(utf8.len(line:match "^(.-)10xs"), #e:match "\n  ([^\n]*)%^$", e)
    assert.is_nil(e:find "[\t\r]")
  end)

  it("has braces behind a bracket too", function()
    assert.same(of "h1{ipv6=off}[x] -- h2{ipv4=off}[y] -- h3", of "h1[x]{ipv6=off} -- h2 [y] -- h3\nh2{ipv4=off}")
    assert.same(of "a -- b{ipv6=off}\n{seed=7}", of "a -- b{ipv6=off} # c\n{seed=7}")
    assert.same(of "a -- b[x] [y] -- c\nb{ipv6=off}", of "a -- b[x]{ipv6=off}[y] -- c")
  end)

  it("has brackets before a node too: they are of the link before it", function()
    assert.same(of "a[x] -- b[y] [z] -- c", of "[x]a -- [y]b[z] -- c")
  end)

  it("has options of the whole lab in braces of their own, and what has blanks and commas between quotes", function()
    local t = of [[
      {seed=7, ipv6=off, multipath=on}   # "
      a{net.ipv4.ip_local_reserved_ports="80,443", net.ipv4.ip_local_port_range=1000 2000} --name "a, \"b\" -- # }\010", 5ms-- b[dev "x y"]
    ]]
    assert.same({ 7, false, true }, { t.seed, t.ipv6, t.multipath })
    assert.same({ ["net.ipv4.ip_local_reserved_ports"] = "80,443", ["net.ipv4.ip_local_port_range"] = "1000 2000" }, t.nodes[1].sysctl)
    assert.same({ "a", "b", name = 'a, "b" -- # }\n', to = { delay = 0.005 }, from = { delay = 0.005 }, ends = { {}, { dev = "x y" } } }, t.links[1])
  end)

  it("has links without a subnet, and loss in bursts", function()
    assert.is_false(of("a --subnet none-- b").links[1].subnet)
    assert.same({ gemodel = { p = 0.01, r = 0.1, k = 1 } }, of("a --loss gemodel p 1% r 10% k 100%-- b").links[1].to.loss)
    assert.same(of "a --loss gemodel p 1%-- b", lab.topology { links = { { "a", "b", loss = { gemodel = { p = "1%" } } } } })
  end)

  it("is the table that says the same", function()
    assert.same(of "h1 --10ms, >1%-- (sw)[vlan 7]\nsolo", lab.topology { nodes = { "h1", { "sw", kind = "switch" }, "solo" },
      links = { { "h1", "sw", delay = "10ms", to = { loss = "1%" }, ends = { {}, { vlan = 7 } } } } })
    assert.same(of "h1 -- h2", lab.topology { links = { { "h1", "h2" } } })
    assert.same({ "a switch", "b host" }, nodes(lab.topology { nodes = { b = {}, a = { kind = "switch" } }, links = { { "a", "b" } } }))
  end)

  local mistakes = {
    { "h1 -- ", 1, 7, "the link leads nowhere" },
    { "h1 -- h2\nh3 --10xs-- h4", 2, 6, '"10xs" is neither' },
    { "h1 --10ms r1", 1, 6, "the dashes behind what impairs the link are missing" },
    { "h1 -- h1", 1, 4, "a link from h1 to itself" },
    { "(sw -- h1", 1, 1, "the parenthesis is not closed" },
    { "h1 -- r1 r2", 1, 10, "a link expected" },
    { "-- h1", 1, 1, "a link has no node before it" },
    { "h1 [eth0 -- h2", 1, 4, "the bracket is not closed" },
    { "h1 --jiter 2ms-- h2", 1, 6, "did you mean 'jitter'?" },
    { "ä -- b", 1, 1, 'a node expected: h1 or (sw), got "ä"' },
    { "# öä\na --1%, 5-- b", 2, 9, '"5" is neither' },
    { "h1[10] -- h2", 1, 4, "a number is of vlan or trunk" },
    { "h1{ipv6=perhaps} -- h2", 1, 4, "ipv6 is on or off" },
    { "h1{colour=red} -- h2", 1, 4, "unknown option of a node 'colour'" },
    { "h1 -->mtu 5-- h2", 1, 7, "mtu is of both directions" },
    { "h1 --loss 200%-- h2", 1, 6, "200%" },
    { "()", 1, 2, "the name of a switch expected" },
    { "a -- b\nc --jitter 2ms-- d", 2, 3, "jitter needs a delay" },
    { "a --10ms, 20ms-- b", 1, 11, "delay is said twice" },
    { "a -->1%, >2%-- b", 1, 11, "loss is said twice" },
    { "a --10.0.0.1/24-- b", 1, 5, "10.0.0.1/24 is an address in 10.0.0.0/24" },
    { "a --10.0.0.300/24-- b", 1, 5, "is no subnet" },
    { "a[10.0.0.300/24] -- b", 1, 3, "is no address" },
    { "(s)[vlan 9999] -- b", 1, 10, "a VLAN is a number from 1 to 4094" },
    { "(s)[vlan 1 vlan 2] -- b", 1, 12, "vlan is said twice" },
    { "a --mtu 5-- b", 1, 3, "mtu must be 68-65535" },
    { "a{kind=ruter} -- b", 1, 3, "did you mean 'router'?" },
    { "a{kind=host} -- b\n(a) -- c", 2, 1, "a is a host already" },
    { "a -- b[x] [y]", 1, 11, "a bracket is of a link's end" },
    { "[x] a [y] -- b", 1, 1, "a bracket is of a link's end" },
    { "a[x]", 1, 2, "a bracket is of a link's end" },
    { 'a --name "x-- b', 1, 5, "the quotes are not closed" },
    { "a{net.=1} -- b", 1, 3, "unknown option of a node 'net.'" },
    { "{sead=1}\na -- b", 1, 2, "did you mean 'seed'?" },
    { "a --loss gemodel 1%-- b", 1, 5, "loss gemodel p 1%" },
    { "a --seed x-- b", 1, 5, "seed is a whole number" },
    { ("n"):rep(64) .. " -- b", 1, 1, "is no name of a node" },
  }
  for _, case in ipairs(mistakes) do
    it(("has its mistakes pointed at: %q"):format(case[1]), function()
      local ok, e = pcall(of, case[1])
      assert.is_false(ok)
      e = tostring(e)
      assert.is_truthy(e:find(("line %d, column %d: "):format(case[2], case[3]), 1, true), e)
      assert.is_truthy(e:find(case[4], 1, true), e)
      local line = e:match "\n  ([^\n]*)\n"
      local caret = e:match "\n  ( *)%^$"
      assert.is_truthy(line and caret, e)
      assert.equal(case[3], #caret + 1)
      assert.is_truthy(e:find("lab_notation_spec.lua", 1, true), e)
    end)
  end

  for what, case in pairs {
    ["an unknown word"] = { { link = {} }, "unknown key 'link' (did you mean 'links'?)" },
    ["an unknown word of a link"] = { { links = { { "a", "b", dealy = 1 } } }, "did you mean 'delay'?" },
    ["an unknown kind"] = { { nodes = { { "a", kind = "swich" } } }, "did you mean 'switch'?" },
    ["two of one name"] = { { nodes = { "a", "a" } }, 'two nodes are named "a"' },
    ["a name that is none"] = { { nodes = { "a b" } }, '"a b" is no name of a node' },
    ["a link of one end"] = { { links = { { "a" } } }, "a link is between two nodes" },
    ["a jitter without a delay"] = { { links = { { "a", "b", jitter = "1ms" } } }, "jitter needs a delay" },
    ["a number"] = { 5, "a text" },
    ["a number for an address"] = { { links = { { "a", "b", ends = { { address = { 5 } } } } } }, "ends[1]: address: [1] must be string" },
    ["text for a VLAN"] = { { links = { { "a", "b", ends = { { trunk = { "x" } } } } } }, "ends[1]: trunk: [1] must be integer" },
    ["a list that is none"] = { { links = { { "a", "b", subnet = { inet = "10.0.0.0/24" } } } }, "a list expected, got a table with inet" },
    ["an MTU of nothing"] = { { links = { { "a", "b", mtu = -1 } } }, "mtu must be 68-65535" },
    ["a sysctl of the machine's"] = { { nodes = { { "a", sysctl = { ["kernel.hostname"] = "x" } } } }, 'names begin with "net."' },
    ["a name that ends in a dash"] = { { nodes = { "a-" } }, '"a-" is no name of a node' },
  } do
    it("is refused as a table with " .. what, function()
      local ok, e = pcall(lab.topology, case[1])
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(case[2], 1, true), tostring(e))
    end)
  end
end)

describe("text and table", function()
  local state

  -- xorshift: the same on every machine and every Lua
  local function random(n)
    state = state ~ (state << 13)
    state = state ~ (state >> 7)
    state = state ~ (state << 17)
    return (state >> 1) % n + 1
  end
  local function one_of(list)
    return list[random(#list)]
  end

  local function some(t, word, values)
    if random(3) == 1 then
      t[word] = one_of(values)
    end
  end

  local function way()
    local t = {}
    some(t, "delay", { 0.01, 1 / 3, 0.000123, 2.5, 1e-9, 0 })
    some(t, "rate", { 1e8, 123456789, 1e9, 56000 })
    some(t, "loss", { 0.01, 1, 0.333, 1e-6, { gemodel = { p = "1%", r = 0.1 } }, { gemodel = { p = 1 / 3, h = 0, k = 1 } } })
    some(t, "seed", { 7, -5, 999999999999999999 })
    some(t, "duplicate", { 0.05 })
    some(t, "limit", { 17 })
    some(t, "limit_bytes", { 65536 })
    some(t, "each_packet", { true })
    if (t.delay or 0) > 0 then
      some(t, "jitter", { 0.002 })
      some(t, "reorder", { 0.25 })
    end
    return random(2) == 1 and next(t) and t or nil
  end

  local function topology()
    local t = { nodes = {}, links = {} }
    some(t, "seed", { 1, -7, math.mininteger })
    some(t, "ipv4", { true, false })
    some(t, "ipv6", { false })
    some(t, "multipath", { true })
    for i = 1, random(6) do
      local node = { one_of { "h", "r", "web-", "x_", "n." } .. i, kind = one_of { "host", "router", "switch" } }
      if node.kind ~= "switch" then
        some(node, "ipv6", { true, false })
        some(node, "sysctl", { { ["net.ipv4.ip_forward"] = "1", ["net.ipv4.conf.all.rp_filter"] = 0 },
          { ["net.ipv4.ip_local_reserved_ports"] = "80,443", ["net.ipv4.tcp_ecn"] = true }, { ["net/ipv4/conf/eth0.10/forwarding"] = ' }"\\\n# ' } })
        some(node, "addresses", { { "10.99.0.1/32", "fd99::1/128" }, false })
        some(node, "serve", { "http", { "dns", "echo:7000", "echo:7001" } })
      end
      t.nodes[i] = node
    end
    for i = 1, #t.nodes > 1 and random(8) or 0 do
      local a = random(#t.nodes)
      local b = (a - 1 + random(#t.nodes - 1)) % #t.nodes + 1
      local link = { t.nodes[a][1], t.nodes[b][1], to = way(), from = way() }
      some(link, "mtu", { 1400, 9000 })
      some(link, "cost", { 5 })
      some(link, "name", { "core", "up-link", "", "a, b -- c # d", '"\\', "\27[31m\0\r\n", "é]})" })
      some(link, "subnet", { false, { "10.7.0.0/24" }, { "10.8.0.0/24", "fd08::/64" } })
      some(link, "ends", { { { dev = "eth5" }, {} }, { {}, { dev = "vlan", address = { "10.7.0.9/24" } } }, { {}, { dev = "5] x" } },
        { { vlan = 10 }, { trunk = { 10, 20 } } },
        { { vlan = { 5, 6 } }, { address = { "fd08::7/64", "10.8.0.7/24" }, vlan = 3, trunk = { 4 } } } })
      t.links[i] = link
    end
    return t
  end

  it("say the same, whichever way they were turned: 500 topologies", function()
    state = 20261126
    for _ = 1, 500 do
      local said = topology()
      local canonical = lab.topology(said)
      local text = lab.text(said)
      local ok, back = pcall(lab.topology, text)
      assert.is_true(ok, text .. "\n" .. tostring(back))
      assert.same(canonical, back, text)
      assert.equal(text, lab.text(back), text)
      assert.same(canonical, lab.topology(canonical))
    end
  end)

  it("are read to their end whatever they are, or refused with a place: 20,000 texts", function()
    state = 4711
    local pieces = { "h1", "r2", "(sw)", "(", ")", "--", "-", "10ms", "1%", ",", "[", "]", "{", "}", "=", "vlan", "10", "\n", " ", "#", ">", "<", "±",
      '"', '\\', '"x"', "{seed=1}", "loss gemodel p 1%", "subnet none", "10.0.0.0/24", "10.0.0.1/24", "fd00::/64", "mtu", "name",
      "\0", "\xff", "é", "kind", "ipv4=on", "each_packet", "+-", "/", ".", "_",
      "--10ms--", "999999999999999999999" }
    for _ = 1, 20000 do
      local parts = {}
      for i = 1, random(14) do
        parts[i] = one_of(pieces)
      end
      local text = table.concat(parts)
      local ok, e = pcall(notation.read, text)
      assert.is_true(ok or tostring(e):find "lab: line %d+, column %d+: .+\n.*\n.*%^$" ~= nil, ("%q: %s"):format(text, tostring(e)))
      if ok then
        local fine, why = pcall(lab.topology, text)
        assert.is_true(fine or tostring(why):find "lab: " ~= nil or tostring(why):find "lab%[" ~= nil, ("%q: %s"):format(text, tostring(why)))
      end
    end
  end)
end)
