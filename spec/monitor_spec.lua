-- ns.monitor: events of one namespace, of several, of all; what is there first; what was lost.

local helper = require "spec.helper"
local ns = require "nslua"
local core = require "nslua.core"

local root = helper.is_root()

-- Events up to a pause, as "action what name".
local function collect(monitor, seconds)
  local out = {}
  for e in monitor:each(seconds or 0.3) do
    local o = e.object
    out[#out + 1] = ("%s %s %s"):format(e.action, e.what or e.netns, o and tostring(o.name or o.address or o.dst) or "")
  end
  return out
end

local function has(list, text)
  for i, line in ipairs(list) do
    if line == text then
      return i
    end
  end
end

describe("a monitor", function()
  after_each(helper.close_held)

  it("tells what changes in a namespace, in order, with the row of it", function()
    local a = helper.held(helper.netns { label = "a" })
    local m = helper.held(a:monitor { "link", "address", "route" })
    assert.is_nil(m:next(0))
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" }, up = true }
    a.link:change("v1", { up = true })
    a.address:add { "10.9.0.1/24", dev = "v0" }
    a.link:delete "v0"
    local e = m:next(1)
    assert.equal("new", e.action)
    assert.equal("link", e.what)
    assert.equal("a", e.netns)
    assert.equal(a.inode, e.inode)
    local first = e.object
    local list = collect(m)
    assert.is_truthy(has(list, "new address 10.9.0.1/24") < has(list, "delete link v0"))
    assert.is_truthy(has(list, "new route 10.9.0.0/24"))
    assert.is_truthy(has(list, "delete link v1"))
    assert.matches("^v[01]$", first.name) -- a row of its own: it outlives the next event
    assert.is_nil(m:next(0))
  end)

  it("names the links of its rows as they were called then, also where links are not asked for", function()
    local a = helper.held(helper.netns { label = "a" })
    local m = helper.held(a:monitor { "address", "route" })
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" } } -- down: older kernels rename no other
    a.address:add { "10.9.0.1/24", dev = "v0" }
    a.link:change("v0", { name = "w0" })
    a.address:add { "10.9.0.2/24", dev = "w0" }
    a.link:change("w0", { up = true })
    a.link:delete "w0"
    local devs, routes = {}, {}
    for e in m:each(0.3) do
      assert.is_not_equal("link", e.what)
      if e.what == "address" and e.object.family == "inet" then
        devs[#devs + 1] = e.action .. " " .. e.object.address .. " " .. tostring(e.object.dev)
      elseif e.what == "route" and e.object.dst == "10.9.0.0/24" then
        routes[#routes + 1] = e.action .. " " .. tostring(e.object.dev)
      end
    end
    assert.equal("new 10.9.0.1/24 v0", devs[1])
    assert.is_truthy(has(devs, "new 10.9.0.2/24 w0"))
    for i = 2, #devs do -- the kernel tells of the first one again, for its label has changed
      assert.matches(" w0$", devs[i])
    end
    assert.equal("new w0", routes[1])
  end)

  it("keeps names it was told before it had read the events behind them", function()
    local a = helper.held(helper.netns { label = "a" })
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" } }
    local m = helper.held(a:monitor { "address" })
    a.address:add { "10.9.0.1/24", dev = "v0" }
    a.link:change("v0", { name = "w0" })
    local e = m:next(5)
    a.link:change("w0", { name = "x0" })
    assert.equal("v0", e.object.dev)
  end)

  it("does not call a link deleted that leaves its bridge", function()
    local a = helper.held(helper.netns { label = "a" })
    a.link:add { name = "br0", kind = "bridge" }
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" }, master = "br0" }
    local m = helper.held(a:monitor { "link" })
    a.link:change("v0", { master = false })
    local list = collect(m)
    assert.is_truthy(has(list, "new link v0"))
    assert.is_nil(has(list, "delete link v0"))
  end)

  it("gives what is there first, and nothing twice or never", function()
    local a = helper.held(helper.netns())
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" } }
    local m = helper.held(a:monitor { "link", existing = true })
    a.link:add { name = "w0", kind = "veth", peer = { name = "w1" } }
    local list = collect(m)
    for _, line in ipairs { "existing link lo", "existing link v0", "existing link v1", "new link w0", "new link w1" } do
      assert.is_truthy(has(list, line), line)
    end
    assert.is_nil(has(list, "existing link w0"))
  end)

  it("listens in several namespaces with one fd", function()
    local a, b = helper.held(helper.netns { label = "a" }), helper.held(helper.netns { label = "b" })
    local m = helper.held(ns.monitor { "link", netns = { a, b } })
    a.link:add { name = "x0", kind = "veth", peer = { name = "x1" } }
    b.link:add { name = "y0", kind = "veth", peer = { name = "y1" } }
    assert.equal(m, ns.wait({ m }, 1)[1])
    local where = {}
    for e in m:each(0.3) do
      where[e.object.name] = e.netns
    end
    assert.same({ x0 = "a", x1 = "a", y0 = "b", y1 = "b" }, where)
    assert.is_nil(ns.wait({ m }, 0.05))
  end)

  it("says what was lost, and reads the state again", function()
    local a = helper.held(helper.netns())
    a:lo_up()
    local m = helper.held(a:monitor { "route", buffer = 4096 })
    a:batch(function()
      for i = 1, 300 do
        a.route:add { ("10.%d.%d.0/24"):format(i < 256 and 0 or 1, i % 256), dev = "lo" }
      end
    end)
    local overrun, existing, seen = false, 0, {}
    for e in m:each(0.3) do
      if e.action == "overrun" then
        overrun, existing, seen = true, 0, {}
      elseif e.object.table == "main" then
        existing = existing + (e.action == "existing" and 1 or 0)
        seen[e.object.dst] = true
      end
    end
    local n = 0
    for _ in pairs(seen) do
      n = n + 1
    end
    assert.is_true(overrun)
    assert.is_true(existing >= 300)
    assert.equal(300, n)
  end)

  it("refuses what it does not know, and is closed once", function()
    assert.has_error(function()
      ns.monitor { "lnk" }
    end, "monitor: unknown object 'lnk' (did you mean 'link'?)")
    assert.has_error(function()
      ns.monitor { "link", netns = {} }
    end, "monitor: netns is an empty list: in which namespaces?")
    assert.has_error(function()
      ns.monitor { "link", netns = "blue" }
    end)
    assert.has_error(function()
      ns.monitor { "link", intervall = 1 }
    end)
    local m = ns.monitor { "link" }
    assert.is_true(m:close())
    assert.is_true(m:close())
    assert.has_error(function()
      m:next(0)
    end)
  end)

  it("leaves no fd", function()
    local a = helper.held(helper.netns())
    local function one()
      local m = a:monitor { "link", "address", existing = true }
      m:next(0)
      m:close()
      pcall(ns.monitor, { "link", netns = { a, "no-such-name" } })
    end
    one()
    local before = helper.fd_count()
    for _ = 1, 20 do
      one()
    end
    assert.equal(before, helper.fd_count())
  end)

  it("knows its fd and its time, as event loops ask", function()
    local a = helper.held(helper.netns())
    local m = helper.held(a:monitor { "link" })
    assert.equal("r", m:events())
    assert.equal(m:pollfd(), m:getfd())
    assert.is_nil(m:timeout())
    a.link:add { name = "v0", kind = "veth", peer = { name = "v1" } }
    assert.is_truthy(core.fd.poll({ { m:pollfd(), "r" } }, 1))
    assert.equal("link", m:next(0).what)
    assert.equal(0, m:timeout()) -- the rest is here already
  end)

  -- The state that events tell of: a key for each address; an overrun, and everything is forgotten.
  local function keep(state, e, count)
    count[e.action] = (count[e.action] or 0) + 1
    if e.action == "overrun" then
      for key in pairs(state) do
        state[key] = nil
      end
    elseif e.what == "address" then
      state[("%s/%d"):format(e.object.address, e.object.dev_index)] = e.action ~= "delete" or nil
    end
  end

  local function kernel(a)
    local state = {}
    for _, row in ipairs(a.address:list()) do
      state[("%s/%d"):format(row.address, row.dev_index)] = true
    end
    return state
  end

  -- Ask for events until the program has ended and there are no more.
  local function until_over(m, p, state, count)
    local over
    repeat
      over = p:wait(0)
      for e in m:each(over and 0.2 or 0.01) do
        keep(state, e, count)
        over = over or p:wait(0)
      end
    until over
    assert.equal(0, over.status)
    for e in m:each(0.3) do
      keep(state, e, count)
    end
  end

  local function batch(from, to, verb)
    local out = {}
    for i = from, to do
      out[#out + 1] = ("addr %s 10.%d.%d.%d/32 dev lo\n"):format(verb, 1, math.floor(i / 250), 1 + i % 250)
    end
    return table.concat(out)
  end

  -- iproute2 does it, in the namespace.
  local function flood(a, text)
    local file = os.tmpname()
    local f = assert(io.open(file, "w"))
    f:write(text)
    f:close()
    os.execute("chmod a+r " .. file)
    return helper.held(a:spawn { "ip", "-batch", file }), file
  end

  it("is right again after a flood that its queue could not hold", function()
    local a = helper.held(helper.netns())
    a:lo_up()
    local m = helper.held(a:monitor { "address", buffer = 4096, existing = true })
    local p, file = flood(a, batch(1, 3000, "add") .. batch(1, 1000, "delete"))
    local state, count = {}, {}
    assert.equal(0, p:wait().status) -- nothing is read meanwhile: it cannot but overrun
    os.remove(file)
    until_over(m, p, state, count)
    assert.is_true((count.overrun or 0) >= 1)
    local there = kernel(a)
    assert.is_truthy(there["10.1.12.1/32/1"])
    assert.is_nil(there["10.1.0.2/32/1"])
    assert.same(there, state)
  end)

  for _, buffer in ipairs { 4096, 4 * 1024 * 1024 } do
    it("is right after a flood that goes on while it is read: what is there races with what comes, " .. buffer, function()
      local a = helper.held(helper.netns())
      a:lo_up()
      local rounds = batch(1, 500, "add") .. batch(1, 400, "delete") .. batch(1, 400, "add") .. batch(100, 450, "delete")
      local p, file = flood(a, rounds .. batch(501, 3000, "add"))
      while #a.address:list() < 50 and not p:wait(0.001) do end -- until it has begun
      local m = helper.held(a:monitor { "address", buffer = buffer, existing = true })
      local state, count = {}, {}
      until_over(m, p, state, count)
      os.remove(file)
      assert.is_true(count.existing >= 1)
      assert.same(kernel(a), state)
    end)
  end

  it("reads no more at a turn than it was asked to wait for", function()
    local a = helper.held(helper.netns())
    a:lo_up()
    local m = helper.held(a:monitor { "address" })
    local p, file = flood(a, batch(1, 3000, "add"))
    assert.equal(0, p:wait().status)
    os.remove(file)
    assert.equal("new", m:next(0).action)
    assert.is_true(#m.queue <= 1024) -- who changes things without a pause must not keep it
    local n = 1
    for e in m:each(0) do
      n = n + (e.object.address:find "^10%.1%." and 1 or 0)
    end
    assert.equal(3000, n)
  end)

  if not root then
    pending "not root: names in /run/netns"
    return
  end

  local NAME = "nslua-spec-monitor"

  it("tells of names from the moment there is a namespace, and until it goes", function()
    for _, add in ipairs { function() ns.netns.add(NAME):close() end, function() helper.sh("ip netns add " .. NAME) end } do
      local m = helper.held(ns.monitor { names = true })
      add()
      local function mine()
        for e in m:each(2) do
          if e.netns == NAME then
            return e
          end
        end
      end
      local e = mine()
      assert.equal("netns_new", e.action)
      local n = ns.netns.open(NAME)
      assert.equal(n.inode, e.inode)
      n:close()
      ns.netns.delete(NAME)
      e = mine()
      assert.equal("netns_gone", e.action)
      helper.close_held()
    end
  end)

  it("follows all namespaces: named ones, those of processes, new ones", function()
    local m = helper.held(ns.monitor { "link", netns = "all", interval = 0.1 })
    local n = helper.held(ns.netns.add(NAME))
    local p = helper.held(ns.spawn { "sleep", "60", unshare = "net" })
    local hidden = helper.held(ns.netns.open(p.pid))
    local seen = {}
    local function await(action, inode, what)
      local deadline = ns.clock() + 5
      while ns.clock() < deadline and not seen[action .. inode .. (what or "")] do
        local e = m:next(0.5)
        if e then
          seen[e.action .. e.inode .. (e.object and e.object.name or "")] = e
        end
      end
      return seen[action .. inode .. (what or "")]
    end
    assert.equal(NAME, (await("netns_new", n.inode) or {}).netns)
    assert.is_truthy(await("netns_new", hidden.inode))
    n.link:add { name = "v0", kind = "veth", peer = { name = "v1" } }
    hidden.link:add { name = "w0", kind = "veth", peer = { name = "w1" } }
    assert.equal(NAME, (await("new", n.inode, "v0") or {}).netns)
    assert.is_truthy(await("new", hidden.inode, "w0"))
    local inode, other = n.inode, hidden.inode
    n:close()
    ns.netns.delete(NAME)
    hidden:close()
    p:close()
    assert.is_truthy(await("netns_gone", inode))
    assert.is_truthy(await("netns_gone", other))
  end)

  it("asks nothing of a process but in which namespace it is: another question may have no answer", function()
    local p = helper.held(ns.spawn { "sleep", "60", unshare = "net" })
    local hidden = helper.held(ns.netns.open(p.pid))
    local procfs = require "nslua.procfs"
    local scan, command = core.census.scan, procfs.command
    core.census.scan = function() error "a census" end
    procfs.command = core.census.scan
    local ok, m = pcall(ns.monitor, { "link", netns = "all", interval = 0.01, existing = true })
    core.census.scan, procfs.command = scan, command
    assert(ok, m)
    helper.held(m)
    local seen = false
    for e in m:each(0) do
      seen = seen or e.inode == hidden.inode
    end
    assert.is_true(seen)
  end)

  it("finds by its id a namespace that only an fd of a process holds, until that goes", function()
    local p = helper.held(ns.spawn { "sleep", "60", unshare = "net" })
    local keeper = helper.held(ns.spawn { "sh", "-c", "exec 7</proc/" .. p.pid .. "/ns/net; echo ok; exec sleep 60", stdout = "pipe" })
    assert.equal("ok", keeper.stdout:read "l")
    local hidden, here = helper.held(ns.netns.open(p.pid)), helper.held(ns.netns.current())
    local inode = hidden.inode
    p:close()
    for _, when in ipairs { "before", "after" } do
      local m, id
      if when == "before" then
        m = helper.held(ns.monitor { "link", netns = "all", interval = 0.05 })
        id = here:set_nsid(hidden)
        hidden:close()
      else
        m = helper.held(ns.monitor { "link", netns = "all", interval = 0.05, existing = true })
      end
      local function await(action, name)
        local deadline = ns.clock() + 20
        while ns.clock() < deadline do
          local e = m:next(1)
          if e and e.inode == inode and e.action == action and (not name or e.object.name == name) then
            return e
          end
        end
      end
      if when == "before" then
        local e = assert(await "netns_new")
        assert.equal(id, e.nsid)
        helper.sh(("nsenter --net=/proc/%d/fd/7 ip link add v0 type veth peer name v1"):format(keeper.pid))
        assert.equal(id, assert(await("new", "v0")).nsid)
        m:close()
      else
        assert.is_truthy(await("existing", "v0"))
        -- another who looks does not keep it alive, nor do the two each other
        local other = helper.held(ns.spawn { "sh", "-c", "exec env " .. helper.lua .. [[ -e '
          local m = require "nslua".monitor { "link", netns = "all", interval = 0.05, existing = true }
          for e in m:each(20) do
            if e.inode == ]] .. inode .. [[ then
              print(e.action)
              io.stdout:flush()
              if e.action == "netns_gone" then break end
            end
          end']], stdout = "pipe" })
        repeat
          local line = assert(other.stdout:read "l")
        until line == "existing"
        keeper:close()
        assert.is_truthy(await "netns_gone")
        repeat
          local line = assert(other.stdout:read "l")
        until line == "netns_gone"
      end
    end
  end)
end)
