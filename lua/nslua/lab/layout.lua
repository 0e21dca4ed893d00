-- Where the nodes of a drawing stand: layers by distance from the middle of the network, or a circle; the same for the same topology each time.

local M = {}

---@class nslua.lab.Place
---@field x number  0 to 1
---@field y number  0 to 1

local function neighbours_of(topology)
  local out = {}
  for _, node in ipairs(topology.nodes) do
    out[node.name] = {}
  end
  for _, link in ipairs(topology.links) do
    table.insert(out[link[1]], link[2])
    table.insert(out[link[2]], link[1])
  end
  return out
end

local function distances(near, from)
  local out, queue, at = { [from] = 0 }, { from }, 1
  while queue[at] do
    local name = queue[at]
    at = at + 1
    for _, other in ipairs(near[name]) do
      if not out[other] then
        out[other] = out[name] + 1
        queue[#queue + 1] = other
      end
    end
  end
  return out, queue
end

-- Nodes that hang together, in the order of the topology.
local function components(topology, near)
  local seen, out = {}, {}
  for _, node in ipairs(topology.nodes) do
    if not seen[node.name] then
      local _, members = distances(near, node.name)
      for _, name in ipairs(members) do
        seen[name] = true
      end
      out[#out + 1] = members
    end
  end
  return out
end

local GAP = 0.9 -- between two networks that do not hang together

-- Springs along links, everybody away from everybody: Fruchterman and Reingold, from a spiral, so that nothing is left to chance.
local function springs(members, near)
  local n = #members
  local x, y, index = {}, {}, {}
  for i, name in ipairs(members) do
    local angle, radius = i * 2.399963, math.sqrt(i / n) * math.sqrt(n)
    x[i], y[i], index[name] = radius * math.cos(angle), radius * math.sin(angle), i
  end
  local rounds = n > 200 and 60 or n > 60 and 150 or 400
  for round = 1, rounds do
    local heat = math.sqrt(n) * 0.35 * (1 - round / rounds) + 0.01
    local dx, dy = {}, {}
    for i = 1, n do
      dx[i], dy[i] = 0, 0
    end
    for i = 1, n do
      for k = i + 1, n do
        local ax, ay = x[i] - x[k], y[i] - y[k]
        local square = math.max(ax * ax + ay * ay, 0.01)
        local force = 1.6 / square
        dx[i], dy[i] = dx[i] + ax * force, dy[i] + ay * force
        dx[k], dy[k] = dx[k] - ax * force, dy[k] - ay * force
      end
    end
    for i, name in ipairs(members) do
      for _, other in ipairs(near[name]) do
        local k = index[other]
        local ax, ay = x[k] - x[i], y[k] - y[i]
        local force = math.sqrt(ax * ax + ay * ay) * 0.5
        dx[i], dy[i] = dx[i] + ax * force, dy[i] + ay * force
      end
    end
    for i = 1, n do
      local length = math.max(math.sqrt(dx[i] * dx[i] + dy[i] * dy[i]), 1e-9)
      local step = math.min(length, heat)
      x[i], y[i] = x[i] + dx[i] / length * step, y[i] + dy[i] / length * step
    end
  end
  return x, y
end

-- The direction in which it is longest lies flat: screens are wide.
local function level(x, y)
  local n, mx, my = #x, 0, 0
  for i = 1, n do
    mx, my = mx + x[i] / n, my + y[i] / n
  end
  local xx, yy, xy = 0, 0, 0
  for i = 1, n do
    local ax, ay = x[i] - mx, y[i] - my
    xx, yy, xy = xx + ax * ax, yy + ay * ay, xy + ax * ay
  end
  local angle = 0.5 * math.atan(2 * xy, xx - yy)
  local c, s = math.cos(-angle), math.sin(-angle)
  for i = 1, n do
    local ax, ay = x[i] - mx, y[i] - my
    x[i], y[i] = ax * c - ay * s, ax * s + ay * c
  end
  if n > 1 and x[1] > x[n] then -- the first to the left, as it is written
    for i = 1, n do
      x[i], y[i] = -x[i], -y[i]
    end
  end
end

local APART = 0.7 -- the least between two nodes

-- So that half of the links are no longer than 1, or where that would put nodes on each other as long as it takes, to a third of that.
local function scale(members, near, x, y)
  local index, lengths = {}, {}
  for i, name in ipairs(members) do
    index[name] = i
  end
  for i, name in ipairs(members) do
    for _, other in ipairs(near[name]) do
      local k = index[other]
      lengths[#lengths + 1] = math.sqrt((x[i] - x[k]) ^ 2 + (y[i] - y[k]) ^ 2)
    end
  end
  table.sort(lengths)
  local median, least = math.max(lengths[(#lengths + 1) // 2] or 1, 1e-6), math.huge
  for i = 1, #members do
    for k = i + 1, #members do
      least = math.min(least, (x[i] - x[k]) ^ 2 + (y[i] - y[k]) ^ 2)
    end
  end
  local by = math.max(math.min(median, math.sqrt(least) / APART), median / 3)
  for i = 1, #members do
    x[i], y[i] = x[i] / by, y[i] / by
  end
end

---Places in units of a link's length, from 0 on.
---@param topology nslua.lab.Topology
---@return table<string, nslua.lab.Place> places
---@return number width
---@return number height
function M.of(topology)
  local near = neighbours_of(topology)
  local places, top, width = {}, 0, 0
  for _, members in ipairs(components(topology, near)) do
    local x, y = springs(members, near)
    level(x, y)
    scale(members, near, x, y)
    local left, low, right, high = math.huge, math.huge, -math.huge, -math.huge
    for i = 1, #members do
      left, right, low, high = math.min(left, x[i]), math.max(right, x[i]), math.min(low, y[i]), math.max(high, y[i])
    end
    for i, name in ipairs(members) do
      places[name] = { x = x[i] - left, y = y[i] - low + top }
    end
    top = top + high - low + GAP + 1
    width = math.max(width, right - left)
  end
  return places, width, math.max(top - GAP - 1, 0)
end

return M
