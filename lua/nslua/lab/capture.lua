-- Captures in a lab: of all it has, of nodes, of links.

local check = require "nslua.check"
local errors = require "nslua.error"
local nodename = require "nslua.lab.nodename"

local M = {}

local function node_of(lab, value)
  local name = nodename.of(value, "lab.capture", lab)
  return lab.node[name] or errors.misuse("lab.capture: %s", check.unknown("node", name, lab.node))
end

-- A link, or the two nodes it is between: "h1 r1", { "h1", "r1" }.
---@param lab nslua.Lab
---@param value any
---@param call string
---@return nslua.lab.Link
function M.link_of(lab, value, call)
  if type(value) == "table" and rawget(value, "ends") then
    return value
  elseif type(value) == "string" then
    local one, other = value:match "^(%S+)[%s,%-]+(%S+)$"
    if one then
      value = { one, other }
    end
  end
  if type(value) == "string" then
    for _, plan in ipairs(lab.plan.links) do
      local n, link = 1, plan.name == value and lab:link(plan.ends[1].node, plan.ends[2].node)
      while link and link.name ~= value do
        n = n + 1
        link = lab:link(plan.ends[1].node, plan.ends[2].node, n)
      end
      if link then
        return link
      end
    end
  end
  if type(value) ~= "table" then
    errors.misuse("%s: a link, its name, or { \"h1\", \"r1\" } expected, got %s", call, tostring(value))
  end
  for i = 1, 2 do
    local name = nodename.of(value[i], call, lab)
    if not lab.node[name] then
      errors.misuse("%s: %s", call, check.unknown("node", name, lab.node))
    end
  end
  return lab:link(value[1], value[2]) or errors.misuse("%s: there is no link between %s and %s", call, nodename.of(value[1], call),
    nodename.of(value[2], call))
end

-- The namespaces and devices that are meant; `dev` of all nodes.
local function targets_of(lab, options)
  local out, of = {}, {}
  local function target(node)
    if not of[node] then
      of[node] = { handle = node, label = node.node_name, without_lo = true, dev = options.dev }
      out[#out + 1] = of[node]
    end
    return of[node]
  end
  for _, value in ipairs(options.nodes or {}) do
    target(node_of(lab, value))
  end
  for _, value in ipairs(options.links or {}) do
    for _, at in ipairs(M.link_of(lab, value, "lab.capture").ends) do
      local t = target(at.node)
      if t.dev or not options.nodes then
        t.dev = t.dev or {}
        t.dev[#t.dev + 1] = at.dev
      end
    end
  end
  if not options.nodes and not options.links then
    for _, node in ipairs(lab.nodes) do
      target(node)
    end
  end
  return out
end

-- Whether a capture has that end of a link, wherever it stands.
local function has_end(options, link, side)
  local name = link.ends[side].node.node_name
  local of_node, of_link
  for _, value in ipairs(options.nodes or {}) do
    of_node = of_node or nodename.of(value, "lab.capture") == name
  end
  for _, each in ipairs(options.links or {}) do
    of_link = of_link or each == link
  end
  return of_node or of_link or not options.nodes and not options.links
end

---A link's end has come to another switch: who captures it goes on there. The kernel unbinds sockets from a device that leaves a namespace.
---@param lab nslua.Lab
---@param link nslua.lab.Link
---@param side integer
function M.moved(lab, link, side)
  local at = link.ends[side]
  for capture, options in pairs(rawget(lab, "captures") or {}) do
    if capture:isopen() and not capture.result and has_end(options, link, side) then
      local ok, e = pcall(capture.include, capture, { handle = at.node, label = at.node.node_name, dev = { at.dev } })
      if not ok then
        capture.missing = capture.missing or {}
        table.insert(capture.missing, ("%s:%s: %s"):format(at.node.node_name, at.dev, tostring(e)))
      end
    end
  end
end

-- Names of the lab's addresses.
local function names_of(lab)
  local out = {}
  for _, node in ipairs(lab.plan.nodes) do
    for _, interface in ipairs(node.interfaces or {}) do
      for _, address in ipairs(interface.addresses or {}) do
        out[#out + 1] = { address:match "^[^/]+", node.name }
      end
    end
  end
  return out
end

---@class nslua.lab.CaptureOptions: nslua.CaptureOptions
---@field nodes? (string|nslua.lab.Node)[]  all interfaces of these (default: of every node, without lo)
---@field links? any[]                      both ends of these: a link, its name, { "h1", "r1" }

---@param lab nslua.Lab
---@param options? nslua.lab.CaptureOptions
---@return nslua.Capture
function M.begin(lab, options)
  local rest = {}
  check.argument("lab.capture", "options", options, "nil|table")
  for key, value in pairs(options or {}) do
    rest[key] = value
  end
  local nodes, links = rest.nodes, rest.links
  rest.nodes, rest.links = nil, nil
  check.argument("lab.capture", "nodes", nodes, "nil|table")
  check.argument("lab.capture", "links", links, "nil|table")
  if links and rest.dev ~= nil then
    errors.misuse "lab.capture: a link has its two interfaces: dev is for nodes"
  end
  local names = names_of(lab)
  local capture = require("nslua").capture.new(targets_of(lab, { nodes = nodes, links = links, dev = rest.dev }), rest, { names = names,
    keeper = rawget(lab, "keeper"), grows = true, hosts = function(name)
      local out = {}
      for _, entry in ipairs(names) do
        if entry[2] == name then
          out[#out + 1] = entry[1]
        end
      end
      return out[1] and out
    end })
  local list = rawget(lab, "captures")
  if not list then
    list = setmetatable({}, { __mode = "k" })
    lab.captures = list
  end
  local known = links and {}
  for i, value in ipairs(links or {}) do
    known[i] = M.link_of(lab, value, "lab.capture")
  end
  list[capture] = { nodes = nodes, links = known }
  return capture
end

---End those that run, before their process ends with the lab's keeper: their files are whole then.
---@param lab nslua.Lab
function M.finish(lab)
  for capture in pairs(rawget(lab, "captures") or {}) do
    if capture:isopen() then
      pcall(capture.stop, capture)
    end
  end
end

return M
