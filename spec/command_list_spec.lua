-- `nslua link|address|route|rule|neighbour` beside Debian's ip(8): what --json prints is what ip -j prints, and what the tables name.

local cjson = require "cjson"
local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"
local unprivileged = require "spec.unprivileged"

local OURS = "build/bin/nslua "

-- What goes on counting between two looks.
local COUNTS = { expires = true, valid_life_time = true, preferred_life_time = true, used = true, confirmed = true, updated = true,
  gc_timer = true, hello_timer = true, bytes = true, packets = true, dropped = true, multicast = true }

-- Without clocks, and without the empty objects that ip prints for what its filters leave out.
local function settled(value)
  if type(value) ~= "table" then
    return value
  end
  local out = {}
  for key, each in pairs(value) do
    if type(key) == "string" then
      out[key] = COUNTS[key] and type(each) == "number" and each < 4294967295 and "counts" or settled(each)
    elseif type(each) ~= "table" or next(each) ~= nil then
      out[#out + 1] = settled(each)
    end
  end
  return out
end

local function decode(text)
  return settled(text:find "%S" and cjson.decode(text) or {})
end

-- The keys in the order in which they are printed.
local function keys(text)
  local out = {}
  for key in text:gmatch '"([%w_]+)":' do
    out[#out + 1] = key
  end
  return table.concat(out, " ")
end

local function ours(handle, command, words)
  local out, ok = rtnl.inside(handle, ("%s%s %s"):format(OURS, command, words or ""))
  assert(ok, command .. ": " .. out)
  return out
end

-- Both print the same, the keys in the same order; the rows.
local function same(handle, command, words, flags)
  local what = ("%s %s %s"):format(flags or "", command, words or "")
  local theirs, ok = rtnl.inside(handle, ("ip -j %s"):format(what))
  assert(ok, what .. ": " .. theirs)
  local mine = ours(handle, command, ("-j %s %s"):format(flags or "", words or ""))
  assert.same(decode(theirs), decode(mine), what)
  assert.equal(keys(theirs), keys(mine), what)
  return decode(mine)
end

-- Each of these prints something, and the same as ip.
local function all_same(handle, command, list)
  for _, each in ipairs(list) do
    local flags, words = each:match "^(%-[%w %-]*) ?: ?(.*)$"
    assert.is_true(#same(handle, command, words or each, flags) > 0, each .. ": nothing was there to compare")
  end
end

-- The line of a table whose text fits.
local function line_of(text, pattern)
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    if line:find(pattern) then
      return (line:gsub("%s+$", ""))
    end
  end
  error(("no line like %q in\n%s"):format(pattern, text))
end

for _, nobody in ipairs(helper.is_root() and { false, true } or { true }) do
  describe("nslua link, address, route, rule, neighbour" .. (nobody and " in a user namespace" or ""), function()
    local owner, a

    before_each(function()
      owner = nobody and ns.userns.new { map_users = "root" } or nil
      a = ns.netns.new { lo = true, userns = owner }
      a:sysctl("net.ipv6.conf.default.addr_gen_mode", 1) -- no addresses that come by themselves
      a.link:add { name = "e0", kind = "veth", peer = { name = "e1" }, up = true }
      a.link:change("e1", { up = true })
    end)

    after_each(function()
      a:close()
      if owner then
        owner:close()
      end
    end)

    it("print links as ip does", function()
      a.link:add { name = "br0", kind = "bridge", alias = "the bridge", group = 5,
        bridge = { forward_delay = 4, group_fwd_mask = 8, ageing_time = 60 } }
      rtnl.set(a, "link property add dev br0 altname bridge-the-other")
      a.link:change("e0", { master = "br0", port = { isolated = true, cost = 7, group_fwd_mask = 16384 + 32 } })
      rtnl.set(a, "link add mv link e1 type macvlan mode bridge")
      rtnl.set(a, "link add ms link e1 type macvlan mode source")
      rtnl.set(a, "link set ms type macvlan macaddr add 02:00:00:00:00:09")
      rtnl.set(a, "link add vx type vxlan id 4 dstport 4789 remote 10.0.0.1 local 10.0.0.7 dev e1 tos 4 ttl 5")
      rtnl.set(a, "link add vx6 type vxlan id 5 dstport 4789 group ff05::5 dev e1 nolearning")
      rtnl.set(a, "link add vxe type vxlan external dstport 4790")
      all_same(a, "link", { "", "-d:", "-d: show master br0", "-d: show type veth", "-d: list dev br0", "show up", "show group 5",
        "-s: show dev e1",
        "-s -d:", "-d: show type macvlan", "-d: show vx" })
      local text = ours(a, "link")
      assert.matches("br0 +veth +%-> e1$", line_of(text, " e0 "))
      assert.matches("veth +%-> e0$", line_of(text, " e1 "))
      assert.matches("macvlan +on e1 mode bridge$", line_of(text, " mv "))
      assert.matches("vxlan +id 4 remote 10.0.0.1 local 10.0.0.7 port 4789 on e1$", line_of(text, " vx "))
      assert.matches("^INDEX NAME ", text)
      assert.not_matches("INDEX", ours(a, "link", "--noheadings"))
    end)

    it("print tun devices as ip does", function()
      local out, ok = rtnl.inside(a, "ip tuntap add dev tn0 mode tun user 0 group 0 pi")
      if not ok then
        pending("no tun device can be made here: " .. out)
        return
      end
      rtnl.set(a, "tuntap add dev tp0 mode tap multi_queue")
      all_same(a, "link", { "-d: show tn0", "-d: show tp0" })
    end)

    it("print addresses as ip does", function()
      a.address:add { "10.0.0.1/24", dev = "e0", label = "e0:x", valid_lft = 1000, preferred_lft = 500 }
      a.address:add { "10.0.5.1", dev = "e0", peer = "10.0.5.2/32", metric = 7 }
      a.address:add { "10.0.6.1/24", dev = "e0", broadcast = "+", scope = "link", noprefixroute = true }
      a.address:add { "10.0.6.2/24", dev = "e0", scope = "link" }
      a.address:add { "fd00::1/64", dev = "e1", nodad = true, valid_lft = 100, preferred_lft = 0 }
      all_same(a, "address", { "", "-d:", "-4:", "-4 -d:", "show to 10.0.0.0/16", "show dev e0", "show up",
        "list e1", "-d: show e0 to 10.0.5.0/24" })
      -- ip prints empty objects for what it leaves out here
      local rows = decode(ours(a, "address", "-j -4 show scope link dev e0"))
      assert.equal("10.0.6.1", rows[1].addr_info[1]["local"])
      assert.equal(2, #rows[1].addr_info)
      rows = decode(ours(a, "address", "-j show label e0:*"))
      assert.equal(1, #rows)
      assert.equal("10.0.0.1", rows[1].addr_info[1]["local"])
      rows = decode(ours(a, "address", "-j -6 show permanent"))
      for _, row in ipairs(rows) do
        for _, each in ipairs(row.addr_info) do
          assert.equal("inet6", each.family)
          assert.is_nil(each.dynamic)
        end
      end
      local text = ours(a, "address")
      assert.matches("10.0.0.1/24 +global +e0:x +%d+ +%d+ dynamic", line_of(text, "10%.0%.0%.1/24"))
      assert.matches("10.0.5.1/32 +10.0.5.2/32 ", line_of(text, "10%.0%.5%.1"))
      assert.matches("^e1 +up +fd00::1/64 .* 0 .*deprecated", line_of(text, "fd00::1"))
    end)

    it("print a line for each as ip -o does", function()
      a.address:add { "10.0.0.1/24", dev = "e0", label = "e0:x", valid_lft = 500, preferred_lft = 400 }
      a.address:add { "10.0.5.1/32", peer = "10.0.5.2/32", dev = "e0", broadcast = "10.0.5.9" }
      a.address:add { "fd00::1/64", dev = "e0", nodad = true }
      a.link:change("e0", { alias = "an alias", altnames = { "other" } })
      a.route:add { "10.9.0.0/16", via = "10.0.0.3", metric = 5, mtu = 1300, lock = "mtu", rto_min = 0.2 }
      a.route:add { "10.8.0.0/16", nexthops = { { via = "10.0.0.3", weight = 2 }, { via = "10.0.0.5" } } }
      a.route:add { "10.7.0.0/16", type = "blackhole" }
      a.route:add { "10.6.0.0/16", via = "fe80::1", dev = "e0" }
      a.route:add { "fd08::/64", nexthops = { { via = "fd00::3" }, { via = "fd00::5" } } }
      a.rule:add { not_ = true, from = "10.0.0.0/8", to = "10.1.1.1", fwmark = "1/0xff", iif = "e0", oif = "gone", table = 100, dport = "80-90",
        ipproto = "tcp" }
      a.rule:add { from = "10.1.1.1", action = "blackhole" }
      a.rule:add { goto_ = 32766, priority = 5 }
      a.neighbour:add { "10.0.0.9", dev = "e0", lladdr = "02:00:00:00:00:09" }
      a.neighbour:add { "10.0.0.10", dev = "e0", lladdr = "02:00:00:00:00:0a", state = "noarp", router = true }
      -- the same but for what counts down, and for blanks that ip leaves at some places
      local function plain(text)
        return (text:gsub("%d+sec", "sec"):gsub("[ \t]+", " "):gsub(" *\\ *", "\\"):gsub(" \n", "\n"):gsub("%s+$", ""))
      end
      for _, words in ipairs { "link", "address", "route", "rule", "neighbour", "-6 route", "-6 rule", "-4 address", "link show dev e1",
        "route show table all", "route show 10.9.0.0/16", "neighbour show dev e0", "address show dev e0" } do
        local family, command, rest = words:match "^(%-?%d?) ?(%a+) ?(.*)$"
        local theirs, ok = rtnl.inside(a, ("ip -o %s %s %s"):format(family, command, rest))
        assert(ok, theirs)
        assert.is_truthy(theirs:find "%S", words)
        assert.equal(plain(theirs), plain(ours(a, command, ("-o %s %s"):format(family, rest))), words)
        assert.equal(plain(theirs), plain(ours(a, command, ("-oneline %s %s"):format(family, rest))), words)
      end
      assert.equal("[", ours(a, "route", "-o -j"):sub(1, 1))
      local out, fine = rtnl.inside(a, OURS .. "link -o -d")
      assert.is_false(fine)
      assert.matches("details are in %-%-json", out)
    end)

    it("print lines as ip -br does, and take its options with one dash", function()
      a.link:add { name = "br0", kind = "bridge", up = true }
      local tun = pcall(a.link.add, a.link, { name = "t0", kind = "tun", up = true }) -- /dev/net/tun may not be ours
      a.link:add { name = "m0", kind = "macvlan", link = "e1" }
      a.address:add { "10.0.0.1/24", dev = "e0", metric = 7 }
      a.address:add { "10.0.5.1/32", peer = "10.0.5.2/32", dev = tun and "t0" or "br0" }
      a.address:add { "fd00::1/64", dev = "e1", nodad = true }
      a.neighbour:add { "10.0.0.9", dev = "e0", lladdr = "02:00:00:00:00:09" }
      a.neighbour:add { "fd00::9", dev = "e1", lladdr = "02:00:00:00:00:09", state = "stale" }
      for _, command in ipairs { "link", "address", "neighbour" } do
        for _, words in ipairs { "-br", "-brief -4", "-br -j", "-br|show dev e0", "-json -details|show dev e1", "-f inet -br", "-stat -json" } do
          local flags, rest = words:match "^([^|]+)|?(.*)$"
          local theirs, ok = rtnl.inside(a, ("ip %s %s %s"):format(flags, command, rest))
          assert(ok, theirs)
          local mine = ours(a, command, flags .. " " .. rest)
          if flags:find "j" then
            theirs, mine = decode(theirs), decode(mine)
          end
          assert.same(theirs, mine, command .. " " .. words)
        end
      end
      local text = rtnl.inside(a, OURS .. "link -family inet5")
      assert.matches("the family is inet or inet6, not inet5", text)
    end)

    it("print routes as ip does", function()
      a.address:add { "10.0.0.1/24", dev = "e0" }
      a.address:add { "fd00::1/64", dev = "e1", nodad = true }
      for _, words in ipairs { "10.1.0.0/16 nexthop via 10.0.0.2 weight 2 nexthop via 10.0.0.3 dev e0 onlink",
        "10.2.0.0/16 via 10.0.0.2 mtu lock 1400 advmss 1000 metric 5 src 10.0.0.1 proto static tos 8 rto_min 5ms quickack 1 initcwnd 9 "
          .. "congctl cubic features ecn hoplimit 9 rtt 50ms realms 5", "10.3.0.0/16 via inet6 fd00::5 dev e1 table 100", "blackhole 10.9.0.0/16",
        "unreachable fd09::/64", "fd08::/64 via fd00::9 expires 100 pref high mtu 1300", "10.2.3.4 dev e0 scope link",
          "default via 10.0.0.9 metric 3" } do
        rtnl.set(a, (words:find "fd0[89]" and "-6 " or "") .. "route add " .. words)
      end
      rtnl.set(a, "nexthop add id 5 via 10.0.0.4 dev e0")
      rtnl.set(a, "nexthop add id 6 group 5,3")
      rtnl.set(a, "route add 10.11.0.0/16 nhid 5")
      rtnl.set(a, "route add 10.12.0.0/16 nhid 6")
      all_same(a, "route", { "", "-d:", "-d: show table 100", "-d: list table all", "show table local", "-6 -d:", "-6: show dev e1",
        "show proto static",
        "-d: show type blackhole", "show root 10.2.0.0/15", "show match 10.2.3.4", "show exact 10.2.0.0/16",
        "show 10.2.0.0/16", "show to root 10.2/16",
        "show src 10.0.0.1", "show default", "-6: show to match fd08::5", "-4: show table all scope link", "get 10.2.3.4", "-d: get 10.1.0.3",
        "-d: get fibmatch 10.2.0.3", "get 127.0.0.1", "-6: get fd08::5", "get fd08::5 from fd00::1", "get 10.0.0.77 mark 5 ipproto tcp dport 80" })
      -- ip leaves out routes of several hops, whatever their devices and gateways are
      local rows = decode(ours(a, "route", "-j show dev e0"))
      local several = 0
      for _, row in ipairs(rows) do
        several = several + (row.nexthops and 1 or 0)
        assert.is_nil(row.dev)
      end
      assert.equal(1, several)
      assert.equal(3, #decode(ours(a, "route", "-j show via 10.0.0.2")) + #decode(ours(a, "route", "-j show via 10.0.0.3")))
      local text = ours(a, "route", "list table all")
      assert.matches("^unicast +10.1.0.0/16 +10.0.0.2 +e0 weight 2 +main +boot", line_of(text, "10%.1%.0%.0"))
      assert.matches("^ +10.0.0.3 +e0 weight 1", line_of(text, "e0 weight 1"))
      assert.matches("^unicast +10.3.0.0/16 +fd00::5 +e1 +100 ", line_of(text, "10%.3%.0%.0"))
      assert.matches("^blackhole +10.9.0.0/16 ", line_of(text, "blackhole"))
      local metrics = line_of(text, "10%.2%.0%.0")
      for _, words in ipairs { "mtu lock 1400", "rto_min lock 5ms", "rtt 50ms", "quickack 1", "congctl cubic", "features ecn", "advmss 1000" } do
        assert.truthy(metrics:find(words, 1, true), words .. " in " .. metrics)
      end
    end)

    it("print rules as ip does", function()
      for _, words in ipairs { "from 10.0.0.0/8 to 10.1.1.1 fwmark 0x5/0xff iif e0 oif e1 table 100 ipproto tcp sport 80 dport 90-99 "
        .. "uidrange 0-" .. (nobody and 0 or 5) .. " tos 8 "
        .. "priority 5 suppress_prefixlength 3 realms 3/4 protocol static", "not from 10.0.0.0/8 priority 20 blackhole", "priority 40 goto 60",
        "priority 60 nop", "priority 65 goto 6000", "priority 70 from 1.1.1.1 fwmark 7 prohibit", "l3mdev priority 90",
        "priority 95 tun_id 5 table main", "priority 96 iif nonesuch table 7 suppress_ifgroup 5" } do
        rtnl.set(a, "rule add " .. words)
      end
      rtnl.set(a, "-6 rule add from fd00::/16 priority 6 table 100")
      all_same(a, "rule", { "", "-d:", "-6:", "-6 -d:", "show table 100", "list priority 40", "show from 10.0.0.0/8", "show iif e0",
        "show fwmark 7" })
      local text = ours(a, "rule")
      assert.matches("^ *5 from 10.0.0.0/8 to 10.1.1.1/32 .*fwmark 0x5/0xff iif e0 oif e1 .* lookup 100 +static$", line_of(text, "10%.1%.1%.1"))
      assert.matches("goto 60 ", line_of(text, "^ *40 "))
      assert.matches("iif nonesuch %(not there%)", line_of(text, "^ *96 "))
    end)

    it("print neighbours as ip does", function()
      a.neighbour:add { "10.0.0.9", lladdr = "02:00:00:00:00:01", dev = "e0" }
      a.neighbour:add { "10.0.0.8", lladdr = "02:00:00:00:00:02", dev = "e0", state = "stale", router = true, proto = "static" }
      a.neighbour:add { "10.0.0.7", dev = "e1", state = "noarp", lladdr = "02:00:00:00:00:03" }
      a.neighbour:add { "fd00::7", dev = "e1", lladdr = "02:00:00:00:00:04" }
      a.neighbour:add { "10.0.0.5", dev = "e0", proxy = true }
      all_same(a, "neighbour", { "", "-d:", "-s:", "show proxy", "show dev e0", "show nud stale", "show nud noarp", "show 10.0.0.9",
        "show to 10.0.0.0/24",
        "-4: show nud all", "show nud permanent nud stale", "-6: show nud permanent" })
      local text = ours(a, "neighbour")
      assert.matches("^10.0.0.8 +e0 +02:00:00:00:00:02 stale +router$", line_of(text, "10%.0%.0%.8"))
      assert.not_matches("10.0.0.7", text) -- as ip: noarp only where it is asked for
    end)

    it("say what is wrong as ip does, with its exit statuses", function()
      a.route:add { "10.1.0.0/16", dev = "e0" }
      for _, each in ipairs { "link show nope", "link show type", "link show foo bar", "link show master nope", "link show group frob", "link frob",
        "address frob x", "address show frob x", "address show to x", "address show scope frob", "address show dev nope", "route show table",
        "route show frob x", "route show dev nope", "route show type frob", "route get", "route get 9.8.8.8", "route get x",
          "route get 10.1.0.1 iif nope",
        "route show table frob", "rule show frob", "rule show table frob", "neighbour show nud frob", "neighbour show dev nope",
          "neighbour show frob" } do
        local theirs, _, status = rtnl.inside(a, "ip " .. each .. " 2>&1")
        local mine, _, my_status = rtnl.inside(a, OURS .. each .. " 2>&1")
        local command = each:match "^%a+"
        theirs = theirs:gsub('"ip %a+ help"', '"nslua ' .. command .. ' help"')
        mine = mine:gsub("^nslua %a+: RTNETLINK", "RTNETLINK")
        assert.equal((theirs:gsub("%s+$", "")), (mine:gsub("%s+$", "")), each)
        assert.equal(status, my_status, each)
      end
    end)

    it("lay out JSON with -p as ip does", function()
      for _, words in ipairs { "link show e0", "address show e0", "route show table all", "rule show" } do
        local command, rest = words:match "^(%a+) (.*)$"
        local theirs = rtnl.inside(a, "ip -j -p -d " .. words)
        assert.equal(theirs, ours(a, command, "-j -p -d " .. rest), words)
      end
    end)

    it("name the namespace at the other end of a veth", function()
      local b = ns.netns.new { userns = owner }
      a.link:add { name = "out", kind = "veth", peer = { name = "far0", netns = b } }
      -- it has no name and no process, only this script's fd
      assert.matches("veth +%-> far0 in .", line_of(ours(a, "link"), " out "))
      b:close()
    end)
  end)
end

describe("nslua link and its like, among namespaces", function()
  local NAME, OTHER = "list-spec-blue", "list-spec-red"

  local function cleanup()
    for _, name in ipairs { NAME, OTHER } do
      pcall(ns.netns.delete, name)
    end
  end

  local function made()
    cleanup()
    local blue, red = ns.netns.add(NAME), ns.netns.add(OTHER)
    blue.link:add { name = "eth7", kind = "veth", peer = { name = "eth9", netns = red }, up = true }
    red.link:change("eth9", { up = true })
    blue.address:add { "10.77.0.1/24", dev = "eth7" }
    red.address:add { "10.77.0.2/24", dev = "eth9" }
    red.route:add { "10.78.0.0/16", via = "10.77.0.1" }
    return blue, red
  end

  it("-n looks from another, -a at every one; a peer is named with where it is", function()
    helper.needs_root(pending)
    local blue, red = made()
    finally(function()
      blue:close()
      red:close()
      cleanup()
    end)
    local out = helper.sh(OURS .. "link -n " .. NAME)
    assert.matches("veth +%-> eth9 in list%-spec%-red$", line_of(out, " eth7 "))
    assert.matches("veth +%-> eth7 in list%-spec%-blue$", line_of(helper.sh(OURS .. "link list eth9 -n /run/netns/" .. OTHER), " eth9 "))
    out = helper.sh(OURS .. "link -a")
    assert.matches("^list%-spec%-blue .* eth7 .* in list%-spec%-red$", line_of(out, " eth7 "))
    assert.matches("veth +%-> eth7 in list%-spec%-blue$", line_of(out, "^list%-spec%-red .* eth9 +up"))
    assert.matches("\n%S.* lo ", out)
    assert.matches("^list%-spec%-blue .*10.77.0.1/24", line_of(helper.sh(OURS .. "address -a list to 10.77.0.0/16"), "10%.77%.0%.1"))
    assert.matches("^list%-spec%-red .*10.78.0.0/16 +10.77.0.1 +eth9", line_of(helper.sh(OURS .. "route -a"), "10%.78"))
    assert.matches("^list%-spec%-red +0 from all", line_of(helper.sh(OURS .. "rule -a"), "spec%-red +0"))
    -- a device that is in one of them is no mistake
    out = helper.sh(OURS .. "link -a list eth9")
    assert.matches("^list%-spec%-red ", line_of(out, " eth9 "))
    local _, _, status = helper.sh(OURS .. "link -a list list-spec-none")
    assert.equal(1, status)
    _, _, status = helper.sh(OURS .. "link -a -n " .. NAME)
    assert.equal(255, status)
    out, _, status = helper.sh(OURS .. "link -n list-spec-none")
    assert.equal('Cannot open network namespace "list-spec-none": No such file or directory', out)
    assert.equal(255, status)
    local found = {}
    for _, each in ipairs(cjson.decode((helper.sh(OURS .. "link -a -j 2>/dev/null")))) do
      found[each.netns] = each
    end
    assert.equal(blue.inode, found[NAME].inode)
    assert.equal("eth7", found[NAME].link[#found[NAME].link].ifname)
  end)

  it("a process's namespace is named by its pid, and opened by it", function()
    helper.needs_root(pending)
    local blue, red = made()
    finally(function()
      blue:close()
      red:close()
      cleanup()
    end)
    local inside <close> = ns.netns.new()
    local process <close> = inside:spawn { "sleep", "60" }
    blue.link:add { name = "eth8", kind = "veth", peer = { name = "in0", netns = inside } }
    assert.matches("%-> in0 in pid %d+ %(sleep%)$", line_of(helper.sh(OURS .. "link -n " .. NAME), " eth8 "))
    assert.matches("%-> eth8 in list%-spec%-blue$", line_of(helper.sh(("%slink -n %d"):format(OURS, process.pid)), " in0 "))
  end)

  it("nobody is told what could not be opened", function()
    unprivileged.needs_uid(pending)
    local blue, red = made()
    finally(function()
      blue:close()
      red:close()
      cleanup()
    end)
    local out, ok = unprivileged.sh(OURS .. "link -a")
    assert.is_true(ok, out)
    assert.matches("this namespace +1 lo ", out)
    assert.matches("nslua link: %d+ network namespaces could not be opened: that needs root", out)
    out, ok = unprivileged.sh("unshare -Urn sh -c '" .. OURS .. "link -j -d; ip -j -d link'")
    assert.is_true(ok, out)
    local mine, theirs = out:match "^(.-)\n(.*)$"
    assert.same(decode(theirs), decode(mine))
  end)
end)
