-- The collections of a namespace: link, address, route, rule, neighbour, nexthop, fdb, bridge_vlan, bridge_vlan_global, netconf,
-- addrlabel, mdb, neighbour_table, qdisc, class, filter.

local check = require "nslua.check"
local errors = require "nslua.error"

local M = {}

M.names = { link = true, address = true, route = true, rule = true, neighbour = true, nexthop = true, fdb = true, bridge_vlan = true, netconf = true,
  bridge_vlan_global = true, addrlabel = true, mdb = true, neighbour_table = true, qdisc = true, class = true, filter = true,
  sockets = true, conntrack = true, nftables = true }

-- What is asked by other protocols than rtnetlink.
M.others = {
  sockets = function()
    return require "nslua.diag"
  end,
  conntrack = function()
    return require "nslua.netfilter.conntrack"
  end,
  nftables = function()
    return require "nslua.netfilter.nftables"
  end,
}

---The collection of one kind of object in a namespace.
---@param handle table  a netns handle
---@param name string  "link", "address", "route", ...
---@return nslua.Collection
function M.collection(handle, name)
  if not M.names[name] then
    errors.misuse("rtnl: %s", check.unknown("collection", name, M.names))
  end
  local object = M.others[name] and M.others[name]() or require("nslua.rtnl." .. name)
  local kept = rawget(handle, name)
  if kept and getmetatable(kept) == object.metatable then
    return kept
  end
  return setmetatable({ handle = handle, object = object }, object.metatable)
end

return M
