-- Exercises: names and those who are asked for them.

local CHAIN = "{ipv6=off}\nh1 -- r1 -- h2{serve=dns}"
local SERVER = { "h1:set_resolv_conf 'nameserver 10.0.2.2\\n'" }
local HOW = "A node's /etc/resolv.conf is written anew for each program; here it is changed by h1:set_resolv_conf \"nameserver ADDRESS\"."

---@type nslua.lab.quiz.Exercise[]
return {
  { fault = "dns_empty", lab = CHAIN, at = "h1", level = "easy", theme = "names", check = "dns_config", mend = SERVER,
    complaint = "I am on h1. ping 10.0.2.2 works, and names that are not in /etc/hosts are not found. h2 serves names.",
    works = { { "h1", resolve = "r1.lab" } }, hints = {
      "Whom does h1 ask for names? h1 cat /etc/resolv.conf, and at this prompt h1:resolve \"r1.lab\".",
      "Compare with r1 cat /etc/resolv.conf.",
      "h1 names no server, and should name h2. " .. HOW,
    } },
  { fault = "dns_stub", lab = CHAIN, at = "h1", level = "medium", theme = "names", check = "dns_config", mend = SERVER,
    complaint = "I am on h1, whose files were copied from a laptop. Names that are not in /etc/hosts are not found. h2 serves names.",
    works = { { "h1", resolve = "r1.lab" } }, hints = {
      "Whom does h1 ask for names? h1 cat /etc/resolv.conf. And does anybody listen there? h1 ss -uln.",
      "127.0.0.53 is systemd-resolved of that machine; a laptop has one, h1 has not.",
      "h1 should name h2. " .. HOW,
    } },
  { fault = "dns_no_way", lab = CHAIN, at = "h1", level = "easy", theme = "names", check = "dns_silent", mend = SERVER,
    complaint = "I am on h1. Names that are not in /etc/hosts are not found: \"Network is unreachable\". h2 serves names.",
    works = { { "h1", resolve = "r1.lab" } }, hints = {
      "Whom does h1 ask for names? h1 cat /etc/resolv.conf. Is there a way to that address? h1 ip route get ADDRESS, r1 ip route get ADDRESS.",
      "The way is right for whoever is there. But who has that address?",
      "Nobody has it. h1 should name h2. " .. HOW,
    } },
  { fault = "dns_blocked", lab = CHAIN, at = "r1", level = "medium", theme = "names", check = "dns_silent",
    mend = { "r1 nft delete table inet nslua_dns_blocked" },
    complaint = "I am on h1. h2 answers my pings, and h2 serves names; yet none is found, after a long wait.",
    works = { { "h1", resolve = "r1.lab" } },
    hints = {
      "h1 asks the right one (h1 cat /etc/resolv.conf). Does the question arrive? h2 tcpdump -ni eth0 port 53, and "
        .. "h1:resolve \"r1.lab\" at this prompt.",
      "It leaves h1 and does not come to h2. Who is between, and what rules has it? nft list ruleset.",
      "Rules of r1 drop port 53. `nft -a list ruleset` shows handles; `nft delete rule FAMILY TABLE CHAIN handle N`, "
        .. "or `nft delete table inet NAME`.",
    } },
  { fault = "dns_stopped", lab = CHAIN, at = "h2", level = "medium", theme = "names", check = "dns_silent", mend = { "h2.services.dns:kill 'CONT'" },
    complaint = "I am on h1. h2 answers my pings, and something listens on its port 53; no name is found, after a long wait.",
    works = { { "h1", resolve = "r1.lab" } }, hints = {
      "Does the question arrive, and does an answer leave? h2 tcpdump -ni eth0 port 53, and h1:resolve \"r1.lab\" at this prompt.",
      "It arrives, and nobody takes it: Recv-Q of h2 ss -uln grows. How is the program? h2 ss -ulnp names it, h2 ps -o pid,stat,args -p PID tells.",
      "T means that it is stopped: `kill -CONT PID`, or h2.services.dns:kill \"CONT\" at this prompt.",
    } },
  { fault = "dns_no_redirect", lab = "{ipv6=off}\nh1 -- r1", at = "h1", level = "hard", theme = "names", check = "dns_config",
    complaint = "I am on h1, a container. Names are asked of 127.0.0.11, as docker does it, and since the firewall was \"cleaned up\" none is found.",
    works = { { "h1", resolve = "r1.lab" } }, hints = {
      "Who listens at 127.0.0.11, and on which port? h1 ss -ulnp. To which port does a question go?",
      "A rule of NAT led port 53 of that address to the port of the server. h1 nft list ruleset shows that it is gone.",
      "A chain with `type nat hook output priority -100` is needed, and in it: ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:PORT.",
    } },
}
