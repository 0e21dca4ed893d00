-- Who answers for an address on a link: ARP, and neighbour discovery of IPv6.

local core = require "nslua.core"
local routes = require "nslua.inspect.why.routes"
local segment = require "nslua.inspect.why.segment"
local try = require("nslua.inspect.why.space").try

local M = {}

local usable = { permanent = true, reachable = true, stale = true, delay = true, probe = true, noarp = true }

local function entry_of(space, link, ip)
  for _, row in ipairs(space:neighbours()) do
    if row.dst == ip and row.dev_index == link.index then
      return row
    end
  end
end

-- The address that a question comes from.
local function asking(space, link, packet, ip)
  local held = space:has_address(packet.src)
  if packet.family == "inet6" then -- its own on that device, else the link-local one
    local lladdr
    for _, row in ipairs(space:addresses()) do
      lladdr = row.family == "inet6" and row.dev_index == link.index and row.scope == "link" and row.address:match "^[^/]+" or lladdr
    end
    return held and held.dev_index == link.index and packet.src or lladdr or packet.src
  elseif held then
    return packet.src
  end
  local row = try(space.handle.route.lookup, space.handle.route, { ip, oif = link.name })
  return row and row.src
end

local function group_of(ip)
  local bytes = core.inet.bytes(ip)
  return ("33:33:ff:%02x:%02x:%02x"):format(bytes:byte(14, 16)), core.inet.text(core.inet.bytes "ff02::1:ff00:0":sub(1, 13) .. bytes:sub(14))
end

-- What filters say of a message of neighbour discovery (135 solicitation, 136 advertisement) that leaves by a link, or has come in by it.
local function filtered(ctx, space, link, leaves, kind, src, dst)
  local packet = { family = "inet6", proto = "icmp6", icmp_type = kind, src = src, dst = dst, size = 72, mark = 0 }
  if leaves then
    return ctx:hook(space, "output", packet, nil, link) or ctx:hook(space, "postrouting", packet, nil, link)
  end
  return ctx:hook(space, "prerouting", packet, link) or ctx:hook(space, "input", packet, link)
end

local NOBODY, EVERYBODY = "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"

-- The question for an address, as a frame; and its answer.
local function question(link, ip, from, six)
  if six then
    local mac, group = group_of(ip)
    return { src = link.address, dst = mac, size = 72,
      packet = { family = "inet6", proto = "icmp6", icmp_type = 135, src = from, dst = group, size = 72, mark = 0 } }
  end
  return { src = link.address, dst = EVERYBODY, size = 28,
    packet = { family = "arp", proto = "arp", op = 1, sha = link.address, src = from, tha = NOBODY, dst = ip, size = 28, mark = 0 } }
end

local function answer(link, ip, from, lladdr, six)
  if six then
    return { src = link.address, dst = lladdr, size = 72,
      packet = { family = "inet6", proto = "icmp6", icmp_type = 136, src = ip, dst = from, size = 72, mark = 0 } }
  end
  return { src = link.address, dst = lladdr, size = 28,
    packet = { family = "arp", proto = "arp", op = 2, sha = link.address, src = ip, tha = lladdr, dst = from, size = 28, mark = 0 } }
end

-- What chains of the family arp say of a frame.
local function arp_filtered(ctx, space, link, leaves, frame)
  if frame.packet.family ~= "arp" or not ctx:filters(space, "arp") then
    return nil
  end
  return (ctx:frame_hook(space, leaves and "output" or "input", frame.packet, not leaves and link or nil, leaves and link or nil,
    { family = "arp", frame = frame }))
end

-- Whether an end of the link answers for the address; else why not.
local function answers(ctx, at, ip, from, family, asked)
  local space, link = at.space, at.link
  local dropped = arp_filtered(ctx, space, link, false, asked)
    or arp_filtered(ctx, space, link, true, answer(link, ip, from, asked.src, family == "inet6"))
  if dropped then
    return false, ("%s does not answer: %s"):format(space.label, dropped.why), dropped
  end
  if family == "inet6" then
    for _, row in ipairs(space:addresses()) do
      if row.dev_index == link.index and row.address:match "^[^/]+" == ip then
        if row.tentative or row.dadfailed then
          return false, ("%s has the address, but it is %s"):format(space.label, row.dadfailed and "dadfailed: another one had it" or "tentative")
        end
        local _, group = group_of(ip)
        local finding = filtered(ctx, space, link, false, 135, from, group) or filtered(ctx, space, link, true, 136, ip, from)
        return not finding, finding and ("%s does not answer: %s"):format(space.label, finding.why), finding
      end
    end
    return false
  end
  local row, code = try(space.handle.route.lookup, space.handle.route, { ip, from = from, iif = link.index })
  if row and row.type == "local" then
    local ignore = space:conf(link.name, "arp_ignore")
    local held = space:has_address(ip)
    if ignore >= 1 and held and held.dev_index ~= link.index then
      return false, ("%s has it on another device, and answers for %s alone (arp_ignore = %d)"):format(space.label, link.name, ignore)
    elseif ignore == 2 and not (held and routes.within(from, held.address)) then
      return false, ("%s answers those of its own subnet alone, not %s (arp_ignore = 2)"):format(space.label, from)
    end
    return true
  elseif row and row.type == "unicast" and row.dev_index ~= link.index and space:conf(link.name, "proxy_arp") > 0 then
    return true
  elseif code and space:has_address(ip) then
    return false, ("%s has the address, but does not answer %s: %s"):format(space.label, from,
      code == "EXDEV" and "the answer would go another way (rp_filter)" or "it has no way back (" .. code .. ")")
  end
  return false
