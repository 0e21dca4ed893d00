-- Answers between hosts of one bridge do not pass the router that translated the request.

local filters = require "nslua.inspect.doctor.filters"
local rules = require "nslua.inspect.doctor.rules"
local translation = require "nslua.inspect.doctor.translation"

return {
  name = "bridge_nf_off",
  why = "A service's address is translated by the host of the bridge. Where client and server are on that bridge the answer goes straight from one "
    .. "to the other, with the server's own address, and the client does not know it. With net.bridge.bridge-nf-call-iptables=1 bridged packets are "
    .. "translated too.",
  run = function(target, report)
    for _, router in ipairs(translation.routers(target)) do
      for _, service in ipairs(router ~= target and translation.services(router) or {}) do
        local bridge, owner = service.link, service.owner
        local family = service.family
        local name = translation.bridge_nf(family)
        local value = router:sysctl(name)
        if owner and bridge.kind == "bridge" and value ~= "1" and not (bridge.bridge or {}).nf_call_iptables then
          for i, each in ipairs(router:segment(bridge)) do
            local client = i > 1 and each.space ~= router and each.space ~= owner.space and each.space:addresses_of(each.link, family)[1]
            local ip = client and client.address:match "^[^/]+"
            if ip and (each.space == target or owner.space == target)
              and filters.matches(service.rule, { family = family, src = ip, iif = bridge.name, iif_index = bridge.index }) ~= false
              and not translation.hides(router, { family = family, src = ip, dst = service.address, oif = bridge.name,
                oif_index = bridge.index }) then
              report:found { at = router, sure = 0.9,
                problem = ("answers of %s to %s pass %s by"):format(owner.space.title, each.space.title, router.title),
                evidence = { rules.words(service.rule), ("%s and %s are both on %s (rtnetlink link, address)"):format(ip, service.address,
                  bridge.name), value and ("%s is %s (sysctl)"):format(name, value) or name .. " is not there: br_netfilter is not loaded (sysctl)" },
                fix = (value and "" or "modprobe br_netfilter && ") .. ("sysctl -w %s=1"):format(name) }
              break
            end
          end
        end
      end
    end
  end,
}
