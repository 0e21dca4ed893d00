-- Packets of several sizes, which nobody may fragment, are sent to those around: large ones that vanish are found even where no MTU tells.

local MOST = 6 -- targets
local WAIT = 0.15 -- seconds, for each answer

-- Who is asked: one address of each namespace around, and gateways that are nobody's who can be seen.
local function goals(target)
  local out, seen = {}, {}
  local function add(ip)
    if ip and not seen[ip] and #out < MOST and not ip:find "^fe80:" then
      seen[ip] = true
      out[#out + 1] = ip
    end
  end
  for _, link in ipairs(target.links) do
    local own = link.up and link.carrier and link.name ~= "lo" and target:addresses_of(link)[1]
    for i, each in ipairs(own and target:segment(link) or {}) do
      local row = i > 1 and each.space ~= target and each.space:addresses_of(each.link, own.family)[1]
      add(row and row.address:match "^[^/]+")
    end
  end
  for _, each in ipairs(target:gateways()) do
    local flags = each.link.flags or {}
    add(each.link.up and each.link.carrier and not flags.pointopoint and not target:has_address(each.ip) and each.ip)
  end
  return out
end

-- The link on the way that takes no more: a bridge passes what has four bytes too many, which may be a tag of a VLAN.
local function narrow(target, ip, mtu)
  local row = target:lookup(ip)
  local link = row and target.link_of[row.dev_index]
  local found
  for _, each in ipairs(link and target:segment(link) or {}) do
    if each.link.mtu <= mtu and each.link.mtu >= mtu - 4 and each.link.mtu < link.mtu then
      found = found and each.link.kind == "bridge" and found or each -- a bridge has the least MTU of its ports
    end
  end
  return found, link
end

return {
  name = "path_mtu", probe = true,
  why = "A bridge, a tunnel or a device that takes less than those who send through it drops what is larger, and says so to nobody: connections "
    .. "open and hang with the first large answer.",
  run = function(target, report)
    local list = target:explained() and {} or goals(target)
    if not list[1] then
      return
    end
    -- most answer, and to the largest: then one packet each was enough
    local seen = target.handle:path_mtu(list, { timeout = WAIT, max = 9000, hops = false })
    for i, result in ipairs(seen) do
      local mtu = result.mtu
      local at, link = nil, nil
      if result.black_hole and mtu and mtu > 68 then
        at, link = narrow(target, list[i], mtu)
      end
      if link and not at and mtu < link.mtu then -- a busy machine answers late: once more, with patience
        local size = link.mtu - (list[i]:find(":", 1, true) and 48 or 28)
        link = target.handle:ping(list[i], { count = 2, interval = 0.1, timeout = 1, size = size }).received == 0 and link or nil
      end
      if link and mtu < link.mtu then
        report:found { at = at and at.space or target,
          problem = at and ("%s of %s takes %d bytes, and %s sends %d"):format(at.link.name, at.space.title, mtu, target.title, link.mtu)
            or ("packets to %s larger than %d bytes vanish"):format(list[i], mtu), sure = at and 0.92 or 0.65,
          evidence = { ("packets to %s of %d bytes that may not be fragmented are answered, larger ones are not, and nobody says why (a probe)")
            :format(list[i], mtu), ("mtu %d of %s (rtnetlink link)"):format(link.mtu, link.name),
            at and ("mtu %d of %s in %s (rtnetlink link)"):format(at.link.mtu, at.link.name, at.space.title) or nil },
          fix = at and ("ip link set dev %s mtu %d"):format(at.link.name, link.mtu) or ("ip link set dev %s mtu %d"):format(link.name, mtu) }
      end
    end
  end,
}
