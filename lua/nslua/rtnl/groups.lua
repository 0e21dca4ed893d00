-- What the kernel tells of, and to which multicast groups: linux/rtnetlink.h, RTNLGRP_*. IPv4 and IPv6 apart.

---@class nslua.Event
---@field action "new"|"delete"|"existing"|"overrun"|"netns_new"|"netns_gone"  "new" is a change, too
---@field what? string     "link", "address", "route", "rule", "neighbour", "nexthop", "fdb", "netconf", "qdisc", "class",
---"filter"
---@field object? table    its row, an independent value
---@field netns string     name or label of the namespace, or "net:[4026532000]"
---@field inode integer    of the namespace
---@field nsid? integer    id it has in this process's namespace; nil: none

return { link = { 1 }, neighbour = { 3 }, address = { 5, 9 }, route = { 7, 11 }, rule = { 8, 19 },
  nexthop = { 32 }, fdb = { 3 }, netconf = { 24, 25 }, qdisc = { 4 }, class = { 4 }, filter = { 4 } }
