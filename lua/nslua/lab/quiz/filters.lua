-- Exercises: firewalls, and what keeps neighbours from finding each other.

local scene = require "nslua.lab.quiz.scene"

local CHAIN = scene.CHAIN

local SILENCE = "I am on h1. r1 does not answer any more: \"Destination Host Unreachable\". Its administrator says that r1 is up and reaches h2."

---@type nslua.lab.quiz.Exercise[]
return {
  { fault = "input_drop", lab = CHAIN, at = "h2", level = "easy", theme = "firewalls",
    complaint = "I am on h1. h2's web page loads and loads; ping h2 works. Its owner says that the server runs.",
    works = { { "h1", "h2", tcp = 80 } }, hints = {
      "Nobody refuses, nobody answers. Does the server listen (h2 ss -tln), and what becomes of what comes for it?",
      "A firewall of h2: read h2 nft list ruleset from the hook to the rule; a chain may jump to another.",
      "A rule drops tcp dport 80: `nft -a list ruleset` shows its handle, `nft delete rule FAMILY TABLE CHAIN handle N` deletes it.",
    } },
  { fault = "input_policy", lab = CHAIN, at = "h2", level = "medium", theme = "firewalls", check = "input_drop",
    complaint = "I am on h1. h2 answers pings, and reaches me. Its web page loads and loads.", works = { { "h1", "h2", tcp = 80 } }, hints = {
      "h2 lets in some of it. What, and what not? h2 ss -tln, and h2 nft list ruleset.",
      "No rule drops port 80. But what happens to that for which there is no rule?",
      "The policy of the chain input is drop, and no rule accepts new connections to port 80: `nft add rule FAMILY TABLE CHAIN tcp dport 80 accept`.",
    } },
  { fault = "output_drop", lab = CHAIN, at = "h1", level = "medium", theme = "firewalls",
    complaint = "I am on h1. ping says \"Operation not permitted\", and I am root!", works = { { "h1", "h2" } }, hints = {
      "Nothing leaves h1, and it is h1 itself that says so. h1 tcpdump -ni eth0 shows nothing either.",
      "Not rights are missing; a firewall sits at the way out. h1 nft list ruleset.",
      "The policy of the chain with hook output is drop. `nft delete table inet NAME`, or rules that accept what should go out.",
    } },
  { fault = "loopback_filter", lab = CHAIN, at = "h1", level = "medium", theme = "firewalls",
    complaint = "I am on h1. Everything outside works; 127.0.0.1 does not, though lo is up.", works = { { "h1", address = "127.0.0.1" } }, hints = {
      "Packets to oneself pass the firewall as well. h1 nft list ruleset.",
      "By which interface do they come in, and does a rule accept that one?",
      "A firewall that drops by default needs a rule for itself: `nft insert rule FAMILY TABLE CHAIN iifname lo accept`.",
    } },
  { fault = "forward_legacy", lab = CHAIN, at = "r1", level = "hard", theme = "firewalls", check = "forward_drop",
    mend = { "r1 iptables-legacy -F NSLUA_FAULT" },
    complaint = "I am on h1. r1 answers me, h2 does not. r1 forwards, its routes are right, and nft list ruleset is empty.",
    works = { { "h1", "h2" } }, hints = {
      "nft does not show all rules there are. What else filters?",
      "The old iptables has tables of its own: r1 iptables-legacy -S, and follow the jumps.",
      "A chain that FORWARD jumps to drops everything: `iptables-legacy -D FORWARD -j CHAIN`, or -F CHAIN.",
    } },
  { fault = "mixed_firewalls", lab = CHAIN, at = "h2", level = "hard", theme = "firewalls",
    complaint = "I am on h1. h2's web page loads and loads. Its owner shows the rule of nftables that accepts port 80.",
    works = { { "h1", "h2", tcp = 80 } }, hints = {
      "An accept ends the way through its own chain only. Is there another firewall behind it?",
      "iptables-legacy is a firewall of its own, beside nftables: h2 iptables-legacy -S.",
      "A chain that INPUT jumps to drops tcp dport 80: `iptables-legacy -F CHAIN` on h2.",
    } },
  { fault = "arp_rule", lab = CHAIN, at = "r1", level = "hard", theme = "firewalls", check = "neighbour_silent", complaint = SILENCE,
    works = { { "h1", "h2" } }, after = scene.forget, mend = { "r1 nft delete table arp nslua_fault" }, hints = {
      "What does h1 know of r1? h1 ip neigh. Does r1 hear that it is asked? r1 tcpdump -ni eth0 arp.",
      "r1 hears the question and says nothing. IP's firewall does not see ARP; which one does? r1 nft list ruleset.",
      "A table of the family arp drops requests: `nft delete table arp NAME` on r1.",
    } },
  { fault = "arp_lost", lab = CHAIN, at = "r1", level = "hard", theme = "firewalls", check = "neighbour_silent", complaint = SILENCE,
    works = { { "h1", "h2" } }, after = scene.forget, mend = { "r1 nft delete table netdev nslua_fault" }, hints = {
      "What does h1 know of r1? h1 ip neigh. Does r1 hear that it is asked? r1 tcpdump -ni eth0 arp.",
      "tcpdump sees what arrives at the interface, before anything of r1. What comes next? r1 nft list ruleset.",
      "A chain of the family netdev, at the hook ingress, drops ARP: `nft delete table netdev NAME` on r1.",
    } },
  { fault = "arp_off", lab = CHAIN, at = "r1", level = "medium", theme = "addresses", check = "arp_silent", complaint = SILENCE,
    works = { { "h1", "h2" } }, after = scene.forget, hints = {
      "What does h1 know of r1? h1 ip neigh. And r1 of h1?",
      "An interface may be told to do without ARP. Read the flags in <...>: r1 ip link.",
      "eth0 of r1 is NOARP: `ip link set dev eth0 arp on`.",
    } },
  { fault = "arp_ignore", lab = CHAIN, at = "r1", level = "hard", theme = "addresses", check = "arp_silent", complaint = SILENCE,
    works = { { "h1", "h2" } }, after = scene.forget, hints = {
      "What does h1 know of r1? h1 ip neigh. Does r1 hear that it is asked? r1 tcpdump -ni eth0 arp.",
      "r1 hears it, no filter drops it, and no answer leaves. There are sysctls for when to answer: r1 sysctl -a | grep arp.",
      "net.ipv4.conf.all.arp_ignore is 8 on r1: never answer. 0 is what there was.",
    } },
}
