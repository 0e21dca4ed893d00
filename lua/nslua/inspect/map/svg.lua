-- A map as SVG: one file, readable in light and dark. Many leaves of one bridge stand in one panel, in rows.

local graphs = require "nslua.inspect.map.graph"
local draw = require "nslua.draw"
local outline = require "nslua.inspect.map.outline"

local M = {}

local layout, plain, svg = draw.layout, draw.plain, draw.svg

local NAME, SMALL = 8.2, 6.5       -- the widest that a letter usually is, in either size
local LINE, HEAD, PAD = 14, 28, 12
local MOST = 6                     -- lines of a namespace
local MANY = 7                     -- leaves of one bridge that are drawn as a panel
local LONG = 40                    -- letters of a name
local WIDE = 1.7                   -- a panel is that much wider than high

local styles = svg.styles([[
.tunnel { stroke-dasharray: 2 4 }
.down { stroke: $bad; stroke-dasharray: 5 4 }
.box { stroke: $line; stroke-width: 1.2px }
.panel { fill: none; stroke: $line; stroke-width: 1px; stroke-dasharray: 3 3 }
.host { fill: $host }
.container { fill: $container }
.lab { fill: $lab }
.namespace { fill: $space }
.bridge { fill: $bridge }
]], { host = "#e6e1f5", container = "#e3f0fb", lab = "#e0f2e3", space = "#f1f3f5", bridge = "#f9eed9" },
  { host = "#352a55", container = "#1d3a52", lab = "#1f4428", space = "#2a323a", bridge = "#4a3b1b" })

local function short(text)
  return plain.clip(plain.text(text), LONG, "…")
end

