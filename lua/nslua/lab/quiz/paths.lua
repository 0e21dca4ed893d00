-- Exercises: links, addresses, routes and filters on the way.

local scene = require "nslua.lab.quiz.scene"

local CHAIN = scene.CHAIN

-- Whether h1 alone has its address: with two it is a matter of luck whom a packet reaches, which no ping tells.
local function sole_owner(lab)
  local mine, owners = lab.h1:address_of(), {}
  for _, node in ipairs(lab.nodes) do
    for _, row in ipairs(node.address:list { family = "inet" }) do
      owners[#owners + 1] = row.address:match "^[^/]+" == mine and node.node_name or nil
    end
  end
  return #owners == 1 and owners[1] == "h1", ("%s is an address of %s"):format(mine, owners[1] and table.concat(owners, " and ") or "nobody")
end

-- The way there is one link, the way back the other.
local function two_ways(lab)
  lab.h1.route:replace { lab.h2:address_of "r1" .. "/32", via = lab.r1.plan.interfaces[3].inet, dev = lab.h1.plan.interfaces[2].dev,
    src = lab.h1.plan.interfaces[1].inet }
end

---@type nslua.lab.quiz.Exercise[]
return {
  { fault = "link_down", lab = CHAIN, at = "h1", level = "easy", theme = "links",
    complaint = "I am on h1. Nothing works at all: no h2, no r1, nothing.", works = { { "h1", "h2" } }, hints = {
      "Begin at the bottom, at h1 itself: h1 ip link, h1 ip addr, h1 ip route.",
      "Look at the state of eth0 of h1, in the brackets <...> and behind the word state.",
      "An interface without UP carries nothing: `ip link set dev eth0 up`. Its other end is down too, and the routes went with it: h1 ip route.",
    } },
  { fault = "loopback_down", lab = CHAIN, at = "h1", level = "easy", theme = "links",
    complaint = "I am on h1. My program talks to its own database at 127.0.0.1 and cannot connect; h2 I reach.",
    works = { { "h1", address = "127.0.0.1" } }, hints = {
      "The address 127.0.0.1 is on an interface too. Which one is it, and how is it: h1 ip addr.",
      "Compare the state of lo with that of eth0.",
      "lo is DOWN. Interfaces are set up by `ip link set dev ... up`.",
    } },
  { fault = "duplicate_address", lab = "h1 -- (sw) -- h2\n(sw) -- h3", at = "h3", level = "medium", theme = "addresses",
    complaint = "I am on h2. Connections to h1 break off by turns, and sometimes h1 seems to be another machine.",
    works = { { test = sole_owner } }, hints = {
      "Who answers when h2 asks for the address of h1? Look at h2 ip neigh, a few times, with pings between.",
      "Compare the addresses of all hosts: h1 ip addr, h2 ip addr, h3 ip addr.",
      "h3 has an address too many, the one of h1: `ip addr del ADDRESS/LENGTH dev eth0` on h3.",
    } },
  { fault = "wrong_neighbour", lab = CHAIN, at = "h1", level = "medium", theme = "addresses",
    complaint = "I am on h1. I do not reach h2, not even r1 beside me. The cable is in, my address is right, the route is there.",
    works = { { "h1", "h2" } },
    hints = {
      "Links, addresses and routes are as they should be. What else does h1 need to send a packet to r1? h1 ip neigh.",
      "Compare the link-layer address that h1 has for r1 with the one r1 has: r1 ip link show eth0. And what does PERMANENT say?",
      "Somebody wrote a wrong entry. Away with it, and the kernel asks by itself: `ip neigh del ADDRESS dev eth0`.",
    } },
  { fault = "no_default_route", lab = CHAIN, at = "h1", level = "easy", theme = "routes",
    complaint = "I am on h1. r1 answers me, but h2 does not: \"Network is unreachable\".", works = { { "h1", "h2" } }, hints = {
      "Where would h1 send a packet to h2? h1 ip route get ADDRESS-OF-H2 (the picture has it).",
      "Compare h1 ip route with h2 ip route. What has h2 that h1 has not?",
      "h1 has no default route: `ip route add default via ADDRESS-OF-R1`.",
    } },
  { fault = "no_forwarding", lab = CHAIN, at = "r1", level = "easy", theme = "routes",
    complaint = "I am on h1. r1 answers me, h2 does not; h2 says the same of me.", works = { { "h1", "h2" } }, hints = {
      "h1 and h2 send their packets to r1. Do they come out on its other side? r1 tcpdump -ni any icmp, and h1 ping h2 from another terminal.",
      "r1 takes packets that are not for itself, and must be told to pass them on. It is a sysctl.",
      "net.ipv4.ip_forward should be 1 on r1: `sysctl NAME` shows, `sysctl -w NAME=1` sets.",
    } },
  { fault = "rp_filter", lab = "h1 -- r1 -- h2\nh1 -- r1", at = "r1", level = "hard", theme = "routes", before = two_ways,
    complaint = "I am on h1, with two links to r1. Since r1 was hardened h2 does not answer me.", works = { { "h1", "h2" } }, hints = {
      "By which link does h1 send, and from which address? h1 ip route get ADDRESS-OF-H2. By which would r1 answer that address?",
      "r1 drops without a word what comes in by another link than its answer would leave by: r1 nstat -az TcpExtIPReversePathFilter counts it.",
      "It is the sysctl net.ipv4.conf.all.rp_filter on r1: 1 is strict, 2 takes what any link leads back to.",
    } },
  { fault = "mtu_black_hole", lab = CHAIN, at = "r1", level = "hard", theme = "links", works = { { "h1", "h2", size = 1400 } },
    complaint = "I am on h1. I ping h2, I log in there; as soon as I send something large it hangs.", hints = {
      "Small packets pass, large ones do not: h1 ping -c1 -s 1000 h2 and h1 ping -c1 -s 1400 h2.",
      "Compare the MTU of both ends of each link: ip link on h1, r1, h2. And who should have told h1? r1 nft list ruleset.",
      "eth1 of r1 takes 1300 bytes, its other end 1500: `ip link set dev eth1 mtu 1500` on r1. Who drops the ICMP that says so should stop it, too.",
    } },
  { fault = "default_rejects", lab = CHAIN, at = "h1", level = "easy", theme = "routes",
    complaint = "I am on h1. r1 answers me, h2 does not: \"No route to host\", at once. But I have a default route, and it is right!",
    works = { { "h1", "h2" } }, hints = {
      "What does h1 itself say of the way? h1 ip route get ADDRESS-OF-H2.",
      "Read all of h1 ip route. How many default routes are there, and which has the least metric?",
      "One of type unreachable comes first: `ip route del unreachable default` on h1.",
    } },
  { fault = "queue_full", lab = CHAIN, at = "r1", level = "medium", theme = "links",
    complaint = "I am on h1. What I send gets to h2, says the person at h2, but answers come minutes later, or never.",
    works = { { "h1", "h2" } }, hints = {
      "Where do the answers wait? h1 tcpdump -ni eth0 icmp, r1 tcpdump -ni eth1 icmp, while h1 pings from another terminal.",
      "They get to r1 and do not leave it. What stands before a link that is slow, and who made it so? r1 tc -s qdisc.",
      "A tbf at eth0 of r1 lets 1 kbit/s out, and its queue is full: `tc qdisc del dev eth0 root` on r1.",
    } },
  { fault = "blackhole_route", lab = CHAIN, at = "r1", level = "medium", theme = "routes",
    complaint = "I am on h1. h2 does not answer me. r1 does not either, though it is beside me and has a link that is up.",
    works = { { "h1", "h2" } }, hints = {
      "Does the way back lead to h1? Ask r1: r1 ip route get ADDRESS-OF-H1.",
      "Read all of r1 ip route. The most specific route wins.",
      "A route of type blackhole throws away what is for h1: `ip route del blackhole ADDRESS` on r1.",
    } },
  { fault = "duplicate_mac", lab = "h1 -- (sw) -- h2", at = "h1", here = true, level = "hard", theme = "switches",
    complaint = "I am on h1, a clone of h2. I do not reach h2, though both of us are on the switch and have addresses of our own.",
    works = { { "h1", "h2" } },
    hints = {
      "A switch sends by link-layer addresses: sw bridge fdb show br br0 (or sw ip link to see what the bridge is called).",
      "Compare the link-layer addresses: h1 ip link show eth0, h2 ip link show eth0.",
      "They are the same. Give h1 one of its own: `ip link set dev eth0 address 02:...` (02 at the beginning says that it is made up).",
    } },
  { fault = "forward_drop", lab = CHAIN, at = "r1", level = "medium", theme = "firewalls",
    complaint = "I am on h1. r1 answers me, h2 does not. Nobody touched routes; on r1 somebody installed something.",
    works = { { "h1", "h2" } }, hints = {
      "r1 forwards (sysctl net.ipv4.ip_forward is 1). What else can stop a packet on its way through?",
      "Read r1 nft list ruleset. Which chain sees what is forwarded, and what happens to that for which there is no rule?",
      "The policy of a chain of the hook forward is drop. Accept what should pass, or delete the table: `nft delete table inet NAME`.",
    } },
  { fault = "icmp_blocked", lab = CHAIN, at = "h1", level = "medium", theme = "firewalls",
    complaint = "I am on h2. The monitoring says that h1 is down: no ping is answered. The person at h1 says that all works.",
    works = { { "h2", "h1" } },
    hints = {
      "Does h1 get the requests, and what becomes of them? h1 tcpdump -ni eth0 icmp, while h2 pings from another terminal.",
      "h1 gets them and says nothing: a firewall, or a sysctl. h1 nft list ruleset.",
      "Rules of h1 drop echo-request: `nft -a list ruleset` shows their handles, `nft delete rule FAMILY TABLE CHAIN "
        .. "handle N` or `nft delete table` ends it.",
    } },
  { fault = "gateway_address", lab = CHAIN, at = "r1", level = "medium", theme = "addresses", check = "gateway_missing",
    complaint = "I am on h1. My default route is there as ever, and leads nowhere: \"Destination Host Unreachable\".", works = { { "h1", "h2" } },
    after = scene.forget, hints = {
      "Who is the gateway of h1 (h1 ip route), and who has that address? The picture says who should.",
      "Compare the picture with r1 ip addr.",
      "eth0 of r1 has lost its address: `ip addr add ADDRESS/24 dev eth0`, where ADDRESS is the gateway of h1.",
    } },
  { fault = "gateway_off_link", lab = CHAIN, at = "h1", level = "easy", theme = "routes", check = "gateway_missing",
    complaint = "I am on h1. r1 answers me, h2 does not. I have a default route, look!", works = { { "h1", "h2" } }, hints = {
      "Read the default route: h1 ip route. By whom does it lead?",
      "Is the gateway an address of a network that h1 is on? Compare with h1 ip addr.",
      "The gateway should be r1: `ip route replace default via ADDRESS-OF-R1 dev eth0`.",
    } },
  { fault = "rule_rejects", lab = CHAIN, at = "h1", level = "hard", theme = "routes",
    complaint = "I am on h1. Everything I send fails at once, and ip route shows all routes as they should be.",
    works = { { "h2", "h1" }, { "h1", "h2", tcp = 80 } }, hints = {
      "Ask h1 for the way from its own address: h1 ip route get ADDRESS-OF-H2 from ADDRESS-OF-H1.",
      "Before the routes come the rules which say what table is asked: h1 ip rule.",
      "A rule of priority 100 prohibits what comes from h1: `ip rule del priority 100`.",
    } },
}
