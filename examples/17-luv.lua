-- Two namespaces are followed in a libuv loop, beside a program that runs in one of them and a clock that ticks.
--
-- Use:    nslua examples/17-luv.lua                            (or lua5.4, where the module is installed)
-- Prints: what changes in both, what the program says, and how it ended.
-- Needs:  luv (Debian: lua-luv); root, or `unshare -Ur` before it.

local uv = require "luv"
local ns = require "nslua"

local a <close> = ns.netns.new{ label = "a" }
local b <close> = ns.netns.new{ label = "b" }
local changes <close> = ns.monitor{ "link", "address", netns = { a, b } }
local program <close> = a:spawn{ "sh", "-c", "sleep 0.1; echo hello", stdout = "pipe" }

-- Call fn when the object is ready. timeout() is for objects that have work to do unasked: a monitor of netns = "all", a process with a limit.
local function on(object, fn)
  local poll, timer = uv.new_poll(object:pollfd()), uv.new_timer()
  local function close()
    poll:close()
    timer:close()
  end
  local function ready()
    timer:stop()
    fn(close)
    local seconds = not timer:is_closing() and object:timeout()
    if seconds then
      timer:start(math.ceil(seconds * 1000), 0, ready)
    end
  end
  poll:start(object:events(), ready)
  local seconds = object:timeout()
  if seconds then
    timer:start(math.ceil(seconds * 1000), 0, ready)
  end
end

local clock, ticks = uv.new_timer(), 0
clock:start(0, 20, function()
  ticks = ticks + 1
end)

local gone = 0
on(changes, function(close)
  for e in changes:each(0) do -- all that is there now
    print(e.netns, e.action, e.what, e.object.name or e.object.address)
    gone = gone + (e.what == "link" and e.action == "delete" and 1 or 0)
  end
  if gone == 2 then -- with nothing left to wait for, the loop ends
    close()
    clock:close()
  end
end)

on(program.stdout, function(close)
  print("said", program.stdout:read "l")
  close()
  on(program, function(done)
    print("status", program:wait(0).status)
    done()
    a.link:delete "cable"
  end)
end)

ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24", names = { "cable", "cable" } })
uv.run()
print("ticks", ticks > 0)
