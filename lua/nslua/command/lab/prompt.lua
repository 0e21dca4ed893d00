-- The prompt of a lab: what mininet's users type (`h1 ping h2`, `pingall`, `link h1 r1 down`), and Lua for all else.

local check = require "nslua.check"
local completion = require "nslua.command.lab.complete"
local errors = require "nslua.error"
local interactive = require "nslua.command.cli.interactive"
local nslua = require "nslua"
local value = require "nslua.command.cli.value"

local M = {}

M.help = [[
NODE COMMAND ...       run a program on a node: h1 ip addr; other nodes are known to it by name: h1 ping h2
NODE                   what a node is; NODE sh: a shell there
nodes, links           what there is, with addresses
draw                   the lab as a picture
pingall [4|6]          everybody asks everybody
link A B down|up       pull a link and put it back
link A B WORD VALUE .. change what impairs it: link h1 r1 delay 20ms loss 1%
move NODE A B [ADDR]   unplug a node from switch A, plug it into B; ADDR: an address, or keep
exit, quit, Ctrl-D     take the lab down and leave
Anything else is Lua: h1:ping("h2", { count = 3 }), lab:link("h1", "r1"):counters(), lab.h1.route:list()
Nodes are globals, and so are lab and ns.
]]

local function words_of(text)
  local out = {}
  for word in text:gmatch "%S+" do
    out[#out + 1] = word
  end
  return out
end

local function say(format, ...)
  io.write(format:format(...), "\n")
end

-- Names that are near to a word, the nearest first: at most three.
local function near(word, known)
  local left, out = {}, {}
  for name in pairs(known) do
    left[name] = true
  end
  while #out < 3 do
    local name = check.nearest(word, left)
    if not name then
      break
    end
    out[#out + 1], left[name] = name, nil
  end
  return out
end

-- "h1, h2 or h3"
local function listed(names, word)
  local last = table.remove(names)
  return names[1] and ("%s %s %s"):format(table.concat(names, ", "), word, last) or last
end

local FEW = 8 -- nodes, which are all named where none is near

-- "no node h9: did you mean h1, h2 or h3?"
local function no_node(lab, word)
  local names = near(word, rawget(lab, "node"))
  if names[1] then
    return ("no node %s: did you mean %s?"):format(word, listed(names, "or"))
  end
  for i, node in ipairs(#lab.nodes <= FEW and lab.nodes or {}) do
    names[i] = node.node_name
  end
  return ("no node %s%s"):format(word, names[1] and ("; there are " .. listed(names, "and")) or "")
end

local function addresses(interface)
  return table.concat(interface.addresses or {}, " ")
end

local function show_nodes(lab)
  for _, node in ipairs(lab.nodes) do
    local parts = {}
    for _, interface in ipairs(node.plan.interfaces) do
      parts[#parts + 1] = ("%s %s"):format(interface.dev, addresses(interface))
    end
    say("%-12s %-7s %s", node.node_name, node.kind, table.concat(parts, "  "))
  end
end

local function show_links(lab)
  for i, plan in ipairs(lab.plan.links) do
    local a, b = plan.ends[1], plan.ends[2]
    local items = nslua.lab.items(lab.topology.links[i])
    local segment, known = plan.segments[1], lab:numbered(i)
    say("%-20s -- %-20s %s", a.node .. ":" .. a.dev, b.node .. ":" .. b.dev,
      table.concat({ segment and segment.inet or "", table.concat(items, ", "), table.concat(known:scheduled(), "; "),
        known.is_down and "down" or "" }, "  "))
  end
end

local function ping_all(lab, words)
  local family = words[2] == "6" and "inet6" or words[2] == "4" and "inet" or nil
  if words[2] and not family then
    return say "usage: pingall [4|6]"
  end
  local result = lab:ping_all { family = family }
  for _, pair in ipairs(result.pairs) do
    if pair.received < pair.sent then
      say("%s does not reach %s (%s)", pair.from.node_name, pair.to.node_name, pair.address)
    end
  end
  say("%d of %d pairs answer, %.0f %% lost", result.received, result.sent, result.loss * 100)
end

-- The link between two nodes; where there is none, which of them is none is told.
local function link_of(lab, a, b)
  for _, name in ipairs { a, b } do
    if not rawget(lab, "node")[name] then
      return say("%s", no_node(lab, name))
    end
  end
  local link = lab:link(a, b)
  if not link then
    say("no link %s -- %s", a, b)
  end
  return link
end

local function change_link(lab, words)
  local a, b, verb = words[2], words[3], words[4]
  if not b then
    return say "usage: link A B down|up|WORD VALUE ..."
  end
  local link = link_of(lab, a, b)
  if not link then
    return
  elseif verb == "down" then
    link:down()
  elseif verb == "up" then
    link:up()
  elseif verb == nil then
    return say("%s", tostring(link))
  else
    if #words % 2 == 0 then
      return say("%s has no value: link %s %s %s VALUE", words[#words], a, b, words[#words])
    end
    local change = {}
    for i = 4, #words, 2 do
      change[words[i]] = words[i + 1] ~= "off" and words[i + 1]
    end
    link:change(change)
  end
  say("%s", tostring(link))
end

local function move(lab, words)
  local name, from, to = words[2], words[3], words[4]
  if not to then
    return say "usage: move NODE SWITCH SWITCH [ADDRESS|keep]"
  end
  local link = link_of(lab, name, from)
  if not link then
    return
  end
  local address = words[6] and { table.unpack(words, 5) } or words[5]
  link:move(to, { address = address })
  for _, at in ipairs(link.plan.ends) do
    if at.node == name then
      say("%s  %s", tostring(link), addresses(at))
    end
  end
end

local verbs = {
  help = function(lab)
    local open = rawget(lab, "is_open_copy")
    io.write((M.help:gsub("take the lab down and leave", open and "leave; the lab goes on" or "%0")))
  end,
  nodes = show_nodes,
  links = show_links,
  net = show_links,
  draw = function(lab)
    io.write(lab:draw(), "\n")
  end,
  pingall = ping_all,
  link = change_link,
  move = move,
}

-- A program on a node, at this terminal: `h1 ping h2`. The line as the shell would read it, so that quotes and pipes work.
local function run_on(node, text)
  local status = node:shell { "sh", "-c", text }
  if status ~= 0 then
    say("(status %d)", status)
  end
end

---A line that is no Lua: true where it was taken, false to end, nil where it is Lua.
---@param lab nslua.Lab
---@param text string
---@param own? table<string, fun(words: string[]): boolean?>  words of whoever has this prompt; false ends it
---@return boolean?
function M.line(lab, text, own)
  local words = words_of(text)
  local first = words[1]
  lab:refresh() -- somebody else may have changed it
  if rawget(lab, "board") and not rawget(lab, "is_told") and lab:has_ended() then
    rawset(lab, "is_told", true)
    say("the lab %s has ended meanwhile: exit leaves it", lab.name)
  end
  if first == "exit" or first == "quit" then
    return false
  elseif own and own[first] and not text:find "^%S+%s*[=:.,(]" then
    return own[first](words) ~= false
  end
  local node = rawget(lab, "node")[first]
  if node and words[2] and not text:find "^%S+%s*[=:.,(]" and not text:find "^%S+%s+[=~]=" then
    run_on(node, text:match "^%S+%s+(.*)$")
    return true
  elseif verbs[first] and not text:find "^%S+%s*[=:.,(]" then
    local ok, e = pcall(verbs[first], lab, words)
    if not ok then -- of what was typed: one line says it
      say("%s", errors.without_place(e))
    end
    return true
  end
  return nil
end

local lua_words = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat return then true until while"):gmatch "%a+" do
  lua_words[word] = true
end

-- Whether a line that is no Lua begins with a word that nobody knows, as if it were a node: `h9 ping h1`. It is told then.
local function is_of_no_node(lab, env, text, own)
  local first, second = text:match "^([%a_][%w_.-]*)%s+(%S+)"
  if not first or second:find "^[=:,(]" or lua_words[first] or lua_words[second] or env[first] ~= nil or load("return " .. text) then
    return false
  end
  local chunk, message = load(text)
  if chunk or message:find "<eof>$" then
    return false
  end
  local commands = {}
  for _, each in ipairs { verbs, own or {} } do
    for word in pairs(each) do
      commands[word] = true
    end
  end
  local command, said = check.nearest(first, commands), no_node(lab, first)
  if command and not near(first, rawget(lab, "node"))[1] then
    say("no command %s: did you mean %s?", first, command)
  else
    say("%s", said)
  end
  return true
end

---@class nslua.lab.Prompt
---@field prompt? string
---@field words? table<string, fun(words: string[]): boolean?>  more of them, before all others
---@field lines? fun(): string?  gives what is typed, in place of what is read

---Read lines until the end.
---@param lab nslua.Lab
---@param options? nslua.lab.Prompt
---@return integer status
function M.run(lab, options)
  options = options or {}
  local env = setmetatable({ lab = lab, ns = nslua }, { __index = function(_, key)
    local node = rawget(lab, "node")[key]
    if node ~= nil then
      return node
    end
    return _G[key]
  end, __keys = { rawget(lab, "node"), _G } })
  return interactive.run { prompt = options.prompt or "lab> ", lines = options.lines, env = env, as = value.text, line = function(text)
    local taken = M.line(lab, text, options.words)
    return taken == nil and is_of_no_node(lab, env, text, options.words) or taken
  end, complete = function(text, from, to)
    return completion.complete(lab, env, text, from, to, options.words)
  end }
end

return M
