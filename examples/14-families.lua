-- A family of generic netlink that nslua does not know, declared from its header alone: MPTCP's endpoints, as `ip mptcp` sets them.
--
-- Use:    nslua examples/14-families.lua
-- Prints: the families this kernel has in a namespace, then the endpoints and limits of that namespace, what refused an endpoint, and JSON.
-- Needs:  root, or `unshare -Ur` before it; a kernel with MPTCP (Linux 5.6).

-- Pure data, at the top of a script or in a file of its own. Numbers, names and types stand in <linux/mptcp.h>. doc/schemas.md
local mptcp = ns.netlink.family{
  name = "mptcp_pm", version = 1,
  flags = { endpoint = "signal subflow backup fullmesh implicit" },
  enums = { family = { inet = 2, inet6 = 10 } },
  sets = {
    endpoint = [[
      1  family   u16:enum(family)
      2  id       u8
      3  addr4    ip4
      4  addr6    ip6
      5  port     u16
      6  flags    u32:flags(endpoint)
      7  if_index s32
    ]],
    pm = [[
      1  endpoint       nest(endpoint)
      2  add_addrs      u32               -- advertised addresses accepted from the peer
      3  subflows       u32               -- at most, for each connection
    ]],
  },
  commands = {
    add = { 1, "pm" }, delete = { 2, "pm" }, get = { 3, "pm", reply = "pm", dump = true },
    set_limits = { 5, "pm" }, limits = { 6, "pm", reply = "pm" },
  },
}

local a <close> = ns.netns.new{ lo = true, label = "a" }
local names = {}
for family in a:netlink "nlctrl":each "getfamily" do
  names[#names + 1] = family.family_name
end
print("families: " .. table.concat(names, " "))

local found, pm = pcall(a.netlink, a, mptcp)
if not found then
  print(pm.message)
  return
end

a:batch(function() -- sent together, as rtnetlink's are
  pm:set_limits{ add_addrs = 2, subflows = 3 }
  pm:add{ endpoint = { family = "inet", addr4 = "10.0.0.1", flags = { "signal" } } }
  pm:add{ endpoint = { family = "inet6", addr6 = "2001:db8::1", id = 7, flags = { "subflow", "backup" } } }
end)
for row in pm:each "get" do
  local e = row.endpoint
  print(("endpoint %d: %s%s%s"):format(e.id, e.addr4 or e.addr6, e.flags.signal and " signal" or "", e.flags.subflow and " subflow" or ""))
end
local limits = pm:limits()
print(("limits: %d addresses, %d subflows"):format(limits.add_addrs, limits.subflows))

local ok, e = pcall(pm.add, pm, { endpoint = { family = "inet", addr4 = "10.0.0.1" } })
print("refused:", not ok and e.extack or e.code)
print(pm:list "get"[2]:json())
