-- A rule of policy routing ends the way of packets before any route is looked for.

local ends = { prohibit = "EACCES", unreachable = "EHOSTUNREACH", blackhole = "EINVAL" }

-- Addresses that should be reached: of those on the links, and of those beyond a gateway.
local function goals(target, family)
  local out, seen = {}, {}
  local function add(space, but)
    for _, row in ipairs(space.addresses) do
      local ip = row.address:match "^[^/]+"
      if space ~= but and row.family == family and row.scope ~= "host" and row.scope ~= "link" and not seen[ip] and #out < 32 then
        seen[ip] = true
        out[#out + 1] = ip
      end
    end
  end
  for _, each in ipairs(target.around) do
    add(each, target)
    local conf = each.netconf[family].all
    for _, other in ipairs(conf and conf.forwarding and each.around or {}) do
      add(other, target)
    end
  end
  return out
end

return {
  name = "rule_rejects",
  why = "Rules choose the table in which a route is looked for, by who sends and where to. One of type prohibit, unreachable or blackhole ends the "
    .. "way: connect() says that it is not permitted, or that there is no route, though the table main has one.",
  run = function(target, report)
    for _, row in ipairs(target.rules) do
      local code = ends[row.action]
      for _, ip in ipairs(code and goals(target, row.family) or {}) do
        local matches = not row.to or row.to == "all" or target:within(ip, row.to)
        local found, why = nil, nil
        if matches then
          local from = row.from and row.from ~= "all" and row.from or nil
          for _, address in ipairs(target.addresses) do
            local own = address.address:match "^[^/]+"
            if not why and not found and address.family == row.family and address.scope == "global" and (not from or target:within(own, from)) then
              found, why = target:lookup(ip, own)
            end
          end
        end
        if why == code then
          report:found { problem = ("a rule ends the way to %s"):format(ip), sure = 0.95,
            evidence = { ("rule %d: from %s to %s %s (rtnetlink rule)"):format(row.priority or 0, row.from or "all", row.to or "all", row.action),
              ("the kernel says %s when asked for a route to %s (rtnetlink route)"):format(why, ip) },
            fix = ("ip %srule del priority %d"):format(row.family == "inet6" and "-6 " or "", row.priority or 0) }
          break
        end
      end
    end
  end,
}
