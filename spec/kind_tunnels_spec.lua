-- Tunnels over IP: gre and its kin, ipip, sit, ip6tnl, vti, geneve, xfrm, wireguard.

local kinds = require "spec.kinds"
local rtnl = require "spec.rtnl_helper"

local pair = { "link add v0 type veth peer name v1" }

-- What ip(8) says when it is not told.
local function with(words, defaults)
  for key, value in pairs(defaults) do
    if words[key] == nil then
      words[key] = value
    end
  end
  return words
end
local function encap(words)
  return with(words, { encap = "none", encap_csum = false, encap_sport = "auto", encap_dport = 0 })
end
local function gre(words)
  with(words, { ttl = "inherit", tos = 0, pmtudisc = true, fwmark = 0 })
  if words.key == nil and words.ikey == nil then
    words.key = false
  end
  return encap(words)
end
local function gre6(words)
  with(words, { hoplimit = 64, encaplimit = 4, flowlabel = 0, fwmark = 0, erspan_ver = 1, encap_csum6 = true })
  if words.key == nil and words.ikey == nil then
    words.key = false
  end
  return encap(words)
end
local function ipip(words)
  return encap(with(words, { ttl = "inherit", tos = 0, pmtudisc = true, fwmark = 0, dev = false }))
end
local function ip6tnl(words)
  return encap(with(words, { hoplimit = 64, encaplimit = 4, flowlabel = 0, fwmark = 0, mode = "ip6ip6", dev = false, encap_csum6 = true }))
end

