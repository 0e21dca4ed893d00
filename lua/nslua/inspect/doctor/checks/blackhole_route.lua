-- A route that throws packets away lies before the one that leads on.

return {
  name = "blackhole_route",
  why = "A route of type blackhole, unreachable or prohibit ends the way of whatever it matches: without a word, or with an error. Where an "
    .. "address on a link of one's own neighbours lies below it, it is not reached.",
  run = function(target, report)
    for _, row in ipairs(target.routes) do
      local bad = (row.type == "blackhole" or row.type == "unreachable" or row.type == "prohibit") and row.table == "main" and row.dst ~= "default"
      for _, other in ipairs(bad and target.around or {}) do
        for _, address in ipairs(other.addresses) do
          local ip = address.address:match "^[^/]+"
          if bad and address.scope ~= "host" and address.scope ~= "link" and target:within(ip, row.dst) then
            bad = false
            report:found { problem = ("a route throws away what is for %s"):format(row.dst), sure = 0.94,
              evidence = { ("%s %s (rtnetlink route)"):format(row.type, row.dst), ("%s has %s there (rtnetlink address)"):format(other.title, ip) },
              fix = ("ip %sroute del %s %s"):format(row.family == "inet6" and "-6 " or "", row.type, row.dst) }
          end
        end
      end
    end
  end,
}
