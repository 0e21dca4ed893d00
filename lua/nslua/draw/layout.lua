-- Where the nodes, links and labels of a drawing stand, in pixels: trees from left to right, long chains in rows that turn, all else by layers
-- (layoutnet.lua). The same for the same topology each time.

local net = require "nslua.draw.layoutnet"

local M = {}

---@class nslua.draw.Box
---@field x number  of its middle
---@field y number
---@field w number
---@field h number

---@class nslua.draw.Path  from one end to the other
---@field d string          as SVG's <path> has it
---@field label? nslua.draw.Box
---@field bends? nslua.draw.Box[]  where it is outside of the line between the two

---@class nslua.draw.Part  nodes that hang together
---@field members nslua.draw.Box[]     in the order of the topology
---@field near integer[][]            neighbours of each, by number, each once
---@field links { [1]: integer, [2]: integer, index: integer, nth: integer, of: integer }[]  numbers of its ends; the nth of so many between these two
---@field label table<integer, nslua.draw.Box>  by the link's number in the topology
---@field paths table<integer, nslua.draw.Path>  by the same
---@field dx? number            what is still to be added to the places in paths; boxes and labels are where they belong
---@field dy? number

local GAP = 14          -- between nodes that stand above each other
local CURVE = 46        -- what a link has at least besides its label
local BESIDE = 10       -- between a label and the node it stands before
local WIDEST = 1200     -- a chain that is longer turns
local APART = 44        -- between networks that do not hang together

