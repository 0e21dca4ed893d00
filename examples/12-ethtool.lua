-- What a network device can do, as ethtool(8) says it, and how it is set: features, channels, and who is told of it.
--
-- Use:    nslua examples/12-ethtool.lua
-- Prints: what a veth says of itself, a feature and its channels before and after, and the kernel's notifications of both.
-- Needs:  root, or `unshare -Ur` before it.

local a <close> = ns.netns.new{ label = "a" }
a.link:add{ name = "eth0", kind = "veth", peer = { name = "eth1", up = true }, up = true }

-- The family is declared in the library (lua/nslua/genl/ethtool.lua), as a script declares one of its own: see 14-families.lua.
local ethtool = a:netlink "ethtool"
local changes <close> = ethtool:monitor "monitor"

local modes, info = ethtool:linkmodes_get{ dev = "eth0" }, ethtool:linkinfo_get{ dev = "eth0" }
print(("eth0: %d Mbit/s, %s duplex, port %s, link %s"):format(modes.speed, modes.duplex, info.port,
  ethtool:linkstate_get{ dev = "eth0" }.link and "up" or "down"))

local checksum = "tx-checksum-ip-generic"
local function on()
  return ethtool:features_get{ dev = "eth0" }.active[checksum] or false
end
local before = on()
local changed = ethtool:features_set{ dev = "eth0", wanted = { [checksum] = false } }
print(("%s: %s, then %s"):format(checksum, before, on()))
for name, state in pairs(changed.active) do -- what had to change with it
  assert(state == false, name)
end

local channels = ethtool:channels_get{ dev = "eth0" }
ethtool:channels_set{ dev = "eth0", rx_count = channels.rx_max, tx_count = channels.tx_max }
print(("channels: %d of %d, then %d"):format(channels.rx_count, channels.rx_max, ethtool:channels_get{ dev = "eth0" }.rx_count))

-- The kernel says which key it refuses, and why.
local ok, e = pcall(ethtool.channels_set, ethtool, { dev = "eth0", rx_count = 4000 })
assert(not ok)
print(("refused: %s: %s"):format(e.attribute, e.extack))

for event in changes:each(0) do
  print("told:", event.what, event.object.dev)
end
