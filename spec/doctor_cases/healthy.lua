-- Cases of the doctor that are none: networks that are unusual, and well.

---@class doctor.Healthy
---@field lab string
---@field say string[]|fun(lab): string[]  pairs: a node, and what is typed in it
---@field title string
---@field nft? boolean
---@field vlans? boolean

local function table_of(text)
  return ("nft 'add table inet t; %s'"):format(text)
end

local FORWARD = "add chain inet t f { type filter hook forward priority 0; policy %s; }; "
local INPUT = "add chain inet t i { type filter hook input priority 0; }; "

---@type doctor.Healthy[]
return {
  { title = "an aggregate that ends what is on no link", lab = "h1 -- r1 -- h2", say = { "r1",
    "ip route add blackhole 10.0.0.0/8; ip route add prohibit 10.0.2.0/24 metric 9999; ip -6 route add unreachable fd00::/8 dev lo" } },
  { title = "an address of anycast on a host with two links", lab = "h1 -- r1\nh1 -- r2", say = function(lab)
    return { "h1", "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0; ip address add 10.9.9.9/32 dev lo",
      "r1", "ip route flush proto static; ip -6 route flush proto static; ip route del default; ip -6 route del default; "
        .. "ip route add 10.9.9.9/32 via "
        .. lab.h1:address_of "r1", "r2", "ip route del default; ip -6 route del default" }
  end },
  { title = "routes to some networks, and none to the rest", lab = "h1 -- r1 -- h2\nr1 -- h3", say = function(lab)
    return { "h1", ("ip route del default; ip -6 route del default; ip route add 10.0.2.0/24 via %s; ip -6 route add fd00:2::/64 via %s"):format(
      lab.r1:address_of "h1", lab.r1:address_of("h1", "inet6")) }
  end },
  { title = "an internal network", lab = "h1 -- r1 -- h2", nft = true, say = { "h1", "ip route del default; ip -6 route del default",
    "r1", table_of(FORWARD:format "accept" .. "add rule inet t f iifname eth0 drop; add rule inet t f oifname eth0 drop") } },
  { title = "a gateway that only a fixed neighbour entry knows", lab = "h1 -- r1 -- h2", say = function(lab)
    return { "h1", "ip -6 route del default; ip address flush dev eth0 scope global; ip address add 10.0.1.1/32 dev eth0; "
      .. "ip route add 169.254.1.1 dev eth0; ip route add default via 169.254.1.1; ip neighbour add 169.254.1.1 dev eth0 nud permanent lladdr "
      .. lab.r1.link:get("eth0").address, "r1", "ip address flush dev eth0 scope global; ip route add 10.0.1.1/32 dev eth0" }
  end },
  { title = "a router's address on a macvlan", lab = "h1 -- r1 -- h2", say = { "r1", "ip link add v0 link eth0 type macvlan mode private; "
    .. "ip link set v0 up; ip address add 10.0.1.250/32 dev v0; sysctl -qw net.ipv4.conf.eth0.arp_ignore=1", "h1",
    "ip route replace default via 10.0.1.250" } },
  { title = "no IPv6 on a host", lab = "h1 -- (sw) -- h2", say = { "h1", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1" } },
  { title = "a switch whose loopback is down, and a private VLAN", lab = "h1 -- (sw) -- h2\n(sw) -- r1 -- h3", say = function(lab)
    local ports = lab.node.sw.link:list { master = "sw" }
    return { "sw", ("ip link set lo down; bridge link set dev %s isolated on; bridge link set dev %s isolated on"):format(ports[1].name,
      ports[2].name) }
  end },
  { title = "some echo requests that are dropped", lab = "h1 -- h2", nft = true, say = { "h2", table_of(INPUT
    .. "add rule inet t i icmp type echo-request limit rate 5/second accept; add rule inet t i icmp type echo-request drop; "
    .. "add rule inet t i icmpv6 type echo-request limit rate over 5/second drop") } },
  { title = "echo requests and a port that one link takes", lab = "h1 -- h2\nh2 -- h3", nft = true, say = { "h2", table_of(INPUT
    .. "add rule inet t i iifname eth1 icmp type echo-request drop; add rule inet t i iifname eth1 tcp dport 80 drop; "
    .. "add rule inet t i ip6 nexthdr tcp tcp dport 80 drop") } },
  { title = "a network that a rule keeps from the world", lab = "h1 -- r1 -- h2\nr1 -- h3", nft = true, say = function(lab)
    return { "r1", "ip route add default via " .. lab.h3:address_of() .. "; " .. table_of(FORWARD:format "accept"
      .. "add rule inet t f iifname eth0 oifname eth2 drop") }
  end },
  { title = "a firewall that lets nobody in, but answers", lab = "h1 -- r1 -- h2", nft = true, say = function(lab)
    return { "h2", "ip route del default; ip -6 route del default; ip route add 10.0.1.0/24 via " .. lab.r1:address_of "h2", "r1",
      table_of(FORWARD:format "drop" .. "add rule inet t f ct state established,related accept; add rule inet t f iifname eth0 accept") }
  end },
  { title = "every second packet to another place", lab = "h1 -- h2", nft = true, say = { "h2", table_of(INPUT
    .. "add rule inet t i tcp dport 80 numgen inc mod 2 0 accept; add rule inet t i tcp dport 80 drop") } },
  { title = "hosts of two VLANs, and a router of one", lab = [[
    h1 -- (sw)[vlan 10][vlan 10] -- h2
    h3 -- (sw)[vlan 20][vlan 20] -- h4
    (sw)[vlan 20] -- r1 -- h5]], vlans = true, say = {} },
  { title = "a VXLAN between two routers", lab = "h1 -- (s1) -- r1 -- r2 -- (s2) -- h2\n(s1) --vxlan 42-- (s2)", say = {} },
}
