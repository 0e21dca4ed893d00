-- Exercises: switches and their ports.

local scene = require "nslua.lab.quiz.scene"

local PAIR = "{ipv6=off}\nh1 -- (sw) -- h2"

-- Whether no end of a veth of the switch is in the switch itself: then nobody has it.
local function tidy(lab)
  for _, row in ipairs(lab.node.sw.link:list { kind = "veth" }) do
    if row.link_index and not row.link_netnsid then
      return false, ("the far end of %s is nobody's"):format(row.name)
    end
  end
  return true
end

---@type nslua.lab.quiz.Exercise[]
return {
  { fault = "isolated_port", lab = PAIR .. "\n(sw) -- h3", at = "h1", level = "medium", theme = "switches", check = "bridge_port",
    mend = { "sw bridge link set dev h1 isolated off" }, -- to the doctor it may be a private VLAN
    complaint = "I am on h1. One of my neighbours on the switch answers me, the other does not. The link is up.",
    works = { { "h1", "h2" }, { "h1", "h3" } }, hints = {
      "The hosts are well: compare ip addr and ip neigh of h1, h2, h3. What is between them? sw bridge link.",
      "Ports of a switch have options: sw bridge -d link shows them. What do two of them have that the third has not?",
      "Isolated ports do not reach each other: `bridge link set dev PORT isolated off` on sw.",
    } },
  { fault = "locked_port", lab = PAIR, at = "h1", level = "hard", theme = "switches", check = "bridge_port",
    complaint = "I am on h1. Since they made the switch \"secure\" I do not get on the network, though the link is up.", works = { { "h1", "h2" } },
    hints = {
      "Does what h1 sends come out at h2? h2 tcpdump -ni eth0, while h1 pings from another terminal.",
      "The switch takes nothing from the port of h1. Options of ports: sw bridge -d link. Whom it knows: sw bridge fdb.",
      "A locked port takes only what comes from an address in its forwarding table: `bridge link set dev h1 locked off` on sw, or an entry for h1.",
    } },
  { fault = "deaf_port", lab = "{ipv6=off}\nh1 -- (sw) -- r1 -- h2", at = "r1", level = "hard", theme = "switches", check = "bridge_port",
    complaint = "I am on h1. r1 was there until my machine forgot its address; now nobody tells me.", works = { { "h1", "h2" } },
    after = scene.forget, hints = {
      "h1 asks who has the address of r1, and asks everybody: h1 ip neigh. Does r1 hear it? r1 tcpdump -ni eth0 arp.",
      "What is for everybody is a broadcast. The switch decides by which ports it goes out: sw bridge -d link.",
      "bcast_flood is off for the port of r1: `bridge link set dev r1 bcast_flood on` on sw.",
    } },
  { fault = "listening_port", lab = PAIR, at = "h1", level = "medium", theme = "switches", check = "link_down",
    complaint = "I am on h1 and was plugged in just now. For a minute nothing works after that. I cannot wait so long.",
    works = { { "h1", "h2" } }, hints = {
      "The link is up on both sides. What does the switch do with its ports? sw bridge link.",
      "A port that is listening or learning does not forward yet. It is the spanning tree protocol: sw ip -d link show type bridge.",
      "forward_delay is 30 s. `bridge link set dev h1 state 3` on sw puts the port to forwarding; `ip link set dev "
        .. "BRIDGE type bridge stp_state 0` ends STP.",
    } },
  { fault = "checksum_offload", lab = PAIR .. "{serve=http}", at = "h1", level = "hard", theme = "switches",
    complaint = "I am on h1. I ping h2, but no connection comes about. Between us they put a switch of their own making, a program.",
    works = { { "h1", "h2", tcp = 80 } }, hints = {
      "Does h2 get what h1 sends? h2 tcpdump -vvni eth0 tcp, while h1 curl -m 3 ADDRESS-OF-H2 runs in another terminal.",
      "It does, and tcpdump says that the checksum is incorrect: h2 nstat -az TcpInCsumErrors counts what was dropped for it. Who is to compute it?",
      "h1 and h2 leave that to a device that there is not. `ethtool -K eth0 tx off`, on both.",
    } },
  { fault = "no_bridge", lab = PAIR, at = "h1", level = "easy", theme = "switches", check = "wrong_bridge",
    complaint = "I am on h1. The link is up, my address is right, and nobody on the switch answers.", works = { { "h1", "h2" } }, hints = {
      "The cable of h1 ends at the switch. Is it a port of the switch there? sw bridge link.",
      "Compare the interfaces of sw: sw ip link. What is missing where h1 is, and is there where h2 is?",
      "The interface h1 of sw has no master: `ip link set dev h1 master BRIDGE` on sw.",
    } },
  { fault = "wrong_bridge", lab = PAIR, at = "h1", level = "medium", theme = "switches", mend = { "sw ip link set dev h1 master sw" },
    complaint = "I am on h1. The link is up, I am on a bridge, says the administrator, and nobody answers.", works = { { "h1", "h2" } }, hints = {
      "Two bridges in one machine are two switches. How many are there? sw ip link show type bridge.",
      "Compare the masters of the ports: sw bridge link.",
      "h1 is on the wrong one: `ip link set dev h1 master BRIDGE` on sw, where BRIDGE is that of h2.",
    } },
  { fault = "stale_veth", lab = PAIR, at = "sw", level = "medium", theme = "switches",
    complaint = "I look after sw. A script of ours died half way, and left a port that belongs to nobody. Away with it, and with nothing else.",
    works = { { test = tidy } }, hints = {
      "Ports of the switch: sw bridge link, sw ip link. Each cable has two ends; whose is the other one?",
      "Where the far end is in another namespace ip link says link-netnsid. Which port has none, and names its far end behind @?",
      "Deleting one end of a veth deletes both: `ip link del NAME` on sw.",
    } },
}
