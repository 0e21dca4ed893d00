-- The name servers are asked, and do not answer.

local filters = require "nslua.inspect.doctor.filters"
local names = require "nslua.inspect.doctor.names"
local passing = require "nslua.inspect.doctor.passing"
local programs = require "nslua.inspect.doctor.programs"

local WAIT = 1.2 -- seconds for a server, in which it is asked twice
local MOST = 3   -- servers that a resolver takes: resolv.conf(5)

-- A question that every server has some answer to, if it is only that it will not. Docker's own knows the container's id, and asks nobody for it.
local function ask(target, ip)
  local embedded = ip == "127.0.0.11" and rawget(target.handle, "container")
  return target.handle:resolve(embedded and embedded:sub(1, 12) .. "." or ".", { type = embedded and "A" or "NS", server = ip, timeout = WAIT })
end

-- The rule on the way that drops questions, with what mends it.
local function dropped(target, ip)
  local family = passing.family_of(ip)
  local places = { { target, "output", { iif = false, iif_index = false } } }
  local route = target:lookup((ip:gsub("%%.*$", "")))
  local owner = route and type(route.via) == "string" and target.link_of[route.dev_index or 0]
    and target:owner(route.via, target.link_of[route.dev_index])
  if owner then
    places[2] = { owner.space, "forward", { iif = owner.link.name, iif_index = owner.link.index } }
  end
  local server = names.owner(target, ip)
  if server and server ~= target then
    places[#places + 1] = { server, "input", { oif = false, oif_index = false } }
  end
  for _, place in ipairs(places) do
    local space, hook, fields = table.unpack(place)
    local fixes, words, seen = {}, {}, {}
    for _, proto in ipairs { "udp", "tcp" } do
      local packet = { family = family, proto = proto, dport = 53, dst = ip }
      for key, value in pairs(fields) do
        packet[key] = value
      end
      local drop = filters.drops(space, hook, packet)
      local fix = drop and filters.fix(drop, packet, { "dport" })
      if not drop and proto == "udp" then
        break
      elseif fix and not seen[fix] then
        seen[fix] = true
        fixes[#fixes + 1], words[#words + 1] = fix, filters.words(drop)
      end
    end
    if fixes[1] then
      return space, words, table.concat(fixes, " && ")
    end
  end
end

-- Why, as far as it can be seen: fields of a finding.
local function cause(target, ip, evidence)
  local space, words, fix = dropped(target, ip)
  if space then
    for _, text in ipairs(words) do
      evidence[#evidence + 1] = text .. (space ~= target and " in " .. space.title or "")
    end
    return { at = space, fix = fix, sure = 0.93 }
  end
  local server = names.owner(target, ip)
  local row = server and names.listens_on(server, ip)
  if row then
    local program, owners = programs.of(server, row)
    local seen, go_on = programs.stopped(server, owners)
    evidence[#evidence + 1] = ("%s serves there in %s (sock_diag)"):format(program or "a program", server.title)
    evidence[#evidence + 1] = seen
    if seen then
      return { at = server, fix = go_on, here = true, sure = 0.94 }
    end
  elseif server then
    evidence[#evidence + 1] = ("%s has the address, and no UDP socket of port 53 (sock_diag)"):format(server.title)
  end
  -- somebody who does answer
  for i, other in ipairs(names.others(target)) do
    if i <= 2 and ask(target, other.ip).rcode then
      evidence[#evidence + 1] = ("%s, and answers"):format(other.words)
      return names.mend(target, other.ip)
    end
  end
  return {}
end

return {
  name = "dns_silent", probe = true,
  why = "A program that asks a name server which does not answer waits five seconds, asks again or another one, and fails after some more: all that "
    .. "uses names is slow or dead, while addresses work.",
  run = function(target, report)
    local own = names.is_own(target)
    if own == nil or not own and not target:default_route "inet" and not target:default_route "inet6" or target:explained() then
      return
    end
    local silent, answers = {}, false
    for i, ip in ipairs(target.resolv.servers) do
      if i <= MOST and not names.wrong(target, ip) then
        local r = ask(target, ip)
        answers = answers or r.rcode ~= nil
        if not r.rcode then
          local evidence = { ("%s names %s"):format(target.resolv.path, ip),
            ("asked for the servers of the root: %s%s (a probe, UDP port 53, %g s)"):format(r.error or "ETIMEDOUT",
              r.from and " from " .. r.from or "", WAIT) }
          local found = cause(target, ip, evidence)
          found.problem, found.evidence = ("the name server %s does not answer"):format(ip), evidence
          silent[#silent + 1] = found
          if found.sure then
            break -- what is known keeps the next from answering, too
          end
        end
      end
    end
    for _, found in ipairs(silent) do
      found.sure = answers and 0.6 or found.sure or own and 0.85 or 0.7
      report:found(found)
    end
  end,
}
