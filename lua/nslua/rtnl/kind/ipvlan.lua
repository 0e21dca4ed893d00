-- ipvlan: a link with IP addresses of its own on a lower link, whose MAC address it shares; ipvtap: the same, with a character device.
-- linux/if_link.h, ip-link(8).

local schema = require "nslua.schema"

schema.enum("ipvlan_mode", { header = "linux/if_link.h", prefix = "IPVLAN_MODE_" }, { l2 = 0, l3 = 1, l3s = 2 })
schema.enum("ipvlan_flags", { header = "linux/if_link.h", prefix = "IPVLAN_F_", c = { bridge = false } },
  { bridge = 0, private = 1, vepa = 2 }) -- one of them

local function kind(name)
  return {
    kind = name,
    header = "linux/if_link.h",
    prefix = "IFLA_IPVLAN_",
    attributes = [[
      1  MODE   mode   u16:enum(ipvlan_mode)
      2  FLAGS  flags  u16:enum(ipvlan_flags)
    ]],
  }
end

local ipvlan = kind "ipvlan"
ipvlan.also = { kind "ipvtap" }
return ipvlan