-- What hangs together, each with its own numbers.
local function parts_of(topology, boxes, labels)
  local near, links_of, index = {}, {}, {}
  for i, node in ipairs(topology.nodes) do
    index[node.name], near[i], links_of[i] = i, {}, {}
  end
  for i, link in ipairs(topology.links) do
    local a, b = index[link[1]], index[link[2]]
    table.insert(near[a], b)
    table.insert(near[b], a)
    table.insert(links_of[a], i)
  end
  local seen, out = {}, {}
  for first = 1, #topology.nodes do
    if not seen[first] then
      local queue, at = { first }, 1
      seen[first] = true
      while queue[at] do
        for _, other in ipairs(near[queue[at]]) do
          if not seen[other] then
            seen[other] = true
            queue[#queue + 1] = other
          end
        end
        at = at + 1
      end
      table.sort(queue)
      local part = { members = {}, near = {}, links = {}, label = labels, paths = {} }
      local number, count, list = {}, {}, {}
      for k, i in ipairs(queue) do
        number[i], part.members[k], part.near[k] = k, boxes[topology.nodes[i].name], {}
        table.move(links_of[i], 1, #links_of[i], #list + 1, list)
      end
      table.sort(list)
      for _, i in ipairs(list) do
        local a, b = number[index[topology.links[i][1]]], number[index[topology.links[i][2]]]
        local key = math.min(a, b) * 1000000 + math.max(a, b)
        count[key] = (count[key] or 0) + 1
        if count[key] == 1 then
          table.insert(part.near[a], b)
          table.insert(part.near[b], a)
          part.pairs = (part.pairs or 0) + 1
        end
        part.links[#part.links + 1] = { a, b, index = i, nth = count[key], key = key }
      end
      for _, link in ipairs(part.links) do
        link.of = count[link.key]
      end
      out[#out + 1] = part
    end
  end
  return out
end

local function number(value)
  return ("%.1f"):format(value)
end

local function straight(part, links)
  for _, link in ipairs(links) do
    local a, b, label = part.members[link[1]], part.members[link[2]], part.label[link.index]
    part.paths[link.index] = { d = ("M%s %s L%s %s"):format(number(a.x), number(a.y), number(b.x), number(b.y)), label = label }
    if label then
      label.x, label.y = (a.x + b.x) / 2, (a.y + b.y) / 2
    end
  end
end

-- The tree from its first node on: children and parents, and all by depth.
local function children_of(part)
  local children, parent, depth, queue, at = { {} }, {}, { 1 }, { 1 }, 1
  while queue[at] do
    local i = queue[at]
    for _, other in ipairs(part.near[i]) do
      if not depth[other] then
        depth[other], parent[other], children[other] = depth[i] + 1, i, {}
        table.insert(children[i], other)
        queue[#queue + 1] = other
      end
    end
    at = at + 1
  end
  return children, parent, depth, queue
end

-- Children to the right of their parents, each label before the child, where links of one parent have come apart. Links that are not of the tree lie
-- over it.
local function tree(part)
  local children, parents, depth, order = children_of(part)
  local members, lanes, lane_height, others = part.members, {}, {}, {}
  for _, link in ipairs(part.links) do
    local child = parents[link[1]] == link[2] and link[1] or parents[link[2]] == link[1] and link[2]
    if child then
      local label = part.label[link.index]
      lanes[child] = lanes[child] or {}
      table.insert(lanes[child], link)
      lane_height[child] = math.max(lane_height[child] or 10, label and label.h + 6 or 10)
    else
      others[#others + 1] = link
    end
  end
  local own, height, width, gap = {}, {}, {}, {}
  for k = #order, 1, -1 do
    local i = order[k]
    local at, sum = depth[i], 0
    own[i] = math.max(members[i].h, #(lanes[i] or {}) * (lane_height[i] or 0)) + GAP
    for _, child in ipairs(children[i]) do
      sum = sum + height[child]
    end
    height[i] = math.max(own[i], sum)
    width[at] = math.max(width[at] or 0, members[i].w)
    for _, link in ipairs(lanes[i] or {}) do
      local label = part.label[link.index]
      gap[at] = math.max(gap[at] or CURVE, label and label.w + CURVE + 2 * BESIDE or 0)
    end
  end
  local left, top = { 0 }, { 0 }
  for at = 2, #width do
    left[at] = left[at - 1] + width[at - 1] + gap[at]
  end
  for _, i in ipairs(order) do
    local sum = 0
    for _, child in ipairs(children[i]) do
      sum = sum + height[child]
    end
    local y = top[i] + (height[i] - sum) / 2
    for _, child in ipairs(children[i]) do
      top[child] = y
      y = y + height[child]
    end
    members[i].x = left[depth[i]] + members[i].w / 2
  end
  for k = #order, 1, -1 do -- the middle of the children
    local i = order[k]
    local first, last = children[i][1], children[i][#children[i]]
    local y = first and (members[first].y + members[last].y) / 2 or top[i] + height[i] / 2
    members[i].y = math.max(top[i] + own[i] / 2, math.min(y, top[i] + height[i] - own[i] / 2))
  end
  straight(part, others)
  for child, list in pairs(lanes) do
    local to = members[child]
    for nth, link in ipairs(list) do
      local parent = parents[child]
      local from, label = members[parent], part.label[link.index]
      local lane = (nth - (#list + 1) / 2) * lane_height[child]
      local y, right = to.y + lane, left[depth[parent]] + width[depth[parent]]
      local stop = left[depth[child]] - (label and label.w + 2 * BESIDE or 6)
      local half = (right + stop) / 2
      local start = from.y + math.max(-from.h / 2 + 6, math.min(lane, from.h / 2 - 6)) * (#list > 1 and 1 or 0)
      part.paths[link.index] = { d = ("M%s %s H%s C%s %s %s %s %s %s H%s"):format(number(from.x), number(start), number(right), number(half),
        number(start), number(half), number(y), number(stop), number(y), number(to.x - to.w / 2)) }
      if label then
        label.x, label.y = left[depth[child]] - BESIDE - label.w / 2, y
        part.paths[link.index].label = label
      end
    end
  end
end

-- Members of a chain in their order, from the end that comes first; nil where it is none.
local function chain_of(part)
  local first
  for i = #part.near, 1, -1 do
    if #part.near[i] > 2 then
      return nil
    elseif #part.near[i] < 2 then
      first = i
    end
  end
  local order, seen = {}, {}
  while first do
    order[#order + 1], seen[first] = first, true
    local next_one
    for _, other in ipairs(part.near[first]) do
      next_one = not seen[other] and other or next_one
    end
    first = next_one
  end
  return #order > 0 and order or nil
end

-- Rows of a chain that is too long for one, to the right and to the left by turns.
local function rows(part, order)
  local w, h, label_w, label_h = 0, 0, 0, 0
  for _, box in ipairs(part.members) do
    w, h = math.max(w, box.w), math.max(h, box.h)
  end
  for _, link in ipairs(part.links) do
    local label = part.label[link.index]
    label_w, label_h = math.max(label_w, label and label.w or 0), math.max(label_h, label and label.h or 0)
  end
  local across, down = w + math.max(label_w + 2 * BESIDE, CURVE), h + math.max(label_h + 2 * BESIDE, CURVE)
  local most = math.max(2, math.floor(WIDEST / across))
  local count = math.ceil(#order / most)
  local each = math.ceil(#order / count) -- as full as the others
  for k, i in ipairs(order) do
    local row, column = (k - 1) // each, (k - 1) % each
    part.members[i].x = (row % 2 == 0 and column or each - 1 - column) * across
    part.members[i].y = row * down
  end
  straight(part, part.links)
end

local function length_of(part)
  local sum, label_w = 0, 0
  for _, box in ipairs(part.members) do
    sum = sum + box.w
  end
  for _, link in ipairs(part.links) do
    local label = part.label[link.index]
    label_w = label_w + math.max(CURVE, label and label.w + CURVE + 2 * BESIDE or 0)
  end
  return sum + label_w
end

-- Rows are of one size: a box that is much wider than the others would hold them far apart.
local function widest(part)
  local w = 0
  for _, box in ipairs(part.members) do
    w = math.max(w, box.w)
  end
  return w
end

local LARGE = 400 -- nodes: more are drawn as the tree that is in them

local function place(part)
  local is_tree = (part.pairs or 0) == #part.members - 1
  local chain = is_tree and #part.links == part.pairs and length_of(part) > WIDEST and widest(part) < WIDEST / 3 and chain_of(part)
  if chain then
    rows(part, chain)
  elseif is_tree or #part.members > LARGE then
    tree(part)
  else
    net.place(part)
  end
end

-- The rectangle around all of it.
local function bounds(part)
  local left, top, right, bottom = math.huge, math.huge, -math.huge, -math.huge
  local function take(box)
    left, right = math.min(left, box.x - box.w / 2), math.max(right, box.x + box.w / 2)
    top, bottom = math.min(top, box.y - box.h / 2), math.max(bottom, box.y + box.h / 2)
  end
  for _, box in ipairs(part.members) do
    take(box)
  end
  for _, path in pairs(part.paths) do
    if path.label then
      take(path.label)
    end
    for _, box in ipairs(path.bends or {}) do
      take(box)
    end
  end
  return left, top, right, bottom
end

---@param topology nslua.lab.Topology
---@param boxes table<string, nslua.draw.Box>   of every node, by name: its size; the place is put in
---@param labels table<integer, nslua.draw.Box> of links that have one, by their number
---@return nslua.draw.Part[] parts
---@return number width
---@return number height
function M.of(topology, boxes, labels)
  local parts = parts_of(topology, boxes, labels)
  local x, y, row, width = 0, 0, 0, 0
  for _, part in ipairs(parts) do
    place(part)
    local left, top, right, bottom = bounds(part)
    if x > 0 and x + right - left > WIDEST then
      x, y, row = 0, y + row + APART, 0
    end
    part.dx, part.dy = x - left, y - top
    for _, box in ipairs(part.members) do
      box.x, box.y = box.x + part.dx, box.y + part.dy
    end
    for _, path in pairs(part.paths) do
      if path.label then
        path.label.x, path.label.y = path.label.x + part.dx, path.label.y + part.dy
      end
    end
    x, row = x + right - left + APART, math.max(row, bottom - top)
    width = math.max(width, x - APART)
  end
  return parts, width, y + row
end

return M
