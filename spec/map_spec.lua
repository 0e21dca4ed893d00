-- ns.map and nslua map: every namespace that can be found, its links and what they lead to, beside what ip(8) says; drawings; differences.

local core = require "nslua.core"
local cjson = require "cjson"
local helper = require "spec.helper"
local ns = require "nslua"

local HOST = "build/bin/nslua"

describe("a map", function()
  local why = not select(2, helper.sh((helper.is_root() and "" or "unshare -Ur ") .. "unshare -n true")) and "no right to make a network namespace"
  if why then
    return pending(why)
  end

  after_each(helper.close_held)

  -- A machine with a bridge, two boxes on it, and one that is wired to another: all namespaces of this spec.
  local function build()
    local userns = not helper.is_root() and helper.held(ns.userns.new { map_users = "root" }) or nil
    local function fresh()
      return helper.held(ns.netns.new { lo = true, userns = userns })
    end
    local machine, boxes = fresh(), {}
    machine.link:add { name = "br0", kind = "bridge", up = true }
    machine.address:add { "10.5.0.1/24", dev = "br0" }
    for i = 1, 2 do
      local box = fresh()
      boxes[i] = box
      machine.link:add { name = "port" .. i, kind = "veth", master = "br0", up = true, peer = { name = "eth0", netns = box } }
      box.link:change("eth0", { up = true })
      box.address:add { ("10.5.0.%d/24"):format(i + 1), dev = "eth0" }
    end
    return machine, boxes, fresh
  end

  local function of(map, handle)
    for _, space in ipairs(map.namespaces) do
      if space.inode == handle.inode then
        local links = {}
        for _, link in ipairs(space.links) do
          links[link.name] = link
        end
        return space, links
      end
    end
  end

  it("has the namespaces of a script, their links, addresses, ports and far ends", function()
    local machine, boxes, fresh = build()
    local empty = fresh()
    local m = ns.map()
    local space, links = of(m, machine)
    assert.is_nil(space.error)
    assert.equal("bridge", links.br0.kind)
    assert.same({ "10.5.0.1/24" }, { links.br0.addresses[1] })
    for i, box in ipairs(boxes) do
      local port = links["port" .. i]
      assert.equal("br0", port.master)
      assert.equal(box.inode, port.peer.netns)
      assert.equal("eth0", port.peer.link)
      local _, there = of(m, box)
      assert.equal(machine.inode, there.eth0.peer.netns)
      assert.equal("port" .. i, there.eth0.peer.link)
      assert.equal(("10.5.0.%d/24"):format(i + 1), there.eth0.addresses[1])
    end
    local alone = of(m, empty)
    assert.equal("lo", alone.links[1].name)
    assert.is_nil(alone.links[2])
    assert.is_true(of(m, helper.held(ns.netns.current())).current)
    local wires = 0
    for _, wire in ipairs(m.wires) do
      local a, b = wire.ends[1], wire.ends[2]
      if wire.kind == "veth" and (a.netns == machine.inode or b.netns == machine.inode) then
        wires = wires + 1
        assert.is_true(wire.up)
      end
    end
    assert.equal(2, wires)
    assert.equal("boolean", type(m.complete))
    assert.equal("table", type(m.missed))
  end)

  it("says of a namespace what ip(8) says in it", function()
    local machine = build()
    machine.link:add { name = "one", kind = "veth", peer = { name = "other" } }
    local said = core.json.decode(machine:output { "ip", "-j", "link" })
    local _, links = of(ns.map(), machine)
    local count = 0
    for _, each in ipairs(said) do
      local link = links[each.ifname]
      assert.is_truthy(link, each.ifname)
      assert.equal(each.ifindex, link.index)
      assert.equal(each.mtu, link.mtu)
      assert.equal(each.master, link.master)
      assert.equal(each.address, link.address)
      assert.equal(each.link_index, link.peer and link.peer.netns ~= machine.inode and link.peer.index or nil)
      assert.equal(each.link, link.peer and link.peer.netns == machine.inode and link.peer.link or nil)
      count = count + 1
    end
    for _ in pairs(links) do
      count = count - 1
    end
    assert.equal(0, count)
  end)

  it("tells a tunnel's number, its other end, and the link that carries it", function()
    local userns = not helper.is_root() and helper.held(ns.userns.new { map_users = "root" }) or nil
    local a = helper.held(ns.netns.new { lo = true, userns = userns })
    local b = helper.held(ns.netns.new { lo = true, userns = userns })
    ns.connect(a, b, { "10.6.0.1/24", "10.6.0.2/24" })
    local ends = { a, b }
    for i, handle in ipairs(ends) do
      handle.link:add { name = "vx", kind = "vxlan", up = true, vxlan = { id = 42, port = 4789, local_ = "10.6.0." .. i,
        remote = "10.6.0." .. 3 - i } }
    end
    local m = ns.map()
    local _, links = of(m, a)
    local has = links.vx.tunnel
    assert.equal(42, has.id)
    assert.equal("10.6.0.2", has.remote)
    assert.equal("eth0", has.underlay.link)
    assert.equal(a.inode, has.underlay.netns)
    assert.equal(b.inode, has.peer.netns)
    local found = 0
    for _, wire in ipairs(m.wires) do
      found = found + (wire.kind == "vxlan" and wire.ends[1].netns + wire.ends[2].netns == a.inode + b.inode and 1 or 0)
    end
    assert.equal(1, found)
    assert.is_truthy(m:text { columns = 200 }:find("\n  vx [─╌ ]+ vxlan id 42 to vx in "))
  end)

  it("names the nodes of labs and the namespaces of programs", function()
    local name = ("map-spec-%s"):format(core.file.readlink "/proc/self")
    local lab <close> = ns.lab("h1 -- (sw) -- h2", { name = name })
    local program <close> = ns.spawn { "sleep", "1000", unshare = helper.is_root() and "net" or "user,net",
      map_users = not helper.is_root() and "root" or nil }
    local inode = tonumber(core.file.readlink(("/proc/%d/ns/net"):format(program.pid)):match "%d+")
    local m = ns.map()
    local space, links = of(m, lab.h1)
    assert.equal("lab:" .. name .. "/h1", space.title)
    assert.same({ name = name, node = "h1", uid = core.idmap.who() }, space.lab)
    assert.equal("lab:" .. name .. "/sw", links.eth0.peer.title)
    local seen
    for _, each in ipairs(m.namespaces) do
      seen = each.inode == inode and each or seen
    end
    assert.equal(program.pid, seen.pid)
    assert.equal("process", seen.held[1])
    assert.equal(("pid:%d sleep"):format(program.pid), seen.title)
    local text = m:text { columns = 120, all = true }
    assert.is_truthy(text:find(name .. "/h1 eth0 ", 1, true), text)
    assert.is_truthy(text:find("pid:" .. program.pid, 1, true), text)
  end)

  it("is drawn in the columns there are, many leaves in few lines, nothing of a hostile name", function()
    local machine, boxes, fresh = build()
    for i = 3, 20 do
      boxes[i] = fresh()
      machine.link:add { name = "port" .. i, kind = "veth", master = "br0", up = true, peer = { name = "eth0", netns = boxes[i] } }
      boxes[i].link:change("eth0", { up = true })
    end
    machine.link:add { name = "e\27[2J<b>&", kind = "veth", peer = { name = "other" } }
    local m = ns.map()
    local plain = require("nslua.draw").plain
    for columns, clipped in pairs { "~", "a~", "ab~", "ab~", "ab中~", "ab中d~", "ab中d─f", "ab中d─f" } do
      assert.equal(clipped, plain.clip("ab中d─f", columns, "~"))
    end
    for _, columns in ipairs { 40, 80 } do
      for line in m:text { columns = columns }:gmatch "[^\n]+" do
        assert.is_true(plain.width(line) <= columns, line)
      end
    end
    assert.is_truthy(m:text():find "\n  └─ and %d+ more like these: ")
    assert.is_nil(m:text { all = true }:find " more like these: ")
    assert.is_nil(m:text { ascii = true }:find "[\x80-\xff]")
    for _, way in ipairs { "text", "svg", "dot", "mermaid", "json" } do
      assert.is_nil(m[way](m):find "\27", way)
    end
    local svg = m:svg()
    assert.is_nil(svg:find("<b>", 1, true))
    assert.is_truthy(svg:find("&lt;b&gt;&amp;", 1, true))
    assert.is_truthy(svg:find(" on br0<", 1, true))
    if helper.has "xmllint" then
      local path = os.tmpname()
      local f = assert(io.open(path, "w"))
      f:write(svg)
      f:close()
      local out, ok = helper.sh("xmllint --noout " .. path .. " 2>&1")
      os.remove(path)
      assert.is_true(ok, out)
    end
  end)

  it("draws many on one bridge beside it, in the order in which people count", function()
    local sw = { inode = 1, title = "sw", names = {}, containers = {}, held = {}, paths = {}, processes = 1,
      links = { { index = 1, name = "br0", kind = "bridge", up = true, addresses = {} } } }
    local spaces, wires = { sw }, {}
    for i = 1, 120 do
      local leaf = { inode = 1 + i, title = "h" .. 121 - i, names = {}, containers = {}, held = {}, paths = {}, processes = 1, links = { { index = 2,
        name = "eth0", kind = "veth", up = true, addresses = { ("10.0.0.%d/24"):format(i) }, peer = { netns = 1, index = 1 + i } } } }
      sw.links[1 + i] = { index = 1 + i, name = "p" .. i, kind = "veth", up = true, addresses = {}, master = "br0", master_index = 1,
        peer = { netns = 1 + i, index = 2 } }
      spaces[1 + i] = leaf
      wires[i] = { kind = "veth", up = true, ends = { { netns = 1, index = 1 + i, link = "p" .. i }, { netns = 1 + i, index = 2, link = "eth0" } } }
    end
    local svg = ns.map.load(cjson.encode { version = 1, time = 0, namespaces = spaces, wires = wires, complete = true, missed = {} }):svg()
    local first, second, tenth = svg:find(">h1<", 1, true), svg:find(">h2<", 1, true), svg:find(">h10<", 1, true)
    assert.is_true(first < second and second < tenth)
    local x, wide = svg:match 'class="panel" x="([%d.]+)" y="[%d.]+" width="([%d.]+)"'
    assert.is_true(tonumber(x) < 300 and tonumber(wide) > 600, svg:sub(1, 200)) -- not a panel's width away from it
  end)

  it("is cut down to what is around something", function()
    local name = ("around%d"):format(math.random(1, 1 << 30))
    local l = helper.held(ns.lab("h1 -- r1 -- (sw) -- h2\n (sw) -- h3", { name = name }))
    local whole = ns.map()
    local function titles(map)
      local out = {}
      for i, space in ipairs(map.namespaces) do
        out[i] = space.title:match "[^/]*$"
      end
      return table.concat(out, " ")
    end
    local one = whole:around(("lab:%s/h1"):format(name))
    assert.equal("h1 r1", titles(one))
    assert.equal(1, #one.wires)
    assert.same({ "lo", "eth0" }, { one.namespaces[2].links[1].name, one.namespaces[2].links[2].name })
    assert.is_nil(one.namespaces[2].links[3]) -- what leads on is left out
    assert.equal("h1 r1 sw", titles(whole:around(("lab:%s/h1"):format(name), { hops = 2 })))
    assert.equal("h1 h2 h3 r1 sw", titles(whole:around("lab:" .. name, { hops = 0 })))
    assert.equal("h2", titles(whole:around(l.h2.inode, { hops = 0 })))
    assert.is_true(#whole.namespaces >= 5) -- that one is as it was
    local e = helper.fails("ENOENT", whole.around, whole, ("lab:%s/h9"):format(name))
    assert.matches("did you mean 'lab:" .. name .. "/h", e, 1, true)
    assert.error_matches(function() whole:around("x", { hop = 1 }) end, "hops")
    local out, ok = helper.sh(("build/bin/nslua map --json -H 0 lab:%s/sw 2>/dev/null"):format(name))
    assert(ok, out)
    assert.equal("sw", titles(ns.map.load(out)))
    local said, _, status = helper.sh(("build/bin/nslua map lab:%s/nobody"):format(name))
    assert.is_true(status ~= 0 and said:find("unknown container, namespace or lab", 1, true) ~= nil, said)
    assert.is_true(select(3, helper.sh "build/bin/nslua map -H 1") ~= 0)
  end)

  it("differs from another in what has changed between them", function()
    local machine, boxes, fresh = build()
    local ours = {}
    local function take(changes)
      local out = {}
      for _, each in ipairs(changes) do
        if ours[each.netns] then
          local fields = {}
          for field in pairs(each.changes or {}) do
            fields[#fields + 1] = field
          end
          out[#out + 1] = table.concat({ each.action, each.what, ours[each.netns], each.link or "-", each.address or fields[1] or "-" }, " ")
        end
      end
      table.sort(out)
      return out
    end
    ours[machine.inode], ours[boxes[1].inode], ours[boxes[2].inode] = "machine", "one", "two"
    local before = ns.map.load(ns.map():json())
    machine.link:change("port2", { mtu = 1400 })
    machine.address:add { "10.7.0.1/24", dev = "br0" }
    boxes[1].address:delete { "10.5.0.2/24", dev = "eth0" }
    local new = fresh()
    ours[new.inode] = "new"
    local changes = take(before:diff(ns.map()))
    local wanted = { "change link machine port2 mtu", "delete address one eth0 10.5.0.2/24", "new address machine br0 10.7.0.1/24",
      "new namespace new - -" }
    local set = {}
    for _, each in ipairs(changes) do
      set[each] = true
    end
    for _, each in ipairs(wanted) do
      assert.is_true(set[each], each .. " is not among: " .. table.concat(changes, "; "))
    end
    assert.same({}, ns.map.diff(before, before))
    helper.fails("EINVAL", ns.map.load, "{}")
    helper.fails("EINVAL", ns.map.load, "no map")
    assert.has_error(function()
      ns.map.diff(before, {})
    end)
  end)

  it("leaves nothing open and no ids in the namespaces it looked at", function()
    local machine = build()
    ns.map()
    local had, ids = helper.fd_count(), #machine:nsids()
    ns.map()
    assert.equal(had, helper.fd_count())
    assert.equal(ids, #machine:nsids())
  end)

  it("is drawn again when something changes", function()
    local machine = build()
    local watch = helper.held(machine:spawn { HOST, "map", "--watch", "--all", stdout = "pipe", stderr = "null" })
    local function until_seen(text)
      for line in watch.stdout:lines() do
        if line:find(text, 1, true) then
          return true
        end
      end
      return false
    end
    assert.is_true(until_seen "br0 bridge 10.5.0.1/24")
    machine.link:add { name = "newcomer", kind = "bridge" }
    assert.is_true(until_seen "newcomer")
    watch:kill "INT"
    assert.is_truthy(watch:wait(20))
  end)

  it("is a command: text, JSON, and what has changed since", function()
    local machine = build()
    local function map(words)
      return ns.run { HOST, "map", table.unpack(words) }
    end
    local path = os.tmpname()
    local r = map { "--json" }
    assert.equal(0, r.status, r.stderr)
    local f = assert(io.open(path, "w"))
    f:write(r.stdout)
    f:close()
    local found = of(core.json.decode(r.stdout), machine)
    assert.is_truthy(found)
    machine.link:change("port2", { mtu = 1300 })
    r = map { "--diff", path }
    os.remove(path)
    assert.equal(1, r.status, r.stderr)
    if not found.error then
      assert.is_truthy(r.stdout:find("~  " .. found.title .. "  port2  mtu 1500 -> 1300", 1, true), r.stdout)
    end
    for _, format in ipairs { "text", "svg", "dot", "mermaid" } do
      r = map { "--" .. format }
      assert.equal(0, r.status, r.stderr)
      assert.is_true(#r.stdout > 20)
    end
    assert.equal(2, map({ "--svg", "--dot" }).status)
    assert.equal(2, map({ "--diff", "/no/such/file" }).status)
  end)
end)
