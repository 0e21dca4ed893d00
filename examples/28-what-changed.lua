-- What changed: two looks at a namespace, and a journal of several that is asked afterwards.
--
-- Use:    nslua examples/28-what-changed.lua
-- Prints: the difference of two snapshots, events as they come, and what the journal says of them; IPv4 routes go without an event, and are in it.
-- Needs:  nothing but user namespaces, or root.

local lab <close> = ns.lab "h1 -- r1 -- h2"

local before = ns.snapshot(lab.r1)
lab.r1.route:add { "10.99.0.0/16", type = "blackhole" }
lab.r1.link:change("eth0", { mtu = 1300 })
print "between two snapshots:"
print(ns.diff(before, ns.snapshot(lab.r1)))

local file <const> = os.tmpname()
local recorder <close> = ns.journal.record { file = file, netns = { lab.h1, lab.r1, lab.h2 } }
local begin = ns.journal.open(file).last
lab.r1.rule:add { from = lab.h1:address_of "r1", action = "prohibit", priority = 10 }
lab.h2.link:change("eth0", { up = false })

print "\nas it came:"
repeat -- the journal is written while it is read
  local e = assert(recorder:next(10))
  print(e.netns, e.action, e.what, e.silent and "(the kernel said nothing of it)" or "")
until e.netns == "h2" and e.silent and e.object.dst == "default"

print "\nfrom the journal:"
print(ns.journal.open(file):diff(begin, math.huge))
os.remove(file)
