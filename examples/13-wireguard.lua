-- A WireGuard tunnel between two namespaces: keys, peers, an encrypted ping.
--
-- Use:    nslua examples/13-wireguard.lua
-- Prints: what each end says of the other after a ping through the tunnel; on a kernel without WireGuard, that it has none.
-- Needs:  root, or `unshare -Ur` before it; Linux 5.6 or the module wireguard.

local a <close> = ns.netns.new{ lo = true, label = "a" }
local b <close> = ns.netns.new{ lo = true, label = "b" }
ns.connect(a, b, { "192.0.2.1/24", "192.0.2.2/24" }) -- the road that the tunnel takes

local found, wg = pcall(a.netlink, a, "wireguard")
if not found then
  print(wg.message)
  return
end

-- Each end makes its private key; the public one is what the kernel says of it.
local ends = { a, b }
local public = {}
for i, handle in ipairs(ends) do
  handle.link:add{ name = "wg0", kind = "wireguard" }
  handle.address:add{ ("10.7.0.%d/24"):format(i), dev = "wg0" }
  wg = handle:netlink "wireguard"
  wg:set{ dev = "wg0", private_key = wg:genkey(), listen_port = 51820 }
  public[i] = wg:device "wg0".public_key
end

local secret = wg:genpsk()
for i, handle in ipairs(ends) do
  local other = 3 - i
  handle:netlink "wireguard":set{ dev = "wg0", peers = {
    { public_key = public[other], preshared_key = secret, endpoint = ("192.0.2.%d:51820"):format(other),
      allowed_ips = { ("10.7.0.%d/32"):format(other) }, persistent_keepalive = 25 },
  } }
  handle.link:change("wg0", { up = true })
end

a:run{ "ping", "-c1", "-W5", "10.7.0.2" }:check()
for _, handle in ipairs(ends) do
  local peer = handle:netlink "wireguard":device "wg0".peers[1]
  print(("%s: peer %s..., %s, allowed %s, received %s, handshake %s"):format(handle.label, peer.public_key:sub(1, 6), peer.endpoint,
    table.concat(peer.allowed_ips, " "), peer.rx_bytes > 0, peer.latest_handshake ~= nil))
end
