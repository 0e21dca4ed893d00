-- Rules of iptables-legacy and rules of nf_tables: what one accepts, the other drops.

local filters = require "nslua.inspect.doctor.filters"
local passing = require "nslua.inspect.doctor.passing"
local rules = require "nslua.inspect.doctor.rules"

return {
  name = "mixed_firewalls",
  why = "iptables-legacy and nf_tables (nft, iptables-nft, firewalld) are two firewalls: each packet has to be accepted by both, and neither tool "
    .. "shows the rules of the other. A rule that accepts in one is without effect where the other drops.",
  run = function(target, report)
    local seen = {}
    local function look(space, hook, packet)
      local rule, drop = filters.disagree(space, hook, packet)
      if rule and not seen[drop.rule or drop.chain] then
        seen[drop.rule or drop.chain] = true
        report:found { at = space, sure = 0.96, problem = ("one firewall accepts %s port %d, the other drops it"):format(packet.proto, packet.dport),
          evidence = { ("rule %d of %s accepts it: %s (%s)"):format(rule.handle, rules.chain_words(rule), rule.text, rules.source(rule)),
            filters.words(drop) },
          fix = filters.fix(drop, packet, hook == "forward" and { "dst", "dport" } or { "dport" }) }
      end
    end
    for _, packet in ipairs(target.firewall.chains[1] and passing.inward(target) or {}) do
      look(target, "input", packet)
    end
    for _, each in ipairs(passing.forwarded(target)) do
      look(each.router, "forward", each.packet)
    end
  end,
}
