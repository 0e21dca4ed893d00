-- Exercises: what translates addresses, and what stands before the stack.

-- A router to the world, which knows no way back to who is inside.
local function home(lab)
  lab.r1:nat("home", { out = "h2" })
  for _, row in ipairs(lab.h2.route:list { "default" }) do
    lab.h2.route:delete(row)
  end
end

-- A port of the router leads to the web server.
local function published(lab)
  require("nslua.lab.firewall").load(lab.r1, "quiz", ("table ip published { chain prerouting { type nat hook prerouting priority dstnat; "
    .. "tcp dport 8080 dnat to %s:80; }; }\n"):format(lab.h2.plan.interfaces[1].inet))
end

-- The host of a bridge, which leads a port to h1: as docker does without its proxy.
local function bridged(lab)
  local sw, h1 = lab.node.sw, lab.h1.plan.interfaces[1].inet
  sw.address:add { "10.0.1.254/24", dev = "sw" }
  sw:sysctl("net.ipv4.ip_forward", 1)
  sw:sysctl("net.bridge.bridge-nf-call-iptables", 1)
  for _, name in ipairs { "h1", "h2" } do
    lab[name].route:add { "default", via = "10.0.1.254", dev = "eth0" }
  end
  sw.link:change(lab.h1.link:get("eth0").link_index, { port = { hairpin = true } })
  require("nslua.lab.firewall").load(sw, "quiz", ("table ip published { chain prerouting { type nat hook prerouting priority dstnat; "
    .. "tcp dport 8080 dnat to %s:80; }; chain postrouting { type nat hook postrouting priority srcnat; "
    .. "ip saddr %s ip daddr %s masquerade; }; }\n"):format(h1, h1, h1))
end

local CHAIN = require "nslua.lab.quiz.scene".CHAIN
local BRIDGE = "{ipv6=off}\nh1{serve=http} -- (sw) -- h2"

---@type nslua.lab.quiz.Exercise[]
return {
  { fault = "no_masquerade", lab = "{ipv6=off}\nh1 -- r1 -- h2", at = "r1", level = "medium", theme = "NAT", before = home,
    mend = { "r1 nft add rule inet nslua_nat postrouting oifname eth1 masquerade" },
    complaint = "I am on h1, at home behind r1. The world is h2, and does not answer me any more. r1 itself reaches it.", works = { { "h1", "h2" } },
    hints = {
      "Do the packets of h1 come to h2, and from which address? h2 tcpdump -ni eth0 icmp, while h1 pings from another terminal.",
      "h2 knows no way to the address of h1 (h2 ip route), and need not: r1 should put its own in its place. r1 nft list ruleset.",
      "The chain postrouting of r1 has lost its rule: `nft add rule FAMILY TABLE CHAIN oifname eth1 masquerade`.",
    } },
  { fault = "service_gone", lab = CHAIN, at = "h2", level = "medium", theme = "NAT", before = published,
    complaint = "I am on h1. Port 8080 of r1 leads to the web server on h2. Since h2 was set up anew nobody answers there.",
    works = { { "h1", "r1", tcp = 8080 } }, mend = { "h2 ip addr del 10.0.2.77/24 dev eth0", "h2 ip addr add 10.0.2.2/24 dev eth0",
      "h2 ip route replace default via 10.0.2.254 dev eth0" }, hints = {
      "To which address does r1 lead what comes to its port 8080? r1 nft list ruleset.",
      "Who has that address? Compare with h2 ip addr, and with the picture.",
      "h2 has another address than all others know. Give it the old one, with `ip addr add ADDRESS/24 dev eth0`; its default route: h2 ip route.",
    } },
  { fault = "packet_drop", lab = CHAIN, at = "h1", level = "hard", theme = "firewalls",
    complaint = "I am on h1. I reach nobody, not even r1. Link, address, routes, all firewalls (there are none) are right.",
    works = { { "h1", "h2" } }, hints = {
      "Do answers come back? r1 tcpdump -ni eth0, while h1 pings from another terminal. And which does h1 tell that it has seen? h1 ip -s link.",
      "What comes in passes tc(8) before any firewall. h1 tc qdisc show dev eth0.",
      "A program at the ingress of eth0 drops all: h1 tc filter show dev eth0 ingress. `tc qdisc del dev eth0 clsact` ends it.",
    } },
  { fault = "hairpin", lab = BRIDGE, at = "h1", level = "hard", theme = "NAT", before = bridged,
    complaint = "I am on h1, and serve a web page, published as port 8080 of sw (10.0.1.254). Others open it there; I myself cannot.",
    works = { { "h1", address = "10.0.1.254", tcp = 8080 } }, hints = {
      "What h1 sends to sw comes back to h1: by which port of the switch does it come, and by which should it go out?",
      "A bridge sends nothing out by the port it came by, unless it is told to. Options of ports: sw bridge -d link.",
      "The word is hairpin: `bridge link set dev h1 hairpin on` on sw.",
    } },
  { fault = "bridge_nf_off", lab = BRIDGE, at = "sw", level = "hard", theme = "NAT", before = bridged,
    complaint = "I am on h2. Port 8080 of sw (10.0.1.254) leads to the web server on h1, my neighbour. From afar it works; for me it hangs.",
    works = { { "h2", address = "10.0.1.254", tcp = 8080 } }, hints = {
      "What does h2 send, and from whom comes what answers? h2 tcpdump -ni eth0 tcp, while it connects: h2:tcp(\"10.0.1.254\", 8080).",
      "h1 answers h2 straight through the bridge, and nobody translates the address back: what is bridged does not meet the NAT of sw.",
      "net.bridge.bridge-nf-call-iptables is 0 on sw: at 1 bridged packets do meet it. Or sw gives its own address to what goes to h1.",
    } },
  { fault = "bridge_nf_on", lab = "{ipv6=off}\nh1 -- (sw) -- h2", at = "sw", level = "hard", theme = "switches",
    complaint = "I am on h1. h2 is on the same switch, and ARP finds it; no ping is answered. Since docker was installed on sw, I think.",
    works = { { "h1", "h2" } }, hints = {
      "A switch should pass this without looking at addresses. Does sw have rules all the same? sw nft list ruleset.",
      "A chain of the hook forward drops, and what is bridged meets it, where a sysctl says so.",
      "Either a rule that accepts, or `sysctl -w net.bridge.bridge-nf-call-iptables=0` on sw.",
    } },
}
