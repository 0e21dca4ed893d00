-- What a node loses while a link of it is down, and the kernel does not bring back: routes, addresses of IPv6, devices that stand on its device.
-- Whoever set them, the lab or its user.

local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local putback = require "nslua.rtnl.putback"
local schema = require "nslua.schema"

local M = {}

local lost = setmetatable({}, { __mode = "k" }) -- by node, what has not come back yet

-- Routes that somebody set: the kernel's own come by themselves, those of daemons by the daemon.
local set_by_hand = { boot = true, static = true }

-- Names of a device and of those on it, in the order in which they can come up.
local function tower(node, dev)
  local out, is_in, rows = { dev }, { [dev] = true }, node.link:list()
  local at = 1
  while out[at] do
    for _, row in ipairs(rows) do
      if row.link == out[at] and not is_in[row.name] and row.up then
        out[#out + 1], is_in[row.name] = row.name, true
      end
    end
    at = at + 1
  end
  return out, is_in
end

local function devices_of(route)
  if not route.nexthops then
    return { route.dev }
  end
  local out = {}
  for i, hop in ipairs(route.nexthops) do
    out[i] = hop.dev
  end
  return out
end

---Remember what goes down with a device; before it does.
---@param node nslua.lab.Node
---@param dev string
function M.remember(node, dev)
  local mine = lost[node] or { devices = {}, addresses = {}, routes = {} }
  lost[node] = mine
  local devices, is_in = tower(node, dev)
  table.move(devices, 1, #devices, #mine.devices + 1, mine.devices)
  local addresses = node.address:list { family = "inet6" }
  for i = #addresses, 1, -1 do -- the youngest is told first
    local row = addresses[i]
    if is_in[row.dev] and row.scope ~= "link" then
      mine.addresses[#mine.addresses + 1] = { devices = { row.dev }, bytes = schema.bytes(row), flags = netlink.CREATE + netlink.EXCL }
    end
  end
  for _, row in ipairs(node.route:list()) do
    local devices_of_one, hit = set_by_hand[row.proto] and devices_of(row) or {}, false
    for _, each in ipairs(devices_of_one) do
      hit = hit or is_in[each]
    end
    -- of IPv4 there may be several to one destination; of several hops of IPv6 some may still be there
    local how = row.family == "inet" and netlink.APPEND or row.nexthops and netlink.REPLACE or netlink.EXCL
    mine.routes[#mine.routes + 1] = hit and { devices = devices_of_one, bytes = schema.bytes(row), flags = netlink.CREATE + how } or nil
  end
end

-- Makes what can be of `list`, and returns what waits for a device. What the kernel refuses though its devices are up is of no use any more: it
-- would have dropped that meanwhile too. Others may have to be there first, such as the way to a gateway.
local function settle(node, object, list, is_up)
  local waiting, ready = {}, {}
  for _, one in ipairs(list) do
    local into = ready
    for _, dev in ipairs(one.devices) do
      into = is_up[dev] == false and waiting or into
    end
    into[#into + 1] = one
  end
  local before
  repeat
    local again = {}
    for _, one in ipairs(ready) do
      local ok, e = pcall(putback.restore, object, node, one.bytes, one.flags)
      again[#again + 1] = not (ok or errors.is(e, "EEXIST")) and one or nil
    end
    before, ready = #ready, again
  until #ready == 0 or #ready == before
  return waiting
end

---What was remembered of a node is of a place where it is no more.
---@param node nslua.lab.Node
function M.forget(node)
  lost[node] = nil
end

---Bring back what can be, now that a device is up; what needs another one waits for that.
---@param node nslua.lab.Node
---@return boolean  whether anything was remembered
function M.restore(node)
  local mine = lost[node]
  if not mine then
    return false
  end
  local function states()
    local out = {}
    for _, row in ipairs(node.link:list()) do
      out[row.name] = row.up
    end
    return out
  end
  local is_up, devices = states(), {}
  for _, dev in ipairs(mine.devices) do -- the lower ones first; one that has none below it is a link's own, and waits for that
    local row = is_up[dev] == false and node.link:get(dev)
    if row and row.link and is_up[row.link] then
      node.link:change(dev, { up = true })
      is_up[dev] = true
    elseif row then
      devices[#devices + 1] = dev
    end
  end
  local addresses = settle(node, node.address.object, mine.addresses, is_up)
  local routes = settle(node, node.route.object, mine.routes, is_up)
  lost[node] = (devices[1] or addresses[1] or routes[1]) and { devices = devices, addresses = addresses, routes = routes } or nil
  return true
end

return M
