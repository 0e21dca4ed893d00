-- What goes out by one router comes back by another, which keeps state and does not know the connection.

local filters = require "nslua.inspect.doctor.filters"

local MOST = 24 -- routes that are asked for

-- What drops an answer that is of no connection.
local function stateful(space, packet)
  local drop = filters.drops(space, "forward", packet)
  return drop and filters.words(drop)
end

-- Whom a namespace sends to first on its way to an address.
local function next_of(space, ip, from)
  local row = space:lookup(ip, from)
  local link = row and row.type == "unicast" and space.link_of[row.dev_index]
  local via = row and type(row.via) == "string" and row.via or ip
  return link and space:owner(via, link), row
end

return {
  name = "asymmetric_route",
  why = "A firewall follows connections. One that sees the answers alone, since what was asked went by another router, takes them for strangers and "
    .. "drops them: single packets pass, connections do not.",
  run = function(target, report)
    local asked, seen = 0, {}
    for _, each in ipairs(target:gateways()) do
      local router = target:owner(each.ip, each.link)
      router = router and router.space
      local own = target:addresses_of(each.link, each.route.family)[1]
      local from = own and own.address:match "^[^/]+"
      for _, other in ipairs(router and from and router.around or {}) do
        local to
        for _, row in ipairs(other ~= target and other.addresses or {}) do
          local ip = row.address:match "^[^/]+"
          if row.family == each.route.family and row.scope == "global" and not target:has_address(ip) then
            to = to or ip
          end
        end
        if to and not seen[to] and asked < MOST then
          seen[to], asked = true, asked + 1
          local there = next_of(target, to, from)
          local back, row = next_of(other, from, to)
          local on = there and back and there.space == router and next_of(router, to)
          -- next to each other behind that router, and the way back by another one
          if on and on.space == other and back.space ~= router and back.space ~= target and back.space ~= other then
            local answer = { family = each.route.family, proto = "tcp", state = "invalid", src = to, dst = from }
            local words = stateful(back.space, answer) or stateful(router, answer)
            local near = {}
            for _, link in ipairs(router.links) do
              for _, address in ipairs(router:addresses_of(link, each.route.family)) do
                near = router:within(to, address.address) and address or near
              end
            end
            if words and near.address then
              report:found { at = other, sure = 0.92,
                problem = ("%s reaches %s by %s, and is answered by %s"):format(target.title, to, router.title, back.space.title),
                evidence = { ("%s goes by %s of %s (rtnetlink route)"):format(to, each.ip, router.title),
                  ("the way from %s back to %s is by %s of %s (rtnetlink route)"):format(other.title, from, tostring(row.via), back.space.title),
                  words },
                fix = ("ip %sroute replace %s/%d via %s"):format(each.route.family == "inet6" and "-6 " or "", from,
                  each.route.family == "inet6" and 128 or 32, near.address:match "^[^/]+") }
            end
          end
        end
      end
    end
  end,
}
