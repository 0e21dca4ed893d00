-- A lab for other tools: DOT of Graphviz, Mermaid, JSON.

local agenda = require "nslua.lab.agenda"
local plain = require("nslua.draw").plain
local schema = require "nslua.schema"
local text = require "nslua.lab.text"

local M = {}

local function quote(s)
  return '"' .. plain.text(s):gsub('[\\"]', "\\%0") .. '"'
end

local shapes = { host = "box, style=rounded", router = "ellipse", switch = "box" }

local function words(link, list)
  local out = text.items(link)
  if link.name then
    table.insert(out, 1, link.name)
  end
  local later = agenda.texts(list)
  table.insert(later, 1, out[1] and table.concat(out, ", "))
  return table.concat(later, "; ")
end

---graphviz.org, the DOT language.
---@param topology nslua.lab.Topology
---@param options? { down: table<integer, true>, agenda: table<integer, nslua.lab.Entry[]> }
---@return string
function M.dot(topology, options)
  local out = { "graph lab {", "  node [fontname=\"sans-serif\"]; edge [fontname=\"sans-serif\", fontsize=10];" }
  for _, node in ipairs(topology.nodes) do
    out[#out + 1] = ("  %s [shape=%s];"):format(quote(node.name), shapes[node.kind])
  end
  for i, link in ipairs(topology.links) do
    local about, more = words(link, options and options.agenda and options.agenda[i]), {}
    more[1] = about ~= "" and "label=" .. quote(about) or nil
    more[#more + 1] = options and options.down and options.down[i] and "style=dashed" or nil
    out[#out + 1] = ("  %s -- %s%s;"):format(quote(link[1]), quote(link[2]), more[1] and " [" .. table.concat(more, ", ") .. "]" or "")
  end
  return table.concat(out, "\n") .. "\n}\n"
end

local brackets = { host = { "(", ")" }, router = { "((", "))" }, switch = { "[", "]" } }

-- What Mermaid takes in a text between quotes: entities by number.
local function entity(s)
  return '"' .. plain.text(s):gsub('["#;&<>`\\]', function(c)
    return ("#%d;"):format(c:byte())
  end) .. '"'
end

---mermaid.js.org, flowchart.
---@param topology nslua.lab.Topology
---@param options? { agenda: table<integer, nslua.lab.Entry[]> }
---@return string
function M.mermaid(topology, options)
  local out, id = { "flowchart LR" }, {}
  for i, node in ipairs(topology.nodes) do
    id[node.name] = "n" .. i
    local b = brackets[node.kind]
    out[#out + 1] = ("  n%d%s%s%s"):format(i, b[1], entity(node.name), b[2])
  end
  for i, link in ipairs(topology.links) do
    local about = words(link, options and options.agenda and options.agenda[i])
    out[#out + 1] = ("  %s ---%s %s"):format(id[link[1]], about ~= "" and "|" .. entity(about) .. "|" or "", id[link[2]])
  end
  return table.concat(out, "\n") .. "\n"
end

---Nodes with their addresses, links with what impairs them.
---@param topology nslua.lab.Topology
---@param plan nslua.lab.Plan
---@param options? { down: table<integer, true>, agenda: table<integer, nslua.lab.Entry[]> }
---@return string
function M.json(topology, plan, options)
  local out = { nodes = {}, links = {} }
  for i, node in ipairs(plan.nodes) do
    local interfaces = {}
    for k, interface in ipairs(node.interfaces) do
      interfaces[k] = { dev = interface.dev, addresses = interface.addresses, peer = interface.peer, address = interface.lladdr }
    end
    out.nodes[i] = { name = node.name, kind = node.kind, interfaces = interfaces, container = node.container, bridge = node.existing,
      macvlan = node.macvlan, wire = node.wire }
  end
  for i, link in ipairs(topology.links) do
    local ends, subnets = {}, {}
    for side, at in ipairs(plan.links[i].ends) do
      ends[side] = { node = at.node, dev = at.dev }
    end
    for _, segment in ipairs(plan.links[i].segments) do
      subnets[#subnets + 1] = segment.inet
      subnets[#subnets + 1] = segment.inet6
    end
    out.links[i] = { name = link.name, ends = ends, to = link.to, from = link.from, mtu = link.mtu, vxlan = link.vxlan,
      via = plan.links[i].tunnel and { plan.links[i].tunnel[1].node, plan.links[i].tunnel[2].node } or nil, subnets = subnets,
      schedule = agenda.data(options and options.agenda and options.agenda[i]), down = options and options.down and options.down[i] or false }
  end
  return schema.json(out) .. "\n"
end

return M
