-- Two namespaces are followed in the select() of LuaSocket, beside a program that runs in one of them and a clock that ticks.
--
-- Use:    nslua examples/18-luasocket.lua                      (or lua5.4, where the module is installed)
-- Prints: what changes in both, what the program says, and how it ended.
-- Needs:  LuaSocket (Debian: lua-socket); root, or `unshare -Ur` before it.

local socket = require "socket"
local ns = require "nslua"

local a <close> = ns.netns.new{ label = "a" }
local b <close> = ns.netns.new{ label = "b" }
local changes <close> = ns.monitor{ "link", "address", netns = { a, b } }
local program <close> = a:spawn{ "sh", "-c", "sleep 0.1; echo hello", stdout = "pipe" }

local waiting = { changes, program.stdout } -- sockets of LuaSocket may be among them

local function forget(object)
  for i, o in ipairs(waiting) do
    if o == object then
      return table.remove(waiting, i)
    end
  end
end

local gone = 0
local handlers = {
  [changes] = function()
    for e in changes:each(0) do -- all that is there now
      print(e.netns, e.action, e.what, e.object.name or e.object.address)
      gone = gone + (e.what == "link" and e.action == "delete" and 1 or 0)
    end
    if gone == 2 then
      forget(changes)
    end
  end,
  [program.stdout] = function(out)
    print("said", out:read "l")
    forget(out)
    waiting[#waiting + 1] = program
  end,
  [program] = function()
    print("status", program:wait(0).status)
    forget(program)
    a.link:delete "cable"
  end,
}

ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24", names = { "cable", "cable" } })
local ticks = 0
while waiting[1] do
  local own = changes:timeout() -- nil, but for a monitor that has work to do unasked: netns = "all"
  local ready = socket.select(waiting, nil, math.min(own or 0.02, 0.02))
  for _, object in ipairs(ready) do
    handlers[object](object)
  end
  if own == 0 and not ready[1] then
    handlers[changes]()
  end
  ticks = ticks + 1
end
print("ticks", ticks > 0)
