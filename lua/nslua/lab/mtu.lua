-- How large a packet may be on a link of a lab, changed while it runs: on both ends, on the VLANs of them, and on the VXLANs that go over it.

local addressing = require "nslua.lab.addressing"

local M = {}

local ETHERNET = 1500

-- An end of a link and what stands on it: the device first, as the kernel makes VLANs smaller with it and never larger.
local function set(lab, index, side, at, interfaces, mtu)
  local node, wire = lab.node[at.node], lab.wires[index]
  if wire then
    wire:mtu(side == 1 and "a" or "b", mtu)
  else
    node.link:change(at.dev, { mtu = mtu })
  end
  for _, interface in ipairs(interfaces) do
    if interface.parent then
      node.link:change(interface.dev, { mtu = mtu })
    end
  end
end

-- What differs: { index, side, old, new }.
local function differing(old, new)
  local list = {}
  for i, link in ipairs(new.links) do
    for side, at in ipairs(link.ends) do
      local was, is = old.links[i].ends[side].mtu or ETHERNET, at.mtu or ETHERNET
      if was ~= is then
        list[#list + 1] = { i, side, was, is }
      end
    end
  end
  return list
end

---Change it. Where it is refused, by the kernel or by the plan (IPv6 needs 1280), all is as it was.
---@param link nslua.lab.Link
---@param mtu integer|false  false: as if never said
function M.change(link, mtu)
  local lab = link.lab
  local said, plan = lab.topology.links[link.number], lab.plan
  local before, done = said.mtu, {}
  local ok, e = pcall(function()
    said.mtu = mtu or nil
    local new = addressing.plan(lab.topology)
    for _, each in ipairs(differing(plan, new)) do
      local old = plan.links[each[1]]
      done[#done + 1] = each
      set(lab, each[1], each[2], old.ends[each[2]], old.interfaces[each[2]], each[4])
    end
    for i, each in ipairs(new.links) do
      for side, at in ipairs(each.ends) do
        plan.links[i].ends[side].mtu = at.mtu
        for k, interface in ipairs(plan.links[i].interfaces[side]) do
          interface.mtu = each.interfaces[side][k].mtu
        end
      end
    end
    lab.topology_text = nil -- what others are told
  end)
  if not ok then
    said.mtu = before
    for _, each in ipairs(done) do
      local old = plan.links[each[1]]
      pcall(set, lab, each[1], each[2], old.ends[each[2]], old.interfaces[each[2]], each[3])
    end
    error(e, 0)
  end
end

return M
