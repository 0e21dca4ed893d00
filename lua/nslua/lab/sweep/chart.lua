-- A chart of a sweep as SVG: one file, readable in light and dark.

local axes = require "nslua.lab.sweep.axis"
local check = require "nslua.check"
local errors = require "nslua.error"

local M = {}

local LEFT, TOP, WIDTH, HEIGHT = 86, 34, 520, 250     -- of the area of one chart, in pixels
local BOTTOM, GAP = 58, 12                            -- below an area; between charts
local LETTER, LINE = 6.7, 16                          -- the widest that a letter usually is; height of a line of the key
local DODGE = 7                                       -- lines stand beside each other where they share a place on an even axis

-- Colours that also those tell apart who see few (after Okabe and Ito), darker on white, lighter on black.
local colours = {
  { "#0072b2", "#56b4e9" }, { "#c04a00", "#ff9a55" }, { "#00805c", "#2fd0a0" }, { "#a23d80", "#e59fcb" },
  { "#7a6000", "#e8cf3f" }, { "#3d4f9e", "#9db0ff" }, { "#5b5b5b", "#b8b8b8" }, { "#8a1c1c", "#ff8a80" },
}

local function columns(text)
  return utf8.len(text) or #text
end

local escape = require("nslua.draw").svg.escape

local function style(dark)
  local out = { ([[
.paper { fill: %s }
text { font: 12px system-ui, sans-serif; fill: %s }
.title { font-size: 15px; font-weight: 600 }
.head { font-weight: 600 }
.soft { fill: %s }
.grid { stroke: %s; stroke-width: 1px }
.axis { stroke: %s; stroke-width: 1.2px }
]]):format(dark and "#151b21" or "#ffffff", dark and "#e8edf2" or "#1d2733", dark and "#b3bfca" or "#4d5c6b", dark and "#2a333c" or "#e6eaee",
    dark and "#7b8a99" or "#8795a5") }
  for i, pair in ipairs(colours) do
    local colour = pair[dark and 2 or 1]
    out[#out + 1] = ((".s# { stroke: $; fill: none; stroke-width: 2px } .d# { fill: $ } .w# { stroke: $; stroke-width: 1.2px } "
      .. ".b# { fill: $; opacity: %s }\n"):format(dark and "0.25" or "0.16"):gsub("[#$]", { ["#"] = tostring(i), ["$"] = colour }))
  end
  return table.concat(out)
end

