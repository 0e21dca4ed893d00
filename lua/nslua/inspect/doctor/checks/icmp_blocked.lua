-- Echo requests are dropped: what ping tells of this host is not so.

local rules = require "nslua.inspect.doctor.rules"

return {
  name = "icmp_blocked",
  why = "Where echo requests are dropped, ping and whatever watches by it say that a host is down which is not.",
  run = function(target, report)
    local dropped, fixes = {}, {}
    rules.find(target.nft, { input = true, forward = true, output = true, prerouting = true }, function(rule)
      if (rule.verdict == "drop" or rule.verdict == "reject") and (rule.proto == 1 and rule.icmp == 8 or rule.proto == 58 and rule.icmp == 128) then
        dropped[#dropped + 1] = ("rule %d of %s drops them (nf_tables)"):format(rule.row.handle, rules.chain_words(rule.row))
        fixes[#fixes + 1] = rules.delete(rule)
      end
    end)
    for _, name in ipairs { "net.ipv4.icmp_echo_ignore_all", "net.ipv6.icmp.echo_ignore_all" } do
      if target:sysctl(name) == "1" then
        dropped[#dropped + 1] = name .. " is 1 (sysctl)"
        fixes[#fixes + 1] = ("sysctl -w %s=0"):format(name)
      end
    end
    if fixes[1] then
      report:found { problem = "echo requests are not answered", sure = 0.6, evidence = dropped, fix = table.concat(fixes, " && ") }
    end
  end,
}
