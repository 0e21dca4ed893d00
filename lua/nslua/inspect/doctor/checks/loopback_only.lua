-- A port is listened on, but not where those come from who want it.

local expected = require "nslua.inspect.doctor.expected"
local programs = require "nslua.inspect.doctor.programs"

-- What comes from outside is led to the loopback address, since a command cannot tell a program where to listen.
local function led(target, want, row)
  local link
  for _, each in ipairs(target.links) do
    link = link or each.name ~= "lo" and target:addresses_of(each, "inet")[1] and each or nil
  end
  if not link or row.family ~= "inet" then
    return nil
  end
  local name = ("nslua_%s_%d"):format(want.proto, want.port)
  -- with route_localnet neighbours could reach all of the loopback: only what is led there may
  local rules = ("add table ip %s; add chain ip %s guard { type filter hook prerouting priority -300; }; "
    .. "add rule ip %s guard iifname != lo ip daddr 127.0.0.0/8 drop; add chain ip %s prerouting { type nat hook prerouting priority -100; }; "
    .. "add rule ip %s prerouting iifname != lo %s dport %d dnat to %s:%d"):format(name, name, name, name, name, want.proto, want.port, row.src,
      row.sport)
  return ("sysctl -w net.ipv4.conf.%s.route_localnet=1 && nft '%s'"):format((link.name:gsub("%.", "/")), rules)
end

return {
  name = "loopback_only",
  why = "A program that listens on 127.0.0.1, ::1 or one address hears nobody who comes by another, and a socket of [::] with IPV6_V6ONLY hears no "
    .. "IPv4. The right repair is its own setting (0.0.0.0 or ::); a rule can lead packets to it meanwhile.",
  run = function(target, report)
    for _, want in ipairs(target.expected) do
      local what, row = expected.wrong(target, want)
      if what == "loopback" or what == "v6only" or what == "address" then
        local program = programs.of(target, row)
        local evidence = { want.evidence, ("the socket is bound to %s port %d%s%s (sock_diag)"):format(row.src, row.sport,
          what == "v6only" and ", IPv6 only" or "", program and " by " .. program or "") }
        local problem, fix = ("what listens on %s port %d hears no packet from outside"):format(want.proto, want.port), nil
        if what == "loopback" then
          fix = led(target, want, row)
        elseif what == "v6only" then
          problem = ("%s port %d is listened on for IPv6 alone"):format(want.proto, want.port)
          if target:sysctl "net.ipv6.bindv6only" == "1" then
            evidence[3] = "net.ipv6.bindv6only is 1 (sysctl): so are all sockets of [::]; the program has to be started again after it is 0"
            fix = "sysctl -w net.ipv6.bindv6only=0"
          end
        else
          problem = ("%s port %d is listened on at %s, not at %s"):format(want.proto, want.port, row.src, want.address)
        end
        report:found { problem = problem, sure = what == "v6only" and not fix and 0.7 or want.sure, evidence = evidence, fix = fix }
      end
    end
  end,
}
