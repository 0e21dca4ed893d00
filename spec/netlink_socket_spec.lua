-- Netlink sockets: what is a reply, dumps, batches, events, extended acks.

local ns = require "nslua"
local core = require "nslua.core"
local schema = require "nslua.schema"
local helper = require "spec.helper"
require "nslua.rtnl.link"
require "nslua.rtnl.route"
require("nslua.rtnl.kind").load "vxlan"

local link, route = schema.compile "link", schema.compile "route"
local NEWLINK, DELLINK, GETLINK, NEWROUTE, DELROUTE, GETROUTE = 16, 17, 18, 24, 25, 26
local ACK, ECHO, CREATE_EXCL = 4, 8, 0x600
local E = core.errno
local pid = io.open("/proc/self/stat"):read "*n"

local made, why = pcall(helper.netns, { lo = true })
if made then
  why:close()
end

describe("a netlink socket", function()
  if not made then
    return it("", function()
      pending("no namespace can be made: " .. tostring(why))
    end)
  end

  local a, nl

  local function socket()
    return assert(core.netlink.open(a:raw_socket(16, 3, 0)))
  end

  before_each(function()
    a = helper.netns { lo = true }
    nl = socket()
  end)
  after_each(function()
    nl:close()
    a:close()
  end)

  -- Requests for n routes to single addresses.
  local function routes(n, flags)
    local list = {}
    for i = 0, n - 1 do
      list[#list + 1] = { NEWROUTE, flags or CREATE_EXCL, route:encode {
        family = "inet", dst_len = 32, type = "unicast", table8 = 254, scope_number = 253, proto_number = 4, dev_index = 1,
        dst_address = ("10.9.%d.%d"):format(math.floor(i / 256), i % 256),
      } }
    end
    return list
  end

  local function routes_of(t)
    return route:encode { family = "inet", table8 = t }
  end

  it("takes over its fd, and closes once", function()
    local fd = a:raw_socket(16, 3, 0)
    local number = fd:number()
    local s = assert(core.netlink.open(fd))
    assert.is_false(fd:isopen())
    assert.are.equal(number, s:getfd())
    assert.are.equal(number, s:pollfd())
    assert.are.equal("r", s:events())
    assert.is_nil(s:timeout())
    assert.is_true(s:own())
    assert.is_true(s:close())
    assert.is_true(s:close())
    assert.has_error(function() s:getfd() end)
    assert.has_error(function() s:request(GETLINK, 0, "") end)
    assert.are.equal("netlink socket (closed)", tostring(s))
    assert.has_error(function() core.netlink.open(a:raw_socket(2, 2, 0)) end) -- AF_INET
    assert.has_error(function() core.netlink.open(3) end)
  end)

  it("leaves no fd", function()
    local function count()
      local n = 0
      for _ in pairs(helper.fds()) do
        n = n + 1
      end
      return n
    end
    collectgarbage()
    collectgarbage()
    local before = count()
    for i = 1, 300 do
      local s = socket()
      s:get(GETLINK, link:encode { index = 1 }, link)
      if i % 2 == 0 then
        s:close()
      end
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(count() <= before)
  end)

  it("has a port of its own, not the pid", function()
    local other = socket()
    assert.are_not.equal(nl:port(), other:port())
    other:close()
  end)

  it("gets one object", function()
    local row = assert(nl:get(GETLINK, link:encode { name = "lo" }, link))
    assert.are.equal(1, row.index)
    local nothing, message, errno = nl:get(GETLINK, link:encode { index = 99 }, link)
    assert.is_nil(nothing)
    assert.are.equal("netlink: No such device", message)
    assert.are.equal(E.ENODEV, errno)
    local list = assert(nl:request(GETLINK, 0, link:encode { index = 1 }))
    assert.are.equal(1, #list)
    assert.are.equal(NEWLINK, list[1][1])
    assert.are.equal("lo", link:decode(list[1][2]).name)
  end)

  it("waits for the ack, and gives what was echoed before it", function()
    local payload = routes(1)[1][3]
    local list, warning = nl:request(NEWROUTE, CREATE_EXCL + ACK, payload)
    assert.are.same({}, list)
    assert.is_nil(warning)
    local none, message, errno, extack = nl:request(NEWROUTE, CREATE_EXCL + ACK, payload)
    assert.is_nil(none)
    assert.are.equal("netlink: File exists", message)
    assert.are.equal(E.EEXIST, errno)
    assert.is_true(extack == nil or type(extack) == "table")
    list = assert(nl:request(DELROUTE, ACK + ECHO, payload))
    assert.are.equal(1, #list)
    assert.are.equal(DELROUTE, list[1][1])
    assert.has_error(function() nl:request(GETROUTE, 0x300, payload) end)
  end)

  it("tells what the kernel said: text, attribute, range", function()
    local none, _, errno, extack = nl:request(NEWLINK, CREATE_EXCL + ACK, link:encode { name = "x", linkinfo = { kind = "nokind" } })
    assert.is_nil(none)
    assert.are.equal(E.EOPNOTSUPP, errno)
    assert.are.equal("Unknown device type", extack.message)
    local payload = link:encode { name = "vx0", linkinfo = { kind = "vxlan", data = { id = 33554432, port = 4789 } } }
    none, _, errno, extack = nl:request(NEWLINK, CREATE_EXCL + ACK, payload)
    assert.is_nil(none)
    if errno == E.ERANGE then -- this kernel has vxlan
      local path, value = link:path(payload, extack.offset)
      assert.are.equal("linkinfo.data.id", path)
      assert.are.equal(33554432, value)
    end
    -- a name of 20 bytes, past encode's check
    payload = link:encode { ["#3"] = ("x"):rep(20) }
    none, _, errno, extack = nl:request(NEWLINK, CREATE_EXCL + ACK, payload)
    assert.is_nil(none)
    assert.are.equal(E.ERANGE, errno)
    assert.are.equal("name", (link:path(payload, extack.offset)))
    assert.are.equal("at most 15 bytes", extack.range)
    assert.are.equal(15, extack.policy.max_length)
  end)

  it("checks strictly: what a get does not take is an error", function()
    local none, _, errno, extack = nl:dump(GETLINK, 0, link:encode { index = 1, mtu = 5 })
    assert.is_nil(none)
    assert.are.equal(E.EINVAL, errno)
    assert.is_string(extack.message)
  end)

  it("dumps: all at once, by number, as rows, step by step", function()
    local failures = nl:batch(routes(3000))
    assert.are.same({}, failures)
    local d = assert(nl:dump(GETROUTE, 0, routes_of(254)))
    assert.are.equal(3000, #d)
    assert.is_false(d.interrupted)
    assert.is_true(d.filtered)
    assert.is_nil(d.nothing)
    local seen = {}
    for row in d:each(route) do
      seen[row.dst_address] = true
    end
    for i = 0, 2999 do
      assert.is_true(seen[("10.9.%d.%d"):format(math.floor(i / 256), i % 256)])
    end
    local numbered = {}
    for _, i in ipairs { 1, 3000, 1500, 1499 } do
      numbered[i] = d:row(i, route)
    end
    local kind, bytes = d:message(7)
    assert.are.equal(NEWROUTE, kind)
    assert.has_error(function() d:message(0) end)
    assert.has_error(function() d:message(3001) end)
    local rows = d:rows(route)
    assert.are.equal(3000, #rows)
    for i, row in pairs(numbered) do
      assert.are.equal(rows[i], row)
    end
    assert.are.equal(schema.bytes(rows[7]), bytes)
    assert.are.equal(0, #d)
    assert.has_error(function() d:message(1) end)
    assert.are.same({}, d:rows(route))
    d = assert(nl:dump(GETROUTE, 0, routes_of(254)))
    local ok = pcall(d.rows, d, route, nil, nil, function(row)
      return row.dst_address == "10.9.3.7" and error "in the middle"
    end)
    assert.is_false(ok)
    assert.has_error(function() d:row(1, route) end)
    d = assert(nl:dump(GETROUTE, 0, routes_of(254)))
    local few = d:rows(route, nil, nil, function(row)
      return row.dst_address == "10.9.3.7"
    end)
    assert.are.equal(1, #few)
    assert.are.equal("10.9.3.7", few[1].dst_address)
    d = assert(nl:dump(GETROUTE, 0, routes_of(254)))
    assert.are.equal(0, #d:rows(route, nil, nil, nil, 10))
    d = assert(nl:dump(GETROUTE, 0, routes_of(254)))
    assert.are.equal(3000, #d:rows(route, nil, nil, nil, 2))
    d = nil
    collectgarbage()
    collectgarbage()
    assert.are.equal(254, rows[2].table8)
  end)

  it("lists: the rows of a dump, without keeping it", function()
    nl:batch(routes(3000))
    local wanted = assert(nl:dump(GETROUTE, 0, routes_of(254))):rows(route)
    local rows, interrupted = nl:list(GETROUTE, 0, routes_of(254), route)
    assert.are.equal(3000, #rows)
    assert.is_false(interrupted)
    for i, row in ipairs(rows) do
      assert.are.equal(wanted[i], row)
      assert.are.equal(schema.bytes(wanted[i]), schema.bytes(row))
    end
    assert.are.equal(0, #nl:list(GETROUTE, 0, routes_of(254), route, nil, nil, 10))
    assert.are.equal(3000, #nl:list(GETROUTE, 0, routes_of(254), route, nil, nil, 2))
    assert.are.same({}, (nl:list(GETROUTE, 0, route:encode { family = "inet", table_number = 424242 }, route)))
    local set = {}
    rows = nl:list(GETROUTE, 0, routes_of(254), route, nil, set)
    assert.are.equal(set, schema.rowset(rows[3000]))
    local none, _, errno, extack = nl:list(GETLINK, 0, link:encode { index = 1, mtu = 5 }, link)
    assert.is_nil(none)
    assert.are.equal(E.EINVAL, errno)
    assert.is_string(extack.message)
    assert.has_error(function() nl:list(GETLINK, 0, link:encode {}) end)
    assert.are.equal("lo", nl:get(GETLINK, link:encode { index = 1 }, link).name)
  end)

  it("is kept from finalisers while it lists, and free after an error in the middle", function()
    nl:batch(routes(3000))
    local seen, newproxy = {}, rawget(_G, "newproxy") -- Lua 5.1 finalises no tables
    local function litter()
      local proxy = newproxy and newproxy(true) or setmetatable({}, {})
      getmetatable(proxy).__gc = function()
        local ok, e = pcall(nl.get, nl, GETLINK, link:encode { index = 1 }, link)
        seen[#seen + 1] = not ok and tostring(e) or nil -- between two lists it gets its answer
      end
      if not newproxy then
        setmetatable(proxy, getmetatable(proxy)) -- marked when the metamethod is there
      end
    end
    local inside = 0
    for _ = 1, 50 do
      litter()
      local before = #seen
      assert.are.equal(3000, #nl:list(GETROUTE, 0, routes_of(254), route))
      inside = inside + #seen - before
      if inside > 0 then
        break
      end
    end
    assert.is_true(inside > 0, "the collector never ran while rows were made")
    assert.is_truthy(tostring(seen[#seen]):find "waiting for an answer")
    assert.has_error(function() nl:list(GETROUTE, 0, routes_of(254), route, 7) end)
    assert.are.equal("lo", nl:get(GETLINK, link:encode { index = 1 }, link).name)
  end)

  it("gives rows to each that live until the next step", function()
    nl:batch(routes(5))
    local kept, last
    for row in nl:dump(GETROUTE, 0, routes_of(254)):each(route) do
      if kept then
        local ok, e = pcall(function() return kept.dst_address end)
        assert.is_false(ok)
        assert.is_truthy(e:find "this row lived until the next step of each: call decode%(%) to keep it")
        assert.is_false((pcall(function() return kept:decode() end)))
        assert.is_false((pcall(function() return kept:json() end)))
        assert.is_truthy(tostring(kept):find "expired")
      end
      kept = row
      last = row.dst_address
    end
    assert.is_string(last)
    assert.is_false((pcall(function() return kept.dst_address end)), "the last one ends with the loop")
    -- left early: the row stays, and the socket is free
    kept = nl:dump(GETROUTE, 0, routes_of(254)):each(route)()
    collectgarbage()
    collectgarbage()
    assert.are.equal("10.9.0.0", kept.dst_address)
    assert.are.equal(5, #nl:dump(GETROUTE, 0, routes_of(254)))
    local first
    nl:dump(GETROUTE, 0, routes_of(254)):rows(route, nil, nil, function(row)
      first = first or row
      return true
    end)
    assert.is_false((pcall(function() return first.dst_address end)))
  end)

  it("takes a dump of a table that is not there as empty", function()
    local d = assert(nl:dump(GETROUTE, 0, route:encode { family = "inet", table_number = 424242 }))
    assert.are.equal(0, #d)
    assert.are.same({}, d:rows(route))
  end)

  it("runs batches, each error tied to its request, and goes on after it", function()
    local list = routes(500)
    list[100] = { DELLINK, 0, link:encode { name = "none100" } }
    list[333] = { NEWLINK, CREATE_EXCL, link:encode { name = "x", linkinfo = { kind = "nokind" } } }
    list[500] = { DELLINK, 0, link:encode { name = "none500" } }
    local failures, warnings = nl:batch(list)
    assert.are.equal(3, #failures)
    assert.are.same({ 100, 333, 500 }, { failures[1].index, failures[2].index, failures[3].index })
    assert.are.equal(E.ENODEV, failures[1].errno)
    assert.are.equal("No such device", failures[1].message)
    assert.are.equal("Unknown device type", failures[2].extack.message)
    assert.is_nil(failures[1].unknown)
    assert.are.same({}, warnings)
    assert.are.equal(497, #nl:dump(GETROUTE, 0, routes_of(254)))
  end)

  it("finds the index of a link by its name", function()
    assert.are.equal(1, nl:index "lo")
    a.link:add { name = "fifteen-bytes-x", kind = "bridge", up = true, altnames = { "other", "longer than fifteen bytes" } }
    local index = a.link:get("fifteen-bytes-x").index
    assert.are.equal(index, nl:index "fifteen-bytes-x")
    assert.are.equal(index, nl:index "other")
    assert.is_false(nl:index "fifteen-bytes")
    assert.is_false(nl:index "lo:1")
    assert.is_false(nl:index "..")
    for _, name in ipairs { "", "sixteen-bytes-xx", "lo\0", "l\0o" } do
      assert.has_error(function() nl:index(name) end)
    end
    -- as users meet it
    for _, name in ipairs { "fifteen-bytes-x", "other", "longer than fifteen bytes", index } do
      a.route:replace { "10.1.0.0/16", dev = name }
      assert.are.equal(index, a.route:get("10.1.0.0/16").dev_index)
      a.route:delete "10.1.0.0/16"
    end
    for _, name in ipairs { "none", "lo:1", "", "longer than sixteen bytes" } do
      local ok, e = pcall(a.route.add, a.route, { "10.1.0.0/16", dev = name })
      assert.is_false(ok)
      assert.is_truthy(tostring(e):find "route.add", tostring(e))
    end
  end)

  it("takes requests that are alike but for an address as a list", function()
    local words = { dev = "lo", metric = 7 }
    local function alike()
      return core.netlink.alike(routes(1)[1][3], 32, 16, 4, words)
    end
    local some = alike()
    assert.are.equal(0, #some)
    local first = { "10.9.1.1", dev = "lo", metric = 7 }
    assert.is_true(some:add(first))
    for _, t in ipairs { {}, { "10.9.1.2" }, { "10.9.1.2", dev = "lo" }, { "10.9.1.2", dev = "lo", metric = 8 },
      { "10.9.1.2", dev = "lo", metric = 7, tos = 1 },
      { "10.9.1.2", dev = "lo", tos = 7 }, { "10.9.1.0/24", dev = "lo", metric = 7 }, { "fd00::1", dev = "lo", metric = 7 },
      { 5, dev = "lo", metric = 7 },
      { dev = "lo", metric = 7 }, { "10.9.1", dev = "lo", metric = 7 }, { "10.9.1.2", "x", dev = "lo", metric = 7 }, "10.9.1.2" } do
      assert.is_false(some:add(t))
    end
    assert.are.equal(1, #some)
    for i = 2, 300 do
      assert.is_true(some:add { ("10.9.%d.%d/32"):format(i % 256, 255), dev = "lo", metric = 7 })
    end
    local bytes, asked = some:get(1)
    assert.are.equal(first, asked)
    assert.are.equal("10.9.1.1", route:decode(bytes).dst_address)
    assert.are.equal("10.9.43.255", route:decode((some:get(299))).dst_address)
    assert.has_error(function() some:get(0) end)
    assert.has_error(function() some:get(301) end)
    local others = alike()
    others:add(first)
    -- 257 to 300 are those of 1 to 44 again, but for the first
    local failures = nl:batch { routes(1)[1], { NEWROUTE, CREATE_EXCL, some }, { DELLINK, 0, link:encode { name = "none" } },
      { NEWROUTE, CREATE_EXCL, alike() }, { NEWROUTE, CREATE_EXCL, others }, routes(1)[1] }
    local at = {}
    for i, f in ipairs(failures) do
      at[i] = f.index
      assert.are.equal(f.index == 302 and E.ENODEV or E.EEXIST, f.errno)
    end
    local wanted = {}
    for i = 258, 300 do
      wanted[#wanted + 1] = i + 1 -- one is in front
    end
    for _, i in ipairs { 302, 303, 304 } do
      wanted[#wanted + 1] = i
    end
    assert.are.same(wanted, at)
    assert.are.equal(258, #nl:dump(GETROUTE, 0, routes_of(254)))
    assert.is_false(some:add(first), "what was sent takes no more")
    assert.has_error(function() nl:batch { { NEWROUTE, ECHO, others } } end)
    assert.has_error(function() core.netlink.alike("", 32, 0, 4, {}) end)
    assert.has_error(function() core.netlink.alike("abcd", 32, 1, 4, {}) end)
    assert.has_error(function() core.netlink.alike("abcd", 33, 0, 4, {}) end)
    assert.has_error(function() core.netlink.alike("abcd", 32, -1, 4, {}) end)
    assert.has_error(function() core.netlink.alike("abcd", 32, 0, 5, {}) end)
    assert.has_error(function() core.netlink.alike(("x"):rep(257), 32, 0, 4, {}) end)
    assert.has_error(function() core.netlink.alike("abcd", 32, 0, 4) end)
  end)

  it("loses no answer of a batch, whatever the receive queue holds", function()
    local list = {}
    for i = 1, 1000 do
      list[i] = { NEWLINK, CREATE_EXCL + ACK, link:encode { name = "lo" } } -- for an unknown kind the kernel would look for a module each time
    end
    for _, size in ipairs { false, 1 } do
      if size then
        assert.is_true(nl:buffer(size) < 5000)
      end
      local failures = nl:batch(list)
      assert.are.equal(1000, #failures)
      for i, f in ipairs(failures) do
        assert.are.equal(i, f.index)
        assert.are.equal(E.EEXIST, f.errno)
        assert.is_nil(f.unknown)
      end
    end
  end)

  it("refuses batches that are no batches before anything is sent", function()
    assert.are.same({}, (nl:batch {}))
    assert.has_error(function() nl:batch() end)
    assert.has_error(function() nl:batch { routes(1)[1], 5 } end)
    assert.has_error(function() nl:batch { routes(1)[1], { NEWLINK, 0 } } end)
    assert.has_error(function() nl:batch { routes(1)[1], { NEWLINK, ECHO, "" } } end)
    assert.has_error(function() nl:batch { routes(1)[1], { NEWLINK, 0, ("x"):rep(70000) } } end)
    assert.are.equal(0, #nl:dump(GETROUTE, 0, routes_of(254)))
  end)

  it("receives events, in order, and says when some were lost", function()
    local events = socket()
    assert.is_true(events:join(7)) -- RTNLGRP_IPV4_ROUTE
    assert.has_error(function() events:request(GETLINK, 0, link:encode { index = 1 }) end)
    assert.is_nil(events:receive(0))
    local three = routes(3)
    nl:batch(three)
    assert.is_truthy(ns.wait({ events }, 5))
    for i = 1, 3 do
      local kind, bytes, nsid = events:receive(5)
      assert.are.equal(NEWROUTE, kind)
      assert.are.equal(route:decode(three[i][3]).dst_address, route:decode(bytes).dst_address)
      assert.is_nil(nsid)
    end
    assert.is_nil(events:receive(0))
    events:buffer(1)
    nl:batch(routes(2000, 0x500)) -- NLM_F_CREATE | NLM_F_REPLACE
    local lost, n = false, 0
    while true do
      local kind, _, errno = events:receive(0)
      if kind then
        n = n + 1
      elseif errno == E.ENOBUFS then
        lost = true
      else
        break
      end
    end
    assert.is_true(lost)
    assert.is_true(n > 0 and n < 2000)
    assert.is_true(events:leave(7))
    events:close()
  end)

  it("is of the process that opened it", function()
    local forked, p = pcall(ns.fork, {}, function()
      return pcall(nl.port, nl)
    end)
    if not forked then
      return pending("fork: " .. tostring(p)) -- under valgrind, which has no pidfd_open(2)
    end
    local ok, message = p:result(10)
    assert.is_false(ok)
    assert.is_truthy(message:find "of the parent process")
    assert.are.equal("lo", nl:get(GETLINK, link:encode { index = 1 }, link).name)
  end)

  it("takes no answer from another process", function()
    if not (helper.is_root() and helper.has "python3") then
      return pending "needs root and python3"
    end
    -- forged errors for every sequence number that comes next
    local out, ok = helper.sh(([[nsenter --net=/proc/%d/fd/%d python3 -c '
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for seq in range(0, 200):
    s.sendto(struct.pack("=IHHIIiIHHII", 36, 2, 0, seq, %d, -1, 20, 16, 0, seq, %d), (%d, 0))
']]):format(pid, a.fd:number(), nl:port(), nl:port(), nl:port()))
    assert.is_true(ok, out)
    assert.are.equal("lo", assert(nl:get(GETLINK, link:encode { index = 1 }, link)).name)
    assert.are.same({}, (nl:batch(routes(5))))
    assert.are.equal(5, #nl:dump(GETROUTE, 0, routes_of(254)))
  end)
end)
