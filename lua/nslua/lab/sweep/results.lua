-- What a sweep found: its runs, their medians and spread; as text, CSV, JSON and a chart.

local axis = require "nslua.lab.sweep.axis"
local check = require "nslua.check"
local errors = require "nslua.error"
local plain = require("nslua.draw").plain
local schema = require "nslua.schema"

local M = {}

local short = axis.number -- four digits are more than runs agree in

---@class nslua.SweepRow
---@field point table<string, any>       the parameters
---@field number integer                 which repeat
---@field seed integer
---@field values table<string, number>?  the figures; nil where the run failed
---@field error string?                  why it failed
---@field elapsed number                 seconds

---@class nslua.SweepFigure
---@field median number
---@field low number    a quarter of the runs is below
---@field high number   a quarter of the runs is above
---@field min number
---@field max number
---@field n integer     runs that gave it

---@class nslua.Sweep
---@field rows nslua.SweepRow[]                     in the order of the grid
---@field parameters nslua.sweep.Parameter[]
---@field figures string[]                          names of what was measured
---@field failed integer                            runs that raised or took too long
local Sweep = { __name = "nslua.Sweep" }
Sweep.__index = Sweep

---@param parameters nslua.sweep.Parameter[]
---@param rows nslua.SweepRow[]
---@return nslua.Sweep
function M.new(parameters, rows)
  local names, seen, failed = {}, {}, 0
  for _, row in ipairs(rows) do
    failed = failed + (row.error and 1 or 0)
    for name in pairs(row.values or {}) do
      if not seen[name] then
        seen[name], names[#names + 1] = true, name
      end
    end
  end
  table.sort(names)
  return setmetatable({ rows = rows, parameters = parameters, figures = names, failed = failed }, Sweep)
end

-- A quantile by the line between the two nearest values.
local function quantile(sorted, q)
  local at = 1 + (#sorted - 1) * q
  local below = math.floor(at)
  local a, b = sorted[below], sorted[math.min(below + 1, #sorted)]
  local part = at - below
  return (a == b or part == 0) and a or b - a < math.huge and a + (b - a) * part or (1 - part) * a + part * b -- also of infinities
end

---@param list number[]
---@return nslua.SweepFigure?
function M.spread(list)
  local sorted = {}
  for _, value in ipairs(list) do
    sorted[#sorted + 1] = value == value and value or nil -- what is no number has no place among numbers
  end
  if not sorted[1] then
    return nil
  end
  table.sort(sorted)
  return { median = quantile(sorted, 0.5), low = quantile(sorted, 0.25), high = quantile(sorted, 0.75), min = sorted[1], max = sorted[#sorted],
    n = #sorted }
end

---Medians and spread of each point, in the order of the grid.
---@return { point: table<string, any>, runs: integer, failed: integer, figures: table<string, nslua.SweepFigure> }[]
function Sweep:summary()
  local out, of = {}, {}
  for _, row in ipairs(self.rows) do
    local each = of[row.name]
    if not each then
      each = { point = row.point, runs = 0, failed = 0, figures = {}, lists = {} }
      of[row.name], out[#out + 1] = each, each
    end
    each.runs, each.failed = each.runs + 1, each.failed + (row.error and 1 or 0)
    for name, value in pairs(row.values or {}) do
      each.lists[name] = each.lists[name] or {}
      table.insert(each.lists[name], value)
    end
  end
  for _, each in ipairs(out) do
    for name, list in pairs(each.lists) do
      each.figures[name] = M.spread(list)
    end
    each.lists = nil
  end
  return out
end

local function aligned(lines)
  local widths = {}
  for _, cells in ipairs(lines) do
    for i, cell in ipairs(cells) do
      cell = plain.text(cell)
      cells[i] = cell
      widths[i] = math.max(widths[i] or 0, utf8.len(cell) or #cell)
    end
  end
  local out = {}
  for k, cells in ipairs(lines) do
    local parts = {}
    for i, cell in ipairs(cells) do
      local pad = (" "):rep(widths[i] - (utf8.len(cell) or #cell))
      parts[i] = cells.left[i] and cell .. pad or pad .. cell
    end
    out[k] = table.concat(parts, "  "):gsub(" +$", "")
  end
  return table.concat(out, "\n") .. "\n"
end

local REASONS = 5

-- Why runs failed, each reason once.
local function failures(self)
  local count, order = {}, {}
  for _, row in ipairs(self.rows) do
    local reason = row.error and plain.text(row.error:match "^[^\n]*")
    if reason and not count[reason] then
      order[#order + 1] = reason
    end
    count[reason or false] = (count[reason or false] or 0) + 1
  end
  local out = {}
  for i = 1, math.min(#order, REASONS) do
    out[i] = ("%d failed: %s\n"):format(count[order[i]], order[i])
  end
  out[#out + 1] = #order > REASONS and ("%d more reasons\n"):format(#order - REASONS) or nil
  return table.concat(out)
end

---The medians with the quarters below and above them, a line for each point; below it why runs failed.
---@return string
function Sweep:table()
  local left, head = {}, {}
  for i, parameter in ipairs(self.parameters) do
    left[i], head[i] = type(parameter.values[1]) == "string", parameter.name
  end
  for _, name in ipairs(self.figures) do
    table.move({ name, "25 %", "75 %" }, 1, 3, #head + 1, head)
  end
  head[#head + 1] = "runs"
  head.left = left
  local lines = { head }
  for _, each in ipairs(self:summary()) do
    local cells = { left = left }
    for i, parameter in ipairs(self.parameters) do
      cells[i] = tostring(each.point[parameter.name])
    end
    for _, name in ipairs(self.figures) do
      local f = each.figures[name]
      table.move(f and { short(f.median), short(f.low), short(f.high) } or { "-", "-", "-" }, 1, 3, #cells + 1, cells)
    end
    cells[#cells + 1] = ("%d%s"):format(each.runs - each.failed, each.failed > 0 and (" (%d failed)"):format(each.failed) or "")
    lines[#lines + 1] = cells
  end
  return aligned(lines) .. failures(self)
end
Sweep.__tostring = Sweep.table

-- The fewest digits that are that number.
local function digits(number)
  for precision = 15, 17 do
    local text = ("%%.%dg"):format(precision):format(number)
    if tonumber(text) == number or precision == 17 then
      return text
    end
  end
end

local function cell(value)
  local text = value == nil and "" or value ~= value and "nan" or math.type(value) == "float" and digits(value) or tostring(value)
  return text:find '[",\r\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

---A line for each run: the parameters, the number of the repeat, its seed, the figures, the error. RFC 4180, with lines that end in "\n".
---@return string
function Sweep:csv()
  local head = {}
  for i, parameter in ipairs(self.parameters) do
    head[i] = parameter.name
  end
  table.move({ "repeat", "seed" }, 1, 2, #head + 1, head)
  table.move(self.figures, 1, #self.figures, #head + 1, head)
  head[#head + 1] = "error"
  local out = {}
  for i, word in ipairs(head) do
    out[i] = cell(word)
  end
  out = { table.concat(out, ",") }
  for _, row in ipairs(self.rows) do
    local cells = {}
    for i, parameter in ipairs(self.parameters) do
      cells[i] = cell(row.point[parameter.name])
    end
    cells[#cells + 1], cells[#cells + 2] = cell(row.number), cell(row.seed)
    for _, name in ipairs(self.figures) do
      cells[#cells + 1] = cell((row.values or {})[name])
    end
    cells[#cells + 1] = cell(row.error)
    out[#out + 1] = table.concat(cells, ",")
  end
  return table.concat(out, "\n") .. "\n"
end

---All of it: parameters, runs, medians and spread.
---@return string
function Sweep:json()
  local runs = {}
  for i, row in ipairs(self.rows) do
    runs[i] = { point = row.point, number = row.number, seed = row.seed, values = row.values, error = row.error, elapsed = row.elapsed }
  end
  return schema.json { parameters = self.parameters, figures = self.figures, runs = runs, summary = self:summary(), failed = self.failed } .. "\n"
end

---@class nslua.ChartOptions
---@field x? string                      the parameter along the axis; default: the first that has several values, numbers before texts. The values of
---                                       the others have a line each
---@field y? string|string[]             the figures, a chart below the other for each; default: all
---@field scale? "linear"|"log"|"even"   of x; default: even where the values are texts or far apart, else linear
---@field log_y? boolean                 the figures on a logarithmic axis
---@field units? table<string, string>   of figures and parameters: "s", "bit/s", "B", ...; thousands get their prefix
---@field title? string

---A chart in one file of SVG: the medians as lines, half of the runs within the band around each.
---@param options? nslua.ChartOptions
---@return string
function Sweep:svg(options)
  options = options or {}
  check.options("sweep.svg", options, { x = "string", y = "string|table", scale = "string", log_y = "boolean", units = "table",
    title = "string" })
  if options.scale and options.scale ~= "linear" and options.scale ~= "log" and options.scale ~= "even" then
    errors.misuse("sweep.svg: %s", check.unknown("scale", options.scale, { "linear", "log", "even" }))
  end
  return require("nslua.lab.sweep.chart").draw(self, options)
end

return M
