-- A map as a graph: nodes are namespaces and their bridges, edges what leads from one to another. For Graphviz, for Mermaid, and for the SVG.

local outline = require "nslua.inspect.map.outline"
local plain = require("nslua.draw").plain

local M = {}

---@class nslua.map.Node
---@field name string      of the graph: no one sees it
---@field title string
---@field lines string[]   below it
---@field kind "host"|"container"|"lab"|"namespace"|"bridge"
---@field space nslua.map.Namespace
---@field leaf boolean?

local function kind_of(space)
  return space.host and "host" or space.lab and "lab" or space.containers[1] and "container" or "namespace"
end

---@param map nslua.Map
---@return { nodes: nslua.map.Node[], links: table[] }  links: { a, b, label =, down =, tunnel = } by names of nodes
---@return nslua.map.Outline
function M.of(map)
  local plan, nodes, links, node_of = outline.of(map), {}, {}, {}
  local alone = {}
  for _, space in ipairs(plan.alone) do
    alone[space] = true
  end
  for _, space in ipairs(map.namespaces) do
    if not alone[space] then
      local node = { name = ("n%d"):format(space.inode), title = space.title, lines = {}, kind = kind_of(space), space = space,
        leaf = plan.leaf[space] }
      nodes[#nodes + 1], node_of[space.inode] = node, {}
      local ports, rest = outline.ports(space, function(each)
        return each.peer and each.peer.title or "~"
      end)
      local switch = #rest == 1 and rest[1].kind == "bridge" and not outline.addresses(rest[1])[1] -- nothing but that
      node.kind = switch and "bridge" or node.kind
      for _, each in ipairs(space.links) do
        local text = table.concat(outline.addresses(each), " ")
        if switch and each == rest[1] then
          for _, port in ipairs(ports[each.index] or {}) do
            node_of[space.inode][port.index] = node
          end
        elseif each.kind == "bridge" and not outline.usual(each) then
          local bridge = { name = ("n%d_%d"):format(space.inode, each.index), title = each.name, lines = { text ~= "" and text or nil },
            kind = "bridge", space = space }
          nodes[#nodes + 1], node_of[space.inode][each.index] = bridge, bridge
          links[#links + 1] = { node.name, bridge.name, down = not each.up }
          for _, port in ipairs(ports[each.index] or {}) do
            node_of[space.inode][port.index] = bridge
            if not port.peer and not port.lower then
              table.insert(bridge.lines, port.name .. (port.tunnel and " " .. port.kind .. (port.tunnel.id and " " .. port.tunnel.id or "") or ""))
            end
          end
        elseif not outline.usual(each) and not (each.master and text == "") then
          local down = not each.up and " down" or ""
          local what = each.tunnel and " " .. each.kind .. (each.tunnel.id and (" %d"):format(each.tunnel.id) or "") or ""
          table.insert(node.lines, each.name .. what .. (text ~= "" and " " .. text or "") .. down)
        end
        node_of[space.inode][each.index] = node_of[space.inode][each.index] or node
      end
    end
  end
  local first, last = {}, {}
  for _, node in ipairs(nodes) do -- a tree begins with what others hang on
    table.insert(node.leaf and last or first, node)
  end
  nodes = table.move(last, 1, #last, #first + 1, first)
  for _, wire in ipairs(map.wires) do
    local a, b = wire.ends[1], wire.ends[2]
    local one, other = node_of[a.netns] and node_of[a.netns][a.index], b.netns and node_of[b.netns] and node_of[b.netns][b.index]
    if one and other and one ~= other then
      local label = wire.kind ~= "veth" and wire.kind or nil
      links[#links + 1] = { one.name, other.name, down = not wire.up, label = label, ends = { a.link, b.link },
        tunnel = wire.kind ~= "veth" and wire.kind ~= "netkit" }
    end
  end
  return { nodes = nodes, links = links }, plan
end

local function dot_text(text)
  return (plain.text(text):gsub('[\\"]', "\\%0"))
end

---@param map nslua.Map
---@return string
function M.dot(map)
  local graph, plan = M.of(map)
  local out = { "graph map {", "  node [shape=box, fontname=sans]; edge [fontname=sans, fontsize=10];" }
  for _, node in ipairs(graph.nodes) do
    local words = { dot_text(node.title) }
    for _, line in ipairs(node.lines) do
      words[#words + 1] = dot_text(line)
    end
    out[#out + 1] = ('  %s [label="%s"%s];'):format(node.name, table.concat(words, "\\n"), node.kind == "bridge" and ", shape=ellipse" or "")
  end
  for _, space in ipairs(plan.alone) do
    out[#out + 1] = ('  n%d [label="%s"];'):format(space.inode, dot_text(space.title))
  end
  for _, link in ipairs(graph.links) do
    local words = {}
    if link.label then
      words[1] = ('label="%s"'):format(dot_text(link.label))
    end
    words[#words + 1] = (link.down or link.tunnel) and "style=dashed" or nil
    out[#out + 1] = ("  %s -- %s%s;"):format(link[1], link[2], words[1] and " [" .. table.concat(words, ", ") .. "]" or "")
  end
  out[#out + 1] = "}\n"
  return table.concat(out, "\n")
end

local function mermaid_text(text)
  return (plain.text(text):gsub("[^%w %.:/%[%]()_%-\x80-\xff]", function(c)
    return ("#%d;"):format(c:byte())
  end))
end

---@param map nslua.Map
---@return string
function M.mermaid(map)
  local graph, plan = M.of(map)
  local out = { "flowchart LR" }
  for _, node in ipairs(graph.nodes) do
    local words = { mermaid_text(node.title) }
    for _, line in ipairs(node.lines) do
      words[#words + 1] = mermaid_text(line)
    end
    local text = table.concat(words, "<br/>")
    out[#out + 1] = (node.kind == "bridge" and '  %s(["%s"])' or '  %s["%s"]'):format(node.name, text)
  end
  for _, space in ipairs(plan.alone) do
    out[#out + 1] = ('  n%d["%s"]'):format(space.inode, mermaid_text(space.title))
  end
  for _, link in ipairs(graph.links) do
    local line = (link.down or link.tunnel) and "-.-" or "---"
    out[#out + 1] = ("  %s %s%s %s"):format(link[1], line, link.label and ("|%s|"):format(mermaid_text(link.label)) or "", link[2])
  end
  return table.concat(out, "\n") .. "\n"
end

return M
