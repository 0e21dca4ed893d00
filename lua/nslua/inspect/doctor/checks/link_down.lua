-- An interface that is down, whose far end is, or whose bridge does not forward for it.

-- What is lost with a link that goes down: the way out, and IPv6 addresses. What can be told of it is put back.
local function mend(target, link)
  local words = { ("ip link set dev %s up"):format(link.name) }
  for _, family in ipairs { "inet", "inet6" } do
    if not target:default_route(family) then
      for _, router in ipairs(target:routers(family)) do
        if router.mine.index == link.index then
          words[#words + 1] = ("ip %sroute replace default via %s dev %s"):format(family == "inet6" and "-6 " or "", router.ip, link.name)
          break
        end
      end
    end
  end
  return table.concat(words, " && ")
end

return {
  name = "link_down",
  why = "Nothing passes an interface that is down, or one whose other end is. A port of a bridge passes only when it is forwarding and "
    .. "neither blocked nor isolated from the port that is to be reached.",
  run = function(target, report)
    for _, link in ipairs(target.links) do
      local far = link.name ~= "lo" and target:far(link)
      -- a tap on a bridge is down until a machine uses it
      local used = target:addresses_of(link)[1] or link.master and link.kind ~= "tun" or far and far.space ~= target
      if link.name ~= "lo" and used and not link.up then
        report:found { problem = ("%s is down"):format(link.name), sure = 0.98,
          evidence = ("the flag UP is missing, state %s (rtnetlink link)"):format(tostring(link.operstate)), fix = mend(target, link) }
      elseif used and far and not far.link.up and (far.space ~= target or far.link.master or target:addresses_of(far.link)[1]) then
        report:found { at = far.space, sure = 0.97,
          problem = ("%s, the other end of %s in %s, is down"):format(far.link.name, link.name, target.title),
          evidence = ("%s has no carrier (rtnetlink link)"):format(link.name), fix = mend(far.space, far.link) }
      end
      local port = far and far.link.port
      if far and far.link.up and far.link.master and port then
        local bridge = far.space.link_of[far.link.master]
        local stp = bridge and bridge.kind == "bridge" and bridge.bridge.stp_state
        -- a tree of bridges blocks ports on purpose
        if port.state and port.state ~= "forwarding" and link.up and not (stp and port.state == "blocking") then
          local forward = ("bridge link set dev %s state 3"):format(far.link.name)
          report:found { at = far.space, sure = stp and 0.92 or 0.96,
            problem = ("port %s of bridge %s is %s, not forwarding"):format(far.link.name, far.link.master, port.state),
            evidence = { ("state %s of the port (rtnetlink, IFLA_BRPORT_STATE)"):format(port.state),
              stp and ("STP is on: a port waits twice %g s before it forwards (rtnetlink, IFLA_BR_FORWARD_DELAY)"):format(bridge.bridge.forward_delay)
                or nil },
            fix = stp and ("ip link set dev %s type bridge stp_state 0 && %s"):format(bridge.name, forward) or forward }
        end
        if bridge and not bridge.up then
          report:found { at = far.space, problem = ("bridge %s is down"):format(bridge.name), sure = 0.97,
            evidence = "the flag UP is missing (rtnetlink link)", fix = ("ip link set dev %s up"):format(bridge.name) }
        end
      end
    end
  end,
}
