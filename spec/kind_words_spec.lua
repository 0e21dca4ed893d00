-- Words that all links have: namespaces, names, limits, flags, sysctls; what ip(8) sends for the same; and kinds of newer kernels, whose bytes
-- Debian's ip(8) does not know.

local errors = require "nslua.error"
local helper = require "spec.helper"
local kind = require "nslua.rtnl.kind"
local kinds = require "spec.kinds"
local link = require "nslua.rtnl.link"
local ns = require "nslua"
local pack = require "spec.pack"
local rtnl = require "spec.rtnl_helper"

describe("words of links", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  local a, b

  before_each(function()
    a, b = rtnl.netns "a", rtnl.netns "b"
  end)
  after_each(rtnl.close)

  local function fails(fn, ...)
    local ok, e = pcall(fn, ...)
    assert.is_false(ok)
    return tostring(e)
  end

  it("are sent as ip(8) sends them", function()
    local trace = kinds.cannot_trace()
    if trace then
      return pending(trace)
    end
    a.link:add { name = "br0", kind = "bridge" }
    for _, case in ipairs {
      { "address 02:00:00:00:00:01 mtu 1400 txqueuelen 9 numtxqueues 2 numrxqueues 3",
        { address = "02:00:00:00:00:01", mtu = 1400, txqueuelen = 9, numtxqueues = 2, numrxqueues = 3 } },
      { "index 77 gso_max_size 60000 gso_max_segs 60 gro_max_size 65000", { index = 77, gso_max_size = 60000, gso_max_segs = 60,
        gro_max_size = 65000 } },
      { "broadcast ff:ff:ff:ff:ff:fe", { broadcast = "ff:ff:ff:ff:ff:fe" } },
    } do
      local words = { name = "x0", kind = "ifb" }
      for key, value in pairs(case[2]) do
        words[key] = value
      end
      kinds.same_bytes(kinds.sent(a, ("link add name x0 %s type ifb"):format(case[1])), kinds.payload(a, words), case[1])
    end
    -- of a link that is there
    local index = a.link:get "br0".index
    local linkwords = require "nslua.rtnl.linkwords"
    for _, case in ipairs {
      { "up", { up = true } }, { "down", { up = false } }, { "promisc on", { promisc = true } }, { "promisc off", { promisc = false } },
      { "allmulticast on", { allmulticast = true } }, { "multicast off", { multicast = false } }, { "arp off", { arp = false } },
      { "arp on", { arp = true } }, { "dynamic on", { dynamic = true } }, { "trailers off", { trailers = false } },
      { "group 7", { group = 7 } }, { "group default", { group = "default" } }, { "alias 'some words'", { alias = "some words" } },
      { "alias ''", { alias = false } }, { "nomaster", { master = false } }, { "mtu 1234", { mtu = 1234 } },
      { "state dormant", { operstate = "dormant" } }, { "mode dormant", { linkmode = "dormant" } }, { "carrier off", { carrier = false } },
      { "addrgenmode none", { addrgenmode = "none" } }, { "addrgenmode stable_secret", { addrgenmode = "stable_privacy" } },
      { "protodown on", { protodown = true } }, { "up multicast off", { up = true, multicast = false } }, { "txqueuelen 5", { txqlen = 5 } },
      { "gso_max_size 60000", { gso_max_size = 60000 } }, { "protodown_reason 3 on", { protodown_reason = { mask = 8, value = 8 } } },
    } do
      local message = linkwords.request("link.change", case[2], a, true).message
      message.index = index
      kinds.same_bytes(kinds.sent(a, "link set dev br0 " .. case[1]), link.schema:encode(message), case[1])
    end
    kinds.same_bytes(kinds.sent(a, "link property add dev br0 altname one altname two", 108),
      link.schema:encode { index = index, prop_list = { altnames = { "one", "two" } } }, "altnames")
  end)

  it("say what ip(8) reads", function()
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" }, numtxqueues = 2, numrxqueues = 3, group = "default", gso_max_segs = 99,
      gso_max_size = 60000, gro_max_size = 65000, arp = false, altnames = { "one", "two" }, alias = "x" }
    a.link:change("v0", { promisc = true, allmulticast = true, multicast = false, txqlen = 7, addrgenmode = "random", mtu = 1400 })
    local shown, row = rtnl.ip(a, "-s link show dev v0")[1], a.link:get "v0"
    assert.same({ 2, 3, "default", 99, 60000, 65000, 7, "random", 1400, "x" }, { shown.num_tx_queues, shown.num_rx_queues, shown.group,
      shown.gso_max_segs, shown.gso_max_size, shown.gro_max_size, shown.txqlen, shown.inet6_addr_gen_mode, shown.mtu, shown.ifalias })
    assert.same({ 2, 3, 0, 99, 60000, 65000, 7, "random", 1400, "x" }, { row.num_tx_queues, row.num_rx_queues, row.group,
      row.gso_max_segs, row.gso_max_size, row.gro_max_size, row.txqlen, row.addrgenmode, row.mtu, row.alias })
    assert.same(shown.altnames, row.altnames)
    local flags = {}
    for _, flag in ipairs(shown.flags) do
      flags[flag:lower():gsub("-", "_")] = true
    end
    flags.no_carrier = nil
    for flag in pairs(flags) do
      assert.is_true(row.flags[flag == "m_down" and "up" or flag] or flag == "m_down", flag)
    end
    assert.is_true(row.flags.promisc and row.flags.allmulti and row.flags.noarp)
    assert.is_nil(row.flags.multicast)
    assert.same({ shown.stats64.rx.packets, shown.stats64.tx.bytes, shown.stats64.rx.dropped },
      { row.stats.rx_packets, row.stats.tx_bytes, row.stats.rx_dropped })
    assert.same({ shown.promiscuity, shown.allmulti, shown.min_mtu, shown.max_mtu }, { row.promiscuity, row.allmulti, row.min_mtu, row.max_mtu })
    assert.is_true(row.carrier_changes >= 0 and row.carrier_up_count + row.carrier_down_count == row.carrier_changes)
    -- set is found: ensure changes nothing, filters find
    local same = { name = "v0", numtxqueues = 2, promisc = true, arp = false, multicast = false, group = "default", txqueuelen = 7 }
    assert.is_true(a.link:ensure(same) == row)
    assert.equal("v0", a.link:list { group = "default", kind = "veth", promisc = true }[1].name)
    a.link:change("v0", { altnames = { "two", "three" }, alias = false, arp = true, promisc = false })
    row = a.link:get "three"
    assert.same({ "v0", nil, false }, { row.name, row.alias, row.flags.noarp or false })
    local names = row.altnames
    table.sort(names)
    assert.same({ "three", "two" }, names)
    a.link:change("v0", { altnames = false })
    assert.is_nil(a.link:get "v0".altnames)
  end)

  it("have the sysctls of the link as /proc has them", function()
    a.link:add { name = "v0", kind = "veth", up = true }
    a:sysctl("net.ipv4.conf.v0.forwarding", 1)
    a:sysctl("net.ipv4.conf.v0.rp_filter", 2)
    a:sysctl("net.ipv6.conf.v0.accept_ra", 0)
    a:sysctl("net.ipv6.conf.v0.hop_limit", 77)
    local spec = a.link:get "v0".af_spec
    assert.same({ 1, 2, 0, 77 }, { spec.inet.conf.forwarding, spec.inet.conf.rp_filter, spec.inet6.conf.accept_ra, spec.inet6.conf.hoplimit })
    local checked = 0
    local seconds = { -- kept in ticks or milliseconds
      router = true, force_mld_version = true }
    for word, value in pairs(spec.inet.conf) do
      local name = ({ arpfilter = "arp_filter", noxfrm = "disable_xfrm", nopolicy = "disable_policy" })[word] or word
      local ok, text = pcall(a.sysctl, a, "net.ipv4.conf.v0." .. name)
      if ok and not name:find "interval" and not seconds[name] then
        assert.equal(tonumber(text), value, name)
        checked = checked + 1
      end
    end
    assert.is_true(checked > 25, tostring(checked))
  end)

  it("put a link beside a lower link of another namespace", function()
    b.link:add { name = "low", kind = "veth", peer = { name = "far" } }
    -- macvlan's lower link is in b, itself in a
    local row = a.link:add { name = "mv0", kind = "macvlan", link = "low", link_netns = b, macvlan = { mode = "bridge" } }
    assert.same({ "mv0", "macvlan", b.link:get "low".index }, { row.name, row.kind, row.link_index })
    assert.equal(a:nsid_of(b), row.link_netnsid)
    assert.is_nil(row.link)
    assert.is_true(a.link:ensure { name = "mv0", kind = "macvlan", link_netns = b, macvlan = { mode = "bridge" } } == row)
    -- vxlan's lower link is its own option
    a.link:add { name = "low", kind = "veth" } -- another index, the same name
    row = a.link:add { name = "vx0", kind = "vxlan", link_netns = b, vxlan = { id = 7, port = 4789, dev = "low", group = "239.1.1.1" } }
    assert.same({ b.link:get "low".index, a:nsid_of(b) }, { row.vxlan.dev, row.link_netnsid })
    assert.matches("link_netns is for a new link", fails(a.link.change, a.link, "vx0", { link_netns = b }))
  end)

  it("of a kind that is changed as a whole keep what was not said", function()
    -- what the kernel would be sent, from what it said before
    local gre = kind.kinds.gre
    local now = { dev_index = 3, iflags = 0x3000, oflags = 0x2000, ikey = 1, okey = 2, local_ = "10.0.0.1", remote = "10.0.0.2", ttl = 5,
      pmtudisc = true, encap_flags = 2, encap = "none" }
    local data = kind.write("link.change", gre, { okey = false, icsum = true, encap_csum = true, ttl = 6 }, nil, a, now)
    assert.same({ dev_index = 3, iflags = 0xb000, oflags = 0, ikey = 1, okey = 0, local_ = "10.0.0.1", remote = "10.0.0.2", ttl = 6, pmtudisc = true,
      encap_flags = 3, encap = "none" }, data)
    local tnl = kind.kinds.ip6tnl
    data = kind.write("link.change", tnl, { tclass = 1, encaplimit = 5, dscp = false }, nil, a,
      { flags = 0x13, flowinfo = 0x012345, encap_limit = 0, hoplimit = 9 })
    assert.same({ flags = 0, flowinfo = 0x112345, encap_limit = 5, hoplimit = 9 }, data)
  end)

  it("that are newer than ip(8) are numbered as in the kernel's headers", function()
    local u8, u32 = function(n) return pack("<I1", n) end, function(n) return pack("<I4", n) end
    for _, case in ipairs {
      { "netkit", { mode = "l2", policy = "blackhole", peer_policy = "forward", scrub = "none", peer_scrub = "default", headroom = 5, tailroom = 6 },
        { [3] = u32(2), [4] = u32(0), [5] = u32(0), [6] = u32(0), [7] = u32(1), [8] = pack("<I2", 5), [9] = pack("<I2", 6) } },
      { "vxlan", { localbypass = false, label_policy = "inherit", mcroute = true, reserved_bits = { flags = 1, vni = 0 } },
        { [31] = u8(0), [32] = u32(1), [33] = "\0\0\0\1\0\0\0\0", [34] = u8(1) } },
      { "geneve", { port_range = { low = 1, high = 2 }, local_ = "10.0.0.1", gro_hint = true }, { [15] = "\0\1\0\2", [16] = "",
        [17] = "\10\0\0\1" } },
      { "bridge", { fdb_max_learned = 9, stp_mode = "user", mst_enabled = true, fdb_local_vlan_0 = false },
        { [49] = u32(9), [50] = u32(1), [46] = u32(4) .. u32(20) } },
      { "bond", { broadcast_neighbor = true, coupled_control = false, lacp_strict = true }, { [33] = u8(1), [32] = u8(0), [34] = u8(1) } },
      { "macvlan", { bclim = -1 }, { [9] = "\255\255\255\255" } },
      { "hsr", { interlink = 5 }, { [8] = u32(5) } },
    } do
      local name, options, numbers = case[1], case[2], case[3]
      local raw = {}
      for id, bytes in pairs(numbers) do
        raw["#" .. id] = bytes
      end
      local data = kind.write("link.add", kind.kinds[name], options, require("nslua.rtnl.device").index, a)
      local S = link.schema or require("nslua.rtnl.verbs").schema(link)
      kinds.same_bytes(S:encode { linkinfo = { kind = name, data = raw } }, S:encode { linkinfo = { kind = name, data = data } }, name)
      -- and read as they were written
      local row = S:row(S:encode { linkinfo = { kind = name, data = raw } }, link.class, { handle = a })
      for word, value in pairs(options) do
        assert.same(value, row[name][word], name .. "." .. word)
      end
    end
    -- the other end of a netkit is a link's own words, in its namespace
    local request = require("nslua.rtnl.linkwords").request("link.add", { name = "nk0", kind = "netkit", netkit = { mode = "l3" },
      peer = { name = "nk1", netns = b, mtu = 1400, up = true } }, a, false)
    local data = request.message.linkinfo.data
    assert.same({ "l3", "nk1", 1400, b.fd:number() }, { data.mode, data.peer.name, data.peer.mtu, data.peer.netns_fd })
    assert.same({ up = true }, request.peer_late)
    local ok, e = pcall(a.link.add, a.link, { name = "nk0", kind = "netkit", netkit = { policy = "blackhole" }, peer = { name = "nk1", netns = b } })
    if not ok then
      assert.is_true(errors.is(e, "EOPNOTSUPP"), tostring(e))
      return pending "this kernel has no netkit"
    end
    local row = e
    assert.same({ "netkit", "blackhole", "forward" }, { row.kind, row.netkit.policy, row.netkit.peer_policy })
    assert.equal(row.index, b.link:get "nk1".link_index)
    a.link:change("nk0", { netkit = { policy = "forward" } })
    assert.equal("forward", a.link:get "nk0".netkit.policy)
  end)

  it("of ports are read and changed", function()
    a.link:add { name = "br0", kind = "bridge" }
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" }, master = "br0", port = { cost = 5, backup_port = false } }
    a.link:change("v1", { master = "br0" })
    a.link:change("v0", { port = { backup_port = "v1" } })
    assert.same({ 5, "v1" }, { a.link:get "v0".port.cost, a.link:get "v0".port.backup_port })
    a.link:change("v0", { port = { backup_port = false } })
    assert.is_nil(a.link:get "v0".port.backup_port)
    if not rtnl.has_kind "bond" then
      return pending "this kernel has no bond"
    end
    a.link:add { name = "bond0", kind = "bond", bond = { mode = "active-backup", miimon = 0.1 } }
    a.link:change("v0", { master = "bond0", port = { queue_id = 3, prio = -7 } })
    a.link:change("v1", { master = "bond0" })
    local row = a.link:get "v0"
    assert.same({ "bond0", 3, -7 }, { row.master, row.port.queue_id, row.port.prio })
    a.link:change("bond0", { bond = { primary = "v1" } })
    assert.equal("v1", a.link:get "bond0".bond.primary)
    a.link:change("bond0", { bond = { primary = false } })
    assert.is_nil(a.link:get "bond0".bond.primary)
    assert.equal("bond0", a.link:ensure { name = "v0", master = "bond0", port = { queue_id = 3 } }.master)
  end)

  it("of a vrf name its table", function()
    if not rtnl.has_kind "vrf table 10" then
      return pending "this kernel has no vrf"
    end
    a.link:add { name = "red", kind = "vrf", vrf = { table = 1001 }, up = true }
    a.link:add { name = "v0", kind = "veth", master = "red", up = true }
    assert.same({ 1001, 1001 }, { a.link:get "red".vrf.table, a.link:get "v0".port.table })
    a.link:add { name = "main", kind = "vrf", vrf = { table = "main" } }
    assert.equal("main", a.link:get "main".vrf.table)
  end)

  it("that are wrong are told with the nearest, and by the kernel with the attribute", function()
    for _, case in ipairs {
      { { kind = "geneve", geneve = { remot = "10.0.0.1" } }, "link.add: geneve: unknown key 'remot' (did you mean 'remote'?)" },
      { { kind = "gre", gre = { ttll = 5 } }, "gre: unknown key 'ttll' (did you mean 'ttl'?)" },
      { { kind = "gre", gre = { key = "x.y" } }, "gre: ikey must be a number or four bytes" },
      { { kind = "gre", gre = { key = 1, ikey = 2 } }, "ikey is said twice" },
      { { kind = "vxlan", vxlan = { port = 1, dstport = 2 } }, "port is said twice" },
      { { kind = "ip6tnl", ip6tnl = { tclass = 256 } }, "tclass must be \"inherit\" or a number from 0 to 255, got 256" },
      { { kind = "ip6tnl", ip6tnl = { dscp = "copy" } }, "dscp must be \"inherit\" or false" },
      { { kind = "sit", sit = { sixrd_prefix = "2001:db8::/200" } }, "is no prefix" },
      { { kind = "bond", bond = { mode = "active_backup" } }, "active-backup" },
      { { kind = "bond", bond = { primary = true } }, "primary must be" },
      { { kind = "macsec", macsec = { cipher = "gcm-aes-129" } }, "unknown cipher 'gcm-aes-129' (did you mean 'gcm-aes-128'?)" },
      { { kind = "macsec", macsec = { sci = "12" } }, "sci must be 16 hexadecimal digits" },
      { { kind = "vrf", vrf = { table = "nothing" } }, "unknown table 'nothing'" },
      { { kind = "wireguard", wireguard = { port = 1 } }, "unknown key 'port'" },
      { { kind = "bridge", peer = { name = "y" } }, "peer is for kind = \"veth\" and kind = \"netkit\"" },
      { { kind = "netkit", netkit = { policy = "drop" } }, "policy" },
    } do
      case[1].name = "x0"
      local text = fails(a.link.add, a.link, case[1])
      assert.is_truthy(text:find(case[2], 1, true), text)
      assert.matches("kind_words_spec.lua:%d+: ", text)
    end
    assert.matches('there is no kind "genev" %(did you mean "geneve"%?%)', fails(a.link.add, a.link, { name = "x0", kind = "genev" }))
    -- what a kernel that has the kind says of a value
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" } }
    local any = 0
    for _, case in ipairs {
      { "vxlan id 33554432", { kind = "vxlan", vxlan = { id = 33554432, port = 4789 } },
        "link.linkinfo.data.id = 33554432: VXLAN ID must be lower than 16777216" },
      { "geneve id 33554432", { kind = "geneve", geneve = { id = 33554432, remote = "10.0.0.2" } }, "link.linkinfo.data.id" },
      { "vlan id 5", { kind = "vlan", link = "v0", vlan = { id = 4097 } }, "link.linkinfo.data.id = 4097: Invalid VLAN id" },
      { "vrf table 3", { kind = "vrf" }, "VRF table id is missing" },
      { "macvlan", { kind = "macvlan" }, "link" },
      { "ipvlan", { kind = "ipvlan", link = "v0", ipvlan = { mode = 9 } }, "link.linkinfo.data" },
    } do
      if rtnl.has_kind(case[1]:match "^%a+" == "vrf" and "vrf table 3" or case[1]:match "^%a+" == "geneve" and "geneve id 3 remote 10.0.0.2"
        or case[1]:match "^%a+") then
        case[2].name = "x0"
        local text = fails(a.link.add, a.link, case[2])
        assert.is_truthy(text:find(case[3], 1, true), text)
        any = any + 1
      end
    end
    assert.is_true(any > 0)
  end)

  it("of a kind are there before its file is loaded", function()
    -- in a process of its own: a row read before knows its options
    local out, ok = helper.sh(helper.lua .. [[ -e '
      local ns = require "nslua"
      local kinds = require "nslua.rtnl.kind"
      local n = ns.netns.new { userns = ]] .. (helper.is_root() and "nil" or 'ns.userns.new { map_users = "root" }') .. [[ }
      assert(rawget(kinds.kinds, "vxlan") == nil)
      n:run { "ip", "link", "add", "vx0", "type", "vxlan", "id", "5", "dstport", "4789", check = true }
      for _, row in ipairs(n.link:list()) do
        if row.name == "vx0" then
          print(row.kind, rawget(kinds.kinds, "vxlan"), row.vxlan.id, row.vxlan.port, row.bridge, row:decode().vxlan.id)
        end
      end
      print(n.link:get "vx0".vxlan.id, #n.link:list { vxlan = { id = 5 } }, #n.link:list { vxlan = { id = 6 } })']])
    assert.is_true(ok, out)
    assert.equal("vxlan\tnil\t5\t4789\tnil\t5\n5\t1\t0", out)
    assert.is_nil(ns.netlink.nothing)
  end)
end)
