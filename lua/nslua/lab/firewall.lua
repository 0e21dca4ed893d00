-- NAT and packet filters of a node, by presets: rulesets that nft(8) loads.

local check = require "nslua.check"
local errors = require "nslua.error"
local foreign = require "nslua.lab.foreign"

local M = {}

-- Devices of a node that lead to another one, or are called so.
local function device_of(node, call, value)
  for _, interface in ipairs(node.plan.interfaces) do
    if interface.dev == value or interface.peer == value then
      return interface.dev
    end
  end
  local machine = node.plan.macvlan or node.plan.wire
  if machine and (value == "outside" or value == machine) then
    return "outside"
  end
  local known = { machine and "outside" }
  for _, interface in ipairs(node.plan.interfaces) do
    known[#known + 1] = interface.dev
    known[#known + 1] = interface.peer
  end
  return errors.misuse("%s: %s", call, check.unknown("device or neighbour", value, known))
end

---Load a ruleset on a node: the text of nft(8).
---@param node nslua.lab.Node
---@param call string
---@param rules string
function M.load(node, call, rules)
  local ok, result = pcall(node.run, node, { "nft", "-f", "-", input = rules })
  if not ok and errors.is(result, "ENOENT") then
    errors.raise { call = call, message = "nft(8) is not installed", hint = "Debian has it in the package nftables" }
  elseif not ok then
    error(result, 0)
  elseif not result.ok then
    errors.raise { call = call, netns = node.node_name, message = "nft refuses the rules", detail = result.stderr:match "[^\n]+" }
  end
end

-- What a router does at a line to the world: `out` is the device there.
local presets = {
  -- what goes out has the router's address; nothing comes in that was not asked for
  home = [[
table inet nslua_nat {
  chain postrouting { type nat hook postrouting priority srcnat; oifname "$out" masquerade; }
  chain forward { type filter hook forward priority filter; policy accept; iifname "$out" ct state != { established, related } drop; }
}]],
  -- many behind one address: ports are drawn, and nobody is reached from outside
  cgnat = [[
table inet nslua_nat {
  chain postrouting { type nat hook postrouting priority srcnat; oifname "$out" masquerade fully-random; }
  chain forward { type filter hook forward priority filter; policy accept; iifname "$out" ct state != { established, related } drop; }
}]],
  -- one host inside has the outside address to itself, both ways
  full_cone = [[
table inet nslua_nat {
  chain prerouting { type nat hook prerouting priority dstnat; $to }
  chain postrouting { type nat hook postrouting priority srcnat; oifname "$out" masquerade; }
}]],
}

---@param node nslua.lab.Node
---@param preset string
---@param options { out: string, host: string? }
function M.nat(node, preset, options)
  local call = "node.nat"
  check.options(call, options or {}, { out = "string", host = "string" })
  local rules = presets[preset] or errors.misuse("%s: %s", call, check.unknown("preset", preset, presets))
  foreign.refuse(node, call)
  local out = device_of(node, call, options and options.out or errors.misuse("%s: out is needed: the device or neighbour that is outside", call))
  local to = {}
  if preset == "full_cone" then
    local host = options.host or errors.misuse("%s: host is needed: who has the outside address", call)
    for _, family in ipairs { "inet", "inet6" } do
      local address = node.lab.plan:address_of(host, node.node_name, family)
      to[#to + 1] = address and ('iifname "%s" dnat %s to %s;'):format(out, family == "inet" and "ip" or "ip6", address) or nil
    end
  end
  rules = rules:gsub("%$(%a+)", { out = out, to = table.concat(to, " ") })
  M.load(node, call, "table inet nslua_nat\ndelete table inet nslua_nat\n" .. rules .. "\n")
end

local filters = {
  -- what is too large is dropped in silence: the black hole of path MTU discovery
  block_frag_needed = [[
    chain output { type filter hook output priority filter;
      icmp type destination-unreachable icmp code frag-needed drop; icmpv6 type packet-too-big drop; }
    chain forward { type filter hook forward priority filter;
      icmp type destination-unreachable icmp code frag-needed drop; icmpv6 type packet-too-big drop; }]],
  block_icmp = [[
    chain input { type filter hook input priority filter; icmp type echo-request drop; icmpv6 type echo-request drop; }
    chain forward { type filter hook forward priority filter; icmp type echo-request drop; icmpv6 type echo-request drop; }]],
  -- nothing begins from elsewhere: for a host
  stateful = [[
    chain input { type filter hook input priority filter; iifname != "lo" meta l4proto { tcp, udp } ct state new drop; }]],
}

---@param node nslua.lab.Node
---@param preset string
function M.firewall(node, preset)
  local call = "node.firewall"
  local rules = filters[preset] or errors.misuse("%s: %s", call, check.unknown("preset", preset, filters))
  foreign.refuse(node, call)
  local name = "nslua_" .. preset
  M.load(node, call, ("table inet %s\ndelete table inet %s\ntable inet %s {\n%s\n}\n"):format(name, name, name, rules))
end

---Take presets away again: one, or all of them.
---@param node nslua.lab.Node
---@param preset? string  of nat or firewall
function M.clear(node, preset)
  local names = {}
  for name in pairs(presets) do
    names[name] = "nslua_nat"
  end
  for name in pairs(filters) do
    names[name] = "nslua_" .. name
  end
  if preset and not names[preset] then
    errors.misuse("node.clear: %s", check.unknown("preset", preset, names))
  end
  local rules = {}
  for name, tab in pairs(names) do
    if not preset or name == preset then
      rules[#rules + 1] = ("table inet %s\ndelete table inet %s\n"):format(tab, tab)
    end
  end
  M.load(node, "node.clear", table.concat(rules))
end

return M