describe("tunnels", function()
  local why = rtnl.cannot()
  if why then
    return it("", function()
      pending(why)
    end)
  end
  after_each(rtnl.close)

  kinds.specs(it, function(reason)
    pending(reason)
  end, {
    { ip = "type gre remote 10.0.0.2 local 10.0.0.1 ttl 5 tos 4 key 7 csum seq nopmtudisc fwmark 9", before = pair,
      t = { kind = "gre", gre = gre { remote = "10.0.0.2", local_ = "10.0.0.1", ttl = 5, tos = 4, key = 7, csum = true, seq = true, pmtudisc = false,
        fwmark = 9 } }, change = { ttl = 9, okey = 8, iseq = false } },
    { ip = "type gre remote 10.0.0.2 ikey 1 okey 10.0.0.1 iseq ocsum ignore-df nopmtudisc dev v0", before = pair,
      t = { kind = "gre", gre = gre { remote = "10.0.0.2", ikey = 1, okey = "10.0.0.1", iseq = true, ocsum = true, ignore_df = true, pmtudisc = false,
        dev = "v0" } }, change = { ikey = false, remote = "10.0.0.3" } },
    { ip = "type gretap remote 10.0.0.2 local 10.0.0.1 ttl inherit tos inherit encap gue encap-sport auto encap-dport 5555 encap-csum encap-remcsum",
      t = { kind = "gretap", gretap = gre { remote = "10.0.0.2", local_ = "10.0.0.1", ttl = "inherit", tos = "inherit", encap = "gue",
        encap_sport = "auto", encap_dport = 5555, encap_csum = true, encap_remcsum = true } }, needs = "fou" },
    { ip = "type gretap external", t = { kind = "gretap", gretap = { external = true } } },
    { ip = "type erspan remote 10.0.0.2 local 10.0.0.1 seq key 30 erspan_ver 1 erspan 123",
      t = { kind = "erspan", erspan = gre { remote = "10.0.0.2", local_ = "10.0.0.1", seq = true, key = 30, erspan_ver = 1, erspan = 123 } } },
    { ip = "type erspan remote 10.0.0.2 local 10.0.0.1 seq key 30 erspan_ver 2 erspan_dir egress erspan_hwid 7",
      t = { kind = "erspan", erspan = gre { remote = "10.0.0.2", local_ = "10.0.0.1", seq = true, key = 30, erspan_ver = 2, erspan_dir = "egress",
        erspan_hwid = 7 } } },
    { ip = "type ip6gre remote 2001:db8::2 local 2001:db8::1 hoplimit 5 encaplimit none tclass 0x30 flowlabel 0x12345 key 9 seq fwmark 8",
      t = { kind = "ip6gre", ip6gre = gre6 { remote = "2001:db8::2", local_ = "2001:db8::1", hoplimit = 5, encaplimit = "none", tclass = 0x30,
        flowlabel = 0x12345, key = 9, seq = true, fwmark = 8 } }, besides = { "encap_limit" }, change = { tclass = 0x40, encaplimit = 3 } },
    { ip = "type ip6gretap remote 2001:db8::2 tclass inherit flowlabel inherit dscp inherit fwmark inherit allow-localremote dev v0", before = pair,
      t = { kind = "ip6gretap", ip6gretap = gre6 { remote = "2001:db8::2", tclass = "inherit", flowlabel = "inherit", dscp = "inherit",
        fwmark = "inherit", allow_localremote = true, dev = "v0" } }, besides = { "fwmark" }, change = { tclass = 1, fwmark = 5, dscp = false } },
    { ip = "type ip6erspan remote 2001:db8::2 local 2001:db8::1 seq key 3 erspan_ver 2 erspan_dir ingress erspan_hwid 5",
      t = { kind = "ip6erspan", ip6erspan = gre6 { remote = "2001:db8::2", local_ = "2001:db8::1", seq = true, key = 3, erspan_ver = 2,
        erspan_dir = "ingress", erspan_hwid = 5 } } },
    { ip = "type ipip remote 10.0.0.2 local 10.0.0.1 ttl 7 tos 8 mode any fwmark 3 dev v0", before = pair,
      t = { kind = "ipip", ipip = ipip { remote = "10.0.0.2", local_ = "10.0.0.1", ttl = 7, tos = 8, mode = "any", fwmark = 3,
        dev = "v0" } }, change = { ttl = 8 } },
    { ip = "type ipip remote 10.0.0.2 mode ipip encap fou encap-sport 5555 encap-dport 5556 noencap-csum",
      t = { kind = "ipip", ipip = ipip { remote = "10.0.0.2", mode = "ipip", encap = "fou", encap_sport = 5555, encap_dport = 5556 } },
        needs = "fou" },
    { ip = "type sit remote 10.0.0.2 local 10.0.0.1 ttl 9 mode ip6ip isatap",
      t = { kind = "sit", sit = ipip { remote = "10.0.0.2", local_ = "10.0.0.1", ttl = 9, mode = "ip6ip", isatap = true } } },
    { ip = "type sit local 10.0.0.1 6rd-prefix 2001:db8::/32 6rd-relay_prefix 10.0.0.0/8 mode ip6ip",
      t = { kind = "sit", sit = ipip { local_ = "10.0.0.1", sixrd_prefix = "2001:db8::/32", sixrd_relay_prefix = "10.0.0.0/8", mode = "ip6ip",
        isatap = false } },
      change = { ttl = 4 } },
    { ip = "type ip6tnl mode ipip6 remote 2001:db8::2 local 2001:db8::1 hoplimit 3 encaplimit 7 tclass 0x10 flowlabel 0x1 allow-localremote dev v0",
      before = pair, t = { kind = "ip6tnl", ip6tnl = ip6tnl { mode = "ipip6", remote = "2001:db8::2", local_ = "2001:db8::1", hoplimit = 3,
        encaplimit = 7,
        tclass = 0x10, flowlabel = 1, allow_localremote = true, dev = "v0" } }, change = { hoplimit = 4, encaplimit = "none",
        flowlabel = "inherit" } },
    { ip = "type ip6tnl mode any remote 2001:db8::2 tclass inherit dscp inherit encaplimit none",
      t = { kind = "ip6tnl", ip6tnl = ip6tnl { mode = "any", remote = "2001:db8::2", tclass = "inherit", dscp = "inherit", encaplimit = "none" } },
      besides = { "encap_limit" } },
    { ip = "type vti remote 10.0.0.2 local 10.0.0.1 ikey 5 okey 10.0.0.9 fwmark 4 dev v0", before = pair,
      t = { kind = "vti", vti = { remote = "10.0.0.2", local_ = "10.0.0.1", ikey = 5, okey = "10.0.0.9", fwmark = 4, dev = "v0" } },
      change = { okey = 6 } },
    { ip = "type vti6 remote 2001:db8::2 local 2001:db8::1 key 77",
      t = { kind = "vti6", vti6 = { remote = "2001:db8::2", local_ = "2001:db8::1", key = 77, fwmark = 0 } }, change = { ikey = 6 } },
    { ip = "type geneve id 5 remote 10.0.0.2 ttl 7 tos 8 dstport 6082 udpcsum df set",
      t = { kind = "geneve", geneve = { id = 5, remote = "10.0.0.2", ttl = 7, tos = 8, dstport = 6082, udpcsum = true, df = "set", flowlabel = 0 } },
      change = { ttl = 8 } },
    { ip = "type geneve id 16777215 remote 2001:db8::2 ttl inherit flowlabel 0x12345 udp6zerocsumtx udp6zerocsumrx",
      t = { kind = "geneve", geneve = { id = 16777215, remote = "2001:db8::2", ttl_inherit = true, label = 0x12345, udp_zero_csum6_tx = true,
        udp_zero_csum6_rx = true, tos = 0, ttl = 0 } } },
    { ip = "type geneve external innerprotoinherit",
      t = { kind = "geneve", geneve = { external = true, inner_proto_inherit = true, id = 0, tos = 0, ttl = 0, label = 0 } } },
    { ip = "type xfrm dev v0 if_id 0x2a", before = pair, t = { kind = "xfrm", xfrm = { dev = "v0", if_id = 42 } } },
    { ip = "type xfrm external", t = { kind = "xfrm", xfrm = { external = true } } },
    { ip = "type wireguard", t = { kind = "wireguard" } },
  })
end)
