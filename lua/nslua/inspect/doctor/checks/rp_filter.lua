-- Packets that do not come the way their answer would go are dropped.

local FEW = 100 -- of so many packets that came one that is dropped tells nothing

return {
  name = "rp_filter",
  why = "With rp_filter=1 the kernel drops, without a word, what comes in by another interface than the answer would leave by. The stricter "
    .. "of the setting for all and that of the interface holds. 2 accepts what any interface leads back to.",
  run = function(target, report)
    local conf = target.netconf.inet
    local all = conf.all and conf.all.rp_filter
    local function effective(name)
      local own = conf[name] and conf[name].rp_filter
      if all == "loose" or own == "loose" then
        return "loose"
      end
      return (all == "strict" or own == "strict") and "strict" or "off"
    end
    local dropped = target.counters["TcpExt.IPReversePathFilter"]
    local evidence, where = {}, nil
    for _, link in ipairs(target.links) do
      if link.name ~= "lo" and effective(link.name) == "strict" then
        for i, each in ipairs(target:segment(link)) do
          for _, row in ipairs(i > 1 and each.space ~= target and each.space.addresses or {}) do
            local ip = row.address:match "^[^/]+"
            -- an address of a neighbour that it may send from here, and whose answer goes elsewhere
            if row.family == "inet" and row.scope ~= "host" and row.dev_index ~= each.link.index and not target:has_address(ip) then
              for _, route in ipairs(each.space.routes) do
                if route.src == ip and route.dev_index == each.link.index then
                  local back = target:lookup(ip)
                  if back and back.dev_index ~= link.index then
                    where = where or link
                    evidence[#evidence + 1] = ("%s sends from %s to %s here by %s; the way back is %s (rtnetlink route)"):format(each.space.title, ip,
                      route.dst, link.name, tostring(back.dev))
                  end
                end
              end
            end
          end
        end
        -- one in a hundred is somebody's mistake or an attempt, and no news
        where = where or dropped > 0 and dropped * FEW >= target.counters["Ip.InReceives"] and link or nil
      end
    end
    if where then
      if dropped > 0 then
        table.insert(evidence, 1, ("IPReversePathFilter is %d (/proc/net/netstat)"):format(dropped))
      end
      evidence[#evidence + 1] = ("rp_filter of %s is 1 (rtnetlink netconf: all %s, %s %s)"):format(where.name, all, where.name,
        tostring(conf[where.name] and conf[where.name].rp_filter))
      report:found { problem = "packets are dropped since they do not come the way their answer would go", evidence = evidence,
        sure = dropped > 0 and 0.94 or 0.8, fix = "sysctl -w net.ipv4.conf.all.rp_filter=2" }
    end
  end,
}
