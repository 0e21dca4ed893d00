-- macvlan: a link with a MAC address of its own on a lower link. linux/if_link.h, ip-link(8).

local schema = require "nslua.schema"

schema.enum("macvlan_mode", { header = "linux/if_link.h", prefix = "MACVLAN_MODE_" },
  { private = 1, vepa = 2, bridge = 4, passthru = 8, source = 16 })
schema.enum("macvlan_macaddr_mode", { header = "linux/if_link.h", prefix = "MACVLAN_MACADDR_" },
  { add = 0, del = 1, flush = 2, set = 3 })
schema.flags("macvlan_flag", { header = "linux/if_link.h", prefix = "MACVLAN_FLAG_" }, { nopromisc = 1, nodst = 2 })
schema.set("macvlan_macaddrs", { header = "linux/if_link.h", prefix = "IFLA_MACVLAN_" }, [[
  4  MACADDR  macaddr  lladdr  multi
]])

local attributes = [[
    1  MODE               mode               u32:enum(macvlan_mode)
    2  FLAGS              flags              u16:flags(macvlan_flag)
    3  MACADDR_MODE       macaddr_mode       u32:enum(macvlan_macaddr_mode)
    4  MACADDR            macaddr            lladdr
    5  MACADDR_DATA       macaddr_nest       nest(macvlan_macaddrs)
    6  MACADDR_COUNT      macaddr_count      u32
    7  BC_QUEUE_LEN       bcqueuelen         u32
    8  BC_QUEUE_LEN_USED  usedbcqueuelen     u32
    9  +BC_CUTOFF         bclim              s32   -- 6.4
]]

local function kind(name)
  return {
    kind = name,
    header = "linux/if_link.h",
    prefix = "IFLA_MACVLAN_",
    attributes = attributes,
    hidden = { "macaddr_nest" },
    words = { macaddr_data = "table" }, -- the addresses of mode "source"; written with macaddr_mode
    write = function(data)
      if data.macaddr_data then
        data.macaddr_nest, data.macaddr_data = { macaddr = data.macaddr_data }, nil
      end
    end,
    taken_back = function(was, has, said)
      if said.macaddr_mode then
        was.macaddr_mode, was.macaddr_data, was.macaddr = "set", has.macaddr_data or {}, nil
      end
    end,
    read = function(data)
      data.macaddr_data = data.macaddr_nest and data.macaddr_nest.macaddr
    end,
  }
end

local macvlan = kind "macvlan"
macvlan.also = { kind "macvtap" } -- the same, with a character device beside it
return macvlan
