-- What a bridge passes between its ports meets the host's filters, and is dropped.

local filters = require "nslua.inspect.doctor.filters"
local translation = require "nslua.inspect.doctor.translation"

return {
  name = "bridge_nf_on",
  why = "With net.bridge.bridge-nf-call-iptables=1 frames between two ports of a bridge meet the filters of the hook forward, as if they "
    .. "were routed. A policy of drop, which docker sets, "
    .. "then cuts off hosts of one bridge from each other; their own routes and neighbours are all right.",
  run = function(target, report)
    local asked = {}
    for _, link in ipairs(target.links) do
      local far = target:far(link)
      local space, bridge = far and far.space, far and far.link.master_index and far.space.link_of[far.link.master_index]
      for _, family in ipairs(bridge and bridge.kind == "bridge" and space ~= target and { "inet", "inet6" } or {}) do
        local name = translation.bridge_nf(family)
        local own = target:addresses_of(link, family)[1]
        local on = own and space.firewall.chains[1] and (space:sysctl(name) == "1" or (bridge.bridge or {}).nf_call_iptables)
        for _, each in ipairs(on and space:segment(bridge) or {}) do
          local other = each.space ~= space and each.space ~= target and each.space:addresses_of(each.link, family)[1]
          local packet = { family = family, src = own.address:match "^[^/]+", dst = other and other.address:match "^[^/]+", iif = bridge.name,
            iif_index = bridge.index, oif = bridge.name, oif_index = bridge.index }
          local drop = other and filters.drops_all(space, "forward", packet)
          local meant = drop and drop.rule and drop.rule.match.iif and drop.rule.match.oif -- as docker's icc=false has it
          if drop and not meant and not asked[family .. bridge.name] then
            asked[family .. bridge.name] = true
            local translates = false
            for _, rule in ipairs(space.firewall.rules) do
              translates = translates or rule.nat ~= nil
            end
            report:found { at = space, sure = 0.92, problem = ("%s filters what %s passes from port to port"):format(space.title, bridge.name),
              evidence = { ("%s is 1 (sysctl)"):format(name), filters.words(drop),
                ("%s and %s are on that bridge (rtnetlink link)"):format(target.title, each.space.title) },
              -- who translates needs it: then what is bridged is accepted
              fix = translates and filters.fix(drop, packet, { "iif", "oif" }) or ("sysctl -w %s=0"):format(name) }
          end
        end
      end
    end
  end,
}
