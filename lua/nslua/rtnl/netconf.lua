-- What the kernel does with packets of a link: forwarding, source checks, proxying. ip-netconf(8), linux/netconf.h. Written by sysctl.

local core = require "nslua.core"
local device = require "nslua.rtnl.device"
local errors = require "nslua.error"
local netlink = require "nslua.netlink"
local prefix = require "nslua.rtnl.prefix"
local schema = require "nslua.schema"
local verbs = require "nslua.rtnl.verbs"
require "nslua.rtnl.families" -- enum inet_family

local header = "linux/netconf.h"

schema.enum("rp_filter", { header = header }, { off = 0, strict = 1, loose = 2 })
schema.struct("netconfmsg", { c = "struct netconfmsg", header = header, prefix = "ncm_" }, "family u8:enum(inet_family)")
schema.set("netconf", { header = header, prefix = "NETCONFA_" }, [[
  1  IFINDEX                      dev_index                    s32
  2  FORWARDING                   forwarding                   s32
  3  RP_FILTER                    rp_filter                    u32:enum(rp_filter)
  4  MC_FORWARDING                mc_forwarding                s32
  5  PROXY_NEIGH                  proxy_neigh                  s32
  6  IGNORE_ROUTES_WITH_LINKDOWN  ignore_routes_with_linkdown  s32
  7  INPUT                        input                        s32
  8  BC_FORWARDING                bc_forwarding                s32
]])
schema.message("netconf", { head = "netconfmsg", attrs = "netconf", c = "NETCONF", header = "linux/rtnetlink.h", new = 80, del = 81, get = 82 })

local ALL, DEFAULT = -1, -2 -- NETCONFA_IFINDEX_ALL, NETCONFA_IFINDEX_DEFAULT
local ENODEV = core.errno.ENODEV
local special = { all = ALL, default = DEFAULT, [ALL] = "all", [DEFAULT] = "default" }

---@class nslua.Netconf  a row
---@field dev string         a link's name, "all" or "default" (what new links get); `dev_index`
---@field family "inet"|"inet6"|"mpls"
---@field forwarding boolean
---@field rp_filter string?  "off", "strict", "loose" (IPv4)
---@field mc_forwarding boolean?  `proxy_neigh`, `ignore_routes_with_linkdown`, `bc_forwarding`, `input` (MPLS) likewise

local netconf = { name = "netconf", noun = "dev", new = 80, del = 81, get = 82, methods = {}, matchers = {},
  none = { [ENODEV] = true }, missing = ENODEV }

local computed = {
  dev = function(row, set)
    local index = row.dev_index
    return special[index] or verbs.link_name(set, index)
  end,
}
for _, word in ipairs { "forwarding", "mc_forwarding", "proxy_neigh", "ignore_routes_with_linkdown", "input", "bc_forwarding" } do
  computed[word] = function(row)
    local value = schema.raw(row, word)
    if value ~= nil then
      return value ~= 0
    end
  end
  netconf.matchers[word] = true
end
netconf.matchers.rp_filter = true

netconf.class = schema.class {
  name = "netconf",
  computed = computed,
  same = function(a, b)
    return a.family == b.family and a.dev_index == b.dev_index and schema.rowset(a).handle == schema.rowset(b).handle
  end,
}

local families = { inet = prefix.AF_INET, inet6 = prefix.AF_INET6, mpls = 28 }

local function family_of(value, call)
  return families[value] or prefix.family(value, call)
end

local function index_of(self, value, call)
  return type(value) == "string" and special[value] or device.index(self.handle, value, call, "dev")
end

netconf.matchers.dev = function(self, value, call)
  return "dev_index", index_of(self, value, call)
end
netconf.matchers.family = function(_, value, call)
  local family = family_of(value, call)
  for name, number in pairs(families) do
    if number == family then
      return "family", name
    end
  end
end

function netconf.payloads(_, filter, call)
  local S = netconf.schema or verbs.schema(netconf)
  if filter.family then
    return { S:encode { family = family_of(filter.family, call) } }
  end
  return { S:encode { family = prefix.AF_INET }, S:encode { family = prefix.AF_INET6 } }, { "inet", "inet6" }
end

local function key_words(call, key)
  if type(key) == "string" then
    return { dev = key }
  elseif type(key) == "userdata" then
    return { dev = key.dev_index, family = key.family }
  elseif type(key) == "table" then
    verbs.options(call .. ": key", key, { dev = true, family = true })
    return key
  end
  errors.misuse("%s: it is named by { dev = \"eth0\" or \"all\", family = } or its row, got %s", call, type(key))
end

function netconf.find(self, call, key)
  local words = key_words(call, key)
  if words.dev == nil then
    errors.misuse("%s: dev is needed: a link, \"all\" or \"default\"", call)
  end
  local index = special[words.dev] and (type(words.dev) == "number" and words.dev or special[words.dev]) or index_of(self, words.dev, call)
  local ok, row = pcall(netlink.ask, self, call, (netconf.schema or verbs.schema(netconf)):encode {
    family = family_of(words.family or "inet", call), dev_index = index }, ENODEV)
  if not ok and not errors.is(row, "EINVAL") then -- what kernels before 6.0 say
    error(row, 0)
  end
  return ok and row or nil
end

return verbs.object(netconf)
