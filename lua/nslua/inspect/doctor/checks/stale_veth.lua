-- A port of a bridge whose other end was left behind.

return {
  name = "stale_veth",
  why = "What starts containers makes a veth, puts one end on the bridge and the other into the container. Where it died between, both stay: "
    .. "they take up names and ports, and what looks for the container finds the wrong end.",
  run = function(target, report)
    for _, link in ipairs(target.links) do
      local bridge = link.kind == "veth" and link.master_index and target.link_of[link.master_index]
      local far = bridge and bridge.kind == "bridge" and target:far(link)
      local other = far and far.space == target and far.link
      if other and not other.master_index and not target:addresses_of(other)[1] then
        local used = false
        for _, row in ipairs(target.routes) do
          used = used or row.dev_index == other.index and row.table ~= "local" and row.dst ~= "fe80::/64" and row.type == "unicast"
        end
        for _, row in ipairs(target.links) do -- a VLAN, a macvlan on it
          used = used or row.link_index == other.index and row.index ~= link.index and not row.link_netnsid
        end
        if not used then
          report:found { problem = ("port %s of bridge %s leads to nobody"):format(link.name, bridge.name), sure = other.up and 0.6 or 0.8,
            evidence = { ("its other end %s is in this namespace too, %s, without an address, a master or a route (rtnetlink link, address, route)")
              :format(other.name, other.up and "up" or "down") }, fix = ("ip link delete dev %s"):format(link.name) }
        end
      end
    end
  end,
}
