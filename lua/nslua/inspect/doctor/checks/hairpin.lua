-- Who is behind a published port does not reach itself by it.

local filters = require "nslua.inspect.doctor.filters"
local rules = require "nslua.inspect.doctor.rules"
local translation = require "nslua.inspect.doctor.translation"

return {
  name = "hairpin",
  why = "A container that calls its own published port is sent back to itself. The frame has to leave by the port of the bridge that it came in "
    .. "by, which a bridge does only in hairpin mode; and it has to have another source, or it "
    .. "comes from the container's own address and is dropped.",
  run = function(target, report)
    for _, router in ipairs(translation.routers(target)) do
      for _, service in ipairs(router ~= target and translation.services(router) or {}) do
        local bridge, owner = service.link, service.owner
        if owner and owner.space == target and bridge.kind == "bridge" and not (bridge.flags or {}).promisc then
          local far = target:far(owner.link)
          local port = far and far.space == router and far.link.master_index == bridge.index and far.link
          local family = service.family
          local comes = { family = family, proto = service.proto, src = service.address, iif = bridge.name, iif_index = bridge.index }
          local goes = { family = family, proto = service.proto, src = service.address, dst = service.address, oif = bridge.name,
            oif_index = bridge.index }
          if port and filters.matches(service.rule, comes) ~= false then
            local fixes, evidence = {}, { rules.words(service.rule) }
            -- else it is routed, and comes to the port from the bridge itself
            local bridged = router:sysctl(translation.bridge_nf(family)) == "1"
            if bridged and port.port and port.port.hairpin == false then
              fixes[1] = ("ip link set dev %s type bridge_slave hairpin on"):format(port.name)
              evidence[2] = ("hairpin of %s, its port of %s, is off (rtnetlink link)"):format(port.name, bridge.name)
            end
            if not translation.hides(router, goes) then
              local word = family == "inet" and "ip" or "ip6"
              fixes[#fixes + 1] = translation.masquerade(router, family, ("%s saddr %s %s daddr %s"):format(word, service.address, word,
                service.address), ("-s %s -d %s"):format(service.address, service.address))
              evidence[#evidence + 1] = ("no rule masquerades what comes from %s and goes there (nf_tables, iptables)"):format(service.address)
            end
            local tried = false
            for _, row in ipairs(fixes[1] and translation.connections(router) or {}) do
              tried = tried or row.orig and row.reply and row.orig.src == service.address and row.reply.src == service.address
            end
            if tried then
              evidence[#evidence + 1] = ("a connection of %s was led back to it (conntrack)"):format(service.address)
            end
            if fixes[1] then
              report:found { at = router, problem = ("%s does not reach itself by %s of %s"):format(target.title,
                service.dport and ("port %d"):format(service.dport) or "the service", router.title), sure = tried and 0.92 or 0.6,
                evidence = evidence, fix = table.concat(fixes, " && ") }
            end
          end
        end
      end
    end
  end,
}
