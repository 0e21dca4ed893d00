-- Two namespaces are followed in a cqueues loop, beside a program that runs in one of them and a clock that ticks.
--
-- Use:    nslua examples/16-cqueues.lua                        (or lua5.4, where the module is installed)
-- Prints: what changes in both, what the program says, and how it ended.
-- Needs:  cqueues (Debian: lua-cqueues); root, or `unshare -Ur` before it.

local cqueues = require "cqueues"
local ns = require "nslua"

local a <close> = ns.netns.new{ label = "a" }
local b <close> = ns.netns.new{ label = "b" }
local changes <close> = ns.monitor{ "link", "address", netns = { a, b } }
local program <close> = a:spawn{ "sh", "-c", "sleep 0.1; echo hello", stdout = "pipe" }

local loop = cqueues.new()
local ended, ticks = false, 0

loop:wrap(function() -- monitors, processes and streams are what cqueues.poll() asks for
  local gone = 0
  while gone < 2 do
    cqueues.poll(changes)
    for e in changes:each(0) do -- all that is there now
      print(e.netns, e.action, e.what, e.object.name or e.object.address)
      gone = gone + (e.what == "link" and e.action == "delete" and 1 or 0)
    end
  end
  ended = true
end)

loop:wrap(function()
  cqueues.poll(program.stdout)
  print("said", program.stdout:read "l")
  cqueues.poll(program)
  print("status", program:wait(0).status)
  a.link:delete "cable"
end)

loop:wrap(function()
  ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24", names = { "cable", "cable" } })
  while not ended do
    cqueues.sleep(0.02)
    ticks = ticks + 1
  end
end)

assert(loop:loop())
print("ticks", ticks > 0)
