-- Where a frame goes on a link: over veths, through bridges, until somebody takes it.

local M = {}

local DEEP = 32 -- bridges and veths in a row

---@class nslua.why.Frame
---@field src string
---@field dst string       "ff:ff:ff:ff:ff:ff", or that of a multicast group, is flooded
---@field size integer     bytes of the packet in it
---@field packet table     what filters look at: one of ARP, too
---@field ctx table

local function many(mac)
  return tonumber(mac:sub(1, 2), 16) % 2 == 1
end
M.many = many

local function extended(trail, step)
  local out = table.move(trail, 1, #trail, 1, {})
  out[#out + 1] = step
  return out
end

local transmit

local function drop(out, space, link, code, why, more)
  local one = more or {}
  one.space, one.link, one.code, one.why = space, link, code, why
  out.drops[#out.drops + 1] = one
end

-- Filters that a frame meets: the trail with what they say, or nil where one drops it.
local function passed(out, space, name, frame, iif, oif, layer, trail)
  layer.frame = frame
  local finding, steps = frame.ctx:frame_hook(space, name, frame.packet, iif, oif, layer)
  for _, step in ipairs(steps) do
    trail = extended(trail, step)
  end
  if finding then
    drop(out, space, iif or oif, finding.code, finding.why, finding)
    return nil
  end
  return trail
end

-- Programs and filters of a device that are not worked out here, and the chains of its own.
local function at_device(out, space, link, way, frame, trail)
  local ctx = frame.ctx
  if way == "ingress" and link.xdp then
    ctx:doubt(space, ("an XDP program (id %s) at %s may drop the packet or send it elsewhere"):format(link.xdp, link.name))
  end
  for _, text in ipairs(space:classifiers(link, way)) do
    ctx:doubt(space, text)
  end
  if not ctx:filters(space, "netdev") then
    return trail
  end
  return passed(out, space, way, frame, way == "ingress" and link or nil, way == "egress" and link or nil, { family = "netdev" }, trail)
end

local call_option = { inet = { "iptables", "nf_call_iptables" }, inet6 = { "ip6tables", "nf_call_ip6tables" } }

-- Whether the filters of IP are asked for what a bridge passes on (br_netfilter).
local function asks_ip(space, bridge, frame)
  local option = call_option[frame.packet.family]
  if not option or not frame.ctx:filters(space, "ip") then
    return false
  end
  return (space:sysctl("net.bridge.bridge-nf-call-" .. option[1]) or 0) ~= 0 or bridge.bridge and bridge.bridge[option[2]] or false
end

-- `mine`: its address is one of the link's.
local function up_to(out, space, link, frame, trail, mine, prerouted)
  trail = at_device(out, space, link, "ingress", frame, trail)
  if not trail then
    return
  elseif mine or frame.dst == link.address or many(frame.dst) then
    out.ends[#out.ends + 1] = { space = space, link = link, trail = trail, prerouted = prerouted }
  else
    drop(out, space, link, "other_host", ("%s takes no frames for %s: it is %s"):format(link.name, frame.dst, link.address))
  end
end

-- Whether a bridge sends a frame out of a port.
local function delivers(out, space, from, port, frame, flooded)
  local p = port.port or {}
  if from == port and not p.hairpin then
    if not flooded then
      drop(out, space, port, "hairpin", ("the frame would leave by the port it came in at, %s, which has hairpin off"):format(port.name),
        { fix = ("bridge link set dev %s hairpin on"):format(port.name) })
    end
    return false
  elseif p.state ~= "forwarding" then
    drop(out, space, port, "port_state", ("port %s of the bridge is %s"):format(port.name, tostring(p.state)),
      { fix = port.up and ("bridge link set dev %s state 3"):format(port.name) or ("ip link set %s up"):format(port.name) })
    return false
  elseif from and from.port and from.port.isolated and p.isolated then
    drop(out, space, port, "isolated", ("ports %s and %s of the bridge are both isolated"):format(from.name, port.name),
      { fix = ("bridge link set dev %s isolated off"):format(port.name) })
    return false
  elseif flooded then
    local wide = frame.dst == "ff:ff:ff:ff:ff:ff" and "bcast_flood" or many(frame.dst) and "mcast_flood" or "flood"
    if p[wide] == false then
      drop(out, space, port, "no_flood", ("port %s does not get what is flooded (%s off)"):format(port.name, wide),
        { fix = ("bridge link set dev %s %s on"):format(port.name, wide) })
      return false
    end
  end
  return true
end

-- The entry of a bridge's table for an address.
local function entry_of(space, bridge, mac)
  for _, row in ipairs(space:fdb()) do
    if row.master_index == bridge.index and row.lladdr == mac then
      return row
    end
  end
end

-- To the bridge itself.
local function to_bridge(out, space, bridge, from, frame, trail, prerouted)
  if from and frame.ctx:filters(space, "bridge") then
    trail = passed(out, space, "input", frame, from, nil, { family = "bridge", bridge = bridge }, trail)
  end
  if trail then
    up_to(out, space, bridge, frame, trail, true, prerouted)
  end
end

-- A frame in a bridge; `from`: the port it came by, nil where it is the host's own.
local function switch(out, space, bridge, from, frame, trail, deep)
  local own, ip = frame.ctx:filters(space, "bridge"), from and asks_ip(space, bridge, frame)
  if ip then
    local dst = frame.packet.dst
    trail = passed(out, space, "prerouting", frame, bridge, nil, { physin = from }, trail)
    if not trail then
      return
    elseif frame.packet.dst ~= dst then -- it is translated, and goes where the routes of this namespace say
      out.ends[#out.ends + 1] = { space = space, link = bridge, trail = trail, prerouted = true }
      return
    end
  end
  local function go(port, text)
    local way = extended(trail, { kind = "bridge", space = space, dev = bridge.name, port = port.name, text = text })
    if own then
      way = passed(out, space, from and "forward" or "output", frame, from, port, { family = "bridge", bridge = bridge }, way)
    end
    if way and ip then
      way = passed(out, space, "forward", frame, bridge, bridge, { physin = from, physout = port }, way)
    end
    if way and own then
      way = passed(out, space, "postrouting", frame, nil, port, { family = "bridge", bridge = bridge }, way)
    end
    if way and ip then
      way = passed(out, space, "postrouting", frame, nil, bridge, { physin = from, physout = port }, way)
    end
    if way then
      transmit(out, space, port, frame, way, deep + 1)
    end
  end
  if not many(frame.dst) then
    local entry = entry_of(space, bridge, frame.dst)
    if entry and entry.state == "permanent" then
      if from and (frame.dst == from.address or frame.dst == bridge.address) then
        to_bridge(out, space, bridge, from, frame, trail, ip)
      end
      return
    elseif entry then
      local port = space:link(entry.dev_index)
      if port and delivers(out, space, from, port, frame, false) then
        go(port, ("fdb: %s is behind %s"):format(frame.dst, port.name))
      end
      return
    end
  end
  for _, port in ipairs((space:links())) do
    if port.master_index == bridge.index and delivers(out, space, from, port, frame, true) then
      go(port, many(frame.dst) and "flooded" or ("fdb has no %s: flooded"):format(frame.dst))
    end
  end
  if from and many(frame.dst) then
    to_bridge(out, space, bridge, from, frame, trail, ip)
  end
end

-- A frame has come in.
local function receive(out, space, link, frame, trail, deep)
  if not link.up then
    return drop(out, space, link, "link_down", ("%s is down"):format(link.name), { fix = ("ip link set %s up"):format(link.name) })
  end
  trail = extended(trail, { kind = "link", space = space, dev = link.name, text = ("in at %s"):format(link.name), arrives = true })
  if not link.master_index then
    return up_to(out, space, link, frame, trail)
  end
  trail = at_device(out, space, link, "ingress", frame, trail)
  if not trail then
    return nil
  end
  local bridge = space:link(link.master_index)
  if bridge.kind ~= "bridge" then
    return drop(out, space, link, "unknown", ("%s is part of %s (%s), which is not followed"):format(link.name, bridge.name, tostring(bridge.kind)),
      { unknown = true })
  end
  local p = link.port or {}
  if p.state ~= "forwarding" then
    return drop(out, space, link, "port_state", ("port %s of %s is %s"):format(link.name, bridge.name, tostring(p.state)),
      { fix = ("bridge link set dev %s state 3"):format(link.name) })
  end
  if frame.ctx:filters(space, "bridge") then
    trail = passed(out, space, "prerouting", frame, link, nil, { family = "bridge", bridge = bridge }, trail)
    if not trail then
      return nil
    end
  end
  if p.locked then
    local entry = entry_of(space, bridge, frame.src)
    if not entry or entry.dev_index ~= link.index or entry.locked then
      return drop(out, space, link, "port_locked", ("port %s of %s is locked, and %s is not let in"):format(link.name, bridge.name, frame.src),
        { fix = ("bridge link set dev %s locked off"):format(link.name) })
    end
  end
  if p.learning ~= false and not many(frame.src) then -- also an entry that is static moves to where its address is seen
    local entry = entry_of(space, bridge, frame.src)
    if not entry then
      table.insert(space:fdb(), { lladdr = frame.src, dev_index = link.index, dev = link.name, master_index = bridge.index, state = "dynamic" })
    elseif entry.state ~= "permanent" and not entry.sticky then
      entry.dev_index, entry.dev = link.index, link.name
    end
  end
  if bridge.bridge and bridge.bridge.vlan_filtering then
    frame.ctx:doubt(space, ("%s filters VLANs, which is not followed"):format(bridge.name))
  end
  return switch(out, space, bridge, link, frame, trail, deep)
end

function transmit(out, space, link, frame, trail, deep)
  if deep > DEEP then
    return drop(out, space, link, "bridge_loop", "the frame goes round in bridges for ever")
  elseif not link.up then
    return drop(out, space, link, "link_down", ("%s is down"):format(link.name), { fix = ("ip link set %s up"):format(link.name) })
  end
  trail = at_device(out, space, link, "egress", frame, trail)
  if not trail then
    return nil
  elseif link.kind == "bridge" then
    return switch(out, space, link, nil, frame, trail, deep)
  elseif link.kind ~= "veth" then
    return drop(out, space, link, "unknown", link.kind and ("%s is a link of kind %s, which is not followed"):format(link.name, link.kind)
      or ("%s leads out of this machine"):format(link.name), { unknown = true })
  end
  local other, peer = frame.ctx.spaces:far(space, link)
  if not peer then
    return drop(out, space, link, "unknown", ("the other end of %s is in a namespace that cannot be looked at"):format(link.name), { unknown = true })
  elseif not peer.up then
    return drop(out, other, peer, "link_down", ("%s, the other end of %s, is down"):format(peer.name, link.name),
      { fix = ("ip link set %s up"):format(peer.name) })
  elseif frame.size > peer.mtu + 4 then -- a VLAN tag's room
    return drop(out, other, peer, "mtu", ("%s drops packets of %d bytes: its mtu is %d, and nobody is told"):format(peer.name, frame.size, peer.mtu),
      { fix = ("ip link set %s mtu %d"):format(peer.name, link.mtu) })
  end
  trail = extended(trail, { kind = "link", space = space, dev = link.name, peer = peer.name, peer_space = other,
    text = ("%s -- %s of %s"):format(link.name, peer.name, other.label) })
  return receive(out, other, peer, frame, trail, deep + 1)
end

---Send a frame.
---@param ctx table
---@param space nslua.why.Space
---@param link table
---@param frame nslua.why.Frame
---@return { ends: table[], drops: table[] }  who takes it, with the way there; and where copies of it end
function M.send(ctx, space, link, frame)
  local out = { ends = {}, drops = {} }
  frame.ctx = ctx
  transmit(out, space, link, frame, {}, 0)
  return out
end

---The drop that tells the most.
---@param drops table[]
---@return table?
function M.worst(drops)
  local best
  for _, one in ipairs(drops) do
    if not best or best.code == "other_host" and one.code ~= "other_host" or one.unknown and not best.unknown then
      best = one
    end
  end
  return best
end

return M
