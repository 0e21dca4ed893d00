-- Transactions of random operations: whatever was done, all is afterwards as ip(8) showed it before, in its order.

local helper = require "spec.helper"
local ns = require "nslua"
local rtnl = require "spec.rtnl_helper"

local why = rtnl.cannot()
if why then
  return it("", function()
    pending(why)
  end)
end

local ROUNDS, MOST, SEED = helper.rounds(40, 15), 7, 20240607

-- The same numbers with every Lua.
local state = SEED
local function random(n)
  state = (state * 16807) % 2147483647
  return state % n + 1
end
local function one(list)
  return list[random(#list)]
end
local function maybe(value)
  return random(2) == 1 and value or nil
end

-- Few programs for all of it, as it is asked often: a batch of ip(8) shows routes of both families, but rules of one.
local shown = "sh -c 'printf \"addr\\nroute show table all\\nrule\\nnexthop\\n\" | ip -d -b -; ip -6 rule; echo; ip neigh show nud permanent;"
  .. " bridge fdb show br br0; bridge mdb show'"

local function dump(handle)
  local out = rtnl.inside(handle, shown):gsub("valid_lft %d+sec", "valid_lft some"):gsub("preferred_lft %d+sec", "preferred_lft some")
    :gsub("(_timer) +[%d.]+", "%1"):gsub("Error: Peer netns reference is invalid%.\n?", "") -- a name in /run/netns that went while ip looked at it
    :gsub("expires %d+sec", "expires some"):gsub("proto 0x%x+", "")
  local ordered, rest = out:match "^(.-\n)\n(.*)$"
  local lines = {} -- of what has no order
  for line in rest:gmatch "[^\n]+" do
    lines[#lines + 1] = not line:find " temp" and not line:find "33:33" and line or nil
  end
  table.sort(lines)
  return ordered .. table.concat(lines, "\n")
end

-- Lines of two texts, side by side from where they part.
local function parted(before, after)
  local a, b = {}, {}
  for line in before:gmatch "[^\n]+" do
    a[#a + 1] = line
  end
  for line in after:gmatch "[^\n]+" do
    b[#b + 1] = line
  end
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then
      return ("- %s\n+ %s\n- %s\n+ %s"):format(a[i] or "", b[i] or "", a[i + 1] or "", b[i + 1] or "")
    end
  end
  return "no line differs"
end

describe("a transaction of random operations", function()
  local a

  setup(function()
    a = rtnl.netns "a"
    for _, name in ipairs { "default", "all" } do
      a:sysctl("net.ipv6.conf." .. name .. ".addr_gen_mode", 1)
      a:sysctl("net.ipv6.conf." .. name .. ".accept_dad", 0)
    end
    a.link:add { name = "br0", kind = "bridge", address = "02:00:00:00:00:99", up = true, bridge = { mcast_snooping = true } }
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1", up = true }, up = true }
    a.link:add { name = "p0", kind = "veth", peer = { name = "p1", up = true }, up = true, master = "br0" }
    a.link:change("p0", { port = { cost = 33, hairpin = true } })
    for i = 1, 3 do
      a.address:add { ("10.0.0.%d/24"):format(i), dev = "v0", label = i == 3 and "v0:x" or nil }
      a.address:add { ("fd00::%d/64"):format(i), dev = "v0", nodad = true }
    end
    a.address:add { "10.1.0.1/24", dev = "br0" }
    a.nexthop:add { id = 1, via = "10.0.0.50", dev = "v0" }
    a.nexthop:add { id = 2, via = "10.0.0.51", dev = "v0" }
    a.nexthop:add { id = 3, group = { { id = 1 }, { id = 2 } } }
    a.nexthop:add { id = 4, via = "fd00::50", dev = "v0" }
    a.route:add { "10.9.0.0/16", via = "10.0.0.2", metric = 5, mtu = 1300 }
    for i = 60, 62 do
      a.route:append { "10.8.0.0/16", via = "10.0.0." .. i }
    end
    a.route:add { "10.7.0.0/16", nhid = 3 }
    a.route:add { "10.6.0.0/16", nhid = 1, metric = 7 }
    a.route:add { "10.5.0.0/16", nexthops = { { via = "10.0.0.70", weight = 3 }, { via = "10.0.0.71" } } }
    a.route:add { "default", via = "10.0.0.254" }
    a.route:add { "default", via = "fd00::254" }
    a.route:add { "fd09::/64", via = "fd00::9", metric = 5 }
    a.route:append { "fd08::/64", via = "fd00::60" }
    a.route:append { "fd08::/64", via = "fd00::61" }
    a.route:add { "fd07::/64", nhid = 4 }
    a.route:add { "fd06::/64", via = "fd00::6", expires = 3000 }
    a.rule:add { from = "10.0.0.0/8", table = 100, priority = 77 }
    a.rule:add { from = "10.1.0.0/16", table = 101, priority = 77 }
    a.rule:add { from = "10.2.0.0/16", table = 102, priority = 77 }
    a.rule:add { from = "fd00::/16", table = 100, priority = 77 }
    a.neighbour:add { "10.0.0.7", dev = "v0", lladdr = "02:00:00:00:00:02" }
    a.neighbour:add { "fd00::7", dev = "v0", lladdr = "02:00:00:00:00:02" }
    a.fdb:add { "02:00:00:00:00:aa", dev = "p0", master = true, state = "static" }
    a.fdb:add { "02:00:00:00:00:ab", dev = "p0", master = true, state = "permanent" }
    assert(ns.eventually(function()
      return a.link:get("v0").operstate == "up" and a.link:get("p0").operstate == "up" and a.link:get("br0").operstate == "up"
        and a.link:get("p0").port.state == "forwarding"
    end, 10))
  end)
  teardown(rtnl.close)

  local function gateway(dst)
    return (dst:find(":", 1, true) and "fd00::" or "10.0.0.") .. one { "2", "9", "60", "61", "62", "70" }
  end
  local prefixes = { "10.9.0.0/16", "10.8.0.0/16", "10.7.0.0/16", "10.6.0.0/16", "10.5.0.0/16", "fd09::/64", "fd08::/64", "fd07::/64", "fd06::/64" }

  local function route()
    local dst = one(prefixes)
    if random(5) == 1 then
      local six = random(2) == 1
      return { "default", via = gateway(six and "::" or ""), metric = maybe(5) }
    end
    local six = dst:find(":", 1, true)
    local t = { dst, metric = maybe(one { 5, 7 }), table = random(6) == 1 and 100 or nil, mtu = random(3) == 1 and 1400 or nil }
    local how = random(6)
    if how == 1 then
      t.type = one { "blackhole", "unreachable" }
    elseif how == 2 then
      t.nhid = six and 4 or one { 1, 2, 3 }
    elseif how == 3 then
      t.nexthops = { { via = gateway(dst) }, { via = gateway(dst), weight = 2 } }
    elseif how == 4 then
      t.dev = "v0"
    else
      t.via = gateway(dst)
    end
    return t
  end

  local function route_key()
    local t = route()
    return { t[1], metric = t.metric, table = t.table, family = t[1] == "default" and one { "inet", "inet6" } or nil }
  end

  local function cidr()
    return one { "10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24", "10.0.0.4/24", "10.4.0.1/24", "fd00::1/64", "fd00::2/64", "fd00::3/64", "fd00::4/64" }
  end

  local operations = {
    function() a.address:add { cidr(), dev = "v0" } end,
    function() a.address:delete { cidr(), dev = "v0" } end,
    function() a.address:replace { cidr(), dev = "v0", valid_lft = maybe(4000) } end,
    function() a.address:change({ cidr(), dev = "v0" }, { metric = 700 }) end,
    function() a.route:add(route()) end,
    function() a.route:append(route()) end,
    function() a.route:replace(route()) end,
    function() a.route:replace(route()) end,
    function() a.route:delete(route_key()) end,
    function() a.route:delete(route_key()) end,
    function() a.route:change(route_key(), one { { mtu = 1280 }, { metric = 9 }, { via = "10.0.0.9" }, { table = 101 } }) end,
    function() a.rule:add { from = one { "10.3.0.0/16", "fd03::/16" }, table = 100, priority = one { 77, 78 } } end,
    function() a.rule:delete(one { { from = "10.0.0.0/8" }, { from = "10.1.0.0/16" }, { from = "fd00::/16" } }) end,
    function() a.rule:change({ from = one { "10.0.0.0/8", "10.2.0.0/16" } }, { table = 200 }) end,
    function() a.rule:replace { from = "10.4.0.0/16", table = 100, priority = 77 } end,
    function() a.neighbour:delete { one { "10.0.0.7", "fd00::7" }, dev = "v0" } end,
    function() a.neighbour:replace { "10.0.0.7", dev = "v0", lladdr = "02:00:00:00:00:03" } end,
    function() a.nexthop:delete(one { 1, 2, 3, 4 }) end,
    function() a.nexthop:replace { id = 1, via = "10.0.0.77", dev = "v0" } end,
    function() a.nexthop:add { id = 9, via = "10.0.0.78", dev = "v0" } end,
    function() a.link:change("v0", { up = random(2) == 1 }) end,
    function() a.link:change("v0", { name = "w0" }) end,
    function() a.link:change("v0", { mtu = one { 1000, 1400, 1500 } }) end,
    function() a.link:change("v0", { arp = random(2) == 1 }) end,
    function() a.link:change("v0", { multicast = random(2) == 1, promisc = random(2) == 1 }) end,
    function() a.link:change("v0", { address = "02:00:00:00:00:55" }) end,
    function() a.link:change("v0", { alias = "an alias", altnames = { "other" }, group = 7 }) end,
    function() a.link:change("v0", { master = one { "br0", false } }) end,
    function() a.link:change("p0", { master = false }) end,
    function() a.link:change("p0", { port = { cost = 44, learning = false } }) end,
    function() a.link:change("p0", { up = false }) end,
    function() a.fdb:delete { one { "02:00:00:00:00:aa", "02:00:00:00:00:ab" }, dev = "p0", master = true } end,
    function() a.fdb:add { "02:00:00:00:00:ac", dev = "p0", master = true } end,
    function() a.link:change("br0", { bridge = { ageing_time = 20 }, up = random(2) == 1 }) end,
    function() a.link:add { name = "x0", kind = "veth", peer = { name = "x1" }, master = "br0", up = true } end,
  }

  it("leaves nothing of them behind", function()
    local before = dump(a)
    for round = 1, ROUNDS do
      local done = {}
      local ok, e = pcall(a.transaction, a, function()
        for _ = 1, random(MOST) do
          local which = random(#operations)
          local fine, failed = pcall(operations[which]) -- the kernel may refuse: then nothing has been done
          done[#done + 1] = which .. (fine and "" or " (" .. tostring(failed) .. ")")
        end
        error("the end", 0)
      end)
      local what = ("seed %d, round %d: operations %s"):format(SEED, round, table.concat(done, ", "))
      assert.is_false(ok)
      assert.equal("the end", e, what)
      local after
      local same = pcall(ns.eventually, function() -- carrier and what follows from it come a little later
        after = dump(a)
        return after == before
      end, 10)
      assert.is_true(same, what .. "\n" .. parted(before, after))
    end
  end)
end)
