-- Echo requests are dropped: what ping tells of this host is not so.

local filters = require "nslua.inspect.doctor.filters"

local kinds = { inet = { proto = "icmp", icmp_type = 8 }, inet6 = { proto = "icmpv6", icmp_type = 128 } }

-- By which links echo requests come, and the rule that surely drops them on each.
local function came(target, hook, family)
  local list = {}
  if hook == "forward" or hook == "output" then
    return { { drop = filters.drops(target, hook, { family = family, proto = kinds[family].proto, icmp_type = kinds[family].icmp_type }) } }
  end
  for _, link in ipairs(target.links) do
    local own = link.name ~= "lo" and target:addresses_of(link, family)[1]
    if own then
      list[#list + 1] = { drop = filters.drops(target, hook, { family = family, proto = kinds[family].proto, icmp_type = kinds[family].icmp_type,
        dst = own.address:match "^[^/]+", iif = link.name, iif_index = link.index, oif = false, oif_index = false }) }
    end
  end
  return list
end

return {
  name = "icmp_blocked",
  why = "Where echo requests are dropped, ping and whatever watches by it say that a host is down which is not.",
  run = function(target, report)
    local dropped, fixes, seen = {}, {}, {}
    for _, hook in ipairs(target.firewall.chains[1] and { "prerouting", "input", "forward", "output" } or {}) do
      for _, family in ipairs { "inet", "inet6" } do
        local open, found = false, {}
        for _, each in ipairs(came(target, hook, family)) do
          local drop = each.drop
          -- a policy that drops what nobody thought of is not about ping
          if drop and drop.rule and drop.rule.match.icmp_type then
            found[#found + 1] = drop
          else
            open = true
          end
        end
        -- one link may be kept from asking on purpose
        for _, drop in ipairs(open and {} or found) do
          local fix = filters.fix(drop, { family = family }, {})
          if not seen[fix] then
            seen[fix] = true
            dropped[#dropped + 1], fixes[#fixes + 1] = filters.words(drop), fix
          end
        end
      end
    end
    for _, name in ipairs { "net.ipv4.icmp_echo_ignore_all", "net.ipv6.icmp.echo_ignore_all" } do
      if target:sysctl(name) == "1" then
        dropped[#dropped + 1] = name .. " is 1 (sysctl)"
        fixes[#fixes + 1] = ("sysctl -w %s=0"):format(name)
      end
    end
    if fixes[1] then
      report:found { problem = "echo requests are not answered", sure = 0.6, evidence = dropped, fix = table.concat(fixes, " && ") }
    end
  end,
}
