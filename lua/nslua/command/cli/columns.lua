-- Tables of columns, as lsns(8) and its like print them: aligned, as a tree, raw, or JSON.

local core = require "nslua.core"
local host = require "nslua.host"
local schema = require "nslua.schema"
local terminal = require "nslua.command.cli.width"

local M = {}
local width, clip = terminal.width, terminal.clip

---@class nslua.cli.Column
---@field name string       "NPROCS"; in lower case the key of JSON
---@field right? boolean    aligned to the right
---@field tree? boolean     has the branches of the tree
---@field hint? integer     its width where a cell is as wide as the heading
---@field trunc? boolean    cut where the terminal ends
---@field number? boolean   a number in JSON

---@class nslua.cli.Line
---@field [string] any      text by the name of the column; a list of texts takes a line each
---@field parent? nslua.cli.Line
---@field children? nslua.cli.Line[]

local function hexadecimal(bytes)
  return (bytes:gsub(".", function(c)
    return ("\\x%02x"):format(c:byte())
  end))
end

-- Whether texts are UTF-8 here. locale(7)
local function unicode()
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
    local value = os.getenv(name) or ""
    if value ~= "" then
      return value:lower():find "utf%-?8" ~= nil
    end
  end
  return false
end

-- What a terminal must not see, as \x1b: control characters, also those of 8 bits, and what is no text.
local function safe(text)
  if not text:find "[%c\127-\255\\]" then
    return text
  end
  text = text:gsub("\\x", "\\x5cx"):gsub("[%c\127]", hexadecimal):gsub("\xc2[\x80-\x9f]", hexadecimal)
  local out, at = {}, 1
  while true do
    local ok, bad = utf8.len(text, at)
    if ok then
      return table.concat(out) .. text:sub(at)
    end
    out[#out + 1] = text:sub(at, bad - 1) .. hexadecimal(text:sub(bad, bad))
    at = bad + 1
  end
end
M.safe = safe

-- Depth first, as the lines are printed; each gets its branches: "│ └─".
local function ordered(lines, columns)
  local branch, last_branch, stroke = "├─", "└─", "│ "
  if not unicode() then
    branch, last_branch, stroke = "|-", "`-", "| "
  end
  local tree = false
  for _, column in ipairs(columns) do
    tree = tree or column.tree
  end
  local out = {}
  if not tree then
    for i, line in ipairs(lines) do
      out[i] = { line, "", "" }
    end
    return out
  end
  local function walk(list, stem, top)
    for i, line in ipairs(list) do
      local last = i == #list
      out[#out + 1] = { line, top and "" or stem .. (last and last_branch or branch), top and "" or stem .. (last and "  " or stroke) }
      walk(line.children or {}, top and "" or stem .. (last and "  " or stroke))
    end
  end
  local roots = {}
  for _, line in ipairs(lines) do
    if not line.parent then
      roots[#roots + 1] = line
    end
  end
  walk(roots, "", true)
  return out
end

local function texts(value)
  if type(value) ~= "table" then
    value = { value == nil and "" or tostring(value) }
  end
  return #value > 0 and value or { "" }
end

local function raw(columns, lines, options)
  if not options.noheadings then
    local names = {}
    for i, column in ipairs(columns) do
      names[i] = column.name
    end
    io.write(table.concat(names, " "), "\n")
  end
  for _, line in ipairs(lines) do
    local cells = {}
    for i, column in ipairs(columns) do
      cells[i] = table.concat(texts(line[column.name]), ","):gsub("[%s%c\\\127-\255]", hexadecimal)
    end
    io.write(table.concat(cells, " "), "\n")
  end
end

-- Nested as the tree is; keys in the order of the columns, as lsns(8) has them.
local function json(name, columns, lines, options)
  local out = {}
  local function object(line, indent, nested)
    local parts = {}
    for i, column in ipairs(columns) do
      local value = line[column.name]
      if type(value) == "table" then
        value = #value > 0 and table.concat(value, "\n") or nil
      end
      local text = (value == nil or value == "") and "null" or column.number and math.tointeger(tonumber(value)) and tostring(value)
        or schema.json(tostring(value))
      parts[i] = ("%s   %s: %s"):format(indent, schema.json(column.name:lower()), text)
    end
    if nested and line.children then
      local children = {}
      for i, child in ipairs(line.children) do
        children[i] = object(child, indent .. "      ", nested)
      end
      parts[#parts + 1] = ('%s   "children": [\n%s      %s\n%s   ]'):format(indent, indent, table.concat(children, ","), indent)
    end
    return "{\n" .. table.concat(parts, ",\n") .. "\n" .. indent .. "}"
  end
  local nested = false
  for _, column in ipairs(columns) do
    nested = nested or column.tree
  end
  for _, line in ipairs(lines) do
    if not (nested and line.parent) then
      out[#out + 1] = object(line, "      ", nested)
    end
  end
  local more = ""
  for _, entry in ipairs(options.more or {}) do
    more = more .. (',\n   %s: %s'):format(schema.json(entry[1]), schema.json(entry[2]))
  end
  io.write(('{\n   %s: [\n%s%s   ]%s\n}\n'):format(schema.json(name), #out > 0 and "      " .. table.concat(out, ",") or "", "\n", more))
end

---Print lines.
---@param name string  of the list in JSON
---@param columns nslua.cli.Column[]
---@param lines nslua.cli.Line[]
---@param options { json: boolean?, raw: boolean?, noheadings: boolean?, notruncate: boolean?, more: table[]? }  `more`: further keys of JSON
function M.print(name, columns, lines, options)
  if options.json then
    return json(name, columns, lines, options)
  elseif #lines == 0 then
    return -- no headings of nothing
  elseif options.raw then
    return raw(columns, lines, options)
  end
  local list, heads, widths = ordered(lines, columns), {}, {}
  local cells, filled = {}, {}
  local plain = not unicode() and "[\x80-\xff]" or nil
  for i, column in ipairs(columns) do
    heads[i] = width(column.name)
    widths[i] = heads[i]
  end
  for l, entry in ipairs(list) do
    cells[l] = { height = 1 }
    for i, column in ipairs(columns) do
      local cell = {}
      for k, text in ipairs(texts(entry[1][column.name])) do
        text = safe(text)
        cell[k] = (column.tree and entry[k == 1 and 2 or 3] or "") .. (plain and text:gsub(plain, hexadecimal) or text)
        local wide = width(cell[k])
        widths[i] = math.max(widths[i], wide)
        filled[i] = filled[i] or wide == heads[i]
      end
      cells[l][i] = cell
      cells[l].height = math.max(cells[l].height, #cell)
    end
    for i, column in ipairs(columns) do
      for k = #cells[l][i] + 1, column.tree and cells[l].height or 0 do
        cells[l][i][k] = entry[3] -- the branches go on
      end
    end
  end
  for i, column in ipairs(columns) do
    if column.hint and widths[i] == heads[i] and filled[i] then
      widths[i] = column.hint
    end
  end
  -- A terminal that is too narrow: what may be cut is cut, the widest first.
  if host.is_terminal(1) and not options.notruncate then
    local total = -1
    for _, w in ipairs(widths) do
      total = total + w + 1
    end
    local _, limit = core.process.winsize(1)
    while limit and limit > 0 and total > limit do
      local widest
      for i, column in ipairs(columns) do
        if column.trunc and widths[i] > heads[i] and widths[i] > (widths[widest] or 0) then
          widest = i
        end
      end
      if not widest then
        break
      end
      widths[widest], total = widths[widest] - 1, total - 1
    end
  end
  local function row(get, height)
    for k = 1, height do
      local out = {}
      for i, column in ipairs(columns) do
        local text = get(i)[k] or ""
        local wide = width(text)
        if wide > widths[i] then
          text = clip(text, widths[i])
          wide = width(text)
        end
        local pad = (" "):rep(widths[i] - wide)
        out[i] = i == #columns and (not column.right or k > 1 and text == "") and text or column.right and pad .. text or text .. pad
      end
      io.write(table.concat(out, " "), "\n")
    end
  end
  if not options.noheadings then
    row(function(i)
      return { columns[i].name }
    end, 1)
  end
  for l = 1, #list do
    row(function(i)
      return cells[l][i]
    end, cells[l].height)
  end
end

return M
