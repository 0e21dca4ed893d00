-- Where a frame goes on a link: over veths, through bridges, until somebody takes it.

local M = {}

local DEEP = 32 -- bridges and veths in a row

---@class nslua.why.Frame
---@field src string
---@field dst string       "ff:ff:ff:ff:ff:ff", or that of a multicast group, is flooded
---@field size integer     bytes of the packet in it
---@field packet? table    what the filters of bridges look at
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

local function up_to(out, space, link, frame, trail)
  local mine = frame.dst == link.address or many(frame.dst)
  if mine then
    out.ends[#out.ends + 1] = { space = space, link = link, trail = trail }
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

-- A frame in a bridge; `from`: the port it came by, nil where it is the host's own.
local function switch(out, space, bridge, from, frame, trail, deep)
  local function go(port, text)
    transmit(out, space, port, frame, extended(trail, { kind = "bridge", space = space, dev = bridge.name, port = port.name, text = text }), deep + 1)
  end
  if not many(frame.dst) then
    local entry = entry_of(space, bridge, frame.dst)
    if entry and entry.state == "permanent" then
      if from then
        local mine = frame.dst == from.address and { address = frame.dst, name = bridge.name } or bridge
        out.ends[#out.ends + 1] = frame.dst == mine.address and { space = space, link = bridge, trail = trail } or nil
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
    up_to(out, space, bridge, frame, trail)
  end
end

-- A frame has come in.
local function receive(out, space, link, frame, trail, deep)
  if not link.up then
    return drop(out, space, link, "link_down", ("%s is down"):format(link.name), { fix = ("ip link set %s up"):format(link.name) })
  end
  trail = extended(trail, { kind = "link", space = space, dev = link.name, text = ("in at %s"):format(link.name), arrives = true })
  local bridge = link.master_index and space:link(link.master_index)
  if not bridge then
    return up_to(out, space, link, frame, trail)
  elseif bridge.kind ~= "bridge" then
    return drop(out, space, link, "unknown", ("%s is part of %s (%s), which is not followed"):format(link.name, bridge.name, tostring(bridge.kind)),
      { unknown = true })
  end
  local p = link.port or {}
  if p.state ~= "forwarding" then
    return drop(out, space, link, "port_state", ("port %s of %s is %s"):format(link.name, bridge.name, tostring(p.state)),
      { fix = ("bridge link set dev %s state 3"):format(link.name) })
  elseif p.locked then
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
  if frame.ctx.bridge_hooks then
    local finding = frame.ctx:bridge_hooks(space, bridge, link, frame)
    if finding then
      return drop(out, space, link, finding.code, finding.why, finding)
    end
  end
  return switch(out, space, bridge, link, frame, trail, deep)
end

function transmit(out, space, link, frame, trail, deep)
  if deep > DEEP then
    return drop(out, space, link, "bridge_loop", "the frame goes round in bridges for ever")
  elseif not link.up then
    return drop(out, space, link, "link_down", ("%s is down"):format(link.name), { fix = ("ip link set %s up"):format(link.name) })
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
