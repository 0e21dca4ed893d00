-- A port that should be listened on is not.

local expected = require "nslua.inspect.doctor.expected"
local rules = require "nslua.inspect.doctor.rules"

-- Who else listens on it: the wrong container may be meant.
local function others(target, want)
  local out = {}
  for _, space in ipairs(target.around) do
    for _, row in ipairs(space:listening()) do
      if row.proto == want.proto and row.sport == want.port and not expected.is_loopback(row.src) then
        out[#out + 1] = ("%s listens on it, at %s (sock_diag)"):format(space.title, row.src)
        break
      end
    end
  end
  return out
end

-- The rule that leads there, with the port that is listened on in its place; nil where its words are not all known.
local function replaced(want, port)
  local rule = want.rule
  local text = rule and not rules.iptables(rule) and rule.nat.port == want.port and rule.text
  local head, tail = (text or ""):match "^(.-) dnat (to .*)$"
  local old = (":%d"):format(want.port) .. "%f[%D]"
  if head and not text:find "[%[\"'%c]" and not text:find "match " and select(2, tail:gsub(old, "")) == 1 then
    local family = rule.family == "inet" and (want.address:find(":", 1, true) and "ip6 " or "ip ") or ""
    return ("nft replace rule %s handle %d '%s%s dnat %s%s'"):format(rules.chain_words(rule), rule.handle, head, rule.packets and " counter" or "",
      family, (tail:gsub(old, ":" .. port)))
  end
end

return {
  name = "not_listening",
  why = "Where no socket listens on a port, TCP is answered by a reset (connection refused) and UDP by an ICMP error: the network is right, and "
    .. "the program is not there, not ready, or on another port.",
  run = function(target, report)
    for _, want in ipairs(target.expected) do
      if expected.wrong(target, want) == "none" then
        local evidence = { want.evidence }
        evidence[2] = ("no %s socket has port %d (sock_diag)"):format(want.proto:upper(), want.port)
        local refused = want.proto == "tcp" and target.counters["Tcp.OutRsts"] or target.counters["Udp.NoPorts"] + target.counters["Udp6.NoPorts"]
        if refused > 0 then
          evidence[3] = want.proto == "tcp" and ("resets that were sent: %d (OutRsts of /proc/net/snmp)"):format(refused)
            or ("datagrams that found no socket: %d (NoPorts of /proc/net/snmp)"):format(refused)
        end
        for _, text in ipairs(others(target, want)) do
          evidence[#evidence + 1] = text
        end
        local open = expected.open_ports(target, want.proto)
        if open[1] then
          evidence[#evidence + 1] = ("it listens on %s (sock_diag)"):format(table.concat(open, ", ", 1, math.min(#open, 8)))
        end
        local fix = want.rule and #open == 1 and replaced(want, open[1])
        report:found { at = fix and want.space or nil, problem = fix and ("%s port %d of %s is led to port %d, it listens on %d"):format(want.proto,
          want.rule.match.dport and math.tointeger(want.rule.match.dport[1]) or want.port, target.title, want.port, open[1])
          or ("nothing listens on %s port %d"):format(want.proto, want.port), sure = want.sure, evidence = evidence, fix = fix or nil }
      end
    end
  end,
}