local function size(title, lines)
  local w = plain.width(title) * NAME
  for _, line in ipairs(lines) do
    w = math.max(w, plain.width(line) * SMALL)
  end
  return { w = math.max(44, w + 2 * PAD), h = HEAD + #lines * LINE + (lines[1] and 4 or 0) }
end

-- A panel of cells: { title, line, kind, down }, all of one size, in as many columns as make it a little wider than high.
local function panel(cells, heading)
  local w, h = 60, HEAD - 2
  for _, cell in ipairs(cells) do
    w = math.max(w, plain.width(cell.title) * NAME + 2 * PAD - 4, cell.line and plain.width(cell.line) * SMALL + 2 * PAD - 4 or 0)
    h = cell.line and HEAD + LINE - 2 or h
  end
  local across = math.max(1, math.min(#cells, math.ceil(math.sqrt(#cells * WIDE * (h + 6) / (w + 6)))))
  local down = math.ceil(#cells / across)
  return { cells = cells, across = across, cell_w = w, cell_h = h, heading = heading, w = across * (w + 6) + 6, h = down * (h + 6) + 6 + LINE + 6 }
end

local function text_box(add, kind, title, lines, x, y, w, h, round)
  add('<rect class="box %s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%d"/>', kind, x, y, w, h, round)
  local top = y + (lines[1] and 0 or (h - HEAD) / 2)
  add('<text class="name" x="%.1f" y="%.1f">%s</text>', x + w / 2, top + 18.5, svg.escape(title))
  for k, line in ipairs(lines) do
    add('<text class="small" x="%.1f" y="%.1f">%s</text>', x + w / 2, top + HEAD + (k - 1) * LINE + 7, svg.escape(line))
  end
end

-- Leaves with one link, by what they hang on: those that are many go into a panel, which takes their place in the graph.
local function gather(graph, plan)
  local node_of, count, hub = {}, {}, {}
  for _, node in ipairs(graph.nodes) do
    node_of[node.name] = node
  end
  for _, link in ipairs(graph.links) do
    for side = 1, 2 do
      count[link[side]] = (count[link[side]] or 0) + 1
    end
  end
  for _, link in ipairs(graph.links) do
    for side = 1, 2 do
      local leaf, other = node_of[link[side]], link[3 - side]
      if leaf.leaf and count[leaf.name] == 1 and not link.down and not link.tunnel and not (node_of[other].leaf and count[other] == 1) then
        hub[other] = hub[other] or {}
        table.insert(hub[other], { leaf, link })
      end
    end
  end
  local gone, dropped, nodes, links = {}, {}, {}, {}
  local panels = {}
  for _, node in ipairs(graph.nodes) do
    local list = hub[node.name]
    if list and #list >= MANY then
      local cells = {}
      table.sort(list, function(a, b)
        return outline.natural(a[1].title) < outline.natural(b[1].title)
      end)
      for i, each in ipairs(list) do
        local leaf = each[1]
        gone[leaf.name], dropped[each[2]] = true, true
        cells[i] = { title = short(leaf.title), line = leaf.lines[1] and short((leaf.lines[1]:gsub("^%S+ ", ""))) or nil, kind = leaf.kind }
      end
      panels[#panels + 1] = { name = node.name .. "_leaves", panel = panel(cells, ("%d on %s"):format(#cells, short(node.title))), at = node.name }
    end
  end
  for _, node in ipairs(graph.nodes) do
    nodes[#nodes + 1] = not gone[node.name] and node or nil
  end
  for _, link in ipairs(graph.links) do
    links[#links + 1] = not dropped[link] and link or nil
  end
  for _, each in ipairs(panels) do
    nodes[#nodes + 1] = each
    links[#links + 1] = { each.at, each.name }
  end
  if plan.alone[1] then
    local cells = {}
    for i, space in ipairs(plan.alone) do
      cells[i] = { title = short(space.title), kind = space.host and "host" or space.lab and "lab" or space.containers[1] and "container"
        or "namespace" }
    end
    nodes[#nodes + 1] = { name = "alone", panel = panel(cells, ("%d with nothing but lo"):format(#cells)) }
  end
  return { nodes = nodes, links = links }
end

---@param map nslua.Map
---@param options { title: string? }
---@return string
function M.draw(map, options)
  local whole, plan = graphs.of(map)
  local graph = gather(whole, plan)
  local boxes, labels = {}, {}
  for _, node in ipairs(graph.nodes) do
    if node.panel then
      boxes[node.name] = { w = node.panel.w, h = node.panel.h }
    else
      local lines = {}
      for i, line in ipairs(node.lines) do
        lines[i] = short(line)
      end
      if #lines > MOST then
        local more = #lines - MOST + 1
        lines = table.move(lines, 1, MOST - 1, 1, { [MOST] = ("and %d more"):format(more) })
      end
      node.shown, node.heading = lines, short(node.title)
      boxes[node.name] = size(node.heading, lines)
    end
  end
  for i, link in ipairs(graph.links) do
    labels[i] = link.label and { w = plain.width(link.label) * SMALL + 6, h = LINE + 2 } or nil
  end
  local parts, w, h = layout.of(graph, boxes, labels)
  local out, add = svg.open(w, h, options.title or "network namespaces of a machine", styles)
  for _, part in ipairs(parts) do
    add('<g transform="translate(%.1f %.1f)">', part.dx, part.dy)
    for i, link in ipairs(graph.links) do
      local path = part.paths[i]
      if path then
        add('<path class="link%s%s" d="%s"/>', link.tunnel and " tunnel" or "", link.down and " down" or "", path.d)
      end
    end
    add "</g>"
  end
  for i, link in ipairs(graph.links) do
    local label = labels[i]
    if label and label.x then
      add('<rect class="plate" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3"/>', label.x - label.w / 2, label.y - label.h / 2, label.w, label.h)
      add('<text class="small" x="%.1f" y="%.1f">%s</text>', label.x, label.y + 4, svg.escape(link.label))
    end
  end
  for _, node in ipairs(graph.nodes) do
    local box = boxes[node.name]
    local x, y = box.x - box.w / 2, box.y - box.h / 2
    if node.panel then
      local p = node.panel
      add('<rect class="plate" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>', x, y, box.w, box.h)
      add('<rect class="panel" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6"/>', x, y, box.w, box.h)
      add('<text class="small" x="%.1f" y="%.1f">%s</text>', box.x, y + LINE, svg.escape(p.heading))
      for i, cell in ipairs(p.cells) do
        local column, row = (i - 1) % p.across, (i - 1) // p.across
        text_box(add, cell.kind, cell.title, { cell.line }, x + 6 + column * (p.cell_w + 6), y + LINE + 8 + row * (p.cell_h + 6), p.cell_w,
          p.cell_h, 4)
      end
    else
      text_box(add, node.kind, node.heading, node.shown, x, y, box.w, box.h, node.kind == "bridge" and 14 or 4)
    end
  end
  return svg.close(out)
end

return M
