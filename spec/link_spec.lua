-- Links: what nslua makes ip(8) shows, and what ip(8) makes nslua reads.

local errors = require "nslua.error"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

describe("links", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a, b
  local has_tun = rtnl.has_tun()

  before_each(function()
    a, b = rtnl.netns "a", rtnl.netns "b"
  end)
  after_each(rtnl.close)

  local function shown(handle, name)
    return rtnl.ip(handle, "link show dev " .. name)[1]
  end

  -- every field that both have, in ip's words
  local function same(handle, row)
    local ip = shown(handle, row.name)
    local plain = { ifindex = "index", ifname = "name", mtu = "mtu", txqlen = "txqlen", address = "address", broadcast = "broadcast",
      qdisc = "qdisc", master = "master", promiscuity = "promiscuity", allmulti = "allmulti", min_mtu = "min_mtu", max_mtu = "max_mtu",
      num_tx_queues = "num_tx_queues", num_rx_queues = "num_rx_queues", gso_max_size = "gso_max_size", gso_max_segs = "gso_max_segs",
      gro_max_size = "gro_max_size", tso_max_size = "tso_max_size", tso_max_segs = "tso_max_segs", link_netnsid = "link_netnsid",
      ifalias = "alias", inet6_addr_gen_mode = "addrgenmode", altnames = "altnames", link_type = "link_type" }
    for theirs, ours in pairs(plain) do
      assert.same(ip[theirs] or theirs == "txqlen" and 0 or nil, row[ours], theirs) -- ip leaves out a txqlen of 0
    end
    -- it follows the carrier by a work queue: what did not move around ip's look must be what ip saw
    local before, after = handle.link:get(row.index), handle.link:get(row.index)
    if before.operstate == row.operstate and after.operstate == row.operstate then
      local again = shown(handle, row.name).operstate:lower()
      assert.is_true(again == row.operstate or again == handle.link:get(row.index).operstate)
    end
    assert.equal(ip.linkmode:lower(), row.linkmode)
    if ip.link then
      assert.equal(ip.link, row.link)
    end
    local up = false
    for _, flag in ipairs(ip.flags) do
      up = up or flag == "UP"
    end
    assert.equal(up, row.up)
    local info = ip.linkinfo
    if not info then
      assert.is_nil(row.kind)
      return
    end
    assert.equal(info.info_kind, row.kind == "tap" and "tun" or row.kind)
    local hundredths = { forward_delay = 1, hello_time = 1, max_age = 1, ageing_time = 1 }
    local function compare(theirs, ours, skip)
      for key, value in pairs(theirs or {}) do
        local own = ours[({ local6 = "local_", remote6 = "remote", group6 = "group" })[key] or key]
        if not skip[key] then
          if key:find "_id$" and type(value) == "string" then
            own = own:gsub("([.:])0(%x)", "%1%2") -- ip(8) leaves out the zeros
          end
          if type(own) == "boolean" and type(value) == "number" then
            own = own and 1 or 0
          elseif (hundredths[key] or key:find "_intvl$") and skip.hundredths then
            own = own * 100
          elseif type(own) == "number" and type(value) == "string" then
            value = tonumber(value) or value
          end
          if key == "macaddr_data" then
            table.sort(value)
            table.sort(own)
          end
          assert.same(value, own, key)
        end
      end
    end
    compare(info.info_data, row[row.kind], { hundredths = row.kind == "bridge", flags = true, type = true, ["local"] = true, link = true,
      user = true, group = row.kind == "tap", gc_timer = true, hello_timer = true })
    compare(info.info_slave_data, row.port, { state = true, group_fwd_mask = true,
      group_fwd_mask_str = true, id = true, no = true, multicast_router = true,
      hold_timer = true, message_age_timer = true, forward_delay_timer = true, topology_change_ack = true, config_pending = true })
  end

  it("of every kind this kernel has read as ip shows them", function()
    for _, command in ipairs {
      "link add name v0 type veth peer name v1", "link add name br0 type bridge", "link add name ifb0 type ifb",
      "link add name vx0 type vxlan id 42 dstport 4789 dev v0 group 239.1.1.1 ttl 5 ageing 120 nolearning",
      "link add name vx1 type vxlan id 43 dstport 4790 local 10.0.0.1 remote 10.0.0.2 udpcsum tos 3 srcport 1000 2000",
      "link add name vx6 type vxlan id 44 dstport 4791 local 2001:db8::1 remote 2001:db8::2 udp6zerocsumrx df set",
      "link add link v0 name mv0 type macvlan mode bridge", "link add link v0 name mt0 type macvtap mode private",
      "tuntap add dev tun0 mode tun", "tuntap add dev tap0 mode tap user 0 group 0 vnet_hdr multi_queue",
      "link set v1 master br0 up", "link set br0 up mtu 1400 alias 'the switch' group 7", "link property add dev v0 altname another-name-of-v0",
      "link set v1 type bridge_slave cost 9 priority 5 hairpin on isolated on",
      "link set br0 type bridge forward_delay 400 stp_state 1 ageing_time 6000 priority 4096 mcast_querier 1",
    } do
      if has_tun or not command:find "^tuntap" then
        rtnl.set(a, command)
      end
    end
    local rows = a.link:list()
    assert.equal(#rtnl.ip(a, "link"), #rows)
    for _, row in ipairs(rows) do
      if row.name ~= "br0" then -- ip(8) says "group": "mygroup" by name where it has one
        assert.equal(0, row.group)
      end
      same(a, row)
    end
    local br0 = a.link:get "br0"
    assert.equal(7, br0.group)
    assert.same({ 4, 60, true, true }, { br0.bridge.forward_delay, br0.bridge.ageing_time, br0.bridge.stp_state, br0.bridge.mcast_querier })
    assert.equal("8000", rtnl.ip(a, "link show br0")[1].linkinfo.info_data.priority == 4096 and "8000")
    local vx = a.link:get "vx1".vxlan
    assert.same({ 43, 4790, "10.0.0.1", "10.0.0.2" }, { vx.id, vx.port, vx.local_, vx.remote })
    assert.same({ low = 1000, high = 2000 }, vx.port_range)
    assert.equal("v0", a.link:get "vx0".vxlan.dev)
    assert.equal("239.1.1.1", a.link:get "vx0".vxlan.group)
    assert.equal("2001:db8::1", a.link:get "vx6".vxlan.local_)
    assert.same({ 9, 5, true, true }, (function(p) return { p.cost, p.priority, p.hairpin, p.isolated } end)(a.link:get "v1".port))
    assert.equal("v0", a.link:get("another-name-of-v0").name)
    if not has_tun then
      return
    end
    assert.same({ "tun", "tap" }, { a.link:get "tun0".kind, a.link:get "tap0".kind })
    -- ids are told as this process's user namespace has them
    local user, group = tonumber((helper.sh "id -u")), tonumber((helper.sh "id -g"))
    assert.same({ true, true, user, group }, (function(t) return { t.vnet_hdr, t.multi_queue, t.user, t.group } end)(a.link:get "tap0".tap))
  end)

  it("that nslua makes are shown by ip as they read", function()
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1", mtu = 1400, address = "02:00:00:00:00:02" }, mtu = 1300, txqlen = 77,
      address = "02:00:00:00:00:01", num_tx_queues = 1, num_rx_queues = 1, group = 3, alias = "one end", altnames = { "a-long-name-of-the-end" } }
    a.link:add { name = "br0", kind = "bridge", up = true, bridge = { forward_delay = 5, hello_time = "1s", max_age = 12, ageing_time = 90,
      stp_state = true, priority = 8192, group_fwd_mask = 8, mcast_snooping = false,
      no_linklocal_learn = true, mcast_query_intvl = 100 } }
    a.link:add { name = "ifb0", kind = "ifb", up = true }
    a.link:add { name = "vx0", kind = "vxlan", vxlan = { id = 42, port = 4789, group = "239.1.1.1", dev = "v0", ttl = 9, tos = 4, learning = false,
      ageing = "2m", limit = 99, proxy = true, rsc = true, l2miss = true, l3miss = true, port_range = { low = 1000, high = 2000 }, udp_csum = true } }
    a.link:add { name = "vx6", kind = "vxlan", vxlan = { id = 43, port = 4790, remote = "2001:db8::2", local_ = "2001:db8::1", df = "inherit",
      udp_zero_csum6_tx = true, udp_zero_csum6_rx = true, gbp = true } }
    a.link:add { name = "vxe", kind = "vxlan", vxlan = { port = 4791, external = true } }
    a.link:add { name = "mv0", kind = "macvlan", link = "v0", macvlan = { mode = "bridge", bcqueuelen = 500 } }
    a.link:add { name = "mv1", kind = "macvlan", link = "v0", macvlan = { mode = "source", macaddr_mode = "set",
      macaddr_data = { "02:00:00:00:01:01", "02:00:00:00:01:02" } } }
    a.link:add { name = "mt0", kind = "macvtap", link = "v0", macvtap = { mode = "vepa" } }
    if has_tun then
      a.link:add { name = "tun0", kind = "tun", tun = { pi = true }, up = true }
      a.link:add { name = "tap0", kind = "tap", tap = { vnet_hdr = true, multi_queue = true, user = 0, group = 0 }, mtu = 1234 }
    end
    a.link:change("v1", { master = "br0", up = true, port = { cost = 5, priority = 3, hairpin = true, learning = false, isolated = true,
      mcast_to_unicast = true, guard = true } })
    for _, row in ipairs(a.link:list()) do
      same(a, row)
    end
    local v0 = shown(a, "v0")
    assert.same({ 1300, 77, "02:00:00:00:00:01", "3", "one end" }, { v0.mtu, v0.txqlen, v0.address, v0.group, v0.ifalias })
    assert.same({ "a-long-name-of-the-end" }, v0.altnames)
    local bridge = shown(a, "br0").linkinfo.info_data
    assert.same({ 500, 100, 1200, 9000, 1, 8192, 0, 1, 10000 }, { bridge.forward_delay, bridge.hello_time, bridge.max_age, bridge.ageing_time,
      bridge.stp_state, bridge.priority, bridge.mcast_snooping, bridge.no_linklocal_learn, bridge.mcast_query_intvl })
    local vx = shown(a, "vx0").linkinfo.info_data
    assert.same({ 42, 4789, "239.1.1.1", "v0", 9, false, 120, 99 }, { vx.id, vx.port, vx.group, vx.link, vx.ttl, vx.learning, vx.ageing, vx.limit })
    assert.same({ "02:00:00:00:01:01", "02:00:00:00:01:02" }, (function(list)
      table.sort(list)
      return list
    end)(a.link:get "mv1".macvlan.macaddr_data))
    local port = shown(a, "v1").linkinfo.info_slave_data
    assert.same({ 5, 3, true, false, true, true }, { port.cost, port.priority, port.hairpin, port.learning, port.isolated, port.guard })
    if has_tun then
      assert.is_true(shown(a, "tun0").linkinfo.info_data.pi)
    end
  end)

  it("have the options a kernel may be built without", function()
    a.link:add { name = "br0", kind = "bridge" }
    for option, value in pairs { vlan_filtering = true, vlan_protocol = "802.1ad", nf_call_iptables = true, vlan_default_pvid = 7 } do
      local words = { bridge = { [option] = value } }
      local ok, e = pcall(a.link.change, a.link, "br0", words)
      if ok then
        local read = a.link:get "br0".bridge[option]
        assert.is_true(read == value or read == nil, option) -- nil: taken, and not there
      else
        assert.is_true(errors.is(e, "EOPNOTSUPP") or errors.is(e, "EINVAL"), tostring(e))
        assert.is_nil(e.hint)
      end
    end
  end)

  it("are born with both ends in their namespaces, whoever asks", function()
    local c = rtnl.netns "c"
    -- asked in c, which keeps nothing of it
    local row = c.link:add { name = "left", kind = "veth", netns = a, peer = { name = "right", netns = b, up = true }, up = true }
    assert.equal("left", row.name)
    assert.equal(a, require("nslua.schema").rowset(row).handle)
    assert.same({}, c.link:list { kind = "veth" })
    assert.is_true(a.link:get "left".up)
    assert.is_true(b.link:get "right".up)
    assert.equal(a.link:get "left".index, b.link:get "right".link_index)
    assert.is_nil(a.link:get "left".link)
    assert.equal(0, a.link:get "left".link_netnsid)
    -- what the kernel does not take at birth
    a.link:add { name = "x", kind = "veth", peer = { netns = b, alias = "far", mtu = 1400, arp = false } }
    local far = b.link:list { alias = "far" }[1]
    assert.same({ 1400, true }, { far.mtu, far.flags.noarp })
  end)

  it("take a namespace by name, pid or path", function()
    if not helper.is_root() then
      return pending "names of namespaces take root"
    end
    local name = "nslua-link-spec"
    helper.sh("ip netns del " .. name)
    local named = ns.netns.add(name)
    finally(function()
      ns.netns.delete(name)
      named:close()
    end)
    a.link:add { name = "v0", kind = "veth", peer = { name = "w0", netns = name } }
    assert.is_truthy(named.link:get "w0")
    a.link:add { name = "v1", kind = "veth", peer = { name = "w1", netns = "/run/netns/" .. name } }
    assert.is_truthy(named.link:get "w1")
    a.link:add { name = "v2", kind = "veth" }
    a.link:change("v2", { netns = name })
    assert.is_nil(a.link:get "v2")
    assert.is_truthy(named.link:get "v2")
  end)

  it("change, are renamed, move, and lose what false takes away", function()
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" } }
    a.link:add { name = "br0", kind = "bridge" }
    a.link:change("v0", { mtu = 1400, address = "02:00:00:00:00:09", master = "br0", alias = "x", txqlen = 0, up = true, promisc = true })
    local row = a.link:get "v0"
    assert.same({ 1400, "02:00:00:00:00:09", "br0", "x", 0, true, true },
      { row.mtu, row.address, row.master, row.alias, row.txqlen, row.up, row.flags.promisc })
    same(a, row)
    a.link:change(row, { master = false, alias = false, up = false, promisc = false })
    row = a.link:get(row.index)
    assert.same({ false, false }, { row.up, row.flags.promisc or false })
    assert.is_nil(row.master)
    assert.is_nil(row.alias)
    a.link:change("v0", { name = "renamed", altnames = { "one", "a-name-longer-than-15" }, group = 9 })
    assert.is_nil(a.link:get "v0")
    assert.equal("renamed", a.link:get "a-name-longer-than-15".name)
    a.link:change("renamed", { altnames = { "two" } })
    assert.same({ "two" }, a.link:get "renamed".altnames)
    assert.equal("renamed", a.link:get "two".name)
    a.link:change("two", { altnames = false, addrgenmode = "none" })
    assert.is_nil(a.link:get "renamed".altnames)
    assert.equal("none", shown(a, "renamed").inet6_addr_gen_mode)
    a.link:add { name = "vx", kind = "vxlan", vxlan = { id = 5, port = 4789, dev = "renamed", group = "239.0.0.1" } }
    a.link:change("vx", { vxlan = { ageing = 77 } })
    assert.same({ 77, 5 }, { a.link:get "vx".vxlan.ageing, a.link:get "vx".vxlan.id })
    a.link:change({ group = 9 }, { up = true })
    assert.is_true(a.link:get "renamed".up)
    a.link:change("renamed", { netns = b })
    assert.is_truthy(b.link:get "renamed")
  end)

  it("go one by one, by row, by index, by group", function()
    for i = 1, 4 do
      a.link:add { name = "v" .. i, kind = "veth", group = i > 2 and 7 or 0 }
    end
    a.link:delete "v1"
    a.link:delete(a.link:get "v2")
    a.link:delete { group = 7 }
    assert.same({}, a.link:list { kind = "veth" })
    a.link:delete("v1", { absent = "ok" })
    local ok, e = pcall(a.link.delete, a.link, "v1")
    assert.is_true(not ok and errors.is(e, "ENODEV"))
  end)

  it("are ensured and replaced", function()
    local first = a.link:ensure { name = "br0", kind = "bridge", up = true, bridge = { forward_delay = 3 } }
    local again = a.link:ensure { name = "br0", kind = "bridge", up = true, bridge = { forward_delay = 3 } }
    assert.is_true(first == again)
    assert.equal(3, again.bridge.forward_delay)
    local other = a.link:ensure { name = "br0", kind = "bridge", mtu = 1400, bridge = { forward_delay = 4, hello_time = 1 } }
    assert.same({ 1400, 4, first.index, true }, { other.mtu, other.bridge.forward_delay, other.index, other.up })
    local ok, e = pcall(a.link.ensure, a.link, { name = "br0", kind = "ifb" })
    assert.is_true(not ok and errors.is(e, "EEXIST"))
    local replaced = a.link:replace { name = "br0", kind = "ifb", mtu = 1300 }
    assert.same({ "ifb", 1300 }, { replaced.kind, replaced.mtu })
    assert.equal(replaced.index, a.link:replace { name = "br0", kind = "ifb", mtu = 1200 }.index)
    assert.equal("ifb", a.link:ensure { name = "new", kind = "ifb" }.kind)
    -- a port's options
    a.link:add { name = "sw", kind = "bridge" }
    local port = a.link:ensure { name = "p0", kind = "veth", master = "sw", port = { cost = 4 } }
    assert.same({ "sw", 4 }, { port.master, port.port.cost })
    assert.is_true(port == a.link:ensure { name = "p0", kind = "veth", master = "sw", port = { cost = 4 } })
  end)

  it("are found by filters", function()
    a.link:add { name = "br0", kind = "bridge", up = true }
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" }, master = "br0", mtu = 1400 }
    if not has_tun then
      return pending "/dev/net/tun is not ours"
    end
    a.link:add { name = "t0", kind = "tap" }
    a.link:add { name = "t1", kind = "tun" }
    local function names(filter)
      local out = {}
      for row in a.link:each(filter) do
        out[#out + 1] = row.name
      end
      local list = {}
      for i, row in ipairs(a.link:list(filter)) do
        list[i] = row.name
      end
      assert.same(list, out)
      table.sort(out)
      return table.concat(out, " ")
    end
    assert.equal("br0 lo t0 t1 v0 v1", names())
    assert.equal("v0 v1", names { kind = "veth" })
    assert.equal("v0", names { master = "br0" })
    assert.equal("br0 lo t0 t1 v1", names { master = false })
    assert.equal("lo", names { kind = false })
    assert.equal("t0", names { kind = "tap" })
    assert.equal("t1", names { kind = "tun" })
    assert.equal("v0", names { mtu = 1400, kind = "veth" })
    assert.equal("br0 lo", names { up = true })
    assert.equal("br0", names { bridge = { stp_state = false } })
    assert.equal("", names { kind = "nothing-like-that" })
    assert.has_error(function()
      a.link:list { nmae = "x" }
    end)
  end)

  it("of a kind this kernel may lack are written as they read", function()
    local words = { id = 5, protocol = "802.1ad", gvrp = true, reorder_hdr = false, egress_qos = { { 1, 2 }, { 3, 4 } } }
    local ok, e = pcall(a.link.add, a.link, { name = "v5", kind = "vlan", link = "lo", vlan = words })
    if not ok then
      assert.is_true(errors.is(e, "EOPNOTSUPP"))
    end
    local kinds, link = require "nslua.rtnl.kind", require "nslua.rtnl.link"
    local data = kinds.write("link.add", kinds.kinds.vlan, words, nil, a)
    local row = link.schema:row(link.schema:encode { linkinfo = { kind = "vlan", data = data } }, link.class, { handle = a })
    assert.equal("vlan", row.kind)
    assert.same({ id = 5, protocol = "802.1ad", gvrp = true, mvrp = false, reorder_hdr = false, loose_binding = false, bridge_binding = false,
      egress_qos = { { from = 1, to = 2 }, { from = 3, to = 4 } } }, row.vlan)
  end)

  it("keep nothing half made", function()
    local state = #a.link:list()
    local ok, e = pcall(a.link.add, a.link, { name = "v0", kind = "veth", peer = { name = "w0", netns = b, master = "nothing" } })
    assert.is_true(not ok and errors.is(e, "ENODEV"))
    assert.equal(state, #a.link:list())
    assert.is_nil(b.link:get "w0")
    assert.is_false((pcall(a.link.add, a.link, { name = "t0", kind = "tap", mtu = 1 })))
    assert.is_nil(a.link:get "t0")
  end)

  it("read after a rename and a delete as they were: rows are values", function()
    local row = a.link:add { name = "v0", kind = "veth" }
    a.link:delete "v0"
    assert.same({ "v0", "veth" }, { row.name, row.kind })
  end)

  it("of each live until the next step", function()
    local kept
    for row in a.link:each() do
      kept = row
    end
    assert.has_error(function()
      return kept.name
    end)
  end)

  it("of a kind declared in a script work like the others", function()
    if not rtnl.has_kind "ifb" then
      return pending "no ifb in this kernel"
    end
    -- what the kernel calls geneve, if it has it; declared here, with nothing of nslua's own changed
    ns.netlink.kind { kind = "geneve", header = "linux/if_link.h", prefix = "IFLA_GENEVE_", attributes = [[
      1  ID      id      u32
      2  REMOTE  remote  ip4
      5  PORT    port    be16
    ]] }
    assert.is_nil(a.link:get "lo".geneve)
    if rtnl.has_kind "geneve id 3 remote 10.0.0.2" then
      assert.equal(42, a.link:add { name = "g0", kind = "geneve", geneve = { id = 42, remote = "10.0.0.2" } }.geneve.id)
    else
      local ok, e = pcall(a.link.add, a.link, { name = "g0", kind = "geneve", geneve = { id = 42, remote = "10.0.0.2" } })
      assert.is_true(not ok and errors.is(e, "EOPNOTSUPP"))
    end
  end)
end)
