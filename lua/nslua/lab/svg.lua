-- A lab as SVG: one file, readable in light and dark.

local agenda = require "nslua.lab.agenda"
local layout = require("nslua.draw").layout
local svg = require("nslua.draw").svg
local text = require "nslua.lab.text"

local M = {}

local NAME, SMALL = 8.4, 6.7            -- the widest that a letter usually is, in either size
local LINE, HEAD, PAD = 14, 30, 12      -- heights of a small line and of a name; beside a text
local MOST = 5                          -- addresses of a node that are shown

local styles = svg.styles([[
.impaired { stroke-width: 2.6px }
.down { stroke: $bad; stroke-dasharray: 5 4 }
.bad { fill: $bad }
.host { fill: $host }
.router { fill: $router }
.switch { fill: $switch }
.node { stroke: $line; stroke-width: 1.2px }
.there { stroke-dasharray: 4 3 }
]], { host = "#e3f0fb", router = "#e0f2e3", switch = "#f9eed9" }, { host = "#1d3a52", router = "#1f4428", switch = "#4a3b1b" })

local function width(lines, each)
  local most = 0
  for _, line in ipairs(lines) do
    most = math.max(most, (utf8.len(line) or #line) * each)
  end
  return most
end

-- Hosts are boxes, routers are round, switches have their corners cut.
local function shape(kind, box, there)
  local x, y = box.x - box.w / 2, box.y - box.h / 2
  if kind == "switch" then
    local cut, right, bottom = 7, x + box.w, y + box.h
    return ('<path class="node switch%s" d="M%.1f %.1f H%.1f L%.1f %.1f V%.1f L%.1f %.1f H%.1f L%.1f %.1f V%.1f Z"/>'):format(there, x + cut, y,
      right - cut,
      right, y + cut, bottom - cut, right - cut, bottom, x + cut, x, bottom - cut, y + cut)
  end
  return ('<rect class="node %s%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%d"/>'):format(kind, there, x, y, box.w, box.h,
    kind == "router" and 15 or 4)
end

local function addresses_of(node, options)
  local planned = options.plan and options.addresses and options.plan.node[node.name]
  local out = {}
  for _, interface in ipairs(planned and planned.interfaces or {}) do
    out[#out + 1] = interface.inet or interface.inet6
  end
  local more = #out - MOST + 1
  if more > 1 then
    out = table.move(out, 1, MOST - 1, 1, { [MOST] = ("and %d more"):format(more) })
  end
  return out
end

local function label_of(link, i, options)
  local lines, items = { link.name ~= "" and link.name or nil }, text.items(link)
  lines[#lines + 1] = items[1] and table.concat(items, ", ") or nil
  for _, line in ipairs(agenda.texts(options.agenda and options.agenda[i])) do
    lines[#lines + 1] = line
  end
  local segment = options.plan and options.addresses ~= false and options.plan.links[i].segments[1]
  if segment and not segment.vlan and #segment.switches == 0 then
    lines[#lines + 1] = segment.inet or segment.inet6
  end
  if options.down and options.down[i] then
    lines[#lines + 1] = "down"
  end
  return lines, items[1] ~= nil
end

---@param topology nslua.lab.Topology
---@param options? { plan: nslua.lab.Plan, down: table<integer, true>, addresses: boolean, title: string }
---@return string
function M.draw(topology, options)
  options = options or {}
  local boxes, labels, lines_of, impaired = {}, {}, {}, {}
  for _, node in ipairs(topology.nodes) do
    local lines = addresses_of(node, options)
    lines_of[node.name] = lines
    boxes[node.name] = { w = math.max(44, width({ node.name }, NAME) + 2 * PAD, width(lines, SMALL) + 2 * PAD), h = HEAD + #lines * LINE }
  end
  for i, link in ipairs(topology.links) do
    local lines
    lines, impaired[i] = label_of(link, i, options)
    lines_of[i] = lines
    labels[i] = lines[1] and { w = width(lines, SMALL) + 6, h = #lines * LINE + 2 } or nil
  end
  local parts, w, h = layout.of(topology, boxes, labels)
  local out, add = svg.open(w, h, options.title or "network of a lab", styles)
  for _, part in ipairs(parts) do
    add('<g transform="translate(%.1f %.1f)">', part.dx, part.dy)
    for i in ipairs(topology.links) do
      local path = part.paths[i]
      if path then
        add('<path class="link%s%s" d="%s"/>', impaired[i] and " impaired" or "", options.down and options.down[i] and " down" or "", path.d)
      end
    end
    add "</g>"
  end
  for i in ipairs(topology.links) do
    local label, lines = labels[i], lines_of[i]
    if label then
      add('<rect class="plate" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3"/>', label.x - label.w / 2, label.y - label.h / 2, label.w, label.h)
    end
    for k, line in ipairs(lines) do
      local class = k == #lines and options.down and options.down[i] and "small bad" or "small"
      add('<text class="%s" x="%.1f" y="%.1f">%s</text>', class, label.x, label.y + 4 + (k - (#lines + 1) / 2) * LINE, svg.escape(line))
    end
  end
  for _, node in ipairs(topology.nodes) do
    local box, lines = boxes[node.name], lines_of[node.name]
    local top = box.y - box.h / 2
    add("%s", shape(node.kind, box, (node.container or node.bridge) and " there" or "")) -- what is not the lab's own has a broken line
    add('<text class="name" x="%.1f" y="%.1f">%s</text>', box.x, top + HEAD / 2 + 4.5, svg.escape(node.name))
    for k, line in ipairs(lines) do
      add('<text class="small" x="%.1f" y="%.1f">%s</text>', box.x, top + HEAD + (k - 1) * LINE + 5, svg.escape(line))
    end
  end
  return svg.close(out)
end

return M
