-- A fresh namespace has one link, lo, and it is down: bring it up, and see the addresses come.
--
-- Use:    nslua examples/05-loopback.lua
-- Prints: lo down, the ping that fails; lo up with 127.0.0.1/8 and ::1/128, the ping that is answered.
-- Needs:  root, or `unshare -Ur` before it.

local a <close> = ns.netns.new{ label = "a" }

local function show()
  local lo = a.link:get "lo"
  local addresses = {}
  for _, row in ipairs(a.address:list{ dev = "lo" }) do
    addresses[#addresses + 1] = row.address
  end
  table.sort(addresses)
  local ping = a:run{ "ping", "-c1", "-W1", "127.0.0.1" }
  print(("lo is %s; addresses: %s; ping 127.0.0.1: %s"):format(lo.up and "up" or "down",
    #addresses > 0 and table.concat(addresses, " ") or "none", ping.ok and "answered" or "no answer"))
end

show()
a.link:change("lo", { up = true })
show()
a.link:change("lo", { up = false })
show()
