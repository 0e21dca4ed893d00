-- The ruleset of a namespace, read: a.nftables. nft(8), linux/netfilter/nf_tables.h
--
--    for _, r in ipairs(a.nftables:rules{ table = "filter", chain = "input" }) do print(r.handle, r.expressions[1].name) end

local book = require "nslua.netfilter.nftschema"
local check = require "nslua.check"
local core = require "nslua.core"
local errors = require "nslua.error"
local netfilter = require "nslua.netfilter.schema"
local netlink = require "nslua.netlink"
local schema = require "nslua.schema"

local M = {}

local SUBSYSTEM = 10 * 256 -- NFNL_SUBSYS_NFTABLES
local GET = { table = 1, chain = 4, rule = 7, set = 10, elements = 13 } -- NFT_MSG_GET*

local families = book:names "nfproto"
local hooks = { [0] = "prerouting", "input", "forward", "output", "postrouting", "ingress" }
local netdev_hooks = { [0] = "ingress", "egress" }
local arp_hooks = { [0] = "input", "output", "forward" }

---@class nslua.NftTable  a row of `a.nftables:tables()`; every row has `family` ("ip", "ip6", "inet", "arp", "bridge", "netdev")
---@field name string
---@field handle integer  `use`, `flags` ("dormant", "owner"), `owner` likewise

---@class nslua.NftChain  a row of `a.nftables:chains()`
---@field table string  `name`, `handle`, `use` likewise
---@field hook? string   of a base chain: "input", "forward", ...; its `type`, `priority`, `policy` and `dev` likewise

---@class nslua.NftRule  a row of `a.nftables:rules()`
---@field table string  `chain`, `handle`, `position` likewise
---@field expressions { name: string, data: table|string? }[]  what it does, step by step; `data` has the words of linux/netfilter/nf_tables.h, and
---of an expression that is not known here it is its attributes as bytes
---@field comment? string

---@class nslua.NftSet  a row of `a.nftables:sets()`: sets and maps
---@field table string  `name`, `handle`, `flags`, `key_len`, `data_len` likewise
---@field timeout? number  seconds

local shared_hidden = { "family_number", "version", "res_id", "userdata" }

local function class(name, computed, hidden)
  local all = {}
  for _, list in ipairs { shared_hidden, hidden or {} } do
    for _, key in ipairs(list) do
      all[#all + 1] = key
    end
  end
  computed.family = function(row)
    local _, names = book:names "nfproto"
    return names[row.family_number] or row.family_number
  end
  return schema.class { name = "nftables." .. name, computed = computed, hidden = all, same = function(a, b)
    return a.family == b.family and a.table == b.table and a.handle == b.handle and schema.rowset(a).handle == schema.rowset(b).handle
  end }
end

-- A comment of nft(8) in a rule's user data: records of type, length, bytes; type 0 is the comment, with a zero byte behind it.
local function comment(row)
  local data, at = row.userdata or "", 1
  while at + 1 <= #data do
    local kind, length = data:byte(at, at + 1)
    if kind == 0 then
      return (data:sub(at + 2, at + 1 + length):gsub("%z$", ""))
    end
    at = at + 2 + length
  end
end

local function of_hook(key)
  return function(row)
    return row.hook_nest and row.hook_nest[key]
  end
end

local classes = {
  table = class("table", {}),
  chain = class("chain", {
    hook = function(row)
      local n = row.hook_nest and row.hook_nest.hook_number
      local names = row.family == "netdev" and netdev_hooks or row.family == "arp" and arp_hooks or hooks
      return n and (names[n] or n)
    end,
    priority = function(row)
      local bits = row.hook_nest and row.hook_nest.priority_bits
      return bits and (bits >= 2147483648 and bits - 4294967296 or bits)
    end,
    dev = of_hook "dev",
    devs = function(row)
      return row.hook_nest and row.hook_nest.devs and row.hook_nest.devs.name
    end,
  }, { "hook_nest" }),
  rule = class("rule", { comment = comment }),
  set = class("set", {
    timeout = function(row)
      local ms = schema.raw(row, "timeout")
      return ms and tonumber(ms) / 1000
    end,
  }),
  elements = class("elements", {}),
}

---@class nslua.Nftables
---@field handle nslua.Netns
local methods = {}

local Nftables = { __index = methods, __name = "nslua.Nftables" }
M.metatable = Nftables

function Nftables:__tostring()
  return "nftables of " .. self.handle:describe()
end

local function hint(errno)
  return errno == core.errno.EINVAL and "this kernel has no nf_tables (CONFIG_NF_TABLES), or it is in a module that is not there" or nil
end

local function ask(self, what, call, filter, known)
  filter = filter or {}
  check.options(call, filter, known)
  local family = filter.family and (families[filter.family] or errors.misuse("%s: %s", call, check.unknown("family", filter.family, families)))
  local S = book:compile(what)
  local request = { family_number = family or 0 }
  for key, value in pairs(filter) do
    request[key] = what == "rule" and (key == "table" or key == "chain") and value or what == "set" and key == "table" and value
      or what == "elements" and (key == "table" or key == "set") and value or nil
  end
  local dump = netlink.dump(self.handle, call, what, S, SUBSYSTEM + GET[what], S:encode(request),
    { protocol = netfilter.NETLINK_NETFILTER, hint = hint })
  local rows = dump:rows(S, classes[what], { handle = self.handle }, function(row)
    for key, value in pairs(filter) do
      if row[key] ~= value then
        return false
      end
    end
    return true
  end)
  rows.interrupted = dump.interrupted or nil
  return rows
end

---The tables.
---@param filter? { family: string, name: string }
---@return nslua.NftTable[]  `interrupted` is true where the ruleset changed under ten dumps in a row; so of the others
function methods:tables(filter)
  return ask(self, "table", "nftables.tables", filter, { family = "string", name = "string" })
end

---The chains.
---@param filter? { family: string, table: string, name: string }
---@return nslua.NftChain[]
function methods:chains(filter)
  return ask(self, "chain", "nftables.chains", filter, { family = "string", table = "string", name = "string" })
end

---The rules, in their order.
---@param filter? { family: string, table: string, chain: string, handle: integer }
---@return nslua.NftRule[]
function methods:rules(filter)
  return ask(self, "rule", "nftables.rules", filter, { family = "string", table = "string", chain = "string", handle = "integer" })
end

---The sets and maps, those without a name too.
---@param filter? { family: string, table: string, name: string }
---@return nslua.NftSet[]
function methods:sets(filter)
  return ask(self, "set", "nftables.sets", filter, { family = "string", table = "string", name = "string" })
end

---What is in a set.
---@param set nslua.NftSet|{ family: string, table: string, name: string }
---@return table[] elements  { key = { value = bytes }, data =, flags =, timeout = ms, ... }: bytes in network byte order
function methods:elements(set)
  local call = "nftables.elements"
  if not schema.isrow(set) then
    check.options(call, set, { family = "string", table = "string", name = "string" })
  end
  if not (set.family and set.table and set.name) then
    errors.misuse("%s: family, table and name of a set are needed, or its row", call)
  end
  local out = {}
  for _, row in ipairs(ask(self, "elements", call, { family = set.family, table = set.table, set = set.name },
    { family = "string", table = "string", set = "string" })) do
    for _, element in ipairs(row.elements or {}) do
      out[#out + 1] = element
    end
  end
  return out
end

return M
