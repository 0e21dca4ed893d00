-- Moving a link's end to another switch, while the lab runs. The link is planned anew with all else nailed to what it has; then the kernel is told
-- the difference.

local addressing = require "nslua.lab.addressing"
local build = require "nslua.lab.build"
local captures = require "nslua.lab.capture"
local carry = require "nslua.carry"
local check = require "nslua.check"
local errors = require "nslua.error"
local foreign = require "nslua.lab.foreign"
local lost = require "nslua.lab.lost"
local nodename = require "nslua.lab.nodename"
local services = require "nslua.lab.service"
local topologies = require "nslua.lab.topology"

local M = {}

---@class nslua.lab.MoveOptions
---@field address? string|string[]  of the node there (default: those it has, where both switches are one segment; else new ones). "keep": those it
---has, though nothing is routed to them where they are not of the segment
---@field dev? string               name of the new port
---@field vlan? integer             of the new port (default: as the old one)
---@field trunk? integer|integer[]

local option_words = { address = "string|table", dev = "string", vlan = "integer", trunk = "integer|table" }
local families = { "inet", "inet6" }

-- A copy in which the link `index` alone is another, and the ends of all are.
local function copy(topology, plan)
  local out = {}
  for key, value in pairs(topology) do
    out[key] = value
  end
  out.links = {}
  for i, link in ipairs(topology.links) do
    local one = {}
    for key, value in pairs(link) do
      one[key] = value
    end
    one.ends = { {}, {} }
    for side, at in ipairs(link.ends or {}) do
      for key, value in pairs(at) do
        one.ends[side][key] = value
      end
    end
    if one.vxlan then -- who carries it stays, whoever comes beside
      local tunnel = plan.links[i].tunnel
      one.via = { tunnel[1].node, tunnel[2].node }
    end
    out.links[i] = one
  end
  return out
end

local function same(a, b)
  return table.concat(a, " ") == table.concat(b, " ")
end

