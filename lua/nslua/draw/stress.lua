-- Places of the nodes of a network so that each is as far from each other one as there are links between them: stress majorization (Gansner,
-- Koren, North 2004) from the plane that shows the distances best (classical scaling). Nothing is left to chance: the same network, the same places.

local M = {}

-- Distances over links between all of them, by number.
local function distances(near)
  local n, out = #near, {}
  for i = 1, n do
    local row, queue, at = { [i] = 0 }, { i }, 1
    while queue[at] do
      local k = queue[at]
      at = at + 1
      for _, other in ipairs(near[k]) do
        if not row[other] then
          row[other] = row[k] + 1
          queue[#queue + 1] = other
        end
      end
    end
    out[i] = row
  end
  return out
end

local function normal(v)
  local sum = 0
  for i = 1, #v do
    sum = sum + v[i] * v[i]
  end
  local length = math.sqrt(sum)
  for i = 1, #v do
    v[i] = length > 1e-12 and v[i] / length or 0
  end
  return length
end

-- The two directions in which the distances reach furthest, by power iteration.
local function plane(d)
  local n, means, all, b = #d, {}, 0, {}
  for i = 1, n do
    local sum = 0
    for k = 1, n do
      sum = sum + d[i][k] * d[i][k]
    end
    means[i] = sum / n
    all = all + means[i] / n
  end
  for i = 1, n do
    b[i] = {}
    for k = 1, n do
      b[i][k] = -0.5 * (d[i][k] * d[i][k] - means[i] - means[k] + all)
    end
  end
  local axes = {}
  for axis = 1, 2 do
    local v = {}
    for i = 1, n do
      v[i] = math.cos(i * (axis == 1 and 2.399963 or 1.3)) -- any that is not at right angles to what is looked for
    end
    local size = 1
    for _ = 1, 60 do
      if axis == 2 then
        local along = 0
        for i = 1, n do
          along = along + v[i] * axes[1][i]
        end
        for i = 1, n do
          v[i] = v[i] - along * axes[1][i]
        end
      end
      normal(v)
      local next_v = {}
      for i = 1, n do
        local row, sum = b[i], 0
        for k = 1, n do
          sum = sum + row[k] * v[k]
        end
        next_v[i] = sum
      end
      v = next_v
      size = normal(v)
    end
    axes[axis] = v
    v.size = math.sqrt(math.max(size, 0))
  end
  return axes
end

---@param near integer[][]  neighbours of each node, by number; all hang together
---@return number[] x  in units of a link's length
---@return number[] y
function M.places(near)
  local n, d = #near, distances(near)
  local axes, x, y = plane(d), {}, {}
  for i = 1, n do
    -- a little apart where the plane shows several in one place
    x[i] = axes[1][i] * axes[1].size + 0.05 * math.cos(i * 2.399963)
    y[i] = axes[2][i] * axes[2].size + 0.05 * math.sin(i * 2.399963)
  end
  for _ = 1, n > 150 and 40 or 150 do
    local moved = 0
    for i = 1, n do
      local row, weights, sx, sy = d[i], 0, 0, 0
      for k = 1, n do
        if k ~= i then
          local wanted = row[k]
          local weight = 1 / (wanted * wanted)
          local dx, dy = x[i] - x[k], y[i] - y[k]
          local far = wanted / math.max(math.sqrt(dx * dx + dy * dy), 1e-6)
          sx, sy = sx + weight * (x[k] + dx * far), sy + weight * (y[k] + dy * far)
          weights = weights + weight
        end
      end
      if weights > 0 then
        local nx, ny = sx / weights, sy / weights
        moved = math.max(moved, math.abs(nx - x[i]), math.abs(ny - y[i]))
        x[i], y[i] = nx, ny
      end
    end
    if moved < 1e-3 then
      break
    end
  end
  return x, y
end

return M
