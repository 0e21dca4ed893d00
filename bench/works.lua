-- nslua bench/works.lua WORK ROUNDS [ARGS]: what bench/floor does in C, in Lua; prints its nanoseconds.
local ns = require "nslua"

local works = {}

local function timed(fn)
  local start = ns.clock()
  fn()
  return ns.clock() - start
end

works["netns-new"] = function(rounds)
  return timed(function()
    for _ = 1, rounds do
      ns.netns.new():close()
    end
  end)
end

works.call = function(rounds)
  local a <close> = ns.netns.new()
  local function empty() end
  return timed(function()
    for _ = 1, rounds do
      a:call(empty)
    end
  end)
end

works.run = function(rounds)
  local a <close> = ns.netns.new()
  return timed(function()
    for _ = 1, rounds do
      assert(a:run{ "/bin/true", sys = false }.ok)
    end
  end)
end

works["run-sys"] = function(rounds)
  local a <close> = ns.netns.new()
  return timed(function()
    for _ = 1, rounds do
      assert(a:run{ "/bin/true" }.ok)
    end
  end)
end

works["run-sys-fresh"] = function(rounds)
  return timed(function()
    for _ = 1, rounds do
      local a <close> = ns.netns.new()
      assert(a:run{ "/bin/true" }.ok)
    end
  end)
end

works["link-get"] = function(rounds)
  local a <close> = ns.netns.new()
  local link = a.link
  return timed(function()
    for _ = 1, rounds do
      assert(link:get("lo").index == 1)
    end
  end)
end

works.census = function(rounds, links)
  return timed(function()
    for _ = 1, rounds do
      assert(#ns.namespace.list { fds = links ~= "links" } > 8)
    end
  end)
end

local function star(hosts)
  local sw = ns.netns.new()
  local list = {}
  for i = 1, hosts do
    list[i] = ns.netns.new()
  end
  sw:batch(function()
    sw.link:add{ name = "br0", kind = "bridge", up = true }
    for i = 1, hosts do
      sw.link:add{ name = "p" .. i, kind = "veth", master = "br0", group = 7, peer = { name = "eth0", netns = list[i] } }
    end
  end)
  for i = 1, hosts do
    local h = list[i]
    h:batch(function()
      h.address:add{ "10.0.0." .. i .. "/16", dev = "eth0" }
      h.link:change("eth0", { up = true })
      h.route:add{ "default", via = "10.0.0.254" }
    end)
  end
  sw.link:change({ group = 7 }, { up = true })
  return sw, list
end

-- What a user's script does: build, close, end. The kernel frees in the background, as it does behind mininet.
works["star-close"] = function()
  return timed(function()
    local sw, list = star(64)
    for _, h in ipairs(list) do
      h:close()
    end
    sw:close()
  end)
end

-- With "teardown", closing is timed too, until the kernel has freed it all: it frees in the order of closing, and the last
-- namespace to be closed holds the far end of a veth, which tells.
works.star = function(rounds, teardown)
  local total = 0
  for _ = 1, rounds do
    local start = ns.clock()
    local sw, list = star(64)
    local built = ns.clock()
    local near <close>, far = ns.netns.new(), ns.netns.new()
    near.link:add{ name = "last", kind = "veth", peer = { name = "last", netns = far } }
    for _, h in ipairs(list) do
      h:close()
    end
    sw:close()
    far:close{ wait = true }
    total = total + (teardown and ns.clock() or built) - start
  end
  return total
end

local name, rounds = arg[1], tonumber(arg[2])
if not works[name] or not rounds then
  io.stderr:write("usage: nslua bench/works.lua WORK ROUNDS [ARGS]\n")
  os.exit(2)
end
print(("%.0f"):format(works[name](math.tointeger(rounds), select(3, table.unpack(arg))) * 1e9))
