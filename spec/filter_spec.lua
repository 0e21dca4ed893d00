-- Filters and their actions: nslua sends what tc(8) sends for the same words; what one makes the other shows.

local errors = require "nslua.error"
local helper = require "spec.helper"
local rtnl = require "spec.rtnl_helper"
local schema = require "nslua.schema"
local tc = require "spec.tc_helper"

describe("filters", function()
  local why = tc.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end

  local a

  before_each(function()
    a = rtnl.netns "a"
    a.link:add { name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }
    a.qdisc:add { "clsact", dev = "eth0" }
    a.qdisc:add { "htb", dev = "eth0", handle = "1:" }
  end)
  after_each(rtnl.close)

  -- words of nslua, and of tc
  local redirect = { "mirred", egress = "redirect", dev = "eth1" }
  local same_words = {
    { { "u32", parent = "1:", protocol = "ip", pref = 5, classid = "1:10", u32 = { match = { "ip dst 10.0.0.0/8", "ip sport 80 0xffff",
      "tcp dst 22 0xffff" } } },
      "parent 1: protocol ip pref 5 u32 match ip dst 10.0.0.0/8 match ip sport 80 0xffff match tcp dst 22 0xffff flowid 1:10" },
    { { "u32", parent = "1:", u32 = { match = "u32 0 0" }, action = redirect },
      "parent 1: u32 match u32 0 0 action mirred egress redirect dev eth1" },
    { { "u32", parent = "egress", classid = "1:3", u32 = { match = { "u8 6 ff at 9", "u16 0x1234 ffff at nexthdr+2", "mark 3 0xff" } } },
      "egress u32 match u8 6 0xff at 9 match u16 0x1234 0xffff at nexthdr+2 match mark 3 0xff classid 1:3" },
    { { "u32", parent = "egress", u32 = { match = { { 0x0a000000, 0xff000000, 16 } } }, action = { { "mirred", egress = "mirror", dev = "eth1" },
      { "mirred", ingress = "redirect", dev = "eth0" } } }, "egress u32 match u32 0x0a000000 0xff000000 at 16 "
      .. "action mirred egress mirror dev eth1 action mirred ingress redirect dev eth0" },
    { { "u32", parent = "ingress", protocol = "ipv6", chain = 3, u32 = { match = { "ip6 dst 2001:db8::/33", "ip6 src 2001:db8:1:2::5",
      "ip6 protocol 6", "ip6 priority 3", "ip6 flowlabel 5 fffff" } } }, "ingress chain 3 protocol ipv6 u32 match ip6 dst 2001:db8::/33 "
      .. "match ip6 src 2001:db8:1:2::5 match ip6 protocol 6 0xff match ip6 priority 3 0xff match ip6 flowlabel 5 0xfffff" },
    { { "u32", parent = "ingress", protocol = "ip", pref = 7, u32 = { match = { "ip tos 0x10", "ip protocol udp", "ip ihl 5 0xf",
      "ip dport 53", "ip icmp_code 0" } } }, "ingress protocol ip pref 7 u32 match ip tos 0x10 0xff match ip protocol 17 0xff match ip ihl 5 0xf "
      .. "match ip dport 53 0xffff match ip icmp_code 0 0xff" },
    { { "u32", parent = "ingress", protocol = "ip", u32 = { match = { "ip dsfield 3 fc", "icmp type 8", "icmp code 0" } }, action = "drop" },
      "ingress protocol ip u32 match ip dsfield 3 0xfc match icmp type 8 0xff match icmp code 0 0xff action drop" },
    { { "u32", parent = "1:", handle = "5:", pref = 9, u32 = { divisor = 256 } }, "parent 1: pref 9 handle 5: u32 divisor 256" },
    { { "matchall", parent = "ingress", action = "drop" }, "ingress matchall action drop" },
    { { "matchall", parent = "ingress", protocol = "ipv6", chain = 3, skip_hw = true, action = "pass" },
      "ingress chain 3 protocol ipv6 matchall skip_hw action pass" },
    { { "matchall", parent = "1:", classid = "1:7" }, "parent 1: matchall classid 1:7" },
    { { "matchall", parent = "egress", action = { "police", rate = "1mbit", burst = "10kb", mtu = "2kb", exceed = "drop" } },
      "egress matchall action police rate 1mbit burst 10kb mtu 2kb drop" },
    { { "matchall", parent = "egress", action = { { "police", rate = "1mbit", burst = "10kb", exceed = "drop", conform = "pipe" }, "drop" } },
      "egress matchall action police rate 1mbit burst 10kb conform-exceed drop/pipe action drop" },
    { { "matchall", parent = "egress", action = { "gact", control = "drop", random = { "netrand", "pass", 4 } } },
      "egress matchall action drop random netrand pass 4" },
    { { "matchall", parent = "egress", action = "goto chain 4" }, "egress matchall action goto chain 4" },
    { { "flower", parent = "ingress", protocol = "ip", flower = { ip_proto = "tcp", dst_ip = "10.0.0.0/8", src_ip = "10.1.2.3", src_port = 80,
      dst_mac = "02:00:00:00:00:01" }, action = "goto chain 4" },
      "ingress protocol ip flower ip_proto tcp dst_ip 10.0.0.0/8 src_ip 10.1.2.3 src_port 80 dst_mac 02:00:00:00:00:01 action goto chain 4" },
    { { "flower", parent = "ingress", protocol = "ipv6", flower = { ip_proto = "udp", src_ip = "2001:db8::/35", dst_port = 53 } },
      "ingress protocol ipv6 flower ip_proto udp src_ip 2001:db8::/35 dst_port 53" },
    { { "flower", parent = "ingress", protocol = "802.1q", flower = { vlan_id = 3, vlan_prio = 2 }, action = "drop" },
      "ingress protocol 802.1q flower vlan_id 3 vlan_prio 2 action drop" },
    { { "flower", parent = "ingress", protocol = "ip", flower = { ip_proto = "tcp", tcp_flags = "0x2/0x12", ip_ttl = 3, ip_tos = "0x10/0xfc" } },
      "ingress protocol ip flower ip_proto tcp tcp_flags 0x2/0x12 ip_ttl 3 ip_tos 0x10/0xfc" },
    { { "flower", parent = "ingress", protocol = "ip", flower = { ip_proto = "icmp", type = 8, code = 0 } },
      "ingress protocol ip flower ip_proto icmp type 8 code 0" },
    { { "fw", parent = "1:", handle = 5, classid = "1:7" }, "parent 1: handle 5 fw classid 1:7" },
    { { "fw", parent = "egress", protocol = "ip", handle = 16, fw = { mask = 255, indev = "eth1" }, action = "drop" },
      "egress protocol ip handle 16/255 fw indev eth1 action drop" },
    { { "basic", parent = "1:", classid = "1:3" }, "parent 1: basic classid 1:3" },
    { { "basic", parent = "ingress", protocol = "ipv6", action = "drop" }, "ingress protocol ipv6 basic action drop" },
    { { "bpf", parent = "egress", classid = "1:1", bpf = { ops = { { 6, 0, 0, 4294967295 } } } },
      "egress bpf bytecode '1,6 0 0 4294967295' flowid 1:1" },
    { { "bpf", parent = "egress", bpf = { ops = { { 40, 0, 0, 12 }, { 21, 0, 1, 2048 }, { 6, 0, 0, 0 }, { 6, 0, 0, 1 } }, direct_action = true } },
      "egress bpf da bytecode '4,40 0 0 12,21 0 1 2048,6 0 0 0,6 0 0 1'" },
  }

  local function with(t, more)
    local out = { dev = "eth0" }
    for _, from in ipairs { t, more or {} } do
      for key, value in pairs(from) do
        out[key] = value
      end
    end
    return out
  end

  it("are sent as tc sends the same words", function()
    if not helper.has "strace" then
      return pending "needs strace(1)"
    end
    local lines = { "filter replace dev eth0 " .. same_words[1][2] }
    for i, case in ipairs(same_words) do
      lines[i + 1] = "filter add dev eth0 " .. case[2]
    end
    local sent = tc.sent(a, lines)
    for i, case in ipairs(same_words) do
      tc.equal("filter", tc.would_send(a.filter.add, a.filter, with(case[1])), sent[i + 1], case[2])
    end
    tc.equal("filter", tc.would_send(a.filter.replace, a.filter, with(same_words[1][1])), sent[1], "replace")
  end)

  it("of every kind that this kernel has are read, found, sent again and deleted as they are", function()
    local made = {}
    for _, case in ipairs(same_words) do
      local t = with(case[1])
      local ok, row = pcall(a.filter.add, a.filter, t)
      if ok then
        made[row.kind] = true
        local plain = row:decode()
        assert.same({ t[1], t.parent, t.pref or row.pref, t.chain or 0, t.classid, (t.protocol or "all"):lower() },
          { plain.kind, plain.parent, plain.pref, plain.chain, plain.classid, plain.protocol:lower() }, case[2])
        local key = { dev = "eth0", parent = t.parent, pref = row.pref, chain = t.chain or 0 }
        local found = a.filter:get(key)
        assert.is_true(found == row, case[2])
        assert.is_true(a.filter:ensure(with(t)) == row, case[2])
        if row.kind ~= "matchall" and not (row.u32 and row.u32.divisor) then -- which cannot be changed
          a.filter:change(row, {})
        end
        local after = a.filter:get(row):decode()
        for _, word in ipairs { "classid", "u32", "bpf", "flower" } do
          assert.same(plain[word], after[word], case[2])
        end
        assert.equal(#(plain.action or {}), #(after.action or {}))
        a.filter:delete(row)
        assert.is_nil(a.filter:get(key), case[2])
      else
        assert.is_true(errors.is(row, "ENOENT"), tostring(row))
        assert.is_truthy(tostring(row):find("modprobe", 1, true), tostring(row))
        assert.is_false(tc.can(a, "filter add dev eth0 " .. case[2]), case[2])
      end
    end
    if not next(made) then
      return pending "no classifiers in this kernel"
    end
    assert.equal(0, #a.filter:list())
  end)

  -- A kernel's answer is its request with more in it: what is sent reads back, whatever this kernel has.
  it("and their actions read as they were written", function()
    local function sent(t)
      local request = tc.would_send(a.filter.add, a.filter, with(t))
      return schema.compile("filter"):row(request[3], a.filter.object.class, { handle = a })
    end
    local row = sent { "matchall", parent = "egress", action = { "drop", { "mirred", egress = "mirror", dev = "eth1" },
      { "police", rate = "1mbit", burst = "10kb", exceed = "drop", conform = "pipe" }, "goto chain 4",
      { "gact", control = "pass", random = { "determ", "drop", 3 } } } }
    local list = row.action
    assert.same({ "gact", "drop" }, { list[1].kind, list[1].control })
    assert.same({ "mirred", "mirror", "eth1", "pipe" }, { list[2].kind, list[2].egress, list[2].dev, list[2].control })
    assert.same({ 1e6, 10240, "drop", "pipe" }, { list[3].rate, list[3].burst, list[3].exceed, list[3].conform })
    assert.equal("goto chain 4", list[4].control)
    assert.same({ "determ", "drop", 3 }, list[5].random)
    local words = { ip_proto = "tcp", dst_ip = "10.0.0.0/8", src_ip = "10.1.2.3/32", src_port = 80, dst_port = "512/0xff00",
      dst_mac = "02:00:00:00:00:01", src_mac = "02:00:00:00:00:00/ff:00:00:00:00:00", tcp_flags = "0x2/0x12", ip_ttl = 3 }
    assert.same(words, sent({ "flower", parent = "ingress", protocol = "ip", flower = words }).flower)
    words = { ip_proto = "icmpv6", src_ip = "2001:db8::/35", type = 128, code = 0 }
    assert.same(words, sent({ "flower", parent = "ingress", protocol = "ipv6", flower = words }).flower)
    row = sent { "u32", parent = "1:", pref = 3, protocol = "arp", u32 = { match = { "u16 1 0xffff at nexthdr+2", { 5, 0xff, 8 } } } }
    assert.same({ { value = 1, mask = 0xffff, off = 0, offmask = -1 }, { value = 5, mask = 0xff, off = 8 } }, row.u32.match)
    assert.same({ 3, "arp" }, { row.pref, row.protocol })
    -- (tc 6.1 cannot read these words of its own)
    row = sent { "u32", parent = "1:", u32 = { match = { "ip nofrag" } } }
    assert.same({ { value = 0, mask = 0x3fff, off = 4 } }, row.u32.match)
    assert.same({ { value = 0x4000, mask = 0x4000, off = 4 } }, sent({ "u32", parent = "1:", u32 = { match = "ip df" } }).u32.match)
  end)

  local function u32()
    return pcall(a.filter.add, a.filter, { "u32", dev = "eth0", parent = "1:", protocol = "ip", pref = 5, classid = "1:10",
      u32 = { match = "ip dst 10.0.0.0/8" } })
  end

  it("are shown by tc as they were asked for", function()
    if not u32() then
      return pending "no u32 in this kernel"
    end
    a.filter:add { "u32", dev = "eth0", parent = "ingress", protocol = "ip", pref = 3, u32 = { match = "ip src 10.1.0.0/16" },
      action = { "mirred", egress = "redirect", dev = "eth1" } }
    local out = rtnl.inside(a, "tc -d filter show dev eth0 parent 1:")
    assert.is_truthy(out:find("protocol ip pref 5 u32 chain 0 fh 800::800", 1, true), out)
    assert.is_truthy(out:find("flowid 1:10", 1, true) and out:find("match 0a000000/ff000000 at 16", 1, true), out)
    out = rtnl.inside(a, "tc -d filter show dev eth0 ingress")
    assert.is_truthy(out:find("mirred (Egress Redirect to device eth1) stolen", 1, true), out)
    assert.is_truthy(out:find("match 0a010000/ffff0000 at 12", 1, true), out)
  end)

  it("of tc read as it shows them", function()
    if not u32() then
      return pending "no u32 in this kernel"
    end
    tc.set(a, "class add dev eth0 parent 1: classid 1:1 htb rate 1mbit")
    tc.set(a, "filter add dev eth0 parent 1:1 protocol ip pref 8 u32 match ip dport 22 0xffff flowid 1:1")
    tc.set(a, "filter add dev eth0 egress protocol ipv6 pref 9 u32 match ip6 protocol 58 0xff action mirred egress mirror dev eth1")
    tc.set(a, "filter add dev eth0 egress protocol ipv6 pref 9 u32 match ip6 protocol 17 0xff action mirred egress mirror dev eth1")
    local function count(filter)
      return #a.filter:list(filter)
    end
    assert.same({ 4, 4, 0, 2, 1, 1 }, { count(), count { dev = "eth0" }, count { dev = "eth1" }, count { dev = "eth0", parent = "egress" },
      count { parent = "1:1" }, count { parent = "1:", dev = "eth0" } })
    assert.same({ 2, 1, 4, 1, 2 }, { count { protocol = "ipv6" }, count { pref = 8 }, count { "u32" }, count { classid = "1:10" },
      count { action = { "mirred", egress = "mirror", dev = "eth1" } } })
    assert.same({ 1, 0 }, { count { u32 = { match = "ip dst 10.0.0.0/8" } }, count { u32 = { match = "ip dst 11.0.0.0/8" } } })
    local row = a.filter:get { dev = "eth0", parent = "egress", handle = "800::801" }
    assert.same({ "u32", "ipv6", 9, "800::801", "egress", "eth0" }, { row.kind, row.protocol, row.pref, row.handle, row.parent, row.dev })
    assert.same({ { value = 0x1100, mask = 0xff00, off = 4 } }, row.u32.match)
    assert.same({ "mirred", "mirror", "eth1", "pipe" }, { row.action[1].kind, row.action[1].egress, row.action[1].dev, row.action[1].control })
    local n = 0
    for each in a.filter:each { parent = "egress" } do
      n = n + each.pref
    end
    assert.equal(18, n)
    a.filter:delete(row)
    assert.equal(1, count { dev = "eth0", parent = "egress" })
    a.filter:delete { dev = "eth0", pref = 9 }
    assert.equal(2, count())
  end)

  it("change what is said, are ensured and replaced", function()
    if not u32() then
      return pending "no u32 in this kernel"
    end
    local key = { dev = "eth0", parent = "1:", pref = 5 }
    a.filter:change(key, { classid = "1:20" })
    local row = a.filter:get(key)
    assert.same({ "1:20", 0x0a000000 }, { row.classid, row.u32.match[1].value })
    local t = { "u32", dev = "eth0", parent = "1:", protocol = "ip", pref = 5, classid = "1:20", u32 = { match = { "ip dst 10.0.0.0/8" } } }
    assert.is_true(a.filter:ensure(t) == row)
    assert.equal(1, #a.filter:list { dev = "eth0", parent = "1:" })
    t.u32.match = "ip dst 11.0.0.0/8"
    assert.is_false(a.filter:ensure(t) == row)
    assert.equal(2, #a.filter:list { dev = "eth0", parent = "1:" })
    t.handle, t.classid = "800::800", "1:30"
    assert.equal("1:30", a.filter:ensure(t).classid)
    assert.equal(2, #a.filter:list { dev = "eth0", parent = "1:" })
    local bpf = { "bpf", dev = "eth0", parent = "1:", pref = 6, handle = 1, classid = "1:1", bpf = { ops = { { 6, 0, 0, 1 } } } }
    if pcall(a.filter.add, a.filter, bpf) then
      bpf.bpf.ops[1][4] = 2
      assert.same({ { 6, 0, 0, 2 } }, a.filter:replace(bpf).bpf.ops)
      a.filter:change({ dev = "eth0", parent = "1:", pref = 6 }, { classid = "1:2" })
      row = a.filter:get { dev = "eth0", pref = 6 }
      assert.same({ { 6, 0, 0, 2 } }, row.bpf.ops)
      assert.equal("1:2", row.classid)
    end
  end)

  it("in a batch are one message each", function()
    if not u32() then
      return pending "no u32 in this kernel"
    end
    a:batch(function()
      for i = 1, 60 do
        a.filter:add { "u32", dev = "eth0", parent = "ingress", protocol = "ip", pref = 10, u32 = { match = ("ip src 10.0.0.%d"):format(i) },
          classid = "1:1" }
      end
    end)
    assert.equal(60, #a.filter:list { dev = "eth0", parent = "ingress", pref = 10 })
    a.filter:delete { dev = "eth0", parent = "ingress", pref = 10 }
    assert.equal(0, #a.filter:list { dev = "eth0", parent = "ingress" })
  end)

  it("run a program that is given by its fd", function()
    local module = os.tmpname()
    local out, built = helper.sh(("cc -shared -fPIC -I/usr/include/lua5.4 -o %s spec/bpf_program.c"):format(module))
    local load = built and package.loadlib(module, "luaopen_bpf_program")
    os.remove(module)
    if not load then
      return pending("no C compiler, or no Lua 5.4: " .. out)
    end
    local fd, errno = load()
    if not fd then
      return pending(("no program may be loaded here (errno %s)"):format(tostring(errno)))
    end
    local row = a.filter:add { "bpf", dev = "eth0", parent = "egress", bpf = { fd = fd, name = "two", direct_action = true } }
    assert.same({ "two", true, true }, { row.bpf.name, row.bpf.direct_action, row.bpf.id > 0 })
    assert.equal(16, #row.bpf.tag)
    assert.is_truthy(rtnl.inside(a, "tc -d filter show dev eth0 egress"):find(("two direct-action not_in_hw id %d"):format(row.bpf.id), 1, true))
    require("nslua.core").fd.adopt(fd):close()
    a.filter:delete(row)
  end)

  it("say what is wrong", function()
    local f = a.filter
    local function misuse(text, t, verb)
      local ok, e = pcall(f[verb or "add"], f, t)
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
    end
    misuse("did you mean 'classid'", { "u32", dev = "eth0", clasid = "1:1" })
    misuse("unknown key 'flowid' (did you mean 'classid'?)", { "u32", dev = "eth0", flowid = "1:1" })
    misuse("unknown key 'prio' (did you mean 'pref'?)", { "u32", dev = "eth0", prio = 1 })
    misuse("an option of its kind: flower = { dst_ip = }", { "flower", dev = "eth0", dst_ip = "10.0.0.1" })
    misuse("did you mean 'match'", { "u32", dev = "eth0", u32 = { mach = "" } })
    misuse("match is needed", { "u32", dev = "eth0", u32 = {} })
    misuse("did you mean 'dport'", { "u32", dev = "eth0", u32 = { match = "ip dprt 22" } })
    misuse("did you mean 'ip6'", { "u32", dev = "eth0", u32 = { match = "ipv6 src ::1" } })
    misuse("of the other family", { "u32", dev = "eth0", u32 = { match = "ip src ::1" } })
    misuse("not a multiple of 4", { "u32", dev = "eth0", u32 = { match = { 1, 2, 3 } } })
    misuse("two values of the same bits", { "u32", dev = "eth0", u32 = { match = { "ip dport 22", "ip dport 23" } } })
    misuse("did you mean 'drop'", { "matchall", dev = "eth0", action = "dorp" })
    misuse("did you mean 'mirred'", { "matchall", dev = "eth0", action = { { "mired", egress = "redirect", dev = "eth1" } } })
    misuse("one of egress and ingress", { "matchall", dev = "eth0", action = { "mirred", dev = "eth1" } })
    misuse("did you mean 'redirect'", { "matchall", dev = "eth0", action = { "mirred", egress = "redirct", dev = "eth1" } })
    misuse("burst is needed", { "matchall", dev = "eth0", action = { "police", rate = 1e6 } })
    misuse("did you mean 'ipv6'", { "matchall", dev = "eth0", protocol = "ipv66" })
    misuse("pref must be 1 to 65535", { "matchall", dev = "eth0", pref = 0 })
    misuse("needs protocol = \"ip\"", { "flower", dev = "eth0", flower = { src_ip = "10.0.0.1" } })
    misuse("src_port needs ip_proto", { "flower", dev = "eth0", protocol = "ip", flower = { src_port = 1 } })
    misuse("one of fd", { "bpf", dev = "eth0", bpf = {} })
    misuse("the kind at [1] is needed", { dev = "eth0" })
    misuse("pref is needed", { dev = "eth0", parent = "ingress" }, "delete")
    helper.fails("ENODEV", f.add, f, { "u32", dev = "eth0", u32 = { match = "u32 0 0 at 0" },
      action = { "mirred", egress = "redirect", dev = "nope" } })
    local e = helper.fails("ENOENT", f.delete, f, { dev = "eth0", parent = "ingress", pref = 77 })
    assert.is_truthy(e:find("dev eth0, parent ingress, pref 77", 1, true), e)
    f:delete({ dev = "eth0", parent = "ingress", pref = 77 }, { absent = "ok" })
    assert.is_nil(f:get { dev = "eth0", parent = "ingress", pref = 77 })
    e = helper.fails("ENOENT", f.add, f, { "flwer", dev = "eth0", parent = "ingress" })
    assert.is_truthy(e:find("did you mean \"flower\"", 1, true), e)
    if u32() then
      helper.fails("EEXIST", f.add, f, { "u32", dev = "eth0", parent = "1:", protocol = "ip", pref = 5, handle = "800::800",
        u32 = { match = "u32 0 0 at 0" } })
    end
  end)
end)
