-- Whoever forwards drops all that no rule accepts, and no rule does.

local rules = require "nslua.inspect.doctor.rules"

return {
  name = "forward_drop",
  why = "A chain of the hook forward whose policy is drop, as docker sets it, drops what no rule of it accepts: also between networks that "
    .. "docker does not know.",
  run = function(target, report)
    for _, each in ipairs(target:gateways()) do
      local owner = target:owner(each.ip, each.link)
      for _, chain in ipairs(owner and owner.space.nft.chains or {}) do
        local row, family = chain.row, each.ip:find(":", 1, true) and "ip6" or "ip"
        local accepts = false
        -- what is not understood may accept: then nothing is said
        for _, rule in ipairs(chain.rules) do
          accepts = accepts or not rule.established and rule.verdict ~= "drop" and rule.verdict ~= "reject" and rule.verdict ~= nil
        end
        if row.hook == "forward" and row.policy == "drop" and (row.family == "inet" or row.family == family) and not accepts then
          report:found { at = owner.space, problem = ("%s drops all that it is to forward"):format(owner.space.title), sure = 0.93,
            evidence = { ("chain %s has the policy drop, and no rule that accepts (nf_tables)"):format(rules.chain_words(row)),
              ("%s has a route by its address %s (rtnetlink route)"):format(target.title, each.ip) },
            fix = ("nft insert rule %s iifname %s accept && nft insert rule %s oifname %s accept"):format(rules.chain_words(row), owner.link.name,
              rules.chain_words(row), owner.link.name) }
        end
      end
    end
  end,
}