-- The parameter along the axis, a line for each combination of the others, and what the other is called where there is one.
local function arrange(sweep, options)
  local x
  for _, parameter in ipairs(sweep.parameters) do
    if parameter.name == options.x then
      x = parameter
    end
  end
  if options.x and not x then
    local names = {}
    for i, parameter in ipairs(sweep.parameters) do
      names[i] = parameter.name
    end
    errors.misuse("sweep.svg: %s", check.unknown("parameter", options.x, names))
  end
  local fallback
  for _, parameter in ipairs(x and {} or sweep.parameters) do
    if parameter.values[2] ~= nil then
      fallback = fallback or parameter
      x = x or axes.of_parameter(parameter).numeric and parameter or nil
    end
  end
  x = x or fallback or sweep.parameters[1]
  local lines, of, others = {}, {}, {}
  for _, parameter in ipairs(sweep.parameters) do
    others[#others + 1] = parameter ~= x and parameter.values[2] ~= nil and parameter.name or nil
  end
  for _, each in ipairs(sweep:summary()) do
    local words, many = {}, 0
    for _, parameter in ipairs(sweep.parameters) do
      if parameter ~= x and parameter.values[2] ~= nil then
        words[#words + 1], many = { parameter.name, tostring(each.point[parameter.name]) }, many + 1
      end
    end
    local parts = {}
    for i, word in ipairs(words) do
      parts[i] = many == 1 and word[2] or word[1] .. " " .. word[2]
    end
    local name = table.concat(parts, ", ")
    if not of[name] then
      of[name] = { name = name, points = {} }
      lines[#lines + 1] = of[name]
    end
    table.insert(of[name].points, { value = each.point[x.name], figures = each.figures })
  end
  return x, lines, #others == 1 and others[1] or nil
end

local function chosen(sweep, options)
  local known = {}
  for _, name in ipairs(sweep.figures) do
    known[name] = true
  end
  local out = type(options.y) == "string" and { options.y } or options.y or sweep.figures
  for _, name in ipairs(out) do
    if not known[name] then
      errors.misuse("sweep.svg: %s", check.unknown("figure", name, sweep.figures))
    end
  end
  return out
end

-- What one figure's chart shows: for each line its points from left to right, and the range of all of them.
local function series_of(figure, horizontal, lines)
  local out, low, high = {}, math.huge, -math.huge
  for i, line in ipairs(lines) do
    local list = {}
    for _, point in ipairs(line.points) do
      local f = point.figures[figure]
      if f and f.min > -math.huge and f.max < math.huge then
        list[#list + 1] = { x = horizontal.places[point.value], f = f }
        low, high = math.min(low, f.min), math.max(high, f.max)
      end
    end
    table.sort(list, function(a, b)
      return a.x < b.x
    end)
    out[i] = list
  end
  return out, low, high
end

local function chart(add, figure, horizontal, lines, options)
  local unit = (options.units or {})[figure]
  local series, low, high = series_of(figure, horizontal, lines)
  add('<text class="head" x="0" y="%d">%s</text>', TOP - 12, escape(figure))
  if low > high then
    add('<text class="soft" x="%d" y="%d">no run gave a number</text>', WIDTH // 2 - 60, TOP + HEIGHT // 2)
    return
  end
  local vertical = options.log_y and axes.log(low, high, figure) or axes.linear(low, high, 6)
  local function y(value)
    return TOP + HEIGHT * (1 - vertical.at(value))
  end
  for _, tick in ipairs(vertical.ticks) do
    add('<line class="grid" x1="0" x2="%d" y1="%.1f" y2="%.1f"/>', WIDTH, y(tick), y(tick))
    add('<text class="soft" text-anchor="end" x="-8" y="%.1f">%s</text>', y(tick) + 4, escape(axes.number(tick, unit)))
  end
  add('<line class="axis" x1="0" x2="%d" y1="%d" y2="%d"/>', WIDTH, TOP + HEIGHT, TOP + HEIGHT)
  local last = -math.huge
  for _, tick in ipairs(horizontal.sorted) do
    local at = tick.place * WIDTH
    add('<line class="axis" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>', at, at, TOP + HEIGHT, TOP + HEIGHT + 5)
    local half = columns(tick.label) * LETTER / 2
    if at - half > last + 4 then -- labels that would run into each other are left out
      add('<text class="soft" text-anchor="middle" x="%.1f" y="%d">%s</text>', at, TOP + HEIGHT + 20, escape(tick.label))
      last = at + half
    end
  end
  for i, list in ipairs(series) do
    local k = (i - 1) % #colours + 1
    local shift = (i - (#series + 1) / 2) * math.min(DODGE, 60 / #series)
    local upper, lower, middle = {}, {}, {}
    for n, each in ipairs(list) do
      each.px = each.x * WIDTH + shift
      upper[n] = ("%.1f %.1f"):format(each.px, y(each.f.high))
      lower[#list - n + 1] = ("%.1f %.1f"):format(each.px, y(each.f.low))
      middle[n] = ("%.1f %.1f"):format(each.px, y(each.f.median))
    end
    if list[2] then
      add('<path class="b%d" d="M%s L%s Z"/>', k, table.concat(upper, " L"), table.concat(lower, " L"))
      add('<path class="s%d"%s d="M%s"/>', k, i > #colours and ' stroke-dasharray="6 4"' or "", table.concat(middle, " L"))
    end
    for _, each in ipairs(list) do
      if each.f.n > 1 then
        add('<line class="w%d" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>', k, each.px, each.px, y(each.f.min), y(each.f.max))
      end
      add('<circle class="d%d" cx="%.1f" cy="%.1f" r="3.6"><title>%s</title></circle>', k, each.px, y(each.f.median),
        escape(("%s: median %s, half of %d within %s and %s"):format(lines[i].name ~= "" and lines[i].name or figure,
          axes.number(each.f.median, unit), each.f.n, axes.number(each.f.low, unit), axes.number(each.f.high, unit))))
    end
  end
end

---@param sweep nslua.Sweep
---@param options nslua.ChartOptions
---@return string
function M.draw(sweep, options)
  local x, lines, key_of = arrange(sweep, options)
  local figures = chosen(sweep, options)
  local horizontal = axes.of_parameter(x, options.scale, (options.units or {})[x.name])
  horizontal.sorted = horizontal.ticks
  table.sort(horizontal.sorted, function(a, b)
    return a.place < b.place
  end)
  local names, key = {}, columns(key_of or "") * LETTER
  for i, line in ipairs(lines) do
    names[i] = line.name
    key = math.max(key, columns(line.name) * LETTER)
  end
  local head = options.title and 34 or 8
  local each = TOP + HEIGHT + BOTTOM + GAP
  local width, height = LEFT + WIDTH + (key > 0 and key + 60 or 30), head + #figures * each + 18
  local out = { '<svg xmlns="http://www.w3.org/2000/svg"',
    (' viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">'):format(width, height, width, height),
    "<title>" .. escape(options.title or "a sweep") .. "</title>",
    "<style>\n" .. style(false) .. "@media (prefers-color-scheme: dark) {\n" .. style(true) .. "}\n</style>",
    ('<rect class="paper" width="%.0f" height="%.0f"/>'):format(width, height) }
  local function add(format, ...)
    out[#out + 1] = format:format(...)
  end
  if options.title then
    add('<text class="title" x="%d" y="24">%s</text>', LEFT, escape(options.title))
  end
  for n, figure in ipairs(figures) do
    add('<g transform="translate(%d %d)">', LEFT, head + (n - 1) * each)
    chart(add, figure, horizontal, lines, options)
    add('<text class="soft" text-anchor="middle" x="%d" y="%d">%s</text>', WIDTH // 2, TOP + HEIGHT + 42, escape(x.name))
    if key_of then
      add('<text class="soft" x="%d" y="%d">%s</text>', WIDTH + 16, TOP - 12, escape(key_of))
    end
    for i, name in ipairs(names) do
      if name ~= "" then
        local k, at = (i - 1) % #colours + 1, TOP + 6 + (i - 1) * LINE
        add('<path class="s%d"%s d="M%d %d h18"/>', k, i > #colours and ' stroke-dasharray="6 4"' or "", WIDTH + 16, at)
        add('<circle class="d%d" cx="%d" cy="%d" r="3.6"/>', k, WIDTH + 25, at)
        add('<text x="%d" y="%d">%s</text>', WIDTH + 42, at + 4, escape(name))
      end
    end
    add "</g>"
  end
  add('<text class="soft" x="%d" y="%.0f">medians; the band holds half of the runs, the thin lines all of them%s</text>', LEFT, height - 12,
    sweep.failed > 0 and ("; %d runs failed"):format(sweep.failed) or "")
  out[#out + 1] = "</svg>\n"
  return table.concat(out, "\n")
end

return M
