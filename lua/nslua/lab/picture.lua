-- A lab as text: trees of links from left to right, in the columns of a terminal. What would be too wide goes on below; what closes a ring, and what
-- links say at length, is told at the end.

local agenda = require "nslua.lab.agenda"
local plain = require("nslua.draw").plain
local text = require "nslua.lab.text"

local M = {}

local forms = {
  box = { line = "─", down = "╌", fork = "┬", more = "├", last = "└", bar = "│", turn = "╰▸ ", on = " ▸", cut = "…" },
  ascii = { line = "-", down = "~", fork = "+", more = "+", last = "`", bar = "|", turn = "`> ", on = " >", cut = "~" },
}

local LEAST = 20 -- columns

local width = plain.width

local function label(node)
  return node.kind == "switch" and "(" .. node.name .. ")" or node.name
end

-- Links of a node as a tree from `root`: each link once, in their order; what leads to a node that is there already is left for later.
local function grow(topology, root, seen, used)
  local by_node = {}
  for i, link in ipairs(topology.links) do
    for side = 1, 2 do
      by_node[link[side]] = by_node[link[side]] or {}
      table.insert(by_node[link[side]], { i, link[3 - side] })
    end
  end
  -- breadth first, so that no branch is longer than it must be
  local tree, queue, at = { [root] = {} }, { root }, 1
  seen[root] = true
  while queue[at] do
    local name = queue[at]
    at = at + 1
    for _, each in ipairs(by_node[name] or {}) do
      local i, other = each[1], each[2]
      if not seen[other] then
        seen[other], used[i] = true, true
        tree[other] = {}
        table.insert(tree[name], { i, other })
        queue[#queue + 1] = other
      end
    end
  end
  return tree
end

-- Words in lines of so many columns; a word that is wider is cut.
local function wrap(lines, first, rest, words, columns, cut)
  local line = first
  for _, word in ipairs(words) do
    if width(line) + 1 + width(word) > columns and line ~= first and line ~= rest then
      lines[#lines + 1] = line
      line = rest
    end
    line = line .. " " .. plain.clip(word, columns - width(line) - 1, cut)
  end
  lines[#lines + 1] = line
end

---@class nslua.lab.Picture  that is being drawn
---@field columns integer
---@field form table<string, string>
---@field lines string[]
---@field about fun(name: string): string    a node, as it is shown
---@field edge fun(i: integer): string       a link, as it is shown
---@field later string[]                     nodes whose links are drawn below, for want of room

-- Draw what hangs on a node: `first` stands before it, `rest` before the lines below.
local function draw(self, tree, name, first, rest)
  local form, columns = self.form, self.columns
  local function put(line)
    self.lines[#self.lines + 1] = line
  end
  local line, wrapped = first .. self.about(name), false
  while true do
    local children = tree[name]
    if #children == 0 then
      return put(line)
    elseif #children == 1 then
      local more = self.edge(children[1][1]) .. " " .. self.about(children[1][2])
      local on = #tree[children[1][2]] > 0 and width(form.on) or 0 -- room for the mark that it goes on
      if width(line) + 1 + width(more) + on <= columns then
        line = line .. " " .. more
      elseif rest == "" or width(rest) + width(form.turn) + width(more) + on <= columns and not wrapped then
        put(line .. form.on)
        line = rest .. form.turn .. more
        wrapped = true
      else
        self.later[#self.later + 1] = name
        return put(line .. form.on)
      end
      name = children[1][2]
    else
      local widest = 0
      for _, child in ipairs(children) do
        widest = math.max(widest, 1 + width(self.edge(child[1])) + 1 + width(self.about(child[2])) + width(form.on))
      end
      local indent, deep = width(line) + 1, false
      local pad = rest .. (" "):rep(indent - width(rest))
      if indent + widest > columns then -- no room to the right: below
        deep, pad = true, rest .. "  "
        if width(pad) + widest > columns and rest ~= "" then
          self.later[#self.later + 1] = name
          return put(line .. form.on)
        end
        put(line)
      end
      for k, child in ipairs(children) do
        local lasts = k == #children
        local mark = k == 1 and not deep and form.fork or lasts and form.last or form.more
        local before = (k == 1 and not deep) and line .. " " .. mark or pad .. mark
        draw(self, tree, child[2], before .. self.edge(child[1]) .. " ", pad .. (lasts and " " or form.bar) .. " ")
      end
      return
    end
  end
end

---@param topology nslua.lab.Topology
---@param options? { columns: integer, ascii: boolean, addresses: boolean, plan: nslua.lab.Plan, down: table<integer, true> }
---@return string
function M.draw(topology, options)
  options = options or {}
  local columns, form = math.max(options.columns or 80, LEAST), options.ascii and forms.ascii or forms.box
  local by_name, degree, lines = {}, {}, {}
  for _, node in ipairs(topology.nodes) do
    by_name[node.name], degree[node.name] = node, 0
  end
  for _, link in ipairs(topology.links) do
    degree[link[1]], degree[link[2]] = degree[link[1]] + 1, degree[link[2]] + 1
  end
  local self = { columns = columns, form = form, lines = lines, later = {} }
  function self.about(name)
    local out = label(by_name[name])
    local planned = options.addresses and options.plan and options.plan.node[name]
    local interface = planned and planned.interfaces[1]
    local address = interface and #planned.interfaces == 1 and (interface.inet or interface.inet6)
    out = plain.clip(out, columns - 16, form.cut)
    return address and width(out) + width(address) < columns - 16 and out .. " " .. address or out
  end
  local function words_of(i)
    local link, words = topology.links[i], {}
    words[1] = link.name and plain.text(link.name)
    if options.ascii and words[1] then
      words[1] = words[1]:gsub("[\x80-\xff]+", "?")
    end
    local items = text.items(link)
    words[#words + 1] = items[1] and table.concat(items, ",")
    local later = agenda.texts(options.agenda and options.agenda[i])
    words[#words] = words[#words] and later[1] and words[#words] .. ";" or words[#words]
    words[#words + 1] = later[1] and table.concat(later, "; ")
    local segment = options.addresses and options.plan and options.plan.links[i].segments[1]
    if segment and #segment.switches == 0 then
      words[#words + 1] = segment.inet or segment.inet6
    end
    return words
  end
  local noted, notes = {}, {}
  function self.edge(i)
    local line = options.down and options.down[i] and form.down or form.line
    local words = table.concat(words_of(i), " ")
    if words == "" then
      return line:rep(3)
    end
    local link = topology.links[i]
    local name = math.max(width(self.about(link[1])), width(self.about(link[2])))
    if width(words) > columns / 2 or width(words) + name + 12 > columns then -- told below
      if not noted[i] then
        notes[#notes + 1] = i
        noted[i] = #notes
      end
      words = ("[%d]"):format(noted[i])
    end
    return line:rep(2) .. words .. line:rep(2)
  end
  local seen, used = {}, {}
  -- from an end, where there is one: a chain reads from its beginning
  local function start()
    for _, wanted in ipairs { 1, 0 } do
      for _, node in ipairs(topology.nodes) do
        if not seen[node.name] and (wanted == 0 or node.kind == "switch" or degree[node.name] <= 1 or node == topology.nodes[1]) then
          return node.name
        end
      end
    end
  end
  local root = start()
  while root do
    local tree, done = grow(topology, root, seen, used), 0
    draw(self, tree, root, "", "")
    while done < #self.later do
      done = done + 1
      draw(self, tree, self.later[done], "", "")
    end
    self.later = {}
    root = start()
  end
  local heading = true
  for i, link in ipairs(topology.links) do
    if not used[i] then
      if heading then
        lines[#lines + 1], heading = "", false
      end
      local edge = self.edge(i)
      local whole = ("%s %s %s"):format(label(by_name[link[1]]), edge, label(by_name[link[2]]))
      if width(whole) <= columns then
        lines[#lines + 1] = whole
      else
        draw(self, { [link[1]] = { { i, link[2] } }, [link[2]] = {} }, link[1], "", "")
      end
    end
  end
  if notes[1] then
    lines[#lines + 1] = ""
  end
  for k, i in ipairs(notes) do
    local words = {}
    for word in table.concat(words_of(i), " "):gsub(",", ", "):gmatch "%S+" do
      words[#words + 1] = word
    end
    wrap(lines, ("[%d]"):format(k), "   ", words, columns, form.cut)
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
