-- Packets of a known connection still go to a host that is gone: rules are asked for the first packet alone.

local translation = require "nslua.inspect.doctor.translation"

return {
  name = "stale_connection",
  why = "NAT is decided by the first packet of a connection. While packets of one flow go on (UDP from one port: DNS, syslog, SIP), they go to the "
    .. "host that was there then, whatever rules say now.",
  run = function(target, report)
    for _, router in ipairs(translation.routers(target)) do
      local gone, count = {}, {}
      for _, row in ipairs(translation.connections(router)) do
        local a, b = row.orig, row.reply
        local ip = row.status.dst_nat and a and b and a.dst ~= b.src and b.src
        if ip and row.proto == "udp" and not gone[ip] and not router:has_address(ip) then
          local way = router:lookup(ip)
          local link = way and not way.via and router.link_of[way.dev_index]
          if link and router:closed(link) and not router:owner(ip, link) then
            gone[ip], count[#count + 1] = { a, link }, ip
          end
        end
      end
      for _, ip in ipairs(count) do
        local a, link = gone[ip][1], gone[ip][2]
        report:found { at = router, sure = 0.92,
          problem = ("%s still sends packets of known connections to %s, which nobody has"):format(router.title, ip),
          evidence = { ("udp %s port %d to %s port %d is led to %s (conntrack)"):format(a.src, a.sport or 0, a.dst, a.dport or 0, ip),
            ("nobody on %s has %s (rtnetlink address)"):format(link.name, ip) }, fix = ("conntrack -D -r %s"):format(ip) }
      end
    end
  end,
}
