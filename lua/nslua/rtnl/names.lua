-- Numbers that have names: routing tables, protocols, scopes, link groups; built in, and those of iproute2's files. And names that keys have
-- elsewhere.

local check = require "nslua.check"
local errors = require "nslua.error"
local schema = require "nslua.schema"

local M = {}

local kinds = {
  table = { file = "rt_tables", max = 4294967295,
    [0] = "unspec", [253] = "default", [254] = "main", [255] = "local" },
  proto = { file = "rt_protos", max = 255,
    [0] = "unspec", [1] = "redirect", [2] = "kernel", [3] = "boot", [4] = "static", [8] = "gated", [9] = "ra",
    [10] = "mrt", [11] = "zebra", [12] = "bird", [13] = "dnrouted", [14] = "xorp", [15] = "ntk", [16] = "dhcp",
    [17] = "mrouted", [18] = "keepalived", [42] = "babel", [99] = "openr", [186] = "bgp", [187] = "isis",
    [188] = "ospf", [189] = "rip", [192] = "eigrp" },
  scope = { file = "rt_scopes", max = 255,
    [0] = "global", [200] = "site", [253] = "link", [254] = "host", [255] = "nowhere" },
  group = { file = "group", max = 4294967295, [0] = "default" },
}

---Number to name, of each kind; empty until a first name is asked for, and then `complete`.
M.known = {}
for name, kind in pairs(kinds) do
  local known = {}
  M.known[name], M.known[kind] = known, known
end

-- The first that exists wins, as in iproute2: an administrator's file over the distribution's.
local folders = { "/etc/iproute2/", "/usr/share/iproute2/", "/usr/lib/iproute2/" }

local function load(kind)
  local by_name = {}
  for _, folder in ipairs(folders) do
    local file = io.open(folder .. kind.file)
    if file then
      for line in file:lines() do
        local number, name = line:match "^%s*(%w+)%s+([^%s#]+)"
        number = tonumber(number)
        if number and number >= 0 and number <= kind.max then
          kind[number] = name
          by_name[name] = number
        end
      end
      file:close()
      break
    end
  end
  for number, name in pairs(kind) do
    if type(number) == "number" and not by_name[name] then
      by_name[name] = number
    end
  end
  kind.by_name = by_name
  local known = M.known[kind]
  known.complete = true
  for number, name in pairs(kind) do
    if type(number) == "number" then
      known[number] = name
    end
  end
  return by_name
end

---The number of a name; a number, also as text ("1001", "0x10"), is taken as it is.
---@param kind "table"|"proto"|"scope"|"group"
---@param value string|integer
---@param call string  for the message of an unknown name
---@return integer
function M.number(kind, value, call)
  local names = kinds[kind]
  if type(value) == "string" then
    local number = (names.by_name or load(names))[value] or tonumber(value)
    if not number then
      errors.misuse("%s: %s", call, check.unknown(kind, value, names.by_name))
    end
    value = number
  elseif type(value) ~= "number" then
    errors.misuse("%s: %s must be a name or a number, got %s", call, kind, type(value))
  end
  if value < 0 or value > names.max or value % 1 ~= 0 then
    errors.misuse("%s: %s %s is not between 0 and %.0f", call, kind, tostring(value), names.max)
  end
  return value
end

---The name of a number where one is known, else the number.
---@param kind "table"|"proto"|"scope"|"group"
---@param number integer
---@return string|integer
function M.name(kind, number)
  local names = kinds[kind]
  if not names.by_name then
    load(names)
  end
  return names[number] or number
end

-- What ip(8), tc(8), bridge(8) and other libraries call a key: what it is here, the first that is known.
local elsewhere = {
  gateway = { "via" }, gw = { "via" }, lookup = { "table" }, nud = { "state" }, flowid = { "classid" }, prio = { "pref", "priority", "metric" },
  pref = { "priority", "metric" }, preference = { "priority", "pref", "metric" }, priority = { "pref", "metric" }, order = { "priority" },
  mac = { "lladdr", "address" }, lladdr = { "address" }, interface = { "dev" }, iface = { "dev" }, brd = { "broadcast" }, state = { "up" },
  vid = { "vlan" }, vlan = { "vid" }, nexthop = { "nexthops", "via" }, txqueuelen = { "txqlen" }, ["goto"] = { "goto_" }, ["not"] = { "not_" },
}

---What to say of a key that is not known: "unknown key 'nud' (did you mean 'state'?)".
---@param key any
---@param known table<string|integer, any>
---@param kind? string            the kind of the object, where it has options in a table of that name
---@param options? table<string, any>  their words
---@return string
function M.unknown(key, known, kind, options)
  if options and options[key] then
    return ("unknown key '%s' (it is an option of its kind: %s = { %s = })"):format(key, kind, key)
  end
  for _, word in ipairs(elsewhere[key] or {}) do
    if known[word] then
      return ("unknown key '%s' (did you mean '%s'?)"):format(key, word)
    end
  end
  return check.unknown("key", key, known)
end

---The name of the number in a field of rows, or else in another.
---@param kind "table"|"proto"|"scope"|"group"
---@param field string
---@param other? string
---@return nslua.schema.Computed
function M.of(kind, field, other)
  return { how = "name", field, other, extra = M.known[kind], call = function(row)
    local number = schema.raw(row, field)
    if number == nil and other then
      number = schema.raw(row, other)
    end
    return M.name(kind, number)
  end }
end

return M
