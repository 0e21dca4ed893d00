-- The name servers that a namespace is told of cannot be asked: there are none, nobody is there, no way leads there.

local names = require "nslua.inspect.doctor.names"

-- Who is asked while resolv.conf names nobody. resolv.conf(5)
local NOBODY = "127.0.0.1"

return {
  name = "dns_config",
  why = "Programs ask the servers of resolv.conf for names. 127.0.0.53 is systemd-resolved of the machine, and reaches it from no other network; "
    .. "docker's 127.0.0.11 needs its rules; an empty file means the namespace itself. Each server that is not there costs seconds for each name.",
  run = function(target, report)
    local own, resolv = names.is_own(target), target.resolv
    local linked = false -- who was given no network is not meant to ask anybody
    for _, link in ipairs(target.links) do
      linked = linked or link.name ~= "lo" and link.up
    end
    if not linked or own == nil or not own and not target:default_route "inet" and not target:default_route "inet6" then
      return
    end
    local handle = target.handle
    local said = rawget(handle, "container") and not handle.host_network or rawget(handle, "resolv_conf") or resolv.pid
      or resolv.path:find "^/etc/netns/"
    if not resolv.servers[1] and said and (target:default_route "inet" or target.ends[1]) and not names.listens_on(target, NOBODY) then
      local other = names.others(target)[1]
      local mend = other and names.mend(target, other.ip) or {}
      report:found { problem = "no name server is named", sure = other and 0.9 or 0.7, fix = mend.fix, here = mend.here, command = mend.command,
        evidence = { ("%s has no line \"nameserver\""):format(resolv.path), other and other.words } }
    end
    for i, ip in ipairs(resolv.servers) do
      local problem, evidence, fix = names.wrong(target, ip)
      if problem then
        table.insert(evidence, 1, ("%s names %s"):format(resolv.path, ip))
        local mend = { fix = fix }
        if not fix then
          local other = names.others(target)[1]
          mend = other and names.mend(target, other.ip) or mend
          evidence[#evidence + 1] = other and other.words or nil
        end
        -- one that is first costs time; others are asked where it is silent alone
        report:found { problem = problem, evidence = evidence, fix = mend.fix, here = mend.here, command = mend.command,
          sure = not own and 0.7 or i > 1 and 0.5 or resolv.servers[2] and 0.7 or 0.9 }
      end
    end
  end,
}
