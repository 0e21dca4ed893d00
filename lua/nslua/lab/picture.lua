-- A lab as text: trees of links from left to right, in the columns of a terminal; what closes a ring is told below.

local text = require "nslua.lab.text"

local M = {}

local forms = {
  box = { line = "─", down = "╌", fork = "┬", more = "├", last = "└", bar = "│", turn = "╰▸ ", on = " ▸" },
  ascii = { line = "-", down = "~", fork = "+", more = "+", last = "`", bar = "|", turn = "`> ", on = " >" },
}

local function width(s)
  return utf8.len(s) or #s
end

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

---@param topology nslua.lab.Topology
---@param options? { columns: integer, ascii: boolean, addresses: boolean, plan: nslua.lab.Plan, down: table<integer, true> }
---@return string
function M.draw(topology, options)
  options = options or {}
  local columns, form = math.max(options.columns or 80, 20), options.ascii and forms.ascii or forms.box
  local by_name, degree = {}, {}
  for _, node in ipairs(topology.nodes) do
    by_name[node.name], degree[node.name] = node, 0
  end
  for _, link in ipairs(topology.links) do
    degree[link[1]], degree[link[2]] = degree[link[1]] + 1, degree[link[2]] + 1
  end
  local function about(name)
    local out = label(by_name[name])
    local planned = options.addresses and options.plan and options.plan.node[name]
    local interface = planned and planned.interfaces[1]
    local address = interface and #planned.interfaces == 1 and (interface.inet or interface.inet6)
    return address and out .. " " .. address or out
  end
  local function edge(i)
    local link = topology.links[i]
    local items = text.items(link)
    local line = options.down and options.down[i] and form.down or form.line
    local words = table.concat(items, ",")
    if options.addresses and options.plan then
      local segment = options.plan.links[i].segments[1]
      if segment and #segment.switches == 0 and (segment.inet or segment.inet6) then
        words = words .. (words ~= "" and " " or "") .. (segment.inet or segment.inet6)
      end
    end
    if link.name then
      words = link.name .. (words ~= "" and " " or "") .. words
    end
    if words == "" then
      return line:rep(3)
    end
    return line:rep(2) .. words .. line:rep(2)
  end
  local lines = {}
  local seen, used = {}, {}

  -- Draw what hangs on a node: `first` stands before it, `rest` before the lines below.
  local function draw(tree, name, first, rest)
    local line = first .. about(name)
    while true do
      local children = tree[name]
      if #children == 0 then
        lines[#lines + 1] = line
        return
      elseif #children == 1 then
        local i, other = children[1][1], children[1][2]
        local more = " " .. edge(i) .. " " .. about(other)
        -- room for the mark that it goes on
        if width(line) + width(more) + 2 > columns and width(line) > width(rest) + 8 then
          lines[#lines + 1] = line .. form.on
          line = rest .. form.turn .. edge(i) .. " " .. about(other)
          rest = rest .. "   "
        else
          line = line .. more
        end
        name = other
      else
        local indent = width(line) + 1
        local deep = indent + 24 > columns -- no room to the right: below
        local pad
        if deep then
          lines[#lines + 1] = line
          pad = rest .. "  "
        else
          pad = rest .. (" "):rep(indent - width(rest))
        end
        for k, child in ipairs(children) do
          local lasts = k == #children
          local mark = k == 1 and not deep and (lasts and form.line or form.fork) or lasts and form.last or form.more
          local before = (k == 1 and not deep) and line .. " " .. mark or pad .. mark
          draw(tree, child[2], before .. edge(child[1]) .. " ", pad .. (lasts and " " or form.bar) .. " ")
        end
        return
      end
    end
  end

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
    draw(grow(topology, root, seen, used), root, "", "")
    root = start()
  end
  local heading = true
  for i, link in ipairs(topology.links) do
    if not used[i] then
      if heading then
        lines[#lines + 1], heading = "", false
      end
      lines[#lines + 1] = ("%s %s %s"):format(label(by_name[link[1]]), edge(i), label(by_name[link[2]]))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
