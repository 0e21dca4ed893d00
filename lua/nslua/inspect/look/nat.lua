-- What the namespaces around do with a namespace's addresses: rules that translate them or name them, and ports that lead to it.

local core = require "nslua.core"
local within = require "nslua.rtnl.within"

local M = {}

-- "10.5.0.2/24" -> "10.5.0.2"; not those of its loopback, or of one link alone.
local function plain(addresses)
  local out = {}
  for _, cidr in ipairs(addresses) do
    local address = cidr:gsub("/.*$", "")
    if not address:find "^127%." and address ~= "::1" and not address:find "^fe80:" then
      out[#out + 1] = address
    end
  end
  return out
end
M.plain = plain

local function bytes(text)
  return core.inet.bytes((tostring(text):gsub("/.*$", "")))
end

-- Whether a list of values, ranges and prefixes has one of the addresses; `alone`: as nothing but an address.
local function has(values, addresses, alone)
  if not values or values.inverted then
    return false
  end
  for _, value in ipairs(values) do
    for _, address in ipairs(addresses) do
      local of = bytes(address)
      if type(value) == "table" then
        local from, to = bytes(value[1]), bytes(value[2])
        if not alone and from and to and #from == #of and from <= of and of <= to then
          return true
        end
      elseif bytes(value) == of or not alone and bytes(value) and tostring(value):find("/", 1, true)
        and within.of("look", "match", value)(address) then
        return true
      end
    end
  end
  return false
end

-- What a rule has to do with the addresses.
local function concerns(rule, addresses)
  local nat = rule.nat
  if nat and nat.type == "dnat" then
    for _, address in ipairs(addresses) do
      local of, from, to = bytes(address), nat.address and bytes(nat.address), nat.address_max and bytes(nat.address_max)
      if from == of or from and to and #of == #from and from <= of and of <= to
        or nat.address_map and (" " .. nat.address_map .. " "):find("[%s:]" .. address:gsub("%p", "%%%0") .. "[%s,]") then
        return "dnat"
      end
    end
  elseif nat and nat.type ~= "redirect" and has(rule.match.src, addresses) then
    return nat.type
  end
  return (has(rule.match.src, addresses, true) or has(rule.match.dst, addresses, true)) and "filter" or nil
end

---@class nslua.NatRule: nslua.FirewallRule
---@field kind "dnat"|"snat"|"masquerade"|"filter"  what it does with the addresses; "filter": it names one of them
---@field space string  the namespace it is in

---@param firewall nslua.Firewall
---@param addresses string[]
---@param space string
---@return nslua.NatRule[]
function M.rules(firewall, addresses, space)
  local out = {}
  for _, rule in ipairs(firewall.rules) do
    local kind = concerns(rule, addresses)
    if kind then
      local copy = { kind = kind, space = space }
      for key, value in pairs(rule) do
        copy[key] = value
      end
      out[#out + 1] = copy
    end
  end
  return out
end

---@class nslua.PublishedPort
---@field proto string
---@field host_address? string   nil: every address
---@field host_port? integer     of a range the first
---@field host_port_max? integer
---@field address? string        of the container
---@field port? integer          `port_max` likewise
---@field from "engine"|"rule"   who says so: the container's engine, or a rule of the host that nothing else tells of
---@field rule? nslua.NatRule    that leads there; nil: none does (a proxy may)

local function same_port(rule, port)
  for _, value in ipairs(rule.match.dport or {}) do
    local first, last = value, value
    if type(value) == "table" then
      first, last = value[1], value[2]
    end
    if port.host_port and first <= port.host_port and port.host_port <= last then
      return true
    end
  end
  return false
end

-- A port may be published on several addresses, each with a rule of its own.
local function same_address(rule, port)
  local host, dst = port.host_address, rule.match.dst
  if not host then
    return true
  elseif (host:find ":" ~= nil) ~= (rule.family == "ip6") and rule.family ~= "inet" then
    return false
  end
  return not dst or dst.inverted or has(dst, { host })
end

---Ports that the engine says are published, each with the rule for it; then those that rules alone tell of.
---@param said nslua.PublishedPort[]
---@param rules nslua.NatRule[]
---@return nslua.PublishedPort[]
function M.published(said, rules)
  local out, used = {}, {}
  for _, port in ipairs(said) do
    for _, rule in ipairs(rules) do
      local proto = rule.match.proto and rule.match.proto[1]
      if rule.kind == "dnat" and (not proto or proto == port.proto) and same_port(rule, port)
        and same_address(rule, port) then
        port.rule, used[rule] = port.rule or rule, true
        port.address = port.address or rule.nat.address
      end
    end
    port.from = "engine"
    out[#out + 1] = port
  end
  for _, rule in ipairs(rules) do
    if rule.kind == "dnat" and not used[rule] then
      for _, value in ipairs(rule.match.dport or { false }) do
        local first, last = value or nil, nil
        if type(value) == "table" then
          first, last = value[1], value[2]
        end
        local dst = rule.match.dst
        out[#out + 1] = { proto = tostring(rule.match.proto and rule.match.proto[1] or "any"), host_port = first, host_port_max = last,
          host_address = dst and not dst.inverted and type(dst[1]) == "string" and dst[1] or nil, address = rule.nat.address,
          port = math.tointeger(rule.nat.port) or first, from = "rule", rule = rule }
      end
    end
  end
  return out
end

---Connections that a namespace around tracks and that have one of the addresses in them.
---@param handle nslua.Netns
---@param addresses string[]
---@param most integer
---@return table[] rows
---@return integer count  also of those that are not among the rows
function M.connections(handle, addresses, most)
  local set, rows, count = {}, {}, 0
  for _, address in ipairs(addresses) do
    set[address] = true
  end
  for row in handle.conntrack:each() do
    local a, b = row.orig, row.reply
    if a and b and (set[a.src] or set[a.dst] or set[b.src] or set[b.dst]) then
      count = count + 1
      rows[count] = count <= most and row:decode() or nil
    end
  end
  return rows, count
end

return M
