-- Whoever forwards drops what it is to pass on: by its policy, or by a rule, however many jumps away.

local filters = require "nslua.inspect.doctor.filters"
local passing = require "nslua.inspect.doctor.passing"

return {
  name = "forward_drop",
  why = "A chain of the hook forward whose policy is drop, as docker sets it, drops what no rule of it accepts: also between networks that "
    .. "docker does not know. Every chain of the hook is asked, of nf_tables, iptables-nft and iptables-legacy: one that drops is enough.",
  run = function(target, report)
    for _, each in ipairs(passing.outward(target)) do
      local router, packet = each.owner and each.owner.space, each.packet
      local drop
      if router then
        local from = each.owner.link
        -- towards anywhere, then towards the world
        local world = each.default and router:default_route(packet.family)
        packet = { family = packet.family, src = packet.src, iif = from.name, iif_index = from.index }
        drop = filters.drops_all(router, "forward", packet)
        if drop and not each.default then -- who has but a route to a network may be asked from there, and answer
          packet.state = "established"
          drop = filters.drops_all(router, "forward", packet) and drop
          packet.state = nil
        end
        if not drop and world and world.dev_index ~= from.index and router.link_of[world.dev_index] then
          packet.oif, packet.oif_index = router.link_of[world.dev_index].name, world.dev_index
          drop = filters.drops_all(router, "forward", packet)
          -- a rule that names both links keeps one from the other on purpose
          drop = not (drop and drop.rule and drop.rule.match.iif and drop.rule.match.oif) and drop or nil
        end
      end
      if drop then
        -- answers too, unless a rule goes
        local fix, back = filters.fix(drop, packet, { "iif" }), filters.fix(drop, { family = packet.family, oif = packet.iif }, { "oif" })
        fix = back ~= fix and fix .. " && " .. back or fix
        report:found { at = router, sure = 0.93, fix = fix,
          problem = packet.oif and ("%s drops what %s sends to the world"):format(router.title, target.title)
            or ("%s drops all that it is to forward"):format(router.title),
          evidence = { filters.words(drop), ("%s has a route by its address %s (rtnetlink route)"):format(target.title, each.gateway) } }
      end
    end
    for _, each in ipairs(passing.forwarded(target)) do
      local drop = filters.drops(each.router, "forward", each.packet)
      if drop then
        report:found { at = each.router, sure = each.want.sure >= 0.9 and 0.93 or 0.8,
          problem = ("%s drops what is for %s port %d of %s"):format(each.router.title, each.want.proto, each.want.port, target.title),
          evidence = { filters.words(drop), each.want.evidence }, fix = filters.fix(drop, each.packet, { "dst", "dport" }) }
      end
    end
  end,
}
