-- Segments: what shares a wire, as far as broadcasts go. A link is one; switches merge theirs, each VLAN by itself.

local errors = require "nslua.error"

local M = {}

---@class nslua.lab.Segment
---@field number integer       from 1, in the order of the first link of each
---@field name string          that of its first link that has one, else "h1--r1", "(sw)", "(sw) vlan 10"
---@field members nslua.lab.Interface[]  in the order of the links
---@field switches string[]    names
---@field vlan integer?        its VLAN on the first of them, where that is not 1
---@field inet string?         "10.0.1.0/24"
---@field inet6 string?        "fd00:1::/64"
---@field loop boolean?        its switches are linked in a ring: without STP a broadcast never ends there
---@field unnumbered boolean?  a link says subnet = false: nobody gets an address

local DEFAULT_VLAN = 1 -- of a port that says nothing, as in a bridge: linux/if_bridge.h, IFLA_BR_VLAN_DEFAULT_PVID
local LAST_VLAN = 4094

local function list(value)
  return type(value) == "table" and value or { value }
end

-- Checked VLANs of one end, none of them twice.
local function vlans(where, values)
  local seen = {}
  for i, vlan in ipairs(values) do
    if math.type(vlan) ~= "integer" or vlan < 1 or vlan > LAST_VLAN then
      errors.misuse("lab: %s: a VLAN is a number from 1 to %d, got %s", where, LAST_VLAN, tostring(vlan))
    elseif seen[vlan] then
      errors.misuse("lab: %s: VLAN %d twice", where, vlan)
    end
    seen[vlan], values[i] = true, vlan
  end
  return values
end

