-- Exercises: programs that serve, and those who come to them.

local CHAIN = require "nslua.lab.quiz.scene".CHAIN

---@type nslua.lab.quiz.Exercise[]
return {
  { fault = "not_listening", lab = CHAIN, at = "h2", level = "easy", theme = "services",
    complaint = "I am on h1. h2's web page does not open: \"Connection refused\". ping h2 works.", works = { { "h1", "h2", tcp = 80 } },
    mend = { 'h2:serve "http"' }, hints = {
      "Somebody refuses the connection, so the packets arrive. What listens on h2? h2 ss -tln.",
      "Nothing listens on port 80 of h2. The network is not to blame.",
      "Start a web server on h2, at this prompt: h2:serve \"http\", or a program of yours, which ends with the lab: "
        .. "h2:spawn { \"python3\", \"-m\", \"http.server\", \"80\" }.",
    } },
  { fault = "loopback_only", lab = CHAIN, at = "h2", level = "medium", theme = "services",
    complaint = "I am on h1. h2's web page does not open. On h2 itself it does, says its owner, and shows curl 127.0.0.1.",
    works = { { "h1", "h2", tcp = 80 } }, mend = { "h2.services.http:close()", 'h2:serve "http"' }, hints = {
      "What listens on h2, and on which address? h2 ss -tln.",
      "127.0.0.1 is heard by h2 alone. A server for others listens on 0.0.0.0, on [::], or on an address of a link.",
      "Start it again on all addresses: h2.services.http:close() and then h2:serve \"http\", at this prompt.",
    } },
  { fault = "v6_only", lab = "h1 -- r1 -- h2{serve=http}", at = "h2", level = "hard", theme = "services",
    complaint = "I am on h1. h2's web page opens by IPv6, and by IPv4 \"Connection refused\". ss on h2 says that something listens on [::]:80.",
    works = { { "h1", "h2", tcp = 80 } }, check = "loopback_only",
    mend = { "h2 sysctl -w net.ipv6.bindv6only=0", "h2.services.http:restart():wait_ready()" }, hints = {
      "[::] stands for all addresses, those of IPv4 too -- unless the socket is of IPv6 alone. h2 ss -tlne says v6only:1 of one that is.",
      "A program may say so itself; where it does not, a sysctl decides, at the time when the socket is made.",
      "net.ipv6.bindv6only is 1 on h2. Set it to 0 and start the server again, since its socket stays what it is: h2.services.http:restart().",
    } },
  { fault = "wrong_port", lab = CHAIN, at = "r1", level = "medium", theme = "NAT",
    complaint = "I am on h1. Port 8080 of r1 should lead to h2's web server, which listens on 80. \"Connection refused\".",
    works = { { "h1", "r1", tcp = 8080 } }, check = "not_listening",
    mend = { "r1 nft flush chain ip nslua_wrong_port prerouting",
      "r1 nft add rule ip nslua_wrong_port prerouting tcp dport 8080 dnat to 10.0.2.2:80" }, hints = {
      "h2 serves: look with h2 ss -tln. r1 is told to change the address and port of what comes to its port 8080. Where?",
      "Read r1 nft list ruleset: dnat to which address, and to which port?",
      "The rule leads to port 81. Make it 80: `nft -a list ruleset` shows its handle; nft replace rule ip TABLE "
        .. "CHAIN handle N tcp dport 8080 dnat to ADDRESS:80.",
    } },
  { fault = "accept_queue", lab = CHAIN, at = "h2", level = "hard", theme = "services",
    complaint = "I am on h1. h2's web server listens, shows its owner, and yet my connections hang.", works = { { "h1", "h2", tcp = 80 } },
    mend = { "h2.services.http:kill 'CONT'" }, hints = {
      "Look at the queue of the socket that listens: h2 ss -tln. Recv-Q is how many wait to be accepted, Send-Q how many may.",
      "The queue is full: the program takes no connections. How is it? h2 ss -tlnp names it, h2 ps -o pid,stat,args -p PID tells.",
      "T means that it is stopped: `kill -CONT PID`, or h2.services.http:kill \"CONT\" at this prompt.",
    } },
  { fault = "socket_drops", lab = "{ipv6=off}\nh1 -- r1 -- h2{serve=echo}", at = "h2", level = "hard", theme = "services",
    complaint = "I am on h1. h2's echo service on UDP port 7 does not answer any more; ping h2 works.", works = { { "h1", "h2", udp = 7 } },
    mend = { "h2.services.echo:kill 'CONT'" }, hints = {
      "Do the packets arrive? h2 nstat -az UdpRcvbufErrors counts what found no room.",
      "Recv-Q of h2 ss -uln is what the program has not read. How is it? h2 ss -ulnp names it, h2 ps -o pid,stat,args -p PID tells.",
      "T means that it is stopped: `kill -CONT PID`, or h2.services.echo:kill \"CONT\" at this prompt.",
    } },
}
