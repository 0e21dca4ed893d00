-- What may stand where the cursor is at the prompt of a lab: nodes, commands and their words, programs, Lua.

local core = require "nslua.core"
local names = require "nslua.command.cli.names"

local M = {}

local verbs = { "draw", "exit", "help", "link", "links", "move", "net", "nodes", "pingall", "quit" }
local impairments = { "corrupt", "correlation", "delay", "distribution", "duplicate", "jitter", "limit", "loss", "rate", "reorder" }

local function node_names(lab, wanted)
  local out = {}
  for _, node in ipairs(lab.nodes) do
    if not wanted or wanted(node) then
      out[#out + 1] = node.node_name
    end
  end
  return out
end

local function neighbours(lab, name, wanted)
  local out, seen = {}, {}
  for _, link in ipairs(lab.plan.links) do
    for side, at in ipairs(link.ends) do
      local other = link.ends[3 - side].node
      if at.node == name and not seen[other] and (not wanted or wanted(lab.node[other])) then
        seen[other] = true
        out[#out + 1] = other
      end
    end
  end
  return out
end

local function is_switch(node)
  return node ~= nil and node.kind == "switch"
end

-- By the words that stand before it.
local words = {}

function words.link(lab, before)
  if #before == 1 then
    return node_names(lab)
  elseif #before == 2 then
    return neighbours(lab, before[2])
  elseif #before == 3 then
    return { "down", "up", table.unpack(impairments) }
  end
  return #before % 2 == 1 and before[4] ~= "down" and before[4] ~= "up" and impairments or { "off" }
end

function words.move(lab, before)
  if #before == 1 then
    return node_names(lab, function(node)
      return node.kind ~= "switch" and neighbours(lab, node.node_name, is_switch)[1] ~= nil
    end)
  elseif #before == 2 then
    return neighbours(lab, before[2], is_switch)
  elseif #before == 3 then
    return node_names(lab, function(node)
      return is_switch(node) and node.node_name ~= before[3]
    end)
  end
  return { "keep" }
end

function words.pingall(_, before)
  return #before == 1 and { "4", "6" } or {}
end

local function programs(begin)
  local out, seen = {}, {}
  if begin == "" then
    return { "cat", "ip", "ping", "sh", "ss", "tc", "tcpdump" }
  end
  for dir in (os.getenv "PATH" or "/usr/bin:/bin"):gmatch "[^:]+" do
    for _, name in ipairs(core.file.list(dir) or {}) do
      if name:sub(1, #begin) == begin and not seen[name] then
        seen[name] = true
        out[#out + 1] = name
      end
    end
  end
  return out
end

---@param lab nslua.Lab
---@param env table        globals of what is typed
---@param text string      the line
---@param from? integer    where the word begins (default: at the begin)
---@param to? integer      and ends
---@param own? table<string, any>  more words that a line may begin with
---@return string[]
---@return string  what follows the only one
function M.complete(lab, env, text, from, to, own)
  local word, before = text:sub(from or 1, to or -1), {}
  for each in text:sub(1, (from or 1) - 1):gmatch "%S+" do
    before[#before + 1] = each
  end
  local list
  if not before[1] then
    list = { table.unpack(verbs) }
    for each in pairs(own or {}) do
      list[#list + 1] = each
    end
    table.move(node_names(lab), 1, #lab.nodes, #list + 1, list)
    table.move(word ~= "" and names.complete(env, word) or {}, 1, 1000, #list + 1, list)
  elseif words[before[1]] then
    list = words[before[1]](lab, before)
  elseif lab.node[before[1]] and #before == 1 then
    list = programs(word)
  elseif lab.node[before[1]] then
    list = node_names(lab)
  else
    list = names.complete(env, word)
  end
  local out, seen = {}, {}
  for _, each in ipairs(list) do
    if each:sub(1, #word) == word and not seen[each] then
      seen[each] = true
      out[#out + 1] = each
    end
  end
  table.sort(out)
  return out, out[1] and out[1]:find "[.:]" and "" or " "
end

return M
