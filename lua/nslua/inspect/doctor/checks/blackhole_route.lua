-- A route that throws packets away lies before the one that leads on.

-- What the kernel says whose packet meets it.
local ends = { blackhole = "EINVAL", unreachable = "EHOSTUNREACH", prohibit = "EACCES" }

return {
  name = "blackhole_route",
  why = "A route of type blackhole, unreachable or prohibit ends the way of whatever it matches: without a word, or with an error. Where an "
    .. "address on a link of one's own neighbours lies below it, and no route that is longer or comes before it, it is not reached.",
  run = function(target, report)
    for _, row in ipairs(target.routes) do
      local bad = ends[row.type] and row.table == "main" and row.dst ~= "default"
      for _, other in ipairs(bad and target.around or {}) do
        for _, address in ipairs(other.addresses) do
          local ip = address.address:match "^[^/]+"
          if bad and address.scope ~= "host" and address.scope ~= "link" and target:within(ip, row.dst)
            and select(2, target:lookup(ip)) == ends[row.type] then
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
