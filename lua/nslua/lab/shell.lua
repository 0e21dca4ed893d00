-- A lab as a script of ip(8), bridge(8), tc(8) and sysctl(8) that builds the same network.

local errors = require "nslua.error"
local overlay = require "nslua.lab.overlay"
local text = require "nslua.lab.text"

local M = {}

local function quote(word)
  return word:find "^[%w_./:@=,+-]+$" and word or "'" .. word:gsub("'", "'\\''") .. "'"
end

-- netem's words for what impairs a direction, in the order tc(8) takes them.
local function netem(t)
  local out = { "netem" }
  local function put(...)
    for _, word in ipairs { ... } do
      out[#out + 1] = tostring(word)
    end
  end
  local function value(word)
    return text.value(word, t[word])
  end
  if t.limit then
    put("limit", t.limit)
  end
  if t.delay then
    put("delay", value "delay")
    if t.jitter then
      put(value "jitter")
      if t.correlation then
        put(value "correlation")
      end
      if t.distribution and t.distribution ~= "uniform" then
        put("distribution", t.distribution)
      end
    end
  end
  for _, word in ipairs { "loss", "corrupt", "duplicate", "reorder" } do
    if type(t[word]) == "table" then -- P [R [1-H [1-K]]], which tc(8) takes by their places
      local g = t[word].gemodel
      put(word, "gemodel")
      for _, chance in ipairs { g.p, g.r or 1 - g.p, 1 - (g.h or 0), 1 - (g.k or 1) } do
        put(text.value(word, chance))
      end
    elseif t[word] and word ~= "reorder" or t.reorder and word == "reorder" and t.delay then
      put(word, value(word))
      if t[word .. "_correlation"] then
        put(value(word .. "_correlation"))
      end
    end
  end
  if t.rate then
    put("rate", value "rate")
  end
  return table.concat(out, " ")
end

---The script. Namespaces are called as the nodes are, behind `prefix`; `sh FILE` builds, the last lines say how to take it down.
---@param topology nslua.lab.Topology
---@param plan nslua.lab.Plan
---@param settings fun(node: nslua.lab.PlanNode): { [1]: string, [2]: string }[]  name and value of its sysctls
---@param options? { prefix: string }
---@return string
function M.script(topology, plan, settings, options)
  local prefix = options and options.prefix or ""
  local lines = { "#!/bin/sh", "# The network of this lab:" }
  for line in text.of(topology):gmatch "[^\n]+" do
    lines[#lines + 1] = "#   " .. line
  end
  lines[#lines + 1] = "set -e"
  local function add(format, ...)
    lines[#lines + 1] = format:format(...)
  end
  local function name(node)
    return quote(prefix .. node)
  end
  for _, node in ipairs(plan.nodes) do
    if node.container or node.existing then
      errors.misuse("lab.to_shell: %s was there before the lab: a script cannot make it again", node.name)
    elseif node.macvlan or node.wire then
      errors.misuse("lab.to_shell: %s has a device on %s, a link of this machine", node.name, node.macvlan or node.wire)
    end
    add("ip netns add %s", name(node.name))
    for _, setting in ipairs(settings(node)) do
      local flags = setting[1]:find "^net/bridge/" and "-eqw" or "-qw" -- there only where br_netfilter is loaded
      add("ip netns exec %s sysctl %s %s", name(node.name), flags, quote(setting[1] .. "=" .. setting[2]))
    end
  end
  for _, node in ipairs(plan.nodes) do
    if node.kind == "switch" then
      local loop = plan:in_ring(node.name)
      add("ip -n %s link add name %s up type bridge forward_delay 0 stp_state %d mcast_snooping 0%s", name(node.name), quote(node.bridge),
        loop and 1 or 0, node.vlan_filtering and " vlan_filtering 1" or "")
    end
  end
  local function add_link(link, side)
    local near, far = link.ends[side], link.ends[3 - side]
    local function words(at)
      return ("address %s%s"):format(at.lladdr, at.mtu and " mtu " .. at.mtu or "")
    end
    add("ip -n %s link add name %s %s type veth peer name %s %s netns %s", name(near.node), quote(near.dev), words(near), quote(far.dev), words(far),
      name(far.node))
  end
  -- in the order of build.lua, so that indexes are the same
  for _, node in ipairs(plan.nodes) do
    for _, link in ipairs(plan.links) do
      local side = plan:maker(link.index)
      if side and link.nodes[side] == node then
        add_link(link, side)
      end
    end
  end
  for _, link in ipairs(plan.links) do
    if link.impaired then
      add_link(link, 1)
    end
  end
  for _, link in ipairs(plan.links) do
    for side, at in ipairs(link.vxlan and link.ends or {}) do
      local here, there = link.tunnel[side], link.tunnel[3 - side]
      add("ip -n %s link add name %s address %s mtu %d netns %s type vxlan id %d local %s remote %s dstport %d", name(here.node), quote(at.dev),
        at.lladdr, at.mtu, name(at.node), link.vxlan, here.address, there.address, overlay.PORT)
    end
  end
  for i, link in ipairs(topology.links) do
    for side, way in ipairs { "to", "from" } do
      if link[way] then
        local at = plan.links[i].ends[side]
        add("tc -n %s qdisc add dev %s root %s", name(at.node), quote(at.dev), netem(link[way]))
      end
    end
  end
  for _, node in ipairs(plan.nodes) do
    add("ip -n %s link set lo up", name(node.name))
    for _, address in ipairs(node.loopback) do
      add("ip -n %s address add %s dev lo", name(node.name), address)
    end
    for _, interface in ipairs(node.interfaces) do
      if interface.parent then
        add("ip -n %s link add link %s name %s type vlan id %d", name(node.name), quote(interface.parent.dev), quote(interface.dev), interface.vlan)
      end
      for _, address in ipairs(interface.addresses) do
        add("ip -n %s address add %s dev %s%s", name(node.name), address, quote(interface.dev), address:find(":", 1, true) and " nodad" or "")
      end
      add("ip -n %s link set %s up", name(node.name), quote(interface.dev))
    end
    for _, port in ipairs(node.ports or {}) do
      add("ip -n %s link set %s master %s up", name(node.name), quote(port.dev), quote(node.bridge))
      if node.vlan_filtering and port.vlan ~= 1 then
        add("bridge -n %s vlan del dev %s vid 1", name(node.name), quote(port.dev))
        if port.vlan then
          add("bridge -n %s vlan add dev %s vid %d pvid untagged", name(node.name), quote(port.dev), port.vlan)
        end
      end
      for _, id in ipairs(port.trunk or {}) do
        if id ~= port.vlan then
          add("bridge -n %s vlan add dev %s vid %d", name(node.name), quote(port.dev), id)
        end
      end
    end
  end
  for _, node in ipairs(plan.nodes) do
    for _, route in ipairs(node.kind ~= "switch" and plan:routes(node.name) or {}) do
      local words = { route[1], route.via and "via " .. route.via or "", route.dev and "dev " .. quote(route.dev) or "" }
      for _, hop in ipairs(route.nexthops or {}) do
        words[#words + 1] = ("nexthop via %s dev %s"):format(hop.via, quote(hop.dev))
      end
      local six = (route.via or route.nexthops and route.nexthops[1].via or route[1]):find(":", 1, true)
      add("ip -n %s %sroute add %s", name(node.name), six and "-6 " or "", (table.concat(words, " "):gsub("%s+", " "):gsub("%s$", "")))
    end
  end
  lines[#lines + 1] = "# to take it down:"
  for _, node in ipairs(plan.nodes) do
    add("#   ip netns delete %s", name(node.name))
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