-- What an end says: the VLAN of its untagged frames, where it says one, and those it tags.
local function words_of(link, side)
  local at, node, peer = link.words[side], link.nodes[side], link.nodes[3 - side]
  local where = ("%s, towards %s"):format(node.name, peer.name)
  if node.kind == "switch" then
    if type(at.vlan) == "table" then
      errors.misuse("lab: %s: a port has one untagged VLAN; the tagged ones are written trunk = { ... }", where)
    end
    local trunk = { table.unpack(at.trunk or {}) }
    vlans(where, { at.vlan, table.unpack(trunk) })
    return { untagged = at.vlan, tags = trunk, silent = at.vlan == nil and at.trunk == nil }
  end
  local tags = { table.unpack(list(at.vlan)) }
  table.move(at.trunk or {}, 1, #(at.trunk or {}), #tags + 1, tags)
  return { tags = vlans(where, tags), silent = #tags == 0 }
end

-- A switch's end that says nothing follows the other end's tags. What does not come to an end of a host is told.
local function agree(link, words)
  for side = 1, 2 do
    local mine, theirs = words[side], words[3 - side]
    if link.nodes[side].kind == "switch" and mine.silent then
      if #theirs.tags > 0 then
        mine.tags = theirs.tags
      else
        mine.untagged = DEFAULT_VLAN
      end
    end
  end
  for side = 1, 2 do
    if link.nodes[side].kind ~= "switch" then
      local carried = {}
      for _, vlan in ipairs(words[3 - side].tags) do
        carried[vlan] = true
      end
      for _, vlan in ipairs(words[side].tags) do
        if not carried[vlan] then
          errors.misuse("lab: %s tags VLAN %d towards %s, which does not take it", link.nodes[side].name, vlan, link.nodes[3 - side].name)
        end
      end
    end
  end
end

-- Union-find over integers.
local function find(parents, v)
  while parents[v] ~= v do
    parents[v] = parents[parents[v]]
    v = parents[v]
  end
  return v
end

local function union(graph, a, b)
  local x, y = find(graph.parents, a), find(graph.parents, b)
  graph.parents[x] = y
  if x == y then -- two switches: every other vertex is new
    graph.loops[#graph.loops + 1] = a
  end
end

-- The vertices of one link's end: `untagged`, and by tag; the VLANs of a switch are vertices of their own, each tag of a host's is one.
local function vertices_of(graph, node, words, direct)
  local out = { tags = {} }
  local function vertex(vlan)
    local known = graph.switch[node]
    local v = known and known[vlan]
    if not v then
      v = #graph.parents + 1
      graph.parents[v], graph.vlan[v] = v, vlan
      graph.node[v] = known and node
      if known then
        known[vlan] = v
      end
    end
    return v
  end
  if node.kind == "switch" then
    out.untagged = words.untagged and vertex(words.untagged)
  elseif not (direct and #words.tags > 0) then -- two that tag have nothing to say without a tag
    out.untagged = vertex(0)
  end
  for _, vlan in ipairs(words.tags) do
    out.tags[vlan] = vertex(vlan)
  end
  return out
end

-- The segment of a vertex: made when it is first asked for, so that they are numbered in the order of the links.
local function segment_of(plan, graph, v, link)
  local root = find(graph.parents, v)
  local segment = graph.segment[root]
  if not segment then
    local switch = graph.node[v]
    local name = ("%s--%s"):format(link.nodes[1].name, link.nodes[2].name)
    segment = { number = #plan.segments + 1, members = {}, switches = {} }
    local vlan = graph.vlan[v]
    if switch then
      segment.vlan = vlan ~= DEFAULT_VLAN and vlan or nil
      name = "(" .. switch.name .. ")"
    elseif vlan ~= 0 then
      segment.vlan = vlan
    end
    segment.name = segment.vlan and ("%s vlan %d"):format(name, segment.vlan) or name
    plan.segments[segment.number], graph.segment[root] = segment, segment
    graph.switches[segment] = {}
  end
  local switch = graph.node[v]
  if switch and not graph.switches[segment][switch] then
    graph.switches[segment][switch] = true
    segment.switches[#segment.switches + 1] = switch.name
  end
  return segment
end

-- Hosts' interfaces enter the segments of their link; the devices of VLANs are made.
local function settle(plan, graph, link, vertices, tags)
  local carried = { vertices[1].untagged and vertices[2].untagged and 0 }
  for _, vlan in ipairs(tags) do
    carried[#carried + 1] = vertices[2].tags[vlan] and vlan
  end
  local switched = link.nodes[1].kind == "switch" or link.nodes[2].kind == "switch"
  for _, vlan in ipairs(carried) do
    local segment
    for side = 1, 2 do
      if not switched or link.nodes[side].kind == "switch" then -- a switch's vertex gives the segment its name
        segment = segment_of(plan, graph, vlan == 0 and vertices[side].untagged or vertices[side].tags[vlan], link)
      end
    end
    if link.name and #carried == 1 and not graph.named[segment] then
      segment.name, graph.named[segment] = link.name, true
    end
    link.segments[#link.segments + 1] = segment
    for side, at in ipairs(link.ends) do
      local node = link.nodes[side]
      if node.kind ~= "switch" then
        local interface = at
        if vlan ~= 0 then
          interface = { node = at.node, link = at.link, side = side, peer = at.peer, addresses = {}, parent = at, vlan = vlan, mtu = at.mtu,
            lladdr = at.lladdr, cost = at.cost }
          node.interfaces[#node.interfaces + 1] = interface
        end
        interface.segment = segment
        segment.members[#segment.members + 1] = interface
        link.interfaces[side][#link.interfaces[side] + 1] = interface
      end
    end
  end
end

---Find the segments of a plan's links: fills `plan.segments`, and of interfaces and ports what has to do with VLANs.
---@param plan nslua.lab.Plan
function M.find(plan)
  local graph = { parents = {}, vlan = {}, node = {}, switch = {}, segment = {}, switches = {}, named = {}, loops = {} }
  for _, node in ipairs(plan.nodes) do
    if node.kind == "switch" then
      graph.switch[node] = {}
    end
  end
  local words, vertices = {}, {}
  for i, link in ipairs(plan.links) do
    words[i] = { words_of(link, 1), words_of(link, 2) }
    agree(link, words[i])
    local direct = link.nodes[1].kind ~= "switch" and link.nodes[2].kind ~= "switch"
    local a = vertices_of(graph, link.nodes[1], words[i][1], direct)
    local b = vertices_of(graph, link.nodes[2], words[i][2], direct)
    vertices[i] = { a, b }
    if a.untagged and b.untagged then
      union(graph, a.untagged, b.untagged)
    end
    for vlan, v in pairs(a.tags) do
      if b.tags[vlan] then
        union(graph, v, b.tags[vlan])
      end
    end
    for side, at in ipairs(link.ends) do
      local node = link.nodes[side]
      if node.kind == "switch" then
        local said = words[i][side]
        node.vlan_filtering = node.vlan_filtering or said.untagged ~= DEFAULT_VLAN or #said.tags > 0
        at.vlan, at.trunk = said.untagged, #said.tags > 0 and said.tags or nil
      end
    end
  end
  for i, link in ipairs(plan.links) do
    settle(plan, graph, link, vertices[i], words[i][1].tags)
  end
  for _, v in ipairs(graph.loops) do
    graph.segment[find(graph.parents, v)].loop = true
  end
end

return M
