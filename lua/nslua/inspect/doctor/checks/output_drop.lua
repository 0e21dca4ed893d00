-- A host's own filter lets nothing out.

local filters = require "nslua.inspect.doctor.filters"
local passing = require "nslua.inspect.doctor.passing"

return {
  name = "output_drop",
  why = "A filter at the hook output that drops whatever goes to the gateway keeps a host from everything beyond its own links: sendto() says EPERM, "
    .. "or nothing at all, and no packet is seen on the wire.",
  run = function(target, report)
    for _, each in ipairs(passing.outward(target)) do
      local drop = filters.drops_all(target, "output", each.packet)
      if drop then
        report:found { problem = ("what is sent by %s is dropped before it leaves"):format(each.packet.oif), sure = 0.94,
          evidence = { filters.words(drop), ("it has a route by %s (rtnetlink route)"):format(each.gateway) },
          fix = filters.fix(drop, each.packet, { "oif" }) }
      end
    end
  end,
}