end

local function unanswered(ctx, space, link, ip, out, reasons)
  local more, fix = reasons[1], nil
  for _, one in ipairs(more and {} or ctx.spaces:holders(ip)) do
    if one.space ~= space then
      local theirs = one.space:link(one.row.dev_index)
      more = ("%s has it, on %s%s"):format(one.space.label, theirs.name, not theirs.up and ", which is down" or "")
      fix = not theirs.up and ("in %s: ip link set %s up"):format(one.space.label, theirs.name) or nil
    end
  end
  local lost = segment.worst(out.drops)
  if lost and lost.code ~= "other_host" and not fix and not reasons[1] then
    more, fix = ("%s: %s"):format(lost.space.label, lost.why), lost.fix and ("in %s: %s"):format(lost.space.label, lost.fix)
  end
  return { code = "neighbour", space = space, dev = link.name, unknown = lost and lost.unknown and not next(reasons) or nil, because = lost,
    why = ("nobody on %s answers for %s%s"):format(link.name, ip, more and " (" .. more .. ")" or ""),
    fix = fix or ("check the address and its mask: is %s on the link of %s?"):format(ip, link.name), after = "EHOSTUNREACH" }
end

---The link-layer address of the next hop; or nil, and what is wrong.
---@param ctx table
---@param space nslua.why.Space
---@param link table
---@param ip string
---@param packet table
---@return string? lladdr
---@return table step_or_finding
function M.address(ctx, space, link, ip, packet)
  local function step(lladdr, how, asked)
    return lladdr, { kind = "neighbour", asked = asked, space = space, dev = link.name, address = ip, lladdr = lladdr,
      text = ("%s is %s (%s)"):format(ip, lladdr, how) }
  end
  local entry = entry_of(space, link, ip)
  if entry and usable[entry.state] and entry.lladdr then
    return step(entry.lladdr, entry.state)
  end
  local six = packet.family == "inet6"
  local from = asking(space, link, packet, ip) or "0.0.0.0"
  if six then
    local _, group = group_of(ip)
    local finding = filtered(ctx, space, link, true, 135, from, group)
    if finding then
      finding.errno, finding.after = nil, "EHOSTUNREACH"
      finding.why = ("its question for %s is dropped: %s"):format(ip, finding.why)
      return nil, finding
    end
  end
  local asked = question(link, ip, from, six)
  local dropped = arp_filtered(ctx, space, link, true, asked)
  if dropped then
    dropped.errno, dropped.after, dropped.why = nil, "EHOSTUNREACH", ("its question for %s is dropped: %s"):format(ip, dropped.why)
    return nil, dropped
  end
  local out = segment.send(ctx, space, link, asked)
  local found, reasons = {}, {}
  for _, at in ipairs(out.ends) do
    if at.space ~= space or at.link ~= link then
      local yes, why = answers(ctx, at, ip, from, packet.family, asked)
      found[#found + 1] = yes and at or nil
      reasons[#reasons + 1] = why
    end
  end
  if not found[1] then
    return nil, unanswered(ctx, space, link, ip, out, reasons)
  end
  local lladdr
  for _, at in ipairs(found) do
    -- an advertisement goes where the answerer's own table says; only what is permanent there does not learn from the question
    local known = six and entry_of(at.space, at.link, from)
    local told = answer(at.link, ip, from, known and known.state == "permanent" and known.lladdr or link.address, six)
    local back = segment.send(ctx, at.space, at.link, told)
    for _, there in ipairs(back.ends) do
      local stops = there.link == link and (six and filtered(ctx, space, link, false, 136, ip, from) or arp_filtered(ctx, space, link, false, told))
      if there.link == link and not stops then
        if lladdr and lladdr ~= at.link.address then
          ctx:doubt(space, ("several on %s answer for %s: %s and %s"):format(link.name, ip, lladdr, at.link.address))
        end
        lladdr = lladdr or at.link.address
      end
    end
    if not lladdr then
      out.drops = back.drops
      local lost = segment.worst(back.drops)
      reasons[#reasons + 1] = ("the answer of %s does not come back%s"):format(at.space.label, lost and ": " .. lost.why or "")
    end
  end
  if not lladdr then
    return nil, unanswered(ctx, space, link, ip, out, reasons)
  end
  for _, at in ipairs(found) do -- who is asked learns who asks
    local known = entry_of(at.space, at.link, from)
    if not (known and known.state == "permanent") then
      table.insert(at.space:neighbours(), 1, { dst = from, dev_index = at.link.index, lladdr = link.address, state = "stale" })
    end
  end
  return step(lladdr, six and "by neighbour discovery" or "by ARP", true)
end

return M
