-- Names of devices: eth0, eth1, ... on hosts and routers; a switch's port is named after what it leads to.

local errors = require "nslua.error"

local M = {}

local LONGEST = 15 -- IFNAMSIZ - 1, linux/if.h

-- "all" and "default" are directories beside the devices' in /proc/sys/net/ipv4/conf; "lo" is there from the start.
local reserved = { all = true, default = true, lo = true, ["."] = true, [".."] = true }

-- What the kernel takes as a name (dev_valid_name); with "%" it would count itself.
local function usable(name)
  return #name > 0 and #name <= LONGEST and not reserved[name] and not name:find "[%s/:%%%c]"
end

local function take(used, node, dev, towards)
  if #dev > LONGEST then
    errors.misuse("lab: %s: the name of a device has at most %d bytes, %q has %d", node.name, LONGEST, dev, #dev)
  elseif not usable(dev) then
    errors.misuse("lab: %s: %q is no name for a device", node.name, dev)
  elseif used[dev] then
    errors.misuse("lab: %s: two devices are named %q: towards %s and towards %s", node.name, dev, used[dev], towards)
  end
  used[dev] = towards
end

local function first_free(used, prefix, number)
  while used[prefix .. number] do
    number = number + 1
  end
  return prefix .. number, number + 1
end

---Give every interface and port that has none its `dev`; the switches get their `bridge`.
---@param plan nslua.lab.Plan
function M.name(plan)
  local used, next_number = {}, {}
  for _, node in ipairs(plan.nodes) do
    used[node], next_number[node] = {}, 0
    if node.kind == "switch" then
      node.bridge = node.existing or usable(node.name) and node.name or "br0"
      used[node][node.bridge] = "the bridge itself"
    elseif node.macvlan or node.wire then
      used[node].outside = "the machine's " .. (node.macvlan or node.wire)
    end
  end
  for _, link in ipairs(plan.links) do
    for side, at in ipairs(link.ends) do
      if at.dev then
        take(used[link.nodes[side]], link.nodes[side], at.dev, at.peer)
      end
    end
  end
  for _, link in ipairs(plan.links) do
    for side, at in ipairs(link.ends) do
      local node = link.nodes[side]
      next_number[node] = next_number[node] + (node.kind == "switch" and 1 or 0)
      if at.dev then -- fixed
        goto continue
      elseif node.kind == "switch" then
        at.dev = usable(at.peer) and not used[node][at.peer] and at.peer or first_free(used[node], "p", next_number[node])
      else
        -- in a container there are devices already; the kernel may choose another number (lab/foreign.lua)
        at.dev, next_number[node] = first_free(used[node], node.container and "lab" or "eth", next_number[node])
      end
      take(used[node], node, at.dev, at.peer)
      ::continue::
    end
  end
  for _, node in ipairs(plan.nodes) do
    for _, interface in ipairs(node.interfaces) do
      if interface.parent then
        interface.dev = interface.parent.dev .. "." .. interface.vlan
        take(used[node], node, interface.dev, interface.peer)
      end
    end
  end
end

return M
