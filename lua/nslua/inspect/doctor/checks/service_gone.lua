-- A rule leads a service to an address that nobody has any more.

local expected = require "nslua.inspect.doctor.expected"
local rules = require "nslua.inspect.doctor.rules"
local translation = require "nslua.inspect.doctor.translation"

-- The one other host beside it that listens on the port.
local function instead(service)
  local found
  for i, each in ipairs(service.port and service.router:segment(service.link) or {}) do
    local own = i > 1 and each.space ~= service.router and each.space:addresses_of(each.link, service.family)[1]
    for _, row in ipairs(own and each.space:listening() or {}) do
      if row.proto == (service.proto or "tcp") and row.sport == service.port and not expected.is_loopback(row.src) then
        if found and found ~= own.address:match "^[^/]+" then
          return nil
        end
        found = own.address:match "^[^/]+"
      end
    end
  end
  return found
end

-- The rule with another address in its place; nil where its words are not all known.
local function replaced(service, address)
  local rule = service.rule
  local head, tail = rule.text:match "^(.-) dnat to (.*)$"
  if head and not rules.iptables(rule) and not address:find(":", 1, true) and tail == ("%s:%d"):format(service.address, service.port)
    and not rule.text:find "[%[\"'%c]" and not rule.text:find "match " then
    return ("nft replace rule %s handle %d '%s%s dnat %sto %s:%d'"):format(rules.chain_words(rule), rule.handle, head,
      rule.packets and " counter" or "", rule.family == "inet" and "ip " or "", address, service.port)
  end
end

return {
  name = "service_gone",
  why = "A rule that leads packets on (DNAT: a published port, the virtual address of a service) goes on doing so when the container behind it is "
    .. "gone or has another address: clients wait for an answer that nobody gives.",
  run = function(target, report)
    for _, router in ipairs(translation.routers(target)) do
      for _, service in ipairs(translation.services(router)) do
        local link = service.link
        if service.away or link and not service.owner and router:closed(link) then
          local other = link and instead(service)
          report:found { at = router, problem = ("%s leads %s to %s, which nobody has"):format(router.title,
            service.dport and ("port %d"):format(service.dport) or "a service", service.address), sure = 0.93,
            evidence = { rules.words(service.rule), link and ("nobody on %s has %s (rtnetlink address)"):format(link.name, service.address)
              or ("there is no route to %s (rtnetlink route)"):format(service.address),
              other and ("%s beside it listens on that port (sock_diag)"):format(other) or nil },
            fix = other and replaced(service, other) or rules.delete { row = service.rule } }
        end
      end
    end
  end,
}
