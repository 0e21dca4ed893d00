-- vrf: a routing table of its own for the links that are its ports. linux/if_link.h, ip-link(8), ip-vrf(8).

local names = require "nslua.rtnl.names"

local function read(data)
  data.table = data.table and names.name("table", data.table)
end

return {
  kind = "vrf",
  header = "linux/if_link.h",
  prefix = "IFLA_VRF_",
  attributes = [[
    1  TABLE  table  u32
  ]],
  words = { table = "integer|string" },
  write = function(data, call)
    data.table = data.table and names.number("table", data.table, call)
  end,
  read = read,
  port = {
    header = "linux/if_link.h",
    prefix = "IFLA_VRF_PORT_",
    attributes = [[
      1  TABLE  table  u32   -- only read
    ]],
    read = read,
  },
}
