-- Networks with rings in them: by layers where links lead from one layer to the next (fat trees, leaves and spines), else by distances; and where
-- their labels stand. What overlaps is drawn larger.

local stress = require "nslua.draw.stress"

local M = {}

local MARGIN = 8       -- between a box and what is beside it
local BEND = 22        -- of the second link between the same two, away from the first
local GROWTH = 1.1
local ROUNDS = 24
local MANY = 100       -- nodes: with more, a label that covers another costs less than a picture that nobody can see at once

-- Distance from the ends, where every link leads to the next layer; nil where one does not, or there are no more than two.
local function layers_of(part)
  local layer, queue, at = {}, {}, 1
  for i, near in ipairs(part.near) do
    if #near == 1 then
      layer[i] = 1
      queue[#queue + 1] = i
    end
  end
  while queue[at] do
    for _, other in ipairs(part.near[queue[at]]) do
      if not layer[other] then
        layer[other] = layer[queue[at]] + 1
        queue[#queue + 1] = other
      end
    end
    at = at + 1
  end
  local list = {}
  for i, near in ipairs(part.near) do
    if not layer[i] then
      return nil
    end
    for _, other in ipairs(near) do
      if math.abs(layer[i] - layer[other]) ~= 1 then
        return nil
      end
    end
    list[layer[i]] = list[layer[i]] or {}
    table.insert(list[layer[i]], i)
  end
  return #list > 2 and list or nil
end

-- How many links cross others between two columns that stand side by side.
local function crossings(part, x, y)
  local count, between = 0, {}
  for _, link in ipairs(part.links) do
    local a, b = link[1], link[2]
    if x[a] > x[b] then
      a, b = b, a
    end
    local list = between[x[a]] or {}
    between[x[a]] = list
    for _, other in ipairs(list) do
      if (y[a] - other[1]) * (y[b] - other[2]) < 0 then
        count = count + 1
      end
    end
    list[#list + 1] = { y[a], y[b] }
  end
  return count
end

-- Layers as columns, each in the order of its neighbours' middles: the order of which fewest links cross (Sugiyama, Tagawa, Toda 1981).
local function columns(part, list)
  local x, y, most, tallest = {}, {}, 0, 0
  for _, layer in ipairs(list) do
    most = math.max(most, #layer)
  end
  local function spread(layer)
    for k, i in ipairs(layer) do
      y[i] = (k - 0.5) * most / #layer
    end
  end
  for at, layer in ipairs(list) do
    for _, i in ipairs(layer) do
      x[i] = #list - at -- the middle of the network to the left
    end
    spread(layer)
  end
  local best, best_y = crossings(part, x, y), table.move(y, 1, #y, 1, {})
  for round = 1, #part.links > 2000 and 2 or 12 do
    local from, to, step = 2, #list, 1
    if round % 2 == 0 then
      from, to, step = #list - 1, 1, -1
    end
    for at = from, to, step do
      local middle, place = {}, {}
      for k, i in ipairs(list[at]) do
        local sum, count = 0, 0
        for _, other in ipairs(part.near[i]) do
          if x[other] == #list - (at - step) then
            sum, count = sum + y[other], count + 1
          end
        end
        middle[i], place[i] = count > 0 and sum / count or y[i], k
      end
      table.sort(list[at], function(a, b)
        if math.abs(middle[a] - middle[b]) > 1e-9 then
          return middle[a] < middle[b]
        end
        return place[a] < place[b]
      end)
      spread(list[at])
    end
    local now = crossings(part, x, y)
    if now < best then
      best, best_y = now, table.move(y, 1, #y, 1, {})
    end
  end
  y = best_y
  local widest = 0
  for _, box in ipairs(part.members) do
    tallest, widest = math.max(tallest, box.h), math.max(widest, box.w)
  end
  part.in_columns = true
  return x, y, widest + 140, tallest + 2 * MARGIN
end

-- The direction in which it is longest lies flat: screens are wide. The first is to the left, as it is written.
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
  if x[1] > 0 then
    for i = 1, n do
      x[i], y[i] = -x[i], -y[i]
    end
  end
end

-- Two boxes, with room between them.
local function overlap(a, b, room)
  return math.abs(a.x - b.x) < (a.w + b.w) / 2 + room and math.abs(a.y - b.y) < (a.h + b.h) / 2 + room
end

-- Whether the straight line from a to b goes through a box (Liang, Barsky 1984).
local function through(box, ax, ay, bx, by)
  local from, to = 0, 1
  for _, each in ipairs { { ax, bx, box.x, box.w / 2 }, { ay, by, box.y, box.h / 2 } } do
    local start, step = each[1], each[2] - each[1]
    local low, high = each[3] - each[4], each[3] + each[4]
    if math.abs(step) < 1e-9 then
      if start < low or start > high then
        return false
      end
    else
      local one, two = (low - start) / step, (high - start) / step
      from, to = math.max(from, math.min(one, two)), math.min(to, math.max(one, two))
    end
  end
  return from < to
end

-- Places on a link from 0 to 1, and its path.
local function curve(part, link)
  local a, b = part.members[link[1]], part.members[link[2]]
  if part.in_columns then -- from side to side, so that no box of the same column is in its way
    local way = a.x < b.x and 0.5 or -0.5
    a, b = { x = a.x + a.w * way, y = a.y }, { x = b.x - b.w * way, y = b.y }
  end
  local dx, dy = b.x - a.x, b.y - a.y
  local length = math.max(math.sqrt(dx * dx + dy * dy), 1)
  local side = (link.nth - (link.of + 1) / 2) * 2 * BEND * (link[1] < link[2] and 1 or -1)
  local cx, cy = (a.x + b.x) / 2 - dy / length * side * 2, (a.y + b.y) / 2 + dx / length * side * 2
  local function at(t)
    local u = 1 - t
    return u * u * a.x + 2 * u * t * cx + t * t * b.x, u * u * a.y + 2 * u * t * cy + t * t * b.y
  end
  return at, ("M%.1f %.1f Q%.1f %.1f %.1f %.1f"):format(a.x, a.y, cx, cy, b.x, b.y)
end

local places = { 0.5, 0.42, 0.58, 0.36, 0.64, 0.3, 0.7, 0.25, 0.75, 0.2, 0.8 }

-- Put every label where it covers least; whether none covers a node or another label.
local function put_labels(part)
  local set, fits = {}, true
  local close = #part.links <= 150 -- with more, lines under labels are not looked for
  for _, link in ipairs(part.links) do
    local label = part.label[link.index]
    if label then
      local at = curve(part, link)
      local best, best_t = math.huge, 0.5
      for rank, t in ipairs(places) do
        label.x, label.y = at(t)
        local cost = rank * 0.01
        for _, box in ipairs(part.members) do
          cost = cost + (overlap(label, box, 2) and 1000 or 0)
        end
        for _, other in ipairs(set) do
          cost = cost + (overlap(label, other, 1) and 1000 or 0)
        end
        for _, other in ipairs(close and part.links or {}) do
          local a, b = part.members[other[1]], part.members[other[2]]
          cost = cost + (other ~= link and through(label, a.x, a.y, b.x, b.y) and 1 or 0)
        end
        if cost < best then
          best, best_t = cost, t
        end
      end
      label.x, label.y = at(best_t)
      set[#set + 1] = label
      fits = fits and best < 1000
    end
  end
  return fits
end

local function are_apart(members)
  for i, box in ipairs(members) do
    for k = 1, i - 1 do
      if overlap(box, members[k], MARGIN) then
        return false
      end
    end
  end
  return true
end

-- Push boxes that overlap off each other, the shorter way.
local function push_apart(members)
  for _ = 1, 40 do
    local pushed = false
    for i, a in ipairs(members) do
      for k = 1, i - 1 do
        local b = members[k]
        if overlap(a, b, MARGIN) then
          pushed = true
          local across = (a.w + b.w) / 2 + MARGIN - math.abs(a.x - b.x)
          local down = (a.h + b.h) / 2 + MARGIN - math.abs(a.y - b.y)
          if across < down then
            local step = (across / 2 + 0.5) * (a.x < b.x and -1 or 1)
            a.x, b.x = a.x + step, b.x - step
          else
            local step = (down / 2 + 0.5) * (a.y < b.y and -1 or 1)
            a.y, b.y = a.y + step, b.y - step
          end
        end
      end
    end
    if not pushed then
      return
    end
  end
end

---@param part nslua.draw.Part
function M.place(part)
  local list = layers_of(part)
  local x, y, across, down
  if list then
    x, y, across, down = columns(part, list)
  else
    x, y = stress.places(part.near)
    level(x, y)
    across = #part.links > part.pairs and 140 or 96
    down = across
  end
  local many = #part.members > MANY
  local rounds = many and 4 or ROUNDS
  for round = 1, rounds do
    for i, box in ipairs(part.members) do
      box.x, box.y = x[i] * across, y[i] * down
    end
    if many then
      push_apart(part.members)
    end
    if (many or round == rounds or are_apart(part.members)) and put_labels(part) then
      break
    end
    across, down = across * GROWTH, down * GROWTH
  end
  for _, link in ipairs(part.links) do
    local at, d = curve(part, link)
    local mx, my = at(0.5)
    part.paths[link.index] = { d = d, label = part.label[link.index], bends = link.of > 1 and { { x = mx, y = my, w = 4, h = 4 } } or nil }
  end
end

return M
