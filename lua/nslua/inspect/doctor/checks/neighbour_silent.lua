-- Gateways are asked for, one echo request each: what counts is whether the link-layer address was learnt, not whether they answer.

local rules = require "nslua.inspect.doctor.rules"

local WAIT = 1.2 -- seconds: ARP asks again after one

-- Rules that keep ARP from whoever is asked.
local function droppers(owner)
  local out = {}
  for _, chain in ipairs(owner.space.nft.chains) do
    for _, rule in ipairs(chain.row.family == "arp" and chain.row.hook == "input" and chain.rules or {}) do
      if rule.verdict == "drop" then
        out[#out + 1] = rule
      end
    end
  end
  return out
end

return {
  name = "neighbour_silent", probe = true,
  why = "A gateway that is there but whose link-layer address cannot be learnt gets no packets: something on the way drops ARP or neighbour "
    .. "discovery, though everything else would pass.",
  run = function(target, report)
    local asked, list = {}, {}
    for _, each in ipairs(target:gateways()) do
      local flags = each.link.flags or {}
      if #list < 8 and each.link.up and each.link.carrier and not flags.noarp and not flags.loopback and not flags.pointopoint and not asked[each.ip]
        and not each.ip:find "^fe80:" and not target:has_address(each.ip) then
        asked[each.ip] = each
        list[#list + 1] = each.ip
      end
    end
    if not list[1] or target:explained() then
      return
    end
    target.handle:ping(list, { count = 1, timeout = WAIT })
    for _, row in ipairs(target.handle.neighbour:list()) do
      local each = asked[row.dst]
      if each and row.dev_index == each.link.index and (row.state == "failed" or row.state == "incomplete") then
        local owner = target:owner(each.ip, each.link)
        local evidence = { ("asked for %s on %s, nobody answered in %g s (a probe); its entry is %s (rtnetlink neighbour)"):format(each.ip,
          each.link.name, WAIT, row.state) }
        local drops = owner and droppers(owner) or {}
        local fixes = {}
        for _, rule in ipairs(drops) do
          fixes[#fixes + 1] = rules.delete(rule)
          evidence[#evidence + 1] = ("rule %d of %s drops ARP in %s (nf_tables)"):format(rule.row.handle, rules.chain_words(rule.row),
            owner.space.title)
        end
        if owner then
          evidence[#evidence + 1] = ("%s has it on %s, with %s (rtnetlink address, link)"):format(owner.space.title, owner.link.name,
            owner.link.address)
        end
        report:found { at = drops[1] and owner.space or target, problem = ("the gateway %s does not say where it is"):format(each.ip),
          sure = drops[1] and 0.93 or 0.75, evidence = evidence,
          fix = drops[1] and table.concat(fixes, " && ")
            or owner and ("ip neighbour replace %s lladdr %s dev %s nud permanent"):format(each.ip, owner.link.address, each.link.name) or nil }
      end
    end
  end,
}
