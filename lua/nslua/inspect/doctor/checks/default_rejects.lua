-- The default route that is preferred rejects, or throws away, what has no route of its own; the one that leads on comes after it.

local ends = { unreachable = "EHOSTUNREACH", prohibit = "EACCES", blackhole = "EINVAL", throw = "ENETUNREACH" }
local world = { inet = "203.0.113.1", inet6 = "2001:db8:ffff::1" } -- somebody far away

return {
  name = "default_rejects",
  why = "Of several default routes the one with the least metric counts. Where that is of type unreachable, prohibit, blackhole or throw, "
    .. "connect() fails at once, or what is sent is gone, though there is a gateway. As a last one, with a large metric, such a route is well.",
  run = function(target, report)
    for _, family in ipairs { "inet", "inet6" } do
      local row, away = target:rejecting_default(family)
      local after = row and target:default_route(family)
      if after then
        local found, code = target:lookup(world[family]) -- rules may ask another table first
        if not found and code == ends[row.type] then
          report:found { problem = ("the default route is of type %s"):format(row.type), sure = 0.95,
            evidence = { ("%s default, metric %d (rtnetlink route)"):format(row.type, row.metric or 0),
              ("default by %s, metric %d, comes after it (rtnetlink route)"):format(tostring(after.via or after.dev), after.metric or 0),
              ("the kernel says %s when asked for a route to %s (rtnetlink route)"):format(code, world[family]) }, fix = away }
        end
      end
    end
  end,
}
