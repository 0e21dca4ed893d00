-- Shape a link and watch it: 8 Mbit/s in all, a class for what goes to 10.0.0.2 and one for the rest, and a far end that is 20 ms away
-- where the kernel has netem.
--
-- Use:    nslua examples/15-shape.lua
-- Prints: the tree of classes, what each has sent, and how long the sending took.
-- Needs:  root, or `unshare -Ur` before it.

local a <close> = ns.netns.new{ lo = true, label = "a" }
local b <close> = ns.netns.new{ lo = true, label = "b" }
ns.connect(a, b, { "10.0.0.1/24", "10.0.0.2/24", names = { "eth0", "eth0" } })
b.address:add{ "10.0.0.3/24", dev = "eth0" }

a:batch(function()
  a.qdisc:add{ "htb", dev = "eth0", handle = "1:", htb = { default = "1:20" } }
  a.class:add{ "htb", dev = "eth0", classid = "1:1", htb = { rate = "8mbit" } }
  a.class:add{ "htb", dev = "eth0", classid = "1:10", parent = "1:1", htb = { rate = "4mbit", ceil = "8mbit" } }
  a.class:add{ "htb", dev = "eth0", classid = "1:20", parent = "1:1", htb = { rate = "2mbit" } }
  a.filter:add{ "u32", dev = "eth0", parent = "1:", protocol = "ip", u32 = { match = "ip dst 10.0.0.2" }, classid = "1:10" }
end)
local far, why = pcall(b.qdisc.add, b.qdisc, { "netem", dev = "eth0", netem = { delay = "20ms" } })
print(far and "the far end is 20 ms away" or "no netem: " .. why.extack)

-- a megabit, and a quarter of one: what is sent first finds the bucket full
local began = ns.clock()
a:run{ "ping", "-q", "-f", "-c", 100, "-s", 1200, "-W", 5, "10.0.0.2", check = true }
a:run{ "ping", "-q", "-f", "-c", 25, "-s", 1200, "-W", 5, "10.0.0.3", check = true }
local seconds = ns.clock() - began

for class in a.class:each{ dev = "eth0" } do
  print(("%-5s below %-5s %4.1f of %4.1f Mbit/s: %d packets, %d bytes"):format(class.classid, class.parent, class.htb.rate / 1e6,
    class.htb.ceil / 1e6, class.stats.packets, class.stats.bytes))
end
print(("it took %.1f s"):format(seconds))