-- All addresses of a link's end, those of its VLANs too.
local function addresses_of(link, side)
  local out = {}
  for _, interface in ipairs(link.interfaces[side]) do
    table.move(interface.addresses, 1, #interface.addresses, #out + 1, out)
  end
  return out
end

-- Whether the segments of a link are what they were: each has another link that it had before.
local function in_same_segments(old, new, index)
  local mine, before = new.links[index].segments, old.links[index].segments
  if #mine ~= #before then
    return false
  end
  for k, segment in ipairs(mine) do
    local found = false
    for i, link in ipairs(new.links) do
      for n, other in ipairs(i ~= index and link.segments or {}) do
        found = found or other == segment and old.links[i].segments[n] == before[k]
      end
    end
    if not found then
      return false
    end
  end
  return true
end

-- Write down the subnet that a link has in the old plan and not in the new one; whether there was anything. One link of a segment says it for all.
local function nail_subnet(said, old, new, done)
  local changed = false
  for k, segment in ipairs(old.segments) do
    local other, subnet = new.segments[k], {}
    for _, family in ipairs(families) do
      subnet[#subnet + 1] = segment[family]
    end
    if not done[segment] and (segment.inet ~= other.inet or segment.inet6 ~= other.inet6 or segment.unnumbered ~= other.unnumbered) then
      if #old.segments > 1 then
        errors.misuse("link.move: %s would get another subnet: say which it has on a link that is of it alone", segment.name)
      end
      said.subnet, done[segment], changed = not segment.unnumbered and subnet, true, true
    end
  end
  return changed
end

-- The same with addresses and names of devices; `port`: the side that is moved, whose port is a new one.
local function nail_ends(said, old, new, port)
  local changed = false
  for side, at in ipairs(old.ends) do
    if side ~= port and new.ends[side].dev ~= at.dev then
      said.ends[side].dev, changed = at.dev, true
    end
    local had = addresses_of(old, side)
    if not (port and said.readdressed) and not same(had, addresses_of(new, side)) then
      said.ends[side].address, changed = had, true
    end
  end
  return changed
end

-- Addresses that somebody said, and of the family that he did not say, those there were.
local function with_others(said, had)
  local out, has = {}, {}
  for i, address in ipairs(type(said) == "table" and said or { said }) do
    out[i], has[address:find(":", 1, true) ~= nil] = address, true
  end
  for _, address in ipairs(had) do
    out[#out + 1] = not has[address:find(":", 1, true) ~= nil] and address or nil
  end
  return out
end

-- Say in a topology all that would be another than it was, but for the link that is moved.
local function nail(topology, old, index, side, stays)
  local new, changed
  repeat
    new, changed = addressing.plan(topology), false
    local done = {}
    for i, link in ipairs(new.links) do
      changed = (i ~= index or stays) and nail_subnet(topology.links[i], old.links[i], link, done) or changed
    end
    for i, link in ipairs(changed and {} or new.links) do -- with the subnets most are right
      changed = nail_ends(topology.links[i], old.links[i], link, i == index and side or nil) or changed
    end
  until not changed
end

-- The topology and the plan once that side of a link is at the switch `to`.
local function plan(lab, index, side, to, options)
  local old, topology = lab.plan, copy(lab.topology, lab.plan)
  local said = topology.links[index]
  local port, at = said.ends[side], said.ends[3 - side]
  local subnet, address, strange = said.subnet, at.address, at.foreign
  said[side], said.subnet, at.address, at.foreign = to, nil, nil, nil
  port.dev = options.dev
  if options.vlan or options.trunk then
    port.vlan, port.trunk = options.vlan, type(options.trunk) == "number" and { options.trunk } or options.trunk
  end
  local stays = in_same_segments(old, addressing.plan(topology), index)
  if stays then
    said.subnet, at.address, at.foreign = subnet, address, strange
  end
  said.readdressed = not stays or options.address ~= nil
  if options.address == "keep" then
    at.address, at.foreign = addresses_of(old.links[index], 3 - side), not stays or strange or nil
  elseif options.address then
    nail(topology, old, index, side, stays) -- the subnet there is that of now
    at.address = with_others(options.address, stays and addresses_of(old.links[index], 3 - side) or {})
  end
  nail(topology, old, index, side, stays)
  said.readdressed = nil
  for i, link in ipairs(topology.links) do
    topology.links[i] = topologies.link(link, i) -- as canonical as what was said at first
  end
  local new = addressing.plan(topology)
  for i, link in ipairs(new.links) do
    for s, carrier in ipairs(link.tunnel or {}) do
      if carrier.address ~= old.links[i].tunnel[s].address then
        errors.misuse("link.move: the VXLAN %s--%s goes by %s of %s, which would have another address", link.nodes[1].name, link.nodes[2].name,
          old.links[i].tunnel[s].address, carrier.node)
      end
    end
  end
  return topology, new
end

local function route_text(route)
  local parts = { route[1], tostring(route.via), tostring(route.dev) }
  for _, hop in ipairs(route.nexthops or {}) do
    parts[#parts + 1] = hop.via .. " " .. hop.dev
  end
  return table.concat(parts, " ")
end

local function is_inet6(route)
  return (route.via or route.nexthops and route.nexthops[1].via or route[1]):find(":", 1, true) ~= nil
end

-- Routes that the lab gave a node: those of before that are of no more use, and those that come.
local function differ(node, old, new)
  if node.kind == "switch" then
    return {}, {}
  end
  local routed, by_text, gone, come = rawget(node, "routed") or {}, {}, {}, {}
  for _, route in ipairs(old:routes(node.node_name)) do
    by_text[route_text(route)] = route
  end
  for _, route in ipairs(new:routes(node.node_name)) do
    local text = route_text(route)
    if not by_text[text] and not routed[is_inet6(route) and "inet6" or "inet"] then -- else they are a daemon's
      come[#come + 1] = route
    end
    by_text[text] = nil
  end
  for _, route in pairs(by_text) do
    gone[#gone + 1] = route
  end
  return gone, come
end

local function move_port(lab, link, old, new)
  local from, to = lab.node[old.node], lab.node[new.node]
  local wire = lab.wires[link.number]
  if wire then
    wire:move(old.side == 1 and "a" or "b", to, new.dev)
  elseif from.link:get(old.dev) or not to.link:get(new.dev) then -- else it is there already
    from.link:change(old.dev, { netns = to, name = new.dev })
  end
end

-- Addresses of the node that is moved. The new ones come first, as the kernel drops all routes with the last address of IPv4, and others of a subnet
-- with its first, unless they are promoted (ip-sysctl.rst).
local function readdress(node, old, new)
  for k, interface in ipairs(new) do
    local gone, promote = {}, ("net.ipv4.conf.%s.promote_secondaries"):format((interface.dev:gsub("%.", "/")))
    for _, address in ipairs(old[k] and old[k].addresses or {}) do
      gone[address] = true
    end
    for _, address in ipairs(interface.addresses) do
      if not gone[address] then
        node.address:ensure { address, dev = interface.dev, nodad = address:find(":", 1, true) and true or nil }
      end
      gone[address] = nil
    end
    local before = next(gone) and node:sysctl(promote)
    if before then
      node:sysctl(promote, 1)
      for address in pairs(gone) do
        node.address:delete({ address, dev = interface.dev }, { absent = "ok" })
      end
      node:sysctl(promote, before)
    end
  end
end

-- How large a frame may be there: it is another where a VXLAN begins or ends, or a link says so.
local function set_mtu(lab, old, new)
  for side, at in ipairs(new.ends) do
    if old.ends[side].mtu ~= at.mtu then
      lab.node[at.node].link:change(at.dev, { mtu = at.mtu or 1500 })
    end
  end
end

-- Switches forget where the node was, as after the frame that says where it is now.
local function forget(lab, at, segments)
  local row = lab.node[at.node].link:get(at.dev)
  for _, segment in ipairs(segments) do
    for _, name in ipairs(segment.switches) do
      local switch = lab.node[name]
      for _, entry in ipairs(switch.fdb:list { lladdr = row.address }) do
        switch.fdb:delete(entry, { absent = "ok" })
      end
    end
  end
end

local function refuse(link, format, ...)
  errors.misuse("link.move: %s %s", tostring(link), format:format(...))
end

-- Which side of a link moves, and to where.
local function target(link, to)
  local lab = link.lab
  local name = nodename.of(to, "link.move", lab)
  local switch = lab.node[name] or errors.misuse("link.move: %s", check.unknown("node", name, lab.node))
  local side
  for s, at in ipairs(link.ends) do
    if at.node.kind == "switch" then
      if side then
        refuse(link, "is between two switches: what is moved is the link of a host or a router")
      end
      side = s
    end
  end
  if not side then
    refuse(link, "ends at no switch")
  elseif switch.kind ~= "switch" then
    refuse(link, "cannot lead to %s, which is a %s and no switch", name, switch.kind)
  elseif switch == link.ends[side].node then
    refuse(link, "leads there already")
  end
  for _, node in ipairs { switch, link.ends[1].node, link.ends[2].node } do
    if foreign.is(node.plan) then
      refuse(link, "cannot be moved: %s was there before the lab", node.node_name)
    end
  end
  if lab.is_open_copy and (not lab.board or lab.plan.links[link.number].impaired and not lab.wires[link.number]) then
    refuse(link, "is moved by the process that built the lab, which alone can: another version of nslua")
  end
  return side, name
end

-- The lab is planned anew already: have the kernel follow. Steps that were done before by who was killed are done again, and come to the same.
local function apply(lab, index, side, topology, new)
  local old, link = lab.plan, lab:numbered(index)
  local before, after = old.links[index], new.links[index]
  local from, port, moved = before.ends[side], after.ends[side], after.ends[3 - side]
  local routes = {}
  for i, node in ipairs(lab.nodes) do
    local gone, come = differ(node, old, new)
    routes[i] = come
    for _, route in ipairs(gone) do
      node.route:delete({ route[1], via = route.via, family = is_inet6(route) and "inet6" or "inet" }, { absent = "ok" })
    end
  end
  lab.topology, lab.plan, lab.topology_text = topology, new, nil
  for i, node in ipairs(lab.nodes) do
    node.plan = new.nodes[i]
  end
  lab:replanned()
  for _, switch in ipairs { from.node, port.node } do
    build.filter_vlans(lab.node[switch], old.node[switch])
  end
  captures.moved(lab, link, side) -- before anything goes by
  build.port(lab.node[port.node], port)
  for i, each in ipairs(new.links) do
    set_mtu(lab, old.links[i], each)
  end
  readdress(lab.node[moved.node], before.interfaces[3 - side], after.interfaces[3 - side])
  build.settle(lab, 10)
  for i, node in ipairs(lab.nodes) do
    for _, route in ipairs(routes[i]) do
      if not (link.is_down and node.node_name == moved.node) then -- link:up() brings them
        node.route:replace(route)
      end
    end
    node:forget_etc()
  end
  services.moved(lab)
  for _, segments in ipairs { before.segments, after.segments } do
    forget(lab, after.ends[3 - side], segments)
  end
end

---Move a link.
---@param link nslua.lab.Link
---@param to string|nslua.lab.Node
---@param options? nslua.lab.MoveOptions
---@param told fun()  what is begun (`lab.begun`) is told to the others, who finish it where this process is killed
function M.move(link, to, options, told)
  options = options or {}
  check.options("link.move", options, option_words)
  local lab, side, name = link.lab, target(link, to)
  local index, old = link.number, lab.plan
  local topology, new = plan(lab, index, side, name, options)
  local from, port = old.links[index].ends[side], new.links[index].ends[side]
  if lab.node[name].link:get(port.dev) then
    refuse(link, "would be the port %s of %s, which has such a device: say another name, { dev = \"p9\" }", port.dev, name)
  end
  local was_down = link.is_down
  lab.begun = { topology = carry.pack("lab", 1, topology), link = index, side = side }
  told()
  if was_down then
    link:up() -- what was remembered is of the old place
  end
  local ok, e = pcall(move_port, lab, link, from, port) -- first: where it is refused, all is as it was
  if ok then
    apply(lab, index, side, topology, new)
  end
  if was_down then
    link:down()
  end
  if not ok then
    error(e, 0)
  end
end

---Finish what another process has begun, and was killed at.
---@param lab nslua.Lab
---@param begun { topology: string, link: integer, side: integer }
function M.finish(lab, begun)
  local link, side = lab:numbered(begun.link), begun.side
  local topology = topologies.read(carry.unpack(begun.topology)[1])
  local new = addressing.plan(topology)
  move_port(lab, link, lab.plan.links[begun.link].ends[side], new.links[begun.link].ends[side])
  lost.forget(link.ends[3 - side].node)
  apply(lab, begun.link, side, topology, new)
  for _, at in ipairs(link.is_down and link.ends or {}) do
    at.node.link:change(at.dev, { up = false })
  end
end

return M
