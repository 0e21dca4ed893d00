-- What ip netns does with the ids that namespaces have in each other, with its words and exit statuses.

local errors = require "nslua.error"
local ns = require "nslua"
local print_json = require "nslua.command.netns.json"
local words = require "nslua.command.netns.words"

local M = {}

local fail = words.fail

local NO_PEER = "Error: Peer netns reference is invalid."

-- An id that is asked for: nil and a status where it is none.
local function id_of(word, called, malformed)
  local id = words.integer(word)
  if not id then
    return nil, fail(255, 'Error: argument "%s" is wrong: %s', word, malformed:format(called))
  elseif id < 0 then
    return nil, fail(255, 'Error: argument "%s" is wrong: "%s" value should be >= 0', word, called)
  end
  return id
end

function M.set(o)
  local name, word = o[1], o[2]
  if not name then
    return fail(1, "No netns name specified")
  elseif not word then
    return fail(1, "No nsid specified")
  end
  local id, status
  if word ~= "auto" then
    id, status = id_of(word, "netnsid", 'Invalid "%s" value')
    if not id then
      return status
    end
  end
  local ok, other = pcall(words.named, name)
  if not ok and errors.is(other, "EINVAL") then
    return fail(2, "%s", NO_PEER)
  elseif not ok then
    return words.explain(1, ('Cannot open network namespace "%s"'):format(name), other)
  end
  local from = o.from or ns.netns.current()
  local done, e = pcall(from.set_nsid, from, other, id)
  other:close()
  if done then
    return 0
  elseif not errors.is(e) then
    error(e, 0)
  end
  return fail(2, "%s", e.extack and ("Error: %s."):format(e.extack) or "RTNETLINK answers: " .. e.message)
end

-- What list-id is asked for: { nsid =, ["target-nsid"] = }.
local function wanted(o)
  local out = {}
  for i = 1, #o, 2 do
    local called = o[i]
    if called ~= "target-nsid" and called ~= "nsid" then
      return nil, require "nslua.command.netns.verbs".help()
    elseif out[called] then
      return nil, fail(255, 'Error: duplicate "%s": "%s" is the second value.', called, called)
    elseif not o[i + 1] then
      return nil, fail(255, 'Command line is not complete. Try option "help"')
    end
    local status
    out[called], status = id_of(o[i + 1], called, '"%s" value is invalid')
    if not out[called] then
      return nil, status
    end
  end
  return out
end

-- Names by the id they have in a namespace, the first of several.
local function names_by_id(from)
  local out = {}
  for _, row in ipairs(ns.netns.list()) do
    local ok, id = pcall(from.nsid_of, from, words.path .. row.name)
    if ok and id then
      out[id] = out[id] or row.name
    end
  end
  return out
end

-- The ids of the target; with `here`, an id of ours: the one that this namespace has there.
local function seen_from(from, target, here)
  local rows = {}
  for _, entry in ipairs(from:nsids { target = target }) do
    if not here or entry.current == here then
      rows[#rows + 1] = { nsid = entry.id, ["current-nsid"] = entry.current }
    end
  end
  if here and not rows[1] then
    rows[1] = { ["current-nsid"] = here }
  end
  return rows
end

local function own(from, here)
  local rows, there = {}, false
  for _, id in ipairs(from:nsids()) do
    there = there or id == here
    if not here or id == here then
      rows[#rows + 1] = { nsid = id }
    end
  end
  return rows, there
end

M["list-id"] = function(o)
  local ids, status = wanted(o)
  if not ids then
    return status
  end
  local from = o.from or ns.netns.current()
  local target, here = ids["target-nsid"], ids.nsid
  local rows, there = own(from, here)
  if here and not there then
    return fail(2, "%s", NO_PEER)
  elseif target then
    local ok, result = pcall(seen_from, from, target, here)
    if not ok and not errors.is(result) then
      error(result, 0)
    elseif not ok and here then
      return fail(2, "Error: Target netns reference is invalid.")
    elseif not ok then
      return fail(1, "Error: %s.\nDump terminated", result.extack or result.message)
    end
    rows = result
  end
  local names = names_by_id(from)
  for _, row in ipairs(rows) do
    row.name = names[row["current-nsid"] or not target and row.nsid]
  end
  if o.json then
    print_json(o, rows)
    return 0
  end
  for _, row in ipairs(rows) do
    local current = row["current-nsid"]
    io.write(("nsid %s "):format(row.nsid or "unassigned"), target and ("current-nsid %s "):format(current or "unassigned") or "",
      row.name and ("(iproute2 netns name: %s)"):format(words.shown(row.name)) or "", "\n")
  end
  return 0
end

return M
