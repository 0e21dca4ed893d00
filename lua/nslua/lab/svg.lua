-- A lab as SVG: one file, readable in light and dark.

local layout = require "nslua.lab.layout"
local text = require "nslua.lab.text"

local M = {}

local UNIT, MARGIN = 120, 60 -- pixels: length of a link, and around the picture

local function escape(s)
  -- what XML 1.0 has no character for is left out
  return (tostring(s):gsub("[%c\x7f]", ""):gsub("[&<>\"']", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&apos;" }))
end
M.escape = escape

-- Without variables: not every viewer of SVG knows them.
local function style(c)
  return ([[
.paper { fill: $paper }
text { font: 13px system-ui, sans-serif; fill: $ink; text-anchor: middle }
.name { font-weight: 600 }
.small { font-size: 11px; fill: $soft }
.halo { stroke: $paper; stroke-width: 4px; stroke-linejoin: round; paint-order: stroke }
.link { stroke: $line; stroke-width: 1.6px; fill: none }
.impaired { stroke-width: 2.6px }
.down { stroke: $bad; stroke-dasharray: 5 4 }
.host { fill: $host }
.router { fill: $router }
.switch { fill: $switch }
.node { stroke: $line; stroke-width: 1.2px }
]]):gsub("%$(%a+)", c)
end
local light = style { ink = "#1d2733", soft = "#4d5c6b", line = "#8795a5", paper = "#ffffff", host = "#e3f0fb", router = "#e0f2e3",
  switch = "#f9eed9", bad = "#c0392b" }
local dark = style { ink = "#e8edf2", soft = "#b3bfca", line = "#7b8a99", paper = "#151b21", host = "#1d3a52", router = "#1f4428",
  switch = "#4a3b1b", bad = "#ff7b6b" }
local styles = light .. "@media (prefers-color-scheme: dark) {\n" .. dark .. "}\n"

local function half_width(name)
  return math.max(22, #name * 4.4 + 9)
end

local function shape(node, x, y)
  local w = half_width(node.name)
  if node.kind == "router" then
    return ('<ellipse class="node router" cx="%.1f" cy="%.1f" rx="%.1f" ry="19"/>'):format(x, y, w + 3)
  elseif node.kind == "switch" then
    return ('<rect class="node switch" x="%.1f" y="%.1f" width="%.1f" height="30" rx="4"/>'):format(x - w, y - 15, 2 * w)
  end
  return ('<rect class="node host" x="%.1f" y="%.1f" width="%.1f" height="30" rx="14"/>'):format(x - w, y - 15, 2 * w)
end

---@param topology nslua.lab.Topology
---@param options? { plan: nslua.lab.Plan, down: table<integer, true>, addresses: boolean, title: string }
---@return string
function M.draw(topology, options)
  options = options or {}
  local places, width, height = layout.of(topology)
  local unit = UNIT
  for _, node in ipairs(topology.nodes) do
    unit = math.max(unit, half_width(node.name) * 2 + 50)
  end
  local w, h = width * unit + 2 * MARGIN + 60, height * unit + 2 * MARGIN
  local out = { ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">'):format(w, h, w, h),
    "<title>" .. escape(options.title or "network of a lab") .. "</title>", "<style>" .. styles .. "</style>",
    ('<rect class="paper" width="%.0f" height="%.0f"/>'):format(w, h) }
  local function add(format, ...)
    out[#out + 1] = format:format(...)
  end
  local function at(name)
    local place = places[name]
    return place.x * unit + MARGIN + 30, place.y * unit + MARGIN
  end
  local labels, between = {}, {}
  for i, link in ipairs(topology.links) do
    local ax, ay = at(link[1])
    local bx, by = at(link[2])
    local key = link[1] < link[2] and link[1] .. "\0" .. link[2] or link[2] .. "\0" .. link[1]
    local nth = between[key] or 0
    between[key] = nth + 1
    local mx, my = (ax + bx) / 2, (ay + by) / 2
    local length = math.max(math.sqrt((bx - ax) ^ 2 + (by - ay) ^ 2), 1)
    -- several links of the same two bend apart
    local bend = nth == 0 and 0 or ((nth + 1) // 2) * 26 * (nth % 2 == 0 and 1 or -1) * (link[1] < link[2] and 1 or -1)
    local qx, qy = mx - (by - ay) / length * bend * 2, my + (bx - ax) / length * bend * 2
    local items = text.items(link)
    local class = "link" .. (items[1] and " impaired" or "") .. (options.down and options.down[i] and " down" or "")
    add('<path class="%s" d="M%.1f %.1f Q%.1f %.1f %.1f %.1f"/>', class, ax, ay, qx, qy, bx, by)
    local lines = { link.name }
    lines[#lines + 1] = items[1] and table.concat(items, ", ") or nil
    if options.plan and options.addresses ~= false then
      local segment = options.plan.links[i].segments[1]
      if segment and not segment.vlan and topology.links[i] and #segment.switches == 0 then
        lines[#lines + 1] = segment.inet or segment.inet6
      end
    end
    for k, line in ipairs(lines) do
      labels[#labels + 1] = { (mx + qx) / 2, (my + qy) / 2 + 4 + (k - (#lines + 1) / 2) * 13, line }
    end
  end
  for _, label in ipairs(labels) do
    add('<text class="small halo" x="%.1f" y="%.1f">%s</text>', label[1], label[2], escape(label[3]))
  end
  for _, node in ipairs(topology.nodes) do
    local x, y = at(node.name)
    out[#out + 1] = shape(node, x, y)
    add('<text class="name" x="%.1f" y="%.1f">%s</text>', x, y + 4.5, escape(node.name))
    local planned = options.plan and options.addresses and options.plan.node[node.name]
    for k, interface in ipairs(planned and planned.interfaces or {}) do
      if interface.inet and k <= 3 then
        add('<text class="small halo" x="%.1f" y="%.1f">%s</text>', x, y + 18 + k * 12, escape(interface.inet))
      end
    end
  end
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

return M
