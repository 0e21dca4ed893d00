-- vlan: the frames of one 802.1Q or 802.1ad tag of a lower link. linux/if_link.h, ip-link(8).

local bits = require "nslua.rtnl.kind.bits"
local errors = require "nslua.error"
local schema = require "nslua.schema"

schema.enum("vlan_protocol", { header = "linux/if_ether.h", prefix = "ETH_P_", c = { ["802.1Q"] = "ETH_P_8021Q", ["802.1ad"] = "ETH_P_8021AD" } },
  { ["802.1Q"] = 0x8100, ["802.1ad"] = 0x88a8 })
schema.flags("vlan_flag", { header = "linux/if_vlan.h", prefix = "VLAN_FLAG_" },
  { reorder_hdr = 1, gvrp = 2, loose_binding = 4, mvrp = 8, bridge_binding = 16 })
schema.struct("vlan_flags", { c = "struct ifla_vlan_flags", header = "linux/if_link.h" }, [[ flags u32  mask u32 ]])
schema.struct("vlan_qos", { c = "struct ifla_vlan_qos_mapping", header = "linux/if_link.h" }, [[ from u32  to u32 ]])
schema.set("vlan_qos_map", { header = "linux/if_link.h", prefix = "IFLA_VLAN_QOS_" }, [[
  1  MAPPING  mapping  struct(vlan_qos)  multi
]])

local flags = { reorder_hdr = 1, gvrp = 2, loose_binding = 4, mvrp = 8, bridge_binding = 16 }

local function to_map(list, call, word)
  local mapping = {}
  if type(list) ~= "table" or next(list) and #list == 0 then
    errors.misuse("%s: %s must be a list like { { 1, 2 }, ... }", call, word)
  end
  for i, pair in ipairs(list) do
    if type(pair) ~= "table" then
      errors.misuse("%s: %s[%d] must be a pair like { 1, 2 }, got %s", call, word, i, type(pair))
    end
    mapping[i] = { from = pair.from or pair[1], to = pair.to or pair[2] }
  end
  return { mapping = mapping }
end

return {
  kind = "vlan",
  header = "linux/if_link.h",
  prefix = "IFLA_VLAN_",
  attributes = [[
    1  ID           id           u16
    2  FLAGS        flags        struct(vlan_flags)
    3  EGRESS_QOS   egress_qos   nest(vlan_qos_map)
    4  INGRESS_QOS  ingress_qos  nest(vlan_qos_map)
    5  PROTOCOL     protocol     be16:enum(vlan_protocol)
  ]],
  hidden = { "flags" },
  -- egress_qos and ingress_qos: { { from, to }, ... }
  words = bits.booleans(flags),
  spelled = { egress_qos_map = "egress_qos", ingress_qos_map = "ingress_qos" },
  write = function(data, call)
    local mask = bits.write(data, "flags", flags)
    if mask then
      data.flags = { flags = data.flags, mask = mask }
    end
    data.egress_qos = data.egress_qos and to_map(data.egress_qos, call, "egress_qos")
    data.ingress_qos = data.ingress_qos and to_map(data.ingress_qos, call, "ingress_qos")
  end,
  taken_back = function(was, has, said)
    for _, word in ipairs { "egress_qos", "ingress_qos" } do
      local list = {}
      for _, pair in ipairs(said[word] or said[word .. "_map"] or {}) do
        list[#list + 1] = { pair.from or pair[1], 0 } -- none
      end
      for _, pair in ipairs(list[1] and has[word] or {}) do
        list[#list + 1] = pair
      end
      was[word] = list[1] and list or nil
    end
  end,
  read = function(data)
    data.flags = type(data.flags) == "table" and data.flags.flags or nil
    data.flags = data.flags or 0 -- untold
    bits.read(data, "flags", flags)
    for _, key in ipairs { "egress_qos", "ingress_qos" } do
      data[key] = data[key] and data[key].mapping
    end
  end,
}
