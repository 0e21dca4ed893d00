-- A host's filter drops what the host sends to itself.

local filters = require "nslua.inspect.doctor.filters"

return {
  name = "loopback_filter",
  why = "Programs of one host talk by lo: databases, resolvers (127.0.0.53, 127.0.0.11), X11, agents. A filter that has no rule for lo drops "
    .. "this too, and clients wait though the server beside them is well.",
  run = function(target, report)
    local lo = target.link_of.lo
    if not lo or not lo.up or not target.firewall.chains[1] then
      return
    end
    for _, address in ipairs { "127.0.0.1", "::1" } do
      local family = address == "::1" and "inet6" or "inet"
      for _, hook in ipairs(target:has_address(address) and { "output", "input" } or {}) do
        local packet = { family = family, src = address, dst = address, iif = hook == "input" and "lo", oif = hook == "output" and "lo" }
        packet.iif_index, packet.oif_index = packet.iif and lo.index, packet.oif and lo.index
        local drop = filters.drops_all(target, hook, packet)
        if drop then
          report:found { sure = 0.95,
            problem = ("what %s sends to itself is dropped (%s)"):format(target.title, family == "inet" and "IPv4" or "IPv6"),
            evidence = filters.words(drop), fix = filters.fix(drop, packet, { hook == "input" and "iif" or "oif" }) }
        end
      end
    end
  end,
}
