-- Something listens, and a rule of the host itself drops who comes.

local filters = require "nslua.inspect.doctor.filters"
local passing = require "nslua.inspect.doctor.passing"

return {
  name = "input_drop",
  why = "A filter at the hook input drops first packets for a port that is listened on: whoever connects waits until its time is over (drop), or is "
    .. "refused (reject), though the program is well.",
  run = function(target, report)
    if not target.firewall.chains[1] then
      return
    end
    local dropped, open, seen, passes = {}, false, {}, {}
    for _, packet in ipairs(passing.inward(target)) do
      local drop = filters.drops(target, "input", packet)
      open = open or not drop
      local key = packet.proto .. packet.dport
      passes[key] = passes[key] or not drop
      if drop and not seen[key] then
        seen[key] = true
        dropped[#dropped + 1] = { packet, drop }
      end
    end
    for _, each in ipairs(dropped) do
      local packet, drop = each[1], each[2]
      local named = drop.rule and drop.rule.match.dport
      -- what is not expected from outside may be kept from it on purpose, unless nothing at all gets in
      -- and what one link or family lets in another keeps out
      if packet.want or named and not passes[packet.proto .. packet.dport] or not open then
        local evidence = { filters.words(drop) }
        evidence[2] = packet.want and packet.want.evidence or ("%s port %d is listened on (sock_diag)"):format(packet.proto, packet.dport)
        -- of one family alone
        local only = passes[packet.proto .. packet.dport] and (packet.family == "inet" and " by IPv4" or " by IPv6") or ""
        report:found { problem = ("what comes for %s port %d%s is dropped"):format(packet.proto, packet.dport, only), evidence = evidence,
          sure = only ~= "" and 0.6 or packet.want and packet.want.sure or named and 0.75 or 0.7,
          fix = filters.fix(drop, packet, { "dport" }) }
      end
    end
  end,
}
