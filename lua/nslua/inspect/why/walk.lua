-- The way of a packet, predicted: socket, rule and route, filters, neighbour, link, the next namespace, until somebody takes it; and the answer's.

local resolve = require "nslua.inspect.why.resolve"
local routes = require "nslua.inspect.why.routes"
local rulesets = require "nslua.inspect.why.ruleset"
local segment = require "nslua.inspect.why.segment"

local M = {}

local HOPS = 64 -- namespaces on a way

---@class nslua.why.Context
local Context = {}
Context.__index = Context

---@param spaces nslua.why.Spaces
---@return nslua.why.Context
function M.context(spaces)
  return setmetatable({ spaces = spaces, doubts = {}, steps = {}, doubted = {} }, Context)
end

---Something the walk cannot know.
function Context:doubt(space, text)
  text = ("%s: %s"):format(space.label, text)
  if not self.doubted[text] then
    self.doubted[text] = true
    self.doubts[#self.doubts + 1] = text
  end
end

function Context:step(step)
  self.steps[#self.steps + 1] = step
end

---The filters of a hook; nil: they let it through.
---@return table? finding
function Context:hook(space, name, packet, iif, oif)
  return rulesets.hook(self, space, name, packet, iif, oif)
end

---The filters that a frame meets: of a bridge, of a device, and those of IP where br_netfilter asks them.
---@param space nslua.why.Space
---@param name string
---@param packet table
---@param iif? table
---@param oif? table
---@param layer nslua.why.Layer
---@return table? finding
---@return table[] steps  what they say of it
function Context:frame_hook(space, name, packet, iif, oif, layer)
  local kept <const> = self.steps
  self.steps = {}
  local finding = rulesets.hook(self, space, name, packet, iif, oif, layer)
  local said = self.steps
  self.steps = kept
  return finding, said
end

---Whether a namespace has chains of a kind, for frames.
---@param space nslua.why.Space
---@param kind "bridge"|"netdev"|"ip"|"arp"
---@return boolean
function Context:filters(space, kind) -- luacheck: ignore self
  local set = rulesets.read(space)
  if kind == "ip" then
    return set.ip or set.ip6 or set.inet or set.legacy ~= nil
  elseif kind == "netdev" then
    return set.netdev or set.hooks.ingress ~= nil
  end
  return set[kind] or false
end

-- An end of the walk, which is raised.
local Stop = {}

local function stop(finding)
  error(setmetatable(finding, Stop), 0)
end

local function unless(finding)
  if finding then
    stop(finding)
  end
end

local input

-- A packet leaves by a route.
local function send(ctx, space, packet, route, iif)
  local link = space:link(route.dev_index)
  local mtu = math.min(route.mtu or link.mtu, link.mtu)
  if packet.size > mtu then
    local words = ("%d bytes do not fit through %s of %s: its mtu is %d"):format(packet.size, link.name, space.label, mtu)
    stop { code = "mtu", space = space, dev = link.name, why = words, errno = "EMSGSIZE", mtu = mtu,
      icmp = iif and (packet.family == "inet" and { 3, 4 } or { 2, 0 }) or nil, fix = ("ip link set %s mtu %d"):format(link.name, packet.size) }
  end
  unless(ctx:hook(space, "postrouting", packet, nil, link))
  if not link.up then
    stop { code = "link_down", space = space, dev = link.name, why = ("%s is down"):format(link.name), fix = ("ip link set %s up"):format(link.name) }
  end
  local lladdr, waits = link.address, false
  if not link.noarp then
    local found
    lladdr, found = resolve.address(ctx, space, link, route.via or packet.dst, packet)
    if not lladdr then
      found.icmp = found.after and (packet.family == "inet" and { 3, 1 } or { 1, 3 }) or nil
      stop(found)
    end
    ctx:step(found)
    waits = found.asked
  end
  local out = segment.send(ctx, space, link, { src = link.address, dst = lladdr, size = packet.size, packet = packet })
  local there = out.ends[1]
  if not there then
    local lost = segment.worst(out.drops) or { code = "lost", space = space, why = ("nobody takes the frame for %s on %s"):format(lladdr, link.name) }
    if lost.code == "other_host" then
      lost = { code = "wrong_neighbour", space = space, dev = link.name,
        why = ("the frame goes to %s, which nobody on %s has: the neighbour entry of %s is wrong"):format(lladdr, link.name, route.via or packet.dst),
        fix = ("ip neigh del %s dev %s"):format(route.via or packet.dst, link.name) }
    end
    if lost.hook == "egress" and lost.space == space and not waits and packet.proto ~= "tcp" then
      lost.errno = "ENOBUFS" -- what has waited for a neighbour is sent by somebody else, who is not told
    end
    stop(lost)
  end
  for _, step in ipairs(there.trail) do
    ctx:step(step)
  end
  return input(ctx, there.space, there.link, packet, there.prerouted)
end

function input(ctx, space, link, packet, prerouted)
  packet.hops = (packet.hops or 0) + 1
  ctx:step { kind = "space", space = space }
  if packet.hops > HOPS then
    stop { code = "routing_loop", space = space, why = "the packet goes round in routers until its time to live is over",
      fix = "look at the routes: they lead to each other", icmp = packet.family == "inet" and { 11, 0 } or { 3, 0 } }
  end
  unless(not prerouted and ctx:hook(space, "prerouting", packet, link) or nil)
  local route, found = routes.input(space, packet, link)
  if not route then
    stop(found)
  end
  ctx:step(found)
  if route.type == "local" then
    unless(ctx:hook(space, "input", packet, link))
    return space, link
  elseif route.type ~= "unicast" then
    stop { code = route.type, space = space, why = ("the packet meets a route of type %s: %s"):format(route.type, routes.text(route)) }
  elseif packet.family == "inet6" and space:sysctl "net.ipv6.conf.all.forwarding" == 0 then
    stop { code = "no_forwarding", space = space, dev = link.name, sysctl = "net.ipv6.conf.all.forwarding",
      why = ("%s does not forward: net.ipv6.conf.all.forwarding is 0"):format(space.label), fix = "sysctl -w net.ipv6.conf.all.forwarding=1" }
  end
  if packet.ttl <= 1 then
    stop { code = packet.hops >= HOPS - 4 and "routing_loop" or "ttl", space = space, icmp = packet.family == "inet" and { 11, 0 } or { 3, 0 },
      why = ("the packet's time to live is over after %d routers"):format(packet.hops - 1),
      fix = "look for what changes it (TTL, HL), or for routes that lead to each other" }
  end
  packet.ttl = packet.ttl - 1
  if route.nexthops then
    ctx:doubt(space, "the route has several nexthops: which one is taken is drawn from the packet's addresses and ports")
    route = setmetatable({ dev_index = route.nexthops[1].dev_index, via = route.nexthops[1].via }, { __index = route })
  end
  unless(ctx:hook(space, "forward", packet, link, space:link(route.dev_index)))
  return send(ctx, space, packet, route, link)
end

-- A packet begins here. Returns where it is taken in.
local function output(ctx, space, packet)
  ctx:step { kind = "space", space = space }
  local route, found = routes.output(space, packet)
  if not route then
    local _, _, names = space:links()
    if names.lo and not names.lo.up and (packet.dst:find "^127%." or packet.dst == "::1") then -- its routes went with it
      found.code, found.dev, found.why, found.fix = "link_down", "lo", "lo is down", "ip link set lo up"
    end
    stop(found)
  end
  ctx:step(found)
  local dev = packet.family == "inet6" and space:link(route.dev_index).name:gsub("%.", "/")
  packet.ttl = space:sysctl(dev and ("net.ipv6.conf.%s.hop_limit"):format(dev) or "net.ipv4.ip_default_ttl") or 64
  local mark, dst = packet.mark, packet.dst
  unless(ctx:hook(space, "output", packet, nil, space:link(route.dev_index)))
  if packet.mark ~= mark or packet.dst ~= dst then
    packet.bound = true
    route, found = routes.output(space, packet)
    if not route then
      stop(found)
    end
    ctx:step(found)
  end
  if route.type == "local" then
    local _, _, names = space:links()
    local lo = names.lo
    if not lo.up then
      stop { code = "link_down", space = space, dev = "lo", why = "lo is down", fix = "ip link set lo up" }
    end
    unless(ctx:hook(space, "postrouting", packet, nil, lo))
    unless(ctx:hook(space, "prerouting", packet, lo))
    unless(ctx:hook(space, "input", packet, lo))
    return space, lo
  elseif route.type ~= "unicast" then
    stop { code = route.type, space = space, why = ("%s is a route of type %s, which TCP has no use for"):format(routes.text(route), route.type) }
  end
  if route.nexthops then
    ctx:doubt(space, "the route has several nexthops: which one is taken is drawn from the packet's addresses and ports")
  end
  return send(ctx, space, packet, route)
end

---Walk a packet from where it begins.
---@param ctx nslua.why.Context
---@param space nslua.why.Space
---@param packet table
---@return nslua.why.Space? there
---@return table link_or_finding
function M.walk(ctx, space, packet)
  local ok, there, link = pcall(output, ctx, space, packet)
  if ok then
    return there, link
  elseif getmetatable(there) == Stop then
    return nil, setmetatable(there, nil)
  end
  error(there, 0)
end

local errnos = {
  inet = { ["3,0"] = "ENETUNREACH", ["3,1"] = "EHOSTUNREACH", ["3,2"] = "ENOPROTOOPT", ["3,3"] = "ECONNREFUSED", ["3,4"] = "EMSGSIZE",
    ["3,9"] = "ENETUNREACH", ["3,10"] = "EHOSTUNREACH", ["3,13"] = "EHOSTUNREACH", ["11,0"] = "EHOSTUNREACH" },
  inet6 = { ["1,0"] = "ENETUNREACH", ["1,1"] = "EACCES", ["1,2"] = "EHOSTUNREACH", ["1,3"] = "EHOSTUNREACH", ["1,4"] = "ECONNREFUSED",
    ["1,5"] = "EACCES", ["1,6"] = "EACCES", ["2,0"] = "EMSGSIZE", ["3,0"] = "EHOSTUNREACH" },
}

-- Whether what ICMP says of a packet comes back; the error that the sender gets of it.
local function told(ctx, finding, packet, origin, sent)
  local family = packet.family
  local at = finding.space
  local errno = finding.reset and "ECONNREFUSED" or errnos[family][table.concat(finding.icmp, ",")]
  if finding.by_bridge then -- it goes out of the port that the packet came in at
    return errno
  end
  local icmp
  if finding.reset then
    icmp = { family = family, proto = "tcp", src = packet.dst, dst = packet.src, sport = packet.dport, dport = packet.sport,
      size = family == "inet" and 40 or 60, mark = 0, reply = true, rst = true }
  else
    icmp = { family = family, proto = family == "inet" and "icmp" or "icmp6", icmp_type = finding.icmp[1], icmp_code = finding.icmp[2],
      dst = packet.src, size = 576 > packet.size and packet.size + 36 or 576, mark = 0,
      about = { proto = packet.proto, src = packet.src, dst = packet.dst, sport = packet.sport, dport = packet.dport } }
  end
  local mine = M.context(ctx.spaces)
  mine.connections = ctx.connections
  local there = M.walk(mine, at, icmp)
  for _, text in ipairs(mine.doubts) do
    if not ctx.doubted[text] then
      ctx.doubted[text] = true
      ctx.doubts[#ctx.doubts + 1] = text
    end
  end
  if finding.reset then
    local answers = icmp.src == sent.dst and icmp.dst == sent.src and icmp.sport == sent.dport and icmp.dport == sent.sport
    return there == origin and answers and errno or nil
  end
  local about = icmp.about -- whose socket it is for
  local ours = about.src == sent.src and about.dst == sent.dst and about.sport == sent.sport and about.dport == sent.dport
  return there == origin and ours and errno or nil
end

local function listens(space, packet)
  local best
  for row in space.handle.sockets:each { proto = packet.proto, family = { "inet", "inet6" }, sport = packet.dport,
    state = packet.proto == "tcp" and "listen" or nil } do
    local any = row.src == "0.0.0.0" or row.src == "::" or row.src == "*"
    local fits = any and (row.family == packet.family or row.family == "inet6" and not row.v6only) or row.src == packet.dst
    if fits and (packet.proto == "tcp" or row.dport == 0 or row.dport == nil) then
      return { kind = "socket", space = space, text = ("%s %s:%d listens"):format(packet.proto, row.src, row.sport), src = row.src,
        inode = row.inode }
    end
    best = best or row:decode()
  end
  return nil, best
end

-- What is missing at the end of the way there.
local function no_listener(ctx, space, packet, other)
  local why, fix
  if other then
    local loop = other.src:find "^127%." or other.src == "::1"
    why = ("%s:%d is listened on in %s, not %s:%d"):format(other.src, other.sport, space.label, packet.dst, packet.dport)
    fix = loop and "let the program listen on 0.0.0.0 or :: instead of " .. other.src
      or "let the program listen on " .. packet.dst .. ", or on 0.0.0.0"
  else
    why = ("nothing listens on %s port %d in %s"):format(packet.proto, packet.dport, space.label)
    for _, one in ipairs(ctx.spaces.list) do
      if one ~= space and listens(one, { family = packet.family, proto = packet.proto, dport = packet.dport, dst = "-" }) then
        fix = ("%s listens on that port: is %s the right address?"):format(one.label, packet.dst)
      end
    end
    fix = fix or "start the program that is to listen there"
  end
  return { code = "no_listener", space = space, why = why, fix = fix }
end

---@class nslua.why.Prediction
---@field verdict "reached"|"refused"|"failed"
---@field forward table[]     steps of the way there
---@field back table[]        of the answer's
---@field finding table?      what is wrong: { code, space, why, fix, ... }
---@field direction "forward"|"back"|nil  on which way
---@field error string?       what the sender is told: "ECONNREFUSED", "EHOSTUNREACH", "ETIMEDOUT", ...
---@field doubts string[]     what could not be known

---Predict what becomes of a packet and its answer.
---@param ctx nslua.why.Context
---@param origin nslua.why.Space
---@param packet table  { family, proto, dst, dport, sport, size, mark }
---@return nslua.why.Prediction
function M.predict(ctx, origin, packet)
  ctx.connections = {}
  local out = { forward = ctx.steps, doubts = ctx.doubts }
  local dst, dport, sport = packet.dst, packet.dport, packet.sport
  local icmp = packet.proto == "icmp" or packet.proto == "icmp6"
  local there, finding = M.walk(ctx, origin, packet)
  local src = packet.original and packet.original.src or packet.src
  out.src = src
  local function fail(what, direction)
    out.verdict, out.finding, out.direction = "failed", what, direction
    if direction == "forward" and (what.icmp or what.reset) then
      out.error = told(ctx, what, packet, origin, { src = src, dst = dst, sport = sport, dport = dport }) or "ETIMEDOUT"
    elseif direction == "forward" and what.space == origin then
      local denied = what.errno == "local" and (packet.proto == "tcp" and "ETIMEDOUT" or "EPERM") -- TCP sends it again, and again
      out.error = denied or what.errno or what.after or "ETIMEDOUT"
    else
      out.error = "ETIMEDOUT"
    end
    return out
  end
  if not there then
    return fail(finding, "forward")
  end
  out.at, out.dst, out.dport = there, packet.dst, packet.dport
  local socket, other = true, nil
  if not icmp then
    socket, other = listens(there, packet)
  elseif packet.family == "inet" and there:sysctl "net.ipv4.icmp_echo_ignore_all" == 1 then
    return fail({ code = "echo_ignored", space = there, why = ("%s answers no echo requests: net.ipv4.icmp_echo_ignore_all is 1"):format(there.label),
      fix = "sysctl -w net.ipv4.icmp_echo_ignore_all=0" }, "forward")
  end
  if socket and socket ~= true then
    ctx:step(socket)
  end
  local answer = { family = packet.family, proto = packet.proto, src = packet.dst, dst = packet.src, sport = packet.dport, dport = packet.sport,
    size = packet.size, mark = 0, bound = true, reply = true, rst = not socket or nil }
  if icmp then
    answer.icmp_type = packet.family == "inet" and 0 or 129
  elseif not socket and packet.proto == "udp" then
    local missing = no_listener(ctx, there, packet, other)
    missing.icmp = packet.family == "inet" and { 3, 3 } or { 1, 4 }
    fail(missing, "forward")
    out.verdict = out.error == "ECONNREFUSED" and "refused" or "failed"
    return out
  end
  local back = M.context(ctx.spaces)
  back.connections, back.doubts, back.doubted, out.back = ctx.connections, ctx.doubts, ctx.doubted, nil
  local home, why = M.walk(back, there, answer)
  out.back = back.steps
  if not home then
    if not socket then
      out.then_, out.then_direction = why, "back"
      return fail(no_listener(ctx, there, packet, other), "forward")
    end
    return fail(why, "back")
  elseif home ~= origin or answer.dst ~= src or answer.src ~= dst or not icmp and (answer.dport ~= sport or answer.sport ~= dport) then
    local words = home ~= origin and ("the answer ends in %s, not in %s"):format(home.label, origin.label)
      or ("the answer comes from %s%s, not from %s%s: nobody waits for that"):format(answer.src, icmp and "" or " port " .. answer.sport, dst,
        icmp and "" or " port " .. dport)
    return fail({ code = "wrong_answer", space = home, why = words, fix = "translate addresses on the way the answer takes, too" }, "back")
  elseif not socket then
    out.verdict, out.finding, out.direction, out.error = "refused", no_listener(ctx, there, packet, other), "forward", "ECONNREFUSED"
    return out
  end
  out.verdict = "reached"
  return out
end

return M
