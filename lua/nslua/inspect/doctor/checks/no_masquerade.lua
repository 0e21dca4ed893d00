-- What goes out keeps an address that nobody outside has a way back to.

local passing = require "nslua.inspect.doctor.passing"
local rules = require "nslua.inspect.doctor.rules"
local translation = require "nslua.inspect.doctor.translation"

local world = { inet = "198.51.100.1", inet6 = "2001:db8::1" } -- somebody far away
local MANY = 3 -- connections without an answer that tell something

local function private(ip)
  local a, b = ip:match "^(%d+)%.(%d+)%."
  a, b = tonumber(a), tonumber(b)
  return a == 10 or a == 192 and b == 168 or a == 172 and b >= 16 and b <= 31 or a == 100 and b >= 64 and b <= 127
end

-- Connections of an address that went on as they came, and had no answer; none where one had.
local function unanswered(router, ip)
  local count, example = 0, nil
  for _, row in ipairs(translation.connections(router)) do
    local a, b = row.orig, row.reply
    if a and b and a.src == ip and not router:has_address(a.dst) then
      if row.status.seen_reply or b.dst ~= ip then
        return 0
      end
      count, example = count + 1, example or a.dst
    end
  end
  return count, example
end

return {
  name = "no_masquerade",
  why = "Who has a private address is answered only by those who have a route back to it. A router to the world has to give what goes out its own "
    .. "address (masquerade, SNAT): else it arrives, and the answers are sent elsewhere.",
  run = function(target, report)
    for _, each in ipairs(passing.outward(target)) do
      local router, packet = each.owner and each.owner.space, each.packet
      for _, hop in ipairs(each.default and router and router ~= target and router:gateways() or {}) do
        local same, default = passing.family_of(hop.ip) == packet.family, false
        for _, row in ipairs(hop.routes) do
          default = default or row.dst == "default"
        end
        if same and default and hop.link.index ~= each.owner.link.index and not translation.hides(router,
          { family = packet.family, src = packet.src, dst = world[packet.family], oif = hop.link.name, oif_index = hop.link.index }) then
          local beyond = router:owner(hop.ip, hop.link)
          local back = beyond and beyond.space:lookup(packet.src)
          local evidence, sure
          if beyond and (not back or back.dev_index ~= beyond.link.index) then
            sure, evidence = 0.93, { ("%s, by whom %s sends it on, has %s to %s (rtnetlink route)"):format(beyond.space.title, router.title,
              back and "another way" or "no way", packet.src) }
          elseif not beyond and packet.family == "inet" and private(packet.src) then
            local count, to = unanswered(router, packet.src)
            local words = "%d connections of %s went on with this address, to %s for one, and none was answered (conntrack)"
            sure, evidence = 0.75, count >= MANY and { words:format(count, packet.src, to) }
          end
          if evidence then
            local own = router:addresses_of(each.owner.link, packet.family)[1]
            local subnet = own and own.address or packet.src
            evidence[#evidence + 1] = ("no rule of %s masquerades what leaves by %s (nf_tables, iptables)"):format(router.title, hop.link.name)
            local dev = rules.quoted(hop.link.name)
            report:found { at = router, problem = ("what %s sends to the world keeps its address %s"):format(target.title, packet.src), sure = sure,
              evidence = evidence, fix = translation.masquerade(router, packet.family, ("%s saddr %s oifname %s"):format(packet.family == "inet"
                and "ip" or "ip6", subnet, dev), ("-s %s -o %s"):format(subnet, dev)) }
          end
        end
      end
    end
  end,
}
